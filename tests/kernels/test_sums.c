/* test_sums.c: scatter_add (index.c), the f64 sums and the preferences (reduce.c)
 * against plain loops in their exact order, all bits, 1 to 5 threads; preferences
 * against float64 too. */
#include "harness.h"
#include "lanes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- scatter_add ------------------------------------------------------------------ */
typedef struct Scatter {
    float *table, *dy;
    int32_t *ids;
    long rows, N, entries;
    int init;
} Scatter;

static void run_scatter(const Thread *me, void *argument)
{
    const Scatter *s = argument;
    scatter_add(me, s->table, s->dy, s->ids, s->rows, s->N, s->entries, s->init);
}

static void test_scatter(long rows, long N, long entries)
{
    Scatter s = {guarded(entries * N), guarded(rows * N), (int32_t *)(void *)guarded(rows),
                 rows, N, entries, 0};
    float *want = guarded(entries * N);
    uint32_t state = 1;
    random_fill(s.dy, rows * N, 2);
    for (long r = 0; r < rows; r++)
        s.ids[r] = (int32_t)(random_next(&state) % (uint32_t)(entries + 1)) - 1;
    for (s.init = 0; s.init < 2; s.init++)
        for (int threads = 1; threads <= 5; threads++) {
            random_fill(s.table, entries * N, 3);
            for (long i = 0; i < entries * N; i++)
                want[i] = s.init ? s.table[i] : 0.0f;
            for (long r = 0; r < rows; r++)
                for (long j = 0; j < N && s.ids[r] >= 0; j++)
                    want[s.ids[r] * N + j] += s.dy[r * N + j];
            team_run(threads, 16, run_scatter, &s);
            check(first_difference(want, s.table, entries * N) < 0,
                  "scatter_add rows=%ld N=%ld entries=%ld init=%d threads=%d", rows, N, entries,
                  s.init, threads);
        }
    unguard(s.table);
    unguard(s.dy);
    unguard((float *)(void *)s.ids);
    unguard(want);
}

/* ---- the f64 sums ------------------------------------------------------------------ */
typedef struct Sums {
    double total, *squares;
    float *values;
    long n;
    int init;
} Sums;

static void run_chain(const Thread *me, void *argument)
{
    Sums *s = argument;
    chain_f64(me, &s->total, s->values, s->n, s->init);
}

static void run_squares(const Thread *me, void *argument)
{
    Sums *s = argument;
    square_blocks(me, s->squares, s->values, s->n);
}

