/* tensor_rows.c: see tensor_rows.h. `roles` below is the table of what a file
 * may hold; everything else goes by it.
 * SPDX-License-Identifier: 0BSD */
#include "tensor_rows.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes that stand for the program's in the table. */
enum {
    SIZE_T = -1, SIZE_CHANNELS = -2, SIZE_IMAGE = -3, SIZE_NODES = -4,
    SIZE_FEATURES = -5, SIZE_TWO = 2
};

typedef struct Role {
    const char *name;
    bool needed;
    bool sided;                 /* of a preference pair, two sides */
    int64_t sizes[3];           /* behind N, and behind the sides; 0: none */
} Role;

static const Role roles[TENSOR_ROLES] = {
    [ROLE_TOKENS] = { "tokens", true, true, { SIZE_T } },
    [ROLE_TARGETS] = { "targets", true, true, { SIZE_T } },
    [ROLE_LENGTHS] = { "lengths", false, true, { 0 } },
    [ROLE_SOURCE] = { "source", true, false, { SIZE_T } },
    [ROLE_SOURCE_LENGTHS] = { "source_lengths", false, false, { 0 } },
    [ROLE_TYPES] = { "types", false, true, { SIZE_T } },
    [ROLE_LABELS] = { "labels", true, false, { 0 } },
    [ROLE_IMAGES] = { "images", true, false,
                      { SIZE_CHANNELS, SIZE_IMAGE, SIZE_IMAGE } },
    [ROLE_NODES] = { "nodes", true, false, { SIZE_NODES, SIZE_FEATURES } },
    [ROLE_EDGES] = { "edges", false, false, { SIZE_NODES, SIZE_NODES } },
    [ROLE_REFERENCE] = { "reference", false, false, { SIZE_TWO } },
};

/* ---- what the program takes --------------------------------------------- */

static bool is(const char *text, const char *word)
{
    return strcmp(text, word) == 0;
}

static bool is_preference(const Program *p)
{
    return is(p->objective, "preference");
}

static bool takes(const Program *p, TensorRole role)
{
    bool images = p->image_size > 0, graphs = p->nodes > 0;
    bool tokens = !images && !graphs, both = is(p->kind, "encoder-decoder");
    bool classifies = is(p->objective, "classify");
    switch (role) {
    case ROLE_TOKENS: return tokens;
    case ROLE_TARGETS: return tokens && !classifies;
    case ROLE_LENGTHS: return !images;
    case ROLE_SOURCE: case ROLE_SOURCE_LENGTHS: return both;
    case ROLE_TYPES: return p->token_types > 0;
    case ROLE_LABELS:
        return classifies || is(p->objective, "masked-token+next-sentence");
    case ROLE_IMAGES: return images;
    case ROLE_NODES: case ROLE_EDGES: return graphs;
    case ROLE_REFERENCE: return is_preference(p);
    case TENSOR_ROLES: break;
    }
    return false;
}

static int64_t classes_of(const Program *p)
{
    return is(p->objective, "classify") ? p->classes : 2;
}

/* ---- shapes ------------------------------------------------------------- */

/* The dims that a role must have; -1 where any size will do. */
static int wanted_dims(const Program *p, TensorRole role,
                       int64_t dims[TENSOR_RANK])
{
    int rank = 1;
    dims[0] = -1;
    if (roles[role].sided && is_preference(p))
        dims[rank++] = 2;
    for (int i = 0; i < 3 && roles[role].sizes[i]; i++) {
        int64_t size = roles[role].sizes[i];
        dims[rank++] = size == SIZE_T ? -1
            : size == SIZE_CHANNELS ? p->channels
            : size == SIZE_IMAGE ? p->image_size
            : size == SIZE_NODES ? p->nodes
            : size == SIZE_FEATURES ? p->node_features : size;
    }
    return rank;
}

static void print_dims(char *text, size_t room, const int64_t *dims, int rank)
{
    size_t at = 0;
    for (int i = 0; i < rank; i++) {
        const char *comma = i ? "," : "";
        int length = dims[i] >= 0
            ? snprintf(text + at, room - at, "%s%lld", comma,
                       (long long)dims[i])
            : snprintf(text + at, room - at, "%s%c", comma, i ? 'T' : 'N');
        at += (size_t)length;
    }
}

