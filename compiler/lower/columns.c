/* columns.c: the function of a column kernel: sums over tokens, one chain a column
 * in ascending order. Threads share the columns, 16 at a time. */
#include "generate.h"

enum { MOST_SUMS = 8 };

static void load_row(Generate *g, ProgBlock *b)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++) {
            Value *in = n->in[j];
            if (inside(g, in) || (n->op == OP_colsum && j == 1) || in->kind == VALUE_SCALAR)
                continue;
            if (in->kind != VALUE_WEIGHT && type_is_row_value(&in->type))
                row_value(g, b, in);
            else
                point_at_row(g, b, in);
        }
    }
    for (int i = 0; i < g->k->nodes.count; i++)
        if (type_is_row_value(&g->k->nodes.at[i]->out[0]->type))
            row_value(g, b, g->k->nodes.at[i]->out[0]);
}

/* All rows there are: tokens, or tokens times heads. */
static ProgExpr *all_rows(Generate *g)
{
    ProgExpr *rows = px_var(g->p, g->rows);
    return g->inner ? px_mul(g->p, rows, dim_size(g->l, g->inner)) : rows;
}

void generate_columns(Generate *g)
{
    Prog *p = g->p;
    ProgBlock *b = &g->func->body;
    Node *sums[MOST_SUMS];
    ProgVar *lanes[MOST_SUMS];
    int count = 0;
    for (int i = 0; i < g->k->nodes.count; i++)
        if (g->k->nodes.at[i]->op == OP_colsum) {
            if (count == MOST_SUMS)
                ice("%s: too many sums in one kernel", g->k->name);
            sums[count++] = g->k->nodes.at[i];
        }
    ProgExpr *me = px_var(p, g->me);
    ProgExpr *blocks = px_div(p, px_add(p, dim_size(g->l, g->width), px_int(p, 15)), px_int(p, 16));
    g->column = prog_local(p, g->func, "c", prog_i64());
    b = ps_for(p, b, g->column, px_mul(p, px_int(p, 16), call2(g, "share_start", me, blocks)),
               px_mul(p, px_int(p, 16), call2(g, "share_end", me, blocks)), px_int(p, 16));
    for (int i = 0; i < count; i++) {
        p->here = sums[i]->origin.model;
        lanes[i] = prog_local(p, g->func, "total", prog_f32x16());
        ps_let(p, b, lanes[i], call1(g, "splat", px_f32(p, 0)));
    }
    ProgBlock *go_on = ps_if(p, b, px_var(p, g->accumulate), NULL);
    for (int i = 0; i < count; i++)
        ps_set(p, go_on, lanes[i],
               load_lanes(g, px_var(p, g->pointers[sums[i]->out[0]->number])));
    ProgVar *r = prog_local(p, g->func, "r", prog_i64());
    ProgBlock *body = ps_for(p, b, r, px_int(p, 0), all_rows(g), px_int(p, 1));
    g->row = g->token = px_var(p, r);
    if (g->inner)
        g->token = px_div(p, g->row, dim_size(g->l, g->inner));
    load_row(g, body);
    for (int i = 0; i < count; i++) {
        ProgExpr *x = lanes_of(g, body, sums[i]->in[0]);
        p->here = sums[i]->origin.model;
        ps_set(p, body, lanes[i], px_add(p, px_var(p, lanes[i]), x));
    }
    for (int i = 0; i < count; i++)
        store_lanes(g, b, px_var(p, g->pointers[sums[i]->out[0]->number]), px_var(p, lanes[i]));
}
