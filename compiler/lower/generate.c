/* generate.c: what generated kernels are made of (see generate.h): their
 * parameters, where a row begins, and the expression of every pointwise op. */
#include "generate.h"

/* ---- the function ---- */
bool inside(const Generate *g, const Value *v)
{
    return v->node && v->node->kernel == g->kernel;
}

/* Over all elements of a tensor, of whatever size: the optimizer's update. */
static bool is_flat(const Generate *g)
{
    return g->width && g->l->m->dims.at[g->width].kind != DIM_MODEL;
}

/* The row space of the kernel, from its widest node. */
static void find_space(Generate *g)
{
    int rank = 0;
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        for (int j = -1; j < n->inputs; j++) {
            const Value *v = j < 0 ? n->out[0] : n->in[j];
            if (n->op == OP_gather && j >= 0)
                continue;
            if (j < 0 && n->op == OP_colsum)
                continue;
            const Type *t = &v->type;
            if (t->rank > rank)
                rank = t->rank;
            if (t->rank == 4 && t->dims[2])
                g->inner = t->dims[2];
            if (t->rank && t->dims[t->rank - 1] && t->dtype == DT_F32)
                g->width = t->dims[t->rank - 1];
        }
    }
    if (rank < 4)
        g->inner = 0;
    g->ragged = g->width && g->l->m->dims.at[g->width].kind == DIM_MODEL
             && g->l->m->dims.at[g->width].size % 16 != 0;
}

/* A value's name without what the function's begins with: of head, "dhead_norm"
 * is "dnorm", unless another kernel is called that. */
static const char *without_root(const Lower *l, const Func *f, const char *own)
{
    size_t gradient = own[0] == 'd', length = strlen(f->root);
    if (strncmp(own + gradient, f->root, length) != 0
        || own[gradient + length] != '_')
        return own;
    const char *rest = own + gradient + length + 1;
    if (gradient)
        rest = arena_printf(l->arena, "d%s", rest);
    bool taken = !strcmp(rest, "rows");
    for (int i = 0; i < f->kernels.count; i++)
        taken |= !strcmp(c_name(l, f->kernels.at[i].name), rest);
    return taken ? own : rest;
}

/* Up to how many outputs a kernel is named after. */
enum { MOST_NAMED = 3 };

typedef struct Outputs { const char *names[MOST_NAMED]; int count; } Outputs;

/* The names of what it leaves in memory; more than MOST_NAMED: how many. */
static Outputs outputs_of(const Kernel *k)
{
    Outputs outputs = {0};
    for (int i = 0; i < k->nodes.count; i++) {
        const Value *v = k->nodes.at[i]->out[0];
        if (!v->in_memory)
            continue;
        if (outputs.count < MOST_NAMED)
            outputs.names[outputs.count] = v->name;
        outputs.count++;
    }
    return outputs;
}

/* How long a beginning two names have in common, in whole parts, dots
 * included. */
static size_t common_parts(const char *a, const char *b)
{
    size_t common = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.')
            common = i + 1;
    return common;
}

/* Is one, such as norm1, all but the end of the other, norm1.mean? */
static bool is_part_of(const char *whole, const char *part)
{
    size_t length = strlen(whole);
    return !strncmp(part, whole, length) && (!part[length]
                                             || part[length] == '.');
}

/* Of two outputs both, what they have in common once: "norm2.norm1",
 * "d.norm1.bias.weight"; of three, q, k and v's, that differ in one part:
 * "d.attn.v.k.q.bias". Otherwise the one that the kernel is called after. */
