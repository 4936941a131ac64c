/* llvm.h: what the parts of the LLVM back end share. It is a module of its own,
 * loaded when a program is built (compiler/plugin.c), because libLLVM takes
 * longer to start than everything else takes to run.
 *
 * Read emit_llvm.c (a program, from Prog to object), then code.c (functions,
 * statements, expressions), then debug.c (lines of the spec). */
#ifndef LLVM_H
#define LLVM_H
#include "../emit.h"
#include "../../ir/prog_make.h"
#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>

typedef struct Llvm {
    const Prog *prog;
    Arena *arena;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    /* lines of the spec (debug.c) */
    LLVMDIBuilderRef debug;
    LLVMMetadataRef *files;         /* by source of the Diag */
    LLVMMetadataRef *scopes;        /* the same, of the function being made */
    LLVMMetadataRef subprogram;
    Loc home;                       /* where that function comes from */
    /* the function being made (code.c) */
    const ProgFunc *func;
    LLVMValueRef function;
    LLVMValueRef *slots; /* by variable number: its place on the stack */
} Llvm;

/* For plugin.c: a module of another version is refused. */
extern const char emit_llvm_version[];

/* ---- types and names (emit_llvm.c) --------------------------------------- */
LLVMTypeRef llvm_type(Llvm *l, ProgType type);
LLVMTypeRef llvm_record(Llvm *l, const ProgRecord *record);
/* The function of that name, declared if need be. */
LLVMValueRef llvm_function(Llvm *l, const ProgFunc *func);
LLVMTypeRef llvm_function_type(Llvm *l, const ProgFunc *func);

/* ---- code (code.c) ------------------------------------------------------- */
void llvm_define(Llvm *l, const ProgFunc *func);

/* ---- debug information (debug.c) ----------------------------------------- */
void debug_begin(Llvm *l);
/* From here on instructions belong to the function / come from the origin. */
void debug_function(Llvm *l, const ProgFunc *func, LLVMValueRef function);
void debug_at(Llvm *l, Loc origin);
void debug_end(Llvm *l);
#endif
