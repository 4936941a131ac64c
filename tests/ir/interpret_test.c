/* interpret_test.c: the interpreter against values by hand. A case of `ops` is the
 * body of a function of weights (x, w …) and of the batch, with what goes in and must
 * come out written as text, "x[2,3] 1 2 3 4 5 6"; each runs in f64 and in f32. Below
 * the table stand the statements of steps, the orders of f32, and what is refused.
 * Prints `N passed, M failed` last. */
#include "../../ir/ir.h"
#include "../../runtime/kernels/dropout.h"
#include <math.h>
#include <stdlib.h>

static int passed, failed;

static void check(bool fine, const char *name, const char *why)
{
    passed += fine;
    failed += !fine;
    if (!fine)
        printf("FAILED interpret: %s: %s\n", name, why);
}

/* ---- tensors as text ---- */
static Tensors tensors_of(Arena *arena, const char *text)
{
    Tensors all = {0};
    while (*text) {
        Tensor t = {0};
        size_t n = strcspn(text, "[");
        t.name = arena_strndup(arena, text, n);
        int64_t count = 1;
        char *at = (char *)(uintptr_t)text + n;
        while (*at != ']') {
            t.dims[t.rank] = strtol(at + 1, &at, 10);
            count *= t.dims[t.rank++];
        }
        at++;
        t.values = arena_alloc(arena, (size_t)count * sizeof(double));
        for (int64_t i = 0; i < count; i++)
            t.values[i] = strtod(at, &at);
        at += strspn(at, " \n");
        list_push(arena, &all.list, t);
        text = at;
    }
    return all;
}

static const Tensor *find(const Tensors *all, const char *name)
{
    for (int i = 0; i < all->list.count; i++)
        if (!strcmp(all->list.at[i].name, name))
            return &all->list.at[i];
    return NULL;
}

static int64_t count_of(const Tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->dims[i];
    return count;
}

/* What differs from `want` beyond the tolerance, or NULL. */
static const char *difference(Arena *arena, const Tensors *out, const Tensors *want, double within)
{
    for (int i = 0; i < want->list.count; i++) {
        const Tensor *w = &want->list.at[i], *o = find(out, w->name);
        if (!o || count_of(o) != count_of(w))
            return arena_printf(arena, "no %s, or another shape", w->name);
        for (int64_t j = 0; j < count_of(w); j++) {
            double error = fabs(o->values[j] - w->values[j]);
            if (!(error <= within * (1 + fabs(w->values[j]))) && o->values[j] != w->values[j])
                return arena_printf(arena, "%s[%lld] is %.17g, not %.17g", w->name, (long long)j,
                                    o->values[j], w->values[j]);
        }
    }
    return NULL;
}

/* ---- running ---- */
typedef struct Test {
    Arena *arena;
    const char *text, *step;
    Interpretation run;
    Buf why;
} Test;

static Test test_new(const char *text, const char *step, Arithmetic arithmetic)
{
    return (Test){ .arena = arena_new(), .text = text, .step = step,
                   .run = { .arithmetic = arithmetic, .seed = 7, .step_number = 3 } };
}

static bool test_run(Test *test, const char *in)
{
    Diag *diag = diag_new(test->arena);
    Tensors tensors = tensors_of(test->arena, in);
    int source = diag_source(diag, "test", test->text, strlen(test->text));
    Module *m = module_parse(diag, test->arena, source);
    if (!m) {
        diag_print(diag, stdout);
        buf_printf(&test->why, "does not parse");
        return false;
    }
    test->run.in = &tensors;
    bool fine = module_interpret(m, test->step, test->arena, &test->run, &test->why);
    test->run.in = NULL;
    return fine;
}

static void test_free(Test *test)
{
    buf_free(&test->why);
    arena_free(test->arena);
}

/* Runs and compares. */
static void expect(const char *name, const char *text, const char *step, const char *in,
                   const char *out)
{
    for (int f32 = 0; f32 < 2; f32++) {
        Test test = test_new(text, step, f32 ? ARITHMETIC_F32 : ARITHMETIC_F64);
        bool fine = test_run(&test, in);
        Tensors want = tensors_of(test.arena, out);
        const char *why = fine ? difference(test.arena, &test.run.out, &want, f32 ? 2e-6 : 1e-12)
                               : test.why.text;
        check(fine && !why, arena_printf(test.arena, "%s, f%d", name, f32 ? 32 : 64),
              why ? why : "");
        test_free(&test);
    }
}

/* Is refused, with a text that holds `why`. */
static void refuse(const char *name, const char *text, const char *step, const char *in,
                   const char *why)
{
    Test test = test_new(text, step, ARITHMETIC_F64);
    bool fine = test_run(&test, in);
    check(!fine && test.why.text && strstr(test.why.text, why), name,
          test.why.text ? test.why.text : "is not refused");
    test_free(&test);
}

/* ---- ops ---- */
/* Weights, the function's body, its results, inputs, outputs. B = 1, T = 2. */
typedef struct OpCase { const char *name, *weights, *body, *result, *in, *out; } OpCase;

