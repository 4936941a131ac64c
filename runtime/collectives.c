/* collectives.c: collectives (see collectives.h), over whichever transport the
 * ranks have (talk.h). A rank's threads meet, its first one meets the message's
 * members, the threads meet again: then all members' numbers can be read, and
 * every thread of every rank does its share of the whole. Small things travel
 * in the ranks' slots instead.
 *
 * Sums are taken in pieces that stay in the first-level cache, a peer after the
 * other, in the tree's order.
 * SPDX-License-Identifier: 0BSD */
#include "collectives.h"
#include "talk.h"
#include <string.h>

/* Sums that wait for their right halves: at most one a power of two. */
enum { PIECE = 1024, WIDTH = 16, MOST_LEVELS = 12 };

/* 16 floats; the processor takes them in as many registers as it needs. */
typedef float Wide __attribute__((vector_size(64), aligned(4), may_alias));

static long least(long a, long b)
{
    return a < b ? a : b;
}

/* ---- sums --------------------------------------------------------------- */

static void add(float *to, const float *left, const float *right, long n)
{
    long i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        const Wide *a = (const void *)(left + i);
        const Wide *b = (const void *)(right + i);
        *(Wide *)(void *)(to + i) = *a + *b;
    }
    for (; i < n; i++)
        to[i] = left[i] + right[i];
}

/* Member's number `at` of those that are looked at from `from` on. */
static const float *seen(const Talk *talk, int member, const float *from,
                         long at)
{
    return (const float *)talk_seen(talk, member, 0, from) + at;
}

/* Puts the sum of all members' floats [at, at + n) of those that are looked at
 * from `from` on where `to` points, n <= PIECE. Sums of 2^k members wait on a
 * stack until there is another of the same size on their right; what is left in
 * the end is added from the right. */
static void sum_piece(const Talk *talk, float *to, const float *from, long at,
                      long n)
{
    _Alignas(WORLD_LINE) float sums[MOST_LEVELS][PIECE];
    int height = 0;
    if (talk->members == 2) {
        add(to, seen(talk, 0, from, at), seen(talk, 1, from, at), n);
        return;
    }
    for (int member = 0; member < talk->members; member += 2) {
        const float *left = seen(talk, member, from, at);
        if (member + 1 == talk->members)
            memcpy(sums[height], left, (size_t)n * sizeof(float));
        else
            add(sums[height], left, seen(talk, member + 1, from, at), n);
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
    talk_meet(&talk, &mine, sizeof mine);
    long sum = 0;
    for (int member = 0; member < talk.members; member++)
        sum += *(const long *)axis_slot(talk.world, talk.axis, member);
    talk_count(&talk, ALL_REDUCE, sizeof mine);
    return sum;
}

/* A member's share of n numbers, in whole widths. */
static Floats share_of(const Talk *talk, int member, const float *all, long n)
{
    const Thread it = { .index = member, .count = talk->members };
    long first = share_start(&it, n / WIDTH) * WIDTH;
    return floats_at(all + first, share_end(&it, n / WIDTH) * WIDTH - first);
}

/* The same of maxima, which no order changes. */
static void max_piece(const Talk *talk, float *to, const float *from, long at,
                      long n)
{
    memcpy(to, seen(talk, 0, from, at), (size_t)n * sizeof(float));
    for (int member = 1; member < talk->members; member++) {
        const float *its = seen(talk, member, from, at);
        for (long i = 0; i < n; i++)
            to[i] = to[i] > its[i] ? to[i] : its[i];
    }
}

typedef enum Fold { FOLD_SUM, FOLD_MAX } Fold;

/* A member, and each of its threads, has a share of the sums, which goes back
 * to all. */
static void all_reduce_round(const Talk *talk, Fold fold, float *sums,
                             const float *mine, long n)
{
    const Thread *me = talk->me;
    const Floats own = share_of(talk, talk->member, mine, n);
    for (int m = 0; m < talk->members; m++)
        talk_look(talk, m, 0, share_of(talk, m, mine, n), own);
    talk_arrive(talk);
    const Thread all = { .index = talk->member * me->count + me->index,
                         .count = talk->members * me->count };
    long from = own.at - mine;
    long end = share_end(&all, n / WIDTH) * WIDTH;
    for (long i = share_start(&all, n / WIDTH) * WIDTH; i < end; i += PIECE) {
        long length = least(PIECE, end - i);
        if (fold == FOLD_MAX)
            max_piece(talk, sums + i, own.at, i - from, length);
        else
            sum_piece(talk, sums + i, own.at, i - from, length);
        for (int m = 0; m < talk->members; m++)
            talk_write(talk, m, sums + i, length);
    }
    talk_next(talk);
    for (int m = 0; m < talk->members; m++)
        talk_pass(talk, m, share_of(talk, talk->member, sums, n),
                  share_of(talk, m, sums, n));
}

static void all_reduce(const Thread *me, long message, Fold fold, float *sums,
                       const float *mine, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, mine);
    long room = talk_room(&talk) * talk.members;
    for (long at = 0; at < n; at += room)
        all_reduce_round(&talk, fold, sums + at, mine + at,
                         least(room, n - at));
    talk_end(&talk);
    talk_count(&talk, ALL_REDUCE, n * (long)sizeof(float));
}

