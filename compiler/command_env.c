/* command_env.c: `env`: what the compiler found on this machine. */
#include "commands.h"
#include "child.h"
#include "link.h"
#include "plugin.h"
#include "target.h"
#include "version.h"

static const char usage[] =
    "usage: trainwright env\n"
    "Says what was found on this machine: LLVM, lld, a C compiler, CPU levels.\n";

/* The first line that $CC (or cc) says of itself. */
static void print_cc(void)
{
    static const char *const argv[] = {"/bin/sh", "-c",
                                       "exec ${CC:-cc} --version", NULL};
    Buf says = {0};
    bool good = child_run(argv, NULL, &says) == 0 && says.text;
    printf("cc       %.*s\n", good ? (int)strcspn(says.text, "\n") : 200,
           good ? says.text : "none: `--via cc` needs one ($CC, or cc)");
    buf_free(&says);
}

static void print_llvm(Diag *diag, const Place *place)
{
    const char *version = NULL;
    bool llvm = plugin_load(diag, place->directory) != NULL;
    printf("llvm     %s\n", llvm ? "found" : "none: `--via llvm` needs it");
    const char *lld = link_find_lld(diag->arena, &version);
    printf("lld      %s\n", lld ? version : "none: `--via llvm` needs it "
                                            "(apt-get install lld-19)");
    if (lld)
        printf("         %s\n", lld);
}

int command_env(int argc, char **argv, const Place *place)
{
    bool help = argc > 1
                && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
    if (argc > 1 && !help) {
        fprintf(stderr, "trainwright env: unexpected argument `%s`\n%s",
                argv[1], usage);
        return WRONG_USAGE;
    }
    if (help) {
        fputs(usage, stdout);
        return DONE;
    }
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    printf("version  %s\nplace    %s\n", TRAINWRIGHT_VERSION, place->directory);
    print_llvm(diag, place);
    print_cc();
    for (const char *const *level = target_levels(); *level; level++)
        printf("cpu      %s: %s\n", *level, target_here(*level) ? "yes" : "no");
    diag_print(diag, stderr);
    arena_free(arena);
    return DONE;
}
