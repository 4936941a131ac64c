/* attention.c: softmax(q kᵀ) v and its gradients (kernels.h), never with all scores
 * in memory: a thread works on a block of queries of one head at a time and keeps
 * that block's scores, for all keys, in its workspace.
 *
 * The order (docs/architecture.md, section 7). Forward, for each query:
 *   q' = q·scale          s_j = chain over d of fma(k_jd, q'_d), then - slope·|i-j|
 *   m = max s_j           e_j = exp(s_j - m)
 *   l = 16 lanes of e, lane j mod 16, folded      w_j = e_j·(dropout's multiplier)
 *   o_d = (chain over j of fma(w_j, v_jd))·(1/l)
 * Backward:
 *   p_j = e_j·(1/l)       dp_j = chain over d of fma(v_jd, do_d), then ·(multiplier)
 *   delta = 16 lanes of fma(p_j, dp_j), lane j mod 16, folded: what the ds_j then
 *   sum to is rounding alone, and exactly 0 for a query that sees one key
 *   ds_j = p_j·(dp_j - delta)
 *   dq_d = (chain over j of fma(ds_j, k_jd))·scale
 *   dv_jd, dk_jd = chains over queries of fma(p_j·(multiplier), do_d), fma(ds_j, q'_d),
 *   one head after another where several share a key head.
 * All chains ascend and run over visible pairs only. The keys that a query sees are
 * an interval, and so are the queries that see a key; both ends never decrease from
 * one query, or key, to the next. Everything about masks follows from that.
 *
 * Layout: scores stand as [key][query of the block], so that maxima, exp and sums
 * have a query in a lane and need no shuffles. Two small products do the work:
 * `scores` (lanes are queries; operands k in place and q' transposed) and `sums`
 * (lanes are head_dim; operands scores and rows of k, v, do or q'). Read from the
 * end: the entry points, then a block forward and backward, then these two.
 * SPDX-License-Identifier: 0BSD */
#include "dropout.h"
#include "elementary.h"
#include "kernels.h"
#include "sizes.h"

enum {
    QUERIES = ATTENTION_QUERIES,        /* of a block */
    QUERY_VECTORS = QUERIES / VL,
    SCORE_ROWS = VL == 16 ? 8 : 4,      /* a tile of scores: keys by two vectors of queries */
    SUM_ROWS = 4,                       /* a tile of sums: rows by SUM_VECTORS vectors */
    SUM_VECTORS = VL == 16 ? 4 : 3,
    FEW_QUERIES = 8,                    /* fewer go one by one */
};
#define NOINLINE __attribute__((noinline)) static

static long least(long a, long b) { return a < b ? a : b; }
static long most(long a, long b) { return a > b ? a : b; }
static long clamp(long x, long low, long high) { return most(low, least(x, high)); }

/* ---- who sees whom -------------------------------------------------------------- */
typedef struct Range { long from, to; } Range;

/* The keys that query i sees in a sequence of `length` keys. */
static Range keys_of(const Attention *a, long length, long i)
{
    long at = a->pos + i, to = length;
    if (a->causal)
        to = least(to, at + 1);
    else if (a->window > 0)
        to = least(to, at + a->window);
    return (Range){a->window > 0 ? clamp(at - a->window + 1, 0, to) : 0, to};
}

/* The queries that see key j, which is not padding. */
static Range queries_of(const Attention *a, long j)
{
    long from = 0, to = a->queries;
    if (a->window > 0) {
        from = most(from, j - a->window + 1 - a->pos);
        to = least(to, j + a->window - a->pos);
    }
    if (a->causal)
        from = most(from, j - a->pos);
    return (Range){least(from, to), to};
}

static long length_of(const Attention *a, long b) { return clamp(a->lengths[b], 0, a->keys); }

