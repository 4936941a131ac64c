/* data.h: files of data and, where they hold tokens, windows of these
 * (docs/contract.md, sections 4 and 6).
 *
 * Data is the tokens of some files, one after another. data_open finds and
 * checks the files; nothing is kept in memory but a few words a file, windows
 * are read where they are when they are asked for. A DataRange is a run of the
 * tokens: all of them, or the training or the held-out part. Files of examples
 * (lines, images, tensors) are found and opened here as well; examples.h counts
 * and reads what is in them, and the counts are then of examples. One thread at
 * a time may read.
 * SPDX-License-Identifier: 0BSD */
#ifndef DATA_H
#define DATA_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef enum DataFormat {
    DATA_AUTO,      /* each file: llm.c by its magic, else by the end of its
                       name: .bin nanoGPT, .tsv, .jsonl, .safetensors; .idx
                       and ubyte, perhaps with .gz, IDX; else text */
    DATA_TEXT,      /* a token a byte */
    DATA_BYTES,     /* the same */
    DATA_NANOGPT,   /* uint16 tokens */
    DATA_LLMC,      /* 256 int32: magic 20240520 (uint16 tokens follow) or
                       20240801 (uint32), version, number of tokens */
    DATA_TSV,       /* from here on files of examples (examples.h) */
    DATA_IDX,
    DATA_JSONL,
    DATA_SAFETENSORS
} DataFormat;

/* The format that a spec calls `name`, false if there is none; and its name. */
bool data_format_named(const char *name, DataFormat *format);
const char *data_format_name(DataFormat format);
bool data_is_tokens(DataFormat format);

typedef struct DataFile {
    char *path;
    int token_bytes;        /* 1, 2 or 4, little-endian; 0: no tokens */
    int64_t header;         /* bytes before the first token */
    int64_t first, count;   /* its tokens' (or examples') place among all */
    uint64_t size;          /* bytes; with the next three, as it was opened */
    dev_t device;
    ino_t inode;
    struct timespec changed;
    int descriptor;         /* -1: closed at the moment */
} DataFile;

enum {
    DATA_OPEN = 64,         /* files open at a time */
    DATA_CHECKED = 64 << 20 /* bytes of data of which everything is checked */
};

typedef struct Data {
    DataFile *files;
    int count;
    DataFormat format;      /* the first file's; all hold tokens, or all this */
    int64_t tokens;         /* or examples */
    int64_t vocab;
    int open[DATA_OPEN];    /* indices of the open ones, a ring */
    int open_count, oldest;
} Data;

/* Opens the files that `paths` name: each a file or a glob, whose files are
 * taken in byte order. Checks that there are some, that each is a regular file,
 * is as its format says and has a token, that bytes fit the vocabulary; in up
 * to 64 MiB of data that every token does. Of files of examples nothing is read
 * yet, and their counts are 0. Errors name the file and leave nothing to
 * close. */
bool data_open(Data *data, const char *const *paths, int path_count,
               DataFormat format, int64_t vocab, Error *error);
void data_close(Data *data);

/* Opens one file more, which follows the others. Errors leave them open. */
bool data_add(Data *data, const char *path, DataFormat format, Error *error);

/* Reads bytes of a file; it must be what it was when it was opened. */
bool data_read_bytes(Data *data, int index, uint64_t offset, size_t length,
                     void *out, Error *error);

/* The file that holds a token or example. */
int data_file_of(const Data *data, int64_t index);

/* Whether there is little enough to look at everything when it is opened. */
bool data_is_small(const Data *data);

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

/* Which of n examples is number i of the order. Sequential, i mod n. Shuffled,
 * entry i mod n of a permutation drawn for epoch ⌊i/n⌋ by stream "order" plus
 * the epoch. */
int64_t data_order_index(const DataOrder *order, int64_t n, int64_t i);

/* Where window `row` (0 … batch-1) of step s = 1, 2 … begins among the range's
 * tokens. With i = (s-1)·batch + row: sequential, i·sequence mod count.
 * Shuffled, the windows are k·sequence, k < n = max(1, ⌊(count-1)/sequence⌋),
 * and k is number i of their order. */
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
