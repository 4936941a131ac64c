#!/bin/sh
# run.sh: tensor ranks. Each spec of specs/ trains on one rank, then under plans
# that slice its products: the loss of each of 30 steps is within 1e-5 of the one
# rank's, so are the evaluation and a batch's gradients; two runs and both back
# ends give the same bits; messages are as many as foretold, of some plans as
# formulas.awk says; what a rank saves is what it says; a checkpoint goes on
# elsewhere.
#
#     tests/tensor/run.sh [TRAINWRIGHT]   default: ./trainwright of this tree
#     SPECS='rotary alibi'                only these
#
# A plan is words: tensor=2 sequence context=2 data=2 experts=2 stages=2
# shard=parameters micro=1 recompute=block; count=4 (experts), via=cc and
# threads=2 are words, too. Ends with `tensor: N passed, M failed`.
set -uf
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=$(realpath "${1:-$root/trainwright}")
[ -x "$compiler" ] || { echo "run.sh: no compiler $compiler" >&2; exit 2; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0 failed=0 spec=

"$root/tests/bits/make_tool.sh" tool || exit 1

# ---- what the specs read ----------------------------------------------------
"$root/tests/bits/make_data.sh" "$here/run.sh" "$root/tests/bits/tool.c"
./tool examples 45 images.safetensors images=real:2:9:9 labels=-5 || exit 1

data_of() {
    case $spec in
    bert) echo sentences.txt ;;
    encoder-decoder | translator) echo pairs.tsv ;;
    classifier) echo labelled.tsv ;;
    image) echo images.safetensors ;;
    preference) echo preferences.jsonl ;;
    *) echo text.txt ;;
    esac
}

# The tensors of a batch for `grad`, with padding of all lengths.
batch_of() {
    case $spec in
    bert) echo tokens=263:24 types=2:24 targets=-263:24 lengths=25 labels=-2 ;;
    classifier) echo tokens=263:24 lengths=25 labels=-4 ;;
    encoder-decoder | translator) echo source=259:24 source_lengths=25 \
        tokens=259:24 targets=-259:24 lengths=25 ;;
    image) echo images=real:2:9:9 labels=-5 ;;
    preference) echo tokens=260:2:24 targets=-260:2:24 lengths=25:2 \
        reference=real:2 ;;
    *) echo tokens=256:24 targets=-256:24 lengths=25 ;;
    esac
}

# ---- helpers ----------------------------------------------------------------
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $spec: $*"; }
check() { # DESCRIPTION COMMAND…: the command must succeed
    what=$1
    shift
    if "$@" >said 2>&1; then pass; else
        fail "$what: $(head -n 3 said | cut -c 1-200 | tr '\n' ' ')"
        return 1
    fi
}

