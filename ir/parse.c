/* parse.c: text to Module, the inverse of text.c; docs/ir.md is the grammar.
 * Read module_parse at the end; above it stand dims and weights, types, and
 * what all rules are made of. Functions and steps are in parse_func.c,
 * parse_step.c.
 *
 * The text is a user's or a fuzzer's: what it says is bounded (LIMIT_…). After
 * an error the rest of the line is passed over. */
#include "parse.h"

/* ---- tokens ---- */
Token *parse_token(Parser *p)
{
    return &p->lexer.token;
}

bool parse_is_sign(Parser *p, char sign)
{
    return parse_token(p)->kind == TOKEN_SIGN && parse_token(p)->sign == sign;
}

bool parse_is_word(Parser *p, const char *word)
{
    const Token *t = parse_token(p);
    return t->kind == TOKEN_NAME && !t->quoted && !strcmp(t->text, word);
}

bool parse_accept(Parser *p, char sign)
{
    if (!parse_is_sign(p, sign))
        return false;
    lexer_step(&p->lexer);
    return true;
}

bool parse_accept_word(Parser *p, const char *word)
{
    if (!parse_is_word(p, word))
        return false;
    lexer_step(&p->lexer);
    return true;
}

static const char *token_text(Parser *p)
{
    const Token *t = parse_token(p);
    switch (t->kind) {
    case TOKEN_END: return "the end of the text";
    case TOKEN_NAME:
    case TOKEN_NUMBER: return arena_printf(p->arena, "`%.60s`", t->text);
    case TOKEN_SIGN:
        return t->sign == '>' ? "`->`"
                              : arena_printf(p->arena, "`%c`", t->sign);
    case TOKEN_ORIGIN: return "an origin";
    case TOKEN_BAD: break;
    }
    return "";
}

/* `wanted` is not what stands here. Bad tokens have had their message. */
bool parse_wrong(Parser *p, const char *wanted)
{
    if (parse_token(p)->kind != TOKEN_BAD)
        diag_error(p->diag, parse_token(p)->loc, "wanted %s, got %s", wanted,
                   token_text(p));
    return false;
}

bool parse_expect(Parser *p, char sign)
{
    char wanted[] = { '`', sign, '`', 0 };
    return parse_accept(p, sign)
        || parse_wrong(p, sign == '>' ? "`->`" : wanted);
}

bool parse_expect_word(Parser *p, const char *word)
{
    return parse_accept_word(p, word)
        || parse_wrong(p, arena_printf(p->arena, "`%s`", word));
}

bool parse_name(Parser *p, const char *what, const char **text, Loc *loc)
{
    if (parse_token(p)->kind != TOKEN_NAME)
        return parse_wrong(p, what);
    *text = parse_token(p)->text;
    if (loc)
        *loc = parse_token(p)->loc;
    lexer_step(&p->lexer);
    return true;
}

bool parse_integer(Parser *p, const char *what, int64_t least, int64_t most,
                   int64_t *number)
{
    Token *t = parse_token(p);
    if (t->kind != TOKEN_NUMBER || !integer_parse(t->text, number))
        return parse_wrong(p, what);
    if (*number < least || *number > most) {
        diag_error(p->diag, t->loc, "%s is from %lld to %lld, not %s", what,
                   (long long)least, (long long)most, t->text);
        return false;
    }
    lexer_step(&p->lexer);
    return true;
}

static bool number(Parser *p, double *value)
{
    Token *t = parse_token(p);
    if (parse_is_word(p, "inf"))
        *value = __builtin_inf();
    else if (t->kind != TOKEN_NUMBER || !number_parse(t->text, value))
        return parse_wrong(p, "a number");
    lexer_step(&p->lexer);
    return true;
}

/* The index of the name here among words; -1 and an error with a hint. */
int parse_word(Parser *p, const char *what, const char *const *words)
{
    int count = 0;
    for (; words[count]; count++)
        if (parse_is_word(p, words[count])) {
            lexer_step(&p->lexer);
            return count;
        }
    if (parse_token(p)->kind != TOKEN_NAME) {
        parse_wrong(p, what);
        return -1;
    }
    diag_error(p->diag, parse_token(p)->loc, "there is no %s `%.60s`", what,
               parse_token(p)->text);
    const char *near = nearest_word(parse_token(p)->text, words, count);
    if (near)
        diag_hint(p->diag, "did you mean `%s`?", near);
    return -1;
}

