/* tool.c: makes and reads the files that run.sh tests the runtime with.
 *
 *     tool batch OUT B T SEED TYPE [lengths]   tokens and targets; i32 or i64
 *     tool tensor OUT NAME TYPE VALUE…         one tensor [N]
 *     tool make OUT SEED NAME:TYPE:DIMS:LOW:HIGH…   tensors of random numbers from
 *         LOW to HIGH, TYPE u8, i32, i64 or f32, DIMS as in 4x16
 *     tool list FILE                           name, shape and SHA-256 of each
 *     tool values FILE NAME COUNT              its first values
 *     tool member FILE.json PATH.OF.KEYS       a value, as text
 *     tool log FILE.jsonl                      its lines without the timings
 *     tool flip FILE OFFSET                    one bit of a byte
 */
#define _GNU_SOURCE
#include "safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const Error *error)
{
    fprintf(stderr, "tool: %s\n", error->text);
    return 1;
}

/* ---- writing ------------------------------------------------------------ */

static int write_tensors(const char *path, const TensorShape *shapes,
                         const void *const *data, int count)
{
    Error error;
    TensorOutput output = { .path = path, .tensors = shapes, .count = count };
    TensorWriter writer;
    bool good = tensors_create(&writer, &output, &error);
    for (int i = 0; good && i < count; i++) {
        uint64_t bytes = (uint64_t)tensor_type_bytes(shapes[i].type);
        for (int axis = 0; axis < shapes[i].rank; axis++)
            bytes *= (uint64_t)shapes[i].dims[axis];
        good = tensors_append(&writer, data[i], bytes, &error);
    }
    return good && tensors_commit(&writer, &error) ? 0 : fail(&error);
}

/* values[i] as int32 or, in place, as int64 */
static void *ids(const long *values, long count, TensorType type)
{
    int32_t *narrow = calloc((size_t)count + 1, 8);
    int64_t *wide = (int64_t *)(void *)narrow;
    for (long i = 0; i < count; i++)
        if (type == TENSOR_I64)
            wide[i] = values[i];
        else
            narrow[i] = (int32_t)values[i];
    return narrow;
}

static int make_batch(int argc, char **argv)
{
    long B = atol(argv[3]), T = atol(argv[4]), n = B * T;
    srand((unsigned)atoi(argv[5]));
    TensorType type = strcmp(argv[6], "i64") == 0 ? TENSOR_I64 : TENSOR_I32;
    long *tokens = calloc((size_t)n, sizeof *tokens);
    long *targets = calloc((size_t)n, sizeof *targets);
    long *lengths = calloc((size_t)B, sizeof *lengths);
    for (long i = 0; i < n; i++) {
        tokens[i] = rand() % 256;
        targets[i] = rand() % 10 ? rand() % 256 : -1;
    }
    for (long b = 0; b < B; b++)
        lengths[b] = T - b;
    const TensorShape shapes[] = {
        { "tokens", type, 2, { B, T } }, { "targets", type, 2, { B, T } },
        { "lengths", type, 1, { B } },
    };
    const void *const data[] = { ids(tokens, n, type), ids(targets, n, type),
                                 ids(lengths, B, type) };
    int status = write_tensors(argv[2], shapes, data, argc > 7 ? 3 : 2);
    for (int i = 0; i < 3; i++)
        free((void *)data[i]);
    free(tokens);
    free(targets);
    free(lengths);
    return status;
}

static int make_tensor(int argc, char **argv)
{
    int count = argc - 5;
    float *values = calloc((size_t)count + 1, 8);
    long *whole = calloc((size_t)count + 1, 8);
    for (int i = 0; i < count; i++) {
        values[i] = (float)atof(argv[5 + i]);
        whole[i] = atol(argv[5 + i]);
    }
    void *wanted = ids(whole, count, TENSOR_I32);
    bool is_float = strcmp(argv[4], "f32") == 0;
    TensorShape shape = { argv[3], is_float ? TENSOR_F32 : TENSOR_I32, 1,
                          { count } };
    const void *data = is_float ? (void *)values : wanted;
    int status = write_tensors(argv[2], &shape, &data, 1);
    free(values);
    free(whole);
    free(wanted);
    return status;
}

/* A tensor of random numbers, as `text` says. */
static bool random_tensor(char *text, TensorShape *shape, void **data)
{
    static const TensorType types[] = { TENSOR_U8, TENSOR_I32, TENSOR_I64,
                                        TENSOR_F32 };
    static const char *const names[] = { "u8", "i32", "i64", "f32" };
    char *at;
    *shape = (TensorShape){ .name = strtok_r(text, ":", &at) };
    const char *type = strtok_r(NULL, ":", &at);
    char *dims = strtok_r(NULL, ":", &at);
    const char *low = strtok_r(NULL, ":", &at), *high = strtok_r(NULL, ":", &at);
    if (!high)
        return false;
    for (int i = 0; i < 4; i++)
        if (strcmp(type, names[i]) == 0)
            shape->type = types[i];
    long count = 1;
    for (char *dim = strtok_r(dims, "x", &at); dim; dim = strtok_r(NULL, "x", &at))
        count *= shape->dims[shape->rank++] = atol(dim);
    *data = calloc((size_t)count, 8);
    for (long i = 0; i < count; i++) {
        double u = rand() / (RAND_MAX + 1.0);
        double real = atof(low) + u * (atof(high) - atof(low));
        long whole = atol(low) + (long)(u * (double)(atol(high) + 1 - atol(low)));
        if (shape->type == TENSOR_F32)
            ((float *)*data)[i] = (float)real;
        else if (shape->type == TENSOR_U8)
            ((uint8_t *)*data)[i] = (uint8_t)whole;
        else if (shape->type == TENSOR_I32)
            ((int32_t *)*data)[i] = (int32_t)whole;
        else
            ((int64_t *)*data)[i] = whole;
    }
    return true;
}

