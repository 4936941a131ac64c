/* plugin.h: the LLVM back end, loaded when a program is built. */
#ifndef PLUGIN_H
#define PLUGIN_H
#include "emit.h"

typedef bool EmitLlvm(const Prog *p, const EmitTarget *target,
                      const char *object_path, Diag *diag);

/* emit_llvm of trainwright-llvm.so, which stands beside the executable (whose
 * directory `beside` is), in build/ there, or in ../lib/trainwright. NULL and a
 * diagnostic where it or libLLVM is missing: the environment's fault (status
 * 3). */
EmitLlvm *plugin_load(Diag *diag, const char *beside);
#endif
