/* idx.c: see idx.h.
 * SPDX-License-Identifier: 0BSD */
#include "idx.h"
#include "gzip.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNSIGNED_BYTES = 8, MOST_DIMS = 4 };

/* ---- headers ------------------------------------------------------------ */

typedef struct Header {
    int rank;
    int64_t dims[MOST_DIMS];
    uint64_t bytes;             /* of everything behind it */
} Header;

/* The first four bytes: which header follows. */
static bool check_magic(Header *header, const unsigned char magic[4],
                        const char *path, Error *error)
{
    header->rank = magic[3];
    bool known = header->rank == 1 || header->rank == 3 || header->rank == 4;
    return (magic[0] == 0 && magic[1] == 0 && magic[2] == UNSIGNED_BYTES
            && known)
        || error_set(error, ERROR_INPUT, "%s: begins with %02x%02x%02x%02x, "
                     "not with IDX's 00000801 (labels), 00000803 or 00000804 "
                     "(images of unsigned bytes)", path, magic[0], magic[1],
                     magic[2], magic[3]);
}

static bool check_dims(Header *header, const unsigned char *bytes,
                       const Idx *idx, const char *path, Error *error)
{
    int rank = header->rank;
    header->bytes = 1;
    for (int i = 0; i < rank; i++) {
        const unsigned char *at = bytes + 4 * i;
        header->dims[i] = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8
            | at[3];
        if (__builtin_mul_overflow(header->bytes, (uint64_t)header->dims[i],
                                   &header->bytes))
            return error_set(error, ERROR_INPUT, "%s: its dims multiply to "
                             "more than 2^64", path);
    }
    if (rank == 1)
        return true;
    int64_t channels = rank == 4 ? header->dims[1] : 1;
    int64_t height = header->dims[rank - 2], width = header->dims[rank - 1];
    const IdxShape *shape = &idx->shape;
    return (channels == shape->channels && height == shape->size
            && width == shape->size)
        || error_set(error, ERROR_INPUT, "%s: images of %lld x %lld with %lld "
                     "channels; the model takes %lld x %lld with %lld", path,
                     (long long)height, (long long)width, (long long)channels,
                     (long long)shape->size, (long long)shape->size,
                     (long long)shape->channels);
}

/* ---- one file ----------------------------------------------------------- */

static bool open_plain(Idx *idx, int index, Header *header, Error *error)
{
    unsigned char bytes[4 + 4 * MOST_DIMS];
    const DataFile *file = &idx->data->files[index];
    if (!data_read_bytes(idx->data, index, 0, 4, bytes, error)
        || !check_magic(header, bytes, file->path, error))
        return false;
    uint64_t length = 4 + 4 * (uint64_t)header->rank;
    if (file->size < length)
        return error_set(error, ERROR_INPUT, "%s: %llu bytes are too few for "
                         "IDX's header of %llu", file->path,
                         (unsigned long long)file->size,
                         (unsigned long long)length);
    if (!data_read_bytes(idx->data, index, 0, (size_t)length, bytes, error)
        || !check_dims(header, bytes + 4, idx, file->path, error))
        return false;
    idx->files[index].header = length;
    return file->size - length == header->bytes
        || error_set(error, ERROR_INPUT, "%s: its header says %llu bytes, but "
                     "%llu follow it", file->path,
                     (unsigned long long)header->bytes,
                     (unsigned long long)(file->size - length));
}

static bool inflate_file(Idx *idx, int index, Gzip *gzip, Header *header,
                         Error *error)
{
    unsigned char bytes[4 + 4 * MOST_DIMS];
    IdxFile *file = &idx->files[index];
    if (!gzip_read(gzip, bytes, 4, error)
        || !check_magic(header, bytes, gzip->path, error)
        || !gzip_read(gzip, bytes + 4, 4 * (size_t)header->rank, error)
        || !check_dims(header, bytes + 4, idx, gzip->path, error))
        return false;
    if (header->bytes > gzip_most(gzip))
        return error_set(error, ERROR_INPUT, "%s: its header says %llu bytes, "
                         "more than a gzipped file of its size can hold",
                         gzip->path, (unsigned long long)header->bytes);
    file->contents = malloc((size_t)header->bytes + 1);
    if (!file->contents)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for the %llu "
                         "bytes of %s", (unsigned long long)header->bytes,
                         gzip->path);
    return gzip_read(gzip, file->contents, (size_t)header->bytes, error)
        && gzip_ends(gzip, error);
}

static bool open_file(Idx *idx, int index, Error *error)
{
    unsigned char magic[4];
    Header header = {0};
    DataFile *file = &idx->data->files[index];
    if (file->size < sizeof magic)
        return error_set(error, ERROR_INPUT, "%s: %llu bytes are no IDX file",
                         file->path, (unsigned long long)file->size);
    if (!data_read_bytes(idx->data, index, 0, sizeof magic, magic, error))
        return false;
    bool good;
    if (gzip_magic(magic)) {
        Gzip gzip;
        good = gzip_open(&gzip, file->path, error);
        if (good) {
            good = inflate_file(idx, index, &gzip, &header, error);
            gzip_close(&gzip);
        }
    } else {
        good = open_plain(idx, index, &header, error);
    }
    idx->files[index].labels = header.rank == 1;
    idx->files[index].count = file->count = header.dims[0];
    return good;
}

/* ---- all files ---------------------------------------------------------- */

/* The path with its last `from` made `to`, in its name alone; false if the name
 * has none. Both have the same length. */
