# lengths.awk: the share of answers that are right, by the length of the path.
#
#     paste heldout.tsv PREDICTIONS… | awk -f lengths.awk [-v check=1]
#
# A line is the label, the edges of the shortest path (0: none), then two
# columns a model, of 1, 2, 3 … blocks: its answer and its probability. With
# check=1 nothing is printed, and the status is 1 unless the model of b blocks
# finds at least 97 of 100 paths of up to 2b edges each, and the last model is
# right in 95 of 100 cases.
{
    models = (NF - 2) / 2
    count[$2]++
    if ($2 > most) most = $2
    for (b = 1; b <= models; b++) {
        good = $(1 + 2 * b) == $1
        right[$2, b] += good
        all[b] += good
        if ($2 > 0 && $2 <= 2 * b) {
            within[b]++
            found[b] += good
        }
    }
}
function row(name, n, key,    b) {
    printf "%-12s%6d", name, n
    for (b = 1; b <= models; b++)
        printf "%9.3f", (key < 0 ? all[b] : right[key, b]) / n
    print ""
}
END {
    if (check) {
        bad = all[models] < 0.95 * NR
        for (b = 1; b <= models; b++)
            if (found[b] < 0.97 * within[b]) bad = 1
        exit bad
    }
    printf "%-12s%6s", "path", "graphs"
    for (b = 1; b <= models; b++)
        printf "%9s", b " block" (b > 1 ? "s" : "")
    print ""
    for (d = 1; d <= most; d++)
        if (count[d]) row(d " edges", count[d], d)
    row("none", count[0], 0)
    row("all", NR, -1)
}
