/* gather.c: weights of which a rank keeps its share (ZeRO-3): those outside
 * blocks are gathered once a step, a block's before each call, into one of two
 * places in turn (overlap: false: into one), and dropped by what comes there
 * next. A block that still lies in its place is not gathered again: backward
 * begins with those that forward has left. See shards.c for units and shares.
 */
#include "steps.h"
#include "../../runtime/collectives.h"

/* void gather_unit(const Thread *me, long message, float *all,
 *                  const float *own, long member, long each) */
static ProgFunc *gather_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "gather_unit");
    if (f)
        return f;
    ProgFunc *copy = copy_func(l);
    f = prog_func(p, "gather_unit", "All shares of a unit, of which this rank "
                  "has its own.", prog_void());
    const ProgRecord *thread = prog_runtime_record(p, "Thread");
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(thread, true));
    ProgVar *message = prog_param(p, f, "message", prog_i64());
    ProgVar *all = prog_param(p, f, "all", prog_pointer(PK_F32, false));
    ProgVar *own = prog_param(p, f, "own", prog_pointer(PK_F32, true));
    ProgVar *number = prog_param(p, f, "member", prog_i64());
    ProgVar *each = prog_param(p, f, "each", prog_i64());
    ProgExpr *to = px_offset(p, px_var(p, all),
                             px_mul(p, px_var(p, number), px_var(p, each)));
    ps_do(p, &f->body, px_callv(p, prog_library(p, "barrier"), px_var(p, me),
                                NULL));
    ps_do(p, &f->body, px_callv(p, copy, px_var(p, me), to, px_var(p, own),
                                px_var(p, each), NULL));
    ps_do(p, &f->body, px_callv(p, prog_library(p, "all_gather_f32"),
                                px_var(p, me), px_var(p, message),
                                px_var(p, all), px_var(p, each), NULL));
    prog_define(p, f);
    return f;
}

/* What is gathered of a stack's experts lies behind the block's others; those
 * that no other rank has are not. */
int64_t gathered_floats(const Lower *l, const Unit *unit, int stage)
{
    int64_t floats = unit->shards * part_unit_share(l, unit, stage);
    if (stage >= 0 && unit->stack >= 0
        && !stack_blocks_on(l, unit->stack, stage))
        return 0;
    for (int i = 0; unit->stack >= 0 && i < l->units.count; i++) {
        const Unit *other = &l->units.at[i];
        if (other->stack == unit->stack && other->experts && other->shards > 1)
            floats += other->floats;
    }
    return floats;
}

/* Blocks have two in turn where one arrives while another is used. */
int64_t gathered_places(const Lower *l, const Unit *unit, int stage)
{
    int64_t blocks = 0;
    if (unit->stack < 0 || !l->m->mesh.prefetch)
        return 1;
    for (int i = 0; i < l->stages; i++)
        if ((stage < 0 || stage == i)
            && stack_blocks_on(l, unit->stack, i) > blocks)
            blocks = stack_blocks_on(l, unit->stack, i);
    return blocks > 1 ? 2 : 1;
}

/* The same of the stage that has the most, for code that all run. */
static int64_t places_of(const Lower *l, int stack)
{
    return gathered_places(l, block_unit(l, stack), -1);
}

/* Of experts that no two ranks have there is one share. */
static void copy_unit(Steps *s, ProgBlock *b, const Unit *unit, ProgExpr *all,
                      ProgExpr *own)
{
    ProgExpr *args[] = { var(s, s->me), all, own, step_share(s, unit) };
    step_barrier(s, b);
    step_call(s, b, copy_func(s->l), args, 4);
    step_barrier(s, b);
}

static void gather_unit(Steps *s, ProgBlock *b, const Unit *unit,
                        ProgExpr *message, ProgExpr *all, ProgExpr *own)
{
    ProgExpr *args[] = { var(s, s->me), message, all, own,
                         step_share_number(s, unit), step_share(s, unit) };
    step_call(s, b, gather_func(s->l), args, 6);
}

