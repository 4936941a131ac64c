/* calls.c: a function of the module becomes a list of kernel calls. Pointers to
 * what lies in its frame and record come first: the memory map. A barrier
 * stands only where a kernel touches memory that another thread may have
 * touched since the last. */
#include "calls.h"

FuncCode *find_code(Lower *l, const Func *f)
{
    for (int i = 0; i < l->funcs.count; i++)
        if (l->funcs.at[i].func == f)
            return &l->funcs.at[i];
    ice("%s has not been lowered", f->name);
}

/* ---- parameters ---- */
static bool is_cache(const Node *n)
{
    return n->op == OP_cache || n->op == OP_recall;
}

static void find_uses(Calls *c)
{
    const Func *f = c->f;
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        const Weight *w = v->weight >= 0 ? &c->l->m->weights.at[v->weight]
                                         : NULL;
        bool whole = w && w->stack < 0, block = w && w->stack >= 0;
        c->code->uses_block |= v->kind == VALUE_WEIGHT && block;
        c->code->uses_shared |= v->kind == VALUE_WEIGHT && whole;
        c->code->sums_block |= v->kind == VALUE_GRADIENT && block;
        c->code->sums_shared |= v->kind == VALUE_GRADIENT && whole;
        c->code->uses_frame |= v->area == AREA_FRAME;
        c->code->uses_saved |= v->area == AREA_RECORD;
        c->code->uses_pending |= v->area == AREA_PENDING;
        c->code->uses_cache |= v->node && is_cache(v->node);
    }
}

/* A sum that goes on where it began, or what lies in the cache: no pointer says
 * where it goes. */
bool result_is_placed(const Value *root)
{
    return root->kind == VALUE_PARAM || (root->node && is_cache(root->node));
}

static ProgVar *add_param(Calls *c, const char *name, ProgType type)
{
    return prog_param(c->p, c->func, name, type);
}

static void result_params(Calls *c)
{
    for (int i = 0; i < c->f->results.count; i++) {
        Value *root = value_root(c->f->results.at[i]);
        if (result_is_placed(root))
            continue;
        c->pointers[root->number] = add_param(c, c_name(c->l, root->name),
                                               value_pointer(root, false));
    }
}

static ProgType block_pointer(const Calls *c)
{
    return prog_pointer_to(c->l->stacks[c->f->stack].record, true);
}

/* Does a result go on where this parameter begins? */
static bool goes_on(const Func *f, const Value *param)
{
    for (int i = 0; i < f->results.count; i++)
        if (value_root(f->results.at[i]) == param)
            return true;
    return false;
}

