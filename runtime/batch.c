/* batch.c: see batch.h.
 * SPDX-License-Identifier: 0BSD */
#include "batch.h"
#include "inputs.h"

static bool check_reference(const Batch *batch, const char *path, Error *error)
{
    return !is_preference(batch->rows.program)
        || tensor_rows_has(&batch->rows, ROLE_REFERENCE)
        || error_set(error, ERROR_INPUT, "%s has no tensor 'reference'", path);
}

bool batch_open(Batch *batch, const char *path, const Program *program,
                const Step *step, bool whole, Error *error)
{
    *batch = (Batch){ .rows = { .program = program, .unlabelled = !whole } };
    if (!data_open(&batch->data, &path, 1, DATA_SAFETENSORS, program->vocab,
                   error))
        return false;
    batch->rows.data = &batch->data;
    if (!tensor_rows_open(&batch->rows, step->sequence, error)) {
        data_close(&batch->data);
        return false;
    }
    batch->examples = batch->rows.count;
    batch->sequence = program->image_size > 0 ? step->sequence
        : batch->rows.parts[0].sequence;
    bool good = batch->sequence > 0
        || error_set(error, ERROR_INPUT, "%s: sequences of no token", path);
    if (good && (!whole || check_reference(batch, path, error)))
        return true;
    batch_close(batch);
    return false;
}

void batch_close(Batch *batch)
{
    tensor_rows_close(&batch->rows);
    data_close(&batch->data);
}

bool batch_row(const Batch *batch, int64_t b, const Example *example,
               Error *error)
{
    return tensor_rows_read(&batch->rows, b, example, error);
}
