/* small.c: the small functions that steps call. They stand in the emitted
 * program, since what they do is of no use to another: each is written when a
 * step first wants it. */
#include "steps.h"

ProgFunc *small_func(const Prog *p, const char *name)
{
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind == PI_FUNC
            && !strcmp(p->items.at[i].func->name, name))
            return p->items.at[i].func;
    return NULL;
}

/* long count_scored(const int *targets, long n) */
ProgFunc *count_scored_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "count_scored");
    if (f)
        return f;
    f = prog_func(p, "count_scored",
                  "Positions with a target: those that are not negative.",
                  prog_i64());
    ProgVar *targets = prog_param(p, f, "targets", prog_pointer(PK_I32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *count = prog_local(p, f, "count", prog_i64());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ps_let(p, &f->body, count, px_int(p, 0));
    ProgBlock *b = ps_for(p, &f->body, i, px_int(p, 0), px_var(p, n),
                          px_int(p, 1));
    ProgExpr *target = px_load(p, px_var(p, targets), px_var(p, i));
    ProgExpr *scored = px_le(p, px_i32(p, 0), target);
    ps_set(p, b, count, px_add(p, px_var(p, count), scored));
    ps_return(p, &f->body, px_var(p, count));
    prog_define(p, f);
    return f;
}

/* long count_pairs(const int *targets, long n, long each) */
ProgFunc *count_pairs_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "count_pairs");
    if (f)
        return f;
    f = prog_func(
        p, "count_pairs",
        "Runs of `each` positions, two sequences', of which one has a target.",
        prog_i64());
    ProgVar *targets = prog_param(p, f, "targets", prog_pointer(PK_I32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *each = prog_param(p, f, "each", prog_i64());
    ProgVar *count = prog_local(p, f, "count", prog_i64());
    ProgVar *any = prog_local(p, f, "any", prog_i32());
    ProgVar *pair = prog_local(p, f, "pair", prog_i64());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ps_let(p, &f->body, count, px_int(p, 0));
    ProgBlock *b =
        ps_for(p, &f->body, pair, px_int(p, 0), px_var(p, n), px_var(p, each));
    ps_let(p, b, any, px_i32(p, 0));
    ProgBlock *inner =
        ps_for(p, b, i, px_int(p, 0), px_var(p, each), px_int(p, 1));
    ProgExpr *at = px_add(p, px_var(p, pair), px_var(p, i));
    ProgExpr *scored =
        px_le(p, px_i32(p, 0), px_load(p, px_var(p, targets), at));
    ps_set(p, inner, any, px_or(p, px_var(p, any), scored));
    ps_set(p, b, count, px_add(p, px_var(p, count), px_var(p, any)));
    ps_return(p, &f->body, px_var(p, count));
    prog_define(p, f);
    return f;
}

/* This thread's share of n / 16 blocks begins or ends at this element. */
ProgVar *small_share(Prog *p, ProgFunc *f, const char *name, ProgVar *me,
                     ProgVar *n)
{
    const ProgFunc *bound = prog_library(p, arena_printf(p->arena, "share_%s",
                                                         name));
    ProgVar *local = prog_local(p, f, name, prog_i64());
    ProgExpr *blocks = px_div(p, px_var(p, n), px_int(p, 16));
    ProgExpr *block = px_callv(p, bound, px_var(p, me), blocks, NULL);
    ps_let(p, &f->body, local, px_mul(p, px_int(p, 16), block));
    return local;
}

/* void add_into(const Thread *me, float *sum, const float *other, long n) */
ProgFunc *add_into_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "add_into");
    if (f)
        return f;
    f = prog_func(p, "add_into", "sum[i] += other[i], i < n, a multiple of 16.",
                  prog_void());
    const ProgRecord *thread = prog_runtime_record(p, "Thread");
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(thread, true));
    ProgVar *sum = prog_param(p, f, "sum", prog_pointer(PK_F32, false));
    ProgVar *other = prog_param(p, f, "other", prog_pointer(PK_F32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *start = small_share(p, f, "start", me, n);
    ProgVar *end = small_share(p, f, "end", me, n);
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *b = ps_for(p, &f->body, i, px_var(p, start), px_var(p, end),
                          px_int(p, 16));
    const ProgFunc *load = prog_library(p, "load16");
    ProgExpr *to = px_offset(p, px_var(p, sum), px_var(p, i));
    ProgExpr *from = px_offset(p, px_var(p, other), px_var(p, i));
    ProgExpr *both = px_add(p, px_callv(p, load, to, NULL),
                            px_callv(p, load, from, NULL));
    ps_do(p, b, px_callv(p, prog_library(p, "store16"), to, both, NULL));
    prog_define(p, f);
    return f;
}

/* void clear(const Thread *me, float *values, long n) */
ProgFunc *clear_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "clear");
    if (f)
        return f;
    f = prog_func(p, "clear", "values[i] = 0, i < n, a multiple of 16.",
                  prog_void());
    const ProgRecord *thread = prog_runtime_record(p, "Thread");
    ProgVar *me = prog_param(p, f, "me", prog_pointer_to(thread, true));
    ProgVar *values = prog_param(p, f, "values", prog_pointer(PK_F32, false));
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *start = small_share(p, f, "start", me, n);
    ProgVar *end = small_share(p, f, "end", me, n);
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ProgBlock *b = ps_for(p, &f->body, i, px_var(p, start), px_var(p, end),
                          px_int(p, 16));
    ProgExpr *none = px_callv(p, prog_library(p, "splat"), px_f32(p, 0), NULL);
    ProgExpr *to = px_offset(p, px_var(p, values), px_var(p, i));
    ps_do(p, b, px_callv(p, prog_library(p, "store16"), to, none, NULL));
    prog_define(p, f);
    return f;
}