static void params(Calls *c)
{
    Prog *p = c->p;
    c->me = add_param(c, "me",
                      prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    c->at = add_param(c, "at", prog_pointer_to(c->l->call, true));
    result_params(c);
    for (int i = 0; i < c->f->params.count; i++) {
        Value *v = c->f->params.at[i];
        bool sum = v->type.dtype == DT_F64 || goes_on(c->f, v);
        c->pointers[v->number] = add_param(c, c_name(c->l, v->name),
                                           value_pointer(v, !sum));
    }
    for (int i = 0; i < c->f->saved.count; i++) {
        Value *v = c->f->saved.at[i];
        if (v->kind != VALUE_SAVED || v->area != AREA_NONE)
            continue;
        c->pointers[v->number] = add_param(c, c_name(c->l, v->name),
                                           value_pointer(v, true));
        list_push(c->l->arena, &c->code->saved_params, v);
    }
    if (c->code->uses_saved)
        c->saved = add_param(c, "saved", prog_pointer(PK_F32, false));
    if (c->code->uses_pending)
        c->pending = add_param(c, "pending", prog_pointer(PK_F32, false));
    if (c->code->uses_frame)
        c->frame = add_param(c, "frame", prog_pointer(PK_F32, false));
    if (c->code->uses_cache)
        c->cache = add_param(c, "cache", prog_pointer(PK_F32, false));
    if (c->code->uses_shared)
        c->shared = add_param(c, "shared", prog_pointer_to(c->l->shared, true));
    if (c->code->uses_block)
        c->block = add_param(c, "w", block_pointer(c));
    if (c->code->sums_shared)
        c->shared_sums = add_param(c, "dshared",
                                   prog_pointer_to(c->l->shared, true));
    if (c->code->sums_block)
        c->block_sums = add_param(c, "dw", block_pointer(c));
}

/* ---- the memory map: a pointer a value in frame or record ---- */
/* Has it a pointer of its own? What lies in the cache gets one from its
 * call. */
static bool is_mapped(const Value *v)
{
    bool kept = v->area == AREA_RECORD || v->area == AREA_PENDING
        || v->area == AREA_FRAME;
    return kept && !(v->node && is_cache(v->node));
}

static void name_places(Calls *c)
{
    for (int i = 0; i < c->f->values.count; i++) {
        Value *v = c->f->values.at[i];
        if (is_mapped(v) && !c->pointers[v->number])
            c->pointers[v->number] =
                prog_local(c->p, c->func, c_name(c->l, v->name),
                           value_pointer(v, false));
    }
}

static bool expr_uses(const ProgExpr *e, const ProgVar *variable)
{
    bool uses = e && e->variable == variable;
    for (int i = 0; e && !uses && i < e->args.count; i++)
        uses = expr_uses(e->args.at[i], variable);
    return uses || (e && (expr_uses(e->a, variable) || expr_uses(e->b, variable)
                          || expr_uses(e->c, variable)));
}

static bool body_uses(const ProgBlock *body, const ProgVar *variable)
{
    for (int i = 0; i < body->statements.count; i++) {
        const ProgStmt *s = body->statements.at[i];
        if (expr_uses(s->a, variable) || expr_uses(s->b, variable)
            || expr_uses(s->c, variable) || body_uses(&s->body, variable)
            || body_uses(&s->other, variable))
            return true;
    }
    return false;
}

typedef List(Value *) Places;

/* The values of an area that the body names, as they lie in it. */
static Places places_in(const Calls *c, const ProgBlock *body, int area)
{
    Places found = {0};
    for (int i = 0; i < c->f->values.count; i++) {
        Value *v = c->f->values.at[i];
        if ((int)v->area != area || !is_mapped(v)
            || !body_uses(body, c->pointers[v->number]))
            continue;
        list_push(c->l->arena, &found, v);
        for (int at = found.count - 1;
             at > 0 && found.at[at - 1]->offset > v->offset; at--) {
            found.at[at] = found.at[at - 1];
            found.at[at - 1] = v;
        }
    }
    return found;
}

/* Floats of one of its rows, by the names of dims where it has them. */
static ProgExpr *row_size(Calls *c, const Value *v)
{
    int64_t floats = value_row_floats(c->l->m, v);
    ProgExpr *size = px_int(c->p, 1);
    for (int i = 0; i < v->type.rank; i++) {
        int dim = v->type.dims[i];
        const Dim *d = &c->l->m->dims.at[dim];
        if (dim && d->kind == DIM_MODEL)
            size = c->l->dims[dim]
                ? px_mul(c->p, size, dim_size(c->l, dim))
                : px_mul(c->p, px_int(c->p, d->size), size);
    }
    return type_row_elements(c->l->m, &v->type) == floats
        ? size : px_int(c->p, floats);
}

/* Where the value lies: with or behind the first that allows to say so, else so
 * many floats a row from the start of the area. */
static ProgExpr *place_of(Calls *c, const ProgVar *base, const Places *places,
                          int number)
{
    Prog *p = c->p;
    const Value *v = places->at[number];
    ProgExpr *stride = px_field(p, px_var(p, c->at), "stride");
    if (!v->offset)
        return px_var(p, base);
    for (int i = 0; i < number; i++) {
        const Value *before = places->at[i];
        ProgExpr *from = px_var(p, c->pointers[before->number]);
        if (before->type.dtype != DT_F32)
            continue;
        if (before->offset == v->offset)
            return from;
        if (before->offset + value_row_floats(c->l->m, before) == v->offset)
            return px_offset(p, from, px_mul(p, stride, row_size(c, before)));
    }
    return px_offset(p, px_var(p, base),
                     px_mul(p, stride, px_int(p, v->offset)));
}

static void map_area(Calls *c, ProgBlock *map, const ProgBlock *body,
                     ProgVar *base, int area, const char *comment)
{
    Prog *p = c->p;
    const Places places = places_in(c, body, area);
    if (places.count)
        ps_comment(p, map, comment);
    for (int i = 0; i < places.count; i++) {
        const Value *v = places.at[i];
        ProgExpr *from = place_of(c, base, &places, i);
        if (v->type.dtype != DT_F32)
            from = px_cast(p, value_pointer(v, false), from);
        p->here = v->origin.model;
        ps_let(p, map, c->pointers[v->number], from);
    }
}

/* Whose record it is: a forward's, to write or to read, or what can be
 * inspected. */
static const char *record_comment(const Func *f)
{
    if (f->record && !strcmp(f->record, f->name))
        return "the record: what the forward command can save";
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i]->kind == VALUE_SAVED)
            return "the record: what forward has left";
    return "the record: what backward will read";
}

