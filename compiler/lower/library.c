/* library.c: calls of the library's kernels (runtime/kernels/kernels.h): matrix
 * products, attention, pools, experts and the like, an op each. Arguments come
 * in the order of the kernel's parameters. */
#include "calls.h"
#include "../../runtime/kernels/kernels.h"

/* Whether a product goes on from operand `init`: it is there; in a weight's
 * accumulator only after the first call. */
static ProgExpr *goes_on_from(Calls *c, const Node *n, int init)
{
    if (n->inputs <= init)
        return px_i32(c->p, 0);
    if (value_root(n->in[init])->kind == VALUE_GRADIENT)
        return at_field(c, "accumulate");
    return px_i32(c->p, 1);
}

static void call_matmul(Calls *c, const Kernel *k)
{
    Prog *p = c->p;
    const Node *n = k->nodes.at[0];
    const Value *out = k->nodes.at[k->nodes.count - 1]->out[0];
    bool weight = n->op == OP_matmul_weight;
    /* of the weight [N, K]: w, or what its gradient sums up to */
    const Type *w = weight ? &n->in[2]->type : &n->in[1]->type;
    ProgExpr *args[9] = {
        px_var(p, c->me), pointer_to(c, (Value *)out), pointer_to(c, n->in[0]),
        pointer_to(c, n->in[1]),
    };
    int count = 4;
    if (n->op == OP_matmul)
        args[count++] = k->nodes.count > 1
            ? pointer_to(c, k->nodes.at[1]->in[1])
            : px_null(p, prog_pointer(PK_F32, true));
    args[count++] = rows_of(c, &n->in[0]->type);
    args[count++] = dim_size(c->l, w->dims[1]);
    args[count++] = dim_size(c->l, w->dims[0]);
    if (n->op == OP_matmul_input)
        args[count++] = goes_on_from(c, n, 2);
    if (weight)
        args[count++] = at_field(c, "accumulate");
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, op_info[n->op].name), count, args));
}

static void call_scatter(Calls *c, const Node *n)
{
    Prog *p = c->p;
    const Type *table = &n->out[0]->type;
    ProgExpr *args[] = {
        px_var(p, c->me), pointer_to(c, n->in[2]), pointer_to(c, n->in[0]),
        pointer_to(c, n->in[1]), at_field(c, "rows"),
        dim_size(c->l, table->dims[1]), dim_size(c->l, table->dims[0]),
        at_field(c, "accumulate"),
    };
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, "scatter_add"), 8, args));
}

static void call_chain(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *args[] = {
        px_var(p, c->me), pointer_to(c, n->in[1]), pointer_to(c, n->in[0]),
        at_field(c, "rows"), at_field(c, "accumulate"),
    };
    ps_do(p, &c->func->body, px_call(p, prog_library(p, "chain_f64"), 5, args));
}

/* The cache of this block and slot, into which the rows of x go, if any. */
static void call_cache(Calls *c, const Node *n)
{
    Prog *p = c->p;
    Value *out = n->out[0];
    ProgExpr *slot = px_mul(p, dim_size(c->l, out->type.dims[1]),
                            width_of(c->l, &out->type));
    ProgVar *local = prog_local(p, c->func, c_name(c->l, out->name),
                                prog_pointer(PK_F32, false));
    ProgExpr *from = px_var(p, c->cache);
    if (n->attrs.slot)
        from = px_offset(p, from, px_mul(p, slot, px_int(p, n->attrs.slot)));
    ps_let(p, &c->func->body, local, from);
    c->pointers[out->number] = local;
    if (n->op == OP_recall)
        return;
    ProgExpr *args[] = {
        px_var(p, c->me), px_var(p, local), pointer_to(c, n->in[0]),
        at_field(c, "position"), at_field(c, "rows"),
        width_of(c->l, &out->type),
    };
    ps_do(p, &c->func->body, px_call(p, prog_library(p, "keep_rows"), 6, args));
}

/* A call under construction: arguments in order. */
typedef struct Line { Calls *c; ProgExpr *args[12]; int count; } Line;

static void put(Line *line, ProgExpr *e) { line->args[line->count++] = e; }
static void put_value(Line *line, Value *v)
{
    put(line, pointer_to(line->c, v));
}
static void put_null(Line *line)
{
    put(line, px_null(line->c->p, prog_pointer(PK_F32, true)));
}
static void put_field(Line *line, const char *name)
{
    put(line, at_field(line->c, name));
}
static void put_dim(Line *line, int dim)
{
    put(line, dim_size(line->c->l, dim));
}
static void put_int(Line *line, int64_t n) { put(line, px_int(line->c->p, n)); }

