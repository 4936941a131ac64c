/* shards.c: what replicas split between them (ZeRO, Rajbhandari et al. 2020).
 * A unit is a block's parameters, or those outside blocks that stand side by
 * side; each of SHARDS ranks owns an equal share of it, whole blocks of 1024
 * floats, so that each block of the gradient norm has one owner. Of its shares a
 * rank keeps the moments, and makes the update:
 *
 *     optimizer    gradients are summed on the owner, its new weights gathered
 *     gradients    a block's gradient is summed as soon as it is there and its
 *                  share kept, where a rank has one micro-batch a step
 *     parameters   so are weights: gathered before a block runs, then dropped */
#include "steps.h"
#include "../../runtime/collectives.h"

int64_t unit_share(const Lower *l, const Unit *unit)
{
    return unit->floats / l->shards;
}

static int64_t unit_count(const Lower *l, const Unit *unit)
{
    return unit->stack < 0 ? 1 : stack_blocks(l->m, unit->stack);
}

static bool in_unit(const Lower *l, const Unit *unit, int weight)
{
    const Weight *w = &l->m->weights.at[weight];
    if (w->stack != unit->stack || w->constant || w->derived)
        return false;
    return w->stack >= 0
        || (l->weight_at[weight] >= unit->at
            && l->weight_at[weight] < unit->at + unit->floats);
}

const Unit *unit_of(const Lower *l, int weight)
{
    for (int i = 0; i < l->units.count; i++)
        if (in_unit(l, &l->units.at[i], weight))
            return &l->units.at[i];
    return NULL;
}

bool gathers(const Lower *l, const Step *step)
{
    static const char *const names[] = { "train", "grad", "eval" };
    bool ranks = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ranks |= !strcmp(step->name, names[i]);
    return ranks && l->shards > 1 && l->m->mesh.shard == SHARD_PARAMETERS;
}

/* Of the stage that has the most. */
static int64_t stage_shard_norms(const Lower *l)
{
    int64_t most = 0;
    for (int i = 0; i < l->stages; i++) {
        int64_t floats = l->parts[i].moment_floats / l->shards;
        most = floats > most ? floats : most;
    }
    return most / 1024;
}

int64_t shard_norms(const Lower *l)
{
    int64_t blocks = 0;
    if (l->parts)
        return stage_shard_norms(l);
    for (int i = 0; i < l->units.count; i++)
        blocks += unit_count(l, &l->units.at[i])
            * unit_share(l, &l->units.at[i]) / 1024;
    return blocks;
}

static const char *upper(const Lower *l, const char *text)
{
    char *copy = arena_strdup(l->arena, text);
    for (char *c = copy; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return copy;
}

static const char *unit_name(const Lower *l, int i)
{
    const Unit *unit = &l->units.at[i];
    if (unit->stack >= 0) {
        const char *prefix = l->m->stacks.at[unit->stack].prefix;
        return *prefix ? arena_printf(l->arena, "%.*s_block",
                                      (int)strlen(prefix) - 1, prefix)
                       : "block";
    }
    return i == 0 ? "before" : i == l->units.count - 1 ? "behind" : "between";
}

/* The sizes of shares, and where parameters begin in their units. */
void name_units(Lower *l)
{
    int64_t norms = 0;
    if (l->shards == 1)
        return;
    int group = prog_add_const_group(l->p, NULL);
    l->shards_const = prog_const(l->p, group, "SHARDS", l->shards,
                                 "ranks that own a share of each unit");
    group = prog_add_wide_group(l->p, "Units: parameters before, in and behind "
                                "the blocks, in floats.");
    for (int i = 0; i < l->units.count; i++) {
        Unit *unit = &l->units.at[i];
        unit->name = unit_name(l, i);
        unit->norms = norms;
        norms += unit_count(l, unit) * unit_share(l, unit) / 1024;
        if (unit->stack < 0)
            unit->at_const = prog_const(l->p, group, upper(l, unit->name),
                                        unit->at, "where it begins");
        unit->share = prog_const(
            l->p, group,
            arena_printf(l->arena, "%s_SHARE", upper(l, unit->name)),
            unit_share(l, unit), "a rank's share");
    }
    l->offsets = arena_alloc(l->arena, (size_t)l->m->weights.count
                                           * sizeof *l->offsets);
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->constant || w->derived)
            continue;
        int64_t at = l->weight_at[i];
        for (int j = 0; w->stack < 0 && j < l->units.count; j++)
            if (l->units.at[j].stack < 0
                && l->weight_at[i] >= l->units.at[j].at)
                at = l->weight_at[i] - l->units.at[j].at;
        const char *name = arena_printf(
            l->arena, "%s_AT", upper(l, c_name(l, w->name)));
        l->offsets[i] = prog_const(l->p, group, name, at, "in its unit");
    }
}

