/* train.c: `train` (docs/contract.md, sections 1, 4 and 6). Read from the
 * bottom: command_train opens what a run needs, each thing checked before the
 * next, and `run` is the loop: a step, its line, an evaluation, a checkpoint.
 * Whatever the run depends on is in Training.state, the settings and the
 * data, so that a run that is killed and resumed does exactly what it would
 * have done.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "commands.h"
#include "cpu.h"
#include "elementary.h"
#include "inputs.h"
#include "log.h"
#include "places.h"
#include "progress.h"
#include "record.h"
#include "schedule.h"
#include "stop.h"
#include "trace.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SKIPPED_IN_ROW = 20 };

typedef struct Training {
    const Program *program;
    const Options *options;
    Settings settings;
    Schedule schedule;
    Corpus corpus;
    Reference train_reference, eval_reference;
    bool referenced;            /* they are needed, and there */
    const Step *step, *eval;    /* eval NULL: nothing to evaluate on */
    Store store;
    Checkpoint from;            /* where it was resumed, if `resumed` */
    bool resumed;
    Rank rank;
    WeightList weights, own;    /* all, and those of the rank's stage */
    Log log;
    Record record;
    Trace *trace;               /* NULL: nothing is traced */
    Progress progress;
    RunState state;
    int64_t first, last;        /* the steps to begin and to end after */
    int stop;                   /* the signal that asks all ranks to stop */
    char seed_text[32];         /* of --seed */
} Training;

/* ---- a step ------------------------------------------------------------- */

static World *world_of(const Training *t)
{
    return t->options->world;
}

/* Whether this rank is the one that writes and speaks. */
static bool leads(const Training *t)
{
    return world_leads(world_of(t));
}

/* The next step's examples that are this rank's. */
static bool fill_batch(Training *t, Error *error)
{
    const TraceNote note = { .kind = TRACE_READ,
                             .begin = trace_time(t->trace) };
    const Control *control = &t->rank.control;
    int64_t step = t->state.step + 1;
    int64_t count = step_examples(t->program, t->step);
    int64_t first = world_batch(world_of(t)) * count;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = first + i;
        Example example = example_at(t->program, control, t->step, i);
        if (!corpus_train_example(&t->corpus, step, row, &example, error))
            return false;
        if (t->referenced)
            reference_copy(&t->train_reference,
                           corpus_train_index(&t->corpus, step, row),
                           example.reference);
    }
    trace_note(t->trace, note);
    return true;
}

/* 1/(1 - beta^updates): Adam's correction of a moment that began at 0. */
static float bias_correction(double beta, int64_t updates)
{
    return (float)(1 / (1 - f64_pow(beta, (double)updates)));
}

/* The step's scalars, each computed in f64 and rounded once. */
static void set_control(Training *t, double lr)
{
    const Settings *settings = &t->settings;
    const double *betas = settings->betas.at;
    Control *control = &t->rank.control;
    int64_t updates = t->state.updates + 1;
    rank_select(&t->rank, t->step);
    control->first = world_batch(world_of(t)) * t->step->batch;
    control->dropout = 1;
    control->step = (int32_t)(t->state.step + 1);
    control->seed = (uint64_t)settings->seed;
    control->lr = (float)lr;
    control->beta1 = (float)betas[0];
    control->beta2 = (float)betas[1];
    control->rest1 = (float)(1 - betas[0]);
    control->rest2 = (float)(1 - betas[1]);
    control->correction1 = bias_correction(betas[0], updates);
    control->correction2 = bias_correction(betas[1], updates);
    control->epsilon = (float)settings->epsilon;
    control->decay = (float)settings->weight_decay;
    control->momentum = (float)settings->momentum;
    control->clip = (float)settings->clip;
    control->smoothing = (float)settings->label_smoothing;
    control->sharpness = (float)(1 - settings->label_smoothing);
    control->loss = control->grad_norm = control->aux_loss = 0;
    control->applied = 0;
}

