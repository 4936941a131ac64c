/* schedule.c: the step pass. The train step is cut into groups and
 * micro-batches, the head into chunks of rows, and the other programs are
 * derived: grad is the train step without an update. On one rank nothing is
 * sent.
 *
 * Groups fix the order of summation (the batch in equal runs of consecutive
 * sequences, summed by a tree); micro-batches only fix how much runs at a time
 * and never span two groups, so their size cannot change a bit. */
#include "pass.h"

/* Bytes of logits that a chunk of the head's rows may take. */
enum { CHUNK_BYTES = 64 << 20 };

static Stmt *new_stmt(Module *m, StepKind kind, Loc cause)
{
    Stmt *s = arena_alloc(m->arena, sizeof *s);
    s->kind = kind;
    s->origin = (Origin){ .model = cause, .cause = cause, .pass = "schedule" };
    return s;
}

/* The widest row that a head makes. */
static int64_t logits_width(const Module *m, const Func *head)
{
    int64_t width = 1;
    for (int i = 0; i < head->nodes.count; i++) {
        const Value *v = head->nodes.at[i]->out[0];
        if (!strcmp(v->name, "logits"))
            width = m->dims.at[v->type.dims[v->type.rank - 1]].size;
    }
    return width;
}

/* Rows at a time: as many as CHUNK_BYTES holds, in equal chunks of whole 16
 * rows. */
static void size_chunks(const Module *m, const Step *step, const Func *head,
                        Stmt *chunks)
{
    int64_t rows = step->micro * (chunks->pooled ? 1 : step->sequence);
    int64_t most = CHUNK_BYTES / (4 * logits_width(m, head)) / 16 * 16;
    if (most < 16)
        most = 16;
    int64_t count = (rows + most - 1) / most;
    chunks->chunk_rows = ((rows + count - 1) / count + 15) / 16 * 16;
    chunks->count = (rows + chunks->chunk_rows - 1) / chunks->chunk_rows;
}

static bool is_head(const Stmt *s)
{
    return s->kind == STEP_CALL && (!strcmp(s->func->root, "head")
                                    || !strcmp(s->func->root, "next_sentence"));
}

/* Does it work on a row a sequence? */
static bool is_pooled(const Stmt *s)
{
    return !strcmp(s->arguments.at[0], "pooled");
}

/* The head's call becomes a loop over chunks. */
static Stmt *chunked(Module *m, const Step *step, Stmt *head)
{
    Stmt *chunks = new_stmt(m, STEP_CHUNKS, head->origin.model);
    chunks->pooled = is_pooled(head);
    size_chunks(m, step, head->func, chunks);
    if (!strcmp(step->name, "generate")) {
        chunks->last = true;
        chunks->count = chunks->chunk_rows = 1;
    }
    list_push(m->arena, &chunks->body, head);
    return chunks;
}

static bool in_loop(const Stmt *s)
{
    return s->kind == STEP_CALL || s->kind == STEP_REPEAT
        || s->kind == STEP_ZERO;
}

static bool repeats(const Stmt *s, const char *what)
{
    return s->kind == STEP_REPEAT
        && strstr(s->body.at[0]->func->name, what) != NULL;
}

/* count, groups { micros { calls } }, the rest. */
static void cut_train(Module *m, Step *step, const Plan *plan)
{
    int64_t group = plan->batch / plan->groups;
    step->micro = plan->micro_batch < group ? plan->micro_batch : group;
    Stmt *groups = new_stmt(m, STEP_GROUPS, plan->groups_from);
    Stmt *micros = new_stmt(m, STEP_MICROS, plan->micro_from);
    groups->count = plan->groups;
    micros->count = group / step->micro;
    list_push(m->arena, &groups->body, micros);
    Step cut = *step;
    cut.body.at = NULL;
    cut.body.count = cut.body.room = 0;
    bool opened = false;
    for (int i = 0; i < step->body.count; i++) {
        Stmt *s = step->body.at[i];
        if (repeats(s, "finish")) {     /* once a group */
            list_push(m->arena, &groups->body, s);
            continue;
        }
        if (!in_loop(s) || repeats(s, "prepare")) {
            list_push(m->arena, &cut.body, s);
            continue;
        }
        if (!opened)
            list_push(m->arena, &cut.body, groups);
        opened = true;
        list_push(m->arena, &micros->body,
                  is_head(s) ? chunked(m, step, s) : s);
    }
    *step = cut;
}

