/* commands.h: what `BIN COMMAND` does, a function a command. Each returns an
 * exit status; where that is not 0 the error's text, if it has one, is for
 * the user.
 * SPDX-License-Identifier: 0BSD */
#ifndef COMMANDS_H
#define COMMANDS_H
#include "data.h"
#include "options.h"
#include "rank.h"

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

/* The threads that were asked for, or one a core. */
int threads_of(const Options *options);

/* Opens a rank for one step with the weights of --weights and the tables. */
bool open_with_weights(Rank *rank, const Program *program, const Step *step,
                       const Options *options, Error *error);

/* ---- evaluation (evaluate.c) -------------------------------------------- */

typedef struct Evaluation {
    double loss;            /* mean over scored positions, plain nll */
    int64_t scored;
    bool abandoned;         /* a signal came: the rest means nothing */
} Evaluation;

/* Runs `step` over the range's first windows: all of them, or at most
 * batches · program->batch where batches > 0. The rank's control block is left
 * selected for `step`. */
bool evaluate(Rank *rank, const Step *step, const DataRange *range,
              int64_t batches, Evaluation *out, Error *error);
#endif