static const char *joined_name(const Lower *l, const Kernel *k)
{
    const Outputs o = outputs_of(k);
    if (o.count < 2 || o.count > MOST_NAMED)
        return k->name;
    size_t same = common_parts(o.names[0], o.names[1]);
    const char *a = o.names[0], *b = o.names[1] + same;
    if (is_part_of(a, o.names[1]) || is_part_of(o.names[1], a))
        return k->name;
    if (o.count == 2) {
        bool gradient = !same && !strncmp(b, "d.", 2);
        return arena_printf(l->arena, "%s.%s%s", a, gradient ? "d" : "",
                            gradient ? b + 2 : b);
    }
    const char *c = o.names[2] + same, *dot = strchr(a + same, '.');
    bool one_part = common_parts(a, o.names[2]) == same && dot
        && strchr(b, '.') && strchr(c, '.') && !strcmp(dot, strchr(b, '.'))
        && !strcmp(dot, strchr(c, '.'));
    if (!one_part)
        return k->name;
    return arena_printf(l->arena, "%.*s.%.*s.%s", (int)(dot - a), a,
                        (int)strcspn(b, "."), b, c);
}

/* "embed" in encoder_embed. */
static bool ends_root(const Func *f, const char *own)
{
    size_t root = strlen(f->root), length = strlen(own);
    return root > length && f->root[root - length - 1] == '_'
        && !strcmp(f->root + root - length, own);
}

static const char *kernel_name(const Lower *l, const Func *f, const Kernel *k)
{
    const char *rest = f->name + strlen(f->root);
    if (f->kernels.count == 1 && !*rest)        /* the update is its kernel */
        return f->name;
    bool all = !strcmp(k->name, f->root) || ends_root(f, k->name);
    const char *own =
        all ? "rows" : without_root(l, f, c_name(l, joined_name(l, k)));
    return c_name(l, arena_printf(l->arena, "%s.%s%s", f->root, own, rest));
}

/* The node that the kernel is named after. */
static const Node *named_node(const Kernel *k)
{
    for (int i = 0; i < k->nodes.count; i++)
        if (!strcmp(k->nodes.at[i]->out[0]->name, k->name))
            return k->nodes.at[i];
    return k->nodes.at[k->nodes.count - 1];
}

static const char *kernel_comment(const Lower *l, const Func *f,
                                  const Kernel *k)
{
    Buf buf = {0};
    int outputs = 0;
    for (int i = 0; i < k->nodes.count; i++) {
        const Value *v = k->nodes.at[i]->out[0];
        if (!v->in_memory)
            continue;
        buf_printf(&buf, "%s%s %s", outputs++ ? ", " : "", c_name(l, v->name),
                   shape_comment(l, &v->type));
    }
    buf_printf(&buf, " of %s.", f->name);
    const char *at = where(l, &named_node(k)->origin);
    if (*at)
        buf_printf(&buf, "  %s", at);
    const char *text = arena_strndup(l->arena, buf.text, buf.length);
    buf_free(&buf);
    return text;
}

Generate generate_begin(Lower *l, const Func *f, int kernel, KernelCode *code)
{
    size_t values = (size_t)f->values.count;
    Generate g = {
        .l = l,
        .p = l->p,
        .f = f,
        .kernel = kernel,
        .k = &f->kernels.at[kernel],
        .code = code,
        .pointers = arena_alloc(l->arena, values * sizeof(ProgVar *)),
        .row_pointers = arena_alloc(l->arena, values * sizeof(ProgVar *)),
        .locals = arena_alloc(l->arena, values * sizeof(ProgVar *)),
        .rates = arena_alloc(l->arena, values * sizeof(ProgVar *)),
        .sites = arena_alloc(l->arena, values * sizeof(ProgVar *)),
    };
    find_space(&g);
    g.func = prog_func(l->p, kernel_name(l, f, g.k), kernel_comment(l, f, g.k),
                       prog_void());
    code->func = g.func;
    return g;
}

/* ---- names ---- */
/* Whether another value of the kernel would go by the same last part. */
static bool is_ambiguous(const Generate *g, const Value *v)
{
    const char *stem = name_stem(g->l, v->name),
               *last = last_part(g->l, v->name);
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        for (int j = -1; j < n->inputs; j++) {
            const char *other = j < 0 ? n->out[0]->name : n->in[j]->name;
            if (!strcmp(last, last_part(g->l, other))
                && strcmp(stem, name_stem(g->l, other)) != 0)
                return true;
        }
    }
    return false;
}

