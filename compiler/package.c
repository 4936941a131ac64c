/* package.c: what stands in an emitted directory (package.h): the files, their
 * hashes, the Makefile; and compiling it here with the Makefile's own commands,
 * which are spelt once, in the macros below. */
#define _GNU_SOURCE
#include "package.h"
#include "../runtime/hash.h"
#include "child.h"
#include "commands.h"
#include "embed.h"
#include "emit.h"
#include "link.h"
#include "version.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* How a file is compiled: the runtime for any CPU, so that it can say what is
 * missing; generated code and kernels for one. */
#define COMMON "-std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Wno-psabi"
#define FOR_CPU "-O3 -fno-math-errno -mprefer-vector-width=512"
#define LIBRARIES "-lm -pthread"

/* ---- the description of the program -------------------------------------- */
static ProgDatum *description(const Prog *p, const char *field)
{
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind != PI_DATA || strcmp(item->data->name, "program") != 0)
            continue;
        for (int j = 0; j < item->data->record->fields.count; j++)
            if (!strcmp(item->data->record->fields.at[j].name, field))
                return &item->data->values.at[j];
    }
    return NULL;
}

void package_stamp(Prog *p, const char *field, const char *text,
                   const char *macro)
{
    ProgDatum *value = description(p, field);
    if (!value || value->kind != PD_TEXT)
        ice("the program's description has no text %s", field);
    value->text = arena_strdup(p->arena, text);
    value->macro = macro;
}

/* A source that every package has: all that is embedded but the objects. */
static bool is_source(const EmbedFile *file)
{
    return strncmp(file->name, "object/", 7) != 0;
}

static void hash_file(Sha256 *hash, const char *name, const void *bytes,
                      size_t length)
{
    char head[400];
    int written = snprintf(head, sizeof head, "%s %zu\n", name, length);
    sha256_add(hash, head, (size_t)written);
    sha256_add(hash, bytes, length);
}

/* What follows the program's name in that of a file. */
static const char *const source_ends[MOST_SOURCES] = { "", "-one-rank" };

const char *package_source_hash(const Sources *sources)
{
    Arena *arena = sources->at[0]->arena;
    Sha256 hash;
    char text[SHA256_TEXT];
    sha256_start(&hash);
    for (int i = 0; i < sources->count; i++) {
        Buf code = {0};
        emit_c(sources->at[i], &code);
        hash_file(&hash, arena_printf(arena, "program%s.c", source_ends[i]),
                  code.text, code.length);
        buf_free(&code);
    }
    for (const EmbedFile *file = embed_files; file->name; file++)
        if (is_source(file))
            hash_file(&hash, file->name, file->bytes, file->length);
    sha256_finish_text(&hash, text);
    return arena_strdup(arena, text);
}

bool package_is_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "0123456789._-";
    return *name && *name != '-' && *name != '.' && strlen(name) < 200
           && strspn(name, allowed) == strlen(name);
}

/* ---- files --------------------------------------------------------------- */
static void add(Arena *arena, Package *package, const char *path,
                const char *bytes, size_t length)
{
    PackageFile file = {path, bytes, length};
    list_push(arena, &package->files, file);
}

/* Adds what was put together in `text`, which is freed. */
static void add_text(Arena *arena, Package *package, const char *path,
                     Buf *text)
{
    add(arena, package, path, arena_strndup(arena, text->text ? text->text : "",
                                            text->length), text->length);
    buf_free(text);
}

