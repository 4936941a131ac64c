/* link.c: runs lld (link.h). The objects that the compiler carries are given to
 * it as anonymous files; a small one of our own, start.S, stands for the crt
 * files of a C compiler, so that a machine needs no gcc and no -dev package. */
#define _GNU_SOURCE
#include "link.h"
#include "child.h"
#include "commands.h"
#include "embed.h"
#include "package.h"
#include "../runtime/error.h"
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOADER "/lib64/ld-linux-x86-64.so.2"
enum { OLDEST_LLD = 19 };

typedef struct LinkInputs {
    const char *const *objects; /* of the generated code: one or two */
    int count;
    const char *level;          /* of the kernels */
} LinkInputs;

/* ---- lld ----------------------------------------------------------------- */
/* The version in "LLD 19.1.7 (compatible with GNU linkers)"; 0 if it is
 * none. */
static int lld_version(const char *name, Buf *says)
{
    const char *const argv[] = {name, "--version", NULL};
    if (child_run(argv, NULL, says) != 0 || !says->text)
        return 0;
    const char *number = strstr(says->text, "LLD ");
    return number ? atoi(number + 4) : 0;
}

const char *link_find_lld(Arena *arena, const char **version)
{
    static const char *const names[] = {LD_LLD_PATH, "ld.lld-19", "ld.lld"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Buf says = {0};
        if (!*names[i])
            continue;
        bool good = lld_version(names[i], &says) >= OLDEST_LLD;
        if (good && version)
            *version = arena_strndup(arena, says.text,
                                     strcspn(says.text, "\n"));
        buf_free(&says);
        if (good)
            return names[i];
    }
    return NULL;
}

/* ---- inputs -------------------------------------------------------------- */
/* An embedded file as an anonymous file: its descriptor, or -1. */
static int open_embedded(const char *name)
{
    const EmbedFile *file = embed_find(name);
    if (!file)
        ice("%s is not embedded", name);
    int descriptor = memfd_create(name, 0);
    for (size_t done = 0; descriptor >= 0 && done < file->length;) {
        ssize_t wrote = write(descriptor, file->bytes + done,
                              file->length - done);
        if (wrote > 0) {
            done += (size_t)wrote;
        } else if (wrote == 0 || errno != EINTR) {
            close(descriptor);
            descriptor = -1;
        }
    }
    return descriptor;
}

/* The path of a library beside libc, which is where this process has it. */
static const char *library(Arena *arena, const char *name)
{
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "__libc_start_main");
    if (!symbol || !dladdr(symbol, &info) || !info.dli_fname)
        return NULL;
    const char *slash = strrchr(info.dli_fname, '/');
    const char *path = slash ? arena_printf(arena, "%.*s/%s",
                                            (int)(slash - info.dli_fname),
                                            info.dli_fname, name)
                             : NULL;
    return path && access(path, R_OK) == 0 ? path : NULL;
}

/* ---- linking ------------------------------------------------------------- */
/* What errno says of a path that cannot be written; gives the exit status. */
int link_unwritable(Diag *diag, const char *path)
{
    Error error;
    int number = errno;
    error_system(&error, number, "%s", path);
    diag_error_at(diag, path, "cannot be written: %s", strerror(number));
    return error.status == ERROR_ENVIRONMENT ? LACKING : WRONG_INPUT;
}

int link_deliver(Diag *diag, const char *aside, const char *output)
{
    if (rename(aside, output) == 0)
        return DONE;
    int status = link_unwritable(diag, output);
    unlink(aside);
    return status;
}

static int run_lld(Diag *diag, const char *const *argv, const char *output)
{
    Buf says = {0};
    int status = child_run(argv, NULL, &says);
    /* lld maps its output: a disk that fills up reaches it as this signal. */
    if (status == 128 + SIGBUS)
        diag_error_at(diag, output, "cannot be written: %s", strerror(ENOSPC));
    else if (status != 0)
        diag_error_at(diag, argv[0], "could not link (status %d):\n%s", status,
                      child_says(&says));
    buf_free(&says);
    return status ? LACKING : DONE;
}

