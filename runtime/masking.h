/* masking.h: which tokens an encoder has to guess (Devlin et al., 2018, section
 * 3.1; docs/contract.md, section 2, train.masking).
 *
 * Each token that is not special is chosen with probability `rate`, by a draw
 * of its own. A chosen one becomes a target; what is read in its place is the
 * mask token with probability `mask`, a random token that is not special, all
 * alike, with probability `random`, else the token itself. Position p of
 * example i draws by stream "masking" (training) or "masking-eval" plus i:
 * block 2p chooses, by its first number, and says which of the three, by its
 * second; block 2p + 1 has the random token.
 * SPDX-License-Identifier: 0BSD */
#ifndef MASKING_H
#define MASKING_H
#include "special.h"

typedef struct Masking {
    double rate, mask, random;
    uint64_t seed;
    int32_t mask_id;
    int32_t special[SPECIAL_TOKENS];    /* ids, ascending, each once */
    int special_count;
    int64_t vocab;
} Masking;

/* There must be a mask token, and some token that is not special. */
bool masking_open(Masking *masking, const Settings *settings,
                  const Special *special, int64_t vocab, Error *error);

/* Which draws: those of training example i, or of evaluation's. */
typedef struct MaskingDraw { bool training; uint64_t example; } MaskingDraw;

/* Masks tokens[0 … length); targets get the tokens that were there, -1 where
 * none was chosen. */
void masking_apply(const Masking *masking, MaskingDraw draw, int64_t length,
                   int32_t *tokens, int32_t *targets);
#endif
