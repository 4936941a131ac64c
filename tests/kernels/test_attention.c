/* test_attention.c: attention forward, backward and its weights, bit by bit against
 * plain loops in the exact order, and those against float64 with a tolerance; the
 * float64 gradients against finite differences. Shapes that tile badly, grouped
 * queries, windows, ALiBi, padding, caches, dropout; 1 to 4 threads; what is masked
 * may be NaN. */
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
} Case;

/* All arrays of a case. */
typedef struct Data {
    Attention a;
    long q_count, k_count, stats_count, weights_count;
    float *q, *k, *v, *dout, *slopes;
    int32_t *lengths;
    float *out, *stats, *dq, *dk, *dv, *weights;        /* what is computed */
} Data;

/* ---- the definition ------------------------------------------------------------- */
static bool visible(const Attention *a, long b, long i, long j)
{
    long at = a->pos + i, distance = labs(at - j);
    return j < a->lengths[b] && (!a->causal || j <= at) && (a->window == 0 || distance < a->window);
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

/* ---- plain loops in the exact order ------------------------------------------------ */
static float fold(float *lane)
{
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l] + lane[l + half];
    return lane[0];
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
        const float *q = a->q + q_at(a, b, h, i), *k = a->k + k_at(a, b, h, j);
        float s = 0.0f;
        for (long d = 0; d < a->head_dim; d++)
            s = fmaf(k[d], q[d] * a->scale, s);
        if (a->alibi)
            s = s - a->alibi[h] * (float)labs(a->pos + i - j);
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

static void plain_backward(const Attention *a, float *e, float *ds, long k_count)
{
    memset(a->dk, 0, (size_t)k_count * sizeof(float));
    memset(a->dv, 0, (size_t)k_count * sizeof(float));
    for (long n = 0; n < a->batch * a->heads * a->queries; n++)
        plain_backward_row(a, n / (a->heads * a->queries), n / a->queries % a->heads,
                           n % a->queries, e, ds);
}

/* ---- float64 ------------------------------------------------------------------------ */
/* The row's weights p (before dropout) with q changed by `step` in coordinate `moved`
 * (-1: none); the row's contribution to sum(dout·out) is returned. */
static double exact_row(const Attention *a, long b, long h, long i, double *p, long moved,
                        double step)
{
    const float *q = a->q + q_at(a, b, h, i), *g = a->dout + q_at(a, b, h, i);
    double m = -INFINITY, l = 0, loss = 0;
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        const float *k = a->k + k_at(a, b, h, j);
        p[j] = 0;
        for (long d = 0; d < a->head_dim; d++)
            p[j] += ((double)q[d] + (d == moved ? step : 0)) * (double)k[d];
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

/* Gradients in float64, dq also by finite differences; the largest errors of the
 * kernel's results against them. */
typedef struct Errors { double out, dq, dk, dv, difference; } Errors;

static void exact_row_errors(const Attention *a, long b, long h, long i, double *dk, double *dv,
                             Errors *worst)
{
    double *p = calloc((size_t)a->keys, sizeof *p), *ds = calloc((size_t)a->keys, sizeof *ds);
    double delta = exact_row(a, b, h, i, p, -1, 0);
    const float *g = a->dout + q_at(a, b, h, i), *q = a->q + q_at(a, b, h, i);
    for (long j = 0; j < a->keys; j++) {
        if (!visible(a, b, i, j))
            continue;
        double dp = 0, kept = (double)multiplier(a, b, h, i, j);
        for (long d = 0; d < a->head_dim; d++)
            dp += (double)g[d] * (double)a->v[k_at(a, b, h, j) + d];
        ds[j] = p[j] * (dp * kept - delta);
        for (long d = 0; d < a->head_dim; d++) {
            dv[k_at(a, b, h, j) + d] += p[j] * kept * (double)g[d];
            dk[k_at(a, b, h, j) + d] += ds[j] * (double)q[d] * (double)a->scale;
        }
    }
    for (long d = 0; d < a->head_dim; d++) {
        double o = 0, dq = 0;
        for (long j = 0; j < a->keys; j++)
            if (visible(a, b, i, j)) {
                long at = k_at(a, b, h, j) + d;
                o += p[j] * (double)multiplier(a, b, h, i, j) * (double)a->v[at];
                dq += ds[j] * (double)a->k[at] * (double)a->scale;
            }
        worst->out = fmax(worst->out, fabs(o - (double)a->out[q_at(a, b, h, i) + d]));
        worst->dq = fmax(worst->dq, fabs(dq - (double)a->dq[q_at(a, b, h, i) + d]));
        if (i % 7 == 0 && d < 2) {
            double more = exact_row(a, b, h, i, p, d, 1e-5);
            double less = exact_row(a, b, h, i, p, d, -1e-5);
            exact_row(a, b, h, i, p, -1, 0);
            worst->difference = fmax(worst->difference, fabs((more - less) / 2e-5 - dq));
        }
    }
    free(p);
    free(ds);
}

static Errors exact_errors(const Data *data)
{
    const Attention *a = &data->a;
    Errors worst = {0};
    double *dk = calloc((size_t)data->k_count, sizeof *dk);
    double *dv = calloc((size_t)data->k_count, sizeof *dv);
    for (long n = 0; n < a->batch * a->heads * a->queries; n++)
        exact_row_errors(a, n / (a->heads * a->queries), n / a->queries % a->heads, n % a->queries,
                         dk, dv, &worst);
    for (long i = 0; i < data->k_count; i++) {
        worst.dk = fmax(worst.dk, fabs(dk[i] - (double)a->dk[i]));
        worst.dv = fmax(worst.dv, fabs(dv[i] - (double)a->dv[i]));
    }
    free(dk);
    free(dv);
    return worst;
}

/* ---- a case --------------------------------------------------------------------------- */
static float *random_array(long count, uint32_t seed)
{
    float *array = guarded(count);
    random_fill(array, count, seed);
    return array;
}

static void make(Data *d, const Case *c)
{
    *d = (Data){.q_count = c->batch * c->queries * c->heads * c->head_dim,
                .k_count = c->batch * c->key_rows * c->kv_heads * c->head_dim,
                .stats_count = c->batch * c->heads * c->queries * 2};
    d->weights_count = c->batch * c->heads * c->queries * c->keys;
    d->q = random_array(d->q_count, 1);
    d->k = random_array(d->k_count, 2);
    d->v = random_array(d->k_count, 3);
    d->dout = random_array(d->q_count, 4);
    d->slopes = guarded(c->heads);
    d->lengths = (int32_t *)(void *)guarded(c->batch);
    for (long h = 0; h < c->heads; h++)
        d->slopes[h] = exp2f(-8.0f * (float)(h + 1) / (float)c->heads);
    for (long b = 0; b < c->batch; b++)
        d->lengths[b] = (int32_t)(c->padded ? c->keys * (b + 1) / (c->batch + 2) : c->keys);
    for (long i = 0; i < d->q_count; i++)
        d->q[i] *= 3;
    d->a = (Attention){
        .q = d->q, .k = d->k, .v = d->v, .alibi = c->alibi ? d->slopes : NULL,
        .lengths = d->lengths, .batch = c->batch, .queries = c->queries, .keys = c->keys,
        .key_rows = c->key_rows, .pos = c->pos, .heads = c->heads, .kv_heads = c->kv_heads,
        .head_dim = c->head_dim, .window = c->window, .causal = c->causal,
        .scale = 1.0f / sqrtf((float)c->head_dim), .rate = c->rate, .site = 5, .step = 9,
        .seed = 0x1122334455667788ull, .sequence = 3, .dout = d->dout,
    };
}

static void outputs(Data *d, const Case *c)
{
    (void)c;
    d->a.out = d->out = guarded(d->q_count);
    d->a.stats = d->stats = guarded(d->stats_count);
    d->a.dq = d->dq = guarded(d->q_count);
    d->a.dk = d->dk = guarded(d->k_count);
    d->a.dv = d->dv = guarded(d->k_count);
    d->weights = guarded(d->weights_count);
}

static void drop_outputs(Data *d)
{
    float *all[] = {d->out, d->stats, d->dq, d->dk, d->dv, d->weights};
    for (int i = 0; i < 6; i++)
        unguard(all[i]);
}

static void drop_inputs(Data *d)
{
    float *all[] = {d->q, d->k, d->v, d->dout, d->slopes, (float *)(void *)d->lengths};
    for (int i = 0; i < 6; i++)
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

/* With a cache there is no backward. */
static void test_case(const Case *c)
{
    Data plain, kernel;
    bool cached = c->key_rows != c->queries;
    make(&plain, c);
    kernel = plain;
    outputs(&plain, c);
    float *e = malloc((size_t)c->keys * sizeof *e), *ds = malloc((size_t)c->keys * sizeof *ds);
    plain_forward(&plain.a, e, plain.weights);
    plain_backward(&plain.a, e, ds, plain.k_count);
    if (!cached) {
        Errors worst = exact_errors(&plain);
        check(worst.out < 4e-6 && worst.dq < 2e-5 && worst.dk < 4e-5 && worst.dv < 2e-5,
              "%s: errors out %g dq %g dk %g dv %g", c->name, worst.out, worst.dq, worst.dk,
              worst.dv);
        check(worst.difference < 1e-6, "%s: finite differences are off by %g", c->name,
              worst.difference);
    }
    for (int threads = 1; threads <= 4; threads++) {
        outputs(&kernel, c);
        team_run(threads, attention_workspace(c->queries, c->keys, c->head_dim),
                 cached ? run_forward : run_all, &kernel);
        compare(c, "weights", plain.weights, kernel.weights, plain.weights_count, threads);
        compare(c, "out", plain.out, kernel.out, plain.q_count, threads);
        compare(c, "stats", plain.stats, kernel.stats, plain.stats_count, threads);
        if (!cached) {
            compare(c, "dq", plain.dq, kernel.dq, plain.q_count, threads);
            compare(c, "dk", plain.dk, kernel.dk, plain.k_count, threads);
            compare(c, "dv", plain.dv, kernel.dv, plain.k_count, threads);
        }
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
    Case c = {"poison", 1, queries, queries, queries, 0, 2, 2, 32, 0, 1, 0, 0, 0.0f};
    Data clean, dirty;
    make(&clean, &c);
    make(&dirty, &c);
    outputs(&clean, &c);
    outputs(&dirty, &c);
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

int main(void)
{
    static const Case cases[] = {
        /* name, batch, queries, keys, key_rows, pos, heads, kv_heads, head_dim, window, causal… */
        {"one token", 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0},
        {"tiny", 2, 5, 5, 5, 0, 3, 3, 7, 0, 1, 0, 0, 0},
        {"T=8", 1, 8, 8, 8, 0, 2, 2, 16, 0, 1, 0, 0, 0},
        {"T=64 D=64", 2, 64, 64, 64, 0, 3, 3, 64, 0, 1, 0, 0, 0},
        {"T=100 D=32", 1, 100, 100, 100, 0, 2, 2, 32, 0, 1, 0, 0, 0},
        {"T=33 D=80", 1, 33, 33, 33, 0, 2, 2, 80, 0, 1, 0, 0, 0},
        {"T=130 D=24", 1, 130, 130, 130, 0, 1, 1, 24, 0, 1, 0, 0, 0},
        {"full", 2, 77, 77, 77, 0, 2, 2, 20, 0, 0, 0, 0, 0},
        {"full, padded", 3, 70, 70, 70, 0, 2, 2, 48, 0, 0, 0, 1, 0},
        {"causal, padded", 3, 65, 65, 65, 0, 2, 2, 33, 0, 1, 0, 1, 0},
        {"grouped", 2, 40, 40, 40, 0, 6, 2, 16, 0, 1, 0, 0, 0},
        {"grouped unevenly", 1, 40, 40, 40, 0, 5, 2, 16, 0, 1, 0, 0, 0},
        {"one key head", 1, 50, 50, 50, 0, 4, 1, 64, 0, 1, 0, 0, 0},
        {"window 1", 1, 40, 40, 40, 0, 2, 2, 16, 1, 1, 0, 0, 0},
        {"window 5", 1, 90, 90, 90, 0, 2, 2, 16, 5, 1, 0, 0, 0},
        {"window 40", 1, 150, 150, 150, 0, 2, 2, 16, 40, 1, 0, 0, 0},
        {"full window 3", 1, 70, 70, 70, 0, 1, 1, 16, 3, 0, 0, 0, 0},
        {"full window 50, padded", 2, 120, 120, 120, 0, 2, 1, 40, 50, 0, 0, 1, 0},
        {"window 9, padded", 2, 80, 80, 80, 0, 2, 2, 16, 9, 1, 0, 1, 0},
        {"alibi", 2, 70, 70, 70, 0, 4, 4, 32, 0, 1, 1, 0, 0},
        {"alibi, full", 1, 50, 50, 50, 0, 4, 2, 16, 0, 0, 1, 1, 0},
        {"dropout", 2, 67, 67, 67, 0, 3, 3, 32, 0, 1, 0, 0, 0.25f},
        {"dropout, all", 2, 90, 90, 90, 0, 4, 2, 20, 21, 0, 1, 1, 0.1f},
        {"few, dropout, window", 2, 7, 7, 7, 0, 2, 1, 20, 3, 1, 1, 0, 0.5f},
        {"token with a cache", 2, 1, 200, 256, 199, 4, 2, 64, 0, 1, 0, 0, 0},
        {"token, window, alibi", 1, 1, 100, 128, 99, 3, 3, 20, 30, 1, 1, 0, 0},
        {"chunk with a cache", 2, 40, 140, 150, 100, 2, 2, 32, 0, 1, 0, 0, 0},
        {"few with a cache", 1, 5, 33, 64, 28, 2, 1, 32, 10, 1, 0, 0, 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(&cases[i]);
    test_poison(40, 17);
    test_poison(100, 64);
    test_poison(7, 3);
    return finish("attention");
}
