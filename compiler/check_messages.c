/* check_messages.c: what the ranks of the full-size program say to each other.
 * Every rank's step is walked (walk.h), that of ranks which differ in nothing
 * that it depends on once. Then ranks are played against each other with the
 * rules of runtime/collectives.h: a collective ends when all of its members are
 * at it, with one size, a sum with one place; a send waits while two of its
 * rows have not been taken; a receive waits for the next row. What no rank can
 * leave is a failure. Calls and bytes are counted as the runtime counts them
 * and compared with the program's own forecast.
 *
 * Above MOST_RANKS the first two and the last of each axis are played, if all
 * ranks of a stage say the same in the same order: then every order in which
 * those come to an end is one of all ranks, each doing what the one of its
 * stage does. Members of a collective that differ in data, context, experts or
 * tensor are of one stage and so at the same call; those of other stages have
 * the same place on these axes, whatever it is. Otherwise all are played. */
#include "check.h"
#include "check_groups.h"
#include "../runtime/collectives.h"

enum { MOST_RANKS = 64, SLOTS = 2 };

/* Ranks that one walk is of. */
typedef struct Class {
    const Walked *walked;
    int64_t updated;                /* elements, of each */
} Class;

typedef struct Player {
    Seat seat;
    const Walked *walked;           /* perhaps of another rank of its class */
    int next;                       /* event */
    int64_t *sent, *taken;          /* by message */
} Player;

typedef struct Game {
    Check *c;
    const Facts *facts;
    List(Class) classes;
    List(Player) players;
    int messages;
    const char *wrong;
    int64_t events;                 /* of all ranks */
} Game;

static const FactMessage *message_of(const Game *g, const Event *e)
{
    const FactStage *stage = &g->facts->by_stage.at[0];
    return e->message >= 0 && e->message < stage->messages.count
        ? &stage->messages.at[e->message] : NULL;
}

static const char *message_name(const Game *g, const Event *e)
{
    const FactMessage *m = message_of(g, e);
    return m ? m->name : "an unknown message";
}

static const char *seat_text(const Game *g, const Seat *s)
{
    return arena_printf(g->c->arena, "stage %lld, replica %lld, slice %lld",
                        (long long)s->stage, (long long)s->replica,
                        (long long)s->slice);
}

static bool is_named(const Event *e, const char *name)
{
    return !strcmp(e->func->name, name);
}

static bool same_place(const Event *a, const Event *b)
{
    bool both = a->at.base && b->at.base;
    return (!a->at.base && !b->at.base)
        || (both && !strcmp(a->at.base, b->at.base)
            && a->at.bytes == b->at.bytes);
}

/* A sum reads its members' numbers at its own place in their memory; the other
 * collectives tell each other where theirs lie. */
static bool meets_alike(const Event *a, const Event *b)
{
    bool sum = is_named(a, "all_reduce_f32")
        || is_named(a, "all_reduce_into_f32") || is_named(a, "all_max_f32")
        || is_named(a, "reduce_scatter_f32");
    return !sum || same_place(a, b);
}

/* ---- classes of ranks ---- */
static Class *class_of(Game *g, Seat seat)
{
    for (int i = 0; i < g->classes.count; i++)
        if (walk_is_of(g->facts, g->classes.at[i].walked, seat))
            return &g->classes.at[i];
    const Class made = {
        .walked = walk_train(g->facts, seat, g->c->arena),
    };
    list_push(g->c->arena, &g->classes, made);
    if (made.walked->wrong && !g->wrong)
        g->wrong = arena_printf(g->c->arena, "%s (%s)", made.walked->wrong,
                                seat_text(g, &seat));
    return &g->classes.at[g->classes.count - 1];
}

/* Every rank has a class. */
static void walk_ranks(Game *g)
{
    for (int64_t rank = 0; rank < g->facts->ranks && !g->wrong; rank++)
        g->events += class_of(g, walk_seat(g->facts, rank))
                         ->walked->events.count;
}

/* The next of a rank's events, from i on, that others notice: what it says to
 * them, and the blocks that rows go through. */
