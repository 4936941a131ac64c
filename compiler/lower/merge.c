/* merge.c: sums of groups become the batch's, by the fixed tree: in place, in
 * the levels that a step's gradients and sums of losses have room for. */
#include "steps.h"

/* n gradients from `at` on: those of a level join the elder's. */
static void merge_run(Steps *s, ProgBlock *b, ProgExpr *elder, ProgVar *level,
                      ProgExpr *at, ProgExpr *n)
{
    Prog *p = s->p;
    ProgExpr *all = step_region(s, "gradients");
    ProgExpr *each = step_gradient_floats(s);
    ProgExpr *args[] = {
        var(s, s->me),
        px_offset(p, all, px_add(p, px_mul(p, elder, each), at)),
        px_offset(p, all, px_add(p, px_mul(p, var(s, level), each), at)), n,
    };
    step_call(s, b, add_into_func(s->l), args, 4);
}

/* Those of the blocks of a stage, or of its open chunk: a stage's other chunks
 * are in other groups. */
static void merge_blocks(Steps *s, ProgBlock *b, ProgExpr *elder,
                         ProgVar *level)
{
    Prog *p = s->p;
    ProgExpr *each = px_const(p, s->l->stacks[s->stack].gradient_floats_const);
    ProgExpr *at = step_stack_field(s, "gradient_blocks");
    ProgExpr *n = px_mul(p, step_chunk_field(s, "count"), each);
    if (s->l->decoder && !s->model_chunk)
        n = px_sub(p, step_stage_field(s, "gradient_behind"), at);
    if (s->model_chunk)
        at = px_add(p, at,
                    px_mul(p, px_sub(p, step_first_block(s),
                                     step_chunk_field(s, "others")), each));
    merge_run(s, b, elder, level, at, n);
}

/* Elements of a weight, rounded up to 16. */
static ProgExpr *padded(Steps *s, const Weight *w)
{
    int64_t elements = type_elements(s->l->m, &w->type);
    return elements % 16 ? num(s, (elements + 15) / 16 * 16)
                         : elements_of(s->l, &w->type);
}

/* The sums of losses, by one thread. */
static void merge_totals(Steps *s, ProgBlock *b, ProgExpr *elder,
                         ProgVar *level)
{
    Prog *p = s->p;
    ProgExpr *first = px_eq(p, px_field(p, var(s, s->me), "index"),
                            px_i32(p, 0));
    b = ps_if(p, b, first, NULL);
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        ProgExpr *sums = var(s, s->totals[i]);
        ps_store(p, b, sums, elder,
                 px_add(p, px_load(p, sums, elder),
                        px_load(p, sums, var(s, level))));
    }
}

/* The same of a chunk of either stack. */
static void merge_stacks(Steps *s, ProgBlock *b, ProgExpr *elder,
                         ProgVar *level)
{
    ProgBlock *decoder;
    ProgBlock *encoder = ps_if(s->p, b, step_is_encoder(s), &decoder);
    merge_blocks(s, encoder, elder, level);
    s->stack = 1;
    merge_blocks(s, decoder, elder, level);
    s->stack = 0;
}

/* Does a function of the part sum the weight's gradient of that use? */
static bool sums_site(const Lower *l, PartOf part, int weight, int site)
{
    for (int i = 0; i < l->m->funcs.count; i++) {
        const Func *f = l->m->funcs.at[i];
        for (int j = 0; part_of(f) == part && j < f->gradients.count; j++)
            if (f->gradients.at[j].weight == weight
                && f->gradients.at[j].site == site)
                return true;
    }
    return false;
}

/* Those of a part outside blocks, where its chunk of the model is open: a
 * stage's other parts are in other groups. */
static void merge_part(Steps *s, ProgBlock *b, PartOf part, ProgExpr *elder,
                       ProgVar *level)
{
    const Lower *l = s->l;
    b = ps_if(s->p, b, step_is_chunk(s, part_number(l, part)), NULL);
    for (int i = 0; i < l->m->weights.count; i++)
        for (int site = 0; site < MOST_SITES; site++)
            if (l->m->weights.at[i].stack < 0 && sums_site(l, part, i, site))
                merge_run(s, b, elder, level,
                          step_stage_field(s, stage_gradient_field(l, i, site)),
                          padded(s, &l->m->weights.at[i]));
    if (part == PART_LAST)
        merge_totals(s, b, elder, level);
}

/* Those outside of blocks. */
static void merge_outside(Steps *s, ProgBlock *b, ProgExpr *elder,
                          ProgVar *level)
{
    Prog *p = s->p;
    ProgExpr *each = px_const(p, s->l->stacks[0].gradient_floats_const);
    ProgExpr *blocks = step_stage_field(s, "gradient_blocks");
    merge_run(s, b, elder, level, num(s, 0), blocks);
    ProgExpr *end = s->l->decoder
        ? step_stage_field(s, "gradient_behind")
        : px_add(p, blocks, px_mul(p, step_stage_field(s, "count"), each));
    ProgVar *behind = step_let(s, b, "behind", end);
    merge_run(s, b, elder, level, var(s, behind),
              px_sub(p, step_gradient_floats(s), var(s, behind)));
}

