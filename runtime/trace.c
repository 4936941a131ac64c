/* trace.c: notes of what a rank does when (see trace.h).
 * SPDX-License-Identifier: 0BSD */
#include "trace.h"
#include "team.h"
#include "rank.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- room --------------------------------------------------------------- */

/* Messages that a rank takes part in, in a step: its own, and those of its
 * neighbours in a pipeline, which no forecast of its own counts. */
static int64_t messages_of(const Program *program)
{
    int64_t calls = 0;
    for (int i = 0; i < program->message_count; i++)
        calls += program->messages[i].calls;
    for (int p = 0; p < program->part_count; p++)
        for (int i = 0; i < program->parts[p].message_count; i++) {
            const Message *message = &program->parts[p].messages[i];
            if (strcmp(message->axis, "pipeline") == 0)
                calls += message->calls;
        }
    return calls;
}

/* A message, and a wait at its begin and at its end, and what it is for;
 * micro-batches of one sequence, forward, backward and their weights. */
static int64_t room_of(const Program *program)
{
    enum { OTHERS = 16 };
    const Step *train = program_step(program, "train");
    return 4 * messages_of(program) + 6 * (train ? train->batch : 0) + OTHERS;
}

Trace *trace_new(const Program *program, Error *error)
{
    static const int64_t MOST_BYTES = 64 << 20;
    int64_t room = room_of(program);
    int64_t bytes = room * (int64_t)sizeof(TraceNote);
    int64_t slots = MOST_BYTES / bytes;
    slots = slots < 1 ? 1 : slots > TRACE_STEPS ? TRACE_STEPS : slots;
    Trace *trace = calloc(1, sizeof *trace);
    TracedStep *steps = calloc((size_t)slots, sizeof *steps);
    TraceNote *notes = malloc((size_t)(slots * bytes));
    if (!trace || !steps || !notes) {
        free(trace);
        free(steps);
        free(notes);
        error_set(error, ERROR_ENVIRONMENT, "no memory for the trace");
        return NULL;
    }
    memset(notes, 0, (size_t)(slots * bytes));  /* pages come now */
    for (int64_t i = 0; i < slots; i++)
        steps[i].notes = notes + i * room;
    *trace = (Trace){ .steps = steps, .slots = (int)slots,
                      .room = (int)room };
    return trace;
}

void trace_free(Trace *trace)
{
    if (!trace)
        return;
    free(trace->steps[0].notes);
    free(trace->steps);
    free(trace);
}

/* ---- noting ------------------------------------------------------------- */

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void trace_begin(Trace *trace)
{
    trace->zero = now();
}

int64_t trace_time(const Trace *trace)
{
    return trace ? now() - trace->zero : 0;
}

static void add(Trace *trace, const TraceNote *note)
{
    TracedStep *step = &trace->steps[(trace->begun - 1) % trace->slots];
    if (step->count < trace->room)
        step->notes[step->count++] = *note;
    else
        trace->lost++;
}

void trace_note(Trace *trace, TraceNote note)
{
    bool always = note.kind == TRACE_EVALUATE || note.kind == TRACE_SAVE;
    if (!trace || trace->begun == 0 || (!trace->inside && !always))
        return;
    note.end = trace_time(trace);
    add(trace, &note);
}

static void end_phase(Trace *trace, int64_t time)
{
    if (!trace->in_phase)
        return;
    trace->in_phase = false;
    trace->phase.end = time;
    add(trace, &trace->phase);
}

void trace_begin_step(Trace *trace, int64_t step)
{
    if (!trace)
        return;
    trace->steps[trace->begun++ % trace->slots].count = 0;
    trace->inside = true;
    trace->step = (TraceNote){ .kind = TRACE_STEP, .what = (int32_t)step,
                               .begin = trace_time(trace) };
}

void trace_end_step(Trace *trace)
{
    if (!trace)
        return;
    trace->step.end = trace_time(trace);
    end_phase(trace, trace->step.end);
    add(trace, &trace->step);
    trace->inside = false;
}

/* ---- what generated code is about --------------------------------------- */

static void begin_phase(const Thread *me, TraceKind kind, long what)
{
    Trace *trace = me->index == 0 ? team_trace(me->team) : NULL;
    if (!trace || !trace->inside)
        return;
    int64_t time = trace_time(trace);
    end_phase(trace, time);
    trace->in_phase = true;
    trace->phase = (TraceNote){ .kind = (int16_t)kind, .begin = time,
                                .what = (int32_t)what, .peer = -1 };
}

void note_forward(const Thread *me, long run)
{
    begin_phase(me, TRACE_FORWARD, run);
}

void note_backward(const Thread *me, long run)
{
    begin_phase(me, TRACE_BACKWARD, run);
}

void note_weights(const Thread *me, long run)
{
    begin_phase(me, TRACE_WEIGHTS, run);
}

void note_chunk(const Thread *me, long chunk)
{
    Trace *trace = me->index == 0 ? team_trace(me->team) : NULL;
    if (trace && trace->in_phase)
        trace->phase.peer = (int16_t)chunk;
}

void note_update(const Thread *me)
{
    begin_phase(me, TRACE_UPDATE, 0);
}
