#!/bin/sh
# run.sh: `check`, `diff` and `ir --rank`. Specs and plans that hold pass; then
# faults are planted in a copy of the compiler, one at a time, and `check` must
# refuse the plan: with status 4, or by stopping at a rule that the compiler
# keeps of itself. What `diff` says is held against `info` of the built program.
#
#     tests/check/run.sh [TRAINWRIGHT]    default: ./trainwright of this tree
#
# Ends with `check: N passed, M failed`.
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL
root=$(cd "$(dirname "$0")/../.." && pwd)
tw=$(realpath "${1:-$root/trainwright}")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
cp "$root"/models/*.yaml . || exit 1
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED $*"
    head -n 12 said
}
expect() { # STATUS WORDS COMMAND…: the words are in what it prints
    want=$1 words=$2
    shift 2
    timeout 120 "$@" >said 2>&1
    got=$?
    if [ "$got" -eq "$want" ] && grep -qF -- "$words" said; then
        pass
    else
        fail "$*: status $got, not $want, or without: $words"
    fi
}
settings() { # KEY=VALUE…: as --set options, one a line; words for several
    for setting; do
        case $setting in
        shares) settings parallel.tensor=2 parallel.sequence_parallel=true ;;
        groups4) settings model.blocks=4 train.batch=8 reproducible.groups=4 ;;
        between) settings model.norm.place=pre model.position=learned ;;
        many) settings model.heads=8 parallel.tensor=8 parallel.data=16 \
            parallel.sequence_parallel=true train.batch=32 ;;
        32) settings train.batch=64 parallel.data=32 ;;
        frozen) settings 'model.blocks={"encoder":2,"decoder":2}' \
            'train.freeze=["*.blocks.1.*"]' ;;
        zero2) settings parallel.data=2 parallel.shard=gradients ;;
        *) printf '%s\n%s\n' --set "$setting" ;;
        esac
    done
}
holds() { # SPEC PLAN [ASSUMED]: every claim but those is proved or tested
    # shellcheck disable=SC2046,SC2086  # settings are words
    expect 0 ", ${3:-0} assumed, 0 failed" "$tw" check $1 $(settings $2)
}

# ---- plans that hold --------------------------------------------------------
four=reproducible.groups=4
holds tiny.yaml ""
holds tiny.yaml "parallel.data=4 reproducible.groups=8 train.micro_batch=1"
holds tiny.yaml "parallel.data=3 train.batch=12"
holds tiny.yaml "parallel.data=4 parallel.shard=optimizer $four"
holds tiny.yaml "parallel.data=2 parallel.shard=gradients $four"
holds tiny.yaml "parallel.data=4 parallel.shard=parameters $four"
holds tiny.yaml "parallel.data=4 parallel.shard=parameters \
parallel.shard_group=2 $four"
holds tiny.yaml "parallel.data=32 parallel.shard=gradients \
parallel.shard_group=8 train.batch=32" 1
holds tiny.yaml "parallel.data=2 parallel.shard=parameters \
train.micro_batch=2 reproducible.order=fast"
holds tiny.yaml "model.blocks=7 parallel.pipeline.stages=3 train.micro_batch=2"
holds tiny.yaml "model.blocks=5 parallel.pipeline.stages=2 parallel.data=2 \
parallel.shard=parameters"
holds tiny.yaml "model.blocks=6 parallel.pipeline.stages=3 \
parallel.pipeline.split=[1,2,3] parallel.pipeline.schedule=gpipe"
holds tiny.yaml "model.blocks=5 parallel.pipeline.stages=2 \
parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=2 $four"
holds mixtral-8x7b.yaml "parallel.pipeline.stages=2 \
parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=3"
holds tiny.yaml "model.blocks=4 parallel.pipeline.stages=3 \
parallel.pipeline.schedule=zero-bubble train.micro_batch=1 $four"
holds transformer-xl.yaml "groups4 parallel.pipeline.stages=2 \
parallel.pipeline.schedule=zero-bubble train.micro_batch=1"
holds tiny.yaml "model.blocks=4 parallel.pipeline.stages=2 \
parallel.pipeline.schedule=zero-bubble train.micro_batch=1 \
train.freeze=[\"blocks.*\"]"
holds tiny.yaml "parallel.tensor=2 parallel.data=2"
holds tiny.yaml "parallel.tensor=2 model.vocab=257"
holds tiny.yaml shares
holds bert-base.yaml "shares model.head=lm"
holds tiny.yaml "shares zero2 parallel.context=2"
holds original-transformer.yaml shares
holds tiny.yaml "parallel.context=2"
holds bert-base.yaml "parallel.context=2"
holds bert-base.yaml "model.norm.place=pre parallel.pipeline.stages=2"
holds bert-base.yaml "parallel.context=2 parallel.pipeline.stages=2 \
train.micro_batch=2"
holds graph-transformer.yaml "parallel.context=2 parallel.data=2"
holds graph-transformer.yaml "parallel.context=2 model.position=alibi"
holds original-transformer.yaml "parallel.context=2 parallel.tensor=2"
holds preference-tuning.yaml "parallel.context=2 parallel.data=2"
holds transformer-xl.yaml "parallel.context=2"
holds mixtral-8x7b.yaml "parallel.data=2 parallel.experts=2 model.norm.place=post \
model.experts.buffer=40000"
holds mixtral-8x7b.yaml "parallel.context=2 parallel.data=4 parallel.experts=2"
holds classifier.yaml "parallel.context=3 train.sequence=120 \
model.head.classify.pool=max"
holds vit-tiny-digits.yaml "parallel.context=2 model.head.classify.pool=last"
holds simple-attention.yaml "parallel.context=2"
holds simple-attention.yaml "parallel.data=2 parallel.shard=parameters"
holds vit-tiny-digits.yaml "parallel.context=5 model.input.image.size=6"
holds mixtral-8x7b.yaml "parallel.data=4 parallel.experts=2"
holds mixtral-8x7b.yaml "parallel.data=4 parallel.experts=2 \
parallel.shard=optimizer"
holds mixtral-8x7b.yaml "parallel.data=2 parallel.experts=2 \
parallel.context=2 parallel.shard=gradients"
holds mixtral-8x7b.yaml "parallel.data=4 parallel.experts=2 \
parallel.shard=parameters"
holds mixtral-8x7b.yaml "parallel.data=2 parallel.experts=2 \
model.norm.place=post"
holds mixtral-8x7b.yaml "parallel.data=4 parallel.experts=2 \
parallel.tensor=2 parallel.shard=parameters"
holds mixtral-8x7b.yaml "parallel.data=4 parallel.experts=2 \
parallel.shard=parameters parallel.pipeline.stages=2 train.micro_batch=1"
holds mixtral-8x7b.yaml "parallel.data=8 parallel.experts=2 \
parallel.shard=gradients parallel.shard_group=4"
holds mixtral-8x7b.yaml "parallel.data=16 parallel.experts=4 \
parallel.shard=parameters parallel.shard_group=2 train.batch=16"
holds bert-base.yaml "parallel.data=2 memory.recompute=block"
holds original-transformer.yaml "parallel.data=2"
holds original-transformer.yaml "parallel.pipeline.stages=2"
holds original-transformer.yaml "parallel.data=2 parallel.pipeline.stages=3 \
    model.norm.place=pre model.position=learned"
holds original-transformer.yaml "parallel.tensor=2 parallel.context=2 \
    parallel.pipeline.stages=2"
holds original-transformer.yaml "parallel.pipeline.stages=3 zero2 \
    parallel.tensor=2 model.norm.place=pre model.position=learned"
holds original-transformer.yaml "parallel.pipeline.stages=3 shares zero2"
holds original-transformer.yaml "groups4 parallel.pipeline.stages=3 \
    parallel.pipeline.schedule=zero-bubble model.position=relative"
holds original-transformer.yaml "parallel.pipeline.stages=3 $four \
    train.batch=8 train.micro_batch=1 parallel.pipeline.schedule=interleaved \
    parallel.pipeline.virtual=2 model.position=relative model.norm.place=pre"
holds original-transformer.yaml "shares parallel.pipeline.stages=2 \
    parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=3"
holds original-transformer.yaml "zero2 parallel.pipeline.stages=2 \
    parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=2 \
    shares between"
holds original-transformer.yaml "parallel.data=4 parallel.shard=parameters \
    parallel.shard_group=2 parallel.pipeline.stages=2 $four \
    parallel.pipeline.schedule=interleaved parallel.pipeline.virtual=3"
holds original-transformer.yaml "parallel.pipeline.stages=4 \
    parallel.pipeline.schedule=gpipe model.tie_embeddings=false \
    model.position=relative"
holds vit-tiny-digits.yaml "parallel.data=2 parallel.shard=parameters"
holds graph-transformer.yaml "parallel.data=2"
holds preference-tuning.yaml "parallel.data=2 parallel.pipeline.stages=2"
holds preference-tuning.yaml "parallel.data=2 parallel.shard=parameters"
holds gpt3-175b.yaml "train.batch=512 parallel.data=8 train.micro_batch=1 \
parallel.pipeline.stages=8" 1

# ---- more ranks than are run ------------------------------------------------
cuts() { # SPEC PLAN WORDS: holds, and says what was run of the plan
    holds "$1" "$2" 1
    cp said certificate
    expect 0 "tested with" cat certificate
    expect 0 "$3" cat certificate
}
cuts gpt3-175b.yaml "train.batch=512 train.micro_batch=1 parallel.data=16 \
parallel.pipeline.stages=8 parallel.tensor=8" \
    "16 ranks of 1024 (data 2 of 16, stages 4 of 8, tensor 2 of 8); 3 steps"
expect 0 "all 1024 ranks, 8 walked, the others run the same" cat certificate
cuts mixtral-8x7b.yaml "parallel.data=8 parallel.experts=4 parallel.context=2 \
parallel.shard=parameters parallel.shard_group=4 parallel.tensor=4 \
parallel.pipeline.stages=2 train.batch=16 train.micro_batch=1" \
    "tensor 2 of 4, context 2, experts 2 of 4, in one shard group); 3 steps"
cuts original-transformer.yaml "parallel.data=2 parallel.pipeline.stages=6 \
parallel.pipeline.split=[3,3,1,2,2,1] parallel.tensor=2" \
    "(data 2, stages 4 of 6, tensor 2)"
cuts tiny.yaml "parallel.pipeline.stages=24 model.blocks=30 train.batch=30 \
train.freeze=[\"blocks.*\"]" "16 ranks of 24 (stages 16 of 24)"

# ---- the command ------------------------------------------------------------
expect 0 "usage: trainwright check" "$tw" check --help
expect 2 "SPEC.yaml is missing" "$tw" check
expect 2 "unknown option" "$tw" check tiny.yaml --run
expect 1 "nothing.yaml" "$tw" check nothing.yaml
expect 1 "cannot be written" "$tw" check tiny.yaml -o nowhere/c.json
expect 1 "does not divide" "$tw" check tiny.yaml --set parallel.data=3
expect 0 "0 failed" "$tw" check tiny.yaml --set parallel.data=2 -o c.json
expect 0 '"status": "tested"' cat c.json
expect 0 '"format": 1' cat c.json
"$tw" build tiny.yaml --set parallel.data=2 -o two >said 2>&1
./two info --json >info
for hash in spec_hash source_hash; do
    one=$(sed -n "s/^ *\"$hash\": \"\(.*\)\",*/\1/p" info)
    expect 0 "\"$hash\": \"$one\"" cat c.json
