/* harness.h: what the kernels' tests share: guarded arrays, a thread team, random
 * numbers and the count of what passed.
 *
 * A guarded array lies against a page that must not be touched, at its end or at
 * its beginning in turn, with a pattern on its other side that is checked when it
 * is freed. So a read or a write outside one end dies at once. */
#ifndef HARNESS_H
#define HARNESS_H
#include "kernels.h"
#include <stdbool.h>
#include <stddef.h>

float *guarded(long count);
/* Dies with a message where the pattern beside the array was written to. */
void unguard(float *array);

/* Calls work(me, argument) on `threads` threads, each with a guarded workspace of
 * `floats` floats that holds NaN. */
void team_run(int threads, long floats, void (*work)(const Thread *, void *), void *argument);

/* Uniform in [-1, 1), the same sequence on every machine. */
void random_fill(float *to, long count, uint32_t seed);
uint32_t random_next(uint32_t *state);

/* Counts one check; prints the description if it failed. */
void check(bool passed, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The first index where the bits differ, or -1. */
long first_difference(const float *a, const float *b, long count);
/* Prints `N passed, M failed`; the exit status. */
int finish(const char *name);
#endif
