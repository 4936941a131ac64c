/* types.c: the type of every op's results, from its inputs. The verifier derives
 * all types again with it; nothing else decides a shape. */
#include "ir.h"
#include <stdio.h>

Type type_of(Dtype dtype, int rank, const int *dims)
{
    Type type = { .dtype = dtype, .rank = rank };
    for (int i = 0; i < rank; i++)
        type.dims[i] = dims[i];
    return type;
}

bool type_equal(const Type *a, const Type *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

static bool dim_is_row(const Module *m, int dim)
{
    return m->dims.at[dim].kind != DIM_MODEL;
}

int64_t type_row_elements(const Module *m, const Type *type)
{
    int64_t count = 1;
    int sequences = 0;
    for (int i = 0; i < type->rank; i++) {
        const Dim *dim = &m->dims.at[type->dims[i]];
        sequences += dim->kind == DIM_SEQUENCE;
        if (!dim_is_row(m, type->dims[i]))
            count *= dim->size;
        else if (dim->kind == DIM_SEQUENCE && sequences == 2)
            count *= m->dims.at[module_find_dim(m, "P")].size; /* of a pair */
    }
    return count;
}

int64_t type_elements(const Module *m, const Type *type)
{
    if (type_has_rows(m, type))
        ice("the number of elements of a type with rows is not a constant");
    return type_row_elements(m, type);
}

bool type_has_rows(const Module *m, const Type *type)
{
    for (int i = 0; i < type->rank; i++)
        if (dim_is_row(m, type->dims[i]))
            return true;
    return false;
}

/* ---- rules ---- */
typedef struct Rule {
    const Module *m;
    const Node *node;
    const Type *given;
    Type *out;
    char *why;
    size_t room;
} Rule;

static bool wrong(const Rule *r, const char *why)
{
    snprintf(r->why, r->room, "%s", why);
    return false;
}

static const Type *input(const Rule *r, int i)
{
    return &r->node->in[i]->type;
}

static Type last_axis(Type type, int dim)
{
    type.dims[type.rank - 1] = dim;
    return type;
}

/* Operands spread as in NumPy, from the last axis. */
static bool spread(const Rule *r, const Type *a, const Type *b, Type *out)
{
    const Type *wide = a->rank >= b->rank ? a : b, *slim = wide == a ? b : a;
    *out = *wide;
    for (int i = 1; i <= slim->rank; i++) {
        int x = wide->dims[wide->rank - i], y = slim->dims[slim->rank - i];
        if (x != y && x != 0 && y != 0)
            return wrong(r, "the operands' axes differ and neither is 1");
        out->dims[wide->rank - i] = x == 0 ? y : x;
    }
    return true;
}

static bool rule_point(const Rule *r)
{
    const Node *n = r->node;
    switch (n->op) {
    case OP_const:
        r->out[0] = type_of(DT_F32, 0, NULL);
        return true;
    case OP_scored: case OP_first:
        if (input(r, 0)->dtype != DT_I32)
            return wrong(r, n->op == OP_first ? "first wants i32"
                                              : "scored wants i32");
        r->out[0] = *input(r, 0);
        r->out[0].dtype = DT_F32;
        return true;
    case OP_own_ids:
        r->out[0] = *input(r, 0);
        return input(r, 0)->dtype == DT_I32 || wrong(r, "own_ids wants i32");
    case OP_onehot:
        if (input(r, 0)->dtype != DT_I32 || input(r, 0)->rank < 1)
            return wrong(r, "onehot wants i32[…,1]");
        r->out[0] = last_axis(*input(r, 0), n->attrs.dim);
        r->out[0].dtype = DT_F32;
        return true;
    case OP_expand:
        if (!r->given)
            return wrong(r, "expand wants a type");
        if (!spread(r, input(r, 0), r->given, &r->out[0]))
            return false;
        return type_equal(&r->out[0], r->given) || wrong(r, "expand does not reach its type");
    default:
        break;
    }
    for (int i = 0; i < n->inputs; i++)
        if (input(r, i)->dtype != DT_F32)
            return wrong(r, "wants f32 operands");
    if (n->inputs == 2)
        return spread(r, input(r, 0), input(r, 1), &r->out[0]);
    r->out[0] = *input(r, 0);
    return true;
}

static bool rule_row(const Rule *r)
{
    const Type *x = input(r, 0);
    if (x->dtype != DT_F32 || x->rank < 1)
        return wrong(r, "wants f32 of rank 1 or more");
    r->out[0] = *x;
    if (r->node->op == OP_rotate || r->node->op == OP_unrotate)
        return r->m->dims.at[x->dims[x->rank - 1]].size % 2 == 0
            || wrong(r, "wants an even last axis");
    r->out[0] = last_axis(*x, 0);
    if (r->node->op == OP_pick) {
        Type ids = r->out[0];
        ids.dtype = DT_I32;
        return type_equal(&ids, input(r, 1)) || wrong(r, "pick wants i32 ids, one a row");
    }
    return true;
}

static bool rule_column(const Rule *r)
{
    const Type *x = input(r, 0), *init = input(r, 1);
    r->out[0] = *init;
    if (r->node->op == OP_chain)
        return (x->rank == 2 && x->dims[1] == 0 && init->rank == 0 && init->dtype == DT_F64)
            || wrong(r, "chain wants f32[R,1] and f64[]");
    return (init->rank == 1 && x->rank > 1 && x->dims[x->rank - 1] == init->dims[0])
        || wrong(r, "colsum wants x[…,N] and init[N]");
}

static bool same_lead(const Type *a, const Type *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank - 1; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

static bool rule_matmul(const Rule *r)
{
    const Type *a = input(r, 0), *b = input(r, 1);
    if (a->rank < 2 || b->rank < 2)
        return wrong(r, "wants matrices");
    int last = a->dims[a->rank - 1];
    switch (r->node->op) {
    case OP_matmul:
        r->out[0] = last_axis(*a, b->dims[0]);
        return (a->rank >= 2 && b->rank == 2 && b->dims[1] == last)
            || wrong(r, "matmul wants x[…,K] and w[N,K]");
    case OP_matmul_input:
        r->out[0] = last_axis(*a, b->dims[1]);
        if (a->rank < 2 || b->rank != 2 || b->dims[0] != last)
            return wrong(r, "matmul_input wants dy[…,N] and w[N,K]");
        return r->node->inputs == 2 || type_equal(input(r, 2), &r->out[0])
            || wrong(r, "matmul_input's init has another shape");
    default:
        r->out[0] = *input(r, 2);
        return (same_lead(a, b) && r->out[0].rank == 2 && r->out[0].dims[0] == last
                && r->out[0].dims[1] == b->dims[b->rank - 1])
            || wrong(r, "matmul_weight wants dy[…,N], x[…,K], init[N,K]");
    }
}

static int64_t dim_size(const Rule *r, int dim)
{
    return r->m->dims.at[dim].size;
}

/* How many operands the flags say there are. */
static int attention_inputs(const Node *n)
{
    const Attrs *at = &n->attrs;
    int least = op_info[n->op].inputs;
    switch (n->op) {
    case OP_attention_backward: return least + at->alibi + at->edges;
    case OP_relative_backward: return least + at->edges;
    default: return least + at->alibi + at->edges + 2 * at->relative;
    }
}

/* stats[B,T,heads,2] */
static bool forward_results(const Rule *r, const Type *q)
{
    int heads = -1, two = module_find_dim(r->m, "two");
    for (int i = 1; i < r->m->dims.count; i++)
        if (r->m->dims.at[i].kind == DIM_MODEL
            && !strcmp(r->m->dims.at[i].name, "H"))
            heads = i;
    if (heads < 0 || two < 0 || dim_size(r, heads) != r->node->attrs.heads)
        return wrong(r, "attention wants the dims H (heads) and two");
    r->out[0] = *q;
    r->out[1] =
        type_of(DT_F32, 4, (int[]){ q->dims[0], q->dims[1], heads, two });
    return true;
}

/* dq, dk, dv; with relative positions also dq2, dtable */
static bool backward_results(const Rule *r, const Type *q, const Type *k)
{
    r->out[0] = *q;
    r->out[1] = r->out[2] = *k;
    if (r->node->attrs.context > 1)
        r->out[1].dims[2] = r->out[2].dims[2] = r->node->attrs.parts;
    if (!type_equal(q, input(r, 5)))
        return wrong(r, "dout must be as q");
    if (r->node->op == OP_attention_backward)
        return true;
    int at = r->node->inputs - 3;               /* q2, table, init */
    r->out[3] = *q;
    r->out[4] = *input(r, at + 1);
    if (!type_equal(q, input(r, at)))
        return wrong(r, "q2 must be as q");
    return type_equal(&r->out[4], input(r, at + 2))
           || wrong(r, "init must be as the table");
}

static bool rule_attention(const Rule *r)
{
    const Node *n = r->node;
    const Attrs *at = &n->attrs;
    const Type *q = input(r, 0), *k = input(r, 1);
    if (n->inputs != attention_inputs(n))
        return wrong(r, "the flags alibi, edges, relative say how many "
                        "operands there are");
    if (q->rank != 3 || k->rank != 3 || at->heads < 1 || at->kv_heads < 1)
        return wrong(r, "attention wants q, k of rank 3 and head counts");
    int64_t width = dim_size(r, q->dims[2]), narrow = dim_size(r, k->dims[2]);
    if (at->context > 1 && narrow % at->context)
        return wrong(r, "k is not of all ranks of the context");
    narrow /= at->context > 1 ? at->context : 1;
    if (width % at->heads || narrow % at->kv_heads || at->heads % at->kv_heads
        || width / at->heads != narrow / at->kv_heads)
        return wrong(r, "attention's widths do not fit its heads");
    if (n->op == OP_attention_weights) {
        r->out[0] = type_of(DT_F32, 4, (int[]){ q->dims[0], at->dim, q->dims[1], q->dims[1] });
        return dim_size(r, at->dim) == at->heads
               || wrong(r, "`dim` has as many as there are heads");
    }
    if (!type_equal(k, input(r, 2)))
        return wrong(r, "k and v differ in type");
    return n->op == OP_attention ? forward_results(r, q)
                                 : backward_results(r, q, k);
}

static int dim_of_kind(const Module *m, DimKind kind)
{
    for (int i = 0; i < m->dims.count; i++)
        if (m->dims.at[i].kind == kind)
            return i;
    return -1;
}

/* ---- shapes by letters ---- */
/* An operand is a word, an axis a letter, the same for the same dim: B the
 * batch, T the sequence, Y a rank's share of it, D and W the attributes dim and width, 1 the dim "1",
 * others any of the model; "." is a scalar. Optional operands stand at the
 * end. */
typedef struct Shape {
    Op op;
    const char *operands, *results;
    Dtype dtype;                /* of the results */
} Shape;

static const Shape shapes[] = {
    { OP_recall, "", "BDW", DT_F32 },
    { OP_patches, "BN", "BTD", DT_F32 },
    { OP_pool, "BTN B", "BN", DT_F32 },
    { OP_pool_spread, "BN B", "BTN", DT_F32 },
    { OP_pool_max_spread, "BN B BTN", "BTN", DT_F32 },
    { OP_pool_chunks, "BTN B", "BN BDN", DT_F32 },
    { OP_pool_chunks_spread, "BN B BTN BDN", "BTN", DT_F32 },
    { OP_own_lengths, "B", "B", DT_I32 },
    { OP_top_k, "BTX", "BTX", DT_F32 },
    { OP_dispatch, "BTX B", "D BTW BTX", DT_I32 },
    { OP_gather_rows, "BTN BTD S", "BTDN", DT_F32 },
    { OP_collect_rows, "BTKN BTX", "BTN", DT_F32 },
    { OP_combine_rows, "BTKN BTX BTX", "BTN", DT_F32 },
    { OP_spread_rows, "BTN BTX BTD S", "BTDN", DT_F32 },
    { OP_gate_products, "BTN BTKN BTX", "BTX", DT_F32 },
    { OP_grouped_matmul, "BTKI XOI S XO", "BTKO", DT_F32 },
    { OP_grouped_input, "BTKO XOI S BTKI", "BTKI", DT_F32 },
    { OP_grouped_weight, "BTKO BTKI S XOI", "XOI", DT_F32 },
    { OP_grouped_bias, "BTKO S XO", "XO", DT_F32 },
    { OP_own_starts, "S", "D", DT_I32 },
    { OP_preference, "B1 B1 B1 .", ".", DT_F64 },
    { OP_preference_grad, "B1 B1 B1 .", "B1", DT_F32 },
};

enum { LETTERS = 128, UNBOUND = -1, NONE_SUCH = -2 };

static bool word_fits(const Rule *r, const char *word, size_t length,
                      const Type *type, int *bound)
{
    if (*word == '.')
        return type->rank == 0;
    if ((size_t)type->rank != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        int *dim = &bound[(int)word[i]];
        if (*dim == UNBOUND && !dim_is_row(r->m, type->dims[i]))
            *dim = type->dims[i];
        if (*dim != type->dims[i])
            return false;
    }
    return true;
}

static Type word_type(const char *word, size_t length, Dtype dtype,
                      const int *bound)
{
    Type type = { .dtype = dtype };
    for (size_t i = 0; i < length && *word != '.'; i++)
        type.dims[type.rank++] = bound[(int)word[i]];
    return type;
}

/* The word after this one; its length to *length. */
static const char *next_word(const char *word, size_t *length)
{
    word += *length;
    word += strspn(word, " ");
    *length = strcspn(word, " ");
    return word;
}

/* Where starts and the experts are both known: a start an expert, and the
 * end. */
static bool starts_fit(const Rule *r, const int *bound)
{
    int starts = r->node->op == OP_dispatch ? bound['D'] : bound['S'],
        experts = bound['X'];
    return starts == UNBOUND || experts == UNBOUND
        || dim_size(r, starts) == dim_size(r, experts) + 1
        || wrong(r, "starts has one more than there are experts");
}

static bool rule_shape(const Rule *r, const Shape *shape)
{
    int bound[LETTERS];
    for (int i = 0; i < LETTERS; i++)
        bound[i] = UNBOUND;
    bound['B'] = dim_of_kind(r->m, DIM_BATCH);
    bound['T'] = dim_of_kind(r->m, DIM_SEQUENCE);
    bound['Y'] = dim_of_kind(r->m, DIM_SHARE);
    if (bound['Y'] < 0)
        bound['Y'] = NONE_SUCH;
    bound['1'] = 0;
    if (bound['B'] < 0 || bound['T'] < 0)
        return wrong(r, "no dims of batch and sequence");
    bool has_dim = strchr(shape->operands, 'D') || strchr(shape->results, 'D');
    bound['D'] = has_dim ? r->node->attrs.dim : UNBOUND;
    bound['W'] = r->node->attrs.width;
    size_t length = 0;
    const char *word = shape->operands;
    for (int i = 0; i < r->node->inputs; i++) {
        word = next_word(word, &length);
        if (!word_fits(r, word, length, input(r, i), bound)) {
            snprintf(r->why, r->room,
                     "operand %d does not fit `%s`, a letter a dim", i + 1,
                     shape->operands);
            return false;
        }
    }
    length = 0;
    word = shape->results;
    for (int i = 0; i < op_info[shape->op].results; i++) {
        word = next_word(word, &length);
        r->out[i] = word_type(word, length, shape->dtype, bound);
    }
    return starts_fit(r, bound);
}

static bool rule_index(const Rule *r)
{
    const Type *a = r->node->inputs ? input(r, 0) : NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].op == r->node->op)
            return rule_shape(r, &shapes[i]);
    switch (r->node->op) {
    case OP_positions: {
        int dims[2] = { dim_of_kind(r->m, DIM_BATCH), dim_of_kind(r->m, DIM_SEQUENCE) };
        r->out[0] = type_of(DT_I32, 2, dims);
        return dims[0] >= 0 && dims[1] >= 0 ? true : wrong(r, "no dims of batch and sequence");
    }
    case OP_gather: {
        const Type *ids = input(r, 1);
        if (a->rank != 2 || ids->dtype != DT_I32 || ids->rank > 3)
            return wrong(r, "gather wants a table and i32 ids");
        r->out[0] = *ids;
        r->out[0].dtype = DT_F32;
        r->out[0].dims[r->out[0].rank++] = a->dims[1];
        return true;
    }
    case OP_scatter_add:
        r->out[0] = *input(r, 2);
        return (r->out[0].rank == 2 && a->dims[a->rank - 1] == r->out[0].dims[1])
            || wrong(r, "scatter_add wants dy[…,N] and init[E,N]");
    default:
        if (a->rank != 3)
            return wrong(r, "cache wants x[B,T,N]");
        r->out[0] = *a;
        r->out[0].dims[1] = r->node->attrs.dim;
        return true;
    }
}

