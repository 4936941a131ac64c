/* test_experts.c: the kernels of experts (experts.c): all bits against plain loops in
 * their order, products against float64, 1 to 4 threads. Rows past the last pair hold
 * NaN and must be neither read nor written. */
#include "harness.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes and arrays of one mixture; `rows` is how many there is room for. */
typedef struct Mixture {
    long batch, sequence, X, k, N, K, rows, tokens;
    long numerator, denominator;
    float *p, *keep, *gate, *x, *xs, *y, *w, *bias, *to, *want;
    int32_t *lengths, *starts, *order, *place, *want_starts, *want_order, *want_place;
    int init;
    bool gated;
    void (*kernel)(const Thread *, const struct Mixture *);
} Mixture;

static void run_kernel(const Thread *me, void *argument)
{
    const Mixture *m = argument;
    m->kernel(me, m);
}

static const char *shape_of(const Mixture *m, int threads)
{
    static char text[200];
    snprintf(text, sizeof text, "B=%ld T=%ld X=%ld k=%ld N=%ld K=%ld capacity %ld/%ld init %d "
             "threads %d", m->batch, m->sequence, m->X, m->k, m->N, m->K, m->numerator,
             m->denominator, m->init, threads);
    return text;
}

static int32_t *guarded_ints(long n)
{
    return (int32_t *)(void *)guarded(n);
}

static void fill_nan(float *a, long n)
{
    for (long i = 0; i < n; i++)
        a[i] = NAN;
}

/* ---- top_k --------------------------------------------------------------- */
/* Beaten by fewer than k: a larger one, or an equal one before it, beats. */
static bool is_among(const float *p, long X, long k, long e)
{
    long beaten = 0;
    for (long f = 0; f < X; f++)
        beaten += p[f] > p[e] || (p[f] == p[e] && f < e);
    return beaten < k;
}

static void kernel_top_k(const Thread *me, const Mixture *m)
{
    top_k(me, m->keep, m->p, m->tokens, m->X, m->k);
}

/* Sixteenths, so that some are equal. */
static void test_top_k(Mixture *m)
{
    long n = m->tokens * m->X;
    random_fill(m->p, n, 21);
    for (long i = 0; i < n; i++)
        m->p[i] = floorf(m->p[i] * 16) / 16;
    float *want = guarded(n);
    for (long i = 0; i < n; i++)
        want[i] = is_among(m->p + i / m->X * m->X, m->X, m->k, i % m->X);
    m->kernel = kernel_top_k;
    for (int threads = 1; threads <= 4; threads++) {
        fill_nan(m->keep, n);
        team_run(threads, 16, run_kernel, m);
        check(first_difference(want, m->keep, n) < 0, "top_k %s", shape_of(m, threads));
    }
    unguard(want);
}

/* ---- dispatch ------------------------------------------------------------ */
/* An expert's room in a sequence: the least c with c·denominator·X >= numerator·k·T. */
static long room_of(const Mixture *m)
{
    long c = 0;
    if (m->numerator == 0)
        return m->sequence;
    while (c * m->denominator * m->X < m->numerator * m->k * m->sequence)
        c++;
    return c;
}

/* Whether a pair is one: of those before it in its sequence its expert took few enough. */
static bool is_taken(const Mixture *m, long token, long e)
{
    long first = token / m->sequence * m->sequence, before = 0;
    int32_t length = m->lengths[token / m->sequence];
    for (long t = first; t < token; t++)
        before += t - first < length && m->keep[t * m->X + e] != 0;
    return token - first < length && m->keep[token * m->X + e] != 0 && before < room_of(m);
}

static void wanted_dispatch(const Mixture *m)
{
    int32_t row = 0;
    for (long e = 0; e < m->X; e++) {
        m->want_starts[e] = row;
        for (long token = 0; token < m->tokens; token++) {
            bool taken = is_taken(m, token, e);
            m->want_place[token * m->X + e] = taken ? row : -1;
            if (taken)
                m->want_order[row++] = (int32_t)token;
        }
    }
    m->want_starts[m->X] = row;
}

static void kernel_dispatch(const Thread *me, const Mixture *m)
{
    dispatch(me, &(Dispatch){.starts = m->starts, .order = m->order, .place = m->place,
                             .keep = m->keep, .lengths = m->lengths, .batch = m->batch,
                             .sequence = m->sequence, .experts = m->X, .k = m->k,
                             .numerator = m->numerator, .denominator = m->denominator});
}

