/* build.c: a spec becomes a Module. Read build_module at the end: the dims, then
 * the functions (embed, block, head …), then the steps that call them. */
#include "builder.h"

/* ---- dims ---- */
static int model_dim(Builder *b, const char *name, int64_t size, const char *doc, Loc from)
{
    int dim = module_dim(b->m, name, DIM_MODEL, size);
    b->m->dims.at[dim].doc = doc;
    b->m->dims.at[dim].origin = from;
    return dim;
}

static void build_dims(Builder *b)
{
    const Spec *s = b->s;
    b->B = module_dim(b->m, "B", DIM_BATCH, 0);
    b->T = module_dim(b->m, "T", DIM_SEQUENCE, 0);
    b->R = module_dim(b->m, "R", DIM_ROWS, 0);
    b->m->dims.at[b->B].doc = "sequences";
    b->m->dims.at[b->T].doc = "tokens of a sequence";
    b->m->dims.at[b->R].doc = "rows of the head";
    b->two = model_dim(b, "two", 2, "a pair", (Loc){0});
    b->L = model_dim(b, "L", s->model_blocks, "blocks", s->loc[KEY_model_blocks]);
    b->C = model_dim(b, "C", s->model_dim, "model width", s->loc[KEY_model_dim]);
    b->H = model_dim(b, "H", s->model_heads, "heads", s->loc[KEY_model_heads]);
    b->D = model_dim(b, "D", s->model_head_dim, "width of a head", s->loc[KEY_model_head_dim]);
    b->G = b->H;
    if (s->model_kv_heads != s->model_heads)
        b->G = model_dim(b, "G", s->model_kv_heads, "key heads", s->loc[KEY_model_kv_heads]);
    b->A = b->C;
    if (s->model_heads * s->model_head_dim != s->model_dim)
        b->A = model_dim(b, "A", s->model_heads * s->model_head_dim, "heads side by side",
                         s->loc[KEY_model_head_dim]);
    b->E = b->A;
    if (b->G != b->H)
        b->E = model_dim(b, "E", s->model_kv_heads * s->model_head_dim, "key heads side by side",
                         s->loc[KEY_model_kv_heads]);
    if (s->model_ff != MODEL_FF_NONE)
        b->F = model_dim(b, "F", s->model_ff_dim, "feed-forward width", s->loc[KEY_model_ff_dim]);
    b->V = model_dim(b, "V", s->model_vocab, "vocabulary", s->loc[KEY_model_vocab]);
    b->P = model_dim(b, "P", s->model_context, "positions", s->loc[KEY_model_context]);
}

/* ---- embed: tokens -> x ---- */
static Value *add_positions(Builder *b, Value *x)
{
    const Spec *s = b->s;
    b->here = s->loc[KEY_model_position];
    Value *table;
    if (s->model_position == MODEL_POSITION_LEARNED) {
        Init init = { .kind = INIT_NORMAL, .std = s->train_init == TRAIN_INIT_XAVIER
                      ? 0.02 : s->train_init_std };
        table = weight(b, false, "embed.position.weight", 2, (int[]){ b->P, b->C }, init);
    } else if (s->model_position == MODEL_POSITION_SINUSOIDAL) {
        Init init = { .kind = INIT_SINUSOIDAL, .base = 10000 };
        table = weight(b, false, "sinusoidal", 2, (int[]){ b->P, b->C }, init);
    } else {
        return x;
    }
    Value *where = make(b, OP_positions, "positions", 0, NULL, NULL);
    Value *rows = make2(b, OP_gather, "position_rows", table, where);
    return make2(b, OP_add, "positioned", x, rows);
}

