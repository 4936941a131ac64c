/* commands.h: the commands that speak of specs alone. Each takes its arguments
 * with argv[0] the command's own name, and returns the exit status: 0 done, 1
 * wrong input, 2 wrong usage. */
#ifndef SPEC_COMMANDS_H
#define SPEC_COMMANDS_H

/* `schema`: the JSON Schema of a spec, on stdout. */
int command_schema(int argc, char **argv);
/* `explain KEY`: what a key or a map of keys is. */
int command_explain(int argc, char **argv);
/* `models`: the specs shipped in the directory `models`, a line each. */
int command_models(int argc, char **argv, const char *models);
/* `init NAME [-o FILE]`: a commented copy of a shipped spec. */
int command_init(int argc, char **argv, const char *models);
#endif
