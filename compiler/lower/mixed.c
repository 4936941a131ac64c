/* mixed.c: an encoder-decoder whose stages have several chunks of the model,
 * and so blocks of both stacks. Parts outside blocks then belong to chunks: a
 * stage may have two of them, and their sums are of different micro-batches. A
 * weight that several parts use counts for the norm with the first of them, and
 * is updated with the first on each stage. */
#include "lowering.h"

bool part_embeds(PartOf part)
{
    return part == PART_FIRST || part == PART_DECODER;
}

/* Is it used by an earlier part, or by one on the same stage? */
static bool used_before(const Lower *l, PartOf part, int weight, bool on_stage)
{
    bool used = false;
    for (int i = 0; i < (int)part; i++)
        used |= i != PART_BLOCKS && part_uses(l, (PartOf)i, weight)
            && (!on_stage
                || part_stage(l, (PartOf)i) == part_stage(l, part));
    return used;
}

bool part_counts(const Lower *l, PartOf part, int weight)
{
    return part_uses(l, part, weight) && !used_before(l, part, weight, false);
}

bool part_updates(const Lower *l, PartOf part, int weight)
{
    return part_uses(l, part, weight) && !used_before(l, part, weight, true);
}

static const ModelChunk *chunk_of(const Lower *l, int number)
{
    return part_chunk(l, number % l->stages, number / l->stages);
}

static int64_t chunk_block_norms(const Lower *l, int number)
{
    const ModelChunk *chunk = chunk_of(l, number);
    return (chunk->to - chunk->from)
        * (l->shards > 1 ? l->stacks[chunk->stack].floats / 1024
                         : block_norms(l, chunk->stack));
}

const Unit *part_unit(const Lower *l, PartOf part)
{
    for (int i = 0; i < l->m->weights.count; i++)
        if (l->m->weights.at[i].stack < 0 && part_counts(l, part, i)
            && unit_of(l, i))
            return unit_of(l, i);
    return NULL;
}

/* Norms of what counts with a part. */
static int64_t outside_norms(const Lower *l, PartOf part)
{
    const Unit *unit = l->shards > 1 ? part_unit(l, part) : NULL;
    int64_t norms = 0;
    if (unit)
        return unit->shards * part_unit_share(l, unit, part_stage(l, part))
            / 1024;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (w->stack < 0 && !w->constant && !w->frozen && !w->derived
            && part_counts(l, part, i))
            norms += (type_elements(l->m, &w->type) + 1023) / 1024;
    }
    return norms;
}

int64_t mixed_norms(const Lower *l, int number, bool before)
{
    int64_t norms = 0;
    for (int part = PART_FIRST; part <= (int)PART_LAST; part++)
        if (part != PART_BLOCKS && part_embeds((PartOf)part) == before
            && part_number(l, (PartOf)part) == number)
            norms += outside_norms(l, (PartOf)part);
    return norms;
}

int64_t mixed_norms_at(const Lower *l, PartOf part)
{
    int number = part_number(l, part);
    int64_t at = chunk_norms_at(l, number % l->stages, number / l->stages);
    return part_embeds(part) ? at
                             : at + mixed_norms(l, number, true)
                                   + chunk_block_norms(l, number);
}

int64_t mixed_norm_room(const Lower *l)
{
    int64_t most = 1;
    for (int i = 0; i <= last_number(l); i++) {
        int64_t norms = mixed_norms(l, i, true) + chunk_block_norms(l, i)
            + mixed_norms(l, i, false);
        most = norms > most ? norms : most;
    }
    return most;
}