static const Event *next_noticed(const Walked *walked, int *i)
{
    while (*i < walked->events.count) {
        const Event *e = &walked->events.at[(*i)++];
        if (e->kind != EVENT_UPDATE)
            return e;
    }
    return NULL;
}

/* The sequence that an event is about, in its replica's part of the batch. */
static int64_t own_first(const Walked *walked, const Event *e)
{
    return e->first < 0 ? -1 : e->first - walked->first;
}

static bool says_the_same(const Walked *a, const Walked *b)
{
    int i = 0, j = 0;
    const Event *e, *o;
    do {
        e = next_noticed(a, &i);
        o = next_noticed(b, &j);
        if (!e || !o)
            return !e && !o;
    } while (e->kind == o->kind && e->func == o->func && e->n == o->n
             && e->message == o->message && e->peer == o->peer
             && e->block == o->block && own_first(a, e) == own_first(b, o)
             && (e->kind != EVENT_TALK || meets_alike(e, o)));
    return false;
}

/* Do all ranks of a stage say the same? */
static bool stages_say_the_same(const Game *g)
{
    for (int i = 0; i < g->classes.count; i++)
        for (int j = 0; j < i; j++) {
            const Walked *a = g->classes.at[i].walked;
            const Walked *b = g->classes.at[j].walked;
            if (a->seat.stage != b->seat.stage)
                continue;
            if (!says_the_same(a, b))
                return false;
            break;                  /* and b what those before it do */
        }
    return true;
}

/* ---- who sits where ---- */
static bool is_played(int64_t i, int64_t count, bool all)
{
    return all || i < 2 || i == count - 1;
}

static void seat_player(Game *g, const Seat *seat)
{
    Arena *arena = g->c->arena;
    size_t bytes = (size_t)(g->messages + 1) * sizeof(int64_t);
    const Player p = { .seat = *seat, .walked = class_of(g, *seat)->walked,
                       .sent = arena_alloc(arena, bytes),
                       .taken = arena_alloc(arena, bytes) };
    list_push(arena, &g->players, p);
}

static void seat_players(Game *g)
{
    const Facts *f = g->facts;
    bool all = f->ranks <= MOST_RANKS || !stages_say_the_same(g);
    for (int64_t rank = 0; rank < f->ranks; rank++) {
        const Seat seat = walk_seat(f, rank);
        if (is_played(seat.replica, f->replicas, all)
            && is_played(seat.slice, f->tensor, all))
            seat_player(g, &seat);
    }
}

static Player *player_at(const Game *g, const Seat *near, int64_t stage)
{
    for (int i = 0; i < g->players.count; i++) {
        const Seat *seat = &g->players.at[i].seat;
        if (seat->stage == stage && seat->replica == near->replica
            && seat->slice == near->slice)
            return &g->players.at[i];
    }
    return NULL;
}

static const Event *event_of(const Player *p)
{
    return p->next < p->walked->events.count
        ? &p->walked->events.at[p->next] : NULL;
}

/* ---- rows between stages ---- */
/* Event k of a rank's sends of a message. */
static const Event *nth_send(const Player *p, int64_t message, int64_t k)
{
    for (int i = 0; i < p->walked->events.count; i++) {
        const Event *e = &p->walked->events.at[i];
        if (e->kind == EVENT_TALK && e->message == message
            && is_named(e, "send_f32") && k-- == 0)
            return e;
    }
    return NULL;
}

static bool complain(Game *g, const Seat *seat, const Event *e,
                     const char *what)
{
    if (!g->wrong)
        g->wrong = arena_printf(g->c->arena, "`%s` (%s): %s",
                                message_name(g, e), seat_text(g, seat), what);
    return false;
}

static bool try_send(Game *g, Player *p, const Event *e)
{
    if (!player_at(g, &p->seat, e->peer))
        return complain(g, &p->seat, e, "goes to a stage that there is not");
    if (p->sent[e->message] - p->taken[e->message] >= SLOTS)
        return false;
    p->sent[e->message]++;
    return true;
}

/* Is e a call of the block behind the last that rows went through, or of the
 * one before it on their way back? An encoder's last and a decoder's first are
 * neighbours. */