/* The file behind symbolic links, which a rename would replace; a path where
 * there is none yet stays as it is. */
static const char *resolved(Arena *arena, const char *path)
{
    char *real = realpath(path, NULL);
    const char *copy = real ? arena_strdup(arena, real) : path;
    free(real);
    return copy;
}

int link_check_output(Diag *diag, const char **output)
{
    struct stat about;
    const char *path = *output = resolved(diag->arena, *output);
    bool there = stat(path, &about) == 0;
    if (there && !S_ISREG(about.st_mode)) {
        diag_error_at(diag, path, "is %s; -o names the program's file",
                      S_ISDIR(about.st_mode) ? "a directory" : "no file");
        return WRONG_INPUT;
    }
    const char *aside = arena_printf(diag->arena, "%s.tmp-%ld", path,
                                     (long)getpid());
    FILE *file = fopen(aside, "we");
    if (!file)
        return link_unwritable(diag, path);
    fclose(file);
    unlink(aside);
    return DONE;
}

/* Links into `aside`, a file that will be renamed to `output`. */
static int link_aside(Diag *diag, const LinkInputs *in, const char *aside,
                      const char *output)
{
    Arena *arena = diag->arena;
    const char *lld = link_find_lld(arena, NULL);
    const char *libc = library(arena, "libc.so.6"),
               *libm = library(arena, "libm.so.6");
    if (!lld || !libc || !libm) {
        diag_error_at(diag, "trainwright", "%s is not to be found",
                      lld ? "libc.so.6" : "ld.lld, version 19 or later,");
        diag_hint(diag, "apt-get install %s", lld ? "libc6" : "lld-19");
        return LACKING;
    }
    const char *kernels = arena_printf(arena, "object/kernels-%s.o", in->level);
    const char *names[] = {"object/start.o", "object/runtime.o", kernels};
    const char *paths[3];
    int open[3];
    for (int i = 0; i < 3; i++) {
        open[i] = open_embedded(names[i]);
        if (open[i] < 0) {
            diag_error_at(diag, output, "cannot hold what it is linked with: "
                          "%s", strerror(errno));
            while (i-- > 0)
                close(open[i]);
            return LACKING;
        }
        paths[i] = arena_printf(arena, "/proc/self/fd/%d", open[i]);
    }
    /* The second object, which there may not be, ends the list. */
    const char *const second = in->count > 1 ? in->objects[1] : NULL;
    const char *const argv[] = {
        lld, "-pie", "--eh-frame-hdr", "--gc-sections", "-z", "relro", "-z",
        "now", "--build-id=none", "--hash-style=gnu", "-dynamic-linker", LOADER,
        "-o", aside, paths[0], in->objects[0], paths[1], paths[2], libc, libm,
        LOADER, second, NULL,
    };
    int status = run_lld(diag, argv, output);
    for (int i = 0; i < 3; i++)
        if (open[i] >= 0)
            close(open[i]);
    return status == DONE ? link_deliver(diag, aside, output) : status;
}

/* In a directory beside the output, so that what a killed lld leaves goes. */
static int link_beside(Diag *diag, const LinkInputs *in, const char *output)
{
    int status = link_check_output(diag, &output);
    if (status != DONE)
        return status;
    const char *directory = arena_printf(diag->arena, "%s.tmp-%ld", output,
                                         (long)getpid());
    const char *aside = arena_printf(diag->arena, "%s/program", directory);
    if (mkdir(directory, 0777) != 0)
        return link_unwritable(diag, output);
    status = link_aside(diag, in, aside, output);
    tree_remove(directory);
    return status;
}

int link_program(Diag *diag, const char *const *objects, int count,
                 const char *level, const char *output)
{
    LinkInputs in = { objects, count, level };
    sigset_t before;
    signals_hold(&before);
    int status = link_beside(diag, &in, output);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}