static void test_dispatch(Mixture *m)
{
    size_t ints = sizeof(int32_t);
    memset(m->want_order, 0x5A, (size_t)m->rows * ints);
    wanted_dispatch(m);
    m->kernel = kernel_dispatch;
    for (int threads = 1; threads <= 4; threads++) {
        memset(m->order, 0x5A, (size_t)m->rows * ints);
        team_run(threads, 16, run_kernel, m);
        check(!memcmp(m->starts, m->want_starts, (size_t)(m->X + 1) * ints), "starts %s",
              shape_of(m, threads));
        check(!memcmp(m->order, m->want_order, (size_t)m->rows * ints), "order %s",
              shape_of(m, threads));
        check(!memcmp(m->place, m->want_place, (size_t)(m->tokens * m->X) * ints), "place %s",
              shape_of(m, threads));
    }
}

/* ---- what all others share ----------------------------------------------- */
static long used(const Mixture *m) { return m->starts[m->X]; }

static long expert_of(const Mixture *m, long row)
{
    long e = 0;
    while (m->starts[e + 1] <= row)
        e++;
    return e;
}

/* Runs a kernel that writes m->to[n]; what it should leave is in m->want. Both begin
 * as the same random numbers. */
static void compare(Mixture *m, const char *name, long n,
                    void (*kernel)(const Thread *, const Mixture *))
{
    long floats = matmul_workspace(m->rows, m->K, m->N);
    m->kernel = kernel;
    for (int threads = 1; threads <= 4; threads++) {
        random_fill(m->to, n, 30);
        team_run(threads, floats, run_kernel, m);
        check(first_difference(m->want, m->to, n) < 0, "%s %s", name, shape_of(m, threads));
    }
}

/* ---- rows out and back --------------------------------------------------- */
static void kernel_gather(const Thread *me, const Mixture *m)
{
    gather_rows(me, m->to, m->x, m->order, m->starts, m->X, m->N);
}

static void kernel_spread(const Thread *me, const Mixture *m)
{
    spread_rows(me, m->to, m->x, m->gate, m->order, m->starts, m->X, m->N);
}

static void kernel_collect(const Thread *me, const Mixture *m)
{
    collect_rows(me, m->to, m->xs, m->place, m->gated ? m->gate : NULL, m->tokens, m->X, m->N);
}

static void kernel_products(const Thread *me, const Mixture *m)
{
    gate_products(me, m->to, m->x, m->xs, m->place, m->tokens, m->X, m->N);
}

static void test_rows_out(Mixture *m)
{
    random_fill(m->want, m->rows * m->N, 30);
    for (long r = 0; r < used(m); r++)
        memcpy(m->want + r * m->N, m->x + m->order[r] * m->N, (size_t)m->N * sizeof(float));
    compare(m, "gather_rows", m->rows * m->N, kernel_gather);
    for (long i = 0; i < used(m) * m->N; i++) {
        long token = m->order[i / m->N];
        m->want[i] = m->gate[token * m->X + expert_of(m, i / m->N)]
                   * m->x[token * m->N + i % m->N];
    }
    compare(m, "spread_rows", m->rows * m->N, kernel_spread);
}

static float collected(const Mixture *m, long token, long column)
{
    float sum = 0;
    for (long e = 0; e < m->X; e++) {
        int32_t row = m->place[token * m->X + e];
        if (row >= 0 && m->gated)
            sum = fmaf(m->gate[token * m->X + e], m->xs[row * m->N + column], sum);
        else if (row >= 0)
            sum = sum + m->xs[row * m->N + column];
    }
    return sum;
}

static float product_sum(const float *a, const float *b, long n)
{
    float lane[16] = {0};
    for (long j = 0; j < n; j++) {
        float product = a[j] * b[j];
        lane[j % 16] = lane[j % 16] + product;
    }
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l] + lane[l + half];
    return lane[0];
}

static void test_rows_back(Mixture *m)
{
    for (int gated = 0; gated < 2; gated++) {
        m->gated = gated;
        for (long i = 0; i < m->tokens * m->N; i++)
            m->want[i] = collected(m, i / m->N, i % m->N);
        compare(m, gated ? "combine_rows" : "collect_rows", m->tokens * m->N, kernel_collect);
    }
    for (long pair = 0; pair < m->tokens * m->X; pair++) {
        long row = m->place[pair];
        m->want[pair] = row < 0 ? 0 : product_sum(m->x + pair / m->X * m->N, m->xs + row * m->N,
                                                  m->N);
    }
    compare(m, "gate_products", m->tokens * m->X, kernel_products);
}

