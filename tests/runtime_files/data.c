/* data.c (test): formats and what is wrong with them, globs and lists, the
 * exact held-out split, windows of both orders and of evaluation, against the
 * words of docs/contract.md, sections 4 and 6.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/data.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, length, file);
    fclose(file);
}

/* llm.c's format: tokens 0, 1 … count-1 of 2 or 4 bytes. */
static void put_llmc(const char *path, int32_t magic, int32_t version,
                     int32_t said, int count)
{
    int32_t header[256] = { magic, version, said };
    FILE *file = fopen(path, "wb");
    fwrite(header, sizeof header, 1, file);
    for (int32_t i = 0; i < count; i++)
        fwrite(&i, magic == 20240520 ? 2 : 4, 1, file);
    fclose(file);
}

static bool open_one(Data *data, const char *path, DataFormat format,
                     int64_t vocab, Error *error)
{
    return data_open(data, &path, 1, format, vocab, error);
}

/* Opens, checks the number of tokens and the first few, closes. */
static void opens(Checks *c, const char *path, DataFormat format, int64_t vocab,
                  int64_t count, const int32_t first[2])
{
    Data data;
    Error error = { 0 };
    int32_t tokens[2];
    if (!check(c, open_one(&data, path, format, vocab, &error), "%s: %s", path,
               error.text))
        return;
    DataRange all = data_all(&data);
    check(c, data.tokens == count, "%s: %d tokens", path, (int)data.tokens);
    check(c, data_read(&all, 0, 2, tokens, &error) && tokens[0] == first[0] &&
          tokens[1] == first[1], "%s: %d %d", path, tokens[0], tokens[1]);
    data_close(&data);
}

static void refuses(Checks *c, const char *path, DataFormat format,
                    int64_t vocab, const char *why)
{
    Data data;
    Error error = { 0 };
    bool good = open_one(&data, path, format, vocab, &error);
    check(c, !good && error.status == ERROR_INPUT && strstr(error.text, why) &&
          strstr(error.text, path), "%s: %s", path, error.text);
    if (good)
        data_close(&data);
}

static void test_formats(Checks *c)
{
    uint16_t tokens[] = { 5, 6, 50256, 7 };
    put("a.txt", "hello", 5);
    put("a.bin", tokens, sizeof tokens);
    put_llmc("c.bin", 20240520, 1, 10, 10);
    put_llmc("d.bin", 20240801, 7, 10, 10);
    opens(c, "a.txt", DATA_AUTO, 256, 5, (int32_t[]){ 'h', 'e' });
    opens(c, "a.txt", DATA_TEXT, 50257, 5, (int32_t[]){ 'h', 'e' });
    opens(c, "a.bin", DATA_AUTO, 50257, 4, (int32_t[]){ 5, 6 });
    opens(c, "a.bin", DATA_NANOGPT, 50257, 4, (int32_t[]){ 5, 6 });
    opens(c, "a.bin", DATA_BYTES, 256, 8, (int32_t[]){ 5, 0 });
    opens(c, "c.bin", DATA_AUTO, 10, 10, (int32_t[]){ 0, 1 });
    opens(c, "d.bin", DATA_AUTO, 10, 10, (int32_t[]){ 0, 1 });
    opens(c, "d.bin", DATA_LLMC, 10, 10, (int32_t[]){ 0, 1 });
    opens(c, "c.bin", DATA_NANOGPT, 65536, 522,
          (int32_t[]){ 20240520 & 65535, 20240520 >> 16 });
    DataFormat format;
    check(c, data_format_named("llmc", &format) && format == DATA_LLMC, "llmc");
    check(c, !data_format_named("parquet", &format), "parquet");
}

