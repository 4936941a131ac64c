# formulas.awk: messages of a rank in a step, and the bytes that it saves for
# backward, of a decoder whose products `ranks` ranks slice, by the formulas of
# the papers: four all-reduces a block and micro-batch (Shoeybi et al. 2019),
# which `sequence` cuts into reduce-scatters and all-gathers of 1/ranks of the
# rows, and two more all-gathers of what backward does not save (Korthikanti et
# al. 2022).
#
#     awk -f formulas.awk -v ranks=N -v sequence=0|1 -v micros=M -v micro=B
#         -v tokens=T -v blocks=L -v dim=C -v heads=H -v ff=F -v vocab=V
#
# Prints `NAME CALLS BYTES`.

function padded(n, to) { return int((n + to - 1) / to) * to }
function say(name, calls, bytes) { printf "%s %d %.0f\n", name, calls, calls * bytes }

# Of b bytes on each rank; of b bytes in all, a part on each rank.
function all_reduce(name, calls, bytes) {
    say(name, calls, 2 * (ranks - 1) * bytes / ranks)
}
function parts(name, calls, bytes) {
    say(name, calls, (ranks - 1) * bytes / ranks)
}
# Regions of values begin at multiples of 1024 floats.
function region(floats) { return padded(floats, 1024) }

BEGIN {
    rows = micro * tokens
    x = 4 * rows * dim
    calls = micros * blocks
    if (sequence) {
        parts("gather_attn.in", 2 * calls, x)
        parts("sum_attn.out.product", calls, x)
        parts("gather_d.attn.out.product.part", calls, x)
        parts("sum_d.norm1", calls, x)
        parts("gather_ff.in", 2 * calls, x)
        parts("sum_ff.down.product", calls, x)
        parts("gather_d.ff.down.product.part", calls, x)
        parts("sum_d.norm2", calls, x)
    } else {
        all_reduce("sum_attn.out.product", calls, 4 * padded(rows, 16) * dim)
        all_reduce("sum_d.norm1", calls, 4 * padded(rows, 16) * dim)
        all_reduce("sum_ff.down.product", calls, 4 * padded(rows, 16) * dim)
        all_reduce("sum_d.norm2", calls, 4 * padded(rows, 16) * dim)
    }
    # The vocabulary is in runs of rows: the embedding is an all-reduce; three
    # numbers a row make the loss, whose gradient is summed in front of the head.
    all_reduce("sum_token_rows", micros, 4 * padded(rows, 16) * dim)
    all_reduce("find_largest_logit", micros, 4 * padded(rows, 16))
    all_reduce("sum_exponentials", micros, 4 * padded(rows, 16))
    all_reduce("sum_target_logits", micros, 4 * padded(rows, 16))
    if (sequence) {
        parts("gather_normed", micros, x)
        parts("sum_d.normed.share", micros, x)
        parts("gather_d.positioned", micros, x)
    } else
        all_reduce("sum_d.norm", micros, 4 * padded(rows, 16) * dim)
    say("gather_logits", 0, 0)

    # Floats a row: inputs of blocks and the result of attention, of shares a
    # part; q, k, v, the heads and ff.up, a part; softmaxes' and norms' numbers.
    shares = sequence ? ranks : 1
    record = dim / shares + (4 * dim + 2 * heads + ff) / ranks + 4
    stride = padded(rows, 16)
    saved = region((blocks + 1) * stride * dim / shares)
    saved += region(blocks * stride * record)
    if (sequence)               # the final norm, and its rows on all ranks
        saved += region(2 * stride) + region(stride * dim)
    say("saved", 1, 4 * saved)
}
