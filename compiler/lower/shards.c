/* shards.c: what replicas split between them (ZeRO, Rajbhandari et al. 2020).
 * A unit is a block's parameters, or those outside blocks that stand side by
 * side; each of SHARDS ranks owns an equal share of it, whole blocks of 1024
 * floats, so that each block of the gradient norm has one owner. Of its shares
 * a rank keeps the moments, and makes the update:
 *
 *     optimizer    gradients are summed on the owner, its new weights gathered
 *     gradients    a block's gradient is summed as soon as it is there and its
 *                  share kept, where a rank has one micro-batch a step, or
 *                  (reproducible.order: fast) in each of several
 *     parameters   so are weights: gathered before a block runs, then dropped
 *
 * A stage of a pipeline has what stands before, in and behind its own blocks,
 * and, of chunks of both stacks, between those.
 * Where ranks share out experts, a block's are a unit of their own: fewer ranks
 * have the same, and split them.
 *
 * SHARDS neighbours on the data axis are a shard group, which has all shares
 * (HYBRID_SHARD, Zhao et al. 2023). Where there are several, gradients are
 * summed in each and then over the ranks with the same share; shares are
 * gathered in a group alone. Of experts a group's ranks with the same ones have
 * shares, if it has whole sets of them; if not, the ranks of a context, where
 * there is one: then those who have the same experts are in other groups.
 */
#include "steps.h"
#include "../../runtime/collectives.h"

int64_t unit_share(const Unit *unit)
{
    return unit->floats / unit->shards;
}

static int64_t unit_count(const Lower *l, const Unit *unit)
{
    return unit->stack < 0 ? 1 : stack_blocks(l->m, unit->stack);
}

/* On a stage it is what stands before the blocks. */
static bool is_first(const Lower *l, const Unit *unit)
{
    return unit == l->units.at;
}

bool in_unit(const Lower *l, const Unit *unit, int weight)
{
    const Weight *w = &l->m->weights.at[weight];
    if (w->stack != unit->stack || w->constant || w->derived
        || w->experts != unit->experts)
        return false;
    if (w->stack >= 0)
        return true;
    int stage = l->parts ? weight_stage(l, weight) : -1;
    int64_t at = stage < 0 ? l->weight_at[weight]
                           : l->parts[stage].weight_at[weight];
    int64_t begin = part_unit_at(l, unit, stage);
    return at >= begin
        && at < begin + unit->shards * part_unit_share(l, unit, stage);
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
    static const char *const names[] = { "train", "grad", "eval",
                                         "gathered_score" };
    bool ranks = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ranks |= !strcmp(step->name, names[i]);
    return ranks && l->shards > 1 && l->m->mesh.shard == SHARD_PARAMETERS;
}

/* What stands between the stacks. */
static bool is_between(const Unit *unit)
{
    return !strcmp(unit->name, "between");
}

/* Floats of a rank's share; outside blocks stages have different ones. */
static int64_t stage_share(const Lower *l, const Unit *unit, int stage)
{
    if (!l->parts || unit->stack >= 0)
        return unit_share(unit);
    const PartLayout *part = &l->parts[stage];
    int64_t floats = is_first(l, unit) ? part->blocks_at
                   : is_between(unit) ? part->between_floats
                                      : part->behind_floats;
    return floats / l->shards;
}

static int64_t stage_count(const Lower *l, const Unit *unit, int stage)
{
    return unit->stack < 0 ? 1 : stack_blocks_on(l, unit->stack, stage);
}

/* All of a rank's shares of the units before one, or of all of them: of experts
 * or of others. */
static int64_t stage_shares(const Lower *l, int stage, const Unit *before,
                            bool experts)
{
    int64_t floats = 0;
    for (int i = 0; i < l->units.count && &l->units.at[i] != before; i++)
        if (l->units.at[i].experts == experts)
            floats += stage_share(l, &l->units.at[i], stage)
                * stage_count(l, &l->units.at[i], stage);
    return floats;
}

