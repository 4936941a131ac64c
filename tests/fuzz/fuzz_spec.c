/* fuzz_spec.c: libFuzzer on the front end. An input is a spec's file; what comes
 * after a first byte 0xFE is a --set. Besides not crashing, two things must hold:
 * nothing fails without a diagnostic, and a resolved spec loads to itself.
 *
 *     clang-19 -std=gnu11 -g -O1 -DARENA_EACH \
 *         -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         tests/fuzz/fuzz_spec.c compiler/spec/[!c]*.c ir/base.c -lyaml -lm */
#define _GNU_SOURCE
#include "../../compiler/spec/spec.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loads a text through a file in memory. NULL: with what was reported. */
static Spec *load(Arena *arena, Diag *diag, const void *text, size_t size, const char *set)
{
    char path[64];
    int file = memfd_create("spec", MFD_CLOEXEC);
    if (file < 0 || write(file, text, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    SpecSources from = { .path = path, .sets = &set, .set_count = set != NULL };
    Spec *spec = spec_load(diag, arena, &from);
    close(file);
    if (!spec && !diag->errors)
        abort();
    return diag->errors ? NULL : spec;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new();
    const uint8_t *cut = size ? memchr(data, 0xfe, size) : NULL;
    size_t length = cut ? (size_t)(cut - data) : size;
    const char *set = cut
        ? arena_strndup(arena, (const char *)cut + 1, size - length - 1) : NULL;
    const Spec *spec = load(arena, diag_new(arena), data, length, set);
    if (spec) {
        Buf first = {0}, second = {0};
        spec_print(spec, &first);
        Diag *diag = diag_new(arena);
        const Spec *again = load(arena, diag, first.text, first.length, NULL);
        if (!again) {
            diag_print(diag, stderr);
            abort();
        }
        spec_print(again, &second);
        if (strcmp(first.text, second.text))
            abort();
        buf_free(&first);
        buf_free(&second);
    }
    arena_free(arena);
    return 0;
}
