/* parse_step.c: a step's text (parse.h). Read parse_step at the end. */
#include "parse.h"

static bool names(Parser *p, Stmt *s, bool results, char close)
{
    const char *text;
    if (!results && parse_is_sign(p, close))
        return parse_expect(p, close);
    do {
        if (!parse_name(p, "a name", &text, NULL))
            return false;
        if (results)
            list_push(p->arena, &s->results, text);
        else
            list_push(p->arena, &s->arguments, text);
    } while (parse_accept(p, ','));
    return parse_expect(p, close);
}

static bool func_ref(Parser *p, Func **func)
{
    const char *text;
    Loc loc;
    if (!parse_name(p, "a function", &text, &loc))
        return false;
    *func = module_find_func(p->m, text);
    if (*func)
        return true;
    List(const char *) all = {0};
    for (int i = 0; i < p->m->funcs.count; i++)
        list_push(p->arena, &all, p->m->funcs.at[i]->name);
    parse_unknown(p, loc, "function", text, all.at, all.count);
    return false;
}

/* [RESULT, … =] FUNC[l](ARGUMENT, …) */
static bool call(Parser *p, Stmt *s)
{
    const Token *next = &p->lexer.next;
    s->kind = STEP_CALL;
    if (next->kind == TOKEN_SIGN && (next->sign == '=' || next->sign == ','))
        if (!names(p, s, true, '='))
            return false;
    if (!func_ref(p, &s->func))
        return false;
    s->indexed = parse_accept(p, '[');
    if (s->indexed && !(parse_expect_word(p, "l") && parse_expect(p, ']')))
        return false;
    return parse_expect(p, '(') && names(p, s, false, ')');
}

/* VARIABLE < COUNT */
static bool loop_head(Parser *p, const char *variable, int64_t *count)
{
    return parse_expect_word(p, variable) && parse_expect(p, '<')
        && parse_integer(p, "a count", 1, LIMIT_COUNT, count);
}

/* chunks c < COUNT of N rows [last] */
static bool chunks(Parser *p, Stmt *s)
{
    bool fine =
        loop_head(p, "c", &s->count) && parse_expect_word(p, "of")
        && parse_integer(p, "a count of rows", 1, LIMIT_DIM, &s->chunk_rows)
        && (s->pooled = parse_accept_word(p, "sequences"),
            s->pooled || parse_expect_word(p, "rows"));
    s->last = fine && parse_accept_word(p, "last");
    return fine;
}

bool parse_stack(Parser *p, int *stack)
{
    const char *dim;
    Loc loc;
    *stack = 0;
    if (!parse_accept(p, '<') && !parse_accept_word(p, "of"))
        return true;
    if (!parse_name(p, "a stack's dim", &dim, &loc))
        return false;
    for (; *stack < p->m->stacks.count; ++*stack)
        if (!strcmp(p->m->stacks.at[*stack].dim, dim))
            return true;
    diag_error(p->diag, loc, "no stack has `%.60s` blocks", dim);
    return false;
}

/* repeat l < L [down], or repeat l from N to N [of L] [down] */
static bool repeat(Parser *p, Stmt *s)
{
    bool fine = parse_expect_word(p, "l");
    if (fine && parse_accept_word(p, "from"))
        fine = parse_integer(p, "a block", 0, LIMIT_COUNT, &s->from)
            && parse_expect_word(p, "to")
            && parse_integer(p, "a block", 0, LIMIT_COUNT, &s->to)
            && parse_stack(p, &s->stack);
    else if (fine && !parse_is_sign(p, '<'))
        fine = parse_wrong(p, "`<` and the stack's dim");
    else if (fine)
        fine = parse_stack(p, &s->stack);
    s->down = fine && parse_accept_word(p, "down");
    return fine;
}

