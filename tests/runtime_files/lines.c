/* lines.c (test): where lines begin and end, against a plain cut of the same
 * bytes; documents; places in errors; lines longer than any buffer.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/lines.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, length, file);
    fclose(file);
}

static bool open_files(Data *data, Lines *lines, const char *const *paths,
                       int count, Error *error)
{
    if (!data_open(data, paths, count, DATA_TSV, 256, error))
        return false;
    if (lines_open(lines, data, true, error))
        return true;
    data_close(data);
    return false;
}

/* Opens one file and compares its lines with `wanted`, which ends with NULL. */
static void holds(Checks *c, const char *bytes, size_t length,
                  const char *const *wanted)
{
    Data data;
    Lines lines;
    Error error = { 0 };
    const char *path = "holds.tsv";
    put(path, bytes, length);
    if (!check(c, open_files(&data, &lines, &path, 1, &error), "%s",
               error.text))
        return;
    int64_t count = 0;
    while (wanted[count])
        count++;
    check(c, lines.count == count && data.tokens == count, "%.20s: %d lines",
          bytes, (int)lines.count);
    for (int64_t i = 0; i < lines.count && i < count; i++) {
        const char *text;
        size_t got;
        check(c, lines_read(&lines, i, &text, &got, &error) &&
              got == strlen(wanted[i]) && memcmp(text, wanted[i], got) == 0,
              "%.20s: line %d is '%.*s'", bytes, (int)i, (int)got, text);
    }
    lines_close(&lines);
    data_close(&data);
}

#define HOLDS(c, bytes, ...) \
    holds(c, bytes, sizeof bytes - 1, (const char *const[]){ __VA_ARGS__, NULL })

static void test_ends(Checks *c)
{
    HOLDS(c, "a\nbc\n", "a", "bc");
    HOLDS(c, "a\nbc", "a", "bc");
    HOLDS(c, "a\r\nbc\r\n", "a", "bc");
    HOLDS(c, "a\r\nbc\r", "a", "bc");
    HOLDS(c, "a\r\r\n", "a\r");
    HOLDS(c, "\n\n a\n  \n\r\nb\n\n", " a", "b");
    HOLDS(c, "\ta\n\t\n", "\ta", "\t");
    HOLDS(c, "\xef\xbb\xbf" "a\nb", "a", "b");
    HOLDS(c, "\xff\xfe\x80\n\xc3", "\xff\xfe\x80", "\xc3");
    Data data;
    Lines lines;
    Error error = { 0 };
    const char *path = "nul.tsv", *text;
    size_t length;
    put(path, "a\0b\n\0\n", 6);
    if (!check(c, open_files(&data, &lines, &path, 1, &error), "%s",
               error.text))
        return;
    check(c, lines.count == 2 && lines_read(&lines, 0, &text, &length, &error)
          && length == 3 && memcmp(text, "a\0b", 4) == 0, "NUL inside");
    check(c, lines_read(&lines, 1, &text, &length, &error) && length == 1,
          "NUL alone");
    lines_close(&lines);
    data_close(&data);
    static const char *const nothing[] = { "", "\n", " \n\r\n", "\xef\xbb\xbf" };
    for (int i = 0; i < 4; i++) {
        put(path, nothing[i], strlen(nothing[i]));
        check(c, !open_files(&data, &lines, &path, 1, &error) &&
              error.status == ERROR_INPUT && strstr(error.text, path) &&
              strstr(error.text, "no line"), "%d: %s", i, error.text);
    }
}

/* Random bytes with many ends of lines, over several files, and lines about as
 * long as the buffers; against strchr and the rules of lines.h. */
