/* data_files.c: the files of data.h: finding them, telling their formats apart,
 * opening each, and keeping few of them open at a time. Tokens and windows are
 * in data.c.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "data.h"
#include "files.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LLMC_HEADER = 1024, LLMC_UINT16 = 20240520, LLMC_UINT32 = 20240801,
    PIECE = 32768,              /* bytes read at a time */
    MOST_FILES = 1 << 20
};

static const char *const format_names[] = {
    [DATA_AUTO] = "auto", [DATA_TEXT] = "text", [DATA_BYTES] = "bytes",
    [DATA_NANOGPT] = "nanogpt", [DATA_LLMC] = "llmc", [DATA_TSV] = "tsv",
    [DATA_IDX] = "idx", [DATA_JSONL] = "jsonl",
    [DATA_SAFETENSORS] = "safetensors",
};
enum { FORMATS = sizeof format_names / sizeof *format_names };

bool data_format_named(const char *name, DataFormat *format)
{
    for (int i = 0; i < FORMATS; i++)
        if (strcmp(name, format_names[i]) == 0) {
            *format = (DataFormat)i;
            return true;
        }
    return false;
}

const char *data_format_name(DataFormat format)
{
    return format_names[format];
}

bool data_is_tokens(DataFormat format)
{
    return format <= DATA_LLMC;
}

/* ---- one file ----------------------------------------------------------- */

static int32_t little_int32(const unsigned char *at)
{
    return (int32_t)(at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                     (uint32_t)at[3] << 24);
}

static DataFormat by_suffix(const char *path)
{
    static const struct { const char *end; DataFormat format; } suffixes[] = {
        { ".bin", DATA_NANOGPT }, { ".tsv", DATA_TSV },
        { ".jsonl", DATA_JSONL }, { ".safetensors", DATA_SAFETENSORS },
        { ".idx", DATA_IDX }, { "ubyte", DATA_IDX }, { ".idx.gz", DATA_IDX },
        { "ubyte.gz", DATA_IDX },
    };
    size_t length = strlen(path);
    for (int i = 0; i < (int)(sizeof suffixes / sizeof *suffixes); i++) {
        size_t end = strlen(suffixes[i].end);
        if (length >= end
            && strcmp(path + length - end, suffixes[i].end) == 0)
            return suffixes[i].format;
    }
    return DATA_TEXT;
}

/* The file's own format: what DATA_AUTO stands for. */
static bool recognise(const DataFile *file, DataFormat *format, Error *error)
{
    unsigned char magic[4];
    if (file->size >= sizeof magic) {
        if (!file_read_at(file->descriptor, file->path, magic, sizeof magic, 0,
                          error))
            return false;
        int32_t number = little_int32(magic);
        if (number == LLMC_UINT16 || number == LLMC_UINT32) {
            *format = DATA_LLMC;
            return true;
        }
    }
    *format = by_suffix(file->path);
    return true;
}

/* llm.c's header: magic, version and count must agree with each other and with
 * the file's size. */
static bool read_llmc(DataFile *file, Error *error)
{
    unsigned char header[12];
    if (file->size < LLMC_HEADER)
        return error_set(error, ERROR_INPUT, "%s: %llu bytes are too few for "
                         "llm.c's header of 1024", file->path,
                         (unsigned long long)file->size);
    if (!file_read_at(file->descriptor, file->path, header, sizeof header, 0,
                      error))
        return false;
    int32_t magic = little_int32(header), version = little_int32(header + 4);
    if (magic != LLMC_UINT16 && magic != LLMC_UINT32)
        return error_set(error, ERROR_INPUT, "%s: begins with %d, not with one "
                         "of llm.c's magic numbers, 20240520 and 20240801",
                         file->path, (int)magic);
    /* llm.c writes version 1 for GPT-2's tokens and 7 for Llama 3's. */
    if (version != 1 && !(version == 7 && magic == LLMC_UINT32))
        return error_set(error, ERROR_INPUT, "%s: version %d of llm.c's format "
                         "is not known here", file->path, (int)version);
    file->header = LLMC_HEADER;
    file->token_bytes = magic == LLMC_UINT16 ? 2 : 4;
    file->count = little_int32(header + 8);
    uint64_t bytes = file->size - LLMC_HEADER;
    if (file->count < 0 ||
        (uint64_t)file->count * (uint64_t)file->token_bytes != bytes)
        return error_set(error, ERROR_INPUT, "%s: its header says %lld tokens "
                         "of %d bytes, but %llu bytes follow it", file->path,
                         (long long)file->count, file->token_bytes,
                         (unsigned long long)bytes);
    return true;
}

