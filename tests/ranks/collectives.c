/* collectives.c: collectives among forked ranks against plain loops, bit for
 * bit. For each plan (data by stages by slices, threads a rank) the ranks are launched as a
 * program's are, do every collective some times over, and compare what they got
 * with what they can compute alone: everybody's numbers are a function of rank,
 * round and place. Prints `N passed, M failed`: a plan is a test. Started by
 * mpirun as `collectives DATA STAGES TENSOR CONTEXT THREADS` it does the same with
 * ranks that talk by messages, one plan, and numbers that take several rounds too;
 * then its status is what it found. */
#define _GNU_SOURCE
#include "collectives.h"
#include "join.h"
#include "launch.h"
#include "team.h"
#include "world_make.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 9 << 20, LARGE = MOST / 4, ROUNDS = 12, MOST_STAGES = 4 };
enum { COUNT, SUM, SUM64, SCATTER, GATHER, GATHER64, TELL, ROWS, ENDS, SLICES, CHUNKS,
       SHARES, ALL };

/* A rank's memory. */
typedef struct Arena {
    float values[MOST], other[MOST], mailbox[MOST];
    double numbers[1024];
} Arena;

typedef struct Test {
    World *world;
    Arena *arena;
    const Program *program;
    int round;
    int wrong;                  /* by thread 0 alone */
    int64_t bytes[ALL], calls[ALL];
} Test;

static const Message messages[] = {
    [COUNT] = { .name = "count", .where = "x:1", .axis = "data" },
    [SUM] = { .name = "sum", .where = "x:1", .axis = "data" },
    [SUM64] = { .name = "sum64", .where = "x:1", .axis = "data" },
    [SCATTER] = { .name = "scatter", .where = "x:1", .axis = "data" },
    [GATHER] = { .name = "gather", .where = "x:1", .axis = "data" },
    [GATHER64] = { .name = "gather64", .where = "x:1", .axis = "pipeline" },
    [TELL] = { .name = "tell", .where = "x:1", .axis = "world" },
    [ROWS] = { .name = "rows", .where = "x:1", .axis = "pipeline" },
    [ENDS] = { .name = "ends", .where = "x:1", .axis = "ends" },
    [SLICES] = { .name = "slices", .where = "x:1", .axis = "tensor" },
    [CHUNKS] = { .name = "chunks", .where = "x:1", .axis = "context" },
    [SHARES] = { .name = "shares", .where = "x:1", .axis = "tensor" },
};

/* Numbers of many sizes, so that the order of a sum shows. */
static float number(const Test *t, int rank, long i)
{
    uint32_t x = (uint32_t)(rank * 7919 + t->round * 104729 + i * 31 + 1);
    x = (x ^ x >> 15) * 0x2c1b3c6du;
    x = (x ^ x >> 12) * 0x297a2d39u;
    x ^= x >> 15;
    float size = (float)(1 << x % 23);
    return ((float)(x >> 8) / 8388608.0f - 1) * size;
}

/* What is summed: number i of so many ranks from `first` on, `step` apart. */
typedef struct Leaves {
    const Test *test;
    int first, step;
    long i;
} Leaves;

static float tree(const Leaves *leaves, int from, int n)
{
    int half = 1;
    if (n == 1)
        return number(leaves->test, leaves->first + from * leaves->step,
                      leaves->i);
    while (half * 2 < n)
        half *= 2;
    return tree(leaves, from, half) + tree(leaves, from + half, n - half);
}

static double tree64(const Leaves *leaves, int from, int n)
{
    int half = 1;
    if (n == 1)
        return (double)number(leaves->test,
                              leaves->first + from * leaves->step, leaves->i)
            / 3;
    while (half * 2 < n)
        half *= 2;
    return tree64(leaves, from, half) + tree64(leaves, from + half, n - half);
}

static void expect(const Thread *me, Test *t, int good, const char *what,
                   long i)
{
    if (good || me->index != 0 || t->wrong++ > 0)
        return;
    char text[128];
    snprintf(text, sizeof text, "rank %d, round %d: %s, number %ld is wrong",
             world_rank(t->world), t->round, what, i);
    world_fail(t->world, 1, text);
}

/* What thread 0 writes all see at the collective's first barrier. */
static void fill(const Thread *me, Test *t, float *values, long n)
{
    for (long i = 0; me->index == 0 && i < n; i++)
        values[i] = number(t, world_rank(t->world), i);
}