#define POINT(op, given, wanted) \
    { #op, "x: f32[N]", "y: f32[N] = " #op " x", "y", "x[2] " given, "y[2] " wanted }

static const OpCase ops[] = {
    { "add spreads", "x: f32[N,M] w: f32[M]", "y: f32[N,M] = add x, w", "y",
      "x[2,3] 1 2 3 4 5 6 w[3] 10 20 30", "y[2,3] 11 22 33 14 25 36" },
    { "sub spreads an axis of 1", "x: f32[N,M] w: f32[N,1]", "y: f32[N,M] = sub x, w", "y",
      "x[2,3] 1 2 3 4 5 6 w[2,1] 1 4", "y[2,3] 0 1 2 0 1 2" },
    { "mul spreads both", "x: f32[N,1] w: f32[1,M]", "y: f32[N,M] = mul x, w", "y",
      "x[2,1] 2 3 w[1,3] 1 10 100", "y[2,3] 2 20 200 3 30 300" },
    { "div by a scalar", "x: f32[N]", "a: f32[] = const {by=4}\n  y: f32[N] = div x, a", "y",
      "x[2] 1 -2", "y[2] 0.25 -0.5" },
    POINT(neg, "1 -2", "-1 2"),
    POINT(square, "3 -2", "9 4"),
    POINT(recip, "4 -0.5", "0.25 -2"),
    POINT(sqrt, "4 0.25", "2 0.5"),
    POINT(exp, "0 1", "1 2.718281828459045"),
    POINT(log, "1 2", "0 0.6931471805599453"),
    POINT(relu, "-3 2", "0 2"),
    POINT(relu_grad, "-3 2", "0 1"),
    POINT(gelu, "1 -2", "0.8413447460685429 -0.04550026389635841"),
    POINT(gelu_grad, "0 1", "0.5 1.0833154705876862"),
    POINT(gelu_tanh, "0 1", "0 0.8411919906082768"),
    POINT(gelu_tanh_grad, "0 1", "0.5 1.0829640838457826"),
    POINT(silu, "0 2", "0 1.7615941559557649"),
    POINT(silu_grad, "0 2", "0.5 1.0907842487848955"),
    POINT(tanh, "0 1", "0 0.7615941559557649"),
    POINT(is_zero, "0 -0.001", "1 0"),
    POINT(copy, "1 2", "1 2"),
    { "scale and shift", "x: f32[N]", "a: f32[N] = scale x {by=3}\n  y: f32[N] = shift a {by=-1}",
      "y", "x[2] 1 2", "y[2] 2 5" },
    { "scored", "", "y: f32[B,T] = scored tokens", "y", "tokens[1,2] 3 -1", "y[1,2] 1 0" },
    { "first", "", "y: f32[B,T] = first tokens", "y", "tokens[1,2] 0 -1", "y[1,2] 1 0" },
    { "onehot", "", "i: i32[B,T,1] = reshape tokens\n  y: f32[B,T,M] = onehot i {dim=M}", "y",
      "tokens[1,2] 2 -1", "y[1,2,3] 0 0 1 0 0 0" },
    { "dropout outside of training", "x: f32[N]", "y: f32[N] = dropout x {rate=0.5}", "y",
      "x[2] 1 2", "y[2] 1 2" },
    { "expand", "x: f32[N,1]", "y: f32[N,M] = expand x", "y", "x[2,1] 5 6",
      "y[2,3] 5 5 5 6 6 6" },
    { "sum", "x: f32[N,M]", "y: f32[N,1] = sum x", "y", "x[2,3] 1 2 3 4 5 6", "y[2,1] 6 15" },
    { "mean", "x: f32[N,M]", "y: f32[N,1] = mean x", "y", "x[2,3] 1 2 3 4 5 6", "y[2,1] 2 5" },
    { "rowmax", "x: f32[N,M]", "y: f32[N,1] = rowmax x", "y", "x[2,3] 1 7 3 -4 -5 -6",
      "y[2,1] 7 -4" },
    { "pick", "w: f32[V,M]", "i: i32[B,T,1] = reshape tokens\n"
      "  a: f32[B,T,M] = gather w, lookup\n  y: f32[B,T,1] = pick a, i", "y",
      "w[4,3] 1 2 3 4 5 6 7 8 9 10 11 12 tokens[1,2] 2 -1 targets[1,2] 1 0", "y[1,2,1] 6 0" },
    { "rotate", "x: f32[N,K]", "y: f32[N,K] = rotate x", "y", "x[2,4] 1 2 3 4 5 6 7 8",
      "y[2,4] -3 -4 1 2 -7 -8 5 6" },
    { "unrotate", "x: f32[N,K]", "y: f32[N,K] = unrotate x", "y", "x[2,4] 1 2 3 4 5 6 7 8",
      "y[2,4] 3 4 -1 -2 7 8 -5 -6" },
    { "colsum", "x: f32[N,M] w: f32[M]", "y: f32[M] = colsum x, w", "y",
      "x[2,3] 1 2 3 4 5 6 w[3] 100 200 300", "y[3] 105 207 309" },
    { "matmul", "x: f32[N,M] w: f32[K,M]", "y: f32[N,K] = matmul x, w", "y",
      "x[2,3] 1 2 3 4 5 6 w[4,3] 1 0 0 0 1 0 0 0 1 1 1 1", "y[2,4] 1 2 3 6 4 5 6 15" },
    { "matmul_input", "x: f32[N,M] w: f32[M,K]", "y: f32[N,K] = matmul_input x, w", "y",
      "x[2,3] 1 2 3 4 5 6 w[3,4] 1 0 0 1 0 1 0 1 0 0 1 1", "y[2,4] 1 2 3 6 4 5 6 15" },
    { "matmul_input with init", "x: f32[N,M] w: f32[M,K] a: f32[N,K]",
      "y: f32[N,K] = matmul_input x, w, a", "y",
      "x[2,3] 1 2 3 4 5 6 w[3,4] 1 0 0 1 0 1 0 1 0 0 1 1 a[2,4] 10 20 30 40 50 60 70 80",
      "y[2,4] 11 22 33 46 54 65 76 95" },
    { "matmul_weight", "x: f32[N,M] w: f32[N,K] a: f32[M,K]",
      "y: f32[M,K] = matmul_weight x, w, a", "y",
      "x[2,3] 1 2 3 4 5 6 w[2,4] 1 0 2 0 0 1 0 3 a[3,4] 1 1 1 1 0 0 0 0 0 0 0 0",
      "y[3,4] 2 5 3 13 2 5 4 15 3 6 6 18" },
    { "positions", "", "y: i32[B,T] = positions", "y", "tokens[1,2] 0 0", "y[1,2] 0 1" },
    { "gather", "w: f32[V,M]", "y: f32[B,T,M] = gather w, tokens", "y",
      "w[4,3] 1 2 3 4 5 6 7 8 9 10 11 12 tokens[1,2] 3 1", "y[1,2,3] 10 11 12 4 5 6" },
    { "scatter_add", "w: f32[V,M]", "a: f32[B,T,M] = gather w, lookup\n"
      "  y: f32[V,M] = scatter_add a, tokens, w", "y",
      "w[4,3] 1 2 3 4 5 6 7 8 9 10 11 12 tokens[1,2] 2 2 targets[1,2] 0 1",
      "y[4,3] 1 2 3 4 5 6 12 15 18 10 11 12" },
    { "scatter_add passes over ids below 0", "w: f32[V,M]", "a: f32[B,T,M] = gather w, lookup\n"
      "  y: f32[V,M] = scatter_add a, tokens, w", "y",
      "w[4,3] 1 2 3 4 5 6 7 8 9 10 11 12 tokens[1,2] -1 0 targets[1,2] 0 1",
      "y[4,3] 5 7 9 4 5 6 7 8 9 10 11 12" },
    { "reshape", "x: f32[N,M]", "y: f32[M,N] = reshape x", "y", "x[2,3] 1 2 3 4 5 6",
      "y[3,2] 1 2 3 4 5 6" },
    { "smoothing and sharpness", "x: f32[N]",
      "a: f32[N] = mul x, $smoothing\n  y: f32[N] = add a, $sharpness", "y",
      "x[2] 1 2 smoothing[1] 0.25", "y[2] 1 1.25" },
};

/* The sequences of `rows` are rows of the table w: x[2,3,2], the first three and the
 * last two of them. A case is a body, its result and that result's values. */
typedef struct RowsCase { const char *name, *body, *out; } RowsCase;

static const RowsCase rows[] = {
    { "pool, mean", "y: f32[B,M] = pool x, lengths {pool=0}", "y[2,2] 3 -2 7 -1.5" },
    { "pool, sum", "y: f32[B,M] = pool x, lengths {pool=1}", "y[2,2] 9 -6 14 -3" },
    { "pool, max", "y: f32[B,M] = pool x, lengths {pool=2}", "y[2,2] 5 3 7 2" },
    { "pool, first", "y: f32[B,M] = pool x, lengths {pool=3}", "y[2,2] 1 3 7 -5" },
    { "pool, last", "y: f32[B,M] = pool x, lengths {pool=4}", "y[2,2] 5 -8 7 2" },
    { "pool_spread, mean", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  y: f32[B,T,M] = pool_spread a, lengths {pool=0}",
      "y[2,3,2] 3 -2 3 -2 3 -2 7 -1.5 7 -1.5 0 0" },
    { "pool_spread, sum", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  y: f32[B,T,M] = pool_spread a, lengths {pool=1}",
      "y[2,3,2] 9 -6 9 -6 9 -6 14 -3 14 -3 0 0" },
    { "pool_spread, first", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  y: f32[B,T,M] = pool_spread a, lengths {pool=3}",
      "y[2,3,2] 9 -6 0 0 0 0 14 -3 0 0 0 0" },
    { "pool_spread, last", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  y: f32[B,T,M] = pool_spread a, lengths {pool=4}",
      "y[2,3,2] 0 0 0 0 9 -6 0 0 14 -3 0 0" },
    { "pool_max_spread, the first of two", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  y: f32[B,T,M] = pool_max_spread a, lengths, x",
      "y[2,3,2] 0 -6 0 0 9 0 14 0 0 -3 0 0" },
    { "top_k", "y: f32[B,T,X] = top_k p {count=2}",
      "y[2,3,3] 1 1 0 0 1 1 1 0 1 1 1 0 1 1 0 1 1 0" },
    { "dispatch", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  y: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K}", "y[4] 0 4 8 10" },
    { "dispatch, places", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], y: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K}",
      "y[2,3,3] 0 4 -1 -1 5 8 1 -1 9 2 6 -1 3 7 -1 -1 -1 -1" },
    /* at most ceil(1 · 2 · 3 / (2 · 3)) = 1 of a sequence */
    { "dispatch, a capacity", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], y: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}",
      "y[2,3,3] 0 2 -1 -1 -1 4 -1 -1 -1 1 3 -1 -1 -1 -1 -1 -1 -1" },
    { "gather_rows, collect_rows", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  y: f32[B,T,M] = collect_rows r, q", "y[2,3,2] 2 6 3 -1 0 0 14 -10 0 0 0 0" },
    { "spread_rows, combine_rows", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = spread_rows x, p, o, s {dim=K}\n"
      "  y: f32[B,T,M] = combine_rows r, q, p",
      "y[2,3,2] 0.0596 0.1788 0.1875 -0.0625 0 0 0.4046 -0.289 0 0 0 0" },
    { "gate_products", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  y: f32[B,T,X] = gate_products x, r, q",
      "y[2,3,3] 10 10 0 0 0 10 0 0 0 74 74 0 0 0 0 0 0 0" },
    { "preference_grad", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  s: f32[B,1] = sum a\n  z: f32[B,1] = sub s, s\n"
      "  y: f32[B,1] = preference_grad s, s, z, $inv_count {by=0.5}",
      "y[2,1] -0.9820137900379085 0.9820137900379085" },
    { "preference", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  s: f32[B,1] = sum a\n  z: f32[B,1] = sub s, s\n"
      "  y: f64[] = preference s, s, z, total {by=-0.5}", "y[1] 0.018149927917809738" },
    { "preference, nothing scored", "a: f32[B,M] = pool x, lengths {pool=1}\n"
      "  s: f32[B,1] = sum a\n  z: f32[B,1] = sub s, s\n"
      "  y: f64[] = preference s, z, z, total {by=-0.5}", "y[1] 0" },
    { "grouped_bias", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  y: f32[X,M] = grouped_bias r, s, bias", "y[3,2] 120 192 318 399 508 591" },
    { "grouped_matmul", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  m: f32[B,T,K,M] = grouped_matmul r, w, s, bias\n"
      "  y: f32[B,T,M] = collect_rows m, q", "y[2,3,2] 406 606 502 608 0 0 416 590 0 0 0 0" },
    { "grouped_input", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  d: f32[B,T,K,M] = grouped_matmul r, w, s\n"
      "  m: f32[B,T,K,M] = grouped_input d, w, s, r\n"
      "  y: f32[B,T,M] = collect_rows m, q", "y[2,3,2] 13 17 29 9 0 0 39 -11 0 0 0 0" },
    { "grouped_weight", "k: f32[B,T,X] = top_k p {count=2}\n"
      "  s: i32[starts], o: i32[B,T,K], q: i32[B,T,X] = dispatch k, lengths"
      " {count=2, dim=starts, width=K, numerator=1, denominator=2}\n"
      "  r: f32[B,T,K,M] = gather_rows x, o, s {dim=K}\n"
      "  d: f32[B,T,K,M] = grouped_matmul r, w, s\n"
      "  y: f32[X,M,M] = grouped_weight d, r, s, w",
      "y[3,2,2] 51 -32 -32 35 70 -29 -32 35 7 -1 27 -7" },
};

/* q, k, v are rows of tables chosen by the batch: two heads of width 1. */
static const OpCase attention[] = {
    { "attention, causal", "{causal}", "", "", "", "a[1,2,2] 10 1 17.5 2.5" },
    { "attention, full", "{}", "", "", "", "a[1,2,2] 15 2.5 17.5 2.5" },
    { "attention, a window of 1", "{window=1}", "", "", "", "a[1,2,2] 10 1 20 4" },
    { "attention, padding", "{}", "", "", "lengths[1] 1", "a[1,2,2] 10 1 10 1" },
    { "attention, nothing visible", "{}", "", "", "lengths[1] 0", "a[1,2,2] 0 0 0 0" },
};

static const char op_head[] =
    "module m\n"
    "dim B:batch T:sequence N=2 M=3 K=4 V=4 H=2 two=2\n";

static void test_ops(void)
{
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        const OpCase *c = &ops[i];
        Arena *arena = arena_new();
        Buf text = {0};
        buf_printf(&text, "%s", op_head);
        for (const char *w = c->weights; *w;) {
            size_t n = strcspn(w, "]") + 1;
            buf_printf(&text, "weight %.*s\n", (int)n, w);
            w += n + strspn(w + n, " ");
        }
        buf_printf(&text, "func f(tokens: i32[B,T], lookup: i32[B,T]) -> %s {\n  %s\n}\n",
                   c->result, c->body);
        bool looks = strstr(c->body, "lookup") != NULL;
        buf_printf(&text, "step forward batch=1 sequence=2 micro=1 {\n  %s = f(tokens, %s)\n}\n",
                   c->result, looks ? "targets" : "tokens");
        bool batch = strstr(c->in, "tokens") != NULL;
        const char *in = arena_printf(arena, "%s%s", c->in, batch ? "" : " tokens[1,2] 0 0");
        expect(c->name, text.text, "forward", in, c->out);
        buf_free(&text);
        arena_free(arena);
    }
}

