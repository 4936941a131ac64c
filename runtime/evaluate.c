/* evaluate.c: the loss on data that is not trained on, for `eval` and, now
 * and then, for `train` (see commands.h). Losses of windows are summed in
 * f64, a call after the other.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "corpus.h"
#include "elementary.h"
#include "stop.h"
#include <stdio.h>

/* Fills rows with windows w, w+1 …; rows past `last` are padding, unscored. */
static bool fill_batch(Rank *rank, const Step *step, const DataRange *range,
                       int64_t w, int64_t last, Error *error)
{
    Control *control = &rank->control;
    for (int64_t row = 0; row < step->batch; row++, w++) {
        int64_t at = row * step->sequence;
        /* A window past the data's end has no token, and no target. */
        int64_t window = w < last ? w : INT64_MAX / 2 / step->sequence;
        if (!data_eval_window(range, step->sequence, window,
                              control->tokens + at, control->targets + at,
                              control->lengths + row, error))
            return false;
    }
    return true;
}

bool evaluate(Rank *rank, const Step *step, const DataRange *range,
              int64_t batches, Evaluation *out, Error *error)
{
    int64_t windows = data_eval_windows(range, step->sequence);
    int64_t batch = rank->program->batch;
    if (batches > 0 && batches <= windows / batch)
        windows = batches * batch;
    double total = 0;
    *out = (Evaluation){0};
    rank_select(rank, step);
    rank->control.dropout = 0;
    rank->control.smoothing = 0;
    rank->control.sharpness = 1;
    for (int64_t w = 0; w < windows; w += step->batch) {
        if (stop_signal()) {
            out->abandoned = true;
            return true;
        }
        if (!fill_batch(rank, step, range, w, windows, error))
            return false;
        rank_run(rank, step);
        total += rank->control.loss;
        out->scored += rank->control.scored;
    }
    out->loss = out->scored > 0 ? total / (double)out->scored : 0;
    return true;
}

/* Opens what --data names, all of it, or else the spec's held-out part. */
static bool open_corpus(Corpus *corpus, const Program *program,
                        const Options *options, Error *error)
{
    Settings settings;
    bool good = settings_read(&settings, program, &options->sets, error);
    if (good && options->data)
        good = corpus_open_whole(corpus, program, &settings, options->data,
                                 error);
    else if (good)
        good = corpus_open(corpus, program, &settings, NULL, error);
    settings_free(&settings);
    return good;
}

static bool evaluate_corpus(const Corpus *corpus, const Program *program,
                            const Options *options, Evaluation *result,
                            Error *error)
{
    Rank rank;
    const Step *step = program_step(program, "eval");
    if (!step)
        return error_set(error, ERROR_USAGE, "this program has no eval step");
    if (corpus->eval.count < 2)
        return error_set(error, ERROR_INPUT, "there is nothing to evaluate on: "
                         "%s", options->data ? "the data has fewer than 2 "
                         "tokens" : "fewer than 2 tokens are held out; give "
                         "--data");
    if (!open_with_weights(&rank, program, step, options, error))
        return false;
    bool good = evaluate(&rank, step, &corpus->eval, options->steps, result,
                         error);
    rank_close(&rank);
    return good;
}

int command_eval(const Program *program, const Options *options, Error *error)
{
    Corpus corpus;
    Evaluation result;
    if (!options->weights) {
        error_set(error, ERROR_USAGE, "eval needs --weights FILE|DIR");
        return error->status;
    }
    if (!open_corpus(&corpus, program, options, error))
        return error->status;
    bool good = evaluate_corpus(&corpus, program, options, &result, error);
    bool bytes = corpus_is_bytes(&corpus.eval);
    corpus_close(&corpus);
    if (!good)
        return error->status;
    printf("loss %.9g\nperplexity %.9g\n", result.loss, f64_exp(result.loss));
    if (bytes)
        printf("bits per byte %.9g\n", result.loss / f64_log(2));
    printf("tokens %lld\n", (long long)result.scored);
    return 0;
}
