/* steps.c: a step becomes a function that every thread runs once a call: void
 * train(const Thread *me, Control *control). Loops over groups, micro-batches,
 * blocks and chunks are loops here; a call gets the addresses of what it reads
 * and leaves from the step's map. What ends a train step is update.c. */
#include "steps.h"

static bool has_gradients(const Steps *s)
{
    return find_region(s->map, "gradients") != NULL;
}

static void set_at(Steps *s, ProgBlock *b, ProgVar *at, const char *field,
                   ProgExpr *value)
{
    ps_field_set(s->p, b, var(s, at), field, value);
}

void step_set_call(Steps *s, ProgBlock *b, const char *field, ProgExpr *value)
{
    set_at(s, b, s->at, field, value);
}

ProgExpr *step_gradient_floats(Steps *s)
{
    return s->stage ? step_stage_field(s, "gradients")
                    : px_const(s->p, s->l->gradients_const);
}

static bool is_generate(const Steps *s)
{
    return !strcmp(s->map->step->name, "generate");
}

/* A step whose call may have fewer tokens than its sequence. */
static bool flexible(const Steps *s)
{
    const char *name = s->map->step->name;
    return is_generate(s) || !strcmp(name, "forward")
        || !strcmp(name, "encode");
}

/* "w", of two stacks "encoder_w". */
static const char *stack_variable(const Steps *s, int stack, const char *name)
{
    const char *prefix = s->l->m->stacks.at[stack].prefix;
    if (!*prefix)
        return name;
    return arena_printf(s->l->arena, "%.*s_%s", (int)strlen(prefix) - 1, prefix,
                        name);
}

/* Does the step call functions of blocks of this stack, or update them? */
static bool uses_stack(const Stmt *const *statements, int count, int stack)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = statements[i];
        if ((s->kind == STEP_REPEAT && s->stack == stack)
            || s->kind == STEP_UPDATE
            || uses_stack((const Stmt *const *)s->body.at, s->body.count,
                          stack))
            return true;
    }
    return false;
}

static void open_blocks(Steps *s, ProgBlock *b)
{
    const Step *step = s->map->step;
    for (int i = 0; i < s->l->m->stacks.count; i++) {
        if (!uses_stack((const Stmt *const *)step->body.at, step->body.count,
                        i))
            continue;
        s->w[i] = step_record(s, b, stack_variable(s, i, "w"),
                              s->l->stacks[i].record);
        if (has_gradients(s))
            s->dw[i] = step_record(s, b, stack_variable(s, i, "dw"),
                                   s->l->stacks[i].record);
    }
}

static void open_totals(Steps *s, ProgBlock *b)
{
    for (int i = 0; i < STEP_TOTALS; i++)
        if (find_region(s->map, step_totals[i]))
            s->totals[i] = step_let(s, b, step_totals[i],
                                    px_cast(s->p, prog_pointer(PK_F64, false),
                                            step_region(s, step_totals[i])));
}

static ProgExpr *address(Steps *s, ProgVar *record)
{
    return px_address(s->p, var(s, record));
}

/* So many rows, rounded up. */
static ProgExpr *whole_sixteens(Steps *s, ProgExpr *rows, int64_t count)
{
    Prog *p = s->p;
    if (count % 16 == 0)
        return rows;
    return px_mul(p, px_div(p, px_add(p, rows, num(s, 15)), num(s, 16)),
                  num(s, 16));
}

static void open_step(Steps *s)
{
    Prog *p = s->p;
    ProgBlock *b = &s->func->body;
    s->values = step_let(s, b, "values", step_control(s, "values"));
    open_stage(s, b);
    s->shared = step_record(s, b, "shared", s->l->shared);
    bool gathered = gathers(s->l, s->map->step);
    if (gathered)
        step_gather_shared(s, b);
    else
        step_point_shared(s, b, s->l->shared_weights, s->l->stage_weights,
                          s->shared, step_control(s, "weights"));
    static const char *const uses[MOST_SITES] = { "dshared", "dsecond",
                                                  "dthird" };
    for (int i = 0; has_gradients(s) && i < MOST_SITES; i++)
        if (s->l->shared_sums[i])
            s->dshared[i] = step_record(s, b, uses[i], s->l->shared);
    open_blocks(s, b);
    if (gathered && has_gradients(s)) {
        step_track_blocks(s, b);
        step_foretell_gathers(s);
    }
    s->at = step_record(s, b, "at", s->l->call);
    ProgExpr *sequence = flexible(s) ? step_control(s, "sequence")
                                     : px_const(p, s->map->sequence);
    set_at(s, b, s->at, "control", var(s, s->control));
    set_at(s, b, s->at, "batch", px_const(p, s->map->micro));
    set_at(s, b, s->at, "sequence", sequence);
    set_at(s, b, s->at, "rows",
           px_mul(p, px_const(p, s->map->micro), sequence));
    set_at(s, b, s->at, "stride",
           whole_sixteens(s, px_mul(p, px_const(p, s->map->micro),
                                    px_const(p, s->map->sequence)),
                          s->map->rows));
    if (is_generate(s))
        set_at(s, b, s->at, "position", step_control(s, "position"));
    if (s->map->replicas > 1)
        set_at(s, b, s->at, "first", step_control(s, "first"));
    open_totals(s, b);
    step_take_own(s, b);
}

