/* products.h: the two small products that attention.c is made of, and the turning
 * and copying of their operands. `scores`: lanes are queries; operands the rows of k
 * in place and q' transposed. `sums`: lanes are head_dim; operands a matrix of
 * scores, by any strides, and rows of k, v and the like. All chains ascend.
 * SPDX-License-Identifier: 0BSD */
#ifndef PRODUCTS_H
#define PRODUCTS_H
#include "sizes.h"
#include "vec.h"

enum {
    QUERIES = ATTENTION_QUERIES,        /* of a block */
    QUERY_VECTORS = QUERIES / VL,
    SCORE_ROWS = VL == 16 ? 8 : 4,      /* a tile of scores: keys by two vectors of queries */
    SUM_ROWS = 4,                       /* a tile of sums: rows by SUM_VECTORS vectors */
    SUM_VECTORS = VL == 16 ? 4 : 3,
};
#define NOINLINE __attribute__((noinline)) static

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long most(long a, long b) { return a > b ? a : b; }
static inline long clamp(long x, long low, long high) { return most(low, least(x, high)); }

typedef struct Range { long from, to; } Range;

/* ---- scores: s[j][query] = chain over d of fma(k[j][d], q'[d][query]) ---------------
 * `vectors` vectors of queries side by side, keys `rows` at a time. */
