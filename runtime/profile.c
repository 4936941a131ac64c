/* profile.c: see profile.h. In three parts: taking notes, which a signal
 * handler does for its own thread in memory that its timer's value points at,
 * so that nothing is global and nothing shared; naming an address; counting.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "profile.h"
#include "symbols.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* A prime number of microseconds, lest it beat with what it measures. A thread
 * keeps its last 32 seconds of notes: steps are alike. */
enum { INTERVAL = 997, NOTES = 1 << 15 };

typedef struct Sampler {
    uintptr_t *notes;           /* a ring of program counters */
    uint64_t count;             /* notes ever taken */
    const atomic_bool *on;
    timer_t timer;
    sigset_t mask;              /* the thread's, before */
    int failure;                /* why there is no timer: errno, or 0 */
} Sampler;

struct Profile {
    struct Team *team;
    int count;                  /* of threads */
    Sampler *samplers;          /* one a thread */
    struct sigaction before;
    atomic_bool on;
};

/* ---- taking notes ------------------------------------------------------- */

static uintptr_t program_counter(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

/* A SIGPROF that is no timer's has no sampler and is ignored. A thread that was
 * off its core has its note late, once: it stands for those that it missed. */
static void take_note(int number, siginfo_t *info, void *context)
{
    (void)number;
    Sampler *sampler = info->si_value.sival_ptr;
    if (info->si_code != SI_TIMER
        || !atomic_load_explicit(sampler->on, memory_order_relaxed))
        return;
    int missed = info->si_overrun < NOTES ? info->si_overrun : NOTES;
    for (int i = 0; i <= missed; i++)
        sampler->notes[sampler->count++ % NOTES] = program_counter(context);
}

/* The threads of a team block signals: this one is let through. */
static void start_timer(const Thread *me, void *context)
{
    Profile *profile = context;
    Sampler *sampler = &profile->samplers[me->index];
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID,
                              .sigev_signo = SIGPROF };
    event.sigev_value.sival_ptr = sampler;
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    const struct timespec interval = { 0, INTERVAL * 1000 };
    const struct itimerspec every = { interval, interval };
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGPROF);
    pthread_sigmask(SIG_UNBLOCK, &ours, &sampler->mask);
    if (timer_create(CLOCK_MONOTONIC, &event, &sampler->timer) != 0)
        sampler->failure = errno;
    else
        timer_settime(sampler->timer, 0, &every, NULL);
}

/* What is still to be delivered is, before timer_delete returns. */
static void stop_timer(const Thread *me, void *context)
{
    Profile *profile = context;
    Sampler *sampler = &profile->samplers[me->index];
    if (sampler->failure == 0)
        timer_delete(sampler->timer);
    pthread_sigmask(SIG_SETMASK, &sampler->mask, NULL);
}

static void free_profile(Profile *profile)
{
    for (int i = 0; profile->samplers && i < profile->count; i++)
        free(profile->samplers[i].notes);
    free(profile->samplers);
    free(profile);
}

static void stop_timers(Profile *profile)
{
    team_run(profile->team, stop_timer, profile);
    sigaction(SIGPROF, &profile->before, NULL);
}

static Profile *allocate(struct Team *team)
{
    Profile *profile = calloc(1, sizeof *profile);
    if (!profile)
        return NULL;
    profile->team = team;
    profile->count = team_count(team);
    profile->samplers = calloc((size_t)profile->count,
                               sizeof *profile->samplers);
    bool good = profile->samplers != NULL;
    for (int i = 0; good && i < profile->count; i++) {
        Sampler *sampler = &profile->samplers[i];
        sampler->on = &profile->on;
        sampler->notes = calloc(NOTES, sizeof *sampler->notes);
        good = sampler->notes != NULL;
    }
    if (good)
        return profile;
    free_profile(profile);
    return NULL;
}

Profile *profile_begin(struct Team *team, Error *error)
{
    Profile *profile = allocate(team);
    if (!profile) {
        error_set(error, ERROR_ENVIRONMENT, "out of memory");
        return NULL;
    }
    struct sigaction action = { .sa_sigaction = take_note,
                                .sa_flags = SA_SIGINFO | SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, &profile->before);
    team_run(team, start_timer, profile);
    for (int i = 0; i < profile->count; i++) {
        int failure = profile->samplers[i].failure;
        if (failure == 0)
            continue;
        stop_timers(profile);
        free_profile(profile);
        error_system(error, failure, "cannot make a timer a thread");
        return NULL;
    }
    return profile;
}

void profile_take(Profile *profile, bool on)
{
    atomic_store(&profile->on, on);
}

/* ---- naming an address -------------------------------------------------- */

/* What is known by another name: every static function of a file of the
 * library, and global ones by how they begin. A thread that waits sleeps in
 * libc's `syscall`. */
static const struct Group {
    const char *file, *prefix, *name;
} groups[] = {
    { "gemm.c", "matmul", "matmul" },
    { "attention.c", "attention_", "attention" },
    { "team.c", "team_", "waiting" },
    { "team.c", "barrier", "waiting" },
    { "", "syscall", "waiting" },
};

