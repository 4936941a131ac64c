/* tables.c: constant tables by their formulas (tables.h). Read table_fill at the
 * end; a function a kind stands above it.
 * SPDX-License-Identifier: 0BSD */
#include "tables.h"
#include "elementary.h"
#include <string.h>

/* Column 2i: sin(t / base^(2i/columns)), column 2i + 1: cos of the same. Row
 * t is of position t or, where `zero` is not 0, of distance t - zero. */
static void fill_sinusoidal(float *out, const Table *table, int64_t zero,
                            int64_t first, int64_t last)
{
    int64_t n = table->columns;
    for (int64_t c = 0; c < n; c++) {
        double wave = f64_pow(table->base, (double)(c - c % 2) / (double)n);
        for (int64_t t = first; t < last; t++) {
            double angle = (double)(t < zero ? zero - t : t - zero) / wave;
            double sine = t < zero ? -f64_sin(angle) : f64_sin(angle);
            out[t * n + c] = (float)(c % 2 ? f64_cos(angle) : sine);
        }
    }
}

/* The frequency of a pair, base^(-2j/head_dim). With llama3 scaling (Hugging Face's
 * Llama 3.1) long waves are slowed by `factor`, short ones kept, and those between
 * them blended. */
static double rotary_frequency(const Table *table, int64_t pair)
{
    double frequency = 1 / f64_pow(table->base, (double)(2 * pair) / (double)table->columns);
    if (table->factor == 0)
        return frequency;
    double wave = 2 * F64_PI / frequency;
    if (wave < table->original / table->high)
        return frequency;
    if (wave > table->original / table->low)
        return frequency / table->factor;
    double smooth = (table->original / wave - table->low) / (table->high - table->low);
    return (1 - smooth) * frequency / table->factor + smooth * frequency;
}

/* Pair j stands in columns j and j + head_dim/2. */
static void fill_rotary(float *out, const Table *table, double (*wave)(double), int64_t first,
                        int64_t last)
{
    int64_t n = table->columns, pairs = n / 2;
    for (int64_t j = 0; j < pairs; j++) {
        double frequency = rotary_frequency(table, j);
        for (int64_t t = first; t < last; t++)
            out[t * n + j] = out[t * n + j + pairs] = (float)wave((double)t * frequency);
    }
}

/* 2^(-8h/heads), h = 1 … heads. */
static void fill_alibi(float *out, const Table *table, int64_t first, int64_t last)
{
    for (int64_t h = first; h < last; h++)
        out[h] = (float)f64_pow(2, -8.0 * (double)(h + 1) / (double)table->rows);
}

bool table_fill(float *out, const Table *table, int64_t first, int64_t last)
{
    if (strcmp(table->kind, "sinusoidal") == 0)
        fill_sinusoidal(out, table, 0, first, last);
    else if (strcmp(table->kind, "relative") == 0)
        fill_sinusoidal(out, table, table->rows / 2, first, last);
    else if (strcmp(table->kind, "rotary-cos") == 0)
        fill_rotary(out, table, f64_cos, first, last);
    else if (strcmp(table->kind, "rotary-sin") == 0)
        fill_rotary(out, table, f64_sin, first, last);
    else if (strcmp(table->kind, "alibi") == 0)
        fill_alibi(out, table, first, last);
    else if (strcmp(table->kind, "held") == 0)
        for (int64_t i = first; i < last; i++)
            out[i] = (double)i < table->base;
    else
        return false;
    return true;
}
