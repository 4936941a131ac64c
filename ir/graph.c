/* graph.c: making modules, functions, values and nodes (see ir.h). Everything
 * that appends to a function goes through here, so names are unique, results
 * have derived types, and a weight or scalar has one value a function. */
#include "ir.h"

const OpInfo op_info[OP_COUNT] = {
#define INFIX(op, text) \
    [OP_##op] = { .name = #op, .class = CLASS_POINT, .inputs = 2, \
                  .results = 1, .attributes = "", .sign = #text },
#define CALL(op, cost, f64) \
    [OP_##op] = { .name = #op, .class = CLASS_POINT, .inputs = 1, \
                  .results = 1, .attributes = "", .call = true, \
                  .costly = cost },
#define OP(op, least, more, count, kind, names) \
    [OP_##op] = { .name = #op, .class = CLASS_##kind, .inputs = least, \
                  .optional = more, .results = count, .attributes = names },
#include "ops.def"
#undef INFIX
#undef CALL
#undef OP
};

const char *const step_scalars[] = {
    "inv_count", "inv_labels",  "smoothing",   "sharpness",
    "lr",        "beta1",       "beta2",       "rest1",
    "rest2",     "correction1", "correction2", "epsilon",
    "decay",     "momentum",    "clip_scale",  NULL,
};

const char *const given_names[] = {
    "tokens", "targets", "lengths", "source", "source_lengths", "types",
    "labels", "edges", "images", "nodes", "reference", NULL,
};

const char *const step_totals[] = {
    [TOTAL_LOSS] = "loss", [TOTAL_LABEL_LOSS] = "label_loss",
    [TOTAL_CORRECT] = "correct", [TOTAL_LABEL_CORRECT] = "label_correct",
    NULL,
};

int step_total(const char *name)
{
    for (int i = 0; i < STEP_TOTALS; i++)
        if (!strcmp(name, step_totals[i]))
            return i;
    return -1;
}

static int dim_of_kind(const Module *m, DimKind kind)
{
    for (int i = 0; i < m->dims.count; i++)
        if (m->dims.at[i].kind == kind)
            return i;
    return -1;
}

bool given_type(const Module *m, const char *name, Type *type)
{
    int B = dim_of_kind(m, DIM_BATCH), T = dim_of_kind(m, DIM_SEQUENCE);
    int image = module_find_dim(m, "image");
    int features = module_find_dim(m, "features");
    if (B < 0 || T < 0)
        return false;
    if (!strcmp(name, "tokens") || !strcmp(name, "targets")
        || !strcmp(name, "source") || !strcmp(name, "types"))
        *type = type_of(DT_I32, 2, (int[]){ B, T });
    else if (!strcmp(name, "lengths") || !strcmp(name, "source_lengths"))
        *type = type_of(DT_I32, 1, &B);
    else if (!strcmp(name, "labels"))
        *type = type_of(DT_I32, 2, (int[]){ B, 0 });
    else if (!strcmp(name, "edges"))
        *type = type_of(DT_I32, 3, (int[]){ B, T, T });
    else if (!strcmp(name, "reference"))
        *type = type_of(DT_F32, 2, (int[]){ B, 0 });
    else if (!strcmp(name, "images") && image >= 0)
        *type = type_of(DT_F32, 2, (int[]){ B, image });
    else if (!strcmp(name, "nodes") && features >= 0)
        *type = type_of(DT_F32, 3, (int[]){ B, T, features });
    else
        return false;
    return true;
}

/* ---- modules ---- */
int64_t stack_blocks(const Module *m, int stack)
{
    int dim = stack < m->stacks.count
        ? module_find_dim(m, m->stacks.at[stack].dim) : -1;
    return dim < 0 || m->dims.at[dim].kind != DIM_MODEL ? 0
                                                        : m->dims.at[dim].size;
}

int64_t stack_first(const Module *m, int stack)
{
    int64_t first = 0;
    for (int i = 0; i < stack; i++)
        first += stack_blocks(m, i);
    return first;
}

Module *module_new(Arena *arena, const Diag *diag, const char *name)
{
    Module *m = arena_alloc(arena, sizeof *m);
    m->arena = arena;
    m->diag = diag;
    m->name = arena_strdup(arena, name);
    m->mesh.data = m->mesh.stages = m->mesh.tensor = m->mesh.context = 1;
    m->mesh.experts = 1;
    m->mesh.bucket = INT64_MAX;
    Dim one = { .name = "1", .doc = "one", .kind = DIM_MODEL, .size = 1 };
    list_push(arena, &m->dims, one);
    list_push(arena, &m->stacks, ((Stack){ .prefix = "", .dim = "L" }));
    return m;
}

int module_find_dim(const Module *m, const char *name)
{
    for (int i = 0; i < m->dims.count; i++)
        if (!strcmp(m->dims.at[i].name, name))
            return i;
    return -1;
}

int module_dim(Module *m, const char *name, DimKind kind, int64_t size)
{
    int found = module_find_dim(m, name);
    if (found >= 0)
        return found;
    Dim dim = { .name = arena_strdup(m->arena, name),
                .kind = kind,
                .size = size };
    list_push(m->arena, &m->dims, dim);
    return m->dims.count - 1;
}

int module_find_weight(const Module *m, const char *name, int stack)
{
    for (int i = 0; i < m->weights.count; i++)
        if (m->weights.at[i].stack == stack
            && !strcmp(m->weights.at[i].name, name))
            return i;
    return -1;
}

Func *module_find_func(const Module *m, const char *name)
{
    for (int i = 0; i < m->funcs.count; i++)
        if (!strcmp(m->funcs.at[i]->name, name))
            return m->funcs.at[i];
    return NULL;
}

const char *const shard_names[] = { "none", "optimizer", "gradients",
                                    "parameters", NULL };

int64_t mesh_shards(const Mesh *mesh)
{
    int64_t ranks = mesh->shard_group ? mesh->shard_group : mesh->data;
    return mesh->shard == SHARD_NONE ? 1 : ranks * mesh->context;
}

int64_t mesh_copies(const Mesh *mesh)
{
    return mesh->data * mesh->context / mesh_shards(mesh);
}

int64_t mesh_expert_shards(const Mesh *mesh)
{
    int64_t ranks = mesh_shards(mesh) / mesh->context;
    if (mesh->shard == SHARD_NONE)
        return 1;
    return (ranks % mesh->experts ? 1 : ranks / mesh->experts)
        * mesh->context;
}

int64_t mesh_expert_copies(const Mesh *mesh)
{
    return mesh->data * mesh->context / mesh->experts
        / mesh_expert_shards(mesh);
}

int64_t step_replicas(const Module *m, const Step *step)
{
    for (int i = 0; i < step->body.count; i++)
        if (step->body.at[i]->kind == STEP_GROUPS)
            return m->mesh.data;
    return 1;
}

Step *module_find_step(const Module *m, const char *name)
{
    for (int i = 0; i < m->steps.count; i++)
        if (!strcmp(m->steps.at[i]->name, name))
            return m->steps.at[i];
    return NULL;
}

void module_drop_step(Module *m, const char *name)
{
    int kept = 0;
    for (int i = 0; i < m->steps.count; i++)
        if (strcmp(m->steps.at[i]->name, name))
            m->steps.at[kept++] = m->steps.at[i];
    m->steps.count = kept;
}

static bool calls(const Stmt *const *statements, int count, const Func *f)
{
    for (int i = 0; i < count; i++)
        if (statements[i]->func == f
            || calls((const Stmt *const *)statements[i]->body.at,
                     statements[i]->body.count, f))
            return true;
    return false;
}

void module_drop_uncalled(Module *m)
{
    int kept = 0;
    for (int i = 0; i < m->funcs.count; i++) {
        bool called = false;
        for (int j = 0; j < m->steps.count; j++)
            called |= calls((const Stmt *const *)m->steps.at[j]->body.at,
                            m->steps.at[j]->body.count, m->funcs.at[i]);
        if (called)
            m->funcs.at[kept++] = m->funcs.at[i];
    }
    m->funcs.count = kept;
}

/* ---- functions ---- */
Func *func_new(Module *m, const char *name, const char *root, int stack)
{
    Func *f = arena_alloc(m->arena, sizeof *f);
    f->name = arena_strdup(m->arena, name);
    f->root = arena_strdup(m->arena, root);
    f->stack = stack;
    list_push(m->arena, &m->funcs, f);
    return f;
}

static bool name_taken(const Func *f, const char *name)
{
    for (int i = 0; i < f->values.count; i++)
        if (!strcmp(f->values.at[i]->name, name))
            return true;
    return false;
}

Value *func_value(Module *m, Func *f, ValueKind kind, const char *name,
                  Type type)
{
    const char *own = name;
    for (int i = 2; name_taken(f, own); i++)
        own = arena_printf(m->arena, "%s.%d", name, i);
    Value *v = arena_alloc(m->arena, sizeof *v);
    *v = (Value){ .name = arena_strdup(m->arena, own), .kind = kind,
                  .type = type, .number = f->values.count, .weight = -1,
                  .offset = -1 };
    list_push(m->arena, &f->values, v);
    return v;
}

Value *func_param(Module *m, Func *f, const char *name, Type type)
{
    Value *v = func_value(m, f, VALUE_PARAM, name, type);
    list_push(m->arena, &f->params, v);
    return v;
}

Value *func_weight(Module *m, Func *f, int weight)
{
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind == VALUE_WEIGHT
            && f->values.at[i]->weight == weight)
            return f->values.at[i];
    const Weight *w = &m->weights.at[weight];
    Value *v = func_value(m, f, VALUE_WEIGHT, w->name, w->type);
    v->weight = weight;
    v->origin = w->origin;
    return v;
}

