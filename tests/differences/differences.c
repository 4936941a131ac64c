/* differences.c: every gradient against differences of the loss, in float64.
 *
 *     differences SPEC.yaml… MODULE.ir…
 *
 * The loss L is that of the module as the front end builds it, before any pass;
 * the gradient g is the one that autodiff's functions compute. For each tensor
 * w and directions d within it, g·d is held against
 *
 *     (8 (L(w + hd) - L(w - hd)) - (L(w + 2hd) - L(w - 2hd))) / 12h
 *
 * whose error is of order h⁴: coordinates one by one, and all of them at once
 * by random amounts. The module after all passes must give the same gradient.
 * At the end, each op of ops.def has had a gradient taken through it, by each
 * input that can have one, or is listed below with the reason why none is; and
 * so has each form of the ops that have several. Read test_module, then main.
 * Prints `N passed, M failed` last. */
#include "../../compiler/compile.h"
#include <fnmatch.h>
#include <math.h>

/* The error that is allowed, of the slope's size (see size_of_slope). Numbers in
 * attributes (a mean's 1/N) are f32 in every arithmetic: 3e-8 of it is theirs. */
static const double ALLOWED = 1e-6;
/* And between the gradients of two modules, of the tensor's largest. */
static const double ALLOWED_PASSES = 1e-10;

enum { DIRECTIONS = 3, COORDINATES = 16 };

/* ---- ops without a gradient ---- */
static const struct { Op op; const char *why; } without[] = {
    { OP_rowmax, "only shifts a softmax, where it cancels" },
    { OP_top_k, "a choice: flat, but where two are equal" },
    { OP_dispatch, "a choice" },
    { OP_is_zero, "a comparison" },
    { OP_scored, "of integers" },
    { OP_first, "of integers" },
    { OP_patches, "of images, which are given" },
    { OP_onehot, "of integers" },
    { OP_const, "has no input" },
    { OP_positions, "has no input" },
    { OP_relu_grad, "made by autodiff" },
    { OP_gelu_grad, "made by autodiff" },
    { OP_gelu_tanh_grad, "made by autodiff" },
    { OP_silu_grad, "made by autodiff" },
    { OP_colsum, "made by autodiff" },
    { OP_matmul_input, "made by autodiff" },
    { OP_matmul_weight, "made by autodiff" },
    { OP_attention_backward, "made by autodiff" },
    { OP_relative_backward, "made by autodiff" },
    { OP_scatter_add, "made by autodiff" },
    { OP_pool_spread, "made by autodiff" },
    { OP_pool_max_spread, "made by autodiff" },
    { OP_collect_rows, "made by autodiff" },
    { OP_spread_rows, "made by autodiff" },
    { OP_gate_products, "made by autodiff" },
    { OP_grouped_input, "made by autodiff" },
    { OP_grouped_weight, "made by autodiff" },
    { OP_grouped_bias, "made by autodiff" },
    { OP_preference_grad, "made by autodiff" },
    { OP_attention_weights, "of `forward`, which is not trained" },
    { OP_cache, "of `generate`, which is not trained" },
    { OP_recall, "of `generate`, which is not trained" },
    /* Of several ranks, where the interpreter has one: `check` (tests/check) and
     * tests/ranks hold the gradients of such plans against those of one rank. */
    { OP_spread, "of tensor ranks" },
    { OP_reshard, "of several ranks" },
    { OP_own_ids, "of integers" },
    { OP_pool_chunks, "of context ranks" },
    { OP_pool_chunks_spread, "of context ranks" },
    { OP_share_pooled, "of context ranks" },
    { OP_own_starts, "of integers" },
    { OP_own_lengths, "of integers" },
};

