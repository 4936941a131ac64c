/* error.c: see error.h.
 * SPDX-License-Identifier: 0BSD */
#include "error.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A full disk or an exhausted machine is nobody's mistake in the input. */
static int status_of(int number)
{
    switch (number) {
    case ENOSPC: case EDQUOT: case EFBIG: case EIO:
    case ENOMEM: case EMFILE: case ENFILE: case EROFS:
        return ERROR_ENVIRONMENT;
    default:
        return ERROR_INPUT;
    }
}

bool error_set(Error *error, int status, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->status = status;
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return false;
}

bool error_system(Error *error, int number, const char *format, ...)
{
    if (error) {
        /* A long path may be cut, the reason may not. */
        const char *reason = strerror(number);
        size_t most = sizeof error->text - strlen(reason) - 2;
        va_list args;
        va_start(args, format);
        error->status = status_of(number);
        vsnprintf(error->text, most, format, args);
        va_end(args);
        strcat(strcat(error->text, ": "), reason);
    }
    return false;
}
