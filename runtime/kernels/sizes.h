/* sizes.h: the block sizes of the big kernels at each vector length (VL of vec.h),
 * and the workspace they come to. The compiler plans with the maximum over all
 * levels, so it includes this file too, and nothing here depends on the flags of
 * a compilation.
 * SPDX-License-Identifier: 0BSD */
#ifndef SIZES_H
#define SIZES_H

/* Matrix products (gemm.c). A tile of the result is kept in registers: rows by
 * two vectors of columns. */
#define TILE_ROWS(vl) ((vl) == 16 ? 14 : 6)
#define TILE_COLUMNS(vl) (2 * (vl))
/* Steps of the summed axis packed at a time; rows packed at a time; floats of the
 * block of columns that stays in the second-level cache while all rows pass. */
#define BLOCK_STEPS(vl) ((vl) == 16 ? 768 : 384)
#define BLOCK_ROWS(vl) (1024 / TILE_ROWS(vl) * TILE_ROWS(vl))
#define BLOCK_FLOATS (128 * 768)

/* Floats of a packed panel. Rows are stored as whole vectors, each overwriting
 * the excess of the one before; the last one's excess needs room of its own. */
#define PANEL(vl, width, steps) (((width) * (steps) + ((width) % (vl) ? (vl) : 0) + 15) / 16 * 16)
/* How many panels of columns make a block. */
#define BLOCK_PANELS(vl, steps) (BLOCK_FLOATS / PANEL(vl, TILE_COLUMNS(vl), steps))

/* Attention (attention.c): queries of a block, whose scores are kept for all its
 * keys. */
#define ATTENTION_QUERIES 32

#endif
