/* emit_sample.c: writes the sample as C or as an object:
 *     emit_sample c OUT.c          emit_sample LEVEL OUT.o */
#include "sample.h"
#include "../../compiler/emit.h"
#include "../../compiler/plugin.h"
#include <stdlib.h>

static bool write_c(const Prog *p, const char *path)
{
    Buf text = {0};
    emit_c(p, &text);
    FILE *file = fopen(path, "w");
    bool written = file
                   && fwrite(text.text, 1, text.length, file) == text.length;
    if (file && fclose(file))
        written = false;
    buf_free(&text);
    return written;
}

static bool write_object(const Prog *p, const char *level, const char *path,
                         Diag *diag)
{
    EmitTarget target = {.level = level, .wide = !strcmp(level, "x86-64-v4")};
    EmitLlvm *emit = plugin_load(diag, ".");
    return emit && emit(p, &target, path, diag);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: emit_sample c|LEVEL OUT\n", stderr);
        return 2;
    }
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    const Prog *p = sample_prog(arena, diag);
    bool written = !strcmp(argv[1], "c")
                       ? write_c(p, argv[2])
                       : write_object(p, argv[1], argv[2], diag);
    diag_print(diag, stderr);
    arena_free(arena);
    return written ? 0 : 1;
}
