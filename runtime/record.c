/* record.c: see record.h.
 * SPDX-License-Identifier: 0BSD */
#include "record.h"
#include "commands.h"
#include "files.h"
#include "stop.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_RECORD = 64 << 20 };    /* bytes of a run.json that is read */

static bool out_of_memory(Error *error)
{
    return error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

/* ---- what an earlier start of the run wrote ----------------------------- */

bool record_reserve(Record *record, int64_t count, Error *error)
{
    enum { MOST = 1 << 20 };
    int64_t more = count < 1 ? 1 : count < MOST ? count : MOST;
    size_t room = (size_t)record->mark_count + (size_t)more;
    Mark *wider = realloc(record->marks, room * sizeof *wider);
    if (!wider)
        return out_of_memory(error);
    record->marks = wider;
    record->mark_room = (int)room;
    return true;
}

bool record_mark(Record *record, int64_t step, const char *hash, Error *error)
{
    if (record->mark_count == record->mark_room
        && !record_reserve(record, record->mark_count + 64, error))
        return false;
    Mark *mark = &record->marks[record->mark_count++];
    mark->step = step;
    snprintf(mark->hash, sizeof mark->hash, "%s", hash);
    return true;
}

/* Marks of checkpoints before `step`, and the list of resumptions. json is NULL
 * where there is no record to read. */
static bool carry_over(Record *record, const Json *json, int64_t step,
                       Error *error)
{
    int marks = json ? json_member(json, 0, "checkpoints") : -1;
    int end = marks >= 0 ? json->tokens[marks].end : 0;
    for (int i = marks + 1; marks >= 0 && i < end; i = json->tokens[i].end) {
        int64_t at;
        const char *hash = json_text(json, json_member(json, i, "state_hash"));
        if (json_integer(json, json_member(json, i, "step"), &at) && hash
            && at < step && !record_mark(record, at, hash, error))
            return false;
    }
    int resumed = json ? json_member(json, 0, "resumed") : -1;
    int count = resumed >= 0 && json->tokens[resumed].kind == JSON_ARRAY
        ? json->tokens[resumed].count : 0;
    record->resumed = calloc((size_t)count + 1, sizeof *record->resumed);
    if (!record->resumed)
        return out_of_memory(error);
    for (int i = 0; i < count; i++)
        if (json_integer(json, resumed + 1 + i,
                         &record->resumed[record->resumed_count]))
            record->resumed_count++;
    return true;
}

/* Says which data files are not those of the earlier start. */
static void compare_data(const Record *record, const Json *json)
{
    int data = json_member(json, 0, "data");
    int end = data >= 0 ? json->tokens[data].end : 0;
    int count = record->corpus->data.count, file = 0;
    bool differs = false;
    for (int i = data + 1; i < end; i = json->tokens[i].end, file++) {
        const char *hash = json_text(json, json_member(json, i, "sha256"));
        differs |= file < count && hash
            && strcmp(hash, record->data[file]) != 0;
    }
    if (differs || file < count)
        fprintf(stderr, "differs: the data files are not those that the run "
                "began with\n");
}

/* Labels that have other numbers than they had make other classes. */
static void compare_labels(const Record *record, const Json *json)
{
    int labels = json_member(json, 0, "labels");
    int end = labels >= 0 ? json->tokens[labels].end : 0;
    bool differs = false;
    for (int i = labels + 1, label = 0; labels >= 0 && i < end; i++, label++) {
        const char *before = json_text(json, i);
        const char *now = corpus_label_name(record->corpus, label);
        differs |= !before || !now || strcmp(before, now) != 0;
    }
    if (differs)
        fprintf(stderr, "differs: the labels have other numbers than in the "
                "run's beginning\n");
}

static bool read_earlier(Record *record, const Checkpoint *from, Error *error)
{
    char path[FILES_PATH], *text = NULL;
    size_t length = 0;
    Json json = {0};
    Error unreadable = {0};
    if (!join_path(path, record->store->directory, "run.json", error))
        return false;
    bool there = file_read_whole(path, MOST_RECORD, &text, &length, &unreadable)
        && json_parse(&json, path, text, length, &unreadable);
    free(text);
    if (!there)
        fprintf(stderr, "note: run.json is begun anew: %s\n", unreadable.text);
    bool good = carry_over(record, there ? &json : NULL, from->state.step,
                           error);
    if (there) {
        compare_data(record, &json);
        compare_labels(record, &json);
        json_free(&json);
    }
    if (!good)
        return false;
    record->resumed[record->resumed_count++] = from->state.step;
    return record_mark(record, from->state.step, from->hash, error);
}

/* ---- opening ------------------------------------------------------------ */

/* The SHA-256 of a file that may take minutes to read: a signal ends it. */
static bool hash_file(const char *path, char digest[SHA256_TEXT], Error *error)
{
    uint8_t piece[65536];
    uint64_t size;
    Sha256 hash;
    int descriptor = file_open(path, &size, error);
    if (descriptor < 0)
        return false;
    sha256_start(&hash);
    bool good = true;
    for (uint64_t at = 0; good && at < size; at += sizeof piece) {
        size_t length = size - at < sizeof piece ? (size_t)(size - at)
                                                 : sizeof piece;
        good = stop_signal() ? error_set(error, EXIT_RESUME, "%s", "")
            : file_read_at(descriptor, path, piece, length, at, error);
        if (good)
            sha256_add(&hash, piece, length);
    }
    close(descriptor);
    if (good)
        sha256_finish_text(&hash, digest);
    return good;
}

static bool hash_data(const Data *data, char (*digests)[SHA256_TEXT],
                      Error *error)
{
    for (int i = 0; i < data->count; i++)
        if (!hash_file(data->files[i].path, digests[i], error))
            return false;
    return true;
}

static int data_files(const Corpus *corpus)
{
    return corpus->data.count
        + (corpus->eval_is_separate ? corpus->eval_data.count : 0);
}

bool record_open(Record *record, const Checkpoint *from, Error *error)
{
    const Corpus *corpus = record->corpus;
    Error none;
    if (!sha256_file("/proc/self/exe", record->binary, &none))
        record->binary[0] = 0;
    record->data = calloc((size_t)data_files(corpus), sizeof *record->data);
    if (!record->data)
        return out_of_memory(error);
    if (!hash_data(&corpus->data, record->data, error)
        || (corpus->eval_is_separate
            && !hash_data(&corpus->eval_data,
                          record->data + corpus->data.count, error)))
        return false;
    return !from || read_earlier(record, from, error);
}

void record_close(Record *record)
{
    free(record->data);
    free(record->marks);
    free(record->resumed);
}

void record_data_hash(const Record *record, char digest[SHA256_TEXT])
{
    const Corpus *corpus = record->corpus;
    Sha256 sum;
    sha256_start(&sum);
    sha256_add(&sum, record->data,
               (size_t)data_files(corpus) * sizeof *record->data);
    sha256_add(&sum, &corpus->train.count, sizeof corpus->train.count);
    sha256_add(&sum, &corpus->eval.count, sizeof corpus->eval.count);
    sha256_finish_text(&sum, digest);
}

/* ---- labels of a run ---------------------------------------------------- */

/* Cuts the last part off a path; false where there is none but the whole. */
static bool go_up(char path[FILES_PATH])
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return strcpy(path, "."), true;
    if (slash == path)
        return false;
    *slash = 0;
    return true;
}

