/* world.c: see world.h; the shared block is described in world_block.h.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "mail.h"
#include "stop.h"
#include "team.h"
#include "trace.h"
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- who is who --------------------------------------------------------- */

static int at_least_one(int32_t count)
{
    return count > 1 ? (int)count : 1;
}

int program_ranks(const Program *program)
{
    return at_least_one(program->ranks);
}

int program_context(const Program *program)
{
    return at_least_one(program->chunks);
}

int program_experts(const Program *program)
{
    return at_least_one(program->expert_ranks);
}

int program_shards(const Program *program)
{
    return at_least_one(program->shard_ranks);
}

int program_expert_shards(const Program *program)
{
    return at_least_one(program->expert_shards);
}

int program_data(const Program *program)
{
    return at_least_one(program->data) * program_context(program);
}

int program_stages(const Program *program)
{
    return at_least_one(program->stages);
}

int program_tensor(const Program *program)
{
    return at_least_one(program->tensor);
}

int world_rank(const World *world)
{
    return world ? world->rank : 0;
}

int world_ranks(const World *world)
{
    return world ? world->ranks : 1;
}

int world_data(const World *world)
{
    return world ? world->data : 1;
}

int world_tensor(const World *world)
{
    return world ? world->tensor : 1;
}

int world_stages(const World *world)
{
    return world ? world->stages : 1;
}

int world_batches(const World *world)
{
    return world ? world->data / world->context : 1;
}

int world_batch(const World *world)
{
    return world_replica(world) / (world ? world->context : 1);
}

int world_expert(const World *world)
{
    return world ? world_batch(world) % world->experts : 0;
}

int world_chunk(const World *world)
{
    return world ? world_replica(world) % world->context : 0;
}

int world_slice(const World *world)
{
    return world ? world->rank % world->tensor : 0;
}

int world_replica(const World *world)
{
    return world ? world->rank / world->tensor % world->data : 0;
}

int world_owner(const World *world)
{
    return world ? world_replica(world) % world->shards : 0;
}

int world_expert_owner(const World *world)
{
    return world ? axis_member(world, AXIS_EXPERT_SHARDS) : 0;
}

int world_stage(const World *world)
{
    return world ? world->rank / world->tensor / world->data : 0;
}

int world_rank_at(const World *world, int stage, int replica, int slice)
{
    return world ? (stage * world->data + replica) * world->tensor + slice : 0;
}

bool world_leads(const World *world)
{
    return world_rank(world) == 0;
}

void world_text(const Program *program, int threads, char text[WORLD_TEXT])
{
    int ranks = program_ranks(program), stages = program_stages(program);
    int slices = program_tensor(program);
    int chunks = program_context(program);
    char pipeline[32] = "", tensor[32] = "", context[32] = "";
    if (stages > 1)
        snprintf(pipeline, sizeof pipeline, "pipeline %d, ", stages);
    if (slices > 1)
        snprintf(tensor, sizeof tensor, "tensor %d, ", slices);
    if (chunks > 1)
        snprintf(context, sizeof context, "context %d, ", chunks);
    snprintf(text, WORLD_TEXT, "%d rank%s: %sdata %d, %s%s%d thread%s%s", ranks,
             ranks > 1 ? "s" : "", pipeline, program_data(program) / chunks,
             context, tensor, threads, threads > 1 ? "s" : "",
             ranks > 1 ? " each" : "");
}

void world_transport(const World *world, char text[WORLD_TEXT])
{
    text[0] = '\0';
    if (world && world->mail)
        snprintf(text, WORLD_TEXT, "by %s, %.1f MiB a rank to receive in",
                 mail_name(world), (double)MAIL_ROOM / (1 << 20));
}

int axis_members(const World *world, Axis axis)
{
    switch (axis) {
    case AXIS_DATA:     return world->data;
    case AXIS_CONTEXT:  return world->context;
    case AXIS_EXPERTS:  return world->experts;
    case AXIS_SAME:     return world->data / world->experts;
    case AXIS_CHUNK:    return world->data / world->context;
    case AXIS_SHARDS:   return world->shards;
    case AXIS_COPIES:   return world->data / world->shards;
    case AXIS_EXPERT_SHARDS: return world->expert_shards;
    case AXIS_EXPERT_COPIES:
        return world->data / world->experts / world->expert_shards;
    case AXIS_TENSOR:   return world->tensor;
    case AXIS_PIPELINE: return world->stages;
    case AXIS_ENDS:     return world->stages > 1 ? 2 : 1;
    case AXIS_EMBEDDINGS: return world->decoder > 0 ? 2 : 1;
    case AXIS_DECODER:  return world->decoder > 0 ? 2 : 1;
    case AXIS_WORLD:    break;
    case AXES:          break;
    }
    return world->ranks;
}

