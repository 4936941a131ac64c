/* commands.h: the commands of the command line (main.c has their table). Each
 * takes its arguments with argv[0] the command's own name, and returns the exit
 * status of contract.md, section 1. */
#ifndef COMMANDS_H
#define COMMANDS_H

enum {
    DONE = 0,
    WRONG_INPUT = 1,            /* what was given is wrong */
    WRONG_USAGE = 2,            /* the command line is */
    LACKING = 3,                /* the environment lacks something */
    CHECK_FAILED = 4,
};

/* Where the compiler stands and what stands beside it. */
typedef struct Place {
    const char *directory;      /* of the executable */
    const char *models;         /* of the shipped specs */
} Place;

int command_build(int argc, char **argv, const Place *place);
int command_emit(int argc, char **argv, const Place *place);
int command_check(int argc, char **argv, const Place *place);
int command_diff(int argc, char **argv);
int command_env(int argc, char **argv, const Place *place);
#endif
