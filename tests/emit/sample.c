/* sample.c: a Prog written by hand that has every kind of node, in functions
 * named after what they are for. The step it defines reads and writes the arena
 * that harness.c gives it; whoever emits the Prog must get the same bits
 * there. */
#include "sample.h"

typedef struct Sample {
    Prog *p;
    const ProgConst *C, *T, *FAR_AWAY;
    const ProgRecord *thread, *control;
    ProgRecord *norm;
    ProgFunc *rows, *integers, *branches, *scatter, *attend, *doubles;
} Sample;

static ProgExpr *call1(Sample *s, const char *name, ProgExpr *a)
{
    return px_callv(s->p, prog_library(s->p, name), a, NULL);
}

static ProgExpr *call2(Sample *s, const char *name, ProgExpr *a, ProgExpr *b)
{
    return px_callv(s->p, prog_library(s->p, name), a, b, NULL);
}

static void line(Sample *s, int number)
{
    s->p->here = (Loc){.source = 0, .line = number, .col = 3, .width = 4};
}

static void constants(Sample *s)
{
    Prog *p = s->p;
    int dims = prog_add_const_group(p, "The model's sizes.");
    s->C = prog_const(p, dims, "C", 37, NULL);
    s->T = prog_const(p, dims, "T", 5, NULL);
    int map = prog_add_const_group(p, "Memory, in floats.");
    prog_const(p, map, "NORM_AT", 0, "[T, C]  sample.yaml:3");
    s->FAR_AWAY = prog_const(p, map, "FAR_AWAY", 60000000000, "past 2^32");
    s->norm = prog_record(p, "Norm",
                          "A norm's parameters and what backward needs.");
    prog_field(p, s->norm, "weight", prog_pointer(PK_F32, true), "[C]");
    prog_field(p, s->norm, "double", prog_pointer(PK_F64, false),
               "a keyword, so renamed");
    prog_field(p, s->norm, "rows", prog_i64(), NULL);
    prog_field(p, s->norm, "eps", prog_f32(), "added to the variance");
}

/* ---- rows ---------------------------------------------------------------- */
typedef struct Rows {
    ProgFunc *f;
    ProgVar *out, *x, *norm, *r, *row, *scale;
} Rows;

/* pointer[c …] of 16 lanes, fewer at the end of a row. */
static ProgExpr *load_tail(Sample *s, ProgExpr *pointer, const ProgVar *c)
{
    Prog *p = s->p;
    ProgExpr *left = px_sub(p, px_const(p, s->C), px_var(p, c));
    return call2(s, "load_tail", px_offset(p, pointer, px_var(p, c)), left);
}

static ProgExpr *square(Sample *s, const ProgVar *v)
{
    return px_mul(s->p, px_var(s->p, v), px_var(s->p, v));
}

/* scale = 1 / root of the row's mean square. */
static void rows_sum(Sample *s, Rows *t, ProgBlock *body)
{
    Prog *p = s->p;
    ProgVar *sum = prog_local(p, t->f, "sum", prog_f32x16());
    ProgVar *c = prog_local(p, t->f, "c", prog_i64());
    ProgVar *v = prog_local(p, t->f, "v", prog_f32x16());
    ProgExpr *C = px_const(p, s->C), *start = px_mul(p, px_var(p, t->r), C);
    t->row = prog_local(p, t->f, "row", prog_pointer(PK_F32, true));
    t->scale = prog_local(p, t->f, "scale", prog_f32());
    ps_let(p, body, t->row, px_offset(p, px_var(p, t->x), start));
    ps_let(p, body, sum, call1(s, "splat", px_f32(p, 0)));
    ProgBlock *sums = ps_for(p, body, c, px_int(p, 0), C, px_int(p, 16));
    ps_let(p, sums, v, load_tail(s, px_var(p, t->row), c));
    ps_set(p, sums, sum, px_add(p, px_var(p, sum), square(s, v)));
    ProgExpr *mean = px_div(p, call1(s, "fold_add", px_var(p, sum)),
                            px_cast(p, prog_f32(), C));
    ProgExpr *eps = px_field(p, px_var(p, t->norm), "eps");
    ProgExpr *root = call1(s, "sqrt_f32", px_add(p, mean, eps));
    ps_let(p, body, t->scale, px_div(p, px_f32(p, 1), root));
}

