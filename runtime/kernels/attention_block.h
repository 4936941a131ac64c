/* attention_block.h: a block of queries of one head, and which keys each of them
 * sees (kernels.h): how attention.c reads its arguments.
 * SPDX-License-Identifier: 0BSD */
#ifndef ATTENTION_BLOCK_H
#define ATTENTION_BLOCK_H
#include "kernels.h"
#include "products.h"

/* ---- who sees whom -------------------------------------------------------------- */
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

/* The queries that see a key at this distance, which causal and window allow, among
 * the first `length`. */
static Range queries_at(const Attention *a, long length, long distance)
{
    long from = clamp(distance - a->pos, 0, a->queries);
    return (Range){from, clamp(length + distance - a->pos, from, a->queries)};
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
    const int32_t *edges;       /* of this sequence, or NULL */
    const float *q2, *table;    /* q2 as q; the row of distance 0; or NULL */
    float *dtable;              /* backward: as table; its rows are q_row apart, too */
    uint32_t dropout_row;       /* of query 0 */
} Head;

static Head head_of(const Attention *a, long b, long h)
{
    long q_row = a->heads * a->head_dim, k_row = a->kv_heads * a->head_dim;
    long q_offset = b * a->queries * q_row + h * a->head_dim;
    long k_offset = b * a->key_rows * k_row + h * a->kv_heads / a->heads * a->head_dim;
    long t_offset = a->zero * q_row + h * a->head_dim;
    long heads = a->all_heads ? a->all_heads : a->heads;
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
        .edges = a->edges ? a->edges + b * a->queries * a->keys : 0,
        .q2 = a->q2 ? a->q2 + q_offset : 0,
        .table = a->q2 ? a->table + t_offset : 0,
        .dtable = a->q2 && a->dtable ? a->dtable + t_offset : 0,
        .dropout_row = (uint32_t)(((a->sequence + b) * heads + a->head + h)
                                      * (a->all_queries ? a->all_queries : a->queries)
                                  + (a->all_queries ? a->pos : 0)),
    };
}

/* A block of queries: for each vector of them, what its lanes see. */
typedef struct Lanes {
    vi from, to, at;            /* keys each lane sees; absolute position */
    Range all, common;          /* keys that some lane sees, that every lane sees */
    const uint32_t *seen;       /* with edges: a word a key, lane l's bit being bits[l] */
    vi bits;
    long query;                 /* of lane 0 */
} Lanes;
typedef struct Block {
    long query, count;
    long vectors;               /* that hold any query */
    Lanes lanes[QUERY_VECTORS];
    Range keys[QUERIES];        /* of each query */
    const uint32_t *seen;       /* with edges; else NULL */
    int32_t *list;              /* with edges: room for all keys */
} Block;

static int has_edge(const Head *head, long i, long j)
{
    return head->a->pos + i == j || head->edges[i * head->a->keys + j] != 0;
}

/* The words of the block's keys, and behind them room for a list. */
static void find_edges(Block *block, const Head *head, void *room)
{
    uint32_t *seen = room;
    block->seen = seen;
    block->list = (int32_t *)(seen + head->a->keys);
    for (long j = block->keys[0].from; j < block->keys[block->count - 1].to; j++)
        seen[j] = 0;
    for (long i = 0; i < block->count; i++)
        for (long j = block->keys[i].from; j < block->keys[i].to; j++)
            seen[j] |= (uint32_t)has_edge(head, block->query + i, j) << i;
    for (long v = 0; v < block->vectors; v++) {
        block->lanes[v].seen = seen;
        block->lanes[v].bits = vcount() + vseti((int32_t)(v * VL));
    }
}

/* The keys that query i of the block sees, listed; gives their number. */
static long list_keys(const Block *block, long i)
{
    long count = 0;
    for (long j = block->keys[i].from; j < block->keys[i].to; j++) {
        block->list[count] = (int32_t)j;
        count += block->seen[j] >> i & 1;
    }
    return count;
}

static void block_of(Block *block, const Head *head, long query)
{
    block->seen = 0;
    block->query = query;
    block->count = least(QUERIES, head->a->queries - query);
    block->vectors = (block->count + VL - 1) / VL;
    /* lanes without a query see what the last one does */
    for (long i = 0; i < block->vectors * VL; i++)
        block->keys[i] = keys_of(head->a, head->length, query + least(i, block->count - 1));
    for (long v = 0; v < block->vectors; v++) {
        Lanes *lanes = &block->lanes[v];
        lanes->seen = 0;
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
#endif