/* The head of a statement; *nests says whether a body follows. */
static bool statement_head(Parser *p, Stmt *s, bool *nests)
{
    const Token *next = &p->lexer.next;
    bool called = next->kind == TOKEN_SIGN && strchr("=,([", next->sign);
    if (called)
        return call(p, s);
    *nests = true;
    if (parse_accept_word(p, "groups")) {
        s->kind = STEP_GROUPS;
        return loop_head(p, "g", &s->count);
    }
    if (parse_accept_word(p, "micros")) {
        s->kind = STEP_MICROS;
        return loop_head(p, "m", &s->count);
    }
    if (parse_accept_word(p, "chunks")) {
        s->kind = STEP_CHUNKS;
        return chunks(p, s);
    }
    if (parse_accept_word(p, "repeat")) {
        s->kind = STEP_REPEAT;
        return repeat(p, s);
    }
    *nests = false;
    if (parse_accept_word(p, "count")) {
        s->kind = STEP_COUNT;
        return parse_name(p, "targets, labels or pairs", &s->what, NULL);
    }
    if (parse_accept_word(p, "zero")) {
        const char *name;
        s->kind = STEP_ZERO;
        if (!parse_name(p, "a value", &name, NULL))
            return false;
        list_push(p->arena, &s->results, name);
        return true;
    }
    if (parse_accept_word(p, "sites")) {
        s->kind = STEP_SITES;
        return true;
    }
    if (parse_accept_word(p, "norm")) {
        s->kind = STEP_NORM;
        return true;
    }
    if (parse_accept_word(p, "update")) {
        s->kind = STEP_UPDATE;
        return func_ref(p, &s->func);
    }
    return parse_wrong(p, "a call, count, zero, groups, micros, repeat, "
                          "chunks, sites, norm or update");
}

/* A statement and what is nested in it; NULL after an error. */
static Stmt *statement(Parser *p, int depth)
{
    Stmt *s = arena_alloc(p->arena, sizeof *s);
    bool nests = false;
    Loc loc = parse_token(p)->loc;
    if (parse_too_many(p, loc, p->statements++, LIMIT_STATEMENTS,
                       "statements in a step")
        || parse_too_many(p, loc, depth, LIMIT_DEPTH, "levels of statements")
        || !statement_head(p, s, &nests) || (nests && !parse_expect(p, '{')))
        return NULL;
    parse_origin(p, &s->origin);
    if (!parse_end_of_line(p) || !nests)
        return parse_token(p)->first ? s : NULL;
    while (!parse_is_sign(p, '}')) {
        Stmt *inner = statement(p, depth + 1);
        if (!inner)
            return NULL;
        list_push(p->arena, &s->body, inner);
    }
    return parse_expect(p, '}') && parse_end_of_line(p) ? s : NULL;
}

/* Digits of an action, at least one; *text then stands behind them. */
static bool action_number(const char **text, int64_t *number)
{
    const char *digit = *text;
    for (; *digit >= '0' && *digit <= '9' && *number < LIMIT_COUNT; digit++)
        *number = 10 * *number + *digit - '0';
    bool any = digit > *text;
    *text = digit;
    return any;
}

/* F0, B12, F3.1: an action; false with an error where it is none. */
static bool action(Parser *p, StageRun *run)
{
    const char *text;
    Loc loc;
    if (!parse_name(p, "an action", &text, &loc))
        return false;
    Action one = {0};
    const char *letter = strchr(action_letters, text[0]), *rest = text + 1;
    bool fine = letter && action_number(&rest, &one.micro);
    if (fine)
        one.kind = (ActionKind)(letter - action_letters);
    if (fine && *rest == '.') {
        rest++;
        fine = action_number(&rest, &one.chunk);
    }
    if (!fine || *rest || one.chunk >= run->chunks.count) {
        diag_error(p->diag, loc, "wanted an action, F, B or W and the number "
                   "of a micro-batch, behind a point that of a chunk, got "
                   "`%.40s`", text);
        return false;
    }
    list_push(p->arena, &run->actions, one);
    return true;
}

