/* examples.h: what a set of files holds, as examples of a program's objective
 * (docs/contract.md, section 6). Which format serves which:
 *
 *     next-token                  tokens; TSV, JSONL of prompt and response
 *     masked-token                tokens
 *     masked-token+next-sentence  text
 *     seq2seq                     TSV, JSONL of prompt and response
 *     classify                    TSV; IDX for images
 *     preference                  JSONL
 *
 * and safetensors all of them. Where labels and targets may be missing,
 * classify and seq2seq take text, too: a line is an example. rows.h has the
 * tokens of each. In up to 64 MiB of data every line, label and number is
 * looked at when it is opened.
 * SPDX-License-Identifier: 0BSD */
#ifndef EXAMPLES_H
#define EXAMPLES_H
#include "idx.h"
#include "labels.h"
#include "lines.h"
#include "masking.h"
#include "parts.h"
#include "tensor_rows.h"

typedef enum ExamplesKind {
    EXAMPLES_WINDOWS,           /* of tokens */
    EXAMPLES_SENTENCES,
    EXAMPLES_LINES,
    EXAMPLES_IMAGES,
    EXAMPLES_TENSORS
} ExamplesKind;

typedef enum Objective {
    OBJECTIVE_NEXT_TOKEN, OBJECTIVE_MASKED, OBJECTIVE_MASKED_PAIRS,
    OBJECTIVE_SEQ2SEQ, OBJECTIVE_CLASSIFY, OBJECTIVE_PREFERENCE, OBJECTIVES
} Objective;

typedef struct Examples {
    const Program *program;
    Data *data;
    Labels *labels;             /* of classes; the training data's */
    Objective objective;
    ExamplesKind kind;
    Special special;
    Masking masking;
    uint64_t seed;
    bool unlabelled;
    bool cls;                   /* texts of a classifier begin with cls */
    Lines lines;
    Idx idx;
    TensorRows tensors;
    char *held;                 /* a first sentence while a second is read */
    size_t held_room;
    int64_t count;              /* of tokens for windows */
} Examples;

/* Which part of the examples is meant, and what is drawn for one of them. */
typedef struct ExampleDraw {
    int64_t first, count;
    bool training;
    uint64_t number;            /* training: of the draw, else the example's */
} ExampleDraw;

/* Opens `examples` on files that data_open found; program, data, labels and
 * unlabelled have been set. New names are collected into `labels` where they
 * have none and `collect` says so. After a failure examples_close is due. */
bool examples_open(Examples *examples, const Settings *settings, bool collect,
                   Error *error);
void examples_close(Examples *examples);

/* Collects the names of labels from files of TSV that data_open found. */
bool examples_collect(Labels *labels, Data *data, Error *error);

/* Reads example `index` of the part; not for windows of tokens. */
bool examples_read(Examples *examples, int64_t index, const ExampleDraw *draw,
                   const Example *example, Error *error);

/* Masks a row of tokens that has been read. */
void examples_mask(const Examples *examples, const ExampleDraw *draw,
                   int64_t length, const Example *example);

/* Makes an example all padding: lengths 0, targets and label -1. */
void examples_blank(const Examples *examples, const Example *example);
#endif
