/* parts.c: what each stage of a pipeline keeps: its blocks, and of the
 * parameters outside blocks those that its functions use. The first stage has
 * what embeds, the last what follows the blocks; a tied embedding is on both.
 * Of an encoder-decoder the encoder's last stage has the encoder's norm, the
 * decoder's first what embeds there; where stages have several chunks of the
 * model see mixed.c. Where it lies differs by stage, so emitted code reads it
 * from a table, stages: one row a stage, one field a parameter. */
#include "lowering.h"

enum { ALIGN_FLOATS = 1024 };

PartOf part_of(const Func *f)
{
    if (f->stack >= 0)
        return PART_BLOCKS;
    return !strcmp(f->root, "embed") || !strcmp(f->root, "encoder_embed")
                                              ? PART_FIRST
         : !strcmp(f->root, "encoder_norm")   ? PART_MEMORY
         : !strcmp(f->root, "decoder_embed")  ? PART_DECODER
                                              : PART_LAST;
}

int last_number(const Lower *l)
{
    return l->stages * l->chunks - 1;
}

int part_number(const Lower *l, PartOf part)
{
    return part == PART_FIRST   ? 0
         : part == PART_MEMORY  ? l->decoder - 1
         : part == PART_DECODER ? l->decoder
                                : last_number(l);
}

int part_stage(const Lower *l, PartOf part)
{
    return part_number(l, part) % l->stages;
}

bool part_waits(PartOf part)
{
    return part == PART_FIRST || part == PART_MEMORY || part == PART_DECODER;
}

static bool uses(const Func *f, int weight)
{
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if ((v->kind == VALUE_WEIGHT || v->kind == VALUE_GRADIENT)
            && v->weight == weight)
            return true;
    }
    return false;
}

bool func_on_stage(const Lower *l, const Func *f, int stage)
{
    if (l->stages == 1)
        return true;
    if (f->stack >= 0)
        return stack_blocks_on(l, f->stack, stage) > 0;
    return stage == part_stage(l, part_of(f));
}

bool part_uses(const Lower *l, PartOf part, int weight)
{
    for (int i = 0; i < l->m->funcs.count; i++)
        if (part_of(l->m->funcs.at[i]) == part
            && uses(l->m->funcs.at[i], weight))
            return true;
    return false;
}

bool weight_is_tied(const Lower *l, int weight)
{
    int uses = part_uses(l, PART_FIRST, weight)
        + part_uses(l, PART_DECODER, weight) + part_uses(l, PART_LAST, weight);
    return l->m->weights.at[weight].stack < 0
        && !l->m->weights.at[weight].constant && uses > 1;
}

bool weight_on_stage(const Lower *l, int weight, int stage)
{
    static const PartOf parts[] = { PART_FIRST, PART_MEMORY, PART_DECODER,
                                    PART_LAST };
    const Weight *w = &l->m->weights.at[weight];
    bool here = part_uses(l, PART_BLOCKS, weight);
    if (l->stages == 1)
        return true;
    if (w->stack >= 0)
        return stack_blocks_on(l, w->stack, stage) > 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        here |= stage == part_stage(l, parts[i])
            && part_uses(l, parts[i], weight);
    return here;
}

int site_stage(const Lower *l, int weight, int site)
{
    for (int i = 0; i < l->m->funcs.count; i++) {
        const Func *f = l->m->funcs.at[i];
        for (int j = 0; j < f->gradients.count; j++)
            if (f->gradients.at[j].weight == weight
                && f->gradients.at[j].site == site)
                return part_stage(l, part_of(f));
    }
    ice("%s has no use %d", l->m->weights.at[weight].name, site);
}

int weight_stage(const Lower *l, int weight)
{
    for (int s = 0; s < l->stages; s++)
        if (weight_on_stage(l, weight, s))
            return s;
    ice("no stage has %s", l->m->weights.at[weight].name);
}

