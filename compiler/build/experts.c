/* experts.c: a mixture of experts in place of the feed-forward layer. A router
 * gives each token a probability an expert; the top_k are kept and
 * renormalised; each expert computes the rows of the tokens that it takes.
 * Padding is not routed. */
#include "builder.h"

/* Marks a weight of which a rank has its experts' part, and a tensor rank `own`
 * of every expert's. */
static Value *shared(Builder *b, Value *weight, Slice own)
{
    b->m->weights.at[weight->weight].experts = b->experts > 1;
    if (b->tensor > 1)
        b->m->weights.at[weight->weight].slice = own;
    return weight;
}

/* A weight of all experts, a matrix each: ff.experts.NAME.weight [X, out, in].
 */
static Value *expert_matrix(Builder *b, const char *name, int out, int in,
                            bool residual)
{
    const char *full = arena_printf(b->m->arena, "ff.experts.%s.weight", name);
    int dims[3] = { b->d.own_experts, out, in };
    return shared(b, weight(b, full, 3, dims,
                            matrix_init(b, out, in, residual)),
                  residual ? SLICE_LAST : SLICE_COLUMNS);
}

/* Where the rows of this call go. */
typedef struct Route {
    Value *gate, *keep, *probabilities, *starts, *order, *place;
    Value *own;                 /* the starts of this rank's experts */
} Route;

/* Rows to the ranks of their experts, or back. */
static Value *travel(Builder *b, ReshardKind kind, const char *name,
                     const Route *route, Value *rows)
{
    if (b->experts == 1)
        return rows;
    const Attrs attrs = reshard_attrs(
        kind, rows->type.rank,
        kind == RESHARD_SEND_ROWS ? b->d.received : b->d.choices);
    b->here = b->s->loc[KEY_parallel_experts];
    return make(b, OP_reshard, name, 3,
                (Value *[]){ rows, route->starts, route->own }, &attrs);
}

static Value *expert_linear(Builder *b, const char *name, const Route *route,
                            Value *x, int out)
{
    int in = x->type.dims[x->type.rank - 1];
    bool down = !strcmp(name, "down");
    const Attrs attrs = { .partial = down && b->tensor > 1 };
    Value *inputs[4] = { x, expert_matrix(b, name, out, in, down),
                         route->own };
    if (b->s->model_ff_bias)
        inputs[3] = shared(
            b, weight(b, arena_printf(b->m->arena, "ff.experts.%s.bias", name),
                      2, (int[]){ b->d.own_experts, out },
                      (Init){ .kind = INIT_ZEROS }),
            down ? SLICE_NONE : SLICE_COLUMNS);
    return make(b, OP_grouped_matmul,
                arena_printf(b->m->arena, "ff.%s_rows", name),
                b->s->model_ff_bias ? 4 : 3, inputs, &attrs);
}

/* softmax over the router's logits, which are *scores */
static Value *probabilities(Builder *b, Value *x, Value **scores)
{
    Linear router = { .name = "ff.router",
                      .result = "ff.router",
                      .out = b->d.experts,
                      .in = b->d.C };
    Value *logits = *scores = build_linear(b, &router, x);
    Value *most = make1(b, OP_rowmax, "ff.router.most", logits);
    Value *shifted = make2(b, OP_sub, "ff.router.shifted", logits, most);
    Value *exps = make1(b, OP_exp, "ff.router.exps", shifted);
    Value *total = make1(b, OP_sum, "ff.router.total", exps);
    return make2(b, OP_div, "ff.probabilities", exps, total);
}

