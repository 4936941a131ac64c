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

/* What a stage's runs are: before a stack's blocks, of each, behind them. */
static void foretell_apart(Steps *s, Talk *all, Talk *same, int stage)
{
    const Lower *l = s->l;
    const PartLayout *part = l->parts ? &l->parts[stage] : NULL;
    int64_t ranks = s->map->members, few = ranks / l->m->mesh.experts, at = 0;
    for (int i = 0; i < l->m->stacks.count; i++) {
        const StackLayout *stack = &l->stacks[i];
        int64_t blocks = stack_blocks_on(l, i, stage);
        int64_t from = !part    ? stack->gradient_at
                     : l->mixed ? part->gradient_stack_at[i]
                                : part->gradient_blocks_at;
        int64_t each = stack->gradient_floats, dense = experts_begin(l, i);
        if (!stack_blocks(l->m, i))
            continue;
        if (has_before(l, i)) {
            foretell(s, all, stage, 1,
                     collective_bytes(ALL_REDUCE, 4 * (from - at), ranks));
            at = from;
        }
        foretell(s, all, stage, blocks,
                 collective_bytes(ALL_REDUCE, 4 * dense, ranks));
        if (few > 1)
            foretell(s, same, stage, blocks,
                     collective_bytes(ALL_REDUCE, 4 * (each - dense), few));
        at += blocks * each;
    }
    int64_t floats = part ? part->gradient_floats : l->gradient_floats;
    foretell(s, all, stage, 1,
             collective_bytes(ALL_REDUCE, 4 * (floats - at), ranks));
}

/* A stack's blocks, one at a time; gives where they end. */
static ProgExpr *sum_stack_apart(Steps *s, ProgBlock *b, int i,
                                 const Talk *all, const Talk *same,
                                 ProgExpr *at)
{
    Prog *p = s->p;
    const StackLayout *stack = &s->l->stacks[i];
    int64_t each = stack->gradient_floats, dense = experts_begin(s->l, i);
    s->stack = i;
    if (has_before(s->l, i)) {
        ProgExpr *from = s->stage ? step_stack_field(s, "gradient_blocks")
                                  : px_const(p, stack->gradient_at_const);
        sum_run(s, b, all, at, i ? px_sub(p, from, at) : from);
        at = from;
    }
    ProgBlock *body = step_each_block(s, b, i);
    ProgExpr *blocks = s->l->chunks > 1
        ? step_stack_field(s, "count")
        : px_sub(p, step_blocks(s), step_first_block(s));
    ProgExpr *own = step_gradient_block(s);
    sum_run(s, body, all, own, num(s, dense));
    sum_run(s, body, same, px_add(p, own, num(s, dense)),
            num(s, each - dense));
    step_end_blocks(s);
    return px_add(p, at, px_mul(p, blocks, num(s, each)));
}

void step_sum_apart(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    const Mesh *mesh = &l->m->mesh;
    find_talk(l, "sum gradients", "data", mesh->data_from);
    Talk *same = find_talk(l, "sum experts' gradients", "same experts",
                           mesh->experts_from);
    Talk *all = find_talk(l, "sum gradients", "data", mesh->data_from);
    for (int stage = 0; stage < l->stages; stage++)
        foretell_apart(s, all, same, stage);
    ProgExpr *at = num(s, 0);
    for (int i = 0; i < l->m->stacks.count; i++)
        if (stack_blocks(l->m, i))      /* an empty one has no place */
            at = sum_stack_apart(s, b, i, all, same, at);
    sum_run(s, b, all, at, px_sub(s->p, step_gradient_floats(s), at));
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
