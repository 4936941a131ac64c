#!/bin/sh
# Golden tests of the front end.
#
#     tests/spec/run.sh           compare
#     tests/spec/run.sh bless     rewrite what differs and show the difference
#
# $CHECK is a built spec_check (with sanitizers, say); without it one is built here.
# A case is NAME.yaml with NAME.err, what is printed of a spec that is wrong, or
# NAME.want, the resolved spec, and NAME.notes where something is noted of it.
# NAME.args has further arguments, one a line, and
# NAME.over* are overlays that they name. A resolved spec must load to itself.
set -u
check=${CHECK:+$(realpath "$CHECK")}
bless=${1:-}
cd "$(dirname "$0")" || exit 1
models=$(realpath ../../models)
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
if [ -z "$check" ]; then
    check=$temporary/spec_check
    ${CC:-cc} -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes -O1 -g \
        -o "$check" spec_check.c ../../compiler/spec/*.c ../../ir/base.c -lyaml -lm || exit 1
fi
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED $1"; }

# Compares a file with its golden, or blesses it.
compare() { # NAME GOLDEN ACTUAL
    if [ "$bless" = bless ]; then
        if ! cmp -s "$2" "$3"; then
            echo "--- $1"
            diff "$2" "$3" 2>/dev/null || true
            cp "$3" "$2"
        fi
        pass
    elif diff -u "$2" "$3" >"$temporary/diff" 2>&1; then
        pass
    else
        fail "$1"
        cat "$temporary/diff"
    fi
}

# Runs a case; its arguments are NAME.yaml and the lines of NAME.args.
run_case() { # NAME
    set -- "$1" "$1.yaml"
    if [ -f "$1.args" ]; then
        while IFS= read -r argument; do
            set -- "$@" "$argument"
        done <"$1.args"
    fi
    name=$1
    shift
    "$check" "$@" >"$temporary/out" 2>"$temporary/err"
    status=$?
    case $status in
    0)
        [ "$bless" = bless ] && rm -f "$name.err"
        compare "$name" "$name.want" "$temporary/out"
        [ -s "$temporary/err" ] || [ -f "$name.notes" ] &&
            compare "$name" "$name.notes" "$temporary/err"
        round_trip "$name" "$temporary/out" ;;
    1)
        [ "$bless" = bless ] && rm -f "$name.want"
        compare "$name" "$name.err" "$temporary/err" ;;
    *)
        fail "$name: status $status"
        head -5 "$temporary/err" ;;
    esac
}

# A resolved spec loads, and to itself.
round_trip() { # NAME FILE
    cp "$2" "$temporary/again.yaml"
    if "$check" "$temporary/again.yaml" >"$temporary/again" 2>/dev/null &&
        cmp -s "$temporary/again" "$2"; then
        pass
    else
        fail "$1: the resolved spec does not load to itself"
    fi
}

# Runs a command and compares its status, and a word that it must print.
expect() { # STATUS WORD ARGUMENTS...
    wanted=$1 word=$2
    shift 2
    "$check" "$@" >"$temporary/out" 2>&1
    status=$?
    if [ $status -eq "$wanted" ] &&
        { [ -z "$word" ] || grep -q -F -e "$word" "$temporary/out"; }; then
        pass
    else
        fail "$*: status $status, wanted $wanted and \"$word\""
        head -5 "$temporary/out"
    fi
}

for file in *.yaml; do
    run_case "${file%.yaml}"
done

for file in "$models"/*.yaml; do
    expect 0 "name: $(basename "$file" .yaml)" "$file"
    "$check" "$file" 2>&1 >/dev/null | grep . && fail "$file: notes" || pass
    round_trip "$file" "$temporary/out"
done

# Files that are not worth keeping.
expect 1 'cannot be read: No such file' "$temporary/nothing.yaml"
expect 1 'is a directory' "$temporary"
expect 1 'larger than 16 MiB' /dev/zero
yes '# a comment that goes on' | head -c 17000000 >"$temporary/large.yaml"
expect 1 'larger than 16 MiB' "$temporary/large.yaml"
awk 'BEGIN { for (i = 0; i < 100000; i++) printf "[" }' >"$temporary/deep.yaml"
expect 1 'nested deeper than 64' "$temporary/deep.yaml"
awk 'BEGIN { printf "x: ["; for (i = 0; i < 100000; i++) printf "a," ; print "a]" }' \
    >"$temporary/many.yaml"
expect 1 'more than 20000 values' "$temporary/many.yaml"
expect 1 'nothing.yaml: error' tiny.yaml -f "$temporary/nothing.yaml"

# A capacity is the decimal as it was written, as a reduced fraction.
capacity() { # DECIMAL FRACTION
    printf 'name: t\nmodel: {vocab: 9, context: 9, dim: 8, heads: 2, blocks: 1, %s}\n' \
        "experts: {count: 4, capacity: $1}" >"$temporary/capacity.yaml"
    expect 0 "capacity ($2)" command capacity "$temporary/capacity.yaml"
}
capacity 0 0/1
capacity 1.250 5/4
capacity 0.1 1/10
capacity 3 3/1
capacity 12.5e-1 5/4
capacity 2e2 200/1
capacity 0.00000000000001 1/100000000000000
capacity 99999999999999.5 199999999999999/2
expect 0 'capacity (0/1)' command capacity tiny.yaml

# The commands.
expect 0 '"$schema"' command schema
if command -v python3 >/dev/null; then
    "$check" command schema | python3 -m json.tool >/dev/null && pass || fail 'schema: no JSON'
else
    echo 'skipped: schema as JSON (no python3)'
fi
expect 0 'usage' command schema --help
expect 2 'unexpected' command schema more
expect 0 'Learning rate' command explain train.optimizer.lr
expect 0 'min_lr' command explain train.schedule
expect 0 'rotary' command explain model.position
expect 0 'keys' command explain
expect 1 'did you mean `warmup`' command explain train.schedule.warmpu
expect 1 'here that is `model.blocks`' command explain n_layers
expect 1 'train.optimizer.lr' command explain lr
expect 2 'usage' command explain a b
expect 2 'usage' command explain --keys
expect 0 'gpt2-124m' command models "$models"
expect 3 'not at' command models "$temporary/nowhere"
cd "$temporary" || exit 1
expect 0 '' command init tiny "$models"
expect 0 'name: tiny' tiny.yaml
expect 1 'not overwritten' command init tiny "$models"
expect 0 '' command init gpt2-124m -o other.yaml "$models"
expect 0 'name: gpt2-124m' other.yaml
expect 1 'did you mean `gpt2-xl`' command init gpt2-xxl "$models"
expect 1 'lists them' command init ../tiny "$models"
expect 1 'No such file' command init tiny -o nowhere/tiny.yaml "$models"
expect 2 'missing' command init "$models"
expect 2 'usage' command init tiny other "$models"
[ "$(ls | grep -c tmp-)" = 0 ] && pass || fail 'init: a temporary file is left'

# Every key explains itself.
for key in $("$check" command keys); do
    "$check" command explain "$key" >"$temporary/out" 2>&1 || fail "explain $key"
done
pass

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
