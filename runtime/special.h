/* special.h: the ids of special tokens (docs/contract.md, section 2,
 * train.data.special).
 *
 * A key of the spec gives an id. Where it gives none and a token is a byte, the
 * ids behind the bytes serve, in the order below, as far as the vocabulary has
 * them: pad 256, bos 257, … mask 262. Files of tokens made elsewhere have their
 * own, which only the spec can tell.
 * SPDX-License-Identifier: 0BSD */
#ifndef SPECIAL_H
#define SPECIAL_H
#include "settings.h"

typedef enum SpecialToken {
    SPECIAL_PAD, SPECIAL_BOS, SPECIAL_EOS, SPECIAL_UNK, SPECIAL_CLS,
    SPECIAL_SEP, SPECIAL_MASK, SPECIAL_TOKENS
} SpecialToken;

typedef struct Special { int32_t id[SPECIAL_TOKENS]; } Special;   /* -1: none */

/* Reads the settings; `bytes`: a token is a byte. An id that is not below
 * `vocab` is an error. */
bool special_read(Special *special, const Settings *settings, int64_t vocab,
                  bool bytes, Error *error);

/* "pad", "bos" …, as the key is called. */
const char *special_name(SpecialToken token);

/* An error that names the key where there is no such token; `what` needs it. */
bool special_need(const Special *special, SpecialToken token, const char *what,
                  Error *error);

/* Whether an id is one of them. */
bool special_is(const Special *special, int32_t id);

/* What padding holds, though nothing reads it: pad, or else 0. */
int32_t special_padding(const Special *special);
#endif
