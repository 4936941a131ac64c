/* options.h: the command line of a program, read into one struct by the tables
 * of options.def. A field that was not given holds the table's initial value.
 * SPDX-License-Identifier: 0BSD */
#ifndef OPTIONS_H
#define OPTIONS_H
#include "error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum CommandId {
#define COMMAND(name, line, text) COMMAND_##name,
#define OPTION(kind, field, flag, value, on, initial, least, most, help)
#include "options.def"
#undef COMMAND
#undef OPTION
    COMMAND_COUNT
} CommandId;

typedef struct TextList {
    const char **at;
    int count;
} TextList;

typedef bool option_FLAG;
typedef const char *option_TEXT;
typedef TextList option_TEXTS;
typedef int64_t option_INTEGER;
typedef double option_NUMBER;

typedef struct Options {
    CommandId command;
    bool help;              /* --help was given: nothing else was checked */
    int argc;               /* the whole command line, for run.json */
    char **argv;
    struct World *world;    /* the ranks beside this one (world.h), or NULL */
#define COMMAND(name, line, text)
#define OPTION(kind, field, flag, value, on, initial, least, most, help) \
    option_##kind field;
#include "options.def"
#undef COMMAND
#undef OPTION
} Options;

/* Reads argv[1…]: the command, then `--flag VALUE` or `--flag=VALUE`. Status 2
 * for an unknown command or flag, and for a missing or bad value. options_free
 * is due in either case. */
bool options_read(Options *options, int argc, char **argv, Error *error);
void options_free(Options *options);

const char *command_name(CommandId command);

/* Help on all commands, or on one with its options. */
void print_usage(const char *program);
void print_command_help(const char *program, CommandId command);

/* A whole decimal integer, or a finite number; false for anything else. */
bool parse_integer(const char *text, int64_t *value);
bool parse_number(const char *text, double *value);

/* The candidate nearest to `word`, at an edit distance of at most a third of
 * its length, rounded up; NULL where none is near. For "did you mean". */
const char *nearest(const char *word, const char *const *candidates, int count);
#endif