void build_embed(Builder *b)
{
    const Spec *s = b->s;
    b->f = func_new(b->m, "embed", "embed", false);
    b->here = s->loc[KEY_model_vocab];
    Value *tokens = func_param(b->m, b->f, "tokens", type_of(DT_I32, 2, (int[]){ b->B, b->T }));
    Init init = { .kind = INIT_NORMAL, .std = s->train_init == TRAIN_INIT_XAVIER
                  ? 0.02 : s->train_init_std };
    Value *table = weight(b, false, "embed.token.weight", 2, (int[]){ b->V, b->C }, init);
    Value *x = make2(b, OP_gather, "token_rows", table, tokens);
    if (s->model_embedding_scale) {
        b->here = s->loc[KEY_model_embedding_scale];
        x = make_by(b, OP_scale, "scaled", x, __builtin_sqrt((double)s->model_dim));
    }
    x = add_positions(b, x);
    if (s->model_embedding_norm)
        x = build_norm(b, false, "embed.norm", x);
    b->here = s->loc[KEY_model_dropout];
    x = build_dropout(b, "dropped", x, s->model_dropout, 0);
    x->name = "embed";
    list_push(b->m->arena, &b->f->results, x);
}

/* ---- block: x -> out ---- */
static Op activation(const Spec *s)
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
    Linear up = { .name = "ff.up", .result = "ff.up", .out = b->F, .in = b->C, .bias = s->model_ff_bias };
    Linear gate = up, down = up;
    gate.name = gate.result = "ff.gate";
    down = (Linear){ .name = "ff.down", .result = "ff.down", .out = b->C, .in = b->F,
                     .bias = s->model_ff_bias, .residual = true };
    Value *hidden;
    b->here = s->loc[KEY_model_ff_dim];
    if (s->model_ff_gated) {
        Value *g = build_linear(b, &gate, x), *u = build_linear(b, &up, x);
        b->here = s->loc[KEY_model_ff_activation];
        Value *act = make1(b, activation(s), "ff.activated", g);
        b->here = s->loc[KEY_model_ff_gated];
        hidden = make2(b, OP_mul, "ff.hidden", act, u);
    } else {
        Value *u = build_linear(b, &up, x);
        b->here = s->loc[KEY_model_ff_activation];
        hidden = make1(b, activation(s), "ff.hidden", u);
    }
    b->here = s->loc[KEY_model_ff_dim];
    return build_linear(b, &down, hidden);
}

/* x + dropped(f), normed after for `place: post`; f alone without residuals. */
static Value *join(Builder *b, const char *name, const char *norm, Value *x, Value *f)
{
    const Spec *s = b->s;
    bool post = s->model_norm_place == MODEL_NORM_PLACE_POST && s->model_norm_type != MODEL_NORM_TYPE_NONE;
    Value *sum = f;
    if (s->model_attention_residual) {
        b->here = s->loc[KEY_model_attention_residual];
        sum = make2(b, OP_add, name, x, f);
    }
    return post ? build_norm(b, true, norm, sum) : sum;
}

/* What `forward --save` knows, where the block has it. */
static void keep_values(Builder *b)
{
    static const char *const names[] = {
        "norm1", "attn.q", "attn.k", "attn.v", "attn.weights", "attn.out", "norm2", "ff.up",
        "ff.gate", "ff.down",
    };
    b->f->record = b->f->name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int j = 0; j < b->f->values.count; j++) {
            Value *v = b->f->values.at[j];
            if (v->kind == VALUE_NODE && !strcmp(v->name, names[i]))
                list_push(b->m->arena, &b->f->saved, v);
        }
}

void build_block(Builder *b, const char *name, Variant variant)
{
    const Spec *s = b->s;
    bool pre = s->model_norm_place == MODEL_NORM_PLACE_PRE;
    b->f = func_new(b->m, name, "block", true);
    b->here = s->loc[KEY_model_blocks];
    Value *x = func_param(b->m, b->f, "x", type_of(DT_F32, 3, (int[]){ b->B, b->T, b->C }));
    Value *lengths = func_param(b->m, b->f, "lengths", type_of(DT_I32, 1, &b->B));
    Value *in = pre ? build_norm(b, true, "norm1", x) : x;
    Value *branch = build_attention(b, in, lengths, variant);
    b->here = s->loc[KEY_model_dropout];
    branch = build_dropout(b, "attn.dropped", branch, s->model_dropout, SITE_ATTENTION_OUT);
    Value *middle = join(b, "middle", "norm1", x, branch);
    Value *out = middle;
    if (s->model_ff != MODEL_FF_NONE) {
        in = pre ? build_norm(b, true, "norm2", middle) : middle;
        branch = build_ff(b, in);
        b->here = s->loc[KEY_model_dropout];
        branch = build_dropout(b, "ff.dropped", branch, s->model_dropout, SITE_FF_OUT);
        out = join(b, "out", "norm2", middle, branch);
    }
    if (variant == VARIANT_INSPECT) {
        keep_values(b);
        out = make1(b, OP_copy, "out.copy", out);
    }
    list_push(b->m->arena, &b->f->results, out);
}

