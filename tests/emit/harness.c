/* harness.c: runs the sample's step on one thread with made-up inputs and
 * prints every word it left behind, so that two builds are compared with cmp.
 * It stands in for the runtime: the sample's main calls its
 * trainwright_main. */
#include "../../runtime/program.h"
#include <stdio.h>
#include <string.h>

enum { VALUES = 1400, WEIGHTS = 37 * 37 + 20 };

static float values[VALUES], weights[WEIGHTS], workspace[1 << 20]
    __attribute__((aligned(64)));

void barrier(const Thread *me)
{
    (void)me;
}

/* Numbers around 0, the same everywhere, without a library function. */
static void fill(float *x, int n, uint32_t state)
{
    for (int i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-30f;
    }
}

static void print_words(const char *name, const void *at, size_t bytes)
{
    uint32_t word;
    printf("%s\n", name);
    for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, (const char *)at + i, sizeof word);
        printf("%08x%s", word, i / sizeof word % 8 == 7 ? "\n" : " ");
    }
    printf("\n");
}

int trainwright_main(const Program *program, int argc, char **argv)
{
    static const float rates[] = {-3.0f, 1.0f, 0.25f, 4.0f, __builtin_nanf("")};
    int32_t tokens[5] = {3, -1, 0, 3, 7};
    Thread me = {.index = 0, .count = 1, .workspace = workspace};
    (void)argc, (void)argv;
    puts(program->spec);
    puts(program->name);
    for (int i = 0; i < 5; i++) {
        Control control = {.values = values,
                           .weights = weights,
                           .tokens = tokens,
                           .step = i + 1,
                           .lr = rates[i]};
        fill(values, VALUES, (uint32_t)i);
        fill(weights, WEIGHTS, 77u + (uint32_t)i);
        program->steps[0].entry(&me, &control);
        print_words("values", values, sizeof values);
        print_words("loss", &control.loss, sizeof control.loss);
        print_words("scored", &control.scored, sizeof control.scored);
    }
    return 0;
}