int64_t shard_norm_room(const Lower *l)
{
    int64_t most = 0;
    if (l->chunks == 1)
        return all_share_norms(l);
    if (l->mixed)
        return mixed_norm_room(l);
    for (int s = 0; s < l->stages; s++)
        for (int i = 0; i < l->chunks; i++) {
            const ModelChunk *chunk = part_chunk(l, s, i);
            const PartLayout *part = &l->parts[s];
            int64_t floats = (chunk->to - chunk->from) * l->stacks[0].floats
                + (i == 0 ? part->blocks_at : 0)
                + (i == l->chunks - 1 ? part->behind_floats : 0);
            most = floats > most ? floats : most;
        }
    return most / 1024;
}

/* Of the stage that has the most. */
static int64_t share_norms(const Lower *l, bool experts)
{
    int64_t most = 0;
    for (int i = 0; i < l->stages; i++) {
        int64_t floats = stage_shares(l, i, NULL, experts);
        most = floats > most ? floats : most;
    }
    return most / 1024;
}

int64_t shard_norms(const Lower *l) { return share_norms(l, false); }

int64_t expert_norms(const Lower *l) { return share_norms(l, true); }

int64_t all_share_norms(const Lower *l)
{
    return l->shards * shard_norms(l) + l->expert_shards * expert_norms(l);
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
        const char *of = unit->experts ? "experts" : "block";
        return *prefix ? arena_printf(l->arena, "%.*s_%s",
                                      (int)strlen(prefix) - 1, prefix, of)
                       : of;
    }
    return i == 0 ? "before" : i == l->units.count - 1 ? "behind" : "between";
}

/* Where units of experts have fewer shares than the others, a rank's shares do
 * not lie where the whole's share of SHARDS would: those of experts lie behind
 * all others. Those of stages are in their table. */
static void name_packed(Lower *l, int group, Unit *unit)
{
    if (l->m->mesh.experts == 1)
        return;
    if (!l->parts)
        unit->packed_const = prog_const(
            l->p, group,
            arena_printf(l->arena, "%s_PACKED", upper(l, unit->name)),
            unit->packed, "where it begins among a rank's shares");
    if (unit->experts)
        l->experts_const[unit->stack] = prog_const(
            l->p, group,
            arena_printf(l->arena, "%s_IN_BLOCK", upper(l, unit->name)),
            l->stacks[unit->stack].experts_at, "where they begin in a block");
}

/* How many ranks split what; gives the group of what is named next. */
static int name_shards(Lower *l)
{
    int group = prog_add_const_group(l->p, NULL);
    bool experts = l->m->mesh.experts > 1;
    l->shards_const = prog_const(l->p, group, "SHARDS", l->shards,
                                 "ranks that own a share of each unit");
    if (experts)
        l->expert_shards_const =
            prog_const(l->p, group, "EXPERT_SHARDS", l->expert_shards,
                       "… of a block's experts");
    group = prog_add_wide_group(l->p, "Units: parameters before, in and behind "
                                "the blocks, in floats.");
    if (experts && !l->parts)
        l->share_floats_const =
            prog_const(l->p, group, "MOMENT_SHARE", l->share_floats,
                       "a rank's shares of one moment");
    return group;
}

/* Where a weight begins in its unit. */
static int64_t offset_in_unit(const Lower *l, int weight)
{
    const Weight *w = &l->m->weights.at[weight];
    int64_t at = l->weight_at[weight];
    if (w->experts)
        return at - l->stacks[w->stack].experts_at;
    if (w->stack >= 0)
        return at;
    const Unit *unit = unit_of(l, weight);
    if (!l->parts)
        return at - unit->at;
    int stage = weight_stage(l, weight);
    return l->parts[stage].weight_at[weight] - part_unit_at(l, unit, stage);
}

static void name_offsets(Lower *l, int group)
{
    l->offsets = arena_alloc(l->arena, (size_t)l->m->weights.count
                                           * sizeof *l->offsets);
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->constant || w->derived)
            continue;
        const char *name = arena_printf(
            l->arena, "%s_AT", upper(l, c_name(l, w->name)));
        if (w->stack >= 0)
            name = stack_name(l, w->stack, name);
        l->offsets[i] = prog_const(l->p, group, name, offset_in_unit(l, i),
                                   "in its unit");
    }
}

bool has_between(const Lower *l)
{
    for (int i = 0; i < l->stages; i++)
        if (l->parts[i].between_floats)
            return true;
    return false;
}

/* What stands between stacks is behind the encoder's blocks on its last stage,
 * or before the decoder's on its first: but where a stage has both it has no
 * such unit. */
