/* pipeline.c: a step whose blocks lie on the stages of a pipeline. All stages
 * run the same code: a loop over the actions that the table gives a stage, each
 * a micro-batch forward or backward. Rows of x come from the stage before and
 * go to the next, rows of dx the other way; the first stage embeds, the last
 * has what stands behind the blocks, and does it when backward begins. Of an
 * encoder-decoder see stacks.c. */
#include "steps.h"

ProgExpr *step_stage_field(Steps *s, const char *field)
{
    return px_field(s->p, var(s, s->stage), stage_blocks_field(s->l, field));
}

ProgExpr *step_last_stage(Steps *s)
{
    return px_sub(s->p, px_const(s->p, s->l->stage_count), num(s, 1));
}

ProgExpr *step_is_first(Steps *s)
{
    return px_eq(s->p, step_control(s, "stage"), num(s, 0));
}

ProgExpr *step_is_last(Steps *s)
{
    return px_eq(s->p, step_control(s, "stage"), step_last_stage(s));
}

ProgExpr *step_is_stage(Steps *s, int stage)
{
    Prog *p = s->p;
    if (stage == 0)
        return step_is_first(s);
    if (stage == s->l->stages - 1)
        return step_is_last(s);
    if (s->l->mixed)
        return px_eq(p, step_control(s, "stage"), num(s, stage));
    ProgExpr *decoder = px_const(p, s->l->decoder_const);
    return px_eq(p, step_control(s, "stage"),
                 stage == s->l->decoder ? decoder
                                        : px_sub(p, decoder, num(s, 1)));
}

/* Which chunk of the model is open, counted through the stages. */
static ProgExpr *chunk_number(Steps *s)
{
    return s->l->chunks == 1 ? step_control(s, "stage")
                             : step_chunk_field(s, "number");
}

/* A chunk's number, said by what it is: the model's first or last, the
 * decoder's first, the encoder's last. */
static ProgExpr *number_of(Steps *s, int number)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    if (number == 0)
        return num(s, 0);
    if (number == last_number(l))
        return px_sub(p, px_mul(p, px_const(p, l->stage_count),
                                px_const(p, l->chunk_count)), num(s, 1));
    ProgExpr *decoder = px_const(p, l->decoder_const);
    return number == l->decoder ? decoder : px_sub(p, decoder, num(s, 1));
}

ProgExpr *step_is_chunk(Steps *s, int number)
{
    if (s->l->chunks == 1)
        return step_is_stage(s, number);
    return px_eq(s->p, chunk_number(s), number_of(s, number));
}

ProgExpr *step_is_encoder(Steps *s)
{
    return px_lt(s->p, chunk_number(s), px_const(s->p, s->l->decoder_const));
}

ProgBlock *step_on_stages(Steps *s, ProgBlock *b, int weight)
{
    ProgExpr *any = NULL;
    for (int i = 0; s->stage && i < s->l->stages; i++)
        if (weight_on_stage(s->l, weight, i)) {
            ProgExpr *one = step_is_stage(s, i);
            any = any ? px_or(s->p, any, one) : one;
        }
    return any ? ps_if(s->p, b, any, NULL) : b;
}

ProgExpr *step_begins(Steps *s)
{
    if (s->l->chunks == 1)
        return step_is_first(s);
    return px_eq(s->p, step_chunk_field(s, "from"), num(s, 0));
}

ProgExpr *step_ends(Steps *s)
{
    const char *dim = s->l->m->stacks.at[0].dim;
    if (s->l->chunks == 1)
        return step_is_last(s);
    return px_eq(s->p, step_chunk_field(s, "to"),
                 px_const(s->p, s->l->dims[module_find_dim(s->l->m, dim)]));
}

ProgExpr *step_chunk_row_at(Steps *s, ProgExpr *stage, ProgExpr *chunk)
{
    ProgExpr *row = px_add(
        s->p, px_mul(s->p, stage, px_const(s->p, s->l->chunk_count)), chunk);
    return px_offset(s->p, px_data(s->p, s->l->chunk_data), row);
}

static int width_dim(const Steps *s)
{
    return module_find_dim(s->l->m, "C");
}

int64_t step_row_width(const Steps *s)
{
    return s->l->m->dims.at[width_dim(s)].size;
}

ProgExpr *step_row_floats(Steps *s)
{
    ProgExpr *rows = px_mul(s->p, px_const(s->p, s->map->micro),
                            px_const(s->p, s->map->sequence));
    if (module_shares(s->l->m) > 1)
        rows = px_div(s->p, rows, num(s, module_shares(s->l->m)));
    return px_mul(s->p, rows, dim_size(s->l, width_dim(s)));
}

