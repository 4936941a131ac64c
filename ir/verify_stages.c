/* verify_stages.c: what must hold of a step that runs on the stages of a
 * pipeline: its chunks are the model, each goes through all micro-batches in
 * ascending order, and the stages, played against each other, come to their
 * ends. */
#include "verify.h"

/* ---- one stage ---- */
/* Of a chunk: how many micro-batches have been through each kind of action. */
typedef struct Progress { int64_t done[ACTION_KINDS]; } Progress;

/* Whether no more micro-batches are open than there are slots for. */
static bool fits(const ModelChunk *chunk, const Progress *at)
{
    int64_t forward = at->done[ACTION_FORWARD];
    int64_t backward = at->done[ACTION_BACKWARD];
    int64_t weights = at->done[ACTION_WEIGHTS];
    int64_t read = chunk->pending ? weights : backward;
    return forward - read <= chunk->slots
        && (!chunk->pending || backward - weights <= chunk->pending);
}

/* Did it all: backward of every micro-batch, or of none, where the step only
 * goes forward. */
static bool is_complete(const ModelChunk *chunk, const Progress *at,
                        int64_t micros)
{
    int64_t backward = at->done[ACTION_BACKWARD];
    return at->done[ACTION_FORWARD] == micros
        && (backward == micros || !backward)
        && at->done[ACTION_WEIGHTS] == (chunk->pending ? backward : 0);
}

/* Weights that must come by groups do. */
static bool ends_groups(const Step *step, const Action *a, const Progress *at)
{
    int64_t group = step_whole_groups(step);
    return a->kind != ACTION_BACKWARD || !group || a->micro % group
        || at->done[ACTION_WEIGHTS] == a->micro;
}

/* A chunk goes through all micro-batches in their order, forward before
 * backward before the weights: sums over micro-batches have one order. */
static bool verify_order_of_chunk(Check *c, const Step *step, int stage,
                                  int number)
{
    const StageRun *run = &step->stages.at[stage];
    const ModelChunk *chunk = &run->chunks.at[number];
    int64_t micros = step->batch / step_replicas(c->m, step) / step->micro;
    Progress at = {0};
    for (int i = 0; i < run->actions.count; i++) {
        const Action *a = &run->actions.at[i];
        if (a->chunk != number)
            continue;
        if (a->micro != at.done[a->kind]++)
            return check_fails(c, "a stage takes micro-batch %lld out of order",
                               (long long)a->micro);
        if (at.done[ACTION_BACKWARD] > at.done[ACTION_FORWARD]
            || at.done[ACTION_WEIGHTS] > at.done[ACTION_BACKWARD])
            return check_fails(c, "a stage takes micro-batch %lld backward "
                               "too early", (long long)a->micro);
        if (!ends_groups(step, a, &at))
            return check_fails(c, "a stage takes micro-batch %lld backward "
                               "before the last group's weights",
                               (long long)a->micro);
        if (!fits(chunk, &at))
            return check_fails(
                c, "a stage with %lld slots has %lld micro-batches open",
                (long long)chunk->slots,
                (long long)(at.done[ACTION_FORWARD]
                            - at.done[ACTION_BACKWARD]));
    }
    return is_complete(chunk, &at, micros)
        || check_fails(c, "a stage goes through %lld forward, %lld backward "
                       "and %lld weights of %lld micro-batches",
                       (long long)at.done[ACTION_FORWARD],
                       (long long)at.done[ACTION_BACKWARD],
                       (long long)at.done[ACTION_WEIGHTS], (long long)micros);
}

/* ---- all against each other ---- */
/* Rows that have been sent and not yet taken, for which a sender waits. */
enum { MAILBOX_SLOTS = 2 };

/* What a stage has sent one way: of which chunks of the model (counted through
 * the stages) and micro-batches, oldest first. */
typedef struct Mail { int64_t chunk, micro; } Mail;
typedef struct Mailbox { Mail mail[MAILBOX_SLOTS]; int count; } Mailbox;

typedef struct Player {
    int next;                       /* action */
    bool taken;                     /* it has its rows, and has not sent */
    Mailbox sent[ACTION_WEIGHTS];   /* forward, backward */
} Player;

typedef struct Play { const Step *step; Player *players; } Play;

static int64_t stages_of(const Play *play)
{
    return play->step->stages.count;
}

/* The chunk before or behind in the order of the action; -1: there is none. */
static int64_t neighbour(const Play *play, int64_t stage, const Action *a,
                         bool behind)
{
    int64_t all = stages_of(play) * play->step->stages.at[0].chunks.count;
    int64_t own = a->chunk * stages_of(play) + stage;
    int64_t other = (a->kind == ACTION_FORWARD) == behind ? own + 1 : own - 1;
    return other < all ? other : -1;
}

