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

/* ---- sequences of which several ranks have two chunks each ---------------------------- */

/* The chunk that half `half` of the rank's rows is. */
static long own_chunk(const Chunks *at, long half)
{
    return half ? 2 * at->ranks - 1 - at->rank : at->rank;
}

/* How many of a chunk's rows are no padding. */
static long rows_of_chunk(const Chunks *at, int32_t length, long chunk)
{
    return positions_of(length - (int32_t)(chunk * at->tokens), at->tokens);
}

void own_lengths(const Thread *me, int32_t *own, const int32_t *lengths, const Chunks *at)
{
    for (long b = share_start(me, at->batch); b < share_end(me, at->batch); b++)
        own[b] = (int32_t)(rows_of_chunk(at, lengths[b], own_chunk(at, 0))
                           + rows_of_chunk(at, lengths[b], own_chunk(at, 1)));
}

/* How many chunks of a sequence have such rows: the first ones. */
static long chunks_of(const Chunks *at, int32_t length)
{
    long all = positions_of(length, 2 * at->ranks * at->tokens);
    return (all + at->tokens - 1) / at->tokens;
}

/* Where the pool of a sequence's chunk is: by rank, the early chunk first. */
static const float *pool_of(const Chunks *at, const float *pools, long b, long chunk, long N)
{
    long late = chunk >= at->ranks, rank = late ? 2 * at->ranks - 1 - chunk : chunk;
    return pools + ((rank * at->batch + b) * 2 + late) * N;
}

void pool_own(const Thread *me, float *pools, const float *x, const int32_t *lengths,
              const Chunks *at, long N, long kind)
{
    float *own = pools + at->rank * at->batch * 2 * N;
    for (long i = share_start(me, 2 * at->batch); i < share_end(me, 2 * at->batch); i++) {
        long n = rows_of_chunk(at, lengths[i / 2], own_chunk(at, i % 2));
        if (n)
            pool_rows(own + i * N, x + i * at->tokens * N, n, N,
                      kind == POOL_MEAN ? POOL_SUM : kind);
        else
            fill_row(own + i * N, 0.0f, N);
    }
}

/* Of a sequence's n > 0 chunks. */
static void pool_pools(const Chunks *at, float *y, const float *pools, long b, long n, long N,
                       long kind)
{
    long first = kind == POOL_LAST ? n - 1 : 0;
    copy_row(y, pool_of(at, pools, b, first, N), N);
    for (long chunk = 1; chunk < n; chunk++)
        if (kind == POOL_MEAN || kind == POOL_SUM)
            add_row(y, pool_of(at, pools, b, chunk, N), N);
        else if (kind == POOL_MAX)
            raise_row(y, pool_of(at, pools, b, chunk, N), N);
}

void pool_chunks(const Thread *me, float *y, const float *pools, const int32_t *lengths,
                 const Chunks *at, long N, long kind)
{
    for (long b = share_start(me, at->batch); b < share_end(me, at->batch); b++) {
        long n = chunks_of(at, lengths[b]);
        long rows = positions_of(lengths[b], 2 * at->ranks * at->tokens);
        if (!n)
            fill_row(y + b * N, 0.0f, N);
        else
            pool_pools(at, y + b * N, pools, b, n, N, kind);
        if (n && kind == POOL_MEAN)
            divide_row(y + b * N, y + b * N, (float)rows, N);
    }
}

/* Which of n chunks has a column's first maximum. */
static long chunk_of_maximum(const Chunks *at, const float *pools, long b, long n, long j,
                             long N)
{
    long found = 0;
    for (long chunk = 1; chunk < n; chunk++)
        if (is_more(pool_of(at, pools, b, chunk, N)[j], pool_of(at, pools, b, found, N)[j]))
            found = chunk;
    return found;
}

/* dx of a chunk's rows, which hold 0 and of which n > 0 are no padding: columns whose
 * maximum another chunk has are 0 again. */
static void spread_to_chunk(const Chunks *at, float *dx, const float *dy, const float *x,
                            const float *pools, long b, long chunk, long n, long all, long N)
{
    spread_to_maximum(dx, dy, x, n, N);
    for (long j = 0; j < N; j++)
        if (chunk_of_maximum(at, pools, b, all, j, N) != chunk)
            for (long t = 0; t < n; t++)
                dx[t * N + j] = 0.0f;
}

void pool_chunks_spread(const Thread *me, float *dx, const float *dy, const int32_t *lengths,
                        const float *x, const float *pools, const Chunks *at, long N, long kind)
{
    for (long i = share_start(me, 2 * at->batch); i < share_end(me, 2 * at->batch); i++) {
        long b = i / 2, chunk = own_chunk(at, i % 2), all = chunks_of(at, lengths[b]);
        long n = rows_of_chunk(at, lengths[b], chunk), from = i * at->tokens * N;
        int has = n && (kind != POOL_FIRST || chunk == 0)
            && (kind != POOL_LAST || chunk == all - 1);
        fill_row(dx + from, 0.0f, at->tokens * N);
        if (has && kind == POOL_MAX)
            spread_to_chunk(at, dx + from, dy + b * N, x + from, pools, b, chunk, n, all, N);
        else if (has && kind == POOL_MEAN)
            for (long t = 0; t < n; t++)
                divide_row(dx + from + t * N, dy + b * N,
                           (float)positions_of(lengths[b], 2 * at->ranks * at->tokens), N);
        else if (has)
            spread_rows_of(dx + from, dy + b * N, 0, n, N, kind);
    }
}
