/* mail.h: the transport of ranks that share no memory: each is a process that
 * mpirun or srun started, with a memory of its own, and what it needs of others
 * comes as messages of bytes (mpi.h). Nothing is added on the way. Ranks of one
 * machine talk like this, too: an MPI library finds the short way by itself.
 *
 * What is only looked at (talk.h) lies in one room of MAIL_ROOM bytes, which is
 * all that this transport takes and mapped before the first step; larger things
 * pass through it in rounds. What is kept comes to its place at once.
 *
 * All but the watch (below) is the first thread's. A rank that waits looks at
 * the one that it waits for: where that is on the same machine and was stopped
 * or has ended, or said nothing for MAIL_PATIENCE seconds in the midst of a
 * step, it says so and ends the job. A rank that hangs in a step, using no
 * time, is found by a thread of its own, the watch.
 * SPDX-License-Identifier: 0BSD */
#ifndef MAIL_H
#define MAIL_H
#include "mpi.h"
#include "world_block.h"

enum { MAIL_ROOM = 16 << 20, MAIL_PATIENCE = 600 };

/* Joins a world, which knows its ranks and has a block of its own, to the
 * others: sets its rank, and what of its machine is its share. */
bool mail_open(World *world, Mpi *mpi, Error *error);

/* The library's: "Open MPI v4.1.4". */
const char *mail_name(const World *world);

/* Completes what is under way, waits for all others and ends MPI. */
void mail_close(World *world);

/* Says what failed, but not what the leader has said already, and ends all. */
_Noreturn void mail_fail(World *world, int status, const char *text);

/* ---- messages ----------------------------------------------------------- */

/* Begin to send, or to receive; `waits` is a message's number or
 * WAITS_BETWEEN_STEPS. Of two ranks what one sends under a number the other
 * receives under it, in the same order. */
void mail_send(World *world, int rank, int waits, MpiRuns from);
void mail_receive(World *world, int rank, int waits, MpiRuns to);

/* Until all that was begun is done. */
void mail_wait(World *world, int waits);

/* The room. */
char *mail_room(const World *world);

/* Bytes of each member's slot, for all of them (axis_meet). */
void mail_slots(World *world, Axis axis, size_t bytes, int waits);

/* A row to another stage (send_f32): before one is sent the last but one under
 * the same message has to be gone. mail_sent: how many were sent. */
unsigned mail_sent(const World *world, int message);
void mail_await_row(World *world, int message);
void mail_send_row(World *world, int message, int rank, MpiRuns row);

/* world_fetch over messages. */
const void *mail_fetch(World *world, int owner, const void *mine,
                       size_t bytes);
#endif