Value *func_scalar(Module *m, Func *f, const char *name)
{
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind == VALUE_SCALAR
            && !strcmp(f->values.at[i]->name, name))
            return f->values.at[i];
    return func_value(m, f, VALUE_SCALAR, name, type_of(DT_F32, 0, NULL));
}

Node *func_node(Module *m, Func *f, Op op, const char *name, int inputs,
                Value *const *in, const Attrs *attrs, const Type *type,
                Origin origin)
{
    Node *node = arena_alloc(m->arena, sizeof *node);
    node->op = op;
    node->inputs = inputs;
    node->results = op_info[op].results;
    node->kernel = -1;
    node->origin = origin;
    if (attrs)
        node->attrs = *attrs;
    for (int i = 0; i < inputs; i++)
        node->in[i] = in[i];
    Type types[MAX_RESULTS];
    char why[256];
    if (!op_types(m, node, type, types, why, sizeof why))
        ice("%s: %s = %s: %s", f->name, name, op_info[op].name, why);
    static const char *const suffix[OP_COUNT][MAX_RESULTS] = {
        [OP_attention] = { "", ".stats", "" },
        [OP_attention_backward] = { ".q", ".k", ".v" },
        [OP_relative_backward] = { ".q", ".k", ".v", ".q2", ".table" },
        [OP_dispatch] = { ".starts", ".order", ".place" },
    };
    for (int i = 0; i < node->results; i++) {
        const char *end = suffix[op][i] ? suffix[op][i] : "";
        node->out[i] = func_value(m, f, VALUE_NODE,
                                  arena_printf(m->arena, "%s%s", name, end),
                                  types[i]);
        node->out[i]->node = node;
        node->out[i]->result = i;
        node->out[i]->origin = origin;
    }
    if (m->placed)
        node_place(m, node);
    list_push(m->arena, &f->nodes, node);
    return node;
}

