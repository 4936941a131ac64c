/* ir.h: the Graph IR. A Module is dims, weights, functions and steps.
 *
 * A function is straight-line: nodes in execution order, each applying an op of
 * ops.def to values and giving values. It reads weights by name, those of the
 * block it is called for. A step is the small tree of statements that calls
 * functions: loops over groups, micro-batches, blocks and chunks of rows.
 *
 * Read with ops.def (what an op means), docs/ir.md (the text form), verify.c
 * (what must hold) and interpret.c (what it all computes). */
#ifndef IR_H
#define IR_H
#include "base.h"

/* ---- types --------------------------------------------------------------- */
typedef enum Dtype { DT_F32, DT_F64, DT_I32 } Dtype;

enum { MAX_RANK = 4 };

/* A named size. Batch, sequence and rows are set by a step (fixed there); a
 * share is a tensor rank's part of the sequence; all others are the model's.
 * Dim 0 of a module is "1". */
typedef enum DimKind {
    DIM_MODEL, DIM_BATCH, DIM_SEQUENCE, DIM_ROWS, DIM_SHARE,
} DimKind;
enum { DIM_KINDS = DIM_SHARE + 1 };
typedef struct Dim {
    const char *name;               /* C, H, D, F, V, L … */
    const char *doc;                /* "model width": for comments */
    DimKind kind;
    int64_t size;                   /* DIM_MODEL; DIM_SHARE: how many shares */
    Loc origin;
} Dim;

typedef struct Type {
    Dtype dtype;
    int rank;
    int dims[MAX_RANK];             /* indices into Module.dims */
} Type;

/* ---- where a thing comes from -------------------------------------------- */
/* model: the line that describes it; cause: the line that made a pass add it
 * (line 0: none); pass: its name, or NULL for the front end. */
typedef struct Origin { Loc model, cause; const char *pass; } Origin;

/* ---- weights ------------------------------------------------------------- */
typedef enum InitKind {
    INIT_ZEROS, INIT_ONES,
    INIT_NORMAL,                    /* normal(0, std); residual: std/sqrt(2·blocks) */
    INIT_SINUSOIDAL, INIT_ROTARY_COS, INIT_ROTARY_SIN, INIT_ALIBI,
    INIT_RELATIVE,                  /* sinusoidal at distances 1-P … P-1 */
    INIT_HELD,                      /* 1 at the first `base` numbers, 0 behind */
} InitKind;

typedef struct Init {
    InitKind kind;
    bool residual;
    double std;
    double base, factor, low, high, original;   /* rotary, llama3 scaling */
} Init;

/* A tensor rank's: all; its run of rows, of columns, of the last of three axes.
 */
typedef enum Slice {
    SLICE_NONE, SLICE_ROWS, SLICE_COLUMNS, SLICE_LAST,
} Slice;

typedef struct Weight {
    const char *name;               /* "attn.q.weight" within a block, else the full name */
    int stack;                      /* in whose blocks it is: blocks.{i}.NAME
                                       behind a prefix; -1: in none */
    bool constant;                  /* a table: in no checkpoint, without gradient */
    bool derived;                   /* made of other weights by `prepare`: in no
                                       checkpoint; `finish` hands its gradient
                                       on to those */
    bool decay;
    bool frozen;                    /* all copies: no gradient */
    const char *frozen_blocks;      /* some are: 'f' or '-' a block; else NULL */
    Slice slice;                    /* what a rank of the tensor axis has of it; rows that
                                       a rank has beyond those in files are 0 */
    bool experts;                   /* ranks that share experts have a run of rows
                                       each, of which `slice` is a part */
    bool partial;                   /* whole, but each of those ranks makes a part
                                       of its gradient */
    Type type;
    Type file_type;                 /* its shape in files; rank 0: as type */
    bool whole_file;                /* file_type is of all ranks, not of one */
    Init init;
    Origin origin;
} Weight;

/* A run of equal blocks: a decoder, an encoder. A module has one at least; the
 * first is unnamed where it is the only one. */
typedef struct Stack {
    const char *prefix;             /* of its weights' names: "", "encoder." */
    const char *dim;                /* its number of blocks: "L" */
} Stack;