/* Behind `of`: the dim that counts a stack's blocks. */
static bool chunk_stack(Parser *p, int *stack)
{
    const char *dim;
    Loc loc;
    if (!parse_name(p, "a stack's blocks", &dim, &loc))
        return false;
    for (int i = 0; i < p->m->stacks.count; i++)
        if (!strcmp(p->m->stacks.at[i].dim, dim)) {
            *stack = i;
            return true;
        }
    diag_error(p->diag, loc, "no stack has `%.60s` blocks", dim);
    return false;
}

/* Behind `from`: N to N [of DIM] slots N [pending N] */
static bool model_chunk(Parser *p, StageRun *run)
{
    ModelChunk chunk = {0};
    if (parse_too_many(p, parse_token(p)->loc, run->chunks.count,
                       LIMIT_STATEMENTS, "chunks of a stage")
        || !parse_integer(p, "a block", 0, LIMIT_COUNT, &chunk.from)
        || !parse_expect_word(p, "to")
        || !parse_integer(p, "a block", 0, LIMIT_COUNT, &chunk.to)
        || (parse_accept_word(p, "of") && !chunk_stack(p, &chunk.stack))
        || !parse_expect_word(p, "slots")
        || !parse_integer(p, "slots", 1, LIMIT_COUNT, &chunk.slots)
        || (parse_accept_word(p, "pending")
            && !parse_integer(p, "slots", 1, LIMIT_COUNT, &chunk.pending)))
        return false;
    list_push(p->arena, &run->chunks, chunk);
    return true;
}

/* After `stage`: from N to N [of DIM] slots N [from …] runs ACTION … */
static bool stage_run(Parser *p, Step *step)
{
    StageRun run = {0};
    if (parse_too_many(p, parse_token(p)->loc, step->stages.count, LIMIT_STEPS,
                       "stages")
        || !parse_expect_word(p, "from") || !model_chunk(p, &run))
        return false;
    while (parse_accept_word(p, "from"))
        if (!model_chunk(p, &run))
            return false;
    if (!parse_expect_word(p, "runs"))
        return false;
    while (parse_token(p)->kind == TOKEN_NAME && !parse_token(p)->first)
        if (parse_too_many(p, parse_token(p)->loc, run.actions.count,
                           LIMIT_STATEMENTS, "actions of a stage")
            || !action(p, &run))
            return false;
    list_push(p->arena, &step->stages, run);
    return parse_end_of_line(p);
}

/* step NAME batch=N sequence=N micro=N [training] { STATEMENT … } */
bool parse_step(Parser *p)
{
    Step *step = arena_alloc(p->arena, sizeof *step);
    struct { const char *name; int64_t *at;
    } sizes[] = {
        { "batch", &step->batch },
        { "sequence", &step->sequence },
        { "micro", &step->micro },
    };
    Loc loc;
    if (!parse_name(p, "a step's name", &step->name, &loc)
        || parse_too_many(p, loc, p->m->steps.count, LIMIT_STEPS, "steps"))
        return false;
    if (module_find_step(p->m, step->name)) {
        diag_error(p->diag, loc, "the step `%.60s` is defined twice",
                   step->name);
        return false;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!parse_expect_word(p, sizes[i].name) || !parse_expect(p, '=')
            || !parse_integer(p, sizes[i].name, 1, 1 << 30, sizes[i].at))
            return false;
    step->training = parse_accept_word(p, "training");
    if (!parse_expect(p, '{') || !parse_end_of_line(p))
        return false;
    p->statements = 0;
    while (parse_accept_word(p, "stage"))
        if (!stage_run(p, step))
            return false;
    while (!parse_is_sign(p, '}')) {
        Stmt *s = statement(p, 0);
        if (!s)
            return false;
        list_push(p->arena, &step->body, s);
    }
    list_push(p->arena, &p->m->steps, step);
    return parse_expect(p, '}') && parse_end_of_line(p);
}
