/* gzip.c: see gzip.h. The four functions of zlib that are used have been as
 * they are declared in gzip.h since its version 1.2.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "gzip.h"
#include "files.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char library_name[] = "libz.so.1";

bool gzip_magic(const unsigned char bytes[2])
{
    return bytes[0] == 0x1f && bytes[1] == 0x8b;
}

/* A function of the library, into a pointer to one. */
static bool find(const Zlib *zlib, const char *name, void *function,
                 Error *error)
{
    void *symbol = dlsym(zlib->library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol
        || error_set(error, ERROR_ENVIRONMENT, "%s has no function %s: "
                     "apt-get install zlib1g", library_name, name);
}

static bool find_all(Zlib *zlib, Error *error)
{
    return find(zlib, "gzdopen", &zlib->open, error)
        && find(zlib, "gzread", &zlib->read, error)
        && find(zlib, "gzerror", &zlib->error, error)
        && find(zlib, "gzclose", &zlib->close, error);
}

bool gzip_open(Gzip *gzip, const char *path, Error *error)
{
    *gzip = (Gzip){ .path = path };
    gzip->zlib.library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!gzip->zlib.library)
        return error_set(error, ERROR_ENVIRONMENT, "%s is gzipped, and there "
                         "is no %s to read it: apt-get install zlib1g, or "
                         "gunzip it", path, library_name);
    int descriptor = -1;
    if (find_all(&gzip->zlib, error))
        descriptor = file_open(path, &gzip->size, error);
    if (descriptor >= 0) {
        gzip->file = gzip->zlib.open(descriptor, "rb");
        if (gzip->file)
            return true;
        close(descriptor);
        error_set(error, ERROR_ENVIRONMENT, "no memory to read %s", path);
    }
    gzip_close(gzip);
    return false;
}

void gzip_close(Gzip *gzip)
{
    if (gzip->file)
        gzip->zlib.close(gzip->file);
    if (gzip->zlib.library)
        dlclose(gzip->zlib.library);
    *gzip = (Gzip){0};
}

/* What went wrong, without the name that zlib has made of the descriptor, or
 * that the file ends too early. */
static bool failed(Gzip *gzip, Error *error)
{
    int number = 0;
    const char *text = gzip->zlib.error(gzip->file, &number);
    const char *reason = text ? strstr(text, ">: ") : NULL;
    text = reason ? reason + strlen(">: ") : text;
    return error_set(error, ERROR_INPUT, "%s: %s", gzip->path,
                     number == 0 || !text || !*text
                     ? "its gzipped contents end too early" : text);
}

bool gzip_read(Gzip *gzip, void *out, size_t length, Error *error)
{
    for (size_t done = 0; done < length;) {
        size_t left = length - done, most = 1 << 20;
        unsigned piece = (unsigned)(left < most ? left : most);
        int got = gzip->zlib.read(gzip->file, (char *)out + done, piece);
        if (got <= 0)
            return failed(gzip, error);
        done += (size_t)got;
    }
    return true;
}

bool gzip_ends(Gzip *gzip, Error *error)
{
    char more;
    int got = gzip->zlib.read(gzip->file, &more, 1), number = 0;
    if (got == 0)
        gzip->zlib.error(gzip->file, &number);
    if (got < 0 || number != 0)
        return failed(gzip, error);
    return got == 0
        || error_set(error, ERROR_INPUT, "%s: more bytes follow its contents",
                     gzip->path);
}

uint64_t gzip_most(const Gzip *gzip)
{
    const uint64_t ratio = 1032;
    return gzip->size > UINT64_MAX / ratio ? UINT64_MAX : gzip->size * ratio;
}
