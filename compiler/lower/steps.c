/* steps.c: a step becomes a function that every thread runs once a call:
 * void train(const Thread *me, Control *control). Loops over groups, micro-batches,
 * blocks and chunks are loops here; a call gets the addresses of what it reads and
 * leaves from the step's map. */
#include "lowering.h"

typedef struct Steps {
    Lower *l;
    Prog *p;
    const StepMap *map;
    ProgFunc *func;
    ProgVar *me, *control, *shared, *w, *dshared, *dsecond, *dw, *at, *head;
    ProgVar *values, *gradients, *loss, *count, *micro, *group, *block, *chunk,
        *first;
    ProgVar *norm, *applied, *clip_scale, *loss_value;
    ProgVar *moments[2], *block_moments[2];     /* in the update */
    const char *mask;               /* frozen_blocks of the update's open `if`, */
    ProgBlock *masked;              /* and its body */
    bool down;                      /* in the loop over blocks, from the last */
} Steps;

static ProgExpr *var(Steps *s, const ProgVar *v) { return px_var(s->p, v); }
static ProgExpr *num(Steps *s, int64_t n) { return px_int(s->p, n); }

static ProgExpr *control_field(Steps *s, const char *name)
{
    return px_field(s->p, var(s, s->control), name);
}

/* values + region */
static ProgExpr *region(Steps *s, const char *name)
{
    region_at(s->map, name);        /* which there must be */
    return px_offset(s->p, var(s, s->values),
                     px_const(s->p, find_region(s->map, name)->constant));
}

static ProgVar *let(Steps *s, ProgBlock *b, const char *name, ProgExpr *value)
{
    ProgVar *v = prog_local(s->p, s->func, name, value->type);
    ps_let(s->p, b, v, value);
    return v;
}

static void call(Steps *s, ProgBlock *b, const ProgFunc *f,
                 ProgExpr *const *args, int count)
{
    ps_do(s->p, b, px_call(s->p, f, count, args));
}

static void barrier_here(Steps *s, ProgBlock *b)
{
    call(s, b, prog_library(s->p, "barrier"), (ProgExpr *[]){ var(s, s->me) },
         1);
}

/* ---- small functions that steps share ---- */
static ProgFunc *find_func(Lower *l, const char *name)
{
    for (int i = 0; i < l->p->items.count; i++)
        if (l->p->items.at[i].kind == PI_FUNC
            && !strcmp(l->p->items.at[i].func->name, name))
            return l->p->items.at[i].func;
    return NULL;
}

