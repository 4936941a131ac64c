/* place.c: an offset for every value that lies in memory, in floats a row, so
 * that one function serves every program: a call's address is the start of its
 * frame or record plus offset times its rows (rounded up to 16).
 *
 * A record holds what forward leaves for backward, side by side. A frame holds
 * what a call needs while it runs: a value lives from the kernel that makes it
 * to the last that reads it, and takes the lowest offset that is free for so
 * long. A row kernel may write where it has read for the last time (in
 * place). */
#include "pass.h"

typedef struct Place {
    Module *m;
    Func *f;
    int *born, *dies;           /* by value: kernels; a view's are its root's */
    List(Value *) placed;
} Place;

static int64_t row_floats(const Place *p, const Value *v)
{
    return value_row_floats(p->m, v);
}

static bool is_result(const Func *f, const Value *root)
{
    for (int i = 0; i < f->results.count; i++)
        if (value_root(f->results.at[i]) == root)
            return true;
    return false;
}

static void find_lives(Place *p)
{
    const Func *f = p->f;
    for (int i = 0; i < f->values.count; i++)
        p->born[i] = p->dies[i] = f->values.at[i]->node
            ? f->values.at[i]->node->kernel
            : -1;
    for (int i = 0; i < f->kernels.count; i++)
        for (int j = 0; j < f->kernels.at[i].nodes.count; j++) {
            const Node *n = f->kernels.at[i].nodes.at[j];
            for (int k = 0; k < n->inputs; k++)
                p->dies[value_root(n->in[k])->number] = i;
        }
}

/* Whether n's expression in its pass reads `old`, itself or through nodes of
 * its kernel. */
static bool expression_reads(const Node *n, const Value *old)
{
    for (int i = 0; i < n->inputs; i++) {
        const Value *in = n->in[i];
        if (in == old)
            return true;
        bool inner = in->node && in->node->kernel == n->kernel
            && !node_is_reduction(in->node)
            && !(in->in_memory && in->node->phase < n->phase);
        if (inner && expression_reads(in->node, old))
            return true;
    }
    return false;
}

/* Whether v's pass reads `old` for the first time after it has stored v: a pass
 * stores its values in the order of its nodes, then adds up its reductions. */
static bool read_after_store(const Kernel *k, const Value *v, const Value *old)
{
    if (expression_reads(v->node, old))
        return false;
    bool stored = false;
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *n = k->nodes.at[i];
        bool root = n->phase == v->node->phase
            && (node_is_reduction(n) || (stored && n->out[0]->in_memory));
        if (root && expression_reads(n, old))
            return true;
        stored |= n == v->node;
    }
    return false;
}

/* Whether v, made by a row kernel, may overwrite `old`, which that kernel
 * reads: the same size, read for the last time, at the same place, in no later
 * pass, nor later in v's. */
static bool may_overwrite(const Place *p, const Value *v, const Value *old)
{
    int kernel = v->node->kernel;
    const Kernel *k = &p->f->kernels.at[kernel];
    bool same_pass = old->node && old->node->kernel == kernel
        && old->node->phase >= v->node->phase;
    if (k->kind != KERNEL_ROW || old->area != AREA_FRAME
        || p->dies[old->number] != kernel || same_pass
        || type_is_row_value(&v->type) || row_floats(p, v) != row_floats(p, old)
        || v->type.rank != old->type.rank || read_after_store(k, v, old))
        return false;
    for (int phase = v->node->phase + 1; phase < kernel_phases(k); phase++)
        if (kernel_reads(p->f, kernel, old, phase))
            return false;
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *n = k->nodes.at[i];
        bool turned = n->op == OP_rotate || n->op == OP_unrotate;
        for (int j = 0; j < n->inputs; j++)
            if (value_root(n->in[j]) == old && (turned || n->in[j] != old))
                return false;
    }
    return true;
}

static bool share_time(const Place *p, const Value *a, const Value *b)
{
    return p->born[a->number] <= p->dies[b->number]
        && p->born[b->number] <= p->dies[a->number];
}

/* Whether `old` itself lies where w lay before it. */
static bool came_before(const Value *w, const Value *old)
{
    for (; old; old = old->alias)
        if (old == w)
            return true;
    return false;
}

/* Whether another value made by v's kernel has already taken old's place. */
static bool is_taken(const Place *p, const Value *v, const Value *old)
{
    for (int i = 0; i < p->placed.count; i++) {
        const Value *w = p->placed.at[i];
        if (!came_before(w, old) && w->offset == old->offset
            && share_time(p, w, v))
            return true;
    }
    return false;
}

