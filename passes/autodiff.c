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

static bool computed_again(const Module *m, const Node *node)
{
    if (is_biased_product(node))
        return false;
    switch (op_info[node->op].class) {
    case CLASS_POINT:
    case CLASS_VIEW:
        return true;
    case CLASS_ROW:
        return node->op == OP_rotate || node->op == OP_unrotate;
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
        if (forward->type.dtype == DT_I32)
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

/* Whether a function that was differentiated before (one that runs later) has
 * an accumulator of this weight already: the head, for tied embeddings. */
static bool is_second_use(const Autodiff *ad, int weight)
{
    for (int i = 0; i < ad->m->funcs.count; i++) {
        const Func *f = ad->m->funcs.at[i];
        for (int j = 0; f != ad->to && j < f->gradients.count; j++)
            if (f->gradients.at[j].weight == weight)
                return true;
    }
    return false;
}

static Gradient *gradient_of(Autodiff *ad, int weight)
{
    for (int i = 0; i < ad->to->gradients.count; i++)
        if (ad->to->gradients.at[i].weight == weight)
            return &ad->to->gradients.at[i];
    const Weight *w = &ad->m->weights.at[weight];
    const char *name = arena_printf(ad->m->arena, "grad.%s", w->name);
    int site = is_second_use(ad, weight);
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

void ad_weight(Autodiff *ad, Value *v, Op op, Value *a, Value *b)
{
    Gradient *g = gradient_of(ad, v->weight);
    Value *in[3] = { a, b, g->end };
    if (!b)
        in[1] = g->end;
    g->end = ad_node(ad, op, ad_name(ad, v), b ? 3 : 2, in, NULL, NULL);
    take_name(ad, g->end, ad_name(ad, v));
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

void ad_add_product(Autodiff *ad, Value *v, Value *dy, Value *w)
{
    Product product = {
        .dy = dy, .w = w, .order = ad->order, .origin = ad->origin
    };
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
    Value *sum = NULL;
    for (int last = -1, i = 0; i < c->products.count; i++) {
        const Product *next = NULL;
        for (int j = 0; j < c->products.count; j++) {
            const Product *p = &c->products.at[j];
            if (p->order > last && (!next || p->order < next->order))
                next = p;
        }
        last = next->order;
        Value *in[3] = { next->dy, next->w, sum };
        Node *made = func_node(ad->m, ad->to, OP_matmul_input, ad_name(ad, v),
                               sum ? 3 : 2, in, NULL, NULL, next->origin);
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
static void mark_wanted(Autodiff *ad)
{
    const Func *f = ad->from;
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->kind == VALUE_PARAM)
            ad->wanted[i] = v->type.dtype == DT_F32;
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
            ad->wanted[n->out[j]->number] = any && n->op != OP_rowmax;
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
        if (p->type.dtype != DT_F32)
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
    while (v->node && v->node->op == OP_reshape)
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

/* Pair: NAME becomes NAME.forward, and NAME.backward is made. */
static Func *differentiate(Module *m, Func *f)
{
    const char *root = f->name;
    f->name = arena_printf(m->arena, "%s.forward", root);
    f->record = root;
    Func *back = func_new(m, arena_printf(m->arena, "%s.backward", root),
                          f->root, f->per_block);
    back->record = root;
    back->origin = f->origin;
    Autodiff ad = autodiff_new(m, f, back);
    Value *out = f->results.at[0];
    Value *dout = func_param(m, back, ad_name(&ad, out), out->type);
    dout->origin = out->origin;
    for (int i = 0; i < f->params.count; i++)
        if (f->params.at[i]->type.dtype == DT_I32)
            ad_value(&ad, f->params.at[i]);
    list_push(m->arena, &ad.cotangents[out->number].terms, dout);
    walk_back(&ad, f->nodes.count);
    return_parameters(&ad);
    own_result(m, f);
    own_result(m, back);
    return back;
}

/* Joined: NAME becomes NAME.step, which also returns the gradient of its input.
 * A row's loss weighs inv_count. */
static void differentiate_joined(Module *m, Func *f)
{
    f->name = arena_printf(m->arena, "%s.step", f->name);
    Value *weight = func_scalar(m, f, "inv_count");
    Autodiff ad = autodiff_new(m, f, f);
    Value *loss = f->results.at[0];
    list_push(m->arena, &ad.cotangents[loss->number].terms, weight);
    walk_back(&ad, f->nodes.count);
    return_parameters(&ad);
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
    u.f = func_new(m, "update", "update", false);
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

/* The call of `back` that answers forward's: dx = back(dx, i32 arguments). */
static Stmt *backward_call(Module *m, const Stmt *forward, Func *back)
{
    Stmt *s = new_stmt(m, STEP_CALL, forward->origin);
    s->func = back;
    s->indexed = forward->indexed;
    list_push(m->arena, &s->arguments, "dx");
    for (int i = 0; i < forward->func->params.count; i++)
        if (forward->func->params.at[i]->type.dtype == DT_I32)
            list_push(m->arena, &s->arguments, forward->arguments.at[i]);
    if (back->results.count)
        list_push(m->arena, &s->results, "dx");
    return s;
}

/* Statements of the step in reverse, each answered by its backward. */
static void append_backward(Module *m, Step *step, int forward_statements)
{
    for (int i = forward_statements - 1; i >= 0; i--) {
        Stmt *s = step->body.at[i];
        if (s->kind == STEP_CALL && strstr(s->func->name, ".step")) {
            list_push(m->arena, &s->results, "dx");
        } else if (s->kind == STEP_CALL) {
            Func *back = module_find_func(m,
                                          arena_printf(m->arena, "%s.backward",
                                                       s->func->record));
            list_push(m->arena, &step->body, backward_call(m, s, back));
        } else if (s->kind == STEP_REPEAT) {
            Stmt *call = s->body.at[0];
            Func *back = module_find_func(m,
                                          arena_printf(m->arena, "%s.backward",
                                                       call->func->record));
            Stmt *down = new_stmt(m, STEP_REPEAT, s->origin);
            down->down = true;
            list_push(m->arena, &down->body, backward_call(m, call, back));
            list_push(m->arena, &step->body, down);
        }
    }
}

bool pass_autodiff(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    Step *train = module_find_step(m, "train");
    Func *embed = module_find_func(m, "embed");
    Func *block = module_find_func(m, "block");
    Func *head = module_find_func(m, "head");
    int statements = train->body.count;
    bool tied = module_find_weight(m, "head.weight", false) < 0;
    differentiate_joined(m, head);
    differentiate(m, block);
    differentiate(m, embed);
    append_backward(m, train, statements);
    Origin origin = { .model = plan->optimizer_from };
    if (tied
        && !m->weights.at[module_find_weight(m, "embed.token.weight", false)]
                .frozen)
        list_push(m->arena, &train->body, new_stmt(m, STEP_SITES, origin));
    list_push(m->arena, &train->body, new_stmt(m, STEP_NORM, origin));
    Stmt *update = new_stmt(m, STEP_UPDATE, origin);
    update->func = make_update(m, plan);
    list_push(m->arena, &train->body, update);
    return true;
}
