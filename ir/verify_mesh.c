/* verify_mesh.c: what must hold between the mesh of a module whose values are
 * placed and the sizes that its functions speak of: that all ranks' parts are
 * the whole. A type names a rank's dims alone; here they meet the number of
 * ranks. */
#include "placement.h"
#include "verify.h"

static int64_t size_of(const Module *m, int dim)
{
    return m->dims.at[dim].size;
}

static int64_t last_size(const Module *m, const Value *v)
{
    return size_of(m, v->type.dims[v->type.rank - 1]);
}

static bool wrong_size(Check *c, const Node *n, const char *what)
{
    return check_fails(c, "%s = %s: %s, on this mesh", n->out[0]->name,
                       op_info[n->op].name, what);
}

/* Do runs of `own` on so many ranks hold all, and each rank some of it, but
 * for padding of less than one row a rank? */
static bool covers(int64_t own, int64_t ranks, int64_t all)
{
    return own * ranks >= all && own * ranks - all < ranks;
}

static bool verify_reshard(Check *c, const Node *n)
{
    const Module *m = c->m;
    const Value *x = n->in[0], *y = n->out[0];
    int64_t ranks = mesh_axis(&m->mesh, n->attrs.axis);
    if (ranks == 1)
        return wrong_size(c, n, "one rank has no others");
    switch (reshard_kind(n)) {
    case RESHARD_GATHER_COLUMNS:
        return covers(last_size(m, x), ranks, last_size(m, y))
            || wrong_size(c, n, "the ranks' columns are not all");
    case RESHARD_OWN_COLUMNS:
        return covers(last_size(m, y), ranks, last_size(m, x))
            || wrong_size(c, n, "the ranks' columns are not all");
    case RESHARD_GATHER_CONTEXT:
        return last_size(m, y) == ranks * last_size(m, x)
            || wrong_size(c, n, "`dim` is not ranks·N");
    case RESHARD_SUM_CONTEXT:
        return last_size(m, x) == 2 * ranks * last_size(m, y)
            || wrong_size(c, n, "the operand is not of two parts a rank");
    case RESHARD_SEND_ROWS:         /* fewer where the room is said */
        return size_of(m, y->type.dims[2])
                <= ranks * size_of(m, x->type.dims[2])
            || wrong_size(c, n, "`dim` is more than ranks·K");
    case RESHARD_RETURN_ROWS:
        return size_of(m, x->type.dims[2])
                <= ranks * size_of(m, y->type.dims[2])
            || wrong_size(c, n, "the operand's rows are more than ranks·K");
    default:
        return true;
    }
}

static bool verify_mesh_node(Check *c, const Node *n)
{
    const Module *m = c->m;
    const Mesh *mesh = &m->mesh;
    if (n->op == OP_reshard)
        return verify_reshard(c, n);
    if (n->op == OP_own_starts)
        return last_size(m, n->in[0]) - 1
                == mesh->experts * (last_size(m, n->out[0]) - 1)
            || wrong_size(c, n, "the ranks' experts are not all");
    if (n->op == OP_pool_chunks || n->op == OP_pool_chunks_spread)
        return size_of(m, n->attrs.dim) == 2 * mesh->context
            || wrong_size(c, n, "`dim` is not two chunks a rank");
    if (op_has_attr(n->op, "context") && n->attrs.context)
        return n->attrs.context == mesh->context
            || wrong_size(c, n, "`context` is another number of ranks");
    return true;
}

static bool verify_mesh_weight(Check *c, const Weight *w)
{
    const Mesh *mesh = &c->m->mesh;
    if ((w->slice != SLICE_NONE || w->partial) && mesh->tensor == 1)
        return check_fails(c, "%s is a tensor rank's, and there is one",
                           w->name);
    if (w->experts && mesh->experts == 1)
        return check_fails(c, "%s is of a rank's experts, and there is one",
                           w->name);
    if (w->whole_file
        && !covers(size_of(c->m, w->type.dims[0]), mesh->tensor,
                   size_of(c->m, w->file_type.dims[0])))
        return check_fails(c, "%s: the ranks' rows are not those of the whole",
                           w->name);
    return true;
}

bool verify_mesh(Check *c)
{
    const Module *m = c->m;
    int64_t shares = module_shares(m);
    if (shares > 1 && shares != m->mesh.tensor)
        return check_fails(c, "%lld shares of a sequence on %lld ranks",
                           (long long)shares, (long long)m->mesh.tensor);
    for (int i = 0; i < m->weights.count; i++)
        if (!verify_mesh_weight(c, &m->weights.at[i]))
            return false;
    for (int i = 0; i < m->funcs.count; i++) {
        c->where = arena_printf(c->scratch, "func %s", m->funcs.at[i]->name);
        for (int j = 0; j < m->funcs.at[i]->nodes.count; j++)
            if (!verify_mesh_node(c, m->funcs.at[i]->nodes.at[j]))
                return false;
    }
    return true;
}
