/* steps.c: a step becomes a function that every thread runs once a call: void
 * train(const Thread *me, Control *control). Loops over groups, micro-batches,
 * blocks and chunks are loops here; a call gets the addresses of what it reads
 * and leaves from the step's map. What ends a train step is update.c. */
#include "steps.h"

ProgExpr *step_control(Steps *s, const char *name)
{
    return px_field(s->p, var(s, s->control), name);
}

/* values + region */
ProgExpr *step_region(Steps *s, const char *name)
{
    region_at(s->map, name);        /* which there must be */
    return px_offset(s->p, var(s, s->values),
                     px_const(s->p, find_region(s->map, name)->constant));
}

ProgVar *step_let(Steps *s, ProgBlock *b, const char *name, ProgExpr *value)
{
    ProgVar *v = prog_local(s->p, s->func, name, value->type);
    ps_let(s->p, b, v, value);
    return v;
}

void step_call(Steps *s, ProgBlock *b, const ProgFunc *f, ProgExpr *const *args,
               int count)
{
    ps_do(s->p, b, px_call(s->p, f, count, args));
}

void step_barrier(Steps *s, ProgBlock *b)
{
    step_call(s, b, prog_library(s->p, "barrier"),
              (ProgExpr *[]){ var(s, s->me) }, 1);
}

/* ---- records: where parameters and gradients lie ---- */
ProgVar *step_record(Steps *s, ProgBlock *b, const char *name,
                     const ProgRecord *record)
{
    ProgVar *v = prog_local(s->p, s->func, name, prog_record_type(record));
    ps_let(s->p, b, v, NULL);
    return v;
}

void step_point(Steps *s, ProgBlock *b, const ProgFunc *f, ProgVar *record,
                ProgExpr *base)
{
    step_call(s, b, f, (ProgExpr *[]){ px_address(s->p, var(s, record)), base },
              2);
}

/* From the start of gradients or a moment to this block's. */
ProgExpr *step_gradient_block(Steps *s)
{
    ProgExpr *own = px_mul(s->p, var(s, s->block),
                           px_const(s->p, s->l->gradient_block_const));
    return px_add(s->p, px_const(s->p, s->l->gradient_blocks_const), own);
}

void step_point_at_block(Steps *s, ProgBlock *b)
{
    Lower *l = s->l;
    ProgExpr *own = px_mul(s->p, var(s, s->block),
                           px_const(s->p, l->block_const));
    ProgExpr *at = px_add(s->p, px_const(s->p, l->blocks_const), own);
    step_point(s, b, l->block_weights, s->w,
               px_offset(s->p, step_control(s, "weights"), at));
    if (s->dw)
        step_point(s, b, l->block_sums, s->dw,
                   px_offset(s->p, var(s, s->gradients),
                             step_gradient_block(s)));
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
    s->values = step_let(s, b, "values", step_control(s, "values"));
    s->shared = step_record(s, b, "shared", s->l->shared);
    step_point(s, b, s->l->shared_weights, s->shared,
               step_control(s, "weights"));
    s->w = step_record(s, b, "w", s->l->block);
    if (has_gradients(s)) {
        s->dshared = step_record(s, b, "dshared", s->l->shared);
        s->dsecond = step_record(s, b, "dsecond", s->l->shared);
        s->dw = step_record(s, b, "dw", s->l->block);
    }
    s->at = step_record(s, b, "at", s->l->call);
    ProgExpr *sequence = flexible(s) ? step_control(s, "sequence")
                                     : num(s, s->map->step->sequence);
    set_at(s, b, s->at, "control", var(s, s->control));
    set_at(s, b, s->at, "batch", num(s, s->map->step->micro));
    set_at(s, b, s->at, "sequence", sequence);
    set_at(s, b, s->at, "rows",
           px_mul(p, num(s, s->map->step->micro), sequence));
    set_at(s, b, s->at, "stride", num(s, s->map->stride));
    if (is_generate(s))
        set_at(s, b, s->at, "position", step_control(s, "position"));
    if (!flexible(s))
        s->loss = step_let(s, b, "loss",
                           px_cast(p, prog_pointer(PK_F64, false),
                                   step_region(s, "loss")));
}

