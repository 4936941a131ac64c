/* command_diff.c: `diff`: two specs or two plans side by side. Both are
 * compiled; what is printed is read off the resolved specs and off what the two
 * programs say of themselves (facts.h), for a reader or as JSON. A column of
 * numbers is a difference B - A at its end. */
#define _GNU_SOURCE
#include "commands.h"
#include "compile.h"
#include "diff_placements.h"
#include "effect.h"
#include "facts.h"
#include "options.h"
#include "../runtime/json.h"

typedef struct Side {
    Options options;
    Diag *diag;
    Compiled compiled;
    Facts *facts;
} Side;

typedef struct KeyDifference {
    KeyId key;
    const char *values[2], *from[2];    /* NULL: the side has no such key */
    Effect effect;
    const char *why;
} KeyDifference;

typedef struct Diff {
    Arena *arena;
    Side sides[2];
    bool json;
    List(KeyDifference) keys;
    Effect effect;                      /* the strongest */
} Diff;

static const char usage[] =
    "usage: trainwright diff A.yaml [-f OVERLAY.yaml]… [--set KEY=VALUE]…\n"
    "           [--json] -- [B.yaml] [-f OVERLAY.yaml]… [--set KEY=VALUE]…\n"
    "Two specs, or one under two plans, side by side: the keys that differ,\n"
    "the ranks, the memory of a rank, what ranks say to each other in a\n"
    "training step, how values lie on the ranks, and whether the numbers of\n"
    "a run are the same. Without B.yaml the right side is the left one, with\n"
    "its options, and more.\n";

/* ---- the command line ---- */
static bool misused(const char *what)
{
    fprintf(stderr, "trainwright diff: %s\n%s", what, usage);
    return false;
}

/* The left side's options stand before the right one's own. */
static void inherit(Diff *d)
{
    const Options *left = &d->sides[0].options;
    Options *right = &d->sides[1].options, own = *right;
    if (right->spec)
        return;
    *right = *left;
    right->overlays.at = right->sets.at = NULL;
    right->overlays.count = right->overlays.room = 0;
    right->sets.count = right->sets.room = 0;
    for (int i = 0; i < left->overlays.count; i++)
        list_push(d->arena, &right->overlays, left->overlays.at[i]);
    for (int i = 0; i < own.overlays.count; i++)
        list_push(d->arena, &right->overlays, own.overlays.at[i]);
    for (int i = 0; i < left->sets.count; i++)
        list_push(d->arena, &right->sets, left->sets.at[i]);
    for (int i = 0; i < own.sets.count; i++)
        list_push(d->arena, &right->sets, own.sets.at[i]);
}

static bool read_sides(Diff *d, int argc, char **argv)
{
    int cut = 1;
    Options *left = &d->sides[0].options, *right = &d->sides[1].options;
    while (cut < argc && strcmp(argv[cut], "--") != 0)
        cut++;
    if (!options_read(left, d->arena, cut, argv, usage,
                      OPTION_JSON | OPTION_BARE))
        return false;
    if (left->help)
        return true;
    if (!left->spec)
        return misused("A.yaml is missing");
    if (cut == argc)
        return misused("`--` and a second side are missing");
    argv[cut] = argv[0];
    if (!options_read(right, d->arena, argc - cut, argv + cut, usage,
                      OPTION_JSON | OPTION_BARE))
        return false;
    if (argc - cut == 1)
        return misused("there is nothing behind `--`");
    left->help |= right->help;
    d->json = left->json || right->json;
    inherit(d);
    return true;
}

static bool compile_side(Diff *d, int i)
{
    Side *side = &d->sides[i];
    const Options *o = &side->options;
    side->diag = diag_new(d->arena);
    const CompileOptions options = {
        .from = { o->spec, o->overlays.at, o->overlays.count, o->sets.at,
                  o->sets.count },
        .target = "", .features = "",
    };
    bool fine = compile_spec(side->diag, d->arena, &options, &side->compiled);
    diag_print(side->diag, stderr);
    if (fine)
        side->facts = facts_of(side->compiled.prog, d->arena);
    return fine;
}