void parse_origin(Parser *p, Origin *origin)
{
    if (parse_token(p)->kind == TOKEN_ORIGIN && !parse_token(p)->first) {
        *origin = parse_token(p)->origin;
        lexer_step(&p->lexer);
    }
}

/* After an error that was met in what began at `start`: goes on at the next
 * line. */
void parse_recover(Parser *p, Loc start)
{
    const Loc *here = &parse_token(p)->loc;
    if (here->line == start.line && here->col == start.col)
        lexer_step(&p->lexer);
    while (!parse_token(p)->first)
        lexer_step(&p->lexer);
}

bool parse_inside(Parser *p)
{
    return !parse_is_sign(p, '}') && parse_token(p)->kind != TOKEN_END
        && p->diag->errors < p->errors_before + LIMIT_ERRORS;
}

bool parse_end_of_line(Parser *p)
{
    return parse_token(p)->first || parse_wrong(p, "the end of the line");
}

bool parse_too_many(Parser *p, Loc loc, int count, int limit, const char *what)
{
    if (count < limit)
        return false;
    diag_error(p->diag, loc, "more than %d %s", limit, what);
    return true;
}

/* Unknown `name`: says so, with the nearest of the count candidates. */
void parse_unknown(Parser *p, Loc loc, const char *what, const char *name,
                    const char *const *candidates, int count)
{
    diag_error(p->diag, loc, "there is no %s `%.60s`", what, name);
    const char *near = nearest_word(name, candidates, count);
    if (near)
        diag_hint(p->diag, "did you mean `%s`?", near);
}

/* ---- dims and types ---- */
static bool dim_ref(Parser *p, int *dim)
{
    if (parse_token(p)->kind == TOKEN_NUMBER
        && !strcmp(parse_token(p)->text, "1")) {
        *dim = 0;
        lexer_step(&p->lexer);
        return true;
    }
    const char *text;
    Loc loc;
    if (!parse_name(p, "a dim", &text, &loc))
        return false;
    *dim = module_find_dim(p->m, text);
    if (*dim >= 0)
        return true;
    List(const char *) names = {0};
    for (int i = 1; i < p->m->dims.count; i++)
        list_push(p->arena, &names, p->m->dims.at[i].name);
    parse_unknown(p, loc, "dim", text, names.at, names.count);
    return false;
}

/* An axis of the mesh along which `how` is to be said, and has not been. */
static bool axis_ref(Parser *p, Placement how, Placement *placed)
{
    Loc loc = parse_token(p)->loc;
    int axis = parse_word(p, "axis of the mesh", axis_names);
    if (axis < 0)
        return false;
    if (placed[axis].how != PLACED_WHOLE) {
        diag_error(p->diag, loc, "the value is placed along `%s` already",
                   axis_names[axis]);
        return false;
    }
    placed[axis] = how;
    return true;
}

/* /AXIS … behind a dim */
static bool splits(Parser *p, int dim, Placement *placed)
{
    while (parse_accept(p, '/'))
        if (!axis_ref(p, (Placement){ PLACED_SPLIT, (unsigned char)dim },
                      placed))
            return false;
    return true;
}

/* dtype [ dim , … ] */
static bool parse_dims(Parser *p, Type *type, Placement *placed)
{
    Loc loc = parse_token(p)->loc;
    int dtype = parse_word(p, "type", dtype_words);
    if (dtype < 0 || !parse_expect(p, '['))
        return false;
    *type = (Type){ .dtype = (Dtype)dtype };
    while (!parse_is_sign(p, ']')) {
        if (type->rank == MAX_RANK) {
            diag_error(p->diag, parse_token(p)->loc,
                       "a type has at most %d dims", MAX_RANK);
            return false;
        }
        if (!dim_ref(p, &type->dims[type->rank])
            || (placed && !splits(p, type->rank, placed)))
            return false;
        type->rank++;
        if (!parse_accept(p, ','))
            break;
    }
    if (!parse_expect(p, ']'))
        return false;
    if (!type_fits(p->m, type)) {
        diag_error(p->diag, loc,
                   "a row of this type has more than 2^62 elements");
        return false;
    }
    return true;
}

bool parse_type(Parser *p, Type *type)
{
    return parse_dims(p, type, NULL);
}

