/* placement.c: how every value lies on the ranks of the mesh. A step is walked
 * as it would run: what it is given is placed by the mesh, a call gives its
 * function's parameters the placements of its arguments, and the rules of
 * placement_rules.c carry them through the function's nodes. A function has one
 * set of placements, whoever calls it. Loops are walked twice, so that what one
 * turn leaves must fit the next. */
#include "placement.h"

const char *const axis_names[AXES + 1] = {
    "data", "context", "experts", "tensor", NULL,
};
const char *const placing_names[] = {
    "whole", "split", "sum", "max", "one", "routed", NULL,
};

int64_t mesh_axis(const Mesh *mesh, Axis axis)
{
    switch (axis) {
    case AXIS_DATA: return mesh->data;
    case AXIS_CONTEXT: return mesh->context;
    case AXIS_EXPERTS: return mesh->experts;
    case AXIS_TENSOR: return mesh->tensor;
    case AXES: break;
    }
    return 1;
}

int64_t mesh_ranks(const Mesh *mesh)
{
    return mesh->data * mesh->stages * mesh->context * mesh->tensor;
}

typedef struct Placed { Placement on[AXES]; } Placed;

/* A function's values, by number. */
typedef struct FuncPlaces {
    const Func *f;
    Placed *of;
    bool derived;
} FuncPlaces;

/* A name of the step. */
typedef struct Known {
    const char *name;
    Type type;                      /* rank 0 until something says */
    Placed placed;
} Known;

typedef struct Derivation {
    const Module *m;
    Arena *arena;
    Buf *why;
    List(FuncPlaces) funcs;         /* as Module.funcs */
    List(Known) known;              /* of the step being walked */
    Placed *prepared;               /* derived weights, as Module.weights: as
                                       what makes them leaves them */
    const char *where;
} Derivation;

static bool derivation_fails(Derivation *d, const char *what, Axis axis,
                             const char *how)
{
    buf_printf(d->why, "%s: %s: along %s %s", d->where, what,
               axis_names[axis], how);
    return false;
}

/* The same, of a rule's text. */
static bool node_fails(Derivation *d, const Node *node, Axis axis, Buf *how)
{
    const char *what = arena_printf(d->arena, "%s = %s", node->out[0]->name,
                                    op_info[node->op].name);
    derivation_fails(d, what, axis, how->text);
    buf_free(how);
    return false;
}

static Placed everywhere(int how)
{
    Placed p;
    for (Axis axis = 0; axis < AXES; axis++)
        p.on[axis] = placed(how);
    return p;
}

static FuncPlaces *places_of(Derivation *d, const Func *f)
{
    for (int i = 0; i < d->funcs.count; i++)
        if (d->funcs.at[i].f == f)
            return &d->funcs.at[i];
    ice("%s is no function of the module", f->name);
}

/* ---- a node ---- */
/* Places a node's results along all axes, from where its operands' placements
 * lie to where the results' do. The axis along which they do not fit, or AXES.
 */
static Axis place_results(const Module *m, const Node *node,
                          const Placement *const *from, Placement *const *to,
                          Buf *why)
{
    for (Axis axis = 0; axis < AXES; axis++) {
        Placement in[MAX_INPUTS], out[MAX_RESULTS] = {{0}};
        if (mesh_axis(&m->mesh, axis) == 1)
            continue;
        for (int i = 0; i < node->inputs; i++)
            in[i] = from[i][axis];
        if (!node_placement(m, node, axis, in, out, why))
            return axis;
        for (int i = 0; i < node->results; i++)
            to[i][axis] = out[i];
    }
    return AXES;
}

/* ---- a function ---- */
/* What slices and experts leave a rank of a weight; of its gradient, where the
 * weight is whole, each rank of data and context has a part, of tensor where
 * that is said. */
static Placed weight_placed(const Derivation *d, int weight, bool gradient)
{
    static const int dims[] = {
        [SLICE_ROWS] = 0, [SLICE_COLUMNS] = 1, [SLICE_LAST] = 2,
    };
    const Weight *w = &d->m->weights.at[weight];
    Placed p = w->derived ? d->prepared[weight] : everywhere(PLACED_WHOLE);
    if (w->slice != SLICE_NONE)
        p.on[AXIS_TENSOR] = split_over(dims[w->slice]);
    else if (gradient && w->partial)
        p.on[AXIS_TENSOR] = placed(PLACED_SUM);
    if (w->experts)
        p.on[AXIS_EXPERTS] = split_over(0);
    if (gradient)
        p.on[AXIS_DATA] = p.on[AXIS_CONTEXT] = placed(PLACED_SUM);
    return p;
}

