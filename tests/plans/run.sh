#!/bin/sh
# run.sh: the same bits under every plan (docs/contract.md, section 5). Each spec
# (of specs/ and of tests/bits/specs, a few blocks and six steps of it) trains on
# one rank, then on many ranks under many plans with as many groups: every line of
# the log, the weights and moments, `eval` and `grad` must be those of the one
# rank. Messages must be as many as foretold, and as the formulas say.
#
#     tests/plans/run.sh [TRAINWRIGHT]    default: ./trainwright of this tree
#     SPECS='rotary alibi'                only these
#     KEEP=DIR                            leaves what it makes there
#
# A plan is words: data=4 shard=parameters shard_group=2 stages=2 schedule=gpipe
# virtual=2 split=[1,3,1] micro=1 recompute=block; via=cc and threads=2 are words,
# too. One that the compiler says is not built yet counts neither way, and is
# printed. Ends with `plans: N passed, M failed`.
set -uf
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=$(realpath "${1:-$root/trainwright}")
[ -x "$compiler" ] || { echo "run.sh: no compiler $compiler" >&2; exit 2; }
if [ -n "${KEEP:-}" ]; then
    work=$KEEP
    mkdir -p "$work" || exit 1
else
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
fi
cd "$work" || exit 1
passed=0 failed=0 steps=6

"$root/tests/bits/make_tool.sh" tool || exit 1

# ---- what the specs read ----------------------------------------------------
"$root/tests/bits/make_data.sh" "$here/run.sh" "$root/tests/bits/tool.c"
./tool examples 45 images.safetensors images=real:2:9:9 labels=-5 || exit 1

data_of() {
    case $spec in
    bert) echo sentences.txt ;;
    encoder-decoder | translator) echo pairs.tsv ;;
    preference) echo preferences.jsonl ;;
    classifier) echo labelled.tsv ;;
    image) echo images.safetensors ;;
    *) echo text.txt ;;
    esac
}

# The tensors of a batch for `grad`, with padding of all lengths.
batch_of() {
    case $spec in
    learned) echo tokens=256:32 targets=-256:32 lengths=33 ;;
    rotary) echo tokens=261:29 targets=-261:29 lengths=30 ;;
    alibi) echo tokens=256:40 targets=-256:40 lengths=41 ;;
    frozen) echo tokens=259:23 targets=-259:23 lengths=24 ;;
    masked) echo tokens=261:29 targets=-261:29 lengths=30 ;;
    bert) echo tokens=262:31 types=2:31 targets=-262:31 lengths=32 labels=-2 ;;
    classifier) echo tokens=262:24 lengths=25 labels=-4 ;;
    encoder-decoder) echo source=259:25 source_lengths=26 tokens=259:25 \
        targets=-259:25 lengths=26 ;;
    translator) echo source=261:24 source_lengths=25 tokens=261:24 \
        targets=-261:24 lengths=25 ;;
    mixture) echo tokens=257:27 targets=-257:27 lengths=28 ;;
    image) echo images=real:2:9:9 labels=-5 ;;
    preference) echo tokens=260:2:24 targets=-260:2:24 lengths=25:2 \
        reference=real:2 ;;
    relative) echo tokens=256:26 targets=-256:26 lengths=27 ;;
    esac
}

# Five blocks where a pipeline cuts them, so that stages are uneven. Of the
# translator stages that have the embedding have other weights beside it.
blocks_of() {
    case $spec in
    learned | rotary | alibi | frozen | masked | bert | image | preference)
        echo --set model.blocks=5 ;;
    translator) echo --set model.tie_embeddings=true \
        --set model.embedding_norm=true ;;
    esac
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

# The flags of `build` for a plan's words, in $flags, and its threads.
read_plan() { # WORD…
    flags='' threads=1
    for word in "$@"; do
        value=${word#*=}
        case $word in
        data=* | shard=* | shard_group=* | bucket=* | overlap=*)
            flags="$flags --set parallel.$word" ;;
        stages=* | schedule=* | virtual=* | split=*)
            flags="$flags --set parallel.pipeline.$word" ;;
        micro=*) flags="$flags --set train.micro_batch=$value" ;;
        recompute=*) flags="$flags --set memory.recompute=$value" ;;
        order=*) flags="$flags --set reproducible.order=$value" ;;
        objective=*) flags="$flags --set train.objective=$value" ;;
        via=*) flags="$flags --via $value" ;;
        threads=*) threads=$value ;;
        *) echo "run.sh: no such word: $word" >&2; exit 2 ;;
        esac
    done
}

