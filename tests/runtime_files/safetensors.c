/* safetensors.c (test): files written and read back, types converted, shards
 * with an index; headers that lie, each with the message it must meet; full
 * disks.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/safetensors.h"
#include <dirent.h>
#include <math.h>
#include <stddef.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int entries(void)
{
    int count = -2;
    DIR *directory = opendir(".");
    while (directory && readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Writes a file with this header and `data` bytes 0, 1, 2 … after it. */
static void put_file(const char *path, const char *header, size_t data)
{
    FILE *file = fopen(path, "wb");
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        fputc((int)(length >> 8 * i & 255), file);
    fputs(header, file);
    for (size_t i = 0; i < data; i++)
        fputc((int)(i & 255), file);
    fclose(file);
}

static void put_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    fputs(text, file);
    fclose(file);
}

#define F32(shape, from, to)                                                   \
    "{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" from "," to  \
    "]}"

static void test_accepted(Checks *c)
{
    static const struct {
        const char *header;
        size_t data;
        int count;
    } files[] = {
        { "{}", 0, 0 }, { "{}   ", 0, 0 }, { "{\"a\":" F32("2,3", "0", "24") "}", 24, 1 },
        { "{\"a\":" F32("", "0", "4") "}", 4, 1 },
        { "{\"a\":" F32("0", "0", "0") "}", 0, 1 },
        { "{\"a\":" F32("5,0", "4", "4") ",\"b\":" F32("1", "0", "4") "}", 4, 2 },
        { "{\"b\":" F32("1", "4", "8") ",\"a\":" F32("1", "0", "4") "}", 8, 2 },
        { "{\"a\":" F32("1,1,1,1,1,1,1,1", "0", "4") "}", 4, 1 },
        { "{\"__metadata__\":{},\"a\":" F32("1", "0", "4") "}", 4, 1 },
        { "{\"__metadata__\":{\"step\":\"7\"}}", 0, 0 },
    };
    for (int i = 0; i < (int)(sizeof files / sizeof *files); i++) {
        Tensors t;
        Error error = { 0 };
        put_file("x.safetensors", files[i].header, files[i].data);
        if (!check(c, tensors_open(&t, "x.safetensors", &error), "%s: %s",
                   files[i].header, error.text))
            continue;
        check(c, t.count == files[i].count, "%s: %d", files[i].header, t.count);
        tensors_close(&t);
    }
    unlink("x.safetensors");
}

typedef struct Wrong {
    const char *header;
    size_t data;
    const char *error;
} Wrong;

