/* walk.c: an interpreter of the part of a Prog that is known before it runs
 * (walk.h). A value is an integer, a place, a row of constant data, a record of
 * such values, or unknown: whatever is computed from data. A branch on what is
 * unknown is the update of a step that was not finite; it is taken. A loop or a
 * message that depends on the unknown is an error: nothing of a plan may. With
 * every value goes the set of fields of Control that it was computed from:
 * those that a branch, a loop or an event was decided by are what the walk
 * depends on. */
#include "walk.h"
#include "../ir/prog_make.h"
#include <stdlib.h>

typedef enum KnownKind {
    UNKNOWN, KNOWN_INT, KNOWN_PLACE, KNOWN_ROW, KNOWN_RECORD,
} KnownKind;

typedef struct Known {
    KnownKind kind;
    unsigned of;                    /* seat fields that it was computed from */
    int64_t number;                 /* INT; PLACE: bytes; ROW: which */
    const char *base;               /* PLACE */
    const ProgData *data;           /* ROW */
    struct Instance *record;        /* RECORD */
} Known;

typedef struct Instance { const ProgRecord *record; Known *fields; } Instance;

/* Does a function lead to an event? Asked once each. */
typedef struct Leads { const ProgFunc *func; bool leads; } Leads;

typedef struct Walk {
    Arena *arena;                   /* of what comes of it */
    Arena *scratch;                 /* of records, until it ends */
    Walked *out;
    List(Leads) leads;
    Instance *call;                 /* the step's Call */
    int depth;
} Walk;

typedef struct Frame {
    Walk *walk;
    const ProgFunc *func;
    Known *variables;               /* by number */
    Known result;
    bool returned;
} Frame;

/* Where a rank sits, as Control says it. */
typedef enum SeatField {
    SEAT_STAGE, SEAT_REPLICA, SEAT_CHUNK, SEAT_EXPERT, SEAT_EXPERT_SHARE,
    SEAT_SHARE, SEAT_SLICE, SEAT_FIRST, SEAT_FIELDS,
} SeatField;

static const char *const seat_names[SEAT_FIELDS] = {
    [SEAT_STAGE] = "stage", [SEAT_REPLICA] = "replica",
    [SEAT_CHUNK] = "chunk", [SEAT_EXPERT] = "expert",
    [SEAT_EXPERT_SHARE] = "expert_share", [SEAT_SHARE] = "share",
    [SEAT_SLICE] = "slice", [SEAT_FIRST] = "first",
};

static const Known unknown = { .kind = UNKNOWN };

static Known known_int(int64_t number)
{
    return (Known){ .kind = KNOWN_INT, .number = number };
}

static Known unknown_of(unsigned of)
{
    return (Known){ .kind = UNKNOWN, .of = of };
}

/* The same value, computed from these fields as well. */
static Known and_of(Known v, unsigned of)
{
    v.of |= of;
    return v;
}

/* What happens next was decided by v. */
static void depend(Walk *walk, Known v)
{
    walk->out->depends |= v.of;
}

static void fail(Walk *walk, const ProgFunc *func, const char *what)
{
    if (!walk->out->wrong)
        walk->out->wrong = arena_printf(walk->arena, "%s: %s", func->name,
                                        what);
}

/* ---- what leads to events ---- */
static bool block_leads(Walk *walk, const ProgBlock *block);
static bool func_leads(Walk *walk, const ProgFunc *func);

static int param_named(const ProgFunc *func, const char *name)
{
    for (int i = 0; i < func->params.count; i++)
        if (!strcmp(func->params.at[i]->base, name))
            return i;
    return -1;
}

static bool keeps_record(const ProgFunc *func)
{
    return param_named(func, "saved") >= 0
        || param_named(func, "pending") >= 0;
}

static bool is_update(const ProgFunc *func)
{
    return func->linkage == PL_STATIC && !strcmp(func->name, "update");
}

static bool expr_leads(Walk *walk, const ProgExpr *e)
{
    if (!e)
        return false;
    bool leads = (e->kind == PE_CALL && func_leads(walk, e->callee))
        || expr_leads(walk, e->a) || expr_leads(walk, e->b)
        || expr_leads(walk, e->c);
    for (int i = 0; i < e->args.count && !leads; i++)
        leads = expr_leads(walk, e->args.at[i]);
    return leads;
}

