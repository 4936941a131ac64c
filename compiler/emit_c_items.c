/* emit_c_items.c: the file around the code: opening comment, includes,
 * constants, records, constant data, main. emit_c is the last function. */
#include "emit_c.h"
#include <math.h>

/* ---- constants ----------------------------------------------------------- */
static bool fits_int(int64_t value)
{
    return value >= INT32_MIN && value <= INT32_MAX;
}

static int widest_name(const ProgItem *item)
{
    int widest = 0;
    for (int i = 0; i < item->consts.count; i++) {
        int length = (int)strlen(item->consts.at[i]->name);
        widest = length > widest ? length : widest;
    }
    return widest;
}

/* All on as few lines as they need: dims. */
static void short_enum(Buf *out, const ProgItem *item)
{
    Buf line = {0};
    buf_printf(&line, "enum { ");
    for (int i = 0; i < item->consts.count; i++)
        buf_printf(&line, "%s%s = %lld", i ? ", " : "",
                   item->consts.at[i]->name,
                   (long long)item->consts.at[i]->value);
    buf_printf(&line, " };");
    text_wrapped(out, 0, line.text, EMIT_WIDTH);
    buf_printf(out, "\n");
    buf_free(&line);
}

/* One a line with its comment. An enumerator is an int: a group with a larger
 * value is a list of #define. */
static void constant_lines(Buf *out, const ProgItem *item, bool defines)
{
    int name_width = widest_name(item), value_width = 0;
    for (int i = 0; i < item->consts.count; i++) {
        int length = snprintf(NULL, 0, "%lld",
                              (long long)item->consts.at[i]->value);
        value_width = length > value_width ? length : value_width;
    }
    if (!defines)
        buf_printf(out, "enum {\n");
    for (int i = 0; i < item->consts.count; i++) {
        const ProgConst *constant = item->consts.at[i];
        long long value = constant->value;
        if (defines)
            buf_printf(out, "#define %-*s %*lldL", name_width, constant->name,
                       value_width, value);
        else
            buf_printf(out, "    %-*s = %*lld,", name_width, constant->name,
                       value_width, value);
        if (constant->comment) {
            buf_printf(out, "    /* ");
            text_remark(out, constant->comment);
            buf_printf(out, " */");
        }
        buf_printf(out, "\n");
    }
    buf_printf(out, defines ? "" : "};\n");
}

static void constants(Buf *out, const ProgItem *item)
{
    bool commented = false, large = item->wide;
    for (int i = 0; i < item->consts.count; i++) {
        commented |= item->consts.at[i]->comment != NULL;
        large |= !fits_int(item->consts.at[i]->value);
    }
    if (!item->consts.count)
        return;
    if (item->text)
        text_comment(out, 0, item->text);
    if (commented || large)
        constant_lines(out, item, large);
    else
        short_enum(out, item);
}

/* ---- records ------------------------------------------------------------- */
static void record_lines(Buf *out, const ProgRecord *record)
{
    enum { WIDEST = 44 };
    Arena *arena = arena_new();
    int widest = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < record->fields.count; i++) {
            const ProgField *field = &record->fields.at[i];
            Buf line = {0};
            buf_printf(&line, "    ");
            c_declare(&line, arena, field->type, field->name);
            buf_printf(&line, ";");
            int length = (int)line.length;
            if (pass == 0 && field->comment && length <= WIDEST
                && length > widest)
                widest = length;
            if (pass == 1 && field->comment) {
                buf_printf(out, "%-*s    /* ", widest, line.text);
                text_remark(out, field->comment);
                buf_printf(out, " */\n");
            } else if (pass == 1) {
                buf_printf(out, "%s\n", line.text);
            }
            buf_free(&line);
        }
    arena_free(arena);
}

static void record(Buf *out, const ProgRecord *r)
{
    if (r->comment)
        text_comment(out, 0, r->comment);
    buf_printf(out, "typedef struct {\n");
    record_lines(out, r);
    if (!r->fields.count)
        buf_printf(out, "    char nothing;    /* C wants a member */\n");
    buf_printf(out, "} %s;\n", r->name);
}

