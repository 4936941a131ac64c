/* tensor_rows.c (test): examples in safetensors files of every kind of program,
 * with rows shorter than the program's, over several files, and each thing that
 * can be wrong with them.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/tensor_rows.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ------------------------------------------------------------ */

typedef struct Given {
    TensorShape shape;
    const void *bytes;
} Given;

static bool write_file(const char *path, const Given *given, int count,
                       Error *error)
{
    TensorShape shapes[12];
    for (int i = 0; i < count; i++)
        shapes[i] = given[i].shape;
    TensorOutput output = { .path = path, .tensors = shapes, .count = count };
    TensorWriter *writer = calloc(1, sizeof *writer);
    bool good = tensors_create(writer, &output, error);
    for (int i = 0; good && i < count; i++) {
        uint64_t length = (uint64_t)tensor_type_bytes(shapes[i].type);
        for (int d = 0; d < shapes[i].rank; d++)
            length *= (uint64_t)shapes[i].dims[d];
        good = tensors_append(writer, given[i].bytes, length, error);
    }
    good = good && tensors_commit(writer, error);
    free(writer);
    return good;
}

#define I32(name, bytes, rank, ...) { { name, TENSOR_I32, rank, { __VA_ARGS__ } }, bytes }
#define F32(name, bytes, rank, ...) { { name, TENSOR_F32, rank, { __VA_ARGS__ } }, bytes }
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* ---- opening ------------------------------------------------------------ */

typedef struct Set {
    Data data;
    TensorRows rows;
    bool good;
} Set;

static void open_set(Set *set, const Program *program, const char *path,
                     bool unlabelled, Error *error)
{
    set->rows = (TensorRows){ .program = program, .data = &set->data,
                              .unlabelled = unlabelled, .padding = 7 };
    set->good = data_open(&set->data, &path, 1, DATA_AUTO, 10, error);
    if (!set->good)
        return;
    set->good = tensor_rows_open(&set->rows, program->sequence, error);
    if (!set->good)
        data_close(&set->data);
}

static void close_set(Set *set)
{
    if (!set->good)
        return;
    tensor_rows_close(&set->rows);
    data_close(&set->data);
}

static void refuses(Checks *c, const Program *program, const Given *given,
                    int count, const char *why)
{
    Set set;
    Error error = { 0 };
    check(c, write_file("wrong.safetensors", given, count, &error), "%s",
          error.text);
    open_set(&set, program, "wrong.safetensors", false, &error);
    check(c, !set.good && error.status == ERROR_INPUT &&
          strstr(error.text, "wrong.safetensors") && strstr(error.text, why),
          "%s, not %s", error.text, why);
    close_set(&set);
}

static const Program decoder = {
    .kind = "decoder", .objective = "next-token", .vocab = 10, .sequence = 4,
};