static void note(const Thread *me, Test *t, int message, Collective kind,
                 long bytes, int members)
{
    if (me->index != 0 || members < 2)
        return;
    t->calls[message]++;
    t->bytes[message] += collective_bytes(kind, bytes, members);
}

/* ---- over the data ranks ------------------------------------------------ */

static void test_sums(const Thread *me, Test *t, long n)
{
    int data = world_data(t->world), step = world_tensor(t->world);
    int first = world_rank(t->world) - world_replica(t->world) * step;
    Arena *a = t->arena;
    fill(me, t, a->values, n);
    all_reduce_f32(me, SUM, a->values, n);
    note(me, t, SUM, ALL_REDUCE, 4 * n, data);
    Leaves leaves = { t, first, step, 0 };
    for (; me->index == 0 && leaves.i < n; leaves.i++)
        expect(me, t, a->values[leaves.i] == tree(&leaves, 0, data), "sum",
               leaves.i);
    long few = n % 150 + 1;
    for (long i = 0; me->index == 0 && i < few; i++)
        a->numbers[i] = (double)number(t, world_rank(t->world), i) / 3;
    all_reduce_f64(me, SUM64, a->numbers, few);
    note(me, t, SUM64, ALL_REDUCE, 8 * few, data);
    for (leaves.i = 0; me->index == 0 && leaves.i < few; leaves.i++)
        expect(me, t, a->numbers[leaves.i] == tree64(&leaves, 0, data),
               "sum64", leaves.i);
    long sum = all_reduce_count(me, COUNT, world_rank(t->world) + t->round);
    note(me, t, COUNT, ALL_REDUCE, 8, data);
    long wanted = 0;
    for (int i = 0; i < data; i++)
        wanted += first + i * step + t->round;
    expect(me, t, sum == wanted, "count", 0);
    fill(me, t, a->values, n);
    all_reduce_f32(me, SLICES, a->values, n);
    note(me, t, SLICES, ALL_REDUCE, 4 * n, step);
    leaves = (Leaves){ t, world_rank(t->world) / step * step, 1, 0 };
    for (; me->index == 0 && leaves.i < n; leaves.i++)
        expect(me, t, a->values[leaves.i] == tree(&leaves, 0, step), "slices",
               leaves.i);
}

static void test_parts(const Thread *me, Test *t, long each)
{
    int data = world_data(t->world), own = world_replica(t->world);
    int apart = world_tensor(t->world);
    int first = world_rank(t->world) - own * apart;
    Arena *a = t->arena;
    fill(me, t, a->values, each * data);
    reduce_scatter_f32(me, SCATTER, a->values, each);
    note(me, t, SCATTER, REDUCE_SCATTER, 4 * each, data);
    Leaves leaves = { t, first, apart, own * each };
    for (; me->index == 0 && leaves.i < (own + 1) * each; leaves.i++)
        expect(me, t, a->values[leaves.i] == tree(&leaves, 0, data),
               "scatter", leaves.i);
    all_gather_f32(me, GATHER, a->values, each);
    note(me, t, GATHER, ALL_GATHER, 4 * each, data);
    for (leaves.i = 0; me->index == 0 && leaves.i < data * each; leaves.i++)
        expect(me, t, a->values[leaves.i] == tree(&leaves, 0, data), "gather",
               leaves.i);
}

static void count_all(const Thread *me, Test *t)
{
    all_reduce_count(me, COUNT, 1);
    note(me, t, COUNT, ALL_REDUCE, 8, world_data(t->world));
}

/* Two gathers are under way together, and another collective between. */
static void test_halves(const Thread *me, Test *t, long each)
{
    int data = world_data(t->world), apart = world_tensor(t->world);
    int first = world_rank(t->world) - world_replica(t->world) * apart;
    float *all = t->arena->values, *own = t->arena->other;
    fill(me, t, own, 2 * each);
    count_all(me, t);
    begin_gather_f32(me, GATHER, all, own, each);
    begin_gather_f32(me, GATHER, all + data * each, own + each, each);
    count_all(me, t);
    end_gather_f32(me, GATHER, all, own, each);
    end_gather_f32(me, GATHER, all + data * each, own + each, each);
    for (int half = 0; half < 2; half++) {
        note(me, t, GATHER, ALL_GATHER, 4 * each, data);
        for (long i = 0; me->index == 0 && data > 1 && i < data * each; i++)
            expect(me, t, all[half * data * each + i]
                       == number(t, first + (int)(i / each) * apart,
                                 half * each + i % each), "halves", i);
    }
    meet(me, GATHER);
}

