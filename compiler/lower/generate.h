/* generate.h: shared by rows.c, columns.c and flat.c, which write the functions
 * of generated kernels: parameters, addresses, and the expressions of nodes
 * over 16 columns or over one value. */
#ifndef GENERATE_H
#define GENERATE_H
#include "lowering.h"

typedef struct Generate {
    Lower *l;
    Prog *p;
    const Func *f;
    const Kernel *k;
    int kernel;
    KernelCode *code;
    ProgFunc *func;
    ProgVar *me, *at, *control, *rows, *accumulate;
    ProgVar **pointers;         /* by value: the parameter, or the scalar */
    ProgVar **row_pointers;     /* by value: where this row begins */
    ProgVar **locals;           /* by value: a row value, or 16 lanes now */
    ProgExpr *row, *token;      /* index of the row, of its token */
    ProgVar *column;
    int width;                  /* dim of the last axis; 0: row values alone */
    int inner;                  /* rows of a token: a dim (heads), or 0 */
    bool ragged;                /* the width is no multiple of 16 */
    ProgVar *rest;              /* then, in a row kernel: where whole 16s end */
    int phase;
    ProgVar **rates, **sites;   /* by value: of a dropout */
    ProgVar *seed_row;          /* a dropout's row in the whole batch */
} Generate;

Generate generate_begin(Lower *l, const Func *f, int kernel, KernelCode *code);
/* Parameters of everything that the kernel's nodes read and leave in memory. */
void generate_params(Generate *g);
bool inside(const Generate *g, const Value *v);
/* Of a value in memory: the index of its row when the kernel is at g->row. */
ProgExpr *row_index(Generate *g, const Value *v);
/* A variable for v in this function: a row value, or 16 lanes. It is called by
 * the last part of v's name; where x is a parameter, x_r is its value in row r,
 * x_each a value for every column of a row, x_c the columns from c on. */
ProgVar *local_of(Generate *g, const Value *v, ProgType type);
/* const float *x_r = x + row · width, for what pass over rows of vectors. */
void point_at_row(Generate *g, ProgBlock *b, Value *v);
/* A row value: loaded, or computed from its node; as a local of the row. */
ProgExpr *row_value(Generate *g, ProgBlock *b, Value *v);
/* 16 columns of v from g->column on (or a row value, to be spread). */
ProgExpr *lanes_of(Generate *g, ProgBlock *b, Value *v);
/* The expression of a pointwise node, in lanes or as one value. */
ProgExpr *point_expression(Generate *g, ProgBlock *b, const Node *n,
                           bool lanes);
ProgExpr *load_lanes(Generate *g, ProgExpr *pointer);
void store_lanes(Generate *g, ProgBlock *b, ProgExpr *pointer, ProgExpr *value);
/* Lanes beyond the row's end keep what they had. */
ProgExpr *keep_lanes(Generate *g, ProgExpr *fresh, ProgExpr *old);
void forget_lanes(Generate *g);
/* What the draws of a kernel with a dropout need: once, and for each row. */
void dropout_begin(Generate *g, ProgBlock *b);
void dropout_row(Generate *g, ProgBlock *b);
ProgExpr *call1(Generate *g, const char *name, ProgExpr *a);
ProgExpr *call2(Generate *g, const char *name, ProgExpr *a, ProgExpr *b);

void generate_rows(Generate *g);
void generate_columns(Generate *g);
void generate_flat(Generate *g);
#endif