/* ---- forms: what one op does in several ways ---- */
static bool is_mean(const Attrs *a) { return a->pool == 0; }
static bool is_sum(const Attrs *a) { return a->pool == 1; }
static bool is_max(const Attrs *a) { return a->pool == 2; }
static bool is_first(const Attrs *a) { return a->pool == 3; }
static bool is_last(const Attrs *a) { return a->pool == 4; }
static bool is_causal(const Attrs *a) { return a->causal; }
static bool is_full(const Attrs *a) { return !a->causal && !a->cross; }
static bool is_windowed(const Attrs *a) { return a->window > 0; }
static bool is_dropped(const Attrs *a) { return a->rate > 0; }
static bool is_grouped(const Attrs *a) { return a->kv_heads < a->heads; }
static bool is_cross(const Attrs *a) { return a->cross; }
static bool is_alibi(const Attrs *a) { return a->alibi; }
static bool is_edged(const Attrs *a) { return a->edges; }
static bool is_relative(const Attrs *a) { return a->relative; }
static bool is_relative_edged(const Attrs *a) { return a->relative && a->edges; }

static const struct {
    Op op; const char *form; bool (*is)(const Attrs *attrs);
} forms[] = {
    { OP_pool, "pool: mean", is_mean },
    { OP_pool, "pool: sum", is_sum },
    { OP_pool, "pool: max", is_max },
    { OP_pool, "pool: first", is_first },
    { OP_pool, "pool: last", is_last },
    { OP_attention, "attention: causal", is_causal },
    { OP_attention, "attention: full", is_full },
    { OP_attention, "attention: window", is_windowed },
    { OP_attention, "attention: dropout", is_dropped },
    { OP_attention, "attention: grouped queries", is_grouped },
    { OP_attention, "attention: cross", is_cross },
    { OP_attention, "attention: alibi", is_alibi },
    { OP_attention, "attention: edges", is_edged },
    { OP_attention, "attention: relative", is_relative },
    { OP_attention, "attention: relative over edges", is_relative_edged },
};
enum { FORMS = sizeof forms / sizeof *forms };

/* An input that holds numbers, and yet is never differentiated. */
static bool is_constant_input(Op op, const Attrs *attrs, int input)
{
    if (op == OP_attention)
        return input == 4 && attrs->alibi;      /* the slopes */
    return op == OP_preference && input > 0;    /* counts, the reference */
}

/* ---- results ---- */
typedef struct Tally {
    int passed, failed;
    int tensors, slopes, kinks;
    double worst;                       /* error of those that passed */
    unsigned through[OP_COUNT];         /* bit i: a gradient went to input i */
    bool met[OP_COUNT];
    unsigned inputs[OP_COUNT];          /* bit i: input i holds numbers */
    bool form[FORMS];
} Tally;

static void check(Tally *tally, bool fine, const char *where, const char *what)
{
    tally->passed += fine;
    tally->failed += !fine;
    if (!fine)
        printf("FAILED %s: %s\n", where, what);
}

/* ---- a module under test ---- */
typedef struct Subject {
    Arena *arena;
    const char *path;
    Module *forward, *backward, *passed;    /* as built; after autodiff; after all passes */
    SpecTexts freeze;                       /* a spec's globs */
    Tensors in;                             /* weights and a batch */
    double whole_norm;                      /* of all gradients */
    int64_t whole_count;
    bool kinked;                            /* relu, a choice: not smooth everywhere */
    uint64_t random;
} Subject;

/* splitmix64 */
static uint64_t draw(Subject *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(Subject *s)       /* [0, 1) */
{
    return (double)(draw(s) >> 11) * 0x1p-53;
}

/* Twelve uniforms: mean 0, variance 1. */
static double normal(Subject *s)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += uniform(s);
    return sum;
}

static int64_t count_of(const Tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->dims[i];
    return count;
}

static Tensor *find(const Tensors *all, const char *name)
{
    for (int i = 0; i < all->list.count; i++)
        if (!strcmp(all->list.at[i].name, name))
            return &all->list.at[i];
    return NULL;
}

