/* elementary.c (test): the runtime's exp, log, sin, cos and pow against libm's
 * 80-bit versions, in units of the last place, over millions of arguments;
 * exact and special values; a sum of the bits of many results, which every
 * compiler, CPU and flag must reproduce.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/elementary.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Stream {
    uint64_t state;
} Stream;

static uint64_t next_bits(Stream *s)    /* splitmix64 */
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static double between(Stream *s, double from, double to)
{
    /* volatile: contracted to fma, the arguments would depend on the CPU. */
    volatile double part =
        (to - from) * ((double)(next_bits(s) >> 11) * 0x1p-53);
    return from + part;
}

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

/* |got - want| in units of the last place of want as a double. */
static double ulps(double got, long double want)
{
    double rounded = (double)want;
    if (isnan(got) || isnan(rounded))
        return isnan(got) && isnan(rounded) ? 0 : 1e300;
    if (isinf(got) || isinf(rounded))
        return got == rounded ? 0 : 1e300;
    int e;
    frexp(rounded, &e);
    if (e < -1021)
        e = -1021;
    return (double)(fabsl((long double)got - want) / ldexpl(1, e - 53));
}

static void worse(double *worst, double *at, double error, double x)
{
    if (error > *worst) {
        *worst = error;
        *at = x;
    }
}

enum { MANY = 1000000 };

static void test_exp(Checks *c)
{
    Stream s = { 1 };
    double worst = 0, at = 0;
    for (int i = 0; i < MANY; i++) {
        double x = i & 1 ? between(&s, -750, 712) : between(&s, -2, 2);
        worse(&worst, &at, ulps(f64_exp(x), expl(x)), x);
    }
    printf("exp: %.3f ulp at %a\n", worst, at);
    check(c, worst < 1, "exp(%a) is off by %g", at, worst);
    check(c, f64_exp(0) == 1 && f64_exp(-0.0) == 1, "e^0");
    check(c, f64_exp(INFINITY) == INFINITY && f64_exp(1e308) == INFINITY,
          "e^inf");
    check(c, f64_exp(-INFINITY) == 0 && f64_exp(-1e308) == 0, "e^-inf");
    check(c, isnan(f64_exp(NAN)), "e^nan");
    check(c, f64_exp(-745.1) == 0x1p-1074, "e^-745.1 is the least denormal");
}

static void test_log(Checks *c)
{
    Stream s = { 2 };
    double worst = 0, at = 0;
    for (int i = 0; i < MANY; i++) {
        double x = i & 1 ? from_bits(next_bits(&s) >> 1) : between(&s, 0, 3);
        if (i % 16 == 0)
            x = 1 + between(&s, -1e-3, 1e-3);
        if (isfinite(x) && x > 0)
            worse(&worst, &at, ulps(f64_log(x), logl(x)), x);
    }
    printf("log: %.3f ulp at %a\n", worst, at);
    check(c, worst < 1, "log(%a) is off by %g", at, worst);
    check(c, f64_log(1) == 0, "log 1");
    check(c, f64_log(0) == -INFINITY, "log 0");
    check(c, f64_log(INFINITY) == INFINITY, "log inf");
    check(c, isnan(f64_log(-1)) && isnan(f64_log(NAN)), "log of no number");
    check(c, ulps(f64_log(0x1p-1074), logl(0x1p-1074L)) < 1,
          "log of a denormal");
}

