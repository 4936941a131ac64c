/* schedule.c (test): learning rates against values worked out by hand from
 * docs/contract.md, section 4.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/schedule.h"
#include <math.h>

static Schedule a_schedule(ScheduleType type, int64_t warmup, int64_t steps)
{
    return (Schedule){ .type = type, .lr = 8, .min_lr = 2, .warmup = warmup,
                       .steps = steps };
}

static void rate(Checks *c, const Schedule *schedule, int64_t s, double want)
{
    double got = schedule_rate(schedule, s);
    check(c, fabs(got - want) <= 1e-15 * fabs(want),
          "type %d: lr(%lld) is %.17g, not %.17g", schedule->type, (long long)s,
          got, want);
}

static void test_formulas(Checks *c)
{
    Schedule s = a_schedule(SCHEDULE_CONSTANT, 4, 12);
    rate(c, &s, 1, 2), rate(c, &s, 3, 6), rate(c, &s, 4, 8);
    rate(c, &s, 5, 8), rate(c, &s, 12, 8), rate(c, &s, 99, 8);

    s = a_schedule(SCHEDULE_LINEAR, 4, 12);
    rate(c, &s, 1, 2), rate(c, &s, 4, 8), rate(c, &s, 5, 8 - 6.0 / 8);
    rate(c, &s, 8, 5), rate(c, &s, 12, 2), rate(c, &s, 13, 2);

    s = a_schedule(SCHEDULE_COSINE, 4, 12);
    rate(c, &s, 2, 4), rate(c, &s, 4, 8), rate(c, &s, 8, 5);
    rate(c, &s, 6, 2 + 3 * (1 + sqrt(0.5)));    /* cos π/4 */
    rate(c, &s, 10, 2 + 3 * (1 - sqrt(0.5)));
    rate(c, &s, 12, 2), rate(c, &s, 1000, 2);

    s = a_schedule(SCHEDULE_INVERSE_SQRT, 4, 400);
    rate(c, &s, 4, 8), rate(c, &s, 16, 4), rate(c, &s, 36, 8.0 / 3);
    rate(c, &s, 64, 2), rate(c, &s, 65, 2), rate(c, &s, 400, 2);
    s.min_lr = 0;
    rate(c, &s, 100, 1.6), rate(c, &s, 400, 0.8), rate(c, &s, 401, 0.8);

    s = a_schedule(SCHEDULE_WSD, 4, 12);
    s.decay = 4;
    rate(c, &s, 2, 4), rate(c, &s, 4, 8), rate(c, &s, 8, 8);
    rate(c, &s, 9, 6.5), rate(c, &s, 11, 3.5), rate(c, &s, 12, 2);
    rate(c, &s, 20, 2);
}

static void test_edges(Checks *c)
{
    for (ScheduleType type = SCHEDULE_CONSTANT; type <= SCHEDULE_WSD; type++) {
        Schedule s = a_schedule(type, 0, 10);   /* no warmup */
        s.decay = 5;
        check(c, schedule_rate(&s, 1) > 7 && schedule_rate(&s, 1) <= 8,
              "type %d without warmup", type);
        s.warmup = 20;                          /* warmup past the horizon */
        rate(c, &s, 10, 4);
        rate(c, &s, 15, 4);
        s.warmup = 10;
        rate(c, &s, 10, 8);
        rate(c, &s, 11, 8);
    }
    Schedule s = a_schedule(SCHEDULE_INVERSE_SQRT, 0, 100);
    rate(c, &s, 1, 8), rate(c, &s, 4, 4);       /* max(warmup, 1) */
    s = a_schedule(SCHEDULE_COSINE, 0, 7);
    check(c, schedule_rate(&s, 7) == 2, "cosine ends at exactly min_lr");
    s = (Schedule){ SCHEDULE_COSINE, 6e-4, 6e-5, 100, 0, 1000 };
    rate(c, &s, 1, 6e-6), rate(c, &s, 550, 3.3e-4);
}

static void test_names(Checks *c)
{
    ScheduleType type;
    check(c, schedule_named("wsd", &type) && type == SCHEDULE_WSD, "wsd");
    check(c, schedule_named("inverse-sqrt", &type) &&
          type == SCHEDULE_INVERSE_SQRT, "inverse-sqrt");
    check(c, !schedule_named("cosin", &type), "cosin");
}

int main(void)
{
    Checks checks = { .name = "schedule" };
    test_formulas(&checks);
    test_edges(&checks);
    test_names(&checks);
    return check_end(&checks);
}
