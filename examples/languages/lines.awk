# Makes a line of each fortune of the files it is given, which are divided by
# lines
# of `%`: LABEL, a tab, and the text on one line, cut after `most` bytes.
# Lines that
# name an author (`-- Cicero`) are left out, and so is a text that is shorter
# than 40
# bytes or has come before. Every tenth goes to the file `heldout`, the others
# to
# `train`. Run it with LC_ALL=C: it counts bytes.
#
#     awk -v label=L -v most=N -v train=FILE -v heldout=FILE -f lines.awk FILE…

function finish(    cut) {
    gsub(/[ \t\r]+/, " ", text)
    sub(/^ /, "", text)
    cut = substr(text, 1, most)
    if (length(text) > most)
        sub(/[\300-\377][\200-\277]*$/, "", cut)    # perhaps half a character
    sub(/ $/, "", cut)
    if (length(cut) >= 40 && !(cut in seen)) {
        seen[cut] = 1
        print label "\t" cut > (++count % 10 ? train : heldout)
    }
    text = ""
}

FNR == 1 && NR > 1 { finish() }
/^%/ { finish(); next }
/^[ \t]*--/ { next }
{ text = text " " $0 }
END { finish() }
