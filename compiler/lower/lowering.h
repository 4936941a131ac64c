/* lowering.h: what the parts of the lowering share. The lowering turns a placed
 * Module into a Prog: rows.c and columns.c write a function for every generated
 * kernel, calls.c one for every function of the module (a list of kernel calls
 * with barriers between), steps.c one for every step, map.c decides where a
 * program's values lie, describe.c writes the program's description for the
 * runtime. */
#ifndef LOWERING_H
#define LOWERING_H
#include "../../ir/ir.h"
#include "../../ir/prog_make.h"
#include "lower.h"

/* What a kernel's function wants, in the order of its parameters. */
typedef enum ArgKind {
    ARG_THREAD,         /* const Thread *me */
    ARG_CALL,           /* const Call *at */
    ARG_CONTROL,        /* const Control *control: the update's */
    ARG_VALUE,          /* where a value lies */
    ARG_SCALAR,         /* a step scalar */
    ARG_ROWS,           /* long rows */
    ARG_BEGIN,          /* int accumulate: sums go on from what is there */
} ArgKind;
typedef struct KernelArg { ArgKind kind; Value *value; } KernelArg;
typedef struct KernelCode {
    ProgFunc *func;
    List(KernelArg) args;
} KernelCode;

/* A function of the module, lowered. */
typedef struct FuncCode {
    const Func *func;
    ProgFunc *code;
    bool uses_saved, uses_frame, uses_cache, uses_block, uses_shared;
    bool sums_block, sums_shared;
    KernelCode update;          /* of `update`, which is one kernel */
    /* parameters of forward that backward reads where they lie */
    List(Value *) saved_params;
} FuncCode;

typedef struct Lower {
    const Module *m;
    const LowerInfo *info;
    Prog *p;
    Arena *arena;
    ProgConst **dims;           /* by dim; NULL for those that a step sets */
    ProgRecord *shared, *block;     /* parameters outside and inside blocks */
    ProgRecord *call;               /* where a call stands in the batch */
    List(FuncCode) funcs;
    /* by weight, in floats; of one in a block: from the block's start */
    int64_t *weight_at, *gradient_at, *second_at;
    int64_t *second_pointers;       /* where the embedding's gradients go */
    int64_t block_at, block_floats; /* weights of block 0; of one block */
    int64_t block_gradient_at, block_gradient_floats;
    int64_t weight_floats;          /* of all parameters and tables */
    int64_t gradient_floats;        /* of all gradients, or one moment */
    const ProgConst *blocks_const, *block_const;
    const ProgConst *gradient_blocks_const, *gradient_block_const;
    const ProgConst *gradients_const;
    /* functions that point a Shared or Block at weights or gradients */
    ProgFunc *shared_weights, *block_weights;
    ProgFunc *shared_sums, *block_sums, *shared_second;
} Lower;

/* names.c */
/* "attn.q" -> attn_q, "d.attn.q" -> dattn_q */
const char *c_name(const Lower *l, const char *dotted);
/* "norm1.mean" -> mean; a number at the end goes first */
const char *last_part(const Lower *l, const char *dotted);
/* Without the number at its end, which only makes a name unique. */
const char *name_stem(const Lower *l, const char *dotted);
ProgType value_pointer(const Value *v, bool is_const);
ProgExpr *dim_size(Lower *l, int dim);
/* Elements of the last axis. */
ProgExpr *width_of(Lower *l, const Type *type);
const char *shape_comment(const Lower *l, const Type *type);
/* "spec.yaml:11" or "" */
const char *where(const Lower *l, const Origin *origin);

/* generate.c, rows.c, columns.c, flat.c: a kernel's function */
KernelCode lower_kernel(Lower *l, const Func *f, int kernel);

/* layout.c */
void lower_records(Lower *l);
/* calls.c */
void lower_func(Lower *l, const Func *f);
FuncCode *find_code(Lower *l, const Func *f);
/* steps.c, map.c, describe.c */
typedef struct Region {
    const char *name, *class;
    int64_t offset, floats;
    const ProgConst *constant;      /* TRAIN_STREAM = offset */
} Region;
typedef struct StepMap {
    const Step *step;
    int64_t rows, stride;           /* of a micro-batch; rounded up to 16 */
    int64_t chunk_rows, chunk_stride;
    int64_t groups, micros, chunks, levels;
    bool keeps_stream;              /* all L + 1 inputs of blocks, else two */
    List(Region) regions;
    const ProgConst *slot;          /* floats of x or dx for all rows */
    int64_t floats, workspace_floats;
    int constants;                  /* the group of its regions' names */
    double flops;
} StepMap;
StepMap map_step(Lower *l, const Step *step);
const Region *find_region(const StepMap *map, const char *name);
/* Its offset; ice when there is none. */
int64_t region_at(const StepMap *map, const char *name);
void name_regions(Lower *l, StepMap *map);
ProgFunc *lower_step(Lower *l, const StepMap *map);
void describe_program(Lower *l, const StepMap *maps, ProgFunc *const *entries,
                      int count);
#endif
