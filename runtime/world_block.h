/* world_block.h: what ranks share besides their memory, for those who keep it:
 * world.c (gates and slots), talk.c, launch.c and mail.c. Ranks that share no
 * memory have a block each, of which they use their own notes, and the slots of
 * all, which messages fill.
 *
 * A gate is where the members of one group meet: a counter of those who have
 * arrived, and one of the meetings. What a member brings to a meeting lies in
 * its slot. There are two slots, used in turn: who brings something to the next
 * meeting but one knows that all have left this one. So a meeting is one gate.
 *
 * Everything that is waited for is a counter that only grows, looked at for a
 * while, then slept on as a futex, never longer than a tenth of a second: then
 * the failure flag is looked at.
 * SPDX-License-Identifier: 0BSD */
#ifndef WORLD_BLOCK_H
#define WORLD_BLOCK_H
#include "world.h"
#include <stdatomic.h>
#include <sys/types.h>

enum { WORLD_LINE = 64 };

/* Whose members talk: those that differ in it alone; of "ends", of a pipeline
 * the first and the last; of an encoder-decoder's, of "embeddings" the first
 * and the decoder's first, and of "decoder's ends" that and the last. */
typedef enum Axis {
    AXIS_DATA,
    AXIS_CONTEXT,
    AXIS_EXPERTS,
    AXIS_SAME,
    AXIS_CHUNK,
    AXIS_SHARDS,                /* a shard group */
    AXIS_COPIES,                /* those with the same share */
    AXIS_EXPERT_SHARDS,         /* of AXIS_SAME those that split the experts */
    AXIS_EXPERT_COPIES,         /* and those with the same share of them */
    AXIS_TENSOR,
    AXIS_PIPELINE,
    AXIS_ENDS,
    AXIS_EMBEDDINGS,
    AXIS_DECODER,
    AXIS_WORLD,
    AXES
} Axis;

typedef struct Waited {         /* a counter with those who sleep on it */
    _Alignas(WORLD_LINE) atomic_uint value;
    atomic_uint sleepers;
} Waited;

typedef struct Gate {
    Waited passed;              /* meetings */
    _Alignas(WORLD_LINE) atomic_uint arrived;   /* at the present one */
} Gate;

/* What a rank has sent of a message and its receiver has taken. Each of the two
 * places in the mailbox is an offset in the sender's memory. */
typedef struct Channel {
    Waited sent, taken;
    _Atomic int64_t place[2];
} Channel;

/* A rank's own notes: the launcher reads them, and peers the slots. */
enum { OUTSIDE, IN_A_STEP, IN_AN_EVALUATION };
typedef struct Notes {
    _Alignas(WORLD_LINE) atomic_int inside;     /* one of the above */
    _Atomic int64_t step;                       /* of training, the last; 0 */
    /* What it waits in: a message, WAITS_FOR_NONE, or between steps. */
    atomic_int waits;
    _Atomic(const char *) what;                 /* between steps */
    _Alignas(WORLD_LINE) char slots[AXES][2][WORLD_SLOT];
} Notes;

enum { WAITS_FOR_NONE = -1, WAITS_BETWEEN_STEPS = -2 };

/* The first failure. */
enum { FAILURE_NONE, FAILURE_COMING, FAILURE_KNOWN };
typedef struct Failure {
    _Alignas(WORLD_LINE) atomic_int state;
    int status;
    char text[sizeof ((Error *)0)->text];
} Failure;

typedef struct Block {
    Failure failure;
    Notes *notes;               /* [ranks] */
    Gate *gates[AXES];          /* of each group of the axis */
    Channel *channels;          /* [ranks][messages] */
    MessageCount *counts;       /* the same */
} Block;

typedef struct Mail Mail;

/* One process's view; all but `rank`, `turns` and `counts` is as the launcher
 * made it. */
struct World {
    const Program *program;     /* as this rank's stage has it */
    const Program *whole;
    int rank, ranks, data, context, experts, shards, tensor, stages;
    int expert_shards;          /* of those with the same experts */
    int decoder;                /* its first stage; 0: there is one stack */
    int threads;                /* of each rank */
    int messages;
    double cores;               /* that are its share */
    int ranks_here;             /* on this machine */
    int spins;
    bool counts;
    struct Trace *trace;        /* NULL: nothing is traced */
    unsigned turns[AXES];       /* meetings so far */
    Block *block;
    Mail *mail;                 /* NULL: ranks share memory (mail.h) */
    char **memory;              /* of each rank; NULL: not in reach */
    int64_t *memory_bytes;
};

/* Along an axis: how many members there are, which one this rank is, and the
 * rank of another. */
int axis_members(const World *world, Axis axis);
int axis_member(const World *world, Axis axis);
int axis_rank(const World *world, Axis axis, int member);
Axis axis_of(const World *world, long message);

/* Waits until the counter is not `old`, as message `waits` or as
 * WAITS_BETWEEN_STEPS. False: the world has failed. */
bool waited_past(World *world, Waited *counter, unsigned old, int waits);
void waited_advance(Waited *counter);

/* All members meet, each with bytes for its slot (mine NULL: none). */
bool axis_meet(World *world, Axis axis, const void *mine, size_t bytes,
               int waits);
const void *axis_slot(const World *world, Axis axis, int member);
#endif
