# messages.awk: what a run's ranks have said to each other, as run.json records
# it, beside the forecast of `info --json` for one step.
#
#     awk -f messages.awk -v steps=N INFO.json RUN.json
#
# Prints `NAME CALLS BYTES` a message of rank 0 in a step, as counted; status 1
# where a number of the run is not the forecast's times the steps (of bytes at
# most so many: is more), or there is none.

function fail(what) {
    print what >"/dev/stderr"
    bad = 1
}
function number(line) {
    sub(/.*: */, "", line)
    sub(/,$/, "", line)
    return line
}
FNR == 1 { file++; inside = found = 0 }
/^ *"messages": *\[/ && !found { inside = found = 1; next }     # stage 0's
inside && /^ *\]/ { inside = 0 }
!inside { next }
/"name":/ {
    split($0, part, "\"")
    name = part[4]
    gsub(/ /, "_", name)
}
file == 1 && /"calls":/ { calls[name] = number($0); order[++count] = name }
file == 1 && /"bytes":/ { bytes[name] = number($0) }
file == 1 && /"at_most":/ { most[name] = number($0) == "true" }
file == 2 && /"(calls|bytes)": *\{/ { split($0, part, "\""); what = part[2] }
file == 2 && /"(predicted|counted)":/ {
    wanted = (what == "calls" ? calls[name] : bytes[name]) * steps
    fewer = most[name] && what == "bytes" && /counted/
    if (fewer && number($0) + 0 < wanted)
        wanted = number($0)
    if (what == "bytes" && /counted/)
        sent[name] = number($0) / steps
    if (!(name in calls) || number($0) != wanted)
        fail(name ": " what " of the run " number($0) ", forecast " wanted)
    seen++
}
END {
    if (count == 0 || seen != 4 * count)
        fail("of " count + 0 " messages the run has " seen / 4)
    for (i = 1; i <= count; i++)
        print order[i], calls[order[i]], sent[order[i]]
    exit bad
}
