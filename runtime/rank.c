/* rank.c: a rank's memory and how a step is run on it (see rank.h).
 * SPDX-License-Identifier: 0BSD */
#include "rank.h"
#include "inputs.h"
#include "memory.h"
#include <stdlib.h>
#include <string.h>

static Program with_part(const Program *program, const Part *part)
{
    Program own = *program;
    own.weight_bytes = part->weight_bytes;
    own.gradient_floats = part->gradient_floats;
    own.share_floats = part->share_floats;
    own.tensor_count = part->tensor_count;
    own.tensors = part->tensors;
    own.step_count = part->step_count;
    own.steps = part->steps;
    own.message_count = part->message_count;
    own.messages = part->messages;
    return own;
}

Program program_of_stage(const Program *program, int stage)
{
    if (stage >= program->part_count)
        return *program;
    return with_part(program, &program->parts[stage]);
}

Program program_alone(const Program *program)
{
    if (!program->one_rank)
        return *program;
    Program own = with_part(program, program->one_rank);
    own.ranks = own.data = own.stages = own.tensor = 1;
    own.chunks = own.expert_ranks = 1;
    own.shard = own.part_count = 0;
    return own;
}

const Step *program_step(const Program *program, const char *name)
{
    for (int i = 0; i < program->step_count; i++)
        if (strcmp(program->steps[i].name, name) == 0)
            return &program->steps[i];
    return NULL;
}

/* Which steps go with one: of those named, a program has what it needs. */
static const struct Companions {
    const char *name;
    const char *others[3];
} companions[] = {
    { "train", { "eval", "score", "prepare" } },
    { "eval", { "score", "prepare" } },
    { "generate", { "encode", "prepare" } },
    { "encode", { "generate", "prepare" } },
    { "forward", { "prepare" } },
    { "predict", { "prepare" } },
    { "score", { "prepare" } },
};

static void add_step(StepSet *set, const Program *program, const char *name)
{
    const Step *step = program_step(program, name);
    bool unused = strcmp(name, "score") == 0 && set->count > 0
        && !is_preference(program);
    if (step && !unused)
        set->at[set->count++] = step;
}

StepSet steps_with(const Program *program, const char *name)
{
    StepSet set = {0};
    add_step(&set, program, name);
    if (set.count == 0)
        return set;
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++)
        for (int j = 0; strcmp(companions[i].name, name) == 0 && j < 3
                        && companions[i].others[j]; j++)
            add_step(&set, program, companions[i].others[j]);
    return set;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

Plan rank_plan(const Program *program, const StepSet *set, int threads)
{
    Plan plan = { .threads = threads };
    for (int i = 0; i < set->count; i++) {
        const Step *step = set->at[i];
        plan.state_bytes = larger(plan.state_bytes, step->state_bytes);
        plan.value_bytes = larger(plan.value_bytes, step->value_bytes);
        plan.thread_bytes = larger(plan.thread_bytes, step->thread_bytes);
    }
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->at[i]->name, "grad") == 0)
            plan.gradients_at = set->at[i]->gradients_at;
    plan.moment_floats = program->share_floats;
    plan.weight_bytes = round_up(program->weight_bytes, PAGE);
    plan.state_bytes = round_up(plan.state_bytes, PAGE);
    plan.value_bytes = round_up(plan.value_bytes, PAGE);
    plan.thread_bytes = round_up(plan.thread_bytes, PAGE);
    plan.fixed_bytes = plan.weight_bytes + plan.state_bytes + plan.value_bytes;
    plan.total_bytes = plan.fixed_bytes + threads * plan.thread_bytes;
    return plan;
}

/* ---- memory ------------------------------------------------------------- */

static void touch(const Thread *me, void *context)
{
    Rank *rank = context;
    long pages = (long)(rank->memory_bytes / PAGE);
    for (long i = share_start(me, pages); i < share_end(me, pages); i++)
        *(volatile char *)(rank->memory + i * PAGE) = 0;
}

/* Of ranks that are not alone theirs was mapped, and counted, when the world
 * was made. */