/* ---- where shares lie ---- */
static ProgExpr *member(Steps *s) { return step_control(s, "replica"); }

/* Floats of a share; before and behind blocks stages have different ones. */
static ProgExpr *share(Steps *s, const Unit *unit)
{
    if (!s->stage || unit->stack >= 0)
        return px_const(s->p, unit->share);
    return step_stage_field(s, arena_printf(s->l->arena, "%s_share",
                                            unit->name));
}

/* The same of a stage, for forecasts. */
static int64_t stage_share(const Lower *l, const Unit *unit, int stage)
{
    if (!l->parts || unit->stack >= 0)
        return unit_share(l, unit);
    const PartLayout *part = &l->parts[stage];
    return (unit == l->units.at ? part->blocks_at : part->behind_floats)
        / l->shards;
}

int64_t part_unit_share(const Lower *l, const Unit *unit, int part)
{
    return stage_share(l, unit, part < 0 ? 0 : part);
}

int64_t part_unit_at(const Lower *l, const Unit *unit, int part)
{
    if (part < 0 || !l->parts)
        return unit->at;
    const PartLayout *layout = &l->parts[part];
    return unit->stack >= 0        ? layout->blocks_at
         : unit == l->units.at     ? 0
                                   : layout->behind_at;
}

static int64_t stage_count(const Lower *l, const Unit *unit, int stage)
{
    return l->parts && unit->stack >= 0 ? part_blocks(l, stage)
                                        : unit_count(l, unit);
}

static ProgExpr *whole_moment(Steps *s)
{
    return s->stage ? step_stage_field(s, "moment")
                    : px_const(s->p, s->l->moment_const);
}

/* A message about each of the unit's blocks, `times` a step. */
static ProgExpr *unit_message(Steps *s, const char *name, int kind,
                              const Unit *unit, int64_t times)
{
    ProgExpr *index = NULL;
    for (int i = 0; i < s->l->stages; i++)
        index = step_shard_message(s, name, kind, i,
                                   4 * stage_share(s->l, unit, i),
                                   times * stage_count(s->l, unit, i));
    return index;
}

/* Of a unit that begins at `at` of something that has all units. */
static ProgExpr *own_share(Steps *s, const Unit *unit, ProgExpr *base,
                           ProgExpr *at, int64_t stride_of_block)
{
    Prog *p = s->p;
    if (unit->stack >= 0 && stride_of_block)
        at = px_add(p, at,
                    px_mul(p, step_own_block(s),
                           px_const(p, s->l->stacks[unit->stack].floats_const)));
    at = px_add(p, at, px_mul(p, member(s), share(s, unit)));
    return px_offset(p, base, at);
}

static ProgExpr *unit_begin(Steps *s, const Unit *unit)
{
    if (s->stage && unit->stack >= 0)
        return step_stage_field(s, "blocks");
    if (s->stage)
        return unit == s->l->units.at ? num(s, 0)
                                      : step_stage_field(s, "behind");
    return px_const(s->p, unit->stack < 0 ? unit->at_const
                                          : s->l->stacks[unit->stack].at_const);
}

