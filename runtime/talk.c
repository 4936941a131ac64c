/* talk.c: see talk.h.
 * SPDX-License-Identifier: 0BSD */
#include "mail.h"
#include "talk.h"
#include "team.h"
#include "trace.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool talk_open(Talk *talk, const Thread *me, long message)
{
    World *world = team_world(me->team);
    if (!world)
        return false;
    Axis axis = axis_of(world, message);
    *talk = (Talk){ me, world, axis, axis_members(world, axis),
                    axis_member(world, axis), (int)message, NULL, -1, 0 };
    if (me->index == 0)
        talk->begun = trace_time(world->trace);
    return talk->members > 1;
}

/* By the first thread. */
static void note(const Talk *talk, TraceKind kind, int64_t bytes)
{
    const TraceNote note = { .kind = (int16_t)kind, .what = talk->message,
                             .peer = (int16_t)talk->peer, .bytes = bytes,
                             .begin = talk->begun };
    trace_note(talk->world->trace, note);
}

void talk_count(const Talk *talk, Collective kind, long bytes)
{
    World *world = talk->world;
    if (!world->counts || talk->me->index != 0)
        return;
    MessageCount *counted = &world->block->counts[
        world->rank * world->messages + talk->message];
    int64_t sent = collective_bytes(kind, bytes, talk->members);
    counted->calls++;
    counted->bytes += sent;
    note(talk, TRACE_MESSAGE, sent);
}

void talk_received(const Talk *talk)
{
    if (talk->me->index == 0)
        note(talk, TRACE_RECEIVE, 0);
}

/* The world has failed: the launcher says why. In the midst of a step there is
 * nothing to clean up, and other threads wait for this one. */
static _Noreturn void quit(const World *world)
{
    _exit(world->block->failure.status);
}

void talk_fail(const Talk *talk, int status, const char *format, ...)
{
    Error error;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    world_fail(talk->world, status, error.text);
    quit(talk->world);
}

void talk_meet(const Talk *talk, const void *mine, size_t bytes)
{
    barrier(talk->me);
    if (talk->me->index == 0
        && !axis_meet(talk->world, talk->axis, mine, bytes, talk->message))
        quit(talk->world);
    barrier(talk->me);
}

/* Each says in its slot where in its memory the base lies. Over messages nobody
 * needs to know, or to wait: what is not there yet will be waited for. */
void talk_begin(Talk *talk, const void *base)
{
    const World *world = talk->world;
    if (world->mail) {
        barrier(talk->me);
        return;
    }
    int64_t at = (const char *)base - world->memory[world->rank];
    talk->base = base;
    talk_meet(talk, &at, sizeof at);
}

void talk_end(const Talk *talk)
{
    if (talk->world->mail)
        talk_arrive(talk);
    else
        talk_meet(talk, NULL, 0);
}

/* The threads of a rank meet, no others. */
void talk_rejoin(const Talk *talk)
{
    barrier(talk->me);
}

void talk_leave(const Talk *talk)
{
    if (talk->world->mail)
        talk_arrive(talk);
    else
        barrier(talk->me);
}

/* Where a member has what is at `here`: as far from the base, where one was
 * named, or from the beginning of its memory. */
static float *there(const Talk *talk, int member, const void *here)
{
    const World *world = talk->world;
    char *memory = world->memory[axis_rank(world, talk->axis, member)];
    const int64_t *at = axis_slot(world, talk->axis, member);
    if (!talk->base)
        return (float *)(void *)(memory + ((const char *)here
                                           - world->memory[world->rank]));
    return (float *)(void *)(memory + *at + ((const char *)here - talk->base));
}

static MpiRuns runs_of(Floats floats)
{
    const int64_t size = sizeof(float);
    return (MpiRuns){ floats.at, floats.count, floats.length * size,
                      floats.stride * size };
}

/* Begins to send `mine` to a member and to receive `here` from it: the first
 * thread does, of ranks that share no memory. Nothing is no message. */
void talk_pass(const Talk *talk, int member, Floats mine, Floats here)
{
    World *world = talk->world;
    if (!world->mail || talk->me->index != 0 || member == talk->member)
        return;
    int rank = axis_rank(world, talk->axis, member);
    if (mine.count * mine.length > 0)
        mail_send(world, rank, talk->message, runs_of(mine));
    if (here.count * here.length > 0)
        mail_receive(world, rank, talk->message, runs_of(here));
}

