/* base.c: arenas, lists, text buffers and diagnostics (see base.h). */
#define _GNU_SOURCE
#include "base.h"
#include <math.h>
#include <stdlib.h>

/* ---- arenas ---- */
enum { CHUNK_BYTES = 1 << 16 };

typedef struct Chunk { struct Chunk *next; size_t used, room; } Chunk;
struct Arena { Chunk *chunks; };

static void out_of_memory(void)
{
    fputs("trainwright: error: out of memory\n", stderr);
    abort();
}

Arena *arena_new(void)
{
    Arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        out_of_memory();
    return arena;
}

void arena_free(Arena *arena)
{
    while (arena->chunks) {
        Chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    free(arena);
}

void *arena_alloc(Arena *arena, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    Chunk *chunk = arena->chunks;
    /* With -DARENA_EACH every object has a malloc of its own, for ASan. */
#ifdef ARENA_EACH
    const size_t least = 0;
    chunk = NULL;
#else
    const size_t least = CHUNK_BYTES;
#endif
    if (!chunk || chunk->room - chunk->used < bytes) {
        size_t room = bytes > least ? bytes : least;
        size_t head = (sizeof *chunk + 15) & ~(size_t)15;
        chunk = calloc(1, head + room);
        if (!chunk)
            out_of_memory();
        chunk->room = room;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    char *base = (char *)chunk + ((sizeof *chunk + 15) & ~(size_t)15);
    void *place = base + chunk->used;
    chunk->used += bytes;
    return place;
}

char *arena_strndup(Arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(Arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    Buf buf = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&buf, format, args);
    va_end(args);
    char *copy = arena_strndup(arena, buf.text ? buf.text : "", buf.length);
    buf_free(&buf);
    return copy;
}

void list_room(Arena *arena, void **at, int count, int *room, size_t each)
{
    if (count < *room)
        return;
    int wider = *room ? 2 * *room : 8;
    void *copy = arena_alloc(arena, (size_t)wider * each);
    if (count)
        memcpy(copy, *at, (size_t)count * each);
    *at = copy;
    *room = wider;
}

/* ---- text ---- */
void buf_add(Buf *buf, const char *bytes, size_t length)
{
    if (buf->length + length + 1 > buf->room) {
        buf->room = 2 * (buf->length + length + 1);
        buf->text = realloc(buf->text, buf->room);
        if (!buf->text)
            out_of_memory();
    }
    memcpy(buf->text + buf->length, bytes, length);
    buf->length += length;
    buf->text[buf->length] = 0;
}

void buf_vprintf(Buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0)
        ice("bad format %s", format);
    char small[512];
    char *text = (size_t)length < sizeof small ? small : malloc((size_t)length + 1);
    if (!text)
        out_of_memory();
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    buf_add(buf, text, (size_t)length);
    if (text != small)
        free(text);
}

void buf_printf(Buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void number_print(double number, Buf *out)
{
    char text[32];
    if (number == floor(number) && fabs(number) < 1e15) {
        buf_printf(out, "%.0f", number);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    buf_printf(out, "%s", text);
}

void buf_free(Buf *buf)
{
    free(buf->text);
    *buf = (Buf){0};
}

/* ---- diagnostics ---- */
enum { MOST_ERRORS = 20, WIDEST_LINE = 160 };

Diag *diag_new(Arena *arena)
{
    Diag *diag = arena_alloc(arena, sizeof *diag);
    diag->arena = arena;
    return diag;
}

int diag_source(Diag *diag, const char *name, const char *text, size_t length)
{
    Source source = {
        .name = arena_strdup(diag->arena, name),
        .text = arena_strndup(diag->arena, text, length),
        .length = length,
    };
    list_push(diag->arena, &diag->sources, source);
    return diag->sources.count - 1;
}

/* Start of line `line` (from 1) of a source, or NULL where it has fewer. */
static const char *source_line(const Source *source, int line)
{
    const char *at = source->text, *end = source->text + source->length;
    for (int i = 1; i < line; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (!at)
            return NULL;
        at++;
    }
    return at;
}

/* The source line and, under it, a caret and the width underlined. Columns are
 * bytes; the caret is set by characters. A line that is too long is cut. */
static void show_line(Buf *buf, const Source *source, Loc loc)
{
    const char *line = source_line(source, loc.line);
    if (!line)
        return;
    int length = (int)strcspn(line, "\r\n");
    int from = loc.col > WIDEST_LINE / 2 ? loc.col - WIDEST_LINE / 2 : 0;
    if (from > length)
        from = length;
    while (from > 0 && ((unsigned char)line[from] & 0xc0) == 0x80)
        from--;
    int shown = length - from > WIDEST_LINE ? WIDEST_LINE : length - from;
    buf_printf(buf, "%6d | ", loc.line);
    for (int i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)line[from + i];
        buf_printf(buf, "%c", c < 32 || c == 127 ? ' ' : c);
    }
    buf_printf(buf, "\n       | ");
    for (int i = from; i < loc.col - 1 && i < length; i++)
        if (((unsigned char)line[i] & 0xc0) != 0x80)
            buf_printf(buf, " ");
    buf_printf(buf, "^");
    for (int i = 1; i < loc.width && loc.col - 1 + i < length && i < WIDEST_LINE; i++)
        if (((unsigned char)line[loc.col - 1 + i] & 0xc0) != 0x80)
            buf_printf(buf, "~");
    buf_printf(buf, "\n");
}

static void report(Diag *diag, Loc loc, const char *kind, const char *format, va_list args)
{
    Buf buf = {0};
    const Source *source = NULL;
    if (loc.line > 0 && loc.source >= 0 && loc.source < diag->sources.count) {
        source = &diag->sources.at[loc.source];
        buf_printf(&buf, "%s:%d:%d: ", source->name, loc.line, loc.col);
    }
    buf_printf(&buf, "%s: ", kind);
    buf_vprintf(&buf, format, args);
    buf_printf(&buf, "\n");
    if (source)
        show_line(&buf, source, loc);
    list_push(diag->arena, &diag->messages,
              arena_strndup(diag->arena, buf.text, buf.length));
    buf_free(&buf);
}

void diag_error(Diag *diag, Loc loc, const char *format, ...)
{
    if (++diag->errors > MOST_ERRORS)
        return;
    va_list args;
    va_start(args, format);
    report(diag, loc, "error", format, args);
    va_end(args);
}

void diag_error_at(Diag *diag, const char *name, const char *format, ...)
{
    if (++diag->errors > MOST_ERRORS)
        return;
    Buf buf = {0};
    va_list args;
    va_start(args, format);
    buf_printf(&buf, "%s: error: ", name);
    buf_vprintf(&buf, format, args);
    va_end(args);
    buf_printf(&buf, "\n");
    list_push(diag->arena, &diag->messages,
              arena_strndup(diag->arena, buf.text, buf.length));
    buf_free(&buf);
}

void diag_hint(Diag *diag, const char *format, ...)
{
    if (diag->errors > MOST_ERRORS)
        return;
    Buf buf = {0};
    va_list args;
    va_start(args, format);
    buf_printf(&buf, "  hint: ");
    buf_vprintf(&buf, format, args);
    va_end(args);
    buf_printf(&buf, "\n");
    list_push(diag->arena, &diag->messages,
              arena_strndup(diag->arena, buf.text, buf.length));
    buf_free(&buf);
}

void diag_note(Diag *diag, Loc loc, const char *format, ...)
{
    if (diag->errors > MOST_ERRORS)
        return;
    va_list args;
    va_start(args, format);
    report(diag, loc, "note", format, args);
    va_end(args);
}

bool diag_print(const Diag *diag, FILE *out)
{
    for (int i = 0; i < diag->messages.count; i++)
        fputs(diag->messages.at[i], out);
    if (diag->errors > MOST_ERRORS)
        fprintf(out, "trainwright: %d more errors not shown\n", diag->errors - MOST_ERRORS);
    return diag->errors == 0;
}

const char *diag_where(const Diag *diag, Arena *arena, Loc loc)
{
    if (loc.line <= 0 || loc.source < 0 || loc.source >= diag->sources.count)
        return "";
    const char *name = diag->sources.at[loc.source].name;
    const char *slash = strrchr(name, '/');
    return arena_printf(arena, "%s:%d", slash ? slash + 1 : name, loc.line);
}

/* ---- compiler bugs ---- */
void ice_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "trainwright: internal error: %s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

/* ---- did you mean ---- */
/* Levenshtein distance; words are short (at most 64 letters count). */
static int edit_distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    int n = (int)strnlen(a, MOST), m = (int)strnlen(b, MOST);
    int row[MOST + 1];
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            int gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < gap ? change : gap;
        }
    }
    return row[m];
}

const char *nearest_word(const char *word, const char *const *candidates, int count)
{
    int best = (int)strlen(word) / 3 + 1;
    const char *found = NULL;
    for (int i = 0; i < count; i++) {
        int distance = edit_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            found = candidates[i];
        }
    }
    return found;
}
