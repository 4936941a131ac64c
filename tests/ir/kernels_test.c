/* kernels_test.c: the interpreter in f32 against the kernels, all bits: pools, experts
 * and preferences, on one function that uses them all. What each kernel should compute
 * is tested with it (tests/kernels); here, that the two have one order. Rows past the
 * last pair are not compared: the interpreter has NaN there, a program what was.
 * Prints `N passed, M failed` last. */
#include "../../ir/ir.h"
#include "../../runtime/kernels/kernels.h"
#include <math.h>
#include <stdlib.h>

enum { V = 11, X = 4, K = 2, I = 17, O = 33, SEQUENCES = 4, LENGTH = 5 };
enum { TOKENS = SEQUENCES * LENGTH, ROWS = TOKENS * K, PAIRS = TOKENS * X };

static int passed, failed;

static void check(bool fine, const char *name, const char *why)
{
    passed += fine;
    failed += !fine;
    if (!fine)
        printf("FAILED kernels: %s: %s\n", name, why);
}

/* %s is a capacity, or nothing. */
static const char text[] =
    "module m\n"
    "dim B:batch T:sequence V=11 X=4 starts=5 K=2 I=17 O=33\n"
    "weight p: f32[V,X]\nweight x: f32[V,I]\nweight d: f32[V,O]\nweight s: f32[V,1]\n"
    "weight w: f32[X,O,I]\nweight bias: f32[X,O]\n"
    "func f(tokens: i32[B,T], lengths: i32[B], total: f64[]) -> keep, order, place, xs, up,"
    " combined, collected, dup, gates, dxs, again, dw, db, means, sums, most, mean.spread,"
    " most.spread, slopes, loss {\n"
    "  ps: f32[B,T,X] = gather p, tokens\n"
    "  rows: f32[B,T,I] = gather x, tokens\n"
    "  ds: f32[B,T,O] = gather d, tokens\n"
    "  keep: f32[B,T,X] = top_k ps {count=2}\n"
    "  at: i32[starts], order: i32[B,T,K], place: i32[B,T,X] = dispatch keep, lengths"
    " {count=2, dim=starts, width=K%s}\n"
    "  xs: f32[B,T,K,I] = gather_rows rows, order, at {dim=K}\n"
    "  up: f32[B,T,K,O] = grouped_matmul xs, w, at, bias\n"
    "  combined: f32[B,T,O] = combine_rows up, place, ps\n"
    "  collected: f32[B,T,O] = collect_rows up, place\n"
    "  dup: f32[B,T,K,O] = spread_rows ds, ps, order, at {dim=K}\n"
    "  gates: f32[B,T,X] = gate_products ds, up, place\n"
    "  dxs: f32[B,T,K,I] = grouped_input dup, w, at\n"
    "  again: f32[B,T,K,I] = grouped_input dup, w, at, xs\n"
    "  dw: f32[X,O,I] = grouped_weight dup, xs, at, w\n"
    "  db: f32[X,O] = grouped_bias dup, at, bias\n"
    "  means: f32[B,I] = pool rows, lengths {pool=0}\n"
    "  sums: f32[B,I] = pool rows, lengths {pool=1}\n"
    "  most: f32[B,I] = pool rows, lengths {pool=2}\n"
    "  mean.spread: f32[B,T,I] = pool_spread sums, lengths {pool=0}\n"
    "  most.spread: f32[B,T,I] = pool_max_spread sums, lengths, rows\n"
    "  ss: f32[B,T,1] = gather s, tokens\n"
    "  scores: f32[B,1] = pool ss, lengths {pool=1}\n"
    "  counts: f32[B,1] = square scores\n"
    "  reference: f32[B,1] = scale scores {by=0.3}\n"
    "  slopes: f32[B,1] = preference_grad scores, counts, reference, $inv_count {by=0.7}\n"
    "  loss: f64[] = preference scores, counts, reference, total {by=0.7}\n"
    "}\n"
    "step forward batch=4 sequence=5 micro=4 {\n"
    "  keep, order, place, xs, up, combined, collected, dup, gates, dxs, again, dw, db, means,"
    " sums, most, mean.spread, most.spread, slopes, loss = f(tokens, lengths, loss)\n"
    "}\n";

/* ---- numbers ---- */
static float *numbers(Arena *arena, int64_t count, uint32_t seed)
{
    float *to = arena_alloc(arena, (size_t)count * sizeof *to);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    }
    return to;
}

typedef struct Data {
    float *p, *x, *d, *s, *w, *bias;
    int32_t tokens[TOKENS], lengths[SEQUENCES];
    long numerator;             /* of a capacity, over 4; 0: none */
} Data;

static void give(Arena *arena, Tensors *in, const char *name, const float *from, int rank,
                 const int64_t *dims)
{
    Tensor t = { .name = name, .rank = rank };
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= t.dims[i] = dims[i];
    t.values = arena_alloc(arena, (size_t)count * sizeof(double));
    for (int64_t i = 0; i < count; i++)
        t.values[i] = (double)from[i];
    list_push(arena, &in->list, t);
}

