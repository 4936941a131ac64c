/* corpus.c: see corpus.h. Files are opened by data.h, what is in them by
 * examples.h; here they are cut into training and evaluation and put in order.
 * Windows of tokens are read here, other examples by examples_read.
 * SPDX-License-Identifier: 0BSD */
#include "corpus.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------ */

static bool open_paths(Data *data, const Program *program,
                       const Settings *settings, const TextList *paths,
                       Error *error)
{
    DataFormat format;
    if (!data_format_named(settings->data_format, &format))
        return error_set(error, ERROR_INPUT, "train.data.format: there is no "
                         "format %s", settings->data_format);
    if (paths->count == 0 || !paths->at[0][0])
        return error_set(error, ERROR_INPUT, "there is no data: give --data, "
                         "or train.data.path in the spec");
    /* Images and graphs have no vocabulary that bytes could be too many for:
     * examples_open says which format they want. */
    int64_t vocab = program->vocab > 0 ? program->vocab : INT32_MAX;
    return data_open(data, paths->at, paths->count, format, vocab, error);
}

/* Opens a set of files and what is in it; both are closed after a failure. */
static bool open_set(Data *data, Examples *examples, const Settings *settings,
                     const TextList *paths, bool collect, Error *error)
{
    if (!open_paths(data, examples->program, settings, paths, error))
        return false;
    examples->data = data;
    if (examples_open(examples, settings, collect, error))
        return true;
    examples_close(examples);
    data_close(data);
    return false;
}

static bool wants_separate(const Settings *settings)
{
    const TextList *paths = &settings->data_eval;
    return paths->count > 0 && paths->at[0][0];
}

static void start(Corpus *corpus, const Program *program,
                  const Settings *settings)
{
    *corpus = (Corpus){ .program = program };
    corpus->order = (DataOrder){
        .shuffled = strcmp(settings->data_order, "shuffled") == 0,
        .seed = (uint64_t)settings->seed,
        .batch = program->batch,
        .sequence = program->sequence,
    };
    corpus->examples = corpus->eval_examples =
        (Examples){ .program = program, .labels = &corpus->labels };
    labels_start(&corpus->labels, program->classes);
}

/* Holds out the last examples. */
static bool split_examples(Corpus *corpus, const char *split, Error *error)
{
    Data *data = &corpus->data;
    int64_t count = corpus->examples.count;
    if (corpus->examples.kind == EXAMPLES_WINDOWS)
        return data_split(data, split, &corpus->train, &corpus->eval, error);
    int64_t cut = data_held_out(count, split);
    if (cut < 0)
        return error_set(error, ERROR_INPUT, "split '%s' is no decimal number "
                         "from 0 to below 1", split);
    corpus->train = (DataRange){ data, 0, count - cut };
    corpus->eval = (DataRange){ data, count - cut, cut };
    return true;
}

static bool open_separate(Corpus *corpus, const Settings *settings,
                          Error *error)
{
    if (!open_set(&corpus->eval_data, &corpus->eval_examples, settings,
                  &settings->data_eval, false, error))
        return false;
    corpus->eval_is_separate = true;
    corpus->eval = (DataRange){ &corpus->eval_data, 0,
                                corpus->eval_examples.count };
    return true;
}

bool corpus_open(Corpus *corpus, const Program *program,
                 const Settings *settings, const char *path, Error *error)
{
    start(corpus, program, settings);
    TextList one = { &path, 1 };
    bool separate = wants_separate(settings);
    if (open_set(&corpus->data, &corpus->examples, settings,
                 path ? &one : &settings->data_path, true, error)
        && split_examples(corpus, separate ? "0" : settings->data_split, error)
        && (!separate || open_separate(corpus, settings, error)))
        return true;
    corpus_close(corpus);
    return false;
}

/* The names of labels as the training data has them, if it can be read. */
static bool collect_from_training(Corpus *corpus, const Settings *settings)
{
    Data data;
    Error none;
    if (!open_paths(&data, corpus->program, settings, &settings->data_path,
                    &none))
        return false;
    bool good = data.format == DATA_TSV
        && examples_collect(&corpus->labels, &data, &none);
    data_close(&data);
    if (!good) {
        labels_close(&corpus->labels);
        labels_start(&corpus->labels, corpus->program->classes);
    }
    return good;
}

/* Names found in the file that is evaluated are numbered as in training only if
 * none is missing. */
static bool check_names(const Corpus *corpus, Error *error)
{
    const Labels *labels = &corpus->labels;
    return !labels->names || labels->count == labels->classes
        || error_set(error, ERROR_INPUT, "%s: has %lld labels of the model's "
                     "%lld, so their numbers are not known; they are numbered "
                     "in the order of all names in train.data.path, which "
                     "cannot be read", corpus->data.files[0].path,
                     (long long)labels->count, (long long)labels->classes);
}

