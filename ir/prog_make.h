/* prog_make.h: constructors of a Prog (prog.h), for the lowering and for tests.
 *
 * Read in the order types, expressions (px_), statements (ps_), declarations
 * (prog_). Every constructor takes the Prog first, gives its node the origin
 * `p->here`, derives its type and ends the process with ice() on misuse: a Prog
 * that was built has no type errors. Integer arithmetic is folded where an
 * operand is a literal that changes nothing (x·1, x + 0) or both are
 * literals. */
#ifndef PROG_MAKE_H
#define PROG_MAKE_H
#include "prog.h"

/* ---- types --------------------------------------------------------------- */
static inline ProgType prog_void(void) { return (ProgType){.kind = PK_VOID}; }
static inline ProgType prog_i32(void) { return (ProgType){.kind = PK_I32}; }
static inline ProgType prog_i64(void) { return (ProgType){.kind = PK_I64}; }
static inline ProgType prog_u32(void) { return (ProgType){.kind = PK_U32}; }
static inline ProgType prog_u64(void) { return (ProgType){.kind = PK_U64}; }
static inline ProgType prog_f32(void) { return (ProgType){.kind = PK_F32}; }
static inline ProgType prog_f64(void) { return (ProgType){.kind = PK_F64}; }
static inline ProgType prog_f32x16(void)
{
    return (ProgType){.kind = PK_F32X16};
}
static inline ProgType prog_text(void) { return (ProgType){.kind = PK_TEXT}; }
static inline ProgType prog_entry(void) { return (ProgType){.kind = PK_ENTRY}; }
static inline ProgType prog_pointer(ProgKind of, bool is_const)
{
    return (ProgType){.kind = PK_POINTER, .of = of, .is_const = is_const};
}
static inline ProgType prog_pointer_to(const ProgRecord *record, bool is_const)
{
    return (ProgType){.kind = PK_POINTER, .of = PK_RECORD, .record = record,
                      .is_const = is_const};
}
static inline ProgType prog_record_type(const ProgRecord *record)
{
    return (ProgType){.kind = PK_RECORD, .record = record};
}
/* The same pointer, promising no alias: for parameters. */
static inline ProgType prog_restrict(ProgType pointer)
{
    pointer.is_restrict = true;
    return pointer;
}
static inline bool prog_is_integer(ProgKind kind)
{
    return kind == PK_I32 || kind == PK_I64 || kind == PK_U32 || kind == PK_U64;
}
static inline bool prog_is_signed(ProgKind kind)
{
    return kind == PK_I32 || kind == PK_I64;
}
static inline bool prog_is_float(ProgKind kind)
{
    return kind == PK_F32 || kind == PK_F64 || kind == PK_F32X16;
}
/* "const float *", for messages; as C spells it. The arena holds the text. */
const char *prog_type_text(Arena *arena, ProgType type);
/* Bytes of a value of this kind on every target (pointers: 8); 0 for PK_VOID
 * and PK_RECORD. It is also the alignment. */
int prog_kind_bytes(ProgKind kind);

/* ---- a program ----------------------------------------------------------- */
Prog *prog_new(Arena *arena, const Diag *diag, const char *name);

