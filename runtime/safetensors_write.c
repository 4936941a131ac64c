/* safetensors_write.c: writing (see safetensors.h). The data's bytes come in
 * the order of output->tensors; shards are runs of them. A header is written
 * twice: first to nowhere, to learn its length, then to the file.
 * SPDX-License-Identifier: 0BSD */
#include "safetensors.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t tensor_bytes(const TensorShape *tensor)
{
    uint64_t bytes = (uint64_t)tensor_type_bytes(tensor->type);
    for (int i = 0; i < tensor->rank; i++)
        bytes *= (uint64_t)tensor->dims[i];
    return bytes;
}

/* ---- which tensors are in which file ------------------------------------ */

/* The end of the run of tensors, from `first` on, that fills one file; *bytes
 * is how many they have. One tensor at least, however large. */
static int32_t shard_end(const TensorOutput *output, int32_t first,
                         uint64_t *bytes)
{
    int32_t end = first;
    *bytes = 0;
    while (end < output->count) {
        uint64_t more = tensor_bytes(&output->tensors[end]);
        bool fits = output->shard_bytes == 0 ||
                    *bytes + more <= output->shard_bytes;
        if (!fits && end > first)
            break;
        *bytes += more;
        end++;
    }
    return end;
}

int32_t tensors_shards(const TensorOutput *output)
{
    int32_t shards = 0, at = 0;
    uint64_t bytes;
    do {
        at = shard_end(output, at, &bytes);
        shards++;
    } while (at < output->count);
    return shards;
}

static bool shard_path(const TensorOutput *output, int32_t shard,
                       int32_t shards, char path[FILES_PATH])
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(output->path), tail = sizeof suffix - 1;
    if (length >= FILES_PATH)
        return false;
    int printed;
    if (shard < 0) {
        printed = snprintf(path, FILES_PATH, "%s.index.json", output->path);
    } else if (shards == 1) {
        printed = snprintf(path, FILES_PATH, "%s", output->path);
    } else {
        if (length >= tail && strcmp(output->path + length - tail, suffix) == 0)
            length -= tail;
        printed = snprintf(path, FILES_PATH, "%.*s-%05d-of-%05d%s", (int)length,
                           output->path, (int)shard + 1, (int)shards, suffix);
    }
    return printed < FILES_PATH;
}

bool tensors_shard_path(const TensorOutput *output, int32_t shard,
                        char path[FILES_PATH])
{
    return shard_path(output, shard, tensors_shards(output), path);
}

/* ---- headers and the index ---------------------------------------------- */

static void put_metadata(JsonWriter *json, const TensorOutput *output)
{
    for (int i = 0; i < output->metadata_count; i++) {
        json_key(json, output->metadata[i].key);
        json_put_text(json, output->metadata[i].value);
    }
}

/* The header of a file with tensors [first, end). */
static void put_header(JsonWriter *json, const TensorOutput *output,
                       int32_t first, int32_t end)
{
    uint64_t at = 0;
    json_open(json, '{');
    if (output->metadata_count > 0) {
        json_key(json, "__metadata__");
        json_open(json, '{');
        put_metadata(json, output);
        json_close(json, '}');
    }
    for (int32_t i = first; i < end; i++) {
        const TensorShape *tensor = &output->tensors[i];
        json_key(json, tensor->name);
        json_open(json, '{');
        json_key(json, "dtype");
        json_put_text(json, tensor_type_name(tensor->type));
        json_key(json, "shape");
        json_open(json, '[');
        for (int d = 0; d < tensor->rank; d++)
            json_put_integer(json, tensor->dims[d]);
        json_close(json, ']');
        json_key(json, "data_offsets");
        json_open(json, '[');
        json_put_integer(json, (int64_t)at);
        at += tensor_bytes(tensor);
        json_put_integer(json, (int64_t)at);
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, '}');
}

/* Begins the file of tensors [writer->next, end): length, header and the spaces
 * that bring the data to a multiple of 8. */
static bool begin_file(TensorWriter *writer, int32_t end, Error *error)
{
    const TensorOutput *output = writer->output;
    char path[FILES_PATH];
    if (!shard_path(output, writer->shard, writer->shards, path))
        return error_set(error, ERROR_INPUT, "%.200s…: the path is too long",
                         output->path);
    JsonWriter json = json_to_nowhere();
    put_header(&json, output, writer->next, end);
    int spaces = (int)(7 - (json.length + 7) % 8);
    uint64_t length = json.length + (uint64_t)spaces;
    unsigned char start[8];
    for (int i = 0; i < 8; i++)
        start[i] = (unsigned char)(length >> 8 * i);
    if (!file_create(&writer->file, path, error))
        return false;
    if (output->digests) {
        sha256_start(&writer->hash);
        writer->file.hash = &writer->hash;
    }
    if (!file_append(&writer->file, start, 8, error))
        return false;
    json = json_to_file(&writer->file, error);
    put_header(&json, output, writer->next, end);
    return !json.failed && file_append(&writer->file, "       ",
                                       (size_t)spaces, error);
}

