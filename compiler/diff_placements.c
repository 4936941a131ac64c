/* diff_placements.c: how parameters and values lie on the ranks of two plans
 * (diff_placements.h). The forward functions are compared, and the head, whose
 * backward is one with it: a gradient lies as what it is the gradient of, or is
 * a part of a sum where `diff` shows its message. */
#include "diff_placements.h"
#include "../ir/text.h"

static const char *typed(const Module *m, const Value *v, Arena *arena)
{
    Buf text = {0};
    value_type_print(m, v, &text);
    const char *copy = arena_strdup(arena, text.text);
    buf_free(&text);
    return copy;
}

/* ---- of one module: what is compared, in order ---- */
typedef struct Item { const char *func, *name, *type; } Item;
typedef struct Items { List(Item) list; } Items;

static const Item *find_item(const Items *items, const Item *like)
{
    for (int i = 0; i < items->list.count; i++)
        if (!strcmp(items->list.at[i].func, like->func)
            && !strcmp(items->list.at[i].name, like->name))
            return &items->list.at[i];
    return NULL;
}

static void add_item(Items *items, Arena *arena, const char *func,
                     const char *name, const char *type)
{
    const Item one = { func, name, type };
    if (!find_item(items, &one))
        list_push(arena, &items->list, one);
}

/* A weight as a function reads it; NULL: none does. */
static const Value *weight_value(const Module *m, int weight)
{
    for (int i = 0; i < m->funcs.count; i++)
        for (int j = 0; j < m->funcs.at[i]->values.count; j++) {
            const Value *v = m->funcs.at[i]->values.at[j];
            if (v->kind == VALUE_WEIGHT && v->weight == weight)
                return v;
        }
    return NULL;
}

/* What a rank has of a parameter: the rows, columns or experts that are its
 * own. */
static void add_weights(Items *items, const Module *m, Arena *arena)
{
    for (int i = 0; i < m->weights.count; i++) {
        const Value *v = weight_value(m, i);
        if (v && !m->weights.at[i].constant)
            add_item(items, arena, "parameters", weight_path(m, i, arena),
                     typed(m, v, arena));
    }
}

/* What ZeRO splits: every parameter's elements, in runs of 1024. */
static void add_state(Items *items, const Module *m, Arena *arena)
{
    static const struct { const char *name; Shard from; } state[] = {
        { "parameters", SHARD_PARAMETERS }, { "gradients", SHARD_GRADIENTS },
        { "moments", SHARD_OPTIMIZER },
    };
    for (size_t i = 0; i < sizeof state / sizeof *state; i++)
        add_item(items, arena, "state", state[i].name,
                 m->mesh.shard >= state[i].from
                     ? arena_printf(arena, "shares of %lld ranks",
                                    (long long)mesh_shards(&m->mesh))
                     : "whole");
}

static bool is_compared(const Func *f)
{
    const char *dot = strrchr(f->name, '.');
    return !strcmp(f->name, "head.step")
        || (dot && (!strcmp(dot, ".forward") || !strcmp(dot, ".rows")));
}

static bool is_product(const Value *v)
{
    OpClass class = v->kind == VALUE_NODE ? op_info[v->node->op].class
                                          : CLASS_POINT;
    return class == CLASS_MATMUL || class == CLASS_ATTENTION
        || class == CLASS_INDEX || class == CLASS_RESHARD;
}

static bool is_of(const Value *v, Value *const *values, int count)
{
    for (int i = 0; i < count; i++)
        if (values[i] == v)
            return true;
    return false;
}

static void add_values(Items *items, const Module *m, const Func *f,
                       Arena *arena)
{
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->type.rank
            && (v->kind == VALUE_PARAM || is_product(v)
                || is_of(v, f->saved.at, f->saved.count)
                || is_of(v, f->results.at, f->results.count)))
            add_item(items, arena, f->name, v->name, typed(m, v, arena));
    }
}

static Items items_of(const Module *m, Arena *arena)
{
    Items items = {0};
    add_state(&items, m, arena);
    add_weights(&items, m, arena);
    for (int i = 0; i < m->funcs.count; i++)
        if (is_compared(m->funcs.at[i]))
            add_values(&items, m, m->funcs.at[i], arena);
    return items;
}

/* ---- of two ---- */
PlacementDifferences placements_differ(const Module *a, const Module *b,
                                       Arena *arena)
{
    PlacementDifferences d = {0};
    const Items left = items_of(a, arena), right = items_of(b, arena);
    for (int side = 0; side < 2; side++) {
        const Items *own = side ? &right : &left;
        const Items *other = side ? &left : &right;
        for (int i = 0; i < own->list.count; i++) {
            const Item *item = &own->list.at[i];
            const Item *match = find_item(other, item);
            if (match && (side || !strcmp(match->type, item->type)))
                continue;
            PlacementDifference one = { .func = item->func,
                                        .name = item->name };
            one.types[side] = item->type;
            one.types[1 - side] = match ? match->type : NULL;
            list_push(arena, &d.list, one);
        }
    }
    return d;
}

static const char *shown(const char *type)
{
    return type ? type : "(none)";
}

static bool same_change(const PlacementDifference *a,
                        const PlacementDifference *b)
{
    return !strcmp(a->func, b->func)
        && !strcmp(shown(a->types[0]), shown(b->types[0]))
        && !strcmp(shown(a->types[1]), shown(b->types[1]));
}

/* Of the values with one change the first names it. */
static bool is_first(const PlacementDifferences *d, int i)
{
    for (int j = 0; j < i; j++)
        if (same_change(&d->list.at[j], &d->list.at[i]))
            return false;
    return true;
}

static void print_names(const PlacementDifferences *d, int first)
{
    enum { WIDTH = 76 };
    int column = 0;
    for (int i = first; i < d->list.count; i++) {
        const char *name = d->list.at[i].name;
        if (!same_change(&d->list.at[first], &d->list.at[i]))
            continue;
        if (column && column + (int)strlen(name) + 2 > WIDTH)
            column = 0;
        printf("%s%s", i == first ? "      " : column ? ", " : ",\n      ",
               name);
        column += (int)strlen(name) + (column ? 2 : 6);
    }
    printf("\n");
}

void placements_print(const PlacementDifferences *d)
{
    const char *func = "";
    printf("\n%s\n", d->list.count ? "placements that differ"
                                   : "no placement differs");
    for (int i = 0; i < d->list.count; i++) {
        const PlacementDifference *one = &d->list.at[i];
        if (!is_first(d, i))
            continue;
        if (strcmp(func, one->func) != 0)
            printf("  %s\n", one->func);
        func = one->func;
        printf("    %s -> %s\n", shown(one->types[0]), shown(one->types[1]));
        print_names(d, i);
    }
}

void placements_put(JsonWriter *json, const PlacementDifferences *d)
{
    json_key(json, "placements");
    json_open(json, '[');
    for (int i = 0; i < d->list.count; i++) {
        const PlacementDifference *one = &d->list.at[i];
        json_open(json, '{');
        json_set_text(json, "function", one->func);
        json_set_text(json, "name", one->name);
        json_set_text(json, "a", one->types[0]);
        json_set_text(json, "b", one->types[1]);
        json_close(json, '}');
    }
    json_close(json, ']');
}
