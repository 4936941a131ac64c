/* bench_gemm.c THREADS SAMPLES TOKENS…: the three products of every linear layer of
 * GPT-2 124M and of a small model, on weights that no cache holds. Built three times
 * by bench.sh, with PEER 0 (ours), 1 (OpenBLAS) or 2 (oneDNN): one library a process,
 * since their idle pools spin and disturb whatever runs beside them. */
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#if PEER == 1
#include <cblas.h>
#elif PEER == 2
#include <oneapi/dnnl/dnnl.h>
#endif

static const long shapes[][2] = {
    {768, 2304}, {768, 768}, {768, 3072}, {3072, 768}, {768, 50257}, {384, 1536}, {1536, 384},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, PRODUCTS = 3 };
static const char *const product_names[PRODUCTS] = {"y = x W'", "dx = dy W", "dw += dy' x"};

/* Several copies, used in turn. */
typedef struct Layer {
    long rows, K, N, copies;
    int product, threads;
    float *x, *w, *y;
} Layer;

static void place(const Layer *l, long turn, float **x, float **w, float **y)
{
    long copy = turn % l->copies;
    *x = l->x + copy * l->rows * l->K;
    *w = l->w + copy * l->N * l->K;
    *y = l->y + copy * l->rows * l->N;
}

#if PEER == 0
static void run_one(const Thread *me, void *argument, long turn)
{
    const Layer *l = argument;
    float *x, *w, *y;
    place(l, turn, &x, &w, &y);
    if (l->product == 0)
        matmul(me, y, x, w, NULL, l->rows, l->K, l->N);
    else if (l->product == 1)
        matmul_input(me, x, y, w, l->rows, l->K, l->N, 0);
    else
        matmul_weight(me, w, y, x, l->rows, l->K, l->N, 1);
}

static double time_layer(Layer *l, int samples, int calls)
{
    return bench_team(l->threads, matmul_workspace(l->rows, l->K, l->N), samples, calls, run_one,
                      l);
}
#else
static void peer_start(Layer *l);
static void peer_call(Layer *l, float *x, float *w, float *y);

static double time_layer(Layer *l, int samples, int calls)
{
    double times[1000];
    float *x, *w, *y;
    peer_start(l);
    for (int i = 0; i < samples; i++) {
        place(l, 0, &x, &w, &y);
        peer_call(l, x, w, y);
        double start = seconds(l->threads);
        for (long turn = 0; turn < calls; turn++) {
            place(l, turn, &x, &w, &y);
            peer_call(l, x, w, y);
        }
        times[i] = (seconds(l->threads) - start) / calls;
    }
    return median(times, samples);
}
#endif

#if PEER == 1
static void peer_start(Layer *l) { openblas_set_num_threads(l->threads); }

static void peer_call(Layer *l, float *x, float *w, float *y)
{
    int rows = (int)l->rows, K = (int)l->K, N = (int)l->N;
    if (l->product == 0)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, N, K, 1, x, K, w, K, 0, y, N);
    else if (l->product == 1)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, K, N, 1, y, N, w, K, 0, x, K);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, N, K, rows, 1, y, N, x, K, 1, w, K);
}
#elif PEER == 2
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static dnnl_primitive_t primitive;
static dnnl_memory_t memory[3];

static void must(dnnl_status_t status)
{
    if (status != dnnl_success) {
        fprintf(stderr, "bench: oneDNN says %d\n", (int)status);
        exit(3);
    }
}

