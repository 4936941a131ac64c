/* rank.h: one rank of a run: its memory, its threads and the control block
 * that the program's steps read. All memory that grows with the model is one
 * mapping:
 *
 *     [weights][state: moments][values][workspace of thread 0][of thread 1] …
 *
 * each part rounded up to 4096 bytes. A rank may run several steps (train and
 * eval); they share the values and the workspaces, which have the size of the
 * largest. Of ranks that one launcher has forked (world.h) every one maps the
 * memory of all.
 * SPDX-License-Identifier: 0BSD */
#ifndef RANK_H
#define RANK_H
#include "error.h"
#include "program.h"
#include "team.h"
#include "world.h"
#include <stdbool.h>
#include <stddef.h>

/* What a command maps. total = fixed + threads · thread. */
typedef struct Plan {
    int64_t weight_bytes, state_bytes, value_bytes;
    int64_t fixed_bytes, thread_bytes, total_bytes;
    int64_t moment_floats;      /* of one moment, a rank's share of it */
    int64_t gradients_at;       /* of the step grad, in the values; -1: none */
    int threads;
} Plan;

typedef struct Rank {
    const Program *program;
    struct Team *team;
    struct World *world;        /* NULL: it is alone */
    Plan plan;
    Plan *stage_plans;          /* of a rank of each stage */
    char *memory;
    size_t memory_bytes;
    const Step *prepare;        /* NULL: nothing is to be prepared */
    Control control;
} Rank;

/* The steps that a command runs in one memory. */
enum { MOST_STEPS = 8 };
typedef struct StepSet {
    const Step *at[MOST_STEPS];
    int count;
} StepSet;

/* What replicas split between them (Program.shard). */
enum { SHARD_MOMENTS = 1, SHARD_GRADIENTS = 2, SHARD_WEIGHTS = 3 };

/* What a tensor rank has of a parameter (Tensor.slice). */
enum {
    SLICE_WHOLE = 0, SLICE_ROWS = 1, SLICE_COLUMNS = 2, SLICE_LAST = 3
};

/* The program as a rank of that stage has it: with its part in place of what
 * all have. */
Program program_of_stage(const Program *program, int stage);

/* The program as a rank alone has it, which trains with no other: for steps
 * that run on one rank whatever the plan is. */
Program program_alone(const Program *program);

/* The program's step of that name, or NULL. */
const Step *program_step(const Program *program, const char *name);

/* The step of that name and those that go with it: train evaluates, preference
 * scores its reference, a prompt is encoded before tokens are generated, and
 * what weights alone decide is prepared. Empty: there is no such step. */
StepSet steps_with(const Program *program, const char *name);

/* Memory for the set on so many threads. */
Plan rank_plan(const Program *program, const StepSet *set, int threads);

/* Maps and touches the memory, starts the threads and sets the control block's
 * pointers for the set's first step. False with an error of status 3 where this
 * machine has less memory than planned or gives no threads. world is NULL for a
 * rank alone. */
bool rank_open(Rank *rank, const Program *program, const StepSet *set,
               int threads, struct World *world, Error *error);
void rank_close(Rank *rank);

/* Points the control block at the step's inputs, and sets the call's batch and
 * sequence to the step's own. */
void rank_select(Rank *rank, const Step *step);

/* Runs the program's step "prepare", if it has one and the set has: after the
 * weights were loaded or have changed, and before any step but train and grad.
 * Another step has to be selected afterwards. */
void rank_prepare(Rank *rank);

/* Runs the step's entry on all threads. */
void rank_run(Rank *rank, const Step *step);

/* For the leader, which writes files: world_fetch, of a rank alone too. */
const char *rank_fetch(const Rank *rank, int owner, int64_t place,
                       int64_t bytes);

/* Floats, or integers, of the step's values at an offset in bytes. */
float *rank_floats(const Rank *rank, int64_t at);
int32_t *rank_ints(const Rank *rank, int64_t at);

/* A dim of a value, axis 0 to 3, for a call of so many sequences and tokens. */
int64_t value_dim(const Value *value, int axis, int64_t batch,
                  int64_t sequence);

#endif
