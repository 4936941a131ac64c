/* test_sums.c: scatter_add (index.c) and the f64 sums (reduce.c) against plain
 * loops in their exact order, all bits, 1 to 5 threads. */
#include "harness.h"
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

int main(void)
{
    test_scatter(1, 1, 1);
    test_scatter(50, 33, 7);
    test_scatter(200, 48, 300);
    test_scatter(64, 770, 11);
    static const long sizes[] = {1, 15, 16, 17, 1023, 1024, 1025, 5000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        test_sums(sizes[i]);
    return finish("sums");
}
