# fit.awk: the law that losses follow as a model grows, by least squares.
#
#     awk -f fit.awk losses.txt     # lines of: parameters loss, smallest first
#
# The law is L(N) = E + A N^-b: Hoffmann et al. 2022, equation 2, with the
# number of tokens fixed, whose share is then in E. For a given E it is a
# straight line between log N and log(L - E), which least squares finds; E is
# the one, of steps of 0.001 below the smallest loss, whose law is nearest to
# the losses. With E = 0 it is a pure power law, printed to compare. Both are
# also fitted without the largest size, and asked for it. Lines `name value
# ...` on stdout:
#
#     law E A b       from all sizes
#     pure A b
#     size N L law(N) pure(N)           one a size
#     foretold N L law error pure error the largest, from the others alone
{
    size[NR] = $1
    loss[NR] = $2
}

# Fits A and b to the first `count` sizes; the sum of squares left.
function line(count, E,    i, x, y, sx, sy, sxx, sxy, left, gap) {
    sx = sy = sxx = sxy = left = 0
    for (i = 1; i <= count; i++) {
        x = log(size[i])
        y = log(loss[i] - E)
        sx += x
        sy += y
        sxx += x * x
        sxy += x * y
    }
    b = -(count * sxy - sx * sy) / (count * sxx - sx * sx)
    A = exp((sy + b * sx) / count)
    for (i = 1; i <= count; i++) {
        gap = law(size[i], E) - loss[i]
        left += gap * gap
    }
    return left
}

function law(N, E) { return E + A * exp(-b * log(N)) }

# Fits A, b and returns E.
function fit(count,    k, least, left, best) {
    least = -1
    best = 0
    for (k = 0; k / 1000 < loss[count] - 0.0005; k++) {
        left = line(count, k / 1000)
        if (least < 0 || left < least) {
            least = left
            best = k / 1000
        }
    }
    line(count, best)
    return best
}

END {
    E = fit(NR)
    printf "law %.3f %.4f %.4f\n", E, A, b
    for (i = 1; i <= NR; i++)
        by_law[i] = law(size[i], E)
    line(NR, 0)
    printf "pure %.4f %.4f\n", A, b
    for (i = 1; i <= NR; i++)
        printf "size %d %.4f %.4f %.4f\n", size[i], loss[i], by_law[i],
            law(size[i], 0)
    E = fit(NR - 1)
    by_law[NR] = law(size[NR], E)
    line(NR - 1, 0)
    by_pure = law(size[NR], 0)
    printf "foretold %d %.4f %.4f %.4f %.4f %.4f\n", size[NR], loss[NR],
        by_law[NR], by_law[NR] / loss[NR] - 1, by_pure, by_pure / loss[NR] - 1
}
