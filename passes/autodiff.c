/* autodiff.c: a forward function becomes a pair. `block` turns into
 * block.forward, which leaves in a record what backward needs, and
 * block.backward, which reads it. The head, whose backward follows its forward
 * at once, becomes one function, head.step. The train step gains the backward
 * calls and the update.
 *
 * What is saved: results of matmuls, attention and row reductions, and inputs.
 * Pointwise values are computed again from those, which costs little and keeps
 * the record small; the bits are the same. */
#include "autodiff.h"

/* ---- nodes of the backward function ---- */
const char *ad_name(Autodiff *ad, const Value *after)
{
    return arena_printf(ad->m->arena, "d.%s", after->name);
}

Value *ad_node(Autodiff *ad, Op op, const char *name, int inputs,
               Value *const *in, const Attrs *attrs, const Type *type)
{
    Node *made = func_node(ad->m, ad->to, op, name, inputs, in, attrs, type,
                           ad->origin);
    return made->out[0];
}

Value *ad_1(Autodiff *ad, Op op, const Value *after, Value *a)
{
    return ad_node(ad, op, ad_name(ad, after), 1, &a, NULL, NULL);
}

Value *ad_2(Autodiff *ad, Op op, const Value *after, Value *a, Value *b)
{
    return ad_node(ad, op, ad_name(ad, after), 2, (Value *[]){ a, b }, NULL,
                   NULL);
}

Value *ad_by(Autodiff *ad, Op op, const Value *after, Value *a, double by)
{
    return ad_node(ad, op, ad_name(ad, after), 1, &a, &(Attrs){ .by = by },
                   NULL);
}

/* ---- forward values in the backward function ---- */
/* x Wᵀ + bias: one kernel, and saved as one value. */
static bool is_biased_product(const Node *node)
{
    return node->op == OP_add && node->in[0]->node
        && node->in[0]->node->op == OP_matmul
        && node->in[1]->kind == VALUE_WEIGHT;
}

/* Rows of tables, summed or scaled: saved as the one value that they make. */
static bool is_row_sum(const Node *node)
{
    if (!node)
        return false;
    if (node->op == OP_gather)
        return true;
    return (node->op == OP_scale && is_row_sum(node->in[0]->node))
        || (node->op == OP_add && is_row_sum(node->in[0]->node)
            && is_row_sum(node->in[1]->node));
}

static bool computed_again(const Module *m, const Node *node)
{
    if (is_biased_product(node) || (node->op == OP_add && is_row_sum(node)))
        return false;
    switch (op_info[node->op].class) {
    case CLASS_POINT:
    case CLASS_VIEW:
        return true;
    case CLASS_ROW:
        return node->op == OP_rotate || node->op == OP_unrotate;
    case CLASS_RESHARD:             /* all rows are N times what a rank has */
        return reshard_kind(node) == RESHARD_GATHER_SHARES;
    case CLASS_INDEX:
        return node->op == OP_positions
            || (node->op == OP_gather
                && m->weights.at[node->in[0]->weight].constant);
    case CLASS_COLUMN:
    case CLASS_MATMUL:
    case CLASS_ATTENTION:
        return false;
    }
    return false;
}

static Value *read_saved(Autodiff *ad, Value *forward)
{
    Value *v = func_value(ad->m, ad->to, VALUE_SAVED, forward->name,
                          forward->type);
    v->origin = forward->origin;
    list_push(ad->m->arena, &ad->to->saved, v);
    list_push(ad->m->arena, &ad->from->saved, forward);
    return v;
}

static Value *copy_node(Autodiff *ad, Value *forward)
{
    Node *node = forward->node;
    Value *in[MAX_INPUTS];
    for (int i = 0; i < node->inputs; i++)
        in[i] = ad_value(ad, node->in[i]);
    Node *copy = func_node(ad->m, ad->to, node->op, forward->name, node->inputs,
                           in, &node->attrs, &forward->type, node->origin);
    for (int i = 0; i < node->results; i++)
        ad->copies[node->out[i]->number] = copy->out[i];
    return copy->out[forward->result];
}

