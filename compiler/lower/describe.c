/* describe.c: what the program tells the runtime (runtime/program.def):
 * tensors, programs with their memory, the keys that may be set when it
 * runs. */
#include "lowering.h"

/* A row of data of a record of program.def, filled by field name in any
 * order. */
typedef struct Row { Lower *l; ProgData *data; ProgDatum *values; } Row;

static ProgData *rows_of(Lower *l, const char *name, const char *record,
                         bool array)
{
    return prog_data(l->p, name, prog_runtime_record(l->p, record), array,
                     !array);
}

static Row begin_row(Lower *l, ProgData *data)
{
    size_t bytes = (size_t)data->record->fields.count * sizeof(ProgDatum);
    Row row = { .l = l, .data = data, .values = arena_alloc(l->arena, bytes) };
    for (int i = 0; i < data->record->fields.count; i++)
        row.values[i].kind = PD_NULL;
    return row;
}

static ProgDatum *field(Row *row, const char *name)
{
    const ProgRecord *record = row->data->record;
    for (int i = 0; i < record->fields.count; i++)
        if (!strcmp(record->fields.at[i].name, name))
            return &row->values[i];
    ice("%s has no field %s", record->name, name);
}

static void end_row(Row *row)
{
    Prog *p = row->l->p;
    for (int i = 0; i < row->data->record->fields.count; i++) {
        const ProgDatum *d = &row->values[i];
        switch (d->kind) {
        case PD_INT:
            if (d->constant)
                prog_datum_const(p, row->data, d->constant, d->times);
            else
                prog_datum_int(p, row->data, d->integer);
            break;
        case PD_FLOAT: prog_datum_float(p, row->data, d->number); break;
        case PD_TEXT: prog_datum_text(p, row->data, d->text); break;
        case PD_DATA: prog_datum_data(p, row->data, d->data); break;
        case PD_FUNC: prog_datum_func(p, row->data, d->func); break;
        case PD_NULL: prog_datum_null(p, row->data); break;
        }
    }
}

static void put_int(Row *row, const char *name, int64_t value)
{
    *field(row, name) = (ProgDatum){ .kind = PD_INT, .integer = value };
}

/* `times` a constant that has a name; a number where it has none or where it
 * does not make the value. */
static void put_const(Row *row, const char *name, int64_t value,
                      const ProgConst *constant, int64_t times)
{
    bool named = constant && value == times * constant->value;
    put_int(row, name, value);
    field(row, name)->constant = named ? constant : NULL;
    field(row, name)->times = times;
}

static void put_real(Row *row, const char *name, double value)
{
    *field(row, name) = (ProgDatum){ .kind = PD_FLOAT, .number = value };
}

static void put_text(Row *row, const char *name, const char *text)
{
    *field(row, name) = (ProgDatum){ .kind = PD_TEXT, .text = text };
}

static void put_data(Row *row, const char *name, const char *count,
                     const ProgData *data)
{
    put_int(row, count, data ? data->rows : 0);
    if (data)
        *field(row, name) = (ProgDatum){ .kind = PD_DATA, .data = data };
}

/* ---- tensors ---- */
static const char *const init_names[] = {
    [INIT_ZEROS] = "zeros", [INIT_ONES] = "ones", [INIT_NORMAL] = "normal",
    [INIT_SINUSOIDAL] = "sinusoidal", [INIT_ROTARY_COS] = "rotary-cos",
    [INIT_ROTARY_SIN] = "rotary-sin", [INIT_ALIBI] = "alibi",
    [INIT_RELATIVE] = "relative", [INIT_HELD] = "held",
};

static void describe_init(Lower *l, Row *row, const Weight *w)
{
    const Init *init = &w->init;
    double std = init->std;
    if (init->residual)
        std /= __builtin_sqrt(2.0 * (double)stack_blocks(l->m, w->stack));
    put_text(row, "init", w->derived ? "derived" : init_names[init->kind]);
    put_real(row, "init_a", init->kind == INIT_NORMAL ? std : init->base);
    put_real(row, "init_b", init->factor);
    put_real(row, "init_c", init->low);
    put_real(row, "init_d", init->high);
    put_real(row, "init_e", init->original);
}

