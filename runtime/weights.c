/* weights.c: parameters and tables by name (see weights.h). Everything that
 * is drawn or computed here is a function of the seed, the name and the
 * element, so threads may share the work as they like.
 * SPDX-License-Identifier: 0BSD */
#include "weights.h"
#include "draw.h"
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

static bool make_weight(Weight *weight, const Tensor *tensor, int copy)
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
    };
    return expand_name(weight->name, tensor->name, copy);
}

bool weights_list(const Program *program, WeightList *list, Error *error)
{
    size_t room = 0;
    for (int i = 0; i < program->tensor_count; i++)
        room += (size_t)program->tensors[i].repeat;
    list->count = 0;
    list->at = calloc(room + 1, sizeof *list->at);
    if (!list->at)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (int i = 0; i < program->tensor_count; i++) {
        const Tensor *tensor = &program->tensors[i];
        for (int copy = 0; copy < tensor->repeat && !tensor->constant; copy++)
            if (!make_weight(&list->at[list->count++], tensor, copy))
                return error_set(error, ERROR_ENVIRONMENT, "internal error: "
                                 "the name %s is too long", tensor->name);
    }
    return true;
}

/* ---- tables ------------------------------------------------------------- */

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
        table_fill(rank->control.weights + tensor->weight, &table,
                   share_start(me, table.rows), share_end(me, table.rows));
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

static void fill(float *out, int64_t first, int64_t count, float value)
{
    for (int64_t i = 0; i < count; i++)
        out[first + i] = value;
}

static void draw_weights(const Thread *me, void *context)
{
    const Drawing *drawing = context;
    for (int i = 0; i < drawing->list->count; i++) {
        const Weight *weight = &drawing->list->at[i];
        const Tensor *tensor = weight->tensor;
        float *out = drawing->rank->control.weights + weight->weight;
        int64_t first = share_start(me, weight->elements);
        int64_t count = share_end(me, weight->elements) - first;
        if (strcmp(tensor->init, "normal") == 0)
            draw_normals(out + first, count, (uint64_t)first, tensor->init_a,
                         drawing->seed, draw_stream(weight->name));
        else
            fill(out, first, count, strcmp(tensor->init, "ones") == 0);
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

/* Finds every parameter in the file: entries[i] is weight i's, or -1. */
static bool match_weights(Tensors *file, const WeightList *list, bool partial,
                          int *entries, Error *error)
{
    NameList missing = {0}, unwanted = {0};
    Error shape = {0};
    int matched = 0;
    for (int i = 0; i < list->count; i++) {
        const Weight *weight = &list->at[i];
        Error ignored;
        bool there = tensors_find(file, weight->name) >= 0;
        entries[i] = tensors_want(file, weight->name, weight->rank,
                                  weight->dims,
                                  there && !shape.text[0] ? &shape : &ignored);
        matched += entries[i] >= 0;
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

bool weights_load(Rank *rank, const WeightList *list, const char *path,
                  bool partial, Error *error)
{
    Tensors file;
    if (!tensors_open(&file, path, error))
        return false;
    int *entries = calloc((size_t)list->count + 1, sizeof *entries);
    bool good = entries
        ? match_weights(&file, list, partial, entries, error)
        : error_set(error, ERROR_ENVIRONMENT, "out of memory");
    const char *model = tensors_metadata(&file, "model_hash");
    if (good && model && strcmp(model, rank->program->model_hash) != 0)
        fprintf(stderr, "note: %s was written by another model; names and "
                "shapes match, its mathematics may not\n", path);
    for (int i = 0; good && i < list->count; i++)
        if (entries[i] >= 0)
            good = tensors_read_f32(&file, entries[i], 0,
                                    list->at[i].elements,
                                    rank->control.weights + list->at[i].weight,
                                    error);
    free(entries);
    tensors_close(&file);
    return good;
}
