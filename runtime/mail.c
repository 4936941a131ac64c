/* mail.c: see mail.h.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "mail.h"
#include "cpu.h"
#include "hash.h"
#include "memory.h"
#include "stop.h"
#include "team.h"
#include "trace.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Requests under way, at least; and the parts of a row, of MPI_MOST bytes. */
enum { REQUESTS = 1024, ROW_PARTS = 16 };

/* Seconds. A rank may be stopped, or idle in a step, so long: less than forked
 * ranks may (launch.c), for mpirun takes 2 to 3 more to end what is left. One
 * that has ended is so long the launcher's to mention; and one that fails
 * leaves it so long to others to say so. */
static const double MOST_STOPPED = 1.5, MOST_IDLE = 2.5, MOST_TO_TELL = 2.5,
    MOST_TO_LEAVE = 1.5;
/* Some launchers lose what they have not passed on when they end a job. */
static const double TO_PASS_ON = 0.1;
/* A look at a peer, or at oneself, so often; if it comes so much later, then
 * this process was stopped itself, and what it has measured is void. */
static const double LOOK = 0.25, LONG_SLEEP = 1;
/* Of processor time between two looks: who uses less is idle. */
static const double LEAST_USED = 0.001;

typedef struct Request {
    MpiHandle handle;
    int peer;
} Request;

/* The two rows of a message that may be under way. */
typedef struct Rows {
    MpiHandle parts[2][ROW_PARTS];
    int count[2];               /* of parts that are under way */
    int to;
    unsigned sent;
} Rows;

/* What ranks tell each other first. */
enum { PLACE_TEXT = 96 };
typedef struct Card {
    char program[SHA256_TEXT];  /* the hash of its source */
    char place[PLACE_TEXT];     /* the same: they see each other's processes */
    pid_t pid;
    cpu_set_t cores;
} Card;
_Static_assert(sizeof(Card) <= WORLD_SLOT, "a card fits a slot");

struct Mail {
    Mpi *mpi;
    Request *requests;
    int count, most;
    char *room;
    Rows *rows;                 /* of each message */
    pid_t *pids;                /* of each rank; 0: on another machine */
    int voice;                  /* standard error, though the rank be silent */
    pthread_t watch;
    bool watched;
};

/* ---- the end of all ----------------------------------------------------- */

static void rest(double seconds)
{
    const struct timespec time = { .tv_sec = (time_t)seconds,
        .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&time, NULL);
}

static void say(const World *world, const char *text)
{
    dprintf(world->mail->voice, "%s: error: %s\n",
            program_invocation_short_name, text);
}

/* What all find at once the leader says, and ends the others meanwhile: by a
 * signal first. */
_Noreturn void mail_fail(World *world, int status, const char *text)
{
    int before = stop_signal();
    if (world->rank > 0)
        rest(MOST_TO_LEAVE + 0.2 * (world->rank < 8 ? world->rank : 8));
    if (stop_signal() != before)
        _exit(status);
    if (text[0])
        say(world, text);
    rest(TO_PASS_ON);
    mpi_abort(world->mail->mpi, status);
}

/* What a rank waits in, and the line that asks for it: for what comes between
 * steps, that of the first message. */
static const char *waits_in(const World *world, int waits, const char **where)
{
    const Message *messages = world->program->messages;
    *where = world->messages > 0 ? messages[waits > 0 ? waits : 0].where : "";
    return waits >= 0 ? messages[waits].name
        : atomic_load(&world->block->notes[world->rank].what);
}

static _Noreturn void lose(World *world, int peer, const char *how, int waits)
{
    char text[sizeof ((Error *)0)->text];
    const char *where, *what = waits_in(world, waits, &where);
    snprintf(text, sizeof text, "rank %d of %d %s, while rank %d waited for it "
             "in \"%s\" (%s)", peer, world->ranks, how, world->rank, what,
             where);
    mail_fail(world, EXIT_LOST, text);
}

/* ---- waiting ------------------------------------------------------------ */

/* How long one message was waited for. */
typedef struct Wait {
    int turns;
    double begun, looked;       /* 0: not yet */
    double stopped, ended;      /* since when its sender is; 0: it is not */
} Wait;

/* The letter of a process in /proc: T and t are stopped ones, Z and X dead;
 * X also where there is none. */