static const char *short_name(const Generate *g, const Value *v)
{
    return is_ambiguous(g, v) ? c_name(g->l, name_stem(g->l, v->name))
                              : last_part(g->l, v->name);
}

static bool is_param(const Generate *g, const char *name)
{
    for (int i = 0; i < g->func->params.count; i++)
        if (!strcmp(g->func->params.at[i]->name, name))
            return true;
    return false;
}

/* targets -> target, losses -> loss: what one row has of them. */
static const char *singular(const Generate *g, const char *name)
{
    size_t length = strlen(name);
    if (length < 4 || name[length - 1] != 's' || name[length - 2] == 's')
        return name;
    size_t ending = !strcmp(name + length - 4, "sses") ? 2 : 1;
    return arena_strndup(g->l->arena, name, length - ending);
}

ProgVar *local_of(Generate *g, const Value *v, ProgType type)
{
    const char *name = short_name(g, v);
    bool lanes = type.kind == PK_F32X16;
    if (!lanes && (v->type.dtype == DT_I32 || is_param(g, name)))
        name = singular(g, name);
    const char *which = lanes ? (is_flat(g) ? "i" : "c")
                              : inside(g, v) ? "each" : "r";
    if (is_param(g, name))
        name = arena_printf(g->l->arena, "%s_%s", name, which);
    return prog_local(g->p, g->func, name, type);
}

/* ---- parameters ---- */
static ProgVar *add_arg(Generate *g, ArgKind kind, Value *v, const char *name,
                        ProgType type)
{
    KernelArg arg = { .kind = kind, .value = v };
    list_push(g->l->arena, &g->code->args, arg);
    return prog_param(g->p, g->func, c_name(g->l, name), type);
}

static bool wants_call(const Generate *g)
{
    for (int i = 0; i < g->k->nodes.count; i++)
        if (g->k->nodes.at[i]->op == OP_dropout
            || g->k->nodes.at[i]->op == OP_positions
            || g->k->nodes.at[i]->op == OP_own_ids)
            return true;
    return false;
}

/* A flat kernel's results go where its parameters p, first, second lie. */
static Value *flat_target(const Generate *g, const Value *v)
{
    static const char *const names[] = { "p", "first", "second" };
    for (int i = 0; is_flat(g) && i < g->f->results.count; i++)
        for (int j = 0; g->f->results.at[i] == v && j < g->f->params.count; j++)
            if (!strcmp(g->f->params.at[j]->name, names[i]))
                return g->f->params.at[j];
    return NULL;
}

/* The update reads its scalars itself, but for what differs by tensor and
 * step. */
static bool reads_control(const Generate *g, const Value *v)
{
    return is_flat(g) && strcmp(v->name, "decay") != 0
        && strcmp(v->name, "clip_scale") != 0;
}

/* A chain of products lies where it began: d.x, not d.x.2, its second part. */
static const char *memory_name(const Value *v)
{
    while (v->node && v->node->op == OP_matmul_input && v->node->inputs == 3)
        v = v->node->in[2];
    return v->name;
}

static void add_value(Generate *g, Value *v, bool output)
{
    Value *root = value_root(v), *target = flat_target(g, v);
    if (g->pointers[v->number])
        return;
    if (target) {
        add_value(g, target, true);
        g->pointers[v->number] = g->pointers[target->number];
        return;
    }
    if (root != v && inside(g, v) && g->k->kind == KERNEL_COLUMN) {
        /* a sum lies in its accumulator */
        if (!g->pointers[root->number])
            g->pointers[root->number] = add_arg(g, ARG_VALUE, root, root->name,
                                                value_pointer(root, false));
        g->pointers[v->number] = g->pointers[root->number];
        return;
    }
    if (v->kind == VALUE_SCALAR && reads_control(g, v))
        return;
    if (v->kind == VALUE_SCALAR)
        g->pointers[v->number] = add_arg(g, ARG_SCALAR, v, v->name, prog_f32());
    else
        g->pointers[v->number] = add_arg(g, ARG_VALUE, v, memory_name(v),
                                         value_pointer(v, !output));
}

