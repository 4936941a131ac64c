/* prog_unread.c: drops what a Prog makes and nothing reads: fields of its own
 * records, with what sets them and their columns in tables, parameters, with
 * the arguments given for them, and constants. What only they read goes with
 * them (prog_prune). Read prog_drop_unread at the end. */
#include "prog_make.h"

/* Fields that an expression reads: of each record, by number. */
typedef struct Reads {
    const ProgRecord *record;
    bool *read;
} Reads;

typedef struct Unread {
    Prog *p;
    Arena *scratch;
    List(Reads) records;
    List(const ProgConst *) constants;
    bool any;                           /* was something dropped? */
} Unread;

static bool acts(const ProgExpr *e)
{
    return e && (e->kind == PE_CALL || acts(e->a) || acts(e->b) || acts(e->c));
}

static int field_number(const ProgRecord *record, const char *name)
{
    return (int)(prog_find_field(record, name) - record->fields.at);
}

/* Linear: a program has some ten records. NULL: the runtime's. */
static bool *reads_of(Unread *u, const ProgRecord *record)
{
    if (record->external)
        return NULL;
    for (int i = 0; i < u->records.count; i++)
        if (u->records.at[i].record == record)
            return u->records.at[i].read;
    size_t fields = (size_t)record->fields.count + 1;
    const Reads reads = { record, arena_alloc(u->scratch, fields) };
    list_push(u->scratch, &u->records, reads);
    return reads.read;
}

static void read_constant(Unread *u, const ProgConst *constant)
{
    for (int i = 0; i < u->constants.count; i++)
        if (u->constants.at[i] == constant)
            return;
    list_push(u->scratch, &u->constants, constant);
}

/* ---- what is read -------------------------------------------------------- */
static void read_expr(Unread *u, const ProgExpr *e)
{
    if (!e)
        return;
    if (e->kind == PE_FIELD) {
        bool *read = reads_of(u, e->a->type.record);
        if (read)
            read[field_number(e->a->type.record, e->field)] = true;
    }
    if (e->kind == PE_CONST)
        read_constant(u, e->constant);
    read_expr(u, e->a);
    read_expr(u, e->b);
    read_expr(u, e->c);
    for (int i = 0; i < e->args.count; i++)
        read_expr(u, e->args.at[i]);
}

/* A field is also kept for the sake of a call that gives its value. */
static void read_block(Unread *u, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        read_expr(u, s->a);
        read_expr(u, s->b);
        read_expr(u, s->c);
        bool *read = s->kind == PS_FIELD_SET && acts(s->b)
            ? reads_of(u, s->a->type.record) : NULL;
        if (read)
            read[field_number(s->a->type.record, s->field)] = true;
        read_block(u, &s->body);
        read_block(u, &s->other);
    }
}

static void read_data(Unread *u, const ProgData *data)
{
    for (int i = 0; i < data->values.count; i++)
        if (data->values.at[i].constant)
            read_constant(u, data->values.at[i].constant);
}

static void read_all(Unread *u)
{
    for (int i = 0; i < u->p->items.count; i++) {
        const ProgItem *item = &u->p->items.at[i];
        if (item->kind == PI_FUNC)
            read_block(u, &item->func->body);
        if (item->kind == PI_DATA)
            read_data(u, item->data);
    }
}

/* ---- fields -------------------------------------------------------------- */
static void drop_sets(Unread *u, ProgBlock *block)
{
    int kept = 0;
    for (int i = 0; i < block->statements.count; i++) {
        ProgStmt *s = block->statements.at[i];
        const bool *read = s->kind == PS_FIELD_SET
            ? reads_of(u, s->a->type.record) : NULL;
        if (read && !read[field_number(s->a->type.record, s->field)])
            continue;
        drop_sets(u, &s->body);
        drop_sets(u, &s->other);
        block->statements.at[kept++] = s;
    }
    block->statements.count = kept;
}

static void drop_columns(Unread *u, ProgData *data)
{
    const bool *read = reads_of(u, data->record);
    int fields = data->record->fields.count, kept = 0;
    if (!read)
        return;
    for (int i = 0; i < data->values.count; i++)
        if (read[i % fields])
            data->values.at[kept++] = data->values.at[i];
    data->values.count = kept;
}

static void drop_fields(Unread *u)
{
    for (int i = 0; i < u->p->items.count; i++) {
        const ProgItem *item = &u->p->items.at[i];
        if (item->kind == PI_FUNC)
            drop_sets(u, &item->func->body);
        if (item->kind == PI_DATA)
            drop_columns(u, item->data);
    }
    for (int i = 0; i < u->p->items.count; i++) {
        ProgRecord *record = u->p->items.at[i].record;
        if (u->p->items.at[i].kind != PI_RECORD)
            continue;
        const bool *read = reads_of(u, record);
        int kept = 0;
        for (int f = 0; f < record->fields.count; f++)
            if (read[f])
                record->fields.at[kept++] = record->fields.at[f];
        u->any |= kept < record->fields.count;
        record->fields.count = kept;
    }
}

