/* forward.c: `forward`: runs a batch forward, a sequence at a time, and
 * writes the intermediate values whose names match a glob. A sequence gives a
 * slice of every tensor, but the file wants tensor after tensor: slices are
 * gathered in a scratch file that has no name, so memory does not grow with
 * the batch.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "batch.h"
#include "commands.h"
#include "inputs.h"
#include "weights.h"
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A value to be written: its shape for the whole batch. */
typedef struct Saved {
    char name[WEIGHT_NAME];
    TensorShape shape;
    const Value *value;
    int64_t at;             /* in floats from Control.values */
    uint64_t slice;         /* bytes of one sequence */
    uint64_t scratch;       /* where its slices begin in the scratch file */
} Saved;

typedef struct Forward {
    Rank rank;
    const Step *step;
    Batch batch;
    const Options *options;
    Saved *saved;
    int count;
    int scratch;            /* a descriptor */
    int64_t sequences;      /* of the whole batch */
    int32_t *pair;          /* preference: two rows of tokens, two of types,
                               two lengths */
} Forward;

/* ---- which values ------------------------------------------------------- */

/* A value's shape for the whole batch; its slice is one sequence's. */
static bool set_shape(const Forward *forward, Saved *saved, Error *error)
{
    const Value *value = saved->value;
    TensorShape *shape = &saved->shape;
    *shape = (TensorShape){ .name = saved->name, .type = TENSOR_F32,
                            .dims = { forward->batch.examples } };
    shape->rank = 1;
    if (forward->pair)
        shape->dims[shape->rank++] = 2;
    saved->slice = sizeof(float);
    for (int axis = 1; axis < value->rank; axis++) {
        int64_t size = value_dim(value, axis, 1, forward->batch.sequence);
        shape->dims[shape->rank++] = size;
        saved->slice *= (uint64_t)size;
    }
    return value->dim0 == 0
        || error_set(error, ERROR_ENVIRONMENT, "internal error: %s is not of "
                     "a sequence", saved->name);
}

static bool no_match(const Forward *forward, Error *error)
{
    NameList names = {0};
    for (int i = 0; i < forward->step->value_count; i++)
        names_add(&names, forward->step->values[i].name);
    return error_set(error, ERROR_INPUT, "--save %s matches none of: %s",
                     forward->options->save, names_text(&names));
}

static bool select_values(Forward *forward, Error *error)
{
    const Step *step = forward->step;
    size_t room = 0;
    uint64_t scratch = 0;
    for (int i = 0; i < step->value_count; i++)
        room += (size_t)step->values[i].repeat;
    forward->saved = calloc(room + 1, sizeof *forward->saved);
    if (!forward->saved)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (int i = 0; i < step->value_count; i++) {
        const Value *value = &step->values[i];
        for (int copy = 0; copy < value->repeat; copy++) {
            Saved *saved = &forward->saved[forward->count];
            if (!expand_name(saved->name, value->name, copy)
                || fnmatch(forward->options->save, saved->name, 0) != 0)
                continue;
            saved->value = value;
            saved->at = value->offset + copy * value->stride;
            if (!set_shape(forward, saved, error))
                return false;
            saved->scratch = scratch;
            scratch += saved->slice * (uint64_t)forward->sequences;
            forward->count++;
        }
    }
    return forward->count > 0 || no_match(forward, error);
}

/* ---- running ------------------------------------------------------------ */

/* A file beside the output that is gone when it is closed. */
static bool open_scratch(Forward *forward, Error *error)
{
    char path[FILES_PATH];
    int length = snprintf(path, sizeof path, "%s.tmp-%d-scratch",
                          forward->options->out, (int)getpid());
    if (length < 0 || length >= FILES_PATH)
        return error_set(error, ERROR_INPUT, "--out is too long");
    forward->scratch = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (forward->scratch < 0)
        return error_system(error, errno, "cannot write beside %s",
                            forward->options->out);
    unlink(path);
    return true;
}

