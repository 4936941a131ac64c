/* owned.c: what a rank owns of tensors: its norms, and the update of its share
 * (ZeRO). See shards.c for units and shares. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* from, to: of a tensor [at, at + n) of a unit what lies in [start, start +
 * each), from start on. */
static void share_range(Prog *p, ProgFunc *f, ProgVar *const v[6])
{
    ProgExpr *each = px_var(p, v[3]);
    ProgExpr *begin = px_sub(p, px_var(p, v[0]), px_var(p, v[2]));
    ProgExpr *end = px_add(p, begin, px_var(p, v[1]));
    ps_let(p, &f->body, v[4], px_select(p, px_lt(p, begin, px_int(p, 0)),
                                        px_int(p, 0), begin));
    ps_let(p, &f->body, v[5], px_select(p, px_lt(p, each, end), each, end));
}

/* ---- the norm ---- */
/* void order_norms(double *to, const double *from, long count, long each) */
static ProgFunc *order_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "order_norms");
    if (f)
        return f;
    f = prog_func(p, "order_norms", "Of `count` units, of which each rank has "
                  "`each` norms, from rank by rank to unit by unit.",
                  prog_void());
    ProgVar *to = prog_param(p, f, "to", prog_pointer(PK_F64, false));
    ProgVar *from = prog_param(p, f, "from", prog_pointer(PK_F64, true));
    ProgVar *count = prog_param(p, f, "count", prog_i64());
    ProgVar *each = prog_param(p, f, "each", prog_i64());
    ProgExpr *shards = px_const(p, l->shards_const);
    ProgExpr *norms = px_const(p, l->norms.share);
    if (l->m->mesh.experts > 1) {       /* not all units have as many shares */
        shards = px_var(p, prog_param(p, f, "ranks", prog_i64()));
        norms = px_var(p, prog_param(p, f, "norms", prog_i64()));
    }
    ProgVar *unit = prog_local(p, f, "unit", prog_i64());
    ProgVar *rank = prog_local(p, f, "rank", prog_i64());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *b = ps_for(p, &f->body, unit, px_int(p, 0), px_var(p, count),
                          px_int(p, 1));
    b = ps_for(p, b, rank, px_int(p, 0), shards, px_int(p, 1));
    b = ps_for(p, b, i, px_int(p, 0), px_var(p, each), px_int(p, 1));
    ProgExpr *row = px_add(p, px_mul(p, px_var(p, unit), shards),
                           px_var(p, rank));
    ProgExpr *at = px_add(p, px_mul(p, row, px_var(p, each)), px_var(p, i));
    ProgExpr *there = px_add(
        p, px_mul(p, px_var(p, rank), norms),
        px_add(p, px_mul(p, px_var(p, unit), px_var(p, each)), px_var(p, i)));
    ps_store(p, b, px_var(p, to), at, px_load(p, px_var(p, from), there));
    prog_define(p, f);
    return f;
}

/* Before a unit's norms, among those of one rank: of experts among those of
 * theirs, of which a stage has one unit, or both stacks'. */
static ProgExpr *norms_before_unit(Steps *s, int i)
{
    const Unit *unit = &s->l->units.at[i];
    bool second = s->l->mixed && unit->stack > 0;
    if (i == 0 || (s->stage && unit->experts && !second))
        return num(s, 0);
    if (!s->stage && unit->experts)     /* packed behind all others */
        return num(s, unit->norms);
    ProgExpr *at = step_packed_begin(s, unit);
    if (unit->experts)
        at = px_sub(s->p, at, step_stage_field(s, "encoder_experts_packed"));
    return px_div(s->p, at, num(s, 1024));
}

/* void square_share(const Thread *me, double *sums, const float *g, long at,
 *                   long n, long start, long each) */
