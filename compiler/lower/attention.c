/* attention.c: calls of attention. Of a sequence that several ranks share a
 * call does a chunk of queries; what else goes a chunk at a time begins so. */
#include "calls.h"

void set_field(Calls *c, ProgVar *record, const char *field,
               ProgExpr *value)
{
    ps_field_set(c->p, &c->func->body, px_var(c->p, record), field, value);
}

ProgExpr *block_number(Calls *c)
{
    int64_t before = stack_first(c->l->m, c->f->stack);
    ProgExpr *block = at_field(c, "block");
    return before ? px_add(c->p, px_int(c->p, before), block) : block;
}

static void set_dropout(Calls *c, ProgVar *a, const Node *n)
{
    Prog *p = c->p;
    if (n->attrs.rate == 0)
        return;
    ProgExpr *control = at_field(c, "control");
    set_field(c, a, "rate",
        px_select(p, px_field(p, control, "dropout"), px_f32(p, n->attrs.rate),
                  px_f32(p, 0)));
    ProgExpr *site = px_add(p, px_int(p, 1 + n->attrs.site),
                            px_mul(p, block_number(c),
                                   px_int(p, c->l->m->sites_per_block)));
    set_field(c, a, "site", px_cast(p, prog_u32(), site));
    set_field(c, a, "step",
              px_cast(p, prog_u32(), px_field(p, control, "step")));
    set_field(c, a, "seed", px_field(p, control, "seed"));
    set_field(c, a, "sequence", at_field(c, "first"));
    if (c->l->m->mesh.tensor == 1)
        return;
    ProgExpr *heads = dim_size(c->l, module_find_dim(c->l->m, "H"));
    set_field(c, a, "head", px_mul(p, px_field(p, control, "slice"), heads));
    set_field(c, a, "all_heads",
        px_mul(p, px_int(p, c->l->m->mesh.tensor), heads));
}

/* How many keys there are, and the rows that they lie in. */
static void set_keys(Calls *c, ProgVar *a, const Node *n)
{
    ProgExpr *sequence = at_field(c, "sequence");
    if (!n->attrs.cached) {
        set_field(c, a, "keys", sequence);
        set_field(c, a, "key_rows", sequence);
        return;
    }
    ProgExpr *room = dim_size(c->l, n->in[1]->type.dims[1]);
    set_field(c, a, "key_rows", room);
    if (n->attrs.cross) {           /* all rows, of which lengths count */
        set_field(c, a, "keys", room);
        return;
    }
    set_field(c, a, "keys", px_add(c->p, at_field(c, "position"), sequence));
    set_field(c, a, "pos", at_field(c, "position"));
}

/* What the flags of an attention add to its operands, from `next` on. */
static void set_options(Calls *c, ProgVar *a, const Node *n, int next)
{
    const Attrs *at = &n->attrs;
    if (at->alibi)
        set_field(c, a, "alibi", pointer_to(c, n->in[next++]));
    if (at->edges)
        set_field(c, a, "edges", pointer_to(c, n->in[next++]));
    if (!at->relative)
        return;
    ProgExpr *distances = dim_size(c->l, n->in[next + 1]->type.dims[0]);
    set_field(c, a, "q2", pointer_to(c, n->in[next]));
    set_field(c, a, "table", pointer_to(c, n->in[next + 1]));
    set_field(c, a, "zero", px_div(c->p, distances, px_int(c->p, 2)));
    if (n->op != OP_relative_backward)
        return;
    set_field(c, a, "dq2", pointer_to(c, n->out[3]));
    set_field(c, a, "dtable", pointer_to(c, n->out[4]));
    set_field(c, a, "table_rows", distances);
    set_field(c, a, "dtable_init", at_field(c, "accumulate"));
}

