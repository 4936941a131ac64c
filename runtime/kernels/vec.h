/* vec.h: vectors of the machine's own width, for the kernels written by hand.
 *
 * A vf is VL floats: 16 with AVX-512, 8 with AVX2, 4 elsewhere. No result may
 * depend on VL: lanes are either independent outputs, or the 16 fixed partial
 * sums of a row, which 16/VL vectors hold together (lanes.h). Everything that is
 * peculiar to an instruction set stands in this file, a few lines each. Other
 * files write +, -, *, / on vectors and call these functions. Nothing is ever
 * contracted (-ffp-contract=off): only vfma fuses.
 *
 * The wider type of lanes.h is not used in the big kernels because gcc 12 keeps
 * a vector that is wider than the machine's registers in memory.
 * SPDX-License-Identifier: 0BSD */
#ifndef VEC_H
#define VEC_H
#include <stdint.h>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define VL 16
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define VL 8
#else
#define VL 4
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
/* The same at any address, and of any type in memory. */
typedef float vf_unaligned __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vf vload(const float *p) { return *(const vf_unaligned *)p; }
INLINE void vstore(float *p, vf v) { *(vf_unaligned *)p = v; }
INLINE vf vset(float x) { return x - (vf){0}; }     /* x - 0 is x, for -0 too */
INLINE vi vseti(int32_t x) { return x - (vi){0}; }
/* v, held in a register: gcc 12 would rather load it anew for each use. */
INLINE vf vhold(vf v)
{
#if VL > 4 && !defined(__clang__)
    __asm__("" : "+v"(v));
#endif
    return v;
}
/* a where the mask's lane is all ones, b where it is 0. */
INLINE vf vpick(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}
INLINE vf vabs(vf x) { return (vf)((vi)x & vseti(0x7fffffff)); }
/* 0, 1, 2, … */
INLINE vi vcount(void)
{
    vi v = {0};
    for (int i = 0; i < VL; i++)
        v[i] = i;
    return v;
}

/* vfma: a·b + c, rounded once. vsqrt: rounded once.
 * vmax: a > b ? a : b. vless: x < y ? a : b (so NaN gives b). */