/* y with a bit of every function of 16 lanes in it. */
static void rows_functions(Sample *s, ProgBlock *b, ProgVar *y,
                           const ProgVar *w)
{
    static const char *const functions[] = {
        "exp16", "tanh16", "erf16", "sigmoid16", "relu16", "gelu16",
        "gelu_tanh16", "silu16", "gelu_grad16", "gelu_tanh_grad16",
        "silu_grad16", "relu_grad16",
    };
    Prog *p = s->p;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        ProgExpr *x = px_mul(p, px_var(p, y), px_var(p, w));
        ProgExpr *part = call1(s, functions[i], x);
        part = px_mul(p, px_f32(p, 0.1 * (double)(i + 1)), part);
        ps_set(p, b, y, px_add(p, px_var(p, y), part));
    }
    ProgExpr *more = px_add(p, px_f32(p, 1), square(s, y));
    more = call2(s, "max16", px_neg(p, call1(s, "log16", more)),
                 call1(s, "sqrt16", square(s, y)));
    ps_set(p, b, y, px_sub(p, px_var(p, y), more));
}

static ProgExpr *rows_dropout(Sample *s, const Rows *t, const ProgVar *c)
{
    Prog *p = s->p;
    ProgType u32 = prog_u32();
    ProgExpr *seed = px_cast(p, prog_u64(), px_int(p, 12345678901234));
    ProgExpr *row = px_cast(p, u32, px_var(p, t->r));
    ProgExpr *column = px_cast(p, u32, px_var(p, c));
    return px_callv(p, prog_library(p, "dropout16"), seed, px_int(p, 3),
                    px_int(p, 7), row, column, px_f32(p, 0.25), NULL);
}

static void rows_results(Sample *s, Rows *t, ProgBlock *body)
{
    Prog *p = s->p;
    ProgVar *c = prog_local(p, t->f, "c", prog_i64());
    ProgVar *y = prog_local(p, t->f, "y", prog_f32x16());
    ProgVar *w = prog_local(p, t->f, "w", prog_f32x16());
    ProgExpr *C = px_const(p, s->C), *weight = px_var(p, t->norm);
    weight = px_field(p, weight, "weight");
    ps_comment(p, body, "With a bit of every function of 16 lanes.");
    ProgBlock *b = ps_for(p, body, c, px_int(p, 0), C, px_int(p, 16));
    ProgExpr *x = load_tail(s, px_var(p, t->row), c);
    ps_let(p, b, y, px_mul(p, x, px_var(p, t->scale)));
    ps_let(p, b, w, load_tail(s, weight, c));
    rows_functions(s, b, y, w);
    ps_set(p, b, y, px_mul(p, px_var(p, y), rows_dropout(s, t, c)));
    ProgExpr *hot = call2(s, "onehot16", px_var(p, c), px_i32(p, 20));
    ps_set(p, b, y,
           px_callv(p, prog_library(p, "keep"), px_int(p, 9),
                    px_add(p, px_var(p, y), hot), px_var(p, y), NULL));
    ProgExpr *at = px_add(p, px_mul(p, px_var(p, t->r), C), px_var(p, c));
    ps_do(p, b,
          px_callv(p, prog_library(p, "store_tail"),
                   px_offset(p, px_var(p, t->out), at), px_var(p, y),
                   px_sub(p, C, px_var(p, c)), NULL));
}

static void rows_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 3);
    ProgFunc *f = s->rows = prog_func(
        p, "rows",
        "Every lane function, a row at a time. out, x: [T, C]. What a long "
        "comment looks like is seen here too: it goes on until it must be "
        "broken, and a */ inside does no harm.", prog_void());
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(s->thread, true));
    Rows t = {.f = f};
    t.out = prog_param(p, f, "out", prog_restrict(prog_pointer(PK_F32, false)));
    t.x = prog_param(p, f, "x", prog_restrict(prog_pointer(PK_F32, true)));
    t.norm = prog_param(p, f, "norm", prog_pointer_to(s->norm, true));
    ProgVar *start = prog_local(p, f, "start", prog_i64());
    ProgVar *end = prog_local(p, f, "end", prog_i64());
    ProgExpr *rows = px_field(p, px_var(p, t.norm), "rows");
    t.r = prog_local(p, f, "r", prog_i64());
    ps_let(p, &f->body, start, call2(s, "share_start", px_var(p, me), rows));
    ps_let(p, &f->body, end, call2(s, "share_end", px_var(p, me), rows));
    ProgBlock *body = ps_for(p, &f->body, t.r, px_var(p, start), px_var(p, end),
                             px_int(p, 1));
    rows_sum(s, &t, body);
    rows_results(s, &t, body);
    prog_define(p, f);
}