/* Takes the rows that an action reads; false: they have not come. */
static bool take(Play *play, int64_t stage, const Action *a)
{
    int64_t from = neighbour(play, stage, a, false);
    if (from < 0 || a->kind == ACTION_WEIGHTS)
        return true;
    Mailbox *box = &play->players[from % stages_of(play)].sent[a->kind];
    if (!box->count || box->mail[0].chunk != from
        || box->mail[0].micro != a->micro)
        return false;
    box->mail[0] = box->mail[1];
    box->count--;
    return true;
}

/* Sends what it makes; false: nobody has taken what lies there. */
static bool hand_on(Play *play, int64_t stage, const Action *a)
{
    if (a->kind == ACTION_WEIGHTS || neighbour(play, stage, a, true) < 0)
        return true;
    Mailbox *box = &play->players[stage].sent[a->kind];
    if (box->count == MAILBOX_SLOTS)
        return false;
    const Mail mail = { a->chunk * stages_of(play) + stage, a->micro };
    box->mail[box->count++] = mail;
    return true;
}

static bool run_stage(Play *play, int64_t stage)
{
    const StageRun *run = &play->step->stages.at[stage];
    Player *player = &play->players[stage];
    bool moved = false;
    while (player->next < run->actions.count) {
        const Action *a = &run->actions.at[player->next];
        if (!player->taken && !take(play, stage, a))
            break;
        moved |= !player->taken;
        player->taken = true;
        if (!hand_on(play, stage, a))
            break;
        player->taken = false;
        player->next++;
        moved = true;
    }
    return moved;
}

/* The stages run to their ends: every send has its receive, and no stage waits
 * for one that waits for it. */
static bool verify_progress(Check *c, const Step *step)
{
    size_t bytes = (size_t)step->stages.count * sizeof(Player);
    Play play = { step, arena_alloc(c->scratch, bytes) };
    bool moved = true, done = true;
    while (moved) {
        moved = false;
        for (int s = 0; s < step->stages.count; s++)
            moved |= run_stage(&play, s);
    }
    for (int s = 0; s < step->stages.count; s++)
        done &= play.players[s].next == step->stages.at[s].actions.count;
    return done || check_fails(c, "the stages wait for each other");
}

/* ---- the blocks ---- */
/* Chunk by chunk, in them stage by stage, they are the model's: of two stacks
 * first the encoder's. */
static bool verify_blocks(Check *c, const Step *step)
{
    const Module *m = c->m;
    int64_t next = 0, done = 0, all = stack_first(m, m->stacks.count);
    int stack = 0;
    for (int i = 0; i < step->stages.at[0].chunks.count; i++)
        for (int s = 0; s < step->stages.count; s++) {
            const ModelChunk *chunk = &step->stages.at[s].chunks.at[i];
            if (stack + 1 < m->stacks.count && next == stack_blocks(m, stack)) {
                stack++;
                next = 0;
            }
            if (chunk->stack != stack || chunk->from != next
                || chunk->to <= chunk->from
                || chunk->to > stack_blocks(m, stack))
                return check_fails(c, "stage %d has blocks %lld to %lld of %s",
                                   s, (long long)chunk->from,
                                   (long long)chunk->to,
                                   m->stacks.at[chunk->stack].dim);
            next = chunk->to;
            done += chunk->to - chunk->from;
        }
    return done == all
        || check_fails(c, "the stages have %lld of %lld blocks",
                       (long long)done, (long long)all);
}

bool verify_stages(Check *c, const Step *step)
{
    int64_t ranks = step_replicas(c->m, step);
    if (step->stages.count == 0)
        return true;
    if (step->stages.count != c->m->mesh.stages)
        return check_fails(c, "%d stages on a mesh of %lld",
                           step->stages.count, (long long)c->m->mesh.stages);
    if (step->batch % (ranks * step->micro))
        return check_fails(c, "the batch is no whole number of micro-batches");
    int chunks = step->stages.at[0].chunks.count;
    for (int s = 0; s < step->stages.count; s++) {
        const StageRun *run = &step->stages.at[s];
        if (run->chunks.count != chunks)
            return check_fails(c, "stage %d has %d chunks, stage 0 has %d", s,
                               run->chunks.count, chunks);
        for (int i = 0; i < chunks; i++)
            if (!verify_order_of_chunk(c, step, s, i))
                return false;
    }
    return verify_blocks(c, step) && verify_progress(c, step);
}
