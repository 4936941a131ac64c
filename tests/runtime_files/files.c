/* files.c (test): what file_open refuses, reads that end early, files that
 * appear whole or not at all, full disks and file-size limits.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/files.h"
#include "../../runtime/hash.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Files in the current directory, which is the test's own. */
static int entries(void)
{
    int count = -2;
    DIR *directory = opendir(".");
    while (directory && readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    fputs(text, file);
    fclose(file);
}

static bool holds(const char *path, const char *text)
{
    char *got;
    size_t length;
    if (!file_read_whole(path, 1 << 20, &got, &length, NULL))
        return false;
    bool same = length == strlen(text) && memcmp(got, text, length) == 0;
    free(got);
    return same;
}

static void refused(Checks *c, const char *path, const char *why)
{
    uint64_t size;
    Error error = { 0 };
    int descriptor = file_open(path, &size, &error);
    check(c, descriptor < 0, "%s was opened", path);
    check(c, error.status == ERROR_INPUT && strstr(error.text, path) &&
          strstr(error.text, why), "%s: %d %s", path, error.status, error.text);
}

static void test_open(Checks *c)
{
    mkdir("directory", 0777);
    mkfifo("pipe", 0666);
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "socket" };
    int socket_file = socket(AF_UNIX, SOCK_STREAM, 0);
    check(c, bind(socket_file, (void *)&name, sizeof name) == 0, "bind");
    refused(c, "missing", "No such file");
    refused(c, "directory", "is a directory, not a file");
    refused(c, "pipe", "is a pipe, not a file");
    refused(c, "socket", "");
    refused(c, "/dev/zero", "is a device, not a file");
    refused(c, "directory/x/y", "No such file");
    refused(c, "", "");
    close(socket_file);
    unlink("socket"), unlink("pipe"), rmdir("directory");
}

static void test_read(Checks *c)
{
    put("text", "0123456789");
    uint64_t size = 0;
    Error error = { 0 };
    char bytes[16] = { 0 };
    int descriptor = file_open("text", &size, &error);
    check(c, descriptor >= 0 && size == 10, "size %d", (int)size);
    check(c, file_read_at(descriptor, "text", bytes, 4, 3, &error) &&
          memcmp(bytes, "3456", 4) == 0, "a part");
    check(c, file_read_at(descriptor, "text", bytes, 0, 10, &error), "nothing");
    check(c, truncate("text", 5) == 0, "truncate");
    check(c, !file_read_at(descriptor, "text", bytes, 4, 3, &error) &&
          error.status == ERROR_INPUT && strstr(error.text, "shorter"),
          "a file that shrinks: %s", error.text);
    close(descriptor);
    char *text;
    size_t length;
    check(c,
          file_read_whole("text", 5, &text, &length, &error) && length == 5 &&
              strcmp(text, "01234") == 0,
          "whole");
    free(text);
    check(c, !file_read_whole("text", 4, &text, &length, &error) &&
          strstr(error.text, "5 bytes, more than 4"), "limit: %s", error.text);
    unlink("text");
}

static void test_write(Checks *c)
{
    Error error = { 0 };
    FileWriter w;
    put("out", "old");
    check(c, file_create(&w, "out", &error), "%s", error.text);
    check(c, file_append(&w, "new ", 4, &error) && holds("out", "old"),
          "aside");
    check(c, file_append(&w, "text", 4, &error) && w.size == 8, "append");
    check(c, file_commit(&w, &error) && holds("out", "new text"), "commit");
    check(c, entries() == 1, "files are left");
    check(c, !file_append(&w, "x", 1, &error), "append after commit");
    check(c, !file_commit(&w, &error), "commit after commit");

    check(c, file_create(&w, "out", &error), "%s", error.text);
    check(c, file_append(&w, "never", 5, &error), "append");
    file_abandon(&w);
    file_abandon(&w);
    check(c, holds("out", "new text") && entries() == 1, "abandon");

    check(c, symlink("out", "link") == 0, "symlink");
    check(c, file_write_whole("link", "through", 7, &error) &&
          holds("out", "through") && entries() == 2, "through a link");
    unlink("link");
    check(c, file_write_whole("./out", "", 0, &error) && holds("out", ""),
          "empty");
    unlink("out");
}

