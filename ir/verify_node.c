/* verify_node.c: what must hold of a node by itself, beyond the shapes that
 * op_types derives: how many inputs, of which dtype and least rank, attributes in
 * range. The interpreter relies on it, and op_types on the ranks. */
#include "verify.h"
#include <math.h>

/* What an op takes, a letter an input, the optional ones too: f f32, d f64, i
 * i32, ? anything; a capital wants rank 1 or more. Of attention only what is
 * always there. */
static const char *operands(Op op)
{
    switch (op) {
    case OP_scored: case OP_first: case OP_own_ids: return "i";
    case OP_onehot: return "I";
    case OP_dropout: case OP_cache: case OP_patches: case OP_top_k:
    case OP_spread: case OP_share_pooled: return "F";
    case OP_expand: case OP_reshape: return "?";
    case OP_pick:
    case OP_pool: case OP_pool_chunks:
    case OP_pool_spread:
    case OP_dispatch:
    case OP_collect_rows: return "FI";
    case OP_colsum: case OP_matmul: return "FF";
    case OP_chain: return "Fd";
    case OP_matmul_input: case OP_matmul_weight: return "FFF";
    case OP_attention: return "FFFI";
    case OP_attention_backward: case OP_relative_backward: return "FFFIFF";
    case OP_attention_weights: case OP_gate_products: return "FFI";
    case OP_gather: return "Fi";
    case OP_scatter_add:
    case OP_pool_max_spread:
    case OP_combine_rows:
    case OP_grouped_bias: return "FIF";
    case OP_pool_chunks_spread: return "FIFF";
    case OP_gather_rows: case OP_reshard: return "FII";
    case OP_own_starts: case OP_own_lengths: return "I";
    case OP_spread_rows: return "FFII";
    case OP_grouped_matmul:
    case OP_grouped_input:
    case OP_grouped_weight: return "FFIF";
    case OP_preference: return "FFFd";
    case OP_preference_grad: return "FFFf";
    case OP_const: case OP_positions: case OP_recall: return "";
    default: return op_info[op].class == CLASS_ROW ? "F" : "ff";
    }
}

/* Those of a node: attention's flags say what else it takes. */
static const char *node_operands(const Node *node, char room[MAX_INPUTS + 1])
{
    const Attrs *a = &node->attrs;
    if (op_info[node->op].class != CLASS_ATTENTION)
        return operands(node->op);
    bool relative = op_has_attr(node->op, "relative") && a->relative;
    const char *end = relative ? "FF" : "";
    if (node->op == OP_relative_backward)
        end = "FFF";
    snprintf(room, MAX_INPUTS + 1, "%s%s%s%s", operands(node->op),
             op_has_attr(node->op, "alibi") && a->alibi ? "F" : "",
             a->edges ? "I" : "", end);
    return room;
}

static bool wrong(char *why, size_t room, const char *text)
{
    snprintf(why, room, "%s", text);
    return false;
}

