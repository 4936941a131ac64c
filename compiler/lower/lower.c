/* lower.c: a placed Module becomes a Prog, in the order in which its C is read:
 * the dims, the records, functions in the order of the module (each after its
 * kernels), the steps, the description. */
#include "lowering.h"

/* A name as C spells constants: "classes" is CLASSES. */
static const char *constant_name(const Lower *l, const char *name)
{
    char *text = arena_strdup(l->arena, name);
    for (char *c = text; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return text;
}

static void lower_dims(Lower *l)
{
    int group = prog_add_const_group(l->p, NULL);
    l->dims = arena_alloc(l->arena, (size_t)l->m->dims.count * sizeof *l->dims);
    for (int i = 1; i < l->m->dims.count; i++) {
        const Dim *dim = &l->m->dims.at[i];
        if (dim->kind != DIM_MODEL || !strcmp(dim->name, "two"))
            continue;
        Origin origin = { .model = dim->origin };
        const char *at = where(l, &origin);
        const char *comment = arena_printf(l->arena, "%s%s%s", dim->doc,
                                           *at ? "  " : "", at);
        l->dims[i] = prog_const(l->p, group, constant_name(l, dim->name),
                                dim->size, comment);
    }
}

/* The optimizer's update is called a tensor at a time: its one kernel is all of
 * it. */
static void lower_update(Lower *l, const Func *f)
{
    if (f->kernels.count != 1)
        ice("the update is %d kernels", f->kernels.count);
    FuncCode code = { .func = f };
    code.update = lower_kernel(l, f, 0);
    list_push(l->arena, &l->funcs, code);
}

/* "generate, forward" */
static const char *step_names(const Lower *l)
{
    const char *names = "";
    for (int i = 0; i < l->m->steps.count; i++)
        names = arena_printf(l->arena, "%s%s%s", names, i ? ", " : "",
                             l->m->steps.at[i]->name);
    return names;
}

static const char *head_text(const Lower *l)
{
    const LowerInfo *info = l->info;
    const char *name = l->m->name, *other = "";
    const char *from = arena_printf(
        l->arena, "%s: from %s (sha256 %.16s) by trainwright %s.", name,
        info->spec_name, info->spec_hash, info->version);
    const char *lines =
        "Every line that comes from a line of the spec names it.";
    if (info->file == FILE_OF_ONE_RANK)
        return arena_printf(
            l->arena,
            "%s\nThe programs of %s.c that run on one rank whatever the plan "
            "is: %s.\n%s",
            from, name, step_names(l), lines);
    if (info->file == FILE_OF_RANKS)
        other = arena_printf(l->arena,
                             "\nWhat runs on one rank is in %s-one-rank.c.",
                             name);
    return arena_printf(
        l->arena,
        "%s Plan: %s.\n"
        "Read: the dims, the records, block_forward, block_backward, update, "
        "train, the\n"
        "description. %s%s",
        from, info->plan, lines, other);
}

static Lower begin(const Module *m, const LowerInfo *info, Arena *arena)
{
    Lower l = { .m = m, .info = info, .arena = arena };
    l.p = prog_new(arena, m->diag, m->name);
    l.trains = module_find_step(m, "train") != NULL;
    lower_dims(&l);
    lower_talks(&l);
    lower_records(&l);
    return l;
}

enum { MOST_STEPS = 16 };

Prog *lower_module(const Module *m, const LowerInfo *info, Arena *arena)
{
    Lower l = begin(m, info, arena);
    l.p->head = head_text(&l);
    for (int i = 0; i < m->funcs.count; i++) {
        const Func *f = m->funcs.at[i];
        if (!strcmp(f->name, "update"))
            lower_update(&l, f);
        else
            lower_func(&l, f);
    }
    StepMap maps[MOST_STEPS];
    ProgFunc *entries[MOST_STEPS];
    for (int i = 0; i < m->steps.count; i++) {
        maps[i] = map_step(&l, m->steps.at[i]);
        name_regions(&l, &maps[i]);
        entries[i] = lower_step(&l, &maps[i]);
        if (!strcmp(maps[i].step->name, "train"))
            foretell_calls(&l, &maps[i]);
    }
    describe_program(&l, maps, entries, m->steps.count);
    return l.p;
}

int64_t lower_train_bytes(const Module *m, const LowerInfo *info, Arena *arena)
{
    Lower l = begin(m, info, arena);
    StepMap map = map_step(&l, module_find_step(m, "train"));
    int64_t moments = info->moments * l.moment_floats;
    return 4 * (l.weight_floats + moments + map.floats);
}
