#!/bin/sh
# Tests of the IR: text form, verifier, interpreter.
#
#     tests/ir/run.sh           compare
#     tests/ir/run.sh bless     rewrite the goldens that differ and show the difference
#
# text/NAME.ir is printed as it is read, or as NAME.want; wrong/NAME.ir is refused
# with NAME.err. The drivers are compiled here, with $CC; what needs the compiler
# takes ./trainwright or $TRAINWRIGHT.
set -u
cd "$(dirname "$0")" || exit 1
bless=${1:-}
root=$(realpath ../..)
trainwright=${TRAINWRIGHT:-$root/trainwright}
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED $1"; }

# Compares a file with its golden, or blesses it.
compare() { # NAME GOLDEN ACTUAL
    if [ "$bless" = bless ] && ! cmp -s "$2" "$3"; then
        echo "--- $1"
        diff "$2" "$3" 2>/dev/null || true
        cp "$3" "$2"
    fi
    if diff -u "$2" "$3" >"$temporary/diff" 2>&1; then
        pass
    else
        fail "$1"
        cat "$temporary/diff"
    fi
}

# ---- drivers
flags="-std=gnu11 -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes -ffp-contract=off"
ir=$(ls $root/ir/*.c | grep -v '/prog')
library="$root/runtime/tables.c $root/runtime/elementary.c"
${CC:-cc} $flags -O1 -g ${CHECK_FLAGS:-} -o "$temporary/ir_check" ir_check.c $ir $library -lm || exit 1
${CC:-cc} $flags -O1 -g ${CHECK_FLAGS:-} -o "$temporary/interpret" interpret_test.c $ir $library -lm \
    || exit 1
kernels=
for name in experts pool index reduce gemm sizes; do
    kernels="$kernels $root/runtime/kernels/$name.c"
done
${CC:-cc} $flags -Wno-psabi -O1 -g ${CHECK_FLAGS:-} -o "$temporary/kernels" kernels_test.c $ir \
    $library $kernels -lm || exit 1

# ---- text
for file in text/*.ir; do
    name=${file%.ir} want=$file
    [ -e "$name.want" ] && want=$name.want
    "$temporary/ir_check" "$file" "${file##*/}" >"$temporary/out" 2>&1
    compare "$name" "$want" "$temporary/out"
    "$temporary/ir_check" "$temporary/out" >"$temporary/again" 2>&1
    compare "$name, again" "$temporary/out" "$temporary/again"
done
for file in wrong/*.ir; do
    name=${file%.ir}
    "$temporary/ir_check" "$file" "${file##*/}" >"$temporary/out" 2>"$temporary/err"
    status=$?
    if [ $status -ne 1 ] || [ -s "$temporary/out" ]; then
        fail "$name: exit status $status"
    fi
    compare "$name" "$name.err" "$temporary/err"
done

# ---- the table of operations in the documentation
awk -f ops_table.awk $root/ir/ops.def >"$temporary/table"
sed -n '/^| op /,/^$/p' $root/docs/ir.md | sed '/^$/d' >"$temporary/documented"
compare "docs/ir.md: ops" "$temporary/documented" "$temporary/table"

awk -f reshard_table.awk $root/ir/reshard.def >"$temporary/table"
sed -n '/^| axis | from /,/^$/p' $root/docs/ir.md | sed '/^$/d' \
    >"$temporary/documented"
compare "docs/ir.md: reshard" "$temporary/documented" "$temporary/table"

# ---- the interpreter
for driver in interpret kernels; do
    "$temporary/$driver" >"$temporary/out"
    status=$?
    sed '$d' "$temporary/out"
    set -- $(tail -n 1 "$temporary/out")
    passed=$((passed + ${1:-0})) failed=$((failed + ${3:-1}))
    [ $status -eq 0 ] || [ "${3:-1}" -ne 0 ] || fail "$driver: exit status $status"
done

# ---- the text of modules that the compiler makes: of every shipped model at every
# stage, of small models of every kind at the last
same_text() { # SPEC STAGE
    name="$(basename "$(dirname "$1")")/$(basename "$1" .yaml) after $2"
    if "$trainwright" ir "$1" --after "$2" >"$temporary/stage" 2>"$temporary/err"; then
        "$temporary/ir_check" "$temporary/stage" >"$temporary/again" 2>&1
        compare "$name" "$temporary/stage" "$temporary/again"
    else
        fail "$name: $(cat "$temporary/err")"
    fi
}
# ---- what a pass makes: passes/PASS.ir and PASS-….ir become NAME.want
one_pass() { # FILE
    name=${1%.ir} pass=${1##*/}
    pass=${pass%.ir}
    "$trainwright" opt "$1" --passes "${pass%%-*}" >"$temporary/out" 2>&1
    compare "$name" "$name.want" "$temporary/out"
}
# A backward in halves gives the same bits.
same_halves() { # CASE of tests/reference
    from=$root/tests/reference/cases/$1
    "$trainwright" ir "$from/spec.yaml" --after recompute >"$temporary/ir" &&
        "$trainwright" opt "$temporary/ir" --passes schedule >"$temporary/whole" &&
        "$trainwright" opt "$temporary/ir" --passes split,schedule \
            >"$temporary/halves" &&
        ! cmp -s "$temporary/whole" "$temporary/halves" || return 1
    for module in whole halves; do
        "$trainwright" run "$temporary/$module" --f32 --step grad \
            --in "$from/weights.safetensors" --in "$from/batch.safetensors" \
            --scalar smoothing=0 --out "$temporary/$module.st" || return 1
    done
    cmp "$temporary/whole.st" "$temporary/halves.st"
}

. ./placements.sh

if [ -x "$trainwright" ]; then
    for file in passes/*.ir; do one_pass "$file"; done
    for case in gpt2 llama bert transformer-xl seq2seq; do
        if same_halves $case >"$temporary/said" 2>&1; then pass; else
            fail "halves of $case: $(head -n 2 "$temporary/said")"
        fi
    done
    for spec in "$root"/models/*.yaml; do
        for stage in build autodiff simplify recompute split schedule fuse place
        do
            same_text "$spec" $stage
        done
    done
    for spec in "$root"/tests/differences/specs/*.yaml; do
        same_text "$spec" place
    done
    place_tests
else
    echo "skipped: stages of the models ($trainwright is not built)"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