/* Where a weight lies: in the whole, or on a stage. */
typedef struct TensorPlace {
    int64_t weight, gradient;           /* gradient -1: not trained */
    int64_t first, repeat;              /* its blocks; 0, 1 of one outside */
    int64_t before;                     /* the stage's blocks before those */
} TensorPlace;

static TensorPlace tensor_place(const Lower *l, int i, int part, int chunk)
{
    const Weight *w = &l->m->weights.at[i];
    bool block = w->stack >= 0;
    const StackLayout *stack = block ? &l->stacks[w->stack] : NULL;
    TensorPlace place = { .repeat = block ? stack_blocks(l->m, w->stack) : 1 };
    place.weight = l->weight_at[i] + (block ? stack->at : 0);
    place.gradient = l->site_at[0][i];
    if (place.gradient >= 0 && block)
        place.gradient += stack->gradient_at;
    if (l->shards > 1 && place.gradient >= 0)
        place.gradient = w->frozen ? -1 : place.weight;
    if (part < 0 || !l->parts)
        return place;
    const PartLayout *layout = &l->parts[part];
    place.weight = block ? layout->stack_at[w->stack] + l->weight_at[i]
                         : layout->weight_at[i];
    place.gradient = layout->site_at[0][i];
    if (block) {
        const ModelChunk *own = part_chunk(l, part, chunk);
        int64_t before = part_blocks_before(l, part, chunk);
        place.first = own->from;
        place.repeat = own->to - own->from;
        place.before = before;
        place.weight += before * stack->floats;
        place.gradient = l->site_at[0][i];
        if (place.gradient >= 0)
            place.gradient += layout->gradient_stack_at[w->stack]
                + before * stack->gradient_floats;
    }
    if (w->frozen)
        place.gradient = -1;
    return place;
}

static void describe_tensor(Lower *l, ProgData *data, int i, int part,
                            int chunk)
{
    static const char *const fields[] = { "dim0", "dim1", "dim2" };
    const Weight *w = &l->m->weights.at[i];
    const Type *type = w->file_type.rank ? &w->file_type : &w->type;
    const StackLayout *stack = w->stack >= 0 ? &l->stacks[w->stack] : NULL;
    Row row = begin_row(l, data);
    const TensorPlace place = tensor_place(l, i, part, chunk);
    const char *frozen = w->frozen_blocks;
    if (frozen)
        frozen = arena_strndup(l->arena, frozen + place.first,
                               (size_t)place.repeat);
    put_text(&row, "name",
             stack ? arena_printf(l->arena, "%sblocks.{i}.%s",
                                  l->m->stacks.at[w->stack].prefix, w->name)
                   : w->name);
    put_int(&row, "first", place.first);
    put_int(&row, "repeat", place.repeat);
    put_int(&row, "rank", type->rank);
    put_int(&row, "slice", (int64_t)w->slice);
    put_int(&row, "experts", w->experts);
    for (int axis = 0; axis < 3; axis++) {
        int dim = axis < type->rank ? type->dims[axis] : 0;
        int64_t size = dim ? l->m->dims.at[dim].size : 1, ranks = 1;
        if (!w->whole_file
            && ((axis == 0 && w->slice == SLICE_ROWS)
                || (axis == 1 && w->slice == SLICE_COLUMNS)
                || (axis == 2 && w->slice == SLICE_LAST)))
            ranks *= l->m->mesh.tensor;
        if (axis == 0 && w->experts)
            ranks *= l->m->mesh.experts;
        put_const(&row, fields[axis], ranks * size, dim ? l->dims[dim] : NULL,
                  ranks);
    }
    put_int(&row, "weight", place.weight);
    put_const(&row, "weight_stride", stack ? stack->floats : 0,
              stack ? stack->floats_const : NULL, 1);
    put_int(&row, "gradient", w->derived ? -1 : place.gradient);
    put_const(&row, "gradient_stride", stack ? stack->gradient_floats : 0,
              stack ? stack->gradient_floats_const : NULL, 1);
    const Unit *unit = unit_of(l, i);
    int64_t unit_at = unit ? part_unit_at(l, unit, part) : 0;
    if (stack)                          /* a block is a unit */
        unit_at += place.before * stack->floats;
    put_int(&row, "unit", unit_at);
    int64_t share = unit ? part_unit_share(l, unit, part) : 0;
    put_int(&row, "share", share);
    put_int(&row, "packed", unit ? part_unit_packed(l, unit, part)
                                       + place.before * share : 0);
    put_text(&row, "frozen", frozen ? frozen : "");
    describe_init(l, &row, w);
    put_int(&row, "decay", w->decay);
    put_int(&row, "constant", w->constant || w->derived);
    end_row(&row);
}