static void count_targets(Steps *s, ProgBlock *b)
{
    int64_t ids = s->map->step->batch * s->map->step->sequence;
    ProgExpr *args[] = { step_control(s, "targets"), num(s, ids) };
    s->count = step_let(s, b, "count",
                        px_call(s->p, count_scored_func(s->l), 2, args));
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
/* A slot of a region, each of which holds x or dx of all rows: [rows, C]. */
static ProgExpr *slot_of(Steps *s, const char *name, ProgExpr *slot)
{
    if (slot->kind == PE_INT && slot->integer == 0)
        return step_region(s, name);
    ProgExpr *start = px_mul(s->p, slot, px_const(s->p, s->map->slot));
    return px_offset(s->p, step_region(s, name), start);
}

/* The input of block l: slot l of all, or of two in turn. */
static ProgExpr *stream(Steps *s, ProgExpr *l)
{
    bool literal = l->kind == PE_INT;
    if (!s->map->keeps_stream && !literal)
        l = px_rem(s->p, l, num(s, 2));
    return slot_of(s, "stream", l);
}

int64_t step_block_count(const Steps *s)
{
    return s->l->m->dims.at[module_find_dim(s->l->m, "L")].size;
}

ProgExpr *step_blocks(Steps *s)
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
        return step_blocks(s);
    ProgExpr *last = px_sub(s->p, step_blocks(s), num(s, 1));
    return px_sub(s->p, last, var(s, s->block));
}

static ProgExpr *blocks_after(Steps *s)
{
    return px_sub(s->p, step_blocks(s), var(s, s->block));
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
    ProgExpr *from = step_control(s, name);
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
    ProgExpr *x = stream(s, step_blocks(s));
    if (is_generate(s)) {
        ProgExpr *rows = px_field(s->p, var(s, s->at), "rows");
        ProgExpr *width = dim_size(s->l, module_find_dim(s->l->m, "C"));
        ProgExpr *before = px_mul(s->p, px_sub(s->p, rows, num(s, 1)), width);
        return px_offset(s->p, x, before);
    }
    return rows_on(s, x, "C");
}

/* The level where this group's sums are made: the 1s of its number; or the
 * pairs that it ends: those below the lowest 0. */
static ProgExpr *ones_of_group(Steps *s, bool trailing)
{
    return px_callv(s->p, ones_func(s->l), var(s, s->group),
                    px_i32(s->p, trailing), NULL);
}

static ProgExpr *argument(Steps *s, const Func *f, const char *name)
{
    if (!strcmp(name, "x"))
        return stream_in(s, f);
    if (!strcmp(name, "dx"))
        return dx(s, blocks_before(s));
    if (!strcmp(name, "loss"))
        return px_offset(s->p, var(s, s->loss),
                         s->group ? ones_of_group(s, false) : num(s, 0));
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
        return rows_on(s, step_region(s, "norm"), "C");
    ProgExpr *logits = step_region(s, "logits");
    if (!s->first)
        return rows_on(s, logits, "V");
    ProgExpr *vocab = dim_size(s->l, module_find_dim(s->l->m, "V"));
    ProgExpr *rows = px_mul(s->p, var(s, s->first),
                            num(s, s->map->step->sequence));
    return rows_on(s, px_offset(s->p, logits, px_mul(s->p, rows, vocab)), "V");
}

/* The record of this call: a block's slot, or the embedding's. */
static ProgExpr *record_at(Steps *s, const Func *f)
{
    if (!f->per_block)
        return step_region(s, "embed_record");
    ProgExpr *from = step_region(s, "records");
    if (!s->map->keeps_stream)
        return from;
    return px_offset(s->p, from,
                     px_mul(s->p, var(s, s->block),
                            num(s, f->record_floats * s->map->stride)));
}

