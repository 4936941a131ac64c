/* main.c: the command line. A command is a row of the table; those without a
 * function are part of the contract (contract.md, section 1) and not built
 * yet. */
#define _GNU_SOURCE
#include "commands.h"
#include "ir_commands.h"
#include "spec/commands.h"
#include "version.h"
#include "../ir/base.h"
#include "../runtime/files.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Command {
    const char *name;
    int (*run)(int argc, char **argv);      /* one of both, or neither */
    int (*run_at)(int argc, char **argv, const Place *place);
    const char *summary;
} Command;

static int models(int argc, char **argv, const Place *place)
{
    return command_models(argc, argv, place->models);
}

static int init(int argc, char **argv, const Place *place)
{
    return command_init(argc, argv, place->models);
}

static const Command commands[] = {
    {"build", NULL, command_build, "make the program that trains a model"},
    {"emit", NULL, command_emit, "write that program's source"},
    {"check", NULL, command_check, "validate a spec and prove its plan"},
    {"plan", NULL, NULL, "what a spec costs: memory, time, messages"},
    {"diff", command_diff, NULL, "two plans side by side"},
    {"import", NULL, NULL, "weights from a Hugging Face checkpoint"},
    {"export", NULL, NULL, "weights to one"},
    {"tokenize", NULL, NULL, "text to tokens"},
    {"schema", command_schema, NULL, "the JSON Schema of a spec"},
    {"explain", command_explain, NULL, "what a key of the spec means"},
    {"models", NULL, models, "the specs that are shipped"},
    {"init", NULL, init, "a commented copy of one of them"},
    {"passes", command_passes, NULL, "the passes of the compiler"},
    {"env", NULL, command_env, "what was found on this machine"},
    {"ir", command_ir, NULL, "the IR as text, after any pass"},
    {"opt", command_opt, NULL, "run passes over IR text"},
    {"run", command_run, NULL, "the reference interpreter"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static bool is_built(const Command *command)
{
    return command->run || command->run_at;
}

static void print_usage(FILE *out)
{
    fputs(
        "usage: trainwright COMMAND … (trainwright COMMAND --help says more)\n",
        out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s%s\n", commands[i].name, commands[i].summary,
                is_built(&commands[i]) ? "" : " (not built yet)");
    fputs("  --version\n", out);
}

/* The directory that the executable is in, and the shipped models' beside
 * it. */
static Place find_place(Arena *arena)
{
    enum { LONGEST = 4096 };
    char path[LONGEST];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
    Place place = {.directory = "."};
    if (slash)
        place.directory = arena_strndup(arena, path, (size_t)(slash - path));
    place.models = arena_printf(arena, "%s/../share/trainwright/models",
                                place.directory);
    if (access(place.models, R_OK) != 0)
        place.models = arena_printf(arena, "%s/models", place.directory);
    return place;
}

static int unknown(const char *word)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    const char *near = nearest_word(word, names, COMMANDS);
    fprintf(stderr, "trainwright: unknown command `%s`", word);
    if (near)
        fprintf(stderr, "; did you mean `%s`?", near);
    fputs("\n", stderr);
    print_usage(stderr);
    return WRONG_USAGE;
}

static int start(const Command *command, int argc, char **argv)
{
    if (!is_built(command)) {
        fprintf(stderr, "trainwright: %s is not built yet\n", command->name);
        return WRONG_USAGE;
    }
    Arena *arena = arena_new();
    Place place = find_place(arena);
    int status = command->run ? command->run(argc, argv)
                              : command->run_at(argc, argv, &place);
    arena_free(arena);
    return status;
}

/* What stdout could not take is an error too. */
static int finish(int status)
{
    if (status != DONE || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fputs("trainwright: error: stdout cannot be written\n", stderr);
    return LACKING;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    files_hold_standard();
    /* A limit on file sizes is to arrive as an error of write. */
    signal(SIGXFSZ, SIG_IGN);
    if (!strcmp(word, "--version") && argc == 2) {
        puts("trainwright " TRAINWRIGHT_VERSION);
        return finish(DONE);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h")
        || !strcmp(word, "help")) {
        print_usage(stdout);
        return finish(DONE);
    }
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(word, commands[i].name))
            return finish(start(&commands[i], argc - 1, argv + 1));
    if (*word)
        return unknown(word);
    print_usage(stderr);
    return WRONG_USAGE;
}
