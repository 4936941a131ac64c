/* launch.c: see launch.h. The launcher sleeps until a child has changed, a
 * signal has come or a tenth of a second is over. Its own clock tells when it
 * was stopped itself, with all of its job: then what it measured is void.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "launch.h"
#include "cpu.h"
#include "stop.h"
#include "world_make.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Seconds. A rank may be stopped, or idle in a step, for so long; peers of a
 * lost one may take so long to wait for it, and are seen to wait for it after
 * so long, so that what they wait in can be said; and after a failure all may
 * take so long to leave. */
static const double MOST_STOPPED = 3, MOST_IDLE = 4, MOST_TO_WAIT = 1.5,
    LEAST_TO_WAIT = 0.15, MOST_TO_LEAVE = 1;

/* A look around that comes so much later than the last: it was stopped. */
static const double LONG_SLEEP = 1;

typedef struct Child {
    pid_t pid;                  /* 0: it has ended */
    int status;                 /* then: as waitpid says */
    bool stopped;
    double stopped_since;
    double idle_since, used;    /* seconds of the processor, last seen */
} Child;

typedef struct Launcher {
    World *world;
    Child *children;
    int running;
    bool trains;
    int asked;                  /* the first signal that it got */
    double looked;              /* when it last looked around */
    double failed;              /* when a failure was seen; 0: none */
    int lost;                   /* the rank that was lost; -1: none */
    double lost_at;
    const char *waited;         /* what the others waited in when last seen, */
    double waited_since;        /* and since when */
    char how[128];              /* "was killed by signal 9 (Killed)" */
    sigset_t signals, before;
} Launcher;

bool launch_wanted(const Program *program, const Options *options,
                   int processes)
{
    bool together = options->command == COMMAND_train
        || options->command == COMMAND_eval || options->command == COMMAND_grad
        || options->command == COMMAND_bench;
    return together && (program_ranks(program) > 1 || processes > 1);
}

/* ---- a rank's beginning ------------------------------------------------- */

/* It ends with its launcher, however that ends. */
static void begin_rank(const Launcher *l, int rank, pid_t launcher)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launcher)
        _exit(EXIT_LOST);
    l->world->rank = rank;
    if (rank > 0)
        world_be_silent();
    /* The launcher decides whether all end. */
    if (l->trains)
        stop_on_signals_of_many();
    else
        signal(SIGINT, SIG_IGN);
    sigprocmask(SIG_SETMASK, &l->before, NULL);
}

/* The rank that this process is now; -1: the launcher. */
static int fork_ranks(Launcher *l, Error *error)
{
    pid_t launcher = getpid();
    fflush(stdout);
    for (int rank = 0; rank < l->world->ranks; rank++) {
        pid_t pid = fork();
        if (pid == 0) {
            begin_rank(l, rank, launcher);
            return rank;
        }
        if (pid < 0) {
            error_system(error, errno, "cannot start rank %d of %d", rank,
                         l->world->ranks);
            error->status = ERROR_ENVIRONMENT;
            world_fail(l->world, error->status, error->text);
            return -1;
        }
        l->children[rank].pid = pid;
        l->running++;
    }
    return -1;
}

/* ---- who was lost ------------------------------------------------------- */

/* What a rank waits in, or NULL, and the line that asks for it: for what comes
 * between steps, that of the first message. */
static const char *waits_in(const World *world, int rank, const char **where)
{
    const Notes *notes = &world->block->notes[rank];
    const Message *messages = world->program->messages;
    int waits = atomic_load(&notes->waits);
    *where = world->messages > 0 ? messages[waits > 0 ? waits : 0].where : "";
    if (waits == WAITS_BETWEEN_STEPS)
        return atomic_load(&notes->what);
    return waits >= 0 ? messages[waits].name : NULL;
}

/* Whether all that are left and run wait; and for what, one of them. */
static bool all_wait(const Launcher *l, const char **what, const char **where)
{
    bool all = true;
    for (int rank = 0; rank < l->world->ranks; rank++) {
        const char *line, *its = waits_in(l->world, rank, &line);
        const Child *child = &l->children[rank];
        if (child->pid == 0 || child->stopped || rank == l->lost)
            continue;
        all = all && its;
        if (its) {
            *what = its;
            *where = line;
        }
    }
    return all;
}