static void test_sin_cos(Checks *c)
{
    Stream s = { 3 };
    double worst[2] = { 0 }, at[2] = { 0 };
    for (int i = 0; i < 2 * MANY; i++) {
        double x = between(&s, -7, 7);
        if (i % 4 == 1)
            x = between(&s, -0x1p30, 0x1p30);
        if (i % 4 == 2)     /* as near as a double comes to a multiple of π/2 */
            x = (double)((long double)(next_bits(&s) >> 35) *
                         1.57079632679489661923L);
        if (i % 4 == 3)
            x = from_bits(next_bits(&s) % to_bits(0x1p30));
        worse(&worst[0], &at[0], ulps(f64_sin(x), sinl(x)), x);
        worse(&worst[1], &at[1], ulps(f64_cos(x), cosl(x)), x);
    }
    printf("sin: %.3f ulp at %a, cos: %.3f at %a\n", worst[0], at[0], worst[1],
           at[1]);
    check(c, worst[0] < 1, "sin(%a) is off by %g", at[0], worst[0]);
    check(c, worst[1] < 1, "cos(%a) is off by %g", at[1], worst[1]);
    check(c, f64_sin(0) == 0 && f64_cos(0) == 1, "sin 0, cos 0");
    check(c, f64_cos(F64_PI) == -1, "cos pi");
    check(c, isnan(f64_sin(INFINITY)) && isnan(f64_cos(NAN)) &&
          isnan(f64_sin(0x1.8p30)), "sin outside of its range");
    check(c, ulps(f64_sin(0x1p30), sinl(0x1p30L)) < 1, "sin 2^30");
}

static void test_pow(Checks *c)
{
    Stream s = { 4 };
    double worst = 0, at = 0, power = 0;
    for (int i = 0; i < MANY; i++) {
        double x = between(&s, 0, 4), y = between(&s, -300, 300);
        if (i % 4 == 1)
            x = between(&s, 0.9, 1), y = (double)(next_bits(&s) % 10000);
        if (i % 4 == 2)
            x = 10000, y = -between(&s, 0, 1);
        if (i % 4 == 3)
            x = from_bits(next_bits(&s) >> 1), y = between(&s, -1, 1);
        long double want = powl(x, y);
        if (!isfinite(x) || want == 0)
            continue;
        if (ulps(f64_pow(x, y), want) > worst)
            power = y;
        worse(&worst, &at, ulps(f64_pow(x, y), want), x);
    }
    printf("pow: %.3f ulp at %a, %a\n", worst, at, power);
    check(c, worst < 1, "pow(%a, %a) is off by %g", at, power, worst);
    for (int n = 0; n < 50; n++)
        check(c, f64_pow(2, n) == (double)(1LL << n), "2^%d", n);
    for (int n = 0; n < 23; n++)
        check(c,
              f64_pow(10, n) ==
                  (double)strtold((char[]){ '1', 'e', (char)('0' + n / 10),
                                            (char)('0' + n % 10), 0 },
                                  NULL),
              "10^%d", n);
    check(c, f64_pow(0, 0) == 1 && f64_pow(NAN, 0) == 1 && f64_pow(1, NAN) == 1,
          "1");
    check(c, f64_pow(0, 2) == 0 && f64_pow(0, -2) == INFINITY, "powers of 0");
    check(c,
          f64_pow(2, INFINITY) == INFINITY && f64_pow(0.5, INFINITY) == 0 &&
              f64_pow(2, -INFINITY) == 0 && f64_pow(0.5, -1e300) == INFINITY,
          "limits");
    check(c, isnan(f64_pow(-1, 2)) && isnan(f64_pow(2, NAN)), "no number");
}

/* Every build must print, and find, the same sum. */
static void test_bits(Checks *c)
{
    Stream s = { 5 };
    uint64_t sum = 0;
    for (int i = 0; i < MANY / 4; i++) {
        double x = between(&s, -30, 30), y = between(&s, 0, 30);
        volatile double angle = x * y;
        sum = sum * 31 + to_bits(f64_exp(x));
        sum = sum * 31 + to_bits(f64_log(y));
        sum = sum * 31 + to_bits(f64_sin(angle));
        sum = sum * 31 + to_bits(f64_cos(1000 * angle));
        sum = sum * 31 + to_bits(f64_pow(y, x));
    }
    printf("bits: %016llx\n", (unsigned long long)sum);
    check(c, sum == 0xa654a61013027cd8, "the bits changed");
}

int main(void)
{
    Checks checks = { .name = "elementary" };
    test_exp(&checks);
    test_log(&checks);
    test_sin_cos(&checks);
    test_pow(&checks);
    test_bits(&checks);
    return check_end(&checks);
}
