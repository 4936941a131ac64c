/* emit_c.c: prints the code of a Prog as C: expressions, statements, functions.
 * Declarations and data are emit_c_items.c, the layout of lines emit_text.c.
 *
 * Read precedence() and expr() first: brackets stand only where C needs them or
 * a reader would. Integers of a Prog are long; C computes `3 * C` in int, so
 * where the operands of an i64 are all int to C, and the result is not known to
 * fit, the first one is cast. */
#define _GNU_SOURCE
#include "emit_c.h"
#include "../ir/prog_make.h"

/* ---- expressions --------------------------------------------------------- */
enum {
    SELECT = 3, OR = 4, AND = 5, EQUAL = 9, LESS = 10, ADD = 12, MUL = 13,
    UNARY = 14, POSTFIX = 15, PRIMARY = 16,
};

static int precedence(const ProgExpr *e)
{
    switch (e->kind) {
    case PE_INT: return e->integer < 0 ? UNARY : PRIMARY;
    case PE_F32: case PE_F64: return e->number < 0 ? UNARY : PRIMARY;
    case PE_CONST: case PE_NULL: case PE_VAR: case PE_DATA: return PRIMARY;
    case PE_NEG: case PE_ADDRESS: case PE_CAST: return UNARY;
    case PE_ADD: case PE_SUB: case PE_OFFSET: return ADD;
    case PE_MUL: case PE_DIV: case PE_REM: return MUL;
    case PE_LT: case PE_LE: return LESS;
    case PE_EQ: case PE_NE: return EQUAL;
    case PE_AND: return AND;
    case PE_OR: return OR;
    case PE_SELECT: return SELECT;
    case PE_LOAD: case PE_FIELD: case PE_CALL: return POSTFIX;
    }
    ice("expression kind %d", (int)e->kind);
}

static const char *sign(ProgExprKind kind)
{
    switch (kind) {
    case PE_ADD: case PE_OFFSET: return "+";
    case PE_SUB: return "-";
    case PE_MUL: return "*";
    case PE_DIV: return "/";
    case PE_REM: return "%";
    case PE_LT: return "<";
    case PE_LE: return "<=";
    case PE_EQ: return "==";
    case PE_NE: return "!=";
    case PE_AND: return "&&";
    case PE_OR: return "||";
    case PE_INT: case PE_CONST: case PE_F32: case PE_F64: case PE_NULL:
    case PE_VAR: case PE_NEG: case PE_SELECT: case PE_LOAD: case PE_FIELD:
    case PE_ADDRESS: case PE_CAST: case PE_CALL: case PE_DATA: break;
    }
    ice("no operator %d", (int)kind);
}

static bool fits_int(int64_t value)
{
    return value >= INT32_MIN && value <= INT32_MAX;
}

bool c_known_int(const ProgExpr *e, int64_t *value)
{
    int64_t a, b;
    if (e->kind == PE_INT)
        *value = e->integer;
    else if (e->kind == PE_CONST)
        *value = e->constant->value;
    else if (e->kind == PE_ADD || e->kind == PE_SUB || e->kind == PE_MUL) {
        if (!c_known_int(e->a, &a) || !c_known_int(e->b, &b))
            return false;
        if (e->kind == PE_MUL ? __builtin_mul_overflow(a, b, value)
            : e->kind == PE_ADD ? __builtin_add_overflow(a, b, value)
                                : __builtin_sub_overflow(a, b, value))
            return false;
    } else
        return false;
    return fits_int(*value);
}

static bool needs_long(const ProgExpr *e);

