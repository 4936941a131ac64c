/* elementary.h: exp, log, tanh, erf and the activations, on vectors of vec.h.
 *
 * Plain IEEE arithmetic and fma in a written order, so that every instruction
 * set and compiler computes the same bits. The coefficients are minimax fits
 * over the ranges given (tests/kernels/fit.py); tests/kernels/test_elementary.c
 * measures the errors against long double: exp, log, tanh and erf within 2 ulp.
 * NaN in gives NaN out, in every function of numbers: a diverged run must show.
 * SPDX-License-Identifier: 0BSD */
#ifndef ELEMENTARY_H
#define ELEMENTARY_H
#include "vec.h"

/* x = n·ln 2 + r, |r| <= ln 2 / 2: exp x = 2ⁿ exp r. Adding 1.5·2²³ rounds to an
 * integer, which then stands in the low bits and is added to the exponent.
 * Below the smallest normal number the result is 0; too large a one is inf. */
INLINE vf vexp(vf x)
{
    const vf round = vset(12582912.0f);
    vf shifted = vfma(x, vset(1.44269504f), round), n = shifted - round;
    vf r = vfma(n, vset(-0.693359375f), x);
    r = vfma(n, vset(2.12194440e-4f), r);
    vf p = vset(0.00138144672f);
    p = vfma(p, r, vset(0.00836878084f));
    p = vfma(p, r, vset(0.0416683927f));
    p = vfma(p, r, vset(0.166665196f));
    p = vfma(p, r, vset(0.49999994f));
    p = vfma(p, r, vset(1.0f));
    p = vfma(p, r, vset(1.0f));
    vf y = (vf)((vu)p + ((vu)shifted << 23));
    y = vless(x, vset(88.7228394f), y, x + vset(__builtin_inff()));
    return vless(x, vset(-87.3365402f), vset(0.0f), y);
}

/* x = 2ⁿ(1 + f), 1 + f in [√½, √2): log x = n·ln 2 + f - f²/2 + f³ p(f).
 * The logarithm of 0 is -inf, of a negative number NaN. */
INLINE vf vlog(vf x)
{
    const vf tiny = vset(1.17549435e-38f);
    vf scaled = vless(x, tiny, x * vset(8388608.0f), x);
    vi above = (vi)scaled - vseti(0x3f3504f3);      /* bits above those of √½ */
    vf n = __builtin_convertvector(above >> 23, vf);
    n = n - vless(x, tiny, vset(23.0f), vset(0.0f));
    vf f = (vf)((above & vseti(0x7fffff)) + vseti(0x3f3504f3)) - vset(1.0f);
    vf square = f * f;
    vf p = vset(0.0674664006f);
    p = vfma(p, f, vset(-0.116756521f));
    p = vfma(p, f, vset(0.11888162f));
    p = vfma(p, f, vset(-0.124055892f));
    p = vfma(p, f, vset(0.142195523f));
    p = vfma(p, f, vset(-0.166679963f));
    p = vfma(p, f, vset(0.200021192f));
    p = vfma(p, f, vset(-0.250000089f));
    p = vfma(p, f, vset(0.333333135f));
    vf y = vfma(n, vset(-2.12194440e-4f), p * f * square);
    y = vfma(square, vset(-0.5f), y);
    y = vfma(n, vset(0.693359375f), f + y);
    const vf infinity = vset(__builtin_inff());
    vf bad = vless(x, vset(0.0f), vset(__builtin_nanf("")), -infinity);
    y = vless(vset(0.0f), x, y, bad);
    return vless(x, infinity, y, x);
}

/* An odd polynomial where |x| < 0.625, else 1 - 2 / (exp 2|x| + 1). */
INLINE vf vtanh(vf x)
{
    vf a = vabs(x), z = x * x;
    vf p = vset(-0.00566697726f);
    p = vfma(p, z, vset(0.0206061769f));
    p = vfma(p, z, vset(-0.0537300073f));
    p = vfma(p, z, vset(0.133313313f));
    p = vfma(p, z, vset(-0.333332777f));
    p = vfma(p * z, x, x);
    vf q = vset(1.0f) - vset(2.0f) / (vexp(a + a) + vset(1.0f));
    q = (vf)((vi)q | ((vi)x & vseti(INT32_MIN)));
    return vless(a, vset(0.625f), p, q);
}