static void test_tokens(Checks *c)
{
    static const int32_t tokens[] = { 1, 2, 3, 4, 5, 6 };
    static const int32_t targets[] = { 2, -1, 4, 5, 6, 9 };
    static const int32_t lengths[] = { 3, 2 }, long_row[] = { 1, 2, 3, 4 };
    const Given first[] = {
        I32("tokens", tokens, 2, 2, 3), I32("targets", targets, 2, 2, 3),
        I32("lengths", lengths, 1, 2),
    };
    const int64_t wide[] = { 9, 8, 7, 6 };
    const Given second[] = {
        { { "tokens", TENSOR_I64, 2, { 1, 4 } }, wide },
        I32("targets", long_row, 2, 1, 4),
    };
    Set set;
    Error error = { 0 };
    check(c, write_file("t0.safetensors", first, 3, &error) &&
          write_file("t1.safetensors", second, 2, &error), "%s", error.text);
    open_set(&set, &decoder, "t*.safetensors", false, &error);
    if (!check(c, set.good, "%s", error.text))
        return;
    check(c, set.rows.count == 3 && set.data.tokens == 3 &&
          set.data.files[1].first == 2 && set.data.files[1].count == 1,
          "%d examples", (int)set.rows.count);
    static const int32_t want[3][9] = {
        { 1, 2, 3, 7, 2, -1, 4, -1, 3 }, { 4, 5, 6, 7, 5, 6, -1, -1, 2 },
        { 9, 8, 7, 6, 1, 2, 3, 4, 4 },
    };
    for (int i = 0; i < 3; i++) {
        int32_t got[9], types[4] = { 5, 5, 5, 5 };
        const Example example = { .tokens = got, .targets = got + 4,
                                  .lengths = got + 8, .types = types,
                                  .sequence = 4 };
        check(c, tensor_rows_read(&set.rows, i, &example, &error) &&
              memcmp(got, want[i], sizeof got) == 0 && types[3] == 0,
              "example %d %s", i, error.text);
    }
    close_set(&set);
    /* Of the first file the targets may be missing. */
    check(c, write_file("u.safetensors", first, 1, &error), "%s", error.text);
    open_set(&set, &decoder, "u.safetensors", true, &error);
    int32_t got[9];
    const Example example = { .tokens = got, .targets = got + 4,
                              .lengths = got + 8, .sequence = 4 };
    check(c, set.good && tensor_rows_read(&set.rows, 1, &example, &error) &&
          got[0] == 4 && got[3] == 7 && got[4] == -1 && got[7] == -1 &&
          got[8] == 3, "%s", error.text);
    close_set(&set);
}

static void test_refused(Checks *c)
{
    static const int32_t fine[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static const int32_t high[8] = { 1, 2, 3, 4, 10, 6, 7, 8 };
    static const int32_t low[8] = { 1, 2, 3, -1, 5, 6, 7, 8 };
    static const int32_t lower[8] = { 1, 2, 3, -2, 5, 6, 7, 8 };
    static const float reals[8] = { 0 };
    const Given tokens = I32("tokens", fine, 2, 2, 4);
    const Given targets = I32("targets", fine, 2, 2, 4);
#define REFUSES(program, why, ...) do { \
        const Given given[] = { __VA_ARGS__ }; \
        refuses(c, program, given, COUNT(given), why); \
    } while (0)
    REFUSES(&decoder, "has no tensor 'targets'", tokens);
    REFUSES(&decoder, "no part of a batch of this program: labels", tokens,
            targets, I32("labels", fine, 1, 2));
    REFUSES(&decoder, "targets is I32[2,3], not [2,4]", tokens,
            I32("targets", fine, 2, 2, 3));
    REFUSES(&decoder, "tokens is I32[8], not [N,T]",
            I32("tokens", fine, 1, 8), targets);
    REFUSES(&decoder, "lengths is I32[3], not [2]", tokens, targets,
            I32("lengths", fine, 1, 3));
    REFUSES(&decoder, "sequences of 8; this program takes at most 4",
            I32("tokens", fine, 2, 1, 8), I32("targets", fine, 2, 1, 8));
    REFUSES(&decoder, "tokens of example 1: number 0 is 10, not one from 0 to 9",
            I32("tokens", high, 2, 2, 4), targets);
    REFUSES(&decoder, "tokens of example 0: number 3 is -1",
            I32("tokens", low, 2, 2, 4), targets);
    REFUSES(&decoder, "targets of example 0: number 3 is -2", tokens,
            I32("targets", lower, 2, 2, 4));
    REFUSES(&decoder, "lengths of example 1: number 0 is 10, not one from 0 to 4",
            tokens, targets, I32("lengths", high + 3, 1, 2));
    REFUSES(&decoder, "has no examples", I32("tokens", fine, 2, 0, 4),
            I32("targets", fine, 2, 0, 4));
    const Given floats[] = { F32("tokens", reals, 2, 2, 4), targets };
    refuses(c, &decoder, floats, 2, "tokens");
#undef REFUSES
}

