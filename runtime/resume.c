/* resume.c: finding the newest checkpoint that is whole and reading it (see
 * checkpoint.h). Nothing in a checkpoint is believed before its checksums are
 * right, and no checksum file's name leaves the checkpoint's directory.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "checkpoint.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_STATE = 16 << 20 };     /* bytes of a state.json */

/* ---- state.json --------------------------------------------------------- */

/* Whether the text ends as state_end ends it. */
static bool is_sealed(const char *text, size_t length)
{
    char digest[SHA256_TEXT], end[STATE_END + 1];
    if (length < STATE_END)
        return false;
    Sha256 sum;
    sha256_start(&sum);
    sha256_add(&sum, text, length - STATE_END);
    sha256_finish_text(&sum, digest);
    state_end(end, digest);
    return memcmp(text + length - STATE_END, end, STATE_END) == 0;
}

static bool state_file(Json *json, const char *directory, Error *error)
{
    char path[FILES_PATH], *text;
    size_t length;
    if (!join_path(path, directory, "state.json", error)
        || !file_read_whole(path, MOST_STATE, &text, &length, error))
        return false;
    bool good = is_sealed(text, length)
        ? json_parse(json, path, text, length, error)
        : error_set(error, ERROR_INPUT, "state.json is not what was written "
                    "(its SHA-256 differs)");
    free(text);
    return good;
}

static bool state_count(const Json *json, const char *name, int64_t *value,
                        Error *error)
{
    return (json_integer(json, json_member(json, 0, name), value)
            && *value >= 0)
        || error_set(error, ERROR_INPUT, "state.json has no good %s", name);
}

static bool state_fields(const Json *json, Checkpoint *checkpoint, Error *error)
{
    RunState *state = &checkpoint->state;
    const char *hash = json_text(json, json_member(json, 0, "state_hash"));
    if (!hash || strlen(hash) != SHA256_TEXT - 1)
        return error_set(error, ERROR_INPUT, "state.json has no state_hash");
    memcpy(checkpoint->hash, hash, SHA256_TEXT);
    return state_count(json, "step", &state->step, error)
        && state_count(json, "updates", &state->updates, error)
        && state_count(json, "skipped", &state->skipped, error)
        && state_count(json, "skipped_in_row", &state->skipped_in_row, error)
        && (json_boolean(json, json_member(json, 0, "evaluation_due"),
                         &state->evaluation_due)
            || error_set(error, ERROR_INPUT,
                         "state.json has no good evaluation_due"))
        && (state->updates <= state->step
            || error_set(error, ERROR_INPUT, "state.json says %lld updates in "
                         "%lld steps", (long long)state->updates,
                         (long long)state->step));
}

static bool check_sum(const char *directory, const char *name,
                      const char *wanted, Error *error)
{
    char path[FILES_PATH], digest[SHA256_TEXT];
    if (!wanted || !name[0] || name[0] == '.' || strchr(name, '/'))
        return error_set(error, ERROR_INPUT, "state.json names a file badly");
    if (!join_path(path, directory, name, error)
        || !sha256_file(path, digest, error))
        return false;
    return strcmp(digest, wanted) == 0
        || error_set(error, ERROR_INPUT, "%s is not what was written "
                     "(its SHA-256 differs)", name);
}

static bool check_files(const Json *json, const char *directory, Error *error)
{
    int files = json_member(json, 0, "files");
    if (files < 0 || json->tokens[files].kind != JSON_OBJECT
        || json->tokens[files].count == 0)
        return error_set(error, ERROR_INPUT, "state.json lists no files");
    for (int i = files + 1; i < json->tokens[files].end;) {
        const char *name = json_text(json, i);
        int value = json->tokens[i].end;
        if (!name || !check_sum(directory, name, json_text(json, value), error))
            return name ? false
                : error_set(error, ERROR_INPUT, "state.json names a file "
                            "badly");
        i = json->tokens[value].end;
    }
    return true;
}

/* Whether a checkpoint is whole; fills in what it says of itself. */
static bool checkpoint_check(Checkpoint *checkpoint, Error *error)
{
    Json json;
    if (!state_file(&json, checkpoint->path, error))
        return false;
    bool good = state_fields(&json, checkpoint, error)
        && check_files(&json, checkpoint->path, error);
    json_free(&json);
    return good;
}

/* ---- the newest --------------------------------------------------------- */

