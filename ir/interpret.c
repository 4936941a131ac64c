/* interpret.c: runs a step of a Module: the judge of every pass and, in f32,
 * the bits of the program. Read module_interpret at the end, then `statement`:
 * each kind of statement of ir.h is a function. Slow and obvious on purpose.
 *
 * A step's values are arrays by name. What a call leaves for its backward goes
 * into records; a weight's gradients are accumulators that functions read at
 * `begin` and set at `end`, one set a group while groups run. */
#include "interpret.h"
#include <math.h>

typedef struct Named { const char *name; Array array; } Named;

/* A value that a function saved, by where the step stood. */
typedef struct Saved {
    const char *record, *name;
    int64_t block, row;
    Array array;
} Saved;

typedef struct Run {
    Machine machine; /* first: a Run is a Machine with what only steps need */
    List(Named) named;
    List(Saved) saved;
    bool in_chunks,
        last; /* chunks of rows; the last row of each sequence alone */
    bool pooled;                /* rows are sequences */
    Array logits;               /* of the whole batch */
} Run;

bool machine_fails(Machine *machine, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_printf(machine->why, "step %s: ", machine->step->name);
    buf_vprintf(machine->why, format, args);
    va_end(args);
    return false;
}

Array *machine_given(Machine *machine, const char *name)
{
    for (int i = 0; given_names[i]; i++)
        if (!strcmp(given_names[i], name))
            return &machine->given[i];
    return NULL;
}

bool array_shape(Machine *machine, const Type *type, int64_t rows, Array *array)
{
    *array = (Array){ .rank = type->rank, .count = 1 };
    for (int i = 0; i < type->rank; i++) {
        const Dim *dim = &machine->m->dims.at[type->dims[i]];
        int64_t size = 0;
        switch (dim->kind) {
        case DIM_MODEL: size = dim->size; break;
        case DIM_BATCH: size = machine->B; break;
        case DIM_SEQUENCE: size = machine->T; break;
        case DIM_ROWS: size = rows; break;
        case DIM_SHARE: size = machine->T / dim->size; break;
        }
        array->dims[i] = size;
        if (size < 0 || (size && array->count > MOST_ELEMENTS / size))
            return machine_fails(machine,
                                 "a value is too large for the interpreter");
        array->count *= size;
    }
    return true;
}

static double *new_values(Run *run, int64_t n)
{
    return arena_alloc(run->machine.arena,
                       (size_t)(n ? n : 1) * sizeof(double));
}

/* Room for an array of this count, the old one's where that fits. */
static void hold(Run *run, Array *to, const Array *shape)
{
    double *old = to->count == shape->count ? to->at : NULL;
    *to = *shape;
    to->at = old ? old : new_values(run, shape->count);
}

/* ---- arguments ---- */
static Named *find_named(Run *run, const char *name)
{
    for (int i = 0; i < run->named.count; i++)
        if (!strcmp(run->named.at[i].name, name))
            return &run->named.at[i];
    return NULL;
}

/* tokens, targets and the like: this micro-batch's slice of the whole batch. */
static bool given_slice(Run *run, const char *name, Array *from)
{
    Machine *machine = &run->machine;
    const Array *whole = machine_given(machine, name);
    if (!whole)
        return machine_fails(machine, "nothing has given %s", name);
    if (!whole->at)
        return machine_fails(machine, "the inputs have no %s", name);
    int64_t each = whole->count / whole->dims[0];
    *from = *whole;
    from->dims[0] = machine->B;
    from->count = machine->B * each;
    from->at = whole->at + machine->first_sequence * each;
    return true;
}

/* The last row of each sequence, of rows of `each` elements. */
static double *last_rows(Run *run, const Array *from, int64_t each)
{
    const Machine *machine = &run->machine;
    double *rows = new_values(run, machine->B * each);
    for (int64_t b = 0; b < machine->B; b++)
        memcpy(rows + b * each, from->at + ((b + 1) * machine->T - 1) * each,
               (size_t)each * sizeof(double));
    return rows;
}