/* ---- keys ---- */
/* What a side says of a key, and where; NULL: it has none. */
static const char *value_of(const Diff *d, const Side *side, KeyId key)
{
    Buf text = {0};
    if (!key_shown(side->compiled.spec, key))
        return NULL;
    spec_value(side->compiled.spec, key, &text);
    const char *copy = arena_strdup(d->arena, text.text ? text.text : "");
    buf_free(&text);
    return copy;
}

static const char *source_of(const Diff *d, const Side *side, KeyId key)
{
    const Spec *spec = side->compiled.spec;
    const char *at = spec->given[key]
        ? diag_where(side->diag, d->arena, spec->loc[key]) : "";
    return *at ? at : "default";
}

static void compare_keys(Diff *d)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        KeyDifference one = { .key = (KeyId)i };
        if (key_info(one.key)->type == SPEC_map)
            continue;
        for (int s = 0; s < 2; s++) {
            one.values[s] = value_of(d, &d->sides[s], one.key);
            one.from[s] = one.values[s]
                ? source_of(d, &d->sides[s], one.key) : NULL;
        }
        if (!one.values[0] && !one.values[1])
            continue;
        if (one.values[0] && one.values[1]
            && !strcmp(one.values[0], one.values[1]))
            continue;
        one.effect = key_effect(one.key, d->sides[0].compiled.spec,
                                d->sides[1].compiled.spec, &one.why);
        if (one.effect > d->effect)
            d->effect = one.effect;
        list_push(d->arena, &d->keys, one);
    }
}

/* ---- numbers of both sides, by name ---- */
typedef struct Pair {
    const char *name, *axis;
    int64_t numbers[2], bytes[2];       /* of messages: calls, bytes */
} Pair;
typedef struct Pairs { List(Pair) list; } Pairs;

static Pair *pair_named(Diff *d, Pairs *pairs, const char *name,
                        const char *axis)
{
    for (int i = 0; i < pairs->list.count; i++)
        if (!strcmp(pairs->list.at[i].name, name)
            && !strcmp(pairs->list.at[i].axis, axis))
            return &pairs->list.at[i];
    const Pair one = { .name = name, .axis = axis };
    list_push(d->arena, &pairs->list, one);
    return &pairs->list.at[pairs->list.count - 1];
}

static const FactStage *stage_of(const Diff *d, int side, int stage)
{
    const Facts *facts = d->sides[side].facts;
    return stage < facts->by_stage.count ? &facts->by_stage.at[stage] : NULL;
}

static Pairs memory_of(Diff *d, int number)
{
    Pairs pairs = {0};
    for (int s = 0; s < 2; s++) {
        const FactStage *stage = stage_of(d, s, number);
        for (int i = 0; stage && i < stage->classes.count; i++)
            pair_named(d, &pairs, stage->classes.at[i].name, "")->numbers[s] =
                stage->classes.at[i].bytes;
    }
    return pairs;
}

/* Messages of a train step; those of other steps alone are left out. */
static Pairs messages_of(Diff *d, int number)
{
    Pairs pairs = {0};
    for (int s = 0; s < 2; s++) {
        const FactStage *stage = stage_of(d, s, number);
        for (int i = 0; stage && i < stage->messages.count; i++) {
            const FactMessage *m = &stage->messages.at[i];
            if (!m->calls)
                continue;
            Pair *pair = pair_named(d, &pairs, m->name, m->axis);
            pair->numbers[s] = m->calls;
            pair->bytes[s] = m->bytes;
        }
    }
    return pairs;
}

static int most_stages(const Diff *d)
{
    int a = d->sides[0].facts->by_stage.count;
    int b = d->sides[1].facts->by_stage.count;
    return a > b ? a : b;
}