/* " in step 17" */
static void describe_place(const World *world, int rank, char *text,
                           size_t room)
{
    const Notes *notes = &world->block->notes[rank];
    long long step = (long long)atomic_load(&notes->step);
    int inside = atomic_load(&notes->inside);
    if (inside == IN_A_STEP)
        snprintf(text, room, " in step %lld", step);
    else if (inside == IN_AN_EVALUATION)
        snprintf(text, room, " in an evaluation");
    else if (step > 0)
        snprintf(text, room, " after step %lld", step);
    else
        snprintf(text, room, " before the first step");
}

static void say_lost(Launcher *l, const char *what, const char *where)
{
    char text[sizeof ((Error *)0)->text], place[64];
    const World *world = l->world;
    const char *before = ", while the others waited for it in";
    const char *line, *own = waits_in(world, l->lost, &line);
    describe_place(world, l->lost, place, sizeof place);
    if (!what && own) {
        before = ", while it waited in";
        what = own;
        where = line;
    }
    if (!what && world->messages > 0) {
        before = "; where the ranks meet first in a step is";
        what = world->program->messages[0].name;
        where = line;
    }
    snprintf(text, sizeof text, "rank %d of %d %s%s%s \"%s\" (%s)", l->lost,
             world->ranks, l->how, place, what ? before : "", what ? what : "",
             what ? where : "");
    if (!what)
        snprintf(text, sizeof text, "rank %d of %d %s%s", l->lost,
                 world->ranks, l->how, place);
    world_fail(l->world, EXIT_LOST, text);
}

static void lose(Launcher *l, int rank, double now)
{
    if (l->lost >= 0)
        return;
    l->lost = rank;
    l->lost_at = now;
}

/* Waits, but not long, until it can be said what for the others wait: a rank
 * that is free to go on, and has not yet been given a CPU, still looks as if it
 * waited in what is behind it. */
static void report_lost(Launcher *l, double now)
{
    const char *what = NULL, *where = NULL;
    if (l->lost < 0 || l->failed > 0)
        return;
    bool wait = all_wait(l, &what, &where);
    if (!wait || what != l->waited) {
        l->waited = wait ? what : NULL;
        l->waited_since = now;
    }
    if ((wait && now - l->waited_since >= LEAST_TO_WAIT)
        || now - l->lost_at > MOST_TO_WAIT)
        say_lost(l, what, where);
}

/* ---- watching ----------------------------------------------------------- */

static bool world_failed(const Launcher *l)
{
    return atomic_load(&l->world->block->failure.state) == FAILURE_KNOWN;
}

static void note_end(Launcher *l, int rank, int status, double now)
{
    Child *child = &l->children[rank];
    child->pid = 0;
    child->status = status;
    l->running--;
    if (world_failed(l) || l->lost >= 0)
        return;
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        snprintf(l->how, sizeof l->how, "was killed by signal %d (%s)", number,
                 strsignal(number));
        lose(l, rank, now);
    } else if (WEXITSTATUS(status) != 0
               && WEXITSTATUS(status) != STOP_STATUS) {
        snprintf(l->how, sizeof l->how, "ended with status %d and no word",
                 WEXITSTATUS(status));
        lose(l, rank, now);
    }
}

static void note_change(Launcher *l, pid_t pid, int status, double now)
{
    int rank = 0;
    while (rank < l->world->ranks && l->children[rank].pid != pid)
        rank++;
    if (rank == l->world->ranks)
        return;
    Child *child = &l->children[rank];
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
        note_end(l, rank, status, now);
    } else {
        child->stopped = WIFSTOPPED(status);
        child->stopped_since = now;
        child->idle_since = now;
    }
}

static double time_used(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0
        || clock_gettime(clock, &used) != 0)
        return 0;
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Sees whether a rank is stopped, or idle in the midst of a step. */
static void check_life(Launcher *l, int rank, double now)
{
    Child *child = &l->children[rank];
    const Notes *notes = &l->world->block->notes[rank];
    double used = time_used(child->pid);
    bool busy = used != child->used || !atomic_load(&notes->inside)
        || atomic_load(&notes->waits) != WAITS_FOR_NONE;
    child->used = used;
    if (busy)
        child->idle_since = now;
    if (child->stopped && now - child->stopped_since > MOST_STOPPED)
        snprintf(l->how, sizeof l->how, "stayed stopped for %.0f seconds",
                 MOST_STOPPED);
    else if (!child->stopped && now - child->idle_since > MOST_IDLE)
        snprintf(l->how, sizeof l->how, "did nothing for %.0f seconds",
                 MOST_IDLE);
    else
        return;
    lose(l, rank, now);
}