/* Once a step. */
static void gather_once(Steps *s, ProgBlock *b, const Unit *unit,
                        const char *message, ProgExpr *all, ProgExpr *own)
{
    if (unit->shards == 1)
        copy_unit(s, b, unit, all, own);
    else
        gather_unit(s, b, unit,
                    step_unit_message(s, message, ALL_GATHER, unit, 1), all,
                    own);
}

/* The message of what is gathered a block at a time (step_foretell_gathers). */
static ProgExpr *blocks_message(Steps *s, const Unit *unit)
{
    return step_unit_message(s, "gather weights", ALL_GATHER, unit, 0);
}

const char *gathered_region(const Lower *l, const Unit *unit)
{
    return arena_printf(l->arena, "%s_weights", unit->name);
}

/* Floats from the first table to this one: on stages, by their table. */
static ProgExpr *table_at(Lower *l, int weight, const ProgVar *stage)
{
    Prog *p = l->p;
    if (!stage)
        return px_int(p, l->weight_at[weight] - l->moment_floats);
    const char *name = c_name(l, l->m->weights.at[weight].name);
    return px_sub(p, px_field(p, px_var(p, stage), name),
                  px_field(p, px_var(p, stage), "moment"));
}

/* void gathered_weights(Shared *to, float *before, …, float *tables
 *                       [, const Stage *stage]) */
static ProgFunc *gathered_func(Lower *l)
{
    Prog *p = l->p;
    if (l->gathered_weights)
        return l->gathered_weights;
    ProgFunc *f = prog_func(p, "gathered_weights", "Where gathered parameters "
                            "lie.", prog_void());
    f->inlined = true;
    ProgVar *to = prog_param(p, f, "to", prog_pointer_to(l->shared, false));
    ProgVar *units[MOST_UNITS] = {0};
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack < 0)
            units[i] = prog_param(p, f, l->units.at[i].name,
                                  prog_pointer(PK_F32, false));
    ProgVar *tables = prog_param(p, f, "tables", prog_pointer(PK_F32, false));
    ProgVar *stage = l->parts
        ? prog_param(p, f, "stage", prog_pointer_to(l->stage, true)) : NULL;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        const Unit *unit = unit_of(l, i);
        if (w->stack >= 0)
            continue;
        ProgExpr *at = unit
            ? px_offset(p, px_var(p, units[unit - l->units.at]),
                        px_const(p, l->offsets[i]))
            : px_offset(p, px_var(p, tables), table_at(l, i, stage));
        p->here = w->origin.model;
        ps_field_set(p, &f->body, px_var(p, to), c_name(l, w->name), at);
    }
    p->here = (Loc){0};
    prog_define(p, f);
    l->gathered_weights = f;
    return f;
}

void write_gathering(Lower *l)
{
    gather_func(l);
    gathered_func(l);
}

/* What lies outside blocks, for the whole step. */
void step_gather_shared(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    List(ProgExpr *) args = {0};
    ps_comment(p, b, "parameters outside blocks, of which a rank has a share");
    list_push(l->arena, &args, px_address(p, var(s, s->shared)));
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        if (unit->stack >= 0)
            continue;
        ProgBlock *some = step_where_unit(s, b, unit);
        ProgExpr *all = step_region(s, gathered_region(l, unit));
        gather_once(
            s, some, unit, "gather weights", all,
            step_packed_share(s, unit, step_control(s, "weights")));
        list_push(l->arena, &args, all);
    }
    list_push(l->arena, &args,
              px_offset(p, step_control(s, "weights"), step_moment_share(s)));
    if (s->stage)
        list_push(l->arena, &args, var(s, s->stage));
    step_call(s, b, gathered_func(l), args.at, args.count);
}

