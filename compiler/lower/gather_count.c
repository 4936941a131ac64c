/* gather_count.c: how often a training step gathers a block's weights. What
 * lies where is known before it runs (gather.c), so the step's passes through
 * its blocks are played here, and the messages that they make are foretold. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* A stage's passes through its blocks of a stack, in the order of a step. */
typedef struct Passes {
    Lower *l;
    int stack;
    int64_t places, lies[2];        /* which block in each; -1: none */
    int64_t gathered;
} Passes;

/* Through blocks [from, to), of those that the stage has. */
static void pass(Passes *passes, const Stmt *loop, int64_t from, int64_t to)
{
    if (loop->kind != STEP_REPEAT || loop->stack != passes->stack
        || !gathers_blocks(passes->l, loop))
        return;
    for (int64_t i = from; i < to; i++) {
        int64_t block = loop->down ? to - 1 - (i - from) : i;
        int64_t *lies = &passes->lies[block % passes->places];
        passes->gathered += *lies != block;
        *lies = block;
    }
}

static void pass_all(Passes *passes, const Stmt *stmt, int64_t ranks)
{
    int64_t times = stmt->kind == STEP_GROUPS ? stmt->count / ranks
                  : stmt->kind == STEP_MICROS ? stmt->count
                                              : 1;
    pass(passes, stmt, 0, stack_blocks(passes->l->m, passes->stack));
    for (int64_t i = 0; i < times; i++)
        for (int j = 0; j < stmt->body.count; j++)
            pass_all(passes, stmt->body.at[j], ranks);
}

/* Is the loop what a stage does in such an action? */
static bool is_of_action(const Stmt *loop, ActionKind kind)
{
    bool weights = loop->kind == STEP_REPEAT
        && func_is_weight_half(loop->body.at[0]->func);
    return loop->down == (kind != ACTION_FORWARD)
        && weights == (kind == ACTION_WEIGHTS);
}

/* … and behind the last of a group what is done once a group (close_run). */
static void pass_action(Passes *passes, const Stmt *groups, int stage,
                        const Action *action)
{
    const Lower *l = passes->l;
    const Stmt *micros = groups->body.at[0];
    const ModelChunk *chunk = part_chunk(l, stage, (int)action->chunk);
    int64_t from = part_blocks_before(l, stage, (int)action->chunk);
    int64_t to = from + chunk->to - chunk->from;
    ActionKind closing = l->halves ? ACTION_WEIGHTS : ACTION_BACKWARD;
    if (chunk->stack != passes->stack)
        return;
    for (int i = 0; i < micros->body.count; i++)
        if (is_of_action(micros->body.at[i], action->kind))
            pass(passes, micros->body.at[i], from, to);
    if (action->kind == closing
        && action->micro % micros->count == micros->count - 1)
        for (int i = 1; i < groups->body.count; i++)
            pass(passes, groups->body.at[i], from, to);
}

/* How often a stage gathers one of its blocks of a stack in a training step. */
static int64_t block_gathers(const Steps *s, int stage, int stack)
{
    Lower *l = s->l;
    const Step *step = s->map->step;
    Passes passes = { l, stack, stack_places(l, stack), { -1, -1 }, 0 };
    const Stmt *groups = NULL;
    for (int i = 0; i < step->body.count; i++) {
        if (step->body.at[i]->kind == STEP_GROUPS)
            groups = step->body.at[i];
        if (!s->stage)
            pass_all(&passes, step->body.at[i], s->map->replicas);
    }
    const StageRun *run = s->stage ? &step->stages.at[stage] : NULL;
    for (int i = 0; run && i < run->actions.count; i++)
        pass_action(&passes, groups, stage, &run->actions.at[i]);
    return passes.gathered;
}

void step_foretell_gathers(Steps *s)
{
    int64_t *calls = arena_alloc(s->l->arena,
                                 (size_t)s->l->stages * sizeof *calls);
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (unit->stack < 0 || unit->shards == 1)
            continue;
        for (int stage = 0; stage < s->l->stages; stage++)
            calls[stage] = block_gathers(s, stage, unit->stack);
        step_unit_calls(s, "gather weights", ALL_GATHER, unit, calls);
    }
}