/* The rows of the tables that are this stage's. */
void open_stage(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    if (!s->map->by_stage)
        return;
    s->stage = prog_local(p, s->func, "stage",
                          prog_pointer_to(s->l->stage, true));
    ps_let(p, b, s->stage, px_offset(p, px_data(p, s->l->stage_data),
                                     step_control(s, "stage")));
    s->place = prog_local(p, s->func, "place",
                          prog_pointer_to(s->map->places, true));
    ps_let(p, b, s->place, px_offset(p, px_data(p, s->map->place_data),
                                     step_control(s, "stage")));
}

/* ---- the parts of what a micro-batch does ---- */
/* Statements [from, to) of a body. */
typedef struct Span { const Stmt *const *at; int count; } Span;

static int find_repeat(const Stmt *const *body, int count, bool down)
{
    for (int i = 0; i < count; i++)
        if (body[i]->kind == STEP_REPEAT && body[i]->down == down)
            return i;
    return count;
}

static void lower_span(Steps *s, ProgBlock *b, Span span)
{
    for (int i = 0; i < span.count; i++)
        step_statement(s, b, span.at[i]);
}

ProgExpr *step_stream(Steps *s, const Stmt *repeat, bool behind)
{
    const Stmt *call = repeat->body.at[0];
    Stmt outside = { .kind = STEP_CALL };
    return step_place(s, call->results.at[0], &outside, !behind);
}

/* Rows come in: the first stage (backward: the last) computes them, others
 * receive them. */
static void enter(Steps *s, ProgBlock *b, const Stmt *repeat, Span own)
{
    ProgBlock *other;
    bool down = repeat->down;
    step_set_out(s, b, repeat);
    ProgBlock *mine = ps_if(s->p, b, down ? step_ends(s) : step_begins(s),
                            &other);
    lower_span(s, mine, own);
    step_receive(s, other, ROWS_X, down, step_stream(s, repeat, false));
}

/* Rows go out: to the neighbour, but at the end, which goes on itself. */
static void leave(Steps *s, ProgBlock *b, const Stmt *repeat, Span own)
{
    bool down = repeat->down;
    ProgBlock *other = NULL;
    ProgExpr *end = down ? step_begins(s) : step_ends(s);
    if (own.count)
        lower_span(s, ps_if(s->p, b, end, &other), own);
    else
        other = ps_if(s->p, b, px_ne(s->p, end->a, end->b), NULL);
    step_send(s, other, ROWS_X, down, step_stream(s, repeat, true));
}

/* ---- actions ---- */
/* Every action of every stage, stage by stage; train and grad share it. */
static ProgData *actions(Lower *l, const Step *step)
{
    if (l->actions)
        return l->actions;
    Prog *p = l->p;
    ProgRecord *record = prog_record(p, "Action", "What a stage does next.");
    prog_field(p, record, "kind", prog_i32(),
               l->halves ? "FORWARD, BACKWARD or WEIGHTS"
                         : "FORWARD or BACKWARD");
    prog_field(p, record, "run", prog_i64(), "of which micro-batch");
    if (l->chunks > 1)
        prog_field(p, record, "chunk", prog_i64(), "in which of its chunks");
    l->actions = prog_data(p, "actions", record, true, false);
    l->actions->terse = true;
    for (int s = 0; s < step->stages.count; s++) {
        prog_heading(p, l->actions, arena_printf(l->arena, "stage %d", s));
        for (int i = 0; i < step->stages.at[s].actions.count; i++) {
            const Action *a = &step->stages.at[s].actions.at[i];
            prog_datum_const(p, l->actions, l->action_kinds[a->kind], 1);
            prog_datum_int(p, l->actions, a->micro);
            if (l->chunks > 1)
                prog_datum_int(p, l->actions, a->chunk);
        }
    }
    return l->actions;
}

void lower_actions(Lower *l, const Step *step)
{
    if (step->stages.count && step_goes_back(step))
        actions(l, step);
}

