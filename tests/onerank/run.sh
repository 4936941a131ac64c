#!/bin/sh
# run.sh: what a program does on one rank, whatever its plan is. Each spec (of
# tests/bits/specs and tests/plans/specs) is built as it is and under plans whose
# ranks share functions. The plan's program trains a few steps on its ranks; then
# both programs generate, predict, score and look inside from that checkpoint, and
# every byte must be the same. Then the plan's source: its two files, their hashes.
#
#     tests/onerank/run.sh [TRAINWRIGHT]  default: ./trainwright of this tree
#
# Ends with `onerank: N passed, M failed`.
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

"$root/tests/bits/make_tool.sh" tool || exit 1

# ---- what the specs read ----------------------------------------------------
head -c 6000 "$here/../bits/tool.c" | tr -d '\r' >text.txt
LC_ALL=C tr -cd '\nA-Za-z0-9 .,:;' <text.txt | tr -s ' ' |
    grep '[a-z].*[a-z]' >lines.txt
awk '{ print } NR % 7 == 0 { print "" }' lines.txt >sentences.txt
awk 'length > 20 { print substr($0, 1, 16) "\t" substr($0, 17, 12) }' \
    lines.txt >pairs.tsv
awk 'length > 20 { print substr($0, 1, 9) "\t" substr($0, 10, 6) }' \
    lines.txt >completions.tsv
awk '{ print NR % 4 "\t" substr($0, 1, 20) }' lines.txt >labelled.tsv
./tool examples 20 images.safetensors images=real:2:9:9 labels=-5 || exit 1

# What a spec trains on, what it predicts and what is looked inside with.
read_spec() { # SPEC
    file=$here/../bits/specs/$1.yaml
    [ -f "$file" ] || file=$here/../plans/specs/$1.yaml
    data=text.txt predicts='' scores=completions.tsv prompts=yes
    case $1 in
    learned) batch='tokens=256:32 lengths=33' ;;
    rotary) batch='tokens=261:29' ;;
    alibi) batch='tokens=256:40 lengths=41' ;;
    relative) batch='tokens=256:30 lengths=31' ;;
    mixture) batch='tokens=257:27 lengths=28' ;;
    masked) batch='tokens=261:29' predicts=text.txt scores='' prompts='' ;;
    bert) data=sentences.txt batch='tokens=262:31 types=2:31 lengths=32'
        predicts=sentences.txt scores='' prompts='' ;;
    classifier) data=labelled.tsv batch='tokens=262:24 lengths=25'
        predicts=labelled.tsv scores='' prompts='' ;;
    image) data=images.safetensors batch=images=real:2:9:9
        predicts=images.safetensors scores='' prompts='' ;;
    encoder-decoder) data=pairs.tsv
        batch='source=259:25 source_lengths=26 tokens=259:25 lengths=26'
        predicts=pairs.tsv scores='' ;;
    esac
    # shellcheck disable=SC2086  # a list
    ./tool examples 2 batch.safetensors $batch || exit 1
}

# ---- helpers ----------------------------------------------------------------
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $spec: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    what=$1
    shift
    if "$@" >said 2>&1; then pass; else
        fail "$what: $(head -n 2 said | cut -c 1-200 | tr '\n' ' ')"
        return 1
    fi
}
build() { # PROGRAM FLAGS…
    program=$1
    shift
    timeout 200 "$compiler" build "$file" -o "$program" "$@" >said 2>&1 &&
        return
    fail "build $*: $(head -n 2 said | tr '\n' ' ')"
    return 1
}
# Everything that PROGRAM says on one rank with the weights, into directory OUT.
say() { # PROGRAM OUT
    rm -rf "$2" && mkdir "$2" || return 1
    with="--weights two/step-3 --threads 1"
    # shellcheck disable=SC2086  # lists
    {
        ./"$1" forward $with --batch batch.safetensors --save '*' \
            --out "$2/inside" || return 1
        [ -z "$prompts" ] || ./"$1" generate $with --prompt 'static int' \
            --tokens 12 --samples 2 --seed 5 >"$2/generated" || return 1
        [ -z "$predicts" ] || ./"$1" predict $with --data "$predicts" \
            >"$2/predicted" 2>"$2/accuracy" || return 1
        [ -z "$scores" ] || ./"$1" score $with --data "$scores" \
            >"$2/scored" || return 1
    }
}
same() { # the two programs have said the same, and something
    (cd said1 && find . -type f -size +0) | sort >files
    [ -s files ] && diff -r said1 said2
}