/* Ids, or another input of the step: it has no gradient, and backward is given
 * it again. */
static bool is_given(const Module *m, const Value *param)
{
    Type type;
    return param->type.dtype == DT_I32 || given_type(m, param->name, &type);
}

Value *ad_value(Autodiff *ad, Value *forward)
{
    if (ad->to == ad->from)
        return forward;
    Value **copy = &ad->copies[forward->number];
    if (*copy)
        return *copy;
    switch (forward->kind) {
    case VALUE_WEIGHT:
        return *copy = func_weight(ad->m, ad->to, forward->weight);
    case VALUE_SCALAR:
        return *copy = func_scalar(ad->m, ad->to, forward->name);
    case VALUE_PARAM:
        if (is_given(ad->m, forward))
            return *copy = func_param(ad->m, ad->to, forward->name,
                                      forward->type);
        return *copy = read_saved(ad, forward);
    case VALUE_NODE:
        if (computed_again(ad->m, forward->node))
            return copy_node(ad, forward);
        return *copy = read_saved(ad, forward);
    case VALUE_SAVED:
    case VALUE_GRADIENT:
        break;
    }
    ice("%s: %s cannot be differentiated again", ad->from->name, forward->name);
}

/* ---- cotangents ---- */
bool ad_wants(const Autodiff *ad, const Value *v)
{
    return ad->wanted[v->number];
}

/* How many functions that were differentiated before (which run later) have an
 * accumulator of this weight: the head, for tied embeddings. */
static int uses_before(const Autodiff *ad, int weight)
{
    int uses = 0;
    for (int i = 0; i < ad->m->funcs.count; i++) {
        const Func *f = ad->m->funcs.at[i];
        for (int j = 0; f != ad->to && j < f->gradients.count; j++)
            uses += f->gradients.at[j].weight == weight;
    }
    return uses;
}

static Gradient *gradient_of(Autodiff *ad, int weight)
{
    for (int i = 0; i < ad->to->gradients.count; i++)
        if (ad->to->gradients.at[i].weight == weight)
            return &ad->to->gradients.at[i];
    const Weight *w = &ad->m->weights.at[weight];
    const char *name = arena_printf(ad->m->arena, "grad.%s", w->name);
    int site = uses_before(ad, weight);
    Value *begin = func_value(ad->m, ad->to, VALUE_GRADIENT, name, w->type);
    begin->weight = weight;
    begin->site = site;
    begin->origin = w->origin;
    Gradient g = {
        .weight = weight, .site = site, .begin = begin, .end = begin
    };
    list_push(ad->m->arena, &ad->to->gradients, g);
    return &ad->to->gradients.at[ad->to->gradients.count - 1];
}

/* The whole sum is called d.NAME; what bore the name, a part of it, is
 * numbered. */
static void take_name(Autodiff *ad, Value *sum, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(sum->name, name, length) != 0 || sum->name[length] != '.')
        return;
    for (int i = 0; i < ad->to->values.count; i++)
        if (!strcmp(ad->to->values.at[i]->name, name)) {
            ad->to->values.at[i]->name = sum->name;
            sum->name = name;
            return;
        }
}

Gradient *ad_gradient(Autodiff *ad, const Value *v)
{
    return gradient_of(ad, v->weight);
}

void ad_weight_from(Autodiff *ad, Value *v, Op op, int inputs,
                    Value *const *from)
{
    Gradient *g = gradient_of(ad, v->weight);
    Value *in[MAX_INPUTS];
    for (int i = 0; i < inputs; i++)
        in[i] = from[i];
    in[inputs] = g->end;
    g->end = ad_node(ad, op, ad_name(ad, v), inputs + 1, in, NULL, NULL);
    take_name(ad, g->end, ad_name(ad, v));
}