/* x = (1 3, 3 -1, 5 -8), (7 -5, 7 2, padding); p, the experts' shares. Matrix e of w. */
static void test_rows(void)
{
    static const char in[] =
        "table[5,2] 1 3 3 -1 5 -8 7 -5 7 2 "
        "shares[5,3] .2 .14 .1 .1 .3 .25 .5 .1 .5 .17 .17 .1 .4 .4 .3 "
        "w[3,2,2] 1 0 0 1 2 1 0 1 1 1 3 1 bias[3,2] 100 200 300 400 500 600 "
        "tokens[2,3] 0 1 2 3 4 4 lengths[2] 3 2 inv_count[1] 2";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Arena *arena = arena_new();
        const char *text = arena_printf(arena,
            "module m\ndim B:batch T:sequence V=5 M=2 X=3 starts=4 K=2\n"
            "weight table: f32[V,M]\nweight shares: f32[V,X]\n"
            "weight w: f32[X,M,M]\nweight bias: f32[X,M]\n"
            "func f(tokens: i32[B,T], lengths: i32[B], total: f64[]) -> y {\n"
            "  x: f32[B,T,M] = gather table, tokens\n"
            "  p: f32[B,T,X] = gather shares, tokens\n  %s\n}\n"
            "step forward batch=2 sequence=3 micro=2 {\n  y = f(tokens, lengths, loss)\n}\n",
            rows[i].body);
        expect(rows[i].name, text, "forward", in, rows[i].out);
        arena_free(arena);
    }
}

