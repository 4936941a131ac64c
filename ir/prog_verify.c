/* prog_verify.c: the types of expressions, and a check of a whole Prog. The
 * constructors call prog_derive for every node they make; prog_verify derives
 * all again, follows scopes, and sees that callees come before callers. */
#include "prog_make.h"

bool prog_fits(ProgType to, ProgType from)
{
    if (to.kind == PK_I64 && from.kind == PK_I32)
        return true;
    if (to.kind != from.kind)
        return false;
    if (to.kind == PK_RECORD)
        return to.record == from.record;
    if (to.kind != PK_POINTER)
        return true;
    return to.of == from.of && to.record == from.record
           && (to.is_const || !from.is_const);
}

static const char *spelling[] = {
    [PE_INT] = "integer",   [PE_CONST] = "constant", [PE_F32] = "f32",
    [PE_F64] = "f64",       [PE_NULL] = "null",      [PE_VAR] = "variable",
    [PE_NEG] = "-",         [PE_ADD] = "+",          [PE_SUB] = "-",
    [PE_MUL] = "*",         [PE_DIV] = "/",          [PE_REM] = "%",
    [PE_LT] = "<",          [PE_LE] = "<=",          [PE_EQ] = "==",
    [PE_NE] = "!=",         [PE_AND] = "&&",         [PE_OR] = "||",
    [PE_SELECT] = "?:",     [PE_LOAD] = "a load",    [PE_OFFSET] = "an offset",
    [PE_FIELD] = "a field", [PE_ADDRESS] = "&",      [PE_CAST] = "a cast",
    [PE_CALL] = "a call",   [PE_DATA] = "data",
};

/* Ends the process with what the operands are. */
static void __attribute__((noreturn)) misfit(const ProgExpr *e)
{
    Arena *arena = arena_new();
    const char *text[3] = {"none", "none", "none"};
    const ProgExpr *operands[3] = {e->a, e->b, e->c};
    for (int i = 0; i < 3; i++)
        if (operands[i])
            text[i] = prog_type_text(arena, operands[i]->type);
    ice("%s of %s, %s, %s (spec line %d)", spelling[e->kind], text[0], text[1],
        text[2], e->origin.line);
}

static ProgType kind_type(ProgKind kind)
{
    return (ProgType){.kind = kind};
}

/* Both operands as one type: equal, i32 with i64, f32 with f32x16. */
static ProgKind common(const ProgExpr *e)
{
    ProgKind a = e->a->type.kind, b = e->b->type.kind;
    if (a == b && (prog_is_integer(a) || prog_is_float(a)))
        return a;
    if ((a == PK_I32 && b == PK_I64) || (a == PK_I64 && b == PK_I32))
        return PK_I64;
    if ((a == PK_F32 && b == PK_F32X16) || (a == PK_F32X16 && b == PK_F32))
        return PK_F32X16;
    misfit(e);
}

static ProgType derive_compare(const ProgExpr *e)
{
    bool pointers = e->a->type.kind == PK_POINTER
                    && e->b->type.kind == PK_POINTER
                    && e->a->type.of == e->b->type.of
                    && e->a->type.record == e->b->type.record;
    if (pointers && (e->kind == PE_EQ || e->kind == PE_NE))
        return kind_type(PK_I32);
    if (common(e) == PK_F32X16)
        misfit(e);
    return kind_type(PK_I32);
}

static ProgType derive_select(const ProgExpr *e)
{
    ProgType b = e->b->type, c = e->c->type;
    if (e->a->type.kind != PK_I32 || b.kind == PK_F32X16 || b.kind == PK_RECORD
        || b.kind == PK_VOID)
        misfit(e);
    b.is_restrict = c.is_restrict = false;
    if (prog_fits(b, c))
        return b;
    if (prog_fits(c, b))
        return c;
    misfit(e);
}

static ProgType derive_pointer(const ProgExpr *e)
{
    if (e->a->type.kind != PK_POINTER || e->a->type.of == PK_VOID
        || (e->b->type.kind != PK_I64 && e->b->type.kind != PK_I32))
        misfit(e);
    if (e->kind == PE_LOAD)
        return (ProgType){.kind = e->a->type.of, .record = e->a->type.record};
    ProgType type = e->a->type;
    type.is_restrict = false;
    return type;
}

/* A record with an address: a variable or an element of an array. */
static bool is_place(const ProgExpr *e)
{
    return e->type.kind == PK_RECORD
           && (e->kind == PE_VAR || e->kind == PE_LOAD);
}

