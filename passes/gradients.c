/* gradients.c: the gradient of every op, beside its algebra. Each rule is given
 * a node whose result was reached by dy, and sends what follows to its
 * inputs. */
#include "autodiff.h"

static Value *dy_of(Autodiff *ad, Node *node)
{
    return ad_cotangent(ad, node->out[0]);
}

/* What the gradient of `after` is then made from: d.NAME_part. */
static Value *part_of(Autodiff *ad, Op op, const Value *after, Value *a,
                      Value *b)
{
    const char *name = arena_printf(ad->m->arena, "d.%s_part", after->name);
    return ad_node(ad, op, name, 2, (Value *[]){ a, b }, NULL, NULL);
}

/* y = a + b: da = dy, db = dy */
static void gradient_add(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    ad_add(ad, n->in[0], dy);
    ad_add(ad, n->in[1], dy);
}

/* y = a - b: da = dy, db = -dy */
static void gradient_sub(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    ad_add(ad, n->in[0], dy);
    if (ad_wants(ad, n->in[1]))
        ad_add(ad, n->in[1], ad_1(ad, OP_neg, n->in[1], dy));
}

/* y = a b: da = dy b, db = dy a */
static void gradient_mul(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    for (int i = 0; i < 2; i++)
        if (ad_wants(ad, n->in[i])) {
            Value *other = ad_value(ad, n->in[1 - i]);
            ad_add(ad, n->in[i], ad_2(ad, OP_mul, n->in[i], dy, other));
        }
}

/* y = a / b: da = dy / b, db = -(dy / b) y */
static void gradient_div(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    Value *da = ad_2(ad, OP_div, n->in[0], dy, ad_value(ad, n->in[1]));
    ad_add(ad, n->in[0], da);
    if (ad_wants(ad, n->in[1])) {
        Value *product = part_of(ad, OP_mul, n->in[1], da,
                                 ad_value(ad, n->out[0]));
        ad_add(ad, n->in[1], ad_1(ad, OP_neg, n->in[1], product));
    }
}

/* y = -x: dx = -dy */
static void gradient_neg(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0], ad_1(ad, OP_neg, n->in[0], dy_of(ad, n)));
}

/* y = x²: dx = 2 (dy x) */
static void gradient_square(Autodiff *ad, Node *n)
{
    Value *product = part_of(ad, OP_mul, n->in[0], dy_of(ad, n),
                             ad_value(ad, n->in[0]));
    ad_add(ad, n->in[0], ad_by(ad, OP_scale, n->in[0], product, 2));
}

/* y = 1/x: dx = -(dy y²) */
static void gradient_recip(Autodiff *ad, Node *n)
{
    Value *y = ad_value(ad, n->out[0]);
    const char *name = arena_printf(ad->m->arena, "%s.squared", y->name);
    Value *square = ad_node(ad, OP_square, name, 1, &y, NULL, NULL);
    Value *product = part_of(ad, OP_mul, n->in[0], dy_of(ad, n), square);
    ad_add(ad, n->in[0], ad_1(ad, OP_neg, n->in[0], product));
}

/* y = √x: dx = dy / 2y */
static void gradient_sqrt(Autodiff *ad, Node *n)
{
    Value *ratio = part_of(ad, OP_div, n->in[0], dy_of(ad, n),
                           ad_value(ad, n->out[0]));
    ad_add(ad, n->in[0], ad_by(ad, OP_scale, n->in[0], ratio, 0.5));
}

/* y = eˣ: dx = dy y */
static void gradient_exp(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0],
           ad_2(ad, OP_mul, n->in[0], dy_of(ad, n), ad_value(ad, n->out[0])));
}

/* y = log x: dx = dy / x */
static void gradient_log(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0],
           ad_2(ad, OP_div, n->in[0], dy_of(ad, n), ad_value(ad, n->in[0])));
}