static void test_refused(Checks *c)
{
    uint16_t tokens[] = { 5, 6, 50257, 7 };
    put("empty.txt", "", 0);
    put("odd.bin", "abc", 3);
    put("large.bin", tokens, sizeof tokens);
    put_llmc("magic.bin", 20240519, 1, 10, 10);
    put_llmc("version.bin", 20240520, 2, 10, 10);
    put_llmc("count.bin", 20240520, 1, 11, 10);
    put_llmc("negative.bin", 20240801, 7, -1, 10);
    put_llmc("none.bin", 20240520, 1, 0, 0);
    put_llmc("vocab.bin", 20240801, 7, 10, 10);
    mkdir("directory", 0777);
    mkfifo("pipe", 0666);
    refuses(c, "missing.txt", DATA_AUTO, 256, "No such file");
    refuses(c, "missing*.txt", DATA_AUTO, 256, "no file matches");
    refuses(c, "directory", DATA_AUTO, 256, "is a directory");
    refuses(c, "pipe", DATA_AUTO, 256, "is a pipe");
    refuses(c, "/dev/zero", DATA_AUTO, 256, "is a device");
    refuses(c, "empty.txt", DATA_AUTO, 256, "has no tokens");
    refuses(c, "a.txt", DATA_AUTO, 255, "at least 256");
    refuses(c, "odd.bin", DATA_AUTO, 50257, "an odd number of bytes, 3");
    refuses(c, "large.bin", DATA_AUTO, 50257,
            "token 50257 at byte 4 is not below");
    refuses(c, "magic.bin", DATA_LLMC, 50257, "begins with 20240519");
    refuses(c, "version.bin", DATA_AUTO, 50257, "version 2");
    refuses(c, "count.bin", DATA_AUTO, 50257,
            "says 11 tokens of 2 bytes, but 20 bytes");
    refuses(c, "negative.bin", DATA_AUTO, 50257, "says -1 tokens");
    refuses(c, "none.bin", DATA_AUTO, 50257, "has no tokens");
    refuses(c, "vocab.bin", DATA_AUTO, 9, "token 9 at byte 1060 is not below");
    refuses(c, "a.txt", DATA_LLMC, 256, "5 bytes are too few");
    Data data;
    Error error;
    check(c, !data_open(&data, NULL, 0, DATA_AUTO, 256, &error),
          "nothing given");
    unlink("pipe"), rmdir("directory");
}

/* A glob is in byte order, a list as given; names with wildcards that exist are
 * names; a wrap from the last file to the first. */
static void test_paths(Checks *c)
{
    static const char *const names[] = {
        "g-b", "g-a", "g-B", "g-10", "g-9", "g-[x]", "g-\xc3\xa9",
    };
    for (int i = 0; i < 7; i++)
        put(names[i], names[i] + 2, strlen(names[i]) - 2);
    static const struct {
        const char *paths[3];
        int count;
        const char *text;
    } sets[] = {
        { { "g-*" }, 1, "109B[x]ab\xc3\xa9" }, { { "g-?" }, 1, "9Bab" },
        { { "g-b", "g-a" }, 2, "ba" }, { { "g-[a-z]", "g-b", "g-1*" }, 3, "abb10" },
        { { "g-[x]" }, 1, "[x]" },
    };
    for (int i = 0; i < 5; i++) {
        Data data;
        Error error = { 0 };
        int32_t tokens[64];
        if (!check(c,
                   data_open(&data, sets[i].paths, sets[i].count, DATA_AUTO,
                             256, &error),
                   "%s: %s", sets[i].paths[0], error.text))
            continue;
        size_t length = strlen(sets[i].text);
        DataRange all = data_all(&data);
        check(c, data.tokens == (int64_t)length, "%s: %d", sets[i].paths[0],
              (int)data.tokens);
        check(c, data_read(&all, 1, 40, tokens, &error), "%s", error.text);
        int wrong = 0;
        for (size_t t = 0; t < 40; t++)
            wrong += tokens[t] != (unsigned char)sets[i].text[(t + 1) % length];
        check(c, wrong == 0, "%s: %d tokens", sets[i].paths[0], wrong);
        data_close(&data);
    }
}

