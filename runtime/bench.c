/* bench.c: `bench`: the time of the training step itself, update included, on a
 * random batch of the spec's shape with freshly drawn weights, and the share of
 * it that each kernel has (profile.h).
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "cpu.h"
#include "draw.h"
#include "inputs.h"
#include "json.h"
#include "memory.h"
#include "profile.h"
#include "weights.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 2, DEFAULT_STEPS = 10 };

/* Steps go on, unmeasured, until the kernels were looked at for so long. */
static const double PROFILE_SECONDS = 0.5;
/* The table's last line is for the kernels with less than this of the time. */
static const double LEAST_SHARE = 0.002;

typedef struct Times {
    int64_t steps;
    double median, least;       /* seconds a step */
    double peak;                /* FLOP/s of the machine */
    int64_t memory;             /* bytes of a rank, at most */
    ProfileRow *kernels;        /* by share */
    int kernel_count;
    Error no_kernels;           /* why there are none */
} Times;

/* Draws of one input, all of its rows. */
typedef struct Draws {
    const Rank *rank;
    uint64_t stream;
    int64_t first;              /* the rank's first sequence, of all */
    int64_t rows, row;          /* sequences, and numbers of each */
} Draws;

static int32_t draw_id(const Draws *draws, int64_t i, int64_t count)
{
    int64_t at = draws->first * draws->row + i;
    double u = draw_uniform(0, draws->stream, (uint64_t)at);
    return (int32_t)(u * (double)count);
}

static void draw_ids(const Draws *draws, int32_t *out, int64_t count)
{
    for (int64_t i = 0; out && i < draws->rows * draws->row; i++)
        out[i] = draw_id(draws, i, count);
}

static void fill_ids(const Draws *draws, int32_t *out, int32_t value)
{
    for (int64_t i = 0; out && i < draws->rows * draws->row; i++)
        out[i] = value;
}

static void draw_reals(const Draws *draws, float *out)
{
    if (out)
        draw_normals(out, draws->rows * draws->row,
                     (uint64_t)(draws->first * draws->row), 1, 0,
                     draws->stream);
}

/* Targets of tokens that nothing masks: the next one; BERT has one token in
 * seven to guess. */
static void set_targets(const Draws *draws, const Control *control)
{
    int64_t count = draws->rows * draws->row;
    bool masked = is_masked(draws->rank->program);
    for (int64_t i = 0; control->targets && i < count; i++)
        control->targets[i] = masked && i % 7 != 0 ? -1
            : control->tokens[(i + !masked) % count];
}

static void draw_inputs(Draws *draws, const Step *step)
{
    const Program *program = draws->rank->program;
    const Control *control = &draws->rank->control;
    int64_t types = program->token_types;
    draws->row = step->sequence;
    draw_ids(draws, control->tokens, program->vocab);
    draw_ids(draws, control->source, program->vocab);
    draw_ids(draws, control->types, types > 0 ? types : 1);
    set_targets(draws, control);
    draws->row = 1;
    fill_ids(draws, control->lengths, (int32_t)step->sequence);
    fill_ids(draws, control->source_lengths, (int32_t)step->sequence);
    draw_ids(draws, control->labels, label_values(program));
    draw_reals(draws, control->reference);
    draws->row = program->nodes * program->nodes;
    draw_ids(draws, control->edges, 2);
    draws->row = program->nodes * program->node_features;
    draw_reals(draws, control->nodes);
    draws->row = program->channels * program->image_size * program->image_size;
    draw_reals(draws, control->images);
}

/* Random tokens, images, labels …; no data is read. */
static void draw_batch(Rank *rank, const Step *step)
{
    int64_t first = world_batch(rank->world) * step->batch;
    Draws draws = { .rank = rank, .stream = draw_stream("bench"),
                    .first = first, .rows = step->batch };
    rank_select(rank, step);
    rank->control.first = first;
    draw_inputs(&draws, step);
}

