/* draw.c (test): random draws: their counter layout against Philox itself,
 * their distributions, permutations for every small count, and that pieces do
 * not matter.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/draw.h"
#include "../../runtime/kernels/philox.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_layout(Checks *c)
{
    check(c, draw_stream("") == 0xcbf29ce484222325 &&
          draw_stream("a") == 0xaf63dc4c8601ec8c &&
          draw_stream("foobar") == 0x85944171f73967e8, "FNV-1a of known texts");
    uint64_t seed = 0x123456789abcdef0, stream = draw_stream("x");
    uint64_t index = 0x1122334455667788;
    Philox b = philox(seed, 0x55667788, 0x11223344, (uint32_t)stream,
                      (uint32_t)(stream >> 32));
    uint64_t bits = (uint64_t)b.word[1] << 32 | b.word[0];
    check(c,
          draw_uniform(seed, stream, index) == (double)(bits >> 11) * 0x1p-53,
          "a uniform number is the block's");
    double u = (double)(bits >> 11) * 0x1p-53;
    bits = (uint64_t)b.word[3] << 32 | b.word[2];
    double v = (double)(bits >> 11) * 0x1p-53, radius = sqrt(-2 * log(1 - u));
    double even = draw_normal(seed, stream, 2 * index);
    double odd = draw_normal(seed, stream, 2 * index + 1);
    check(c, fabs(even - radius * cos(2 * M_PI * v)) < 1e-14, "even normal");
    check(c, fabs(odd - radius * sin(2 * M_PI * v)) < 1e-14, "odd normal");
}

static void test_distributions(Checks *c)
{
    enum { N = 1 << 20 };
    double mean = 0, square = 0, cube = 0, fourth = 0, uniform = 0, most = 0;
    int below[8] = { 0 }, outside = 0;
    uint64_t stream = draw_stream("embed.token.weight");
    for (int i = 0; i < N; i++) {
        double z = draw_normal(1337, stream, (uint64_t)i);
        double u = draw_uniform(7, stream, (uint64_t)i);
        mean += z, square += z * z, cube += z * z * z, fourth += z * z * z * z;
        most = fabs(z) > most ? fabs(z) : most;
        uniform += u;
        if (u >= 0 && u < 1)
            below[(int)(u * 8)]++;
        else
            outside++;
    }
    double spread = 1 / sqrt(N);        /* of the mean of N normal numbers */
    check(c, fabs(mean / N) < 4 * spread, "mean %g", mean / N);
    check(c, fabs(square / N - 1) < 4 * 1.5 * spread, "variance %g",
          square / N);
    check(c, fabs(cube / N) < 4 * 4 * spread, "skewness %g", cube / N);
    check(c, fabs(fourth / N - 3) < 4 * 10 * spread, "kurtosis %g", fourth / N);
    check(c, most > 4 && most < 8.6, "largest %g", most);
    check(c, outside == 0, "%d uniform numbers outside of [0, 1)", outside);
    check(c, fabs(uniform / N - 0.5) < 4 * 0.3 * spread, "uniform mean");
    for (int i = 0; i < 8; i++)
        check(c, abs(below[i] - N / 8) < 4 * 340, "eighth %d: %d", i, below[i]);
}

static void test_pieces(Checks *c)
{
    enum { N = 1001 };
    float whole[N], pieces[N];
    uint64_t stream = draw_stream("blocks.0.attn.q.weight");
    draw_normals(whole, N, 5, 0.02, 42, stream);
    for (int at = 0, length = 1; at < N;
         at += length, length = length % 7 + 1) {
        if (length > N - at)
            length = N - at;
        draw_normals(pieces + at, length, 5 + (uint64_t)at, 0.02, 42, stream);
    }
    check(c, memcmp(whole, pieces, sizeof whole) == 0, "pieces change draws");
    for (int i = 0; i < N; i++)
        check(c,
              whole[i] ==
                  (float)(0.02 * draw_normal(42, stream, 5 + (uint64_t)i)),
              "element %d", i);
    float other[N];
    draw_normals(other, N, 5, 0.02, 43, stream);
    check(c, memcmp(whole, other, sizeof whole) != 0, "the seed does nothing");
    draw_normals(other, N, 5, 0.02, 42, stream + 1);
    check(c, memcmp(whole, other, sizeof whole) != 0,
          "the stream does nothing");
    draw_normals(other, 2, (uint64_t)1 << 40, 0.02, 42, stream);
    check(c, other[0] != whole[0] && isfinite(other[1]), "a far element");
}

/* Each of count values once, for one epoch. */
static bool permutes(uint64_t count, uint64_t epoch, unsigned char *seen)
{
    memset(seen, 0, count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t to =
            draw_permuted(i, count, 1337, draw_stream("order") + epoch);
        if (to >= count || seen[to]++)
            return false;
    }
    return true;
}

static void test_permutations(Checks *c)
{
    static const uint64_t large[] = {
        4095, 4096, 4097, 65535, 65536, 65537, 262144, 262145, 1000003, 4194304,
    };
    unsigned char *seen = malloc(1 << 22);
    for (uint64_t count = 1; count <= 3000; count++)
        check(c, permutes(count, count % 5, seen), "%d windows", (int)count);
    for (int i = 0; i < (int)(sizeof large / sizeof *large); i++)
        check(c, permutes(large[i], 1, seen), "%d windows", (int)large[i]);
    free(seen);
    uint64_t huge = ((uint64_t)1 << 62) - 1;
    for (uint64_t i = 0; i < 100; i++)
        check(c, draw_permuted(huge - 1 - i, huge, 3, 4) < huge,
              "a huge count");
}

/* Of 4 windows, each of the 24 orders comes equally often; of 1000, places are
 * uncorrelated with windows and from epoch to epoch. */
static void test_fairness(Checks *c)
{
    enum { EPOCHS = 24000, COUNT = 1000 };
    int often[256] = { 0 }, kinds = 0;
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int order = 0;
        for (uint64_t i = 0; i < 4; i++)
            order = order << 2 | (int)draw_permuted(i, 4, 9, 100 + epoch);
        often[order]++;
    }
    double chi = 0;
    for (int i = 0; i < 256; i++) {
        kinds += often[i] > 0;
        if (often[i])
            chi += (often[i] - 1000.0) * (often[i] - 1000.0) / 1000;
    }
    check(c, kinds == 24, "%d orders of 4 windows", kinds);
    check(c, chi < 60, "chi-square of the orders of 4 windows: %g", chi);
    double own = 0, next = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double a = (double)draw_permuted(i, COUNT, 9, 1) - (COUNT - 1) / 2.0;
        double b = (double)draw_permuted(i, COUNT, 9, 2) - (COUNT - 1) / 2.0;
        own += a * ((double)i - (COUNT - 1) / 2.0);
        next += a * b;
    }
    double variance = COUNT * (COUNT * (double)COUNT - 1) / 12;
    check(c, fabs(own / variance) < 4 / sqrt(COUNT), "correlation %g",
          own / variance);
    check(c, fabs(next / variance) < 4 / sqrt(COUNT), "of epochs %g",
          next / variance);
}

int main(void)
{
    Checks checks = { .name = "draw" };
    test_layout(&checks);
    test_distributions(&checks);
    test_pieces(&checks);
    test_permutations(&checks);
    test_fairness(&checks);
    return check_end(&checks);
}