/* Experts that no other rank has: they are where they are. */
static void point_at_experts(Steps *s, ProgBlock *b, const Unit *unit)
{
    Prog *p = s->p;
    Lower *l = s->l;
    ProgVar *own = step_let(
        s, b, unit->name,
        step_packed_share(s, unit, step_control(s, "weights")));
    for (int i = 0; i < l->m->weights.count; i++)
        if (in_unit(l, unit, i))
            ps_field_set(p, b, var(s, s->w[s->stack]),
                         c_name(l, l->m->weights.at[i].name),
                         px_offset(p, var(s, own),
                                   px_const(p, l->offsets[i])));
}

/* Which of two places in turn is the open block's. */
static ProgExpr *turn(Steps *s)
{
    return px_rem(s->p, step_own_block(s), num(s, 2));
}

/* Where the open block's parameters are gathered. */
static ProgExpr *gathered_block(Steps *s)
{
    Prog *p = s->p;
    const Unit *unit = block_unit(s->l, s->stack);
    ProgExpr *at = step_region(s, gathered_region(s->l, unit));
    if (places_of(s->l, s->stack) == 1)
        return at;
    return px_offset(p, at, px_mul(p, turn(s), px_const(p, unit->gathered)));
}

/* A unit of the open block: where all of it goes, and this rank's share. */
static ProgExpr *gathered_unit(Steps *s, const Unit *unit)
{
    ProgExpr *all = gathered_block(s);
    return unit->experts
        ? px_offset(s->p, all, px_const(s->p, s->l->experts_const[s->stack]))
        : all;
}

static ProgExpr *kept_share(Steps *s, const Unit *unit)
{
    return step_packed_share(s, unit, step_control(s, "weights"));
}

/* Is it gathered a block at a time? */
static bool is_of_block(const Steps *s, const Unit *unit)
{
    return unit->stack == s->stack && unit->shards > 1;
}

/* A half of the open block's gathering (see begin_gather_f32). */
static void half_gather(Steps *s, ProgBlock *b, const char *half)
{
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (!is_of_block(s, unit))
            continue;
        ProgExpr *args[] = {
            var(s, s->me), blocks_message(s, unit), gathered_unit(s, unit),
            kept_share(s, unit), step_share(s, unit),
        };
        step_call(s, b, prog_library(s->p, half), args, 5);
    }
}

/* ---- derived weights ---- */
/* The call that makes a stack's; NULL: it has none. */
static const Stmt *preparation(const Module *m, int stack)
{
    const Step *prepare = module_find_step(m, "prepare");
    for (int i = 0; prepare && i < prepare->body.count; i++)
        if (prepare->body.at[i]->stack == stack)
            return prepare->body.at[i]->body.at[0];
    return NULL;
}

bool makes_derived(const Module *m, const Func *f)
{
    const Stmt *call = f->stack < 0 ? NULL : preparation(m, f->stack);
    return call && call->func == f;
}

static bool reads_derived(const Module *m, const Func *f)
{
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind == VALUE_WEIGHT
            && m->weights.at[f->values.at[i]->weight].derived)
            return true;
    return false;
}

/* What was made of a gathered block is gone with it: it is made anew, before
 * what reads it; a block that stays has it for all that come. */
static void derive(Steps *s, ProgBlock *b, const Func *reader)
{
    const Stmt *call = preparation(s->l->m, s->stack);
    if (call && (s->even[s->stack] || reads_derived(s->l->m, reader)))
        step_statement(s, b, call);
}

/* ---- which blocks lie where ---- */
static ProgVar *block_variable(Steps *s, ProgBlock *b, const char *name)
{
    const char *prefix = s->l->m->stacks.at[s->stack].prefix;
    if (*prefix)
        name = arena_printf(s->l->arena, "%.*s_%s", (int)strlen(prefix) - 1,
                            prefix, name);
    return step_let(s, b, name, num(s, -1));
}

void step_track_blocks(Steps *s, ProgBlock *b)
{
    ps_comment(s->p, b, "which gathered blocks lie in their places, and which "
               "is under way; -1: none");
    for (int i = 0; i < s->l->m->stacks.count; i++) {
        if (!block_unit(s->l, i))
            continue;
        s->stack = i;
        bool two = places_of(s->l, i) > 1;
        s->even[i] = block_variable(s, b, two ? "even" : "whole");
        if (two)
            s->odd[i] = block_variable(s, b, "odd");
        if (s->l->m->mesh.prefetch)
            s->coming[i] = block_variable(s, b, "coming");
    }
    s->stack = 0;
}

