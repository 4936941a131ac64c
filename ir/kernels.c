/* kernels.c: what follows from the kernels of a fused function. A row kernel
 * goes over its row in passes: a reduction ends a pass, and what depends on its
 * value comes in the next. A value of an earlier pass is computed again, or
 * read back where it lies in memory; costly ones and those that are read at
 * another place of the row (rotate) are put there for that. */
#include "ir.h"

Value *value_root(Value *v)
{
    while (v->node) {
        const Node *n = v->node;
        if (op_info[n->op].class == CLASS_VIEW)
            v = n->in[0];
        else if (n->op == OP_colsum || n->op == OP_chain)
            v = n->in[1];
        else if (n->op == OP_matmul_weight || n->op == OP_scatter_add
                 || n->op == OP_grouped_bias)
            v = n->in[2];
        else if (n->op == OP_matmul_input && n->inputs == 3)
            v = n->in[2];
        else if (n->op == OP_grouped_weight || n->op == OP_preference
                 || (n->op == OP_grouped_input && n->inputs == 4))
            v = n->in[3];
        else if (n->op == OP_relative_backward && v->result == 4)
            v = n->in[n->inputs - 1];
        else
            break;
    }
    return v;
}

bool node_is_reduction(const Node *n)
{
    return n->op == OP_sum || n->op == OP_mean || n->op == OP_rowmax;
}

bool type_is_row_value(const Type *type)
{
    /* ids are one a row, whatever their axes */
    return type->dtype == DT_I32 || type->rank == 0
        || type->dims[type->rank - 1] == 0;
}

static bool is_inside(const Value *v, int kernel)
{
    return v->node && v->node->kernel == kernel;
}

static bool turns(const Node *n)
{
    return n->op == OP_rotate || n->op == OP_unrotate;
}

static int phase_of(const Node *n, int kernel)
{
    int phase = 0;
    for (int i = 0; i < n->inputs; i++) {
        if (!is_inside(n->in[i], kernel))
            continue;
        const Node *in = n->in[i]->node;
        int after = in->phase + (node_is_reduction(in) || turns(n));
        phase = after > phase ? after : phase;
    }
    return phase;
}

bool value_escapes(const Func *f, const Value *v)
{
    int inside = 0;
    const Kernel *k = &f->kernels.at[v->node->kernel];
    for (int i = 0; i < k->nodes.count; i++)
        for (int j = 0; j < k->nodes.at[i]->inputs; j++)
            inside += k->nodes.at[i]->in[j] == v;
    return node_uses(f, v) > inside;
}

/* Costly to compute in each of several passes. */
static bool is_costly(const Node *n)
{
    return op_info[n->op].costly || n->op == OP_dropout;
}

/* Inside its kernel: must it lie in memory between passes? */
static bool crosses(const Func *f, const Value *v)
{
    const Kernel *k = &f->kernels.at[v->node->kernel];
    if (k->kind != KERNEL_ROW || type_is_row_value(&v->type))
        return false;
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *n = k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++)
            if (n->in[j] == v
                && (turns(n)
                    || (is_costly(v->node) && n->phase > v->node->phase)))
                return true;
    }
    return false;
}

void func_derive(const Module *m, Func *f)
{
    (void)m;
    for (int i = 0; i < f->kernels.count; i++)
        for (int j = 0; j < f->kernels.at[i].nodes.count; j++) {
            Node *n = f->kernels.at[i].nodes.at[j];
            n->phase = f->kernels.at[i].kind == KERNEL_ROW ? phase_of(n, i) : 0;
        }
    for (int i = 0; i < f->values.count; i++) {
        Value *v = f->values.at[i];
        v->in_memory = v->kind != VALUE_SCALAR;
        if (v->kind != VALUE_NODE)
            continue;
        KernelKind kind = f->kernels.at[v->node->kernel].kind;
        v->in_memory = kind == KERNEL_VIEW || value_escapes(f, v)
            || crosses(f, v);
        if (kind == KERNEL_LIBRARY && v->node->results > 1)
            v->in_memory = true;
    }
}

int kernel_phases(const Kernel *k)
{
    int most = 0;
    for (int i = 0; i < k->nodes.count; i++)
        most = k->nodes.at[i]->phase > most ? k->nodes.at[i]->phase : most;
    return most + 1;
}

/* A pass makes the reductions and the stores that are its own, and what those
 * need. */
static bool is_root(const Node *n, int phase)
{
    return n->phase == phase && (node_is_reduction(n) || n->out[0]->in_memory)
        && (node_is_reduction(n) || !type_is_row_value(&n->out[0]->type));
}

bool kernel_computes(const Func *f, int kernel, const Node *n, int phase)
{
    if (n->phase > phase || (n->phase < phase && n->out[0]->in_memory))
        return false;
    if (is_root(n, phase))
        return true;
    if (type_is_row_value(&n->out[0]->type))
        return false;
    const Kernel *k = &f->kernels.at[kernel];
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *user = k->nodes.at[i];
        for (int j = 0; j < user->inputs; j++)
            if (user->in[j] == n->out[0]
                && kernel_computes(f, kernel, user, phase))
                return true;
    }
    return false;
}

bool kernel_reads(const Func *f, int kernel, const Value *v, int phase)
{
    const Kernel *k = &f->kernels.at[kernel];
    for (int i = 0; i < k->nodes.count; i++) {
        const Node *n = k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++)
            if (n->in[j] == v && kernel_computes(f, kernel, n, phase))
                return true;
    }
    return false;
}