void all_reduce_into_f32(const Thread *me, long message, float *sums,
                         const float *mine, long n)
{
    all_reduce(me, message, FOLD_SUM, sums, mine, n);
}

void all_reduce_f32(const Thread *me, long message, float *values, long n)
{
    all_reduce(me, message, FOLD_SUM, values, values, n);
}

void all_max_f32(const Thread *me, long message, float *largest,
                 const float *mine, long n)
{
    all_reduce(me, message, FOLD_MAX, largest, mine, n);
}

void all_reduce_f64(const Thread *me, long message, double *values, long n)
{
    enum { ROOM = WORLD_SLOT / sizeof(double) };
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    for (long first = 0; first < n; first += ROOM) {
        long length = least(ROOM, n - first);
        talk_meet(&talk, values + first, (size_t)length * sizeof(double));
        for (long i = 0; me->index == 0 && i < length; i++)
            values[first + i] = sum_slots(&talk, i);
    }
    barrier(me);
    talk_count(&talk, ALL_REDUCE, n * (long)sizeof(double));
}

/* ---- scatter, gather, broadcast ----------------------------------------- */

void reduce_scatter_f32(const Thread *me, long message, float *values,
                        long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, values);
    float *own = values + talk.member * each;
    long room = talk_room(&talk);
    for (long at = 0; at < each; at += room, own += room) {
        long n = least(room, each - at);
        for (int m = 0; m < talk.members; m++)
            talk_look(&talk, m, 0, floats_at(values + m * each + at, n),
                      floats_at(own, n));
        talk_arrive(&talk);
        long end = share_end(me, n / WIDTH) * WIDTH;
        for (long i = share_start(me, n / WIDTH) * WIDTH; i < end; i += PIECE)
            sum_piece(&talk, own + i, own, i, least(PIECE, end - i));
        talk_next(&talk);
    }
    talk_end(&talk);
    talk_count(&talk, REDUCE_SCATTER, each * (long)sizeof(float));
}

/* Each takes the others' parts. */
static void gather(const Thread *me, long message, float *values, long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, values);
    const Floats own = floats_at(values + talk.member * each, each);
    for (int step = 1; step < talk.members; step++) {
        /* not all from the same member at once */
        int member = (talk.member + step) % talk.members;
        const Floats its = floats_at(values + member * each, each);
        talk_pull(&talk, member, own, its, its);
    }
    talk_end(&talk);
    talk_count(&talk, ALL_GATHER, each * (long)sizeof(float));
}

void all_gather_f32(const Thread *me, long message, float *values, long each)
{
    gather(me, message, values, each);
}

void all_gather_f64(const Thread *me, long message, double *values, long each)
{
    gather(me, message, (float *)(void *)values, 2 * each);
}

void meet(const Thread *me, long message)
{
    Talk talk;
    if (talk_open(&talk, me, message))
        talk_end(&talk);
}

