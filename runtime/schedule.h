/* schedule.h: the learning rate of a step (docs/contract.md, section 4).
 * SPDX-License-Identifier: 0BSD */
#ifndef SCHEDULE_H
#define SCHEDULE_H
#include <stdbool.h>
#include <stdint.h>

typedef enum ScheduleType {
    SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE,
    SCHEDULE_INVERSE_SQRT, SCHEDULE_WSD
} ScheduleType;

typedef struct Schedule {
    ScheduleType type;
    double lr, min_lr;
    int64_t warmup;     /* steps of linear rise to lr */
    int64_t decay;      /* wsd: steps of linear fall to min_lr at the end */
    int64_t steps;      /* the horizon, train.steps; at least 1 */
} Schedule;

/* The type that a spec calls `name`; false if there is none. */
bool schedule_named(const char *name, ScheduleType *type);

/* lr(s) for s = 1, 2 …; past the horizon the rate stays at its last value. All
 * in f64 by elementary.h, so the same bits everywhere. */
double schedule_rate(const Schedule *schedule, int64_t s);
#endif