/* ---- one head of one sequence ----------------------------------------------------- */
typedef struct Head {
    const Attention *a;
    long length;
    const float *q, *k, *v;     /* its first row and column */
    long q_row, k_row;          /* from one row to the next */
    long q_offset, k_offset;    /* of q in its array; of k in its */
    float *stats;               /* or NULL */
    float slope;                /* ALiBi's, or 0 */
    uint32_t dropout_row;       /* of query 0 */
} Head;

static Head head_of(const Attention *a, long b, long h)
{
    long q_row = a->heads * a->head_dim, k_row = a->kv_heads * a->head_dim;
    long q_offset = b * a->queries * q_row + h * a->head_dim;
    long k_offset = b * a->key_rows * k_row + h * a->kv_heads / a->heads * a->head_dim;
    return (Head){
        .a = a,
        .length = length_of(a, b),
        .q = a->q + q_offset,
        .k = a->k + k_offset,
        .v = a->v + k_offset,
        .q_row = q_row,
        .k_row = k_row,
        .q_offset = q_offset,
        .k_offset = k_offset,
        .stats = a->stats ? a->stats + (b * a->heads + h) * a->queries * 2 : 0,
        .slope = a->alibi ? a->alibi[h] : 0.0f,
        .dropout_row = (uint32_t)(((a->sequence + b) * a->heads + h) * a->queries),
    };
}

/* A block of queries: for each vector of them, what its lanes see. */
typedef struct Lanes {
    vi from, to, at;            /* keys each lane sees; absolute position */
    Range all, common;          /* keys that some lane sees, that every lane sees */
    long query;                 /* of lane 0 */
} Lanes;
typedef struct Block {
    long query, count;
    long vectors;               /* that hold any query */
    Lanes lanes[QUERY_VECTORS];
    Range keys[QUERIES];        /* of each query */
} Block;

static void block_of(Block *block, const Head *head, long query)
{
    block->query = query;
    block->count = least(QUERIES, head->a->queries - query);
    block->vectors = (block->count + VL - 1) / VL;
    /* lanes without a query see what the last one does */
    for (long i = 0; i < block->vectors * VL; i++)
        block->keys[i] = keys_of(head->a, head->length, query + least(i, block->count - 1));
    for (long v = 0; v < block->vectors; v++) {
        Lanes *lanes = &block->lanes[v];
        const Range *keys = block->keys + v * VL, *last = keys + VL - 1;
        UNROLL for (int l = 0; l < VL; l++) {
            lanes->from[l] = (int32_t)keys[l].from;
            lanes->to[l] = (int32_t)keys[l].to;
        }
        lanes->query = query + v * VL;
        lanes->at = vcount() + vseti((int32_t)(head->a->pos + lanes->query));
        lanes->all = (Range){keys->from, last->to};
        lanes->common = (Range){last->from, most(last->from, keys->to)};
    }
}

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