/* `objects` are those of the program's own files. */
static void makefile(Buf *out, const char *name, const char *objects)
{
    buf_printf(
        out,
        "# make: the program. What may be set: CC, CPU (native, x86-64-v3, "
        "x86-64-v4),\n"
        "# CFLAGS. Every compiler and CPU gives a program that computes the "
        "same bits;\n"
        "# -ffp-contract=off is part of that.\n"
        "CC ?= cc\n"
        "CPU = native\n"
        "CFLAGS ?=\n"
        "COMMON = " COMMON "\n"
        "FOR_CPU = -march=$(CPU) " FOR_CPU "\n"
        "\n"
        "RUNTIME = $(patsubst %%.c,%%.o,$(wildcard runtime/*.c))\n"
        "KERNELS = $(patsubst %%.c,%%.o,$(wildcard runtime/kernels/*.c))\n"
        "HEADERS = $(wildcard runtime/*.h runtime/*.def runtime/kernels/*.h)\n"
        "\n"
        "%s: %s $(KERNELS) $(RUNTIME)\n"
        "\t$(CC) $(CFLAGS) -o $@ $^ " LIBRARIES "\n"
        "\n"
        "# The runtime runs anywhere, so that it can say what a CPU lacks.\n"
        "$(RUNTIME): %%.o: %%.c $(HEADERS)\n"
        "\t$(CC) $(COMMON) $(CFLAGS) -c -o $@ $<\n"
        "\n"
        "%s $(KERNELS): %%.o: %%.c $(HEADERS)\n"
        "\t$(CC) $(COMMON) $(FOR_CPU) $(CFLAGS) -c -o $@ $<\n"
        "\n"
        "clean:\n"
        "\trm -f %s %s $(KERNELS) $(RUNTIME)\n"
        ".PHONY: clean\n",
        name, objects, objects, name, objects);
}

static long count_lines(const PackageFile *file)
{
    long lines = 0;
    for (size_t i = 0; i < file->length; i++)
        lines += file->bytes[i] == '\n';
    return lines;
}

/* The first line is how emit knows a directory of its own. */
#define MANIFEST_HEAD "trainwright emitted this directory, format 1\n"

static void manifest(Buf *out, const Package *package, const char *passes,
                     const char *command)
{
    buf_printf(out,
               MANIFEST_HEAD "compiler: trainwright " TRAINWRIGHT_VERSION "\n");
    buf_printf(out, "passes: %s\ncommand: ", passes);
    for (const char *c = command; *c; c++)
        buf_printf(out, "%c", (unsigned char)*c < 32 ? '?' : *c);
    buf_printf(out, "\n\nsha-256 %56s  %6s  file\n", "", "lines");
    for (int i = 0; i < package->files.count; i++) {
        const PackageFile *file = &package->files.at[i];
        Sha256 hash;
        char digits[SHA256_TEXT];
        sha256_start(&hash);
        sha256_add(&hash, file->bytes, file->length);
        sha256_finish_text(&hash, digits);
        buf_printf(out, "%s  %6ld  %s\n", digits, count_lines(file),
                   file->path);
    }
}

Package *package_make(Arena *arena, const Sources *sources,
                      const char *spec_text, const char *passes,
                      const char *command)
{
    Package *package = arena_alloc(arena, sizeof *package);
    const char *name = package->name = sources->at[0]->name, *objects = "";
    Buf text = {0};
    for (int i = 0; i < sources->count; i++) {
        const char *stem = arena_printf(arena, "%s%s", name, source_ends[i]);
        emit_c(sources->at[i], &text);
        add_text(arena, package, arena_printf(arena, "%s.c", stem), &text);
        objects = arena_printf(arena, "%s%s%s.o", objects, i ? " " : "", stem);
    }
    for (const EmbedFile *file = embed_files; file->name; file++)
        if (is_source(file))
            add(arena, package, file->name, (const char *)file->bytes,
                file->length);
    add(arena, package, "spec.yaml", spec_text, strlen(spec_text));
    makefile(&text, name, objects);
    add_text(arena, package, "Makefile", &text);
    manifest(&text, package, passes, command);
    add_text(arena, package, "MANIFEST", &text);
    return package;
}

/* ---- writing ------------------------------------------------------------- */
/* May emit replace the file? If the MANIFEST of an earlier one (the context)
 * lists it, or its `make` makes it. */
