/* verify_places.c: what the passes fuse and place leave: kernels that partition
 * the nodes in order and hold what their kind can, and memory in which no two
 * values that live at once overlap. */
#include "verify.h"

/* ---- kernels ---- */
static bool kernel_holds(const Kernel *k, const Node *n)
{
    OpClass class = op_info[n->op].class;
    switch (k->kind) {
    case KERNEL_ROW:
        return class == CLASS_POINT || class == CLASS_ROW || n->op == OP_gather
            || n->op == OP_positions;
    case KERNEL_COLUMN:
        return class == CLASS_POINT || class == CLASS_ROW || n->op == OP_colsum;
    case KERNEL_LIBRARY:
        /* one library op; a matmul may add its bias */
        return (n == k->nodes.at[0] && class != CLASS_POINT
                && class != CLASS_VIEW)
            || (k->nodes.count == 2 && k->nodes.at[0]->op == OP_matmul
                && n->op == OP_add && n->in[0] == k->nodes.at[0]->out[0]);
    case KERNEL_VIEW:
        return class == CLASS_VIEW;
    }
    return false;
}

bool verify_kernels(Check *c, const Func *f)
{
    int next = 0;
    for (int i = 0; i < f->kernels.count; i++) {
        const Kernel *k = &f->kernels.at[i];
        if (!k->name || !*k->name || !k->nodes.count)
            return check_fails(c, "kernel %d has no name or no nodes", i + 1);
        for (int j = 0; j < k->nodes.count; j++, next++) {
            const Node *n = k->nodes.at[j];
            if (next >= f->nodes.count || f->nodes.at[next] != n
                || n->kernel != i)
                return check_fails(
                    c, "kernel %s does not hold its nodes in order", k->name);
            if (!kernel_holds(k, n))
                return check_fails(c, "a %s kernel, %s, cannot hold %s",
                                   kernel_words[k->kind], k->name,
                                   op_info[n->op].name);
        }
    }
    for (int i = 0; i < f->nodes.count; i++)
        if ((f->nodes.at[i]->kernel < 0) != (f->kernels.count == 0))
            return check_fails(c, "%s is in no kernel",
                               f->nodes.at[i]->out[0]->name);
    return next == (f->kernels.count ? f->nodes.count : 0)
        || check_fails(c, "nodes are in no kernel");
}

/* ---- places ---- */
typedef struct Life {
    int born, dies;
} Life; /* kernels, or nodes before fusion */

static int time_of(const Func *f, int node)
{
    return f->kernels.count ? f->nodes.at[node]->kernel : node;
}

/* From where a value is made to where it, or what lies in it, is last read. */
static void find_lives(const Func *f, Life *lives)
{
    for (int i = 0; i < f->values.count; i++)
        lives[i] = (Life){ -1, -1 };
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        int now = time_of(f, i);
        for (int j = 0; j < n->results; j++)
            lives[n->out[j]->number] = (Life){ now, now };
        for (int j = 0; j < n->inputs; j++)
            lives[value_root(n->in[j])->number].dies = now;
    }
    for (int i = 0; i < f->results.count; i++)
        lives[value_root(f->results.at[i])->number].dies = f->nodes.count;
}

static int64_t row_floats(const Check *c, const Value *v)
{
    return value_row_floats(c->m, v);
}

/* Does `later` lie in the place of `old`, perhaps through others between? The
 * chain is bounded: hostile text may close it to a ring. */
static bool came_before(const Func *f, const Value *old, const Value *later)
{
    for (int i = 0; later && i < f->values.count; i++, later = later->alias)
        if (later == old)
            return true;
    return false;
}

static bool overlap(const Check *c, const Value *a, const Value *b)
{
    return a->area == b->area && a->offset < b->offset + row_floats(c, b)
        && b->offset < a->offset + row_floats(c, a);
}

/* May a and b share memory? One in place of the other, which dies as it is
 * born. */
static bool may_share(const Func *f, const Life *lives, const Value *a,
                      const Value *b)
{
    const Life *x = &lives[a->number], *y = &lives[b->number];
    if (x->born > y->dies || y->born > x->dies)
        return true;
    if (came_before(f, a, b))
        return y->born >= x->dies;
    return came_before(f, b, a) && x->born >= y->dies;
}

static bool verify_bounds(Check *c, const Func *f, const Value *v)
{
    int64_t room = v->area == AREA_FRAME  ? f->frame_floats
                 : v->area == AREA_RECORD ? f->record_floats
                                          : f->pending_floats;
    if (v->offset < 0 || v->offset > room
        || row_floats(c, v) > room - v->offset)
        return check_fails(c, "%s lies outside its %s of %lld floats a row",
                           v->name, area_words[v->area], (long long)room);
    return true;
}

bool verify_places(Check *c, const Func *f)
{
    List(const Value *) placed = {0};
    Life *lives =
        arena_alloc(c->scratch, (size_t)(f->values.count + 1) * sizeof *lives);
    find_lives(f, lives);
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->area == AREA_NONE)
            continue;
        if (!verify_bounds(c, f, v))
            return false;
        list_push(c->scratch, &placed, v);
    }
    for (int i = 0; i < placed.count; i++)
        for (int j = 0; j < i; j++) {
            const Value *a = placed.at[j], *b = placed.at[i];
            bool apart = a->area == AREA_FRAME && may_share(f, lives, a, b);
            if (overlap(c, a, b) && !apart)
                return check_fails(c, "%s and %s overlap in the %s", a->name,
                                   b->name, area_words[a->area]);
        }
    return true;
}
