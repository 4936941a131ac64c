/* debug.c: debug information whose source is the spec. The compile unit is the
 * YAML file, a function stands at the line it comes from, and every instruction
 * has the line of its node, so that a debugger stops at `break spec.yaml:11`
 * and a profile adds up by lines of the spec. */
#include "llvm.h"

static LLVMMetadataRef file_of(Llvm *l, int source)
{
    const Diag *diag = l->prog->diag;
    bool known = diag && source >= 0 && source < diag->sources.count;
    if (!known)
        source = 0;
    if (!l->files[source]) {
        const char *name = diag && diag->sources.count
                               ? diag->sources.at[source].name
                               : l->prog->name;
        l->files[source] = LLVMDIBuilderCreateFile(l->debug, name, strlen(name),
                                                   ".", 1);
    }
    return l->files[source];
}

void debug_begin(Llvm *l)
{
    static const char producer[] = "trainwright";
    int sources = l->prog->diag ? l->prog->diag->sources.count : 0;
    l->files = arena_alloc(l->arena, (size_t)(sources + 1) * sizeof *l->files);
    l->scopes = arena_alloc(l->arena,
                            (size_t)(sources + 1) * sizeof *l->scopes);
    l->debug = LLVMCreateDIBuilder(l->module);
    LLVMDIBuilderCreateCompileUnit(l->debug, LLVMDWARFSourceLanguageC11,
                                   file_of(l, 0), producer, sizeof producer - 1,
                                   true, "", 0, 0, "", 0, LLVMDWARFEmissionFull,
                                   0, true, false, "", 0, "", 0);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMMetadataRef version = LLVMValueAsMetadata(
        LLVMConstInt(i32, LLVMDebugMetadataVersion(), false));
    LLVMMetadataRef dwarf = LLVMValueAsMetadata(LLVMConstInt(i32, 4, false));
    LLVMAddModuleFlag(l->module, LLVMModuleFlagBehaviorWarning,
                      "Debug Info Version", 18, version);
    LLVMAddModuleFlag(l->module, LLVMModuleFlagBehaviorWarning, "Dwarf Version",
                      13, dwarf);
}

void debug_function(Llvm *l, const ProgFunc *func, LLVMValueRef function)
{
    int sources = l->prog->diag ? l->prog->diag->sources.count : 0;
    memset(l->scopes, 0, (size_t)(sources + 1) * sizeof *l->scopes);
    LLVMMetadataRef file = file_of(l, func->origin.source);
    LLVMMetadataRef type = LLVMDIBuilderCreateSubroutineType(
        l->debug, file, NULL, 0, LLVMDIFlagZero);
    unsigned line = (unsigned)func->origin.line;
    size_t length = strlen(func->name);
    l->home = func->origin;
    l->subprogram = LLVMDIBuilderCreateFunction(
        l->debug, file, func->name, length, func->name, length, file, line,
        type, true, true, line, LLVMDIFlagZero, true);
    LLVMSetSubprogram(function, l->subprogram);
    debug_at(l, func->origin);
}

/* The function's scope, or a part of it that is written in another file. */
static LLVMMetadataRef scope_of(Llvm *l, int source)
{
    if (source == l->home.source || !l->prog->diag || source < 0
        || source >= l->prog->diag->sources.count)
        return l->subprogram;
    if (!l->scopes[source])
        l->scopes[source] = LLVMDIBuilderCreateLexicalBlockFile(
            l->debug, l->subprogram, file_of(l, source), 0);
    return l->scopes[source];
}

void debug_at(Llvm *l, Loc origin)
{
    if (origin.line <= 0)
        origin = l->home;
    LLVMMetadataRef place = LLVMDIBuilderCreateDebugLocation(
        l->context, (unsigned)origin.line, (unsigned)origin.col,
        scope_of(l, origin.source), NULL);
    LLVMSetCurrentDebugLocation2(l->builder, place);
}

void debug_end(Llvm *l)
{
    LLVMDIBuilderFinalize(l->debug);
    LLVMDisposeDIBuilder(l->debug);
}