/* Sets a parameter's array: the value whole, or inside chunks its rows. */
static bool bind(Run *run, const char *name, Array *to)
{
    Machine *machine = &run->machine;
    Array from = {0};
    Named *named = find_named(run, name);
    if (step_total(name) >= 0) {
        to->at = &machine->totals[step_total(name)];
        return true;
    }
    if (named && !named->array.at) /* zeroed, of a size not known before */
        hold(run, &named->array, to);
    if (named)
        from = named->array;
    else if (!given_slice(run, name, &from))
        return false;
    int64_t whole = run->pooled ? machine->B : machine->B * machine->T;
    int64_t each = machine->rows ? to->count / machine->rows : 0;
    if (from.count == to->count)
        to->at = from.at;
    else if (run->in_chunks && from.count == whole * each)
        to->at = run->last ? last_rows(run, &from, each)
                           : from.at + machine->row * each;
    else
        return machine_fails(machine,
                             "%s has %lld elements where %lld are wanted", name,
                             (long long)from.count, (long long)to->count);
    return true;
}

/* ---- results ---- */
static bool has_dim_of_rows(const Module *m, const Type *type)
{
    for (int i = 0; i < type->rank; i++)
        if (m->dims.at[type->dims[i]].kind == DIM_ROWS)
            return true;
    return false;
}

/* [B,T,…] for an array of rows; [B,…] where only last rows are computed. */
static Array whole_rows(const Run *run, int64_t B, int64_t each)
{
    bool one = run->last || run->pooled;
    int64_t T = one ? 1 : run->machine.T;
    Array array = { .rank = one ? 2 : 3, .count = B * T * each };
    int64_t dims[3] = { B, one ? each : T, each };
    memcpy(array.dims, dims, sizeof dims);
    return array;
}

/* `logits` of all micro-batches, for the outputs. */
static void keep_logits(Run *run, const Array *rows, int64_t each)
{
    const Machine *machine = &run->machine;
    Array whole = whole_rows(run, machine->batch, each);
    if (!run->logits.at)
        hold(run, &run->logits, &whole);
    bool one = run->last || run->pooled;
    int64_t first =
        one ? machine->first_sequence : machine->first_sequence * machine->T;
    int64_t at = (first + (run->last ? 0 : machine->row)) * each;
    if (at + rows->count <= run->logits.count)
        memcpy(run->logits.at + at, rows->at,
               (size_t)rows->count * sizeof(double));
}

static void keep_result(Run *run, const char *name, const Value *v,
                        const Array *result)
{
    Machine *machine = &run->machine;
    if (step_total(name) >= 0) {
        machine->totals[step_total(name)] = result->at[0];
        return;
    }
    if (!strcmp(name, "aux")) {
        int64_t block =
            stack_first(machine->m, machine->stack) + machine->block;
        memcpy(machine->aux + block * machine->batch + machine->first_sequence,
               result->at, (size_t)result->count * sizeof(double));
        return;
    }
    int derived = machine->block < 0
                    ? -1
                    : module_find_weight(machine->m, name, machine->stack);
    if (derived >= 0) {
        WeightState *w = &machine->weights[derived];
        memcpy(w->values + machine->block * w->count, result->at,
               (size_t)w->count * sizeof(double));
        return;
    }
    Named *named = find_named(run, name);
    if (!named) {
        Named fresh = { .name = name };
        list_push(machine->arena, &run->named, fresh);
        named = &run->named.at[run->named.count - 1];
    }
    bool rows = has_dim_of_rows(machine->m, &v->type) && machine->rows;
    int64_t each = rows ? result->count / machine->rows : 0;
    Array shape = rows ? whole_rows(run, machine->B, each) : *result;
    hold(run, &named->array, &shape);
    int64_t at = rows && !run->last ? machine->row * each : 0;
    memcpy(named->array.at + at, result->at,
           (size_t)result->count * sizeof(double));
    if (!strcmp(name, "logits") && rows)
        keep_logits(run, result, each);
}

/* ---- records ---- */
static Saved *find_saved(Run *run, const char *record, const char *name)
{
    const Machine *machine = &run->machine;
    for (int i = 0; i < run->saved.count; i++) {
        Saved *s = &run->saved.at[i];
        if (s->block == machine->block && s->row == machine->row
            && !strcmp(s->name, name) && !strcmp(s->record, record))
            return s;
    }
    return NULL;
}

static void save_value(Run *run, const Frame *frame, const char *record,
                       const Value *v)
{
    Machine *machine = &run->machine;
    const Array *array = &frame->values[v->number];
    if (v->kind == VALUE_SAVED)
        return;
    Saved *s = find_saved(run, record, v->name);
    if (!s) {
        Saved fresh = { .record = record,
                        .name = v->name,
                        .block = machine->block,
                        .row = machine->row };
        list_push(machine->arena, &run->saved, fresh);
        s = &run->saved.at[run->saved.count - 1];
    }
    hold(run, &s->array, array);
    memcpy(s->array.at, array->at, (size_t)array->count * sizeof(double));
}