static bool write_index(const TensorWriter *writer, Error *error)
{
    const TensorOutput *output = writer->output;
    char path[FILES_PATH];
    FileWriter file;
    if (!shard_path(output, -1, writer->shards, path))
        return error_set(error, ERROR_INPUT, "%.200s…: the path is too long",
                         output->path);
    if (!file_create(&file, path, error))
        return false;
    uint64_t total = 0;
    for (int32_t i = 0; i < output->count; i++)
        total += tensor_bytes(&output->tensors[i]);
    JsonWriter json = json_to_file(&file, error);
    json.lines = true;
    json_open(&json, '{');
    json_key(&json, "metadata");
    json_open(&json, '{');
    json_key(&json, "total_size");
    json_put_integer(&json, (int64_t)total);
    json_close(&json, '}');
    json_key(&json, "weight_map");
    json_open(&json, '{');
    for (int32_t shard = 0, i = 0; shard < writer->shards; shard++) {
        uint64_t bytes;
        int32_t end = shard_end(output, i, &bytes);
        shard_path(output, shard, writer->shards, path);
        const char *slash = strrchr(path, '/');
        for (; i < end; i++) {
            json_key(&json, output->tensors[i].name);
            json_put_text(&json, slash ? slash + 1 : path);
        }
    }
    json_close(&json, '}');
    json_close(&json, '}');
    return !json.failed && file_append(&file, "\n", 1, error) &&
           file_commit(&file, error);
}

/* ---- the writer --------------------------------------------------------- */

/* Removes what was written aside and the shards that are already in place. */
void tensors_abandon(TensorWriter *writer)
{
    char path[FILES_PATH];
    file_abandon(&writer->file);
    for (int32_t i = 0; i < writer->shard; i++)
        if (shard_path(writer->output, i, writer->shards, path))
            unlink(path);
    writer->shard = 0;
    writer->left = 0;
}

static bool give_up(TensorWriter *writer)
{
    tensors_abandon(writer);
    return false;
}

/* Begins the next file. */
static bool next_file(TensorWriter *writer, Error *error)
{
    int32_t end = shard_end(writer->output, writer->next, &writer->left);
    if (!begin_file(writer, end, error))
        return give_up(writer);
    writer->next = end;
    return true;
}

static bool end_file(TensorWriter *writer, Error *error)
{
    if (!file_commit(&writer->file, error))
        return give_up(writer);
    char (*digests)[SHA256_TEXT] = writer->output->digests;
    if (digests)
        sha256_finish_text(&writer->hash, digests[writer->shard]);
    writer->shard++;
    return true;
}

bool tensors_create(TensorWriter *writer, const TensorOutput *output,
                    Error *error)
{
    writer->output = output;
    writer->shards = tensors_shards(output);
    writer->shard = writer->next = 0;
    writer->file.descriptor = -1;
    return next_file(writer, error);
}

bool tensors_append(TensorWriter *writer, const void *bytes, uint64_t length,
                    Error *error)
{
    const char *from = bytes;
    while (length > 0) {
        if (writer->left == 0 && writer->next < writer->output->count) {
            if (!end_file(writer, error) || !next_file(writer, error))
                return false;
            continue;
        }
        uint64_t piece = length < writer->left ? length : writer->left;
        if (piece == 0) {
            error_set(error, ERROR_INPUT, "%s: more data than its tensors have",
                      writer->output->path);
            return give_up(writer);
        }
        if (!file_append(&writer->file, from, (size_t)piece, error))
            return give_up(writer);
        writer->left -= piece;
        from += piece;
        length -= piece;
    }
    return true;
}

bool tensors_commit(TensorWriter *writer, Error *error)
{
    /* Shards of tensors without a byte can be left over here. */
    while (writer->left == 0 && writer->next < writer->output->count)
        if (!end_file(writer, error) || !next_file(writer, error))
            return false;
    if (writer->left > 0) {
        error_set(error, ERROR_INPUT, "%s: %llu bytes of data are missing",
                  writer->output->path, (unsigned long long)writer->left);
        return give_up(writer);
    }
    if (!end_file(writer, error))
        return false;
    if (writer->shards > 1 && !write_index(writer, error))
        return give_up(writer);
    return true;
}