/* Of a weight in blocks a row a chunk of the stage. */
static ProgData *describe_tensors(Lower *l, const char *name, int part)
{
    ProgData *data = rows_of(l, name, "Tensor", true);
    for (int i = 0; i < l->m->weights.count; i++) {
        bool block = l->m->weights.at[i].stack >= 0;
        int rows = part >= 0 && block ? l->chunks : 1;
        for (int chunk = 0; chunk < rows; chunk++)
            if (part < 0 || !l->parts
                || (block ? part_chunk(l, part, chunk)->stack
                            == l->m->weights.at[i].stack
                          : weight_on_stage(l, i, part)))
                describe_tensor(l, data, i, part, chunk);
    }
    return data;
}

/* ---- programs ---- */
/* Where a region begins, in bytes; -1: there is none. */
static void put_region(Row *row, const char *field, const StepMap *map,
                       const char *name)
{
    const Region *r = find_region(map, name);
    put_const(row, field, r ? 4 * r->offset : -1, r ? r->constant : NULL, 4);
}

/* "train_memory"; a stage's own is "train_memory_of_0". */
static const char *name_of_part(const Lower *l, const char *name, int part)
{
    return part < 0 ? name : arena_printf(l->arena, "%s_of_%d", name, part);
}

/* Bytes of each class: from a region's start to the next one's. NULL where
 * there is none. */
static ProgData *describe_memory(Lower *l, const StepMap *map, int part)
{
    if (map->regions.count == 0)
        return NULL;
    const char *name = name_of_part(
        l, arena_printf(l->arena, "%s_memory", map->step->name), part);
    ProgData *data = rows_of(l, name, "Memory", true);
    for (int i = 0; i < map->regions.count; i++) {
        const char *class = map->regions.at[i].class;
        bool seen = false;
        int64_t bytes = 0;
        for (int j = 0; j < map->regions.count; j++) {
            int64_t end = j + 1 < map->regions.count
                ? map->regions.at[j + 1].offset
                : map->floats;
            if (strcmp(map->regions.at[j].class, class))
                continue;
            seen |= j < i;
            bytes += 4 * (end - map->regions.at[j].offset);
        }
        if (seen)
            continue;
        Row row = begin_row(l, data);
        put_text(&row, "name", class);
        put_int(&row, "bytes", bytes);
        end_row(&row);
    }
    return data;
}

/* A dim of a row: what a call sets is 0 for its sequences, -1 for the tokens of
 * each; 1 where the type has none. */
static int64_t dim_code(const Lower *l, const Type *type, int axis)
{
    if (axis >= type->rank)
        return 1;
    const Dim *dim = &l->m->dims.at[type->dims[axis]];
    if (dim->kind == DIM_BATCH)
        return 0;
    return dim->kind == DIM_SEQUENCE ? -1 : dim->size;
}

/* What the runtime fills in before a call. */
static ProgData *describe_inputs(Lower *l, const StepMap *map, int part)
{
    const char *name = name_of_part(
        l, arena_printf(l->arena, "%s_inputs", map->step->name), part);
    static const char *const fields[] = { "dim0", "dim1", "dim2" };
    ProgData *data = NULL;
    for (int i = 0; given_names[i]; i++) {
        const Region *r = find_region(map, given_names[i]);
        Type type;
        if (!r || !given_type(l->m, given_names[i], &type))
            continue;
        if (!data)
            data = rows_of(l, name, "Input", true);
        Row row = begin_row(l, data);
        put_text(&row, "name", given_names[i]);
        put_int(&row, "real", type.dtype == DT_F32);
        put_int(&row, "rank", type.rank);
        for (int axis = 0; axis < 3; axis++)
            put_int(&row, fields[axis], dim_code(l, &type, axis));
        put_region(&row, "offset", map, given_names[i]);
        end_row(&row);
    }
    return data;
}

