/* prog_library.c: what runtime/ offers to generated programs, as Prog sees it:
 * the functions of kernels.h, collectives.h and of the lanes (a table of
 * signatures) and the structs of program.def and kernels.h.
 *
 * A signature has a letter a type, the result first:
 *   v void   i i32   l i64   u u32   U u64   f f32   d f64   V f32x16
 *   p float *    P const float *    q double *    Q const double *
 *   n int *      N const int *      T const Thread *    A const Attention *
 *   D const Dispatch *    C const Chunks *
 * and in records also: t text, e entry, m Team *. */
#include "prog_make.h"
#include "../runtime/program.h"
#include <stddef.h>

typedef struct Signature {
    const char *name, *types;
    ProgLinkage linkage;
} Signature;

static const Signature signatures[] = {
    /* kernels.h */
    {"barrier", "vT", PL_LIBRARY},
    {"note_forward", "vTl", PL_LIBRARY},
    {"note_backward", "vTl", PL_LIBRARY},
    {"note_weights", "vTl", PL_LIBRARY},
    {"note_chunk", "vTl", PL_LIBRARY},
    {"note_update", "vT", PL_LIBRARY},
    {"matmul", "vTpPPPlll", PL_LIBRARY},
    {"matmul_input", "vTpPPllli", PL_LIBRARY},
    {"matmul_weight", "vTpPPllli", PL_LIBRARY},
    {"attention_forward", "vTA", PL_LIBRARY},
    {"attention_backward", "vTA", PL_LIBRARY},
    {"attention_weights", "vTAp", PL_LIBRARY},
    {"scatter_add", "vTpPNllli", PL_LIBRARY},
    {"chain_f64", "vTqPli", PL_LIBRARY},
    {"square_blocks", "qTqPl", PL_LIBRARY},
    {"norm_f64", "dQl", PL_LIBRARY},
    {"keep_rows", "vTpPlll", PL_LIBRARY},
    {"patches", "vTpPllllll", PL_LIBRARY},
    {"pool", "vTpPNllll", PL_LIBRARY},
    {"pool_spread", "vTpPNPllll", PL_LIBRARY},
    {"take_chunks", "vTpPCl", PL_LIBRARY},
    {"take_alone", "vTnNll", PL_LIBRARY},
    {"own_lengths", "vTnNC", PL_LIBRARY},
    {"pool_own", "vTpPNCll", PL_LIBRARY},
    {"pool_chunks", "vTpPNCll", PL_LIBRARY},
    {"pool_chunks_spread", "vTpPNPPCll", PL_LIBRARY},
    {"top_k", "vTpPlll", PL_LIBRARY},
    {"dispatch", "vTD", PL_LIBRARY},
    {"gather_rows", "vTpPNNll", PL_LIBRARY},
    {"collect_rows", "vTpPNPlll", PL_LIBRARY},
    {"spread_rows", "vTpPPNNll", PL_LIBRARY},
    {"gate_products", "vTpPPNlll", PL_LIBRARY},
    {"grouped_matmul", "vTpPPPNlll", PL_LIBRARY},
    {"grouped_input", "vTpPPNllli", PL_LIBRARY},
    {"grouped_weight", "vTpPPNllli", PL_LIBRARY},
    {"grouped_bias", "vTpPNlli", PL_LIBRARY},
    {"take_columns", "vTpPllll", PL_LIBRARY},
    {"take_share", "vTpPlllll", PL_LIBRARY},
    {"preference_loss", "vTqPPPfli", PL_LIBRARY},
    {"preference_grad", "vTpPPPffl", PL_LIBRARY},
    /* collectives.h */
    {"all_reduce_count", "lTll", PL_COLLECTIVE},
    {"all_reduce_f32", "vTlpl", PL_COLLECTIVE},
    {"all_reduce_into_f32", "vTlpPl", PL_COLLECTIVE},
    {"all_reduce_f64", "vTlql", PL_COLLECTIVE},
    {"reduce_scatter_f32", "vTlpl", PL_COLLECTIVE},
    {"all_gather_f32", "vTlpl", PL_COLLECTIVE},
    {"all_gather_f64", "vTlql", PL_COLLECTIVE},
    {"meet", "vTl", PL_COLLECTIVE},
    {"begin_gather_f32", "vTlpPl", PL_COLLECTIVE},
    {"end_gather_f32", "vTlpPl", PL_COLLECTIVE},
    {"own_starts", "vTlnNl", PL_COLLECTIVE},
    {"rows_fit", "vTlNlll", PL_LIBRARY},
    {"send_rows_f32", "vTlpPNNll", PL_COLLECTIVE},
    {"return_rows_f32", "vTlpPNNll", PL_COLLECTIVE},
    {"gather_chunks_f32", "vTlpPlll", PL_COLLECTIVE},
    {"sum_chunks_f32", "vTlpPlll", PL_COLLECTIVE},
    {"all_max_f32", "vTlpPl", PL_COLLECTIVE},
    {"gather_columns_f32", "vTlpPlll", PL_COLLECTIVE},
    {"gather_shares_f32", "vTlpPlll", PL_COLLECTIVE},
    {"sum_shares_f32", "vTlpPlll", PL_COLLECTIVE},
    {"broadcast_f32", "vTllpPl", PL_COLLECTIVE},
    {"broadcast_f64", "dTlld", PL_COLLECTIVE},
    {"exchange_f32", "vTlpPl", PL_COLLECTIVE},
    {"send_f32", "vTllpPl", PL_COLLECTIVE},
    {"receive_f32", "vTllpl", PL_COLLECTIVE},
    /* inline there */
    {"share_start", "lTl", PL_LANES},
    {"share_end", "lTl", PL_LANES},
    /* lanes */
    {"load16", "VP", PL_LANES},
    {"store16", "vpV", PL_LANES},
    {"load_tail", "VPl", PL_LANES},
    {"store_tail", "vpVl", PL_LANES},
    {"splat", "Vf", PL_LANES},
    {"keep", "VlVV", PL_LANES},
    {"fold_add", "fV", PL_LANES},
    {"fold_max", "fV", PL_LANES},
    {"max16", "VVV", PL_LANES},
    {"sqrt16", "VV", PL_LANES},
    {"exp16", "VV", PL_LANES},
    {"log16", "VV", PL_LANES},
    {"tanh16", "VV", PL_LANES},
    {"is_zero16", "VV", PL_LANES},
    {"erf16", "VV", PL_LANES},
    {"sigmoid16", "VV", PL_LANES},
    {"relu16", "VV", PL_LANES},
    {"gelu16", "VV", PL_LANES},
    {"gelu_tanh16", "VV", PL_LANES},
    {"silu16", "VV", PL_LANES},
    {"relu_grad16", "VV", PL_LANES},
    {"gelu_grad16", "VV", PL_LANES},
    {"gelu_tanh_grad16", "VV", PL_LANES},
    {"silu_grad16", "VV", PL_LANES},
    {"onehot16", "Vli", PL_LANES},
    {"rotate16", "VPll", PL_LANES},
    {"unrotate16", "VPll", PL_LANES},
    {"dropout16", "VUuuuuf", PL_LANES},
    {"fma16", "VVVV", PL_LANES},
    {"exp_f32", "ff", PL_LANES},
    {"log_f32", "ff", PL_LANES},
    {"tanh_f32", "ff", PL_LANES},
    {"is_zero_f32", "ff", PL_LANES},
    {"erf_f32", "ff", PL_LANES},
    {"sigmoid_f32", "ff", PL_LANES},
    {"relu_f32", "ff", PL_LANES},
    {"relu_grad_f32", "ff", PL_LANES},
    {"gelu_f32", "ff", PL_LANES},
    {"gelu_grad_f32", "ff", PL_LANES},
    {"gelu_tanh_f32", "ff", PL_LANES},
    {"gelu_tanh_grad_f32", "ff", PL_LANES},
    {"silu_f32", "ff", PL_LANES},
    {"silu_grad_f32", "ff", PL_LANES},
    {"sqrt_f32", "ff", PL_LANES},
    {"fma_f32", "ffff", PL_LANES},
    {"max_f32", "fff", PL_LANES},
    {"dropout_scale", "fUuuuuf", PL_LANES},
};
enum { SIGNATURES = sizeof signatures / sizeof *signatures };

