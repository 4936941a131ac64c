/* emit_llvm.c: a Prog to an object through LLVM's C API: records, functions and
 * constant data become a module; the lanes of runtime/kernels, which are linked
 * in as bitcode, are inlined; the whole is optimised for the target and
 * written. Read emit_llvm, at the end, first. */
#include "llvm.h"
#include "../embed.h"
#include "../version.h"
#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

/* ---- types --------------------------------------------------------------- */
LLVMTypeRef llvm_type(Llvm *l, ProgType type)
{
    switch (type.kind) {
    case PK_VOID: return LLVMVoidTypeInContext(l->context);
    case PK_I32: case PK_U32: return LLVMInt32TypeInContext(l->context);
    case PK_I64: case PK_U64: return LLVMInt64TypeInContext(l->context);
    case PK_F32: return LLVMFloatTypeInContext(l->context);
    case PK_F64: return LLVMDoubleTypeInContext(l->context);
    case PK_F32X16:
        return LLVMVectorType(LLVMFloatTypeInContext(l->context), 16);
    case PK_POINTER: case PK_TEXT: case PK_ENTRY:
        return LLVMPointerTypeInContext(l->context, 0);
    case PK_RECORD: return llvm_record(l, type.record);
    }
    ice("type %d", (int)type.kind);
}

/* The struct of that name; its fields lie as in C. */
LLVMTypeRef llvm_record(Llvm *l, const ProgRecord *record)
{
    LLVMTypeRef made = LLVMGetTypeByName2(l->context, record->name);
    if (made)
        return made;
    int count = record->fields.count;
    LLVMTypeRef *fields = arena_alloc(l->arena,
                                      (size_t)(count + 1) * sizeof *fields);
    for (int i = 0; i < count; i++)
        fields[i] = llvm_type(l, record->fields.at[i].type);
    made = LLVMStructCreateNamed(l->context, record->name);
    LLVMStructSetBody(made, fields, (unsigned)count, false);
    return made;
}

/* ---- functions ----------------------------------------------------------- */
LLVMTypeRef llvm_function_type(Llvm *l, const ProgFunc *func)
{
    int count = func->params.count;
    LLVMTypeRef *params = arena_alloc(l->arena,
                                      (size_t)(count + 1) * sizeof *params);
    for (int i = 0; i < count; i++)
        params[i] = llvm_type(l, func->params.at[i]->type);
    return LLVMFunctionType(llvm_type(l, func->result), params, (unsigned)count,
                            false);
}

static void mark(Llvm *l, LLVMValueRef function, LLVMAttributeIndex index,
                 const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, index,
                            LLVMCreateEnumAttribute(l->context, kind, 0));
}