/* y = f(x): dx = dy f'(x), f' an op of its own */
static void gradient_call(Autodiff *ad, Node *n)
{
    static const Op slopes[OP_COUNT] = {
        [OP_relu] = OP_relu_grad, [OP_gelu] = OP_gelu_grad,
        [OP_gelu_tanh] = OP_gelu_tanh_grad, [OP_silu] = OP_silu_grad,
    };
    Op slope = slopes[n->op];
    Value *x = ad_value(ad, n->in[0]);
    const char *name = arena_printf(ad->m->arena, "%s.slope", n->out[0]->name);
    Value *factor = ad_node(ad, slope, name, 1, &x, NULL, NULL);
    ad_add(ad, n->in[0], ad_2(ad, OP_mul, n->in[0], dy_of(ad, n), factor));
}

/* y = x · by: dx = dy · by */
static void gradient_scale(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0],
           ad_by(ad, OP_scale, n->in[0], dy_of(ad, n), n->attrs.by));
}

/* y = x + by, and y = x spread, and y = Σ x (spread back by use): dx = dy */
static void gradient_same(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0], dy_of(ad, n));
}

/* y = x · mask(site): dx = dy · mask(site), the same draws */
static void gradient_dropout(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    ad_add(ad, n->in[0],
           ad_node(ad, OP_dropout, ad_name(ad, n->in[0]), 1, &dy, &n->attrs,
                   NULL));
}

/* y = Σ x / N: dx = dy · 1/N, spread */
static void gradient_mean(Autodiff *ad, Node *n)
{
    const Type *type = &n->in[0]->type;
    int64_t width = ad->m->dims.at[type->dims[type->rank - 1]].size;
    ad_add(ad, n->in[0],
           ad_by(ad, OP_scale, n->in[0], dy_of(ad, n), 1.0 / (double)width));
}

/* y = x[id]: dx = dy at column id, 0 elsewhere */
static void gradient_pick(Autodiff *ad, Node *n)
{
    const Type *type = &n->in[0]->type;
    Value *ids = ad_value(ad, n->in[1]);
    Attrs attrs = { .dim = type->dims[type->rank - 1] };
    Value *hot = ad_node(ad, OP_onehot, "onehot", 1, &ids, &attrs, NULL);
    ad_add(ad, n->in[0], ad_2(ad, OP_mul, n->in[0], hot, dy_of(ad, n)));
}

/* y = rotate x: dx = rotateᵀ dy */
static void gradient_rotate(Autodiff *ad, Node *n)
{
    Op back = n->op == OP_rotate ? OP_unrotate : OP_rotate;
    ad_add(ad, n->in[0], ad_1(ad, back, n->in[0], dy_of(ad, n)));
}

/* total = init + Σ rows: every row gets dy */
static void gradient_chain(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0], dy_of(ad, n));
}

/* dx = dy W; of a table of weights its accumulator takes it. */
static void add_input_product(Autodiff *ad, Value *x, Value *dy, Value *w)
{
    if (x->kind == VALUE_WEIGHT)
        ad_weight(ad, x, OP_matmul_input, dy, ad_value(ad, w));
    else
        ad_add_product(ad, x, dy, ad_value(ad, w), NULL);
}

/* y = x Wᵀ: dx = dy W, dW = dyᵀ x */
static void gradient_matmul(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    if (ad_wants(ad, n->in[0]))
        add_input_product(ad, n->in[0], dy, n->in[1]);
    if (ad_wants(ad, n->in[1]))
        ad_weight(ad, n->in[1], OP_matmul_weight, dy, ad_value(ad, n->in[0]));
}

/* attn of attn.heads, cross of cross.out */
static const char *attention_name(Autodiff *ad, const Node *n)
{
    const char *name = n->out[0]->name, *dot = strchr(name, '.');
    return dot ? arena_strndup(ad->m->arena, name, (size_t)(dot - name)) : name;
}

/* The gradients of attention, in one op. */
/* A gradient d of `after` that has to lie otherwise. */
static Value *reshard_back(Autodiff *ad, const Value *after, Value *d,
                           ReshardKind kind, int dim)
{
    const Attrs attrs = reshard_attrs(kind, d->type.rank, dim);
    return ad_node(ad, OP_reshard, ad_name(ad, after), 1, &d, &attrs, NULL);
}

