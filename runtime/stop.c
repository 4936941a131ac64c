/* stop.c: see stop.h. A signal handler can reach nothing but a global: this is
 * the runtime's only one.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "stop.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t asked;

static void handle(int number)
{
    if (asked) {
        signal(number, SIG_DFL);
        raise(number);
    }
    asked = number;
}

static void note(int number)
{
    if (!asked)
        asked = number;
}

static void handle_by(void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler,
                                .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

void stop_on_signals(void)
{
    handle_by(handle);
}

void stop_on_signals_of_many(void)
{
    handle_by(note);
}

int stop_signal(void)
{
    return asked;
}