static const Signature *find(const char *name)
{
    for (int i = 0; i < SIGNATURES; i++)
        if (!strcmp(signatures[i].name, name))
            return &signatures[i];
    return NULL;
}

bool prog_is_library_name(const char *name)
{
    return find(name) != NULL;
}

static ProgType letter_type(Prog *p, char letter)
{
    switch (letter) {
    case 'v': return prog_void();
    case 'i': return prog_i32();
    case 'l': return prog_i64();
    case 'u': return prog_u32();
    case 'U': return prog_u64();
    case 'f': return prog_f32();
    case 'd': return prog_f64();
    case 'V': return prog_f32x16();
    case 'p': return prog_pointer(PK_F32, false);
    case 'P': return prog_pointer(PK_F32, true);
    case 'q': return prog_pointer(PK_F64, false);
    case 'Q': return prog_pointer(PK_F64, true);
    case 'n': return prog_pointer(PK_I32, false);
    case 'N': return prog_pointer(PK_I32, true);
    case 't': return prog_text();
    case 'e': return prog_entry();
    case 'T': return prog_pointer_to(prog_runtime_record(p, "Thread"), true);
    case 'D':
        return prog_pointer_to(prog_runtime_record(p, "Dispatch"), true);
    case 'C': return prog_pointer_to(prog_runtime_record(p, "Chunks"), true);
    case 'A': return prog_pointer_to(prog_runtime_record(p, "Attention"), true);
    case 'm': return prog_pointer_to(prog_runtime_record(p, "Team"), false);
    }
    ice("no type has the letter %c", letter);
}

