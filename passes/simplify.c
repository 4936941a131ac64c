/* simplify.c: rewrites that keep every bit. In each function: what is computed
 * twice is computed once, --x is x, x·1 is x, a reshape of a reshape is one, a
 * view to the same type is nothing; then what nothing uses goes. Each rule
 * removes a node or a use, so the pass ends. */
#include "pass.h"

static bool same_node(const Node *a, const Node *b)
{
    if (a->op != b->op || a->inputs != b->inputs
        || !attrs_equal(&a->attrs, &b->attrs)
        || !type_equal(&a->out[0]->type, &b->out[0]->type))
        return false;
    for (int i = 0; i < a->inputs; i++)
        if (a->in[i] != b->in[i])
            return false;
    return true;
}

/* An earlier node that computes the same, or NULL. Accumulators are written in
 * place, so two sums from one beginning never are the same. */
static Node *find_same(const Func *f, int at)
{
    const Node *n = f->nodes.at[at];
    for (int i = 0; i < at; i++)
        if (same_node(f->nodes.at[i], n))
            return f->nodes.at[i];
    return NULL;
}

/* What x can be replaced by, by an identity; NULL if nothing. */
static Value *identity(const Node *n)
{
    const Node *inner = n->inputs ? n->in[0]->node : NULL;
    switch (n->op) {
    case OP_neg:                                    /* --x = x */
        return inner && inner->op == OP_neg ? inner->in[0] : NULL;
    case OP_scale:                                  /* x · 1 = x */
        return n->attrs.by == 1 ? n->in[0] : NULL;
    case OP_reshape: case OP_expand:                /* to its own type */
        return type_equal(&n->in[0]->type, &n->out[0]->type) ? n->in[0] : NULL;
    default:
        return NULL;
    }
}

static bool used(const Func *f, const Node *n)
{
    for (int i = 0; i < n->results; i++)
        if (node_uses(f, n->out[i]))
            return true;
    return false;
}

static void drop_node(Func *f, int at)
{
    memmove(&f->nodes.at[at], &f->nodes.at[at + 1],
            (size_t)(f->nodes.count - at - 1) * sizeof *f->nodes.at);
    f->nodes.count--;
}

static void simplify(Func *f)
{
    for (int i = 0; i < f->nodes.count; i++) {
        Node *n = f->nodes.at[i];
        Value *by = identity(n);
        Node *same = by ? NULL : find_same(f, i);
        if (by)
            func_replace_uses(f, n->out[0], by);
        for (int j = 0; same && j < n->results; j++)
            func_replace_uses(f, n->out[j], same->out[j]);
    }
    for (int i = f->nodes.count - 1; i >= 0; i--)
        if (!used(f, f->nodes.at[i]))
            drop_node(f, i);
    func_drop_values(f);
}

/* A saved value that backward reads no more is not saved. */
static void drop_saved(Module *m)
{
    for (int i = 0; i < m->funcs.count; i++) {
        Func *back = m->funcs.at[i];
        Func *forward = back->record
            ? module_find_func(m,
                               arena_printf(m->arena, "%s.forward",
                                            back->record))
            : NULL;
        if (!forward || forward == back)
            continue;
        int kept = 0;
        for (int j = 0; j < back->saved.count; j++) {
            Value *v = back->saved.at[j];
            if (node_uses(back, v) == 1)    /* its own entry in the list */
                continue;
            back->saved.at[kept] = v;
            forward->saved.at[kept++] = forward->saved.at[j];
        }
        back->saved.count = forward->saved.count = kept;
        func_drop_values(back);
    }
}

bool pass_simplify(Module *m, const Plan *plan, Diag *diag)
{
    (void)plan;
    (void)diag;
    for (int i = 0; i < m->funcs.count; i++)
        simplify(m->funcs.at[i]);
    drop_saved(m);
    return true;
}
