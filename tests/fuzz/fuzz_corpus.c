/* fuzz_corpus.c: any bytes as data of any objective. The first bytes choose
 * objective, format, vocabulary, classes and whether labels may be missing;
 * what opens must read as rows within bounds.
 *   clang -fsanitize=fuzzer,address,undefined fuzz_corpus.c ../../runtime/…
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "../../runtime/corpus.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { OPTIONS = 6, T = 8 };

static void require(bool good)
{
    if (!good)
        abort();
}

static void check_ids(const int32_t *ids, int64_t count, int64_t least,
                      int64_t end)
{
    for (int64_t i = 0; i < count; i++)
        require(ids[i] >= least && ids[i] < end);
}

static Program choose_program(const uint8_t *options)
{
    static const char *const objectives[] = {
        "next-token", "masked-token", "masked-token+next-sentence", "seq2seq",
        "classify", "preference",
    };
    static const RunKey pool = { .path = "model.head.classify.pool",
                                 .value = "cls" };
    int objective = options[0] % 8;
    return (Program){
        .objective = objectives[objective < 6 ? objective : 4],
        .kind = objective == 3 ? "encoder-decoder" : "decoder",
        .vocab = objective >= 6 ? 0 : options[1] % 2 ? 300 : 256,
        .image_size = objective == 6 ? 2 : 0, .channels = objective == 6,
        .nodes = objective == 7 ? 3 : 0, .node_features = objective == 7,
        .classes = options[1] / 2 % 4 + 1, .token_types = options[1] / 8 % 3,
        .context = T, .sequence = T, .batch = 2, .keys = &pool,
        .key_count = options[1] / 64 % 2,
    };
}

static void read_rows(Corpus *corpus, const Program *program)
{
    static int32_t ids[8 * T + 16];
    static float reals[16];
    Error error = { 0 };
    const Example example = {
        .tokens = ids, .targets = ids + 2 * T, .source = ids + 4 * T,
        .types = ids + 5 * T, .edges = ids + 6 * T, .lengths = ids + 8 * T,
        .source_lengths = ids + 8 * T + 2, .labels = ids + 8 * T + 3,
        .images = reals, .nodes = reals + 4, .reference = reals + 8,
        .sequence = T,
    };
    bool pairs = strcmp(program->objective, "preference") == 0;
    bool rows = program->vocab > 0;
    bool targets = rows && strcmp(program->objective, "classify") != 0;
    for (int64_t i = 0; i < corpus_eval_count(corpus) + 1 && i < 20; i++) {
        memset(ids, 0, sizeof ids);
        if (!corpus_eval_example(corpus, i, &example, &error))
            continue;
        check_ids(ids, rows * (pairs ? 2 : 1) * T, 0, program->vocab);
        check_ids(ids + 2 * T, targets * (pairs ? 2 : 1) * T, -1,
                  program->vocab);
        check_ids(example.lengths, pairs ? 2 : 1, 0, T + 1);
        check_ids(example.source_lengths, 1, 0, T + 1);
        check_ids(example.labels, 1, -1,
                  program->classes > 2 ? program->classes : 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const formats[] = {
        "auto", "text", "bytes", "nanogpt", "llmc", "tsv", "idx", "jsonl",
        "safetensors",
    };
    static int file = -1;
    static char path[64];
    if (size < OPTIONS)
        return 0;
    if (file < 0)
        file = memfd_create("corpus", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    require(ftruncate(file, 0) == 0 &&
            pwrite(file, bytes + OPTIONS, size - OPTIONS, 0) ==
            (ssize_t)(size - OPTIONS));
    const Program program = choose_program(bytes);
    const char *name = path;
    const Settings settings = {
        .data_path = { &name, 1 }, .data_format = formats[bytes[2] % 9],
        .data_order = "shuffled", .data_split = bytes[3] % 2 ? "0.5" : "0",
        .seed = bytes[4], .special_pad = -1, .special_bos = -1,
        .special_eos = bytes[3] / 2 % 2 ? 3 : -1, .special_unk = -1,
        .special_cls = -1, .special_sep = -1, .special_mask = -1,
        .masking_rate = 0.5, .masking_mask = 0.5, .masking_random = 0.25,
    };
    const CorpusSource source = { .path = path, .unlabelled = bytes[5] / 2 % 2 };
    Corpus corpus;
    Error error = { 0 };
    bool good = bytes[5] % 2
        ? corpus_open_source(&corpus, &program, &settings, &source, &error)
        : corpus_open(&corpus, &program, &settings, NULL, &error);
    require(good || (error.status && error.text[0]));
    if (!good)
        return 0;
    read_rows(&corpus, &program);
    corpus_close(&corpus);
    return 0;
}
