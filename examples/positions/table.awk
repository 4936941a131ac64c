# table.awk: losses by position and length, as a table or as a verdict.
#
#     awk [-v check=1] -f table.awk losses.tsv
#
# losses.tsv has lines of position, tab, length, tab, loss; a loss of `-` is a
# program's refusal. With check=1 nothing but what is wrong is printed, and the
# exit status is 1 where anything is.
BEGIN { FS = "\t" }

!($1 in seen) { seen[$1] = 1; name[++names] = $1 }
{ loss[$1, $2] = $3 }

function complain(text) {
    print text | "cat >&2"
    wrong = 1
}

# What run.sh claims: see README.md.
function verdict(    i, p) {
    for (i = 1; i <= names; i++)
        if (loss[name[i], 64] + 0 <= 0 || loss[name[i], 64] + 0 > 2.5)
            complain(name[i] " did not learn: not below 2.5 at 64 bytes")
    for (i = 1; i <= 2; i++) {
        p = i == 1 ? "alibi" : "relative"
        if (loss[p, 256] + 0 <= 0 || loss[p, 256] >= loss[p, 64] + 0)
            complain(p " does not gain from 256 bytes")
        p = i == 1 ? "sinusoidal" : "rotary"
        if (loss[p, 256] + 0 <= loss[p, 64] + 0.5)
            complain(p " does not lose half a nat at 256 bytes")
    }
    if (loss["learned", 128] != "-" || loss["learned", 256] != "-")
        complain("learned positions were not refused beyond 64 bytes")
}

END {
    if (check) {
        verdict()
        exit wrong
    }
    printf "%-11s%8s%8s%8s\n", "position", 64, 128, 256
    for (i = 1; i <= names; i++) {
        printf "%-11s", name[i]
        for (length_ = 64; length_ <= 256; length_ *= 2) {
            value = loss[name[i], length_]
            if (value == "-")
                printf "%8s", value
            else
                printf "%8.4f", value
        }
        print ""
    }
}
