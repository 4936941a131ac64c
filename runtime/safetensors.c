/* safetensors.c: reading (see safetensors.h; safetensors_write.c writes). From
 * the inside out: types, one entry of a header, one file, an index with its
 * shards, tensors_open; then look-ups and the reading of elements.
 * SPDX-License-Identifier: 0BSD */
#include "safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the format's own reader accepts at most; an index is held to it too. */
enum { HEADER_BYTES = 100000000 };

/* ---- types -------------------------------------------------------------- */

static const struct { const char *name; int bytes; } types[TENSOR_TYPES] = {
    [TENSOR_BOOL] = { "BOOL", 1 }, [TENSOR_U8] = { "U8", 1 },
    [TENSOR_I8] = { "I8", 1 },     [TENSOR_U16] = { "U16", 2 },
    [TENSOR_I16] = { "I16", 2 },   [TENSOR_U32] = { "U32", 4 },
    [TENSOR_I32] = { "I32", 4 },   [TENSOR_U64] = { "U64", 8 },
    [TENSOR_I64] = { "I64", 8 },   [TENSOR_F16] = { "F16", 2 },
    [TENSOR_BF16] = { "BF16", 2 }, [TENSOR_F32] = { "F32", 4 },
    [TENSOR_F64] = { "F64", 8 },
};

const char *tensor_type_name(TensorType type)
{
    return types[type].name;
}

int tensor_type_bytes(TensorType type)
{
    return types[type].bytes;
}

static void describe_shape(char *text, size_t room, int rank,
                           const int64_t *dims)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < rank && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%lld",
                                 i ? "," : "", (long long)dims[i]);
}

const char *tensor_describe(char *text, size_t room, TensorType type, int rank,
                            const int64_t *dims)
{
    char shape[TENSOR_RANK * 21 + 1];
    describe_shape(shape, sizeof shape, rank, dims);
    snprintf(text, room, "%s[%s]", types[type].name, shape);
    return text;
}

/* ---- one file's header -------------------------------------------------- */

typedef struct Reader {
    const char *path;           /* the file */
    const Json *json;           /* its header */
    uint64_t data, data_bytes;  /* where its tensors' bytes begin; how many */
    Error *error;
} Reader;

static bool no_memory(const char *path, Error *error)
{
    return error_set(error, ERROR_ENVIRONMENT, "%s: no memory to read it",
                     path);
}

static bool refuse(const Reader *r, const char *tensor, const char *what)
{
    return error_set(r->error, ERROR_INPUT, "%s: tensor '%.200s': %s", r->path,
                     tensor, what);
}

static bool read_type(const Reader *r, int token, TensorEntry *entry)
{
    const char *text = json_text(r->json, token);
    if (!text)
        return refuse(r, entry->name, "has no dtype");
    for (int i = 0; i < TENSOR_TYPES; i++)
        if (strcmp(text, types[i].name) == 0) {
            entry->type = (TensorType)i;
            return true;
        }
    return error_set(r->error, ERROR_INPUT, "%s: tensor '%.200s': the type "
                     "%.40s is not known here", r->path, entry->name, text);
}

/* The shape, and from it the number of elements and bytes, in 63 bits. */
static bool read_shape(const Reader *r, int token, TensorEntry *entry)
{
    if (token < 0 || r->json->tokens[token].kind != JSON_ARRAY)
        return refuse(r, entry->name, "has no shape");
    if (r->json->tokens[token].count > TENSOR_RANK)
        return refuse(r, entry->name, "has more than 8 dims");
    entry->rank = r->json->tokens[token].count;
    entry->count = 1;
    bool empty = false;
    for (int i = 0; i < entry->rank; i++) {
        int64_t dim;
        if (!json_integer(r->json, token + 1 + i, &dim) || dim < 0)
            return refuse(r, entry->name, "a dim that is no whole number >= 0");
        entry->dims[i] = dim;
        empty |= dim == 0;
        if (__builtin_mul_overflow(entry->count, dim ? dim : 1, &entry->count))
            return refuse(r, entry->name, "its shape overflows");
    }
    int64_t bytes;
    if (__builtin_mul_overflow(entry->count, types[entry->type].bytes, &bytes))
        return refuse(r, entry->name, "its shape overflows");
    entry->bytes = empty ? 0 : (uint64_t)bytes;
    entry->count = empty ? 0 : entry->count;
    return true;
}