/* ---- placements ---------------------------------------------------------- */
/* Axes of the mesh whose ranks run the same functions. The ranks of `experts`
 * are neighbours on data and context; along it a value lies as those say, but
 * for what experts have. */
typedef enum Axis {
    AXIS_DATA, AXIS_CONTEXT, AXIS_EXPERTS, AXIS_TENSOR, AXES,
} Axis;
extern const char *const axis_names[AXES + 1];  /* NULL at the end */

/* How a value lies on the ranks of an axis. */
typedef enum Placing {
    PLACED_WHOLE,                   /* each has all of it, the same bits */
    PLACED_SPLIT,                   /* each has its run of the axis `dim`; of a
                                       sequence shared by a context two, see
                                       reshard.def */
    PLACED_SUM,                     /* each has a part, of a sum */
    PLACED_MAX,                     /* the same, their maximum */
    PLACED_ONE,                     /* ids: one rank's, of the others -1 */
    PLACED_ROUTED,                  /* the rows of a rank's own experts */
} Placing;
extern const char *const placing_names[];       /* NULL at the end */
typedef struct Placement { unsigned char how, dim; } Placement;

/* ---- ops ----------------------------------------------------------------- */
typedef enum Op {
#define INFIX(name, sign) OP_##name,
#define CALL(name, cost, f64) OP_##name,
#define OP(name, inputs, optional, results, class, attributes) OP_##name,
#include "ops.def"
#undef INFIX
#undef CALL
#undef OP
    OP_COUNT
} Op;

typedef enum OpClass {
    CLASS_POINT, CLASS_ROW, CLASS_COLUMN, CLASS_MATMUL, CLASS_ATTENTION,
    CLASS_INDEX, CLASS_VIEW, CLASS_RESHARD,
} OpClass;

typedef struct OpInfo {
    const char *name;
    OpClass class;
    int inputs, optional, results;
    const char *attributes;         /* comma-separated names, or "" */
    const char *sign;               /* INFIX: "+" …, else NULL */
    bool call;                      /* CALL */
    bool costly;                    /* elementary functions inside */
} OpInfo;
extern const OpInfo op_info[OP_COUNT];

/* Attributes; which of them an op has is in its row. */
typedef struct Attrs {
    double by, rate, scale;
    int64_t heads, kv_heads, window, count, numerator, denominator;
    int64_t room;                   /* rows that a rank can receive; 0: all */
    int64_t channels, size, patch, skip;    /* patches */
    int site, slot, pool;
    int dim, width, parts;          /* indices into Module.dims */
    int64_t context;                /* ranks that share a sequence; 0: one */
    bool causal, cached, cross, alibi, edges, relative;
    bool partial;                   /* of shares that are gathered */
    Axis axis;                      /* reshard */
    Placement from, to;
} Attrs;

/* The kinds of reshard. */
typedef enum ReshardKind {
    RESHARD_NONE,                   /* another op, or a change that is none */
#define RESHARD(kind, axis, from, from_dim, to, to_dim) RESHARD_##kind,
#include "reshard.def"
#undef RESHARD
    RESHARD_KINDS
} ReshardKind;

/* ---- values, nodes, functions -------------------------------------------- */
typedef enum ValueKind {
    VALUE_PARAM,                    /* an argument of the call */
    VALUE_SAVED,                    /* backward: read from the record that forward left */
    VALUE_WEIGHT,                   /* weight->…, of the block called for */
    VALUE_GRADIENT,                 /* what a weight's accumulator holds at entry */
    VALUE_SCALAR,                   /* a step scalar by name: lr, inv_count, smoothing … */
    VALUE_NODE,                     /* result of a node */
} ValueKind;

typedef struct Value {
    const char *name;               /* unique in its function */
    ValueKind kind;
    Type type;
    Placement placed[AXES];         /* shard: whole before */
    int number;                     /* index in its function's values */
    int weight;                     /* VALUE_WEIGHT, VALUE_GRADIENT: Module.weights index */
    int site;                       /* VALUE_GRADIENT: 0, or 1 for a second use (tied) */
    struct Node *node;              /* VALUE_NODE */
    int result;                     /* which of the node's results */
    Origin origin;
    bool in_memory;                 /* after fuse (func_derive): lies in memory, not only in a
                                       kernel's registers */
    /* place: */
    int64_t offset;                 /* floats a row from the start of its area; -1: not placed */
    enum { AREA_NONE, AREA_FRAME, AREA_RECORD, AREA_PENDING } area;
    struct Value *alias;            /* shares this value's memory (reshape, in place) */
} Value;

