/* prog.c: the constructors of prog_make.h. Read node() and prog_derive (in
 * prog_verify.c) first: every expression is made by the one and typed by the
 * other. Folding keeps printed programs free of `x * 1 + 0`. */
#include "prog_make.h"

/* ---- a program and its types --------------------------------------------- */
Prog *prog_new(Arena *arena, const Diag *diag, const char *name)
{
    Prog *p = arena_alloc(arena, sizeof *p);
    p->arena = arena;
    p->diag = diag;
    p->name = arena_strdup(arena, name);
    return p;
}

static const struct { const char *name; int bytes; } kinds[] = {
    [PK_VOID] = {"void", 0},
    [PK_I32] = {"int", 4},
    [PK_I64] = {"long", 8},
    [PK_U32] = {"uint32_t", 4},
    [PK_U64] = {"uint64_t", 8},
    [PK_F32] = {"float", 4},
    [PK_F64] = {"double", 8},
    [PK_F32X16] = {"f32x16", 64},
    [PK_POINTER] = {"pointer", 8},
    [PK_RECORD] = {"record", 0},
    [PK_TEXT] = {"const char *", 8},
    [PK_ENTRY] = {"program_entry", 8},
};

int prog_kind_bytes(ProgKind kind)
{
    return kinds[kind].bytes;
}

const char *prog_type_text(Arena *arena, ProgType type)
{
    if (type.kind == PK_RECORD)
        return type.record->name;
    if (type.kind != PK_POINTER)
        return kinds[type.kind].name;
    const char *of = type.of == PK_RECORD ? type.record->name
                                          : kinds[type.of].name;
    return arena_printf(arena, "%s%s *%s", type.is_const ? "const " : "", of,
                        type.is_restrict ? "restrict " : "");
}

/* ---- expressions --------------------------------------------------------- */
static ProgExpr *node(Prog *p, ProgExprKind kind)
{
    ProgExpr *e = arena_alloc(p->arena, sizeof *e);
    e->kind = kind;
    e->origin = p->here;
    return e;
}

static bool is_int(const ProgExpr *e, int64_t value)
{
    return e->kind == PE_INT && e->integer == value;
}

static bool literal_fits(ProgKind kind, int64_t value)
{
    switch (kind) {
    case PK_I32: return value >= INT32_MIN && value <= INT32_MAX;
    case PK_U32: return value >= 0 && value <= UINT32_MAX;
    case PK_U64: return value >= 0;
    case PK_I64: return true;
    case PK_VOID: case PK_F32: case PK_F64: case PK_F32X16: case PK_POINTER:
    case PK_RECORD: case PK_TEXT: case PK_ENTRY: return false;
    }
    return false;
}

/* An integer literal where another integer type is wanted takes that type. */
static ProgExpr *adapt(Prog *p, ProgExpr *e, ProgKind kind)
{
    if (!e || e->kind != PE_INT || e->type.kind == kind
        || !literal_fits(kind, e->integer))
        return e;
    ProgExpr *other = node(p, PE_INT);
    *other = *e;
    other->type = (ProgType){.kind = kind};
    return other;
}

ProgExpr *px_int(Prog *p, int64_t value)
{
    ProgExpr *e = node(p, PE_INT);
    e->integer = value;
    e->type = prog_i64();
    return e;
}

ProgExpr *px_i32(Prog *p, int32_t value)
{
    ProgExpr *e = px_int(p, value);
    e->type = prog_i32();
    return e;
}