/* Where its bytes are; they must be as many as the shape says. */
static bool read_offsets(const Reader *r, int token, TensorEntry *entry)
{
    int64_t begin, end;
    if (token < 0 || r->json->tokens[token].kind != JSON_ARRAY ||
        r->json->tokens[token].count != 2 ||
        !json_integer(r->json, token + 1, &begin) ||
        !json_integer(r->json, token + 2, &end))
        return refuse(r, entry->name, "has no data_offsets [begin, end]");
    if (begin < 0 || end < begin || (uint64_t)end > r->data_bytes)
        return refuse(r, entry->name, "its data_offsets leave the file");
    if ((uint64_t)(end - begin) != entry->bytes)
        return error_set(r->error, ERROR_INPUT, "%s: tensor '%.200s': its "
                         "data_offsets span %llu bytes, its shape and type are "
                         "%llu", r->path, entry->name,
                         (unsigned long long)(end - begin),
                         (unsigned long long)entry->bytes);
    entry->offset = r->data + (uint64_t)begin;
    return true;
}

/* The member whose key is token `key`. */
static bool read_entry(const Reader *r, int key, TensorEntry *entry)
{
    entry->name = json_text(r->json, key);
    if (!entry->name || !entry->name[0])
        return error_set(r->error, ERROR_INPUT,
                         "%s: a tensor's name is empty or has a NUL", r->path);
    int value = key + 1;
    if (r->json->tokens[value].kind != JSON_OBJECT)
        return refuse(r, entry->name, "is not described by an object");
    if (r->json->tokens[value].count != 3)
        return refuse(r, entry->name,
                      "is described by dtype, shape, data_offsets and no more");
    return read_type(r, json_member(r->json, value, "dtype"), entry) &&
           read_shape(r, json_member(r->json, value, "shape"), entry) &&
           read_offsets(r, json_member(r->json, value, "data_offsets"), entry);
}

static bool check_metadata(const Reader *r, int object)
{
    const JsonToken *tokens = r->json->tokens;
    bool good = tokens[object].kind == JSON_OBJECT;
    for (int i = object + 1; good && i < tokens[object].end;
         i = tokens[i + 1].end)
        good = tokens[i + 1].kind == JSON_STRING;
    return good || error_set(r->error, ERROR_INPUT,
                             "%s: __metadata__ holds strings only", r->path);
}

/* The tensors' bytes, side by side, are the data: no overlap and no gap. */
static bool check_cover(const Reader *r, const TensorEntry *entries, int count)
{
    SortKey *keys = malloc(((size_t)count + 1) * sizeof *keys);
    if (!keys)
        return no_memory(r->path, r->error);
    size_t used = 0;
    for (int i = 0; i < count; i++)
        if (entries[i].bytes > 0)
            keys[used++] = (SortKey){ .number = entries[i].offset, .item = i };
    sort_keys(keys, used);
    uint64_t at = r->data;
    bool good = true;
    for (size_t i = 0; good && i < used; i++) {
        const TensorEntry *entry = &entries[keys[i].item];
        if (entry->offset < at)
            good = refuse(r, entry->name, "its bytes overlap another tensor's");
        else if (entry->offset > at)
            good = refuse(r, entry->name, "bytes before it are no tensor's");
        at = entry->offset + entry->bytes;
    }
    free(keys);
    if (good && at != r->data + r->data_bytes)
        return error_set(r->error, ERROR_INPUT, "%s: bytes at the end are no "
                         "tensor's", r->path);
    return good;
}