const ProgFunc *prog_library(Prog *p, const char *name)
{
    for (int i = 0; i < p->externs.count; i++)
        if (!strcmp(p->externs.at[i]->name, name))
            return p->externs.at[i];
    const Signature *signature = find(name);
    if (!signature)
        ice("the runtime has no function %s", name);
    ProgFunc *func = prog_extern(p, signature->name, signature->linkage,
                                 letter_type(p, signature->types[0]), 0);
    for (const char *letter = signature->types + 1; *letter; letter++) {
        ProgVar *variable = arena_alloc(p->arena, sizeof *variable);
        variable->name = variable->base = "";
        variable->type = letter_type(p, *letter);
        variable->number = func->variables++;
        list_push(p->arena, &func->params, variable);
    }
    return func;
}

/* ---- records ------------------------------------------------------------- */
/* A field of a runtime struct. `type` is a word of program.def or a letter;
 * `at` is where the C compiler put it, so that a change of a header cannot go
 * unseen. */
typedef struct FieldRow {
    const char *record, *type, *name;
    size_t at;
} FieldRow;

#define ROW(record, letter, name) {#record, letter, #name, offsetof(record, name)},
static const FieldRow kernel_rows[] = {
    ROW(Thread, "i", index) ROW(Thread, "i", count) ROW(Thread, "p", workspace)
    ROW(Thread, "m", team)
    ROW(Attention, "P", q) ROW(Attention, "P", k) ROW(Attention, "P", v)
    ROW(Attention, "p", out) ROW(Attention, "p", stats)
    ROW(Attention, "P", alibi) ROW(Attention, "N", edges)
    ROW(Attention, "P", q2) ROW(Attention, "P", table) ROW(Attention, "l", zero)
    ROW(Attention, "N", lengths) ROW(Attention, "l", batch)
    ROW(Attention, "l", queries) ROW(Attention, "l", keys)
    ROW(Attention, "l", key_rows) ROW(Attention, "l", pos)
    ROW(Attention, "l", heads) ROW(Attention, "l", kv_heads)
    ROW(Attention, "l", head_dim) ROW(Attention, "l", window)
    ROW(Attention, "i", causal) ROW(Attention, "f", scale)
    ROW(Attention, "f", rate) ROW(Attention, "u", site)
    ROW(Attention, "u", step) ROW(Attention, "U", seed)
    ROW(Attention, "l", sequence) 
    ROW(Attention, "l", all_queries) ROW(Attention, "l", head)
    ROW(Attention, "l", all_heads) ROW(Attention, "P", dout)
    ROW(Attention, "p", dq) ROW(Attention, "p", dk) ROW(Attention, "p", dv)
    ROW(Attention, "p", dq2) ROW(Attention, "p", dtable)
    ROW(Attention, "l", table_rows) ROW(Attention, "i", dtable_init)
    ROW(Dispatch, "n", starts) ROW(Dispatch, "n", order)
    ROW(Dispatch, "n", place) ROW(Dispatch, "P", keep)
    ROW(Dispatch, "N", lengths) ROW(Dispatch, "l", batch)
    ROW(Dispatch, "l", sequence) ROW(Dispatch, "l", experts)
    ROW(Dispatch, "l", k) ROW(Dispatch, "l", numerator)
    ROW(Dispatch, "l", denominator)
    ROW(Chunks, "l", batch) ROW(Chunks, "l", tokens)
    ROW(Chunks, "l", rank) ROW(Chunks, "l", ranks)
};
#undef ROW
enum { KERNEL_ROWS = sizeof kernel_rows / sizeof *kernel_rows };

