/* verify_step.c: what must hold of a step: its loops divide what they cut,
 * names are given before they are used, and calls fit their functions. */
#include "verify.h"

typedef struct Known {
    const char *name;
    Type type;
    bool any; /* zeroed: of the type that is first asked for */
} Known;

typedef struct Walk {
    Check *c;
    const Step *step;
    List(Known) known;          /* names and types, in order of definition */
    int64_t groups, micros;     /* of the loops around; 0: not inside one */
    bool in_repeat, in_chunks, pooled;
    int stack;                  /* of the repeat */
    bool normed;
    List(const char *) records; /* written so far */
    List(const char *) left;    /* pending, of those records */
} Walk;

static Known *known(const Walk *w, const char *name)
{
    for (int i = 0; i < w->known.count; i++)
        if (!strcmp(w->known.at[i].name, name))
            return &w->known.at[i];
    return NULL;
}

static void give(Walk *w, const char *name, Type type)
{
    Known one = { name, type, false };
    list_push(w->c->scratch, &w->known, one);
}

/* ---- calls ---- */
static bool has_rows(const Module *m, const Type *type)
{
    for (int i = 0; i < type->rank; i++)
        if (m->dims.at[type->dims[i]].kind == DIM_ROWS)
            return true;
    return false;
}

/* Types that agree but for [R], which stands for [B,T], in pooled chunks for
 * [B]. */
static bool fits(const Walk *w, const Type *a, const Type *b)
{
    const Module *m = w->c->m;
    if (type_equal(a, b))
        return true;
    int x = type_rows(m, a), y = type_rows(m, b);
    /* [R] counts as both; outside of chunks it is either */
    bool pooled = (w->pooled || !w->in_chunks) && x / 8 == y / 8
        && (has_rows(m, a) || has_rows(m, b));
    return a->dtype == b->dtype && (x == y || pooled)
        && type_row_elements(m, a) == type_row_elements(m, b);
}

static bool verify_arguments(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    const Func *f = s->func;
    if (s->arguments.count != f->params.count)
        return check_fails(c, "%s takes %d arguments, not %d", f->name,
                           f->params.count, s->arguments.count);
    for (int i = 0; i < s->arguments.count; i++) {
        Known *argument = known(w, s->arguments.at[i]);
        const Value *param = f->params.at[i];
        if (!argument)
            return check_fails(c, "%s is used before anything gives it",
                               s->arguments.at[i]);
        if (argument->any)
            *argument = (Known){ argument->name, param->type, false };
        if (!fits(w, &argument->type, &param->type))
            return check_fails(c, "%s of %s is %s, and %s is %s", param->name,
                               f->name, check_type(c, &param->type),
                               argument->name, check_type(c, &argument->type));
    }
    return true;
}

static bool verify_results(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    const Func *f = s->func;
    if (s->results.count != f->results.count)
        return check_fails(c, "%s has %d results, not %d", f->name,
                           f->results.count, s->results.count);
    for (int i = 0; i < s->results.count; i++) {
        const Known *old = known(w, s->results.at[i]);
        const Type *type = &f->results.at[i]->type;
        if (!old)
            give(w, s->results.at[i], *type);
        else if (!fits(w, &old->type, type))
            return check_fails(c, "%s was %s, and %s gives %s", old->name,
                               check_type(c, &old->type), f->name,
                               check_type(c, type));
    }
    return true;
}

static bool is_left(const Walk *w, const char *record)
{
    for (int i = 0; i < w->left.count; i++)
        if (!strcmp(w->left.at[i], record))
            return true;
    return false;
}

/* A record is written before it is read. */
static bool verify_order(Walk *w, const Func *f)
{
    bool reads = f->saved.count && f->saved.at[0]->kind == VALUE_SAVED;
    bool written = false;
    for (int i = 0; reads && i < w->records.count; i++)
        written |= !strcmp(w->records.at[i], f->record);
    if (reads && !written)
        return check_fails(w->c,
                           "%s reads the record %s before anything writes it",
                           f->name, f->record);
    if (f->record && !reads)
        list_push(w->c->scratch, &w->records, f->record);
    if (func_is_weight_half(f) && !is_left(w, f->record))
        return check_fails(w->c, "%s takes what nothing has left before it",
                           f->name);
    if (f->pending.count && !func_is_weight_half(f))
        list_push(w->c->scratch, &w->left, f->record);
    return true;
}