static bool is_ours(const char *path, const void *context)
{
    const char *manifest = context;
    Arena *scratch = arena_new();
    size_t length = strlen(path);
    bool object = length > 2 && !strcmp(path + length - 2, ".o");
    const char *line = arena_printf(
        scratch, "  %s\n",
        object ? arena_printf(scratch, "%.*sc", (int)length - 1, path) : path);
    bool listed = strstr(manifest, line) != NULL;
    const char *code = arena_printf(scratch, "  %s.c\n", path);
    bool program = !strchr(path, '/') && strstr(manifest, code);
    arena_free(scratch);
    return listed || program || !strcmp(path, "MANIFEST");
}

static const char *read_manifest(Arena *arena, const char *directory)
{
    enum { MOST = 1 << 20 };
    FILE *file = fopen(arena_printf(arena, "%s/MANIFEST", directory), "re");
    if (!file)
        return NULL;
    char *text = arena_alloc(arena, MOST + 1);
    size_t length = fread(text, 1, MOST, file);
    fclose(file);
    bool ours = length > strlen(MANIFEST_HEAD)
                && !strncmp(text, MANIFEST_HEAD, strlen(MANIFEST_HEAD));
    return ours ? text : NULL;
}

static bool nothing_known(const char *path, const void *context)
{
    (void)path, (void)context;
    return false;
}

/* May the directory be replaced? */
static int check_directory(Diag *diag, const char *directory)
{
    struct stat about;
    if (lstat(directory, &about) != 0)
        return DONE;
    if (!S_ISDIR(about.st_mode)) {
        diag_error_at(diag, directory, "is not a directory");
        return WRONG_INPUT;
    }
    const char *manifest = read_manifest(diag->arena, directory);
    const char *stranger = tree_stranger(
        diag->arena, directory, manifest ? is_ours : nothing_known, manifest);
    if (!stranger)
        return DONE;
    diag_error_at(diag, directory, "holds %s, which emit did not write",
                  stranger);
    diag_hint(diag,
              "-o names a directory that is new, empty, or an earlier emit's");
    return WRONG_INPUT;
}

static int replace(Diag *diag, const char *aside, const char *directory)
{
    if (access(directory, F_OK) != 0) {
        int status = link_deliver(diag, aside, directory);
        if (status != DONE)
            tree_remove(aside);
        return status;
    }
    if (renameat2(AT_FDCWD, aside, AT_FDCWD, directory, RENAME_EXCHANGE) != 0) {
        diag_error_at(diag, directory, "cannot be replaced: %s",
                      strerror(errno));
        tree_remove(aside);
        return WRONG_INPUT;
    }
    tree_remove(aside);
    return DONE;
}

/* The path without slashes at its end. */
static const char *trimmed(Arena *arena, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return arena_strndup(arena, path, length);
}

static int write_whole(Diag *diag, const Package *package,
                       const char *directory)
{
    const char *aside = arena_printf(diag->arena, "%s.tmp-%ld", directory,
                                     (long)getpid());
    int status = tree_write(diag, package, aside, directory);
    if (status != DONE) {
        tree_remove(aside);
        return status;
    }
    return replace(diag, aside, directory);
}