/* What forward leaves in the slot for backward: inputs of blocks, records. */
void step_open_slot(Steps *s, ProgBlock *b, int stack)
{
    Prog *p = s->p;
    const char *name = !s->l->decoder ? "records"
                     : stack          ? "decoder_records"
                                      : "encoder_records";
    const Region *records = find_region(s->map, name);
    const StepValue *x =
        find_value(s->map, s->l->decoder && !stack ? "encoded" : "x");
    ProgExpr *blocks = step_chunk_field(s, "count");
    ProgExpr *inputs = px_mul(p, px_add(p, blocks, num(s, 1)),
                              px_const(p, x->slot));
    ProgExpr *at = px_mul(p, var(s, s->slot), inputs);
    if (s->model_chunk)         /* behind those of the stage's chunks before */
        at = px_add(p, px_mul(p, step_chunk_field(s, "inputs"),
                              px_const(p, x->slot)), at);
    s->stream = step_let(s, b, "stream",
                         px_offset(p, step_region(s, x->region), at));
    if (!records)
        return;
    ProgExpr *all = px_mul(p, blocks, px_const(p, records->each));
    at = px_mul(p, var(s, s->slot), all);
    if (s->model_chunk)
        at = px_add(p, px_mul(p, step_chunk_field(s, "records"),
                              px_const(p, records->each)), at);
    s->records = step_let(s, b, "records",
                          px_offset(p, step_region(s, name), at));
}

void step_open_pending(Steps *s, ProgBlock *b, int stack)
{
    Prog *p = s->p;
    const char *name = pending_region(s->l, stack);
    const Region *pending = find_region(s->map, name);
    if (!pending)
        return;
    ProgExpr *slot = px_rem(p, var(s, s->run), step_stage_field(s, "pending"));
    ProgExpr *all = px_mul(p, step_stage_field(s, "count"),
                           px_const(p, pending->each));
    s->pending = step_let(s, b, "pending",
                          px_offset(p, step_region(s, name),
                                    px_mul(p, slot, all)));
}

/* Where micro-batch `run` stands: its group, its place in it, its slot. */
static void open_run(Steps *s, ProgBlock *b, ProgExpr *run)
{
    Prog *p = s->p;
    int64_t micros = s->map->micros;
    s->run = step_let(s, b, "run", run);
    ProgExpr *micro = var(s, s->run);
    if (s->map->groups > 1) {
        s->group = step_let(s, b, "group",
                            px_div(p, var(s, s->run), num(s, micros)));
        micro = px_rem(p, micro, num(s, micros));
    }
    if (micros > 1)
        s->micro = s->group ? step_let(s, b, "micro", micro) : s->run;
    s->slot = step_let(s, b, "slot",
                       px_rem(p, var(s, s->run), step_chunk_field(s, "slots")));
    if (!s->l->decoder) {
        step_open_slot(s, b, 0);
        step_open_pending(s, b, 0);
    }
    if (s->group) {
        s->gradients = step_let(s, b, "gradients",
                                px_offset(p, step_region(s, "gradients"),
                                          px_mul(p, step_ones(s, false),
                                                 step_gradient_floats(s))));
        step_point_at_gradients(s, b);
    }
    step_set_first(s, b, var(s, s->run));
    ProgExpr *goes_on = s->micro ? px_lt(p, num(s, 0), var(s, s->micro))
                                 : px_i32(p, 0);
    step_set_call(s, b, "accumulate", goes_on);
}

/* After the last micro-batch of a group: what is done once a group, of sums of
 * blocks, and its sum with its elder. */
static void close_run(Steps *s, ProgBlock *b, const Stmt *groups, Merged what)
{
    Prog *p = s->p;
    int once = what == MERGE_OUTSIDE ? 1 : groups->body.count;
    if (!s->group && once == 1)
        return;
    if (s->micro)
        b = ps_if(p, b, px_eq(p, var(s, s->micro),
                              num(s, s->map->micros - 1)), NULL);
    if (once > 1)
        step_set_call(s, b, "accumulate", px_i32(p, 0));
    for (int i = 1; i < once; i++)
        step_statement(s, b, groups->body.at[i]);
    if (s->group)
        step_merge_groups(s, b, what);
}

static ProgExpr *is_action(Steps *s, const ProgVar *action, ActionKind kind)
{
    return px_eq(s->p, px_field(s->p, var(s, action), "kind"),
                 px_const(s->p, s->l->action_kinds[kind]));
}

/* A loop over the actions of the stage, whose chunk of the model is open. */
static ProgBlock *each_action(Steps *s, ProgBlock *b, ProgVar **action)
{
    Prog *p = s->p;
    ProgExpr *each = px_const(p, s->l->action_count);
    ps_comment(p, b, "micro-batches forward and backward, as the stage's table "
               "has them");
    ProgVar *next = prog_local(p, s->func, "next", prog_i64());
    ProgBlock *loop = ps_for(p, b, next, num(s, 0), each, num(s, 1));
    ProgExpr *row = px_add(p, px_mul(p, step_control(s, "stage"), each),
                           var(s, next));
    *action = prog_local(p, s->func, "action",
                         prog_pointer_to(s->l->actions->record, true));
    ps_let(p, loop, *action, px_offset(p, px_data(p, s->l->actions), row));
    if (s->l->chunks > 1)
        s->model_chunk = step_let(
            s, loop, "model_chunk",
            step_chunk_row_at(s, step_control(s, "stage"),
                              px_field(p, var(s, *action), "chunk")));
    return loop;
}