static bool verify_call(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    if (!s->func || module_find_func(c->m, s->func->name) != s->func)
        return check_fails(c, "calls a function that the module has not");
    if (s->indexed != (s->func->stack >= 0))
        return check_fails(c,
                           s->indexed
                               ? "%s is of no block: it takes no [l]"
                               : "%s is of a block: it is called as %s[l]",
                           s->func->name, s->func->name);
    if (s->indexed && !w->in_repeat)
        return check_fails(c, "%s[l] stands outside a repeat", s->func->name);
    if (s->indexed && s->func->stack != w->stack)
        return check_fails(c, "%s[l] stands in another stack's repeat",
                           s->func->name);
    int64_t groups = w->groups ? w->groups : 1,
            micros = w->micros ? w->micros : 1;
    if (s->arguments.count
        && groups * micros * w->step->micro != w->step->batch)
        return check_fails(
            c, "batch %lld is not groups %lld · micros %lld · micro %lld",
            (long long)w->step->batch, (long long)groups, (long long)micros,
            (long long)w->step->micro);
    return verify_order(w, s->func) && verify_arguments(w, s)
        && verify_results(w, s);
}

/* ---- the update: update(p, g, first, second) -> p, first, second ---- */
static bool verify_update(Walk *w, const Func *f)
{
    static const char *const names[] = { "p", "g", "first", "second" };
    Check *c = w->c;
    if (!f || module_find_func(c->m, f->name) != f || f->stack >= 0)
        return check_fails(c, "update calls no function of the module");
    if (f->params.count < 2 || f->params.count > 4
        || f->results.count != f->params.count - 1)
        return check_fails(
            c, "%s takes p, g, perhaps first, second, and gives all but g",
            f->name);
    for (int i = 0; i < f->params.count; i++) {
        const Value *v = f->params.at[i];
        if (strcmp(v->name, names[i])
            || !type_equal(&v->type, &f->params.at[0]->type))
            return check_fails(c, "%s: parameter %d is %s, not %s", f->name,
                               i + 1, v->name, names[i]);
    }
    for (int i = 0; i < f->results.count; i++)
        if (!type_equal(&f->results.at[i]->type, &f->params.at[0]->type))
            return check_fails(c, "%s: result %d has not the type of p",
                               f->name, i + 1);
    const Type *p = &f->params.at[0]->type;
    if (p->dtype != DT_F32 || p->rank != 1
        || c->m->dims.at[p->dims[0]].kind != DIM_ROWS)
        return check_fails(c, "%s: p is f32 of one dim of rows", f->name);
    if (f->gradients.count || f->saved.count)
        return check_fails(c, "%s has gradients or a record", f->name);
    return w->normed || check_fails(c, "update stands before norm");
}

/* ---- statements ---- */
static bool verify_statements(Walk *w, const Stmt *const *statements,
                              int count);

static bool verify_body(Walk *w, const Stmt *s)
{
    return verify_statements(w, (const Stmt *const *)s->body.at, s->body.count);
}

static bool verify_repeat(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    const char *dim = s->stack >= 0 && s->stack < c->m->stacks.count
        ? c->m->stacks.at[s->stack].dim : "L";
    int blocks = module_find_dim(c->m, dim);
    int64_t size = blocks < 0 ? 0 : c->m->dims.at[blocks].size;
    if (blocks < 0 || c->m->dims.at[blocks].kind != DIM_MODEL || size > 1 << 20)
        return check_fails(c, "repeat wants the dim %s, at most 2^20", dim);
    if (s->from < 0 || s->to > size || s->from > (s->to ? s->to : size)
        || (s->from && !s->to))
        return check_fails(c, "repeat from %lld to %lld of %lld blocks",
                           (long long)s->from, (long long)s->to,
                           (long long)size);
    if (w->in_repeat || w->in_chunks)
        return check_fails(c, "repeat stands in a repeat or in chunks");
    w->in_repeat = true;
    w->stack = s->stack;
    bool fine = verify_body(w, s);
    w->in_repeat = false;
    return fine;
}

