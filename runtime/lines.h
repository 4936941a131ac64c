/* lines.h: text files as lines that can be read in any order.
 *
 * lines_open passes over the files once and keeps where each line begins, 8
 * bytes a line; the text stays in the files. A line ends at "\n" or where its
 * file does; a "\r" before that belongs to the end, and a UTF-8 byte order mark
 * to no line. Lines of blanks alone are left out, but end a document, as a
 * file's end does. Any other bytes are text, NUL among them.
 * SPDX-License-Identifier: 0BSD */
#ifndef LINES_H
#define LINES_H
#include "data.h"

enum { LINES_LONGEST = 64 << 20 };      /* bytes of a line */

/* ---- passing over ------------------------------------------------------- */

/* One pass over all lines, the blank ones too. */
typedef struct LineScan {
    Data *data;
    int file;
    int64_t number;             /* of this line in its file, from 1 */
    uint64_t start, length;     /* its bytes in the file, without its end */
    bool blank;
    unsigned char head[256];    /* its first bytes */
    size_t head_length;
    uint64_t at;                /* the rest is of the scan alone */
    bool return_held;
    unsigned char buffer[65536];
    size_t have, used;
} LineScan;

void scan_start(LineScan *scan, Data *data);

/* The next line; false after the last (*error is untouched) and where one is
 * too long or a file cannot be read (its text is set). */
bool scan_next(LineScan *scan, Error *error);

/* ---- lines -------------------------------------------------------------- */

typedef struct Lines {
    Data *data;
    uint64_t *starts;           /* of each line, in its file */
    int64_t count, room;
    int64_t *documents;         /* the first line of each */
    int64_t document_count, document_room;
    char *text;                 /* what lines_read read */
    size_t text_room;
} Lines;

/* Counts the lines of open files, and sets the files' counts and the data's to
 * them. `documents`: keeps where documents begin, too. */
bool lines_open(Lines *lines, Data *data, bool documents, Error *error);
void lines_close(Lines *lines);

/* Reads a line. *text holds until the next call; a NUL follows it. */
bool lines_read(Lines *lines, int64_t line, const char **text, size_t *length,
                Error *error);

/* Fills in an error that begins with "FILE:LINE: ", and returns false. */
bool lines_error(const Lines *lines, int64_t line, Error *error,
                 const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