/* Is an i64 of the Prog of type int in the C that is printed? */
static bool is_c_int(const ProgExpr *e)
{
    if (e->type.kind == PK_I32)
        return true;
    switch (e->kind) {
    case PE_INT: case PE_CONST: {
        int64_t value;
        if (e->kind == PE_CONST && e->constant->wide)
            return false;
        return e->type.kind == PK_I64 && c_known_int(e, &value);
    }
    case PE_ADD: case PE_SUB: case PE_MUL: case PE_NEG:
        return is_c_int(e->a) && (!e->b || is_c_int(e->b)) && !needs_long(e);
    case PE_DIV: case PE_REM:
        return is_c_int(e->a) && is_c_int(e->b);
    case PE_SELECT:
        return is_c_int(e->b) && is_c_int(e->c);
    case PE_F32: case PE_F64: case PE_NULL: case PE_VAR: case PE_LT: case PE_LE:
    case PE_EQ: case PE_NE: case PE_AND: case PE_OR: case PE_LOAD:
    case PE_OFFSET: case PE_FIELD: case PE_ADDRESS: case PE_CAST: case PE_CALL:
    case PE_DATA:
        return false;
    }
    return false;
}

/* Would C compute an i64 in int, and could that overflow? */
static bool needs_long(const ProgExpr *e)
{
    int64_t value;
    if (e->type.kind != PK_I64 || !is_c_int(e->a) || (e->b && !is_c_int(e->b)))
        return false;
    return !c_known_int(e, &value);
}

/* Text that is being put together, and what the function's variables are
 * called. */
typedef struct Line {
    Buf text;
    const char **names;         /* by variable number */
} Line;

static void expr(Line *to, const ProgExpr *e, int least);

/* a op b, the left operand bracketed below `left`, the right below `right`. */
static void two(Line *to, const ProgExpr *e, int left, int right)
{
    bool arithmetic = e->kind == PE_ADD || e->kind == PE_SUB
                      || e->kind == PE_MUL;
    if (arithmetic && needs_long(e)) {
        buf_printf(&to->text, "(long)");
        left = UNARY;
    }
    expr(to, e->a, left);
    buf_printf(&to->text, " %s ", sign(e->kind));
    expr(to, e->b, right);
}

/* The index of a[b], where a may itself be c + d: then it is d + b. */
static void element(Line *to, const ProgExpr *pointer, const ProgExpr *index)
{
    if (pointer->kind != PE_OFFSET) {
        expr(to, pointer, POSTFIX);
        buf_printf(&to->text, "[");
        expr(to, index, 0);
    } else if (index->kind == PE_INT && index->integer == 0) {
        expr(to, pointer->a, POSTFIX);
        buf_printf(&to->text, "[");
        expr(to, pointer->b, 0);
    } else {
        ProgExpr sum = {.kind = PE_ADD, .type = prog_i64(), .a = pointer->b,
                        .b = (ProgExpr *)index};
        expr(to, pointer->a, POSTFIX);
        buf_printf(&to->text, "[");
        expr(to, &sum, 0);
    }
    buf_printf(&to->text, "]");
}

static void field(Line *to, const ProgExpr *record, const char *name)
{
    if (record->kind == PE_ADDRESS)
        record = record->a;
    if (record->kind == PE_OFFSET) {
        element(to, record->a, record->b);
        buf_printf(&to->text, ".%s", name);
        return;
    }
    expr(to, record, POSTFIX);
    buf_printf(&to->text, "%s%s", record->type.kind == PK_POINTER ? "->" : ".",
               name);
}

static void integer(Line *to, const ProgExpr *e)
{
    if (e->integer == INT64_MIN)
        buf_printf(&to->text, "(-9223372036854775807L - 1)");
    else if (e->type.kind == PK_U64 && !fits_int(e->integer))
        buf_printf(&to->text, "%lluul", (unsigned long long)e->integer);
    else
        buf_printf(&to->text, "%lld%s", (long long)e->integer,
                   fits_int(e->integer)     ? ""
                   : e->type.kind == PK_U32 ? "u"
                                            : "L");
}

static void call(Line *to, const ProgExpr *e)
{
    buf_printf(&to->text, "%s(", e->callee->name);
    for (int i = 0; i < e->args.count; i++) {
        buf_printf(&to->text, "%s", i ? ", " : "");
        expr(to, e->args.at[i], SELECT);
    }
    buf_printf(&to->text, ")");
}

