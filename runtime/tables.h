/* tables.h: the constant tables of a model (docs/contract.md, section 4):
 * sines of positions and of distances, rotary cosines and sines, ALiBi's
 * slopes. The runtime fills a program's tables with this, the compiler's
 * interpreter its own, so that both have the same bits: f64 by elementary.h,
 * rounded once.
 * SPDX-License-Identifier: 0BSD */
#ifndef TABLES_H
#define TABLES_H
#include <stdbool.h>
#include <stdint.h>

typedef struct Table {
    const char *kind;           /* with its rows and columns: sinusoidal
                                   [context, dim], relative [2·context-1, dim],
                                   rotary-cos and rotary-sin [context,
                                   head_dim], alibi [heads, 1] */
    int64_t rows, columns;
    double base;                /* of the wavelengths: 10000 */
    double factor;              /* rotary, llama3 scaling; 0: none, and the
                                   rest unused */
    double low, high, original;
} Table;

/* Fills rows [first, last) of out, which is the whole table. False, and
 * nothing done, where the kind is none of the five. */
bool table_fill(float *out, const Table *table, int64_t first, int64_t last);
#endif
