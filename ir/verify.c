/* verify.c: everything that must hold of a Module, at any stage. Run after
 * every pass and before a text is interpreted: what follows may rely on it.
 * Read module_verify at the end; the first thing that does not hold ends it,
 * with a text that names the function and the node. */
#include "verify.h"

bool check_fails(Check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_printf(c->why, "%s: ", c->where);
    buf_vprintf(c->why, format, args);
    va_end(args);
    return false;
}

const char *check_type(Check *c, const Type *type)
{
    Buf buf = {0};
    type_print(c->m, type, &buf);
    const char *text = arena_strdup(c->scratch, buf.text);
    buf_free(&buf);
    return text;
}

int type_rows(const Module *m, const Type *type)
{
    int count[DIM_KINDS] = {0};
    for (int i = 0; i < type->rank; i++)
        count[m->dims.at[type->dims[i]].kind]++;
    count[DIM_BATCH] += count[DIM_ROWS];
    count[DIM_SEQUENCE] += count[DIM_ROWS];
    return count[DIM_SHARE] * 64 + count[DIM_BATCH] * 8 + count[DIM_SEQUENCE];
}

/* ---- dims, types, weights ---- */
static bool verify_type(Check *c, const char *name, const Type *type)
{
    if (type->rank < 0 || type->rank > MAX_RANK)
        return check_fails(c, "%s has %d dims", name, type->rank);
    for (int i = 0; i < type->rank; i++)
        if (type->dims[i] < 0 || type->dims[i] >= c->m->dims.count)
            return check_fails(c, "%s has an unknown dim", name);
    return type_fits(c->m, type) || check_fails(c, "%s is too large", name);
}

static bool counts_blocks(const Module *m, const char *dim)
{
    for (int i = 0; i < m->stacks.count; i++)
        if (!strcmp(m->stacks.at[i].dim, dim))
            return true;
    return false;
}

static bool verify_dims(Check *c)
{
    const Module *m = c->m;
    int kinds[DIM_KINDS] = {0};
    for (int i = 0; i < m->dims.count; i++) {
        const Dim *d = &m->dims.at[i];
        if (module_find_dim(m, d->name) != i)
            return check_fails(c, "the dim %s is declared twice", d->name);
        if (d->kind == DIM_MODEL
            && d->size < (counts_blocks(m, d->name) ? 0 : 1))
            return check_fails(c, "the dim %s has size %lld", d->name,
                               (long long)d->size);
        if (++kinds[d->kind] > 1
            && (d->kind == DIM_BATCH || d->kind == DIM_SEQUENCE
                || d->kind == DIM_SHARE))
            return check_fails(c, "a second dim of the kind %s: %s",
                               dim_kind_words[d->kind], d->name);
    }
    return true;
}

/* Tables have the shapes that their formulas fill. */
static bool verify_init(Check *c, const Weight *w)
{
    bool flat = w->init.kind == INIT_ALIBI || w->init.kind == INIT_HELD;
    int rank = flat ? 1 : 2;
    bool table = w->init.kind >= INIT_SINUSOIDAL;
    if (w->derived && (w->constant || w->frozen || w->stack < 0))
        return check_fails(c, "%s: a derived weight is a block's, and trained",
                           w->name);
    if (w->constant != table)
        return check_fails(c, "%s: constant weights, and no others, are tables",
                           w->name);
    if (table && w->type.rank != rank)
        return check_fails(c, "%s: a %s table has rank %d", w->name,
                           init_words[w->init.kind], rank);
    return true;
}

static bool verify_weight(Check *c, int number)
{
    const Module *m = c->m;
    const Weight *w = &m->weights.at[number];
    if (!w->name || !*w->name || w->stack < -1 || w->stack >= m->stacks.count
        || module_find_weight(m, w->name, w->stack) != number)
        return check_fails(c, "the weight %s is declared twice",
                           w->name ? w->name : "");
    if (!verify_type(c, w->name, &w->type))
        return false;
    if (w->type.dtype != DT_F32 || w->type.rank < 1
        || type_has_rows(m, &w->type))
        return check_fails(c, "the weight %s is %s", w->name,
                           check_type(c, &w->type));
    int blocks =
        w->stack < 0 ? -1 : module_find_dim(m, m->stacks.at[w->stack].dim);
    if (w->stack >= 0 && (blocks < 0 || m->dims.at[blocks].kind != DIM_MODEL))
        return check_fails(c, "%s is a block's, and the dim %s is missing",
                           w->name, m->stacks.at[w->stack].dim);
    if (w->file_type.rank
        && (!verify_type(c, w->name, &w->file_type)
            || type_has_rows(m, &w->file_type)
            || (!w->whole_file
                && type_elements(m, &w->file_type)
                    != type_elements(m, &w->type))))
        return check_fails(c, "%s: its shape in files has another size",
                           w->name);
    if (w->whole_file
        && (w->slice != SLICE_ROWS || w->stack >= 0
            || w->file_type.rank != w->type.rank
            || type_elements(m, &w->file_type)
                < type_elements(m, &w->type)))
        return check_fails(c, "%s: a whole shape is of all ranks' rows",
                           w->name);
    if (w->frozen_blocks) {
        size_t length = strlen(w->frozen_blocks);
        if (w->stack < 0 || (int64_t)length != m->dims.at[blocks].size
            || strspn(w->frozen_blocks, "f-") != length)
            return check_fails(c, "%s: frozen_blocks has f or - for each block",
                               w->name);
    }
    return verify_init(c, w);
}

