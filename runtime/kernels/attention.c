/* attention.c: softmax(q kᵀ) v and its gradients (kernels.h), never with all scores
 * in memory: a thread works on a block of queries of one head at a time and keeps
 * that block's scores, for all keys, in its workspace.
 *
 * The order (docs/architecture.md, section 7). Forward, for each query:
 *   q' = q·scale          s_j = chain over d of fma(k_jd, q'_d), then - slope·|i-j|,
 *                         then + chain over d of fma(t_d, q2'_d), q2' = q2·scale, t the
 *                         row of the table for the distance i-j
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
 *   one head after another where several share a key head
 *   dq2_d = (chain over j of fma(ds_j, t_d))·scale
 *   dt_d += chain over sequences, then queries, of fma(ds_j, q2'_d), for each distance
 * All chains ascend and run over visible pairs only. Without edges the keys that a
 * query sees are an interval, and so are the queries that see a key, or that have a
 * visible key at a distance; both ends never decrease from one to the next.
 * Everything about masks follows from that. With edges a block keeps, for each key,
 * a word of which bit i says whether its query i sees it, and chains run over lists.
 *
 * Layout: scores stand as [key][query of the block], so that maxima, exp and sums
 * have a query in a lane and need no shuffles. The products of products.h do the
 * work. Relative scores are a product too, of q2' and the block's rows of the table,
 * whose diagonals are then added; in the sums of ds a step of a query is a step of
 * the distance, which strides of QUERIES and 1 together give without a copy.
 * The table has a row for every distance of a query and a key, seen or not.
 * Read from the end: the entry points, then a block forward and backward.
 * SPDX-License-Identifier: 0BSD */
#include "attention_block.h"
#include "dropout.h"
#include "elementary.h"

enum { FEW_QUERIES = 8 };        /* fewer go one by one */

/* ---- scores of a block -------------------------------------------------------------- */
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

/* ---- softmax, a vector of queries at a time ------------------------------------------
 * s points at the vector's column of the block's scores. */
/* By what a lane is masked: by nothing, by the ends of what it sees, by words. */
enum { NONE, ENDS, WORDS };

INLINE vi sees(const int masked, const Lanes *lanes, long j)
{
    vi key = vseti((int32_t)j);
    if (masked == WORDS)
        return (vi)((vseti((int32_t)lanes->seen[j]) >> lanes->bits & 1) != 0);
    return (vi)(key >= lanes->from) & (vi)(key < lanes->to);
}

static void add_alibi(const Head *head, const Lanes *lanes, float *s)
{
    for (long j = lanes->all.from; j < lanes->all.to; j++) {
        vf distance = vabs(__builtin_convertvector(lanes->at - vseti((int32_t)j), vf));
        vstore(s + j * QUERIES, vload(s + j * QUERIES) - vset(head->slope) * distance);
    }
}

/* The relative scores of a block: b[r][query] for its distances, row 0 being the
 * least; q2 is turned. */
static void relative_scores(const Head *head, const Block *block, float *b, const float *q2)
{
    Range keys = {block->keys[0].from, block->keys[block->count - 1].to};
    Range rows = {0, keys.to - keys.from + block->count - 1};
    long least_distance = head->a->pos + block->query - (keys.to - 1);
    const float *table = head->table + least_distance * head->q_row;
    if (keys.from == keys.to)
        return;
    for (long v = 0; v < block->vectors; v += 2)
        (v + 1 < block->vectors ? score_two : score_one)(
            b + v * VL, table, head->q_row, q2 + v * VL, head->a->head_dim, rows);
}

/* Adds them: the lanes of key j are on a diagonal of b. */
static void add_relative(const Block *block, long v, float *s, const float *b)
{
    const Lanes *lanes = &block->lanes[v];
    long last = block->keys[block->count - 1].to - 1;
    for (long j = lanes->all.from; j < lanes->all.to; j++) {
        const float *diagonal = b + (last - j + v * VL) * QUERIES + v * VL;
        vf x;
        UNROLL for (int l = 0; l < VL; l++)
            x[l] = diagonal[l * (QUERIES + 1)];
        vstore(s + j * QUERIES, vload(s + j * QUERIES) + x);
    }
}

/* What scores gain beside q'·k. */
static void add_terms(const Head *head, const Block *block, float *s, const float *b)
{
    for (long v = 0; v < block->vectors; v++) {
        if (head->a->alibi)
            add_alibi(head, &block->lanes[v], s + v * VL);
        if (head->q2)
            add_relative(block, v, s + v * VL, b);
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
        m = masked ? vpick(sees(masked, lanes, j), higher, m) : higher;
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
            e = vpick(sees(masked, lanes, j), e, vset(0.0f));
        vstore(lane + j % 16 * VL, vload(lane + j % 16 * VL) + e);
        if (dropout)
            e = e * dropout_of(scale, head, lanes, j, keys.from);
        vstore(s + j * QUERIES, e);
    }
}