static void drop_between(Lower *l)
{
    int kept = 0;
    for (int i = 0; i < l->units.count; i++)
        if (!is_between(&l->units.at[i]))
            l->units.at[kept++] = l->units.at[i];
    l->units.count = kept;
}

/* Where further uses of parameters begin among the gradients, and end. */
static int64_t further_begin(const Lower *l, int stage)
{
    if (l->parts)
        return l->parts[stage].moment_floats;
    const Unit *last = &l->units.at[l->units.count - 1];
    if (last->stack < 0)
        return last->gradient_at + last->floats;
    const StackLayout *stack = &l->stacks[last->stack];
    return stack->gradient_at
        + stack->gradient_floats * (l->early ? 1 : unit_count(l, last));
}

static int64_t further_end(const Lower *l, int stage)
{
    return l->parts ? l->parts[stage].gradient_floats : l->gradient_floats;
}

/* Where what stands outside blocks begins, among parameters and gradients. */
static void name_place(Lower *l, int group, Unit *unit)
{
    const char *name = upper(l, unit->name);
    bool alike = unit->gradient_at == unit->at;
    unit->at_const = prog_const(l->p, group, name, unit->at,
                                alike ? "where it begins"
                                      : "where it begins among parameters");
    unit->gradient_const = alike ? unit->at_const
        : prog_const(l->p, group, arena_printf(l->arena, "GRADIENT_%s", name),
                     unit->gradient_at, "… among gradients");
}

/* The sizes of shares, and where parameters begin in their units. */
void name_units(Lower *l)
{
    int64_t shares[2] = {0};            /* of experts behind the others */
    if (l->shards == 1)
        return;
    for (int i = 0; i < l->units.count; i++) {
        Unit *unit = &l->units.at[i];
        unit->name = unit_name(l, i);
        unit->packed = shares[unit->experts];
        unit->norms = unit->packed / 1024;
        shares[unit->experts] += unit_count(l, unit) * unit_share(unit);
    }
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].experts)
            l->units.at[i].packed += shares[0];
    l->share_floats = shares[0] + shares[1];
    if (l->parts && !has_between(l))
        drop_between(l);
    int group = name_shards(l);
    for (int i = 0; i < l->units.count; i++) {
        Unit *unit = &l->units.at[i];
        if (unit->stack < 0 && l->parts)        /* by stage */
            continue;
        name_packed(l, group, unit);
        if (unit->stack < 0)
            name_place(l, group, unit);
        unit->share = prog_const(
            l->p, group,
            arena_printf(l->arena, "%s_SHARE", upper(l, unit->name)),
            unit_share(unit), "a rank's share");
        if (gathered_places(l, unit, -1) > 1 && !unit->experts)
            unit->gathered = prog_const(
                l->p, group,
                arena_printf(l->arena, "%s_GATHERED", upper(l, unit->name)),
                gathered_floats(l, unit, -1), "all shares of one");
    }
    l->further_const = prog_const(l->p, group, "FURTHER_USES",
                                  further_begin(l, 0),
                                  "gradients of further uses of a parameter");
    name_offsets(l, group);
}

/* ---- where shares lie ---- */
ProgExpr *step_share_number(Steps *s, const Unit *unit)
{
    return step_control(s, unit->experts ? "expert_share" : "share");
}

/* Floats of a share; outside blocks stages have different ones. */
ProgExpr *step_share(Steps *s, const Unit *unit)
{
    if (!s->stage || unit->stack >= 0)
        return px_const(s->p, unit->share);
    return step_stage_field(s, arena_printf(s->l->arena, "%s_share",
                                            unit->name));
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
    if (unit->experts)
        return layout->stack_at[unit->stack]
            + l->stacks[unit->stack].experts_at;
    return unit->stack >= 0  ? layout->stack_at[unit->stack]
         : is_first(l, unit) ? 0
         : is_between(unit)  ? layout->between_at
                             : layout->behind_at;
}

int64_t part_unit_packed(const Lower *l, const Unit *unit, int part)
{
    if (part < 0 || !l->parts)
        return unit->packed;
    return (unit->experts ? stage_shares(l, part, NULL, false) : 0)
        + stage_shares(l, part, unit, unit->experts);
}

int64_t part_behind_packed(const Lower *l, int stage)
{
    return stage_shares(l, stage, NULL, false)
        - l->parts[stage].behind_floats / l->shards;
}