/* long ones(long n, int trailing) */
ProgFunc *ones_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "ones");
    if (f)
        return f;
    f = prog_func(p, "ones", "Bits of n that are 1; `trailing`: only those "
                  "below the lowest 0.", prog_i64());
    ProgVar *n = prog_param(p, f, "n", prog_i64());
    ProgVar *trailing = prog_param(p, f, "trailing", prog_i32());
    ProgVar *rest = prog_local(p, f, "rest", prog_i64());
    ProgVar *count = prog_local(p, f, "count", prog_i64());
    ProgVar *bit = prog_local(p, f, "bit", prog_i64());
    ps_let(p, &f->body, rest, px_var(p, n));
    ps_let(p, &f->body, count, px_int(p, 0));
    ProgBlock *b = ps_for(p, &f->body, bit, px_int(p, 0), px_int(p, 62),
                          px_int(p, 1));
    ProgExpr *odd = px_rem(p, px_var(p, rest), px_int(p, 2));
    ProgExpr *zero = px_eq(p, odd, px_int(p, 0));
    ProgBlock *stop = ps_if(p, b, px_and(p, px_var(p, trailing), zero), NULL);
    ps_return(p, stop, px_var(p, count));
    ps_set(p, b, count, px_add(p, px_var(p, count), odd));
    ps_set(p, b, rest, px_div(p, px_var(p, rest), px_int(p, 2)));
    ps_return(p, &f->body, px_var(p, count));
    prog_define(p, f);
    return f;
}

ProgFunc *chunk_position_func(Lower *l)
{
    Prog *p = l->p;
    ProgFunc *f = small_func(p, "chunk_position");
    if (f)
        return f;
    int64_t last = 2 * l->m->mesh.context - 1;
    f = prog_func(p, "chunk_position", "Where token t of this rank stands in "
                  "its sequence: of two chunks one is early, one late.",
                  prog_i64());
    f->inlined = true;
    ProgVar *at = prog_param(p, f, "at", prog_pointer_to(l->call, true));
    ProgVar *t = prog_param(p, f, "t", prog_i64());
    ProgVar *half = prog_local(p, f, "half", prog_i64());
    ProgVar *chunk = prog_local(p, f, "chunk", prog_i64());
    ps_let(p, &f->body, half, px_div(p, px_field(p, px_var(p, at), "sequence"),
                                     px_int(p, 2)));
    ps_let(p, &f->body, chunk,
           px_field(p, px_field(p, px_var(p, at), "control"), "chunk"));
    ProgExpr *early = px_add(p, px_mul(p, px_var(p, chunk), px_var(p, half)),
                             px_var(p, t));
    ProgExpr *behind = px_sub(p, px_int(p, last), px_var(p, chunk));
    ProgExpr *late = px_add(p, px_mul(p, behind, px_var(p, half)),
                            px_sub(p, px_var(p, t), px_var(p, half)));
    ps_return(p, &f->body, px_select(p, px_lt(p, px_var(p, t),
                                              px_var(p, half)), early, late));
    prog_define(p, f);
    return f;
}