/* Puts the pointers that the body names before it. */
static void map_memory(Calls *c)
{
    const ProgBlock body = c->func->body;
    ProgBlock map = {0};
    map_area(c, &map, &body, c->saved, AREA_RECORD, record_comment(c->f));
    map_area(c, &map, &body, c->pending, AREA_PENDING,
             func_is_weight_half(c->f)
                 ? "what the input half has left"
                 : "what the weight half will read");
    map_area(c, &map, &body, c->frame, AREA_FRAME,
             "the frame: values of this call, which share its memory in turn");
    if (map.statements.count)
        ps_comment(c->p, &map, "the work; a barrier stands where threads meet");
    for (int i = 0; i < body.statements.count; i++)
        list_push(c->l->arena, &map.statements, body.statements.at[i]);
    c->func->body = map;
}

/* Where a value lies. */
ProgExpr *pointer_to(Calls *c, Value *v)
{
    Value *root = value_root(v);
    const Weight *w = root->weight >= 0 ? &c->l->m->weights.at[root->weight]
                                        : NULL;
    const ProgVar *sums = w && w->stack >= 0 ? c->block_sums : c->shared_sums;
    if (root->kind == VALUE_WEIGHT)
        return px_field(c->p,
                        px_var(c->p, w->stack >= 0 ? c->block : c->shared),
                        c_name(c->l, w->name));
    if (root->kind == VALUE_GRADIENT)
        return px_field(c->p, px_var(c->p, sums), c_name(c->l, w->name));
    if (!c->pointers[root->number])
        ice("%s: %s has no memory", c->f->name, root->name);
    return px_var(c->p, c->pointers[root->number]);
}

/* ---- barriers ---- */
static bool overlap(const Calls *c, const Value *a, const Value *b)
{
    if (a == b)
        return true;
    if (a->area == AREA_NONE || a->area != b->area)
        return false;
    int64_t a_end = a->offset + value_row_floats(c->l->m, a);
    int64_t b_end = b->offset + value_row_floats(c->l->m, b);
    return a->offset < b_end && b->offset < a_end;
}

/* Rows of the same size from the same place: a thread's rows are the same
 * memory. */
static bool same_rows(const Calls *c, const Value *a, const Value *b)
{
    return a == b
        || (a->offset == b->offset
            && value_row_floats(c->l->m, a) == value_row_floats(c->l->m, b)
            && type_rows_of(c->l->m, &a->type)
                   == type_rows_of(c->l->m, &b->type));
}

static bool conflicts(const Calls *c, const Access *now)
{
    for (int i = 0; i < c->since.count; i++) {
        const Access *then = &c->since.at[i];
        if (!overlap(c, now->root, then->root) || !(now->write || then->write))
            continue;
        if (now->share == SHARE_TOKENS && then->share == SHARE_TOKENS
            && same_rows(c, now->root, then->root))
            continue;
        return true;
    }
    return false;
}

static void put_barrier(Calls *c)
{
    ps_do(c->p, &c->func->body, px_callv(c->p, prog_library(c->p, "barrier"),
                                         px_var(c->p, c->me), NULL));
    c->since.count = 0;
}

static bool is_tracked(const Value *root)
{
    return root->kind != VALUE_WEIGHT && root->kind != VALUE_SCALAR
        && root->type.dtype != DT_I32;
}

/* A barrier before the kernel if it meets what others did; then its own
 * accesses. */
static void guard(Calls *c, const Kernel *k)
{
    List(Access) now = {0};
    Share share = k->kind == KERNEL_ROW ? SHARE_TOKENS : SHARE_OTHERWISE;
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *n = k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++) {
            Value *root = value_root(n->in[j]);
            Access a = { root, false, share };
            if (n->in[j]->in_memory
                && (is_tracked(root) || root->area != AREA_NONE))
                list_push(c->l->arena, &now, a);
        }
        for (int j = 0; j < n->results; j++) {
            Value *root = value_root(n->out[j]);
            Access a = { root, true, share };
            if (n->out[j]->in_memory
                && (is_tracked(root) || root->area != AREA_NONE))
                list_push(c->l->arena, &now, a);
        }
    }
    bool meet = false;
    for (int i = 0; i < now.count; i++)
        meet |= conflicts(c, &now.at[i]);
    if (meet)
        put_barrier(c);
    for (int i = 0; i < now.count; i++)
        list_push(c->l->arena, &c->since, now.at[i]);
}

/* ---- kernel calls ---- */
ProgExpr *at_field(Calls *c, const char *name)
{
    return px_field(c->p, px_var(c->p, c->at), name);
}

ProgExpr *scalar_of(Calls *c, const Value *v)
{
    if (!strcmp(v->name, "inv_count") || !strcmp(v->name, "inv_labels"))
        return at_field(c, v->name);
    return px_field(c->p, at_field(c, "control"), v->name);
}

