/* options.c: reads `COMMAND SPEC.yaml [options]` (options.h). Every option is a
 * row of a table: how it is spelt, which commands have it, where it goes. */
#include "options.h"

typedef struct OptionRow {
    const char *name;
    int group;                          /* of OPTION_…; 0: any command */
    const char *value; /* what it is called in errors; NULL: none */
    const char *choices;                /* "cpu|cuda", or NULL */
} OptionRow;

enum {
    SET,
    OVERLAY,
    HELP,
    OUTPUT,
    TARGET,
    VIA,
    CPU,
    SM,
    SINGLE,
    VERBOSE,
    JSON,
    ROWS
};

static const OptionRow rows[ROWS] = {
    [SET] = {"--set", 0, "KEY=VALUE", NULL},
    [OVERLAY] = {"-f", 0, "OVERLAY.yaml", NULL},
    [HELP] = {"--help", 0, NULL, NULL},
    [OUTPUT] = {"-o", OPTION_OUTPUT, "PATH", NULL},
    [TARGET] = {"--target", OPTION_TARGET, "cpu|cuda", "cpu|cuda"},
    [VIA] = {"--via", OPTION_BUILD, "llvm|cc", "llvm|cc"},
    [CPU] = {"--cpu", OPTION_BUILD, "native|x86-64-v3|x86-64-v4",
             "native|x86-64-v3|x86-64-v4"},
    [SM] = {"--sm", OPTION_BUILD, "NUMBER", NULL},
    [SINGLE] = {"--single-file", OPTION_SINGLE, NULL, NULL},
    [VERBOSE] = {"-v", OPTION_VERBOSE, NULL, NULL},
    [JSON] = {"--json", OPTION_JSON, NULL, NULL},
};

/* Says what is wrong; false. */
static bool wrong(const char *command, const char *usage, const char *what,
                  const char *argument)
{
    fprintf(stderr, "trainwright %s: %s `%s`\n%s", command, what, argument,
            usage);
    return false;
}

/* The row that an argument names (`--cpu`, `--cpu=native`), or ROWS. */
static int find(const char *argument, int allowed)
{
    for (int i = 0; i < ROWS; i++) {
        size_t length = strlen(rows[i].name);
        bool named = !strncmp(argument, rows[i].name, length)
                     && (!argument[length]
                         || (argument[length] == '=' && rows[i].name[1] == '-'
                             && rows[i].value));
        if (named && (rows[i].group & ~allowed) == 0)
            return i;
    }
    return ROWS;
}

/* Is the value one of "a|b"? */
static bool is_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *at = choices; length && at; at = strchr(at, '|')) {
        at += *at == '|';
        if (!strncmp(at, value, length) && (!at[length] || at[length] == '|'))
            return true;
    }
    return false;
}

static void take(Options *o, Arena *arena, int row, const char *value)
{
    switch (row) {
    case SET: list_push(arena, &o->sets, value); return;
    case OVERLAY: list_push(arena, &o->overlays, value); return;
    case HELP: o->help = true; return;
    case OUTPUT: o->output = value; return;
    case TARGET: o->target = value; return;
    case VIA: o->via = value; return;
    case CPU: o->cpu = value; return;
    case SM: o->sm = value; return;
    case SINGLE: o->single_file = true; return;
    case VERBOSE: o->verbose = true; return;
    case JSON: o->json = true; return;
    }
}

static const char *nearest_option(const char *argument, int allowed)
{
    const char *names[ROWS];
    int count = 0;
    for (int i = 0; i < ROWS; i++)
        if ((rows[i].group & ~allowed) == 0)
            names[count++] = rows[i].name;
    return nearest_word(argument, names, count);
}

static bool unknown(const char *command, const char *usage,
                    const char *argument, int allowed)
{
    const char *near = nearest_option(argument, allowed);
    fprintf(stderr, "trainwright %s: unknown option `%s`", command, argument);
    if (near)
        fprintf(stderr, "; did you mean `%s`?", near);
    fprintf(stderr, "\n%s", usage);
    return false;
}

bool options_read(Options *o, Arena *arena, int argc, char **argv,
                  const char *usage, int allowed)
{
    const char *command = argv[0];
    for (int i = 1; i < argc && !o->help; i++) {
        const char *argument = argv[i];
        if (argument[0] != '-' || !argument[1]) {
            if (o->spec)
                return wrong(command, usage, "unexpected argument", argument);
            o->spec = argument;
            continue;
        }
        int row = find(strcmp(argument, "-h") ? argument : "--help", allowed);
        if (row == ROWS)
            return unknown(command, usage, argument, allowed);
        const char *value = strchr(argument, '=');
        if (value)
            value++;
        else if (rows[row].value && ++i < argc)
            value = argv[i];
        if (rows[row].value && (!value || (row == OUTPUT && !*value)))
            return wrong(command, usage, "a value is missing after", argument);
        if (rows[row].choices && !is_choice(rows[row].choices, value)) {
            fprintf(stderr, "trainwright %s: %s is %s, not `%s`\n", command,
                    rows[row].name, rows[row].value, value);
            return false;
        }
        take(o, arena, row, value);
    }
    if (!o->spec && !o->help && !(allowed & OPTION_BARE)) {
        fprintf(stderr, "trainwright %s: SPEC.yaml is missing\n%s", command,
                usage);
        return false;
    }
    return true;
}
