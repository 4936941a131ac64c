/* team.h: the threads of a rank. A team runs one function on all of its threads
 * at once (SPMD); `barrier` of kernels.h is where they meet. Between two runs
 * the threads wait, first spinning, then asleep on a futex.
 * SPDX-License-Identifier: 0BSD */
#ifndef TEAM_H
#define TEAM_H
#include "error.h"
#include "kernels/kernels.h"

struct World;
struct Trace;

typedef void TeamWork(const Thread *me, void *context);

enum {
    TEAM_MOST_THREADS = 1024,
    TEAM_SPINS = 2000           /* turns before sleeping: some 50 µs */
};

/* Cores that this process may run on: its affinity mask. At least 1. */
int team_cores(void);

/* Starts `count` threads, the caller being number 0, 1 <= count <=
 * TEAM_MOST_THREADS. Thread i has workspace + i·stride floats (workspace NULL:
 * none). NULL with an error of status 3 where the system gives no thread. */
struct Team *team_start(int count, float *workspace, long stride, Error *error);

/* Runs work(me, context) on every thread and returns when all are done; what
 * they wrote is then seen by the caller. */
void team_run(struct Team *team, TeamWork *work, void *context);

int team_count(const struct Team *team);

/* The ranks beside this one, whom collectives talk to (world.h): NULL at first.
 * Where its threads are more than its share of the cores, they no longer spin.
 */
void team_join(struct Team *team, struct World *world);
struct World *team_world(const struct Team *team);

/* Where the first thread notes what it does (trace.h): NULL at first. */
void team_set_trace(struct Team *team, struct Trace *trace);
struct Trace *team_trace(const struct Team *team);

/* Ends and joins the threads. */
void team_stop(struct Team *team);
#endif
