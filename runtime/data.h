/* data.h: tokens to train and evaluate on, for next-token prediction
 * (docs/contract.md, sections 4 and 6).
 *
 * Data is the tokens of some files, one after another. data_open finds and
 * checks the files; nothing is kept in memory but a few words a file, windows
 * are read where they are when they are asked for. A DataRange is a run of the
 * tokens: all of them, or the training or the held-out part. One thread at a
 * time may read.
 * SPDX-License-Identifier: 0BSD */
#ifndef DATA_H
#define DATA_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef enum DataFormat {
    DATA_AUTO,      /* each file: llm.c by its magic, else nanoGPT where its
                       name ends in .bin, else text */
    DATA_TEXT,      /* a token a byte */
    DATA_BYTES,     /* the same */
    DATA_NANOGPT,   /* uint16 tokens */
    DATA_LLMC       /* 256 int32: magic 20240520 (uint16 tokens follow) or
                       20240801 (uint32), version, number of tokens */
} DataFormat;

/* The format that a spec calls `name`; false if there is none. */
bool data_format_named(const char *name, DataFormat *format);

typedef struct DataFile {
    char *path;
    int token_bytes;        /* 1, 2 or 4, little-endian */
    int64_t header;         /* bytes before the first token */
    int64_t first, count;   /* its tokens' place among all */
    uint64_t size;          /* bytes; with the next three, as it was opened */
    dev_t device;
    ino_t inode;
    struct timespec changed;
    int descriptor;         /* -1: closed at the moment */
} DataFile;

enum { DATA_OPEN = 64 };    /* files open at a time */

typedef struct Data {
    DataFile *files;
    int count;
    int64_t tokens;
    int64_t vocab;
    int open[DATA_OPEN];    /* indices of the open ones, a ring */
    int open_count, oldest;
} Data;

/* Opens the files that `paths` name: each a file or a glob, whose files are
 * taken in byte order. Checks that there are some, that each is a regular file,
 * is as its format says and has a token, that bytes fit the vocabulary; in up
 * to 64 MiB of data that every token does. Errors name the file and leave
 * nothing to close. */
bool data_open(Data *data, const char *const *paths, int path_count,
               DataFormat format, int64_t vocab, Error *error);
void data_close(Data *data);

/* ---- ranges ------------------------------------------------------------- */

typedef struct DataRange {
    Data *data;
    int64_t first, count;
} DataRange;

DataRange data_all(Data *data);

/* ⌊tokens · split⌋, exact on the decimal as written ("0.1", "5e-3"), tokens up
 * to 2^59; -1 if `split` is no decimal number in [0, 1). */
int64_t data_held_out(int64_t tokens, const char *split);

/* Cuts off the last ⌊tokens · split⌋ tokens for evaluation (maybe none). Fewer
 * than 2 tokens to train on are an error. */
bool data_split(Data *data, const char *split, DataRange *train,
                DataRange *held_out, Error *error);

/* Reads tokens start … start + length - 1, each index modulo range->count. A
 * token outside of the vocabulary is an error with file and byte offset; so is
 * a file that is not what it was when it was opened. */
bool data_read(const DataRange *range, int64_t start, int64_t length,
               int32_t *tokens, Error *error);

/* ---- windows ------------------------------------------------------------ */

typedef struct DataOrder {
    bool shuffled;          /* else sequential */
    uint64_t seed;
    int64_t batch;          /* windows a step */
    int64_t sequence;       /* tokens a window */
} DataOrder;

/* Where window `row` (0 … batch-1) of step s = 1, 2 … begins among the range's
 * tokens. With i = (s-1)·batch + row: sequential, i·sequence mod count.
 * Shuffled, entry i mod n of a permutation of the windows k·sequence, k < n =
 * max(1, ⌊(count-1)/sequence⌋), drawn for epoch ⌊i/n⌋ by stream "order" plus
 * the epoch. */
int64_t data_train_start(const DataRange *range, const DataOrder *order,
                         int64_t step, int64_t row);

/* Reads that window: tokens[i] at start + i, targets[i] the token after it. */
bool data_train_window(const DataRange *range, const DataOrder *order,
                       int64_t step, int64_t row, int32_t *tokens,
                       int32_t *targets, Error *error);

/* How many windows of `sequence` tokens evaluation has: as many as hold a token
 * with one after it, ⌈(count-1)/sequence⌉. */
int64_t data_eval_windows(const DataRange *range, int64_t sequence);

/* Reads window w = 0, 1 …, the tokens from w·sequence on, and says how many
 * there are; the rest is padding (token 0). Targets are -1 where no token
 * follows. A window past the last has length 0. */
bool data_eval_window(const DataRange *range, int64_t sequence, int64_t w,
                      int32_t *tokens, int32_t *targets, int32_t *length,
                      Error *error);
#endif
