/* profile.h: where the time of a piece of work goes, by function. Every
 * millisecond a timer interrupts each thread of a team and notes where it is,
 * also when it sleeps; nothing is added to the code that is looked at. Notes
 * cost a per cent or two of the time, so what is timed should not be profiled.
 * After the work they are looked up in the program's symbol table.
 *
 * A row is a function; the kernel library's own functions are grouped under
 * the names that generated code calls them by (`matmul`, `attention`), and
 * time spent at barriers is `waiting`. What a compiler inlined counts as part
 * of the function that it is inlined in.
 * SPDX-License-Identifier: 0BSD */
#ifndef PROFILE_H
#define PROFILE_H
#include "error.h"
#include "team.h"

enum { PROFILE_NAME = 80 };

typedef struct Profile Profile;

typedef struct ProfileRow {
    char name[PROFILE_NAME];
    double share;           /* of the threads' time; all rows sum to 1 */
} ProfileRow;

/* Sets up the timers, taking no notes yet. NULL with an error where the system
 * has no timers to give. SIGPROF is the profile's until profile_end. */
Profile *profile_begin(struct Team *team, Error *error);

/* Notes are taken between `true` and `false`; called by the first thread. */
void profile_take(Profile *profile, bool on);

/* Stops the timers, frees the profile and gives back the signal, with *rows of
 * the heaviest functions first, which the caller frees. Returns how many; 0
 * with an error where there are no notes or no symbol table. */
int profile_end(Profile *profile, ProfileRow **rows, Error *error);
#endif