enum { MAX_INPUTS = 10, MAX_RESULTS = 5 };

typedef struct Node {
    Op op;
    int inputs, results;
    Value *in[MAX_INPUTS];
    Value *out[MAX_RESULTS];
    Attrs attrs;
    int kernel;                     /* fuse: index into Func.kernels; -1 before */
    int phase;                      /* row kernels (func_derive): the pass over the row in which
                                       it is computed; what follows a reduction is one later */
    Origin origin;
} Node;

typedef enum KernelKind {
    KERNEL_ROW, KERNEL_COLUMN, KERNEL_LIBRARY, KERNEL_VIEW,
} KernelKind;

typedef struct Kernel {
    KernelKind kind;
    const char *name;               /* "norm1": its function is block_norm1_forward … */
    List(Node *) nodes;             /* in order; a library kernel has one */
} Kernel;

/* The gradient of a weight in a backward function: its accumulator's value at
 * entry and at exit. */
typedef struct Gradient { int weight, site; Value *begin, *end; } Gradient;

typedef struct Func {
    const char *name;               /* block.forward */
    const char *root;               /* block: what weights and kernels are named after */
    int stack;                      /* called with [l] of it; -1: of none */
    List(Value *) values;           /* all, by number */
    List(Value *) params;
    List(Value *) results;
    List(Value *) saved;            /* forward: what goes into the record; backward: what it
                                       reads from it (VALUE_SAVED), same names */
    /* of a backward that is cut: what its input half leaves for its weight half
     * in a record of their own; there VALUE_SAVED, same names */
    List(Value *) pending;
    List(Gradient) gradients;
    List(Node *) nodes;             /* execution order */
    List(Kernel) kernels;           /* fuse: partition of nodes, in execution order */
    const char *record;             /* name of the record it writes or reads, or NULL */
    int64_t frame_floats;           /* place: a row */
    int64_t record_floats;          /* place: a row */
    int64_t pending_floats;         /* place: a row */
    Origin origin;
} Func;

/* ---- steps --------------------------------------------------------------- */
/* Values of a step are named. Given are tokens, targets, lengths and the like,
 * of the whole batch (see given_type); inside a micro loop they are its slice.
 * Sums over all of a step's calls are f64: see step_totals. Scalars: see
 * step_scalars. A weight that is derived is a value of that name. */
typedef enum StepKind {
    STEP_COUNT,         /* targets: inv_count = 1 / max(1, those >= 0 of the whole
                           batch); labels, or pairs (two sequences with a
                           target): inv_labels */
    STEP_GROUPS,        /* groups g < count { … }: gradients begin at 0 in each, and are
                           summed by the fixed tree; so is the f64 loss */
    STEP_MICROS,        /* micros m < count { … }: batch/(groups·count) sequences each */
    STEP_REPEAT,        /* repeat l < L { … } or, down, from L-1 to 0 */
    STEP_CHUNKS,        /* chunks c < count { … }: arguments and results of calls in it with
                           dim R are slices of rows of the step's values */
    STEP_CALL,          /* results = func[l](arguments) record NAME[l] */
    STEP_ZERO,          /* a value (results) is 0 before calls add to it */
    STEP_SITES,         /* of weights with more sites: first + second + … */
    STEP_NORM,          /* grad_norm, applied, clip_scale from all gradients (f64) */
    STEP_UPDATE,        /* where applied: calls update (a function) for every trained weight */
} StepKind;

typedef struct Stmt {
    StepKind kind;
    int64_t count;                  /* GROUPS, MICROS, CHUNKS */
    int64_t chunk_rows;             /* CHUNKS: rows a chunk (the last may have fewer) */
    const char *what;               /* COUNT: targets, labels, pairs */
    int stack;                      /* REPEAT */
    bool down;                      /* REPEAT */
    int64_t from, to;               /* REPEAT: blocks [from, to); to 0: all, L */
    bool last;                      /* CHUNKS: one chunk, the last row of each sequence alone */
    bool pooled;                    /* CHUNKS: rows are sequences */
    struct Func *func;              /* CALL, UPDATE */
    bool indexed;                   /* CALL: [l] */
    List(const char *) arguments, results;
    List(struct Stmt *) body;
    Origin origin;
} Stmt;

