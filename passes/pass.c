/* pass.c: the table of passes, made from passes.def. */
#include "pass.h"

const PassInfo pass_table[PASS_COUNT] = {
#define PASS(pass, before, after, text) \
    { .name = #pass, .run = pass_##pass, .needs = before, .gives = after, \
      .doc = text },
#include "passes.def"
#undef PASS
};

const PassInfo *pass_find(const char *name)
{
    for (int i = 0; i < PASS_COUNT; i++)
        if (!strcmp(pass_table[i].name, name))
            return &pass_table[i];
    return NULL;
}
