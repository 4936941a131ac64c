# table.awk: the mean accuracy over the seeds, and what pre-training gains.
#
#     awk -f table.awk accuracy.tsv
#
# accuracy.tsv has lines of how the training began (`scratch`, `pre-trained`),
# tab, labels, tab, seed, tab, accuracy. Written are percent; gain is the
# difference of the means in points, worst the smallest of a seed's.
BEGIN { FS = "\t" }

!($2 in seen) { seen[$2] = 1; labels[++rows] = $2 }
{
    sum[$1, $2] += 100 * $4
    if ($1 == "scratch") {
        seeds[$2]++
        scratch[$2, $3] = 100 * $4
    } else {
        gain = 100 * $4 - scratch[$2, $3]
        if (!($2 in worst) || gain < worst[$2])
            worst[$2] = gain
    }
}

END {
    print "labels   scratch   pre-trained   gain   worst"
    for (i = 1; i <= rows; i++) {
        n = labels[i]
        from = sum["scratch", n] / seeds[n]
        to = sum["pre-trained", n] / seeds[n]
        printf "%6d  %8.1f  %12.1f  %5.1f  %6.1f\n", n, from, to, to - from,
            worst[n]
    }
}