/* Two channels of 4 x 4 in patches of 2; position 0 is left for a class. */
static void test_patches(void)
{
    static const char text[] =
        "module m\ndim B:batch T:sequence image=32 patch=8\n"
        "func f(images: f32[B,image]) -> y {\n"
        "  y: f32[B,T,patch] = patches images {dim=patch, channels=2, size=4, patch=2, skip=1}\n"
        "}\n"
        "step forward batch=1 sequence=5 micro=1 {\n  y = f(images)\n}\n";
    static const char in[] =
        "images[1,32] 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
        " 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 tokens[1,5] 0 0 0 0 0";
    expect("patches", text, "forward", in,
           "y[1,5,8] 0 0 0 0 0 0 0 0 1 2 5 6 17 18 21 22 3 4 7 8 19 20 23 24"
           " 9 10 13 14 25 26 29 30 11 12 15 16 27 28 31 32");
}

/* Scores q·k·scale: head 0 sees ln 1, ln 3 from query 1 (weights 1/4, 3/4) and 0, 0
 * from query 0 (1/2, 1/2); head 1 sees 0, 0. */
static void test_attention(void)
{
    for (size_t i = 0; i < sizeof attention / sizeof *attention; i++) {
        const OpCase *c = &attention[i];
        Arena *arena = arena_new();
        const char *attrs = c->weights + 1;
        const char *text = arena_printf(arena,
            "%sweight q: f32[V,two]\nweight k: f32[V,two]\nweight v: f32[V,two]\n"
            "func f(tokens: i32[B,T], lengths: i32[B]) -> a {\n"
            "  qs: f32[B,T,two] = gather q, tokens\n"
            "  ks: f32[B,T,two] = gather k, tokens\n"
            "  vs: f32[B,T,two] = gather v, tokens\n"
            "  a: f32[B,T,two], a.stats: f32[B,T,H,two] = attention qs, ks, vs, lengths"
            " {heads=2, kv_heads=2, scale=2%s%s\n"
            "}\n"
            "step forward batch=1 sequence=2 micro=1 {\n  a = f(tokens, lengths)\n}\n",
            op_head, *attrs == '}' ? "" : ", ", attrs);
        const char *in = arena_printf(arena,
            "q[4,2] 0 0 0.5 0 0 0 0 0 k[4,2] 0 5 1.0986122886681098 7 0 0 0 0 "
            "v[4,2] 10 1 20 4 0 0 0 0 tokens[1,2] 0 1 %s", c->in);
        expect(c->name, text, "forward", in, c->out);
        arena_free(arena);
    }
}