/* What a stage of the pipeline does with a micro-batch in one of its chunks:
 * forward, backward, or, where backward is cut in halves, first what the stage
 * before waits for, later the gradients of its own weights. */
typedef enum ActionKind {
    ACTION_FORWARD, ACTION_BACKWARD, ACTION_WEIGHTS, ACTION_KINDS,
} ActionKind;
extern const char action_letters[ACTION_KINDS + 1];         /* "FBW" */
typedef struct Action { ActionKind kind; int64_t micro, chunk; } Action;

/* Blocks [from, to) of a stack. What forward leaves for the backward of micro
 * m lies in slot m mod slots; what backward leaves for the weights in slot m
 * mod pending (0: it is not cut). */
typedef struct ModelChunk {
    int stack;
    int64_t from, to, slots, pending;
} ModelChunk;

/* A stage's part of a step that runs over micro-batches: its chunks of the
 * model, of S stages chunk c of stage s being the model's (c · S + s)-th, and
 * the order in which it takes a rank's micro-batches, 0 to count - 1 through
 * its groups. */
typedef struct StageRun {
    List(ModelChunk) chunks;
    List(Action) actions;
} StageRun;

typedef struct Step {
    const char *name;               /* train, grad, eval, generate, forward */
    int64_t batch, sequence;        /* B, T of a call of the step */
    int64_t micro;                  /* B of a function's call */
    bool training;                  /* dropout acts */
    List(StageRun) stages;          /* schedule: by stage; none where there is one */
    List(Stmt *) body;
} Step;

/* The ranks that a training step runs on, by axes; rank = ((stage ·
 * data + replica) · context + chunk) · tensor + slice. A step speaks of all of
 * them: its batch is the whole one. */
typedef enum Shard {                /* what replicas split between them */
    SHARD_NONE, SHARD_OPTIMIZER, SHARD_GRADIENTS, SHARD_PARAMETERS,
} Shard;
extern const char *const shard_names[];

typedef struct Mesh {
    int64_t data;                   /* replicas, each with its run of the groups */
    int64_t stages;                 /* of the pipeline */
    int64_t context;                /* ranks that share sequences; with data they
                                       are one axis, context innermost */
    int64_t experts;                /* ranks that share the experts: neighbours on
                                       the data axis */
    int64_t tensor;                 /* ranks that slice products: innermost */
    Shard shard;
    int64_t shard_group;            /* data ranks that split what is sharded, as
                                       neighbours; 0: all */
    bool each_micro;                /* gradients of blocks are summed over ranks
                                       in every micro-batch */
    bool prefetch;                  /* a block's parameters are gathered while
                                       the one before computes */
    int64_t bucket;                 /* bytes of gradients that are summed at a time */
    Loc data_from, stages_from, tensor_from, shares_from, context_from,
        experts_from, shard_from, shard_group_from;
} Mesh;
/* Ranks that split what is sharded: 1 where nothing is; those of the data axis
 * with the same share. */
int64_t mesh_shards(const Mesh *mesh);
/* All of them. */
int64_t mesh_ranks(const Mesh *mesh);
int64_t mesh_copies(const Mesh *mesh);
/* The same of experts, which fewer ranks have: those of a shard group with the
 * same ones split them, where all sets of experts are in a group alike often;
 * otherwise those of a context. */
int64_t mesh_expert_shards(const Mesh *mesh);
int64_t mesh_expert_copies(const Mesh *mesh);

typedef struct Module {
    Arena *arena;
    const Diag *diag;               /* names of sources */
    const char *name;
    List(Dim) dims;
    List(Weight) weights;
    List(Func *) funcs;
    List(Step *) steps;
    List(Stack) stacks;
    Mesh mesh;                      /* schedule; 1 rank before */
    bool placed;                    /* shard: values have placements */
    int sites_per_block;            /* dropout: site s of block l, counted through
                                       all stacks, is 1 + l·sites_per_block + s,
                                       outside blocks it is s */
} Module;

