# reshard_table.awk: the table of the kinds of reshard of docs/ir.md, made from
# ir/reshard.def.
#     awk -f tests/ir/reshard_table.awk ir/reshard.def

function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
function placed(how, dim) {
    how = tolower(trim(how)); dim = trim(dim)
    return how == "split" ? "split(" (dim == "LAST" ? "last" : dim) ")" : how
}
function emit() {
    gsub(/  +/, " ", meaning)
    printf "| %s | %s | %s | %s |\n", axis, from, to, trim(meaning)
}

BEGIN {
    print "| axis | from | to | what is done |"
    print "|---|---|---|---|"
}

/^RESHARD\(/ {
    row = $0; sub(/^RESHARD\(/, "", row); rest = row
    sub(/\).*/, "", row); sub(/^[^)]*\)/, "", rest)
    split(row, part, ",")
    axis = tolower(trim(part[2]))
    from = placed(part[3], part[4]); to = placed(part[5], part[6])
    meaning = ""
    inside = 1
    $0 = rest
}

inside {
    line = trim($0)
    sub(/^\/\* */, "", line)
    done = sub(/ *\*\/$/, "", line)
    meaning = meaning " " line
    if (done) { inside = 0; emit() }
}
