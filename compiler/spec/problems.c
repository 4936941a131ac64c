/* problems.c: collecting and sorting what is wrong (see problems.h). */
#include "problems.h"
#include <stdlib.h>

static char *format_text(Arena *arena, const char *format, va_list args)
{
    Buf buf = {0};
    buf_vprintf(&buf, format, args);
    char *copy = arena_strndup(arena, buf.text, buf.length);
    buf_free(&buf);
    return copy;
}

Problem *problem(Problems *problems, Loc loc, const char *format, ...)
{
    Problem *made = arena_alloc(problems->arena, sizeof *made);
    va_list args;
    va_start(args, format);
    made->arena = problems->arena;
    made->loc = loc;
    made->text = format_text(problems->arena, format, args);
    va_end(args);
    list_push(problems->arena, &problems->list, made);
    return made;
}

void remark(Problems *problems, Loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(problems->arena, format, args);
    va_end(args);
    problem(problems, loc, "%s", text)->is_remark = true;
}

void problem_note(Problem *about, Loc loc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    about->note_loc = loc;
    about->note = format_text(about->arena, format, args);
    va_end(args);
}

void problem_hint(Problem *about, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    about->hint = format_text(about->arena, format, args);
    va_end(args);
}

static int compare_places(Loc a, Loc b)
{
    if (a.source != b.source)
        return a.source < b.source ? -1 : 1;
    if (a.line != b.line)
        return a.line < b.line ? -1 : 1;
    return a.col < b.col ? -1 : a.col > b.col;
}

/* Merge sort, to keep the order of finding within a place. */
static void sort(Problem **at, Problem **spare, int count)
{
    if (count < 2)
        return;
    int half = count / 2, i = 0, j = half, k = 0;
    sort(at, spare, half);
    sort(at + half, spare, count - half);
    while (i < half || j < count) {
        bool right = i == half
            || (j < count && compare_places(at[j]->loc, at[i]->loc) < 0);
        spare[k++] = right ? at[j++] : at[i++];
    }
    memcpy(at, spare, (size_t)count * sizeof *at);
}

void problems_report(Problems *problems, Diag *diag)
{
    int count = problems->list.count;
    sort(problems->list.at,
         arena_alloc(problems->arena, (size_t)count * sizeof(Problem *)),
         count);
    for (int i = 0; i < count; i++) {
        const Problem *each = problems->list.at[i];
        if (each->is_remark)
            diag_note(diag, each->loc, "%s", each->text);
        else
            diag_error(diag, each->loc, "%s", each->text);
        if (each->note)
            diag_note(diag, each->note_loc, "%s", each->note);
        if (each->hint)
            diag_hint(diag, "%s", each->hint);
    }
    problems->list.count = 0;
}