ProgExpr *share_of(Calls *c, const char *name)
{
    return px_div(c->p, at_field(c, name),
                  px_int(c->p, module_shares(c->l->m)));
}

/* How many rows a type has: tokens, sequences, or what its leading dims say. */
ProgExpr *rows_of(Calls *c, const Type *type)
{
    switch (type_rows_of(c->l->m, type)) {
    case ROWS_TOKENS: return at_field(c, "rows");
    case ROWS_SHARE: return share_of(c, "rows");
    case ROWS_SEQUENCES: return at_field(c, "batch");
    case ROWS_NONE: break;
    }
    ProgExpr *rows = dim_size(c->l, type->dims[0]);
    for (int i = 1; i < type->rank - 1; i++)
        rows = px_mul(c->p, rows, dim_size(c->l, type->dims[i]));
    return rows;
}

/* Tokens, unless all that the kernel touches has a row a sequence. */
static ProgExpr *kernel_rows(Calls *c, const Kernel *k)
{
    bool sequences = false;
    for (int i = 0; i < k->nodes.count; i++)
        for (int j = -1; j < k->nodes.at[i]->inputs; j++) {
            const Node *n = k->nodes.at[i];
            const Type *type = j < 0 ? &n->out[0]->type : &n->in[j]->type;
            RowKind rows = type_rows_of(c->l->m, type);
            if (rows == ROWS_TOKENS || rows == ROWS_SHARE)
                return rows_of(c, type);
            sequences |= rows == ROWS_SEQUENCES;
        }
    return at_field(c, sequences ? "batch" : "rows");
}

static void call_generated(Calls *c, int kernel)
{
    KernelCode code = lower_kernel(c->l, c->f, kernel);
    c->p->here = c->f->kernels.at[kernel].nodes.at[0]->origin.model;
    List(ProgExpr *) args = {0};
    for (int i = 0; i < code.args.count; i++) {
        ProgExpr *e = NULL;
        switch (code.args.at[i].kind) {
        case ARG_THREAD: e = px_var(c->p, c->me); break;
        case ARG_CALL: e = px_var(c->p, c->at); break;
        case ARG_CONTROL: e = at_field(c, "control"); break;
        case ARG_VALUE: e = pointer_to(c, code.args.at[i].value); break;
        case ARG_SCALAR: e = scalar_of(c, code.args.at[i].value); break;
        case ARG_ROWS: e = kernel_rows(c, &c->f->kernels.at[kernel]); break;
        case ARG_BEGIN: e = at_field(c, "accumulate"); break;
        }
        list_push(c->l->arena, &args, e);
    }
    ps_do(c->p, &c->func->body, px_call(c->p, code.func, args.count, args.at));
}

static const char *func_comment(const Lower *l, const Func *f)
{
    Buf buf = {0};
    buf_printf(&buf, "%s:", f->name);
    for (int i = 0; i < f->params.count; i++)
        buf_printf(&buf, "%s %s %s", i ? "," : "",
                   c_name(l, f->params.at[i]->name),
                   shape_comment(l, &f->params.at[i]->type));
    for (int i = 0; i < f->results.count; i++)
        buf_printf(&buf, "%s %s %s", i ? "," : " ->",
                   c_name(l, f->results.at[i]->name),
                   shape_comment(l, &f->results.at[i]->type));
    if (f->gradients.count)
        buf_printf(&buf, "; sums gradients");
    if (f->record_floats)
        buf_printf(&buf, "; a record of %lld floats a row",
                   (long long)f->record_floats);
    buf_printf(&buf, ".");
    const char *text = arena_strndup(l->arena, buf.text, buf.length);
    buf_free(&buf);
    return text;
}

void lower_func(Lower *l, const Func *f)
{
    FuncCode code = { .func = f, .stack = f->stack };
    Calls c = { .l = l, .p = l->p, .f = f, .code = &code };
    c.pointers = arena_alloc(l->arena,
                             (size_t)f->values.count * sizeof *c.pointers);
    c.func = code.code = prog_func(l->p, c_name(l, f->name), func_comment(l, f),
                                   prog_void());
    find_uses(&c);
    params(&c);
    name_places(&c);
    for (int i = 0; i < f->kernels.count; i++) {
        const Kernel *k = &f->kernels.at[i];
        if (k->kind == KERNEL_VIEW)
            continue;
        guard(&c, k);
        if (k->kind == KERNEL_LIBRARY)
            call_library(&c, k);
        else
            call_generated(&c, i);
    }
    put_barrier(&c);
    map_memory(&c);
    l->p->here = (Loc){0};
    prog_define(l->p, c.func);
    list_push(l->arena, &l->funcs, code);
}