static bool is_neighbour(const Game *g, const Event *sent, const Event *e,
                         bool back)
{
    int64_t last = g->facts->encoder - 1;
    bool decoder = !strncmp(e->func->name, "decoder_", 8);
    if (last >= 0 && !back && decoder && e->block == 0)
        return sent->block == last;
    if (last >= 0 && back && !decoder && e->block == last)
        return sent->block == 0;
    return e->block == sent->block + (back ? -1 : 1);
}

/* Rows come to the next block: where the next call is one that has a record, it
 * tells. */
static bool goes_on(const Game *g, const Player *p, const Event *sent)
{
    const char *name = message_name(g, sent);
    bool back = !strcmp(name, "send dx") || !strcmp(name, "send dmemory");
    for (int i = p->next + 1; i < p->walked->events.count; i++) {
        const Event *e = &p->walked->events.at[i];
        bool block = e->kind == EVENT_RECORD && strstr(e->func->name, "block");
        if (e->kind == EVENT_TALK)
            return true;
        if (block && strstr(e->func->name, back ? "backward" : "forward"))
            return is_neighbour(g, sent, e, back);
        if (block)
            return true;
    }
    return true;
}

static bool try_receive(Game *g, Player *p, const Event *e)
{
    Player *from = player_at(g, &p->seat, e->peer);
    if (!from)
        return complain(g, &p->seat, e, "comes from a stage that there is not");
    int64_t k = from->taken[e->message];
    if (k >= from->sent[e->message])
        return false;
    const Event *sent = nth_send(from, e->message, k);
    if (sent->peer != p->seat.stage)
        return complain(g, &p->seat, e, "was sent to another stage");
    if (sent->n != e->n)
        return complain(g, &p->seat, e, "is received with another "
                        "size than it was sent with");
    if (own_first(from->walked, sent) != own_first(p->walked, e))
        return complain(g, &p->seat, e, "is of another micro-batch "
                        "than the one that it is received for");
    if (!goes_on(g, p, sent))
        return complain(g, &p->seat, e, "goes on at another block "
                        "than the one behind those that it comes from");
    from->taken[e->message]++;
    return true;
}

/* ---- collectives ---- */
static bool try_collective(Game *g, Player *p, const Event *e)
{
    const char *axis = message_of(g, e)->axis;
    for (int i = 0; i < g->players.count; i++) {
        Player *other = &g->players.at[i];
        if (!seats_meet(g->facts, axis, &p->seat, &other->seat))
            continue;
        const Event *o = event_of(other);
        if (!o || o->kind != EVENT_TALK || o->message != e->message
            || strcmp(o->func->name, e->func->name) != 0)
            return false;
        if (o->n != e->n)
            return complain(g, &other->seat, o, "has another size than on "
                            "another rank");
        if (o->peer != e->peer)
            return complain(g, &other->seat, o, "comes from another rank "
                            "than on another rank");
        if (!meets_alike(e, o))
            return complain(g, &other->seat, o, "lies at another place than on "
                            "another rank");
    }
    for (int i = 0; i < g->players.count; i++) {
        Player *other = &g->players.at[i];
        if (other != p
            && seats_meet(g->facts, axis, &p->seat, &other->seat))
            other->next++;
    }
    return true;
}

static bool try_event(Game *g, Player *p, const Event *e)
{
    if (e->kind != EVENT_TALK)
        return true;
    if (!message_of(g, e))
        return complain(g, &p->seat, e, "is not among the program's messages");
    if (is_named(e, "send_f32"))
        return try_send(g, p, e);
    if (is_named(e, "receive_f32"))
        return try_receive(g, p, e);
    return try_collective(g, p, e);
}