/* Arithmetic that C would do in int, unsigned arithmetic, and folding. */
static void integers_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 4);
    ProgFunc *f = s->integers = prog_func(
        p, "integers", "Integers of every kind.", prog_i64());
    f->inlined = true;
    ProgVar *n = prog_param(p, f, "n", prog_i32());
    prog_param(p, f, "unused", prog_i64());
    ProgVar *big = prog_local(p, f, "big", prog_i64());
    ProgVar *hash = prog_local(p, f, "hash", prog_u64());
    ProgVar *small = prog_local(p, f, "small", prog_u32());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *b = &f->body;
    ProgExpr *C = px_const(p, s->C), *N = px_var(p, n);
    ps_let(p, b, big,
           px_mul(p, px_mul(p, C, px_int(p, 2000000)), px_mul(p, N, C)));
    ps_set(p, b, big, px_add(p, px_var(p, big), px_const(p, s->FAR_AWAY)));
    ps_let(p, b, hash, px_cast(p, prog_u64(), px_var(p, big)));
    ps_let(p, b, small, px_cast(p, prog_u32(), px_int(p, 4294967295)));
    ProgBlock *down = ps_for_down(p, b, i, px_int(p, 2),
                                  px_sub(p, C, px_int(p, 30)));
    ps_set(
        p, down, hash,
        px_add(p,
               px_mul(p, px_var(p, hash),
                      px_cast(p, prog_u64(), px_int(p, 6364136223846793005))),
               px_cast(p, prog_u64(), px_var(p, i))));
    ps_set(p, down, small,
           px_add(p, px_var(p, small), px_cast(p, prog_u32(), px_int(p, 1))));
    ProgExpr *mixed = px_sub(
        p,
        px_rem(p, px_var(p, hash), px_cast(p, prog_u64(), px_int(p, 1000003))),
        px_div(p, px_var(p, hash), px_cast(p, prog_u64(), px_int(p, 3))));
    ProgExpr *quotient = px_div(p, px_neg(p, px_var(p, big)),
                                px_add(p, N, px_int(p, 2)));
    ProgExpr *rest = px_rem(p, quotient, px_mul(p, C, px_int(p, 1)));
    ProgExpr *all = px_add(p, px_cast(p, prog_i64(), mixed),
                           px_sub(p, quotient, rest));
    all = px_sub(
        p, all,
        px_sub(p, px_int(p, 3), px_cast(p, prog_i64(), px_var(p, small))));
    ps_return(p, b,
              px_add(p, all, px_neg(p, px_neg(p, px_cast(p, prog_i64(), N)))));
    prog_define(p, f);
}

static void branches_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 5);
    ProgFunc *f = s->branches = prog_func(
        p, "branches", "Conditions: a class of x.", prog_f32());
    ProgVar *x = prog_param(p, f, "x", prog_f32());
    ProgVar *table = prog_param(p, f, "table", prog_pointer(PK_F32, true));
    ProgVar *n = prog_local(p, f, "n", prog_i32());
    ProgBlock *other, *last, *b = &f->body;
    ProgExpr *X = px_var(p, x), *none = px_null(p, prog_pointer(PK_F32, true));
    ps_let(p, b, n, px_i32(p, 0));
    ProgExpr *present = px_ne(p, px_var(p, table), none);
    ProgExpr *first = px_lt(p, px_f32(p, 0.5),
                            px_load(p, px_var(p, table), px_int(p, 0)));
    ProgBlock *yes = ps_if(p, b, px_or(p, px_and(p, present, first),
                                       px_lt(p, X, px_f32(p, -1e-5))), &other);
    ps_set(p, yes, n, px_add(p, px_var(p, n), px_i32(p, 1)));
    ProgBlock *middle = ps_if(p, other, px_eq(p, X, px_f32(p, 1)), &last);
    ps_set(p, middle, n, px_i32(p, 7));
    ps_set(p, middle, n, px_sub(p, px_var(p, n), px_i32(p, 1)));
    ps_set(p, last, n, px_i32(p, -2));
    ps_return(p, ps_if(p, b, px_ne(p, X, X), NULL), px_f32(p, 1.0 / 3));
    ProgExpr *value = px_select(
        p, present, px_load(p, px_var(p, table), px_int(p, 1)), px_neg(p, X));
    value = px_add(p, value, px_cast(p, prog_f32(), px_le(p, X, px_f32(p, 2))));
    ProgExpr *larger = px_select(p, px_lt(p, value, px_f32(p, 0)), px_f32(p, 0),
                                 value);
    ps_return(p, b,
              px_mul(p, larger,
                     px_sub(p, px_cast(p, prog_f32(), px_var(p, n)),
                            px_sub(p, X, px_f32(p, 0.75)))));
    prog_define(p, f);
}

