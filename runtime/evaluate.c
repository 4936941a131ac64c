/* evaluate.c: the loss on data that is not trained on, for `eval` and, now
 * and then, for `train` (see commands.h). Losses of examples are summed in
 * f64, a call after the other.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "elementary.h"
#include "inputs.h"
#include "weights.h"
#include <stdio.h>
#include <string.h>

/* ---- examples ----------------------------------------------------------- */

/* Fills the call with examples from `first` on; those from `last` on are
 * padding, unscored. */
static bool fill_batch(const Examination *exam, int64_t first, int64_t last,
                       Error *error)
{
    const Program *program = exam->rank->program;
    int64_t count = step_examples(program, exam->step);
    for (int64_t i = 0; i < count; i++) {
        Example example = example_at(program, &exam->rank->control,
                                     exam->step, i);
        /* An example past the last has no token, and no target. */
        int64_t index = first + i < last ? first + i : INT64_MAX;
        if (!corpus_eval_example(exam->corpus, index, &example, error))
            return false;
        if (exam->reference && example.reference)
            reference_copy(exam->reference, index, example.reference);
    }
    return true;
}

/* What one call has found. */
typedef struct Found {
    double loss, label_loss;
    int64_t scored, correct, label_scored, label_correct;
} Found;

static Found run_call(const Examination *exam)
{
    Control *control = &exam->rank->control;
    control->loss = control->label_loss = 0;
    control->scored = control->correct = 0;
    control->label_scored = control->label_correct = 0;
    control->step = 0;
    rank_run(exam->rank, exam->step);
    return (Found){
        control->loss, control->label_loss, control->scored, control->correct,
        control->label_scored, control->label_correct,
    };
}

static void add_found(Found *sum, const Found *found)
{
    sum->loss += found->loss;
    sum->label_loss += found->label_loss;
    sum->scored += found->scored;
    sum->correct += found->correct;
    sum->label_scored += found->label_scored;
    sum->label_correct += found->label_correct;
}

/* A call of every replica at once, from the examples at `first` on; the calls
 * are then added in their order, on every rank alike. What a pipeline has found
 * its last stage says. */
static bool run_round(const Examination *exam, int64_t first, int64_t count,
                      Found *sum, Error *error)
{
    World *world = exam->rank->world;
    const Program *program = exam->rank->program;
    int64_t each = step_examples(program, exam->step);
    int data = world_batches(world), last = world_stages(world) - 1;
    int64_t own = first + world_batch(world) * each;
    Found found = {0};
    /* replicas that share weights run together: one may have nothing */
    if (own < count || (world && (program->shard == SHARD_WEIGHTS
                                   || program_experts(program) > 1))) {
        if (!fill_batch(exam, own, count, error))
            return false;
        found = run_call(exam);
    }
    if (!world) {
        add_found(sum, &found);
        return true;
    }
    if (!world_exchange(world, &found, sizeof found, "add evaluations", error))
        return false;
    for (int i = 0; i < data && first + i * each < count; i++)
        add_found(sum, world_slot(world, world_rank_at(
                                             world, last,
                                             i * world_data(world) / data, 0)));
    return true;
}

