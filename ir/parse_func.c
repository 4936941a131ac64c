/* parse_func.c: a function's text (parse.h). Read parse_func at the end. Names
 * are defined before they are used, but for the results in the head and for
 * values that share memory. Every node's types are derived here, so that a
 * clash points at its line. */
#include "parse.h"

/* ---- values ---- */
static Value *find_value(const Func *f, const char *name)
{
    for (int i = 0; i < f->values.count; i++)
        if (f->values.at[i]->kind != VALUE_SCALAR
            && !strcmp(f->values.at[i]->name, name))
            return f->values.at[i];
    return NULL;
}

static Value *new_value(Parser *p, ValueKind kind, const char *text, Loc loc)
{
    if (parse_too_many(p, loc, p->f->values.count, LIMIT_VALUES,
                       "values in a function"))
        return NULL;
    if (find_value(p->f, text)) {
        diag_error(p->diag, loc, "`%.60s` is defined twice", text);
        return NULL;
    }
    Value *v = arena_alloc(p->arena, sizeof *v);
    *v = (Value){ .name = text,
                  .kind = kind,
                  .number = p->f->values.count,
                  .weight = -1,
                  .offset = -1 };
    return v;
}

/* From here on its name means something. */
static void define(Parser *p, Value *v)
{
    v->number = p->f->values.count;
    list_push(p->arena, &p->f->values, v);
}

/* NAME: TYPE [@AREA+OFFSET] [@as NAME] */
static Value *typed_value(Parser *p, ValueKind kind)
{
    const char *text;
    Loc loc;
    if (!parse_name(p, "a value's name", &text, &loc))
        return NULL;
    Value *v = new_value(p, kind, text, loc);
    if (!v || !parse_expect(p, ':')
        || !parse_placed_type(p, &v->type, v->placed))
        return NULL;
    while (parse_accept(p, '@')) {
        if (parse_accept_word(p, "as")) {
            Pending pending = { .value = v };
            if (!parse_name(p, "a value's name", &pending.name, &pending.loc))
                return NULL;
            list_push(p->arena, &p->pending, pending);
            continue;
        }
        int area = parse_word(p, "area", area_words);
        if (area < 0 || !parse_expect(p, '+')
            || !parse_integer(p, "an offset", 0, (int64_t)1 << 62, &v->offset))
            return NULL;
        v->area = area == AREA_FRAME  ? AREA_FRAME
                : area == AREA_RECORD ? AREA_RECORD
                : area == AREA_PENDING ? AREA_PENDING
                                       : AREA_NONE;
    }
    return v;
}

/* The weight a name means in this function: bare, or by its path; -1: none. */
static int weight_ref(Parser *p, const char *text)
{
    int stack;
    const char *own = parse_block_name(p->m, text, &stack);
    if (own)
        return module_find_weight(p->m, own, stack);
    return weight_by_name(p->m, p->f, text);
}

static void unknown_value(Parser *p, Loc loc, const char *text)
{
    List(const char *) names = {0};
    for (int i = 0; i < p->f->values.count; i++)
        list_push(p->arena, &names, p->f->values.at[i]->name);
    for (int i = 0; i < p->m->weights.count; i++)
        list_push(p->arena, &names, p->m->weights.at[i].name);
    parse_unknown(p, loc, "value or weight here called", text, names.at,
                  names.count);
}

static Value *scalar(Parser *p)
{
    int count = 0, found = -1;
    if (parse_token(p)->kind != TOKEN_NAME) {
        parse_wrong(p, "a scalar's name");
        return NULL;
    }
    for (; step_scalars[count]; count++)
        if (parse_is_word(p, step_scalars[count]))
            found = count;
    if (found < 0) {
        parse_unknown(p, parse_token(p)->loc, "scalar", parse_token(p)->text,
                      step_scalars, count);
        return NULL;
    }
    lexer_step(&p->lexer);
    return func_scalar(p->m, p->f, step_scalars[found]);
}

/* $SCALAR, a value of the function, or a weight. */
static Value *operand(Parser *p)
{
    const char *text;
    Loc loc;
    if (parse_accept(p, '$'))
        return scalar(p);
    if (!parse_name(p, "an operand", &text, &loc))
        return NULL;
    Value *v = find_value(p->f, text);
    if (v)
        return v;
    int weight = weight_ref(p, text);
    if (weight < 0) {
        unknown_value(p, loc, text);
        return NULL;
    }
    const char *own = p->m->weights.at[weight].name;
    v = find_value(p->f, own);
    if (v && v->kind == VALUE_WEIGHT && v->weight == weight)
        return v;
    if (v) {
        diag_error(p->diag, loc,
                   "`%.60s` is another value here; name the weight by `use`",
                   own);
        return NULL;
    }
    return func_weight(p->m, p->f, weight);
}