static bool run_step(Training *t, StepRecord *record, Error *error)
{
    double begun = clock_seconds();
    double lr = schedule_rate(&t->schedule, t->state.step + 1);
    trace_begin_step(t->trace, t->state.step + 1);
    set_control(t, lr);
    if (!fill_batch(t, error))
        return false;
    world_count(world_of(t), true);
    rank_run(&t->rank, t->step);
    world_count(world_of(t), false);
    trace_end_step(t->trace);
    const Control *control = &t->rank.control;
    bool skipped = !control->applied;
    t->state.step++;
    t->state.updates += !skipped;
    t->state.skipped += skipped;
    t->state.skipped_in_row = skipped ? t->state.skipped_in_row + 1 : 0;
    *record = (StepRecord){
        .step = t->state.step,
        .loss = (float)control->loss,
        .lr = lr,
        .grad_norm = control->grad_norm,
        .tokens = t->step->batch * t->step->sequence
            * world_batches(world_of(t)),
        .seconds = clock_seconds() - begun,
        .skipped = skipped,
    };
    return true;
}

static bool has_diverged(Training *t, Error *error)
{
    if (t->state.skipped_in_row < MOST_SKIPPED_IN_ROW)
        return false;
    if (leads(t))
        record_write(&t->record, &t->state, error);
    /* All have seen it, and one would end the others too early. */
    world_meet(world_of(t), "give up", error);
    error_set(error, EXIT_DIVERGED, "training diverged: the loss or the "
              "gradient's norm was not finite in %d steps in a row, the last "
              "of them %lld; a lower train.optimizer.lr or more steps of "
              "train.schedule.warmup may help", MOST_SKIPPED_IN_ROW,
              (long long)t->state.step);
    return true;
}

/* ---- between steps ------------------------------------------------------ */

/* Evaluates after the present step; a signal leaves the evaluation due. */
static bool run_evaluation(Training *t, Error *error)
{
    Evaluation result;
    const Examination exam = {
        .rank = &t->rank, .step = t->eval, .corpus = &t->corpus,
        .reference = t->referenced ? &t->eval_reference : NULL,
    };
    const TraceNote note = { .kind = TRACE_EVALUATE,
                             .begin = trace_time(t->trace) };
    t->state.evaluation_due = true;
    if (!evaluate(&exam, t->settings.eval_steps, &result, error))
        return false;
    trace_note(t->trace, note);
    if (result.abandoned)
        return true;
    t->state.evaluation_due = false;
    if (!leads(t))
        return true;
    const EvaluationRecord record = {
        .step = t->state.step, .loss = (float)result.loss,
        .accuracy = result.accuracy,
    };
    progress_evaluation(&t->progress, &record);
    return log_evaluation(&t->log, &record, error);
}

/* A checkpoint, then the record of it, then older ones go. */
static bool save(Training *t, Error *error)
{
    char hash[SHA256_TEXT];
    if (!leads(t)) {
        checkpoint_lend(&t->store);
        return true;
    }
    if (!log_sync(&t->log, error)
        || !checkpoint_save(&t->store, &t->state, hash, error)
        || !record_mark(&t->record, t->state.step, hash, error)
        || !record_write(&t->record, &t->state, error)
        || !store_prune(&t->store, t->settings.checkpoint_keep, error))
        return false;
    progress_note(&t->progress, "saved %s/step-%lld", t->store.directory,
                  (long long)t->state.step);
    return true;
}

static int stopped(Training *t)
{
    progress_close(&t->progress);
    fprintf(stderr, "stopped by %s after step %lld; go on with --resume\n",
            t->stop == SIGINT ? "SIGINT" : "SIGTERM",
            (long long)t->state.step);
    return EXIT_RESUME;
}

static bool show_step(Training *t, const StepRecord *record, Error *error)
{
    if (!leads(t))
        return true;
    if (!log_step(&t->log, record, error))
        return false;
    progress_step(&t->progress, record);
    return true;
}