void ad_weight(Autodiff *ad, Value *v, Op op, Value *a, Value *b)
{
    ad_weight_from(ad, v, op, b ? 2 : 1, (Value *[]){ a, b });
}

/* v's shape against the term's: was v spread over leading axes, over its
 * last? */
static bool spread_last(const Type *v, const Type *term)
{
    return v->rank > 0 && term->rank >= v->rank && v->dims[v->rank - 1] == 0
        && term->dims[term->rank - 1] != 0;
}

void ad_add(Autodiff *ad, Value *v, Value *term)
{
    if (!ad_wants(ad, v))
        return;
    if (v->kind == VALUE_WEIGHT) {
        /* a bias or a norm's weight: one chain over all tokens */
        Type full = term->type;
        full.dims[full.rank - 1] = v->type.dims[0];
        if (!type_equal(&full, &term->type))
            term = ad_node(ad, OP_expand, ad_name(ad, v), 1, &term, NULL,
                           &full);
        ad_weight(ad, v, OP_colsum, term, NULL);
        return;
    }
    if (spread_last(&v->type, &term->type))
        term = ad_1(ad, OP_sum, v, term);
    list_push(ad->m->arena, &ad->cotangents[v->number].terms, term);
}

void ad_add_product(Autodiff *ad, Value *v, Value *dy, Value *w, Value *starts)
{
    Product product = { .dy = dy,
                        .w = w,
                        .starts = starts,
                        .order = ad->order,
                        .origin = ad->origin };
    list_push(ad->m->arena, &ad->cotangents[v->number].products, product);
}

/* Whether the gradient of v's node takes dy as it is spread by its users: it is
 * pointwise and asks for no element's place, or a reduction of rows. */
static bool spreads_later(const Value *v)
{
    if (!v->node || v->node->op == OP_dropout)
        return false;
    OpClass class = op_info[v->node->op].class;
    return class == CLASS_POINT
        || (class == CLASS_ROW && v->node->op != OP_rotate);
}

/* The products in forward order as one chain (q, k, v; gate, up), then the
 * rest. */
Value *ad_cotangent(Autodiff *ad, Value *v)
{
    Cotangent *c = &ad->cotangents[v->number];
    if (c->sum)
        return c->sum;
    Value *sum = c->begin;
    for (int last = -1, i = 0; i < c->products.count; i++) {
        const Product *next = NULL;
        for (int j = 0; j < c->products.count; j++) {
            const Product *p = &c->products.at[j];
            if (p->order > last && (!next || p->order < next->order))
                next = p;
        }
        last = next->order;
        Op op = next->starts ? OP_grouped_input : OP_matmul_input;
        Value *in[4] = { next->dy, next->w, next->starts };
        int inputs = next->starts ? 3 : 2;
        if (sum)
            in[inputs++] = sum;
        Node *made = func_node(ad->m, ad->to, op, ad_name(ad, v), inputs, in,
                               NULL, NULL, next->origin);
        sum = made->out[0];
    }
    for (int i = 0; i < c->terms.count; i++)
        sum = sum ? ad_2(ad, OP_add, v, sum, c->terms.at[i]) : c->terms.at[i];
    if (sum && v->type.dtype == DT_F32 && !spreads_later(v)
        && !type_equal(&sum->type, &v->type))
        sum = ad_node(ad, OP_expand, ad_name(ad, v), 1, &sum, NULL, &v->type);
    if (sum)
        take_name(ad, value_root(sum), ad_name(ad, v));
    return c->sum = sum;
}

/* ---- functions ---- */
/* The maximum only shifts a softmax, whose value it leaves as it is; a choice
 * has no slope. */
static bool is_constant_op(Op op)
{
    return op == OP_rowmax || op == OP_top_k || op == OP_dispatch
        || op == OP_is_zero;
}