/* dk, dv; where k and v were gathered from the ranks of a context, every rank
 * has made parts of it. */
static void add_keys(Autodiff *ad, Node *n, int i, Value *d)
{
    Value *k = n->in[i];
    if (n->attrs.context > 1) {
        k = k->node->in[0];
        d = reshard_back(ad, k, d, RESHARD_SUM_CONTEXT, k->type.dims[2]);
    }
    ad_add(ad, k, d);
}

static void gradient_attention(Autodiff *ad, Node *n)
{
    Value *in[MAX_INPUTS] = {
        ad_value(ad, n->in[0]), ad_value(ad, n->in[1]), ad_value(ad, n->in[2]),
        ad_value(ad, n->in[3]), ad_value(ad, n->out[1]), dy_of(ad, n),
    };
    bool relative = n->attrs.relative;
    int inputs = 6;
    for (int i = 4; i < n->inputs; i++)     /* slopes, edges, q2, table */
        in[inputs++] = ad_value(ad, n->in[i]);
    Gradient *table = relative ? ad_gradient(ad, n->in[n->inputs - 1]) : NULL;
    if (relative)
        in[inputs++] = table->end;
    Node *back = func_node(
        ad->m, ad->to, relative ? OP_relative_backward : OP_attention_backward,
        arena_printf(ad->m->arena, "d.%s", attention_name(ad, n)), inputs, in,
        &n->attrs, NULL, ad->origin);
    ad_add(ad, n->in[0], back->out[0]);
    for (int i = 1; i < 3; i++)
        add_keys(ad, n, i, back->out[i]);
    if (!relative)
        return;
    ad_add(ad, n->in[n->inputs - 2], back->out[3]);
    table->end = back->out[4];
}

/* y = table[ids]: table's rows gather dy, in order */
static void gradient_gather(Autodiff *ad, Node *n)
{
    if (ad_wants(ad, n->in[0]))
        ad_weight(ad, n->in[0], OP_scatter_add, dy_of(ad, n),
                  ad_value(ad, n->in[1]));
}

static void gradient_reshape(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    ad_add(ad, n->in[0],
           ad_node(ad, OP_reshape, ad_name(ad, n->in[0]), 1, &dy, NULL,
                   &n->in[0]->type));
}

/* Each rank has made a part of it. */
static void gradient_spread(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0], reshard_back(ad, n->in[0], dy_of(ad, n),
                                      RESHARD_ALL_REDUCE, 0));
}

/* The first rank of the context alone knows it. */
static void gradient_share_pooled(Autodiff *ad, Node *n)
{
    ad_add(ad, n->in[0], reshard_back(ad, n->in[0], dy_of(ad, n),
                                      RESHARD_SUM_POOLED, 0));
}

/* What was sent comes back, and the other way round. */
static void gradient_travel(Autodiff *ad, Node *n, ReshardKind back)
{
    Value *in[3] = { dy_of(ad, n), ad_value(ad, n->in[1]),
                     ad_value(ad, n->in[2]) };
    const Attrs attrs = reshard_attrs(back, n->in[0]->type.rank,
                                      n->in[0]->type.dims[2]);
    ad_add(ad, n->in[0],
           ad_node(ad, OP_reshard, ad_name(ad, n->in[0]), 3, in, &attrs, NULL));
}

/* The gradient of what was gathered is a rank's own part of it, or the sum of
 * the parts that ranks make; of a sum every rank has all. */
