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
# failure, is one failure. The last line is the sum. Of several batteries those
# that measure no time run two at once, after the quick ones: what they say
# appears when they have ended.
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
# The longest first; none may mind what runs beside it.
together='bits plans check tensor reference near kernels onerank
reference-cc differences models'
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

command_of() { # NAME
    echo "$batteries" | sed -n "s/^$1  *//p"
}

# What a battery says is in NAME.said, its status in NAME.status, the seconds
# that it took in NAME.took.
run_battery() { # NAME
    began=$(date +%s)
    { sh -c "$(command_of "$1")" 2>&1; echo $? >"$work/$1.status"; } |
        tee "$work/$1.said"
    echo $(($(date +%s) - began)) >"$work/$1.took"
}

count_battery() { # NAME
    status=$(cat "$work/$1.status") took=$(cat "$work/$1.took")
    count='.*[^0-9]\([0-9]*\) passed, \([0-9]*\) [a-z ]*failed.*'
    set -- "$1" $(sed 's/^/ /' "$work/$1.said" |
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

# Two queues of one list: a battery is whose that first makes its directory.
work_off() { # NAME…
    for name in "$@"; do
        mkdir "$work/$name.taken" 2>/dev/null || continue
        run_battery "$name" >"$work/$name.shown"
        echo "   $name has ended, $(cat "$work/$name.took") s"
    done
}

run_together() { # NAME…
    echo "== two at once:" "$@"
    work_off "$@" &
    work_off "$@"
    wait
    for name in "$@"; do
        echo "== $name"
        cat "$work/$name.shown"
        count_battery "$name"
    done
}

run_alone() { # NAME…
    for name in "$@"; do
        echo "== $name"
        run_battery "$name"
        count_battery "$name"
    done
}

# Those of the list $1 that are among the names, or the names that are not.
among() { # LIST NAME…
    list=$1
    shift
    for one in $list; do
        case " $* " in *" $one "*) echo "$one" ;; esac
    done
}
without() { # LIST NAME…
    list=" $(echo $1) "
    shift
    for one in "$@"; do
        case $list in *" $one "*) ;; *) echo "$one" ;; esac
    done
}

# shellcheck disable=SC2046,SC2086  # lists
{
    quick='lint docs spec runtime_files ir'
    chosen=${*:-$(echo $names)}
    run_alone $(among "$quick" $chosen)
    pairs=$(among "$together" $chosen)
    [ -z "$pairs" ] || run_together $pairs
    run_alone $(without "$quick $together" $chosen)
}
[ -z "${broken:-}" ] || echo "failed: $broken"
echo "in $(($(date +%s) - start)) s"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