/* Of shared sequences the first rank counts whole pairs. */
static void whole_pairs(Steps *s, ProgExpr *args[3])
{
    Prog *p = s->p;
    ProgExpr *ranks = num(s, s->map->context);
    args[0] = step_control(s, "targets");
    args[1] = px_select(p, px_eq(p, step_control(s, "chunk"), num(s, 0)),
                        px_mul(p, args[1], ranks), num(s, 0));
    args[2] = px_mul(p, args[2], ranks);
}

static ProgVar *count_ids(Steps *s, ProgBlock *b, const char *what)
{
    Prog *p = s->p;
    bool pairs = !strcmp(what, "pairs"), targets = !strcmp(what, "targets");
    ProgExpr *ids = px_const(p, s->map->batch);
    if (strcmp(what, "labels") != 0)
        ids = px_mul(p, ids, px_const(p, s->map->sequence));
    ProgExpr *args[3] = { step_given(s, pairs ? "targets" : what), ids };
    const ProgFunc *f =
        pairs ? count_pairs_func(s->l) : count_scored_func(s->l);
    if (pairs)
        args[2] = px_mul(p, num(s, 2), px_const(p, s->map->sequence));
    if (pairs && s->map->context > 1)
        whole_pairs(s, args);
    const char *name = targets ? "count" : pairs ? "pairs" : "labels";
    ProgExpr *own = px_call(p, f, pairs ? 3 : 2, args);
    if (step_sums_counts(s))
        own = var(s, step_let(s, b, arena_printf(s->l->arena, "own_%s", name),
                              own));
    ProgVar *count = step_let(s, b, name, step_sum_count(s, own, what));
    *(targets ? &s->count : &s->labels) = count;
    return count;
}

/* The scored positions, labels or pairs, and 1 / their number for the
 * functions. */
static void count(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    ProgVar *n = count_ids(s, b, stmt->what);
    ProgExpr *some =
        px_select(p, px_lt(p, num(s, 0), var(s, n)), var(s, n), num(s, 1));
    set_at(s, b, s->at, n == s->count ? "inv_count" : "inv_labels",
           px_div(p, px_f32(p, 1), px_cast(p, prog_f32(), some)));
}

/* ---- calls ---- */
/* The record of this call: a block's slot, or a function's own. */
static ProgExpr *record_at(Steps *s, const Func *f)
{
    const Region *region = find_region(s->map, record_region(s->l, f));
    ProgExpr *from = step_region(s, region->name);
    if (s->slot && part_waits(part_of(f)))
        return px_offset(s->p, from,
                         px_mul(s->p, var(s, s->slot),
                                num(s, f->record_floats * s->map->stride)));
    if (f->stack < 0 || !s->map->keeps_stream)
        return from;
    return px_offset(s->p, s->records ? var(s, s->records) : from,
                     px_mul(s->p, step_chunk_block(s),
                            px_const(s->p, region->each)));
}

static ProgExpr *cache_at(Steps *s)
{
    const ProgConst *each = find_region(s->map, "cache")->each;
    return px_offset(s->p, step_region(s, "cache"),
                     px_mul(s->p, var(s, s->block), px_const(s->p, each)));
}

static int site_of(const Func *f)
{
    int site = 0;
    for (int i = 0; i < f->gradients.count; i++)
        if (f->gradients.at[i].site > site)
            site = f->gradients.at[i].site;
    return site;
}