static ProgType derive_field(const ProgExpr *e)
{
    bool pointer = e->a->type.kind == PK_POINTER && e->a->type.of == PK_RECORD;
    if (!pointer && !is_place(e->a))
        misfit(e);
    const ProgField *field = prog_find_field(e->a->type.record, e->field);
    if (!field)
        ice("record %s has no field %s", e->a->type.record->name, e->field);
    return field->type;
}

static ProgType derive_cast(const ProgExpr *e)
{
    ProgKind to = e->type.kind, from = e->a->type.kind;
    if (to == PK_POINTER && from == PK_POINTER)
        return e->type;
    bool numbers = (prog_is_integer(to) || prog_is_float(to))
                   && (prog_is_integer(from) || prog_is_float(from));
    if (!numbers || ((to == PK_F32X16) != (from == PK_F32X16)))
        misfit(e);
    return e->type;
}

static ProgType derive_call(const ProgExpr *e)
{
    const ProgFunc *func = e->callee;
    if (e->args.count != func->params.count)
        ice("%s takes %d arguments, not %d", func->name, func->params.count,
            e->args.count);
    for (int i = 0; i < e->args.count; i++) {
        ProgType to = func->params.at[i]->type, from = e->args.at[i]->type;
        if (prog_fits(to, from))
            continue;
        Arena *arena = arena_new();
        ice("argument %d of %s is %s, not %s (spec line %d)", i + 1, func->name,
            prog_type_text(arena, from), prog_type_text(arena, to),
            e->origin.line);
    }
    return func->result;
}

static ProgType derive_arithmetic(const ProgExpr *e)
{
    ProgKind kind = common(e);
    if (e->kind == PE_REM && !prog_is_integer(kind))
        misfit(e);
    return kind_type(kind);
}

ProgType prog_derive(const ProgExpr *e)
{
    switch (e->kind) {
    case PE_INT:
        if (!prog_is_integer(e->type.kind))
            misfit(e);
        return e->type;
    case PE_CONST: return kind_type(PK_I64);
    case PE_F32: return kind_type(PK_F32);
    case PE_F64: return kind_type(PK_F64);
    case PE_NULL:
        if (e->type.kind != PK_POINTER)
            misfit(e);
        return e->type;
    case PE_VAR: return e->variable->type;
    case PE_NEG:
        if (!prog_is_signed(e->a->type.kind) && !prog_is_float(e->a->type.kind))
            misfit(e);
        return e->a->type;
    case PE_ADD: case PE_SUB: case PE_MUL: case PE_DIV: case PE_REM:
        return derive_arithmetic(e);
    case PE_LT: case PE_LE: case PE_EQ: case PE_NE: return derive_compare(e);
    case PE_AND: case PE_OR:
        if (e->a->type.kind != PK_I32 || e->b->type.kind != PK_I32)
            misfit(e);
        return kind_type(PK_I32);
    case PE_SELECT: return derive_select(e);
    case PE_LOAD: case PE_OFFSET: return derive_pointer(e);
    case PE_FIELD: return derive_field(e);
    case PE_ADDRESS:
        if (!is_place(e->a))
            misfit(e);
        return (ProgType){.kind = PK_POINTER,
                          .of = PK_RECORD,
                          .record = e->a->type.record,
                          .is_const = e->a->kind == PE_LOAD
                                      && e->a->a->type.is_const};
    case PE_CAST: return derive_cast(e);
    case PE_CALL: return derive_call(e);
    case PE_DATA:
        return (ProgType){.kind = PK_POINTER, .of = PK_RECORD,
                          .record = e->data->record, .is_const = true};
    }
    ice("expression kind %d", (int)e->kind);
}

/* ---- a whole program ----------------------------------------------------- */
typedef struct Checker {
    const Prog *prog;
    const ProgFunc *func;
    bool *in_scope;             /* by variable number */
    int items;                  /* those before the function */
} Checker;

static bool is_defined(const Checker *c, const ProgFunc *func)
{
    for (int i = 0; i < c->items; i++)
        if (c->prog->items.at[i].kind == PI_FUNC
            && c->prog->items.at[i].func == func)
            return true;
    for (int i = 0; i < c->prog->externs.count; i++)
        if (c->prog->externs.at[i] == func)
            return true;
    return false;
}

static void check_variable(const Checker *c, const ProgVar *variable)
{
    if (variable->number >= c->func->variables
        || !c->in_scope[variable->number])
        ice("%s: variable %s is not in scope", c->func->name, variable->name);
}

