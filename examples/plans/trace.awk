# trace.awk: what ranks did in one step, as an SVG picture like draw.awk's: a
# row a rank, what it computed and where it waited for others, by the clock.
#
#     BIN train --trace TRACE.json …; awk -f trace.awk -v name=1f1b TRACE.json
#
# Of the steps in the trace the shortest on rank 0, or -v step=N. The trace has
# an event a line; a rank's lines are in the order of their beginnings.
function text_of(key) {
    if (!match($0, "\"" key "\":\"[^\"]*\""))
        return ""
    return substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
}

function number_of(key) {
    if (!match($0, "\"" key "\":[0-9.]+"))
        return 0
    return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0
}

/"ph":"M"/ && /"process_name"/ {
    rank = number_of("pid")
    match($0, /"args":\{"name":"[^"]*"/)
    label[rank] = substr($0, RSTART + 16, RLENGTH - 17)
    if (rank >= ranks)
        ranks = rank + 1
}

/"ph":"X"/ {
    rank = number_of("pid")
    what = text_of("name")
    if (text_of("cat") == "step") {
        now[rank] = substr(what, 6)
        if (rank == 0 && (!shortest || number_of("dur") < least)) {
            shortest = now[0]
            least = number_of("dur")
        }
        step_from[now[rank], rank] = number_of("ts")
        step_to[now[rank], rank] = number_of("ts") + number_of("dur")
    }
    slices++
    at_step[slices] = now[rank]
    at_rank[slices] = rank
    called[slices] = what
    kind[slices] = text_of("cat")
    from[slices] = number_of("ts")
    to[slices] = from[slices] + number_of("dur")
}

function text(x, y, anchor, size, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">" \
        "%s</text>\n", x, y, anchor, size, words
}

# draw.awk's, of "forward 3", "backward 2, chunk 1", "weights 0".
function fill_of(i,    word, shades) {
    if (kind[i] == "wait")
        return "white"
    if (kind[i] != "phase" || called[i] == "read")
        return ""
    split(called[i], word, /[ ,]+/)
    split(word[1] == "forward" ? "#a6cee3 #5a9fcf #3f7fb5 #2c5f8d" : \
          word[1] == "backward" ? "#fdbf6f #f59d3d #e07f1b #b8640d" : \
          word[1] == "weights" ? "#b2df8a" : "#cccccc", shades, " ")
    return shades[word[4] % 4 + 1]
}

function box(i,    x, y, width, word) {
    x = LEFT + (from[i] - begun) * scale
    y = TOP + at_rank[i] * ROW
    width = (to[i] - from[i]) * scale
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"" \
        " fill=\"%s\" stroke=\"#555\" stroke-width=\"0.4\"/>\n", \
        x, y, width, ROW - 6, fill_of(i)
    split(called[i], word, /[ ,]+/)
    if (kind[i] == "phase" && word[2] ~ /^[0-9]+$/ && width >= 9)
        numbers = numbers sprintf("%.1f %.1f %s\n", x + width / 2, \
                                  y + ROW / 2 + 1, word[2])
}

function key(x, fill, words) {
    printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"" \
        " stroke=\"#555\" stroke-width=\"0.4\"/>\n", x, bottom + 10, fill
    text(x + 20, bottom + 22, "start", 12, words)
}

END {
    LEFT = 150; TOP = 44; ROW = 30; WIDE = 720
    if (!shortest) {
        print "trace.awk: there are no steps" >"/dev/stderr"
        exit 1
    }
    if (!step)
        step = shortest
    begun = step_from[step, 0]
    for (r = 0; r < ranks; r++) {
        if (step_from[step, r] < begun)
            begun = step_from[step, r]
        if (step_to[step, r] > ended)
            ended = step_to[step, r]
    }
    for (i = 1; i <= slices; i++)
        if (at_step[i] == step && kind[i] == "wait")
            waited += to[i] - from[i]
    scale = WIDE / (ended - begun)
    bottom = TOP + ranks * ROW
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\"" \
        " height=\"%d\" font-family=\"sans-serif\">\n", LEFT + WIDE + 20, \
        bottom + 36
    printf "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", \
        LEFT + WIDE + 20, bottom + 36
    text(LEFT, 24, "start", 14, sprintf( \
        "%s, measured: step %d, %.1f ms; ranks wait %.1f %% of the time", \
        name, step, (ended - begun) / 1000, \
        100 * waited / (ranks * (ended - begun))))
    for (r = 0; r < ranks; r++)
        text(8, TOP + r * ROW + ROW / 2 + 1, "start", 12, label[r])
    for (i = 1; i <= slices; i++)
        if (at_step[i] == step && fill_of(i) != "") {
            box(i)
            halves = halves || called[i] ~ /^weights /
        }
    for (i = split(numbers, line, "\n"); i > 0; i--)
        if (split(line[i], part, " ") == 3)
            text(part[1], part[2], "middle", 11, part[3])
    key(LEFT, "#a6cee3", "forward")
    key(LEFT + 90, "#fdbf6f", "backward")
    key(LEFT + 190, "#cccccc", "update")
    key(LEFT + 280, "white", "waiting for another rank")
    if (halves)
        key(LEFT + 480, "#b2df8a", "gradients of weights")
    print "</svg>"
}
