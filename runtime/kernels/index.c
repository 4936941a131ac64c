/* index.c: rows added and moved by index (kernels.h): the gradient of a lookup, a
 * cache, the patches of an image.
 *
 * In scatter_add threads split the columns of the table, so that each value's chain over the
 * rows that share an entry is one thread's, whatever the ids are.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "vec.h"
#include <string.h>

/* table[j] += dy[j] for the columns of one row. */
static void add_row(float *table, const float *dy, long columns)
{
    long j = 0;
    for (; j + VL <= columns; j += VL)
        vstore(table + j, vload(table + j) + vload(dy + j));
    for (; j < columns; j++)
        table[j] = table[j] + dy[j];
}

void scatter_add(const Thread *me, float *table, const float *dy, const int32_t *ids, long rows,
                 long N, long entries, int init)
{
    /* whole cache lines where the table's rows are aligned */
    long lines = (N + 15) / 16, from = share_start(me, lines) * 16;
    long to = share_end(me, lines) * 16 < N ? share_end(me, lines) * 16 : N;
    if (!init)
        for (long e = 0; e < entries; e++)
            for (long j = from; j < to; j++)
                table[e * N + j] = 0.0f;
    for (long r = 0; r < rows; r++)
        if (ids[r] >= 0 && from < to)
            add_row(table + ids[r] * N + from, dy + r * N + from, to - from);
}

void keep_rows(const Thread *me, float *cache, const float *x, long position, long rows, long N)
{
    for (long r = share_start(me, rows); r < share_end(me, rows); r++)
        for (long j = 0; j < N; j++)
            cache[(position + r) * N + j] = x[r * N + j];
}

void take_share(const Thread *me, float *own, const float *all, long batch, long tokens,
               long shares, long share, long N)
{
    for (long r = share_start(me, batch * tokens); r < share_end(me, batch * tokens); r++) {
        const float *from = all + ((r / tokens * shares + share) * tokens + r % tokens) * N;
        for (long j = 0; j < N; j++)
            own[r * N + j] = from[j];
    }
}

void take_columns(const Thread *me, float *own, const float *all, long rows, long N, long total,
                  long slice)
{
    for (long r = share_start(me, rows); r < share_end(me, rows); r++)
        for (long j = 0; j < N; j++)
            own[r * N + j] = all[r * total + slice * N + j];
}

/* Patch number i of one image as a row: channel, row, column. */
static void copy_patch(float *row, const float *image, long i, long channels, long size,
                       long patch)
{
    long side = size / patch, down = i / side * patch, across = i % side * patch;
    for (long c = 0; c < channels; c++)
        for (long y = 0; y < patch; y++)
            for (long x = 0; x < patch; x++)
                *row++ = image[(c * size + down + y) * size + across + x];
}

void patches(const Thread *me, float *rows, const float *images, long batch, long sequence,
             long channels, long size, long patch, long skip)
{
    long width = channels * patch * patch, count = size / patch * (size / patch);
    for (long r = share_start(me, batch * sequence); r < share_end(me, batch * sequence); r++) {
        long i = r % sequence - skip;
        if (i >= 0 && i < count)
            copy_patch(rows + r * width, images + r / sequence * channels * size * size, i,
                       channels, size, patch);
        else
            for (long j = 0; j < width; j++)
                rows[r * width + j] = 0.0f;
    }
}

void take_chunks(const Thread *me, float *own, const float *all, const Chunks *at, long width)
{
    long n = at->tokens * width, chunks = 2 * at->ranks;
    for (long i = share_start(me, 2 * at->batch); i < share_end(me, 2 * at->batch); i++) {
        long chunk = i % 2 ? chunks - 1 - at->rank : at->rank;
        memcpy(own + i * n, all + (i / 2 * chunks + chunk) * n, (size_t)n * sizeof *own);
    }
}

void take_alone(const Thread *me, int32_t *own, const int32_t *all, long n, long rank)
{
    for (long i = share_start(me, n); i < share_end(me, n); i++)
        own[i] = rank ? -1 : all[i];
}