static void mark_wanted(Autodiff *ad)
{
    const Func *f = ad->from;
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->kind == VALUE_PARAM)
            ad->wanted[i] = v->type.dtype == DT_F32 && !is_given(ad->m, v);
        if (v->kind == VALUE_WEIGHT)
            ad->wanted[i] = !ad->m->weights.at[v->weight].constant
                         && !ad->m->weights.at[v->weight].frozen;
    }
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        bool any = false;
        for (int j = 0; j < n->inputs; j++)
            any |= ad->wanted[n->in[j]->number];
        for (int j = 0; j < n->results; j++)
            ad->wanted[n->out[j]->number] = any && !is_constant_op(n->op);
    }
}

static Autodiff autodiff_new(Module *m, Func *from, Func *to)
{
    size_t count = (size_t)from->values.count;
    Autodiff ad = {
        .m = m, .from = from, .to = to,
        .cotangents = arena_alloc(m->arena, count * sizeof(Cotangent)),
        .wanted = arena_alloc(m->arena, count * sizeof(bool)),
        .copies = arena_alloc(m->arena, count * sizeof(Value *)),
    };
    mark_wanted(&ad);
    return ad;
}

static void walk_back(Autodiff *ad, int forward_nodes)
{
    for (int i = forward_nodes - 1; i >= 0; i--) {
        Node *n = ad->from->nodes.at[i];
        if (!ad->wanted[n->out[0]->number])
            continue;
        ad->order = i;
        ad->origin = n->origin;
        ad->origin.pass = "autodiff";
        if (ad_cotangent(ad, n->out[0]))
            node_gradient(ad, n);
    }
}

/* The gradients of f32 parameters become results. */
static void return_parameters(Autodiff *ad)
{
    for (int i = 0; i < ad->from->params.count; i++) {
        Value *p = ad->from->params.at[i];
        if (p->kind != VALUE_PARAM || !ad_wants(ad, p) || p == ad->seed)
            continue;
        Value *d = ad_cotangent(ad, p);
        if (!d)
            ice("%s: nothing reaches %s", ad->from->name, p->name);
        list_push(ad->m->arena, &ad->to->results, d);
    }
}

/* The memory that a view shows. */
static const Value *viewed(const Value *v)
{
    while (v->node && op_info[v->node->op].class == CLASS_VIEW)
        v = v->node->in[0];
    return v;
}

/* A result has memory of its own, the caller's: where it shows an argument or
 * something that the record keeps, it is copied. */
static void own_result(Module *m, Func *f)
{
    for (int i = 0; i < f->results.count; i++) {
        Value *v = f->results.at[i];
        bool shared = viewed(v)->kind != VALUE_NODE;
        for (int j = 0; j < f->saved.count; j++)
            shared |= viewed(f->saved.at[j]) == viewed(v);
        if (shared && v->type.dtype == DT_F32)
            f->results.at[i] = func_node(m, f, OP_copy,
                                         arena_printf(m->arena, "%s.copy",
                                                      v->name),
                                         1, &v, NULL, NULL, v->origin)
                                   ->out[0];
    }
}

/* What goes on where another call's gradient ended: dmemory, which every block
 * of a decoder adds to. */
static void begin_parameter(Autodiff *ad, Value *param)
{
    Value *begin = func_param(ad->m, ad->to, ad_name(ad, param), param->type);
    begin->origin = param->origin;
    ad->cotangents[param->number].begin = begin;
}

/* What a block adds to the loss has the slope 1. */
static void seed_auxiliary(Autodiff *ad, Value *aux)
{
    ad->origin = aux->origin;
    ad->origin.pass = "autodiff";
    Value *one = ad_node(ad, OP_const, ad_name(ad, aux), 0, NULL,
                         &(Attrs){ .by = 1 }, NULL);
    list_push(ad->m->arena, &ad->cotangents[aux->number].terms, one);
}