plan() { # FLAGS…: a plan of the spec against the spec
    # shellcheck disable=SC2086  # a list
    build many $size "$@" || return
    rm -rf two
    check "$*: train" timeout 60 ./many train --data "$data" --quiet \
        --steps 3 --out two --threads 1 || return
    check "the spec alone" say alone said1 || return
    check "$*: commands" say many said2 || return
    check "$*: the same bytes" same
}
one_spec() { # SPEC FLAGS…: sizes that plans can cut; plans follow
    spec=$1
    read_spec "$1"
    shift
    size=$*
    build alone "$@"
}

# ---- the specs --------------------------------------------------------------
one_spec learned && {
    plan --set parallel.tensor=3
    plan --set parallel.context=2
    plan --set parallel.tensor=3 --via cc
    plan --set parallel.tensor=3 --set parallel.pipeline.stages=2 \
        --set train.micro_batch=4
    plan --set parallel.context=2 --set parallel.data=2 \
        --set parallel.shard=optimizer
}
one_spec rotary --set model.ff.dim=76 && plan --set parallel.tensor=2
one_spec alibi && plan --set parallel.context=2
one_spec relative --set model.ff.dim=44 && plan --set parallel.tensor=2
one_spec mixture && {
    plan --set parallel.experts=5 --set parallel.data=5 --set train.batch=5
    plan --set parallel.experts=5 --set parallel.data=5 --set train.batch=5 \
        --via cc
}
one_spec mixture --set model.experts.count=4 --set model.ff.dim=36 &&
    plan --set parallel.experts=2 --set parallel.data=2 --set parallel.tensor=2 \
        --set parallel.shard=parameters
one_spec masked --set model.ff.dim=50 --set train.sequence=28 && {
    plan --set parallel.tensor=5
    plan --set parallel.context=2
}
one_spec bert --set model.ff.dim=51 && plan --set parallel.tensor=3
one_spec classifier && plan --set parallel.tensor=5
one_spec image --set model.ff.dim=48 && plan --set parallel.tensor=3
one_spec encoder-decoder --set model.ff.dim=50 && plan --set parallel.tensor=2

# ---- the source -------------------------------------------------------------
spec=learned
file=$here/../bits/specs/learned.yaml
emit() { "$compiler" emit "$file" -o "$1" --set parallel.tensor=3; }
listed() { # FILE: MANIFEST has its hash
    grep -q "^$(sha256sum "source/$1" | cut -d ' ' -f 1) .* $1\$" \
        source/MANIFEST
}
hash_of() { ./"$1" info | sed -n 's/^source *sha256 //p'; }
check "emit" emit source
check "emit again" emit again
check "two emits are equal" diff -r source again
check "the file of ranks is listed" listed learned.c
check "the file of one rank is listed" listed learned-one-rank.c
check "a file of one rank without training" \
    sh -c '! grep -qE "backward|TRAIN_|EVAL_|update" source/learned-one-rank.c'
check "a file of ranks without generating" \
    sh -c '! grep -qE "GENERATE|_cached|inspect" source/learned.c'
check "make, without a warning" sh -c \
    'cd source && ! make -s CFLAGS=-Werror CPU=x86-64-v3 2>&1 | grep .'
mv source/learned made
build linked --set parallel.tensor=3
check "both ways name one source" [ "$(hash_of made)" = "$(hash_of linked)" ]
check "memory of generate is a rank's alone" sh -c '
    for program in linked alone; do
        ./$program info --json --threads 1 | tr -d " \n" |
            sed "s/.*\"generate\":\({[^}]*}\).*/\1/"
    done | uniq | wc -l | grep -qx 1'

echo "onerank: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
