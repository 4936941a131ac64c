/* corpus.c: see corpus.h.
 * SPDX-License-Identifier: 0BSD */
#include "corpus.h"
#include <string.h>

static bool open_paths(Data *data, const Program *program,
                       const Settings *settings, const TextList *paths,
                       Error *error)
{
    DataFormat format;
    if (!data_format_named(settings->data_format, &format))
        return error_set(error, ERROR_INPUT, "train.data.format: %s is not "
                         "built yet for next-token training",
                         settings->data_format);
    if (paths->count == 0 || !paths->at[0][0])
        return error_set(error, ERROR_INPUT, "there is no data: give --data, "
                         "or train.data.path in the spec");
    return data_open(data, paths->at, paths->count, format, program->vocab,
                     error);
}

static bool wants_separate(const Settings *settings)
{
    const TextList *paths = &settings->data_eval;
    return paths->count > 0 && paths->at[0][0];
}

bool corpus_open(Corpus *corpus, const Program *program,
                 const Settings *settings, const char *path, Error *error)
{
    *corpus = (Corpus){ .eval_is_separate = wants_separate(settings) };
    corpus->order = (DataOrder){
        .shuffled = strcmp(settings->data_order, "shuffled") == 0,
        .seed = (uint64_t)settings->seed,
        .batch = program->batch,
        .sequence = program->sequence,
    };
    TextList one = { &path, 1 };
    if (!open_paths(&corpus->data, program, settings,
                    path ? &one : &settings->data_path, error))
        return false;
    const char *split = corpus->eval_is_separate ? "0" : settings->data_split;
    bool good = data_split(&corpus->data, split, &corpus->train, &corpus->eval,
                           error);
    if (good && corpus->eval_is_separate) {
        good = open_paths(&corpus->eval_data, program, settings,
                          &settings->data_eval, error);
        if (good)
            corpus->eval = data_all(&corpus->eval_data);
    }
    if (!good)
        data_close(&corpus->data);
    return good;
}

bool corpus_open_whole(Corpus *corpus, const Program *program,
                       const Settings *settings, const char *path,
                       Error *error)
{
    *corpus = (Corpus){0};
    TextList one = { &path, 1 };
    if (!open_paths(&corpus->data, program, settings, &one, error))
        return false;
    corpus->eval = data_all(&corpus->data);
    return true;
}

void corpus_close(Corpus *corpus)
{
    data_close(&corpus->data);
    if (corpus->eval_is_separate)
        data_close(&corpus->eval_data);
}

bool corpus_is_bytes(const DataRange *range)
{
    for (int i = 0; i < range->data->count; i++)
        if (range->data->files[i].token_bytes != 1)
            return false;
    return true;
}
