/* dropout.h: which elements dropout keeps. Element (row, column) of the value at
 * a site is kept in a step when its word of Philox is at least rate·2³²: counter
 * {row, column / 4, site, step}, key the seed, word column mod 4. A kept element
 * is multiplied by 1 / (1 - rate), another by 0. lanes.h has the same for 16
 * columns at once, attention.c for 16 rows.
 * SPDX-License-Identifier: 0BSD */
#ifndef DROPOUT_H
#define DROPOUT_H
#include "philox.h"

/* rate in [0, 1): the smallest word that is kept. */
static inline uint32_t dropout_threshold(float rate)
{
    return (uint32_t)((double)rate * 4294967296.0);
}

static inline float dropout_scale(uint64_t seed, uint32_t step, uint32_t site, uint32_t row,
                                  uint32_t column, float rate)
{
    Philox draw = philox(seed, row, column / 4, site, step);
    return draw.word[column % 4] >= dropout_threshold(rate) ? 1.0f / (1.0f - rate) : 0.0f;
}
#endif
