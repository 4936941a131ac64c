/* attention.c: a block's attention, to itself or to an encoder's output, from
 * its (normed) input to the output projection. Read build_attention; the
 * helpers above it are its lines. */
#include "builder.h"

/* RMS norm over head_dim, a head at a time: q and k of `qk_norm`. */
static Value *head_norm(Builder *b, const char *name, Value *x, int heads)
{
    Arena *a = b->m->arena;
    const ModelDims *d = &b->d;
    Init ones = { .kind = INIT_ONES };
    b->here = b->s->loc[KEY_model_attention_qk_norm];
    Value *w =
        weight(b, arena_printf(a, "%s_norm.weight", name), 1, &d->D, ones);
    b->m->weights.at[w->weight].partial = b->tensor > 1;
    Value *split = make_reshape(b, arena_printf(a, "%s.heads", name), x, 4,
                                (int[]){ d->B, d->T, heads, d->D });
    Value *square =
        make1(b, OP_square, arena_printf(a, "%s.square", name), split);
    Value *mean =
        make1(b, OP_mean, arena_printf(a, "%s.mean_square", name), square);
    Value *safe = make_by(b, OP_shift, arena_printf(a, "%s.shifted", name),
                          mean, b->s->model_norm_eps);
    Value *root = make1(b, OP_sqrt, arena_printf(a, "%s.root", name), safe);
    Value *rms = make1(b, OP_recip, arena_printf(a, "%s.rrms", name), root);
    Value *normal =
        make2(b, OP_mul, arena_printf(a, "%s.normal", name), split, rms);
    return make2(b, OP_mul, arena_printf(a, "%s.normed", name), normal, w);
}

/* Llama's rotary positions on x [B,T,heads,D]: x·cos + rotate_half(x)·sin. */
static Value *rotary(Builder *b, const char *name, Value *x)
{
    Arena *a = b->m->arena;
    const ModelDims *d = &b->d;
    b->here = b->s->loc[KEY_model_position];
    const Spec *s = b->s;
    Init cos = { .kind = INIT_ROTARY_COS,
                 .base = s->model_position_rotary_base };
    if (s->model_position_rotary_scaling
        == MODEL_POSITION_ROTARY_SCALING_LLAMA3) {
        cos.factor = s->model_position_rotary_scaling_llama3_factor;
        cos.low = s->model_position_rotary_scaling_llama3_low;
        cos.high = s->model_position_rotary_scaling_llama3_high;
        cos.original = (double)s->model_position_rotary_scaling_llama3_original;
    }
    Init sin = cos;
    sin.kind = INIT_ROTARY_SIN;
    int table[2] = { d->P, d->D }, spread[4] = { d->B, d->T, 0, d->D };
    Value *where = make(b, OP_positions, arena_printf(a, "%s.positions", name),
                        0, NULL, NULL);
    Value *c = whole_weight(b, "rotary.cos", 2, table, cos);
    Value *s_ = whole_weight(b, "rotary.sin", 2, table, sin);
    Value *rows_c =
        make2(b, OP_gather, arena_printf(a, "%s.cos", name), c, where);
    Value *rows_s =
        make2(b, OP_gather, arena_printf(a, "%s.sin", name), s_, where);
    rows_c = make_reshape(b, arena_printf(a, "%s.cos_rows", name), rows_c, 4,
                          spread);
    rows_s = make_reshape(b, arena_printf(a, "%s.sin_rows", name), rows_s, 4,
                          spread);
    Value *half = make1(b, OP_rotate, arena_printf(a, "%s.half", name), x);
    Value *straight =
        make2(b, OP_mul, arena_printf(a, "%s.straight", name), x, rows_c);
    Value *turned =
        make2(b, OP_mul, arena_printf(a, "%s.turned", name), half, rows_s);
    return make2(b, OP_add, arena_printf(a, "%s.rotated", name), straight,
                 turned);
}