/* WEIGHT, by path or name; `whole NAME`: the model's, where a block has one of
 * the same name. -1 after an error. */
static int weight_name(Parser *p)
{
    const char *text;
    Loc loc;
    const Token *next = &p->lexer.next;
    bool whole = next->kind == TOKEN_NAME && !next->first
              && parse_accept_word(p, "whole");
    if (!parse_name(p, "a weight", &text, &loc))
        return -1;
    int weight =
        whole ? module_find_weight(p->m, text, -1) : weight_ref(p, text);
    if (weight < 0)
        unknown_value(p, loc, text);
    return weight;
}

/* use NAME = WEIGHT: the weight under another name */
static bool use(Parser *p)
{
    const char *text;
    Loc loc, at;
    if (!parse_name(p, "a name", &text, &loc) || !parse_expect(p, '='))
        return false;
    at = parse_token(p)->loc;
    int weight = weight_name(p);
    if (weight < 0)
        return false;
    for (int i = 0; i < p->f->values.count; i++)
        if (p->f->values.at[i]->kind == VALUE_WEIGHT
            && p->f->values.at[i]->weight == weight) {
            diag_error(p->diag, at, "the weight has a name here already");
            return false;
        }
    Value *v = new_value(p, VALUE_WEIGHT, text, loc);
    if (!v)
        return false;
    v->weight = weight;
    v->type = p->m->weights.at[weight].type;
    v->origin = p->m->weights.at[weight].origin;
    define(p, v);
    return parse_end_of_line(p);
}

/* WEIGHT [site N] */
static bool gradient_ref(Parser *p, int *weight, int *site)
{
    int64_t number = 0;
    *weight = weight_name(p);
    if (*weight < 0)
        return false;
    if (parse_accept_word(p, "site")
        && !parse_integer(p, "a site", 0, MOST_SITES - 1, &number))
        return false;
    *site = (int)number;
    return true;
}

/* begin VALUE: TYPE for WEIGHT [site N] */
static bool begin(Parser *p)
{
    Gradient g = {0};
    Loc loc = parse_token(p)->loc;
    g.begin = typed_value(p, VALUE_GRADIENT);
    if (!g.begin)
        return false;
    if (!parse_expect_word(p, "for") || !gradient_ref(p, &g.weight, &g.site))
        return false;
    for (int i = 0; i < p->f->gradients.count; i++)
        if (p->f->gradients.at[i].weight == g.weight
            && p->f->gradients.at[i].site == g.site) {
            diag_error(p->diag, loc,
                       "this weight's gradient has begun already");
            return false;
        }
    g.begin->weight = g.weight;
    g.begin->site = g.site;
    parse_origin(p, &g.begin->origin);
    define(p, g.begin);
    list_push(p->arena, &p->f->gradients, g);
    return parse_end_of_line(p);
}

/* end WEIGHT [site N] = VALUE */
static bool end(Parser *p)
{
    int weight, site;
    Loc loc = parse_token(p)->loc;
    if (!gradient_ref(p, &weight, &site) || !parse_expect(p, '='))
        return false;
    Value *v = operand(p);
    if (!v)
        return false;
    for (int i = 0; i < p->f->gradients.count; i++) {
        Gradient *g = &p->f->gradients.at[i];
        if (g->weight != weight || g->site != site)
            continue;
        g->end = v;
        return parse_end_of_line(p);
    }
    diag_error(p->diag, loc, "this weight's gradient has no `begin`");
    return false;
}

/* ---- nodes ---- */
static bool result_types(Parser *p, Node *node, Loc loc)
{
    Type types[MAX_RESULTS];
    char why[256];
    if (!node_well_formed(p->m, node, why, sizeof why)
        || !op_types(p->m, node, &node->out[0]->type, types, why, sizeof why)) {
        diag_error(p->diag, loc, "%s: %s", op_info[node->op].name, why);
        return false;
    }
    for (int i = 0; i < node->results; i++) {
        if (type_equal(&types[i], &node->out[i]->type))
            continue;
        Buf want = {0}, got = {0};
        type_print(p->m, &types[i], &want);
        type_print(p->m, &node->out[i]->type, &got);
        diag_error(p->diag, loc, "%s gives `%.60s` the type %s, not %s",
                   op_info[node->op].name, node->out[i]->name, want.text,
                   got.text);
        buf_free(&want);
        buf_free(&got);
        return false;
    }
    return true;
}

static int operation(Parser *p)
{
    const char *names[OP_COUNT + 1] = {0};
    for (int i = 0; i < OP_COUNT; i++)
        names[i] = op_info[i].name;
    return parse_word(p, "operation", names);
}

