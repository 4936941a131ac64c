/* test_gemm.c: the matrix products against plain loops in their exact order, all
 * bits of all outputs, over shapes that tile badly, 1 to 5 threads, with and
 * without init and bias. */
#include "harness.h"
#include <math.h>
#include <string.h>

typedef struct Case {
    long rows, K, N;
    int init;
    float *x, *w, *y, *bias;    /* [rows,K] [N,K] [rows,N] [N] */
    const float *use_bias;
} Case;

/* ---- the orders, as plain as they can be said ------------------------------------ */
static void matmul_plain(float *y, const Case *c)
{
    for (long r = 0; r < c->rows; r++)
        for (long n = 0; n < c->N; n++) {
            float sum = 0.0f;
            for (long k = 0; k < c->K; k++)
                sum = fmaf(c->x[r * c->K + k], c->w[n * c->K + k], sum);
            y[r * c->N + n] = c->use_bias ? sum + c->use_bias[n] : sum;
        }
}

static void matmul_input_plain(float *dx, const Case *c)
{
    for (long r = 0; r < c->rows; r++)
        for (long k = 0; k < c->K; k++) {
            float sum = c->init ? dx[r * c->K + k] : 0.0f;
            for (long n = 0; n < c->N; n++)
                sum = fmaf(c->y[r * c->N + n], c->w[n * c->K + k], sum);
            dx[r * c->K + k] = sum;
        }
}

static void matmul_weight_plain(float *dw, const Case *c)
{
    for (long n = 0; n < c->N; n++)
        for (long k = 0; k < c->K; k++) {
            float sum = c->init ? dw[n * c->K + k] : 0.0f;
            for (long r = 0; r < c->rows; r++)
                sum = fmaf(c->y[r * c->N + n], c->x[r * c->K + k], sum);
            dw[n * c->K + k] = sum;
        }
}

/* ---- the kernels, on a team -------------------------------------------------------- */
static void run_matmul(const Thread *me, void *argument)
{
    const Case *c = argument;
    matmul(me, c->y, c->x, c->w, c->use_bias, c->rows, c->K, c->N);
}
static void run_input(const Thread *me, void *argument)
{
    const Case *c = argument;
    matmul_input(me, c->x, c->y, c->w, c->rows, c->K, c->N, c->init);
}
static void run_weight(const Thread *me, void *argument)
{
    const Case *c = argument;
    matmul_weight(me, c->w, c->y, c->x, c->rows, c->K, c->N, c->init);
}

static void test_product(const char *name, Case *c, float **output, long count,
                         void (*plain)(float *, const Case *),
                         void (*run)(const Thread *, void *))
{
    float *given = *output, *want = guarded(count), *got = guarded(count);
    memcpy(want, given, (size_t)count * sizeof *want);
    plain(want, c);
    for (int threads = 1; threads <= 5; threads++) {
        if (c->init)
            memcpy(got, given, (size_t)count * sizeof *got);
        else
            for (long i = 0; i < count; i++)
                got[i] = NAN;               /* what must not be read */
        *output = got;
        team_run(threads, matmul_workspace(c->rows, c->K, c->N), run, c);
        *output = given;
        long at = first_difference(want, got, count);
        check(at < 0, "%s rows=%ld K=%ld N=%ld init=%d threads=%d: [%ld] is %.9g, not %.9g", name,
              c->rows, c->K, c->N, c->init, threads, at, (double)got[at < 0 ? 0 : at],
              (double)want[at < 0 ? 0 : at]);
    }
    unguard(want);
    unguard(got);
}

static void test_shape(long rows, long K, long N)
{
    Case c = {.rows = rows, .K = K, .N = N, .x = guarded(rows * K), .w = guarded(N * K),
              .y = guarded(rows * N), .bias = guarded(N)};
    random_fill(c.x, rows * K, 1);
    random_fill(c.w, N * K, 2);
    random_fill(c.y, rows * N, 3);
    random_fill(c.bias, N, 4);
    test_product("matmul", &c, &c.y, rows * N, matmul_plain, run_matmul);
    c.use_bias = c.bias;
    test_product("matmul + bias", &c, &c.y, rows * N, matmul_plain, run_matmul);
    for (c.init = 0; c.init < 2; c.init++) {
        test_product("matmul_input", &c, &c.x, rows * K, matmul_input_plain, run_input);
        test_product("matmul_weight", &c, &c.w, N * K, matmul_weight_plain, run_weight);
    }
    unguard(c.x);
    unguard(c.w);
    unguard(c.y);
    unguard(c.bias);
}

int main(void)
{
    static const long shapes[][3] = {
        {1, 1, 1}, {1, 5, 3}, {2, 16, 16}, {3, 17, 33}, {7, 100, 257}, {8, 16, 32}, {9, 31, 40},
        {13, 64, 48}, {14, 33, 31}, {15, 15, 15}, {16, 768, 64}, {27, 1, 70}, {28, 130, 129},
        {29, 64, 1}, {64, 96, 96}, {77, 200, 333}, {100, 769, 65}, {33, 1537, 50}, {250, 384, 152},
        {1037, 20, 35}, {35, 40, 1100}, {1, 768, 1000}, {5, 769, 130}, {2100, 33, 18},
    };
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
        test_shape(shapes[i][0], shapes[i][1], shapes[i][2]);
    return finish("gemm");
}
