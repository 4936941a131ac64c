/* schedule.c: see schedule.h. One function, one case a formula.
 * SPDX-License-Identifier: 0BSD */
#include "schedule.h"
#include "elementary.h"
#include <string.h>

/* Contraction would make the bits depend on whether the CPU has fma. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

bool schedule_named(const char *name, ScheduleType *type)
{
    static const char *const names[] = {
        [SCHEDULE_CONSTANT] = "constant", [SCHEDULE_LINEAR] = "linear",
        [SCHEDULE_COSINE] = "cosine", [SCHEDULE_INVERSE_SQRT] = "inverse-sqrt",
        [SCHEDULE_WSD] = "wsd",
    };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) {
            *type = (ScheduleType)i;
            return true;
        }
    return false;
}

double schedule_rate(const Schedule *schedule, int64_t s)
{
    double lr = schedule->lr, min_lr = schedule->min_lr;
    int64_t warmup = schedule->warmup, steps = schedule->steps;
    if (s > steps)
        s = steps;
    if (s <= warmup)
        return lr * (double)s / (double)warmup;
    double t = (double)(s - warmup) / (double)(steps - warmup);
    switch (schedule->type) {
    case SCHEDULE_CONSTANT:
        return lr;
    case SCHEDULE_LINEAR:
        return lr + (min_lr - lr) * t;
    case SCHEDULE_COSINE:
        return min_lr + (lr - min_lr) * (1 + f64_cos(F64_PI * t)) / 2;
    case SCHEDULE_INVERSE_SQRT: {
        double rise = warmup > 1 ? (double)warmup : 1;
        double rate = lr * __builtin_sqrt(rise / (double)s);
        return rate > min_lr ? rate : min_lr;
    }
    case SCHEDULE_WSD: {
        int64_t into = s - (steps - schedule->decay);   /* the decay's steps */
        if (into <= 0)
            return lr;
        return lr + (min_lr - lr) * ((double)into / (double)schedule->decay);
    }
    }
    return lr;
}