void generate_params(Generate *g)
{
    g->me = add_arg(g, ARG_THREAD, NULL, "me",
                    prog_pointer_to(prog_runtime_record(g->p, "Thread"), true));
    if (wants_call(g))
        g->at = add_arg(g, ARG_CALL, NULL, "at",
                        prog_pointer_to(g->l->call, true));
    if (is_flat(g)) {
        g->control = add_arg(
            g, ARG_CONTROL, NULL, "control",
            prog_pointer_to(prog_runtime_record(g->p, "Control"), true));
        for (int i = 0; i < g->f->params.count; i++)
            add_value(g, g->f->params.at[i],
                      strcmp(g->f->params.at[i]->name, "g") != 0);
    }
    for (int i = 0; i < g->k->nodes.count; i++)
        for (int j = 0; j < g->k->nodes.at[i]->results; j++)
            if (g->k->nodes.at[i]->out[j]->in_memory)
                add_value(g, g->k->nodes.at[i]->out[j], true);
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++)
            if (!inside(g, n->in[j]) && !(n->op == OP_colsum && j == 1))
                add_value(g, n->in[j], false);
    }
    g->rows = add_arg(g, ARG_ROWS, NULL, is_flat(g) ? "n" : "rows", prog_i64());
    if (g->k->kind == KERNEL_COLUMN)
        g->accumulate = add_arg(g, ARG_BEGIN, NULL, "accumulate", prog_i32());
}

/* ---- rows ---- */
ProgExpr *call1(Generate *g, const char *name, ProgExpr *a)
{
    return px_callv(g->p, prog_library(g->p, name), a, NULL);
}

ProgExpr *call2(Generate *g, const char *name, ProgExpr *a, ProgExpr *b)
{
    return px_callv(g->p, prog_library(g->p, name), a, b, NULL);
}

ProgExpr *row_index(Generate *g, const Value *v)
{
    /* one row a token where the kernel has one a head: rotary's tables */
    const Type *t = &v->type;
    bool per_token = g->inner && (t->rank < 4 || t->dims[2] == 0);
    return per_token ? g->token : g->row;
}

void point_at_row(Generate *g, ProgBlock *b, Value *v)
{
    if (g->row_pointers[v->number] || v->kind == VALUE_SCALAR
        || type_is_row_value(&v->type) || v->kind == VALUE_WEIGHT
        || !v->in_memory)
        return;
    const char *name = arena_printf(g->l->arena, "%s_r", short_name(g, v));
    ProgVar *from = g->pointers[v->number];
    ProgVar *row = prog_local(g->p, g->func, name, from->type);
    ProgExpr *start = px_mul(g->p, row_index(g, v), width_of(g->l, &v->type));
    ps_let(g->p, b, row, px_offset(g->p, px_var(g->p, from), start));
    g->row_pointers[v->number] = row;
}

/* Where this row of v begins; a weight has one row. */
static ProgExpr *row_start(Generate *g, const Value *v)
{
    const ProgVar *row = g->row_pointers[v->number];
    return px_var(g->p, row ? row : g->pointers[v->number]);
}

/* A variable that holds `value`, for all further uses of v. */
static ProgExpr *keep_in_local(Generate *g, ProgBlock *b, const Value *v,
                               ProgExpr *value)
{
    ProgVar *local = local_of(g, v, value->type);
    ps_let(g->p, b, local, value);
    g->locals[v->number] = local;
    return px_var(g->p, local);
}

