#!/bin/sh
# run.sh: plans that sum in another order than one rank does: how far from it they
# are (docs/contract.md, section 5). Each spec of tests/bits trains thirty steps on
# one rank and under the plan: no loss, of training or evaluation, may deviate by
# 1e-5 or more; gradients and logits of a batch with padding of all lengths must
# be near; messages must be as many as foretold.
#
#     tests/near/run.sh [TRAINWRIGHT]     default: ./trainwright of this tree
#     ONLY='pool relative'                only plans that have one of these words
#
# Ends with `near: N passed, M failed`.
set -uf
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
compiler=$(realpath "${1:-$root/trainwright}")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0 failed=0 steps=30

"$root/tests/bits/make_tool.sh" tool || exit 1

# ---- what the specs read ----------------------------------------------------
"$root/tests/bits/make_data.sh" "$root/tests/bits/tool.c"
./tool examples 45 images.safetensors images=real:2:9:9 labels=-5 &&
    ./tool examples 45 graphs.safetensors nodes=real:12:7 edges=2:12:12 \
        lengths=13 labels=-3 || exit 1

data_of() {
    case $spec in
    bert) echo sentences.txt ;;
    encoder-decoder) echo pairs.tsv ;;
    preference) echo preferences.jsonl ;;
    classifier) echo labelled.tsv ;;
    image) echo images.safetensors ;;
    graph) echo graphs.safetensors ;;
    *) echo text.txt ;;
    esac
}
# The tensors of a batch for `grad`; sequences are as long as `length` says.
batch_of() {
    more=$((length + 1))
    case $spec in
    bert) echo "tokens=262:$length types=2:$length targets=-262:$length" \
        "lengths=$more labels=-2" ;;
    classifier) echo "tokens=262:$length lengths=$more labels=-4" ;;
    encoder-decoder) echo "source=259:$length source_lengths=$more" \
        "tokens=259:$length targets=-259:$length lengths=$more" ;;
    image) echo images=real:2:9:9 labels=-5 ;;
    graph) echo nodes=real:12:7 edges=2:12:12 lengths=13 labels=-3 ;;
    preference) echo "tokens=260:2:$length targets=-260:2:$length" \
        "lengths=$more:2 reference=real:2" ;;
    *) echo "tokens=256:$length targets=-256:$length lengths=$more" ;;
    esac
}