static int64_t floats_of(const Lower *l, int weight)
{
    int64_t elements = type_elements(l->m, &l->m->weights.at[weight].type);
    return (elements + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static int64_t unit_aligned(const Lower *l, int64_t floats)
{
    int64_t to = ALIGN_FLOATS * l->shards;
    return (floats + to - 1) / to * to;
}

static const StageRun *run_of(const Lower *l, int stage)
{
    return &module_find_step(l->m, "train")->stages.at[stage];
}

const ModelChunk *part_chunk(const Lower *l, int stage, int chunk)
{
    return &run_of(l, stage)->chunks.at[chunk];
}

int part_stack(const Lower *l, int stage)
{
    return part_chunk(l, stage, 0)->stack;
}

/* Blocks of a stack in a stage's first chunks, before `chunk`. */
static int64_t chunks_blocks(const Lower *l, int stack, int stage, int chunk)
{
    int64_t blocks = 0;
    for (int i = 0; i < chunk; i++) {
        const ModelChunk *one = part_chunk(l, stage, i);
        blocks += one->stack == stack ? one->to - one->from : 0;
    }
    return blocks;
}

int64_t part_blocks_before(const Lower *l, int stage, int chunk)
{
    return chunks_blocks(l, part_chunk(l, stage, chunk)->stack, stage, chunk);
}

int64_t part_blocks(const Lower *l, int stage)
{
    return chunks_blocks(l, 0, stage, l->chunks)
        + chunks_blocks(l, 1, stage, l->chunks);
}

int64_t stack_blocks_on(const Lower *l, int stack, int stage)
{
    return l->stages == 1 ? stack_blocks(l->m, stack)
                          : chunks_blocks(l, stack, stage, l->chunks);
}

int64_t part_memories(const Lower *l, int stage, int chunk)
{
    int64_t slots = 0;
    for (int i = 0; i < chunk; i++) {
        const ModelChunk *one = part_chunk(l, stage, i);
        slots += one->stack ? one->slots : 0;
    }
    return slots;
}

int64_t most_part_blocks(const Lower *l)
{
    int64_t most = 0;
    for (int s = 0; s < l->stages; s++)
        most = part_blocks(l, s) > most ? part_blocks(l, s) : most;
    return most;
}

/* Where the stage sums the weight's uses: the first of them in the gradient
 * itself, the others behind all gradients, where `at` goes on. */
static int64_t place_sites(Lower *l, int stage, int weight, int64_t at)
{
    PartLayout *part = &l->parts[stage];
    bool first = true;
    for (int site = 0; site < MOST_SITES; site++) {
        if (l->site_at[site][weight] < 0
            || site_stage(l, weight, site) != stage)
            continue;
        part->site_at[site][weight] = first ? part->site_at[0][weight] : at;
        at += first ? 0 : floats_of(l, weight);
        first = false;
    }
    return at;
}

/* What has been placed since the blocks before, or the first, is a unit. */
static void place_part_stack(Lower *l, int stage, int stack, int64_t *at,
                             int64_t *gradient)
{
    PartLayout *part = &l->parts[stage];
    int64_t blocks = stack_blocks_on(l, stack, stage);
    int64_t start = part->behind_at, floats = unit_aligned(l, *at - start);
    *gradient += floats - (*at - start);
    *at = start + floats;
    if (stack && stack_blocks_on(l, 0, stage)) {
        part->between_at = start;
        part->between_floats = floats;
    }
    part->stack_at[stack] = *at;
    part->gradient_stack_at[stack] = *gradient;
    *at += blocks * l->stacks[stack].floats;
    *gradient += blocks * l->stacks[stack].gradient_floats;
    part->behind_at = *at;
}

/* Blocks stand where the first of their weights does, tables behind all. */
static void place_part(Lower *l, int stage)
{
    PartLayout *part = &l->parts[stage];
    int64_t at = 0, gradient = 0, behind = 0;
    bool placed[2] = {false};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < l->m->weights.count; i++) {
            const Weight *w = &l->m->weights.at[i];
            if (w->stack >= 0 && !placed[w->stack]
                && weight_on_stage(l, i, stage)) {
                place_part_stack(l, stage, w->stack, &at, &gradient);
                placed[w->stack] = true;
                behind = gradient;
            }
            if (w->stack >= 0 || w->constant != (pass == 1)
                || !weight_on_stage(l, i, stage))
                continue;
            part->weight_at[i] = at;
            at += floats_of(l, i);
            if (w->constant || (w->frozen && l->shards == 1))
                continue;
            part->site_at[0][i] = gradient;
            gradient += floats_of(l, i);
        }
        if (pass > 0)
            continue;
        at = part->behind_at + unit_aligned(l, at - part->behind_at);
        gradient = behind + unit_aligned(l, gradient - behind);
        part->behind_floats = at - part->behind_at;
    }
    part->blocks_at = part->stack_at[part_stack(l, stage)];
    part->gradient_blocks_at = part->gradient_stack_at[part_stack(l, stage)];
    if (!placed[1])             /* it ends where it begins, behind all */
        part->gradient_stack_at[1] = gradient;
    part->moment_floats = gradient;
    for (int i = 0; i < l->m->weights.count; i++)
        if (l->site_at[1][i] >= 0 && part->site_at[0][i] >= 0)
            gradient = place_sites(l, stage, i, gradient);
    part->weight_floats = at;
    part->gradient_floats = gradient;
}