/* x[row][id], 0 where id < 0 */
static ProgExpr *pick_expression(Generate *g, ProgBlock *b, const Node *n)
{
    point_at_row(g, b, n->in[0]);
    ProgExpr *id = row_value(g, b, n->in[1]);
    ProgExpr *inside_row = px_le(g->p, px_i32(g->p, 0), id);
    ProgExpr *x = px_load(g->p, row_start(g, n->in[0]), id);
    return px_select(g->p, inside_row, x, px_f32(g->p, 0));
}

static ProgExpr *position_expression(Generate *g)
{
    ProgExpr *at = px_var(g->p, g->at);
    ProgExpr *t = px_rem(g->p, g->token, px_field(g->p, at, "sequence"));
    if (g->l->m->mesh.context > 1)
        return px_cast(g->p, prog_i32(),
                       px_callv(g->p, chunk_position_func(g->l), at, t, NULL));
    return px_cast(g->p, prog_i32(),
                   px_add(g->p, px_field(g->p, at, "position"), t));
}

ProgExpr *row_value(Generate *g, ProgBlock *b, Value *v)
{
    if (v->kind == VALUE_SCALAR)
        return px_var(g->p, g->pointers[v->number]);
    if (g->locals[v->number])
        return px_var(g->p, g->locals[v->number]);
    ProgExpr *value;
    Node *n = v->node;
    if (!inside(g, v))
        value = px_load(g->p, px_var(g->p, g->pointers[v->number]),
                        row_index(g, v));
    else if (n->op == OP_pick)
        value = pick_expression(g, b, n);
    else if (n->op == OP_positions)
        value = position_expression(g);
    else
        value = point_expression(g, b, n, false);
    return keep_in_local(g, b, v, value);
}

/* ---- lanes ---- */
ProgExpr *load_lanes(Generate *g, ProgExpr *pointer)
{
    ProgExpr *c = px_var(g->p, g->column);
    ProgExpr *from = px_offset(g->p, pointer, c);
    if (!g->ragged)
        return call1(g, "load16", from);
    return call2(g, "load_tail", from,
                 px_sub(g->p, dim_size(g->l, g->width), c));
}

void store_lanes(Generate *g, ProgBlock *b, ProgExpr *pointer, ProgExpr *value)
{
    ProgExpr *c = px_var(g->p, g->column);
    ProgExpr *to = px_offset(g->p, pointer, c);
    if (value->type.kind == PK_F32)
        value = call1(g, "splat", value);
    if (!g->ragged) {
        ps_do(g->p, b, call2(g, "store16", to, value));
        return;
    }
    ProgExpr *rest = px_sub(g->p, dim_size(g->l, g->width), c);
    ps_do(g->p, b,
          px_callv(g->p, prog_library(g->p, "store_tail"), to, value, rest,
                   NULL));
}

ProgExpr *keep_lanes(Generate *g, ProgExpr *fresh, ProgExpr *old)
{
    if (!g->ragged)
        return fresh;
    ProgExpr *rest = px_sub(g->p, dim_size(g->l, g->width),
                            px_var(g->p, g->column));
    return px_callv(g->p, prog_library(g->p, "keep"), rest, fresh, old, NULL);
}

void forget_lanes(Generate *g)
{
    for (int i = 0; i < g->f->values.count; i++)
        if (g->locals[i] && g->locals[i]->type.kind == PK_F32X16)
            g->locals[i] = NULL;
}

/* Uses of v in this pass: one is written where it stands, more get a name. */
static int uses_now(const Generate *g, const Value *v)
{
    int uses = 0;
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        bool now = g->k->kind != KERNEL_ROW
            || kernel_computes(g->f, g->kernel, n, g->phase);
        for (int j = 0; now && j < n->inputs; j++)
            uses += n->in[j] == v;
    }
    return uses + (inside(g, v) && v->in_memory && v->node->phase == g->phase);
}

