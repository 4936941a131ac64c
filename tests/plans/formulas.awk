# formulas.awk: messages of rank 0 in a step of a plan, by the formulas of
# runtime/collectives.h, from the sizes of the model's weights alone.
#
#     awk -f formulas.awk -v data=D -v stages=S -v shard=SHARD -v micros=M
#         -v micro=N -v sequence=T IR.txt
#
# IR.txt is what `trainwright ir SPEC` prints; M micro-batches of N sequences a
# rank. Of D members a member sends in an all-reduce of b bytes 2(D-1)/D b, in a
# reduce-scatter or an all-gather of parts of b bytes (D-1) b. Each tensor takes
# whole blocks of 1024 floats; a replica's share of a unit (a block, or what lies
# before or behind the blocks) does, too. Prints `NAME CALLS BYTES`.

function padded(n, to) { return int((n + to - 1) / to) * to }
function say(name, calls, bytes) { printf "%s %d %.0f\n", name, calls, bytes }
function all_reduce(bytes) { return int(2 * (data - 1) * bytes / data) }

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
        # the first stage has the first L mod S blocks beyond L / S
        own = before + block * (int(L / stages) + (L % stages > 0)) + tied
        if (data > 1)
            say("sum_gradients", 1, all_reduce(4 * own))
        say("send_x", micros, micros * 4 * micro * sequence * size["C"])
        say("send_dx", 0, 0)
        if (tied)
            say("exchange_embed_token_weight", 1, 4 * exact)
    } else if (shard == "none") {
        say("sum_gradients", 1, all_reduce(4 * (before + L * block + after + tied)))
    } else {
        before = padded(before, 1024 * data)
        after = padded(after, 1024 * data)
        block = padded(block, 1024 * data)
        all = before + L * block + after
        say("sum_gradients", L + 2, (data - 1) * 4 * all / data)
        say("gather_shares'_norms", 1, (data - 1) * 8 * all / data / 1024)
        if (tied)
            say("sum_further_uses", 1, all_reduce(4 * tied))
        if (shard == "parameters")      # forward and backward of each
            say("gather_weights", 2 * micros * L + 2,
                (data - 1) * 4 * (before + after + 2 * micros * L * block) / data)
        else
            say("gather_weights", L + 2, (data - 1) * 4 * all / data)
    }
}
