# draw.awk: a pipeline's schedule as an SVG picture: what each stage does when.
#
#     trainwright ir SPEC --after schedule | awk -f draw.awk -v name=1f1b
#
# Reads the stages of the train step, lines like
#
#     stage from 0 to 2 slots 4 runs F0 F1 F2 F3 B0 F4 B1 …
#     stage from 0 to 1 slots 8 from 4 to 5 slots 4 runs F0 F1 … F0.1 F1.1 …
#     stage from 0 to 2 slots 4 pending 1 runs F0 F1 F2 F3 B0 W0 F4 B1 W1 …
#
# and plays them: a forward pass through a stage takes one unit of time, a
# backward pass two, of which the gradients of weights (W) are one where they
# come apart; a chunk of V takes a V-th of that. A stage's actions are done in
# their order, and each waits for what the stage before (of a backward pass:
# behind) hands on, which takes no time.
/^step / { training = $2 == "train" }
training && $1 == "stage" {
    stages++
    chunks = 0
    for (i = 2; $i != "runs"; i++)
        if ($i == "from") {
            chunks++
            from[stages, chunks] = $(i + 1)
            to[stages, chunks] = $(i + 3)
            slots[stages, chunks] = $(i + 5)
        } else if ($i == "pending")
            halves = 1
    for (i++; i <= NF; i++)
        action[stages, ++actions[stages]] = $i
}

function micro(what) { return int(substr(what, 2)) }
function chunk(what) {
    return what ~ /\./ ? substr(what, index(what, ".") + 1) + 0 : 0
}
function takes(what) { return (what ~ /^B/ && !halves ? 2 : 1) / chunks }
function named(kind, what, c) {
    return kind micro(what) (c > 0 ? "." c : "")
}

# When what the action waits for is there; -1: not known yet.
function ready(s, what,    before, c, kind) {
    kind = substr(what, 1, 1)
    c = chunk(what)
    if (kind == "W")
        return 0
    before = kind == "F" ? s - 1 : s + 1
    if (before < 1) {               # the chunk before ends on the last stage
        if (c-- == 0)
            return 0
        before = stages
    }
    if (before > stages) {
        before = c + 1 < chunks ? 1 : s
        if (++c == chunks) {        # the last turns round
            kind = "F"
            c--
        }
    }
    what = named(kind, what, c)
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

# Of the kinds of action, by chunk.
function colour(what) {
    split(what ~ /^F/ ? "#a6cee3 #5a9fcf #3f7fb5 #2c5f8d" : \
          what ~ /^B/ ? "#fdbf6f #f59d3d #e07f1b #b8640d" : "#b2df8a", \
          shades, " ")
    return shades[chunk(what) % 4 + 1]
}

function box(s, what,    x, y) {
    x = LEFT + start[s, what] * UNIT
    y = TOP + (s - 1) * ROW
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"" \
        " fill=\"%s\" stroke=\"#555\" stroke-width=\"0.7\"/>\n", \
        x, y, takes(what) * UNIT, ROW - 6, colour(what)
    text(x + takes(what) * UNIT / 2, y + ROW / 2 + 1, "middle", 11, micro(what))
}

function key(x, fill, words) {
    printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"" \
        " stroke=\"#555\" stroke-width=\"0.7\"/>\n", x, bottom + 10, fill
    text(x + 20, bottom + 22, "start", 12, words)
}

# "blocks 0 to 1", "blocks 0, 4": those of a stage.
function blocks_of(s,    i, words) {
    for (i = 1; i <= chunks; i++) {
        words = words (i > 1 ? ", " : "blocks ") from[s, i]
        if (chunks == 1 || to[s, i] - 1 > from[s, i])
            words = words " to " to[s, i] - 1
    }
    return words
}

function open_of(s,    i, words) {
    for (i = 1; i <= chunks; i++)
        words = words (i > 1 ? " + " : "") slots[s, i]
    return words " open"
}

END {
    LEFT = 110; TOP = 44; UNIT = chunks > 1 ? 30 : 20; ROW = 30
    if (!stages) {
        print "draw.awk: there are no stages" >"/dev/stderr"
        exit 1
    }
    play()
    micros = actions[1] / (2 + halves) / chunks
    for (s = 1; s <= stages; s++)
        work += busy[s]
    idle = 1 - work / (stages * last)
    note = LEFT + (halves ? 380 : chunks > 1 ? 560 : 280)
    width = LEFT + last * UNIT + 80
    if (width < note + 360)
        width = note + 360
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
        text(8, TOP + (s - 1) * ROW + ROW / 2 + 1, "start", 12, blocks_of(s))
        for (i = 1; i <= actions[s]; i++)
            box(s, action[s, i])
        text(LEFT + last * UNIT + 8, TOP + (s - 1) * ROW + ROW / 2 + 1, \
             "start", 12, open_of(s))
    }
    key(LEFT, colour("F0"), "forward")
    key(LEFT + 90, colour("B0"), halves ? "gradient of the input" : \
        "backward, twice as long")
    if (halves)
        key(LEFT + 256, colour("W0"), "of the weights")
    if (chunks > 1)
        text(LEFT + 276, bottom + 22, "start", 12, \
             "darker: a stage's later chunk of the model")
    text(note, bottom + 22, "start", 12, \
         "open: micro-batches whose values a stage has room for")
    print "</svg>"
}
