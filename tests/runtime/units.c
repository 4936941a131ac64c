/* units.c: parts of the runtime that the command line cannot corner: barriers,
 * tables, sampling, profiles. Prints `N passed, M failed`. */
#define _GNU_SOURCE
#include "draw.h"
#include "files.h"
#include "profile.h"
#include "symbols.h"
#include "sample.h"
#include "team.h"
#include "weights.h"
#include <elf.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static void check(bool good, const char *what)
{
    passed += good;
    failed += !good;
    if (!good)
        printf("FAIL: %s\n", what);
}

/* ---- teams -------------------------------------------------------------- */

typedef struct Rounds {
    int slots[TEAM_MOST_THREADS];
    int wrong;
} Rounds;

/* Each writes its slot, all meet, each reads a neighbour's, all meet. */
static void pass_around(const Thread *me, void *context)
{
    Rounds *rounds = context;
    for (int i = 1; i <= 200; i++) {
        rounds->slots[me->index] = i;
        barrier(me);
        if (rounds->slots[(me->index + 1) % me->count] != i)
            __atomic_add_fetch(&rounds->wrong, 1, __ATOMIC_RELAXED);
        barrier(me);
    }
}

static void test_teams(void)
{
    static const int counts[] = { 1, 2, 3, 8, 33 };
    for (int i = 0; i < 5; i++) {
        Error error;
        static float workspace[33 * 16];
        static Rounds rounds;
        struct Team *team = team_start(counts[i], workspace, 16, &error);
        check(team != NULL, "a team starts");
        rounds.wrong = 0;
        for (int run = 0; run < 20; run++)
            team_run(team, pass_around, &rounds);
        check(rounds.wrong == 0, "barriers order reads and writes");
        team_stop(team);
    }
}

/* ---- tables ------------------------------------------------------------- */

static bool near(float got, double wanted)
{
    return fabs((double)got - wanted) <= 6e-8 * fmax(1e-3, fabs(wanted));
}

enum { CONTEXT = 70, DIM = 10, HEADS = 6 };

static const Tensor tables[] = {
    { .name = "s", .repeat = 1, .rank = 2, .dim0 = CONTEXT, .dim1 = DIM,
      .weight = 0, .gradient = -1, .frozen = "", .init = "sinusoidal",
      .init_a = 10000, .constant = 1 },
    { .name = "c", .repeat = 1, .rank = 2, .dim0 = CONTEXT, .dim1 = DIM,
      .weight = CONTEXT * DIM, .gradient = -1, .frozen = "",
      .init = "rotary-cos", .init_a = 500000, .init_b = 8, .init_c = 1,
      .init_d = 4, .init_e = 64, .constant = 1 },
    { .name = "r", .repeat = 1, .rank = 2, .dim0 = CONTEXT, .dim1 = DIM,
      .weight = 2 * CONTEXT * DIM, .gradient = -1, .frozen = "",
      .init = "rotary-sin", .init_a = 10000, .constant = 1 },
    { .name = "a", .repeat = 1, .rank = 1, .dim0 = HEADS,
      .weight = 3 * CONTEXT * DIM, .gradient = -1, .frozen = "",
      .init = "alibi", .constant = 1 },
    { .name = "d", .repeat = 1, .rank = 2, .dim0 = 2 * CONTEXT - 1,
      .dim1 = DIM, .weight = 4 * CONTEXT * DIM, .gradient = -1, .frozen = "",
      .init = "relative", .init_a = 10000, .constant = 1 },
    { .name = "p", .repeat = 1, .rank = 1, .dim0 = DIM,
      .weight = 6 * CONTEXT * DIM, .gradient = -1, .frozen = "",
      .init = "derived", .constant = 1 },
};

