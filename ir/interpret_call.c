/* interpret_call.c: a call of a function: an array for each value, filled node by
 * node. Read frame_run and run_node at the end; above them stands a function a
 * class of ops, each the plain definition of ops.def in the order of
 * docs/architecture.md, section 7.
 *
 * f32 functions of one number are those of runtime/kernels, from the same text. */
#include "interpret.h"
#include "../runtime/kernels/lanes.h"
#include <math.h>

static Array *value_of(const Frame *frame, const Value *v)
{
    return &frame->values[v->number];
}

static const Array *operand(const Frame *frame, const Node *node, int i)
{
    return value_of(frame, node->in[i]);
}

static Array *result(const Frame *frame, const Node *node)
{
    return value_of(frame, node->out[0]);
}

static int64_t width_of(const Array *a)
{
    return a->rank ? a->dims[a->rank - 1] : 1;
}

static int64_t rows_of(const Array *a)
{
    return width_of(a) ? a->count / width_of(a) : 0;
}

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
        site += 1 + machine->block * machine->m->sites_per_block;
    row += i / width;
    float scale = dropout_scale(machine->run->seed, (uint32_t)machine->run->step_number,
                                (uint32_t)site, (uint32_t)row, (uint32_t)(i % width), rate);
    return machine->f32 || scale == 0 ? (double)scale : 1 / (1 - (double)rate);
}

static double point_of(const Frame *frame, const Node *node, const Array *out, int64_t i)
{
    const Array *x = node->inputs ? operand(frame, node, 0) : NULL;
    const double by = (double)(float)node->attrs.by;
    int64_t width = width_of(out);
    double a = x && node->op != OP_onehot ? x->at[spread_index(x, out, i)] : 0;
    switch (node->op) {
    case OP_scale: return a * by;
    case OP_shift: return a + by;
    case OP_const: return by;
    case OP_scored: return a >= 0;
    case OP_onehot: return x->at[i / width] == (double)(i % width);
    case OP_dropout: return a * kept(frame, node, i, width);
    case OP_expand: case OP_copy: return a;
    default: break;
    }
    if (op_info[node->op].call)
        return call_of(frame->machine, node->op, a);
    const Array *y = operand(frame, node, 1);
    return infix_of(node->op, a, y->at[spread_index(y, out, i)]);
}

static void run_point(Frame *frame, const Node *node)
{
    Array *out = result(frame, node);
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
    const Array *x = operand(frame, node, 0);
    const double *ids = node->op == OP_pick ? operand(frame, node, 1)->at : NULL;
    double *out = result(frame, node)->at;
    int64_t n = width_of(x);
    for (int64_t r = 0; r < rows_of(x); r++) {
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
    const Array *x = operand(frame, node, 0), *init = operand(frame, node, 1);
    Array *out = result(frame, node);
    int64_t n = out->count;
    memcpy(out->at, init->at, (size_t)n * sizeof(double));
    for (int64_t i = 0; i < x->count; i++) {
        double sum = out->at[i % n] + x->at[i];
        out->at[i % n] = node->op == OP_chain ? sum : rounded(frame->machine, sum);
    }
}

/* ---- MATMUL: one chain of fma a value ---- */
/* out[r][c] = out[r][c] + Σ a[r·a_row + k·a_step] · b[c·b_col + k·b_step], k ascending. */
typedef struct Product {
    int64_t rows, columns, terms, a_row, a_step, b_column, b_step;
} Product;

static void multiply(const Machine *machine, double *out, const double *a, const double *b,
                     const Product *p)
{
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c < p->columns; c++) {
            double sum = out[r * p->columns + c];
            const double *x = a + r * p->a_row, *y = b + c * p->b_column;
            for (int64_t k = 0; k < p->terms; k++, x += p->a_step, y += p->b_step)
                sum = fused(machine, *x, *y, sum);
            out[r * p->columns + c] = sum;
        }
}

static void run_matmul(Frame *frame, const Node *node)
{
    const Array *a = operand(frame, node, 0), *b = operand(frame, node, 1);
    Array *out = result(frame, node);
    int64_t wide = width_of(a), rows = rows_of(a), narrow = width_of(b);
    Product p = { .rows = rows, .columns = width_of(out), .terms = wide, .a_row = wide,
                  .a_step = 1, .b_column = narrow, .b_step = 1 };
    if (node->op == OP_matmul_input) {
        p.b_column = 1;
        p.b_step = narrow;
    }
    if (node->op == OP_matmul_weight)
        p = (Product){ .rows = wide, .columns = narrow, .terms = rows, .a_row = 1, .a_step = wide,
                       .b_column = 1, .b_step = narrow };
    if (node->inputs == 3)
        memcpy(out->at, operand(frame, node, 2)->at, (size_t)out->count * sizeof(double));
    multiply(frame->machine, out->at, a->at, b->at, &p);
}

