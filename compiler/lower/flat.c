/* flat.c: the function of a kernel over all elements of a tensor, as they lie:
 * the optimizer's update. Threads share the elements, 16 at a time; `rows`
 * counts them. */
#include "generate.h"

/* The whole 16s, or the rest after them (tail). */
static void body_at(Generate *g, ProgBlock *b, ProgExpr *left)
{
    Prog *p = g->p;
    List(ProgVar *) results = {0};
    List(Value *) values = {0};
    for (int i = 0; i < g->f->values.count; i++) {
        Value *v = g->f->values.at[i];
        if (v->kind != VALUE_PARAM || !g->pointers[v->number])
            continue;
        ProgExpr *from = px_offset(p, px_var(p, g->pointers[v->number]),
                                   px_var(p, g->column));
        ProgVar *local = local_of(g, v, prog_f32x16());
        ps_let(p, b, local,
               left ? call2(g, "load_tail", from, left)
                    : call1(g, "load16", from));
        g->locals[v->number] = local;
    }
    for (int i = 0; i < g->k->nodes.count; i++) {
        Value *v = g->k->nodes.at[i]->out[0];
        if (!v->in_memory)
            continue;
        ProgExpr *x = lanes_of(g, b, v);
        if (x->kind != PE_VAR) {
            ProgVar *local = local_of(g, v, prog_f32x16());
            ps_let(p, b, local, x);
            g->locals[v->number] = local;
        }
        list_push(g->l->arena, &results, g->locals[v->number]);
        list_push(g->l->arena, &values, v);
    }
    for (int i = 0; i < results.count; i++) {
        const ProgVar *start = g->pointers[values.at[i]->number];
        ProgExpr *to = px_offset(p, px_var(p, start), px_var(p, g->column));
        ProgExpr *x = px_var(p, results.at[i]);
        if (left)
            ps_do(p, b,
                  px_callv(p, prog_library(p, "store_tail"), to, x, left,
                           NULL));
        else
            ps_do(p, b, call2(g, "store16", to, x));
    }
    memset(g->locals, 0, (size_t)g->f->values.count * sizeof *g->locals);
}

void generate_flat(Generate *g)
{
    Prog *p = g->p;
    ProgBlock *b = &g->func->body;
    ProgExpr *me = px_var(p, g->me), *n = px_var(p, g->rows);
    for (int i = 0; i < g->f->values.count; i++) {
        Value *v = g->f->values.at[i];
        if (v->kind != VALUE_SCALAR || g->pointers[i])
            continue;
        g->pointers[i] = prog_local(p, g->func, v->name, prog_f32());
        ps_let(p, b, g->pointers[i],
               px_field(p, px_var(p, g->control), v->name));
    }
    ProgExpr *blocks = px_div(p, px_add(p, n, px_int(p, 15)), px_int(p, 16));
    ProgVar *from = prog_local(p, g->func, "from", prog_i64());
    ProgVar *to = prog_local(p, g->func, "to", prog_i64());
    ps_let(p, b, from,
           px_mul(p, px_int(p, 16), call2(g, "share_start", me, blocks)));
    ps_let(p, b, to,
           px_mul(p, px_int(p, 16), call2(g, "share_end", me, blocks)));
    g->column = prog_local(p, g->func, "i", prog_i64());
    b = ps_for(p, b, g->column, px_var(p, from), px_var(p, to), px_int(p, 16));
    ProgExpr *left = px_sub(p, n, px_var(p, g->column));
    ProgBlock *rest;
    ProgBlock *whole = ps_if(p, b, px_le(p, px_int(p, 16), left), &rest);
    body_at(g, whole, NULL);
    body_at(g, rest, left);
}
