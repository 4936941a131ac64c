/* interpret_experts.c: who goes to which expert, and what works on dispatched
 * rows (ops.def, "INDEX: experts"), in the order of runtime/kernels/experts.c.
 * Read run_experts at the end.
 *
 * A program does not write the rows past the last pair. Here they are NaN, so
 * that whatever reads one is found. */
#include "interpret.h"
#include <math.h>

/* ---- who goes where ---- */
/* The largest that is not kept yet, the first of equals. */
static int64_t largest(const double *p, const double *keep, int64_t X)
{
    int64_t best = -1;
    for (int64_t e = 0; e < X; e++)
        if (keep[e] == 0 && (best < 0 || p[e] > p[best]))
            best = e;
    return best;
}

static void run_top_k(Frame *frame, const Node *node)
{
    const Array *p = frame_operand(frame, node, 0);
    Array *keep = frame_result(frame, node, 0);
    int64_t X = array_width(p);
    memset(keep->at, 0, (size_t)keep->count * sizeof(double));
    for (int64_t r = 0; r < array_rows(p); r++)
        for (int64_t i = 0; i < node->attrs.count; i++)
            keep->at[r * X + largest(p->at + r * X, keep->at + r * X, X)] = 1;
}

/* How many tokens of a sequence an expert takes at most. */
static int64_t capacity(const Attrs *a, int64_t T, int64_t X)
{
    if (!a->numerator)
        return T;
    int64_t whole = a->numerator * a->count * T, by = a->denominator * X;
    return (whole + by - 1) / by;
}

static bool run_dispatch(Frame *frame, const Node *node)
{
    const Array *keep = frame_operand(frame, node, 0);
    const Array *lengths = frame_operand(frame, node, 1);
    Array *starts = frame_result(frame, node, 0);
    Array *order = frame_result(frame, node, 1);
    Array *place = frame_result(frame, node, 2);
    int64_t T = keep->dims[1], X = keep->dims[2], row = 0, taken = 0;
    for (int64_t i = 0; i < order->count; i++)
        order->at[i] = NAN;
    for (int64_t e = 0; e < X; e++) {
        starts->at[e] = (double)row;
        for (int64_t token = 0; token < keep->dims[0] * T; token++) {
            int64_t t = token % T, pair = token * X + e;
            taken = t ? taken : 0;
            bool takes = t < positions_of(lengths, token / T, T)
                         && keep->at[pair] != 0
                         && taken < capacity(&node->attrs, T, X);
            place->at[pair] = takes ? (double)row : -1;
            if (!takes)
                continue;
            if (row == order->count)
                return machine_fails(frame->machine,
                                     "%s: more than %lld choices a token",
                                     node->out[0]->name,
                                     (long long)node->attrs.count);
            order->at[row++] = (double)token;
            taken++;
        }
    }
    starts->at[X] = (double)row;
    return true;
}

/* ---- rows by expert ---- */
/* Where experts' rows begin, of `room` rows. */
typedef struct Starts { const double *at; int64_t experts, used; } Starts;

static bool read_starts(Frame *frame, const Node *node, int operand,
                        int64_t room, Starts *starts)
{
    const Array *array = frame_operand(frame, node, operand);
    *starts = (Starts){ .at = array->at, .experts = array->count - 1 };
    bool fine = array->count > 1 && array->at[0] == 0;
    for (int64_t e = 0; fine && e < starts->experts; e++)
        fine = array->at[e + 1] >= array->at[e]
               && array->at[e + 1] <= (double)room;
    if (!fine)
        return machine_fails(frame->machine,
                             "%s: the experts' rows do not ascend from 0 to "
                             "%lld", node->out[0]->name, (long long)room);
    starts->used = (int64_t)array->at[starts->experts];
    return true;
}

/* Are the first n of an operand whole numbers of [least, least + count)? */
static bool ids_fit(Frame *frame, const Node *node, int operand, int64_t n,
                    int64_t least, int64_t count)
{
    const Array *ids = frame_operand(frame, node, operand);
    for (int64_t i = 0; i < n; i++)
        if (!(ids->at[i] >= (double)least
              && ids->at[i] < (double)(least + count)))
            return machine_fails(frame->machine, "%s: row %.0f of %lld",
                                 node->out[0]->name, ids->at[i],
                                 (long long)(least + count));
    return true;
}

