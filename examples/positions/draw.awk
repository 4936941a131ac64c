# draw.awk: loss against length, a line a kind of position, as an SVG picture.
#
#     awk -f draw.awk losses.tsv >losses.svg
#
# losses.tsv has lines of position, tab, length, tab, loss; a loss of `-` is not
# drawn. Lengths are on a logarithmic scale; the one trained on comes first and
# has a dashed line.
BEGIN {
    FS = "\t"
    LEFT = 60; RIGHT = 440; TOP = 40; BOTTOM = 330  # of the plot, in pixels
    split("#888888 #c0392b #d98200 #2c7fb8 #1b7837", colour, " ")
}

!($1 in seen) { seen[$1] = 1; name[++names] = $1 }
$3 != "-" {
    loss[$1, $2] = $3
    if (!low || $3 < low) low = $3
    if ($3 > high) high = $3
}

function x(bytes) {
    return LEFT + (RIGHT - LEFT) * (log(bytes / 64) / log(4))
}

function y(value) {
    return BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom)
}

function text(at_x, at_y, anchor, fill, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s" \
        "</text>\n", at_x, at_y, anchor, fill, words
}

function line(x1, y1, x2, y2, style) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", \
        x1, y1, x2, y2, style
}

function axes(    value, bytes) {
    for (value = bottom; value <= top + 1e-9; value += 0.5) {
        line(LEFT, y(value), RIGHT, y(value), "stroke=\"#e4e4e4\"")
        text(LEFT - 8, y(value) + 4, "end", "#333", sprintf("%.1f", value))
    }
    for (bytes = 64; bytes <= 256; bytes *= 2)
        text(x(bytes), BOTTOM + 20, "middle", "#333", bytes)
    line(x(64), TOP, x(64), BOTTOM, \
         "stroke=\"#999\" stroke-dasharray=\"3 3\"")
    text(LEFT, TOP - 18, "start", "#333", \
         "held-out loss, nats a byte; trained on 64 bytes")
    text((LEFT + RIGHT) / 2, BOTTOM + 40, "middle", "#333", \
         "bytes at a time")
}

# A line, its points and, beside the last of them, its name.
function curve(i,    bytes, points, last) {
    for (bytes = 64; bytes <= 256; bytes *= 2) {
        if (!((name[i], bytes) in loss))
            continue
        points = points sprintf("%.1f,%.1f ", x(bytes), \
                                y(loss[name[i], bytes]))
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", \
            x(bytes), y(loss[name[i], bytes]), colour[i]
        last = bytes
    }
    if (!last)
        return
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" " \
        "stroke-width=\"2\"/>\n", points, colour[i]
    if (last == 64)
        text(x(64) + 4, y(loss[name[i], 64]) + 38, "start", colour[i], \
             name[i] ": 64 at most")
    else
        text(x(last) + 10, y(loss[name[i], last]) + 4, "start", colour[i], \
             name[i])
}

END {
    bottom = int(low * 2) / 2
    top = int(high * 2 + 1) / 2
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"540\" " \
        "height=\"385\" font-family=\"sans-serif\" font-size=\"13\">"
    print "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    axes()
    for (i = 1; i <= names; i++)
        curve(i)
    print "</svg>"
}