void place_parts(Lower *l)
{
    size_t bytes = (size_t)l->m->weights.count * sizeof(int64_t);
    if (l->stages == 1)
        return;
    l->parts = arena_alloc(l->arena, (size_t)l->stages * sizeof *l->parts);
    for (int s = 0; s < l->stages; s++) {
        PartLayout *part = &l->parts[s];
        part->weight_at = arena_alloc(l->arena, bytes);
        memset(part->weight_at, -1, bytes);
        for (int site = 0; site < MOST_SITES; site++) {
            part->site_at[site] = arena_alloc(l->arena, bytes);
            memset(part->site_at[site], -1, bytes);
        }
        place_part(l, s);
    }
}

int64_t part_received(const Lower *l, int stage)
{
    int64_t most = 0;
    for (int i = 0; i < l->m->weights.count; i++) {
        bool others = false;
        for (int site = 0; site < MOST_SITES; site++)
            others |= l->site_at[1][i] >= 0 && l->site_at[site][i] >= 0
                && site_stage(l, i, site) != stage;
        if (others && l->parts[stage].site_at[0][i] >= 0
            && floats_of(l, i) > most)
            most = floats_of(l, i);
    }
    return most;
}

/* A tied weight's are the first stage's alone. */
int64_t part_norms(const Lower *l, int stage, bool before)
{
    int64_t blocks = 0;
    bool passed = false;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        passed |= w->stack == part_stack(l, stage);
        bool counts = !w->constant && !w->frozen && !w->derived
            && w->stack < 0 && passed == !before
            && weight_on_stage(l, i, stage)
            && (stage == 0 || !weight_is_tied(l, i));
        if (counts)
            blocks += (type_elements(l->m, &w->type) + ALIGN_FLOATS - 1)
                / ALIGN_FLOATS;
    }
    return blocks;
}

int64_t block_norms(const Lower *l, int stack)
{
    int64_t blocks = 0;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack == stack && !w->constant && !w->frozen && !w->derived)
            blocks += (type_elements(l->m, &w->type) + ALIGN_FLOATS - 1)
                / ALIGN_FLOATS;
    }
    return blocks;
}

/* What stands before the blocks counts with the model's first chunk, what
 * stands behind them with its last. */
int64_t part_norm_room(const Lower *l)
{
    if (l->mixed)
        return mixed_norm_room(l);
    int64_t most = 1;
    for (int s = 0; s < l->stages; s++)
        for (int i = 0; i < l->chunks; i++) {
            const ModelChunk *chunk = part_chunk(l, s, i);
            int64_t norms = (chunk->to - chunk->from)
                    * block_norms(l, chunk->stack)
                + (i == 0 ? part_norms(l, s, true) : 0)
                + (i == l->chunks - 1 ? part_norms(l, s, false) : 0);
            most = norms > most ? norms : most;
        }
    return most;
}

/* ---- the table ---- */
static const char *weight_field(const Lower *l, int weight, const char *of)
{
    return arena_printf(l->arena, "%s%s", of,
                        c_name(l, l->m->weights.at[weight].name));
}

static const char *const site_fields[MOST_SITES] = { "d", "second_d",
                                                     "third_d" };

static bool is_listed(const Lower *l, int weight)
{
    bool any = false;
    for (int s = 0; s < l->stages; s++)
        any |= l->parts[s].weight_at[weight] >= 0;
    return any && l->m->weights.at[weight].stack < 0;
}

static bool has_site(const Lower *l, int weight, int site)
{
    bool any = false;
    for (int s = 0; s < l->stages; s++)
        any |= l->parts[s].site_at[site][weight] >= 0;
    return any;
}