static bool fits(const TensorEntry *entry, const int64_t *dims, int rank)
{
    bool good = entry->rank == rank;
    for (int i = 0; good && i < rank; i++)
        good = dims[i] < 0 || entry->dims[i] == dims[i];
    return good;
}

/* Checks an entry's shape against the table, and N and T against those of the
 * entries before it (-1: there was none). */
static bool check_shape(const TensorRows *rows, TensorPart *part,
                        TensorRole role, Error *error)
{
    int64_t dims[TENSOR_RANK];
    const TensorEntry *entry = &part->file.entries[part->entry[role]];
    int rank = wanted_dims(rows->program, role, dims);
    bool has_t = roles[role].sizes[0] == SIZE_T;
    dims[0] = part->count;
    if (has_t)
        dims[rank - 1] = part->sequence;
    if (!fits(entry, dims, rank)) {
        char got[200], wanted[200];
        print_dims(wanted, sizeof wanted, dims, rank);
        tensor_describe(got, sizeof got, entry->type, entry->rank,
                        entry->dims);
        return error_set(error, ERROR_INPUT, "%s: %s is %s, not [%s]",
                         part->file.path, entry->name, got, wanted);
    }
    part->count = entry->dims[0];
    if (has_t)
        part->sequence = entry->dims[rank - 1];
    return true;
}

/* ---- opening ------------------------------------------------------------ */

/* Finds the entries, and sees that none is missing and none is unknown. */
static bool find_entries(const TensorRows *rows, TensorPart *part,
                         Error *error)
{
    int known = 0;
    for (int i = 0; i < TENSOR_ROLES; i++) {
        const Role *role = &roles[i];
        bool taken = takes(rows->program, (TensorRole)i);
        bool given = i == ROLE_TARGETS || i == ROLE_LABELS;
        part->entry[i] = taken ? tensors_find(&part->file, role->name) : -1;
        known += part->entry[i] >= 0;
        if (part->entry[i] < 0 && taken && role->needed
            && !(given && rows->unlabelled))
            return error_set(error, ERROR_INPUT, "%s has no tensor '%s'",
                             part->file.path, role->name);
    }
    if (known == part->file.count)
        return true;
    NameList unknown = {0};
    for (int e = 0; e < part->file.count; e++) {
        bool found = false;
        for (int i = 0; i < TENSOR_ROLES; i++)
            found |= part->entry[i] == e;
        if (!found)
            names_add(&unknown, part->file.entries[e].name);
    }
    return error_set(error, ERROR_INPUT, "%s has tensors that are no part of "
                     "a batch of this program: %s", part->file.path,
                     names_text(&unknown));
}

static bool open_part(TensorRows *rows, int index, int64_t longest,
                      Error *error)
{
    TensorPart *part = &rows->parts[index];
    *part = (TensorPart){ .count = -1, .sequence = -1, .first = rows->count };
    if (!tensors_open(&part->file, rows->data->files[index].path, error))
        return false;
    rows->opened = index + 1;
    if (!find_entries(rows, part, error))
        return false;
    for (int i = 0; i < TENSOR_ROLES; i++)
        if (part->entry[i] >= 0
            && !check_shape(rows, part, (TensorRole)i, error))
            return false;
    if (part->sequence < 0)
        part->sequence = rows->program->nodes;
    if (part->sequence > longest)
        return error_set(error, ERROR_INPUT, "%s: sequences of %lld; this "
                         "program takes at most %lld", part->file.path,
                         (long long)part->sequence, (long long)longest);
    rows->data->files[index].first = part->first;
    rows->data->files[index].count = part->count;
    return !__builtin_add_overflow(rows->count, part->count, &rows->count)
        || error_set(error, ERROR_INPUT, "%s: more than 2^63 examples",
                     part->file.path);
}

static bool open_parts(TensorRows *rows, int64_t longest, Error *error)
{
    Data *data = rows->data;
    rows->parts = calloc((size_t)data->count, sizeof *rows->parts);
    if (!rows->parts)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    for (int i = 0; i < data->count; i++)
        if (!open_part(rows, i, longest, error))
            return false;
    data->tokens = rows->count;
    return rows->count > 0
        || error_set(error, ERROR_INPUT, "%s: has no examples",
                     data->files[0].path);
}