/* Whether ranks have different parts of the run's state; over messages all wait
 * for the leader to save, so that a wait in a step is never for that. */
static bool lies_apart(const Training *t)
{
    return t->program->shard > 0 || t->program->stages > 1
        || !world_shares_memory(world_of(t));
}

/* From one step to the next. */
static bool advance(Training *t, Error *error)
{
    StepRecord record;
    if (!run_step(t, &record, error) || !show_step(t, &record, error))
        return false;
    if (has_diverged(t, error))
        return false;
    bool ends = t->state.step == t->last;
    bool evaluates = ends || t->state.step % t->settings.eval_every == 0;
    if (t->eval && evaluates && !run_evaluation(t, error))
        return false;
    if (!world_stop(world_of(t), &t->stop, error))
        return false;
    bool saves = ends || t->stop
        || t->state.step % t->settings.checkpoint_every == 0;
    if (!saves)
        return true;
    const TraceNote note = { .kind = TRACE_SAVE,
                             .begin = trace_time(t->trace) };
    /* What the leader writes lies in others' memory, too. */
    bool good = save(t, error)
        && (!lies_apart(t) || world_meet(world_of(t), "save", error));
    trace_note(t->trace, note);
    return good;
}

/* Whether an evaluation that a signal cut short is still to be made: the log
 * says so. */
static bool share_due(Training *t, bool *due, Error *error)
{
    *due = t->resumed && t->state.evaluation_due && t->eval
        && t->log.evaluated < t->state.step;
    t->state.evaluation_due = false;
    return world_share(world_of(t), due, sizeof *due, "begin", error);
}

/* What ranks did when, where that was asked for. */
static bool write_trace(Training *t, Error *error)
{
    TraceSpan span;
    const char *path = t->options->trace;
    World *world = world_of(t);
    if (!t->trace)
        return true;
    const Program *program = world ? world_whole(world) : t->program;
    if (!trace_write(t->trace, world, program, path, &span, error))
        return false;
    if (leads(t))
        progress_note(&t->progress, "wrote %s: steps %lld to %lld", path,
                      (long long)span.first, (long long)span.last);
    return true;
}

static int run(Training *t, Error *error)
{
    bool due;
    if (!share_due(t, &due, error) || (due && !run_evaluation(t, error))
        || !world_stop(world_of(t), &t->stop, error))
        return error->status;
    if (t->stop)
        return stopped(t);
    while (t->state.step < t->last) {
        if (!advance(t, error))
            return error->status;
        bool done = t->state.step == t->last && !t->state.evaluation_due;
        if (t->stop && !done)
            return write_trace(t, error) ? stopped(t) : error->status;
    }
    bool good = write_trace(t, error);
    progress_close(&t->progress);
    return good && world_check(world_of(t), t->state.step - t->first, error)
        ? 0 : error->status;
}

/* ---- beginning ---------------------------------------------------------- */

/* --seed and --data stand for keys of the spec. */
static void read_shorthands(Training *t)
{
    const Options *options = t->options;
    if (options->seed >= 0) {
        t->settings.seed = options->seed;
        snprintf(t->seed_text, sizeof t->seed_text, "%lld",
                 (long long)options->seed);
        settings_note(&t->settings, t->program, "train.seed", t->seed_text);
    }
    if (options->data)
        settings_note(&t->settings, t->program, "train.data.path",
                      options->data);
}

static bool read_options(Training *t, Error *error)
{
    const Options *options = t->options;
    if (options->init_partial && !options->init)
        return error_set(error, ERROR_USAGE, "--init-partial says how --init "
                         "takes weights: give --init too");
    t->step = program_step(t->program, "train");
    if (!t->step)
        return error_set(error, ERROR_USAGE, "this program cannot train");
    if (!settings_read(&t->settings, t->program, &options->sets, error))
        return false;
    read_shorthands(t);
    t->schedule = (Schedule){
        .lr = t->settings.lr, .min_lr = t->settings.min_lr,
        .warmup = t->settings.warmup, .decay = t->settings.decay,
        .steps = t->settings.steps,
    };
    t->last = options->steps > 0 ? options->steps : t->settings.steps;
    return schedule_named(t->settings.schedule, &t->schedule.type)
        || error_set(error, ERROR_ENVIRONMENT, "internal error: no schedule is "
                     "called %s", t->settings.schedule);
}

