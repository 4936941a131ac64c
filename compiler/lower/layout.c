/* layout.c: where parameters lie, and the records through which emitted code
 * names them: Shared for those outside blocks, Block for one block's. Every
 * tensor starts at a multiple of 1024 floats, so that a block of the gradient
 * norm lies in one.
 *
 * Three layouts: weights (parameters, then tables), gradients (what is trained;
 * also the layout of each moment), and behind them accumulators of further
 * uses. */
#include "lowering.h"

enum { ALIGN_FLOATS = 1024 };

static int64_t aligned(int64_t floats)
{
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static int64_t weight_size(const Lower *l, const Weight *w)
{
    return aligned(type_elements(l->m, &w->type));
}

/* Has it room for a gradient? In units gradients lie as weights do. */
static bool trained(const Lower *l, const Weight *w)
{
    return l->trains && !w->constant && (!w->frozen || l->shards > 1);
}

static int64_t split_evenly(int64_t floats, int64_t shards)
{
    int64_t to = ALIGN_FLOATS * shards;
    return (floats + to - 1) / to * to;
}

static int64_t unit_aligned(const Lower *l, int64_t floats)
{
    return split_evenly(floats, l->shards);
}

/* Whether a weight has an accumulator of a further use: the embedding that the
 * head shares. */
static bool has_site(const Lower *l, int weight, int site)
{
    for (int i = 0; i < l->m->funcs.count; i++)
        for (int j = 0; j < l->m->funcs.at[i]->gradients.count; j++) {
            const Gradient *g = &l->m->funcs.at[i]->gradients.at[j];
            if (g->weight == weight && g->site == site)
                return true;
        }
    return false;
}

/* Those of a block's weights that ranks share out as whole experts, or the
 * others. */
static void place_in_block(Lower *l, int stack, bool experts)
{
    StackLayout *s = &l->stacks[stack];
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack != stack || w->experts != experts)
            continue;
        l->weight_at[i] = s->floats;
        s->floats += weight_size(l, w);
        if (trained(l, w)) {
            l->site_at[0][i] = s->gradient_floats;
            s->gradient_floats += weight_size(l, w);
        }
    }
}

/* Offsets within a block. Experts that ranks share out stand last: their
 * gradients are summed, and split, apart from the others. */
static void place_block(Lower *l, int stack)
{
    StackLayout *s = &l->stacks[stack];
    place_in_block(l, stack, false);
    s->experts_at = s->floats = unit_aligned(l, s->floats);
    int64_t gradients = s->gradient_floats =
        unit_aligned(l, s->gradient_floats);
    place_in_block(l, stack, true);
    s->floats = s->experts_at
        + split_evenly(s->floats - s->experts_at, l->expert_shards);
    s->gradient_floats = gradients
        + split_evenly(s->gradient_floats - gradients, l->expert_shards);
}

/* What has been placed since the last unit is one, or none. */
static void end_unit(Lower *l, int64_t *start, int64_t *at, int64_t *gradient)
{
    int64_t padding = unit_aligned(l, *at - *start) - (*at - *start);
    *at += padding;
    *gradient += padding;
    const Unit unit = { .stack = -1, .shards = l->shards, .at = *start,
                        .floats = *at - *start,
                        .gradient_at = *gradient - (*at - *start) };
    if (l->shards > 1 && unit.floats)
        list_push(l->arena, &l->units, unit);
    *start = *at;
}

static void place_stack(Lower *l, int stack, int64_t *at, int64_t *gradient)
{
    StackLayout *s = &l->stacks[stack];
    const Unit unit = { .stack = stack, .shards = l->shards, .at = *at,
                        .floats = s->experts_at, .gradient_at = *gradient };
    const Unit experts = { .stack = stack, .experts = true,
                           .shards = l->expert_shards,
                           .at = *at + s->experts_at,
                           .floats = s->floats - s->experts_at,
                           .gradient_at = *gradient + s->experts_at };
    int64_t blocks = stack_blocks(l->m, stack);
    s->at = *at;
    s->gradient_at = *gradient;
    *at += blocks * s->floats;
    *gradient += (l->early ? 1 : blocks) * s->gradient_floats;
    if (l->shards > 1)
        list_push(l->arena, &l->units, unit);
    if (l->shards > 1 && experts.floats)
        list_push(l->arena, &l->units, experts);
}

