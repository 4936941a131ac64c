/* test_pool.c: pool and pool_spread (pool.c): all bits against plain loops in their
 * order, sums against float64, 1 to 4 threads. Padding holds NaN, so that a read of
 * it shows. Then those of sequences that ranks share, whose ranks are here one after
 * the other: what is chosen and every gradient have the same bits. */
#include "harness.h"
#include <math.h>
#include <stdlib.h>

static const char *const names[] = {"mean", "sum", "max", "first", "last"};

typedef struct Pool {
    float *x, *y, *dx, *dy, *want, *dwant;
    int32_t *lengths;
    long batch, sequence, N;
    int kind;
} Pool;

static void run_pool(const Thread *me, void *argument)
{
    const Pool *p = argument;
    pool(me, p->y, p->x, p->lengths, p->batch, p->sequence, p->N, p->kind);
}

static void run_spread(const Thread *me, void *argument)
{
    const Pool *p = argument;
    pool_spread(me, p->dx, p->dy, p->lengths, p->kind == POOL_MAX ? p->x : NULL, p->batch,
                p->sequence, p->N, p->kind);
}

/* ---- a column at a time ---------------------------------------------------------------- */
static float chain(const float *x, long n, long step)
{
    float sum = 0;
    for (long t = 0; t < n; t++)
        sum += x[t * step];
    return sum;
}

static long first_maximum(const float *x, long n, long step)
{
    long at = 0;
    for (long t = 1; t < n; t++)
        if (x[t * step] > x[at * step])
            at = t;
    return at;
}

/* The position whose value is the result, and which takes the gradient; -1: all. */
static long chosen(const float *x, long n, long step, int kind)
{
    switch (kind) {
    case POOL_MAX: return first_maximum(x, n, step);
    case POOL_FIRST: return 0;
    case POOL_LAST: return n - 1;
    default: return -1;
    }
}

static void column(const Pool *p, long b, long c)
{
    const float *x = p->x + b * p->sequence * p->N + c;
    float *dwant = p->dwant + b * p->sequence * p->N + c;
    float *want = p->want + b * p->N + c, dy = p->dy[b * p->N + c];
    long n = p->lengths[b], at = n ? chosen(x, n, p->N, p->kind) : -1;
    float by = p->kind == POOL_MEAN ? (float)n : 1;
    *want = !n ? 0 : at >= 0 ? x[at * p->N] : chain(x, n, p->N) / by;
    for (long t = 0; t < p->sequence; t++)
        dwant[t * p->N] = t < n && (at < 0 || at == t) ? dy / by : 0;
}

/* Is the sum in f32 as near the exact one as its additions allow? */
static bool near_exact(const Pool *p, long b, long c)
{
    double sum = 0, size = 0, n = p->lengths[b];
    for (long t = 0; t < p->lengths[b]; t++) {
        sum += (double)p->x[(b * p->sequence + t) * p->N + c];
        size += fabs((double)p->x[(b * p->sequence + t) * p->N + c]);
    }
    double by = p->kind == POOL_MEAN && n > 0 ? n : 1;
    return fabs((double)p->y[b * p->N + c] - sum / by) <= (n + 1) * 0x1p-24 * size / by;
}

static void check_exact(const Pool *p)
{
    bool near = true;
    for (long i = 0; i < p->batch * p->N; i++)
        near = near && near_exact(p, i / p->N, i % p->N);
    check(near, "pool %s of %ldx%ldx%ld against float64", names[p->kind], p->batch, p->sequence,
          p->N);
}

/* Quarters, so that maxima are shared; NaN in the padding. */
static void fill_x(const Pool *p, bool coarse)
{
    random_fill(p->x, p->batch * p->sequence * p->N, 11);
    for (long i = 0; i < p->batch * p->sequence * p->N; i++) {
        long t = i / p->N % p->sequence, b = i / p->N / p->sequence;
        if (coarse)
            p->x[i] = floorf(p->x[i] * 4) / 4;
        if (t >= p->lengths[b])
            p->x[i] = NAN;
    }
}

/* ---- of shared sequences --------------------------------------------------------------- */
typedef struct Shared {
    const Pool *p;
    Chunks at;
    float *own, *pools, *dx, *down;
    int32_t *lengths;
} Shared;

static void run_own(const Thread *me, void *argument)
{
    const Shared *s = argument;
    take_chunks(me, s->own, s->p->x, &s->at, s->p->N);
    take_chunks(me, s->down, s->p->dwant, &s->at, s->p->N);
    own_lengths(me, s->lengths, s->p->lengths, &s->at);
}

static void run_pool_own(const Thread *me, void *argument)
{
    const Shared *s = argument;
    pool_own(me, s->pools, s->own, s->p->lengths, &s->at, s->p->N, s->p->kind);
}

static void run_chunks(const Thread *me, void *argument)
{
    const Shared *s = argument;
    const Pool *p = s->p;
    bool max = p->kind == POOL_MAX;
    pool_chunks(me, p->y, s->pools, p->lengths, &s->at, p->N, p->kind);
    pool_chunks_spread(me, s->dx, p->dy, p->lengths, max ? s->own : NULL, max ? s->pools : NULL,
                       &s->at, p->N, p->kind);
}

/* Of the rank's rows those that are no padding are its first. */
static bool lengths_fit(const Shared *s)
{
    long T = 2 * s->at.tokens;
    for (long i = 0; i < s->at.batch * T; i++) {
        bool padding = isnan(s->own[i * s->p->N]);
        if (padding != (i % T >= s->lengths[i / T]))
            return false;
    }
    return true;
}

