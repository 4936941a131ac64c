/* masking.c (test): special tokens' ids, and the draws of masked tokens: their
 * shares, what is never touched, and that a draw depends on nothing but seed,
 * example and position.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/masking.h"
#include <math.h>
#include <string.h>

static Settings settings_without(void)
{
    return (Settings){
        .special_pad = -1, .special_bos = -1, .special_eos = -1,
        .special_unk = -1, .special_cls = -1, .special_sep = -1,
        .special_mask = -1, .seed = 7, .masking_rate = 0.15,
        .masking_mask = 0.8, .masking_random = 0.1,
    };
}

static void test_special(Checks *c)
{
    Special special;
    Error error = { 0 };
    Settings settings = settings_without();
    check(c, special_read(&special, &settings, 263, true, &error) &&
          special.id[SPECIAL_PAD] == 256 && special.id[SPECIAL_BOS] == 257 &&
          special.id[SPECIAL_EOS] == 258 && special.id[SPECIAL_UNK] == 259 &&
          special.id[SPECIAL_CLS] == 260 && special.id[SPECIAL_SEP] == 261 &&
          special.id[SPECIAL_MASK] == 262, "bytes");
    check(c, special_is(&special, 262) && !special_is(&special, 255) &&
          !special_is(&special, -1), "is");
    settings.special_eos = 3;
    check(c, special_read(&special, &settings, 260, true, &error) &&
          special.id[SPECIAL_EOS] == 3 && special.id[SPECIAL_UNK] == 259 &&
          special.id[SPECIAL_CLS] == -1 && !special_is(&special, -1),
          "260 tokens");
    check(c, special_need(&special, SPECIAL_EOS, "seq2seq", &error), "eos");
    check(c, !special_need(&special, SPECIAL_MASK, "masked-token", &error) &&
          error.status == ERROR_INPUT &&
          strstr(error.text, "train.data.special.mask") &&
          strstr(error.text, "262"), "%s", error.text);
    check(c, special_padding(&special) == 256, "padding");
    check(c, special_read(&special, &settings, 50257, false, &error) &&
          special.id[SPECIAL_EOS] == 3 && special.id[SPECIAL_PAD] == -1 &&
          special_padding(&special) == 0, "other tokens");
    settings.special_bos = 260;
    check(c, !special_read(&special, &settings, 260, true, &error) &&
          strstr(error.text, "train.data.special.bos is 260"), "%s",
          error.text);
}

/* Masks many rows of one token each and compares the shares. */
static void test_shares(Checks *c)
{
    enum { ROWS = 400, T = 512 };
    static int32_t tokens[T], targets[T];
    Error error = { 0 };
    Settings settings = settings_without();
    Special special;
    Masking masking;
    settings.special_unk = 100;
    if (!check(c, special_read(&special, &settings, 300, true, &error) &&
               masking_open(&masking, &settings, &special, 300, &error), "%s",
               error.text))
        return;
    int64_t chosen = 0, masked = 0, kept = 0, random[300] = { 0 }, wrong = 0;
    for (int row = 0; row < ROWS; row++) {
        for (int t = 0; t < T; t++)
            tokens[t] = t % 64 == 0 ? 258 : t % 64 == 1 ? 100 : 42;
        masking_apply(&masking, (MaskingDraw){ true, (uint64_t)row }, T, tokens,
                      targets);
        for (int t = 0; t < T; t++) {
            if (t % 64 < 2) {
                wrong += targets[t] != -1 || tokens[t] != (t % 64 ? 100 : 258);
                continue;
            }
            wrong += targets[t] != -1 && targets[t] != 42;
            wrong += targets[t] == -1 && tokens[t] != 42;
            chosen += targets[t] == 42;
            masked += tokens[t] == 262;
            kept += targets[t] == 42 && tokens[t] == 42;
            random[tokens[t]] += targets[t] == 42 && tokens[t] != 262;
        }
    }
    double n = (double)ROWS * (T - 16);
    check(c, wrong == 0, "%d tokens", (int)wrong);
    check(c, fabs((double)chosen / n - 0.15) < 0.004, "%d chosen", (int)chosen);
    check(c, fabs((double)masked / (double)chosen - 0.8) < 0.01, "%d masked",
          (int)masked);
    /* A 293rd of the random ones are the token itself. */
    check(c, fabs((double)kept / (double)chosen - 0.1) < 0.01, "%d kept",
          (int)kept);
    int seen = 0, special_seen = 0;
    for (int id = 0; id < 300; id++) {
        seen += random[id] > 0;
        special_seen += random[id] > 0 && special_is(&special, id);
    }
    check(c, seen > 285 && special_seen == 0, "%d tokens drawn, %d special",
          seen, special_seen);
}

static void test_draws(Checks *c)
{
    enum { T = 64 };
    int32_t first[T], again[T], targets[T], targets_again[T];
    Error error = { 0 };
    Settings settings = settings_without();
    Special special;
    Masking masking;
    settings.masking_rate = 0.5;
    if (!special_read(&special, &settings, 263, true, &error) ||
        !masking_open(&masking, &settings, &special, 263, &error))
        return;
    for (int t = 0; t < T; t++)
        first[t] = again[t] = t;
    masking_apply(&masking, (MaskingDraw){ true, 9 }, T, first, targets);
    masking_apply(&masking, (MaskingDraw){ true, 9 }, 20, again, targets_again);
    check(c, memcmp(first, again, 20 * sizeof *first) == 0 &&
          memcmp(targets, targets_again, 20 * sizeof *first) == 0 &&
          again[20] == 20, "a shorter row differs");
    static const MaskingDraw others[] = { { false, 9 }, { true, 8 } };
    for (int i = 0; i < 3; i++) {
        for (int t = 0; t < T; t++)
            again[t] = t;
        masking.seed = i == 2 ? 8 : 7;
        masking_apply(&masking, i < 2 ? others[i] : (MaskingDraw){ true, 9 }, T,
                      again, targets_again);
        check(c, memcmp(targets, targets_again, sizeof targets) != 0,
              "draw %d is the same", i);
    }
    masking.rate = 1;
    masking.mask = 0;
    masking.random = 0;
    masking_apply(&masking, (MaskingDraw){ true, 1 }, T, first, targets);
    int wrong = 0;
    for (int t = 0; t < T; t++)
        wrong += special_is(&special, first[t]) ? targets[t] != -1
                                                : targets[t] != first[t];
    check(c, wrong == 0, "rate 1: %d", wrong);
    Special none = { { -1, -1, -1, -1, -1, -1, -1 } };
    check(c, !masking_open(&masking, &settings, &none, 300, &error) &&
          strstr(error.text, "train.data.special.mask"), "%s", error.text);
    Special all = { { 0, 1, 2, 2, 1, 0, 2 } };
    check(c, !masking_open(&masking, &settings, &all, 3, &error) &&
          strstr(error.text, "nothing to mask"), "%s", error.text);
    check(c, masking_open(&masking, &settings, &all, 4, &error) &&
          masking.special_count == 3, "one ordinary token");
}

int main(void)
{
    Checks checks = { .name = "masking" };
    test_special(&checks);
    test_shares(&checks);
    test_draws(&checks);
    return check_end(&checks);
}
