/* check.c: whether a trace says what it should (runtime/trace.h).
 *
 *     check TRACE INFO LAST     of a run whose last step was LAST, by a program
 *                               that says INFO of itself (info --json)
 *
 * The trace is JSON of format 1; of each rank, slices lie in each other or side
 * by side, their beginnings only grow; there is a slice for each of the last
 * steps, 20 at most; every micro-batch goes forward as often as backward; and of
 * every message there are as many slices, with as many bytes, as `info` foretold
 * for these steps (or, where it says so, no more); an arrow leads from each row that
 * a stage sends to where it is received. Prints what there is; the first fault ends it. */
#include "json.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RANKS = 64, DEEPEST = 16, MOST_STEPS = 20 };

typedef struct Slice {
    const char *name, *category;
    double begin, end;
    int64_t rank, bytes;
} Slice;

typedef struct Stack {          /* of a rank: slices that are open */
    double ends[DEEPEST];
    int depth;
    double begun;               /* the last beginning */
} Stack;

static Json trace, info;

__attribute__((format(printf, 1, 2)))
static _Noreturn void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    exit(1);
}

static void read_json(const char *path, Json *json)
{
    char *text;
    size_t length;
    Error error;
    if (!file_read_whole(path, 1 << 28, &text, &length, &error)
        || !json_parse(json, path, text, length, &error))
        stop("%s", error.text);
    free(text);
}

static int64_t integer(const Json *json, int object, const char *name)
{
    int64_t value;
    if (!json_integer(json, json_member(json, object, name), &value))
        stop("there is no %s", name);
    return value;
}

static double real(const Json *json, int object, const char *name)
{
    double value;
    if (!json_real(json, json_member(json, object, name), &value))
        stop("there is no %s", name);
    return value;
}

/* False: it is no slice. */
static bool read_slice(int event, Slice *slice)
{
    const char *type = json_text(&trace, json_member(&trace, event, "ph"));
    int arguments = json_member(&trace, event, "args");
    if (!type || strcmp(type, "X") != 0)
        return false;
    slice->name = json_text(&trace, json_member(&trace, event, "name"));
    slice->category = json_text(&trace, json_member(&trace, event, "cat"));
    slice->begin = real(&trace, event, "ts");
    slice->end = slice->begin + real(&trace, event, "dur");
    slice->rank = integer(&trace, event, "pid");
    slice->bytes = 0;
    if (!slice->name || !slice->category || slice->rank < 0
        || slice->rank >= MOST_RANKS || slice->end < slice->begin)
        stop("a slice is no slice");
    if (strcmp(slice->category, "message") == 0)
        slice->bytes = integer(&trace, arguments, "bytes");
    return true;
}

/* Sums of floating-point microseconds are off by less than a nanosecond. */
static const double NEAR = 5e-4;

static void nest(Stack *stack, const Slice *slice)
{
    if (slice->begin < stack->begun)
        stop("rank %d: %s begins before what stands before it",
             (int)slice->rank, slice->name);
    stack->begun = slice->begin;
    while (stack->depth > 0
           && stack->ends[stack->depth - 1] <= slice->begin + NEAR)
        stack->depth--;
    if (stack->depth > 0
        && slice->end > stack->ends[stack->depth - 1] + NEAR)
        stop("rank %d: %s ends after what it lies in", (int)slice->rank,
             slice->name);
    if (stack->depth == DEEPEST)
        stop("slices are too deep");
    stack->ends[stack->depth++] = slice->end;
}

typedef struct Sum {
    int64_t count, bytes;
} Sum;

/* Slices of a rank, of a category and a name, or that begin with it. */
static Sum sum_of(int64_t rank, const char *category, const char *name,
                  bool begins)
{
    int events = json_member(&trace, 0, "traceEvents");
    size_t length = strlen(name) + !begins;
    Sum sum = {0};
    Slice slice;
    for (int i = events + 1; i < trace.tokens[events].end;
         i = trace.tokens[i].end)
        if (read_slice(i, &slice) && slice.rank == rank
            && strcmp(slice.category, category) == 0
            && strncmp(slice.name, name, length) == 0) {
            sum.count++;
            sum.bytes += slice.bytes;
        }
    return sum;
}

/* ---- arrows from what is sent to what is received ---- */
typedef struct End {
    int64_t id;
    double time;
    bool begins;
} End;

static int by_id(const void *a, const void *b)
{
    const End *one = a, *two = b;
    if (one->id != two->id)
        return one->id < two->id ? -1 : 1;
    return two->begins - one->begins;
}