static bool load_value(Run *run, Frame *frame, const char *record,
                       const Value *v)
{
    if (v->kind != VALUE_SAVED)
        return true;
    const Saved *s = find_saved(run, record, v->name);
    Array *array = &frame->values[v->number];
    if (!s || s->array.count != array->count)
        return machine_fails(&run->machine,
                             "%s reads %s, which nothing has saved here",
                             frame->f->name, v->name);
    array->at = s->array.at;
    return true;
}

/* The record of what is pending between the halves of a backward. */
static const char *pending_record(const Run *run, const Func *f)
{
    return arena_printf(run->machine.arena, "%s.pending", f->record);
}

static void save(Run *run, const Frame *frame)
{
    const Func *f = frame->f;
    for (int i = 0; i < f->saved.count; i++)
        save_value(run, frame, f->record, f->saved.at[i]);
    for (int i = 0; i < f->pending.count; i++)
        save_value(run, frame, pending_record(run, f), f->pending.at[i]);
}

static bool load(Run *run, Frame *frame)
{
    const Func *f = frame->f;
    for (int i = 0; i < f->saved.count; i++)
        if (!load_value(run, frame, f->record, f->saved.at[i]))
            return false;
    for (int i = 0; i < f->pending.count; i++)
        if (!load_value(run, frame, pending_record(run, f), f->pending.at[i]))
            return false;
    return true;
}

/* ---- calls ---- */
/* The accumulators take the values at the function's `end`. */
static void end_gradients(Run *run, const Frame *frame)
{
    Machine *machine = &run->machine;
    const Func *f = frame->f;
    for (int i = 0; i < f->gradients.count; i++) {
        const Gradient *g = &f->gradients.at[i];
        const WeightState *w = &machine->weights[g->weight];
        int64_t copy =
            machine->m->weights.at[g->weight].stack >= 0 ? machine->block : 0;
        double *to =
            machine->gradients + w->gradient[g->site] + copy * w->count;
        memmove(to, frame->values[g->end->number].at,
                (size_t)w->count * sizeof(double));
        machine->differentiated = true;
    }
}

static bool call_in(Run *run, const Stmt *s, Frame *frame)
{
    for (int i = 0; i < s->arguments.count; i++)
        if (!bind(run, s->arguments.at[i],
                  &frame->values[s->func->params.at[i]->number]))
            return false;
    if (!load(run, frame) || !frame_run(frame))
        return false;
    save(run, frame);
    end_gradients(run, frame);
    for (int i = 0; i < s->results.count; i++) {
        const Value *v = s->func->results.at[i];
        keep_result(run, s->results.at[i], v, &frame->values[v->number]);
    }
    return true;
}

/* Outside chunks a call has all rows: those of sequences, where what it is
 * given has one a sequence, as pooled vectors have. */
static bool is_of_sequences(Run *run, const Stmt *s)
{
    const Machine *machine = &run->machine;
    for (int i = 0; i < s->arguments.count; i++) {
        const Type *type = &s->func->params.at[i]->type;
        const Named *named = find_named(run, s->arguments.at[i]);
        if (named && has_dim_of_rows(machine->m, type))
            return named->array.count
                == machine->B * type_row_elements(machine->m, type);
    }
    return false;
}

static bool call(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    Frame frame;
    int64_t before = machine->rows;
    if (!run->in_chunks && is_of_sequences(run, s)) {
        run->pooled = true;
        machine->rows = machine->B;
    }
    bool fine = frame_open(&frame, machine, s->func, machine->rows)
             && call_in(run, s, &frame);
    frame_close(&frame);
    machine->rows = before;
    run->pooled = run->in_chunks && run->pooled;
    return fine;
}

/* ---- loops ---- */
static bool statement(Run *run, const Stmt *s);

static bool body(Run *run, const Stmt *s)
{
    for (int i = 0; i < s->body.count; i++)
        if (!statement(run, s->body.at[i]))
            return false;
    return true;
}

static bool repeat(Run *run, const Stmt *s)
{
    int64_t to = s->to ? s->to : stack_blocks(run->machine.m, s->stack);
    bool fine = true;
    run->machine.stack = s->stack;
    for (int64_t i = s->from; fine && i < to; i++) {
        run->machine.block = s->down ? to - 1 - (i - s->from) : i;
        fine = body(run, s);
    }
    run->machine.block = -1;
    return fine;
}

