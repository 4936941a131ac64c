/* tensor_rows.h: examples in safetensors files (docs/contract.md, section 6):
 * the tensors of a `grad` batch, with a first dim of examples instead of B, as
 * this table of N examples says. T may be less than the program's sequence: the
 * rest is padding. Several files follow each other.
 *
 *     tokens, targets [N,T]    lengths [N]    types [N,T]    labels [N]
 *     source [N,T]    source_lengths [N]    images [N,C,H,W]
 *     nodes [N,nodes,features]    edges [N,nodes,nodes]
 *     preference: tokens, targets [N,2,T]    lengths, reference [N,2]
 *
 * tokens, targets, source, labels, images and nodes must be there where the
 * program has them; without the others lengths are T, types 0, edges all 1.
 * -1 in targets or labels is not scored.
 * SPDX-License-Identifier: 0BSD */
#ifndef TENSOR_ROWS_H
#define TENSOR_ROWS_H
#include "data.h"
#include "example.h"
#include "program.h"
#include "safetensors.h"

typedef enum TensorRole {
    ROLE_TOKENS, ROLE_TARGETS, ROLE_LENGTHS, ROLE_SOURCE, ROLE_SOURCE_LENGTHS,
    ROLE_TYPES, ROLE_LABELS, ROLE_IMAGES, ROLE_NODES, ROLE_EDGES,
    ROLE_REFERENCE, TENSOR_ROLES
} TensorRole;

typedef struct TensorPart {     /* one file */
    Tensors file;
    int entry[TENSOR_ROLES];    /* -1: absent */
    int64_t first, count;       /* examples */
    int64_t sequence;           /* its T */
} TensorPart;

typedef struct TensorRows {
    const Program *program;
    Data *data;
    TensorPart *parts;          /* of data->files */
    int opened;
    int64_t count;
    bool unlabelled;            /* targets and labels may be missing */
    int32_t padding;
} TensorRows;

/* Opens what data_open found. T may be at most `longest`. In a small file (see
 * data_is_small) every number is checked. Sets the files' counts. */
bool tensor_rows_open(TensorRows *rows, int64_t longest, Error *error);
void tensor_rows_close(TensorRows *rows);

/* Reads an example. Numbers out of range are an error that says where. */
bool tensor_rows_read(const TensorRows *rows, int64_t index,
                      const Example *example, Error *error);

bool tensor_rows_has(const TensorRows *rows, TensorRole role);
#endif
