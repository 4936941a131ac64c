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
static void gradient_call(Autodiff *ad, Node *n, Op slope)
{
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

/* y = x Wᵀ: dx = dy W, dW = dyᵀ x */
static void gradient_matmul(Autodiff *ad, Node *n)
{
    Value *dy = dy_of(ad, n);
    if (ad_wants(ad, n->in[0]))
        ad_add_product(ad, n->in[0], dy, ad_value(ad, n->in[1]));
    if (ad_wants(ad, n->in[1]))
        ad_weight(ad, n->in[1], OP_matmul_weight, dy, ad_value(ad, n->in[0]));
}

/* The three gradients of attention, in one op. */
static void gradient_attention(Autodiff *ad, Node *n)
{
    Value *in[MAX_INPUTS] = {
        ad_value(ad, n->in[0]), ad_value(ad, n->in[1]), ad_value(ad, n->in[2]),
        ad_value(ad, n->in[3]), ad_value(ad, n->out[1]), dy_of(ad, n),
    };
    int inputs = 6;
    if (n->inputs == 5)
        in[inputs++] = ad_value(ad, n->in[4]);
    Node *back = func_node(ad->m, ad->to, OP_attention_backward, "d.attn",
                           inputs, in, &n->attrs, NULL, ad->origin);
    for (int i = 0; i < 3; i++)
        ad_add(ad, n->in[i], back->out[i]);
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

static void gradient_none(const Node *n)
{
    ice("%s has no gradient", op_info[n->op].name);
}

void node_gradient(Autodiff *ad, Node *n)
{
    switch (n->op) {
    case OP_add: gradient_add(ad, n); break;
    case OP_sub: gradient_sub(ad, n); break;
    case OP_mul: gradient_mul(ad, n); break;
    case OP_div: gradient_div(ad, n); break;
    case OP_neg: gradient_neg(ad, n); break;
    case OP_square: gradient_square(ad, n); break;
    case OP_recip: gradient_recip(ad, n); break;
    case OP_sqrt: gradient_sqrt(ad, n); break;
    case OP_exp: gradient_exp(ad, n); break;
    case OP_log: gradient_log(ad, n); break;
    case OP_relu: gradient_call(ad, n, OP_relu_grad); break;
    case OP_gelu: gradient_call(ad, n, OP_gelu_grad); break;
    case OP_gelu_tanh: gradient_call(ad, n, OP_gelu_tanh_grad); break;
    case OP_silu: gradient_call(ad, n, OP_silu_grad); break;
    case OP_scale: gradient_scale(ad, n); break;
    case OP_shift:
    case OP_expand:
    case OP_copy:
    case OP_sum: gradient_same(ad, n); break;
    case OP_dropout: gradient_dropout(ad, n); break;
    case OP_mean: gradient_mean(ad, n); break;
    case OP_pick: gradient_pick(ad, n); break;
    case OP_rotate: case OP_unrotate: gradient_rotate(ad, n); break;
    case OP_chain: gradient_chain(ad, n); break;
    case OP_matmul: gradient_matmul(ad, n); break;
    case OP_attention: gradient_attention(ad, n); break;
    case OP_gather: gradient_gather(ad, n); break;
    case OP_reshape: gradient_reshape(ad, n); break;
    /* the maximum only shifts a softmax, whose value it leaves as it is; ids
     * are integers and constants are constant */
    case OP_rowmax:
    case OP_scored:
    case OP_onehot:
    case OP_const:
    case OP_positions: break;
    case OP_relu_grad:
    case OP_gelu_grad:
    case OP_gelu_tanh_grad:
    case OP_silu_grad:
    case OP_colsum:
    case OP_matmul_input:
    case OP_matmul_weight:
    case OP_attention_backward:
    case OP_attention_weights:
    case OP_scatter_add:
    case OP_cache:
    case OP_COUNT: gradient_none(n);
    }
}