static Route build_route(Builder *b, Value *x, Value *lengths)
{
    const Spec *s = b->s;
    Route r = {0};
    Value *logits;
    b->here = s->loc[KEY_model_experts_count];
    r.probabilities = probabilities(b, x, &logits);
    b->here = s->loc[KEY_model_experts_top_k];
    Attrs attrs = { .count = s->model_experts_top_k,
                    .dim = b->d.starts,
                    .width = b->d.choices,
                    .denominator = 1 };
    /* of the logits: probabilities that underflow would be equal */
    r.keep = make(b, OP_top_k, "ff.keep", 1, &logits, &attrs);
    Value *kept = make2(b, OP_mul, "ff.kept", r.probabilities, r.keep);
    Value *sum = make1(b, OP_sum, "ff.kept_sum", kept);
    r.gate = make2(b, OP_div, "ff.gate_shares", kept, sum);
    /* how many an expert turns away depends on the sequence's length, which
     * generation does not know: it turns none away */
    if (!b->cached && !spec_capacity(s, &attrs.numerator, &attrs.denominator))
        ice("the capacity is no fraction");
    if (b->context > 1)
        lengths = make1(b, OP_own_lengths, "ff.own_lengths", lengths);
    r.starts = make(b, OP_dispatch, "ff.dispatch", 2,
                    (Value *[]){ r.keep, lengths }, &attrs);
    r.order = r.starts->node->out[1];
    r.place = r.starts->node->out[2];
    r.own = r.starts;
    if (b->experts > 1) {
        b->here = s->loc[s->model_experts_buffer ? KEY_model_experts_buffer
                                                 : KEY_parallel_experts];
        r.own = make(b, OP_own_starts, "ff.own_starts", 1, &r.starts,
                     &(Attrs){ .dim = b->d.own_starts,
                               .room = s->model_experts_buffer });
    }
    return r;
}

/* What a block adds to the loss, a sequence a row: aux_loss · X / sequences of
 * the batch · Σ_e f_e p_e, f the share of the choices and p the mean
 * probability. */
static Value *auxiliary_loss(Builder *b, const Route *route, Value *lengths)
{
    const Spec *s = b->s;
    double sequences = (double)s->train_batch * (is_preference(s) ? 2 : 1);
    double weight =
        s->model_experts_aux_loss * (double)s->model_experts_count / sequences;
    b->here = s->loc[KEY_model_experts_aux_loss];
    Value *chosen =
        build_pooled(b, "ff.chosen", route->keep, lengths, POOLED_MEAN);
    Value *p = build_pooled(b, "ff.mean_probability", route->probabilities,
                            lengths, POOLED_MEAN);
    Value *products = make2(b, OP_mul, "aux.products", chosen, p);
    Value *sum = make1(b, OP_sum, "aux.sum", products);
    return make_by(b, OP_scale, "aux", sum,
                   weight / (double)s->model_experts_top_k);
}

Value *build_experts(Builder *b, Value *x, Value *lengths, Value **aux)
{
    const Spec *s = b->s;
    x = build_whole(b, "ff.whole", x);
    Route route = build_route(b, x, lengths);
    if (s->model_experts_aux_loss != 0)
        *aux = auxiliary_loss(b, &route, lengths);
    b->here = s->loc[KEY_model_experts_count];
    Attrs choices = { .dim = b->d.choices };
    x = build_spread(b, "ff.in", x);
    route.gate = build_spread(b, "ff.gates", route.gate);
    Value *rows = make(b, OP_gather_rows, "ff.rows", 3,
                       (Value *[]){ x, route.order, route.starts }, &choices);
    rows = travel(b, RESHARD_SEND_ROWS, "ff.received", &route, rows);
    Value *hidden;
    b->here = s->loc[KEY_model_ff_dim];
    if (s->model_ff_gated) {
        Value *g = expert_linear(b, "gate", &route, rows, b->d.F);
        Value *u = expert_linear(b, "up", &route, rows, b->d.F);
        b->here = s->loc[KEY_model_ff_activation];
        Value *act = make1(b, build_activation(s), "ff.activated", g);
        b->here = s->loc[KEY_model_ff_gated];
        hidden = make2(b, OP_mul, "ff.hidden", act, u);
    } else {
        Value *u = expert_linear(b, "up", &route, rows, b->d.F);
        b->here = s->loc[KEY_model_ff_activation];
        hidden = make1(b, build_activation(s), "ff.hidden", u);
    }
    b->here = s->loc[KEY_model_ff_dim];
    Value *down = expert_linear(b, "down", &route, hidden, b->d.C);
    down = travel(b, RESHARD_RETURN_ROWS, "ff.returned", &route, down);
    const char *name = b->tensor > 1 ? "ff.down.part" : "ff.down";
    Value *part = make(b, OP_combine_rows, name, 3,
                       (Value *[]){ down, route.place, route.gate }, NULL);
    return build_sum(b, "ff.down", part);
}
