/* diff_placements.h: the part of `diff` that says what lies elsewhere under the
 * other plan: parameters, and what functions take, give, save and multiply. */
#ifndef DIFF_PLACEMENTS_H
#define DIFF_PLACEMENTS_H
#include "../ir/ir.h"
#include "../runtime/json.h"

typedef struct PlacementDifference {
    const char *func;               /* block.forward; "parameters"; "state" */
    const char *name;               /* attn.q */
    const char *types[2];           /* f32[B/data,T,A/tensor]; NULL: the side
                                       has none such */
} PlacementDifference;

typedef struct PlacementDifferences {
    List(PlacementDifference) list;
} PlacementDifferences;

/* What both modules have and place otherwise, in the order of a, and what one
 * of them has alone. */
PlacementDifferences placements_differ(const Module *a, const Module *b,
                                       Arena *arena);
/* For readers: values of one function with the same change are one line. */
void placements_print(const PlacementDifferences *d);
void placements_put(JsonWriter *json, const PlacementDifferences *d);
#endif
