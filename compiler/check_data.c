/* check_data.c: examples for the small runs of `check` (check_data.h): every
 * tensor that the spec's objective takes, an example a row. Element i of a
 * tensor is a function of the seed, the tensor's name and i, so that a longer
 * file begins as a shorter one does. */
#include "check_data.h"
#include "../runtime/safetensors.h"

enum { MOST_TENSORS = 8 };

typedef struct Column {
    const char *name;
    TensorType type;
    int rank;
    int64_t dims[4];                /* behind the example */
    int64_t below;                  /* integers from 0; 0: reals around 0 */
} Column;

typedef struct Columns { List(Column) list; } Columns;

/* splitmix64's finaliser, of Steele, Lea and Flood 2014. */
static uint64_t mixed(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t check_draw(uint64_t seed, const char *name, int64_t i)
{
    uint64_t z = mixed(seed + 0x9e3779b97f4a7c15u);
    for (const char *c = name; *c; c++)
        z = mixed(z + (unsigned char)*c);
    return mixed(z + (uint64_t)i * 0x9e3779b97f4a7c15u);
}

static void tokens(Columns *to, Arena *arena, const Spec *s, const char *name)
{
    bool pairs = s->train_objective == TRAIN_OBJECTIVE_PREFERENCE;
    Column one = { .name = name, .type = TENSOR_I32, .rank = pairs ? 2 : 1,
                   .dims = { pairs ? 2 : s->train_sequence, s->train_sequence },
                   .below = s->model_vocab };
    list_push(arena, &to->list, one);
}

static void input_columns(Columns *to, Arena *arena, const Spec *s)
{
    int64_t size = s->model_input_image_size;
    int64_t nodes = s->model_input_graph_nodes;
    const Column images = {
        "images", TENSOR_F32, 3,
        { s->model_input_image_channels, size, size, 0 }, 0,
    };
    const Column features = {
        "nodes", TENSOR_F32, 2,
        { nodes, s->model_input_graph_features, 0, 0 }, 0,
    };
    switch (s->model_input) {
    case MODEL_INPUT_TOKENS: tokens(to, arena, s, "tokens"); break;
    case MODEL_INPUT_IMAGE: list_push(arena, &to->list, images); break;
    case MODEL_INPUT_GRAPH: list_push(arena, &to->list, features); break;
    }
}

static Columns columns_of(const Spec *s, Arena *arena)
{
    Columns to = {0};
    int64_t nodes = s->model_input_graph_nodes;
    bool sentences =
        s->train_objective == TRAIN_OBJECTIVE_MASKED_TOKEN_NEXT_SENTENCE;
    bool classes = s->train_objective == TRAIN_OBJECTIVE_CLASSIFY;
    const Column labels = { "labels", TENSOR_I32, 0, { 0 },
                            sentences ? 2 : s->model_head_classify_classes };
    const Column reference = { "reference", TENSOR_F32, 1, { 2, 0, 0, 0 }, 0 };
    const Column types = { "types", TENSOR_I32, 1,
                           { s->train_sequence, 0, 0, 0 },
                           s->model_token_types };
    const Column edges = { "edges", TENSOR_U8, 2, { nodes, nodes, 0, 0 }, 2 };
    input_columns(&to, arena, s);
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER)
        tokens(&to, arena, s, "source");
    if (!classes)
        tokens(&to, arena, s, "targets");
    if (classes || sentences)
        list_push(arena, &to.list, labels);
    if (s->train_objective == TRAIN_OBJECTIVE_PREFERENCE)
        list_push(arena, &to.list, reference);
    else if (s->model_token_types > 0 && s->model_input == MODEL_INPUT_TOKENS)
        list_push(arena, &to.list, types);
    if (s->model_input == MODEL_INPUT_GRAPH)
        list_push(arena, &to.list, edges);
    return to;
}

static bool write_column(TensorWriter *writer, const Column *column,
                         int64_t rows, uint64_t seed, Error *error)
{
    int64_t count = rows;
    bool good = true;
    for (int i = 0; i < column->rank; i++)
        count *= column->dims[i];
    for (int64_t i = 0; i < count && good; i++) {
        uint64_t bits = check_draw(seed, column->name, i);
        int32_t id = column->below > 0
            ? (int32_t)(bits % (uint64_t)column->below) : 0;
        uint8_t byte = (uint8_t)id;
        float real = (float)(bits >> 40) / (float)(1 << 24) - 0.5f;
        if (column->type == TENSOR_F32)
            good = tensors_append(writer, &real, sizeof real, error);
        else if (column->type == TENSOR_U8)
            good = tensors_append(writer, &byte, sizeof byte, error);
        else
            good = tensors_append(writer, &id, sizeof id, error);
    }
    return good;
}

bool check_data(const Spec *spec, const char *path, int64_t batches,
                uint64_t seed, Arena *arena, Buf *why)
{
    Columns columns = columns_of(spec, arena);
    TensorShape shapes[MOST_TENSORS];
    int64_t rows = batches * spec->train_batch;
    Error error = {0};
    for (int i = 0; i < columns.list.count; i++) {
        const Column *c = &columns.list.at[i];
        shapes[i] = (TensorShape){ .name = c->name, .type = c->type,
                                   .rank = c->rank + 1, .dims = { rows } };
        for (int d = 0; d < c->rank; d++)
            shapes[i].dims[d + 1] = c->dims[d];
    }
    TensorOutput output = { .path = path, .tensors = shapes,
                            .count = columns.list.count };
    TensorWriter *writer = arena_alloc(arena, sizeof *writer);
    bool good = tensors_create(writer, &output, &error);
    for (int i = 0; i < columns.list.count && good; i++)
        good = write_column(writer, &columns.list.at[i], rows, seed, &error);
    good = good && tensors_commit(writer, &error);
    if (!good)
        buf_printf(why, "%s", error.text);
    return good;
}
