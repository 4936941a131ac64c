/* lanes.h: 16 floats at once, the vocabulary of generated code. A row's sum has
 * 16 lanes on every machine (docs/architecture.md, section 7), so generated
 * loops step by 16 columns, and only what is computed with an f32x16 depends on
 * how wide the machine is: it is cut into 16/VL vectors of vec.h.
 *
 *     f32x16 x = load16(in + c);
 *     store16(out + c, x * sigmoid16(x));
 *
 * Operators work on an f32x16 as on a float, and between one and a float.
 * Compiled with -DLANES_EXTERN (lanes.c) the functions are external, for the
 * compiler's own use as LLVM bitcode.
 * SPDX-License-Identifier: 0BSD */
#ifndef LANES_H
#define LANES_H
#include "dropout.h"
#include "elementary.h"

/* Every function here is inlined, so the ABI of wide vectors never matters, here or
 * in the rest of the file. (gcc below AVX-512 remarks on it all the same: give it
 * -Wno-psabi; and -mmove-max=256 -mstore-max=256 make it copy an f32x16 by halves.) */
#pragma GCC diagnostic ignored "-Wpsabi"

#ifdef LANES_EXTERN
#define LANE __attribute__((always_inline))
#else
#define LANE static inline __attribute__((always_inline, unused))
#endif

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));

/* An f32x16 as machine vectors, lanes in order. */
#define LANE_PARTS (16 / VL)
typedef union LaneParts { f32x16 whole; vf part[LANE_PARTS]; } LaneParts;
static const i32x16 lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* ---- memory ---------------------------------------------------------------- */
LANE f32x16 splat(float x) { return x - (f32x16){0}; }

LANE f32x16 load16(const float *p)
{
    LaneParts v;
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        v.part[i] = vload(p + i * VL);
    return v.whole;
}

LANE void store16(float *p, f32x16 x)
{
    LaneParts v = {x};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        vstore(p + i * VL, v.part[i]);
}

/* The end of a row: n >= 1 elements exist (n >= 16: all 16). */
LANE f32x16 load_tail(const float *p, long n)
{
    LaneParts v = {splat(0.0f)};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        if (n > i * VL)
            v.part[i] = vload_first(p + i * VL, n - i * VL);
    return v.whole;
}

LANE void store_tail(float *p, f32x16 x, long n)
{
    LaneParts v = {x};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        if (n > i * VL)
            vstore_first(p + i * VL, v.part[i], n - i * VL);
}

/* fresh in lanes below n, old in the others. */
LANE f32x16 keep(long n, f32x16 fresh, f32x16 old)
{
    int32_t first = n < 16 ? (int32_t)n : 16;
    i32x16 mask = lane_numbers < first - (i32x16){0};
    return (f32x16)((mask & (i32x16)fresh) | (~mask & (i32x16)old));
}

/* ---- folds: halves of 8, 4, 2, 1 lanes ------------------------------------- */
LANE float max_f32(float a, float b) { return a > b ? a : b; }

LANE float fold_add(f32x16 x)
{
    LaneParts v = {x};
    return vfold(v.part);
}

LANE float fold_max(f32x16 x)
{
    LaneParts v = {x};
    return vfold_max(v.part);
}

/* ---- functions of 16 lanes, and of one by the same code --------------------- */
#define LANE_FUNCTION(name, of_vector)                          \
    LANE f32x16 name##16(f32x16 x)                              \
    {                                                           \
        LaneParts v = {x};                                      \
        UNROLL for (int i = 0; i < LANE_PARTS; i++)             \
            v.part[i] = of_vector(v.part[i]);                   \
        return v.whole;                                         \
    }                                                           \
    LANE float name##_f32(float x) { return of_vector(vset(x))[0]; }

LANE_FUNCTION(exp, vexp)
LANE_FUNCTION(log, vlog)
LANE_FUNCTION(tanh, vtanh)
LANE_FUNCTION(erf, verf)
LANE_FUNCTION(sigmoid, vsigmoid)                    /* 1 / (1 + exp(-x)) */
LANE_FUNCTION(is_zero, vis_zero)                    /* 1 where x == 0, else 0 */
LANE_FUNCTION(relu, vrelu)
LANE_FUNCTION(relu_grad, vrelu_grad)                /* a derivative each */
LANE_FUNCTION(gelu, vgelu)                          /* the exact form, by erf */
LANE_FUNCTION(gelu_grad, vgelu_grad)
LANE_FUNCTION(gelu_tanh, vgelu_tanh)
LANE_FUNCTION(gelu_tanh_grad, vgelu_tanh_grad)
LANE_FUNCTION(silu, vsilu)                          /* x sigmoid(x) */
LANE_FUNCTION(silu_grad, vsilu_grad)