static ProgFunc *square_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "square_share");
    if (f)
        return f;
    f = prog_func(p, "square_share", "The norms of what a rank owns of a "
                  "tensor, among those of its share of the unit (see "
                  "update_share).", prog_void());
    const ProgRecord *thread = prog_runtime_record(p, "Thread");
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(thread, true));
    ProgVar *sums = prog_param(p, f, "sums", prog_pointer(PK_F64, false));
    ProgVar *g = prog_param(p, f, "g", prog_pointer(PK_F32, true));
    ProgVar *at = prog_param(p, f, "at", prog_i64());
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *start = prog_param(p, f, "start", prog_i64());
    ProgVar *each = prog_param(p, f, "each", prog_i64());
    ProgVar *from = prog_local(p, f, "from", prog_i64());
    ProgVar *to = prog_local(p, f, "to", prog_i64());
    share_range(p, f, (ProgVar *[]){ at, n, start, each, from, to });
    ProgBlock *b = ps_if(p, &f->body,
                         px_lt(p, px_var(p, from), px_var(p, to)), NULL);
    ProgExpr *args[] = {
        px_var(p, me),
        px_offset(p, px_var(p, sums),
                  px_div(p, px_var(p, from), px_int(p, 1024))),
        px_offset(p, px_var(p, g), px_var(p, from)),
        px_sub(p, px_var(p, to), px_var(p, from)),
    };
    ps_do(p, b, px_call(p, prog_library(p, "square_blocks"), 4, args));
    prog_define(p, f);
    return f;
}

/* `variable` of a unit: outside blocks the update reads the norms' own. */
static ProgVar *let_once(Steps *s, ProgBlock *b, const Unit *unit,
                         ProgVar **variable, const char *name, ProgExpr *value)
{
    if (unit->stack >= 0 || !*variable)
        *variable = step_let(
            s, b, arena_printf(s->l->arena, "%s_%s", unit->name, name), value);
    return *variable;
}

/* This rank's share of a unit: where it begins, and its gradients. */
static ProgVar *share_begin(Steps *s, ProgBlock *b, const Unit *unit)
{
    return let_once(s, b, unit, &s->share_begins[unit - s->l->units.at],
                    "start", px_mul(s->p, step_share_number(s, unit),
                                    step_share(s, unit)));
}

static ProgVar *share_gradients(Steps *s, ProgBlock *b, const Unit *unit)
{
    return let_once(s, b, unit, &s->share_gradients[unit - s->l->units.at],
                    "g", step_gradient_share(s, unit));
}

/* A tensor at a time: what lies between them is nobody's. What every tensor
 * rank has whole counts in the first's, a tied weight on the first stage. */
static void norm_shares(Steps *s, ProgBlock *b, const Unit *unit,
                        ProgExpr *sums)
{
    Prog *p = s->p;
    Lower *l = s->l;
    const ProgVar *to = sums->kind == PE_VAR
        ? sums->variable
        : step_let(s, b, arena_printf(l->arena, "%s_norms", unit->name), sums);
    ProgVar *g = share_gradients(s, b, unit);
    ProgVar *start = share_begin(s, b, unit);
    ProgBlock *here = b, *first = NULL;
    int stage = -1;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (!in_unit(l, unit, i) || w->frozen)
            continue;
        if (s->stage && unit->stack < 0 && weight_stage(l, i) != stage) {
            stage = weight_stage(l, i);
            here = ps_if(p, b, step_is_stage(s, stage), NULL);
            first = NULL;
        }
        ProgBlock *where = here;
        bool whole = l->m->mesh.tensor > 1 && !w->slice;
        if (!whole)
            first = NULL;
        else if (!first)
            first = ps_if(p, here, px_eq(p, step_control(s, "slice"),
                                         num(s, 0)), NULL);
        if (whole)
            where = first;
        if (w->frozen_blocks)
            where = ps_if(p, where, step_trains(s, w), NULL);
        ProgExpr *args[] = {
            var(s, s->me),
            var(s, to),
            var(s, g),
            px_const(p, l->offsets[i]),
            elements_of(l, &w->type),
            var(s, start),
            step_share(s, unit),
        };
        step_call(s, where, square_func(l), args, 7);
    }
}