/* Where each weight lies: blocks where the first of their weights stands, in
 * the module's order; tables behind all parameters. */
static void place_weights(Lower *l)
{
    const Module *m = l->m;
    int64_t at = 0, gradient = 0, start = 0;
    bool placed[2] = {false};
    for (int i = 0; i < m->weights.count; i++)
        l->weight_at[i] = l->site_at[0][i] = l->site_at[1][i] =
            l->site_at[2][i] = -1;
    for (int s = 0; s < m->stacks.count; s++)
        place_block(l, s);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < m->weights.count; i++) {
            const Weight *w = &m->weights.at[i];
            if (w->stack >= 0 && !placed[w->stack]) {
                end_unit(l, &start, &at, &gradient);
                place_stack(l, w->stack, &at, &gradient);
                start = at;
                placed[w->stack] = true;
            }
            if (w->stack >= 0 || w->constant != (pass == 1))
                continue;
            l->weight_at[i] = at;
            at += weight_size(l, w);
            if (trained(l, w)) {
                l->site_at[0][i] = gradient;
                gradient += weight_size(l, w);
            }
        }
        if (pass == 0)
            end_unit(l, &start, &at, &gradient);
    }
    l->moment_floats = l->shards > 1 ? start : gradient;
    for (int site = 1; site < MOST_SITES; site++)
        for (int i = 0; i < m->weights.count; i++)
            if (has_site(l, i, site)) {
                l->site_at[site][i] = gradient;
                gradient += weight_size(l, &m->weights.at[i]);
            }
    l->weight_floats = at;
    l->gradient_floats = gradient;
}

static ProgRecord *record_of(Lower *l, const char *name, int stack,
                             const char *comment)
{
    ProgRecord *r = prog_record(l->p, name, comment);
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack != stack)
            continue;
        const char *from = where(l, &w->origin);
        bool flat = w->file_type.rank && !w->slice;
        const char *text = arena_printf(l->arena, "%s%s%s",
                                        shape_comment(l, flat ? &w->file_type
                                                              : &w->type),
                                        *from ? "  " : "", from);
        prog_field(l->p, r, c_name(l, w->name), prog_pointer(PK_F32, false),
                   text);
    }
    return r;
}

typedef struct Pointing {
    const char *name, *comment;
    const ProgRecord *record;
    int stack;
    const int64_t *at, *otherwise; /* offsets; where one is -1, the other's */
} Pointing;

/* void NAME(RECORD *to, float *base): the fields, from their offsets. */
static ProgFunc *pointing(Lower *l, const Pointing *p)
{
    ProgFunc *f = prog_func(l->p, p->name, p->comment, prog_void());
    f->inlined = true;
    ProgVar *to = prog_param(l->p, f, "to", prog_pointer_to(p->record, false));
    ProgVar *base = prog_param(l->p, f, "base", prog_pointer(PK_F32, false));
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack != p->stack)
            continue;
        int64_t at = p->at[i] < 0 && p->otherwise ? p->otherwise[i] : p->at[i];
        ProgExpr *value = at < 0 ? px_null(l->p, base->type)
            : px_offset(l->p, px_var(l->p, base), px_int(l->p, at));
        l->p->here = w->origin.model;
        ps_field_set(l->p, &f->body, px_var(l->p, to), c_name(l, w->name),
                     value);
    }
    l->p->here = (Loc){0};
    prog_define(l->p, f);
    return f;
}

