# table.awk: a line of the table from what a program says of itself.
#
#     program info --json | awk -f table.awk
#
# Prints the ranks and, of the rank that maps most, bytes by class: weights
# (with those gathered), moments, gradients, saved (what backward reads again),
# the rest; their total; then messages and bytes that all ranks send in a step.
function number(line) {
    gsub(/[^0-9]/, "", line)
    return line + 0
}
function close_stage() {
    if (total <= most)
        return
    most = total
    weights = class["weights"] + class["parameters"]
    moments = class["moments"]
    gradients = class["gradients"]
    saved = class["saved"]
    rest = total - weights - moments - gradients - saved
}
/^ *"ranks":/ { ranks = number($0) }
/^ *"stages":/ { stages = number($0) }
/"ranks_by_stage":/ { inside = 1 }
/^  "memory":/ { inside = 0 }
!inside { next }
/"total_bytes":/ { total = number($0) }
/"classes":/ { classes = 1; split("", class); next }
classes && /}/ { classes = 0; close_stage() }
classes {
    split($0, part, "\"")
    class[part[2]] = number($0)
}
/"calls":/ { calls += number($0) * ranks / stages }
/"bytes":/ { bytes += number($0) * ranks / stages }
END {
    print ranks, weights, moments, gradients, saved, rest, most, \
        calls + 0, bytes + 0
}
