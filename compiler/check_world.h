/* check_world.h: the ranks of a program as the runtime numbers them, for
 * `check` to hold its own numbers against: what is asked of it runtime/world.c
 * and runtime/places.c answer, as they do in a run. It stands between the IR
 * and the runtime's headers, which have types of the same names. */
#ifndef CHECK_WORLD_H
#define CHECK_WORLD_H
#include <stdbool.h>
#include <stdint.h>

/* Fields of Program (runtime/program.def). */
typedef struct WorldSizes {
    const char *name;
    int64_t ranks, data, stages, decoder, expert_ranks, chunks, tensor;
    int64_t shard, shard_ranks, expert_shards;
} WorldSizes;

typedef struct CheckWorld CheckWorld;

/* Of so many messages, each along one of these axes. NULL: there is too little
 * memory, or the sizes are not those of one world. */
CheckWorld *check_world_new(const WorldSizes *sizes, const char *const *axes,
                            int messages);
void check_world_free(CheckWorld *world);

/* From here on the answers are those that this rank gets. */
void check_world_be(CheckWorld *world, int64_t rank);
/* A field of Control that says where it sits: "stage", "share" …; "batch":
 * which replica's part of the batch it has. */
int64_t check_world_control(const CheckWorld *world, const char *field);
/* Of those whom it meets in a message: how many, who, which of them it is. */
int64_t check_world_members(const CheckWorld *world, int message);
int64_t check_world_rank(const CheckWorld *world, int message, int64_t member);
int64_t check_world_member(const CheckWorld *world, int message);
/* The rank that has share number `share` of what replicas split: of a unit, or
 * of a unit of one expert's ranks. */
int64_t check_world_owner(const CheckWorld *world, int64_t share);
int64_t check_world_expert_owner(const CheckWorld *world, int64_t expert,
                                 int64_t share);
#endif
