/* interpret_files.c: what the interpreter is given and gives, by name: weights,
 * moments, a batch, scalars; loss, gradients, updated weights. Every shape is
 * checked here, and nothing later looks at the inputs again. */
#include "interpret.h"
#include "text.h"
#include "../runtime/tables.h"
#include <math.h>

static const Tensor *find_tensor(const Tensors *tensors, const char *name)
{
    for (int i = 0; tensors && i < tensors->list.count; i++)
        if (!strcmp(tensors->list.at[i].name, name))
            return &tensors->list.at[i];
    return NULL;
}

static void copy_values(const Machine *machine, double *to, const double *from,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = rounded(machine, from[i]);
}

static double *new_values(const Machine *machine, int64_t n)
{
    return arena_alloc(machine->arena, (size_t)(n ? n : 1) * sizeof(double));
}

static bool same_shape(const Tensor *tensor, int rank, const int64_t *dims)
{
    return tensor->rank == rank
        && !memcmp(tensor->dims, dims, (size_t)rank * sizeof *dims);
}

/* ---- weights ---- */
/* The shape that a weight has in files, which may be another than its own. */
static bool shape_in_files(Machine *machine, const Weight *w, Array *shape)
{
    return array_shape(machine, w->file_type.rank ? &w->file_type : &w->type, 0,
                       shape);
}

static bool fill_table(Machine *machine, const Weight *w, const Array *shape,
                       double *to)
{
    Table table = {
        .kind = init_words[w->init.kind], .rows = shape->dims[0],
        .columns = shape->rank > 1 ? shape->dims[1] : 1, .base = w->init.base,
        .factor = w->init.factor, .low = w->init.low, .high = w->init.high,
        .original = w->init.original,
    };
    float *rows =
        arena_alloc(machine->arena, (size_t)shape->count * sizeof(float));
    if (!table_fill(rows, &table, 0, table.rows))
        return machine_fails(machine, "%s is a table without a formula",
                             w->name);
    for (int64_t i = 0; i < shape->count; i++)
        to[i] = (double)rows[i];
    return true;
}

/* Fills `to` from the input of that name; absent: false, or left at 0 if it may
 * be. */
static bool read_tensor(Machine *machine, const char *name, const Array *shape,
                        double *to, bool optional)
{
    const Tensor *tensor = find_tensor(machine->run->in, name);
    if (!tensor)
        return optional
            || machine_fails(machine, "the inputs have no %s", name);
    if (!same_shape(tensor, shape->rank, shape->dims))
        return machine_fails(machine, "%s has another shape in the inputs",
                             name);
    copy_values(machine, to, tensor->values, shape->count);
    return true;
}

static const char *copy_name(const Machine *machine, const Weight *w,
                             int64_t block)
{
    if (w->stack < 0)
        return w->name;
    return arena_printf(machine->arena, "%sblocks.%lld.%s",
                        machine->m->stacks.at[w->stack].prefix,
                        (long long)block, w->name);
}

static bool is_trained(const Weight *w, int64_t copy)
{
    return !w->constant && !w->derived && !w->frozen
        && !(w->frozen_blocks && w->frozen_blocks[copy] == 'f');
}

static bool read_copy(Machine *machine, int number, int64_t copy)
{
    const Weight *w = &machine->m->weights.at[number];
    WeightState *state = &machine->weights[number];
    Array shape;
    if (!shape_in_files(machine, w, &shape))
        return false;
    if (w->derived)
        return true;                /* `prepare` makes it */
    Copy one = { number, copy, copy_name(machine, w, copy),
                 is_trained(w, copy) };
    int64_t at = copy * shape.count;
    if (w->constant && !find_tensor(machine->run->in, one.name))
        return fill_table(machine, w, &shape, state->values + at);
    if (w->constant)
        return read_tensor(machine, one.name, &shape, state->values + at,
                           false);
    list_push(machine->arena, &machine->copies, one);
    const char *first = arena_printf(machine->arena, "first.%s", one.name);
    const char *second = arena_printf(machine->arena, "second.%s", one.name);
    return read_tensor(machine, one.name, &shape, state->values + at, false)
        && read_tensor(machine, first, &shape, state->first + at, true)
        && read_tensor(machine, second, &shape, state->second + at, true);
}

