/* fuse.c: nodes become kernels. Three kinds are generated: row kernels
 * (pointwise work and reductions over the last axis, one token at a time),
 * column kernels (sums over tokens, with what feeds them) and views (nothing at
 * all). Matmuls, attention and the like are library kernels of one node, a
 * matmul with its bias.
 *
 * Nodes are taken in order. Each joins the kernel of its latest input where it
 * can, else the first later kernel that fits, else it opens one. Cheap
 * pointwise values of what lies in memory belong to no kernel of their own:
 * each that wants one computes it, from a copy of the nodes. */
#include "pass.h"

typedef struct Fuse {
    Module *m;
    Func *f;
} Fuse;

/* ---- what a node is ---- */
static bool is_rowish(const Node *n)
{
    OpClass class = op_info[n->op].class;
    return class == CLASS_POINT || class == CLASS_ROW || n->op == OP_positions
        || n->op == OP_gather;
}

static KernelKind kind_of(const Node *n)
{
    if (op_info[n->op].class == CLASS_VIEW)
        return KERNEL_VIEW;
    if (n->op == OP_colsum)
        return KERNEL_COLUMN;
    return is_rowish(n) ? KERNEL_ROW : KERNEL_LIBRARY;
}

/* The rows a node walks: its leading axes, and the width of one (0: row values
 * only). Scalars have rank 0 and fit everywhere. */
typedef struct Space { int rank, lead[MAX_RANK], width; } Space;

static void widen_space(Space *s, const Type *type)
{
    if (type->rank == 0)
        return;
    if (type->rank - 1 > s->rank)
        s->rank = type->rank - 1;
    int width = type->dims[type->rank - 1];
    if (width)
        s->width = width;
    for (int i = 1; i < type->rank; i++)
        if (type->dims[type->rank - 1 - i])
            s->lead[i - 1] = type->dims[type->rank - 1 - i];
}

static Space space_of(const Node *n)
{
    Space s = {0};
    const Type *out = &n->out[0]->type;
    if (n->op == OP_positions || (n->op == OP_own_ids && out->dims[1])) {
        s.rank = 2;
        s.lead[0] = n->out[0]->type.dims[1];
        s.lead[1] = n->out[0]->type.dims[0];
        return s;
    }
    if (n->op == OP_gather || n->op == OP_onehot) {
        widen_space(&s, &n->out[0]->type);
        return s;
    }
    for (int i = 0; i < n->inputs; i++)
        if (n->in[i]->kind != VALUE_WEIGHT || n->op == OP_expand)
            widen_space(&s, &n->in[i]->type);
    if (n->op != OP_colsum)
        widen_space(&s, &n->out[0]->type);
    return s;
}

static bool same_rows(const Space *a, const Space *b)
{
    if (a->rank != b->rank)
        return a->rank == 0 || b->rank == 0;
    for (int i = 0; i < a->rank; i++)
        if (a->lead[i] != b->lead[i])
            return false;
    return a->width == b->width || !a->width || !b->width;
}

static Space kernel_space(const Kernel *k)
{
    Space all = {0};
    for (int i = 0; i < k->nodes.count; i++) {
        Space one = space_of(k->nodes.at[i]);
        if (one.rank >= all.rank) {
            all.rank = one.rank;
            memcpy(all.lead, one.lead, sizeof all.lead);
        }
        if (one.width)
            all.width = one.width;
    }
    return all;
}

/* ---- free values: computed where they are used ---- */
/* x Wᵀ, used by its bias alone. */
static bool takes_bias(const Func *f, const Node *product, const Node *add)
{
    return add->op == OP_add && product && product->op == OP_matmul
        && add->in[0] == product->out[0] && add->in[1]->kind == VALUE_WEIGHT
        && node_uses(f, product->out[0]) == 1;
}

/* Used by what generated kernels cannot hold, so that it lies in memory. */
static bool in_memory_anyway(const Fuse *fuse, const Value *v)
{
    const Func *f = fuse->f;
    if (!v->node || !is_rowish(v->node)
        || takes_bias(f, v->node->inputs ? v->node->in[0]->node : NULL,
                      v->node))
        return true;
    for (int i = 0; i < f->results.count; i++)
        if (f->results.at[i] == v)
            return true;
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i] == v)
            return true;
    for (int i = 0; i < f->pending.count; i++)
        if (f->pending.at[i] == v)
            return true;
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        for (int j = 0; j < n->inputs; j++)
            if (n->in[j] == v && !is_rowish(n) && n->op != OP_colsum)
                return true;
    }
    return false;
}

/* Of a costly value one kernel at most may compute its own. */
static bool is_cheap(const Fuse *fuse, const Value *v)
{
    const Node *n = v->node;
    bool costly = op_info[n->op].costly || n->op == OP_dropout;
    return op_info[n->op].class == CLASS_POINT && n->op != OP_onehot
        && (!costly || node_uses(fuse->f, v) == 1);
}

