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
        case PD_INT: prog_datum_int(p, row->data, d->integer); break;
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
};

static void describe_init(Lower *l, Row *row, const Init *init)
{
    int64_t blocks = l->m->dims.at[module_find_dim(l->m, "L")].size;
    double std = init->std;
    if (init->residual)
        std /= __builtin_sqrt(2.0 * (double)blocks);
    put_text(row, "init", init_names[init->kind]);
    put_real(row, "init_a", init->kind == INIT_NORMAL ? std : init->base);
    put_real(row, "init_b", init->factor);
    put_real(row, "init_c", init->low);
    put_real(row, "init_d", init->high);
    put_real(row, "init_e", init->original);
}

static void describe_tensor(Lower *l, ProgData *data, int i)
{
    const Weight *w = &l->m->weights.at[i];
    Row row = begin_row(l, data);
    int64_t blocks = l->m->dims.at[module_find_dim(l->m, "L")].size;
    int64_t at = l->weight_at[i] + (w->per_block ? l->block_at : 0);
    int64_t gradient = l->gradient_at[i];
    if (gradient >= 0 && w->per_block)
        gradient += l->block_gradient_at;
    put_text(&row, "name",
             w->per_block ? arena_printf(l->arena, "blocks.{i}.%s", w->name)
                          : w->name);
    put_int(&row, "repeat", w->per_block ? blocks : 1);
    put_int(&row, "rank", w->type.rank);
    put_int(&row, "dim0", l->m->dims.at[w->type.dims[0]].size);
    put_int(&row, "dim1",
            w->type.rank > 1 ? l->m->dims.at[w->type.dims[1]].size : 1);
    put_int(&row, "weight", at);
    put_int(&row, "weight_stride", w->per_block ? l->block_floats : 0);
    put_int(&row, "gradient", gradient);
    put_int(&row, "gradient_stride",
            w->per_block ? l->block_gradient_floats : 0);
    put_text(&row, "frozen", w->frozen_blocks ? w->frozen_blocks : "");
    describe_init(l, &row, &w->init);
    put_int(&row, "decay", w->decay);
    put_int(&row, "constant", w->constant);
    end_row(&row);
}

/* ---- programs ---- */
static int64_t region_bytes(const StepMap *map, const char *name)
{
    const Region *r = find_region(map, name);
    return r ? 4 * r->offset : -1;
}

/* Bytes of each class: from a region's start to the next one's. */
static ProgData *describe_memory(Lower *l, const StepMap *map)
{
    const char *name = arena_printf(l->arena, "%s_memory", map->step->name);
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
    for (int i = 0; i < 4; i++) {
        const Dim *dim = i < v->type->rank ? &l->m->dims.at[v->type->dims[i]]
                                           : NULL;
        /* what a call sets: 0 its sequences, -1 the tokens of each */
        int64_t size = dim ? dim->size : 1;
        if (dim && dim->kind == DIM_BATCH)
            size = 0;
        if (dim && dim->kind == DIM_SEQUENCE)
            size = -1;
        put_int(&row, fields[i], size);
    }
    put_int(&row, "offset", v->offset);
    put_int(&row, "stride", v->stride);
    end_row(&row);
}

static ProgData *describe_values(Lower *l, const StepMap *map)
{
    const Func *block = module_find_func(l->m, "block.inspect");
    if (strcmp(map->step->name, "forward") != 0 || !block)
        return NULL;
    ProgData *data = rows_of(l, "forward_values", "Value", true);
    const Type *x = &block->params.at[0]->type;
    int64_t blocks = l->m->dims.at[module_find_dim(l->m, "L")].size;
    int64_t stream = map->stride * l->m->dims.at[x->dims[2]].size;
    int64_t at = region_at(map, "stream");
    describe_value(l, data, &(Saved){ "embed", 1, at, 0, x });
    for (int i = 0; i < block->saved.count; i++) {
        Value *v = block->saved.at[i];
        const char *name = arena_printf(l->arena, "blocks.{i}.%s", v->name);
        int64_t offset = region_at(map, "records")
            + value_root(v)->offset * map->stride;
        describe_value(l, data,
                       &(Saved){ name, blocks, offset,
                                 block->record_floats * map->stride,
                                 &v->type });
    }
    describe_value(l, data, &(Saved){ "blocks.{i}.out", blocks, at + stream,
                                      stream, x });
    const Region *norm = find_region(map, "norm");
    if (norm)
        describe_value(l, data, &(Saved){ "norm", 1, norm->offset, 0, x });
    int vocab = module_find_dim(l->m, "V");
    Type logits = type_of(DT_F32, 3, (int[]){ x->dims[0], x->dims[1], vocab });
    describe_value(l, data, &(Saved){ "logits", 1, region_at(map, "logits"), 0,
                                      &logits });
    return data;
}