/* Of a unit in what has a rank's shares alone: moments, ZeRO-3's weights. */
static ProgExpr *packed_share(Steps *s, const Unit *unit, ProgExpr *base)
{
    Prog *p = s->p;
    ProgExpr *at =
        px_div(p, unit_begin(s, unit), px_const(p, s->l->shards_const));
    if (unit->stack >= 0)
        at = px_add(p, at, px_mul(p, step_own_block(s), share(s, unit)));
    return px_offset(p, base, at);
}

static ProgExpr *weight_share(Steps *s, const Unit *unit)
{
    ProgExpr *weights = step_control(s, "weights");
    if (s->l->m->mesh.shard == SHARD_PARAMETERS)
        return packed_share(s, unit, weights);
    return own_share(s, unit, weights, unit_begin(s, unit), 1);
}

/* Shares of blocks of the stacks before. */
static int64_t kept_before(const Lower *l, const Unit *unit)
{
    int64_t floats = 0;
    for (int i = 0; &l->units.at[i] != unit; i++)
        if (l->units.at[i].stack >= 0)
            floats += unit_count(l, &l->units.at[i])
                * unit_share(l, &l->units.at[i]);
    return floats;
}

int64_t kept_shares(const Lower *l)
{
    int64_t floats = 0;
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack >= 0)
            floats += unit_count(l, &l->units.at[i])
                * unit_share(l, &l->units.at[i]);
    return floats;
}

/* The share of block l's gradient that was kept. */
static ProgExpr *kept_share(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    ProgExpr *at = px_add(p, num(s, kept_before(s->l, unit)),
                          px_mul(p, var(s, s->block),
                                 share(s, unit)));
    return px_offset(p, step_region(s, "shares"), at);
}

static ProgExpr *gradient_begin(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    if (s->stage)
        return unit_begin(s, unit);
    if (unit->stack >= 0)
        return px_const(p, s->l->stacks[unit->stack].gradient_at_const);
    return unit->gradient_at == unit->at ? px_const(p, unit->at_const)
                                         : num(s, unit->gradient_at);
}

static ProgExpr *gradient_share(Steps *s, const Unit *unit)
{
    if (s->l->early && unit->stack >= 0)
        return kept_share(s, unit);
    return own_share(s, unit, var(s, s->gradients), gradient_begin(s, unit), 1);
}

/* A loop over the unit's blocks, or b itself. */
static ProgBlock *each_block(Steps *s, ProgBlock *b, const Unit *unit)
{
    if (unit->stack < 0)
        return b;
    s->stack = unit->stack;
    s->block = prog_local(s->p, s->func, "l", prog_i64());
    return ps_for(s->p, b, s->block, step_first_block(s), step_blocks(s),
                  num(s, 1));
}

static void end_blocks(Steps *s)
{
    s->block = NULL;
    s->stack = 0;
}

/* ---- gradients ---- */
static void reduce(Steps *s, ProgBlock *b, const Unit *unit, ProgExpr *values)
{
    ProgExpr *args[] = {
        var(s, s->me),
        unit_message(s, "sum gradients", REDUCE_SCATTER, unit, 1), values,
        share(s, unit),
    };
    step_call(s, b, prog_library(s->p, "reduce_scatter_f32"), args, 4);
}

/* The last stage has a tied weight alone before its blocks; the first has it
 * among others, so that shares differ: all of it is summed. */