/* The forward call whose record f reads. */
static const Stmt *forward_call(const Stmt *const *statements, int count,
                                const Func *f)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = statements[i];
        bool writes = s->kind == STEP_CALL && s->func != f && s->func->record
            && !strcmp(s->func->record, f->record);
        const Stmt *inner = writes
                              ? s
                              : forward_call((const Stmt *const *)s->body.at,
                                             s->body.count, f);
        if (inner)
            return inner;
    }
    return NULL;
}

/* Where a parameter of forward lies that backward reads. */
static ProgExpr *saved_parameter(Steps *s, const Func *f, const Value *v)
{
    const Step *step = s->map->step;
    const Stmt *call =
        forward_call((const Stmt *const *)step->body.at, step->body.count, f);
    for (int i = 0; call && i < call->func->params.count; i++)
        if (!strcmp(call->func->params.at[i]->name, v->name)) {
            const StepValue *value = find_value(s->map, call->arguments.at[i]);
            if (value)
                return step_value(s, value, call, false);
        }
    ice("%s: nothing gives %s", f->name, v->name);
}

/* "forward", of two stacks "the encoder, forward". */
static void way_comment(Steps *s, ProgBlock *b, int stack, const char *way)
{
    const char *prefix = s->l->m->stacks.at[stack].prefix;
    int length = (int)strlen(prefix) - 1;       /* without its dot */
    ps_comment(s->p, b, length <= 0 ? way
        : arena_printf(s->l->arena, "the %.*s, %s", length, prefix, way));
}

static void call_comment(Steps *s, ProgBlock *b, const Func *f)
{
    static const struct { const char *func, *text; } headings[] = {
        { "pool.forward", "a vector of each sequence" },
        { "pool.backward", "its gradient, back at the positions" },
        { "next_sentence.step",
          "the next sentence: the loss, and its gradient" },
        { "head.rows", "the head: a loss a row" },
        { "pairs.step", "pairs: the loss, and the gradient by each row's" },
    };
    bool rows = module_find_func(s->l->m, "head.rows") != NULL;
    if (!has_gradients(s))
        return;
    if (!s->stage && (!strcmp(f->name, "embed.forward")
                      || !strcmp(f->name, "encoder_embed.forward")))
        way_comment(s, b, 0, "forward");
    if (!s->stage && !strcmp(f->name, "decoder_embed.forward"))
        way_comment(s, b, s->l->m->stacks.count - 1, "forward");
    if (!strcmp(f->name, "head.step") && !s->row)
        ps_comment(s->p, b, rows ? "the head: its gradient"
                                 : "the head: the loss, and its gradient");
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        if (!strcmp(headings[i].func, f->name) && !s->row)
            ps_comment(s->p, b, headings[i].text);
}

static void call_func(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    const Func *f = stmt->func;
    const FuncCode *code = find_code(s->l, f);
    const Region *pending = code->uses_pending
        ? find_region(s->map, pending_region(s->l, f->stack)) : NULL;
    List(ProgExpr *) args = {0};
    Arena *a = s->l->arena;
    call_comment(s, b, f);
    s->p->here = stmt->origin.model;
    list_push(a, &args, var(s, s->me));
    list_push(a, &args, address(s, s->head ? s->head : s->at));
    for (int i = 0; i < f->results.count; i++)
        if (!result_is_placed(value_root(f->results.at[i])))
            list_push(a, &args, step_place(s, stmt->results.at[i], stmt, true));
    for (int i = 0; i < f->params.count; i++)
        list_push(a, &args, step_place(s, stmt->arguments.at[i], stmt, false));
    for (int i = 0; i < code->saved_params.count; i++)
        list_push(a, &args, saved_parameter(s, f, code->saved_params.at[i]));
    if (code->uses_saved)
        list_push(a, &args, record_at(s, f));
    if (pending)
        list_push(a, &args,
                  px_offset(s->p, var(s, s->pending),
                            px_mul(s->p, step_chunk_block(s),
                                   px_const(s->p, pending->each))));
    if (code->uses_frame)
        list_push(a, &args, step_region(s, "frame"));
    if (code->uses_cache)
        list_push(a, &args, cache_at(s));
    if (code->uses_shared)
        list_push(a, &args, address(s, s->shared));
    if (code->uses_block)
        list_push(a, &args, address(s, s->w[s->stack]));
    if (code->sums_shared)
        list_push(a, &args, address(s, s->dshared[site_of(f)]));
    if (code->sums_block)
        list_push(a, &args, address(s, s->dw[s->stack]));
    step_call(s, b, code->code, args.at, args.count);
    s->p->here = (Loc){0};
}

