#!/bin/sh
# Is the interpreter's f32 the program's, bit for bit? For cases of tests/reference:
# builds the program, runs `grad`, interprets step `grad` of the same IR.
#
#     tests/ir/program_bits.sh [CASE…]      all cases by default; $TRAINWRIGHT builds
set -u
cd "$(dirname "$0")" || exit 1
root=$(realpath ../..)
trainwright=${TRAINWRIGHT:-$root/trainwright}
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
passed=0 failed=0
runtime=$root/runtime
${CC:-cc} -std=gnu11 -Wall -Wextra -O1 -o "$temporary/same_bits" same_bits.c \
    $runtime/safetensors.c $runtime/safetensors_write.c $runtime/json.c $runtime/hash.c \
    $runtime/files.c $runtime/error.c $runtime/sort.c -lm || exit 1

check() { # CASE: what went wrong is on stdout
    smoothing=$(sed -n 's/.*label_smoothing: *\([-+.0-9e]*\).*/\1/p' "$1/spec.yaml")
    "$trainwright" build "$1/spec.yaml" -o "$temporary/bin" 2>&1 &&
    "$temporary/bin" grad --weights "$1/weights.safetensors" --batch "$1/batch.safetensors" \
        --out "$temporary/a.safetensors" 2>&1 &&
    "$trainwright" ir "$1/spec.yaml" >"$temporary/ir" 2>&1 &&
    "$trainwright" run "$temporary/ir" --f32 --step grad --in "$1/weights.safetensors" \
        --in "$1/batch.safetensors" --scalar "smoothing=${smoothing:-0}" \
        --out "$temporary/b.safetensors" 2>&1 &&
    "$temporary/same_bits" "$temporary/a.safetensors" "$temporary/b.safetensors" \
        "$1/batch.safetensors"
}

[ $# -gt 0 ] || set -- $(cd ../reference/cases && ls)
for name; do
    case=../reference/cases/$name
    [ -e "$case/batch.safetensors" ] || continue
    if said=$(check "$case"); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        echo "$said"
    fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