/* `count` of a unit's, from the place of the first of them in each rank's. */
static void order_unit(Steps *s, ProgBlock *b, const Unit *unit, ProgExpr *to,
                       ProgExpr *from, ProgExpr *count)
{
    Lower *l = s->l;
    bool experts = l->m->mesh.experts > 1;
    ProgExpr *args[] = {
        to, from, count, px_div(s->p, step_share(s, unit), num(s, 1024)),
        experts ? px_const(s->p, unit->experts ? l->expert_shards_const
                                               : l->shards_const) : NULL,
        experts ? px_const(s->p, unit->experts ? l->norms.expert_share
                                               : l->norms.share) : NULL,
    };
    step_call(s, b, order_func(l), args, experts ? 6 : 4);
}

/* Chunk by chunk: before the model's first chunk what stands before its blocks,
 * behind the last what stands behind them. */
static void order_chunks(Steps *s, ProgBlock *b, ProgExpr *ordered,
                         ProgExpr *all)
{
    Prog *p = s->p;
    const Unit *units = s->l->units.at;
    ProgExpr *shards = px_const(p, s->l->shards_const);
    ProgVar *number;
    order_unit(s, ps_if(p, b, step_is_first(s), NULL), &units[0], ordered, all,
               num(s, 1));
    b = step_each_chunk(s, b, &number);
    ProgExpr *begin = px_offset(p, ordered, step_chunk_field(s, "norms"));
    ProgExpr *before = px_select(p, step_begins(s),
                                 norms_before_unit(s, 1), num(s, 0));
    ProgExpr *each = px_div(p, step_share(s, &units[1]), num(s, 1024));
    ProgExpr *own = px_sub(p, step_chunk_field(s, "from"),
                           step_chunk_field(s, "others"));
    order_unit(s, b, &units[1], px_offset(p, begin, px_mul(p, shards, before)),
               px_offset(p, all, px_add(p, norms_before_unit(s, 1),
                                        px_mul(p, own, each))),
               step_chunk_field(s, "count"));
    ProgExpr *blocks = px_mul(p, step_chunk_field(s, "count"), each);
    if (s->l->units.count > 2)
        order_unit(s, ps_if(p, b, step_ends(s), NULL), &units[2],
                   px_offset(p, begin, px_mul(p, shards, blocks)),
                   px_offset(p, all, norms_before_unit(s, 2)), num(s, 1));
    s->model_chunk = NULL;
}

/* Where a unit's norms belong, of the open block if it is one's: they lie as
 * the parameters do, or chunk by chunk. */
static ProgExpr *ordered_place(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    int last = l->stages - 1, chunk = l->chunks - 1;
    bool block = unit->stack >= 0;
    const StackLayout *stack = block ? &l->stacks[unit->stack] : NULL;
    if (l->chunks == 1 || unit == l->units.at) {
        ProgExpr *at = step_unit_begin(s, unit);
        if (block)
            at = px_add(p, at, px_mul(p, step_own_block(s),
                                      px_const(p, stack->floats_const)));
        return px_div(p, at, num(s, 1024));
    }
    if (!block) {
        const ModelChunk *end = part_chunk(l, last, chunk);
        return num(s, chunk_norms_at(l, last, chunk)
                          + (end->to - end->from) * l->stacks[end->stack].floats
                              / 1024);
    }
    ProgExpr *at = l->mixed
        ? num(s, 0)             /* the chunk's say where its blocks' begin */
        : px_select(p, step_begins(s), step_stage_field(s, "blocks"),
                    num(s, 0));
    if (unit->experts)
        at = px_add(p, at, px_const(p, l->experts_const[unit->stack]));
    at = px_add(p, at, px_mul(p, step_chunk_block(s),
                              px_const(p, stack->floats_const)));
    return px_add(p, step_chunk_field(s, "norms"), px_div(p, at, num(s, 1024)));
}

/* Of what ranks that share experts all have the first orders the norms. */
static ProgBlock *where_first(Steps *s, ProgBlock *b)
{
    ProgExpr *first = px_eq(s->p, step_control(s, "expert"), num(s, 0));
    return s->l->m->mesh.experts > 1 ? ps_if(s->p, b, first, NULL) : b;
}

