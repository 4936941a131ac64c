/* rows.c: see rows.h.
 * SPDX-License-Identifier: 0BSD */
#include "rows.h"

void rows_fill(int32_t *ids, int64_t from, int64_t to, int32_t value)
{
    for (int64_t i = from; ids && i < to; i++)
        ids[i] = value;
}

/* ---- encoders ----------------------------------------------------------- */

/* A row that is being written; what does not fit is left out. */
typedef struct Pen {
    const Example *example;
    int64_t at;
    int32_t type;
} Pen;

static void put_id(Pen *pen, int32_t id)
{
    const Example *example = pen->example;
    if (pen->at >= example->sequence)
        return;
    example->tokens[pen->at] = id;
    if (example->types)
        example->types[pen->at] = pen->type;
    pen->at++;
}

static void put_text(Pen *pen, Text text)
{
    for (int64_t i = 0; i < text.length && pen->at < pen->example->sequence;
         i++)
        put_id(pen, (unsigned char)text.bytes[i]);
}

/* Cuts the longer of two texts until both fit, the second where they are
 * equal. */
static void cut_to(Text *first, Text *second, int64_t room)
{
    int64_t a = first->length, b = second->length;
    if (room < 0)
        room = 0;
    if (a > room)
        a = room;
    if (b > room)
        b = room;
    while (a + b > room) {
        if (a > b)
            a--;
        else
            b--;
    }
    first->length = a;
    second->length = b;
}

void rows_encoder(const EncoderRow *row, const Special *special,
                  const Example *example)
{
    if (!example->tokens)
        return;
    int32_t sep = special->id[SPECIAL_SEP];
    bool two = row->second.bytes != NULL;
    int specials = row->cls ? 2 + two : two;
    Text first = row->first, second = row->second;
    cut_to(&first, &second, example->sequence - specials);
    Pen pen = { .example = example };
    if (row->cls)
        put_id(&pen, special->id[SPECIAL_CLS]);
    put_text(&pen, first);
    if (row->cls || two)
        put_id(&pen, sep);
    pen.type = row->second_type;
    put_text(&pen, second);
    if (row->cls && two)
        put_id(&pen, sep);
    rows_fill(example->tokens, pen.at, example->sequence,
              special_padding(special));
    rows_fill(example->types, pen.at, example->sequence, 0);
    if (example->lengths)
        *example->lengths = (int32_t)pen.at;
}

void rows_source(Text text, const Special *special, const Example *example)
{
    if (!example->source)
        return;
    int32_t eos = special->id[SPECIAL_EOS];
    int64_t room = example->sequence - (eos >= 0);
    int64_t length = text.length < room ? text.length : room;
    for (int64_t i = 0; i < length; i++)
        example->source[i] = (unsigned char)text.bytes[i];
    if (eos >= 0)
        example->source[length++] = eos;
    rows_fill(example->source, length, example->sequence,
              special_padding(special));
    if (example->source_lengths)
        *example->source_lengths = (int32_t)length;
}

/* ---- decoders ----------------------------------------------------------- */

static int32_t token_of(const DecoderRow *row, int64_t i)
{
    if (row->head >= 0 && i-- == 0)
        return row->head;
    if (i < row->first.length)
        return (unsigned char)row->first.bytes[i];
    i -= row->first.length;
    if (i < row->second.length)
        return (unsigned char)row->second.bytes[i];
    return row->tail;
}

void rows_decoder(const DecoderRow *row, const Special *special,
                  const Example *example)
{
    if (!example->tokens)
        return;
    int64_t T = example->sequence;
    int32_t *tokens = example->tokens + row->side * T;
    int32_t *targets = example->targets ? example->targets + row->side * T
                                        : NULL;
    int64_t whole = (row->head >= 0) + row->first.length + row->second.length
        + (row->tail >= 0);
    int64_t length = whole - 1 < T ? whole - 1 : T;
    if (length < 0)
        length = 0;
    for (int64_t i = 0; i < length; i++) {
        tokens[i] = token_of(row, i);
        if (targets)
            targets[i] = i + 1 >= row->scored ? token_of(row, i + 1) : -1;
    }
    rows_fill(tokens, length, T, special_padding(special));
    rows_fill(targets, length, T, -1);
    rows_fill(example->types, row->side * T, (row->side + 1) * T, 0);
    if (example->lengths)
        example->lengths[row->side] = (int32_t)length;
}
