/* special.c: see special.h.
 * SPDX-License-Identifier: 0BSD */
#include "special.h"

enum { FIRST_BEHIND_BYTES = 256 };

static const char *const names[SPECIAL_TOKENS] = {
    [SPECIAL_PAD] = "pad", [SPECIAL_BOS] = "bos", [SPECIAL_EOS] = "eos",
    [SPECIAL_UNK] = "unk", [SPECIAL_CLS] = "cls", [SPECIAL_SEP] = "sep",
    [SPECIAL_MASK] = "mask",
};

const char *special_name(SpecialToken token)
{
    return names[token];
}

bool special_read(Special *special, const Settings *settings, int64_t vocab,
                  bool bytes, Error *error)
{
    const int64_t given[SPECIAL_TOKENS] = {
        [SPECIAL_PAD] = settings->special_pad,
        [SPECIAL_BOS] = settings->special_bos,
        [SPECIAL_EOS] = settings->special_eos,
        [SPECIAL_UNK] = settings->special_unk,
        [SPECIAL_CLS] = settings->special_cls,
        [SPECIAL_SEP] = settings->special_sep,
        [SPECIAL_MASK] = settings->special_mask,
    };
    for (int i = 0; i < SPECIAL_TOKENS; i++) {
        int64_t usual = FIRST_BEHIND_BYTES + i;
        if (given[i] >= vocab)
            return error_set(error, ERROR_INPUT, "train.data.special.%s is "
                             "%lld, not below the vocabulary's %lld", names[i],
                             (long long)given[i], (long long)vocab);
        special->id[i] = given[i] >= 0 ? (int32_t)given[i]
            : bytes && usual < vocab ? (int32_t)usual : -1;
    }
    return true;
}

bool special_need(const Special *special, SpecialToken token, const char *what,
                  Error *error)
{
    return special->id[token] >= 0
        || error_set(error, ERROR_INPUT, "%s needs a special token %s: "
                     "train.data.special.%s gives its id; for text it is %d "
                     "where model.vocab is larger", what, names[token],
                     names[token], FIRST_BEHIND_BYTES + (int)token);
}

bool special_is(const Special *special, int32_t id)
{
    for (int i = 0; i < SPECIAL_TOKENS; i++)
        if (id >= 0 && special->id[i] == id)
            return true;
    return false;
}

int32_t special_padding(const Special *special)
{
    int32_t pad = special->id[SPECIAL_PAD];
    return pad >= 0 ? pad : 0;
}