static Value *overwritten(const Place *p, const Value *v)
{
    const Kernel *k = &p->f->kernels.at[v->node->kernel];
    for (int i = 0; i < k->nodes.count; i++)
        for (int j = 0; j < k->nodes.at[i]->inputs; j++) {
            Value *old = k->nodes.at[i]->in[j];
            if (may_overwrite(p, v, old) && !is_taken(p, v, old))
                return old;
        }
    return NULL;
}

/* The lowest offset at which v overlaps nothing that lives with it. */
static int64_t lowest_offset(const Place *p, const Value *v)
{
    int64_t at = 0, size = row_floats(p, v);
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < p->placed.count; i++) {
            const Value *w = p->placed.at[i];
            int64_t end = w->offset + row_floats(p, w);
            if (share_time(p, v, w) && at < end && w->offset < at + size) {
                at = end;
                moved = true;
            }
        }
    }
    return at;
}

static void place_in_frame(Place *p, Value *v)
{
    v->area = AREA_FRAME;
    Value *old = overwritten(p, v);
    v->alias = old;
    v->offset = old ? old->offset : lowest_offset(p, v);
    list_push(p->m->arena, &p->placed, v);
    int64_t end = v->offset + row_floats(p, v);
    if (end > p->f->frame_floats)
        p->f->frame_floats = end;
}

static void place_record(const Module *m, Func *f)
{
    int64_t at = 0;
    for (int i = 0; i < f->saved.count; i++) {
        Value *v = value_root(f->saved.at[i]);
        if (v->area == AREA_RECORD || v->kind == VALUE_PARAM)
            continue;
        v->area = AREA_RECORD;
        v->offset = at;
        at += value_row_floats(m, v);
    }
    f->record_floats = at;
}

/* What an input half leaves pending, side by side. */
static void place_pending(const Module *m, Func *f)
{
    int64_t at = 0;
    for (int i = 0; i < f->pending.count; i++) {
        Value *v = value_root(f->pending.at[i]);
        if (v->area == AREA_PENDING)
            continue;
        v->area = AREA_PENDING;
        v->offset = at;
        at += value_row_floats(m, v);
    }
    f->pending_floats = at;
}

/* v lies where the value of its name among `left` does. */
static void follow(Value *v, Value *const *left, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(left[i]->name, v->name)) {
            v->area = value_root(left[i])->area;
            v->offset = value_root(left[i])->offset;
            return;
        }
    ice("nothing has left %s", v->name);
}

/* Backward reads a record where forward has left it. */
static void follow_record(const Func *forward, Func *back)
{
    for (int i = 0; i < back->saved.count; i++)
        follow(back->saved.at[i], forward->saved.at, forward->saved.count);
    back->record_floats = forward->record_floats;
}

/* A weight half takes what is pending where the input half, which stands before
 * it, has left it. */
static void follow_pending(const Func *input, Func *weights)
{
    for (int i = 0; i < weights->pending.count; i++)
        follow(weights->pending.at[i], input->pending.at, input->pending.count);
    weights->pending_floats = input->pending_floats;
}

static void place_func(Module *m, Func *f)
{
    Place p = { .m = m, .f = f };
    p.born = arena_alloc(m->arena, (size_t)f->values.count * sizeof(int));
    p.dies = arena_alloc(m->arena, (size_t)f->values.count * sizeof(int));
    find_lives(&p);
    /* values in the order in which they are made: results of one kernel
     * together */
    for (int k = 0; k < f->kernels.count; k++)
        for (int i = 0; i < f->kernels.at[k].nodes.count; i++) {
            Node *n = f->kernels.at[k].nodes.at[i];
            for (int j = 0; j < n->results; j++) {
                Value *v = n->out[j];
                if (v->in_memory && value_root(v) == v && n->op != OP_cache
                    && v->area == AREA_NONE && !is_result(f, v))
                    place_in_frame(&p, v);
            }
        }
}

static Func *forward_of(const Module *m, const Func *back)
{
    return module_find_func(m, arena_printf(m->arena, "%s.forward",
                                            back->record));
}

static Func *input_half_of(const Module *m, const Func *weights)
{
    return module_find_func(m, arena_printf(m->arena, "%s.backward_input",
                                            weights->record));
}

bool pass_place(Module *m, const Plan *plan, Diag *diag)
{
    (void)plan;
    (void)diag;
    for (int i = 0; i < m->funcs.count; i++) {
        Func *f = m->funcs.at[i];
        bool backward = f->record && strstr(f->name, ".backward");
        if (f->record && !backward)
            place_record(m, f);
        if (backward)
            follow_record(forward_of(m, f), f);
        if (func_is_weight_half(f))
            follow_pending(input_half_of(m, f), f);
        else
            place_pending(m, f);
        place_func(m, f);
    }
    return true;
}
