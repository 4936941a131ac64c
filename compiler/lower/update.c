/* update.c: the end of a train step: the loss as reported, and the update of
 * every trained tensor (of the gradient norm see norms.c). */
#include "steps.h"

ProgExpr *step_total_sum(Steps *s, int total)
{
    return s->shared_totals[total]
        ? var(s, s->shared_totals[total])
        : px_load(s->p, var(s, s->totals[total]), num(s, 0));
}

/* A sum over what is counted, divided by the count: f64. */
static ProgExpr *mean_total(Steps *s, int total, const ProgVar *count)
{
    Prog *p = s->p;
    ProgExpr *some = px_select(p, px_lt(p, num(s, 0), var(s, count)),
                               var(s, count), num(s, 1));
    return px_div(p, step_total_sum(s, total), px_cast(p, prog_f64(), some));
}

/* The same where stages have several chunks: a loop over the chunks of the
 * model, in their order. */
static ProgBlock *each_chunk_aux(Steps *s, ProgBlock *b, ProgExpr **at)
{
    Prog *p = s->p;
    ProgVar *chunk = prog_local(p, s->func, "chunk", prog_i64());
    ProgVar *stage = prog_local(p, s->func, "from_stage", prog_i64());
    ProgVar *replica = prog_local(p, s->func, "replica", prog_i64());
    b = ps_for(p, b, chunk, num(s, 0), px_const(p, s->l->chunk_count),
               num(s, 1));
    b = ps_for(p, b, stage, num(s, 0), px_const(p, s->l->stage_count),
               num(s, 1));
    s->model_chunk =
        step_let(s, b, "model_chunk",
                 step_chunk_row_at(s, var(s, stage), var(s, chunk)));
    s->block = prog_local(p, s->func, "l", prog_i64());
    bool mixed = s->l->mixed;
    b = ps_for(p, b, s->block, mixed ? num(s, 0) : step_first_block(s),
               mixed ? step_chunk_field(s, "count") : step_blocks(s),
               num(s, 1));
    ProgExpr *run = px_mul(p, var(s, stage), num(s, s->map->replicas));
    ProgExpr *own = mixed ? px_add(p, step_chunk_field(s, "held"),
                                   var(s, s->block))
                          : step_own_block(s);
    step_end_blocks(s);
    if (s->map->replicas > 1) {
        b = ps_for(p, b, replica, num(s, 0), num(s, s->map->replicas),
                   num(s, 1));
        run = px_add(p, run, var(s, replica));
    }
    run = px_add(p, px_mul(p, run, num(s, step_aux_blocks(s))), own);
    *at = px_mul(p, run, px_const(p, s->map->batch));
    return b;
}

/* Loops over stages, their blocks and replicas, as many as there are of each;
 * *at: where the losses of such a rank's sequences begin. */
static ProgBlock *each_aux(Steps *s, ProgBlock *b, ProgExpr **at)
{
    Prog *p = s->p;
    ProgVar *stage = prog_local(p, s->func, "from_stage", prog_i64());
    ProgVar *block = prog_local(p, s->func, "l", prog_i64());
    ProgVar *replica = prog_local(p, s->func, "replica", prog_i64());
    ProgExpr *blocks = num(s, step_aux_blocks(s)), *here = blocks;
    ProgExpr *run = num(s, 0);
    if (s->stage && s->l->chunks > 1)
        return each_chunk_aux(s, b, at);
    if (s->stage) {
        b = ps_for(p, b, stage, num(s, 0), px_const(p, s->l->stage_count),
                   num(s, 1));
        here = px_field(p, px_offset(p, px_data(p, s->l->stage_data),
                                     var(s, stage)), "count");
        run = px_mul(p, var(s, stage), num(s, s->map->replicas));
    }
    b = ps_for(p, b, block, num(s, 0), here, num(s, 1));
    if (s->map->replicas > 1) {
        b = ps_for(p, b, replica, num(s, 0), num(s, s->map->replicas),
                   num(s, 1));
        run = px_add(p, run, var(s, replica));
    }
    run = px_add(p, px_mul(p, run, blocks), var(s, block));
    *at = px_mul(p, run, px_const(p, s->map->batch));
    return b;
}