/* ---- statements ---- */
static void lower_body(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    for (int i = 0; i < stmt->body.count; i++)
        step_statement(s, b, stmt->body.at[i]);
}

/* Where a block's gradient leaves in every micro-batch its sums begin anew, but
 * not those outside blocks. */
static void begin_anew(Steps *s, ProgBlock *b, bool anew)
{
    if (s->micro)
        set_at(s, b, s->at, "accumulate",
               anew ? px_i32(s->p, 0)
                    : px_lt(s->p, num(s, 0), var(s, s->micro)));
}

static bool sums_block(const Steps *s, const Stmt *repeat)
{
    for (int i = 0; i < repeat->body.count; i++)
        if (find_code(s->l, repeat->body.at[i]->func)->sums_block)
            return true;
    return false;
}

static void repeat(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    ProgBlock *after = b;
    const Func *called = stmt->body.at[0]->func;
    bool gathered = gathers(s->l, s->map->step);
    if (gathered && makes_derived(s->l->m, called))
        return;                         /* a gathered block's come with it */
    bool leaves = stmt->down && s->l->early && has_gradients(s);
    bool inside = s->model_chunk;
    ProgVar *chunk;
    if (stmt->down)
        way_comment(s, b, stmt->stack,
                    func_is_weight_half(stmt->body.at[0]->func)
                        ? "the gradients of weights" : "backward");
    if (leaves)
        begin_anew(s, b, true);
    b = step_each_chunk(s, b, &chunk);
    if (gathered && s->ahead != stmt)
        step_set_out(s, b, stmt);
    s->block = prog_local(s->p, s->func, "l", prog_i64());
    s->down = stmt->down;
    s->stack = stmt->stack;
    s->loop = stmt;
    ProgBlock *body = stmt->down
        ? ps_for_down(s->p, b, s->block, step_first_block(s), step_blocks(s))
        : ps_for(s->p, b, s->block, step_first_block(s), step_blocks(s),
                 num(s, 1));
    step_count_blocks(s, body);
    set_at(s, body, s->at, "block", var(s, s->block));
    if (gathered)
        step_gather_block(s, body, stmt);
    else
        step_point_at_block(s, body);
    if (sums_block(s, stmt))
        step_point_at_sums(s, body);
    lower_body(s, body, stmt);
    if (leaves) {
        if (s->l->m->mesh.tensor > 1)
            step_sum_block_parts(s, body);
        step_keep_share(s, body);
        begin_anew(s, after, false);
    }
    if (!inside)
        s->model_chunk = NULL;
    s->passed[s->stack] = stmt;
    s->ahead = NULL;
    s->block = s->own = NULL;
    s->loop = NULL;
    s->down = false;
    s->stack = 0;
}

/* The head's own Call, of its rows alone. */
static void open_head(Steps *s, ProgBlock *b)
{
    s->head = step_record(s, b, s->chunks->pooled ? "pooled_at" : "rows_at",
                          s->l->call);
    set_at(s, b, s->head, "control", var(s, s->control));
    if (s->count)
        set_at(s, b, s->head, "inv_count",
               px_field(s->p, var(s, s->at), "inv_count"));
    if (s->labels)
        set_at(s, b, s->head, "inv_labels",
               px_field(s->p, var(s, s->at), "inv_labels"));
    set_at(s, b, s->head, "stride",
           whole_sixteens(s, s->chunks->count > 1
                                 ? px_const(s->p, chunk_rows(s->map, s->chunks))
                                 : num(s, s->chunks->chunk_rows),
                          s->chunks->chunk_rows));
}

/* The head on all rows in one go, or on the last row alone. */
static void one_chunk(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    if (stmt->last || stmt->pooled) {
        open_head(s, b);
        set_at(s, b, s->head, "rows",
               stmt->last ? num(s, 1) : px_const(s->p, s->map->micro));
    }
    if (stmt->pooled && s->micro)
        set_at(s, b, s->head, "accumulate",
               px_field(s->p, var(s, s->at), "accumulate"));
    lower_body(s, b, stmt);
    s->head = NULL;
    s->chunks = NULL;
}

