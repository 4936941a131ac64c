/* commands.h: what `BIN COMMAND` does, a function a command. Each returns an
 * exit status; where that is not 0 the error's text, if it has one, is for
 * the user.
 * SPDX-License-Identifier: 0BSD */
#ifndef COMMANDS_H
#define COMMANDS_H
#include "corpus.h"
#include "options.h"
#include "rank.h"
#include "reference.h"

enum { EXIT_DIVERGED = 5, EXIT_RESUME = 75 };

int command_info(const Program *program, const Options *options, Error *error);
int command_train(const Program *program, const Options *options, Error *error);
int command_eval(const Program *program, const Options *options, Error *error);
int command_generate(const Program *program, const Options *options,
                     Error *error);
int command_forward(const Program *program, const Options *options,
                    Error *error);
int command_grad(const Program *program, const Options *options, Error *error);
int command_bench(const Program *program, const Options *options, Error *error);
int command_predict(const Program *program, const Options *options,
                    Error *error);
int command_score(const Program *program, const Options *options, Error *error);

/* The threads that were asked for, or one a core: of the share of one of so
 * many ranks. */
int threads_of(const Options *options, int ranks);

/* Opens a rank for a step of that name and those that go with it, with the
 * weights of --weights, the tables, and what is to be prepared. */
bool open_with_weights(Rank *rank, const Program *program, const char *name,
                       const Options *options, Error *error);

/* The same weights into an open rank, from FILE|DIR. */
bool load_weights(Rank *rank, const char *from, Error *error);

/* Opens --data, all of it, for evaluation or, `unlabelled`, for predictions.
 * Labels have the names that the run knows whose weights are used. */
bool open_source(Corpus *corpus, const Program *program,
                 const Settings *settings, const Options *options,
                 bool unlabelled, Error *error);

/* ---- evaluation (evaluate.c) -------------------------------------------- */

typedef struct Evaluation {
    double loss;            /* see below */
    int64_t scored, correct;        /* positions */
    int64_t label_scored, label_correct;    /* labels; pairs are scored only */
    double accuracy;        /* -1: this objective has none */
    bool abandoned;         /* a signal came: the rest means nothing */
} Evaluation;

/* What there is to evaluate with and on. The reference is that of the corpus's
 * evaluation part, NULL where the objective needs none or the data has it. */
typedef struct Examination {
    Rank *rank;
    const Step *step;
    Corpus *corpus;
    const Reference *reference;
} Examination;

/* Runs the step over the first examples that the corpus has for evaluation:
 * all of them, or at most batches · program->batch where batches > 0. The loss
 * is the mean over scored positions, plain nll, plus the mean over labels; of a
 * preference the mean over pairs alone. Accuracy is that of labels (classify)
 * or of masked tokens. The rank's control block is left selected for the step.
 */
bool evaluate(const Examination *exam, int64_t batches, Evaluation *out,
              Error *error);
#endif