static bool block_leads(Walk *walk, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        if (expr_leads(walk, s->a) || expr_leads(walk, s->b)
            || expr_leads(walk, s->c) || block_leads(walk, &s->body)
            || block_leads(walk, &s->other))
            return true;
    }
    return false;
}

static bool func_leads(Walk *walk, const ProgFunc *func)
{
    for (int i = 0; i < walk->leads.count; i++)
        if (walk->leads.at[i].func == func)
            return walk->leads.at[i].leads;
    bool leads = func->linkage == PL_COLLECTIVE || is_update(func)
        || keeps_record(func) || block_leads(walk, &func->body);
    const Leads one = { func, leads };
    list_push(walk->scratch, &walk->leads, one);
    return leads;
}

/* ---- values ---- */
static Known evaluate(Frame *f, const ProgExpr *e);

static Instance *instance_new(Walk *walk, const ProgRecord *record)
{
    Instance *made = arena_alloc(walk->scratch, sizeof *made);
    made->record = record;
    made->fields = arena_alloc(
        walk->scratch, (size_t)(record->fields.count + 1) * sizeof(Known));
    return made;
}

static Known *field_of(Instance *instance, const char *name)
{
    for (int i = 0; i < instance->record->fields.count; i++)
        if (instance->record->fields.at[i].name == name
            || !strcmp(instance->record->fields.at[i].name, name))
            return &instance->fields[i];
    ice("%s has no field %s", instance->record->name, name);
}

static Known datum(const Known *row, const char *name)
{
    if (row->number < 0 || row->number >= row->data->rows)
        return unknown_of(row->of);
    const ProgDatum *d = facts_field(row->data, (int)row->number, name);
    return and_of(d->kind == PD_INT ? known_int(d->integer) : unknown,
                  row->of);
}

/* What x op y is computed from. A replica's first sequence plus a number stays
 * that; whatever else is made of it is the replica's own. */
static unsigned of_both(ProgExprKind kind, Known a, Known b)
{
    const unsigned first = 1u << SEAT_FIRST;
    bool moved = (kind == PE_ADD && !(a.of & b.of & first))
        || (kind == PE_SUB && !(b.of & first));
    unsigned of = a.of | b.of;
    return (of & first) && !moved ? of | 1u << SEAT_REPLICA : of;
}

static Known arithmetic(ProgExprKind kind, Known a, Known b)
{
    unsigned of = of_both(kind, a, b);
    if (a.kind != KNOWN_INT || b.kind != KNOWN_INT)
        return unknown_of(of);
    int64_t x = a.number, y = b.number, to = 0;
    bool fits = true;
    switch (kind) {
    case PE_ADD: fits = !__builtin_add_overflow(x, y, &to); break;
    case PE_SUB: fits = !__builtin_sub_overflow(x, y, &to); break;
    case PE_MUL: fits = !__builtin_mul_overflow(x, y, &to); break;
    case PE_DIV: fits = y != 0; to = fits ? x / y : 0; break;
    case PE_REM: fits = y != 0; to = fits ? x % y : 0; break;
    case PE_LT: to = x < y; break;
    case PE_LE: to = x <= y; break;
    case PE_EQ: to = x == y; break;
    case PE_NE: to = x != y; break;
    default: fits = false; break;
    }
    return and_of(fits ? known_int(to) : unknown, of);
}

static Known moved(Frame *f, const ProgExpr *e)
{
    Known a = evaluate(f, e->a), b = evaluate(f, e->b);
    unsigned of = of_both(PE_MUL, a, b);
    if (b.kind != KNOWN_INT)
        return unknown_of(of);
    if (a.kind == KNOWN_ROW)
        a.number += b.number;
    else if (a.kind == KNOWN_PLACE)
        a.number += b.number * prog_kind_bytes(e->a->type.of);
    else
        return unknown_of(of);
    return and_of(a, of);
}