bool corpus_open_source(Corpus *corpus, const Program *program,
                        const Settings *settings, const CorpusSource *source,
                        Error *error)
{
    start(corpus, program, settings);
    const TextList *names = source->labels;
    TextList one = { (const char **)&source->path, 1 };
    bool known = names && names->count > 0;
    if (known
        && !labels_given(&corpus->labels, names->at, names->count, error)) {
        labels_close(&corpus->labels);
        return false;
    }
    bool classifies = strcmp(program->objective, "classify") == 0;
    if (!known && classifies && program->vocab > 0)
        known = collect_from_training(corpus, settings);
    corpus->examples.unlabelled = source->unlabelled;
    if (open_set(&corpus->data, &corpus->examples, settings, &one, !known,
                 error)
        && (known || check_names(corpus, error))) {
        corpus->eval = (DataRange){ &corpus->data, 0, corpus->examples.count };
        return true;
    }
    corpus_close(corpus);
    return false;
}

bool corpus_open_whole(Corpus *corpus, const Program *program,
                       const Settings *settings, const char *path,
                       Error *error)
{
    const CorpusSource source = { .path = path };
    return corpus_open_source(corpus, program, settings, &source, error);
}

void corpus_close(Corpus *corpus)
{
    examples_close(&corpus->examples);
    examples_close(&corpus->eval_examples);
    labels_close(&corpus->labels);
    data_close(&corpus->data);
    if (corpus->eval_is_separate)
        data_close(&corpus->eval_data);
}

/* ---- what there is ------------------------------------------------------ */

static bool has_windows(const Corpus *corpus)
{
    return corpus->examples.kind == EXAMPLES_WINDOWS;
}

static Examples *eval_examples(Corpus *corpus)
{
    return corpus->eval_is_separate ? &corpus->eval_examples
                                    : &corpus->examples;
}

/* Whether windows need a token behind them. */
static bool needs_next(const Examples *examples)
{
    return examples->objective == OBJECTIVE_NEXT_TOKEN;
}

const char *corpus_unit(const Corpus *corpus)
{
    return has_windows(corpus) ? "tokens" : "examples";
}

int64_t corpus_train_count(const Corpus *corpus)
{
    int64_t count = corpus->train.count;
    if (!has_windows(corpus) || count < 1)
        return count;
    int64_t windows = (count - needs_next(&corpus->examples))
        / corpus->order.sequence;
    return windows < 1 ? 1 : windows;
}

int64_t corpus_eval_count(const Corpus *corpus)
{
    const Examples *examples = corpus->eval_is_separate
        ? &corpus->eval_examples : &corpus->examples;
    int64_t count = corpus->eval.count;
    if (examples->kind != EXAMPLES_WINDOWS || count < 1)
        return count;
    DataRange range = { corpus->eval.data, 0, count + !needs_next(examples) };
    return data_eval_windows(&range, corpus->order.sequence);
}

bool corpus_is_bytes(const DataRange *range)
{
    for (int i = 0; i < range->data->count; i++)
        if (range->data->files[i].token_bytes != 1)
            return false;
    return true;
}

const char *corpus_label_name(const Corpus *corpus, int64_t label)
{
    const Labels *labels = &corpus->labels;
    bool named = labels->names && label >= 0 && label < labels->count
        && label < labels->classes;
    return named ? labels->at[label] : NULL;
}

bool corpus_has_reference(const Corpus *corpus)
{
    return corpus->examples.kind == EXAMPLES_TENSORS
        && tensor_rows_has(&corpus->examples.tensors, ROLE_REFERENCE)
        && (!corpus->eval_is_separate
            || (corpus->eval_examples.kind == EXAMPLES_TENSORS
                && tensor_rows_has(&corpus->eval_examples.tensors,
                                   ROLE_REFERENCE)));
}

int32_t corpus_special(const Corpus *corpus, const char *name)
{
    for (int i = 0; i < SPECIAL_TOKENS; i++)
        if (strcmp(special_name((SpecialToken)i), name) == 0)
            return corpus->examples.special.id[i];
    return -1;
}

/* ---- windows ------------------------------------------------------------ */

/* Masked tokens have a target each, so their windows reach one token further:
 * up to the last. */
static int64_t window_start(const Corpus *corpus, int64_t step, int64_t row)
{
    DataRange range = corpus->train;
    range.count += corpus->order.shuffled && !needs_next(&corpus->examples);
    return data_train_start(&range, &corpus->order, step, row);
}

static bool fits(const Corpus *corpus, const Example *example, Error *error)
{
    return example->sequence >= corpus->order.sequence
        || error_set(error, ERROR_ENVIRONMENT, "internal error: rows of %lld "
                     "for windows of %lld", (long long)example->sequence,
                     (long long)corpus->order.sequence);
}

