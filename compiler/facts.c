/* facts.c: reads a program's description back (facts.h). Names of tables and of
 * fields are those of runtime/program.def and of lower/describe.c. */
#include "facts.h"
#include "../ir/ir.h"

const ProgData *facts_data(const Prog *p, const char *name)
{
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind == PI_DATA
            && !strcmp(p->items.at[i].data->name, name))
            return p->items.at[i].data;
    return NULL;
}

const ProgDatum *facts_field(const ProgData *data, int row, const char *name)
{
    const ProgRecord *record = data->record;
    for (int i = 0; i < record->fields.count; i++)
        if (!strcmp(record->fields.at[i].name, name))
            return &data->values.at[row * record->fields.count + i];
    ice("%s has no field %s", data->name, name);
}

int64_t facts_int(const ProgData *data, int row, const char *name)
{
    return facts_field(data, row, name)->integer;
}

const char *facts_text(const ProgData *data, int row, const char *name)
{
    const char *text = facts_field(data, row, name)->text;
    return text ? text : "";
}

int facts_row(const ProgData *data, const char *name, const char *text)
{
    for (int i = 0; data && i < data->rows; i++)
        if (!strcmp(facts_text(data, i, name), text))
            return i;
    return -1;
}

static void add_class(FactStage *stage, Arena *arena, const char *name,
                      int64_t bytes)
{
    const FactClass one = { name, bytes };
    if (bytes)
        list_push(arena, &stage->classes, one);
}

static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

/* What a step that goes with train maps beside it: *values, and the largest
 * workspace. */
static void read_companion(FactStage *stage, const ProgData *steps,
                           const ProgData *own, const char *name,
                           int64_t *values)
{
    int row = facts_row(own, "name", name);
    const ProgData *from = row < 0 ? steps : own;
    row = row < 0 ? facts_row(steps, "name", name) : row;
    if (row < 0)
        return;
    *values = largest(*values, facts_int(from, row, "value_bytes"));
    stage->thread = largest(stage->thread, facts_int(from, row,
                                                     "thread_bytes"));
}

/* What a rank maps to train: weights and moments, and behind them the values of
 * train, or those of its evaluations or of the reference's scores where they
 * are more. */
static void read_memory(FactStage *stage, Arena *arena, const ProgData *steps,
                        const ProgData *own, bool pairs)
{
    int row = facts_row(own, "name", "train");
    const ProgData *from = row < 0 ? steps : own;
    row = row < 0 ? facts_row(steps, "name", "train") : row;
    const ProgData *memory = facts_field(from, row, "memory")->data;
    stage->batch = facts_int(from, row, "batch");
    stage->moments = facts_int(from, row, "state_bytes");
    stage->values = facts_int(from, row, "value_bytes");
    stage->thread = facts_int(from, row, "thread_bytes");
    stage->entry = facts_field(from, row, "entry")->func;
    int64_t values = stage->values;
    read_companion(stage, steps, own, "eval", &values);
    read_companion(stage, steps, own, "prepare", &values);
    if (pairs)
        read_companion(stage, steps, own, "score", &values);
    add_class(stage, arena, "weights", stage->weights);
    add_class(stage, arena, "moments", stage->moments);
    for (int i = 0; memory && i < memory->rows; i++)
        add_class(stage, arena, facts_text(memory, i, "name"),
                  facts_int(memory, i, "bytes"));
    add_class(stage, arena, "other_steps", values - stage->values);
    stage->fixed = stage->weights + stage->moments + values;
    stage->total = stage->fixed + stage->thread;
}

static void read_messages(FactStage *stage, Arena *arena,
                          const ProgData *messages)
{
    for (int i = 0; messages && i < messages->rows; i++) {
        const FactMessage one = {
            .name = facts_text(messages, i, "name"),
            .where = facts_text(messages, i, "where"),
            .axis = facts_text(messages, i, "axis"),
            .calls = facts_int(messages, i, "calls"),
            .bytes = facts_int(messages, i, "bytes"),
            .at_most = facts_int(messages, i, "at_most"),
        };
        list_push(arena, &stage->messages, one);
    }
}

/* Blocks of an encoder that is cut, which a decoder follows; 0: there is none.
 */
static int64_t encoder_blocks(const ProgData *rows)
{
    int64_t blocks = 0;
    bool two = false;
    for (int i = 0; rows && i < rows->record->fields.count; i++)
        two |= !strcmp(rows->record->fields.at[i].name, "encoder_to");
    for (int i = 0; two && i < rows->rows; i++)
        if (facts_int(rows, i, "encoder_to") > blocks)
            blocks = facts_int(rows, i, "encoder_to");
    return blocks;
}

/* The blocks of a row of an encoder-decoder, the decoder's counted behind those
 * of the encoder. */
static FactChunk chunk_of_stack(const Facts *facts, const ProgData *rows,
                                int row)
{
    int64_t before = facts->encoder, to = facts_int(rows, row, "encoder_to");
    if (to > 0)
        return (FactChunk){ facts_int(rows, row, "encoder_from"), to };
    return (FactChunk){ before + facts_int(rows, row, "decoder_from"),
                        before + facts_int(rows, row, "decoder_to") };
}

