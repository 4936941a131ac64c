/* check_groups.c: the ranks' groups and shares, as the compiler has them and as
 * the runtime does. A walk (walk.h) says what a rank does at its seat, and the
 * messages' claim who then meets whom: both are the compiler's idea. Here the
 * runtime's own functions (check_world.h) are called for every rank of the
 * full-size plan, and have to give the same seat, the same members of every
 * axis that a message goes along, in the same order, and the same owner of
 * every share. */
#include "check.h"
#include "check_groups.h"
#include "check_world.h"

/* The number of a rank among those that have the same experts. */
static int64_t same_experts(const Facts *f, const Seat *seat)
{
    int64_t chunks = f->context;
    return seat->replica / chunks / f->experts * chunks
        + seat->replica % chunks;
}

bool seats_meet(const Facts *f, const char *axis, const Seat *a, const Seat *b)
{
    bool stage = a->stage == b->stage, replica = a->replica == b->replica;
    bool slice = a->slice == b->slice;
    int64_t last = f->stages - 1, chunks = f->context;
    int64_t experts = f->experts;
    int64_t batch = a->replica / chunks, other = b->replica / chunks;
    bool chunk = a->replica % chunks == b->replica % chunks;
    if (!strcmp(axis, "data") || !strcmp(axis, "data and context"))
        return stage && slice;
    if (!strcmp(axis, "context"))
        return stage && slice && batch == other;
    if (!strcmp(axis, "experts"))
        return stage && slice && chunk && batch / experts == other / experts;
    if (!strcmp(axis, "same experts"))
        return stage && slice && batch % experts == other % experts;
    if (!strcmp(axis, "same chunk"))
        return stage && slice && chunk;
    if (!strcmp(axis, "shard group"))
        return stage && slice
            && a->replica / f->shards == b->replica / f->shards;
    if (!strcmp(axis, "same share"))
        return stage && slice
            && a->replica % f->shards == b->replica % f->shards;
    int64_t same = same_experts(f, a), as = same_experts(f, b);
    int64_t shards = f->expert_shards;
    if (!strcmp(axis, "experts' shard group"))
        return stage && slice && batch % experts == other % experts
            && same / shards == as / shards;
    if (!strcmp(axis, "same experts' share"))
        return stage && slice && batch % experts == other % experts
            && same % shards == as % shards;
    if (!strcmp(axis, "tensor"))
        return stage && replica;
    if (!strcmp(axis, "pipeline"))
        return replica && slice;
    int64_t decoder = f->decoder;
    if (!strcmp(axis, "ends"))
        return replica && slice && (b->stage == 0 || b->stage == last);
    if (!strcmp(axis, "embeddings"))
        return replica && slice && (b->stage == 0 || b->stage == decoder);
    if (!strcmp(axis, "decoder's ends"))
        return replica && slice && (b->stage == decoder || b->stage == last);
    return true;
}

/* ---- the runtime's answers ---- */
typedef struct Groups {
    Check *c;
    const Facts *facts;
    CheckWorld *world;
    List(const char *) axes;        /* of messages, each once */
    int64_t rank;
    Seat seat;                      /* of the rank */
    int64_t members, owners;        /* looked at, of all ranks */
    const char *wrong;
} Groups;

