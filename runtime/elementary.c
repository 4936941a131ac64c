/* elementary.c: see elementary.h. Each function reduces its argument to a small
 * interval, without losing bits, and sums the Taylor series there by Horner's
 * rule with the largest term added last. Read the identity above each; nothing
 * else is needed. A value written (high, low) is their unrounded sum, low being
 * below half a unit in the last place of high.
 * SPDX-License-Identifier: 0BSD */
#include "elementary.h"
#include <stdint.h>
#include <string.h>

/* Contraction would make the bits depend on whether the CPU has fma. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

static const double infinity = __builtin_inf();
static const double not_a_number = __builtin_nan("");

/* ln 2 in two parts; the first has 32 bits: times an exponent it is exact. */
static const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The nearest whole number, ties to even, for |x| < 2^51: adding 1.5·2^52
 * leaves no room for a fraction. */
static double nearest(double x)
{
    const double big = 0x1.8p52;
    return (x + big) - big;
}

/* x·2^k for a normal x near 1 and |k| < 1100: two steps, of which at most the
 * second one rounds. */
static double scale(double x, int k)
{
    int half = k / 2;
    return x * from_bits((uint64_t)(1023 + half) << 52) *
           from_bits((uint64_t)(1023 + k - half) << 52);
}

/* e^(high + low) = 2^k e^(r + c): k = round(high / ln 2), |r| < 0.35,
 * r + c = high - k ln 2 + low, and e^r = 1 + r + r²(1/2! + r/3! + …). */
static double exp_of_sum(double high, double low)
{
    if (high != high)
        return high;
    if (high > 710)
        return infinity;
    if (high < -746)
        return 0;
    double k = nearest(high * 0x1.71547652b82fep0);         /* 1/ln 2 */
    double a = high - k * ln2_high, b = k * ln2_low - low;  /* a is exact */
    double r = a - b, c = (a - r) - b;
    double p = 1.0 / 6227020800;                            /* 1/13! */
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 1.0 / 2;
    double one_plus_r = 1 + r, lost = r - (one_plus_r - 1);
    return scale(one_plus_r + (lost + (c * one_plus_r + p * (r * r))), (int)k);
}

double f64_exp(double x)
{
    return exp_of_sum(x, 0);
}

/* Takes x > 0 apart: x = 2^*k · m, √½ <= m < √2. Returns m - 1: it is exact. */
static double split_power(double x, int *k)
{
    *k = 0;
    if (x < 0x1p-1022) {                    /* denormal: make it normal */
        x *= 0x1p54;
        *k = -54;
    }
    uint64_t bits = to_bits(x);
    *k += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffff) | (uint64_t)1023 << 52);
    if (m > 0x1.6a09e667f3bcdp0) {          /* √2 */
        m *= 0.5;
        *k += 1;
    }
    return m - 1;
}

/* The terms of atanh(s)/s = 1 + z/3 + z²/5 + …, z = s² < 0.03, from z^first on,
 * divided by z^first. */
static double atanh_tail(double z, int first)
{
    static const double odd[] = {
        1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
        1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23,
    };
    double p = 0;
    for (int i = 11; i >= first; i--)
        p = p * z + odd[i];
    return p;
}

/* log x = k ln 2 + log(1 + f). With s = f/(2 + f), log(1 + f) = 2 atanh(s)
 * = 2s + R, and 2s = f - s f = f - (h - s h) where h = f²/2. */
double f64_log(double x)
{
    if (x != x || x < 0)
        return not_a_number;
    if (x == 0)
        return -infinity;
    if (x == infinity)
        return x;
    int k;
    double f = split_power(x, &k), s = f / (2 + f), z = s * s;
    double tail = 2 * (z * atanh_tail(z, 1)), h = 0.5 * (f * f);
    return k * ln2_high - ((h - (s * (h + tail) + k * ln2_low)) - f);
}

/* ---- pow: the logarithm and the product need more than 53 bits ---------- */

typedef struct Pair { double high, low; } Pair;

/* a + b, exactly; |a| >= |b|. */
static Pair sum(double a, double b)
{
    double high = a + b;
    return (Pair){ high, b - (high - a) };
}

/* a·b, exactly: fma rounds once, so its result here is the product's error. */
static Pair product(double a, double b)
{
    double high = a * b;
    return (Pair){ high, __builtin_fma(a, b, -high) };
}

/* log x for x > 0 to about 65 bits: 2s + 2s·z/3 in pairs, the rest of the
 * series, which is below 2^-12 of it, in double; then k ln 2. */