static bool prepare_weight(Machine *machine, int number)
{
    const Weight *w = &machine->m->weights.at[number];
    WeightState *state = &machine->weights[number];
    Array shape;
    if (!array_shape(machine, &w->type, 0, &shape))
        return false;
    state->copies = w->stack >= 0 ? stack_blocks(machine->m, w->stack) : 1;
    state->count = shape.count;
    if (state->count
        && state->copies
               > (MOST_ELEMENTS - machine->weight_floats) / state->count)
        return machine_fails(machine,
                             "the weights are too many for the interpreter");
    int64_t all = state->copies * state->count;
    machine->weight_floats += all;
    state->values = new_values(machine, all);
    state->first = new_values(machine, all);
    state->second = new_values(machine, all);
    return true;
}

/* Checkpoint order: the module's, a stack's weights block by block where the
 * first of them stands. */
static bool read_weights(Machine *machine)
{
    const Module *m = machine->m;
    bool done[2] = {false};
    machine->weights = arena_alloc(
        machine->arena, (size_t)(m->weights.count + 1) * sizeof(WeightState));
    for (int i = 0; i < m->weights.count; i++)
        if (!prepare_weight(machine, i))
            return false;
    for (int i = 0; i < m->weights.count; i++) {
        int stack = m->weights.at[i].stack;
        if (stack < 0) {
            if (!read_copy(machine, i, 0))
                return false;
            continue;
        }
        for (int64_t block = 0; !done[stack] && block < stack_blocks(m, stack);
             block++)
            for (int j = i; j < m->weights.count; j++)
                if (m->weights.at[j].stack == stack
                    && !read_copy(machine, j, block))
                    return false;
        done[stack] = true;
    }
    return true;
}

/* Where each weight's accumulators lie in a set of gradients. */
static bool lay_out_gradients(Machine *machine)
{
    const Module *m = machine->m;
    for (int i = 0; i < m->weights.count; i++)
        for (int site = 0; site < MOST_SITES; site++)
            machine->weights[i].gradient[site] = -1;
    for (int i = 0; i < m->funcs.count; i++)
        for (int j = 0; j < m->funcs.at[i]->gradients.count; j++) {
            const Gradient *g = &m->funcs.at[i]->gradients.at[j];
            machine->weights[g->weight].gradient[g->site] = 0;
        }
    for (int i = 0; i < m->weights.count; i++)
        for (int site = MOST_SITES - 1; site >= 0; site--) {
            WeightState *state = &machine->weights[i];
            /* a further site alone still needs the first, which `sites` adds it
             * to */
            bool more = site == 0
                     && (state->gradient[1] >= 0 || state->gradient[2] >= 0);
            if (state->gradient[site] < 0 && !more)
                continue;
            state->gradient[site] = machine->gradient_floats;
            machine->gradient_floats += state->copies * state->count;
        }
    if (machine->gradient_floats > MOST_ELEMENTS)
        return machine_fails(machine,
                             "the gradients are too many for the interpreter");
    machine->gradients = new_values(machine, machine->gradient_floats);
    return true;
}

/* ---- the batch ---- */
/* What is given, of the shape that its type has here, if only by its size. */
static bool read_given(Machine *machine, const char *name)
{
    const Tensor *tensor = find_tensor(machine->run->in, name);
    Array *array = machine_given(machine, name), shape;
    Type type;
    if (!tensor || !given_type(machine->m, name, &type))
        return true;
    int64_t B = machine->B, count = 1;
    machine->B = machine->batch;
    bool fits = array_shape(machine, &type, 0, &shape);
    machine->B = B;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->dims[i];
    if (!fits || count != shape.count)
        return machine_fails(machine,
                             "%s has %lld elements in the inputs, not %lld",
                             name, (long long)count, (long long)shape.count);
    *array = shape;
    array->at = tensor->values;
    for (int64_t i = 0; type.dtype == DT_I32 && i < array->count; i++)
        if (array->at[i] != floor(array->at[i])
            || fabs(array->at[i]) > 2147483647)
            return machine_fails(
                machine, "%s has a value that is no 32-bit integer", name);
    return true;
}

