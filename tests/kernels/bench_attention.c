/* bench_attention.c THREADS SAMPLES [SHAPE]: causal attention forward and backward, in
 * milliseconds and in percent of the machine's multiply-add rate at this moment
 * (counting visible pairs only), and one token against a cache. */
#include "bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Shape { long batch, T, heads, head_dim; } Shape;
static const Shape shapes[] = {
    {4, 64, 12, 64}, {8, 256, 6, 64}, {4, 256, 12, 64}, {1, 1024, 12, 64},
    {8, 64, 12, 32}, {4, 256, 12, 32}, {1, 1024, 12, 32},
};

static void forward(const Thread *me, void *argument, long turn)
{
    (void)turn;
    attention_forward(me, argument);
}
static void backward(const Thread *me, void *argument, long turn)
{
    (void)turn;
    attention_backward(me, argument);
}

static Attention arrays(Shape s, long queries)
{
    long wide = s.heads * s.head_dim, rows = s.batch * s.T;
    int32_t *lengths = malloc((size_t)s.batch * sizeof *lengths);
    for (long b = 0; b < s.batch; b++)
        lengths[b] = (int32_t)s.T;
    return (Attention){
        .q = bench_array(rows * wide, 1), .k = bench_array(rows * wide, 2),
        .v = bench_array(rows * wide, 3), .out = bench_array(rows * wide, 4),
        .stats = bench_array(s.batch * s.heads * s.T * 2, 5), .lengths = lengths,
        .batch = s.batch, .queries = queries, .keys = s.T, .key_rows = s.T, .pos = s.T - queries,
        .heads = s.heads, .kv_heads = s.heads, .head_dim = s.head_dim, .causal = 1,
        .scale = 1.0f / sqrtf((float)s.head_dim), .dout = bench_array(rows * wide, 6),
        .dq = bench_array(rows * wide, 7), .dk = bench_array(rows * wide, 8),
        .dv = bench_array(rows * wide, 9),
    };
}

static double timed(int threads, int samples, BenchWork work, Attention *a, double flops)
{
    long floats = attention_workspace(a->queries, a->keys, a->head_dim);
    return bench_team(threads, floats, samples, (int)(2e9 / flops) + 1, work, a);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_attention THREADS SAMPLES [SHAPE]\n");
        return 2;
    }
    int threads = atoi(argv[1]), samples = atoi(argv[2]);
    int only = argc > 3 ? atoi(argv[3]) : -1;
    double peak = peak_flops(threads);
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        if (only >= 0 && i != only)
            continue;
        Shape s = shapes[i];
        double pairs = (double)(s.batch * s.heads) * (double)s.T * (double)(s.T + 1) / 2;
        double flops = 4 * pairs * (double)s.head_dim;
        Attention a = arrays(s, s.T);
        double f = timed(threads, samples, forward, &a, flops);
        double b = timed(threads, samples, backward, &a, 2.5 * flops);
        printf("B=%ld T=%ld heads=%ld D=%ld: forward %.3f ms %.1f %%, backward %.3f ms %.1f %%\n",
               s.batch, s.T, s.heads, s.head_dim, f * 1e3, flops / f / peak * 100, b * 1e3,
               2.5 * flops / b / peak * 100);
    }
    if (only >= 0)
        return 0;
    Shape s = {1, 1024, 12, 64};
    Attention a = arrays(s, 1);
    double bytes = 2.0 * (double)(s.T * s.heads * s.head_dim) * sizeof(float);
    double f = timed(threads, samples, forward, &a, 20 * bytes);
    printf("one token, %ld keys, heads=%ld D=%ld: %.3f ms, %.1f GB/s\n", s.T, s.heads, s.head_dim,
           f * 1e3, bytes / f * 1e-9);
    return 0;
}
