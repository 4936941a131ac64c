/* log.c: see log.h. The file is cut with a buffer of one line; lines are
 * written with one call each.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "log.h"
#include "json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 4096 };

/* ---- cutting ------------------------------------------------------------ */

/* The step that a line of the log is of; -1 where it is no such line. */
static int64_t line_step(const char *line, size_t length, bool *evaluation)
{
    Json json;
    int64_t step = -1;
    if (!json_parse(&json, "log", line, length, NULL))
        return -1;
    if (!json_integer(&json, json_member(&json, 0, "step"), &step))
        step = -1;
    *evaluation = json_member(&json, 0, "eval_loss") >= 0;
    json_free(&json);
    return step;
}

/* Whether a line has no end, and begins like one of ours: a write that a crash
 * cut short, if it is the file's last. */
static bool is_torn(const char *line, size_t length)
{
    static const char step[] = "{\"step\":", evaluation[] = "{\"eval_loss\":";
    size_t a = length < sizeof step - 1 ? length : sizeof step - 1;
    size_t b = length < sizeof evaluation - 1 ? length : sizeof evaluation - 1;
    return (length == 0 || line[length - 1] != '\n')
        && (memcmp(line, step, a) == 0 || memcmp(line, evaluation, b) == 0);
}

/* Where the lines up to `step` end; -1 with an error for a file of other
 * lines. */
static off_t kept_length(FILE *file, Log *log, int64_t step, Error *error)
{
    char line[LINE];
    off_t kept = 0;
    for (int64_t number = 1; fgets(line, sizeof line, file); number++) {
        size_t length = strlen(line);
        bool evaluation = false;
        if (is_torn(line, length) && fgetc(file) == EOF)
            break;
        int64_t of = line_step(line, length, &evaluation);
        if (of < 0) {
            error_set(error, ERROR_INPUT, "%s:%lld: is no line of a log; "
                      "nothing was cut", log->path, (long long)number);
            return -1;
        }
        if (of > step)
            break;
        if (evaluation)
            log->evaluated = of;
        kept += (off_t)length;
    }
    if (ferror(file)) {
        error_system(error, errno, "cannot read %s", log->path);
        return -1;
    }
    return kept;
}

/* The log of an earlier start, if it is there and a file: a pipe or a terminal
 * keeps nothing. NULL with *missing set otherwise, or with an error. */
static FILE *open_earlier(const Log *log, bool *missing, Error *error)
{
    struct stat about;
    *missing = stat(log->path, &about) != 0 ? errno == ENOENT
                                            : !S_ISREG(about.st_mode);
    FILE *file = *missing ? NULL : fopen(log->path, "re");
    if (!file && !*missing)
        error_system(error, errno, "cannot read %s", log->path);
    return file;
}

/* Sees that what a new run's log will replace is a log. */
static bool may_replace(const Log *log, Error *error)
{
    char line[LINE];
    bool missing, evaluation;
    FILE *file = open_earlier(log, &missing, error);
    if (!file)
        return missing;
    bool empty = !fgets(line, sizeof line, file);
    size_t length = empty ? 0 : strlen(line);
    bool ours = empty || (is_torn(line, length) && fgetc(file) == EOF)
        || line_step(line, length, &evaluation) >= 0;
    fclose(file);
    return ours || error_set(error, ERROR_INPUT, "%s is no log of a run, and "
                             "is not overwritten", log->path);
}

static bool cut(Log *log, int64_t step, Error *error)
{
    const char *path = log->path;
    bool missing;
    FILE *file = open_earlier(log, &missing, error);
    if (!file)
        return missing;
    off_t kept = kept_length(file, log, step, error);
    fclose(file);
    if (kept >= 0 && truncate(path, kept) != 0)
        return error_system(error, errno, "cannot cut %s", path);
    return kept >= 0;
}

bool log_open(Log *log, const char *path, int64_t step, Error *error)
{
    *log = (Log){ -1, path, -1 };
    if (!path)
        return true;
    if (step > 0 ? !cut(log, step, error) : !may_replace(log, error))
        return false;
    /* Without O_NONBLOCK, opening a pipe that nobody reads would wait. */
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY
        | O_CLOEXEC | (step > 0 ? 0 : O_TRUNC);
    log->descriptor = open(path, flags, 0666);
    return (log->descriptor >= 0
            && fcntl(log->descriptor, F_SETFL, O_APPEND) == 0)
        || error_system(error, errno, "cannot write %s", path);
}

/* ---- writing ------------------------------------------------------------ */

/* Writes text whole; what a full disk took of it is cut off again. */
static bool write_line(Log *log, const char *text, size_t length, Error *error)
{
    size_t written = 0;
    while (written < length) {
        ssize_t n = write(log->descriptor, text + written, length - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int number = errno;
            off_t end = lseek(log->descriptor, 0, SEEK_END);
            if (written > 0 && end >= (off_t)written
                && ftruncate(log->descriptor, end - (off_t)written) != 0)
                number = errno;
            return error_system(error, number, "cannot write %s", log->path);
        }
        written += (size_t)n;
    }
    return true;
}

static bool finish_line(Log *log, JsonWriter *json, Error *error)
{
    json_close(json, '}');
    json->text[json->length] = '\n';
    return write_line(log, json->text, json->length + 1, error);
}

bool log_step(Log *log, const StepRecord *record, Error *error)
{
    char text[512];
    if (log->descriptor < 0)
        return true;
    JsonWriter json = json_to_buffer(text, sizeof text - 1);
    json_open(&json, '{');
    json_key(&json, "step");
    json_put_integer(&json, record->step);
    json_key(&json, "loss");
    json_put_short(&json, record->loss);
    json_key(&json, "lr");
    json_put_short(&json, record->lr);
    json_key(&json, "grad_norm");
    json_put_short(&json, record->grad_norm);
    json_key(&json, "tokens");
    json_put_integer(&json, record->tokens);
    json_key(&json, "seconds");
    json_put_short(&json, record->seconds);
    json_key(&json, "tokens_per_s");
    json_put_short(&json, (double)record->tokens / record->seconds);
    json_key(&json, "skipped");
    json_put_boolean(&json, record->skipped);
    return finish_line(log, &json, error);
}

bool log_evaluation(Log *log, const EvaluationRecord *record, Error *error)
{
    char text[256];
    if (log->descriptor < 0)
        return true;
    JsonWriter json = json_to_buffer(text, sizeof text - 1);
    json_open(&json, '{');
    json_key(&json, "eval_loss");
    json_put_short(&json, record->loss);
    if (record->accuracy >= 0) {
        json_key(&json, "accuracy");
        json_put_short(&json, record->accuracy);
    }
    json_key(&json, "step");
    json_put_integer(&json, record->step);
    return finish_line(log, &json, error);
}

bool log_sync(Log *log, Error *error)
{
    /* EINVAL: a pipe or a terminal, which has nothing to keep. */
    return log->descriptor < 0 || fdatasync(log->descriptor) == 0
        || errno == EINVAL || errno == EROFS
        || error_system(error, errno, "cannot write %s", log->path);
}

void log_close(Log *log)
{
    if (log->descriptor >= 0)
        close(log->descriptor);
    log->descriptor = -1;
}
