/* reference.c: see reference.h.
 * SPDX-License-Identifier: 0BSD */
#include "reference.h"
#include "checkpoint.h"
#include "commands.h"
#include "cpu.h"
#include "inputs.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char FILE_NAME[] = "reference.safetensors";

bool reference_wanted(const Program *program, const Corpus *corpus)
{
    return is_preference(program) && !corpus_has_reference(corpus);
}

void reference_free(Reference *reference)
{
    free(reference->sums);
    *reference = (Reference){0};
}

void reference_copy(const Reference *reference, int64_t index, float *sums)
{
    bool there = index < reference->count;
    sums[0] = there ? reference->sums[2 * index] : 0;
    sums[1] = there ? reference->sums[2 * index + 1] : 0;
}

static bool reserve(Reference *reference, int64_t count, Error *error)
{
    reference->count = count;
    reference->sums = calloc(2 * (size_t)count + 1, sizeof(float));
    return reference->sums
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

/* ---- scoring ------------------------------------------------------------ */

/* Sequences go to the step a row each, however many it takes; a pair may end in
 * the next call. */
typedef struct Scorer {
    const Scoring *scoring;
    const Step *step;
    int64_t sequence;
    int32_t *tokens, *targets;      /* of a pair, [2, sequence] */
    int32_t lengths[2];
    float *sums;                    /* of all sequences, in order */
    int64_t done, waiting;          /* sequences: scored, filled in */
    double shown;
} Scorer;

static void begin_call(Scorer *scorer)
{
    Rank *rank = scorer->scoring->rank;
    rank_select(rank, scorer->step);
    rank->control.sequence = scorer->sequence;
    rank->control.dropout = 0;
    rank->control.smoothing = 0;
    rank->control.sharpness = 1;
    scorer->waiting = 0;
}

/* Rows that nothing was put in are padding. */
static void end_call(Scorer *scorer)
{
    Rank *rank = scorer->scoring->rank;
    Control *control = &rank->control;
    int64_t T = scorer->sequence;
    for (int64_t row = scorer->waiting; row < scorer->step->batch; row++) {
        control->lengths[row] = 0;
        for (int64_t t = 0; t < T; t++) {
            control->tokens[row * T + t] = 0;
            control->targets[row * T + t] = -1;
        }
    }
    rank_run(rank, scorer->step);
    memcpy(scorer->sums + scorer->done,
           rank_floats(rank, scorer->step->sums_at),
           (size_t)scorer->waiting * sizeof(float));
    scorer->done += scorer->waiting;
    begin_call(scorer);
}

static void put_sequence(Scorer *scorer, int side)
{
    const Control *control = &scorer->scoring->rank->control;
    int64_t T = scorer->sequence, row = scorer->waiting++;
    size_t bytes = (size_t)T * sizeof(int32_t);
    memcpy(control->tokens + row * T, scorer->tokens + side * T, bytes);
    memcpy(control->targets + row * T, scorer->targets + side * T, bytes);
    control->lengths[row] = scorer->lengths[side];
    if (scorer->waiting == scorer->step->batch)
        end_call(scorer);
}

static bool read_pair(Scorer *scorer, int64_t index, Error *error)
{
    const Scoring *scoring = scorer->scoring;
    const Example example = {
        .tokens = scorer->tokens, .targets = scorer->targets,
        .lengths = scorer->lengths, .sequence = scorer->sequence,
    };
    return scoring->part == PART_TRAIN
        ? corpus_train_at(scoring->corpus, index, &example, error)
        : corpus_eval_example(scoring->corpus, index, &example, error);
}

/* On a terminal a line that is written over; elsewhere a line now and then. */
static void show(Scorer *scorer, int64_t pairs, int64_t count)
{
    bool terminal = isatty(STDOUT_FILENO)
        && world_shares_memory(scorer->scoring->rank->world);
    double now = clock_seconds(), pause = terminal ? 0.2 : 10;
    bool ends = pairs == count;
    if (scorer->scoring->quiet
        || (now - scorer->shown < pause && !(ends && terminal)))
        return;
    scorer->shown = now;
    printf("%sreference: %lld of %lld pairs scored%s", terminal ? "\r" : "",
           (long long)pairs, (long long)count, terminal && !ends ? "" : "\n");
    fflush(stdout);
}

bool reference_together(const Program *program)
{
    return program->shard == SHARD_WEIGHTS || program->stages > 1
        || program_tensor(program) * program_context(program)
            * program_experts(program) > 1;
}

/* Ranks that score together stop together. */
static bool goes_on(const Scorer *scorer, Error *error)
{
    const Rank *rank = scorer->scoring->rank;
    bool together = reference_together(rank->program);
    int signal = 0;
    if (!world_stop(together ? rank->world : NULL, &signal, error))
        return false;
    return !signal || error_set(error, EXIT_RESUME, "%s", "");
}

static bool score_all(Scorer *scorer, int64_t count, Error *error)
{
    rank_prepare(scorer->scoring->rank);
    begin_call(scorer);
    for (int64_t pair = 0; pair < count; pair++) {
        if (!goes_on(scorer, error))
            return false;
        if (!read_pair(scorer, pair, error))
            return false;
        put_sequence(scorer, 0);
        put_sequence(scorer, 1);
        show(scorer, pair + 1, count);
    }
    if (scorer->waiting > 0)
        end_call(scorer);
    return true;
}

bool reference_score(Reference *reference, const Scoring *scoring, Error *error)
{
    const Program *program = scoring->rank->program;
    Scorer scorer = {
        .scoring = scoring, .step = program_step(program, "score"),
        .sequence = program->sequence, .shown = clock_seconds(),
    };
    if (!scorer.step || scorer.step->sums_at < 0
        || scorer.step->sequence < scorer.sequence)
        return error_set(error, ERROR_ENVIRONMENT, "internal error: this "
                         "program cannot score sequences");
    int64_t count = scoring->part == PART_TRAIN
        ? corpus_train_count(scoring->corpus)
        : corpus_eval_count(scoring->corpus);
    size_t ids = 2 * (size_t)scorer.sequence;
    scorer.tokens = calloc(2 * ids, sizeof *scorer.tokens);
    if (!scorer.tokens)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    scorer.targets = scorer.tokens + ids;
    bool good = reserve(reference, count, error);
    scorer.sums = reference->sums;
    good = good && score_all(&scorer, count, error);
    free(scorer.tokens);
    return good;
}

/* ---- the file ----------------------------------------------------------- */

bool reference_write(const ReferenceFile *file, const Reference *train,
                     const Reference *eval, Error *error)
{
    char path[FILES_PATH];
    if (!join_path(path, file->directory, FILE_NAME, error))
        return false;
    const TensorShape shapes[] = {
        { "train", TENSOR_F32, 2, { train->count, 2 } },
        { "eval", TENSOR_F32, 2, { eval->count, 2 } },
    };
    const TensorMetadata metadata[] = {
        { "model_hash", file->model_hash }, { "data_hash", file->data_hash },
        { "weights_hash", file->weights_hash },
    };
    const TensorOutput output = {
        .path = path, .tensors = shapes, .count = eval->count > 0 ? 2 : 1,
        .metadata = metadata, .metadata_count = 3,
    };
    TensorWriter writer;
    return tensors_create(&writer, &output, error)
        && tensors_append(&writer, train->sums, 8 * (uint64_t)train->count,
                          error)
        && tensors_append(&writer, eval->sums, 8 * (uint64_t)eval->count,
                          error)
        && tensors_commit(&writer, error);
}

static bool same_text(const Tensors *tensors, const char *key,
                      const char *wanted, const char *of, Error *error)
{
    const char *got = tensors_metadata(tensors, key);
    return (got && strcmp(got, wanted) == 0)
        || error_set(error, ERROR_INPUT, "%s is of %s: its log-probabilities "
                     "do not serve this run", tensors->path, of);
}

static bool read_part(Tensors *tensors, const char *name, Reference *part,
                      Error *error)
{
    const int64_t dims[] = { part->count, 2 };
    if (part->count == 0)
        return reserve(part, 0, error);
    int entry = tensors_want(tensors, name, 2, dims, error);
    return entry >= 0 && reserve(part, part->count, error)
        && tensors_read_f32(tensors, entry, 0, 2 * part->count, part->sums,
                            error);
}

bool reference_read(const ReferenceFile *file, Reference *train,
                    Reference *eval, Error *error)
{
    char path[FILES_PATH];
    Tensors tensors;
    if (!join_path(path, file->directory, FILE_NAME, error)
        || !tensors_open(&tensors, path, error))
        return false;
    bool good = same_text(&tensors, "model_hash", file->model_hash,
                          "another model", error)
        && same_text(&tensors, "data_hash", file->data_hash, "other data",
                     error)
        && (!file->weights_hash[0]
            || same_text(&tensors, "weights_hash", file->weights_hash,
                         "other weights", error))
        && read_part(&tensors, "train", train, error)
        && read_part(&tensors, "eval", eval, error);
    tensors_close(&tensors);
    if (!good) {
        free(train->sums);
        free(eval->sums);
        train->sums = eval->sums = NULL;
    }
    return good;
}
