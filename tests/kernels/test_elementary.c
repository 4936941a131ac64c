/* test_elementary.c [STRIDE]: the functions of lanes.h against long double, over
 * every STRIDE-th float of both signs (default 1009; 97 takes a minute), their
 * special values, and a hash of all results that every build must share. */
#include "harness.h"
#include "lanes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Sixteen)(float *out, const float *in);
#define SIXTEEN(name) \
    static void name##_all(float *out, const float *in) { store16(out, name##16(load16(in))); }
SIXTEEN(exp) SIXTEEN(log) SIXTEEN(tanh) SIXTEEN(erf) SIXTEEN(sqrt) SIXTEEN(sigmoid)
SIXTEEN(relu) SIXTEEN(relu_grad) SIXTEEN(gelu) SIXTEEN(gelu_grad) SIXTEEN(gelu_tanh)
SIXTEEN(gelu_tanh_grad) SIXTEEN(silu) SIXTEEN(silu_grad)

/* ---- the truth -------------------------------------------------------------------- */
static long double normal(long double x) { return erfcl(-x / sqrtl(2)) / 2; }
static long double density(long double x) { return expl(-x * x / 2) / sqrtl(2 * acosl(-1)); }
static long double sigmoid(long double x) { return 1 / (1 + expl(-x)); }
static long double relu(long double x) { return x > 0 ? x : 0; }
static long double relu_grad(long double x) { return x > 0; }
static long double gelu(long double x) { return x * normal(x); }
static long double gelu_grad(long double x) { return normal(x) + x * density(x); }
static long double twice_u(long double x)
{
    return 2 * sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x);
}
static long double gelu_tanh(long double x) { return x * sigmoid(twice_u(x)); }
static long double gelu_tanh_grad(long double x)
{
    long double s = sigmoid(twice_u(x));
    return s + x * s * (1 - s) * 2 * sqrtl(2 / acosl(-1)) * (1 + 3 * 0.044715L * x * x);
}
static long double silu(long double x) { return x * sigmoid(x); }
static long double silu_grad(long double x)
{
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
}

/* ---- errors ------------------------------------------------------------------------ */
static uint32_t stride = 1009, hash = 2166136261u;

/* The distance in units of the last place of the true value; results below the
 * smallest normal number may be 0. */
static double ulps(float got, long double want)
{
    float near = (float)want;
    if (isinf(near))
        return isinf(got) || got == 0x1.fffffep127f ? 0 : 1e9;
    if (fabsf(near) < 0x1p-126f)
        return fabsf(got) <= 0x1p-126f ? 0 : 1e9;
    double unit = (double)(nextafterf(fabsf(near), INFINITY) - fabsf(near));
    return (double)fabsl((long double)got - want) / unit;
}

/* limit: ulps where relative, else absolute. Inputs of [low, high] only. */
static void sweep(const char *name, Sixteen function, long double (*truth)(long double),
                  float low, float high, double limit, bool relative)
{
    double worst = 0;
    float at = 0, in[16], out[16];
    for (uint64_t first = 0; first < 1ull << 32; first += 16ull * stride) {
        for (int l = 0; l < 16; l++) {
            uint32_t bits = (uint32_t)(first + (uint32_t)l * (uint64_t)stride);
            memcpy(&in[l], &bits, 4);
        }
        function(out, in);
        for (int l = 0; l < 16; l++) {
            if (!(in[l] >= low && in[l] <= high)) {
                if (isnan(in[l]) && !isnan(out[l]))
                    worst = INFINITY;
                continue;
            }
            long double want = truth((long double)in[l]);
            double error = relative ? ulps(out[l], want)
                                    : fabs((double)((long double)out[l] - want));
            if (!(error <= worst)) {
                worst = isnan(error) ? INFINITY : error;
                at = in[l];
            }
            uint32_t bits;
            memcpy(&bits, &out[l], 4);
            hash = (hash ^ bits) * 16777619u;
        }
    }
    printf("%-15s %.3g %s at %.9g\n", name, worst, relative ? "ulp" : "absolute", (double)at);
    check(worst <= limit, "%s: error %g at %.9g", name, worst, (double)at);
}

