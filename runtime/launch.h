/* launch.h: the launcher of a run of several ranks, where no other one has
 * started them (join.h). It forks them before
 * anything is opened, and then does nothing but watch: it passes signals on,
 * sees who died, was stopped or hangs, ends those that do not leave by
 * themselves, and says once what failed.
 * SPDX-License-Identifier: 0BSD */
#ifndef LAUNCH_H
#define LAUNCH_H
#include "options.h"
#include "rank.h"

/* Whether the command of this program runs on several ranks, or was started as
 * so many processes. */
bool launch_wanted(const Program *program, const Options *options,
                   int processes);

/* Forks. In a rank: returns -1 with *world set, and the rank is to run its
 * command, to make its failure known (world_fail) and to end. In the launcher:
 * returns, when all ranks have ended, the status that the program ends with,
 * with *world NULL; the error's text is what failed, empty where that was said.
 * `plan` is of one rank of each stage. */
int launch(const Program *program, const Options *options, const Plan *plan,
           World **world, Error *error);
#endif