/* Plays until nobody can go on. */
static void play(Game *g)
{
    bool moved = true;
    while (moved && !g->wrong) {
        moved = false;
        for (int i = 0; i < g->players.count && !g->wrong; i++) {
            Player *p = &g->players.at[i];
            const Event *e;
            while ((e = event_of(p)) && try_event(g, p, e)) {
                p->next++;
                moved = true;
            }
        }
    }
    for (int i = 0; i < g->players.count && !g->wrong; i++) {
        const Player *p = &g->players.at[i];
        const Event *e = event_of(p);
        if (e)
            complain(g, &p->seat, e, "is waited for, and never comes");
        for (int m = 0; m < g->messages && !g->wrong; m++)
            if (p->sent[m] != p->taken[m])
                g->wrong = arena_printf(
                    g->c->arena, "%lld rows of message %d are sent and not "
                    "received (%s)", (long long)(p->sent[m] - p->taken[m]), m,
                    seat_text(g, &p->seat));
    }
}

/* ---- gathers in two halves ---- */
/* Each that has begun ends, in the order in which they began. */
static void check_halves(Game *g, const Walked *w)
{
    List(const Event *) begun = {0};
    int ended = 0;
    for (int i = 0; i < w->events.count && !g->wrong; i++) {
        const Event *e = &w->events.at[i];
        if (e->kind != EVENT_TALK)
            continue;
        if (is_named(e, "begin_gather_f32"))
            list_push(g->c->arena, &begun, e);
        if (!is_named(e, "end_gather_f32"))
            continue;
        const Event *first = ended < begun.count ? begun.at[ended++] : NULL;
        if (!first)
            complain(g, &w->seat, e, "ends, and has not begun");
        else if (first->message != e->message || first->n != e->n
                 || !same_place(first, e))
            complain(g, &w->seat, e, "ends with another size or place "
                     "than it began with");
    }
    if (ended < begun.count)
        complain(g, &w->seat, begun.at[ended], "begins, and never ends");
}

/* ---- the forecast ---- */
typedef struct TalkSize {
    const char *func;
    Collective kind;
    int each;
} TalkSize;

/* Bytes of a number; what the runtime counts for each (receives count nothing,
 * rows to experts and back what data decides). */
static const TalkSize sizes[] = {
    { "all_reduce_count", ALL_REDUCE, 8 },
    { "all_reduce_f32", ALL_REDUCE, 4 },
    { "all_reduce_into_f32", ALL_REDUCE, 4 },
    { "all_reduce_f64", ALL_REDUCE, 8 },
    { "reduce_scatter_f32", REDUCE_SCATTER, 4 },
    { "all_gather_f32", ALL_GATHER, 4 },
    { "all_gather_f64", ALL_GATHER, 8 },
    { "end_gather_f32", ALL_GATHER, 4 },
    { "exchange_f32", SEND, 4 },
    { "broadcast_f32", BROADCAST, 4 },
    { "broadcast_f64", BROADCAST, 8 },
    { "send_f32", SEND, 4 },
    { "send_rows_f32", SEND, 0 },
    { "return_rows_f32", SEND, 0 },
    { "gather_chunks_f32", ALL_GATHER, 4 },
    { "sum_chunks_f32", ALL_GATHER, 4 },
    { "all_max_f32", ALL_REDUCE, 4 },
    { "gather_columns_f32", ALL_GATHER, 4 },
    { "gather_shares_f32", ALL_GATHER, 4 },
    { "sum_shares_f32", REDUCE_SCATTER, 4 },
    { "own_starts", SEND, 4 },
};

static void count_event(const Game *g, const Event *e, int64_t *calls,
                        int64_t *bytes)
{
    const FactMessage *m = e->kind == EVENT_TALK ? message_of(g, e) : NULL;
    int64_t members = m ? facts_members(g->facts, m->axis) : 0;
    for (size_t i = 0; members > 1 && i < sizeof sizes / sizeof *sizes; i++)
        if (is_named(e, sizes[i].func)) {
            int64_t n = is_named(e, "own_starts") ? (members - 1) * (e->n + 1)
                                                  : e->n;
            calls[e->message]++;
            bytes[e->message] +=
                collective_bytes(sizes[i].kind, n * sizes[i].each, members);
        }
}

