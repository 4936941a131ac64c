/* trace_write.c: the file of a trace (see trace.h), in the Trace Event Format:
 * a line of JSON an event. Every rank sorts its notes; then they go to the
 * leader, some at a time, by the slots that all ranks have: so ranks need not
 * share memory.
 * SPDX-License-Identifier: 0BSD */
#include "trace.h"
#include "files.h"
#include "json.h"
#include "rank.h"
#include "world_block.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_A_TIME = WORLD_SLOT / sizeof(TraceNote) - 1 };

typedef struct TraceFile {
    FileWriter file;
    JsonWriter json;
    const World *world;         /* NULL: one rank */
    const Program *program;     /* of all ranks */
    int64_t zero;               /* when time begins */
    int64_t *rows;              /* [ranks][messages][sent, received]: so far */
} TraceFile;

bool trace_can_write(const char *path, Error *error)
{
    FileWriter *writer = malloc(sizeof *writer);
    if (!writer)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    bool good = file_create(writer, path, error);
    if (good)
        file_abandon(writer);
    free(writer);
    return good;
}

/* ---- texts -------------------------------------------------------------- */

/* "rank 3 (stage 1, replica 1)": the axes that there are. */
static void name_rank(const TraceFile *f, int rank, char *text, size_t room)
{
    const World *world = f->world;
    World it = world ? *world : (World){0};
    it.rank = rank;
    const struct { const char *name; int size, at; } axes[] = {
        { "stage", world_stages(world), world ? world_stage(&it) : 0 },
        { "replica", world_batches(world), world ? world_batch(&it) : 0 },
        { "chunk", world ? world->context : 1, world ? world_chunk(&it) : 0 },
        { "slice", world_tensor(world), world ? world_slice(&it) : 0 },
    };
    int length = snprintf(text, room, "rank %d", rank);
    const char *before = " (";
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++) {
        if (axes[i].size == 1)
            continue;
        length += snprintf(text + length, room - (size_t)length, "%s%s %d",
                           before, axes[i].name, axes[i].at);
        before = ", ";
    }
    if (before[0] == ',')
        snprintf(text + length, room - (size_t)length, ")");
}

/* "rank 2", or the other members of the message's axis: "ranks 0, 1, 3". */
static void name_peers(const TraceFile *f, int rank, const TraceNote *note,
                       char *text, size_t room)
{
    enum { LONGEST = 24 };
    World it = *f->world;
    it.rank = rank;
    Axis axis = axis_of(&it, note->what);
    int members = axis_members(&it, axis), length = 0;
    if (note->peer >= 0) {
        snprintf(text, room, "rank %d", axis_rank(&it, axis, note->peer));
        return;
    }
    const char *before = members > 2 ? "ranks " : "rank ";
    for (int i = 0; i < members; i++) {
        int peer = axis_rank(&it, axis, i);
        if (peer == rank)
            continue;
        if ((size_t)length + LONGEST >= room) {
            snprintf(text + length, room - (size_t)length, " …");
            return;
        }
        length += snprintf(text + length, room - (size_t)length, "%s%d",
                           before, peer);
        before = ", ";
    }
}

static const char *category(TraceKind kind)
{
    static const char *const names[] = {
        [TRACE_STEP] = "step", [TRACE_READ] = "phase",
        [TRACE_FORWARD] = "phase", [TRACE_BACKWARD] = "phase",
        [TRACE_WEIGHTS] = "phase", [TRACE_UPDATE] = "phase",
        [TRACE_MESSAGE] = "message",
        [TRACE_RECEIVE] = "receive", [TRACE_WAIT] = "wait",
        [TRACE_EVALUATE] = "between", [TRACE_SAVE] = "between",
    };
    return names[kind];
}

/* "forward 3", of a stage that has several chunks "forward 3, chunk 1". */
static void name_action(const char *what, const TraceNote *note, char *text,
                        size_t room)
{
    if (note->peer < 0)
        snprintf(text, room, "%s %d", what, note->what);
    else
        snprintf(text, room, "%s %d, chunk %d", what, note->what, note->peer);
}