static void test_random(Checks *c)
{
    enum { FILES = 5, ROOM = 400000 };
    static char bytes[FILES][ROOM];
    static const char *const paths[FILES] = { "r0.tsv", "r1.tsv", "r2.tsv",
                                              "r3.tsv", "r4.tsv" };
    size_t sizes[FILES];
    unsigned state = 1;
    for (int f = 0; f < FILES; f++) {
        sizes[f] = f == 2 ? 0 : (size_t)ROOM - (size_t)f * 31;
        for (size_t i = 0; i < sizes[f]; i++) {
            state = state * 1664525 + 1013904223;
            unsigned draw = state >> 16;
            bool ends = draw % (f == 0 ? 7 : f == 1 ? 65536 : 4096) == 0;
            bytes[f][i] = ends ? '\n' : draw % 5 == 1 ? '\r'
                : draw % 5 == 2 ? ' ' : (char)('a' + draw % 26);
        }
        put(paths[f], bytes[f], sizes[f]);
    }
    Data data;
    Lines lines;
    Error error = { 0 };
    if (!check(c, open_files(&data, &lines, paths, FILES, &error), "%s",
               error.text))
        return;
    int64_t line = 0, wrong = 0, document = -1;
    for (int f = 0; f < FILES; f++) {
        bool begins = true;
        for (size_t at = 0, end; at < sizes[f]; at = end + 1) {
            const char *found = memchr(bytes[f] + at, '\n', sizes[f] - at);
            end = found ? (size_t)(found - bytes[f]) : sizes[f];
            size_t length = end - at, got;
            bool blank = true;
            for (size_t i = at; i < end; i++)
                blank &= bytes[f][i] == ' ' || bytes[f][i] == '\r';
            length -= length > 0 && bytes[f][end - 1] == '\r';
            const char *text;
            begins |= blank;
            if (blank)
                continue;
            document += begins;
            wrong += begins && lines.documents[document] != line;
            wrong += !lines_read(&lines, line++, &text, &got, &error)
                || got != length || memcmp(text, bytes[f] + at, got) != 0;
            begins = false;
        }
    }
    check(c, wrong == 0, "%d lines or documents", (int)wrong);
    check(c, lines.count == line && lines.document_count == document + 1,
          "%d lines, not %d", (int)lines.count, (int)line);
    lines_close(&lines);
    data_close(&data);
}

static void test_places(Checks *c)
{
    Data data;
    Lines lines;
    Error error = { 0 };
    static const char *const paths[] = { "p.tsv", "q.tsv" };
    put("p.tsv", "a\n\n\nb\n", 6);
    put("q.tsv", "\n\nc\nd", 5);
    if (!check(c, open_files(&data, &lines, paths, 2, &error), "%s",
               error.text))
        return;
    static const char *const places[] = { "p.tsv:1: x 7", "p.tsv:4: x 7",
                                          "q.tsv:3: x 7", "q.tsv:4: x 7" };
    for (int i = 0; i < 4; i++)
        check(c, !lines_error(&lines, i, &error, "x %d", 7) &&
              strcmp(error.text, places[i]) == 0, "%s", error.text);
    check(c, lines.document_count == 3 && lines.documents[1] == 1 &&
          lines.documents[2] == 2, "documents");
    lines_close(&lines);
    data_close(&data);
}

/* What looks like a byte order mark where a buffer begins is text; a scan's
 * head ends where its line does. */
static void test_scan(Checks *c)
{
    enum { BUFFER = sizeof(((LineScan *)0)->buffer) };
    char *bytes = malloc(BUFFER + 6);
    memset(bytes, 'x', BUFFER);
    bytes[BUFFER - 1] = '\n';
    memcpy(bytes + BUFFER, "\xef\xbb\xbfy\r\n", 6);
    const char *path = "scan.tsv";
    put(path, bytes, BUFFER + 6);
    free(bytes);
    Data data;
    Error error = { 0 };
    LineScan *scan = malloc(sizeof *scan);
    if (check(c, data_open(&data, &path, 1, DATA_TSV, 256, &error), "%s",
              error.text)) {
        scan_start(scan, &data);
        check(c, scan_next(scan, &error) && scan->length == BUFFER - 1 &&
              scan->head_length == 256 && scan->number == 1, "line 1");
        check(c, scan_next(scan, &error) && scan->length == 4 &&
              scan->head_length == 4 && scan->start == BUFFER &&
              memcmp(scan->head, "\xef\xbb\xbfy", 4) == 0, "line 2");
        check(c, !scan_next(scan, &error) && !error.status, "the end");
        data_close(&data);
    }
    free(scan);
}

static void test_long(Checks *c)
{
    const char *path = "long.tsv";
    FILE *file = fopen(path, "wb");
    fprintf(file, "first\n");
    check(c, ftruncate(fileno(file), LINES_LONGEST + 100) == 0, "truncate");
    fclose(file);
    Data data;
    Lines lines;
    Error error = { 0 };
    check(c, !open_files(&data, &lines, &path, 1, &error) &&
          strstr(error.text, "long.tsv:2: a line of more than 67108864 bytes"),
          "%s", error.text);
    unlink(path);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "lines" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_ends(&checks);
    test_random(&checks);
    test_places(&checks);
    test_scan(&checks);
    test_long(&checks);
    return check_end(&checks);
}