# ---- helpers ----------------------------------------------------------------
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL: $*"; }
run() { # NAME SETTING…: builds it, trains it, takes gradients
    to=$1
    shift
    set -- $(for setting; do echo --set "$setting"; done)
    # shellcheck disable=SC2086  # lists
    timeout 120 "$compiler" build "$file" -o "$to" $length_key $size "$@" \
        --set train.steps=$steps --set train.eval.every=10 \
        --set train.eval.steps=2 >said 2>&1 &&
        timeout -k 3 60 "./$to" train --data "$data" $begin --quiet --threads 1 \
            --out "$to.run" --log "$to.jsonl" >said 2>&1 &&
        timeout -k 3 30 "./$to" grad --weights one.run/step-$steps/model.safetensors \
            --batch batch.safetensors --out "$to.grad" >said 2>&1 && return
    fail "$what: $(head -n 2 said | cut -c 1-200 | tr '\n' ' ')"
    return 1
}
losses() { grep -oE '"(loss|eval_loss)":[0-9.e+-]+' "$1"; }
# The largest relative deviation of a loss, below 1e-5.
deviation() {
    losses one.jsonl >one.losses && losses plan.jsonl >plan.losses &&
        paste -d : one.losses plan.losses | awk -F : -v lines=$((steps + 3)) '
            { d = ($4 - $2) / $2; d = d < 0 ? -d : d; most = d > most ? d : most }
            END { print most + 0; exit !(NR >= lines && most < 1e-5) }'
}
# What a program makes of the one rank's weights.
evaluation() { # PROGRAM
    # shellcheck disable=SC2086  # a list
    timeout -k 3 60 "./$1" eval --weights one.run/step-$steps --data "$data" \
        $reference --threads 1 2>&1 | grep '^loss'
}
work_of() { ./"$1" info | sed -n 's/^train:.*tokens, //p'; }    # PROGRAM
# PLAN, by its words: settings of the plan, after `with` those of both.
near() { # SPEC LENGTH SETTING… [with SETTING…]
    what=$*
    spec=$1 length=$2
    shift 2
    file=$root/tests/bits/specs/$spec.yaml
    [ -f "$file" ] || file=$root/tests/plans/specs/$spec.yaml
    data=../$(data_of) begin='' reference='' plan='' size='' part=plan
    for word in "$@"; do
        if [ "$word" = with ]; then part=size
        elif [ $part = plan ]; then plan="$plan $word"
        else size="$size --set $word"; fi
    done
    length_key="--set model.context=$length --set train.sequence=$length"
    case $spec in image | graph) length_key= ;; esac
    rm -rf "$work/now" && mkdir "$work/now" && cd "$work/now" || exit 1
    # shellcheck disable=SC2046  # a list
    ../tool examples 8 batch.safetensors $(batch_of) || exit 1
    if [ "$spec" = preference ]; then   # the weights that pairs are held against
        # shellcheck disable=SC2086  # lists
        "$compiler" build "$file" -o next $length_key $size \
            --set train.objective=next-token >said 2>&1 &&
            ./next train --data ../text.txt --quiet --steps 3 --out next.run \
                >said 2>&1 || fail "$what: $(head -n 1 said)"
        begin='--init next.run' reference='--reference next.run/step-3'
    fi
    # shellcheck disable=SC2086  # a list
    run one && run plan $plan || return
    if found=$(deviation); then pass; else fail "$what: deviates by $found"; fi
    echo "$what: $found"
    if ../tool near one.grad plan.grad 1e-4 >said 2>&1; then pass; else
        fail "$what: grad: $(head -n 1 said)"; fi
    if (evaluation one && evaluation plan) | awk '{ at[NR] = $2 }
            END { d = at[2] / at[1] - 1; exit !(NR == 2 && d * d < 1e-10) }'
    then pass; else fail "$what: eval is another"; fi
    if ./plan info --json >info.json &&
        awk -f "$root/tests/plans/messages.awk" -v steps=$steps info.json \
            plan.run/run.json >said 2>&1; then pass; else
        fail "$what: messages: $(head -n 1 said)"; fi
    case $plan in *experts*) ;; *) return ;; esac
    if [ "$(work_of one)" = "$(work_of plan)" ]; then pass; else
        fail "$what: $(work_of plan), of one rank $(work_of one)"; fi
}

# The same bits whether ranks that share experts or products split what they have
# or not: the log, weights and moments, gradients; and from the middle of the run
# on.
shares() { # [of=SPEC] KEPT[:GROUP] SETTING…: parallel.shard is KEPT, in groups
    spec=mixture length=24 what="shares $*"
    case $1 in of=*) spec=${1#of=}; shift ;; esac
    kept=${1%:*} group='' batch=12
    case $1 in *:*) group=parallel.shard_group=${1#*:} ;; esac
    shift
    for word in "$@"; do
        case $word in train.batch=*) batch=${word#*=} ;; esac
    done
    file=$root/tests/bits/specs/$spec.yaml
    size="train.steps=8 train.batch=$batch train.checkpoint.every=4"
    rm -rf "$work/now" && mkdir "$work/now" && cd "$work/now" || exit 1
    # shellcheck disable=SC2046  # a list
    ../tool examples "$batch" batch.safetensors $(batch_of) || exit 1
    for of in none "$kept"; do
        [ $of = none ] && grouped='' || grouped=$group
        # shellcheck disable=SC2046,SC2086  # lists
        timeout 120 "$compiler" build "$file" -o $of $(for setting in $size \
            model.context=24 train.sequence=24 parallel.shard=$of \
            ${grouped-} "$@"
            do echo --set $setting; done) >said 2>&1 &&
            timeout -k 3 60 ./$of train --data "../$(data_of)" --quiet --threads 2 \
                --out $of.run --log $of.jsonl >said 2>&1 &&
            timeout -k 3 30 ./$of grad --weights none.run/step-8 --batch \
                batch.safetensors --out $of.grad >said 2>&1 ||
            { fail "$what: $of: $(head -n 1 said)"; return; }
        grep -oE '"(loss|eval_loss|grad_norm)":[0-9.e+-]+' $of.jsonl >$of.log
    done
    mkdir more.run && cp -r none.run/step-4 more.run &&
        timeout -k 3 60 "./$kept" train --data "../$(data_of)" --quiet \
            --resume --out more.run >said 2>&1 ||
        fail "$what: resume: $(head -n 1 said)"
    if cmp -s none.log "$kept.log" && [ -s none.log ]; then pass; else
        fail "$what: another log"; fi
    for pair in none.grad,$kept.grad \
        none.run/step-8/model.safetensors,$kept.run/step-8/model.safetensors \
        none.run/step-8/optimizer.safetensors,$kept.run/step-8/optimizer.safetensors \
        none.run/step-8/optimizer.safetensors,more.run/step-8/optimizer.safetensors
    do
        if ../tool same "${pair%,*}" "${pair#*,}" >said 2>&1; then pass; else
            fail "$what: $pair: $(head -n 1 said)"; fi
    done
    if "./$kept" info --json >info.json &&
        awk -f "$root/tests/plans/messages.awk" -v steps=8 info.json \
            "$kept.run/run.json" >said 2>&1; then pass; else
        fail "$what: messages: $(head -n 1 said)"; fi
}

