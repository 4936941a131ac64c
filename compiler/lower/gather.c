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

int64_t stack_places(const Lower *l, int stack)
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
    if (stack_places(s->l, s->stack) == 1)
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

/* The call that makes a stack's derived weights; NULL: it has none. */
static const Stmt *preparation(const Module *m, int stack)
{
    const Step *prepare = module_find_step(m, "prepare");
    for (int i = 0; prepare && i < prepare->body.count; i++)
        if (prepare->body.at[i]->stack == stack)
            return prepare->body.at[i]->body.at[0];
    return NULL;
}

/* ---- blocks that stay where they were gathered ---- */
/* The field of Gathered that points at a rank's shares of a unit. */
static const char *shares_field(const Unit *unit)
{
    return unit->experts ? "expert_shares" : "shares";
}

static ProgRecord *gathered_record(Lower *l)
{
    Prog *p = l->p;
    if (l->gathered)
        return l->gathered;
    ProgRecord *r = prog_record(
        p, "Gathered", "Blocks of a stack, of which a rank has shares, in the "
        "one or two places where they are gathered in turn. A block is known "
        "by its number among those that the rank has.");
    prog_field(p, r, "places", prog_pointer(PK_F32, false),
               "where they are gathered");
    prog_field(p, r, "shares", prog_pointer(PK_F32, true),
               "this rank's, block by block");
    prog_field(p, r, "expert_shares", prog_pointer(PK_F32, true),
               "the same of their experts");
    prog_field(p, r, "even", prog_i64(),
               "which block lies in the first place; -1: none");
    prog_field(p, r, "odd", prog_i64(), "which in the second");
    prog_field(p, r, "coming", prog_i64(), "which is under way; -1: none");
    return l->gathered = r;
}

/* begin_block and end_block, or begin_encoder_block … while they are written:
 * the function, its parameters, and what they say. */
typedef struct GatherFunc {
    Steps *s;
    ProgFunc *f;
    ProgVar *me, *to, *block;
} GatherFunc;

static const char *gather_func_name(Steps *s, const char *verb)
{
    return arena_printf(s->l->arena, "%s_%s", verb,
                        block_unit(s->l, s->stack)->name);
}

static GatherFunc open_gather_func(Steps *s, const char *verb,
                                   const char *comment, ProgType result)
{
    Prog *p = s->p;
    GatherFunc g = { .s = s };
    g.f = prog_func(p, gather_func_name(s, verb), comment, result);
    g.me = prog_param(p, g.f, "me",
                      prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    g.to = prog_param(p, g.f, "to",
                      prog_pointer_to(gathered_record(s->l), false));
    g.block = prog_param(p, g.f, "block", prog_i64());
    return g;
}

static ProgExpr *of_gathered(const GatherFunc *g, const char *field)
{
    return px_field(g->s->p, px_var(g->s->p, g->to), field);
}

static ProgExpr *is_odd(const GatherFunc *g)
{
    Prog *p = g->s->p;
    return px_eq(p, px_rem(p, px_var(p, g->block), px_int(p, 2)),
                 px_int(p, 1));
}

static bool takes_turns(const Steps *s)
{
    return stack_places(s->l, s->stack) > 1;
}

/* A half of the gathering of each unit of the block. */
static void gather_units(const GatherFunc *g, ProgBlock *b, const char *half)
{
    Steps *s = g->s;
    Prog *p = s->p;
    ProgExpr *all = of_gathered(g, "places");
    if (takes_turns(s))
        all = px_offset(
            p, all,
            px_mul(p, px_rem(p, px_var(p, g->block), px_int(p, 2)),
                   px_const(p, block_unit(s->l, s->stack)->gathered)));
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (!is_of_block(s, unit))
            continue;
        ProgExpr *own = px_offset(
            p, of_gathered(g, shares_field(unit)),
            px_mul(p, px_var(p, g->block), step_share(s, unit)));
        ProgExpr *args[] = {
            px_var(p, g->me), blocks_message(s, unit),
            unit->experts
                ? px_offset(p, all, px_const(p, s->l->experts_const[s->stack]))
                : all,
            own, step_share(s, unit),
        };
        step_call(s, b, prog_library(p, half), args, 5);
    }
}