void begin_gather_f32(const Thread *me, long message, float *all,
                      const float *own, long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_rejoin(&talk);
    for (int m = 0; m < talk.members; m++)
        talk_pass(&talk, m, floats_at(own, each),
                  floats_at(all + m * each, each));
}

void end_gather_f32(const Thread *me, long message, float *all,
                    const float *own, long each)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_rejoin(&talk);
    for (int step = 0; step < talk.members; step++) {
        int member = (talk.member + step) % talk.members;
        talk_fetch(&talk, member, floats_at(own, each),
                   floats_at(all + member * each, each));
    }
    talk_leave(&talk);
    talk_count(&talk, ALL_GATHER, each * (long)sizeof(float));
}

/* Columns that a member has of `total`. */
static long columns_of(int member, long total, long width)
{
    long left = total - member * width;
    return left < 0 ? 0 : least(left, width);
}

void gather_columns_f32(const Thread *me, long message, float *all,
                        const float *own, long total, long rows, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, own);
    for (int m = 0; m < talk.members; m++) {
        Floats mine = floats_at(own, columns_of(talk.member, total, width));
        Floats its = floats_at(own, columns_of(m, total, width));
        mine.count = its.count = rows;
        mine.stride = its.stride = width;
        talk_pull(&talk, m, mine, its,
                  (Floats){ all + m * width, rows, its.length, total });
    }
    talk_end(&talk);
    talk_count(&talk, ALL_GATHER, rows * width * (long)sizeof(float));
}

/* ---- rows of shared experts --------------------------------------------- */

/* All members look at each other's rows for their own experts: where those of
 * each begin, and the end. */
static void look_at_starts(const Talk *talk, const int32_t *starts,
                           long experts)
{
    const Floats own = floats_at(starts + talk->member * experts, experts + 1);
    for (int m = 0; m < talk->members; m++)
        talk_look(talk, m, 0, floats_at(starts + m * experts, experts + 1),
                  own);
    talk_arrive(talk);
}

/* Where a member has those for this one's experts, and behind them the end. */
static const int32_t *starts_of(const Talk *talk, int member,
                                const int32_t *starts, long experts)
{
    return talk_seen(talk, member, 0, starts + talk->member * experts);
}

void own_starts(const Thread *me, long message, int32_t *own,
                const int32_t *starts, long experts)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, starts);
    look_at_starts(&talk, starts, experts);
    if (me->index == 0) {
        long at = 0;
        for (long j = 0; j < experts; j++) {
            own[j] = (int32_t)at;
            for (int m = 0; m < talk.members; m++) {
                const int32_t *its = starts_of(&talk, m, starts, experts);
                at += its[j + 1] - its[j];
            }
        }
        own[experts] = (int32_t)at;
    }
    talk_end(&talk);
    talk_count(&talk, SEND,
               (talk.members - 1) * (experts + 1) * (long)sizeof(int32_t));
}

void rows_fit(const Thread *me, long message, const int32_t *own, long experts,
              long block, long room)
{
    Talk talk;
    if (own[experts] <= room || !talk_open(&talk, me, message)
        || me->index != 0)
        return;
    talk_fail(&talk, ERROR_INPUT, "block %ld sends the experts of rank %d %d "
              "rows, and model.experts.buffer (%s) has room for %ld; 0 has "
              "room for all", block, talk.world->rank, (int)own[experts],
              talk.world->program->messages[message].where, room);
}

/* Rows between two starts. */
static Floats rows_at(const float *rows, const int32_t *starts, long width)
{
    return floats_at(rows + starts[0] * width, (starts[1] - starts[0]) * width);
}

/* Of a member's rows those that have other members' experts go there, and come
 * back. */
static void count_rows(const Talk *talk, const int32_t *starts, long experts,
                       long width)
{
    const int32_t *mine = starts + talk->member * experts;
    long rows = starts[talk->members * experts] - starts[0]
        - (mine[experts] - mine[0]);
    talk_count(talk, SEND, rows * width * (long)sizeof(float));
}