/* Of a block: two vectors of queries together where both need a key. */
static void scores(const Block *block, float *s, const float *k, long k_row, const float *q,
                   long head_dim)
{
    long v = 0;
    for (; v + 1 < block->vectors; v += 2, s += 2 * VL, q += 2 * VL) {
        Range first = block->lanes[v].all, second = block->lanes[v + 1].all;
        Range both = {second.from, most(second.from, first.to)};
        score_one(s, k, k_row, q, head_dim, (Range){first.from, least(first.to, both.from)});
        score_two(s, k, k_row, q, head_dim, both);
        score_one(s + VL, k, k_row, q + VL, head_dim, (Range){both.to, second.to});
    }
    if (v < block->vectors)
        score_one(s, k, k_row, q, head_dim, block->lanes[v].all);
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

/* ---- softmax, a vector of queries at a time ------------------------------------------
 * s points at the vector's column of the block's scores. */
INLINE vi sees(const Lanes *lanes, long j)
{
    vi key = vseti((int32_t)j);
    return (vi)(key >= lanes->from) & (vi)(key < lanes->to);
}

static void add_alibi(const Head *head, const Lanes *lanes, float *s)
{
    for (long j = lanes->all.from; j < lanes->all.to; j++) {
        vf distance = vabs(__builtin_convertvector(lanes->at - vseti((int32_t)j), vf));
        vstore(s + j * QUERIES, vload(s + j * QUERIES) - vset(head->slope) * distance);
    }
}

/* The high and low halves of the product of each lane with m. */
INLINE vu multiply_wide(vu x, uint32_t m, vu *low)
{
    typedef uint64_t vq __attribute__((vector_size(VL * 4)));
    const vq low_half = (vq){0} + 0xffffffffu;
    vq even = ((vq)x & low_half) * m, odd = ((vq)x >> 32) * m;
    *low = (vu)((even & low_half) | odd << 32);
    return (vu)(even >> 32 | (odd & ~low_half));
}

/* Dropout's multipliers of a vector of queries for the keys j, j + 1, j + 2, j + 3
 * (j a multiple of 4), as dropout.h defines them. */
NOINLINE void draw_four(float *scale, const Head *head, long query, long j)
{
    const Attention *a = head->a;
    uint32_t key0 = (uint32_t)a->seed, key1 = (uint32_t)(a->seed >> 32);
    vu c0 = (vu)vcount() + (head->dropout_row + (uint32_t)query), c1 = (vu){0} + (uint32_t)(j / 4);
    vu c2 = (vu){0} + a->site, c3 = (vu){0} + a->step;
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        vu low0, low1;
        vu high0 = multiply_wide(c0, PHILOX_M0, &low0), high1 = multiply_wide(c2, PHILOX_M1, &low1);
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += PHILOX_W0;
        key1 += PHILOX_W1;
    }
    const vu threshold = (vu){0} + dropout_threshold(a->rate);
    const vf kept = vset(1.0f / (1.0f - a->rate)), dropped = vset(0.0f);
    vstore(scale, vpick((vi)(c0 >= threshold), kept, dropped));
    vstore(scale + VL, vpick((vi)(c1 >= threshold), kept, dropped));
    vstore(scale + 2 * VL, vpick((vi)(c2 >= threshold), kept, dropped));
    vstore(scale + 3 * VL, vpick((vi)(c3 >= threshold), kept, dropped));
}

/* The multipliers for key j; `scale` holds those of the four that j is one of. */
INLINE vf dropout_of(float *scale, const Head *head, const Lanes *lanes, long j, long first)
{
    if (j % 4 == 0 || j == first)
        draw_four(scale, head, lanes->query, j / 4 * 4);
    return vload(scale + j % 4 * VL);
}

INLINE vf highest(const int masked, const Lanes *lanes, const float *s, Range keys, vf m)
{
    for (long j = keys.from; j < keys.to; j++) {
        vf higher = vmax(vload(s + j * QUERIES), m);
        m = masked ? vpick(sees(lanes, j), higher, m) : higher;
    }
    return m;
}

/* s becomes e = exp(s - m), times dropout's multipliers; `lane` sums e. */
INLINE void exponentials(const int masked, const int dropout, const Head *head, const Lanes *lanes,
                         float *s, Range keys, vf m, float *lane)
{
    float scale[4 * VL] __attribute__((aligned(64)));
    for (long j = keys.from; j < keys.to; j++) {
        vf e = vexp(vload(s + j * QUERIES) - m);
        if (masked)
            e = vpick(sees(lanes, j), e, vset(0.0f));
        vstore(lane + j % 16 * VL, vload(lane + j % 16 * VL) + e);
        if (dropout)
            e = e * dropout_of(scale, head, lanes, j, keys.from);
        vstore(s + j * QUERIES, e);
    }
}