/* Each has two ends, and does not go back in time. */
static void check_arrows(int events)
{
    End *ends = calloc((size_t)trace.tokens[events].count + 2, sizeof *ends);
    int count = 0;
    for (int i = events + 1; i < trace.tokens[events].end;
         i = trace.tokens[i].end) {
        const char *type = json_text(&trace, json_member(&trace, i, "ph"));
        if (type && (strcmp(type, "s") == 0 || strcmp(type, "f") == 0))
            ends[count++] = (End){ integer(&trace, i, "id"),
                                   real(&trace, i, "ts"), type[0] == 's' };
    }
    qsort(ends, (size_t)count, sizeof *ends, by_id);
    for (int i = 0; i < count; i += 2)
        if (ends[i].id != ends[i + 1].id || !ends[i].begins
            || ends[i + 1].begins || ends[i].time > ends[i + 1].time)
            stop("arrow %lld has not two ends", (long long)ends[i].id);
    free(ends);
}

/* Every message of a rank, as the table of its stage foretells it. */
static int64_t check_messages(int64_t rank, int stage, int64_t steps)
{
    int messages = json_member(&info, stage, "messages");
    int64_t calls = 0;
    for (int i = messages + 1; i < info.tokens[messages].end;
         i = info.tokens[i].end) {
        const char *name = json_text(&info, json_member(&info, i, "name"));
        Sum sum = sum_of(rank, "message", name, false);
        int64_t wanted = integer(&info, i, "calls") * steps;
        if (sum.count != wanted)
            stop("rank %d: %lld slices of %s, not %lld", (int)rank,
                 (long long)sum.count, name, (long long)wanted);
        int64_t bytes = integer(&info, i, "bytes") * steps;
        bool fewer = false;
        json_boolean(&info, json_member(&info, i, "at_most"), &fewer);
        if (fewer ? sum.bytes > bytes : sum.bytes != bytes)
            stop("rank %d: %lld bytes of %s", (int)rank, (long long)sum.bytes,
                 name);
        calls += wanted;
    }
    if (sum_of(rank, "message", "", true).count != calls)
        stop("rank %d: messages that nobody foretold", (int)rank);
    return calls;
}

static void check_rank(int64_t rank, int64_t ranks, int64_t steps)
{
    int plan = json_member(&info, 0, "plan");
    int stages = json_member(&info, plan, "ranks_by_stage");
    int64_t number = rank / (ranks / integer(&info, plan, "stages"));
    int stage = stages + 1;
    for (int64_t i = 0; i < number; i++)
        stage = info.tokens[stage].end;
    int64_t calls = check_messages(rank, stage, steps);
    int64_t forward = sum_of(rank, "phase", "forward ", true).count;
    if (sum_of(rank, "step", "step ", true).count != steps)
        stop("rank %d: not %lld steps", (int)rank, (long long)steps);
    if (sum_of(rank, "phase", "update", false).count != steps
        || forward == 0 || forward % steps
        || sum_of(rank, "phase", "backward ", true).count != forward)
        stop("rank %d: its phases are not those of a step", (int)rank);
    printf("rank %d: %lld steps, %lld messages, %lld micro-batches\n",
           (int)rank, (long long)steps, (long long)calls,
           (long long)(forward / steps));
}

int main(int argc, char **argv)
{
    static Stack stacks[MOST_RANKS];
    Slice slice;
    if (argc != 4)
        stop("check TRACE INFO LAST");
    read_json(argv[1], &trace);
    read_json(argv[2], &info);
    int64_t last = atoll(argv[3]);
    int64_t steps = last < MOST_STEPS ? last : MOST_STEPS;
    if (integer(&trace, 0, "format") != 1 || integer(&trace, 0, "lost") != 0
        || integer(&trace, 0, "last_step") != last
        || integer(&trace, 0, "first_step") != last - steps + 1)
        stop("the trace is not of these steps");
    int events = json_member(&trace, 0, "traceEvents");
    if (events < 0 || trace.tokens[events].kind != JSON_ARRAY)
        stop("there are no events");
    for (int i = events + 1; i < trace.tokens[events].end;
         i = trace.tokens[i].end)
        if (read_slice(i, &slice))
            nest(&stacks[slice.rank], &slice);
    check_arrows(events);
    int64_t ranks = integer(&info, json_member(&info, 0, "plan"), "ranks");
    for (int64_t rank = 0; rank < ranks; rank++)
        check_rank(rank, ranks, steps);
    return 0;
}