/* A value of the forward program, by the name that `--save` knows it by. */
typedef struct Saved {
    const char *name;
    int64_t repeat, offset, stride;
    const Type *type;
} Saved;

static void describe_value(Lower *l, ProgData *data, const Saved *v)
{
    static const char *const fields[] = { "dim0", "dim1", "dim2", "dim3" };
    Row row = begin_row(l, data);
    put_text(&row, "name", v->name);
    put_int(&row, "repeat", v->repeat);
    put_int(&row, "rank", v->type->rank);
    for (int i = 0; i < 4; i++)
        put_int(&row, fields[i], dim_code(l, v->type, i));
    put_int(&row, "offset", v->offset);
    put_int(&row, "stride", v->stride);
    end_row(&row);
}

/* A stack's stream and what its blocks leave: embed, blocks.{i}.…,
 * blocks.{i}.out. */
static void describe_stack(Lower *l, const StepMap *map, ProgData *data,
                           const char *block, const char *prefix,
                           const char *stream)
{
    const StepValue *x = find_value(map, stream);
    const Func *f = module_find_func(l->m, block);
    Type type = type_of(DT_F32, 3, (int[]){ module_find_dim(l->m, "B"),
                                            module_find_dim(l->m, "T"),
                                            module_find_dim(l->m, "C") });
    if (!x)
        return;
    Arena *a = l->arena;
    int64_t at = region_at(map, x->region), each = map->stride * x->width;
    describe_value(
        l, data,
        &(Saved){ arena_printf(a, "%sembed", prefix), 1, at, 0, &type });
    if (!f)
        return;
    int64_t blocks = stack_blocks(l->m, f->stack);
    for (int i = 0; i < f->saved.count; i++) {
        Value *v = f->saved.at[i];
        const char *name = arena_printf(a, "%sblocks.{i}.%s", prefix, v->name);
        int64_t offset = region_at(map, record_region(l, f))
            + value_root(v)->offset * map->stride;
        describe_value(l, data,
                       &(Saved){ name, blocks, offset,
                                 f->record_floats * map->stride, &v->type });
    }
    describe_value(l, data,
                   &(Saved){ arena_printf(a, "%sblocks.{i}.out", prefix),
                             blocks, at + each, each, &type });
}

static ProgData *describe_values(Lower *l, const StepMap *map)
{
    if (strcmp(map->step->name, "forward") != 0)
        return NULL;
    const Module *m = l->m;
    ProgData *data = rows_of(l, "forward_values", "Value", true);
    bool two = m->stacks.count > 1;
    int B = module_find_dim(m, "B"), T = module_find_dim(m, "T"),
        C = module_find_dim(m, "C");
    Type x = type_of(DT_F32, 3, (int[]){ B, T, C });
    if (two)
        describe_stack(l, map, data, "encoder_block.inspect", "encoder.",
                       "encoded");
    describe_stack(l, map, data,
                   two ? "decoder_block.inspect" : "block.inspect",
                   two ? "decoder." : "", "x");
    const Region *memory = find_region(map, "memory"),
                 *norm = find_region(map, "norm");
    if (memory)
        describe_value(l, data,
                       &(Saved){ "encoder.norm", 1, memory->offset, 0, &x });
    if (norm)
        describe_value(
            l, data,
            &(Saved){ two ? "decoder.norm" : "norm", 1, norm->offset, 0, &x });
    const StepValue *logits = find_value(map, "logits");
    const Func *head = module_find_func(m, "head.inspect");
    Type rows = head->results.at[0]->type;
    int width = rows.dims[rows.rank - 1];
    Type type = logits->pooled ? type_of(DT_F32, 2, (int[]){ B, width })
                               : type_of(DT_F32, 3, (int[]){ B, T, width });
    describe_value(l, data,
                   &(Saved){ "logits", 1, region_at(map, "logits"), 0, &type });
    return data;
}

typedef struct StepParts {
    const ProgFunc *entry;
    const ProgData *memory, *values, *inputs;
} StepParts;

/* Floats of one moment that a rank has. */
static int64_t map_moments(const Lower *l, const StepMap *map)
{
    return part_share_floats(l, map->stage);
}