# ---- the plans --------------------------------------------------------------
plans() {
    cat <<END_PLANS
learned 32 parallel.context=2
rotary 24 parallel.context=3 with train.optimizer.lr=1e-3 train.schedule.warmup=9
alibi 40 parallel.context=2 parallel.data=2
masked 24 parallel.context=2
bert 32 parallel.context=2
bert 24 parallel.context=3 train.micro_batch=2
classifier 24 parallel.context=2
classifier 24 parallel.context=2 parallel.data=2 with model.head.classify.pool=max
classifier 24 parallel.context=3 with model.head.classify.pool=sum
classifier 24 parallel.context=2 with model.head.classify.pool=first
classifier 24 parallel.context=2 train.micro_batch=2 with model.head.classify.pool=last
classifier 24 parallel.context=2 parallel.pipeline.stages=2 train.micro_batch=2
classifier 24 parallel.context=2 parallel.tensor=5
preference 24 parallel.context=2
preference 24 parallel.context=3 parallel.data=2 train.micro_batch=2
relative 24 parallel.context=2
relative 24 parallel.context=2 parallel.shard=parameters
relative 24 parallel.tensor=2 with model.ff.dim=44
relative 24 parallel.context=3 with model.position=relative-learned
relative 24 parallel.tensor=2 parallel.pipeline.stages=2 train.micro_batch=1 \
    parallel.pipeline.schedule=zero-bubble with model.ff.dim=44
image 0 parallel.context=5
encoder-decoder 24 parallel.context=2
encoder-decoder 24 parallel.context=3 train.micro_batch=2 parallel.data=2
encoder-decoder 24 parallel.tensor=2 parallel.sequence_parallel=true \
    parallel.pipeline.stages=2 parallel.pipeline.schedule=interleaved \
    parallel.pipeline.virtual=2 train.micro_batch=1 with model.ff.dim=50
encoder-decoder 24 parallel.tensor=2 parallel.pipeline.stages=2 \
    parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=2 \
    parallel.pipeline.split=[1,1,2,1] train.micro_batch=1 with model.ff.dim=50 \
    model.blocks.encoder=2 model.blocks.decoder=3
encoder-decoder 24 parallel.tensor=2 parallel.context=2 parallel.pipeline.stages=3 \
    parallel.pipeline.schedule=zero-bubble train.micro_batch=1 with model.ff.dim=50
mixture 24 parallel.context=2 with model.experts.capacity=0 \
    model.experts.count=4
mixture 24 parallel.context=2 parallel.data=2 parallel.experts=2 with model.experts.capacity=0 \
    model.experts.count=4
mixture 24 parallel.data=2 parallel.experts=2 with model.experts.capacity=0 \
    model.experts.count=4 model.norm.place=post train.schedule.warmup=5
mixture 24 parallel.data=2 parallel.experts=2 model.experts.buffer=300 \
    with model.experts.count=4
mixture 24 parallel.data=4 parallel.experts=2 parallel.shard=optimizer \
    with model.experts.count=4 model.experts.capacity=0
encoder-decoder 24 parallel.data=4 parallel.experts=2 parallel.shard=gradients with \
    model.experts.count=4 model.experts.top_k=2 model.experts.aux_loss=0.02
encoder-decoder 24 parallel.data=4 parallel.experts=2 with \
    model.experts.count=4 model.experts.top_k=2 model.experts.aux_loss=0.02
encoder-decoder 24 parallel.data=2 parallel.experts=2 with model.blocks.decoder=0 \
    model.experts.count=4 model.experts.top_k=1 model.experts.aux_loss=0.3
preference 24 parallel.data=2 parallel.experts=2 with \
    model.experts.count=4 model.experts.top_k=1 model.experts.aux_loss=0.02
mixture 24 parallel.data=2 parallel.experts=2 parallel.tensor=2 with \
    model.experts.count=4 model.ff.dim=36 model.ff.bias=true train.schedule.warmup=5
mixture 24 parallel.data=2 parallel.context=2 parallel.experts=2 parallel.tensor=2 \
    parallel.sequence_parallel=true with model.experts.count=4 model.ff.dim=36 \
    model.experts.capacity=0 train.schedule.warmup=5
mixture 24 parallel.data=2 parallel.experts=2 parallel.tensor=2 model.experts.buffer=300 \
    parallel.pipeline.stages=2 parallel.pipeline.schedule=interleaved \
    parallel.pipeline.virtual=2 train.micro_batch=2 with model.experts.count=4 \
    model.ff.dim=36 model.blocks=4 train.schedule.warmup=5
encoder-decoder 24 parallel.data=2 parallel.experts=2 parallel.tensor=2 \
    parallel.pipeline.stages=2 train.micro_batch=2 with model.experts.count=4 \
    model.experts.top_k=2 model.experts.aux_loss=0.02 model.ff.dim=36
encoder-decoder 24 parallel.data=2 parallel.experts=2 parallel.pipeline.stages=2 \
    parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=2 train.micro_batch=1 with \
    model.experts.count=4 model.experts.top_k=2 model.experts.aux_loss=0.02
preference 24 parallel.data=2 parallel.experts=2 parallel.tensor=2 parallel.shard=parameters \
    with model.experts.count=4 model.experts.top_k=1 model.experts.aux_loss=0.02 model.ff.dim=54
encoder-decoder 24 parallel.data=4 parallel.experts=2 parallel.pipeline.stages=3 \
    parallel.shard=parameters parallel.shard_group=2 train.micro_batch=1 with \
    model.experts.count=4 model.experts.top_k=2 model.experts.aux_loss=0.02
preference 24 parallel.data=4 parallel.experts=2 parallel.pipeline.stages=2 \
    parallel.shard=parameters train.micro_batch=1 with model.experts.count=4 \
    model.experts.top_k=1 model.experts.aux_loss=0.02
bert 32 parallel.data=2 parallel.experts=2 parallel.pipeline.stages=2 \
    parallel.shard=gradients train.micro_batch=1 memory.recompute=block with \
    model.experts.count=4 model.experts.top_k=2
graph 12 parallel.context=2 with model.input.graph.nodes=12
graph 12 parallel.context=3 parallel.data=2 with model.input.graph.nodes=12
END_PLANS
}
plans >plans.txt
while read -r words; do
    wanted=yes
    for word in ${ONLY-}; do
        wanted=no
        case $words in *$word*) wanted=yes; break ;; esac
    done
    # shellcheck disable=SC2086  # words
    [ $wanted = no ] || near $words
