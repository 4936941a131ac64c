/* rows.c: the function of a row kernel. Threads share the tokens; each goes
 * over a row in passes of 16 columns (see kernels.c in ir/). Before a pass come
 * the row values that it wants, after it its reductions, folded. */
#include "generate.h"

/* ---- a pass ---- */
static bool in_pass(const Generate *g, const Node *n)
{
    return n->phase == g->phase
        && (node_is_reduction(n)
            || (n->out[0]->in_memory && !type_is_row_value(&n->out[0]->type)));
}

static bool has_loop(const Generate *g)
{
    for (int i = 0; i < g->k->nodes.count; i++)
        if (in_pass(g, g->k->nodes.at[i]))
            return true;
    return false;
}

/* Row values of this pass that are no reductions, and their stores. */
static void row_values(Generate *g, ProgBlock *b)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        Node *n = g->k->nodes.at[i];
        Value *v = n->out[0];
        if (n->phase != g->phase || node_is_reduction(n)
            || !type_is_row_value(&v->type) || v->type.rank == 0)
            continue;
        ProgExpr *value = row_value(g, b, v);
        if (v->in_memory)
            ps_store(g->p, b, px_var(g->p, g->pointers[v->number]),
                     row_index(g, v), value);
    }
}

/* What the pass reads a row value at a time, loaded before its loop. */
static void load_row_values(Generate *g, ProgBlock *b)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        Node *n = g->k->nodes.at[i];
        if (!kernel_computes(g->f, g->kernel, n, g->phase))
            continue;
        for (int j = 0; j < n->inputs; j++) {
            Value *in = n->in[j];
            bool id = n->op == OP_gather && j == 1;
            if (id
                || (in->kind != VALUE_WEIGHT && type_is_row_value(&in->type)))
                row_value(g, b, in);
            else if (!(n->op == OP_gather && j == 0))
                point_at_row(g, b, in);
        }
        if (n->out[0]->in_memory)
            point_at_row(g, b, n->out[0]);
    }
}

typedef struct Accumulator { Node *node; ProgVar *lanes; } Accumulator;

static ProgVar *open_accumulator(Generate *g, ProgBlock *b, const Node *n)
{
    const char *name = arena_printf(g->l->arena, "%s_lanes",
                                    last_part(g->l, n->out[0]->name));
    ProgVar *lanes = prog_local(g->p, g->func, name, prog_f32x16());
    double from = n->op == OP_rowmax ? -3.4028234663852886e38 : 0;
    ps_let(g->p, b, lanes, call1(g, "splat", px_f32(g->p, from)));
    return lanes;
}

static void accumulate(Generate *g, ProgBlock *body, const Accumulator *a)
{
    ProgExpr *x = lanes_of(g, body, a->node->in[0]),
             *old = px_var(g->p, a->lanes);
    ProgExpr *fresh = a->node->op == OP_rowmax ? call2(g, "max16", x, old)
                                               : px_add(g->p, old, x);
    ps_set(g->p, body, a->lanes, keep_lanes(g, fresh, old));
}

/* The folded value of a reduction becomes a row value. */
static void close_accumulator(Generate *g, ProgBlock *b, const Accumulator *a)
{
    Value *v = a->node->out[0];
    ProgExpr *value = call1(g,
                            a->node->op == OP_rowmax ? "fold_max" : "fold_add",
                            px_var(g->p, a->lanes));
    if (a->node->op == OP_mean)
        value = px_div(g->p, value,
                       px_cast(g->p, prog_f32(), dim_size(g->l, g->width)));
    ProgVar *local = local_of(g, v, prog_f32());
    ps_let(g->p, b, local, value);
    g->locals[v->number] = local;
    if (v->in_memory)
        ps_store(g->p, b, px_var(g->p, g->pointers[v->number]), row_index(g, v),
                 px_var(g->p, local));
}

enum { MOST_ACCUMULATORS = 16 };

/* Sixteen columns of the pass: its stores, then its sums. */
static void sixteen(Generate *g, ProgBlock *body, const Accumulator *open,
                    int count)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        Node *n = g->k->nodes.at[i];
        if (!in_pass(g, n) || node_is_reduction(n))
            continue;
        ProgExpr *value = lanes_of(g, body, n->out[0]);
        const ProgVar *row = g->row_pointers[n->out[0]->number];
        store_lanes(g, body, px_var(g->p, row), value);
    }
    for (int i = 0; i < count; i++)
        accumulate(g, body, &open[i]);
    forget_lanes(g);
}

/* All columns: whole sixteens, then the rest of a width that is no multiple of
 * 16. */
static void all_columns(Generate *g, ProgBlock *b, const Accumulator *open,
                        int count)
{
    Prog *p = g->p;
    bool ragged = g->ragged;
    ProgExpr *end = ragged ? px_var(p, g->rest) : dim_size(g->l, g->width);
    if (g->l->m->dims.at[g->width].size >= 16) {
        g->ragged = false;
        g->column = prog_local(p, g->func, "c", prog_i64());
        ProgBlock *body = ps_for(p, b, g->column, px_int(p, 0), end,
                                 px_int(p, 16));
        sixteen(g, body, open, count);
    }
    g->ragged = ragged;
    g->column = g->rest;
    if (ragged)
        sixteen(g, b, open, count);
}

static void pass_over_row(Generate *g, ProgBlock *b)
{
    Accumulator open[MOST_ACCUMULATORS];
    int count = 0;
    row_values(g, b);
    if (!has_loop(g))
        return;
    load_row_values(g, b);
    for (int i = 0; i < g->k->nodes.count; i++) {
        Node *n = g->k->nodes.at[i];
        if (n->phase != g->phase || !node_is_reduction(n))
            continue;
        if (count == MOST_ACCUMULATORS)
            ice("%s: too many reductions in one pass", g->k->name);
        open[count++] = (Accumulator){ n, open_accumulator(g, b, n) };
    }
    all_columns(g, b, open, count);
    for (int i = 0; i < count; i++)
        close_accumulator(g, b, &open[i]);
}

void generate_rows(Generate *g)
{
    ProgBlock *b = &g->func->body;
    dropout_begin(g, b);
    if (g->ragged) {
        g->rest = prog_local(g->p, g->func, "rest", prog_i64());
        int64_t width = g->l->m->dims.at[g->width].size;
        ps_let(g->p, b, g->rest, px_int(g->p, width / 16 * 16));
    }
    ProgVar *r = prog_local(g->p, g->func, "r", prog_i64());
    ProgExpr *me = px_var(g->p, g->me), *rows = px_var(g->p, g->rows);
    b = ps_for(g->p, b, r, call2(g, "share_start", me, rows),
               call2(g, "share_end", me, rows), px_int(g->p, 1));
    g->row = g->token = px_var(g->p, r);
    if (g->inner) {
        ProgVar *h = prog_local(g->p, g->func, "h", prog_i64());
        b = ps_for(g->p, b, h, px_int(g->p, 0), dim_size(g->l, g->inner),
                   px_int(g->p, 1));
        ProgVar *rh = prog_local(g->p, g->func, "rh", prog_i64());
        ps_let(g->p, b, rh,
               px_add(g->p,
                      px_mul(g->p, px_var(g->p, r), dim_size(g->l, g->inner)),
                      px_var(g->p, h)));
        g->row = px_var(g->p, rh);
    }
    dropout_row(g, b);
    for (g->phase = 0; g->phase < kernel_phases(g->k); g->phase++)
        pass_over_row(g, b);
}