static void gradient_reshard(Autodiff *ad, Node *n)
{
    Value *x = n->in[0];
    int last = x->type.dims[x->type.rank - 1];
    ReshardKind back = RESHARD_NONE;
    switch (reshard_kind(n)) {
    case RESHARD_ALL_REDUCE: ad_add(ad, x, dy_of(ad, n)); return;
    case RESHARD_SEND_ROWS: gradient_travel(ad, n, RESHARD_RETURN_ROWS); return;
    case RESHARD_RETURN_ROWS: gradient_travel(ad, n, RESHARD_SEND_ROWS); return;
    case RESHARD_GATHER_COLUMNS: back = RESHARD_OWN_COLUMNS; break;
    case RESHARD_OWN_COLUMNS: back = RESHARD_GATHER_COLUMNS; break;
    case RESHARD_SUM_SHARES:
    case RESHARD_OWN_SHARE: back = RESHARD_GATHER_SHARES; break;
    case RESHARD_GATHER_SHARES:
        back = n->attrs.partial ? RESHARD_SUM_SHARES : RESHARD_OWN_SHARE;
        break;
    case RESHARD_ALL_MAX:           /* cancels */
    case RESHARD_GATHER_CONTEXT: return;    /* attention has seen to it */
    case RESHARD_NONE: case RESHARD_SUM_CONTEXT: case RESHARD_SUM_POOLED:
    case RESHARD_KINDS: ice("%s: a reshard of gradients", n->out[0]->name);
    }
    if (back != RESHARD_OWN_COLUMNS && back != RESHARD_GATHER_COLUMNS)
        last = 0;
    ad_add(ad, x, reshard_back(ad, x, dy_of(ad, n), back, last));
}

/* y = tanh x: dx = dy (1 - y²) */
static void gradient_tanh(Autodiff *ad, Node *n)
{
    Value *y = ad_value(ad, n->out[0]);
    const char *name = n->out[0]->name;
    Value *square =
        ad_node(ad, OP_square, arena_printf(ad->m->arena, "%s.squared", name),
                1, &y, NULL, NULL);
    Value *negative =
        ad_node(ad, OP_neg, arena_printf(ad->m->arena, "%s.negative", name), 1,
                &square, NULL, NULL);
    Value *slope =
        ad_node(ad, OP_shift, arena_printf(ad->m->arena, "%s.slope", name), 1,
                &negative, &(Attrs){ .by = 1 }, NULL);
    ad_add(ad, n->in[0], ad_2(ad, OP_mul, n->in[0], dy_of(ad, n), slope));
}

/* ---- pools, experts, preferences ---- */
static void gradient_pool(Autodiff *ad, Node *n)
{
    enum { MAX = 2 };
    Value *in[3] = { dy_of(ad, n), ad_value(ad, n->in[1]) };
    bool max = n->attrs.pool == MAX;
    if (max)
        in[2] = ad_value(ad, n->in[0]);
    ad_add(ad, n->in[0],
           ad_node(ad, max ? OP_pool_max_spread : OP_pool_spread,
                   ad_name(ad, n->in[0]), max ? 3 : 2, in, &n->attrs, NULL));
}

/* Every rank of the context knows dy, and spreads it over its own chunks. */
static void gradient_pool_chunks(Autodiff *ad, Node *n)
{
    enum { MAX = 2 };
    Value *in[4] = { dy_of(ad, n), ad_value(ad, n->in[1]) };
    bool max = n->attrs.pool == MAX;
    if (max) {
        in[2] = ad_value(ad, n->in[0]);
        in[3] = ad_value(ad, n->out[1]);
    }
    ad_add(ad, n->in[0],
           ad_node(ad, OP_pool_chunks_spread, ad_name(ad, n->in[0]),
                   max ? 4 : 2, in, &n->attrs, NULL));
}

/* rows of tokens: dx sums a token's rows, experts ascending */
static void gradient_gather_rows(Autodiff *ad, Node *n)
{
    Value *place = ad_value(ad, n->in[1]->node->out[2]);
    ad_add(ad, n->in[0],
           ad_2(ad, OP_collect_rows, n->in[0], dy_of(ad, n), place));
}

/* y = Σ_e gate · row: drow = gate · dy, dgate = dy · row */
static void gradient_combine_rows(Autodiff *ad, Node *n)
{
    const Node *dispatch = n->in[1]->node;
    Value *dy = dy_of(ad, n), *gate = ad_value(ad, n->in[2]);
    Value *in[4] = { dy, gate, ad_value(ad, dispatch->out[1]),
                     ad_value(ad, dispatch->out[0]) };
    Attrs attrs = { .dim = n->in[0]->type.dims[2] };
    ad_add(ad, n->in[0],
           ad_node(ad, OP_spread_rows, ad_name(ad, n->in[0]), 4, in, &attrs,
                   NULL));
    Value *products[3] = { dy, ad_value(ad, n->in[0]), ad_value(ad, n->in[1]) };
    if (ad_wants(ad, n->in[2]))
        ad_add(ad, n->in[2],
               ad_node(ad, OP_gate_products, ad_name(ad, n->in[2]), 3, products,
                       NULL, NULL));
}

