/* text_words.c: the words of the text form (text.h): those of enums, names and
 * numbers, types with their placements, and the attributes of ops. */
#include "text.h"

const char *const dtype_words[] = {
    [DT_F32] = "f32", [DT_F64] = "f64", [DT_I32] = "i32", NULL,
};
const char *const dim_kind_words[] = {
    [DIM_MODEL] = "model", [DIM_BATCH] = "batch", [DIM_SEQUENCE] = "sequence",
    [DIM_ROWS] = "rows", [DIM_SHARE] = "share", NULL,
};
const char *const init_words[] = {
    [INIT_ZEROS] = "zeros", [INIT_ONES] = "ones", [INIT_NORMAL] = "normal",
    [INIT_SINUSOIDAL] = "sinusoidal", [INIT_ROTARY_COS] = "rotary-cos",
    [INIT_ROTARY_SIN] = "rotary-sin", [INIT_ALIBI] = "alibi",
    [INIT_RELATIVE] = "relative", [INIT_HELD] = "held", NULL,
};
const char *const kernel_words[] = {
    [KERNEL_ROW] = "row",
    [KERNEL_COLUMN] = "column",
    [KERNEL_LIBRARY] = "library",
    [KERNEL_VIEW] = "view",
    NULL,
};
const char *const area_words[] = {
    [AREA_NONE] = "none",
    [AREA_FRAME] = "frame",
    [AREA_RECORD] = "record",
    [AREA_PENDING] = "pending",
    NULL,
};
const char *const class_words[] = {
    [CLASS_POINT] = "point",         [CLASS_ROW] = "row",
    [CLASS_COLUMN] = "column",       [CLASS_MATMUL] = "matmul",
    [CLASS_ATTENTION] = "attention", [CLASS_INDEX] = "index",
    [CLASS_VIEW] = "view",           [CLASS_RESHARD] = "reshard",
    NULL,
};

const FieldInfo attr_fields[] = {
    { "by", FIELD_NUMBER, offsetof(Attrs, by) },
    { "rate", FIELD_NUMBER, offsetof(Attrs, rate) },
    { "scale", FIELD_NUMBER, offsetof(Attrs, scale) },
    { "heads", FIELD_INTEGER, offsetof(Attrs, heads) },
    { "kv_heads", FIELD_INTEGER, offsetof(Attrs, kv_heads) },
    { "window", FIELD_INTEGER, offsetof(Attrs, window) },
    { "count", FIELD_INTEGER, offsetof(Attrs, count) },
    { "room", FIELD_INTEGER, offsetof(Attrs, room) },
    { "numerator", FIELD_INTEGER, offsetof(Attrs, numerator) },
    { "denominator", FIELD_INTEGER, offsetof(Attrs, denominator) },
    { "channels", FIELD_INTEGER, offsetof(Attrs, channels) },
    { "size", FIELD_INTEGER, offsetof(Attrs, size) },
    { "patch", FIELD_INTEGER, offsetof(Attrs, patch) },
    { "skip", FIELD_INTEGER, offsetof(Attrs, skip) },
    { "site", FIELD_INDEX, offsetof(Attrs, site) },
    { "slot", FIELD_INDEX, offsetof(Attrs, slot) },
    { "pool", FIELD_INDEX, offsetof(Attrs, pool) },
    { "dim", FIELD_DIM, offsetof(Attrs, dim) },
    { "width", FIELD_DIM, offsetof(Attrs, width) },
    { "context", FIELD_INTEGER, offsetof(Attrs, context) },
    { "parts", FIELD_DIM, offsetof(Attrs, parts) },
    { "causal", FIELD_FLAG, offsetof(Attrs, causal) },
    { "cached", FIELD_FLAG, offsetof(Attrs, cached) },
    { "cross", FIELD_FLAG, offsetof(Attrs, cross) },
    { "alibi", FIELD_FLAG, offsetof(Attrs, alibi) },
    { "edges", FIELD_FLAG, offsetof(Attrs, edges) },
    { "relative", FIELD_FLAG, offsetof(Attrs, relative) },
    { "partial", FIELD_FLAG, offsetof(Attrs, partial) },
    { "axis", FIELD_AXIS, offsetof(Attrs, axis) },
    { "from", FIELD_PLACED, offsetof(Attrs, from) },
    { "to", FIELD_PLACED, offsetof(Attrs, to) },
    { NULL, FIELD_FLAG, 0 },
};