/* ---- over ranks that share sequences ------------------------------------ */

/* Where position t of a member's sequence lies in the whole: of its two chunks
 * the second is as far from the end as the first from the beginning. */
static long in_chunks(const Test *t, int member, long at, long tokens)
{
    long half = tokens / 2, members = program_context(t->program);
    long chunk = at < half ? member : 2 * members - 1 - member;
    return chunk * half + at % half;
}

static void test_chunks(const Thread *me, Test *t, long sequences, long tokens,
                        long width)
{
    Arena *a = t->arena;
    int members = program_context(t->program), own = world_chunk(t->world);
    int apart = world_tensor(t->world);
    int first = world_rank(t->world) - own * apart;
    long each = tokens * width, whole = members * each;
    fill(me, t, a->other, sequences * each);
    gather_chunks_f32(me, CHUNKS, a->values, a->other, sequences, tokens,
                      width);
    note(me, t, CHUNKS, ALL_GATHER, 4 * sequences * each, members);
    for (long i = 0; me->index == 0 && members > 1 && i < sequences * whole;
         i++) {
        int m = (int)(i % whole / each);
        long at = i % each / width;
        long there = i / whole * whole + in_chunks(t, m, at, tokens) * width
            + i % width;
        expect(me, t, a->values[there]
                   == number(t, first + m * apart, i / whole * each + i % each),
               "gathered chunks", there);
    }
    barrier(me);
    fill(me, t, a->values, 2 * sequences * whole);
    sum_chunks_f32(me, CHUNKS, a->other, a->values, sequences, tokens, width);
    note(me, t, CHUNKS, ALL_GATHER, 4 * sequences * each, members);
    for (long i = 0; me->index == 0 && members > 1 && i < sequences * each;
         i++) {
        long at = in_chunks(t, own, i % each / width, tokens) * width
            + i % width + i / each * 2 * whole;
        float sum = 0;
        for (int m = 0; m < members; m++) {
            float both = number(t, first + m * apart, at)
                + number(t, first + m * apart, at + whole);
            sum = m ? sum + both : both;
        }
        expect(me, t, a->other[i] == sum, "summed chunks", i);
    }
}

static void test_shares(const Thread *me, Test *t, long sequences, long tokens,
                        long width)
{
    Arena *a = t->arena;
    int members = world_tensor(t->world), own = world_slice(t->world);
    int first = world_rank(t->world) - own;
    long each = tokens * width, whole = members * each;
    fill(me, t, a->other, sequences * each);
    gather_shares_f32(me, SHARES, a->values, a->other, sequences, tokens,
                      width);
    note(me, t, SHARES, ALL_GATHER, 4 * sequences * each, members);
    for (long i = 0; me->index == 0 && members > 1 && i < sequences * whole;
         i++)
        expect(me, t, a->values[i] == number(t, first + (int)(i % whole / each),
                                             i / whole * each + i % each),
               "gathered shares", i);
    barrier(me);
    fill(me, t, a->values, sequences * whole);
    sum_shares_f32(me, SHARES, a->other, a->values, sequences, tokens, width);
    note(me, t, SHARES, REDUCE_SCATTER, 4 * sequences * each, members);
    Leaves leaves = { t, first, 1, 0 };
    for (long i = 0; me->index == 0 && members > 1 && i < sequences * each;
         i++) {
        leaves.i = i / each * whole + own * each + i % each;
        expect(me, t, a->other[i] == tree(&leaves, 0, members),
               "summed shares", i);
    }
}

/* Columns side by side, of the last rank half of them; maxima. */
static void test_columns(const Thread *me, Test *t, long rows, long width)
{
    Arena *a = t->arena;
    int members = world_tensor(t->world);
    int first = world_rank(t->world) - world_slice(t->world);
    long total = members * width - width / 2, n = 16 * rows;
    fill(me, t, a->other, rows * width);
    gather_columns_f32(me, SHARES, a->values, a->other, total, rows, width);
    note(me, t, SHARES, ALL_GATHER, 4 * rows * width, members);
    for (long i = 0; me->index == 0 && members > 1 && i < rows * total; i++) {
        long c = i % total;
        expect(me, t, a->values[i] == number(t, first + (int)(c / width),
                                             i / total * width + c % width),
               "columns", i);
    }
    barrier(me);
    fill(me, t, a->other, n);
    all_max_f32(me, SHARES, a->values, a->other, n);
    note(me, t, SHARES, ALL_REDUCE, 4 * n, members);
    for (long i = 0; me->index == 0 && members > 1 && i < n; i++) {
        float most = number(t, first, i);
        for (int m = 1; m < members; m++)
            most = number(t, first + m, i) > most ? number(t, first + m, i)
                                                  : most;
        expect(me, t, a->values[i] == most, "maxima", i);
    }
    barrier(me);
}

