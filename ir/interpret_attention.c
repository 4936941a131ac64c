/* interpret_attention.c: attention, its gradients and its weights, one query
 * and one key at a time, in the order of runtime/kernels/kernels.h and of
 * docs/architecture.md, section 7. Read `softmax_row`, which all share.
 *
 * q and q2 [B,T,heads·D], k and v [B,keys,kv·D], table [distances,heads·D];
 * stats in memory [B,heads,T,2]. */
#include "interpret.h"
#include "../runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

typedef struct Attention {
    Frame *frame;
    const Machine *machine;
    const Attrs *attrs;
    const double *q, *k, *v, *lengths;
    const double *slopes, *edges, *q2, *table;      /* NULL: without */
    int64_t B, T, keys, key_rows, D, position;
    int64_t zero;               /* the table's row of distance 0 */
    float rate;                 /* 0: no dropout */
    /* one row of scores: */
    double *scaled, *scaled2;   /* q' = q · scale, and of q2 [D] */
    double *e;                  /* exp(s - m), 0 where masked [keys] */
    double *dp;                 /* backward: of each visible key */
    double m, inverse;          /* the maximum; 1 / Σ e */
} Attention;

static const double *input(const Frame *frame, const Node *node, int i)
{
    return frame_operand(frame, node, i)->at;
}

static double *room(const Frame *frame, int64_t count)
{
    return arena_alloc(frame->arena, (size_t)count * sizeof(double));
}

/* The inputs that the flags name, from `next` on. A table's rows are for the
 * distances 1-P … P-1; false with a text where others occur. */
static bool more_inputs(Attention *a, const Node *node, int next)
{
    const Attrs *attrs = a->attrs;
    if (attrs->alibi && node->op != OP_relative_backward)
        a->slopes = input(a->frame, node, next++);
    if (attrs->edges)
        a->edges = input(a->frame, node, next++);
    bool relative = node->op == OP_relative_backward
        || (node->op != OP_attention_backward && attrs->relative);
    if (!relative)
        return true;
    a->q2 = input(a->frame, node, next++);
    const Array *table = frame_operand(a->frame, node, next);
    a->table = table->at;
    a->zero = (table->dims[0] - 1) / 2;
    if (a->position + a->T <= a->zero + 1 && a->keys <= a->zero + 1)
        return true;
    return machine_fails(a->frame->machine, "%s: %lld rows are too few for its "
                         "distances", node->in[next]->name,
                         (long long)table->dims[0]);
}

/* `lengths`: the place of the input; `next`: of the first that a flag names. */
static bool attention_of(Attention *a, Frame *frame, const Node *node,
                         int lengths, int next)
{
    const Machine *machine = frame->machine;
    const Array *q = frame_operand(frame, node, 0);
    const Array *k = frame_operand(frame, node, 1);
    const Attrs *attrs = &node->attrs;
    bool cached = node->op == OP_attention && attrs->cached && !attrs->cross;
    *a = (Attention){
        .frame = frame, .machine = machine, .attrs = attrs,
        .q = q->at, .k = k->at, .v = input(frame, node, 2),
        .lengths = input(frame, node, lengths),
        .B = q->dims[0], .T = q->dims[1], .keys = k->dims[1],
        .key_rows = k->dims[1], .D = q->dims[2] / attrs->heads,
        .position = cached ? machine->run->position : 0,
        .rate = machine->step->training ? (float)attrs->rate : 0,
    };
    if (cached && a->position + a->T < a->keys)
        a->keys = a->position + a->T;
    a->scaled = room(frame, a->D);
    a->scaled2 = room(frame, a->D);
    a->e = room(frame, a->keys);
    a->dp = room(frame, a->keys);
    return more_inputs(a, node, next);
}

/* Rows of head h: of a query, of a key; v has k's layout. */
static int64_t query_at(const Attention *a, int64_t b, int64_t i, int64_t h)
{
    return ((b * a->T + i) * a->attrs->heads + h) * a->D;
}

static int64_t key_at(const Attention *a, int64_t b, int64_t j, int64_t h)
{
    int64_t key_head = h * a->attrs->kv_heads / a->attrs->heads;
    return ((b * a->key_rows + j) * a->attrs->kv_heads + key_head) * a->D;
}

static int64_t table_at(const Attention *a, int64_t i, int64_t j, int64_t h)
{
    return ((a->zero + a->position + i - j) * a->attrs->heads + h) * a->D;
}

static int64_t distance(const Attention *a, int64_t i, int64_t j)
{
    int64_t d = a->position + i - j;
    return d < 0 ? -d : d;
}