/* ---- graph.c: building --------------------------------------------------- */
Module *module_new(Arena *arena, const Diag *diag, const char *name);
int module_dim(Module *m, const char *name, DimKind kind, int64_t size);  /* adds or finds */
int module_find_dim(const Module *m, const char *name);                   /* -1: none */
int module_find_weight(const Module *m, const char *name, int stack);
Func *module_find_func(const Module *m, const char *name);
Step *module_find_step(const Module *m, const char *name);
/* Takes a step out, if there is one of that name. */
void module_drop_step(Module *m, const char *name);
/* Takes out the functions that no step calls. */
void module_drop_uncalled(Module *m);
/* Ranks that share the step's batch: those of the data axis where the step has
 * groups, else 1. */
int64_t step_replicas(const Module *m, const Step *step);
Func *func_new(Module *m, const char *name, const char *root, int stack);
/* Blocks of a stack (0 where its dim is missing), and of those before it. */
int64_t stack_blocks(const Module *m, int stack);
int64_t stack_first(const Module *m, int stack);
/* New values; names are made unique in the function by a suffix. */
Value *func_value(Module *m, Func *f, ValueKind kind, const char *name, Type type);
Value *func_param(Module *m, Func *f, const char *name, Type type);
Value *func_weight(Module *m, Func *f, int weight);         /* one value a weight: found or made */
Value *func_scalar(Module *m, Func *f, const char *name);   /* the same; type by step_scalars */
/* Appends a node; result types are derived (op_types) and checked. `type` is for
 * ops with the attribute "type", else NULL. */
Node *func_node(Module *m, Func *f, Op op, const char *name, int inputs, Value *const *in,
                const Attrs *attrs, const Type *type, Origin origin);
/* Types of an op's results from its inputs; false and a text when they do not fit. */
bool op_types(const Module *m, const Node *node, const Type *given, Type *out, char *why, size_t room);
Type type_of(Dtype dtype, int rank, const int *dims);
bool type_equal(const Type *a, const Type *b);
/* Model-only dims: number of elements. */
int64_t type_elements(const Module *m, const Type *type);
/* Elements a row: the product of the dims that are not batch, sequence, share or
 * rows. */
int64_t type_row_elements(const Module *m, const Type *type);
bool type_has_rows(const Module *m, const Type *type);      /* batch, sequence, share or rows among them */
/* What a type's rows are. */
typedef enum RowKind {
    ROWS_NONE, ROWS_TOKENS, ROWS_SEQUENCES,
    ROWS_SHARE,                     /* a tensor rank's tokens of each sequence */
} RowKind;
RowKind type_rows_of(const Module *m, const Type *type);
/* Ranks that share the sequences between their products; 1: none do. */
int64_t module_shares(const Module *m);
/* Floats a row of the whole that a value takes in frame or record: of a share
 * its part of a row; one without rows takes a sixteenth of its size, since
 * there are 16 rows at least. */
int64_t type_row_floats(const Module *m, const Type *type);
int64_t value_row_floats(const Module *m, const Value *v);
int node_uses(const Func *f, const Value *v);
/* Which reshard a node is. */
ReshardKind reshard_kind(const Node *n);
/* The attributes of one, of a value of that rank; `dim`: of those that have it. */
Attrs reshard_attrs(ReshardKind kind, int rank, int dim);
/* Does it read what another half has left pending? */
bool func_is_weight_half(const Func *f);
/* Where input halves sum gradients of blocks: the micro-batches of a group,
 * whose weights come before the next group's backward, which begins such sums
 * where this one's are; else 0. */
int64_t step_whole_groups(const Step *step);
/* Removes values that no node makes and nothing reads; the others are renumbered. */
void func_drop_values(Func *f);
/* Whatever reads `old` in f, or gives it, takes `by`. */
void func_replace_uses(Func *f, Value *old, Value *by);
bool attrs_equal(const Attrs *a, const Attrs *b);

/* ---- kernels.c: what follows from the kernels of a fused function -------- */
/* Fills Node.phase and Value.in_memory. Deterministic; the text form leaves them out. */
void func_derive(const Module *m, Func *f);
/* The value whose memory v lies in: a view's source, what a sum that begins at `init`
 * began at, a gradient's accumulator. */
