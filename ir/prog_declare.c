/* prog_declare.c: the declarations of a Prog (prog_make.h): names, constants,
 * records, functions and constant data. Read unique() for how names are
 * made. */
#include "prog_make.h"

/* What a C file that includes the runtime's headers cannot name anew. */
static const char *const reserved[] = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double",
    "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long",
    "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
    "switch", "typedef", "typeof", "union", "unsigned", "void", "volatile", "while",
    "asm", "linux", "unix", "main", "NULL", "INFINITY", "NAN", "bool", "true", "false",
    "f32x16", "i32x16", "u32x16", "program", "exp", "log", "sqrt", "tanh", "index",
    "round", "free", "malloc", "trainwright_main", "share_start", "share_end", "barrier",
};

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static char letter(char c)
{
    bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
    return fine ? c : '_';
}

/* The name with every other character as `_`: a C identifier. */
static const char *identifier(Prog *p, const char *name)
{
    char *copy = arena_printf(p->arena, "%s%s",
                              is_digit(name[0]) || !name[0] ? "_" : "", name);
    for (char *c = copy; *c; c++)
        *c = letter(*c);
    return copy;
}

static bool is_reserved(const char *name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (!strcmp(reserved[i], name))
            return true;
    return false;
}

/* Is the name a keyword, the runtime's or at file scope (linear in a program's
 * names, some hundreds), or a variable of the function? */
static bool taken(const Prog *p, const ProgFunc *func, const char *name)
{
    if (is_reserved(name))
        return true;
    for (int i = 0; i < p->names.count; i++)
        if (!strcmp(p->names.at[i], name))
            return true;
    for (int i = 0; func && i < func->names.count; i++)
        if (!strcmp(func->names.at[i], name))
            return true;
    return prog_is_library_name(name);
}

const char *prog_suffixed(Arena *arena, const char *base, int number)
{
    size_t length = strlen(base);
    bool digit = length && is_digit(base[length - 1]);
    return arena_printf(arena, "%s%s%d", base, digit ? "_" : "", number);
}

/* The name as an identifier, with a suffix 2, 3 … where it is taken: at file
 * scope, and by the function's variables where func is given. */
static const char *unique(Prog *p, const ProgFunc *func, const char *name)
{
    const char *base = identifier(p, name), *found = base;
    for (int i = 2; taken(p, func, found); i++)
        found = prog_suffixed(p->arena, base, i);
    return found;
}

static const char *file_name(Prog *p, const char *name)
{
    const char *found = unique(p, NULL, name);
    list_push(p->arena, &p->names, found);
    return found;
}

static ProgItem *item(Prog *p, int kind)
{
    ProgItem fresh = {.kind = kind};
    list_push(p->arena, &p->items, fresh);
    return &p->items.at[p->items.count - 1];
}

static const char *copy_or_null(Prog *p, const char *text)
{
    return text ? arena_strdup(p->arena, text) : NULL;
}

/* ---- comments and constants ---------------------------------------------- */
void prog_add_comment(Prog *p, const char *text)
{
    item(p, PI_COMMENT)->text = arena_strdup(p->arena, text);
}

int prog_add_const_group(Prog *p, const char *comment)
{
    item(p, PI_CONSTS)->text = copy_or_null(p, comment);
    return p->items.count - 1;
}

int prog_add_wide_group(Prog *p, const char *comment)
{
    int group = prog_add_const_group(p, comment);
    p->items.at[group].wide = true;
    return group;
}

ProgConst *prog_const(Prog *p, int group, const char *name, int64_t value,
                      const char *comment)
{
    if (group < 0 || group >= p->items.count
        || p->items.at[group].kind != PI_CONSTS)
        ice("constant %s in no group", name);
    ProgConst *constant = arena_alloc(p->arena, sizeof *constant);
    constant->name = file_name(p, name);
    constant->value = value;
    constant->comment = copy_or_null(p, comment);
    constant->wide = p->items.at[group].wide;
    list_push(p->arena, &p->items.at[group].consts, constant);
    return constant;
}

/* ---- records ------------------------------------------------------------- */
ProgRecord *prog_record(Prog *p, const char *name, const char *comment)
{
    ProgRecord *record = arena_alloc(p->arena, sizeof *record);
    record->name = file_name(p, name);
    record->comment = copy_or_null(p, comment);
    item(p, PI_RECORD)->record = record;
    return record;
}

void prog_field(Prog *p, ProgRecord *record, const char *name, ProgType type,
                const char *comment)
{
    const char *spelt = identifier(p, name);
    if (is_reserved(spelt) && !record->external)
        spelt = arena_printf(p->arena, "%s_", spelt);
    if (prog_find_field(record, spelt))
        ice("record %s has two fields %s", record->name, spelt);
    if (type.kind == PK_VOID || type.kind == PK_RECORD)
        ice("field %s.%s is %s", record->name, spelt,
            prog_type_text(p->arena, type));
    ProgField field = {spelt, type, copy_or_null(p, comment)};
    list_push(p->arena, &record->fields, field);
}

/* Is `spelt` what prog_field makes of `name`? */
static bool spells(const char *spelt, const char *name)
{
    if (is_digit(name[0]) && spelt[0] == '_')
        spelt++;
    for (; *name; spelt++, name++)
        if (*spelt != letter(*name))
            return false;
    return !*spelt || !strcmp(spelt, "_");
}

const ProgField *prog_find_field(const ProgRecord *record, const char *name)
{
    for (int i = 0; i < record->fields.count; i++)
        if (spells(record->fields.at[i].name, name))
            return &record->fields.at[i];
    return NULL;
}

