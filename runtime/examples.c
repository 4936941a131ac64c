/* examples.c: see examples.h. Read from the bottom: examples_open finds the
 * reader that an objective has for a format, examples_read asks it for one
 * example and makes rows of what it says.
 * SPDX-License-Identifier: 0BSD */
#include "examples.h"
#include "sentences.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const objective_names[OBJECTIVES] = {
    [OBJECTIVE_NEXT_TOKEN] = "next-token",
    [OBJECTIVE_MASKED] = "masked-token",
    [OBJECTIVE_MASKED_PAIRS] = "masked-token+next-sentence",
    [OBJECTIVE_SEQ2SEQ] = "seq2seq",
    [OBJECTIVE_CLASSIFY] = "classify",
    [OBJECTIVE_PREFERENCE] = "preference",
};

/* ---- labels ------------------------------------------------------------- */

/* The label of a line of TSV: what is before its first tab. */
static bool collect_line(Labels *labels, const LineScan *scan, Error *error)
{
    const char *head = (const char *)scan->head;
    const char *tab = memchr(head, '\t', scan->head_length);
    return !tab || labels_add(labels, head, (size_t)(tab - head), error);
}

/* There is a label more than the model has classes: this line's. */
static void note_overflow(const Labels *labels, const LineScan *scan,
                          Error *error)
{
    const char *head = (const char *)scan->head;
    const char *tab = memchr(head, '\t', scan->head_length);
    int length = tab ? (int)(tab - head) : 0;
    error_set(error, ERROR_INPUT, "%s:%lld: label '%.*s' is one too many: the "
              "model has %lld classes", scan->data->files[scan->file].path,
              (long long)scan->number, length, head,
              (long long)labels->classes);
}

static bool collect_all(Labels *labels, LineScan *scan, Error *error)
{
    Error failed = {0}, overflow = {0};
    while (scan_next(scan, &failed)) {
        bool full = labels->count > labels->classes;
        if (!collect_line(labels, scan, error))
            return false;
        if (!full && labels->count > labels->classes)
            note_overflow(labels, scan, &overflow);
    }
    const Error *wrong = failed.status ? &failed
        : labels->names && overflow.status ? &overflow : NULL;
    if (wrong)
        *error = *wrong;
    else
        labels_settle(labels);
    return !wrong;
}

bool examples_collect(Labels *labels, Data *data, Error *error)
{
    LineScan *scan = calloc(1, sizeof *scan);
    if (!scan)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    scan_start(scan, data);
    bool good = collect_all(labels, scan, error);
    free(scan);
    return good;
}

/* ---- lines -------------------------------------------------------------- */

/* The error of what a line says, with its place. */
static bool at_line(const Examples *examples, int64_t line, const Error *what,
                    Error *error)
{
    if (what->status == ERROR_INPUT)
        return lines_error(&examples->lines, line, error, "%s", what->text);
    *error = *what;
    return false;
}

static bool find_label(const Examples *examples, Text text, int32_t *label,
                       Error *error)
{
    int64_t number = -1;
    *label = -1;
    if (!text.bytes)
        return true;
    LabelFound found = labels_find(examples->labels, text.bytes,
                                   (size_t)text.length, &number);
    *label = (int32_t)number;
    if (found == LABEL_FOUND)
        return true;
    char why[400];
    labels_explain(examples->labels, found, text.bytes, (size_t)text.length,
                   why);
    return error_set(error, ERROR_INPUT, "%s", why);
}

/* What a line's parts must be beyond their form. */
static bool check_parts(const Examples *examples, const Parts *parts,
                        Error *error)
{
    bool empty = parts->first.length == 0;
    switch (examples->objective) {
    case OBJECTIVE_CLASSIFY:
        if (parts->second.bytes)
            return special_need(&examples->special, SPECIAL_SEP,
                                "a pair of texts", error);
        return !empty || examples->cls
            || error_set(error, ERROR_INPUT, "the text is empty");
    case OBJECTIVE_NEXT_TOKEN:
        return !empty || parts->second.length > 0
            || error_set(error, ERROR_INPUT, "both texts are empty");
    case OBJECTIVE_PREFERENCE:
        return !empty
            || (parts->second.length > 0 && parts->third.length > 0)
            || error_set(error, ERROR_INPUT, "the prompt and a response are "
                         "empty");
    case OBJECTIVE_MASKED: case OBJECTIVE_MASKED_PAIRS: case OBJECTIVE_SEQ2SEQ:
    case OBJECTIVES:
        break;
    }
    return true;
}

