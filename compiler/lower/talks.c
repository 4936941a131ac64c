/* talks.c: the messages of a program: which there are, along which axis, and
 * the forecast of their calls and bytes a training step, stage by stage. Where
 * in a step they stand say ranks.c and its neighbours. */
#include "steps.h"

/* Has a rank one micro-batch a step, and is a block's gradient then all there
 * when its backward is? */
static bool is_whole_group(const Module *m)
{
    for (int i = 0; i < m->weights.count; i++)
        if (m->weights.at[i].derived)
            return false;
    const Step *train = module_find_step(m, "train");
    for (int i = 0; i < train->body.count; i++) {
        const Stmt *s = train->body.at[i];
        if (s->kind == STEP_GROUPS)
            return s->count == m->mesh.data && s->body.at[0]->count == 1;
    }
    return false;
}

/* Names of messages stand before the records. */
void lower_talks(Lower *l)
{
    const Mesh *mesh = &l->m->mesh;
    l->slices = mesh->tensor * mesh->experts;
    l->stages = (int)mesh->stages;
    const Step *train = module_find_step(l->m, "train");
    l->halves = l->stages > 1 && train->stages.at[0].chunks.at[0].pending;
    l->chunks = l->stages > 1 ? train->stages.at[0].chunks.count : 1;
    for (int i = l->stages * l->chunks - 1;
         i > 0 && part_chunk(l, i % l->stages, i / l->stages)->stack > 0; i--)
        l->decoder = i;
    l->mixed = l->decoder && l->chunks > 1;
    l->early = mesh->shard >= SHARD_GRADIENTS && mesh->stages == 1
        && (mesh->each_micro || is_whole_group(l->m));
    l->shards = mesh_shards(mesh);
    l->copies = mesh_copies(mesh);
    l->expert_shards = mesh_expert_shards(mesh);
    l->expert_copies = mesh_expert_copies(mesh);
    if (mesh->data * mesh->stages * mesh->tensor * mesh->context > 1)
        l->talk_constants =
            prog_add_const_group(l->p, "What ranks say to each other, along "
                                 "which axis of the plan.");
}

/* "gather shares' norms" -> GATHER_SHARES_NORMS */
static const char *constant_name(const Lower *l, const char *name)
{
    char *text = arena_strdup(l->arena, name), *to = text;
    for (const char *c = name; *c; c++)
        if (*c != '\'')
            *to++ = *c;
    *to = '\0';
    for (char *c = text; *c; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        if (*c == ' ' || *c == '.')
            *c = '_';
    }
    return text;
}

const char *replicas_axis(const Lower *l)
{
    return l->m->mesh.context > 1 ? "data and context" : "data";
}

/* "data", "a shard group", "ranks with the same share" */
static const char *whose_ranks(Lower *l, const char *axis)
{
    const char *same = strncmp(axis, "same ", 5) ? NULL : axis + 5;
    bool group = !strcmp(axis, "shard group");
    return same ? arena_printf(l->arena, "ranks with the same %s", same)
                : arena_printf(l->arena, "%s%s", group ? "a " : "", axis);
}

Talk *find_talk(Lower *l, const char *name, const char *axis, Loc from)
{
    for (int i = 0; i < l->talks.count; i++)
        if (!strcmp(l->talks.at[i]->name, name))
            return l->talks.at[i];
    size_t bytes = (size_t)l->stages * sizeof(int64_t);
    const Origin origin = { .model = from, .cause = from };
    const char *at = where(l, &origin);
    const char *whom = arena_printf(l->arena, "%s%s%s", whose_ranks(l, axis),
                                    *at ? "  " : "", at);
    Talk *talk = arena_alloc(l->arena, sizeof *talk);
    *talk = (Talk){ .name = name, .axis = axis, .from = from };
    talk->calls = arena_alloc(l->arena, bytes);
    talk->bytes = arena_alloc(l->arena, bytes);
    talk->index = prog_const(l->p, l->talk_constants, constant_name(l, name),
                             l->talks.count, whom);
    list_push(l->arena, &l->talks, talk);
    return talk;
}

void foretell(const Steps *s, Talk *talk, int stage, int64_t calls,
                     int64_t bytes)
{
    if (strcmp(s->map->step->name, "train") != 0 || bytes == 0)
        return;
    talk->calls[stage] += calls;
    talk->bytes[stage] += calls * bytes;
}