static bool visible(const Attention *a, int64_t b, int64_t i, int64_t j)
{
    if (a->edges && i != j && a->edges[(b * a->T + i) * a->keys + j] == 0)
        return false;
    return (double)j < a->lengths[b]
        && (!a->attrs->causal || j <= a->position + i)
        && (!a->attrs->window || distance(a, i, j) < a->attrs->window);
}

/* What dropout multiplies the weight of key j by. */
static double kept(const Attention *a, int64_t b, int64_t i, int64_t h,
                   int64_t j)
{
    const Machine *machine = a->machine;
    const Interpretation *run = machine->run;
    if (a->rate == 0)
        return 1;
    int64_t site = a->attrs->site;
    if (machine->block >= 0)
        site += 1 + (stack_first(machine->m, machine->stack) + machine->block)
            * machine->m->sites_per_block;
    int64_t sequence = machine->first_sequence + b;
    int64_t row = (sequence * a->attrs->heads + h) * a->T + i;
    float scale = dropout_scale(run->seed, (uint32_t)run->step_number,
                                (uint32_t)site, (uint32_t)row, (uint32_t)j,
                                a->rate);
    if (machine->f32 || scale == 0)
        return (double)scale;
    return 1 / (1 - (double)a->rate);
}

static double exponential(const Machine *machine, double x)
{
    return machine->f32 ? (double)exp_f32((float)x) : exp(x);
}

static double score(const Attention *a, int64_t b, int64_t i, int64_t h,
                    int64_t j)
{
    const Machine *machine = a->machine;
    const double *key = a->k + key_at(a, b, j, h);
    double s = 0;
    for (int64_t d = 0; d < a->D; d++)
        s = fused(machine, a->scaled[d], key[d], s);
    if (a->slopes) {
        double far = (double)distance(a, i, j);
        s = rounded(machine, s - rounded(machine, a->slopes[h] * far));
    }
    if (!a->q2)
        return s;
    const double *row = a->table + table_at(a, i, j, h);
    double more = 0;
    for (int64_t d = 0; d < a->D; d++)
        more = fused(machine, a->scaled2[d], row[d], more);
    return rounded(machine, s + more);
}

/* to = a row · scale; nothing where there is no such input. */
static void scale_row(const Attention *a, double *to, const double *from,
                      int64_t at)
{
    double scale = (double)(float)a->attrs->scale;
    for (int64_t d = 0; from && d < a->D; d++)
        to[d] = rounded(a->machine, from[at + d] * scale);
}

/* Fills scaled, e, m and inverse for query i; false when it sees nothing. */
static bool softmax_row(Attention *a, int64_t b, int64_t i, int64_t h)
{
    const Machine *machine = a->machine;
    double lanes[16] = {0};
    bool any = false;
    scale_row(a, a->scaled, a->q, query_at(a, b, i, h));
    scale_row(a, a->scaled2, a->q2, query_at(a, b, i, h));
    for (int64_t j = 0; j < a->keys; j++) {
        a->e[j] = visible(a, b, i, j) ? score(a, b, i, h, j) : 0;
        if (visible(a, b, i, j) && (!any || a->e[j] > a->m || isnan(a->e[j])))
            a->m = a->e[j];
        any |= visible(a, b, i, j);
    }
    for (int64_t j = 0; any && j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        a->e[j] = exponential(machine, rounded(machine, a->e[j] - a->m));
        lanes[j % 16] = rounded(machine, lanes[j % 16] + a->e[j]);
    }
    a->inverse = any ? rounded(machine, 1 / canonical_fold(machine, lanes)) : 0;
    a->m = any ? a->m : 0;
    return any;
}

/* Column d of what query i gets, of the row that softmax_row filled. */
static double value_chain(const Attention *a, int64_t b, int64_t i, int64_t h,
                          int64_t d)
{
    double sum = 0;
    for (int64_t j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        double weight = rounded(a->machine, a->e[j] * kept(a, b, i, h, j));
        sum = fused(a->machine, weight, a->v[key_at(a, b, j, h) + d], sum);
    }
    return rounded(a->machine, sum * a->inverse);
}

static bool run_forward(Frame *frame, const Node *node)
{
    Attention a;
    if (!attention_of(&a, frame, node, 3, 4))
        return false;
    double *out = frame_result(frame, node, 0)->at;
    double *stats = frame_result(frame, node, 1)->at;
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++) {
        int64_t b = row / (heads * a.T), h = row / a.T % heads, i = row % a.T;
        bool any = softmax_row(&a, b, i, h);
        for (int64_t d = 0; any && d < a.D; d++)
            out[query_at(&a, b, i, h) + d] = value_chain(&a, b, i, h, d);
        stats[2 * row] = a.m;
        stats[2 * row + 1] = a.inverse;
    }
    return true;
}

