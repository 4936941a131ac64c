/* columns.c: the function of a column kernel: sums over tokens, one chain a
 * column in ascending order. Threads share the columns, 16 at a time. */
#include "generate.h"

static void load_row(Generate *g, ProgBlock *b)
{
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        for (int j = 0; j < n->inputs; j++) {
            Value *in = n->in[j];
            if (inside(g, in) || (n->op == OP_colsum && j == 1)
                || in->kind == VALUE_SCALAR)
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

/* sum[c] (op) for this thread's columns. */
typedef struct Columns { Generate *g; ProgVar *from, *to; } Columns;

static ProgBlock *each_column(const Columns *columns, ProgBlock *b)
{
    Generate *g = columns->g;
    g->column = prog_local(g->p, g->func, "c", prog_i64());
    return ps_for(g->p, b, g->column, px_var(g->p, columns->from),
                  px_var(g->p, columns->to), px_int(g->p, 16));
}

static Columns share_columns(Generate *g, ProgBlock *b)
{
    Prog *p = g->p;
    Columns columns = { .g = g,
                        .from = prog_local(p, g->func, "from", prog_i64()),
                        .to = prog_local(p, g->func, "to", prog_i64()) };
    ProgExpr *me = px_var(p, g->me);
    ProgExpr *up = px_add(p, dim_size(g->l, g->width), px_int(p, 15));
    ProgExpr *blocks = px_div(p, up, px_int(p, 16));
    ps_let(p, b, columns.from,
           px_mul(p, px_int(p, 16), call2(g, "share_start", me, blocks)));
    ps_let(p, b, columns.to,
           px_mul(p, px_int(p, 16), call2(g, "share_end", me, blocks)));
    return columns;
}

/* The sums lie in their accumulators, which stay in the nearest cache while all
 * rows pass, a row at a time as it lies in memory. */
void generate_columns(Generate *g)
{
    Prog *p = g->p;
    ProgBlock *b = &g->func->body;
    Columns columns = share_columns(g, b);
    ProgExpr *begins = px_eq(p, px_var(p, g->accumulate), px_i32(p, 0));
    ProgBlock *begin = ps_if(p, b, begins, NULL);
    ProgBlock *zero = each_column(&columns, begin);
    for (int i = 0; i < g->k->nodes.count; i++) {
        const Node *n = g->k->nodes.at[i];
        if (n->op == OP_colsum)
            store_lanes(g, zero, px_var(p, g->pointers[n->out[0]->number]),
                        px_f32(p, 0));
    }
    dropout_begin(g, b);
    ProgVar *r = prog_local(p, g->func, "r", prog_i64());
    b = ps_for(p, b, r, px_int(p, 0), all_rows(g), px_int(p, 1));
    g->row = g->token = px_var(p, r);
    if (g->inner)
        g->token = px_div(p, g->row, dim_size(g->l, g->inner));
    dropout_row(g, b);
    load_row(g, b);
    b = each_column(&columns, b);
    for (int i = 0; i < g->k->nodes.count; i++) {
        Node *n = g->k->nodes.at[i];
        if (n->op != OP_colsum)
            continue;
        ProgExpr *x = lanes_of(g, b, n->in[0]);
        p->here = n->origin.model;
        ProgExpr *sum = px_var(p, g->pointers[n->out[0]->number]);
        store_lanes(g, b, sum, px_add(p, load_lanes(g, sum), x));
    }
}