static void negation(Line *to, const ProgExpr *e)
{
    bool twice = e->a->kind == PE_NEG || (precedence(e->a) == UNARY
                                          && e->a->kind != PE_CAST);
    buf_printf(&to->text, needs_long(e) ? "-(long)" : "-");
    expr(to, e->a, twice ? POSTFIX : UNARY);
}

static void select(Line *to, const ProgExpr *e)
{
    expr(to, e->a, OR);
    buf_printf(&to->text, " ? ");
    expr(to, e->b, OR);
    buf_printf(&to->text, " : ");
    expr(to, e->c, SELECT);
}

static void cast(Line *to, const ProgExpr *e)
{
    Arena *scratch = arena_new();
    buf_printf(&to->text, "(%s)", prog_type_text(scratch, e->type));
    arena_free(scratch);
    expr(to, e->a, UNARY);
}

static void bare(Line *to, const ProgExpr *e)
{
    switch (e->kind) {
    case PE_INT: integer(to, e); return;
    case PE_CONST: buf_printf(&to->text, "%s", e->constant->name); return;
    case PE_F32: text_f32(&to->text, (float)e->number); return;
    case PE_F64: text_f64(&to->text, e->number); return;
    case PE_NULL: buf_printf(&to->text, "NULL"); return;
    case PE_VAR:
        buf_printf(&to->text, "%s", to->names[e->variable->number]);
        return;
    case PE_NEG: negation(to, e); return;
    case PE_ADD: case PE_SUB: two(to, e, ADD, ADD + 1); return;
    case PE_OFFSET: two(to, e, ADD, ADD); return;
    case PE_MUL: case PE_DIV: case PE_REM: two(to, e, MUL, MUL + 1); return;
    case PE_LT: case PE_LE: case PE_EQ: case PE_NE:
        two(to, e, ADD, ADD);
        return;
    case PE_AND:
        two(to, e, AND, AND + 1);
        return;
    case PE_OR:
        two(to, e, e->a->kind == PE_OR ? OR : AND + 1, AND + 1);
        return;
    case PE_SELECT: select(to, e); return;
    case PE_LOAD: element(to, e->a, e->b); return;
    case PE_FIELD: field(to, e->a, e->field); return;
    case PE_ADDRESS:
        buf_printf(&to->text, "&");
        expr(to, e->a, POSTFIX);
        return;
    case PE_CAST: cast(to, e); return;
    case PE_CALL: call(to, e); return;
    case PE_DATA: buf_printf(&to->text, "%s", e->data->name); return;
    }
}

/* Prints e, in brackets if it binds less than `least`. */
static void expr(Line *to, const ProgExpr *e, int least)
{
    bool brackets = precedence(e) < least;
    buf_printf(&to->text, brackets ? "(" : "");
    bare(to, e);
    buf_printf(&to->text, brackets ? ")" : "");
}

/* Do both say the same thing? Calls never do: they may act. */
static bool same(const ProgExpr *a, const ProgExpr *b)
{
    if (!a || !b)
        return a == b;
    return a->kind == b->kind && a->kind != PE_CALL
           && a->type.kind == b->type.kind && a->integer == b->integer
           && !memcmp(&a->number, &b->number, sizeof a->number)
           && a->constant == b->constant && a->variable == b->variable
           && a->field == b->field && same(a->a, b->a) && same(a->b, b->b)
           && same(a->c, b->c);
}

static bool mentions(const ProgExpr *e, const ProgVar *variable)
{
    if (!e)
        return false;
    for (int i = 0; i < e->args.count; i++)
        if (mentions(e->args.at[i], variable))
            return true;
    return e->variable == variable || mentions(e->a, variable)
           || mentions(e->b, variable) || mentions(e->c, variable);
}