static const Wrong wrong_files[] = {
    { "", 0, "does not begin with '{'" }, { "[]", 0, "does not begin with '{'" },
    { " {}", 0, "does not begin with '{'" }, { "{", 0, "x.safetensors:1:2: a key" },
    { "{}{}", 0, "something follows" }, { "{}", 1, "bytes at the end are no" },
    { "{\"a\":" F32("2", "0", "4") "}", 4, "tensor 'a': its data_offsets span 4 bytes" },
    { "{\"a\":" F32("1", "0", "4") "}", 3, "leave the file" },
    { "{\"a\":" F32("1", "0", "4") "}", 5, "bytes at the end are no tensor" },
    { "{\"a\":" F32("1", "4", "8") "}", 8, "bytes before it are no tensor" },
    { "{\"a\":" F32("2", "0", "8") ",\"b\":" F32("1", "4", "8") "}", 8,
      "tensor 'b': its bytes overlap" },
    { "{\"a\":" F32("1", "0", "4") ",\"b\":" F32("1", "8", "12") "}", 12,
      "tensor 'b': bytes before it" },
    { "{\"a\":" F32("1", "8", "4") "}", 8, "leave the file" },
    { "{\"a\":" F32("1", "-4", "0") "}", 8, "leave the file" },
    { "{\"a\":" F32("1", "0", "4.0") "}", 4, "no data_offsets" },
    { "{\"a\":" F32("-1", "0", "4") "}", 4, "no whole number" },
    { "{\"a\":" F32("1.0", "0", "4") "}", 4, "no whole number" },
    { "{\"a\":" F32("\"1\"", "0", "4") "}", 4, "no whole number" },
    { "{\"a\":" F32("[1]", "0", "4") "}", 4, "no whole number" },
    { "{\"a\":" F32("4294967296,4294967296", "0", "0") "}", 0, "overflows" },
    { "{\"a\":" F32("2305843009213693952,1", "0", "0") "}", 0, "overflows" },
    { "{\"a\":" F32("4294967296,4294967296,0", "0", "0") "}", 0, "overflows" },
    { "{\"a\":" F32("9223372036854775808", "0", "0") "}", 0, "no whole number" },
    { "{\"a\":" F32("1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, "more than 8 dims" },
    { "{\"a\":" F32("1", "0", "4") ",\"a\":" F32("1", "0", "4") "}", 4, "twice" },
    { "{\"\":" F32("1", "0", "4") "}", 4, "name is empty" },
    { "{\"a\\u0000b\":" F32("1", "0", "4") "}", 4, "has a NUL" },
    { "{\"a\":1}", 0, "not described by an object" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "and no more" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
      "and no more" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}", 4, "no data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "no shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no data_off" },
    { "{\"a\":{\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "type F8" },
    { "{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no dtype" },
    { "{\"__metadata__\":1}", 0, "strings only" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "strings only" },
};

static void test_refused(Checks *c)
{
    for (int i = 0; i < (int)(sizeof wrong_files / sizeof *wrong_files); i++) {
        Tensors t;
        Error error = { 0 };
        const Wrong *wrong = &wrong_files[i];
        put_file("x.safetensors", wrong->header, wrong->data);
        bool good = tensors_open(&t, "x.safetensors", &error);
        check(c,
              !good && error.status == ERROR_INPUT &&
                  strstr(error.text, wrong->error) &&
                  strstr(error.text, "x.safetensors"),
              "%s: %s", wrong->header, error.text);
        if (good)
            tensors_close(&t);
    }
    unlink("x.safetensors");
}

/* Files that are too short for their header, or for any. */
static void test_starts(Checks *c)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *error;
    } starts[] = {
        { "", 0, "0 bytes are no" }, { "\2\0\0\0\0\0\0", 7, "7 bytes are no" },
        { "\2\0\0\0\0\0\0\0", 8, "a header of 2 bytes in a file of 8" },
        { "\377\377\377\377\377\377\377\377{}", 10, "a header of 18446744073709551615" },
        { "\0\0\0\0\0\0\0\0", 8, "does not begin" },
    };
    for (int i = 0; i < (int)(sizeof starts / sizeof *starts); i++) {
        Tensors t;
        Error error = { 0 };
        FILE *file = fopen("x.safetensors", "wb");
        fwrite(starts[i].bytes, 1, starts[i].length, file);
        fclose(file);
        check(c,
              !tensors_open(&t, "x.safetensors", &error) &&
                  strstr(error.text, starts[i].error),
              "start %d: %s", i, error.text);
    }
    unlink("x.safetensors");
}

/* Every type, two elements each (wider ones first), and one without any. */
static const TensorShape shapes[] = {
    { "f64", TENSOR_F64, 1, { 2 } },   { "i64", TENSOR_I64, 1, { 2 } },
    { "u64", TENSOR_U64, 1, { 2 } },   { "f32", TENSOR_F32, 2, { 1, 2 } },
    { "i32", TENSOR_I32, 1, { 2 } },   { "u32", TENSOR_U32, 1, { 2 } },
    { "f16", TENSOR_F16, 1, { 6 } },   { "bf16", TENSOR_BF16, 1, { 2 } },
    { "i16", TENSOR_I16, 1, { 2 } },   { "u16", TENSOR_U16, 1, { 2 } },
    { "u8", TENSOR_U8, 1, { 2 } },     { "i8", TENSOR_I8, 1, { 2 } },
    { "bool", TENSOR_BOOL, 1, { 2 } }, { "none", TENSOR_F32, 2, { 3, 0 } },
};

static const TensorMetadata metadata[] = {
    { "format", "pt" }, { "spec", "a: \"b\"\n" },
};

