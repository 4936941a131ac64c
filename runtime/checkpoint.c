/* checkpoint.c: writing a checkpoint (see checkpoint.h). Tensors go straight
 * from the arena through the file writer's small buffer to the disk, hashed
 * on the way; then state.json; then the directory takes its name.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "checkpoint.h"
#include "places.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what there is to write --------------------------------------------- */

static bool bundle_alloc(Bundle *bundle, const char *file, int room,
                         Error *error)
{
    size_t items = (size_t)room + 1;
    *bundle = (Bundle){ .file = file };
    bundle->shapes = calloc(items, sizeof *bundle->shapes);
    bundle->names = calloc(items, sizeof *bundle->names);
    bundle->weights = calloc(items, sizeof *bundle->weights);
    bundle->kinds = calloc(items, sizeof *bundle->kinds);
    return (bundle->shapes && bundle->names && bundle->weights
            && bundle->kinds)
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

static void bundle_add(Bundle *bundle, const char *prefix, const Weight *weight,
                       PlaceKind kind)
{
    int32_t i = bundle->count++;
    snprintf(bundle->names[i], sizeof bundle->names[i], "%s%s", prefix,
             weight->name);
    bundle->weights[i] = weight;
    bundle->kinds[i] = (int)kind;
    bundle->shapes[i] = (TensorShape){
        .name = bundle->names[i],
        .type = TENSOR_F32,
        .rank = weight->rank,
        .dims = { weight->dims[0], weight->dims[1], weight->dims[2] },
    };
}

static TensorOutput bundle_output(const Bundle *bundle, const char *path)
{
    return (TensorOutput){
        .path = path,
        .tensors = bundle->shapes,
        .count = bundle->count,
        .shard_bytes = TENSORS_SHARD_BYTES,
        .digests = bundle->digests,
    };
}

static bool bundle_digests(Bundle *bundle, Error *error)
{
    TensorOutput output = bundle_output(bundle, bundle->file);
    bundle->digests = calloc((size_t)tensors_shards(&output),
                             sizeof *bundle->digests);
    return bundle->digests
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

bool store_bundles(Store *store, const Rank *rank, const WeightList *list,
                   const WeightList *own, Error *error)
{
    static const char *const prefixes[] = { "first.", "second." };
    static const PlaceKind kinds[] = { PLACE_FIRST, PLACE_SECOND };
    const Program *program = rank->program;
    store->rank = rank;
    store->own = own;
    if (!bundle_alloc(&store->model, "model.safetensors", list->count, error)
        || !bundle_alloc(&store->optimizer, "optimizer.safetensors",
                         program->moments * list->count, error))
        return false;
    for (int i = 0; i < list->count; i++)
        bundle_add(&store->model, "", &list->at[i], PLACE_WEIGHT);
    for (int moment = 0; moment < program->moments && moment < 2; moment++)
        for (int i = 0; i < list->count; i++)
            if (list->at[i].gradient >= 0)
                bundle_add(&store->optimizer, prefixes[moment], &list->at[i],
                           kinds[moment]);
    return bundle_digests(&store->model, error)
        && bundle_digests(&store->optimizer, error);
}

/* ---- tensors ------------------------------------------------------------ */

/* A tensor, a run of elements after the other, wherever they lie. */
static bool append_tensor(const Store *store, const Bundle *bundle, int32_t i,
                          TensorWriter *writer, Sha256 *state, Error *error)
{
    const Weight *weight = bundle->weights[i];
    for (int64_t from = 0, count; from < weight->elements; from += count) {
        const float *at = place_fetch(store->rank, weight,
                                      (PlaceKind)bundle->kinds[i], from,
                                      &count);
        sha256_add(state, at, 4 * (size_t)count);
        if (!tensors_append(writer, at, 4 * (uint64_t)count, error))
            return false;
    }
    return true;
}

/* Fetches what the leader fetches, for it. */
static void lend_bundle(const Store *store, const Bundle *bundle)
{
    for (int32_t i = 0; i < bundle->count; i++) {
        const Weight *weight = bundle->weights[i];
        for (int64_t from = 0, count; from < weight->elements; from += count)
            place_fetch(store->rank, weight, (PlaceKind)bundle->kinds[i], from,
                        &count);
    }
}

void checkpoint_lend(const Store *store)
{
    if (world_shares_memory(store->rank->world))
        return;
    lend_bundle(store, &store->model);
    lend_bundle(store, &store->optimizer);
}

/* With so much of the metadata as `output` says. */
static bool write_bundle(const Store *store, const Bundle *bundle,
                         const char *directory, TensorOutput output,
                         Sha256 *state, Error *error)
{
    char path[FILES_PATH];
    if (!join_path(path, directory, bundle->file, error))
        return false;
    output.path = path;
    TensorWriter writer;
    if (!tensors_create(&writer, &output, error))
        return false;
    for (int32_t i = 0; i < bundle->count; i++)
        if (!append_tensor(store, bundle, i, &writer, state, error))
            return false;
    return tensors_commit(&writer, error);
}

/* ---- state.json --------------------------------------------------------- */

/* Adds a bundle's files and their checksums as members of an object. */
static bool put_checksums(JsonWriter *json, const Bundle *bundle,
                          const char *directory, Error *error)
{
    char whole[FILES_PATH], path[FILES_PATH], digest[SHA256_TEXT];
    if (!join_path(whole, directory, bundle->file, error))
        return false;
    TensorOutput output = bundle_output(bundle, whole);
    int32_t shards = tensors_shards(&output);
    for (int32_t shard = shards > 1 ? -1 : 0; shard < shards; shard++) {
        if (!tensors_shard_path(&output, shard, path))
            return error_set(error, ERROR_INPUT, "%s is too long", whole);
        if (shard < 0 && !sha256_file(path, digest, error))
            return false;
        json_key(json, strrchr(path, '/') + 1);
        json_put_text(json, shard < 0 ? digest : bundle->digests[shard]);
    }
    return true;
}

static void put_state(JsonWriter *json, const Store *store,
                      const RunState *state, const char *hash)
{
    const Program *program = store->program;
    json_key(json, "format");
    json_put_integer(json, 1);
    json_key(json, "step");
    json_put_integer(json, state->step);
    json_key(json, "updates");
    json_put_integer(json, state->updates);
    json_key(json, "skipped");
    json_put_integer(json, state->skipped);
    json_key(json, "skipped_in_row");
    json_put_integer(json, state->skipped_in_row);
    json_key(json, "evaluation_due");
    json_put_boolean(json, state->evaluation_due);
    json_key(json, "loss_scale");
    json_put_null(json);
    json_key(json, "data");
    json_open(json, '{');
    json_key(json, "windows");
    json_put_integer(json, state->step * program->batch);
    json_key(json, "batch");
    json_put_integer(json, program->batch);
    json_key(json, "sequence");
    json_put_integer(json, program->sequence);
    json_close(json, '}');
    json_key(json, "spec_hash");
    json_put_text(json, program->spec_hash);
    json_key(json, "model_hash");
    json_put_text(json, program->model_hash);
    json_key(json, "source_hash");
    json_put_text(json, program->source_hash);
    json_key(json, "state_hash");
    json_put_text(json, hash);
    json_key(json, "settings");
    json_open(json, '{');
    for (int i = 0; i < program->key_count; i++) {
        json_key(json, program->keys[i].path);
        json_put_text(json, store->settings->texts[i]);
    }
    json_close(json, '}');
}

void state_end(char text[STATE_END + 1], const char *digest)
{
    snprintf(text, STATE_END + 1, ",\n  \"sha256\": \"%s\"\n}\n", digest);
}

/* Ends state.json with the SHA-256 of all before: a digit that rots is to show
 * too. */
static bool end_state(FileWriter *file, Sha256 *sum, Error *error)
{
    char digest[SHA256_TEXT], line[STATE_END + 1];
    file->hash = NULL;
    sha256_finish_text(sum, digest);
    state_end(line, digest);
    return file_append(file, line, STATE_END, error)
        && file_commit(file, error);
}

static bool write_state(const Store *store, const char *directory,
                        const RunState *state, const char *hash, Error *error)
{
    char path[FILES_PATH];
    FileWriter file;
    Sha256 sum;
    if (!join_path(path, directory, "state.json", error)
        || !file_create(&file, path, error))
        return false;
    sha256_start(&sum);
    file.hash = &sum;
    JsonWriter json = json_to_file(&file, error);
    json.lines = true;
    json_open(&json, '{');
    put_state(&json, store, state, hash);
    json_key(&json, "files");
    json_open(&json, '{');
    bool good = put_checksums(&json, &store->model, directory, error)
        && put_checksums(&json, &store->optimizer, directory, error);
    json_close(&json, '}');
    if (good && !json.failed)
        return end_state(&file, &sum, error);
    file_abandon(&file);
    return false;
}

/* ---- the whole ---------------------------------------------------------- */

static bool write_files(Store *store, const char *directory,
                        const RunState *state, char hash[SHA256_TEXT],
                        Error *error)
{
    const Program *program = store->program;
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)state->step);
    TensorMetadata metadata[] = {
        { "format", "pt" }, { "step", step },
        { "model_hash", program->model_hash },
        { "spec_hash", program->spec_hash }, { "spec", program->spec },
    };
    Sha256 sum;
    sha256_start(&sum);
    sha256_add(&sum, &state->step, sizeof state->step);
    sha256_add(&sum, &state->updates, sizeof state->updates);
    TensorOutput model = bundle_output(&store->model, "");
    TensorOutput optimizer = bundle_output(&store->optimizer, "");
    model.metadata = optimizer.metadata = metadata;
    model.metadata_count = 5;
    optimizer.metadata_count = 4;   /* the spec is beside the weights alone */
    if (!write_bundle(store, &store->model, directory, model, &sum, error)
        || !write_bundle(store, &store->optimizer, directory, optimizer, &sum,
                         error))
        return false;
    sha256_finish_text(&sum, hash);
    return write_state(store, directory, state, hash, error)
        && file_sync_directory(directory, error);
}

/* Gives the finished directory its name, in the place of one that may be there
 * from a run that was resumed before it. */
static bool take_name(const Store *store, const char *aside, int64_t step,
                      Error *error)
{
    char name[64], path[FILES_PATH];
    struct stat status;
    snprintf(name, sizeof name, "step-%lld", (long long)step);
    if (!join_path(path, store->directory, name, error))
        return false;
    if (stat(path, &status) == 0
        && !store_set_aside(store, step, "replaced", error))
        return false;
    if (rename(aside, path) != 0)
        return error_system(error, errno, "cannot name %s", path);
    return file_sync_directory(store->directory, error);
}

bool checkpoint_save(Store *store, const RunState *state,
                     char hash[SHA256_TEXT], Error *error)
{
    char name[96], aside[FILES_PATH];
    snprintf(name, sizeof name, "step-%lld.tmp-%d", (long long)state->step,
             (int)getpid());
    if (!join_path(aside, store->directory, name, error))
        return false;
    if (mkdir(aside, 0777) != 0)
        return error_system(error, errno, "cannot make %s", aside);
    if (write_files(store, aside, state, hash, error)
        && take_name(store, aside, state->step, error))
        return true;
    remove_directory(aside);
    return false;
}
