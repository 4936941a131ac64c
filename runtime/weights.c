/* weights.c: parameters and tables by name (see weights.h). Everything that
 * is drawn or computed here is a function of the seed, the name and the
 * element, so threads may share the work as they like.
 * SPDX-License-Identifier: 0BSD */
#include "weights.h"
#include "draw.h"
#include "places.h"
#include "tables.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names -------------------------------------------------------------- */

bool expand_name(char out[WEIGHT_NAME], const char *name, int copy)
{
    const char *hole = strstr(name, "{i}");
    int length = hole
        ? snprintf(out, WEIGHT_NAME, "%.*s%d%s", (int)(hole - name), name, copy,
                   hole + 3)
        : snprintf(out, WEIGHT_NAME, "%s", name);
    return length >= 0 && length < WEIGHT_NAME;
}

static bool is_trained(const Tensor *tensor, int copy)
{
    if (tensor->gradient < 0)
        return false;
    return !tensor->frozen[0] || tensor->frozen[copy] != 'f';
}

static bool make_weight(Weight *weight, const Tensor *tensor, int copy,
                        int stage)
{
    int64_t dim1 = tensor->rank > 1 ? tensor->dim1 : 1;
    int64_t dim2 = tensor->rank > 2 ? tensor->dim2 : 1;
    *weight = (Weight){
        .tensor = tensor,
        .rank = tensor->rank,
        .dims = { tensor->dim0, dim1, dim2 },
        .elements = tensor->dim0 * dim1 * dim2,
        .weight = tensor->weight + copy * tensor->weight_stride,
        .gradient = is_trained(tensor, copy)
            ? tensor->gradient + copy * tensor->gradient_stride : -1,
        .unit = tensor->unit + copy * tensor->weight_stride,
        .packed = tensor->packed + copy * tensor->share,
        .stage = stage,
    };
    return expand_name(weight->name, tensor->name, tensor->first + copy);
}

static bool has_name(const WeightList *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->at[i].name, name) == 0)
            return true;
    return false;
}

/* Appends a stage's parameters, but those that an earlier one has, too. */
static bool list_stage(const Program *program, WeightList *list, int stage,
                       Error *error)
{
    size_t room = (size_t)list->count;
    int before = list->count;
    for (int i = 0; i < program->tensor_count; i++)
        room += (size_t)program->tensors[i].repeat;
    Weight *longer = realloc(list->at, (room + 1) * sizeof *longer);
    if (!longer)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    list->at = longer;
    for (int i = 0; i < program->tensor_count; i++) {
        const Tensor *tensor = &program->tensors[i];
        for (int copy = 0; copy < tensor->repeat && !tensor->constant; copy++) {
            Weight *weight = &list->at[list->count];
            if (!make_weight(weight, tensor, copy, stage))
                return error_set(error, ERROR_ENVIRONMENT, "internal error: "
                                 "the name %s is too long", tensor->name);
            const WeightList earlier = { list->at, before };
            list->count += before == 0 || !has_name(&earlier, weight->name);
        }
    }
    return true;
}

bool weights_list(const Rank *rank, WeightList *list, Error *error)
{
    *list = (WeightList){0};
    return list_stage(rank->program, list, (int)rank->control.stage, error);
}

/* Puts `list` into the whole program's order: that of `order`. */
static void sort_list(WeightList *list, WeightList *order)
{
    for (int i = 0; i < order->count; i++)
        for (int j = 0; j < list->count; j++)
            if (strcmp(order->at[i].name, list->at[j].name) == 0) {
                order->at[i] = list->at[j];
                break;
            }
    const WeightList sorted = *order;
    *order = *list;
    *list = sorted;
}

bool weights_list_all(const Rank *rank, WeightList *list, Error *error)
{
    int stages = world_stages(rank->world);
    WeightList order = {0};
    *list = (WeightList){0};
    for (int stage = 0; stage < stages; stage++) {
        const Program own = rank->world
            ? program_of_stage(rank->program, stage) : *rank->program;
        if (!list_stage(&own, list, stage, error))
            return false;
    }
    bool good = stages == 1
        || list_stage(world_whole(rank->world), &order, 0, error);
    if (good && stages > 1)
        sort_list(list, &order);
    free(order.at);
    return good;
}

/* ---- tables ------------------------------------------------------------- */

/* Tables lie behind all parameters, or behind the shares that a rank has of
 * them. */
static int64_t table_place(const Rank *rank, const Tensor *tensor)
{
    const Program *program = rank->program;
    if (!rank->world || program->shard != SHARD_WEIGHTS)
        return tensor->weight;
    return tensor->weight - program->gradient_floats + program->share_floats;
}

static void compute_tables(const Thread *me, void *context)
{
    const Rank *rank = context;
    for (int i = 0; i < rank->program->tensor_count; i++) {
        const Tensor *tensor = &rank->program->tensors[i];
        if (!tensor->constant)
            continue;
        const Table table = {
            .kind = tensor->init,
            .rows = tensor->dim0,
            .columns = tensor->rank > 1 ? tensor->dim1 : 1,
            .base = tensor->init_a, .factor = tensor->init_b,
            .low = tensor->init_c, .high = tensor->init_d,
            .original = tensor->init_e,
        };
        bool sliced = tensor->slice == SLICE_ROWS;
        int64_t rows = table.rows / (sliced ? world_tensor(rank->world) : 1);
        int64_t first = sliced ? rows * world_slice(rank->world) : 0;
        float *whole = rank->control.weights + table_place(rank, tensor)
            - first * table.columns;
        table_fill(whole, &table, first + share_start(me, rows),
                   first + share_end(me, rows));
    }
}