/* Of a step that ranks have in place of a program's: whose; NULL: it is none.
 */
static const char *ranks_step(const Step *step)
{
    return !strcmp(step->name, "stage_prepare")  ? "prepare"
         : !strcmp(step->name, "gathered_score") ? "score"
                                                 : NULL;
}

/* Of sequences; where stages gather them, the last one's. */
static void put_sums_at(const Lower *l, Row *row, const StepMap *map)
{
    const Region *all = find_region(map, "all_sums");
    if (all)
        put_int(row, "sums_at",
                4 * (all->offset + all->floats / l->stages * (l->stages - 1)));
    else
        put_region(row, "sums_at", map, "sums");
}

static void describe_step(Lower *l, ProgData *data, const StepMap *map,
                          const StepParts *parts)
{
    Row row = begin_row(l, data);
    bool train = !strcmp(map->step->name, "train");
    const StepValue *logits = find_value(map, "logits");
    put_text(&row, "name", ranks_step(map->step) ? ranks_step(map->step)
                                            : map->step->name);
    put_const(&row, "batch", map->sequences, map->batch, 1);
    put_const(&row, "sequence", map->step->sequence, map->sequence,
              map->context);
    put_int(&row, "state_bytes",
            train ? 4 * l->info->moments * map_moments(l, map) : 0);
    put_const(&row, "value_bytes", 4 * map->floats, map->all, 4);
    put_int(&row, "thread_bytes", 4 * map->workspace_floats);
    put_real(&row, "flops", map->flops);
    put_region(&row, "logits_at", map, "logits");
    put_int(&row, "logits_width", logits ? logits->width : 0);
    put_int(&row, "logits_pooled", logits ? logits->pooled : 0);
    put_sums_at(l, &row, map);
    bool whole = find_region(map, "whole") != NULL;
    if (!strcmp(map->step->name, "grad"))
        put_region(&row, "gradients_at", map, whole ? "whole" : "gradients");
    else
        put_int(&row, "gradients_at", -1);
    put_data(&row, "inputs", "input_count", parts->inputs);
    put_data(&row, "memory", "memory_count", parts->memory);
    put_data(&row, "values", "value_count", parts->values);
    *field(&row, "entry") =
        (ProgDatum){ .kind = PD_FUNC, .func = parts->entry };
    end_row(&row);
}

static ProgData *describe_keys(Lower *l)
{
    ProgData *data = rows_of(l, "keys", "RunKey", true);
    for (int i = 0; i < l->info->keys.count; i++) {
        const RunKeyInfo *key = &l->info->keys.at[i];
        Row row = begin_row(l, data);
        put_text(&row, "path", key->path);
        put_text(&row, "type", key->type);
        put_real(&row, "least", key->least);
        put_real(&row, "most", key->most);
        put_text(&row, "choices", key->choices ? key->choices : "");
        put_text(&row, "value", key->value);
        put_text(&row, "doc", key->doc);
        end_row(&row);
    }
    return data;
}

static int64_t parameter_count(const Lower *l)
{
    int64_t count = 0;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        int64_t copies = w->stack >= 0 ? stack_blocks(l->m, w->stack) : 1;
        if (w->whole_file)
            count += type_elements(l->m, &w->file_type);
        else if (!w->constant && !w->derived)
            count += copies * type_elements(l->m, &w->type)
                * (w->slice ? l->m->mesh.tensor : 1)
                * (w->experts ? l->m->mesh.experts : 1);
    }
    return count;
}

/* 0 where the model has no such dim. */
static int64_t size_of(const Lower *l, const char *dim)
{
    int found = module_find_dim(l->m, dim);
    return found < 0 ? 0 : l->m->dims.at[found].size;
}

/* What ranks say to each other; NULL: there is one. */
static ProgData *describe_talks(Lower *l, const char *name, int part)
{
    ProgData *data = NULL;
    for (int i = 0; i < l->talks.count; i++) {
        const Talk *talk = l->talks.at[i];
        const Origin origin = { .model = talk->from, .cause = talk->from };
        if (!data)
            data = rows_of(l, name, "Message", true);
        Row row = begin_row(l, data);
        put_text(&row, "name", talk->name);
        put_text(&row, "where", where(l, &origin));
        put_text(&row, "axis", talk->axis);
        put_int(&row, "calls", talk->calls[part]);
        put_int(&row, "bytes", talk->bytes[part]);
        put_int(&row, "at_most", talk->at_most);
        end_row(&row);
    }
    return data;
}