int64_t part_share_floats(const Lower *l, int part)
{
    bool whole = part < 0 || !l->parts;
    if (l->shards == 1)
        return whole ? l->moment_floats : l->parts[part].moment_floats;
    return whole ? l->share_floats
                 : stage_shares(l, part, NULL, false)
                       + stage_shares(l, part, NULL, true);
}

ProgExpr *step_whole_moment(Steps *s)
{
    return s->stage ? step_stage_field(s, "moment")
                    : px_const(s->p, s->l->moment_const);
}

ProgExpr *step_moment_share(Steps *s)
{
    if (s->l->share_floats_const)
        return px_const(s->p, s->l->share_floats_const);
    if (s->stage && s->l->m->mesh.experts > 1)
        return step_stage_field(s, "moment_share");
    return px_div(s->p, step_whole_moment(s),
                  px_const(s->p, s->l->shards_const));
}

/* "sum gradients" -> "sum experts' gradients" */
static const char *of_experts(const Lower *l, const char *name)
{
    int verb = (int)strcspn(name, " ");
    return arena_printf(l->arena, "%.*s experts'%s", verb, name, name + verb);
}

ProgExpr *step_unit_calls(Steps *s, const char *name, int kind,
                          const Unit *unit, const int64_t *calls)
{
    ProgExpr *index = NULL;
    for (int i = 0; i < s->l->stages; i++) {
        int64_t bytes = 4 * stage_share(s->l, unit, i);
        index = unit->experts
            ? step_experts_message(s, of_experts(s->l, name), kind, i, bytes,
                                   calls[i])
            : step_shard_message(s, name, kind, i, bytes, calls[i]);
    }
    return index;
}

ProgExpr *step_unit_message(Steps *s, const char *name, int kind,
                            const Unit *unit, int64_t times)
{
    int64_t *calls = arena_alloc(s->l->arena,
                                 (size_t)s->l->stages * sizeof *calls);
    for (int i = 0; i < s->l->stages; i++)
        calls[i] = times * stage_count(s->l, unit, i);
    return step_unit_calls(s, name, kind, unit, calls);
}

/* Where the unit is: outside blocks a stage may have nothing. */
ProgBlock *step_where_unit(Steps *s, ProgBlock *b, const Unit *unit)
{
    int some = 0;
    for (int i = 0; i < s->l->stages; i++)
        some += stage_share(s->l, unit, i) > 0;
    return step_where_some(s, b, some, step_share(s, unit));
}

/* Of a unit that begins at `at` of something that has all units. */
static ProgExpr *own_share(Steps *s, const Unit *unit, ProgExpr *base,
                           ProgExpr *at, int64_t stride_of_block)
{
    Prog *p = s->p;
    if (unit->stack >= 0 && stride_of_block)
        at =
            px_add(p, at,
                   px_mul(p, step_own_block(s),
                          px_const(p, s->l->stacks[unit->stack].floats_const)));
    at = px_add(p, at, px_mul(p, step_share_number(s, unit),
                           step_share(s, unit)));
    return px_offset(p, base, at);
}

/* The unit's place in a block that begins at `at`. */
static ProgExpr *in_block(Steps *s, const Unit *unit, ProgExpr *at)
{
    if (!unit->experts)
        return at;
    return px_add(s->p, at,
                  px_const(s->p, s->l->experts_const[unit->stack]));
}

ProgExpr *step_unit_begin(Steps *s, const Unit *unit)
{
    if (s->stage && unit->stack >= 0)
        return in_block(s, unit, step_stage_blocks(s, unit->stack));
    if (s->stage)
        return is_first(s->l, unit) ? num(s, 0)
                                    : step_stage_field(s, unit->name);
    if (unit->stack < 0)
        return px_const(s->p, unit->at_const);
    return in_block(s, unit,
                    px_const(s->p, s->l->stacks[unit->stack].at_const));
}

ProgExpr *step_packed_begin(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    if (unit->packed_const)
        return px_const(p, unit->packed_const);
    if (s->l->m->mesh.experts == 1 || is_first(s->l, unit))
        return px_div(p, step_unit_begin(s, unit),
                      px_const(p, s->l->shards_const));
    if (s->l->mixed)
        return step_stage_field(s, arena_printf(s->l->arena, "%s_packed",
                                                unit->name));
    if (unit->experts)
        return px_add(p, step_stage_field(s, "behind_packed"),
                      step_stage_field(s, "behind_share"));
    return step_stage_field(s, unit->stack < 0 ? "behind_packed"
                                               : "before_share");
}