/* ---- a function's values ---- */
static bool owns(const Func *f, const Value *v)
{
    return v && v->number >= 0 && v->number < f->values.count
        && f->values.at[v->number] == v;
}

static bool known_scalar(const char *name)
{
    for (int i = 0; step_scalars[i]; i++)
        if (!strcmp(step_scalars[i], name))
            return true;
    return false;
}

static bool verify_weight_use(Check *c, const Func *f, const Value *v)
{
    if (v->weight < 0 || v->weight >= c->m->weights.count)
        return check_fails(c, "%s is of no weight", v->name);
    const Weight *w = &c->m->weights.at[v->weight];
    if (w->stack >= 0 && w->stack != f->stack)
        return check_fails(c, "%s is a block's, and the function is not",
                           w->name);
    if (!type_equal(&v->type, &w->type))
        return check_fails(c, "%s has another type than its weight", v->name);
    if (v->kind == VALUE_GRADIENT && (w->constant || w->frozen))
        return check_fails(c, "%s: a %s weight has no gradient", w->name,
                           w->constant ? "constant" : "frozen");
    return true;
}

static bool verify_value(Check *c, const Func *f, int number)
{
    const Value *v = f->values.at[number];
    if (!v->name || !*v->name || v->number != number)
        return check_fails(c, "value %d has number %d or no name", number,
                           v->number);
    if (!verify_type(c, v->name, &v->type))
        return false;
    if (v->alias && !owns(f, v->alias))
        return check_fails(
            c, "%s shares memory with a value of another function", v->name);
    for (int i = 0; i < number; i++)
        if (!strcmp(f->values.at[i]->name, v->name)
            && (v->kind == VALUE_SCALAR)
                   == (f->values.at[i]->kind == VALUE_SCALAR))
            return check_fails(c, "two values are called %s", v->name);
    switch (v->kind) {
    case VALUE_WEIGHT: case VALUE_GRADIENT:
        return verify_weight_use(c, f, v);
    case VALUE_SCALAR:
        if (!known_scalar(v->name) || v->type.rank || v->type.dtype != DT_F32)
            return check_fails(c, "%s is no step scalar", v->name);
        return true;
    case VALUE_NODE:
        if (!v->node || v->result < 0 || v->result >= v->node->results
            || v->node->out[v->result] != v)
            return check_fails(c, "%s is of no node", v->name);
        return true;
    case VALUE_PARAM: case VALUE_SAVED:
        return true;
    }
    return false;
}

/* ---- nodes, in order ---- */
static const char *node_name(const Node *node)
{
    return node->results && node->out[0] && node->out[0]->name
             ? node->out[0]->name
             : "a node";
}

static bool verify_node(Check *c, const Func *f, const Node *node,
                        const bool *defined)
{
    char why[256];
    Type types[MAX_RESULTS];
    if (node->op >= OP_COUNT || node->results != op_info[node->op].results)
        return check_fails(c, "%s: wrong number of results", node_name(node));
    const char *op = op_info[node->op].name, *name = node_name(node);
    for (int i = 0; i < node->inputs && i < MAX_INPUTS; i++) {
        if (!owns(f, node->in[i]))
            return check_fails(
                c, "%s = %s: operand %d is no value of the function", name, op,
                i + 1);
        if (!defined[node->in[i]->number])
            return check_fails(c, "%s = %s: %s is used before it is defined",
                               name, op, node->in[i]->name);
    }
    for (int i = 0; i < node->results; i++)
        if (!owns(f, node->out[i]) || node->out[i]->node != node
            || node->out[i]->result != i)
            return check_fails(c, "%s = %s: result %d is not its own", name, op,
                               i + 1);
    if (!node_well_formed(c->m, node, why, sizeof why)
        || !op_types(c->m, node, &node->out[0]->type, types, why, sizeof why))
        return check_fails(c, "%s = %s: %s", name, op, why);
    for (int i = 0; i < node->results; i++)
        if (!type_equal(&types[i], &node->out[i]->type))
            return check_fails(c, "%s = %s: its type is %s, not %s",
                               node->out[i]->name, op, check_type(c, &types[i]),
                               check_type(c, &node->out[i]->type));
    if (node->op == OP_reshape
        && type_rows(c->m, &node->in[0]->type) != type_rows(c->m, &types[0]))
        return check_fails(c, "%s = reshape: the rows differ", name);
    return true;
}