/* What was measured over a time in which nobody ran means nothing. */
static void forget_times(Launcher *l, double now)
{
    for (int rank = 0; rank < l->world->ranks; rank++)
        l->children[rank].stopped_since = l->children[rank].idle_since = now;
}

static void kill_all(const Launcher *l, int number)
{
    for (int rank = 0; rank < l->world->ranks; rank++)
        if (l->children[rank].pid > 0)
            kill(l->children[rank].pid, number);
}

/* What hangs or is stopped will not leave. */
static void kill_lame(const Launcher *l)
{
    for (int rank = 0; rank < l->world->ranks; rank++) {
        const Child *child = &l->children[rank];
        if (child->pid > 0 && (child->stopped || rank == l->lost))
            kill(child->pid, SIGKILL);
    }
}

static void reap_all(Launcher *l)
{
    for (int rank = 0; rank < l->world->ranks; rank++)
        if (l->children[rank].pid > 0)
            waitpid(l->children[rank].pid, NULL, 0);
    l->running = 0;
}

/* The first signal is passed on to ranks that train, who end after their step;
 * any other ends all, and the launcher as the signal ends a program. */
static void take_signal(Launcher *l, int number)
{
    if (l->trains && !l->asked) {
        l->asked = number;
        kill_all(l, number);
        return;
    }
    kill_all(l, SIGKILL);
    reap_all(l);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_SETMASK, &l->before, NULL);
}

static void look_around(Launcher *l)
{
    double now = clock_seconds();
    pid_t pid;
    int status;
    if (now - l->looked > LONG_SLEEP)
        forget_times(l, now);
    l->looked = now;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0)
        note_change(l, pid, status, now);
    for (int rank = 0; rank < l->world->ranks; rank++)
        if (l->children[rank].pid > 0 && !world_failed(l))
            check_life(l, rank, now);
    report_lost(l, now);
    if (l->failed == 0 && world_failed(l)) {
        l->failed = now;
        kill_lame(l);
    }
    if (l->failed > 0 && now - l->failed > MOST_TO_LEAVE)
        kill_all(l, SIGKILL);
}

static void watch(Launcher *l)
{
    const struct timespec tenth = { .tv_nsec = 100000000 };
    l->looked = clock_seconds();
    forget_times(l, l->looked);
    while (l->running > 0) {
        int number = sigtimedwait(&l->signals, NULL, &tenth);
        if (number == SIGINT || number == SIGTERM)
            take_signal(l, number);
        look_around(l);
    }
    if (!world_failed(l) && l->lost >= 0)
        say_lost(l, NULL, NULL);
}

static int conclude(const Launcher *l, Error *error)
{
    const Failure *failure = &l->world->block->failure;
    if (!world_failed(l))
        return WEXITSTATUS(l->children[0].status);
    error_set(error, failure->status, "%s", failure->text);
    return failure->status;
}

/* ---- the whole ---------------------------------------------------------- */

static void hold_signals(Launcher *l)
{
    sigemptyset(&l->signals);
    sigaddset(&l->signals, SIGCHLD);
    sigaddset(&l->signals, SIGINT);
    sigaddset(&l->signals, SIGTERM);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &l->signals, &l->before);
}

/* All that is shared is made before the fork. */
static bool make_world(Launcher *l, const Program *program, const Plan *plans,
                       Error *error)
{
    int ranks = program_ranks(program);
    l->world = world_make(program, true, error);
    l->children = calloc((size_t)ranks, sizeof *l->children);
    if (!l->world)
        return false;
    if (!l->children)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    l->world->ranks_here = ranks;
    l->world->cores = (double)team_cores() / ranks;
    world_set_threads(l->world, plans->threads);
    return world_map(l->world, plans, error);
}

int launch(const Program *program, const Options *options, const Plan *plans,
           World **world, Error *error)
{
    Launcher l = { .lost = -1, .trains = options->command == COMMAND_train };
    int status = -1;
    *world = NULL;
    if (!make_world(&l, program, plans, error)) {
        status = error->status;
    } else {
        hold_signals(&l);
        if (fork_ranks(&l, error) >= 0) {
            *world = l.world;
        } else {
            watch(&l);
            status = conclude(&l, error);
        }
    }
    free(l.children);
    if (!*world)
        world_free(l.world);
    return status;
}