/* Grouped queries, ALiBi and the gradient: central differences of Σ a·dout. */
static const char gradient_text[] =
    "module m\n"
    "dim B:batch T:sequence V=6 H=2 two=2 C=4 D=2 one-head=2\n"
    "weight q: f32[V,C]\nweight k: f32[V,D]\nweight v: f32[V,D]\nweight d: f32[V,C]\n"
    "weight slopes: f32[H] init=alibi constant\n"
    "func f(tokens: i32[B,T], lengths: i32[B]) -> total, qs, dq, dk, dv {\n"
    "  qs: f32[B,T,C] = gather q, tokens\n"
    "  ks: f32[B,T,D] = gather k, tokens\n"
    "  vs: f32[B,T,D] = gather v, tokens\n"
    "  ds: f32[B,T,C] = gather d, tokens\n"
    "  a: f32[B,T,C], a.stats: f32[B,T,H,two] = attention qs, ks, vs, lengths, slopes"
    " {heads=2, kv_heads=1, scale=0.7, causal, window=3, rate=0.25, site=1, alibi}\n"
    "  dq: f32[B,T,C], dk: f32[B,T,D], dv: f32[B,T,D] = attention_backward qs, ks, vs, lengths,"
    " a.stats, ds, slopes"
    " {heads=2, kv_heads=1, scale=0.7, causal, window=3, rate=0.25, site=1, alibi}\n"
    "  p: f32[B,T,C] = mul a, ds\n"
    "  total: f32[B,T,1] = sum p\n"
    "}\n"
    "step forward batch=2 sequence=5 micro=2 training {\n"
    "  total, qs, dq, dk, dv = f(tokens, lengths)\n"
    "}\n";