/* ---- inputs ---- */
static Tensor *add_tensor(Subject *s, const char *name, int rank, const int64_t *dims)
{
    Tensor t = { .name = name, .rank = rank };
    for (int i = 0; i < rank; i++)
        t.dims[i] = dims[i];
    t.values = arena_alloc(s->arena, (size_t)count_of(&t) * sizeof(double));
    list_push(s->arena, &s->in.list, t);
    return &s->in.list.at[s->in.list.count - 1];
}

/* Norms' weights lie about 1, so that what they scale is not lost. */
static void add_weight(Subject *s, const Weight *w, const char *name)
{
    const Type *type = w->file_type.rank ? &w->file_type : &w->type;
    int64_t dims[MAX_RANK] = {0};
    for (int i = 0; i < type->rank; i++)
        dims[i] = s->forward->dims.at[type->dims[i]].size;
    Tensor *t = add_tensor(s, name, type->rank, dims);
    bool ones = w->init.kind == INIT_ONES;
    for (int64_t i = 0; i < count_of(t); i++)
        t->values[i] = (ones ? 1 : 0) + 0.3 * normal(s);
}

static void add_weights(Subject *s)
{
    const Module *m = s->forward;
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        int64_t copies = w->stack >= 0 ? stack_blocks(m, w->stack) : 1;
        if (w->constant || w->derived)
            continue;
        for (int64_t copy = 0; copy < copies; copy++)
            add_weight(s, w, w->stack < 0 ? w->name
                : arena_printf(s->arena, "%sblocks.%lld.%s", m->stacks.at[w->stack].prefix,
                               (long long)copy, w->name));
    }
}

/* ---- the batch ---- */
static int64_t dim_size(const Module *m, const char *name)
{
    int dim = module_find_dim(m, name);
    return dim < 0 ? 1 : m->dims.at[dim].size;
}

/* What a given value's elements are drawn from: [0, below), of which a quarter
 * is -1 where `scored`; below 0: normal numbers. */
typedef struct Range { int64_t below; bool scored; } Range;

static Range range_of(const Module *m, const char *name)
{
    if (!strcmp(name, "images") || !strcmp(name, "nodes") || !strcmp(name, "reference"))
        return (Range){ .below = 0 };
    if (!strcmp(name, "types"))
        return (Range){ dim_size(m, "token_types"), false };
    if (!strcmp(name, "edges"))
        return (Range){ 2, false };
    if (!strcmp(name, "labels"))
        return (Range){ dim_size(m, "classes") * dim_size(m, "next"), true };
    return (Range){ dim_size(m, "V"), !strcmp(name, "targets") };
}

/* The last sequence is shorter. */
static void draw_given(Subject *s, Tensor *t, int64_t sequence)
{
    Range range = range_of(s->forward, t->name);
    bool lengths = strstr(t->name, "lengths") != NULL;
    for (int64_t i = 0; i < count_of(t); i++)
        if (lengths)
            t->values[i] = (double)(i + 1 < t->dims[0] ? sequence : sequence - 2);
        else if (!range.below)
            t->values[i] = normal(s);
        else if (range.scored && uniform(s) < 0.25)
            t->values[i] = -1;
        else
            t->values[i] = floor(uniform(s) * (double)range.below);
}

/* Is it an argument of a call, or counted? */
static bool is_read(const Stmt *stmt, const char *name)
{
    bool read = stmt->kind == STEP_COUNT && !strcmp(stmt->what, name);
    for (int i = 0; i < stmt->arguments.count; i++)
        read |= !strcmp(stmt->arguments.at[i], name);
    for (int i = 0; i < stmt->body.count; i++)
        read |= is_read(stmt->body.at[i], name);
    return read;
}