bool func_is_weight_half(const Func *f)
{
    return f->pending.count && f->pending.at[0]->kind == VALUE_SAVED;
}

/* Does a loop over blocks, which one with their weight halves follows, sum
 * gradients? */
static bool sums_early(const Stmt *loop, const Stmt *next)
{
    return loop->kind == STEP_REPEAT && loop->down
        && next->kind == STEP_REPEAT && next->down && next->stack == loop->stack
        && loop->body.at[0]->func->gradients.count;
}

int64_t step_whole_groups(const Step *step)
{
    for (int i = 0; i < step->body.count; i++) {
        const Stmt *groups = step->body.at[i];
        if (groups->kind != STEP_GROUPS)
            continue;
        const Stmt *micros = groups->body.at[0];
        for (int j = 0; j + 1 < micros->body.count; j++)
            if (sums_early(micros->body.at[j], micros->body.at[j + 1]))
                return micros->count;
    }
    return 0;
}

int node_uses(const Func *f, const Value *v)
{
    int uses = 0;
    for (int i = 0; i < f->nodes.count; i++)
        for (int j = 0; j < f->nodes.at[i]->inputs; j++)
            uses += f->nodes.at[i]->in[j] == v;
    for (int i = 0; i < f->results.count; i++)
        uses += f->results.at[i] == v;
    for (int i = 0; i < f->saved.count; i++)
        uses += f->saved.at[i] == v;
    for (int i = 0; i < f->pending.count; i++)
        uses += f->pending.at[i] == v;
    for (int i = 0; i < f->gradients.count; i++)
        uses += f->gradients.at[i].end == v;
    return uses;
}

