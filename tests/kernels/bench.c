/* bench.c: see bench.h. */
#define _GNU_SOURCE
#include "bench.h"
#include "vec.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64 };

double seconds(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

float *bench_array(long count, uint32_t seed)
{
    const size_t huge = 2u << 20;
    size_t bytes = ((size_t)count * sizeof(float) + huge - 1) / huge * huge;
    char *whole = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);
    if (whole == MAP_FAILED) {
        fprintf(stderr, "bench: out of memory\n");
        exit(3);
    }
    float *array = (float *)(void *)(whole + (huge - (uintptr_t)whole % huge) % huge);
    madvise(array, bytes, MADV_HUGEPAGE);
    uint32_t state = seed;
    for (long i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        array[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return array;
}

/* ---- a team: threads live for one sample, barriers spin ---------------------------- */
struct Team { _Alignas(64) atomic_int arrived; _Alignas(64) atomic_int round; int count; };
typedef struct Member {
    Thread thread;
    int calls;
    BenchWork work;
    void *argument;
    double time;
} Member;

void barrier(const Thread *me)
{
    struct Team *team = me->team;
    int round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) == team->count - 1) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->round, 1);
        return;
    }
    for (long spins = 0; atomic_load(&team->round) == round; spins++)
        if (spins > 20000)
            sched_yield();
}

static void *member_start(void *argument)
{
    Member *m = argument;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(m->thread.index % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    m->work(&m->thread, m->argument, 0);            /* warm */
    barrier(&m->thread);
    double start = seconds(m->thread.count);
    for (int i = 0; i < m->calls; i++) {
        m->work(&m->thread, m->argument, i);
        barrier(&m->thread);
    }
    m->time = (seconds(m->thread.count) - start) / m->calls;
    return NULL;
}

static double run_team(int threads, float *workspace, long floats, int calls, BenchWork work,
                       void *argument)
{
    Member members[MOST];
    pthread_t ids[MOST];
    struct Team team = {.count = threads};
    for (int i = 0; i < threads; i++) {
        float *own = workspace ? workspace + i * floats : NULL;
        members[i] = (Member){{i, threads, own, &team}, calls, work, argument, 0};
        pthread_create(&ids[i], NULL, member_start, &members[i]);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return members[0].time;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

double bench_team(int threads, long floats, int samples, int calls, BenchWork work, void *argument)
{
    static float *workspace;
    static long room;
    double times[1000];
    floats = (floats + 1023) / 1024 * 1024;
    if (floats * threads > room)
        workspace = bench_array(room = floats * threads, 1);
    for (int i = 0; i < samples; i++)
        times[i] = run_team(threads, workspace, floats, calls, work, argument);
    return median(times, samples);
}

/* ---- the machine ---------------------------------------------------------------------- */
enum { CHAINS = 12, PEAK_STEPS = 400000, THROWS = 5000 };
static _Atomic float sink;

static void multiply_add(const Thread *me, void *argument, long turn)
{
    (void)me, (void)argument, (void)turn;
    vf acc[CHAINS], factor = vset(1.0f);
    UNROLL for (int i = 0; i < CHAINS; i++)
        acc[i] = vset((float)i);
    __asm__ volatile("" : "+x"(factor));
    for (int k = 0; k < PEAK_STEPS; k++)
        UNROLL for (int i = 0; i < CHAINS; i++)
            acc[i] = vfma(acc[i], factor, factor);
    float sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++)
        sum += acc[i][0];
    atomic_store(&sink, sum);
}

double peak_flops(int threads)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double time = run_team(threads, NULL, 0, 3, multiply_add, NULL);
        best = time < best ? time : best;
    }
    return 2.0 * VL * CHAINS * PEAK_STEPS * threads / best;
}

static _Alignas(64) atomic_long ball;
static void catch(const Thread *me, void *argument, long turn)
{
    (void)argument;
    if (me->index > 1)
        return;
    if (turn == 0 && me->index == 0)
        atomic_store(&ball, 0);
    barrier(me);
    for (long i = 0; i < THROWS; i++) {
        while (atomic_load(&ball) % 2 != me->index)
            ;
        atomic_fetch_add(&ball, 1);
    }
}

double round_trip(void)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return 0;
    return run_team(2, NULL, 0, 3, catch, NULL) / THROWS * 1e9;
}