/* ---- head: rows of x -> logits, losses ---- */
static bool has_final_norm(const Spec *s)
{
    return s->model_norm_place == MODEL_NORM_PLACE_PRE && s->model_norm_type != MODEL_NORM_TYPE_NONE;
}

static Value *build_logits(Builder *b, Value *x)
{
    const Spec *s = b->s;
    if (has_final_norm(s))
        x = build_norm(b, false, "norm", x);
    b->here = s->loc[s->model_tie_embeddings ? KEY_model_tie_embeddings : KEY_model_head];
    int dims[2] = { b->V, b->C };
    Init init = matrix_init(b, b->V, b->C, false);
    Value *w = weight(b, false, s->model_tie_embeddings ? "embed.token.weight" : "head.weight", 2,
                      dims, init);
    return make2(b, OP_matmul, "logits", x, w);
}

static Value *head_function(Builder *b, const char *name)
{
    b->f = func_new(b->m, name, "head", false);
    return func_param(b->m, b->f, "x", type_of(DT_F32, 2, (int[]){ b->R, b->C }));
}

/* Cross-entropy of every row against its target, label smoothing mixed in by two
 * run-time scalars, or plain for evaluation; unscored rows count 0. Σ in f64. */
static void build_loss(Builder *b, const char *name, bool smooth)
{
    Value *x = head_function(b, name);
    Value *targets = func_param(b->m, b->f, "targets", type_of(DT_I32, 2, (int[]){ b->R, 0 }));
    Value *sum = func_param(b->m, b->f, "loss", type_of(DT_F64, 0, NULL));
    Value *logits = build_logits(b, x);
    b->here = b->s->loc[KEY_train_objective];
    Value *most = make1(b, OP_rowmax, "most", logits);
    Value *shifted = make2(b, OP_sub, "shifted", logits, most);
    Value *exps = make1(b, OP_exp, "exps", shifted);
    Value *total = make1(b, OP_sum, "total", exps);
    Value *log_total = make1(b, OP_log, "log_total", total);
    Value *picked = make2(b, OP_pick, "picked", logits, targets);
    Value *target = make2(b, OP_sub, "target_logit", picked, most);
    Value *row = make2(b, OP_sub, "nll", log_total, target);
    if (smooth) {
        b->here = b->s->loc[KEY_train_label_smoothing];
        Value *mean = make1(b, OP_mean, "mean_logit", logits);
        Value *centre = make2(b, OP_sub, "mean_shifted", mean, most);
        Value *uniform = make2(b, OP_sub, "uniform_nll", log_total, centre);
        Value *sharp = make2(b, OP_mul, "sharp", row, func_scalar(b->m, b->f, "sharpness"));
        Value *soft = make2(b, OP_mul, "soft", uniform, func_scalar(b->m, b->f, "smoothing"));
        row = make2(b, OP_add, "smoothed", sharp, soft);
    }
    b->here = b->s->loc[KEY_train_objective];
    Value *scored = make1(b, OP_scored, "scored", targets);
    Value *losses = make2(b, OP_mul, "losses", row, scored);
    Value *loss = make2(b, OP_chain, "loss.sum", losses, sum);
    list_push(b->m->arena, &b->f->results, loss);
}

void build_heads(Builder *b)
{
    build_loss(b, "head", true);
    build_loss(b, "head.nll", false);
    Value *logits = build_logits(b, head_function(b, "head.logits"));
    list_push(b->m->arena, &b->f->results, logits);
    logits = build_logits(b, head_function(b, "head.inspect"));
    list_push(b->m->arena, &b->f->results, logits);
    if (has_final_norm(b->s))
        list_push(b->m->arena, &b->f->results, logits->node->in[0]);
}