NOINLINE void softmax(const Head *head, const Lanes *lanes, float *s, float *maximum,
                      float *inverse)
{
    Range all = lanes->all, common = lanes->common;
    Range before = {all.from, common.from}, after = {common.to, all.to};
    float lane[16 * VL] __attribute__((aligned(64))) = {0};
    if (head->a->alibi)
        add_alibi(head, lanes, s);
    vf m = vset(-__builtin_inff());
    m = highest(1, lanes, s, before, m);
    m = highest(0, lanes, s, common, m);
    m = highest(1, lanes, s, after, m);
    if (head->a->rate > 0.0f)
        exponentials(1, 1, head, lanes, s, all, m, lane);
    else {
        exponentials(1, 0, head, lanes, s, before, m, lane);
        exponentials(0, 0, head, lanes, s, common, m, lane);
        exponentials(1, 0, head, lanes, s, after, m, lane);
    }
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half * VL; i += VL)
            vstore(lane + i, vload(lane + i) + vload(lane + half * VL + i));
    vi any = (vi)(lanes->to > lanes->from);
    vstore(maximum, vpick(any, m, vset(0.0f)));
    vstore(inverse, vpick(any, vset(1.0f) / vload(lane), vset(0.0f)));
}

/* Scores s become p, and dp is multiplied by dropout's multipliers; `lane` sums p·dp.
 * What masked lanes get is never read. */
INLINE void weights_backward(const int masked, const int dropout, const Head *head,
                             const Lanes *lanes, float *s, float *dp, Range keys, vf m, vf inverse,
                             float *lane)
{
    float scale[4 * VL] __attribute__((aligned(64)));
    for (long j = keys.from; j < keys.to; j++) {
        vf p = vexp(vload(s + j * QUERIES) - m) * inverse, d = vload(dp + j * QUERIES);
        if (dropout) {
            d = d * dropout_of(scale, head, lanes, j, keys.from);
            vstore(dp + j * QUERIES, d);
        }
        vf old = vload(lane + j % 16 * VL), sum = vfma(p, d, old);
        vstore(lane + j % 16 * VL, masked ? vpick(sees(lanes, j), sum, old) : sum);
        vstore(s + j * QUERIES, p);
    }
}

/* p (times dropout's multipliers) from the scores s, and ds from dp. */
INLINE void softmax_backward(const int dropout, const Head *head, const Lanes *lanes, float *s,
                             float *dp, const float *maximum, const float *inverse)
{
    Range all = lanes->all, common = lanes->common;
    Range before = {all.from, common.from}, after = {common.to, all.to};
    float lane[16 * VL] __attribute__((aligned(64))) = {0};
    float scale[4 * VL] __attribute__((aligned(64)));
    vf m = vload(maximum), r = vload(inverse);
    if (dropout)
        weights_backward(1, 1, head, lanes, s, dp, all, m, r, lane);
    else {
        weights_backward(1, 0, head, lanes, s, dp, before, m, r, lane);
        weights_backward(0, 0, head, lanes, s, dp, common, m, r, lane);
        weights_backward(1, 0, head, lanes, s, dp, after, m, r, lane);
    }
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half * VL; i += VL)
            vstore(lane + i, vload(lane + i) + vload(lane + half * VL + i));
    vf delta = vload(lane);
    for (long j = all.from; j < all.to; j++) {
        vf p = vload(s + j * QUERIES);
        vstore(dp + j * QUERIES, p * (vload(dp + j * QUERIES) - delta));
        if (dropout)
            vstore(s + j * QUERIES, p * dropout_of(scale, head, lanes, j, all.from));
    }
}
NOINLINE void backward_plain(const Head *head, const Lanes *lanes, float *s, float *dp,
                             const float *maximum, const float *inverse)
{
    softmax_backward(0, head, lanes, s, dp, maximum, inverse);
}
NOINLINE void backward_dropout(const Head *head, const Lanes *lanes, float *s, float *dp,
                               const float *maximum, const float *inverse)
{
    softmax_backward(1, head, lanes, s, dp, maximum, inverse);
}

