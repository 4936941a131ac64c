/* target.h: which CPUs a program is for. Kernels exist at two levels of
 * instruction sets; a program uses those of its level and no others, and
 * refuses to start on a CPU that lacks one. */
#ifndef TARGET_H
#define TARGET_H
#include "emit.h"

typedef struct Target {
    EmitTarget emit;            /* .level: "x86-64-v3", "x86-64-v4" */
    const char *text;           /* "cpu x86-64-v3" */
    const char *features;       /* what a CPU must have, separated by blanks */
} Target;

/* The target of `--cpu NAME` (NULL: native); native is the highest level that
 * this machine has. Gives the exit status: LACKING, with a diagnostic, where
 * this machine has no level at all. */
int target_choose(Diag *diag, const char *name, Target *target);

/* The levels, lowest first, and NULL; and whether this machine has one. */
const char *const *target_levels(void);
bool target_here(const char *level);
#endif