static bool open_data(Training *t, Error *error)
{
    if (!corpus_open(&t->corpus, t->program, &t->settings, t->options->data,
                     error))
        return false;
    t->eval = program_step(t->program, "eval");
    if (corpus_eval_count(&t->corpus) == 0)
        t->eval = NULL;
    return true;
}

/* Checkpoints newer than the one that was found are damaged: their names are
 * needed again. */
static bool set_aside_damaged(Training *t, Error *error)
{
    StepList steps;
    bool good = store_steps(t->store.directory, &steps, error);
    for (int i = 0; good && i < steps.count
                    && steps.at[i] > t->from.state.step; i++)
        good = store_set_aside(&t->store, steps.at[i], "damaged", error);
    return good;
}

static bool open_directory(Training *t, Error *error)
{
    if (!leads(t))
        return true;
    const char *trace = t->options->trace;      /* in the directory, perhaps */
    if (!store_lock(&t->store, error)
        || (trace && !trace_can_write(trace, error)))
        return false;
    const char *directory = t->store.directory;
    if (!t->options->resume)
        return !store_holds_run(&t->store)
            || error_set(error, ERROR_INPUT, "%s holds a run; --resume goes on "
                         "with it, --out names another directory", directory);
    switch (checkpoint_newest(directory, &t->from, error)) {
    case FOUND_ERROR:
        return false;
    case FOUND_ONE:
        t->resumed = true;
        t->state = t->from.state;
        return set_aside_damaged(t, error);
    case FOUND_NONE:
        fprintf(stderr, "%s has no checkpoint: starting afresh\n", directory);
        return true;
    }
    return true;
}

/* What the others are to know of the checkpoint that the leader has found. */
static bool share_beginning(Training *t, Error *error)
{
    struct { RunState state; bool resumed; } from = { t->state, t->resumed };
    if (!world_share(world_of(t), &from, sizeof from, "open the directory",
                     error))
        return false;
    t->state = from.state;
    t->first = from.state.step;
    t->resumed = from.resumed;
    if (!t->resumed || leads(t))
        return true;
    char name[64];
    t->from.state = from.state;
    snprintf(name, sizeof name, "step-%lld", (long long)from.state.step);
    return join_path(t->from.path, t->store.directory, name, error);
}

static bool begin_weights(Training *t, Error *error)
{
    tables_compute(&t->rank);
    if (t->resumed)
        return checkpoint_load(&t->store, &t->from, error);
    weights_draw(&t->rank, &t->own, (uint64_t)t->settings.seed);
    if (!t->options->init)
        return true;
    char path[FILES_PATH];
    return weights_path(t->options->init, path, error)
        && weights_load(&t->rank, path, t->options->init_partial, error);
}

/* ---- the reference of preferences --------------------------------------- */

static void hash_weights(const Training *t, char digest[SHA256_TEXT])
{
    Sha256 sum;
    sha256_start(&sum);
    for (int i = 0; i < t->weights.count; i++) {
        const Weight *weight = &t->weights.at[i];
        for (int64_t from = 0, count; from < weight->elements; from += count) {
            const float *at = place_fetch(&t->rank, weight, PLACE_WEIGHT, from,
                                          &count);
            if (at)
                sha256_add(&sum, at, 4 * (size_t)count);
        }
    }
    sha256_finish_text(&sum, digest);
}