static Line begin_line(Calls *c)
{
    Line line = { .c = c };
    put(&line, px_var(c->p, c->me));
    return line;
}

static void end_line(Line *line, const char *function)
{
    Prog *p = line->c->p;
    ps_do(p, &line->c->func->body,
          px_call(p, prog_library(p, function), line->count, line->args));
}

/* Of shared sequences a chunk at a time: its first row is not the first of all.
 */
static void call_chunk_patches(Calls *c, const Node *n)
{
    Prog *p = c->p;
    OwnChunk at = own_chunk(c);
    ProgBlock *body = each_chunk(c, &at);
    ProgExpr *image = dim_size(c->l, last_dim(n->in[0]));
    ProgExpr *args[] = {
        px_var(p, c->me),
        chunk_rows_of(c, &at, n->out[0], dim_size(c->l, last_dim(n->out[0]))),
        px_offset(p, pointer_to(c, n->in[0]),
                  px_mul(p, px_var(p, at.b), image)),
        px_int(p, 1), at.queries, px_int(p, n->attrs.channels),
        px_int(p, n->attrs.size), px_int(p, n->attrs.patch),
        px_sub(p, px_int(p, n->attrs.skip), chunk_position(c, &at)),
    };
    ps_do(p, body, px_call(p, prog_library(p, "patches"), 9, args));
}

static void call_patches(Calls *c, const Node *n)
{
    if (c->l->m->mesh.context > 1) {
        call_chunk_patches(c, n);
        return;
    }
    Line line = begin_line(c);
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put_field(&line, "batch");
    put_field(&line, "sequence");
    put_int(&line, n->attrs.channels);
    put_int(&line, n->attrs.size);
    put_int(&line, n->attrs.patch);
    put_int(&line, n->attrs.skip);
    end_line(&line, "patches");
}

/* POOL_MEAN …, as kernels.h has it. */
static ProgExpr *pool_kind(Calls *c, int kind)
{
    static const ProgConst kinds[] = {
        [POOL_MEAN] = { .name = "POOL_MEAN", .value = POOL_MEAN },
        [POOL_SUM] = { .name = "POOL_SUM", .value = POOL_SUM },
        [POOL_MAX] = { .name = "POOL_MAX", .value = POOL_MAX },
        [POOL_FIRST] = { .name = "POOL_FIRST", .value = POOL_FIRST },
        [POOL_LAST] = { .name = "POOL_LAST", .value = POOL_LAST },
    };
    return px_const(c->p, &kinds[kind]);
}

static void call_pool(Calls *c, const Node *n)
{
    bool pools = n->op == OP_pool, max = n->op == OP_pool_max_spread;
    Line line = begin_line(c);
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put_value(&line, n->in[1]);
    if (max)
        put_value(&line, n->in[2]);
    else if (!pools)
        put_null(&line);
    put_field(&line, "batch");
    put_field(&line, "sequence");
    put_dim(&line, last_dim(n->in[0]));
    put(&line, pool_kind(c, max ? POOL_MAX : n->attrs.pool));
    end_line(&line, pools ? "pool" : "pool_spread");
}

/* The rank's chunks of sequences, for kernels that want to know. */
static ProgExpr *chunks_of(Calls *c)
{
    Prog *p = c->p;
    ProgVar *chunks =
        prog_local(p, c->func, "chunks",
                   prog_record_type(prog_runtime_record(p, "Chunks")));
    ps_let(p, &c->func->body, chunks, NULL);
    set_field(c, chunks, "batch", at_field(c, "batch"));
    set_field(c, chunks, "tokens",
              px_div(p, at_field(c, "sequence"), px_int(p, 2)));
    set_field(c, chunks, "rank", chunk_of(c));
    set_field(c, chunks, "ranks", px_int(p, c->l->m->mesh.context));
    return px_address(p, px_var(p, chunks));
}

