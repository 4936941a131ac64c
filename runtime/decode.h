/* decode.h: writing tokens, one after another, for `generate` and `predict`: a
 * decoder's keys and values stay in the cache of the step "generate"; an
 * encoder-decoder's source goes through the step "encode" first.
 * SPDX-License-Identifier: 0BSD */
#ifndef DECODE_H
#define DECODE_H
#include "commands.h"
#include "sample.h"
#include "special.h"

typedef struct Decoder {
    Rank rank;
    const Program *program;
    const Options *options;
    const Step *step, *encode;  /* encode NULL: there is no source */
    Sampler sampler;
    Special special;            /* as for text */
    int64_t source_length;
} Decoder;

/* Looks at what there is: an error of status 1 for a model that cannot write,
 * or lacks the special token that it begins with. Then loads the weights into
 * the steps' memory and sets the sampler as the options say; without
 * --temperature that is `temperature`. decoder_close is due in any case. */
bool decoder_open(Decoder *decoder, const Program *program,
                  const Options *options, Error *error);
bool decoder_load(Decoder *decoder, double temperature, Error *error);
void decoder_close(Decoder *decoder);

/* Encodes a source of 1 to `context` tokens; then position 0 may be run. */
void decoder_encode(Decoder *decoder, const int32_t *source, int64_t length);

/* Runs `count` tokens that stand at `position`; the logits after the last. */
const float *decoder_run(Decoder *decoder, const int32_t *tokens,
                         int64_t position, int64_t count);

/* Draws the token that stands at `position` of text `sample`; -1 with an error
 * where the logits are not finite. */
int32_t decoder_draw(Decoder *decoder, const float *logits, int64_t sample,
                     int64_t position, Error *error);
#endif
