/* test_attention.c: attention forward, backward and its weights, bit by bit against
 * plain loops in the exact order, and those against float64 with a tolerance; the
 * float64 gradients against finite differences. Shapes that tile badly, grouped
 * queries, windows, ALiBi, padding, caches, dropout, edges, relative positions, keys
 * of another sequence; 1 to 4 threads; what is masked may be NaN. */
#include "harness.h"
#include "lanes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name;
    long batch, queries, keys, key_rows, pos, heads, kv_heads, head_dim, window;
    int causal, alibi, padded;
    float rate;
    int edges;              /* percent of all pairs; 0: none are given, -1: all are 0 */
    int relative;           /* 2: dtable goes on from what it holds */
} Case;

/* All arrays of a case. */
typedef struct Data {
    Attention a;
    long q_count, k_count, stats_count, weights_count, table_count;
    float *q, *k, *v, *dout, *slopes, *q2, *table, *begin;
    int32_t *lengths, *edges;
    float *out, *stats, *dq, *dk, *dv, *weights, *dq2, *dtable;     /* what is computed */
} Data;

/* ---- the definition ------------------------------------------------------------- */
static bool visible(const Attention *a, long b, long i, long j)
{
    long at = a->pos + i, distance = labs(at - j);
    bool joined = !a->edges || i == j || a->edges[(b * a->queries + i) * a->keys + j] != 0;
    return joined && j < a->lengths[b] && (!a->causal || j <= at) &&
           (a->window == 0 || distance < a->window);
}

static float multiplier(const Attention *a, long b, long h, long i, long j)
{
    uint32_t row = (uint32_t)(((a->sequence + b) * a->heads + h) * a->queries + i);
    return a->rate > 0 ? dropout_scale(a->seed, a->step, a->site, row, (uint32_t)j, a->rate) : 1.0f;
}

/* Where element 0 of a row of a head is. */
static long q_at(const Attention *a, long b, long h, long i)
{
    return ((b * a->queries + i) * a->heads + h) * a->head_dim;
}
static long k_at(const Attention *a, long b, long h, long j)
{
    long kv_head = h * a->kv_heads / a->heads;
    return ((b * a->key_rows + j) * a->kv_heads + kv_head) * a->head_dim;
}

static long table_at(const Attention *a, long h, long i, long j)
{
    return ((a->zero + a->pos + i - j) * a->heads + h) * a->head_dim;
}

/* ---- plain loops in the exact order ------------------------------------------------ */
static float fold(float *lane)
{
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l] + lane[l + half];
    return lane[0];
}

static float chain(const float *a, const float *q, float scale, long count)
{
    float s = 0.0f;
    for (long d = 0; d < count; d++)
        s = fmaf(a[d], q[d] * scale, s);
    return s;
}

/* e_j of a row, its maximum and 1/l, or 0 and 0. */
static void plain_row(const Attention *a, long b, long h, long i, float *e, float *stats)
{
    float m = -INFINITY, lane[16] = {0};
    bool any = false;
    for (long j = 0; j < a->keys; j++) {
        e[j] = 0.0f;
        if (!visible(a, b, i, j))
            continue;
        long q = q_at(a, b, h, i), D = a->head_dim;
        float s = chain(a->k + k_at(a, b, h, j), a->q + q, a->scale, D);
        if (a->alibi)
            s = s - a->alibi[h] * (float)labs(a->pos + i - j);
        if (a->q2)
            s = s + chain(a->table + table_at(a, h, i, j), a->q2 + q, a->scale, D);
        e[j] = s;
        m = s > m ? s : m;
        any = true;
    }
    for (long j = 0; j < a->keys; j++)
        if (visible(a, b, i, j)) {
            e[j] = exp_f32(e[j] - m);
            lane[j % 16] = lane[j % 16] + e[j];
        }
    stats[0] = any ? m : 0.0f;
    stats[1] = any ? 1.0f / fold(lane) : 0.0f;
}

static void plain_forward(const Attention *a, float *e, float *weights)
{
    for (long n = 0; n < a->batch * a->heads * a->queries; n++) {
        long b = n / (a->heads * a->queries), h = n / a->queries % a->heads, i = n % a->queries;
        float stats[2];
        plain_row(a, b, h, i, e, stats);
        for (long d = 0; d < a->head_dim; d++) {
            float sum = 0.0f;
            for (long j = 0; j < a->keys; j++)
                if (visible(a, b, i, j)) {
                    float w = a->rate > 0 ? e[j] * multiplier(a, b, h, i, j) : e[j];
                    sum = fmaf(w, a->v[k_at(a, b, h, j) + d], sum);
                }
            a->out[q_at(a, b, h, i) + d] = sum * stats[1];
        }
        for (long j = 0; j < a->keys; j++)
            weights[n * a->keys + j] = visible(a, b, i, j) ? e[j] * stats[1] : 0.0f;
        memcpy(a->stats + 2 * n, stats, sizeof stats);
    }
}