# The flags of `build` for a plan's words, in $flags, and its threads.
read_plan() { # WORD…
    flags='' threads=1
    for word in "$@"; do
        value=${word#*=}
        case $word in
        sequence) flags="$flags --set parallel.sequence_parallel=true" ;;
        tensor=* | data=* | context=* | shard=* | experts=*)
            flags="$flags --set parallel.$word" ;;
        stages=*) flags="$flags --set parallel.pipeline.$word" ;;
        groups=*) flags="$flags --set reproducible.$word" ;;
        count=*) flags="$flags --set model.experts.$word" ;;
        micro=*) flags="$flags --set train.micro_batch=$value" ;;
        recompute=*) flags="$flags --set memory.recompute=$value" ;;
        via=*) flags="$flags --via $value" ;;
        threads=*) threads=$value ;;
        *) echo "run.sh: no such word: $word" >&2; exit 2 ;;
        esac
    done
}
build() { # WORD…: into ./program
    read_plan "$@"
    # shellcheck disable=SC2086  # lists
    timeout 120 "$compiler" build "$file" -o program $flags \
        --set train.checkpoint.every=15 --set train.eval.every=15 \
        --set train.eval.steps=2 >said 2>&1 && return
    fail "build $*: $(head -n 2 said | tr '\n' ' ')"
    return 1
}
train() { # RUN FLAGS…: ./program into directory RUN, log RUN.jsonl
    run=$1
    shift
    rm -rf "$run" "$run.jsonl"
    # shellcheck disable=SC2086  # a list
    timeout 60 ./program train --data "$data" $begin --quiet --out "$run" \
        --log "$run.jsonl" --threads "$threads" "$@" >"$run.said" 2>&1 && return
    fail "train $run: $(head -n 2 "$run.said" | tr '\n' ' ')"
    return 1
}
# Losses and evaluations of two runs, one beside the other.
near_log() { # RUN RUN
    for run in "$1" "$2"; do
        sed -n 's/.*loss":\([-0-9.e+]*\).*/\1/p' "$run.jsonl" >"$run.losses"
    done
    paste "$1.losses" "$2.losses" | awk '
        { off = $1 > $2 ? $1 - $2 : $2 - $1; NF == 2 && seen++ }
        off > 1e-5 * $2 { print "line " NR ": " $1 ", not " $2; bad = 1 }
        off > most * $2 { most = off / $2 }
        END { print "at most " most; exit bad || seen != 32 }'
}
evaluate() { # OUT
    # shellcheck disable=SC2086  # a list
    timeout 60 ./program eval --weights one/step-30 --data "$data" $reference \
        --threads "$threads" >"$1"
}
near_eval() { # the numbers of two evaluations
    evaluate two.eval
    for eval in one two; do
        grep -oE '[0-9]+(\.[0-9e-]+)?$' $eval.eval >$eval.numbers
    done
    [ -s one.numbers ] && paste two.numbers one.numbers | awk '
        { off = $1 > $2 ? $1 - $2 : $2 - $1 }
        off > 2e-5 * $2 { print $1 ", not " $2; bad = 1 }
        END { exit bad }'
}
gradients() { # OUT
    rm -f "$1"
    timeout 60 ./program grad --weights one/step-30/model.safetensors \
        --batch batch.safetensors --out "$1" --threads "$threads"
}
near_gradients() { gradients two.grad && ./tool near two.grad one.grad 1e-5; }
counted() { # RUN: its messages are those of the forecast, in said.messages
    ./program info --json >info.json &&
        awk -f "$here/../plans/messages.awk" -v steps=30 info.json \
            "$1/run.json" >said.messages
}
cut_log() { sed 's/,"seconds":[^,]*,"tokens_per_s":[^,]*//' "$1.jsonl"; }
same_run() { # RUN RUN: to the last bit
    cut_log "$1" >one.log && cut_log "$2" >two.log && diff one.log two.log &&
        ./tool same "$1/step-30/model.safetensors" \
            "$2/step-30/model.safetensors"
}

# ---- plans ------------------------------------------------------------------
one_rank() { # WORD…
    build "$@" && train one || return
    # shellcheck disable=SC2046  # a list
    ./tool examples 8 batch.safetensors $(batch_of) || exit 1
    check "eval of one rank" evaluate one.eval &&
        check "grad of one rank" gradients one.grad
}
plan() { # WORD…: near one rank
    build "$@" && train two || return
    check "$*: losses" near_log two one
    check "$*: eval" near_eval
    check "$*: grad" near_gradients
    check "$*: messages" counted two
}
# The last plan's bits again: another run, by the words.
again() { # WORD…
    mv two.jsonl first.jsonl && rm -rf first && mv two first
    build "$@" && train two && check "$*: the same bits" same_run two first
}
# Fifteen steps under the plan, fifteen on one rank, which is $alone.
resumed() { # WORD…
    build "$@" && train two --steps 15 && build "$alone" || return
    timeout 60 ./program train --data "$data" --quiet --out two \
        --log two.jsonl --threads 1 --resume >two.said 2>&1
    check "$*, then one rank" near_log two one
}

