/* world.h: the ranks of a run. They are processes, each with threads of its own
 * (team.h): forked, on one machine, by a launcher (launch.h) that only watches,
 * or started by mpirun (join.h), on any machines.
 * Rank = (stage · data + replica) · tensor + slice, the ranks of a context
 * being neighbours on the data axis. All that forked ranks share was mapped
 * before the fork and lies at the same addresses everywhere: the memory of
 * every rank, whole, and one block of gates, slots and notes (world_block.h).
 * Those of mpirun share nothing, and talk by messages (mail.h).
 *
 * A rank fails by returning an error, as one alone does; world_fail makes it
 * known, and the others find it at their next wait, which then returns false
 * with the failure's status and no text: they leave quietly, and the launcher
 * prints the text once. Every function takes NULL for a rank alone.
 * SPDX-License-Identifier: 0BSD */
#ifndef WORLD_H
#define WORLD_H
#include "error.h"
#include "program.h"
#include <stdbool.h>
#include <stddef.h>

enum { EXIT_LOST = 6 };         /* a rank died or hangs */

typedef struct World World;
struct Trace;

/* ---- who is who --------------------------------------------------------- */

/* How many there are: of a program, along each of its axes; at least 1. */
int program_ranks(const Program *program);
int program_data(const Program *program);     /* · context: one axis */
int program_context(const Program *program);
int program_experts(const Program *program);
int program_shards(const Program *program);     /* ranks of a shard group */
int program_expert_shards(const Program *program);  /* of the same experts */
int program_stages(const Program *program);
int program_tensor(const Program *program);

/* Which of them this one is. */
int world_rank(const World *world);
int world_ranks(const World *world);
int world_data(const World *world);
int world_tensor(const World *world);
int world_stages(const World *world);
int world_replica(const World *world);
int world_slice(const World *world);
int world_chunk(const World *world);            /* of the context */
int world_expert(const World *world);           /* of those with the experts */
int world_owner(const World *world);            /* of the shard group */
int world_expert_owner(const World *world);     /* of its experts' shares */
/* Which share of the batch is the rank's, and of how many. */
int world_batch(const World *world);
int world_batches(const World *world);
int world_stage(const World *world);
int world_rank_at(const World *world, int stage, int replica, int slice);

/* Whether this rank is the one that writes files and speaks: rank 0. */
bool world_leads(const World *world);

/* "4 ranks: data 4, 1 thread each" */
enum { WORLD_TEXT = 192 };
void world_text(const Program *program, int threads, char text[WORLD_TEXT]);

/* Of ranks that talk by messages, how: "by Open MPI v4.1.4, 16.0 MiB a rank to
 * receive in"; otherwise empty. */
void world_transport(const World *world, char text[WORLD_TEXT]);

/* ---- memory ------------------------------------------------------------- */

/* This rank's memory, of which so many bytes are wanted. */
char *world_memory(World *world, size_t bytes, Error *error);

/* Whether all ranks run on this machine. */
bool world_is_here(const World *world);

/* Whether ranks map each other's memory. */
bool world_shares_memory(const World *world);

/* For the leader, which writes files: so many bytes, at most world_fetch_most,
 * that a rank has at a place in its memory. Over messages all ranks call it
 * alike, between steps, and get NULL where they do not lead. */
const void *world_fetch(World *world, int rank, int64_t place, size_t bytes);
int64_t world_fetch_most(const World *world);

/* Where a rank's memory is mapped here; NULL: it is not. */
char *world_memory_of(const World *world, int rank);

/* Whether its threads are more than its cores: then nobody waits spinning. */
bool world_is_crowded(const World *world);

/* ---- between steps: by the first thread --------------------------------- */

/* Every rank brings as many bytes, at most WORLD_SLOT, and waits for all; then
 * world_slot(r) has those of rank r, until the next call but one. `what` names
 * it in an error. */
enum { WORLD_SLOT = 512 };
bool world_exchange(World *world, const void *mine, size_t bytes,
                    const char *what, Error *error);
const void *world_slot(const World *world, int rank);

/* The leader's bytes for all. */
bool world_share(World *world, void *bytes, size_t count, const char *what,
                 Error *error);

/* Waits for all. */
bool world_meet(World *world, const char *what, Error *error);

/* Over all ranks, on each of them. */
bool world_largest(World *world, double *value, Error *error);

/* What all ranks' threads can do at once, of what each rank measured on its own
 * threads: where they share cores, not the sum. */
bool world_power(World *world, double *value, Error *error);

/* The signal that asks any rank to stop (stop.h), or 0, the same on all. */
bool world_stop(World *world, int *signal, Error *error);

/* ---- steps -------------------------------------------------------------- */

/* Around a step of that number (0: of none): a rank inside that uses no time
 * and waits for nobody hangs. */
void world_enter(World *world, int64_t step);
void world_leave(World *world);

/* Where messages and waits are noted (trace.h). */
void world_set_trace(World *world, struct Trace *trace);

/* From here on messages are counted, from 0. */
void world_count(World *world, bool on);

/* What this rank has counted of a message. */
typedef struct MessageCount {
    int64_t calls, bytes;
} MessageCount;
MessageCount world_counted(const World *world, int message);

/* The program as this rank has it, with its own forecasts. */
const Program *world_whole(const World *world);
void world_set_program(World *world, const Program *program);

/* Whether every message was sent as often and with as many bytes as foretold
 * for so many train steps. */
bool world_check(const World *world, int64_t steps, Error *error);

/* ---- the end ------------------------------------------------------------ */

/* Makes a failure known; the first one counts. */
void world_fail(World *world, int status, const char *text);
void world_free(World *world);
#endif