/* Half a row away: the other half of the pair, with its sign. */
static ProgExpr *turned_lanes(Generate *g, const Node *n)
{
    ProgExpr *c = px_var(g->p, g->column),
             *half = px_div(g->p, dim_size(g->l, g->width), px_int(g->p, 2));
    const char *name = n->op == OP_rotate ? "rotate16" : "unrotate16";
    return px_callv(g->p, prog_library(g->p, name), row_start(g, n->in[0]), c,
                    half, NULL);
}

/* The row of a table that an id names; of a rank's own rows 0 where it names
 * none. */
static ProgExpr *gathered_lanes(Generate *g, ProgBlock *b, const Node *n)
{
    Prog *p = g->p;
    bool own = n->in[1]->node && n->in[1]->node->op == OP_own_ids;
    ProgExpr *id = row_value(g, b, n->in[1]);
    ProgExpr *held = px_le(p, px_i32(p, 0), id);
    if (own)
        id = px_select(p, held, id, px_i32(p, 0));
    ProgExpr *start = px_mul(p, px_cast(p, prog_i64(), id),
                             width_of(g->l, &n->out[0]->type));
    ProgExpr *row = load_lanes(
        g, px_offset(p, px_var(p, g->pointers[n->in[0]->number]), start));
    return own ? px_mul(p, row, px_select(p, held, px_f32(p, 1), px_f32(p, 0)))
               : row;
}

ProgExpr *lanes_of(Generate *g, ProgBlock *b, Value *v)
{
    if (v->kind == VALUE_SCALAR || type_is_row_value(&v->type))
        return row_value(g, b, v);
    if (g->locals[v->number])
        return px_var(g->p, g->locals[v->number]);
    Node *n = v->node;
    ProgExpr *value;
    bool again = inside(g, v)
        && (g->k->kind != KERNEL_ROW
            || kernel_computes(g->f, g->kernel, n, g->phase));
    if (!again)
        value = load_lanes(g, row_start(g, v));
    else if (n->op == OP_rotate || n->op == OP_unrotate)
        value = turned_lanes(g, n);
    else if (n->op == OP_gather)
        value = gathered_lanes(g, b, n);
    else
        value = point_expression(g, b, n, true);
    if (uses_now(g, v) < 2 || value->type.kind != PK_F32X16)
        return value;
    return keep_in_local(g, b, v, value);
}

/* ---- dropout ---- */
/* The rate, 0 outside training. */
static ProgVar *rate_local(Generate *g, ProgBlock *b, double rate)
{
    ProgExpr *control = px_field(g->p, px_var(g->p, g->at), "control");
    ProgVar *local = prog_local(g->p, g->func, "rate", prog_f32());
    ps_let(g->p, b, local, px_select(g->p, px_field(g->p, control, "dropout"),
                                     px_f32(g->p, rate), px_f32(g->p, 0)));
    return local;
}

/* The site, of this block where there are blocks. */
static ProgVar *site_local(Generate *g, ProgBlock *b, int site)
{
    ProgExpr *number = px_int(g->p, site);
    if (g->f->stack >= 0) {
        int64_t first = stack_first(g->l->m, g->f->stack);
        ProgExpr *block = px_field(g->p, px_var(g->p, g->at), "block");
        if (first)
            block = px_add(g->p, px_int(g->p, first), block);
        ProgExpr *before = px_mul(g->p, block,
                                  px_int(g->p, g->l->m->sites_per_block));
        number = px_add(g->p, px_int(g->p, 1 + site), before);
    }
    ProgVar *local = prog_local(g->p, g->func, "site", prog_u32());
    ps_let(g->p, b, local, px_cast(g->p, prog_u32(), number));
    return local;
}

/* Rate and site of every dropout in the kernel; those that are equal are
 * one. */
