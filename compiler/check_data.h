/* check_data.h: data for the small runs of `check`. It stands between the IR
 * and runtime/safetensors.h, which both have a type `Tensors`. */
#ifndef CHECK_DATA_H
#define CHECK_DATA_H
#include "spec/spec.h"

/* Bits that depend on the seed, the name and i alone. */
uint64_t check_draw(uint64_t seed, const char *name, int64_t i);
/* Writes so many batches of the spec, drawn by the seed, as the tensors that
 * `grad` and `train` take. False with *why. */
bool check_data(const Spec *spec, const char *path, int64_t batches,
                uint64_t seed, Arena *arena, Buf *why);
#endif