static bool chunks(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    int64_t before = machine->rows, all = s->pooled ? machine->B : before;
    bool fine = true;
    run->in_chunks = true;
    run->pooled = s->pooled;
    run->last = s->last;
    for (int64_t c = 0; fine && c < s->count; c++) {
        int64_t left = all - c * s->chunk_rows;
        if (left <= 0)
            break;
        machine->row = s->last ? machine->T - 1 : c * s->chunk_rows;
        machine->rows = s->last              ? machine->B
                      : left < s->chunk_rows ? left
                                             : s->chunk_rows;
        fine = body(run, s);
    }
    machine->row = 0;
    machine->rows = before;
    run->in_chunks = run->last = run->pooled = false;
    return fine;
}

static bool micros(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    int64_t first = machine->first_sequence;
    for (int64_t i = 0; i < s->count; i++) {
        machine->first_sequence = first + i * machine->B;
        if (!body(run, s))
            return false;
    }
    machine->first_sequence = first;
    return true;
}

/* Each group has gradients and a loss of its own, from 0; the tree sums them.
 */
static bool groups(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    int64_t n = machine->gradient_floats,
            each = machine->step->batch / s->count;
    if (n > MOST_ELEMENTS / s->count)
        return machine_fails(machine,
                             "the gradients are too many for the interpreter");
    double *sets = new_values(run, n * s->count);
    double *totals = new_values(run, s->count * STEP_TOTALS);
    for (int64_t i = 0; i < s->count; i++) {
        machine->gradients = sets + i * n;
        machine->first_sequence = i * each;
        memset(machine->totals, 0, sizeof machine->totals);
        if (!body(run, s))
            return false;
        memcpy(totals + i * STEP_TOTALS, machine->totals,
               sizeof machine->totals);
    }
    canonical_tree(machine, sets, s->count, n, false);
    canonical_tree(machine, totals, s->count, STEP_TOTALS, true);
    machine->gradients = sets;
    memcpy(machine->totals, totals, sizeof machine->totals);
    machine->first_sequence = 0;
    return true;
}

/* ---- what follows the gradients ---- */
/* Runs of `each` ids of which one at least is not negative. */
static bool count_runs(Run *run, const char *name, int64_t each, int64_t *count)
{
    Machine *machine = &run->machine;
    const Array *ids = machine_given(machine, name);
    if (!ids->at)
        return machine_fails(machine, "the inputs have no %s", name);
    *count = 0;
    for (int64_t i = 0; i < ids->count / each; i++) {
        bool any = false;
        for (int64_t j = 0; j < each; j++)
            any |= ids->at[i * each + j] >= 0;
        *count += any;
    }
    return true;
}

static bool count(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    if (!strcmp(s->what, "targets")) {
        machine->counted = true;
        return count_runs(run, "targets", 1, &machine->scored);
    }
    machine->labels_counted = true;
    if (!strcmp(s->what, "labels"))
        return count_runs(run, "labels", 1, &machine->labelled);
    return count_runs(run, "targets", 2 * machine->T, &machine->labelled);
}

static bool zero(Run *run, const char *name)
{
    Named *named = find_named(run, name);
    Named fresh = { .name = name };
    if (!named)
        list_push(run->machine.arena, &run->named, fresh);
    else if (named->array.at)
        memset(named->array.at, 0, (size_t)named->array.count * sizeof(double));
    return true;
}

static void add_sites(Run *run)
{
    Machine *machine = &run->machine;
    for (int i = 0; i < machine->m->weights.count; i++) {
        const WeightState *w = &machine->weights[i];
        double *first = machine->gradients + w->gradient[0];
        for (int site = 1; site < MOST_SITES; site++) {
            const double *more = machine->gradients + w->gradient[site];
            for (int64_t j = 0;
                 w->gradient[site] >= 0 && j < w->copies * w->count; j++)
                first[j] = rounded(machine, first[j] + more[j]);
        }
    }
}

