/* masking.c: see masking.h.
 * SPDX-License-Identifier: 0BSD */
#include "masking.h"
#include "draw.h"

/* Puts an id into the ascending list, if it is not there. */
static void add_special(Masking *masking, int32_t id)
{
    int at = masking->special_count;
    while (at > 0 && masking->special[at - 1] >= id)
        at--;
    if (at < masking->special_count && masking->special[at] == id)
        return;
    for (int i = masking->special_count++; i > at; i--)
        masking->special[i] = masking->special[i - 1];
    masking->special[at] = id;
}

bool masking_open(Masking *masking, const Settings *settings,
                  const Special *special, int64_t vocab, Error *error)
{
    *masking = (Masking){
        .rate = settings->masking_rate, .mask = settings->masking_mask,
        .random = settings->masking_random, .vocab = vocab,
        .seed = (uint64_t)settings->seed, .mask_id = special->id[SPECIAL_MASK],
    };
    if (!special_need(special, SPECIAL_MASK, "masked-token", error))
        return false;
    for (int i = 0; i < SPECIAL_TOKENS; i++)
        if (special->id[i] >= 0)
            add_special(masking, special->id[i]);
    return masking->special_count < vocab
        || error_set(error, ERROR_INPUT, "all %lld tokens of the vocabulary "
                     "are special ones: there is nothing to mask",
                     (long long)vocab);
}

static bool is_special(const Masking *masking, int32_t id)
{
    for (int i = 0; i < masking->special_count; i++)
        if (masking->special[i] == id)
            return true;
    return false;
}

/* The token at a fraction of the way through those that are not special. */
static int32_t ordinary_token(const Masking *masking, double fraction)
{
    int64_t id = (int64_t)(fraction * (double)(masking->vocab
                                               - masking->special_count));
    for (int i = 0; i < masking->special_count; i++)
        id += masking->special[i] <= id;
    return (int32_t)id;
}

void masking_apply(const Masking *masking, MaskingDraw draw, int64_t length,
                   int32_t *tokens, int32_t *targets)
{
    uint64_t stream = draw_stream(draw.training ? "masking" : "masking-eval")
        + draw.example;
    for (int64_t p = 0; p < length; p++) {
        double pair[2];
        targets[p] = -1;
        if (is_special(masking, tokens[p]))
            continue;
        draw_uniforms(pair, masking->seed, stream, 2 * (uint64_t)p);
        if (pair[0] >= masking->rate)
            continue;
        targets[p] = tokens[p];
        if (pair[1] < masking->mask)
            tokens[p] = masking->mask_id;
        else if (pair[1] < masking->mask + masking->random)
            tokens[p] = ordinary_token(
                masking, draw_uniform(masking->seed, stream,
                                      2 * (uint64_t)p + 1));
    }
}