/* ---- statements ---------------------------------------------------------- */
typedef struct Writer {
    Buf *out;
    const Prog *prog;
    Arena *arena;
    const ProgFunc *func;
    /* by variable number */
    const char **names;         /* while it is in scope, else NULL */
    bool *changes;              /* set after its declaration */
    bool *used;
    int line;                   /* of the spec, that a comment last named */
    int indent;
} Writer;

static void block(Writer *w, const ProgBlock *b);

/* Columns taken by the last line of what was printed from `start` on. */
static int last_column(const Buf *out, size_t start)
{
    const char *newline = memrchr(out->text + start, '\n', out->length - start);
    size_t from = newline ? (size_t)(newline + 1 - out->text) : start;
    return (int)(out->length - from);
}

/* A line of code with a remark at its end: in a column where there is room,
 * else after the code, which is broken earlier if there is none behind it. */
static void with_remark(Writer *w, const char *code, const char *where)
{
    enum { COLUMN = 78 };
    int remark = (int)strlen(where) + 8, room = EMIT_WIDTH - remark;
    size_t start = w->out->length;
    text_wrapped(w->out, w->indent, code, EMIT_WIDTH);
    int length = last_column(w->out, start);
    if (length > room && room >= 40) {
        w->out->length = start;
        text_wrapped(w->out, w->indent, code, room);
        length = last_column(w->out, start);
    }
    int column = room + 2 < COLUMN ? room + 2 : COLUMN;
    buf_printf(w->out, "%*s/* ", length + 2 < column ? column - length : 2, "");
    text_remark(w->out, where);
    buf_printf(w->out, " */");
}

/* One line of code, and the spec's line at its end if that is news. */
static void put(Writer *w, Line *line, Loc origin)
{
    const char *where = diag_where(w->prog->diag, w->arena, origin);
    if (*where && origin.line != w->line) {
        with_remark(w, line->text.text, where);
        w->line = origin.line;
    } else
        text_wrapped(w->out, w->indent, line->text.text, EMIT_WIDTH);
    buf_printf(w->out, "\n");
    buf_free(&line->text);
}

static const Loc nowhere;

void c_declare(Buf *out, Arena *arena, ProgType type, const char *name)
{
    const char *text = prog_type_text(arena, type);
    size_t length = strlen(text);
    bool joined = text[length - 1] == '*' || text[length - 1] == ' ';
    buf_printf(out, "%s%s%s", text, joined ? "" : " ", name);
}

static bool is_scalar(ProgKind kind)
{
    return prog_is_integer(kind) || kind == PK_F32 || kind == PK_F64;
}

/* How many of the statements after `at` set fields of the record it declares:
 * they become its initialiser. */
static int initialisers(const ProgBlock *b, int at)
{
    const ProgVar *variable = b->statements.at[at]->variable;
    int count = 0;
    for (int i = at + 1; i < b->statements.count; i++, count++) {
        const ProgStmt *s = b->statements.at[i];
        if (s->kind != PS_FIELD_SET || s->a->kind != PE_VAR
            || s->a->variable != variable || mentions(s->b, variable))
            break;
        for (int j = at + 1; j < i; j++)
            if (!strcmp(b->statements.at[j]->field, s->field))
                return count;
    }
    return count;
}

static bool is_live(const Writer *w, const char *name)
{
    for (int i = 0; i < w->func->variables; i++)
        if (w->names[i] && !strcmp(w->names[i], name))
            return true;
    return false;
}

/* Brings a variable into scope under the name asked for, or with a suffix where
 * another of that name is in sight. */
static const char *open_name(Writer *w, const ProgVar *variable)
{
    const char *name = variable->base;
    for (int i = 2; is_live(w, name); i++)
        name = prog_suffixed(w->arena, variable->base, i);
    w->names[variable->number] = name;
    return name;
}

static void close_name(Writer *w, const ProgVar *variable)
{
    w->names[variable->number] = NULL;
}