/* Does the weight's gradient lie among the gradients of each stage as the
 * weight among its parameters? */
static bool lies_alike(const Lower *l, int weight)
{
    for (int s = 0; s < l->stages; s++)
        if (l->parts[s].weight_at[weight] != l->parts[s].site_at[0][weight])
            return false;
    return true;
}

/* The same of all blocks of each stage. */
static bool blocks_lie_alike(const Lower *l)
{
    for (int s = 0; s < l->stages; s++)
        for (int stack = 0; stack < l->m->stacks.count; stack++)
            if (stack_blocks_on(l, stack, s)
                && l->parts[s].stack_at[stack]
                    != l->parts[s].gradient_stack_at[stack])
                return false;
    return true;
}

const char *stage_gradient_field(const Lower *l, int weight, int site)
{
    bool own = site > 0 || !lies_alike(l, weight);
    return weight_field(l, weight, own ? site_fields[site] : "");
}

const char *stage_blocks_field(const Lower *l, const char *field)
{
    const char *gradient = strstr(field, "gradient_blocks");
    if (!gradient || !blocks_lie_alike(l))
        return field;
    return arena_printf(l->arena, "%.*sblocks", (int)(gradient - field), field);
}

/* Some stand there only where replicas split units, or units of experts apart,
 * some only where a stage's blocks are one chunk. */
static bool is_said(const Lower *l, const char *field)
{
    bool packs = l->shards > 1 && l->m->mesh.experts > 1;
    if (!strcmp(field, "behind_packed"))
        return packs && !l->mixed;
    if (!strcmp(field, "moment_share"))
        return packs;
    if (!strncmp(field, "between", 7))
        return l->shards > 1 && has_between(l);
    bool shares = !strncmp(field, "before", 6) || !strncmp(field, "behind", 6);
    bool range = !strcmp(field, "from") || !strcmp(field, "to");
    bool chunk = range || !strcmp(field, "slots");
    bool places = strstr(field, "blocks") != NULL;
    if (strcmp(field, stage_blocks_field(l, field)) != 0)
        return false;
    bool stacks = strchr(field, '_') && !strncmp(field + 2, "coder_", 6);
    bool two = stacks || !strcmp(field, "norms");
    if (places)
        return stacks == l->mixed;
    if (strstr(field, "_count"))
        return l->mixed && l->m->mesh.experts > 1;
    if (l->mixed && (two || chunk))
        return false;
    return (l->shards > 1 || !shares) && (l->chunks == 1 || !chunk)
        && (l->decoder ? !range : !two)
        && (l->halves || strcmp(field, "pending") != 0)
        && ((l->halves && l->decoder)
            || strcmp(field, "gradient_behind") != 0);
}

/* How many units have a field of their own for where a rank's shares begin:
 * where stages have both stacks and those of experts lie behind all others. */
static int packed_units(const Lower *l)
{
    return l->mixed && l->m->mesh.experts > 1 ? l->units.count : 0;
}

/* A weight outside blocks and what is summed of it. */
static void name_weight_fields(Lower *l, int weight)
{
    static const char *const uses[] = { "its gradient", "… of its second use",
                                        "… of its third" };
    const char *name = l->m->weights.at[weight].name;
    bool alike = lies_alike(l, weight);
    prog_field(l->p, l->stage, weight_field(l, weight, ""), prog_i64(),
               arena_printf(l->arena, "%s%s%s", "where ", name,
                            alike ? " and its gradient lie" : " lies"));
    for (int site = alike; site < MOST_SITES; site++)
        if (has_site(l, weight, site))
            prog_field(l->p, l->stage,
                       weight_field(l, weight, site_fields[site]), prog_i64(),
                       uses[site]);
}