LANE f32x16 sqrt16(f32x16 x)
{
    LaneParts v = {x};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        v.part[i] = vsqrt(v.part[i]);
    return v.whole;
}
LANE float sqrt_f32(float x) { return __builtin_sqrtf(x); }

/* a·b + c, rounded once. */
LANE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c)
{
    LaneParts u = {a}, v = {b}, w = {c};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        w.part[i] = vfma(u.part[i], v.part[i], w.part[i]);
    return w.whole;
}
LANE float fma_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/* a > b ? a : b. */
LANE f32x16 max16(f32x16 a, f32x16 b)
{
    LaneParts u = {a}, v = {b};
    UNROLL for (int i = 0; i < LANE_PARTS; i++)
        v.part[i] = vmax(u.part[i], v.part[i]);
    return v.whole;
}

/* 1 in the lane l where column + l is the target, 0 in the others. */
LANE f32x16 onehot16(long column, int32_t target)
{
    long lane = target - column;
    int32_t at = lane < 0 || lane > 15 ? -1 : (int32_t)lane;
    i32x16 mask = lane_numbers == at - (i32x16){0};
    return (f32x16)(mask & (i32x16)splat(1.0f));
}

/* Columns column … of a row of two halves (a, b) turned to (-b, a), as rotary
 * positions want it; unrotate16 turns back, to (b, -a). 0 beyond the row. */
LANE f32x16 rotate16(const float *row, long column, long half)
{
    if (column + 16 <= half)
        return -load16(row + column + half);
    if (column >= half && column + 16 <= 2 * half)
        return load16(row + column - half);
    f32x16 turned = splat(0.0f);
    for (int i = 0; i < 16; i++)
        if (column + i < 2 * half)
            turned[i] = column + i < half ? -row[column + i + half] : row[column + i - half];
    return turned;
}
LANE f32x16 unrotate16(const float *row, long column, long half)
{
    if (column + 16 <= half)
        return load16(row + column + half);
    if (column >= half && column + 16 <= 2 * half)
        return -load16(row + column - half);
    f32x16 turned = splat(0.0f);
    for (int i = 0; i < 16; i++)
        if (column + i < 2 * half)
            turned[i] = column + i < half ? row[column + i + half] : -row[column + i - half];
    return turned;
}

/* What dropout multiplies columns column … column + 15 of a row by; column is a
 * multiple of 16. Four counters run side by side, one a 64-bit lane. */
LANE f32x16 dropout16(uint64_t seed, uint32_t step, uint32_t site, uint32_t row, uint32_t column,
                      float rate)
{
    typedef uint64_t u64x4 __attribute__((vector_size(32)));
    const u64x4 zero = {0}, low = zero + 0xffffffffu;
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    u64x4 c0 = zero + row, c1 = (u64x4){0, 1, 2, 3} + column / 4;
    u64x4 c2 = zero + site, c3 = zero + step;
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        u64x4 p0 = c0 * PHILOX_M0, p1 = c2 * PHILOX_M1;
        c0 = (p1 >> 32) ^ c1 ^ key0;
        c2 = (p0 >> 32) ^ c3 ^ key1;
        c1 = p1 & low;
        c3 = p0 & low;
        key0 += PHILOX_W0;
        key1 += PHILOX_W1;
    }
    u32x16 word = {0};
    UNROLL for (int i = 0; i < 4; i++) {
        word[4 * i] = (uint32_t)c0[i];
        word[4 * i + 1] = (uint32_t)c1[i];
        word[4 * i + 2] = (uint32_t)c2[i];
        word[4 * i + 3] = (uint32_t)c3[i];
    }
    i32x16 kept = word >= dropout_threshold(rate) - (u32x16){0};
    return (f32x16)(kept & (i32x16)splat(1.0f / (1.0f - rate)));
}
#endif