static bool verify_nodes(Check *c, const Func *f, bool *defined)
{
    for (int i = 0; i < f->values.count; i++)
        defined[i] = f->values.at[i]->kind == VALUE_WEIGHT
                  || f->values.at[i]->kind == VALUE_SCALAR;
    for (int i = 0; i < f->params.count; i++) {
        if (!owns(f, f->params.at[i]) || f->params.at[i]->kind != VALUE_PARAM)
            return check_fails(c, "parameter %d is none", i + 1);
        defined[f->params.at[i]->number] = true;
    }
    for (int i = 0; i < f->saved.count; i++)
        if (owns(f, f->saved.at[i]) && f->saved.at[i]->kind == VALUE_SAVED)
            defined[f->saved.at[i]->number] = true;
    for (int i = 0; func_is_weight_half(f) && i < f->pending.count; i++)
        if (owns(f, f->pending.at[i]) && f->pending.at[i]->kind == VALUE_SAVED)
            defined[f->pending.at[i]->number] = true;
    for (int i = 0; i < f->gradients.count; i++)
        if (owns(f, f->gradients.at[i].begin))
            defined[f->gradients.at[i].begin->number] = true;
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *node = f->nodes.at[i];
        if (!verify_node(c, f, node, defined))
            return false;
        for (int j = 0; j < node->results; j++) {
            if (defined[node->out[j]->number])
                return check_fails(c, "%s is defined twice",
                                   node->out[j]->name);
            defined[node->out[j]->number] = true;
        }
    }
    return true;
}

/* ---- what a function takes and leaves ---- */
static bool verify_gradient(Check *c, const Func *f, int number,
                            const bool *defined)
{
    const Gradient *g = &f->gradients.at[number];
    const Value *begin = g->begin, *end = g->end;
    if (!owns(f, begin) || begin->kind != VALUE_GRADIENT
        || begin->weight != g->weight || begin->site != g->site || g->site < 0
        || g->site >= MOST_SITES)
        return check_fails(c, "gradient %d does not begin with its accumulator",
                           number + 1);
    if (!owns(f, end) || !defined[end->number]
        || !type_equal(&begin->type, &end->type))
        return check_fails(c, "%s does not end in a value of its type",
                           begin->name);
    for (int i = 0; i < number; i++)
        if (f->gradients.at[i].weight == g->weight
            && f->gradients.at[i].site == g->site)
            return check_fails(c, "%s is a second gradient of its weight",
                               begin->name);
    return true;
}

static const Value *saved_by_name(const Func *f, const char *name)
{
    for (int i = 0; i < f->saved.count; i++)
        if (!strcmp(f->saved.at[i]->name, name))
            return f->saved.at[i];
    return NULL;
}

/* What is read was written by every function that writes the record, same type.
 */
static bool verify_loaded(Check *c, const Func *f, const Value *v)
{
    bool written = false;
    for (int i = 0; i < c->m->funcs.count; i++) {
        const Func *g = c->m->funcs.at[i];
        bool writes = g->record && !strcmp(g->record, f->record)
                   && g->saved.count && g->saved.at[0]->kind != VALUE_SAVED;
        if (!writes)
            continue;
        const Value *from = saved_by_name(g, v->name);
        if (!from)
            return check_fails(c, "%s does not save %s", g->name, v->name);
        if (!type_equal(&from->type, &v->type))
            return check_fails(c, "%s is %s, but %s saves %s", v->name,
                               check_type(c, &v->type), g->name,
                               check_type(c, &from->type));
        written = true;
    }
    return written
        || check_fails(c, "nothing writes %s to the record %s", v->name,
                       f->record);
}

static bool verify_record(Check *c, const Func *f, const bool *defined)
{
    if (f->saved.count && !f->record)
        return check_fails(c, "saved values need a record");
    for (int i = 0; i < f->saved.count; i++) {
        const Value *v = f->saved.at[i];
        if (!owns(f, v) || !defined[v->number])
            return check_fails(c, "saved value %d is not defined", i + 1);
        if (saved_by_name(f, v->name) != v)
            return check_fails(c, "%s is saved twice", v->name);
        if ((v->kind == VALUE_SAVED) != (f->saved.at[0]->kind == VALUE_SAVED))
            return check_fails(c, "a function saves or loads, not both");
        if (v->kind == VALUE_SAVED && !verify_loaded(c, f, v))
            return false;
    }
    return true;
}

