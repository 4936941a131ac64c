/* ir_commands.h: the commands for developers of the compiler: ir, opt, run, passes.
 * Each takes its arguments with argv[0] its own name, and returns an exit status. */
#ifndef IR_COMMANDS_H
#define IR_COMMANDS_H

int command_ir(int argc, char **argv);          /* a spec's IR as text, after any pass */
int command_opt(int argc, char **argv);         /* passes over IR text */
int command_run(int argc, char **argv);         /* the reference interpreter */
int command_passes(int argc, char **argv);      /* the passes and what they do */
#endif
