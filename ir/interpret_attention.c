/* interpret_attention.c: attention, its gradient and its weights, one query and
 * one key at a time, in the order of runtime/kernels/kernels.h and of
 * docs/architecture.md, section 7. Read `softmax_row`, which the three share.
 *
 * q [B,T,heads·D], k and v [B,keys,kv·D]; stats in memory [B,heads,T,2]. */
#include "interpret.h"
#include "../runtime/kernels/lanes.h"
#include <math.h>

typedef struct Attention {
    Frame *frame;
    const Machine *machine;
    const Attrs *attrs;
    const double *q, *k, *v, *lengths, *slopes;
    int64_t B, T, keys, key_rows, D, position;
    float rate;                 /* 0: no dropout */
    /* one row of scores: */
    double *scaled;             /* q' = q · scale [D] */
    double *e;                  /* exp(s - m), 0 where masked [keys] */
    double *dp;                 /* backward: of each visible key */
    double m, inverse;          /* the maximum; 1 / Σ e */
} Attention;

static const double *input(const Frame *frame, const Node *node, int i)
{
    return frame->values[node->in[i]->number].at;
}

static Attention attention_of(Frame *frame, const Node *node, int lengths, int slopes)
{
    const Machine *machine = frame->machine;
    const Array *q = &frame->values[node->in[0]->number];
    const Array *k = &frame->values[node->in[1]->number];
    const Attrs *attrs = &node->attrs;
    bool cached = node->op == OP_attention && attrs->cached;
    Attention a = {
        .frame = frame, .machine = machine, .attrs = attrs,
        .q = q->at, .k = k->at, .v = input(frame, node, 2),
        .lengths = input(frame, node, lengths),
        .slopes = node->inputs > slopes ? input(frame, node, slopes) : NULL,
        .B = q->dims[0], .T = q->dims[1], .key_rows = k->dims[1],
        .D = q->dims[2] / attrs->heads,
        .position = cached ? machine->run->position : 0,
        .rate = machine->step->training ? (float)attrs->rate : 0,
    };
    a.keys = a.position + a.T < a.key_rows ? a.position + a.T : a.key_rows;
    a.scaled = arena_alloc(frame->arena, (size_t)a.D * sizeof(double));
    a.e = arena_alloc(frame->arena, (size_t)a.keys * sizeof(double));
    a.dp = arena_alloc(frame->arena, (size_t)a.keys * sizeof(double));
    return a;
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

static int64_t distance(const Attention *a, int64_t i, int64_t j)
{
    int64_t d = a->position + i - j;
    return d < 0 ? -d : d;
}

static bool visible(const Attention *a, int64_t b, int64_t i, int64_t j)
{
    return (double)j < a->lengths[b] && (!a->attrs->causal || j <= a->position + i)
        && (!a->attrs->window || distance(a, i, j) < a->attrs->window);
}

/* What dropout multiplies the weight of key j by. */
static double kept(const Attention *a, int64_t b, int64_t i, int64_t h, int64_t j)
{
    const Machine *machine = a->machine;
    const Interpretation *run = machine->run;
    if (a->rate == 0)
        return 1;
    int64_t site = a->attrs->site;
    if (machine->block >= 0)
        site += 1 + machine->block * machine->m->sites_per_block;
    int64_t row = ((machine->first_sequence + b) * a->attrs->heads + h) * a->T + i;
    float scale = dropout_scale(run->seed, (uint32_t)run->step_number, (uint32_t)site,
                                (uint32_t)row, (uint32_t)j, a->rate);
    return machine->f32 || scale == 0 ? (double)scale : 1 / (1 - (double)a->rate);
}

static double exponential(const Machine *machine, double x)
{
    return machine->f32 ? (double)exp_f32((float)x) : exp(x);
}

static double score(const Attention *a, int64_t b, int64_t i, int64_t h, int64_t j)
{
    const Machine *machine = a->machine;
    const double *key = a->k + key_at(a, b, j, h);
    double s = 0;
    for (int64_t d = 0; d < a->D; d++)
        s = fused(machine, a->scaled[d], key[d], s);
    if (a->slopes)
        s = rounded(machine, s - rounded(machine, a->slopes[h] * (double)distance(a, i, j)));
    return s;
}

/* Fills scaled, e, m and inverse for query i; false when it sees nothing. */
static bool softmax_row(Attention *a, int64_t b, int64_t i, int64_t h)
{
    const Machine *machine = a->machine;
    const double *query = a->q + query_at(a, b, i, h);
    double scale = (double)(float)a->attrs->scale, lanes[16] = {0};
    bool any = false;
    for (int64_t d = 0; d < a->D; d++)
        a->scaled[d] = rounded(machine, query[d] * scale);
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

void run_attention(Frame *frame, const Node *node)
{
    Attention a = attention_of(frame, node, 3, 4);
    const Machine *machine = frame->machine;
    double *out = frame->values[node->out[0]->number].at;
    double *stats = frame->values[node->out[1]->number].at;
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++) {
        int64_t b = row / (heads * a.T), h = row / a.T % heads, i = row % a.T;
        bool any = softmax_row(&a, b, i, h);
        double *to = out + query_at(&a, b, i, h);
        for (int64_t d = 0; any && d < a.D; d++) {
            double sum = 0;
            for (int64_t j = 0; j < a.keys; j++)
                if (visible(&a, b, i, j)) {
                    double weight = rounded(machine, a.e[j] * kept(&a, b, i, h, j));
                    sum = fused(machine, weight, a.v[key_at(&a, b, j, h) + d], sum);
                }
            to[d] = rounded(machine, sum * a.inverse);
        }
        stats[2 * row] = a.m;
        stats[2 * row + 1] = a.inverse;
    }
}

void run_attention_weights(Frame *frame, const Node *node)
{
    Attention a = attention_of(frame, node, 2, 3);
    double *out = frame->values[node->out[0]->number].at;
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++) {
        int64_t b = row / (heads * a.T), h = row / a.T % heads, i = row % a.T;
        softmax_row(&a, b, i, h);
        for (int64_t j = 0; j < a.keys; j++)
            if (visible(&a, b, i, j))
                out[row * a.keys + j] = rounded(a.machine, a.e[j] * a.inverse);
    }
}