/* Number of those that have the same experts, in the order of the data axis. */
static int same_member(const World *world)
{
    return world_batch(world) / world->experts * world->context
        + world_chunk(world);
}

int axis_member(const World *world, Axis axis)
{
    switch (axis) {
    case AXIS_DATA:     return world_replica(world);
    case AXIS_CONTEXT:  return world_chunk(world);
    case AXIS_EXPERTS:  return world_expert(world);
    case AXIS_SAME:     return same_member(world);
    case AXIS_CHUNK:    return world_batch(world);
    case AXIS_SHARDS:   return world_owner(world);
    case AXIS_COPIES:   return world_replica(world) / world->shards;
    case AXIS_EXPERT_SHARDS: return same_member(world) % world->expert_shards;
    case AXIS_EXPERT_COPIES: return same_member(world) / world->expert_shards;
    case AXIS_TENSOR:   return world_slice(world);
    case AXIS_PIPELINE: return world_stage(world);
    case AXIS_ENDS:     return world_stage(world) > 0;
    case AXIS_EMBEDDINGS: return world_stage(world) > 0;
    case AXIS_DECODER:  return world_stage(world) > world->decoder;
    case AXIS_WORLD:    break;
    case AXES:          break;
    }
    return world->rank;
}

/* The rank of a member of those with the same experts. */
static int same_rank(const World *world, int member)
{
    int batch = member / world->context * world->experts + world_expert(world);
    return world_rank_at(world, world_stage(world),
                         batch * world->context + member % world->context,
                         world_slice(world));
}

int axis_rank(const World *world, Axis axis, int member)
{
    int stage = world_stage(world), replica = world_replica(world);
    int slice = world_slice(world), same = same_member(world);
    switch (axis) {
    case AXIS_DATA:     return world_rank_at(world, stage, member, slice);
    case AXIS_CONTEXT:
        return world_rank_at(world, stage,
                             replica - world_chunk(world) + member, slice);
    case AXIS_EXPERTS:
        return world_rank_at(world, stage, replica
                             + (member - world_expert(world)) * world->context,
                             slice);
    case AXIS_SAME:     return same_rank(world, member);
    case AXIS_CHUNK:
        return world_rank_at(world, stage, member * world->context
                             + world_chunk(world), slice);
    case AXIS_SHARDS:
        return world_rank_at(world, stage,
                             replica - world_owner(world) + member, slice);
    case AXIS_COPIES:
        return world_rank_at(world, stage, member * world->shards
                             + world_owner(world), slice);
    case AXIS_EXPERT_SHARDS:
        return same_rank(world, same - same % world->expert_shards + member);
    case AXIS_EXPERT_COPIES:
        return same_rank(world, member * world->expert_shards
                                + same % world->expert_shards);
    case AXIS_TENSOR:   return world_rank_at(world, stage, replica, member);
    case AXIS_PIPELINE: return world_rank_at(world, member, replica, slice);
    case AXIS_ENDS:
        return world_rank_at(world, member * (world->stages - 1), replica,
                             slice);
    case AXIS_EMBEDDINGS:
        return world_rank_at(world, member * world->decoder, replica, slice);
    case AXIS_DECODER:
        return world_rank_at(world, member ? world->stages - 1 : world->decoder,
                             replica, slice);
    case AXIS_WORLD:    break;
    case AXES:          break;
    }
    return member;
}

Axis axis_of(const World *world, long message)
{
    const char *axis = world->program->messages[message].axis;
    return strcmp(axis, "data") == 0 ? AXIS_DATA
        : strcmp(axis, "data and context") == 0 ? AXIS_DATA
        : strcmp(axis, "tensor") == 0 ? AXIS_TENSOR
        : strcmp(axis, "context") == 0 ? AXIS_CONTEXT
        : strcmp(axis, "experts") == 0 ? AXIS_EXPERTS
        : strcmp(axis, "same experts") == 0 ? AXIS_SAME
        : strcmp(axis, "same chunk") == 0 ? AXIS_CHUNK
        : strcmp(axis, "shard group") == 0 ? AXIS_SHARDS
        : strcmp(axis, "same share") == 0 ? AXIS_COPIES
        : strcmp(axis, "experts' shard group") == 0 ? AXIS_EXPERT_SHARDS
        : strcmp(axis, "same experts' share") == 0 ? AXIS_EXPERT_COPIES
        : strcmp(axis, "pipeline") == 0 ? AXIS_PIPELINE
        : strcmp(axis, "ends") == 0 ? AXIS_ENDS
        : strcmp(axis, "embeddings") == 0 ? AXIS_EMBEDDINGS
        : strcmp(axis, "decoder's ends") == 0 ? AXIS_DECODER : AXIS_WORLD;
}

