/* data.c: tokens of data.h: ranges, reading, windows. The files are in
 * data_files.c.
 * SPDX-License-Identifier: 0BSD */
#include "data.h"
#include "draw.h"
#include <stdlib.h>
#include <string.h>

enum { PIECE = 32768 };         /* bytes read at a time */

/* ---- ranges ------------------------------------------------------------- */

DataRange data_all(Data *data)
{
    return (DataRange){ .data = data, .count = data->tokens };
}

/* Passes over digits. */
static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9')
        text++;
    return text;
}

/* The decimal is 0.d1 d2 … dk · 10^scale with d1 > 0: below 1 if scale <= 0.
 * Without the power of ten,
 *     n · 0.d1 d2 … dk = (n d1 + (n d2 + … (n dk)/10 …)/10)/10,
 * and as the n di are whole, each quotient may be rounded down at once. */
int64_t data_held_out(int64_t tokens, const char *split)
{
    const char *whole = split + (*split == '+'), *point = skip_digits(whole);
    const char *tail = *point == '.' ? point + 1 : point;
    const char *end = skip_digits(tail);
    if (point - whole + (end - tail) == 0 || tokens < 0 ||
        tokens > (int64_t)1 << 59)
        return -1;
    const long huge = 1L << 40;         /* longer than any text has digits */
    long exponent = 0;
    if (*end == 'e' || *end == 'E') {
        const char *digits = end + 1 + (end[1] == '+' || end[1] == '-');
        const char *stop = skip_digits(digits);
        if (stop == digits || *stop)
            return -1;
        exponent = strtol(end + 1, NULL, 10);
    } else if (*end) {
        return -1;
    }
    const char *first = whole;
    while (first < end && (*first == '0' || *first == '.'))
        first++;
    if (first == end)
        return 0;
    long scale = first < point ? point - first : tail - first;
    scale += exponent > huge ? huge : exponent < -huge ? -huge : exponent;
    if (scale > 0)
        return -1;
    uint64_t part = 0;
    for (const char *digit = end - 1; digit >= first; digit--)
        if (*digit != '.')
            part = ((uint64_t)tokens * (uint64_t)(*digit - '0') + part) / 10;
    for (; scale < 0 && part > 0; scale++)
        part /= 10;
    return (int64_t)part;
}

bool data_split(Data *data, const char *split, DataRange *train,
                DataRange *held_out, Error *error)
{
    int64_t cut = data_held_out(data->tokens, split);
    if (cut < 0)
        return error_set(error, ERROR_INPUT, "split '%s' is no decimal number "
                         "from 0 to below 1", split);
    *train = (DataRange){ data, 0, data->tokens - cut };
    *held_out = (DataRange){ data, data->tokens - cut, cut };
    if (train->count < 2)
        return error_set(error, ERROR_INPUT, "%s: %lld of %lld tokens are left "
                         "to train on with split %s; 2 are the least",
                         data->files[0].path, (long long)train->count,
                         (long long)data->tokens, split);
    return true;
}

/* ---- reading ------------------------------------------------------------ */

static int64_t token_at(const unsigned char *at, int bytes)
{
    int64_t token = at[0];
    for (int i = 1; i < bytes; i++)
        token |= (int64_t)at[i] << 8 * i;
    return token;
}

/* Reads tokens that are in one file and fit a piece; `at` counts there. */
static bool read_piece(Data *data, int index, int64_t at, int64_t length,
                       int32_t *tokens, Error *error)
{
    unsigned char piece[PIECE];
    const DataFile *file = &data->files[index];
    int bytes = file->token_bytes;
    uint64_t offset = (uint64_t)(file->header + at * bytes);
    if (!data_read_bytes(data, index, offset, (size_t)(length * bytes), piece,
                         error))
        return false;
    for (int64_t i = 0; i < length; i++) {
        int64_t token = token_at(piece + i * bytes, bytes);
        if (token >= data->vocab)
            return error_set(error, ERROR_INPUT, "%s: token %lld at byte %llu "
                             "is not below the vocabulary's %lld", file->path,
                             (long long)token, (unsigned long long)offset +
                             (unsigned long long)(i * bytes),
                             (long long)data->vocab);
        tokens[i] = (int32_t)token;
    }
    return true;
}

bool data_read(const DataRange *range, int64_t start, int64_t length,
               int32_t *tokens, Error *error)
{
    Data *data = range->data;
    while (length > 0) {
        int64_t in_range = start % range->count;
        int64_t token = range->first + in_range;
        int index = data_file_of(data, token);
        const DataFile *file = &data->files[index];
        int64_t at = token - file->first, piece = PIECE / file->token_bytes;
        if (piece > length)
            piece = length;
        if (piece > file->count - at)
            piece = file->count - at;
        if (piece > range->count - in_range)
            piece = range->count - in_range;
        if (!read_piece(data, index, at, piece, tokens, error))
            return false;
        tokens += piece;
        start = in_range + piece;
        length -= piece;
    }
    return true;
}

/* ---- windows ------------------------------------------------------------ */

int64_t data_order_index(const DataOrder *order, int64_t n, int64_t i)
{
    uint64_t count = (uint64_t)n, at = (uint64_t)i;
    if (!order->shuffled)
        return (int64_t)(at % count);
    uint64_t stream = draw_stream("order") + at / count;
    return (int64_t)draw_permuted(at % count, count, order->seed, stream);
}

int64_t data_train_start(const DataRange *range, const DataOrder *order,
                         int64_t step, int64_t row)
{
    uint64_t i = (uint64_t)(step - 1) * (uint64_t)order->batch + (uint64_t)row;
    uint64_t count = (uint64_t)range->count;
    uint64_t sequence = (uint64_t)order->sequence;
    if (!order->shuffled) {
        __extension__ typedef unsigned __int128 wide;
        return (int64_t)((wide)i * sequence % count);
    }
    int64_t windows = (range->count - 1) / order->sequence;
    if (windows < 1)
        windows = 1;
    return order->sequence * data_order_index(order, windows, (int64_t)i);
}

bool data_train_window(const DataRange *range, const DataOrder *order,
                       int64_t step, int64_t row, int32_t *tokens,
                       int32_t *targets, Error *error)
{
    int64_t start = data_train_start(range, order, step, row);
    int64_t sequence = order->sequence;
    if (!data_read(range, start, sequence, tokens, error))
        return false;
    memcpy(targets, tokens + 1, (size_t)(sequence - 1) * sizeof *targets);
    return data_read(range, start + sequence, 1, targets + sequence - 1, error);
}

int64_t data_eval_windows(const DataRange *range, int64_t sequence)
{
    int64_t scored = range->count - 1;
    return scored <= 0 ? 0 : (scored - 1) / sequence + 1;
}

bool data_eval_window(const DataRange *range, int64_t sequence, int64_t w,
                      int32_t *tokens, int32_t *targets, int32_t *length,
                      Error *error)
{
    int64_t real = 0, scored = 0;
    if (w < data_eval_windows(range, sequence)) {
        int64_t left = range->count - w * sequence;
        real = left < sequence ? left : sequence;
        scored = left - 1 < sequence ? left - 1 : sequence;
        if (!data_read(range, w * sequence, real, tokens, error))
            return false;
        memcpy(targets, tokens + 1, (size_t)(real - 1) * sizeof *targets);
        if (scored == real && !data_read(range, w * sequence + real, 1,
                                         targets + real - 1, error))
            return false;
    }
    for (int64_t i = real; i < sequence; i++)
        tokens[i] = 0;
    for (int64_t i = scored; i < sequence; i++)
        targets[i] = -1;
    *length = (int32_t)real;
    return true;
}