static void give_ids(Arena *arena, Tensors *in, const char *name, const int32_t *from, int rank,
                     const int64_t *dims)
{
    int64_t count = rank > 1 ? dims[0] * dims[1] : dims[0];
    float *as_f32 = arena_alloc(arena, (size_t)count * sizeof *as_f32);
    for (int64_t i = 0; i < count; i++)
        as_f32[i] = (float)from[i];
    give(arena, in, name, as_f32, rank, dims);
}

static Tensors inputs_of(Arena *arena, const Data *d)
{
    Tensors in = {0};
    float inv_count = 0.125f;
    give(arena, &in, "p", d->p, 2, (int64_t[]){ V, X });
    give(arena, &in, "x", d->x, 2, (int64_t[]){ V, I });
    give(arena, &in, "d", d->d, 2, (int64_t[]){ V, O });
    give(arena, &in, "s", d->s, 2, (int64_t[]){ V, 1 });
    give(arena, &in, "w", d->w, 3, (int64_t[]){ X, O, I });
    give(arena, &in, "bias", d->bias, 2, (int64_t[]){ X, O });
    give(arena, &in, "inv_count", &inv_count, 1, (int64_t[]){ 1 });
    give_ids(arena, &in, "tokens", d->tokens, 2, (int64_t[]){ SEQUENCES, LENGTH });
    give_ids(arena, &in, "lengths", d->lengths, 1, (int64_t[]){ SEQUENCES });
    return in;
}

/* ---- what the kernels make of them ---- */
typedef struct Results {
    float ps[PAIRS], rows[TOKENS * I], ds[TOKENS * O], keep[PAIRS], xs[ROWS * I], up[ROWS * O];
    float combined[TOKENS * O], collected[TOKENS * O], dup[ROWS * O], gates[PAIRS];
    float dxs[ROWS * I], again[ROWS * I], dw[X * O * I], db[X * O];
    float means[SEQUENCES * I], sums[SEQUENCES * I], most[SEQUENCES * I];
    float mean_spread[TOKENS * I], most_spread[TOKENS * I], slopes[SEQUENCES];
    int32_t starts[X + 1], order[ROWS], place[PAIRS];
    double loss;
} Results;

static void look_up(float *to, const float *table, const int32_t *ids, int width)
{
    for (int i = 0; i < TOKENS * width; i++)
        to[i] = table[ids[i / width] * width + i % width];
}

static void run_experts(const Thread *me, const Data *d, Results *r)
{
    top_k(me, r->keep, r->ps, TOKENS, X, K);
    dispatch(me, &(Dispatch){ .starts = r->starts, .order = r->order, .place = r->place,
                              .keep = r->keep, .lengths = d->lengths, .batch = SEQUENCES,
                              .sequence = LENGTH, .experts = X, .k = K,
                              .numerator = d->numerator, .denominator = 4 });
    gather_rows(me, r->xs, r->rows, r->order, r->starts, X, I);
    grouped_matmul(me, r->up, r->xs, d->w, d->bias, r->starts, X, I, O);
    collect_rows(me, r->combined, r->up, r->place, r->ps, TOKENS, X, O);
    collect_rows(me, r->collected, r->up, r->place, NULL, TOKENS, X, O);
    spread_rows(me, r->dup, r->ds, r->ps, r->order, r->starts, X, O);
    gate_products(me, r->gates, r->ds, r->up, r->place, TOKENS, X, O);
    grouped_input(me, r->dxs, r->dup, d->w, r->starts, X, I, O, 0);
    memcpy(r->again, r->xs, sizeof r->again);
    grouped_input(me, r->again, r->dup, d->w, r->starts, X, I, O, 1);
    memcpy(r->dw, d->w, sizeof r->dw);
    grouped_weight(me, r->dw, r->dup, r->xs, r->starts, X, I, O, 1);
    memcpy(r->db, d->bias, sizeof r->db);
    grouped_bias(me, r->db, r->dup, r->starts, X, O, 1);
}

static void run_pools(const Thread *me, const Data *d, Results *r)
{
    const int32_t *n = d->lengths;
    float s[TOKENS], scores[SEQUENCES], counts[SEQUENCES], reference[SEQUENCES];
    pool(me, r->means, r->rows, n, SEQUENCES, LENGTH, I, POOL_MEAN);
    pool(me, r->sums, r->rows, n, SEQUENCES, LENGTH, I, POOL_SUM);
    pool(me, r->most, r->rows, n, SEQUENCES, LENGTH, I, POOL_MAX);
    pool_spread(me, r->mean_spread, r->sums, n, NULL, SEQUENCES, LENGTH, I, POOL_MEAN);
    pool_spread(me, r->most_spread, r->sums, n, r->rows, SEQUENCES, LENGTH, I, POOL_MAX);
    look_up(s, d->s, d->tokens, 1);
    pool(me, scores, s, n, SEQUENCES, LENGTH, 1, POOL_SUM);
    for (int b = 0; b < SEQUENCES; b++) {
        counts[b] = scores[b] * scores[b];
        reference[b] = scores[b] * 0.3f;
    }
    preference_grad(me, r->slopes, scores, counts, reference, 0.7f, 0.125f, SEQUENCES);
    preference_loss(me, &r->loss, scores, counts, reference, 0.7f, SEQUENCES, 0);
}