static double llama3_frequency(int pair)
{
    double f = pow(500000, -2.0 * pair / DIM), wave = 2 * M_PI / f;
    if (wave < 64.0 / 4)
        return f;
    if (wave > 64.0)
        return f / 8;
    double smooth = (64 / wave - 1) / (4 - 1);
    return (1 - smooth) * f / 8 + smooth * f;
}

/* Row t is of distance t - (CONTEXT - 1); 0 has the bits of position 0, and the
 * positive ones those of the positions. */
static void test_distances(const float *weights)
{
    const float *table = weights + 4 * CONTEXT * DIM;
    const float *zero = table + (CONTEXT - 1) * DIM;
    bool good = true, odd = true;
    for (int t = 0; t < CONTEXT; t++)
        for (int i = 0; i < DIM; i++) {
            float below = zero[-t * DIM + i], above = zero[t * DIM + i];
            good &= above == weights[t * DIM + i];
            odd &= t == 0 || below == (i % 2 ? above : -above);
        }
    check(good, "distances are as positions");
    check(odd, "sines are odd, cosines even");
    check(weights[6 * CONTEXT * DIM] == 42, "a derived table is let alone");
}

static void test_tables(void)
{
    static float weights[6 * CONTEXT * DIM + DIM];
    Error error;
    Program program = { .tensor_count = 6, .tensors = tables };
    Rank rank = { .program = &program, .control = { .weights = weights } };
    rank.team = team_start(3, NULL, 0, &error);
    weights[6 * CONTEXT * DIM] = 42;
    tables_compute(&rank);
    team_stop(rank.team);
    test_distances(weights);
    bool sines = true, cosines = true, plain = true, slopes = true;
    for (int t = 0; t < CONTEXT; t++)
        for (int i = 0; i < DIM; i++) {
            double angle = t / pow(10000, (i - i % 2) / (double)DIM);
            int pair = i % (DIM / 2);
            int at = t * DIM + i;
            sines &= near(weights[at], i % 2 ? cos(angle) : sin(angle));
            cosines &= near(weights[CONTEXT * DIM + at],
                            cos(t * llama3_frequency(pair)));
            plain &= near(weights[2 * CONTEXT * DIM + at],
                          sin(t * pow(10000, -2.0 * pair / DIM)));
        }
    for (int h = 0; h < HEADS; h++)
        slopes &= near(weights[3 * CONTEXT * DIM + h],
                       pow(2, -8.0 * (h + 1) / HEADS));
    check(sines, "sinusoidal positions");
    check(cosines, "rotary with llama3 scaling");
    check(plain, "rotary");
    check(slopes, "alibi slopes");
}

/* ---- sampling ----------------------------------------------------------- */

static int32_t draw(int64_t k, double p, double temperature, double uniform,
                    const float *logits)
{
    Sampler sampler;
    Error error;
    sampler_open(&sampler, 5, &error);
    sampler.top_k = k;
    sampler.top_p = p;
    sampler.temperature = temperature;
    int32_t token = sampler_draw(&sampler, logits, uniform, &error);
    sampler_close(&sampler);
    return token;
}

