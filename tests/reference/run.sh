#!/bin/sh
# Builds every reference case with a compiler, runs it, and judges its numbers.
#
#     run.sh TRAINWRIGHT [CASE_DIR…]       default: every case in cases/
#
# BUILD_FLAGS goes to `trainwright build` (BUILD_FLAGS='--via cc'), CC compiles
# the judge, KEEP names a directory in which everything made is left. Prints a
# line a failure and `N passed, M failed`; exit 1 if any failed.
set -u

if [ $# -lt 1 ]; then
    echo "usage: run.sh TRAINWRIGHT [CASE_DIR...]" >&2
    exit 2
fi
compiler=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- "$here"/cases/*/

if [ -n "${KEEP:-}" ]; then
    work=$KEEP
    mkdir -p "$work" || exit 1
else
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
fi
${CC:-cc} -std=c11 -O2 -o "$work/compare" "$here/compare.c" -lm || exit 1

# Runs a command with its output in $log and a limit on its time.
quietly() {
    timeout 120 "$@" >"$log" 2>&1
}

# The parts of a case; each leaves its words in $log and says how it went.
build() {
    stage=build
    # shellcheck disable=SC2086  # BUILD_FLAGS is a list
    quietly "$compiler" build "$case/spec.yaml" -o "$out/program" \
        ${BUILD_FLAGS:-}
}

gradient() {
    stage=grad
    quietly "$out/program" grad --weights "$case/weights.safetensors" \
        --batch "$case/batch.safetensors" --out "$out/out.safetensors" ||
        return 1
    stage=compare
    quietly "$work/compare" "$case" "$out/out.safetensors"
}

training() {
    stage=train
    steps=$(grep -c '"loss"' "$case/expect.jsonl")
    set -- "$case"/data.*       # of IDX files, images before labels
    data=$1
    set -- --data "$data" --init "$case/weights.safetensors" \
        --steps "$steps" --out "$out/run" --log "$out/log.jsonl"
    for eval in "$case"/eval.*; do
        [ ! -f "$eval" ] || set -- "$@" --set "train.data.eval=$eval"
    done
    rm -rf "$out/run"
    quietly "$out/program" train "$@" || return 1
    stage=compare
    quietly "$work/compare" --train "$case/expect.jsonl" "$out/log.jsonl"
}

judge() {
    build || return 1
    if [ -f "$case/expect.jsonl" ]; then
        training
    else
        gradient
    fi
}

passed=0
failed=0
for case in "$@"; do
    case=${case%/}
    name=$(basename "$case")
    out=$work/$name
    log=$out/log.txt
    mkdir -p "$out" || exit 1
    if judge; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$name: $stage: $(head -n 3 "$log" | tr '\n' ' ')"
    fi
    [ -n "${KEEP:-}" ] || rm -rf "$out"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
