/* collectives.c: collectives over memory that all ranks map (see
 * collectives.h). A rank's threads meet, its first one goes through the gate of
 * the message's group, they meet again: then all members' data are there, and
 * every thread of every rank does its share of the whole, reading and writing
 * its peers' memory. Small things travel in the ranks' slots instead.
 *
 * Sums are taken in pieces that stay in the first-level cache, a peer after the
 * other, in the tree's order.
 * SPDX-License-Identifier: 0BSD */
#include "collectives.h"
#include "team.h"
#include "world_block.h"
#include <string.h>
#include <unistd.h>

/* Sums that wait for their right halves: at most one a power of two. */
enum { PIECE = 1024, WIDTH = 16, MOST_LEVELS = 12 };

/* 16 floats; the processor takes them in as many registers as it needs. */
typedef float Wide __attribute__((vector_size(64), aligned(4), may_alias));

/* A collective that goes on. */
typedef struct Talk {
    const Thread *me;
    World *world;
    Axis axis;
    int members, member;
    int message;
} Talk;

/* False: there is nobody to talk to. */
static bool talk_open(Talk *talk, const Thread *me, long message)
{
    World *world = team_world(me->team);
    if (!world)
        return false;
    Axis axis = axis_of(world, message);
    *talk = (Talk){ me, world, axis, axis_members(world, axis),
                    axis_member(world, axis), (int)message };
    return talk->members > 1;
}

/* The world has failed: the launcher says why. In the midst of a step there is
 * nothing to clean up, and other threads wait for this one. */
static _Noreturn void quit(const World *world)
{
    _exit(world->block->failure.status);
}

/* All threads of all members meet; the rank's bytes are then in its slot. */
static void meet_with(const Talk *talk, const void *mine, size_t bytes)
{
    barrier(talk->me);
    if (talk->me->index == 0
        && !axis_meet(talk->world, talk->axis, mine, bytes, talk->message))
        quit(talk->world);
    barrier(talk->me);
}

static void meet(const Talk *talk)
{
    meet_with(talk, NULL, 0);
}

static void count(const Talk *talk, Collective kind, long bytes)
{
    World *world = talk->world;
    if (!world->counts || talk->me->index != 0)
        return;
    MessageCount *counted = &world->block->counts[
        world->rank * world->messages + talk->message];
    counted->calls++;
    counted->bytes += collective_bytes(kind, bytes, talk->members);
}

/* A member's copy of what lies at `mine` here. */
static const void *at_member(const Talk *talk, int member, const void *mine)
{
    int rank = axis_rank(talk->world, talk->axis, member);
    return world_peer(talk->world, rank, mine);
}

/* The same, to write to: what is shared is nobody's constant. */
static float *floats_of(const Talk *talk, int member, float *mine)
{
    int rank = axis_rank(talk->world, talk->axis, member);
    World *world = talk->world;
    char *own = world->memory[world->rank];
    return (float *)(void *)(world->memory[rank] + ((char *)mine - own));
}

/* ---- sums --------------------------------------------------------------- */

static void add(float *to, const float *left, const float *right, long n)
{
    for (long i = 0; i < n; i += WIDTH) {
        const Wide *a = (const void *)(left + i);
        const Wide *b = (const void *)(right + i);
        *(Wide *)(void *)(to + i) = *a + *b;
    }
}

/* Puts the sum of n floats at `mine` of all members where `to` points, n <=
 * PIECE. Sums of 2^k members wait on a stack until there is another of the
 * same size on their right; what is left in the end is added from the right. */
static void sum_piece(const Talk *talk, float *to, const float *mine, long n)
{
    _Alignas(WORLD_LINE) float sums[MOST_LEVELS][PIECE];
    int height = 0;
    if (talk->members == 2) {
        add(to, at_member(talk, 0, mine), at_member(talk, 1, mine), n);
        return;
    }
    for (int member = 0; member < talk->members; member += 2) {
        const float *left = at_member(talk, member, mine);
        if (member + 1 == talk->members)
            memcpy(sums[height], left, (size_t)n * sizeof(float));
        else
            add(sums[height], left, at_member(talk, member + 1, mine), n);
        height++;
        for (int pairs = member / 2 + 1; pairs % 2 == 0 && height > 1;
             pairs /= 2, height--)
            add(sums[height - 2], sums[height - 2], sums[height - 1], n);
    }
    for (; height > 1; height--)
        add(sums[height - 2], sums[height - 2], sums[height - 1], n);
    memcpy(to, sums[0], (size_t)n * sizeof(float));
}

