/* calls.c: a function of the module becomes a list of kernel calls. Pointers to
 * what lies in its frame and record come first: the memory map. A barrier
 * stands only where a kernel touches memory that another thread may have
 * touched since the last. */
#include "lowering.h"

/* How a kernel cuts its work among threads. Two kernels that share tokens alike
 * touch the same rows in the same thread. */
typedef enum Share { SHARE_TOKENS, SHARE_OTHERWISE } Share;

typedef struct Access { const Value *root; bool write; Share share; } Access;

typedef struct Calls {
    Lower *l;
    Prog *p;
    const Func *f;
    FuncCode *code;
    ProgFunc *func;
    ProgVar *me, *at, *saved, *frame, *cache;
    ProgVar *block, *shared, *block_sums, *shared_sums;
    ProgVar **pointers;         /* by value: parameters, and the memory map's */
    List(Access) since;         /* since the last barrier */
} Calls;

FuncCode *find_code(Lower *l, const Func *f)
{
    for (int i = 0; i < l->funcs.count; i++)
        if (l->funcs.at[i].func == f)
            return &l->funcs.at[i];
    ice("%s has not been lowered", f->name);
}

/* ---- parameters ---- */
static void find_uses(Calls *c)
{
    const Func *f = c->f;
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        const Weight *w = v->weight >= 0 ? &c->l->m->weights.at[v->weight]
                                         : NULL;
        c->code->uses_block |= v->kind == VALUE_WEIGHT && w->per_block;
        c->code->uses_shared |= v->kind == VALUE_WEIGHT && !w->per_block;
        c->code->sums_block |= v->kind == VALUE_GRADIENT && w->per_block;
        c->code->sums_shared |= v->kind == VALUE_GRADIENT && !w->per_block;
        c->code->uses_frame |= v->area == AREA_FRAME;
        c->code->uses_saved |= v->area == AREA_RECORD;
        c->code->uses_cache |= v->node && v->node->op == OP_cache;
    }
}

static ProgVar *add_param(Calls *c, const char *name, ProgType type)
{
    return prog_param(c->p, c->func, name, type);
}

static void result_params(Calls *c)
{
    for (int i = 0; i < c->f->results.count; i++) {
        Value *root = value_root(c->f->results.at[i]);
        if (root->kind == VALUE_PARAM)  /* a sum goes on where it began */
            continue;
        c->pointers[root->number] = add_param(c, c_name(c->l, root->name),
                                               value_pointer(root, false));
    }
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
        bool sum = v->type.dtype == DT_F64;
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
    if (c->code->uses_frame)
        c->frame = add_param(c, "frame", prog_pointer(PK_F32, false));
    if (c->code->uses_cache)
        c->cache = add_param(c, "cache", prog_pointer(PK_F32, false));
    if (c->code->uses_shared)
        c->shared = add_param(c, "shared", prog_pointer_to(c->l->shared, true));
    if (c->code->uses_block)
        c->block = add_param(c, "w", prog_pointer_to(c->l->block, true));
    if (c->code->sums_shared)
        c->shared_sums = add_param(c, "dshared",
                                   prog_pointer_to(c->l->shared, true));
    if (c->code->sums_block)
        c->block_sums = add_param(c, "dw", prog_pointer_to(c->l->block, true));
}