/* ---- expressions --------------------------------------------------------- */
/* An i64, which takes the type of an integer that it meets if it fits. */
ProgExpr *px_int(Prog *p, int64_t value);
ProgExpr *px_i32(Prog *p, int32_t value);
ProgExpr *px_const(Prog *p, const ProgConst *constant);
ProgExpr *px_f32(Prog *p, double value);        /* rounded to f32 */
ProgExpr *px_f64(Prog *p, double value);
ProgExpr *px_null(Prog *p, ProgType pointer);
ProgExpr *px_var(Prog *p, const ProgVar *variable);
ProgExpr *px_neg(Prog *p, ProgExpr *a);
ProgExpr *px_add(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_sub(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_mul(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_div(Prog *p, ProgExpr *a, ProgExpr *b); /* integers: towards 0 */
ProgExpr *px_rem(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_lt(Prog *p, ProgExpr *a, ProgExpr *b);     /* compares are i32, */
ProgExpr *px_le(Prog *p, ProgExpr *a, ProgExpr *b);     /* false on a NaN */
ProgExpr *px_eq(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_ne(Prog *p, ProgExpr *a, ProgExpr *b);     /* (but this one) */
ProgExpr *px_and(Prog *p, ProgExpr *a, ProgExpr *b);    /* b only if a */
ProgExpr *px_or(Prog *p, ProgExpr *a, ProgExpr *b);
ProgExpr *px_select(Prog *p, ProgExpr *condition, ProgExpr *a, ProgExpr *b);
ProgExpr *px_load(Prog *p, ProgExpr *pointer, ProgExpr *index);
ProgExpr *px_offset(Prog *p, ProgExpr *pointer, ProgExpr *index);
/* Of a record (a variable, or an element by px_load) or of a pointer to one. */
ProgExpr *px_field(Prog *p, ProgExpr *record, const char *field);
ProgExpr *px_address(Prog *p, ProgExpr *record);
ProgExpr *px_cast(Prog *p, ProgType type, ProgExpr *a);
/* An array of constant data. */
ProgExpr *px_data(Prog *p, const ProgData *data);
ProgExpr *px_call(Prog *p, const ProgFunc *func, int n, ProgExpr *const *args);
/* px_call with the arguments listed, then NULL. */
ProgExpr *px_callv(Prog *p, const ProgFunc *func, ...)
    __attribute__((sentinel));

/* ---- statements: each is appended to the block --------------------------- */
/* value NULL: a record, zeroed. */
void ps_let(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *value);
void ps_set(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *value);
void ps_store(Prog *p, ProgBlock *block, ProgExpr *pointer, ProgExpr *index,
              ProgExpr *value);
void ps_field_set(Prog *p, ProgBlock *block, ProgExpr *record,
                  const char *field, ProgExpr *value);
void ps_do(Prog *p, ProgBlock *block, ProgExpr *call);
/* for (variable = from; variable < to; variable += step): the body, to fill.
 * `to` is evaluated before every turn, so keep it to names and arithmetic. */
ProgBlock *ps_for(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *from,
                  ProgExpr *to, ProgExpr *step);
/* for (variable = to - 1; variable >= from; variable--). */
ProgBlock *ps_for_down(Prog *p, ProgBlock *block, ProgVar *variable,
                       ProgExpr *from, ProgExpr *to);
/* The body; *other (unless NULL) is the block for `else`, dropped if left
 * empty. */
ProgBlock *ps_if(Prog *p, ProgBlock *block, ProgExpr *condition,
                 ProgBlock **other);
void ps_return(Prog *p, ProgBlock *block, ProgExpr *value_or_null);
void ps_comment(Prog *p, ProgBlock *block, const char *text);

/* ---- declarations -------------------------------------------------------- */
/* Names become C identifiers: other characters turn into `_`, and a name that
 * is taken gets a suffix 2, 3 … (in C, where variables of one name never meet
 * in a scope, all keep it); a record's fields must not clash. */
void prog_add_comment(Prog *p, const char *text);
/* A group is one enum; its number is for prog_const. */
int prog_add_const_group(Prog *p, const char *comment);
/* The same for offsets, which outgrow an int in larger models: a list of
 * #define, whatever their values, so that a deep model reads as a shallow one
 * does. */
int prog_add_wide_group(Prog *p, const char *comment);
ProgConst *prog_const(Prog *p, int group, const char *name, int64_t value,
                      const char *comment);
/* A record, already among the items; fill it with prog_field. */
ProgRecord *prog_record(Prog *p, const char *name, const char *comment);
void prog_field(Prog *p, ProgRecord *record, const char *name, ProgType type,
                const char *comment);
/* A function, not yet among the items: prog_define adds it when it is
 * complete. */
ProgFunc *prog_func(Prog *p, const char *name, const char *comment,
                    ProgType result);
ProgVar *prog_param(Prog *p, ProgFunc *func, const char *name, ProgType type);
ProgVar *prog_local(Prog *p, ProgFunc *func, const char *name, ProgType type);
void prog_define(Prog *p, ProgFunc *func);
/* Whether two functions differ at most in their names and origins; one among
 * the items that is the same as func, or NULL. */
bool prog_same_function(const ProgFunc *a, const ProgFunc *b);
const ProgFunc *prog_find_same(const Prog *p, const ProgFunc *func);
/* "x2", "x1_2". */
const char *prog_suffixed(Arena *arena, const char *base, int number);
/* A function that is only declared, one a name; n ProgTypes follow. */
ProgFunc *prog_extern(Prog *p, const char *name, ProgLinkage linkage,
                      ProgType result, int n, ...);
/* Constant data, already among the items; values are appended in the order of
 * the record's fields, row by row. */
ProgData *prog_data(Prog *p, const char *name, const ProgRecord *record,
                    bool array, bool exported);
/* One record that another file exports: it has no values here. */
ProgData *prog_external(Prog *p, const char *name, const ProgRecord *record);
/* A comment in C above the rows that follow. */
void prog_heading(Prog *p, ProgData *data, const char *text);
void prog_datum_int(Prog *p, ProgData *data, int64_t value);
/* A constant, or so many times one: C says it by name. */
void prog_datum_const(Prog *p, ProgData *data, const ProgConst *constant,
                      int64_t times);
void prog_datum_float(Prog *p, ProgData *data, double value);
void prog_datum_text(Prog *p, ProgData *data, const char *text);
void prog_datum_data(Prog *p, ProgData *data, const ProgData *target);
void prog_datum_func(Prog *p, ProgData *data, const ProgFunc *func);
void prog_datum_null(Prog *p, ProgData *data);

/* ---- what runtime/ offers (prog_library.c) ------------------------------- */
/* A function of kernels.h or of the lanes, declared at its first use. An
 * unknown name is an ice. */
const ProgFunc *prog_library(Prog *p, const char *name);
bool prog_is_library_name(const char *name);
/* A struct of program.def ("Control", "Tensor" …) or of kernels.h ("Thread",
 * "Attention"), external. */
const ProgRecord *prog_runtime_record(Prog *p, const char *name);

/* ---- checks (prog_verify.c) ---------------------------------------------- */
/* The type of a node whose operands have theirs; ice() where they do not
 * fit. */
ProgType prog_derive(const ProgExpr *e);
/* May a value of type `from` stand where `to` is wanted? Equal types, i32 for
 * i64, and a pointer for the same pointer to const. */
bool prog_fits(ProgType to, ProgType from);
/* The field of that name, or NULL. */
const ProgField *prog_find_field(const ProgRecord *record, const char *name);
/* Types, scopes, order of definition and data of the whole program; ice(). */
void prog_verify(const Prog *p);
/* Drops functions that nothing reaches from the program's constant data, and
 * variables that nothing reads (prog_prune.c): they would be warnings in C. */
void prog_prune(Prog *p);
/* Drops what nothing reads of what a program declares (prog_unread.c): fields
 * of its records, parameters, constants that no comment mentions. */
void prog_drop_unread(Prog *p);
/* Makes one of neighbouring branches on the same condition (prog_merge.c). */
void prog_merge_branches(Prog *p);
/* Makes one of tables with the same rows, which the runtime reads (ditto). */
void prog_merge_tables(Prog *p);
#endif