/* A few operations on what lies in memory: each kernel that wants the value
 * computes it, which is cheaper than to store and load it. */
static bool is_free(const Fuse *fuse, const Value *v)
{
    if (in_memory_anyway(fuse, v) || !is_cheap(fuse, v))
        return false;
    for (int i = 0; i < v->node->inputs; i++) {
        const Value *in = v->node->in[i];
        if (in->node && is_rowish(in->node) && !in_memory_anyway(fuse, in)
            && !is_free(fuse, in))
            return false;
    }
    return true;
}

/* Whether the kernel that wants v computes it itself. A column sum does so with
 * every cheap value that is not in memory: its rows are all tokens. */
static bool computes(const Fuse *fuse, KernelKind kind, const Value *v)
{
    if (kind == KERNEL_COLUMN)
        return v->node && !in_memory_anyway(fuse, v) && is_cheap(fuse, v);
    return is_free(fuse, v);
}

/* ---- kernels ---- */
/* The last kernel that must have run before one of this kind can hold n. */
static int latest_input(const Fuse *fuse, KernelKind kind, const Node *n)
{
    int latest = -1;
    for (int i = 0; i < n->inputs; i++) {
        const Value *in = n->in[i];
        if (!in->node)
            continue;
        int one = computes(fuse, kind, in) ? latest_input(fuse, kind, in->node)
                                           : in->node->kernel;
        latest = one > latest ? one : latest;
    }
    return latest;
}

static void put(Fuse *fuse, Node *n, int kernel)
{
    n->kernel = kernel;
    list_push(fuse->m->arena, &fuse->f->kernels.at[kernel].nodes, n);
}

/* v as computed in this kernel: its node, or a copy of it. */
static Value *bring(Fuse *fuse, Value *v, int kernel)
{
    Kernel *k = &fuse->f->kernels.at[kernel];
    Node *n = v->node;
    if (!n || n->kernel == kernel || !computes(fuse, k->kind, v))
        return v;
    Value *in[MAX_INPUTS];
    for (int i = 0; i < n->inputs; i++)
        in[i] = bring(fuse, n->in[i], kernel);
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *old = k->nodes.at[i];
        if (old->op == n->op && attrs_equal(&old->attrs, &n->attrs)
            && type_equal(&old->out[0]->type, &v->type)
            && !memcmp(old->in, in, (size_t)n->inputs * sizeof *in))
            return old->out[0];
    }
    Node *copy = func_node(fuse->m, fuse->f, n->op, v->name, n->inputs, in,
                           &n->attrs, &v->type, n->origin);
    fuse->f->nodes.count--;     /* it is in its kernel; list_nodes lists it */
    put(fuse, copy, kernel);
    return copy->out[0];
}

static void put_with_inputs(Fuse *fuse, Node *n, int kernel)
{
    for (int i = 0; i < n->inputs; i++)
        n->in[i] = bring(fuse, n->in[i], kernel);
    put(fuse, n, kernel);
}

static int open_kernel(Fuse *fuse, KernelKind kind)
{
    Kernel k = { .kind = kind };
    list_push(fuse->m->arena, &fuse->f->kernels, k);
    return fuse->f->kernels.count - 1;
}

/* The first kernel of this kind from `from` on that walks the same rows. */
static int find_kernel(const Fuse *fuse, KernelKind kind, const Space *space,
                       int from)
{
    for (int i = from < 0 ? 0 : from; i < fuse->f->kernels.count; i++) {
        const Kernel *k = &fuse->f->kernels.at[i];
        if (k->kind != kind)
            continue;
        Space own = kernel_space(k);
        if (same_rows(&own, space))
            return i;
    }
    return -1;
}

static void assign_generated(Fuse *fuse, Node *n, KernelKind kind)
{
    Space space = space_of(n);
    int latest = latest_input(fuse, kind, n);
    if (kind == KERNEL_ROW && latest >= 0) {
        const Kernel *k = &fuse->f->kernels.at[latest];
        if (k->nodes.count == 1 && takes_bias(fuse->f, k->nodes.at[0], n)) {
            put(fuse, n, latest);
            return;
        }
    }
    int found = find_kernel(fuse, kind, &space, latest);
    put_with_inputs(fuse, n, found >= 0 ? found : open_kernel(fuse, kind));
}

static void assign(Fuse *fuse)
{
    Func *f = fuse->f;
    int count = f->nodes.count;
    for (int i = 0; i < count; i++) {
        Node *n = f->nodes.at[i];
        KernelKind kind = kind_of(n);
        if (kind == KERNEL_ROW && is_free(fuse, n->out[0]))
            continue;
        if (kind == KERNEL_COLUMN || kind == KERNEL_ROW)
            assign_generated(fuse, n, kind);
        else
            put(fuse, n, open_kernel(fuse, kind));
    }
}

