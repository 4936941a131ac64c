/* build.c: a spec becomes a Module. Read build_module at the end: the dims,
 * then the functions (embed, block, head …), then the steps that call them. */
#include "builder.h"

static int model_dim(Builder *b, const char *name, int64_t size,
                     const char *doc, Loc from)
{
    int dim = module_dim(b->m, name, DIM_MODEL, size);
    b->m->dims.at[dim].doc = doc;
    b->m->dims.at[dim].origin = from;
    return dim;
}

static void build_row_dims(Builder *b)
{
    ModelDims *d = &b->d;
    d->B = module_dim(b->m, "B", DIM_BATCH, 0);
    d->T = module_dim(b->m, "T", DIM_SEQUENCE, 0);
    d->S = d->T;
    if (b->shares > 1)
        d->S = module_dim(b->m, "S", DIM_SHARE, b->shares);
    d->R = module_dim(b->m, "R", DIM_ROWS, 0);
    b->m->dims.at[d->B].doc = "sequences";
    b->m->dims.at[d->T].doc = "tokens of a sequence";
    if (b->shares > 1)
        b->m->dims.at[d->S].doc = "a rank's tokens of a sequence";
    b->m->dims.at[d->R].doc = "rows of the head";
    d->two = model_dim(b, "two", 2, "a pair", (Loc){0});
}

static void build_stacks(Builder *b)
{
    const Spec *s = b->s;
    ModelDims *d = &b->d;
    bool two = has_two_stacks(s);
    if (two) {
        b->m->stacks.at[0] = (Stack){ .prefix = "encoder.", .dim = "M" };
        list_push(b->m->arena, &b->m->stacks,
                  ((Stack){ .prefix = "decoder.", .dim = "L" }));
        d->M = model_dim(b, "M", s->model_blocks_encoder, "encoder blocks",
                         s->loc[KEY_model_blocks_encoder]);
    }
    d->L = model_dim(b, "L", s->model_blocks, two ? "decoder blocks" : "blocks",
                     s->loc[two ? KEY_model_blocks_decoder : KEY_model_blocks]);
    b->m->sites_per_block = two ? 5 : 3;
}

/* Rows that a token's place has room for: those of all ranks, or what the
 * buffer comes to. */
static int64_t received_rows(const Builder *b)
{
    const Spec *s = b->s;
    int64_t all = b->experts * s->model_experts_top_k;
    int64_t tokens = s->train_micro_batch * (is_preference(s) ? 2 : 1)
        * s->train_sequence / b->context;
    int64_t rows = s->model_experts_buffer;
    int64_t each = rows / tokens + (rows % tokens > 0);
    return rows && each < all ? each : all;
}

/* Of the ranks that share the experts. */
static void build_shared_experts(Builder *b)
{
    const Spec *s = b->s;
    ModelDims *d = &b->d;
    Loc from = s->loc[KEY_parallel_experts];
    int64_t own = s->model_experts_count / b->experts;
    d->own_experts = model_dim(b, "XR", own, "experts of a rank", from);
    d->own_starts =
        model_dim(b, "XR1", own + 1, "where their rows begin", from);
    d->received = model_dim(b, "KR", received_rows(b),
                            "rows that a token's place has room for", from);
}

static void build_width_dims(Builder *b)
{
    const Spec *s = b->s;
    ModelDims *d = &b->d;
    int64_t heads = s->model_heads / b->tensor;     /* of a rank */
    int64_t kv_heads = s->model_kv_heads / b->tensor;
    int64_t width = heads * s->model_head_dim;
    d->C =
        model_dim(b, "C", s->model_dim, "model width", s->loc[KEY_model_dim]);
    d->H = model_dim(b, "H", heads, b->tensor > 1 ? "heads of a rank" : "heads",
                     s->loc[KEY_model_heads]);
    d->D = model_dim(b, "D", s->model_head_dim, "width of a head",
                     s->loc[KEY_model_head_dim]);
    d->G = d->H;
    if (s->model_kv_heads != s->model_heads)
        d->G = model_dim(b, "G", kv_heads, "key heads",
                         s->loc[KEY_model_kv_heads]);
    d->A = d->C;
    if (width != s->model_dim || b->tensor > 1)
        d->A = model_dim(b, "A", width, "heads side by side",
                         s->loc[KEY_model_head_dim]);
    d->E = d->A;
    if (d->G != d->H)
        d->E = model_dim(b, "E", kv_heads * s->model_head_dim,
                         "key heads side by side", s->loc[KEY_model_kv_heads]);
    if (b->context > 1) {
        int64_t keys = b->m->dims.at[d->E].size * b->context;
        Loc from = s->loc[KEY_parallel_context];
        d->gathered = model_dim(b, "gathered", keys,
                                "keys of all ranks of the context", from);
        d->parts = model_dim(b, "parts", 2 * keys,
                             "their gradients, by either chunk", from);
        d->chunks = model_dim(b, "chunks", 2 * b->context,
                              "chunks of a sequence", from);
    }
    if (s->model_ff != MODEL_FF_NONE)
        d->F = model_dim(b, "F", s->model_ff_dim / b->tensor,
                         b->tensor > 1 ? "feed-forward width of a rank"
                                       : "feed-forward width",
                         s->loc[KEY_model_ff_dim]);
    if (has_experts(s)) {
        Loc count = s->loc[KEY_model_experts_count];
        d->experts =
            model_dim(b, "X", s->model_experts_count, "experts", count);
        d->starts = model_dim(b, "X1", s->model_experts_count + 1,
                              "where experts' rows begin", count);
        d->choices =
            model_dim(b, "K", s->model_experts_top_k, "experts of a token",
                      s->loc[KEY_model_experts_top_k]);
        d->own_experts = d->experts;
        if (b->experts > 1)
            build_shared_experts(b);
    }
}

