/* grad.c: `grad`: one whole optimizer step's forward and backward on a given
 * batch, without dropout and without an update, for audits.
 * SPDX-License-Identifier: 0BSD */
#include "batch.h"
#include "commands.h"
#include "inputs.h"
#include "places.h"
#include "settings.h"
#include "weights.h"
#include <stdio.h>
#include <stdlib.h>

static bool fill_batch(Rank *rank, const Step *step, const Batch *batch,
                       Error *error)
{
    const Program *program = rank->program;
    int64_t own = step_examples(program, step);
    int64_t examples = own * world_batches(rank->world);
    int64_t first = world_batch(rank->world) * own;
    if (batch->examples != examples || batch->sequence != step->sequence)
        return error_set(error, ERROR_INPUT, "%s: a batch of [%lld,%lld]; this "
                         "program's batch is [%lld,%lld] (train.batch, "
                         "train.sequence)", batch->data.files[0].path,
                         (long long)batch->examples, (long long)batch->sequence,
                         (long long)examples, (long long)step->sequence);
    for (int64_t b = 0; b < own; b++) {
        Example example = example_at(program, &rank->control, step, b);
        if (!batch_row(batch, first + b, &example, error))
            return false;
    }
    return true;
}

/* The shape of all replicas' logits: a row a position, a sequence, or a
 * sequence and side. Returns the rank. */
static int logits_shape(const Program *program, const Step *step,
                        int64_t dims[4])
{
    int rank = 0, batches = program_data(program) / program_context(program);
    dims[rank++] = step_examples(program, step) * batches;
    if (is_preference(program))
        dims[rank++] = 2;
    if (!step->logits_pooled)
        dims[rank++] = step->sequence;
    dims[rank++] = logits_width(program, step);
    return rank;
}

/* What is written, and where it lies: logits in equal parts, one in the memory
 * of each replica, those of a pipeline in its last stage. */
typedef struct Output {
    int32_t logits;             /* which of them they are; -1: there are none */
    int64_t logits_at;          /* in a rank's memory */
    TensorShape *shapes;
    const float **places;
    const Weight **weights;     /* whose gradient; NULL: what lies at places */
    char (*names)[WEIGHT_NAME + 8];
    int32_t count;
} Output;

static void output_add(Output *output, const char *name, const float *place,
                       int rank, const int64_t *dims)
{
    int32_t i = output->count++;
    snprintf(output->names[i], sizeof output->names[i], "%s", name);
    output->places[i] = place;
    output->shapes[i] = (TensorShape){ .name = output->names[i],
                                       .type = TENSOR_F32, .rank = rank };
    for (int axis = 0; axis < rank; axis++)
        output->shapes[i].dims[axis] = dims[axis];
}

static void output_add_gradient(Output *output, const Weight *weight)
{
    char name[WEIGHT_NAME + 8];
    snprintf(name, sizeof name, "grad.%s", weight->name);
    output->weights[output->count] = weight;
    output_add(output, name, NULL, weight->rank, weight->dims);
}

/* Writes what lies on another rank, which lends it. The leader has a writer. */
static bool write_from(TensorWriter *writer, const Rank *rank, int owner,
                       int64_t place, int64_t bytes, Error *error)
{
    int64_t most = world_fetch_most(rank->world);
    for (int64_t count; bytes > 0; place += count, bytes -= count) {
        count = bytes < most ? bytes : most;
        const char *at = rank_fetch(rank, owner, place, count);
        if (at && !tensors_append(writer, at, (uint64_t)count, error))
            return false;
    }
    return true;
}

/* A replica's logits, in the last stage: ranks that share its sequences have
 * two chunks of each; of whole sequences all have them. */
static bool write_replica(TensorWriter *writer, const Rank *rank, int replica,
                          int64_t place, int64_t bytes, Error *error)
{
    World *world = rank->world;
    int chunks = program_context(rank->program);
    int last = world_stages(world) - 1, first = replica * chunks;
    int64_t sequences = world ? program_step(rank->program, "grad")->batch : 1;
    int64_t chunk = bytes / sequences / (2 * chunks);
    if (chunks == 1 || is_classifier(rank->program))
        return write_from(writer, rank, world_rank_at(world, last, first, 0),
                          place, bytes, error);
    for (int64_t i = 0; i < sequences * 2 * chunks; i++) {
        int at = (int)(i % (2 * chunks)), late = at >= chunks;
        int member = first + (late ? 2 * chunks - 1 - at : at);
        int64_t b = i / (2 * chunks);
        if (!write_from(writer, rank, world_rank_at(world, last, member, 0),
                        place + (2 * b + late) * chunk, chunk, error))
            return false;
    }
    return true;
}

static bool write_logits(TensorWriter *writer, const Rank *rank, int64_t place,
                         int64_t bytes, Error *error)
{
    int data = world_batches(rank->world);
    for (int replica = 0; replica < data; replica++)
        if (!write_replica(writer, rank, replica, place, bytes / data, error))
            return false;
    return true;
}