static int64_t first_row(const Starts *starts, int64_t e)
{
    return (int64_t)starts->at[e];
}

static int64_t rows_of(const Starts *starts, int64_t e)
{
    return (int64_t)starts->at[e + 1] - (int64_t)starts->at[e];
}

static void forget_from(Array *array, int64_t element)
{
    for (int64_t i = element; i < array->count; i++)
        array->at[i] = NAN;
}

/* gather_rows, and spread_rows, where each row is multiplied by its gate. */
static bool run_rows_out(Frame *frame, const Node *node)
{
    const Array *x = frame_operand(frame, node, 0);
    Array *out = frame_result(frame, node, 0);
    bool gated = node->op == OP_spread_rows;
    int at = gated ? 2 : 1;
    const double *gate = gated ? frame_operand(frame, node, 1)->at : NULL;
    const double *order = frame_operand(frame, node, at)->at;
    int64_t N = array_width(x);
    Starts starts;
    if (!read_starts(frame, node, at + 1, frame_operand(frame, node, at)->count,
                     &starts)
        || !ids_fit(frame, node, at, starts.used, 0, array_rows(x)))
        return false;
    for (int64_t e = 0; e < starts.experts; e++)
        for (int64_t r = first_row(&starts, e); r < first_row(&starts, e + 1);
             r++) {
            int64_t token = (int64_t)order[r];
            double share = gated ? gate[token * starts.experts + e] : 1;
            for (int64_t c = 0; c < N; c++)
                out->at[r * N + c] =
                    rounded(frame->machine, share * x->at[token * N + c]);
        }
    forget_from(out, starts.used * N);
    return true;
}

/* collect_rows, combine_rows: a token's rows, experts ascending. */
static bool run_rows_back(Frame *frame, const Node *node)
{
    const Machine *machine = frame->machine;
    const Array *y = frame_operand(frame, node, 0);
    const Array *place = frame_operand(frame, node, 1);
    const double *gate =
        node->op == OP_combine_rows ? frame_operand(frame, node, 2)->at : NULL;
    Array *out = frame_result(frame, node, 0);
    int64_t N = array_width(y), X = array_width(place);
    if (!ids_fit(frame, node, 1, place->count, -1, array_rows(y) + 1))
        return false;
    memset(out->at, 0, (size_t)out->count * sizeof(double));
    for (int64_t pair = 0; pair < place->count; pair++) {
        int64_t row = (int64_t)place->at[pair];
        double *to = out->at + pair / X * N;
        for (int64_t c = 0; row >= 0 && c < N; c++)
            to[c] = gate ? fused(machine, gate[pair], y->at[row * N + c], to[c])
                         : rounded(machine, to[c] + y->at[row * N + c]);
    }
    return true;
}

static bool run_gate_products(Frame *frame, const Node *node)
{
    const Machine *machine = frame->machine;
    const Array *d = frame_operand(frame, node, 0);
    const Array *y = frame_operand(frame, node, 1);
    const Array *place = frame_operand(frame, node, 2);
    Array *out = frame_result(frame, node, 0);
    int64_t N = array_width(d), X = array_width(place);
    double *products = arena_alloc(frame->arena, (size_t)N * sizeof(double));
    if (!ids_fit(frame, node, 2, place->count, -1, array_rows(y) + 1))
        return false;
    for (int64_t pair = 0; pair < place->count; pair++) {
        int64_t row = (int64_t)place->at[pair];
        for (int64_t c = 0; row >= 0 && c < N; c++)
            products[c] =
                rounded(machine, d->at[pair / X * N + c] * y->at[row * N + c]);
        out->at[pair] = row < 0 ? 0 : canonical_row_sum(machine, products, N);
    }
    return true;
}