/* What the action is about, where a run is traced. */
static void note_action(Steps *s, ProgBlock *b, const char *note,
                        const ProgVar *action)
{
    step_note(s, b, note, var(s, s->run));
    if (s->l->chunks > 1)
        step_note(s, b, "note_chunk",
                  px_field(s->p, var(s, action), "chunk"));
}

/* Where the kinds of actions are written; weights NULL: backward is whole. */
typedef struct Branches { ProgBlock *forward, *backward, *weights; } Branches;

/* What a micro-batch's statements are to a stage of a model of one stack. */
static void one_stack(Steps *s, const Branches *to, const Stmt *const *body,
                      int count)
{
    int up = find_repeat(body, count, false);
    int down = find_repeat(body, count, true);
    if (up == count || down == count)
        ice("%s is no pipeline", s->map->step->name);
    const Span embed = { body, up }, none = { NULL, 0 };
    const Span middle = { body + up + 1, down - up - 1 };
    int behind = down + (to->weights ? 2 : 1);
    const Span end = { body + behind, count - behind };
    enter(s, to->forward, body[up], embed);
    step_statement(s, to->forward, body[up]);
    leave(s, to->forward, body[up], none);
    enter(s, to->backward, body[down], middle);
    step_statement(s, to->backward, body[down]);
    leave(s, to->backward, body[down], end);
    if (to->weights)
        step_statement(s, to->weights, body[down + 1]);
}

static void open_gradients(Steps *s, ProgBlock *b)
{
    s->gradients = step_let(s, b, "gradients", step_region(s, "gradients"));
    step_point_at_gradients(s, b);
}

void step_pipeline(Steps *s, ProgBlock *b, const Stmt *groups)
{
    Prog *p = s->p;
    const Stmt *micros = groups->body.at[0];
    const Stmt *const *body = (const Stmt *const *)micros->body.at;
    int count = micros->body.count;
    ProgVar *action;
    bool several = s->map->groups > 1;  /* groups, each with its own sums */
    if (!several)
        open_gradients(s, b);
    ProgBlock *loop = each_action(s, b, &action);
    s->runs = s->map->groups * s->map->micros;
    open_run(s, loop, px_field(p, var(s, action), "run"));
    Branches to = {0};
    if (s->l->halves)
        to.weights = ps_if(p, loop, is_action(s, action, ACTION_WEIGHTS),
                           &loop);
    to.backward = ps_if(p, loop, is_action(s, action, ACTION_BACKWARD),
                        &to.forward);
    note_action(s, to.forward, "note_forward", action);
    note_action(s, to.backward, "note_backward", action);
    if (to.weights)
        note_action(s, to.weights, "note_weights", action);
    if (s->l->decoder) {
        step_stacks(s, to.forward, body, count, false);
        step_stacks(s, to.backward, body, count, true);
        if (to.weights)
            step_stack_weights(s, to.weights, body, count);
    } else {
        one_stack(s, &to, body, count);
    }
    s->runs = s->map->groups;
    close_run(s, to.backward, groups, to.weights ? MERGE_OUTSIDE : MERGE_ALL);
    if (to.weights)
        close_run(s, to.weights, groups, MERGE_BLOCKS);
    s->runs = 1;
    s->group = s->micro = s->run = s->slot = s->first = s->model_chunk = NULL;
    s->stream = s->records = s->pending = NULL;
    if (several)
        open_gradients(s, b);
    step_sum_ranks(s, b);
}

void step_forward_stages(Steps *s, ProgBlock *b)
{
    const Step *step = s->map->step;
    const Stmt *const *body = (const Stmt *const *)step->body.at;
    int count = step->body.count, up = find_repeat(body, count, false);
    ProgVar *chunk;
    b = step_each_chunk(s, b, &chunk);
    if (s->l->decoder) {
        step_stacks(s, b, body, count, false);
        s->model_chunk = NULL;
        return;
    }
    const Span before = { body, up };
    const Span behind = { body + up + 1, count - up - 1 };
    enter(s, b, body[up], before);
    step_statement(s, b, body[up]);
    leave(s, b, body[up], behind);
    s->model_chunk = NULL;
}