static char process_state(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[length] = '\0';
    const char *name_end = strrchr(line, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 'X';
}

/* Since when something is so, if it is. */
static void note_since(double *since, bool so, double now)
{
    *since = !so ? 0 : *since > 0 ? *since : now;
}

static void look_at(World *world, int peer, Wait *wait, double now, int waits)
{
    pid_t pid = world->mail->pids[peer];
    char state = pid > 0 ? process_state(pid) : 'R';
    if (now - wait->looked > LONG_SLEEP)
        *wait = (Wait){ .turns = wait->turns, .begun = now };
    wait->looked = now;
    note_since(&wait->stopped, state == 'T' || state == 't', now);
    note_since(&wait->ended, state == 'Z' || state == 'X', now);
    if (wait->stopped > 0 && now - wait->stopped > MOST_STOPPED)
        lose(world, peer, "stayed stopped for 1.5 seconds", waits);
    if (wait->ended > 0 && now - wait->ended > MOST_TO_TELL)
        lose(world, peer, "has ended without a word", waits);
    if (waits >= 0 && now - wait->begun > MAIL_PATIENCE)
        lose(world, peer, "said nothing for 600 seconds", waits);
}

/* A turn of waiting: first spinning where there are cores enough, then leaving
 * the core to others, then asleep now and then. */
static void take_turn(World *world, int peer, Wait *wait, int waits)
{
    enum { YIELDS = 200 };
    if (++wait->turns < world->spins)
        return;
    double now = clock_seconds();
    if (wait->begun == 0)
        wait->begun = wait->looked = now;
    if (now - wait->looked > LOOK)
        look_at(world, peer, wait, now, waits);
    if (wait->turns < world->spins + YIELDS)
        sched_yield();
    else
        rest(2e-5);
}

void mail_wait(World *world, int waits)
{
    Mail *mail = world->mail;
    Notes *notes = &world->block->notes[world->rank];
    const TraceNote note = { .kind = TRACE_WAIT,
                             .begin = trace_time(world->trace) };
    atomic_store(&notes->waits, waits);
    for (int i = 0; i < mail->count; i++) {
        Wait wait = {0};
        while (!mpi_done(mail->mpi, &mail->requests[i].handle))
            take_turn(world, mail->requests[i].peer, &wait, waits);
    }
    mail->count = 0;
    atomic_store(&notes->waits, WAITS_FOR_NONE);
    trace_note(world->trace, note);
}

/* ---- messages ----------------------------------------------------------- */

static int tag_of(int waits)
{
    return waits - WAITS_BETWEEN_STEPS;
}

/* The next part of the runs that one message can take, off the runs. */
static MpiRuns take_part(MpiRuns *runs)
{
    MpiRuns part = *runs;
    if (runs->length > MPI_MOST) {
        part.count = 1;
        part.length = MPI_MOST;
        runs->at = (char *)runs->at + MPI_MOST;
        runs->length -= MPI_MOST;
        return part;
    }
    int64_t most = runs->length > 0 ? MPI_MOST / runs->length : runs->count;
    part.count = runs->count < most ? runs->count : most;
    runs->at = (char *)runs->at + part.count * runs->stride;
    runs->count -= part.count;
    return part;
}

/* Posts runs, one by one where one of them is too long for a message. */
static void post(World *world, int rank, int waits, MpiRuns runs, bool sends)
{
    Mail *mail = world->mail;
    while (runs.count > 1 && runs.length > MPI_MOST) {
        MpiRuns first = runs;
        first.count = 1;
        post(world, rank, waits, first, sends);
        runs.at = (char *)runs.at + runs.stride;
        runs.count--;
    }
    while (runs.count > 0) {
        if (mail->count == mail->most)
            mail_wait(world, waits);
        Request *request = &mail->requests[mail->count++];
        const MpiRuns part = take_part(&runs);
        request->peer = rank;
        if (sends)
            mpi_send(mail->mpi, rank, tag_of(waits), part, &request->handle);
        else
            mpi_receive(mail->mpi, rank, tag_of(waits), part,
                        &request->handle);
    }
}

void mail_send(World *world, int rank, int waits, MpiRuns from)
{
    post(world, rank, waits, from, true);
}

void mail_receive(World *world, int rank, int waits, MpiRuns to)
{
    post(world, rank, waits, to, false);
}

char *mail_room(const World *world)
{
    return world->mail->room;
}

static MpiRuns bytes_at(const void *at, size_t bytes)
{
    return (MpiRuns){ (void *)(uintptr_t)at, 1, (int64_t)bytes,
                      (int64_t)bytes };
}

void mail_slots(World *world, Axis axis, size_t bytes, int waits)
{
    int own = axis_member(world, axis);
    for (int m = 0; m < axis_members(world, axis); m++) {
        if (m == own)
            continue;
        int rank = axis_rank(world, axis, m);
        mail_send(world, rank, waits, bytes_at(axis_slot(world, axis, own),
                                               bytes));
        mail_receive(world, rank, waits, bytes_at(axis_slot(world, axis, m),
                                                  bytes));
    }
    mail_wait(world, waits);
}

/* ---- rows --------------------------------------------------------------- */

unsigned mail_sent(const World *world, int message)
{
    return world->mail->rows[message].sent;
}

void mail_await_row(World *world, int message)
{
    Mail *mail = world->mail;
    Rows *rows = &mail->rows[message];
    Notes *notes = &world->block->notes[world->rank];
    int place = (int)(rows->sent % 2);
    atomic_store(&notes->waits, message);
    for (int i = 0; i < rows->count[place]; i++) {
        Wait wait = {0};
        while (!mpi_done(mail->mpi, &rows->parts[place][i]))
            take_turn(world, rows->to, &wait, message);
    }
    rows->count[place] = 0;
    atomic_store(&notes->waits, WAITS_FOR_NONE);
}

void mail_send_row(World *world, int message, int rank, MpiRuns row)
{
    Mail *mail = world->mail;
    Rows *rows = &mail->rows[message];
    int place = (int)(rows->sent++ % 2), part = 0;
    rows->to = rank;
    if (row.length > (int64_t)ROW_PARTS * MPI_MOST)
        mail_fail(world, ERROR_ENVIRONMENT, "a row between two stages is "
                  "larger than 16 GiB: a smaller train.micro_batch may help");
    while (row.count > 0) {
        const MpiRuns piece = take_part(&row);
        mpi_send(mail->mpi, rank, tag_of(message), piece,
                 &rows->parts[place][part++]);
    }
    rows->count[place] = part;
}

/* ---- what the leader writes --------------------------------------------- */

const void *mail_fetch(World *world, int owner, const void *mine, size_t bytes)
{
    bool leads = world->rank == 0;
    if (owner == 0)
        return leads ? mine : NULL;
    if (leads)
        mail_receive(world, owner, WAITS_BETWEEN_STEPS,
                     bytes_at(world->mail->room, bytes));
    else if (owner == world->rank)
        mail_send(world, 0, WAITS_BETWEEN_STEPS, bytes_at(mine, bytes));
    else
        return NULL;
    mail_wait(world, WAITS_BETWEEN_STEPS);
    return leads ? world->mail->room : NULL;
}

/* ---- the watch ---------------------------------------------------------- */

static double time_used(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

static _Noreturn void tell_of_idleness(const World *world)
{
    char text[sizeof ((Error *)0)->text];
    const char *where, *what = waits_in(world, 0, &where);
    long long step =
        (long long)atomic_load(&world->block->notes[world->rank].step);
    snprintf(text, sizeof text, "rank %d of %d did nothing for %.1f seconds in "
             "step %lld; where the ranks meet first in a step is \"%s\" (%s)",
             world->rank, world->ranks, MOST_IDLE, step, what, where);
    say(world, text);
    _exit(EXIT_LOST);
}

/* Sees whether this process is idle in the midst of a step; one that waits for
 * a disk is not. */
static void *watch(void *argument)
{
    const World *world = argument;
    const Notes *notes = &world->block->notes[world->rank];
    double used = 0, looked = clock_seconds(), idle_since = looked;
    for (;;) {
        rest(LOOK);
        double now = clock_seconds(), uses = time_used();
        if (uses - used > LEAST_USED || now - looked > LONG_SLEEP
            || !atomic_load(&notes->inside) || process_state(getpid()) == 'D'
            || atomic_load(&notes->waits) != WAITS_FOR_NONE)
            idle_since = now;
        if (now - idle_since > MOST_IDLE)
            tell_of_idleness(world);
        used = uses;
        looked = now;
    }
    return NULL;
}

static bool start_watch(World *world, Error *error)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&world->mail->watch, NULL, watch, world);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    world->mail->watched = failure == 0;
    return failure == 0
        || error_set(error, ERROR_ENVIRONMENT, "cannot start a thread: %s",
                     strerror(failure));
}