static void cut_head(Module *m, Step *step)
{
    for (int i = 0; i < step->body.count; i++)
        if (is_head(step->body.at[i]))
            step->body.at[i] = chunked(m, step, step->body.at[i]);
}

static Stmt *logits_call(Module *m, const Stmt *head)
{
    Stmt *s = new_stmt(m, STEP_CALL, head->origin.model);
    s->func = module_find_func(m, "head.logits");
    list_push(m->arena, &s->arguments, head->arguments.at[0]);
    list_push(m->arena, &s->results, "logits");
    return s;
}

static Stmt *copy_for_grad(Module *m, const Stmt *s)
{
    Stmt *copy = arena_alloc(m->arena, sizeof *copy);
    *copy = *s;
    copy->body.at = NULL;
    copy->body.count = copy->body.room = 0;
    for (int i = 0; i < s->body.count; i++) {
        const Stmt *inner = s->body.at[i];
        if (inner->kind == STEP_CALL && !strcmp(inner->func->name, "head.step"))
            list_push(m->arena, &copy->body, logits_call(m, inner));
        list_push(m->arena, &copy->body, copy_for_grad(m, s->body.at[i]));
    }
    return copy;
}

static void derive_grad(Module *m, const Step *train)
{
    Step *grad = arena_alloc(m->arena, sizeof *grad);
    *grad = *train;
    grad->name = "grad";
    grad->training = false;
    grad->body.at = NULL;
    grad->body.count = grad->body.room = 0;
    for (int i = 0; i < train->body.count; i++)
        if (train->body.at[i]->kind != STEP_NORM
            && train->body.at[i]->kind != STEP_UPDATE)
            list_push(m->arena, &grad->body,
                      copy_for_grad(m, train->body.at[i]));
    list_push(m->arena, &m->steps, grad);
}