/* void begin_block(const Thread *me, Gathered *to, long block) */
static const ProgFunc *begin_func(Steps *s)
{
    Prog *p = s->p;
    const ProgFunc *written = small_func(p, gather_func_name(s, "begin"));
    if (written)
        return written;
    GatherFunc g = open_gather_func(
        s, "begin", "A block sets out for its place, unless it lies there.",
        prog_void());
    ProgExpr *there = of_gathered(&g, "even");
    if (takes_turns(s))
        there = px_select(p, is_odd(&g), of_gathered(&g, "odd"), there);
    ProgBlock *b = ps_if(p, &g.f->body,
                         px_ne(p, there, px_var(p, g.block)), NULL);
    ProgBlock *even = b;
    gather_units(&g, b, "begin_gather_f32");
    if (takes_turns(s)) {
        ProgBlock *odd = ps_if(p, b, is_odd(&g), &even);
        ps_field_set(p, odd, px_var(p, g.to), "odd", px_var(p, g.block));
    }
    ps_field_set(p, even, px_var(p, g.to), "even", px_var(p, g.block));
    ps_field_set(p, b, px_var(p, g.to), "coming", px_var(p, g.block));
    prog_define(p, g.f);
    return g.f;
}

/* void end_block(const Thread *me, Gathered *to, long block); where weights are
 * made of a block's, an int that says whether there is a new one. */
static const ProgFunc *end_func(Steps *s)
{
    Prog *p = s->p;
    const ProgFunc *written = small_func(p, gather_func_name(s, "end"));
    bool told = preparation(s->l->m, s->stack);
    if (written)
        return written;
    GatherFunc g = open_gather_func(
        s, "end", told ? "Waits for the block, if it is under way: 1."
                       : "Waits for the block, if it is under way.",
        told ? prog_i32() : prog_void());
    ProgExpr *arrives = px_eq(p, of_gathered(&g, "coming"),
                              px_var(p, g.block));
    ProgVar *fresh = NULL;
    if (told) {
        fresh = prog_local(p, g.f, "arrives", prog_i32());
        ps_let(p, &g.f->body, fresh, arrives);
        arrives = px_var(p, fresh);
    }
    ProgBlock *b = ps_if(p, &g.f->body, arrives, NULL);
    gather_units(&g, b, "end_gather_f32");
    ps_field_set(p, b, px_var(p, g.to), "coming", px_int(p, -1));
    if (told)
        ps_return(p, &g.f->body, px_var(p, fresh));
    prog_define(p, g.f);
    return g.f;
}

/* begin_block or end_block of a block, by its number among the rank's. */
static ProgExpr *call_gathering(Steps *s, const ProgFunc *f, ProgExpr *block)
{
    return px_callv(s->p, f, var(s, s->me),
                    px_address(s->p, var(s, s->gathered[s->stack])), block,
                    NULL);
}

/* ---- derived weights ---- */
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

/* Does a block stay where it was gathered, for calls of other loops? */
static bool stays(const Steps *s)
{
    return s->gathered[s->stack] || s->whole[s->stack];
}

/* What was made of a gathered block is gone with it: it is made anew, before
 * what reads it; a block that stays has it for all that come. */
static void derive(Steps *s, ProgBlock *b, const Func *reader)
{
    const Stmt *call = preparation(s->l->m, s->stack);
    if (call && (stays(s) || reads_derived(s->l->m, reader)))
        step_statement(s, b, call);
}

/* ---- which blocks lie where ---- */
static const char *of_stack(Steps *s, const char *name)
{
    const char *prefix = s->l->m->stacks.at[s->stack].prefix;
    return *prefix ? arena_printf(s->l->arena, "%.*s_%s",
                                  (int)strlen(prefix) - 1, prefix, name)
                   : name;
}

/* Nothing lies there yet. */
static void open_gathered(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    const Unit *blocks = block_unit(s->l, s->stack);
    ProgVar *to = step_record(s, b, of_stack(s, "gathered"),
                              gathered_record(s->l));
    s->gathered[s->stack] = to;
    ps_field_set(p, b, var(s, to), "places",
                 step_region(s, gathered_region(s->l, blocks)));
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (is_of_block(s, unit))
            ps_field_set(p, b, var(s, to), shares_field(unit),
                         px_offset(p, step_control(s, "weights"),
                                   step_packed_begin(s, unit)));
    }
    ps_field_set(p, b, var(s, to), "even", num(s, -1));
    if (takes_turns(s))
        ps_field_set(p, b, var(s, to), "odd", num(s, -1));
    ps_field_set(p, b, var(s, to), "coming", num(s, -1));
}

