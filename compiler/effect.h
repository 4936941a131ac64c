/* effect.h: what a difference of two resolved specs does to the numbers of a
 * run (docs/contract.md, section 5). */
#ifndef EFFECT_H
#define EFFECT_H
#include "spec/spec.h"

typedef enum Effect {
    EFFECT_SAME,            /* every loss and weight to the last bit */
    EFFECT_REASSOCIATED,    /* the same mathematics, another order of sums */
    EFFECT_DIFFERENT,
} Effect;
extern const char *const effect_names[];

/* Of a key whose value differs between a and b, and why. */
Effect key_effect(KeyId key, const Spec *a, const Spec *b, const char **why);
#endif