static void stage_fields(Lower *l)
{
    bool alike = blocks_lie_alike(l);
    const char *const fields[][2] = {
        { "from", "its blocks: the first," },
        { "to", "the one behind its last," },
        { "encoder_from", "its blocks of the encoder: the first," },
        { "encoder_to", "the one behind the last," },
        { "decoder_from", "the same of the decoder," },
        { "decoder_to", "of which it has none if it has of the encoder," },
        { "count", l->chunks == 1 ? "and how many"
                                  : "how many blocks it has" },
        { "slots", "micro-batches that may be open" },
        { "norms", "where its blocks' begin among its norms" },
        { "pending", "and may wait for the gradients of weights" },
        { "blocks", alike ? "where its blocks lie, in floats"
                          : "where its blocks lie, in floats: among the "
                            "parameters," },
        { "gradient_blocks", "among the gradients or moments" },
        { "encoder_count", "of them blocks of the encoder," },
        { "decoder_count", "and of the decoder" },
        { "encoder_blocks", alike
              ? "where those of the encoder lie, in floats,"
              : "where those of the encoder lie, in floats: among the "
                "parameters," },
        { "encoder_gradient_blocks", "among the gradients or moments;" },
        { "decoder_blocks", alike ? "and those of the decoder"
                                  : "those of the decoder," },
        { "decoder_gradient_blocks", "among the gradients or moments" },
        { "gradient_behind", "and where what stands behind them begins there" },
        { "before_share", "a rank's share of what stands before them" },
        { "between", "where what stands between both stacks' begins," },
        { "between_share", "and a rank's share of it" },
        { "behind", "where what stands behind them begins," },
        { "behind_share", "and a rank's share of it" },
        { "behind_packed", "which begins there among a rank's shares" },
        { "moment_share", "of one moment, so many floats" },
        { "moment", "floats of one moment" },
        { "gradients", "floats of all gradients, those of each use apart" },
    };
    l->stage = prog_record(l->p, "Stage", "What a stage of the pipeline keeps, "
                           "and where: 0 is also said of what it has not.");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (is_said(l, fields[i][0]))
            prog_field(l->p, l->stage, fields[i][0], prog_i64(), fields[i][1]);
    for (int i = 1; i < packed_units(l); i++)
        prog_field(l->p, l->stage,
                   arena_printf(l->arena, "%s_packed", l->units.at[i].name),
                   prog_i64(),
                   i == 1 ? "where a rank's shares of each unit begin" : NULL);
    for (int i = 0; i < l->m->weights.count; i++)
        if (is_listed(l, i))
            name_weight_fields(l, i);
}

static void stage_row(Lower *l, int stage)
{
    const PartLayout *part = &l->parts[stage];
    const ModelChunk *first = part_chunk(l, stage, 0);
    int stack = first->stack;
    const struct { const char *field; int64_t number; } numbers[] = {
        { "from", first->from }, { "to", first->to },
        { "encoder_from", stack ? 0 : first->from },
        { "encoder_to", stack ? 0 : first->to },
        { "decoder_from", stack ? first->from : 0 },
        { "decoder_to", stack ? first->to : 0 },
        { "count", part_blocks(l, stage) }, { "slots", first->slots },
        { "norms", part_norms(l, stage, true) },
        { "pending", first->pending },
        { "blocks", part->blocks_at },
        { "gradient_blocks", part->gradient_blocks_at },
        { "encoder_count", stack_blocks_on(l, 0, stage) },
        { "decoder_count", stack_blocks_on(l, 1, stage) },
        { "encoder_blocks", part->stack_at[0] },
        { "encoder_gradient_blocks", part->gradient_stack_at[0] },
        { "decoder_blocks", part->stack_at[1] },
        { "decoder_gradient_blocks", part->gradient_stack_at[1] },
        { "gradient_behind", part->gradient_blocks_at
              + part_blocks(l, stage) * l->stacks[stack].gradient_floats },
        { "before_share", part->blocks_at / l->shards },
        { "between", part->between_at },
        { "between_share", part->between_floats / l->shards },
        { "behind", part->behind_at },
        { "behind_share", part->behind_floats / l->shards },
        { "behind_packed", part_behind_packed(l, stage) },
        { "moment_share", part_share_floats(l, stage) },
        { "moment", part->moment_floats },
        { "gradients", part->gradient_floats },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is_said(l, numbers[i].field))
            prog_datum_int(l->p, l->stage_data, numbers[i].number);
    for (int i = 1; i < packed_units(l); i++)
        prog_datum_int(l->p, l->stage_data,
                       part_unit_packed(l, &l->units.at[i], stage));
    for (int i = 0; i < l->m->weights.count; i++) {
        if (!is_listed(l, i))
            continue;
        int64_t at = part->weight_at[i];
        prog_datum_int(l->p, l->stage_data, at < 0 ? 0 : at);
        for (int site = lies_alike(l, i); site < MOST_SITES; site++) {
            at = part->site_at[site][i];
            if (has_site(l, i, site))
                prog_datum_int(l->p, l->stage_data, at < 0 ? 0 : at);
        }
    }
}

