/* example.h: where one example of training or evaluation goes. Each pointer
 * leads to the example's own row in the memory of a call (program.h, Control);
 * NULL: the program takes no such input. A preference pair fills two rows of
 * tokens, targets, lengths and types, the chosen side first.
 * SPDX-License-Identifier: 0BSD */
#ifndef EXAMPLE_H
#define EXAMPLE_H
#include <stdint.h>

typedef struct Example {
    int32_t *tokens;            /* [sequence] */
    int32_t *targets;           /* [sequence]; -1: not scored */
    int32_t *lengths;           /* [1]: positions past it are padding */
    int32_t *source;            /* [sequence]: what an encoder reads */
    int32_t *source_lengths;    /* [1] */
    int32_t *types;             /* [sequence] */
    int32_t *labels;            /* [1]; -1: not scored */
    int32_t *edges;             /* [nodes, nodes], 0 or 1 */
    float *images;              /* [channels, size, size] */
    float *nodes;               /* [nodes, features] */
    float *reference;           /* [2], where the data has it (see corpus.h) */
    int64_t sequence;           /* tokens of a row, at least train.sequence */
} Example;
#endif