static ProgExpr *cache_at(Steps *s)
{
    int64_t each = find_region(s->map, "cache")->floats / step_block_count(s);
    return px_offset(s->p, step_region(s, "cache"),
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
        list_push(a, &args, step_region(s, "frame"));
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
    step_call(s, b, code->code, args.at, args.count);
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
        ? ps_for_down(s->p, b, s->block, num(s, 0), step_blocks(s))
        : ps_for(s->p, b, s->block, num(s, 0), step_blocks(s), num(s, 1));
    set_at(s, body, s->at, "block", var(s, s->block));
    step_point_at_block(s, body);
    lower_body(s, body, stmt);
    s->block = NULL;
    s->down = false;
}

/* The head's own Call, of its rows alone. */
static void open_head(Steps *s, ProgBlock *b)
{
    s->head = step_record(s, b, "rows_at", s->l->call);
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
        ps_comment(p, b, "the head, a chunk of rows at a time: the loss, and "
                   "its gradient");
    open_head(s, b);
    s->chunk = prog_local(p, s->func, "chunk", prog_i64());
    ProgBlock *body = ps_for(p, b, s->chunk, num(s, 0), num(s, stmt->count),
                             num(s, 1));
    ProgExpr *most = num(s, stmt->chunk_rows);
    ProgExpr *after = px_sub(p, px_field(p, var(s, s->at), "rows"),
                             chunk_row(s));
    ProgVar *left = step_let(s, body, "left", after);
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
    s->first = step_let(s, b, "first",
                        px_mul(s->p, run, num(s, s->map->step->micro)));
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
    step_point(s, b, s->l->shared_sums, s->dshared, var(s, s->gradients));
    step_point(s, b, s->l->shared_second, s->dsecond, var(s, s->gradients));
}

/* Sums of finished groups wait in levels, one for every 1 in the number of
 * groups done; a group that ends a pair is added to its elder, and so on: the
 * fixed tree. */
static void merge_groups(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ps_comment(p, b, "groups are summed by a tree: one that ends a pair joins "
               "its elder");
    ProgVar *pairs = step_let(s, b, "pairs", ones_of_group(s, true));
    ProgVar *pair = prog_local(p, s->func, "pair", prog_i64());
    ProgBlock *body = ps_for(p, b, pair, num(s, 0), var(s, pairs), num(s, 1));
    ProgExpr *own = px_sub(p, ones_of_group(s, false), var(s, pair));
    ProgVar *level = step_let(s, body, "level", own);
    ProgExpr *elder = px_sub(p, var(s, level), num(s, 1));
    ProgExpr *all = step_region(s, "gradients");
    ProgExpr *each = px_const(p, s->l->gradients_const);
    ProgExpr *args[] = {
        var(s, s->me), px_offset(p, all, px_mul(p, elder, each)),
        px_offset(p, all, px_mul(p, var(s, level), each)), each,
    };
    step_call(s, body, add_into_func(s->l), args, 4);
    ProgExpr *first = px_eq(p, px_field(p, var(s, s->me), "index"),
                            px_i32(p, 0));
    ProgExpr *loss = var(s, s->loss);
    ps_store(p, ps_if(p, body, first, NULL), loss, elder,
             px_add(p, px_load(p, loss, elder),
                    px_load(p, loss, var(s, level))));
    step_barrier(s, b);
}

static void groups(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    if (stmt->count == 1) {
        s->gradients = step_let(s, b, "gradients", step_region(s, "gradients"));
        point_at_gradients(s, b);
        lower_body(s, b, stmt);
        return;
    }
    s->group = prog_local(p, s->func, "group", prog_i64());
    ProgBlock *body = ps_for(p, b, s->group, num(s, 0), num(s, stmt->count),
                             num(s, 1));
    ProgExpr *each = px_const(p, s->l->gradients_const);
    ProgExpr *skip = px_mul(p, ones_of_group(s, false), each);
    s->gradients = step_let(s, body, "gradients",
                            px_offset(p, step_region(s, "gradients"), skip));
    point_at_gradients(s, body);
    lower_body(s, body, stmt);
    merge_groups(s, body);
    s->group = NULL;
    s->gradients = step_let(s, b, "gradients", step_region(s, "gradients"));
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
        step_call(s, b, add_into_func(s->l), args, 4);
    }
    step_barrier(s, b);
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
    case STEP_NORM: step_norm(s, b); return;
    case STEP_UPDATE: step_update(s, b); return;
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
        step_finish_loss(s, b);
    ps_comment(p, b, "what the runtime reads");
    ProgExpr *first = px_eq(p, px_field(p, var(s, s->me), "index"),
                            px_i32(p, 0));
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
    const char *what = arena_printf(
        l->arena, "%s: %lld sequence%s of %lld tokens", step->name,
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
    count_scored_func(l);
    if (map->groups > 1)
        ones_func(l);
    if (find_region(map, "gradients"))
        add_into_func(l);
    s.func = prog_func(p, map->step->name, step_comment(l, map->step),
                       prog_void());
    s.me = prog_param(p, s.func, "me",
                      prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    s.control = prog_param(p, s.func, "control",
                           prog_pointer_to(prog_runtime_record(p, "Control"),
                                           false));
    open_step(&s);
    for (int i = 0; i < map->step->body.count; i++)
        lower_stmt(&s, &s.func->body, map->step->body.at[i]);
    report(&s);
    prog_define(p, s.func);
    return s.func;
}
