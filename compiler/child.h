/* child.h: running another program and keeping what it says. */
#ifndef CHILD_H
#define CHILD_H
#include "../ir/base.h"
#include <signal.h>
#include <sys/types.h>

typedef struct Child {
    pid_t pid;                  /* 0: it did not start */
    int output;                 /* an anonymous file: its stdout and stderr */
} Child;

/* Starts argv[0] (looked up in PATH) in `directory` (NULL: here), with nothing
 * on its stdin. False where it cannot be started, errno saying why. */
bool child_start(Child *child, const char *const *argv, const char *directory);
/* Waits for it and appends what it printed; its exit status, or 128 +
 * signal. */
int child_wait(Child *child, Buf *output);
/* The same, but one that takes longer than so many seconds is ended, and the
 * status is 124. */
int child_wait_within(Child *child, int seconds, Buf *output);
/* Both; -1 where it cannot be started. */
int child_run(const char *const *argv, const char *directory, Buf *output);
/* What was printed, for a message: at most some 3000 bytes, without newlines at
 * the end. */
const char *child_says(Buf *output);

/* Holds SIGINT and SIGTERM back from this process, not from its children, so
 * that what is written aside can be removed; until *before is set again. */
void signals_hold(sigset_t *before);
#endif
