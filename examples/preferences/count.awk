# count.awk: how many answers are right, and in which style.
#
#     awk -v name=NAME -f count.awk ANSWERS
#
# A line is a prompt, the right answer without its ending, and what the model
# said. An answer is right where it is that, then "!" or "."; the style is what
# the last byte is, of wrong answers too. Prints the name and four shares.
BEGIN { FS = "\t" }
{
    ending = substr($3, length($3))
    right += substr($3, 1, length($3) - 1) == $2 && ending ~ /[.!]/
    loud += ending == "!"
    calm += ending == "."
}
END {
    if (NR == 0) exit 1
    printf "%-26s%8.4f%8.4f%8.4f%8.4f\n", name, right / NR, loud / NR,
        calm / NR, (NR - loud - calm) / NR
}