/* Reads a line and takes it apart; parts_free is due where it succeeds. The
 * texts hold until another line is read. */
static bool read_parts(Examples *examples, int64_t line, Parts *parts,
                       int32_t *label, Error *error)
{
    Error what = {0};
    size_t length;
    Text text = {0};
    *parts = (Parts){0};
    if (!lines_read(&examples->lines, line, &text.bytes, &length, error))
        return false;
    text.length = (int64_t)length;
    DataFormat format = examples->data->format;
    bool classifies = examples->objective == OBJECTIVE_CLASSIFY;
    bool open_ended = examples->unlabelled
        && (classifies || examples->objective == OBJECTIVE_SEQ2SEQ);
    PartsForm form = classifies ? PARTS_LABELLED
        : examples->objective == OBJECTIVE_PREFERENCE ? PARTS_PREFERENCE
        : PARTS_PAIR;
    bool good = true;
    if (format == DATA_TSV)
        good = parts_of_tsv(parts, text, form, open_ended, &what);
    else if (format == DATA_JSONL)
        good = parts_of_json(parts, text, form, open_ended, &what);
    else
        parts->first = text;
    if (good && check_parts(examples, parts, &what)
        && find_label(examples, parts->label, label, &what))
        return true;
    if (good)
        parts_free(parts);
    return at_line(examples, line, &what, error);
}

static bool check_lines(Examples *examples, Error *error)
{
    for (int64_t i = 0; i < examples->lines.count; i++) {
        Parts parts;
        int32_t label;
        if (!read_parts(examples, i, &parts, &label, error))
            return false;
        parts_free(&parts);
    }
    return true;
}

/* ---- rows of lines ------------------------------------------------------ */

/* Type 1, where the program has one. */
static int32_t second_type(const Examples *examples)
{
    return examples->program->token_types > 1;
}

static void put_pair(const Examples *examples, Text first, Text second,
                     const Example *example)
{
    const EncoderRow row = {
        .first = first, .second = second, .second_type = second_type(examples),
        .cls = examples->cls,
    };
    rows_encoder(&row, &examples->special, example);
}

/* A response to a prompt, of which the response is scored. */
static void put_reply(const Examples *examples, Text prompt, Text response,
                      int side, const Example *example)
{
    const DecoderRow row = {
        .head = -1, .tail = examples->special.id[SPECIAL_EOS],
        .first = prompt, .second = response, .scored = prompt.length,
        .side = side,
    };
    rows_decoder(&row, &examples->special, example);
}

/* Without a target, there is nothing to read or to score. */
static void put_translation(const Examples *examples, const Parts *parts,
                            const Example *example)
{
    bool known = parts->second.bytes != NULL;
    const DecoderRow row = {
        .head = examples->special.id[SPECIAL_BOS],
        .tail = known ? examples->special.id[SPECIAL_EOS] : -1,
        .first = parts->second,
    };
    rows_source(parts->first, &examples->special, example);
    rows_decoder(&row, &examples->special, example);
}

static bool read_line(Examples *examples, int64_t index,
                      const Example *example, Error *error)
{
    Parts parts;
    int32_t label = -1;
    if (!read_parts(examples, index, &parts, &label, error))
        return false;
    switch (examples->objective) {
    case OBJECTIVE_NEXT_TOKEN:
        put_reply(examples, parts.first, parts.second, 0, example);
        break;
    case OBJECTIVE_PREFERENCE:
        put_reply(examples, parts.first, parts.second, 0, example);
        put_reply(examples, parts.first, parts.third, 1, example);
        break;
    case OBJECTIVE_SEQ2SEQ:
        put_translation(examples, &parts, example);
        break;
    case OBJECTIVE_CLASSIFY:
        put_pair(examples, parts.first, parts.second, example);
        break;
    case OBJECTIVE_MASKED: case OBJECTIVE_MASKED_PAIRS: case OBJECTIVES:
        break;
    }
    if (example->labels)
        *example->labels = label;
    parts_free(&parts);
    return true;
}

