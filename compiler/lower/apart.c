/* apart.c: sums of gradients where ranks share the experts. Experts are a few
 * ranks' alone: their gradients are summed over those that have the same, the
 * others over all. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* Where the experts' gradients begin in a block's: layout.c places them behind
 * all others. */
static int64_t experts_begin(const Lower *l, int stack)
{
    int64_t at = l->stacks[stack].gradient_floats;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack == stack && w->experts && !w->frozen
            && l->site_at[0][i] < at)
            at = l->site_at[0][i];
    }
    return at;
}

/* A run of gradients: over all replicas, or over those with the same experts.
 */
static void sum_run(Steps *s, ProgBlock *b, const Talk *talk, ProgExpr *at,
                    ProgExpr *n)
{
    ProgExpr *args[] = { var(s, s->me), px_const(s->p, talk->index),
                         px_offset(s->p, var(s, s->gradients), at), n };
    step_call(s, b, prog_library(s->p, "all_reduce_f32"), args, 4);
}

/* Do runs begin with what stands before the stack's blocks? A stage of one
 * chunk has one stack's. */
static bool has_before(const Lower *l, int stack)
{
    return l->stages == 1 || l->mixed || stack == 0;
}

/* Floats of a stage's run before a stack's blocks, or, of no stack, behind
 * all. */
static int64_t outside_floats(const Lower *l, int stage, int before)
{
    const PartLayout *part = l->parts ? &l->parts[stage] : NULL;
    int64_t at = 0;
    for (int i = 0; i < l->m->stacks.count; i++) {
        const StackLayout *stack = &l->stacks[i];
        int64_t from = !part    ? stack->gradient_at
                     : l->mixed ? part->gradient_stack_at[i]
                                : part->gradient_blocks_at;
        if (!stack_blocks(l->m, i))
            continue;
        if (!has_before(l, i))
            from = at;
        if (i == before)
            return from - at;
        at = from + stack_blocks_on(l, i, stage) * stack->gradient_floats;
    }
    return (part ? part->gradient_floats : l->gradient_floats) - at;
}

/* n gradients from `at` on that stand before a stack's blocks, or behind all,
 * on the stages where there are any. */
static void sum_outside(Steps *s, ProgBlock *b, Talk *all, int before,
                        ProgExpr *at, ProgExpr *n)
{
    int some = 0;
    for (int i = 0; i < s->l->stages; i++) {
        int64_t floats = outside_floats(s->l, i, before);
        foretell(s, all, i, 1, collective_bytes(ALL_REDUCE, 4 * floats,
                                                s->map->members));
        some += floats > 0;
    }
    b = step_where_some(s, b, some, n);
    if (b)
        sum_run(s, b, all, at, n);
}

/* n gradients of each block of a stack, over so many ranks: of experts that no
 * two ranks have there is nothing to sum. */
static void sum_blocks(Steps *s, ProgBlock *b, Talk *talk, int64_t ranks,
                       ProgExpr *at, int64_t n)
{
    if (ranks == 1 || n == 0)
        return;
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, stack_blocks_on(s->l, s->stack, i),
                 collective_bytes(ALL_REDUCE, 4 * n, ranks));
    sum_run(s, b, talk, at, num(s, n));
}

/* A stack's blocks, one at a time; gives where they end. */
static ProgExpr *sum_stack_apart(Steps *s, ProgBlock *b, int i, Talk *all,
                                 Talk *same, ProgExpr *at)
{
    Prog *p = s->p;
    const StackLayout *stack = &s->l->stacks[i];
    int64_t each = stack->gradient_floats, dense = experts_begin(s->l, i);
    int64_t ranks = s->map->members;
    s->stack = i;
    if (has_before(s->l, i)) {
        ProgExpr *from = s->stage ? step_stack_field(s, "gradient_blocks")
                                  : px_const(p, stack->gradient_at_const);
        sum_outside(s, b, all, i, at, i ? px_sub(p, from, at) : from);
        at = from;
    }
    ProgBlock *body = step_each_block(s, b, i);
    ProgExpr *blocks = s->l->chunks > 1
        ? step_stack_field(s, "count")
        : px_sub(p, step_blocks(s), step_first_block(s));
    ProgExpr *own = step_gradient_block(s);
    sum_blocks(s, body, all, ranks, own, dense);
    sum_blocks(s, body, same, ranks / s->l->m->mesh.experts,
               px_add(p, own, num(s, dense)), each - dense);
    step_end_blocks(s);
    return px_add(p, at, px_mul(p, blocks, num(s, each)));
}

void step_sum_apart(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    const Mesh *mesh = &l->m->mesh;
    Talk *all = find_talk(l, "sum gradients", replicas_axis(l),
                          mesh->data_from);
    Talk *same = s->map->members == mesh->experts ? NULL
        : find_talk(l, "sum experts' gradients", "same experts",
                    mesh->experts_from);
    ProgExpr *at = num(s, 0);
    for (int i = 0; i < l->m->stacks.count; i++)
        if (stack_blocks(l->m, i))      /* an empty one has no place */
            at = sum_stack_apart(s, b, i, all, same, at);
    sum_outside(s, b, all, -1, at, px_sub(s->p, step_gradient_floats(s), at));
}

ProgExpr *step_experts_message(Steps *s, const char *name, int kind, int stage,
                               int64_t bytes, int64_t calls)
{
    const char *axis =
        s->l->expert_copies > 1 ? "experts' shard group" : "same experts";
    Talk *talk = find_talk(s->l, name, axis, s->l->m->mesh.shard_from);
    foretell(s, talk, stage, calls,
             collective_bytes((Collective)kind, bytes, s->l->expert_shards));
    return px_const(s->p, talk->index);
}

ProgExpr *step_expert_copies_message(Steps *s, const char *name, int stage,
                                     int64_t bytes, int64_t calls)
{
    Talk *talk = find_talk(s->l, name, "same experts' share",
                           s->l->m->mesh.shard_group_from);
    foretell(s, talk, stage, calls,
             collective_bytes(ALL_REDUCE, bytes, s->l->expert_copies));
    return px_const(s->p, talk->index);
}