done
"$tw" check tiny.yaml --set parallel.data=2 -o again.json >said 2>&1
cmp -s c.json again.json && pass || fail "two certificates differ"
# Others may be at a check as well: theirs go when they have ended.
there=$(ls -d /tmp/trainwright-check-* 2>/dev/null)
for _ in $(seq 120); do
    left=$(ls -d $there 2>/dev/null)
    [ -z "$there" ] || [ -z "$left" ] && break
    sleep 1
done
[ -z "$there" ] || [ -z "$left" ] && pass || fail "left in /tmp: $left"

# ---- diff -------------------------------------------------------------------
differs() { # EFFECT KEY=VALUE…
    want=$1
    shift
    # shellcheck disable=SC2046  # settings are words
    expect 0 "numbers: $want" "$tw" diff tiny.yaml --set $four -- \
        $(settings "$@")
}
expect 0 "no key differs" "$tw" diff tiny.yaml -- tiny.yaml
differs "same bits" parallel.data=2
differs "same bits" parallel.data=4 parallel.shard=gradients
differs "same bits" parallel.data=4 parallel.shard=gradients \
    parallel.shard_group=2
differs "same bits" parallel.pipeline.stages=2 memory.recompute=block
differs "same bits" train.micro_batch=1 train.checkpoint.every=7
differs "same bits" name=other
differs reassociated reproducible.groups=2
differs reassociated parallel.tensor=2
differs reassociated parallel.tensor=2 parallel.data=2
differs reassociated parallel.data=2 parallel.context=2
differs "same bits" reproducible.order=fast parallel.data=2
differs reassociated reproducible.order=fast parallel.data=2 \
    parallel.shard=gradients train.micro_batch=2
