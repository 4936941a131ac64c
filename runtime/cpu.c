/* cpu.c: instruction sets and peak speed of the processor (see cpu.h). The
 * runtime itself runs on any x86-64 or aarch64, so that a program can start and
 * say what the machine lacks.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "cpu.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- instruction sets --------------------------------------------------- */
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

enum { EBX, ECX, EDX };
/* Registers that the system must save: SSE and AVX; AVX-512's three. */
enum { NO_STATE = 0, AVX_STATE = 0x06, AVX512_STATE = 0xe6 };

static const struct Feature {
    const char *name;
    unsigned leaf, subleaf;
    int word, bit;
    unsigned state;
} features_known[] = {
    { "sse3", 1, 0, ECX, 0, NO_STATE },
    { "ssse3", 1, 0, ECX, 9, NO_STATE },
    { "fma", 1, 0, ECX, 12, AVX_STATE },
    { "cx16", 1, 0, ECX, 13, NO_STATE },
    { "sse4.1", 1, 0, ECX, 19, NO_STATE },
    { "sse4.2", 1, 0, ECX, 20, NO_STATE },
    { "movbe", 1, 0, ECX, 22, NO_STATE },
    { "popcnt", 1, 0, ECX, 23, NO_STATE },
    { "avx", 1, 0, ECX, 28, AVX_STATE },
    { "f16c", 1, 0, ECX, 29, AVX_STATE },
    { "bmi", 7, 0, EBX, 3, NO_STATE },
    { "bmi1", 7, 0, EBX, 3, NO_STATE },
    { "avx2", 7, 0, EBX, 5, AVX_STATE },
    { "bmi2", 7, 0, EBX, 8, NO_STATE },
    { "avx512f", 7, 0, EBX, 16, AVX512_STATE },
    { "avx512dq", 7, 0, EBX, 17, AVX512_STATE },
    { "avx512ifma", 7, 0, EBX, 21, AVX512_STATE },
    { "avx512cd", 7, 0, EBX, 28, AVX512_STATE },
    { "avx512bw", 7, 0, EBX, 30, AVX512_STATE },
    { "avx512vl", 7, 0, EBX, 31, AVX512_STATE },
    { "avx512vbmi", 7, 0, ECX, 1, AVX512_STATE },
    { "avx512vbmi2", 7, 0, ECX, 6, AVX512_STATE },
    { "avx512vnni", 7, 0, ECX, 11, AVX512_STATE },
    { "avx512bf16", 7, 1, 3, 5, AVX512_STATE },
    { "lzcnt", 0x80000001, 0, ECX, 5, NO_STATE },
};

/* Register states that the system saves (XCR0); 0 where it saves none. */
static unsigned saved_states(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27))
        return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has_feature(const char *name)
{
    int count = sizeof features_known / sizeof features_known[0];
    for (int i = 0; i < count; i++) {
        const struct Feature *feature = &features_known[i];
        if (strcmp(feature->name, name) != 0)
            continue;
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (!__get_cpuid_count(feature->leaf, feature->subleaf, &a, &b, &c, &d))
            return false;
        /* word 3 stands for eax, where the newest leaf has its bits */
        unsigned words[4] = { b, c, d, a };
        return (words[feature->word] & 1u << feature->bit)
            && (saved_states() & feature->state) == feature->state;
    }
    return false;
}
#else
static bool has_feature(const char *name)
{
    /* Vectors of 128 bits are part of every aarch64. */
    return strcmp(name, "neon") == 0 || strcmp(name, "asimd") == 0;
}
#endif

bool cpu_supports(const char *features, Error *error)
{
    char missing[512] = "";
    while (*features) {
        features += strspn(features, " ");
        size_t length = strcspn(features, " ");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)length, features);
        size_t used = strlen(missing);
        if (length > 0 && !has_feature(name))
            snprintf(missing + used, sizeof missing - used, " %s", name);
        features += length;
    }
    return !missing[0] || error_set(error, ERROR_ENVIRONMENT,
        "this program needs a processor with%s; build it for this one "
        "(--cpu)", missing);
}

/* ---- peak --------------------------------------------------------------- */

enum { PEAK_TURNS = 400000, PEAK_TRIES = 4 };

/* Twelve chains of multiply-adds fill the units of every processor so far, and
 * the registers of the smallest. The asm keeps each value in a register. */
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) \
    do(6) do(7) do(8) do(9) do(10) do(11)
#define PEAK_BEGIN(i) sum##i = one;
#define PEAK_STEP(i)                                 \
    sum##i = PEAK_FMA(one, one, sum##i);             \
    __asm__ volatile("" : PEAK_REGISTER(sum##i));
#define PEAK_LOOP(Vector, zero)                      \
    Vector sum0, sum1, sum2, sum3, sum4, sum5;       \
    Vector sum6, sum7, sum8, sum9, sum10, sum11;     \
    const Vector one = zero;                         \
    EACH(PEAK_BEGIN)                                 \
    for (int turn = 0; turn < PEAK_TURNS; turn++) {  \
        EACH(PEAK_STEP)                              \
    }
enum { PEAK_CHAINS = 12 };

#if defined(__x86_64__)
#define PEAK_REGISTER(value) "+x"(value)
#define PEAK_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
__attribute__((target("avx2,fma")))
static double peak_avx2(void)
{
    PEAK_LOOP(__m256, _mm256_setzero_ps())
    return 2.0 * 8 * PEAK_CHAINS * PEAK_TURNS;
}
#undef PEAK_REGISTER
#undef PEAK_FMA

#define PEAK_REGISTER(value) "+v"(value)
#define PEAK_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
__attribute__((target("avx512f")))
static double peak_avx512(void)
{
    PEAK_LOOP(__m512, _mm512_setzero_ps())
    return 2.0 * 16 * PEAK_CHAINS * PEAK_TURNS;
}

static double peak_work(void)
{
    if (has_feature("avx512f"))
        return peak_avx512();
    return has_feature("avx2") && has_feature("fma") ? peak_avx2() : 0;
}
#elif defined(__aarch64__)
#include <arm_neon.h>
#define PEAK_REGISTER(value) "+w"(value)
#define PEAK_FMA(a, b, c) vfmaq_f32(c, a, b)
static double peak_work(void)
{
    PEAK_LOOP(float32x4_t, vdupq_n_f32(0))
    return 2.0 * 4 * PEAK_CHAINS * PEAK_TURNS;
}
#endif

typedef struct Peak { double operations, begun, ended; } Peak;

static void peak_thread(const Thread *me, void *context)
{
    Peak *peak = context;
    barrier(me);
    if (me->index == 0)
        peak->begun = clock_seconds();
    double operations = peak_work();
    barrier(me);
    if (me->index == 0) {
        peak->ended = clock_seconds();
        peak->operations = operations * me->count;
    }
}

double cpu_peak(struct Team *team)
{
    double best = 0;
    for (int i = 0; i < PEAK_TRIES; i++) {
        Peak peak;
        team_run(team, peak_thread, &peak);
        double rate = peak.operations / (peak.ended - peak.begun);
        best = rate > best ? rate : best;
    }
    return best;
}