/* ---- over the stages, over all ------------------------------------------ */

static void test_stages(const Thread *me, Test *t)
{
    enum { EACH = 37 };
    int stages = world_stages(t->world), stage = world_stage(t->world);
    int rank = world_rank(t->world), apart = world_ranks(t->world) / stages;
    double *numbers = t->arena->numbers;
    for (long i = 0; me->index == 0 && i < EACH; i++)
        numbers[stage * EACH + i] = number(t, rank, i);
    all_gather_f64(me, GATHER64, numbers, EACH);
    note(me, t, GATHER64, ALL_GATHER, 8 * EACH, stages);
    for (long i = 0; me->index == 0 && i < stages * EACH; i++)
        expect(me, t, numbers[i] == number(t, (int)(i / EACH) * apart
                                           + rank % apart, i % EACH),
               "gather64", i);
    int from = t->round % world_ranks(t->world);
    double told = broadcast_f64(me, TELL, from, rank + 0.5);
    note(me, t, TELL, BROADCAST, 8, world_ranks(t->world));
    expect(me, t, told == from + 0.5, "broadcast", 0);
}

/* Each stage sends three times to the next one before that takes any. */
static void test_rows(const Thread *me, Test *t, long n)
{
    int stages = world_stages(t->world), stage = world_stage(t->world);
    int rank = world_rank(t->world), apart = world_ranks(t->world) / stages;
    Arena *a = t->arena;
    for (int turn = 0; turn < 3; turn++) {
        if (stage + 1 < stages) {
            barrier(me);
            for (long i = 0; me->index == 0 && i < n; i++)
                a->values[i] = number(t, rank, i + turn);
            send_f32(me, ROWS, stage + 1, a->mailbox, a->values, n);
            note(me, t, ROWS, SEND, 4 * n, 2);
        }
        if (stage > 0)
            receive_f32(me, ROWS, stage - 1, a->other, n);
        for (long i = 0; stage > 0 && me->index == 0 && i < n; i++)
            expect(me, t, a->other[i] == number(t, rank - apart, i + turn),
                   "rows", i);
    }
    if (stages < 2 || (stage > 0 && stage + 1 < stages))
        return;
    bool head = stage == 0;
    float *mine = head ? a->values : a->other;
    float *theirs = head ? a->other : a->mailbox;
    barrier(me);
    fill(me, t, mine, n);
    exchange_f32(me, ENDS, theirs, mine, n);
    note(me, t, ENDS, SEND, 4 * n, 2);
    int other = rank % apart + (head ? (stages - 1) * apart : 0);
    for (long i = 0; me->index == 0 && i < n; i++)
        expect(me, t, theirs[i] == number(t, other, i), "exchange", i);
    bool gives = head == (t->round % 2 == 0);
    barrier(me);
    for (long i = 0; me->index == 0 && i < n; i++)
        theirs[i] = 0;
    broadcast_f32(me, ENDS, t->round % 2, theirs, mine, n);
    note(me, t, ENDS, BROADCAST, 4 * n, 2);
    for (long i = 0; me->index == 0 && i < n; i++)
        expect(me, t, theirs[i] == (gives ? 0 : number(t, other, i)),
               "broadcast of many", i);
}