/* The gate of this rank's group, which has its first member's number. */
static Gate *axis_gate(const World *world, Axis axis)
{
    return &world->block->gates[axis][axis_rank(world, axis, 0)];
}

/* ---- memory ------------------------------------------------------------- */

char *world_memory(World *world, size_t bytes, Error *error)
{
    int64_t there = world->memory_bytes[world->rank];
    if ((int64_t)bytes <= there)
        return world->memory[world->rank];
    error_set(error, ERROR_ENVIRONMENT, "internal error: rank %d has %lld of "
              "the %zu bytes of memory that it needs", world->rank,
              (long long)there, bytes);
    return NULL;
}

bool world_is_here(const World *world)
{
    return !world || world->ranks_here == world->ranks;
}

bool world_shares_memory(const World *world)
{
    return !world || !world->mail;
}

int64_t world_fetch_most(const World *world)
{
    return world && world->mail ? MAIL_ROOM : INT64_MAX;
}

const void *world_fetch(World *world, int rank, int64_t place, size_t bytes)
{
    if (!world->mail)
        return world->memory[rank] + place;
    return mail_fetch(world, rank, world->memory[world->rank] + place, bytes);
}

char *world_memory_of(const World *world, int rank)
{
    return world->memory[rank];
}

bool world_is_crowded(const World *world)
{
    return world && world->threads > world->cores;
}

/* ---- waiting ------------------------------------------------------------ */

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool has_failed(const World *world)
{
    return atomic_load(&world->block->failure.state) == FAILURE_KNOWN;
}

/* Sleeps until the counter has grown. As in team.c: a sleeper announces itself
 * before the kernel compares the value, a waker changes the value before it
 * counts sleepers. */
static bool sleep_past(World *world, Waited *counter, unsigned old)
{
    const struct timespec tenth = { .tv_nsec = 100000000 };
    bool failed = false;
    atomic_fetch_add(&counter->sleepers, 1);
    while (atomic_load(&counter->value) == old
           && !(failed = has_failed(world)))
        syscall(SYS_futex, &counter->value, FUTEX_WAIT, old, &tenth, NULL, 0);
    atomic_fetch_sub(&counter->sleepers, 1);
    return !failed;
}

static bool wait_past(World *world, Waited *counter, unsigned old, int waits)
{
    Notes *notes = &world->block->notes[world->rank];
    for (int i = 0; i < world->spins; i++) {
        if (atomic_load_explicit(&counter->value, memory_order_acquire) != old)
            return true;
        pause_briefly();
    }
    atomic_store(&notes->waits, waits);
    bool good = sleep_past(world, counter, old);
    atomic_store(&notes->waits, WAITS_FOR_NONE);
    return good;
}

bool waited_past(World *world, Waited *counter, unsigned old, int waits)
{
    TraceNote note = { .kind = TRACE_WAIT, .begin = trace_time(world->trace) };
    bool good = wait_past(world, counter, old, waits);
    trace_note(world->trace, note);
    return good;
}

void waited_advance(Waited *counter)
{
    atomic_fetch_add(&counter->value, 1);
    if (atomic_load(&counter->sleepers) > 0)
        syscall(SYS_futex, &counter->value, FUTEX_WAKE, INT32_MAX, NULL, NULL,
                0);
}

static bool gate_pass(World *world, Axis axis, int waits)
{
    Gate *gate = axis_gate(world, axis);
    unsigned members = (unsigned)axis_members(world, axis);
    unsigned before = atomic_load(&gate->passed.value);
    if (atomic_fetch_add(&gate->arrived, 1) + 1 < members)
        return waited_past(world, &gate->passed, before, waits);
    atomic_store(&gate->arrived, 0);
    waited_advance(&gate->passed);
    return true;
}

static char *slot_of(const World *world, Axis axis, int rank, unsigned turn)
{
    return world->block->notes[rank].slots[axis][turn % 2];
}

bool axis_meet(World *world, Axis axis, const void *mine, size_t bytes,
               int waits)
{
    unsigned turn = ++world->turns[axis];
    if (mine)
        memcpy(slot_of(world, axis, world->rank, turn), mine, bytes);
    if (!world->mail)
        return gate_pass(world, axis, waits);
    mail_slots(world, axis, bytes, waits);
    return true;
}

const void *axis_slot(const World *world, Axis axis, int member)
{
    return slot_of(world, axis, axis_rank(world, axis, member),
                   world->turns[axis]);
}

/* ---- between steps ------------------------------------------------------ */