static bool replace_last(char *path, const char *from, const char *to)
{
    char *slash = strrchr(path, '/'), *found = NULL;
    for (char *at = slash ? slash : path; (at = strstr(at, from)); at++)
        found = at;
    if (found)
        memcpy(found, to, strlen(to));
    return found != NULL;
}

/* Adds the file of labels beside a single one of images, if it is there. */
static bool add_labels_beside(Data *data, Error *error)
{
    if (data->count != 1)
        return true;
    char *path = strdup(data->files[0].path);
    if (!path)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    bool good = !replace_last(path, "images", "labels")
        || !(replace_last(path, "idx3", "idx1")
             || replace_last(path, "idx4", "idx1"))
        || access(path, F_OK) != 0 || data_add(data, path, DATA_IDX, error);
    free(path);
    return good;
}

/* Where each file begins among those of its kind, and whether the kinds
 * agree. */
static bool count_all(Idx *idx, bool unlabelled, Error *error)
{
    int64_t images = 0, labels = 0;
    for (int i = 0; i < idx->data->count; i++) {
        IdxFile *file = &idx->files[i];
        int64_t *count = file->labels ? &labels : &images;
        file->first = *count;
        *count += file->count;
        idx->labelled |= file->labels;
    }
    idx->count = idx->data->tokens = images;
    const char *first = idx->data->files[0].path;
    if (images == 0)
        return error_set(error, ERROR_INPUT, "%s: there are no images", first);
    if (!idx->labelled && !unlabelled)
        return error_set(error, ERROR_INPUT, "%s: there is no file of labels; "
                         "a list or a glob names both, or …-labels-idx1… "
                         "stands beside …-images-idx3…", first);
    return !idx->labelled || images == labels
        || error_set(error, ERROR_INPUT, "%s: %lld images, but %lld labels",
                     first, (long long)images, (long long)labels);
}

static bool read_at(Idx *idx, int index, uint64_t at, size_t length,
                    unsigned char *out, Error *error)
{
    const IdxFile *file = &idx->files[index];
    if (!file->contents)
        return data_read_bytes(idx->data, index, file->header + at, length,
                               out, error);
    memcpy(out, file->contents + at, length);
    return true;
}

static bool check_labels(Idx *idx, int index, Error *error)
{
    const IdxFile *file = &idx->files[index];
    unsigned char piece[4096];
    for (int64_t at = 0; file->labels && at < file->count;
         at += (int64_t)sizeof piece) {
        int64_t left = file->count - at;
        size_t length = left < (int64_t)sizeof piece ? (size_t)left
                                                     : sizeof piece;
        if (!read_at(idx, index, (uint64_t)at, length, piece, error))
            return false;
        for (size_t i = 0; i < length; i++)
            if (piece[i] >= idx->shape.classes)
                return error_set(error, ERROR_INPUT, "%s: label %lld is %d; "
                                 "the model has %lld classes",
                                 idx->data->files[index].path,
                                 (long long)(at + (int64_t)i), piece[i],
                                 (long long)idx->shape.classes);
    }
    return true;
}

static bool open_all(Idx *idx, bool unlabelled, Error *error)
{
    Data *data = idx->data;
    const IdxShape *shape = &idx->shape;
    if (!add_labels_beside(data, error))
        return false;
    idx->files = calloc((size_t)data->count, sizeof *idx->files);
    idx->pixels = malloc((size_t)(shape->channels * shape->size * shape->size)
                         + 1);
    if (!idx->files || !idx->pixels)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    for (int i = 0; i < data->count; i++)
        if (!open_file(idx, i, error))
            return false;
    if (!count_all(idx, unlabelled, error))
        return false;
    for (int i = 0; i < data->count; i++)
        if (!check_labels(idx, i, error))
            return false;
    return true;
}

bool idx_open(Idx *idx, Data *data, const IdxShape *shape, bool unlabelled,
              Error *error)
{
    *idx = (Idx){ .data = data, .shape = *shape };
    if (open_all(idx, unlabelled, error))
        return true;
    idx_close(idx);
    return false;
}

void idx_close(Idx *idx)
{
    for (int i = 0; idx->files && i < idx->data->count; i++)
        free(idx->files[i].contents);
    free(idx->files);
    free(idx->pixels);
    *idx = (Idx){0};
}

/* ---- reading ------------------------------------------------------------ */

/* Reads item `index` of a kind, of `length` bytes. */
static bool read_item(Idx *idx, bool labels, int64_t index, size_t length,
                      unsigned char *out, Error *error)
{
    int at = 0;
    while (idx->files[at].labels != labels
           || index >= idx->files[at].first + idx->files[at].count)
        at++;
    uint64_t in_file = (uint64_t)(index - idx->files[at].first);
    return read_at(idx, at, in_file * length, length, out, error);
}

bool idx_read(Idx *idx, int64_t index, float *image, int32_t *label,
              Error *error)
{
    const IdxShape *shape = &idx->shape;
    size_t pixels = (size_t)(shape->channels * shape->size * shape->size);
    unsigned char number;
    if (image) {
        if (!read_item(idx, false, index, pixels, idx->pixels, error))
            return false;
        for (size_t i = 0; i < pixels; i++)
            image[i] = (float)idx->pixels[i] / 255;
    }
    if (!label)
        return true;
    *label = -1;
    if (!idx->labelled)
        return true;
    if (!read_item(idx, true, index, 1, &number, error))
        return false;
    *label = number;
    return true;
}