static void plain_backward_row(const Attention *a, long b, long h, long i, float *e, float *ds)
{
    const float *g = a->dout + q_at(a, b, h, i);
    float lane[16] = {0}, stats[2];
    plain_row(a, b, h, i, e, stats);
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        const float *v = a->v + k_at(a, b, h, j);
        float dp = 0.0f, p = e[j] * stats[1];
        for (long d = 0; d < a->head_dim; d++)
            dp = fmaf(v[d], g[d], dp);
        ds[j] = dp * multiplier(a, b, h, i, j);
        lane[j % 16] = fmaf(p, ds[j], lane[j % 16]);
    }
    float delta = fold(lane);
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        float p = e[j] * stats[1], kept = multiplier(a, b, h, i, j);
        ds[j] = p * (ds[j] - delta);
        for (long d = 0; d < a->head_dim; d++) {
            float *dv = a->dv + k_at(a, b, h, j) + d, *dk = a->dk + k_at(a, b, h, j) + d;
            *dv = fmaf(p * kept, g[d], *dv);
            *dk = fmaf(ds[j], a->q[q_at(a, b, h, i) + d] * a->scale, *dk);
        }
    }
    for (long d = 0; d < a->head_dim; d++) {
        float sum = 0.0f;
        for (long j = 0; j < a->keys; j++)
            if (visible(a, b, i, j))
                sum = fmaf(ds[j], a->k[k_at(a, b, h, j) + d], sum);
        a->dq[q_at(a, b, h, i) + d] = sum * a->scale;
    }
}

/* dq2 and what the row adds to dtable. */
static void plain_relative_row(const Attention *a, long b, long h, long i, const float *ds)
{
    for (long d = 0; d < a->head_dim; d++) {
        float sum = 0.0f, q = a->q2[q_at(a, b, h, i) + d] * a->scale;
        for (long j = 0; j < a->keys; j++) {
            if (!visible(a, b, i, j))
                continue;
            float *dtable = a->dtable + table_at(a, h, i, j) + d;
            *dtable = fmaf(ds[j], q, *dtable);
            sum = fmaf(ds[j], a->table[table_at(a, h, i, j) + d], sum);
        }
        a->dq2[q_at(a, b, h, i) + d] = sum * a->scale;
    }
}

static void plain_backward(const Data *data, float *e, float *ds)
{
    const Attention *a = &data->a;
    memset(a->dk, 0, (size_t)data->k_count * sizeof(float));
    memset(a->dv, 0, (size_t)data->k_count * sizeof(float));
    if (a->q2 && !a->dtable_init)
        memset(a->dtable, 0, (size_t)data->table_count * sizeof(float));
    for (long n = 0; n < a->batch * a->heads * a->queries; n++) {
        long b = n / (a->heads * a->queries), h = n / a->queries % a->heads, i = n % a->queries;
        plain_backward_row(a, b, h, i, e, ds);
        if (a->q2)
            plain_relative_row(a, b, h, i, ds);
    }
}

/* ---- float64 ------------------------------------------------------------------------ */
/* One coordinate changed, of q, of q2 or of the whole table; -1: not. */
typedef struct Moved { long q, q2, table; double step; } Moved;
static const Moved unmoved = {-1, -1, -1, 0};

/* What a score gains from its distance, before the scale. */
static double exact_relative(const Attention *a, const float *q2, long at, const Moved *moved)
{
    double sum = 0;
    for (long d = 0; d < a->head_dim; d++)
        sum += ((double)q2[d] + (d == moved->q2 ? moved->step : 0)) *
               ((double)a->table[at + d] + (at + d == moved->table ? moved->step : 0));
    return sum;
}

/* The row's weights p (before dropout) with something moved; the row's contribution to
 * sum(dout·out) is returned. */
