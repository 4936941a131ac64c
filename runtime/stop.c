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

void stop_on_signals(void)
{
    struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

int stop_signal(void)
{
    return asked;
}
