/* attention.c: a block's self-attention, from its (normed) input to the output
 * projection. Read build_attention; the helpers above it are its lines. */
#include "builder.h"

/* RMS norm over head_dim, a head at a time: q and k of `qk_norm`. */
static Value *head_norm(Builder *b, const char *name, Value *x, int heads)
{
    Arena *a = b->m->arena;
    Init ones = { .kind = INIT_ONES };
    b->here = b->s->loc[KEY_model_attention_qk_norm];
    Value *w = weight(b, true, arena_printf(a, "%s_norm.weight", name), 1, &b->D, ones);
    Value *split = make_reshape(b, arena_printf(a, "%s.heads", name), x, 4,
                                (int[]){ b->B, b->T, heads, b->D });
    Value *square = make1(b, OP_square, arena_printf(a, "%s.square", name), split);
    Value *mean = make1(b, OP_mean, arena_printf(a, "%s.mean_square", name), square);
    Value *safe = make_by(b, OP_shift, arena_printf(a, "%s.shifted", name), mean,
                          b->s->model_norm_eps);
    Value *root = make1(b, OP_sqrt, arena_printf(a, "%s.root", name), safe);
    Value *rms = make1(b, OP_recip, arena_printf(a, "%s.rrms", name), root);
    Value *normal = make2(b, OP_mul, arena_printf(a, "%s.normal", name), split, rms);
    return make2(b, OP_mul, arena_printf(a, "%s.normed", name), normal, w);
}

/* Llama's rotary positions on x [B,T,heads,D]: x·cos + rotate_half(x)·sin. */
static Value *rotary(Builder *b, const char *name, Value *x)
{
    Arena *a = b->m->arena;
    b->here = b->s->loc[KEY_model_position];
    const Spec *s = b->s;
    Init cos = { .kind = INIT_ROTARY_COS, .base = s->model_position_rotary_base };
    if (s->model_position_rotary_scaling == MODEL_POSITION_ROTARY_SCALING_LLAMA3) {
        cos.factor = s->model_position_rotary_scaling_llama3_factor;
        cos.low = s->model_position_rotary_scaling_llama3_low;
        cos.high = s->model_position_rotary_scaling_llama3_high;
        cos.original = (double)s->model_position_rotary_scaling_llama3_original;
    }
    Init sin = cos;
    sin.kind = INIT_ROTARY_SIN;
    int table[2] = { b->P, b->D }, spread[4] = { b->B, b->T, 0, b->D };
    Value *where = make(b, OP_positions, arena_printf(a, "%s.positions", name), 0, NULL, NULL);
    Value *c = weight(b, false, "rotary.cos", 2, table, cos);
    Value *s_ = weight(b, false, "rotary.sin", 2, table, sin);
    Value *rows_c = make2(b, OP_gather, arena_printf(a, "%s.cos", name), c, where);
    Value *rows_s = make2(b, OP_gather, arena_printf(a, "%s.sin", name), s_, where);
    rows_c = make_reshape(b, arena_printf(a, "%s.cos_rows", name), rows_c, 4, spread);
    rows_s = make_reshape(b, arena_printf(a, "%s.sin_rows", name), rows_s, 4, spread);
    Value *half = make1(b, OP_rotate, arena_printf(a, "%s.half", name), x);
    Value *straight = make2(b, OP_mul, arena_printf(a, "%s.straight", name), x, rows_c);
    Value *turned = make2(b, OP_mul, arena_printf(a, "%s.turned", name), half, rows_s);
    return make2(b, OP_add, arena_printf(a, "%s.rotated", name), straight, turned);
}