/* More files than may be open at a time, of all formats, read across. */
static void test_many_files(Checks *c)
{
    enum { FILES = 200 };
    char names[FILES][16];
    const char *paths[FILES];
    int32_t want[FILES * 12], got[FILES * 12];
    int count = 0;
    for (int i = 0; i < FILES; i++) {
        sprintf(names[i], i % 3 ? "m%03d.txt" : "m%03d.bin", i);
        paths[i] = names[i];
        if (i % 3 == 0) {
            put_llmc(names[i], 20240520, 1, i % 9 + 1, i % 9 + 1);
            for (int t = 0; t < i % 9 + 1; t++)
                want[count++] = t;
            continue;
        }
        char text[12];
        int length = sprintf(text, "%d", i);
        put(names[i], text, (size_t)length);
        for (int t = 0; t < length; t++)
            want[count++] = text[t];
    }
    Data data;
    Error error = { 0 };
    if (!check(c, data_open(&data, paths, FILES, DATA_AUTO, 256, &error), "%s",
               error.text))
        return;
    DataRange all = data_all(&data);
    check(c, data.tokens == count, "%d tokens, not %d", (int)data.tokens,
          count);
    check(c, data_read(&all, 0, count, got, &error) &&
          memcmp(got, want, (size_t)count * sizeof *got) == 0, "all in one");
    int wrong = 0, open = 0;
    for (int i = 0; i < 3000; i++) {
        int start = i * 7919 % count, length = i % 40;
        if (!check(c, data_read(&all, start, length, got, &error), "%s",
                   error.text))
            break;
        for (int t = 0; t < length; t++)
            wrong += got[t] != want[(start + t) % count];
    }
    check(c, wrong == 0, "%d tokens", wrong);
    for (int i = 0; i < FILES; i++)
        open += data.files[i].descriptor >= 0;
    check(c, open == DATA_OPEN, "%d files are open", open);
    int closed = 0;
    while (data.files[closed].descriptor >= 0)
        closed++;
    int64_t first = data.files[closed].first;
    put(names[closed], "changed!", 8);
    check(c,
          !data_read(&all, first, 1, got, &error) &&
              strstr(error.text, "has changed") &&
              strstr(error.text, names[closed]),
          "%s", error.text);
    data_close(&data);
    for (int i = 0; i < FILES; i++)
        unlink(names[i]);
}

static void test_changing(Checks *c)
{
    Data data;
    Error error = { 0 };
    int32_t tokens[8];
    uint16_t wrong = 300, fine[4] = { 1, 2, 3, 4 };
    put("s.bin", fine, sizeof fine);
    if (!check(c, open_one(&data, "s.bin", DATA_AUTO, 300, &error), "%s",
               error.text))
        return;
    DataRange all = data_all(&data);
    FILE *file = fopen("s.bin", "r+b");
    fseek(file, 4, SEEK_SET);
    fwrite(&wrong, 2, 1, file);
    fclose(file);
    check(c,
          !data_read(&all, 0, 4, tokens, &error) &&
              strcmp(error.text, "s.bin: token 300 at byte 4 is not below the "
                                 "vocabulary's 300") == 0,
          "%s", error.text);
    check(c, truncate("s.bin", 3) == 0, "truncate");
    check(c,
          !data_read(&all, 0, 2, tokens, &error) &&
              strstr(error.text, "shorter"),
          "%s", error.text);
    data_close(&data);
}