static void test_images(Checks *c)
{
    static const Program images = {
        .kind = "encoder", .objective = "classify", .channels = 2,
        .image_size = 2, .classes = 3, .sequence = 5,
    };
    static const int32_t labels[] = { 2, -1 }, wrong[] = { 3, 0 };
    float pixels[16], got[8];
    for (int i = 0; i < 16; i++)
        pixels[i] = (float)i / 4 - 1;
    Given given[] = { F32("images", pixels, 4, 2, 2, 2, 2),
                      I32("labels", labels, 1, 2) };
    Set set;
    Error error = { 0 };
    check(c, write_file("i.safetensors", given, 2, &error), "%s", error.text);
    open_set(&set, &images, "i.safetensors", false, &error);
    int32_t label = 9, length = 9;
    const Example example = { .images = got, .labels = &label,
                              .lengths = &length, .sequence = 5 };
    check(c, set.good && tensor_rows_read(&set.rows, 0, &example, &error) &&
          label == 2 && length == 5 && memcmp(got, pixels, sizeof got) == 0,
          "%s", error.text);
    check(c, set.good && tensor_rows_read(&set.rows, 1, &example, &error) &&
          label == -1 && memcmp(got, pixels + 8, sizeof got) == 0, "%s",
          error.text);
    close_set(&set);
    given[1].bytes = wrong;
    refuses(c, &images, given, 2,
            "labels of example 0: number 0 is 3, not one from -1 to 2");
    given[0].shape.dims[2] = 1;
    given[0].shape.dims[3] = 4;
    refuses(c, &images, given, 1, "has no tensor 'labels'");
    given[1].bytes = labels;
    refuses(c, &images, given, 2, "images is F32[2,2,1,4], not [2,2,2,2]");
}

static void test_graphs(Checks *c)
{
    static const Program graphs = {
        .kind = "encoder", .objective = "classify", .nodes = 2,
        .node_features = 3, .classes = 2, .sequence = 2,
    };
    static const int32_t labels[] = { 1, 0 }, lengths[] = { 1, 2 };
    static const uint8_t edges[] = { 0, 1, 2, 0, 0, 0, 0, 255 };
    float nodes[12], got[6];
    for (int i = 0; i < 12; i++)
        nodes[i] = (float)i;
    const Given given[] = {
        F32("nodes", nodes, 3, 2, 2, 3), I32("labels", labels, 1, 2),
        I32("lengths", lengths, 1, 2),
        { { "edges", TENSOR_U8, 3, { 2, 2, 2 } }, edges },
    };
    Set set;
    Error error = { 0 };
    int32_t seen[4], label, length;
    const Example example = { .nodes = got, .edges = seen, .labels = &label,
                              .lengths = &length, .sequence = 2 };
    check(c, write_file("g.safetensors", given, 4, &error), "%s", error.text);
    open_set(&set, &graphs, "g.safetensors", false, &error);
    check(c, set.good && tensor_rows_read(&set.rows, 0, &example, &error) &&
          label == 1 && length == 1 && got[5] == 5 &&
          memcmp(seen, (int32_t[]){ 0, 1, 1, 0 }, sizeof seen) == 0, "%s",
          error.text);
    close_set(&set);
    check(c, write_file("g.safetensors", given, 2, &error), "%s", error.text);
    open_set(&set, &graphs, "g.safetensors", false, &error);
    check(c, set.good && tensor_rows_read(&set.rows, 1, &example, &error) &&
          label == 0 && length == 2 && got[0] == 6 &&
          memcmp(seen, (int32_t[]){ 1, 1, 1, 1 }, sizeof seen) == 0, "%s",
          error.text);
    close_set(&set);
}

