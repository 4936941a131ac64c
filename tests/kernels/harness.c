/* harness.c: see harness.h. */
#define _GNU_SOURCE
#include "harness.h"
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ARRAYS = 64, PATTERN = 0xA5 };

/* Pages from `base`: guard, body (size bytes), guard; data within the body. */
typedef struct Guarded { char *base, *data; size_t size, bytes; } Guarded;
static Guarded arrays[ARRAYS];
static int passed, failed, turn;

static void die(const char *what)
{
    fprintf(stderr, "harness: %s\n", what);
    exit(3);
}

float *guarded(long count)
{
    Guarded *g = arrays;
    while (g < arrays + ARRAYS && g->base)
        g++;
    if (g == arrays + ARRAYS)
        die("too many arrays");
    g->bytes = (size_t)count * sizeof(float);
    g->size = (g->bytes + PAGE - 1) / PAGE * PAGE;
    g->base = mmap(NULL, g->size + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (g->base == MAP_FAILED)
        die("out of memory");
    memset(g->base + PAGE, PATTERN, g->size);
    mprotect(g->base, PAGE, PROT_NONE);
    mprotect(g->base + PAGE + g->size, PAGE, PROT_NONE);
    g->data = g->base + PAGE + (turn++ % 3 ? g->size - g->bytes : 0);
    return (float *)(void *)g->data;
}

void unguard(float *array)
{
    Guarded *g = arrays;
    while (g < arrays + ARRAYS && (!g->base || g->data != (char *)array))
        g++;
    if (g == arrays + ARRAYS)
        die("not a guarded array");
    for (char *c = g->base + PAGE; c < g->base + PAGE + g->size; c++)
        if ((c < g->data || c >= g->data + g->bytes) && (unsigned char)*c != PATTERN)
            die("a kernel wrote outside an array");
    munmap(g->base, g->size + 2 * PAGE);
    g->base = NULL;
}

/* ---- threads ------------------------------------------------------------------ */
struct Team { pthread_barrier_t meet; };
typedef struct Member {
    Thread thread;
    void (*work)(const Thread *, void *);
    void *argument;
} Member;

void barrier(const Thread *me)
{
    pthread_barrier_wait(&me->team->meet);
}

static void *member_start(void *argument)
{
    Member *m = argument;
    m->work(&m->thread, m->argument);
    return NULL;
}

void team_run(int threads, long floats, void (*work)(const Thread *, void *), void *argument)
{
    enum { MOST = 16 };
    Member members[MOST];
    pthread_t ids[MOST];
    struct Team team;
    if (threads > MOST || pthread_barrier_init(&team.meet, NULL, (unsigned)threads))
        die("too many threads");
    long whole = (floats + 15) / 16 * 16;       /* so that both ends are aligned */
    for (int i = 0; i < threads; i++) {
        float *workspace = guarded(whole);
        for (long j = 0; j < whole; j++)
            workspace[j] = NAN;
        members[i] = (Member){{i, threads, workspace, &team}, work, argument};
        if (i && pthread_create(&ids[i], NULL, member_start, &members[i]))
            die("cannot start a thread");
    }
    member_start(&members[0]);
    for (int i = 0; i < threads; i++) {
        if (i)
            pthread_join(ids[i], NULL);
        unguard(members[i].thread.workspace);
    }
    pthread_barrier_destroy(&team.meet);
}

/* ---- numbers and counts -------------------------------------------------------- */
uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

void random_fill(float *to, long count, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (long i = 0; i < count; i++)
        to[i] = (float)random_next(&state) * 0x1p-23f - 1.0f;
}

long first_difference(const float *a, const float *b, long count)
{
    if (!memcmp(a, b, (size_t)count * sizeof *a))
        return -1;
    for (long i = 0; i < count; i++)
        if (memcmp(a + i, b + i, sizeof *a))
            return i;
    return -1;
}

void check(bool good, const char *format, ...)
{
    if (good) {
        passed++;
        return;
    }
    failed++;
    va_list args;
    va_start(args, format);
    printf("FAILED: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

int finish(const char *name)
{
    printf("%s: %d passed, %d failed\n", name, passed, failed);
    return failed > 0;
}