/* ---- the beginning ------------------------------------------------------ */

/* A text that two processes share which see each other in /proc: of the
 * machine's start, and of the name space of processes. */
static void find_place(char place[PLACE_TEXT])
{
    char start[40] = "", space[48] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (!fgets(start, sizeof start, file))
            start[0] = '\0';
        fclose(file);
    }
    start[strcspn(start, "\n")] = '\0';
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[length > 0 ? length : 0] = '\0';
    snprintf(place, PLACE_TEXT, "%s %s", start, space);
}

static bool is_here(const World *world, int rank, const Card *own)
{
    const Card *its = world_slot(world, rank);
    return strcmp(its->place, own->place) == 0;
}

/* What of this machine's cores is the rank's, where others may use the same
 * ones. */
static double share_of_cores(const World *world, const Card *own)
{
    double share = 0;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        int users = 0;
        for (int rank = 0; rank < world->ranks; rank++) {
            const Card *its = world_slot(world, rank);
            users += is_here(world, rank, own)
                && CPU_ISSET(core, &its->cores);
        }
        if (CPU_ISSET(core, &own->cores))
            share += 1.0 / users;
    }
    return share;
}

/* Who is on this machine; all must be ranks of one program. */
static bool exchange_cards(World *world, Error *error)
{
    const char *program = world->program->source_hash;
    Card own = { .pid = getpid() };
    snprintf(own.program, sizeof own.program, "%s", program ? program : "");
    find_place(own.place);
    sched_getaffinity(0, sizeof own.cores, &own.cores);
    if (!world_exchange(world, &own, sizeof own, "begin", error))
        return false;
    world->cores = share_of_cores(world, &own);
    for (int rank = 0; rank < world->ranks; rank++) {
        const Card *its = world_slot(world, rank);
        if (strcmp(its->program, own.program) != 0)
            return error_set(error, ERROR_INPUT, "rank %d is of another "
                             "program than rank %d", rank, world->rank);
        world->mail->pids[rank] = is_here(world, rank, &own) ? its->pid : 0;
        world->ranks_here += is_here(world, rank, &own);
    }
    return true;
}