/* The rank's own chunks, those of all, and a row a sequence of them. */
static void call_pool_chunks(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *chunks = chunks_of(c), *width = dim_size(c->l,
                                                       last_dim(n->in[0]));
    ProgExpr *kind = pool_kind(c, n->attrs.pool);
    ProgExpr *each = px_mul(p, px_mul(p, at_field(c, "batch"), px_int(p, 2)),
                            width);
    ProgExpr *own[] = { px_var(p, c->me), pointer_to(c, n->out[1]),
                        pointer_to(c, n->in[0]), pointer_to(c, n->in[1]),
                        chunks, width, kind };
    ProgExpr *all[] = { px_var(p, c->me), px_const(p, slice_talk(c->l, n)),
                        pointer_to(c, n->out[1]), each };
    ProgExpr *made[] = { px_var(p, c->me), pointer_to(c, n->out[0]),
                         pointer_to(c, n->out[1]), pointer_to(c, n->in[1]),
                         chunks, width, kind };
    ps_do(p, &c->func->body, px_call(p, prog_library(p, "pool_own"), 7, own));
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, "all_gather_f32"), 4, all));
    ps_do(p, &c->func->body,
          px_call(p, prog_library(p, "pool_chunks"), 7, made));
}

static void call_pool_chunks_spread(Calls *c, const Node *n)
{
    ProgExpr *chunks = chunks_of(c);
    Line line = begin_line(c);
    put_value(&line, n->out[0]);
    for (int i = 0; i < 4; i++)
        if (i < n->inputs)
            put_value(&line, n->in[i]);
        else
            put_null(&line);
    put(&line, chunks);
    put_dim(&line, last_dim(n->in[0]));
    put(&line, pool_kind(c, n->attrs.pool));
    end_line(&line, "pool_chunks_spread");
}

static void call_own_lengths(Calls *c, const Node *n)
{
    ProgExpr *chunks = chunks_of(c);
    Line line = begin_line(c);
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put(&line, chunks);
    end_line(&line, "own_lengths");
}