/* ---- sentences ---------------------------------------------------------- */

/* Reads a first sentence and keeps as much of it as a row can take. */
static bool hold_line(Examples *examples, int64_t line, int64_t most,
                      Text *text, Error *error)
{
    const char *bytes;
    size_t length;
    if (!lines_read(&examples->lines, line, &bytes, &length, error))
        return false;
    if (length > (size_t)most)
        length = (size_t)most;
    if (length > examples->held_room) {
        char *grown = realloc(examples->held, length);
        if (!grown)
            return error_set(error, ERROR_ENVIRONMENT, "no memory for a line "
                             "of data");
        examples->held = grown;
        examples->held_room = length;
    }
    memcpy(examples->held, bytes, length);
    *text = (Text){ examples->held, (int64_t)length };
    return true;
}

static bool read_sentences(Examples *examples, int64_t index,
                           const ExampleDraw *draw, const Example *example,
                           Error *error)
{
    const SentenceDraw by = {
        .first = draw->first, .count = draw->count, .seed = examples->seed,
        .example = draw->number, .training = draw->training,
    };
    SentencePair pair = sentences_pair(&examples->lines, index, &by);
    Text first = {0}, second = {0};
    size_t length;
    int32_t unused_length;
    Example row = *example;
    if (!row.lengths)
        row.lengths = &unused_length;
    if (!hold_line(examples, pair.first, example->sequence, &first, error)
        || !lines_read(&examples->lines, pair.second, &second.bytes, &length,
                       error))
        return false;
    second.length = (int64_t)length;
    put_pair(examples, first, second, &row);
    examples_mask(examples, draw, *row.lengths, &row);
    if (example->labels)
        *example->labels = pair.label;
    return true;
}

/* ---- one example -------------------------------------------------------- */

void examples_mask(const Examples *examples, const ExampleDraw *draw,
                   int64_t length, const Example *example)
{
    const MaskingDraw by = { draw->training, draw->number };
    if (!example->tokens || !example->targets)
        return;
    masking_apply(&examples->masking, by, length, example->tokens,
                  example->targets);
    rows_fill(example->targets, length, example->sequence, -1);
}

bool examples_read(Examples *examples, int64_t index, const ExampleDraw *draw,
                   const Example *example, Error *error)
{
    int64_t at = draw->first + index;
    switch (examples->kind) {
    case EXAMPLES_WINDOWS:
        break;
    case EXAMPLES_SENTENCES:
        return read_sentences(examples, at, draw, example, error);
    case EXAMPLES_LINES:
        return read_line(examples, at, example, error);
    case EXAMPLES_IMAGES:
        if (example->lengths)
            *example->lengths = (int32_t)example->sequence;
        return idx_read(&examples->idx, at, example->images, example->labels,
                        error);
    case EXAMPLES_TENSORS:
        return tensor_rows_read(&examples->tensors, at, example, error);
    }
    return true;
}

static void zero_reals(float *reals, int64_t count)
{
    if (reals)
        memset(reals, 0, (size_t)count * sizeof *reals);
}

void examples_blank(const Examples *examples, const Example *example)
{
    const Program *p = examples->program;
    bool pairs = examples->objective == OBJECTIVE_PREFERENCE;
    int64_t sides = pairs ? 2 : 1, T = example->sequence;
    int32_t padding = special_padding(&examples->special);
    rows_fill(example->tokens, 0, sides * T, padding);
    rows_fill(example->targets, 0, sides * T, -1);
    rows_fill(example->lengths, 0, sides, 0);
    rows_fill(example->source, 0, T, padding);
    rows_fill(example->source_lengths, 0, 1, 0);
    rows_fill(example->types, 0, sides * T, 0);
    rows_fill(example->labels, 0, 1, -1);
    rows_fill(example->edges, 0, p->nodes * p->nodes, 0);
    zero_reals(example->images, p->channels * p->image_size * p->image_size);
    zero_reals(example->nodes, p->nodes * p->node_features);
    zero_reals(example->reference, 2);
}