static bool score_reference(Training *t, const ReferenceFile *file,
                            Error *error)
{
    Scoring scoring = { .rank = &t->rank, .corpus = &t->corpus,
                        .part = PART_TRAIN,
                        .quiet = t->options->quiet || !leads(t) };
    if (!t->options->init)
        return error_set(error, ERROR_USAGE, "preference training compares "
                         "with a frozen reference: give its weights by --init "
                         "FILE|DIR, or data with a tensor 'reference'");
    if (!reference_score(&t->train_reference, &scoring, error))
        return false;
    scoring.part = PART_EVAL;
    return reference_score(&t->eval_reference, &scoring, error)
        && (!leads(t) || reference_write(file, &t->train_reference,
                                         &t->eval_reference, error));
}

/* What the leader has not found it computes, or all do. */
static bool compute_reference(Training *t, const ReferenceFile *file,
                              bool found, Error *error)
{
    bool together = world_of(t) && reference_together(t->program);
    if (together && !world_share(world_of(t), &found, sizeof found,
                                 "look for the reference", error))
        return false;
    bool computes = !found && (together || leads(t));
    return !computes || score_reference(t, file, error);
}

/* The leader has it: who has not reads it. */
static bool share_reference(Training *t, ReferenceFile *file, Error *error)
{
    return world_share(world_of(t), file->data_hash, sizeof file->data_hash,
                       "score the reference", error)
        && (t->train_reference.sums
            || reference_read(file, &t->train_reference, &t->eval_reference,
                              error));
}

/* Reads what an earlier start computed; a new run computes what is not there or
 * does not fit. */
static bool open_reference(Training *t, Error *error)
{
    ReferenceFile file = { .directory = t->store.directory,
                           .model_hash = t->program->model_hash };
    if (!reference_wanted(t->program, &t->corpus))
        return true;
    t->referenced = true;
    t->train_reference.count = corpus_train_count(&t->corpus);
    t->eval_reference.count = corpus_eval_count(&t->corpus);
    if (!t->resumed && (leads(t) || !world_shares_memory(world_of(t))))
        hash_weights(t, file.weights_hash);
    bool found = false;
    Error ignored;
    if (leads(t)) {
        record_data_hash(&t->record, file.data_hash);
        found = reference_read(&file, &t->train_reference, &t->eval_reference,
                               t->resumed ? error : &ignored);
        if (t->resumed && !found)
            return false;
    } else {
        file.weights_hash[0] = '\0';    /* it has seen its own ones alone */
    }
    return compute_reference(t, &file, found, error)
        && share_reference(t, &file, error);
}

/* ---- the whole ---------------------------------------------------------- */

/* Without held-out data there is nothing to run but the training step. */
static StepSet steps_of_run(const Training *t)
{
    StepSet set = steps_with(t->program, "train");
    if (!t->eval && !is_preference(t->program))
        set.count = 1;
    return set;
}

/* What the leader writes besides checkpoints. */
static bool open_log(Training *t, Error *error)
{
    return !leads(t)
        || (record_reserve(&t->record, (t->last - t->state.step)
                                       / t->settings.checkpoint_every + 2,
                           error)
            && log_open(&t->log, t->options->log, t->state.step, error)
            && record_write(&t->record, &t->state, error));
}

/* Where --trace asks for one: with all its memory. */
static bool open_trace(Training *t, Error *error)
{
    if (!t->options->trace)
        return true;
    World *world = world_of(t);
    t->trace = trace_new(t->program, error);
    if (!t->trace)
        return false;
    if (!world_is_here(world)) {
        if (!world_meet(world, "begin the trace", error))
            return false;
        trace_begin(t->trace);
    }
    team_set_trace(t->rank.team, t->trace);
    world_set_trace(world, t->trace);
    return true;
}

