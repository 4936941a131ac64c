/* interpret.h: what the parts of the interpreter share.
 *
 *   interpret.c            a step: its statements, sums over groups, norm, update
 *   interpret_files.c      what goes in and comes out by name
 *   interpret_call.c       a call of a function: its values, node by node
 *   interpret_index.c      rows by index, images, pools, preferences
 *   interpret_experts.c    experts
 *   interpret_attention.c  attention and its gradient
 *   canonical.c            the orders of summation (docs/architecture.md, section 7)
 *
 * Every value is an array of doubles in either arithmetic. In f32 each operation
 * is rounded to f32 once, so a value is an f32 exactly; one text serves both, and
 * the orders of f32 are those of f64. (A sum, product, quotient or root of two
 * f32 computed in f64 and then rounded to f32 is rounded as if at once.) */
#ifndef INTERPRET_H
#define INTERPRET_H
#include "ir.h"

/* Elements that one value may have, all values of a call together, and all weights. */
#define MOST_ELEMENTS ((int64_t)1 << 28)

typedef struct Array {
    int rank;
    int64_t dims[MAX_RANK], count;
    double *at;
} Array;

/* What a weight is in this run. */
typedef struct WeightState {
    int64_t copies, count;          /* one, or one a block; elements of each */
    double *values, *first, *second;    /* copies · count; the moments */
    int64_t gradient[MOST_SITES];   /* a site's place among them; -1: none */
} WeightState;

/* A tensor of a checkpoint: one copy of a weight. */
typedef struct Copy {
    int weight;
    int64_t copy;                   /* block, or 0 */
    const char *name;               /* blocks.3.norm1.weight */
    bool trained;
} Copy;

typedef struct Machine {
    const Module *m;
    const Step *step;
    Interpretation *run;
    Arena *arena;
    Buf *why;
    bool f32;
    WeightState *weights;           /* by number of the weight */
    List(Copy) copies;              /* in checkpoint order: outside blocks, each block, the rest */
    int64_t weight_floats;          /* of all of them */
    double *gradients;              /* the current set: every weight, site and copy */
    int64_t gradient_floats;        /* of a set */
    Array given[16];                /* by given_names; at NULL: not given */
    int64_t batch;                  /* sequences of the whole batch */
    double totals[STEP_TOTALS];     /* Σ so far, f64 */
    double *aux;                    /* [blocks of all stacks, batch] */
    /* where the step stands */
    int64_t B, T;                   /* of a function's call */
    int64_t block;                  /* -1 outside repeat */
    int stack;                      /* of the repeat */
    int64_t first_sequence;         /* of this micro-batch in the whole batch */
    int64_t row, rows;              /* of this chunk: first, and how many */
    /* scalars that the step makes */
    int64_t scored, labelled;       /* targets; labels or pairs */
    double grad_norm, clip_scale;
    bool counted, labels_counted, normed, applied, updated, differentiated;
    bool without_decay;             /* the weight being updated */
} Machine;

/* One call of a function. */
typedef struct Frame {
    Machine *machine;
    const Func *f;
    Arena *arena;                   /* freed after the call */
    Array *values;                  /* by number */
    int64_t elements;               /* of all values so far */
    int64_t rows;                   /* of dims of kind rows */
} Frame;

static inline Array *frame_value(const Frame *frame, const Value *v)
{
    return &frame->values[v->number];
}

static inline const Array *frame_operand(const Frame *frame,
                                         const Node *node, int i)
{
    return frame_value(frame, node->in[i]);
}

static inline Array *frame_result(const Frame *frame, const Node *node, int i)
{
    return frame_value(frame, node->out[i]);
}

/* Elements of a row, the last axis; and how many rows. */
static inline int64_t array_width(const Array *a)
{
    return a->rank ? a->dims[a->rank - 1] : 1;
}

static inline int64_t array_rows(const Array *a)
{
    return array_width(a) ? a->count / array_width(a) : 0;
}

/* ---- arithmetic ----------------------------------------------------------- */
static inline double rounded(const Machine *machine, double x)
{
    return machine->f32 ? (double)(float)x : x;
}

/* a·b + c, rounded once. */
static inline double fused(const Machine *machine, double a, double b, double c)
{
    return machine->f32 ? (double)__builtin_fmaf((float)a, (float)b, (float)c)
                        : __builtin_fma(a, b, c);
}

/* ---- canonical.c ------------------------------------------------------------ */
/* 16 lanes, folded 8, 4, 2, 1; each addition rounded. */
double canonical_fold(const Machine *machine, double lanes[16]);
/* The sum of a row: lane j takes elements j, j+16, … in order. */
double canonical_row_sum(const Machine *machine, const double *row, int64_t n);
/* out[r][c] = out[r][c] + Σ a[r·a_row + k·a_step] · b[c·b_column + k·b_step]:
 * one chain of fma, k ascending. */
typedef struct Product {
    int64_t rows, columns, terms, a_row, a_step, b_column, b_step;
} Product;
void canonical_product(const Machine *machine, double *out, const double *a,
                       const double *b, const Product *p);
/* `sets` arrays of n elements, one after another, summed into the first by the
 * fixed tree: n leaves split at the largest power of two below n. In f64 arithmetic
 * where `wide`, as the loss is. */
void canonical_tree(const Machine *machine, double *sets, int64_t count, int64_t n, bool wide);
/* Adds the squares of a tensor's elements to a chain in f64: blocks of 1024
 * consecutive elements, each in 16 lanes, folded. */
double canonical_squares(double total, const double *values, int64_t n);

/* ---- interpret.c -------------------------------------------------------------- */
/* Appends to machine->why; false. */
bool machine_fails(Machine *machine, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An array's dims for a type, with these rows; false with a text where it has too
 * many elements. */
bool array_shape(Machine *machine, const Type *type, int64_t rows, Array *array);
/* What is given to the step by that name; NULL: there is no such name. */
Array *machine_given(Machine *machine, const char *name);

/* ---- interpret_files.c ---------------------------------------------------------- */
/* Weights, moments and their layout; what is given to the step. */
bool machine_inputs(Machine *machine);
/* A scalar of the step; false with a text where nothing gives it. */
bool machine_scalar(Machine *machine, const char *name, double *value);
/* A scalar among the inputs, or `otherwise`. */
double machine_input_scalar(const Machine *machine, const char *name, double otherwise);
/* The key/value cache of a block's slot: [B, rows, width], kept between runs. */
bool machine_cache(Machine *machine, int slot, int64_t rows, int64_t width, Array *array);
/* Appends a tensor to the outputs; the values are not copied. */
void machine_output(Machine *machine, const char *name, const Array *array);
/* Σ / count, rounded once, where the step counts; else the sum. */
double machine_loss(const Machine *machine);
/* loss, grad_norm, gradients, and after an update weights and moments. */
void machine_outputs(Machine *machine);

/* ---- interpret_call.c ----------------------------------------------------------- */
/* Opens a call with `rows` rows: params and loaded values are still to be set. */
bool frame_open(Frame *frame, Machine *machine, const Func *f, int64_t rows);
bool frame_run(Frame *frame);
void frame_close(Frame *frame);
/* ---- interpret_index.c, interpret_experts.c ------------------------------ */
bool run_index(Frame *frame, const Node *node);
/* dispatch and what works on its rows. */
bool run_experts(Frame *frame, const Node *node);
/* lengths[b], from 0 to the sequence's T. */
int64_t positions_of(const Array *lengths, int64_t b, int64_t T);
/* ---- interpret_attention.c -------------------------------------------------------- */
/* All four ops. */
bool run_attention(Frame *frame, const Node *node);
#endif