/* Appends the entries of a file whose header is parsed. */
static bool read_entries(Tensors *tensors, const Reader *r)
{
    const JsonToken *tokens = r->json->tokens;
    size_t members = (size_t)tokens[0].count;
    size_t room = (size_t)tensors->count + members + 1;
    TensorEntry *grown = NULL;
    if (room < INT32_MAX)
        grown = realloc(tensors->entries, room * sizeof *grown);
    if (!grown)
        return no_memory(r->path, r->error);
    tensors->entries = grown;
    int before = tensors->count;
    for (int i = 1; i < tokens[0].end; i = tokens[i + 1].end) {
        const char *key = json_text(r->json, i);
        if (key && strcmp(key, "__metadata__") == 0) {
            if (!check_metadata(r, i + 1))
                return false;
            continue;
        }
        TensorEntry entry = { .file = tensors->file_count - 1 };
        if (!read_entry(r, i, &entry))
            return false;
        tensors->entries[tensors->count++] = entry;
    }
    return check_cover(r, tensors->entries + before, tensors->count - before);
}

/* Reads and parses the header of an open file; sets r->data, data_bytes. */
static bool read_header(TensorFile *file, Reader *r)
{
    unsigned char start[8];
    uint64_t length = 0;
    if (file->size < 8)
        return error_set(r->error, ERROR_INPUT,
                         "%s: %llu bytes are no safetensors file", file->path,
                         (unsigned long long)file->size);
    if (!file_read_at(file->descriptor, file->path, start, 8, 0, r->error))
        return false;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | start[i];
    if (length > HEADER_BYTES || length > file->size - 8)
        return error_set(r->error, ERROR_INPUT,
                         "%s: no safetensors file: a header of %llu bytes in a "
                         "file of %llu", file->path, (unsigned long long)length,
                         (unsigned long long)file->size);
    r->data = 8 + length;
    r->data_bytes = file->size - r->data;
    char *text = malloc((size_t)length + 1);
    if (!text)
        return no_memory(file->path, r->error);
    bool good = file_read_at(file->descriptor, file->path, text, (size_t)length,
                             8, r->error);
    if (good && (length == 0 || text[0] != '{'))
        good = error_set(r->error, ERROR_INPUT, "%s: no safetensors file: its "
                         "header does not begin with '{'", file->path);
    good = good && json_parse(&file->header, file->path, text, (size_t)length,
                              r->error);
    free(text);
    return good;
}

/* Opens one file and appends it and its entries. */
static bool add_file(Tensors *tensors, const char *path, Error *error)
{
    size_t room = (size_t)tensors->file_count + 1;
    TensorFile *grown = realloc(tensors->files, room * sizeof *grown);
    if (!grown)
        return no_memory(path, error);
    tensors->files = grown;
    TensorFile *file = &grown[tensors->file_count];
    *file = (TensorFile){ .path = strdup(path), .descriptor = -1 };
    tensors->file_count++;
    if (!file->path)
        return no_memory(path, error);
    file->descriptor = file_open(path, &file->size, error);
    if (file->descriptor < 0)
        return false;
    Reader r = { .path = file->path, .json = &file->header, .error = error };
    return read_header(file, &r) && read_entries(tensors, &r);
}

/* ---- all entries by name ------------------------------------------------ */

static bool sort_entries(Tensors *tensors, Error *error)
{
    size_t count = (size_t)tensors->count;
    SortKey *keys = malloc((count + 1) * sizeof *keys);
    TensorEntry *sorted = malloc((count + 1) * sizeof *sorted);
    bool good = keys && sorted;
    if (!good) {
        no_memory(tensors->path, error);
        free(keys);
        free(sorted);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = tensors->entries[i].name;
        keys[i] = (SortKey){ .text = name, .length = (uint32_t)strlen(name),
                             .item = (int32_t)i };
    }
    sort_keys(keys, count);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = tensors->entries[keys[i].item];
        if (good && i > 0 && strcmp(sorted[i - 1].name, sorted[i].name) == 0)
            good = error_set(error, ERROR_INPUT, "%s: tensor '%.200s' is in "
                             "two of its files", tensors->path, sorted[i].name);
    }
    free(keys);
    free(tensors->entries);
    tensors->entries = sorted;
    return good;
}