/* ---- opening ------------------------------------------------------------ */

/* The reader for a format; false: there is none for this objective. */
static bool find_kind(const Examples *examples, ExamplesKind *kind)
{
    DataFormat format = examples->data->format;
    bool bytes = format == DATA_TEXT || format == DATA_BYTES;
    bool images = examples->program->image_size > 0;
    bool tokens = !images && examples->program->nodes == 0;
    bool table = format == DATA_TSV || format == DATA_JSONL;
    bool open_text = bytes && examples->unlabelled;
    *kind = EXAMPLES_TENSORS;
    if (format == DATA_SAFETENSORS)
        return true;
    *kind = EXAMPLES_LINES;
    switch (examples->objective) {
    case OBJECTIVE_NEXT_TOKEN:
        if (data_is_tokens(format))
            *kind = EXAMPLES_WINDOWS;
        return table || data_is_tokens(format);
    case OBJECTIVE_MASKED:
        *kind = EXAMPLES_WINDOWS;
        return data_is_tokens(format);
    case OBJECTIVE_MASKED_PAIRS:
        *kind = EXAMPLES_SENTENCES;
        return bytes;
    case OBJECTIVE_SEQ2SEQ:
        return table || open_text;
    case OBJECTIVE_CLASSIFY:
        if (images)
            *kind = EXAMPLES_IMAGES;
        return images ? format == DATA_IDX
                      : tokens && (format == DATA_TSV || open_text);
    case OBJECTIVE_PREFERENCE:
        return format == DATA_JSONL;
    case OBJECTIVES:
        break;
    }
    return false;
}

/* What an objective reads, in words. */
static const char *wanted(const Examples *examples)
{
    switch (examples->objective) {
    case OBJECTIVE_NEXT_TOKEN: return "text, tokens, tsv, jsonl or safetensors";
    case OBJECTIVE_MASKED: return "text, tokens or safetensors";
    case OBJECTIVE_MASKED_PAIRS: return "text (a sentence a line) or "
                                        "safetensors";
    case OBJECTIVE_SEQ2SEQ: return "tsv, jsonl or safetensors";
    case OBJECTIVE_CLASSIFY:
        return examples->program->image_size > 0 ? "idx or safetensors"
             : examples->program->nodes > 0 ? "safetensors"
             : "tsv or safetensors";
    case OBJECTIVE_PREFERENCE: return "jsonl or safetensors";
    case OBJECTIVES: break;
    }
    return "";
}

/* The value of a key that was fixed when the program was built. */
static bool key_is(const Program *program, const char *path, const char *value)
{
    for (int i = 0; i < program->key_count; i++)
        if (strcmp(program->keys[i].path, path) == 0)
            return strcmp(program->keys[i].value, value) == 0;
    return false;
}

static bool wants_cls(const Examples *examples)
{
    static const char pool[] = "model.head.classify.pool";
    const Program *program = examples->program;
    const int32_t *id = examples->special.id;
    if (id[SPECIAL_CLS] < 0 || id[SPECIAL_SEP] < 0)
        return false;
    return examples->objective == OBJECTIVE_MASKED_PAIRS
        || key_is(program, "model.head.classify.pooler", "true")
        || key_is(program, pool, "cls") || key_is(program, pool, "first");
}

