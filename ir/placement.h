/* placement.h: what the two parts that derive placements share:
 * placement_rules.c, a node along one axis; placement.c, functions, steps. */
#ifndef PLACEMENT_H
#define PLACEMENT_H
#include "ir.h"

/* Zeros of a type, which are whole and parts of any sum: what first is added
 * to them says which. Of a derivation alone, never a Value's. */
enum { PLACED_ANY = PLACED_ROUTED + 1 };

/* A node whose operands are placed so along an axis. Placements of its results,
 * or false and a text of what does not fit. */
bool node_placement(const Module *m, const Node *node, Axis axis,
                    const Placement *in, Placement *out, Buf *why);
/* Ranks along an axis. */
int64_t mesh_axis(const Mesh *mesh, Axis axis);

static inline Placement placed(int how)
{
    return (Placement){ .how = (unsigned char)how };
}
static inline Placement split_over(int dim)
{
    return (Placement){ .how = PLACED_SPLIT, .dim = (unsigned char)dim };
}
static inline bool placement_equal(Placement a, Placement b)
{
    return a.how == b.how && (a.how != PLACED_SPLIT || a.dim == b.dim);
}
#endif