/* Reads every example into one place. */
static bool check_all(const TensorRows *rows, int64_t longest, Error *error)
{
    const Program *p = rows->program;
    int64_t sides = is_preference(p) ? 2 : 1, row = sides * longest;
    int64_t pixels = p->channels * p->image_size * p->image_size;
    int64_t ids = 4 * row + p->nodes * p->nodes + 8;
    int64_t reals = pixels + p->nodes * p->node_features + 8;
    int32_t *at = calloc((size_t)ids, sizeof *at);
    float *real = calloc((size_t)reals, sizeof *real);
    bool good = (at && real)
        || error_set(error, ERROR_ENVIRONMENT, "no memory for data");
    if (good) {
        const Example scratch = {
            .tokens = at, .targets = at + row, .source = at + 2 * row,
            .types = at + 3 * row, .edges = at + 4 * row,
            .lengths = at + ids - 8, .source_lengths = at + ids - 6,
            .labels = at + ids - 4, .reference = real + reals - 8,
            .images = real, .nodes = real + pixels, .sequence = longest,
        };
        for (int64_t i = 0; good && i < rows->count; i++)
            good = tensor_rows_read(rows, i, &scratch, error);
    }
    free(at);
    free(real);
    return good;
}

bool tensor_rows_open(TensorRows *rows, int64_t longest, Error *error)
{
    bool good = open_parts(rows, longest, error);
    if (good && data_is_small(rows->data))
        good = check_all(rows, longest, error);
    if (!good)
        tensor_rows_close(rows);
    return good;
}

void tensor_rows_close(TensorRows *rows)
{
    for (int i = 0; i < rows->opened; i++)
        tensors_close(&rows->parts[i].file);
    free(rows->parts);
    *rows = (TensorRows){0};
}

bool tensor_rows_has(const TensorRows *rows, TensorRole role)
{
    bool all = rows->opened > 0;
    for (int i = 0; i < rows->opened; i++)
        all &= rows->parts[i].entry[role] >= 0;
    return all;
}

/* ---- reading ------------------------------------------------------------ */

/* An example of one file, and where the bounds of a number lie. */
typedef struct Place {
    const TensorPart *part;
    int64_t index;              /* in the file */
} Place;

/* The numbers of an example in an integer entry, each in [least, end). */
static bool read_ids(Place place, TensorRole role, int32_t *ids, int64_t count,
                     const int64_t bounds[2], Error *error)
{
    const TensorPart *part = place.part;
    int entry = part->entry[role];
    if (!tensors_read_i32(&part->file, entry, place.index * count, count, ids,
                          error))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < bounds[0] || ids[i] >= bounds[1])
            return error_set(error, ERROR_INPUT, "%s: %s of example %lld: "
                             "number %lld is %d, not one from %lld to %lld",
                             part->file.path, roles[role].name,
                             (long long)place.index, (long long)i, ids[i],
                             (long long)bounds[0], (long long)bounds[1] - 1);
    return true;
}

/* Moves `sides` rows of T to their places, from the last on, and pads them. */
static void spread(int32_t *ids, int64_t sides, int64_t T, int64_t sequence,
                   int32_t padding)
{
    for (int64_t side = sides - 1; side >= 0; side--) {
        memmove(ids + side * sequence, ids + side * T,
                (size_t)T * sizeof *ids);
        for (int64_t t = T; t < sequence; t++)
            ids[side * sequence + t] = padding;
    }
}

/* A row of ids, or two; without an entry, `otherwise` fills it. */
static bool read_row(const TensorRows *rows, Place place, TensorRole role,
                     int32_t *ids, int64_t sequence, Error *error)
{
    const Program *p = rows->program;
    int64_t T = place.part->sequence;
    int64_t sides = roles[role].sided && is_preference(p) ? 2 : 1;
    bool targets = role == ROLE_TARGETS, types = role == ROLE_TYPES;
    const int64_t bounds[2] = { targets ? -1 : 0,
                                types ? p->token_types : p->vocab };
    int32_t padding = targets ? -1 : types ? 0 : rows->padding;
    if (!ids)
        return true;
    bool given = place.part->entry[role] >= 0;
    if (given && !read_ids(place, role, ids, sides * T, bounds, error))
        return false;
    spread(ids, sides, given ? T : 0, sequence, padding);
    return true;
}

