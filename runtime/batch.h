/* batch.h: the batch files of `grad` and `forward` (docs/contract.md, section
 * 1): tokens [B,T], targets [B,T] with -1 where nothing is scored, lengths
 * [B].
 * SPDX-License-Identifier: 0BSD */
#ifndef BATCH_H
#define BATCH_H
#include "safetensors.h"

typedef struct Batch {
    Tensors file;
    int tokens, targets, lengths;   /* entries; -1: absent */
    int64_t batch, sequence;        /* B and T */
    int64_t vocab;
} Batch;

/* Opens and checks names and shapes; `with_targets`: there must be targets. */
bool batch_open(Batch *batch, const char *path, int64_t vocab,
                bool with_targets, Error *error);
void batch_close(Batch *batch);

/* Reads row b: its tokens, its targets (unless targets is NULL), its length.
 * Ids out of range are an error; targets past the length become -1. */
bool batch_row(const Batch *batch, int64_t b, int32_t *tokens, int32_t *targets,
               int32_t *length, Error *error);
#endif