static bool write_types(Error *e)
{
    static const struct {
        double f64[2];
        int64_t i64[2];
        uint64_t u64[2];
        float f32[2];
        int32_t i32[2];
        uint32_t u32[2];
        uint16_t f16[6], bf16[2];
        int16_t i16[2];
        uint16_t u16[2];
        uint8_t u8[2];
        int8_t i8[2];
        uint8_t boolean[2];
    } data = {
        { 0.1, -1e300 }, { -5, 1LL << 31 }, { 7, UINT64_MAX }, { -0.0f, 3e38f },
        { INT32_MIN, 9 }, { 1, UINT32_MAX },
        { 0x3c00, 0xc500, 0x0001, 0x7bff, 0xfc00, 0x7e00 }, { 0xc040, 0x7f80 },
        { -2, 3 }, { 65535, 0 }, { 0, 255 }, { -128, 127 }, { 1, 0 },
    };
    TensorOutput output = { .path = "types.safetensors", .tensors = shapes,
                            .count = 14, .metadata = metadata,
                            .metadata_count = 2 };
    TensorWriter w;
    size_t length = offsetof(__typeof__(data), boolean) + 2;
    return tensors_create(&w, &output, e) &&
           tensors_append(&w, &data, length, e) && tensors_commit(&w, e);
}

/* Elements as f32 and f64; a NaN equals a NaN. */
static void floats(Checks *c, const Tensors *t, const char *name, int count,
                   const double *want)
{
    Error e = { 0 };
    float f[6];
    double d[6];
    int entry = tensors_find(t, name);
    check(c, tensors_read_f32(t, entry, 0, count, f, &e), "%s", e.text);
    check(c, tensors_read_f64(t, entry, 0, count, d, &e), "%s", e.text);
    for (int i = 0; i < count; i++) {
        bool nan = isnan(want[i]);
        check(c, nan ? isnan(d[i]) : d[i] == want[i], "%s: %g", name, d[i]);
        check(c, nan ? isnan(f[i]) : f[i] == (float)want[i], "%s: %g", name,
              (double)f[i]);
        check(c, !signbit(d[i]) == !signbit(f[i]), "%s: sign", name);
    }
}

static void integers(Checks *c, const Tensors *t, const char *name, int first,
                     int count, const int32_t *want)
{
    Error e = { 0 };
    int32_t n[6];
    int entry = tensors_find(t, name);
    check(c, tensors_read_i32(t, entry, first, count, n, &e), "%s", e.text);
    for (int i = 0; i < count; i++)
        check(c, n[i] == want[i], "%s: %d", name, (int)n[i]);
}

static void no_integers(Checks *c, const Tensors *t, const char *name,
                        const char *why)
{
    Error e = { 0 };
    int32_t n[2];
    check(c, !tensors_read_i32(t, tensors_find(t, name), 0, 2, n, &e) &&
          strstr(e.text, why) && strstr(e.text, name), "%s", e.text);
}

static void test_types(Checks *c)
{
    Tensors t;
    Error e = { 0 };
    float f[2];
    check(c, write_types(&e), "%s", e.text);
    if (!check(c, tensors_open(&t, "types.safetensors", &e), "%s", e.text))
        return;
    check(c, t.count == 14, "%d tensors", t.count);
    check(c, t.entries[tensors_find(&t, "f64")].offset % 8 == 0, "alignment");
    check(c, !strcmp(tensors_metadata(&t, "spec"), "a: \"b\"\n"), "metadata");
    check(c, !tensors_metadata(&t, "x"), "no metadata");
    floats(c, &t, "f64", 2, (double[]){ 0.1, -1e300 });
    floats(c, &t, "f32", 2, (double[]){ -0.0, 3e38f });
    floats(c, &t, "f16", 6,
           (double[]){ 1, -5, 0x1p-24, 65504, -INFINITY, NAN });
    floats(c, &t, "bf16", 2, (double[]){ -3, INFINITY });
    floats(c, &t, "none", 0, NULL);
    integers(c, &t, "i64", 0, 1, (int32_t[]){ -5 });
    integers(c, &t, "u64", 0, 1, (int32_t[]){ 7 });
    integers(c, &t, "i32", 0, 2, (int32_t[]){ INT32_MIN, 9 });
    integers(c, &t, "u32", 0, 1, (int32_t[]){ 1 });
    integers(c, &t, "i16", 0, 2, (int32_t[]){ -2, 3 });
    integers(c, &t, "u16", 0, 2, (int32_t[]){ 65535, 0 });
    integers(c, &t, "u8", 1, 1, (int32_t[]){ 255 });
    integers(c, &t, "i8", 0, 2, (int32_t[]){ -128, 127 });
    integers(c, &t, "bool", 0, 2, (int32_t[]){ 1, 0 });
    no_integers(c, &t, "i64", "element 1 is 2147483648, outside of 32 bits");
    no_integers(c, &t, "u64", "outside of 32 bits");
    no_integers(c, &t, "u32", "element 1 is 4294967295");
    no_integers(c, &t, "f32", "is F32; integers are wanted");
    int i32 = tensors_find(&t, "i32"), f32 = tensors_find(&t, "f32");
    check(c, !tensors_read_f32(&t, i32, 0, 1, f, &e) &&
          strstr(e.text, "is I32; floats are wanted"), "%s", e.text);
    check(c, !tensors_read_f32(&t, f32, 1, 2, f, &e) &&
          !tensors_read_f32(&t, f32, -1, 1, f, &e), "out of range");
    tensors_close(&t);
    unlink("types.safetensors");
}