static double total_of(const Tensors *out)
{
    const Tensor *t = find(out, "total");
    double sum = 0;
    for (int64_t i = 0; t && i < count_of(t); i++)
        sum += t->values[i];
    return sum;
}

/* Every token occurs once, so a table's gradient is the rows' own. */
static double run_moved(Test *test, const Tensors *in, const char *name, int64_t at, double by)
{
    Diag *diag = diag_new(test->arena);
    int source = diag_source(diag, "test", test->text, strlen(test->text));
    Module *m = module_parse(diag, test->arena, source);
    find(in, name)->values[at] += by;
    test->run.in = in;
    bool fine = m && module_interpret(m, "forward", test->arena, &test->run, &test->why);
    find(in, name)->values[at] -= by;
    return fine ? total_of(&test->run.out) : NAN;
}

static void test_attention_gradient(void)
{
    static const struct { const char *table, *result; int64_t width; } sides[] = {
        { "q", "dq", 4 }, { "k", "dk", 2 }, { "v", "dv", 2 },
    };
    Test test = test_new(gradient_text, "forward", ARITHMETIC_F64);
    Tensors in = tensors_of(test.arena,
        "q[6,4] .3 -.7 .2 .9 1.1 .4 -.6 .2 -.3 .8 .5 -.1 .7 .7 -.2 .4 -.9 .1 .6 .3 .2 .5 .1 -.8 "
        "k[6,2] .5 -.4 .9 .1 -.8 .3 .2 .6 -.1 -.7 .4 .4 v[6,2] 1 -2 .5 .3 -.7 1.2 .8 .1 -.4 .9 2 1 "
        "d[6,4] .2 .5 -.3 .8 -.6 .1 .9 .4 .3 -.2 .7 -.5 .1 .6 -.4 .2 .5 -.9 .3 .7 .4 .2 -.1 .6 "
        "tokens[2,5] 0 1 2 3 4 5 5 5 5 5 lengths[2] 5 0");
    double base = run_moved(&test, &in, "q", 0, 0), worst = isnan(base) ? INFINITY : 0;
    Tensors out = test.run.out;
    for (int s = 0; s < 3 && worst < 1; s++) {
        const Tensor *grad = find(&out, sides[s].result);
        for (int64_t i = 0; i < 5 * sides[s].width; i++) {
            const double h = 1e-5;
            double slope = (run_moved(&test, &in, sides[s].table, i, h)
                            - run_moved(&test, &in, sides[s].table, i, -h)) / (2 * h);
            worst = fmax(worst, fabs(slope - grad->values[i]));
        }
    }
    check(worst < 1e-8, "attention's gradient against differences",
          test.why.text ? test.why.text : arena_printf(test.arena, "off by %g", worst));
    test_free(&test);
}

/* ---- steps ---- */
/* loss = Σ e[token] w over scored tokens; gradients by hand. */
static const char step_text[] =
    "module m sites_per_block=1\n"
    "dim B:batch T:sequence R:rows N:rows V=3 L=2 C=1\n"
    "weight e: f32[V,1] init=zeros decay\n"
    "weight blocks.{L}.w: f32[1] init=ones\n"
    "func embed(tokens: i32[B,T]) -> x {\n"
    "  x: f32[B,T,1] = gather e, tokens\n"
    "}\n"
    "func block.forward[l](x: f32[B,T,1]) -> y {\n"
    "  record block\n"
    "  y: f32[B,T,1] = mul x, w\n"
    "  save x\n"
    "}\n"
    "func block.backward[l](dy: f32[B,T,1]) -> dx {\n"
    "  record block\n"
    "  load x: f32[B,T,1]\n"
    "  begin grad.w: f32[1] for w\n"
    "  p: f32[B,T,1] = mul dy, x\n"
    "  dx: f32[B,T,1] = mul dy, w\n"
    "  g: f32[1] = colsum p, grad.w\n"
    "  end w = g\n"
    "}\n"
    "func embed.backward(dx: f32[B,T,1], tokens: i32[B,T]) {\n"
    "  begin grad.e: f32[V,1] for e site 1\n"
    "  g: f32[V,1] = scatter_add dx, tokens, grad.e\n"
    "  end e site 1 = g\n"
    "}\n"
    "func head(x: f32[R,1], targets: i32[R,1], loss: f64[]) -> total, dx {\n"
    "  s: f32[R,1] = scored targets\n"
    "  l: f32[R,1] = mul x, s\n"
    "  total: f64[] = chain l, loss\n"
    "  dx: f32[R,1] = mul s, $inv_count\n"
    "  begin grad.e: f32[V,1] for e\n"
    "  z: f32[R,1] = scale s {by=100}\n"
    "  ids: i32[R] = reshape targets\n"
    "  g: f32[V,1] = scatter_add z, ids, grad.e\n"
    "  end e = g\n"
    "}\n"
    "func update(p: f32[N], g: f32[N], first: f32[N]) -> q, m {\n"
    "  c: f32[N] = mul g, $clip_scale\n"
    "  m: f32[N] = add first, c\n"
    "  d: f32[N] = mul p, $decay\n"
    "  t: f32[N] = add m, d\n"
    "  u: f32[N] = mul t, $lr\n"
    "  q: f32[N] = sub p, u\n"
    "}\n"
    "step train batch=6 sequence=1 micro=1 training {\n"
    "  count targets\n"
    "  groups g < 3 {\n"
    "    micros m < 2 {\n"
    "      x = embed(tokens)\n"
    "      repeat l < L {\n"
    "        x = block.forward[l](x)\n"
    "      }\n"
    "      chunks c < 1 of 1 rows {\n"
    "        loss, dx = head(x, targets, loss)\n"
    "      }\n"
    "      repeat l < L down {\n"
    "        dx = block.backward[l](dx)\n"
    "      }\n"
    "      embed.backward(dx, tokens)\n"
    "    }\n"
    "  }\n"
    "  sites\n"
    "  norm\n"
    "  update update\n"
    "}\n"
    "step eval batch=6 sequence=1 micro=6 {\n"
    "  x = embed(tokens)\n"
    "  repeat l < L {\n"
    "    x = block.forward[l](x)\n"
    "  }\n"
    "  chunks c < 3 of 2 rows {\n"
    "    loss, dx = head(x, targets, loss)\n"
    "  }\n"
    "}\n";