differs different train.optimizer.lr=1e-3
differs different train.seed=1 parallel.data=2
differs different model.dim=32
differs different train.steps=100
expect 0 "as far as both go" "$tw" diff tiny.yaml \
    --set train.schedule.type=constant -- --set train.steps=100
expect 0 "bits: the same for data in {1,2,4}" "$tw" diff tiny.yaml \
    --set $four -- --set parallel.data=2
context="--set parallel.context=2"
# shellcheck disable=SC2086
{
    expect 0 "numbers: reassociated" "$tw" diff tiny.yaml --set $four $context \
        -- --set parallel.data=2
    expect 0 "numbers: same bits" "$tw" diff tiny.yaml --set $four $context \
        --set parallel.data=2 -- --set train.micro_batch=1 \
        --set parallel.shard=gradients
    expect 0 "bits: of this data (parallel.context)" "$tw" diff tiny.yaml \
        --set $four $context -- --set parallel.shard=optimizer \
        --set train.micro_batch=1
}
expect 0 "bits: differ from A" "$tw" diff tiny.yaml -- --set train.seed=2
expect 0 "tiny.yaml:13" "$tw" diff tiny.yaml -- --set train.batch=8
expect 0 "classifier.yaml" "$tw" diff tiny.yaml -- classifier.yaml
expect 0 "usage: trainwright diff" "$tw" diff --help
expect 0 "no placement differs" "$tw" diff tiny.yaml -- --set train.seed=2
expect 0 "f32[C,C] -> f32[A/tensor,C]" "$tw" diff tiny.yaml -- \
    --set parallel.tensor=2