/* Σ of what blocks add to the loss: block by block, sequence by sequence; those
 * of a rank's sequences lie together. */
static void sum_aux(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ps_comment(p, b,
               "the auxiliary losses: blocks in order, sequences in order");
    step_gather_aux(s, b);
    s->aux = step_let(s, b, "aux_loss", px_f64(p, 0));
    ProgVar *i = prog_local(p, s->func, "i", prog_i64());
    ProgExpr *count = px_const(p, s->map->batch), *from = num(s, 0);
    if (s->map->replicas > 1 || s->stage)
        b = each_aux(s, b, &from);
    else
        count = px_mul(p, num(s, step_aux_blocks(s)), count);
    ProgBlock *body = ps_for(p, b, i, num(s, 0), count, num(s, 1));
    ProgExpr *one =
        px_cast(p, prog_f64(), px_load(p, step_region(s, "aux"),
                                       px_add(p, from, var(s, i))));
    ps_set(p, body, s->aux, px_add(p, var(s, s->aux), one));
}

/* The loss as reported: Σ / count, of targets, of labels or pairs, and the
 * auxiliary losses, rounded to f32 once. */
void step_finish_loss(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ProgExpr *loss = NULL;
    if (s->count)
        loss = mean_total(s, TOTAL_LOSS, s->count);
    if (s->labels) {
        ProgExpr *labels = mean_total(s, TOTAL_LABEL_LOSS, s->labels);
        loss = loss ? px_add(p, loss, labels) : labels;
    }
    if (find_region(s->map, "aux")) {
        sum_aux(s, b);
        loss = px_add(p, loss, var(s, s->aux));
    }
    s->loss_value = step_let(s, b, "loss_value", px_cast(p, prog_f32(), loss));
}

/* ---- every trained tensor, in checkpoint order ---- */
/* Whether copy `l` of w is trained, where some are not: runs of blocks. */
ProgExpr *step_trains(Steps *s, const Weight *w)
{
    Prog *p = s->p;
    ProgExpr *any = NULL;
    int64_t n = stack_blocks(s->l->m, w->stack);
    for (int64_t i = 0; i < n;) {
        if (w->frozen_blocks[i] == 'f') {
            i++;
            continue;
        }
        int64_t end = i;
        while (end < n && w->frozen_blocks[end] != 'f')
            end++;
        ProgExpr *from = px_le(p, num(s, i), var(s, s->block));
        ProgExpr *before = px_lt(p, var(s, s->block), num(s, end));
        ProgExpr *run = px_and(p, from, before);
        if (end == n)
            run = from;
        else if (i == 0)
            run = before;
        any = any ? px_or(p, any, run) : run;
        i = end;
    }
    return any;
}

/* Moments lie as the gradients do: the first of all parameters, then the
 * second. */
static ProgExpr *moment_start(Steps *s, int which)
{
    ProgExpr *state = step_control(s, "state");
    if (!which)
        return state;
    return px_offset(s->p, state,
                     s->stage ? step_stage_field(s, "moment")
                              : px_const(s->p, s->l->moment_const));
}

static bool is_updated(const Weight *w)
{
    return !w->constant && !w->frozen && !w->derived;
}

/* The tensors of a block as they lie in it: experts that ranks share last. */
static void each_tensor_of_block(Steps *s, ProgBlock *body,
                                 const TensorWalk *walk, int stack)
{
    const Module *m = s->l->m;
    for (int experts = 0; experts < 2; experts++)
        for (int i = 0; i < m->weights.count; i++) {
            const Weight *w = &m->weights.at[i];
            if (w->stack != stack || !is_updated(w)
                || w->experts != experts)
                continue;
            s->p->here = w->origin.model;
            walk->rule(s, body, i);
        }
    s->p->here = (Loc){0};
}

static void begin(Steps *s, ProgBlock *b, const TensorWalk *walk, PartOf part)
{
    if (walk->begin)
        walk->begin(s, b, part);
}

