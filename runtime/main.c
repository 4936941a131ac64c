/* main.c: where every program starts: it reads the command line, sees that the
 * processor will do, and runs the command (commands.h). The runtime's files, in
 * the order of a first reading:
 *
 *     program.def, program.h   what the generated code tells the runtime
 *     main, options, settings  the command line and the run-time keys
 *     rank, inputs, team, cpu, memory  what a step takes, threads, processor
 *     world, collectives, talk  several ranks: who they are, how they talk
 *     launch                   … forked, over shared memory
 *     join, mail, mpi          … started by mpirun, by messages
 *     weights, tables          parameters by name: drawn, computed, read
 *     train, evaluate, stop    the loop; log, progress, record: what it writes;
 *                              trace: what ranks did when
 *     reference                what preferences are compared with
 *     store, checkpoint, resume  a run's directory
 *     corpus, examples, data   what to train on: lines, parts, labels, rows,
 *                              special, masking, sentences; idx, gzip;
 *                              tensor_rows
 *     generate, decode, sample text; predict, score
 *     forward, grad, batch     audits; info
 *     bench, profile, symbols  how long a step takes, and where in it
 *     files, json, safetensors, hash, draw, elementary, schedule  the base
 *
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "checkpoint.h"
#include "commands.h"
#include "cpu.h"
#include "files.h"
#include "join.h"
#include "launch.h"
#include "record.h"
#include "world_make.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what commands share ------------------------------------------------ */

int threads_of(const Options *options, int ranks)
{
    if (options->threads > 0)
        return (int)options->threads;
    int cores = team_cores() / ranks;
    return cores < 1 ? 1 : cores < TEAM_MOST_THREADS ? cores
        : TEAM_MOST_THREADS;
}

bool load_weights(Rank *rank, const char *from, Error *error)
{
    char path[FILES_PATH];
    return weights_path(from, path, error)
        && weights_load(rank, path, false, error);
}

bool open_with_weights(Rank *rank, const Program *program, const char *name,
                       const Options *options, Error *error)
{
    char path[FILES_PATH];
    const StepSet set = steps_with(program, name);
    World *world = options->world;
    int threads = threads_of(options, world_ranks(world));
    if (!options->weights)
        return error_set(error, ERROR_USAGE, "%s needs --weights FILE|DIR",
                         command_name(options->command));
    if (!weights_path(options->weights, path, error)
        || !rank_open(rank, program, &set, threads, world, error))
        return false;
    if (!load_weights(rank, path, error)) {
        rank_close(rank);
        return false;
    }
    tables_compute(rank);
    rank_prepare(rank);
    rank_select(rank, set.at[0]);
    return true;
}

bool open_source(Corpus *corpus, const Program *program,
                 const Settings *settings, const Options *options,
                 bool unlabelled, Error *error)
{
    RunLabels labels;
    bool good = record_labels(&labels, program, options->weights, error);
    const CorpusSource source = { .path = options->data,
                                  .labels = &labels.names,
                                  .unlabelled = unlabelled };
    good = good && corpus_open_source(corpus, program, settings, &source,
                                      error);
    record_labels_free(&labels);
    return good;
}

/* ---- main --------------------------------------------------------------- */

static int run_command(const Program *program, const Options *options,
                       Error *error)
{
    switch (options->command) {
    case COMMAND_info:
        return command_info(program, options, error);
    case COMMAND_train:
        return command_train(program, options, error);
    case COMMAND_eval:
        return command_eval(program, options, error);
    case COMMAND_generate:
        return command_generate(program, options, error);
    case COMMAND_forward:
        return command_forward(program, options, error);
    case COMMAND_grad:
        return command_grad(program, options, error);
    case COMMAND_bench:
        return command_bench(program, options, error);
    case COMMAND_predict:
        return command_predict(program, options, error);
    case COMMAND_score:
        return command_score(program, options, error);
    case COMMAND_COUNT:
        break;
    }
    return ERROR_USAGE;         /* options_read lets no other pass */
}