void tables_compute(Rank *rank)
{
    team_run(rank->team, compute_tables, rank);
}

/* ---- drawing ------------------------------------------------------------ */

typedef struct Drawing {
    const Rank *rank;
    const WeightList *list;
    uint64_t seed;
} Drawing;

static void draw_run(const Drawing *drawing, const Weight *weight, float *out,
                     int64_t first, int64_t count)
{
    const Tensor *tensor = weight->tensor;
    if (strcmp(tensor->init, "normal") == 0)
        draw_normals(out, count, (uint64_t)first, tensor->init_a,
                     drawing->seed, draw_stream(weight->name));
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = strcmp(tensor->init, "ones") == 0;
}

static void draw_weights(const Thread *me, void *context)
{
    const Drawing *drawing = context;
    for (int i = 0; i < drawing->list->count; i++) {
        const Weight *weight = &drawing->list->at[i];
        int64_t from = share_start(me, weight->elements);
        int64_t end = share_end(me, weight->elements);
        while (from < end) {
            Place place = place_of(drawing->rank, weight, PLACE_WEIGHT, from);
            int64_t count = end - from < place.count ? end - from : place.count;
            if (place.own)
                draw_run(drawing, weight, place.at, from, count);
            from += count;
        }
    }
}

void weights_draw(Rank *rank, const WeightList *list, uint64_t seed)
{
    Drawing drawing = { rank, list, seed };
    team_run(rank->team, draw_weights, &drawing);
}

/* ---- reading ------------------------------------------------------------ */

/* The names that a file lacks, that it has in another shape, that nobody
 * wants. */
static bool refuse_incomplete(const char *path, NameList *missing,
                              NameList *unwanted, const Error *shape,
                              Error *error)
{
    if (shape->text[0]) {
        *error = *shape;
        return false;
    }
    if (missing->count > 0)
        return error_set(error, ERROR_INPUT, "%s lacks %s", path,
                         names_text(missing));
    return error_set(error, ERROR_INPUT, "%s has tensors that this model does "
                     "not: %s", path, names_text(unwanted));
}

static void list_rest(const Tensors *file, const WeightList *list)
{
    for (int i = 0; i < list->count; i++) {
        const Weight *weight = &list->at[i];
        int entry = tensors_find(file, weight->name);
        if (entry < 0)
            fprintf(stderr, "not in %s: %s\n", file->path, weight->name);
        else if (!file->entries[entry].wanted)
            fprintf(stderr, "of another shape in %s: %s\n", file->path,
                    weight->name);
    }
    for (int i = 0; i < file->count; i++)
        if (!file->entries[i].wanted)
            fprintf(stderr, "not used: %s\n", file->entries[i].name);
}

/* Marks every parameter in the file as wanted that has the right shape. */
static bool match_weights(Tensors *file, const WeightList *list, bool partial,
                          Error *error)
{
    NameList missing = {0}, unwanted = {0};
    Error shape = {0};
    int matched = 0;
    for (int i = 0; i < list->count; i++) {
        const Weight *weight = &list->at[i];
        Error ignored;
        bool there = tensors_find(file, weight->name) >= 0;
        matched += tensors_want(file, weight->name, weight->rank, weight->dims,
                                there && !shape.text[0] ? &shape : &ignored)
            >= 0;
        if (!there)
            names_add(&missing, weight->name);
    }
    tensors_unwanted(file, &unwanted);
    if (matched == list->count && unwanted.count == 0)
        return true;
    if (!partial)
        return refuse_incomplete(file->path, &missing, &unwanted, &shape,
                                 error);
    list_rest(file, list);
    fprintf(stderr, "%s: %d of %d parameters taken\n", file->path, matched,
            list->count);
    return true;
}

bool weight_read(const Rank *rank, const Weight *weight, int kind,
                 const Tensors *file, int entry, Error *error)
{
    for (int64_t from = 0; from < weight->elements;) {
        Place place = place_of(rank, weight, (PlaceKind)kind, from);
        if (place.own
            && !tensors_read_f32(file, entry, from, place.count, place.at,
                                 error))
            return false;
        from += place.count;
    }
    return true;
}

/* Reads what this rank has of those that match. */
static bool read_own(Rank *rank, const Tensors *file, Error *error)
{
    WeightList own;
    bool good = weights_list(rank, &own, error);
    for (int i = 0; good && i < own.count; i++) {
        int entry = tensors_find(file, own.at[i].name);
        if (entry >= 0 && file->entries[entry].wanted)
            good = weight_read(rank, &own.at[i], PLACE_WEIGHT, file, entry,
                               error);
    }
    free(own.at);
    return good;
}

bool weights_load(Rank *rank, const char *path, bool partial, Error *error)
{
    Tensors file;
    WeightList all;
    if (!tensors_open(&file, path, error))
        return false;
    bool good = weights_list_all(rank, &all, error)
        && match_weights(&file, &all, partial, error);
    const char *model = tensors_metadata(&file, "model_hash");
    if (good && model && strcmp(model, rank->program->model_hash) != 0)
        fprintf(stderr, "note: %s was written by another model; names and "
                "shapes match, its mathematics may not\n", path);
    good = good && read_own(rank, &file, error);
    free(all.at);
    tensors_close(&file);
    return good;
}