/* A stack's tensors, in a loop over its blocks. */
static void each_block_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk,
                              int stack)
{
    const Module *m = s->l->m;
    bool any = false;
    for (int i = 0; i < m->weights.count; i++)
        any |= m->weights.at[i].stack == stack && is_updated(&m->weights.at[i]);
    if (!any || !stack_blocks(m, stack))
        return;
    ProgBlock *body = step_each_block(s, b, stack);
    if (walk->updates)
        step_point_at_block(s, body);
    step_point_at_sums(s, body);
    for (int j = 0; j < 2; j++)
        if (s->block_moments[stack][j])
            step_point(
                s, body, s->l->stacks[stack].sums, s->block_moments[stack][j],
                px_offset(s->p, moment_start(s, j), step_gradient_block(s)));
    begin(s, body, walk, PART_BLOCKS);
    each_tensor_of_block(s, body, walk, stack);
    step_end_blocks(s);
}

/* Does the stage embed, so that tensors stand before its blocks? */
static bool embeds(const Lower *l, int stage)
{
    return stage == 0 || stage == l->decoder;
}

/* Is a tensor outside blocks among those of a stage before its blocks, or
 * behind them? A tied one counts in the norm on the first stage alone; a stage
 * that does not embed updates it behind its blocks. */
static bool in_part(const Lower *l, int weight, int stage, bool before,
                    bool passed, bool updates)
{
    bool tied = weight_is_tied(l, weight);
    if (!weight_on_stage(l, weight, stage)
        || (tied && stage > 0 && !updates))
        return false;
    if (before)
        return !passed;
    return passed || (tied && !embeds(l, stage));
}

static void each_part_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk,
                             int stage, bool before)
{
    const Module *m = s->l->m;
    bool passed = false;
    b = ps_if(s->p, b, step_is_stage(s, stage), NULL);
    begin(s, b, walk, before ? PART_FIRST : PART_LAST);
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        passed |= w->stack == part_stack(s->l, stage);
        if (w->stack >= 0 || !is_updated(w)
            || !in_part(s->l, i, stage, before, passed, walk->updates))
            continue;
        s->p->here = w->origin.model;
        walk->rule(s, b, i);
    }
    s->p->here = (Loc){0};
}

/* Those of the stages that have blocks of a stack, `first` to `last`. */
static void each_stack_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk,
                              int stack, int first, int last)
{
    each_part_tensor(s, b, walk, first, true);
    each_block_tensor(s, b, walk, stack);
    s->stack = stack;
    if (last == s->l->stages - 1
        || module_find_func(s->l->m, "encoder_norm.forward"))
        each_part_tensor(s, b, walk, last, false);
    s->stack = 0;
}

/* Those outside blocks of a part, where stages have chunks of both stacks. */
static void each_mixed_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk,
                              PartOf part)
{
    const Lower *l = s->l;
    b = ps_if(s->p, b, step_is_stage(s, part_stage(l, part)), NULL);
    begin(s, b, walk, part);
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack >= 0 || !is_updated(w)
            || !(walk->updates ? part_updates(l, part, i)
                               : part_counts(l, part, i)))
            continue;
        s->p->here = w->origin.model;
        walk->rule(s, b, i);
    }
    s->p->here = (Loc){0};
}

static void each_mixed_stack(Steps *s, ProgBlock *b, const TensorWalk *walk,
                             int stack)
{
    each_mixed_tensor(s, b, walk, stack ? PART_DECODER : PART_FIRST);
    each_block_tensor(s, b, walk, stack);
    each_mixed_tensor(s, b, walk, stack ? PART_LAST : PART_MEMORY);
}

/* The stage's trained weights, in checkpoint order. */
static void each_stage_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk)
{
    int decoder = s->l->decoder, last = s->l->stages - 1;
    for (int stack = 0; s->l->mixed && stack < 2; stack++)
        each_mixed_stack(s, b, walk, stack);
    if (s->l->mixed)
        return;
    if (decoder)
        each_stack_tensor(s, b, walk, 0, 0, decoder - 1);
    each_stack_tensor(s, b, walk, decoder > 0, decoder, last);
}

void step_each_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk)
{
    const Module *m = s->l->m;
    bool looped[2] = {false};
    if (s->stage) {
        each_stage_tensor(s, b, walk);
        return;
    }
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        if (w->stack >= 0 && !looped[w->stack]) {
            looped[w->stack] = true;
            each_block_tensor(s, b, walk, w->stack);
        }
        if (w->stack >= 0 || !is_updated(w))
            continue;
        s->p->here = w->origin.model;
        walk->rule(s, b, i);
    }
    s->p->here = (Loc){0};
}

