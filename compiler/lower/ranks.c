/* ranks.c: where a step's ranks talk. Ranks that share a batch have a run of
 * its groups each: their counts, sums of losses and gradients are added over
 * ranks by the tree that goes on where each rank's own ended, so that the bits
 * are those of one rank that has all groups. Every message has a name, its line
 * of the spec, and a forecast of its calls and bytes. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* The index of a message over the data ranks, for a call on every stage. */
static ProgExpr *over_data(Steps *s, const char *name, Collective kind,
                           int64_t bytes)
{
    Talk *talk = find_talk(s->l, name, replicas_axis(s->l),
                           s->l->m->mesh.data_from);
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, 1,
                 collective_bytes(kind, bytes, s->map->members));
    return px_const(s->p, talk->index);
}

ProgExpr *step_shard_message(Steps *s, const char *name, int kind, int stage,
                             int64_t bytes, int64_t calls)
{
    const char *axis = s->l->copies > 1 ? "shard group" : replicas_axis(s->l);
    Talk *talk = find_talk(s->l, name, axis, s->l->m->mesh.shard_from);
    foretell(s, talk, stage, calls,
             collective_bytes((Collective)kind, bytes, s->l->shards));
    return px_const(s->p, talk->index);
}

ProgExpr *step_copies_message(Steps *s, const char *name, int stage,
                              int64_t bytes, int64_t calls)
{
    Talk *talk = find_talk(s->l, name, "same share",
                           s->l->m->mesh.shard_group_from);
    foretell(s, talk, stage, calls,
             collective_bytes(ALL_REDUCE, bytes, s->l->copies));
    return px_const(s->p, talk->index);
}

ProgExpr *step_replicas_message(Steps *s, const char *name, int stage,
                                int64_t bytes)
{
    Talk *talk = find_talk(s->l, name, replicas_axis(s->l),
                           s->l->m->mesh.shard_from);
    foretell(s, talk, stage, 1,
             collective_bytes(ALL_REDUCE, bytes, s->map->members));
    return px_const(s->p, talk->index);
}

/* The same over the stages. */
static ProgExpr *over_stages(Steps *s, const char *name, Collective kind,
                             int64_t bytes)
{
    Talk *talk = find_talk(s->l, name, "pipeline", s->l->m->mesh.stages_from);
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, 1, collective_bytes(kind, bytes, s->l->stages));
    return px_const(s->p, talk->index);
}

/* … for a call on every stage about each of its chunks of the model. */
static ProgExpr *over_chunks(Steps *s, const char *name, Collective kind,
                             int64_t bytes)
{
    ProgExpr *index = NULL;
    for (int i = 0; i < s->l->chunks; i++)
        index = over_stages(s, name, kind, bytes);
    return index;
}

/* Of a step whose replicas go their own ways: the ranks of a context alone. */
static bool is_lone(const Steps *s)
{
    return !strcmp(s->map->step->name, "eval");
}

static ProgExpr *over_context(Steps *s, const char *name)
{
    Talk *talk = find_talk(s->l, name, "context", s->l->m->mesh.context_from);
    return px_const(s->p, talk->index);
}

/* Evaluation's sums of the tokens that each rank of a context has. */
void step_sum_context(Steps *s, ProgBlock *b)
{
    for (int i = 0; s->map->context > 1 && i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        ProgExpr *args[] = {
            var(s, s->me),
            over_context(s, arena_printf(s->l->arena, "sum %s of chunks",
                                         step_totals[i])),
            var(s, s->totals[i]), num(s, 1),
        };
        step_call(s, b, prog_library(s->p, "all_reduce_f64"), args, 4);
    }
}

bool step_sums_counts(const Steps *s)
{
    return is_lone(s) ? s->map->context > 1 : s->map->members > 1;
}

ProgExpr *step_sum_count(Steps *s, ProgExpr *count, const char *what)
{
    if (!step_sums_counts(s))
        return count;
    if (is_lone(s)) {
        const char *chunks =
            arena_printf(s->l->arena, "sum %s of chunks", what);
        ProgExpr *own[] = { var(s, s->me), over_context(s, chunks), count };
        return px_call(s->p, prog_library(s->p, "all_reduce_count"), 3, own);
    }
    const char *name = arena_printf(s->l->arena, "sum %s", what);
    ProgExpr *args[] = { var(s, s->me), over_data(s, name, ALL_REDUCE, 8),
                         count };
    return px_call(s->p, prog_library(s->p, "all_reduce_count"), 3, args);
}