ProgExpr *px_const(Prog *p, const ProgConst *constant)
{
    if (!constant)
        ice("px_const of nothing (spec line %d)", p->here.line);
    ProgExpr *e = node(p, PE_CONST);
    e->constant = constant;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_f32(Prog *p, double value)
{
    ProgExpr *e = node(p, PE_F32);
    e->number = (float)value;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_f64(Prog *p, double value)
{
    ProgExpr *e = node(p, PE_F64);
    e->number = value;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_null(Prog *p, ProgType pointer)
{
    ProgExpr *e = node(p, PE_NULL);
    e->type = pointer;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_var(Prog *p, const ProgVar *variable)
{
    if (!variable)
        ice("px_var of nothing (spec line %d)", p->here.line);
    ProgExpr *e = node(p, PE_VAR);
    e->variable = variable;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_neg(Prog *p, ProgExpr *a)
{
    ProgExpr *e = node(p, PE_NEG);
    e->a = a;
    e->type = prog_derive(e);
    if (a->kind == PE_INT && a->integer != INT64_MIN
        && prog_is_signed(a->type.kind)
        && literal_fits(a->type.kind, -a->integer)) {
        *e = *a;
        e->integer = -a->integer;
    }
    if (a->kind == PE_F32 || a->kind == PE_F64) {
        *e = *a;
        e->number = -a->number;
    }
    return e;
}

/* Two literals of one type: their value in *result, if it is one of the
 * type. */
static bool fold(ProgExprKind kind, const ProgExpr *a, const ProgExpr *b,
                 int64_t *result)
{
    if (a->kind != PE_INT || b->kind != PE_INT || a->type.kind != b->type.kind)
        return false;
    int64_t x = a->integer, y = b->integer;
    bool overflow = false;
    if (kind == PE_ADD)
        overflow = __builtin_add_overflow(x, y, result);
    else if (kind == PE_SUB)
        overflow = __builtin_sub_overflow(x, y, result);
    else if (kind == PE_MUL)
        overflow = __builtin_mul_overflow(x, y, result);
    else if (kind == PE_DIV && y > 0)
        *result = x / y;
    else if (kind == PE_REM && y > 0)
        *result = x % y;
    else
        return false;
    return !overflow && literal_fits(a->type.kind, *result);
}

/* x + 0, x - 0, x * 1, x / 1, x * 0, 0 / x: which operand is the result, or
 * NULL. No expression has an effect, and none divides by 0. */
static ProgExpr *unchanged(ProgExprKind kind, ProgExpr *a, ProgExpr *b)
{
    if (is_int(b, 0) && (kind == PE_ADD || kind == PE_SUB))
        return a;
    if (is_int(b, 1) && (kind == PE_MUL || kind == PE_DIV))
        return a;
    if (is_int(a, 0) && kind == PE_ADD)
        return b;
    if (is_int(a, 1) && kind == PE_MUL)
        return b;
    if (is_int(a, 0) && (kind == PE_MUL || kind == PE_DIV))
        return a;
    if (is_int(b, 0) && kind == PE_MUL)
        return b;
    return NULL;
}

static ProgExpr *binary(Prog *p, ProgExprKind kind, ProgExpr *a, ProgExpr *b)
{
    ProgExpr *e = node(p, kind);
    e->a = adapt(p, a, b->type.kind);
    e->b = adapt(p, b, a->type.kind);
    e->type = prog_derive(e);
    int64_t value;
    if (fold(kind, e->a, e->b, &value)) {
        *e = *e->a;
        e->integer = value;
        return e;
    }
    ProgExpr *same = unchanged(kind, e->a, e->b);
    if (same && same->type.kind == e->type.kind)
        return same;
    if (kind == PE_ADD && e->b->kind == PE_INT && e->b->integer < 0
        && e->b->integer != INT64_MIN)
        return binary(p, PE_SUB, e->a, px_neg(p, e->b));
    return e;
}

ProgExpr *px_add(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_ADD, a, b); }
ProgExpr *px_sub(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_SUB, a, b); }
ProgExpr *px_mul(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_MUL, a, b); }
ProgExpr *px_div(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_DIV, a, b); }
ProgExpr *px_rem(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_REM, a, b); }
ProgExpr *px_lt(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_LT, a, b); }
ProgExpr *px_le(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_LE, a, b); }
ProgExpr *px_eq(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_EQ, a, b); }
ProgExpr *px_ne(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_NE, a, b); }
ProgExpr *px_and(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_AND, a, b); }
ProgExpr *px_or(Prog *p, ProgExpr *a, ProgExpr *b) { return binary(p, PE_OR, a, b); }