/* A rank has the rows of its experts by expert, then by member. */
void send_rows_f32(const Thread *me, long message, float *received,
                   const float *rows, const int32_t *starts,
                   const int32_t *own, long experts, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, rows);
    look_at_starts(&talk, starts, experts);
    for (long j = 0; j < experts; j++) {
        float *here = received + own[j] * width;
        for (int m = 0; m < talk.members; m++) {
            const int32_t *its = starts_of(&talk, m, starts, experts);
            const Floats from = rows_at(rows, its + j, width);
            talk_pull(&talk, m, rows_at(rows, starts + m * experts + j, width),
                      from, floats_at(here, from.length));
            here += from.length;
        }
    }
    talk_end(&talk);
    count_rows(&talk, starts, experts, width);
}

/* The ranks with the experts know where rows came from: they bring them back.
 */
void return_rows_f32(const Thread *me, long message, float *rows,
                     const float *received, const int32_t *starts,
                     const int32_t *own, long experts, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, rows);
    look_at_starts(&talk, starts, experts);
    for (long j = 0; j < experts; j++) {
        const float *here = received + own[j] * width;
        for (int m = 0; m < talk.members; m++) {
            const int32_t *its = starts_of(&talk, m, starts, experts);
            const Floats to = rows_at(rows, its + j, width);
            talk_push(&talk, m, floats_at(here, to.length), to,
                      rows_at(rows, starts + m * experts + j, width));
            here += to.length;
        }
    }
    talk_end(&talk);
    count_rows(&talk, starts, experts, width);
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
    talk_begin(&talk, own);
    long half_floats = tokens / 2 * width;
    for (int member = 0; member < talk.members; member++)
        for (int half = 0; half < 2; half++) {
            const Floats its = { floats_at(own + half * half_floats, 0).at,
                                 sequences, half_floats, 2 * half_floats };
            float *to = all + chunk_start(&talk, member, half, tokens) * width;
            talk_pull(&talk, member, its, its,
                      (Floats){ to, sequences, half_floats,
                                tokens * talk.members * width });
        }
    talk_end(&talk);
    talk_count(&talk, ALL_GATHER,
               sequences * tokens * width * (long)sizeof(float));
}

/* This thread's share of n sums over members and, of each, over both parts, in
 * that order. */
static void sum_parts(const Talk *talk, float *to, const float *early,
                      const float *late, long n)
{
    long end = share_end(talk->me, n);
    for (long i = share_start(talk->me, n); i < end; i += PIECE)
        for (int member = 0; member < talk->members; member++) {
            const float *a = talk_seen(talk, member, 0, early);
            const float *b = talk_seen(talk, member, 1, late);
            for (long c = i; c < least(i + PIECE, end); c++) {
                float both = a[c] + b[c];
                to[c] = member ? to[c] + both : both;
            }
        }
}

/* One chunk of one sequence, whose two parts are `apart`. */
static void sum_chunk(const Talk *talk, float *own, const float *parts,
                      long apart, int half, long tokens, long width)
{
    long n = tokens / 2 * width, room = talk_room(talk);
    const float *mine =
        parts + chunk_start(talk, talk->member, half, tokens) * width;
    for (long at = 0; at < n; at += room) {
        long length = least(room, n - at);
        for (int m = 0; m < talk->members; m++)
            for (int part = 0; part < 2; part++) {
                const float *its = parts + part * apart + at
                    + chunk_start(talk, m, half, tokens) * width;
                talk_look(talk, m, part, floats_at(its, length),
                          floats_at(mine + part * apart + at, length));
            }
        talk_arrive(talk);
        sum_parts(talk, own + at, mine + at, mine + apart + at, length);
        talk_next(talk);
    }
}

void sum_chunks_f32(const Thread *me, long message, float *own,
                    const float *parts, long sequences, long tokens, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, parts);
    long all = tokens * talk.members * width;       /* of a sequence's part */
    for (long b = 0; b < sequences; b++)
        for (int half = 0; half < 2; half++)
            sum_chunk(&talk, own + (2 * b + half) * (tokens / 2) * width,
                      parts + 2 * b * all, all, half, tokens, width);
    talk_end(&talk);
    talk_count(&talk, ALL_GATHER,
               sequences * tokens * width * (long)sizeof(float));
}