static void doubles_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 6);
    ProgFunc *f = s->doubles = prog_func(
        p, "chain", "A chain in f64; *total goes on.", prog_void());
    ProgVar *total = prog_param(p, f, "total", prog_pointer(PK_F64, false));
    ProgVar *x = prog_param(p, f, "x", prog_pointer(PK_F32, true));
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *body = ps_for(p, &f->body, i, px_int(p, 0), px_const(p, s->C),
                             px_int(p, 1));
    ProgExpr *square = px_cast(p, prog_f64(),
                               px_load(p, px_var(p, x), px_var(p, i)));
    square = px_mul(p, square, px_sub(p, square, px_f64(p, 0.1)));
    ps_store(p, body, px_var(p, total), px_int(p, 0), px_add(p,
             px_load(p, px_var(p, total), px_int(p, 0)), square));
    prog_define(p, f);
}

static void scatter_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 7);
    ProgFunc *f = s->scatter = prog_func(p, "add_rows", NULL, prog_void());
    ProgVar *table = prog_param(p, f, "table", prog_pointer(PK_F32, false));
    ProgVar *ids = prog_param(p, f, "ids", prog_pointer(PK_I32, true));
    ProgVar *t = prog_local(p, f, "t", prog_i64());
    ProgVar *id = prog_local(p, f, "id", prog_i32());
    ProgVar *c = prog_local(p, f, "c", prog_i64());
    ProgBlock *rows = ps_for(p, &f->body, t, px_int(p, 0), px_const(p, s->T),
                             px_int(p, 1));
    ps_let(p, rows, id, px_load(p, px_var(p, ids), px_var(p, t)));
    ProgBlock *seen = ps_if(p, rows, px_le(p, px_i32(p, 0), px_var(p, id)),
                            NULL);
    ProgBlock *columns = ps_for(p, seen, c, px_int(p, 0), px_const(p, s->C),
                                px_int(p, 1));
    ProgExpr *at = px_add(p, px_mul(p, px_var(p, id), px_const(p, s->C)),
                          px_var(p, c));
    ps_store(p, columns, px_var(p, table), at,
             px_add(p, px_load(p, px_var(p, table), at),
                    px_cast(p, prog_f32(), px_var(p, c))));
    prog_define(p, f);
}

/* A record of the runtime on the stack, passed by address. */
static void attend_function(Sample *s)
{
    Prog *p = s->p;
    line(s, 8);
    const ProgRecord *attention = prog_runtime_record(p, "Attention");
    ProgFunc *f = s->attend = prog_func(p, "scale_of",
                                        "Reads what it is given.", prog_f32());
    ProgVar *a = prog_param(p, f, "a", prog_pointer_to(attention, true));
    ProgExpr *scale = px_field(p, px_var(p, a), "scale");
    ProgExpr *heads = px_cast(p, prog_f32(),
                              px_field(p, px_var(p, a), "heads"));
    ps_return(p, &f->body, px_mul(p, scale, heads));
    prog_define(p, f);
}

static void step_records(Sample *s, ProgFunc *f, ProgBlock *b, ProgVar *values)
{
    Prog *p = s->p;
    line(s, 9);
    ProgVar *a = prog_local(p, f, "attention", prog_record_type(
                            prog_runtime_record(p, "Attention")));
    ProgExpr *A = px_var(p, a), *V = px_var(p, values);
    ps_let(p, b, a, NULL);
    ps_field_set(p, b, A, "q", V);
    ps_field_set(p, b, A, "scale", px_f32(p, 0.125));
    ps_field_set(p, b, A, "heads", px_const(p, s->T));
    ps_field_set(p, b, A, "head_dim",
                 px_div(p, px_const(p, s->C), px_field(p, A, "heads")));
    ProgExpr *product = px_mul(
        p, px_callv(p, s->attend, px_address(p, A), NULL),
        px_cast(p, prog_f32(), px_field(p, A, "head_dim")));
    ps_store(p, b, V, px_int(p, 1000), product);
}

