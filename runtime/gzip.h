/* gzip.h: reading gzip files by zlib, which is loaded where there is such a
 * file and only then: a program needs libc alone.
 * SPDX-License-Identifier: 0BSD */
#ifndef GZIP_H
#define GZIP_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

/* What is used of zlib: gzdopen, gzread, gzerror, gzclose. */
typedef struct Zlib {
    void *library;
    void *(*open)(int descriptor, const char *mode);
    int (*read)(void *file, void *out, unsigned length);
    const char *(*error)(void *file, int *number);
    int (*close)(void *file);
} Zlib;

typedef struct Gzip {
    const char *path;           /* as given; must live on */
    uint64_t size;              /* of the file, compressed */
    Zlib zlib;
    void *file;
} Gzip;

/* Whether these two bytes begin a gzip file. */
bool gzip_magic(const unsigned char bytes[2]);

/* ERROR_ENVIRONMENT where there is no zlib. */
bool gzip_open(Gzip *gzip, const char *path, Error *error);

/* Reads exactly `length` bytes; a torn or damaged file is an error. */
bool gzip_read(Gzip *gzip, void *out, size_t length, Error *error);

/* Checks that nothing follows, and the file's checksum. */
bool gzip_ends(Gzip *gzip, Error *error);
void gzip_close(Gzip *gzip);

/* The most bytes that a file of this size can hold: deflate's limit, 1032 to
 * one. */
uint64_t gzip_most(const Gzip *gzip);
#endif
