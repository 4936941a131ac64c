/* talk.c: see talk.h.
 * SPDX-License-Identifier: 0BSD */
#include "talk.h"
#include "team.h"
#include <limits.h>
#include <string.h>
#include <unistd.h>

bool talk_open(Talk *talk, const Thread *me, long message)
{
    World *world = team_world(me->team);
    if (!world)
        return false;
    Axis axis = axis_of(world, message);
    *talk = (Talk){ me, world, axis, axis_members(world, axis),
                    axis_member(world, axis), (int)message, NULL };
    return talk->members > 1;
}

void talk_count(const Talk *talk, Collective kind, long bytes)
{
    World *world = talk->world;
    if (!world->counts || talk->me->index != 0)
        return;
    MessageCount *counted = &world->block->counts[
        world->rank * world->messages + talk->message];
    counted->calls++;
    counted->bytes += collective_bytes(kind, bytes, talk->members);
}

/* The world has failed: the launcher says why. In the midst of a step there is
 * nothing to clean up, and other threads wait for this one. */
static _Noreturn void quit(const World *world)
{
    _exit(world->block->failure.status);
}

void talk_meet(const Talk *talk, const void *mine, size_t bytes)
{
    barrier(talk->me);
    if (talk->me->index == 0
        && !axis_meet(talk->world, talk->axis, mine, bytes, talk->message))
        quit(talk->world);
    barrier(talk->me);
}

/* Each says in its slot where in its memory the base lies. */
void talk_begin(Talk *talk, const void *base)
{
    const World *world = talk->world;
    int64_t at = (const char *)base - world->memory[world->rank];
    talk->base = base;
    talk_meet(talk, &at, sizeof at);
}

void talk_end(const Talk *talk)
{
    talk_meet(talk, NULL, 0);
}

/* Where a member has what is at `here`. */
static float *there(const Talk *talk, int member, const void *here)
{
    const World *world = talk->world;
    const int64_t *at = axis_slot(world, talk->axis, member);
    char *base = world->memory[axis_rank(world, talk->axis, member)] + *at;
    return (float *)(void *)(base + ((const char *)here - talk->base));
}

/* ---- reading without keeping -------------------------------------------- */

long talk_room(const Talk *talk, int parts)
{
    (void)talk;
    (void)parts;
    return LONG_MAX / 4096;
}

void talk_look(const Talk *talk, int member, int part, Floats mine, Floats its)
{
    (void)talk;
    (void)member;
    (void)part;
    (void)mine;
    (void)its;
}

void talk_arrive(const Talk *talk)
{
    (void)talk;
}

const void *talk_seen(const Talk *talk, int member, int part, const void *its)
{
    (void)part;
    return member == talk->member ? its : there(talk, member, its);
}

void talk_next(const Talk *talk)
{
    (void)talk;
}

/* ---- copying ------------------------------------------------------------ */

/* The calling thread's share. */
static void copy_floats(const Thread *me, Floats to, Floats from)
{
    long end = share_end(me, from.count * from.length);
    for (long i = share_start(me, from.count * from.length); i < end;) {
        long run = i / from.length, at = i % from.length;
        long n = from.length - at < end - i ? from.length - at : end - i;
        memcpy(to.at + run * to.stride + at,
               from.at + run * from.stride + at, (size_t)n * sizeof(float));
        i += n;
    }
}

void talk_pull(const Talk *talk, int member, Floats mine, Floats its,
               Floats here)
{
    (void)mine;
    if (member != talk->member)
        its.at = there(talk, member, its.at);
    copy_floats(talk->me, here, its);
}

void talk_push(const Talk *talk, int member, Floats mine, Floats to,
               Floats here)
{
    (void)here;
    if (member != talk->member)
        to.at = there(talk, member, to.at);
    copy_floats(talk->me, to, mine);
}

void talk_write(const Talk *talk, int member, const float *mine, long n)
{
    memcpy(there(talk, member, mine), mine, (size_t)n * sizeof(float));
}

void talk_pass(const Talk *talk, int member, Floats mine, Floats here)
{
    (void)talk;
    (void)member;
    (void)mine;
    (void)here;
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

float *talk_outbox(const Talk *talk, int to, float *mailbox, long n)
{
    (void)to;                   /* a message has one receiver a sender */
    Channel *channel = channel_of(talk, talk->world->rank);
    barrier(talk->me);
    unsigned sent = atomic_load(&channel->sent.value);
    if (talk->me->index == 0)
        wait_behind(talk, &channel->taken, &channel->sent, 2);
    barrier(talk->me);
    return mailbox + sent % 2 * n;
}

void talk_post(const Talk *talk, int to, float *place, long n)
{
    (void)to;
    (void)n;
    const World *world = talk->world;
    barrier(talk->me);
    if (talk->me->index == 0) {
        Channel *channel = channel_of(talk, world->rank);
        unsigned sent = atomic_load(&channel->sent.value);
        atomic_store(&channel->place[sent % 2],
                     (char *)place - world->memory[world->rank]);
        waited_advance(&channel->sent);
    }
    barrier(talk->me);
}

const float *talk_inbox(const Talk *talk, int from, float *here, long n)
{
    (void)here;
    (void)n;
    const World *world = talk->world;
    int sender = axis_rank(world, talk->axis, from);
    Channel *channel = channel_of(talk, sender);
    barrier(talk->me);
    unsigned taken = atomic_load(&channel->taken.value);
    if (talk->me->index == 0)
        wait_behind(talk, &channel->sent, &channel->taken, 0);
    barrier(talk->me);
    const char *place = world->memory[sender]
        + atomic_load(&channel->place[taken % 2]);
    return (const float *)(const void *)place;
}

void talk_taken(const Talk *talk, int from)
{
    int sender = axis_rank(talk->world, talk->axis, from);
    barrier(talk->me);
    if (talk->me->index == 0)
        waited_advance(&channel_of(talk, sender)->taken);
    barrier(talk->me);
}