/* The lanes are folded; what is kept of a row of which anything is visible. */
INLINE void row_stats(float *lane, vi any, vf m, float *maximum, float *inverse)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half * VL; i += VL)
            vstore(lane + i, vload(lane + i) + vload(lane + half * VL + i));
    vstore(maximum, vpick(any, m, vset(0.0f)));
    vstore(inverse, vpick(any, vset(1.0f) / vload(lane), vset(0.0f)));
}

NOINLINE void softmax(const Head *head, const Lanes *lanes, float *s, float *maximum,
                      float *inverse)
{
    Range all = lanes->all, common = lanes->common;
    Range before = {all.from, common.from}, after = {common.to, all.to};
    float lane[16 * VL] __attribute__((aligned(64))) = {0};
    vf m = vset(-__builtin_inff());
    m = highest(ENDS, lanes, s, before, m);
    m = highest(NONE, lanes, s, common, m);
    m = highest(ENDS, lanes, s, after, m);
    if (head->a->rate > 0.0f)
        exponentials(ENDS, 1, head, lanes, s, all, m, lane);
    else {
        exponentials(ENDS, 0, head, lanes, s, before, m, lane);
        exponentials(NONE, 0, head, lanes, s, common, m, lane);
        exponentials(ENDS, 0, head, lanes, s, after, m, lane);
    }
    row_stats(lane, (vi)(lanes->to > lanes->from), m, maximum, inverse);
}

/* The same with edges. */
NOINLINE void softmax_edges(const Head *head, const Lanes *lanes, float *s, float *maximum,
                            float *inverse)
{
    Range all = lanes->all;
    float lane[16 * VL] __attribute__((aligned(64))) = {0};
    vf m = highest(WORDS, lanes, s, all, vset(-__builtin_inff()));
    vi any = {0};
    for (long j = all.from; j < all.to; j++)
        any |= sees(WORDS, lanes, j);
    if (head->a->rate > 0.0f)
        exponentials(WORDS, 1, head, lanes, s, all, m, lane);
    else
        exponentials(WORDS, 0, head, lanes, s, all, m, lane);
    row_stats(lane, any, m, maximum, inverse);
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
        vstore(lane + j % 16 * VL, masked ? vpick(sees(masked, lanes, j), sum, old) : sum);
        vstore(s + j * QUERIES, p);
    }
}

