/* progress.h: what `train` shows: on a terminal one line that is written
 * over, a line now and then elsewhere.
 * SPDX-License-Identifier: 0BSD */
#ifndef PROGRESS_H
#define PROGRESS_H
#include "log.h"

typedef struct Progress {
    bool quiet, terminal;
    int64_t first, last;        /* steps that this process will run */
    double flops;               /* of a step */
    double peak;                /* FLOP/s of the machine; 0: not measured */
    double begun;               /* when the first step began */
    double shown;               /* when a line was last printed */
    double step_seconds;        /* a running mean */
    bool open_line;             /* the terminal's line has no newline yet */
} Progress;

/* Sets up for steps first … last. Whoever shows a peak measures it. */
void progress_open(Progress *progress, bool quiet, int64_t first, int64_t last,
                   double flops);
void progress_step(Progress *progress, const StepRecord *record);
void progress_evaluation(Progress *progress, const EvaluationRecord *record);

/* Any other line, with a newline of its own. */
void progress_note(Progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void progress_close(Progress *progress);
#endif
