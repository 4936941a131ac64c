/* check.h: counting in the tests of the runtime's files. Each test is a program
 * that prints what failed, then `N passed, M failed`, and exits 1 on failure.
 * SPDX-License-Identifier: 0BSD */
#ifndef CHECK_H
#define CHECK_H
#include <stdbool.h>
#include <stdio.h>

typedef struct Checks { const char *name; int passed, failed; } Checks;

#define check(checks, condition, ...) \
    check_at((checks), (condition), __LINE__, __VA_ARGS__)

/* Counts; on failure prints where and what. Returns the condition. */
__attribute__((format(printf, 4, 5)))
static inline bool check_at(Checks *checks, bool good, int line,
                            const char *format, ...)
{
    if (good) {
        checks->passed++;
        return true;
    }
    checks->failed++;
    printf("%s:%d: failed: ", checks->name, line);
    __builtin_va_list args;
    __builtin_va_start(args, format);
    vprintf(format, args);
    __builtin_va_end(args);
    printf("\n");
    return false;
}

static inline int check_end(const Checks *checks)
{
    printf("%s: %d passed, %d failed\n", checks->name, checks->passed,
           checks->failed);
    return checks->failed != 0;
}
#endif