/* a && b, a || b: b only where a leaves it open. */
static Known both(Frame *f, const ProgExpr *e)
{
    Known a = evaluate(f, e->a);
    bool stops = e->kind == PE_OR;
    if (a.kind == KNOWN_INT && (a.number != 0) == stops)
        return and_of(known_int(stops), a.of);
    Known b = evaluate(f, e->b);
    unsigned of = a.of | b.of;
    if (b.kind == KNOWN_INT && (b.number != 0) == stops)
        return and_of(known_int(stops), of);
    bool known = a.kind == KNOWN_INT && b.kind == KNOWN_INT;
    return and_of(known ? known_int(!stops) : unknown, of);
}

static Known selected(Frame *f, const ProgExpr *e)
{
    Known a = evaluate(f, e->a);
    if (a.kind != KNOWN_INT)
        return unknown_of(a.of);
    return and_of(evaluate(f, a.number ? e->b : e->c), a.of);
}

static Known field_value(Frame *f, const ProgExpr *e)
{
    Known a = evaluate(f, e->a);
    if (a.kind == KNOWN_RECORD)
        return *field_of(a.record, e->field);
    return a.kind == KNOWN_ROW ? datum(&a, e->field) : unknown_of(a.of);
}

static Known call(Frame *f, const ProgExpr *e);

static Known evaluate(Frame *f, const ProgExpr *e)
{
    switch (e->kind) {
    case PE_INT: return known_int(e->integer);
    case PE_CONST: return known_int(e->constant->value);
    case PE_VAR: return f->variables[e->variable->number];
    case PE_DATA: return (Known){ .kind = KNOWN_ROW, .data = e->data };
    case PE_ADDRESS: return evaluate(f, e->a);
    case PE_FIELD: return field_value(f, e);
    case PE_OFFSET: return moved(f, e);
    case PE_LOAD: {
        Known at = moved(f, e);
        return at.kind == KNOWN_ROW ? at : unknown_of(at.of);
    }
    case PE_CAST: {
        Known a = evaluate(f, e->a);
        return prog_is_float(e->type.kind) ? unknown_of(a.of) : a;
    }
    case PE_NEG: return arithmetic(PE_SUB, known_int(0), evaluate(f, e->a));
    case PE_AND: case PE_OR: return both(f, e);
    case PE_SELECT: return selected(f, e);
    case PE_CALL: return call(f, e);
    case PE_ADD: case PE_SUB: case PE_MUL: case PE_DIV: case PE_REM:
    case PE_LT: case PE_LE: case PE_EQ: case PE_NE: {
        Known a = evaluate(f, e->a), b = evaluate(f, e->b);
        return arithmetic(e->kind, a, b);
    }
    case PE_F32: case PE_F64: case PE_NULL: return unknown;
    }
    return unknown;
}

/* ---- events ---- */
static WalkPlace place_of(Known v)
{
    return v.kind == KNOWN_PLACE ? (WalkPlace){ v.base, v.number }
                                 : (WalkPlace){ NULL, 0 };
}

static int64_t of_call(Walk *walk, const char *field)
{
    const Known *v = walk->call ? field_of(walk->call, field) : NULL;
    if (v)
        walk->out->depends |= v->of & ~(1u << SEAT_FIRST);
    return v && v->kind == KNOWN_INT ? v->number : -1;
}

static void add_event(Walk *walk, EventKind kind, const ProgFunc *func,
                      Event event)
{
    event.kind = kind;
    event.func = func;
    event.first = of_call(walk, "first");
    event.block = of_call(walk, "block");
    list_push(walk->arena, &walk->out->events, event);
}