/* An Attention filled in for a node; fields that are 0 are left out. */
static ProgVar *attention_record(Calls *c, const Node *n)
{
    Prog *p = c->p;
    const Attrs *at = &n->attrs;
    const Module *m = c->l->m;
    bool weights = n->op == OP_attention_weights;
    int lengths = weights ? 2 : 3;
    int options = weights ? 3 : n->op == OP_attention ? 4 : 6;
    const ProgRecord *attention = prog_runtime_record(p, "Attention");
    ProgVar *a = prog_local(p, c->func,
                            weights     ? "weights"
                            : at->cross ? "cross"
                                        : "a",
                            prog_record_type(attention));
    ps_let(p, &c->func->body, a, NULL);
    set_field(c, a, "q", pointer_to(c, n->in[0]));
    set_field(c, a, "k", pointer_to(c, n->in[1]));
    if (!weights)
        set_field(c, a, "v", pointer_to(c, n->in[2]));
    set_field(c, a, "lengths", pointer_to(c, n->in[lengths]));
    set_options(c, a, n, options);
    set_field(c, a, "batch", at_field(c, "batch"));
    set_field(c, a, "queries", at_field(c, "sequence"));
    set_keys(c, a, n);
    int heads = module_find_dim(m, "H"), kv = module_find_dim(m, "G");
    set_field(c, a, "heads", dim_size(c->l, heads));
    set_field(c, a, "kv_heads", dim_size(c->l, kv < 0 ? heads : kv));
    set_field(c, a, "head_dim", dim_size(c->l, module_find_dim(m, "D")));
    if (at->window)
        set_field(c, a, "window", px_int(p, at->window));
    if (at->causal)
        set_field(c, a, "causal", px_i32(p, 1));
    set_field(c, a, "scale", px_f32(p, at->scale));
    set_dropout(c, a, n);
    return a;
}

int last_dim(const Value *v)
{
    return v->type.dims[v->type.rank - 1];
}

/* ---- of a sequence that several ranks share: a call a chunk of queries ----
 */
ProgExpr *chunk_of(Calls *c)
{
    return px_field(c->p, at_field(c, "control"), "chunk");
}

OwnChunk own_chunk(Calls *c)
{
    Prog *p = c->p;
    OwnChunk at = { .b = prog_local(p, c->func, "b", prog_i64()),
                    .half = prog_local(p, c->func, "half", prog_i64()) };
    at.queries = px_div(p, at_field(c, "sequence"), px_int(p, 2));
    at.keys = px_mul(p, at_field(c, "sequence"),
                     px_int(p, c->l->m->mesh.context));
    at.rows = px_add(p, px_mul(p, px_var(p, at.b), at_field(c, "sequence")),
                     px_mul(p, px_var(p, at.half), at.queries));
    return at;
}

ProgBlock *each_chunk(Calls *c, const OwnChunk *at)
{
    Prog *p = c->p;
    ProgBlock *body = ps_for(p, &c->func->body, at->b, px_int(p, 0),
                             at_field(c, "batch"), px_int(p, 1));
    return ps_for(p, body, at->half, px_int(p, 0), px_int(p, 2), px_int(p, 1));
}

ProgExpr *chunk_position(Calls *c, const OwnChunk *at)
{
    Prog *p = c->p;
    ProgExpr *chunk = chunk_of(c);
    ProgExpr *late =
        px_sub(p, px_int(p, 2 * c->l->m->mesh.context - 1), chunk);
    ProgExpr *early = px_eq(p, px_var(p, at->half), px_int(p, 0));
    return px_mul(p, px_select(p, early, chunk, late), at->queries);
}

static void set_in(Calls *c, ProgBlock *b, ProgVar *a, const char *field,
                   ProgExpr *value)
{
    ps_field_set(c->p, b, px_var(c->p, a), field, value);
}

ProgExpr *chunk_rows_of(Calls *c, const OwnChunk *at, Value *v,
                               ProgExpr *width)
{
    return px_offset(c->p, pointer_to(c, v), px_mul(c->p, at->rows, width));
}

/* Where the part of dk or dv that these queries make begins. */
static ProgExpr *part_of_keys(Calls *c, const OwnChunk *at, Value *v,
                              ProgExpr *width)
{
    Prog *p = c->p;
    ProgExpr *part = px_add(p, px_mul(p, px_var(p, at->b), px_int(p, 2)),
                            px_var(p, at->half));
    return px_offset(p, pointer_to(c, v),
                     px_mul(p, px_mul(p, part, at->keys), width));
}

/* Queries for relative positions; the table's gradient goes on from chunk to
 * chunk. */
static void set_chunk_relative(Calls *c, ProgBlock *body, ProgVar *a,
                               const Node *n, const OwnChunk *at)
{
    Prog *p = c->p;
    ProgExpr *wide = dim_size(c->l, last_dim(n->in[0]));
    bool back = n->op == OP_relative_backward;
    int q2 = (back ? 6 : 4) + n->attrs.edges;
    set_in(c, body, a, "q2", chunk_rows_of(c, at, n->in[q2], wide));
    if (!back)
        return;
    ProgExpr *later = px_lt(p, px_int(p, 0), px_add(p, px_var(p, at->b),
                                                    px_var(p, at->half)));
    set_in(c, body, a, "dq2", chunk_rows_of(c, at, n->out[3], wide));
    set_in(c, body, a, "dtable_init",
           px_or(p, at_field(c, "accumulate"), later));
}

