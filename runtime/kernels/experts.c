/* experts.c: a mixture of experts (kernels.h). Each token chooses k of X experts; the
 * rows that an expert takes are gathered side by side, go through its matrices, and
 * come back to their tokens.
 *
 * How many rows an expert has is known only here, from `starts`; none of the arrays
 * is larger than k rows a token, and rows at and past starts[X] are never touched.
 * A token's rows are added experts ascending, an expert's tokens ascending.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "vec.h"

__extension__ typedef __int128 Wide;    /* products of 15 digits and sizes */

/* ---- who goes where ------------------------------------------------------------ */
/* The largest of p that is not kept yet, the first of equals. A NaN is none's better,
 * so that k are kept whatever p holds. */
static long largest(const float *p, const float *keep, long X)
{
    long best = -1;
    for (long e = 0; e < X; e++)
        if (keep[e] == 0.0f && (best < 0 || p[e] > p[best]))
            best = e;
    return best;
}

void top_k(const Thread *me, float *keep, const float *p, long rows, long X, long k)
{
    for (long r = share_start(me, rows); r < share_end(me, rows); r++) {
        for (long e = 0; e < X; e++)
            keep[r * X + e] = 0.0f;
        for (long i = 0; i < k; i++)
            keep[r * X + largest(p + r * X, keep + r * X, X)] = 1.0f;
    }
}

__extension__ typedef __int128 Wide;    /* products of a fraction and sizes */

/* ceil(numerator·k·T / (denominator·X)), T at most: the least m with m·denominator·X
 * at or past the rest, found by halves, for a wide division is no instruction. */
