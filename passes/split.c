/* split.c: the backward of a block in two halves, for a pipeline that fills its
 * bubble with the second (zero-bubble, Qi et al. 2023). `block.backward` (of
 * two stacks each's) becomes `block.backward_input`, which gives what the block
 * before waits for, and `block.backward_weight`, which sums the gradients of
 * the block's own parameters; the step calls the second for all blocks once the
 * first has been through them.
 *
 * The cut: what a result needs is the input half's, what only gradients of
 * parameters need the weight half's. What the second half reads of the first is
 * `pending`, a record of its own. What it can have from the record of forward
 * by cheap nodes alone it computes again. No node changes, and no order of a
 * sum: one that gives both, as relative attention does, is the input half's,
 * with the sum of its table. Embeddings, pools and heads stay whole. */
#include "pass.h"

typedef struct Cut {
    Module *m;
    Func *input;                    /* the backward, which keeps its results */
    Func *weights;
    bool *first;                    /* by value: the input half makes it */
    Value **copies;                 /* by value: where the weight half has it */
    int nodes;                      /* of the backward, before copies */
} Cut;

/* ---- which half ---- */
/* The node's results and all that it needs are the input half's. */
static void mark(Cut *cut, const Value *v)
{
    if (cut->first[v->number])
        return;
    cut->first[v->number] = true;
    if (!v->node)
        return;
    for (int i = 0; i < v->node->results; i++)
        cut->first[v->node->out[i]->number] = true;
    for (int i = 0; i < v->node->inputs; i++)
        mark(cut, v->node->in[i]);
}

/* Is it worth more to compute it again than to keep it? */
static bool is_cheap(const Node *n)
{
    OpClass class = op_info[n->op].class;
    return class == CLASS_POINT || class == CLASS_VIEW || n->op == OP_rotate
        || n->op == OP_unrotate || n->op == OP_positions;
}

/* Made by cheap nodes of what both halves have: the record, parameters. */
static bool is_had(const Value *v)
{
    if (v->kind == VALUE_PARAM)
        return v->type.dtype == DT_I32;
    if (v->kind != VALUE_NODE)
        return v->kind != VALUE_GRADIENT;
    bool had = is_cheap(v->node);
    for (int i = 0; i < v->node->inputs; i++)
        had &= is_had(v->node->in[i]);
    return had;
}

/* ---- the weight half ---- */
/* Right behind the node that makes v, or in front of all. */
static void move_behind(Func *f, Node *copy, const Value *v)
{
    int to = 0, last = f->nodes.count - 1;
    for (int i = 0; i < last; i++)
        if (f->nodes.at[i] == v->node)
            to = i + 1;
    for (int i = last; i > to; i--)
        f->nodes.at[i] = f->nodes.at[i - 1];
    f->nodes.at[to] = copy;
}

/* Whether v lies in memory of its own: not in an argument's or a result's, and
 * no later sum goes on there. */
static bool is_apart(const Cut *cut, Value *v)
{
    Value *root = value_root(v);
    const Func *f = cut->input;
    if (root->kind != VALUE_NODE)
        return false;
    for (int i = 0; i < f->results.count; i++)
        if (value_root(f->results.at[i]) == root)
            return false;
    for (int i = v->number + 1; i < f->values.count; i++)
        if (value_root(f->values.at[i]) == root)
            return false;
    return true;
}

/* What the input half leaves. */
static Value *leave(Cut *cut, Value *v)
{
    Module *m = cut->m;
    Value *left = v;
    if (!is_apart(cut, v)) {
        Node *copy = func_node(m, cut->input, OP_copy,
                               arena_printf(m->arena, "%s.pending", v->name), 1,
                               &v, NULL, NULL, v->origin);
        copy->origin.pass = "split";
        move_behind(cut->input, copy, v);
        left = copy->out[0];
    }
    Value *taken = func_value(m, cut->weights, VALUE_SAVED, left->name,
                              left->type);
    taken->origin = left->origin;
    list_push(m->arena, &cut->input->pending, left);
    list_push(m->arena, &cut->weights->pending, taken);
    return taken;
}

static Value *in_weights(Cut *cut, Value *v);

static Value *copy_node(Cut *cut, const Value *v)
{
    const Node *n = v->node;
    Value *in[MAX_INPUTS];
    for (int i = 0; i < n->inputs; i++)
        in[i] = in_weights(cut, n->in[i]);
    Node *copy = func_node(cut->m, cut->weights, n->op, n->out[0]->name,
                           n->inputs, in, &n->attrs, &n->out[0]->type,
                           n->origin);
    for (int i = 0; i < n->results; i++) {
        copy->out[i]->name = n->out[i]->name;
        cut->copies[n->out[i]->number] = copy->out[i];
    }
    return copy->out[v->result];
}

static Value *begin_of(Cut *cut, const Value *v)
{
    Value *begin = func_value(cut->m, cut->weights, VALUE_GRADIENT, v->name,
                              v->type);
    begin->weight = v->weight;
    begin->site = v->site;
    begin->origin = v->origin;
    return begin;
}

static Value *read_record(Cut *cut, const Value *v)
{
    Value *read = func_value(cut->m, cut->weights, VALUE_SAVED, v->name,
                             v->type);
    read->origin = v->origin;
    list_push(cut->m->arena, &cut->weights->saved, read);
    return read;
}