static bool complain(Groups *g, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Of the rank that is looked at; false. */
static bool complain(Groups *g, const char *format, ...)
{
    va_list args;
    Buf text = {0};
    va_start(args, format);
    buf_printf(&text, "rank %lld: ", (long long)g->rank);
    buf_vprintf(&text, format, args);
    va_end(args);
    g->wrong = arena_strdup(g->c->arena, text.text);
    buf_free(&text);
    return false;
}

static void list_axes(Groups *g)
{
    const FactStage *stage = &g->facts->by_stage.at[0];
    for (int i = 0; i < stage->messages.count; i++) {
        const char *axis = stage->messages.at[i].axis;
        bool listed = false;
        for (int j = 0; j < g->axes.count; j++)
            listed |= !strcmp(g->axes.at[j], axis);
        if (!listed)
            list_push(g->c->arena, &g->axes, axis);
    }
}

static void open_world(Groups *g)
{
    const ProgData *p = g->facts->program;
    const WorldSizes sizes = {
        .name = g->c->compiled.spec->name,
        .ranks = facts_int(p, 0, "ranks"), .data = facts_int(p, 0, "data"),
        .stages = facts_int(p, 0, "stages"),
        .decoder = facts_int(p, 0, "decoder"),
        .expert_ranks = facts_int(p, 0, "expert_ranks"),
        .chunks = facts_int(p, 0, "chunks"),
        .tensor = facts_int(p, 0, "tensor"),
        .shard = facts_int(p, 0, "shard"),
        .shard_ranks = facts_int(p, 0, "shard_ranks"),
        .expert_shards = facts_int(p, 0, "expert_shards"),
    };
    g->world = check_world_new(&sizes, g->axes.at, g->axes.count);
    if (!g->world)
        g->wrong = "there is no memory for a world of as many ranks";
}

/* What the runtime says in Control of where the rank sits. */
static bool check_seat(Groups *g)
{
    static const char *const fields[] = {
        "stage", "replica", "chunk", "expert", "expert_share", "share",
        "slice", "batch",
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int64_t is = check_world_control(g->world, fields[i]);
        int64_t wanted = walk_seat_field(g->facts, g->seat, fields[i]);
        if (is != wanted)
            return complain(g, "its %s is %lld in the runtime, %lld in the "
                            "program", fields[i], (long long)is,
                            (long long)wanted);
    }
    return true;
}

/* Those whom it meets: as many as the forecast has it, each of its group, in
 * the order of ranks, itself where it says. A rank that does not talk along an
 * axis, as one between the ends of a pipeline, is none of them. */
static bool check_axis(Groups *g, int axis)
{
    const char *name = g->axes.at[axis];
    int64_t members = check_world_members(g->world, axis), before = -1;
    bool talks = seats_meet(g->facts, name, &g->seat, &g->seat);
    if (members != facts_members(g->facts, name))
        return complain(g, "%lld ranks meet along \"%s\" in the runtime, %lld "
                        "in the program", (long long)members, name,
                        (long long)facts_members(g->facts, name));
    for (int64_t i = 0; i < members && talks; i++) {
        int64_t rank = check_world_rank(g->world, axis, i);
        bool fits = rank > before && rank < g->facts->ranks;
        const Seat seat = walk_seat(g->facts, rank);
        if (!fits || !seats_meet(g->facts, name, &g->seat, &seat))
            return complain(g, "member %lld along \"%s\" is rank %lld in the "
                            "runtime, which is not of its group, or not in "
                            "its order", (long long)i, name, (long long)rank);
        before = rank;
    }
    g->members += talks ? members : 0;
    int64_t self = check_world_member(g->world, axis);
    if (talks && (self < 0 || self >= members
                  || check_world_rank(g->world, axis, self) != g->rank))
        return complain(g, "along \"%s\" it takes itself for member %lld",
                        name, (long long)self);
    return true;
}

/* Share k of a unit that this rank's shard group splits. */
static bool check_owner(Groups *g, int64_t k)
{
    int64_t rank = check_world_owner(g->world, k);
    const Seat owner = walk_seat(g->facts, rank);
    g->owners++;
    return (seats_meet(g->facts, "shard group", &g->seat, &owner)
            && walk_seat_field(g->facts, owner, "share") == k)
        || complain(g, "share %lld is rank %lld's in the runtime",
                    (long long)k, (long long)rank);
}

/* Share k of a unit of the experts that its neighbours have. */
static bool check_expert_owner(Groups *g, int64_t expert, int64_t k)
{
    int64_t rank = check_world_expert_owner(g->world, expert, k);
    int64_t own = walk_seat_field(g->facts, g->seat, "expert");
    const Seat owner = walk_seat(g->facts, rank);
    Seat near = g->seat;
    near.replica += (expert - own) * g->facts->context;
    g->owners++;
    return (seats_meet(g->facts, "experts' shard group", &near, &owner)
            && walk_seat_field(g->facts, owner, "expert_share") == k)
        || complain(g, "share %lld of experts %lld is rank %lld's in the "
                    "runtime", (long long)k, (long long)expert,
                    (long long)rank);
}

static bool check_owners(Groups *g)
{
    const Facts *f = g->facts;
    bool right = true;
    for (int64_t k = 0; k < f->shards && right; k++)
        right = check_owner(g, k);
    for (int64_t e = 0; e < f->experts && f->experts > 1 && right; e++)
        for (int64_t k = 0; k < f->expert_shards && right; k++)
            right = check_expert_owner(g, e, k);
    return right;
}

static bool check_rank(Groups *g)
{
    g->seat = walk_seat(g->facts, g->rank);
    check_world_be(g->world, g->rank);
    bool right = check_seat(g);
    for (int i = 0; i < g->axes.count && right; i++)
        right = check_axis(g, i);
    return right && (!g->facts->shard || check_owners(g));
}

/* ---- the claim ---- */
void check_groups(Check *c)
{
    Groups g = { .c = c, .facts = c->facts };
    if (g.facts->ranks == 1)
        return;
    list_axes(&g);
    open_world(&g);
    while (g.world && g.rank < g.facts->ranks && check_rank(&g))
        g.rank++;
    if (g.world)
        check_world_free(g.world);
    claim(c, "groups", "the runtime gives every rank the seat, every message "
          "the members and every share the owner that the program was made "
          "for", g.wrong ? CLAIM_FAILED : CLAIM_PROVED, "%s",
          g.wrong ? g.wrong
                  : arena_printf(c->arena, "all %lld ranks, %d axes, %lld "
                                 "members, %lld owners",
                                 (long long)g.facts->ranks, g.axes.count,
                                 (long long)g.members, (long long)g.owners));
}