/* Reads DIRECTORY/run.json, if it is this model's. */
static bool read_run(Json *json, const char *directory, const Program *program)
{
    char path[FILES_PATH], *text;
    size_t length;
    Error ignored;
    if (!join_path(path, directory, "run.json", &ignored)
        || !file_read_whole(path, MOST_RECORD, &text, &length, &ignored))
        return false;
    bool good = json_parse(json, path, text, length, &ignored);
    free(text);
    if (!good)
        return false;
    const char *model = json_text(json, json_member(json, 0, "model_hash"));
    if (model && strcmp(model, program->model_hash) == 0)
        return true;
    json_free(json);
    return false;
}

static bool take_names(RunLabels *labels, Error *error)
{
    const Json *json = &labels->json;
    int list = json_member(json, 0, "labels");
    int count = list >= 0 && json->tokens[list].kind == JSON_ARRAY
        ? json->tokens[list].count : 0;
    labels->names.at = calloc((size_t)count + 1, sizeof *labels->names.at);
    if (!labels->names.at)
        return out_of_memory(error);
    for (int i = 0; i < count; i++) {
        const char *name = json_text(json, list + 1 + i);
        if (!name)
            return error_set(error, ERROR_INPUT, "run.json beside the weights: "
                             "its label %d is no name", i);
        labels->names.at[labels->names.count++] = name;
    }
    return true;
}

bool record_labels(RunLabels *labels, const Program *program,
                   const char *weights, Error *error)
{
    char path[FILES_PATH];
    *labels = (RunLabels){0};
    if (snprintf(path, sizeof path, "%s", weights) >= FILES_PATH)
        return true;
    /* A run's directory, a checkpoint in it, a file in that. */
    for (int up = 0; up < 3; up++) {
        if (up > 0 && !go_up(path))
            break;
        if (read_run(&labels->json, path, program))
            return take_names(labels, error);
    }
    return true;
}

void record_labels_free(RunLabels *labels)
{
    free(labels->names.at);
    json_free(&labels->json);
}

/* ---- writing ------------------------------------------------------------ */

static void put_data(JsonWriter *json, const Data *data, const char *unit,
                     const char (*digests)[SHA256_TEXT])
{
    for (int i = 0; i < data->count; i++) {
        json_open(json, '{');
        json_set_text(json, "path", data->files[i].path);
        json_set_count(json, unit, data->files[i].count);
        json_set_text(json, "sha256", digests[i]);
        json_close(json, '}');
    }
}

static void put_labels(JsonWriter *json, const Record *record)
{
    json_key(json, "labels");
    json_open(json, '[');
    for (int64_t i = 0; i < record->store->program->classes; i++) {
        const char *name = corpus_label_name(record->corpus, i);
        if (name)
            json_put_text(json, name);
    }
    json_close(json, ']');
}