/* All sequences that there is room for, whole sixteens. */
static void call_sum_pooled(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *up = px_add(p, at_field(c, "batch"), px_int(p, 15));
    ProgExpr *rows = px_mul(p, px_div(p, up, px_int(p, 16)), px_int(p, 16));
    Line line = begin_line(c);
    put(&line, px_const(p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put(&line, px_mul(p, rows, dim_size(c->l, last_dim(n->out[0]))));
    end_line(&line, "all_reduce_into_f32");
}

static void call_dispatch(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgVar *d =
        prog_local(p, c->func, "dispatching",
                   prog_record_type(prog_runtime_record(p, "Dispatch")));
    ps_let(p, &c->func->body, d, NULL);
    set_field(c, d, "starts", pointer_to(c, n->out[0]));
    set_field(c, d, "order", pointer_to(c, n->out[1]));
    set_field(c, d, "place", pointer_to(c, n->out[2]));
    set_field(c, d, "keep", pointer_to(c, n->in[0]));
    set_field(c, d, "lengths", pointer_to(c, n->in[1]));
    set_field(c, d, "batch", at_field(c, "batch"));
    set_field(c, d, "sequence", at_field(c, "sequence"));
    set_field(c, d, "experts", dim_size(c->l, last_dim(n->in[0])));
    set_field(c, d, "k", dim_size(c->l, last_dim(n->out[1])));
    if (n->attrs.numerator) {
        set_field(c, d, "numerator", px_int(p, n->attrs.numerator));
        set_field(c, d, "denominator", px_int(p, n->attrs.denominator));
    }
    Line line = begin_line(c);
    put(&line, px_address(p, px_var(p, d)));
    end_line(&line, "dispatch");
}

/* Tokens to experts and back: the result, the operands, rows, experts, width.
 */
static void call_route(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    bool collects = n->op == OP_collect_rows, gate = n->op == OP_gate_products;
    bool tokens =
        collects || gate || n->op == OP_combine_rows || n->op == OP_top_k;
    const Value *experts =
        n->op == OP_gather_rows ? n->in[2] : n->in[n->op == OP_spread_rows];
    put_value(&line, n->out[0]);
    for (int i = 0; i < n->inputs; i++)
        put_value(&line, n->in[i]);
    if (collects)
        put_null(&line);
    if (tokens)
        put_field(&line, "rows");
    if (n->op == OP_top_k) {
        put_dim(&line, last_dim(n->in[0]));
        put_dim(&line, module_find_dim(c->l->m, "K"));
        end_line(&line, "top_k");
        return;
    }
    if (collects || n->op == OP_combine_rows)
        experts = n->in[1];
    if (gate)
        experts = n->in[2];
    int X = last_dim(experts);
    if (n->op == OP_gather_rows)
        X = module_find_dim(c->l->m, "X");
    put_dim(&line, X);
    put_dim(&line, last_dim(n->in[0]));
    end_line(&line,
             n->op == OP_combine_rows ? "collect_rows" : op_info[n->op].name);
}

/* Of a product in parts the first rank's alone. */
static ProgExpr *expert_bias(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *bias = pointer_to(c, n->in[3]);
    if (!n->attrs.partial)
        return bias;
    ProgExpr *slice = px_field(p, at_field(c, "control"), "slice");
    return px_select(p, px_eq(p, slice, px_int(p, 0)), bias,
                     px_null(p, bias->type));
}

static void call_grouped(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    bool matmul = n->op == OP_grouped_matmul, input = n->op == OP_grouped_input;
    bool bias = n->op == OP_grouped_bias;
    const Type *w = matmul || input ? &n->in[1]->type : &n->out[0]->type;
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    if (!bias)
        put_value(&line, n->in[1]);
    if (matmul && n->inputs == 4)
        put(&line, expert_bias(c, n));
    else if (matmul)
        put_null(&line);
    put_value(&line, n->in[bias ? 1 : 2]);
    put_dim(&line, w->dims[0]);
    if (!bias)
        put_dim(&line, w->dims[2]);
    put_dim(&line, w->dims[1]);
    if (input)
        put(&line, px_i32(c->p, n->inputs == 4));
    else if (!matmul)
        put_field(&line, "accumulate");
    end_line(&line, op_info[n->op].name);
}

static void call_preference(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    bool loss = n->op == OP_preference;
    put_value(&line, loss ? n->in[3] : n->out[0]);
    for (int i = 0; i < 3; i++)
        put_value(&line, n->in[i]);
    put(&line, px_f32(c->p, n->attrs.by));
    if (!loss)
        put(&line, scalar_of(c, n->in[3]));
    if (loss && c->l->m->mesh.context > 1)  /* all have it, the first counts */
        put(&line, px_select(c->p, px_eq(c->p, chunk_of(c), px_int(c->p, 0)),
                             at_field(c, "batch"), px_int(c->p, 0)));
    else
        put_field(&line, "batch");
    if (loss)
        put_field(&line, "accumulate");
    end_line(&line, loss ? "preference_loss" : "preference_grad");
}

/* Chunks of every rank, or the sums of this one's. */
static void call_context(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    bool gathers = reshard_kind(n) == RESHARD_GATHER_CONTEXT;
    put(&line, px_const(c->p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put_field(&line, "batch");
    put_field(&line, "sequence");
    put_dim(&line, last_dim(gathers ? n->in[0] : n->out[0]));
    end_line(&line, gathers ? "gather_chunks_f32" : "sum_chunks_f32");
}

/* A tensor rank's share of rows, and those of all. */
static void call_shares(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    ReshardKind kind = reshard_kind(n);
    bool own = kind == RESHARD_OWN_SHARE;
    if (!own)
        put(&line, px_const(c->p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put_field(&line, "batch");
    put(&line, share_of(c, "sequence"));
    if (own) {
        put_int(&line, module_shares(c->l->m));
        put(&line, px_field(c->p, at_field(c, "control"), "slice"));
    }
    put_dim(&line, last_dim(n->out[0]));
    end_line(&line, own                             ? "take_share"
                    : kind == RESHARD_GATHER_SHARES ? "gather_shares_f32"
                                                    : "sum_shares_f32");
}

/* Where the rows of a rank's experts begin, and whether there is room. */
static void call_own_starts(Calls *c, const Node *n)
{
    Prog *p = c->p;
    ProgExpr *message = px_const(p, slice_talk(c->l, n));
    ProgExpr *experts = dim_size(c->l, module_find_dim(c->l->m, "XR"));
    Line line = begin_line(c), fits = begin_line(c);
    put(&line, message);
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put(&line, experts);
    end_line(&line, "own_starts");
    if (!n->attrs.room)
        return;
    put(&fits, message);
    put_value(&fits, n->out[0]);
    put(&fits, experts);
    put(&fits, block_number(c));
    put_int(&fits, n->attrs.room);
    end_line(&fits, "rows_fit");
}

/* Rows of experts that ranks share: to them, or back. */
static void call_travel(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    put(&line, px_const(c->p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    for (int i = 0; i < n->inputs; i++)
        put_value(&line, n->in[i]);
    put_dim(&line, module_find_dim(c->l->m, "XR"));
    put_dim(&line, last_dim(n->out[0]));
    end_line(&line, reshard_kind(n) == RESHARD_SEND_ROWS ? "send_rows_f32"
                                                         : "return_rows_f32");
}

/* Columns of all ranks side by side, or this one's of them. */
static void call_columns(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    if (reshard_kind(n) == RESHARD_OWN_COLUMNS) {
        put_value(&line, n->out[0]);
        put_value(&line, n->in[0]);
        put(&line, rows_of(c, &n->in[0]->type));
        put_dim(&line, last_dim(n->out[0]));
        put_dim(&line, last_dim(n->in[0]));
        put(&line, px_field(c->p, at_field(c, "control"), "slice"));
        end_line(&line, "take_columns");
        return;
    }
    put(&line, px_const(c->p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put_dim(&line, last_dim(n->out[0]));
    put(&line, rows_of(c, &n->in[0]->type));
    put_dim(&line, last_dim(n->in[0]));
    end_line(&line, "gather_columns_f32");
}

/* All rows that there is room for, whole sixteens. */
static void call_all_reduce(Calls *c, const Node *n)
{
    Line line = begin_line(c);
    put(&line, px_const(c->p, slice_talk(c->l, n)));
    put_value(&line, n->out[0]);
    put_value(&line, n->in[0]);
    put(&line, px_mul(c->p, at_field(c, "stride"),
                      dim_size(c->l, last_dim(n->out[0]))));
    end_line(&line, reshard_kind(n) == RESHARD_ALL_MAX ? "all_max_f32"
                                                       : "all_reduce_into_f32");
}

static void call_reshard(Calls *c, const Node *n)
{
    switch (reshard_kind(n)) {
    case RESHARD_ALL_REDUCE:
    case RESHARD_ALL_MAX: call_all_reduce(c, n); return;
    case RESHARD_GATHER_COLUMNS:
    case RESHARD_OWN_COLUMNS: call_columns(c, n); return;
    case RESHARD_GATHER_SHARES:
    case RESHARD_SUM_SHARES:
    case RESHARD_OWN_SHARE: call_shares(c, n); return;
    case RESHARD_GATHER_CONTEXT:
    case RESHARD_SUM_CONTEXT: call_context(c, n); return;
    case RESHARD_SUM_POOLED: call_sum_pooled(c, n); return;
    case RESHARD_SEND_ROWS:
    case RESHARD_RETURN_ROWS: call_travel(c, n); return;
    case RESHARD_NONE: case RESHARD_KINDS: break;
    }
    ice("%s is no reshard", n->out[0]->name);
}

static void call_index(Calls *c, const Node *n)
{
    switch (n->op) {
    case OP_own_starts: call_own_starts(c, n); return;
    case OP_cache: case OP_recall: call_cache(c, n); return;
    case OP_scatter_add: call_scatter(c, n); return;
    case OP_patches: call_patches(c, n); return;
    case OP_pool:
    case OP_pool_spread:
    case OP_pool_max_spread: call_pool(c, n); return;
    case OP_pool_chunks: call_pool_chunks(c, n); return;
    case OP_pool_chunks_spread: call_pool_chunks_spread(c, n); return;
    case OP_own_lengths: call_own_lengths(c, n); return;
    case OP_dispatch: call_dispatch(c, n); return;
    case OP_top_k:
    case OP_gather_rows:
    case OP_collect_rows:
    case OP_combine_rows:
    case OP_spread_rows:
    case OP_gate_products: call_route(c, n); return;
    case OP_grouped_matmul: case OP_grouped_input: case OP_grouped_weight:
    case OP_grouped_bias: call_grouped(c, n); return;
    case OP_preference: case OP_preference_grad: call_preference(c, n); return;
    default: ice("%s is no library kernel", op_info[n->op].name);
    }
}

void call_library(Calls *c, const Kernel *k)
{
    const Node *n = k->nodes.at[0];
    c->p->here = n->origin.model;
    switch (op_info[n->op].class) {
    case CLASS_MATMUL: call_matmul(c, k); return;
    case CLASS_ATTENTION: call_attention(c, n); return;
    case CLASS_COLUMN: call_chain(c, n); return;
    case CLASS_INDEX: call_index(c, n); return;
    case CLASS_RESHARD: call_reshard(c, n); return;
    case CLASS_POINT: case CLASS_ROW: case CLASS_VIEW: break;
    }
    ice("%s is no library kernel", op_info[n->op].name);
}
