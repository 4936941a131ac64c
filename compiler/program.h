/* program.h: from a compiled spec to a program file through LLVM. */
#ifndef PROGRAM_FILE_H
#define PROGRAM_FILE_H
#include "commands.h"
#include "compile.h"
#include "target.h"

/* The Prog without what nothing reaches, verified and stamped with the hash of
 * its source, but for its target. Gives the exit status. */
int program_finish(Diag *diag, Compiled *compiled);
/* Through LLVM into an anonymous file, which lld reads. */
int program_link(Diag *diag, Prog *prog, const Target *target,
                 const Place *place, const char *output);
#endif