int tensors_find(const Tensors *tensors, const char *name)
{
    int low = 0, high = tensors->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(tensors->entries[middle].name, name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

/* ---- an index and its shards -------------------------------------------- */

/* Joins the directory of `path` and `name`. */
static bool beside(const char *path, const char *name, char out[FILES_PATH],
                   Error *error)
{
    const char *slash = strrchr(path, '/');
    int directory = slash ? (int)(slash + 1 - path) : 0;
    int length = snprintf(out, FILES_PATH, "%.*s%s", directory, path, name);
    return length < FILES_PATH ||
           error_set(error, ERROR_INPUT, "%s: the path of %.200s is too long",
                     path, name);
}

/* Opens each file that weight_map names, once. */
static bool open_shards(Tensors *tensors, const char *path, const Json *json,
                        int map, Error *error)
{
    SortKey *keys = malloc(((size_t)json->key_count + 1) * sizeof *keys);
    if (!keys)
        return no_memory(path, error);
    size_t used = 0;
    bool good = true;
    for (int i = map + 1; good && i < json->tokens[map].end;
         i = json->tokens[i + 1].end) {
        const char *file = json_text(json, i + 1);
        /* A name with a slash would lead out of the index's directory. */
        good = file && file[0] && !strchr(file, '/') && strcmp(file, "..") != 0;
        if (!good)
            error_set(error, ERROR_INPUT, "%s: weight_map gives '%.200s' no "
                      "file name", path, json->tokens[i].string);
        else
            keys[used++] = (SortKey){ .text = file,
                                      .length = (uint32_t)strlen(file) };
    }
    sort_keys(keys, used);
    for (size_t i = 0; good && i < used; i++) {
        char shard[FILES_PATH];
        if (i > 0 && sort_compare(&keys[i - 1], &keys[i]) == 0)
            continue;
        good = beside(path, keys[i].text, shard, error) &&
               add_file(tensors, shard, error);
    }
    free(keys);
    return good;
}

/* The index and the shards must say the same, tensor by tensor. */
static bool check_index(const Tensors *tensors, const char *path,
                        const Json *json, int map, Error *error)
{
    for (int i = map + 1; i < json->tokens[map].end;
         i = json->tokens[i + 1].end) {
        const char *name = json->tokens[i].string;
        const char *file = json->tokens[i + 1].string;
        int entry = tensors_find(tensors, name);
        const char *in = NULL;
        if (entry >= 0) {
            in = tensors->files[tensors->entries[entry].file].path;
            const char *slash = strrchr(in, '/');
            in = slash ? slash + 1 : in;
        }
        if (!in || strcmp(in, file) != 0)
            return error_set(error, ERROR_INPUT, "%s: tensor '%.200s' is not "
                             "in %.200s", path, name, file);
    }
    for (int i = 0; i < tensors->count; i++)
        if (json_member(json, map, tensors->entries[i].name) < 0)
            return error_set(error, ERROR_INPUT, "%s: tensor '%.200s' of %s is "
                             "not in the index", path, tensors->entries[i].name,
                             tensors->files[tensors->entries[i].file].path);
    return true;
}

static bool open_index(Tensors *tensors, const char *path, Error *error)
{
    char *text;
    size_t length;
    if (!file_read_whole(path, HEADER_BYTES, &text, &length, error))
        return false;
    Json json;
    bool good = json_parse(&json, path, text, length, error);
    free(text);
    if (!good)
        return false;
    int map = json_member(&json, 0, "weight_map");
    if (map < 0 || json.tokens[map].kind != JSON_OBJECT)
        good = error_set(error, ERROR_INPUT, "%s: has no weight_map", path);
    good = good && open_shards(tensors, path, &json, map, error) &&
           sort_entries(tensors, error) &&
           check_index(tensors, path, &json, map, error);
    json_free(&json);
    return good;
}

/* ---- opening ------------------------------------------------------------ */

static bool exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* The file to begin with: see tensors_open's comment. */
static bool locate(const char *path, char found[FILES_PATH], Error *error)
{
    struct stat about;
    const char *inside = "";
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        inside = "/model.safetensors";
    int length = snprintf(found, FILES_PATH, "%s%s.index.json", path, inside);
    if (length >= FILES_PATH)
        return error_set(error, ERROR_INPUT, "%.200s…: the path is too long",
                         path);
    char *index = found + strlen(path) + strlen(inside);
    *index = '\0';
    if (!exists(found)) {
        *index = '.';
        if (!exists(found))
            *index = '\0';
    }
    return true;
}

bool tensors_open(Tensors *tensors, const char *path, Error *error)
{
    char found[FILES_PATH];
    *tensors = (Tensors){ .path = strdup(path) };
    bool good = tensors->path || no_memory(path, error);
    good = good && locate(path, found, error);
    if (good && ends_with(found, ".index.json"))
        good = open_index(tensors, found, error);
    else
        good = good && add_file(tensors, found, error) &&
               sort_entries(tensors, error);
    if (!good)
        tensors_close(tensors);
    return good;
}

void tensors_close(Tensors *tensors)
{
    for (int i = 0; i < tensors->file_count; i++) {
        TensorFile *file = &tensors->files[i];
        if (file->descriptor >= 0)
            close(file->descriptor);
        json_free(&file->header);
        free(file->path);
    }
    free(tensors->files);
    free(tensors->entries);
    free(tensors->path);
    *tensors = (Tensors){ 0 };
}

/* ---- look-ups ----------------------------------------------------------- */

int tensors_want(Tensors *tensors, const char *name, int rank,
                 const int64_t *dims, Error *error)
{
    int found = tensors_find(tensors, name);
    if (found < 0) {
        error_set(error, ERROR_INPUT, "%s: has no tensor '%.200s'",
                  tensors->path, name);
        return -1;
    }
    TensorEntry *entry = &tensors->entries[found];
    bool same = entry->rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = entry->dims[i] == dims[i];
    if (!same) {
        char wanted[TENSOR_RANK * 21 + 1], got[TENSOR_RANK * 21 + 1];
        describe_shape(wanted, sizeof wanted, rank, dims);
        describe_shape(got, sizeof got, entry->rank, entry->dims);
        error_set(error, ERROR_INPUT, "%s: tensor '%.200s' is [%s], not [%s]",
                  tensors->path, name, got, wanted);
        return -1;
    }
    entry->wanted = true;
    return found;
}

const char *tensors_metadata(const Tensors *tensors, const char *key)
{
    if (tensors->file_count == 0)
        return NULL;
    const Json *header = &tensors->files[0].header;
    int metadata = json_member(header, 0, "__metadata__");
    return json_text(header, json_member(header, metadata, key));
}

void names_add(NameList *list, const char *name)
{
    /* What names_text may still have to say. */
    const size_t kept = sizeof " and 2000000000 more";
    size_t used = strlen(list->text);
    size_t room = sizeof list->text - kept - used;
    bool fits = strlen(name) + 2 < room;
    list->count++;
    if (list->shown < list->count - 1 || (!fits && used > 0))
        return;
    snprintf(list->text + used, room, "%s%s", used ? ", " : "", name);
    list->shown++;
}

const char *names_text(NameList *list)
{
    size_t used = strlen(list->text);
    if (list->shown < list->count)
        snprintf(list->text + used, sizeof list->text - used, " and %d more",
                 list->count - list->shown);
    list->shown = list->count;
    return list->text;
}

void tensors_unwanted(const Tensors *tensors, NameList *list)
{
    for (int i = 0; i < tensors->count; i++)
        if (!tensors->entries[i].wanted)
            names_add(list, tensors->entries[i].name);
}

/* ---- elements ----------------------------------------------------------- */

bool tensors_read_raw(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, void *out, Error *error)
{
    const TensorEntry *e = &tensors->entries[entry];
    const TensorFile *file = &tensors->files[e->file];
    if (first < 0 || count < 0 || first > e->count || count > e->count - first)
        return error_set(error, ERROR_INPUT, "%s: tensor '%.200s' has %lld "
                         "elements; %lld from %lld on were wanted", file->path,
                         e->name, (long long)e->count, (long long)count,
                         (long long)first);
    uint64_t each = (uint64_t)types[e->type].bytes;
    return file_read_at(file->descriptor, file->path, out,
                        (size_t)((uint64_t)count * each),
                        e->offset + (uint64_t)first * each, error);
}

/* ±mantissa·2^exponent of an IEEE half, exactly. */
static double half_at(const unsigned char *at)
{
    unsigned bits = at[0] | (unsigned)at[1] << 8;
    int exponent = bits >> 10 & 31;
    double mantissa = bits & 1023, value;
    if (exponent == 31)
        value = mantissa ? __builtin_nan("") : __builtin_inf();
    else if (exponent == 0)
        value = mantissa * 0x1p-24;
    else
        value = (1024 + mantissa) * 0x1p-25 * (double)(1u << exponent);
    return bits & 0x8000 ? -value : value;
}

static double float_at(TensorType type, const unsigned char *at)
{
    float f;
    double d;
    if (type == TENSOR_F16)
        return half_at(at);
    if (type == TENSOR_F64) {
        memcpy(&d, at, sizeof d);
        return d;
    }
    uint32_t bits = 0;          /* bf16 is the upper half of an f32 */
    if (type == TENSOR_BF16)
        memcpy((char *)&bits + 2, at, 2);
    else
        memcpy(&bits, at, 4);
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* U64 past int64's largest reads as that: no i32 either. */
static int64_t integer_at(TensorType type, const unsigned char *at)
{
    int bytes = types[type].bytes;
    uint64_t bits = 0;
    memcpy(&bits, at, (size_t)bytes);
    bool is_signed = type == TENSOR_I8 || type == TENSOR_I16 ||
                     type == TENSOR_I32 || type == TENSOR_I64;
    if (!is_signed)
        return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    int unused = 64 - 8 * bytes;
    return (int64_t)(bits << unused) >> unused;
}

static bool is_float(TensorType type)
{
    return type == TENSOR_F16 || type == TENSOR_BF16 || type == TENSOR_F32 ||
           type == TENSOR_F64;
}

static bool check_float(const Tensors *tensors, const TensorEntry *e, bool real,
                        Error *error)
{
    return is_float(e->type) == real ||
           error_set(error, ERROR_INPUT, "%s: tensor '%.200s' is %s; %s are "
                     "wanted", tensors->files[e->file].path, e->name,
                     types[e->type].name, real ? "floats" : "integers");
}

enum { PIECE = 32768 };         /* bytes converted at a time */

/* How many of `left` elements fit a piece. */
static int64_t piece_of(const TensorEntry *e, int64_t left)
{
    int64_t most = PIECE / types[e->type].bytes;
    return left < most ? left : most;
}

bool tensors_read_f32(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, float *out, Error *error)
{
    const TensorEntry *e = &tensors->entries[entry];
    unsigned char piece[PIECE];
    if (!check_float(tensors, e, true, error))
        return false;
    if (e->type == TENSOR_F32)
        return tensors_read_raw(tensors, entry, first, count, out, error);
    for (int64_t n; count > 0; first += n, count -= n) {
        n = piece_of(e, count);
        if (!tensors_read_raw(tensors, entry, first, n, piece, error))
            return false;
        for (int64_t i = 0; i < n; i++)
            *out++ = (float)float_at(e->type, piece + i * types[e->type].bytes);
    }
    return true;
}

bool tensors_read_f64(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, double *out, Error *error)
{
    const TensorEntry *e = &tensors->entries[entry];
    unsigned char piece[PIECE];
    if (!check_float(tensors, e, true, error))
        return false;
    for (int64_t n; count > 0; first += n, count -= n) {
        n = piece_of(e, count);
        if (!tensors_read_raw(tensors, entry, first, n, piece, error))
            return false;
        for (int64_t i = 0; i < n; i++)
            *out++ = float_at(e->type, piece + i * types[e->type].bytes);
    }
    return true;
}

bool tensors_read_i32(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, int32_t *out, Error *error)
{
    const TensorEntry *e = &tensors->entries[entry];
    unsigned char piece[PIECE];
    if (!check_float(tensors, e, false, error))
        return false;
    for (int64_t n; count > 0; first += n, count -= n) {
        n = piece_of(e, count);
        if (!tensors_read_raw(tensors, entry, first, n, piece, error))
            return false;
        for (int64_t i = 0; i < n; i++) {
            const unsigned char *at = piece + i * types[e->type].bytes;
            int64_t value = integer_at(e->type, at);
            if (value < INT32_MIN || value > INT32_MAX)
                return error_set(error, ERROR_INPUT, "%s: tensor '%.200s': "
                                 "element %lld is %lld, outside of 32 bits",
                                 tensors->files[e->file].path, e->name,
                                 (long long)(first + i), (long long)value);
            *out++ = (int32_t)value;
        }
    }
    return true;
}
