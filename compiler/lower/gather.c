/* gather.c: weights of which a rank keeps its share (ZeRO-3): those outside
 * blocks are gathered once a step, a block's before each call, and dropped by
 * the next one's. See shards.c for units and shares. */
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
int64_t gathered_places(const Lower *l, const Unit *unit)
{
    return unit->stack >= 0 && l->m->mesh.prefetch ? 2 : 1;
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

void step_gather_unit(Steps *s, ProgBlock *b, const Unit *unit,
                      const char *message, ProgExpr *all, ProgExpr *own)
{
    if (unit->shards == 1) {
        copy_unit(s, b, unit, all, own);
        return;
    }
    ProgExpr *args[] = {
        var(s, s->me), step_unit_message(s, message, ALL_GATHER, unit, s->runs),
        all, own, step_share_number(s, unit), step_share(s, unit),
    };
    step_call(s, b, gather_func(s->l), args, 6);
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
        step_gather_unit(
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

/* Where the open block's parameters are gathered. */
static ProgExpr *gathered_block(Steps *s)
{
    Prog *p = s->p;
    Lower *l = s->l;
    const Unit *unit = block_unit(l, s->stack);
    ProgExpr *at = step_region(s, gathered_region(l, unit));
    if (gathered_places(l, unit) == 1)
        return at;
    ProgExpr *turn = px_rem(p, var(s, s->block), num(s, 2));
    return px_offset(p, at, px_mul(p, turn, px_const(p, unit->gathered)));
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

/* A half of the open block's gathering (see begin_gather_f32). */
static void half_gather(Steps *s, ProgBlock *b, const char *half,
                        ProgExpr *const *messages)
{
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        ProgExpr *args[] = { var(s, s->me), messages[i],
                             NULL, NULL, step_share(s, unit) };
        if (!messages[i])
            continue;
        args[2] = gathered_unit(s, unit);
        args[3] = kept_share(s, unit);
        step_call(s, b, prog_library(s->p, half), args, 5);
    }
}

/* The open block's have been on their way since the block before; those of the
 * next set out. */
static void gather_in_turn(Steps *s, ProgBlock *b, ProgExpr *const *messages)
{
    Prog *p = s->p;
    ProgVar *block = s->block, *own = s->own;
    ProgExpr *last = px_sub(p, step_blocks(s), num(s, 1));
    ProgExpr *first = step_first_block(s), *l = var(s, block);
    bool down = s->down;
    ps_comment(p, b, "parameters arrive while the block before computes");
    half_gather(s, ps_if(p, b, px_eq(p, l, down ? last : first), NULL),
                "begin_gather_f32", messages);
    half_gather(s, b, "end_gather_f32", messages);
    b = ps_if(p, b, down ? px_lt(p, first, l) : px_lt(p, l, last), NULL);
    s->block = step_let(s, b, "next", down ? px_sub(p, l, num(s, 1))
                                           : px_add(p, l, num(s, 1)));
    s->own = NULL;
    half_gather(s, b, "begin_gather_f32", messages);
    s->block = block;
    s->own = own;
}

/* The open block's, for one call. */
void step_gather_block(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    ProgExpr *messages[MOST_UNITS] = {0};
    const Unit *block = block_unit(l, s->stack);
    if (!block)                 /* its blocks have no parameters */
        return;
    bool in_turn = gathered_places(l, block) > 1;
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        if (unit->stack != s->stack || unit->shards == 1)
            continue;
        if (in_turn)
            messages[i] = step_unit_message(s, "gather weights", ALL_GATHER,
                                            unit, s->runs);
        else
            step_gather_unit(s, b, unit, "gather weights",
                             gathered_unit(s, unit), kept_share(s, unit));
    }
    if (in_turn)
        gather_in_turn(s, b, messages);
    step_point(s, b, l->stacks[s->stack].weights, s->w[s->stack],
               gathered_block(s));
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack == s->stack && l->units.at[i].shards == 1)
            point_at_experts(s, b, &l->units.at[i]);
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
 * what reads it. */
void step_derive(Steps *s, ProgBlock *b, const Func *reader)
{
    const Stmt *call = preparation(s->l->m, s->stack);
    if (call && reads_derived(s->l->m, reader))
        step_statement(s, b, call);
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
        step_gather_unit(s, body, unit, "gather gradients",
                         px_offset(p, step_region(s, "whole"), at),
                         step_gradient_share(s, unit));
        step_end_blocks(s);
    }
}