static void test_split(Checks *c)
{
    static const struct {
        int64_t tokens;
        const char *split;
        int64_t want;
    } splits[] = {
        { 10, "0.1", 1 }, { 9, "0.1", 0 }, { 10, "0", 0 }, { 10, "0.0", 0 }, { 10, "0.99", 9 },
        { 1000, "0.001", 1 }, { 999, "0.001", 0 }, { 1000, "1e-3", 1 }, { 1000, "1E-03", 1 },
        { 1000, "10e-4", 1 }, { 1000, ".001", 1 }, { 1000, "+0.001", 1 }, { 1000, "0.0010", 1 },
        { 10, "0.3", 3 }, { 10, "0.7", 7 }, { 100, "0.29", 29 }, { 100, "0.57", 57 },
        { 1000, "0.000001e3", 1 }, { 1000, "0.1e0", 100 }, { 1000, "00.1", 100 },
        { 7, "0.142857142857142857142857142857142857", 0 },
        { 7, "0.142857142857142857142857142857142858", 1 },
        { 10, "0.9999999999999999999999999999999", 9 }, { 10, "0.", 0 }, { 10, "0e5", 0 },
        { 10, "1e-99999999999999999999", 0 }, { 10, "0e99999999999999999999", 0 },
        { 10, "0.00000000000000000000000000000000000001e37", 1 }, { 0, "0.5", 0 },
        { 10, "50000000000000000000000000000000000000e-38", 5 }, { 10, "12e-2", 1 },
        { (int64_t)1 << 59, "0.5", (int64_t)1 << 58 }, { 300000000000, "0.0000000001", 30 },
        { 10, "1", -1 }, { 10, "1.0", -1 }, { 10, "-0.1", -1 }, { 10, "", -1 }, { 10, ".", -1 },
        { 10, "0.1x", -1 }, { 10, "0.1e", -1 }, { 10, "0.1e+", -1 }, { 10, "abc", -1 },
        { 10, "0.1e1", -1 }, { 10, "1e99999999999999999999", -1 }, { 10, "0x1p-2", -1 },
        { 10, " 0.1", -1 }, { 10, "0.1 ", -1 }, { 10, "inf", -1 }, { 10, "0.1.2", -1 },
        { 10, "e5", -1 }, { 10, "+", -1 }, { 10, "2.5", -1 }, { -1, "0.1", -1 },
    };
    for (int i = 0; i < (int)(sizeof splits / sizeof *splits); i++) {
        int64_t got = data_held_out(splits[i].tokens, splits[i].split);
        check(c, got == splits[i].want, "%lld of %s: %lld",
              (long long)splits[i].tokens, splits[i].split, (long long)got);
    }
    Data data;
    Error error = { 0 };
    DataRange train, held;
    put("ten.txt", "0123456789", 10);
    if (!check(c, open_one(&data, "ten.txt", DATA_AUTO, 256, &error), "%s",
               error.text))
        return;
    check(c,
          data_split(&data, "0.25", &train, &held, &error) &&
              train.first == 0 && train.count == 8 && held.first == 8 &&
              held.count == 2,
          "8 and 2");
    check(c, !data_split(&data, "0.95", &train, &held, &error) &&
          strstr(error.text, "1 of 10 tokens"), "%s", error.text);
    check(c,
          !data_split(&data, "2", &train, &held, &error) &&
              strstr(error.text, "split '2'"),
          "%s", error.text);
    data_close(&data);
}

static void test_sequential(Checks *c)
{
    Data data;
    Error error = { 0 };
    DataRange train, held;
    int32_t tokens[4], targets[4];
    if (!open_one(&data, "ten.txt", DATA_AUTO, 256, &error) ||
        !data_split(&data, "0.1", &train, &held, &error))
        return;
    /* 9 training tokens, batch 2, sequence 4: 0 4 | 8 12 | 16 20, mod 9. */
    DataOrder order = { .batch = 2, .sequence = 4 };
    static const int starts[] = { 0, 4, 8, 3, 7, 2 };
    for (int i = 0; i < 6; i++) {
        int step = i / 2 + 1, row = i % 2;
        check(c, data_train_start(&train, &order, step, row) == starts[i],
              "start %d", i);
        check(c,
              data_train_window(&train, &order, step, row, tokens, targets,
                                &error),
              "%s", error.text);
        for (int t = 0; t < 4; t++)
            check(c,
                  tokens[t] == '0' + (starts[i] + t) % 9 &&
                      targets[t] == '0' + (starts[i] + t + 1) % 9,
                  "window %d token %d", i, t);
    }
    /* Data shorter than a window wraps inside it. */
    DataRange two = { &data, 3, 2 };
    check(c,
          data_train_window(&two, &order, 1, 1, tokens, targets, &error) &&
              memcmp(tokens, (int32_t[]){ '3', '4', '3', '4' }, 16) == 0 &&
              memcmp(targets, (int32_t[]){ '4', '3', '4', '3' }, 16) == 0,
          "two tokens");
    DataOrder one = { .batch = 1, .sequence = 1 };
    check(c, data_train_window(&train, &one, 9, 0, tokens, targets, &error) &&
          tokens[0] == '8' && targets[0] == '0', "a window of one token");
    order =
        (DataOrder){ .batch = (int64_t)1 << 40, .sequence = (int64_t)1 << 31 };
    uint64_t i = ((uint64_t)999 << 40) + 7; /* ·2^31 mod 9, of which 2^6 = 1 */
    check(c,
          data_train_start(&train, &order, 1000, 7) == (int64_t)(i % 9 * 2 % 9),
          "far away");
    data_close(&data);
}