ProgBlock *step_where_some(Steps *s, ProgBlock *b, int stages, ProgExpr *n)
{
    if (stages == 0 || stages == s->l->stages)
        return stages ? b : NULL;
    return ps_if(s->p, b, px_lt(s->p, num(s, 0), n), NULL);
}

/* Floats of gradients at a time: whole sixteens. */
static int64_t bucket_floats(const Lower *l)
{
    int64_t floats = l->m->mesh.bucket / 4 / 16 * 16;
    return floats < 16 ? 16 : floats;
}

/* A stage's sums of its gradients, a bucket after the other. */
static void foretell_gradients(Steps *s, Talk *talk, int stage, int64_t floats)
{
    int64_t bucket = bucket_floats(s->l), ranks = s->map->members;
    foretell(s, talk, stage, floats / bucket,
             collective_bytes(ALL_REDUCE, 4 * bucket, ranks));
    foretell(s, talk, stage, floats % bucket > 0,
             collective_bytes(ALL_REDUCE, 4 * (floats % bucket), ranks));
}

/* Gradients of all uses, on every data rank of each stage. */
static void sum_gradients(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Talk *talk = find_talk(s->l, "sum gradients", replicas_axis(s->l),
                           s->l->m->mesh.data_from);
    int64_t most = 0, bucket = bucket_floats(s->l);
    int some = 0;
    if (s->l->m->mesh.experts > 1) {
        step_sum_apart(s, b);
        return;
    }
    for (int i = 0; i < s->l->stages; i++) {
        int64_t floats = s->l->parts ? s->l->parts[i].gradient_floats
                                     : s->l->gradient_floats;
        most = floats > most ? floats : most;
        some += floats > 0;
        foretell_gradients(s, talk, i, floats);
    }
    ProgExpr *at = var(s, s->gradients), *n = step_gradient_floats(s);
    b = step_where_some(s, b, some, n);
    if (!b)                     /* all is frozen */
        return;
    if (most > bucket) {
        ProgVar *from = prog_local(p, s->func, "from", prog_i64());
        b = ps_for(p, b, from, num(s, 0), n, num(s, bucket));
        ProgExpr *left = px_sub(p, n, var(s, from));
        at = px_offset(p, at, var(s, from));
        n = px_select(p, px_lt(p, left, num(s, bucket)), left, num(s, bucket));
    }
    ProgExpr *args[] = { var(s, s->me), px_const(p, talk->index), at, n };
    step_call(s, b, prog_library(p, "all_reduce_f32"), args, 4);
}

void step_sum_ranks(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    step_note(s, b, "note_update", NULL);
    if (s->map->members > 1)
        ps_comment(p, b, "sums over ranks, by the tree that goes on where "
                   "groups' ended");
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i] || s->map->members == 1)
            continue;
        const char *name = arena_printf(s->l->arena, "sum %s", step_totals[i]);
        ProgExpr *args[] = { var(s, s->me), over_data(s, name, ALL_REDUCE, 8),
                             var(s, s->totals[i]), num(s, 1) };
        step_call(s, b, prog_library(p, "all_reduce_f64"), args, 4);
    }
    if (s->l->m->mesh.tensor > 1)
        step_sum_partial(s, b);
    if (s->l->shards > 1)
        step_reduce_shards(s, b);
    else if (s->map->members > 1)
        sum_gradients(s, b);
    step_share_totals(s, b);
}

/* The last stage has made the sums of losses: all get them. */
void step_share_totals(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    if (!s->stage)
        return;
    ps_comment(p, b, "what the last stage has summed");
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        const char *name =
            arena_printf(s->l->arena, "share %s", step_totals[i]);
        ProgExpr *args[] = {
            var(s, s->me), over_stages(s, name, BROADCAST, 8),
            step_last_stage(s),
            px_load(p, var(s, s->totals[i]), num(s, 0)),
        };
        s->shared_totals[i] = step_let(
            s, b, arena_printf(s->l->arena, "%s_sum", step_totals[i]),
            px_call(p, prog_library(p, "broadcast_f64"), 4, args));
    }
}