static void test_large(Checks *c)
{
    enum { SIZE = 100000 };
    char *bytes = malloc(SIZE + 1), text[2][SHA256_TEXT];
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (char)('a' + i % 23);
    bytes[SIZE] = '\0';
    Error error = { 0 };
    FileWriter w;
    Sha256 hash;
    sha256_start(&hash);
    check(c, file_create(&w, "large", &error), "%s", error.text);
    w.hash = &hash;
    for (int at = 0, n = 1; at < SIZE; at += n, n = n * 3 % 40009 + 1) {
        n = n < SIZE - at ? n : SIZE - at;
        check(c, file_append(&w, bytes + at, (size_t)n, &error), "append %d",
              n);
    }
    check(c, file_commit(&w, &error) && holds("large", bytes), "large");
    sha256_finish_text(&hash, text[0]);
    check(c, sha256_file("large", text[1], &error) &&
          strcmp(text[0], text[1]) == 0, "its digest");
    unlink("large");
    free(bytes);
}

static void unwritable(Checks *c, const char *path, const char *why)
{
    Error error = { 0 };
    check(c, !file_write_whole(path, "x", 1, &error), "%.50s was written",
          path);
    check(c, error.status == ERROR_INPUT && strstr(error.text, why),
          "%.50s: %d %s", path, error.status, error.text);
}

static void test_refused(Checks *c)
{
    mkdir("directory", 0777);
    unwritable(c, "directory", "is a directory");
    unwritable(c, "directory/", "is a directory");
    unwritable(c, "missing/x", "No such file");
    unwritable(c, "missing/", "not the name of a file");
    unwritable(c, "", "not the name of a file");
    unwritable(c, "/dev/null", "is a device");
    char *path = malloc(5001);
    memset(path, 'x', 5000);
    path[5000] = '\0';
    unwritable(c, path, "too long");
    free(path);
    rmdir("directory");
    check(c, entries() == 0, "files are left");
}

/* A file-size limit behaves as a full disk does. */
static void test_full(Checks *c)
{
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 50000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    Error error = { 0 };
    FileWriter w;
    char bytes[1000] = { 0 };
    bool good = file_create(&w, "full", &error);
    check(c, good, "%s", error.text);
    int appended = 0;
    for (; good && appended < 100; appended++)
        good = file_append(&w, bytes, sizeof bytes, &error);
    check(c, !good && appended > 40, "%d appends", appended);
    check(c, error.status == ERROR_ENVIRONMENT && strstr(error.text, "full"),
          "%d %s", error.status, error.text);
    check(c, !file_commit(&w, &error) && entries() == 0, "files are left");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    error_system(&error, ENOSPC, "cannot write x");
    check(c, error.status == ERROR_ENVIRONMENT, "ENOSPC");
    error_system(&error, EACCES, "cannot write x");
    check(c, error.status == ERROR_INPUT &&
          strcmp(error.text, "cannot write x: Permission denied") == 0,
          "%s", error.text);
}

static void test_errors(Checks *c)
{
    Error error;
    char longer[3000];
    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    check(c, !error_set(&error, 2, "%s", longer) && error.status == 2 &&
          strlen(error.text) == sizeof error.text - 1, "a long text is cut");
    check(c, !error_system(&error, ENOENT, "%s", longer), "and here");
    check(c, !error_set(NULL, 1, "x") && !error_system(NULL, 1, "x"),
          "nobody asks");
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "files" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_open(&checks);
    test_read(&checks);
    test_write(&checks);
    test_large(&checks);
    test_refused(&checks);
    test_full(&checks);
    test_errors(&checks);
    return check_end(&checks);
}