/* Whatever the train step reads. */
static void add_batch(Subject *s)
{
    const Module *m = s->forward;
    const Step *train = module_find_step(m, "train");
    for (int i = 0; given_names[i]; i++) {
        Type type;
        bool read = false;
        for (int j = 0; j < train->body.count; j++)
            read |= is_read(train->body.at[j], given_names[i]);
        if (!read || !given_type(m, given_names[i], &type))
            continue;
        int64_t dims[MAX_RANK] = {0};
        for (int j = 0; j < type.rank; j++) {
            const Dim *dim = &m->dims.at[type.dims[j]];
            dims[j] = dim->kind == DIM_BATCH ? train->batch
                    : dim->kind == DIM_SEQUENCE ? train->sequence : dim->size;
        }
        draw_given(s, add_tensor(s, given_names[i], type.rank, dims), train->sequence);
    }
}

static void add_scalar(Subject *s, const char *name, double value)
{
    add_tensor(s, name, 1, (int64_t[]){ 1 })->values[0] = value;
}

/* ---- running ---- */
/* The train step in float64; ends the program where the interpreter refuses. */
static Interpretation run_train(const Subject *s, const Module *m, Arena *arena)
{
    Interpretation run = { .arithmetic = ARITHMETIC_F64, .in = &s->in, .seed = 11,
                           .step_number = 5 };
    Buf why = {0};
    if (!module_interpret(m, "train", arena, &run, &why))
        ice("%s: %s", s->path, why.text);
    return run;
}

static double loss_at(const Subject *s)
{
    Arena *arena = arena_new();
    Interpretation run = run_train(s, s->forward, arena);
    double loss = find(&run.out, "loss")->values[0];
    arena_free(arena);
    return loss;
}

/* A step's gradients alone: no weight is updated. */
static void leave_out_update(Module *m)
{
    Step *train = module_find_step(m, "train");
    int kept = 0;
    for (int i = 0; i < train->body.count; i++)
        if (train->body.at[i]->kind != STEP_UPDATE)
            train->body.at[kept++] = train->body.at[i];
    train->body.count = kept;
}

/* ---- differences ---- */
/* A tensor of weights, its gradient, and what it was before. */
typedef struct Point {
    const Subject *s;
    Tensor *w;
    const double *g;
    double *direction, *old;
    int64_t count;
} Point;

static double loss_along(const Point *p, double by)
{
    for (int64_t i = 0; i < p->count; i++)
        p->w->values[i] = p->old[i] + by * p->direction[i];
    double loss = loss_at(p->s);
    memcpy(p->w->values, p->old, (size_t)p->count * sizeof(double));
    return loss;
}

static double slope_along(const Point *p, double h)
{
    double near = loss_along(p, h) - loss_along(p, -h);
    double far = loss_along(p, 2 * h) - loss_along(p, -2 * h);
    return (8 * near - far) / (12 * h);
}

static double norm_of(const double *values, int64_t n)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += values[i] * values[i];
    return sqrt(squares);
}

/* What an error is measured by: the slope itself; where it is small by chance,
 * a typical slope of the tensor along a direction of this length; where the
 * whole tensor has none (a key's bias), a thousandth of a typical one of all. */
static double size_of_slope(const Point *p, double slope)
{
    double length = norm_of(p->direction, p->count);
    double typical = norm_of(p->g, p->count) * length / sqrt((double)p->count);
    double any = p->s->whole_norm * length / sqrt((double)p->s->whole_count);
    return fmax(fabs(slope), fmax(typical, 1e-3 * any));
}

/* One direction. A kink of relu between the points spoils a difference, not the
 * one of a step so much smaller that it lies outside; a wrong gradient is wrong
 * at every step. */
static bool compare_slope(Tally *tally, const Point *p, const char *direction)
{
    double along = 0, found = 0, error = INFINITY, h = 1e-4;
    for (int64_t i = 0; i < p->count; i++)
        along += p->g[i] * p->direction[i];
    for (int tries = p->s->kinked ? 3 : 1; tries > 0 && error > ALLOWED; tries--, h /= 16) {
        found = slope_along(p, h);
        error = fabs(found - along) / size_of_slope(p, along);
        tally->kinks += error > ALLOWED && tries > 1;
        if (isnan(error))
            error = INFINITY;
    }
    tally->slopes++;
    if (error <= ALLOWED) {
        tally->worst = fmax(tally->worst, error);
        return true;
    }
    printf("FAILED %s: %s, %s: the gradient is %.12g, the difference %.12g (%.1e)\n", p->s->path,
           p->w->name, direction, along, found, error);
    return false;
}

