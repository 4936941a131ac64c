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

/* Rows at a time: as many as CHUNK_BYTES holds, in equal chunks of whole 16
 * rows. */
static void size_chunks(const Module *m, const Step *step, Stmt *chunks)
{
    int64_t vocab = m->dims.at[module_find_dim(m, "V")].size;
    int64_t rows = step->micro * step->sequence;
    int64_t most = CHUNK_BYTES / (4 * vocab) / 16 * 16;
    if (most < 16)
        most = 16;
    int64_t count = (rows + most - 1) / most;
    chunks->chunk_rows = ((rows + count - 1) / count + 15) / 16 * 16;
    chunks->count = (rows + chunks->chunk_rows - 1) / chunks->chunk_rows;
}

static bool is_head(const Stmt *s)
{
    return s->kind == STEP_CALL && !strcmp(s->func->root, "head");
}

/* The head's call becomes a loop over chunks. */
static Stmt *chunked(Module *m, const Step *step, Stmt *head)
{
    Stmt *chunks = new_stmt(m, STEP_CHUNKS, head->origin.model);
    size_chunks(m, step, chunks);
    if (!strcmp(step->name, "generate")) {
        chunks->last = true;
        chunks->count = chunks->chunk_rows = 1;
    }
    list_push(m->arena, &chunks->body, head);
    return chunks;
}

static bool in_loop(const Stmt *s)
{
    return s->kind == STEP_CALL || s->kind == STEP_REPEAT;
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
        if (!in_loop(s)) {
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

static Stmt *logits_call(Module *m, Origin origin)
{
    Stmt *s = new_stmt(m, STEP_CALL, origin.model);
    s->func = module_find_func(m, "head.logits");
    list_push(m->arena, &s->arguments, "x");
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
        if (is_head(s->body.at[i]))
            list_push(m->arena, &copy->body, logits_call(m, s->origin));
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

bool pass_schedule(Module *m, const Plan *plan, Diag *diag)
{
    (void)diag;
    for (int i = 0; i < m->steps.count; i++) {
        Step *step = m->steps.at[i];
        if (step->training)
            cut_train(m, step, plan);
        else
            cut_head(m, step);
    }
    derive_grad(m, module_find_step(m, "train"));
    return true;
}