/* … sum(AXIS, …) max(AXIS, …) one(AXIS, …) routed(AXIS, …) */
bool parse_placed_type(Parser *p, Type *type, Placement *placed)
{
    if (!parse_dims(p, type, placed))
        return false;
    for (int how = PLACED_SUM; placing_names[how]; how++) {
        if (!parse_accept_word(p, placing_names[how]))
            continue;
        if (!parse_expect(p, '('))
            return false;
        do {
            if (!axis_ref(p, (Placement){ (unsigned char)how, 0 }, placed))
                return false;
        } while (parse_accept(p, ','));
        if (!parse_expect(p, ')'))
            return false;
    }
    return true;
}

/* The least size of a dim: of blocks there may be none. */
static int64_t least_size(const Module *m, const char *name)
{
    for (int i = 0; i < m->stacks.count; i++)
        if (!strcmp(m->stacks.at[i].dim, name))
            return 0;
    return 1;
}

/* dim NAME=SIZE NAME:KIND … , with doc=TEXT and an origin */
static bool dims(Parser *p)
{
    while (!parse_token(p)->first && parse_token(p)->kind == TOKEN_NAME) {
        Loc loc;
        const char *text;
        int64_t size = 0;
        int kind = DIM_MODEL;
        if (!parse_name(p, "a dim's name", &text, &loc)
            || parse_too_many(p, loc, p->m->dims.count, LIMIT_DIMS, "dims"))
            return false;
        if (module_find_dim(p->m, text) >= 0) {
            diag_error(p->diag, loc, "the dim `%.60s` is declared twice", text);
            return false;
        }
        bool sized = !parse_accept(p, ':');
        if (!sized) {
            kind = parse_word(p, "kind of dim", dim_kind_words);
            if (kind < 0)
                return false;
        }
        if (!sized && kind != DIM_SHARE) {
            size = 0;
        } else if (!parse_expect(p, '=')
                   || !parse_integer(p, "a size", least_size(p->m, text),
                                     LIMIT_DIM, &size)) {
            return false;
        }
        if (kind == DIM_MODEL && !sized) {
            diag_error(p->diag, loc, "a dim of the model has a size: %s=N",
                       text);
            return false;
        }
        module_dim(p->m, text, (DimKind)kind, size);
        Dim *dim = &p->m->dims.at[p->m->dims.count - 1];
        if (parse_accept_word(p, "doc")
            && (!parse_expect(p, '=')
                || !parse_name(p, "a text", &dim->doc, NULL)))
            return false;
        Origin from = {0};
        parse_origin(p, &from);
        dim->origin = from.model;
    }
    return parse_end_of_line(p);
}

/* ---- fields: attributes of a node, parameters of an init ---- */
/* whole, sum … ; split(DIM), the number of an axis of the value */
static bool placement(Parser *p, Placement *placed)
{
    int64_t dim = 0;
    int how = parse_word(p, "placement", placing_names);
    if (how < 0
        || (how == PLACED_SPLIT
            && !(parse_expect(p, '(')
                 && parse_integer(p, "an axis", 0, MAX_RANK - 1, &dim)
                 && parse_expect(p, ')'))))
        return false;
    *placed = (Placement){ (unsigned char)how, (unsigned char)dim };
    return true;
}

static bool field_value(Parser *p, const FieldInfo *field, char *at)
{
    int64_t value;
    if (field->kind == FIELD_FLAG) {
        *(bool *)at = true;
        return true;
    }
    if (!parse_expect(p, '='))
        return false;
    switch (field->kind) {
    case FIELD_NUMBER:
        return number(p, (double *)at);
    case FIELD_INTEGER:
        return parse_integer(p, field->name, 0, LIMIT_DIM, (int64_t *)at);
    case FIELD_INDEX:
        if (!parse_integer(p, field->name, 0, 1 << 20, &value))
            return false;
        *(int *)at = (int)value;
        return true;
    case FIELD_DIM:
        return dim_ref(p, (int *)at);
    case FIELD_AXIS:
        value = parse_word(p, "axis of the mesh", axis_names);
        *(Axis *)at = (Axis)(value < 0 ? 0 : value);
        return value >= 0;
    case FIELD_PLACED:
        return placement(p, (Placement *)at);
    case FIELD_FLAG:
        break;
    }
    return false;
}

/* name=value, flag … up to `close`, into the struct at `into`. */
bool parse_fields(Parser *p, const FieldInfo *table, Op op, char *into,
                  char close)
{
    while (!parse_is_sign(p, close)) {
        const char *names[32];
        int count = 0;
        const FieldInfo *found = NULL;
        for (const FieldInfo *f = table; f->name; f++) {
            if (op < OP_COUNT && !op_has_attr(op, f->name))
                continue;
            names[count++] = f->name;
            if (parse_is_word(p, f->name))
                found = f;
        }
        if (parse_token(p)->kind != TOKEN_NAME)
            return parse_wrong(p, "the name of a parameter");
        if (!found) {
            parse_unknown(p, parse_token(p)->loc, "parameter",
                          parse_token(p)->text, names, count);
            return false;
        }
        lexer_step(&p->lexer);
        if (!field_value(p, found, into + found->offset))
            return false;
        if (!parse_accept(p, ','))
            break;
    }
    return parse_expect(p, close);
}