/* source x weights = destination of the product, as oneDNN names them */
static void peer_start(Layer *l)
{
    long r = l->rows, K = l->K, N = l->N;
    dnnl_dim_t dims[PRODUCTS][3][2] = {
        {{r, K}, {K, N}, {r, N}}, {{r, N}, {N, K}, {r, K}}, {{N, r}, {r, K}, {N, K}}};
    dnnl_memory_desc_t d[3];
    dnnl_matmul_desc_t matmul_desc;
    dnnl_primitive_desc_t primitive_desc;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t after;
    if (!engine) {
        must(dnnl_engine_create(&engine, dnnl_cpu, 0));
        must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    }
    for (int i = 0; i < 3; i++) {
        int turned = (l->product == 0 && i == 1) || (l->product == 2 && i == 0);
        must(dnnl_memory_desc_init_by_tag(&d[i], 2, dims[l->product][i], dnnl_f32,
                                          turned ? dnnl_ba : dnnl_ab));
        must(dnnl_memory_create(&memory[i], &d[i], engine, DNNL_MEMORY_NONE));
    }
    must(dnnl_primitive_attr_create(&attributes));
    if (l->product == 2) {
        must(dnnl_post_ops_create(&after));
        must(dnnl_post_ops_append_sum(after, 1.0f));
        must(dnnl_primitive_attr_set_post_ops(attributes, after));
    }
    must(dnnl_matmul_desc_init(&matmul_desc, &d[0], &d[1], NULL, &d[2]));
    must(dnnl_primitive_desc_create(&primitive_desc, &matmul_desc, attributes, engine, NULL));
    must(dnnl_primitive_create(&primitive, primitive_desc));
}

static void peer_call(Layer *l, float *x, float *w, float *y)
{
    float *data[PRODUCTS][3] = {{x, w, y}, {y, w, x}, {y, x, w}};
    for (int i = 0; i < 3; i++)
        must(dnnl_memory_set_data_handle(memory[i], data[l->product][i]));
    dnnl_exec_arg_t args[3] = {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]},
                               {DNNL_ARG_DST, memory[2]}};
    must(dnnl_primitive_execute(primitive, stream, 3, args));
    must(dnnl_stream_wait(stream));
}
#endif

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_gemm THREADS SAMPLES TOKENS...\n");
        return 2;
    }
    int threads = atoi(argv[1]), samples = atoi(argv[2]);
    for (int t = 3; t < argc; t++) {
        long rows = atol(argv[t]);
        double work = 0, time = 0, peak = peak_flops(threads);
        double product_time[PRODUCTS] = {0};
        for (int s = 0; s < SHAPES; s++) {
            Layer l = {.rows = rows, .K = shapes[s][0], .N = shapes[s][1], .threads = threads};
            long floats = l.rows * l.K + l.N * l.K + l.rows * l.N;
            l.copies = (64 << 20) / floats + 1 < 12 ? (64 << 20) / floats + 1 : 12;
            l.x = bench_array(l.copies * l.rows * l.K, 1);
            l.w = bench_array(l.copies * l.N * l.K, 2);
            l.y = bench_array(l.copies * l.rows * l.N, 3);
            for (l.product = 0; l.product < PRODUCTS; l.product++) {
                double flops = 2.0 * (double)rows * (double)l.K * (double)l.N;
                double each = time_layer(&l, samples, (int)(4e9 / flops) + 1);
                printf("%ld tokens %5ld %5ld %-12s %6.1f GFLOP/s %5.1f %%\n", rows, l.K, l.N,
                       product_names[l.product], flops / each * 1e-9, flops / each / peak * 100);
                work += flops;
                time += each;
                product_time[l.product] += each;
            }
        }
        double after = peak_flops(threads);
        printf("%ld tokens, %d threads, all: %.1f GFLOP/s, %.1f %% of %.0f (forward, dx, dw %.1f "
               "%.1f %.1f; line %.0f ns)\n",
               rows, threads, work / time * 1e-9, work / time / peak * 100, peak * 1e-9,
               work / 3 / product_time[0] * 1e-9, work / 3 / product_time[1] * 1e-9,
               work / 3 / product_time[2] * 1e-9, round_trip());
        if (after < 0.97 * peak || after > 1.03 * peak)
            printf("(the machine was disturbed: %.0f before, %.0f after)\n", peak * 1e-9,
                   after * 1e-9);
    }
    return 0;
}