static Pair log_pair(double x)
{
    int k;
    double f = split_power(x, &k);
    Pair below = sum(2, f);
    double s = f / below.high;
    Pair back = product(s, below.high);
    double s_low = (((f - back.high) - back.low) - s * below.low) / below.high;
    Pair z = product(s, s);
    z.low += 2 * (s * s_low);
    Pair cube = product(s, z.high);                         /* s³ */
    cube.low += s * z.low + s_low * z.high;
    Pair third = { cube.high / 3, 0 };
    Pair three = product(third.high, 3);
    third.low = (((cube.high - three.high) - three.low) + cube.low) / 3;
    double rest = cube.high * (z.high * atanh_tail(z.high, 2));
    Pair m = sum(s, third.high);
    m.low += s_low + (third.low + rest);                    /* atanh(s) */
    Pair base = sum(k * ln2_high, 2 * m.high);
    if (k == 0)
        base = (Pair){ 2 * m.high, 0 };
    return sum(base.high, base.low + (2 * m.low + k * ln2_low));
}

/* x^y = e^(y log x). */
double f64_pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (x != x || y != y || x < 0)
        return not_a_number;
    if (x == 0)
        return y > 0 ? 0 : infinity;
    if (x == infinity)
        return y > 0 ? infinity : 0;
    Pair log = log_pair(x);
    Pair whole = product(y, log.high);
    if (whole.high - whole.high != 0)       /* infinite: so is the exponent */
        return (y > 0) == (x > 1) ? infinity : 0;
    return exp_of_sum(whole.high, whole.low + y * log.low);
}

/* ---- sin and cos -------------------------------------------------------- */

/* π/2 in five parts. The first four have 22 bits each: times a whole number
 * below 2^30 they are exact. The last is the rest. */
static const double quarter[5] = {
    0x1.921fbp+0, 0x1.5110bp-22, 0x1.184698p-44, 0x1.3198ap-69,
    0x1.701b839a25205p-92,
};

/* x = n π/2 + r.high + r.low with |r| <= π/4; returns n mod 4. For |x| <= 2^30
 * the first two subtractions are exact (the results are multiples of the last
 * place of x or of the second part, and small); the other three keep what they
 * round off, so that r is good to 2^-110 and, as no double in this range is
 * nearer than 2^-62 to a multiple of π/2, to 48 bits more than it has zeros. */
static int reduce(double x, Pair *r)
{
    double n = nearest(x * 0x1.45f306dc9c883p-1);           /* 2/π */
    double a = (x - n * quarter[0]) - n * quarter[1], low = 0;
    for (int i = 2; i < 5; i++) {
        double b = n * quarter[i], next = a - b, part = next - a;
        low += (a - (next - part)) - (b + part);            /* a - b - next */
        a = next;
    }
    *r = sum(a, low);
    return (int)((int64_t)n & 3);
}

/* sin(r + c) = r + (c + r³(-1/3! + r²/5! - …) - c r²/2) for |r| < 0.79. */
static double sin_near(Pair r)
{
    double z = r.high * r.high, p = 1.0 / 355687428096000;  /* 1/17! */
    p = p * z - 1.0 / 1307674368000;
    p = p * z + 1.0 / 6227020800;
    p = p * z - 1.0 / 39916800;
    p = p * z + 1.0 / 362880;
    p = p * z - 1.0 / 5040;
    p = p * z + 1.0 / 120;
    p = p * z - 1.0 / 6;
    return r.high + (p * (z * r.high) + r.low * (1 - 0.5 * z));
}

/* cos(r + c) = 1 - h + (z²(1/4! - z/6! + …) - r c), z = r², h = z/2. What 1 - h
 * rounds off is added back. */
static double cos_near(Pair r)
{
    double z = r.high * r.high, p = 1.0 / 20922789888000;   /* 1/16! */
    p = p * z - 1.0 / 87178291200;
    p = p * z + 1.0 / 479001600;
    p = p * z - 1.0 / 3628800;
    p = p * z + 1.0 / 40320;
    p = p * z - 1.0 / 720;
    p = p * z + 1.0 / 24;
    double h = 0.5 * z, one_less_h = 1 - h;
    double lost = (1 - one_less_h) - h;
    return one_less_h + (lost + (p * (z * z) - r.high * r.low));
}

/* sin(x + turn·π/2). */
static double sin_turned(double x, int turn)
{
    if (!(x >= -0x1p30 && x <= 0x1p30))
        return not_a_number;
    Pair r;
    switch ((reduce(x, &r) + turn) & 3) {
    case 0: return sin_near(r);
    case 1: return cos_near(r);
    case 2: return -sin_near(r);
    default: return -cos_near(r);
    }
}

double f64_sin(double x)
{
    return sin_turned(x, 0);
}

double f64_cos(double x)
{
    return sin_turned(x, 1);
}
