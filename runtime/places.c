/* places.c: see places.h. Read place_of at the end.
 * SPDX-License-Identifier: 0BSD */
#include "places.h"
#include "world_block.h"

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

/* Which replica has the element, *member: on the data axis; and where. */
static int64_t in_experts(const Rank *rank, const Weight *weight,
                          int64_t element, int *member, int64_t *count)
{
    *count = weight->elements - element;
    if (!rank->world || !weight->tensor->experts)
        return element;
    int64_t each = weight->elements / program_experts(rank->program);
    *member += ((int)(element / each) - world_expert(rank->world))
        * program_context(rank->program);
    *count = each - element % each;
    return element % each;
}

/* Which tensor rank has the element, of those that lie in a replica's memory,
 * and where among its own; *count: how far they lie together, which was known
 * of the replica's. */
static int64_t in_slice(const World *world, const Weight *weight,
                        int64_t element, int *slice, int64_t *count)
{
    int64_t columns = weight->dims[1] * weight->dims[2];
    if (weight->tensor->slice == SLICE_LAST)
        columns = weight->dims[2];
    int64_t parts = world_tensor(world);
    *slice = world_slice(world);
    if (parts == 1 || weight->tensor->slice == SLICE_WHOLE)
        return element;
    if (weight->tensor->slice == SLICE_ROWS) {  /* the last may have fewer */
        int64_t each = (weight->dims[0] + parts - 1) / parts * columns;
        int64_t left = each - element % each;
        *slice = (int)(element / each);
        *count = left < *count ? left : *count;
        return element % each;
    }
    int64_t each = columns / parts, column = element % columns;
    *slice = (int)(column / each);
    *count = each - column % each;
    return element / columns * each + column % each;
}

/* The replica that owns a share of a unit, given one that has its experts. */
static int owner_of(const World *world, const Weight *weight, int member,
                    int share)
{
    const Program *program = world->program;
    int context = program_context(program), experts = program_experts(program);
    if (!weight->tensor->experts)
        return member + share - world_owner(world);
    int batch = member / context, expert = batch % experts;
    int same = batch / experts * context + member % context;
    same += share - same % program_expert_shards(program);
    return (same / context * experts + expert) * context + same % context;
}

Place place_of(const Rank *rank, const Weight *weight, PlaceKind kind,
               int64_t element)
{
    World *world = rank->world;
    int member = world_replica(world), slice;
    bool weights = kind == PLACE_WEIGHT;
    Place place = {0};
    int64_t at = in_experts(rank, weight, element, &member, &place.count);
    at = in_slice(world, weight, at, &slice, &place.count);
    at += weights ? weight->weight : weight->gradient;
    if (is_split(rank, weight, kind)) {
        int64_t share = weight->tensor->share;
        int64_t in_unit = at - weight->unit;
        int64_t left = share - in_unit % share;
        member = owner_of(world, weight, member, (int)(in_unit / share));
        place.count = left < place.count ? left : place.count;
        at = weight->packed + in_unit % share;
    }
    place.owner = world_rank_at(world, weight->stage, member, slice);
    place.own = place.owner == world_rank(world);
    place.offset = region_of(rank, weight->stage, kind) + 4 * at;
    if (place.own)
        place.at = (float *)(void *)(rank->memory + place.offset);
    return place;
}

const float *place_fetch(const Rank *rank, const Weight *weight,
                         PlaceKind kind, int64_t element, int64_t *count)
{
    World leader;
    Rank view = *rank;
    if (rank->world) {
        leader = *rank->world;
        leader.rank = 0;
        view.world = &leader;
    }
    const Place place = place_of(&view, weight, kind, element);
    int64_t most = world_fetch_most(rank->world) / 4;
    *count = place.count < most ? place.count : most;
    return (const float *)(const void *)rank_fetch(rank, place.owner,
                                                   place.offset, 4 * *count);
}
