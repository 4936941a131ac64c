#!/bin/bash
# run.sh: memory is what was planned (docs/architecture.md, section 4). The parts
# of `info --json` add up; a run's peak is its plan's total, give or take 3% and
# 16 MiB; between the first and the last step nothing is allocated or mapped.
#
#     tests/memory/run.sh [TRAINWRIGHT]         default: ./trainwright of this tree
#     tests/memory/run.sh full [TRAINWRIGHT]    GPT-2 124M too: 2.5 GB
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
full=
[ "${1:-}" != full ] || { full=1; shift; }
compiler=$(realpath "${1:-$root/trainwright}")
[ -x "$compiler" ] || { echo "run.sh: no compiler $compiler" >&2; exit 2; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
flags="-std=gnu11 -O1 -g -Wall -Wextra -Werror"
gcc $flags "$here/peak.c" -o peak || exit 1
gcc $flags -shared -fPIC "$here/watch.c" -o watch.so -ldl || exit 1
cat "$here"/*.c "$here"/*.sh >text.txt
grep '[a-z]' text.txt | tr -d '\t' | awk 'length > 30 {
    print substr($0, 1, 15 + NR % 11) "\t" substr($0, 16, 3 + NR % 13)
}' >pairs.tsv
head -n 3 pairs.tsv >few.tsv
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }

# ---- what info says ----------------------------------------------------------
# Every program of `info --json`: NAME FIXED THREAD THREADS TOTAL SUM-OF-CLASSES;
# the sum without what is there for other steps alone.
programs() {
    awk -F'[":, ]+' '
        /"programs"/ { inside = 1; next }
        !inside { next }
        /"fixed_bytes"/ { fixed = $3 }
        /"thread_bytes"/ { thread = $3 }
        /"threads"/ { threads = $3 }
        /"total_bytes"/ { total = $3 }
        /^      "[a-z]+": \{/ { name = $2 }
        /"classes"/ { classes = 1; sum = 0; next }
        classes && /\}/ {
            classes = 0
            printf "%s %.0f %.0f %d %.0f %.0f\n", name, fixed, thread, threads, total, sum
        }
        classes && $2 != "other_steps" { sum += $3 }'
}
adds_up() { # PROGRAM
    local count=0 generate
    generate=$("./$1" info --json --threads "$2" | programs | awk '$1 == "generate" { print $6 }')
    while read -r name fixed thread threads total sum; do
        count=$((count + 1))
        # encode leaves its keys and values where generate finds them
        [ "$name" != encode ] || [ "$sum" -gt "$generate" ] || sum=$generate
        if [ "$((fixed + thread * threads))" != "$total" ]; then
            fail "$1: $name: $fixed + $thread x $threads is not $total"
        elif [ "$sum" != "$fixed" ]; then
            fail "$1: $name: classes add up to $sum, not $fixed"
        else
            pass
        fi
    done < <("./$1" info --json --threads "$2" | programs)
    [ $count -ge 4 ] || fail "$1: info names $count programs"
}
planned() { # PROGRAM STEP THREADS
    "./$1" info --json --threads "$3" | programs | awk -v step="$2" '$1 == step { printf "%.0f\n", $5 }'
}

# ---- what runs use -------------------------------------------------------------
near_plan() { # DESCRIPTION PLAN COMMAND…
    local what=$1 plan=$2 got
    shift 2
    got=$(./peak "$@" 2>said) || { fail "$what: $(head -n 2 said)"; return; }
    local line="$what: planned $plan, used $got bytes ($((got * 1000 / plan)) thousandths)"
    echo "$line"
    if [ "$got" -ge $((plan * 97 / 100 - (16 << 20))) ] &&
        [ "$got" -le $((plan * 103 / 100 + (16 << 20))) ]; then pass; else fail "$line"; fi
}
data_of() { if [ "$1" = pairs ]; then echo pairs.tsv; else echo text.txt; fi; }
train() { # PROGRAM FLAGS…
    local program=$1
    shift
    echo "./$program" train --data "$(data_of "$program")" --quiet "$@"
}

allocations() { # PROGRAM FLAGS…: calls between the first step and the last
    local program=$1
    shift
    rm -rf watched watched.jsonl calls
    # shellcheck disable=SC2046  # a command of words
    LD_PRELOAD=$work/watch.so WATCH_LAST=6 WATCH_TO=calls \
        $(train "$program" --out watched --log watched.jsonl "$@") >said 2>&1 || head -n 2 said
    cat calls 2>&1
}
allocates_nothing() { # DESCRIPTION PROGRAM FLAGS…
    local what=$1 calls
    shift
    calls=$(allocations "$@")
    if [ "$calls" = "0 calls" ]; then pass; else fail "$what: allocation: $calls"; fi
}
# The kernel's view of the same: calls that change what is mapped.
maps_nothing() {
    if ! strace -o trace -e trace=none true 2>/dev/null; then
        echo "skipped: system calls of training (strace is not here or may not trace)"
        return
    fi
    rm -rf traced traced.jsonl
    strace -f -o trace -e trace=mmap,munmap,mremap,brk,write ./mid train --data text.txt \
        --quiet --out traced --log traced.jsonl >said 2>&1 ||
        { fail "strace: $(head -n 2 said)"; return; }
    local found
    found=$(awk '/write\(.*\{\\"step\\":1,/ { on = 1 } /write\(.*\{\\"step\\":6,/ { on = 0; seen = 1 }
        on && /(mmap|munmap|mremap|brk)\(/ { print } END { if (!seen) print "no last step" }' trace)
    if [ -z "$found" ]; then pass; else fail "maps while training: $(echo "$found" | head -n 3)"; fi
}

for program in mid pairs mixture; do
    "$compiler" build "$here/$program.yaml" -o $program >said 2>&1 || { cat said; exit 1; }
done
"$compiler" build "$here/mid.yaml" -o block --set memory.recompute=block >said 2>&1 ||
    { cat said; exit 1; }
for threads in 1 2 5; do
    adds_up mid $threads
done
adds_up block 2
adds_up pairs 2
adds_up mixture 2
# shellcheck disable=SC2046  # commands of words
{
    near_plan "train, 1 thread" "$(planned mid train 1)" $(train mid --out one --threads 1)
    near_plan "train, 3 threads" "$(planned mid train 3)" $(train mid --out three --threads 3)
    near_plan "resume" "$(planned mid train 2)" \
        $(train mid --out one --threads 2 --resume --steps 8)
    near_plan "train from weights" "$(planned mid train 2)" \
        $(train mid --out init --threads 2 --init three)
    near_plan "recompute: block" "$(planned block train 2)" $(train block --out block-run --threads 2)
    near_plan "eval" "$(planned mid eval 2)" ./mid eval --weights three --data text.txt --threads 2
    near_plan "generate" "$(planned mid generate 1)" ./mid generate --weights three --prompt static \
        --tokens 9 --threads 1
    for program in pairs mixture; do
        near_plan "$program: train" "$(planned $program train 2)" \
            $(train $program --out $program-run --threads 2)
        near_plan "$program: eval" "$(planned $program eval 2)" ./$program eval \
            --weights $program-run --data "$(data_of $program)" --threads 2
    done
    near_plan "pairs: predict" "$(planned pairs generate 2)" ./pairs predict \
        --weights pairs-run --data few.tsv --threads 2
    near_plan "mixture: generate" "$(planned mixture generate 2)" ./mixture generate \
        --weights mixture-run --prompt static --tokens 9 --threads 2
}
less=$(planned block train 2) more=$(planned mid train 2)
if [ "$less" -lt "$more" ]; then pass; else fail "recomputing plans $less, not less than $more"; fi
allocates_nothing "training and evaluating" mid
allocates_nothing "three threads" mid --threads 3
allocates_nothing "pairs" pairs
allocates_nothing "mixture" mixture
allocates_nothing "tracing" mid --trace traced.json
calls=$(allocations mid --set train.checkpoint.every=2)     # libc reads directories into a buffer
if [ "${calls% calls}" -gt 0 ]; then pass; else fail "the watch sees no allocation: $calls"; fi
maps_nothing
if [ -n "$full" ]; then
    "$compiler" build "$root/models/gpt2-124m.yaml" -o gpt2 --set train.batch=4 \
        --set train.sequence=64 >said 2>&1 || { cat said; exit 1; }
    adds_up gpt2 2
    # shellcheck disable=SC2046
    near_plan "GPT-2 124M" "$(planned gpt2 train 2)" $(train gpt2 --out gpt2-run --threads 2 --steps 2)
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
