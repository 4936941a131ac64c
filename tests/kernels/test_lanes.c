/* test_lanes.c: what lanes.h does besides arithmetic: tails that touch nothing
 * outside, folds in their order, selections, and dropout against its definition
 * and against known answers of Philox. */
#include "harness.h"
#include "lanes.h"
#include <math.h>
#include <stdlib.h>

static void test_tails(void)
{
    for (long n = 1; n <= 20; n++) {
        long count = n < 16 ? n : 16;
        float *in = guarded(count), *out = guarded(count);
        random_fill(in, count, (uint32_t)n);
        f32x16 x = load_tail(in, n);
        store_tail(out, x, n);
        bool same = first_difference(in, out, count) < 0;
        for (int l = 0; l < 16; l++)
            same = same && x[l] == (l < n ? in[l] : 0.0f);
        check(same, "tail of %ld", n);
        f32x16 kept = keep(n, splat(1.0f), splat(2.0f));
        for (int l = 0; l < 16; l++)
            same = same && kept[l] == (l < n ? 1.0f : 2.0f);
        check(same, "keep %ld", n);
        unguard(in);
        unguard(out);
    }
}

static void test_folds(void)
{
    float v[16], sum[16], most = -INFINITY;
    random_fill(v, 16, 9);
    for (int l = 0; l < 16; l++) {
        sum[l] = v[l];
        most = v[l] > most ? v[l] : most;
    }
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++)
            sum[l] = sum[l] + sum[l + half];
    check(fold_add(load16(v)) == sum[0], "fold_add");
    check(fold_max(load16(v)) == most, "fold_max");
    f32x16 most16 = max16(load16(v), splat(0.25f));
    for (int l = 0; l < 16; l++)
        check(most16[l] == (v[l] > 0.25f ? v[l] : 0.25f), "max16 lane %d", l);
}

static void test_onehot(void)
{
    for (int32_t target = -1; target < 40; target++) {
        f32x16 hot = onehot16(16, target);
        bool good = true;
        for (int l = 0; l < 16; l++)
            good = good && hot[l] == (16 + l == target ? 1.0f : 0.0f);
        check(good, "onehot of %d", target);
    }
    check(fold_add(onehot16(4294967296L, 0)) == 0.0f, "onehot does not wrap");
}

/* Known answers: the published test vectors of Philox4x32-10. */
static void test_philox(void)
{
    Philox zero = philox(0, 0, 0, 0, 0), ones = philox(~0ull, ~0u, ~0u, ~0u, ~0u);
    Philox pi = philox(0x299f31d0a4093822ull, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u);
    static const uint32_t want[3][4] = {
        {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u},
        {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu},
        {0xd16cfe09u, 0x94fdcceb, 0x5001e420u, 0x24126ea1u},
    };
    for (int i = 0; i < 4; i++)
        check(zero.word[i] == want[0][i] && ones.word[i] == want[1][i] && pi.word[i] == want[2][i],
              "philox word %d", i);
}

static void test_dropout(void)
{
    static const float rates[] = {0.0f, 0.1f, 0.5f, 0.999f};
    const uint64_t seed = 0x123456789abcdefull;
    for (int r = 0; r < 4; r++)
        for (uint32_t row = 0; row < 50; row++)
            for (uint32_t column = 0; column < 64; column += 16) {
                f32x16 scale = dropout16(seed, 7, 3, row, column, rates[r]);
                bool same = true;
                for (uint32_t l = 0; l < 16; l++)
                    same = same && scale[l] == dropout_scale(seed, 7, 3, row, column + l, rates[r]);
                check(same, "dropout of row %u column %u rate %g", row, column, (double)rates[r]);
            }
    long kept = 0;
    for (uint32_t row = 0; row < 1000; row++)
        for (uint32_t column = 0; column < 100; column++)
            kept += dropout_scale(seed, 1, 0, row, column, 0.25f) != 0.0f;
    check(labs(kept - 75000) < 600, "dropout keeps %ld of 100000, not 75000", kept);
}

int main(void)
{
    test_tails();
    test_folds();
    test_onehot();
    test_philox();
    test_dropout();
    return finish("lanes");
}