static bool operands_fit(const Node *node, char *why, size_t room)
{
    char room_for[MAX_INPUTS + 1];
    const char *wanted = node_operands(node, room_for);
    if (op_info[node->op].class == CLASS_ATTENTION
        && (int)strlen(wanted) != node->inputs)
        return wrong(why, room, "the flags alibi, edges, relative say how "
                                "many operands there are");
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

static bool is_model_dim(const Module *m, int dim)
{
    return dim >= 0 && dim < m->dims.count && m->dims.at[dim].kind == DIM_MODEL;
}

/* Of pools, images and experts; products of three stay below 2^63. */
static bool counts_fit(const Module *m, const Node *node, char *why,
                       size_t room)
{
    const Attrs *a = &node->attrs;
    const int64_t most = 1 << 20, parts = 1000000000;
    const int maximum = 2, last = 4;            /* of pool */
    Op op = node->op;
    if (op_has_attr(op, "pool") && (a->pool < 0 || a->pool > last))
        return wrong(why, room,
                     "`pool` is 0 mean, 1 sum, 2 max, 3 first or 4 last");
    if (op == OP_pool_spread && a->pool == maximum)
        return wrong(why, room, "the gradient of a maximum is pool_max_spread");
    if (op_has_attr(op, "patch")
        && (a->channels < 1 || a->channels > most || a->size < 1
            || a->size > most || a->patch < 1 || a->size % a->patch
            || a->skip < 0 || a->skip > most))
        return wrong(
            why, room,
            "`patch` divides `size`, `channels` and `skip` are in range");
    if (op_has_attr(op, "count") && (a->count < 1 || a->count > most))
        return wrong(why, room, "`count` is from 1 to 2^20");
    if (op_has_attr(op, "room") && a->room < 0)
        return wrong(why, room, "`room` is not negative");
    if (op == OP_dispatch && a->count != m->dims.at[a->width].size)
        return wrong(why, room, "`count` is the size of `width`");
    if (op == OP_dispatch && a->numerator
        && (a->numerator < 0 || a->numerator > parts || a->denominator < 1
            || a->denominator > parts))
        return wrong(why, room,
                     "`numerator` is from 0, `denominator` from 1 to 10^9");
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
    if (op_has_attr(op, "cross") && a->cross
        && (a->causal || a->window || a->alibi || a->edges || a->relative))
        return wrong(why, room, "`cross` has no positions, mask or edges");
    if (op_has_attr(op, "relative") && a->relative && a->alibi)
        return wrong(why, room,
                     "`alibi` and `relative` are two kinds of positions");
    if (op == OP_relative_backward && !a->relative)
        return wrong(why, room, "`relative` is set");
    if (op_has_attr(op, "site") && (a->site < 0 || a->site > most))
        return wrong(why, room, "`site` is from 0 to 2^20");
    if (op_has_attr(op, "slot") && (a->slot < 0 || a->slot > most))
        return wrong(why, room, "`slot` is from 0 to 2^20");
    if (op_has_attr(op, "dim") && !is_model_dim(m, a->dim))
        return wrong(why, room, "`dim` names a dim of the model");
    if (op_has_attr(op, "width") && !is_model_dim(m, a->width))
        return wrong(why, room, "`width` names a dim of the model");
    return counts_fit(m, node, why, room);
}

/* slopes, edges, table of attention, the operands from `at` on. */
static bool attention_extras_fit(const Module *m, const Node *node, int at,
                                 char *why, size_t room)
{
    const Attrs *a = &node->attrs;
    const Type *q = &node->in[0]->type;
    if (op_has_attr(node->op, "alibi") && a->alibi) {
        const Type *slopes = &node->in[at++]->type;
        if (slopes->rank != 1 || m->dims.at[slopes->dims[0]].size != a->heads)
            return wrong(why, room, "the slopes are f32[heads]");
    }
    if (a->edges) {
        const Type *edges = &node->in[at++]->type;
        if (edges->rank != 3 || edges->dims[0] != q->dims[0]
            || edges->dims[1] != q->dims[1] || edges->dims[2] != q->dims[1])
            return wrong(why, room, "edges is i32[B,T,T]");
    }
    if (op_has_attr(node->op, "relative") && a->relative) {
        const Type *table = &node->in[at + 1]->type;
        if (!type_equal(&node->in[at]->type, q))
            return wrong(why, room, "q2 is as q");
        if (table->rank != 2 || table->dims[1] != q->dims[2]
            || type_has_rows(m, table)
            || m->dims.at[table->dims[0]].size % 2 == 0)
            return wrong(why, room, "the table is f32[2P-1,heads·D]");
    }
    return true;
}

/* q, k, lengths and the others agree beyond their widths, which op_types
 * compares. */
static bool attention_fits(const Module *m, const Node *node, char *why, size_t room)
{
    const Type *q = &node->in[0]->type, *k = &node->in[1]->type;
    int ids = node->op == OP_attention_weights ? 2 : 3;
    bool backward =
        node->op == OP_attention_backward || node->op == OP_relative_backward;
    const Type *lengths = &node->in[ids]->type;
    if (q->rank != 3 || k->rank != 3)
        return wrong(why, room, "q and k are [B,T,N]");
    bool cached = node->op == OP_attention && node->attrs.cached;
    if (k->dims[0] != q->dims[0] || (!cached && k->dims[1] != q->dims[1]))
        return wrong(why, room, "q and k differ in batch or sequence");
    if (cached && m->dims.at[k->dims[1]].kind != DIM_MODEL)
        return wrong(why, room, "a cache has as many rows as a dim of the model");
    if (cached && node->attrs.edges)
        return wrong(why, room, "`edges` are not of a cache's keys");
    if (lengths->rank != 1 || lengths->dims[0] != q->dims[0])
        return wrong(why, room, "lengths is i32[B]");
    return attention_extras_fit(m, node, backward ? 6 : ids + 1, why, room);
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

static bool patches_fit(const Module *m, const Node *node, char *why,
                        size_t room)
{
    const Attrs *a = &node->attrs;
    const Type *images = &node->in[0]->type;
    int64_t pixels = m->dims.at[images->dims[images->rank - 1]].size;
    if (pixels != a->channels * a->size * a->size)
        return wrong(why, room, "images is f32[B,channels·size·size]");
    return m->dims.at[a->dim].size == a->channels * a->patch * a->patch
           || wrong(why, room,
                    "`dim` is as large as a patch, channels·patch·patch");
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
    case OP_attention_backward: case OP_relative_backward:
        return attention_fits(m, node, why, room) && stats_fit(m, node, why, room);
    case OP_gather:
        return !type_has_rows(m, a) || wrong(why, room, "the table has no rows of tokens");
    case OP_cache:
        return a->rank == 3 || wrong(why, room, "cache wants x[B,T,N]");
    case OP_patches:
        return patches_fit(m, node, why, room);
    case OP_top_k:
        return node->attrs.count <= m->dims.at[a->dims[a->rank - 1]].size
            || wrong(why, room, "`count` is more than there are");
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