static int64_t thread_of(const Diff *d, int side, int stage)
{
    const FactStage *found = stage_of(d, side, stage);
    return found ? found->thread : 0;
}

static int64_t total_of(const Diff *d, int side, int stage)
{
    const FactStage *found = stage_of(d, side, stage);
    return found ? found->total : 0;
}

/* Of the rank that has the most; of all ranks. */
static int64_t largest_rank(const Diff *d, int side)
{
    int64_t most = 0;
    for (int i = 0; i < d->sides[side].facts->by_stage.count; i++)
        if (total_of(d, side, i) > most)
            most = total_of(d, side, i);
    return most;
}

static int64_t all_ranks(const Diff *d, int side)
{
    const Facts *facts = d->sides[side].facts;
    int64_t sum = 0;
    for (int i = 0; i < facts->by_stage.count; i++)
        sum += total_of(d, side, i);
    return sum * facts->replicas * facts->tensor;
}

static int64_t bytes_of(const Diff *d, int side, int stage)
{
    const FactStage *found = stage_of(d, side, stage);
    int64_t sum = 0;
    for (int i = 0; found && i < found->messages.count; i++)
        sum += found->messages.at[i].bytes;
    return sum;
}

/* ---- for readers ---- */
enum { NAMES = 34, NUMBERS = 18 };

static void row(const char *name, int64_t a, int64_t b)
{
    printf("  %-*s %*lld %*lld %+*lld\n", NAMES, name, NUMBERS, (long long)a,
           NUMBERS, (long long)b, NUMBERS, (long long)(b - a));
}

static void head(const char *name, const char *last)
{
    printf("\n%-*s %*s %*s %*s\n", NAMES + 2, name, NUMBERS, "A", NUMBERS, "B",
           NUMBERS, last);
}

static void print_keys(const Diff *d)
{
    printf("%s\n", d->keys.count ? "keys that differ" : "no key differs");
    for (int i = 0; i < d->keys.count; i++) {
        const KeyDifference *k = &d->keys.at[i];
        printf("  %s: %s (%s)\n", key_info(k->key)->path,
               effect_names[k->effect], k->why);
        for (int s = 0; s < 2; s++)
            if (k->values[s])
                printf("    %c  %-24s %s\n", "AB"[s], k->values[s],
                       k->from[s]);
            else
                printf("    %c  (there is no such key)\n", "AB"[s]);
    }
}

static void print_ranks(const Diff *d)
{
    const Facts *a = d->sides[0].facts, *b = d->sides[1].facts;
    head("ranks", "B - A");
    row("data", a->data, b->data);
    row("stages", a->stages, b->stages);
    row("tensor", a->tensor, b->tensor);
    row("context", a->context, b->context);
    row("experts", a->experts, b->experts);
    row("in all", a->ranks, b->ranks);
    row("groups", a->groups, b->groups);
    row("parameters", a->parameters, b->parameters);
}

static const char *stage_title(Diff *d, const char *what, int number)
{
    if (most_stages(d) == 1)
        return what;
    return arena_printf(d->arena, "%s, stage %d", what, number);
}

static void print_memory(Diff *d)
{
    for (int i = 0; i < most_stages(d); i++) {
        Pairs pairs = memory_of(d, i);
        head(stage_title(d, "bytes of a rank", i), "B - A");
        for (int j = 0; j < pairs.list.count; j++)
            row(pairs.list.at[j].name, pairs.list.at[j].numbers[0],
                pairs.list.at[j].numbers[1]);
        row("a thread's workspace", thread_of(d, 0, i), thread_of(d, 1, i));
        row("total, one thread", total_of(d, 0, i), total_of(d, 1, i));
    }
    head("bytes", "B - A");
    row("the largest rank", largest_rank(d, 0), largest_rank(d, 1));
    row("all ranks", all_ranks(d, 0), all_ranks(d, 1));
}