/* ---- backward: one query of one head ---- */
typedef struct Backward {
    const double *dout;
    double *dq, *dk, *dv;
} Backward;

/* dp of every visible key, after dropout, and delta = Σ p · dp, a row sum over keys. */
static double delta_of(Attention *a, const double *dout, int64_t b, int64_t i, int64_t h)
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

/* Every chain goes on from what its output holds: dq's over keys, dk's and dv's
 * over queries, head by head. */
static void backward_row(Attention *a, const Backward *g, int64_t b, int64_t i, int64_t h)
{
    const Machine *machine = a->machine;
    if (!softmax_row(a, b, i, h))
        return;
    int64_t at = query_at(a, b, i, h);
    const double *dout = g->dout + at;
    double delta = delta_of(a, dout, b, i, h), scale = (double)(float)a->attrs->scale;
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
    }
    for (int64_t d = 0; d < a->D; d++)
        g->dq[at + d] = rounded(machine, g->dq[at + d] * scale);
}

void run_attention_backward(Frame *frame, const Node *node)
{
    Attention a = attention_of(frame, node, 3, 6);
    Backward g = {
        .dout = input(frame, node, 5),
        .dq = frame->values[node->out[0]->number].at,
        .dk = frame->values[node->out[1]->number].at,
        .dv = frame->values[node->out[2]->number].at,
    };
    int64_t heads = a.attrs->heads;
    for (int64_t row = 0; row < a.B * heads * a.T; row++)
        backward_row(&a, &g, row / (heads * a.T), row % a.T, row / a.T % heads);
}