/* Two sides a pair, of 3 tokens in rows of 4. */
static void test_preference(Checks *c)
{
    static const Program preference = {
        .kind = "decoder", .objective = "preference", .vocab = 10,
        .sequence = 4,
    };
    static const int32_t tokens[] = { 1, 2, 3, 4, 5, 6, 0, 1, 0, 1, 0, 1 };
    static const int32_t lengths[] = { 3, 2, 3, 3 };
    static const float reference[] = { -1, -2, -3, -4 };
    const Given given[] = {
        I32("tokens", tokens, 3, 2, 2, 3), I32("targets", tokens, 3, 2, 2, 3),
        I32("lengths", lengths, 2, 2, 2), F32("reference", reference, 2, 2, 2),
    };
    Set set;
    Error error = { 0 };
    int32_t got[18];
    float sums[2];
    const Example example = { .tokens = got, .targets = got + 8,
                              .lengths = got + 16, .reference = sums,
                              .sequence = 4 };
    static const int32_t want[] = { 1, 2, 3, 7, 4, 5, 6, 7, 1, 2, 3, -1,
                                    4, 5, -1, -1, 3, 2 };
    check(c, write_file("p.safetensors", given, 4, &error), "%s", error.text);
    open_set(&set, &preference, "p.safetensors", false, &error);
    check(c, set.good && tensor_rows_read(&set.rows, 0, &example, &error) &&
          memcmp(got, want, sizeof want) == 0 && sums[1] == -2 &&
          tensor_rows_has(&set.rows, ROLE_REFERENCE), "%s", error.text);
    close_set(&set);
    const Given flat[] = { I32("tokens", tokens, 2, 2, 3),
                           I32("targets", tokens, 2, 2, 3) };
    refuses(c, &preference, flat, 2, "tokens is I32[2,3], not [N,2,T]");
}

static void test_translation(Checks *c)
{
    static const Program both = {
        .kind = "encoder-decoder", .objective = "seq2seq", .vocab = 10,
        .sequence = 3,
    };
    static const int32_t source[] = { 5, 6 }, tokens[] = { 1, 2 };
    static const int32_t length = 1;
    const Given given[] = {
        I32("source", source, 2, 1, 2), I32("tokens", tokens, 2, 1, 2),
        I32("targets", tokens, 2, 1, 2), I32("source_lengths", &length, 1, 1),
    };
    Set set;
    Error error = { 0 };
    int32_t got[3], lengths[2];
    const Example example = { .source = got, .source_lengths = lengths,
                              .lengths = lengths + 1, .sequence = 3 };
    check(c, write_file("s.safetensors", given, 4, &error), "%s", error.text);
    open_set(&set, &both, "s.safetensors", false, &error);
    check(c, set.good && tensor_rows_read(&set.rows, 0, &example, &error) &&
          got[0] == 5 && got[1] == 6 && got[2] == 7 && lengths[0] == 1 &&
          lengths[1] == 2, "%s", error.text);
    close_set(&set);
    refuses(c, &both, given + 1, 2, "has no tensor 'source'");
}

static void test_types(Checks *c)
{
    static const Program bert = {
        .kind = "encoder", .objective = "masked-token+next-sentence",
        .vocab = 10, .sequence = 2, .token_types = 2,
    };
    static const int32_t tokens[] = { 5, 6 }, types[] = { 0, 1 }, one = 1;
    static const int32_t wrong[] = { 0, 2 }, two = 2;
    Given given[] = {
        I32("tokens", tokens, 2, 1, 2), I32("targets", tokens, 2, 1, 2),
        I32("types", types, 2, 1, 2), I32("labels", &one, 1, 1),
    };
    Set set;
    Error error = { 0 };
    int32_t got[2], label;
    const Example example = { .types = got, .labels = &label, .sequence = 2 };
    check(c, write_file("b.safetensors", given, 4, &error), "%s", error.text);
    open_set(&set, &bert, "b.safetensors", false, &error);
    check(c, set.good && tensor_rows_read(&set.rows, 0, &example, &error) &&
          got[1] == 1 && label == 1, "%s", error.text);
    close_set(&set);
    given[2].bytes = wrong;
    refuses(c, &bert, given, 4, "types of example 0: number 1 is 2");
    given[2].bytes = types;
    given[3].bytes = &two;
    refuses(c, &bert, given, 4, "labels of example 0: number 0 is 2");
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "tensor_rows" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_tokens(&checks);
    test_refused(&checks);
    test_images(&checks);
    test_graphs(&checks);
    test_preference(&checks);
    test_translation(&checks);
    test_types(&checks);
    return check_end(&checks);
}
