/* lines.c: see lines.h. A scan looks through a buffer at a time for the end of
 * the line, and keeps the line's first bytes.
 * SPDX-License-Identifier: 0BSD */
#include "lines.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char byte_order_mark[] = "\xef\xbb\xbf";
enum { MARK = 3, PIECE = 4096 };

/* ---- passing over ------------------------------------------------------- */

void scan_start(LineScan *scan, Data *data)
{
    scan->data = data;
    scan->file = 0;
    scan->number = 0;
    scan->at = 0;
    scan->have = scan->used = 0;
}

/* Fills the buffer with what follows; `have` is 0 at the end of the file. */
static bool fill(LineScan *scan, Error *error)
{
    uint64_t left = scan->data->files[scan->file].size - scan->at;
    scan->used = 0;
    scan->have = left < sizeof scan->buffer ? (size_t)left
                                            : sizeof scan->buffer;
    if (scan->have > 0
        && !data_read_bytes(scan->data, scan->file, scan->at, scan->have,
                            scan->buffer, error))
        return false;
    scan->at += scan->have;
    if (scan->at == scan->have && scan->have >= MARK
        && memcmp(scan->buffer, byte_order_mark, MARK) == 0)
        scan->used = MARK;
    return true;
}

/* Takes bytes into the line. One "\r" is held back: it may belong to the end.
 * They are blanks if all of them are " ", tabs aside, which TSV needs. */
static void take(LineScan *scan, const unsigned char *bytes, size_t length)
{
    size_t room = sizeof scan->head - scan->head_length;
    size_t kept = length < room ? length : room;
    memcpy(scan->head + scan->head_length, bytes, kept);
    scan->head_length += kept;
    scan->length += length;
    for (size_t i = 0; scan->blank && i < length; i++)
        scan->blank = bytes[i] == ' ' || bytes[i] == '\r';
    if (length > 0)
        scan->return_held = bytes[length - 1] == '\r';
}

static void end_line(LineScan *scan)
{
    if (!scan->return_held)
        return;
    if (scan->head_length == scan->length)
        scan->head_length--;
    scan->length--;
}

/* Goes to the file that has bytes left; false where there is none. */
static bool has_more(LineScan *scan, Error *error, bool *good)
{
    while (*good && scan->used == scan->have) {
        if (scan->at < scan->data->files[scan->file].size) {
            *good = fill(scan, error);
        } else if (scan->file + 1 < scan->data->count) {
            scan->file++;
            scan->at = scan->number = 0;
        } else {
            return false;
        }
    }
    return *good;
}

bool scan_next(LineScan *scan, Error *error)
{
    bool good = true;
    if (!has_more(scan, error, &good))
        return false;
    scan->number++;
    scan->start = scan->at - (scan->have - scan->used);
    scan->length = 0;
    scan->head_length = 0;
    scan->blank = true;
    scan->return_held = false;
    const unsigned char *end = NULL;
    while (!end) {
        const unsigned char *from = scan->buffer + scan->used;
        size_t left = scan->have - scan->used;
        end = memchr(from, '\n', left);
        size_t length = end ? (size_t)(end - from) : left;
        take(scan, from, length);
        scan->used += length + (end != NULL);
        if (scan->length > LINES_LONGEST)
            return error_set(error, ERROR_INPUT, "%s:%lld: a line of more than "
                             "%d bytes", scan->data->files[scan->file].path,
                             (long long)scan->number, (int)LINES_LONGEST);
        if (!end && scan->at == scan->data->files[scan->file].size)
            break;
        if (!end && !fill(scan, error))
            return false;
    }
    end_line(scan);
    return true;
}

/* ---- counting ----------------------------------------------------------- */

/* Room for one more of 8 bytes, growing by halves. */
static bool make_room(void **at, int64_t count, int64_t *room, Error *error)
{
    if (count < *room)
        return true;
    int64_t more = *room + *room / 2 + 1024;
    void *grown = realloc(*at, (size_t)more * sizeof(int64_t));
    if (!grown)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for the places "
                         "of %lld lines", (long long)more);
    *at = grown;
    *room = more;
    return true;
}