static void set_chunk(Calls *c, ProgBlock *body, ProgVar *a, const Node *n,
                      const OwnChunk *at)
{
    Prog *p = c->p;
    const Module *m = c->l->m;
    bool back = n->op != OP_attention;
    int edges = (back ? 6 : 4) + n->attrs.alibi;
    ProgExpr *wide = dim_size(c->l, last_dim(n->in[0]));
    ProgExpr *narrow = px_div(p, dim_size(c->l, last_dim(n->in[1])),
                              px_int(p, n->attrs.context));
    ProgExpr *heads = dim_size(c->l, module_find_dim(m, "H"));
    ProgExpr *all = px_mul(p, px_mul(p, px_var(p, at->b), at->keys), narrow);
    ProgExpr *part = px_add(p, px_mul(p, px_var(p, at->b), px_int(p, 2)),
                            px_var(p, at->half));
    ProgExpr *stats = px_mul(p, px_mul(p, part, heads),
                             px_mul(p, at->queries, px_int(p, 2)));
    set_in(c, body, a, "q", chunk_rows_of(c, at, n->in[0], wide));
    set_in(c, body, a, "k", px_offset(p, pointer_to(c, n->in[1]), all));
    set_in(c, body, a, "v", px_offset(p, pointer_to(c, n->in[2]), all));
    set_in(c, body, a, "lengths",
           px_offset(p, pointer_to(c, n->in[3]), px_var(p, at->b)));
    set_in(c, body, a, "pos", chunk_position(c, at));
    if (n->attrs.edges)
        set_in(c, body, a, "edges",
               px_offset(p, pointer_to(c, n->in[edges]),
                         px_mul(p, at->rows, at->keys)));
    if (n->attrs.relative)
        set_chunk_relative(c, body, a, n, at);
    if (n->attrs.rate != 0)
        set_in(c, body, a, "sequence",
               px_add(p, at_field(c, "first"), px_var(p, at->b)));
    set_in(c, body, a, "stats",
           px_offset(p, pointer_to(c, back ? n->in[4] : n->out[1]), stats));
    if (!back) {
        set_in(c, body, a, "out", chunk_rows_of(c, at, n->out[0], wide));
        return;
    }
    set_in(c, body, a, "dout", chunk_rows_of(c, at, n->in[5], wide));
    set_in(c, body, a, "dq", chunk_rows_of(c, at, n->out[0], wide));
    set_in(c, body, a, "dk", part_of_keys(c, at, n->out[1], narrow));
    set_in(c, body, a, "dv", part_of_keys(c, at, n->out[2], narrow));
}

static void call_chunks(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgVar *a = attention_record(c, n);
    OwnChunk at = own_chunk(c);
    set_field(c, a, "batch", px_int(p, 1));
    set_field(c, a, "queries", at.queries);
    set_field(c, a, "keys", at.keys);
    set_field(c, a, "key_rows", at.keys);
    set_field(c, a, "all_queries", at.keys);
    ProgBlock *body = each_chunk(c, &at);
    set_chunk(c, body, a, n, &at);
    const char *name = n->op == OP_attention ? "attention_forward"
                                             : "attention_backward";
    ps_do(p, body, px_callv(p, prog_library(p, name), px_var(p, c->me),
                            px_address(p, px_var(p, a)), NULL));
}

void call_attention(Calls *c, const Node *n)
{
    if (n->attrs.context > 1) {
        call_chunks(c, n);
        return;
    }
    Prog *p = c->p;
    ProgVar *a = attention_record(c, n);
    ProgExpr *args[3] = { px_var(p, c->me), px_address(p, px_var(p, a)) };
    if (n->op == OP_attention_weights) {
        args[2] = pointer_to(c, n->out[0]);
        ps_do(p, &c->func->body,
              px_call(p, prog_library(p, "attention_weights"), 3, args));
        return;
    }
    bool back = n->op != OP_attention;
    if (back) {
        /* forward's results, which the kernel only reads */
        set_field(c, a, "stats", pointer_to(c, n->in[4]));
        set_field(c, a, "dout", pointer_to(c, n->in[5]));
        set_field(c, a, "dq", pointer_to(c, n->out[0]));
        set_field(c, a, "dk", pointer_to(c, n->out[1]));
        set_field(c, a, "dv", pointer_to(c, n->out[2]));
    } else {
        set_field(c, a, "out", pointer_to(c, n->out[0]));
        set_field(c, a, "stats", pointer_to(c, n->out[1]));
    }
    const char *name = back ? "attention_backward" : "attention_forward";
    ps_do(p, &c->func->body, px_call(p, prog_library(p, name), 2, args));
}