/* Reads the special tokens and sees that those are there that rows need. */
static bool open_special(Examples *examples, const Settings *settings,
                         Error *error)
{
    static const struct { Objective objective; SpecialToken token; } needs[] = {
        { OBJECTIVE_MASKED_PAIRS, SPECIAL_CLS },
        { OBJECTIVE_MASKED_PAIRS, SPECIAL_SEP },
        { OBJECTIVE_SEQ2SEQ, SPECIAL_BOS }, { OBJECTIVE_SEQ2SEQ, SPECIAL_EOS },
        { OBJECTIVE_NEXT_TOKEN, SPECIAL_EOS },
        { OBJECTIVE_PREFERENCE, SPECIAL_EOS },
    };
    int64_t vocab = examples->program->vocab;
    DataFormat format = examples->data->format;
    bool bytes = format == DATA_TSV || format == DATA_JSONL;
    for (int i = 0; i < SPECIAL_TOKENS; i++)
        examples->special.id[i] = -1;
    if (data_is_tokens(format)) {
        bytes = true;
        for (int i = 0; i < examples->data->count; i++)
            bytes &= examples->data->files[i].token_bytes == 1;
    }
    if (vocab > 0
        && !special_read(&examples->special, settings, vocab, bytes, error))
        return false;
    if (examples->kind == EXAMPLES_TENSORS || vocab <= 0)
        return true;
    bool rows = examples->kind != EXAMPLES_WINDOWS;
    Objective objective = examples->objective;
    for (int i = 0; rows && i < (int)(sizeof needs / sizeof *needs); i++)
        if (needs[i].objective == objective
            && !special_need(&examples->special, needs[i].token,
                             objective_names[objective], error))
            return false;
    examples->cls = wants_cls(examples);
    bool masks = objective == OBJECTIVE_MASKED
        || objective == OBJECTIVE_MASKED_PAIRS;
    return !masks || masking_open(&examples->masking, settings,
                                  &examples->special, vocab, error);
}

static bool open_lines(Examples *examples, bool collect, Error *error)
{
    Data *data = examples->data;
    bool sentences = examples->kind == EXAMPLES_SENTENCES;
    bool named = examples->objective == OBJECTIVE_CLASSIFY
        && data->format == DATA_TSV && collect;
    if (named && !examples_collect(examples->labels, data, error))
        return false;
    if (!lines_open(&examples->lines, data, sentences, error))
        return false;
    examples->count = examples->lines.count;
    if (!sentences)
        return !data_is_small(data) || check_lines(examples, error);
    examples->count = sentences_count(&examples->lines);
    return examples->count > 0
        || error_set(error, ERROR_INPUT, "%s: no document has two lines: a "
                     "sentence a line is wanted, a blank line between "
                     "documents", data->files[0].path);
}

static bool open_images(Examples *examples, Error *error)
{
    const Program *p = examples->program;
    const IdxShape shape = { p->channels, p->image_size, p->classes };
    bool good = idx_open(&examples->idx, examples->data, &shape,
                         examples->unlabelled, error);
    examples->count = examples->idx.count;
    return good;
}

static bool open_tensors(Examples *examples, Error *error)
{
    const Program *p = examples->program;
    examples->tensors = (TensorRows){
        .program = p, .data = examples->data,
        .unlabelled = examples->unlabelled,
        .padding = special_padding(&examples->special),
    };
    int64_t longest = examples->unlabelled ? p->context : p->sequence;
    bool good = tensor_rows_open(&examples->tensors, longest, error);
    examples->count = examples->tensors.count;
    return good;
}

static bool find_objective(Examples *examples, Error *error)
{
    for (int i = 0; i < OBJECTIVES; i++)
        if (strcmp(examples->program->objective, objective_names[i]) == 0) {
            examples->objective = (Objective)i;
            return true;
        }
    return error_set(error, ERROR_ENVIRONMENT, "internal error: no objective "
                     "is called %s", examples->program->objective);
}

bool examples_open(Examples *examples, const Settings *settings, bool collect,
                   Error *error)
{
    examples->seed = (uint64_t)settings->seed;
    if (!find_objective(examples, error))
        return false;
    if (!find_kind(examples, &examples->kind))
        return error_set(error, ERROR_INPUT, "%s: %s reads %s, not %s "
                         "(train.data.format)", examples->data->files[0].path,
                         objective_names[examples->objective],
                         wanted(examples),
                         data_format_name(examples->data->format));
    if (!open_special(examples, settings, error))
        return false;
    switch (examples->kind) {
    case EXAMPLES_WINDOWS:
        examples->count = examples->data->tokens;
        return true;
    case EXAMPLES_SENTENCES: case EXAMPLES_LINES:
        return open_lines(examples, collect, error);
    case EXAMPLES_IMAGES:
        return open_images(examples, error);
    case EXAMPLES_TENSORS:
        return open_tensors(examples, error);
    }
    return true;
}

void examples_close(Examples *examples)
{
    lines_close(&examples->lines);
    idx_close(&examples->idx);
    tensor_rows_close(&examples->tensors);
    free(examples->held);
    *examples = (Examples){0};
}