static void put_program(JsonWriter *json, const Record *record)
{
    const Program *program = record->store->program;
    json_set_count(json, "format", 1);
    json_set_text(json, "name", program->name);
    json_set_text(json, "version", program->version);
    json_set_text(json, "target", program->target);
    json_set_text(json, "binary_hash", record->binary);
    json_set_text(json, "source_hash", program->source_hash);
    json_set_text(json, "spec_hash", program->spec_hash);
    json_set_text(json, "model_hash", program->model_hash);
    json_set_text(json, "spec", program->spec);
}

static void put_command(JsonWriter *json, const Record *record)
{
    const Options *options = record->options;
    const Program *program = record->store->program;
    json_key(json, "command");
    json_open(json, '[');
    for (int i = 0; i < options->argc; i++)
        json_put_text(json, options->argv[i]);
    json_close(json, ']');
    json_key(json, "overrides");
    json_open(json, '[');
    for (int i = 0; i < options->sets.count; i++)
        json_put_text(json, options->sets.at[i]);
    json_close(json, ']');
    json_key(json, "settings");
    json_open(json, '{');
    for (int i = 0; i < program->key_count; i++)
        if (strcmp(program->keys[i].type, "fixed") != 0)
            json_set_text(json, program->keys[i].path,
                          record->store->settings->texts[i]);
    json_close(json, '}');
    json_set_count(json, "seed", record->store->settings->seed);
    json_set_count(json, "ranks", world_ranks(record->world));
    json_set_count(json, "threads", record->threads);
}

/* Ranks by axis. */
static void put_plan(JsonWriter *json, const Record *record)
{
    const World *world = record->world;
    json_key(json, "plan");
    json_open(json, '{');
    json_set_count(json, "data", world_batches(world));
    json_set_count(json, "stages", world_stages(world));
    json_set_count(json, "context", world_data(world) / world_batches(world));
    json_set_count(json, "tensor", world_tensor(world));
    json_close(json, '}');
}

static void put_pair(JsonWriter *json, const char *key, int64_t foretold,
                     int64_t counted)
{
    json_key(json, key);
    json_open(json, '{');
    json_set_count(json, "predicted", foretold);
    json_set_count(json, "counted", counted);
    json_close(json, '}');
}

/* What the leader has sent in the steps of this start. */
static void put_messages(JsonWriter *json, const Record *record,
                         const RunState *state)
{
    const Program *program = record->store->program;
    int64_t steps = state->step - record->first;
    json_key(json, "messages");
    json_open(json, '[');
    for (int i = 0; record->world && i < program->message_count; i++) {
        const Message *message = &program->messages[i];
        MessageCount counted = world_counted(record->world, i);
        json_open(json, '{');
        json_set_text(json, "name", message->name);
        json_set_text(json, "where", message->where);
        json_set_text(json, "axis", message->axis);
        put_pair(json, "calls", message->calls * steps, counted.calls);
        put_pair(json, "bytes", message->bytes * steps, counted.bytes);
        json_key(json, "at_most");
        json_put_boolean(json, message->at_most);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_progress(JsonWriter *json, const Record *record,
                         const RunState *state)
{
    json_set_count(json, "step", state->step);
    json_set_count(json, "updates", state->updates);
    json_set_count(json, "skipped_steps", state->skipped);
    json_key(json, "resumed");
    json_open(json, '[');
    for (int i = 0; i < record->resumed_count; i++)
        json_put_integer(json, record->resumed[i]);
    json_close(json, ']');
    json_key(json, "checkpoints");
    json_open(json, '[');
    for (int i = 0; i < record->mark_count; i++) {
        json_open(json, '{');
        json_set_count(json, "step", record->marks[i].step);
        json_set_text(json, "state_hash", record->marks[i].hash);
        json_close(json, '}');
    }
    json_close(json, ']');
}

bool record_write(const Record *record, const RunState *state, Error *error)
{
    char path[FILES_PATH];
    FileWriter file;
    if (!join_path(path, record->store->directory, "run.json", error)
        || !file_create(&file, path, error))
        return false;
    const Corpus *corpus = record->corpus;
    const char (*digests)[SHA256_TEXT] =
        (const char (*)[SHA256_TEXT])record->data;
    JsonWriter json = json_to_file(&file, error);
    json.lines = true;
    json_open(&json, '{');
    put_program(&json, record);
    put_command(&json, record);
    json_key(&json, "data");
    json_open(&json, '[');
    const char *unit = corpus_unit(corpus);
    put_data(&json, &corpus->data, unit, digests);
    if (corpus->eval_is_separate)
        put_data(&json, &corpus->eval_data, unit,
                 digests + corpus->data.count);
    json_close(&json, ']');
    put_labels(&json, record);
    put_plan(&json, record);
    put_messages(&json, record, state);
    put_progress(&json, record, state);
    json_close(&json, '}');
    if (json.failed || !file_append(&file, "\n", 1, error)) {
        file_abandon(&file);
        return false;
    }
    return file_commit(&file, error);
}
