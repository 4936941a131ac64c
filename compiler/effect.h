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

/* Has `reproducible.order: fast` an effect: are a block's gradients summed over
 * ranks in every micro-batch, and only shares of them kept? Not where a rank
 * has one micro-batch a step, nor in a pipeline or with relative positions,
 * where blocks' gradients are whole until the step's end. */
bool sums_each_micro(const Spec *s);
/* Prints the data degrees that give the same bits: 1 and the powers of two that
 * divide reproducible.groups, which are a power of two or `data` itself. With
 * context or experts that is data as it is. */
void print_same_bits(const Spec *s);
/* Of a key whose value differs between a and b, and why. */
Effect key_effect(KeyId key, const Spec *a, const Spec *b, const char **why);
#endif