/* ---- forward -------------------------------------------------------------------------- */
static void forward_block(const Thread *me, const Head *head, long query)
{
    const Attention *a = head->a;
    float *q = me->workspace, *s = q + a->head_dim * QUERIES;
    float maximum[QUERIES], inverse[QUERIES];
    Block block;
    block_of(&block, head, query);
    turn(q, head->q + query * head->q_row, head->q_row, block.count, a->head_dim, a->scale);
    scores(&block, s, head->k, head->k_row, q, a->head_dim);
    for (long v = 0; v < block.vectors; v++)
        softmax(head, &block.lanes[v], s + v * VL, maximum + v * VL, inverse + v * VL);
    Sum o = {a->out + head->q_offset + query * head->q_row, s, head->v, inverse,
             head->q_row, 1, QUERIES, head->k_row, 0};
    sums(&o, block.keys, block.count, (Range){0, a->head_dim});
    for (long i = 0; i < block.count && head->stats; i++) {
        head->stats[2 * (query + i)] = maximum[i];
        head->stats[2 * (query + i) + 1] = inverse[i];
    }
}

/* ---- few queries, one by one: lanes are keys ------------------------------------------- */
/* The scores of VL keys (`count` of them exist): k is turned in registers. */
INLINE vf score_keys(const float *k, long k_row, const float *q, long head_dim, long count)
{
    vf acc = vset(0.0f);
    for (long d = 0; d < head_dim; d += VL) {
        vf r[VL];
        UNROLL for (int l = 0; l < VL; l++)
            r[l] = l < count ? vload_first(k + l * k_row + d, head_dim - d) : vset(0.0f);
        vtranspose(r);
        UNROLL for (int l = 0; l < VL; l++)
            if (l < head_dim - d)
                acc = vfma(r[l], vset(q[d + l]), acc);
    }
    return acc;
}

/* One query: s[j] becomes e_j for its keys, before dropout. The workspace holds q'
 * and then s. Gives the maximum and 1/l, both 0 where nothing is visible. */
typedef struct Row { float *e; Range keys; float maximum, inverse; } Row;

static Row one_query(const Thread *me, const Head *head, long i)
{
    const Attention *a = head->a;
    float *q = me->workspace, *s = q + (a->head_dim + 15) / 16 * 16;
    Range keys = keys_of(a, head->length, i);
    long first = keys.from / 16 * 16, end = (keys.to + 15) / 16 * 16;
    scaled(q, 0, head->q + i * head->q_row, 0, 1, a->head_dim, a->scale);
    if (keys.from == keys.to)
        return (Row){s, keys, 0.0f, 0.0f};
    vf m = vset(-__builtin_inff()), lane[16 / VL];
    for (long j = first; j < end; j += VL) {
        vf x = score_keys(head->k + j * head->k_row, head->k_row, q, a->head_dim, keys.to - j);
        vi key = vcount() + vseti((int32_t)j);
        if (a->alibi) {
            vf distance = vabs(__builtin_convertvector(vseti((int32_t)(a->pos + i)) - key, vf));
            x = x - vset(head->slope) * distance;
        }
        vi visible = (vi)(key >= (int32_t)keys.from) & (vi)(key < (int32_t)keys.to);
        x = vpick(visible, x, vset(-__builtin_inff()));
        vstore(s + j, x);
        m = vmax(x, m);
    }
    vf highs[16 / VL];
    UNROLL for (int p = 0; p < 16 / VL; p++)
        highs[p] = m;
    float high = vfold_max(highs);
    UNROLL for (int p = 0; p < 16 / VL; p++)
        lane[p] = vset(0.0f);
    for (long j = first; j < end; j += 16)
        UNROLL for (int p = 0; p < 16 / VL; p++) {
            vf e = vexp(vload(s + j + p * VL) - vset(high));
            lane[p] = lane[p] + e;
            vstore(s + j + p * VL, e);
        }
    return (Row){s, keys, high, 1.0f / vfold(lane)};
}