void step_share_sums(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    int64_t n = find_region(s->map, "all_sums")->floats / s->l->stages;
    ProgExpr *all = step_region(s, "all_sums");
    ps_comment(p, b, "what the last stage has summed, on all");
    ProgExpr *copied[] = {
        var(s, s->me),
        px_offset(p, all, px_mul(p, step_last_stage(s), num(s, n))),
        step_region(s, "sums"), num(s, n),
    };
    ProgBlock *last = ps_if(p, b, step_is_last(s), NULL);
    step_call(s, last, copy_func(s->l), copied, 4);
    step_barrier(s, last);
    ProgExpr *args[] = { var(s, s->me),
                         over_stages(s, "gather sums of sequences", ALL_GATHER,
                                     4 * n),
                         all, num(s, n) };
    step_call(s, b, prog_library(p, "all_gather_f32"), args, 4);
}

/* The message of two stages about a weight: of the ends, of the two that embed,
 * or of the decoder's ends. */
static Talk *pair_talk(Steps *s, const char *verb, int weight, int one,
                       int other)
{
    const Weight *w = &s->l->m->weights.at[weight];
    int before = one < other ? one : other, behind = one < other ? other : one;
    int last = s->l->stages - 1;
    const char *axis = before > 0      ? "decoder's ends"
                     : behind < last   ? "embeddings"
                                       : "ends";
    const char *of = before > 0    ? " in the decoder"
                   : behind < last ? " of both sides"
                                   : "";
    return find_talk(s->l, arena_printf(s->l->arena, "%s %s%s", verb,
                                        c_name(s->l, w->name), of),
                     axis, s->l->m->mesh.stages_from);
}

static ProgBlock *on_pair(Steps *s, ProgBlock *b, int one, int other)
{
    return ps_if(s->p, b, px_or(s->p, step_is_stage(s, one),
                                step_is_stage(s, other)), NULL);
}

ProgBlock *step_exchange(Steps *s, ProgBlock *b, int weight, int one, int other)
{
    Prog *p = s->p;
    const Weight *w = &s->l->m->weights.at[weight];
    Talk *talk = pair_talk(s, "exchange", weight, one, other);
    int64_t bytes = 4 * type_elements(s->l->m, &w->type);
    foretell(s, talk, one, 1, bytes);
    foretell(s, talk, other, 1, bytes);
    ProgBlock *both = on_pair(s, b, one, other);
    ProgExpr *args[] = {
        var(s, s->me), px_const(p, talk->index), step_region(s, "received"),
        px_field(p, var(s, s->dshared[0]), c_name(s->l, w->name)),
        elements_of(s->l, &w->type),
    };
    step_call(s, both, prog_library(p, "exchange_f32"), args, 5);
    return both;
}

void step_send_sum(Steps *s, ProgBlock *b, int weight, int from, int to,
                   ProgExpr *sum)
{
    Prog *p = s->p;
    const Weight *w = &s->l->m->weights.at[weight];
    Talk *talk = pair_talk(s, "send", weight, from, to);
    int64_t bytes = 4 * type_elements(s->l->m, &w->type);
    foretell(s, talk, from, 1, collective_bytes(BROADCAST, bytes, 2));
    foretell(s, talk, to, 1, collective_bytes(BROADCAST, bytes, 2));
    ProgExpr *args[] = {
        var(s, s->me), px_const(p, talk->index), num(s, from > to),
        step_region(s, "received"), sum, elements_of(s->l, &w->type),
    };
    step_call(s, on_pair(s, b, from, to), prog_library(p, "broadcast_f32"),
              args, 6);
}

/* Each stage has made the norms of its own blocks. */
void step_gather_norms(Steps *s, ProgBlock *b, ProgExpr *norms)
{
    const ProgConst *each = s->l->norms.stage;
    ProgExpr *args[] = { var(s, s->me),
                         over_chunks(s, "gather norms", ALL_GATHER,
                                     8 * each->value),
                         norms, px_const(s->p, each) };
    step_call(s, b, prog_library(s->p, "all_gather_f64"), args, 4);
}

/* ---- rows between stages ---- */
/* Does a chunk of the model send such rows of a micro-batch? Not where they
 * end; from the encoder to the decoder goes memory in place of x. */
static bool chunk_sends(const Lower *l, int number, Rows of, bool down)
{
    int last = last_number(l), decoder = l->decoder;
    if (of == ROWS_MEMORY)
        return down ? number >= decoder
                    : number >= decoder - 1 && number < last;
    if (decoder && number == (down ? decoder : decoder - 1))
        return false;
    return number != (down ? 0 : last);
}

