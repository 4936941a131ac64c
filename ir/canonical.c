/* canonical.c: the orders of summation of docs/architecture.md, section 7, as the
 * interpreter computes them. The kernels of runtime/kernels run the same orders. */
#include "interpret.h"

double canonical_fold(const Machine *machine, double lanes[16])
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] = rounded(machine, lanes[i] + lanes[i + half]);
    return lanes[0];
}

double canonical_row_sum(const Machine *machine, const double *row, int64_t n)
{
    double lanes[16] = {0};
    for (int64_t i = 0; i < n; i++)
        lanes[i % 16] = rounded(machine, lanes[i % 16] + row[i]);
    return canonical_fold(machine, lanes);
}

void canonical_product(const Machine *machine, double *out, const double *a,
                       const double *b, const Product *p)
{
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c < p->columns; c++) {
            double sum = out[r * p->columns + c];
            const double *x = a + r * p->a_row, *y = b + c * p->b_column;
            for (int64_t k = 0; k < p->terms;
                 k++, x += p->a_step, y += p->b_step)
                sum = fused(machine, *x, *y, sum);
            out[r * p->columns + c] = sum;
        }
}

void canonical_tree(const Machine *machine, double *sets, int64_t count, int64_t n, bool wide)
{
    if (count < 2)
        return;
    int64_t left = 1;
    while (left * 2 < count)
        left *= 2;
    double *right = sets + left * n;
    canonical_tree(machine, sets, left, n, wide);
    canonical_tree(machine, right, count - left, n, wide);
    for (int64_t i = 0; i < n; i++)
        sets[i] = wide ? sets[i] + right[i] : rounded(machine, sets[i] + right[i]);
}

static double square_block(const double *values, int64_t n)
{
    double lanes[16] = {0};
    for (int64_t i = 0; i < n; i++)
        lanes[i % 16] += values[i] * values[i];
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

double canonical_squares(double total, const double *values, int64_t n)
{
    enum { BLOCK = 1024 };
    for (int64_t i = 0; i < n; i += BLOCK)
        total += square_block(values + i, n - i < BLOCK ? n - i : BLOCK);
    return total;
}
