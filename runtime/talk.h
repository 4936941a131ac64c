/* talk.h: how the members of a collective get at each other's numbers; all
 * collectives (collectives.c) are written with these few verbs, and none knows
 * which transport it runs on:
 *
 *     memory      ranks forked by one launcher map each other's memory: numbers
 *                 are read where they lie
 *     messages    processes that mpirun started share nothing (mail.h): the
 *                 first thread talks, and the others wait at the rank's barrier
 *
 * Every thread of every member makes the same calls with the same sizes. What a
 * member reads of another the other gives in the same call, so that both ends
 * of a message are said at once. A place "there" is named by the place that the
 * same thing has here: places are the same on all members, but for the one
 * thing that talk_begin names, which each may have elsewhere.
 *
 *     begin  everybody is there, and what was written before can be read
 *     look, arrive, seen, next   read peers' numbers without keeping them
 *     pull, push   copy a peer's numbers here, mine there
 *     end    all is done; what was read or given may be written again
 *
 * SPDX-License-Identifier: 0BSD */
#ifndef TALK_H
#define TALK_H
#include "collectives.h"
#include "world_block.h"

/* A collective that goes on. */
typedef struct Talk {
    const Thread *me;
    World *world;
    Axis axis;
    int members, member;
    int message;
    const char *base;           /* what talk_begin named */
    int peer;                   /* the only one that it is to, or -1 */
    int64_t begun;              /* of a trace */
} Talk;

/* `count` runs of `length` floats, their beginnings `stride` floats apart.
 * Integers travel as floats, a double as two: nobody computes with them. */
typedef struct Floats {
    float *at;
    long count, length, stride;
} Floats;

static inline Floats floats_at(const void *at, long length)
{
    return (Floats){ (float *)(uintptr_t)at, 1, length, length };
}

/* False: there is nobody to talk to. */
bool talk_open(Talk *talk, const Thread *me, long message);

/* The run ends, on every rank: there is an error in the midst of a step. */
_Noreturn void talk_fail(const Talk *talk, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* At the end: counts a message of so many bytes (see collective_bytes), and
 * notes it where there is a trace. */
void talk_count(const Talk *talk, Collective kind, long bytes);
/* The same of one that was received, which its sender counts. */
void talk_received(const Talk *talk);

/* `base`: what the members may have at different places. */
void talk_begin(Talk *talk, const void *base);
void talk_end(const Talk *talk);

/* In their place where nobody has to be waited for: what is read was there when
 * the members last met, and is at the same place on all. */
void talk_rejoin(const Talk *talk);
void talk_leave(const Talk *talk);

/* All members meet, each with bytes for its slot, at most WORLD_SLOT; then
 * axis_slot has them. Needs neither begin nor end. */
void talk_meet(const Talk *talk, const void *mine, size_t bytes);

/* ---- reading without keeping -------------------------------------------- */

/* How many floats of each member can be looked at together, in each part; a
 * multiple of 16. Whoever looks at more does so in rounds. */
long talk_room(const Talk *talk);

/* A member gets `mine` of this one to look at, which looks at `its` there. One
 * round may have two looks at a member: parts 0 and 1. */
enum { TALK_PARTS = 2 };
void talk_look(const Talk *talk, int member, int part, Floats mine,
               Floats its);

/* After all looks of a round: they have arrived. */
void talk_arrive(const Talk *talk);

/* Where they are: `its` as it was looked at; of this member, here. */
const void *talk_seen(const Talk *talk, int member, int part,
                      const void *its);

/* Ends a round; another one may begin. */
void talk_next(const Talk *talk);

/* ---- copying ------------------------------------------------------------ */

/* A member copies `mine` of this one; this one copies what is at `its` there to
 * `here`. Itself is a member, too. Together pulls may be any number. */
void talk_pull(const Talk *talk, int member, Floats mine, Floats its,
               Floats here);

/* This one copies what is at `its` there to `here`; over messages it is what
 * talk_pass has begun to receive, and only its own is copied. */
void talk_fetch(const Talk *talk, int member, Floats its, Floats here);

/* This one copies `mine` to `there` at a member, which copies to `here`. */
void talk_push(const Talk *talk, int member, Floats mine, Floats there,
               Floats here);

/* The calling thread's n floats at `mine` to the same place at a member: over
 * shared memory at once. As messages they go with talk_pass, after all threads
 * have written theirs: `mine` to that member, and what that one sends `here`;
 * over shared memory it does nothing. */
void talk_write(const Talk *talk, int member, const float *mine, long n);
void talk_pass(const Talk *talk, int member, Floats mine, Floats here);

/* ---- from stage to stage ------------------------------------------------ */

/* The place in `mailbox`, of two of n floats, for the next row that this rank
 * sends; waits until its last row but one, that lay there, was taken. */
float *talk_outbox(const Talk *talk, float *mailbox, long n);
/* All threads have written it: off it goes. */
void talk_post(const Talk *talk, int to, const float *place, long n);

/* Waits for the next row of n floats of that member; it is where the result
 * points, which may be `here`. */
const float *talk_inbox(const Talk *talk, int from, float *here, long n);
/* All threads have read it. */
void talk_taken(const Talk *talk, int from);
#endif
