/* map.c: where everything that a program keeps lies: regions of its values, one
 * after the other, exact. Two programs may lie in the same bytes, since a
 * command runs one at a time; weights and moments lie before the values, for
 * all. */
#include "lowering.h"
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

/* ---- what a step calls ---- */
typedef struct Survey {
    Lower *l;
    StepMap *map;
    int64_t frame, record, cache, embed_record;
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

static void survey_node(Survey *s, const Node *n)
{
    int64_t work = 0;
    if (op_info[n->op].class == CLASS_MATMUL) {
        const Type *w = n->op == OP_matmul_weight ? &n->out[0]->type
                                                  : &n->in[1]->type;
        int64_t out = type_size(s->l, w, 0), in = type_size(s->l, w, 1);
        work = matmul_workspace(s->rows, in, out);
        if (n->op == OP_matmul)
            s->flops += s->copies * 2.0 * (double)s->rows * (double)in
                * (double)out;
    } else if (op_info[n->op].class == CLASS_ATTENTION) {
        int64_t head = model_size(s->l, "D"), queries = s->map->step->sequence;
        int64_t keys = n->attrs.cached ? s->keys : queries;
        work = attention_workspace(queries, keys, head);
        if (n->op == OP_attention)
            s->flops += s->copies * 4.0 * (double)head * (double)n->attrs.heads
                * (double)s->map->step->micro
                * visible_pairs(&n->attrs, queries, keys);
    }
    if (work > s->map->workspace_floats)
        s->map->workspace_floats = work;
}

static void survey_func(Survey *s, const Func *f)
{
    if (f->frame_floats * s->stride > s->frame)
        s->frame = f->frame_floats * s->stride;
    if (f->record_floats && f->per_block
        && f->record_floats * s->stride > s->record)
        s->record = f->record_floats * s->stride;
    if (f->record_floats && !f->per_block
        && f->record_floats * s->stride > s->embed_record)
        s->embed_record = f->record_floats * s->stride;
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *n = f->nodes.at[i];
        if (n->op == OP_cache) {
            int64_t end = (n->attrs.slot + 1)
                * type_size(s->l, &n->out[0]->type, 1)
                * type_size(s->l, &n->out[0]->type, 2);
            s->cache = end > s->cache ? end : s->cache;
        }
        survey_node(s, n);
    }
}

static void survey(Survey *s, const Stmt *stmt)
{
    StepMap *map = s->map;
    Survey in = *s;
    if (stmt->kind == STEP_GROUPS)
        map->groups = stmt->count;
    if (stmt->kind == STEP_MICROS)
        map->micros = stmt->count;
    if (stmt->kind == STEP_GROUPS || stmt->kind == STEP_MICROS)
        in.copies *= (double)stmt->count;
    if (stmt->kind == STEP_REPEAT)
        in.copies *= (double)model_size(s->l, "L");
    if (stmt->kind == STEP_CHUNKS) {
        map->chunks = stmt->count;
        map->chunk_rows = stmt->chunk_rows;
        map->chunk_stride = round_up(stmt->chunk_rows, 16);
        in.rows = stmt->chunk_rows;
        in.stride = map->chunk_stride;
        /* the last chunk may be short: count the rows there are */
        if (!stmt->last)
            in.copies *= (double)s->rows / (double)stmt->chunk_rows;
    }
    if (stmt->kind == STEP_CALL)
        survey_func(&in, stmt->func);
    for (int i = 0; i < stmt->body.count; i++)
        survey(&in, stmt->body.at[i]);
    s->frame = in.frame;
    s->record = in.record;
    s->embed_record = in.embed_record;
    s->cache = in.cache;
    s->flops = in.flops;
}

/* 1024-blocks of all trained tensors, in checkpoint order. */
static int64_t norm_blocks(const Lower *l)
{
    int64_t blocks = 0, count = model_size(l, "L");
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (!w->constant && !w->frozen)
            blocks += (w->per_block ? count : 1)
                * ((type_elements(l->m, &w->type) + 1023) / 1024);
    }
    return blocks;
}