/* Of a unit in what has a rank's shares alone: moments, ZeRO-3's weights. */
ProgExpr *step_packed_share(Steps *s, const Unit *unit, ProgExpr *base)
{
    Prog *p = s->p;
    ProgExpr *at = step_packed_begin(s, unit);
    if (unit->stack >= 0)
        at = px_add(p, at, px_mul(p, step_own_block(s), step_share(s, unit)));
    return px_offset(p, base, at);
}

ProgExpr *step_weight_share(Steps *s, const Unit *unit)
{
    ProgExpr *weights = step_control(s, "weights");
    if (s->l->m->mesh.shard == SHARD_PARAMETERS)
        return step_packed_share(s, unit, weights);
    return own_share(s, unit, weights, step_unit_begin(s, unit), 1);
}

/* Shares of blocks of the stacks before. */
static int64_t kept_before(const Lower *l, const Unit *unit)
{
    int64_t floats = 0;
    for (int i = 0; &l->units.at[i] != unit; i++)
        if (l->units.at[i].stack >= 0)
            floats += unit_count(l, &l->units.at[i])
                * unit_share(&l->units.at[i]);
    return floats;
}

int64_t kept_shares(const Lower *l)
{
    int64_t floats = 0;
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack >= 0)
            floats += unit_count(l, &l->units.at[i])
                * unit_share(&l->units.at[i]);
    return floats;
}

/* The share of block l's gradient that was kept. */
static ProgExpr *kept_share(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    ProgExpr *at = px_add(p, num(s, kept_before(s->l, unit)),
                          px_mul(p, var(s, s->block),
                                 step_share(s, unit)));
    return px_offset(p, step_region(s, "shares"), at);
}

static ProgExpr *gradient_begin(Steps *s, const Unit *unit)
{
    Prog *p = s->p;
    if (s->stage)
        return step_unit_begin(s, unit);
    if (unit->stack >= 0)
        return in_block(s, unit,
                        px_const(p, s->l->stacks[unit->stack]
                                        .gradient_at_const));
    return px_const(p, unit->gradient_const);
}

ProgExpr *step_gradient_share(Steps *s, const Unit *unit)
{
    if (s->l->early && unit->stack >= 0)
        return kept_share(s, unit);
    return own_share(s, unit, var(s, s->gradients), gradient_begin(s, unit), 1);
}

/* ---- gradients ---- */
/* A sum over the shard groups of the unit's shares. */
static ProgExpr *copies_message(Steps *s, const Unit *unit, int stage,
                                int64_t calls)
{
    int64_t bytes = 4 * stage_share(s->l, unit, stage);
    return unit->experts
        ? step_expert_copies_message(s, "sum experts' shares of groups", stage,
                                     bytes, calls)
        : step_copies_message(s, "sum shares of groups", stage, bytes, calls);
}

static void reduce(Steps *s, ProgBlock *b, const Unit *unit, ProgExpr *values,
                   int64_t times)
{
    ProgExpr *args[] = {
        var(s, s->me),
        step_unit_message(s, "sum gradients", REDUCE_SCATTER, unit, times),
        values,
        step_share(s, unit),
    };
    step_call(s, b, prog_library(s->p, "reduce_scatter_f32"), args, 4);
}

/* Does a weight stand before the blocks of several stages? They have different
 * ones there, so that shares of it differ: all of it is summed, over all
 * replicas, before stages tell each other their sums. */
static bool sums_whole(const Lower *l, const Unit *unit)
{
    for (int i = 0; l->parts && i < l->m->weights.count; i++)
        if (in_unit(l, unit, i) && l->site_at[1][i] >= 0
            && weight_is_tied(l, i))
            return true;
    return false;
}