/* One number, or one a side. */
static bool read_lengths(const TensorRows *rows, Place place, TensorRole role,
                         int32_t *lengths, Error *error)
{
    int64_t T = place.part->sequence;
    int64_t sides = roles[role].sided && is_preference(rows->program) ? 2 : 1;
    const int64_t bounds[2] = { 0, T + 1 };
    if (!lengths)
        return true;
    if (place.part->entry[role] >= 0)
        return read_ids(place, role, lengths, sides, bounds, error);
    for (int64_t side = 0; side < sides; side++)
        lengths[side] = (int32_t)T;
    return true;
}

static bool read_label(const TensorRows *rows, Place place, int32_t *label,
                       Error *error)
{
    const int64_t bounds[2] = { -1, classes_of(rows->program) };
    if (!label)
        return true;
    *label = -1;
    return place.part->entry[ROLE_LABELS] < 0
        || read_ids(place, ROLE_LABELS, label, 1, bounds, error);
}

static bool read_edges(const TensorRows *rows, Place place, int32_t *edges,
                       Error *error)
{
    int64_t count = rows->program->nodes * rows->program->nodes;
    int entry = place.part->entry[ROLE_EDGES];
    if (!edges)
        return true;
    if (entry >= 0 && !tensors_read_i32(&place.part->file, entry,
                                        place.index * count, count, edges,
                                        error))
        return false;
    for (int64_t i = 0; i < count; i++)
        edges[i] = entry < 0 || edges[i] != 0;
    return true;
}

static bool read_reals(Place place, TensorRole role, float *reals,
                       int64_t count, Error *error)
{
    int entry = place.part->entry[role];
    return !reals || entry < 0
        || tensors_read_f32(&place.part->file, entry, place.index * count,
                            count, reals, error);
}

/* Targets behind a side's length are not scored. */
static void cut_targets(const Example *example, int64_t sides)
{
    if (!example->targets || !example->lengths)
        return;
    int64_t T = example->sequence;
    for (int64_t side = 0; side < sides; side++)
        for (int64_t t = example->lengths[side]; t < T; t++)
            example->targets[side * T + t] = -1;
}

bool tensor_rows_read(const TensorRows *rows, int64_t index,
                      const Example *example, Error *error)
{
    const Program *p = rows->program;
    int at = 0;
    while (index >= rows->parts[at].first + rows->parts[at].count)
        at++;
    const Place place = { &rows->parts[at], index - rows->parts[at].first };
    int64_t T = example->sequence;
    int64_t pixels = p->channels * p->image_size * p->image_size;
    if (place.part->sequence > T)
        return error_set(error, ERROR_INPUT, "%s: sequences of %lld; this step "
                         "takes at most %lld", place.part->file.path,
                         (long long)place.part->sequence, (long long)T);
    if (!read_row(rows, place, ROLE_TOKENS, example->tokens, T, error)
        || !read_row(rows, place, ROLE_TARGETS, example->targets, T, error)
        || !read_row(rows, place, ROLE_SOURCE, example->source, T, error)
        || !read_row(rows, place, ROLE_TYPES, example->types, T, error)
        || !read_lengths(rows, place, ROLE_LENGTHS, example->lengths, error)
        || !read_lengths(rows, place, ROLE_SOURCE_LENGTHS,
                         example->source_lengths, error)
        || !read_label(rows, place, example->labels, error)
        || !read_edges(rows, place, example->edges, error)
        || !read_reals(place, ROLE_IMAGES, example->images, pixels, error)
        || !read_reals(place, ROLE_NODES, example->nodes,
                       p->nodes * p->node_features, error)
        || !read_reals(place, ROLE_REFERENCE, example->reference, 2, error))
        return false;
    if (p->image_size > 0 && example->lengths)
        *example->lengths = (int32_t)T;
    cut_targets(example, is_preference(p) ? 2 : 1);
    return true;
}