static void test_wanted(Checks *c)
{
    static const char header[] =
        "{\"a\":" F32("2,3", "0", "24") ",\"b\":" F32("", "24", "28")
        ",\"c\":" F32("1", "28", "32") "}";
    static const int64_t good[] = { 2, 3 }, turned[] = { 3, 2 }, flat[] = { 6 };
    Tensors t;
    Error e = { 0 };
    NameList unknown = { 0 };
    put_file("x.safetensors", header, 32);
    if (!check(c, tensors_open(&t, "x.safetensors", &e), "%s", e.text))
        return;
    check(c, tensors_want(&t, "a", 2, good, &e) == 0, "%s", e.text);
    check(c, tensors_want(&t, "b", 0, NULL, &e) == 1, "%s", e.text);
    check(c, tensors_want(&t, "a", 2, turned, &e) < 0 &&
          !strcmp(e.text, "x.safetensors: tensor 'a' is [2,3], not [3,2]"),
          "%s", e.text);
    check(c, tensors_want(&t, "a", 1, flat, &e) < 0, "%s", e.text);
    check(c, tensors_want(&t, "A", 2, good, &e) < 0 &&
          !strcmp(e.text, "x.safetensors: has no tensor 'A'"), "%s", e.text);
    tensors_unwanted(&t, &unknown);
    check(c, unknown.count == 1 && !strcmp(names_text(&unknown), "c"), "c");
    char text[200];
    const TensorEntry *a = &t.entries[0];
    tensor_describe(text, sizeof text, a->type, a->rank, a->dims);
    check(c, !strcmp(text, "F32[2,3]"), "%s", text);
    tensors_close(&t);
    unlink("x.safetensors");
}

static void test_names(Checks *c)
{
    NameList many = { 0 }, two = { 0 }, none = { 0 }, one = { 0 };
    char name[2000];
    for (int i = 0; i < 1000; i++)
        names_add(&many, "blocks.11.attn.q.weight");
    const char *listed = names_text(&many);
    check(c, strlen(listed) < 512 && strstr(listed, "weight and 98"), "%s",
          listed);
    check(c, names_text(&many) == listed && !strstr(listed, "and 0"), "twice");
    names_add(&two, "a"), names_add(&two, "b");
    check(c, !strcmp(names_text(&two), "a, b"), "%s", names_text(&two));
    check(c, !strcmp(names_text(&none), ""), "%s", names_text(&none));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    names_add(&one, name), names_add(&one, "b");
    check(c, strstr(names_text(&one), "nn and 1 more"), "%s", one.text);
}

/* Three tensors of 40 bytes and one without any, 100 bytes a file. */
static const TensorShape sharded[] = {
    { "z", TENSOR_F32, 1, { 10 } }, { "y", TENSOR_F32, 2, { 2, 5 } },
    { "x", TENSOR_F32, 1, { 10 } }, { "w", TENSOR_F32, 1, { 0 } },
};