static double fraction(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void conclude(const Program *program, const Found *sum, Evaluation *out)
{
    bool by_labels = is_classifier(program) || is_preference(program);
    out->scored = sum->scored;
    out->correct = sum->correct;
    out->label_scored = sum->label_scored;
    out->label_correct = sum->label_correct;
    if (out->scored > 0 && !by_labels)
        out->loss += sum->loss / (double)out->scored;
    if (out->label_scored > 0)
        out->loss += sum->label_loss / (double)out->label_scored;
    out->accuracy = is_classifier(program)
        ? fraction(out->label_correct, out->label_scored)
        : is_masked(program) ? fraction(out->correct, out->scored) : -1;
}

bool evaluate(const Examination *exam, int64_t batches, Evaluation *out,
              Error *error)
{
    Rank *rank = exam->rank;
    int64_t count = corpus_eval_count(exam->corpus);
    int64_t batch = rank->program->batch;
    if (batches > 0 && batches <= count / batch)
        count = batches * batch;
    Found sum = {0};
    *out = (Evaluation){0};
    rank_prepare(rank);
    rank_select(rank, exam->step);
    rank->control.dropout = 0;
    rank->control.smoothing = 0;
    rank->control.sharpness = 1;
    int64_t round = step_examples(rank->program, exam->step)
        * world_batches(rank->world);
    for (int64_t first = 0; first < count; first += round) {
        int signal;
        if (!world_stop(rank->world, &signal, error))
            return false;
        if (signal) {
            out->abandoned = true;
            return true;
        }
        if (!run_round(exam, first, count, &sum, error))
            return false;
    }
    conclude(rank->program, &sum, out);
    return true;
}

/* ---- the command -------------------------------------------------------- */

/* The reference's sums, under the weights of --reference; then those of
 * --weights are loaded. */
static bool score_reference(Rank *rank, Corpus *corpus, const Options *options,
                            Reference *reference, Error *error)
{
    const Scoring scoring = { .rank = rank, .corpus = corpus,
                              .part = PART_EVAL };
    return load_weights(rank, options->reference, error)
        && reference_score(reference, &scoring, error)
        && load_weights(rank, options->weights, error);
}

static bool evaluate_opened(Rank *rank, Corpus *corpus, const Options *options,
                            Evaluation *result, Error *error)
{
    const Program *program = rank->program;
    Reference reference = {0};
    Examination exam = { .rank = rank, .step = program_step(program, "eval"),
                         .corpus = corpus };
    bool good = true;
    if (reference_wanted(program, corpus)) {
        exam.reference = &reference;
        good = score_reference(rank, corpus, options, &reference, error);
    }
    good = good && evaluate(&exam, options->steps, result, error);
    reference_free(&reference);
    return good;
}

static bool nothing_there(const Corpus *corpus, const Options *options,
                          Error *error)
{
    bool tokens = strcmp(corpus_unit(corpus), "tokens") == 0;
    return error_set(error, ERROR_INPUT, "there is nothing to evaluate on: %s "
                     "%s%s", options->data ? "the data has" : "held out are",
                     tokens ? "fewer than 2 tokens" : "no examples",
                     options->data ? "" : "; give --data");
}

static bool evaluate_corpus(Corpus *corpus, const Program *program,
                            const Options *options, Evaluation *result,
                            Error *error)
{
    Rank rank;
    if (!program_step(program, "eval"))
        return error_set(error, ERROR_USAGE, "this program has no eval step");
    if (corpus_eval_count(corpus) == 0)
        return nothing_there(corpus, options, error);
    if (reference_wanted(program, corpus) && !options->reference)
        return error_set(error, ERROR_USAGE, "a preference is measured against "
                         "a reference: give --reference FILE|DIR, the weights "
                         "that training began with, or data with a tensor "
                         "'reference'");
    if (!open_with_weights(&rank, program, "eval", options, error))
        return false;
    bool good = evaluate_opened(&rank, corpus, options, result, error);
    rank_close(&rank);
    return good;
}

static void print_result(const Program *program, const Evaluation *result,
                         bool bytes)
{
    bool by_tokens = result->label_scored == 0 && !is_classifier(program)
        && !is_preference(program);
    printf("loss %.9g\n", result->loss);
    if (by_tokens)
        printf("perplexity %.9g\n", f64_exp(result->loss));
    if (by_tokens && bytes && !is_masked(program))
        printf("bits per byte %.9g\n", result->loss / f64_log(2));
    if (result->accuracy >= 0)
        printf("accuracy %.9g\n", result->accuracy);
    if (is_masked(program) && result->label_scored > 0)
        printf("next-sentence accuracy %.9g\n",
               fraction(result->label_correct, result->label_scored));
    if (is_preference(program))
        printf("pairs %lld\n", (long long)result->label_scored);
    else if (is_classifier(program))
        printf("examples %lld\n", (long long)result->label_scored);
    else
        printf("tokens %lld\n", (long long)result->scored);
}

/* Opens what --data names, all of it, or else the spec's held-out part. */
static bool open_corpus(Corpus *corpus, const Program *program,
                        const Settings *settings, const Options *options,
                        Error *error)
{
    if (options->data)
        return open_source(corpus, program, settings, options, false, error);
    return corpus_open(corpus, program, settings, NULL, error);
}

int command_eval(const Program *program, const Options *options, Error *error)
{
    Corpus corpus;
    Settings settings;
    Evaluation result;
    if (!options->weights) {
        error_set(error, ERROR_USAGE, "eval needs --weights FILE|DIR");
        return error->status;
    }
    bool good = settings_read(&settings, program, &options->sets, error)
        && open_corpus(&corpus, program, &settings, options, error);
    if (good) {
        good = evaluate_corpus(&corpus, program, options, &result, error);
        bool bytes = corpus_is_bytes(&corpus.eval);
        corpus_close(&corpus);
        if (good && world_leads(options->world))
            print_result(program, &result, bytes);
    }
    settings_free(&settings);
    return good ? 0 : error->status;
}