static void describe_step(Lower *l, ProgData *data, const StepMap *map,
                          const ProgFunc *entry, const ProgData *memory,
                          const ProgData *values)
{
    Row row = begin_row(l, data);
    bool train = !strcmp(map->step->name, "train");
    put_text(&row, "name", map->step->name);
    put_int(&row, "batch", map->step->batch);
    put_int(&row, "sequence", map->step->sequence);
    put_int(&row, "state_bytes",
            train ? 4 * l->info->moments * l->gradient_floats : 0);
    put_int(&row, "value_bytes", 4 * map->floats);
    put_int(&row, "thread_bytes", 4 * map->workspace_floats);
    put_real(&row, "flops", map->flops);
    put_int(&row, "tokens_at", region_bytes(map, "tokens"));
    put_int(&row, "targets_at", region_bytes(map, "targets"));
    put_int(&row, "lengths_at", region_bytes(map, "lengths"));
    put_int(&row, "logits_at", region_bytes(map, "logits"));
    put_int(&row, "gradients_at", region_bytes(map, "gradients"));
    put_data(&row, "memory", "memory_count", memory);
    put_data(&row, "values", "value_count", values);
    *field(&row, "entry") = (ProgDatum){ .kind = PD_FUNC, .func = entry };
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
    int64_t count = 0, blocks = l->m->dims.at[module_find_dim(l->m, "L")].size;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (!w->constant)
            count += (w->per_block ? blocks : 1)
                * type_elements(l->m, &w->type);
    }
    return count;
}

static int64_t size_of(const Lower *l, const char *dim)
{
    return l->m->dims.at[module_find_dim(l->m, dim)].size;
}

static bool is_causal(const Lower *l)
{
    return module_find_step(l->m, "generate") != NULL;
}

void describe_program(Lower *l, const StepMap *maps, ProgFunc *const *entries,
                      int count)
{
    const LowerInfo *info = l->info;
    ProgData *tensors = rows_of(l, "tensors", "Tensor", true);
    for (int i = 0; i < l->m->weights.count; i++)
        describe_tensor(l, tensors, i);
    ProgData *memory[8], *values[8];
    for (int i = 0; i < count; i++) {
        memory[i] = describe_memory(l, &maps[i]);
        values[i] = describe_values(l, &maps[i]);
    }
    ProgData *steps = rows_of(l, "steps", "Step", true);
    for (int i = 0; i < count; i++)
        describe_step(l, steps, &maps[i], entries[i], memory[i], values[i]);
    ProgData *keys = describe_keys(l);
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
    put_int(&row, "vocab", size_of(l, "V"));
    put_int(&row, "context", size_of(l, "P"));
    put_int(&row, "blocks", size_of(l, "L"));
    put_int(&row, "batch", info->batch);
    put_int(&row, "sequence", info->sequence);
    put_int(&row, "groups", info->groups);
    put_int(&row, "causal", is_causal(l));
    put_int(&row, "parameters", parameter_count(l));
    put_int(&row, "weight_bytes", 4 * l->weight_floats);
    put_int(&row, "gradient_floats", l->gradient_floats);
    put_int(&row, "moments", info->moments);
    put_data(&row, "tensors", "tensor_count", tensors);
    put_data(&row, "steps", "step_count", steps);
    put_data(&row, "keys", "key_count", keys);
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
