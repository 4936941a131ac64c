/* sizes.c: sizes past 2^62 bytes, before anything is computed with them. Each
 * is about what a program would hold, in doubles, and names the keys that it
 * comes from. Edges of graphs are fewer than their attention weights. */
#include "loader.h"

typedef struct Size {
    const char *what;
    double floats;              /* how many, of four bytes */
    KeyId factors[6];           /* KEY_COUNT: no more */
} Size;

/* The key that a size comes from: of a computed default, what it is made of. */
static KeyId said_key(const Spec *s, KeyId key)
{
    if (s->given[key])
        return key;
    if (key == KEY_train_sequence)
        return said_key(s, KEY_model_context);
    if (key == KEY_model_context && s->model_input == MODEL_INPUT_IMAGE)
        return KEY_model_input_image_size;
    if (key == KEY_model_context && s->model_input == MODEL_INPUT_GRAPH)
        return KEY_model_input_graph_nodes;
    bool of_dim = key == KEY_model_head_dim || key == KEY_model_ff_dim;
    return of_dim ? KEY_model_dim : key;
}

/* Reports a size past 2^62 bytes, at its largest factor. True: it is one. */
static bool check_size(Loader *loader, const Size *size)
{
    Spec *s = loader->spec;
    const double most = 4611686018427387904.0;
    KeyId largest = size->factors[0];
    Buf factors = {0};
    bool all_sound = true;
    for (int i = 0; i < 6 && size->factors[i] != KEY_COUNT; i++) {
        KeyId key = size->factors[i];
        int64_t value = *(int64_t *)value_field(s, key);
        all_sound = all_sound && !loader->bad[key];
        if (value > *(int64_t *)value_field(s, largest))
            largest = key;
        buf_printf(&factors, "%s`%s` %lld", i ? ", " : "", key_info(key)->path,
                   (long long)value);
    }
    bool past = all_sound && 4 * size->floats > most;
    if (past) {
        Loc loc = s->loc[said_key(s, largest)];
        Problem *about = problem(&loader->problems, loc,
                                 "%s would take %.3g bytes, more than 2^62",
                                 size->what, 4 * size->floats);
        problem_hint(about, "they come from %s", factors.text);
    }
    buf_free(&factors);
    return past;
}

/* True: one of them is past the bound; the others would say the same. */
static bool check_all(Loader *loader, const Size *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (check_size(loader, &sizes[i]))
            return true;
    return false;
}

/* Of what a batch of this many sequences brings. */
static bool check_input_sizes(Loader *loader, double batch)
{
    const Spec *s = loader->spec;
    double side = (double)s->model_input_image_size;
    double channels = (double)s->model_input_image_channels;
    double patch = (double)s->model_input_image_patch;
    double nodes = (double)s->model_input_graph_nodes;
    double features = (double)s->model_input_graph_features;
    double dim = (double)s->model_dim;
    const Size images[] = {
        { "the images of a step", batch * channels * side * side,
          { KEY_train_batch, KEY_model_input_image_size,
            KEY_model_input_image_channels, KEY_COUNT } },
        { "the patches' weights, gradients and moments",
          4 * dim * channels * patch * patch,
          { KEY_model_dim, KEY_model_input_image_patch,
            KEY_model_input_image_channels, KEY_COUNT } },
    };
    const Size graphs[] = {
        { "the nodes of a step", batch * nodes * features,
          { KEY_train_batch, KEY_model_input_graph_nodes,
            KEY_model_input_graph_features, KEY_COUNT } },
        { "the nodes' weights, gradients and moments", 4 * dim * features,
          { KEY_model_dim, KEY_model_input_graph_features, KEY_COUNT } },
    };
    if (s->model_input == MODEL_INPUT_IMAGE)
        return check_all(loader, images, sizeof images / sizeof *images);
    return s->model_input == MODEL_INPUT_GRAPH
        && check_all(loader, graphs, sizeof graphs / sizeof *graphs);
}

/* Of relative positions: weights of every block, and distances times heads. */
static bool check_relative_sizes(Loader *loader, double blocks, double width)
{
    const Spec *s = loader->spec;
    double distances = 2 * (double)s->model_context;
    bool learned = s->model_position == MODEL_POSITION_RELATIVE_LEARNED;
    const Size sizes[] = {
        { "the distances' values and gradients",
          2 * blocks * distances * width,
          { KEY_model_blocks, KEY_model_context, KEY_model_heads,
            KEY_model_head_dim, KEY_COUNT } },
        { "the tables of distances, their gradients and moments",
          4 * blocks * distances * (double)s->model_dim,
          { KEY_model_blocks, KEY_model_context, KEY_model_dim, KEY_COUNT } },
    };
    return (learned || s->model_position == MODEL_POSITION_RELATIVE)
        && check_all(loader, sizes, learned ? 2 : 1);
}