/* Who orders a unit's norms: of experts each rank those that it has; of several
 * chunks the stage that has them. */
static ProgBlock *where_ordered(Steps *s, ProgBlock *b, const Unit *unit)
{
    if (!unit->experts)
        b = where_first(s, b);
    if (s->l->chunks == 1 || unit->stack >= 0)
        return b;
    return ps_if(s->p, b, unit == s->l->units.at ? step_is_first(s)
                                                 : step_is_last(s), NULL);
}

/* How many all ranks' shares of other units have. */
static ProgExpr *norms_of_dense(Steps *s)
{
    return px_mul(s->p, px_const(s->p, s->l->shards_const),
                  px_const(s->p, s->l->norms.share));
}

/* A unit's, of a stack's blocks one at a time: each block's of experts behind
 * its others. */
static void order_by_block(Steps *s, ProgBlock *b, int i,
                           const ProgVar *ordered, const ProgVar *all)
{
    Prog *p = s->p;
    Lower *l = s->l;
    const Unit *unit = &l->units.at[i];
    ProgBlock *body = step_each_block(s, where_ordered(s, b, unit),
                                      unit->stack);
    ProgExpr *each = px_div(p, step_share(s, unit), num(s, 1024));
    ProgExpr *from = px_add(p, norms_before_unit(s, i),
                            unit->experts ? norms_of_dense(s) : num(s, 0));
    if (unit->stack >= 0)
        from = px_add(p, from, px_mul(p, step_own_block(s), each));
    order_unit(s, body, unit,
               px_offset(p, var(s, ordered), ordered_place(s, unit)),
               px_offset(p, var(s, all), from), num(s, 1));
    step_end_blocks(s);
}

static void order_experts(Steps *s, ProgBlock *b, const ProgVar *ordered,
                          const ProgVar *all)
{
    for (int i = 0; i < s->l->units.count; i++)
        order_by_block(s, b, i, ordered, all);
}

/* Chunk by chunk of both stacks: what stands outside blocks with the chunk that
 * has the part it counts with. */
static void order_mixed(Steps *s, ProgBlock *b, const ProgVar *ordered,
                        const ProgVar *all)
{
    Prog *p = s->p;
    Lower *l = s->l;
    ProgBlock *once = where_first(s, b);
    for (int i = PART_FIRST; i <= (int)PART_LAST; i++) {
        PartOf part = (PartOf)i;
        const Unit *unit = part == PART_BLOCKS ? NULL : part_unit(l, part);
        if (!unit)
            continue;
        ProgBlock *own = ps_if(p, once, step_is_stage(s, part_stage(l, part)),
                               NULL);
        order_unit(s, own, unit,
                   px_offset(p, var(s, ordered),
                             num(s, mixed_norms_at(l, part))),
                   px_offset(p, var(s, all),
                             norms_before_unit(s, (int)(unit - l->units.at))),
                   num(s, 1));
    }
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack >= 0)
            order_by_block(s, b, i, ordered, all);
}

/* A unit's, all of its blocks, behind the other's. */
static void order_units(Steps *s, ProgBlock *b, const ProgVar *ordered,
                        const ProgVar *all)
{
    Prog *p = s->p;
    for (int i = 0; i < s->l->units.count; i++) {
        const Unit *unit = &s->l->units.at[i];
        ProgExpr *shards = px_const(p, s->l->shards_const);
        s->stack = unit->stack < 0 ? 0 : unit->stack;
        ProgExpr *blocks = px_sub(p, step_blocks(s), step_first_block(s));
        order_unit(s, b, unit,
                   px_offset(p, var(s, ordered),
                             px_mul(p, shards, norms_before_unit(s, i))),
                   px_offset(p, var(s, all), norms_before_unit(s, i)),
                   unit->stack < 0 ? num(s, 1) : blocks);
        s->stack = 0;
    }
}