static double exact_row(const Attention *a, long b, long h, long i, double *p, Moved moved)
{
    const float *q = a->q + q_at(a, b, h, i), *g = a->dout + q_at(a, b, h, i);
    double m = -INFINITY, l = 0, loss = 0;
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        const float *k = a->k + k_at(a, b, h, j);
        p[j] = 0;
        for (long d = 0; d < a->head_dim; d++)
            p[j] += ((double)q[d] + (d == moved.q ? moved.step : 0)) * (double)k[d];
        if (a->q2)
            p[j] += exact_relative(a, a->q2 + q_at(a, b, h, i), table_at(a, h, i, j), &moved);
        p[j] *= (double)a->scale;
        if (a->alibi)
            p[j] -= (double)a->alibi[h] * (double)labs(a->pos + i - j);
        m = fmax(m, p[j]);
    }
    for (long j = 0; j < a->keys; j++)
        if (visible(a, b, i, j))
            l += p[j] = exp(p[j] - m);
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        p[j] /= l;
        for (long d = 0; d < a->head_dim; d++)
            loss += p[j] * (double)multiplier(a, b, h, i, j) * (double)g[d] *
                    (double)a->v[k_at(a, b, h, j) + d];
    }
    return loss;
}

/* Sums of gradients in float64; the largest errors of the plain loops' results
 * against those, and of those against finite differences. */
typedef struct Exact { double *dk, *dv, *dtable; } Exact;
typedef struct Errors { double out, dq, dk, dv, dq2, dtable, difference; } Errors;

static void worse(double *worst, double a, double b)
{
    *worst = fmax(*worst, fabs(a - b));
}

/* The change of a row by two steps of what is moved. */
static double row_slope(const Attention *a, long b, long h, long i, double *p, Moved moved)
{
    moved.step = 1e-5;
    double more = exact_row(a, b, h, i, p, moved);
    moved.step = -1e-5;
    return (more - exact_row(a, b, h, i, p, moved)) / 2e-5;
}

/* One column of a row: out, dq and dq2. */
static void exact_column(const Attention *a, long n, long d, const double *p, const double *ds,
                         Errors *worst)
{
    long b = n / (a->heads * a->queries), h = n / a->queries % a->heads, i = n % a->queries;
    double o = 0, dq = 0, dq2 = 0, *moved = calloc((size_t)a->keys, sizeof *moved);
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        long at = k_at(a, b, h, j) + d;
        o += p[j] * (double)multiplier(a, b, h, i, j) * (double)a->v[at];
        dq += ds[j] * (double)a->k[at] * (double)a->scale;
        if (a->q2)
            dq2 += ds[j] * (double)a->table[table_at(a, h, i, j) + d] * (double)a->scale;
    }
    long at = q_at(a, b, h, i) + d;
    worse(&worst->out, o, (double)a->out[at]);
    worse(&worst->dq, dq, (double)a->dq[at]);
    if (a->q2)
        worse(&worst->dq2, dq2, (double)a->dq2[at]);
    if (i % 7 == 0 && d < 2) {
        worse(&worst->difference, row_slope(a, b, h, i, moved, (Moved){d, -1, -1, 0}), dq);
        if (a->q2)
            worse(&worst->difference, row_slope(a, b, h, i, moved, (Moved){-1, d, -1, 0}), dq2);
    }
    free(moved);
}

static void exact_row_errors(const Attention *a, long n, const Exact *exact, Errors *worst)
{
    long b = n / (a->heads * a->queries), h = n / a->queries % a->heads, i = n % a->queries;
    double *p = calloc((size_t)a->keys, sizeof *p), *ds = calloc((size_t)a->keys, sizeof *ds);
    double delta = exact_row(a, b, h, i, p, unmoved);
    const float *g = a->dout + q_at(a, b, h, i), *q = a->q + q_at(a, b, h, i);
    const float *q2 = a->q2 ? a->q2 + q_at(a, b, h, i) : q;
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        long key = k_at(a, b, h, j), row = a->q2 ? table_at(a, h, i, j) : 0;
        double dp = 0, kept = (double)multiplier(a, b, h, i, j);
        for (long d = 0; d < a->head_dim; d++)
            dp += (double)g[d] * (double)a->v[key + d];
        ds[j] = p[j] * (dp * kept - delta);
        for (long d = 0; d < a->head_dim; d++) {
            exact->dv[key + d] += p[j] * kept * (double)g[d];
            exact->dk[key + d] += ds[j] * (double)q[d] * (double)a->scale;
            if (a->q2)
                exact->dtable[row + d] += ds[j] * (double)q2[d] * (double)a->scale;
        }
    }
    for (long d = 0; d < a->head_dim; d++)
        exact_column(a, n, d, p, ds, worst);
    free(p);
    free(ds);
}