static double squares_plain(const float *values, long n)
{
    double lane[16] = {0};
    for (long i = 0; i < n; i++)
        lane[i % 16] += (double)values[i] * (double)values[i];
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static void test_sums(long n)
{
    enum { BLOCK = 1024 };
    long blocks = (n + BLOCK - 1) / BLOCK;
    Sums s = {.squares = malloc((size_t)blocks * sizeof(double)), .values = guarded(n), .n = n};
    random_fill(s.values, n, (uint32_t)n);
    for (int threads = 1; threads <= 5; threads++) {
        for (s.init = 0; s.init < 2; s.init++) {
            s.total = 1.5;
            double want = s.init ? 1.5 : 0.0;
            for (long i = 0; i < n; i++)
                want += (double)s.values[i];
            team_run(threads, 16, run_chain, &s);
            check(s.total == want, "chain_f64 n=%ld init=%d threads=%d", n, s.init, threads);
        }
        for (long b = 0; b < blocks; b++)
            s.squares[b] = NAN;
        team_run(threads, 16, run_squares, &s);
        for (long b = 0; b < blocks; b++) {
            long left = n - b * BLOCK;
            double want = squares_plain(s.values + b * BLOCK, left < BLOCK ? left : BLOCK);
            check(s.squares[b] == want, "square_blocks n=%ld block %ld threads=%d", n, b, threads);
        }
    }
    unguard(s.values);
    free(s.squares);
}

/* ---- preferences ------------------------------------------------------------------- */
typedef struct Preference {
    double total;
    float *sums, *counts, *reference, *dsums;
    float beta, weight;
    long batch;
    int init;
} Preference;

static void run_preference(const Thread *me, void *argument)
{
    Preference *p = argument;
    preference_loss(me, &p->total, p->sums, p->counts, p->reference, p->beta, p->batch, p->init);
    preference_grad(me, p->dsums, p->sums, p->counts, p->reference, p->beta, p->weight, p->batch);
}

static double exact_margin(const Preference *p, long i)
{
    double chosen = (double)p->sums[2 * i] - (double)p->reference[2 * i];
    double rejected = (double)p->sums[2 * i + 1] - (double)p->reference[2 * i + 1];
    return (double)p->beta * (chosen - rejected);
}

/* What the sum of the losses and one pair's gradient should be, in f32 and in f64. */
static void check_preference(const Preference *p, int threads)
{
    double want = p->init ? 1.5 : 0, exact = want;
    for (long i = 0; i < p->batch / 2; i++) {
        float z = p->beta * ((p->sums[2 * i] - p->reference[2 * i])
                             - (p->sums[2 * i + 1] - p->reference[2 * i + 1]));
        bool scored = p->counts[2 * i] + p->counts[2 * i + 1] > 0;
        float slope = scored ? p->beta * p->weight / (1 + exp_f32(z)) : 0;
        double true_z = exact_margin(p, i);
        double true_slope = scored ? (double)p->beta * (double)p->weight / (1 + exp(true_z)) : 0;
        if (scored) {
            float e = exp_f32(-fabsf(z)), u = 1 + e;
            want += (double)((z < 0 ? -z : 0) + (u > 1 ? log_f32(u) * (e / (u - 1)) : e));
            exact += log1p(exp(-true_z));
        }
        check(p->dsums[2 * i] == 0 - slope && p->dsums[2 * i + 1] == slope,
              "preference_grad pair %ld of %ld threads=%d", i, p->batch / 2, threads);
        check(fabs((double)slope - true_slope) <= 1e-5 * true_slope + 1e-30,
              "preference_grad pair %ld: %g, not %g", i, (double)slope, true_slope);
    }
    check(p->total == want, "preference_loss batch=%ld init=%d threads=%d", p->batch, p->init,
          threads);
    check(fabs(p->total - exact) <= 1e-6 * (exact + (double)p->batch),
          "preference_loss batch=%ld: %.9g, not %.9g", p->batch, p->total, exact);
}

/* Every third pair has no scored position; margins reach to where exp overflows. */
static void test_preference(long batch, float spread)
{
    Preference p = {.sums = guarded(batch), .counts = guarded(batch), .reference = guarded(batch),
                    .dsums = guarded(batch), .beta = 0.1f, .weight = 0.25f, .batch = batch};
    random_fill(p.sums, batch, 8);
    random_fill(p.reference, batch, 9);
    for (long i = 0; i < batch; i++) {
        p.sums[i] *= spread;
        p.counts[i] = i / 2 % 3 == 1 ? 0 : i % 2 ? 0 : 7;
    }
    for (int threads = 1; threads <= 5; threads++)
        for (p.init = 0; p.init < 2; p.init++) {
            p.total = 1.5;
            random_fill(p.dsums, batch, 10);
            team_run(threads, 16, run_preference, &p);
            check_preference(&p, threads);
        }
    unguard(p.sums);
    unguard(p.counts);
    unguard(p.reference);
    unguard(p.dsums);
}

/* A small loss, of a model that is sure, has as many digits as a large one. */
static void test_sure_preference(void)
{
    float sums[2] = {0, -7}, counts[2] = {1, 1}, reference[2] = {0, -7};
    const Thread me = {0, 1, NULL, NULL};
    for (float z = -40; z < 80; z += 0.375f) {
        double total = 0, want = log1p(exp(-(double)z));
        sums[0] = z;
        preference_loss(&me, &total, sums, counts, reference, 1, 2, 0);
        check(fabs(total - want) <= 1e-6 * want, "preference_loss of z=%g: %.9g, not %.9g",
              (double)z, total, want);
    }
}

int main(void)
{
    test_sure_preference();
    test_preference(2, 1.0f);
    test_preference(14, 30.0f);
    test_preference(46, 3000.0f);
    test_scatter(1, 1, 1);
    test_scatter(50, 33, 7);
    test_scatter(200, 48, 300);
    test_scatter(64, 770, 11);
    static const long sizes[] = {1, 15, 16, 17, 1023, 1024, 1025, 5000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        test_sums(sizes[i]);
    return finish("sums");
}