# Into ./program. 2: not built yet.
build() { # WORD…
    read_plan "$@"
    # shellcheck disable=SC2086  # lists
    timeout 120 "$compiler" build "$file" -o program $size $flags \
        --set train.steps="$steps" --set train.checkpoint.every=3 \
        --set train.eval.every=3 --set train.eval.steps=2 >said 2>&1 && return
    if grep -q 'not built yet' said; then
        echo "not built: $spec: $* ($(sed -n 's/^.*error: //p' said | head -n 1))"
        return 2
    fi
    fail "build $*: $(head -n 2 said | tr '\n' ' ')"
    return 1
}
train() { # RUN FLAGS…: ./program into directory RUN, log RUN.jsonl
    run=$1
    shift
    # shellcheck disable=SC2086  # a list
    timeout 60 ./program train --data "$data" $begin --quiet --out "$run" \
        --log "$run.jsonl" --threads "$threads" "$@" >"$run.said" 2>&1 && return
    fail "train $run: $(head -n 2 "$run.said" | tr '\n' ' ')"
    return 1
}
cut_log() { sed 's/,"seconds":[^,]*,"tokens_per_s":[^,]*//' "$1.jsonl"; }
same_state() { # DIRECTORY DIRECTORY
    ./tool same "$1/model.safetensors" "$2/model.safetensors" &&
        ./tool same "$1/optimizer.safetensors" "$2/optimizer.safetensors"
}
same_log() { # RUN RUN
    cut_log "$1" >one.log && cut_log "$2" >two.log && diff one.log two.log &&
        [ "$(grep -c '"loss":[0-9]' one.log)" = 6 ] &&
        [ "$(grep -c '"eval_loss":[0-9]' one.log)" = 2 ]
}

# What the program makes of the one rank's weights: loss and gradients.
evaluate() { # OUT
    # shellcheck disable=SC2086  # a list
    timeout 60 ./program eval --weights "one/step-$steps" --data "$data" $reference \
        --threads "$threads" >"$1"
}
gradients() { # OUT
    timeout 60 ./program grad --weights "one/step-$steps/model.safetensors" \
        --batch batch.safetensors --out "$1" --threads "$threads"
}
same_loss() { evaluate two.eval && [ -s two.eval ] && diff one.eval two.eval; }
same_gradients() {
    rm -f two.grad
    gradients two.grad && ./tool same one.grad two.grad
}
counted() { # RUN: its messages are those of the forecast, in said.messages
    ./program info --json >info.json &&
        awk -f "$here/messages.awk" -v steps="$steps" info.json "$1/run.json" \
            >said.messages
}
differs() { ! "$@" >/dev/null 2>&1; }

# ---- plans ------------------------------------------------------------------
# The one rank that all are held against; its `groups` are theirs.
one_rank() { # WORD…
    build "$@" || return 1
    rm -rf one one.jsonl
    train one || return 1
    # shellcheck disable=SC2046  # a list
    ./tool examples "$batch" batch.safetensors $(batch_of) || exit 1
    check "eval of one rank" evaluate one.eval &&
        check "grad of one rank" gradients one.grad
}

plan() { # WORD…: trains, evaluates and differentiates as one rank does
    build "$@" || return
    rm -rf two two.jsonl
    train two || return
    check "$*: log" same_log two one
    check "$*: weights and moments" same_state two/step-6 one/step-6
    check "$*: eval" same_loss
    check "$*: grad" same_gradients
    [ ! -f formula ] || rm formula
    case " $*" in
    *=[2-9]*) check "$*: messages" counted two ;;
    esac
}