/* ---- reading without keeping -------------------------------------------- */

long talk_room(const Talk *talk)
{
    enum { WIDTH = 16, FLOATS = MAIL_ROOM / sizeof(float) };
    if (!talk->world->mail)
        return LONG_MAX / 4096;
    return FLOATS / (talk->members * TALK_PARTS) / WIDTH * WIDTH;
}

static float *place_in_room(const Talk *talk, int member, int part)
{
    float *room = (float *)(void *)mail_room(talk->world);
    return room + (member * TALK_PARTS + part) * talk_room(talk);
}

void talk_look(const Talk *talk, int member, int part, Floats mine, Floats its)
{
    if (talk->world->mail)
        talk_pass(talk, member, mine,
                  floats_at(place_in_room(talk, member, part), its.length));
}

void talk_arrive(const Talk *talk)
{
    if (!talk->world->mail)
        return;
    if (talk->me->index == 0)
        mail_wait(talk->world, talk->message);
    barrier(talk->me);
}

const void *talk_seen(const Talk *talk, int member, int part, const void *its)
{
    if (member == talk->member)
        return its;
    return talk->world->mail ? place_in_room(talk, member, part)
        : there(talk, member, its);
}

void talk_next(const Talk *talk)
{
    if (talk->world->mail)
        barrier(talk->me);
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
    talk_pass(talk, member, mine, here);
    talk_fetch(talk, member, its, here);
}

void talk_fetch(const Talk *talk, int member, Floats its, Floats here)
{
    if (member == talk->member)
        copy_floats(talk->me, here, its);
    else if (!talk->world->mail) {
        its.at = there(talk, member, its.at);
        copy_floats(talk->me, here, its);
    }
}

void talk_push(const Talk *talk, int member, Floats mine, Floats to,
               Floats here)
{
    if (member != talk->member && talk->world->mail) {
        talk_pass(talk, member, mine, here);
        return;
    }
    if (member != talk->member)
        to.at = there(talk, member, to.at);
    copy_floats(talk->me, to, mine);
}

void talk_write(const Talk *talk, int member, const float *mine, long n)
{
    if (!talk->world->mail && member != talk->member)
        memcpy(there(talk, member, mine), mine, (size_t)n * sizeof(float));
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

/* A message has one receiver a sender. */
float *talk_outbox(const Talk *talk, float *mailbox, long n)
{
    World *world = talk->world;
    Channel *channel = channel_of(talk, world->rank);
    barrier(talk->me);
    unsigned sent = world->mail ? mail_sent(world, talk->message)
        : atomic_load(&channel->sent.value);
    if (talk->me->index == 0 && world->mail)
        mail_await_row(world, talk->message);
    else if (talk->me->index == 0)
        wait_behind(talk, &channel->taken, &channel->sent, 2);
    barrier(talk->me);
    return mailbox + sent % 2 * n;
}

/* By the first thread, over memory: the row is there to be read. */
static void publish(const Talk *talk, const float *place)
{
    const World *world = talk->world;
    Channel *channel = channel_of(talk, world->rank);
    unsigned sent = atomic_load(&channel->sent.value);
    atomic_store(&channel->place[sent % 2],
                 (const char *)place - world->memory[world->rank]);
    waited_advance(&channel->sent);
}

void talk_post(const Talk *talk, int to, const float *place, long n)
{
    World *world = talk->world;
    barrier(talk->me);
    if (talk->me->index == 0 && world->mail)
        mail_send_row(world, talk->message, axis_rank(world, talk->axis, to),
                      runs_of(floats_at(place, n)));
    else if (talk->me->index == 0)
        publish(talk, place);
    barrier(talk->me);
}

const float *talk_inbox(const Talk *talk, int from, float *here, long n)
{
    World *world = talk->world;
    int sender = axis_rank(world, talk->axis, from);
    if (world->mail) {
        barrier(talk->me);
        if (talk->me->index == 0)
            mail_receive(world, sender, talk->message,
                         runs_of(floats_at(here, n)));
        talk_arrive(talk);
        return here;
    }
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
    if (talk->world->mail)
        return;
    barrier(talk->me);
    if (talk->me->index == 0)
        waited_advance(&channel_of(talk, sender)->taken);
    barrier(talk->me);
}