static bool map_memory(Rank *rank, Error *error)
{
    int64_t total = rank->plan.total_bytes;
    rank->memory_bytes = (size_t)round_up(total, PAGE);
    if (rank->world) {
        rank->memory = world_memory(rank->world, rank->memory_bytes, error);
        return rank->memory != NULL;
    }
    int64_t available = memory_available();
    if (total > available)
        return error_set(error, 3, "%s needs %.1f MiB of memory (%lld bytes); "
                         "this machine has %.1f MiB (%lld bytes) available",
                         rank->program->name, (double)total / (1 << 20),
                         (long long)total, (double)available / (1 << 20),
                         (long long)available);
    rank->memory = memory_map(total, false, rank->program->name, error);
    return rank->memory != NULL;
}

/* ---- what the compiler promised ----------------------------------------- */

static bool inside(int64_t at, int64_t bytes, int64_t room)
{
    return at >= 0 && bytes >= 0 && at <= room && bytes <= room - at;
}

static bool value_fits(const Value *value, const Step *step)
{
    int64_t bytes = 4;
    for (int axis = 0; axis < value->rank && axis < 4; axis++)
        bytes *= value_dim(value, axis, step->batch, step->sequence);
    int64_t last = value->offset + (value->repeat - 1) * value->stride;
    return value->repeat == 0       /* a model without blocks */
        || (value->rank <= 4 && inside(last * 4, bytes, step->value_bytes));
}

/* Every input is one that the runtime knows, and in its place. */
static bool inputs_fit(const Step *step)
{
    int known = 0;
    for (int i = 0; i < INPUT_FIELDS; i++) {
        const Input *input = step_input(step, input_fields[i].name);
        if (!input)
            continue;
        int64_t bytes = input_row(input, step->sequence) * step->batch * 4;
        if (!inside(input->offset, bytes, step->value_bytes)
            || (input->real != 0) != input_fields[i].real)
            return false;
        known++;
    }
    return known == step->input_count;
}

/* What the runtime reads of a step's logits; training and evaluation keep only
 * a chunk of them, and for themselves. */
static int64_t logits_bytes(const Program *program, const Step *step)
{
    if (strcmp(step->name, "train") == 0 || strcmp(step->name, "eval") == 0)
        return 0;
    bool one_row = strcmp(step->name, "generate") == 0;
    int64_t rows = one_row ? 1 : step->logits_pooled ? step->batch
        : step->batch * step->sequence;
    return rows * logits_width(program, step) * 4;
}

/* Whether the step's places lie in the memory that it says it has. */
static bool step_fits(const Program *program, const Step *step)
{
    int64_t gradients = program->gradient_floats * 4;
    int64_t room = step->value_bytes;
    for (int i = 0; i < step->value_count; i++)
        if (!value_fits(&step->values[i], step))
            return false;
    return inputs_fit(step)
        && (step->logits_at < 0
            || inside(step->logits_at, logits_bytes(program, step), room))
        && (step->sums_at < 0 || strcmp(step->name, "score") != 0
            || inside(step->sums_at, step->batch * 4, room))
        && (step->gradients_at < 0
            || inside(step->gradients_at, gradients, room))
        && (step->state_bytes == 0
            || program->moments * program->share_floats * 4
                <= step->state_bytes);
}

static bool steps_fit(const Program *program, const StepSet *set)
{
    for (int i = 0; i < set->count; i++)
        if (!step_fits(program, set->at[i]))
            return false;
    return set->count > 0;
}

static bool tensors_fit(const Program *program, bool packed)
{
    for (int i = 0; i < program->tensor_count; i++) {
        const Tensor *t = &program->tensors[i];
        int64_t bytes = t->dim0 * (t->rank > 1 ? t->dim1 : 1)
            * (t->rank > 2 ? t->dim2 : 1) * 4;
        if (t->experts)
            bytes /= program_experts(program);
        if (t->slice == SLICE_ROWS && t->dim0 > 0)
            bytes = (t->dim0 + program_tensor(program) - 1)
                / program_tensor(program) * (bytes / t->dim0);
        else if (t->slice != SLICE_WHOLE)
            bytes /= program_tensor(program);
        int64_t last = t->repeat - 1;
        if (t->repeat == 0)
            continue;
        int64_t room = program->weight_bytes;
        if (packed)             /* tables lie behind shares, not behind all */
            room += 4 * (program->gradient_floats - program->share_floats);
        if (!inside((t->weight + last * t->weight_stride) * 4, bytes, room))
            return false;
        if (t->gradient >= 0
            && !inside((t->gradient + last * t->gradient_stride) * 4, bytes,
                       program->gradient_floats * 4))
            return false;
    }
    return true;
}

/* ---- open, run, close --------------------------------------------------- */