/* Of a stage that has several chunks, rows of their table. */
static void read_chunks(FactStage *stage, const Facts *facts, Arena *arena,
                        int number)
{
    const ProgData *table = facts_data(facts->prog, "model_chunks");
    const ProgData *stages = facts_data(facts->prog, "stages");
    int64_t blocks = facts_int(facts->program, 0, "blocks");
    FactChunk chunk = { 0, blocks };
    int each = table ? table->rows / (int)facts->stages : 1;
    for (int i = 0; i < each; i++) {
        const ProgData *rows = table ? table : stages;
        int row = table ? number * each + i : number;
        if (facts->encoder)
            chunk = chunk_of_stack(facts, rows, row);
        else if (rows && facts->stages > 1)
            chunk = (FactChunk){ facts_int(rows, row, "from"),
                                 facts_int(rows, row, "to") };
        list_push(arena, &stage->chunks, chunk);
    }
}

static void read_stage(Facts *facts, Arena *arena, int number)
{
    const ProgData *program = facts->program;
    const ProgData *parts = facts_field(program, 0, "parts")->data;
    const ProgData *steps = facts_field(program, 0, "steps")->data;
    const ProgData *from = parts ? parts : program;
    int row = parts ? number : 0;
    FactStage stage = {0};
    stage.weights = facts_int(from, row, "weight_bytes");
    stage.tensors = facts_field(from, row, "tensors")->data;
    read_chunks(&stage, facts, arena, number);
    read_memory(&stage, arena, steps,
                parts ? facts_field(parts, row, "steps")->data : NULL,
                !strcmp(facts_text(program, 0, "objective"), "preference"));
    read_messages(&stage, arena, facts_field(from, row, "messages")->data);
    list_push(arena, &facts->by_stage, stage);
}

Facts *facts_of(const Prog *p, Arena *arena)
{
    Facts *facts = arena_alloc(arena, sizeof *facts);
    const ProgData *program = facts_data(p, "program");
    if (!program)
        ice("the program has no description");
    facts->prog = p;
    facts->program = program;
    facts->ranks = facts_int(program, 0, "ranks");
    facts->data = facts_int(program, 0, "data");
    facts->stages = facts_int(program, 0, "stages");
    facts->decoder = facts_int(program, 0, "decoder");
    const ProgData *chunks = facts_data(p, "model_chunks");
    facts->encoder = encoder_blocks(chunks ? chunks : facts_data(p, "stages"));
    facts->tensor = facts_int(program, 0, "tensor");
    facts->context = facts_int(program, 0, "chunks");
    facts->experts = facts_int(program, 0, "expert_ranks");
    facts->replicas = facts->data * facts->context;
    facts->shard = facts_int(program, 0, "shard");
    facts->shards = facts_int(program, 0, "shard_ranks");
    facts->expert_shards = facts_int(program, 0, "expert_shards");
    facts->groups = facts_int(program, 0, "groups");
    facts->parameters = facts_int(program, 0, "parameters");
    for (int i = 0; i < facts->stages; i++)
        read_stage(facts, arena, i);
    return facts;
}

int64_t facts_members(const Facts *facts, const char *axis)
{
    return !strcmp(axis, "data")         ? facts->data
         : !strcmp(axis, "data and context") ? facts->replicas
         : !strcmp(axis, "context")      ? facts->context
         : !strcmp(axis, "experts")      ? facts->experts
         : !strcmp(axis, "same experts") ? facts->replicas / facts->experts
         : !strcmp(axis, "same chunk")   ? facts->data
         : !strcmp(axis, "shard group")  ? facts->shards
         : !strcmp(axis, "same share")   ? facts->replicas / facts->shards
         : !strcmp(axis, "experts' shard group") ? facts->expert_shards
         : !strcmp(axis, "same experts' share")
             ? facts->replicas / facts->experts / facts->expert_shards
         : !strcmp(axis, "tensor")       ? facts->tensor
         : !strcmp(axis, "pipeline")     ? facts->stages
         : !strcmp(axis, "ends")         ? 2
         : !strcmp(axis, "embeddings")   ? 2
         : !strcmp(axis, "decoder's ends") ? 2
                                         : facts->ranks;
}

int64_t facts_floats(const Facts *facts, const ProgData *tensors, int row)
{
    int64_t floats = facts_int(tensors, row, "dim0")
        * facts_int(tensors, row, "dim1") * facts_int(tensors, row, "dim2");
    if (facts_int(tensors, row, "experts"))
        floats /= facts->experts;
    switch ((Slice)facts_int(tensors, row, "slice")) {
    case SLICE_NONE: return floats;
    case SLICE_ROWS:            /* the last ranks may have rows of none */
        return (facts_int(tensors, row, "dim0") + facts->tensor - 1)
            / facts->tensor * (floats / facts_int(tensors, row, "dim0"));
    case SLICE_COLUMNS: case SLICE_LAST: return floats / facts->tensor;
    }
    return floats;
}

const char *facts_blocks(const FactStage *stage, Arena *arena)
{
    const char *text = "";
    for (int i = 0; i < stage->chunks.count; i++)
        text = arena_printf(arena, "%s%s[%lld, %lld)", text, i ? ", " : "",
                            (long long)stage->chunks.at[i].from,
                            (long long)stage->chunks.at[i].to);
    return text;
}

const char *facts_ranks(const Facts *facts, Arena *arena)
{
    const struct { const char *name; int64_t size; } axes[] = {
        { "data", facts->data }, { "stages", facts->stages },
        { "tensor", facts->tensor }, { "context", facts->context },
        { "experts", facts->experts },
    };
    const char *text = arena_printf(arena, "%lld rank%s",
                                    (long long)facts->ranks,
                                    facts->ranks == 1 ? "" : "s");
    bool first = true;
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        if (axes[i].size == 1)
            continue;
        text = arena_printf(arena, "%s%s %s %lld", text, first ? ":" : ",",
                            axes[i].name, (long long)axes[i].size);
        first = false;
    }
    return text;
}