static const struct { const char *word, *letter; } words[] = {
    {"text", "t"}, {"i32", "i"}, {"i64", "l"}, {"u64", "U"}, {"f32", "f"}, {"f64", "d"},
    {"floats", "p"}, {"doubles", "q"}, {"ints", "n"}, {"entry", "e"},
};

static ProgType word_type(Prog *p, const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].word, word))
            return letter_type(p, words[i].letter[0]);
    if (!strncmp(word, "many(", 5) || !strncmp(word, "one(", 4)) {
        const char *from = strchr(word, '(') + 1;
        const char *name = arena_strndup(p->arena, from, strlen(from) - 1);
        return prog_pointer_to(prog_runtime_record(p, name), true);
    }
    ice("program.def has the type %s", word);
}

/* Appends a field, which must lie where the C compiler has it. */
static size_t place(Prog *p, ProgRecord *record, ProgType type,
                    const FieldRow *row, size_t end)
{
    size_t bytes = (size_t)prog_kind_bytes(type.kind);
    size_t at = (end + bytes - 1) / bytes * bytes;
    if (at != row->at)
        ice("%s.%s is at %zu, here at %zu", row->record, row->name, row->at,
            at);
    prog_field(p, record, row->name, type, NULL);
    return at + bytes;
}

static void add_kernel_fields(Prog *p, ProgRecord *record)
{
    size_t end = 0;
    for (int i = 0; i < KERNEL_ROWS; i++)
        if (!strcmp(kernel_rows[i].record, record->name))
            end = place(p, record, letter_type(p, kernel_rows[i].type[0]),
                        &kernel_rows[i], end);
}

static void add_program_fields(Prog *p, ProgRecord *record)
{
    size_t end = 0;
#define RECORD(r) if (!strcmp(record->name, #r)) { typedef r Record;
#define FIELD(t, f)                                                            \
    end = place(p, record, word_type(p, #t),                                   \
                &(FieldRow){record->name, #t, #f, offsetof(Record, f)}, end);
#define END(r) }
#include "../runtime/program.def"
#undef RECORD
#undef FIELD
#undef END
}

const ProgRecord *prog_runtime_record(Prog *p, const char *name)
{
    for (int i = 0; i < p->runtime_records.count; i++)
        if (!strcmp(p->runtime_records.at[i]->name, name))
            return p->runtime_records.at[i];
    ProgRecord *record = arena_alloc(p->arena, sizeof *record);
    record->name = arena_strdup(p->arena, name);
    record->external = true;
    list_push(p->arena, &p->runtime_records, record);
    add_kernel_fields(p, record);
    add_program_fields(p, record);
    if (!record->fields.count && strcmp(name, "Team") != 0)
        ice("the runtime has no struct %s", name);
    return record;
}