/* Each coordinate of a small tensor, some of a large one; then all together. */
static bool compare_tensor(Tally *tally, Subject *s, Point *p)
{
    char what[64];
    int64_t coordinates = p->count <= COORDINATES ? p->count : COORDINATES / 4;
    for (int64_t i = 0; i < coordinates; i++) {
        int64_t at = coordinates == p->count ? i : (int64_t)(draw(s) % (uint64_t)p->count);
        memset(p->direction, 0, (size_t)p->count * sizeof(double));
        p->direction[at] = 1;
        snprintf(what, sizeof what, "element %lld", (long long)at);
        if (!compare_slope(tally, p, what))
            return false;
    }
    for (int i = 0; i < DIRECTIONS; i++) {
        for (int64_t j = 0; j < p->count; j++)
            p->direction[j] = normal(s);
        snprintf(what, sizeof what, "direction %d", i);
        if (!compare_slope(tally, p, what))
            return false;
    }
    return true;
}

static bool is_frozen(const Subject *s, const char *name)
{
    for (int i = 0; i < s->freeze.count; i++)
        if (!fnmatch(s->freeze.at[i], name, 0))
            return true;
    return false;
}

/* Is this input a weight: not a part of the batch, not a scalar? */
static bool is_weight(const Subject *s, const Tensor *t)
{
    Type type;
    return !given_type(s->forward, t->name, &type) && strcmp(t->name, "smoothing") != 0;
}

static void test_tensor(Tally *tally, Subject *s, Tensor *w, const Tensors *gradients)
{
    const Tensor *g = find(gradients, arena_printf(s->arena, "grad.%s", w->name));
    if (is_frozen(s, w->name)) {
        check(tally, !g, s->path, arena_printf(s->arena, "%s is frozen, and has a gradient",
                                               w->name));
        return;
    }
    Point p = { .s = s, .w = w, .count = count_of(w) };
    if (!g || count_of(g) != p.count) {
        check(tally, false, s->path, arena_printf(s->arena, "%s has no gradient", w->name));
        return;
    }
    size_t bytes = (size_t)p.count * sizeof(double);
    p.g = g->values;
    p.direction = arena_alloc(s->arena, bytes);
    p.old = memcpy(arena_alloc(s->arena, bytes), w->values, bytes);
    bool fine = compare_tensor(tally, s, &p);
    tally->tensors++;
    tally->passed += fine;
    tally->failed += !fine;
}

static double largest_of(const Tensor *t)
{
    double most = 0;
    for (int64_t i = 0; i < count_of(t); i++)
        most = fmax(most, fabs(t->values[i]));
    return most;
}

/* What differs between two modules' loss and gradients, or NULL. */
static const char *difference(const Subject *s, const Tensors *a, const Tensors *b)
{
    for (int i = 0; i < a->list.count; i++) {
        const Tensor *x = &a->list.at[i], *y = find(b, x->name);
        if (strcmp(x->name, "loss") && strncmp(x->name, "grad.", 5))
            continue;
        if (!y || count_of(x) != count_of(y))
            return arena_printf(s->arena, "after the passes there is no %s", x->name);
        double most = largest_of(x) + 1e-3 * s->whole_norm / sqrt((double)s->whole_count);
        for (int64_t j = 0; j < count_of(x); j++)
            if (!(fabs(x->values[j] - y->values[j]) <= ALLOWED_PASSES * most))
                return arena_printf(s->arena, "%s[%lld] is %.17g, after the passes %.17g",
                                    x->name, (long long)j, x->values[j], y->values[j]);
    }
    return NULL;
}