void dropout_begin(Generate *g, ProgBlock *b)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        if (n->op != OP_dropout)
            continue;
        ProgVar **rate = &g->rates[n->out[0]->number];
        ProgVar **site = &g->sites[n->out[0]->number];
        for (int j = 0; j < i; j++) {
            const Node *old = g->k->nodes.at[j];
            if (old->op == OP_dropout && old->attrs.rate == n->attrs.rate)
                *rate = g->rates[old->out[0]->number];
            if (old->op == OP_dropout && old->attrs.site == n->attrs.site)
                *site = g->sites[old->out[0]->number];
        }
        if (!*rate)
            *rate = rate_local(g, b, n->attrs.rate);
        if (!*site)
            *site = site_local(g, b, n->attrs.site);
    }
}

/* A row's number in the whole batch, where ranks share sequences: its sequence,
 * its position there. */
static ProgExpr *shared_row(Generate *g, int64_t shares)
{
    Prog *p = g->p;
    ProgExpr *at = px_var(p, g->at);
    ProgExpr *sequence = px_field(p, at, "sequence"), *tokens = sequence;
    if (shares > 1)
        tokens = px_div(p, sequence, px_int(p, shares));
    ProgExpr *whole = px_add(p, px_field(p, at, "first"),
                             px_div(p, g->row, tokens));
    ProgExpr *position = px_rem(p, g->row, tokens);
    if (shares > 1)
        position = px_add(p, px_mul(p, px_field(p, px_field(p, at, "control"),
                                                "slice"), tokens), position);
    if (g->l->m->mesh.context > 1) {
        position = px_callv(p, chunk_position_func(g->l), at, position, NULL);
        sequence = px_mul(p, sequence, px_int(p, g->l->m->mesh.context));
    }
    return px_add(p, px_mul(p, whole, sequence), position);
}

void dropout_row(Generate *g, ProgBlock *b)
{
    bool any = false;
    int64_t shares = 1;
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        if (n->op != OP_dropout)
            continue;
        any = true;
        if (type_rows_of(g->l->m, &n->out[0]->type) == ROWS_SHARE)
            shares = module_shares(g->l->m);
    }
    if (!any)
        return;
    ProgExpr *at = px_var(g->p, g->at);
    ProgExpr *first = px_mul(g->p, px_field(g->p, at, "first"),
                             px_field(g->p, at, "sequence"));
    ProgExpr *row = shares > 1 || g->l->m->mesh.context > 1
                      ? shared_row(g, shares)
                      : px_add(g->p, first, g->row);
    g->seed_row = prog_local(g->p, g->func, "global_row", prog_u32());
    ps_let(g->p, b, g->seed_row,
           px_cast(g->p, prog_u32(), row));
}

static ProgExpr *dropout_lanes(Generate *g, const Node *n, ProgExpr *x)
{
    int number = n->out[0]->number;
    ProgExpr *control = px_field(g->p, px_var(g->p, g->at), "control");
    ProgExpr *args[] = {
        px_field(g->p, control, "seed"),
        px_cast(g->p, prog_u32(), px_field(g->p, control, "step")),
        px_var(g->p, g->sites[number]),
        px_var(g->p, g->seed_row),
        px_cast(g->p, prog_u32(), px_var(g->p, g->column)),
        px_var(g->p, g->rates[number]),
    };
    return px_mul(g->p, x,
                  px_call(g->p, prog_library(g->p, "dropout16"), 6, args));
}

/* ---- pointwise ops ---- */
/* An id among the rows that this rank has of a table, or -1. */
static ProgExpr *own_id(Generate *g, const Node *n, ProgExpr *id)
{
    Prog *p = g->p;
    ProgExpr *control = px_field(p, px_var(p, g->at), "control");
    ProgExpr *rows = dim_size(g->l, n->attrs.dim);
    ProgExpr *first = px_mul(p, px_field(p, control, "slice"), rows);
    ProgExpr *own = px_sub(p, id, px_cast(p, prog_i32(), first));
    ProgExpr *held = px_and(p, px_le(p, px_i32(p, 0), own),
                            px_lt(p, own, px_cast(p, prog_i32(), rows)));
    return px_select(p, held, own, px_i32(p, -1));
}