/* A sum that does not lie where it began: dx, and before it dx.before. */
static void name_begins(Autodiff *ad)
{
    for (int i = 0; i < ad->from->params.count; i++) {
        const Value *p = ad->from->params.at[i];
        Value *begin = ad->cotangents[p->number].begin;
        Value *sum = ad->cotangents[p->number].sum;
        if (!begin || !sum || value_root(sum) == begin)
            continue;
        const char *name = ad_name(ad, p), *part = sum->name;
        begin->name = arena_printf(ad->m->arena, "%s.before", name);
        for (int j = 0; j < ad->to->values.count; j++)
            if (!strcmp(ad->to->values.at[j]->name, name))
                ad->to->values.at[j]->name = part;
        sum->name = name;
    }
}

/* Pair: NAME becomes NAME.forward, and NAME.backward is made. The gradients of
 * parameters in `continued` (a bit each) go on from what backward is given. */
static Func *differentiate(Module *m, Func *f, unsigned continued)
{
    const char *root = f->name;
    f->name = arena_printf(m->arena, "%s.forward", root);
    f->record = root;
    Func *back = func_new(m, arena_printf(m->arena, "%s.backward", root),
                          f->root, f->stack);
    back->record = root;
    back->origin = f->origin;
    Autodiff ad = autodiff_new(m, f, back);
    Value *out = f->results.at[0];
    Value *dout = func_param(m, back, ad_name(&ad, out), out->type);
    dout->origin = out->origin;
    for (int i = 0; i < f->params.count; i++)
        if (continued >> i & 1)
            begin_parameter(&ad, f->params.at[i]);
    for (int i = 0; i < f->params.count; i++)
        if (is_given(m, f->params.at[i]))
            ad_value(&ad, f->params.at[i]);
    list_push(m->arena, &ad.cotangents[out->number].terms, dout);
    for (int i = 1; i < f->results.count; i++)
        seed_auxiliary(&ad, f->results.at[i]);
    walk_back(&ad, f->nodes.count);
    return_parameters(&ad);
    own_result(m, f);
    own_result(m, back);
    name_begins(&ad);
    return back;
}

/* Joined: NAME becomes NAME.step, which also returns the gradient of its input.
 * A row's loss weighs 1 / the number of those that are summed; where the
 * function gives the rows themselves, their weights are given instead. */
static void differentiate_joined(Module *m, Func *f)
{
    Value *out = f->results.at[0];
    f->name = arena_printf(m->arena, "%s.step", f->name);
    Value *seed;
    bool rows = out->type.dtype == DT_F32;
    if (rows) {
        seed = func_param(m, f, arena_printf(m->arena, "d.%s", out->name),
                          out->type);
        f->results.count = 0;
    } else {
        bool labels = !strcmp(value_root(out)->name, "label_loss");
        seed = func_scalar(m, f, labels ? "inv_labels" : "inv_count");
    }
    Autodiff ad = autodiff_new(m, f, f);
    ad.seed = seed;
    list_push(m->arena, &ad.cotangents[out->number].terms, seed);
    walk_back(&ad, f->nodes.count);
    return_parameters(&ad);
}

/* `finish`: what has reached the weights that `prepare` made goes on to those
 * that it made them of. */
static Func *differentiate_prepare(Module *m, Func *f)
{
    const char *stem =
        arena_strndup(m->arena, f->name, strlen(f->name) - strlen("prepare"));
    const char *name = arena_printf(m->arena, "%sfinish", stem);
    Func *back = func_new(m, name, name, f->stack);
    Autodiff ad = autodiff_new(m, f, back);
    for (int i = 0; i < f->results.count; i++) {
        Value *rows = f->results.at[i];
        Value whole = { .weight = module_find_weight(m, rows->name, f->stack) };
        if (!ad_wants(&ad, rows))
            continue;
        Value *begin = ad_gradient(&ad, &whole)->begin;
        list_push(m->arena, &ad.cotangents[rows->number].terms, begin);
        begin->site = back->gradients.at[0].site = 0;   /* read, not added to */
    }
    walk_back(&ad, f->nodes.count);
    return back;
}