/* How often a stage sends them, of its chunks of a stack. */
static int64_t stack_sends(const Lower *l, int stage, int stack, Rows of,
                           bool down)
{
    int64_t sends = 0;
    for (int i = 0; i < l->chunks; i++)
        sends += part_chunk(l, stage, i)->stack == stack
            && chunk_sends(l, i * l->stages + stage, of, down);
    return sends;
}

int64_t row_sends(const Lower *l, int stage, Rows of, bool down)
{
    return stack_sends(l, stage, 0, of, down)
        + stack_sends(l, stage, 1, of, down);
}

static Talk *rows_message(Steps *s, Rows of, bool down)
{
    static const char *const names[2][2] = {
        [ROWS_X] = { "send x", "send dx" },
        [ROWS_MEMORY] = { "send memory", "send dmemory" },
    };
    return find_talk(s->l, names[of][down], "pipeline",
                     s->l->m->mesh.stages_from);
}

/* An encoder-decoder's two stacks have sends of their own. */
static Talk *rows_talk(Steps *s, Rows of, bool down)
{
    const Step *step = s->map->step;
    Talk *talk = rows_message(s, of, down);
    int stack = s->memory != NULL;
    int64_t micros = s->map->sequences / step->micro;
    int64_t bytes = 4 * s->map->rows * step_row_width(s)
        / module_shares(s->l->m);
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, micros * stack_sends(s->l, i, stack, of, down),
                 bytes);
    return talk;
}

/* The stage behind or before; of several chunks the last stage goes on at the
 * first. */
static ProgExpr *neighbour(Steps *s, bool next)
{
    Prog *p = s->p;
    ProgExpr *stage = step_control(s, "stage");
    if (s->l->chunks == 1)
        return next ? px_add(p, stage, num(s, 1)) : px_sub(p, stage, num(s, 1));
    ProgExpr *stages = px_const(p, s->l->stage_count);
    ProgExpr *way = next ? num(s, 1) : step_last_stage(s);
    return px_rem(p, px_add(p, stage, way), stages);
}

void step_send(Steps *s, ProgBlock *b, Rows of, bool down, ProgExpr *rows)
{
    static const char *const mailboxes[2][2] = {
        [ROWS_X] = { "send_x", "send_dx" },
        [ROWS_MEMORY] = { "send_memory", "send_dmemory" },
    };
    const Talk *talk = rows_talk(s, of, down);
    ProgExpr *args[] = {
        var(s, s->me), px_const(s->p, talk->index), neighbour(s, !down),
        step_region(s, mailboxes[of][down]), rows, step_row_floats(s),
    };
    step_call(s, b, prog_library(s->p, "send_f32"), args, 6);
}

void step_receive(Steps *s, ProgBlock *b, Rows of, bool down, ProgExpr *rows)
{
    const Talk *talk = rows_message(s, of, down);
    ProgExpr *args[] = { var(s, s->me), px_const(s->p, talk->index),
                         neighbour(s, down), rows, step_row_floats(s) };
    step_call(s, b, prog_library(s->p, "receive_f32"), args, 5);
}

/* Blocks that a rank has room for among the auxiliary losses. */
int64_t step_aux_blocks(const Steps *s)
{
    return s->stage ? most_part_blocks(s->l)
                    : stack_first(s->l->m, s->l->m->stacks.count);
}

ProgExpr *step_rank_aux(Steps *s)
{
    Prog *p = s->p;
    ProgExpr *blocks = num(s, step_aux_blocks(s));
    ProgExpr *at = s->map->replicas > 1
        ? px_mul(p, blocks, step_control(s, "first")) : num(s, 0);
    if (!s->stage)
        return at;
    ProgExpr *all = px_mul(p, blocks, num(s, s->map->step->batch));
    return px_add(p, px_mul(p, step_control(s, "stage"), all), at);
}

/* Ranks that share sequences all have made their auxiliary losses. */
static const ProgConst *aux_talk(Steps *s, int64_t each)
{
    bool shared = s->map->context > 1;
    Talk *talk = find_talk(s->l, "gather auxiliary losses",
                           shared ? "same chunk" : "data",
                           s->l->m->mesh.data_from);
    for (int i = 0; i < s->l->stages; i++)
        foretell(s, talk, i, 1, collective_bytes(ALL_GATHER, 4 * each,
                                                 s->map->replicas));
    return talk->index;
}

