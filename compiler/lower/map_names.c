/* map_names.c: the names that emitted code has for what map.c places: sizes,
 * offsets of regions or the table of them by stage, slots. */
#include "steps.h"

static const char *upper(Arena *arena, const char *step, const char *region)
{
    char *name = arena_printf(arena, "%s_%s", step, region);
    for (char *c = name; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return name;
}

const ProgConst *chunk_rows(const StepMap *map, const Stmt *chunks)
{
    const char *root = chunks->body.at[0]->func->root;
    for (int i = 0; i < map->chunk_rows.count; i++) {
        const ChunkRows *one = &map->chunk_rows.at[i];
        if (!strcmp(one->root, root)
            && one->rows->value == chunks->chunk_rows)
            return one->rows;
    }
    ice("chunks of %lld rows have no name", (long long)chunks->chunk_rows);
}

/* The step's own sizes. */
static void name_sizes(Lower *l, StepMap *map, int group)
{
    const char *step = map->step->name;
    map->batch = prog_const(l->p, group, upper(l->arena, step, "batch"),
                            map->sequences,
                            map->replicas > 1 ? "sequences of a rank"
                                              : "sequences");
    map->micro = prog_const(l->p, group, upper(l->arena, step, "micro"),
                            map->step->micro, "sequences at a time");
    map->sequence = prog_const(l->p, group, upper(l->arena, step, "sequence"),
                               map->step->sequence / map->context,
                               map->context > 1 ? "tokens of each, a rank's"
                                                : "tokens of each");
}

static void name_chunks(Lower *l, StepMap *map, int group,
                        const Stmt *const *statements, int count)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = statements[i];
        name_chunks(l, map, group, (const Stmt *const *)s->body.at,
                    s->body.count);
        if (s->kind != STEP_CHUNKS)
            continue;
        const char *root = s->body.at[0]->func->root;
        for (int j = 0; j < map->chunk_rows.count; j++) {
            ChunkRows *one = &map->chunk_rows.at[j];
            if (one->rows || strcmp(one->root, root) != 0)
                continue;
            const char *name = arena_printf(l->arena, "%s_rows", root);
            one->rows = prog_const(l->p, group,
                                   upper(l->arena, map->step->name, name),
                                   s->chunk_rows, "rows at a time");
            break;
        }
    }
}

/* The map that r is of: of the first stage with such a region. */
static const StepMap *map_of(const Lower *l, const StepMap *map,
                             const Region *r)
{
    for (int i = 0; map->by_stage && i < l->stages; i++)
        if (find_region(&map->by_stage[i], r->name))
            return &map->by_stage[i];
    return map;
}

static bool ends(const char *name, const char *with)
{
    size_t length = strlen(name), last = strlen(with);
    return length >= last && !strcmp(name + length - last, with);
}

/* A record of one block, where all blocks have one. */
static void name_record(Lower *l, StepMap *map, int group, Region *r)
{
    const StepMap *own = map_of(l, map, r);
    if (ends(r->name, "pending")) {
        const char *name = *l->m->stacks.at[0].prefix ? r->name
                                                      : "block_pending";
        r->each = prog_const(l->p, group,
                             upper(l->arena, map->step->name, name),
                             r->floats / own->pending,
                             "what waits of a block for its weights");
        return;
    }
    if (!strcmp(r->name, "cache")) {
        r->each = prog_const(l->p, group,
                             upper(l->arena, map->step->name, "block_cache"),
                             r->floats
                                 / stack_blocks(l->m, l->m->stacks.count - 1),
                             "a block's keys and values");
        return;
    }
    if (!ends(r->name, "records"))
        return;
    int64_t slots = 1;
    for (int i = 0; map->keeps_stream && i < l->m->stacks.count; i++) {
        const char *prefix = l->m->stacks.at[i].prefix;
        if (!strncmp(prefix, r->name, strlen(prefix) - (*prefix != 0)))
            slots = records_here(l, own, i);
    }
    const char *name =
        arena_strndup(l->arena, r->name, strlen(r->name) - 1);
    r->each = prog_const(l->p, group, upper(l->arena, map->step->name, name),
                         r->floats / slots, "a block's record");
}

/* train -> TrainPlaces: a table of the stages' offsets, a field a region. */
static void name_places(Lower *l, StepMap *map)
{
    Prog *p = l->p;
    char *name = arena_printf(l->arena, "%sPlaces", map->step->name);
    name[0] = (char)(name[0] - 'a' + 'A');
    ProgRecord *record = prog_record(p, name, arena_printf(
        l->arena, "Where the values of %s lie in a stage, in floats from "
        "Control.values.", map->step->name));
    for (int i = 0; i < map->regions.count; i++)
        prog_field(p, record, map->regions.at[i].name, prog_i64(),
                   map->regions.at[i].class);
    ProgData *data = prog_data(
        p, arena_printf(l->arena, "%s_places", map->step->name), record, true,
        false);
    for (int s = 0; s < l->stages; s++)
        for (int i = 0; i < map->regions.count; i++) {
            const Region *r = find_region(&map->by_stage[s],
                                          map->regions.at[i].name);
            prog_datum_int(p, data, r ? r->offset : 0);
        }
    map->places = record;
    map->place_data = data;
}

/* The memory map in the source: an offset in floats a region, then the
 * total. */
void name_regions(Lower *l, StepMap *map)
{
    const char *step = map->step->name;
    int group = prog_add_wide_group(l->p, arena_printf(
        l->arena, "Where the values of %s lie, in floats from Control.values.",
        step));
    name_sizes(l, map, group);
    for (int i = 0; i < map->regions.count; i++) {
        Region *r = &map->regions.at[i];
        const char *comment = arena_printf(l->arena, "%lld floats, %s",
                                           (long long)r->floats, r->class);
        if (!map->by_stage)
            r->constant =
                prog_const(l->p, group, upper(l->arena, step, r->name),
                           r->offset, comment);
        name_record(l, map, group, r);
    }
    if (map->by_stage)
        name_places(l, map);
    else
        map->all = prog_const(l->p, group, upper(l->arena, step, "floats"),
                              map->floats, "in all");
    name_chunks(l, map, group, (const Stmt *const *)map->step->body.at,
                map->step->body.count);
    for (int i = 0; i < map->values.count; i++) {
        StepValue *v = &map->values.at[i];
        if (v->slots == SLOTS_ONE)
            continue;
        int64_t floats = value_rows(map, v) * v->width;
        for (int j = 0; j < i && !v->slot; j++) /* x and dx are of one size */
            if (map->values.at[j].slot
                && map->values.at[j].slot->value == floats)
                v->slot = map->values.at[j].slot;
        const char *comment =
            arena_printf(l->arena, "a slot of x or dx: %lld rows of %s",
                         (long long)value_rows(map, v),
                         v->dim ? "C" : "a share of C");
        if (!v->slot)
            v->slot = prog_const(l->p, group, upper(l->arena, step, "x"),
                                 floats, comment);
    }
}