static void test_all(const Thread *me, void *context)
{
    static const long sizes[] = { 16, 1008, 1024, 4112, 20000 };
    Test *t = context;
    if (join_processes() > 0) {         /* more than the room for messages */
        test_sums(me, t, LARGE);
        test_parts(me, t, LARGE / world_data(t->world) / 16 * 16);
        test_halves(me, t, LARGE / world_data(t->world) / 16 * 16);
        test_rows(me, t, LARGE / 2);
        test_chunks(me, t, 1, 2, LARGE / 2);
        test_shares(me, t, 1, 1, LARGE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        barrier(me);
        if (me->index == 0)
            t->round = round;
        barrier(me);
        test_sums(me, t, sizes[round % 5]);
        test_parts(me, t, sizes[round % 5] / 8 / 16 * 16 + 16);
        test_halves(me, t, sizes[round % 5] / 8 / 16 * 16 + 16);
        test_stages(me, t);
        test_rows(me, t, sizes[(round + 2) % 5] / 2);
        test_chunks(me, t, 1 + round % 3, 2 + 2 * (round % 4), 1 + 7 * round);
        test_shares(me, t, 1 + round % 3, 1 + round % 4, 1 + 7 * round);
        test_columns(me, t, 1 + 5 * round, 1 + round % 9);
    }
}

/* ---- a plan ------------------------------------------------------------- */

static int run_rank(World *world, const Program *program, int threads)
{
    Error error = {0};
    char *memory = world_memory(world, sizeof(Arena), &error);
    Test test = { .world = world, .program = program,
                  .arena = (Arena *)(void *)memory };
    struct Team *team = team_start(threads, NULL, 0, &error);
    if (!memory || !team)
        return 1;
    team_join(team, world);
    world_count(world, true);
    team_run(team, test_all, &test);
    for (int i = 0; i < ALL && !test.wrong; i++) {
        MessageCount counted = world_counted(world, i);
        if (counted.calls != test.calls[i] || counted.bytes != test.bytes[i]) {
            world_fail(world, 1, "messages are counted wrongly");
            test.wrong++;
        }
    }
    team_stop(team);
    return test.wrong ? 1 : 0;
}

/* By mpirun: this process is one rank. */
static int run_joined(const Program *program, const Plan *plans,
                      int64_t threads)
{
    Error error = {0};
    const Options options = { .command = COMMAND_train };
    World *world = join(program, &options, &threads, &error);
    if (!world || !world_map(world, plans, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    int status = run_rank(world, program, (int)threads);
    world_free(world);
    return status;
}

/* Whether it went well; a rank does not come back. */
static bool run_plan(int data, int stages, int tensor, int context,
                     int threads)
{
    Error error = {0};
    World *world;
    Options options = { .command = COMMAND_train };
    const Program program = {
        .name = "collectives", .data = data, .stages = stages,
        .tensor = tensor, .chunks = context,
        .ranks = data * stages * tensor * context,
        .message_count = ALL, .messages = messages,
    };
    Plan plans[MOST_STAGES];
    for (int stage = 0; stage < stages; stage++)
        plans[stage] = (Plan){ .threads = threads,
                               .total_bytes = sizeof(Arena) };
    if (join_processes() > 0)
        exit(run_joined(&program, plans, threads));
    int status = launch(&program, &options, plans, &world, &error);
    if (world)
        _exit(run_rank(world, &program, threads));
    if (status != 0)
        printf("FAIL: data %d, stages %d, tensor %d, context %d, %d threads: "
               "status %d, %s\n", data, stages, tensor, context, threads,
               status, error.text);
    return status == 0;
}

int main(int argc, char **argv)
{
    if (argc == 6)
        run_plan(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]), atoi(argv[4]),
                 atoi(argv[5]));

    static const int plans[][4] = {
        { 1, 1, 1, 1 }, { 2, 1, 1, 1 }, { 3, 1, 1, 1 }, { 4, 1, 1, 1 },
        { 5, 1, 1, 1 }, { 6, 1, 1, 1 }, { 7, 1, 1, 1 }, { 8, 1, 1, 1 },
        { 1, 2, 1, 1 }, { 1, 4, 1, 1 }, { 2, 2, 1, 1 }, { 3, 2, 1, 1 },
        { 2, 3, 1, 1 }, { 4, 2, 1, 1 }, { 1, 1, 2, 1 }, { 1, 1, 4, 1 },
        { 2, 1, 2, 1 }, { 3, 1, 2, 1 }, { 2, 2, 2, 1 }, { 1, 3, 3, 1 },
        { 1, 1, 1, 2 }, { 2, 1, 2, 2 }, { 1, 1, 1, 4 },
    };
    int passed = 0, failed = 0;
    for (int threads = 1; threads <= 3; threads++)
        for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
            bool good = run_plan(plans[i][0], plans[i][1], plans[i][2],
                                 plans[i][3], threads);
            passed += good;
            failed += !good;
        }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