/* ---- update ---- */
typedef struct Update { Module *m; Func *f; Origin origin; Type flat; } Update;

static Value *up2(Update *u, Op op, const char *name, Value *a, Value *b)
{
    Node *made = func_node(u->m, u->f, op, name, 2, (Value *[]){ a, b }, NULL,
                           NULL, u->origin);
    return made->out[0];
}

static Value *up1(Update *u, Op op, const char *name, Value *a)
{
    Node *made = func_node(u->m, u->f, op, name, 1, &a, NULL, NULL, u->origin);
    return made->out[0];
}

static Value *scalar(Update *u, const char *name)
{
    return func_scalar(u->m, u->f, name);
}

/* Adam's moments and its step m̂ / (√v̂ + eps). */
static Value *adam_step(Update *u, Value *g)
{
    Value *first = func_param(u->m, u->f, "first", u->flat);
    Value *second = func_param(u->m, u->f, "second", u->flat);
    Value *kept1 = up2(u, OP_mul, "kept1", first, scalar(u, "beta1"));
    Value *fresh1 = up2(u, OP_mul, "fresh1", g, scalar(u, "rest1"));
    Value *m1 = up2(u, OP_add, "new_first", kept1, fresh1);
    Value *kept2 = up2(u, OP_mul, "kept2", second, scalar(u, "beta2"));
    Value *part2 = up2(u, OP_mul, "part2", g, scalar(u, "rest2"));
    Value *fresh2 = up2(u, OP_mul, "fresh2", part2, g);
    Value *m2 = up2(u, OP_add, "new_second", kept2, fresh2);
    Value *unbiased1 = up2(u, OP_mul, "unbiased1", m1,
                           scalar(u, "correction1"));
    Value *unbiased2 = up2(u, OP_mul, "unbiased2", m2,
                           scalar(u, "correction2"));
    Value *root = up1(u, OP_sqrt, "root", unbiased2);
    Value *safe = up2(u, OP_add, "safe", root, scalar(u, "epsilon"));
    list_push(u->m->arena, &u->f->results, m1);
    list_push(u->m->arena, &u->f->results, m2);
    return up2(u, OP_div, "ratio", unbiased1, safe);
}

/* update(p, g, first, second) -> p, first, second: one tensor, element by
 * element. */
static Func *make_update(Module *m, const Plan *plan)
{
    int n = module_dim(m, "N", DIM_ROWS, 0);
    m->dims.at[n].doc = "elements of a tensor";
    Update u = { .m = m,
                 .origin = { .model = plan->optimizer_from,
                             .pass = "autodiff" },
                 .flat = type_of(DT_F32, 1, &n) };
    u.f = func_new(m, "update", "update", -1);
    Value *p = func_param(m, u.f, "p", u.flat);
    Value *g = func_param(m, u.f, "g", u.flat);
    list_push(m->arena, &u.f->results, p);  /* its place; the new value below */
    Value *clipped = up2(&u, OP_mul, "clipped", g, scalar(&u, "clip_scale"));
    Value *decayed = up2(&u, OP_mul, "decayed", p, scalar(&u, "decay"));
    Value *step;
    if (plan->optimizer == OPTIMIZER_ADAMW) {
        step = up2(&u, OP_add, "step", adam_step(&u, clipped), decayed);
    } else {
        Value *with_decay = up2(&u, OP_add, "with_decay", clipped, decayed);
        step = with_decay;
        if (plan->optimizer == OPTIMIZER_ADAM) {
            step = adam_step(&u, with_decay);
        } else if (plan->momentum) {
            Value *first = func_param(m, u.f, "first", u.flat);
            Value *kept = up2(&u, OP_mul, "kept", first,
                              scalar(&u, "momentum"));
            step = up2(&u, OP_add, "new_first", kept, with_decay);
            list_push(m->arena, &u.f->results, step);
        }
    }
    Value *move = up2(&u, OP_mul, "move", step, scalar(&u, "lr"));
    u.f->results.at[0] = up2(&u, OP_sub, "new_p", p, move);
    return u.f;
}