static void call_record(Lower *l)
{
    Prog *p = l->p;
    l->call = prog_record(p, "Call",
                          "Where a call of a function stands in the batch.");
    prog_field(p, l->call, "control",
               prog_pointer_to(prog_runtime_record(p, "Control"), true),
               "what the runtime says");
    prog_field(p, l->call, "batch", prog_i64(), "sequences of this call");
    prog_field(p, l->call, "sequence", prog_i64(), "tokens of each");
    prog_field(p, l->call, "rows", prog_i64(), "tokens of all");
    prog_field(p, l->call, "stride", prog_i64(),
               "rows that its memory has room for");
    prog_field(p, l->call, "first", prog_i64(),
               "its first sequence, in the whole batch");
    prog_field(p, l->call, "position", prog_i64(),
               "of each sequence's first token");
    prog_field(p, l->call, "block", prog_i64(), "which block");
    prog_field(p, l->call, "accumulate", prog_i32(),
               "1: sums over tokens go on; 0: they begin");
    prog_field(p, l->call, "inv_count", prog_f32(),
               "1 / scored positions of the batch");
    prog_field(p, l->call, "inv_labels", prog_f32(),
               "1 / labels or pairs of the batch");
}

const char *stack_name(const Lower *l, int stack, const char *name)
{
    const char *prefix = l->m->stacks.at[stack].prefix;
    size_t length = strlen(prefix);
    if (!length)
        return name;
    char *text = arena_printf(l->arena, "%s%s", prefix, name);
    text[length - 1] = '_';
    bool upper =
        *name >= 'A' && *name <= 'Z' && name[1] >= 'A' && name[1] <= 'Z';
    for (size_t i = 0; upper && i < length; i++)
        if (text[i] >= 'a' && text[i] <= 'z')
            text[i] = (char)(text[i] - 'a' + 'A');
    return text;
}

/* Has every weight that is no table, of a stack or (-1) outside blocks, a
 * gradient at its own place? Then what points at weights does at gradients. */
static bool lie_alike(const Lower *l, int stack)
{
    for (int i = 0; i < l->m->weights.count; i++)
        if (l->m->weights.at[i].stack == stack
            && l->weight_at[i] != l->site_at[0][i])
            return false;
    return true;
}

/* A name for where gradients lie, where it is not that of the parameters. */
static const ProgConst *gradient_const(Lower *l, int group, const char *name,
                                       int64_t value, const char *comment,
                                       const ProgConst *weights)
{
    if (weights->value == value)
        return weights;
    return prog_const(l->p, group, name, value, comment);
}

/* Where blocks lie among the parameters, and among the gradients. */
static void name_layout(Lower *l)
{
    Prog *p = l->p;
    int group = prog_add_wide_group(p, "Where blocks lie, in floats.");
    for (int i = 0; i < l->m->stacks.count; i++) {
        StackLayout *s = &l->stacks[i];
        bool alike = l->trains && s->at == s->gradient_at;
        s->at_const = prog_const(p, group, stack_name(l, i, "BLOCKS"), s->at,
                                 alike ? "the first, among parameters, "
                                         "gradients and moments"
                                       : "the first, among the parameters");
        s->floats_const = prog_const(p, group, stack_name(l, i, "BLOCK"),
                                     s->floats, "one");
        if (!l->trains)
            continue;
        s->gradient_at_const = gradient_const(
            l, group, stack_name(l, i, "GRADIENT_BLOCKS"), s->gradient_at,
            "the first, among the gradients or moments", s->at_const);
        s->gradient_floats_const = gradient_const(
            l, group, stack_name(l, i, "GRADIENT_BLOCK"), s->gradient_floats,
            "one", s->floats_const);
    }
    if (!l->trains)
        return;
    l->moment_const = prog_const(p, group, "MOMENT", l->moment_floats,
                                 "one moment of each parameter");
    l->gradients_const = prog_const(p, group, "GRADIENTS", l->gradient_floats,
                                    "all gradients, those of each use apart");
}

