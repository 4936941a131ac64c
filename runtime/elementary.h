/* elementary.h: exp, log, sin, cos and pow of doubles, for what a program
 * computes once: learning rates, Adam's beta^t, position tables, initial
 * weights. Unlike libm's they give the same bits on every machine, with every
 * compiler and C library: they are made of IEEE additions, multiplications and
 * divisions in a fixed order, and of fma where it is exact by definition.
 *
 * Errors are below 1 unit in the last place (tests/runtime_files/elementary.c
 * measures them). Compile with -ffp-contract=off, never with -ffast-math.
 * SPDX-License-Identifier: 0BSD */
#ifndef ELEMENTARY_F64_H
#define ELEMENTARY_F64_H

#define F64_PI 3.14159265358979323846

/* e^x; 0 below about -745, infinity above about 709.8. */
double f64_exp(double x);

/* The natural logarithm; -infinity at 0, NaN below. */
double f64_log(double x);

/* x in radians, |x| <= 2^30 (positions and angles): NaN beyond. */
double f64_sin(double x);
double f64_cos(double x);

/* x^y for x >= 0: 1 where y is 0 or x is 1; NaN for x < 0. */
double f64_pow(double x, double y);
#endif
