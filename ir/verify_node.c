/* verify_node.c: what must hold of a node by itself, beyond the shapes that
 * op_types derives: how many inputs, of which dtype and least rank, attributes in
 * range. The interpreter relies on it, and op_types on the ranks. */
#include "verify.h"
#include <math.h>

/* What an op takes, a letter an input, the optional ones too: f f32, d f64, i i32,
 * ? anything; a capital wants rank 1 or more. */
static const char *operands(Op op)
{
    switch (op) {
    case OP_scored: return "i";
    case OP_onehot: return "I";
    case OP_dropout: return "F";
    case OP_expand: case OP_reshape: return "?";
    case OP_pick: return "FI";
    case OP_colsum: return "FF";
    case OP_chain: return "Fd";
    case OP_matmul: return "FF";
    case OP_matmul_input: case OP_matmul_weight: return "FFF";
    case OP_attention: return "FFFIF";
    case OP_attention_backward: return "FFFIFFF";
    case OP_attention_weights: return "FFIF";
    case OP_gather: return "Fi";
    case OP_scatter_add: return "FIF";
    case OP_cache: return "F";
    case OP_const: case OP_positions: return "";
    default: return op_info[op].class == CLASS_ROW ? "F" : "ff";
    }
}

static bool wrong(char *why, size_t room, const char *text)
{
    snprintf(why, room, "%s", text);
    return false;
}

static bool operands_fit(const Node *node, char *why, size_t room)
{
    const char *wanted = operands(node->op);
    for (int i = 0; i < node->inputs; i++) {
        const Type *type = &node->in[i]->type;
        char c = wanted[i];
        bool ranked = c == 'F' || c == 'I';
        Dtype dtype = c == 'i' || c == 'I' ? DT_I32 : c == 'd' ? DT_F64 : DT_F32;
        if (c != '?' && type->dtype != dtype) {
            snprintf(why, room, "operand %d is %s, not %s", i + 1, dtype_words[type->dtype],
                     dtype_words[dtype]);
            return false;
        }
        if (ranked && type->rank < 1) {
            snprintf(why, room, "operand %d has no axis", i + 1);
            return false;
        }
    }
    return true;
}

/* Attributes that the op's row does not name are not looked at. */
static bool attributes_fit(const Module *m, const Node *node, char *why, size_t room)
{
    const Attrs *a = &node->attrs;
    const int64_t most = 1 << 20;
    Op op = node->op;
    if (op_has_attr(op, "by") && (isnan(a->by) || isinf((float)a->by)))
        return wrong(why, room, "`by` is a finite f32");
    if (op_has_attr(op, "rate") && !(a->rate >= 0 && a->rate < 1))
        return wrong(why, room, "`rate` is at least 0 and less than 1");
    if (op_has_attr(op, "scale") && !isfinite((float)a->scale))
        return wrong(why, room, "`scale` is a finite f32");
    if (op_has_attr(op, "heads") && (a->heads < 1 || a->heads > most || a->kv_heads < 1
                                     || a->kv_heads > a->heads))
        return wrong(why, room, "`heads` and `kv_heads` are at least 1, kv_heads at most heads");
    if (op_has_attr(op, "window") && a->window < 0)
        return wrong(why, room, "`window` is at least 0");
    if (op_has_attr(op, "site") && (a->site < 0 || a->site > most))
        return wrong(why, room, "`site` is from 0 to 2^20");
    if (op_has_attr(op, "slot") && (a->slot < 0 || a->slot > most))
        return wrong(why, room, "`slot` is from 0 to 2^20");
    if (op_has_attr(op, "dim") && (a->dim < 0 || a->dim >= m->dims.count
                                   || m->dims.at[a->dim].kind != DIM_MODEL))
        return wrong(why, room, "`dim` names a dim of the model");
    return true;
}