static void test_sampling(void)
{
    /* masses 1/8, 1/2, 1/8, 1/8, 1/8 */
    const float logits[5] = { 0, 1.3862944f, 0, 0, 0 };
    const float ties[5] = { 1, 3, 3, 2, 3 };
    const float broken[5] = { 1, NAN, 0, 0, 0 };
    const float cut[5] = { -INFINITY, 0, -INFINITY, 0, -INFINITY };
    const float none[5] = { -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                            -INFINITY };
    check(draw(0, 1, 1, 0.0, logits) == 0, "the first eighth is token 0");
    check(draw(0, 1, 1, 0.13, logits) == 1, "then token 1");
    check(draw(0, 1, 1, 0.62, logits) == 1, "to five eighths");
    check(draw(0, 1, 1, 0.63, logits) == 2, "then token 2");
    check(draw(0, 1, 1, 0.9999, logits) == 4, "and the last");
    check(draw(2, 1, 1, 0.9999, logits) == 1, "top 2, ties to the lower id");
    check(draw(2, 1, 1, 0.0, logits) == 0, "in the order of ids");
    check(draw(0, 0.4, 1, 0.9999, logits) == 1, "top_p of one token");
    check(draw(0, 0.6, 1, 0.9999, logits) == 1, "top_p of two");
    check(draw(0, 0.6, 1, 0.01, logits) == 0, "top_p of two");
    check(draw(0, 0.7, 1, 0.9999, logits) == 2, "top_p of three");
    check(draw(0, 1, 0, 0.9, ties) == 1, "greedy: lowest id on ties");
    check(draw(1, 1, 1, 0.9, ties) == 1, "top 1: lowest id on ties");
    check(draw(0, 1, 1, 0.3, cut) == 1, "no mass, no draw");
    check(draw(0, 1, 1, 0.9999999, cut) == 3, "no mass, no draw");
    check(draw(0, 1, 1, 0.5, broken) == -1, "NaN is an error");
    check(draw(0, 1, 0, 0.5, none) == -1, "nothing finite is an error");
    check(draw(0, 1, 1e-6, 0.5, ties) == 2, "a small temperature: among ties");
}

/* ---- profiles ----------------------------------------------------------- */

static volatile sig_atomic_t handled;

static void count_signal(int number)
{
    handled += number == SIGPROF;
}

static void work_a_while(const Thread *me, void *context)
{
    volatile double *sums = context;
    for (int i = 0; i < 30000000; i++)
        sums[me->index * 8] += i;
}

/* Whether signals come when they come: ThreadSanitizer puts them off. */
#if defined(__SANITIZE_THREAD__)
enum { PROMPT_SIGNALS = 0 };
#elif defined(__has_feature)
enum { PROMPT_SIGNALS = !__has_feature(thread_sanitizer) };
#else
enum { PROMPT_SIGNALS = 1 };
#endif

/* The work is seen, on every count of threads, and the signal given back. */
static void test_profile(void)
{
    static double sums[3 * 8];
    for (int count = 1; count <= 3; count++) {
        Error error;
        ProfileRow *rows;
        signal(SIGPROF, count_signal);
        struct Team *team = team_start(count, NULL, 0, &error);
        Profile *profile = profile_begin(team, &error);
        check(profile != NULL, "a profile begins");
        team_run(team, work_a_while, sums);
        profile_take(profile, true);
        team_run(team, work_a_while, sums);
        raise(SIGPROF);
        profile_take(profile, false);
        int row_count = profile_end(profile, &rows, &error);
        double total = 0, work = 0;
        for (int i = 0; i < row_count; i++) {
            total += rows[i].share;
            work += strcmp(rows[i].name, "work_a_while") ? 0 : rows[i].share;
            check(i == 0 || rows[i].share <= rows[i - 1].share, "heavy first");
        }
        check(fabs(total - 1) < 1e-9, "shares are of one whole");
        if (PROMPT_SIGNALS)
            check(work > 0.2, "the function that works has its share");
        else
            puts("skipped: the share of work, ThreadSanitizer delaying signals");
        free(rows);
        check(handled == count - 1, "a profile keeps SIGPROF to itself");
        raise(SIGPROF);
        check(handled == count, "and gives it back");
        team_stop(team);
    }
}

static bool names_are_inside(const Symbols *symbols, size_t length)
{
    const char *end = symbols->text + length;
    for (int i = 0; i < symbols->count; i++) {
        const Symbol *symbol = &symbols->at[i];
        if (symbol->name < symbols->text || symbol->name >= end
            || symbol->end <= symbol->start
            || !memchr(symbol->name, 0, (size_t)(end - symbol->name))
            || !memchr(symbol->file, 0, FILES_PATH)
            || (i > 0 && symbol->start < symbols->at[i - 1].start))
            return false;
    }
    return true;
}