/* ---- data ---------------------------------------------------------------- */
static bool is_zero(const ProgDatum *value)
{
    switch (value->kind) {
    case PD_INT: return value->integer == 0 && !value->constant;
    case PD_FLOAT: return value->number == 0 && !signbit(value->number);
    case PD_NULL: return true;
    case PD_TEXT: case PD_DATA: case PD_FUNC: return false;
    }
    return false;
}

static void datum(Buf *out, int indent, const ProgField *field,
                  const ProgDatum *value)
{
    switch (value->kind) {
    case PD_INT:
        if (value->constant && value->times > 1)
            buf_printf(out, "%lld * ", (long long)value->times);
        if (value->constant)
            buf_printf(out, "%s", value->constant->name);
        else
            buf_printf(out, "%lld", (long long)value->integer);
        return;
    case PD_FLOAT:
        if (field->type.kind == PK_F32)
            text_f32(out, (float)value->number);
        else
            text_f64(out, value->number);
        return;
    case PD_TEXT:
        if (value->macro)
            buf_printf(out, "%s", value->macro);
        else
            text_string(out, indent, value->text);
        return;
    case PD_DATA:
        buf_printf(out, "%s%s", value->data->array ? "" : "&",
                   value->data->name);
        return;
    case PD_FUNC: buf_printf(out, "%s", value->func->name); return;
    case PD_NULL: buf_printf(out, "NULL"); return;
    }
}

/* Columns to allow for a value, such that the rows of a deep model break where
 * those of a shallow one do: a number counts as the longest likely one, and
 * marks a block (which are frozen: "f--") have a line of their own. */
static size_t allowance(ProgKind kind, const ProgDatum *value,
                        const char *text)
{
    enum { SHORT = 4, INTEGER = 13, REAL = 20, STRING = 60 };
    size_t length = strlen(text);
    switch (value->kind) {
    case PD_INT: return kind == PK_I32 ? SHORT : INTEGER;
    case PD_FLOAT: return REAL;
    case PD_TEXT:
        if (length > 2 && strspn(text, "\"f-") == length)
            return EMIT_WIDTH;
        return length < STRING ? length : STRING;
    case PD_DATA: case PD_FUNC: case PD_NULL: return length;
    }
    return length;
}

static void end_line(Buf *out, Buf *line, int indent)
{
    text_wrapped(out, indent, line->text, EMIT_WIDTH);
    buf_printf(out, "\n");
    buf_free(line);
    *line = (Buf){0};
}

/* A row of a table: {.name = "…", …}, what is zero left out. */
static void table_row(Buf *out, const ProgRecord *r, const ProgDatum *values)
{
    Buf line = {0};
    int indent = 4;
    size_t column = 5;
    buf_printf(&line, "{");
    for (int i = 0; i < r->fields.count; i++) {
        Buf text = {0};
        if (is_zero(&values[i]))
            continue;
        const ProgField *field = &r->fields.at[i];
        datum(&text, -1, field, &values[i]);
        size_t width = strlen(". = ,") + strlen(field->name)
                       + allowance(field->type.kind, &values[i], text.text);
        bool full = column > 5 && column + width >= EMIT_WIDTH;
        if (full) {
            buf_printf(&line, ",");
            end_line(out, &line, indent);
            indent = 5;
        }
        buf_printf(&line, "%s.%s = %s", column > 5 && !full ? ", " : "",
                   field->name, text.text);
        column = (full ? 5 : column) + width + 1;
        buf_free(&text);
    }
    buf_printf(&line, column > 5 ? "}," : "0},");
    end_line(out, &line, indent);
}

/* What the comment above a row says; NULL: there is none. */
static const char *heading(const ProgData *d, int row)
{
    for (int i = 0; i < d->headings.count; i++)
        if (d->headings.at[i].row == row)
            return d->headings.at[i].text;
    return NULL;
}