done <plans.txt

# ---- shares of experts -------------------------------------------------------
if [ -z "${ONLY-}" ] || [ "${ONLY-}" = shares ]; then
    four='model.experts.count=4 parallel.experts=2'
    # shellcheck disable=SC2086  # words
    {
        shares optimizer parallel.data=4 $four
        shares optimizer parallel.data=2 $four train.micro_batch=2
        shares optimizer parallel.data=6 parallel.experts=2 \
            model.experts.count=6 model.norm.place=post
        shares gradients parallel.data=4 $four
        shares gradients parallel.data=2 $four
        shares gradients parallel.data=4 $four train.micro_batch=1 \
            'train.freeze=[blocks.0.*,embed.*]'
        shares gradients parallel.data=2 parallel.context=2 $four \
            model.experts.capacity=0
        shares gradients parallel.data=4 $four parallel.tensor=2 \
            parallel.sequence_parallel=true model.ff.dim=36 model.ff.bias=true
        shares parameters parallel.data=2 $four parallel.tensor=2 \
            train.micro_batch=3 model.ff.dim=36 model.ff.bias=true
        shares parameters parallel.data=4 $four
        shares parameters parallel.data=2 $four train.micro_batch=3
        shares optimizer parallel.data=2 $four parallel.pipeline.stages=3 \
            model.blocks=5 train.micro_batch=1 parallel.pipeline.schedule=gpipe
        shares gradients parallel.data=4 $four parallel.pipeline.stages=2 \
            model.blocks=3 train.micro_batch=1 model.tie_embeddings=true \
            parallel.pipeline.schedule=zero-bubble
        shares parameters parallel.data=4 $four parallel.pipeline.stages=2 \
            model.blocks=5 train.micro_batch=1 model.tie_embeddings=true \
            parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=2
        shares parameters:2 parallel.data=4 $four parallel.pipeline.stages=2 \
            train.micro_batch=1 parallel.tensor=2 model.ff.dim=36
        shares optimizer:2 parallel.data=8 parallel.experts=4 train.batch=16 \
            model.experts.count=4
        shares gradients:2 parallel.data=6 parallel.experts=3 \
            model.experts.count=6 model.norm.place=post
        shares gradients:2 parallel.data=4 parallel.context=2 $four \
            model.experts.capacity=0
        shares parameters:4 parallel.data=8 $four train.batch=16
        shares parameters:2 parallel.data=4 $four parallel.tensor=2 \
            model.ff.dim=36 train.micro_batch=1
        shares parameters parallel.data=6 parallel.experts=2 \
            model.experts.count=6 model.norm.place=post train.micro_batch=1
        # chunks of both stacks
        mixed='parallel.pipeline.schedule=interleaved parallel.pipeline.stages=2
            parallel.pipeline.virtual=2 train.batch=8 train.micro_batch=1
            model.norm.place=pre model.position=learned'
        shares of=encoder-decoder gradients parallel.data=2 parallel.tensor=2 \
            parallel.sequence_parallel=true model.ff.dim=50 \
            memory.recompute=block $mixed
        shares of=encoder-decoder parameters parallel.data=2 parallel.context=2 $mixed
        shares of=encoder-decoder parameters:2 parallel.data=4 $four $mixed
        shares of=encoder-decoder optimizer parallel.data=2 parallel.tensor=2 \
            model.ff.dim=36 model.experts.aux_loss=0.02 $four $mixed
    }
fi

# ---- a buffer that is too small ---------------------------------------------
what='a full buffer'
rm -rf "$work/now" && mkdir "$work/now" && cd "$work/now" || exit 1
"$compiler" build "$root/tests/bits/specs/mixture.yaml" -o full \
    --set model.experts.count=4 --set parallel.data=2 \
    --set parallel.experts=2 --set model.experts.buffer=100 >said 2>&1 ||
    fail "$what: $(head -n 1 said)"
timeout -k 3 60 ./full train --data ../text.txt --quiet --out full.run >said 2>&1
status=$?
words='block 0 sends the experts of rank [01] [0-9]* rows, and'
words="$words model.experts.buffer (.*) has room for 100"
if [ $status = 1 ] && [ "$(grep -c "error: $words" said)" = 1 ]; then pass; else
    fail "$what: status $status: $(cat said)"; fi
echo "near: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
