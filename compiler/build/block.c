/* block.c: a block: attention, in a decoder with an encoder cross attention,
 * and a feed-forward layer or experts, with norms and residuals as the spec
 * says. */
#include "builder.h"

Op build_activation(const Spec *s)
{
    switch (s->model_ff_activation) {
    case MODEL_FF_ACTIVATION_RELU: return OP_relu;
    case MODEL_FF_ACTIVATION_GELU: return OP_gelu;
    case MODEL_FF_ACTIVATION_GELU_TANH: return OP_gelu_tanh;
    case MODEL_FF_ACTIVATION_SILU: return OP_silu;
    }
    ice("unknown activation");
}

static Value *build_ff(Builder *b, Value *x)
{
    const Spec *s = b->s;
    int F = b->d.F, C = b->d.C;
    bool bias = s->model_ff_bias;
    Linear up = {
        .name = "ff.up", .result = "ff.up", .out = F, .in = C, .bias = bias,
        .slice = SLICE_ROWS,
    };
    Linear gate = up;
    gate.name = gate.result = "ff.gate";
    Linear down = { .name = "ff.down",
                    .result = "ff.down",
                    .out = C,
                    .in = F,
                    .bias = bias,
                    .residual = true,
                    .slice = SLICE_COLUMNS };
    Value *hidden;
    b->here = s->loc[KEY_model_ff_dim];
    x = build_spread(b, "ff.in", x);
    if (s->model_ff_gated) {
        Value *g = build_linear(b, &gate, x), *u = build_linear(b, &up, x);
        b->here = s->loc[KEY_model_ff_activation];
        Value *act = make1(b, build_activation(s), "ff.activated", g);
        b->here = s->loc[KEY_model_ff_gated];
        hidden = make2(b, OP_mul, "ff.hidden", act, u);
    } else {
        Value *u = build_linear(b, &up, x);
        b->here = s->loc[KEY_model_ff_activation];
        hidden = make1(b, build_activation(s), "ff.hidden", u);
    }
    b->here = s->loc[KEY_model_ff_dim];
    return build_linear(b, &down, hidden);
}

/* x + dropped(f), normed after for `place: post`; f alone without residuals. */
static Value *join(Builder *b, const char *name, const char *norm, Value *x,
                   Value *f)
{
    const Spec *s = b->s;
    Value *sum = f;
    if (s->model_attention_residual) {
        b->here = s->loc[KEY_model_attention_residual];
        sum = make2(b, OP_add, name, x, f);
    }
    bool post = has_norms(s) && !norms_before(s);
    return post ? build_norm(b, norm, norm, sum) : sum;
}

/* What `forward --save` knows, where the block has it. */
static void keep_values(Builder *b)
{
    static const char *const names[] = {
        "norm1",        "attn.q",           "attn.k",        "attn.v",
        "attn.weights", "attn.out",         "cross_norm",    "cross.q",
        "cross.k",      "cross.v",          "cross.weights", "cross.out",
        "norm2",        "ff.probabilities", "ff.up",         "ff.gate",
        "ff.down",
    };
    b->f->record = b->f->name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int j = 0; j < b->f->values.count; j++) {
            Value *v = b->f->values.at[j];
            if (v->kind == VALUE_NODE && !strcmp(v->name, names[i]))
                list_push(b->m->arena, &b->f->saved, v);
        }
}

static Value *build_self(Builder *b, Value *x, Attended *to)
{
    bool pre = norms_before(b->s);
    to->name = "attn";
    to->x = pre ? build_norm(b, "norm1", "norm1", x) : x;
    to->x = b->s->model_attention_projections
        ? build_spread(b, "attn.in", to->x)
        : build_whole(b, "attn.in", to->x);
    Value *branch = build_attention(b, to);
    b->here = b->s->loc[KEY_model_dropout];
    branch = build_dropout(b, "attn.dropped", branch, b->s->model_dropout,
                           SITE_ATTENTION_OUT);
    return join(b, "middle", "norm1", x, branch);
}

static Value *build_cross(Builder *b, Value *x, Value *memory, Value *lengths,
                          Variant variant)
{
    bool pre = norms_before(b->s);
    Attended to = { .name = "cross",
                    .memory = memory,
                    .lengths = lengths,
                    .variant = variant };
    to.x = pre ? build_norm(b, "cross_norm", "cross_norm", x) : x;
    to.x = build_spread(b, "cross.in", to.x);
    if (memory)                 /* where it is gathered, so is its gradient */
        to.memory = gathers_memory(b)
            ? memory : build_spread(b, "cross.memory", memory);
    if (!memory)
        to.memory = x; /* a cached block's keys lie in the cache */
    Value *branch = build_attention(b, &to);
    b->here = b->s->loc[KEY_model_dropout];
    branch = build_dropout(b, "cross.dropped", branch, b->s->model_dropout,
                           SITE_CROSS_OUT);
    return join(b, "crossed", "cross_norm", x, branch);
}