static void compare_forecast(Game *g, const Walked *w)
{
    size_t room = (size_t)(g->messages + 1) * sizeof(int64_t);
    int64_t *calls = arena_alloc(g->c->arena, room);
    int64_t *bytes = arena_alloc(g->c->arena, room);
    const FactStage *stage = &g->facts->by_stage.at[w->seat.stage];
    for (int i = 0; i < w->events.count; i++)
        count_event(g, &w->events.at[i], calls, bytes);
    for (int i = 0; i < g->messages && !g->wrong; i++) {
        const FactMessage *m = &stage->messages.at[i];
        bool known = m->at_most || bytes[i] == m->bytes;
        if (calls[i] != m->calls || !known)
            g->wrong = arena_printf(
                g->c->arena, "`%s` (%s): %lld calls, %lld bytes; the program "
                "says %lld, %lld", m->name, seat_text(g, &w->seat),
                (long long)calls[i], (long long)bytes[i], (long long)m->calls,
                (long long)m->bytes);
    }
}

/* ---- records ---- */
/* A record that forward left is read by the backward of the same block and
 * micro-batch, before another forward writes there. Where backward is cut its
 * weight half need not read it: one that does finds what was written last. */
typedef struct Kept { const Event *by; bool read; } Kept;

static bool is_of(const Event *read, const Event *kept)
{
    bool looped = strstr(read->func->name, "block") != NULL;
    return read->first == kept->first
        && (!looped || read->block == kept->block);
}

static void check_records(Game *g, const Walked *w)
{
    List(Kept) open = {0};
    for (int i = 0; i < w->events.count && !g->wrong; i++) {
        const Event *e = &w->events.at[i];
        const Kept kept = { .by = e };
        if (e->kind != EVENT_RECORD || !e->at.base)
            continue;
        int found = -1;
        for (int j = 0; j < open.count; j++)
            if (open.at[j].by->at.bytes == e->at.bytes)
                found = j;
        if (e->keeps && found >= 0 && !open.at[found].read)
            g->wrong = arena_printf(
                g->c->arena, "%s (%s) writes over a record that backward has "
                "not read", e->func->name, seat_text(g, &w->seat));
        else if (e->keeps && found >= 0)
            open.at[found] = kept;
        else if (e->keeps)
            list_push(g->c->arena, &open, kept);
        else if (e->reads && (found < 0 || !is_of(e, open.at[found].by)))
            g->wrong = arena_printf(
                g->c->arena, "%s (%s) reads a record that is not its "
                "forward's", e->func->name, seat_text(g, &w->seat));
        else if (e->last)
            open.at[found] = open.at[--open.count];
        else if (found >= 0)
            open.at[found].read = true;
    }
}

/* ---- updates ---- */
typedef struct Span { int64_t from, to; } Span;
typedef struct Spans { List(Span) list; } Spans;

/* Elements that overlap none before; -1: they do. */
static int64_t add_span(Game *g, Spans *spans, Span span)
{
    for (int i = 0; i < spans->list.count; i++) {
        const Span *other = &spans->list.at[i];
        if (other->from < span.to && span.from < other->to)
            return -1;
    }
    list_push(g->c->arena, &spans->list, span);
    return span.to - span.from;
}

/* A copy of a tensor that is trained. */
typedef struct Trained { int64_t weight, gradient; bool found; } Trained;

/* The one that has all of a span of a stage's weights. */
static Trained trained_at(const Game *g, int64_t stage, Span span)
{
    const ProgData *t = g->facts->by_stage.at[stage].tensors;
    for (int i = 0; t && i < t->rows; i++) {
        int64_t floats = facts_floats(g->facts, t, i);
        int64_t from = facts_int(t, i, "weight");
        int64_t by = facts_int(t, i, "weight_stride");
        const char *frozen = facts_text(t, i, "frozen");
        bool kept = facts_int(t, i, "constant")
            || facts_int(t, i, "gradient") < 0;
        for (int64_t j = 0; j < facts_int(t, i, "repeat") && !kept; j++) {
            int64_t at = from + j * by;
            if (span.from < at || span.to > at + floats
                || (*frozen && frozen[j] == 'f'))
                continue;
            int64_t stride = facts_int(t, i, "gradient_stride");
            return (Trained){ at, facts_int(t, i, "gradient") + j * stride,
                              true };
        }
    }
    return (Trained){0};
}

