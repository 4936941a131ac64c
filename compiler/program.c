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

Sources program_sources(const Compiled *compiled)
{
    Sources sources = { .at = { compiled->prog, compiled->one_rank } };
    sources.count = compiled->one_rank ? 2 : 1;
    return sources;
}

void program_prune(Compiled *compiled)
{
    Prog *all[] = { compiled->prog, compiled->one_rank };
    for (int i = 0; i < 2 && all[i]; i++) {
        prog_prune(all[i]);
        prog_verify(all[i]);
    }
}

int program_finish(Diag *diag, Compiled *compiled)
{
    Prog *prog = compiled->prog, *all[] = { prog, compiled->one_rank };
    program_prune(compiled);
    for (int i = 0; i < 2 && all[i]; i++) {
        prog_drop_unread(all[i]);
        prog_merge_branches(all[i]);
        prog_merge_tables(all[i]);
        prog_verify(all[i]);
    }
    if (!package_is_name(prog->name)) {
        diag_error(diag, compiled->spec->loc[KEY_name],
                   "`%s` cannot name files: wanted letters, digits, `.`, `_`, "
                   "`-`", prog->name);
        return WRONG_INPUT;
    }
    const Sources sources = program_sources(compiled);
    package_stamp(prog, "target", "", "PROGRAM_TARGET");
    package_stamp(prog, "features", "", "PROGRAM_FEATURES");
    package_stamp(prog, "source_hash", "", NULL);
    package_stamp(prog, "source_hash", package_source_hash(&sources), NULL);
    return DONE;
}

/* One anonymous file for each source; how many there are now. */
static int open_objects(int *objects, int count)
{
    int made = 0;
    while (made < count && (objects[made] = memfd_create("object", 0)) >= 0)
        made++;
    return made;
}

int program_link(Diag *diag, Compiled *compiled, const Target *target,
                 const Place *place, const char *output)
{
    const Sources sources = program_sources(compiled);
    int open[MOST_SOURCES];
    const char *objects[MOST_SOURCES];
    package_stamp(compiled->prog, "target", target->text, NULL);
    package_stamp(compiled->prog, "features", target->features, NULL);
    EmitLlvm *emit = plugin_load(diag, place->directory);
    if (!emit)
        return LACKING;
    int made = open_objects(open, sources.count);
    bool good = made == sources.count;
    if (!good)
        diag_error_at(diag, "trainwright", "no anonymous file: %s",
                      strerror(errno));
    for (int i = 0; good && i < made; i++) {
        objects[i] = arena_printf(diag->arena, "/proc/self/fd/%d", open[i]);
        good = emit(sources.at[i], &target->emit, objects[i], diag);
    }
    int status = LACKING;
    if (good)
        status = link_program(diag, objects, made, target->emit.level, output);
    while (made-- > 0)
        close(open[made]);
    return status;
}