/* A projection of attention, or x itself where there are none. */
static Value *project(Builder *b, const char *name, const char *result, int out,
                      Value *x)
{
    const Spec *s = b->s;
    if (!s->model_attention_projections)
        return x;
    b->here = s->loc[KEY_model_heads];
    Linear linear = { .name = name,
                      .result = result,
                      .out = out,
                      .in = b->d.C,
                      .bias = s->model_attention_bias
                           != MODEL_ATTENTION_BIAS_FALSE,
                      .slice = SLICE_ROWS };
    return build_linear(b, &linear, x);
}

/* q or k as attention receives it: projected, normed and rotated as the spec
 * says. */
static Value *query_or_key(Builder *b, const char *name, Value *x, int heads,
                           int width)
{
    const Spec *s = b->s;
    bool turned = s->model_position == MODEL_POSITION_ROTARY;
    bool more = s->model_attention_qk_norm || turned;
    const char *first =
        more ? arena_printf(b->m->arena, "%s.projected", name) : name;
    Value *v = project(b, name, first, width, x);
    if (!more)
        return v;
    if (s->model_attention_qk_norm)
        v = head_norm(b, name, v, heads);
    else
        v = make_reshape(b, arena_printf(b->m->arena, "%s.heads", name), v, 4,
                         (int[]){ b->d.B, b->d.T, heads, b->d.D });
    if (turned)
        v = rotary(b, name, v);
    return make_reshape(b, name, v, 3, (int[]){ b->d.B, b->d.T, width });
}

static Value *keep_rows(Builder *b, const char *name, Value *x, int slot)
{
    Attrs attrs = { .slot = slot, .dim = b->d.P };
    return make(b, OP_cache, name, 1, (Value *[]){ x }, &attrs);
}

static Value *recall_rows(Builder *b, const char *name, int slot)
{
    Attrs attrs = { .slot = slot, .dim = b->d.P, .width = b->d.E };
    return make(b, OP_recall, name, 0, NULL, &attrs);
}

static Attrs attention_attrs(const Builder *b, const Attended *to)
{
    const Spec *s = b->s;
    double root = __builtin_sqrt((double)s->model_head_dim);
    bool cross = to->memory != NULL, encoder = !strcmp(b->side, "encoder");
    return (Attrs){
        .heads = s->model_heads / b->tensor,
        .kv_heads = s->model_kv_heads / b->tensor,
        .scale = s->model_attention_scale ? 1 / root : 1,
        .causal = !cross && !encoder
               && s->model_attention_mask == MODEL_ATTENTION_MASK_CAUSAL,
        .window = cross ? 0 : s->model_attention_window,
        .rate = s->model_attention_dropout,
        .site = cross ? SITE_CROSS : SITE_ATTENTION,
        .cached = to->variant == VARIANT_CACHED,
        .cross = cross,
        .alibi = !cross && s->model_position == MODEL_POSITION_ALIBI,
        .edges = to->edges != NULL,
        .relative = !cross && is_relative(s),
        .context = b->context > 1 ? b->context : 0,
        .parts = b->d.parts,
    };
}

/* ---- relative positions: the lecture's, from Transformer-XL ---- */
/* q + NAME, a vector a head, [heads, head_dim] in files. */
static Value *biased_query(Builder *b, const char *name, const char *result,
                           Value *q)
{
    const char *full = arena_printf(b->m->arena, "attn.relative.%s", name);
    b->here = b->s->loc[KEY_model_position];
    Value *bias = weight(b, full, 1, &b->d.A, (Init){ .kind = INIT_ZEROS });
    Weight *w = &b->m->weights.at[bias->weight];
    w->file_type = type_of(DT_F32, 2, (int[]){ b->d.H, b->d.D });
    w->slice = b->tensor > 1 ? SLICE_ROWS : SLICE_NONE;
    return make2(b, OP_add, result, q, bias);
}

/* W r of every distance 1-P … P-1, [distances, A]: made by `prepare`. */
static Value *distance_rows(Builder *b)
{
    int dims[2] = { b->d.distances, b->d.A };
    b->here = b->s->loc[KEY_model_position];
    Value *rows =
        weight(b, "attn.relative.rows", 2, dims, (Init){ .kind = INIT_ZEROS });
    Weight *w = &b->m->weights.at[rows->weight];
    w->derived = true;
    w->decay = w->frozen = false;
    w->frozen_blocks = NULL;
    return rows;
}

