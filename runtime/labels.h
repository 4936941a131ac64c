/* labels.h: what the labels of a classifier are called and which number each
 * has (docs/contract.md, section 6).
 *
 * Labels that are all whole numbers are themselves, and must be 0 … classes-1.
 * If one of the training data's is spelled otherwise, all of them are names,
 * numbered from 0 in the order of their bytes; there may be at most `classes`.
 * Labels are collected (labels_add) from the whole training data, or are given
 * as a run has recorded them (labels_given), and then looked up.
 * SPDX-License-Identifier: 0BSD */
#ifndef LABELS_H
#define LABELS_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

enum { LABELS_LONGEST = 255 };          /* bytes of a name */

typedef struct Labels {
    int64_t classes;
    bool names;                 /* else numbers */
    char **at;                  /* spellings, in byte order, each once */
    int64_t count, room;
} Labels;

typedef enum LabelFound {
    LABEL_FOUND, LABEL_EMPTY, LABEL_UNKNOWN, LABEL_TOO_LARGE, LABEL_NEGATIVE,
    LABEL_NO_NAME               /* too long, or with a NUL in it */
} LabelFound;

void labels_start(Labels *labels, int64_t classes);
void labels_close(Labels *labels);

/* Takes in a spelling, whether or not it is a number. More than there are
 * classes are not kept, but `count` is then larger; they are wrong only if
 * labels turn out to be names. False where memory is short. */
bool labels_add(Labels *labels, const char *text, size_t length, Error *error);

/* Sets the names that a run has recorded, 0, 1 …; they must be in order. */
bool labels_given(Labels *labels, const char *const *names, int count,
                  Error *error);

/* Forgets spellings of numbers once all have been taken in. */
void labels_settle(Labels *labels);

/* The number of a label; `number` is set where it is LABEL_FOUND, or one of the
 * two that are out of range. */
LabelFound labels_find(const Labels *labels, const char *text, size_t length,
                       int64_t *number);

/* Why a label is none, for a message: "label 'x' is …". */
void labels_explain(const Labels *labels, LabelFound found, const char *text,
                    size_t length, char out[400]);
#endif
