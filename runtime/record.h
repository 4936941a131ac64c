/* record.h: run.json, the record of a run: what ran, on what, and a hash of its
 * state at every checkpoint.
 * SPDX-License-Identifier: 0BSD */
#ifndef RECORD_H
#define RECORD_H
#include "checkpoint.h"
#include "corpus.h"
#include "options.h"

typedef struct Mark {           /* a checkpoint that was written */
    int64_t step;
    char hash[SHA256_TEXT];
} Mark;

typedef struct Record {
    const Store *store;
    const Options *options;
    const Corpus *corpus;
    const World *world;                 /* NULL: one rank */
    int64_t first;                      /* the step that this start follows */
    int threads;
    char binary[SHA256_TEXT];           /* of the program's file */
    char (*data)[SHA256_TEXT];          /* of each data file */
    Mark *marks;
    int mark_count, mark_room;
    int64_t *resumed;                   /* steps that the run was resumed at */
    int resumed_count;
} Record;

/* Hashes the program and the data files; store, options, corpus, world, first
 * and threads have been set. With `from`, a resumed run's checkpoint, what
 * run.json says up to its step is carried over. A signal while large files are
 * hashed ends it, with EXIT_RESUME. */
bool record_open(Record *record, const Checkpoint *from, Error *error);
void record_close(Record *record);

/* One hash of what is trained and evaluated on: of the data files and of what
 * is held out. */
void record_data_hash(const Record *record, char digest[SHA256_TEXT]);

/* The names of labels 0, 1 … that a run has recorded, found by its weights: a
 * file or directory as in --weights. None where no run.json of this model lies
 * there, or it has no names. The caller frees them by record_labels_free. */
typedef struct RunLabels {
    TextList names;
    Json json;
} RunLabels;
bool record_labels(RunLabels *labels, const Program *program,
                   const char *weights, Error *error);
void record_labels_free(RunLabels *labels);

/* Makes room for so many checkpoints more, a million at most at once. */
bool record_reserve(Record *record, int64_t count, Error *error);

/* Notes a checkpoint; record_write then says so. */
bool record_mark(Record *record, int64_t step, const char *hash, Error *error);

/* Writes run.json, whole. */
bool record_write(const Record *record, const RunState *state, Error *error);
#endif