/* A value of the backward in its weight half. */
static Value *in_weights(Cut *cut, Value *v)
{
    Value **copy = &cut->copies[v->number];
    if (*copy)
        return *copy;
    switch (v->kind) {
    case VALUE_WEIGHT:
        return *copy = func_weight(cut->m, cut->weights, v->weight);
    case VALUE_SCALAR:
        return *copy = func_scalar(cut->m, cut->weights, v->name);
    case VALUE_GRADIENT: return *copy = begin_of(cut, v);
    case VALUE_SAVED: return *copy = read_record(cut, v);
    case VALUE_PARAM:
        if (is_had(v))
            return *copy = func_param(cut->m, cut->weights, v->name, v->type);
        return *copy = leave(cut, v);
    case VALUE_NODE:
        if (cut->first[v->number] && !is_had(v))
            return *copy = leave(cut, v);
        return copy_node(cut, v);
    }
    return NULL;
}

/* Gradients that no result needs move, with what they alone need. */
static void move_gradients(Cut *cut)
{
    Func *f = cut->input, *to = cut->weights;
    int kept = 0;
    for (int i = 0; i < f->gradients.count; i++) {
        Gradient g = f->gradients.at[i];
        if (cut->first[g.end->number]) {
            f->gradients.at[kept++] = g;
            continue;
        }
        g.end = in_weights(cut, g.end);
        g.begin = in_weights(cut, g.begin);
        list_push(cut->m->arena, &to->gradients, g);
    }
    f->gradients.count = kept;
}

/* ---- the input half ---- */
static bool is_kept(const Cut *cut, const Node *n)
{
    for (int i = 0; i < cut->input->pending.count; i++)
        if (cut->input->pending.at[i] == n->out[0])
            return true;
    return n->out[0]->number < cut->nodes && cut->first[n->out[0]->number];
}

static void drop_rest(Cut *cut)
{
    Func *f = cut->input;
    int kept = 0, read = 0;
    for (int i = 0; i < f->nodes.count; i++)
        if (is_kept(cut, f->nodes.at[i]))
            f->nodes.at[kept++] = f->nodes.at[i];
    f->nodes.count = kept;
    for (int i = 0; i < f->saved.count; i++)
        if (node_uses(f, f->saved.at[i]) > 1)   /* more than this list's */
            f->saved.at[read++] = f->saved.at[i];
    f->saved.count = read;
    func_drop_values(f);
}

/* ---- the step ---- */
static Stmt *copy_statement(Module *m, const Stmt *s)
{
    Stmt *copy = arena_alloc(m->arena, sizeof *copy);
    *copy = *s;
    copy->body.at = NULL;
    copy->arguments.at = copy->results.at = NULL;
    copy->body.count = copy->body.room = 0;
    copy->arguments.count = copy->arguments.room = 0;
    copy->results.count = copy->results.room = 0;
    return copy;
}

/* The call of the weight half: of the arguments those that it takes. */
static Stmt *weights_call(Cut *cut, const Stmt *call)
{
    Stmt *made = copy_statement(cut->m, call);
    made->func = cut->weights;
    for (int i = 0; i < cut->weights->params.count; i++)
        for (int j = 0; j < cut->input->params.count; j++)
            if (!strcmp(cut->weights->params.at[i]->name,
                        cut->input->params.at[j]->name))
                list_push(cut->m->arena, &made->arguments,
                          call->arguments.at[j]);
    return made;
}

/* The loop over blocks that calls the input half is followed by one that calls
 * the weight half. */
static void follow_loop(Cut *cut, Step *step)
{
    List(Stmt *) body = {0};
    for (int i = 0; i < step->body.count; i++) {
        Stmt *s = step->body.at[i];
        list_push(cut->m->arena, &body, s);
        if (s->kind != STEP_REPEAT || s->body.at[0]->func != cut->input)
            continue;
        Stmt *loop = copy_statement(cut->m, s);
        list_push(cut->m->arena, &loop->body,
                  weights_call(cut, s->body.at[0]));
        list_push(cut->m->arena, &body, loop);
    }
    step->body.at = body.at;
    step->body.count = body.count;
    step->body.room = body.room;
}

static void split(Module *m, Func *f)
{
    size_t values = (size_t)f->values.count;
    Cut cut = { .m = m, .input = f, .nodes = f->values.count };
    cut.first = arena_alloc(m->arena, values * sizeof *cut.first);
    cut.copies = arena_alloc(m->arena, values * sizeof *cut.copies);
    for (int i = 0; i < f->results.count; i++)
        mark(&cut, f->results.at[i]);
    const char *name = f->name;
    f->name = arena_printf(m->arena, "%s_input", name);
    cut.weights = func_new(m, arena_printf(m->arena, "%s_weight", name),
                           f->root, f->stack);
    cut.weights->record = f->record;
    cut.weights->origin = f->origin;
    move_gradients(&cut);
    drop_rest(&cut);
    follow_loop(&cut, module_find_step(m, "train"));
}

static bool is_block_backward(const Module *m, const Func *f)
{
    return f->stack >= 0 && f->record
        && !strcmp(f->name, arena_printf(m->arena, "%s.backward", f->record));
}

bool pass_split(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    int count = m->funcs.count;         /* halves come behind */
    for (int i = 0; plan->halves && i < count; i++)
        if (is_block_backward(m, m->funcs.at[i]))
            split(m, m->funcs.at[i]);
    return true;
}