void step_gather_aux(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    int64_t each = step_aux_blocks(s) * s->map->sequences;
    if (s->map->replicas > 1) {
        ProgExpr *at = step_region(s, "aux");
        if (s->stage)
            at = px_offset(p, at,
                           px_mul(p, step_control(s, "stage"),
                                  num(s, each * s->map->replicas)));
        ProgExpr *args[] = { var(s, s->me), px_const(p, aux_talk(s, each)),
                             at, num(s, each) };
        step_call(s, b, prog_library(p, "all_gather_f32"), args, 4);
    }
    if (!s->stage)
        return;
    each *= s->map->replicas;
    ProgExpr *args[] = {
        var(s, s->me),
        over_stages(s, "gather stages' auxiliary losses", ALL_GATHER, 4 * each),
        step_region(s, "aux"), num(s, each),
    };
    step_call(s, b, prog_library(p, "all_gather_f32"), args, 4);
}

/* ---- slices of products ---- */
/* What a node does with other ranks, for its message's name; NULL: nothing. */
static const char *verb_of(const Node *n)
{
    static const char *const verbs[RESHARD_KINDS] = {
        [RESHARD_ALL_REDUCE] = "sum", [RESHARD_ALL_MAX] = "find",
        [RESHARD_GATHER_COLUMNS] = "gather",
        [RESHARD_GATHER_SHARES] = "gather", [RESHARD_SUM_SHARES] = "sum",
        [RESHARD_GATHER_CONTEXT] = "gather", [RESHARD_SUM_CONTEXT] = "sum",
        [RESHARD_SUM_POOLED] = "sum", [RESHARD_SEND_ROWS] = "send",
        [RESHARD_RETURN_ROWS] = "return",
    };
    return n->op == OP_pool_chunks  ? "gather"
         : n->op == OP_own_starts ? "count"
                                   : verbs[reshard_kind(n)];
}

/* With which ranks. */
static Axis said_along(const Node *n)
{
    return n->op == OP_pool_chunks  ? AXIS_CONTEXT
         : n->op == OP_own_starts ? AXIS_EXPERTS
                                   : n->attrs.axis;
}

/* The key that has the ranks say it. */
static Loc said_from(const Lower *l, const Node *n)
{
    const Mesh *mesh = &l->m->mesh;
    ReshardKind kind = reshard_kind(n);
    if (said_along(n) == AXIS_EXPERTS)
        return n->attrs.room ? n->origin.model : mesh->experts_from;
    if (said_along(n) == AXIS_CONTEXT)
        return mesh->context_from;
    return kind == RESHARD_GATHER_SHARES || kind == RESHARD_SUM_SHARES
        ? mesh->shares_from : mesh->tensor_from;
}

/* The message's name: a verb and the value's name, or plainer words. */
static const char *message_name(const Lower *l, const Node *n, const char *verb)
{
    static const struct { const char *verb, *last, *said; } plain[] = {
        { "find", "most", "find largest logit" },
        { "sum", "total", "sum exponentials" },
        { "sum", "picked", "sum target logits" },
        { "count", "own_starts", "count rows for experts" },
        { "send", "received", "send rows to experts" },
        { "send", "down_rows", "send gradients to experts" },
        { "return", "returned", "return rows of experts" },
        { "return", "rows", "return gradients of experts" },
    };
    const char *name = n->out[0]->name, *dot = strrchr(name, '.');
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(verb, plain[i].verb)
            && !strcmp(dot ? dot + 1 : name, plain[i].last))
            return plain[i].said;
    return arena_printf(l->arena, "%s %s", verb, name);
}

static Talk *node_talk(Lower *l, const Node *n)
{
    if (!verb_of(n))
        ice("%s says nothing to other ranks", n->out[0]->name);
    Talk *talk = find_talk(l, message_name(l, n, verb_of(n)),
                           axis_names[said_along(n)], said_from(l, n));
    /* rows that go to experts, or back, are as many as data says */
    talk->at_most = n->op == OP_reshard && n->attrs.axis == AXIS_EXPERTS;
    return talk;
}

const ProgConst *slice_talk(Lower *l, const Node *n)
{
    return node_talk(l, n)->index;
}

/* Calls of functions on each rank of a stage, which run so often on so many
 * rows (rounded up to 16). */
typedef struct Calling {
    Lower *l;
    const StepMap *map;
    int stage;
    int64_t times, stride;
} Calling;

