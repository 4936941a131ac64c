/* layout.c: where parameters lie, and the records through which emitted code
 * names them: Shared for those outside blocks, Block for one block's. Every
 * tensor starts at a multiple of 1024 floats, so that a block of the gradient
 * norm lies in one.
 *
 * Three layouts: weights (parameters, then tables), gradients (what is trained;
 * also the layout of each moment), and second (accumulators of second uses). */
#include "lowering.h"

enum { ALIGN_FLOATS = 1024 };

static int64_t aligned(int64_t floats)
{
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static int64_t weight_size(const Lower *l, const Weight *w)
{
    return aligned(type_elements(l->m, &w->type));
}

static bool trained(const Weight *w)
{
    return !w->constant && !w->frozen;
}

/* Whether a weight has a second accumulator: the embedding that the head
 * shares. */
static bool has_second(const Lower *l, int weight)
{
    for (int i = 0; i < l->m->funcs.count; i++)
        for (int j = 0; j < l->m->funcs.at[i]->gradients.count; j++) {
            const Gradient *g = &l->m->funcs.at[i]->gradients.at[j];
            if (g->weight == weight && g->site == 1)
                return true;
        }
    return false;
}

/* Offsets in a block, then of the others around L blocks, in the module's
 * order. */
static void place_weights(Lower *l)
{
    const Module *m = l->m;
    int64_t blocks = m->dims.at[module_find_dim(m, "L")].size;
    int64_t at = 0, gradient = 0;
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        l->weight_at[i] = l->gradient_at[i] = l->second_at[i] = -1;
        if (!w->per_block)
            continue;
        l->weight_at[i] = l->block_floats;
        l->block_floats += weight_size(l, w);
        if (trained(w)) {
            l->gradient_at[i] = l->block_gradient_floats;
            l->block_gradient_floats += weight_size(l, w);
        }
    }
    bool placed_blocks = false;
    for (int pass = 0; pass < 2; pass++)    /* tables behind all parameters */
        for (int i = 0; i < m->weights.count; i++) {
            const Weight *w = &m->weights.at[i];
            if (w->per_block && !placed_blocks) {
                l->block_at = at;
                l->block_gradient_at = gradient;
                at += blocks * l->block_floats;
                gradient += blocks * l->block_gradient_floats;
                placed_blocks = true;
            }
            if (w->per_block || w->constant != (pass == 1))
                continue;
            l->weight_at[i] = at;
            at += weight_size(l, w);
            if (trained(w)) {
                l->gradient_at[i] = gradient;
                gradient += weight_size(l, w);
            }
        }
    for (int i = 0; i < m->weights.count; i++)
        if (has_second(l, i)) {
            l->second_at[i] = gradient;
            gradient += weight_size(l, &m->weights.at[i]);
        }
    size_t bytes = (size_t)m->weights.count * sizeof(int64_t);
    l->second_pointers = arena_alloc(l->arena, bytes);
    for (int i = 0; i < m->weights.count; i++)
        l->second_pointers[i] = l->second_at[i] < 0 ? l->gradient_at[i]
                                                    : l->second_at[i];
    l->weight_floats = at;
    l->gradient_floats = gradient;
}

static ProgRecord *record_of(Lower *l, const char *name, bool per_block,
                             const char *comment)
{
    ProgRecord *r = prog_record(l->p, name, comment);
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->per_block != per_block)
            continue;
        const char *from = where(l, &w->origin);
        const char *text = arena_printf(l->arena, "%s%s%s",
                                        shape_comment(l, &w->type),
                                        *from ? "  " : "", from);
        prog_field(l->p, r, c_name(l, w->name), prog_pointer(PK_F32, false),
                   text);
    }
    return r;
}