/* ---- the step ---- */
static Stmt *new_stmt(Module *m, StepKind kind, Origin origin)
{
    Stmt *s = arena_alloc(m->arena, sizeof *s);
    s->kind = kind;
    s->origin = origin;
    s->origin.pass = "autodiff";
    return s;
}

static const char *gradient_name(Module *m, const char *name)
{
    return arena_printf(m->arena, "d%s", name);
}

/* The call of `back` that answers forward's: the gradient of its result, those
 * that go on, and what is given. */
static Stmt *backward_call(Module *m, const Stmt *forward, Func *back,
                           unsigned continued)
{
    const Func *f = forward->func;
    Stmt *s = new_stmt(m, STEP_CALL, forward->origin);
    s->func = back;
    s->indexed = forward->indexed;
    list_push(m->arena, &s->arguments,
              gradient_name(m, forward->results.at[0]));
    for (int i = 0; i < f->params.count; i++)
        if (continued >> i & 1)
            list_push(m->arena, &s->arguments,
                      gradient_name(m, forward->arguments.at[i]));
    for (int i = 0; i < f->params.count; i++)
        if (is_given(m, f->params.at[i]))
            list_push(m->arena, &s->arguments, forward->arguments.at[i]);
    for (int i = 0; i < f->params.count; i++)
        if (!is_given(m, f->params.at[i]))
            list_push(m->arena, &s->results,
                      gradient_name(m, forward->arguments.at[i]));
    return s;
}

typedef struct Backward {
    Module *m;
    Step *step;
    List(Stmt *) body;              /* what follows the forward statements */
    List(const char *) made;        /* gradients that there are so far */
} Backward;

static bool is_made(const Backward *b, const char *name)
{
    for (int i = 0; i < b->made.count; i++)
        if (!strcmp(b->made.at[i], name))
            return true;
    return false;
}

static void make_results(Backward *b, const Stmt *s)
{
    for (int i = 0; i < s->results.count; i++)
        list_push(b->m->arena, &b->made, s->results.at[i]);
}

/* A loss and its gradient in one call, at the place of the forward one. */
static void join_loss(Backward *b, Stmt *s)
{
    int before = s->results.count;
    for (int i = 0; i < s->func->params.count; i++)
        if (!is_given(b->m, s->func->params.at[i])
            && s->func->params.at[i]->type.dtype == DT_F32)
            list_push(b->m->arena, &s->results,
                      gradient_name(b->m, s->arguments.at[i]));
    differentiate_joined(b->m, s->func);
    for (int i = before; i < s->results.count; i++)
        list_push(b->m->arena, &b->made, s->results.at[i]);
}

/* head.rows is answered by head.step, which is given a weight a row. */
static void answer_rows(Backward *b, const Stmt *s)
{
    Func *head = module_find_func(b->m, "head");
    differentiate_joined(b->m, head);
    Stmt *call = new_stmt(b->m, STEP_CALL, s->origin);
    call->func = head;
    for (int i = 0; i < s->arguments.count; i++)
        list_push(b->m->arena, &call->arguments, s->arguments.at[i]);
    list_push(b->m->arena, &call->arguments,
              gradient_name(b->m, s->results.at[0]));
    list_push(b->m->arena, &call->results,
              gradient_name(b->m, s->arguments.at[0]));
    make_results(b, call);
    list_push(b->m->arena, &b->body, call);
}

static void zero_first(Backward *b, const char *name, Origin origin)
{
    Stmt *zero = new_stmt(b->m, STEP_ZERO, origin);
    list_push(b->m->arena, &zero->results, name);
    list_push(b->m->arena, &b->body, zero);
    list_push(b->m->arena, &b->made, name);
}

/* Which parameters' gradients go on from others: what another call has made,
 * and in a loop over blocks what all blocks read, which is 0 first. */
