/* prog.h: Prog, the program before it is printed. A Prog is a small imperative
 * program (records, constants, functions of statements, constant data) in which
 * every decision is taken: buffers have offsets, sums their order, threads their
 * barriers. The C emitter prints it and the LLVM emitter translates it, node by
 * node, so both say the same thing by construction.
 *
 * Values are i32, i64, f32, f64, f32x16 (16 f32 lanes) and pointers. Arithmetic
 * is IEEE without contraction; between an f32x16 and an f32 the scalar is
 * spread. There is no implicit conversion but that one and i32 -> i64. */
#ifndef PROG_H
#define PROG_H
#include "base.h"

typedef enum ProgKind {
    PK_VOID, PK_I32, PK_I64, PK_U32, PK_U64, PK_F32, PK_F64, PK_F32X16,
    PK_POINTER,         /* to `of`, perhaps const */
    PK_RECORD,          /* a struct, only as a local variable or a pointer's target */
    PK_TEXT,            /* const char *, only in data and records */
    PK_ENTRY,           /* pointer to a step's function, only in data and records */
} ProgKind;

typedef struct ProgType {
    ProgKind kind;
    ProgKind of;                    /* PK_POINTER: what to (PK_RECORD: `record`) */
    const struct ProgRecord *record;
    bool is_const;                  /* PK_POINTER: to const */
    bool is_restrict;               /* PK_POINTER, parameters only: no alias */
} ProgType;

typedef struct ProgField {
    const char *name;
    ProgType type;
    const char *comment;            /* "[rows, C]  spec.yaml:11", or NULL */
} ProgField;

typedef struct ProgRecord {
    const char *name;               /* "Block" */
    const char *comment;
    List(ProgField) fields;
    bool external;                  /* declared by a runtime header */
} ProgRecord;

/* A named integer: a dim or an offset. Printed by name in C. */
typedef struct ProgConst {
    const char *name;
    int64_t value;
    const char *comment;
    bool wide;                      /* in C a long, whatever its value */
    bool mentioned;                 /* a comment speaks of it */
} ProgConst;

typedef struct ProgVar {
    const char *name;               /* unique in its function */
    const char *base;               /* the name asked for: C prints it where it can */
    ProgType type;
    int number;                     /* unique in its function */
} ProgVar;

typedef enum ProgExprKind {
    PE_INT,             /* integer: i64 unless type says i32/u32/u64 */
    PE_CONST,           /* constant->value, i64 */
    PE_F32, PE_F64,     /* number (an f32 is exactly representable) */
    PE_NULL,            /* null pointer of `type` */
    PE_VAR,             /* variable */
    PE_NEG,             /* -a */
    PE_ADD, PE_SUB, PE_MUL, PE_DIV, PE_REM,         /* a op b */
    PE_LT, PE_LE, PE_EQ, PE_NE, PE_AND, PE_OR,      /* scalars, gives i32 0 or 1 */
    PE_SELECT,          /* a ? b : c, scalars or pointers; only one is computed */
    PE_LOAD,            /* a[b]: an element */
    PE_OFFSET,          /* a + b: a pointer b elements on */
    PE_FIELD,           /* a->field (a: pointer to record) or a.field (a: record variable) */
    PE_ADDRESS,         /* &a: a record variable */
    PE_CAST,            /* (type)a: between scalars; between pointers into the arena */
    PE_CALL,            /* callee(args) */
    PE_DATA,            /* data: a pointer to its first row */
} ProgExprKind;

typedef struct ProgExpr {
    ProgExprKind kind;
    ProgType type;
    int64_t integer;
    double number;
    const ProgConst *constant;
    const ProgVar *variable;
    const char *field;
    const struct ProgFunc *callee;
    const struct ProgData *data;
    struct ProgExpr *a, *b, *c;
    List(struct ProgExpr *) args;
    Loc origin;                     /* the line of the spec it comes from */
} ProgExpr;

