/* program.h: the structs of program.def in C. NAME.c defines one `const Program
 * program`; its main is `return trainwright_main(&program, argc, argv);`.
 * SPDX-License-Identifier: 0BSD */
#ifndef PROGRAM_H
#define PROGRAM_H
#include "kernels/kernels.h"
#include <stdint.h>

#define RECORD(name) typedef struct name name;
#define FIELD(type, name)
#define END(name)
#include "program.def"
#undef RECORD
#undef FIELD

typedef const char *program_text;
typedef int32_t program_i32;
typedef int64_t program_i64;
typedef uint64_t program_u64;
typedef float program_f32;
typedef double program_f64;
typedef float *program_floats;
typedef double *program_doubles;
typedef int32_t *program_ints;
typedef void (*program_entry)(const Thread *me, Control *control);
#define program_one(record) const record *
#define program_many(record) const record *

#define RECORD(name) struct name {
#define FIELD(type, name) program_##type name;
#undef END
#define END(name) };
#include "program.def"
#undef RECORD
#undef FIELD
#undef END

/* The command line of every program: info, train, eval, generate, … Returns the
 * exit status (contract.md, section 1). */
int trainwright_main(const Program *program, int argc, char **argv);
#endif