/* What the model takes and gives. */
static void describe_model(Lower *l, Row *row)
{
    const LowerInfo *info = l->info;
    put_text(row, "kind", info->kind);
    put_text(row, "input", info->input);
    put_text(row, "head", info->head);
    put_text(row, "objective", info->objective);
    put_int(row, "vocab", size_of(l, "V"));
    put_int(row, "classes", size_of(l, "classes"));
    put_int(row, "channels", info->channels);
    put_int(row, "image_size", info->image_size);
    put_int(row, "nodes", info->nodes);
    put_int(row, "node_features", size_of(l, "features"));
    put_int(row, "token_types", size_of(l, "token_types"));
    put_int(row, "experts", size_of(l, "X") > 0);
    put_int(row, "context", size_of(l, "P"));
    put_int(row, "blocks", stack_first(l->m, l->m->stacks.count));
    put_int(row, "batch", info->batch);
    put_int(row, "sequence", info->sequence);
    put_int(row, "groups", info->groups);
    put_int(row, "causal", info->generates);
    put_int(row, "ranks",
            l->m->mesh.data * l->m->mesh.stages * l->m->mesh.tensor
                * l->m->mesh.context);
    put_int(row, "data", l->m->mesh.data);
    put_int(row, "stages", l->m->mesh.stages);
    put_int(row, "decoder", l->decoder % l->stages);
    put_int(row, "tensor", l->m->mesh.tensor);
    put_int(row, "chunks", l->m->mesh.context);
    put_int(row, "expert_ranks", l->m->mesh.experts);
    put_int(row, "expert_shards", l->expert_shards);
    put_int(row, "shard", (int64_t)l->m->mesh.shard);
    put_int(row, "shard_ranks", l->shards);
    put_int(row, "parameters", parameter_count(l));
    put_int(row, "weight_bytes", 4 * l->weight_floats);
    put_int(row, "gradient_floats", l->moment_floats);
    put_int(row, "share_floats", part_share_floats(l, -1));
    put_int(row, "moments", info->moments);
}

/* The steps, or with a part those that its stage runs in its own way. */
static ProgData *describe_steps(Lower *l, const StepMap *maps,
                                ProgFunc *const *entries, int count, int part)
{
    StepParts parts[16];
    const StepMap *chosen[16];
    int chosen_count = 0;
    for (int i = 0; i < count; i++) {
        const StepMap *map = &maps[i];
        bool ranks = map->by_stage || gathers(l, map->step);
        if (part >= 0 && !ranks)
            continue;
        if (part < 0 && ranks_step(map->step))
            continue;
        if (map->by_stage)          /* the program's own: the first stage's */
            map = &map->by_stage[part < 0 ? 0 : part];
        parts[chosen_count] = (StepParts){ entries[i],
                                           describe_memory(l, map, part),
                                           describe_values(l, map),
                                           describe_inputs(l, map, part) };
        chosen[chosen_count++] = map;
    }
    ProgData *steps = rows_of(l, name_of_part(l, "steps", part), "Step", true);
    for (int i = 0; i < chosen_count; i++)
        describe_step(l, steps, chosen[i], &parts[i]);
    return steps;
}

