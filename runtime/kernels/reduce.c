/* reduce.c: a step's sums in f64 (kernels.h): the loss, the loss of preferences and
 * the gradient norm.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "lanes.h"

void chain_f64(const Thread *me, double *total, const float *values, long n, int init)
{
    if (me->index)
        return;
    double sum = init ? *total : 0.0;
    for (long i = 0; i < n; i++)
        sum = sum + (double)values[i];
    *total = sum;
}

/* The sum of squares of n <= 1024 values. The square of an f32 is exact in f64, so
 * that fusing it with the addition or not would give the same bits. */
static double square_block(const float *values, long n)
{
    double lane[16] = {0};
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++)
            lane[l] = lane[l] + (double)values[i + l] * (double)values[i + l];
    for (int l = 0; i + l < n; l++)
        lane[l] = lane[l] + (double)values[i + l] * (double)values[i + l];
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l] + lane[l + half];
    return lane[0];
}

double *square_blocks(const Thread *me, double *sums, const float *values, long n)
{
    enum { BLOCK = 1024 };
    long blocks = (n + BLOCK - 1) / BLOCK;
    for (long b = share_start(me, blocks); b < share_end(me, blocks); b++) {
        long left = n - b * BLOCK;
        sums[b] = values ? square_block(values + b * BLOCK, left < BLOCK ? left : BLOCK) : 0.0;
    }
    return sums + blocks;
}

double norm_f64(const double *sums, long n)
{
    double total = 0.0;
    for (long i = 0; i < n; i++)
        total = total + sums[i];
    return __builtin_sqrt(total);
}

/* ---- preferences ------------------------------------------------------------- */
/* How much more the chosen of a pair has gained on the reference than the rejected. */
static float margin(const float *sums, const float *reference, float beta, long pair)
{
    float chosen = sums[2 * pair] - reference[2 * pair];
    float rejected = sums[2 * pair + 1] - reference[2 * pair + 1];
    return beta * (chosen - rejected);
}

static int is_scored(const float *counts, long pair)
{
    return counts[2 * pair] + counts[2 * pair + 1] > 0.0f;
}

/* log(1 + e), e in [0, 1]: what 1 + e rounds away comes back as a factor. */
static float log_1_plus(float e)
{
    float above = 1.0f + e, kept = above - 1.0f;
    return kept > 0.0f ? log_f32(above) * (e / kept) : e;
}

void preference_loss(const Thread *me, double *total, const float *sums, const float *counts,
                     const float *reference, float beta, long batch, int init)
{
    if (me->index)
        return;
    double sum = init ? *total : 0.0;
    for (long pair = 0; pair < batch / 2; pair++) {
        if (!is_scored(counts, pair))
            continue;
        float z = margin(sums, reference, beta, pair);
        float above = -z > 0.0f ? -z : 0.0f;    /* so that exp stays at most 1 */
        float below = log_1_plus(exp_f32(z > 0.0f ? -z : z));
        sum = sum + (double)(above + below);
    }
    *total = sum;
}

void preference_grad(const Thread *me, float *dsums, const float *sums, const float *counts,
                     const float *reference, float beta, float weight, long batch)
{
    for (long pair = share_start(me, batch / 2); pair < share_end(me, batch / 2); pair++) {
        float slope = 0.0f;
        if (is_scored(counts, pair))
            slope = beta * weight / (1.0f + exp_f32(margin(sums, reference, beta, pair)));
        dsums[2 * pair] = 0.0f - slope;
        dsums[2 * pair + 1] = slope;
    }
}