/* Number i of each member's slot, summed by the same tree. */
static double sum_slots(const Talk *talk, long i)
{
    double sums[MOST_LEVELS];
    int height = 0;
    for (int member = 0; member < talk->members; member++) {
        const double *slot = axis_slot(talk->world, talk->axis, member);
        sums[height++] = slot[i];
        for (int leaves = member + 1; leaves % 2 == 0 && height > 1;
             leaves /= 2, height--)
            sums[height - 2] += sums[height - 1];
    }
    for (; height > 1; height--)
        sums[height - 2] += sums[height - 1];
    return sums[0];
}

/* ---- all-reduce --------------------------------------------------------- */

long all_reduce_count(const Thread *me, long message, long mine)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return mine;
    meet_with(&talk, &mine, sizeof mine);
    long sum = 0;
    for (int member = 0; member < talk.members; member++)
        sum += *(const long *)axis_slot(talk.world, talk.axis, member);
    count(&talk, ALL_REDUCE, sizeof mine);
    return sum;
}

/* The threads of all members share the sums; each goes back to all. */
void all_reduce_into_f32(const Thread *me, long message, float *sums,
                         const float *mine, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    const Thread all = { .index = talk.member * me->count + me->index,
                         .count = talk.members * me->count };
    long end = share_end(&all, n / WIDTH) * WIDTH;
    for (long i = share_start(&all, n / WIDTH) * WIDTH; i < end; i += PIECE) {
        long length = end - i < PIECE ? end - i : PIECE;
        size_t bytes = (size_t)length * sizeof(float);
        float *sum = floats_of(&talk, 0, sums) + i;
        sum_piece(&talk, sum, mine + i, length);
        for (int member = 1; member < talk.members; member++)
            memcpy(floats_of(&talk, member, sums) + i, sum, bytes);
    }
    meet(&talk);
    count(&talk, ALL_REDUCE, n * (long)sizeof(float));
}

void all_reduce_f32(const Thread *me, long message, float *values, long n)
{
    all_reduce_into_f32(me, message, values, values, n);
}

void all_reduce_f64(const Thread *me, long message, double *values, long n)
{
    enum { ROOM = WORLD_SLOT / sizeof(double) };
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    for (long first = 0; first < n; first += ROOM) {
        long length = n - first < ROOM ? n - first : ROOM;
        meet_with(&talk, values + first, (size_t)length * sizeof(double));
        for (long i = 0; me->index == 0 && i < length; i++)
            values[first + i] = sum_slots(&talk, i);
    }
    barrier(me);
    count(&talk, ALL_REDUCE, n * (long)sizeof(double));
}

/* ---- scatter, gather, broadcast ----------------------------------------- */

void reduce_scatter_f32(const Thread *me, long message, float *values,
                        long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    float *own = values + talk.member * each;
    long end = share_end(me, each / WIDTH) * WIDTH;
    for (long i = share_start(me, each / WIDTH) * WIDTH; i < end; i += PIECE)
        sum_piece(&talk, own + i, own + i, end - i < PIECE ? end - i : PIECE);
    meet(&talk);
    count(&talk, REDUCE_SCATTER, each * (long)sizeof(float));
}

/* Each takes the others' parts; a thread its share of each part. */
static void gather(const Thread *me, long message, char *values, long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    const World *world = talk.world;
    int64_t at = values - world->memory[world->rank];
    meet_with(&talk, &at, sizeof at);
    long from = share_start(me, each), length = share_end(me, each) - from;
    for (int step = 1; step < talk.members; step++) {
        /* not all from the same member at once; stages lie differently */
        int member = (talk.member + step) % talk.members;
        const int64_t *there = axis_slot(world, talk.axis, member);
        const char *its =
            world->memory[axis_rank(world, talk.axis, member)] + *there;
        long part = member * each + from;
        memcpy(values + part, its + part, (size_t)length);
    }
    meet(&talk);
    count(&talk, ALL_GATHER, each);
}

void all_gather_f32(const Thread *me, long message, float *values, long each)
{
    gather(me, message, (char *)values, each * (long)sizeof(float));
}

