/* slices.c: where ranks have slices of weights, those of the tensor axis, or
 * each its experts: the gradients that they have made in parts are summed, and
 * each makes the norms of what it has. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* ---- gradients in parts ---- */
static int64_t part_floats(const Lower *l, const Weight *w)
{
    return (type_elements(l->m, &w->type) + 15) / 16 * 16;
}

static bool is_partial(const Lower *l, int weight, int stack)
{
    const Weight *w = &l->m->weights.at[weight];
    return w->partial && w->stack == stack && !w->frozen;
}

/* Its gradient, in the open block's or the shared ones. */
static void sum_part(Steps *s, ProgBlock *b, int weight)
{
    Prog *p = s->p;
    Lower *l = s->l;
    const Weight *w = &l->m->weights.at[weight];
    int64_t n = part_floats(l, w);
    Talk *talk = find_talk(l, arena_printf(l->arena, "sum %s", w->name),
                           "tensor", l->m->mesh.tensor_from);
    for (int stage = 0; stage < l->stages; stage++) {
        int64_t calls = w->stack < 0 ? weight_on_stage(l, weight, stage)
                                     : stack_blocks_on(l, w->stack, stage);
        if (w->stack >= 0 && l->early)      /* with the block's gradient */
            calls *= s->map->micros;
        foretell(s, talk, stage, calls,
                 collective_bytes(ALL_REDUCE, 4 * n, l->m->mesh.tensor));
    }
    const ProgVar *sums = w->stack < 0 ? s->dshared[0] : s->dw[w->stack];
    ProgExpr *args[] = { var(s, s->me), px_const(p, talk->index),
                         px_field(p, var(s, sums), c_name(l, w->name)),
                         num(s, n) };
    step_call(s, b, prog_library(p, "all_reduce_f32"), args, 4);
}

void step_sum_block_parts(Steps *s, ProgBlock *b)
{
    for (int i = 0; i < s->l->m->weights.count; i++)
        if (is_partial(s->l, i, s->stack))
            sum_part(s, b, i);
}

/* Those outside blocks, each on the stages that have it. */
static void sum_shared_parts(Steps *s, ProgBlock *b)
{
    const Lower *l = s->l;
    for (int i = 0; i < l->m->weights.count; i++)
        if (is_partial(l, i, -1))
            sum_part(s, step_on_stages(s, b, i), i);
}

static bool has_partial(const Lower *l, int stack)
{
    for (int i = 0; i < l->m->weights.count; i++)
        if (is_partial(l, i, stack))
            return true;
    return false;
}

/* Parameters that each tensor rank has whole, and of whose gradient it has made
 * a part; of blocks that leave early each has been summed then. */
void step_sum_partial(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    bool any = has_partial(l, -1);
    for (int stack = 0; stack < l->m->stacks.count; stack++)
        any |= !l->early && has_partial(l, stack);
    if (any)
        ps_comment(p, b, "what each tensor rank has a part of");
    for (int stack = 0; stack < l->m->stacks.count; stack++) {
        if (l->early || !has_partial(l, stack))
            continue;
        ProgBlock *body = step_each_block(s, b, stack);
        step_point_at_sums(s, body);
        step_sum_block_parts(s, body);
        step_end_blocks(s);
    }
    sum_shared_parts(s, b);
}

/* ---- norms of slices ---- */
/* Those of `members` ranks, each having made those of so many slices. */
static void gather_parts(Steps *s, ProgBlock *b, Talk *talk, int64_t members,
                         ProgExpr *norms, int64_t slices)
{
    const ProgConst *slice = s->l->norms.slice;
    int64_t each = slices * slice->value;
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, s->l->chunks,
                 collective_bytes(ALL_GATHER, 8 * each, members));
    ProgExpr *args[] = { var(s, s->me), px_const(s->p, talk->index), norms,
                         px_mul(s->p, num(s, slices),
                                px_const(s->p, slice)) };
    step_call(s, b, prog_library(s->p, "all_gather_f64"), args, 4);
}

/* Σ over slices: each has made the norms of what it has, and of what all have
 * the first one. Those of the tensor ranks that have the same experts lie
 * together. */
void step_gather_slices(Steps *s, ProgBlock *b, ProgExpr *norms)
{
    const Mesh *mesh = &s->l->m->mesh;
    ProgExpr *own = norms;
    if (mesh->tensor > 1 && mesh->experts > 1)
        own = px_offset(
            s->p, norms,
            px_mul(s->p, px_mul(s->p, step_control(s, "expert"),
                                num(s, mesh->tensor)),
                   px_const(s->p, s->l->norms.slice)));
    if (mesh->tensor > 1)
        gather_parts(s, b, find_talk(s->l, "gather slices' norms", "tensor",
                                     mesh->tensor_from),
                     mesh->tensor, own, 1);
    if (mesh->experts > 1)
        gather_parts(s, b, find_talk(s->l, "gather experts' norms", "experts",
                                     mesh->experts_from),
                     mesh->experts, norms, mesh->tensor);
}

ProgExpr *step_slice(Steps *s)
{
    Prog *p = s->p;
    const Mesh *mesh = &s->l->m->mesh;
    if (mesh->experts == 1)
        return step_control(s, "slice");
    if (mesh->tensor == 1)
        return step_control(s, "expert");
    return px_add(p, px_mul(p, step_control(s, "expert"),
                            num(s, mesh->tensor)),
                  step_control(s, "slice"));
}

static ProgExpr *is_first(Steps *s, const char *field)
{
    return px_eq(s->p, step_control(s, field), num(s, 0));
}

ProgExpr *step_counts_norms(Steps *s, const Weight *w)
{
    const Mesh *mesh = &s->l->m->mesh;
    ProgExpr *slice = NULL, *expert = NULL;
    if (mesh->tensor > 1 && !w->slice)
        slice = is_first(s, "slice");
    if (mesh->experts > 1 && !w->experts)
        expert = is_first(s, "expert");
    return slice && expert ? px_and(s->p, slice, expert)
         : slice           ? slice
                           : expert;
}
