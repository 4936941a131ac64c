/* reduce.c: a step's sums in f64 (kernels.h): the loss and the gradient norm.
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"

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

void square_blocks(const Thread *me, double *sums, const float *values, long n)
{
    enum { BLOCK = 1024 };
    long blocks = (n + BLOCK - 1) / BLOCK;
    for (long b = share_start(me, blocks); b < share_end(me, blocks); b++) {
        long left = n - b * BLOCK;
        sums[b] = values ? square_block(values + b * BLOCK, left < BLOCK ? left : BLOCK) : 0.0;
    }
}

double norm_f64(const double *sums, long n)
{
    double total = 0.0;
    for (long i = 0; i < n; i++)
        total = total + sums[i];
    return __builtin_sqrt(total);
}