static bool write_sharded(const char *path, uint64_t limit,
                          char digests[3][SHA256_TEXT], Error *e)
{
    TensorOutput output = { .path = path, .tensors = sharded, .count = 4,
                            .shard_bytes = limit, .digests = digests };
    TensorWriter w;
    float data[30];
    for (int i = 0; i < 30; i++)
        data[i] = (float)i;
    return tensors_create(&w, &output, e) && tensors_append(&w, data, 50, e) &&
           tensors_append(&w, (char *)data + 50, 70, e) &&
           tensors_commit(&w, e);
}

static void check_sharded(Checks *c, const char *path, int files)
{
    Tensors t;
    Error e = { 0 };
    if (!check(c, tensors_open(&t, path, &e), "%s", e.text))
        return;
    check(c, t.count == 4 && t.file_count == files, "%d files", t.file_count);
    for (int i = 0; i < 3; i++) {
        float f[10];
        int entry = tensors_find(&t, sharded[i].name);
        check(c,
              entry >= 0 && tensors_read_f32(&t, entry, 0, 10, f, &e) &&
                  f[0] == (float)(10 * i) && f[9] == (float)(10 * i + 9),
              "%s", sharded[i].name);
    }
    tensors_close(&t);
}

/* The digests that the writer gives are those of its files. */
static void check_digests(Checks *c, uint64_t limit, int files,
                          char digests[3][SHA256_TEXT])
{
    Error e = { 0 };
    char text[SHA256_TEXT], path[FILES_PATH];
    TensorOutput output = { .path = "d/model.safetensors", .tensors = sharded,
                            .count = 4, .shard_bytes = limit };
    check(c, tensors_shards(&output) == files, "%d files", files);
    for (int i = 0; i < files; i++) {
        check(c, tensors_shard_path(&output, i, path), "a path");
        check(c, sha256_file(path, text, &e) && !strcmp(text, digests[i]),
              "digest of %s", path);
    }
}

static void test_shards(Checks *c)
{
    Error e = { 0 };
    char digests[3][SHA256_TEXT], *index;
    size_t length;
    mkdir("d", 0777);
    check(c, write_sharded("d/model.safetensors", 0, digests, &e), "%s",
          e.text);
    check_sharded(c, "d", 1);
    check_sharded(c, "d/", 1);
    check_sharded(c, "d/model.safetensors", 1);
    check_digests(c, 0, 1, digests);
    unlink("d/model.safetensors");
    check(c, write_sharded("d/model.safetensors", 100, digests, &e), "%s",
          e.text);
    check_sharded(c, "d", 2);
    check_sharded(c, "d/model.safetensors", 2);
    check_sharded(c, "d/model.safetensors.index.json", 2);
    check_digests(c, 100, 2, digests);
    if (!check(c, file_read_whole("d/model.safetensors.index.json", 10000,
                                  &index, &length, &e), "%s", e.text))
        return;
    check(c, strstr(index, "\"total_size\": 120") &&
          strstr(index, "\"x\": \"model-00002-of-00002.safetensors\""), "%s",
          index);
    free(index);
}

/* Indices that do not say what the shards of the test before hold. */
static void test_indices(Checks *c)
{
    static const struct { const char *index, *error; } wrong[] = {
        { "{}", "no weight_map" }, { "{\"weight_map\":1}", "no weight_map" },
        { "[", "1:2" },
        { "{\"weight_map\":{\"x\":\"../x\"}}", "no file name" },
        { "{\"weight_map\":{\"x\":\"..\"}}", "no file name" },
        { "{\"weight_map\":{\"x\":\"/etc/x\"}}", "no file name" },
        { "{\"weight_map\":{\"x\":1}}", "no file name" },
        { "{\"weight_map\":{\"x\":\"a\\u0000b\"}}", "no file name" },
        { "{\"weight_map\":{\"x\":\"none.safetensors\"}}", "No such file" },
        { "{\"weight_map\":{\"z\":\"model-00001-of-00002.safetensors\"}}",
          "'y' of d/model-00001-of-00002.safetensors is not in the index" },
        { "{\"weight_map\":{\"q\":\"model-00001-of-00002.safetensors\"}}",
          "'q' is not in model-00001-of" },
        { "{\"weight_map\":{\"z\":\"model-00001-of-00002.safetensors\","
          "\"y\":\"model-00002-of-00002.safetensors\"}}",
          "'y' is not in model-00002" },
    };
    static const char twice[] =
        "{\"weight_map\":{\"z\":\"model-00001-of-00002.safetensors\","
        "\"y\":\"again.safetensors\"}}";
    Error e = { 0 };
    Tensors t;
    for (int i = 0; i < (int)(sizeof wrong / sizeof *wrong); i++) {
        put_text("d/model.safetensors.index.json", wrong[i].index);
        check(c, !tensors_open(&t, "d", &e) && strstr(e.text, wrong[i].error),
              "%s: %s", wrong[i].index, e.text);
    }
    put_text("d/model.safetensors.index.json", twice);
    check(c, link("d/model-00001-of-00002.safetensors",
                  "d/again.safetensors") == 0, "link");
    check(c, !tensors_open(&t, "d", &e) &&
          strstr(e.text, "in two of its files"), "%s", e.text);
    check(c, system("rm -r d") == 0, "rm");
    check(c, !tensors_open(&t, "d", &e) && strstr(e.text, "No such file"),
          "%s", e.text);
}