/* ---- functions ----------------------------------------------------------- */
ProgFunc *prog_func(Prog *p, const char *name, const char *comment,
                    ProgType result)
{
    ProgFunc *func = arena_alloc(p->arena, sizeof *func);
    func->name = file_name(p, name);
    func->comment = copy_or_null(p, comment);
    func->result = result;
    func->linkage = PL_STATIC;
    func->origin = p->here;
    return func;
}

ProgVar *prog_local(Prog *p, ProgFunc *func, const char *name, ProgType type)
{
    ProgVar *variable = arena_alloc(p->arena, sizeof *variable);
    variable->base = unique(p, NULL, name);
    variable->name = unique(p, func, name);
    list_push(p->arena, &func->names, variable->name);
    variable->type = type;
    variable->number = func->variables++;
    if (type.kind == PK_VOID || type.kind == PK_TEXT || type.kind == PK_ENTRY)
        ice("variable %s is %s", name, prog_type_text(p->arena, type));
    return variable;
}

ProgVar *prog_param(Prog *p, ProgFunc *func, const char *name, ProgType type)
{
    ProgVar *variable = prog_local(p, func, name, type);
    if (type.kind == PK_RECORD)
        ice("parameter %s is a record; pass its address", name);
    list_push(p->arena, &func->params, variable);
    return variable;
}

void prog_define(Prog *p, ProgFunc *func)
{
    if (func->linkage != PL_STATIC)
        ice("%s is the runtime's", func->name);
    item(p, PI_FUNC)->func = func;
}

ProgFunc *prog_extern(Prog *p, const char *name, ProgLinkage linkage,
                      ProgType result, int n, ...)
{
    for (int i = 0; i < p->externs.count; i++)
        if (!strcmp(p->externs.at[i]->name, name))
            return p->externs.at[i];
    ProgFunc *func = arena_alloc(p->arena, sizeof *func);
    func->name = arena_strdup(p->arena, name);
    func->result = result;
    func->linkage = linkage;
    va_list types;
    va_start(types, n);
    for (int i = 0; i < n; i++) {
        ProgVar *variable = arena_alloc(p->arena, sizeof *variable);
        variable->name = variable->base = "";
        variable->type = va_arg(types, ProgType);
        variable->number = func->variables++;
        list_push(p->arena, &func->params, variable);
    }
    va_end(types);
    list_push(p->arena, &p->externs, func);
    return func;
}

/* ---- constant data ------------------------------------------------------- */
ProgData *prog_data(Prog *p, const char *name, const ProgRecord *record,
                    bool array, bool exported)
{
    ProgData *data = arena_alloc(p->arena, sizeof *data);
    data->name = exported ? arena_strdup(p->arena, name) : file_name(p, name);
    data->record = record;
    data->array = array;
    data->exported = exported;
    item(p, PI_DATA)->data = data;
    return data;
}

ProgData *prog_external(Prog *p, const char *name, const ProgRecord *record)
{
    ProgData *data = prog_data(p, name, record, false, true);
    data->external = true;
    return data;
}

void prog_heading(Prog *p, ProgData *data, const char *text)
{
    const ProgHeading heading = {data->rows, arena_strdup(p->arena, text)};
    list_push(p->arena, &data->headings, heading);
}

/* Appends a value; its field's type must be one of the two kinds. */
static void datum(Prog *p, ProgData *data, ProgDatum value, bool fits(ProgKind))
{
    int fields = data->record->fields.count;
    const ProgField *field =
        &data->record->fields.at[data->values.count % fields];
    if (!fits(field->type.kind))
        ice("data %s: field %s is %s", data->name, field->name,
            prog_type_text(p->arena, field->type));
    list_push(p->arena, &data->values, value);
    data->rows = data->values.count / fields;
}

static bool is_fraction(ProgKind kind)
{
    return kind == PK_F32 || kind == PK_F64;
}
static bool is_text(ProgKind kind) { return kind == PK_TEXT; }
static bool is_pointer(ProgKind kind) { return kind == PK_POINTER; }
static bool is_entry(ProgKind kind) { return kind == PK_ENTRY; }
static bool is_nullable(ProgKind kind)
{
    return kind == PK_POINTER || kind == PK_TEXT || kind == PK_ENTRY;
}

void prog_datum_int(Prog *p, ProgData *data, int64_t value)
{
    datum(p, data, (ProgDatum){.kind = PD_INT, .integer = value},
          prog_is_integer);
}

void prog_datum_const(Prog *p, ProgData *data, const ProgConst *constant,
                      int64_t times)
{
    const ProgDatum value = {.kind = PD_INT,
                             .integer = times * constant->value,
                             .constant = constant,
                             .times = times};
    datum(p, data, value, prog_is_integer);
}

void prog_datum_float(Prog *p, ProgData *data, double value)
{
    datum(p, data, (ProgDatum){.kind = PD_FLOAT, .number = value}, is_fraction);
}

void prog_datum_text(Prog *p, ProgData *data, const char *text)
{
    datum(p, data,
          (ProgDatum){.kind = PD_TEXT, .text = arena_strdup(p->arena, text)},
          is_text);
}

void prog_datum_data(Prog *p, ProgData *data, const ProgData *target)
{
    datum(p, data, (ProgDatum){.kind = PD_DATA, .data = target}, is_pointer);
}

void prog_datum_func(Prog *p, ProgData *data, const ProgFunc *func)
{
    datum(p, data, (ProgDatum){.kind = PD_FUNC, .func = func}, is_entry);
}

void prog_datum_null(Prog *p, ProgData *data)
{
    datum(p, data, (ProgDatum){.kind = PD_NULL}, is_nullable);
}
