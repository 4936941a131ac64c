/* ir_check.c: reads IR text, verifies it and prints it again: what the golden
 * tests of tests/ir/run.sh compare. Diagnostics go to stderr.
 *     ir_check FILE [NAME]       NAME: as what the file is known in messages */
#include "../../ir/ir.h"
#include <stdlib.h>

static bool read_file(const char *path, Buf *text)
{
    FILE *file = fopen(path, "rb");
    char piece[4096];
    if (!file)
        return false;
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_add(text, piece, n);
    fclose(file);
    return true;
}

int main(int argc, char **argv)
{
    Buf text = {0}, again = {0}, why = {0};
    if (argc < 2 || !read_file(argv[1], &text))
        return 2;
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    int source = diag_source(diag, argc > 2 ? argv[2] : argv[1], text.text ? text.text : "",
                             text.length);
    Module *m = module_parse(diag, arena, source);
    bool fine = m && module_verify(m, &why);
    if (m && !fine)
        fprintf(stderr, "%s\n", why.text);
    if (fine) {
        module_print(m, &again);
        fputs(again.text, stdout);
    }
    diag_print(diag, stderr);
    arena_free(arena);
    buf_free(&text);
    buf_free(&again);
    buf_free(&why);
    return fine ? 0 : 1;
}
