/* world_make.c: see world_make.h.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "world_make.h"
#include "mail.h"
#include "memory.h"
#include "team.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the block ---------------------------------------------------------- */

/* Parts of the shared block, one after the other, each at a cache line. */
typedef struct Layout {
    char *base;                 /* NULL: they are only measured */
    int64_t bytes;
} Layout;

static void *take(Layout *layout, int64_t count, size_t size)
{
    int64_t at = layout->bytes;
    layout->bytes += round_up(count * (int64_t)size, WORLD_LINE);
    return layout->base ? layout->base + at : NULL;
}

static void place_block(World *world, Layout *layout)
{
    int64_t sent = (int64_t)world->ranks * world->messages;
    Block parts = {0};
    Block *block = take(layout, 1, sizeof *block);
    parts.notes = take(layout, world->ranks, sizeof *parts.notes);
    for (int axis = 0; axis < AXES; axis++)     /* of groups, at most ranks */
        parts.gates[axis] = take(layout, world->ranks, sizeof(Gate));
    parts.channels = take(layout, sent, sizeof *parts.channels);
    parts.counts = take(layout, sent, sizeof *parts.counts);
    if (!block)
        return;
    memcpy(block, &parts, sizeof parts);
    for (int rank = 0; rank < world->ranks; rank++)
        atomic_store(&block->notes[rank].waits, WAITS_FOR_NONE);
    world->block = block;
}

static bool map_block(World *world, bool shared, Error *error)
{
    Layout layout = {0};
    place_block(world, &layout);
    layout.base = memory_map(layout.bytes, shared, world->program->name,
                             error);
    layout.bytes = 0;
    if (layout.base)
        place_block(world, &layout);
    return layout.base != NULL;
}

/* ---- memory ------------------------------------------------------------- */

/* Whether a rank's memory is mapped by this process. */
static bool maps(const World *world, int rank)
{
    return !world->mail || rank == world->rank;
}

/* What the ranks of this machine need, as far as this one knows. */
static int64_t bytes_here(const World *world)
{
    int64_t bytes = 0;
    if (world->mail)
        return world->ranks_here
            * (world->memory_bytes[world->rank] + MAIL_ROOM);
    for (int rank = 0; rank < world->ranks; rank++)
        bytes += world->memory_bytes[rank];
    return bytes;
}

bool world_map(World *world, const Plan *plans, Error *error)
{
    const char *name = world->program->name;
    for (int rank = 0; rank < world->ranks; rank++)
        world->memory_bytes[rank] =
            plans[rank / world->tensor / world->data].total_bytes;
    int64_t available = memory_available(), total = bytes_here(world);
    if (total > available)
        return error_set(error, ERROR_ENVIRONMENT, "%s needs %.1f MiB of "
                         "memory (%lld bytes) for %d ranks; this machine has "
                         "%.1f MiB (%lld bytes) available", name,
                         (double)total / (1 << 20), (long long)total,
                         world->ranks_here, (double)available / (1 << 20),
                         (long long)available);
    for (int rank = 0; rank < world->ranks; rank++)
        if (maps(world, rank)) {
            world->memory[rank] = memory_map(world->memory_bytes[rank],
                                             !world->mail, name, error);
            if (!world->memory[rank])
                return false;
        }
    return true;
}

/* ---- the world ---------------------------------------------------------- */

static World *allocate(int ranks, Error *error)
{
    World *world = calloc(1, sizeof *world);
    char **memory = calloc((size_t)ranks, sizeof *memory);
    int64_t *memory_bytes = calloc((size_t)ranks, sizeof *memory_bytes);
    if (world && memory && memory_bytes) {
        *world = (World){ .memory = memory, .memory_bytes = memory_bytes };
        return world;
    }
    free(world);
    free(memory);
    free(memory_bytes);
    error_set(error, ERROR_ENVIRONMENT, "out of memory");
    return NULL;
}

World *world_make(const Program *program, bool shared, Error *error)
{
    int ranks = program_ranks(program);
    World *world = allocate(ranks, error);
    if (!world)
        return NULL;
    *world = (World){
        .program = program, .whole = program,
        .ranks = ranks, .data = program_data(program),
        .context = program_context(program),
        .experts = program_experts(program),
        .expert_shards = program_expert_shards(program),
        .shards = program_shards(program), .tensor = program_tensor(program),
        .stages = program_stages(program), .decoder = program->decoder,
        .messages = program->message_count,
        .memory = world->memory, .memory_bytes = world->memory_bytes,
    };
    bool fits = world->data * world->stages * world->tensor == ranks;
    if (!fits)
        error_set(error, ERROR_ENVIRONMENT, "internal error: %d ranks are not "
                  "data %d by tensor %d by %d stages", ranks, world->data,
                  world->tensor, world->stages);
    if (fits && map_block(world, shared, error))
        return world;
    world_free(world);
    return NULL;
}

void world_be_silent(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return;
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
}

void world_set_threads(World *world, int threads)
{
    world->threads = threads;
    world->spins = world_is_crowded(world) ? 0 : TEAM_SPINS;
}
