/* fuzz_data.c: any bytes as a data file. The first bytes choose vocabulary,
 * format, order, window and split; training and evaluation windows are then
 * read and must hold tokens below the vocabulary.
 *   clang -fsanitize=fuzzer,address,undefined fuzz_data.c ../../runtime/…
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "../../runtime/data.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

enum { OPTIONS = 16, SEQUENCE = 64 };

static void check_tokens(const int32_t *tokens, int64_t count, int32_t least,
                         int64_t vocab)
{
    for (int64_t i = 0; i < count; i++)
        require(tokens[i] >= least && tokens[i] < vocab);
}

static void read_windows(Data *data, const uint8_t *options)
{
    int32_t tokens[SEQUENCE], targets[SEQUENCE], length;
    Error error = { 0 };
    DataRange train, held;
    char split[OPTIONS] = { 0 };
    memcpy(split, options + 5, OPTIONS - 6);
    if (!data_split(data, split, &train, &held, &error) &&
        !data_split(data, "0.1", &train, &held, &error))
        return;
    require(train.count >= 2 && held.count >= 0 &&
            train.count + held.count == data->tokens &&
            held.first == train.count);
    DataOrder order = { .shuffled = options[3] & 1,
                        .seed = options[3],
                        .batch = options[3] % 5 + 1,
                        .sequence = options[4] % SEQUENCE + 1 };
    for (int64_t step = 1; step < 20; step += options[3] % 3 + 1) {
        int64_t start = data_train_start(&train, &order, step, 0);
        require(start >= 0 && start < train.count);
        require(data_train_window(&train, &order, step, 0, tokens, targets,
                                  &error) ||
                strstr(error.text, "vocabulary"));
        check_tokens(tokens, order.sequence, 0, data->vocab);
        check_tokens(targets, order.sequence, 0, data->vocab);
    }
    int64_t windows = data_eval_windows(&held, order.sequence);
    for (int64_t w = 0; w <= windows && w < 20; w++) {
        require(data_eval_window(&held, order.sequence, w, tokens, targets,
                                 &length, &error));
        require(length >= 0 && length <= order.sequence);
        check_tokens(tokens, order.sequence, 0, data->vocab);
        check_tokens(targets, order.sequence, -1, data->vocab);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < OPTIONS)
        return 0;
    char path[64];
    const char *paths[] = { path };
    Data data;
    Error error = { 0 };
    int file = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    size_t length = size - OPTIONS;
    require(write(file, bytes + OPTIONS, length) == (ssize_t)length);
    int64_t vocab =
        1 + (int64_t)(bytes[0] | bytes[1] << 8) * (bytes[15] % 64 + 1);
    DataFormat format = bytes[2] % (DATA_LLMC + 1);
    if (data_open(&data, paths, 1, format, vocab, &error)) {
        read_windows(&data, bytes);
        data_close(&data);
    } else {
        require(error.status == ERROR_INPUT && error.text[0]);
    }
    close(file);
    return 0;
}
