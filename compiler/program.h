/* program.h: from a compiled spec to a program file through LLVM. */
#ifndef PROGRAM_FILE_H
#define PROGRAM_FILE_H
#include "commands.h"
#include "compile.h"
#include "package.h"
#include "target.h"

/* The Progs without what nothing reaches, verified. */
void program_prune(Compiled *compiled);
/* The same, also without what nothing reads; the first is stamped with the hash
 * of their source, but for its target. Gives the exit status. */
int program_finish(Diag *diag, Compiled *compiled);
Sources program_sources(const Compiled *compiled);
/* Through LLVM into anonymous files, which lld reads. */
int program_link(Diag *diag, Compiled *compiled, const Target *target,
                 const Place *place, const char *output);
#endif