static bool update_is_wrong(Game *g, const Walked *w, Span span,
                            const char *what)
{
    g->wrong = arena_printf(g->c->arena, "the update of parameters at %lld "
                            "floats (%s) %s", (long long)span.from,
                            seat_text(g, &w->seat), what);
    return false;
}

/* Where whole weights lie by the tables an update is of one trained tensor, and
 * where nothing is split its gradient and moments lie alike; *apart: gradients
 * less moments, in bytes, of all updates of the rank. */
static bool check_update(Game *g, const Walked *w, const Event *e,
                         int64_t *apart)
{
    const Span span = { e->at.bytes / 4, e->at.bytes / 4 + e->n };
    const Trained tensor = trained_at(g, w->seat.stage, span);
    if (g->facts->shard == SHARD_PARAMETERS)
        return true;
    if (!tensor.found)
        return update_is_wrong(g, w, span, "is of no tensor that is trained");
    if (g->facts->shard || !e->moment.base)
        return true;
    int64_t wanted = tensor.gradient + span.from - tensor.weight;
    if (e->moment.bytes / 4 != wanted)
        return update_is_wrong(g, w, span, "takes moments of others");
    if (*apart >= 0 && e->gradient.bytes - e->moment.bytes != *apart)
        return update_is_wrong(g, w, span, "takes a gradient of others");
    *apart = e->gradient.bytes - e->moment.bytes;
    return true;
}

/* Of one rank: each element, and its moments, at most once. Gives how many. */
static int64_t updates_of(Game *g, const Walked *w)
{
    Spans spans = {0}, moments = {0};
    int64_t sum = 0, apart = -1;
    for (int i = 0; i < w->events.count && !g->wrong; i++) {
        const Event *e = &w->events.at[i];
        if (e->kind != EVENT_UPDATE || e->n < 1)
            continue;
        const Span span = { e->at.bytes / 4, e->at.bytes / 4 + e->n };
        int64_t first = e->moment.bytes / 4, added = add_span(g, &spans, span);
        if (added < 0)
            update_is_wrong(g, w, span, "is not the only one of them");
        else if (e->moment.base
                 && add_span(g, &moments, (Span){ first, first + e->n }) < 0)
            update_is_wrong(g, w, span, "takes moments that another takes");
        else
            check_update(g, w, e, &apart);
        sum += added;
    }
    return sum;
}

/* How often `ranks` that have one slice of a stage update what one of them has
 * of a tensor: of experts that ranks share out each has others. */
static int64_t times(const Game *g, const ProgData *t, int row, int64_t ranks)
{
    bool experts = facts_int(t, row, "experts");
    if (g->facts->shards == 1)
        return ranks;
    return g->facts->replicas
        / (experts ? g->facts->expert_shards : g->facts->shards);
}

/* Trained elements of a stage's tensors that `ranks` of it update. */
static int64_t trained(const Game *g, int stage, int64_t ranks)
{
    const ProgData *t = g->facts->by_stage.at[stage].tensors;
    int64_t sum = 0;
    for (int i = 0; t && i < t->rows; i++) {
        const char *frozen = facts_text(t, i, "frozen");
        int64_t copies = facts_int(t, i, "repeat");
        if (facts_int(t, i, "constant") || facts_int(t, i, "gradient") < 0)
            continue;
        for (const char *f = frozen; *f; f++)
            copies -= *f == 'f';
        sum += facts_floats(g->facts, t, i) * copies * times(g, t, i, ranks);
    }
    return sum;
}

/* Of the ranks that have one slice of a stage. */
static void check_slice(Game *g, int stage, int64_t slice)
{
    int64_t sum = 0, ranks = g->facts->replicas;
    for (int64_t replica = 0; replica < ranks; replica++) {
        const Seat seat = { stage, replica, slice };
        sum += class_of(g, seat)->updated;
    }
    int64_t wanted = trained(g, stage, ranks);
    if (!g->wrong && sum != wanted)
        g->wrong = arena_printf(g->c->arena, "stage %d updates %lld elements "
                                "of %lld", stage, (long long)sum,
                                (long long)wanted);
}