/* Of the experts that this rank has those who split them tell each other. */
static void gather_expert_norms(Steps *s, ProgBlock *b, const ProgVar *all)
{
    Prog *p = s->p;
    Lower *l = s->l;
    int64_t norms = expert_norms(l);
    if (l->expert_shards == 1 || !norms)
        return;
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++)
        index = step_experts_message(s, "gather experts' shares' norms",
                                     ALL_GATHER, i, 8 * norms, 1);
    ProgExpr *args[] = {
        var(s, s->me),
        index,
        px_offset(p, var(s, all), norms_of_dense(s)),
        px_const(p, l->norms.expert_share),
    };
    step_call(s, b, prog_library(p, "all_gather_f64"), args, 4);
}

/* Where a rank's norms of its shares of experts begin. */
static ProgVar *own_expert_norms(Steps *s, ProgBlock *b, const ProgVar *all)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    if (l->m->mesh.experts == 1)
        return NULL;
    ProgExpr *before = px_mul(p, step_control(s, "expert_share"),
                              px_const(p, l->norms.expert_share));
    return step_let(s, b, "expert_share_norms",
                    px_offset(p, var(s, all),
                              px_add(p, norms_of_dense(s), before)));
}

/* Each rank makes the norms of its shares; all get all, in checkpoint order, at
 * `ordered`. */
void step_shard_norms(Steps *s, ProgBlock *b, const ProgVar *all,
                      const ProgVar *ordered)
{
    Prog *p = s->p;
    Lower *l = s->l;
    ProgExpr *norms = px_const(p, l->norms.share);
    ProgVar *own = step_let(
        s, b, "share_norms",
        px_offset(p, var(s, all),
                  px_mul(p, step_control(s, "share"), norms)));
    ProgVar *experts = own_expert_norms(s, b, all);
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *body = step_each_block(s, b, unit->stack);
        ProgExpr *at = norms_before_unit(s, i);
        ProgExpr *blocks = px_div(p, step_share(s, unit), num(s, 1024));
        if (unit->stack >= 0)
            at = px_add(p, at, px_mul(p, step_own_block(s), blocks));
        norm_shares(s, body, unit,
                    px_offset(p, var(s, unit->experts ? experts : own), at));
        step_end_blocks(s);
    }
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++)
        index = step_shard_message(s, "gather shares' norms", ALL_GATHER, i,
                                   8 * shard_norms(l), 1);
    ProgExpr *args[] = { var(s, s->me), index, var(s, all), norms };
    step_call(s, b, prog_library(p, "all_gather_f64"), args, 4);
    gather_expert_norms(s, b, all);
    ProgBlock *first = ps_if(p, b, px_eq(p, px_field(p, var(s, s->me), "index"),
                                         px_i32(p, 0)), NULL);
    if (l->mixed)
        order_mixed(s, first, ordered, all);
    else if (l->m->mesh.experts > 1)
        order_experts(s, first, ordered, all);
    else if (s->stage && l->chunks > 1)
        order_chunks(s, first, var(s, ordered), var(s, all));
    else
        order_units(s, first, ordered, all);
    step_barrier(s, b);
}

/* ---- the update ---- */
/* update_share: update of what a rank owns of a tensor: the pointers are those
 * of its share of the unit, [start, start + each), in which the tensor has n
 * elements from `at` on. */
