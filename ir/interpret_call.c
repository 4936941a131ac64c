/* interpret_call.c: a call of a function: an array for each value, filled node by
 * node. Read frame_run and run_node at the end; above them stands a function a
 * class of ops, each the plain definition of ops.def in the order of
 * docs/architecture.md, section 7. Attention, rows by index and experts have files
 * of their own.
 *
 * f32 functions of one number are those of runtime/kernels, from the same text. */
#include "interpret.h"
#include "../runtime/kernels/lanes.h"
#include <math.h>

/* ---- functions of one number ---- */
static double gelu_grad_f64(double a)
{
    const double root = 0.70710678118654752440, peak = 0.39894228040143267794;  /* √½, 1/√2π */
    return 0.5 * (1 + erf(a * root)) + a * peak * exp(-0.5 * a * a);
}

/* √(2/π)(a + 0.044715 a³), whose tanh gelu-tanh takes */
static double gelu_tanh_inner(double a)
{
    return 0.79788456080286535588 * (a + 0.044715 * a * a * a);
}

static double gelu_tanh_f64(double a)
{
    return 0.5 * a * (1 + tanh(gelu_tanh_inner(a)));
}

static double gelu_tanh_grad_f64(double a)
{
    double t = tanh(gelu_tanh_inner(a));
    double slope = 0.79788456080286535588 * (1 + 3 * 0.044715 * a * a);
    return 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * slope;
}

static double silu_grad_f64(double a)
{
    double s = 1 / (1 + exp(-a));
    return s * (1 + a * (1 - s));
}

static float neg_f32(float a) { return -a; }
static float square_f32(float a) { return a * a; }
static float recip_f32(float a) { return 1 / a; }

static double call_of(const Machine *machine, Op op, double a)
{
    if (machine->f32)
        switch (op) {
#define INFIX(name, sign)
#define CALL(name, cost, f64) case OP_##name: return (double)name##_f32((float)a);
#define OP(name, inputs, optional, results, class, attributes)
#include "ops.def"
#undef CALL
        default: break;
        }
    switch (op) {
#define CALL(name, cost, f64) case OP_##name: return f64;
#include "ops.def"
#undef INFIX
#undef CALL
#undef OP
    default: break;
    }
    ice("%s is not a function of one number", op_info[op].name);
}

static double infix_of(Op op, double a, double b)
{
    switch (op) {
#define INFIX(name, sign) case OP_##name: return a sign b;
#define CALL(name, cost, f64)
#define OP(name, inputs, optional, results, class, attributes)
#include "ops.def"
#undef INFIX
#undef CALL
#undef OP
    default: break;
    }
    ice("%s is no operator", op_info[op].name);
}

/* ---- POINT ---- */
/* The element of `a` that stands at element i of `out`, with axes of 1 and missing
 * leading axes repeated. */
static int64_t spread_index(const Array *a, const Array *out, int64_t i)
{
    if (a->count == out->count)
        return i;
    int64_t index = 0, stride = 1;
    for (int axis = 1; axis <= a->rank; axis++) {
        int64_t size = out->dims[out->rank - axis];
        if (a->dims[a->rank - axis] > 1)
            index += i % size * stride;
        stride *= a->dims[a->rank - axis];
        i /= size;
    }
    return index;
}

/* What dropout multiplies element i of a value [rows, width] by. */
static double kept(const Frame *frame, const Node *node, int64_t i, int64_t width)
{
    const Machine *machine = frame->machine;
    float rate = (float)node->attrs.rate;
    if (!machine->step->training || rate == 0)
        return 1;
    int64_t site = node->attrs.site, row = machine->first_sequence * machine->T + machine->row;
    if (machine->block >= 0)
        site += 1 + (stack_first(machine->m, machine->stack) + machine->block)
            * machine->m->sites_per_block;
    row += i / width;
    float scale = dropout_scale(machine->run->seed, (uint32_t)machine->run->step_number,
                                (uint32_t)site, (uint32_t)row, (uint32_t)(i % width), rate);
    return machine->f32 || scale == 0 ? (double)scale : 1 / (1 - (double)rate);
}

