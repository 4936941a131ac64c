/* rank_text.c: the training step as one rank runs it (rank_text.h): who it is,
 * what it has, and in order the calls that keep or read a record, its messages
 * with the line of the spec that asks for each, and its updates, as walk.h
 * finds them. Equal lines that follow one another are one, with their
 * number. */
#include "rank_text.h"
#include "walk.h"

typedef struct Lines {
    char last[200];
    int times;
} Lines;

static void flush_line(Lines *lines)
{
    if (lines->times > 1)
        printf("%s  x %d\n", lines->last, lines->times);
    else if (lines->times)
        printf("%s\n", lines->last);
    lines->times = 0;
}

static void add_line(Lines *lines, const char *text)
{
    if (lines->times && !strcmp(lines->last, text)) {
        lines->times++;
        return;
    }
    flush_line(lines);
    snprintf(lines->last, sizeof lines->last, "%s", text);
    lines->times = 1;
}

/* How what is said lies on the ranks before and after it (ir.h, Placing); "":
 * it goes from one rank to another. */
static const char *resharded(const char *func)
{
    static const struct { const char *func, *change; } changes[] = {
        { "all_reduce", "sum -> whole" },   { "all_max", "max -> whole" },
        { "reduce_scatter", "sum -> split" }, { "sum_", "sum -> split" },
        { "all_gather", "split -> whole" }, { "gather_", "split -> whole" },
        { "begin_gather", "split -> whole, begun" },
        { "end_gather", "split -> whole, done" },
        { "own_starts", "whole -> routed" }, { "send_rows", "whole -> routed" },
        { "return_rows", "routed -> whole" }, { "exchange", "sum -> whole" },
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (!strncmp(func, changes[i].func, strlen(changes[i].func)))
            return changes[i].change;
    return "";
}

static const char *talk_line(const FactStage *stage, const Event *e,
                             Arena *arena)
{
    const FactMessage *m = &stage->messages.at[e->message];
    bool sends = !strcmp(e->func->name, "send_f32");
    const char *peer = "";
    if (e->peer >= 0)
        peer = arena_printf(arena, " %s stage %lld", sends ? "to" : "from",
                            (long long)e->peer);
    const char *change = resharded(e->func->name);
    return arena_printf(arena, "  %-20s `%s` over %s: %lld%s%s%s%s%s",
                        e->func->name, m->name, m->axis, (long long)e->n,
                        *change ? ", " : "", change, peer,
                        *m->where ? "  # " : "", m->where);
}

static const char *record_line(const Event *e, Arena *arena)
{
    bool looped = strstr(e->func->name, "block") != NULL;
    const char *block = looped && e->block >= 0
        ? arena_printf(arena, "[%lld]", (long long)e->block) : "";
    return arena_printf(arena, "  %s%s of sequences from %lld",
                        e->func->name, block, (long long)e->first);
}

static void print_events(const FactStage *stage, const Walked *walked,
                         Arena *arena)
{
    Lines lines = {0};
    int64_t elements = 0, updates = 0;
    for (int i = 0; i < walked->events.count; i++) {
        const Event *e = &walked->events.at[i];
        if (e->kind == EVENT_TALK)
            add_line(&lines, talk_line(stage, e, arena));
        if (e->kind == EVENT_RECORD)
            add_line(&lines, record_line(e, arena));
        if (e->kind != EVENT_UPDATE)
            continue;
        elements += e->n > 0 ? e->n : 0;
        updates++;
        if (i + 1 < walked->events.count
            && walked->events.at[i + 1].kind == EVENT_UPDATE)
            continue;
        add_line(&lines, arena_printf(arena, "  update of %lld parameters in "
                                      "%lld calls", (long long)elements,
                                      (long long)updates));
        elements = updates = 0;
    }
    flush_line(&lines);
}

bool rank_text(const Prog *p, int64_t rank, Arena *arena)
{
    const Facts *f = facts_of(p, arena);
    if (rank >= f->ranks)
        return false;
    const Seat seat = walk_seat(f, rank);
    const FactStage *stage = &f->by_stage.at[seat.stage];
    int64_t batch = seat.replica / f->context;
    int64_t groups = f->groups / f->data;
    const Walked *walked = walk_train(f, seat, arena);
    printf("rank %lld of %s\n", (long long)rank, facts_ranks(f, arena));
    printf("stage %lld, replica %lld, chunk %lld, slice %lld\n",
           (long long)seat.stage, (long long)batch,
           (long long)(seat.replica % f->context), (long long)seat.slice);
    printf("blocks %s, groups [%lld, %lld), sequences [%lld, %lld)\n",
           facts_blocks(stage, arena), (long long)(batch * groups),
           (long long)((batch + 1) * groups),
           (long long)(batch * stage->batch),
           (long long)((batch + 1) * stage->batch));
    printf("train {\n");
    print_events(stage, walked, arena);
    printf("}\n");
    if (walked->wrong)
        ice("rank %lld: %s", (long long)rank, walked->wrong);
    return true;
}