static bool run_weights(Frame *frame, const Node *node)
{
    Attention a;
    if (!attention_of(&a, frame, node, 2, 3))
        return false;
    double *out = frame_result(frame, node, 0)->at;
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++) {
        int64_t b = row / (heads * a.T), h = row / a.T % heads, i = row % a.T;
        softmax_row(&a, b, i, h);
        for (int64_t j = 0; j < a.keys; j++)
            if (visible(&a, b, i, j))
                out[row * a.keys + j] = rounded(a.machine, a.e[j] * a.inverse);
    }
    return true;
}

/* ---- backward: one query of one head ---- */
typedef struct Backward {
    const double *dout;
    double *dq, *dk, *dv;
    double *dq2, *dtable;       /* with relative positions */
} Backward;

/* dp of every visible key, after dropout, and delta = Σ p · dp, a row sum
 * over keys. */
static double delta_of(Attention *a, const double *dout, int64_t b, int64_t i,
                       int64_t h)
{
    const Machine *machine = a->machine;
    double lanes[16] = {0};
    for (int64_t j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        const double *v = a->v + key_at(a, b, j, h);
        double p = rounded(machine, a->e[j] * a->inverse), dp = 0;
        for (int64_t d = 0; d < a->D; d++)
            dp = fused(machine, dout[d], v[d], dp);
        a->dp[j] = rounded(machine, dp * kept(a, b, i, h, j));
        lanes[j % 16] = fused(machine, p, a->dp[j], lanes[j % 16]);
    }
    return canonical_fold(machine, lanes);
}

/* What the pair of query i and key j adds to dq2 and dtable. */
static void backward_relative(const Attention *a, const Backward *g,
                              int64_t query, int64_t row, double ds)
{
    const Machine *machine = a->machine;
    for (int64_t d = 0; d < a->D; d++) {
        g->dq2[query + d] = fused(machine, ds, a->table[row + d],
                                  g->dq2[query + d]);
        g->dtable[row + d] = fused(machine, ds, a->scaled2[d],
                                   g->dtable[row + d]);
    }
}

/* Every chain goes on from what its output holds: dq's and dq2's over keys,
 * dk's and dv's over queries, head by head, dtable's over sequences and
 * queries. */
static void backward_row(Attention *a, const Backward *g, int64_t b, int64_t i,
                         int64_t h)
{
    const Machine *machine = a->machine;
    if (!softmax_row(a, b, i, h))
        return;
    int64_t at = query_at(a, b, i, h);
    const double *dout = g->dout + at;
    double delta = delta_of(a, dout, b, i, h);
    for (int64_t j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        int64_t key = key_at(a, b, j, h);
        double p = rounded(machine, a->e[j] * a->inverse);
        double weight = rounded(machine, p * kept(a, b, i, h, j));
        double ds = rounded(machine, p * rounded(machine, a->dp[j] - delta));
        for (int64_t d = 0; d < a->D; d++) {
            g->dv[key + d] = fused(machine, weight, dout[d], g->dv[key + d]);
            g->dq[at + d] = fused(machine, ds, a->k[key + d], g->dq[at + d]);
            g->dk[key + d] = fused(machine, ds, a->scaled[d], g->dk[key + d]);
        }
        if (a->q2)
            backward_relative(a, g, at, table_at(a, i, j, h), ds);
    }
    scale_row(a, g->dq + at, g->dq, at);
    if (a->q2)
        scale_row(a, g->dq2 + at, g->dq2, at);
}

/* attention_backward and relative_backward, whose last input is what dtable
 * begins at. */
static bool run_backward(Frame *frame, const Node *node)
{
    Attention a;
    if (!attention_of(&a, frame, node, 3, 6))
        return false;
    Backward g = {
        .dout = input(frame, node, 5),
        .dq = frame_result(frame, node, 0)->at,
        .dk = frame_result(frame, node, 1)->at,
        .dv = frame_result(frame, node, 2)->at,
    };
    if (a.q2) {
        const Array *init = frame_operand(frame, node, node->inputs - 1);
        g.dq2 = frame_result(frame, node, 3)->at;
        g.dtable = frame_result(frame, node, 4)->at;
        memcpy(g.dtable, init->at, (size_t)init->count * sizeof *init->at);
    }
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++)
        backward_row(&a, &g, row / (heads * a.T), row % a.T, row / a.T % heads);
    return true;
}

bool run_attention(Frame *frame, const Node *node)
{
    if (node->op == OP_attention)
        return run_forward(frame, node);
    if (node->op == OP_attention_weights)
        return run_weights(frame, node);
    return run_backward(frame, node);
}
