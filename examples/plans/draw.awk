# draw.awk: a pipeline's schedule as an SVG picture: what each stage does when.
#
#     trainwright ir SPEC --after schedule | awk -f draw.awk -v name=1f1b
#
# Reads the stages of the train step, lines like
#
#     stage from 0 to 2 slots 4 runs F0 F1 F2 F3 B0 F4 B1 …
#
# and plays them: a forward pass takes one unit of time, a backward pass two;
# a stage's actions are done in their order, and each waits for what the stage
# before (of a backward pass: behind) hands on, which takes no time.
/^step / { training = $2 == "train" }
training && $1 == "stage" {
    stages++
    from[stages] = $3
    to[stages] = $5
    slots[stages] = $7
    for (i = 9; i <= NF; i++)
        action[stages, ++actions[stages]] = $i
}

function micro(what) { return substr(what, 2) }
function takes(what) { return what ~ /^B/ ? 2 : 1 }

# When what the action waits for is there; -1: not known yet.
function ready(s, what,    before) {
    before = what ~ /^F/ ? s - 1 : s + 1
    if (before < 1)
        return 0
    if (before > stages) {
        before = s
        what = "F" micro(what)
    }
    return (before, what) in end ? end[before, what] : -1
}

function play(    s, i, what, at, moved) {
    do {
        moved = 0
        for (s = 1; s <= stages; s++)
            while (done[s] < actions[s]) {
                what = action[s, done[s] + 1]
                at = ready(s, what)
                if (at < 0)
                    break
                if (at < free[s])
                    at = free[s]
                start[s, what] = at
                free[s] = end[s, what] = at + takes(what)
                busy[s] += takes(what)
                done[s]++
                moved = 1
                if (free[s] > last)
                    last = free[s]
            }
    } while (moved)
    for (s = 1; s <= stages; s++)
        if (done[s] < actions[s]) {
            print "draw.awk: stage " s " waits for ever" >"/dev/stderr"
            exit 1
        }
}

function text(x, y, anchor, size, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">" \
        "%s</text>\n", x, y, anchor, size, words
}

function box(s, what,    x, y, fill) {
    fill = what ~ /^F/ ? "#a6cee3" : "#fdbf6f"
    x = LEFT + start[s, what] * UNIT
    y = TOP + (s - 1) * ROW
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"" \
        " fill=\"%s\" stroke=\"#555\" stroke-width=\"0.7\"/>\n", \
        x, y, takes(what) * UNIT, ROW - 6, fill
    text(x + takes(what) * UNIT / 2, y + ROW / 2 + 1, "middle", 11, micro(what))
}

function key(x, fill, words) {
    printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"" \
        " stroke=\"#555\" stroke-width=\"0.7\"/>\n", x, bottom + 10, fill
    text(x + 20, bottom + 22, "start", 12, words)
}

END {
    LEFT = 110; TOP = 44; UNIT = 20; ROW = 30
    if (!stages) {
        print "draw.awk: there are no stages" >"/dev/stderr"
        exit 1
    }
    play()
    micros = actions[1] / 2
    for (s = 1; s <= stages; s++)
        work += busy[s]
    idle = 1 - work / (stages * last)
    width = LEFT + last * UNIT + 80
    bottom = TOP + stages * ROW
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\"" \
        " height=\"%d\" font-family=\"sans-serif\">\n", width, bottom + 36
    printf "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", \
        width, bottom + 36
    text(LEFT, 24, "start", 14, sprintf( \
        "%s: %d stages, %d micro-batches; " \
        "stages are idle %.1f %% of the time", \
        name, stages, micros, 100 * idle))
    for (s = 1; s <= stages; s++) {
        text(8, TOP + (s - 1) * ROW + ROW / 2 + 1, "start", 12, \
             sprintf("blocks %d to %d", from[s], to[s] - 1))
        for (i = 1; i <= actions[s]; i++)
            box(s, action[s, i])
        text(LEFT + last * UNIT + 8, TOP + (s - 1) * ROW + ROW / 2 + 1, \
             "start", 12, slots[s] " open")
    }
    key(LEFT, "#a6cee3", "forward")
    key(LEFT + 90, "#fdbf6f", "backward, twice as long")
    text(LEFT + 280, bottom + 22, "start", 12, \
         "open: micro-batches whose values a stage has room for")
    print "</svg>"
}