/* q or k as attention receives it: projected, normed and rotated as the spec says. */
static Value *query_or_key(Builder *b, const char *name, Value *x, int heads, int width)
{
    const Spec *s = b->s;
    bool turned = s->model_position == MODEL_POSITION_ROTARY;
    bool more = s->model_attention_qk_norm || turned;
    Value *v = x;
    if (s->model_attention_projections) {
        b->here = s->loc[KEY_model_heads];
        Linear linear = { .name = name, .out = width, .in = b->C,
                          .bias = s->model_attention_bias != MODEL_ATTENTION_BIAS_FALSE,
                          .result = more ? arena_printf(b->m->arena, "%s.projected", name) : name };
        v = build_linear(b, &linear, x);
    }
    if (!more)
        return v;
    if (s->model_attention_qk_norm)
        v = head_norm(b, name, v, heads);
    else
        v = make_reshape(b, arena_printf(b->m->arena, "%s.heads", name), v, 4,
                         (int[]){ b->B, b->T, heads, b->D });
    if (turned)
        v = rotary(b, name, v);
    return make_reshape(b, name, v, 3, (int[]){ b->B, b->T, width });
}

static Value *keep_rows(Builder *b, const char *name, Value *x, int slot)
{
    Attrs attrs = { .slot = slot, .dim = b->P };
    return make(b, OP_cache, name, 1, (Value *[]){ x }, &attrs);
}

static Attrs attention_attrs(const Builder *b, Variant variant)
{
    const Spec *s = b->s;
    double root = __builtin_sqrt((double)s->model_head_dim);
    return (Attrs){
        .heads = s->model_heads,
        .kv_heads = s->model_kv_heads,
        .scale = s->model_attention_scale ? 1 / root : 1,
        .causal = s->model_attention_mask == MODEL_ATTENTION_MASK_CAUSAL,
        .window = s->model_attention_window,
        .rate = s->model_attention_dropout,
        .site = SITE_ATTENTION,
        .cached = variant == VARIANT_CACHED,
    };
}

/* The softmax weights themselves, for whoever asks `forward` for them. */
static void inspect_weights(Builder *b, Value *q, Value *k, Value *lengths, Value *alibi)
{
    Attrs attrs = attention_attrs(b, VARIANT_INSPECT);
    attrs.rate = 0;
    attrs.dim = b->H;
    make(b, OP_attention_weights, "attn.weights", alibi ? 4 : 3,
         (Value *[]){ q, k, lengths, alibi }, &attrs);
}

Value *build_attention(Builder *b, Value *x, Value *lengths, Variant variant)
{
    const Spec *s = b->s;
    Value *q = query_or_key(b, "attn.q", x, b->H, b->A);
    Value *k = query_or_key(b, "attn.k", x, b->G, b->E);
    Value *v = x;
    bool biased = s->model_attention_bias != MODEL_ATTENTION_BIAS_FALSE;
    if (s->model_attention_projections) {
        b->here = s->loc[KEY_model_heads];
        Linear linear = { .name = "attn.v", .result = "attn.v", .out = b->E, .in = b->C,
                          .bias = biased };
        v = build_linear(b, &linear, x);
    }
    b->here = s->loc[KEY_model_attention_mask];
    if (variant == VARIANT_INSPECT && !s->model_attention_projections) {
        q = make1(b, OP_copy, "attn.q", q);
        k = make1(b, OP_copy, "attn.k", k);
        v = make1(b, OP_copy, "attn.v", v);
    }
    if (variant == VARIANT_CACHED) {
        k = keep_rows(b, "attn.k.cache", k, 0);
        v = keep_rows(b, "attn.v.cache", v, 1);
    }
    Attrs attrs = attention_attrs(b, variant);
    Value *in[5] = { q, k, v, lengths };
    int inputs = 4;
    if (s->model_position == MODEL_POSITION_ALIBI) {
        Init slopes = { .kind = INIT_ALIBI };
        in[inputs++] = weight(b, false, "alibi.slopes", 1, &b->H, slopes);
    }
    if (variant == VARIANT_INSPECT)
        inspect_weights(b, q, k, lengths, inputs == 5 ? in[4] : NULL);
    bool output = s->model_attention_projections && s->model_attention_output;
    Value *heads = make(b, OP_attention, output ? "attn.heads" : "attn.out", inputs, in, &attrs);
    if (!output)
        return heads;
    b->here = s->loc[KEY_model_attention_output];
    Linear linear = { .name = "attn.out", .result = "attn.out", .out = b->C, .in = b->A,
                      .bias = s->model_attention_bias == MODEL_ATTENTION_BIAS_TRUE,
                      .residual = true };
    return build_linear(b, &linear, heads);
}