/* Tokens 0 1 2 0 1 2, targets 0 0 -1 1 1 2: five are scored. x = 6 e after two blocks of
 * 2 and 3. loss = 6 (e0 + e1 + e0 + e1 + e2) / 5; d.e = 6/5 a scored token, and the
 * head's site adds 100 at each scored target. d.w0 = 3 Σe / 5, d.w1 = 2 Σe / 5. */
static void test_step(void)
{
    Arena *arena = arena_new();
    const char *text = step_text;
    const char *in = "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[6,1] 0 1 2 0 1 2 "
                     "targets[6,1] 0 0 -1 1 1 2 lr[1] 0.5 decay[1] 0.25 first.e[3,1] 1 1 1";
    expect("a step's loss and gradients", text, "train", in,
           "loss[1] 12 scored[1] 5 applied[1] 1 clip_scale[1] 1 "
           "grad.e[3,1] 202.4 202.4 101.2 grad.blocks.0.w[1] 6 grad.blocks.1.w[1] 4 "
           "grad_norm[1] 303.68562692363298");
    expect("an update, with decay where there is any", text, "train", in,
           "e[3,1] -100.825 -99.95 -47.6 first.e[3,1] 203.4 203.4 102.2 "
           "blocks.0.w[1] -1 first.blocks.0.w[1] 6");
    expect("clipping", text, "train", arena_printf(arena, "%s clip[1] 3.0368562692363298", in),
           "clip_scale[1] 0.01 first.blocks.0.w[1] 0.06 grad_norm[1] 303.68562692363298");
    expect("what is not finite is not applied", text, "train",
           arena_printf(arena, "e[3,1] inf 2 4%s", strstr(in, " blocks.0.w")),
           "applied[1] 0 blocks.0.w[1] 2 first.e[3,1] 1 1 1");
    expect("eval sums", text, "eval", arena_printf(arena, "%s inv_count[1] 1", in), "loss[1] 60");
    refuse("a scalar that is missing", text, "train",
           "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[6,1] 0 1 2 0 1 2 "
           "targets[6,1] 0 0 -1 1 1 2 decay[1] 0", "no lr");
    refuse("targets that are missing", text, "train",
           "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[6,1] 0 1 2 0 1 2", "no targets");
    refuse("a weight that is missing", text, "train", "e[3,1] 1 2 4 blocks.0.w[1] 2 ",
           "no blocks.1.w");
    refuse("a weight of another shape", text, "train", "e[3] 1 2 4", "another shape");
    refuse("a token outside its table", text, "eval",
           "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[1,1] 3", "id 3 of a table of 3");
    refuse("a token that is no integer", text, "eval",
           "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[1,1] 0.5", "32-bit integer");
    refuse("a batch that is too large", text, "eval",
           "e[3,1] 1 2 4 blocks.0.w[1] 2 blocks.1.w[1] 3 tokens[1,2] 0 0", "at most [6,1]");
    refuse("a step that is not there", text, "tarin", "e[3,1] 1 2 4", "no step tarin");
    arena_free(arena);
}

/* ---- orders of f32: sums that come out otherwise in another order ---- */
static const char order_text[] =
    "module m\n"
    "dim B:batch T:sequence K=17 W=1\n"
    "weight x: f32[K]\n"
    "weight y: f32[K,W]\n"
    "weight z: f32[W]\n"
    "func f() -> row, column {\n"
    "  row: f32[1] = sum x\n"
    "  column: f32[W] = colsum y, z\n"
    "}\n"
    "step forward batch=1 sequence=1 micro=1 {\n  row, column = f()\n}\n";

/* 1, then 16 times 2^-24: the row's lanes keep each (lane 0: 1 + 2^-24 = 1, the other
 * fifteen add up first), the chain loses all. */