/* q, k, lengths, alibi agree beyond their widths, which op_types compares. */
static bool attention_fits(const Module *m, const Node *node, char *why, size_t room)
{
    const Type *q = &node->in[0]->type, *k = &node->in[1]->type;
    int ids = node->op == OP_attention_weights ? 2 : 3;
    int slopes = node->op == OP_attention_backward ? 6 : ids + 1;
    const Type *lengths = &node->in[ids]->type;
    if (q->rank != 3 || k->rank != 3)
        return wrong(why, room, "q and k are [B,T,N]");
    bool cached = node->op == OP_attention && node->attrs.cached;
    if (k->dims[0] != q->dims[0] || (!cached && k->dims[1] != q->dims[1]))
        return wrong(why, room, "q and k differ in batch or sequence");
    if (cached && m->dims.at[k->dims[1]].kind != DIM_MODEL)
        return wrong(why, room, "a cache has as many rows as a dim of the model");
    if (lengths->rank != 1 || lengths->dims[0] != q->dims[0])
        return wrong(why, room, "lengths is i32[B]");
    if (node->inputs <= slopes)
        return true;
    const Type *alibi = &node->in[slopes]->type;
    if (alibi->rank != 1 || m->dims.at[alibi->dims[0]].size != node->attrs.heads)
        return wrong(why, room, "the slopes are f32[heads]");
    return true;
}

static bool stats_fit(const Module *m, const Node *node, char *why, size_t room)
{
    const Type *q = &node->in[0]->type, *stats = &node->in[4]->type;
    if (stats->rank != 4 || stats->dims[0] != q->dims[0] || stats->dims[1] != q->dims[1]
        || m->dims.at[stats->dims[2]].size != node->attrs.heads
        || m->dims.at[stats->dims[3]].size != 2)
        return wrong(why, room, "stats is f32[B,T,heads,2]");
    return true;
}

/* Ops whose operands have rules that op_types does not state. */
static bool shapes_fit(const Module *m, const Node *node, char *why, size_t room)
{
    const Type *a = node->inputs ? &node->in[0]->type : NULL;
    switch (node->op) {
    case OP_onehot:
        return a->dims[a->rank - 1] == 0 || wrong(why, room, "onehot wants i32[…,1]");
    case OP_rotate: case OP_unrotate:
        return m->dims.at[a->dims[a->rank - 1]].kind == DIM_MODEL
            || wrong(why, room, "the last axis is a dim of the model");
    case OP_attention: case OP_attention_weights:
        return attention_fits(m, node, why, room);
    case OP_attention_backward:
        return attention_fits(m, node, why, room) && stats_fit(m, node, why, room);
    case OP_gather:
        return !type_has_rows(m, a) || wrong(why, room, "the table has no rows of tokens");
    case OP_cache:
        return a->rank == 3 || wrong(why, room, "cache wants x[B,T,N]");
    case OP_scatter_add: {
        const Type *ids = &node->in[1]->type;
        bool same = ids->rank == a->rank - 1;
        for (int i = 0; same && i < ids->rank; i++)
            same = ids->dims[i] == a->dims[i];
        return same || wrong(why, room, "scatter_add wants dy[…,N] and one id a row");
    }
    default:
        return true;
    }
}

bool node_well_formed(const Module *m, const Node *node, char *why, size_t room)
{
    const OpInfo *info = &op_info[node->op];
    if (node->inputs < info->inputs || node->inputs > info->inputs + info->optional) {
        snprintf(why, room, "wants %d%s operand%s, got %d", info->inputs,
                 info->optional ? " or more" : "", info->inputs == 1 ? "" : "s", node->inputs);
        return false;
    }
    return operands_fit(node, why, room) && attributes_fit(m, node, why, room)
        && shapes_fit(m, node, why, room);
}

bool type_fits(const Module *m, const Type *type)
{
    const int64_t most = (int64_t)1 << 62;
    int64_t count = 1;
    for (int i = 0; i < type->rank; i++) {
        const Dim *dim = &m->dims.at[type->dims[i]];
        int64_t size = dim->kind == DIM_MODEL ? dim->size : 1;
        if (size < 1 || count > most / size)
            return false;
        count *= size;
    }
    return true;
}
