/* emit.h: the back ends of a Prog. An emitter prints what stands in the Prog
 * and decides nothing; emit_c.c writes C, emit_llvm.c an object through
 * LLVM. */
#ifndef EMIT_H
#define EMIT_H
#include "../ir/prog.h"

/* ---- C (emit_c.c) -------------------------------------------------------- */
/* Appends the whole of NAME.c: gnu11, free of warnings, the same text for the
 * same Prog. It includes the runtime as "runtime/program.h". */
void emit_c(const Prog *p, Buf *out);

/* Text of C, as a careful hand would lay it out (emit_text.c). Columns count
 * characters of ASCII text from 0. */
enum { EMIT_WIDTH = 100 };
/* One statement or declaration, broken after commas and before operators so
 * that no line passes `width`; no newline at its end. */
void text_wrapped(Buf *out, int indent, const char *line, int width);
/* A comment of its own, newline included: wrapped, unable to end early. */
void text_comment(Buf *out, int indent, const char *text);
/* What stands between the marks of a one-line comment, made harmless. */
void text_remark(Buf *out, const char *text);
/* The shortest decimal that reads back as the same value: "0.125f", "1e-5". */
void text_f32(Buf *out, float value);
void text_f64(Buf *out, double value);
/* A string literal; text of several lines gets a literal a line, each indented,
 * unless indent is -1. */
void text_string(Buf *out, int indent, const char *text);

/* ---- LLVM (emit_llvm.c, loaded when wanted) ------------------------------ */
typedef struct EmitTarget {
    const char *level; /* "x86-64-v3" or "x86-64-v4": the instructions used */
    bool wide;              /* vectors of 512 bits */
    bool native;            /* schedule for this machine's CPU, not for any */
} EmitTarget;

/* Writes an object of position-independent code to object_path, with lines of
 * the spec as debug information. An object that cannot be written is a
 * diagnostic and false; a Prog that LLVM refuses is a bug of ours: ice(). */
bool emit_llvm(const Prog *p, const EmitTarget *target, const char *object_path,
               Diag *diag);
#endif