/* How many of a collective's last arguments make its size, if not one. */
static int size_factors(const ProgFunc *func)
{
    static const struct { const char *name; int factors; } rows[] = {
        { "all_reduce_count", 0 }, { "broadcast_f64", 0 },
        { "gather_chunks_f32", 3 }, { "sum_chunks_f32", 3 },
        { "gather_columns_f32", 2 },
        { "gather_shares_f32", 3 }, { "sum_shares_f32", 3 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(func->name, rows[i].name))
            return rows[i].factors;
    return 1;
}

/* Arguments as collectives.h has them: me, message, [peer], [places], sizes. */
static void add_talk(Frame *f, const ProgFunc *func, const Known *args)
{
    bool sends = !strcmp(func->name, "send_f32");
    bool directed = sends || !strcmp(func->name, "receive_f32")
        || !strcmp(func->name, "broadcast_f32")
        || !strcmp(func->name, "broadcast_f64");
    int last = func->params.count - 1, factors = size_factors(func);
    Event event = { .n = 1, .peer = -1 };
    for (int i = 1; i <= last; i++)
        depend(f->walk, args[i]);
    bool known = args[1].kind == KNOWN_INT
        && (!directed || args[2].kind == KNOWN_INT);
    for (int i = 0; i < factors; i++) {
        known &= args[last - i].kind == KNOWN_INT;
        event.n *= args[last - i].number;
    }
    if (!known)
        fail(f->walk, f->func, "a message's size is not known beforehand");
    event.message = args[1].number;
    if (directed)
        event.peer = args[2].number;
    for (int i = last; i > 1; i--)      /* the first place but a mailbox */
        if (args[i].kind == KNOWN_PLACE && !(sends && i == 3))
            event.at = place_of(args[i]);
    add_event(f->walk, EVENT_TALK, func, event);
}

/* The place of a parameter of `update`, if it has one of that name: a moment
 * that the optimizer does not keep it has not. */
static WalkPlace updated_place(Frame *f, const ProgFunc *func,
                               const Known *args, const char *name)
{
    int at = param_named(func, name);
    if (at < 0)
        return place_of(unknown);
    depend(f->walk, args[at]);
    if (args[at].kind != KNOWN_PLACE)
        fail(f->walk, f->func, "what is updated is not known beforehand");
    return place_of(args[at]);
}

static void add_update(Frame *f, const ProgFunc *func, const Known *args)
{
    int n = param_named(func, "n");
    if (n >= 0)
        depend(f->walk, args[n]);
    if (n < 0 || args[n].kind != KNOWN_INT)
        fail(f->walk, f->func, "how much is updated is not known beforehand");
    const Event event = {
        .peer = -1, .n = n < 0 ? 0 : args[n].number,
        .at = updated_place(f, func, args, "p"),
        .gradient = updated_place(f, func, args, "g"),
        .moment = updated_place(f, func, args, "first"),
    };
    updated_place(f, func, args, "second");
    add_event(f->walk, EVENT_UPDATE, func, event);
}

/* The record that forward leaves, and what the input half of a backward leaves
 * for its weight half. */
static void add_records(Frame *f, const ProgFunc *func, const Known *args)
{
    int x = param_named(func, "x"), saved = param_named(func, "saved");
    int pending = param_named(func, "pending");
    bool input = strstr(func->name, "backward_input") != NULL;
    bool backward = strstr(func->name, "backward") != NULL;
    Event event = { .peer = -1, .reads = backward, .last = backward && !input,
                    .keeps = strstr(func->name, "forward") != NULL };
    const int told[] = { x, saved, pending };
    for (int i = 0; i < 3; i++)
        if (told[i] >= 0)
            depend(f->walk, args[told[i]]);
    if (x >= 0)
        event.rows = place_of(args[x]);
    if (saved >= 0) {
        event.at = place_of(args[saved]);
        add_event(f->walk, EVENT_RECORD, func, event);
    }
    if (pending < 0)
        return;
    event.keeps = input;
    event.reads = event.last = !input;
    event.at = place_of(args[pending]);
    add_event(f->walk, EVENT_RECORD, func, event);
}

/* ---- statements ---- */
static void run_block(Frame *f, const ProgBlock *block);

/* Is it worth running: for its events, for the places that it sets, or for the
 * integer that it makes of integers? */
static bool is_run(Walk *walk, const ProgFunc *func, const Known *args)
{
    if (func->linkage != PL_STATIC)
        return false;
    if (func_leads(walk, func))
        return true;
    bool integers = prog_is_integer(func->result.kind), sets = false;
    for (int i = 0; i < func->params.count; i++) {
        const ProgType *type = &func->params.at[i]->type;
        integers &= args[i].kind == KNOWN_INT;
        sets |= type->kind == PK_POINTER && type->of == PK_RECORD
            && !type->is_const && args[i].kind == KNOWN_RECORD;
    }
    return integers || (sets && func->result.kind == PK_VOID);
}

/* Room for some values of a call. A step makes millions of calls, so it is
 * given back when the call has ended. */
static Known *scratch(int values)
{
    Known *room = calloc((size_t)values + 1, sizeof *room);
    if (!room)
        ice("out of memory");
    return room;
}

static Known run_func(Walk *walk, const ProgFunc *func, const Known *args)
{
    Frame f = { .walk = walk, .func = func,
                .variables = scratch(func->variables) };
    for (int i = 0; i < func->params.count; i++)
        f.variables[func->params.at[i]->number] = args[i];
    walk->depth++;
    run_block(&f, &func->body);
    walk->depth--;
    free(f.variables);
    return f.result;
}

static Known call(Frame *f, const ProgExpr *e)
{
    Walk *walk = f->walk;
    const ProgFunc *func = e->callee;
    Known *args = scratch(e->args.count), result = unknown;
    for (int i = 0; i < e->args.count; i++)
        args[i] = evaluate(f, e->args.at[i]);
    if (func->linkage == PL_COLLECTIVE)
        add_talk(f, func, args);
    else if (is_update(func))
        add_update(f, func, args);
    else {
        if (keeps_record(func) && walk->depth == 1)
            add_records(f, func, args);
        if (is_run(walk, func, args))
            result = run_func(walk, func, args);
    }
    free(args);
    return result;
}

static void run_loop(Frame *f, const ProgStmt *s)
{
    Known *v = &f->variables[s->variable->number];
    bool down = s->kind == PS_FOR_DOWN, leads = block_leads(f->walk, &s->body);
    if (!leads && f->func->result.kind == PK_VOID)
        return;
    Known from = evaluate(f, s->a), to = evaluate(f, s->b);
    Known by = down ? known_int(1) : evaluate(f, s->c);
    depend(f->walk, from);
    depend(f->walk, to);
    depend(f->walk, by);
    if (from.kind != KNOWN_INT || to.kind != KNOWN_INT || by.kind != KNOWN_INT
        || by.number < 1) {
        if (leads)
            fail(f->walk, f->func, "a loop's length is not known beforehand");
        return;
    }
    int64_t count = (to.number - from.number + by.number - 1) / by.number;
    for (int64_t i = 0; i < count && !f->returned && !f->walk->out->wrong;
         i++) {
        *v = known_int(down ? to.number - 1 - i : from.number + i * by.number);
        run_block(f, &s->body);
    }
}

static void run_if(Frame *f, const ProgStmt *s)
{
    Known condition = evaluate(f, s->a);
    depend(f->walk, condition);
    if (condition.kind == KNOWN_INT) {
        run_block(f, condition.number ? &s->body : &s->other);
        return;
    }
    if (block_leads(f->walk, &s->other))
        fail(f->walk, f->func, "who talks is not known beforehand");
    if (block_leads(f->walk, &s->body))
        run_block(f, &s->body);
}

static void run_let(Frame *f, const ProgStmt *s)
{
    Known *v = &f->variables[s->variable->number];
    *v = unknown;
    if (s->a) {
        *v = evaluate(f, s->a);
    } else if (s->variable->type.kind == PK_RECORD) {
        Instance *made = instance_new(f->walk, s->variable->type.record);
        *v = (Known){ .kind = KNOWN_RECORD, .record = made };
        if (!f->walk->call && !strcmp(made->record->name, "Call"))
            f->walk->call = made;
    }
}

static void run_statement(Frame *f, const ProgStmt *s)
{
    switch (s->kind) {
    case PS_LET: run_let(f, s); return;
    case PS_SET:
        f->variables[s->variable->number] = evaluate(f, s->a);
        return;
    case PS_FIELD_SET: {
        Known to = evaluate(f, s->a), value = evaluate(f, s->b);
        if (to.kind == KNOWN_RECORD)
            *field_of(to.record, s->field) = value;
        return;
    }
    case PS_STORE: evaluate(f, s->c); return;
    case PS_DO: evaluate(f, s->a); return;
    case PS_FOR: case PS_FOR_DOWN: run_loop(f, s); return;
    case PS_IF: run_if(f, s); return;
    case PS_RETURN:
        if (s->a)
            f->result = evaluate(f, s->a);
        f->returned = true;
        return;
    case PS_COMMENT: return;
    }
}

static void run_block(Frame *f, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count && !f->returned; i++) {
        if (f->walk->out->wrong)
            return;
        run_statement(f, block->statements.at[i]);
    }
}