static double point_of(const Frame *frame, const Node *node, const Array *out, int64_t i)
{
    const Array *x = node->inputs ? frame_operand(frame, node, 0) : NULL;
    const double by = (double)(float)node->attrs.by;
    int64_t width = array_width(out);
    double a = x && node->op != OP_onehot ? x->at[spread_index(x, out, i)] : 0;
    switch (node->op) {
    case OP_scale: return a * by;
    case OP_shift: return a + by;
    case OP_const: return by;
    case OP_scored: return a >= 0;
    case OP_first: return a == 0;
    case OP_onehot: return x->at[i / width] == (double)(i % width);
    case OP_dropout: return a * kept(frame, node, i, width);
    case OP_expand: case OP_copy: return a;
    default: break;
    }
    if (op_info[node->op].call)
        return call_of(frame->machine, node->op, a);
    const Array *y = frame_operand(frame, node, 1);
    return infix_of(node->op, a, y->at[spread_index(y, out, i)]);
}

static void run_point(Frame *frame, const Node *node)
{
    Array *out = frame_result(frame, node, 0);
    for (int64_t i = 0; i < out->count; i++)
        out->at[i] = rounded(frame->machine, point_of(frame, node, out, i));
}

/* ---- ROW ---- */
static double row_maximum(const double *row, int64_t n)
{
    double most = row[0];
    for (int64_t i = 1; i < n; i++)
        if (row[i] > most || isnan(row[i]))
            most = row[i];
    return most;
}

/* (a, b) -> (-b, a); its transpose, (b, -a). */
static void turn_row(double *to, const double *row, int64_t n, bool back)
{
    for (int64_t i = 0; i < n / 2; i++) {
        to[i] = back ? row[n / 2 + i] : -row[n / 2 + i];
        to[n / 2 + i] = back ? -row[i] : row[i];
    }
}

static bool run_row(Frame *frame, const Node *node)
{
    const Machine *machine = frame->machine;
    const Array *x = frame_operand(frame, node, 0);
    const double *ids = node->op == OP_pick ? frame_operand(frame, node, 1)->at : NULL;
    double *out = frame_result(frame, node, 0)->at;
    int64_t n = array_width(x);
    for (int64_t r = 0; r < array_rows(x); r++) {
        const double *row = x->at + r * n;
        if (node->op == OP_rotate || node->op == OP_unrotate)
            turn_row(out + r * n, row, n, node->op == OP_unrotate);
        else if (node->op == OP_rowmax)
            out[r] = row_maximum(row, n);
        else if (node->op == OP_sum)
            out[r] = canonical_row_sum(machine, row, n);
        else if (node->op == OP_mean)
            out[r] = rounded(machine, canonical_row_sum(machine, row, n) / (double)n);
        else if (ids[r] >= (double)n)
            return machine_fails(frame->machine, "%s: id %.0f of %lld columns",
                                 node->out[0]->name, ids[r], (long long)n);
        else
            out[r] = ids[r] < 0 ? 0 : row[(int64_t)ids[r]];
    }
    return true;
}

/* ---- COLUMN ---- */
static void run_column(Frame *frame, const Node *node)
{
    const Array *x = frame_operand(frame, node, 0), *init = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t n = out->count;
    memcpy(out->at, init->at, (size_t)n * sizeof(double));
    for (int64_t i = 0; i < x->count; i++) {
        double sum = out->at[i % n] + x->at[i];
        out->at[i % n] = node->op == OP_chain ? sum : rounded(frame->machine, sum);
    }
}

