#!/bin/sh
# Tests of what the documents say and of what `make install` leaves.
#
#     tests/docs/run.sh           compare
#     tests/docs/run.sh bless     write docs/keys.md and the tour's excerpts anew
#
# docs/keys.md is made from keys.def; the excerpts in docs/tour.md are those of the
# program that is emitted today; the table of examples/plans is its programs';
# links lead to files; README's commands exist; an installed copy builds a program,
# and it trains.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 1
bless=${1:-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # NAME COMMAND…
    name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        head -n 20 "$work/said"
    fi
}

# ---- docs/keys.md -----------------------------------------------------------
warn="-Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes"
${CC:-cc} -std=gnu11 $warn -O1 -o "$work/keys_table" tests/docs/keys_table.c \
    compiler/spec/*.c ir/base.c -lyaml -lm || exit 1
{
    sed '/^| key/,$d' docs/keys.md
    "$work/keys_table"
} >"$work/keys.md"
[ "$bless" != bless ] || cp "$work/keys.md" docs/keys.md
check "docs/keys.md is keys.def's" diff -u docs/keys.md "$work/keys.md"
check "docs/keys.md has every key" sh -c \
    '[ "$(grep -c "^| .[a-z]" docs/keys.md)" -gt 100 ]'

# ---- docs/tour.md -----------------------------------------------------------
check "emit tiny" ./trainwright emit models/tiny.yaml -o "$work/tiny"
perl tests/docs/excerpts.pl docs/tour.md "$work/tiny" >"$work/tour.md"
[ "$bless" != bless ] || cp "$work/tour.md" docs/tour.md
check "the tour's excerpts are the program's" diff -u docs/tour.md "$work/tour.md"
check "the tour has excerpts" sh -c \
    '[ "$(grep -c "^<!-- tiny" docs/tour.md)" -ge 8 ]'

# ---- links ------------------------------------------------------------------
for page in README.md docs/*.md examples/*/README.md; do
    for link in $(perl -0pe 's/^```.*?^```//gms; s/^    .*//gm; s/`[^`]*`//g' \
        "$page" | grep -o '](\([^)#]*\)' | sed 's/^](//' | grep -v '^http' |
        sort -u); do
        check "$page: $link" test -e "$(dirname "$page")/$link"
    done
done
check "CI runs README's test command" sh -c \
    'command=$(sed -n "s/.*{ \(make [^&|;]*check\).*/\1/p" .ci/run) &&
     [ -n "$command" ] && grep -qxF "    $command" README.md'

# ---- the table of examples/plans ----------------------------------------------
# Memory and messages of each plan are what its program says, which need not run.
plans=examples/plans
for file in $plans/plans/*.yaml; do
    plan=$(basename "$file" .yaml)
    ./trainwright build $plans/spec.yaml -f "$file" -o "$work/plan" >/dev/null
    echo "$plan $("$work/plan" info --json --threads 1 | awk -f $plans/table.awk)"
done >"$work/plans"
awk '/^    [01][0-9]-/ && NF == 10 { $1 = $1; print }' $plans/README.md \
    >"$work/plans.told"
check "$plans/README.md: the table" diff -u "$work/plans.told" "$work/plans"
check "$plans/README.md has twelve plans" sh -c \
    '[ "$(wc -l <"$1")" = 12 ]' sh "$work/plans.told"

# ---- the bigram -------------------------------------------------------------
# In abab…, counted over the first 9 bytes, P(b | a) = 5/260 and P(a | b) = 5/260
# but for one pair less at the end: held out are the pairs ba and ab.
check "the loss of byte pairs" sh -c '
    said=$(printf abababababab | od -An -v -tu1 -w1 |
        awk -f examples/fortunes/bigram.awk -v train=9) &&
    wanted=$(awk "BEGIN { printf \"%.4f\", -(log(5 / 260) * 2) / 2 }") &&
    echo "$said, not $wanted" && [ "$said" = "$wanted" ]'

# ---- lint finds what it looks for ---------------------------------------------
for case in tests/docs/wrong/*; do
    rule=$(basename "$case" | sed 's/\..*//')
    mkdir -p "$work/lint/ir"
    cp "$case" "$work/lint/ir/"
    check "lint: $rule" sh -c "cd $work/lint &&
        perl $root/tests/lint.pl ir/$(basename "$case") | tee /dev/stderr |
        grep -q ': $rule: '"
done

# ---- an installed copy --------------------------------------------------------
check "make install" make -s install DESTDIR="$work/root" PREFIX=/usr
installed=$work/root/usr/bin/trainwright
check "installed: models" sh -c "$installed models | grep -q '^tiny '"
check "installed: init" sh -c "cd $work && $installed init tiny"
check "installed: build" sh -c "cd $work && $installed build tiny.yaml -o p"
check "installed: build --via cc" sh -c \
    "cd $work && $installed build tiny.yaml --via cc -o q"
for program in p q; do
    check "installed: $program trains" "$work/$program" train --quiet \
        --data docs/contract.md --steps 2 --out "$work/$program-run"
done
check "man page" sh -c "test -s $work/root/usr/share/man/man1/trainwright.1"
check "man page names every command" sh -c '
    for command in $(./trainwright --help | sed -n "s/^  \([a-z]*\) .*/\1/p"); do
        grep -qw "$command" trainwright.1 || { echo "$command"; exit 1; }
    done'
check "completion names every command" sh -c '
    for command in $(./trainwright --help | sed -n "s/^  \([a-z]*\) .*/\1/p"); do
        grep -qw "$command" completions/trainwright || { echo "$command"; exit 1; }
    done'
check "completion is bash" bash -n completions/trainwright

echo "docs: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