static void test_orders(void)
{
    Arena *arena = arena_new();
    Buf values = {0};
    buf_printf(&values, "1");
    for (int i = 0; i < 16; i++)
        buf_printf(&values, " %.17g", 0x1p-24);
    const char *in = arena_printf(arena, "x[17] %s y[17,1] %s z[1] 0", values.text, values.text);
    Test test = test_new(order_text, "forward", ARITHMETIC_F32);
    bool fine = test_run(&test, in);
    const Tensor *row = find(&test.run.out, "row"), *column = find(&test.run.out, "column");
    check(fine && row && row->values[0] == 1 + 14 * 0x1p-24, "a row's sum has 16 lanes",
          test.why.text ? test.why.text : arena_printf(arena, "%a", row ? row->values[0] : 0));
    check(fine && column && column->values[0] == 1, "a column's sum is one chain", "");
    test_free(&test);
    buf_free(&values);
    arena_free(arena);
}

/* ---- dropout, the cache, last rows ---- */
static const char dropout_text[] =
    "module m sites_per_block=3\n"
    "dim B:batch T:sequence L=2 K=5\n"
    "weight w: f32[K,K]\n"
    "func block[l](tokens: i32[B,T]) -> y {\n"
    "  x: f32[B,T,K] = gather w, tokens\n"
    "  y: f32[B,T,K] = dropout x {rate=0.5, site=2}\n"
    "}\n"
    "step train batch=4 sequence=3 micro=1 training {\n"
    "  micros m < 4 {\n    repeat l from 1 to 2 {\n      logits = block[l](tokens)\n    }\n  }\n"
    "}\n"
    "step forward batch=4 sequence=3 micro=4 training {\n"
    "  repeat l from 1 to 2 {\n    y = block[l](tokens)\n  }\n"
    "}\n";

static void test_dropout(void)
{
    Test test = test_new(dropout_text, "forward", ARITHMETIC_F32);
    bool fine = test_run(&test,
        "w[5,5] 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 "
        "tokens[4,3] 0 0 0 0 0 0 0 0 0 0 0 0");
    const Tensor *y = find(&test.run.out, "y");
    for (int64_t i = 0; fine && i < 60; i++)
        fine = y->values[i] == (double)dropout_scale(7, 3, 1 + 3 + 2, (uint32_t)(i / 5),
                                                     (uint32_t)(i % 5), 0.5f);
    check(fine, "dropout's draws are by global row, column, site and step",
          test.why.text ? test.why.text : "another mask");
    test_free(&test);
}

static const char cache_text[] =
    "module m\n"
    "dim B:batch T:sequence R:rows P=4 K=2 V=5 H=1 two=2 L=1\n"
    "weight w: f32[V,K]\n"
    "func block[l](tokens: i32[B,T], lengths: i32[B]) -> a, where {\n"
    "  x: f32[B,T,K] = gather w, tokens\n"
    "  where: i32[B,T] = positions\n"
    "  c: f32[B,P,K] = cache x {slot=1, dim=P}\n"
    "  z: f32[B,T,K] = scale x {by=0}\n"
    "  a: f32[B,T,K], s: f32[B,T,H,two] = attention z, c, c, lengths"
    " {heads=1, kv_heads=1, scale=1, causal, cached}\n"
    "}\n"
    "func head(x: f32[R,K]) -> logits {\n"
    "  logits: f32[R,K] = copy x\n"
    "}\n"
    "step generate batch=1 sequence=3 micro=1 {\n"
    "  repeat l < L {\n    x, where = block[l](tokens, lengths)\n  }\n"
    "  chunks c < 1 of 1 rows last {\n    logits = head(x)\n  }\n"
    "}\n";

/* With q = 0 attention is the mean of what is cached. */
static void test_cache(void)
{
    static const char weights[] = "w[5,2] 0 0 1 10 2 20 6 60 100 0 ";
    Test test = test_new(cache_text, "generate", ARITHMETIC_F64);
    Arena *arena = arena_new();
    Tensors first = tensors_of(arena, "x[1,2,2] 1 10 1.5 15 logits[1,2] 1.5 15 where[1,2] 0 1");
    Tensors second = tensors_of(arena, "x[1,1,2] 3 30 logits[1,2] 3 30 where[1,1] 2");
    bool fine = test_run(&test, arena_printf(arena, "%stokens[1,2] 1 2", weights));
    const char *why = fine ? difference(arena, &test.run.out, &first, 1e-12) : test.why.text;
    check(!why, "generate: the first rows", why ? why : "");
    test.run.position = 2;
    fine = test_run(&test, arena_printf(arena, "%stokens[1,1] 3", weights));
    why = fine ? difference(arena, &test.run.out, &second, 1e-12) : test.why.text;
    check(!why, "generate: a row after them", why ? why : "");
    test.run.position = 4;
    fine = test_run(&test, arena_printf(arena, "%stokens[1,1] 3", weights));
    check(!fine && strstr(test.why.text, "position 4 + 1 of 4"), "generate: past the cache",
          test.why.text ? test.why.text : "is not refused");
    test_free(&test);
    arena_free(arena);
}

int main(void)
{
    test_ops();
    test_rows();
    test_patches();
    test_attention();
    test_attention_gradient();
    test_step();
    test_orders();
    test_dropout();
    test_cache();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
