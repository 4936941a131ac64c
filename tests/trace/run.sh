#!/bin/sh
# run.sh: `train --trace`. Under plans of all kinds the file is what check.c says
# that it is; and a run that is traced has the log and the weights of one that is
# not.
#
#     tests/trace/run.sh [TRAINWRIGHT]    default: ./trainwright of this tree
#
# Ends with `trace: N passed, M failed`.
set -uf
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=$(realpath "${1:-$root/trainwright}")
[ -x "$compiler" ] || { echo "run.sh: no compiler $compiler" >&2; exit 2; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0 failed=0

sources=$here/check.c
for name in elementary error files hash json sort; do
    sources="$sources $root/runtime/$name.c"
done
# shellcheck disable=SC2086  # a list
gcc -std=gnu11 -O1 -Wall -Wextra -Werror -I"$root/runtime" $sources -o check \
    -lm || exit 1

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    what=$1
    shift
    if "$@" >said 2>&1; then pass; else
        fail "$what: $(head -n 2 said | cut -c 1-200 | tr '\n' ' ')"
        return 1
    fi
}

cat >plan.yaml <<'YAML'
name: plan
model: {vocab: 256, context: 16, dim: 32, heads: 2, blocks: 4}
train:
  batch: 8
  steps: 40
  checkpoint: {every: 4}
  eval: {every: 3, steps: 2}
reproducible: {groups: 4}
YAML
head -c 9000 "$here/check.c" >text.txt

run() { # OUT FLAGS…
    rm -rf "$1" "$1.jsonl"
    out=$1
    shift
    timeout 60 ./program train --data text.txt --quiet --out "$out" \
        --log "$out.jsonl" "$@"
}
state() { sed -n 's/.*"state_hash": "\([0-9a-f]*\)".*/\1/p' "$1"/step-"$2"/state.json; }
same() { # LAST: the traced run and the other
    for out in plain traced; do
        sed 's/"seconds".*"skipped"/"skipped"/' $out.jsonl >$out.log
    done
    diff plain.log traced.log && [ -n "$(state plain "$1")" ] &&
        [ "$(state plain "$1")" = "$(state traced "$1")" ]
}
plan() { # LAST THREADS FLAGS…
    last=$1 threads=$2
    shift 2
    check "build $*" timeout 100 "$compiler" build plan.yaml -o program "$@" ||
        return
    check "$*: train" run plain --steps "$last" --threads "$threads" || return
    check "$*: traced" run traced --steps "$last" --threads "$threads" \
        --trace trace.json || return
    check "$*: the same bits" same "$last"
    ./program info --json >info.json
    check "$*: the trace" ./check trace.json info.json "$last"
}

plan 5 1
plan 24 1 --set parallel.pipeline.stages=4 --set train.micro_batch=1
plan 3 2 --set parallel.pipeline.stages=2 --set parallel.data=2 \
    --set train.micro_batch=1 --set parallel.pipeline.schedule=gpipe
plan 3 1 --set parallel.pipeline.stages=2 --set train.micro_batch=1 \
    --set parallel.pipeline.schedule=interleaved \
    --set parallel.pipeline.virtual=2
plan 3 1 --set parallel.pipeline.stages=2 --set train.micro_batch=1 \
    --set parallel.pipeline.schedule=zero-bubble
plan 3 1 --set parallel.data=2 --set parallel.shard=parameters
plan 3 1 --set parallel.data=2 --set parallel.shard=gradients --via cc
plan 3 2 --set parallel.tensor=2 --set parallel.data=2
plan 3 1 --set parallel.context=2 --set train.micro_batch=4
plan 3 1 --set parallel.experts=2 --set parallel.data=2 \
    --set 'model.experts={count: 4, top_k: 2}'

# A trace may lie in the run's own directory, which the run makes.
rm -rf own
./program train --data text.txt --quiet --out own --steps 1 \
    --trace own/trace.json >said 2>&1 && grep -q traceEvents own/trace.json &&
    pass || fail "a trace in the run's directory: $(cat said)"

# A run that is stopped writes what it has.
rm -rf stopped trace.json
./program train --data text.txt --quiet --out stopped --threads 1 \
    --steps 1000000 --trace trace.json >said 2>&1 &
launcher=$!
sleep 2
kill -TERM $launcher
wait $launcher
[ $? = 75 ] && pass || fail "stopped while it traces: $(cat said)"
last=$(ls stopped | sed -n 's/^step-//p' | sort -n | tail -n 1)
check "the trace of a run that was stopped" ./check trace.json info.json "$last"

# The check can fail: a message less, a slice that ends too late.
awk '/"cat":"message"/ && !done { done = 1; next } { print }' trace.json >less.json
./check less.json info.json "$last" >said && fail "a message less goes unseen" || pass
awk '/"cat":"wait"/ && !done { done = 1; sub(/"dur":/, "\"dur\":9") } { print }' \
    trace.json >late.json
./check late.json info.json "$last" >said && fail "a slice too long goes unseen" ||
    pass

echo "trace: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
