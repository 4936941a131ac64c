/* error.h: how the runtime says what went wrong. A function that can fail
 * returns false after it has filled in an Error: the exit status that the
 * program will end with, and a text in the user's words. Nothing is printed and
 * nobody exits here. Read error.c for which system errors are whose fault.
 * SPDX-License-Identifier: 0BSD */
#ifndef ERROR_H
#define ERROR_H
#include <stdbool.h>

/* Exit statuses (docs/contract.md, section 1). */
enum {
    ERROR_INPUT = 1,            /* what we were given is wrong */
    ERROR_USAGE = 2,            /* the command line is wrong */
    ERROR_ENVIRONMENT = 3       /* the machine lacks something: disk, memory */
};

typedef struct Error {
    int status;
    char text[1024];            /* without a newline; cut where it is longer */
} Error;

/* Fills in *error (which may be NULL) and returns false. */
bool error_set(Error *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call with errno `number`: the text ends in
 * ": No such file or directory" and the like, the status follows the number. */
bool error_system(Error *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
