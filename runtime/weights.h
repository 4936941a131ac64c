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
    int64_t unit;               /* where the unit begins that replicas split */
    int64_t packed;             /* and a rank's share, among its shares */
    int stage;                  /* that has it */
} Weight;

typedef struct WeightList {
    Weight *at;
    int count;
} WeightList;

/* Writes `name` with its {i} replaced by `copy`. False where it is too long. */
bool expand_name(char out[WEIGHT_NAME], const char *name, int copy);

/* All parameters, in the order of the program's tensors; the constant tables
 * are not among them. The caller frees list->at. */
bool weights_list(const Rank *rank, WeightList *list, Error *error);

/* The same of all stages of a pipeline, in the order of a checkpoint. */
bool weights_list_all(const Rank *rank, WeightList *list, Error *error);

/* Computes the constant tables (positions, rotations, slopes), in f64 and
 * rounded once, on all threads. Derived ones are left to the step "prepare". */
void tables_compute(Rank *rank);

/* Draws every parameter by (seed, name, element), on all threads. */
void weights_draw(Rank *rank, const WeightList *list, uint64_t seed);

/* Reads those elements of a tensor of the file, of the weight's shape, that
 * this rank has: of the weight or of a moment (a PlaceKind). */
bool weight_read(const Rank *rank, const Weight *weight, int kind,
                 const Tensors *file, int entry, Error *error);

/* Reads every parameter, by name and shape, from a file of weights (see
 * tensors_open), of them what this rank has. With `partial` what matches is
 * taken and the rest is listed on stderr. */
bool weights_load(Rank *rank, const char *path, bool partial, Error *error);
#endif
