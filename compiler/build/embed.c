/* embed.c: the first function of a stack: tokens, the patches of images or the
 * nodes of graphs become x [B,T,C], with positions, token types, a norm and
 * dropout as the spec says. */
#include "builder.h"

static Value *add_positions(Builder *b, Value *x)
{
    const Spec *s = b->s;
    b->here = s->loc[KEY_model_position];
    int dims[2] = { b->d.P, b->d.C };
    Value *table;
    if (s->model_position == MODEL_POSITION_LEARNED)
        table = whole_weight(b, sided(b, "embed.position.weight"), 2, dims,
                             embedding_init(b));
    else if (s->model_position == MODEL_POSITION_SINUSOIDAL)
        table = whole_weight(b, "sinusoidal", 2, dims,
                             (Init){ .kind = INIT_SINUSOIDAL, .base = 10000 });
    else
        return x;
    Value *where = make(b, OP_positions, "positions", 0, NULL, NULL);
    Value *rows = make2(b, OP_gather, "position_rows", table, where);
    return make2(b, OP_add, "positioned", x, rows);
}

/* Each tensor rank gives the rows of the tokens that it holds, 0 for others. */
static Value *shared_rows(Builder *b, Value *table, Value *tokens)
{
    const Attrs own = { .dim = b->d.own_vocab };
    Value *ids = make(b, OP_own_ids, "own_tokens", 1, &tokens, &own);
    Value *rows = make2(b, OP_gather, "own_rows", table, ids);
    b->here = b->s->loc[KEY_parallel_tensor];
    return make_reshard(b, RESHARD_ALL_REDUCE, "token_rows", rows, 0);
}

static Value *embed_tokens(Builder *b, const char *name)
{
    const Spec *s = b->s;
    b->here = s->loc[KEY_model_vocab];
    Value *tokens = given(b, name);
    Value *types = s->model_token_types ? given(b, "types") : NULL;
    Value *table = vocabulary_weight(b, "embed.token.weight", 2,
                                     embedding_init(b));
    Value *x = b->tensor > 1
        ? shared_rows(b, table, tokens)
        : make2(b, OP_gather, "token_rows", table, tokens);
    if (s->model_embedding_scale) {
        b->here = s->loc[KEY_model_embedding_scale];
        x = make_by(b, OP_scale, "scaled", x,
                    __builtin_sqrt((double)s->model_dim));
    }
    x = add_positions(b, x);
    if (!types)
        return x;
    b->here = s->loc[KEY_model_token_types];
    table = whole_weight(b, "embed.type.weight", 2,
                         (int[]){ b->d.types, b->d.C }, embedding_init(b));
    Value *rows = make2(b, OP_gather, "type_rows", table, types);
    return make2(b, OP_add, "typed", x, rows);
}

/* Patches through a dense layer; with a class position, row 0 is its vector. */
static Value *embed_images(Builder *b)
{
    const Spec *s = b->s;
    bool class = has_class_position(s);
    b->here = s->loc[KEY_model_input];
    Value *images = given(b, "images");
    Attrs attrs = { .dim = b->d.patch,
                    .channels = s->model_input_image_channels,
                    .size = s->model_input_image_size,
                    .patch = s->model_input_image_patch,
                    .skip = class };
    Value *rows = make(b, OP_patches, "patches", 1, &images, &attrs);
    Linear linear = { .name = "embed.patch",
                      .result = "patch_rows",
                      .out = b->d.C,
                      .in = b->d.patch,
                      .bias = true };
    Value *x = build_linear(b, &linear, rows);
    if (!class)
        return add_positions(b, x);
    b->here = s->loc[KEY_model_head_classify_pool];
    Value *where = make(b, OP_positions, "class.positions", 0, NULL, NULL);
    Value *column = make_reshape(b, "class.position", where, 3,
                                 (int[]){ b->d.B, b->d.T, 0 });
    Value *first = make1(b, OP_first, "class.first", column);
    Value *negative = make1(b, OP_neg, "class.negative", first);
    Value *rest = make_by(b, OP_shift, "class.rest", negative, 1);
    Value *vector =
        whole_weight(b, "embed.class.weight", 1, &b->d.C, embedding_init(b));
    Value *others = make2(b, OP_mul, "class.others", x, rest);
    Value *own = make2(b, OP_mul, "class.own", first, vector);
    return add_positions(b, make2(b, OP_add, "class.rows", others, own));
}

static Value *embed_nodes(Builder *b)
{
    b->here = b->s->loc[KEY_model_input];
    Value *nodes = given(b, "nodes");
    Linear linear = { .name = "embed.node",
                      .result = "node_rows",
                      .out = b->d.C,
                      .in = b->d.features,
                      .bias = true };
    return add_positions(b, build_linear(b, &linear, nodes));
}

void build_embed(Builder *b, const char *name, const char *tokens)
{
    const Spec *s = b->s;
    b->f = func_new(b->m, name, name, -1);
    b->stack = -1;
    Value *x = s->model_input == MODEL_INPUT_IMAGE ? embed_images(b)
             : s->model_input == MODEL_INPUT_GRAPH ? embed_nodes(b)
                                                   : embed_tokens(b, tokens);
    if (s->model_embedding_norm)
        x = build_norm(b, sided(b, "embed.norm"), "embed.norm", x);
    b->here = s->loc[KEY_parallel_sequence_parallel];
    if (b->shares > 1)
        x = make_reshard(b, RESHARD_OWN_SHARE, "embed.share", x, 0);
    b->here = s->loc[KEY_model_dropout];
    int site = 0;
    if (!strcmp(b->side, "encoder"))        /* behind those of all blocks */
        site = 1
             + (int)stack_first(b->m, b->m->stacks.count)
                   * b->m->sites_per_block;
    x = build_dropout(b, "dropped", x, s->model_dropout, site);
    x->name = "embed";
    list_push(b->m->arena, &b->f->results, x);
}
