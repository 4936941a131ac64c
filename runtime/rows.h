/* rows.h: from texts to rows of token ids (docs/contract.md, section 6). A
 * token is a byte; special tokens (special.h) stand around and between texts.
 *
 *     classify         [cls] text [sep]    [cls] text sep text [sep]
 *     next sentence     cls sentence sep sentence sep
 *     source            text eos
 *     source, target    bos target         ->  target eos
 *     prompt, response  prompt response    ->  … response eos
 *
 * What an encoder reads and is too long loses the ends of its texts, the
 * longer one's first; special tokens stay. What a decoder writes is cut as a
 * whole: the row ends before eos, which is then not predicted. Behind a row is
 * padding: pad or 0, targets -1, types 0.
 * SPDX-License-Identifier: 0BSD */
#ifndef ROWS_H
#define ROWS_H
#include "example.h"
#include "special.h"
#include <stddef.h>

typedef struct Text {
    const char *bytes;          /* NULL: there is none */
    int64_t length;
} Text;

/* One text or two for an encoder; `cls`: cls before and sep behind each text,
 * else sep between two. Fills tokens, types (the second text and its sep have
 * type `second_type`) and lengths, where the example has them. */
typedef struct EncoderRow {
    Text first, second;
    bool cls;
    int32_t second_type;
} EncoderRow;

void rows_encoder(const EncoderRow *row, const Special *special,
                  const Example *example);

/* A text with eos behind, where there is such a token: source and
 * source_lengths. */
void rows_source(Text text, const Special *special, const Example *example);

/* Tokens head first second tail, of which each predicts the next one. head and
 * tail may be -1: none. Tokens from number `scored` on are targets. Fills row
 * `side` of tokens, targets and lengths. */
typedef struct DecoderRow {
    int32_t head, tail;
    Text first, second;
    int64_t scored;
    int side;                   /* 0; of a preference pair: 1 is the rejected */
} DecoderRow;

void rows_decoder(const DecoderRow *row, const Special *special,
                  const Example *example);

/* Fills ids[from … to) with one value; nothing where ids is NULL. */
void rows_fill(int32_t *ids, int64_t from, int64_t to, int32_t value);
#endif
