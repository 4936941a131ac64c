# formulas.awk: messages of rank 0 in a step of a plan, by the formulas of
# runtime/collectives.h, from the sizes of the model's weights alone.
#
#     awk -f formulas.awk -v data=D -v stages=S -v virtual=V -v shard=SHARD
#         -v micros=M -v group=G -v order=fixed|fast -v bucket=BYTES
#         -v micro=N -v sequence=T IR.txt
#
# IR.txt is what `trainwright ir SPEC` prints; M micro-batches of N sequences a
# rank; shard groups of G ranks (0: of D). Of D members a member sends in an
# all-reduce of b bytes 2(D-1)/D b, in a reduce-scatter or an all-gather of parts
# of b bytes (D-1) b. Each tensor takes whole blocks of 1024 floats; a replica's
# share of a unit (a block, or what lies before or behind the blocks) does, too.
# Prints `NAME CALLS BYTES`.

function padded(n, to) { return int((n + to - 1) / to) * to }
function say(name, calls, bytes) { printf "%s %d %.0f\n", name, calls, bytes }
function sum_over(members, bytes) {
    return int(2 * (members - 1) * bytes / members)
}
function all_reduce(bytes) { return sum_over(data, bytes) }

# A pass through n blocks, each of which lies in one of two places in turn until
# another comes there: how many are gathered.
function pass(n, down, i, block, gathered) {
    for (i = 0; i < n; i++) {
        block = down ? n - 1 - i : i
        gathered += !(block % 2 in lies) || lies[block % 2] != block
        lies[block % 2] = block
    }
    return gathered
}
# … in a step of the first stage, 1F1B: so many micro-batches forward at first,
# and backward at the end, in between one of each in turn.
function gathers(n, micros, first, i, sum) {
    for (i = 0; i < micros + first; i++) {
        if (i < micros)
            sum += pass(n, 0)
        if (i >= first)
            sum += pass(n, 1)
    }
    return sum
}

/^dim [A-Z]=/ {
    split($2, part, "=")
    size[part[1]] = part[2]
}
/^weight / && !/ (constant|derived)/ {
    dims = $3
    gsub(/^f32\[|\]$/, "", dims)
    n = split(dims, dim, ",")
    floats = 1
    for (i = 1; i <= n; i++)
        floats *= size[dim[i]]
    floats = padded(floats, 1024)
    if ($2 ~ /^head\.weight:/)
        untied = 1
    if ($2 ~ /^embed\.token/) {
        token = floats
        exact = size["V"] * size["C"]
    }
    if ($2 ~ /^blocks/) {
        block += floats
        behind = 1
    } else if (behind)
        after += floats
    else
        before += floats
}
END {
    L = size["L"]
    tied = untied ? 0 : token
    if (data > 1) {
        say("sum_targets", 1, all_reduce(8))
        say("sum_loss", 1, all_reduce(8))
    }
    if (stages > 1) {
        # chunk c of the first stage is the model's (c · S)-th of S · V, of
        # which the first L mod S · V have one block more
        all = stages * virtual
        own = 0
        for (i = 0; i < all; i += stages)
            own += int(L / all) + (i < L % all)
        L = own
        after = 0
        # x of every chunk; dx of all but the one that begins the model
        rows = 4 * micro * sequence * size["C"]
        say("send_x", micros * virtual, micros * virtual * rows)
        say("send_dx", micros * (virtual - 1), micros * (virtual - 1) * rows)
        if (tied)
            say("exchange_embed_token_weight", 1, 4 * exact)
    }
    if (data > 1 && shard == "none") {
        # a bucket of whole 64 bytes after the other; of a tied embedding each
        # end of a pipeline sums its own use alone
        bytes = 4 * (before + L * block + after + (stages == 1) * tied)
        each = bucket ? int(bucket / 64) * 64 : bytes
        rest = bytes % each
        say("sum_gradients", int(bytes / each) + (rest > 0),
            int(bytes / each) * all_reduce(each) + all_reduce(rest))
    } else if (data > 1) {
        if (!group)
            group = data
        before = padded(before, 1024 * group)
        after = padded(after, 1024 * group)
        block = padded(block, 1024 * group)
        all = before + L * block + after
        often = order == "fast" && shard != "optimizer" ? micros : 1
        outside = 1 + (after > 0)
        # with a tied embedding, what stands before a stage's blocks is summed
        # whole
        whole = stages > 1 && tied ? before : 0
        say("sum_gradients", often * L + outside - (whole > 0),
            (group - 1) * 4 * (before - whole + often * L * block + after) \
                / group)
        if (whole)
            say("sum_a_tied_gradient", 1, all_reduce(4 * whole))
        if (group < data)               # of each share over the groups
            say("sum_shares_of_groups", L + outside - (whole > 0),
                sum_over(data / group, 4 * (all - whole) / group))
        if (stages == 1)                # else as of the largest stage
            say("gather_shares'_norms", 1,
                (group - 1) * 8 * all / group / 1024)
        if (tied && stages == 1)
            say("sum_further_uses", 1, all_reduce(4 * tied))
        if (shard == "parameters") {
            calls = gathers(L, micros, stages - 1 < micros ? stages - 1 : micros)
            if (stages == 1 && calls != L + (2 * micros - 1) * (L - 2))
                exit 1
            say("gather_weights", calls + outside,
                (group - 1) * 4 * (before + after + calls * block) / group)
        }
        else
            say("gather_weights", L + outside, (group - 1) * 4 * all / group)
    }
}