/* void NAME(RECORD *to, float *base): the fields, from their offsets. */
static ProgFunc *pointing(Lower *l, const char *name, const char *comment,
                          ProgRecord *record, const int64_t *offsets)
{
    bool per_block = record == l->block;
    ProgFunc *f = prog_func(l->p, name, comment, prog_void());
    f->inlined = true;
    ProgVar *to = prog_param(l->p, f, "to", prog_pointer_to(record, false));
    ProgVar *base = prog_param(l->p, f, "base", prog_pointer(PK_F32, false));
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->per_block != per_block)
            continue;
        ProgExpr *value = offsets[i] < 0 ? px_null(l->p, base->type)
            : px_offset(l->p, px_var(l->p, base), px_int(l->p, offsets[i]));
        l->p->here = w->origin.model;
        ps_field_set(l->p, &f->body, px_var(l->p, to), c_name(l, w->name),
                     value);
    }
    l->p->here = (Loc){0};
    prog_define(l->p, f);
    return f;
}

static void call_record(Lower *l)
{
    Prog *p = l->p;
    l->call = prog_record(p, "Call",
                          "Where a call of a function stands in the batch.");
    prog_field(p, l->call, "control",
               prog_pointer_to(prog_runtime_record(p, "Control"), true),
               "what the runtime says");
    prog_field(p, l->call, "batch", prog_i64(), "sequences of this call");
    prog_field(p, l->call, "sequence", prog_i64(), "tokens of each");
    prog_field(p, l->call, "rows", prog_i64(), "tokens of all");
    prog_field(p, l->call, "stride", prog_i64(),
               "rows that its memory has room for");
    prog_field(p, l->call, "first", prog_i64(),
               "its first sequence, in the whole batch");
    prog_field(p, l->call, "position", prog_i64(),
               "of each sequence's first token");
    prog_field(p, l->call, "block", prog_i64(), "which block");
    prog_field(p, l->call, "accumulate", prog_i32(),
               "1: sums over tokens go on; 0: they begin");
    prog_field(p, l->call, "inv_count", prog_f32(),
               "1 / scored positions of the batch");
}

/* Where blocks lie among the parameters, and among the gradients. */
static void name_layout(Lower *l)
{
    Prog *p = l->p;
    int group = prog_add_wide_group(p, "Where blocks lie, in floats.");
    l->blocks_const = prog_const(p, group, "BLOCKS", l->block_at,
                                 "the first, among the parameters");
    l->block_const = prog_const(p, group, "BLOCK", l->block_floats, "one");
    l->gradient_blocks_const = prog_const(
        p, group, "GRADIENT_BLOCKS", l->block_gradient_at,
        "the first, among the gradients or moments");
    l->gradient_block_const = prog_const(p, group, "GRADIENT_BLOCK",
                                         l->block_gradient_floats, "one");
    l->gradients_const = prog_const(
        p, group, "GRADIENTS", l->gradient_floats,
        "all gradients, or one moment of each parameter");
}

void lower_records(Lower *l)
{
    size_t count = (size_t)l->m->weights.count;
    l->weight_at = arena_alloc(l->arena, count * sizeof *l->weight_at);
    l->gradient_at = arena_alloc(l->arena, count * sizeof *l->gradient_at);
    l->second_at = arena_alloc(l->arena, count * sizeof *l->second_at);
    place_weights(l);
    name_layout(l);
    l->shared = record_of(
        l, "Shared", false,
        "Parameters and tables outside the blocks; the same fields serve their "
        "gradients.");
    l->block = record_of(l, "Block", true,
        "A block's parameters; the same fields serve their gradients.");
    call_record(l);
    l->shared_weights = pointing(l, "shared_weights",
                                 "Where the parameters lie.", l->shared,
                                 l->weight_at);
    l->block_weights = pointing(l, "block_weights",
                                "A block's, from its first.", l->block,
                                l->weight_at);
    l->shared_sums = pointing(l, "shared_gradients",
                              "Where their gradients lie.", l->shared,
                              l->gradient_at);
    l->block_sums = pointing(l, "block_gradients", "A block's, from its first.",
                             l->block, l->gradient_at);
    l->shared_second = pointing(
        l, "shared_second_gradients",
        "The same, but of parameters that are used twice the second use's.",
        l->shared, l->second_pointers);
}
