/* ranks.c: where a step's ranks talk. Ranks that share a batch have a run of its
 * groups each: their counts, sums of losses and gradients are added over ranks
 * by the tree that goes on where each rank's own ended, so that the bits are
 * those of one rank that has all groups. Every message has a name, its line of
 * the spec, and a forecast of its calls and bytes. */
#include "steps.h"
#include "../../runtime/collectives.h"

/* Names of messages stand before the records. */
void lower_talks(Lower *l)
{
    const Mesh *mesh = &l->m->mesh;
    if (mesh->data * mesh->stages > 1)
        l->talk_constants =
            prog_add_const_group(l->p, "What ranks say to each other.");
}

/* "sum gradients" -> SUM_GRADIENTS */
static const char *constant_name(const Lower *l, const char *name)
{
    char *text = arena_strdup(l->arena, name);
    for (char *c = text; *c; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        if (*c == ' ')
            *c = '_';
    }
    return text;
}

static Talk *find_talk(Lower *l, const Talk *like)
{
    for (int i = 0; i < l->talks.count; i++)
        if (!strcmp(l->talks.at[i].name, like->name))
            return &l->talks.at[i];
    Talk talk = *like;
    const Origin origin = { .model = like->from, .cause = like->from };
    const char *from = where(l, &origin);
    talk.index = prog_const(l->p, l->talk_constants,
                            constant_name(l, talk.name), l->talks.count,
                            arena_printf(l->arena, "over the ranks of %s%s%s",
                                         talk.axis, *from ? "  " : "", from));
    list_push(l->arena, &l->talks, talk);
    return &l->talks.at[l->talks.count - 1];
}

/* The index of a message over the data ranks, for a call that says `bytes`. */
static ProgExpr *over_data(Steps *s, const char *name, Collective kind,
                           int64_t bytes)
{
    const Talk like = { .name = name, .axis = "data",
                        .from = s->l->m->mesh.data_from };
    Talk *talk = find_talk(s->l, &like);
    if (!strcmp(s->map->step->name, "train")) {
        talk->calls++;
        talk->bytes += collective_bytes(kind, bytes, s->map->replicas);
    }
    return px_const(s->p, talk->index);
}

ProgExpr *step_sum_count(Steps *s, ProgExpr *count, const char *what)
{
    if (s->map->replicas == 1)
        return count;
    const char *name = arena_printf(s->l->arena, "sum %s", what);
    ProgExpr *args[] = { var(s, s->me), over_data(s, name, ALL_REDUCE, 8),
                         count };
    return px_call(s->p, prog_library(s->p, "all_reduce_count"), 3, args);
}

void step_sum_ranks(Steps *s, ProgBlock *b)
{
    if (s->map->replicas == 1)
        return;
    Prog *p = s->p;
    int64_t floats = s->l->gradient_floats;
    ps_comment(p, b, "and so are ranks, by the same tree");
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        const char *name = arena_printf(s->l->arena, "sum %s", step_totals[i]);
        ProgExpr *args[] = { var(s, s->me), over_data(s, name, ALL_REDUCE, 8),
                             var(s, s->totals[i]), num(s, 1) };
        step_call(s, b, prog_library(p, "all_reduce_f64"), args, 4);
    }
    if (!floats)                /* all is frozen */
        return;
    ProgExpr *args[] = {
        var(s, s->me), over_data(s, "sum gradients", ALL_REDUCE, 4 * floats),
        var(s, s->gradients), px_const(p, s->l->gradients_const),
    };
    step_call(s, b, prog_library(p, "all_reduce_f32"), args, 4);
}

ProgExpr *step_rank_aux(Steps *s)
{
    int64_t blocks = stack_first(s->l->m, s->l->m->stacks.count);
    return px_mul(s->p, num(s, blocks), step_control(s, "first"));
}

void step_gather_aux(Steps *s, ProgBlock *b)
{
    if (s->map->replicas == 1)
        return;
    int64_t blocks = stack_first(s->l->m, s->l->m->stacks.count);
    int64_t each = blocks * s->map->sequences;
    ProgExpr *args[] = {
        var(s, s->me),
        over_data(s, "gather auxiliary losses", ALL_GATHER, 4 * each),
        step_region(s, "aux"),
        px_mul(s->p, num(s, blocks), px_const(s->p, s->map->batch)),
    };
    step_call(s, b, prog_library(s->p, "all_gather_f32"), args, 4);
}
