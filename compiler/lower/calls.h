/* calls.h: shared by calls.c (a function as a list of kernel calls), library.c
 * (the calls of the library's kernels) and attention.c (those of one of them).
 */
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

/* attention.c */
void call_attention(Calls *c, const Node *n);
/* A field of a record that a call is given. */
void set_field(Calls *c, ProgVar *record, const char *field, ProgExpr *value);
/* Which block this is, counted through all stacks. */
ProgExpr *block_number(Calls *c);
int last_dim(const Value *v);

/* A rank's chunk of a sequence that several ranks share: code goes through the
 * sequences of a call and the two chunks of each. */
typedef struct OwnChunk {
    ProgVar *b, *half;
    ProgExpr *rows;             /* before these queries: tokens */
    ProgExpr *queries, *keys;   /* of a chunk; of the whole sequence */
} OwnChunk;
OwnChunk own_chunk(Calls *c);
/* The body of the loops. */
ProgBlock *each_chunk(Calls *c, const OwnChunk *at);
/* Where the chunk begins in its sequence. */
ProgExpr *chunk_position(Calls *c, const OwnChunk *at);
/* Where what has `width` values a token begins for it. */
ProgExpr *chunk_rows_of(Calls *c, const OwnChunk *at, Value *v,
                        ProgExpr *width);
/* Which rank of its context this is. */
ProgExpr *chunk_of(Calls *c);

/* library.c: the call of a library kernel */
void call_library(Calls *c, const Kernel *k);
#endif