ProgExpr *px_select(Prog *p, ProgExpr *condition, ProgExpr *a, ProgExpr *b)
{
    ProgExpr *e = node(p, PE_SELECT);
    e->a = adapt(p, condition, PK_I32);
    e->b = adapt(p, a, b->type.kind);
    e->c = adapt(p, b, a->type.kind);
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_load(Prog *p, ProgExpr *pointer, ProgExpr *index)
{
    ProgExpr *e = node(p, PE_LOAD);
    e->a = pointer;
    e->b = index;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_offset(Prog *p, ProgExpr *pointer, ProgExpr *index)
{
    ProgExpr *e = node(p, PE_OFFSET);
    e->a = pointer;
    e->b = index;
    e->type = prog_derive(e);
    return is_int(index, 0) ? pointer : e;
}

ProgExpr *px_field(Prog *p, ProgExpr *record, const char *field)
{
    ProgExpr *e = node(p, PE_FIELD);
    e->a = record;
    e->field = field;
    e->type = prog_derive(e);
    e->field = prog_find_field(record->type.record, field)->name;
    return e;
}

ProgExpr *px_address(Prog *p, ProgExpr *record)
{
    ProgExpr *e = node(p, PE_ADDRESS);
    e->a = record;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_data(Prog *p, const ProgData *data)
{
    ProgExpr *e = node(p, PE_DATA);
    e->data = data;
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_cast(Prog *p, ProgType type, ProgExpr *a)
{
    ProgExpr *e = node(p, PE_CAST);
    e->a = a;
    e->type = type;
    e->type = prog_derive(e);
    if (a->type.kind == type.kind && type.kind != PK_POINTER)
        return a;
    if (a->kind == PE_INT && literal_fits(type.kind, a->integer))
        return adapt(p, a, type.kind);
    return e;
}

ProgExpr *px_call(Prog *p, const ProgFunc *func, int n, ProgExpr *const *args)
{
    ProgExpr *e = node(p, PE_CALL);
    e->callee = func;
    for (int i = 0; i < n; i++) {
        ProgKind wanted = i < func->params.count ? func->params.at[i]->type.kind
                                                 : PK_VOID;
        list_push(p->arena, &e->args, adapt(p, args[i], wanted));
    }
    e->type = prog_derive(e);
    return e;
}

ProgExpr *px_callv(Prog *p, const ProgFunc *func, ...)
{
    List(ProgExpr *) args = {0};
    va_list list;
    va_start(list, func);
    for (ProgExpr *e; (e = va_arg(list, ProgExpr *));)
        list_push(p->arena, &args, e);
    va_end(list);
    return px_call(p, func, args.count, args.at);
}

/* ---- statements ---------------------------------------------------------- */
static ProgStmt *statement(Prog *p, ProgBlock *block, ProgStmtKind kind)
{
    ProgStmt *s = arena_alloc(p->arena, sizeof *s);
    s->kind = kind;
    s->origin = p->here;
    list_push(p->arena, &block->statements, s);
    return s;
}

static void want(Prog *p, ProgType to, const ProgExpr *value, const char *what)
{
    if (!value || !prog_fits(to, value->type))
        ice("%s is %s, not %s", what,
            value ? prog_type_text(p->arena, value->type) : "absent",
            prog_type_text(p->arena, to));
}

void ps_let(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *value)
{
    ProgStmt *s = statement(p, block, PS_LET);
    s->variable = variable;
    s->a = adapt(p, value, variable->type.kind);
    if (s->a || variable->type.kind != PK_RECORD)
        want(p, variable->type, s->a, variable->name);
}

void ps_set(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *value)
{
    ProgStmt *s = statement(p, block, PS_SET);
    s->variable = variable;
    s->a = adapt(p, value, variable->type.kind);
    want(p, variable->type, s->a, variable->name);
}

void ps_store(Prog *p, ProgBlock *block, ProgExpr *pointer, ProgExpr *index,
              ProgExpr *value)
{
    ProgStmt *s = statement(p, block, PS_STORE);
    ProgExpr *element = px_load(p, pointer, index);
    if (pointer->type.is_const || element->type.kind == PK_RECORD)
        ice("a store through %s", prog_type_text(p->arena, pointer->type));
    s->a = pointer;
    s->b = index;
    s->c = adapt(p, value, element->type.kind);
    want(p, element->type, s->c, "the stored value");
}

void ps_field_set(Prog *p, ProgBlock *block, ProgExpr *record,
                  const char *field, ProgExpr *value)
{
    ProgStmt *s = statement(p, block, PS_FIELD_SET);
    ProgExpr *place = px_field(p, record, field);
    if (record->type.kind == PK_POINTER && record->type.is_const)
        ice("field %s is set through a pointer to const", field);
    s->a = record;
    s->field = place->field;
    s->b = adapt(p, value, place->type.kind);
    want(p, place->type, s->b, field);
}

void ps_do(Prog *p, ProgBlock *block, ProgExpr *call)
{
    if (call->kind != PE_CALL)
        ice("ps_do wants a call");
    statement(p, block, PS_DO)->a = call;
}

static ProgBlock *loop(Prog *p, ProgBlock *block, ProgStmtKind kind,
                       ProgVar *variable, ProgExpr *from, ProgExpr *to)
{
    ProgStmt *s = statement(p, block, kind);
    s->variable = variable;
    s->a = adapt(p, from, PK_I64);
    s->b = adapt(p, to, PK_I64);
    if (variable->type.kind != PK_I64)
        ice("loop variable %s is not i64", variable->name);
    want(p, prog_i64(), s->a, "a loop's beginning");
    want(p, prog_i64(), s->b, "a loop's end");
    return &s->body;
}

ProgBlock *ps_for(Prog *p, ProgBlock *block, ProgVar *variable, ProgExpr *from,
                  ProgExpr *to, ProgExpr *step)
{
    ProgBlock *body = loop(p, block, PS_FOR, variable, from, to);
    ProgStmt *s = block->statements.at[block->statements.count - 1];
    s->c = adapt(p, step, PK_I64);
    want(p, prog_i64(), s->c, "a loop's step");
    return body;
}

ProgBlock *ps_for_down(Prog *p, ProgBlock *block, ProgVar *variable,
                       ProgExpr *from, ProgExpr *to)
{
    return loop(p, block, PS_FOR_DOWN, variable, from, to);
}

ProgBlock *ps_if(Prog *p, ProgBlock *block, ProgExpr *condition,
                 ProgBlock **other)
{
    ProgStmt *s = statement(p, block, PS_IF);
    s->a = adapt(p, condition, PK_I32);
    want(p, prog_i32(), s->a, "a condition");
    if (other)
        *other = &s->other;
    return &s->body;
}

void ps_return(Prog *p, ProgBlock *block, ProgExpr *value_or_null)
{
    statement(p, block, PS_RETURN)->a = value_or_null;
}

void ps_comment(Prog *p, ProgBlock *block, const char *text)
{
    statement(p, block, PS_COMMENT)->text = arena_strdup(p->arena, text);
}
