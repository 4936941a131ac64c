/* map.c: where everything that a program keeps lies: regions of its values, one
 * after the other, exact. Two programs may lie in the same bytes, since a
 * command runs one at a time; weights and moments lie before the values, for
 * all. */
#include "steps.h"
#include "../../runtime/kernels/kernels.h"

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t model_size(const Lower *l, const char *dim)
{
    int found = module_find_dim(l->m, dim);
    return found < 0 ? 0 : l->m->dims.at[found].size;
}

/* Floats of x that a rank has for each row of a micro-batch. */
static int64_t stream_width(const Lower *l)
{
    int64_t shares = module_shares(l->m);
    return (model_size(l, "C") + shares - 1) / shares;
}

static void add(Lower *l, StepMap *map, const char *name, const char *class,
                int64_t floats)
{
    if (!floats)
        return;
    Region r = { .name = name, .class = class, .offset = map->floats,
                 .floats = floats };
    list_push(l->arena, &map->regions, r);
    map->floats += round_up(floats, 1024);
}

const Region *find_region(const StepMap *map, const char *name)
{
    for (int i = 0; i < map->regions.count; i++)
        if (!strcmp(map->regions.at[i].name, name))
            return &map->regions.at[i];
    return NULL;
}

int64_t region_at(const StepMap *map, const char *name)
{
    const Region *found = find_region(map, name);
    if (!found)
        ice("the %s program has no %s", map->step->name, name);
    return found->offset;
}

/* ---- calls of a step ---- */
typedef void CallRule(void *context, const Stmt *s, const Stmt *around);

/* Does the map's stage run the function? */
static bool runs_here(const StepMap *map, const Lower *l, const Func *f)
{
    return map->stage < 0 || func_on_stage(l, f, map->stage);
}

/* Every call in the statements, with the loop that holds it (NULL: none). */
static void each_call(const Stmt *const *statements, int count,
                      const Stmt *around, CallRule *rule, void *context)
{
    for (int i = 0; i < count; i++) {
        const Stmt *s = statements[i];
        if (s->kind == STEP_CALL)
            rule(context, s, around);
        each_call((const Stmt *const *)s->body.at, s->body.count, s, rule,
                  context);
    }
}

static void step_calls(const Step *step, CallRule *rule, void *context)
{
    each_call((const Stmt *const *)step->body.at, step->body.count, NULL, rule,
              context);
}