/* Declares a variable; gives the number of statements that went into it. */
static int let(Writer *w, const ProgBlock *b, int at)
{
    const ProgStmt *s = b->statements.at[at];
    bool record = s->variable->type.kind == PK_RECORD;
    bool fixed = is_scalar(s->variable->type.kind)
                 && !w->changes[s->variable->number];
    Line line = {.names = w->names};
    buf_printf(&line.text, fixed ? "const " : "");
    c_declare(&line.text, w->arena, s->variable->type,
              open_name(w, s->variable));
    buf_printf(&line.text, " = ");
    if (!record) {
        expr(&line, s->a, 0);
        buf_printf(&line.text, ";");
        put(w, &line, nowhere);
        return 1;
    }
    int count = initialisers(b, at);
    buf_printf(&line.text, count ? "{" : "{0}");
    for (int i = 1; i <= count; i++) {
        const ProgStmt *set = b->statements.at[at + i];
        buf_printf(&line.text, "%s.%s = ", i > 1 ? ", " : "", set->field);
        expr(&line, set->b, SELECT);
    }
    buf_printf(&line.text, count ? "};" : ";");
    put(w, &line, nowhere);
    return 1 + count;
}

/* `place = value;`, or `place += x` where the value is place + x. */
static void assign(Writer *w, Line *place, bool compound, const ProgExpr *value,
                   Loc origin)
{
    Line line = {.names = w->names};
    const ProgExpr *right = compound ? value->b : value;
    if (compound && value->b->kind == PE_INT && value->b->integer == 1
        && value->kind != PE_MUL) {
        const char *twice = value->kind == PE_ADD ? "++" : "--";
        buf_printf(&line.text, "%s%s;", place->text.text, twice);
    } else {
        buf_printf(&line.text, "%s %s= ", place->text.text,
                   compound ? sign(value->kind) : "");
        expr(&line, right, 0);
        buf_printf(&line.text, ";");
    }
    buf_free(&place->text);
    put(w, &line, origin);
}

static bool is_compound(const ProgExpr *value)
{
    return value->kind == PE_ADD || value->kind == PE_SUB
           || value->kind == PE_MUL;
}

static void set(Writer *w, const ProgStmt *s)
{
    Line place = {.names = w->names};
    buf_printf(&place.text, "%s", w->names[s->variable->number]);
    bool compound = is_compound(s->a) && s->a->a->kind == PE_VAR
                    && s->a->a->variable == s->variable;
    assign(w, &place, compound, s->a,
           s->a->kind == PE_CALL ? s->origin : nowhere);
}

static void store(Writer *w, const ProgStmt *s)
{
    Line place = {.names = w->names};
    element(&place, s->a, s->b);
    bool compound = is_compound(s->c) && s->c->a->kind == PE_LOAD
                    && same(s->c->a->a, s->a) && same(s->c->a->b, s->b);
    assign(w, &place, compound, s->c, nowhere);
}

static void field_set(Writer *w, const ProgStmt *s)
{
    Line place = {.names = w->names};
    field(&place, s->a, s->field);
    assign(w, &place, false, s->b, nowhere);
}

/* A statement that needs no braces as a body: one line of code. */
static bool is_simple(const ProgBlock *b)
{
    if (b->statements.count != 1)
        return false;
    switch (b->statements.at[0]->kind) {
    case PS_SET: case PS_STORE: case PS_FIELD_SET: case PS_DO: case PS_RETURN:
        return true;
    case PS_LET: case PS_FOR: case PS_FOR_DOWN: case PS_IF: case PS_COMMENT:
        return false;
    }
    return false;
}

static void body(Writer *w, const ProgBlock *b)
{
    w->indent += 4;
    block(w, b);
    w->indent -= 4;
}

/* The line before a body, which closes the one before it (`} else {`). */
static void head_line(Writer *w, const char *head, bool braces)
{
    Line line = {.names = w->names};
    buf_printf(&line.text, "%s%s", head, braces ? " {" : "");
    text_wrapped(w->out, w->indent, line.text.text, EMIT_WIDTH);
    buf_printf(w->out, "\n");
    buf_free(&line.text);
}

