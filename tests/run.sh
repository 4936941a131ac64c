#!/bin/sh
# Runs the batteries of tests and adds up what they say.
#
#     tests/run.sh              every battery
#     tests/run.sh NAME…        some of them
#     tests/run.sh --list       their names
#
# A battery is a program that prints `N passed, M failed` when it ends, perhaps
# after its name. The list below has those that need arguments, the quick ones
# first; any other tests/NAME/run.sh is one as well and runs after them.
# A battery that prints no such line, or ends with an error though it counts no
# failure, is one failure. The last line is the sum.
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL    # of `make check`: tests run make themselves
cd "$(dirname "$0")/.." || exit 1

# A C compiler takes ten seconds a case: some that differ in much.
cases=tests/reference/cases
cc_cases="$cases/gpt2 $cases/llama $cases/lecture $cases/random-3 $cases/train-adamw"
export cc_cases

# NAME COMMAND…
batteries='
lint            tests/lint.sh
docs            tests/docs/run.sh
spec            tests/spec/run.sh
runtime_files   tests/runtime_files/run.sh
ir              tests/ir/run.sh
runtime         tests/runtime/run.sh
emit            tests/emit/run.sh build
kernels         tests/kernels/run.sh
reference       tests/reference/run.sh ./trainwright
reference-cc    env BUILD_FLAGS=--via=cc tests/reference/run.sh ./trainwright $cc_cases
'
for script in tests/*/run.sh; do
    case $batteries in
    *"$script"*) ;;
    *) name=${script#tests/}
       batteries="$batteries${name%/run.sh} $script
" ;;
    esac
done
names=$(echo "$batteries" | awk 'NF { print $1 }')

if [ "${1:-}" = --list ]; then
    echo "$names"
    exit 0
fi
for name in "$@"; do
    echo "$names" | grep -qxF -- "$name" || {
        echo "no battery $name; there are:" $names >&2
        exit 2
    }
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
total_passed=0 total_failed=0 start=$(date +%s)

# Its output appears as it comes; its status is in the file `status`.
run_battery() { # NAME COMMAND
    echo "== $1"
    began=$(date +%s)
    { sh -c "$2" 2>&1; echo $? >"$work/status"; } | tee "$work/said"
    status=$(cat "$work/status")
    took=$(($(date +%s) - began))
    count='.*[^0-9]\([0-9]*\) passed, \([0-9]*\) [a-z ]*failed.*'
    set -- "$1" $(sed 's/^/ /' "$work/said" |
        sed -n "s/$count/\1 \2/p" | tail -n 1)
    passed=${2:-0} failed=${3:-0}
    if [ $# -ne 3 ]; then
        echo "$1: printed no count (status $status)"
        failed=1
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        echo "$1: status $status, though it counts no failure"
        failed=1
    elif [ $((passed + failed)) -eq 0 ]; then
        echo "$1: ran no test"
        failed=1
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    echo "-- $1: $passed passed, $failed failed, $took s"
    [ "$failed" -eq 0 ] || broken="${broken:-}$1 "
}

for name in ${*:-$names}; do
    command=$(echo "$batteries" | sed -n "s/^$name  *//p")
    run_battery "$name" "$command"
done
[ -z "${broken:-}" ] || echo "failed: $broken"
echo "in $(($(date +%s) - start)) s"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