static bool has_name(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

typedef struct Wanted { const char *name; bool found; } Wanted;

static void takes(void *context, const Stmt *s, const Stmt *around)
{
    Wanted *wanted = context;
    (void)around;
    for (int i = 0; i < s->arguments.count; i++)
        wanted->found |= !strcmp(s->arguments.at[i], wanted->name);
}

bool step_takes(const Step *step, const char *name)
{
    Wanted wanted = { name, false };
    step_calls(step, takes, &wanted);
    return wanted.found;
}

static void gives_name(void *context, const Stmt *s, const Stmt *around)
{
    Wanted *wanted = context;
    (void)around;
    wanted->found |= has_name(s->results.at, s->results.count, wanted->name);
}

static bool gives(const Step *step, const char *name)
{
    Wanted wanted = { name, false };
    step_calls(step, gives_name, &wanted);
    return wanted.found;
}

static bool counts(const Stmt *s, const char *what)
{
    return s->kind == STEP_COUNT && !strcmp(s->what, what);
}

bool step_counts(const Step *step, const char *what)
{
    for (int i = 0; i < step->body.count; i++)
        if (counts(step->body.at[i], what))
            return true;
    return false;
}

/* ---- values ---- */
typedef struct ValueWalk { Lower *l; StepMap *map; } ValueWalk;

const StepValue *find_value(const StepMap *map, const char *name)
{
    for (int i = 0; i < map->values.count; i++)
        if (!strcmp(map->values.at[i].name, name))
            return &map->values.at[i];
    return NULL;
}

/* Names whose places are not regions of rows: sums, derived weights, the cache.
 */
static bool is_elsewhere(const Stmt *s, int result)
{
    const char *name = s->results.at[result];
    const Value *root = value_root(s->func->results.at[result]);
    return step_total(name) >= 0 || !strcmp(name, "aux")
        || result_is_placed(root)
        || (s->func->stack >= 0 && !strcmp(name, root->name)
            && strchr(name, '.'));
}

static const char *value_region(const char *name)
{
    return !strcmp(name, "x") ? "stream" : name;
}

static void add_value(ValueWalk *walk, const char *name, const Type *type,
                      Slots slots, int stack, bool pooled)
{
    StepValue v = { .name = name,
                    .region = value_region(name),
                    .slots = slots,
                    .stack = stack,
                    .pooled = pooled,
                    .width = type_row_elements(walk->l->m, type) };
    int last = type->dims[type->rank - 1];
    if (type_rows_of(walk->l->m, type) == ROWS_SHARE)
        v.width = type_row_floats(walk->l->m, type);
    if (walk->l->m->dims.at[last].size == v.width)
        v.dim = last;
    StepValue *old = (StepValue *)find_value(walk->map, name);
    if (!old)
        list_push(walk->l->arena, &walk->map->values, v);
    else if (slots != SLOTS_ONE) {
        old->slots = slots;
        old->stack = stack;
    }
}

/* Does each block leave it where it was? So does the gradient of the encoder's
 * memory, which stages send and receive there. */
static bool stays(const Lower *l, const char *name)
{
    return l->decoder && !strcmp(name, "dmemory");
}

static void find_values(void *context, const Stmt *s, const Stmt *around)
{
    ValueWalk *walk = context;
    if (!runs_here(walk->map, walk->l, s->func))
        return;
    bool looped = around && around->kind == STEP_REPEAT;
    bool pooled_rows = around && around->kind == STEP_CHUNKS && around->pooled;
    for (int i = 0; i < s->results.count; i++) {
        const char *name = s->results.at[i];
        const Type *type = &s->func->results.at[i]->type;
        bool own = has_name(s->arguments.at, s->arguments.count, name);
        bool pooled =
            pooled_rows || type_rows_of(walk->l->m, type) == ROWS_SEQUENCES;
        if (value_root(s->func->results.at[i])->kind == VALUE_PARAM
            && step_total(name) < 0)
            add_value(walk, name, type, SLOTS_ONE, -1, pooled);
        else if (!is_elsewhere(s, i))
            add_value(walk, name, type,
                      !looped || !own || stays(walk->l, name) ? SLOTS_ONE
                      : around->down  ? SLOTS_TURN
                                      : SLOTS_STREAM,
                      looped ? around->stack : -1, pooled);
    }
    for (int i = 0; i < s->arguments.count; i++) { /* zeroed, and no more */
        const char *name = s->arguments.at[i];
        const Type *type = &s->func->params.at[i]->type;
        Type ids;
        if (type->dtype == DT_F32 && !given_type(walk->l->m, name, &ids)
            && name[0] == 'd' && !find_value(walk->map, name))
            add_value(walk, name, type, SLOTS_ONE, -1,
                      type_rows_of(walk->l->m, type) == ROWS_SEQUENCES);
    }
}

int64_t value_rows(const StepMap *map, const StepValue *v)
{
    return v->pooled ? round_up(map->step->micro, 16) : map->stride;
}

static void reads_memory(void *context, const Stmt *s, const Stmt *around)
{
    const char **name = context;
    (void)around;
    for (int i = 0; i < s->func->params.count; i++)
        if (s->func->stack == 1
            && !strcmp(s->func->params.at[i]->name, "memory"))
            *name = s->arguments.at[i];
}

const char *step_memory(const Lower *l, const Step *step)
{
    const char *name = NULL;
    step_calls(step, reads_memory, &name);
    if (!name && l->decoder)
        ice("no block in %s reads the encoder's memory", step->name);
    return name;
}

static bool is_of_decoder(const Lower *l, const StepMap *map)
{
    return l->decoder && !l->mixed && map->stage >= l->decoder;
}

/* What a decoder's stage gets of the encoder for each open micro-batch; of both
 * stacks it has what the encoder gives apart from that. */
static void add_memory(Lower *l, StepMap *map)
{
    bool whole = module_shares(l->m) == 1;
    if (!is_of_decoder(l, map) || !step_takes(map->step, "x"))
        return;
    const StepValue v = { .name = step_memory(l, map->step),
                          .region = "memory", .slots = SLOTS_ONE, .stack = -1,
                          .dim = whole ? module_find_dim(l->m, "C") : 0,
                          .width = stream_width(l) };
    list_push(l->arena, &map->values, v);
}

int64_t records_here(const Lower *l, const StepMap *map, int stack)
{
    return map->stage < 0 ? stack_blocks(l->m, stack)
                          : map->records[stack];
}

static int64_t value_slots(const Lower *l, const StepMap *map,
                           const StepValue *v)
{
    if (v->slots == SLOTS_ONE)
        return is_of_decoder(l, map) && !strcmp(v->region, "memory")
                   ? map->slots : 1;
    if (v->slots == SLOTS_STREAM && map->keeps_stream)
        return map->stage < 0 ? stack_blocks(l->m, v->stack) + 1
                              : map->inputs[v->stack];
    return 2;
}

static void add_value_region(Lower *l, StepMap *map, const StepValue *v,
                             const char *class)
{
    add(l, map, v->region, class,
        value_slots(l, map, v) * value_rows(map, v) * v->width);
}

/* ---- what the calls need ---- */
typedef struct Survey {
    Lower *l;
    StepMap *map;
    int64_t frame, cache;
    double flops;
    int64_t rows, stride, keys;
    double copies;                      /* how often a call runs in a step */
} Survey;

static int64_t type_size(const Lower *l, const Type *t, int axis)
{
    return l->m->dims.at[t->dims[axis]].size;
}

/* Visible pairs of one sequence: key j of query i. */
static double visible_pairs(const Attrs *a, int64_t queries, int64_t keys)
{
    double pairs = 0;
    for (int64_t i = keys - queries; i < keys; i++) {
        int64_t from = 0, to = a->causal ? i + 1 : keys;
        if (a->window && i - a->window + 1 > from)
            from = i - a->window + 1;
        if (a->window && i + a->window < to)
            to = i + a->window;
        pairs += (double)(to - from);
    }
    return pairs;
}

static int64_t type_rows(const Survey *s, const Type *type)
{
    RowKind kind = type_rows_of(s->l->m, type);
    int64_t rows = kind == ROWS_TOKENS    ? s->rows
                 : kind == ROWS_SHARE     ? s->rows / module_shares(s->l->m)
                 : kind == ROWS_SEQUENCES ? s->map->step->micro
                                          : 1;
    for (int i = 0; i < type->rank - 1;
         i++) /* experts of a token, or a table's rows */
        if (s->l->m->dims.at[type->dims[i]].kind == DIM_MODEL && type->dims[i])
            rows *= type_size(s->l, type, i);
    return rows;
}

/* Rows of a product: of experts' not all that there is room for, but a token's
 * K, which ranks that share experts have on the average. */
static double product_rows(const Survey *s, const Node *n)
{
    const Type *x = &n->in[0]->type;
    double rows = (double)type_rows(s, x);
    if (n->op != OP_grouped_matmul)
        return rows;
    return rows / (double)type_size(s->l, x, 2)
         * (double)model_size(s->l, "K");
}

static int64_t survey_product(Survey *s, const Node *n)
{
    bool grouped = op_info[n->op].class != CLASS_MATMUL;
    bool weight = n->op == OP_matmul_weight || n->op == OP_grouped_weight;
    const Type *w = weight ? &n->out[0]->type : &n->in[1]->type;
    int64_t out = type_size(s->l, w, grouped),
            in = type_size(s->l, w, 1 + grouped);
    int64_t rows = type_rows(s, &n->in[0]->type);
    if (n->op == OP_matmul || n->op == OP_grouped_matmul)
        s->flops += s->copies * 2.0 * product_rows(s, n) * (double)in
            * (double)out * weight_parts(s->l, n->in[1])
            * (double)s->map->context;
    return matmul_workspace(rows, in, out);
}

static int64_t survey_attention(Survey *s, const Node *n)
{
    int64_t head = model_size(s->l, "D"), queries = s->map->step->sequence;
    int64_t keys = n->attrs.cached ? s->keys : queries;
    double products = n->attrs.relative ? 6.0 : 4.0;
    if (n->op == OP_attention)
        s->flops += s->copies * products * (double)head * (double)n->attrs.heads
                  * (double)s->map->step->micro * (double)s->l->m->mesh.tensor
                  * visible_pairs(&n->attrs, queries, keys);
    return attention_workspace(
        s->map->context > 1 ? queries / s->map->context / 2 : queries, keys,
        head);
}

static void survey_node(Survey *s, const Node *n)
{
    int64_t work = 0;
    bool grouped = n->op == OP_grouped_matmul || n->op == OP_grouped_input
                || n->op == OP_grouped_weight;
    if (op_info[n->op].class == CLASS_MATMUL || grouped)
        work = survey_product(s, n);
    else if (op_info[n->op].class == CLASS_ATTENTION)
        work = survey_attention(s, n);
    if (work > s->map->workspace_floats)
        s->map->workspace_floats = work;
    if (n->op == OP_cache || n->op == OP_recall) {
        int64_t end = (n->attrs.slot + 1) * type_size(s->l, &n->out[0]->type, 1)
            * type_size(s->l, &n->out[0]->type, 2);
        s->cache = end > s->cache ? end : s->cache;
    }
}

/* What a backward computes of a forward's products it computes again: that is
 * not counted. */
static void survey_func(Survey *s, const Func *f)
{
    double flops = s->flops;
    if (f->frame_floats * s->stride > s->frame)
        s->frame = f->frame_floats * s->stride;
    for (int i = 0; i < f->nodes.count; i++)
        survey_node(s, f->nodes.at[i]);
    if (strstr(f->name, ".backward"))
        s->flops = flops;
}

static void survey(Survey *s, const Stmt *stmt)
{
    StepMap *map = s->map;
    Survey in = *s;
    if (stmt->kind == STEP_GROUPS)
        map->groups = stmt->count / map->replicas;
    if (stmt->kind == STEP_MICROS)
        map->micros = stmt->count;
    if (stmt->kind == STEP_GROUPS || stmt->kind == STEP_MICROS)
        in.copies *= (double)stmt->count;
    if (stmt->kind == STEP_REPEAT)
        in.copies *= (double)stack_blocks(s->l->m, stmt->stack);
    if (stmt->kind == STEP_CHUNKS) {
        ChunkRows rows = { .root = stmt->body.at[0]->func->root };
        list_push(s->l->arena, &map->chunk_rows, rows);
        int64_t all = stmt->pooled ? map->step->micro : s->rows;
        in.rows = stmt->chunk_rows;
        in.stride = round_up(stmt->chunk_rows, 16);
        /* the last chunk may be short: count the rows there are */
        if (!stmt->last)
            in.copies *= (double)all / (double)stmt->chunk_rows;
    }
    if (stmt->kind == STEP_CALL && runs_here(map, s->l, stmt->func))
        survey_func(&in, stmt->func);
    for (int i = 0; i < stmt->body.count; i++)
        survey(&in, stmt->body.at[i]);
    s->frame = in.frame;
    s->cache = in.cache;
    s->flops = in.flops;
}

/* Where blocks are gathered calls make derived weights anew: no work of the
 * model's. */
static void survey_step(Survey *s, const Step *step)
{
    const Step *again = module_find_step(s->l->m, "prepare");
    for (int i = 0; i < step->body.count; i++)
        survey(s, step->body.at[i]);
    double flops = s->flops;
    for (int i = 0; again && gathers(s->l, step) && i < again->body.count; i++)
        survey(s, again->body.at[i]);
    s->flops = flops;
}

/* ---- regions ---- */
static void add_gradients(Lower *l, StepMap *map, bool norm)
{
    int64_t floats = map->stage < 0 ? l->gradient_floats
                                    : l->parts[map->stage].gradient_floats;
    int64_t shares = l->shards > 1 ? all_share_norms(l) : 0;
    for (int64_t n = 1; n < map->groups; n *= 2)
        map->levels++;
    add(l, map, "gradients", "gradients",
        (map->levels + 1) * (floats ? floats : 1024));
    if (!norm && l->shards > 1)
        add(l, map, "whole", "gradients",
            map->stage < 0 ? l->moment_floats
                           : l->parts[map->stage].moment_floats);
    if (l->early)
        add(l, map, "shares", "gradients", kept_shares(l));
    if (map->stage >= 0)
        add(l, map, "received", "messages", part_received(l, map->stage));
    if (norm)
        add(l, map, "norms", "scalars", 2 * (shares + norm_blocks(l)));
}

int64_t given_elements(const Lower *l, const StepMap *map, const char *name)
{
    int64_t elements = 1, T = map->step->sequence;
    Type type;
    if (!given_type(l->m, name, &type))
        ice("a step is given no %s", name);
    for (int i = 0; i < type.rank; i++) {
        const Dim *dim = &l->m->dims.at[type.dims[i]];
        if (dim->kind == DIM_SEQUENCE)
            elements *= T;
        else if (dim->kind == DIM_MODEL)
            elements *= dim->size;
    }
    return elements;
}

const char *const shared_inputs[SHARED_INPUTS] = {
    "tokens", "source", "targets", "types", "nodes", "edges", "labels",
};

/* Of a shared sequence: rows of its tokens; of edges those of its queries. */
static int64_t own_elements(const Lower *l, const StepMap *map,
                            const char *name)
{
    bool whole = !strcmp(name, "labels");
    return given_elements(l, map, name) / (whole ? 1 : map->context);
}

/* What the step's calls take of what is given, and what it counts; with targets
 * the lengths too, past which the runtime scores none. */
static void add_inputs(Lower *l, StepMap *map)
{
    bool pairs = step_counts(map->step, "pairs");
    for (int i = 0; given_names[i]; i++) {
        const char *name = given_names[i];
        bool counted =
            (!strcmp(name, "targets") && pairs) || step_counts(map->step, name)
            || (!strcmp(name, "lengths") && step_takes(map->step, "targets"));
        if (step_takes(map->step, name) || counted)
            add(l, map, name, "input",
                map->sequences * given_elements(l, map, name));
    }
    for (int i = 0; map->context > 1 && i < SHARED_INPUTS; i++)
        if (find_region(map, shared_inputs[i]))
            add(l, map, arena_printf(l->arena, "own_%s", shared_inputs[i]),
                "input",
                map->sequences * own_elements(l, map, shared_inputs[i]));
}

static void add_totals(Lower *l, StepMap *map)
{
    for (int i = 0; i < STEP_TOTALS; i++)
        if (step_takes(map->step, step_totals[i]))
            add(l, map, step_totals[i], "scalars", 2 * (map->levels + 1));
}

/* "records", of two stacks "encoder_records". */
static const char *stack_region(const Lower *l, int stack, const char *name)
{
    const char *prefix = l->m->stacks.at[stack].prefix;
    if (!*prefix)
        return name;
    return arena_printf(l->arena, "%.*s_%s", (int)strlen(prefix) - 1, prefix,
                        name);
}

const char *record_region(const Lower *l, const Func *f)
{
    if (f->stack < 0)
        return arena_printf(l->arena, "%s_record", f->root);
    return stack_region(l, f->stack, "records");
}

const char *pending_region(const Lower *l, int stack)
{
    return stack_region(l, stack, "pending");
}

/* Micro-batches that are open in the chunk that has a part. */
static int64_t part_slots(const Lower *l, const StepMap *map, PartOf part)
{
    int chunk = map->stage < 0 ? 0 : part_number(l, part) / l->stages;
    return map->stage < 0 ? map->slots
        : map->step->stages.at[map->stage].chunks.at[chunk].slots;
}

/* Memory of every micro-batch that is open in a chunk of the decoder. */
static void add_kept_memory(Lower *l, StepMap *map)
{
    const StepValue *x = find_value(map, "x");
    if (l->mixed && map->stage >= 0 && x && step_takes(map->step, "x"))
        add(l, map, "kept_memory", "saved",
            map->memories * value_rows(map, x) * x->width);
}

static void add_record(void *context, const Stmt *s, const Stmt *around)
{
    ValueWalk *walk = context;
    const Func *f = s->func;
    const char *name = f->record_floats ? record_region(walk->l, f) : NULL;
    const StepMap *map = walk->map;
    (void)around;
    if (!name || find_region(map, name) || !runs_here(map, walk->l, f))
        return;
    int64_t slots = 1;
    if (part_waits(part_of(f)))
        slots = part_slots(walk->l, map, part_of(f));
    if (f->stack >= 0 && map->keeps_stream)
        slots = records_here(walk->l, map, f->stack);
    add(walk->l, walk->map, name, "saved",
        slots * f->record_floats * walk->map->stride);
}

/* What the input half of a backward leaves for its weight half. */
static void add_pending(void *context, const Stmt *s, const Stmt *around)
{
    ValueWalk *walk = context;
    const StepMap *map = walk->map;
    const Func *f = s->func;
    (void)around;
    if (!f->pending_floats || !runs_here(map, walk->l, f)
        || find_region(map, pending_region(walk->l, f->stack)))
        return;
    add(walk->l, walk->map, pending_region(walk->l, f->stack), "saved",
        map->pending * f->pending_floats * map->stride);
}

static bool is_logits(const StepValue *v)
{
    return !strcmp(v->name, "logits") || !strcmp(v->name, "norm");
}

/* Values that live from call to call: what backward reads, then its own. */
static void add_values(Lower *l, StepMap *map, bool gradients)
{
    for (int i = 0; i < map->values.count; i++) {
        const StepValue *v = &map->values.at[i];
        if (is_logits(v) || (v->name[0] == 'd') != gradients)
            continue;
        add_value_region(l, map, v, gradients ? "work" : "saved");
    }
}

/* Of the whole batch, for the runtime; generate's last row alone. */
static void add_logits(Lower *l, StepMap *map)
{
    for (int i = 0; i < map->values.count; i++) {
        const StepValue *v = &map->values.at[i];
        int64_t rows = map->sequences * (v->pooled ? 1 : map->step->sequence);
        if (!strcmp(map->step->name, "generate"))
            rows = 1;
        if (is_logits(v))
            add(l, map, v->region, "logits", rows * v->width);
    }
}

bool step_goes_back(const Step *step)
{
    const StageRun *run = &step->stages.at[0];
    return run->actions.at[run->actions.count - 1].kind != ACTION_FORWARD;
}

/* What a stage hands to the next one, and back: two slots of each. */
static void add_mailboxes(Lower *l, StepMap *map)
{
    int64_t rows = map->stride * stream_width(l);
    static const struct { const char *name; Rows of; bool down; } boxes[] = {
        { "send_x", ROWS_X, false }, { "send_memory", ROWS_MEMORY, false },
        { "send_dx", ROWS_X, true }, { "send_dmemory", ROWS_MEMORY, true },
    };
    for (size_t i = 0; map->stage >= 0 && i < sizeof boxes / sizeof *boxes; i++)
        if ((boxes[i].of == ROWS_X || l->decoder)
            && (!boxes[i].down || step_goes_back(map->step))
            && row_sends(l, map->stage, boxes[i].of, boxes[i].down))
            add(l, map, boxes[i].name, "messages", 2 * rows);
}

/* What its chunks have room for. */
static void count_slots(StepMap *map, const StageRun *run)
{
    map->slots = run->chunks.at[0].slots;
    for (int i = 0; i < run->chunks.count; i++) {
        const ModelChunk *chunk = &run->chunks.at[i];
        int64_t blocks = chunk->to - chunk->from;
        map->inputs[chunk->stack] += chunk->slots * (blocks + 1);
        map->records[chunk->stack] += chunk->slots * blocks;
        map->memories += chunk->stack ? chunk->slots : 0;
        map->pending += chunk->pending * blocks;
    }
}

/* The map of one stage, or with -1 of the whole. */
static StepMap map_part(Lower *l, const Step *step, int stage)
{
    int64_t context = l->m->mesh.context;   /* all steps are then ranks' */
    StepMap map = { .step = step, .context = context,
                    .rows = step->micro * step->sequence / context,
                    .groups = 1, .micros = 1, .stage = stage, .slots = 1 };
    bool train = !strcmp(step->name, "train");
    bool grad = !strcmp(step->name, "grad");
    if (stage >= 0)
        count_slots(&map, &step->stages.at[stage]);
    map.replicas = step_replicas(l->m, step);
    map.members = map.replicas * context;
    map.sequences = step->batch / map.replicas;
    bool forward = !strcmp(step->name, "forward");
    bool cached =
        !strcmp(step->name, "generate") || !strcmp(step->name, "encode");
    int64_t blocks = stack_first(l->m, l->m->stacks.count);
    map.stride = round_up(map.rows, 16);
    Survey s = { .l = l, .map = &map, .rows = map.rows,
                 .stride = map.stride, .copies = 1,
                 .keys = model_size(l, "P") };
    ValueWalk walk = { l, &map };
    map.keeps_stream = train || grad || forward;
    step_calls(step, find_values, &walk);
    add_memory(l, &map);
    survey_step(&s, step);
    map.flops = train || grad ? 3 * s.flops : s.flops;
    /* encode leaves it for generate, at the same place */
    int64_t cache = stack_blocks(l->m, l->m->stacks.count - 1) * s.cache;
    if (cached && l->m->stacks.count > 1)
        add(l, &map, "cache", "cache", cache);
    if (train || grad)
        add_gradients(l, &map, train);
    for (int i = 0; gathers(l, step) && i < l->units.count; i++)
        if (!l->units.at[i].experts)
            add(l, &map, gathered_region(l, &l->units.at[i]), "parameters",
                gathered_places(l, &l->units.at[i], stage)
                    * gathered_floats(l, &l->units.at[i], stage));
    add_totals(l, &map);
    if (gives(step, "aux"))
        add(l, &map, "aux", "scalars",              /* all ranks' */
            (stage < 0 ? blocks : l->stages * most_part_blocks(l))
                * step->batch);
    add_inputs(l, &map);
    add_values(l, &map, false);
    add_kept_memory(l, &map);
    step_calls(step, add_record, &walk);
    if (l->halves)
        step_calls(step, add_pending, &walk);
    add_values(l, &map, true);
    add(l, &map, "frame", "work", s.frame);
    if (cached && l->m->stacks.count == 1)
        add(l, &map, "cache", "cache", cache);
    add_logits(l, &map);
    add_mailboxes(l, &map);
    if (stage >= 0 && gives(step, "sums"))      /* all stages get the last's */
        add(l, &map, "all_sums", "messages",
            l->stages * round_up(step->micro, 16));
    map.workspace_floats = round_up(map.workspace_floats, 1024);
    return map;
}

/* What any stage has, so that code can name it. */
static void unite(Lower *l, StepMap *all, const StepMap *one)
{
    for (int i = 0; i < one->regions.count; i++)
        if (!find_region(all, one->regions.at[i].name))
            list_push(l->arena, &all->regions, one->regions.at[i]);
    for (int i = 0; i < one->values.count; i++)
        if (!find_value(all, one->values.at[i].name))
            list_push(l->arena, &all->values, one->values.at[i]);
    if (one->workspace_floats > all->workspace_floats)
        all->workspace_floats = one->workspace_floats;
}

StepMap map_step(Lower *l, const Step *step)
{
    if (step->stages.count == 0)
        return map_part(l, step, -1);
    StepMap whole = map_part(l, step, -1);
    StepMap *parts =
        arena_alloc(l->arena, (size_t)l->stages * sizeof *parts);
    for (int s = 0; s < l->stages; s++) {
        parts[s] = map_part(l, step, s);
        parts[s].flops = whole.flops;
    }
    StepMap all = parts[0];
    all.regions.at = NULL;
    all.values.at = NULL;
    all.regions.count = all.regions.room = 0;
    all.values.count = all.values.room = 0;
    for (int s = 0; s < l->stages; s++)
        unite(l, &all, &parts[s]);
    all.by_stage = parts;
    return all;
}