/* ---- the memory map: a pointer a value in frame or record ---- */
static void map_area(Calls *c, ProgVar *base, bool frame, const char *comment)
{
    Prog *p = c->p;
    bool opened = false;
    for (int i = 0; i < c->f->values.count; i++) {
        Value *v = c->f->values.at[i];
        if (v->area != (frame ? AREA_FRAME : AREA_RECORD)
            || c->pointers[v->number])
            continue;
        if (!opened)
            ps_comment(p, &c->func->body, comment);
        opened = true;
        ProgExpr *offset = px_mul(p, px_field(p, px_var(p, c->at), "stride"),
                                  px_int(p, v->offset));
        ProgExpr *from = px_var(p, base);
        if (v->offset)
            from = px_offset(p, from, offset);
        ProgType type = value_pointer(v, false);
        if (v->type.dtype != DT_F32)
            from = px_cast(p, type, from);
        ProgVar *local = prog_local(p, c->func, c_name(c->l, v->name), type);
        p->here = v->origin.model;
        ps_let(p, &c->func->body, local, from);
        c->pointers[v->number] = local;
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

static void map_memory(Calls *c)
{
    map_area(c, c->saved, false, record_comment(c->f));
    map_area(c, c->frame, true,
             "the frame: values of this call, which share its memory in turn");
    if (c->saved || c->frame)
        ps_comment(c->p, &c->func->body,
                   "the work; a barrier stands where threads meet");
}

/* Where a value lies. */
static ProgExpr *pointer_to(Calls *c, Value *v)
{
    Value *root = value_root(v);
    const Weight *w = root->weight >= 0 ? &c->l->m->weights.at[root->weight]
                                        : NULL;
    const ProgVar *sums = w && w->per_block ? c->block_sums : c->shared_sums;
    if (root->kind == VALUE_WEIGHT)
        return px_field(c->p, px_var(c->p, w->per_block ? c->block : c->shared),
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
    int64_t a_end = a->offset + type_row_elements(c->l->m, &a->type);
    int64_t b_end = b->offset + type_row_elements(c->l->m, &b->type);
    return a->offset < b_end && b->offset < a_end;
}

/* Rows of the same size from the same place: a thread's rows are the same
 * memory. */
static bool same_rows(const Calls *c, const Value *a, const Value *b)
{
    return a == b
        || (a->offset == b->offset
            && type_row_elements(c->l->m, &a->type)
                == type_row_elements(c->l->m, &b->type));
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
static ProgExpr *at_field(Calls *c, const char *name)
{
    return px_field(c->p, px_var(c->p, c->at), name);
}

static ProgExpr *scalar_of(Calls *c, const Value *v)
{
    if (!strcmp(v->name, "inv_count"))
        return at_field(c, "inv_count");
    return px_field(c->p, at_field(c, "control"), v->name);
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
        case ARG_ROWS: e = at_field(c, "rows"); break;
        case ARG_BEGIN: e = at_field(c, "accumulate"); break;
        }
        list_push(c->l->arena, &args, e);
    }
    ps_do(c->p, &c->func->body, px_call(c->p, code.func, args.count, args.at));
}

static void call_matmul(Calls *c, const Kernel *k)
{
    Prog *p = c->p;
    const Node *n = k->nodes.at[0];
    const Value *out = k->nodes.at[k->nodes.count - 1]->out[0];
    bool weight = n->op == OP_matmul_weight;
    /* of the weight [N, K]: w, or what its gradient sums up to */
    const Type *w = weight ? &n->in[2]->type : &n->in[1]->type;
    ProgExpr *args[9] = {
        px_var(p, c->me), pointer_to(c, (Value *)out), pointer_to(c, n->in[0]),
        pointer_to(c, n->in[1]),
    };
    int count = 4;
    if (n->op == OP_matmul)
        args[count++] = k->nodes.count > 1
            ? pointer_to(c, k->nodes.at[1]->in[1])
            : px_null(p, prog_pointer(PK_F32, true));
    args[count++] = at_field(c, "rows");
    args[count++] = dim_size(c->l, w->dims[1]);
    args[count++] = dim_size(c->l, w->dims[0]);
    if (n->op == OP_matmul_input)
        args[count++] = px_i32(p, n->inputs == 3);
    if (weight)
        args[count++] = at_field(c, "accumulate");
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, op_info[n->op].name), count, args));
}

static void set(Calls *c, ProgVar *record, const char *field, ProgExpr *value)
{
    ps_field_set(c->p, &c->func->body, px_var(c->p, record), field, value);
}

static void set_dropout(Calls *c, ProgVar *a, const Node *n)
{
    Prog *p = c->p;
    if (n->attrs.rate == 0)
        return;
    ProgExpr *control = at_field(c, "control");
    set(c, a, "rate",
        px_select(p, px_field(p, control, "dropout"), px_f32(p, n->attrs.rate),
                  px_f32(p, 0)));
    ProgExpr *site = px_add(p, px_int(p, 1 + n->attrs.site),
                            px_mul(p, at_field(c, "block"),
                                   px_int(p, c->l->m->sites_per_block)));
    set(c, a, "site", px_cast(p, prog_u32(), site));
    set(c, a, "step", px_cast(p, prog_u32(), px_field(p, control, "step")));
    set(c, a, "seed", px_field(p, control, "seed"));
    set(c, a, "sequence", at_field(c, "first"));
}

/* How many keys there are, and the rows that they lie in. */
static void set_keys(Calls *c, ProgVar *a, const Node *n)
{
    ProgExpr *sequence = at_field(c, "sequence");
    if (!n->attrs.cached) {
        set(c, a, "keys", sequence);
        set(c, a, "key_rows", sequence);
        return;
    }
    set(c, a, "keys", px_add(c->p, at_field(c, "position"), sequence));
    set(c, a, "key_rows", dim_size(c->l, n->in[1]->type.dims[1]));
    set(c, a, "pos", at_field(c, "position"));
}

/* An Attention filled in for a node; fields that are 0 are left out. */
static ProgVar *attention_record(Calls *c, const Node *n)
{
    Prog *p = c->p;
    const Attrs *at = &n->attrs;
    const Module *m = c->l->m;
    bool weights = n->op == OP_attention_weights;
    int lengths = weights ? 2 : 3;
    int alibi = weights ? 3 : n->op == OP_attention ? 4 : 6;
    const ProgRecord *attention = prog_runtime_record(p, "Attention");
    ProgVar *a = prog_local(p, c->func, weights ? "weights" : "a",
                            prog_record_type(attention));
    ps_let(p, &c->func->body, a, NULL);
    set(c, a, "q", pointer_to(c, n->in[0]));
    set(c, a, "k", pointer_to(c, n->in[1]));
    if (!weights)
        set(c, a, "v", pointer_to(c, n->in[2]));
    set(c, a, "lengths", pointer_to(c, n->in[lengths]));
    if (n->inputs > alibi)
        set(c, a, "alibi", pointer_to(c, n->in[alibi]));
    set(c, a, "batch", at_field(c, "batch"));
    set(c, a, "queries", at_field(c, "sequence"));
    set_keys(c, a, n);
    int heads = module_find_dim(m, "H"), kv = module_find_dim(m, "G");
    set(c, a, "heads", dim_size(c->l, heads));
    set(c, a, "kv_heads", dim_size(c->l, kv < 0 ? heads : kv));
    set(c, a, "head_dim", dim_size(c->l, module_find_dim(m, "D")));
    if (at->window)
        set(c, a, "window", px_int(p, at->window));
    if (at->causal)
        set(c, a, "causal", px_i32(p, 1));
    set(c, a, "scale", px_f32(p, at->scale));
    set_dropout(c, a, n);
    return a;
}

