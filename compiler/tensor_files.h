/* tensor_files.h: safetensors files as arrays of doubles, for `run`. It stands
 * between the IR and runtime/safetensors.h, which both have a type `Tensors`. */
#ifndef TENSOR_FILES_H
#define TENSOR_FILES_H
#include "../ir/base.h"

enum { FILE_TENSOR_RANK = 4 };

typedef struct FileTensor {
    const char *name;
    int rank;
    int64_t dims[FILE_TENSOR_RANK];
    int64_t count;
    double *values;
} FileTensor;

typedef struct FileTensors { List(FileTensor) list; } FileTensors;

/* Appends all tensors of a file (or shards). False with a text that names the file. */
bool tensor_file_read(const char *path, Arena *arena, FileTensors *out, Buf *why);
/* Writes all as F64, or F32 where `narrow`; the file appears whole or not at all.
 * *status: 1 for a path that cannot be used, 3 for a full disk. */
bool tensor_file_write(const char *path, Arena *arena, const FileTensors *tensors, bool narrow,
                       Buf *why, int *status);
#endif