static unsigned find_continued(Backward *b, const Stmt *s, bool looped)
{
    unsigned continued = 0;
    for (int i = 0; i < s->func->params.count; i++) {
        const char *name = gradient_name(b->m, s->arguments.at[i]);
        bool own = !strcmp(s->arguments.at[i], s->results.at[0]);
        if (is_given(b->m, s->func->params.at[i]) || own)
            continue;
        if (looped && !is_made(b, name))
            zero_first(b, name, s->origin);
        if (looped || is_made(b, name))
            continued |= 1u << i;
    }
    return continued;
}

static Stmt *answer_call(Backward *b, const Stmt *s, bool looped)
{
    const char *reached = gradient_name(b->m, s->results.at[0]);
    if (!is_made(b, reached)) /* nothing reads it: a decoder without blocks */
        zero_first(b, reached, s->origin);
    unsigned continued = find_continued(b, s, looped);
    Func *back = differentiate(b->m, s->func, continued);
    Stmt *call = backward_call(b->m, s, back, continued);
    make_results(b, call);
    return call;
}

static void answer_repeat(Backward *b, const Stmt *s)
{
    const Stmt *call = s->body.at[0];
    Stmt *loop = new_stmt(b->m, STEP_REPEAT, s->origin);
    loop->stack = s->stack;
    if (strstr(call->func->name, "prepare")) {
        Stmt *finish = new_stmt(b->m, STEP_CALL, call->origin);
        finish->func = differentiate_prepare(b->m, call->func);
        finish->indexed = true;
        list_push(b->m->arena, &loop->body, finish);
        list_push(b->m->arena, &b->body, loop);
        return;
    }
    Stmt *back = answer_call(b, call, true);
    loop->down = true;
    list_push(b->m->arena, &loop->body, back);
    list_push(b->m->arena, &b->body, loop);
}

/* Is it a loss: does its first result go on from a sum of the step? */
static bool is_loss(const Stmt *s)
{
    return s->kind == STEP_CALL && s->func->results.count
        && s->func->results.at[0]->type.dtype == DT_F64;
}

/* Statements of the step in reverse, each answered by its backward. */
static void append_backward(Backward *b)
{
    for (int i = b->step->body.count - 1; i >= 0; i--)
        if (is_loss(b->step->body.at[i]))
            join_loss(b, b->step->body.at[i]);
    for (int i = b->step->body.count - 1; i >= 0; i--) {
        Stmt *s = b->step->body.at[i];
        if (s->kind == STEP_REPEAT)
            answer_repeat(b, s);
        else if (s->kind == STEP_CALL && !strcmp(s->func->name, "head.rows"))
            answer_rows(b, s);
        else if (s->kind == STEP_CALL && !strstr(s->func->name, ".step")) {
            Stmt *call = answer_call(b, s, false);   /* may push a zero */
            list_push(b->m->arena, &b->body, call);
        }
    }
    for (int i = 0; i < b->body.count; i++)
        list_push(b->m->arena, &b->step->body, b->body.at[i]);
}

static bool has_sites(const Module *m)
{
    for (int i = 0; i < m->funcs.count; i++)
        for (int j = 0; j < m->funcs.at[i]->gradients.count; j++)
            if (m->funcs.at[i]->gradients.at[j].site)
                return true;
    return false;
}

bool pass_autodiff(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    Backward b = { .m = m, .step = module_find_step(m, "train") };
    append_backward(&b);
    Origin origin = { .model = plan->optimizer_from };
    if (has_sites(m))
        list_push(m->arena, &b.step->body, new_stmt(m, STEP_SITES, origin));
    list_push(m->arena, &b.step->body, new_stmt(m, STEP_NORM, origin));
    Stmt *update = new_stmt(m, STEP_UPDATE, origin);
    update->func = make_update(m, plan);
    list_push(m->arena, &b.step->body, update);
    return true;
}