static void print_messages(Diff *d)
{
    for (int i = 0; i < most_stages(d); i++) {
        Pairs pairs = messages_of(d, i);
        printf("\n%s\n", stage_title(d, "messages of a rank in a training step",
                                     i));
        if (!pairs.list.count) {
            printf("  none\n");
            continue;
        }
        printf("  %-*s %8s %*s %8s %*s %*s\n", NAMES + 10,
               "name (whose ranks)", "A calls", NUMBERS - 4, "A bytes",
               "B calls", NUMBERS - 4, "B bytes", NUMBERS - 4, "B - A");
        for (int j = 0; j < pairs.list.count; j++) {
            const Pair *p = &pairs.list.at[j];
            printf("  %-*s %8lld %*lld %8lld %*lld %+*lld\n", NAMES + 10,
                   arena_printf(d->arena, "%s (%s)", p->name, p->axis),
                   (long long)p->numbers[0], NUMBERS - 4,
                   (long long)p->bytes[0], (long long)p->numbers[1],
                   NUMBERS - 4, (long long)p->bytes[1], NUMBERS - 4,
                   (long long)(p->bytes[1] - p->bytes[0]));
        }
        printf("  %-*s %8s %*lld %8s %*lld %+*lld\n", NAMES + 10, "all", "",
               NUMBERS - 4, (long long)bytes_of(d, 0, i), "", NUMBERS - 4,
               (long long)bytes_of(d, 1, i), NUMBERS - 4,
               (long long)(bytes_of(d, 1, i) - bytes_of(d, 0, i)));
    }
}

static void print_effect(const Diff *d)
{
    printf("\nnumbers: %s\n", effect_names[d->effect]);
    for (int i = 0; i < d->keys.count; i++)
        if (d->effect != EFFECT_SAME && d->keys.at[i].effect == d->effect)
            printf("  %s: %s\n", key_info(d->keys.at[i].key)->path,
                   d->keys.at[i].why);
    if (d->effect != EFFECT_SAME)
        printf("bits: differ from A\n");
    else if (sums_each_micro(d->sides[1].compiled.spec))
        printf("bits: of these plans alone (reproducible.order: fast)\n");
    else
        print_same_bits(d->sides[1].compiled.spec);
}

static PlacementDifferences differences(Diff *d)
{
    return placements_differ(d->sides[0].compiled.module,
                             d->sides[1].compiled.module, d->arena);
}

static void print_text(Diff *d)
{
    for (int s = 0; s < 2; s++)
        printf("%c  %s: %s\n", "AB"[s], d->sides[s].options.spec,
               facts_ranks(d->sides[s].facts, d->arena));
    printf("\n");
    print_keys(d);
    print_ranks(d);
    print_memory(d);
    print_messages(d);
    const PlacementDifferences placements = differences(d);
    placements_print(&placements);
    print_effect(d);
}