# The last plan's messages by formula: all that formulas.awk names, no others
# of gradients, weights or rows.
formula() { # MICROS MICRO
    data_ranks=1 stages=1 virtual=1 shard=none shard_group=0 order=fixed
    bucket=0
    for word in $words; do
        case $word in
        data=*) data_ranks=${word#*=} ;;
        stages=*) stages=${word#*=} ;;
        virtual=*) virtual=${word#*=} ;;
        shard=*) shard=${word#*=} ;;
        shard_group=*) shard_group=${word#*=} ;;
        order=*) order=${word#*=} ;;
        bucket=*) bucket=${word#*=} ;;
        esac
    done
    # shellcheck disable=SC2086  # a list
    "$compiler" ir "$file" $size >model.ir || return 1
    sequence=$(sed -n 's/^step train .*sequence=\([0-9]*\).*/\1/p' model.ir)
    awk -f "$here/formulas.awk" -v data="$data_ranks" -v stages="$stages" \
        -v virtual="$virtual" \
        -v shard="$shard" -v group="$shard_group" -v order="$order" \
        -v bucket="$bucket" -v micros="$1" -v micro="$2" \
        -v sequence="$sequence" model.ir | sort >wanted.messages
    cut -d ' ' -f 1 wanted.messages >names
    grep -wFf names said.messages | sort >got.messages
    [ -s wanted.messages ] && diff wanted.messages got.messages
}
plan_formula() { # MICROS MICRO WORD…
    micros=$1 micro=$2
    shift 2
    words=$*
    plan "$@"
    check "$*: formulas" formula "$micros" "$micro"
}

# Sums of another order: the loss of each step is near, and messages are as many
# as foretold and as the formulas say.
near_log() { # RUN RUN
    cut_log "$1" >one.log && cut_log "$2" >two.log && paste one.log two.log |
        awk -F '"loss":' -v steps="$steps" '
            NF == 3 {
                gap = ($2 - $3) / $3
                far += gap > 1e-5 || gap < -1e-5
                read++
            }
            END { print read, "losses,", far + 0, "far"; exit far || read != steps }'
}
near_formula() { # MICROS MICRO WORD…
    micros=$1 micro=$2
    shift 2
    words=$*
    build "$@" || return
    rm -rf two two.jsonl
    train two || return
    check "$*: losses" near_log two one
    check "$*: other bits" differs same_state "two/step-$steps" "one/step-$steps"
    check "$*: messages" counted two
    check "$*: formulas" formula "$micros" "$micro"
}

# Three steps under one plan, three under another, as six under none.
resume() { # WORD… then WORD…
    first='' second='' part=first
    for word in "$@"; do
        if [ "$word" = then ]; then part=second
        elif [ $part = first ]; then first="$first $word"
        else second="$second $word"; fi
    done
    rm -rf parts parts.jsonl
    # shellcheck disable=SC2086  # lists
    build $first && train parts --steps 3 && build $second || return
    train parts --resume || return
    check "$*: log" same_log parts one
    check "$*: weights and moments" same_state parts/step-6 one/step-6
}