/* ---- chunks of the model, where a stage has several ---- */
int64_t chunk_norms_at(const Lower *l, int stage, int chunk)
{
    int64_t slice = l->shards > 1 ? shard_norm_room(l) : part_norm_room(l);
    return (chunk * l->stages + stage) * l->slices * slice;
}

/* Norms of a chunk that stand before those of its blocks. */
static int64_t norms_before(const Lower *l, int stage, int chunk)
{
    if (l->mixed)
        return mixed_norms(l, chunk * l->stages + stage, true);
    return stage == 0 && chunk == 0 && l->shards == 1
        ? part_norms(l, 0, true) : 0;
}

/* Some stand there only where stages have chunks of both stacks, some only
 * where they do not. */
static bool chunk_says(const Lower *l, const char *field)
{
    static const char *const own[] = { "number", "encoder_from", "encoder_to",
                                       "decoder_from", "decoder_to", "held",
                                       "memories" };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(field, own[i]))
            return l->mixed;
    return !l->mixed || (strcmp(field, "from") && strcmp(field, "to"));
}

typedef struct ChunkField {
    const char *name, *doc;
    int64_t number;
} ChunkField;

/* A row of the table: of what stands before it, by stack. */
typedef struct Before { int64_t inputs[2], records[2]; } Before;

static void chunk_row(Lower *l, int stage, int number, const Before *before,
                      void rule(Lower *, const ChunkField *))
{
    const ModelChunk *chunk = part_chunk(l, stage, number);
    bool decoder = chunk->stack > 0;
    int64_t count = chunk->to - chunk->from, held = 0;
    for (int i = 0; i < number; i++)
        held += part_chunk(l, stage, i)->to - part_chunk(l, stage, i)->from;
    const ChunkField fields[] = {
        { "number", "in the model", number * l->stages + stage },
        { "from", "its blocks: the first,", chunk->from },
        { "to", "the one behind its last,", chunk->to },
        { "encoder_from", "its blocks of the encoder: the first,",
          decoder ? 0 : chunk->from },
        { "encoder_to", "the one behind the last,", decoder ? 0 : chunk->to },
        { "decoder_from", "the same of the decoder,",
          decoder ? chunk->from : 0 },
        { "decoder_to", "of which it has none if it has of the encoder,",
          decoder ? chunk->to : 0 },
        { "count", "and how many", count },
        { "others", "blocks before it that other stages have",
          chunk->from - part_blocks_before(l, stage, number) },
        { "held", "the stage's blocks of both stacks before it", held },
        { "slots", "micro-batches that may be open", chunk->slots },
        { "inputs", "slots of x before its own,",
          before->inputs[chunk->stack] },
        { "records", "and blocks' records", before->records[chunk->stack] },
        { "memories", "slots of the encoder's memory before its own",
          part_memories(l, stage, number) },
        { "norms", "where the norms of its blocks begin among all",
          chunk_norms_at(l, stage, number) + norms_before(l, stage, number) },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (chunk_says(l, fields[i].name))
            rule(l, &fields[i]);
}

static void name_chunk_field(Lower *l, const ChunkField *field)
{
    prog_field(l->p, l->chunk, field->name, prog_i64(), field->doc);
}

static void put_chunk_field(Lower *l, const ChunkField *field)
{
    prog_datum_int(l->p, l->chunk_data, field->number);
}

/* A row a chunk, all of stage 0 first. */
static void chunk_rows_of(Lower *l, int stage)
{
    Before before = {0};
    for (int i = 0; i < l->chunks; i++) {
        const ModelChunk *chunk = part_chunk(l, stage, i);
        int64_t count = chunk->to - chunk->from;
        chunk_row(l, stage, i, &before, put_chunk_field);
        before.inputs[chunk->stack] += chunk->slots * (count + 1);
        before.records[chunk->stack] += chunk->slots * count;
    }
}

static void name_chunks(Lower *l)
{
    if (l->chunks == 1)
        return;
    l->chunk = prog_record(l->p, "ModelChunk", "A run of blocks of a stage, "
                           "which has several; stage by stage.");
    chunk_row(l, 0, 0, &(Before){0}, name_chunk_field);
    l->chunk_data = prog_data(l->p, "model_chunks", l->chunk, true, false);
    for (int s = 0; s < l->stages; s++)
        chunk_rows_of(l, s);
}

/* void NAME(Shared *to, float *base, const Stage *stage) */
static ProgFunc *stage_pointing(Lower *l, const char *name, const char *comment,
                                int site)
{
    Prog *p = l->p;
    ProgFunc *f = prog_func(p, name, comment, prog_void());
    f->inlined = true;
    ProgVar *to = prog_param(p, f, "to", prog_pointer_to(l->shared, false));
    ProgVar *base = prog_param(p, f, "base", prog_pointer(PK_F32, false));
    ProgVar *stage = prog_param(p, f, "stage", prog_pointer_to(l->stage, true));
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        int field = site;
        if (!is_listed(l, i) || (site >= 0 && !has_site(l, i, 0)))
            continue;
        if (site > 0 && !has_site(l, i, site))
            field = 0;
        const char *of = field < 0 ? weight_field(l, i, "")
                                   : stage_gradient_field(l, i, field);
        p->here = w->origin.model;
        ps_field_set(p, &f->body, px_var(p, to), c_name(l, w->name),
                     px_offset(p, px_var(p, base),
                               px_field(p, px_var(p, stage), of)));
    }
    p->here = (Loc){0};
    prog_define(p, f);
    return f;
}

