/* base.h: what every part of the compiler stands on: arenas, growable lists,
 * text buffers, source locations and diagnostics.
 *
 * Memory is by arena: one lives for a compilation, a pass may have one of its
 * own; nothing is freed by itself. Nothing here keeps global state. */
#ifndef BASE_H
#define BASE_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- arenas ------------------------------------------------------------- */
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *arena);
/* Zeroed, aligned for any type. Never NULL: out of memory ends the process. */
void *arena_alloc(Arena *arena, size_t bytes);
char *arena_strndup(Arena *arena, const char *text, size_t length);
char *arena_strdup(Arena *arena, const char *text);
char *arena_printf(Arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- growable lists: `List(Node *) nodes;` then list_push(a, &nodes, n) -- */
#define List(T) struct { T *at; int count, room; }
#define list_push(arena, list, item) \
    (list_room((arena), (void **)&(list)->at, (list)->count, &(list)->room, \
               sizeof *(list)->at), \
     (list)->at[(list)->count++] = (item))
void list_room(Arena *arena, void **at, int count, int *room, size_t each);

/* ---- text under construction (heap; buf_free when done) ------------------ */
typedef struct Buf { char *text; size_t length, room; } Buf;
void buf_printf(Buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_vprintf(Buf *buf, const char *format, va_list args);
void buf_add(Buf *buf, const char *bytes, size_t length);
/* The shortest decimal that reads back as the same double. */
void number_print(double number, Buf *out);
void buf_free(Buf *buf);

/* ---- where something was said ------------------------------------------- */
/* line and col count from 1, col in bytes; line 0: nowhere. `source` indexes
 * Diag.sources; width is the number of columns to underline (0: caret alone). */
typedef struct Loc { int source, line, col, width; } Loc;

typedef struct Source {
    const char *name;       /* as printed: a path, or a --set's KEY */
    const char *text;       /* whole text, NUL-terminated */
    size_t length;
} Source;

/* Diagnostics of one compilation. Errors are kept, up to 20, and printed
 * together, sorted by source, line and column as they were reported. */
typedef struct Diag {
    Arena *arena;
    List(Source) sources;
    List(char *) messages;  /* rendered, in order of report */
    int errors;             /* all that were reported, kept or not */
} Diag;

Diag *diag_new(Arena *arena);
/* Registers a text and gives its index for Loc.source; both are copied. */
int diag_source(Diag *diag, const char *name, const char *text, size_t length);
/* `file:line:col: error: …`, the source line, a caret. */
void diag_error(Diag *diag, Loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same without position: `NAME: error: …`. */
void diag_error_at(Diag *diag, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A line under the latest message: `hint: …`, or `note: …` with a position. */
void diag_hint(Diag *diag, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void diag_note(Diag *diag, Loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints what is kept (and how many more there were); true if there were none. */
bool diag_print(const Diag *diag, FILE *out);
/* "file:line", for comments in what we emit; "" for no location. */
const char *diag_where(const Diag *diag, Arena *arena, Loc loc);

/* ---- compiler bugs ------------------------------------------------------- */
/* Prints what is wrong and our own file and line, and aborts. */
#define ice(...) ice_at(__FILE__, __LINE__, __VA_ARGS__)
void ice_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/* The candidate nearest to word (edit distance at most a third of its length),
 * or NULL: for did-you-mean hints. */
const char *nearest_word(const char *word, const char *const *candidates, int count);
#endif
