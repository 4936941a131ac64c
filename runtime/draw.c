/* draw.c: see draw.h.
 * SPDX-License-Identifier: 0BSD */
#include "draw.h"
#include "elementary.h"
#include "kernels/philox.h"

uint64_t draw_stream(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    return hash;
}

static Philox block(uint64_t seed, uint64_t stream, uint64_t index)
{
    return philox(seed, (uint32_t)index, (uint32_t)(index >> 32),
                  (uint32_t)stream, (uint32_t)(stream >> 32));
}

/* The upper 53 of 64 bits as a fraction: exact. */
static double fraction(uint32_t low, uint32_t high)
{
    uint64_t bits = (uint64_t)high << 32 | low;
    return (double)(bits >> 11) * 0x1p-53;
}

double draw_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    Philox b = block(seed, stream, index);
    return fraction(b.word[0], b.word[1]);
}

void draw_uniforms(double pair[2], uint64_t seed, uint64_t stream,
                   uint64_t index)
{
    Philox b = block(seed, stream, index);
    pair[0] = fraction(b.word[0], b.word[1]);
    pair[1] = fraction(b.word[2], b.word[3]);
}

/* Elements 2·pair and 2·pair + 1. 1 - u is exact and never 0. */
static void normal_pair(double out[2], uint64_t seed, uint64_t stream,
                        uint64_t pair)
{
    double drawn[2];
    draw_uniforms(drawn, seed, stream, pair);
    double radius = __builtin_sqrt(-2 * f64_log(1 - drawn[0]));
    double angle = 2 * F64_PI * drawn[1];
    out[0] = radius * f64_cos(angle);
    out[1] = radius * f64_sin(angle);
}

double draw_normal(uint64_t seed, uint64_t stream, uint64_t element)
{
    double pair[2];
    normal_pair(pair, seed, stream, element / 2);
    return pair[element % 2];
}

void draw_normals(float *out, int64_t count, uint64_t first, double std,
                  uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < count;) {
        uint64_t element = first + (uint64_t)i;
        double pair[2];
        normal_pair(pair, seed, stream, element / 2);
        for (int side = element % 2; side < 2 && i < count; side++, i++)
            out[i] = (float)(std * pair[side]);
    }
}

uint64_t draw_permuted(uint64_t index, uint64_t count, uint64_t seed,
                       uint64_t stream)
{
    int half = 1;                       /* 2·half bits hold 0 … count-1 */
    while (half < 31 && count > (uint64_t)1 << 2 * half)
        half++;
    uint32_t mask = ((uint32_t)1 << half) - 1;
    do {
        uint32_t left = (uint32_t)(index >> half) & mask;
        uint32_t right = (uint32_t)index & mask;
        for (uint32_t round = 0; round < 8; round++) {
            uint64_t at = (uint64_t)round << 32 | right;
            uint32_t mixed = left ^ (block(seed, stream, at).word[0] & mask);
            left = right;
            right = mixed;
        }
        index = (uint64_t)left << half | right;
    } while (index >= count);
    return index;
}