static ProgExpr *is_odd(Steps *s)
{
    return px_eq(s->p, turn(s), num(s, 1));
}

/* Does the open block not lie in its place? */
static ProgExpr *is_absent(Steps *s)
{
    Prog *p = s->p;
    ProgExpr *there = var(s, s->even[s->stack]);
    if (s->odd[s->stack])
        there = px_select(p, is_odd(s), var(s, s->odd[s->stack]), there);
    return px_ne(p, there, var(s, s->block));
}

/* From here on it does. */
static void put_block(Steps *s, ProgBlock *b)
{
    ProgBlock *even = b;
    if (s->odd[s->stack]) {
        ProgBlock *odd = ps_if(s->p, b, is_odd(s), &even);
        ps_set(s->p, odd, s->odd[s->stack], var(s, s->block));
    }
    ps_set(s->p, even, s->even[s->stack], var(s, s->block));
}

static bool uses_block(Lower *l, const Stmt *loop)
{
    for (int i = 0; i < loop->body.count; i++)
        if (find_code(l, loop->body.at[i]->func)->uses_block)
            return true;
    return false;
}

/* Does a loop gather its blocks? See step_derive for what makes weights of
 * them. */
static bool gathers_blocks(Lower *l, const Stmt *loop)
{
    return block_unit(l, loop->stack) && uses_block(l, loop)
        && !makes_derived(l->m, loop->body.at[0]->func);
}

/* The open block's, unless they lie there, set out. */
static void set_out(Steps *s, ProgBlock *b)
{
    half_gather(s, b, "begin_gather_f32");
    if (!s->even[s->stack])
        return;
    put_block(s, b);
    ps_set(s->p, b, s->coming[s->stack], var(s, s->block));
}

/* A loop whose blocks lie where a loop the other way has left them begins with
 * one that is there; stages may have had other micro-batches between. */
void step_set_out(Steps *s, ProgBlock *b, const Stmt *loop)
{
    Prog *p = s->p;
    const Stmt *before = s->passed[loop->stack];
    if (!gathers(s->l, s->map->step) || !s->l->m->mesh.prefetch
        || !gathers_blocks(s->l, loop))
        return;
    s->ahead = loop;
    if (!s->stage && before && before->down != loop->down)
        return;
    bool sure = !s->even[loop->stack] || (!s->stage && !before && s->runs == 1);
    s->stack = loop->stack;
    ps_comment(p, b, "its first block's parameters set out");
    s->block = step_let(s, b, "start",
                        loop->down ? px_sub(p, step_blocks(s), num(s, 1))
                                   : step_first_block(s));
    set_out(s, sure ? b : ps_if(p, b, is_absent(s), NULL));
    s->block = NULL;
    s->stack = 0;
}

/* The block behind the open one sets out, if there is one. */
static void set_out_next(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ProgVar *block = s->block, *own = s->own;
    ProgExpr *l = var(s, block);
    ProgExpr *last = px_sub(p, step_blocks(s), num(s, 1));
    ProgExpr *first = step_first_block(s);
    b = ps_if(p, b, s->down ? px_lt(p, first, l) : px_lt(p, l, last), NULL);
    s->block = step_let(s, b, "next", s->down ? px_sub(p, l, num(s, 1))
                                              : px_add(p, l, num(s, 1)));
    s->own = NULL;
    set_out(s, s->even[s->stack] ? ps_if(p, b, is_absent(s), NULL) : b);
    s->block = block;
    s->own = own;
}

/* The open block's have been on their way since the block before, unless they
 * lay there; gives where they have arrived. */
