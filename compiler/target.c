/* target.c: the levels of instruction sets (target.h). */
#include "target.h"
#include "commands.h"
#include "../runtime/cpu.h"

#define V3                                                                     \
    "sse3 ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt avx f16c bmi1 avx2 bmi2 "  \
    "lzcnt"
#define V4 V3 " avx512f avx512dq avx512cd avx512bw avx512vl"

static const struct {
    const char *level, *text, *features;
    bool wide;
} levels[] = {
    {"x86-64-v3", "cpu x86-64-v3", V3, false},
    {"x86-64-v4", "cpu x86-64-v4", V4, true},
};
enum { LEVELS = sizeof levels / sizeof *levels };

const char *const *target_levels(void)
{
    static const char *const names[] = {"x86-64-v3", "x86-64-v4", NULL};
    return names;
}

bool target_here(const char *level)
{
    for (int i = 0; i < LEVELS; i++)
        if (!strcmp(levels[i].level, level))
            return cpu_supports(levels[i].features, NULL);
    return false;
}

static int highest_here(void)
{
    int best = -1;
    for (int i = 0; i < LEVELS; i++)
        if (cpu_supports(levels[i].features, NULL))
            best = i;
    return best;
}

int target_choose(Diag *diag, const char *name, Target *target)
{
    bool native = !name || !strcmp(name, "native");
    int found = native ? highest_here() : -1;
    for (int i = 0; !native && i < LEVELS; i++)
        if (!strcmp(levels[i].level, name))
            found = i;
    if (found < 0 && native) {
        diag_error_at(diag, "trainwright",
                      "this machine's CPU has not all of %s",
                      levels[0].features);
        diag_hint(diag, "--cpu %s builds a program for a machine that has",
                  levels[0].level);
        return LACKING;
    }
    if (found < 0)
        ice("no level %s", name);
    *target = (Target){
        .emit = {levels[found].level, levels[found].wide, native},
        .text = levels[found].text,
        .features = levels[found].features,
    };
    return DONE;
}
