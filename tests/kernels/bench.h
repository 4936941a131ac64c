/* bench.h: what the benchmarks share: time, a team that runs a kernel many times, the
 * machine's multiply-add rate beside every number, medians. */
#ifndef BENCH_H
#define BENCH_H
#include "kernels.h"

/* Time; of one thread's work its own processor time, which other processes on the
 * machine disturb less. */
double seconds(int threads);

/* Median over `samples` of the time of one call of work(me, argument, turn), turn
 * = 0, 1, …; each sample makes `calls` calls, a barrier after each, on `threads`
 * threads that have `floats` floats of workspace each. */
typedef void (*BenchWork)(const Thread *me, void *argument, long turn);
double bench_team(int threads, long floats, int samples, int calls, BenchWork work, void *argument);
double median(double *values, int count);

/* Multiply-adds a second, times two, of `threads` threads at this moment. */
double peak_flops(int threads);
/* Nanoseconds for a cache line to go to another thread and back: some machines
 * move between one third-level cache and two. */
double round_trip(void);

/* Zeroed memory on huge pages, filled with numbers in [-1, 1). */
float *bench_array(long count, uint32_t seed);
#endif