static void check_expr(const Checker *c, const ProgExpr *e)
{
    if (!e)
        return;
    check_expr(c, e->a);
    check_expr(c, e->b);
    check_expr(c, e->c);
    for (int i = 0; i < e->args.count; i++)
        check_expr(c, e->args.at[i]);
    if (e->kind == PE_VAR)
        check_variable(c, e->variable);
    if (e->kind == PE_CALL && !is_defined(c, e->callee))
        ice("%s calls %s, which is defined later", c->func->name,
            e->callee->name);
    ProgType type = prog_derive(e);
    if (!prog_fits(type, e->type) || !prog_fits(e->type, type))
        ice("%s: %s has the wrong type", c->func->name, spelling[e->kind]);
}

static void check_block(const Checker *c, const ProgBlock *block);

static void check_value(const Checker *c, ProgType to, const ProgExpr *value)
{
    if (!value || !prog_fits(to, value->type))
        ice("%s: a value does not fit its place (spec line %d)", c->func->name,
            value ? value->origin.line : 0);
}

static void check_loop(const Checker *c, const ProgStmt *s)
{
    if (c->in_scope[s->variable->number])
        ice("%s: %s is a loop's variable twice", c->func->name,
            s->variable->name);
    c->in_scope[s->variable->number] = true;
    check_value(c, prog_i64(), s->a);
    check_value(c, prog_i64(), s->b);
    if (s->kind == PS_FOR)
        check_value(c, prog_i64(), s->c);
    check_block(c, &s->body);
    c->in_scope[s->variable->number] = false;
}

static void check_statement(const Checker *c, const ProgStmt *s)
{
    check_expr(c, s->a);
    check_expr(c, s->b);
    check_expr(c, s->c);
    switch (s->kind) {
    case PS_LET:
        if (c->in_scope[s->variable->number])
            ice("%s: %s is declared twice", c->func->name, s->variable->name);
        c->in_scope[s->variable->number] = true;
        if (s->a || s->variable->type.kind != PK_RECORD)
            check_value(c, s->variable->type, s->a);
        return;
    case PS_SET:
        check_variable(c, s->variable);
        check_value(c, s->variable->type, s->a);
        return;
    case PS_STORE:
        check_value(c, (ProgType){.kind = s->a->type.of}, s->c);
        return;
    case PS_FIELD_SET:
        check_value(c, prog_find_field(s->a->type.record, s->field)->type,
                    s->b);
        return;
    case PS_FOR: case PS_FOR_DOWN:
        check_loop(c, s);
        return;
    case PS_IF:
        check_value(c, prog_i32(), s->a);
        check_block(c, &s->body);
        check_block(c, &s->other);
        return;
    case PS_RETURN:
        if (c->func->result.kind != PK_VOID)
            check_value(c, c->func->result, s->a);
        else if (s->a)
            ice("%s: void returns a value", c->func->name);
        return;
    case PS_DO: case PS_COMMENT:
        return;
    }
}

/* Declarations end with their block. */
static void check_block(const Checker *c, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count; i++)
        check_statement(c, block->statements.at[i]);
    for (int i = 0; i < block->statements.count; i++)
        if (block->statements.at[i]->kind == PS_LET)
            c->in_scope[block->statements.at[i]->variable->number] = false;
}

static void check_func(const Prog *p, const ProgFunc *func, int items)
{
    Arena *scratch = arena_new();
    Checker c = {p, func, arena_alloc(scratch, (size_t)func->variables + 1),
                 items};
    for (int i = 0; i < func->params.count; i++)
        c.in_scope[func->params.at[i]->number] = true;
    check_block(&c, &func->body);
    int count = func->body.statements.count;
    const ProgStmt *last = count ? func->body.statements.at[count - 1] : NULL;
    if (func->result.kind != PK_VOID && (!last || last->kind != PS_RETURN))
        ice("%s ends without returning its value", func->name);
    arena_free(scratch);
}

static void check_data(const ProgData *data)
{
    int fields = data->record->fields.count;
    if (data->external && data->values.count == 0)
        return;
    if (data->values.count != data->rows * fields
        || (!data->array && data->rows != 1))
        ice("data %s has %d values for %d rows of %d", data->name,
            data->values.count, data->rows, fields);
}

void prog_verify(const Prog *p)
{
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        switch (item->kind) {
        case PI_FUNC:
            check_func(p, item->func, i);
            break;
        case PI_DATA:
            check_data(item->data);
            break;
        case PI_COMMENT: case PI_CONSTS: case PI_RECORD:
            break;
        }
    }
}
