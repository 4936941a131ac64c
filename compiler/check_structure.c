/* check_structure.c: what must hold of the full-size program, read off its own
 * description and constants: blocks and parameters are each somewhere, once;
 * nothing overlaps; what is said of memory adds up; numbers fit. */
#define _GNU_SOURCE
#include "check.h"
#include "../ir/prog_make.h"
#include <stdlib.h>

static const int64_t most = (int64_t)1 << 62;

static bool wrong(const char **to, Arena *arena, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keeps the first; false. */
static bool wrong(const char **to, Arena *arena, const char *format, ...)
{
    va_list args;
    Buf text = {0};
    if (*to)
        return false;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    *to = arena_strdup(arena, text.text);
    buf_free(&text);
    return false;
}

static void say(Check *c, const char *name, const char *text,
                const char *problem, const char *found)
{
    claim(c, name, text, problem ? CLAIM_FAILED : CLAIM_PROVED, "%s",
          problem ? problem : found);
}

/* ---- the verifiers ---- */
static void check_verified(Check *c)
{
    Buf why = {0};
    const Module *m = c->compiled.module;
    bool fine = module_verify(m, &why);
    prog_verify(c->compiled.prog);
    claim(c, "verified", "the module keeps the rules of the IR after every "
          "pass, the program those of a Prog: types, scopes, calls; no two "
          "values that live at once share memory in a frame",
          fine ? CLAIM_PROVED : CLAIM_FAILED, "%s",
          fine ? arena_printf(c->arena, "%d functions, %d steps",
                              m->funcs.count, m->steps.count)
               : why.text);
    buf_free(&why);
}

/* ---- placements ---- */
typedef struct Placings { int64_t values, parts, reshards; } Placings;

static bool is_part(const Value *v)
{
    bool part = false;
    for (Axis axis = 0; axis < AXES; axis++)
        part |= v->placed[axis].how > PLACED_SPLIT;
    return part;
}

static Placings count_placings(const Module *m)
{
    Placings n = {0};
    for (int i = 0; i < m->funcs.count; i++) {
        const Func *f = m->funcs.at[i];
        for (int j = 0; j < f->values.count; j++)
            n.parts += is_part(f->values.at[j]);
        n.values += f->values.count;
        for (int j = 0; j < f->nodes.count; j++)
            n.reshards += f->nodes.at[j]->op == OP_reshard;
    }
    return n;
}

/* Of one rank everything is whole. */
static void check_placements(Check *c)
{
    Buf why = {0};
    const Module *m = c->compiled.module;
    if (!m->placed)
        return;
    bool fine = module_placements_hold(m, &why);
    const Placings n = count_placings(m);
    say(c, "placements", "no operation takes a part of a sum, or of a value "
        "that ranks split, for the whole", fine ? NULL : why.text,
        arena_printf(c->arena, "%lld values, %lld of them parts until a sum "
                     "or an exchange, %lld reshards", (long long)n.values,
                     (long long)n.parts, (long long)n.reshards));
    buf_free(&why);
}

/* ---- blocks ---- */
static void check_blocks(Check *c)
{
    const Facts *f = c->facts;
    const char *problem = NULL;
    int64_t next = 0, blocks = facts_int(f->program, 0, "blocks");
    int chunks = f->by_stage.at[0].chunks.count;
    for (int i = 0; i < chunks * f->by_stage.count; i++) {
        int stage = i % f->by_stage.count;
        const FactChunk *chunk =
            &f->by_stage.at[stage].chunks.at[i / f->by_stage.count];
        if (chunk->from != next || chunk->to < chunk->from)
            wrong(&problem, c->arena, "stage %d has blocks %lld to %lld, the "
                  "one before ends at %lld", stage, (long long)chunk->from,
                  (long long)chunk->to, (long long)next);
        next = chunk->to;
    }
    if (next != blocks)
        wrong(&problem, c->arena, "the stages have %lld of %lld blocks",
              (long long)next, (long long)blocks);
    say(c, "blocks", "each block is on one stage", problem,
        arena_printf(c->arena, "%lld blocks, %d stages", (long long)blocks,
                     f->by_stage.count));
}

/* ---- parameters ---- */
static const char *full_name(Check *c, const Weight *w)
{
    const Module *m = c->compiled.module;
    return w->stack < 0 ? w->name
        : arena_printf(c->arena, "%sblocks.{i}.%s",
                       m->stacks.at[w->stack].prefix, w->name);
}

/* How often copy i of a weight is among the tensors of all stages. */
static int times_held(const Facts *f, const char *name, int64_t i)
{
    int times = 0;
    for (int s = 0; s < f->by_stage.count; s++) {
        const ProgData *t = f->by_stage.at[s].tensors;
        for (int r = 0; t && r < t->rows; r++) {
            int64_t first = facts_int(t, r, "first");
            times += !strcmp(facts_text(t, r, "name"), name) && i >= first
                && i < first + facts_int(t, r, "repeat");
        }
    }
    return times;
}

static bool on_stage(const Facts *f, const char *name, int stage)
{
    return facts_row(f->by_stage.at[stage].tensors, "name", name) >= 0;
}

/* On how many stages a weight outside blocks belongs: on those of the functions
 * that use it. */
static int stages_of(const Facts *f, const char *name)
{
    bool decoder = f->decoder > 0 && f->decoder < f->stages - 1
        && on_stage(f, name, (int)f->decoder);
    int ends = on_stage(f, name, 0)
        + (f->stages > 1 && on_stage(f, name, (int)f->stages - 1));
    return ends + decoder > 1 ? ends + decoder : 1;
}

static void check_parameters(Check *c)
{
    const Module *m = c->compiled.module;
    const char *problem = NULL;
    int64_t copies = 0, tied = 0;
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        const char *name = full_name(c, w);
        int64_t repeat = w->stack < 0 ? 1 : stack_blocks(m, w->stack);
        int wanted = w->stack < 0 && !w->constant ? stages_of(c->facts, name)
                                                  : 1;
        for (int64_t j = 0; j < repeat && !w->constant && !w->derived; j++) {
            int times = times_held(c->facts, name, j);
            if (times != wanted)
                wrong(&problem, c->arena, "%s (copy %lld) is on %d stages",
                      name, (long long)j, times);
        }
        copies += w->constant || w->derived ? 0 : repeat;
        tied += wanted > 1;
    }
    say(c, "parameters", "each parameter is on one stage, a tied one on the "
        "first, the last and the decoder's first, where they use it", problem,
        arena_printf(c->arena, "%lld parameters, %lld tied", (long long)copies,
                     (long long)tied));
}