/* Rows of the head at a time; the last chunk may have fewer. */
static void chunks(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    s->chunks = stmt;
    if (stmt->count == 1) {
        one_chunk(s, b, stmt);
        return;
    }
    if (has_gradients(s))
        ps_comment(p, b, "the head, a chunk of rows at a time: the loss, and "
                   "its gradient");
    open_head(s, b);
    s->row = prog_local(p, s->func, "row", prog_i64());
    ProgExpr *most = px_const(p, chunk_rows(s->map, stmt));
    ProgExpr *all = stmt->pooled ? px_const(p, s->map->micro)
                                 : px_field(p, var(s, s->at), "rows");
    ProgBlock *body = ps_for(p, b, s->row, num(s, 0), all, most);
    ProgVar *left = step_let(s, body, "left", px_sub(p, all, var(s, s->row)));
    set_at(s, body, s->head, "rows",
           px_select(p, px_lt(p, var(s, left), most), var(s, left), most));
    ProgExpr *later = px_lt(p, num(s, 0), var(s, s->row));
    if (s->micro)
        later = px_or(p, px_lt(p, num(s, 0), var(s, s->micro)), later);
    set_at(s, body, s->head, "accumulate", later);
    lower_body(s, body, stmt);
    s->row = s->head = NULL;
    s->chunks = NULL;
}

/* The first sequence of micro-batch `run` of the rank's. */
void step_set_first(Steps *s, ProgBlock *b, ProgExpr *run)
{
    s->first = step_let(s, b, "first",
                        px_mul(s->p, run, px_const(s->p, s->map->micro)));
    ProgExpr *first = var(s, s->first);
    if (s->map->replicas > 1)
        first = px_add(s->p, step_control(s, "first"), first);
    set_at(s, b, s->at, "first", first);
}

static bool loops_over(const Stmt *const *statements, int count,
                       const char *function)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = statements[i];
        if ((s->kind == STEP_CALL && strstr(s->func->name, function))
            || loops_over((const Stmt *const *)s->body.at, s->body.count,
                          function))
            return true;
    }
    return false;
}

static bool has_kind(const Stmt *const *statements, int count, StepKind kind)
{
    for (int i = 0; i < count; i++)
        if (statements[i]->kind == kind
            || has_kind((const Stmt *const *)statements[i]->body.at,
                        statements[i]->body.count, kind))
            return true;
    return false;
}

/* Are there sums that begin again once all micro-batches are through? */
static bool finishes(const Step *step)
{
    return loops_over((const Stmt *const *)step->body.at, step->body.count,
                      "finish");
}

/* How many of a micro-batch's statements go forward: up to the last loop over
 * blocks that does. */
static int forward_statements(const Stmt *stmt)
{
    int count = 0;
    for (int i = 0; i < stmt->body.count; i++)
        if (stmt->body.at[i]->kind == STEP_REPEAT && !stmt->body.at[i]->down)
            count = i + 1;
    return count;
}

/* A statement of a body; before the first that leads to a loop over blocks the
 * first of them sets out. */
static void lower_leading(Steps *s, ProgBlock *b, const Stmt *const *body,
                          int count, int i)
{
    int loop = i;
    while (loop < count && body[loop]->kind != STEP_REPEAT)
        loop++;
    if (loop < count && (i == 0 || body[i - 1]->kind == STEP_REPEAT))
        step_set_out(s, b, body[loop]);
    step_statement(s, b, body[i]);
}

/* All of micro-batch `run` of the rank's. */
static void lower_micro(Steps *s, ProgBlock *b, const Stmt *stmt,
                        ProgExpr *run)
{
    int forward = forward_statements(stmt);
    if (forward)
        step_note(s, b, "note_forward", run);
    for (int i = 0; i < stmt->body.count; i++) {
        if (i == forward)
            step_note(s, b, "note_backward", run);
        lower_leading(s, b, (const Stmt *const *)stmt->body.at,
                      stmt->body.count, i);
    }
}

static void micros(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    s->runs = s->map->groups * stmt->count;
    if (stmt->count == 1) {
        if (s->group)
            step_set_first(s, b, var(s, s->group));
        lower_micro(s, b, stmt, s->group ? var(s, s->group) : num(s, 0));
        s->first = NULL;
        s->runs = s->map->groups;
        return;
    }
    ProgBlock *after = b;
    s->micro = prog_local(p, s->func, "micro", prog_i64());
    b = ps_for(p, b, s->micro, num(s, 0), num(s, stmt->count), num(s, 1));
    ProgExpr *run = var(s, s->micro);
    if (s->group)
        run = px_add(p, px_mul(p, var(s, s->group), num(s, stmt->count)), run);
    step_set_first(s, b, run);
    set_at(s, b, s->at, "accumulate", px_lt(p, num(s, 0), var(s, s->micro)));
    lower_micro(s, b, stmt, run);
    s->micro = s->first = NULL;
    s->runs = s->map->groups;
    if (stmt->count > 1 && finishes(s->map->step))
        set_at(s, after, s->at, "accumulate", px_i32(p, 0));
}