static void mark_text(Llvm *l, LLVMValueRef function, const char *name,
                      const char *text)
{
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(
        l->context, name, (unsigned)strlen(name), text, (unsigned)strlen(text));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

LLVMValueRef llvm_function(Llvm *l, const ProgFunc *func)
{
    LLVMValueRef made = LLVMGetNamedFunction(l->module, func->name);
    if (made)
        return made;
    made = LLVMAddFunction(l->module, func->name, llvm_function_type(l, func));
    mark(l, made, LLVMAttributeFunctionIndex, "nounwind");
    if (func->inlined)
        mark(l, made, LLVMAttributeFunctionIndex, "inlinehint");
    for (int i = 0; i < func->params.count; i++)
        if (func->params.at[i]->type.is_restrict)
            mark(l, made, (LLVMAttributeIndex)i + 1, "noalias");
    if (func->linkage == PL_STATIC)
        LLVMSetLinkage(made, LLVMInternalLinkage);
    return made;
}

/* ---- constant data ------------------------------------------------------- */
static LLVMValueRef text_constant(Llvm *l, const char *text)
{
    LLVMValueRef bytes = LLVMConstStringInContext2(l->context, text,
                                                   strlen(text), false);
    LLVMValueRef made = LLVMAddGlobal(l->module, LLVMTypeOf(bytes), "");
    LLVMSetInitializer(made, bytes);
    LLVMSetGlobalConstant(made, true);
    LLVMSetLinkage(made, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(made, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(made, 1);
    return made;
}

static LLVMValueRef datum(Llvm *l, ProgType type, const ProgDatum *value)
{
    switch (value->kind) {
    case PD_INT:
        return LLVMConstInt(llvm_type(l, type),
                            (unsigned long long)value->integer, true);
    case PD_FLOAT: return LLVMConstReal(llvm_type(l, type), value->number);
    case PD_TEXT: return text_constant(l, value->text);
    case PD_DATA: return LLVMGetNamedGlobal(l->module, value->data->name);
    case PD_FUNC: return llvm_function(l, value->func);
    case PD_NULL: return LLVMConstNull(llvm_type(l, type));
    }
    ice("datum %d", (int)value->kind);
}

static void define_data(Llvm *l, const ProgData *data)
{
    const ProgRecord *record = data->record;
    LLVMTypeRef type = llvm_record(l, record);
    if (data->external) {
        LLVMSetGlobalConstant(LLVMAddGlobal(l->module, type, data->name), true);
        return;
    }
    int fields = record->fields.count;
    size_t bytes = (size_t)(data->rows + fields + 1) * sizeof(LLVMValueRef);
    LLVMValueRef *rows = arena_alloc(l->arena, bytes), *row = rows + data->rows;
    for (int i = 0; i < data->rows; i++) {
        for (int j = 0; j < fields; j++)
            row[j] = datum(l, record->fields.at[j].type,
                           &data->values.at[i * fields + j]);
        rows[i] = LLVMConstNamedStruct(type, row, (unsigned)fields);
    }
    LLVMValueRef whole = data->array
                             ? LLVMConstArray2(type, rows, (uint64_t)data->rows)
                             : rows[0];
    LLVMValueRef made = LLVMAddGlobal(l->module, LLVMTypeOf(whole), data->name);
    LLVMSetInitializer(made, whole);
    LLVMSetGlobalConstant(made, true);
    if (!data->exported)
        LLVMSetLinkage(made, LLVMInternalLinkage);
}

/* main(argc, argv), which is trainwright_main(&program, argc, argv). */
static void define_main(Llvm *l)
{
    LLVMValueRef program = LLVMGetNamedGlobal(l->module, "program");
    if (!program)
        return;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMTypeRef pointer = LLVMPointerTypeInContext(l->context, 0);
    LLVMTypeRef start[] = {pointer, i32, pointer};
    LLVMTypeRef start_type = LLVMFunctionType(i32, start, 3, false);
    LLVMTypeRef main_type = LLVMFunctionType(i32, start + 1, 2, false);
    LLVMValueRef runtime = LLVMAddFunction(l->module, "trainwright_main",
                                           start_type);
    LLVMValueRef function = LLVMAddFunction(l->module, "main", main_type);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(l->context,
                                                            function, "");
    LLVMPositionBuilderAtEnd(l->builder, entry);
    LLVMSetCurrentDebugLocation2(l->builder, NULL);
    LLVMValueRef args[] = {program, LLVMGetParam(function, 0),
                           LLVMGetParam(function, 1)};
    LLVMBuildRet(l->builder,
                 LLVMBuildCall2(l->builder, start_type, runtime, args, 3, ""));
}

static void define_items(Llvm *l)
{
    for (int i = 0; i < l->prog->items.count; i++) {
        const ProgItem *item = &l->prog->items.at[i];
        switch (item->kind) {
        case PI_FUNC: llvm_define(l, item->func); break;
        case PI_DATA: define_data(l, item->data); break;
        case PI_COMMENT: case PI_CONSTS: case PI_RECORD: break;
        }
    }
    define_main(l);
}

/* ---- lanes and target ---------------------------------------------------- */
/* Links the lanes' bitcode, whose functions then are this module's own. */
static void link_lanes(Llvm *l)
{
    const EmbedFile *file = embed_find("lanes.bc");
    LLVMMemoryBufferRef bytes = LLVMCreateMemoryBufferWithMemoryRange(
        (const char *)file->bytes, file->length, "lanes", false);
    LLVMModuleRef lanes;
    if (LLVMParseBitcodeInContext2(l->context, bytes, &lanes))
        ice("the lanes' bitcode cannot be read");
    LLVMDisposeMemoryBuffer(bytes);
    if (LLVMLinkModules2(l->module, lanes))
        ice("the lanes' bitcode does not link");
    for (int i = 0; i < l->prog->externs.count; i++) {
        const ProgFunc *func = l->prog->externs.at[i];
        LLVMValueRef made = LLVMGetNamedFunction(l->module, func->name);
        if (func->linkage == PL_LANES && made && LLVMIsDeclaration(made))
            ice("the lanes have no %s", func->name);
    }
}

/* Gives every function the target's instruction set: code of the lanes came
 * with another's, and a call is only inlined into a function that has as
 * much. */
static void set_target(Llvm *l, const EmitTarget *target, const char *tune)
{
    static const char *const replaced[] = {
        "target-cpu", "target-features", "tune-cpu", "prefer-vector-width",
        "min-legal-vector-width",
    };
    for (LLVMValueRef f = LLVMGetFirstFunction(l->module); f;
         f = LLVMGetNextFunction(f)) {
        for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++)
            LLVMRemoveStringAttributeAtIndex(f, LLVMAttributeFunctionIndex,
                                             replaced[i],
                                             (unsigned)strlen(replaced[i]));
        if (LLVMIsDeclaration(f))
            continue;
        mark_text(l, f, "target-cpu", target->level);
        mark_text(l, f, "tune-cpu", tune);
        mark_text(l, f, "min-legal-vector-width", target->wide ? "512" : "256");
        mark_text(l, f, "prefer-vector-width", target->wide ? "512" : "256");
        const char *name = LLVMGetValueName(f);
        if (strcmp(name, "main") != 0)
            LLVMSetLinkage(f, LLVMInternalLinkage);
    }
}

static LLVMTargetMachineRef make_machine(const EmitTarget *target,
                                         const char *triple)
{
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    char *text = NULL;
    LLVMTargetRef machine;
    if (LLVMGetTargetFromTriple(triple, &machine, &text))
        ice("LLVM has no target %s: %s", triple, text);
    LLVMTargetMachineOptionsRef options = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(options, target->level);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(options,
                                               LLVMCodeGenLevelAggressive);
    LLVMTargetMachineOptionsSetRelocMode(options, LLVMRelocPIC);
    LLVMTargetMachineRef made = LLVMCreateTargetMachineWithOptions(
        machine, triple, options);
    LLVMDisposeTargetMachineOptions(options);
    return made;
}

/* ---- the whole ----------------------------------------------------------- */
static void verify(Llvm *l)
{
    char *text = NULL;
    if (LLVMVerifyModule(l->module, LLVMReturnStatusAction, &text))
        ice("LLVM refuses the program: %s", text);
    LLVMDisposeMessage(text);
}

/* The loops come as vectors of 16 lanes, so what is left to do is little: lane
 * functions inlined, variables in registers, what repeats computed once, what
 * does not change moved out of loops. default<O3> takes four times as long for
 * no faster code, and inlines kernels, which a profile then no longer names. */
static void optimise(Llvm *l, LLVMTargetMachineRef machine)
{
    static const char passes[] =
        "globaldce,always-inline,globaldce,function("
        "sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
        "loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg)";
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(l->module, passes, machine, options);
    if (error)
        ice("LLVM's passes: %s", LLVMGetErrorMessage(error));
    LLVMDisposePassBuilderOptions(options);
}

/* LLVM's remarks and warnings are about loops of ours: nothing for a user. An
 * error would come back from the call that met it as well. */
static void ignore(LLVMDiagnosticInfoRef info, void *context)
{
    (void)info, (void)context;
}

/* Through memory: LLVM's own streams end the process where a disk is full. */
static bool write_object(Llvm *l, LLVMTargetMachineRef machine,
                         const char *path, Diag *diag)
{
    char *text = NULL;
    LLVMMemoryBufferRef object;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, l->module, LLVMObjectFile,
                                            &text, &object))
        ice("LLVM makes no object: %s", text);
    size_t size = LLVMGetBufferSize(object);
    FILE *file = fopen(path, "we");
    bool good = file
        && fwrite(LLVMGetBufferStart(object), 1, size, file) == size;
    if (file && fclose(file) != 0)
        good = false;
    if (!good)
        diag_error_at(diag, path, "cannot write the object: %s",
                      strerror(errno));
    LLVMDisposeMemoryBuffer(object);
    return good;
}

