/* verify.h: what the parts of the verifier share (verify.c: dims, weights and
 * functions; verify_node.c: a node by itself; verify_places.c: kernels and
 * memory; verify_step.c: steps; verify_stages.c: those of a pipeline;
 * verify_mesh.c: parts and ranks). */
#ifndef VERIFY_H
#define VERIFY_H
#include "text.h"

typedef struct Check {
    const Module *m;
    Arena *scratch;
    Buf *why;
    const char *where;          /* "func block.forward", "step train" */
} Check;

/* Writes `WHERE: …` to why; false. */
bool check_fails(Check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "f32[B,T,C]", in the scratch arena. */
const char *check_type(Check *c, const Type *type);
/* Which rows a type has: 0 none, else the same for the same rows ([R] is [B,T]). */
int type_rows(const Module *m, const Type *type);

bool verify_kernels(Check *c, const Func *f);
bool verify_places(Check *c, const Func *f);
bool verify_step(Check *c, const Step *step);
bool verify_stages(Check *c, const Step *step);
bool verify_mesh(Check *c);
#endif