void func_replace_uses(Func *f, Value *old, Value *by)
{
    for (int i = 0; i < f->nodes.count; i++)
        for (int j = 0; j < f->nodes.at[i]->inputs; j++)
            if (f->nodes.at[i]->in[j] == old)
                f->nodes.at[i]->in[j] = by;
    for (int i = 0; i < f->results.count; i++)
        if (f->results.at[i] == old)
            f->results.at[i] = by;
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i] == old)
            f->saved.at[i] = by;
    for (int i = 0; i < f->pending.count; i++)
        if (f->pending.at[i] == old)
            f->pending.at[i] = by;
    for (int i = 0; i < f->gradients.count; i++)
        if (f->gradients.at[i].end == old)
            f->gradients.at[i].end = by;
}

bool attrs_equal(const Attrs *a, const Attrs *b)
{
    return a->by == b->by && a->rate == b->rate && a->scale == b->scale
        && a->heads == b->heads && a->kv_heads == b->kv_heads
        && a->window == b->window && a->site == b->site && a->slot == b->slot
        && a->dim == b->dim && a->causal == b->causal && a->cached == b->cached
        && a->cross == b->cross && a->alibi == b->alibi && a->edges == b->edges
        && a->relative == b->relative && a->count == b->count
        && a->numerator == b->numerator && a->denominator == b->denominator
        && a->channels == b->channels && a->size == b->size
        && a->patch == b->patch && a->skip == b->skip && a->pool == b->pool
        && a->width == b->width && a->partial == b->partial
        && a->axis == b->axis && a->from.how == b->from.how
        && a->from.dim == b->from.dim && a->to.how == b->to.how
        && a->to.dim == b->to.dim;
}

/* Whether v still belongs: made by a node that is listed, read from the record,
 * or a weight or scalar that something reads. */
static bool is_live(const Func *f, const Value *v)
{
    switch (v->kind) {
    case VALUE_PARAM: case VALUE_GRADIENT:
        return true;
    case VALUE_WEIGHT: case VALUE_SCALAR:
        return node_uses(f, v) > 0;
    case VALUE_SAVED:
        for (int i = 0; i < f->saved.count; i++)
            if (f->saved.at[i] == v)
                return true;
        for (int i = 0; i < f->pending.count; i++)
            if (f->pending.at[i] == v)
                return true;
        return false;
    case VALUE_NODE:
        for (int i = 0; i < f->nodes.count; i++)
            if (f->nodes.at[i] == v->node)
                return true;
        return false;
    }
    return false;
}

void func_drop_values(Func *f)
{
    int kept = 0;
    for (int i = 0; i < f->values.count; i++) {
        Value *v = f->values.at[i];
        if (!is_live(f, v))
            continue;
        v->number = kept;
        f->values.at[kept++] = v;
    }
    f->values.count = kept;
}

int64_t module_shares(const Module *m)
{
    int share = dim_of_kind(m, DIM_SHARE);
    return share < 0 ? 1 : m->dims.at[share].size;
}

int64_t type_row_floats(const Module *m, const Type *type)
{
    int64_t floats = type_row_elements(m, type);
    int64_t shares = module_shares(m);
    if (type->dtype == DT_F64)
        floats *= 2;
    if (type_rows_of(m, type) == ROWS_SHARE)
        return (floats + shares - 1) / shares;
    return type_has_rows(m, type) ? floats : (floats + 15) / 16;
}

int64_t value_row_floats(const Module *m, const Value *v)
{
    return type_row_floats(m, &v->type);
}

RowKind type_rows_of(const Module *m, const Type *type)
{
    RowKind rows = ROWS_NONE;
    for (int i = 0; i < type->rank; i++) {
        DimKind kind = m->dims.at[type->dims[i]].kind;
        if (kind == DIM_SEQUENCE || kind == DIM_ROWS)
            return ROWS_TOKENS;
        if (kind == DIM_SHARE)
            return ROWS_SHARE;
        if (kind == DIM_BATCH)
            rows = ROWS_SEQUENCES;
    }
    return rows;
}
