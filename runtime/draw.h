/* draw.h: every random number outside of the kernels: initial weights, the
 * order of the data, sampling. A draw is a pure function of (seed, stream,
 * index), of 64 bits each: Philox4x32-10 with
 *
 *     key = seed, counter = {index, index >> 32, stream, stream >> 32}
 *
 * and a stream a purpose (a parameter's name, "order" …). Nothing has a
 * position, so no plan, thread or restart moves a draw.
 * Dropout (kernels/dropout.h) has a counter of its own under the same key.
 * SPDX-License-Identifier: 0BSD */
#ifndef DRAW_H
#define DRAW_H
#include <stdint.h>

/* The stream of a purpose: the 64-bit FNV-1a hash of its name. */
uint64_t draw_stream(const char *name);

/* Uniform on [0, 1), a multiple of 2^-53: words 0 and 1 of the block, word 0
 * being the low half. For sampling: stream draw_stream("sample"), index
 * sample·2^32 + position. */
double draw_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Two such numbers: words 0 and 1, and words 2 and 3. */
void draw_uniforms(double pair[2], uint64_t seed, uint64_t stream,
                   uint64_t index);

/* Standard normal number of an element (Box and Muller, 1958). Block e/2 gives
 * u (words 0 and 1) and v (words 2 and 3), uniform on [0, 1); its elements are
 *     √(-2 log(1 - u)) · cos 2πv (even e) and · sin 2πv (odd e).
 * All in f64 by elementary.h. Magnitudes stay below 8.6. */
double draw_normal(uint64_t seed, uint64_t stream, uint64_t element);

/* out[i] = (float)(std · draw_normal(seed, stream, first + i)), i < count: part
 * of a parameter's initial weights, whatever the parts it is asked for in. */
void draw_normals(float *out, int64_t count, uint64_t first, double std,
                  uint64_t seed, uint64_t stream);

/* Where a permutation of 0 … count-1, 1 <= count < 2^62, puts `index`. It is
 * drawn by (seed, stream) and takes no memory: a Feistel network of 8 rounds
 * over the least even number of bits that hold `count`, whose round function is
 * word 0 of the block of index round·2^32 + half, applied again until the
 * result is below count (less than 4 times on average). */
uint64_t draw_permuted(uint64_t index, uint64_t count, uint64_t seed,
                       uint64_t stream);
#endif