/* ---- steps ---- */
static Stmt *stmt(Builder *b, StepKind kind)
{
    Stmt *s = arena_alloc(b->m->arena, sizeof *s);
    s->kind = kind;
    s->origin.model = b->here;
    return s;
}

static Stmt *call(Builder *b, const char *func, const char *const *arguments, const char *result)
{
    Stmt *s = stmt(b, STEP_CALL);
    s->func = module_find_func(b->m, func);
    s->indexed = s->func->per_block;
    for (int i = 0; arguments[i]; i++)
        list_push(b->m->arena, &s->arguments, arguments[i]);
    list_push(b->m->arena, &s->results, result);
    return s;
}

/* tokens -> x through all blocks. */
static void call_stack(Builder *b, Step *step, const char *block)
{
    Arena *a = b->m->arena;
    b->here = b->s->loc[KEY_model_vocab];
    list_push(a, &step->body, call(b, "embed", (const char *[]){ "tokens", NULL }, "x"));
    b->here = b->s->loc[KEY_model_blocks];
    Stmt *repeat = stmt(b, STEP_REPEAT);
    list_push(a, &repeat->body, call(b, block, (const char *[]){ "x", "lengths", NULL }, "x"));
    list_push(a, &step->body, repeat);
}

static Step *step_new(Builder *b, const char *name, int64_t batch, int64_t sequence)
{
    Step *step = arena_alloc(b->m->arena, sizeof *step);
    step->name = name;
    step->batch = step->micro = batch;
    step->sequence = sequence;
    list_push(b->m->arena, &b->m->steps, step);
    return step;
}

/* Tokens of a prompt that `generate` takes at a time. */
enum { PROMPT_CHUNK = 64 };

static void build_steps(Builder *b)
{
    const Spec *s = b->s;
    Arena *a = b->m->arena;
    const char *const loss[] = { "x", "targets", "loss", NULL }, *const rows[] = { "x", NULL };
    Step *train = step_new(b, "train", s->train_batch, s->train_sequence);
    train->training = true;
    b->here = s->loc[KEY_train_objective];
    list_push(a, &train->body, stmt(b, STEP_COUNT_SCORED));
    call_stack(b, train, "block");
    list_push(a, &train->body, call(b, "head", loss, "loss"));

    Step *eval = step_new(b, "eval", s->train_micro_batch, s->train_sequence);
    call_stack(b, eval, "block");
    list_push(a, &eval->body, call(b, "head.nll", loss, "loss"));

    if (s->model_attention_mask == MODEL_ATTENTION_MASK_CAUSAL) {
        int64_t chunk = s->model_context < PROMPT_CHUNK ? s->model_context : PROMPT_CHUNK;
        Step *generate = step_new(b, "generate", 1, chunk);
        call_stack(b, generate, "block.cached");
        list_push(a, &generate->body, call(b, "head.logits", rows, "logits"));
    }
    Step *forward = step_new(b, "forward", 1, s->model_context);
    call_stack(b, forward, "block.inspect");
    Stmt *head = call(b, "head.inspect", rows, "logits");
    if (head->func->results.count == 2)
        list_push(a, &head->results, "norm");
    list_push(a, &forward->body, head);
}

Module *build_module(const Spec *spec, const Diag *diag, Arena *arena)
{
    Builder b = { .m = module_new(arena, diag, spec->name), .s = spec };
    b.m->sites_per_block = SITES_PER_BLOCK;
    build_dims(&b);
    build_embed(&b);
    build_block(&b, "block", VARIANT_PLAIN);
    if (spec->model_attention_mask == MODEL_ATTENTION_MASK_CAUSAL)
        build_block(&b, "block.cached", VARIANT_CACHED);
    build_block(&b, "block.inspect", VARIANT_INSPECT);
    build_heads(&b);
    build_steps(&b);
    return b.m;
}