void step_track_blocks(Steps *s, ProgBlock *b)
{
    bool prefetch = s->l->m->mesh.prefetch;
    ps_comment(s->p, b, prefetch ? "blocks that are gathered as they are used"
                                 : "which gathered block lies in its place; "
                                   "-1: none");
    for (int i = 0; i < s->l->m->stacks.count; i++) {
        if (!block_unit(s->l, i))
            continue;
        s->stack = i;
        if (prefetch)
            open_gathered(s, b);
        else
            s->whole[i] = step_let(s, b, of_stack(s, "whole"), num(s, -1));
    }
    s->stack = 0;
}

static bool uses_block(Lower *l, const Stmt *loop)
{
    for (int i = 0; i < loop->body.count; i++)
        if (find_code(l, loop->body.at[i]->func)->uses_block)
            return true;
    return false;
}

bool gathers_blocks(Lower *l, const Stmt *loop)
{
    return block_unit(l, loop->stack) && uses_block(l, loop)
        && !makes_derived(l->m, loop->body.at[0]->func);
}

/* A block's parameters, unless they lie there, set out. */
static void set_out(Steps *s, ProgBlock *b, ProgExpr *block)
{
    if (s->gathered[s->stack])
        ps_do(s->p, b, call_gathering(s, begin_func(s), block));
    else
        half_gather(s, b, "begin_gather_f32");
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
    s->stack = loop->stack;
    ps_comment(p, b, "its first block's parameters set out");
    s->block = step_let(s, b, "start",
                        loop->down ? px_sub(p, step_blocks(s), num(s, 1))
                                   : step_first_block(s));
    set_out(s, b, step_own_block(s));
    s->block = NULL;
    s->stack = 0;
}

/* The block behind the open one sets out, if there is one, and arrives while
 * that one computes. */
static void set_out_next(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ProgVar *block = s->block, *own = s->own;
    ProgExpr *l = var(s, block);
    ProgExpr *last = px_sub(p, step_blocks(s), num(s, 1));
    ProgExpr *first = step_first_block(s);
    ps_comment(p, b, "the next one's set out, and arrive while it computes");
    b = ps_if(p, b, s->down ? px_lt(p, first, l) : px_lt(p, l, last), NULL);
    if (s->gathered[s->stack]) {
        ProgExpr *at = step_own_block(s);
        set_out(s, b, s->down ? px_sub(p, at, num(s, 1))
                              : px_add(p, at, num(s, 1)));
        return;
    }
    s->block = step_let(s, b, "ahead", s->down ? px_sub(p, l, num(s, 1))
                                               : px_add(p, l, num(s, 1)));
    s->own = NULL;
    set_out(s, b, step_own_block(s));
    s->block = block;
    s->own = own;
}

/* The open block's have been on their way since the block before, unless they
 * lay there; gives where they have arrived, for what is made of them. */
static ProgBlock *arrive(Steps *s, ProgBlock *b)
{
    if (!s->gathered[s->stack]) {
        half_gather(s, b, "end_gather_f32");
        return b;
    }
    ProgExpr *arrives = call_gathering(s, end_func(s), step_own_block(s));
    if (preparation(s->l->m, s->stack))
        return ps_if(s->p, b, arrives, NULL);
    ps_do(s->p, b, arrives);
    return b;
}

/* All at once, where nothing is under way; gives where they were absent. */
static ProgBlock *gather_now(Steps *s, ProgBlock *b)
{
    ProgVar *whole = s->whole[s->stack];
    if (whole)
        b = ps_if(s->p, b, px_ne(s->p, var(s, whole), var(s, s->block)), NULL);
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        if (is_of_block(s, unit))
            gather_unit(s, b, unit, blocks_message(s, unit),
                        gathered_unit(s, unit), kept_share(s, unit));
    }
    if (whole)
        ps_set(s->p, b, whole, var(s, s->block));
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
    fresh = l->m->mesh.prefetch ? arrive(s, b) : gather_now(s, b);
    derive(s, fresh, loop->body.at[0]->func);
    if (l->m->mesh.prefetch && stack_places(l, s->stack) > 1)
        set_out_next(s, b);
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