static void forward_query(const Thread *me, const Head *head, long i)
{
    const Attention *a = head->a;
    Row row = one_query(me, head, i);
    for (long j = row.keys.from; j < row.keys.to && a->rate > 0.0f; j++)
        row.e[j] = row.e[j] * dropout_scale(a->seed, a->step, a->site,
                                            head->dropout_row + (uint32_t)i, (uint32_t)j, a->rate);
    Sum o = {a->out + head->q_offset + i * head->q_row, row.e, head->v, &row.inverse, 0, 0, 1,
             head->k_row, 0};
    sums(&o, &row.keys, 1, (Range){0, a->head_dim});
    if (head->stats) {
        head->stats[2 * i] = row.maximum;
        head->stats[2 * i + 1] = row.inverse;
    }
}

/* ---- backward --------------------------------------------------------------------------- */
/* Scores of a block become p (with dropout) and ds. */
static void backward_scores(const Head *head, const Block *block, float *p, float *ds)
{
    float maximum[QUERIES] = {0}, inverse[QUERIES] = {0};
    for (long i = 0; i < block->count; i++) {
        maximum[i] = head->stats[2 * (block->query + i)];
        inverse[i] = head->stats[2 * (block->query + i) + 1];
    }
    for (long v = 0; v < block->vectors; v++) {
        if (head->a->alibi)
            add_alibi(head, &block->lanes[v], p + v * VL);
        (head->a->rate > 0.0f ? backward_dropout : backward_plain)(
            head, &block->lanes[v], p + v * VL, ds + v * VL, maximum + v * VL, inverse + v * VL);
    }
}

/* dk and dv of some keys: what the block's queries add, or begin. */
static void backward_keys(const Head *head, const Block *block, Sum dk, Sum dv, Range keys,
                          Range columns)
{
    enum { KEYS = 2 * SUM_ROWS };
    for (long j = keys.from, count; j < keys.to; j += count) {
        Range range[KEYS];
        count = least(KEYS, keys.to - j);
        for (long r = 0; r < count; r++) {
            Range seen = queries_of(head->a, j + r);
            range[r] = (Range){clamp(seen.from - block->query, 0, block->count),
                               clamp(seen.to - block->query, 0, block->count)};
        }
        Sum v = dv, k = dk;
        v.a += j * QUERIES;
        k.a += j * QUERIES;
        v.c += j * v.c_row;
        k.c += j * k.c_row;
        sums(&v, range, count, columns);
        sums(&k, range, count, columns);
    }
}

static void clear(float *rows, long row, Range which, Range columns)
{
    for (long j = which.from; j < which.to; j++)
        for (long d = columns.from; d < columns.to; d++)
            rows[j * row + d] = 0.0f;
}

/* One block of queries of one head, of head_dim only `columns`: dq, and its share of
 * dk and dv. Keys from `begun` on have no dk and dv yet; gives the new `begun`. (With
 * a window, too, a block's keys start before the last block's end.) */
static long backward_block(const Thread *me, const Head *head, long query, Range columns,
                           long begun)
{
    const Attention *a = head->a;
    const long D = a->head_dim, q_row = head->q_row, k_row = head->k_row;
    const long q_row_packed = (D + 15) / 16 * 16;
    float *qt = me->workspace, *gt = qt + D * QUERIES, *q = gt + D * QUERIES;
    float *p = q + q_row_packed * QUERIES, *ds = p + a->keys * QUERIES;
    float scale[QUERIES];
    const float *q_in = head->q + query * q_row;
    const float *g = a->dout + head->q_offset + query * q_row;
    Block block;
    block_of(&block, head, query);
    turn(qt, q_in, q_row, block.count, D, a->scale);
    turn(gt, g, q_row, block.count, D, 1.0f);
    scaled(q, q_row_packed, q_in, q_row, block.count, D, a->scale);
    for (long i = 0; i < block.count; i++)
        scale[i] = a->scale;
    scores(&block, p, head->k, k_row, qt, D);
    scores(&block, ds, head->v, k_row, gt, D);
    backward_scores(head, &block, p, ds);

    float *dq_out = a->dq + head->q_offset + query * q_row;
    Sum dq = {dq_out, ds, head->k, scale, q_row, 1, QUERIES, k_row, 0};
    Sum dk = {a->dk + head->k_offset, ds, q, 0, k_row, QUERIES, 1, q_row_packed, 1};
    Sum dv = {a->dv + head->k_offset, p, g, 0, k_row, QUERIES, 1, q_row, 1};
    Range keys = {block.keys[0].from, block.keys[block.count - 1].to};
    long old = clamp(begun, keys.from, keys.to);
    sums(&dq, block.keys, block.count, columns);
    backward_keys(head, &block, dk, dv, (Range){keys.from, old}, columns);
    dk.resume = dv.resume = 0;
    backward_keys(head, &block, dk, dv, (Range){old, keys.to}, columns);
    return most(begun, keys.to);
}

