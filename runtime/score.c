/* score.c: `score`: how likely a language model finds completions of contexts,
 * a line of JSON a line of the file (docs/contract.md, section 1). The file is
 * TSV or JSONL:
 *
 *     context TAB completion
 *     {"prompt": …, "response": …}
 *     {"context": …, "choices": [ … ], "label": N}   perhaps without label
 *
 * A completion gives {"logprob": its sum, "token_logprobs": [ … ]}; choices
 * give {"choice": the likeliest, "label": N, "logprobs": [ … ],
 * "token_logprobs": [[ … ], … ]}. Logarithms are natural. With labels, accuracy
 * is said on stderr at the end: of the likeliest choice, and of the one with
 * the largest mean of a byte. A token is a byte, nothing is put between context
 * and completion nor behind it. A context loses its beginning where both are
 * longer than the model's; an empty one is bos, where the model has it.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "elementary.h"
#include "inputs.h"
#include "lines.h"
#include "parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Scores {
    const Program *program;
    const Options *options;
    Special special;
    Data data;
    Lines lines;
    Rank rank;
    const Step *step;           /* forward: logits of every position */
    double *logs;               /* of a completion's tokens, [context] */
    int64_t known, right, right_by_byte;    /* lines with a label */
} Scores;

/* ---- a completion ------------------------------------------------------- */

/* log softmax of a row at one id */
static double log_probability(const float *logits, int64_t count, int32_t of)
{
    float most = logits[0];
    double sum = 0;
    for (int64_t i = 1; i < count; i++)
        most = logits[i] > most ? logits[i] : most;
    for (int64_t i = 0; i < count; i++)
        sum += f64_exp((double)logits[i] - (double)most);
    return (double)logits[of] - (double)most - f64_log(sum);
}

/* Token i of context and completion together; `head` may come before them. */
static int32_t token_at(Text context, Text completion, int32_t head, int64_t i)
{
    if (head >= 0 && i-- == 0)
        return head;
    return i < context.length ? (unsigned char)context.bytes[i]
        : (unsigned char)completion.bytes[i - context.length];
}

/* Runs all tokens but the last; fills s->logs for those of the completion. */
static bool score_completion(Scores *s, int64_t line, Text context,
                             Text completion, Error *error)
{
    int64_t room = s->step->sequence + 1, n = completion.length;
    int32_t head = context.length == 0 ? s->special.id[SPECIAL_BOS] : -1;
    if (n == 0 || n >= room)
        return lines_error(&s->lines, line, error, "a completion of %lld "
                           "bytes; there must be 1 to %lld", (long long)n,
                           (long long)room - 1);
    if (context.length == 0 && head < 0)
        return lines_error(&s->lines, line, error, "an empty context, and the "
                           "model has no token bos to begin with");
    if (context.length > room - n) {
        context.bytes += context.length - (room - n);
        context.length = room - n;
    }
    int64_t before = context.length + (head >= 0), count = before + n - 1;
    Control *control = &s->rank.control;
    rank_select(&s->rank, s->step);
    control->sequence = count;
    control->sharpness = 1;
    for (int64_t i = 0; i < count; i++)
        control->tokens[i] = token_at(context, completion, head, i);
    if (control->lengths)
        control->lengths[0] = (int32_t)count;
    rank_run(&s->rank, s->step);
    int64_t width = logits_width(s->program, s->step);
    const float *logits = rank_floats(&s->rank, s->step->logits_at);
    for (int64_t i = 0; i < n; i++)
        s->logs[i] = log_probability(logits + (before - 1 + i) * width, width,
                                     (unsigned char)completion.bytes[i]);
    return true;
}

static double sum_of(const Scores *s, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += s->logs[i];
    return sum;
}

/* ---- a line ------------------------------------------------------------- */

/* Lists are gathered as text and printed when a line is whole. */
typedef struct List {
    char *text;
    size_t length, room;
} List;