bool world_exchange(World *world, const void *mine, size_t bytes,
                    const char *what, Error *error)
{
    atomic_store(&world->block->notes[world->rank].what, what);
    return axis_meet(world, AXIS_WORLD, mine, bytes, WAITS_BETWEEN_STEPS)
        || error_set(error, world->block->failure.status, "%s", "");
}

const void *world_slot(const World *world, int rank)
{
    return axis_slot(world, AXIS_WORLD, rank);
}

bool world_share(World *world, void *bytes, size_t count, const char *what,
                 Error *error)
{
    if (!world)
        return true;
    if (!world_exchange(world, bytes, count, what, error))
        return false;
    memcpy(bytes, world_slot(world, 0), count);
    return true;
}

bool world_meet(World *world, const char *what, Error *error)
{
    return !world || world_exchange(world, NULL, 0, what, error);
}

static bool gather_numbers(World *world, const double *mine, const char *what,
                           Error *error)
{
    return world_exchange(world, mine, sizeof *mine, what, error);
}

bool world_largest(World *world, double *value, Error *error)
{
    if (!world)
        return true;
    if (!gather_numbers(world, value, "compare times", error))
        return false;
    for (int rank = 0; rank < world->ranks; rank++) {
        const double *its = world_slot(world, rank);
        *value = *its > *value ? *its : *value;
    }
    return true;
}

bool world_power(World *world, double *value, Error *error)
{
    if (!world)
        return true;
    double own = *value;
    if (world_is_crowded(world))
        own *= world->cores / world->threads;
    if (!gather_numbers(world, &own, "measure the machine", error))
        return false;
    *value = 0;
    for (int rank = 0; rank < world->ranks; rank++)
        *value += *(const double *)world_slot(world, rank);
    return true;
}

bool world_stop(World *world, int *signal, Error *error)
{
    int asked = stop_signal();
    *signal = world ? 0 : asked;
    if (!world)
        return true;
    if (!world_exchange(world, &asked, sizeof asked, "agree to go on", error))
        return false;
    for (int rank = 0; rank < world->ranks; rank++) {
        const int *its = world_slot(world, rank);
        *signal = *signal ? *signal : *its;
    }
    return true;
}

/* ---- steps -------------------------------------------------------------- */

void world_enter(World *world, int64_t step)
{
    if (!world)
        return;
    Notes *notes = &world->block->notes[world->rank];
    if (step > 0)               /* an evaluation is of none, after the last */
        atomic_store(&notes->step, step);
    atomic_store(&notes->inside, step > 0 ? IN_A_STEP : IN_AN_EVALUATION);
}

void world_leave(World *world)
{
    if (world)
        atomic_store(&world->block->notes[world->rank].inside, OUTSIDE);
}

void world_set_trace(World *world, struct Trace *trace)
{
    if (world)
        world->trace = trace;
}

void world_count(World *world, bool on)
{
    if (world)
        world->counts = on;
}

MessageCount world_counted(const World *world, int message)
{
    if (!world)
        return (MessageCount){0};
    return world->block->counts[world->rank * world->messages + message];
}

const Program *world_whole(const World *world)
{
    return world->whole;
}

void world_set_program(World *world, const Program *program)
{
    world->program = program;
}

bool world_check(const World *world, int64_t steps, Error *error)
{
    for (int i = 0; world && i < world->messages; i++) {
        const Message *message = &world->program->messages[i];
        MessageCount counted = world_counted(world, i);
        int64_t bytes = message->bytes * steps;
        if (counted.calls != message->calls * steps || counted.bytes > bytes
            || (counted.bytes < bytes && !message->at_most))
            return error_set(error, ERROR_ENVIRONMENT, "internal error: rank "
                             "%d has sent \"%s\" (%s) %lld times, %lld bytes; "
                             "foretold for %lld steps were %lld times, %s%lld "
                             "bytes; please report this", world->rank,
                             message->name, message->where,
                             (long long)counted.calls,
                             (long long)counted.bytes, (long long)steps,
                             (long long)(message->calls * steps),
                             message->at_most ? "at most " : "",
                             (long long)bytes);
    }
    return true;
}

/* ---- the end ------------------------------------------------------------ */

void world_fail(World *world, int status, const char *text)
{
    Failure *failure = &world->block->failure;
    int none = FAILURE_NONE;
    if (world->mail)
        mail_fail(world, status, text);
    if (!atomic_compare_exchange_strong(&failure->state, &none,
                                        FAILURE_COMING))
        return;
    failure->status = status;
    snprintf(failure->text, sizeof failure->text, "%s", text);
    atomic_store(&failure->state, FAILURE_KNOWN);
}

void world_free(World *world)
{
    if (!world)
        return;
    if (world->mail)
        mail_close(world);
    free(world->memory);
    free(world->memory_bytes);
    free(world);
}