static void check_rank(Shared *s, long rank, int threads)
{
    const Pool *p = s->p;
    const char *name = names[p->kind];
    bool near = true;
    s->at.rank = rank;
    team_run(threads, 16, run_own, s);
    check(lengths_fit(s), "lengths of rank %ld of %ld", rank, s->at.ranks);
    random_fill(p->y, p->batch * p->N, 13);
    team_run(threads, 16, run_chunks, s);
    for (long i = 0; i < p->batch * p->N; i++)
        near = near && (p->kind <= POOL_SUM ? near_exact(p, i / p->N, i % p->N)
                                            : p->y[i] == p->want[i]);
    check(near, "pool_chunks %s, rank %ld of %ld", name, rank, s->at.ranks);
    check(first_difference(s->down, s->dx, p->batch * 2 * s->at.tokens * p->N) < 0,
          "pool_chunks_spread %s, rank %ld of %ld", name, rank, s->at.ranks);
}

static void test_shared(const Pool *p, long ranks)
{
    Shared s = {.p = p, .at = {.batch = p->batch, .tokens = p->sequence / ranks / 2,
                               .ranks = ranks}};
    long rows = p->batch * 2 * s.at.tokens * p->N;
    s.own = guarded(rows);
    s.dx = guarded(rows);
    s.down = guarded(rows);
    s.pools = guarded(ranks * p->batch * 2 * p->N);
    s.lengths = (int32_t *)(void *)guarded(p->batch);
    for (s.at.rank = 0; s.at.rank < ranks; s.at.rank++) {
        team_run(2, 16, run_own, &s);
        team_run(2, 16, run_pool_own, &s);
    }
    for (long rank = 0; rank < ranks; rank++)
        check_rank(&s, rank, 1 + (int)rank % 3);
    float *const arrays[] = {s.own, s.dx, s.down, s.pools, (float *)(void *)s.lengths};
    for (unsigned i = 0; i < sizeof arrays / sizeof *arrays; i++)
        unguard(arrays[i]);
}

static void test_kind(Pool *p)
{
    long all = p->batch * p->sequence * p->N, pooled = p->batch * p->N;
    fill_x(p, p->kind == POOL_MAX);
    random_fill(p->dy, pooled, 12);
    for (long i = 0; i < pooled; i++)
        column(p, i / p->N, i % p->N);
    for (int threads = 1; threads <= 4; threads++) {
        random_fill(p->y, pooled, 13);
        random_fill(p->dx, all, 14);
        team_run(threads, 16, run_pool, p);
        team_run(threads, 16, run_spread, p);
        check(first_difference(p->want, p->y, pooled) < 0, "pool %s of %ldx%ldx%ld, threads %d",
              names[p->kind], p->batch, p->sequence, p->N, threads);
        check(first_difference(p->dwant, p->dx, all) < 0,
              "pool_spread %s of %ldx%ldx%ld, threads %d", names[p->kind], p->batch, p->sequence,
              p->N, threads);
    }
    if (p->kind <= POOL_SUM)
        check_exact(p);
    for (long ranks = 2; ranks <= 4; ranks++)
        if (p->sequence % (2 * ranks) == 0)
            test_shared(p, ranks);
}

/* lengths: 0, 1, the whole, and what lies between. */
static void test_pool(long batch, long sequence, long N)
{
    Pool p = {.batch = batch, .sequence = sequence, .N = N};
    long all = batch * sequence * N;
    p.x = guarded(all);
    p.dx = guarded(all);
    p.dwant = guarded(all);
    p.y = guarded(batch * N);
    p.dy = guarded(batch * N);
    p.want = guarded(batch * N);
    p.lengths = (int32_t *)(void *)guarded(batch);
    for (long b = 0; b < batch; b++)
        p.lengths[b] = (int32_t)(b == 0 ? sequence : b == 1 ? 0 : b == 2 ? 1 : b % sequence);
    for (p.kind = POOL_MEAN; p.kind <= POOL_LAST; p.kind++)
        test_kind(&p);
    float *const arrays[] = {p.x, p.dx, p.dwant, p.y, p.dy, p.want, (float *)(void *)p.lengths};
    for (unsigned i = 0; i < sizeof arrays / sizeof *arrays; i++)
        unguard(arrays[i]);
}

/* A NaN is the maximum, wherever it stands. */
static void test_nan(void)
{
    enum { T = 5, N = 3 };
    for (int at = 0; at < T; at++) {
        float x[T * N], y[N], dx[T * N], dy[N] = {1, 1, 1};
        int32_t length = T;
        Thread me = {0, 1, NULL, NULL};
        random_fill(x, T * N, 15);
        x[at * N + 1] = NAN;
        pool(&me, y, x, &length, 1, T, N, POOL_MAX);
        pool_spread(&me, dx, dy, &length, x, 1, T, N, POOL_MAX);
        check(isfinite(y[0]) && isnan(y[1]) && isfinite(y[2]), "a NaN at %d is the maximum", at);
        check(dx[at * N + 1] == 1, "a NaN at %d takes the gradient", at);
    }
}

int main(void)
{
    test_pool(1, 1, 1);
    test_pool(4, 7, 17);
    test_pool(7, 3, 33);
    test_pool(3, 130, 1);
    test_pool(2, 64, 64);
    test_pool(6, 5, 770);
    test_pool(9, 24, 19);
    test_nan();
    return finish("pool");
}
