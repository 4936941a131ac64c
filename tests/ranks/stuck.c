/* stuck.c: the hand-written program of tests/runtime, on two ranks, which goes
 * wrong on purpose in step 3 of training, on the rank that the environment
 * variable STUCK_RANK names: STUCK is `sleep` (it hangs, using no time), `exit`,
 * `count` (a message that nobody foretold) or `slow` (it computes for six
 * seconds: nothing is wrong). */
#define main fake_main
#include "../runtime/fake_program.c"
#undef main
#include "collectives.h"
#include <unistd.h>

static const Message messages[] = {
    { .name = "sum targets", .where = "stuck.yaml:7", .axis = "data",
      .calls = 1, .bytes = 8 },
    { .name = "sum gradients", .where = "stuck.yaml:7", .axis = "data",
      .calls = 1, .bytes = 4 * GRADIENT_FLOATS },
};

static void compute_for(int seconds)
{
    volatile double x = 0;
    for (time_t end = time(NULL) + seconds; time(NULL) < end;)
        x = x + 1;
}

static void go_wrong(const Thread *me)
{
    const char *what = getenv("STUCK");
    if (!what)
        return;
    if (strcmp(what, "sleep") == 0)
        for (;;)
            pause();
    if (strcmp(what, "exit") == 0)
        _exit(9);
    if (strcmp(what, "slow") == 0)
        compute_for(6);
    (void)me;
}

static void two_entry(const Thread *me, Control *c)
{
    const char *who = getenv("STUCK_RANK"), *what = getenv("STUCK");
    int here = who && c->step == 3 && c->first == atoi(who) * (B / 2);
    if (here && me->index == 0)
        go_wrong(me);
    if (me->index == 0) {
        make_trouble("FAKE_SLEEP");
        whole_batch(c, 1);
    }
    long scored = all_reduce_count(me, 0, c->scored);
    if (what && strcmp(what, "count") == 0 && c->step == 3)
        all_reduce_count(me, 0, 1);
    all_reduce_f32(me, 1, c->values + GRADIENTS, GRADIENT_FLOATS);
    if (me->index == 0) {
        c->scored = scored;
        c->grad_norm = 1;
        if (is_poisoned(c))
            c->loss = NAN;
        c->applied = isfinite(c->loss);
        c->clip_scale = 0.5f;
    }
    barrier(me);
    if (c->applied)
        update(me, c);
    barrier(me);
}

int main(int argc, char **argv)
{
    enum { STEPS = sizeof steps / sizeof steps[0] };
    static Step own[STEPS];
    memcpy(own, steps, sizeof steps);
    own[0].batch = B / 2;
    own[0].entry = two_entry;
    Program two = program;
    two.name = "stuck";
    two.ranks = two.data = 2;
    two.stages = 1;
    two.steps = own;
    two.message_count = 2;
    two.messages = messages;
    return trainwright_main(&two, argc, argv);
}