static bool open_all(Training *t, Error *error)
{
    World *world = world_of(t);
    int threads = threads_of(t->options, world_ranks(world));
    const StepSet set = steps_of_run(t);
    if (!share_beginning(t, error))
        return false;
    t->record = (Record){ .store = &t->store, .options = t->options,
                          .corpus = &t->corpus, .world = world,
                          .first = t->first, .threads = threads };
    return rank_open(&t->rank, t->program, &set, threads, world, error)
        && weights_list_all(&t->rank, &t->weights, error)
        && weights_list(&t->rank, &t->own, error)
        && store_bundles(&t->store, &t->rank, &t->weights, &t->own, error)
        && begin_weights(t, error)
        && world_meet(world, "begin the weights", error)
        && (!leads(t)
            || record_open(&t->record, t->resumed ? &t->from : NULL, error))
        && open_reference(t, error) && open_log(t, error)
        && open_trace(t, error);
}

/* The machine's peak, where a terminal shows it: of all ranks at once. */
static bool measure_peak(Training *t, double *peak, Error *error)
{
    bool wanted = t->progress.terminal;
    World *world = world_of(t);
    *peak = 0;
    if (!world_share(world, &wanted, sizeof wanted, "begin", error))
        return false;
    if (!wanted)
        return true;
    *peak = cpu_peak(t->rank.team);
    return world_power(world, peak, error);
}

static bool show_beginning(Training *t, Error *error)
{
    const Corpus *corpus = &t->corpus;
    int ranks = world_ranks(world_of(t)), threads = t->rank.plan.threads;
    char text[WORLD_TEXT], transport[WORLD_TEXT];
    progress_open(&t->progress, t->options->quiet, t->state.step + 1, t->last,
                  t->step->flops);
    /* mpirun gives a rank a terminal and what comes from there to a file. */
    if (!world_shares_memory(world_of(t)))
        t->progress.terminal = false;
    if (!measure_peak(t, &t->progress.peak, error))
        return false;
    progress_note(&t->progress, "%s: %lld parameters, %.1f MiB on %d threads; "
                  "%lld %s to train on, %lld held out", t->program->name,
                  (long long)t->program->parameters,
                  ranks * (double)t->rank.plan.total_bytes / (1 << 20),
                  ranks * threads, (long long)corpus->train.count,
                  corpus_unit(corpus), (long long)corpus->eval.count);
    world_text(t->program, threads, text);
    world_transport(world_of(t), transport);
    if (ranks > 1)
        progress_note(&t->progress, "%s%s%s", text, transport[0] ? "; " : "",
                      transport);
    if (t->resumed)
        progress_note(&t->progress, "resumed at step %lld of %lld",
                      (long long)t->state.step, (long long)t->last);
    return true;
}

static void close_all(Training *t)
{
    log_close(&t->log);
    record_close(&t->record);
    rank_close(&t->rank);
    world_set_trace(world_of(t), NULL);
    trace_free(t->trace);
    reference_free(&t->train_reference);
    reference_free(&t->eval_reference);
    free(t->weights.at);
    free(t->own.at);
}

/* Data and directory are open: the run itself. */
static int train_opened(Training *t, Error *error)
{
    int status;
    if (open_directory(t, error) && open_all(t, error)
        && show_beginning(t, error)) {
        status = run(t, error);
    } else {
        t->stop = stop_signal();
        status = error->status == EXIT_RESUME ? stopped(t) : error->status;
        /* The leader alone knows of it. */
        if (status == EXIT_RESUME && world_of(t))
            world_fail(world_of(t), status, "");
    }
    progress_close(&t->progress);
    close_all(t);
    return status;
}

int command_train(const Program *program, const Options *options, Error *error)
{
    char name[512];
    Training *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory"),
               error->status;
    snprintf(name, sizeof name, "%s-run", program->name);
    t->program = program;
    t->options = options;
    t->log.descriptor = -1;
    t->store = (Store){ .program = program, .settings = &t->settings,
                        .directory = options->out ? options->out : name,
                        .lock = -1 };
    if (!options->world)
        stop_on_signals();
    signal(SIGPIPE, SIG_IGN);
    int status;
    if (read_options(t, error) && open_data(t, error)) {
        status = train_opened(t, error);
        store_close(&t->store);
        corpus_close(&t->corpus);
    } else {
        status = error->status;
    }
    settings_free(&t->settings);
    free(t);
    return status;
}