/* What a function that has been derived wrote under a name to that record. */
static const Placed *written(Derivation *d, const Func *reader,
                             const char *name)
{
    for (int i = 0; i < d->funcs.count; i++) {
        const Func *f = d->funcs.at[i].f;
        if (!d->funcs.at[i].derived || !f->record
            || strcmp(f->record, reader->record) != 0)
            continue;
        for (int j = 0; j < f->saved.count; j++)
            if (f->saved.at[j]->kind != VALUE_SAVED
                && !strcmp(f->saved.at[j]->name, name))
                return &d->funcs.at[i].of[f->saved.at[j]->number];
        for (int j = 0; j < f->pending.count; j++)
            if (f->pending.at[j]->kind != VALUE_SAVED
                && !strcmp(f->pending.at[j]->name, name))
                return &d->funcs.at[i].of[f->pending.at[j]->number];
    }
    return NULL;
}

static bool derive_sources(Derivation *d, FuncPlaces *p)
{
    const Func *f = p->f;
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        const Placed *saved;
        switch (v->kind) {
        case VALUE_WEIGHT: case VALUE_GRADIENT:
            p->of[i] = weight_placed(d, v->weight,
                                     v->kind == VALUE_GRADIENT);
            break;
        case VALUE_SCALAR:
            p->of[i] = everywhere(PLACED_WHOLE);
            break;
        case VALUE_SAVED:
            saved = written(d, f, v->name);
            if (!saved) {
                buf_printf(d->why, "%s: nothing has written %s", d->where,
                           v->name);
                return false;
            }
            p->of[i] = *saved;
            break;
        case VALUE_PARAM: case VALUE_NODE:
            break;
        }
    }
    return true;
}

static bool derive_node(Derivation *d, FuncPlaces *p, const Node *node)
{
    const Placement *in[MAX_INPUTS];
    Placement *out[MAX_RESULTS];
    Buf why = {0};
    for (int i = 0; i < node->inputs; i++)
        in[i] = p->of[node->in[i]->number].on;
    for (int i = 0; i < node->results; i++)
        out[i] = p->of[node->out[i]->number].on;
    Axis wrong = place_results(d->m, node, in, out, &why);
    return wrong == AXES || node_fails(d, node, wrong, &why);
}

/* A sum ends as it began: it may go on. */
static bool derive_gradients(Derivation *d, FuncPlaces *p)
{
    for (int i = 0; i < p->f->gradients.count; i++) {
        const Gradient *g = &p->f->gradients.at[i];
        for (Axis axis = 0; axis < AXES; axis++)
            if (mesh_axis(&d->m->mesh, axis) > 1
                && !placement_equal(p->of[g->begin->number].on[axis],
                                    p->of[g->end->number].on[axis]))
                return derivation_fails(d, g->begin->name, axis,
                                        "it does not end as it began");
    }
    return true;
}

/* Its parameters are placed. */
static bool derive_func(Derivation *d, FuncPlaces *p)
{
    const char *where = d->where;
    d->where = arena_printf(d->arena, "func %s", p->f->name);
    if (!derive_sources(d, p))
        return false;
    for (int i = 0; i < p->f->nodes.count; i++)
        if (!derive_node(d, p, p->f->nodes.at[i]))
            return false;
    p->derived = true;
    if (!derive_gradients(d, p))
        return false;
    d->where = where;
    return true;
}

/* ---- a step ---- */
static Known *known(Derivation *d, const char *name)
{
    for (int i = 0; i < d->known.count; i++)
        if (!strcmp(d->known.at[i].name, name))
            return &d->known.at[i];
    return NULL;
}

static void know(Derivation *d, const char *name, Type type, Placed placed)
{
    Known *old = known(d, name), one = { name, type, placed };
    if (old)
        *old = one;
    else
        list_push(d->arena, &d->known, one);
}

static bool has_dim(const Module *m, const Type *type, DimKind kind)
{
    for (int i = 0; i < type->rank; i++)
        if (m->dims.at[type->dims[i]].kind == kind)
            return true;
    return false;
}

/* What a step is given: sequences by replica, their positions by chunk; labels
 * of shared sequences are the first rank's. */
