/* options.c: reading the command line and printing help, both by the tables of
 * options.def (see options.h).
 * SPDX-License-Identifier: 0BSD */
#include "options.h"
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum OptionKind { FLAG, TEXT, TEXTS, INTEGER, NUMBER } OptionKind;

typedef struct OptionRow {
    OptionKind kind;
    size_t offset;          /* of its field in Options */
    const char *flag, *value;
    unsigned commands;      /* a bit a command */
    double initial, least, most;
    const char *help;
} OptionRow;

#define ON(command) (1u << COMMAND_##command)

static const OptionRow option_rows[] = {
#define COMMAND(name, line, text)
#define OPTION(kind, field, flag, value, on, initial, least, most, help) \
    { kind, offsetof(Options, field), flag, value, on, initial, least, most, \
      help },
#include "options.def"
#undef COMMAND
#undef OPTION
};
enum { OPTION_ROWS = sizeof option_rows / sizeof option_rows[0] };

static const struct CommandRow {
    const char *name, *line, *text;
} command_rows[COMMAND_COUNT] = {
#define COMMAND(name, line, text) { #name, line, text },
#define OPTION(kind, field, flag, value, on, initial, least, most, help)
#include "options.def"
#undef COMMAND
#undef OPTION
};

const char *command_name(CommandId command)
{
    return command_rows[command].name;
}

/* ---- words and numbers -------------------------------------------------- */

/* Levenshtein's distance of two short words. */
static int edit_distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    int n = (int)strnlen(a, MOST), m = (int)strnlen(b, MOST);
    int row[MOST + 1];
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int replaced = diagonal + (a[i - 1] != b[j - 1]);
            int shifted = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[m];
}

const char *nearest(const char *word, const char *const *candidates, int count)
{
    int least = ((int)strlen(word) + 2) / 3 + 1;
    const char *found = NULL;
    for (int i = 0; i < count; i++) {
        int distance = edit_distance(word, candidates[i]);
        if (distance < least) {
            least = distance;
            found = candidates[i];
        }
    }
    return found;
}

bool parse_integer(const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == 0 || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    *value = number;
    return errno == 0;
}

bool parse_number(const char *text, double *value)
{
    /* strtod takes hexadecimal, "inf" and leading blanks too: not here. */
    if (*text == 0 || strspn(text, "0123456789+-.eE") != strlen(text))
        return false;
    char *end;
    *value = strtod(text, &end);
    return *end == 0 && isfinite(*value);
}

/* ---- reading ------------------------------------------------------------ */

static bool unknown_command(const char *word, Error *error)
{
    const char *names[COMMAND_COUNT];
    for (int i = 0; i < COMMAND_COUNT; i++)
        names[i] = command_rows[i].name;
    const char *near = nearest(word, names, COMMAND_COUNT);
    return error_set(error, ERROR_USAGE, "unknown command '%s'%s%s%s", word,
                     near ? "; did you mean '" : "; see --help",
                     near ? near : "", near ? "'?" : "");
}

static bool unknown_option(CommandId command, const char *word, Error *error)
{
    const char *flags[OPTION_ROWS];
    int count = 0;
    for (int i = 0; i < OPTION_ROWS; i++)
        if (option_rows[i].commands & 1u << command)
            flags[count++] = option_rows[i].flag;
    char flag[64];
    snprintf(flag, sizeof flag, "%.*s", (int)strcspn(word, "="), word);
    const char *near = nearest(flag, flags, count);
    const char *name = command_name(command);
    if (word[0] != '-')
        return error_set(error, ERROR_USAGE, "%s: '%s' is no option", name,
                         word);
    return error_set(error, ERROR_USAGE, "%s has no option '%s'%s%s%s", name,
                     flag, near ? "; did you mean " : "", near ? near : "",
                     near ? "?" : "");
}

static bool set_value(const OptionRow *row, void *field, const char *value,
                      Error *error)
{
    double number = 0;
    int64_t integer = 0;
    switch (row->kind) {
    case FLAG:
        return true;
    case TEXT:
        *(const char **)field = value;
        return true;
    case TEXTS: {
        TextList *list = field;
        list->at[list->count++] = value;
        return true;
    }
    case INTEGER:
        if (!parse_integer(value, &integer))
            return error_set(error, ERROR_USAGE, "%s wants a whole number, "
                             "not '%s'", row->flag, value);
        number = (double)integer;
        *(int64_t *)field = integer;
        break;
    case NUMBER:
        if (!parse_number(value, &number))
            return error_set(error, ERROR_USAGE, "%s wants a number, not '%s'",
                             row->flag, value);
        *(double *)field = number;
        break;
    }
    if (number < row->least || number > row->most)
        return error_set(error, ERROR_USAGE, "%s is from %.0f to %.0f, not %s",
                         row->flag, row->least, row->most, value);
    return true;
}

