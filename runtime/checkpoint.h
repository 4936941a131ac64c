/* checkpoint.h: a run's state on disk (docs/contract.md, section 6). A run's
 * directory holds
 *
 *     step-N/model.safetensors        every parameter, by name
 *     step-N/optimizer.safetensors    first.NAME and second.NAME, its moments
 *     step-N/state.json               where the run stands; the files' SHA-256,
 *                                     and its own up to that line
 *     run.json                        the record of the run (record.h)
 *
 * A checkpoint is written in step-N.tmp-PID, synced, then renamed; an old one
 * is renamed away before it is removed. So a directory named step-N is whole
 * unless the disk lies, and that the checksums show.
 * SPDX-License-Identifier: 0BSD */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H
#include "rank.h"
#include "safetensors.h"
#include "settings.h"
#include "weights.h"

/* Where a run stands between two steps. */
typedef struct RunState {
    int64_t step;               /* steps done */
    int64_t updates;            /* of them, those that updated the weights */
    int64_t skipped, skipped_in_row;
    bool evaluation_due;        /* the one after this step was abandoned */
} RunState;

/* Tensors of one file and what they are of: see places.h for where they lie. */
typedef struct Bundle {
    const char *file;           /* "model.safetensors" */
    TensorShape *shapes;
    char (*names)[WEIGHT_NAME + 8];
    const Weight **weights;
    int *kinds;                 /* a PlaceKind each */
    int32_t count;
    char (*digests)[SHA256_TEXT];   /* of each file it takes */
} Bundle;

/* A run's directory, and what goes there. Everything is allocated by
 * store_open, nothing by a save. */
typedef struct Store {
    const Program *program;
    const Rank *rank;           /* whose memory they lie in, or its peers' */
    const WeightList *own;      /* of its stage */
    const Settings *settings;
    const char *directory;
    int lock;                   /* a descriptor that holds it; -1: not locked */
    bool made;                  /* the directory was not there */
    Bundle model, optimizer;
} Store;

/* A checkpoint on disk. */
typedef struct Checkpoint {
    char path[FILES_PATH];
    RunState state;
    char hash[SHA256_TEXT];     /* of parameters, moments, step and updates */
} Checkpoint;

/* ---- the directory (store.c) -------------------------------------------- */

/* Makes the directory if need be and locks it against another run; removes what
 * a killed run may have left half-written. */
bool store_lock(Store *store, Error *error);

/* Removes the directory too where it was made and nothing has come into it. */
void store_close(Store *store);

/* Whether it holds a run: a run.json or a checkpoint. */
bool store_holds_run(const Store *store);

/* A run's checkpoints by their steps, newest first; of more than that many
 * only the newest. */
enum { STORE_STEPS = 4096 };
typedef struct StepList {
    int count;
    int64_t at[STORE_STEPS];
} StepList;

/* Lists the checkpoints in a directory, whole or not. */
bool store_steps(const char *directory, StepList *steps, Error *error);

/* Removes all but the newest `keep` checkpoints. */
bool store_prune(const Store *store, int64_t keep, Error *error);

/* Renames step-N, so that it is no checkpoint any more, to step-N.SUFFIX, or to
 * that with a number where it is taken. */
bool store_set_aside(const Store *store, int64_t step, const char *suffix,
                     Error *error);

/* Removes a directory of plain files. */
void remove_directory(const char *path);

/* Writes `DIRECTORY/NAME` to path; false with an error where it is too long. */
bool join_path(char path[FILES_PATH], const char *directory, const char *name,
               Error *error);

/* ---- saving (checkpoint.c) ---------------------------------------------- */

/* Lists the tensors of both files: of `all` stages; `own` are the rank's. */
bool store_bundles(Store *store, const Rank *rank, const WeightList *all,
                   const WeightList *own, Error *error);

/* Writes step-N and says the hash of its state. After a failure (a full disk:
 * status 3) older checkpoints stand and nothing is left of this one. */
bool checkpoint_save(Store *store, const RunState *state,
                     char hash[SHA256_TEXT], Error *error);

/* What the other ranks do meanwhile: over messages they send their parts. */
void checkpoint_lend(const Store *store);

/* The last bytes of state.json: `,` and the member with its own SHA-256. */
enum { STATE_END = 2 + 13 + SHA256_TEXT - 1 + 4 };
void state_end(char text[STATE_END + 1], const char *digest);

/* ---- resuming (resume.c) ------------------------------------------------ */

typedef enum Found { FOUND_NONE, FOUND_ONE, FOUND_ERROR } Found;

/* The newest checkpoint whose checksums are right. Damaged ones are named on
 * stderr; if there are only such, that is an error. */
Found checkpoint_newest(const char *directory, Checkpoint *found, Error *error);

/* Reads parameters and moments into the arena. A checkpoint of another model is
 * an error; other differences of spec and settings are printed. */
bool checkpoint_load(Store *store, const Checkpoint *checkpoint, Error *error);

/* The path for tensors_open of what a user names as weights: a file, a
 * checkpoint, or a run's directory, whose newest checkpoint is meant. */
bool weights_path(const char *given, char path[FILES_PATH], Error *error);
#endif