/* Reads the bytes as a file's; what is found must lie in them. */
static bool read_damaged(const char *bytes, size_t length)
{
    Symbols symbols;
    if (!file_write_whole("damaged.elf", bytes, length, NULL)
        || !symbols_open(&symbols, "damaged.elf", NULL))
        return false;
    check(names_are_inside(&symbols, length), "damaged symbols are inside");
    for (uint64_t address = 0; address < 1 << 16; address += 64)
        symbols_find(&symbols, address);
    symbols_close(&symbols);
    return true;
}

/* Every other symbol's name begins where there are no names. */
static void test_lost_names(char *bytes, size_t length)
{
    Elf64_Ehdr header;
    Elf64_Shdr section;
    memcpy(&header, bytes, sizeof header);
    for (int i = 0; i < header.e_shnum; i++) {
        memcpy(&section, bytes + header.e_shoff + (size_t)i * sizeof section,
               sizeof section);
        if (section.sh_type == SHT_SYMTAB)
            break;
    }
    char *kept = malloc(length);
    memcpy(kept, bytes, length);
    for (size_t at = 0; at < section.sh_size; at += 2 * sizeof(Elf64_Sym))
        memset(bytes + section.sh_offset + at, 0xff, sizeof(Elf64_Word));
    check(read_damaged(bytes, length), "symbols without names are left out");
    memcpy(bytes, kept, length);
    free(kept);
}

static void test_damage(char *bytes, size_t length)
{
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    test_lost_names(bytes, length);
    size_t sections = (size_t)header.e_shoff;
    size_t sections_size = (size_t)header.e_shnum * header.e_shentsize;
    for (int i = 0; i < 300; i++) {
        /* Of the header, of the sections' headers, or of anything. */
        size_t room = i % 3 == 0 ? 64 : i % 3 == 1 ? sections_size : length;
        size_t at = (i % 3 == 1 ? sections : 0)
            + (size_t)(draw_uniform(1, 7, (uint64_t)i) * (double)room);
        char kept = bytes[at];
        bytes[at] = (char)(int)(draw_uniform(2, 7, (uint64_t)i) * 256);
        read_damaged(bytes, length);
        bytes[at] = kept;
    }
    check(read_damaged(bytes, length), "what was mended is read");
    for (int i = 0; i < 20; i++)
        check(!read_damaged(bytes, length * (size_t)i / 20),
              "a torn file has no symbols");
}

static __attribute__((noinline)) void test_symbols(void)
{
    Symbols symbols;
    Error error;
    check(!symbols_open(&symbols, "data.txt", &error)
          && strstr(error.text, "has no symbol table"), "text has no symbols");
    if (!symbols_open(&symbols, "/proc/self/exe", &error)) {
        check(false, error.text);
        return;
    }
    bool found = false;
    for (int i = 0; i < symbols.count; i++) {
        const Symbol *symbol = &symbols.at[i];
        if (strcmp(symbol->name, "test_symbols") != 0)
            continue;
        found = true;
        check(strcmp(symbol->file, "units.c") == 0, "a static has its file");
        check(symbols_find(&symbols, symbol->start) == symbol
              && symbols_find(&symbols, symbol->end - 1) == symbol
              && symbols_find(&symbols, symbol->end) != symbol
              && symbols_find(&symbols, symbol->start - 1) != symbol,
              "a function is from its start to its end");
    }
    check(found, "this function is in the table");
    check(!symbols_find(&symbols, 0) && !symbols_find(&symbols, UINT64_MAX),
          "no function is where none is");
    symbols_close(&symbols);
    char *bytes;
    size_t length;
    check(file_read_whole("/proc/self/exe", 1 << 28, &bytes, &length, &error),
          "the program is read");
    test_damage(bytes, length);
    free(bytes);
}

int main(void)
{
    test_teams();
    test_tables();
    test_sampling();
    test_profile();
    test_symbols();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