expect 0 "(none) -> f32[B,T,C] sum(tensor)" "$tw" diff tiny.yaml -- \
    --set parallel.tensor=2
expect 0 "whole -> shares of 2 ranks" "$tw" diff tiny.yaml --set $four -- \
    --set parallel.data=2 --set parallel.shard=optimizer
expect 0 '"b": "f32[B,T/context,C]"' "$tw" diff tiny.yaml --json -- \
    --set parallel.context=2
expect 2 "A.yaml is missing" "$tw" diff
expect 2 "a second side" "$tw" diff tiny.yaml
expect 2 "nothing behind" "$tw" diff tiny.yaml --
expect 2 "unexpected argument" "$tw" diff tiny.yaml tiny.yaml -- tiny.yaml
expect 2 "unknown option" "$tw" diff tiny.yaml -- --cluster x
expect 1 "nothing.yaml" "$tw" diff tiny.yaml -- nothing.yaml
expect 1 "does not divide" "$tw" diff tiny.yaml -- --set parallel.data=3

# What a rank maps and sends is what the program says of itself.
plan="parallel.data=2 parallel.pipeline.stages=2 $four"
# shellcheck disable=SC2046,SC2086
{
    "$tw" build tiny.yaml $(settings $plan) -o planned >said 2>&1
    "$tw" diff tiny.yaml -- $(settings $plan) --json >diff.json 2>said
}
OMP_NUM_THREADS=1 ./planned info --json --threads 1 >info
total() { sed -n 's/^ *"total_bytes": \([0-9]*\),*$/\1/p' "$1"; }
messages() { tr -d ' \n' <"$1" | grep -o '"messages":\[[^]]*\]'; }
[ "$(total info | head -n 2)" = "$(total diff.json | tail -n 2)" ] && pass ||
    fail "diff and info differ in memory"