/* Ranks of other stages run steps of the same names. */
static bool plan_stages(Rank *rank, const StepSet *set, int threads)
{
    int stages = world_stages(rank->world);
    rank->stage_plans = calloc((size_t)stages, sizeof *rank->stage_plans);
    for (int stage = 0; rank->stage_plans && stage < stages; stage++) {
        const Program own = rank->world
            ? program_of_stage(rank->program, stage) : *rank->program;
        StepSet its = *set;
        for (int i = 0; i < set->count; i++)
            its.at[i] = program_step(&own, set->at[i]->name);
        rank->stage_plans[stage] = rank_plan(&own, &its, threads);
    }
    return rank->stage_plans != NULL;
}

bool rank_open(Rank *rank, const Program *program, const StepSet *set,
               int threads, struct World *world, Error *error)
{
    *rank = (Rank){ .program = program, .world = world };
    rank->plan = rank_plan(program, set, threads);
    if (!plan_stages(rank, set, threads))
        return error_set(error, 3, "out of memory");
    bool packed = world && program->shard == SHARD_WEIGHTS;
    for (int i = 0; i < set->count && !packed; i++)
        if (strcmp(set->at[i]->name, "prepare") == 0)
            rank->prepare = set->at[i]; /* else a block does, once gathered */
    if (!tensors_fit(program, packed) || !steps_fit(program, set))
        return error_set(error, 3, "internal error: the program's memory map "
                         "contradicts itself; please report this");
    if (!map_memory(rank, error))
        return false;
    char *state = rank->memory + rank->plan.weight_bytes;
    char *values = state + rank->plan.state_bytes;
    char *workspace = values + rank->plan.value_bytes;
    rank->team = team_start(threads, (float *)(void *)workspace,
                            (long)(rank->plan.thread_bytes / 4), error);
    if (!rank->team) {
        rank_close(rank);
        return false;
    }
    team_join(rank->team, world);
    rank->control.stage = world_stage(world);
    rank->control.slice = world_slice(world);
    rank->control.share = world_owner(world);
    rank->control.expert = world_expert(world);
    rank->control.expert_share = world_expert_owner(world);
    rank->control.chunk = world_chunk(world);
    rank->control.replica = world_replica(world);
    rank->control.weights = (float *)(void *)rank->memory;
    rank->control.state = (float *)(void *)state;
    rank->control.values = (float *)(void *)values;
    team_run(rank->team, touch, rank);
    rank_select(rank, set->at[0]);
    return true;
}

void rank_close(Rank *rank)
{
    if (rank->team)
        team_stop(rank->team);
    if (rank->memory && !rank->world)
        memory_unmap(rank->memory, (int64_t)rank->memory_bytes);
    free(rank->stage_plans);
    rank->stage_plans = NULL;
    rank->team = NULL;
    rank->memory = NULL;
}

const char *rank_fetch(const Rank *rank, int owner, int64_t place,
                       int64_t bytes)
{
    return rank->world
        ? world_fetch(rank->world, owner, place, (size_t)bytes)
        : rank->memory + place;
}

float *rank_floats(const Rank *rank, int64_t at)
{
    return rank->control.values + at / 4;
}

int32_t *rank_ints(const Rank *rank, int64_t at)
{
    return (int32_t *)(void *)rank_floats(rank, at);
}

int64_t value_dim(const Value *value, int axis, int64_t batch,
                  int64_t sequence)
{
    const int64_t dims[4] = { value->dim0, value->dim1, value->dim2,
                              value->dim3 };
    return call_size(dims[axis], batch, sequence);
}

void rank_select(Rank *rank, const Step *step)
{
    Control *control = &rank->control;
    point_inputs(control, step);
    control->batch = step->batch;
    control->sequence = step->sequence;
    control->position = 0;
}

typedef struct Call {
    Control *control;
    program_entry entry;
} Call;

static void call_entry(const Thread *me, void *context)
{
    Call *call = context;
    call->entry(me, call->control);
}

void rank_run(Rank *rank, const Step *step)
{
    Call call = { &rank->control, step->entry };
    world_enter(rank->world, rank->control.step);
    team_run(rank->team, call_entry, &call);
    world_leave(rank->world);
}

void rank_prepare(Rank *rank)
{
    if (!rank->prepare)
        return;
    rank_select(rank, rank->prepare);
    rank_run(rank, rank->prepare);
}
