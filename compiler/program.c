/* program.c: the last steps from a compiled spec to a program file (program.h),
 * for `build` and for `check`, so that what is checked is made as what is
 * trained. */
#define _GNU_SOURCE
#include "program.h"
#include "../ir/prog_make.h"
#include "link.h"
#include "package.h"
#include "plugin.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int program_finish(Diag *diag, Compiled *compiled)
{
    Prog *prog = compiled->prog;
    prog_prune(prog);
    prog_verify(prog);
    if (!package_is_name(prog->name)) {
        diag_error(diag, compiled->spec->loc[KEY_name],
                   "`%s` cannot name files: wanted letters, digits, `.`, `_`, "
                   "`-`", prog->name);
        return WRONG_INPUT;
    }
    package_stamp(prog, "target", "", "PROGRAM_TARGET");
    package_stamp(prog, "features", "", "PROGRAM_FEATURES");
    package_stamp(prog, "source_hash", "", NULL);
    package_stamp(prog, "source_hash", package_source_hash(prog), NULL);
    return DONE;
}

int program_link(Diag *diag, Prog *prog, const Target *target,
                 const Place *place, const char *output)
{
    package_stamp(prog, "target", target->text, NULL);
    package_stamp(prog, "features", target->features, NULL);
    EmitLlvm *emit = plugin_load(diag, place->directory);
    if (!emit)
        return LACKING;
    int object = memfd_create("object", 0);
    if (object < 0) {
        diag_error_at(diag, "trainwright", "no anonymous file: %s",
                      strerror(errno));
        return LACKING;
    }
    const char *path = arena_printf(diag->arena, "/proc/self/fd/%d", object);
    int status = LACKING;
    if (emit(prog, &target->emit, path, diag))
        status = link_program(diag, path, target->emit.level, output);
    close(object);
    return status;
}