ProgExpr *step_tensor(Steps *s, const Weight *w, ProgVar *shared,
                      ProgVar *block)
{
    return px_field(s->p, var(s, w->stack >= 0 ? block : shared),
                    c_name(s->l, w->name));
}

ProgExpr *update_argument(Steps *s, const KernelArg *arg, int weight)
{
    const Weight *w = &s->l->m->weights.at[weight];
    const char *name = arg->value ? arg->value->name : "";
    if (arg->kind == ARG_THREAD)
        return var(s, s->me);
    if (arg->kind == ARG_CONTROL)
        return var(s, s->control);
    if (arg->kind == ARG_ROWS)
        return elements_of(s->l, &w->type);
    if (arg->kind == ARG_SCALAR && !strcmp(name, "clip_scale"))
        return var(s, s->clip_scale);
    if (arg->kind == ARG_SCALAR && !strcmp(name, "decay") && !w->decay)
        return px_f32(s->p, 0);
    if (arg->kind == ARG_SCALAR)
        return step_control(s, name);
    int which = !strcmp(name, "second");
    if (!strcmp(name, "p"))
        return step_tensor(s, w, s->shared, s->w[s->stack]);
    if (!strcmp(name, "g"))
        return step_tensor(s, w, s->dshared[0], s->dw[s->stack]);
    return step_tensor(s, w, s->moments[which],
                       s->block_moments[s->stack][which]);
}

/* The body of an `if` that w is trained: neighbours of equal masks in the loop
 * over one stack's blocks share one. */
static ProgBlock *masked_block(Steps *s, ProgBlock *b, const Weight *w)
{
    if (!s->mask || s->masked_in != b
        || strcmp(s->mask, w->frozen_blocks) != 0)
        s->masked = ps_if(s->p, b, step_trains(s, w), NULL);
    s->mask = w->frozen_blocks;
    s->masked_in = b;
    return s->masked;
}

const KernelCode *update_code(Steps *s)
{
    return &find_code(s->l, module_find_func(s->l->m, "update"))->update;
}

static void update_rule(Steps *s, ProgBlock *b, int weight)
{
    const Weight *w = &s->l->m->weights.at[weight];
    const KernelCode *code = update_code(s);
    List(ProgExpr *) args = {0};
    if (!w->frozen_blocks)
        s->mask = NULL;
    else
        b = masked_block(s, b, w);
    for (int i = 0; i < code->args.count; i++)
        list_push(s->l->arena, &args,
                  update_argument(s, &code->args.at[i], weight));
    step_call(s, b, code->func, args.at, args.count);
}

/* Records of a stack's moments: "block_first", of two stacks "encoder_first".
 */
static void open_block_moments(Steps *s, ProgBlock *b, int moment,
                               const char *name)
{
    for (int i = 0; i < s->l->m->stacks.count; i++) {
        const char *prefix = s->l->m->stacks.at[i].prefix;
        const char *of =
            *prefix ? arena_strndup(s->l->arena, prefix, strlen(prefix) - 1)
                    : "block";
        s->block_moments[i][moment] =
            step_record(s, b, arena_printf(s->l->arena, "%s_%s", of, name),
                        s->l->stacks[i].record);
    }
}

void step_update(Steps *s, ProgBlock *b)
{
    static const char *const names[] = { "first", "second" };
    ps_comment(s->p, b, "the update, a tensor at a time");
    b = ps_if(s->p, b, var(s, s->applied), NULL);
    if (s->l->shards > 1) {
        step_update_shares(s, b);
        step_gather_weights(s, b);
        return;
    }
    for (int i = 0; i < s->l->info->moments; i++) {
        s->moments[i] = step_record(s, b, names[i], s->l->shared);
        step_point_shared(s, b, s->l->shared_sums[0], s->l->stage_sums[0],
                          s->moments[i], moment_start(s, i));
        open_block_moments(s, b, i, names[i]);
    }
    step_each_tensor(s, b, &(TensorWalk){ .rule = update_rule,
                                          .updates = true });
}