/* ---- weights ---- */
const char *parse_block_name(const Module *m, const char *path, int *stack)
{
    for (*stack = 0; *stack < m->stacks.count; ++*stack) {
        const Stack *one = &m->stacks.at[*stack];
        const char *prefix =
            arena_printf(m->arena, "%sblocks.{%s}.", one->prefix, one->dim);
        if (!strncmp(path, prefix, strlen(prefix)))
            return path + strlen(prefix);
    }
    *stack = -1;
    return NULL;
}

static bool weight_flags(Parser *p, Weight *w)
{
    for (;;) {
        bool whole = parse_accept_word(p, "whole");
        if (whole || parse_accept_word(p, "file")) {
            if (!parse_expect(p, '=') || !parse_type(p, &w->file_type))
                return false;
            w->whole_file = whole;
        } else if (parse_accept_word(p, "rows")) {
            w->slice = SLICE_ROWS;
        } else if (parse_accept_word(p, "columns")) {
            w->slice = SLICE_COLUMNS;
        } else if (parse_accept_word(p, "inputs")) {
            w->slice = SLICE_LAST;
        } else if (parse_accept_word(p, "experts")) {
            w->experts = true;
        } else if (parse_accept_word(p, "partial")) {
            w->partial = true;
        } else if (parse_accept_word(p, "derived")) {
            w->derived = true;
        } else if (parse_accept_word(p, "constant")) {
            w->constant = true;
        } else if (parse_accept_word(p, "decay")) {
            w->decay = true;
        } else if (parse_accept_word(p, "frozen")) {
            w->frozen = true;
        } else if (parse_accept_word(p, "frozen_blocks")) {
            if (!parse_expect(p, '=')
                || !parse_name(p, "a letter a block", &w->frozen_blocks, NULL))
                return false;
        } else {
            break;
        }
    }
    parse_origin(p, &w->origin);
    return parse_end_of_line(p);
}

/* weight NAME: TYPE init=KIND(…) constant decay frozen frozen_blocks="-f" */
static bool weight(Parser *p)
{
    Weight w = {0};
    Loc loc;
    if (!parse_name(p, "a weight's name", &w.name, &loc)
        || parse_too_many(p, loc, p->m->weights.count, LIMIT_WEIGHTS,
                          "weights"))
        return false;
    const char *own = parse_block_name(p->m, w.name, &w.stack);
    if (own)
        w.name = own;
    if (!*w.name || module_find_weight(p->m, w.name, w.stack) >= 0) {
        diag_error(p->diag, loc, "the weight `%.60s` is declared twice",
                   w.name);
        return false;
    }
    if (!parse_expect(p, ':') || !parse_type(p, &w.type))
        return false;
    if (parse_accept_word(p, "init")) {
        int kind =
            parse_expect(p, '=') ? parse_word(p, "init", init_words) : -1;
        if (kind < 0)
            return false;
        w.init.kind = (InitKind)kind;
        if (parse_accept(p, '(')
            && !parse_fields(p, init_fields, OP_COUNT, (char *)&w.init, ')'))
            return false;
    }
    if (!weight_flags(p, &w))
        return false;
    list_push(p->arena, &p->m->weights, w);
    return true;
}

/* ---- modules ---- */
/* Goes on at the next line that begins a dim, weight, function or step. */
static void skip_to_item(Parser *p, Loc start)
{
    static const char *const items[] = { "dim", "weight", "func", "step" };
    for (;; start = parse_token(p)->loc) {
        parse_recover(p, start);
        bool item = parse_token(p)->kind == TOKEN_END;
        for (size_t i = 0; i < sizeof items / sizeof *items; i++)
            item |= parse_is_word(p, items[i]);
        if (item)
            return;
    }
}

/* stack DIM "PREFIX": the first takes the place of the one that every module
 * has. */