void all_gather_f64(const Thread *me, long message, double *values, long each)
{
    gather(me, message, (char *)values, each * (long)sizeof(double));
}

/* ---- rows of shared experts --------------------------------------------- */

/* Rows that a member sends to expert x: between its starts. */
static long rows_for(const Talk *talk, int member, const int32_t *starts,
                     long x)
{
    const int32_t *its = at_member(talk, member, starts);
    return its[x + 1] - its[x];
}

void own_starts(const Thread *me, long message, int32_t *own,
                const int32_t *starts, long experts)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    if (me->index == 0) {
        long first = talk.member * experts, at = 0;
        for (long j = 0; j < experts; j++) {
            own[j] = (int32_t)at;
            for (int m = 0; m < talk.members; m++)
                at += rows_for(&talk, m, starts, first + j);
        }
        own[experts] = (int32_t)at;
    }
    meet(&talk);
    count(&talk, SEND, (talk.members * experts + 1) * (long)sizeof(int32_t));
}

/* Row r of expert x of a member, where the expert's rank has it: behind the
 * rows of members before. */
static long row_there(const Talk *talk, int member, const int32_t *starts,
                      const int32_t *own, long x, long experts)
{
    int rank = (int)(x / experts);
    const int32_t *its = at_member(talk, rank, own);
    long at = its[x % experts];
    for (int m = 0; m < member; m++)
        at += rows_for(talk, m, starts, x);
    return at;
}

/* This thread's share of the rows that the rank has sent, or gets back. */
static void move_rows(const Talk *talk, float *here, float *there,
                      const int32_t *starts, const int32_t *own, long experts,
                      long width, bool back)
{
    const Thread *me = talk->me;
    long all = talk->members * experts, rows = starts[all];
    long from = share_start(me, rows), end = share_end(me, rows);
    for (long x = 0; x < all; x++) {
        long first = starts[x] > from ? starts[x] : from;
        long last = starts[x + 1] < end ? starts[x + 1] : end;
        if (first >= last)
            continue;
        long at = row_there(talk, talk->member, starts, own, x, experts)
            + first - starts[x];
        float *its = floats_of(talk, (int)(x / experts), there) + at * width;
        float *mine = here + first * width;
        memcpy(back ? mine : its, back ? its : mine,
               (size_t)((last - first) * width) * sizeof(float));
    }
}

/* Each rank writes its rows where their experts are. */
void send_rows_f32(const Thread *me, long message, float *received,
                   const float *rows, const int32_t *starts,
                   const int32_t *own, long experts, long width, long most)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    float *mine = floats_of(&talk, talk.member, (float *)(uintptr_t)rows);
    move_rows(&talk, mine, received, starts, own, experts, width, false);
    meet(&talk);
    count(&talk, SEND, most * width * (long)sizeof(float));
}

void return_rows_f32(const Thread *me, long message, float *rows,
                     const float *received, const int32_t *starts,
                     const int32_t *own, long experts, long width, long most)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    move_rows(&talk, rows, (float *)(uintptr_t)received, starts, own, experts,
              width, true);
    meet(&talk);
    count(&talk, SEND, most * width * (long)sizeof(float));
}

/* ---- chunks of shared sequences ----------------------------------------- */

/* Where a rank of the context has its half, early or late, in a sequence. */
static long chunk_start(const Talk *talk, int member, int half, long tokens)
{
    long chunk = half ? 2 * talk->members - 1 - member : member;
    return chunk * (tokens / 2);
}

void gather_chunks_f32(const Thread *me, long message, float *all,
                       const float *own, long sequences, long tokens,
                       long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    long half_floats = tokens / 2 * width, parts = 2 * talk.members;
    long end = share_end(me, sequences * parts);
    for (long i = share_start(me, sequences * parts); i < end; i++) {
        long b = i / parts;
        int member = (int)(i % parts / 2), half = (int)(i % 2);
        const float *its = at_member(&talk, member, own);
        float *to = all + b * tokens * talk.members * width
            + chunk_start(&talk, member, half, tokens) * width;
        memcpy(to, its + (2 * b + half) * half_floats,
               (size_t)half_floats * sizeof(float));
    }
    meet(&talk);
    count(&talk, ALL_GATHER, sequences * tokens * width * (long)sizeof(float));
}