/* A rank tells each other where its rows for that one's experts begin and end;
 * of the rows all may have experts of others. */
static int64_t travel_bytes(const Calling *c, const Node *n)
{
    const Module *m = c->l->m;
    if (n->op == OP_own_starts)
        return 4 * (m->mesh.experts - 1)
            * (m->dims.at[module_find_dim(m, "XR")].size + 1);
    return 4 * c->map->rows * m->dims.at[module_find_dim(m, "K")].size
        * m->dims.at[n->out[0]->type.dims[3]].size;
}

/* Bytes of one call of a node that talks. */
static int64_t node_bytes(const Calling *c, const Node *n)
{
    const Module *m = c->l->m;
    const Mesh *mesh = &m->mesh;
    int64_t rows = c->map->rows, micro = c->map->step->micro;
    ReshardKind kind = reshard_kind(n);
    const Value *own = kind == RESHARD_GATHER_CONTEXT ? n->in[0] : n->out[0];
    int64_t width = type_row_elements(m, &own->type);
    int64_t share = 4 * rows / mesh->tensor * width;
    if (n->op == OP_own_starts)
        return travel_bytes(c, n);
    if (n->op == OP_pool_chunks)
        return collective_bytes(ALL_GATHER, 4 * 2 * micro * width,
                                mesh->context);
    switch (kind) {
    case RESHARD_SEND_ROWS:
    case RESHARD_RETURN_ROWS:
        return travel_bytes(c, n);
    case RESHARD_SUM_POOLED:
        return collective_bytes(ALL_REDUCE,
                                4 * ((micro + 15) / 16 * 16) * width,
                                mesh->context);
    case RESHARD_GATHER_CONTEXT:
    case RESHARD_SUM_CONTEXT:
        return collective_bytes(ALL_GATHER, 4 * rows * width, mesh->context);
    case RESHARD_GATHER_COLUMNS:
        width = type_row_elements(m, &n->in[0]->type);
        return collective_bytes(ALL_GATHER, 4 * rows * width, mesh->tensor);
    case RESHARD_GATHER_SHARES:
        return collective_bytes(ALL_GATHER, share, mesh->tensor);
    case RESHARD_SUM_SHARES:
        return collective_bytes(REDUCE_SCATTER, share, mesh->tensor);
    default:
        return collective_bytes(ALL_REDUCE, 4 * c->stride * width,
                                mesh->tensor);
    }
}

static void foretell_func(const Calling *c, const Func *f)
{
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        if (!verb_of(n))
            continue;
        Talk *talk = node_talk(c->l, n);
        talk->calls[c->stage] += c->times;
        talk->bytes[c->stage] += c->times * node_bytes(c, n);
    }
}

/* Chunks of the rows that a rank has: of a sequence that a context shares it
 * has fewer than the step. */
static int64_t chunks_here(const Calling *c, const Stmt *s)
{
    int64_t rows = s->pooled ? c->map->step->micro : c->map->rows;
    return s->count == 1 ? 1 : (rows + s->chunk_rows - 1) / s->chunk_rows;
}

static void foretell_body(const Calling *c, const Stmt *const *body, int count)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = body[i];
        Calling in = *c;
        if (s->kind == STEP_GROUPS)
            in.times *= c->map->groups;
        if (s->kind == STEP_MICROS)
            in.times *= s->count;
        if (s->kind == STEP_CHUNKS)
            in.times *= chunks_here(c, s);
        if (s->kind == STEP_REPEAT)
            in.times *= stack_blocks_on(c->l, s->stack, c->stage);
        if (s->kind == STEP_CHUNKS && (s->count > 1 || s->pooled))
            in.stride = (s->chunk_rows + 15) / 16 * 16;
        if (s->kind == STEP_CALL && func_on_stage(c->l, s->func, c->stage))
            foretell_func(c, s->func);
        foretell_body(&in, (const Stmt *const *)s->body.at, s->body.count);
    }
}

void foretell_calls(Lower *l, const StepMap *train)
{
    const Step *step = train->step;
    bool talks =
        l->m->mesh.tensor * l->m->mesh.context * l->m->mesh.experts > 1;
    for (int stage = 0; talks && stage < l->stages; stage++) {
        const Calling calls = { l, train, stage, 1, train->stride };
        foretell_body(&calls, (const Stmt *const *)step->body.at,
                      step->body.count);
    }
}
