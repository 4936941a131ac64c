/* plugin.c: finds and loads the LLVM back end (plugin.h). */
#include "plugin.h"
#include "version.h"
#include <dlfcn.h>
#include <unistd.h>

/* The plugin's path where there is one, else NULL. */
static const char *find(Arena *arena, const char *beside)
{
    static const char *const places[] = {
        "trainwright-llvm.so", "build/trainwright-llvm.so",
        "../lib/trainwright/trainwright-llvm.so",
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = arena_printf(arena, "%s/%s", beside, places[i]);
        if (access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

EmitLlvm *plugin_load(Diag *diag, const char *beside)
{
    const char *path = find(diag->arena, beside);
    if (!path) {
        diag_error_at(diag, "trainwright",
                      "trainwright-llvm.so is not beside the "
                      "compiler, in %s",
                      beside);
        diag_hint(diag, "`make` builds it; `--via cc` builds without LLVM");
        return NULL;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        diag_error_at(diag, "trainwright", "LLVM cannot be loaded: %s",
                      dlerror());
        diag_hint(diag,
                  "apt-get install libllvm19; `--via cc` builds without LLVM");
        return NULL;
    }
    const char *version = dlsym(module, "emit_llvm_version");
    void *symbol = dlsym(module, "emit_llvm");
    if (!symbol || !version || strcmp(version, TRAINWRIGHT_VERSION) != 0) {
        diag_error_at(diag, path, "is not of this compiler (%s)",
                      TRAINWRIGHT_VERSION);
        return NULL;
    }
    EmitLlvm *emit;
    memcpy(&emit, &symbol, sizeof emit);
    return emit;
}
