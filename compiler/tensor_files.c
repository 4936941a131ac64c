/* tensor_files.c: safetensors to and from arrays of doubles (tensor_files.h). */
#include "tensor_files.h"
#include "../runtime/safetensors.h"

static bool says(Buf *why, const Error *error)
{
    buf_printf(why, "%s", error->text);
    return false;
}

static bool is_integer(TensorType type)
{
    switch (type) {
    case TENSOR_BOOL: case TENSOR_U8: case TENSOR_I8: case TENSOR_U16: case TENSOR_I16:
    case TENSOR_U32: case TENSOR_I32: case TENSOR_U64: case TENSOR_I64:
        return true;
    case TENSOR_F16: case TENSOR_BF16: case TENSOR_F32: case TENSOR_F64: case TENSOR_TYPES:
        return false;
    }
    return false;
}

static bool read_values(const Tensors *tensors, int entry, Arena *arena, FileTensor *to,
                        Error *error)
{
    const TensorEntry *from = &tensors->entries[entry];
    to->values = arena_alloc(arena, (size_t)(from->count + 1) * sizeof(double));
    if (!is_integer(from->type))
        return tensors_read_f64(tensors, entry, 0, from->count, to->values, error);
    int32_t *ids = arena_alloc(arena, (size_t)(from->count + 1) * sizeof *ids);
    if (!tensors_read_i32(tensors, entry, 0, from->count, ids, error))
        return false;
    for (int64_t i = 0; i < from->count; i++)
        to->values[i] = ids[i];
    return true;
}

bool tensor_file_read(const char *path, Arena *arena, FileTensors *out, Buf *why)
{
    Error error = {0};
    Tensors tensors;
    bool fine = true;
    if (!tensors_open(&tensors, path, &error))
        return says(why, &error);
    for (int32_t i = 0; fine && i < tensors.count; i++) {
        const TensorEntry *from = &tensors.entries[i];
        FileTensor to = { .name = arena_strdup(arena, from->name), .rank = from->rank,
                          .count = from->count };
        if (from->rank > FILE_TENSOR_RANK)
            fine = error_set(&error, ERROR_INPUT, "%s: %s has more than %d dims", path,
                             from->name, FILE_TENSOR_RANK);
        for (int d = 0; fine && d < from->rank; d++)
            to.dims[d] = from->dims[d];
        fine = fine && read_values(&tensors, i, arena, &to, &error);
        list_push(arena, &out->list, to);
    }
    tensors_close(&tensors);
    return fine || says(why, &error);
}

static bool append(TensorWriter *writer, const FileTensor *tensor, bool narrow, Error *error)
{
    uint64_t count = (uint64_t)tensor->count;
    if (!narrow)
        return tensors_append(writer, tensor->values, count * sizeof(double), error);
    for (uint64_t i = 0; i < count; i++) {
        float value = (float)tensor->values[i];
        if (!tensors_append(writer, &value, sizeof value, error))
            return false;
    }
    return true;
}

bool tensor_file_write(const char *path, Arena *arena, const FileTensors *tensors, bool narrow,
                       Buf *why, int *status)
{
    int n = tensors->list.count;
    Error error = {0};
    TensorShape *shapes = arena_alloc(arena, (size_t)(n + 1) * sizeof *shapes);
    for (int i = 0; i < n; i++) {
        const FileTensor *from = &tensors->list.at[i];
        shapes[i] = (TensorShape){ .name = from->name, .rank = from->rank,
                                   .type = narrow ? TENSOR_F32 : TENSOR_F64 };
        for (int d = 0; d < from->rank; d++)
            shapes[i].dims[d] = from->dims[d];
    }
    TensorOutput output = { .path = path, .tensors = shapes, .count = n };
    TensorWriter *writer = arena_alloc(arena, sizeof *writer);
    bool fine = tensors_create(writer, &output, &error);
    for (int i = 0; fine && i < n; i++)
        fine = append(writer, &tensors->list.at[i], narrow, &error);
    fine = fine && tensors_commit(writer, &error);
    *status = error.status;
    return fine || says(why, &error);
}