/* A function's name, or its group's, without what compilers append to it. */
static void name_function(const char *file, const char *name, char *out)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        const struct Group *group = &groups[i];
        bool grouped = *file ? strcmp(file, group->file) == 0
            : strncmp(name, group->prefix, strlen(group->prefix)) == 0;
        if (grouped) {
            snprintf(out, PROFILE_NAME, "%s", group->name);
            return;
        }
    }
    int length = (int)strcspn(name, ".");
    snprintf(out, PROFILE_NAME, "%.*s", length > 0 ? length : PROFILE_NAME,
             name);
}

/* An address of a library, by what the library exports; the time of what it
 * does not is the library's. */
static void name_elsewhere(uintptr_t address, char *out)
{
    Dl_info info;
    if (dladdr((void *)address, &info) == 0 || !info.dli_fname) {
        snprintf(out, PROFILE_NAME, "elsewhere");
        return;
    }
    if (info.dli_sname) {
        name_function("", info.dli_sname, out);
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(out, PROFILE_NAME, "%s", slash ? slash + 1 : info.dli_fname);
}

/* The program itself is the first of what is loaded. */
static int take_base(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

/* ---- counting ----------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const ProfileRow *)a)->name, ((const ProfileRow *)b)->name);
}

static int compare_shares(const void *a, const void *b)
{
    const ProfileRow *x = a, *y = b;
    if (x->share != y->share)
        return x->share > y->share ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_addresses(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

static size_t notes_kept(const Sampler *sampler)
{
    return sampler->count < NOTES ? (size_t)sampler->count : NOTES;
}

/* All notes of all threads, by address. */
static uintptr_t *gather_notes(const Profile *profile, size_t *count)
{
    size_t total = 0;
    for (int i = 0; i < profile->count; i++)
        total += notes_kept(&profile->samplers[i]);
    *count = total;
    uintptr_t *all = calloc(total + 1, sizeof *all);
    if (!all)
        return NULL;
    uintptr_t *end = all;
    for (int i = 0; i < profile->count; i++) {
        size_t kept = notes_kept(&profile->samplers[i]);
        memcpy(end, profile->samplers[i].notes, kept * sizeof *end);
        end += kept;
    }
    qsort(all, total, sizeof *all, compare_addresses);
    return all;
}

/* A row for every run of notes in one function, with their number as its share;
 * returns how many. rows has room for a row a note. */
static int name_notes(const Symbols *symbols, const uintptr_t *notes,
                      size_t count, ProfileRow *rows)
{
    int rows_count = 0;
    uintptr_t base = 0;
    dl_iterate_phdr(take_base, &base);
    for (size_t i = 0, next; i < count; i = next) {
        const Symbol *symbol = symbols_find(symbols, notes[i] - base);
        ProfileRow *row = &rows[rows_count++];
        next = i + 1;
        while (next < count && (notes[next] == notes[i]
               || (symbol && notes[next] - base < symbol->end)))
            next++;
        row->share = (double)(next - i);
        if (symbol)
            name_function(symbol->file, symbol->name, row->name);
        else
            name_elsewhere(notes[i], row->name);
    }
    return rows_count;
}

/* Adds up the rows of one name. */
static int merge_rows(ProfileRow *rows, int count)
{
    int kept = 0;
    qsort(rows, (size_t)count, sizeof *rows, compare_names);
    for (int i = 0; i < count; i++)
        if (kept > 0 && strcmp(rows[kept - 1].name, rows[i].name) == 0)
            rows[kept - 1].share += rows[i].share;
        else
            rows[kept++] = rows[i];
    return kept;
}

static int make_rows(const Profile *profile, const Symbols *symbols,
                     ProfileRow **rows, Error *error)
{
    size_t notes_count;
    uintptr_t *notes = gather_notes(profile, &notes_count);
    *rows = notes ? calloc(notes_count + 1, sizeof **rows) : NULL;
    int count = 0;
    if (!*rows)
        error_set(error, ERROR_ENVIRONMENT, "out of memory");
    else if (notes_count == 0)
        error_set(error, ERROR_ENVIRONMENT, "no timer has gone off");
    else
        count = merge_rows(*rows, name_notes(symbols, notes, notes_count,
                                             *rows));
    for (int i = 0; i < count; i++)
        (*rows)[i].share /= (double)notes_count;
    if (count > 0)
        qsort(*rows, (size_t)count, sizeof **rows, compare_shares);
    free(notes);
    return count;
}

int profile_end(Profile *profile, ProfileRow **rows, Error *error)
{
    Symbols symbols;
    int count = 0;
    *rows = NULL;
    stop_timers(profile);
    if (symbols_open(&symbols, "/proc/self/exe", error)) {
        count = make_rows(profile, &symbols, rows, error);
        symbols_close(&symbols);
    }
    free_profile(profile);
    return count;
}
