/* prog_merge.c: what is said twice is said once. Neighbouring branches on the
 * same condition become one; of tables with the same rows all but the first go.
 * A condition must mean the same the second time: it calls nothing and names no
 * variable or field that the first branch sets. */
#include "prog_make.h"

/* ---- branches ------------------------------------------------------------ */

static bool same(const ProgExpr *a, const ProgExpr *b)
{
    if (!a || !b)
        return a == b;
    return a->kind == b->kind && a->kind != PE_CALL && a->kind != PE_LOAD
        && a->type.kind == b->type.kind && a->integer == b->integer
        && !memcmp(&a->number, &b->number, sizeof a->number)
        && a->constant == b->constant && a->variable == b->variable
        && a->data == b->data
        && (a->field == b->field
            || (a->field && b->field && !strcmp(a->field, b->field)))
        && same(a->a, b->a) && same(a->b, b->b) && same(a->c, b->c);
}

static bool names_variable(const ProgExpr *e, const ProgVar *variable)
{
    return e && (e->variable == variable || names_variable(e->a, variable)
                 || names_variable(e->b, variable)
                 || names_variable(e->c, variable));
}

static bool names_field(const ProgExpr *e, const char *field)
{
    return e && ((e->kind == PE_FIELD && !strcmp(e->field, field))
                 || names_field(e->a, field) || names_field(e->b, field)
                 || names_field(e->c, field));
}

/* Does a statement of the block set what e reads? */
static bool disturbs(const ProgBlock *block, const ProgExpr *e)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        if ((s->kind == PS_SET && names_variable(e, s->variable))
            || (s->kind == PS_FIELD_SET && names_field(e, s->field))
            || disturbs(&s->body, e) || disturbs(&s->other, e))
            return true;
    }
    return false;
}

static bool merges(const ProgStmt *first, const ProgStmt *second)
{
    return first->kind == PS_IF && second->kind == PS_IF
        && same(first->a, second->a) && !disturbs(&first->body, first->a)
        && !disturbs(&first->other, first->a);
}

static void append(Arena *arena, ProgBlock *to, const ProgBlock *from)
{
    for (int i = 0; i < from->statements.count; i++)
        list_push(arena, &to->statements, from->statements.at[i]);
}

static void merge_block(Arena *arena, ProgBlock *block)
{
    int kept = 0;
    for (int i = 0; i < block->statements.count; i++) {
        ProgStmt *s = block->statements.at[i];
        ProgStmt *before = kept ? block->statements.at[kept - 1] : NULL;
        if (before && merges(before, s)) {
            append(arena, &before->body, &s->body);
            append(arena, &before->other, &s->other);
        } else {
            block->statements.at[kept++] = s;
        }
    }
    block->statements.count = kept;
    for (int i = 0; i < kept; i++) {
        merge_block(arena, &block->statements.at[i]->body);
        merge_block(arena, &block->statements.at[i]->other);
    }
}

void prog_merge_branches(Prog *p)
{
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind == PI_FUNC)
            merge_block(p->arena, &p->items.at[i].func->body);
}

/* ---- tables -------------------------------------------------------------- */
static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static bool same_datum(const ProgDatum *a, const ProgDatum *b)
{
    return a->kind == b->kind && a->integer == b->integer
        && a->constant == b->constant && a->times == b->times
        && !memcmp(&a->number, &b->number, sizeof a->number)
        && same_text(a->text, b->text) && same_text(a->macro, b->macro)
        && a->data == b->data && a->func == b->func;
}

static bool same_table(const ProgData *a, const ProgData *b)
{
    if (a->record != b->record || a->rows != b->rows || !a->array || !b->array)
        return false;
    for (int i = 0; i < a->values.count; i++)
        if (!same_datum(&a->values.at[i], &b->values.at[i]))
            return false;
    return true;
}

/* The first table of the runtime's like this one: itself, if there is none. */
static const ProgData *first_like(const Prog *p, const ProgData *data)
{
    for (int i = 0; i < p->items.count; i++) {
        const ProgData *other = p->items.at[i].data;
        if (p->items.at[i].kind == PI_DATA
            && (other == data || (data->record->external
                                  && same_table(other, data))))
            return other;
    }
    return data;
}

/* A table is named by those behind it alone, and they by later ones. */
void prog_merge_tables(Prog *p)
{
    int kept = 0;
    for (int i = 0; i < p->items.count; i++) {
        ProgData *data = p->items.at[i].data;
        bool table = p->items.at[i].kind == PI_DATA;
        for (int j = 0; table && j < data->values.count; j++)
            if (data->values.at[j].kind == PD_DATA)
                data->values.at[j].data =
                    first_like(p, data->values.at[j].data);
    }
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind != PI_DATA
            || first_like(p, p->items.at[i].data) == p->items.at[i].data)
            p->items.at[kept++] = p->items.at[i];
    p->items.count = kept;
}