static void name_slice(const TraceFile *f, const TraceNote *note, char *text,
                       size_t room)
{
    const Message *messages = f->program->messages;
    const char *name = "";
    switch ((TraceKind)note->kind) {
    case TRACE_STEP:
        snprintf(text, room, "step %d", note->what);
        return;
    case TRACE_FORWARD: name_action("forward", note, text, room); return;
    case TRACE_BACKWARD: name_action("backward", note, text, room); return;
    case TRACE_WEIGHTS: name_action("weights", note, text, room); return;
    case TRACE_RECEIVE:
        name = messages[note->what].name;
        snprintf(text, room, "receive %s",
                 name + 5 * (strncmp(name, "send ", 5) == 0));
        return;
    case TRACE_MESSAGE: name = messages[note->what].name; break;
    case TRACE_READ: name = "read"; break;
    case TRACE_UPDATE: name = "update"; break;
    case TRACE_WAIT: name = "wait"; break;
    case TRACE_EVALUATE: name = "evaluate"; break;
    case TRACE_SAVE: name = "save"; break;
    }
    snprintf(text, room, "%s", name);
}

/* ---- events ------------------------------------------------------------- */

static void begin_event(TraceFile *f, const char *name, const char *type,
                        int rank)
{
    f->json.failed = f->json.failed
        || !file_append(&f->file, "\n", 1, f->json.error);
    json_open(&f->json, '{');
    json_set_text(&f->json, "name", name);
    json_set_text(&f->json, "ph", type);
    json_set_count(&f->json, "pid", rank);
    json_set_count(&f->json, "tid", 0);
}

static void put_rank(TraceFile *f, int rank)
{
    char name[160];
    name_rank(f, rank, name, sizeof name);
    begin_event(f, "process_name", "M", rank);
    json_key(&f->json, "args");
    json_open(&f->json, '{');
    json_set_text(&f->json, "name", name);
    json_close(&f->json, '}');
    json_close(&f->json, '}');
    begin_event(f, "process_sort_index", "M", rank);
    json_key(&f->json, "args");
    json_open(&f->json, '{');
    json_set_count(&f->json, "sort_index", rank);
    json_close(&f->json, '}');
    json_close(&f->json, '}');
}

static void put_message(TraceFile *f, int rank, const TraceNote *note)
{
    const Message *message = &f->program->messages[note->what];
    char peers[160];
    name_peers(f, rank, note, peers, sizeof peers);
    json_set_text(&f->json, "with", peers);
    json_set_text(&f->json, "over", message->axis);
    json_set_count(&f->json, "bytes", note->bytes);
    json_set_text(&f->json, "where", message->where);
}

static void put_note(TraceFile *f, int rank, const TraceNote *note)
{
    char name[256];
    TraceKind kind = (TraceKind)note->kind;
    name_slice(f, note, name, sizeof name);
    begin_event(f, name, "X", rank);
    json_set_text(&f->json, "cat", category(kind));
    json_key(&f->json, "ts");
    json_put_thousandths(&f->json, note->begin - f->zero);
    json_key(&f->json, "dur");
    json_put_thousandths(&f->json, note->end - note->begin);
    json_key(&f->json, "args");
    json_open(&f->json, '{');
    if (kind == TRACE_MESSAGE || kind == TRACE_RECEIVE)
        put_message(f, rank, note);
    json_close(&f->json, '}');
    json_close(&f->json, '}');
}

/* An arrow from where a stage hands a row on to where the next one takes it:
 * the n-th that was sent is the n-th that was received. */
static void put_arrow(TraceFile *f, int rank, const TraceNote *note)
{
    bool sent = note->kind == TRACE_MESSAGE;
    World it = *f->world;
    it.rank = rank;
    int peer = axis_rank(&it, axis_of(&it, note->what), note->peer);
    int64_t sender = sent ? rank : peer;
    int64_t row = sender * f->program->message_count + note->what;
    int64_t all = (int64_t)f->world->ranks * f->program->message_count;
    int64_t number = f->rows[2 * row + !sent]++ * all + row;
    begin_event(f, "row", sent ? "s" : "f", rank);
    json_set_text(&f->json, "cat", "row");
    json_set_count(&f->json, "id", number);
    if (!sent)
        json_set_text(&f->json, "bp", "e");
    json_key(&f->json, "ts");
    json_put_thousandths(&f->json, (sent ? note->begin : note->end - 1)
                                   - f->zero);
    json_close(&f->json, '}');
}

/* ---- from all ranks ----------------------------------------------------- */

/* By their beginnings, what holds others before them. */
static int by_time(const void *a, const void *b)
{
    const TraceNote *one = a, *two = b;
    if (one->begin != two->begin)
        return one->begin < two->begin ? -1 : 1;
    if (one->end != two->end)
        return one->end > two->end ? -1 : 1;
    return one->kind - two->kind;
}

static void put_slice(TraceFile *f, int rank, const TraceNote *note)
{
    bool talks = note->kind == TRACE_MESSAGE || note->kind == TRACE_RECEIVE;
    put_note(f, rank, note);
    if (talks && note->peer >= 0)
        put_arrow(f, rank, note);
}