/* What a rank of each stage maps for the step of that name. */
static Plan *plans_of(const Program *program, const char *step, int threads,
                      Error *error)
{
    int stages = program_stages(program);
    Plan *plans = calloc((size_t)stages, sizeof *plans);
    if (!plans)
        error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (int stage = 0; plans && stage < stages; stage++) {
        const Program part = program_of_stage(program, stage);
        const StepSet its = steps_with(&part, step);
        plans[stage] = rank_plan(&part, &its, threads);
    }
    return plans;
}

/* Forks the ranks, each of which comes back here with options->world set; the
 * launcher does when all have ended. */
static int forked(const Program *program, Options *options, const char *step,
                  Error *error)
{
    int threads = threads_of(options, program_ranks(program));
    Plan *plans = plans_of(program, step, threads, error);
    int status = plans ? launch(program, options, plans, &options->world,
                                error) : error->status;
    free(plans);
    return status;
}

/* Joins the ranks that mpirun has started. */
static int joined(const Program *program, Options *options, const char *step,
                  Error *error)
{
    World *world = join(program, options, &options->threads, error);
    if (!world)
        return error->status;
    options->world = world;
    Plan *plans = plans_of(program, step, (int)options->threads, error);
    bool good = plans && world_map(world, plans, error);
    free(plans);
    if (!good)
        world_fail(world, error->status, error->text);
    return 0;
}

/* Whether this process is no rank of the command's, which has *status then, or
 * may not be one. With options->world set it is one of several. */
static bool launched(const Program *program, Options *options, int *status,
                     Error *error)
{
    const char *name = command_name(options->command);
    const char *step = options->command == COMMAND_bench ? "train" : name;
    int processes = join_processes();
    if (!launch_wanted(program, options, processes)
        || !program_step(program, step))
        return false;
    *status = processes > 0 ? joined(program, options, step, error)
        : forked(program, options, step, error);
    return options->world == NULL;
}

static int help(const char *name, const Options *options)
{
    if (options->command == COMMAND_COUNT)
        print_usage(name);
    else
        print_command_help(name, options->command);
    return 0;
}

/* Whether the command runs on one rank whatever the plan is. */
static bool runs_alone(const Options *options)
{
    return options->command == COMMAND_generate
        || options->command == COMMAND_predict
        || options->command == COMMAND_score
        || options->command == COMMAND_forward;
}

static int start(const Program *program, const char *name, Options *options,
                 Error *error)
{
    const Program alone = program_alone(program);
    int status;
    bool prints = options->help || options->command == COMMAND_info;
    if (prints && !join_leads())
        return 0;               /* of many processes one prints */
    if (options->help)
        return help(name, options);
    /* info only prints: it may run where the program itself cannot. */
    if (options->command != COMMAND_info
        && !cpu_supports(program->features, error))
        return error->status;
    if (launched(program, options, &status, error))
        return status;
    if (!options->world)
        return run_command(runs_alone(options) ? &alone : program, options,
                           error);
    const Program own = program_of_stage(
        program, world_stage(options->world));
    world_set_program(options->world, &own);
    status = run_command(&own, options, error);
    world_set_program(options->world, program);
    return status;
}

/* What failed is said once: by the launcher, where there is one. A run that was
 * stopped, of which the leader is the last to know all, has said so itself, and
 * nobody fails who has stopped with all others. */
static void tell(const char *name, const Options *options, int status,
                 const Error *error)
{
    World *world = options->world;
    bool stopped = status == EXIT_RESUME;
    bool tells = !stopped || (world_leads(world) && world_shares_memory(world));
    if (world && status != 0 && tells)
        world_fail(world, status, error->text);
    else if (!world && status != 0 && error->text[0] && join_speaks())
        fprintf(stderr, "%s: error: %s\n", name, error->text);
    world_free(world);
}

int trainwright_main(const Program *program, int argc, char **argv)
{
    Error error = {0};
    Options options;
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : program->name;
    files_hold_standard();
    /* A limit on file sizes is to arrive as an error of write. */
    signal(SIGXFSZ, SIG_IGN);
    int status = options_read(&options, argc, argv, &error)
        ? start(program, name, &options, &error) : error.status;
    /* Whoever read the output of a training run may leave before it ends. */
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (lost && status == 0 && options.command != COMMAND_train) {
        error_set(&error, ERROR_ENVIRONMENT, "cannot write the output");
        status = error.status;
    }
    tell(name, &options, status, &error);
    options_free(&options);
    return status;
}
