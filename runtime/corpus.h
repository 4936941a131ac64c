/* corpus.h: the data that a spec's settings name: what is trained on and what
 * is held out.
 * SPDX-License-Identifier: 0BSD */
#ifndef CORPUS_H
#define CORPUS_H
#include "data.h"
#include "program.h"
#include "settings.h"

typedef struct Corpus {
    Data data, eval_data;
    bool eval_is_separate;      /* eval_data is open */
    DataRange train, eval;      /* eval.count 0: no evaluation */
    DataOrder order;
} Corpus;

/* Opens the training data, `path` where it is not NULL, and the evaluation's:
 * the settings' own file, or what `split` holds out. */
bool corpus_open(Corpus *corpus, const Program *program,
                 const Settings *settings, const char *path, Error *error);

/* Opens one file or glob, all of it for evaluation. */
bool corpus_open_whole(Corpus *corpus, const Program *program,
                       const Settings *settings, const char *path,
                       Error *error);
void corpus_close(Corpus *corpus);

/* Whether a token is a byte of text in all files evaluated on. */
bool corpus_is_bytes(const DataRange *range);
#endif