static ProgBlock *arrive(Steps *s, ProgBlock *b)
{
    ProgVar *coming = s->coming[s->stack];
    if (coming)
        b = ps_if(s->p, b, px_eq(s->p, var(s, coming), var(s, s->block)), NULL);
    half_gather(s, b, "end_gather_f32");
    if (coming)
        ps_set(s->p, b, coming, num(s, -1));
    return b;
}

/* All at once, where nothing is under way; gives where they were absent. */
static ProgBlock *gather_now(Steps *s, ProgBlock *b)
{
    if (s->even[s->stack])
        b = ps_if(s->p, b, is_absent(s), NULL);
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (is_of_block(s, unit))
            gather_unit(s, b, unit, blocks_message(s, unit),
                        gathered_unit(s, unit), kept_share(s, unit));
    }
    if (s->even[s->stack])
        put_block(s, b);
    return b;
}

/* The open block's, for the calls of a loop. */
void step_gather_block(Steps *s, ProgBlock *b, const Stmt *loop)
{
    Lower *l = s->l;
    ProgBlock *fresh;
    if (!gathers_blocks(l, loop))
        return;
    step_point(s, b, l->stacks[s->stack].weights, s->w[s->stack],
               gathered_block(s));
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack == s->stack && l->units.at[i].shards == 1)
            point_at_experts(s, b, &l->units.at[i]);
    if (l->m->mesh.prefetch)
        ps_comment(s->p, b,
                   "parameters arrive while the block before computes");
    fresh = l->m->mesh.prefetch ? arrive(s, b) : gather_now(s, b);
    derive(s, fresh, loop->body.at[0]->func);
    if (l->m->mesh.prefetch && places_of(l, s->stack) > 1)
        set_out_next(s, b);
}

/* ---- how often ---- */
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
    Passes passes = { l, stack, places_of(l, stack), { -1, -1 }, 0 };
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

/* A rank may read others' shares until it ends a step, and where that only goes
 * forward nothing else is waited for. */
void step_leave_shares(Steps *s, ProgBlock *b)
{
    const Unit *unit = &s->l->units.at[0];
    if (!s->l->m->mesh.prefetch)
        return;
    ProgExpr *args[] = {
        var(s, s->me),
        step_unit_message(s, "gather weights", ALL_GATHER, unit, 0),
    };
    ps_comment(s->p, b, "until here others may read this rank's share");
    step_call(s, b, prog_library(s->p, "meet"), args, 2);
}

/* ---- once a step ---- */
/* What the owners have made of their shares of the weights. */
void step_gather_weights(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    if (l->m->mesh.shard == SHARD_PARAMETERS)
        return;
    ps_comment(p, b, "every rank gets all weights");
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *some = step_where_unit(s, b, unit);
        if (unit->shards == 1 || !some)
            continue;
        ProgBlock *body = step_each_block(s, some, unit->stack);
        ProgExpr *at = step_unit_begin(s, unit);
        if (unit->stack >= 0)
            at = px_add(
                p, at,
                px_mul(p, step_own_block(s),
                       px_const(p, l->stacks[unit->stack].floats_const)));
        ProgExpr *args[] = {
            var(s, s->me),
            step_unit_message(s, "gather weights", ALL_GATHER, unit, 1),
            px_offset(p, step_control(s, "weights"), at),
            step_share(s, unit),
        };
        step_call(s, body, prog_library(p, "all_gather_f32"), args, 4);
        step_end_blocks(s);
    }
}

/* `grad` leaves all gradients on every rank, as moments lie. */
void step_gather_gradients(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    ps_comment(p, b, "every rank gets all gradients");
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *some = step_where_unit(s, b, unit);
        if (!some)
            continue;
        ProgBlock *body = step_each_block(s, some, unit->stack);
        ProgExpr *at = step_unit_begin(s, unit);
        if (unit->stack >= 0)
            at = px_add(
                p, at,
                px_mul(p, step_own_block(s),
                       px_const(p, l->stacks[unit->stack].floats_const)));
        gather_once(s, body, unit, "gather gradients",
                    px_offset(p, step_region(s, "whole"), at),
                    step_gradient_share(s, unit));
        step_end_blocks(s);
    }
}
