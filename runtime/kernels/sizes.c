/* sizes.c: how much workspace a thread needs (kernels.h): plain arithmetic, for
 * the compiler and the runtime alike.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "sizes.h"

static long least(long a, long b) { return a < b ? a : b; }
static long most(long a, long b) { return a > b ? a : b; }
static long round_up(long n, long to) { return (n + to - 1) / to * to; }

/* One product with `rows` result rows that sums over `steps`, on one level.
 * Blocks are cut to equal lengths, so none exceeds the whole or the limit. */
static long product_workspace(int vl, long rows, long steps)
{
    long width = TILE_ROWS(vl), height = least(round_up(steps, 16), BLOCK_STEPS(vl));
    long panels = least(round_up(rows, width), BLOCK_ROWS(vl)) / width;
    return panels * PANEL(vl, width, height) + BLOCK_FLOATS;
}

/* The maximum over the three products and all levels. Threads only ever cut a
 * product into smaller ones, so one thread's need bounds everyone's. */
long matmul_workspace(long rows, long K, long N)
{
    long floats = 0;
    for (int vl = 4; vl <= 16; vl *= 2) {
        floats = most(floats, product_workspace(vl, rows, K));
        floats = most(floats, product_workspace(vl, rows, N));
        floats = most(floats, product_workspace(vl, N, rows));
    }
    return floats;
}

/* Backward keeps a block's q, turned and plain, its do turned, and two arrays of
 * scores; with relative positions q2 too, and scores by distance in the second of
 * these, which are more than keys by the block's queries; with edges a word and an
 * index for each key. The other uses of the workspace are smaller. */
long attention_workspace(long queries, long keys, long head_dim)
{
    (void)queries;
    return ATTENTION_QUERIES * (4 * round_up(head_dim, 16) + 2 * keys + ATTENTION_QUERIES) +
           2 * keys + 16;
}