/* The first query head whose key head is kv_head or a later one. */
static long first_head(const Attention *a, long kv_head)
{
    return (kv_head * a->heads + a->kv_heads - 1) / a->kv_heads;
}

/* All heads that share a key head, one after another. */
static void backward_group(const Thread *me, const Attention *a, long b, long kv_head,
                           Range columns)
{
    long begun = 0;
    for (long h = first_head(a, kv_head); h < first_head(a, kv_head + 1); h++) {
        Head head = head_of(a, b, h);
        for (long query = 0; query < a->queries; query += QUERIES)
            begun = backward_block(me, &head, query, columns, begun);
        clear(a->dk + head.k_offset, head.k_row, (Range){begun, a->keys}, columns);
        clear(a->dv + head.k_offset, head.k_row, (Range){begun, a->keys}, columns);
        begun = a->keys;
    }
}

/* ---- what programs call (kernels.h) ------------------------------------------------------ */
/* Threads split (sequence, head, block). Causal blocks grow with their number, so a
 * head's are taken from both ends in turn. */
void attention_forward(const Thread *me, const Attention *a)
{
    int few = a->queries < FEW_QUERIES;
    long blocks = few ? a->queries : (a->queries + QUERIES - 1) / QUERIES;
    long items = a->batch * a->heads * blocks;
    for (long item = share_start(me, items); item < share_end(me, items); item++) {
        long n = item % blocks, block = n % 2 ? blocks - 1 - n / 2 : n / 2;
        long head_number = item / blocks;
        Head head = head_of(a, head_number / a->heads, head_number % a->heads);
        if (few)
            forward_query(me, &head, block);
        else
            forward_block(me, &head, block * QUERIES);
    }
}

/* Threads split (sequence, key head), and within one head_dim by 16: two threads
 * that meet in the middle of a key head both compute its scores, and each its
 * columns of the gradients. Where there are many key heads none is cut. */
void attention_backward(const Thread *me, const Attention *a)
{
    long heads = a->batch * a->kv_heads, cuts = (a->head_dim + 15) / 16;
    if (heads >= 8L * me->count || heads % me->count == 0)
        cuts = 1;
    long from = share_start(me, heads * cuts), to = share_end(me, heads * cuts);
    for (long h = from / cuts; h * cuts < to; h++) {
        long first = most(from, h * cuts) - h * cuts, end = least(to - h * cuts, cuts);
        Range columns = {first * 16, cuts == 1 || end == cuts ? a->head_dim : end * 16};
        backward_group(me, a, h / a->kv_heads, h % a->kv_heads, columns);
    }
}

void attention_weights(const Thread *me, const Attention *a, float *weights)
{
    long rows = a->batch * a->heads * a->queries;
    for (long row = share_start(me, rows); row < share_end(me, rows); row++) {
        long head_number = row / a->queries;
        Head head = head_of(a, head_number / a->heads, head_number % a->heads);
        Row one = one_query(me, &head, row % a->queries);
        for (long j = 0; j < a->keys; j++)
            weights[row * a->keys + j] =
                j >= one.keys.from && j < one.keys.to ? one.e[j] * one.inverse : 0.0f;
    }
}
