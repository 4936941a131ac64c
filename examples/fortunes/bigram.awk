# bigram.awk: the loss that counting pairs of bytes reaches, in nats a byte.
#
#     od -An -v -tu1 -w1 TEXT | awk -f bigram.awk -v train=N
#
# The first N bytes are counted; the rest are predicted, each from the byte
# before
# it, by P(b | a) = (pairs(a, b) + 1) / (pairs(a, any) + 256): add-one
# smoothing.
# The first byte of the rest has nothing before it and is not scored, as in
# `eval`.
NR <= train {
    if (NR > 1) {
        pairs[before * 256 + $1]++
        all[before]++
    }
    before = $1
    next
}
NR > train + 1 {
    sum -= log((pairs[before * 256 + $1] + 1) / (all[before] + 256))
    scored++
}
{ before = $1 }
END { printf "%.4f\n", sum / scored }