/* A few elements of dtable by finite differences of everything. */
static void table_differences(const Data *data, const double *dtable, Errors *worst)
{
    const Attention *a = &data->a;
    double *p = calloc((size_t)a->keys, sizeof *p);
    for (long at = 0; at < data->table_count; at += data->table_count / 5 + 1) {
        double slope = 0;
        for (long n = 0; n < a->batch * a->heads * a->queries; n++)
            slope += row_slope(a, n / (a->heads * a->queries), n / a->queries % a->heads,
                               n % a->queries, p, (Moved){-1, -1, at, 0});
        worse(&worst->difference, slope, dtable[at]);
    }
    free(p);
}

static Errors exact_errors(const Data *data)
{
    const Attention *a = &data->a;
    Errors worst = {0};
    Exact exact = {calloc((size_t)data->k_count, sizeof(double)),
                   calloc((size_t)data->k_count, sizeof(double)),
                   calloc((size_t)data->table_count, sizeof(double))};
    for (long n = 0; n < a->batch * a->heads * a->queries; n++)
        exact_row_errors(a, n, &exact, &worst);
    for (long i = 0; i < data->k_count; i++) {
        worse(&worst.dk, exact.dk[i], (double)a->dk[i]);
        worse(&worst.dv, exact.dv[i], (double)a->dv[i]);
    }
    if (a->q2)
        table_differences(data, exact.dtable, &worst);
    for (long i = 0; i < data->table_count && a->q2; i++)
        worse(&worst.dtable, exact.dtable[i] + (a->dtable_init ? (double)data->begin[i] : 0),
              (double)a->dtable[i]);
    free(exact.dk);
    free(exact.dv);
    free(exact.dtable);
    return worst;
}

/* ---- a case --------------------------------------------------------------------------- */
static float *random_array(long count, uint32_t seed)
{
    float *array = guarded(count);
    random_fill(array, count, seed);
    return array;
}

static int32_t *random_edges(const Case *c)
{
    uint32_t state = 11;
    long count = c->batch * c->queries * c->keys;
    int32_t *edges = (int32_t *)(void *)guarded(count);
    for (long i = 0; i < count; i++)
        edges[i] = (int32_t)(random_next(&state) % 100) < c->edges ? 1 + (int32_t)(i % 3) : 0;
    return edges;
}

static void make(Data *d, const Case *c)
{
    *d = (Data){.q_count = c->batch * c->queries * c->heads * c->head_dim,
                .k_count = c->batch * c->key_rows * c->kv_heads * c->head_dim,
                .stats_count = c->batch * c->heads * c->queries * 2};
    d->weights_count = c->batch * c->heads * c->queries * c->keys;
    long most = c->pos + c->queries > c->keys ? c->pos + c->queries : c->keys;
    d->table_count = (2 * most - 1) * c->heads * c->head_dim;
    d->q = random_array(d->q_count, 1);
    d->k = random_array(d->k_count, 2);
    d->v = random_array(d->k_count, 3);
    d->dout = random_array(d->q_count, 4);
    d->q2 = random_array(d->q_count, 5);
    d->table = random_array(d->table_count, 6);
    d->begin = random_array(d->table_count, 7);
    d->edges = random_edges(c);
    d->slopes = guarded(c->heads);
    d->lengths = (int32_t *)(void *)guarded(c->batch);
    for (long h = 0; h < c->heads; h++)
        d->slopes[h] = exp2f(-8.0f * (float)(h + 1) / (float)c->heads);
    for (long b = 0; b < c->batch; b++)
        d->lengths[b] = (int32_t)(!c->padded ? c->keys
                                  : c->padded > 1 ? c->keys * b / (c->batch - 1)
                                                  : c->keys * (b + 1) / (c->batch + 2));
    for (long i = 0; i < d->q_count; i++) {
        d->q[i] *= 3;
        d->q2[i] *= 2;
    }
    d->a = (Attention){
        .q = d->q, .k = d->k, .v = d->v, .alibi = c->alibi ? d->slopes : NULL,
        .edges = c->edges ? d->edges : NULL, .q2 = c->relative ? d->q2 : NULL,
        .table = d->table, .zero = most - 1, .table_rows = 2 * most - 1,
        .dtable_init = c->relative > 1,
        .lengths = d->lengths, .batch = c->batch, .queries = c->queries, .keys = c->keys,
        .key_rows = c->key_rows, .pos = c->pos, .heads = c->heads, .kv_heads = c->kv_heads,
        .head_dim = c->head_dim, .window = c->window, .causal = c->causal,
        .scale = 1.0f / sqrtf((float)c->head_dim), .rate = c->rate, .site = 5, .step = 9,
        .seed = 0x1122334455667788ull, .sequence = 3, .dout = d->dout,
    };
}