static void reduce_whole(Steps *s, ProgBlock *b, const Unit *unit,
                         ProgExpr *values)
{
    Prog *p = s->p;
    ProgExpr *index = NULL;
    for (int i = 0; i < s->l->stages; i++)
        index = step_replicas_message(s, "sum a tied gradient", i,
                                      4 * s->l->parts[i].blocks_at);
    ProgExpr *args[] = {
        var(s, s->me), index, values,
        px_mul(p, px_const(p, s->l->shards_const), step_share(s, unit)),
    };
    step_call(s, b, prog_library(p, "all_reduce_f32"), args, 4);
}

/* Shares that a shard group has summed are added to those of the others: the
 * groups are the upper part of the tree. */
static void add_copies(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    ps_comment(s->p, b, "the shard groups' shares");
    for (int i = 0; i < l->units.count; i++) {
        const Unit *unit = &l->units.at[i];
        ProgExpr *index = NULL;
        ProgBlock *some = step_where_unit(s, b, unit);
        if (sums_whole(l, unit) || !some)
            continue;
        if (unit->experts && l->expert_copies == 1)
            continue;
        for (int stage = 0; stage < l->stages; stage++)
            index = copies_message(s, unit, stage,
                                   stage_count(l, unit, stage));
        ProgBlock *body = step_each_block(s, some, unit->stack);
        ProgExpr *args[] = { var(s, s->me), index,
                             step_gradient_share(s, unit),
                             step_share(s, unit) };
        step_call(s, body, prog_library(s->p, "all_reduce_f32"), args, 4);
        step_end_blocks(s);
    }
}

static void reduce_further(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    int some = 0;
    ProgExpr *index = NULL;
    for (int i = 0; i < l->stages; i++) {
        int64_t floats = further_end(l, i) - further_begin(l, i);
        index = step_replicas_message(s, "sum further uses", i, 4 * floats);
        some += floats > 0;
    }
    ProgExpr *from =
        s->stage ? step_whole_moment(s) : px_const(p, l->further_const);
    ProgExpr *count = px_sub(p, step_gradient_floats(s), from);
    ProgExpr *args[] = { var(s, s->me), index,
                         px_offset(p, var(s, s->gradients), from), count };
    b = step_where_some(s, b, some, count);
    if (b)
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
        if ((unit->stack >= 0 && l->early) || unit->shards == 1)
            continue;
        ProgBlock *some = step_where_unit(s, b, unit);
        if (!some)
            continue;
        ProgBlock *body = step_each_block(s, some, unit->stack);
        ProgExpr *at = gradient_begin(s, unit);
        if (unit->stack >= 0)
            at = in_block(s, unit, step_gradient_block(s));
        ProgExpr *values = px_offset(p, var(s, s->gradients), at);
        if (sums_whole(l, unit))
            reduce_whole(s, body, unit, values);
        else
            reduce(s, body, unit, values, 1);
        step_end_blocks(s);
    }
    if (l->copies > 1)
        add_copies(s, b);
    reduce_further(s, b);
}

/* void copy(const Thread *me, float *to, const float *from, long n) */
ProgFunc *copy_func(Lower *l)
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

const Unit *block_unit(const Lower *l, int stack)
{
    for (int i = 0; i < l->units.count; i++)
        if (l->units.at[i].stack == stack)
            return &l->units.at[i];
    return NULL;
}

static void keep_share(Steps *s, ProgBlock *b, const Unit *unit)
{
    Prog *p = s->p;
    ProgExpr *at = gradient_begin(s, unit);
    ProgExpr *all = px_offset(p, var(s, s->gradients), at);
    ProgExpr *args[] = {
        var(s, s->me), kept_share(s, unit),
        px_offset(p, all, px_mul(p, step_share_number(s, unit),
                           step_share(s, unit))),
        step_share(s, unit),
    };
    if (unit->shards > 1)
        reduce(s, b, unit, all, s->map->micros);
    ProgBlock *first = b, *later;
    if (s->micro) {
        first = ps_if(p, b, px_eq(p, var(s, s->micro), num(s, 0)), &later);
        step_call(s, later, add_into_func(s->l), args, 4);
    }
    step_call(s, first, copy_func(s->l), args, 4);
}

/* Block l's gradient is there: its share is summed and kept, or added to those
 * of the micro-batches before. */
void step_keep_share(Steps *s, ProgBlock *b)
{
    for (int i = 0; i < s->l->units.count; i++)
        if (s->l->units.at[i].stack == s->stack)
            keep_share(s, b, &s->l->units.at[i]);
    step_barrier(s, b);
}