/* What each stage has in place of the program's own. */
static ProgData *describe_parts(Lower *l, const StepMap *maps,
                                ProgFunc *const *entries, int count)
{
    bool packed = l->m->mesh.shard == SHARD_PARAMETERS;
    if (l->stages == 1 && !packed)
        return NULL;
    Arena *a = l->arena;
    ProgData **tensors = arena_alloc(a, (size_t)l->stages * sizeof *tensors);
    ProgData **steps = arena_alloc(a, (size_t)l->stages * sizeof *steps);
    ProgData **talks = arena_alloc(a, (size_t)l->stages * sizeof *talks);
    for (int s = 0; s < l->stages; s++) {
        tensors[s] =
            describe_tensors(l, name_of_part(l, "tensors", s), s);
        steps[s] = describe_steps(l, maps, entries, count, s);
        talks[s] = describe_talks(l, name_of_part(l, "messages", s), s);
    }
    ProgData *data = rows_of(l, "parts", "Part", true);
    for (int s = 0; s < l->stages; s++) {
        Row row = begin_row(l, data);
        int64_t weights = l->parts ? l->parts[s].weight_floats
                                   : l->weight_floats;
        int64_t moment = l->parts ? l->parts[s].moment_floats
                                  : l->moment_floats;
        if (packed)
            weights += part_share_floats(l, s) - moment;
        put_int(&row, "weight_bytes", 4 * weights);
        put_int(&row, "gradient_floats", moment);
        put_int(&row, "share_floats", part_share_floats(l, s));
        put_data(&row, "tensors", "tensor_count", tensors[s]);
        put_data(&row, "steps", "step_count", steps[s]);
        put_data(&row, "messages", "message_count", talks[s]);
        end_row(&row);
    }
    return data;
}

/* The name that both files know it by. */
static const char one_rank_name[] = "one_rank";

/* What a rank alone has, for the file with the rest to point at. */
static void describe_one_rank(Lower *l, const StepMap *maps,
                              ProgFunc *const *entries, int count)
{
    ProgData *tensors = describe_tensors(l, "tensors", -1);
    ProgData *steps = describe_steps(l, maps, entries, count, -1);
    Row row = begin_row(l, rows_of(l, one_rank_name, "Part", false));
    put_int(&row, "weight_bytes", 4 * l->weight_floats);
    put_int(&row, "gradient_floats", l->moment_floats);
    put_int(&row, "share_floats", part_share_floats(l, -1));
    put_data(&row, "tensors", "tensor_count", tensors);
    put_data(&row, "steps", "step_count", steps);
    put_data(&row, "messages", "message_count", NULL);
    end_row(&row);
}

void describe_program(Lower *l, const StepMap *maps, ProgFunc *const *entries,
                      int count)
{
    const LowerInfo *info = l->info;
    if (info->file == FILE_OF_ONE_RANK) {
        describe_one_rank(l, maps, entries, count);
        return;
    }
    ProgData *tensors = describe_tensors(l, "tensors", -1);
    ProgData *steps = describe_steps(l, maps, entries, count, -1);
    ProgData *messages = describe_talks(l, "messages", 0);
    ProgData *parts = describe_parts(l, maps, entries, count);
    ProgData *keys = describe_keys(l);
    ProgData *one_rank = NULL;
    if (info->file == FILE_OF_RANKS)
        one_rank = prog_external(l->p, one_rank_name,
                                 prog_runtime_record(l->p, "Part"));
    ProgData *program = rows_of(l, "program", "Program", false);
    Row row = begin_row(l, program);
    put_text(&row, "name", l->m->name);
    put_text(&row, "version", info->version);
    put_text(&row, "spec", info->spec_text);
    put_text(&row, "spec_hash", info->spec_hash);
    put_text(&row, "model_hash", info->model_hash);
    put_text(&row, "source_hash", "");
    put_text(&row, "target", info->target);
    put_text(&row, "features", info->features);
    describe_model(l, &row);
    put_data(&row, "tensors", "tensor_count", tensors);
    put_data(&row, "steps", "step_count", steps);
    put_data(&row, "keys", "key_count", keys);
    put_data(&row, "parts", "part_count", parts);
    put_data(&row, "messages", "message_count", messages);
    if (one_rank)
        *field(&row, "one_rank") =
            (ProgDatum){ .kind = PD_DATA, .data = one_rank };
    end_row(&row);
}

void program_set_text(Prog *p, const char *name, const char *text)
{
    for (int i = 0; i < p->items.count; i++) {
        ProgData *data = p->items.at[i].data;
        if (p->items.at[i].kind != PI_DATA
            || strcmp(data->name, "program") != 0)
            continue;
        for (int j = 0; j < data->record->fields.count; j++)
            if (!strcmp(data->record->fields.at[j].name, name)) {
                data->values.at[j] = (ProgDatum){ .kind = PD_TEXT,
                                                  .text = text };
                return;
            }
    }
    ice("the program has no field %s", name);
}