static bool reserve(World *world, Error *error)
{
    Mail *mail = world->mail;
    mail->most = REQUESTS > 4 * world->ranks ? REQUESTS : 4 * world->ranks;
    mail->requests = calloc((size_t)mail->most, sizeof *mail->requests);
    mail->rows = calloc((size_t)world->messages + 1, sizeof *mail->rows);
    mail->pids = calloc((size_t)world->ranks, sizeof *mail->pids);
    if (!mail->requests || !mail->rows || !mail->pids)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    mail->room = memory_map(MAIL_ROOM, false, world->program->name, error);
    if (mail->room)
        memset(mail->room, 0, MAIL_ROOM);
    return mail->room != NULL;
}

bool mail_open(World *world, Mpi *mpi, Error *error)
{
    world->mail = calloc(1, sizeof *world->mail);
    if (!world->mail)
        mpi_abort(mpi, ERROR_ENVIRONMENT);
    world->mail->mpi = mpi;
    world->mail->voice = dup(STDERR_FILENO);
    world->rank = mpi_rank(mpi);
    return reserve(world, error) && exchange_cards(world, error)
        && start_watch(world, error);
}

const char *mail_name(const World *world)
{
    return mpi_name(world->mail->mpi);
}

void mail_close(World *world)
{
    Mail *mail = world->mail;
    for (int message = 0; message < world->messages; message++)
        for (int place = 0; place < 2; place++) {
            mail_await_row(world, message);
            mail->rows[message].sent++;
        }
    if (mail->watched) {
        pthread_cancel(mail->watch);
        pthread_join(mail->watch, NULL);
    }
    mpi_close(mail->mpi);
    memory_unmap(mail->room, MAIL_ROOM);
    free(mail->requests);
    free(mail->rows);
    free(mail->pids);
    free(mail);
    world->mail = NULL;
}