/* Too few or too many bytes, an abandoned writer, a full disk: no file stays. */
static void test_failures(Checks *c)
{
    Error e = { 0 };
    TensorOutput output = { .path = "o.safetensors",
                            .tensors = sharded,
                            .count = 4,
                            .shard_bytes = 100 };
    TensorWriter w;
    char data[200] = { 0 };
    check(c,
          tensors_create(&w, &output, &e) && tensors_append(&w, data, 119, &e),
          "begin");
    check(c,
          !tensors_commit(&w, &e) &&
              strstr(e.text, "1 bytes of data are missing") && entries() == 0,
          "too few: %s", e.text);
    check(c,
          tensors_create(&w, &output, &e) &&
              !tensors_append(&w, data, 121, &e) &&
              strstr(e.text, "more data") && entries() == 0,
          "too many: %s", e.text);
    check(c,
          tensors_create(&w, &output, &e) && tensors_append(&w, data, 100, &e),
          "begin");
    tensors_abandon(&w);
    check(c, entries() == 0, "abandoned");
    check(c,
          !tensors_append(&w, data, 1, &e) && !tensors_commit(&w, &e) &&
              entries() == 0,
          "after that");
    static const TensorShape large[] = { { "a", TENSOR_U8, 1, { 60000 } },
                                         { "b", TENSOR_U8, 1, { 200000 } } };
    output = (TensorOutput){ .path = "o.safetensors",
                             .tensors = large,
                             .count = 2,
                             .shard_bytes = 100000 };
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 150000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    bool good = tensors_create(&w, &output, &e);
    for (int i = 0; good && i < 1300; i++)
        good = tensors_append(&w, data, 200, &e);
    check(c, !good && e.status == ERROR_ENVIRONMENT && entries() == 0,
          "full: %s", e.text);
    setrlimit(RLIMIT_FSIZE, &before);
    output.path = "missing/o.safetensors";
    check(c, !tensors_create(&w, &output, &e) && e.status == ERROR_INPUT, "%s",
          e.text);
    output = (TensorOutput){ .path = "o.safetensors" };
    check(c, tensors_create(&w, &output, &e) && tensors_commit(&w, &e),
          "empty: %s", e.text);
    Tensors t;
    if (check(c, tensors_open(&t, "o.safetensors", &e) && t.count == 0, "%s",
              e.text))
        tensors_close(&t);
    unlink("o.safetensors");
}

/* A file that shrinks after it was opened. */
static void test_shrink(Checks *c)
{
    Tensors t;
    Error e = { 0 };
    float f[6];
    put_file("x.safetensors", "{\"a\":" F32("2,3", "0", "24") "}", 24);
    check(c, tensors_open(&t, "x.safetensors", &e), "%s", e.text);
    check(c, truncate("x.safetensors", 70) == 0, "truncate");
    check(c, !tensors_read_f32(&t, 0, 0, 6, f, &e) && strstr(e.text, "shorter"),
          "%s", e.text);
    tensors_close(&t);
    unlink("x.safetensors");
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "safetensors" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_accepted(&checks);
    test_refused(&checks);
    test_starts(&checks);
    test_types(&checks);
    test_wanted(&checks);
    test_names(&checks);
    test_shards(&checks);
    test_indices(&checks);
    test_failures(&checks);
    test_shrink(&checks);
    return check_end(&checks);
}