static void pad_window(const Examples *examples, int64_t length,
                       const Example *example)
{
    rows_fill(example->tokens, length, example->sequence,
              special_padding(&examples->special));
    rows_fill(example->targets, length, example->sequence, -1);
    rows_fill(example->types, 0, example->sequence, 0);
    rows_fill(example->labels, 0, 1, -1);
}

/* The window of a step that trains. */
static bool train_window(Corpus *corpus, int64_t step, int64_t row,
                         const ExampleDraw *draw, const Example *example,
                         Error *error)
{
    const DataOrder *order = &corpus->order;
    if (needs_next(&corpus->examples)) {
        if (!data_train_window(&corpus->train, order, step, row,
                               example->tokens, example->targets, error))
            return false;
    } else {
        if (!data_read(&corpus->train, window_start(corpus, step, row),
                       order->sequence, example->tokens, error))
            return false;
        examples_mask(&corpus->examples, draw, order->sequence, example);
    }
    pad_window(&corpus->examples, order->sequence, example);
    *example->lengths = (int32_t)order->sequence;
    return true;
}

/* Window `index` of a range as evaluation reads it. */
static bool eval_window(const Corpus *corpus, const Examples *examples,
                        const DataRange *range, int64_t index,
                        const Example *example, Error *error)
{
    int64_t sequence = corpus->order.sequence;
    if (needs_next(examples)) {
        if (!data_eval_window(range, sequence, index, example->tokens,
                              example->targets, example->lengths, error))
            return false;
        pad_window(examples, sequence, example);
        return true;
    }
    int64_t left = range->count - index * sequence;
    int64_t length = left < sequence ? left : sequence;
    const ExampleDraw draw = { .number = (uint64_t)index };
    if (!data_read(range, index * sequence, length, example->tokens, error))
        return false;
    examples_mask(examples, &draw, length, example);
    pad_window(examples, length, example);
    *example->lengths = (int32_t)length;
    return true;
}

/* ---- examples ----------------------------------------------------------- */

bool corpus_train_example(Corpus *corpus, int64_t step, int64_t row,
                          const Example *example, Error *error)
{
    int64_t i = (step - 1) * corpus->order.batch + row;
    const ExampleDraw draw = {
        .first = corpus->train.first, .count = corpus->train.count,
        .training = true, .number = (uint64_t)i,
    };
    if (has_windows(corpus))
        return fits(corpus, example, error)
            && train_window(corpus, step, row, &draw, example, error);
    int64_t index = data_order_index(&corpus->order, corpus->train.count, i);
    return examples_read(&corpus->examples, index, &draw, example, error);
}

int64_t corpus_train_index(const Corpus *corpus, int64_t step, int64_t row)
{
    if (has_windows(corpus))
        return window_start(corpus, step, row) / corpus->order.sequence;
    return data_order_index(&corpus->order, corpus->train.count,
                            (step - 1) * corpus->order.batch + row);
}

/* Example `index` of a range as evaluation reads it. */
static bool read_at(Corpus *corpus, Examples *examples, const DataRange *range,
                    int64_t index, const Example *example, Error *error)
{
    if (examples->kind == EXAMPLES_WINDOWS)
        return fits(corpus, example, error)
            && eval_window(corpus, examples, range, index, example, error);
    const ExampleDraw draw = { .first = range->first, .count = range->count,
                               .number = (uint64_t)index };
    return examples_read(examples, index, &draw, example, error);
}

bool corpus_train_at(Corpus *corpus, int64_t index, const Example *example,
                     Error *error)
{
    return read_at(corpus, &corpus->examples, &corpus->train, index, example,
                   error);
}

bool corpus_eval_example(Corpus *corpus, int64_t index, const Example *example,
                         Error *error)
{
    Examples *examples = eval_examples(corpus);
    if (index < corpus_eval_count(corpus))
        return read_at(corpus, examples, &corpus->eval, index, example, error);
    examples_blank(examples, example);
    return true;
}

bool corpus_example_text(Corpus *corpus, int64_t index, char **text,
                         size_t *length, Error *error)
{
    Examples *examples = eval_examples(corpus);
    char number[32];
    const char *shown = number;
    *length = (size_t)snprintf(number, sizeof number, "%lld",
                               (long long)index);
    if (examples->kind == EXAMPLES_LINES
        && !lines_read(&examples->lines, corpus->eval.first + index, &shown,
                       length, error))
        return false;
    *text = malloc(*length + 1);
    if (!*text)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for a line of "
                         "data");
    memcpy(*text, shown, *length);
    (*text)[*length] = 0;
    return true;
}