/* ---- which ops were differentiated ---- */
static void note_node(Tally *tally, const Node *n, const bool *wanted)
{
    tally->met[n->op] = true;
    for (int i = 0; i < n->inputs; i++) {
        bool numbers = n->in[i]->type.dtype == DT_F32 && !is_constant_input(n->op, &n->attrs, i);
        tally->inputs[n->op] |= (unsigned)numbers << i;
        tally->through[n->op] |= (unsigned)wanted[n->in[i]->number] << i;
    }
    for (int i = 0; i < FORMS; i++)
        tally->form[i] |= forms[i].op == n->op && forms[i].is(&n->attrs);
}

/* The result is the same all about a point. */
static bool is_flat(Op op)
{
    return op == OP_rowmax || op == OP_top_k || op == OP_dispatch || op == OP_is_zero;
}

/* Not smooth where its argument is 0, or two of them are equal. */
static bool has_kinks(const Node *n)
{
    return n->op == OP_relu || n->op == OP_top_k || (n->op == OP_pool && is_max(&n->attrs));
}

/* A value has a gradient where it comes from a parameter or a trained weight. */
static void note_function(Tally *tally, Subject *s, const Func *f)
{
    const Module *m = s->forward;
    Type type;
    bool *wanted = arena_alloc(s->arena, (size_t)f->values.count * sizeof *wanted);
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->kind == VALUE_WEIGHT)
            wanted[i] = !m->weights.at[v->weight].constant && !m->weights.at[v->weight].frozen;
        if (v->kind == VALUE_PARAM)
            wanted[i] = v->type.dtype == DT_F32 && !given_type(m, v->name, &type);
    }
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        s->kinked |= has_kinks(n);
        if (is_flat(n->op))
            continue;
        for (int j = 0; j < n->inputs; j++)
            wanted[n->out[0]->number] |= wanted[n->in[j]->number];
        for (int j = 1; j < n->results; j++)
            wanted[n->out[j]->number] = wanted[n->out[0]->number];
        if (wanted[n->out[0]->number])
            note_node(tally, n, wanted);
    }
}

/* The functions that a statement calls. */
static void note_statement(Tally *tally, Subject *s, const Stmt *stmt)
{
    if (stmt->kind == STEP_CALL)
        note_function(tally, s, stmt->func);
    for (int i = 0; i < stmt->body.count; i++)
        note_statement(tally, s, stmt->body.at[i]);
}

static void check_ops(Tally *tally)
{
    const char *listed[OP_COUNT] = {0};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        listed[without[i].op] = without[i].why;
    for (int op = 0; op < OP_COUNT; op++) {
        const char *name = op_info[op].name;
        if (listed[op]) {
            check(tally, !tally->met[op], name, "has a gradient, though it is listed without");
            continue;
        }
        check(tally, tally->met[op], name, "no gradient was taken through it");
        check(tally, (tally->inputs[op] & ~tally->through[op]) == 0, name,
              "one of its inputs never had a gradient");
    }
    for (int i = 0; i < FORMS; i++)
        check(tally, tally->form[i], forms[i].form, "no gradient was taken through it");
}

/* ---- modules ---- */
static Module *compile_until(Subject *s, const char *pass, const Spec **spec)
{
    Diag *diag = diag_new(s->arena);
    CompileOptions options = { .from = { .path = s->path }, .target = "", .features = "",
                               .stop_after = pass };
    Compiled compiled = {0};
    bool fine = compile_spec(diag, s->arena, &options, &compiled);
    buf_free(&compiled.spec_text);
    if (!fine) {
        diag_print(diag, stdout);
        return NULL;
    }
    *spec = compiled.spec;
    return compiled.module;
}