static Placed given_placed(const Module *m, const char *name, const Type *type)
{
    Placed p = everywhere(PLACED_WHOLE);
    p.on[AXIS_DATA] = split_over(0);
    if (has_dim(m, type, DIM_SEQUENCE))
        p.on[AXIS_CONTEXT] = split_over(1);
    else if (!strcmp(name, "labels"))
        p.on[AXIS_CONTEXT] = split_over(0);
    return p;
}

/* A dim of [B,T,…] or [B,…] is one of [R,…], and back: which of the two a row
 * of R is cut by follows from the axis. */
static Placement through_rows(const Module *m, Axis axis, Placement p,
                              const Type *from, const Type *to)
{
    bool rows_from = has_dim(m, from, DIM_ROWS);
    bool rows_to = has_dim(m, to, DIM_ROWS);
    const Type *whole = rows_from ? to : from;
    int lead = 1 + (has_dim(m, whole, DIM_SEQUENCE)
                    || has_dim(m, whole, DIM_SHARE));
    if (p.how != PLACED_SPLIT || rows_from == rows_to)
        return p;
    if (rows_to)
        return split_over(p.dim < lead ? 0 : p.dim - lead + 1);
    if (p.dim > 0)
        return split_over(p.dim + lead - 1);
    return split_over(lead == 2 && axis != AXIS_DATA ? 1 : 0);
}

/* Of zeros the rows say how they lie, but along tensor, where they may be parts
 * of a sum as well. */
static Placement zero_placed(const Module *m, Axis axis, const Type *type)
{
    bool positions = has_dim(m, type, DIM_SEQUENCE)
                  || has_dim(m, type, DIM_SHARE);
    if (!type_has_rows(m, type))
        return placed(PLACED_ANY);
    switch (axis) {
    case AXIS_DATA: return split_over(0);
    case AXIS_CONTEXT: return positions ? split_over(1) : placed(PLACED_ANY);
    case AXIS_TENSOR:
        return has_dim(m, type, DIM_SHARE) ? split_over(1) : placed(PLACED_ANY);
    default: return placed(PLACED_WHOLE);
    }
}

/* A parameter takes its argument's placements, or has them from another call.
 */
static bool bind(Derivation *d, FuncPlaces *p, int i, Known *argument,
                 bool *again)
{
    const Value *param = p->f->params.at[i];
    if (!argument->type.rank && param->type.rank)
        argument->type = param->type;
    for (Axis axis = 0; axis < AXES; axis++) {
        Placement *own = &p->of[param->number].on[axis];
        Placement by = through_rows(d->m, axis, argument->placed.on[axis],
                                    &argument->type, &param->type);
        if (by.how == PLACED_ANY)
            by = zero_placed(d->m, axis, &param->type);
        if (mesh_axis(&d->m->mesh, axis) == 1 || placement_equal(*own, by))
            continue;
        if (p->derived && by.how == PLACED_ANY)
            continue;
        if (p->derived && own->how != PLACED_ANY)
            return derivation_fails(
                d, arena_printf(d->arena, "%s of %s", param->name, p->f->name),
                axis, "it is placed otherwise in another call");
        *own = by;
        *again = true;
    }
    return true;
}

static bool walk_call(Derivation *d, const Stmt *s)
{
    FuncPlaces *p = places_of(d, s->func);
    bool again = !p->derived;
    for (int i = 0; i < s->arguments.count; i++) {
        Known *argument = known(d, s->arguments.at[i]);
        if (!argument)
            ice("%s is given to %s, and nothing gives it", s->arguments.at[i],
                s->func->name);
        if (!bind(d, p, i, argument, &again))
            return false;
    }
    if (again && !derive_func(d, p))
        return false;
    for (int i = 0; i < s->results.count; i++) {
        const Value *v = s->func->results.at[i];
        int weight = module_find_weight(d->m, s->results.at[i], s->func->stack);
        know(d, s->results.at[i], v->type, p->of[v->number]);
        if (weight >= 0 && d->m->weights.at[weight].derived)
            d->prepared[weight] = p->of[v->number];
    }
    return true;
}

static bool walk_body(Derivation *d, const Stmt *s);

static bool walk_statement(Derivation *d, const Stmt *s)
{
    switch (s->kind) {
    case STEP_CALL:
        return walk_call(d, s);
    case STEP_REPEAT: case STEP_CHUNKS: case STEP_MICROS: case STEP_GROUPS:
        return walk_body(d, s) && walk_body(d, s);
    case STEP_ZERO:
        know(d, s->results.at[0], (Type){0}, everywhere(PLACED_ANY));
        return true;
    case STEP_UPDATE: case STEP_COUNT: case STEP_SITES: case STEP_NORM:
        break;          /* of all ranks: see docs/architecture.md, 3a */
    }
    return true;
}

