/* prog_prune.c: drops what a Prog has no use for, which in C would be warnings:
 * functions that nothing reaches from the constant data, library functions that
 * then nothing calls, and variables that are declared and no more. Callees are
 * defined before callers, so one walk backwards finds the functions. */
#include "prog_make.h"

/* ---- functions ----------------------------------------------------------- */
typedef List(const ProgFunc *) Used;

/* Linear: a program has some hundred functions. */
static bool is_used(const Used *used, const ProgFunc *func)
{
    for (int i = 0; i < used->count; i++)
        if (used->at[i] == func)
            return true;
    return false;
}

static void use(Arena *arena, Used *used, const ProgFunc *func)
{
    if (!is_used(used, func))
        list_push(arena, used, func);
}

static void use_expr(Arena *arena, Used *used, const ProgExpr *e)
{
    if (!e)
        return;
    if (e->kind == PE_CALL)
        use(arena, used, e->callee);
    use_expr(arena, used, e->a);
    use_expr(arena, used, e->b);
    use_expr(arena, used, e->c);
    for (int i = 0; i < e->args.count; i++)
        use_expr(arena, used, e->args.at[i]);
}

static void use_block(Arena *arena, Used *used, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        use_expr(arena, used, s->a);
        use_expr(arena, used, s->b);
        use_expr(arena, used, s->c);
        use_block(arena, used, &s->body);
        use_block(arena, used, &s->other);
    }
}

static void use_data(Arena *arena, Used *used, const ProgData *data)
{
    for (int i = 0; i < data->values.count; i++)
        if (data->values.at[i].kind == PD_FUNC)
            use(arena, used, data->values.at[i].func);
}

/* ---- variables ----------------------------------------------------------- */
static void count_expr(int *uses, const ProgExpr *e)
{
    if (!e)
        return;
    if (e->kind == PE_VAR)
        uses[e->variable->number]++;
    count_expr(uses, e->a);
    count_expr(uses, e->b);
    count_expr(uses, e->c);
    for (int i = 0; i < e->args.count; i++)
        count_expr(uses, e->args.at[i]);
}

static bool calls(const ProgExpr *e)
{
    return e && (e->kind == PE_CALL || calls(e->a) || calls(e->b)
                 || calls(e->c));
}

/* Does it no more than fill a field of a local record? */
static bool only_fills(const ProgStmt *s)
{
    return s->kind == PS_FIELD_SET && s->a->kind == PE_VAR
        && s->a->type.kind == PK_RECORD && !calls(s->b);
}

static void count_block(int *uses, const ProgBlock *block)
{
    for (int i = 0; i < block->statements.count; i++) {
        const ProgStmt *s = block->statements.at[i];
        if (!only_fills(s))
            count_expr(uses, s->a);
        count_expr(uses, s->b);
        count_expr(uses, s->c);
        if (s->kind == PS_SET)
            uses[s->variable->number]++;
        count_block(uses, &s->body);
        count_block(uses, &s->other);
    }
}

static bool is_empty_branch(const ProgStmt *s)
{
    return s->kind == PS_IF && !s->body.statements.count
        && !s->other.statements.count && !calls(s->a);
}

/* Drops branches that do nothing, declarations without a use or an effect, and
 * what fills records of which no one reads a field; true if there were any. */
static bool drop_variables(const int *uses, ProgBlock *block)
{
    int kept = 0;
    bool dropped = false;
    for (int i = 0; i < block->statements.count; i++) {
        ProgStmt *s = block->statements.at[i];
        if (s->kind == PS_LET && !uses[s->variable->number] && !calls(s->a))
            continue;
        if (only_fills(s) && !uses[s->a->variable->number])
            continue;
        dropped |= drop_variables(uses, &s->body);
        dropped |= drop_variables(uses, &s->other);
        if (is_empty_branch(s))
            continue;
        block->statements.at[kept++] = s;
    }
    dropped |= kept != block->statements.count;
    block->statements.count = kept;
    return dropped;
}

/* What a dropped one read may be the next. */
static void prune_variables(ProgFunc *func)
{
    bool more = true;
    while (more) {
        Arena *scratch = arena_new();
        size_t bytes = ((size_t)func->variables + 1) * sizeof(int);
        int *uses = arena_alloc(scratch, bytes);
        count_block(uses, &func->body);
        more = drop_variables(uses, &func->body);
        arena_free(scratch);
    }
}

/* ---- the whole ----------------------------------------------------------- */
static void find_used(Arena *arena, Used *used, const Prog *p)
{
    for (int i = 0; i < p->items.count; i++)
        if (p->items.at[i].kind == PI_DATA)
            use_data(arena, used, p->items.at[i].data);
    for (int i = p->items.count - 1; i >= 0; i--) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind == PI_FUNC && is_used(used, item->func)) {
            prune_variables(item->func);
            use_block(arena, used, &item->func->body);
        }
    }
}

void prog_prune(Prog *p)
{
    Arena *scratch = arena_new();
    Used used = {0};
    int kept = 0;
    find_used(scratch, &used, p);
    for (int i = 0; i < p->items.count; i++) {
        const ProgItem *item = &p->items.at[i];
        if (item->kind != PI_FUNC || is_used(&used, item->func))
            p->items.at[kept++] = *item;
    }
    p->items.count = kept;
    kept = 0;
    for (int i = 0; i < p->externs.count; i++)
        if (is_used(&used, p->externs.at[i]))
            p->externs.at[kept++] = p->externs.at[i];
    p->externs.count = kept;
    arena_free(scratch);
}
