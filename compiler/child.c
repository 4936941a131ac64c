/* child.c: posix_spawn with the output in an anonymous file, so that nobody
 * waits on a full pipe and several can run at once (child.h). */
#define _GNU_SOURCE
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The child gets every signal as usual, whatever its parent holds back. */
static void usual_signals(posix_spawnattr_t *attributes)
{
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
}

bool child_start(Child *child, const char *const *argv, const char *directory)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    child->pid = 0;
    child->output = memfd_create("output", MFD_CLOEXEC);
    if (child->output < 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    usual_signals(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, child->output, 1);
    posix_spawn_file_actions_adddup2(&actions, child->output, 2);
    if (directory)
        posix_spawn_file_actions_addchdir_np(&actions, directory);
    int wrong = posix_spawnp(&child->pid, argv[0], &actions, &attributes,
                             (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (!wrong)
        return true;
    child->pid = 0;
    close(child->output);
    errno = wrong;
    return false;
}

int child_wait(Child *child, Buf *output)
{
    int status;
    char piece[4096];
    ssize_t got;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    for (off_t at = 0;
         (got = pread(child->output, piece, sizeof piece, at)) > 0; at += got)
        buf_add(output, piece, (size_t)got);
    close(child->output);
    child->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Has it ended before so many ticks are over? A tick is 5 ms. */
static bool ends_within(const Child *child, int ticks)
{
    const struct timespec tick = { .tv_nsec = 5000000 };
    siginfo_t info;
    for (int i = 0; i < ticks; i++) {
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT)
            || info.si_pid == child->pid)
            return true;
        nanosleep(&tick, NULL);
    }
    return false;
}

int child_wait_within(Child *child, int seconds, Buf *output)
{
    enum { SECOND = 200 };
    if (ends_within(child, seconds * SECOND))
        return child_wait(child, output);
    for (int i = 0; i < 2; i++) {           /* the second ends it at once */
        kill(child->pid, SIGTERM);
        ends_within(child, SECOND);
    }
    if (!ends_within(child, SECOND))
        kill(child->pid, SIGKILL);
    child_wait(child, output);
    return 124;
}

int child_run(const char *const *argv, const char *directory, Buf *output)
{
    Child child;
    return child_start(&child, argv, directory) ? child_wait(&child, output)
                                                : -1;
}

const char *child_says(Buf *output)
{
    enum { MOST = 3000 };
    if (output->length > MOST) {
        output->length = MOST;
        output->text[MOST] = 0;
    }
    while (output->length && output->text[output->length - 1] == '\n')
        output->text[--output->length] = 0;
    return output->length ? output->text : "(it said nothing)";
}

void signals_hold(sigset_t *before)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigprocmask(SIG_BLOCK, &held, before);
}