static void outputs(Data *d)
{
    d->a.out = d->out = guarded(d->q_count);
    d->a.stats = d->stats = guarded(d->stats_count);
    d->a.dq = d->dq = guarded(d->q_count);
    d->a.dk = d->dk = guarded(d->k_count);
    d->a.dv = d->dv = guarded(d->k_count);
    d->a.dq2 = d->dq2 = guarded(d->q_count);
    d->a.dtable = d->dtable = guarded(d->table_count);
    d->weights = guarded(d->weights_count);
    memcpy(d->dtable, d->begin, (size_t)d->table_count * sizeof *d->begin);
}

static void drop_outputs(Data *d)
{
    float *all[] = {d->out, d->stats, d->dq, d->dk, d->dv, d->weights, d->dq2, d->dtable};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unguard(all[i]);
}

static void drop_inputs(Data *d)
{
    float *all[] = {d->q, d->k, d->v, d->dout, d->slopes, d->q2, d->table, d->begin,
                    (float *)(void *)d->lengths, (float *)(void *)d->edges};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unguard(all[i]);
}

static void run_all(const Thread *me, void *argument)
{
    Data *d = argument;
    attention_weights(me, &d->a, d->weights);
    attention_forward(me, &d->a);
    barrier(me);
    attention_backward(me, &d->a);
}

static void run_forward(const Thread *me, void *argument)
{
    Data *d = argument;
    attention_weights(me, &d->a, d->weights);
    attention_forward(me, &d->a);
}

static void compare(const Case *c, const char *what, const float *want, const float *got,
                    long count, int threads)
{
    long at = first_difference(want, got, count);
    check(at < 0, "%s, %s, threads=%d: [%ld] is %.9g, not %.9g", c->name, what, threads, at,
          (double)got[at < 0 ? 0 : at], (double)want[at < 0 ? 0 : at]);
}

static void check_errors(const Case *c, const Data *plain)
{
    Errors worst = exact_errors(plain);
    check(worst.out < 4e-6 && worst.dq < 2e-5 && worst.dk < 4e-5 && worst.dv < 2e-5,
          "%s: errors out %g dq %g dk %g dv %g", c->name, worst.out, worst.dq, worst.dk, worst.dv);
    check(worst.dq2 < 2e-5 && worst.dtable < 4e-5, "%s: errors dq2 %g dtable %g", c->name,
          worst.dq2, worst.dtable);
    check(worst.difference < 1e-6, "%s: finite differences are off by %g", c->name,
          worst.difference);
}

static void compare_gradients(const Case *c, const Data *plain, const Data *kernel, int threads)
{
    compare(c, "dq", plain->dq, kernel->dq, plain->q_count, threads);
    compare(c, "dk", plain->dk, kernel->dk, plain->k_count, threads);
    compare(c, "dv", plain->dv, kernel->dv, plain->k_count, threads);
    if (c->relative) {
        compare(c, "dq2", plain->dq2, kernel->dq2, plain->q_count, threads);
        compare(c, "dtable", plain->dtable, kernel->dtable, plain->table_count, threads);
    }
}

/* With a cache there is no backward. */
static void test_case(const Case *c)
{
    Data plain, kernel;
    bool cached = c->key_rows != c->keys || c->pos > 0;
    make(&plain, c);
    kernel = plain;
    outputs(&plain);
    float *e = malloc((size_t)c->keys * sizeof *e), *ds = malloc((size_t)c->keys * sizeof *ds);
    plain_forward(&plain.a, e, plain.weights);
    plain_backward(&plain, e, ds);
    if (!cached)
        check_errors(c, &plain);
    for (int threads = 1; threads <= 4; threads++) {
        outputs(&kernel);
        team_run(threads, attention_workspace(c->queries, c->keys, c->head_dim),
                 cached ? run_forward : run_all, &kernel);
        compare(c, "weights", plain.weights, kernel.weights, plain.weights_count, threads);
        compare(c, "out", plain.out, kernel.out, plain.q_count, threads);
        compare(c, "stats", plain.stats, kernel.stats, plain.stats_count, threads);
        if (!cached)
            compare_gradients(c, &plain, &kernel, threads);
        drop_outputs(&kernel);
    }
    free(e);
    free(ds);
    drop_outputs(&plain);
    drop_inputs(&plain);
}

/* What may not be seen may be NaN: rows from `poisoned` on, of a causal case, change
 * no output and no dq before them. */