/* Those of which letters say it; others keep all axes, or all but the last. */
static const Shape reshard_shapes[RESHARD_KINDS] = {
    [RESHARD_GATHER_SHARES] = { OP_reshard, "BYN", "BTN", DT_F32 },
    [RESHARD_SUM_SHARES] = { OP_reshard, "BTN", "BYN", DT_F32 },
    [RESHARD_OWN_SHARE] = { OP_reshard, "BTN", "BYN", DT_F32 },
    [RESHARD_SUM_POOLED] = { OP_reshard, "BN", "BN", DT_F32 },
    [RESHARD_SEND_ROWS] = { OP_reshard, "BTKN S O", "BTDN", DT_F32 },
    [RESHARD_RETURN_ROWS] = { OP_reshard, "BTKN S O", "BTDN", DT_F32 },
};

static bool rule_reshard(const Rule *r)
{
    ReshardKind kind = reshard_kind(r->node);
    const Type *x = input(r, 0);
    bool rows = kind == RESHARD_SEND_ROWS || kind == RESHARD_RETURN_ROWS;
    if (kind == RESHARD_NONE)
        return wrong(r, "there is no reshard of this value from that placement "
                        "to that along the axis");
    if (r->node->inputs != (rows ? 3 : 1))
        return wrong(r, "rows of experts take starts, and no others do");
    if (reshard_shapes[kind].operands)
        return rule_shape(r, &reshard_shapes[kind]);
    bool context =
        kind == RESHARD_GATHER_CONTEXT || kind == RESHARD_SUM_CONTEXT;
    if (context && x->rank != 3)
        return wrong(r, "along a context it wants x[B,T,N]");
    bool same = kind == RESHARD_ALL_REDUCE || kind == RESHARD_ALL_MAX;
    r->out[0] = same ? *x : last_axis(*x, r->node->attrs.dim);
    return x->rank >= 2 || wrong(r, "wants x[…,N]");
}