/* ---- INDEX ---- */
static bool bad_id(Frame *frame, const Node *node, double id, int64_t entries)
{
    return machine_fails(frame->machine, "%s: id %.0f of a table of %lld", node->out[0]->name, id,
                         (long long)entries);
}

static bool run_gather(Frame *frame, const Node *node)
{
    const Array *table = operand(frame, node, 0), *ids = operand(frame, node, 1);
    Array *out = result(frame, node);
    int64_t n = width_of(table);
    for (int64_t r = 0; r < ids->count; r++) {
        double id = ids->at[r];
        if (id < 0 || id >= (double)table->dims[0])
            return bad_id(frame, node, id, table->dims[0]);
        memcpy(out->at + r * n, table->at + (int64_t)id * n, (size_t)n * sizeof(double));
    }
    return true;
}

static bool run_scatter_add(Frame *frame, const Node *node)
{
    const Array *dy = operand(frame, node, 0), *ids = operand(frame, node, 1);
    Array *out = result(frame, node);
    int64_t n = width_of(out);
    memcpy(out->at, operand(frame, node, 2)->at, (size_t)out->count * sizeof(double));
    for (int64_t r = 0; r < ids->count; r++) {
        double id = ids->at[r];
        if (id >= (double)out->dims[0])
            return bad_id(frame, node, id, out->dims[0]);
        for (int64_t c = 0; id >= 0 && c < n; c++) {
            double *to = out->at + (int64_t)id * n + c;
            *to = rounded(frame->machine, *to + dy->at[r * n + c]);
        }
    }
    return true;
}

/* Writes x at the step's position; the result is a copy of all that is cached. */
static bool run_cache(Frame *frame, const Node *node)
{
    Machine *machine = frame->machine;
    const Array *x = operand(frame, node, 0);
    Array *out = result(frame, node), cache;
    int64_t rows = out->dims[1], n = out->dims[2], from = machine->run->position;
    if (from + x->dims[1] > rows)
        return machine_fails(machine, "%s: position %lld + %lld of %lld", node->out[0]->name,
                             (long long)from, (long long)x->dims[1], (long long)rows);
    if (!machine_cache(machine, node->attrs.slot, rows, n, &cache))
        return false;
    for (int64_t b = 0; b < x->dims[0]; b++)
        memcpy(cache.at + (b * rows + from) * n, x->at + b * x->dims[1] * n,
               (size_t)(x->dims[1] * n) * sizeof(double));
    memcpy(out->at, cache.at, (size_t)out->count * sizeof(double));
    return true;
}

static bool run_index(Frame *frame, const Node *node)
{
    Array *out = result(frame, node);
    if (node->op == OP_gather)
        return run_gather(frame, node);
    if (node->op == OP_scatter_add)
        return run_scatter_add(frame, node);
    if (node->op == OP_cache)
        return run_cache(frame, node);
    for (int64_t i = 0; i < out->count; i++)
        out->at[i] = (double)(frame->machine->run->position + i % width_of(out));
    return true;
}

/* ---- frames ---- */
static bool run_node(Frame *frame, const Node *node)
{
    switch (op_info[node->op].class) {
    case CLASS_POINT: run_point(frame, node); return true;
    case CLASS_ROW: return run_row(frame, node);
    case CLASS_COLUMN: run_column(frame, node); return true;
    case CLASS_MATMUL: run_matmul(frame, node); return true;
    case CLASS_INDEX: return run_index(frame, node);
    case CLASS_ATTENTION:
        if (node->op == OP_attention)
            run_attention(frame, node);
        else if (node->op == OP_attention_backward)
            run_attention_backward(frame, node);
        else
            run_attention_weights(frame, node);
        return true;
    case CLASS_VIEW:
        result(frame, node)->at = operand(frame, node, 0)->at;
        return true;
    }
    return false;
}

static bool allocate(Frame *frame, const Value *v)
{
    Array *array = value_of(frame, v);
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
    Array *array = value_of(frame, v);
    if (!array_shape(machine, &v->type, frame->rows, array))
        return false;
    if (v->kind == VALUE_SCALAR) {
        array->at = arena_alloc(frame->arena, sizeof(double));
        return machine_scalar(machine, v->name, array->at);
    }
    const WeightState *w = &machine->weights[v->weight];
    int64_t copy = machine->m->weights.at[v->weight].per_block ? machine->block : 0;
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
                  : !array_shape(machine, &v->type, rows, value_of(frame, v)))
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