[ "$(messages info | head -n 2)" = "$(messages diff.json | tail -n 2)" ] &&
    pass || fail "diff and info differ in messages"

# ---- ir --rank --------------------------------------------------------------
# shellcheck disable=SC2046,SC2086
{
    expect 0 "blocks [1, 2), groups [2, 4), sequences [8, 16)" \
        "$tw" ir tiny.yaml --rank 3 $(settings $plan)
    expect 0 'send_f32             `send dx` over pipeline: 16384 to stage 0' \
        "$tw" ir tiny.yaml --rank 3 $(settings $plan)
    expect 2 "the plan has no rank 4" \
        "$tw" ir tiny.yaml --rank 4 $(settings $plan)
}
# What all ranks of a batch sum goes along context, too; of one replica as well.
for data in 1 2; do
    expect 0 '`sum gradients` over data and context: ' "$tw" ir tiny.yaml \
        --rank 0 --set parallel.context=2 --set parallel.data=$data
    expect 0 '"axis": "data and context"' "$tw" diff tiny.yaml --json -- \
        --set parallel.context=2 --set parallel.data=$data \
        --set parallel.shard=gradients
done
expect 0 '`sum gradients` over data: ' "$tw" ir tiny.yaml --rank 0 \
    --set parallel.data=2
expect 2 "of the whole program" "$tw" ir tiny.yaml --rank 0 --all
expect 2 "whole number" "$tw" ir tiny.yaml --rank one