/* ---- products ---- */
/* grouped_matmul: an expert's rows by its matrix [O,I]; then its bias. */
static bool run_grouped_matmul(Frame *frame, const Node *node)
{
    const Machine *machine = frame->machine;
    const Array *x = frame_operand(frame, node, 0);
    const Array *w = frame_operand(frame, node, 1);
    const double *bias =
        node->inputs == 4 ? frame_operand(frame, node, 3)->at : NULL;
    Array *out = frame_result(frame, node, 0);
    int64_t I = w->dims[2], O = w->dims[1];
    Starts starts;
    if (!read_starts(frame, node, 2, array_rows(x), &starts))
        return false;
    memset(out->at, 0, (size_t)(starts.used * O) * sizeof(double));
    for (int64_t e = 0; e < starts.experts; e++) {
        int64_t from = first_row(&starts, e), rows = rows_of(&starts, e);
        Product p = { .rows = rows, .columns = O, .terms = I, .a_row = I,
                      .a_step = 1, .b_column = I, .b_step = 1 };
        double *to = out->at + from * O;
        canonical_product(machine, to, x->at + from * I, w->at + e * O * I, &p);
        for (int64_t i = 0; bias && i < rows * O; i++)
            to[i] = rounded(machine, to[i] + bias[e * O + i % O]);
    }
    forget_from(out, starts.used * O);
    return true;
}

static bool run_grouped_input(Frame *frame, const Node *node)
{
    const Array *dy = frame_operand(frame, node, 0);
    const Array *w = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t I = w->dims[2], O = w->dims[1];
    Starts starts;
    if (!read_starts(frame, node, 2, array_rows(dy), &starts))
        return false;
    memset(out->at, 0, (size_t)(starts.used * I) * sizeof(double));
    if (node->inputs == 4)
        memcpy(out->at, frame_operand(frame, node, 3)->at,
               (size_t)(starts.used * I) * sizeof(double));
    for (int64_t e = 0; e < starts.experts; e++) {
        int64_t from = first_row(&starts, e);
        Product p = { .rows = rows_of(&starts, e), .columns = I, .terms = O,
                      .a_row = O, .a_step = 1, .b_column = 1, .b_step = I };
        canonical_product(frame->machine, out->at + from * I, dy->at + from * O,
                          w->at + e * O * I, &p);
    }
    forget_from(out, starts.used * I);
    return true;
}

static bool run_grouped_weight(Frame *frame, const Node *node)
{
    const Array *dy = frame_operand(frame, node, 0);
    const Array *x = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t I = out->dims[2], O = out->dims[1];
    Starts starts;
    if (!read_starts(frame, node, 2, array_rows(x), &starts))
        return false;
    memcpy(out->at, frame_operand(frame, node, 3)->at,
           (size_t)out->count * sizeof(double));
    for (int64_t e = 0; e < starts.experts; e++) {
        int64_t from = first_row(&starts, e);
        Product p = { .rows = O, .columns = I, .terms = rows_of(&starts, e),
                      .a_row = 1, .a_step = O, .b_column = 1, .b_step = I };
        canonical_product(frame->machine, out->at + e * O * I,
                          dy->at + from * O, x->at + from * I, &p);
    }
    return true;
}

static bool run_grouped_bias(Frame *frame, const Node *node)
{
    const Array *dy = frame_operand(frame, node, 0);
    Array *out = frame_result(frame, node, 0);
    int64_t O = array_width(dy);
    Starts starts;
    if (!read_starts(frame, node, 1, array_rows(dy), &starts))
        return false;
    memcpy(out->at, frame_operand(frame, node, 2)->at,
           (size_t)out->count * sizeof(double));
    for (int64_t e = 0; e < starts.experts; e++)
        for (int64_t i = first_row(&starts, e) * O;
             i < first_row(&starts, e + 1) * O; i++) {
            double *to = &out->at[e * O + i % O];
            *to = rounded(frame->machine, *to + dy->at[i]);
        }
    return true;
}

bool run_experts(Frame *frame, const Node *node)
{
    switch (node->op) {
    case OP_top_k: run_top_k(frame, node); return true;
    case OP_dispatch: return run_dispatch(frame, node);
    case OP_gather_rows: case OP_spread_rows: return run_rows_out(frame, node);
    case OP_collect_rows:
    case OP_combine_rows: return run_rows_back(frame, node);
    case OP_gate_products: return run_gate_products(frame, node);
    case OP_grouped_matmul: return run_grouped_matmul(frame, node);
    case OP_grouped_input: return run_grouped_input(frame, node);
    case OP_grouped_weight: return run_grouped_weight(frame, node);
    case OP_grouped_bias: return run_grouped_bias(frame, node);
    default: ice("%s is no op of experts", op_info[node->op].name);
    }
}