/* What is not given: the value that stands for it. */
static bool fill_given(Machine *machine, const char *name, double value)
{
    Array *array = machine_given(machine, name);
    Type type;
    if (array->at || !given_type(machine->m, name, &type))
        return true;
    int64_t B = machine->B;
    machine->B = machine->batch;
    bool fine = array_shape(machine, &type, 0, array);
    machine->B = B;
    if (!fine)
        return false;
    array->at = new_values(machine, array->count);
    for (int64_t i = 0; i < array->count; i++)
        array->at[i] = value;
    return true;
}

/* Whether the step's batch is cut, and so has one size. */
static bool is_cut(const Step *step)
{
    for (int i = 0; i < step->body.count; i++)
        if (step->body.at[i]->kind == STEP_GROUPS
            || step->body.at[i]->kind == STEP_MICROS)
            return true;
    return false;
}

/* Padding is not scored, whatever its targets are. */
static void unscore_padding(Machine *machine)
{
    Array *targets = machine_given(machine, "targets");
    const Array *lengths = machine_given(machine, "lengths");
    if (!targets->at)
        return;
    double *copy = new_values(machine, targets->count);
    memcpy(copy, targets->at, (size_t)targets->count * sizeof *copy);
    for (int64_t i = 0; i < targets->count; i++)
        if ((double)(i % targets->dims[1]) >= lengths->at[i / targets->dims[1]])
            copy[i] = -1;
    targets->at = copy;
}

/* Sequences and tokens of the batch, from the first input that has them. Those
 * of pairs are [pairs,2,T]. */
static void find_batch(const Machine *machine, int64_t *B, int64_t *T)
{
    static const char *const names[] = { "tokens", "source", "nodes",
                                         "images" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const Tensor *tensor = find_tensor(machine->run->in, names[i]);
        if (!tensor || tensor->rank < 2)
            continue;
        bool pairs = i == 0 && tensor->rank == 3;
        *B = tensor->dims[0] * (pairs ? tensor->dims[1] : 1);
        if (i < 3)
            *T = tensor->dims[pairs ? 2 : 1];
        return;
    }
}

static bool read_batch(Machine *machine)
{
    const Step *step = machine->step;
    int64_t B = step->batch, T = step->sequence;
    if (!is_cut(step))
        find_batch(machine, &B, &T);
    if (B < 1 || T < 1 || B > step->batch || T > step->sequence
        || B > MOST_ELEMENTS / T)
        return machine_fails(machine, "tokens are at most [%lld,%lld]",
                             (long long)step->batch, (long long)step->sequence);
    machine->batch = B;
    machine->B = is_cut(step) ? step->micro : B;
    machine->T = T;
    for (int i = 0; given_names[i]; i++)
        if (!read_given(machine, given_names[i]))
            return false;
    double whole = (double)(machine->run->position + T);
    if (!fill_given(machine, "lengths", whole)
        || !fill_given(machine, "source_lengths", whole)
        || !fill_given(machine, "types", 0)
        || !fill_given(machine, "edges", 1))
        return false;
    unscore_padding(machine);
    return true;
}

bool machine_inputs(Machine *machine)
{
    return read_weights(machine) && lay_out_gradients(machine)
        && read_batch(machine);
}

/* ---- scalars ---- */
double machine_input_scalar(const Machine *machine, const char *name,
                            double otherwise)
{
    const Tensor *tensor = find_tensor(machine->run->in, name);
    bool one =
        tensor
        && (tensor->rank == 0 || (tensor->rank == 1 && tensor->dims[0] == 1));
    return one ? rounded(machine, tensor->values[0])
               : rounded(machine, otherwise);
}

bool machine_scalar(Machine *machine, const char *name, double *value)
{
    double count = machine->scored ? (double)machine->scored : 1;
    double labels = machine->labelled ? (double)machine->labelled : 1;
    if (!strcmp(name, "inv_count") && machine->counted)
        *value = rounded(machine, 1 / count);
    else if (!strcmp(name, "inv_labels") && machine->labels_counted)
        *value = rounded(machine, 1 / labels);
    else if (!strcmp(name, "clip_scale") && machine->normed)
        *value = machine->clip_scale;
    else if (!strcmp(name, "decay") && machine->without_decay)
        *value = 0;
    else if (!strcmp(name, "smoothing"))
        *value = machine_input_scalar(machine, name, 0);
    else if (!strcmp(name, "sharpness"))
        *value = machine_input_scalar(
            machine, name, 1 - machine_input_scalar(machine, "smoothing", 0));
    else
        *value = machine_input_scalar(machine, name, NAN);
    if (isnan(*value) && !find_tensor(machine->run->in, name))
        return machine_fails(machine, "the inputs have no %s", name);
    return true;
}