/* ---- places of parameters and gradients ---- */
typedef struct Interval { int64_t from, to; const char *name; } Interval;
typedef struct Intervals { List(Interval) list; } Intervals;

static int by_start(const void *a, const void *b)
{
    const Interval *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

/* Sorted, none reaches into the next or past the end. */
static void check_apart(Check *c, Intervals *all, int64_t end,
                        const char **problem)
{
    qsort(all->list.at, (size_t)all->list.count, sizeof *all->list.at,
          by_start);
    for (int i = 0; i < all->list.count; i++) {
        const Interval *a = &all->list.at[i];
        const Interval *b = i + 1 < all->list.count ? a + 1 : NULL;
        if (a->from < 0 || a->to > (b ? b->from : end))
            wrong(problem, c->arena, "%s, floats %lld to %lld, reaches into %s",
                  a->name, (long long)a->from, (long long)a->to,
                  b ? b->name : "what is behind all");
    }
}

static void add_copies(Check *c, Intervals *all, const ProgData *t, int row,
                       const char *at, const char *stride)
{
    int64_t floats = facts_floats(c->facts, t, row);
    int64_t place = facts_int(t, row, at), by = facts_int(t, row, stride);
    const char *frozen = facts_text(t, row, "frozen");
    bool gradient = !strcmp(at, "gradient");
    if (place < 0)
        return;
    for (int64_t i = 0; i < facts_int(t, row, "repeat"); i++) {
        const Interval one = { place + i * by, place + i * by + floats,
                               facts_text(t, row, "name") };
        if (!gradient || !*frozen || frozen[i] != 'f')
            list_push(c->arena, &all->list, one);
    }
}

/* Where replicas keep shares alone, tables say where tensors lie in the
 * whole. */
static void check_places(Check *c)
{
    const Facts *f = c->facts;
    const char *problem = NULL;
    int64_t count = 0, whole = facts_int(f->program, 0, "weight_bytes") / 4;
    bool packed = f->shard == SHARD_PARAMETERS;
    const ProgData *parts = facts_field(f->program, 0, "parts")->data;
    for (int s = 0; s < f->by_stage.count; s++) {
        const FactStage *stage = &f->by_stage.at[s];
        Intervals weights = {0}, gradients = {0};
        for (int r = 0; stage->tensors && r < stage->tensors->rows; r++) {
            add_copies(c, &weights, stage->tensors, r, "weight",
                       "weight_stride");
            add_copies(c, &gradients, stage->tensors, r, "gradient",
                       "gradient_stride");
        }
        count += weights.list.count + gradients.list.count;
        check_apart(c, &weights, packed ? whole : stage->weights / 4, &problem);
        int64_t floats = parts ? facts_int(parts, s, "gradient_floats")
                               : facts_int(f->program, 0, "gradient_floats");
        check_apart(c, &gradients, f->shard ? whole : floats, &problem);
    }
    say(c, "places", "no two parameters overlap, nor their gradients and "
        "moments, and none lies outside", problem,
        arena_printf(c->arena, "%lld places", (long long)count));
}

/* ---- regions of values ---- */
static const char regions_of[] = "Where the values of ";

/* A group of constants: a region's offset, its size in its comment. */
static void check_group(Check *c, const ProgItem *group, const char **problem,
                        int64_t *count)
{
    Intervals all = {0};
    int64_t end = -1;
    for (int i = 0; i < group->consts.count; i++) {
        const ProgConst *one = group->consts.at[i];
        char *rest = NULL;
        long long floats = one->comment ? strtoll(one->comment, &rest, 10) : 0;
        if (one->comment && !strcmp(one->comment, "in all"))
            end = one->value;
        if (!rest || strncmp(rest, " floats, ", 9) != 0)
            continue;
        const Interval region = { one->value, one->value + floats, one->name };
        list_push(c->arena, &all.list, region);
    }
    if (end < 0)
        return;
    *count += all.list.count;
    check_apart(c, &all, end, problem);
}

/* Of a step on several stages: a table, a row a stage, 0 of what it has not. */
static void check_table(Check *c, const ProgData *table, const char **problem,
                        int64_t *count)
{
    int fields = table->record->fields.count;
    for (int row = 0; row < table->rows; row++) {
        Intervals all = {0};
        for (int i = 0; i < fields; i++) {
            int64_t at = table->values.at[row * fields + i].integer;
            const Interval one = { at, at + 1024,
                                   table->record->fields.at[i].name };
            if (at || i == 0)
                list_push(c->arena, &all.list, one);
        }
        *count += all.list.count;
        check_apart(c, &all, most, problem);
    }
}

/* Classes of memory add up to what the step maps. */
static void check_sums(Check *c, const ProgData *steps, const char **problem)
{
    for (int i = 0; steps && i < steps->rows; i++) {
        const ProgData *memory = facts_field(steps, i, "memory")->data;
        int64_t sum = 0, all = facts_int(steps, i, "value_bytes");
        for (int j = 0; memory && j < memory->rows; j++)
            sum += facts_int(memory, j, "bytes");
        if (sum != all)
            wrong(problem, c->arena, "%s: classes of memory are %lld bytes, "
                  "its values %lld", facts_text(steps, i, "name"),
                  (long long)sum, (long long)all);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static void check_regions(Check *c)
{
    const Prog *p = c->compiled.prog;
    const Facts *f = c->facts;
    const char *problem = NULL;
    int64_t count = 0;
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind == PI_CONSTS && item->text
            && !strncmp(item->text, regions_of, strlen(regions_of)))
            check_group(c, item, &problem, &count);
        if (item->kind == PI_DATA && ends_with(item->data->name, "_places"))
            check_table(c, item->data, &problem, &count);
    }
    const ProgData *parts = facts_field(f->program, 0, "parts")->data;
    check_sums(c, facts_field(f->program, 0, "steps")->data, &problem);
    for (int i = 0; parts && i < parts->rows; i++)
        check_sums(c, facts_field(parts, i, "steps")->data, &problem);
    say(c, "regions", "what a step keeps lies apart, and its classes of memory "
        "add up to the total", problem,
        arena_printf(c->arena, "%lld regions", (long long)count));
}

/* ---- sizes ---- */
static void check_number(Check *c, int64_t number, const char *name,
                         const char **problem, int64_t *largest)
{
    int64_t size = number < 0 ? -(number + 1) : number;
    if (size > *largest)
        *largest = size;
    if (size > most)
        wrong(problem, c->arena, "%s is %lld", name, (long long)number);
}

static void check_sizes(Check *c)
{
    const Prog *p = c->compiled.prog;
    const char *problem = NULL;
    int64_t count = 0, largest = 0;
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind == PI_CONSTS)
            for (int j = 0; j < item->consts.count; j++, count++)
                check_number(c, item->consts.at[j]->value,
                             item->consts.at[j]->name, &problem, &largest);
        if (item->kind != PI_DATA)
            continue;
        for (int j = 0; j < item->data->values.count; j++)
            if (item->data->values.at[j].kind == PD_INT) {
                check_number(c, item->data->values.at[j].integer,
                             item->data->name, &problem, &largest);
                count++;
            }
    }
    for (int s = 0; s < c->facts->by_stage.count; s++)
        check_number(c, c->facts->by_stage.at[s].total, "a rank's memory",
                     &problem, &largest);
    say(c, "sizes", "every size and offset of the program is within 2^62",
        problem, arena_printf(c->arena, "%lld numbers, the largest %lld",
                              (long long)count, (long long)largest));
}

void check_structure(Check *c)
{
    check_verified(c);
    check_placements(c);
    check_blocks(c);
    check_parameters(c);
    check_places(c);
    check_regions(c);
    check_sizes(c);
}