/* ---- as JSON ---- */
static void put_keys(JsonWriter *json, const Diff *d)
{
    json_key(json, "keys");
    json_open(json, '[');
    for (int i = 0; i < d->keys.count; i++) {
        const KeyDifference *k = &d->keys.at[i];
        json_open(json, '{');
        json_set_text(json, "key", key_info(k->key)->path);
        json_set_text(json, "a", k->values[0]);
        json_set_text(json, "a_from", k->from[0]);
        json_set_text(json, "b", k->values[1]);
        json_set_text(json, "b_from", k->from[1]);
        json_set_text(json, "effect", effect_names[k->effect]);
        json_set_text(json, "why", k->why);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* Blocks: from, to; of a stage with several chunks those of each. */
static void put_chunks(JsonWriter *json, const FactStage *stage)
{
    bool several = stage->chunks.count > 1;
    if (several) {
        json_key(json, "chunks");
        json_open(json, '[');
    }
    for (int i = 0; i < stage->chunks.count; i++) {
        if (several)
            json_open(json, '{');
        json_set_count(json, "from", stage->chunks.at[i].from);
        json_set_count(json, "to", stage->chunks.at[i].to);
        if (several)
            json_close(json, '}');
    }
    if (several)
        json_close(json, ']');
}

static void put_stage(JsonWriter *json, const FactStage *stage)
{
    json_open(json, '{');
    put_chunks(json, stage);
    json_key(json, "memory");
    json_open(json, '{');
    for (int i = 0; i < stage->classes.count; i++)
        json_set_count(json, stage->classes.at[i].name,
                       stage->classes.at[i].bytes);
    json_close(json, '}');
    json_set_count(json, "fixed_bytes", stage->fixed);
    json_set_count(json, "thread_bytes", stage->thread);
    json_set_count(json, "total_bytes", stage->total);
    json_key(json, "messages");
    json_open(json, '[');
    for (int i = 0; i < stage->messages.count; i++) {
        const FactMessage *m = &stage->messages.at[i];
        json_open(json, '{');
        json_set_text(json, "name", m->name);
        json_set_text(json, "where", m->where);
        json_set_text(json, "axis", m->axis);
        json_set_count(json, "calls", m->calls);
        json_set_count(json, "bytes", m->bytes);
        json_key(json, "at_most");
        json_put_boolean(json, m->at_most);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_side(JsonWriter *json, const Diff *d, int s)
{
    const Side *side = &d->sides[s];
    const Facts *facts = side->facts;
    json_key(json, s ? "b" : "a");
    json_open(json, '{');
    json_set_text(json, "spec", side->options.spec);
    json_set_text(json, "spec_hash", side->compiled.spec_hash);
    json_set_count(json, "ranks", facts->ranks);
    json_set_count(json, "data", facts->data);
    json_set_count(json, "stages", facts->stages);
    json_set_count(json, "tensor", facts->tensor);
    json_set_count(json, "context", facts->context);
    json_set_count(json, "experts", facts->experts);
    json_set_count(json, "groups", facts->groups);
    json_set_count(json, "parameters", facts->parameters);
    json_set_count(json, "largest_rank_bytes", largest_rank(d, s));
    json_set_count(json, "all_ranks_bytes", all_ranks(d, s));
    json_key(json, "ranks_by_stage");
    json_open(json, '[');
    for (int i = 0; i < facts->by_stage.count; i++)
        put_stage(json, &facts->by_stage.at[i]);
    json_close(json, ']');
    json_close(json, '}');
}

static bool print_json(Diff *d)
{
    enum { ROOM = 16 << 20 };
    char *text = arena_alloc(d->arena, ROOM);
    JsonWriter json = json_to_buffer(text, ROOM);
    json.lines = true;
    json_open(&json, '{');
    json_set_count(&json, "format", 1);
    json_set_text(&json, "effect", effect_names[d->effect]);
    put_keys(&json, d);
    const PlacementDifferences placements = differences(d);
    placements_put(&json, &placements);
    put_side(&json, d, 0);
    put_side(&json, d, 1);
    json_close(&json, '}');
    if (json.failed)
        return false;
    puts(text);
    return true;
}

static int compare(Diff *d)
{
    bool fine = true;
    for (int s = 0; s < 2; s++)
        fine &= compile_side(d, s);
    if (!fine)
        return WRONG_INPUT;
    compare_keys(d);
    if (d->json)
        return print_json(d) ? DONE : LACKING;
    print_text(d);
    return DONE;
}

int command_diff(int argc, char **argv)
{
    Arena *arena = arena_new();
    Diff *d = arena_alloc(arena, sizeof *d);
    int status = WRONG_USAGE;
    d->arena = arena;
    if (read_sides(d, argc, argv)) {
        status = DONE;
        if (d->sides[0].options.help)
            fputs(usage, stdout);
        else
            status = compare(d);
    }
    for (int s = 0; s < 2; s++)
        buf_free(&d->sides[s].compiled.spec_text);
    arena_free(arena);
    return status;
}
