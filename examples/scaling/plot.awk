# plot.awk: losses against parameters, both axes logarithmic, as an SVG picture.
#
#     awk -f fit.awk losses.txt | awk -f plot.awk >scaling.svg
#
# A dot is a model that was trained; the curve is the law E + A N^-b fitted to
# all
# of them, the dashed straight line the pure power law, the dotted line E.
BEGIN {
    left = 70; right = 620; top = 40; bottom = 340
    low = 1.5; high = 2.6; first = 2000; last = 2000000
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"660\"" \
        " height=\"400\" font-family=\"sans-serif\" font-size=\"13\">"
    print "<rect width=\"660\" height=\"400\" fill=\"white\"/>"
    axes()
}

function x(N) {
    return left + (right - left) * log(N / first) / log(last / first)
}

function y(L) {
    return bottom - (bottom - top) * log(L / low) / log(high / low)
}

function text(px, py, anchor, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
        px, py, anchor, words
}

function rule(x1, y1, x2, y2, style) {
    printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n",
        x1, y1, x2, y2, style
}

function axes(    L, N, pale) {
    pale = "stroke=\"#ddd\""
    for (L = low; L < high + 0.05; L += 0.1) {
        rule(left, y(L), right, y(L), pale)
        text(left - 8, y(L) + 4, "end", sprintf("%.1f", L))
    }
    for (N = 10000; N <= last; N *= 10) {
        rule(x(N), top, x(N), bottom, pale)
        text(x(N), bottom + 18, "middle",
            N < 1000000 ? N / 1000 " thousand" : N / 1000000 " million")
    }
    text((left + right) / 2, bottom + 42, "middle", "parameters")
    text(left - 40, top - 16, "start", "held-out loss, nats a byte")
}

# The curve E + A N^-b, cut where it leaves the picture.
function curve(E, A, b, style,    k, N, L, points) {
    for (k = 0; k <= 100; k++) {
        N = first * exp(log(last / first) * k / 100)
        L = E + A * exp(-b * log(N))
        if (L >= low && L <= high)
            points = points sprintf("%.1f,%.1f ", x(N), y(L))
    }
    printf "<polyline points=\"%s\" fill=\"none\" %s/>\n", points, style
}

$1 == "law" {
    curve($2, $3, $4, "stroke=\"#c33\" stroke-width=\"2\"")
    rule(left, y($2), right, y($2), "stroke=\"#c33\" stroke-dasharray=\"2 4\"")
    text(left + 8, y($2) + 16, "start", "what these bytes leave: E = " $2)
    words = sprintf("L = %.3f + %.1f / N^%.2f", $2, $3, $4)
}

$1 == "pure" {
    curve(0, $2, $3, "stroke=\"#37c\" stroke-dasharray=\"6 4\"")
    pure = sprintf("dashed: L = %.2f / N^%.3f", $2, $3)
}

$1 == "size" {
    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", x($2), y($3)
    text(x($2) + 8, y($3) - 8, "start", sprintf("%.3f", $3))
}

END {
    print "<g fill=\"#c33\">"
    text(right - 8, top + 24, "end", words)
    print "</g><g fill=\"#37c\">"
    text(right - 8, top + 44, "end", pure)
    print "</g></svg>"
}
