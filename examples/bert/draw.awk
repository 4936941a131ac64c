# draw.awk: accuracy against the number of labels, as an SVG picture.
#
#     awk -f draw.awk accuracy.tsv >accuracy.svg
#
# accuracy.tsv has lines of how the training began (`scratch`, `pre-trained`),
# tab, labels, tab, seed, tab, accuracy. A dot is a run, a line goes through the
# means. Labels are on a logarithmic scale.
BEGIN {
    FS = "\t"
    LEFT = 60; RIGHT = 440; TOP = 40; BOTTOM = 300  # of the plot, in pixels
    FIRST = 25; LAST = 400; LOW = 0.4; HIGH = 0.9   # what is drawn
    colour["scratch"] = "#c0392b"
    colour["pre-trained"] = "#2c7fb8"
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"540\"" \
        " height=\"350\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"540\" height=\"350\" fill=\"white\"/>"
    axes()
}

function x(labels) {
    return LEFT + (RIGHT - LEFT) * log(labels / FIRST) / log(LAST / FIRST)
}

function y(share) {
    return BOTTOM - (BOTTOM - TOP) * (share - LOW) / (HIGH - LOW)
}

function text(at_x, at_y, anchor, fill, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s" \
        "</text>\n", at_x, at_y, anchor, fill, words
}

function axes(    share, labels) {
    for (share = LOW; share <= HIGH + 1e-9; share += 0.1) {
        printf "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"" \
            " stroke=\"#e4e4e4\"/>\n", LEFT, y(share), RIGHT, y(share)
        text(LEFT - 8, y(share) + 4, "end", "#333",
             sprintf("%.0f %%", 100 * share))
    }
    for (labels = FIRST; labels <= LAST; labels *= 2)
        text(x(labels), BOTTOM + 20, "middle", "#333", labels)
    text(LEFT, TOP - 18, "start", "#333",
         "held-out snippets whose language is told")
    text((LEFT + RIGHT) / 2, BOTTOM + 40, "middle", "#333",
         "labelled snippets")
}

!($2 in seen) { seen[$2] = 1; labels[++columns] = $2 }
{
    sum[$1, $2] += $4
    count[$1, $2]++
    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"" \
        " fill-opacity=\"0.5\"/>\n", x($2), y($4), colour[$1]
}

# The line through a beginning's means; its name stands at the end.
function curve(name,    i, n, mean, points) {
    for (i = 1; i <= columns; i++) {
        n = labels[i]
        mean = sum[name, n] / count[name, n]
        points = points sprintf("%.1f,%.1f ", x(n), y(mean))
    }
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\"" \
        " stroke-width=\"2\"/>\n", points, colour[name]
    text(RIGHT + 10, y(mean) + 4, "start", colour[name], name)
}

END {
    curve("scratch")
    curve("pre-trained")
    print "</svg>"
}