static void build_input_dims(Builder *b)
{
    const Spec *s = b->s;
    ModelDims *d = &b->d;
    Loc input = s->loc[KEY_model_input];
    int64_t channels = s->model_input_image_channels,
            patch = s->model_input_image_patch;
    int64_t size = s->model_input_image_size;
    if (s->model_input == MODEL_INPUT_TOKENS)
        d->V = model_dim(b, "V", s->model_vocab, "vocabulary",
                         s->loc[KEY_model_vocab]);
    d->own_vocab = d->V;
    if (s->model_input == MODEL_INPUT_TOKENS && b->tensor > 1)
        d->own_vocab = model_dim(b, "VR",
                                 (s->model_vocab + b->tensor - 1) / b->tensor,
                                 "the vocabulary of a rank",
                                 s->loc[KEY_parallel_tensor]);
    if (s->model_input == MODEL_INPUT_IMAGE) {
        d->image = model_dim(b, "image", channels * size * size,
                             "values of an image", input);
        d->patch = model_dim(b, "Q", channels * patch * patch,
                             "values of a patch", input);
    }
    if (s->model_input == MODEL_INPUT_GRAPH)
        d->features = model_dim(b, "features", s->model_input_graph_features,
                                "features of a node", input);
    d->P = model_dim(b, "P", s->model_context, "positions",
                     s->loc[KEY_model_context]);
    if (is_relative(s))
        d->distances =
            model_dim(b, "distances", 2 * s->model_context - 1,
                      "from 1 - P to P - 1", s->loc[KEY_model_position]);
    if (s->model_token_types)
        d->types = model_dim(b, "token_types", s->model_token_types,
                             "token types", s->loc[KEY_model_token_types]);
    if (is_classifier(s))
        d->classes =
            model_dim(b, "classes", s->model_head_classify_classes, "classes",
                      s->loc[KEY_model_head_classify_classes]);
    if (has_next_sentence(s))
        d->next = model_dim(b, "next", 2, "the next sentence, or not",
                            s->loc[KEY_train_objective]);
}

/* A stack's blocks, in their variants. */
static void build_blocks(Builder *b, int stack, const char *name)
{
    Arena *a = b->m->arena;
    bool encoder = !strcmp(b->side, "encoder");
    b->stack = stack;
    if (!stack_blocks(b->m, stack))
        return;
    if (is_relative(b->s))
        build_prepare(b);
    b->stack = stack;
    build_block(b, name, VARIANT_PLAIN);
    if (b->tensor * b->context * b->experts
        > 1) /* alone, a rank runs the module without the plan */
        return;
    if (is_generator(b->s) && !encoder)
        build_block(b, arena_printf(a, "%s.cached", name), VARIANT_CACHED);
    if (!strcmp(b->side, "decoder") && is_generator(b->s))
        build_cross_keys(b, arena_printf(a, "%s.keys", name));
    build_block(b, arena_printf(a, "%s.inspect", name), VARIANT_INSPECT);
}

Module *build_module(const Spec *spec, const Diag *diag, Arena *arena)
{
    Builder b = { .m = module_new(arena, diag, spec->name),
                  .s = spec,
                  .tensor = spec->parallel_tensor,
                  .shares = spec->parallel_sequence_parallel
                      ? spec->parallel_tensor : 1,
                  .context = spec->parallel_context,
                  .experts = spec->parallel_experts,
                  .stack = -1,
                  .side = "" };
    build_row_dims(&b);
    build_stacks(&b);
    build_width_dims(&b);
    build_input_dims(&b);
    if (has_two_stacks(spec)) {
        b.side = "encoder";
        build_embed(&b, "encoder_embed", "source");
        build_blocks(&b, 0, "encoder_block");
        if (has_encoder_norm(&b))
            build_encoder_norm(&b);
        b.side = "decoder";
        build_embed(&b, "decoder_embed", "tokens");
        build_blocks(&b, 1, "decoder_block");
    } else {
        build_embed(&b, "embed", "tokens");
        build_blocks(&b, 0, "block");
    }
    build_heads(&b);
    build_steps(&b);
    return b.m;
}