static bool verify_chunks(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    int64_t rows = w->step->micro * (s->pooled ? 1 : w->step->sequence);
    if (w->in_repeat || w->in_chunks)
        return check_fails(c, "chunks stand in a repeat or in chunks");
    bool covers = s->count >= 1 && s->chunk_rows >= 1 && s->count <= rows
               && (s->count - 1) <= (rows - 1) / s->chunk_rows
               && s->count >= (rows + s->chunk_rows - 1) / s->chunk_rows;
    if (s->last ? s->count != 1 : !covers)
        return check_fails(c, "%lld chunks of %lld rows do not cover %lld rows",
                           (long long)s->count, (long long)s->chunk_rows,
                           (long long)rows);
    w->in_chunks = true;
    w->pooled = s->pooled;
    bool fine = verify_body(w, s);
    w->in_chunks = w->pooled = false;
    return fine;
}

/* Groups and micro-batches: the outer loops, one of each at most. */
static bool verify_cut(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    int64_t *inside = s->kind == STEP_GROUPS ? &w->groups : &w->micros;
    const char *what = s->kind == STEP_GROUPS ? "groups" : "micros";
    if (w->micros || w->in_repeat || w->in_chunks || *inside)
        return check_fails(c, "%s stand in another loop", what);
    int64_t size = w->step->batch / (w->groups ? w->groups : 1);
    if (s->count < 1 || s->count > 1 << 20 || size % s->count)
        return check_fails(c, "%lld %s do not divide %lld sequences",
                           (long long)s->count, what, (long long)size);
    *inside = s->count;
    bool fine = verify_body(w, s);
    *inside = 0;
    return fine;
}

static bool verify_statement(Walk *w, const Stmt *s)
{
    Check *c = w->c;
    bool looped = w->groups || w->micros || w->in_repeat || w->in_chunks;
    switch (s->kind) {
    case STEP_CALL: return verify_call(w, s);
    case STEP_REPEAT: return verify_repeat(w, s);
    case STEP_CHUNKS: return verify_chunks(w, s);
    case STEP_GROUPS: case STEP_MICROS: return verify_cut(w, s);
    case STEP_ZERO:
        if (w->in_repeat || w->in_chunks || s->results.count != 1)
            return check_fails(c, "zero stands outside blocks and chunks");
        if (!known(w, s->results.at[0])) {
            give(w, s->results.at[0], (Type){0});
            w->known.at[w->known.count - 1].any = true;
        }
        return true;
    case STEP_COUNT: case STEP_SITES: case STEP_NORM: case STEP_UPDATE: break;
    }
    if (s->kind == STEP_COUNT
        && (!s->what || (strcmp(s->what, "targets") && strcmp(s->what, "labels")
                         && strcmp(s->what, "pairs"))))
        return check_fails(c, "count targets, labels or pairs");
    if (looped)
        return check_fails(c,
                           "count, sites, norm and update stand outside loops");
    if (s->kind == STEP_UPDATE)
        return verify_update(w, s->func);
    w->normed |= s->kind == STEP_NORM;
    return true;
}

static bool verify_statements(Walk *w, const Stmt *const *statements, int count)
{
    for (int i = 0; i < count; i++)
        if (!statements[i] || !verify_statement(w, statements[i]))
            return false;
    return true;
}

static int dim_of_kind(const Module *m, DimKind kind)
{
    for (int i = 0; i < m->dims.count; i++)
        if (m->dims.at[i].kind == kind)
            return i;
    return -1;
}

bool verify_step(Check *c, const Step *step)
{
    Walk w = { .c = c, .step = step };
    c->where = arena_printf(c->scratch, "step %s", step->name);
    if (module_find_step(c->m, step->name) != step)
        return check_fails(c, "defined twice");
    const int64_t most = 1 << 30;
    if (step->batch < 1 || step->sequence < 1 || step->micro < 1
        || step->batch > most || step->sequence > most
        || step->micro > step->batch)
        return check_fails(
            c, "batch, sequence and micro are at least 1, micro at most batch");
    int rows[2] = { dim_of_kind(c->m, DIM_BATCH),
                    dim_of_kind(c->m, DIM_SEQUENCE) };
    if (rows[0] < 0 || rows[1] < 0)
        return check_fails(c, "the module has no dims of batch and sequence");
    Type type;
    for (int i = 0; given_names[i]; i++)
        if (given_type(c->m, given_names[i], &type))
            give(&w, given_names[i], type);
    for (int i = 0; i < STEP_TOTALS; i++)
        give(&w, step_totals[i], type_of(DT_F64, 0, NULL));
    return verify_stages(c, step)
        && verify_statements(&w, (const Stmt *const *)step->body.at,
                             step->body.count);
}