void build_prepare(Builder *b)
{
    const Spec *s = b->s;
    bool learned = s->model_position == MODEL_POSITION_RELATIVE_LEARNED;
    const char *name =
        *b->side ? arena_printf(b->m->arena, "%s_prepare", b->side) : "prepare";
    int table[2] = { b->d.distances, b->d.C };
    b->f = func_new(b->m, name, name, b->stack);
    b->here = s->loc[KEY_model_position];
    Value *w = weight(b, "attn.relative.weight", 2, (int[]){ b->d.A, b->d.C },
                      matrix_init(b, b->d.A, b->d.C, false));
    if (b->tensor > 1)
        b->m->weights.at[w->weight].slice = SLICE_ROWS;
    Value *r = learned
        ? weight(b, "attn.relative.table", 2, table, embedding_init(b))
        : whole_weight(b, "relative.distances", 2, table,
                       (Init){ .kind = INIT_RELATIVE, .base = 10000 });
    if (learned)
        b->m->weights.at[r->weight].partial = b->tensor > 1;
    Value *rows = make2(b, OP_matmul, "attn.relative.rows", r, w);
    list_push(b->m->arena, &b->f->results, rows);
}

/* ---- attention ---- */
/* The softmax weights themselves, for whoever asks `forward` for them. */
static void inspect_weights(Builder *b, const Attended *to, Value *const *in,
                            int inputs)
{
    Attrs attrs = attention_attrs(b, to);
    Value *own[MAX_INPUTS] = { in[0], in[1] };
    attrs.rate = 0;
    attrs.dim = b->d.H;
    for (int i = 3; i < inputs; i++)        /* all but v */
        own[i - 1] = in[i];
    make(b, OP_attention_weights,
         arena_printf(b->m->arena, "%s.weights", to->name), inputs - 1, own,
         &attrs);
}

static Value *output(Builder *b, const Attended *to, Value *heads)
{
    const Spec *s = b->s;
    const char *name = arena_printf(b->m->arena, "%s.out", to->name);
    b->here = s->loc[KEY_model_attention_output];
    Linear linear = { .name = name,
                      .result = name,
                      .out = b->d.C,
                      .in = b->d.A,
                      .bias =
                          s->model_attention_bias == MODEL_ATTENTION_BIAS_TRUE,
                      .residual = true,
                      .slice = SLICE_COLUMNS };
    return build_linear(b, &linear, heads);
}

/* k and v of the whole sequence, where several ranks share it. Without
 * projections they are one. */
static void gather_keys(Builder *b, const char *const names[3], Value *in[3])
{
    bool same = in[1] == in[2];
    if (b->context == 1)
        return;
    b->here = b->s->loc[KEY_parallel_context];
    for (int i = 1; i < (same ? 2 : 3); i++)
        in[i] = make_reshard(b, RESHARD_GATHER_CONTEXT,
                             arena_printf(b->m->arena, "%s.all", names[i]),
                             in[i], b->d.gathered);
    if (same)
        in[2] = in[1];
}

/* What a tensor rank's heads read where there are no projections: slices of x.
 */
static Value *own_heads(Builder *b, const Attended *to)
{
    if (b->s->model_attention_projections || b->tensor == 1)
        return to->x;
    b->here = b->s->loc[KEY_parallel_tensor];
    return make_reshard(b, RESHARD_OWN_COLUMNS, "attn.own", to->x, b->d.A);
}

/* q, k, v as attention receives them; in a cached variant k and v are the
 * cache's. */