static void block_functions(Lower *l, int stack)
{
    StackLayout *s = &l->stacks[stack];
    Pointing p = { .record = s->record, .stack = stack, .at = l->weight_at };
    if (lie_alike(l, stack)) {
        p.name = stack_name(l, stack, "block_pointers");
        p.comment = "A block's parameters from `base` on, or their gradients "
                    "or moments, which lie alike.";
        s->weights = s->sums = pointing(l, &p);
        return;
    }
    p.name = stack_name(l, stack, "block_weights");
    p.comment = "A block's parameters, from its first.";
    s->weights = pointing(l, &p);
    p.name = stack_name(l, stack, "block_gradients");
    p.comment = "Their gradients or moments, from the first.";
    p.at = l->site_at[0];
    s->sums = pointing(l, &p);
}

/* The parameters outside blocks and, unless they lie alike, what is trained. */
static void shared_functions(Lower *l)
{
    static const char *const names[MOST_SITES] = {
        "shared_gradients", "shared_second_gradients", "shared_third_gradients",
    };
    static const char *const comments[MOST_SITES] = {
        "Where their gradients or moments lie.",
        "The same, but where two functions sum one gradient the second's.",
        "The third's.",
    };
    bool alike = lie_alike(l, -1);
    Pointing p = { .name = alike ? "shared_pointers" : "shared_weights",
                   .comment = alike ? "The parameters outside blocks, or their "
                                      "gradients or moments, which lie alike."
                                    : "Where the parameters lie.",
                   .record = l->shared, .stack = -1, .at = l->weight_at };
    l->shared_weights = pointing(l, &p);
    if (alike)
        l->shared_sums[0] = l->shared_weights;
    for (int site = alike; site < MOST_SITES; site++) {
        bool any = site == 0;
        for (int i = 0; i < l->m->weights.count; i++)
            any |= site && l->site_at[site][i] >= 0;
        if (!any)
            continue;
        p.name = names[site];
        p.comment = comments[site];
        p.at = l->site_at[site];
        p.otherwise = site ? l->site_at[0] : NULL;
        l->shared_sums[site] = pointing(l, &p);
    }
}

static const char *record_name(const Lower *l, int stack)
{
    const char *prefix = l->m->stacks.at[stack].prefix;
    if (!*prefix)
        return "Block";
    char *name =
        arena_printf(l->arena, "%.*sBlock", (int)strlen(prefix) - 1, prefix);
    name[0] = (char)(name[0] - 'a' + 'A');
    return name;
}

double weight_parts(const Lower *l, const Value *w)
{
    const Weight *weight =
        w->kind == VALUE_WEIGHT ? &l->m->weights.at[w->weight] : NULL;
    if (!weight || !weight->slice)
        return 1;
    if (weight->whole_file)
        return (double)type_elements(l->m, &weight->file_type)
            / (double)type_elements(l->m, &weight->type);
    return (double)l->m->mesh.tensor;
}

void lower_records(Lower *l)
{
    size_t bytes = (size_t)l->m->weights.count * sizeof *l->weight_at;
    l->weight_at = arena_alloc(l->arena, bytes);
    for (int i = 0; i < MOST_SITES; i++)
        l->site_at[i] = arena_alloc(l->arena, bytes);
    place_weights(l);
    place_parts(l);
    name_layout(l);
    name_units(l);
    name_norms(l);
    const char *gradients =
        l->trains ? "; the same fields serve their gradients" : "";
    l->shared = record_of(
        l, "Shared", -1,
        arena_printf(l->arena, "Parameters and tables outside the blocks%s.",
                     gradients));
    for (int i = 0; i < l->m->stacks.count; i++)
        l->stacks[i].record = record_of(
            l, record_name(l, i), i,
            arena_printf(l->arena, "A block's parameters%s.", gradients));
    call_record(l);
    shared_functions(l);
    for (int i = 0; i < l->m->stacks.count; i++)
        block_functions(l, i);
    name_parts(l);
}
