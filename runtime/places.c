/* places.c: see places.h. Read place_of at the end.
 * SPDX-License-Identifier: 0BSD */
#include "places.h"

/* The beginning of another rank's memory. */
static char *memory_of(const Rank *rank, int other)
{
    return (char *)(uintptr_t)world_peer(rank->world, other, rank->memory);
}

static float *floats_at(char *memory, int64_t bytes)
{
    return (float *)(void *)(memory + bytes);
}

/* Where what has this kind begins in the memory of a rank of the stage. */
static int64_t region_of(const Rank *rank, int stage, PlaceKind kind)
{
    const Plan *plan = &rank->stage_plans[stage];
    const int64_t moment = 4 * plan->moment_floats;
    switch (kind) {
    case PLACE_WEIGHT:   return 0;
    case PLACE_FIRST:    return plan->weight_bytes;
    case PLACE_SECOND:   return plan->weight_bytes + moment;
    case PLACE_GRADIENT: break;
    }
    return plan->weight_bytes + plan->state_bytes + plan->gradients_at;
}

/* Whether replicas have shares of this kind alone. */
static bool is_split(const Rank *rank, const Weight *weight, PlaceKind kind)
{
    if (!rank->world || weight->tensor->share == 0)
        return false;
    return kind == PLACE_FIRST || kind == PLACE_SECOND
        || (kind == PLACE_WEIGHT && rank->program->shard == SHARD_WEIGHTS);
}

Place place_of(const Rank *rank, const Weight *weight, PlaceKind kind,
               int64_t element)
{
    World *world = rank->world;
    int data = world_data(world), stage = weight->stage;
    int member = world_replica(world);
    bool weights = kind == PLACE_WEIGHT;
    int64_t at = (weights ? weight->weight : weight->gradient) + element;
    Place place = { .count = weight->elements - element };
    if (is_split(rank, weight, kind)) {
        int64_t share = weight->tensor->share;
        int64_t in_unit = at - weight->unit;
        int64_t left = share - in_unit % share;
        member = (int)(in_unit / share);
        place.count = left < place.count ? left : place.count;
        at = weight->unit / data + in_unit % share;
    }
    int owner = stage * data + member;
    place.own = owner == world_rank(world);
    place.at = floats_at(memory_of(rank, owner),
                         region_of(rank, stage, kind)) + at;
    return place;
}
