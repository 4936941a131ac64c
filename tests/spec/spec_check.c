/* spec_check.c: loads a spec and prints it resolved on stdout, or what is wrong
 * with it on stderr. The driver of the golden tests in this directory.
 *
 *     spec_check SPEC.yaml [-f OVERLAY.yaml]... [--set KEY=VALUE]...
 *     spec_check command schema|explain|models|init ARGUMENTS... [MODELS]
 *     spec_check command keys                          every path, a line each
 *     spec_check command capacity SPEC.yaml            as a fraction
 *
 * Status: 0 loaded, 1 the spec is wrong, 2 wrong usage; or the command's. */
#include "../../compiler/spec/commands.h"
#include "../../compiler/spec/spec.h"

enum { MOST = 64 };

typedef struct Arguments {
    const char *overlays[MOST], *sets[MOST];
    SpecSources sources;
} Arguments;

static bool parse_arguments(int argc, char **argv, Arguments *out)
{
    SpecSources *from = &out->sources;
    for (int i = 1; i < argc; i++) {
        bool overlay = !strcmp(argv[i], "-f"), set = !strcmp(argv[i], "--set");
        bool valued = i + 1 < argc && from->overlay_count < MOST && from->set_count < MOST;
        if (overlay && valued)
            out->overlays[from->overlay_count++] = argv[++i];
        else if (set && valued)
            out->sets[from->set_count++] = argv[++i];
        else if (!overlay && !set && !from->path)
            from->path = argv[i];
        else
            return false;
    }
    from->overlays = out->overlays;
    from->sets = out->sets;
    return from->path;
}

static int print_capacity(const char *path)
{
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    const Spec *spec = spec_load(diag, arena, &(SpecSources){ .path = path });
    int64_t numerator = -1, denominator = -1;
    bool good = diag_print(diag, stderr) && spec && spec_capacity(spec, &numerator, &denominator);
    printf("capacity (%lld/%lld)\n", (long long)numerator, (long long)denominator);
    arena_free(arena);
    return good ? 0 : 1;
}

/* The commands that need the shipped specs have their directory last. */
static int run_command(int argc, char **argv)
{
    if (!strcmp(argv[0], "schema"))
        return command_schema(argc, argv);
    if (!strcmp(argv[0], "capacity") && argc == 2)
        return print_capacity(argv[1]);
    if (!strcmp(argv[0], "explain"))
        return command_explain(argc, argv);
    if (!strcmp(argv[0], "models") && argc > 1)
        return command_models(argc - 1, argv, argv[argc - 1]);
    if (!strcmp(argv[0], "init") && argc > 1)
        return command_init(argc - 1, argv, argv[argc - 1]);
    for (int i = 0; i < KEY_COUNT; i++)
        printf("%s\n", key_info((KeyId)i)->path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "command"))
        return run_command(argc - 2, argv + 2);
    Arguments arguments = {0};
    if (!parse_arguments(argc, argv, &arguments)) {
        fprintf(stderr, "usage: spec_check SPEC.yaml [-f FILE]... [--set KEY=VALUE]...\n");
        return 2;
    }
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    const Spec *spec = spec_load(diag, arena, &arguments.sources);
    bool good = diag_print(diag, stderr) && spec;
    if (good) {
        Buf text = {0};
        spec_print(spec, &text);
        fwrite(text.text, 1, text.length, stdout);
        buf_free(&text);
    }
    arena_free(arena);
    return good ? 0 : 1;
}