static bool stack(Parser *p)
{
    Stack one = {0};
    Loc loc;
    if (!parse_name(p, "a dim", &one.dim, &loc)
        || !parse_name(p, "a prefix", &one.prefix, NULL))
        return false;
    if (p->m->weights.count || p->m->funcs.count || p->stacks == 2) {
        diag_error(p->diag, loc,
                   "two stacks at most, before weights and functions");
        return false;
    }
    if (p->stacks++ == 0)
        p->m->stacks.at[0] = one;
    else
        list_push(p->arena, &p->m->stacks, one);
    return parse_end_of_line(p);
}

/* mesh data=D stages=S context=C tensor=T shard=WHAT shard_group=G each_micro
 * prefetch experts=E bucket=BYTES placed */
static bool parse_mesh(Parser *p)
{
    enum { MOST_RANKS = 1 << 20 };
    Mesh *mesh = &p->m->mesh;
    if (!(parse_expect_word(p, "data") && parse_expect(p, '=')
          && parse_integer(p, "data", 1, MOST_RANKS, &mesh->data)
          && parse_expect_word(p, "stages") && parse_expect(p, '=')
          && parse_integer(p, "stages", 1, MOST_RANKS, &mesh->stages)
          && parse_expect_word(p, "context") && parse_expect(p, '=')
          && parse_integer(p, "context", 1, MOST_RANKS, &mesh->context)
          && parse_expect_word(p, "tensor") && parse_expect(p, '=')
          && parse_integer(p, "tensor", 1, MOST_RANKS, &mesh->tensor)
          && parse_expect_word(p, "shard") && parse_expect(p, '=')))
        return false;
    int shard = parse_word(p, "shard", shard_names);
    mesh->shard = shard < 0 ? SHARD_NONE : (Shard)shard;
    if (shard >= 0 && parse_accept_word(p, "shard_group")
        && !(parse_expect(p, '=')
             && parse_integer(p, "shard_group", 1, MOST_RANKS,
                              &mesh->shard_group)))
        return false;
    mesh->each_micro = shard >= 0 && parse_accept_word(p, "each_micro");
    mesh->prefetch = shard >= 0 && parse_accept_word(p, "prefetch");
    if (shard >= 0 && parse_accept_word(p, "experts")
        && !(parse_expect(p, '=')
             && parse_integer(p, "experts", 1, MOST_RANKS, &mesh->experts)))
        return false;
    if (shard >= 0 && parse_accept_word(p, "bucket")
        && !(parse_expect(p, '=')
             && parse_integer(p, "bucket", 1, INT64_MAX, &mesh->bucket)))
        return false;
    p->m->placed = shard >= 0 && parse_accept_word(p, "placed");
    return shard >= 0 && parse_end_of_line(p);
}

static bool item(Parser *p)
{
    if (parse_accept_word(p, "stack"))
        return stack(p);
    if (parse_accept_word(p, "dim"))
        return dims(p);
    if (parse_accept_word(p, "weight"))
        return weight(p);
    if (parse_accept_word(p, "mesh"))
        return parse_mesh(p);
    if (parse_accept_word(p, "func"))
        return parse_func(p);
    if (parse_accept_word(p, "step"))
        return parse_step(p);
    return parse_wrong(p, "mesh, dim, weight, func or step");
}

static bool module_head(Parser *p)
{
    const char *text;
    int64_t sites = 0;
    if (!parse_accept_word(p, "module"))
        return parse_wrong(p, "`module NAME`");
    if (!parse_name(p, "the module's name", &text, NULL))
        return false;
    if (parse_accept_word(p, "sites_per_block")
        && (!parse_expect(p, '=')
            || !parse_integer(p, "sites_per_block", 0, 1 << 20, &sites)))
        return false;
    p->m = module_new(p->arena, p->diag, text);
    p->m->sites_per_block = (int)sites;
    return parse_end_of_line(p);
}

Module *module_parse(Diag *diag, Arena *arena, int source)
{
    Parser p = { .diag = diag, .arena = arena, .errors_before = diag->errors };
    if (diag->sources.at[source].length > (size_t)LIMIT_BYTES) {
        diag_error_at(diag, diag->sources.at[source].name,
                      "more than %d bytes of IR", LIMIT_BYTES);
        return NULL;
    }
    lexer_start(&p.lexer, diag, arena, source);
    if (!module_head(&p))
        return NULL;
    while (parse_token(&p)->kind != TOKEN_END
           && diag->errors < p.errors_before + LIMIT_ERRORS) {
        Loc start = parse_token(&p)->loc;
        if (!item(&p))
            skip_to_item(&p, start);
    }
    return diag->errors == p.errors_before ? p.m : NULL;
}
