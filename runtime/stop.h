/* stop.h: SIGTERM and SIGINT ask a training run to end after its step; a second
 * one ends the process at once.
 * SPDX-License-Identifier: 0BSD */
#ifndef STOP_H
#define STOP_H

/* From here on the signals are counted instead of killing the process. */
void stop_on_signals(void);

/* The signal that asked to stop, or 0. */
int stop_signal(void);
#endif