int package_write(Diag *diag, const Package *package, const char *directory)
{
    sigset_t before;
    directory = trimmed(diag->arena, directory);
    int status = check_directory(diag, directory);
    if (status != DONE)
        return status;
    signals_hold(&before);
    status = write_whole(diag, package, directory);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* ---- compiling ----------------------------------------------------------- */
/* `sh -c` so that $CC and $CFLAGS may be several words, as in make. */
static const char *compile_line(Arena *arena, const char *path, const char *cpu)
{
    bool any_cpu = !strncmp(path, "runtime/", 8)
                   && strncmp(path, "runtime/kernels/", 16) != 0;
    int stem = (int)strlen(path) - 2;
    const char *flags = COMMON;
    if (!any_cpu)
        flags = arena_printf(arena, COMMON " -march=%s " FOR_CPU, cpu);
    return arena_printf(arena, "exec ${CC:-cc} %s $CFLAGS -c -o %.*s.o %s",
                        flags, stem, path, path);
}

/* Waits for one compilation and takes its complaint, if it is the first. */
static bool finish(Child *child, Buf *complaint)
{
    Buf says = {0};
    if (!child->pid)
        return true;
    bool good = child_wait(child, &says) == 0;
    if (!good && !complaint->length)
        buf_printf(complaint, "%.3000s", says.text ? says.text : "no output");
    buf_free(&says);
    return good;
}

static bool is_c(const char *path)
{
    size_t length = strlen(path);
    return length > 2 && !strcmp(path + length - 2, ".c");
}

/* All files, as many at a time as there are cores. */
static bool compile_all(Arena *arena, const Package *package, const char *cpu,
                        const char *directory, Buf *complaint)
{
    enum { MOST = 16 };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int slots = cores < 1 ? 1 : cores > MOST ? MOST : (int)cores;
    Child running[MOST] = {0};
    bool good = true;
    for (int i = 0, next = 0; i < package->files.count && good; i++) {
        if (!is_c(package->files.at[i].path))
            continue;
        const char *line = compile_line(arena, package->files.at[i].path, cpu);
        const char *const argv[] = {"/bin/sh", "-c", line, NULL};
        good = finish(&running[next], complaint);
        if (good && !child_start(&running[next], argv, directory)) {
            buf_printf(complaint, "/bin/sh: %s", strerror(errno));
            good = false;
        }
        next = (next + 1) % slots;
    }
    for (int i = 0; i < slots; i++)
        good = finish(&running[i], complaint) && good;
    return good;
}

static bool link_all(Arena *arena, const Package *package,
                     const char *directory, const char *output, Buf *complaint)
{
    Buf line = {0};
    buf_printf(&line, "exec ${CC:-cc} $CFLAGS -o \"$0\"");
    for (int i = 0; i < package->files.count; i++) {
        const char *path = package->files.at[i].path;
        if (is_c(path))
            buf_printf(&line, " %.*s.o", (int)strlen(path) - 2, path);
    }
    buf_printf(&line, " " LIBRARIES);
    const char *const argv[] = {"/bin/sh", "-c", arena_strdup(arena, line.text),
                                output, NULL};
    buf_free(&line);
    return child_run(argv, directory, complaint) == 0;
}

/* The program aside, as a path that holds from any directory. */
static const char *absolute(Arena *arena, const char *path)
{
    char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    const char *whole = here ? arena_printf(arena, "%s/%s", here, path) : path;
    free(here);
    return whole;
}

static int compile_in(Diag *diag, const Package *package, const char *cpu,
                      const char *directory, const char *output)
{
    Arena *arena = diag->arena;
    Buf complaint = {0};
    int status = link_check_output(diag, &output);
    const char *aside = arena_printf(arena, "%s.tmp-%ld",
                                     absolute(arena, output), (long)getpid());
    if (status == DONE)
        status = tree_write(diag, package, directory, directory);
    if (status != DONE)
        return status;
    if (compile_all(arena, package, cpu, directory, &complaint)
        && link_all(arena, package, directory, aside, &complaint))
        status = link_deliver(diag, aside, output);
    else {
        unlink(aside);
        diag_error_at(diag, "trainwright",
                      "the C compiler ($CC, or cc) failed:\n%s",
                      child_says(&complaint));
        diag_hint(diag, "apt-get install gcc, where there is none");
        status = LACKING;
    }
    buf_free(&complaint);
    return status;
}

int package_compile(Diag *diag, const Package *package, const char *cpu,
                    const char *output)
{
    Workplace workplace;
    if (!workplace_open(&workplace, diag, "trainwright"))
        return LACKING;
    const char *below =
        arena_printf(diag->arena, "%s/source", workplace.directory);
    int status = compile_in(diag, package, cpu, below, output);
    workplace_close(&workplace);
    return status;
}
