/* emit_c.h: what the two halves of the C emitter share: code (emit_c.c), and
 * declarations and data (emit_c_items.c). */
#ifndef EMIT_C_H
#define EMIT_C_H
#include "emit.h"

/* A function's definition, its comment above it. */
void c_function(Buf *out, const Prog *p, const ProgFunc *func);
/* "const float *x", "long rows". */
void c_declare(Buf *out, Arena *arena, ProgType type, const char *name);
/* The value of an integer expression of literals and constants, all of whose
 * parts fit an int; false otherwise. */
bool c_known_int(const ProgExpr *e, int64_t *value);
#endif