/* ---- products ------------------------------------------------------------ */
/* m->xs[rows,K] and m->y[rows,N] are operands, NaN past the last row. */
static void kernel_matmul(const Thread *me, const Mixture *m)
{
    grouped_matmul(me, m->to, m->xs, m->w, m->gated ? m->bias : NULL, m->starts, m->X, m->K, m->N);
}

static void kernel_input(const Thread *me, const Mixture *m)
{
    grouped_input(me, m->to, m->y, m->w, m->starts, m->X, m->K, m->N, m->init);
}

static void kernel_weight(const Thread *me, const Mixture *m)
{
    grouped_weight(me, m->to, m->y, m->xs, m->starts, m->X, m->K, m->N, m->init);
}

static void kernel_bias(const Thread *me, const Mixture *m)
{
    grouped_bias(me, m->to, m->y, m->starts, m->X, m->N, m->init);
}

/* An ascending chain of fma and the same in float64; false where they are apart. */
typedef struct Chain {
    float sum;
    double exact, size;
} Chain;

static void chain_add(Chain *c, float a, float b)
{
    c->sum = fmaf(a, b, c->sum);
    c->exact += (double)a * (double)b;
    c->size += fabs((double)a * (double)b);
}

static float chain_end(const Chain *c, long terms, const char *name)
{
    double most = (double)(terms + 1) * 0x1p-24 * c->size;
    if (!(fabs((double)c->sum - c->exact) <= most))
        check(false, "%s: %g is not %g", name, (double)c->sum, c->exact);
    return c->sum;
}

static Chain chain_from(float start)
{
    return (Chain){start, (double)start, fabs((double)start)};
}

static void test_grouped_matmul(Mixture *m)
{
    for (int gated = 0; gated < 2; gated++) {
        m->gated = gated;
        random_fill(m->want, m->rows * m->N, 30);
        for (long i = 0; i < used(m) * m->N; i++) {
            long row = i / m->N, n = i % m->N, e = expert_of(m, row);
            Chain c = chain_from(0);
            for (long j = 0; j < m->K; j++)
                chain_add(&c, m->xs[row * m->K + j], m->w[(e * m->N + n) * m->K + j]);
            m->want[i] = chain_end(&c, m->K, "grouped_matmul");
            if (gated)
                m->want[i] += m->bias[e * m->N + n];
        }
        compare(m, "grouped_matmul", m->rows * m->N, kernel_matmul);
    }
}

static void test_grouped_input(Mixture *m)
{
    random_fill(m->want, m->rows * m->K, 30);
    for (long i = 0; i < used(m) * m->K; i++) {
        long row = i / m->K, k = i % m->K, e = expert_of(m, row);
        Chain c = chain_from(m->init ? m->want[i] : 0);
        for (long n = 0; n < m->N; n++)
            chain_add(&c, m->y[row * m->N + n], m->w[(e * m->N + n) * m->K + k]);
        m->want[i] = chain_end(&c, m->N, "grouped_input");
    }
    compare(m, "grouped_input", m->rows * m->K, kernel_input);
}

static void test_grouped_weight(Mixture *m)
{
    random_fill(m->want, m->X * m->N * m->K, 30);
    for (long i = 0; i < m->X * m->N * m->K; i++) {
        long e = i / m->K / m->N, n = i / m->K % m->N, k = i % m->K;
        Chain c = chain_from(m->init ? m->want[i] : 0);
        for (long row = m->starts[e]; row < m->starts[e + 1]; row++)
            chain_add(&c, m->y[row * m->N + n], m->xs[row * m->K + k]);
        m->want[i] = chain_end(&c, m->starts[e + 1] - m->starts[e], "grouped_weight");
    }
    compare(m, "grouped_weight", m->X * m->N * m->K, kernel_weight);
    random_fill(m->want, m->X * m->N, 30);
    for (long i = 0; i < m->X * m->N; i++) {
        Chain c = chain_from(m->init ? m->want[i] : 0);
        for (long row = m->starts[i / m->N]; row < m->starts[i / m->N + 1]; row++)
            chain_add(&c, m->y[row * m->N + i % m->N], 1);
        m->want[i] = chain_end(&c, m->rows, "grouped_bias");
    }
    compare(m, "grouped_bias", m->X * m->N, kernel_bias);
}

/* ---- one mixture, from the choices on ------------------------------------ */
static void test_products(Mixture *m)
{
    random_fill(m->xs, m->rows * m->K, 31);
    random_fill(m->y, m->rows * m->N, 32);
    random_fill(m->w, m->X * m->N * m->K, 33);
    random_fill(m->bias, m->X * m->N, 34);
    fill_nan(m->xs + used(m) * m->K, (m->rows - used(m)) * m->K);
    fill_nan(m->y + used(m) * m->N, (m->rows - used(m)) * m->N);
    test_grouped_matmul(m);
    for (m->init = 0; m->init < 2; m->init++) {
        test_grouped_input(m);
        test_grouped_weight(m);
    }
    m->init = 0;
}

