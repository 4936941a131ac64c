/* sample.c: see sample.h. Masses are f64, by elementary.h, so that a seed gives
 * the same text on every machine.
 * SPDX-License-Identifier: 0BSD */
#include "sample.h"
#include "elementary.h"
#include <math.h>
#include <stdlib.h>

bool sampler_open(Sampler *sampler, int64_t vocab, Error *error)
{
    *sampler = (Sampler){ .vocab = vocab, .temperature = 1, .top_p = 1 };
    sampler->candidates = calloc((size_t)vocab, sizeof *sampler->candidates);
    return sampler->candidates
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

void sampler_close(Sampler *sampler)
{
    free(sampler->candidates);
}

/* The likeliest token, the lowest id on ties; -1 where there is none. */
static int32_t likeliest(const float *logits, int64_t vocab)
{
    int32_t best = 0;
    for (int64_t i = 0; i < vocab; i++) {
        if (isnan(logits[i]))
            return -1;
        if (logits[i] > logits[best])
            best = (int32_t)i;
    }
    return isfinite(logits[best]) ? best : -1;
}

static int compare_logits(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static int compare_ids(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;
    return x->id < y->id ? -1 : 1;
}

static double sum_masses(const Candidate *candidates, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += candidates[i].mass;
    return sum;
}

/* Keeps what top_k and top_p leave, in the order of ids; how many. */
static int64_t keep_top(const Sampler *sampler)
{
    Candidate *candidates = sampler->candidates;
    int64_t count = sampler->vocab;
    bool cuts_k = sampler->top_k > 0 && sampler->top_k < count;
    if (!cuts_k && sampler->top_p >= 1)
        return count;
    qsort(candidates, (size_t)count, sizeof *candidates, compare_logits);
    if (cuts_k)
        count = sampler->top_k;
    if (sampler->top_p < 1) {
        double wanted = sampler->top_p * sum_masses(candidates, count);
        double sum = candidates[0].mass;
        int64_t kept = 1;
        while (kept < count && sum < wanted)
            sum += candidates[kept++].mass;
        count = kept;
    }
    qsort(candidates, (size_t)count, sizeof *candidates, compare_ids);
    return count;
}

int32_t sampler_draw(Sampler *sampler, const float *logits, double uniform,
                     Error *error)
{
    Candidate *candidates = sampler->candidates;
    int32_t best = likeliest(logits, sampler->vocab);
    if (best < 0) {
        error_set(error, ERROR_INPUT, "the model's logits are not finite: are "
                  "these the right weights?");
        return -1;
    }
    if (sampler->temperature == 0)
        return best;
    for (int64_t i = 0; i < sampler->vocab; i++) {
        double below = ((double)logits[i] - (double)logits[best])
                       / sampler->temperature;
        candidates[i] = (Candidate){ logits[i], (int32_t)i, f64_exp(below) };
    }
    int64_t count = keep_top(sampler);
    double wanted = uniform * sum_masses(candidates, count);
    double sum = 0;
    int32_t chosen = best;
    for (int64_t i = 0; i < count; i++) {
        sum += candidates[i].mass;
        if (candidates[i].mass > 0)
            chosen = candidates[i].id;
        if (sum > wanted)
            break;
    }
    return chosen;
}