/* ---- the step ---- */
/* A record of the runtime's, whose pointers are each a place of their own. */
static Instance *given(Walk *walk, const ProgType *pointer)
{
    Instance *made = instance_new(walk, pointer->record);
    for (int i = 0; i < made->record->fields.count; i++) {
        const ProgField *field = &made->record->fields.at[i];
        if (field->type.kind == PK_POINTER)
            made->fields[i] = (Known){ .kind = KNOWN_PLACE,
                                       .base = field->name };
    }
    return made;
}

Seat walk_seat(const Facts *facts, int64_t rank)
{
    int64_t outer = rank / facts->tensor;
    return (Seat){ .stage = outer / facts->replicas,
                   .replica = outer % facts->replicas,
                   .slice = rank % facts->tensor };
}

/* The number of a replica among those that have its experts, over the shares of
 * them. */
static int64_t expert_share(const Facts *facts, int64_t replica)
{
    int64_t batch = replica / facts->context, chunk = replica % facts->context;
    return (batch / facts->experts * facts->context + chunk)
        % facts->expert_shards;
}

static int64_t seat_value(const Facts *facts, Seat seat, SeatField field)
{
    int64_t batch = seat.replica / facts->context;
    switch (field) {
    case SEAT_STAGE: return seat.stage;
    case SEAT_REPLICA: return seat.replica;
    case SEAT_CHUNK: return seat.replica % facts->context;
    case SEAT_EXPERT: return batch % facts->experts;
    case SEAT_EXPERT_SHARE: return expert_share(facts, seat.replica);
    case SEAT_SHARE: return seat.replica % facts->shards;
    case SEAT_SLICE: return seat.slice;
    case SEAT_FIRST: return batch * facts->by_stage.at[seat.stage].batch;
    case SEAT_FIELDS: break;
    }
    ice("no field of a seat");
}

