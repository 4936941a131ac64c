/* prog_equal.c: whether two functions of a Prog are the same but for their name
 * and their lines of the spec, so that one will do: kernels of the variants of
 * a function often are. Read prog_same_function at the end. */
#include "prog_make.h"

static bool same_type(const ProgType *a, const ProgType *b)
{
    return a->kind == b->kind && a->of == b->of && a->record == b->record
        && a->is_const == b->is_const && a->is_restrict == b->is_restrict;
}

static bool same_variable(const ProgVar *a, const ProgVar *b)
{
    if (!a || !b)
        return a == b;
    return a->number == b->number && !strcmp(a->base, b->base)
        && same_type(&a->type, &b->type);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static bool same_number(double a, double b)
{
    return !memcmp(&a, &b, sizeof a);
}

static bool same_expr(const ProgExpr *a, const ProgExpr *b)
{
    if (!a || !b)
        return a == b;
    if (a->kind != b->kind || !same_type(&a->type, &b->type)
        || a->integer != b->integer || !same_number(a->number, b->number)
        || a->data != b->data || a->constant != b->constant
        || a->callee != b->callee || !same_variable(a->variable, b->variable)
        || !same_text(a->field, b->field) || a->args.count != b->args.count)
        return false;
    for (int i = 0; i < a->args.count; i++)
        if (!same_expr(a->args.at[i], b->args.at[i]))
            return false;
    return same_expr(a->a, b->a) && same_expr(a->b, b->b)
        && same_expr(a->c, b->c);
}

static bool same_block(const ProgBlock *a, const ProgBlock *b);

static bool same_stmt(const ProgStmt *a, const ProgStmt *b)
{
    return a->kind == b->kind && same_variable(a->variable, b->variable)
        && same_expr(a->a, b->a) && same_expr(a->b, b->b)
        && same_expr(a->c, b->c) && same_text(a->field, b->field)
        && same_text(a->text, b->text) && same_block(&a->body, &b->body)
        && same_block(&a->other, &b->other);
}

static bool same_block(const ProgBlock *a, const ProgBlock *b)
{
    if (a->statements.count != b->statements.count)
        return false;
    for (int i = 0; i < a->statements.count; i++)
        if (!same_stmt(a->statements.at[i], b->statements.at[i]))
            return false;
    return true;
}

bool prog_same_function(const ProgFunc *a, const ProgFunc *b)
{
    if (a->linkage != b->linkage || !same_type(&a->result, &b->result)
        || a->params.count != b->params.count)
        return false;
    for (int i = 0; i < a->params.count; i++)
        if (!same_variable(a->params.at[i], b->params.at[i]))
            return false;
    return same_block(&a->body, &b->body);
}

const ProgFunc *prog_find_same(const Prog *p, const ProgFunc *func)
{
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind == PI_FUNC && item->func != func
            && prog_same_function(item->func, func))
            return item->func;
    }
    return NULL;
}