/* ---- both ---- */
static const Tensor *find(const Tensors *all, const char *name)
{
    for (int i = 0; i < all->list.count; i++)
        if (!strcmp(all->list.at[i].name, name))
            return &all->list.at[i];
    return NULL;
}

static void compare(const Tensors *out, const char *name, const float *want, int64_t count)
{
    const Tensor *t = find(out, name);
    char why[100] = "is missing";
    int64_t i = 0;
    while (t && i < count && t->values[i] == (double)want[i])
        i++;
    if (t)
        snprintf(why, sizeof why, "[%lld] is %.9g, %.9g by the kernel", (long long)i,
                 i < count ? t->values[i] : 0, i < count ? (double)want[i] : 0);
    check(t && i == count, name, why);
}

static void compare_ids(const Tensors *out, const char *name, const int32_t *want, int64_t count)
{
    float as_f32[PAIRS];
    for (int64_t i = 0; i < count; i++)
        as_f32[i] = (float)want[i];
    compare(out, name, as_f32, count);
}

/* Past the last pair there is nothing that could be read unnoticed. */
static void check_unwritten(const Tensors *out, const char *name, int64_t from)
{
    const Tensor *t = find(out, name);
    bool fine = t;
    for (int64_t i = from; fine && i < (int64_t)ROWS * t->dims[3]; i++)
        fine = isnan(t->values[i]);
    check(fine, name, "has numbers past the last pair");
}

static void compare_all(const Tensors *out, const Results *r)
{
    int64_t used = r->starts[X];
    compare(out, "keep", r->keep, PAIRS);
    compare_ids(out, "order", r->order, used);
    compare_ids(out, "place", r->place, PAIRS);
    compare(out, "xs", r->xs, used * I);
    compare(out, "up", r->up, used * O);
    compare(out, "combined", r->combined, TOKENS * O);
    compare(out, "collected", r->collected, TOKENS * O);
    compare(out, "dup", r->dup, used * O);
    compare(out, "gates", r->gates, PAIRS);
    compare(out, "dxs", r->dxs, used * I);
    compare(out, "again", r->again, used * I);
    compare(out, "dw", r->dw, X * O * I);
    compare(out, "db", r->db, X * O);
    compare(out, "means", r->means, SEQUENCES * I);
    compare(out, "sums", r->sums, SEQUENCES * I);
    compare(out, "most", r->most, SEQUENCES * I);
    compare(out, "mean.spread", r->mean_spread, TOKENS * I);
    compare(out, "most.spread", r->most_spread, TOKENS * I);
    compare(out, "slopes", r->slopes, SEQUENCES);
    const Tensor *loss = find(out, "loss");
    check(loss && loss->values[0] == r->loss, "loss", "differs");
    check_unwritten(out, "xs", used * I);
    check_unwritten(out, "up", used * O);
    check_unwritten(out, "again", used * I);
}

static void test(Arena *arena, const Data *d)
{
    Diag *diag = diag_new(arena);
    Buf why = {0};
    const char *capacity = d->numerator ? arena_printf(arena, ", numerator=%ld, denominator=4",
                                                       d->numerator) : "";
    const char *source = arena_printf(arena, text, capacity);
    Module *m = module_parse(diag, arena, diag_source(diag, "test", source, strlen(source)));
    Tensors in = inputs_of(arena, d);
    Interpretation run = { .arithmetic = ARITHMETIC_F32, .in = &in };
    if (!m)
        diag_print(diag, stdout);
    bool fine = m && module_interpret(m, "forward", arena, &run, &why);
    check(fine, "interpretation", why.text ? why.text : "does not parse");
    buf_free(&why);
    long floats = matmul_workspace(ROWS, I, O);
    Results *r = arena_alloc(arena, sizeof *r);
    Thread me = { 0, 1, aligned_alloc(64, (size_t)(floats + 15) / 16 * 64), NULL };
    look_up(r->ps, d->p, d->tokens, X);
    look_up(r->rows, d->x, d->tokens, I);
    look_up(r->ds, d->d, d->tokens, O);
    run_experts(&me, d, r);
    run_pools(&me, d, r);
    free(me.workspace);
    if (fine)
        compare_all(&run.out, r);
}

int main(void)
{
    Arena *arena = arena_new();
    Data d = {
        .p = numbers(arena, V * X, 1), .x = numbers(arena, V * I, 2),
        .d = numbers(arena, V * O, 3), .s = numbers(arena, V, 4),
        .w = numbers(arena, X * O * I, 5), .bias = numbers(arena, X * O, 6),
        .lengths = { LENGTH, 0, 3, 1 },
    };
    for (int i = 0; i < TOKENS; i++)
        d.tokens[i] = i * 7 % V;
    for (d.numerator = 0; d.numerator < 8; d.numerator++)
        test(arena, &d);
    arena_free(arena);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