/* ---- shares of sequences ------------------------------------------------ */

void gather_shares_f32(const Thread *me, long message, float *all,
                       const float *own, long sequences, long tokens,
                       long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, own);
    long each = tokens * width;
    const Floats its = { floats_at(own, 0).at, sequences, each, each };
    for (int m = 0; m < talk.members; m++)
        talk_pull(&talk, m, its, its,
                  (Floats){ all + m * each, sequences, each,
                            talk.members * each });
    talk_end(&talk);
    talk_count(&talk, ALL_GATHER, sequences * each * (long)sizeof(float));
}

/* One sequence, of which each member has n floats. */
static void sum_share(const Talk *talk, float *own, const float *all, long n)
{
    const float *mine = all + talk->member * n;
    long room = talk_room(talk);
    for (long at = 0; at < n; at += room) {
        long length = least(room, n - at);
        for (int m = 0; m < talk->members; m++)
            talk_look(talk, m, 0, floats_at(all + m * n + at, length),
                      floats_at(mine + at, length));
        talk_arrive(talk);
        long end = share_end(talk->me, length);
        for (long i = share_start(talk->me, length); i < end; i += PIECE)
            sum_piece(talk, own + at + i, mine + at, i, least(PIECE, end - i));
        talk_next(talk);
    }
}

void sum_shares_f32(const Thread *me, long message, float *own,
                    const float *all, long sequences, long tokens, long width)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, all);
    long each = tokens * width;
    for (long b = 0; b < sequences; b++)
        sum_share(&talk, own + b * each, all + b * talk.members * each, each);
    talk_end(&talk);
    talk_count(&talk, REDUCE_SCATTER, sequences * each * (long)sizeof(float));
}

void broadcast_f32(const Thread *me, long message, long from, float *theirs,
                   const float *mine, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, mine);
    for (int m = 0; m < talk.members && talk.member == from; m++)
        talk_pass(&talk, m, floats_at(mine, n), floats_at(theirs, 0));
    if (talk.member != from)
        talk_pull(&talk, (int)from, floats_at(mine, 0), floats_at(mine, n),
                  floats_at(theirs, n));
    talk_end(&talk);
    talk_count(&talk, BROADCAST, n * (long)sizeof(float));
}

double broadcast_f64(const Thread *me, long message, long from, double mine)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return mine;
    talk_meet(&talk, &mine, sizeof mine);
    const double *its = axis_slot(talk.world, talk.axis, (int)from);
    talk_count(&talk, BROADCAST, sizeof mine);
    return *its;
}

/* ---- between two -------------------------------------------------------- */

void exchange_f32(const Thread *me, long message, float *theirs,
                  const float *mine, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk_begin(&talk, mine);
    talk_pull(&talk, 1 - talk.member, floats_at(mine, n), floats_at(mine, n),
              floats_at(theirs, n));
    talk_end(&talk);
    talk_count(&talk, SEND, n * (long)sizeof(float));
}

static void copy_share(const Thread *me, float *to, const float *from, long n)
{
    long first = share_start(me, n);
    memcpy(to + first, from + first,
           (size_t)(share_end(me, n) - first) * sizeof(float));
}

void send_f32(const Thread *me, long message, long to, float *mailbox,
              const float *values, long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk.peer = (int)to;
    float *place = talk_outbox(&talk, mailbox, n);
    copy_share(me, place, values, n);
    talk_post(&talk, (int)to, place, n);
    talk_count(&talk, SEND, n * (long)sizeof(float));
}

void receive_f32(const Thread *me, long message, long from, float *values,
                 long n)
{
    Talk talk;
    if (!talk_open(&talk, me, message))
        return;
    talk.peer = (int)from;
    const float *place = talk_inbox(&talk, (int)from, values, n);
    if (place != values)
        copy_share(me, values, place, n);
    talk_taken(&talk, (int)from);
    talk_received(&talk);
}