/* What tokens an open file holds. */
static bool examine_tokens(DataFile *file, DataFormat format, Error *error)
{
    if (format == DATA_LLMC) {
        if (!read_llmc(file, error))
            return false;
    } else {
        file->token_bytes = format == DATA_NANOGPT ? 2 : 1;
        file->count = (int64_t)file->size / file->token_bytes;
    }
    if (format == DATA_NANOGPT && file->size % 2 != 0)
        return error_set(error, ERROR_INPUT, "%s: an odd number of bytes, "
                         "%llu, are no uint16 tokens", file->path,
                         (unsigned long long)file->size);
    if (file->count == 0)
        return error_set(error, ERROR_INPUT, "%s: has no tokens", file->path);
    return true;
}

/* Finds out what an open file holds. */
static bool examine(Data *data, DataFile *file, DataFormat format,
                    Error *error)
{
    struct stat about;
    if (fstat(file->descriptor, &about) != 0)
        return error_set(error, ERROR_INPUT, "cannot examine %s", file->path);
    file->device = about.st_dev;
    file->inode = about.st_ino;
    file->changed = about.st_mtim;
    if (format == DATA_AUTO && !recognise(file, &format, error))
        return false;
    if (data->count == 1)
        data->format = format;
    DataFormat first = data->format;
    bool tokens = data_is_tokens(format);
    if (tokens != data_is_tokens(first) || (!tokens && format != first))
        return error_set(error, ERROR_INPUT, "%s is %s, but %s is %s: the "
                         "files of one set of data hold the same",
                         file->path, data_format_name(format),
                         data->files[0].path, data_format_name(first));
    if (tokens && !examine_tokens(file, format, error))
        return false;
    bool is_text = format == DATA_TSV || format == DATA_JSONL
        || file->token_bytes == 1;
    if (is_text && data->vocab < 256)
        return error_set(error, ERROR_INPUT, "%s: text needs a vocabulary of "
                         "at least 256 (a token a byte), not %lld", file->path,
                         (long long)data->vocab);
    return true;
}

/* ---- the open files ----------------------------------------------------- */

/* Notes that a file is open; closes the one that was opened longest ago where
 * there are too many. */
static void keep_open(Data *data, int index)
{
    if (data->open_count < DATA_OPEN) {
        data->open[data->open_count++] = index;
        return;
    }
    DataFile *oldest = &data->files[data->open[data->oldest]];
    close(oldest->descriptor);
    oldest->descriptor = -1;
    data->open[data->oldest] = index;
    data->oldest = (data->oldest + 1) % DATA_OPEN;
}

/* Opens a file again, if it is closed; it must be the one that was examined. */
static bool reopen(Data *data, int index, Error *error)
{
    DataFile *file = &data->files[index];
    uint64_t size;
    struct stat about;
    if (file->descriptor >= 0)
        return true;
    int descriptor = file_open(file->path, &size, error);
    if (descriptor < 0)
        return false;
    if (fstat(descriptor, &about) != 0 || size != file->size ||
        about.st_dev != file->device || about.st_ino != file->inode ||
        about.st_mtim.tv_sec != file->changed.tv_sec ||
        about.st_mtim.tv_nsec != file->changed.tv_nsec) {
        close(descriptor);
        return error_set(error, ERROR_INPUT, "%s: has changed since it was "
                         "opened", file->path);
    }
    file->descriptor = descriptor;
    keep_open(data, index);
    return true;
}