typedef enum ProgStmtKind {
    PS_LET,             /* declare variable, = a unless a is NULL (a record: zeroed) */
    PS_SET,             /* variable = a */
    PS_STORE,           /* a[b] = c */
    PS_FIELD_SET,       /* a->field = b, or a.field = b */
    PS_DO,              /* a, a call made for its effect */
    PS_FOR,             /* for (variable = a; variable < b; variable += c) body; i64 */
    PS_FOR_DOWN,        /* for (variable = b - 1; variable >= a; variable--) body */
    PS_IF,              /* if (a) body else other */
    PS_RETURN,          /* a or NULL */
    PS_COMMENT,         /* text; nothing in a binary */
} ProgStmtKind;

typedef struct ProgBlock { List(struct ProgStmt *) statements; } ProgBlock;

typedef struct ProgStmt {
    ProgStmtKind kind;
    ProgVar *variable;
    ProgExpr *a, *b, *c;
    const char *field;
    const char *text;
    ProgBlock body, other;
    Loc origin;
} ProgStmt;

typedef enum ProgLinkage {
    PL_STATIC,          /* of this program */
    PL_LIBRARY,         /* compiled in runtime/ (kernels.h, program.h): only declared */
    PL_COLLECTIVE,      /* the same, of collectives.h */
    PL_LANES,           /* runtime/kernels' inline lane functions: bitcode, always inlined */
} ProgLinkage;

typedef struct ProgFunc {
    const char *name;
    const char *comment;            /* a sentence; shapes; or NULL */
    ProgType result;
    List(ProgVar *) params;
    ProgBlock body;
    ProgLinkage linkage;
    bool inlined;                   /* small: ask for inlining */
    int variables;                  /* how many numbers are used */
    List(const char *) names;       /* of its variables */
    Loc origin;
} ProgFunc;

typedef struct ProgDatum {          /* a field's value in constant data */
    enum { PD_INT, PD_FLOAT, PD_TEXT, PD_DATA, PD_FUNC, PD_NULL } kind;
    int64_t integer;
    const ProgConst *constant;      /* PD_INT: C says it as `times` of this; */
    int64_t times;                  /* NULL: as the number */
    double number;
    const char *text;               /* may be long (the spec) */
    const char *macro;              /* PD_TEXT: C takes it from this macro of the
                                       runtime; NULL: from text */
    const struct ProgData *data;    /* PD_DATA: address of its first row */
    const ProgFunc *func;
} ProgDatum;

/* In C a comment above row `row` of a table. */
typedef struct ProgHeading { int row; const char *text; } ProgHeading;

/* static const RECORD name[count] = {…}, or one RECORD (exported) when !array. */
typedef struct ProgData {
    const char *name;
    const ProgRecord *record;
    bool array, exported;
    bool terse;                     /* in C rows side by side, without names */
    List(ProgHeading) headings;
    bool external;                  /* only declared: another file exports it */
    int rows;
    List(ProgDatum) values;         /* rows × fields, in the record's order */
} ProgData;

typedef struct ProgItem {           /* the file, in order */
    enum { PI_COMMENT, PI_CONSTS, PI_RECORD, PI_FUNC, PI_DATA } kind;
    const char *text;               /* PI_COMMENT; PI_CONSTS: a comment or NULL */
    bool wide;                      /* PI_CONSTS */
    List(ProgConst *) consts;       /* one enum */
    ProgRecord *record;
    ProgFunc *func;
    ProgData *data;
} ProgItem;

typedef struct Prog {
    Arena *arena;
    const Diag *diag;               /* names of sources, for origins */
    const char *name;               /* the spec's name */
    const char *head;               /* text of the file's opening comment */
    List(ProgItem) items;           /* in order of definition: callees first */
    List(ProgFunc *) externs;       /* PL_LIBRARY and PL_LANES functions it calls */
    List(ProgRecord *) runtime_records; /* of runtime headers, as far as asked for */
    List(const char *) names;       /* taken at file scope */
    const ProgFunc *main;           /* int main(int argc, char **argv) is made by
                                       emitters: return trainwright_main(&program, …) */
    Loc here;                       /* the origin that constructors give to nodes */
} Prog;
#endif