/* What one thread does. K is the control, V its values, N the norm. */
static void step_alone(Sample *s, ProgFunc *f, ProgBlock *b, ProgExpr *K,
                       ProgExpr *V, ProgExpr *N)
{
    Prog *p = s->p;
    ProgVar *loss = prog_local(p, f, "loss", prog_f64());
    ProgVar *total = prog_local(p, f, "total", prog_i64());
    ProgExpr *none = px_null(p, prog_pointer(PK_F32, true));
    ProgExpr *sums = px_field(p, N, "double");
    ProgExpr *scored = px_callv(p, s->integers, px_field(p, K, "step"),
                                px_int(p, -1), NULL);
    ps_field_set(p, b, K, "scored", scored);
    ps_let(p, b, total, px_add(p, px_field(p, K, "scored"), px_int(p, -5)));
    ProgExpr *positive = px_lt(p, px_int(p, 0), px_var(p, total));
    ProgExpr *value = px_callv(p, s->branches, px_field(p, K, "lr"),
                               px_select(p, positive, V, none), NULL);
    ps_let(p, b, loss, px_cast(p, prog_f64(), value));
    ps_field_set(p, b, K, "loss",
                 px_add(p, px_var(p, loss), px_f64(p, 2.5e-300)));
    ProgExpr *nothing = px_null(p, prog_pointer(PK_F64, false));
    ProgBlock *given = ps_if(p, b, px_ne(p, sums, nothing), NULL);
    ps_do(p, given, px_callv(p, s->doubles, sums, V, NULL));
    ps_do(p, b,
          px_callv(p, s->scatter, px_offset(p, V, px_int(p, 600)),
                   px_field(p, K, "tokens"), NULL));
}

static void step_norm(Sample *s, ProgBlock *b, ProgVar *norm, ProgExpr *K,
                      ProgExpr *V)
{
    Prog *p = s->p;
    ProgExpr *N = px_var(p, norm), *sums = px_offset(p, V, px_int(p, 1100));
    ps_let(p, b, norm, NULL);
    ps_field_set(p, b, N, "weight", px_field(p, K, "weights"));
    ps_field_set(p, b, N, "rows", px_const(p, s->T));
    ps_field_set(p, b, N, "eps", px_f32(p, 1e-5));
    ps_field_set(p, b, N, "double",
                 px_cast(p, prog_pointer(PK_F64, false), sums));
}

static void step_matmul(Sample *s, ProgBlock *b, ProgExpr *me, ProgExpr *K,
                        ProgExpr *V)
{
    Prog *p = s->p;
    ProgExpr *C = px_const(p, s->C), *weights = px_field(p, K, "weights");
    ProgExpr *args[] = {
        me, px_offset(p, V, px_int(p, 1200)), px_offset(p, V, px_int(p, 300)),
        weights, px_offset(p, weights, px_mul(p, C, C)), px_const(p, s->T), C,
        px_int(p, 20),
    };
    ps_do(p, b, px_call(p, prog_library(p, "matmul"), 8, args));
}

static void step_function(Sample *s, ProgFunc **entry)
{
    Prog *p = s->p;
    line(s, 2);
    ProgFunc *f = *entry = prog_func(
        p, "train_step", "One step: all of the above.", prog_void());
    ProgType control_type = prog_pointer_to(s->control, false);
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(s->thread, true));
    ProgVar *control = prog_param(p, f, "control", control_type);
    ProgVar *values = prog_local(p, f, "values", prog_pointer(PK_F32, false));
    ProgVar *norm = prog_local(p, f, "norm", prog_record_type(s->norm));
    ProgBlock *b = &f->body;
    ProgExpr *K = px_var(p, control), *V = px_var(p, values);
    ProgExpr *N = px_var(p, norm), *ME = px_var(p, me);
    ps_let(p, b, values, px_field(p, K, "values"));
    step_norm(s, b, norm, K, V);
    line(s, 3);
    ps_do(p, b,
          px_callv(p, s->rows, ME, px_offset(p, V, px_int(p, 300)), V,
                   px_address(p, N), NULL));
    ps_do(p, b, call1(s, "barrier", ME));
    line(s, 6);
    ProgExpr *first = px_eq(p, px_field(p, ME, "index"), px_i32(p, 0));
    ProgBlock *alone = ps_if(p, b, first, NULL);
    step_alone(s, f, alone, K, V, N);
    line(s, 8);
    ps_do(p, alone,
          px_callv(p, prog_library(p, "chain_f64"), ME,
                   px_field(p, N, "double"), V, px_int(p, 9), px_i32(p, 1),
                   NULL));
    step_records(s, f, alone, values);
    line(s, 10);
    step_matmul(s, b, ME, K, V);
    prog_define(p, f);
}