static void queries_keys_values(Builder *b, const Attended *to, Value *in[3])
{
    Arena *a = b->m->arena;
    const char *names[3], *kept[3];
    bool cached = to->variant == VARIANT_CACHED;
    for (int i = 0; i < 3; i++) {
        names[i] = arena_printf(a, "%s.%c", to->name, "qkv"[i]);
        kept[i] = arena_printf(a, "%s.cache", names[i]);
    }
    if (to->memory) {
        in[0] = project(b, names[0], names[0], b->d.A, to->x);
        if (cached) {
            in[1] = recall_rows(b, kept[1], SLOT_CROSS_KEYS);
            in[2] = recall_rows(b, kept[2], SLOT_CROSS_VALUES);
            return;
        }
        in[1] = project(b, names[1], names[1], b->d.E, to->memory);
        in[2] = project(b, names[2], names[2], b->d.E, to->memory);
        gather_keys(b, names, in);
        return;
    }
    Value *x = own_heads(b, to);
    in[0] = query_or_key(b, names[0], x, b->d.H, b->d.A);
    in[1] = query_or_key(b, names[1], x, b->d.G, b->d.E);
    in[2] = project(b, names[2], names[2], b->d.E, x);
    b->here = b->s->loc[KEY_model_attention_mask];
    if (to->variant == VARIANT_INSPECT && !b->s->model_attention_projections)
        for (int i = 0; i < 3; i++)
            in[i] = make1(b, OP_copy, names[i], in[i]);
    gather_keys(b, names, in);
    if (cached) {
        in[1] = keep_rows(b, kept[1], in[1], SLOT_KEYS);
        in[2] = keep_rows(b, kept[2], in[2], SLOT_VALUES);
    }
}

/* The heads of all tensor ranks side by side, where nothing sums them. */
static Value *whole_heads(Builder *b, const Attended *to, Value *heads)
{
    if (b->tensor == 1)
        return heads;
    heads->name = arena_printf(b->m->arena, "%s.heads", to->name);
    const char *name = arena_printf(b->m->arena, "%s.out", to->name);
    const char *all = arena_printf(b->m->arena, "%s.all", name);
    b->here = b->s->loc[KEY_parallel_tensor];
    if (b->shares == 1)
        return make_reshard(b, RESHARD_GATHER_COLUMNS, name, heads, b->d.C);
    heads = make_reshard(b, RESHARD_GATHER_COLUMNS, all, heads, b->d.C);
    b->here = b->s->loc[KEY_parallel_sequence_parallel];
    return make_reshard(b, RESHARD_OWN_SHARE, name, heads, 0);
}

Value *build_attention(Builder *b, const Attended *to)
{
    const Spec *s = b->s;
    Attrs attrs = attention_attrs(b, to);
    Value *in[MAX_INPUTS];
    queries_keys_values(b, to, in);
    int inputs = 3;
    in[inputs++] = to->lengths;
    if (attrs.alibi) {
        Init slopes = { .kind = INIT_ALIBI };
        b->here = s->loc[KEY_model_position];
        in[inputs++] = whole_weight(b, "alibi.slopes", 1, &b->d.H, slopes);
        if (b->tensor > 1)
            b->m->weights.at[in[inputs - 1]->weight].slice = SLICE_ROWS;
    }
    if (attrs.edges)
        in[inputs++] = to->edges;
    if (attrs.relative) {
        Value *q = in[0];
        in[0] = biased_query(b, "content_bias", "attn.q.content", q);
        in[inputs++] = biased_query(b, "position_bias", "attn.q.position", q);
        in[inputs++] = distance_rows(b);
    }
    b->here = s->loc[KEY_model_attention_mask];
    if (to->variant == VARIANT_INSPECT)
        inspect_weights(b, to, in, inputs);
    bool projected =
        s->model_attention_projections && s->model_attention_output;
    const char *name =
        arena_printf(b->m->arena, projected ? "%s.heads" : "%s.out", to->name);
    Value *heads = make(b, OP_attention, name, inputs, in, &attrs);
    return projected ? output(b, to, heads) : whole_heads(b, to, heads);
}

void build_cross_keys(Builder *b, const char *name)
{
    const ModelDims *d = &b->d;
    b->f = func_new(b->m, name, "decoder_block", b->stack);
    Value *memory = func_param(b->m, b->f, "memory",
                               type_of(DT_F32, 3, (int[]){ d->B, d->T, d->C }));
    Value *k = project(b, "cross.k", "cross.k", d->E, memory);
    Value *v = project(b, "cross.v", "cross.v", d->E, memory);
    list_push(b->m->arena, &b->f->results,
              keep_rows(b, "cross.k.cache", k, SLOT_CROSS_KEYS));
    list_push(b->m->arena, &b->f->results,
              keep_rows(b, "cross.v.cache", v, SLOT_CROSS_VALUES));
}
