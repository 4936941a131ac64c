/* cpu.h: what this machine's processor can do.
 * SPDX-License-Identifier: 0BSD */
#ifndef CPU_H
#define CPU_H
#include "error.h"
#include "team.h"

/* Checks the instruction sets in `features` ("avx2 fma"), each known by name
 * and by the system too. False with status 3, naming those that are missing. */
bool cpu_supports(const char *features, Error *error);

/* f32 operations a second of fused multiply-adds in registers on all threads of
 * the team at once: the peak that a program's speed is measured against. Takes
 * some 60 ms. */
double cpu_peak(struct Team *team);

/* Seconds since some moment, never going back. */
double clock_seconds(void);
#endif