/* an expert's rows: as matmul, each by its own matrix */
static void gradient_grouped_matmul(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n), *starts = ad_value(ad, n->in[2]);
    if (ad_wants(ad, n->in[0]))
        ad_add_product(ad, n->in[0], dy, ad_value(ad, n->in[1]), starts);
    if (ad_wants(ad, n->in[1]))
        ad_weight_from(ad, n->in[1], OP_grouped_weight, 3,
                       (Value *[]){ dy, ad_value(ad, n->in[0]), starts });
    if (n->inputs == 4 && ad_wants(ad, n->in[3]))
        ad_weight_from(ad, n->in[3], OP_grouped_bias, 2,
                       (Value *[]){ dy, starts });
}

static void gradient_preference(Autodiff *ad, Node *n)
{
    Value *in[4] = { ad_value(ad, n->in[0]), ad_value(ad, n->in[1]),
                     ad_value(ad, n->in[2]), dy_of(ad, n) };
    ad_add(ad, n->in[0],
           ad_node(ad, OP_preference_grad, ad_name(ad, n->in[0]), 4, in,
                   &n->attrs, NULL));
}

typedef void Rule(Autodiff *ad, Node *n);

static Rule *const rules[OP_COUNT] = {
    [OP_add] = gradient_add, [OP_sub] = gradient_sub,
    [OP_mul] = gradient_mul, [OP_div] = gradient_div,
    [OP_neg] = gradient_neg, [OP_square] = gradient_square,
    [OP_recip] = gradient_recip, [OP_sqrt] = gradient_sqrt,
    [OP_exp] = gradient_exp, [OP_log] = gradient_log,
    [OP_relu] = gradient_call, [OP_gelu] = gradient_call,
    [OP_gelu_tanh] = gradient_call, [OP_silu] = gradient_call,
    [OP_tanh] = gradient_tanh, [OP_scale] = gradient_scale,
    [OP_shift] = gradient_same, [OP_expand] = gradient_same,
    [OP_copy] = gradient_same, [OP_sum] = gradient_same,
    [OP_dropout] = gradient_dropout, [OP_mean] = gradient_mean,
    [OP_pick] = gradient_pick, [OP_rotate] = gradient_rotate,
    [OP_unrotate] = gradient_rotate, [OP_chain] = gradient_chain,
    [OP_matmul] = gradient_matmul, [OP_attention] = gradient_attention,
    [OP_gather] = gradient_gather, [OP_reshape] = gradient_reshape,
    [OP_spread] = gradient_spread, [OP_reshard] = gradient_reshard,
    [OP_pool] = gradient_pool, [OP_pool_chunks] = gradient_pool_chunks,
    [OP_share_pooled] = gradient_share_pooled,
    [OP_gather_rows] = gradient_gather_rows,
    [OP_combine_rows] = gradient_combine_rows,
    [OP_grouped_matmul] = gradient_grouped_matmul,
    [OP_preference] = gradient_preference,
};

/* The maximum only shifts a softmax, whose value it leaves as it is; a choice
 * has no slope; ids are integers, and constants and inputs are given. */
static bool is_flat(Op op)
{
    return op == OP_rowmax || op == OP_top_k || op == OP_dispatch
        || op == OP_is_zero || op == OP_first || op == OP_patches
        || op == OP_scored || op == OP_onehot || op == OP_const
        || op == OP_positions || op == OP_own_starts || op == OP_own_lengths
        || op == OP_own_ids;
}

void node_gradient(Autodiff *ad, Node *n)
{
    if (rules[n->op])
        rules[n->op](ad, n);
    else if (!is_flat(n->op))
        ice("%s has no gradient", op_info[n->op].name);
}