#if defined(__clang__)
INLINE vf vfma(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
INLINE vf vsqrt(vf a) { return __builtin_elementwise_sqrt(a); }
INLINE vf vmax(vf a, vf b) { return vpick(a > b, a, b); }
INLINE vf vless(vf x, vf y, vf a, vf b) { return vpick(x < y, a, b); }
#elif VL == 16
INLINE vf vfma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vf vsqrt(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
INLINE vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf vless(vf x, vf y, vf a, vf b)
{
    __mmask16 less = _mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_LT_OQ);
    return (vf)_mm512_mask_blend_ps(less, (__m512)b, (__m512)a);
}
#elif VL == 8
INLINE vf vfma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE vf vsqrt(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
INLINE vf vmax(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf vless(vf x, vf y, vf a, vf b)
{
    __m256 less = _mm256_cmp_ps((__m256)x, (__m256)y, _CMP_LT_OQ);
    return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, less);
}
#else
INLINE vf vfma(vf a, vf b, vf c)
{
    for (int i = 0; i < VL; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
INLINE vf vsqrt(vf a)
{
    for (int i = 0; i < VL; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vf vmax(vf a, vf b) { return vpick((vi)(a > b), a, b); }
INLINE vf vless(vf x, vf y, vf a, vf b) { return vpick((vi)(x < y), a, b); }
#endif

/* The first n >= 1 lanes from memory, the others 0, and back; nothing past them
 * is touched. n >= VL: all of them. */
#if VL == 16
INLINE __mmask16 vfirst(long n) { return (__mmask16)(n >= VL ? 0xffff : (1u << n) - 1); }
INLINE vf vload_first(const float *p, long n) { return (vf)_mm512_maskz_loadu_ps(vfirst(n), p); }
INLINE void vstore_first(float *p, vf v, long n)
{
    _mm512_mask_storeu_ps(p, vfirst(n), (__m512)v);
}
#elif VL == 8
INLINE __m256i vfirst(long n)
{
    return (__m256i)(vcount() < vseti(n >= VL ? VL : (int32_t)n));
}
INLINE vf vload_first(const float *p, long n) { return (vf)_mm256_maskload_ps(p, vfirst(n)); }
INLINE void vstore_first(float *p, vf v, long n)
{
    _mm256_maskstore_ps(p, vfirst(n), (__m256)v);
}
#else
INLINE vf vload_first(const float *p, long n)
{
    vf v = {0};
    for (int i = 0; i < VL; i++)
        if (i < n)
            v[i] = p[i];
    return v;
}
INLINE void vstore_first(float *p, vf v, long n)
{
    for (int i = 0; i < VL; i++)
        if (i < n)
            p[i] = v[i];
}
#endif

/* The sum, or maximum, of the 16 lanes of a row, in as many vectors as they take,
 * folded by halves of 8, 4, 2, 1. */
#define ROTATE(x, ...) __builtin_shufflevector(x, x, __VA_ARGS__)
#if VL == 16
#define ROTATE_8(x) ROTATE(x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define ROTATE_4(x) ROTATE(x, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3)
#define ROTATE_2(x) ROTATE(x, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1)
#define ROTATE_1(x) ROTATE(x, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0)
#elif VL == 8
#define ROTATE_4(x) ROTATE(x, 4, 5, 6, 7, 0, 1, 2, 3)
#define ROTATE_2(x) ROTATE(x, 2, 3, 0, 1, 2, 3, 0, 1)
#define ROTATE_1(x) ROTATE(x, 1, 0, 1, 0, 1, 0, 1, 0)
#else
#define ROTATE_2(x) ROTATE(x, 2, 3, 0, 1)
#define ROTATE_1(x) ROTATE(x, 1, 0, 1, 0)
#endif
INLINE float vfold(const vf lane[16 / VL])
{
#if VL == 16
    vf x = lane[0];
    x = x + ROTATE_8(x);
    x = x + ROTATE_4(x);
#elif VL == 8
    vf x = lane[0] + lane[1];
    x = x + ROTATE_4(x);
#else
    vf x = (lane[0] + lane[2]) + (lane[1] + lane[3]);
#endif
    x = x + ROTATE_2(x);
    x = x + ROTATE_1(x);
    return x[0];
}
INLINE float vfold_max(const vf lane[16 / VL])
{
#if VL == 16
    vf x = lane[0];
    x = vmax(x, ROTATE_8(x));
    x = vmax(x, ROTATE_4(x));
#elif VL == 8
    vf x = vmax(lane[0], lane[1]);
    x = vmax(x, ROTATE_4(x));
#else
    vf x = vmax(vmax(lane[0], lane[2]), vmax(lane[1], lane[3]));
#endif
    x = vmax(x, ROTATE_2(x));
    x = vmax(x, ROTATE_1(x));
    return x[0];
}

/* r is a VL x VL matrix, a row a vector; afterwards it is its transpose. First the
 * 4 x 4 squares are turned, each where it is, then squares change places. The
 * patterns are those that machines have as one instruction. */
#if VL == 16
#define EVEN_PAIRS 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define ODD_PAIRS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_HALVES 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_HALVES 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define EVEN_QUARTERS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define ODD_QUARTERS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif VL == 8
#define EVEN_PAIRS 0, 8, 1, 9, 4, 12, 5, 13
#define ODD_PAIRS 2, 10, 3, 11, 6, 14, 7, 15
#define LOW_HALVES 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_HALVES 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_SQUARES 0, 1, 2, 3, 8, 9, 10, 11
#define HIGH_SQUARES 4, 5, 6, 7, 12, 13, 14, 15
#else
#define EVEN_PAIRS 0, 4, 1, 5
#define ODD_PAIRS 2, 6, 3, 7
#define LOW_HALVES 0, 1, 4, 5
#define HIGH_HALVES 2, 3, 6, 7
#endif
INLINE void vtranspose(vf r[VL])
{
    UNROLL for (int i = 0; i < VL; i += 4) {
        vf a = __builtin_shufflevector(r[i], r[i + 1], EVEN_PAIRS);
        vf b = __builtin_shufflevector(r[i + 2], r[i + 3], EVEN_PAIRS);
        vf c = __builtin_shufflevector(r[i], r[i + 1], ODD_PAIRS);
        vf d = __builtin_shufflevector(r[i + 2], r[i + 3], ODD_PAIRS);
        r[i] = __builtin_shufflevector(a, b, LOW_HALVES);
        r[i + 1] = __builtin_shufflevector(a, b, HIGH_HALVES);
        r[i + 2] = __builtin_shufflevector(c, d, LOW_HALVES);
        r[i + 3] = __builtin_shufflevector(c, d, HIGH_HALVES);
    }
#if VL == 16
    UNROLL for (int i = 0; i < 4; i++) {
        vf a = __builtin_shufflevector(r[i], r[i + 4], EVEN_QUARTERS);
        vf b = __builtin_shufflevector(r[i + 8], r[i + 12], EVEN_QUARTERS);
        vf c = __builtin_shufflevector(r[i], r[i + 4], ODD_QUARTERS);
        vf d = __builtin_shufflevector(r[i + 8], r[i + 12], ODD_QUARTERS);
        r[i] = __builtin_shufflevector(a, b, EVEN_QUARTERS);
        r[i + 4] = __builtin_shufflevector(c, d, EVEN_QUARTERS);
        r[i + 8] = __builtin_shufflevector(a, b, ODD_QUARTERS);
        r[i + 12] = __builtin_shufflevector(c, d, ODD_QUARTERS);
    }
#elif VL == 8
    UNROLL for (int i = 0; i < 4; i++) {
        vf a = r[i], b = r[i + 4];
        r[i] = __builtin_shufflevector(a, b, LOW_SQUARES);
        r[i + 4] = __builtin_shufflevector(a, b, HIGH_SQUARES);
    }
#endif
}
#endif