const char emit_llvm_version[] = TRAINWRIGHT_VERSION;

bool emit_llvm(const Prog *p, const EmitTarget *target, const char *object_path,
               Diag *diag)
{
    static const char triple[] = "x86_64-pc-linux-gnu";
    Llvm l = {.prog = p, .arena = arena_new(), .context = LLVMContextCreate()};
    LLVMContextSetDiagnosticHandler(l.context, ignore, NULL);
    l.module = LLVMModuleCreateWithNameInContext(p->name, l.context);
    l.builder = LLVMCreateBuilderInContext(l.context);
    LLVMTargetMachineRef machine = make_machine(target, triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(l.module, triple);
    LLVMSetModuleDataLayout(l.module, layout);
    debug_begin(&l);
    define_items(&l);
    debug_end(&l);
    link_lanes(&l);
    char *host = LLVMGetHostCPUName();
    set_target(&l, target, target->native ? host : "generic");
    verify(&l);
    optimise(&l, machine);
    bool written = write_object(&l, machine, object_path, diag);
    LLVMDisposeMessage(host);
    LLVMDisposeTargetData(layout);
    LLVMDisposeTargetMachine(machine);
    LLVMDisposeBuilder(l.builder);
    LLVMDisposeModule(l.module);
    LLVMContextDispose(l.context);
    arena_free(l.arena);
    return written;
}