INLINE void score_tile(const int rows, const int vectors, float *s, const float *k, long k_row,
                       const float *q, long head_dim)
{
    vf acc[SCORE_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            acc[i][v] = vset(0.0f);
    for (long d = 0; d < head_dim; d++, q += QUERIES) {
        if (d % 16 == 0)                /* meanwhile fetch the next tile's keys */
            UNROLL for (int i = 0; i < rows; i++)
                __builtin_prefetch(k + (i + rows) * k_row + d);
        vf query[2];
        UNROLL for (int v = 0; v < vectors; v++)
            query[v] = vload(q + v * VL);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < vectors; v++)
                acc[i][v] = vfma(vset(k[i * k_row + d]), query[v], acc[i][v]);
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            vstore(s + i * QUERIES + v * VL, acc[i][v]);
}

/* All keys of a range. The last tile moves back over keys already done, and
 * computes the same again. */
INLINE void score_range(const int vectors, float *s, const float *k, long k_row, const float *q,
                        long head_dim, Range keys)
{
    long j = keys.from;
    for (; j + SCORE_ROWS <= keys.to; j += SCORE_ROWS)
        score_tile(SCORE_ROWS, vectors, s + j * QUERIES, k + j * k_row, k_row, q, head_dim);
    if (j < keys.to && keys.to >= SCORE_ROWS) {
        j = keys.to - SCORE_ROWS;
        score_tile(SCORE_ROWS, vectors, s + j * QUERIES, k + j * k_row, k_row, q, head_dim);
    } else
        for (; j < keys.to; j++)
            score_tile(1, vectors, s + j * QUERIES, k + j * k_row, k_row, q, head_dim);
}
NOINLINE void score_one(float *s, const float *k, long k_row, const float *q, long head_dim,
                        Range keys)
{
    score_range(1, s, k, k_row, q, head_dim, keys);
}
NOINLINE void score_two(float *s, const float *k, long k_row, const float *q, long head_dim,
                        Range keys)
{
    score_range(2, s, k, k_row, q, head_dim, keys);
}

/* ---- sums: c[r][d] = chain over k of fma(a(r, k), b[k][d]) --------------------------
 * a(r, k) = a[r·a_row + k·a_step]; row r sums over [from[r], to[r]), neither end
 * decreasing with r. Then times factor[r], where there are factors. */
typedef struct Sum {
    float *c;
    const float *a, *b, *factor;
    long c_row, a_row, a_step, b_row;
    int resume;                 /* chains go on from what c holds */
} Sum;

/* `lanes` of the last vector exist; with more than one vector, all do. */
INLINE void sum_tile(const int rows, const int vectors, const int partial, const Sum *s,
                     const Range *ranges, long row, long column, long lanes)
{
    const Range *range = ranges + row;
    const long a_row = s->a_row, a_step = s->a_step, b_row = s->b_row, c_row = s->c_row;
    const float *a = s->a + row * a_row + range[0].from * a_step;
    const float *b = s->b + range[0].from * b_row + column;
    float *c = s->c + row * c_row + column;
    vf acc[2 * SUM_ROWS][SUM_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            acc[i][v] = !s->resume ? vset(0.0f)
                        : partial  ? vload_first(c + i * c_row, lanes)
                                   : vload(c + i * c_row + v * VL);
    long k = range[0].from, end = range[rows - 1].to;
    long full = least(range[rows - 1].from, end), full_end = most(full, range[0].to);
#define SUM_STEP(sees)                                                                      \
    vf column_of[SUM_VECTORS];                                                              \
    UNROLL for (int v = 0; v < vectors; v++)                                                \
        column_of[v] = partial ? vload_first(b, lanes) : vhold(vload(b + v * VL));          \
    UNROLL for (int i = 0; i < rows; i++)                                                   \
        if (sees)                                                                           \
            UNROLL for (int v = 0; v < vectors; v++)                                        \
                acc[i][v] = vfma(vset(a[i * a_row]), column_of[v], acc[i][v]);
    for (; k < full; k++, a += a_step, b += b_row) {
        SUM_STEP(k >= range[i].from && k < range[i].to)
    }
    for (; k < full_end; k++, a += a_step, b += b_row) {    /* all rows, fetching ahead */
        UNROLL for (int v = 0; v < vectors; v++)
            __builtin_prefetch(b + 8 * b_row + v * VL);
        SUM_STEP(1)
    }
    for (; k < end; k++, a += a_step, b += b_row) {
        SUM_STEP(k >= range[i].from && k < range[i].to)
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) {
            vf sum = s->factor ? acc[i][v] * vset(s->factor[row + i]) : acc[i][v];
            if (partial)
                vstore_first(c + i * c_row, sum, lanes);
            else
                vstore(c + i * c_row + v * VL, sum);
        }
}

/* Rows from i on, as many whole tiles as there are; gives the next row. */
INLINE long sum_rows(const int tile, const int vectors, const int partial, const Sum *s,
                     const Range *range, long i, long rows, long column, long lanes)
{
    for (; i + tile <= rows; i += tile)
        sum_tile(tile, vectors, partial, s, range, i, column, lanes);
    return i;
}

/* Narrow tiles are twice as high. */
#define SUM(name, tile, vectors, partial)                                                   \
    NOINLINE void name(const Sum *s, const Range *range, long rows, long column, long lanes) \
    {                                                                                       \
        long i = sum_rows(tile, vectors, partial, s, range, 0, rows, column, lanes);        \
        if (tile > SUM_ROWS)                                                                \
            i = sum_rows(SUM_ROWS, vectors, partial, s, range, i, rows, column, lanes);     \
        sum_rows(1, vectors, partial, s, range, i, rows, column, lanes);                    \
    }
SUM(sum_1, 2 * SUM_ROWS, 1, 0)
SUM(sum_2, VL == 16 ? 2 * SUM_ROWS : SUM_ROWS, 2, 0)
SUM(sum_3, SUM_ROWS, 3, 0)
#if VL == 16
SUM(sum_4, SUM_ROWS, 4, 0)
#endif
SUM(sum_partial, SUM_ROWS, 1, 1)

/* All rows, in the given columns. */
static void sums(const Sum *s, const Range *range, long rows, Range columns)
{
    static void (*const sum_of[SUM_VECTORS + 1])(const Sum *, const Range *, long, long, long) = {
        0, sum_1, sum_2, sum_3,
#if VL == 16
        sum_4,
#endif
    };
    long d = columns.from;
    while (d + VL <= columns.to) {
        long whole = (columns.to - d) / VL, parts = (whole + SUM_VECTORS - 1) / SUM_VECTORS;
        long vectors = (whole + parts - 1) / parts;
        sum_of[vectors](s, range, rows, d, VL);
        d += vectors * VL;
    }
    if (d < columns.to)
        sum_partial(s, range, rows, d, columns.to - d);
}

/* ---- the same, of steps that a list names --------------------------------------------- */
INLINE void listed_tile(const int vectors, const int partial, const Sum *s, long row,
                        const int32_t *list, long count, long column, long lanes)
{
    const float *a = s->a + row * s->a_row, *b = s->b + column;
    float *c = s->c + row * s->c_row + column;
    vf acc[SUM_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++)
        acc[v] = !s->resume ? vset(0.0f) : partial ? vload_first(c, lanes) : vload(c + v * VL);
    for (long n = 0; n < count; n++) {
        const float *step = b + list[n] * s->b_row;
        vf each = vset(a[list[n] * s->a_step]);
        UNROLL for (int v = 0; v < vectors; v++)
            acc[v] = vfma(each, partial ? vload_first(step, lanes) : vload(step + v * VL), acc[v]);
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        vf sum = s->factor ? acc[v] * vset(s->factor[row]) : acc[v];
        if (partial)
            vstore_first(c, sum, lanes);
        else
            vstore(c + v * VL, sum);
    }
}

/* Row `row`, whose chains run over list[0], list[1] … alone. */
NOINLINE void sum_listed(const Sum *s, long row, const int32_t *list, long count, Range columns)
{
    long d = columns.from;
    for (; d + SUM_VECTORS * VL <= columns.to; d += SUM_VECTORS * VL)
        listed_tile(SUM_VECTORS, 0, s, row, list, count, d, VL);
    for (; d + VL <= columns.to; d += VL)
        listed_tile(1, 0, s, row, list, count, d, VL);
    if (d < columns.to)
        listed_tile(1, 1, s, row, list, count, d, columns.to - d);
}

/* ---- rows of a block, turned and copied --------------------------------------------- */
/* VL rows by VL columns of it; `rows` and `columns` exist. */
INLINE void turn_square(const int whole, float *to, const float *from, long row, long rows,
                        long columns, float scale)
{
    vf r[VL];
    UNROLL for (int l = 0; l < VL; l++)
        r[l] = whole      ? vload(from + l * row) * vset(scale)
               : l < rows ? vload_first(from + l * row, columns) * vset(scale) : vset(0.0f);
    vtranspose(r);
    UNROLL for (int l = 0; l < VL; l++)
        if (whole || l < columns)
            vstore(to + l * QUERIES, r[l]);
}

/* to[d][query] = from[query][d]·scale for `count` queries; the other lanes are 0. */
static void turn(float *to, const float *from, long row, long count, long head_dim, float scale)
{
    for (long i = 0; i < count; i += VL, from += VL * row, to += VL)
        for (long d = 0; d < head_dim; d += VL)
            if (count - i >= VL && head_dim - d >= VL)
                turn_square(1, to + d * QUERIES, from + d, row, VL, VL, scale);
            else
                turn_square(0, to + d * QUERIES, from + d, row, count - i, head_dim - d, scale);
}

/* to[query][d] = from[query][d]·scale, rows to_row apart. */
static void scaled(float *to, long to_row, const float *from, long row, long count, long head_dim,
                   float scale)
{
    for (long i = 0; i < count; i++)
        for (long d = 0; d < head_dim; d += VL)
            vstore_first(to + i * to_row + d,
                         vload_first(from + i * row + d, head_dim - d) * vset(scale), head_dim - d);
}
#endif