/* ---- stages ---- */
static void add_action(Module *m, StageRun *run, ActionKind kind, int64_t chunk,
                       int64_t micro)
{
    const Action action = { kind, micro, chunk };
    list_push(m->arena, &run->actions, action);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* All forward, then all backward (GPipe, Huang et al. 2019). */
static void run_gpipe(Module *m, StageRun *run, int64_t micros)
{
    for (int64_t i = 0; i < micros; i++)
        add_action(m, run, ACTION_FORWARD, 0, i);
    for (int64_t i = 0; i < micros; i++)
        add_action(m, run, ACTION_BACKWARD, 0, i);
}

/* As many forward as there are stages behind, then one forward, one backward
 * (PipeDream-flush, Narayanan et al. 2021): no stage has more micro-batches
 * open than there are stages from it on. */
static void run_1f1b(Module *m, StageRun *run, int64_t micros, int64_t behind)
{
    int64_t ahead = least(behind, micros);
    for (int64_t i = 0; i < ahead; i++)
        add_action(m, run, ACTION_FORWARD, 0, i);
    for (int64_t i = ahead; i < micros; i++) {
        add_action(m, run, ACTION_FORWARD, 0, i);
        add_action(m, run, ACTION_BACKWARD, 0, i - ahead);
    }
    for (int64_t i = micros - ahead; i < micros; i++)
        add_action(m, run, ACTION_BACKWARD, 0, i);
}

/* Action k of a kind where V chunks take turns: a round of S micro-batches goes
 * through chunk 0, then through chunk 1 …, backward from the last on; then the
 * next round. Where S does not divide them the last round is short: a
 * micro-batch that there is not is left out, which breaks no order. */
static void add_turn(Module *m, StageRun *run, ActionKind kind, int64_t k,
                     const Plan *plan, int64_t micros)
{
    int64_t stages = plan->mesh.stages, chunks = plan->chunks;
    int64_t round = k / (stages * chunks), chunk = k / stages % chunks;
    int64_t micro = round * stages + k % stages;
    if (kind == ACTION_BACKWARD)
        chunk = chunks - 1 - chunk;
    if (micro < micros)
        add_action(m, run, kind, chunk, micro);
}

/* Interleaved 1F1B (Narayanan et al. 2021, Megatron-LM's order): a stage has
 * `chunks` chunks of the model, and a micro-batch comes by as often. Before
 * the first backward of a stage are the rounds of all chunks but the last, and
 * twice as many forward as there are stages behind. */
static void run_interleaved(Module *m, StageRun *run, const Plan *plan,
                            int64_t micros, int64_t behind)
{
    int64_t stages = plan->mesh.stages;
    int64_t rounds = (micros + stages - 1) / stages;
    int64_t all = rounds * stages * plan->chunks;
    int64_t ahead = least((plan->chunks - 1) * stages + 2 * behind, all);
    for (int64_t i = 0; i < ahead; i++)
        add_turn(m, run, ACTION_FORWARD, i, plan, micros);
    for (int64_t i = ahead; i < all; i++) {
        add_turn(m, run, ACTION_FORWARD, i, plan, micros);
        add_turn(m, run, ACTION_BACKWARD, i - ahead, plan, micros);
    }
    for (int64_t i = all - ahead; i < all; i++)
        add_turn(m, run, ACTION_BACKWARD, i, plan, micros);
}

/* 1f1b whose backward is cut in two (ZB-H1 of Qi et al. 2023): stage s sums the
 * gradients of its weights s micro-batches after their rows' and so has work
 * where it would wait for the stage behind. On every stage are as many
 * micro-batches open as on 1f1b's first. Where `group` is not 0 the weights of
 * so many micro-batches come before the next one's backward. */
static void run_zero_bubble(Module *m, StageRun *run, int64_t micros,
                            int64_t before, int64_t behind, int64_t group)
{
    int64_t ahead = least(behind, micros), summed = 0;
    for (int64_t i = 0; i < ahead; i++)
        add_action(m, run, ACTION_FORWARD, 0, i);
    for (int64_t i = 0; i < micros; i++) {
        if (ahead + i < micros)
            add_action(m, run, ACTION_FORWARD, 0, ahead + i);
        while (group && i % group == 0 && summed < i)
            add_action(m, run, ACTION_WEIGHTS, 0, summed++);
        add_action(m, run, ACTION_BACKWARD, 0, i);
        if (i - summed >= before)
            add_action(m, run, ACTION_WEIGHTS, 0, summed++);
    }
    while (summed < micros)
        add_action(m, run, ACTION_WEIGHTS, 0, summed++);
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Slots for as many micro-batches of a chunk as are ever open: until their
 * backward, or where that is cut until the weights'. */
static void count_slots(StageRun *run, bool halves)
{
    for (int i = 0; i < run->chunks.count; i++) {
        ModelChunk *chunk = &run->chunks.at[i];
        int64_t done[ACTION_KINDS] = {0};
        chunk->slots = 1;
        for (int j = 0; j < run->actions.count; j++) {
            const Action *a = &run->actions.at[j];
            if (a->chunk != i)
                continue;
            done[a->kind]++;
            int64_t pending = done[ACTION_BACKWARD] - done[ACTION_WEIGHTS];
            int64_t open = done[ACTION_FORWARD]
                - done[halves ? ACTION_WEIGHTS : ACTION_BACKWARD];
            chunk->slots = most(chunk->slots, open);
            if (halves)
                chunk->pending = most(chunk->pending, pending);
        }
    }
}

/* Blocks of chunk i of the model: as the spec says, or L / chunks, the first
 * L mod chunks one more: the last has the head. */
static int64_t chunk_blocks(const Module *m, const Plan *plan, int64_t i)
{
    int64_t blocks = stack_blocks(m, 0);
    int64_t chunks = plan->mesh.stages * plan->chunks;
    if (plan->split)
        return plan->split[i];
    return blocks / chunks + (i < blocks % chunks);
}

int64_t plan_encoder_stages(int64_t encoder, int64_t decoder, int64_t stages)
{
    int64_t all = encoder + decoder;
    int64_t own = (2 * stages * encoder + all) / (2 * all);
    own = most(own, most(1, stages - decoder));
    return least(own, least(encoder, stages - 1));
}

/* The same of an encoder-decoder, whose encoder has the first chunks: each
 * stack's are as even as can be. */
static int64_t stack_chunk_blocks(const Module *m, const Plan *plan, int64_t i)
{
    int64_t encoder = stack_blocks(m, 0), decoder = stack_blocks(m, 1);
    int64_t stages = plan->mesh.stages * plan->chunks;
    int64_t own = plan_encoder_stages(encoder, decoder, stages);
    if (plan->split)
        return plan->split[i];
    if (i < own)
        return encoder / own + (i < encoder % own);
    stages -= own;
    return decoder / stages + (i - own < decoder % stages);
}

/* Stages with their chunks, and nothing to do yet. A chunk has blocks of one
 * stack. */
static void add_stages(Module *m, Step *step, const Plan *plan)
{
    int64_t stages = plan->mesh.stages, next = 0;
    bool two = m->stacks.count > 1;
    int stack = 0;
    for (int64_t i = 0; stages > 1 && i < stages * plan->chunks; i++) {
        if (two && !stack && next == stack_blocks(m, 0)) {
            stack = 1;
            next = 0;
        }
        ModelChunk chunk = { .stack = stack, .from = next, .slots = 1 };
        next += two ? stack_chunk_blocks(m, plan, i) : chunk_blocks(m, plan, i);
        chunk.to = next;
        if (i < stages)
            list_push(m->arena, &step->stages, (StageRun){0});
        list_push(m->arena, &step->stages.at[i % stages].chunks, chunk);
    }
}

static void cut_stages(Module *m, Step *step, const Plan *plan)
{
    int64_t micros = step->batch / plan->mesh.data / step->micro;
    int64_t group = step_whole_groups(step);
    add_stages(m, step, plan);
    for (int s = 0; s < step->stages.count; s++) {
        StageRun *run = &step->stages.at[s];
        int64_t behind = step->stages.count - 1 - s;
        switch (plan->pipeline) {
        case PIPELINE_GPIPE: run_gpipe(m, run, micros); break;
        case PIPELINE_1F1B: run_1f1b(m, run, micros, behind); break;
        case PIPELINE_INTERLEAVED:
            run_interleaved(m, run, plan, micros, behind);
            break;
        case PIPELINE_ZERO_BUBBLE:
            run_zero_bubble(m, run, micros, s, behind, group);
            break;
        }
        count_slots(run, plan->pipeline == PIPELINE_ZERO_BUBBLE);
    }
}

/* Evaluation hands one micro-batch through the stages. */
static void cut_evaluation(Module *m, Step *step, const Plan *plan)
{
    add_stages(m, step, plan);
    for (int s = 0; s < step->stages.count; s++)
        for (int64_t i = 0; i < plan->chunks; i++)
            add_action(m, &step->stages.at[s], ACTION_FORWARD, i, 0);
}

/* A stage prepares its own blocks; other programs all. */
static void derive_prepare(Module *m, const Plan *plan)
{
    Step *prepare = module_find_step(m, "prepare");
    if (!prepare || plan->mesh.stages == 1)
        return;
    Step *staged = arena_alloc(m->arena, sizeof *staged);
    *staged = *prepare;
    staged->name = "stage_prepare";
    cut_evaluation(m, staged, plan);
    list_push(m->arena, &m->steps, staged);
}

static bool counts_pairs(const Step *train)
{
    for (int i = 0; train && i < train->body.count; i++)
        if (train->body.at[i]->kind == STEP_COUNT
            && !strcmp(train->body.at[i]->what, "pairs"))
            return true;
    return false;
}

/* Ranks that have a part of the weights score what they train against together:
 * the stages of a pipeline, and those that keep shares. */
static void derive_score(Module *m, const Plan *plan)
{
    const Step *score = module_find_step(m, "score");
    if (!score || !counts_pairs(module_find_step(m, "train"))
        || (plan->mesh.shard != SHARD_PARAMETERS && plan->mesh.stages == 1))
        return;
    Step *gathered = arena_alloc(m->arena, sizeof *gathered);
    *gathered = *score;
    gathered->name = "gathered_score";
    cut_evaluation(m, gathered, plan);
    list_push(m->arena, &m->steps, gathered);
}

bool pass_schedule(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    m->mesh = plan->mesh;
    for (int i = 0; i < m->steps.count; i++) {
        Step *step = m->steps.at[i];
        if (step->training) {
            cut_train(m, step, plan);
            cut_stages(m, step, plan);
        } else {
            cut_head(m, step);
        }
        if (!strcmp(step->name, "eval"))
            cut_evaluation(m, step, plan);
    }
    derive_grad(m, module_find_step(m, "train"));
    derive_prepare(m, plan);
    derive_score(m, plan);
    return true;
}
