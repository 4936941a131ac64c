/* options.h: the options of commands that take a spec. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include "../ir/base.h"

/* Which options a command takes, besides SPEC, -f, --set, --help. */
enum {
    OPTION_OUTPUT = 1,          /* -o PATH */
    OPTION_TARGET = 2,          /* --target cpu|cuda */
    OPTION_BUILD = 4,           /* --via llvm|cc, --cpu LEVEL, --sm NUMBER */
    OPTION_SINGLE = 8,          /* --single-file */
    OPTION_VERBOSE = 16,        /* -v */
    OPTION_JSON = 32,           /* --json */
    OPTION_BARE = 64,           /* SPEC may be left out */
};

typedef struct Options {
    const char *spec;
    List(const char *) overlays;
    List(const char *) sets;
    const char *output, *target, *via, *cpu, *sm;   /* NULL where not given */
    bool single_file, verbose, json;
    bool help;                  /* --help: nothing else was checked */
} Options;

/* Reads a command line (argv[0]: the command) with the options of `allowed`.
 * False after saying on stderr what is wrong and how it goes (`usage`). */
bool options_read(Options *options, Arena *arena, int argc, char **argv,
                  const char *usage, int allowed);
#endif