/* to - 1, as a person would write it: `C - 31`, `n` for n + 1. */
static void last(Line *line, const ProgExpr *to)
{
    ProgExpr one = {.kind = PE_INT, .type = prog_i64(), .integer = 1},
             folded = *to;
    bool literal = to->b && to->b->kind == PE_INT;
    if (to->kind == PE_INT) {
        folded.integer--;
        expr(line, &folded, ADD);
    } else if (to->kind == PE_ADD && literal && to->b->integer == 1) {
        expr(line, to->a, ADD);
    } else if ((to->kind == PE_ADD || to->kind == PE_SUB) && literal) {
        one.integer = to->b->integer + (to->kind == PE_ADD ? -1 : 1);
        folded.b = &one;
        expr(line, &folded, ADD);
    } else {
        expr(line,
             &(ProgExpr){.kind = PE_SUB,
                         .type = prog_i64(),
                         .a = (ProgExpr *)to,
                         .b = &one},
             ADD);
    }
}

static void loop(Writer *w, const ProgStmt *s)
{
    Line head = {.names = w->names}, from = head;
    expr(&from, s->a, ADD);
    const char *name = open_name(w, s->variable);
    bool one = s->c && s->c->kind == PE_INT && s->c->integer == 1;
    buf_printf(&head.text, "for (long %s = ", name);
    if (s->kind == PS_FOR) {
        buf_printf(&head.text, "%s; %s < ", from.text.text, name);
        expr(&head, s->b, ADD);
        buf_printf(&head.text, one ? "; %s++)" : "; %s += ", name);
    } else {
        last(&head, s->b);
        buf_printf(&head.text, "; %s >= %s; %s--)", name, from.text.text, name);
    }
    if (s->kind == PS_FOR && !one) {
        expr(&head, s->c, SELECT);
        buf_printf(&head.text, ")");
    }
    bool braces = !is_simple(&s->body);
    head_line(w, head.text.text, braces);
    body(w, &s->body);
    if (braces)
        buf_printf(w->out, "%*s}\n", w->indent, "");
    close_name(w, s->variable);
    buf_free(&head.text);
    buf_free(&from.text);
}

/* The `if` that `else` leads to at once, or NULL. */
static const ProgStmt *else_if(const ProgStmt *s)
{
    bool alone = s->other.statements.count == 1
                 && s->other.statements.at[0]->kind == PS_IF;
    return alone ? s->other.statements.at[0] : NULL;
}

/* Braces for one arm are braces for all. */
static bool needs_braces(const ProgStmt *s)
{
    for (; else_if(s); s = else_if(s))
        if (!is_simple(&s->body))
            return true;
    return !is_simple(&s->body)
           || (s->other.statements.count > 0 && !is_simple(&s->other));
}

static void branch(Writer *w, const ProgStmt *s)
{
    bool braces = needs_braces(s);
    const char *before = "";
    for (const ProgStmt *arm = s; arm; arm = else_if(arm)) {
        Line head = {.names = w->names};
        buf_printf(&head.text, "%sif (", before);
        expr(&head, arm->a, 0);
        buf_printf(&head.text, ")");
        head_line(w, head.text.text, braces);
        buf_free(&head.text);
        body(w, &arm->body);
        before = braces ? "} else " : "else ";
        if (arm->other.statements.count && !else_if(arm)) {
            head_line(w, braces ? "} else" : "else", braces);
            body(w, &arm->other);
        }
    }
    if (braces)
        buf_printf(w->out, "%*s}\n", w->indent, "");
}

static void give(Writer *w, const ProgStmt *s)
{
    Line line = {.names = w->names};
    buf_printf(&line.text, s->a ? "return " : "return");
    if (s->a)
        expr(&line, s->a, 0);
    buf_printf(&line.text, ";");
    put(w, &line, nowhere);
}

/* The spec's line stands beside what does a piece of work, not beside its
 * parts. */
