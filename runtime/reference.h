/* reference.h: the frozen reference of preference training (Rafailov et al.,
 * 2023): for each side of each pair the sum of the log-probabilities that the
 * weights which training began with give to the scored tokens. It never
 * changes, so it is computed once, by the step "score", before the first
 * training step, and kept in OUT/reference.safetensors:
 *
 *     train   float32 [pairs, 2]
 *     eval    float32 [pairs, 2], if there are any
 *     metadata: model_hash; data_hash, of the files and of what is held out;
 *               weights_hash, of the weights
 *
 * A resumed run reads it again. Data that has a tensor `reference` of its own
 * needs none of this.
 * SPDX-License-Identifier: 0BSD */
#ifndef REFERENCE_H
#define REFERENCE_H
#include "corpus.h"
#include "hash.h"
#include "rank.h"

typedef struct Reference {
    float *sums;            /* [count, 2] */
    int64_t count;
} Reference;

/* Which examples of a corpus. */
typedef enum CorpusPart { PART_TRAIN, PART_EVAL } CorpusPart;

/* Whether this program's batches need one that the data does not have. */
bool reference_wanted(const Program *program, const Corpus *corpus);

/* Scores all examples of a part under the rank's weights, which must be open
 * for "score" too, and prepared. What goes on is shown on a terminal unless
 * `quiet`. A signal ends it, with status EXIT_RESUME and an empty text. */
typedef struct Scoring {
    Rank *rank;
    Corpus *corpus;
    CorpusPart part;
    bool quiet;
} Scoring;

bool reference_score(Reference *reference, const Scoring *scoring,
                     Error *error);
void reference_free(Reference *reference);

/* Do ranks score together: has each but a part of the weights or the work? */
bool reference_together(const Program *program);

/* The two sums of an example to where a batch has them. */
void reference_copy(const Reference *reference, int64_t index, float *sums);

/* ---- the file ----------------------------------------------------------- */

typedef struct ReferenceFile {
    const char *directory;
    const char *model_hash;
    char data_hash[SHA256_TEXT];
    char weights_hash[SHA256_TEXT];     /* empty: not asked about */
} ReferenceFile;

bool reference_write(const ReferenceFile *file, const Reference *train,
                     const Reference *eval, Error *error);

/* Reads what reference_write wrote; the counts say how many there must be.
 * False with an error where it is missing, damaged, or of other data, model or
 * weights. */
bool reference_read(const ReferenceFile *file, Reference *train,
                    Reference *eval, Error *error);
#endif