static bool check_step(const char *directory, int64_t step, Checkpoint *found,
                       Error *error)
{
    char name[64];
    snprintf(name, sizeof name, "step-%lld", (long long)step);
    return join_path(found->path, directory, name, error)
        && checkpoint_check(found, error)
        && (found->state.step == step
            || error_set(error, ERROR_INPUT, "state.json is of step %lld",
                         (long long)found->state.step));
}

Found checkpoint_newest(const char *directory, Checkpoint *found, Error *error)
{
    StepList steps;
    if (!store_steps(directory, &steps, error))
        return FOUND_ERROR;
    for (int i = 0; i < steps.count; i++) {
        Error damage = {0};
        if (check_step(directory, steps.at[i], found, &damage))
            return FOUND_ONE;
        fprintf(stderr, "%s/step-%lld is damaged: %s\n", directory,
                (long long)steps.at[i], damage.text);
    }
    if (steps.count == 0)
        return FOUND_NONE;
    error_set(error, ERROR_INPUT, "no checkpoint in %s is whole", directory);
    return FOUND_ERROR;
}

bool weights_path(const char *given, char path[FILES_PATH], Error *error)
{
    struct stat status;
    int length = snprintf(path, FILES_PATH, "%s", given);
    if (length < 0 || length >= FILES_PATH)
        return error_set(error, ERROR_INPUT, "the path %.80s… is too long",
                         given);
    if (stat(given, &status) != 0 || !S_ISDIR(status.st_mode))
        return true;
    Checkpoint newest;
    switch (checkpoint_newest(given, &newest, error)) {
    case FOUND_ERROR:
        return false;
    case FOUND_ONE:
        memcpy(path, newest.path, FILES_PATH);
        return true;
    case FOUND_NONE:    /* a checkpoint itself, or another tool's directory */
        return true;
    }
    return false;
}

/* ---- differences -------------------------------------------------------- */

/* Says which keys of the spec have another value than the checkpoint's run. */
static void print_differences(const Store *store, const Json *json)
{
    int settings = json_member(json, 0, "settings");
    for (int i = 0; i < store->program->key_count; i++) {
        const char *path = store->program->keys[i].path;
        const char *text = store->settings->texts[i];
        const char *before = json_text(json, json_member(json, settings, path));
        if (before && strcmp(before, text) != 0)
            fprintf(stderr, "differs: %s was %s, is %s\n", path, before, text);
    }
}

/* ---- reading ------------------------------------------------------------ */

/* The stage's own copy of a weight that an earlier stage has, too; or the
 * weight. */
static const Weight *own_copy(const Store *store, const Weight *weight)
{
    for (int i = 0; i < store->own->count; i++)
        if (strcmp(store->own->at[i].name, weight->name) == 0)
            return &store->own->at[i];
    return weight;
}

static bool read_bundle(const Store *store, const Bundle *bundle,
                        const char *directory, Error *error)
{
    char path[FILES_PATH];
    Tensors file;
    if (!join_path(path, directory, bundle->file, error)
        || !tensors_open(&file, path, error))
        return false;
    bool good = true;
    for (int32_t i = 0; good && i < bundle->count; i++) {
        const TensorShape *shape = &bundle->shapes[i];
        int entry = tensors_want(&file, shape->name, shape->rank, shape->dims,
                                 error);
        good = entry >= 0
            && weight_read(store->rank, own_copy(store, bundle->weights[i]),
                           bundle->kinds[i], &file, entry, error);
    }
    tensors_close(&file);
    return good;
}

/* A checkpoint must be of this model, and what else has changed is said. */
static bool check_model(const Store *store, const Json *json,
                        const char *directory, Error *error)
{
    const Program *program = store->program;
    const char *model = json_text(json, json_member(json, 0, "model_hash"));
    if (!model || strcmp(model, program->model_hash) != 0)
        return error_set(error, ERROR_INPUT, "%s is of another model: its hash "
                         "is %.12s…, this program's %.12s…; --init takes "
                         "weights alone", directory, model ? model : "absent",
                         program->model_hash);
    print_differences(store, json);
    return true;
}

bool checkpoint_load(Store *store, const Checkpoint *checkpoint, Error *error)
{
    Json json;
    if (!state_file(&json, checkpoint->path, error))
        return false;
    bool good = check_model(store, &json, checkpoint->path, error);
    json_free(&json);
    return good && read_bundle(store, &store->model, checkpoint->path, error)
        && read_bundle(store, &store->optimizer, checkpoint->path, error);
}