/* ---- MATMUL: one chain of fma a value ---- */
static void run_matmul(Frame *frame, const Node *node)
{
    const Array *a = frame_operand(frame, node, 0), *b = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t wide = array_width(a), rows = array_rows(a), narrow = array_width(b);
    Product p = { .rows = rows, .columns = array_width(out), .terms = wide, .a_row = wide,
                  .a_step = 1, .b_column = narrow, .b_step = 1 };
    if (node->op == OP_matmul_input) {
        p.b_column = 1;
        p.b_step = narrow;
    }
    if (node->op == OP_matmul_weight)
        p = (Product){ .rows = wide, .columns = narrow, .terms = rows, .a_row = 1, .a_step = wide,
                       .b_column = 1, .b_step = narrow };
    if (node->inputs == 3)
        memcpy(out->at, frame_operand(frame, node, 2)->at, (size_t)out->count * sizeof(double));
    canonical_product(frame->machine, out->at, a->at, b->at, &p);
}

/* ---- frames ---- */
static bool run_node(Frame *frame, const Node *node)
{
    switch (op_info[node->op].class) {
    case CLASS_POINT: run_point(frame, node); return true;
    case CLASS_ROW: return run_row(frame, node);
    case CLASS_COLUMN: run_column(frame, node); return true;
    case CLASS_MATMUL: run_matmul(frame, node); return true;
    case CLASS_INDEX: case CLASS_RESHARD: return run_index(frame, node);
    case CLASS_ATTENTION: return run_attention(frame, node);
    case CLASS_VIEW:
        frame_result(frame, node, 0)->at = frame_operand(frame, node, 0)->at;
        return true;
    }
    return false;
}

static bool allocate(Frame *frame, const Value *v)
{
    Array *array = frame_value(frame, v);
    if (!array_shape(frame->machine, &v->type, frame->rows, array))
        return false;
    frame->elements += array->count;
    if (frame->elements > MOST_ELEMENTS)
        return machine_fails(frame->machine, "%s: its values are too many for the interpreter",
                             frame->f->name);
    array->at = arena_alloc(frame->arena, (size_t)array->count * sizeof(double));
    return true;
}

/* Weights, accumulators and scalars: what a call finds. */
static bool find_given(Frame *frame, const Value *v)
{
    Machine *machine = frame->machine;
    Array *array = frame_value(frame, v);
    if (!array_shape(machine, &v->type, frame->rows, array))
        return false;
    if (v->kind == VALUE_SCALAR) {
        array->at = arena_alloc(frame->arena, sizeof(double));
        return machine_scalar(machine, v->name, array->at);
    }
    const WeightState *w = &machine->weights[v->weight];
    int64_t copy = machine->m->weights.at[v->weight].stack >= 0 ? machine->block : 0;
    if (v->kind == VALUE_WEIGHT)
        array->at = w->values + copy * w->count;
    else
        array->at = machine->gradients + w->gradient[v->site] + copy * w->count;
    return true;
}

bool frame_open(Frame *frame, Machine *machine, const Func *f, int64_t rows)
{
    *frame = (Frame){ .machine = machine, .f = f, .arena = arena_new(), .rows = rows };
    frame->values = arena_alloc(frame->arena, (size_t)(f->values.count + 1) * sizeof(Array));
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        bool given = v->kind == VALUE_WEIGHT || v->kind == VALUE_GRADIENT
                  || v->kind == VALUE_SCALAR;
        if (given ? !find_given(frame, v)
                  : !array_shape(machine, &v->type, rows, frame_value(frame, v)))
            return false;
    }
    return true;
}

bool frame_run(Frame *frame)
{
    const Func *f = frame->f;
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *node = f->nodes.at[i];
        for (int j = 0; j < node->results && op_info[node->op].class != CLASS_VIEW; j++)
            if (!allocate(frame, node->out[j]))
                return false;
        if (!run_node(frame, node))
            return false;
    }
    return true;
}

void frame_close(Frame *frame)
{
    arena_free(frame->arena);
}