static void test_poison(long queries, long poisoned)
{
    Case c = {"poison", 1, queries, queries, queries, 0, 2, 2, 32, 0, 1, 0, 0, 0, 0, 0};
    Data clean, dirty;
    make(&clean, &c);
    make(&dirty, &c);
    outputs(&clean);
    outputs(&dirty);
    long from = poisoned * c.heads * c.head_dim;
    for (long i = from; i < clean.q_count; i++)
        dirty.q[i] = dirty.k[i] = dirty.v[i] = dirty.dout[i] = NAN;
    long floats = attention_workspace(queries, queries, 32);
    team_run(2, floats, run_all, &clean);
    team_run(2, floats, run_all, &dirty);
    compare(&c, "out before NaN", clean.out, dirty.out, from, 2);
    compare(&c, "dq before NaN", clean.dq, dirty.dq, from, 2);
    bool shows = true;
    for (long i = from; i < clean.q_count; i++)
        shows = shows && isnan(dirty.out[i]) && isnan(dirty.dq[i]);
    check(shows, "NaN shows in what sees it, %ld of %ld", poisoned, queries);
    drop_outputs(&clean);
    drop_outputs(&dirty);
    drop_inputs(&clean);
    drop_inputs(&dirty);
}

/* Nobody sees node `hidden` but itself, and it is NaN: only its own rows show it. Nor
 * do rows of the table for distances that a causal mask hides. */
static void test_hidden(long queries, long hidden, int causal)
{
    Case c = {"hidden", 1, queries, queries, queries, 0, 2, 2, 32, 0, causal, 0, 0, 0.0f, 40, 1};
    Data clean, dirty;
    make(&clean, &c);
    make(&dirty, &c);
    outputs(&clean);
    outputs(&dirty);
    long row = c.heads * c.head_dim, from = hidden * row, to = from + row;
    long zero = clean.a.zero * row;
    for (long i = 0; i < queries; i++)
        clean.edges[i * queries + hidden] = dirty.edges[i * queries + hidden] = 0;
    for (long i = from; i < to; i++)
        dirty.q[i] = dirty.q2[i] = dirty.k[i] = dirty.v[i] = dirty.dout[i] = NAN;
    for (long i = 0; i < zero && causal; i++)
        dirty.table[i] = NAN;
    long floats = attention_workspace(queries, queries, 32);
    team_run(2, floats, run_all, &clean);
    team_run(2, floats, run_all, &dirty);
    compare(&c, "out before", clean.out, dirty.out, from, 2);
    compare(&c, "out after", clean.out + to, dirty.out + to, clean.q_count - to, 2);
    compare(&c, "dq before", clean.dq, dirty.dq, from, 2);
    compare(&c, "dq after", clean.dq + to, dirty.dq + to, clean.q_count - to, 2);
    compare(&c, "dq2 before", clean.dq2, dirty.dq2, from, 2);
    compare(&c, "dq2 after", clean.dq2 + to, dirty.dq2 + to, clean.q_count - to, 2);
    if (causal)
        compare(&c, "dtable hidden", clean.dtable, dirty.dtable, zero, 2);
    check(isnan(dirty.out[from]) && isnan(dirty.dq[from]), "NaN shows in node %ld", hidden);
    drop_outputs(&clean);
    drop_outputs(&dirty);
    drop_inputs(&clean);
    drop_inputs(&dirty);
}

/* What a call for the sequences after the first gets. */
static void skip_sequence(Attention *a)
{
    long q = a->queries * a->heads * a->head_dim, k = a->key_rows * a->kv_heads * a->head_dim;
    const float **inputs[] = {&a->q, &a->q2, &a->dout};
    float **outputs[] = {&a->out, &a->dq, &a->dq2};
    for (int i = 0; i < 3; i++) {
        *inputs[i] += q;
        *outputs[i] += q;
    }
    a->k += k;
    a->v += k;
    a->dk += k;
    a->dv += k;
    a->stats += a->heads * a->queries * 2;
    a->lengths++;
    a->sequence++;
    a->batch--;
}