bool data_add(Data *data, const char *path, DataFormat format, Error *error)
{
    /* Grows to powers of two. */
    int count = data->count;
    if (count == MOST_FILES)
        return error_set(error, ERROR_INPUT, "more than %d data files",
                         (int)MOST_FILES);
    if ((count & (count - 1)) == 0) {
        size_t room = count ? 2 * (size_t)count : 1;
        DataFile *grown = realloc(data->files, room * sizeof *grown);
        if (!grown)
            return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
        data->files = grown;
    }
    DataFile *file = &data->files[count];
    *file = (DataFile){ .path = strdup(path), .first = data->tokens,
                        .descriptor = -1 };
    data->count++;
    if (!file->path)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    file->descriptor = file_open(path, &file->size, error);
    if (file->descriptor < 0)
        return false;
    keep_open(data, count);
    if (!examine(data, file, format, error))
        return false;
    if (__builtin_add_overflow(data->tokens, file->count, &data->tokens) ||
        data->tokens > (int64_t)1 << 59)
        return error_set(error, ERROR_INPUT, "%s: data of more than 2^59 "
                         "tokens", path);
    return true;
}

/* A path that exists is that file; another one with a wildcard is a glob. */
static bool add_path(Data *data, const char *path, DataFormat format,
                     Error *error)
{
    struct stat about;
    if (lstat(path, &about) == 0 || !strpbrk(path, "*?["))
        return data_add(data, path, format, error);
    glob_t found;
    /* glob sorts as the locale does; a program never leaves the locale "C", in
     * which that is by bytes. */
    int status = glob(path, 0, NULL, &found);
    if (status == GLOB_NOSPACE)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for the files of "
                         "%s", path);
    if (status != 0)
        return error_set(error, ERROR_INPUT, "no file matches %s", path);
    bool good = true;
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        good = data_add(data, found.gl_pathv[i], format, error);
    globfree(&found);
    return good;
}

/* Reads a file for the vocabulary's sake; a byte is always in it. */
static bool check_file(Data *data, const DataFile *file, Error *error)
{
    DataRange range = { data, file->first, file->count };
    if (file->token_bytes <= 1)
        return true;
    for (int64_t at = 0, length; at < range.count; at += length) {
        int32_t tokens[PIECE / 4];
        length = range.count - at;
        if (length > PIECE / 4)
            length = PIECE / 4;
        if (!data_read(&range, at, length, tokens, error))
            return false;
    }
    return true;
}

bool data_is_small(const Data *data)
{
    uint64_t bytes = 0;
    for (int i = 0; i < data->count; i++)
        bytes += data->files[i].size;
    return bytes <= DATA_CHECKED;
}

/* Checks every token, where there are few enough. */
static bool check_all(Data *data, Error *error)
{
    bool good = true;
    for (int i = 0; good && i < data->count && data_is_small(data); i++)
        good = check_file(data, &data->files[i], error);
    return good;
}

bool data_open(Data *data, const char *const *paths, int path_count,
               DataFormat format, int64_t vocab, Error *error)
{
    *data = (Data){ .vocab = vocab };
    bool good = path_count > 0 ||
                error_set(error, ERROR_INPUT, "no data files are given");
    for (int i = 0; good && i < path_count; i++)
        good = add_path(data, paths[i], format, error);
    good = good && check_all(data, error);
    if (!good)
        data_close(data);
    return good;
}

void data_close(Data *data)
{
    for (int i = 0; i < data->count; i++) {
        if (data->files[i].descriptor >= 0)
            close(data->files[i].descriptor);
        free(data->files[i].path);
    }
    free(data->files);
    *data = (Data){ 0 };
}

bool data_read_bytes(Data *data, int index, uint64_t offset, size_t length,
                     void *out, Error *error)
{
    const DataFile *file = &data->files[index];
    return reopen(data, index, error)
        && file_read_at(file->descriptor, file->path, out, length, offset,
                        error);
}

int data_file_of(const Data *data, int64_t index)
{
    int low = 0, high = data->count - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (data->files[middle].first <= index)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