static long rows_allowed(const Dispatch *d)
{
    Wide whole = (Wide)d->numerator * d->k * d->sequence;
    Wide by = (Wide)d->denominator * d->experts;
    long low = 0, high = d->sequence;
    while (low < high) {
        long middle = low + (high - low) / 2;
        if (middle * by >= whole)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* One expert's rows, from `row` on; the next row. */
static int32_t take_rows(const Dispatch *d, long expert, long most, int32_t row)
{
    for (long b = 0; b < d->batch; b++) {
        long taken = 0;
        for (long t = 0; t < d->sequence; t++) {
            long token = b * d->sequence + t, pair = token * d->experts + expert;
            int takes = t < d->lengths[b] && d->keep[pair] != 0.0f && taken < most;
            d->place[pair] = takes ? row : -1;
            if (takes) {
                d->order[row++] = (int32_t)token;
                taken++;
            }
        }
    }
    return row;
}

/* Thread 0 alone: a row's number depends on all rows before it, and this is a few
 * comparisons a pair where the experts' products are thousands. */
void dispatch(const Thread *me, const Dispatch *d)
{
    long most = d->sequence;
    if (me->index)
        return;
    if (d->numerator > 0) {
        most = rows_allowed(d);
    }
    int32_t row = 0;
    for (long e = 0; e < d->experts; e++) {
        d->starts[e] = row;
        row = take_rows(d, e, most, row);
    }
    d->starts[d->experts] = row;
}

/* ---- rows out and back ----------------------------------------------------------- */
void gather_rows(const Thread *me, float *xs, const float *x, const int32_t *order,
                 const int32_t *starts, long X, long N)
{
    for (long r = share_start(me, starts[X]); r < share_end(me, starts[X]); r++)
        for (long j = 0; j < N; j++)
            xs[r * N + j] = x[order[r] * N + j];
}

static void add_row(float *to, const float *from, long N)
{
    for (long j = 0; j < N; j++)
        to[j] = to[j] + from[j];
}

static void add_gated(float *to, const float *from, float gate, long N)
{
    long j = 0;
    for (; j + VL <= N; j += VL)
        vstore(to + j, vfma(vset(gate), vload(from + j), vload(to + j)));
    for (; j < N; j++)
        to[j] = __builtin_fmaf(gate, from[j], to[j]);
}

void collect_rows(const Thread *me, float *x, const float *xs, const int32_t *place,
                  const float *gate, long rows, long X, long N)
{
    for (long t = share_start(me, rows); t < share_end(me, rows); t++) {
        for (long j = 0; j < N; j++)
            x[t * N + j] = 0.0f;
        for (long pair = t * X; pair < (t + 1) * X; pair++)
            if (place[pair] >= 0 && gate)
                add_gated(x + t * N, xs + place[pair] * N, gate[pair], N);
            else if (place[pair] >= 0)
                add_row(x + t * N, xs + place[pair] * N, N);
    }
}

void spread_rows(const Thread *me, float *dys, const float *d, const float *gate,
                 const int32_t *order, const int32_t *starts, long X, long N)
{
    long e = 0;
    for (long r = share_start(me, starts[X]); r < share_end(me, starts[X]); r++) {
        while (starts[e + 1] <= r)
            e++;
        float share = gate[order[r] * X + e];
        for (long j = 0; j < N; j++)
            dys[r * N + j] = share * d[order[r] * N + j];
    }
}

/* The row sum of a·b. */
static float product_sum(const float *a, const float *b, long N)
{
    vf lane[16 / VL];
    UNROLL for (int i = 0; i < 16 / VL; i++)
        lane[i] = vset(0.0f);
    for (long j = 0; j < N; j += 16)
        UNROLL for (int i = 0; i < 16 / VL; i++) {
            long left = N - j - i * VL;
            if (left > 0)
                lane[i] = lane[i] + vload_first(a + j + i * VL, left)
                                  * vload_first(b + j + i * VL, left);
        }
    return vfold(lane);
}

void gate_products(const Thread *me, float *dgate, const float *d, const float *ys,
                   const int32_t *place, long rows, long X, long N)
{
    for (long t = share_start(me, rows); t < share_end(me, rows); t++)
        for (long pair = t * X; pair < (t + 1) * X; pair++)
            dgate[pair] = place[pair] < 0 ? 0.0f
                                          : product_sum(d + t * N, ys + place[pair] * N, N);
}

/* ---- products, an expert at a time ------------------------------------------------- */
void grouped_matmul(const Thread *me, float *y, const float *x, const float *w,
                    const float *bias, const int32_t *starts, long X, long K, long N)
{
    for (long e = 0; e < X; e++) {
        long from = starts[e], rows = starts[e + 1] - from;
        if (rows)
            matmul(me, y + from * N, x + from * K, w + e * N * K, bias ? bias + e * N : 0, rows, K,
                   N);
    }
}

void grouped_input(const Thread *me, float *dx, const float *dy, const float *w,
                   const int32_t *starts, long X, long K, long N, int init)
{
    for (long e = 0; e < X; e++) {
        long from = starts[e], rows = starts[e + 1] - from;
        if (rows)
            matmul_input(me, dx + from * K, dy + from * N, w + e * N * K, rows, K, N, init);
    }
}

void grouped_weight(const Thread *me, float *dw, const float *dy, const float *x,
                    const int32_t *starts, long X, long K, long N, int init)
{
    for (long e = 0; e < X; e++) {
        long from = starts[e], rows = starts[e + 1] - from;
        float *to = dw + e * N * K;
        if (rows)
            matmul_weight(me, to, dy + from * N, x + from * K, rows, K, N, init);
        else if (!init)
            for (long i = share_start(me, N * K); i < share_end(me, N * K); i++)
                to[i] = 0.0f;
    }
}

/* Threads split the columns, in whole cache lines where rows are aligned. */
void grouped_bias(const Thread *me, float *db, const float *dy, const int32_t *starts, long X,
                  long N, int init)
{
    long lines = (N + 15) / 16, from = share_start(me, lines) * 16;
    long to = share_end(me, lines) * 16 < N ? share_end(me, lines) * 16 : N;
    for (long e = 0; e < X && from < to; e++) {
        for (long j = from; j < to && !init; j++)
            db[e * N + j] = 0.0f;
        for (long r = starts[e]; r < starts[e + 1]; r++)
            add_row(db + e * N + from, dy + r * N + from, to - from);
    }
}