static void reduce_before(Steps *s, ProgBlock *b, const Unit *unit,
                          ProgExpr *values)
{
    Prog *p = s->p;
    Lower *l = s->l;
    int last = l->stages - 1;
    ProgBlock *others;
    ProgBlock *ends = ps_if(p, b, step_is_last(s), &others);
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++)
        index = step_shard_message(
            s, i < last ? "sum gradients" : "sum a tied gradient",
            i < last ? REDUCE_SCATTER : ALL_REDUCE, i,
            i < last ? 4 * stage_share(l, unit, i) : 4 * l->parts[i].blocks_at,
            1);
    ProgExpr *whole[] = { var(s, s->me), index, values,
                          px_mul(p, px_const(p, l->shards_const),
                                 share(s, unit)) };
    step_call(s, ends, prog_library(p, "all_reduce_f32"), whole, 4);
    ProgExpr *args[] = { var(s, s->me),
                         step_shard_message(s, "sum gradients", REDUCE_SCATTER,
                                            0, 0, 0),
                         values, share(s, unit) };
    step_call(s, others, prog_library(p, "reduce_scatter_f32"), args, 4);
}

/* Where further uses of parameters begin among the gradients, and end. */
static int64_t further_begin(const Lower *l, int stage)
{
    int64_t units = 0;
    if (l->parts)
        return l->parts[stage].moment_floats;
    for (int i = 0; i < l->units.count; i++)
        units = l->units.at[i].gradient_at
            + l->units.at[i].floats
                * (l->early ? 1 : unit_count(l, &l->units.at[i]));
    return units;
}

static int64_t further_end(const Lower *l, int stage)
{
    return l->parts ? l->parts[stage].gradient_floats : l->gradient_floats;
}

static void reduce_further(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    bool any = false;
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++)
        any |= further_end(l, i) > further_begin(l, i);
    if (!any)
        return;
    for (int i = 0; i < l->stages; i++)
        index = step_shard_message(
            s, "sum further uses", ALL_REDUCE, i,
            4 * (further_end(l, i) - further_begin(l, i)), 1);
    ProgExpr *from = s->stage ? whole_moment(s) : num(s, further_begin(l, 0));
    ProgExpr *count = s->stage
        ? px_sub(p, step_gradient_floats(s), from)
        : num(s, further_end(l, 0) - further_begin(l, 0));
    ProgExpr *args[] = { var(s, s->me), index,
                         px_offset(p, var(s, s->gradients), from), count };
    step_call(s, b, prog_library(p, "all_reduce_f32"), args, 4);
}

/* Of every unit that has not left early a rank gets the sums of its share; of
 * further uses of a parameter all of them. */
void step_reduce_shards(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        if (unit->stack >= 0 && l->early)
            continue;
        ProgBlock *body = each_block(s, b, unit);
        ProgExpr *at = gradient_begin(s, unit);
        if (unit->stack >= 0)
            at = step_gradient_block(s);
        ProgExpr *values = px_offset(p, var(s, s->gradients), at);
        if (s->stage && i == 0)
            reduce_before(s, body, unit, values);
        else
            reduce(s, body, unit, values);
        end_blocks(s);
    }
    reduce_further(s, b);
}

/* void copy(const Thread *me, float *to, const float *from, long n) */
static ProgFunc *copy_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "copy");
    if (f)
        return f;
    f = prog_func(p, "copy", "to[i] = from[i], i < n, a multiple of 16.",
                  prog_void());
    const ProgRecord *thread = prog_runtime_record(p, "Thread");
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(thread, true));
    ProgVar *to = prog_param(p, f, "to", prog_pointer(PK_F32, false));
    ProgVar *from = prog_param(p, f, "from", prog_pointer(PK_F32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *start = small_share(p, f, "start", me, n);
    ProgVar *end = small_share(p, f, "end", me, n);
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *b = ps_for(p, &f->body, i, px_var(p, start), px_var(p, end),
                          px_int(p, 16));
    ps_do(p, b, px_callv(p, prog_library(p, "store16"),
                         px_offset(p, px_var(p, to), px_var(p, i)),
                         px_callv(p, prog_library(p, "load16"),
                                  px_offset(p, px_var(p, from), px_var(p, i)),
                                  NULL), NULL));
    prog_define(p, f);
    return f;
}

static const Unit *block_unit(const Lower *l, int stack)
{
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack == stack)
            return &l->units.at[i];
    ice("stack %d has no unit", stack);
}