/* A token's sum over members and, of each, over both parts, in that order. */
static void sum_token(const Talk *talk, float *to, const float *parts,
                      long skip, long width)
{
    for (int member = 0; member < talk->members; member++) {
        const float *early = at_member(talk, member, parts);
        for (long c = 0; c < width; c++) {
            float both = early[c] + early[skip + c];
            to[c] = member ? to[c] + both : both;
        }
    }
}

void sum_chunks_f32(const Thread *me, long message, float *own,
                    const float *parts, long sequences, long tokens, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    meet(&talk);
    long all = tokens * talk.members * width;       /* of a sequence's part */
    long end = share_end(me, sequences * tokens);
    for (long i = share_start(me, sequences * tokens); i < end; i++) {
        long b = i / tokens, t = i % tokens;
        int half = t >= tokens / 2;
        long at = chunk_start(&talk, talk.member, half, tokens)
            + t % (tokens / 2);
        sum_token(&talk, own + i * width, parts + 2 * b * all + at * width, all,
                  width);
    }
    meet(&talk);
    count(&talk, ALL_GATHER, sequences * tokens * width * (long)sizeof(float));
}

double broadcast_f64(const Thread *me, long message, long from, double mine)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return mine;
    meet_with(&talk, &mine, sizeof mine);
    const double *its = axis_slot(talk.world, talk.axis, (int)from);
    count(&talk, BROADCAST, sizeof mine);
    return *its;
}

static void copy_share(const Thread *me, float *to, const float *from, long n)
{
    long first = share_start(me, n);
    memcpy(to + first, from + first,
           (size_t)(share_end(me, n) - first) * sizeof(float));
}

/* Where the other's numbers lie is not where this one's do: it says so. */
void exchange_f32(const Thread *me, long message, float *theirs,
                  const float *mine, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    const World *world = talk.world;
    int other = 1 - talk.member;
    int64_t at = (const char *)mine - world->memory[world->rank];
    meet_with(&talk, &at, sizeof at);
    const int64_t *there = axis_slot(world, talk.axis, other);
    int rank = axis_rank(world, talk.axis, other);
    const char *its = world->memory[rank] + *there;
    copy_share(me, theirs, (const float *)(const void *)its, n);
    meet(&talk);
    count(&talk, SEND, n * (long)sizeof(float));
}

/* ---- from stage to stage ------------------------------------------------ */

static Channel *channel_of(const Talk *talk, int sender)
{
    const World *world = talk->world;
    return &world->block->channels[sender * world->messages + talk->message];
}

/* Waits while the counter `slow` is `lead` behind `fast`. */
static void wait_behind(const Talk *talk, Waited *slow, const Waited *fast,
                        unsigned lead)
{
    unsigned at;
    while (atomic_load(&fast->value) - (at = atomic_load(&slow->value))
           == lead)
        if (!waited_past(talk->world, slow, at, talk->message))
            quit(talk->world);
}

void send_f32(const Thread *me, long message, long to, float *mailbox,
              const float *values, long n)
{
    Talk talk;
    (void)to;                   /* a message has one receiver a sender */
    if (!talk_open(&talk, me, message))
        return;
    const World *world = talk.world;
    Channel *channel = channel_of(&talk, world->rank);
    barrier(me);
    unsigned sent = atomic_load(&channel->sent.value);
    if (me->index == 0)
        wait_behind(&talk, &channel->taken, &channel->sent, 2);
    barrier(me);
    float *place = mailbox + sent % 2 * n;
    copy_share(me, place, values, n);
    barrier(me);
    if (me->index == 0) {
        atomic_store(&channel->place[sent % 2],
                     (char *)place - world->memory[world->rank]);
        waited_advance(&channel->sent);
    }
    count(&talk, SEND, n * (long)sizeof(float));
    barrier(me);
}

void receive_f32(const Thread *me, long message, long from, float *values,
                 long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    const World *world = talk.world;
    int sender = axis_rank(world, talk.axis, (int)from);
    Channel *channel = channel_of(&talk, sender);
    barrier(me);
    unsigned taken = atomic_load(&channel->taken.value);
    if (me->index == 0)
        wait_behind(&talk, &channel->sent, &channel->taken, 0);
    barrier(me);
    const char *place = world->memory[sender]
        + atomic_load(&channel->place[taken % 2]);
    copy_share(me, values, (const float *)(const void *)place, n);
    barrier(me);
    if (me->index == 0)
        waited_advance(&channel->taken);
    barrier(me);
}