static void act(Writer *w, const ProgStmt *s)
{
    Line line = {.names = w->names};
    expr(&line, s->a, 0);
    buf_printf(&line.text, ";");
    put(w, &line, s->a->callee->linkage == PL_LANES ? nowhere : s->origin);
}

static void statement(Writer *w, const ProgStmt *s, bool first)
{
    switch (s->kind) {
    case PS_LET: return;            /* let(), which looks ahead */
    case PS_SET: set(w, s); return;
    case PS_STORE: store(w, s); return;
    case PS_FIELD_SET: field_set(w, s); return;
    case PS_DO: act(w, s); return;
    case PS_FOR: case PS_FOR_DOWN: loop(w, s); return;
    case PS_IF: branch(w, s); return;
    case PS_RETURN: give(w, s); return;
    case PS_COMMENT:
        buf_printf(w->out, first ? "" : "\n");
        text_comment(w->out, w->indent, s->text);
        return;
    }
}

static void block(Writer *w, const ProgBlock *b)
{
    for (int i = 0; i < b->statements.count;) {
        if (b->statements.at[i]->kind == PS_LET) {
            i += let(w, b, i);
            continue;
        }
        statement(w, b->statements.at[i], i == 0);
        i++;
    }
    for (int i = 0; i < b->statements.count; i++)
        if (b->statements.at[i]->kind == PS_LET)
            close_name(w, b->statements.at[i]->variable);
}

/* ---- functions ----------------------------------------------------------- */
static void note_expr(Writer *w, const ProgExpr *e)
{
    if (!e)
        return;
    note_expr(w, e->a);
    note_expr(w, e->b);
    note_expr(w, e->c);
    for (int i = 0; i < e->args.count; i++)
        note_expr(w, e->args.at[i]);
    if (e->kind == PE_VAR)
        w->used[e->variable->number] = true;
}

/* Which variables are used, and which change after their declaration. */
static void note_block(Writer *w, const ProgBlock *b)
{
    for (int i = 0; i < b->statements.count; i++) {
        const ProgStmt *s = b->statements.at[i];
        note_expr(w, s->a);
        note_expr(w, s->b);
        note_expr(w, s->c);
        if (s->kind == PS_SET)
            w->changes[s->variable->number] = true;
        note_block(w, &s->body);
        note_block(w, &s->other);
    }
}

static void unused_parameters(Writer *w)
{
    for (int i = 0; i < w->func->params.count; i++)
        if (!w->used[w->func->params.at[i]->number])
            buf_printf(w->out, "    (void)%s;\n",
                       w->names[w->func->params.at[i]->number]);
}

void c_function(Buf *out, const Prog *p, const ProgFunc *func)
{
    Arena *arena = arena_new();
    size_t variables = (size_t)func->variables + 1;
    Writer w = {.out = out,
                .prog = p,
                .arena = arena,
                .func = func,
                .indent = 4,
                .line = func->origin.line};
    w.names = arena_alloc(arena, variables * sizeof *w.names);
    w.changes = arena_alloc(arena, variables);
    w.used = arena_alloc(arena, variables);
    note_block(&w, &func->body);
    if (func->comment)
        text_comment(out, 0, func->comment);
    Line head = {.names = w.names};
    buf_printf(&head.text, func->inlined ? "static inline " : "static ");
    c_declare(&head.text, arena, func->result, func->name);
    buf_printf(&head.text, "(");
    for (int i = 0; i < func->params.count; i++) {
        buf_printf(&head.text, "%s", i ? ", " : "");
        const ProgVar *param = func->params.at[i];
        c_declare(&head.text, arena, param->type, open_name(&w, param));
    }
    buf_printf(&head.text, func->params.count ? ")" : "void)");
    text_wrapped(out, 0, head.text.text, EMIT_WIDTH);
    buf_free(&head.text);
    buf_printf(out, "\n{\n");
    unused_parameters(&w);
    block(&w, &func->body);
    buf_printf(out, "}\n");
    arena_free(arena);
}