# ---- the specs --------------------------------------------------------------
data_plans() {
    plan data=2 threads=2
    plan data=4 micro=1
    plan data=4 micro=2 threads=2
}
shard_plans() {
    plan data=2 shard=optimizer threads=2
    plan data=2 shard=gradients micro=1
    plan data=2 shard=parameters overlap=false
    plan data=4 shard=optimizer micro=1
    plan data=4 shard=gradients threads=2
    plan data=4 shard=parameters micro=1 threads=2
}
group_plans() {
    plan data=4 shard=optimizer shard_group=2 threads=2
    plan data=4 shard=gradients shard_group=2 micro=1
    plan data=4 shard=gradients shard_group=2 micro=2
    plan data=4 shard=parameters shard_group=2 threads=2
    plan data=4 shard=optimizer shard_group=1
    plan data=4 shard=optimizer shard_group=4
    plan data=4 stages=2 shard=optimizer shard_group=2 micro=1
    plan data=4 stages=2 shard=gradients shard_group=2 threads=2
    resume data=4 shard=parameters shard_group=2 then data=2 micro=1
    resume data=4 shard=gradients then data=4 shard=optimizer shard_group=2
}
pipeline_plans() {
    plan stages=2 threads=2
    plan stages=2 schedule=gpipe micro=1
    plan stages=3 micro=1
    plan stages=3 schedule=gpipe split=[1,3,1] threads=2
    plan stages=2 data=2 micro=1
    plan stages=3 data=2 schedule=gpipe threads=2
    plan stages=2 schedule=interleaved virtual=2 micro=1
    plan stages=2 schedule=interleaved virtual=2 data=2 shard=optimizer \
        split=[1,2,1,1] threads=2
    plan stages=2 data=2 shard=parameters micro=1 threads=2
    plan stages=3 data=2 shard=parameters overlap=false recompute=block
    plan stages=2 schedule=zero-bubble micro=1
    plan stages=3 schedule=zero-bubble data=2 shard=gradients threads=2
}
recompute_plans() {
    plan recompute=block data=2 micro=1
    plan recompute=block data=2 shard=parameters threads=2
    plan recompute=block stages=2 micro=1
    plan recompute=attention stages=2 data=2 schedule=gpipe
    plan recompute=block stages=2 schedule=zero-bubble micro=1
}
resumptions() {
    resume data=4 shard=parameters then stages=3 micro=1 threads=2
    resume stages=3 data=2 shard=parameters then data=4 shard=parameters
    resume stages=2 data=2 then data=2 shard=gradients threads=2
    resume data=2 shard=optimizer then threads=2
    resume threads=2 then data=4 stages=2 schedule=gpipe split=[2,3]
}
# Where data = groups = 3 no rank alone has these groups: the first plan is one.
three() {
    size="$(blocks_of) --set reproducible.groups=3 --set train.batch=6"
    batch=6
    one_rank data=3 || return
    plan data=3 threads=2 micro=1
    plan data=3 shard=optimizer
    plan data=3 shard=gradients micro=1
    plan data=3 shard=parameters threads=2
    plan data=3 stages=2 micro=1
    resume data=3 shard=parameters then data=3 stages=2 threads=2
}
formulas() {
    plan_formula 4 2 data=2
    plan_formula 4 2 data=4
    plan_formula 4 2 data=2 bucket=100000
    plan_formula 1 2 data=4 stages=2 bucket=33333
    plan_formula 2 2 data=2 shard=optimizer
    plan_formula 2 2 data=4 shard=optimizer
    plan_formula 2 2 data=4 shard=gradients
    plan_formula 2 2 data=2 shard=parameters
    plan_formula 2 1 data=4 shard=parameters micro=1
    plan_formula 2 2 data=4 shard=optimizer shard_group=2
    plan_formula 2 2 data=4 shard=gradients shard_group=2
    plan_formula 2 1 data=4 shard=parameters shard_group=2 micro=1
    plan_formula 4 2 stages=2
    plan_formula 8 1 stages=3 schedule=gpipe micro=1
    plan_formula 2 2 stages=3 data=2
    plan_formula 8 1 stages=2 schedule=interleaved virtual=2 micro=1
    plan_formula 2 2 stages=2 schedule=interleaved virtual=2 data=2
    plan_formula 4 1 stages=2 data=2 shard=gradients micro=1
    plan_formula 2 2 stages=3 data=2 shard=parameters
    plan_formula 2 2 stages=5 data=2 shard=parameters
    plan_formula 2 1 stages=2 data=4 shard=parameters shard_group=2 micro=1
    plan_formula 8 1 stages=3 schedule=zero-bubble micro=1
}
every_plan() {
    data_plans
    shard_plans
    group_plans
    pipeline_plans
    recompute_plans
    resumptions
}
some_plans() {
    plan data=2 micro=1 threads=2
    plan data=4 shard=optimizer threads=2
    plan data=2 shard=gradients
    plan data=4 shard=parameters micro=1
    plan data=4 shard=parameters shard_group=2 threads=2
    plan stages=2 micro=1
    plan stages=3 data=2 schedule=gpipe threads=2
    plan stages=2 schedule=interleaved virtual=2 micro=1
    plan stages=2 data=2 shard=parameters recompute=block
    plan stages=3 schedule=zero-bubble micro=1
    resume data=2 shard=parameters then stages=2 micro=1
}
# Models that a pipeline does not cut yet.
whole_plans() {
    plan data=2 threads=2
    plan data=4 micro=1
    plan data=2 shard=optimizer micro=1
    plan data=4 shard=gradients threads=2
    plan data=2 shard=parameters recompute=block
    plan data=4 shard=gradients shard_group=2
    plan stages=2
    resume data=2 shard=parameters then data=4 threads=2
}
# Of an encoder of three blocks and a decoder of two.
stacks_plans() {
    plan stages=2 schedule=gpipe micro=1 recompute=block
    plan stages=3 data=2 micro=1 threads=2
    plan stages=4 split=[2,1,1,1] micro=1 threads=2
    plan stages=5 schedule=gpipe data=2
    plan via=cc stages=3 split=[3,1,1] micro=1
    plan stages=5 schedule=zero-bubble micro=1 threads=2
    plan stages=3 schedule=zero-bubble data=2 micro=1 recompute=block
    plan via=cc stages=4 schedule=zero-bubble split=[2,1,1,1]
    plan stages=3 schedule=zero-bubble data=2 shard=parameters micro=1 threads=2
    resume stages=4 then stages=2 data=2
    stacks_shards
}
# The stages' units: what stands before, in and behind the blocks of a stack.
stacks_shards() {
    plan stages=2 data=2 shard=optimizer micro=1
    plan stages=3 data=2 shard=gradients schedule=gpipe threads=2
    plan stages=4 data=2 shard=parameters micro=1 recompute=block
    plan stages=2 data=4 shard=parameters shard_group=2 threads=2
    plan stages=4 data=4 shard=optimizer shard_group=2 micro=1
    plan via=cc stages=3 data=2 shard=parameters
    resume stages=3 data=2 shard=parameters then stages=2 data=4 shard=gradients
    resume data=2 shard=optimizer then stages=2 data=2 shard=parameters
}
# Chunks of both stacks on a stage; the decoder begins on the first stage, on the
# last and between, and the encoder is one chunk.
mixed_plans() {
    plan stages=2 schedule=interleaved virtual=2 micro=1 threads=2
    plan stages=2 schedule=interleaved virtual=2 data=2 split=[1,1,1,2] recompute=block
    plan via=cc stages=2 schedule=interleaved virtual=2 data=2 micro=1
    resume stages=2 schedule=interleaved virtual=2 micro=1 then stages=3 data=2
    size='--set model.blocks={"encoder":5,"decoder":4} --set reproducible.groups=4'
    one_rank threads=1 || return
    plan stages=3 schedule=interleaved virtual=3 micro=1 threads=2
    plan stages=3 schedule=interleaved virtual=2 split=[2,1,1,1,2,2] micro=1
    plan stages=2 schedule=interleaved virtual=2 split=[5,2,1,1] data=2
    plan stages=2 schedule=interleaved virtual=2 split=[5,2,1,1] data=2 shard=gradients
    plan stages=3 schedule=interleaved virtual=3 data=2 shard=parameters micro=1
}
# The same in shares. Of the translator something stands between both stacks'
# blocks of a stage: on the first what embeds for the decoder, on the last the
# encoder's norm; where the encoder ends the first one, both stand elsewhere.
mixed_shards() {
    plan stages=2 schedule=interleaved virtual=2 data=2 shard=optimizer micro=1
    plan stages=2 schedule=interleaved virtual=2 data=2 shard=gradients recompute=block
    plan stages=2 schedule=interleaved virtual=2 data=2 shard=parameters threads=2
    plan stages=2 schedule=interleaved virtual=2 data=4 shard=parameters \
        shard_group=2 micro=1 overlap=false
    plan via=cc stages=2 schedule=interleaved virtual=2 data=4 shard=gradients
    resume stages=2 schedule=interleaved virtual=2 data=2 shard=parameters then \
        stages=3 data=2 shard=optimizer
    resume data=4 shard=gradients shard_group=2 then stages=2 \
        schedule=interleaved virtual=2 data=2 shard=optimizer micro=1
    size="$size --set model.blocks={\"encoder\":4,\"decoder\":3} \
        --set model.tie_embeddings=false"
    one_rank threads=1 || return
    plan stages=2 schedule=interleaved virtual=2 split=[2,1,1,3] data=2 \
        shard=optimizer threads=2
    plan stages=2 schedule=interleaved virtual=2 split=[4,1,1,1] data=2 \
        shard=parameters micro=1
    plan stages=3 schedule=interleaved virtual=2 data=2 shard=gradients micro=1
}
# `order: fast` sums blocks in every micro-batch, where there are several. A
# spec's last plans: they are near another run of the one rank, which is longer.
fast_plans() {
    batch=8 size="$(blocks_of) --set reproducible.groups=4"
    one_rank threads=1 || return
    plan order=fast micro=1
    plan data=4 shard=optimizer order=fast micro=1
    plan stages=2 data=2 shard=gradients order=fast micro=1
    steps=30
    one_rank threads=1 || return
    near_formula 2 2 data=2 shard=gradients order=fast micro=2
    near_formula 4 1 data=2 shard=parameters order=fast micro=1 threads=2
    near_formula 2 1 data=4 shard=parameters shard_group=2 order=fast micro=1
    near_formula 1 4 data=2 shard=gradients order=fast micro=4
    steps=6
}
# Tables of relative positions, whose gradients the input halves sum: the
# weights of a group come before the next one's backward.
tables() {
    size="--set model.blocks=3 --set reproducible.groups=4"
    one_rank threads=1 || return
    plan stages=3 schedule=zero-bubble micro=1 threads=2
    plan stages=2 data=2 schedule=zero-bubble shard=parameters micro=1
    plan stages=2 schedule=zero-bubble recompute=block
    resume stages=3 schedule=zero-bubble micro=1 then data=2 shard=optimizer
    size="$size --set model.position=relative-learned"
    one_rank threads=1 || return
    plan via=cc stages=3 schedule=zero-bubble micro=1
    plan stages=2 data=2 schedule=zero-bubble micro=1 threads=2
    plan stages=2 data=2 shard=gradients micro=1
}
other_groups() { # other groups give other bits: the comparison can fail
    size="$size --set reproducible.groups=2"
    build data=2 && rm -rf two two.jsonl && train two &&
        check "2 groups differ from 4" differs same_state two/step-6 one/step-6
}
one_spec() {
    case $spec in
    learned)
        every_plan
        formulas
        plan via=cc data=2 shard=gradients threads=2
        plan via=cc stages=2 schedule=interleaved virtual=2 data=2 micro=1
        plan via=cc stages=2 schedule=zero-bubble data=2 micro=1
        other_groups
        fast_plans ;;
    rotary)
        every_plan
        plan via=cc data=2 stages=2 micro=1
        three ;;
    alibi | frozen | masked | bert | image | classifier) some_plans ;;
    preference)
        whole_plans
        plan stages=3 schedule=zero-bubble data=2 micro=1 threads=2
        plan stages=2 schedule=interleaved virtual=2 micro=1
        plan stages=2 data=2 shard=parameters
        plan data=4 shard=parameters shard_group=2 micro=1 threads=2
        plan via=cc data=4 shard=parameters ;;
    encoder-decoder)
        whole_plans
        stacks_plans
        mixed_plans ;;
    translator)
        plan stages=3 micro=1
        stacks_shards
        mixed_shards ;;
    relative)
        whole_plans
        plan data=4 shard=parameters micro=1 threads=2
        plan data=2 stages=2 shard=parameters micro=1
        plan via=cc data=4 shard=parameters shard_group=2 recompute=block
        tables ;;
    *) whole_plans ;;
    esac
}

all='learned rotary alibi frozen masked bert classifier image
    encoder-decoder translator mixture preference relative'
for spec in ${SPECS-$all}; do
    file=$here/specs/$spec.yaml
    [ -f "$file" ] || file=$here/../bits/specs/$spec.yaml
    [ -f "$file" ] || file=$here/../tensor/specs/$spec.yaml
    data=$(data_of) begin='' reference=''
    size="$(blocks_of) --set reproducible.groups=4" batch=8
    if [ "$spec" = preference ]; then
        # what pairs are held against: a model of the next token, a little trained
        rm -rf next next.jsonl
        data=text.txt
        build objective=next-token && train next --steps 3
        data=preferences.jsonl begin='--init next' reference='--reference next'
    fi
    one_rank threads=1 && one_spec
done
echo "plans: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