const FieldInfo init_fields[] = {
    { "std", FIELD_NUMBER, offsetof(Init, std) },
    { "residual", FIELD_FLAG, offsetof(Init, residual) },
    { "base", FIELD_NUMBER, offsetof(Init, base) },
    { "factor", FIELD_NUMBER, offsetof(Init, factor) },
    { "low", FIELD_NUMBER, offsetof(Init, low) },
    { "high", FIELD_NUMBER, offsetof(Init, high) },
    { "original", FIELD_NUMBER, offsetof(Init, original) },
    { NULL, FIELD_FLAG, 0 },
};

/* ---- names and numbers ---- */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9');
}

bool name_is_plain(const char *name)
{
    if (!is_letter(*name))
        return false;
    for (const char *at = name; *at;) {
        bool braced = *at == '{';
        at += braced;
        if (!is_word(*at))
            return false;
        while (is_word(*at))
            at++;
        if (braced && (at[0] != '}' || at[1] != '.'))
            return false;
        at += braced;
        if (*at && *at != '.' && *at != '-')
            return false;
        if (*at && !*++at)
            return false;
    }
    return true;
}

void quote_print(const char *text, Buf *out)
{
    buf_printf(out, "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 32 || *c == 127 || *c == '"' || *c == '\\')
            buf_printf(out, "\\x%02x", *c);
        else
            buf_printf(out, "%c", *c);
    buf_printf(out, "\"");
}

void name_print(const char *name, Buf *out)
{
    if (name_is_plain(name))
        buf_printf(out, "%s", name);
    else
        quote_print(name, out);
}

static void dim_print(const Module *m, int dim, Buf *out)
{
    if (dim == 0)
        buf_printf(out, "1");
    else
        name_print(m->dims.at[dim].name, out);
}

/* "/data/context" behind the dims that are split. */
static void print_splits(const Value *v, int dim, Buf *out)
{
    for (Axis axis = 0; axis < AXES; axis++)
        if (v->placed[axis].how == PLACED_SPLIT && v->placed[axis].dim == dim)
            buf_printf(out, "/%s", axis_names[axis]);
}

void value_type_print(const Module *m, const Value *v, Buf *out)
{
    buf_printf(out, "%s[", dtype_words[v->type.dtype]);
    for (int i = 0; i < v->type.rank; i++) {
        buf_printf(out, "%s", i ? "," : "");
        dim_print(m, v->type.dims[i], out);
        print_splits(v, i, out);
    }
    buf_printf(out, "]");
    for (int how = PLACED_SUM; placing_names[how]; how++) {
        const char *sign = "(";
        for (Axis axis = 0; axis < AXES; axis++) {
            if (v->placed[axis].how != how)
                continue;
            if (*sign == '(')
                buf_printf(out, " %s", placing_names[how]);
            buf_printf(out, "%s%s", sign, axis_names[axis]);
            sign = ",";
        }
        buf_printf(out, "%s", *sign == ',' ? ")" : "");
    }
}

void type_print(const Module *m, const Type *type, Buf *out)
{
    const Value whole = { .type = *type };
    value_type_print(m, &whole, out);
}

bool op_has_attr(Op op, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = op_info[op].attributes; at && *at;
         at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, name, length) && (!at[length] || at[length] == ','))
            return true;
    }
    return false;
}

int weight_by_name(const Module *m, const Func *f, const char *name)
{
    int found = f->stack >= 0 ? module_find_weight(m, name, f->stack) : -1;
    return found >= 0 ? found : module_find_weight(m, name, -1);
}

const char *weight_path(const Module *m, int weight, Arena *arena)
{
    const Weight *w = &m->weights.at[weight];
    if (w->stack < 0)
        return w->name;
    const Stack *stack = &m->stacks.at[w->stack];
    return arena_printf(arena, "%sblocks.{%s}.%s", stack->prefix, stack->dim,
                        w->name);
}
