# ops_table.awk: the table of operations of docs/ir.md, made from ir/ops.def.
#     awk -f tests/ir/ops_table.awk ir/ops.def
# A row of ops.def may take two lines; its meaning is the comment that follows it, on
# its line or the next, or that stands before it, or the expression in float64 of a
# function of one number.

function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
function cell(text) { text = trim(text); gsub(/\|/, "\\|", text); return text }

BEGIN {
    print "| op | class | operands | results | attributes | what it gives |"
    print "|---|---|---|---|---|---|"
}

# A comment that opens on its own line tells of the next row.
/^\/\* .* \*\/$/ && !/----/ { before = substr($0, 4, length($0) - 6); next }
/^\/\* / && !/\*\// { before = substr($0, 4); opened = 1; next }
opened { gsub(/^ \*? ?/, ""); before = before " " $0 }
opened && /\*\/$/ { sub(/ ?\*\/$/, "", before); opened = 0 }
opened { next }

# The comment of the row above.
waiting && /^ +\/\*/ { waiting = 0; meaning = trim($0); sub(/^\/\* */, "", meaning)
                      inside = !sub(/ ?\*\/$/, "", meaning)
                      if (!inside) emit()
                      next }

# The rest of a comment that began after a row.
inside { line = trim($0); done = sub(/ ?\*\/$/, "", line); meaning = meaning " " line
         if (done) { inside = 0; emit() } next }

function emit() {
    gsub(/  +/, " ", meaning)
    printf "| `%s` | %s | %s | %s | %s | %s |\n", name, class, operands, results,
        attributes, cell(meaning)
    before = ""
}

/^(INFIX|CALL|OP)\(/ {
    head = $0; meaning = ""
    if (head !~ /\)/) { getline; head = head " " trim($0) }
    if (match(head, /\/\*/)) {
        meaning = trim(substr(head, RSTART + 2))
        head = substr(head, 1, RSTART - 1)
    }
    inside = meaning != "" && !sub(/ ?\*\/$/, "", meaning)
    kind = head; sub(/\(.*/, "", kind)
    sub(/^[A-Z]*\(/, "", head); head = trim(head); sub(/\)$/, "", head)
    n = split(head, part, ",")
    name = trim(part[1])
    attributes = ""; results = 1
    if (kind == "INFIX") {
        class = "point"; operands = 2; meaning = "a " trim(part[2]) " b"
    } else if (kind == "CALL") {
        class = "point"; operands = 1
        expression = head; sub(/^[^,]*,[^,]*, */, "", expression)
        meaning = "`" expression "`" (meaning ? ": " meaning : "")
    } else {
        operands = trim(part[2])
        if (trim(part[3]) > 0) operands = operands " to " operands + part[3]
        results = trim(part[4]); class = tolower(trim(part[5]))
        attributes = head; sub(/^[^"]*"/, "", attributes); sub(/".*/, "", attributes)
        gsub(/,/, ", ", attributes)
        if (meaning == "") meaning = before
    }
    waiting = meaning == ""
    if (!inside && !waiting) emit()
}