static void test_all(Mixture *m)
{
    test_top_k(m);
    test_dispatch(m);
    random_fill(m->x, m->tokens * m->N, 35);
    random_fill(m->gate, m->tokens * m->X, 36);
    random_fill(m->xs, m->rows * m->N, 37);
    fill_nan(m->xs + used(m) * m->N, (m->rows - used(m)) * m->N);
    test_rows_out(m);
    test_rows_back(m);
    test_products(m);
}

static long most(long a, long b) { return a > b ? a : b; }

/* lengths[0] is the whole sequence, lengths[1] is 0. */
static void test_mixture(Mixture m)
{
    m.tokens = m.batch * m.sequence;
    m.rows = m.tokens * m.k;
    long pairs = m.tokens * m.X, matrix = m.X * m.N * m.K, wide = most(m.N, m.K);
    long room = most(most(m.rows * wide, matrix), pairs);
    float **const floats[] = {&m.p, &m.keep, &m.gate, &m.x, &m.xs, &m.y, &m.w, &m.bias, &m.to,
                              &m.want};
    const long sizes[] = {pairs, pairs, pairs, m.tokens * m.N, m.rows * wide, m.rows * m.N, matrix,
                          m.X * m.N, room, room};
    int32_t **const ints[] = {&m.lengths, &m.starts, &m.order, &m.place, &m.want_starts,
                              &m.want_order, &m.want_place};
    const long counts[] = {m.batch, m.X + 1, m.rows, pairs, m.X + 1, m.rows, pairs};
    enum { FLOATS = sizeof sizes / sizeof *sizes, INTS = sizeof counts / sizeof *counts };
    for (int i = 0; i < FLOATS; i++)
        *floats[i] = guarded(sizes[i]);
    for (int i = 0; i < INTS; i++)
        *ints[i] = guarded_ints(counts[i]);
    for (long b = 0; b < m.batch; b++)
        m.lengths[b] = (int32_t)(b == 0 ? m.sequence : b == 1 ? 0 : (b + 1) % m.sequence);
    test_all(&m);
    for (int i = 0; i < FLOATS; i++)
        unguard(*floats[i]);
    for (int i = 0; i < INTS; i++)
        unguard((float *)(void *)*ints[i]);
}

/* A router that has diverged still sends each token to k experts. */
static void test_nan(void)
{
    enum { X = 5, K = 3 };
    for (int mask = 0; mask < 1 << X; mask++) {
        float p[X], keep[X], kept = 0;
        Thread me = {0, 1, NULL, NULL};
        random_fill(p, X, 41);
        for (int e = 0; e < X; e++)
            if (mask >> e & 1)
                p[e] = NAN;
        top_k(&me, keep, p, 1, X, K);
        for (int e = 0; e < X; e++)
            kept += keep[e];
        check(kept == K, "top_k with NaN %x keeps %g", (unsigned)mask, (double)kept);
    }
}

int main(void)
{
    static const Mixture shapes[] = {
        {.batch = 1, .sequence = 1, .X = 1, .k = 1, .N = 1, .K = 1},
        {.batch = 3, .sequence = 5, .X = 1, .k = 1, .N = 17, .K = 33},
        {.batch = 3, .sequence = 7, .X = 4, .k = 2, .N = 33, .K = 17},
        {.batch = 2, .sequence = 9, .X = 4, .k = 4, .N = 1, .K = 48},
        {.batch = 3, .sequence = 16, .X = 8, .k = 2, .N = 40, .K = 1},
        {.batch = 2, .sequence = 3, .X = 33, .k = 1, .N = 20, .K = 16},
        {.batch = 4, .sequence = 40, .X = 3, .k = 2, .N = 64, .K = 65},
        /* room for one token; as many as come on average; with fractions */
        {.batch = 3, .sequence = 7, .X = 4, .k = 2, .N = 17, .K = 8, .numerator = 1,
         .denominator = 1000},
        {.batch = 3, .sequence = 8, .X = 4, .k = 2, .N = 16, .K = 16, .numerator = 1,
         .denominator = 1},
        {.batch = 5, .sequence = 9, .X = 5, .k = 3, .N = 33, .K = 9, .numerator = 125,
         .denominator = 100},
    };
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_mixture(shapes[i]);
    test_nan();
    return finish("experts");
}
