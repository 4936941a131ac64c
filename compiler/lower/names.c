/* names.c: how things of the module are called in the Prog. */
#include "lowering.h"

static bool is_gradient_name(const char *dotted)
{
    return dotted[0] == 'd' && dotted[1] == '.';
}

const char *c_name(const Lower *l, const char *dotted)
{
    /* d.attn.q, the gradient of attn.q, is dattn_q */
    const char *d = is_gradient_name(dotted) ? "d" : "";
    char *name = arena_printf(l->arena, "%s%s", d, *d ? dotted + 2 : dotted);
    for (char *c = name; *c; c++)
        if (*c == '.')
            *c = '_';
    return name;
}

const char *name_stem(const Lower *l, const char *dotted)
{
    char *name = arena_strdup(l->arena, dotted), *dot = strrchr(name, '.');
    for (; dot && dot[1] >= '0' && dot[1] <= '9'; dot = strrchr(name, '.'))
        *dot = 0;
    return name;
}

const char *last_part(const Lower *l, const char *dotted)
{
    bool gradient = is_gradient_name(dotted);
    const char *stem = name_stem(l, gradient ? dotted + 2 : dotted);
    const char *dot = strrchr(stem, '.'), *last = dot ? dot + 1 : stem;
    return gradient ? arena_printf(l->arena, "d%s", last) : last;
}

ProgType value_pointer(const Value *v, bool is_const)
{
    switch (v->type.dtype) {
    case DT_F32: return prog_pointer(PK_F32, is_const);
    case DT_F64: return prog_pointer(PK_F64, is_const);
    case DT_I32: return prog_pointer(PK_I32, is_const);
    }
    ice("no such dtype");
}

ProgExpr *dim_size(Lower *l, int dim)
{
    if (dim == 0)
        return px_int(l->p, 1);
    if (!l->dims[dim])
        ice("the size of %s is not a constant", l->m->dims.at[dim].name);
    return px_const(l->p, l->dims[dim]);
}

ProgExpr *elements_of(Lower *l, const Type *type)
{
    int64_t elements = type_elements(l->m, type);
    if (elements > INT32_MAX)       /* in C dims are ints, and so is V * C */
        return px_int(l->p, elements);
    ProgExpr *all = dim_size(l, type->dims[0]);
    for (int i = 1; i < type->rank; i++)
        all = px_mul(l->p, all, dim_size(l, type->dims[i]));
    return all;
}

ProgExpr *width_of(Lower *l, const Type *type)
{
    return dim_size(l, type->dims[type->rank - 1]);
}

const char *shape_comment(const Lower *l, const Type *type)
{
    Buf buf = {0};
    buf_printf(&buf, type->rank ? "[" : "[1");
    for (int i = 0; i < type->rank; i++) {
        ProgConst *named = type->dims[i] ? l->dims[type->dims[i]] : NULL;
        if (named)
            named->mentioned = true;
        buf_printf(&buf, "%s%s", i ? ", " : "",
                   named ? named->name : l->m->dims.at[type->dims[i]].name);
    }
    buf_printf(&buf, "]");
    const char *text = arena_strndup(l->arena, buf.text, buf.length);
    buf_free(&buf);
    return text;
}

const char *where(const Lower *l, const Origin *origin)
{
    return diag_where(l->m->diag, l->arena, origin->model);
}
