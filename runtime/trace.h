/* trace.h: what a rank does when, for `train --trace FILE`. A slice is noted
 * for each step and, in it, for what the generated code says it is about
 * (note_forward … of kernels.h), for each message and for each wait for another
 * rank; only a rank's first thread notes. The file is what Perfetto and
 * chrome://tracing read: a process a rank, an arrow where a row goes from stage
 * to stage, times in microseconds by the one monotonic clock of the machine.
 * Ranks of several machines have a clock each, and begin to count when all have
 * met.
 *
 * All memory is there before the first step and holds the last TRACE_STEPS
 * steps: an older one is written over. Where nothing is traced the trace is
 * NULL, and every function returns at once.
 * SPDX-License-Identifier: 0BSD */
#ifndef TRACE_H
#define TRACE_H
#include "error.h"
#include "program.h"
#include <stdbool.h>
#include <stdint.h>

enum { TRACE_STEPS = 20 };

struct World;

typedef enum TraceKind {
    TRACE_STEP,                 /* what: its number */
    TRACE_READ,                 /* the step's examples */
    TRACE_FORWARD,              /* what: the micro-batch */
    TRACE_BACKWARD,
    TRACE_WEIGHTS,
    TRACE_UPDATE,
    TRACE_MESSAGE,              /* what: its index; counted */
    TRACE_RECEIVE,              /* the same, at the other end */
    TRACE_WAIT,
    TRACE_EVALUATE,
    TRACE_SAVE,
} TraceKind;

/* Nanoseconds of CLOCK_MONOTONIC, since trace_begin. */
typedef struct TraceNote {
    int64_t begin, end;
    int64_t bytes;              /* of a message: that this rank sends */
    int32_t what;
    int16_t kind;
    int16_t peer;               /* of a message to one, or -1: to all; of a
                                   micro-batch the stage's chunk, or -1 */
} TraceNote;

/* A step's notes; their times only grow. */
typedef struct TracedStep {
    TraceNote *notes;
    int32_t count;
} TracedStep;

typedef struct Trace {
    TracedStep *steps;          /* step s, from 0, lies in slot s mod slots */
    int slots, room;            /* notes a slot has room for */
    int64_t zero;               /* what the clock says then */
    int64_t begun;              /* steps so far */
    int64_t lost;               /* notes for which there was no room */
    TraceNote step, phase;      /* that go on */
    bool inside, in_phase;      /* between their begin and end */
} Trace;

/* A trace of this rank's steps of the program; NULL with an error of status 3
 * where there is no memory. */
Trace *trace_new(const Program *program, Error *error);
void trace_free(Trace *trace);

/* Time is 0 now; without this it is 0 where the machine's clock is. */
void trace_begin(Trace *trace);

/* The time, or 0 where nothing is traced. */
int64_t trace_time(const Trace *trace);

/* Around a train step. What is noted of kinds READ … WAIT between them only. */
void trace_begin_step(Trace *trace, int64_t step);
void trace_end_step(Trace *trace);

/* What began at a time that trace_time gave and ends now. */
void trace_note(Trace *trace, TraceNote note);

/* The steps that a file has, by their numbers; 0: none. */
typedef struct TraceSpan {
    int64_t first, last;
} TraceSpan;

/* Writes the file: the leader does, with what all ranks bring, which call it
 * together. */
bool trace_write(Trace *trace, struct World *world, const Program *program,
                 const char *path, TraceSpan *span, Error *error);

/* Whether a file can be made there: better known before the first step. */
bool trace_can_write(const char *path, Error *error);
#endif
