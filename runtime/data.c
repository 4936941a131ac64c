/* data.c: see data.h. Finding files, opening each by its format, ranges,
 * reading, windows.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "data.h"
#include "draw.h"
#include "files.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LLMC_HEADER = 1024, LLMC_UINT16 = 20240520, LLMC_UINT32 = 20240801,
    PIECE = 32768,              /* bytes read at a time */
    CHECKED = 64 << 20,         /* bytes of data whose tokens are all checked */
    MOST_FILES = 1 << 20
};

bool data_format_named(const char *name, DataFormat *format)
{
    static const char *const names[] = {
        [DATA_AUTO] = "auto", [DATA_TEXT] = "text", [DATA_BYTES] = "bytes",
        [DATA_NANOGPT] = "nanogpt", [DATA_LLMC] = "llmc",
    };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) {
            *format = (DataFormat)i;
            return true;
        }
    return false;
}

/* ---- one file ----------------------------------------------------------- */

static int32_t little_int32(const unsigned char *at)
{
    return (int32_t)(at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                     (uint32_t)at[3] << 24);
}

/* The file's own format: what DATA_AUTO stands for. */
static bool recognise(const DataFile *file, DataFormat *format, Error *error)
{
    unsigned char magic[4];
    size_t length = strlen(file->path);
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
    bool bin = length >= 4 && strcmp(file->path + length - 4, ".bin") == 0;
    *format = bin ? DATA_NANOGPT : DATA_TEXT;
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

/* Finds out what an open file holds. */
static bool examine(const Data *data, DataFile *file, DataFormat format,
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
    if (file->token_bytes == 1 && data->vocab < 256)
        return error_set(error, ERROR_INPUT, "%s: text needs a vocabulary of "
                         "at least 256 (a token a byte), not %lld", file->path,
                         (long long)data->vocab);
    if (file->count == 0)
        return error_set(error, ERROR_INPUT, "%s: has no tokens", file->path);
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

static bool add_file(Data *data, const char *path, DataFormat format,
                     Error *error)
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
        return add_file(data, path, format, error);
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
        good = add_file(data, found.gl_pathv[i], format, error);
    globfree(&found);
    return good;
}

/* Reads a file for the vocabulary's sake; a byte is always in it. */
static bool check_file(Data *data, const DataFile *file, Error *error)
{
    DataRange range = { data, file->first, file->count };
    if (file->token_bytes == 1)
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

/* Checks every token, where there are few enough. */
static bool check_all(Data *data, Error *error)
{
    uint64_t bytes = 0;
    bool good = true;
    for (int i = 0; i < data->count; i++)
        bytes += data->files[i].size;
    for (int i = 0; good && i < data->count && bytes <= CHECKED; i++)
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

/* ---- ranges ------------------------------------------------------------- */

DataRange data_all(Data *data)
{
    return (DataRange){ .data = data, .count = data->tokens };
}

/* Passes over digits. */
static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9')
        text++;
    return text;
}

/* The decimal is 0.d1 d2 … dk · 10^scale with d1 > 0: below 1 if scale <= 0.
 * Without the power of ten,
 *     n · 0.d1 d2 … dk = (n d1 + (n d2 + … (n dk)/10 …)/10)/10,
 * and as the n di are whole, each quotient may be rounded down at once. */
int64_t data_held_out(int64_t tokens, const char *split)
{
    const char *whole = split + (*split == '+'), *point = skip_digits(whole);
    const char *tail = *point == '.' ? point + 1 : point;
    const char *end = skip_digits(tail);
    if (point - whole + (end - tail) == 0 || tokens < 0 ||
        tokens > (int64_t)1 << 59)
        return -1;
    const long huge = 1L << 40;         /* longer than any text has digits */
    long exponent = 0;
    if (*end == 'e' || *end == 'E') {
        const char *digits = end + 1 + (end[1] == '+' || end[1] == '-');
        const char *stop = skip_digits(digits);
        if (stop == digits || *stop)
            return -1;
        exponent = strtol(end + 1, NULL, 10);
    } else if (*end) {
        return -1;
    }
    const char *first = whole;
    while (first < end && (*first == '0' || *first == '.'))
        first++;
    if (first == end)
        return 0;
    long scale = first < point ? point - first : tail - first;
    scale += exponent > huge ? huge : exponent < -huge ? -huge : exponent;
    if (scale > 0)
        return -1;
    uint64_t part = 0;
    for (const char *digit = end - 1; digit >= first; digit--)
        if (*digit != '.')
            part = ((uint64_t)tokens * (uint64_t)(*digit - '0') + part) / 10;
    for (; scale < 0 && part > 0; scale++)
        part /= 10;
    return (int64_t)part;
}

bool data_split(Data *data, const char *split, DataRange *train,
                DataRange *held_out, Error *error)
{
    int64_t cut = data_held_out(data->tokens, split);
    if (cut < 0)
        return error_set(error, ERROR_INPUT, "split '%s' is no decimal number "
                         "from 0 to below 1", split);
    *train = (DataRange){ data, 0, data->tokens - cut };
    *held_out = (DataRange){ data, data->tokens - cut, cut };
    if (train->count < 2)
        return error_set(error, ERROR_INPUT, "%s: %lld of %lld tokens are left "
                         "to train on with split %s; 2 are the least",
                         data->files[0].path, (long long)train->count,
                         (long long)data->tokens, split);
    return true;
}

/* ---- reading ------------------------------------------------------------ */

/* The file that holds a token. */
static int file_of(const Data *data, int64_t token)
{
    int low = 0, high = data->count - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (data->files[middle].first <= token)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int64_t token_at(const unsigned char *at, int bytes)
{
    int64_t token = at[0];
    for (int i = 1; i < bytes; i++)
        token |= (int64_t)at[i] << 8 * i;
    return token;
}

/* Reads tokens that are in one file and fit a piece; `at` counts there. */
static bool read_piece(const Data *data, const DataFile *file, int64_t at,
                       int64_t length, int32_t *tokens, Error *error)
{
    unsigned char piece[PIECE];
    int bytes = file->token_bytes;
    uint64_t offset = (uint64_t)(file->header + at * bytes);
    if (!file_read_at(file->descriptor, file->path, piece,
                      (size_t)(length * bytes), offset, error))
        return false;
    for (int64_t i = 0; i < length; i++) {
        int64_t token = token_at(piece + i * bytes, bytes);
        if (token >= data->vocab)
            return error_set(error, ERROR_INPUT, "%s: token %lld at byte %llu "
                             "is not below the vocabulary's %lld", file->path,
                             (long long)token, (unsigned long long)offset +
                             (unsigned long long)(i * bytes),
                             (long long)data->vocab);
        tokens[i] = (int32_t)token;
    }
    return true;
}

bool data_read(const DataRange *range, int64_t start, int64_t length,
               int32_t *tokens, Error *error)
{
    Data *data = range->data;
    while (length > 0) {
        int64_t in_range = start % range->count;
        int64_t token = range->first + in_range;
        int index = file_of(data, token);
        DataFile *file = &data->files[index];
        int64_t at = token - file->first, piece = PIECE / file->token_bytes;
        if (piece > length)
            piece = length;
        if (piece > file->count - at)
            piece = file->count - at;
        if (piece > range->count - in_range)
            piece = range->count - in_range;
        if (!reopen(data, index, error) ||
            !read_piece(data, file, at, piece, tokens, error))
            return false;
        tokens += piece;
        start = in_range + piece;
        length -= piece;
    }
    return true;
}

/* ---- windows ------------------------------------------------------------ */

int64_t data_train_start(const DataRange *range, const DataOrder *order,
                         int64_t step, int64_t row)
{
    uint64_t i = (uint64_t)(step - 1) * (uint64_t)order->batch + (uint64_t)row;
    uint64_t count = (uint64_t)range->count;
    uint64_t sequence = (uint64_t)order->sequence;
    if (!order->shuffled) {
        __extension__ typedef unsigned __int128 wide;
        return (int64_t)((wide)i * sequence % count);
    }
    uint64_t windows = (count - 1) / sequence;
    if (windows < 1)
        windows = 1;
    uint64_t stream = draw_stream("order") + i / windows;
    return (int64_t)(sequence *
                     draw_permuted(i % windows, windows, order->seed, stream));
}

bool data_train_window(const DataRange *range, const DataOrder *order,
                       int64_t step, int64_t row, int32_t *tokens,
                       int32_t *targets, Error *error)
{
    int64_t start = data_train_start(range, order, step, row);
    int64_t sequence = order->sequence;
    if (!data_read(range, start, sequence, tokens, error))
        return false;
    memcpy(targets, tokens + 1, (size_t)(sequence - 1) * sizeof *targets);
    return data_read(range, start + sequence, 1, targets + sequence - 1, error);
}

int64_t data_eval_windows(const DataRange *range, int64_t sequence)
{
    int64_t scored = range->count - 1;
    return scored <= 0 ? 0 : (scored - 1) / sequence + 1;
}

bool data_eval_window(const DataRange *range, int64_t sequence, int64_t w,
                      int32_t *tokens, int32_t *targets, int32_t *length,
                      Error *error)
{
    int64_t real = 0, scored = 0;
    if (w < data_eval_windows(range, sequence)) {
        int64_t left = range->count - w * sequence;
        real = left < sequence ? left : sequence;
        scored = left - 1 < sequence ? left - 1 : sequence;
        if (!data_read(range, w * sequence, real, tokens, error))
            return false;
        memcpy(targets, tokens + 1, (size_t)(real - 1) * sizeof *targets);
        if (scored == real && !data_read(range, w * sequence + real, 1,
                                         targets + real - 1, error))
            return false;
    }
    for (int64_t i = real; i < sequence; i++)
        tokens[i] = 0;
    for (int64_t i = scored; i < sequence; i++)
        targets[i] = -1;
    *length = (int32_t)real;
    return true;
}