/* Block l's gradient is there: its share is summed and kept. */
void step_keep_share(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    const Unit *unit = block_unit(s->l, s->stack);
    ProgExpr *at = gradient_begin(s, unit);
    ProgExpr *all = px_offset(p, var(s, s->gradients), at);
    ProgExpr *args[] = {
        var(s, s->me), kept_share(s, unit),
        px_offset(p, all, px_mul(p, member(s), share(s, unit))),
        share(s, unit),
    };
    ProgExpr *reduced[] = {
        var(s, s->me),
        unit_message(s, "sum gradients", REDUCE_SCATTER, unit, 1), all, share(s, unit),
    };
    step_call(s, b, prog_library(p, "reduce_scatter_f32"), reduced, 4);
    step_call(s, b, copy_func(s->l), args, 4);
    step_barrier(s, b);
}

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
    ProgVar *unit = prog_local(p, f, "unit", prog_i64());
    ProgVar *rank = prog_local(p, f, "rank", prog_i64());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgExpr *shards = px_const(p, l->shards_const);
    ProgBlock *b = ps_for(p, &f->body, unit, px_int(p, 0), px_var(p, count),
                          px_int(p, 1));
    b = ps_for(p, b, rank, px_int(p, 0), shards, px_int(p, 1));
    b = ps_for(p, b, i, px_int(p, 0), px_var(p, each), px_int(p, 1));
    ProgExpr *row = px_add(p, px_mul(p, px_var(p, unit), shards),
                           px_var(p, rank));
    ProgExpr *at = px_add(p, px_mul(p, row, px_var(p, each)), px_var(p, i));
    ProgExpr *there = px_add(
        p, px_mul(p, px_var(p, rank), px_int(p, shard_norms(l))),
        px_add(p, px_mul(p, px_var(p, unit), px_var(p, each)), px_var(p, i)));
    ps_store(p, b, px_var(p, to), at, px_load(p, px_var(p, from), there));
    prog_define(p, f);
    return f;
}

/* Before a unit's norms, among those of one rank. */
static ProgExpr *norms_before_unit(Steps *s, int i)
{
    Prog *p = s->p;
    const Unit *units = s->l->units.at;
    if (!s->stage || i == 0)
        return num(s, units[i].norms);
    ProgExpr *at = px_div(p, share(s, &units[0]), num(s, 1024));
    if (i == 1)
        return at;
    return px_add(p, at, px_mul(p, step_stage_field(s, "count"),
                                px_div(p, share(s, &units[1]),
                                       num(s, 1024))));
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

/* A tensor at a time: what lies between them is nobody's. What every slice has
 * whole counts in the first. */
static void norm_shares(Steps *s, ProgBlock *b, const Unit *unit,
                        ProgExpr *sums)
{
    Prog *p = s->p;
    Lower *l = s->l;
    ProgVar *to = step_let(s, b, arena_printf(l->arena, "%s_norms", unit->name),
                           sums);
    ProgVar *g = step_let(s, b, arena_printf(l->arena, "%s_g", unit->name),
                          gradient_share(s, unit));
    ProgBlock *first = NULL;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (!in_unit(l, unit, i) || w->frozen)
            continue;
        ProgBlock *where = b;
        bool whole = l->slices > 1 && !w->slice;
        if (!whole)
            first = NULL;
        else if (!first)
            first = ps_if(p, b, px_eq(p, step_control(s, l->slice_field),
                                      num(s, 0)), NULL);
        if (whole)
            where = first;
        if (w->frozen_blocks)
            where = ps_if(p, where, step_trains(s, w), NULL);
        ProgExpr *args[] = {
            var(s, s->me), var(s, to), var(s, g), px_const(p, l->offsets[i]),
            elements_of(l, &w->type),
            px_mul(p, member(s), share(s, unit)), share(s, unit),
        };
        step_call(s, where, square_func(l), args, 7);
    }
}

/* Each rank makes the norms of its shares; all get all, in checkpoint order, at
 * `ordered`. */