static void norm(Run *run)
{
    Machine *machine = &run->machine;
    double total = 0, clip = machine_input_scalar(machine, "clip", 0);
    for (int i = 0; i < machine->copies.count; i++) {
        const Copy *copy = &machine->copies.at[i];
        const WeightState *w = &machine->weights[copy->weight];
        if (copy->trained && w->gradient[0] >= 0)
            total = canonical_squares(total,
                                      machine->gradients + w->gradient[0]
                                          + copy->copy * w->count,
                                      w->count);
    }
    machine->grad_norm = sqrt(total);
    machine->applied =
        isfinite(machine->grad_norm) && isfinite(machine_loss(machine));
    bool clips = clip > 0 && clip < machine->grad_norm;
    machine->clip_scale =
        clips ? rounded(machine, clip / machine->grad_norm) : 1;
    machine->normed = true;
}

/* update(p, g, first, second) on one tensor, flat. */
static bool update_copy(Run *run, const Func *f, const Copy *copy)
{
    Machine *machine = &run->machine;
    WeightState *w = &machine->weights[copy->weight];
    int64_t at = copy->copy * w->count;
    double *places[4] = { w->values + at,
                          machine->gradients + w->gradient[0] + at,
                          w->first + at, w->second + at };
    Frame frame;
    machine->without_decay = !machine->m->weights.at[copy->weight].decay;
    bool fine = frame_open(&frame, machine, f, w->count);
    for (int i = 0; fine && i < f->params.count; i++)
        frame.values[f->params.at[i]->number].at = places[i];
    fine = fine && frame_run(&frame);
    for (int i = 0; fine && i < f->results.count; i++)
        memmove(places[i ? i + 1 : 0],
                frame.values[f->results.at[i]->number].at,
                (size_t)w->count * sizeof(double));
    frame_close(&frame);
    machine->without_decay = false;
    return fine;
}

static bool update(Run *run, const Func *f)
{
    Machine *machine = &run->machine;
    machine->updated = true;
    for (int i = 0; machine->applied && i < machine->copies.count; i++) {
        const Copy *copy = &machine->copies.at[i];
        if (copy->trained && machine->weights[copy->weight].gradient[0] >= 0
            && !update_copy(run, f, copy))
            return false;
    }
    return true;
}

static bool statement(Run *run, const Stmt *s)
{
    switch (s->kind) {
    case STEP_COUNT: return count(run, s);
    case STEP_ZERO: return zero(run, s->results.at[0]);
    case STEP_GROUPS: return groups(run, s);
    case STEP_MICROS: return micros(run, s);
    case STEP_REPEAT: return repeat(run, s);
    case STEP_CHUNKS: return chunks(run, s);
    case STEP_CALL: return call(run, s);
    case STEP_SITES: add_sites(run); return true;
    case STEP_NORM: norm(run); return true;
    case STEP_UPDATE: return update(run, s->func);
    }
    return false;
}

/* ---- a step ---- */
static void output_named(Run *run)
{
    Machine *machine = &run->machine;
    bool cut = false;
    for (int i = 0; i < machine->step->body.count; i++)
        cut |= machine->step->body.at[i]->kind == STEP_GROUPS
            || machine->step->body.at[i]->kind == STEP_MICROS;
    for (int i = 0; i < run->named.count; i++) {
        Named *named = &run->named.at[i];
        bool logits = run->logits.at && !strcmp(named->name, "logits");
        if (logits || !cut)
            machine_output(machine, named->name,
                           logits ? &run->logits : &named->array);
    }
}

static bool run_step(Run *run)
{
    Machine *machine = &run->machine;
    if (!machine_inputs(machine))
        return false;
    machine->rows = machine->B * machine->T;
    int64_t blocks = stack_first(machine->m, machine->m->stacks.count);
    machine->aux = new_values(run, blocks * machine->batch);
    for (int i = 0; i < machine->step->body.count; i++)
        if (!statement(run, machine->step->body.at[i]))
            return false;
    machine_outputs(machine);
    output_named(run);
    return true;
}

bool module_interpret(const Module *m, const char *step, Arena *arena,
                      Interpretation *run, Buf *why)
{
    if (!module_verify(m, why))
        return false;
    Run all = {
        .machine = { .m = m,
                     .step = module_find_step(m, step),
                     .run = run,
                     .arena = arena,
                     .why = why,
                     .f32 = run->arithmetic == ARITHMETIC_F32,
                     .block = -1 },
    };
    if (!all.machine.step) {
        buf_printf(why, "there is no step %s", step);
        return false;
    }
    if (run->position < 0 || run->position > (int64_t)1 << 40)
        return machine_fails(&all.machine, "position %lld",
                             (long long)run->position);
    run->out = (Tensors){0};
    return run_step(&all);
}
