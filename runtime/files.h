/* files.h: reading files that may be anything, and writing files that are
 * either whole or not there. A FileWriter writes NAME.tmp-PID beside NAME,
 * syncs it, renames it and syncs the directory; whoever reads NAME sees the old
 * file or the new one. Statuses: a full disk is ERROR_ENVIRONMENT, a path that
 * cannot be used is ERROR_INPUT.
 *
 * A program that may meet a file-size limit must ignore SIGXFSZ, so that the
 * limit arrives here as EFBIG.
 * SPDX-License-Identifier: 0BSD */
#ifndef FILES_H
#define FILES_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

enum { FILES_PATH = 4096, FILES_BUFFER = 16384 };

/* Gives closed standard descriptors something to refer to, so that no file that
 * is opened later becomes one and takes in what is printed; printing there
 * fails as before. */
void files_hold_standard(void);

/* ---- reading ------------------------------------------------------------ */

/* Opens a regular file for reading and says its size in bytes. Directories,
 * pipes, sockets and devices are refused by name, without waiting for them.
 * Returns the descriptor, or -1 after setting *error. */
int file_open(const char *path, uint64_t *size, Error *error);

/* Reads exactly `length` bytes at `offset`; a file that ends before is an error
 * ("is shorter than it was"). `path` is for messages. */
bool file_read_at(int descriptor, const char *path, void *out, size_t length,
                  uint64_t offset, Error *error);

/* Reads a whole file of at most `limit` bytes into *text, which the caller
 * frees; a NUL follows the last byte and is not counted in *length. */
bool file_read_whole(const char *path, size_t limit, char **text,
                     size_t *length, Error *error);

/* ---- writing ------------------------------------------------------------ */

struct Sha256;

typedef struct FileWriter {
    int descriptor;             /* -1: nothing is being written */
    uint64_t size;              /* bytes appended so far */
    struct Sha256 *hash;        /* NULL, or takes in every byte appended */
    size_t buffered;
    char path[FILES_PATH];      /* where it will be, symbolic links followed */
    char aside[FILES_PATH + 32];
    char buffer[FILES_BUFFER];
} FileWriter;

/* Begins a file; nothing at `path` changes before file_commit. An existing
 * `path` must be a regular file. After a failure nothing is left behind, here
 * and in the functions below. */
bool file_create(FileWriter *writer, const char *path, Error *error);
bool file_append(FileWriter *writer, const void *bytes, size_t length,
                 Error *error);
/* Syncs, renames, syncs the directory: then the file will outlive a crash. */
bool file_commit(FileWriter *writer, Error *error);
/* Removes what was written aside; does nothing after a commit or a failure. */
void file_abandon(FileWriter *writer);

/* All of the above for a file whose bytes are at hand. */
bool file_write_whole(const char *path, const void *bytes, size_t length,
                      Error *error);

/* Makes renames and removals in `directory` outlive a crash. */
bool file_sync_directory(const char *directory, Error *error);
#endif
