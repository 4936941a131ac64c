/* calls.h: shared by calls.c (a function as a list of kernel calls) and
 * library.c (the calls of the library's kernels). */
#ifndef CALLS_H
#define CALLS_H
#include "lowering.h"

/* How a kernel cuts its work among threads. Two kernels that share tokens alike
 * touch the same rows in the same thread. */
typedef enum Share { SHARE_TOKENS, SHARE_OTHERWISE } Share;

typedef struct Access { const Value *root; bool write; Share share; } Access;

typedef struct Calls {
    Lower *l;
    Prog *p;
    const Func *f;
    FuncCode *code;
    ProgFunc *func;
    ProgVar *me, *at, *saved, *pending, *frame, *cache;
    ProgVar *block, *shared, *block_sums, *shared_sums;
    ProgVar **pointers;         /* by value: parameters, and the memory map's */
    List(Access) since;         /* since the last barrier */
} Calls;

/* Where a value lies. */
ProgExpr *pointer_to(Calls *c, Value *v);
/* at->NAME */
ProgExpr *at_field(Calls *c, const char *name);
/* Of at->rows or at->sequence what a tensor rank has of a share. */
ProgExpr *share_of(Calls *c, const char *name);
/* A step scalar's value. */
ProgExpr *scalar_of(Calls *c, const Value *v);
/* How many rows a type has: tokens, sequences, or what its leading dims say. */
ProgExpr *rows_of(Calls *c, const Type *type);

/* library.c: the call of a library kernel */
void call_library(Calls *c, const Kernel *k);
#endif