# ---- formulas ---------------------------------------------------------------
of_model() { # KEY: a number of the spec's `model`
    sed -n "s/^  *$1: *\([0-9]*\) *$/\1/p" "$file" | head -n 1
}
formula() { # RANKS SEQUENCE(0 or 1) MICROS MICRO: messages and saved bytes
    awk -f "$here/formulas.awk" -v ranks="$1" -v sequence="$2" -v micros="$3" \
        -v micro="$4" -v blocks="$(of_model blocks)" -v dim="$(of_model dim)" \
        -v heads="$(of_model heads)" -v ff=52 -v vocab="$(of_model vocab)" \
        -v tokens=24 </dev/null | sort >wanted
    { cat said.messages
      sed -n '/"train": {/,/}/s/^ *"saved": \([0-9]*\).*/saved 1 \1/p' info.json
    } | sort >all
    cut -d ' ' -f 1 wanted >names
    grep -wFf names all >got
    [ -s wanted ] && diff wanted got
}

# ---- the specs --------------------------------------------------------------
every_plan() {
    plan tensor=2 micro=2 groups=1
    check "tensor=2: formulas" formula 2 0 4 2
    plan tensor=4
    check "tensor=4: formulas" formula 4 0 1 8
    plan tensor=2 sequence micro=2 threads=2
    check "tensor=2 sequence: formulas" formula 2 1 4 2
    again tensor=2 sequence micro=2
    again tensor=2 sequence micro=2 via=cc
    plan tensor=4 sequence
    check "tensor=4 sequence: formulas" formula 4 1 1 8
    plan tensor=2 sequence context=2
    plan tensor=2 sequence recompute=block data=2
    plan tensor=2 sequence stages=3 micro=1
    plan tensor=2 sequence data=2 shard=optimizer
    plan tensor=2 sequence data=2 shard=gradients
    plan tensor=2 sequence data=2 shard=parameters
    plan tensor=2 sequence data=2 stages=2 context=2 micro=1
    resumed tensor=4 sequence
}
some_plans() {
    plan tensor=2 threads=2
    plan tensor=2 sequence data=2
    plan tensor=2 sequence data=2 shard=gradients recompute=block
}
# Where every token goes to both experts, half of a rank's rows are for the other
# rank, there and back: 4·24·2 / 2 rows of 32 floats a call.
half_of_rows() {
    awk '/^(send|return)_/ { seen++; bad += $3 != $2 * 4 * 24 * 32 * 4 }
        { print } END { exit bad || !seen }' said.messages
}
rows_formula() {
    build data=2 experts=2 count=2 && train two || return
    check "rows of experts: messages" counted two
    check "rows of experts: formula" half_of_rows
}
# Tensor ranks that share experts with those of their data ranks' neighbours.
experts_plans() {
    alone=count=4
    one_rank count=4 || return
    plan tensor=2 sequence data=2 experts=2 count=4 threads=2
    again tensor=2 sequence data=2 experts=2 count=4 via=cc
    plan tensor=2 data=4 experts=2 shard=optimizer count=4
    resumed tensor=2 data=2 experts=2 count=4
}

# Stages hand on shares of x and memory.
stacks_plans() {
    plan tensor=2 sequence stages=3 micro=1 threads=2
    plan tensor=4 sequence stages=4 recompute=block micro=2
    plan tensor=2 sequence data=2 stages=2 shard=parameters micro=1
    plan tensor=2 sequence context=2 stages=2 shard=optimizer
    plan tensor=2 sequence stages=2 via=cc
}

all='decoder rotary alibi relative bert encoder-decoder translator classifier
    image mixture bare side-by-side preference'
for spec in ${SPECS-$all}; do
    file=$here/specs/$spec.yaml
    data=$(data_of) begin='' reference='' alone=threads=1
    if [ "$spec" = preference ]; then   # what pairs are held against
        sed 's/objective: preference/objective: next-token/' "$file" >next.yaml
        file=next.yaml data=text.txt
        build threads=1 && train next --steps 3
        file=$here/specs/$spec.yaml data=preferences.jsonl
        begin='--init next' reference='--reference next'
    fi
    one_rank "$alone" || continue
    case $spec in
    decoder) every_plan ;;
    mixture)
        some_plans
        experts_plans
        rows_formula ;;
    encoder-decoder | translator)
        some_plans
        stacks_plans ;;
    *) some_plans ;;
    esac
done
echo "tensor: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