# ---- faults -----------------------------------------------------------------
# NAME | FILE | the claim that fails, or words of a rule | the plan | the spec,
# if not tiny
# a Perl substitution
interleaved="parallel.pipeline.stages=2 parallel.pipeline.virtual=2 \
parallel.pipeline.schedule=interleaved"
halves="parallel.pipeline.stages=2 parallel.pipeline.schedule=zero-bubble"
faults() {
    sed "s/\$interleaved/$interleaved/; s/\$halves/$halves/" <<'END'
wrong-group | compiler/lower/ranks.c | forecast | parallel.data=2 parallel.pipeline.stages=2
s/(talk = find_talk\(s->l, "sum gradients", )replicas_axis\(s->l\)/$1"world"/
missing-reduction | compiler/lower/ranks.c | loss | parallel.data=2
s/if \(s->map->members > 1\)(\s+sum_gradients)/if (s->map->members > 99)$1/
apart | compiler/lower/shards.c | loss | parallel={"data":4,"shard":"gradients","shard_group":2}
s/if \(l->copies > 1\)(\s+add_copies)/if (l->copies > 99)$1/
group | compiler/lower/ranks.c | forecast | parallel={"data":4,"shard":"optimizer","shard_group":2}
s/"same share",/"data",/
late|compiler/lower/shards.c|loss|parallel={"data":2,"shard":"gradients"} reproducible.order=fast
s/step_call\(s, later, add_into_func/step_call(s, later, copy_func/
block-forgotten | compiler/lower/gather.c | messages | parallel={"data":2,"shard":"parameters"}
s/gather_units\(&g, b, "begin_gather_f32"\);//
swapped-send | compiler/lower/ranks.c | messages | parallel.pipeline.stages=2
s/neighbour\(s, !down\)/neighbour(s, down)/
swapped-order | passes/schedule.c | out of order | model.blocks=3 parallel.pipeline.stages=3
s/(ahead; i\+\+\)\s+add_action\(m, run, ACTION_FORWARD, 0, )i\)/$1ahead - 1 - i)/
reused-slot | compiler/lower/pipeline.c | records | parallel.pipeline.stages=2
s/px_rem\(p, var\(s, s->run\), step_chunk_field\(s, "slots"\)\)/num(s, 0)/
chunks-in-turn | passes/schedule.c | wait for each other | model.blocks=4 $interleaved
s/chunk = chunks - 1 - chunk;/chunk = chunk + 0;/
same-chunk | compiler/lower/pipeline.c | messages | model.blocks=4 $interleaved
s/(step_control\(s, "stage"\),\s+)px_field\(p, var\(s, \*action\), "chunk"\)/$1num(s, 0)/
half-between | compiler/lower/parts.c | updates | zero2 between $interleaved | original-transformer
s/(part->between_floats \/ l->shards)/$1 \/ 2/
merged-early | compiler/lower/merge.c | loss | model.blocks=4 reproducible.groups=4 $interleaved
s/else if \(what == MERGE_ALL\)/if (what == MERGE_ALL)/
weights-out-of-order | passes/schedule.c | out of order | model.blocks=4 $halves
s/(before\)\s+add_action\(m, run, ACTION_WEIGHTS, 0, )summed\+\+/$1(summed++, !before) + i/
weights-too-late | compiler/lower/pipeline.c | records | model.blocks=4 $halves
s/(px_rem\(p, var\(s, s->run\), )step_stage_field\(s, "pending"\)\)/$1num(s, 1))/
weights-of-two-groups | passes/schedule.c | group's weights | groups4 $halves | transformer-xl
s/while \(group &&/while (group < 0 \&\&/
cut-forgets-a-gradient | passes/split.c | loss | model.blocks=4 $halves
s/i < f->gradients.count(; i\+\+\) \{\s+Gradient g)/i + 1 < f->gradients.count$1/
reused-region | compiler/lower/map.c | regions | parallel.data=2
s/map->floats \+= round_up\(floats, 1024\);/map->floats += round_up(floats, 1024) \/ 2;/
shifted-row | compiler/lower/ranks.c | loss | parallel.pipeline.stages=2
s/(mailboxes\[of\]\[down\]\), )rows,/$1px_offset(s->p, rows, num(s, step_row_width(s))),/
wrong-forecast | compiler/lower/ranks.c | forecast | parallel.pipeline.stages=2
s/(foretell\(s, talk, i, micros \* .*,\s+bytes)\)/$1 - 4)/
on-every-stage | compiler/lower/parts.c | parameters | model.blocks=3 parallel.pipeline.stages=3
s/here \|= stage == part_stage\(l, parts\[i\]\)/here |= stage >= 0/
late-chunk-forgotten | runtime/kernels/pool.c | loss | parallel.context=2 | classifier
s/chunk < n; (chunk\+\+\)\s+if \(kind == POOL_MEAN)/chunk < n - 1; $1/
gradient-not-shared | compiler/build/heads.c | along context | parallel.context=2 | classifier
s/if \(b->context > 1\) +\/\* the first/if (b->context > 9) \/* the first/
other-edges | runtime/kernels/attention_block.h | loss | parallel.context=2 | graph-transformer
s/head->a->pos \+ i == j/i == j/
next-rank's-token | compiler/lower/generate.c | loss | parallel.tensor=2
s/px_lt\(p, own, px_cast/px_le(p, own, px_cast/
seen-padding | compiler/build/heads.c | loss | parallel.tensor=2 model.vocab=257
s/if \(!vocabulary_is_padded\(b\)\)/if (b)/
norms-in-parts | compiler/build/layers.c | along tensor | shares
s/(weights\.at\[weight->weight\]\.partial = )true/$1false/
whole-for-parts | compiler/build/layers.c | along tensor | shares
s/gather_shares\(b, name, x, true\)/gather_shares(b, name, x, false)/
parts-too-late | compiler/lower/steps.c | gradients | shares zero2 train.batch=4
s/step_sum_block_parts\(s, body\);/(void)body;/
shares-forecast | compiler/lower/ranks.c | forecast | shares
s/collective_bytes\(REDUCE_SCATTER, share/collective_bytes(BROADCAST, share/
all-count-pairs | compiler/lower/library.c | loss | parallel.context=2 | preference-tuning
s/if \(loss && c->l->m->mesh.context > 1\)/if (loss \&\& c->l->m->mesh.context > 9)/
table-forgotten | compiler/lower/attention.c | gradients | parallel.context=2 | transformer-xl
s/px_or\((p, at_field\(c, "accumulate"\), later)/px_and($1/
one-of-many | compiler/lower/slices.c | messages | many
s/num\(s, n\)/px_add(p, num(s, n), px_eq(p, step_control(s, "slice"), num(s, 5)))/
other-copies | runtime/world.c | groups | 32 parallel.shard=optimizer parallel.shard_group=2
s/(AXIS_COPIES:\s+return .*, )member( \* world->shards)/$1(world->data > 8 ? 0 : member)$2/
other-owner | runtime/places.c | moments | parallel={"data":2,"shard":"optimizer"}
s/return member \+ share - world_owner\(world\);/return member + 0 * share;/
moments-of-one-block | compiler/lower/update.c | updates | parallel.data=2
s/moment_start\(s, j\), step_gradient_block\(s\)/moment_start(s, j), num(s, 0)/
one-mask-of-two | compiler/lower/update.c | static | frozen parallel.data=2 | original-transformer
s/(!s->mask) \|\| s->masked_in != b/$1/
wrong-tree | runtime/collectives.c | loss | parallel.data=8 reproducible.groups=8
s/pairs % 2 == 0 && height > 1/height > 1/
END
}
mkdir tree || exit 1
(cd "$root" && tar -c --exclude=./.git --exclude=./build/san .) |
    tar -x -C tree || exit 1
cd tree || exit 1
make -s all >../said 2>&1 || fail "the copy does not build"
faults | while IFS='|' read -r name file claim plan spec && read -r change; do
    spec=$(echo ${spec:-tiny})
    name=$(echo $name) file=$(echo $file) claim=$(echo $claim)
    cp -p "$file" ../whole
    perl -0pi -e "$change" "$file"
    # shellcheck disable=SC2046,SC2086  # settings are words
    if cmp -s "$file" ../whole; then
        echo "FAILED $name: the change no longer applies to $file"
    elif ! make -s all >../said 2>&1; then
        echo "FAILED $name does not compile: $(grep -m 1 error ../said)"
    else
        timeout 300 ./trainwright check models/$spec.yaml $(settings $plan) \
            --set train.micro_batch=2 >../said 2>&1
        status=$?
        if [ $status -eq 4 ] && grep -q "FAILED *$claim" ../said; then
            echo caught
        elif [ $status -eq 134 ] && grep -q "$claim" ../said; then
            echo caught
        else
            echo "FAILED $name: status $status, $(grep -m 1 FAILED ../said)"
        fi
    fi
    cp ../whole "$file"
done >../faults
grep FAILED ../faults
passed=$((passed + $(grep -c caught ../faults)))
failed=$((failed + $(grep -c FAILED ../faults)))
echo "check: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
