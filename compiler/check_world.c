/* check_world.c: see check_world.h. */
#include "check_world.h"
#include "../runtime/places.h"
#include "../runtime/world_make.h"
#include <stdlib.h>
#include <string.h>

struct CheckWorld {
    Program program;
    Message *messages;
    World *world;
    Plan *plans;                /* of every stage: nothing has a size */
};

static bool open_world(CheckWorld *w, const char *const *axes)
{
    Error error = {0};
    w->messages = calloc((size_t)w->program.message_count + 1,
                         sizeof *w->messages);
    w->plans = calloc((size_t)program_stages(&w->program), sizeof *w->plans);
    if (!w->messages || !w->plans)
        return false;
    for (int i = 0; i < w->program.message_count; i++)
        w->messages[i] = (Message){ .name = axes[i], .axis = axes[i] };
    w->program.messages = w->messages;
    w->world = world_make(&w->program, false, &error);
    return w->world != NULL;
}

CheckWorld *check_world_new(const WorldSizes *s, const char *const *axes,
                            int messages)
{
    CheckWorld *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->program = (Program){
        .name = s->name, .ranks = (int32_t)s->ranks, .data = (int32_t)s->data,
        .stages = (int32_t)s->stages, .decoder = (int32_t)s->decoder,
        .expert_ranks = (int32_t)s->expert_ranks,
        .chunks = (int32_t)s->chunks, .tensor = (int32_t)s->tensor,
        .shard = (int32_t)s->shard, .shard_ranks = (int32_t)s->shard_ranks,
        .expert_shards = (int32_t)s->expert_shards, .message_count = messages,
    };
    if (open_world(w, axes))
        return w;
    check_world_free(w);
    return NULL;
}

void check_world_free(CheckWorld *w)
{
    world_free(w->world);
    free(w->messages);
    free(w->plans);
    free(w);
}

void check_world_be(CheckWorld *w, int64_t rank)
{
    w->world->rank = (int)rank;
}

int64_t check_world_control(const CheckWorld *w, const char *field)
{
    static const struct {
        const char *field;
        int (*of)(const World *world);
    } rows[] = {        /* as runtime/rank.c and train.c fill it in */
        { "stage", world_stage }, { "replica", world_replica },
        { "chunk", world_chunk }, { "expert", world_expert },
        { "expert_share", world_expert_owner }, { "share", world_owner },
        { "slice", world_slice }, { "batch", world_batch },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].field, field))
            return rows[i].of(w->world);
    return -1;
}

int64_t check_world_members(const CheckWorld *w, int message)
{
    return axis_members(w->world, axis_of(w->world, message));
}

int64_t check_world_rank(const CheckWorld *w, int message, int64_t member)
{
    return axis_rank(w->world, axis_of(w->world, message), (int)member);
}

int64_t check_world_member(const CheckWorld *w, int message)
{
    return axis_member(w->world, axis_of(w->world, message));
}

/* Who has element i of a moment of which every share is one element. */
static int64_t owner_of_element(const CheckWorld *w, bool experts,
                                int64_t elements, int64_t i)
{
    const Tensor tensor = { .experts = experts, .share = 1 };
    const Weight weight = { .tensor = &tensor, .rank = 1,
                            .dims = { elements, 1, 1 }, .elements = elements,
                            .stage = world_stage(w->world) };
    const Rank rank = { .program = &w->program, .world = w->world,
                        .stage_plans = w->plans };
    return place_of(&rank, &weight, PLACE_FIRST, i).owner;
}

int64_t check_world_owner(const CheckWorld *w, int64_t share)
{
    return owner_of_element(w, false, program_shards(&w->program), share);
}

int64_t check_world_expert_owner(const CheckWorld *w, int64_t expert,
                                 int64_t share)
{
    int64_t shares = program_expert_shards(&w->program);
    return owner_of_element(w, true, program_experts(&w->program) * shares,
                            expert * shares + share);
}