static void call_attention(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgVar *a = attention_record(c, n);
    ProgExpr *args[3] = { px_var(p, c->me), px_address(p, px_var(p, a)) };
    if (n->op == OP_attention_weights) {
        args[2] = pointer_to(c, n->out[0]);
        ps_do(p, &c->func->body,
              px_call(p, prog_library(p, "attention_weights"), 3, args));
        return;
    }
    bool back = n->op == OP_attention_backward;
    if (back) {
        /* forward's results, which the kernel only reads */
        set(c, a, "stats", pointer_to(c, n->in[4]));
        set(c, a, "dout", pointer_to(c, n->in[5]));
        set(c, a, "dq", pointer_to(c, n->out[0]));
        set(c, a, "dk", pointer_to(c, n->out[1]));
        set(c, a, "dv", pointer_to(c, n->out[2]));
    } else {
        set(c, a, "out", pointer_to(c, n->out[0]));
        set(c, a, "stats", pointer_to(c, n->out[1]));
    }
    const char *name = back ? "attention_backward" : "attention_forward";
    ps_do(p, &c->func->body, px_call(p, prog_library(p, name), 2, args));
}

static void call_scatter(Calls *c, const Node *n)
{
    Prog *p = c->p;
    const Type *table = &n->out[0]->type;
    ProgExpr *args[] = {
        px_var(p, c->me), pointer_to(c, n->in[2]), pointer_to(c, n->in[0]),
        pointer_to(c, n->in[1]), at_field(c, "rows"),
        dim_size(c->l, table->dims[1]), dim_size(c->l, table->dims[0]),
        at_field(c, "accumulate"),
    };
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, "scatter_add"), 8, args));
}

static void call_chain(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *args[] = {
        px_var(p, c->me), pointer_to(c, n->in[1]), pointer_to(c, n->in[0]),
        at_field(c, "rows"), at_field(c, "accumulate"),
    };
    ps_do(p, &c->func->body, px_call(p, prog_library(p, "chain_f64"), 5, args));
}

/* The cache of this block and slot, into which the rows of x go. */
static void call_cache(Calls *c, const Node *n)
{
    Prog *p = c->p;
    Value *out = n->out[0];
    ProgExpr *slot = px_mul(p, dim_size(c->l, out->type.dims[1]),
                            width_of(c->l, &out->type));
    ProgVar *local = prog_local(p, c->func, out->name,
                                prog_pointer(PK_F32, false));
    ProgExpr *from = px_var(p, c->cache);
    if (n->attrs.slot)
        from = px_offset(p, from, px_mul(p, slot, px_int(p, n->attrs.slot)));
    ps_let(p, &c->func->body, local, from);
    c->pointers[out->number] = local;
    ProgExpr *args[] = {
        px_var(p, c->me), px_var(p, local), pointer_to(c, n->in[0]),
        at_field(c, "position"), at_field(c, "rows"),
        width_of(c->l, &out->type),
    };
    ps_do(p, &c->func->body, px_call(p, prog_library(p, "keep_rows"), 6, args));
}

static void call_library(Calls *c, const Kernel *k)
{
    const Node *n = k->nodes.at[0];
    c->p->here = n->origin.model;
    switch (op_info[n->op].class) {
    case CLASS_MATMUL: call_matmul(c, k); return;
    case CLASS_ATTENTION: call_attention(c, n); return;
    case CLASS_COLUMN: call_chain(c, n); return;
    case CLASS_INDEX:
        if (n->op == OP_cache)
            call_cache(c, n);
        else
            call_scatter(c, n);
        return;
    case CLASS_POINT: case CLASS_ROW: case CLASS_VIEW: break;
    }
    ice("%s is no library kernel", op_info[n->op].name);
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
    FuncCode code = { .func = f };
    Calls c = { .l = l, .p = l->p, .f = f, .code = &code };
    c.pointers = arena_alloc(l->arena,
                             (size_t)f->values.count * sizeof *c.pointers);
    c.func = code.code = prog_func(l->p, c_name(l, f->name), func_comment(l, f),
                                   prog_void());
    find_uses(&c);
    params(&c);
    map_memory(&c);
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
    l->p->here = (Loc){0};
    prog_define(l->p, c.func);
    list_push(l->arena, &l->funcs, code);
}