/* {A, 0}, {B, 1}, …: as many on a line as it takes. */
static void terse_rows(Buf *out, const ProgData *d)
{
    const ProgRecord *r = d->record;
    size_t column = 0;
    for (int row = 0; row < d->rows; row++) {
        Buf text = {0};
        for (int i = 0; i < r->fields.count; i++) {
            buf_printf(&text, i ? ", " : "{");
            datum(&text, -1, &r->fields.at[i],
                  &d->values.at[row * r->fields.count + i]);
        }
        buf_printf(&text, "},");
        bool begins = column == 0 || column + 1 + text.length > EMIT_WIDTH
            || heading(d, row);
        if (begins && column)
            buf_printf(out, "\n");
        if (heading(d, row))
            text_comment(out, 4, heading(d, row));
        buf_printf(out, "%*s%s", begins ? 4 : 1, "", text.text);
        column = (begins ? 4 : column + 1) + text.length;
        buf_free(&text);
    }
    buf_printf(out, "\n");
}

static void data(Buf *out, const ProgData *d)
{
    const ProgRecord *r = d->record;
    if (d->external) {
        buf_printf(out, "extern const %s %s;\n", r->name, d->name);
        return;
    }
    buf_printf(out, "%sconst %s %s%s = {\n", d->exported ? "" : "static ",
               r->name, d->name, d->array ? "[]" : "");
    if (d->terse)
        terse_rows(out, d);
    for (int row = 0; d->array && !d->terse && row < d->rows; row++) {
        if (heading(d, row))
            text_comment(out, 4, heading(d, row));
        table_row(out, r, d->values.at + row * r->fields.count);
    }
    for (int i = 0; !d->array && i < r->fields.count; i++) {
        buf_printf(out, "    .%s = ", r->fields.at[i].name);
        datum(out, 8, &r->fields.at[i], &d->values.at[i]);
        buf_printf(out, ",\n");
    }
    buf_printf(out, "};\n");
}

/* ---- the file ------------------------------------------------------------ */
static void item(Buf *out, const Prog *p, const ProgItem *i)
{
    switch (i->kind) {
    case PI_COMMENT: text_comment(out, 0, i->text); return;
    case PI_CONSTS: constants(out, i); return;
    case PI_RECORD: record(out, i->record); return;
    case PI_FUNC: c_function(out, p, i->func); return;
    case PI_DATA: data(out, i->data); return;
    }
}

static void includes(Buf *out, const Prog *p, const Buf *body)
{
    bool lanes = false, collectives = false;
    for (int i = 0; i < p->externs.count; i++) {
        lanes |= p->externs.at[i]->linkage == PL_LANES;
        collectives |= p->externs.at[i]->linkage == PL_COLLECTIVE;
    }
    if (collectives)
        buf_printf(out, "#include \"runtime/collectives.h\"\n");
    if (lanes)
        buf_printf(out, "#include \"runtime/kernels/lanes.h\"\n");
    if (strstr(body->text, "PROGRAM_"))
        buf_printf(out, "#include \"runtime/level.h\"\n");
    buf_printf(out, "#include \"runtime/program.h\"\n");
    if (strstr(body->text, "INFINITY") || strstr(body->text, "NAN"))
        buf_printf(out, "#include <math.h>\n");
    if (strstr(body->text, "NULL"))
        buf_printf(out, "#include <stddef.h>\n");
}

static const ProgData *program_data(const Prog *p)
{
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind == PI_DATA && p->items.at[i].data->exported
            && !strcmp(p->items.at[i].data->name, "program"))
            return p->items.at[i].data;
    return NULL;
}

void emit_c(const Prog *p, Buf *out)
{
    Buf body = {0};
    for (int i = 0; i < p->items.count; i++) {
        buf_printf(&body, "\n");
        item(&body, p, &p->items.at[i]);
    }
    if (program_data(p))
        buf_printf(&body,
                   "\nint main(int argc, char **argv)\n{\n"
                   "    return trainwright_main(&program, argc, argv);\n}\n");
    Buf head = {0};
    buf_printf(&head, "%s\nSPDX-License-Identifier: 0BSD",
               p->head ? p->head : p->name);
    text_comment(out, 0, head.text);
    buf_free(&head);
    includes(out, p, &body);
    buf_add(out, body.text ? body.text : "", body.length);
    buf_free(&body);
}
