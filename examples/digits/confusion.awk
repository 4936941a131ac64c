# confusion.awk: a table of what was predicted against what is right.
#
#     paste TRUTH PREDICTED | awk -f confusion.awk
#
# The first two columns of a line are the right label and the predicted one,
# numbers from 0 on. A row of the table is a right label, a column a predicted
# one; a dot is none. The last line is the share that is right.
{
    count[$1, $2]++
    right += $1 == $2
    if ($1 > most) most = $1
    if ($2 > most) most = $2
}
END {
    printf "    "
    for (j = 0; j <= most; j++) printf "%4d", j
    print ""
    for (i = 0; i <= most; i++) {
        printf "%4d", i
        for (j = 0; j <= most; j++)
            printf "%4s", (i, j) in count ? count[i, j] : "."
        print ""
    }
    printf "%.4f right (%d of %d)\n", right / NR, right, NR
}
