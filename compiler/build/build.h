/* build.h: a spec becomes a Module: dims, weights, the forward functions and
 * the plain steps. No pass has run: nothing is differentiated, fused or placed.
 */
#ifndef BUILD_H
#define BUILD_H
#include "../../ir/ir.h"
#include "../spec/spec.h"

Module *build_module(const Spec *spec, const Diag *diag, Arena *arena);
#endif