static ProgExpr *onehot(Generate *g, ProgBlock *b, const Node *n)
{
    return call2(g, "onehot16", px_var(g->p, g->column),
                 row_value(g, b, n->in[0]));
}

static ProgExpr *infix(Generate *g, Op op, ProgExpr *a, ProgExpr *b)
{
    switch (op) {
    case OP_add: return px_add(g->p, a, b);
    case OP_sub: return px_sub(g->p, a, b);
    case OP_mul: return px_mul(g->p, a, b);
    case OP_div: return px_div(g->p, a, b);
    default: ice("%s is not infix", op_info[op].name);
    }
}

static ProgExpr *call_op(Generate *g, Op op, ProgExpr *a)
{
    bool lanes = a->type.kind == PK_F32X16;
    switch (op) {
    case OP_neg: return px_neg(g->p, a);
    case OP_square: return px_mul(g->p, a, a);
    case OP_recip: return px_div(g->p, px_f32(g->p, 1), a);
    default:
        return call1(g,
                     arena_printf(g->l->arena, lanes ? "%s16" : "%s_f32",
                                  op_info[op].name),
                     a);
    }
}

/* A square's operand is written twice: it wants a name. */
static ProgExpr *named(Generate *g, ProgBlock *b, Value *v, ProgExpr *value)
{
    if (value->kind == PE_VAR || g->locals[v->number])
        return value;
    return keep_in_local(g, b, v, value);
}

ProgExpr *point_expression(Generate *g, ProgBlock *b, const Node *n, bool lanes)
{
    ProgExpr *in[2] = { 0 };
    g->p->here = n->origin.model;
    if (n->op == OP_const)
        return px_f32(g->p, n->attrs.by);
    if (n->op == OP_onehot)
        return onehot(g, b, n);
    for (int i = 0; i < n->inputs; i++)
        in[i] = lanes ? lanes_of(g, b, n->in[i]) : row_value(g, b, n->in[i]);
    g->p->here = n->origin.model;
    if (n->op == OP_square)
        in[0] = named(g, b, n->in[0], in[0]);
    if (op_info[n->op].sign)
        return infix(g, n->op, in[0], in[1]);
    if (op_info[n->op].call)
        return call_op(g, n->op, in[0]);
    switch (n->op) {
    case OP_scale: return px_mul(g->p, in[0], px_f32(g->p, n->attrs.by));
    case OP_shift: return px_add(g->p, in[0], px_f32(g->p, n->attrs.by));
    case OP_scored:
        return px_select(g->p, px_le(g->p, px_i32(g->p, 0), in[0]),
                         px_f32(g->p, 1), px_f32(g->p, 0));
    case OP_first:
        return px_select(g->p, px_eq(g->p, in[0], px_i32(g->p, 0)),
                         px_f32(g->p, 1), px_f32(g->p, 0));
    case OP_own_ids: return own_id(g, n, in[0]);
    case OP_dropout: return dropout_lanes(g, n, in[0]);
    case OP_copy: case OP_expand: return in[0];
    default: ice("%s is not pointwise", op_info[n->op].name);
    }
}

/* ---- the kernels ---- */
KernelCode lower_kernel(Lower *l, const Func *f, int kernel)
{
    KernelCode code = {0};
    Generate g = generate_begin(l, f, kernel, &code);
    generate_params(&g);
    if (g.k->kind == KERNEL_COLUMN)
        generate_columns(&g);
    else if (is_flat(&g))
        generate_flat(&g);
    else
        generate_rows(&g);
    /* another variant of the function may have had the same kernel */
    const ProgFunc *same = prog_find_same(l->p, code.func);
    if (same)
        code.func = same;
    else
        prog_define(l->p, g.func);
    return code;
}