static ProgFunc *update_share_func(Lower *l, const KernelCode *update)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "update_share");
    if (f)
        return f;
    f = prog_func(p, "update_share", "The update of what a rank owns of a "
                  "tensor: pointers are to its share of the unit, which is "
                  "[start, start + each); the tensor has [at, at + n).",
                  prog_void());
    ProgVar *params[16];
    ProgVar *n = NULL;
    for (int i = 0; i < update->args.count; i++) {
        const ProgVar *like = update->func->params.at[i];
        params[i] = prog_param(p, f, like->base, like->type);
        if (update->args.at[i].kind == ARG_ROWS)
            n = params[i];
    }
    ProgVar *at = prog_param(p, f, "at", prog_i64());
    ProgVar *start = prog_param(p, f, "start", prog_i64());
    ProgVar *each = prog_param(p, f, "each", prog_i64());
    ProgVar *from = prog_local(p, f, "from", prog_i64());
    ProgVar *to = prog_local(p, f, "to", prog_i64());
    share_range(p, f, (ProgVar *[]){ at, n, start, each, from, to });
    ProgBlock *b = ps_if(p, &f->body,
                         px_lt(p, px_var(p, from), px_var(p, to)), NULL);
    List(ProgExpr *) args = {0};
    for (int i = 0; i < update->args.count; i++) {
        ProgExpr *arg = px_var(p, params[i]);
        if (update->args.at[i].kind == ARG_ROWS)
            arg = px_sub(p, px_var(p, to), px_var(p, from));
        else if (update->args.at[i].kind == ARG_VALUE)
            arg = px_offset(p, arg, px_var(p, from));
        list_push(l->arena, &args, arg);
    }
    ps_do(p, b, px_call(p, update->func, args.count, args.at));
    prog_define(p, f);
    return f;
}

/* Pointers to a unit's shares: p, g, first, second. */
typedef struct Shares { ProgVar *p, *g, *moments[2], *start; } Shares;

static Shares open_shares(Steps *s, ProgBlock *b, const Unit *unit)
{
    static const char *const names[] = { "first", "second" };
    Prog *p = s->p;
    Shares shares = {0};
    const char *of = unit->name;
    Arena *a = s->l->arena;
    shares.p = step_let(s, b, arena_printf(a, "%s_p", of),
                        step_weight_share(s, unit));
    shares.g = share_gradients(s, b, unit);
    shares.start = share_begin(s, b, unit);
    for (int i = 0; i < s->l->info->moments; i++) {
        ProgExpr *base = step_control(s, "state");
        if (i)
            base = px_offset(p, base, step_moment_share(s));
        shares.moments[i] =
            step_let(s, b, arena_printf(a, "%s_%s", of, names[i]),
                     step_packed_share(s, unit, base));
    }
    return shares;
}

static void update_tensor(Steps *s, ProgBlock *b, const Unit *unit,
                          const Shares *shares, int weight)
{
    Prog *p = s->p;
    const Weight *w = &s->l->m->weights.at[weight];
    const KernelCode *code = update_code(s);
    List(ProgExpr *) args = {0};
    Arena *a = s->l->arena;
    s->p->here = w->origin.model;
    for (int i = 0; i < code->args.count; i++) {
        const KernelArg *arg = &code->args.at[i];
        const char *name = arg->value ? arg->value->name : "";
        ProgExpr *value;
        if (arg->kind == ARG_VALUE)
            value = var(s, !strcmp(name, "p")     ? shares->p
                         : !strcmp(name, "g")     ? shares->g
                         : !strcmp(name, "first") ? shares->moments[0]
                                                  : shares->moments[1]);
        else
            value = update_argument(s, arg, weight);
        list_push(a, &args, value);
    }
    list_push(a, &args, px_const(p, s->l->offsets[weight]));
    list_push(a, &args, var(s, shares->start));
    list_push(a, &args, step_share(s, unit));
    step_call(s, b, update_share_func(s->l, code), args.at, args.count);
    s->p->here = (Loc){0};
}

/* Where a unit's tensor is updated: on every stage that has it. */
static ProgBlock *stage_block(Steps *s, ProgBlock *b, const Unit *unit,
                              int weight)
{
    const Weight *w = &s->l->m->weights.at[weight];
    if (w->frozen_blocks)
        return ps_if(s->p, b, step_trains(s, w), NULL);
    return unit->stack < 0 ? step_on_stages(s, b, weight) : b;
}

void step_update_shares(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *body = step_each_block(s, b, unit->stack);
        const Shares shares = open_shares(s, body, unit);
        for (int w = 0; w < l->m->weights.count; w++)
            if (in_unit(l, unit, w) && !l->m->weights.at[w].frozen)
                update_tensor(s, stage_block(s, body, unit, w), unit, &shares,
                              w);
        step_end_blocks(s);
    }
}