/* p (times dropout's multipliers) from the scores s, and ds from dp. */
INLINE void softmax_backward(const int edges, const int dropout, const Head *head,
                             const Lanes *lanes, float *s, float *dp, const float *maximum,
                             const float *inverse)
{
    Range all = lanes->all, common = lanes->common;
    Range before = {all.from, common.from}, after = {common.to, all.to};
    float lane[16 * VL] __attribute__((aligned(64))) = {0};
    float scale[4 * VL] __attribute__((aligned(64)));
    vf m = vload(maximum), r = vload(inverse);
    if (edges)
        weights_backward(WORDS, dropout, head, lanes, s, dp, all, m, r, lane);
    else if (dropout)
        weights_backward(ENDS, 1, head, lanes, s, dp, all, m, r, lane);
    else {
        weights_backward(ENDS, 0, head, lanes, s, dp, before, m, r, lane);
        weights_backward(NONE, 0, head, lanes, s, dp, common, m, r, lane);
        weights_backward(ENDS, 0, head, lanes, s, dp, after, m, r, lane);
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
#define SOFTMAX_BACKWARD(name, edges, dropout)                                              \
    NOINLINE void name(const Head *head, const Lanes *lanes, float *s, float *dp,           \
                       const float *maximum, const float *inverse)                          \
    {                                                                                       \
        softmax_backward(edges, dropout, head, lanes, s, dp, maximum, inverse);             \
    }
SOFTMAX_BACKWARD(backward_plain, 0, 0)
SOFTMAX_BACKWARD(backward_dropout, 0, 1)
SOFTMAX_BACKWARD(backward_edges, 1, 0)
SOFTMAX_BACKWARD(backward_edges_dropout, 1, 1)

/* ---- forward -------------------------------------------------------------------------- */
/* Row i of c sums over the keys that the block's query i sees. */
static void sum_keys(const Sum *s, const Block *block, Range columns)
{
    if (!block->seen)
        sums(s, block->keys, block->count, columns);
    for (long i = 0; i < block->count && block->seen; i++)
        sum_listed(s, i, block->list, list_keys(block, i), columns);
}

static void forward_block(const Thread *me, const Head *head, long query)
{
    const Attention *a = head->a;
    float *q = me->workspace, *s = q + a->head_dim * QUERIES, *q2 = s + a->keys * QUERIES;
    float *relative = q2 + (head->q2 ? a->head_dim * QUERIES : 0);
    float *edges = relative + (head->q2 ? (a->keys + QUERIES) * QUERIES : 0);
    float maximum[QUERIES], inverse[QUERIES];
    Block block;
    block_of(&block, head, query);
    if (head->edges)
        find_edges(&block, head, edges);
    turn(q, head->q + query * head->q_row, head->q_row, block.count, a->head_dim, a->scale);
    scores(&block, s, head->k, head->k_row, q, a->head_dim);
    if (head->q2) {
        turn(q2, head->q2 + query * head->q_row, head->q_row, block.count, a->head_dim, a->scale);
        relative_scores(head, &block, relative, q2);
    }
    add_terms(head, &block, s, relative);
    for (long v = 0; v < block.vectors; v++)
        (head->edges ? softmax_edges : softmax)(head, &block.lanes[v], s + v * VL,
                                                maximum + v * VL, inverse + v * VL);
    Sum o = {a->out + head->q_offset + query * head->q_row, s, head->v, inverse,
             head->q_row, 1, QUERIES, head->k_row, 0};
    sum_keys(&o, &block, (Range){0, a->head_dim});
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

/* Whether query i has an edge to each of VL keys (`count` of them exist). */
static vi edges_of(const Head *head, long i, long j, long count)
{
    vi edges = {0};
    for (long l = 0; l < least(count, VL); l++)
        edges[l] = -has_edge(head, i, j + l);
    return edges;
}
static int nowhere(vi mask)
{
    int32_t any = 0;
    UNROLL for (int l = 0; l < VL; l++)
        any |= mask[l];
    return !any;
}

/* One query: s[j] becomes e_j for its keys, before dropout. The workspace holds
 * q', q2' and then s. Gives the maximum and 1/l, both 0 where nothing is visible. */
typedef struct Row { float *e; Range keys; float maximum, inverse; } Row;

static Row one_query(const Thread *me, const Head *head, long i)
{
    const Attention *a = head->a;
    const long room = (a->head_dim + 15) / 16 * 16;
    float *q = me->workspace, *q2 = q + room, *s = q2 + room;
    Range keys = keys_of(a, head->length, i);
    long first = keys.from / 16 * 16, end = (keys.to + 15) / 16 * 16;
    scaled(q, 0, head->q + i * head->q_row, 0, 1, a->head_dim, a->scale);
    if (head->q2)
        scaled(q2, 0, head->q2 + i * head->q_row, 0, 1, a->head_dim, a->scale);
    if (keys.from == keys.to)
        return (Row){s, keys, 0.0f, 0.0f};
    vf m = vset(-__builtin_inff()), lane[16 / VL];
    vi any = {0};
    for (long j = first; j < end; j += VL) {
        vf x = score_keys(head->k + j * head->k_row, head->k_row, q, a->head_dim, keys.to - j);
        vi key = vcount() + vseti((int32_t)j);
        if (a->alibi) {
            vf distance = vabs(__builtin_convertvector(vseti((int32_t)(a->pos + i)) - key, vf));
            x = x - vset(head->slope) * distance;
        }
        if (head->q2)
            x = x + score_keys(head->table + (a->pos + i - j) * head->q_row, -head->q_row, q2,
                               a->head_dim, keys.to - j);
        vi visible = (vi)(key >= (int32_t)keys.from) & (vi)(key < (int32_t)keys.to);
        if (head->edges)
            visible &= edges_of(head, i, j, keys.to - j);
        any |= visible;
        x = vpick(visible, x, vset(-__builtin_inff()));
        vstore(s + j, x);
        m = vmax(x, m);
    }
    if (head->edges && nowhere(any))
        return (Row){s, {0, 0}, 0.0f, 0.0f};
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
    if (head->edges) {
        int32_t *list = (int32_t *)(void *)(row.e + (a->keys + 15) / 16 * 16);
        long count = 0;
        for (long j = row.keys.from; j < row.keys.to; j++)
            if (has_edge(head, i, j))
                list[count++] = (int32_t)j;
        sum_listed(&o, 0, list, count, (Range){0, a->head_dim});
    } else
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
    int dropout = head->a->rate > 0.0f;
    for (long v = 0; v < block->vectors; v++)
        (head->edges ? dropout ? backward_edges_dropout : backward_edges
         : dropout   ? backward_dropout : backward_plain)(
            head, &block->lanes[v], p + v * VL, ds + v * VL, maximum + v * VL, inverse + v * VL);
}

enum { KEYS = 2 * SUM_ROWS };           /* and distances: summed at a time */

/* The queries of a word of edges, listed; gives their number. */
static long list_queries(int32_t *list, uint32_t seen)
{
    long count = 0;
    for (; seen; seen &= seen - 1)
        list[count++] = __builtin_ctz(seen);
    return count;
}

/* dk and dv of some keys: what the block's queries add, or begin. */
static void backward_keys(const Head *head, const Block *block, Sum dk, Sum dv, Range keys,
                          Range columns)
{
    for (long j = keys.from; j < keys.to && block->seen; j++) {
        int32_t list[QUERIES];
        long count = list_queries(list, block->seen[j]);
        sum_listed(&dv, j, list, count, columns);
        sum_listed(&dk, j, list, count, columns);
    }
    for (long j = keys.from, count; j < keys.to && !block->seen; j += count) {
        Range range[KEYS];
        count = least(KEYS, keys.to - j);
        for (long r = 0; r < count; r++) {
            Range seen = queries_of(head->a, j + r);
            range[r] = (Range){clamp(seen.from - block->query, 0, block->count),
                               clamp(seen.to - block->query, 0, block->count)};
        }
        Sum v = dv, k = dk;
        v.a += j * v.a_row;
        k.a += j * k.a_row;
        v.c += j * v.c_row;
        k.c += j * k.c_row;
        sums(&v, range, count, columns);
        sums(&k, range, count, columns);
    }
}

/* dq2 of the block: rows are queries and steps distances, both descending, so that
 * the keys of every chain ascend. */
static void backward_q2(const Head *head, const Block *block, const float *ds, const float *scale,
                        Range columns)
{
    const Attention *a = head->a;
    const long row = head->q_row, last = block->count - 1;
    float *dq2 = a->dq2 + head->q_offset + block->query * row;
    const float *table = head->table + (a->pos + block->query) * row;
    for (long i = 0; i <= last && block->seen; i++) {
        Sum s = {dq2 + i * row, ds + i, table + i * row, scale, 0, 0, QUERIES, -row, 0};
        sum_listed(&s, 0, block->list, list_keys(block, i), columns);
    }
    if (block->seen)
        return;
    Range range[QUERIES];
    for (long r = 0; r <= last; r++)
        range[r] = (Range){block->keys[last - r].from + r, block->keys[last - r].to + r};
    Sum s = {dq2 + last * row, ds + last, table + last * row, scale,
             -row, -QUERIES - 1, QUERIES, -row, 0};
    sums(&s, range, block->count, columns);
}

/* Of these queries those that see key `first` + i, listed; gives their number. */
static long list_distance(int32_t *list, const Block *block, Range queries, long first)
{
    long count = 0;
    for (long i = queries.from; i < queries.to; i++)
        if (block->seen[first + i] >> i & 1)
            list[count++] = (int32_t)i;
    return count;
}

/* What the block's queries add to dtable; q2 as `scaled` gives it. Row r is distance
 * from + r, of which query i of the block has key at - r + i. */
static void backward_table(const Head *head, const Block *block, const float *ds, const float *q2,
                           long q2_row, Range columns)
{
    const Attention *a = head->a;
    const long here = a->pos + block->query;
    long from = here - (block->keys[block->count - 1].to - 1);
    long to = here + block->count - block->keys[0].from;
    if (a->window > 0) {
        from = most(from, 1 - a->window);
        to = least(to, a->window);
    }
    if (a->causal)
        from = most(from, 0);
    const long at = here - from;
    for (long r = 0, count; r < to - from; r += count) {
        Range range[KEYS];
        count = least(KEYS, to - from - r);
        for (long n = 0; n < count; n++) {
            Range seen = queries_at(a, head->length, from + r + n);
            range[n] = (Range){clamp(seen.from - block->query, 0, block->count),
                               clamp(seen.to - block->query, 0, block->count)};
        }
        Sum s = {head->dtable + (from + r) * head->q_row, ds + (at - r) * QUERIES, q2, 0,
                 head->q_row, -QUERIES, QUERIES + 1, q2_row, 1};
        if (!block->seen)
            sums(&s, range, count, columns);
        for (long n = 0; n < count && block->seen; n++) {
            int32_t list[QUERIES];
            sum_listed(&s, n, list, list_distance(list, block, range[n], at - r - n), columns);
        }
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
    float *q2 = q + q_row_packed * QUERIES;
    float *p = q2 + (head->q2 ? q_row_packed * QUERIES : 0), *ds = p + a->keys * QUERIES;
    float *edges = ds + (a->keys + QUERIES) * QUERIES;
    float scale[QUERIES];
    const float *q_in = head->q + query * q_row;
    const float *g = a->dout + head->q_offset + query * q_row;
    Block block;
    block_of(&block, head, query);
    if (head->edges)
        find_edges(&block, head, edges);
    if (head->q2) {                     /* gt and ds first serve for the relative scores */
        turn(gt, head->q2 + query * q_row, q_row, block.count, D, a->scale);
        relative_scores(head, &block, ds, gt);
        scaled(q2, q_row_packed, head->q2 + query * q_row, q_row, block.count, D, a->scale);
    }
    turn(qt, q_in, q_row, block.count, D, a->scale);
    turn(gt, g, q_row, block.count, D, 1.0f);
    scaled(q, q_row_packed, q_in, q_row, block.count, D, a->scale);
    for (long i = 0; i < block.count; i++)
        scale[i] = a->scale;
    scores(&block, p, head->k, k_row, qt, D);
    add_terms(head, &block, p, ds);
    scores(&block, ds, head->v, k_row, gt, D);
    backward_scores(head, &block, p, ds);

    float *dq_out = a->dq + head->q_offset + query * q_row;
    Sum dq = {dq_out, ds, head->k, scale, q_row, 1, QUERIES, k_row, 0};
    Sum dk = {a->dk + head->k_offset, ds, q, 0, k_row, QUERIES, 1, q_row_packed, 1};
    Sum dv = {a->dv + head->k_offset, p, g, 0, k_row, QUERIES, 1, q_row, 1};
    Range keys = {block.keys[0].from, block.keys[block.count - 1].to};
    long old = clamp(begun, keys.from, keys.to);
    sum_keys(&dq, &block, columns);
    if (head->q2) {
        backward_q2(head, &block, ds, scale, columns);
        backward_table(head, &block, ds, q2, q_row_packed, columns);
    }
    backward_keys(head, &block, dk, dv, (Range){keys.from, old}, columns);
    /* behind a window no query sees the first keys, where pos is not 0 */
    clear(a->dk + head->k_offset, k_row, (Range){begun, keys.from}, columns);
    clear(a->dv + head->k_offset, k_row, (Range){begun, keys.from}, columns);
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

/* A key head of all sequences, with its query heads' part of dtable. */
static void backward_sequences(const Thread *me, const Attention *a, long kv_head, Range columns)
{
    long from = first_head(a, kv_head), to = first_head(a, kv_head + 1);
    for (long h = from; h < to && !a->dtable_init; h++)
        clear(a->dtable + h * a->head_dim, a->heads * a->head_dim, (Range){0, a->table_rows},
              columns);
    for (long b = 0; b < a->batch; b++)
        backward_group(me, a, b, kv_head, columns);
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
 * columns of the gradients. Where there are many key heads none is cut. With relative
 * positions a key head's sequences stay together, since dtable sums over them. */
void attention_backward(const Thread *me, const Attention *a)
{
    long heads = (a->q2 ? 1 : a->batch) * a->kv_heads, cuts = (a->head_dim + 15) / 16;
    if (heads >= 8L * me->count || heads % me->count == 0)
        cuts = 1;
    long from = share_start(me, heads * cuts), to = share_end(me, heads * cuts);
    for (long h = from / cuts; h * cuts < to; h++) {
        long first = most(from, h * cuts) - h * cuts, end = least(to - h * cuts, cuts);
        Range columns = {first * 16, cuts == 1 || end == cuts ? a->head_dim : end * 16};
        if (a->q2)
            backward_sequences(me, a, h, columns);
        else
            backward_group(me, a, h / a->kv_heads, h % a->kv_heads, columns);
    }
}

void attention_weights(const Thread *me, const Attention *a, float *weights)
{
    long rows = a->batch * a->heads * a->queries;
    for (long row = share_start(me, rows); row < share_end(me, rows); row++) {
        long head_number = row / a->queries, i = row % a->queries;
        Head head = head_of(a, head_number / a->heads, head_number % a->heads);
        Row one = one_query(me, &head, i);
        for (long j = 0; j < a->keys; j++)
            weights[row * a->keys + j] =
                j >= one.keys.from && j < one.keys.to && (!a->edges || has_edge(&head, i, j))
                    ? one.e[j] * one.inverse : 0.0f;
    }
}
