/* link.h: objects of generated code become a program. */
#ifndef LINK_H
#define LINK_H
#include "../ir/base.h"

/* Links the objects, two at most, with the runtime's and the level's kernels,
 * which the compiler carries, against this machine's libc and libm, by lld.
 * `objects` are paths (of anonymous files, /proc/self/fd/N, too). The program
 * is written aside and renamed to `output`. Gives the exit status; diagnostics
 * say what is lacking. */
int link_program(Diag *diag, const char *const *objects, int count,
                 const char *level, const char *output);

/* The lld that is used, and its version as it prints it; NULL where there is
 * none of version 19 or later. */
const char *link_find_lld(Arena *arena, const char **version);

/* Can a file be made at `output`? Better asked before the work than after. What
 * is there must be a regular file: no directory, and no device or pipe, which a
 * rename would replace. *output becomes the path behind symbolic links. Gives
 * the exit status. */
int link_check_output(Diag *diag, const char **output);

/* Reports what errno says of a path that cannot be written: the status. */
int link_unwritable(Diag *diag, const char *path);

/* Renames what was written at `aside` to `output`, which must not be a
 * directory; removes it where that fails. Gives the exit status. */
int link_deliver(Diag *diag, const char *aside, const char *output);
#endif