static int make_tensors(int argc, char **argv)
{
    enum { MOST = 12 };
    TensorShape shapes[MOST];
    void *data[MOST] = {0};
    int count = argc - 4;
    srand((unsigned)atoi(argv[3]));
    if (count > MOST)
        return 2;
    for (int i = 0; i < count; i++)
        if (!random_tensor(argv[4 + i], &shapes[i], &data[i]))
            return 2;
    int status = write_tensors(argv[2], shapes, (const void *const *)data, count);
    for (int i = 0; i < count; i++)
        free(data[i]);
    return status;
}

/* ---- reading ------------------------------------------------------------ */

static int list(const char *path)
{
    Error error;
    Tensors file;
    if (!tensors_open(&file, path, &error))
        return fail(&error);
    for (int i = 0; i < file.count; i++) {
        const TensorEntry *entry = &file.entries[i];
        char shape[200], digest[SHA256_TEXT];
        void *bytes = malloc(entry->bytes + 1);
        if (!tensors_read_raw(&file, i, 0, entry->count, bytes, &error))
            return fail(&error);
        Sha256 sum;
        sha256_start(&sum);
        sha256_add(&sum, bytes, entry->bytes);
        sha256_finish_text(&sum, digest);
        free(bytes);
        printf("%s %s %.16s\n", entry->name,
               tensor_describe(shape, sizeof shape, entry->type, entry->rank,
                               entry->dims), digest);
    }
    tensors_close(&file);
    return 0;
}

static int values(const char *path, const char *name, long count)
{
    Error error;
    Tensors file;
    float *out = calloc((size_t)count + 1, sizeof *out);
    if (!tensors_open(&file, path, &error)
        || !tensors_read_f32(&file, tensors_find(&file, name), 0, count, out,
                             &error))
        return fail(&error);
    for (long i = 0; i < count; i++)
        printf("%.9g\n", (double)out[i]);
    free(out);
    tensors_close(&file);
    return 0;
}

static int member(const char *path, char *keys)
{
    Error error;
    char *text;
    size_t length;
    Json json;
    if (!file_read_whole(path, 1 << 26, &text, &length, &error)
        || !json_parse(&json, path, text, length, &error))
        return fail(&error);
    int at = 0;
    for (char *key = strtok(keys, "/"); key && at >= 0; key = strtok(NULL, "/"))
        at = json_member(&json, at, key);
    double number;
    if (at < 0)
        printf("absent\n");
    else if (json.tokens[at].kind == JSON_ARRAY)
        printf("%d\n", json.tokens[at].count);
    else if (json_text(&json, at))
        printf("%s\n", json_text(&json, at));
    else if (json_real(&json, at, &number))
        printf("%.17g\n", number);
    else
        printf("%s\n", json.tokens[at].kind == JSON_TRUE ? "true"
               : json.tokens[at].kind == JSON_FALSE ? "false" : "null");
    json_free(&json);
    free(text);
    return 0;
}

/* Cuts `"seconds":…,"tokens_per_s":…,` out of every line. */
static int print_log(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[4096];
    while (file && fgets(line, sizeof line, file)) {
        char *from = strstr(line, "\"seconds\"");
        char *to = strstr(line, "\"skipped\"");
        if (from && to)
            memmove(from, to, strlen(to) + 1);
        fputs(line, stdout);
    }
    return file ? fclose(file) : 1;
}

static int flip(const char *path, long offset)
{
    FILE *file = fopen(path, "r+");
    if (!file || fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET) != 0)
        return 1;
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 1, file);
    return fclose(file);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "batch") == 0 && argc >= 7)
        return make_batch(argc, argv);
    if (strcmp(what, "tensor") == 0 && argc >= 5)
        return make_tensor(argc, argv);
    if (strcmp(what, "make") == 0 && argc > 4)
        return make_tensors(argc, argv);
    if (strcmp(what, "list") == 0)
        return list(argv[2]);
    if (strcmp(what, "values") == 0 && argc == 5)
        return values(argv[2], argv[3], atol(argv[4]));
    if (strcmp(what, "member") == 0 && argc == 4)
        return member(argv[2], argv[3]);
    if (strcmp(what, "log") == 0)
        return print_log(argv[2]);
    if (strcmp(what, "flip") == 0 && argc == 4)
        return flip(argv[2], atol(argv[3]));
    return 2;
}