/* The same elements: products of the model dims and the row dims both agree. */
static bool rule_view(const Rule *r)
{
    if (r->node->op == OP_spread || r->node->op == OP_share_pooled) {
        r->out[0] = *input(r, 0);
        return true;
    }
    if (!r->given)
        return wrong(r, "reshape wants a type");
    int a = 0, b = 0;
    for (int i = 0; i < input(r, 0)->rank; i++)
        a += dim_is_row(r->m, input(r, 0)->dims[i]);
    for (int i = 0; i < r->given->rank; i++)
        b += dim_is_row(r->m, r->given->dims[i]);
    r->out[0] = *r->given;
    return ((a > 0) == (b > 0)
            && type_row_elements(r->m, input(r, 0)) == type_row_elements(r->m, r->given))
        || wrong(r, "reshape changes the number of elements");
}

bool op_types(const Module *m, const Node *node, const Type *given, Type *out, char *why,
              size_t room)
{
    const OpInfo *info = &op_info[node->op];
    Rule rule = { m, node, given, out, why, room };
    if (node->inputs < info->inputs || node->inputs > info->inputs + info->optional)
        return wrong(&rule, "wrong number of inputs");
    switch (info->class) {
    case CLASS_POINT: return rule_point(&rule);
    case CLASS_ROW: return rule_row(&rule);
    case CLASS_COLUMN: return rule_column(&rule);
    case CLASS_MATMUL: return rule_matmul(&rule);
    case CLASS_ATTENTION: return rule_attention(&rule);
    case CLASS_INDEX: return rule_index(&rule);
    case CLASS_VIEW: return rule_view(&rule);
    case CLASS_RESHARD: return rule_reshard(&rule);
    }
    return false;
}