static bool list_put(List *list, const char *text, Error *error)
{
    size_t length = strlen(text);
    if (list->length + length + 1 > list->room) {
        size_t room = 2 * (list->length + length) + 256;
        char *wider = realloc(list->text, room);
        if (!wider)
            return error_set(error, ERROR_ENVIRONMENT, "out of memory");
        list->text = wider;
        list->room = room;
    }
    memcpy(list->text + list->length, text, length + 1);
    list->length += length;
    return true;
}

/* A number of JSON, which has no infinities. */
static const char *number(char out[40], const char *before, double value)
{
    if (isfinite(value))
        snprintf(out, 40, "%s%.9g", before, value);
    else
        snprintf(out, 40, "%snull", before);
    return out;
}

static bool list_logs(const Scores *s, List *list, int64_t count, Error *error)
{
    char text[40];
    bool good = list_put(list, "[", error);
    for (int64_t i = 0; good && i < count; i++)
        good = list_put(list, number(text, i ? "," : "", s->logs[i]), error);
    return good && list_put(list, "]", error);
}

static bool put_completion(Scores *s, int64_t line, const Parts *parts,
                           Error *error)
{
    List logs = {0};
    char sum[40];
    bool good = score_completion(s, line, parts->first, parts->second, error)
        && list_logs(s, &logs, parts->second.length, error);
    if (good)
        printf("{\"logprob\":%s,\"token_logprobs\":%s}\n",
               number(sum, "", sum_of(s, parts->second.length)), logs.text);
    free(logs.text);
    return good;
}

/* The choices of a line, as they are scored. */
typedef struct Choices {
    List sums, logs;
    double most, most_by_byte;
    int64_t best, best_by_byte;
} Choices;

static bool add_choice(Scores *s, Choices *choices, int64_t index,
                       int64_t length, Error *error)
{
    char text[40];
    double sum = sum_of(s, length), mean = sum / (double)length;
    if (index == 0 || sum > choices->most) {
        choices->most = sum;
        choices->best = index;
    }
    if (index == 0 || mean > choices->most_by_byte) {
        choices->most_by_byte = mean;
        choices->best_by_byte = index;
    }
    return list_put(&choices->sums, number(text, index ? "," : "", sum), error)
        && (index == 0 || list_put(&choices->logs, ",", error))
        && list_logs(s, &choices->logs, length, error);
}

static void print_choices(Scores *s, const Choices *choices, int64_t label)
{
    printf("{\"choice\":%lld,", (long long)choices->best);
    if (label >= 0)
        printf("\"label\":%lld,", (long long)label);
    printf("\"logprobs\":[%s],\"token_logprobs\":[%s]}\n", choices->sums.text,
           choices->logs.text);
    s->known += label >= 0;
    s->right += label == choices->best;
    s->right_by_byte += label == choices->best_by_byte;
}

static Text text_of(const Json *json, int token)
{
    if (token < 0 || json->tokens[token].kind != JSON_STRING)
        return (Text){0};
    return (Text){ json->tokens[token].string, json->tokens[token].length };
}

/* {"context", "choices", "label"}, of which `list` is the second. */
static bool put_choices(Scores *s, int64_t line, const Json *json, int list,
                        Error *error)
{
    Choices choices = {0};
    Text context = text_of(json, json_member(json, 0, "context"));
    int count = json->tokens[list].kind == JSON_ARRAY
        ? json->tokens[list].count : 0;
    int member = json_member(json, 0, "label");
    int64_t label = -1;
    if (!context.bytes || count == 0
        || (member >= 0 && (!json_integer(json, member, &label) || label < 0
                            || label >= count)))
        return lines_error(&s->lines, line, error, "wanted {\"context\": a "
                           "text, \"choices\": [texts], \"label\": the number "
                           "of one}");
    bool good = true;
    for (int i = 0; good && i < count; i++) {
        Text choice = text_of(json, list + 1 + i);
        good = choice.bytes
            ? score_completion(s, line, context, choice, error)
                && add_choice(s, &choices, i, choice.length, error)
            : lines_error(&s->lines, line, error, "choice %d is no text", i);
    }
    if (good)
        print_choices(s, &choices, label);
    free(choices.sums.text);
    free(choices.logs.text);
    return good;
}