/* Sums of finished groups wait in levels, one for every 1 in the number of
 * groups done; a group that ends a pair is added to its elder, and so on: the
 * fixed tree. On a stage with several chunks each chunk has its own group; what
 * is outside of blocks belongs to the model's first chunk, and on the last
 * stage to its last. Where backward is cut the sums of blocks are complete
 * later than the others. */
void step_merge_groups(Steps *s, ProgBlock *b, Merged what)
{
    Prog *p = s->p;
    ps_comment(p, b, "groups are summed by a tree: one that ends a pair joins "
               "its elder");
    ProgVar *pairs = step_let(s, b, "pairs", step_ones(s, true));
    ProgVar *pair = prog_local(p, s->func, "pair", prog_i64());
    ProgBlock *body = ps_for(p, b, pair, num(s, 0), var(s, pairs), num(s, 1));
    ProgExpr *own = px_sub(p, step_ones(s, false), var(s, pair));
    ProgVar *level = step_let(s, body, "level", own);
    ProgExpr *elder = px_sub(p, var(s, level), num(s, 1));
    if (s->l->mixed) {
        merge_stacks(s, body, elder, level);
        for (int i = PART_FIRST; i <= (int)PART_LAST; i++)
            if (i != PART_BLOCKS)
                merge_part(s, body, (PartOf)i, elder, level);
        step_barrier(s, b);
        return;
    }
    if (what == MERGE_BLOCKS || s->model_chunk)
        merge_blocks(s, body, elder, level);
    if (s->model_chunk)
        body = ps_if(p, body, px_or(p, step_begins(s), step_ends(s)), NULL);
    if (what == MERGE_OUTSIDE || s->model_chunk)
        merge_outside(s, body, elder, level);
    else if (what == MERGE_ALL)
        merge_run(s, body, elder, level, num(s, 0), step_gradient_floats(s));
    if (what != MERGE_BLOCKS)
        merge_totals(s, body, elder, level);
    step_barrier(s, b);
}

/* Adds a weight's `sum` to its gradient. */
static void add_sum(Steps *s, ProgBlock *b, int weight, ProgExpr *sum)
{
    const Weight *w = &s->l->m->weights.at[weight];
    ProgExpr *args[] = {
        var(s, s->me),
        px_field(s->p, var(s, s->dshared[0]), c_name(s->l, w->name)),
        sum, padded(s, w),
    };
    step_call(s, b, add_into_func(s->l), args, 4);
}

static ProgExpr *site_sum(Steps *s, int weight, int site)
{
    const Weight *w = &s->l->m->weights.at[weight];
    return px_field(s->p, var(s, s->dshared[site]), c_name(s->l, w->name));
}

/* A site's sum joins that of the sites before it, on every stage that has
 * summed one: its own stage gets that, unless it has it, and the others get the
 * site's. */
static void join_stages(Steps *s, ProgBlock *b, int weight, int site)
{
    const Lower *l = s->l;
    int own = site_stage(l, weight, site), stages[MOST_SITES], count = 0;
    bool has = false;
    for (int i = 0; i < site; i++) {
        int stage = site_stage(l, weight, i);
        has |= stage == own;
        if (!count || stages[count - 1] != stage)
            stages[count++] = stage;
    }
    for (int i = has ? 0 : 1; i < count; i++) {
        if (stages[i] == own)
            continue;
        step_send_sum(s, b, weight, own, stages[i], site_sum(s, weight, site));
        add_sum(s, ps_if(s->p, b, step_is_stage(s, stages[i]), NULL), weight,
                step_region(s, "received"));
    }
    if (has)
        add_sum(s, ps_if(s->p, b, step_is_stage(s, own), NULL), weight,
                site_sum(s, weight, site));
    else
        add_sum(s, step_exchange(s, b, weight, own, stages[0]), weight,
                step_region(s, "received"));
}

void step_sum_sites(Steps *s, ProgBlock *b)
{
    ps_comment(s->p, b, "what several functions use: the sum over them");
    for (int site = 1; site < MOST_SITES; site++)
        for (int i = 0; i < s->l->m->weights.count; i++) {
            if (s->l->site_at[site][i] < 0)
                continue;
            s->p->here = s->l->m->weights.at[i].origin.model;
            if (s->stage)
                join_stages(s, b, i, site);
            else
                add_sum(s, b, i, site_sum(s, i, site));
        }
    step_barrier(s, b);
}