static void test_special(void)
{
    check(exp_f32(-INFINITY) == 0 && exp_f32(INFINITY) == INFINITY && exp_f32(0) == 1, "exp");
    check(exp_f32(89) == INFINITY && exp_f32(-104) == 0, "exp out of range");
    check(log_f32(0) == -INFINITY && log_f32(INFINITY) == INFINITY, "log of 0 and inf");
    check(isnan(log_f32(-1)) && isnan(log_f32(-INFINITY)) && log_f32(1) == 0, "log");
    check(tanh_f32(INFINITY) == 1 && tanh_f32(-INFINITY) == -1, "tanh of inf");
    check(erf_f32(INFINITY) == 1 && erf_f32(-INFINITY) == -1, "erf of inf");
    check(sigmoid_f32(-200) == 0 && sigmoid_f32(200) == 1, "sigmoid");
    check(is_zero_f32(0) == 1 && is_zero_f32(-0.0f) == 1 && is_zero_f32(1e-45f) == 0
              && is_zero_f32(-3) == 0 && is_zero_f32(NAN) == 0, "is_zero");
    f32x16 mixed = splat(2.0f);
    mixed[3] = 0;
    mixed[15] = -0.0f;
    mixed = is_zero16(mixed);
    check(mixed[3] == 1 && mixed[15] == 1 && fold_add(mixed) == 2, "is_zero16");
    check(relu_f32(-1) == 0 && relu_grad_f32(0) == 0 && relu_grad_f32(2) == 1, "relu");
    check(sqrt_f32(9) == 3 && max_f32(1, 2) == 2 && fma_f32(2, 3, 4) == 10, "scalars");
}

/* A lane alone is computed by the same code as 16. */
static void test_scalar(void)
{
    float in[16], out[16];
    random_fill(in, 16, 5);
    exp_all(out, in);
    for (int l = 0; l < 16; l++)
        check(out[l] == exp_f32(in[l]), "exp of lane %d alone", l);
    gelu_tanh_all(out, in);
    for (int l = 0; l < 16; l++)
        check(out[l] == gelu_tanh_f32(in[l]), "gelu_tanh of lane %d alone", l);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        stride = (uint32_t)strtoul(argv[1], NULL, 10) | 1;
    const float most = 0x1.fffffep127f;
    sweep("exp", exp_all, expl, -most, most, 2, true);
    sweep("log", log_all, logl, 0, most, 2, true);
    sweep("tanh", tanh_all, tanhl, -most, most, 2, true);
    sweep("erf", erf_all, erfl, -most, most, 2, true);
    sweep("sqrt", sqrt_all, sqrtl, 0, most, 0.5000001, true);
    sweep("sigmoid", sigmoid_all, sigmoid, -80, 80, 4, true);
    sweep("relu", relu_all, relu, -most, most, 0, true);
    sweep("relu_grad", relu_grad_all, relu_grad, -most, most, 0, true);
    sweep("gelu", gelu_all, gelu, -10, 10, 1e-6, false);
    sweep("gelu_grad", gelu_grad_all, gelu_grad, -10, 10, 1e-6, false);
    sweep("gelu_tanh", gelu_tanh_all, gelu_tanh, -10, 10, 1e-6, false);
    sweep("gelu_tanh_grad", gelu_tanh_grad_all, gelu_tanh_grad, -10, 10, 1e-6, false);
    sweep("silu", silu_all, silu, -10, 10, 2e-6, false);
    sweep("silu_grad", silu_grad_all, silu_grad, -10, 10, 1e-6, false);
    test_special();
    test_scalar();
    if (stride == 1009)
        check(hash == 0x1fbe808c, "hash of all results is %08x", hash);
    return finish("elementary");
}