void step_shard_norms(Steps *s, ProgBlock *b, const ProgVar *all,
                      ProgExpr *ordered_at)
{
    Prog *p = s->p;
    Lower *l = s->l;
    int64_t norms = shard_norms(l);
    ProgVar *own = step_let(s, b, "share_norms",
                            px_offset(p, var(s, all),
                                      px_mul(p, member(s), num(s, norms))));
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *body = each_block(s, b, unit);
        ProgExpr *at = norms_before_unit(s, i);
        ProgExpr *blocks = px_div(p, share(s, unit), num(s, 1024));
        if (unit->stack >= 0)
            at = px_add(p, at, px_mul(p, step_own_block(s), blocks));
        if (s->stage && i == 0)     /* a tied weight is the first stage's */
            body = ps_if(p, body, step_is_first(s), NULL);
        norm_shares(s, body, unit, px_offset(p, var(s, own), at));
        end_blocks(s);
    }
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++)
        index = step_shard_message(s, "gather shares' norms", ALL_GATHER, i,
                                   8 * norms, 1);
    ProgExpr *args[] = { var(s, s->me), index, var(s, all), num(s, norms) };
    step_call(s, b, prog_library(p, "all_gather_f64"), args, 4);
    ProgVar *ordered = step_let(s, b, "ordered", ordered_at);
    ProgBlock *first = ps_if(p, b, px_eq(p, px_field(p, var(s, s->me), "index"),
                                         px_i32(p, 0)), NULL);
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        s->stack = unit->stack < 0 ? 0 : unit->stack;
        ProgExpr *blocks = px_sub(p, step_blocks(s), step_first_block(s));
        ProgExpr *order[] = {
            px_offset(p, var(s, ordered),
                      px_mul(p, px_const(p, l->shards_const),
                             norms_before_unit(s, i))),
            px_offset(p, var(s, all), norms_before_unit(s, i)),
            unit->stack < 0 ? num(s, 1) : blocks,
            px_div(p, share(s, unit), num(s, 1024)),
        };
        step_call(s, first, order_func(l), order, 4);
        s->stack = 0;
    }
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
typedef struct Shares { ProgVar *p, *g, *moments[2]; } Shares;

static Shares open_shares(Steps *s, ProgBlock *b, const Unit *unit)
{
    static const char *const names[] = { "first", "second" };
    Prog *p = s->p;
    Shares shares = {0};
    const char *of = unit->name;
    Arena *a = s->l->arena;
    shares.p = step_let(s, b, arena_printf(a, "%s_p", of),
                        weight_share(s, unit));
    shares.g = step_let(s, b, arena_printf(a, "%s_g", of),
                        gradient_share(s, unit));
    for (int i = 0; i < s->l->info->moments; i++) {
        ProgExpr *base = step_control(s, "state");
        if (i)
            base = px_offset(p, base,
                             px_div(p, whole_moment(s),
                                    px_const(p, s->l->shards_const)));
        shares.moments[i] =
            step_let(s, b, arena_printf(a, "%s_%s", of, names[i]),
                     packed_share(s, unit, base));
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
    list_push(a, &args, px_mul(p, member(s), share(s, unit)));
    list_push(a, &args, share(s, unit));
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
    if (!s->stage || unit->stack >= 0)
        return b;
    if (unit != s->l->units.at)
        return ps_if(s->p, b, step_is_last(s), NULL);
    if (!weight_is_tied(s->l, weight))
        return ps_if(s->p, b, step_is_first(s), NULL);
    return ps_if(s->p, b, px_or(s->p, step_is_first(s), step_is_last(s)), NULL);
}

void step_update_shares(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgBlock *body = each_block(s, b, unit);
        const Shares shares = open_shares(s, body, unit);
        for (int w = 0; w < l->m->weights.count; w++)
            if (in_unit(l, unit, w) && !l->m->weights.at[w].frozen)
                update_tensor(s, stage_block(s, body, unit, w), unit, &shares,
                              w);
        end_blocks(s);
    }
}

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
        ProgBlock *body = each_block(s, b, unit);
        ProgExpr *at = unit_begin(s, unit);
        if (unit->stack >= 0)
            at = px_add(p, at,
                        px_mul(p, step_own_block(s),
                               px_const(p, l->stacks[unit->stack].floats_const)));
        ProgExpr *args[] = {
            var(s, s->me),
            unit_message(s, "gather weights", ALL_GATHER, unit, 1),
            px_offset(p, step_control(s, "weights"), at),
            share(s, unit),
        };
        step_call(s, body, prog_library(p, "all_gather_f32"), args, 4);
        end_blocks(s);
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
        ProgBlock *body = each_block(s, b, unit);
        ProgExpr *at = unit_begin(s, unit);
        if (unit->stack >= 0)
            at = px_add(p, at,
                        px_mul(p, step_own_block(s),
                               px_const(p, l->stacks[unit->stack].floats_const)));
        step_gather_unit(s, body, unit, "gather gradients",
                         px_offset(p, step_region(s, "whole"), at),
                         gradient_share(s, unit));
        end_blocks(s);
    }
}