/* A learning rate so small that nothing diverges, however many steps. */
static void set_control(Rank *rank, int64_t step)
{
    Control *control = &rank->control;
    control->dropout = 1;
    control->step = (int32_t)step;
    control->seed = 0;
    control->lr = 1e-6f;
    control->beta1 = 0.9f;
    control->beta2 = 0.95f;
    control->rest1 = 0.1f;
    control->rest2 = 0.05f;
    control->correction1 = control->correction2 = 1;
    control->epsilon = 1e-8f;
    control->decay = 0;
    control->momentum = 0.9f;
    control->clip = 1;
    control->smoothing = 0;
    control->sharpness = 1;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The slowest rank's time; all begin together. */
static bool time_step(Rank *rank, const Step *step, int64_t number,
                      double *taken, Error *error)
{
    draw_batch(rank, step);
    set_control(rank, number);
    if (!world_meet(rank->world, "begin a step", error))
        return false;
    double begun = clock_seconds();
    rank_run(rank, step);
    *taken = clock_seconds() - begun;
    return world_largest(rank->world, taken, error);
}

/* All of a process whose memory is its own; of one that maps others' memory
 * what is its own: what it reads there is not. */
static bool measure_memory(Rank *rank, Times *times, Error *error)
{
    double bytes = (double)(private_memory() + rank->plan.total_bytes);
    times->memory = peak_memory();
    if (!rank->world)
        return true;
    if (!world_shares_memory(rank->world))
        bytes = (double)peak_memory();
    if (!world_largest(rank->world, &bytes, error))
        return false;
    times->memory = (int64_t)bytes;
    return true;
}

static bool time_steps(Rank *rank, const Step *step, Times *times,
                       Error *error)
{
    double *seconds = calloc((size_t)times->steps, sizeof *seconds);
    if (!seconds)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    bool good = true;
    for (int64_t i = -WARM_UP; good && i < times->steps; i++) {
        double taken;
        good = time_step(rank, step, i + WARM_UP + 1, &taken, error);
        if (good && i >= 0)
            seconds[i] = taken;
    }
    qsort(seconds, (size_t)times->steps, sizeof *seconds, compare_seconds);
    int64_t middle = times->steps / 2;
    times->least = seconds[0];
    times->median = times->steps % 2 ? seconds[middle]
        : (seconds[middle - 1] + seconds[middle]) / 2;
    free(seconds);
    return good && measure_memory(rank, times, error);
}

/* More steps, whose own time is not reported: notes cost some of it. The leader
 * looks at itself, as long as it says, and the others keep it company. */
static bool profile_steps(Rank *rank, const Step *step, Times *times,
                          Error *error)
{
    Profile *profile = world_leads(rank->world)
        ? profile_begin(rank->team, &times->no_kernels) : NULL;
    bool good, goes_on = profile != NULL;
    double until = clock_seconds() + PROFILE_SECONDS;
    int64_t number = 1;
    while ((good = world_share(rank->world, &goes_on, sizeof goes_on,
                               "profile", error)) && goes_on) {
        draw_batch(rank, step);
        set_control(rank, number++);
        if (profile)
            profile_take(profile, true);
        rank_run(rank, step);
        if (profile)
            profile_take(profile, false);
        goes_on = clock_seconds() < until;
    }
    if (profile)
        times->kernel_count = profile_end(profile, &times->kernels,
                                          &times->no_kernels);
    return good;
}

static void put_number(JsonWriter *json, const char *key, double value)
{
    json_key(json, key);
    json_put_short(json, value);
}

static void put_kernels(JsonWriter *json, const Times *times)
{
    json_key(json, "kernels");
    json_open(json, '[');
    for (int i = 0; i < times->kernel_count; i++) {
        const ProfileRow *row = &times->kernels[i];
        json_open(json, '{');
        json_key(json, "name");
        json_put_text(json, row->name);
        put_number(json, "share", row->share);
        put_number(json, "ms_per_step", 1e3 * times->median * row->share);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* Sequences of a step, over all ranks. */
static int64_t whole_batch(const Rank *rank, const Step *step)
{
    return step->batch * world_batches(rank->world);
}

static void put_figures(JsonWriter *json, const Rank *rank, const Step *step,
                        const Times *times)
{
    double tokens = (double)(whole_batch(rank, step) * step->sequence);
    put_number(json, "format", 1);
    json_key(json, "name");
    json_put_text(json, rank->program->name);
    put_number(json, "batch", (double)whole_batch(rank, step));
    put_number(json, "sequence", (double)step->sequence);
    put_number(json, "ranks", world_ranks(rank->world));
    put_number(json, "threads", rank->plan.threads);
    put_number(json, "steps", (double)times->steps);
    put_number(json, "ms_per_step", 1e3 * times->median);
    put_number(json, "ms_per_step_min", 1e3 * times->least);
    put_number(json, "tokens_per_s", tokens / times->median);
    json_key(json, "flops_per_step");
    json_put_number(json, step->flops);
    json_key(json, "flops_per_s");
    json_put_number(json, step->flops / times->median);
    json_key(json, "peak_flops_per_s");
    json_put_number(json, times->peak);
    put_number(json, "percent_of_peak", times->peak > 0
        ? 100 * step->flops / times->median / times->peak : 0);
    json_key(json, "peak_memory_bytes");
    json_put_integer(json, times->memory);
    json_key(json, "planned_memory_bytes");
    json_put_integer(json, rank->plan.total_bytes);
}

/* The JSON's length is known when it has been written: to nowhere first. */
static bool print_json(const Rank *rank, const Step *step, const Times *times,
                       Error *error)
{
    char *text = NULL;
    uint64_t room = 0;
    for (int turn = 0; turn < 2; turn++) {
        JsonWriter json = text ? json_to_buffer(text, room) : json_to_nowhere();
        json.lines = true;
        json_open(&json, '{');
        put_figures(&json, rank, step, times);
        put_kernels(&json, times);
        json_close(&json, '}');
        room = json.length + 1;
        if (!text && !(text = malloc(room)))
            return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    }
    puts(text);
    free(text);
    if (times->kernel_count == 0)
        fprintf(stderr, "note: no kernels: %s\n", times->no_kernels.text);
    return true;
}

/* Names, shares and milliseconds; the light kernels together. */
static void print_kernels(const Times *times)
{
    if (times->kernel_count == 0) {
        printf("no table of kernels: %s\n", times->no_kernels.text);
        return;
    }
    int width = 20, i = 0;
    double light = 0, ms = 1e3 * times->median;
    for (; i < times->kernel_count; i++) {
        const ProfileRow *row = &times->kernels[i];
        if (row->share < LEAST_SHARE)
            break;
        int length = (int)strlen(row->name);
        width = length > width ? length : width;
    }
    int shown = i;
    for (; i < times->kernel_count; i++)
        light += times->kernels[i].share;
    printf("\n%-*s  %% of time    ms/step\n", width, "kernel");
    for (i = 0; i < shown; i++)
        printf("%-*s  %9.1f  %9.3f\n", width, times->kernels[i].name,
               100 * times->kernels[i].share, ms * times->kernels[i].share);
    if (light > 0)
        printf("%-*s  %9.1f  %9.3f\n", width, "(lighter ones)", 100 * light,
               ms * light);
}

static void print_table(const Rank *rank, const Step *step, const Times *times)
{
    double tokens = (double)(whole_batch(rank, step) * step->sequence);
    double rate = step->flops / times->median;
    char plan[WORLD_TEXT];
    world_text(rank->program, rank->plan.threads, plan);
    if (!rank->world)
        snprintf(plan, sizeof plan, "%d threads", rank->plan.threads);
    printf("%s, batch %lld x %lld tokens, %s, %lld steps\n",
           rank->program->name, (long long)whole_batch(rank, step),
           (long long)step->sequence, plan, (long long)times->steps);
    printf("ms/step     %.3f median, %.3f least\n", 1e3 * times->median,
           1e3 * times->least);
    printf("tokens/s    %.0f\n", tokens / times->median);
    printf("GFLOP/s     %.1f", rate * 1e-9);
    if (times->peak > 0)
        printf(", %.1f%% of this machine's peak of %.1f",
               100 * rate / times->peak, times->peak * 1e-9);
    printf("\nmemory      %.1f MiB at most, %.1f MiB planned%s\n",
           (double)times->memory / (1 << 20),
           (double)rank->plan.total_bytes / (1 << 20),
           rank->world ? ", a rank" : "");
    print_kernels(times);
}

/* Everything but printing it. */
static bool measure(Rank *rank, const Step *step, Times *times, Error *error)
{
    WeightList list;
    bool good = weights_list(rank, &list, error);
    if (good) {
        tables_compute(rank);
        weights_draw(rank, &list, 0);
        good = world_meet(rank->world, "begin", error);
    }
    if (good) {
        times->peak = cpu_peak(rank->team);
        good = world_power(rank->world, &times->peak, error)
            && time_steps(rank, step, times, error)
            && profile_steps(rank, step, times, error);
    }
    free(list.at);
    return good;
}

int command_bench(const Program *program, const Options *options, Error *error)
{
    Rank rank;
    const Step *step = program_step(program, "train");
    Times times = { .steps = options->steps > 0 ? options->steps
                                                : DEFAULT_STEPS };
    World *world = options->world;
    if (!step)
        return error_set(error, ERROR_USAGE, "this program cannot train"),
               error->status;
    const StepSet set = { { step }, 1 };
    int threads = threads_of(options, world_ranks(world));
    if (!rank_open(&rank, program, &set, threads, world, error))
        return error->status;
    bool good = measure(&rank, step, &times, error);
    if (good && world_leads(world)) {
        if (options->json)
            good = print_json(&rank, step, &times, error);
        else
            print_table(&rank, step, &times);
    }
    free(times.kernels);
    rank_close(&rank);
    return good ? 0 : error->status;
}
