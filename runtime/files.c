/* files.c: see files.h. Reading first, then writing.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "files.h"
#include "hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void files_hold_standard(void)
{
    for (int number = 0; number <= 2; number++)
        if (fcntl(number, F_GETFD) < 0 && errno == EBADF)
            /* the lowest free number, which is this one */
            (void)!open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY);
}

/* ---- reading ------------------------------------------------------------ */

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

int file_open(const char *path, uint64_t *size, Error *error)
{
    /* Without O_NONBLOCK, opening a pipe that nobody writes would wait. */
    int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    int descriptor = open(path, flags);
    if (descriptor < 0) {
        error_system(error, errno, "cannot open %s", path);
        return -1;
    }
    struct stat about;
    if (fstat(descriptor, &about) != 0) {
        error_system(error, errno, "cannot examine %s", path);
    } else if (!S_ISREG(about.st_mode)) {
        error_set(error, ERROR_INPUT, "%s is %s, not a file", path,
                  kind_of(about.st_mode));
    } else {
        *size = (uint64_t)about.st_size;
        return descriptor;
    }
    close(descriptor);
    return -1;
}

bool file_read_at(int descriptor, const char *path, void *out, size_t length,
                  uint64_t offset, Error *error)
{
    char *to = out;
    while (length > 0) {
        size_t piece = length < ((size_t)1 << 30) ? length : (size_t)1 << 30;
        ssize_t got = pread(descriptor, to, piece, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system(error, errno, "cannot read %s", path);
        if (got == 0)
            return error_set(error, ERROR_INPUT,
                             "%s is shorter than it was: it ends before byte "
                             "%llu", path, (unsigned long long)offset + 1);
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return true;
}

bool file_read_whole(const char *path, size_t limit, char **text,
                     size_t *length, Error *error)
{
    uint64_t size;
    int descriptor = file_open(path, &size, error);
    if (descriptor < 0)
        return false;
    bool done = false;
    char *bytes = NULL;
    if (size > limit)
        error_set(error, ERROR_INPUT, "%s has %llu bytes, more than %zu", path,
                  (unsigned long long)size, limit);
    else if (!(bytes = malloc((size_t)size + 1)))
        error_set(error, ERROR_ENVIRONMENT,
                  "no memory for the %llu bytes of %s",
                  (unsigned long long)size, path);
    else
        done = file_read_at(descriptor, path, bytes, (size_t)size, 0, error);
    close(descriptor);
    if (!done) {
        free(bytes);
        return false;
    }
    bytes[size] = '\0';
    *text = bytes;
    *length = (size_t)size;
    return true;
}

/* ---- writing ------------------------------------------------------------ */

/* The path behind symbolic links (a rename would replace the link itself), or
 * `path` where there is nothing yet; only a regular file may be replaced. */
static bool resolve(const char *path, char *resolved, Error *error)
{
    struct stat about;
    if (stat(path, &about) == 0) {
        if (!S_ISREG(about.st_mode))
            return error_set(error, ERROR_INPUT,
                             "cannot write %s: it is %s, not a file", path,
                             kind_of(about.st_mode));
        if (!realpath(path, resolved))      /* at most PATH_MAX = FILES_PATH */
            return error_system(error, errno, "cannot write %s", path);
        return true;
    }
    size_t length = strlen(path);
    if (length == 0 || path[length - 1] == '/')
        return error_set(error, ERROR_INPUT,
                         "cannot write '%s': not the name of a file", path);
    if (length >= FILES_PATH)
        return error_system(error, ENAMETOOLONG, "cannot write %.200s…", path);
    memcpy(resolved, path, length + 1);
    return true;
}

bool file_create(FileWriter *writer, const char *path, Error *error)
{
    writer->descriptor = -1;
    writer->size = 0;
    writer->hash = NULL;
    writer->buffered = 0;
    if (!resolve(path, writer->path, error))
        return false;
    snprintf(writer->aside, sizeof writer->aside, "%s.tmp-%ld", writer->path,
             (long)getpid());
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
    writer->descriptor = open(writer->aside, flags, 0666);
    if (writer->descriptor < 0)
        return error_system(error, errno, "cannot write %s", path);
    return true;
}

void file_abandon(FileWriter *writer)
{
    if (writer->descriptor < 0)
        return;
    close(writer->descriptor);
    unlink(writer->aside);
    writer->descriptor = -1;
}

/* Gives up the file because of errno `number`. */
static bool fail(FileWriter *writer, int number, Error *error)
{
    file_abandon(writer);
    return error_system(error, number, "cannot write %s", writer->path);
}

static bool write_out(FileWriter *writer, const char *bytes, size_t length,
                      Error *error)
{
    while (length > 0) {
        size_t piece = length < ((size_t)1 << 30) ? length : (size_t)1 << 30;
        ssize_t put = write(writer->descriptor, bytes, piece);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail(writer, put < 0 ? errno : ENOSPC, error);
        bytes += put;
        length -= (size_t)put;
    }
    return true;
}

static bool flush(FileWriter *writer, Error *error)
{
    size_t length = writer->buffered;
    writer->buffered = 0;
    return write_out(writer, writer->buffer, length, error);
}

bool file_append(FileWriter *writer, const void *bytes, size_t length,
                 Error *error)
{
    if (writer->descriptor < 0)
        return error_set(error, ERROR_INPUT, "cannot write %s: not open",
                         writer->path);
    if (writer->hash)
        sha256_add(writer->hash, bytes, length);
    writer->size += length;
    if (length > FILES_BUFFER - writer->buffered && !flush(writer, error))
        return false;
    if (length >= FILES_BUFFER)
        return write_out(writer, bytes, length, error);
    memcpy(writer->buffer + writer->buffered, bytes, length);
    writer->buffered += length;
    return true;
}

bool file_sync_directory(const char *directory, Error *error)
{
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return error_system(error, errno, "cannot open %s", directory);
    int number = fsync(descriptor) == 0 ? 0 : errno;
    close(descriptor);
    /* Some file systems cannot sync a directory and say so with EINVAL. */
    if (number != 0 && number != EINVAL)
        return error_system(error, number, "cannot sync %s", directory);
    return true;
}

bool file_commit(FileWriter *writer, Error *error)
{
    if (writer->descriptor < 0)
        return error_set(error, ERROR_INPUT, "cannot write %s: not open",
                         writer->path);
    if (!flush(writer, error))
        return false;
    if (fsync(writer->descriptor) != 0)
        return fail(writer, errno, error);
    int closed = close(writer->descriptor);
    int number = errno;
    writer->descriptor = -1;
    if (closed == 0 && rename(writer->aside, writer->path) != 0) {
        closed = -1;
        number = errno;
    }
    if (closed != 0) {
        unlink(writer->aside);
        return error_system(error, number, "cannot write %s", writer->path);
    }
    char *slash = strrchr(writer->path, '/');
    if (!slash)
        return file_sync_directory(".", error);
    char kept = slash[1];       /* "/x" is in "/", "a/x" is in "a/" */
    slash[1] = '\0';
    bool synced = file_sync_directory(writer->path, error);
    slash[1] = kept;
    return synced;
}

bool file_write_whole(const char *path, const void *bytes, size_t length,
                      Error *error)
{
    FileWriter writer;
    if (!file_create(&writer, path, error))
        return false;
    if (!file_append(&writer, bytes, length, error))
        return false;
    return file_commit(&writer, error);
}