/* The row whose flag `word` is, up to its `=`; NULL where the command has
 * none. */
static const OptionRow *find_option(CommandId command, const char *word)
{
    size_t length = strcspn(word, "=");
    for (int i = 0; i < OPTION_ROWS; i++) {
        const OptionRow *row = &option_rows[i];
        if (row->commands & 1u << command && strlen(row->flag) == length
            && memcmp(row->flag, word, length) == 0)
            return row;
    }
    return NULL;
}

/* The value of argv[*i]: after its `=`, or the next argument. */
static const char *option_value(int argc, char **argv, int *i)
{
    const char *equals = strchr(argv[*i], '=');
    if (equals)
        return equals + 1;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool set_initial_values(Options *options, int argc, Error *error)
{
    for (int i = 0; i < OPTION_ROWS; i++) {
        const OptionRow *row = &option_rows[i];
        void *field = (char *)options + row->offset;
        if (row->kind == INTEGER)
            *(int64_t *)field = (int64_t)row->initial;
        else if (row->kind == NUMBER)
            *(double *)field = row->initial;
        if (row->kind != TEXTS)
            continue;
        TextList *list = field;
        list->at = calloc((size_t)argc, sizeof *list->at);
        if (!list->at)
            return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    }
    return true;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

bool options_read(Options *options, int argc, char **argv, Error *error)
{
    *options = (Options){ .command = COMMAND_COUNT, .argc = argc,
                          .argv = argv };
    if (argc < 2)
        return error_set(error, ERROR_USAGE, "which command? See --help");
    options->help = is_help(argv[1]) || strcmp(argv[1], "help") == 0;
    if (options->help)
        return true;
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], command_rows[i].name) == 0)
            options->command = (CommandId)i;
    if (options->command == COMMAND_COUNT)
        return unknown_command(argv[1], error);
    for (int i = 2; i < argc && !options->help; i++)
        options->help = is_help(argv[i]);
    if (options->help)
        return true;
    if (!set_initial_values(options, argc, error))
        return false;
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        const OptionRow *row = find_option(options->command, word);
        if (!row)
            return unknown_option(options->command, word, error);
        void *field = (char *)options + row->offset;
        if (row->kind == FLAG && strchr(word, '='))
            return error_set(error, ERROR_USAGE, "%s takes no value",
                             row->flag);
        if (row->kind == FLAG) {
            *(bool *)field = true;
            continue;
        }
        const char *value = option_value(argc, argv, &i);
        if (!value)
            return error_set(error, ERROR_USAGE, "%s wants %s", row->flag,
                             row->value);
        if (!set_value(row, field, value, error))
            return false;
    }
    return true;
}

void options_free(Options *options)
{
    for (int i = 0; i < OPTION_ROWS; i++)
        if (option_rows[i].kind == TEXTS)
            free(((TextList *)((char *)options + option_rows[i].offset))->at);
}

/* ---- help --------------------------------------------------------------- */

void print_usage(const char *program)
{
    printf("usage: %s COMMAND [options]\n\n", program);
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  %-9s %s\n", command_rows[i].name, command_rows[i].text);
    printf("\n%s COMMAND --help lists a command's options.\n"
           "Exit status: 0 done, 1 the input is wrong, 2 wrong usage, 3 the "
           "machine lacks\nsomething, 5 training diverged, 75 stopped by a "
           "signal (resume).\n", program);
}

void print_command_help(const char *program, CommandId command)
{
    const struct CommandRow *row = &command_rows[command];
    printf("usage: %s %s %s\n%s\n\n", program, row->name, row->line, row->text);
    for (int i = 0; i < OPTION_ROWS; i++) {
        const OptionRow *option = &option_rows[i];
        if (!(option->commands & 1u << command))
            continue;
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", option->flag,
                 option->value ? " " : "", option->value ? option->value : "");
        printf("  %-24s %s\n", left, option->help);
    }
}
