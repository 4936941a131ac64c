/* pool.c: a sequence's rows made one, and that one's gradient spread over them
 * (kernels.h). Positions at and past lengths[b] are padding: not read, and their
 * gradient is 0.
 *
 * A sum is a chain a column, so a row at a time is added to the whole result and
 * the order is the same whatever the compiler makes of it.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "vec.h"

static void fill_row(float *row, float value, long N)
{
    for (long j = 0; j < N; j++)
        row[j] = value;
}

static void copy_row(float *to, const float *from, long N)
{
    for (long j = 0; j < N; j++)
        to[j] = from[j];
}

static void add_row(float *to, const float *from, long N)
{
    for (long j = 0; j < N; j++)
        to[j] = to[j] + from[j];
}

static void divide_row(float *to, const float *from, float by, long N)
{
    for (long j = 0; j < N; j++)
        to[j] = from[j] / by;
}

/* Whether x takes the place of the maximum so far: a NaN does, and stays. */
INLINE int is_more(float x, float most) { return x > most || x != x; }

static void raise_row(float *most, const float *x, long N)
{
    for (long j = 0; j < N; j++)
        most[j] = is_more(x[j], most[j]) ? x[j] : most[j];
}

static long positions_of(int32_t length, long sequence)
{
    return length < 0 ? 0 : length < sequence ? length : sequence;
}

/* y of n > 0 rows. */
static void pool_rows(float *y, const float *x, long n, long N, long kind)
{
    switch (kind) {
    case POOL_MEAN:
    case POOL_SUM:
        fill_row(y, 0.0f, N);
        for (long t = 0; t < n; t++)
            add_row(y, x + t * N, N);
        if (kind == POOL_MEAN)
            divide_row(y, y, (float)n, N);
        break;
    case POOL_MAX:
        copy_row(y, x, N);
        for (long t = 1; t < n; t++)
            raise_row(y, x + t * N, N);
        break;
    case POOL_FIRST:
        copy_row(y, x, N);
        break;
    case POOL_LAST:
        copy_row(y, x + (n - 1) * N, N);
        break;
    }
}

void pool(const Thread *me, float *y, const float *x, const int32_t *lengths, long batch,
          long sequence, long N, long kind)
{
    for (long b = share_start(me, batch); b < share_end(me, batch); b++) {
        long n = positions_of(lengths[b], sequence);
        if (n)
            pool_rows(y + b * N, x + b * sequence * N, n, N, kind);
        else
            fill_row(y + b * N, 0.0f, N);
    }
}

/* The whole gradient of a column goes to its first maximum; rows hold 0. */
static void spread_to_maximum(float *dx, const float *dy, const float *x, long n, long N)
{
    for (long j = 0; j < N; j++) {
        long at = 0;
        float most = x[j];
        for (long t = 1; t < n; t++)
            if (is_more(x[t * N + j], most)) {
                most = x[t * N + j];
                at = t;
            }
        dx[at * N + j] = dy[j];
    }
}

/* dx of n > 0 rows, which hold 0. */
static void spread_rows_of(float *dx, const float *dy, const float *x, long n, long N, long kind)
{
    switch (kind) {
    case POOL_MEAN:
        divide_row(dx, dy, (float)n, N);
        for (long t = 1; t < n; t++)
            copy_row(dx + t * N, dx, N);
        break;
    case POOL_SUM:
        for (long t = 0; t < n; t++)
            copy_row(dx + t * N, dy, N);
        break;
    case POOL_MAX:
        spread_to_maximum(dx, dy, x, n, N);
        break;
    case POOL_FIRST:
        copy_row(dx, dy, N);
        break;
    case POOL_LAST:
        copy_row(dx + (n - 1) * N, dy, N);
        break;
    }
}

void pool_spread(const Thread *me, float *dx, const float *dy, const int32_t *lengths,
                 const float *x, long batch, long sequence, long N, long kind)
{
    for (long b = share_start(me, batch); b < share_end(me, batch); b++) {
        long n = positions_of(lengths[b], sequence), at = b * sequence * N;
        fill_row(dx + at, 0.0f, sequence * N);
        if (n)
            spread_rows_of(dx + at, dy + b * N, x ? x + at : 0, n, N, kind);
    }
}