/* dtable is one chain over all tokens: sequences in one call, or in two. */
static void test_micro_batches(void)
{
    Case c = {"two calls", 4, 45, 45, 45, 0, 4, 2, 20, 0, 1, 0, 1, 0.1f, 0, 1};
    Data whole, parts;
    make(&whole, &c);
    parts = whole;
    outputs(&whole);
    outputs(&parts);
    long floats = attention_workspace(c.queries, c.keys, c.head_dim);
    team_run(3, floats, run_all, &whole);
    parts.a.batch = 1;
    team_run(2, floats, run_all, &parts);
    parts.a.batch = c.batch;
    skip_sequence(&parts.a);
    parts.a.dtable_init = 1;
    team_run(2, floats, run_all, &parts);
    compare(&c, "out", whole.out, parts.out, whole.q_count, 2);
    compare_gradients(&c, &whole, &parts, 2);
    drop_outputs(&whole);
    drop_outputs(&parts);
    drop_inputs(&whole);
}

static const Case cases[] = {
    /* name, batch, queries, keys, key_rows, pos, heads, kv_heads, head_dim, window,
       causal, alibi, padded, rate, edges, relative */
    {"one token", 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0},
    {"tiny", 2, 5, 5, 5, 0, 3, 3, 7, 0, 1, 0, 0, 0, 0, 0},
    {"T=8", 1, 8, 8, 8, 0, 2, 2, 16, 0, 1, 0, 0, 0, 0, 0},
    {"T=64 D=64", 2, 64, 64, 64, 0, 3, 3, 64, 0, 1, 0, 0, 0, 0, 0},
    {"T=100 D=32", 1, 100, 100, 100, 0, 2, 2, 32, 0, 1, 0, 0, 0, 0, 0},
    {"T=33 D=80", 1, 33, 33, 33, 0, 2, 2, 80, 0, 1, 0, 0, 0, 0, 0},
    {"T=130 D=24", 1, 130, 130, 130, 0, 1, 1, 24, 0, 1, 0, 0, 0, 0, 0},
    {"full", 2, 77, 77, 77, 0, 2, 2, 20, 0, 0, 0, 0, 0, 0, 0},
    {"full, padded", 3, 70, 70, 70, 0, 2, 2, 48, 0, 0, 0, 1, 0, 0, 0},
    {"causal, padded", 3, 65, 65, 65, 0, 2, 2, 33, 0, 1, 0, 1, 0, 0, 0},
    {"grouped", 2, 40, 40, 40, 0, 6, 2, 16, 0, 1, 0, 0, 0, 0, 0},
    {"grouped unevenly", 1, 40, 40, 40, 0, 5, 2, 16, 0, 1, 0, 0, 0, 0, 0},
    {"one key head", 1, 50, 50, 50, 0, 4, 1, 64, 0, 1, 0, 0, 0, 0, 0},
    {"window 1", 1, 40, 40, 40, 0, 2, 2, 16, 1, 1, 0, 0, 0, 0, 0},
    {"window 5", 1, 90, 90, 90, 0, 2, 2, 16, 5, 1, 0, 0, 0, 0, 0},
    {"window 40", 1, 150, 150, 150, 0, 2, 2, 16, 40, 1, 0, 0, 0, 0, 0},
    {"full window 3", 1, 70, 70, 70, 0, 1, 1, 16, 3, 0, 0, 0, 0, 0, 0},
    {"full window 50, padded", 2, 120, 120, 120, 0, 2, 1, 40, 50, 0, 0, 1, 0, 0, 0},
    {"window 9, padded", 2, 80, 80, 80, 0, 2, 2, 16, 9, 1, 0, 1, 0, 0, 0},
    {"alibi", 2, 70, 70, 70, 0, 4, 4, 32, 0, 1, 1, 0, 0, 0, 0},
    {"alibi, full", 1, 50, 50, 50, 0, 4, 2, 16, 0, 0, 1, 1, 0, 0, 0},
    {"dropout", 2, 67, 67, 67, 0, 3, 3, 32, 0, 1, 0, 0, 0.25f, 0, 0},
    {"dropout, all", 2, 90, 90, 90, 0, 4, 2, 20, 21, 0, 1, 1, 0.1f, 0, 0},
    {"few, dropout, window", 2, 7, 7, 7, 0, 2, 1, 20, 3, 1, 1, 0, 0.5f, 0, 0},
    {"token with a cache", 2, 1, 200, 256, 199, 4, 2, 64, 0, 1, 0, 0, 0, 0, 0},
    {"token, window, alibi", 1, 1, 100, 128, 99, 3, 3, 20, 30, 1, 1, 0, 0, 0, 0},
    {"chunk with a cache", 2, 40, 140, 150, 100, 2, 2, 32, 0, 1, 0, 0, 0, 0, 0},
    {"few with a cache", 1, 5, 33, 64, 28, 2, 1, 32, 10, 1, 0, 0, 0, 0, 0},
    {"edges", 2, 70, 70, 70, 0, 3, 3, 20, 0, 0, 0, 0, 0, 30, 0},
    {"edges, sparse, padded", 3, 65, 65, 65, 0, 2, 2, 80, 0, 0, 0, 1, 0, 4, 0},
    {"edges to oneself alone", 2, 40, 40, 40, 0, 4, 2, 64, 0, 0, 0, 0, 0, -1, 0},
    {"edges, all of them", 1, 50, 50, 50, 0, 2, 2, 17, 0, 0, 0, 0, 0, 100, 0},
    {"edges, few", 2, 7, 7, 7, 0, 2, 1, 20, 0, 0, 0, 1, 0, 40, 0},
    {"edges, few, dropout", 3, 5, 5, 5, 0, 3, 3, 33, 0, 0, 1, 0, 0.3f, 50, 0},
    {"edges, causal, window, alibi", 2, 77, 77, 77, 0, 4, 2, 24, 19, 1, 1, 2, 0, 60, 0},
    {"edges, full window, dropout", 2, 100, 100, 100, 0, 2, 1, 32, 40, 0, 0, 1, 0.2f, 50, 0},
    {"edges, one token", 2, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 2, 0, 20, 0},
    {"cross, shorter", 2, 60, 33, 33, 0, 4, 2, 32, 0, 0, 0, 1, 0, 0, 0},
    {"cross, longer", 3, 35, 130, 130, 0, 3, 3, 20, 0, 0, 0, 2, 0, 0, 0},
    {"cross, dropout", 2, 40, 77, 77, 0, 2, 2, 64, 0, 0, 0, 1, 0.2f, 0, 0},
    {"cross, few", 2, 3, 90, 90, 0, 2, 1, 24, 0, 0, 0, 1, 0, 0, 0},
    {"cross, one key", 3, 40, 1, 1, 0, 2, 2, 16, 0, 0, 0, 2, 0, 0, 0},
    {"cross with a cache", 1, 1, 96, 96, 0, 4, 4, 64, 0, 0, 0, 1, 0, 0, 0},
    {"cross, part of a cache", 2, 50, 60, 96, 0, 4, 4, 16, 0, 0, 0, 1, 0, 0, 0},
    {"relative", 2, 70, 70, 70, 0, 3, 3, 20, 0, 1, 0, 0, 0, 0, 1},
    {"relative, T=64 D=64", 2, 64, 64, 64, 0, 2, 2, 64, 0, 1, 0, 0, 0, 0, 2},
    {"relative, full, padded", 3, 45, 45, 45, 0, 4, 4, 32, 0, 0, 0, 2, 0, 0, 2},
    {"relative, grouped", 2, 90, 90, 90, 0, 6, 2, 16, 0, 1, 0, 1, 0, 0, 1},
    {"relative, grouped unevenly", 2, 33, 33, 33, 0, 5, 2, 48, 0, 0, 0, 0, 0, 0, 2},
    {"relative, window, dropout", 2, 100, 100, 100, 0, 2, 2, 33, 20, 1, 0, 1, 0.2f, 0, 1},
    {"relative, full window", 2, 110, 110, 110, 0, 2, 1, 24, 37, 0, 0, 1, 0, 0, 2},
    {"relative, alibi, edges", 2, 67, 67, 67, 0, 4, 2, 40, 0, 0, 1, 1, 0, 40, 1},
    {"relative, edges, causal, window", 2, 70, 70, 70, 0, 2, 2, 16, 30, 1, 0, 2, 0.1f, 50, 2},
    {"relative, few", 2, 7, 7, 7, 0, 2, 2, 20, 0, 1, 0, 0, 0.1f, 0, 1},
    {"relative, one token", 2, 1, 1, 1, 0, 2, 2, 5, 0, 1, 0, 0, 0, 0, 2},
    {"relative, token with a cache", 2, 1, 99, 128, 98, 4, 2, 32, 0, 1, 0, 0, 0, 0, 1},
    {"relative, chunk with a cache", 1, 40, 99, 128, 59, 3, 3, 20, 0, 1, 0, 0, 0, 0, 1},
    {"relative, window with a cache", 1, 3, 60, 60, 57, 2, 1, 17, 12, 1, 0, 0, 0, 0, 1},
};

int main(void)
{
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(&cases[i]);
    test_poison(40, 17);
    test_poison(100, 64);
    test_poison(7, 3);
    test_hidden(40, 17, 0);
    test_hidden(70, 33, 1);
    test_hidden(6, 2, 1);
    test_micro_batches();
    return finish("attention");
}
