/* problems.h: what is wrong with a spec, collected in the order of finding and
 * reported in the order of places. A problem may carry a note at another place
 * and a hint. A remark is no problem: a note of its own. */
#ifndef SPEC_PROBLEMS_H
#define SPEC_PROBLEMS_H
#include "../../ir/base.h"

typedef struct Problem {
    Arena *arena;
    Loc loc;
    const char *text;
    bool is_remark;
    Loc note_loc;
    const char *note;           /* or NULL */
    const char *hint;           /* or NULL */
} Problem;

typedef struct Problems {
    Arena *arena;
    List(Problem *) list;
} Problems;

Problem *problem(Problems *problems, Loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void remark(Problems *problems, Loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problem_note(Problem *about, Loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problem_hint(Problem *about, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Reports all, sorted by source, line and column, and forgets them. */
void problems_report(Problems *problems, Diag *diag);
#endif
