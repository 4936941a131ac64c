/* interpret_index.c: the ops of class INDEX, but for experts: rows by index,
 * caches, images, pools, preferences. Each is the plain definition of ops.def,
 * in the order of its kernel in runtime/kernels. Read run_index at the end. */
#include "interpret.h"
#include "../runtime/kernels/lanes.h"
#include <math.h>

/* ---- rows by index ---- */
static bool bad_id(Frame *frame, const Node *node, double id, int64_t entries)
{
    return machine_fails(frame->machine, "%s: id %.0f of a table of %lld",
                         node->out[0]->name, id, (long long)entries);
}

static bool run_gather(Frame *frame, const Node *node)
{
    const Array *table = frame_operand(frame, node, 0);
    const Array *ids = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t n = array_width(table);
    for (int64_t r = 0; r < ids->count; r++) {
        double id = ids->at[r];
        if (id < 0 || id >= (double)table->dims[0])
            return bad_id(frame, node, id, table->dims[0]);
        memcpy(out->at + r * n, table->at + (int64_t)id * n,
               (size_t)n * sizeof(double));
    }
    return true;
}

static bool run_scatter_add(Frame *frame, const Node *node)
{
    const Array *dy = frame_operand(frame, node, 0);
    const Array *ids = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t n = array_width(out);
    memcpy(out->at, frame_operand(frame, node, 2)->at,
           (size_t)out->count * sizeof(double));
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

/* Writes x at the step's position; the result is a copy of all that is
 * cached. */
static bool run_cache(Frame *frame, const Node *node)
{
    Machine *machine = frame->machine;
    const Array *x = frame_operand(frame, node, 0);
    Array *out = frame_result(frame, node, 0), cache;
    int64_t rows = out->dims[1], n = out->dims[2],
            from = machine->run->position;
    if (from + x->dims[1] > rows)
        return machine_fails(machine, "%s: position %lld + %lld of %lld",
                             node->out[0]->name, (long long)from,
                             (long long)x->dims[1], (long long)rows);
    if (!machine_cache(machine, node->attrs.slot, rows, n, &cache))
        return false;
    for (int64_t b = 0; b < x->dims[0]; b++)
        memcpy(cache.at + (b * rows + from) * n, x->at + b * x->dims[1] * n,
               (size_t)(x->dims[1] * n) * sizeof(double));
    memcpy(out->at, cache.at, (size_t)out->count * sizeof(double));
    return true;
}

/* A copy of all that is cached. */
static bool run_recall(Frame *frame, const Node *node)
{
    Array *out = frame_result(frame, node, 0), cache;
    if (!machine_cache(frame->machine, node->attrs.slot, out->dims[1],
                       out->dims[2], &cache))
        return false;
    memcpy(out->at, cache.at, (size_t)out->count * sizeof(double));
    return true;
}

/* ---- images ---- */
/* Row `skip` + i is patch i, a row of patches after another; in it channel,
 * row, column. */
static bool run_patches(Frame *frame, const Node *node)
{
    const Attrs *a = &node->attrs;
    const double *images = frame_operand(frame, node, 0)->at;
    Array *out = frame_result(frame, node, 0);
    int64_t T = out->dims[1], side = a->size / a->patch,
            area = a->patch * a->patch;
    if (T != a->skip + side * side)
        return machine_fails(frame->machine,
                             "%s: %lld rows of %lld patches and %lld more",
                             node->out[0]->name, (long long)T,
                             (long long)(side * side), (long long)a->skip);
    for (int64_t i = 0; i < out->count; i++) {
        int64_t column = i % out->dims[2], t = i / out->dims[2] % T,
                b = i / out->dims[2] / T;
        int64_t patch = t - a->skip, channel = column / area;
        int64_t y = patch / side * a->patch + column % area / a->patch;
        int64_t x = patch % side * a->patch + column % a->patch;
        int64_t at = ((b * a->channels + channel) * a->size + y) * a->size + x;
        out->at[i] = patch < 0 ? 0 : images[at];
    }
    return true;
}

/* ---- pools ---- */
enum { MEAN, SUM, MAX, FIRST, LAST };           /* the attribute pool */

int64_t positions_of(const Array *lengths, int64_t b, int64_t T)
{
    double length = lengths->at[b];
    return length > (double)T ? T : length > 0 ? (int64_t)length : 0;
}

/* Where the maximum of n values stands, the first of equals; a NaN is one. */
static int64_t maximum_at(const double *x, int64_t n, int64_t step)
{
    int64_t at = 0;
    for (int64_t t = 1; t < n; t++)
        if (x[t * step] > x[at * step] || isnan(x[t * step]))
            at = t;
    return at;
}

/* One column of one sequence, of n > 0 positions `step` apart. */
static double pooled(const Machine *machine, const double *x, int64_t n,
                     int64_t step, int kind)
{
    double sum = 0;
    if (kind == MAX)
        return x[maximum_at(x, n, step) * step];
    if (kind == FIRST || kind == LAST)
        return x[kind == LAST ? (n - 1) * step : 0];
    for (int64_t t = 0; t < n; t++)
        sum = rounded(machine, sum + x[t * step]);
    return kind == MEAN ? rounded(machine, sum / (double)n) : sum;
}

static void run_pool(Frame *frame, const Node *node)
{
    const Array *x = frame_operand(frame, node, 0);
    const Array *lengths = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t T = x->dims[1], N = x->dims[2];
    for (int64_t i = 0; i < out->count; i++) {
        int64_t b = i / N, n = positions_of(lengths, b, T);
        const double *column = x->at + b * T * N + i % N;
        out->at[i] =
            n ? pooled(frame->machine, column, n, N, node->attrs.pool) : 0;
    }
}

/* dy goes to every position, divided by their number, or to one of them. */
static void run_pool_spread(Frame *frame, const Node *node)
{
    const Array *dy = frame_operand(frame, node, 0);
    const Array *lengths = frame_operand(frame, node, 1);
    Array *out = frame_result(frame, node, 0);
    int64_t T = out->dims[1], N = out->dims[2];
    int kind = node->op == OP_pool_max_spread ? MAX : node->attrs.pool;
    const double *x = kind == MAX ? frame_operand(frame, node, 2)->at : NULL;
    for (int64_t i = 0; i < dy->count; i++) {
        int64_t b = i / N, n = positions_of(lengths, b, T), from = 0, to = n;
        if (n && kind == MAX)
            from = maximum_at(x + b * T * N + i % N, n, N);
        if (n && kind == LAST)
            from = n - 1;
        if (n && (kind == MAX || kind == FIRST || kind == LAST))
            to = from + 1;
        double each = kind == MEAN && n
                          ? rounded(frame->machine, dy->at[i] / (double)n)
                          : dy->at[i];
        for (int64_t t = 0; t < T; t++)
            out->at[(b * T + t) * N + i % N] = t >= from && t < to ? each : 0;
    }
}

/* ---- preferences ---- */
/* Has it a scored position, and z. */
typedef struct Pair { bool scored; double z; } Pair;

static Pair pair_of(const Frame *frame, const Node *node, int64_t i)
{
    const Machine *machine = frame->machine;
    const double *sums = frame_operand(frame, node, 0)->at + 2 * i;
    const double *counts = frame_operand(frame, node, 1)->at + 2 * i;
    const double *reference = frame_operand(frame, node, 2)->at + 2 * i;
    double chosen = rounded(machine, sums[0] - reference[0]);
    double rejected = rounded(machine, sums[1] - reference[1]);
    double gain = rounded(machine, chosen - rejected);
    return (Pair){ rounded(machine, counts[0] + counts[1]) > 0,
                   rounded(machine, (double)(float)node->attrs.by * gain) };
}

static double exp_of(const Machine *machine, double a)
{
    return machine->f32 ? (double)exp_f32((float)a) : exp(a);
}

static double log_of(const Machine *machine, double a)
{
    return machine->f32 ? (double)log_f32((float)a) : log(a);
}

/* log(1 + e): what 1 + e rounds away comes back as a factor. */
static double log_1_plus(const Machine *machine, double e)
{
    double above = rounded(machine, 1 + e), kept = rounded(machine, above - 1);
    if (!(kept > 0))
        return e;
    return rounded(machine,
                   log_of(machine, above) * rounded(machine, e / kept));
}

/* max(-z, 0) + log(1 + exp(-|z|)) */
static double pair_loss(const Machine *machine, double z)
{
    double above = -z > 0 ? -z : 0, e = exp_of(machine, z > 0 ? -z : z);
    return rounded(machine, above + log_1_plus(machine, e));
}

static void run_preference(Frame *frame, const Node *node)
{
    double total = frame_operand(frame, node, 3)->at[0];
    for (int64_t i = 0; i < frame_operand(frame, node, 0)->count / 2; i++) {
        Pair pair = pair_of(frame, node, i);
        if (pair.scored)
            total += pair_loss(frame->machine, pair.z);
    }
    frame_result(frame, node, 0)->at[0] = total;
}

static void run_preference_grad(Frame *frame, const Node *node)
{
    const Machine *machine = frame->machine;
    Array *out = frame_result(frame, node, 0);
    double weight = frame_operand(frame, node, 3)->at[0];
    double most = rounded(machine, (double)(float)node->attrs.by * weight);
    for (int64_t i = 0; i < out->count / 2; i++) {
        Pair pair = pair_of(frame, node, i);
        double below =
            pair.scored ? rounded(machine, 1 + exp_of(machine, pair.z)) : 1;
        double slope = pair.scored ? rounded(machine, most / below) : 0;
        out->at[2 * i] = 0 - slope;
        out->at[2 * i + 1] = slope;
    }
}

/* ---- all of them ---- */
static void run_positions(Frame *frame, const Node *node)
{
    Array *out = frame_result(frame, node, 0);
    for (int64_t i = 0; i < out->count; i++)
        out->at[i] =
            (double)(frame->machine->run->position + i % array_width(out));
}

bool run_index(Frame *frame, const Node *node)
{
    switch (node->op) {
    case OP_positions: run_positions(frame, node); return true;
    case OP_reshard: case OP_pool_chunks: case OP_pool_chunks_spread:
    case OP_own_lengths: case OP_own_starts:
        return machine_fails(frame->machine, "%s: %s wants the other ranks",
                             node->out[0]->name, op_info[node->op].name);
    case OP_gather: return run_gather(frame, node);
    case OP_scatter_add: return run_scatter_add(frame, node);
    case OP_cache: return run_cache(frame, node);
    case OP_recall: return run_recall(frame, node);
    case OP_patches: return run_patches(frame, node);
    case OP_pool: run_pool(frame, node); return true;
    case OP_pool_spread:
    case OP_pool_max_spread: run_pool_spread(frame, node); return true;
    case OP_preference: run_preference(frame, node); return true;
    case OP_preference_grad: run_preference_grad(frame, node); return true;
    default: return run_experts(frame, node);
    }
}
