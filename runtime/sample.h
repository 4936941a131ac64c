/* sample.h: from logits to a token (docs/contract.md, section 1, generate).
 * SPDX-License-Identifier: 0BSD */
#ifndef SAMPLE_H
#define SAMPLE_H
#include "error.h"
#include <stdint.h>

typedef struct Candidate {
    float logit;
    int32_t id;
    double mass;
} Candidate;

typedef struct Sampler {
    int64_t vocab;
    double temperature;     /* 0: the likeliest, lowest id on ties */
    int64_t top_k;          /* 0: all */
    double top_p;
    Candidate *candidates;  /* room for `vocab` */
} Sampler;

bool sampler_open(Sampler *sampler, int64_t vocab, Error *error);
void sampler_close(Sampler *sampler);

/* Draws a token by `uniform` in [0, 1): logits / temperature, then the top_k
 * likeliest, then of them the fewest with mass >= top_p, then the inverse of
 * the cumulative sum in the order of ids. -1 with an error where a logit is
 * NaN or none is finite. */
int32_t sampler_draw(Sampler *sampler, const float *logits, double uniform,
                     Error *error);
#endif