/* An odd polynomial where |x| < 0.92, else 1 - exp(p(|x|)), p the fit of
 * log erfc up to 3.95, from where erf is 1. */
INLINE vf verf(vf x)
{
    vf a = vabs(x), z = x * x;
    vf p = vset(8.31678772e-05f);
    p = vfma(p, z, vset(-0.00081300165f));
    p = vfma(p, z, vset(0.00519990688f));
    p = vfma(p, z, vset(-0.0268589426f));
    p = vfma(p, z, vset(0.112836875f));
    p = vfma(p, z, vset(-0.376126319f));
    p = vfma(p, z, vset(0.128379166f));
    p = vfma(p, x, x);
    vf b = vless(vset(3.95f), a, vset(3.95f), a);
    vf q = vset(-2.09653699e-05f);
    q = vfma(q, b, vset(0.000432966335f));
    q = vfma(q, b, vset(-0.00416382961f));
    q = vfma(q, b, vset(0.0251004286f));
    q = vfma(q, b, vset(-0.108250797f));
    q = vfma(q, b, vset(-0.633373439f));
    q = vfma(q, b, vset(-1.12950182f));
    q = vfma(q, b, vset(0.000171973399f));
    q = vset(1.0f) - vexp(q);
    q = (vf)((vi)q | ((vi)x & vseti(INT32_MIN)));
    return vless(a, vset(0.92f), p, q);
}

INLINE vf vsigmoid(vf x) { return vset(1.0f) / (vset(1.0f) + vexp(-x)); }

/* 0 > x ? 0 : x, so that NaN stays. */
INLINE vf vrelu(vf x) { return vmax(vset(0.0f), x); }
INLINE vf vrelu_grad(vf x) { return vless(vset(0.0f), x, vset(1.0f), x - x); }

/* 1 where x is 0, of either sign; a compare, so the one that takes NaN to 0. */
INLINE vf vis_zero(vf x) { return vpick((vi)(x == vset(0.0f)), vset(1.0f), vset(0.0f)); }

/* x Φ(x), Φ the normal distribution; its derivative is Φ(x) + x φ(x). */
INLINE vf vnormal(vf x)
{
    return vfma(verf(x * vset(0.707106781f)), vset(0.5f), vset(0.5f));
}
INLINE vf vgelu(vf x) { return x * vnormal(x); }
INLINE vf vgelu_grad(vf x)
{
    vf density = vset(0.398942280f) * vexp(vset(-0.5f) * x * x);
    return vfma(x, density, vnormal(x));
}

/* GPT-2's: x (1 + tanh u) / 2 = x σ(2u), u = √(2/π) (x + 0.044715 x³). In the
 * derivatives 1 - σ(v) is exp(-v) σ(v), which loses nothing where σ is near 1. */
INLINE vf vgelu_tanh_twice_u(vf x)
{
    return x * vfma(x * x, vset(0.0713548163f), vset(1.59576912f));
}
INLINE vf vgelu_tanh(vf x) { return x * vsigmoid(vgelu_tanh_twice_u(x)); }
INLINE vf vgelu_tanh_grad(vf x)
{
    vf e = vexp(-vgelu_tanh_twice_u(x)), gate = vset(1.0f) / (vset(1.0f) + e);
    vf slope = vfma(x * x, vset(0.214064449f), vset(1.59576912f));
    vf rest = vless(e, vset(1e30f), e * gate, vset(1.0f));
    return vfma(x * gate * rest, slope, gate);
}

INLINE vf vsilu(vf x) { return x * vsigmoid(x); }
INLINE vf vsilu_grad(vf x)
{
    vf e = vexp(-x), gate = vset(1.0f) / (vset(1.0f) + e);
    vf rest = vless(e, vset(1e30f), e * gate, vset(1.0f));
    return vfma(x * gate, rest, gate);
}
#endif
