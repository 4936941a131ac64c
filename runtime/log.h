/* log.h: the training log, a JSON object a line (docs/contract.md, section 1).
 * SPDX-License-Identifier: 0BSD */
#ifndef LOG_H
#define LOG_H
#include "error.h"
#include <stdbool.h>
#include <stdint.h>

/* A step, as logged and as shown. */
typedef struct StepRecord {
    int64_t step;
    double loss, lr, grad_norm;     /* before the update and the clipping */
    int64_t tokens;
    double seconds;
    bool skipped;
} StepRecord;

typedef struct EvaluationRecord {
    int64_t step;
    double loss;
    double accuracy;                /* -1: there is none */
} EvaluationRecord;

typedef struct Log {
    int descriptor;             /* -1: there is none */
    const char *path;
    int64_t evaluated;          /* step of the last evaluation that was kept */
} Log;

/* Opens the log for the steps after `step`: lines of later ones, and a last
 * line that was never finished, are cut off; step 0 empties it. A file of
 * other lines is an error, and stays. path NULL: no log. */
bool log_open(Log *log, const char *path, int64_t step, Error *error);

/* Writes a line, whole or not at all: a full disk is status 3. */
bool log_step(Log *log, const StepRecord *record, Error *error);
bool log_evaluation(Log *log, const EvaluationRecord *record, Error *error);

/* Makes the lines so far outlive a crash: before a checkpoint that counts on
 * them. */
bool log_sync(Log *log, Error *error);
void log_close(Log *log);
#endif