/* long count_scored(const int *targets, long n): how many are not negative. */
static ProgFunc *count_scored(Lower *l)
{
    ProgFunc *f = find_func(l, "count_scored");
    if (f)
        return f;
    Prog *p = l->p;
    f = prog_func(p, "count_scored",
                  "Positions with a target: those that are not negative.",
                  prog_i64());
    ProgVar *targets = prog_param(p, f, "targets", prog_pointer(PK_I32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64()),
            *count = prog_local(p, f, "count", prog_i64());
    ProgVar *i = prog_local(p, f, "i", prog_i64());
    ps_let(p, &f->body, count, px_int(p, 0));
    ProgBlock *b =
        ps_for(p, &f->body, i, px_int(p, 0), px_var(p, n), px_int(p, 1));
    ProgExpr *scored =
        px_le(p, px_i32(p, 0), px_load(p, px_var(p, targets), px_var(p, i)));
    ps_set(p, b, count, px_add(p, px_var(p, count), scored));
    ps_return(p, &f->body, px_var(p, count));
    prog_define(p, f);
    return f;
}

/* void add_into(me, float *sum, const float *other, long n), threads share elements. */
static ProgFunc *add_into(Lower *l)
{
    ProgFunc *f = find_func(l, "add_into");
    if (f)
        return f;
    Prog *p = l->p;
    f = prog_func(p, "add_into", "sum[i] += other[i], i < n, a multiple of 16.",
                  prog_void());
    ProgVar *me =
        prog_param(p, f, "me",
                   prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    ProgVar *sum = prog_param(p, f, "sum", prog_pointer(PK_F32, false));
    ProgVar *other = prog_param(p, f, "other", prog_pointer(PK_F32, true));
    ProgVar *n = prog_param(p, f, "n", prog_i64()),
            *i = prog_local(p, f, "i", prog_i64());
    ProgExpr *blocks = px_div(p, px_var(p, n), px_int(p, 16));
    ProgExpr *from = px_callv(p, prog_library(p, "share_start"), px_var(p, me),
                              blocks, NULL);
    ProgExpr *to =
        px_callv(p, prog_library(p, "share_end"), px_var(p, me), blocks, NULL);
    ProgBlock *b = ps_for(p, &f->body, i, px_mul(p, px_int(p, 16), from),
                          px_mul(p, px_int(p, 16), to), px_int(p, 16));
    ProgExpr *a = px_offset(p, px_var(p, sum), px_var(p, i));
    ProgExpr *x = px_callv(p, prog_library(p, "load16"), a, NULL);
    ProgExpr *y = px_callv(p, prog_library(p, "load16"),
                           px_offset(p, px_var(p, other), px_var(p, i)), NULL);
    ps_do(p, b,
          px_callv(p, prog_library(p, "store16"), a, px_add(p, x, y), NULL));
    prog_define(p, f);
    return f;
}

/* long ones(long n, int trailing): bits of n that are 1; or those before the first 0. */
static ProgFunc *ones(Lower *l)
{
    ProgFunc *f = find_func(l, "ones");
    if (f)
        return f;
    Prog *p = l->p;
    f = prog_func(
        p, "ones",
        "Bits of n that are 1; `trailing`: only those below the lowest 0.",
        prog_i64());
    ProgVar *n = prog_param(p, f, "n", prog_i64()),
            *trailing = prog_param(p, f, "trailing", prog_i32());
    ProgVar *rest = prog_local(p, f, "rest", prog_i64()),
            *count = prog_local(p, f, "count", prog_i64());
    ProgVar *bit = prog_local(p, f, "bit", prog_i64());
    ps_let(p, &f->body, rest, px_var(p, n));
    ps_let(p, &f->body, count, px_int(p, 0));
    ProgBlock *b =
        ps_for(p, &f->body, bit, px_int(p, 0), px_int(p, 62), px_int(p, 1));
    ProgExpr *odd = px_rem(p, px_var(p, rest), px_int(p, 2));
    ProgExpr *stop =
        px_and(p, px_var(p, trailing), px_eq(p, odd, px_int(p, 0)));
    ps_return(p, ps_if(p, b, stop, NULL), px_var(p, count));
    ps_set(p, b, count, px_add(p, px_var(p, count), odd));
    ps_set(p, b, rest, px_div(p, px_var(p, rest), px_int(p, 2)));
    ps_return(p, &f->body, px_var(p, count));
    prog_define(p, f);
    return f;
}

/* ---- records: where parameters and gradients lie ---- */
static ProgVar *record_local(Steps *s, ProgBlock *b, const char *name,
                             const ProgRecord *record)
{
    ProgVar *v = prog_local(s->p, s->func, name, prog_record_type(record));
    ps_let(s->p, b, v, NULL);
    return v;
}

static void point(Steps *s, ProgBlock *b, const ProgFunc *f, ProgVar *record,
                  ProgExpr *base)
{
    call(s, b, f, (ProgExpr *[]){ px_address(s->p, var(s, record)), base }, 2);
}

static ProgExpr *nth(Steps *s, int64_t at, const ProgVar *index, int64_t each)
{
    return px_add(s->p, num(s, at), px_mul(s->p, var(s, index), num(s, each)));
}

/* From the start of gradients or a moment to this block's. */
static ProgExpr *gradient_block(Steps *s)
{
    ProgExpr *own = px_mul(s->p, var(s, s->block),
                           px_const(s->p, s->l->gradient_block_const));
    return px_add(s->p, px_const(s->p, s->l->gradient_blocks_const), own);
}

static void point_at_block(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    ProgExpr *own =
        px_mul(s->p, var(s, s->block), px_const(s->p, l->block_const));
    ProgExpr *at = px_add(s->p, px_const(s->p, l->blocks_const), own);
    point(s, b, l->block_weights, s->w,
          px_offset(s->p, control_field(s, "weights"), at));
    if (s->dw)
        point(s, b, l->block_sums, s->dw,
              px_offset(s->p, var(s, s->gradients), gradient_block(s)));
}

static bool has_gradients(const Steps *s)
{
    return find_region(s->map, "gradients") != NULL;
}

static void set_at(Steps *s, ProgBlock *b, ProgVar *at, const char *field,
                   ProgExpr *value)
{
    ps_field_set(s->p, b, var(s, at), field, value);
}

static bool is_generate(const Steps *s)
{
    return !strcmp(s->map->step->name, "generate");
}

static bool flexible(const Steps *s)
{
    return is_generate(s) || !strcmp(s->map->step->name, "forward");
}

static void open_step(Steps *s)
{
    Prog *p = s->p;
    ProgBlock *b = &s->func->body;
    s->values = let(s, b, "values", control_field(s, "values"));
    s->shared = record_local(s, b, "shared", s->l->shared);
    point(s, b, s->l->shared_weights, s->shared, control_field(s, "weights"));
    s->w = record_local(s, b, "w", s->l->block);
    if (has_gradients(s)) {
        s->dshared = record_local(s, b, "dshared", s->l->shared);
        s->dsecond = record_local(s, b, "dsecond", s->l->shared);
        s->dw = record_local(s, b, "dw", s->l->block);
    }
    s->at = record_local(s, b, "at", s->l->call);
    ProgExpr *sequence = flexible(s) ? control_field(s, "sequence")
                                     : num(s, s->map->step->sequence);
    set_at(s, b, s->at, "control", var(s, s->control));
    set_at(s, b, s->at, "batch", num(s, s->map->step->micro));
    set_at(s, b, s->at, "sequence", sequence);
    set_at(s, b, s->at, "rows",
           px_mul(p, num(s, s->map->step->micro), sequence));
    set_at(s, b, s->at, "stride", num(s, s->map->stride));
    if (is_generate(s))
        set_at(s, b, s->at, "position", control_field(s, "position"));
    if (!flexible(s))
        s->loss =
            let(s, b, "loss",
                px_cast(p, prog_pointer(PK_F64, false), region(s, "loss")));
}

static void count_targets(Steps *s, ProgBlock *b)
{
    int64_t ids = s->map->step->batch * s->map->step->sequence;
    ProgExpr *args[] = { control_field(s, "targets"), num(s, ids) };
    s->count = let(s, b, "count", px_call(s->p, count_scored(s->l), 2, args));
}

/* The scored positions, and 1 / their number for the functions. */
static void count(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    count_targets(s, b);
    ProgExpr *some = px_select(p, px_lt(p, num(s, 0), var(s, s->count)),
                               var(s, s->count), num(s, 1));
    set_at(s, b, s->at, "inv_count",
           px_div(p, px_f32(p, 1), px_cast(p, prog_f32(), some)));
}

/* ---- calls ---- */
/* A slot of a region whose slots hold what flows from block to block: [rows, C]. */
static ProgExpr *slot_of(Steps *s, const char *name, ProgExpr *slot)
{
    ProgExpr *width = dim_size(s->l, module_find_dim(s->l->m, "C"));
    if (slot->kind == PE_INT && slot->integer == 0)
        return region(s, name);
    ProgExpr *rows = px_mul(s->p, slot, num(s, s->map->stride));
    return px_offset(s->p, region(s, name), px_mul(s->p, rows, width));
}

/* The input of block l: slot l of all, or of two in turn. */
static ProgExpr *stream(Steps *s, ProgExpr *l)
{
    bool literal = l->kind == PE_INT;
    if (!s->map->keeps_stream && !literal)
        l = px_rem(s->p, l, num(s, 2));
    return slot_of(s, "stream", l);
}

static int64_t block_count(const Steps *s)
{
    return s->l->m->dims.at[module_find_dim(s->l->m, "L")].size;
}

static ProgExpr *blocks(Steps *s)
{
    return px_const(s->p, s->l->dims[module_find_dim(s->l->m, "L")]);
}

/* dx after `done` blocks of backward lies in slot done % 2. */
static ProgExpr *dx(Steps *s, ProgExpr *done)
{
    bool literal = done->kind == PE_INT;
    return slot_of(s, "dx", literal ? done : px_rem(s->p, done, num(s, 2)));
}

/* Blocks whose backward has run before this call, or after it. */
static ProgExpr *blocks_before(Steps *s)
{
    if (!s->down)
        return blocks(s);
    ProgExpr *last = px_sub(s->p, blocks(s), num(s, 1));
    return px_sub(s->p, last, var(s, s->block));
}

static ProgExpr *blocks_after(Steps *s)
{
    return px_sub(s->p, blocks(s), var(s, s->block));
}

/* Rows before this chunk. */
static ProgExpr *chunk_row(Steps *s)
{
    return px_mul(s->p, var(s, s->chunk), num(s, s->map->chunk_rows));
}

static ProgExpr *rows_on(Steps *s, ProgExpr *from, const char *dim)
{
    if (!s->chunk)
        return from;
    int found = module_find_dim(s->l->m, dim);
    return px_offset(s->p, from,
                     px_mul(s->p, chunk_row(s), dim_size(s->l, found)));
}

static ProgExpr *ids(Steps *s, const char *name)
{
    ProgExpr *from = control_field(s, name);
    if (s->first) {
        ProgExpr *skip = var(s, s->first);
        if (strcmp(name, "lengths") != 0)
            skip = px_mul(s->p, skip, num(s, s->map->step->sequence));
        from = px_offset(s->p, from, skip);
    }
    return s->chunk && !strcmp(name, "targets")
        ? px_offset(s->p, from, chunk_row(s))
        : from;
}

/* x where a call reads it: a block's input, or the last one's result. */
static ProgExpr *stream_in(Steps *s, const Func *f)
{
    if (f->per_block)
        return stream(s, var(s, s->block));
    ProgExpr *x = stream(s, blocks(s));
    if (is_generate(s)) {
        ProgExpr *last =
            px_sub(s->p, px_field(s->p, var(s, s->at), "rows"), num(s, 1));
        return px_offset(s->p, x,
                         px_mul(s->p, last,
                                dim_size(s->l, module_find_dim(s->l->m, "C"))));
    }
    return rows_on(s, x, "C");
}

static ProgExpr *argument(Steps *s, const Func *f, const char *name)
{
    if (!strcmp(name, "x"))
        return stream_in(s, f);
    if (!strcmp(name, "dx"))
        return dx(s, blocks_before(s));
    if (!strcmp(name, "loss")) {
        ProgExpr *level = s->group
            ? px_callv(s->p, ones(s->l), var(s, s->group), px_i32(s->p, 0),
                       NULL)
            : num(s, 0);
        return px_offset(s->p, var(s, s->loss), level);
    }
    return ids(s, name);
}

static ProgExpr *result(Steps *s, const Func *f, const char *name)
{
    if (!strcmp(name, "x"))
        return stream(s,
                      f->per_block ? px_add(s->p, var(s, s->block), num(s, 1))
                                   : num(s, 0));
    if (!strcmp(name, "dx"))
        return f->per_block ? dx(s, blocks_after(s))
                            : rows_on(s, dx(s, num(s, 0)), "C");
    if (!strcmp(name, "norm"))
        return rows_on(s, region(s, "norm"), "C");
    ProgExpr *logits = region(s, "logits");
    if (!s->first)
        return rows_on(s, logits, "V");
    ProgExpr *vocab = dim_size(s->l, module_find_dim(s->l->m, "V"));
    ProgExpr *rows =
        px_mul(s->p, var(s, s->first), num(s, s->map->step->sequence));
    return rows_on(s, px_offset(s->p, logits, px_mul(s->p, rows, vocab)), "V");
}

/* The record of this call: a block's slot, or the embedding's. */
static ProgExpr *record_at(Steps *s, const Func *f)
{
    if (!f->per_block)
        return region(s, "embed_record");
    ProgExpr *from = region(s, "records");
    if (!s->map->keeps_stream)
        return from;
    return px_offset(s->p, from,
                     px_mul(s->p, var(s, s->block),
                            num(s, f->record_floats * s->map->stride)));
}

static ProgExpr *cache_at(Steps *s)
{
    int64_t each = find_region(s->map, "cache")->floats / block_count(s);
    return px_offset(s->p, region(s, "cache"),
                     px_mul(s->p, var(s, s->block), num(s, each)));
}

static ProgExpr *address(Steps *s, ProgVar *record)
{
    return px_address(s->p, var(s, record));
}

static bool second_use(const Func *f)
{
    for (int i = 0; i < f->gradients.count; i++)
        if (f->gradients.at[i].site == 1)
            return true;
    return false;
}

static void call_func(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    const Func *f = stmt->func;
    const FuncCode *code = find_code(s->l, f);
    List(ProgExpr *) args = {0};
    Arena *a = s->l->arena;
    if (has_gradients(s) && !strcmp(f->name, "embed.forward"))
        ps_comment(s->p, b, "forward");
    if (has_gradients(s) && !strcmp(f->name, "head.step") && !s->chunk)
        ps_comment(s->p, b, "the head: the loss, and its gradient");
    s->p->here = stmt->origin.model;
    list_push(a, &args, var(s, s->me));
    list_push(a, &args, address(s, s->head ? s->head : s->at));
    for (int i = 0; i < f->results.count; i++)
        if (value_root(f->results.at[i])->kind != VALUE_PARAM)
            list_push(a, &args, result(s, f, stmt->results.at[i]));
    for (int i = 0; i < f->params.count; i++)
        list_push(a, &args, argument(s, f, stmt->arguments.at[i]));
    for (int i = 0; i < code->saved_params.count; i++)
        list_push(a, &args,
                  stream(s, f->per_block ? var(s, s->block) : num(s, 0)));
    if (code->uses_saved)
        list_push(a, &args, record_at(s, f));
    if (code->uses_frame)
        list_push(a, &args, region(s, "frame"));
    if (code->uses_cache)
        list_push(a, &args, cache_at(s));
    if (code->uses_shared)
        list_push(a, &args, address(s, s->shared));
    if (code->uses_block)
        list_push(a, &args, address(s, s->w));
    if (code->sums_shared)
        list_push(a, &args,
                  address(s, second_use(f) ? s->dsecond : s->dshared));
    if (code->sums_block)
        list_push(a, &args, address(s, s->dw));
    call(s, b, code->code, args.at, args.count);
    s->p->here = (Loc){0};
}

/* ---- statements ---- */
static void lower_stmt(Steps *s, ProgBlock *b, const Stmt *stmt);

static void lower_body(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    for (int i = 0; i < stmt->body.count; i++)
        lower_stmt(s, b, stmt->body.at[i]);
}

static void repeat(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    if (stmt->down)
        ps_comment(s->p, b, "backward");
    s->block = prog_local(s->p, s->func, "l", prog_i64());
    s->down = stmt->down;
    ProgBlock *body = stmt->down
        ? ps_for_down(s->p, b, s->block, num(s, 0), blocks(s))
        : ps_for(s->p, b, s->block, num(s, 0), blocks(s), num(s, 1));
    set_at(s, body, s->at, "block", var(s, s->block));
    point_at_block(s, body);
    lower_body(s, body, stmt);
    s->block = NULL;
    s->down = false;
}

/* The head's own Call, of its rows alone. */
static void open_head(Steps *s, ProgBlock *b)
{
    s->head = record_local(s, b, "rows_at", s->l->call);
    set_at(s, b, s->head, "control", var(s, s->control));
    if (s->count)
        set_at(s, b, s->head, "inv_count",
               px_field(s->p, var(s, s->at), "inv_count"));
    set_at(s, b, s->head, "stride", num(s, s->map->chunk_stride));
}

/* The head on all rows in one go, or on the last row alone. */
static void one_chunk(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    if (stmt->last) {
        open_head(s, b);
        set_at(s, b, s->head, "rows", num(s, 1));
    }
    lower_body(s, b, stmt);
    s->head = NULL;
}

/* Rows of the head at a time; the last chunk may have fewer. */
static void chunks(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    if (stmt->count == 1) {
        one_chunk(s, b, stmt);
        return;
    }
    if (has_gradients(s))
        ps_comment(
            p, b,
            "the head, a chunk of rows at a time: the loss, and its gradient");
    open_head(s, b);
    s->chunk = prog_local(p, s->func, "chunk", prog_i64());
    ProgBlock *body =
        ps_for(p, b, s->chunk, num(s, 0), num(s, stmt->count), num(s, 1));
    ProgExpr *most = num(s, stmt->chunk_rows);
    ProgExpr *after =
        px_sub(p, px_field(p, var(s, s->at), "rows"), chunk_row(s));
    ProgVar *left = let(s, body, "left", after);
    if (flexible(s))
        body = ps_if(p, body, px_lt(p, num(s, 0), var(s, left)), NULL);
    set_at(s, body, s->head, "rows",
           px_select(p, px_lt(p, var(s, left), most), var(s, left), most));
    ProgExpr *later = px_lt(p, num(s, 0), var(s, s->chunk));
    if (s->micro)
        later = px_or(p, px_lt(p, num(s, 0), var(s, s->micro)), later);
    set_at(s, body, s->head, "accumulate", later);
    lower_body(s, body, stmt);
    s->chunk = s->head = NULL;
}

/* The first sequence of micro-batch `run` of the batch. */
static void set_first(Steps *s, ProgBlock *b, ProgExpr *run)
{
    s->first =
        let(s, b, "first", px_mul(s->p, run, num(s, s->map->step->micro)));
    set_at(s, b, s->at, "first", var(s, s->first));
}

static void micros(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    if (stmt->count == 1) {
        if (s->group)
            set_first(s, b, var(s, s->group));
        lower_body(s, b, stmt);
        s->first = NULL;
        return;
    }
    s->micro = prog_local(p, s->func, "micro", prog_i64());
    b = ps_for(p, b, s->micro, num(s, 0), num(s, stmt->count), num(s, 1));
    ProgExpr *run = var(s, s->micro);
    if (s->group)
        run = px_add(p, px_mul(p, var(s, s->group), num(s, stmt->count)), run);
    set_first(s, b, run);
    set_at(s, b, s->at, "accumulate", px_lt(p, num(s, 0), var(s, s->micro)));
    lower_body(s, b, stmt);
    s->micro = s->first = NULL;
}

static void point_at_gradients(Steps *s, ProgBlock *b)
{
    point(s, b, s->l->shared_sums, s->dshared, var(s, s->gradients));
    point(s, b, s->l->shared_second, s->dsecond, var(s, s->gradients));
}

/* Sums of finished groups wait in levels, one for every 1 in the number of groups
 * done; a group that ends a pair is added to its elder, and so on: the fixed tree. */
static void merge_groups(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ps_comment(
        p, b,
        "groups are summed by a tree: one that ends a pair joins its elder");
    ProgExpr *group = var(s, s->group);
    ProgVar *pairs =
        let(s, b, "pairs", px_callv(p, ones(s->l), group, px_i32(p, 1), NULL));
    ProgVar *pair = prog_local(p, s->func, "pair", prog_i64());
    ProgBlock *body = ps_for(p, b, pair, num(s, 0), var(s, pairs), num(s, 1));
    ProgExpr *own =
        px_sub(p, px_callv(p, ones(s->l), group, px_i32(p, 0), NULL),
               var(s, pair));
    ProgVar *level = let(s, body, "level", own);
    ProgExpr *elder = px_sub(p, var(s, level), num(s, 1));
    ProgExpr *all = region(s, "gradients"),
             *each = px_const(p, s->l->gradients_const);
    ProgExpr *args[] = {
        var(s, s->me), px_offset(p, all, px_mul(p, elder, each)),
        px_offset(p, all, px_mul(p, var(s, level), each)), each,
    };
    call(s, body, add_into(s->l), args, 4);
    ProgExpr *first =
        px_eq(p, px_field(p, var(s, s->me), "index"), px_i32(p, 0));
    ProgExpr *loss = var(s, s->loss);
    ps_store(p, ps_if(p, body, first, NULL), loss, elder,
             px_add(p, px_load(p, loss, elder),
                    px_load(p, loss, var(s, level))));
    barrier_here(s, b);
}

static void groups(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    if (stmt->count == 1) {
        s->gradients = let(s, b, "gradients", region(s, "gradients"));
        point_at_gradients(s, b);
        lower_body(s, b, stmt);
        return;
    }
    s->group = prog_local(p, s->func, "group", prog_i64());
    ProgBlock *body =
        ps_for(p, b, s->group, num(s, 0), num(s, stmt->count), num(s, 1));
    ProgExpr *level =
        px_callv(p, ones(s->l), var(s, s->group), px_i32(p, 0), NULL);
    ProgExpr *skip = px_mul(p, level, px_const(p, s->l->gradients_const));
    s->gradients =
        let(s, body, "gradients", px_offset(p, region(s, "gradients"), skip));
    point_at_gradients(s, body);
    lower_body(s, body, stmt);
    merge_groups(s, body);
    s->group = NULL;
    s->gradients = let(s, b, "gradients", region(s, "gradients"));
    point_at_gradients(s, b);
}

static int64_t padded(const Steps *s, const Weight *w)
{
    return (type_elements(s->l->m, &w->type) + 15) / 16 * 16;
}

static void sites(Steps *s, ProgBlock *b)
{
    ps_comment(s->p, b, "what is used twice: the sums of both uses");
    for (int i = 0; i < s->l->m->weights.count; i++) {
        const Weight *w = &s->l->m->weights.at[i];
        if (s->l->second_at[i] < 0)
            continue;
        s->p->here = w->origin.model;
        const char *name = c_name(s->l, w->name);
        ProgExpr *args[] = {
            var(s, s->me), px_field(s->p, var(s, s->dshared), name),
            px_field(s->p, var(s, s->dsecond), name), num(s, padded(s, w)),
        };
        call(s, b, add_into(s->l), args, 4);
    }
    barrier_here(s, b);
}

/* The loss as reported: Σ / count, rounded to f32 once. */
static void finish_loss(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ProgExpr *some = px_select(p, px_lt(p, num(s, 0), var(s, s->count)),
                               var(s, s->count), num(s, 1));
    ProgExpr *mean = px_div(p, px_load(p, var(s, s->loss), num(s, 0)),
                            px_cast(p, prog_f64(), some));
    s->loss_value = let(s, b, "loss_value", px_cast(p, prog_f32(), mean));
}

/* ---- gradient norm and update: every trained tensor in checkpoint order ---- */
/* Whether copy `l` of w is trained, where some are not: runs of blocks. */
static ProgExpr *trains(Steps *s, const Weight *w)
{
    Prog *p = s->p;
    ProgExpr *any = NULL;
    int64_t n = block_count(s);
    for (int64_t i = 0; i < n;) {
        if (w->frozen_blocks[i] == 'f') {
            i++;
            continue;
        }
        int64_t end = i;
        while (end < n && w->frozen_blocks[end] != 'f')
            end++;
        ProgExpr *from = px_le(p, num(s, i), var(s, s->block));
        ProgExpr *before = px_lt(p, var(s, s->block), num(s, end));
        ProgExpr *run = end == n ? from
            : i == 0             ? before
                                 : px_and(p, from, before);
        any = any ? px_or(p, any, run) : run;
        i = end;
    }
    return any;
}

/* Moments lie as the gradients do: the first of all parameters, then the second. */
static ProgExpr *moment_start(Steps *s, int which)
{
    ProgExpr *state = control_field(s, "state");
    return which ? px_offset(s->p, state, px_const(s->p, s->l->gradients_const))
                 : state;
}

typedef void TensorRule(Steps *s, ProgBlock *b, int weight, int64_t norm_at,
                        int64_t norm_each);

static int64_t blocks_of(const Steps *s, const Weight *w)
{
    return (type_elements(s->l->m, &w->type) + 1023) / 1024;
}

/* Calls rule for every trained weight: those outside blocks that come before, a loop
 * over blocks, the rest. norm_at counts blocks of 1024 before the tensor. */
static void each_tensor(Steps *s, ProgBlock *b, TensorRule *rule)
{
    const Module *m = s->l->m;
    int64_t at = 0, each = 0;
    bool looped = false;
    for (int i = 0; i < m->weights.count; i++)
        if (m->weights.at[i].per_block && !m->weights.at[i].frozen)
            each += blocks_of(s, &m->weights.at[i]);
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        if (w->constant || w->frozen)
            continue;
        s->p->here = w->origin.model;
        if (!w->per_block) {
            rule(s, b, i, at, 0);
            at += blocks_of(s, w);
            continue;
        }
        if (looped)
            continue;
        looped = true;
        s->block = prog_local(s->p, s->func, "l", prog_i64());
        ProgBlock *body =
            ps_for(s->p, b, s->block, num(s, 0), blocks(s), num(s, 1));
        point_at_block(s, body);
        for (int j = 0; j < 2; j++)
            if (s->block_moments[j])
                point(s, body, s->l->block_sums, s->block_moments[j],
                      px_offset(s->p, moment_start(s, j), gradient_block(s)));
        int64_t within = at;
        for (int j = i; j < m->weights.count; j++) {
            const Weight *x = &m->weights.at[j];
            if (!x->per_block || x->constant || x->frozen)
                continue;
            s->p->here = x->origin.model;
            rule(s, body, j, within, each);
            within += blocks_of(s, x);
        }
        at += each * block_count(s);
        s->block = NULL;
    }
    s->p->here = (Loc){0};
}

static ProgExpr *tensor(Steps *s, const Weight *w, ProgVar *shared,
                        ProgVar *block)
{
    return px_field(s->p, var(s, w->per_block ? block : shared),
                    c_name(s->l, w->name));
}

static void norm_rule(Steps *s, ProgBlock *b, int weight, int64_t at,
                      int64_t each)
{
    Prog *p = s->p;
    const Weight *w = &s->l->m->weights.at[weight];
    ProgExpr *place = s->block ? nth(s, at, s->block, each) : num(s, at);
    ProgExpr *sums = px_offset(p, var(s, s->norm), place);
    ProgExpr *gradient = tensor(s, w, s->dshared, s->dw);
    if (w->frozen_blocks)       /* NULL: zeros */
        gradient =
            px_select(p, trains(s, w), gradient, px_null(p, gradient->type));
    ProgExpr *n = num(s, type_elements(s->l->m, &w->type));
    ProgExpr *args[] = { var(s, s->me), sums, gradient, n };
    call(s, b, prog_library(p, "square_blocks"), args, 4);
}

/* grad_norm, whether all is finite, and what clips the gradients. */
static void norm(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ps_comment(
        p, b,
        "the gradient norm: blocks of 1024 elements, in checkpoint order");
    s->norm = let(s, b, "norms",
                  px_cast(p, prog_pointer(PK_F64, false), region(s, "norms")));
    each_tensor(s, b, norm_rule);
    barrier_here(s, b);
    const Region *r = find_region(s->map, "norms");
    ProgExpr *args[] = { var(s, s->norm), num(s, r->floats / 2) };
    ProgVar *norm =
        let(s, b, "norm", px_call(p, prog_library(p, "norm_f64"), 2, args));
    finish_loss(s, b);
    ps_comment(
        p, b, "x - x is 0 for all that is finite; another step is not applied");
    ProgExpr *n = var(s, norm), *loss = var(s, s->loss_value);
    ProgExpr *finite = px_and(p, px_eq(p, px_sub(p, n, n), px_f64(p, 0)),
                              px_eq(p, px_sub(p, loss, loss), px_f32(p, 0)));
    s->applied = let(s, b, "applied", finite);
    ProgExpr *clip = px_cast(p, prog_f64(), control_field(s, "clip"));
    ProgExpr *clips =
        px_and(p, px_lt(p, px_f64(p, 0), clip), px_lt(p, clip, n));
    ProgExpr *factor = px_cast(p, prog_f32(), px_div(p, clip, n));
    s->clip_scale =
        let(s, b, "clip_scale", px_select(p, clips, factor, px_f32(p, 1)));
    s->norm = norm;
}

static ProgExpr *update_argument(Steps *s, const KernelArg *arg, int weight)
{
    const Weight *w = &s->l->m->weights.at[weight];
    const char *name = arg->value ? arg->value->name : "";
    if (arg->kind == ARG_THREAD)
        return var(s, s->me);
    if (arg->kind == ARG_CONTROL)
        return var(s, s->control);
    if (arg->kind == ARG_ROWS)
        return num(s, type_elements(s->l->m, &w->type));
    if (arg->kind == ARG_SCALAR && !strcmp(name, "clip_scale"))
        return var(s, s->clip_scale);
    if (arg->kind == ARG_SCALAR && !strcmp(name, "decay") && !w->decay)
        return px_f32(s->p, 0);
    if (arg->kind == ARG_SCALAR)
        return control_field(s, name);
    int which = !strcmp(name, "second");
    if (!strcmp(name, "p"))
        return tensor(s, w, s->shared, s->w);
    if (!strcmp(name, "g"))
        return tensor(s, w, s->dshared, s->dw);
    return tensor(s, w, s->moments[which], s->block_moments[which]);
}

/* The body of an `if` that w is trained: neighbours of equal masks share one. */
static ProgBlock *masked_block(Steps *s, ProgBlock *b, const Weight *w)
{
    if (!s->mask || strcmp(s->mask, w->frozen_blocks) != 0)
        s->masked = ps_if(s->p, b, trains(s, w), NULL);
    s->mask = w->frozen_blocks;
    return s->masked;
}

static void update_rule(Steps *s, ProgBlock *b, int weight, int64_t at,
                        int64_t each)
{
    (void)at;
    (void)each;
    const Weight *w = &s->l->m->weights.at[weight];
    const KernelCode *code =
        &find_code(s->l, module_find_func(s->l->m, "update"))->update;
    List(ProgExpr *) args = {0};
    if (!w->frozen_blocks)
        s->mask = NULL;
    else
        b = masked_block(s, b, w);
    for (int i = 0; i < code->args.count; i++)
        list_push(s->l->arena, &args,
                  update_argument(s, &code->args.at[i], weight));
    call(s, b, code->func, args.at, args.count);
}

static void update(Steps *s, ProgBlock *b)
{
    static const char *const names[] = { "first", "second" };
    static const char *const block_names[] = { "block_first", "block_second" };
    ps_comment(s->p, b, "the update, a tensor at a time");
    b = ps_if(s->p, b, var(s, s->applied), NULL);
    for (int i = 0; i < s->l->info->moments; i++) {
        s->moments[i] = record_local(s, b, names[i], s->l->shared);
        point(s, b, s->l->shared_sums, s->moments[i], moment_start(s, i));
        s->block_moments[i] = record_local(s, b, block_names[i], s->l->block);
    }
    each_tensor(s, b, update_rule);
}

static void lower_stmt(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    s->p->here = stmt->origin.model;
    switch (stmt->kind) {
    case STEP_COUNT_SCORED: count(s, b); return;
    case STEP_GROUPS: groups(s, b, stmt); return;
    case STEP_MICROS: micros(s, b, stmt); return;
    case STEP_REPEAT: repeat(s, b, stmt); return;
    case STEP_CHUNKS: chunks(s, b, stmt); return;
    case STEP_CALL: call_func(s, b, stmt); return;
    case STEP_SITES: sites(s, b); return;
    case STEP_NORM: norm(s, b); return;
    case STEP_UPDATE: update(s, b); return;
    }
}

/* What the runtime reads after a call; thread 0 says it. */
static void report(Steps *s)
{
    Prog *p = s->p;
    ProgBlock *b = &s->func->body;
    const char *name = s->map->step->name;
    bool eval = !strcmp(name, "eval"), train = !strcmp(name, "train");
    if (flexible(s))
        return;
    if (eval)
        count_targets(s, b);
    if (!eval && !train)
        finish_loss(s, b);
    ps_comment(p, b, "what the runtime reads");
    ProgExpr *first =
        px_eq(p, px_field(p, var(s, s->me), "index"), px_i32(p, 0));
    ProgBlock *say = ps_if(p, b, first, NULL);
    ProgExpr *loss = eval ? px_load(p, var(s, s->loss), num(s, 0))
                          : px_cast(p, prog_f64(), var(s, s->loss_value));
    ps_field_set(p, say, var(s, s->control), "loss", loss);
    ps_field_set(p, say, var(s, s->control), "scored", var(s, s->count));
    if (!train)
        return;
    ps_field_set(p, say, var(s, s->control), "grad_norm", var(s, s->norm));
    ps_field_set(p, say, var(s, s->control), "clip_scale",
                 var(s, s->clip_scale));
    ps_field_set(p, say, var(s, s->control), "applied", var(s, s->applied));
}

static const char *step_comment(Lower *l, const Step *step)
{
    const char *what =
        arena_printf(l->arena, "%s: %lld sequence%s of %lld tokens", step->name,
                     (long long)step->batch, step->batch == 1 ? "" : "s",
                     (long long)step->sequence);
    if (step->micro == step->batch)
        return arena_printf(l->arena, "%s.", what);
    return arena_printf(l->arena, "%s, %lld at a time.", what,
                        (long long)step->micro);
}

ProgFunc *lower_step(Lower *l, const StepMap *map)
{
    Prog *p = l->p;
    Steps s = { .l = l, .p = p, .map = map };
    count_scored(l);
    if (map->groups > 1)
        ones(l);
    if (find_region(map, "gradients"))
        add_into(l);
    s.func =
        prog_func(p, map->step->name, step_comment(l, map->step), prog_void());
    s.me = prog_param(p, s.func, "me",
                      prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    s.control =
        prog_param(p, s.func, "control",
                   prog_pointer_to(prog_runtime_record(p, "Control"), false));
    open_step(&s);
    for (int i = 0; i < map->step->body.count; i++)
        lower_stmt(&s, &s.func->body, map->step->body.at[i]);
    report(&s);
    prog_define(p, s.func);
    return s.func;
}
