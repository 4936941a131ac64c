/* join.h: the beginning of a run whose ranks mpirun or srun has started: each
 * is this program, from the beginning, and joins the others.
 * SPDX-License-Identifier: 0BSD */
#ifndef JOIN_H
#define JOIN_H
#include "options.h"
#include "world.h"

/* How many processes such a launcher has started; 0: there is none. */
int join_processes(void);

/* Whether this process is the first of all, or started plainly. */
bool join_leads(void);

/* Whether this process is the one of its machine that speaks of what goes wrong
 * before the ranks know each other. */
bool join_speaks(void);

/* Joins the others. In a world that was joined a command runs as in one of
 * forked ranks. *threads is set to this rank's share of the cores where it is
 * not above 0; it is then the same on all. NULL with an error: status 2 where
 * there are not as many processes as the plan has ranks, 3 without MPI. */
World *join(const Program *program, const Options *options, int64_t *threads,
            Error *error);
#endif