static bool add_line(Lines *lines, const LineScan *scan, bool new_document,
                     Error *error)
{
    void *starts = lines->starts, *documents = lines->documents;
    bool good = make_room(&starts, lines->count, &lines->room, error);
    lines->starts = starts;
    if (good && new_document)
        good = make_room(&documents, lines->document_count,
                         &lines->document_room, error);
    lines->documents = documents;
    if (!good)
        return false;
    if (new_document)
        lines->documents[lines->document_count++] = lines->count;
    lines->starts[lines->count++] = scan->start;
    lines->data->files[scan->file].count++;
    return true;
}

static bool index_lines(Lines *lines, LineScan *scan, bool documents,
                        Error *error)
{
    Error failed = {0};
    int file = -1;
    bool begins = true, good = true;
    scan_start(scan, lines->data);
    while (good && scan_next(scan, &failed)) {
        begins |= scan->file != file || scan->blank;
        file = scan->file;
        if (scan->blank)
            continue;
        good = add_line(lines, scan, documents && begins, error);
        begins = false;
    }
    if (failed.status)
        *error = failed;
    return good && !failed.status;
}

bool lines_open(Lines *lines, Data *data, bool documents, Error *error)
{
    *lines = (Lines){ .data = data };
    for (int i = 0; i < data->count; i++)
        data->files[i].count = 0;
    LineScan *scan = malloc(sizeof *scan);
    if (!scan)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    bool good = index_lines(lines, scan, documents, error);
    free(scan);
    data->tokens = 0;
    for (int i = 0; i < data->count; i++) {
        data->files[i].first = data->tokens;
        data->tokens += data->files[i].count;
    }
    if (good && lines->count == 0)
        good = error_set(error, ERROR_INPUT, "%s: has no line with anything in "
                         "it", data->files[0].path);
    if (!good)
        lines_close(lines);
    return good;
}

void lines_close(Lines *lines)
{
    free(lines->starts);
    free(lines->documents);
    free(lines->text);
    *lines = (Lines){0};
}

/* ---- reading ------------------------------------------------------------ */

static bool text_room(Lines *lines, size_t room, Error *error)
{
    if (room <= lines->text_room)
        return true;
    char *grown = realloc(lines->text, room);
    if (!grown)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for a line of "
                         "data");
    lines->text = grown;
    lines->text_room = room;
    return true;
}

bool lines_read(Lines *lines, int64_t line, const char **text, size_t *length,
                Error *error)
{
    int file = data_file_of(lines->data, line);
    uint64_t start = lines->starts[line];
    uint64_t left = lines->data->files[file].size - start;
    if (left > LINES_LONGEST + 2)
        left = LINES_LONGEST + 2;
    size_t have = 0, piece = PIECE;
    const char *end = NULL;
    while (!end && have < left) {
        size_t more = left - have < piece ? (size_t)(left - have) : piece;
        if (!text_room(lines, have + more + 1, error)
            || !data_read_bytes(lines->data, file, start + have, more,
                                lines->text + have, error))
            return false;
        end = memchr(lines->text + have, '\n', more);
        have += more;
        piece = have;
    }
    *length = end ? (size_t)(end - lines->text) : have;
    if (*length > 0 && lines->text[*length - 1] == '\r')
        --*length;
    lines->text[*length] = 0;
    *text = lines->text;
    return true;
}

/* The number of the line that begins at `start`, from 1; 0 if it cannot be
 * read any more. */
static int64_t line_number(const Lines *lines, int file, uint64_t start)
{
    unsigned char piece[PIECE];
    int64_t number = 1;
    Error none;
    for (uint64_t at = 0; at < start; at += sizeof piece) {
        size_t length = start - at < sizeof piece ? (size_t)(start - at)
                                                  : sizeof piece;
        if (!data_read_bytes(lines->data, file, at, length, piece, &none))
            return 0;
        for (size_t i = 0; i < length; i++)
            number += piece[i] == '\n';
    }
    return number;
}

bool lines_error(const Lines *lines, int64_t line, Error *error,
                 const char *format, ...)
{
    char text[512];
    int file = data_file_of(lines->data, line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(error, ERROR_INPUT, "%s:%lld: %s",
                     lines->data->files[file].path,
                     (long long)line_number(lines, file, lines->starts[line]),
                     text);
}
