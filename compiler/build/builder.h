/* builder.h: the state that the parts of the front end share while they write
 * one function, and short forms for its nodes. */
#ifndef BUILDER_H
#define BUILDER_H
#include "build.h"

typedef struct Builder {
    Module *m;
    const Spec *s;
    Func *f;                    /* the function being written */
    Loc here;                   /* the spec's line that the next nodes come from */
    int B, T, R, C, H, G, D, A, E, F, V, P, L, two;     /* dims; A = H·D, E = G·D */
} Builder;

/* Nodes: each appends one to b->f, named `name`, and returns its (first) result. */
Value *make(Builder *b, Op op, const char *name, int inputs, Value *const *in, const Attrs *attrs);
Value *make1(Builder *b, Op op, const char *name, Value *x);
Value *make2(Builder *b, Op op, const char *name, Value *x, Value *y);
Value *make_by(Builder *b, Op op, const char *name, Value *x, double by);
Value *make_reshape(Builder *b, const char *name, Value *x, int rank, const int *dims);
/* Declares a weight (once) and gives its value in b->f. */
Value *weight(Builder *b, bool per_block, const char *name, int rank, const int *dims, Init init);
/* The spec's init for a matrix [out, in]; `residual`: an output of a residual branch. */
Init matrix_init(const Builder *b, int out, int in, bool residual);

/* x normed by the spec's norm over its last axis (parameters NAME.weight, NAME.bias);
 * x itself where there are no norms. The result is named `name`. */
Value *build_norm(Builder *b, bool per_block, const char *name, Value *x);
/* x Wᵀ (+ bias): parameters NAME.weight [out, in], NAME.bias. The result is named `result`. */
typedef struct Linear { const char *name, *result; int out, in; bool bias, residual; } Linear;
Value *build_linear(Builder *b, const Linear *linear, Value *x);
/* Dropout at a site of its function, where the spec has any. */
Value *build_dropout(Builder *b, const char *name, Value *x, double rate, int site);

/* Three variants of a block: as it trains; with keys and values kept in a cache; and
 * with every value of contract.md's list left in a record. */
typedef enum Variant { VARIANT_PLAIN, VARIANT_CACHED, VARIANT_INSPECT } Variant;
Value *build_attention(Builder *b, Value *x, Value *lengths, Variant variant);
void build_embed(Builder *b);
void build_block(Builder *b, const char *name, Variant variant);
void build_heads(Builder *b);

/* Dropout sites within a block, and how many there are. */
enum { SITE_ATTENTION, SITE_ATTENTION_OUT, SITE_FF_OUT, SITES_PER_BLOCK };
#endif