/* A run of elements after the other, on whichever rank they lie. */
static bool write_gradient(TensorWriter *writer, const Rank *rank,
                           const Weight *weight, Error *error)
{
    for (int64_t from = 0, count; from < weight->elements; from += count) {
        const float *at = place_fetch(rank, weight, PLACE_GRADIENT, from,
                                      &count);
        if (at && !tensors_append(writer, at, 4 * (uint64_t)count, error))
            return false;
    }
    return true;
}

static bool write_tensor(TensorWriter *writer, const Output *output,
                         const Rank *rank, int32_t i, Error *error)
{
    int64_t bytes = sizeof(float);
    for (int axis = 0; axis < output->shapes[i].rank; axis++)
        bytes *= output->shapes[i].dims[axis];
    if (output->weights[i])
        return write_gradient(writer, rank, output->weights[i], error);
    if (i == output->logits)
        return write_logits(writer, rank, output->logits_at, bytes, error);
    return !writer || tensors_append(writer, output->places[i],
                                     (uint64_t)bytes, error);
}

static bool write_tensors(TensorWriter *writer, const Output *output,
                          const Rank *rank, Error *error)
{
    for (int32_t i = 0; i < output->count; i++)
        if (!write_tensor(writer, output, rank, i, error))
            return false;
    return true;
}

/* The others lend what the leader writes. */
static bool write_output(const Output *output, const Rank *rank,
                         const char *path, Error *error)
{
    TensorOutput file = { .path = path, .tensors = output->shapes,
                          .count = output->count };
    TensorWriter writer;
    if (!world_leads(rank->world))
        return write_tensors(NULL, output, rank, error);
    return tensors_create(&writer, &file, error)
        && write_tensors(&writer, output, rank, error)
        && tensors_commit(&writer, error);
}

/* The last stage has them, in its own place. */
static void add_logits(Output *output, const Rank *rank)
{
    int last = world_stages(rank->world) - 1;
    const Program its = rank->world
        ? program_of_stage(rank->program, last) : *rank->program;
    const Step *step = program_step(&its, "grad");
    const Plan *plan = &rank->stage_plans[last];
    int64_t dims[4], at = plan->weight_bytes + plan->state_bytes
        + step->logits_at;
    if (step->logits_at < 0)
        return;
    output->logits = output->count;
    output->logits_at = at;
    output_add(output, "logits", NULL, logits_shape(&its, step, dims), dims);
}

static bool write_gradients(const Rank *rank, const WeightList *list,
                            const char *path, Error *error)
{
    size_t room = (size_t)list->count + 3;
    Output output = {
        .logits = -1,
        .shapes = calloc(room, sizeof *output.shapes),
        .places = calloc(room, sizeof *output.places),
        .weights = calloc(room, sizeof *output.weights),
        .names = calloc(room, sizeof *output.names),
    };
    float loss = (float)rank->control.loss;
    float aux_loss = (float)rank->control.aux_loss;
    const int64_t one = 1;
    bool good = output.shapes && output.places && output.weights
        && output.names;
    if (!good)
        error_set(error, ERROR_ENVIRONMENT, "out of memory");
    if (good) {
        output_add(&output, "loss", &loss, 1, &one);
        if (rank->program->experts)
            output_add(&output, "aux_loss", &aux_loss, 1, &one);
        add_logits(&output, rank);
    }
    for (int i = 0; good && i < list->count; i++)
        if (list->at[i].gradient >= 0)
            output_add_gradient(&output, &list->at[i]);
    good = good && write_output(&output, rank, path, error);
    free(output.shapes);
    free(output.places);
    free(output.weights);
    free(output.names);
    return good;
}

static bool grad(Rank *rank, const Step *step, const Batch *batch,
                 const Options *options, Error *error)
{
    Settings settings;
    WeightList list = {0};
    bool good = settings_read(&settings, rank->program, NULL, error);
    settings_free(&settings);
    if (!good || !fill_batch(rank, step, batch, error))
        return false;
    rank->control.step = 1;
    rank->control.first = world_batch(rank->world) * step->batch;
    rank->control.seed = (uint64_t)settings.seed;
    rank->control.smoothing = (float)settings.label_smoothing;
    rank->control.sharpness = (float)(1 - settings.label_smoothing);
    rank_run(rank, step);
    /* The leader reads what lies in the others' memory, or they send it. */
    good = world_meet(rank->world, "write the gradients", error);
    if (good && (world_leads(rank->world)
                 || !world_shares_memory(rank->world)))
        good = weights_list_all(rank, &list, error)
            && write_gradients(rank, &list, options->out, error);
    free(list.at);
    return good;
}

int command_grad(const Program *program, const Options *options, Error *error)
{
    const Step *step = program_step(program, "grad");
    Batch batch;
    Rank rank;
    if (!step || step->gradients_at < 0)
        return error_set(error, ERROR_USAGE, "this program has no gradients"),
               error->status;
    if (!options->weights || !options->batch || !options->out)
        return error_set(error, ERROR_USAGE, "grad needs --weights, --batch "
                         "and --out"), error->status;
    if (!batch_open(&batch, options->batch, program, step, true, error))
        return error->status;
    bool good = open_with_weights(&rank, program, "grad", options, error);
    if (good) {
        good = grad(&rank, step, &batch, options, error);
        rank_close(&rank);
    }
    batch_close(&batch);
    return good ? 0 : error->status;
}