/* What prog_prune must drop: a function that nothing calls, and in the step a
 * variable that only another such one reads. */
static void useless(Sample *s, ProgFunc *step)
{
    Prog *p = s->p;
    ProgFunc *f = prog_func(p, "never", NULL, prog_void());
    ProgVar *x = prog_param(p, f, "x", prog_f32());
    ps_do(p, &f->body, call1(s, "tanh_f32", px_var(p, x)));
    prog_define(p, f);
    ProgVar *one = prog_local(p, step, "one", prog_i64());
    ProgVar *two = prog_local(p, step, "two", prog_i64());
    ps_let(p, &step->body, one, px_int(p, 1));
    ps_let(p, &step->body, two, px_add(p, px_var(p, one), px_var(p, one)));
}

static void data(Sample *s, const ProgFunc *entry)
{
    Prog *p = s->p;
    const ProgRecord *step = prog_runtime_record(p, "Step");
    const ProgRecord *program = prog_runtime_record(p, "Program");
    ProgData *steps = prog_data(p, "steps", step, true, false);
    for (int i = 0; i < step->fields.count; i++) {
        const ProgField *field = &step->fields.at[i];
        size_t length = strlen(field->name);
        bool place = length > 3 && !strcmp(field->name + length - 3, "_at");
        if (field->type.kind == PK_TEXT)
            prog_datum_text(p, steps, "train");
        else if (field->type.kind == PK_ENTRY)
            prog_datum_func(p, steps, entry);
        else if (field->type.kind == PK_POINTER)
            prog_datum_null(p, steps);
        else if (field->type.kind == PK_F64)
            prog_datum_float(p, steps, 1.5e9);
        else
            prog_datum_int(p, steps, place ? -1 : i < 6 ? i - 1 : 0);
    }
    ProgData *all = prog_data(p, "program", program, false, true);
    for (int i = 0; i < program->fields.count; i++) {
        const ProgField *field = &program->fields.at[i];
        if (!strcmp(field->name, "steps"))
            prog_datum_data(p, all, steps);
        else if (!strcmp(field->name, "spec"))
            prog_datum_text(p, all,
                            "name: sample\nmodel:\n  \"vocab\": 12 # é ?\?/\n");
        else if (field->type.kind == PK_TEXT)
            prog_datum_text(p, all, "\\ \t\"quoted\"");
        else if (field->type.kind == PK_POINTER)
            prog_datum_null(p, all);
        else
            prog_datum_int(p, all, !strcmp(field->name, "step_count"));
    }
}

Prog *sample_prog(Arena *arena, Diag *diag)
{
    static const char text[] = "name: sample\nmodel:\n  norm: rmsnorm\n";
    diag_source(diag, "specs/sample.yaml", text, sizeof text - 1);
    Sample s = {.p = prog_new(arena, diag, "sample")};
    s.p->head =
        "sample: every kind of node, from sample.yaml.\nRead: train_step.";
    s.thread = prog_runtime_record(s.p, "Thread");
    s.control = prog_runtime_record(s.p, "Control");
    constants(&s);
    prog_add_comment(s.p, "---- kernels ----");
    rows_function(&s);
    integers_function(&s);
    branches_function(&s);
    doubles_function(&s);
    scatter_function(&s);
    attend_function(&s);
    ProgFunc *entry;
    step_function(&s, &entry);
    useless(&s, entry);
    data(&s, entry);
    prog_verify(s.p);
    prog_prune(s.p);
    prog_verify(s.p);
    return s.p;
}