static bool walk_body(Derivation *d, const Stmt *s)
{
    for (int i = 0; i < s->body.count; i++)
        if (!walk_statement(d, s->body.at[i]))
            return false;
    return true;
}

static bool walk_step(Derivation *d, const Step *step)
{
    Type type;
    d->known.count = 0;
    d->where = arena_printf(d->arena, "step %s", step->name);
    for (int i = 0; given_names[i]; i++)
        if (given_type(d->m, given_names[i], &type))
            know(d, given_names[i], type,
                 given_placed(d->m, given_names[i], &type));
    for (int i = 0; i < STEP_TOTALS; i++)
        know(d, step_totals[i], type_of(DT_F64, 0, NULL),
             everywhere(PLACED_ANY));
    for (int i = 0; i < step->body.count; i++)
        if (!walk_statement(d, step->body.at[i]))
            return false;
    return true;
}

/* A step's text is that of all stages; where the order of their actions matters
 * verify_stages.c looks. */
static bool derive(Derivation *d)
{
    for (int i = 0; i < d->m->funcs.count; i++) {
        const Func *f = d->m->funcs.at[i];
        FuncPlaces p = {
            .f = f,
            .of = arena_alloc(d->arena,
                              ((size_t)f->values.count + 1) * sizeof *p.of),
        };
        list_push(d->arena, &d->funcs, p);
    }
    d->prepared = arena_alloc(d->arena, ((size_t)d->m->weights.count + 1)
                                            * sizeof *d->prepared);
    for (int i = 0; i < d->m->steps.count; i++)
        if (!walk_step(d, d->m->steps.at[i]))
            return false;
    return true;
}

void node_place(const Module *m, Node *node)
{
    const Placement *in[MAX_INPUTS];
    Placement *out[MAX_RESULTS];
    Buf why = {0};
    for (int i = 0; i < node->inputs; i++)
        in[i] = node->in[i]->placed;
    for (int i = 0; i < node->results; i++)
        out[i] = node->out[i]->placed;
    Axis wrong = place_results(m, node, in, out, &why);
    if (wrong != AXES)
        ice("%s = %s: along %s %s", node->out[0]->name, op_info[node->op].name,
            axis_names[wrong], why.text);
}

static Placement settled(const Derivation *d, int func, int value, Axis axis)
{
    Placement p = d->funcs.at[func].of[value].on[axis];
    bool own = d->funcs.at[func].derived && mesh_axis(&d->m->mesh, axis) > 1;
    return own && p.how != PLACED_ANY ? p : placed(PLACED_WHOLE);
}

bool module_place(Module *m, Buf *why)
{
    Derivation d = { .m = m, .arena = arena_new(), .why = why };
    bool fine = derive(&d);
    for (int i = 0; fine && i < m->funcs.count; i++)
        for (int j = 0; j < m->funcs.at[i]->values.count; j++)
            for (Axis axis = 0; axis < AXES; axis++)
                m->funcs.at[i]->values.at[j]->placed[axis] =
                    settled(&d, i, j, axis);
    m->placed = fine && mesh_ranks(&m->mesh) > 1;
    arena_free(d.arena);
    return fine;
}

/* As it is said of it? Of weights nothing is, in a text. */
static bool value_holds(Derivation *d, int func, const Value *v)
{
    for (Axis axis = 0; axis < AXES; axis++)
        if (v->kind != VALUE_WEIGHT
            && !placement_equal(v->placed[axis],
                                settled(d, func, v->number, axis)))
            return derivation_fails(d, v->name, axis, "it is placed otherwise "
                                    "than its function makes it");
    return true;
}

bool module_placements_hold(const Module *m, Buf *why)
{
    Derivation d = { .m = m, .arena = arena_new(), .why = why };
    bool fine = derive(&d);
    for (int i = 0; fine && i < m->funcs.count; i++) {
        d.where = arena_printf(d.arena, "func %s", m->funcs.at[i]->name);
        for (int j = 0; fine && j < m->funcs.at[i]->values.count; j++)
            fine = value_holds(&d, i, m->funcs.at[i]->values.at[j]);
    }
    arena_free(d.arena);
    return fine;
}