static bool subject_of_spec(Subject *s)
{
    const Spec *spec = NULL;
    s->forward = compile_until(s, "build", &spec);
    s->backward = compile_until(s, "autodiff", &spec);
    s->passed = compile_until(s, "place", &spec);
    if (!s->forward || !s->backward || !s->passed)
        return false;
    s->freeze = spec->train_freeze;
    add_scalar(s, "smoothing", spec->train_label_smoothing);
    return true;
}

static Module *parse_text(Subject *s, const char *text, size_t length)
{
    Diag *diag = diag_new(s->arena);
    Buf why = {0};
    Module *m = module_parse(diag, s->arena, diag_source(diag, s->path, text, length));
    if (!m)
        diag_print(diag, stdout);
    else if (!module_verify(m, &why))
        printf("%s: %s\n", s->path, why.text);
    bool fine = m && !why.length;
    buf_free(&why);
    return fine ? m : NULL;
}

static bool subject_of_text(Subject *s)
{
    char *text = arena_alloc(s->arena, 1 << 16);
    FILE *file = fopen(s->path, "r");
    size_t length = file ? fread(text, 1, (1 << 16) - 1, file) : 0;
    if (file)
        fclose(file);
    s->forward = parse_text(s, text, length);
    s->backward = parse_text(s, text, length);
    s->passed = parse_text(s, text, length);
    if (!s->forward || !s->backward || !s->passed)
        return false;
    Plan plan = { .optimizer = OPTIMIZER_ADAMW };
    Diag *diag = diag_new(s->arena);
    return pass_autodiff(s->backward, &plan, diag) && pass_autodiff(s->passed, &plan, diag)
        && pass_simplify(s->passed, &plan, diag);
}

/* The size of the whole gradient, by which small slopes are measured. */
static void measure_gradients(Subject *s, const Tensors *out)
{
    double squares = 0;
    for (int i = 0; i < out->list.count; i++) {
        const Tensor *t = &out->list.at[i];
        if (strncmp(t->name, "grad.", 5))
            continue;
        double norm = norm_of(t->values, count_of(t));
        squares += norm * norm;
        s->whole_count += count_of(t);
    }
    s->whole_norm = sqrt(squares);
}

static void test_module(Tally *tally, const char *path)
{
    Subject s = { .arena = arena_new(), .path = path, .random = 1 };
    size_t length = strlen(path);
    bool is_text = length > 3 && !strcmp(path + length - 3, ".ir");
    if (!(is_text ? subject_of_text(&s) : subject_of_spec(&s))) {
        check(tally, false, path, "is not a module");
        arena_free(s.arena);
        return;
    }
    leave_out_update(s.backward);
    leave_out_update(s.passed);
    add_weights(&s);
    add_batch(&s);
    const Step *train = module_find_step(s.forward, "train");
    for (int i = 0; i < train->body.count; i++)
        note_statement(tally, &s, train->body.at[i]);
    Interpretation run = run_train(&s, s.backward, s.arena);
    measure_gradients(&s, &run.out);
    check(tally, find(&run.out, "loss")->values[0] == loss_at(&s), path,
          "autodiff changes the loss");
    for (int i = 0; i < s.in.list.count; i++)
        if (is_weight(&s, &s.in.list.at[i]))
            test_tensor(tally, &s, &s.in.list.at[i], &run.out);
    Interpretation after = run_train(&s, s.passed, s.arena);
    const char *differs = difference(&s, &run.out, &after.out);
    check(tally, !differs, path, differs);
    arena_free(s.arena);
}

int main(int argc, char **argv)
{
    Tally tally = {0};
    for (int i = 1; i < argc; i++)
        test_module(&tally, argv[i]);
    check_ops(&tally);
    printf("%d tensors, %d slopes, largest error %.1e of %.0e; %d steps made smaller for a kink\n",
           tally.tensors, tally.slopes, tally.worst, ALLOWED, tally.kinks);
    printf("%d passed, %d failed\n", tally.passed, tally.failed);
    return tally.failed != 0;
}