static void stage_functions(Lower *l)
{
    static const char *const names[MOST_SITES][2] = {
        { "stage_gradients", "Where their gradients or moments lie." },
        { "stage_second_gradients",
          "The same, but where two functions sum one gradient the second's." },
        { "stage_third_gradients", "The third's." },
    };
    bool alike = true;
    for (int i = 0; i < l->m->weights.count; i++)
        alike &= !is_listed(l, i) || lies_alike(l, i);
    l->stage_weights = stage_pointing(
        l, alike ? "stage_pointers" : "stage_weights",
        alike ? "A stage's parameters outside blocks, or their gradients or "
                "moments, which lie alike."
              : "Where a stage's parameters lie.", -1);
    if (alike)
        l->stage_sums[0] = l->stage_weights;
    for (int site = alike; site < MOST_SITES; site++) {
        bool any = site == 0;
        for (int i = 0; i < l->m->weights.count; i++)
            any |= has_site(l, i, site);
        if (any)
            l->stage_sums[site] = stage_pointing(l, names[site][0],
                                                 names[site][1], site);
    }
}

static void name_actions(Lower *l)
{
    const char *const kinds[][2] = {
        [ACTION_FORWARD] = { "FORWARD", "through the stage's blocks" },
        [ACTION_BACKWARD] = { "BACKWARD", l->halves
            ? "back through them: the gradient of what came in"
            : "back through them: all gradients" },
        [ACTION_WEIGHTS] = { "WEIGHTS", "the gradients of their weights" },
    };
    int count = l->halves ? ACTION_KINDS : ACTION_WEIGHTS;
    int group = prog_add_const_group(l->p, "What a stage does with a "
                                     "micro-batch.");
    for (int i = 0; i < count; i++)
        l->action_kinds[i] = prog_const(l->p, group, kinds[i][0], i,
                                        kinds[i][1]);
}

void name_parts(Lower *l)
{
    if (l->stages == 1)
        return;
    int group = prog_add_const_group(l->p, "The pipeline.");
    l->stage_count = prog_const(l->p, group, "STAGES", l->stages, "stages");
    if (l->decoder)
        l->decoder_const = prog_const(
            l->p, group, "DECODER", l->decoder,
            l->mixed ? "the model's first chunk of the decoder"
                     : "the first with blocks of the decoder");
    if (l->chunks > 1)
        l->chunk_count = prog_const(l->p, group, "VIRTUAL", l->chunks,
                                    "chunks of the model that a stage has");
    l->action_count = prog_const(l->p, group, "ACTIONS",
                                 run_of(l, 0)->actions.count,
                                 "of a stage in a training step");
    name_actions(l);
    stage_fields(l);
    l->stage_data = prog_data(l->p, "stages", l->stage, true, false);
    for (int s = 0; s < l->stages; s++)
        stage_row(l, s);
    name_chunks(l);
    stage_functions(l);
}