/* What a rank brings to a meeting. */
typedef struct Pack {
    int32_t count;
    TraceNote notes[AT_A_TIME];
} Pack;

/* A step's notes of all ranks, each rank's in their order. `f` is NULL where
 * this rank does not lead. */
static bool write_step(TraceFile *f, World *world, const TracedStep *step,
                       Error *error)
{
    bool more = true;
    for (int32_t at = 0; more; at += AT_A_TIME) {
        int32_t left = step->count > at ? step->count - at : 0;
        Pack pack = { .count = left < AT_A_TIME ? left : AT_A_TIME };
        for (int32_t i = 0; i < pack.count; i++)
            pack.notes[i] = step->notes[at + i];
        if (world && !world_exchange(world, &pack, sizeof pack,
                                     "write the trace", error))
            return false;
        more = false;
        for (int rank = 0; rank < world_ranks(world); rank++) {
            const Pack *its = world ? world_slot(world, rank) : &pack;
            more = more || its->count == AT_A_TIME;
            for (int32_t i = 0; f && i < its->count; i++)
                put_slice(f, rank, &its->notes[i]);
        }
    }
    return true;
}

static TracedStep *kept(const Trace *trace, int64_t step)
{
    return &trace->steps[step % trace->slots];
}

static void begin_file(TraceFile *f, const TraceSpan *span, int64_t lost)
{
    json_open(&f->json, '{');
    json_set_count(&f->json, "format", 1);
    json_set_text(&f->json, "name", f->program->name);
    json_set_text(&f->json, "displayTimeUnit", "ms");
    json_set_count(&f->json, "first_step", span->first);
    json_set_count(&f->json, "last_step", span->last);
    json_set_count(&f->json, "lost", lost);
    json_key(&f->json, "traceEvents");
    json_open(&f->json, '[');
    for (int rank = 0; rank < world_ranks(f->world); rank++)
        put_rank(f, rank);
}

static bool end_file(TraceFile *f, Error *error)
{
    json_close(&f->json, ']');
    json_close(&f->json, '}');
    if (!f->json.failed && file_append(&f->file, "\n", 1, error)
        && file_commit(&f->file, error))
        return true;
    file_abandon(&f->file);
    return false;
}

/* What all ranks agree on: when time begins, and what had no room. */
static bool agree(World *world, int64_t *zero, int64_t *lost, Error *error)
{
    double before = -(double)*zero, most = (double)*lost;
    if (!world_largest(world, &before, error)
        || !world_largest(world, &most, error))
        return false;
    *zero = (int64_t)-before;
    *lost = (int64_t)most;
    return true;
}

/* All ranks are here; the leader alone has a file. */
static bool write_steps(TraceFile *f, Trace *trace, World *world,
                        TraceSpan *span, Error *error)
{
    int64_t from = trace->begun > trace->slots ? trace->begun - trace->slots
        : 0;
    int64_t lost = trace->lost, zero = 0;
    for (int64_t s = from; s < trace->begun; s++)
        qsort(kept(trace, s)->notes, (size_t)kept(trace, s)->count,
              sizeof(TraceNote), by_time);
    if (trace->begun > 0) {
        zero = kept(trace, from)->notes[0].begin;
        span->first = kept(trace, from)->notes[0].what;
        span->last = kept(trace, trace->begun - 1)->notes[0].what;
    }
    if (!agree(world, &zero, &lost, error))
        return false;
    if (f) {
        f->zero = zero;
        begin_file(f, span, lost);
    }
    for (int64_t s = from; s < trace->begun; s++)
        if (!write_step(f, world, kept(trace, s), error))
            return false;
    return true;
}

bool trace_write(Trace *trace, World *world, const Program *program,
                 const char *path, TraceSpan *span, Error *error)
{
    *span = (TraceSpan){0};
    if (!world_leads(world))
        return write_steps(NULL, trace, world, span, error);
    TraceFile *f = malloc(sizeof *f);
    size_t rows = (size_t)(world_ranks(world) * program->message_count);
    int64_t *counts = calloc(2 * rows + 1, sizeof *counts);
    if (!f || !counts) {
        free(f);
        free(counts);
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    }
    f->world = world;
    f->program = program;
    f->rows = counts;
    bool good = file_create(&f->file, path, error);
    if (good) {
        f->json = json_to_file(&f->file, error);
        good = write_steps(f, trace, world, span, error);
        if (good)
            good = end_file(f, error);
        else
            file_abandon(&f->file);
    }
    free(counts);
    free(f);
    return good;
}