void step_point_at_gradients(Steps *s, ProgBlock *b)
{
    for (int i = 0; i < MOST_SITES; i++)
        if (s->dshared[i])
            step_point_shared(s, b, s->l->shared_sums[i],
                              s->l->stage_sums[i], s->dshared[i],
                              var(s, s->gradients));
}

static void groups(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    Prog *p = s->p;
    p->here = (Loc){0};
    int64_t count = s->map->groups;     /* of this rank */
    if (s->stage) {
        step_pipeline(s, b, stmt);
        return;
    }
    if (count == 1) {
        s->gradients = step_let(s, b, "gradients", step_region(s, "gradients"));
        step_point_at_gradients(s, b);
        lower_body(s, b, stmt);
        s->runs = 1;
        step_sum_ranks(s, b);
        return;
    }
    s->group = prog_local(p, s->func, "group", prog_i64());
    ProgBlock *body =
        ps_for(p, b, s->group, num(s, 0), num(s, count), num(s, 1));
    ProgExpr *each = px_const(p, s->l->gradients_const);
    ProgExpr *skip = px_mul(p, step_ones(s, false), each);
    s->gradients = step_let(s, body, "gradients",
                            px_offset(p, step_region(s, "gradients"), skip));
    step_point_at_gradients(s, body);
    lower_body(s, body, stmt);
    step_merge_groups(s, body, MERGE_ALL);
    s->group = NULL;
    s->runs = 1;
    s->gradients = step_let(s, b, "gradients", step_region(s, "gradients"));
    step_point_at_gradients(s, b);
    step_sum_ranks(s, b);
}

/* A value begins at 0: its first slot. */
static void zero(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    const StepValue *v = find_value(s->map, stmt->results.at[0]);
    if (!v)
        ice("there is no %s to clear", stmt->results.at[0]);
    int64_t rows = v->pooled ? s->map->step->micro : s->map->rows;
    ProgExpr *all = v->slot ? px_const(s->p, v->slot)
                            : num(s, (rows * v->width + 15) / 16 * 16);
    ProgExpr *args[] = { var(s, s->me), step_region(s, v->region), all };
    step_call(s, b, clear_func(s->l), args, 3);
    step_barrier(s, b);
}

void step_statement(Steps *s, ProgBlock *b, const Stmt *stmt)
{
    s->p->here = stmt->origin.model;
    switch (stmt->kind) {
    case STEP_COUNT: count(s, b, stmt); return;
    case STEP_ZERO: zero(s, b, stmt); return;
    case STEP_GROUPS: groups(s, b, stmt); return;
    case STEP_MICROS: micros(s, b, stmt); return;
    case STEP_REPEAT: repeat(s, b, stmt); return;
    case STEP_CHUNKS: chunks(s, b, stmt); return;
    case STEP_CALL: call_func(s, b, stmt); return;
    case STEP_SITES: step_sum_sites(s, b); return;
    case STEP_NORM: step_norm(s, b); return;
    case STEP_UPDATE: step_update(s, b); return;
    }
}

/* Sums over scored positions or labels, and how many those are. */
static void report_sums(Steps *s, ProgBlock *say)
{
    static const char *const fields[STEP_TOTALS] = { "loss", "label_loss",
                                                     "correct",
                                                     "label_correct" };
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        ProgExpr *sum = step_total_sum(s, i);
        if (i == TOTAL_CORRECT || i == TOTAL_LABEL_CORRECT)
            sum = px_cast(s->p, prog_i64(), sum);
        ps_field_set(s->p, say, var(s, s->control), fields[i], sum);
    }
}

static void report_step(Steps *s, ProgBlock *say, bool train)
{
    ps_field_set(s->p, say, var(s, s->control), "loss",
                 px_cast(s->p, prog_f64(), var(s, s->loss_value)));
    if (s->aux)
        ps_field_set(s->p, say, var(s, s->control), "aux_loss", var(s, s->aux));
    if (!train)
        return;
    ps_field_set(s->p, say, var(s, s->control), "grad_norm", var(s, s->norm));
    ps_field_set(s->p, say, var(s, s->control), "clip_scale",
                 var(s, s->clip_scale));
    ps_field_set(s->p, say, var(s, s->control), "applied", var(s, s->applied));
}

