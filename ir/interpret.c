/* interpret.c: runs a step of a Module: the judge of every pass and, in f32, the
 * bits of the program. Read module_interpret at the end, then `statement`: each kind
 * of statement of ir.h is a function. Slow and obvious on purpose.
 *
 * A step's values are arrays by name. What a call leaves for its backward goes into
 * records; a weight's gradients are accumulators that functions read at `begin` and
 * set at `end`, one set a group while groups run. */
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
    Machine machine;            /* first: a Run is a Machine with what only steps need */
    List(Named) named;
    List(Saved) saved;
    bool in_chunks, last;       /* chunks of rows; the last row of each sequence alone */
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

int64_t machine_blocks(const Module *m)
{
    int blocks = module_find_dim(m, "L");
    return blocks < 0 ? 0 : m->dims.at[blocks].size;
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
        }
        array->dims[i] = size;
        if (size < 0 || (size && array->count > MOST_ELEMENTS / size))
            return machine_fails(machine, "a value is too large for the interpreter");
        array->count *= size;
    }
    return true;
}

static double *new_values(Run *run, int64_t n)
{
    return arena_alloc(run->machine.arena, (size_t)(n ? n : 1) * sizeof(double));
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

/* tokens, targets, lengths: this micro-batch's slice of the whole batch. */
static bool given_slice(Run *run, const char *name, Array *from)
{
    Machine *machine = &run->machine;
    const Array *whole = !strcmp(name, "tokens") ? &machine->tokens
                       : !strcmp(name, "targets") ? &machine->targets
                       : !strcmp(name, "lengths") ? &machine->lengths : NULL;
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
    const Named *named = find_named(run, name);
    if (!strcmp(name, "loss")) {
        to->at = &machine->loss;
        return true;
    }
    if (named)
        from = named->array;
    else if (!given_slice(run, name, &from))
        return false;
    int64_t whole = machine->B * machine->T;
    int64_t each = machine->rows ? to->count / machine->rows : 0;
    if (from.count == to->count)
        to->at = from.at;
    else if (run->in_chunks && from.count == whole * each)
        to->at = run->last ? last_rows(run, &from, each) : from.at + machine->row * each;
    else
        return machine_fails(machine, "%s has %lld elements where %lld are wanted", name,
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
    int64_t T = run->last ? 1 : run->machine.T;
    Array array = { .rank = run->last ? 2 : 3, .count = B * T * each };
    int64_t dims[3] = { B, run->last ? each : T, each };
    memcpy(array.dims, dims, sizeof dims);
    return array;
}

/* `logits` of all micro-batches, for the outputs. */
static void keep_logits(Run *run, const Array *rows, int64_t each)
{
    const Machine *machine = &run->machine;
    Array whole = whole_rows(run, machine->tokens.dims[0], each);
    if (!run->logits.at)
        hold(run, &run->logits, &whole);
    int64_t first = run->last ? machine->first_sequence : machine->first_sequence * machine->T;
    int64_t at = (first + (run->last ? 0 : machine->row)) * each;
    if (at + rows->count <= run->logits.count)
        memcpy(run->logits.at + at, rows->at, (size_t)rows->count * sizeof(double));
}

static void keep_result(Run *run, const char *name, const Value *v, const Array *result)
{
    Machine *machine = &run->machine;
    if (!strcmp(name, "loss")) {
        machine->loss = result->at[0];
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
    memcpy(named->array.at + at, result->at, (size_t)result->count * sizeof(double));
    if (!strcmp(name, "logits") && rows)
        keep_logits(run, result, each);
}

/* ---- records ---- */
static Saved *find_saved(Run *run, const char *record, const char *name)
{
    const Machine *machine = &run->machine;
    for (int i = 0; i < run->saved.count; i++) {
        Saved *s = &run->saved.at[i];
        if (s->block == machine->block && s->row == machine->row && !strcmp(s->name, name)
            && !strcmp(s->record, record))
            return s;
    }
    return NULL;
}

static void save(Run *run, const Frame *frame)
{
    Machine *machine = &run->machine;
    const Func *f = frame->f;
    for (int i = 0; i < f->saved.count; i++) {
        const Value *v = f->saved.at[i];
        const Array *array = &frame->values[v->number];
        if (v->kind == VALUE_SAVED)
            return;
        Saved *s = find_saved(run, f->record, v->name);
        if (!s) {
            Saved fresh = { .record = f->record, .name = v->name, .block = machine->block,
                            .row = machine->row };
            list_push(machine->arena, &run->saved, fresh);
            s = &run->saved.at[run->saved.count - 1];
        }
        hold(run, &s->array, array);
        memcpy(s->array.at, array->at, (size_t)array->count * sizeof(double));
    }
}

static bool load(Run *run, Frame *frame)
{
    const Func *f = frame->f;
    for (int i = 0; i < f->saved.count; i++) {
        const Value *v = f->saved.at[i];
        if (v->kind != VALUE_SAVED)
            continue;
        const Saved *s = find_saved(run, f->record, v->name);
        Array *array = &frame->values[v->number];
        if (!s || s->array.count != array->count)
            return machine_fails(&run->machine, "%s reads %s, which nothing has saved here",
                                 f->name, v->name);
        array->at = s->array.at;
    }
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
        int64_t copy = machine->m->weights.at[g->weight].per_block ? machine->block : 0;
        double *to = machine->gradients + w->gradient[g->site] + copy * w->count;
        memmove(to, frame->values[g->end->number].at, (size_t)w->count * sizeof(double));
        machine->differentiated = true;
    }
}

static bool call_in(Run *run, const Stmt *s, Frame *frame)
{
    for (int i = 0; i < s->arguments.count; i++)
        if (!bind(run, s->arguments.at[i], &frame->values[s->func->params.at[i]->number]))
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

static bool call(Run *run, const Stmt *s)
{
    Frame frame;
    bool fine = frame_open(&frame, &run->machine, s->func, run->machine.rows)
             && call_in(run, s, &frame);
    frame_close(&frame);
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
    int64_t to = s->to ? s->to : machine_blocks(run->machine.m);
    bool fine = true;
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
    int64_t all = machine->rows;
    bool fine = true;
    run->in_chunks = true;
    run->last = s->last;
    for (int64_t c = 0; fine && c < s->count; c++) {
        int64_t left = all - c * s->chunk_rows;
        if (left <= 0)
            break;
        machine->row = s->last ? machine->T - 1 : c * s->chunk_rows;
        machine->rows = s->last ? machine->B : left < s->chunk_rows ? left : s->chunk_rows;
        fine = body(run, s);
    }
    machine->row = 0;
    machine->rows = all;
    run->in_chunks = run->last = false;
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

/* Each group has gradients and a loss of its own, from 0; the tree sums them. */
static bool groups(Run *run, const Stmt *s)
{
    Machine *machine = &run->machine;
    int64_t n = machine->gradient_floats, each = machine->step->batch / s->count;
    if (n > MOST_ELEMENTS / s->count)
        return machine_fails(machine, "the gradients are too many for the interpreter");
    double *sets = new_values(run, n * s->count), *losses = new_values(run, s->count);
    for (int64_t i = 0; i < s->count; i++) {
        machine->gradients = sets + i * n;
        machine->first_sequence = i * each;
        machine->loss = 0;
        if (!body(run, s))
            return false;
        losses[i] = machine->loss;
    }
    canonical_tree(machine, sets, s->count, n, false);
    canonical_tree(machine, losses, s->count, 1, true);
    machine->gradients = sets;
    machine->loss = losses[0];
    machine->first_sequence = 0;
    return true;
}

/* ---- what follows the gradients ---- */
static bool count_scored(Run *run)
{
    Machine *machine = &run->machine;
    if (!machine->targets.at)
        return machine_fails(machine, "the inputs have no targets");
    machine->scored = 0;
    for (int64_t i = 0; i < machine->targets.count; i++)
        machine->scored += machine->targets.at[i] >= 0;
    machine->counted = true;
    return true;
}

static void add_sites(Run *run)
{
    Machine *machine = &run->machine;
    for (int i = 0; i < machine->m->weights.count; i++) {
        const WeightState *w = &machine->weights[i];
        double *first = machine->gradients + w->gradient[0];
        const double *second = machine->gradients + w->gradient[1];
        for (int64_t j = 0; w->gradient[1] >= 0 && j < w->copies * w->count; j++)
            first[j] = rounded(machine, first[j] + second[j]);
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
            total = canonical_squares(total, machine->gradients + w->gradient[0]
                                                 + copy->copy * w->count, w->count);
    }
    machine->grad_norm = sqrt(total);
    machine->applied = isfinite(machine->grad_norm) && isfinite(machine_loss(machine));
    bool clips = clip > 0 && clip < machine->grad_norm;
    machine->clip_scale = clips ? rounded(machine, clip / machine->grad_norm) : 1;
    machine->normed = true;
}

/* update(p, g, first, second) on one tensor, flat. */
static bool update_copy(Run *run, const Func *f, const Copy *copy)
{
    Machine *machine = &run->machine;
    WeightState *w = &machine->weights[copy->weight];
    int64_t at = copy->copy * w->count;
    double *places[4] = { w->values + at, machine->gradients + w->gradient[0] + at,
                          w->first + at, w->second + at };
    Frame frame;
    machine->without_decay = !machine->m->weights.at[copy->weight].decay;
    bool fine = frame_open(&frame, machine, f, w->count);
    for (int i = 0; fine && i < f->params.count; i++)
        frame.values[f->params.at[i]->number].at = places[i];
    fine = fine && frame_run(&frame);
    for (int i = 0; fine && i < f->results.count; i++)
        memmove(places[i ? i + 1 : 0], frame.values[f->results.at[i]->number].at,
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
    case STEP_COUNT_SCORED: return count_scored(run);
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
            machine_output(machine, named->name, logits ? &run->logits : &named->array);
    }
}

static bool run_step(Run *run)
{
    Machine *machine = &run->machine;
    if (!machine_inputs(machine))
        return false;
    machine->rows = machine->B * machine->T;
    for (int i = 0; i < machine->step->body.count; i++)
        if (!statement(run, machine->step->body.at[i]))
            return false;
    machine_outputs(machine);
    output_named(run);
    return true;
}

bool module_interpret(const Module *m, const char *step, Arena *arena, Interpretation *run,
                      Buf *why)
{
    if (!module_verify(m, why))
        return false;
    Run all = {
        .machine = { .m = m, .step = module_find_step(m, step), .run = run, .arena = arena,
                     .why = why, .f32 = run->arithmetic == ARITHMETIC_F32, .block = -1 },
    };
    if (!all.machine.step) {
        buf_printf(why, "there is no step %s", step);
        return false;
    }
    if (run->position < 0 || run->position > (int64_t)1 << 40)
        return machine_fails(&all.machine, "position %lld", (long long)run->position);
    run->out = (Tensors){0};
    return run_step(&all);
}
