/* fuzz_ir.c: any bytes as IR text. What is read and verified must print to a text
 * that reads to the same module; where it is small, every step must run or be
 * refused. Build with -fsanitize=fuzzer,address,undefined and ir/, runtime/tables.c,
 * runtime/elementary.c; seeds: tests/ir/text, tests/ir/wrong. */
#include "../../ir/ir.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static Module *parse(Arena *arena, const char *text, size_t length)
{
    Diag *diag = diag_new(arena);
    return module_parse(diag, arena, diag_source(diag, "fuzz", text, length));
}

static bool is_small(const Module *m)
{
    int64_t size = 0;
    for (int i = 0; i < m->dims.count; i++)
        if (m->dims.at[i].size > 12)
            return false;
    for (int i = 0; i < m->funcs.count; i++)
        size += m->funcs.at[i]->values.count;
    for (int i = 0; i < m->steps.count; i++)
        if (m->steps.at[i]->batch > 6 || m->steps.at[i]->sequence > 9)
            return false;
    return size < 200 && m->weights.count < 20;
}

static void add_tensor(Arena *arena, Tensors *to, const char *name, int rank, const int64_t *dims)
{
    Tensor t = { .name = name, .rank = rank };
    int64_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= t.dims[i] = dims[i];
    t.values = arena_alloc(arena, (size_t)(count + 1) * sizeof(double));
    for (int64_t i = 0; i < count; i++)
        t.values[i] = (double)(i % 3) * (rank == 2 ? 1 : 0.5);
    list_push(arena, &to->list, t);
}

/* Inputs for all weights, copy by copy, and a batch of the step's size. */
static Tensors inputs_for(Arena *arena, const Module *m, const Step *step)
{
    Tensors in = {0};
    int blocks = module_find_dim(m, "L");
    for (int i = 0; i < m->weights.count; i++) {
        const Weight *w = &m->weights.at[i];
        int64_t dims[MAX_RANK], copies = w->per_block ? m->dims.at[blocks].size : 1;
        for (int d = 0; d < w->type.rank; d++)
            dims[d] = m->dims.at[w->type.dims[d]].size;
        for (int64_t b = 0; b < copies; b++)
            add_tensor(arena, &in, w->per_block
                       ? arena_printf(arena, "blocks.%lld.%s", (long long)b, w->name) : w->name,
                       w->type.rank, dims);
    }
    add_tensor(arena, &in, "tokens", 2, (int64_t[]){ step->batch, step->sequence });
    add_tensor(arena, &in, "targets", 2, (int64_t[]){ step->batch, step->sequence });
    for (int i = 0; step_scalars[i]; i++)
        add_tensor(arena, &in, step_scalars[i], 1, (int64_t[]){ 1 });
    return in;
}

static void run_all(Arena *arena, const Module *m)
{
    for (int i = 0; i < m->steps.count; i++) {
        Tensors in = inputs_for(arena, m, m->steps.at[i]);
        Interpretation run = { .arithmetic = i % 2 ? ARITHMETIC_F64 : ARITHMETIC_F32, .in = &in };
        Buf why = {0};
        module_interpret(m, m->steps.at[i]->name, arena, &run, &why);
        buf_free(&why);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Arena *arena = arena_new();
    Buf why = {0}, first = {0}, second = {0};
    Module *m = parse(arena, (const char *)bytes, size);
    if (m && module_verify(m, &why)) {
        module_print(m, &first);
        Module *again = parse(arena, first.text, first.length);
        if (!again)
            abort();
        module_print(again, &second);
        if (strcmp(first.text, second.text) || !module_verify(again, &why))
            abort();
        if (is_small(m))
            run_all(arena, m);
    }
    buf_free(&why);
    buf_free(&first);
    buf_free(&second);
    arena_free(arena);
    return 0;
}