static const Value *pending_by_name(const Func *f, const char *name)
{
    for (int i = 0; i < f->pending.count; i++)
        if (!strcmp(f->pending.at[i]->name, name))
            return f->pending.at[i];
    return NULL;
}

/* A weight half takes what the input half of its record leaves. */
static bool verify_taken(Check *c, const Func *f, const Value *v)
{
    for (int i = 0; i < c->m->funcs.count; i++) {
        const Func *g = c->m->funcs.at[i];
        const Value *from = pending_by_name(g, v->name);
        if (!g->record || strcmp(g->record, f->record) != 0
            || func_is_weight_half(g) || !from)
            continue;
        return type_equal(&from->type, &v->type)
            || check_fails(c, "%s is %s, but %s leaves %s", v->name,
                           check_type(c, &v->type), g->name,
                           check_type(c, &from->type));
    }
    return check_fails(c, "nothing leaves %s", v->name);
}

static bool verify_pending(Check *c, const Func *f, const bool *defined)
{
    bool takes = func_is_weight_half(f);
    if (f->pending.count && !f->record)
        return check_fails(c, "pending values need a record");
    for (int i = 0; i < f->pending.count; i++) {
        const Value *v = f->pending.at[i];
        if (!owns(f, v) || !defined[v->number])
            return check_fails(c, "pending value %d is not defined", i + 1);
        if (pending_by_name(f, v->name) != v)
            return check_fails(c, "%s is left twice", v->name);
        if ((v->kind == VALUE_SAVED) != takes)
            return check_fails(c, "a function takes or leaves, not both");
        if (takes && !verify_taken(c, f, v))
            return false;
    }
    return true;
}

static bool verify_func(Check *c, const Func *f)
{
    c->where = arena_printf(c->scratch, "func %s", f->name);
    if (module_find_func(c->m, f->name) != f)
        return check_fails(c, "defined twice");
    if (!f->root || !*f->root)
        return check_fails(c, "no root");
    if (f->stack < -1 || f->stack >= c->m->stacks.count)
        return check_fails(c, "of no stack");
    for (int i = 0; i < f->values.count; i++)
        if (!verify_value(c, f, i))
            return false;
    bool *defined = arena_alloc(c->scratch, (size_t)f->values.count + 1);
    if (!verify_nodes(c, f, defined))
        return false;
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind == VALUE_SAVED && !defined[i])
            return check_fails(c, "%s is read from no record",
                               f->values.at[i]->name);
    for (int i = 0; i < f->results.count; i++)
        if (!owns(f, f->results.at[i]) || !defined[f->results.at[i]->number])
            return check_fails(c, "result %d is not defined", i + 1);
    for (int i = 0; i < f->gradients.count; i++)
        if (!verify_gradient(c, f, i, defined))
            return false;
    return verify_record(c, f, defined) && verify_pending(c, f, defined)
        && verify_kernels(c, f)
        && verify_places(c, f);
}

static bool verify_all(Check *c)
{
    const Module *m = c->m;
    c->where = arena_printf(c->scratch, "module %s", m->name);
    if (m->sites_per_block < 0)
        return check_fails(c, "sites_per_block is %d", m->sites_per_block);
    if (m->mesh.data < 1 || m->mesh.stages < 1 || m->mesh.tensor < 1
        || m->mesh.context < 1)
        return check_fails(c, "a mesh of %lld by %lld ranks",
                           (long long)m->mesh.data, (long long)m->mesh.stages);
    if (m->mesh.shard_group && m->mesh.data % m->mesh.shard_group)
        return check_fails(c, "shard groups of %lld of %lld replicas",
                           (long long)m->mesh.shard_group,
                           (long long)m->mesh.data);
    if (!verify_dims(c))
        return false;
    for (int i = 0; i < m->weights.count; i++)
        if (!verify_weight(c, i))
            return false;
    for (int i = 0; i < m->funcs.count; i++)
        if (!verify_func(c, m->funcs.at[i]))
            return false;
    for (int i = 0; i < m->steps.count; i++)
        if (!verify_step(c, m->steps.at[i]))
            return false;
    return !m->placed
        || (verify_mesh(c) && module_placements_hold(m, c->why));
}

bool module_verify(const Module *m, Buf *why)
{
    Check c = { .m = m, .scratch = arena_new(), .why = why };
    bool fine = verify_all(&c);
    arena_free(c.scratch);
    return fine;
}