/* OPERAND, … ; a line may end after a comma */
static bool operands(Parser *p, Node *node)
{
    do {
        if (node->inputs == MAX_INPUTS) {
            diag_error(p->diag, parse_token(p)->loc,
                       "an operation has at most %d operands", MAX_INPUTS);
            return false;
        }
        Value *v = operand(p);
        if (!v)
            return false;
        node->in[node->inputs++] = v;
    } while (parse_accept(p, ','));
    return true;
}

/* OP OPERAND, … {ATTRIBUTES} ; ORIGIN */
static bool application(Parser *p, Node *node, Loc *loc)
{
    *loc = parse_token(p)->loc;
    int op = operation(p);
    if (op < 0)
        return false;
    node->op = (Op)op;
    bool none = parse_token(p)->first || parse_token(p)->kind == TOKEN_ORIGIN
             || parse_is_sign(p, '{');
    if (!none && !operands(p, node))
        return false;
    if (parse_accept(p, '{')
        && !parse_fields(p, attr_fields, node->op, (char *)&node->attrs, '}'))
        return false;
    parse_origin(p, &node->origin);
    if (node->results != op_info[op].results) {
        diag_error(p->diag, *loc, "%s has %d results, not %d", op_info[op].name,
                   op_info[op].results, node->results);
        return false;
    }
    return parse_end_of_line(p);
}

/* VALUE, … = APPLICATION. The results are defined even where it is wrong, so
 * that their users are not wrong too. */
static bool node(Parser *p, int kernel)
{
    Node *n = arena_alloc(p->arena, sizeof *n);
    n->kernel = kernel;
    do {
        Value *v = n->results < MAX_RESULTS ? typed_value(p, VALUE_NODE) : NULL;
        if (!v)
            return n->results == MAX_RESULTS ? parse_wrong(p, "`=`") : false;
        n->out[n->results++] = v;
    } while (parse_accept(p, ','));
    Loc loc = {0};
    bool fine = parse_expect(p, '=') && application(p, n, &loc)
             && result_types(p, n, loc);
    for (int i = 0; i < n->results; i++) {
        n->out[i]->node = n;
        n->out[i]->result = i;
        n->out[i]->origin = n->origin;
        if (find_value(p->f, n->out[i]->name)) {
            diag_error(p->diag, loc, "`%.60s` is defined twice",
                       n->out[i]->name);
            return false;
        }
        define(p, n->out[i]);
    }
    if (fine) {
        list_push(p->arena, &p->f->nodes, n);
        if (kernel >= 0)
            list_push(p->arena, &p->f->kernels.at[kernel].nodes, n);
    }
    return fine;
}

/* kernel KIND NAME { NODE … } */
static bool kernel(Parser *p)
{
    Kernel k = {0};
    Loc head = parse_token(p)->loc;
    int kind = parse_word(p, "kind of kernel", kernel_words);
    bool fine = kind >= 0 && parse_name(p, "a kernel's name", &k.name, NULL)
             && parse_expect(p, '{') && parse_end_of_line(p);
    if (!fine)
        parse_recover(p, head);     /* its nodes may be right all the same */
    k.kind = fine ? (KernelKind)kind : KERNEL_ROW;
    list_push(p->arena, &p->f->kernels, k);
    while (parse_inside(p)) {
        Loc start = parse_token(p)->loc;
        if (!node(p, p->f->kernels.count - 1))
            parse_recover(p, start);
    }
    return parse_expect(p, '}') && parse_end_of_line(p) && fine;
}

/* ---- functions ---- */
/* Into the record, or with `leave` among what is pending. */
static bool save(Parser *p, bool pending)
{
    Value *v = operand(p);
    if (!v)
        return false;
    if (pending)
        list_push(p->arena, &p->f->pending, v);
    else
        list_push(p->arena, &p->f->saved, v);
    return parse_end_of_line(p);
}

/* From the record, or with `take` from what is pending. */
static bool load(Parser *p, bool pending)
{
    Value *v = typed_value(p, VALUE_SAVED);
    if (!v)
        return false;
    parse_origin(p, &v->origin);
    define(p, v);
    if (pending)
        list_push(p->arena, &p->f->pending, v);
    else
        list_push(p->arena, &p->f->saved, v);
    return parse_end_of_line(p);
}

/* NAME=N */
static bool count_of_floats(Parser *p, const char *name, int64_t *to)
{
    return parse_expect_word(p, name) && parse_expect(p, '=')
        && parse_integer(p, "a count of floats", 0, (int64_t)1 << 62, to);
}

