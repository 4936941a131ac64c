/* reshard.c: the kinds of reshard (reshard.def) by number and by attributes. */
#include "ir.h"

enum { LAST = 255 };

typedef struct ReshardInfo { Axis axis; Placement from, to; } ReshardInfo;

static const ReshardInfo kinds[RESHARD_KINDS] = {
#define RESHARD(kind, along, before, before_dim, after, after_dim) \
    [RESHARD_##kind] = { AXIS_##along, { PLACED_##before, before_dim }, \
                         { PLACED_##after, after_dim } },
#include "reshard.def"
#undef RESHARD
};

static Placement of_rank(Placement p, int rank)
{
    if (p.how == PLACED_SPLIT && p.dim == LAST)
        p.dim = (unsigned char)(rank - 1);
    return p;
}

static bool same(Placement a, Placement b)
{
    return a.how == b.how && a.dim == b.dim;
}

/* Of [B,N] the last dim is not that of positions. */
ReshardKind reshard_kind(const Node *n)
{
    int rank = n->op == OP_reshard ? n->in[0]->type.rank : 0;
    for (int kind = 1; rank && kind < RESHARD_KINDS; kind++) {
        const ReshardInfo *k = &kinds[kind];
        bool positions = (k->from.how == PLACED_SPLIT && k->from.dim == 1)
                      || (k->to.how == PLACED_SPLIT && k->to.dim == 1);
        if (n->attrs.axis == k->axis && !(positions && rank < 3)
            && same(n->attrs.from, of_rank(k->from, rank))
            && same(n->attrs.to, of_rank(k->to, rank)))
            return (ReshardKind)kind;
    }
    return RESHARD_NONE;
}

Attrs reshard_attrs(ReshardKind kind, int rank, int dim)
{
    const ReshardInfo *k = &kinds[kind];
    return (Attrs){ .axis = k->axis, .from = of_rank(k->from, rank),
                    .to = of_rank(k->to, rank), .dim = dim };
}