/* What the runtime reads after a call; thread 0 says it. */
static void report(Steps *s)
{
    Prog *p = s->p;
    ProgBlock *b = &s->func->body;
    const char *name = s->map->step->name;
    bool eval = !strcmp(name, "eval"), train = !strcmp(name, "train");
    if (!eval && !train && strcmp(name, "grad") != 0)
        return;
    if (eval && s->totals[TOTAL_LOSS])
        count_ids(s, b, "targets");
    if (eval && s->totals[TOTAL_LABEL_LOSS])
        count_ids(s, b,
                  step_takes(s->map->step, "labels") ? "labels" : "pairs");
    if (!eval && !train)
        step_finish_loss(s, b);
    if (!eval && !train && s->l->shards > 1)
        step_gather_gradients(s, b);
    if (eval) {
        step_sum_context(s, b);
        step_share_totals(s, b);
    }
    ps_comment(p, b, "what the runtime reads");
    ProgExpr *first = px_eq(p, px_field(p, var(s, s->me), "index"),
                            px_i32(p, 0));
    ProgBlock *say = ps_if(p, b, first, NULL);
    if (eval)
        report_sums(s, say);
    if (s->count)
        ps_field_set(p, say, var(s, s->control), "scored", var(s, s->count));
    if (s->labels)
        ps_field_set(p, say, var(s, s->control), "label_scored",
                     var(s, s->labels));
    if (!eval)
        report_step(s, say, train);
}

static const char *step_comment(Lower *l, const StepMap *map)
{
    const Step *step = map->step;
    int64_t sequences = map->sequences;         /* of a rank */
    const char *what = arena_printf(
        l->arena, "%s: %lld sequence%s of %lld tokens", step->name,
        (long long)sequences, sequences == 1 ? "" : "s",
        (long long)step->sequence);
    if (step->micro == sequences)
        return arena_printf(l->arena, "%s.", what);
    return arena_printf(l->arena, "%s, %lld at a time.", what,
                        (long long)step->micro);
}

/* The small functions that the step calls stand before it. */
static void write_small(Lower *l, const StepMap *map)
{
    const Step *step = map->step;
    const Stmt *const *body = (const Stmt *const *)step->body.at;
    if (step_takes(step, "targets") && !step_counts(step, "pairs"))
        count_scored_func(l);
    if (step_takes(step, "labels"))
        count_scored_func(l);
    if (step_takes(step, "reference"))
        count_pairs_func(l);
    bool gaps = l->stages > 1 || l->slices > 1 || l->shards > 1;
    if (has_kind(body, step->body.count, STEP_ZERO)
        || (gaps && has_kind(body, step->body.count, STEP_NORM)))
        clear_func(l);
}

ProgFunc *lower_step(Lower *l, const StepMap *map)
{
    Prog *p = l->p;
    Steps s = { .l = l, .p = p, .map = map, .runs = 1 };
    if (map->groups > 1)
        ones_func(l);
    if (find_region(map, "gradients"))
        add_into_func(l);
    write_small(l, map);
    lower_actions(l, map->step);
    if (gathers(l, map->step))
        write_gathering(l);
    if (find_region(map, "all_sums"))
        copy_func(l);
    s.func = prog_func(p, map->step->name, step_comment(l, map),
                       prog_void());
    s.me = prog_param(p, s.func, "me",
                      prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    s.control = prog_param(p, s.func, "control",
                           prog_pointer_to(prog_runtime_record(p, "Control"),
                                           false));
    open_step(&s);
    bool score = !strcmp(map->step->name, "gathered_score");
    if (s.stage && (score || !strcmp(map->step->name, "eval")))
        step_forward_stages(&s, &s.func->body);
    else
        for (int i = 0; i < map->step->body.count; i++)
            lower_leading(&s, &s.func->body,
                          (const Stmt *const *)map->step->body.at,
                          map->step->body.count, i);
    if (s.stage && score)
        step_share_sums(&s, &s.func->body);
    if (gathers(l, map->step) && !has_gradients(&s))
        step_leave_shares(&s, &s.func->body);
    report(&s);
    prog_define(p, s.func);
    return s.func;
}