/* ---- the cache ---- */
bool machine_cache(Machine *machine, int slot, int64_t rows, int64_t width,
                   Array *array)
{
    Tensors *cache = &machine->run->cache;
    *array = (Array){ .rank = 3, .dims = { machine->B, rows, width },
                      .count = machine->B * rows * width };
    const char *name = arena_printf(machine->arena, "cache.%lld.%d",
                                    (long long)machine->block, slot);
    const Tensor *old = find_tensor(cache, name);
    if (old && !same_shape(old, 3, array->dims))
        return machine_fails(machine, "%s has another shape than before", name);
    if (!old) {
        Tensor fresh = { .name = name,
                         .rank = 3,
                         .dims = { machine->B, rows, width },
                         .values = new_values(machine, array->count) };
        list_push(machine->arena, &cache->list, fresh);
        old = &cache->list.at[cache->list.count - 1];
    }
    array->at = old->values;
    return true;
}

/* ---- outputs ---- */
void machine_output(Machine *machine, const char *name, const Array *array)
{
    Tensor tensor = { .name = name, .rank = array->rank, .values = array->at };
    memcpy(tensor.dims, array->dims, sizeof tensor.dims);
    list_push(machine->arena, &machine->run->out.list, tensor);
}

static void output_number(Machine *machine, const char *name, double value)
{
    Array one = {
        .rank = 1, .dims = { 1 }, .count = 1, .at = new_values(machine, 1)
    };
    one.at[0] = value;
    machine_output(machine, name, &one);
}

static void output_copy(Machine *machine, const Copy *copy, const char *prefix,
                        double *from)
{
    const Weight *w = &machine->m->weights.at[copy->weight];
    const WeightState *state = &machine->weights[copy->weight];
    Array array;
    if (!shape_in_files(machine, w, &array))
        return;
    array.at = new_values(machine, array.count);
    memcpy(array.at, from + copy->copy * state->count,
           (size_t)array.count * sizeof(double));
    machine_output(machine,
                   arena_printf(machine->arena, "%s%s", prefix, copy->name),
                   &array);
}

/* Σ of the blocks' auxiliary losses, block by block, sequence by sequence. */
static double machine_aux(const Machine *machine)
{
    int64_t count =
        stack_first(machine->m, machine->m->stacks.count) * machine->batch;
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += machine->aux[i];
    return sum;
}

double machine_loss(const Machine *machine)
{
    double count = machine->scored ? (double)machine->scored : 1;
    double labels = machine->labelled ? (double)machine->labelled : 1;
    if (!machine->counted && !machine->labels_counted)
        return machine->totals[TOTAL_LOSS] + machine->totals[TOTAL_LABEL_LOSS];
    double loss = 0;
    if (machine->counted)
        loss = machine->totals[TOTAL_LOSS] / count;
    if (machine->labels_counted)
        loss = loss + machine->totals[TOTAL_LABEL_LOSS] / labels;
    return rounded(machine, loss + machine_aux(machine));
}

void machine_outputs(Machine *machine)
{
    output_number(machine, "loss", machine_loss(machine));
    output_number(machine, "aux_loss", rounded(machine, machine_aux(machine)));
    if (machine->counted)
        output_number(machine, "scored", (double)machine->scored);
    if (machine->normed) {
        output_number(machine, "grad_norm", machine->grad_norm);
        output_number(machine, "clip_scale", machine->clip_scale);
        output_number(machine, "applied", machine->applied);
    }
    for (int i = 0; i < machine->copies.count; i++) {
        const Copy *copy = &machine->copies.at[i];
        const WeightState *state = &machine->weights[copy->weight];
        if (!copy->trained)
            continue;
        if (machine->differentiated && state->gradient[0] >= 0)
            output_copy(machine, copy, "grad.",
                        machine->gradients + state->gradient[0]);
        if (!machine->updated)
            continue;
        output_copy(machine, copy, "", state->values);
        output_copy(machine, copy, "first.", state->first);
        output_copy(machine, copy, "second.", state->second);
    }
}
