/* weights.h: a program's parameters and constant tables by name, one for each
 * copy of a repeated tensor, and how their values come into the arena: drawn,
 * computed, or read from safetensors.
 * SPDX-License-Identifier: 0BSD */
#ifndef WEIGHTS_H
#define WEIGHTS_H
#include "rank.h"
#include "safetensors.h"

enum { WEIGHT_NAME = 256 };

typedef struct Weight {
    char name[WEIGHT_NAME];     /* "blocks.3.attn.q.weight" */
    const Tensor *tensor;
    int rank;
    int64_t dims[3];            /* 1 past `rank` */
    int64_t elements;
    int64_t weight;             /* its place in Control.weights, in floats */
    int64_t gradient;           /* in gradients and moments; -1: not trained */
} Weight;

typedef struct WeightList {
    Weight *at;
    int count;
} WeightList;

/* Writes `name` with its {i} replaced by `copy`. False where it is too long. */
bool expand_name(char out[WEIGHT_NAME], const char *name, int copy);

/* All parameters, in the order of the program's tensors; the constant tables
 * are not among them. The caller frees list->at. */
bool weights_list(const Program *program, WeightList *list, Error *error);

/* Computes the constant tables (positions, rotations, slopes), in f64 and
 * rounded once, on all threads. Derived ones are left to the step "prepare". */
void tables_compute(Rank *rank);

/* Draws every parameter by (seed, name, element), on all threads. */
void weights_draw(Rank *rank, const WeightList *list, uint64_t seed);

/* Reads every parameter, by name and shape, from a file of weights (see
 * tensors_open). With `partial` what matches is taken and the rest is listed on
 * stderr. */
bool weights_load(Rank *rank, const WeightList *list, const char *path,
                  bool partial, Error *error);
#endif