/* floats frame=N record=N [pending=N] */
static bool floats(Parser *p)
{
    if (!count_of_floats(p, "frame", &p->f->frame_floats)
        || !count_of_floats(p, "record", &p->f->record_floats))
        return false;
    bool more = parse_token(p)->kind == TOKEN_NAME && !parse_token(p)->first;
    return (!more || count_of_floats(p, "pending", &p->f->pending_floats))
        && parse_end_of_line(p);
}

static bool func_line(Parser *p)
{
    Lexer *x = &p->lexer;
    bool typed = x->next.kind == TOKEN_SIGN && x->next.sign == ':';
    if (typed)
        return node(p, -1);
    if (parse_accept_word(p, "root"))
        return parse_name(p, "a name", &p->f->root, NULL)
            && parse_end_of_line(p);
    if (parse_accept_word(p, "record"))
        return parse_name(p, "a name", &p->f->record, NULL)
            && parse_end_of_line(p);
    if (parse_accept_word(p, "floats"))
        return floats(p);
    if (parse_accept_word(p, "use"))
        return use(p);
    if (parse_accept_word(p, "load"))
        return load(p, false);
    if (parse_accept_word(p, "take"))
        return load(p, true);
    if (parse_accept_word(p, "begin"))
        return begin(p);
    if (parse_accept_word(p, "kernel"))
        return kernel(p);
    if (parse_accept_word(p, "end"))
        return end(p);
    if (parse_accept_word(p, "save"))
        return save(p, false);
    if (parse_accept_word(p, "leave"))
        return save(p, true);
    return parse_wrong(
        p, "`VALUE: TYPE = …`, root, record, floats, use, load, begin, kernel, "
           "end or save, take or leave");
}

static bool params(Parser *p)
{
    while (!parse_is_sign(p, ')')) {
        Value *v = typed_value(p, VALUE_PARAM);
        if (!v)
            return false;
        define(p, v);
        list_push(p->arena, &p->f->params, v);
        bool more = parse_accept(p, ',');
        parse_origin(p, &v->origin);
        if (!more)
            break;
    }
    return parse_expect(p, ')');
}

/* NAME[l](PARAMS) -> RESULTS { */
static bool func_head(Parser *p, const char *text)
{
    const char *dot = strchr(text, '.');
    bool indexed = parse_accept(p, '[');
    int stack = indexed ? 0 : -1;
    if (indexed
        && !(parse_expect_word(p, "l") && parse_stack(p, &stack)
             && parse_expect(p, ']')))
        return false;
    p->f = func_new(p->m, text,
                    dot ? arena_strndup(p->arena, text, (size_t)(dot - text))
                        : text,
                    stack);
    p->pending.count = 0;
    if (!parse_expect(p, '(') || !params(p))
        return false;
    if (parse_accept(p, '>'))
        do {
            Pending result = {0};
            if (!parse_name(p, "a result's name", &result.name, &result.loc))
                return false;
            list_push(p->arena, &p->pending, result);
        } while (parse_accept(p, ','));
    if (!parse_expect(p, '{'))
        return false;
    parse_origin(p, &p->f->origin);
    return parse_end_of_line(p);
}

/* Results and aliases, now that every value is known. */
static bool resolve(Parser *p)
{
    bool fine = true;
    for (int i = 0; i < p->pending.count; i++) {
        Pending *pending = &p->pending.at[i];
        Value *v = find_value(p->f, pending->name);
        if (!v)
            unknown_value(p, pending->loc, pending->name);
        else if (pending->value)
            pending->value->alias = v;
        else
            list_push(p->arena, &p->f->results, v);
        fine &= v != NULL;
    }
    return fine;
}

/* With kernels, every node is in one; what else they say follows from them. */
static bool all_in_kernels(Parser *p, Loc loc)
{
    if (!p->f->kernels.count || p->diag->errors > p->errors_before)
        return true;
    for (int i = 0; i < p->f->nodes.count; i++)
        if (p->f->nodes.at[i]->kernel < 0) {
            diag_error(p->diag, loc, "`%.60s` is in no kernel, others are",
                       p->f->nodes.at[i]->out[0]->name);
            return false;
        }
    func_derive(p->m, p->f);
    return true;
}

bool parse_func(Parser *p)
{
    const char *text;
    Loc loc;
    if (!parse_name(p, "a function's name", &text, &loc)
        || parse_too_many(p, loc, p->m->funcs.count, LIMIT_FUNCS, "functions"))
        return false;
    if (module_find_func(p->m, text)) {
        diag_error(p->diag, loc, "the function `%.60s` is defined twice", text);
        return false;
    }
    if (!func_head(p, text))
        return false;
    while (parse_inside(p)) {
        Loc start = parse_token(p)->loc;
        if (!func_line(p))
            parse_recover(p, start);
    }
    return parse_expect(p, '}') && resolve(p) && all_in_kernels(p, loc)
        && parse_end_of_line(p);
}