static bool check_expert_sizes(Loader *loader, double blocks, double rows)
{
    const Spec *s = loader->spec;
    double count = (double)s->model_experts_count;
    double hidden = (double)s->model_ff_dim;
    const Size sizes[] = {
        { "the experts' weights, gradients and moments",
          4 * blocks * count * 2 * (double)s->model_dim * hidden,
          { KEY_model_experts_count, KEY_model_blocks, KEY_model_dim,
            KEY_model_ff_dim, KEY_COUNT } },
        { "the experts' values of a step",
          blocks * rows * (double)s->model_experts_top_k * hidden,
          { KEY_train_batch, KEY_train_sequence, KEY_model_experts_top_k,
            KEY_model_ff_dim, KEY_model_blocks, KEY_COUNT } },
        { "the routers' values of a step", blocks * rows * count,
          { KEY_train_batch, KEY_train_sequence, KEY_model_experts_count,
            KEY_model_blocks, KEY_COUNT } },
    };
    return s->model_experts == MODEL_EXPERTS_LAYER
        && check_all(loader, sizes, sizeof sizes / sizeof *sizes);
}

/* Of what stands once in a model. */
static bool check_head_sizes(Loader *loader)
{
    const Spec *s = loader->spec;
    double classes = (double)s->model_head_classify_classes;
    double types = (double)s->model_token_types;
    const Size sizes[] = {
        { "the kinds of tokens, their gradients and moments",
          4 * types * (double)s->model_dim,
          { KEY_model_token_types, KEY_model_dim, KEY_COUNT } },
        { "the classifier, its gradients and moments",
          4 * classes * (double)s->model_dim,
          { KEY_model_head_classify_classes, KEY_model_dim, KEY_COUNT } },
    };
    return check_all(loader, sizes,
                     s->model_head == MODEL_HEAD_CLASSIFY ? 2 : 1);
}

void check_sizes(Loader *loader)
{
    const Spec *s = loader->spec;
    bool pairs = s->train_objective == TRAIN_OBJECTIVE_PREFERENCE;
    bool two = s->model_kind == MODEL_KIND_ENCODER_DECODER;
    double dim = (double)s->model_dim, decoder = (double)s->model_blocks;
    double blocks = decoder + (double)s->model_blocks_encoder;
    double width = (double)s->model_heads * (double)s->model_head_dim;
    double sequence = (double)s->train_sequence;
    double batch = (pairs ? 2 : 1) * (double)s->train_batch;
    double ff = s->model_ff == MODEL_FF_NONE ? 0 : (double)s->model_ff_dim;
    double cross = two ? decoder : 0;
    const KeyId encoder = two ? KEY_model_blocks_encoder : KEY_COUNT;
    const KeyId any_blocks = decoder >= blocks - decoder ? KEY_model_blocks
                                                         : encoder;
    const Size sizes[] = {
        { "the embeddings, their gradients and moments",
          4 * dim * ((double)s->model_vocab + (double)s->model_context),
          { KEY_model_vocab, KEY_model_context, KEY_model_dim, KEY_COUNT } },
        { "the blocks' weights, gradients and moments",
          4 * dim * (blocks * (4 * width + 3 * ff) + cross * 4 * width),
          { any_blocks, KEY_model_dim, KEY_model_ff_dim, KEY_model_heads,
            KEY_model_head_dim, KEY_COUNT } },
        { "the blocks' values of a step",
          blocks * batch * sequence * (8 * dim + 4 * width + 3 * ff),
          { any_blocks, KEY_train_batch, KEY_train_sequence,
            KEY_model_dim, KEY_model_ff_dim, KEY_COUNT } },
        { "the attention weights of a step",
          batch * (double)s->model_heads * sequence * sequence,
          { KEY_train_batch, KEY_model_heads, KEY_train_sequence, KEY_COUNT } },
        { "the logits of a step",
          batch * sequence * (double)s->model_vocab,
          { KEY_train_batch, KEY_train_sequence, KEY_model_vocab, KEY_COUNT } },
    };
    bool has_vocab = s->model_input == MODEL_INPUT_TOKENS;
    (void)(check_all(loader, sizes, has_vocab ? 5 : 4)
           || check_input_sizes(loader, batch)
           || check_relative_sizes(loader, blocks, width)
           || check_expert_sizes(loader, blocks, batch * sequence)
           || check_head_sizes(loader));
}
