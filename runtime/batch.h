/* batch.h: the batch files of `grad` and `forward` (docs/contract.md, section
 * 1): safetensors of the tensors that tensor_rows.h lists, an example a row.
 * SPDX-License-Identifier: 0BSD */
#ifndef BATCH_H
#define BATCH_H
#include "tensor_rows.h"

typedef struct Batch {
    Data data;
    TensorRows rows;
    int64_t examples, sequence;     /* B and T */
} Batch;

/* Opens a file and checks names, shapes and T for `step`. `whole`: targets,
 * labels and reference must be there, where the program has them. */
bool batch_open(Batch *batch, const char *path, const Program *program,
                const Step *step, bool whole, Error *error);
void batch_close(Batch *batch);

/* Reads row b to where the example points: a preference's two sides to two rows
 * of tokens, targets and lengths. Ids out of range are an error; targets past
 * the length become -1. */
bool batch_row(const Batch *batch, int64_t b, const Example *example,
               Error *error);
#endif
