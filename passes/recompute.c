/* recompute.c: applies the choice of `memory.recompute`. Values that forward
 * would save are computed again at the head of backward, from what is still
 * saved: with `block` the block's input alone, with `attention` all but the
 * attention half (norm1, q, k, v and the heads' result). The same nodes on the
 * same inputs, so the same bits; dropout's draws are functions of the place. */
#include "pass.h"

typedef struct Again {
    Module *m;
    Func *forward, *backward;
    Value **copies;             /* forward value -> value in backward */
} Again;

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

static bool is_kept(const Plan *plan, const Value *v)
{
    if (v->kind == VALUE_PARAM || plan->recompute == RECOMPUTE_NONE)
        return true;
    if (plan->recompute == RECOMPUTE_BLOCK)
        return false;
    if (begins(v->name, "attn.out") || begins(v->name, "cross.out"))
        return true;
    return !(begins(v->name, "attn.") || begins(v->name, "norm1")
             || begins(v->name, "cross"));
}

static Value *find_value(const Func *f, ValueKind kind, const char *name)
{
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind == kind
            && !strcmp(f->values.at[i]->name, name))
            return f->values.at[i];
    return NULL;
}

static Value *read_param(Again *a, Value *v)
{
    Value *given = find_value(a->backward, VALUE_PARAM, v->name);
    if (given)
        return given;
    if (v->type.dtype == DT_I32)
        ice("%s has no %s", a->backward->name, v->name);
    Value *found = find_value(a->backward, VALUE_SAVED, v->name);
    if (found)
        return found;
    found = func_value(a->m, a->backward, VALUE_SAVED, v->name, v->type);
    list_push(a->m->arena, &a->backward->saved, found);
    list_push(a->m->arena, &a->forward->saved, v);
    return found;
}

/* A forward value in backward: read where it is kept, else computed. */
static Value *again(Again *a, const Plan *plan, Value *v)
{
    Value **copy = &a->copies[v->number];
    if (*copy)
        return *copy;
    if (v->kind == VALUE_WEIGHT)
        return *copy = func_weight(a->m, a->backward, v->weight);
    if (v->kind == VALUE_SCALAR)
        return *copy = func_scalar(a->m, a->backward, v->name);
    if (v->kind == VALUE_PARAM)
        return *copy = read_param(a, v);
    Node *node = v->node;
    Value *in[MAX_INPUTS];
    for (int i = 0; i < node->inputs; i++)
        in[i] = again(a, plan, node->in[i]);
    Origin origin = node->origin;
    origin.cause = plan->recompute_from;
    origin.pass = "recompute";
    Node *made = func_node(a->m, a->backward, node->op, v->name, node->inputs,
                           in, &node->attrs, &v->type, origin);
    for (int i = 0; i < node->results; i++)
        if (!a->copies[node->out[i]->number])
            a->copies[node->out[i]->number] = made->out[i];
    return made->out[v->result];
}

/* Nodes from `first` on move to the front. */
static void move_to_front(Module *m, Func *f, int first)
{
    int moved = f->nodes.count - first;
    Node **order = arena_alloc(m->arena,
                               (size_t)f->nodes.count * sizeof *order);
    memcpy(order, f->nodes.at + first, (size_t)moved * sizeof *order);
    memcpy(order + moved, f->nodes.at, (size_t)first * sizeof *order);
    memcpy(f->nodes.at, order, (size_t)f->nodes.count * sizeof *order);
}

static void recompute(Module *m, const Plan *plan, const char *block)
{
    Again a = {
        .m = m,
        .forward =
            module_find_func(m, arena_printf(m->arena, "%s.forward", block)),
        .backward =
            module_find_func(m, arena_printf(m->arena, "%s.backward", block)),
    };
    if (!a.forward)
        return;
    a.copies = arena_alloc(m->arena,
                           (size_t)a.forward->values.count * sizeof *a.copies);
    int first = a.backward->nodes.count, pairs = a.forward->saved.count;
    int kept = 0;
    for (int i = 0; i < pairs; i++)
        if (is_kept(plan, a.forward->saved.at[i]))
            a.copies[a.forward->saved.at[i]->number] = a.backward->saved.at[i];
    Value **dropped = arena_alloc(m->arena, (size_t)pairs * sizeof *dropped);
    for (int i = 0; i < pairs; i++)
        if (!is_kept(plan, a.forward->saved.at[i]))
            dropped[i] = again(&a, plan, a.forward->saved.at[i]);
    move_to_front(m, a.backward, first);
    for (int i = 0; i < pairs; i++)
        if (dropped[i])
            func_replace_uses(a.backward, a.backward->saved.at[i], dropped[i]);
    for (int i = 0; i < a.forward->saved.count; i++) {
        if (i < pairs && dropped[i])
            continue;
        a.backward->saved.at[kept] = a.backward->saved.at[i];
        a.forward->saved.at[kept++] = a.forward->saved.at[i];
    }
    a.backward->saved.count = a.forward->saved.count = kept;
    func_drop_values(a.backward);
}

bool pass_recompute(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    if (plan->recompute == RECOMPUTE_NONE)
        return true;
    recompute(m, plan, "block");
    recompute(m, plan, "encoder_block");
    recompute(m, plan, "decoder_block");
    return true;
}
