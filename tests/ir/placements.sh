# placements.sh: read by run.sh. The IR of plans at the stages that have
# placements, and texts in which ranks do not meet where they must: each is
# refused, with the function, the value and the axis.

plan_text() { # NAME MODEL STAGE KEY=VALUE…
    name="$1 after $3"
    from=$root/models/$2.yaml stage=$3
    shift 3
    sets=
    for key; do sets="$sets --set $key"; done
    # shellcheck disable=SC2086
    if "$trainwright" ir "$from" --after "$stage" $sets >"$temporary/stage" \
        2>"$temporary/err"; then
        "$temporary/ir_check" "$temporary/stage" >"$temporary/again" 2>&1
        compare "$name" "$temporary/stage" "$temporary/again"
    else
        fail "$name: $(head -n 1 "$temporary/err")"
    fi
}

# A line of the text is changed by sed, and the message found in what is said.
misplaced() { # NAME SED MESSAGE
    sed "$2" "$temporary/placed" >"$temporary/misplaced"
    if cmp -s "$temporary/placed" "$temporary/misplaced"; then
        fail "misplaced $1: the line is not in the text"
        return
    fi
    "$temporary/ir_check" "$temporary/misplaced" >/dev/null 2>"$temporary/err"
    status=$?
    if [ $status -eq 1 ] && grep -qF "$3" "$temporary/err"; then pass; else
        fail "misplaced $1: status $status, $(head -n 2 "$temporary/err")"
    fi
}

place_tests() {
    for stage in shard place; do
        plan_text "tensor, context, data" tiny $stage \
            parallel.tensor=2 parallel.context=2 parallel.data=2
        plan_text "sequence_parallel" bert-base $stage parallel.tensor=2 \
            parallel.sequence_parallel=true parallel.context=2
        plan_text "experts" mixtral-8x7b $stage parallel.data=2 \
            parallel.experts=2 parallel.tensor=2 model.ff.bias=true
        plan_text "experts with less room" mixtral-8x7b $stage \
            parallel.data=4 parallel.experts=4 model.experts.buffer=9000
        plan_text "two stacks" original-transformer $stage parallel.tensor=2 \
            parallel.sequence_parallel=true parallel.context=2
        plan_text "nothing reads the encoder" original-transformer $stage \
            parallel.tensor=2 parallel.context=2 model.blocks.decoder=0
        plan_text "nothing reads its shares" original-transformer $stage \
            parallel.tensor=2 parallel.sequence_parallel=true \
            model.blocks.decoder=0
        plan_text "preferences" preference-tuning $stage parallel.tensor=2 \
            parallel.context=2
        plan_text "relative" transformer-xl $stage parallel.tensor=2 \
            parallel.context=2
        plan_text "classes" classifier $stage parallel.tensor=2 \
            parallel.context=2
    done
    "$trainwright" ir "$root/models/tiny.yaml" --after shard \
        --set parallel.tensor=2 --set parallel.context=2 \
        --set parallel.data=2 >"$temporary/placed"
    misplaced "a sum over tensor is not made" \
        '/^  attn.out.product:/s/= reshard \([^ ]*\) {[^}]*}/= copy \1/' \
        'func block.forward: attn.out = add: along tensor operand 1 is a part of a sum'
    misplaced "of its gradient neither" \
        '/^  d.norm1:/s/= reshard \([^ ]*\) {[^}]*}/= copy \1/' \
        'func block.backward: d.norm1.bias = colsum: along tensor operand 2 does not lie'
    misplaced "what is whole is summed" \
        's/= spread norm2/= reshard norm2 {axis=tensor, from=sum, to=whole}/' \
        'func block.forward: ff.in = reshard: along tensor operand 1 is whole'
    misplaced "a gradient of own queries is summed over the context" \
        '/^  d.attn.k:/s/= reshard d.attn.k.2/= reshard d.attn.q/' \
        'd.attn.k = reshard: the operand is not of two parts a rank'
    misplaced "exponentials of no common maximum" \
        '/^  shifted:/s/logits, most/logits, own_most/' \
        'shifted = sub: along tensor'
    misplaced "ids of all ranks pick a rank's own logits" \
        's/pick logits, own_targets/pick logits, targets/' \
        'along tensor operand 2 is whole'
    misplaced "a placement that is not so" \
        's/^  attn.q: f32\[B\/data,T\/context,A\/tensor\]/  attn.q: f32[B\/data,T,A\/tensor]/' \
        'attn.q: along context it is placed otherwise than its function makes it'
    misplaced "a sum that is said to be whole" \
        's/^\(  own_rows: f32\[[^]]*\]\) sum(tensor)/\1/' \
        'own_rows: along tensor it is placed otherwise'
    misplaced "a sum over the wrong ranks" \
        '/^  attn.out.product:/s/axis=tensor/axis=context/' \
        'there is no reshard of this value from that placement'
    misplaced "a maximum for a sum" \
        '/^  total:/s/from=sum/from=max/' \
        'func head.step: total = reshard: along tensor operand 1 is a part of a sum'
    misplaced "the maximum of what is negated" \
        '/^  most:/s/reshard own_most/reshard turned/
            s/^\(  \)own_most\(: f32.[^ ]* max(tensor) = rowmax .*\)/&\
  turned: f32[R\/data\/context,1] max(tensor) = neg own_most/' \
        'turned = neg: along tensor operand 1 is a part of a maximum'
    misplaced "a mesh of more ranks" '/^mesh/s/ tensor=2/ tensor=4/' \
        "the ranks' rows are not those of the whole"
    misplaced "a mesh of one tensor rank" '/^mesh/s/ tensor=2/ tensor=1/' \
        "is a tensor rank's, and there is one"
    misplaced "a mesh of a larger context" '/^mesh/s/ context=2/ context=4/' \
        'on this mesh'
    misplaced "rows on no rank" '/^dim VR=/s/128/127/' \
        "embed.token.weight: the ranks' rows are not those of the whole"
    misplaced "an axis twice" \
        's/^  attn.q: f32\[B\/data,/  attn.q: f32[B\/data\/data,/' \
        'the value is placed along `data` already'
    misplaced "an axis that is none" \
        's/^  attn.q: f32\[B\/data,/  attn.q: f32[B\/dat,/' \
        'axis of the mesh'
    "$trainwright" ir "$root/models/mixtral-8x7b.yaml" --after shard \
        --set parallel.data=2 --set parallel.experts=2 >"$temporary/placed"
    misplaced "rows are routed by starts of other rows" \
        's/= reshard ff.down_rows,/= reshard ff.rows,/' \
        'ff.returned = reshard: along experts operand 1 is whole'
    misplaced "rows are not returned" \
        's/= combine_rows ff.returned,/= combine_rows ff.down_rows,/' \
        'along experts operand 1 has not been returned by its experts'
}
