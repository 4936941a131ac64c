/* team.c: SPMD threads (see team.h). Two things are waited for, each a
 * counter that only grows: `phase`, the barriers passed, and `runs`, the work
 * begun. Who waits spins for a while, for barriers are microseconds apart,
 * then sleeps on the counter as a futex. Where there are more threads than
 * cores nobody spins: the thread waited for may need the very core.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "team.h"
#include "world.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CACHE_LINE = 64 };

/* A counter that threads wait on, with a cache line of its own. */
typedef struct Counter {
    _Alignas(CACHE_LINE) atomic_uint value;
    atomic_uint sleepers;       /* threads in, or about to enter, futex wait */
} Counter;

typedef struct Member {
    Thread thread;
    pthread_t handle;
} Member;

typedef struct Team {
    Counter phase;              /* barriers passed */
    Counter runs;               /* work begun */
    _Alignas(CACHE_LINE) atomic_uint arrived;   /* at the present barrier */
    int count, spins;
    int stopping;               /* read after `runs` has grown */
    World *world;
    struct Trace *trace;
    TeamWork *work;
    void *context;
    Member *members;
} Team;

int team_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < TEAM_MOST_THREADS ? (int)online : 1;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until the counter is no longer `old`. A sleeper announces itself before
 * the kernel compares the value, and a waker changes the value before it counts
 * sleepers, both in one total order: so no sleeper is missed. */
static void counter_wait(Counter *counter, unsigned old, int spins)
{
    for (int i = 0; i < spins; i++) {
        if (atomic_load_explicit(&counter->value, memory_order_acquire) != old)
            return;
        pause_briefly();
    }
    atomic_fetch_add(&counter->sleepers, 1);
    while (atomic_load(&counter->value) == old)
        syscall(SYS_futex, &counter->value, FUTEX_WAIT_PRIVATE, old, NULL,
                NULL, 0);
    atomic_fetch_sub(&counter->sleepers, 1);
}

static void counter_advance(Counter *counter)
{
    atomic_fetch_add(&counter->value, 1);
    if (atomic_load(&counter->sleepers) > 0)
        syscall(SYS_futex, &counter->value, FUTEX_WAKE_PRIVATE, INT32_MAX,
                NULL, NULL, 0);
}

void barrier(const Thread *me)
{
    Team *team = me->team;
    if (me->count == 1)
        return;
    unsigned phase =
        atomic_load_explicit(&team->phase.value, memory_order_relaxed);
    unsigned before = atomic_fetch_add(&team->arrived, 1);
    if (before + 1 < (unsigned)team->count) {
        counter_wait(&team->phase, phase, team->spins);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    counter_advance(&team->phase);
}

static void *member_main(void *argument)
{
    Member *member = argument;
    Team *team = member->thread.team;
    for (unsigned runs = 0;; runs++) {
        counter_wait(&team->runs, runs, team->spins);
        if (team->stopping)
            return NULL;
        team->work(&member->thread, team->context);
        barrier(&member->thread);
    }
}

/* Wakes threads 1 to started - 1 to end, joins them and frees the team. */
static void stop_members(Team *team, int started)
{
    team->stopping = 1;
    counter_advance(&team->runs);
    for (int i = 1; i < started; i++)
        pthread_join(team->members[i].handle, NULL);
    free(team->members);
    free(team);
}

Team *team_start(int count, float *workspace, long stride, Error *error)
{
    Team *team = aligned_alloc(CACHE_LINE, sizeof *team);
    Member *members = calloc((size_t)count, sizeof *members);
    if (!team || !members) {
        free(team);
        free(members);
        error_set(error, 3, "no memory for %d threads", count);
        return NULL;
    }
    memset(team, 0, sizeof *team);
    team->count = count;
    team->spins = count > team_cores() ? 0 : TEAM_SPINS;
    team->members = members;

    /* Signals are the first thread's: it finishes the step and saves. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0, failure = 0;
    for (int i = 0; i < count && failure == 0; i++) {
        Member *member = &members[i];
        float *mine = workspace ? workspace + i * stride : NULL;
        member->thread = (Thread){ i, count, mine, team };
        if (i > 0)
            failure = pthread_create(&member->handle, NULL, member_main,
                                     member);
        if (failure == 0)
            started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        return team;
    stop_members(team, started);
    error_set(error, 3, "cannot start thread %d of %d: %s", started + 1, count,
              strerror(failure));
    return NULL;
}

void team_run(Team *team, TeamWork *work, void *context)
{
    team->work = work;
    team->context = context;
    if (team->count > 1)
        counter_advance(&team->runs);
    work(&team->members[0].thread, context);
    barrier(&team->members[0].thread);
}

int team_count(const Team *team)
{
    return team->count;
}

void team_join(Team *team, World *world)
{
    team->world = world;
    if (world_is_crowded(world))
        team->spins = 0;
}

World *team_world(const Team *team)
{
    return team->world;
}

void team_set_trace(Team *team, struct Trace *trace)
{
    team->trace = trace;
}

struct Trace *team_trace(const Team *team)
{
    return team->trace;
}

void team_stop(Team *team)
{
    stop_members(team, team->count);
}