/* Every window once an epoch, in another order each epoch. */
static void test_shuffled(Checks *c)
{
    Data data = { 0 };
    DataRange range = { &data, 0, 1001 };
    DataOrder order = {
        .shuffled = true, .seed = 1337, .batch = 4, .sequence = 10
    };
    int64_t previous[100] = { 0 };
    for (int epoch = 0; epoch < 5; epoch++) { /* (1001-1)/10 = 100 windows */
        int seen[100] = { 0 }, same = 0, wrong = 0, in_place = 0;
        for (int i = 0; i < 100; i++) {
            int64_t step = (epoch * 100 + i) / 4 + 1,
                    row = (epoch * 100 + i) % 4;
            int64_t start = data_train_start(&range, &order, step, row);
            wrong += start % 10 != 0 || start < 0 || start > 990;
            if (start >= 0 && start <= 990)
                seen[start / 10]++;
            same += start == previous[i];
            in_place += start == i * 10;
            previous[i] = start;
        }
        for (int i = 0; i < 100; i++)
            wrong += seen[i] != 1;
        check(c, wrong == 0, "epoch %d: %d windows", epoch, wrong);
        check(c, same < 15 && in_place < 15, "epoch %d is not shuffled", epoch);
    }
    /* The batch does not change the order of windows. */
    DataOrder larger = order;
    larger.batch = 8;
    check(c,
          data_train_start(&range, &order, 2, 3) ==
              data_train_start(&range, &larger, 1, 7),
          "batch");
    range.count = 1000;             /* 99 windows: the last has no target */
    int most = 0;
    for (int i = 0; i < 99; i++) {
        int start = (int)data_train_start(&range, &order, i / 4 + 1, i % 4);
        most = start > most ? start : most;
    }
    check(c, most == 980, "last window %d", most);
    range.count = 5;                /* shorter than a window: one, at 0 */
    check(c, data_train_start(&range, &order, 9, 1) == 0, "one window");
    order.seed = 1338;
    range.count = 1001;
    int same = 0;
    for (int i = 0; i < 100; i++)
        same +=
            data_train_start(&range, &order, 101 + i / 4, i % 4) == previous[i];
    check(c, same < 15, "the seed does nothing");
}

static void test_evaluation(Checks *c)
{
    static const struct { int64_t count, sequence, windows; } sets[] = {
        { 0, 4, 0 }, { 1, 4, 0 }, { 2, 4, 1 }, { 4, 4, 1 }, { 5, 4, 1 }, { 6, 4, 2 },
        { 9, 4, 2 }, { 10, 4, 3 }, { 10, 1, 9 }, { 10, 100, 1 }, { 10, 9, 1 }, { 10, 10, 1 },
    };
    Data data;
    Error error = { 0 };
    if (!open_one(&data, "ten.txt", DATA_AUTO, 256, &error))
        return;
    for (int i = 0; i < (int)(sizeof sets / sizeof *sets); i++) {
        DataRange range = { &data, 10 - sets[i].count, sets[i].count };
        int64_t sequence = sets[i].sequence, scored = 0, bad = 0;
        check(c, data_eval_windows(&range, sequence) == sets[i].windows,
              "set %d", i);
        for (int64_t w = 0; w < sets[i].windows + 2; w++) {
            int32_t tokens[100], targets[100], length = -1;
            check(c,
                  data_eval_window(&range, sequence, w, tokens, targets,
                                   &length, &error),
                  "%s", error.text);
            for (int t = 0; t < sequence; t++) {
                int64_t at = w * sequence + t;
                bool real = w < sets[i].windows && at < range.count;
                bool has_next = real && at + 1 < range.count;
                bad += tokens[t] != (real ? '0' + range.first + at : 0);
                bad +=
                    targets[t] != (has_next ? '0' + range.first + at + 1 : -1);
                bad += (t < length) != real;
                scored += targets[t] >= 0;
            }
        }
        check(c, bad == 0, "set %d: %d values", i, (int)bad);
        check(c, scored == (sets[i].count ? sets[i].count - 1 : 0),
              "set %d: %d scored", i, (int)scored);
    }
    data_close(&data);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "data" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_formats(&checks);
    test_refused(&checks);
    test_paths(&checks);
    test_many_files(&checks);
    test_changing(&checks);
    test_split(&checks);
    test_sequential(&checks);
    test_shuffled(&checks);
    test_evaluation(&checks);
    return check_end(&checks);
}