int64_t walk_seat_field(const Facts *facts, Seat seat, const char *field)
{
    for (unsigned i = 0; i < SEAT_FIELDS; i++)
        if (!strcmp(seat_names[i], field))
            return seat_value(facts, seat, i);
    return seat.replica / facts->context;
}

bool walk_is_of(const Facts *facts, const Walked *walked, Seat seat)
{
    for (unsigned i = 0; i < SEAT_FIELDS; i++)
        if ((walked->depends >> i & 1)
            && seat_value(facts, seat, i) != seat_value(facts, walked->seat, i))
            return false;
    return seat.stage == walked->seat.stage;
}

Walked *walk_train(const Facts *facts, Seat seat, Arena *arena)
{
    Walked *out = arena_alloc(arena, sizeof *out);
    const FactStage *stage = &facts->by_stage.at[seat.stage];
    const ProgFunc *entry = stage->entry;
    Walk walk = { .arena = arena, .scratch = arena_new(), .out = out };
    out->seat = seat;
    out->first = seat_value(facts, seat, SEAT_FIRST);
    Instance *me = given(&walk, &entry->params.at[0]->type);
    Instance *control = given(&walk, &entry->params.at[1]->type);
    *field_of(me, "index") = known_int(0);
    *field_of(me, "count") = known_int(1);
    for (unsigned i = 0; i < SEAT_FIELDS; i++)
        *field_of(control, seat_names[i]) =
            and_of(known_int(seat_value(facts, seat, i)), 1u << i);
    *field_of(control, "batch") = known_int(stage->batch);
    const Known args[] = { { .kind = KNOWN_RECORD, .record = me },
                           { .kind = KNOWN_RECORD, .record = control } };
    run_func(&walk, entry, args);
    arena_free(walk.scratch);
    return out;
}
