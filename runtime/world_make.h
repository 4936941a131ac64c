/* world_make.h: a world of a program's ranks, before any of them runs; made by
 * the launcher that forks them (launch.c), or by each of those that mpirun has
 * started (join.c).
 * SPDX-License-Identifier: 0BSD */
#ifndef WORLD_MAKE_H
#define WORLD_MAKE_H
#include "rank.h"
#include "world_block.h"

/* The ranks and their block, `shared` with children or this process's own. NULL
 * with an error. Who this is, and its share of the machine, is then to be set.
 */
World *world_make(const Program *program, bool shared, Error *error);

/* Only the leader speaks: what this rank prints is lost. */
void world_be_silent(void);

/* How many each rank has. */
void world_set_threads(World *world, int threads);

/* Maps every rank's memory that is to be seen here: `plans` are of a rank of
 * each stage. Nobody has touched it yet. */
bool world_map(World *world, const Plan *plans, Error *error);
#endif