static Value *build_feed_forward(Builder *b, Value *x, Value *lengths,
                                 Value **aux)
{
    const Spec *s = b->s;
    Value *in = norms_before(s) ? build_norm(b, "norm2", "norm2", x) : x;
    Value *branch =
        has_experts(s) ? build_experts(b, in, lengths, aux) : build_ff(b, in);
    b->here = s->loc[KEY_model_dropout];
    branch =
        build_dropout(b, "ff.dropped", branch, s->model_dropout, SITE_FF_OUT);
    return join(b, "out", "norm2", x, branch);
}

void build_block(Builder *b, const char *name, Variant variant)
{
    const Spec *s = b->s;
    const ModelDims *d = &b->d;
    Type stream = type_of(DT_F32, 3, (int[]){ d->B, d->S, d->C });
    Type whole = type_of(DT_F32, 3, (int[]){ d->B, d->T, d->C });
    bool encoder = !strcmp(b->side, "encoder"),
         decoder = !strcmp(b->side, "decoder");
    const char *root =
        *b->side ? arena_printf(b->m->arena, "%s_block", b->side) : "block";
    b->f = func_new(b->m, name, root, b->stack);
    b->here = s->loc[KEY_model_blocks];
    b->cached = variant == VARIANT_CACHED;
    Value *x = func_param(b->m, b->f, "x", stream), *memory = NULL,
          *source_lengths = NULL;
    if (decoder && variant != VARIANT_CACHED)
        memory = func_param(b->m, b->f, "memory",
                            gathers_memory(b) ? whole : stream);
    Attended to = { .variant = variant,
                    .lengths =
                        given(b, encoder ? "source_lengths" : "lengths") };
    if (decoder)
        source_lengths = given(b, "source_lengths");
    if (s->model_input == MODEL_INPUT_GRAPH)
        to.edges = given(b, "edges");
    Value *out = build_self(b, x, &to), *aux = NULL;
    if (decoder)
        out = build_cross(b, out, memory, source_lengths, variant);
    if (s->model_ff != MODEL_FF_NONE)
        out = build_feed_forward(b, out, to.lengths, &aux);
    if (variant == VARIANT_INSPECT) {
        keep_values(b);
        out = make1(b, OP_copy, "out.copy", out);
    }
    list_push(b->m->arena, &b->f->results, out);
    if (aux)
        list_push(b->m->arena, &b->f->results, aux);
}

/* The rows of the stream, of a function outside blocks. */
static Value *stream_param(Builder *b)
{
    const ModelDims *d = &b->d;
    b->stack = -1;
    return func_param(b->m, b->f, "x",
                      type_of(DT_F32, 3, (int[]){ d->B, d->S, d->C }));
}

/* x [B,S,C], normed where norms stand before, of all shares: NAME [B,T,C]. */
static Value *gather_normed(Builder *b, const char *norm, const char *result,
                            Value *x, bool partial)
{
    const char *own = b->shares > 1
        ? arena_printf(b->m->arena, "%s.share", result) : result;
    if (norms_before(b->s))
        x = build_norm(b, norm, own, x);
    b->here = b->s->loc[KEY_parallel_sequence_parallel];
    return b->shares == 1 ? x : gather_shares(b, result, x, partial);
}

void build_encoder_norm(Builder *b)
{
    b->f = func_new(b->m, "encoder_norm", "encoder_norm", -1);
    Value *x = stream_param(b);
    list_push(b->m->arena, &b->f->results,
              gathers_memory(b)
                  ? gather_normed(b, "encoder.norm", "memory", x, true)
                  : build_norm(b, "encoder.norm", "memory", x));
}

/* With next sentences none does: of theirs every rank makes all of x's
 * gradient, and the two are one sum. */
bool head_makes_parts(const Builder *b)
{
    return b->shares > 1 && b->s->model_head == MODEL_HEAD_LM
        && !has_next_sentence(b->s);
}

void build_final_norm(Builder *b)
{
    b->f = func_new(b->m, "final_norm", "final_norm", -1);
    list_push(b->m->arena, &b->f->results,
              gather_normed(b, sided(b, "norm"), "normed", stream_param(b),
                            head_makes_parts(b)));
}