Value *value_root(Value *v);
bool node_is_reduction(const Node *n);                      /* sum, mean, rowmax */
bool type_is_row_value(const Type *type);                   /* ids, scalars, 1 in the last axis */
/* Number of passes over a row that a row kernel makes. */
int kernel_phases(const Kernel *k);
/* Is v, made in a kernel, read outside it, or by the caller? */
bool value_escapes(const Func *f, const Value *v);
/* Whether pass `phase` of a row kernel reads v, which lies outside or in memory. */
bool kernel_reads(const Func *f, int kernel, const Value *v, int phase);
/* Whether pass `phase` computes node n of the kernel. */
bool kernel_computes(const Func *f, int kernel, const Node *n, int phase);

/* The type of a value that is given to a step: tokens, targets, source, types
 * i32[B,T], lengths, source_lengths i32[B], labels i32[B,1], edges i32[B,T,T],
 * reference f32[B,1], images f32[B,image], nodes f32[B,T,features], with the
 * module's dims of those names. False where there is none such. */
bool given_type(const Module *m, const char *name, Type *type);
extern const char *const given_names[];
/* Sums of a step: loss (over targets), label_loss (over labels or pairs),
 * correct, label_correct; the number of one, or -1. */
enum {
    TOTAL_LOSS, TOTAL_LABEL_LOSS, TOTAL_CORRECT, TOTAL_LABEL_CORRECT,
    STEP_TOTALS
};
extern const char *const step_totals[];
int step_total(const char *name);
enum { MOST_SITES = 3 };            /* uses of one weight in a step */

/* Step scalars that functions may read (VALUE_SCALAR), f32[] all: inv_count,
 * inv_labels, smoothing, sharpness, lr, beta1, beta2, rest1, rest2, correction1, correction2,
 * epsilon, decay, momentum, clip_scale. */
extern const char *const step_scalars[];

/* ---- text.c, parse.c ----------------------------------------------------- */
void module_print(const Module *m, Buf *out);
/* NULL and diagnostics when it is not well formed. parse(print(m)) equals m. */
Module *module_parse(Diag *diag, Arena *arena, int source);

/* ---- verify.c ------------------------------------------------------------ */
/* Checks everything that must hold; false with a text that names function and node. */
bool module_verify(const Module *m, Buf *why);

/* ---- placement.c --------------------------------------------------------- */
/* Derives how every value of the functions that steps call lies on the ranks
 * of the mesh, and writes it to Value.placed. False with a text that names
 * function and node where an op's operands do not fit on some axis: a sum that
 * was not made, rows that were not gathered. */
bool module_place(Module *m, Buf *why);
/* The same of the results of one node, from its operands'. */
void node_place(const Module *m, Node *node);
/* Derives them again: whether they are the same. */
bool module_placements_hold(const Module *m, Buf *why);

/* ---- interpret.c --------------------------------------------------------- */
typedef struct Tensor {             /* values are doubles in memory in either arithmetic;
                                       in f32 each is an f32 value exactly */
    const char *name;
    int rank;
    int64_t dims[MAX_RANK];
    double *values;
} Tensor;

typedef struct Tensors { List(Tensor) list; } Tensors;

typedef enum Arithmetic { ARITHMETIC_F64, ARITHMETIC_F32 } Arithmetic;

typedef struct Interpretation {
    Arithmetic arithmetic;
    /* in: weights by full name (tables are computed when absent), first.NAME, second.NAME
     * moments (0 when absent), what is given to the step (given_type; when
     * absent lengths are full, types 0, edges 1), scalars by name */
    const Tensors *in;
    uint64_t seed;
    int64_t step_number, position;
    /* out: loss, aux_loss, grad_norm, grad.NAME (as at the step's end), logits,
     * and after an update
     * NAME, first.NAME, second.NAME; a step without loops over groups and micro-batches
     * leaves all its values by name */
    Tensors out;
    Tensors cache;                  /* generate: keys and values, kept from call to call */
} Interpretation;
/* Runs step `name` of m. False with a text when inputs lack something. */
bool module_interpret(const Module *m, const char *step, Arena *arena, Interpretation *run, Buf *why);
#endif