/* ---- names ---- */
/* Whether others know v by its name: the caller, or the other half of a
 * pair. */
static bool is_known_by_name(const Func *f, const Value *v)
{
    for (int i = 0; i < f->results.count; i++)
        if (f->results.at[i] == v)
            return true;
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i] == v)
            return true;
    for (int i = 0; i < f->pending.count; i++)
        if (f->pending.at[i] == v)
            return true;
    return v->kind != VALUE_NODE;
}

static bool is_free_name(const Func *f, const char *name)
{
    for (int i = 0; i < f->values.count; i++)
        if (!strcmp(f->values.at[i]->name, name))
            return false;
    return true;
}

/* Values that went have left numbers behind: d.norm2.weight.3 becomes
 * d.norm2.weight where no other is called so, else the first number that is
 * free. */
static void renumber(Module *m, Func *f)
{
    for (int i = 0; i < f->values.count; i++) {
        Value *v = f->values.at[i];
        char *stem = arena_strdup(m->arena, v->name), *dot = strrchr(stem, '.');
        for (; dot && dot[1] >= '0' && dot[1] <= '9'; dot = strrchr(stem, '.'))
            *dot = 0;
        if (is_known_by_name(f, v) || !strcmp(stem, v->name))
            continue;
        const char *name = stem;
        for (int j = 2; !is_free_name(f, name) && strcmp(name, v->name) != 0;
             j++)
            name = arena_printf(m->arena, "%s.%d", stem, j);
        v->name = name;
    }
}

/* After its last wide result, else its last result; a sum after its weight. */
static void name_kernel(const Fuse *fuse, Kernel *k)
{
    const Value *best = NULL;
    for (int i = 0; i < k->nodes.count; i++) {
        const Value *v = k->nodes.at[i]->out[0];
        if (!value_escapes(fuse->f, v))
            continue;
        bool wide = !type_is_row_value(&v->type);
        bool best_wide = best && !type_is_row_value(&best->type);
        if (!best || wide || !best_wide)
            best = v;
    }
    if (!best)
        best = k->nodes.at[k->nodes.count - 1]->out[0];
    k->name = best->name;
    const Node *first = NULL;
    for (int i = 0; k->kind == KERNEL_COLUMN && !first && i < k->nodes.count;
         i++)
        if (k->nodes.at[i]->op == OP_colsum)
            first = k->nodes.at[i];
    if (first)
        k->name = first->out[0]->name;
}

/* Nodes as their kernels hold them. A row value that only column sums computed
 * for themselves has left a node that nothing uses: it goes, with its value. */
static bool drop_unused(Func *f)
{
    for (int i = 0; i < f->kernels.count; i++) {
        Kernel *k = &f->kernels.at[i];
        for (int j = k->nodes.count - 1; j >= 0; j--) {
            bool used = false;
            for (int r = 0; r < k->nodes.at[j]->results; r++)
                used |= node_uses(f, k->nodes.at[j]->out[r]) > 0;
            if (used)
                continue;
            memmove(&k->nodes.at[j], &k->nodes.at[j + 1],
                    (size_t)(k->nodes.count - j - 1) * sizeof *k->nodes.at);
            k->nodes.count--;
            return true;
        }
    }
    return false;
}

static void list_nodes(Fuse *fuse)
{
    Func *f = fuse->f;
    f->nodes.count = 0;
    for (int i = 0; i < f->kernels.count; i++)
        for (int j = 0; j < f->kernels.at[i].nodes.count; j++)
            list_push(fuse->m->arena, &f->nodes, f->kernels.at[i].nodes.at[j]);
}

/* Kernels that lost all their nodes go; nodes know their kernel's new
 * number. */
static void drop_kernels(Func *f)
{
    int kept = 0;
    for (int i = 0; i < f->kernels.count; i++) {
        if (!f->kernels.at[i].nodes.count)
            continue;
        f->kernels.at[kept] = f->kernels.at[i];
        for (int j = 0; j < f->kernels.at[kept].nodes.count; j++)
            f->kernels.at[kept].nodes.at[j]->kernel = kept;
        kept++;
    }
    f->kernels.count = kept;
}

bool pass_fuse(Module *m, const Plan *plan, Diag *diag)
{
    (void)plan;
    (void)diag;
    for (int i = 0; i < m->funcs.count; i++) {
        Fuse fuse = { .m = m, .f = m->funcs.at[i] };
        assign(&fuse);
        do
            list_nodes(&fuse);
        while (drop_unused(fuse.f));
        drop_kernels(fuse.f);
        func_drop_values(fuse.f);
        func_derive(m, fuse.f);
        renumber(m, fuse.f);
        for (int j = 0; j < fuse.f->kernels.count; j++)
            name_kernel(&fuse, &fuse.f->kernels.at[j]);
    }
    return true;
}