static bool put_pair(Scores *s, int64_t line, Text text, Error *error)
{
    Parts parts;
    Error what = {0};
    bool good = s->data.format == DATA_TSV
        ? parts_of_tsv(&parts, text, PARTS_PAIR, false, &what)
        : parts_of_json(&parts, text, PARTS_PAIR, false, &what);
    if (!good)
        return lines_error(&s->lines, line, error, "%s", what.text);
    good = put_completion(s, line, &parts, error);
    parts_free(&parts);
    return good;
}

static bool score_line(Scores *s, int64_t line, Error *error)
{
    const char *bytes;
    size_t length;
    Json json = {0};
    Error what = {0};
    if (!lines_read(&s->lines, line, &bytes, &length, error))
        return false;
    const Text text = { bytes, (int64_t)length };
    if (s->data.format == DATA_TSV)
        return put_pair(s, line, text, error);
    if (!json_parse(&json, "line", bytes, length, &what))
        return lines_error(&s->lines, line, error, "%s", what.text);
    int choices = json_member(&json, 0, "choices");
    bool good = choices >= 0 ? put_choices(s, line, &json, choices, error)
                             : put_pair(s, line, text, error);
    json_free(&json);
    return good;
}

/* ---- the command -------------------------------------------------------- */

static void print_accuracy(const Scores *s)
{
    fflush(stdout);
    if (s->known > 0)
        fprintf(stderr, "accuracy %.6g (%lld of %lld), by the mean of a byte "
                "%.6g\n", (double)s->right / (double)s->known,
                (long long)s->right, (long long)s->known,
                (double)s->right_by_byte / (double)s->known);
}

static bool score_lines(Scores *s, Error *error)
{
    s->logs = calloc((size_t)s->step->sequence + 1, sizeof *s->logs);
    if (!s->logs)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    if (!open_with_weights(&s->rank, s->program, "forward", s->options, error))
        return false;
    bool good = true;
    for (int64_t line = 0; good && line < s->lines.count; line++)
        good = score_line(s, line, error);
    rank_close(&s->rank);
    if (good)
        print_accuracy(s);
    return good;
}

static bool open_lines(Scores *s, const Settings *settings, Error *error)
{
    DataFormat format;
    if (!data_format_named(settings->data_format, &format))
        format = DATA_AUTO;
    if (!data_open(&s->data, &s->options->data, 1, format, s->program->vocab,
                   error))
        return false;
    bool good = s->data.format == DATA_TSV || s->data.format == DATA_JSONL
        || error_set(error, ERROR_INPUT, "%s is %s; score reads TSV and JSONL",
                     s->options->data, data_format_name(s->data.format));
    if (good && lines_open(&s->lines, &s->data, false, error))
        return true;
    data_close(&s->data);
    return false;
}

static bool can_score(const Scores *s, Error *error)
{
    const Program *program = s->program;
    return (s->step && s->step->logits_at >= 0 && program->causal
            && !is_encoder_decoder(program) && program->vocab >= 256)
        || error_set(error, ERROR_INPUT, "score is for decoders that predict "
                     "the next token, with a vocabulary that has bytes");
}

int command_score(const Program *program, const Options *options, Error *error)
{
    Settings settings;
    Scores s = { .program = program, .options = options,
                 .step = program_step(program, "forward") };
    if (!options->weights || !options->data)
        return error_set(error, ERROR_USAGE, "score needs --weights and "
                         "--data"), error->status;
    if (!can_score(&s, error))
        return error->status;
    bool good = settings_read(&settings, program, &options->sets, error)
        && special_read(&s.special, &settings, program->vocab, true, error)
        && open_lines(&s, &settings, error);
    if (good) {
        good = score_lines(&s, error);
        lines_close(&s.lines);
        data_close(&s.data);
    }
    free(s.logs);
    settings_free(&settings);
    return good ? 0 : error->status;
}