static void check_updates(Game *g)
{
    for (int i = 0; i < g->classes.count && !g->wrong; i++)
        g->classes.at[i].updated = updates_of(g, g->classes.at[i].walked);
    for (int stage = 0; stage < g->facts->stages; stage++)
        for (int64_t slice = 0; slice < g->facts->tensor; slice++)
            if (!g->wrong)
                check_slice(g, stage, slice);
}

/* ---- claims ---- */
/* "all 1024 ranks, 64 walked: the others run the same; 260160 events" */
static const char *looked_at(const Game *g)
{
    long long ranks = g->facts->ranks, walked = g->classes.count;
    Arena *arena = g->c->arena;
    return arena_printf(arena, "%s%s; %lld events",
                        ranks == 1 ? "the rank"
                                   : arena_printf(arena, "all %lld ranks",
                                                  ranks),
                        walked == ranks ? ""
                            : arena_printf(arena, ", %lld walked, the others "
                                           "run the same on other numbers",
                                           walked),
                        (long long)g->events);
}

/* Says what was found wrong once, and begins anew. */
static void say(Game *g, const char *name, const char *text, const char *found)
{
    ClaimStatus status = g->wrong ? CLAIM_FAILED : CLAIM_PROVED;
    claim(g->c, name, text, status, "%s", g->wrong ? g->wrong : found);
    g->wrong = NULL;
}

static void say_played(Game *g)
{
    const char *found = looked_at(g);
    if (!g->wrong && g->players.count < g->facts->ranks)
        found = arena_printf(g->c->arena, "%s; %d ranks played, on each stage "
                             "all say the same in the same order", found,
                             g->players.count);
    say(g, "messages", "every send has its receive and every collective its "
        "members, in one order, with one size and place; none waits for ever",
        found);
}

/* Sends and receives are of two ranks, however many there are; a count is the
 * same in any order. */
static bool is_meeting(const Event *e)
{
    return e->kind == EVENT_TALK && !is_named(e, "send_f32")
        && !is_named(e, "receive_f32") && !is_named(e, "all_reduce_count");
}

static void list_meetings(Game *g)
{
    bool *listed = arena_alloc(g->c->arena, (size_t)g->messages + 1);
    for (int i = 0; i < g->classes.count; i++) {
        const Walked *w = g->classes.at[i].walked;
        for (int j = 0; j < w->events.count; j++) {
            const Event *e = &w->events.at[j];
            const FactMessage *m = is_meeting(e) ? message_of(g, e) : NULL;
            if (!m || listed[e->message])
                continue;
            const Meeting one = { m->name, facts_members(g->facts, m->axis) };
            listed[e->message] = true;
            list_push(g->c->arena, &g->c->meetings, one);
        }
    }
}

void check_messages(Check *c)
{
    Game g = { .c = c, .facts = c->facts,
               .messages = c->facts->by_stage.at[0].messages.count };
    walk_ranks(&g);
    bool known = !g.wrong;
    say(&g, "static", "every size and place of a plan is known before it runs",
        looked_at(&g));
    if (!known)
        return;
    list_meetings(&g);
    seat_players(&g);
    play(&g);
    for (int i = 0; i < g.classes.count && !g.wrong; i++)
        check_halves(&g, g.classes.at[i].walked);
    say_played(&g);
    for (int i = 0; i < g.classes.count && !g.wrong; i++)
        compare_forecast(&g, g.classes.at[i].walked);
    say(&g, "forecast", "calls and bytes of every message are what the program "
        "says", looked_at(&g));
    for (int i = 0; i < g.classes.count && !g.wrong; i++)
        check_records(&g, g.classes.at[i].walked);
    say(&g, "records", "what forward keeps is read by its own backward before "
        "anything writes there", looked_at(&g));
    check_updates(&g);
    say(&g, "updates", "each trained element is updated once, on every "
        "replica or on the one that owns it, with moments that no other has, "
        "and no frozen one", looked_at(&g));
}
