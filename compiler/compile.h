/* compile.h: the pipeline, from a spec to a Prog, with a stop after any pass. */
#ifndef COMPILE_H
#define COMPILE_H
#include "../ir/ir.h"
#include "../ir/prog.h"
#include "../passes/pass.h"
#include "spec/spec.h"

typedef struct CompileOptions {
    SpecSources from;
    const char *target;         /* "cpu x86-64-v3": for the program's description */
    const char *features;       /* instruction sets it needs */
    const char *stop_after;     /* a pass, "build" (before any), or NULL: all, and lower */
    void (*after)(const Module *m, const char *pass, void *context);   /* or NULL */
    void *context;
    bool verbose;               /* a line a pass on stderr: nodes, kernels, time */
} CompileOptions;

typedef struct Compiled {
    const Spec *spec;
    Module *module;
    Prog *prog;                 /* NULL when stopped earlier */
    Prog *one_rank;             /* its second file, or NULL: there is one */
    Buf spec_text;              /* the resolved spec */
    const char *spec_hash;
    int64_t train_bytes;        /* weights, moments, values of train */
} Compiled;

/* False with diagnostics. */
bool compile_spec(Diag *diag, Arena *arena, const CompileOptions *options, Compiled *out);
Plan plan_of(const Spec *spec);
#endif