static bool write_slice(const Forward *forward, const Saved *saved, int64_t s,
                        Error *error)
{
    const float *values = forward->rank.control.values + saved->at;
    const char *bytes = (const char *)values;
    uint64_t at = saved->scratch + (uint64_t)s * saved->slice;
    for (uint64_t done = 0; done < saved->slice;) {
        ssize_t n = pwrite(forward->scratch, bytes + done, saved->slice - done,
                           (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_system(error, errno, "cannot write beside %s",
                                forward->options->out);
        done += (uint64_t)n;
    }
    return true;
}

/* Fills the step's inputs with sequence s: an example, or a side of one. */
static bool fill_sequence(Forward *forward, int64_t s, Error *error)
{
    Rank *rank = &forward->rank;
    Control *control = &rank->control;
    int64_t T = forward->batch.sequence;
    Example example = { .sequence = T };
    rank_select(rank, forward->step);
    control->sequence = T;
    control->sharpness = 1;
    if (!forward->pair) {
        example = example_at(rank->program, control, forward->step, 0);
        return batch_row(&forward->batch, s, &example, error);
    }
    example.tokens = forward->pair;
    example.types = control->types ? forward->pair + 2 * T : NULL;
    example.lengths = forward->pair + 4 * T;
    if (!batch_row(&forward->batch, s / 2, &example, error))
        return false;
    memcpy(control->tokens, example.tokens + s % 2 * T,
           (size_t)T * sizeof *control->tokens);
    if (example.types)
        memcpy(control->types, example.types + s % 2 * T,
               (size_t)T * sizeof *control->types);
    control->lengths[0] = example.lengths[s % 2];
    return true;
}

static bool run_sequence(Forward *forward, int64_t s, Error *error)
{
    if (!fill_sequence(forward, s, error))
        return false;
    rank_run(&forward->rank, forward->step);
    for (int i = 0; i < forward->count; i++)
        if (!write_slice(forward, &forward->saved[i], s, error))
            return false;
    return true;
}

/* ---- writing ------------------------------------------------------------ */

static bool copy_tensor(const Forward *forward, TensorWriter *writer,
                        const Saved *saved, Error *error)
{
    char piece[65536];
    uint64_t left = saved->slice * (uint64_t)forward->sequences;
    uint64_t at = saved->scratch;
    while (left > 0) {
        size_t length = left < sizeof piece ? (size_t)left : sizeof piece;
        if (!file_read_at(forward->scratch, forward->options->out, piece,
                          length, at, error))
            return tensors_abandon(writer), false;
        if (!tensors_append(writer, piece, length, error))
            return false;
        at += length;
        left -= length;
    }
    return true;
}

static bool write_tensors(const Forward *forward, Error *error)
{
    TensorShape *shapes = calloc((size_t)forward->count, sizeof *shapes);
    if (!shapes)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (int i = 0; i < forward->count; i++)
        shapes[i] = forward->saved[i].shape;
    TensorOutput output = { .path = forward->options->out, .tensors = shapes,
                            .count = forward->count };
    TensorWriter writer;
    bool good = tensors_create(&writer, &output, error);
    for (int i = 0; good && i < forward->count; i++)
        good = copy_tensor(forward, &writer, &forward->saved[i], error);
    good = good && tensors_commit(&writer, error);
    free(shapes);
    return good;
}

static bool forward_batch(Forward *forward, Error *error)
{
    if (!select_values(forward, error) || !open_scratch(forward, error)
        || !open_with_weights(&forward->rank, forward->rank.program, "forward",
                              forward->options, error))
        return false;
    bool good = true;
    for (int64_t s = 0; good && s < forward->sequences; s++)
        good = run_sequence(forward, s, error);
    good = good && write_tensors(forward, error);
    rank_close(&forward->rank);
    return good;
}

static bool make_pair(Forward *forward, Error *error)
{
    const Program *program = forward->rank.program;
    forward->sequences = forward->batch.examples * example_sequences(program);
    if (!is_preference(program))
        return true;
    forward->pair = calloc((size_t)(4 * forward->batch.sequence + 2),
                           sizeof *forward->pair);
    return forward->pair
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

int command_forward(const Program *program, const Options *options,
                    Error *error)
{
    Forward forward = { .step = program_step(program, "forward"),
                        .options = options, .scratch = -1,
                        .rank = { .program = program } };
    if (!forward.step)
        return error_set(error, ERROR_USAGE, "this program has no forward "
                         "step"), error->status;
    if (!options->weights || !options->batch || !options->save || !options->out)
        return error_set(error, ERROR_USAGE, "forward needs --weights, "
                         "--batch, --save and --out"), error->status;
    if (!batch_open(&forward.batch, options->batch, program, forward.step,
                    false, error))
        return error->status;
    bool good = make_pair(&forward, error) && forward_batch(&forward, error);
    if (forward.scratch >= 0)
        close(forward.scratch);
    free(forward.saved);
    free(forward.pair);
    batch_close(&forward.batch);
    return good ? 0 : error->status;
}
