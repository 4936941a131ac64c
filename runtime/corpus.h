/* corpus.h: the data that a spec's settings name, as examples of the program's
 * objective: what is trained on and what is held out. docs/contract.md, section
 * 6, says what the files hold and what becomes of a line; read rows.h for how
 * texts become tokens.
 *
 * An example is a window of tokens (next-token, masked-token), a pair of
 * sentences, a line of TSV or JSONL, an image, or a row of tensors. Training
 * example i = (step-1)·batch + row is number i of the order: a permutation of
 * all of them an epoch, or as they stand in the files. What is drawn for an
 * example (masks, next sentences) is a function of the seed and i alone; in
 * evaluation of the seed and the example's number, the same every time. A
 * Corpus must not be moved once it is open.
 * SPDX-License-Identifier: 0BSD */
#ifndef CORPUS_H
#define CORPUS_H
#include "examples.h"

typedef struct Corpus {
    Data data, eval_data;       /* the files; their counts: corpus_unit */
    bool eval_is_separate;      /* eval_data is open */
    DataRange train, eval;      /* of tokens or of examples */
    DataOrder order;
    const Program *program;
    Labels labels;              /* of classes */
    Examples examples, eval_examples;
} Corpus;

/* ---- opening ------------------------------------------------------------ */

/* Opens the training data, `path` where it is not NULL, and the evaluation's:
 * the settings' own file, or what `split` holds out. */
bool corpus_open(Corpus *corpus, const Program *program,
                 const Settings *settings, const char *path, Error *error);

/* Opens one file or glob, all of it for evaluation. Everything that is scored
 * must be there: labels, targets. */
bool corpus_open_whole(Corpus *corpus, const Program *program,
                       const Settings *settings, const char *path,
                       Error *error);

/* The same for `predict`, and wherever a run knows the names of its labels. */
typedef struct CorpusSource {
    const char *path;
    const TextList *labels;     /* names of labels 0, 1 …; NULL or empty: as
                                   numbered in train.data.path, if that can be
                                   read, else in the file itself */
    bool unlabelled;            /* labels and targets may be missing: a line of
                                   TSV may be a text alone, a file may be text,
                                   images may have no file of labels */
} CorpusSource;

bool corpus_open_source(Corpus *corpus, const Program *program,
                        const Settings *settings, const CorpusSource *source,
                        Error *error);
void corpus_close(Corpus *corpus);

/* ---- what there is ------------------------------------------------------ */

/* "tokens" or "examples": what train.count, eval.count and a file's count
 * count. */
const char *corpus_unit(const Corpus *corpus);

/* Examples to train on, each once an epoch, and to evaluate on (0: none). */
int64_t corpus_train_count(const Corpus *corpus);
int64_t corpus_eval_count(const Corpus *corpus);

/* Whether a token is a byte of text in all files evaluated on. */
bool corpus_is_bytes(const DataRange *range);

/* The name of a label: as the data spells it; NULL where labels are numbers. */
const char *corpus_label_name(const Corpus *corpus, int64_t label);

/* Whether the data (safetensors) has the frozen reference's log-probabilities,
 * which then fill Example.reference. */
bool corpus_has_reference(const Corpus *corpus);

/* The id of a special token, "bos", "eos" …; -1: there is none. */
int32_t corpus_special(const Corpus *corpus, const char *name);

/* ---- examples ----------------------------------------------------------- */

/* Reads example `row` (0 … batch-1) of step 1, 2 …. */
bool corpus_train_example(Corpus *corpus, int64_t step, int64_t row,
                          const Example *example, Error *error);

/* Which of the training examples that is, 0 … corpus_train_count-1 (not for
 * windows in sequential order), and reading one by that number, as evaluation
 * would: for what is computed ahead, as preference's reference is. */
int64_t corpus_train_index(const Corpus *corpus, int64_t step, int64_t row);
bool corpus_train_at(Corpus *corpus, int64_t index, const Example *example,
                     Error *error);

/* Reads evaluation's example `index`, in the order of the files. Past the last
 * it is padding: length 0, targets and label -1. */
bool corpus_eval_example(Corpus *corpus, int64_t index, const Example *example,
                         Error *error);

/* How evaluation's example is shown: its line without the line's end, or its
 * number. The caller frees *text, in which *length bytes are followed by a NUL
 * and may be NULs themselves. */
bool corpus_example_text(Corpus *corpus, int64_t index, char **text,
                         size_t *length, Error *error);
#endif
