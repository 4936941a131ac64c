/* stop.h: SIGTERM and SIGINT ask a training run to end after its step; a second
 * one ends the process at once.
 * SPDX-License-Identifier: 0BSD */
#ifndef STOP_H
#define STOP_H

enum { STOP_STATUS = 75 };      /* what a run that was stopped ends with */

/* From here on the signals are counted instead of killing the process. */
void stop_on_signals(void);

/* The same for a rank that is not alone: more of them end nothing here, for
 * its launcher gets them too and ends all. */
void stop_on_signals_of_many(void);

/* The signal that asked to stop, or 0. */
int stop_signal(void);
#endif