/* ---- weights that are gathered before they are used ---- */
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

void step_gather_unit(Steps *s, ProgBlock *b, const Unit *unit,
                      const char *message, ProgExpr *all, ProgExpr *own)
{
    int64_t times = 1;
    if (unit->stack >= 0)               /* each micro-batch gathers its blocks */
        times = s->map->micros * s->map->groups;
    ProgExpr *args[] = {
        var(s, s->me), unit_message(s, message, ALL_GATHER, unit, times),
        all, own, member(s), share(s, unit),
    };
    step_call(s, b, gather_func(s->l), args, 6);
}

const char *gathered_region(const Lower *l, const Unit *unit)
{
    return arena_printf(l->arena, "%s_weights", unit->name);
}

/* void gathered_weights(Shared *to, float *before, …, float *tables) */
static ProgFunc *gathered_func(Lower *l)
{
    Prog *p = l->p;
    if (l->gathered_weights)
        return l->gathered_weights;
    ProgFunc *f = prog_func(p, "gathered_weights", "Where gathered parameters "
                            "lie.", prog_void());
    f->inlined = true;
    ProgVar *to = prog_param(p, f, "to", prog_pointer_to(l->shared, false));
    ProgVar *units[8] = {0};
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack < 0)
            units[i] = prog_param(p, f, l->units.at[i].name,
                                  prog_pointer(PK_F32, false));
    ProgVar *tables = prog_param(p, f, "tables", prog_pointer(PK_F32, false));
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        const Unit *unit = unit_of(l, i);
        if (w->stack >= 0)
            continue;
        ProgExpr *at = unit
            ? px_offset(p, px_var(p, units[unit - l->units.at]),
                        px_const(p, l->offsets[i]))
            : px_offset(p, px_var(p, tables),
                        px_int(p, l->weight_at[i] - l->moment_floats));
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
        ProgExpr *all = step_region(s, gathered_region(l, unit));
        step_gather_unit(s, b, unit, "gather weights", all,
                         packed_share(s, unit, step_control(s, "weights")));
        list_push(l->arena, &args, all);
    }
    list_push(l->arena, &args,
              px_offset(p, step_control(s, "weights"),
                        px_div(p, px_const(p, l->moment_const),
                               px_const(p, l->shards_const))));
    step_call(s, b, gathered_func(l), args.at, args.count);
}

/* The open block's, for one call. */
ProgExpr *step_gather_block(Steps *s, ProgBlock *b)
{
    const Unit *unit = block_unit(s->l, s->stack);
    ProgExpr *all = step_region(s, gathered_region(s->l, unit));
    step_gather_unit(s, b, unit, "gather weights", all,
                     packed_share(s, unit, step_control(s, "weights")));
    return all;
}