/* ---- parameters ---------------------------------------------------------- */
static bool expr_mentions(const ProgExpr *e, const ProgVar *variable)
{
    if (!e)
        return false;
    for (int i = 0; i < e->args.count; i++)
        if (expr_mentions(e->args.at[i], variable))
            return true;
    return e->variable == variable || expr_mentions(e->a, variable)
        || expr_mentions(e->b, variable) || expr_mentions(e->c, variable);
}

static bool block_mentions(const ProgBlock *block, const ProgVar *variable)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        if (expr_mentions(s->a, variable) || expr_mentions(s->b, variable)
            || expr_mentions(s->c, variable)
            || block_mentions(&s->body, variable)
            || block_mentions(&s->other, variable))
            return true;
    }
    return false;
}

/* Does the runtime call it, through a table? */
static bool is_entry(const Prog *p, const ProgFunc *func)
{
    for (int i = 0; i < p->items.count; i++) {
        const ProgData *data = p->items.at[i].data;
        if (p->items.at[i].kind != PI_DATA)
            continue;
        for (int j = 0; j < data->values.count; j++)
            if (data->values.at[j].kind == PD_FUNC
                && data->values.at[j].func == func)
                return true;
    }
    return false;
}

/* Takes argument `number` out of the calls of func in e, which may be part of
 * several expressions. */
static void drop_argument(ProgExpr *e, const ProgFunc *func, int number)
{
    if (!e)
        return;
    drop_argument(e->a, func, number);
    drop_argument(e->b, func, number);
    drop_argument(e->c, func, number);
    for (int i = 0; i < e->args.count; i++)
        drop_argument(e->args.at[i], func, number);
    if (e->kind != PE_CALL || e->callee != func
        || e->args.count == func->params.count)
        return;
    for (int i = number + 1; i < e->args.count; i++)
        e->args.at[i - 1] = e->args.at[i];
    e->args.count--;
}

static void drop_arguments(ProgBlock *block, const ProgFunc *func, int number)
{
    for (int i = 0; i < block->statements.count; i++) {
        ProgStmt *s = block->statements.at[i];
        drop_argument(s->a, func, number);
        drop_argument(s->b, func, number);
        drop_argument(s->c, func, number);
        drop_arguments(&s->body, func, number);
        drop_arguments(&s->other, func, number);
    }
}

static void drop_parameters(Unread *u, ProgFunc *func)
{
    for (int i = func->params.count - 1; i >= 0; i--) {
        if (block_mentions(&func->body, func->params.at[i]))
            continue;
        for (int j = i + 1; j < func->params.count; j++)
            func->params.at[j - 1] = func->params.at[j];
        func->params.count--;
        for (int j = 0; j < u->p->items.count; j++)
            if (u->p->items.at[j].kind == PI_FUNC)
                drop_arguments(&u->p->items.at[j].func->body, func, i);
        u->any = true;
    }
}

/* ---- constants ----------------------------------------------------------- */
static void drop_constants(Unread *u)
{
    for (int i = 0; i < u->p->items.count; i++) {
        ProgItem *item = &u->p->items.at[i];
        int kept = 0;
        if (item->kind != PI_CONSTS)
            continue;
        for (int j = 0; j < item->consts.count; j++) {
            bool read = item->consts.at[j]->mentioned;
            for (int k = 0; k < u->constants.count; k++)
                read |= u->constants.at[k] == item->consts.at[j];
            if (read)
                item->consts.at[kept++] = item->consts.at[j];
        }
        item->consts.count = kept;
    }
}

/* ---- the whole ----------------------------------------------------------- */
void prog_drop_unread(Prog *p)
{
    Unread u = { .p = p, .any = true };
    while (u.any) {
        u = (Unread){ .p = p, .scratch = arena_new() };
        read_all(&u);
        drop_fields(&u);
        for (int i = 0; i < p->items.count; i++)
            if (p->items.at[i].kind == PI_FUNC
                && !is_entry(p, p->items.at[i].func))
                drop_parameters(&u, p->items.at[i].func);
        if (!u.any)
            drop_constants(&u);
        prog_prune(p);
        arena_free(u.scratch);
    }
    int kept = 0;
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind != PI_CONSTS || p->items.at[i].consts.count)
            p->items.at[kept++] = p->items.at[i];
    p->items.count = kept;
}