/* Where all is frozen they have a block that nobody adds to, and the norm is
 * that of its zeros. */
static void add_gradients(Lower *l, StepMap *map, bool norm)
{
    int64_t floats = l->gradient_floats, blocks = norm_blocks(l);
    for (int64_t n = 1; n < map->groups; n *= 2)
        map->levels++;
    add(l, map, "gradients", "gradients",
        (map->levels + 1) * (floats ? floats : 1024));
    if (norm)
        add(l, map, "norms", "scalars", 2 * (blocks ? blocks : 1));
}

StepMap map_step(Lower *l, const Step *step)
{
    StepMap map = { .step = step, .rows = step->micro * step->sequence,
                    .groups = 1, .micros = 1 };
    bool train = !strcmp(step->name, "train");
    bool grad = !strcmp(step->name, "grad");
    bool forward = !strcmp(step->name, "forward");
    bool generate = !strcmp(step->name, "generate");
    int64_t width = model_size(l, "C"), vocab = model_size(l, "V");
    int64_t blocks = model_size(l, "L");
    int64_t ids = step->batch * step->sequence;
    map.stride = round_up(map.rows, 16);
    Survey s = { .l = l, .map = &map, .rows = map.rows,
                 .stride = map.stride, .copies = 1,
                 .keys = model_size(l, "P") };
    for (int i = 0; i < step->body.count; i++)
        survey(&s, step->body.at[i]);
    map.keeps_stream = train || grad || forward;
    map.flops = train || grad ? 3 * s.flops : s.flops;
    if (train || grad)
        add_gradients(l, &map, train);
    add(l, &map, "loss", "scalars", 2 * (map.levels + 1));
    add(l, &map, "tokens", "input", ids);
    if (!generate && !forward)
        add(l, &map, "targets", "input", ids);
    add(l, &map, "lengths", "input", step->batch);
    add(l, &map, "stream", "saved",
        (map.keeps_stream ? blocks + 1 : 2) * map.stride * width);
    add(l, &map, "embed_record", "saved", s.embed_record);
    add(l, &map, "records", "saved",
        (map.keeps_stream ? blocks : 1) * s.record);
    if (train || grad)
        add(l, &map, "dx", "work", 2 * map.stride * width);
    add(l, &map, "frame", "work", s.frame);
    add(l, &map, "cache", "cache", blocks * s.cache);
    if (grad || forward || generate)
        add(l, &map, "logits", "logits", (generate ? 1 : ids) * vocab);
    if (forward && module_find_func(l->m, "head.inspect")->results.count == 2)
        add(l, &map, "norm", "logits", ids * width);
    map.workspace_floats = round_up(map.workspace_floats, 1024);
    return map;
}

static const char *upper(Arena *arena, const char *step, const char *region)
{
    char *name = arena_printf(arena, "%s_%s", step, region);
    for (char *c = name; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return name;
}

/* The memory map in the source: an offset in floats a region, then the
 * total. */
void name_regions(Lower *l, StepMap *map)
{
    const char *step = map->step->name;
    int group = prog_add_wide_group(l->p, arena_printf(
        l->arena, "Where the values of %s lie, in floats from Control.values.",
        step));
    for (int i = 0; i < map->regions.count; i++) {
        Region *r = &map->regions.at[i];
        const char *comment = arena_printf(l->arena, "%lld floats, %s",
                                           (long long)r->floats, r->class);
        r->constant = prog_const(l->p, group, upper(l->arena, step, r->name),
                                 r->offset, comment);
    }
    prog_const(l->p, group, upper(l->arena, step, "floats"), map->floats,
               "in all");
    const char *comment = arena_printf(l->arena, "x or dx: %lld rows of C",
                                       (long long)map->stride);
    map->slot = prog_const(l->p, group, upper(l->arena, step, "x"),
                           map->stride * model_size(l, "C"), comment);
}
