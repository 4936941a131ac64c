/* test_index.c: patches and keep_rows (index.c) against plain loops, all bits, 1 to 4
 * threads. scatter_add is in test_sums.c. */
#include "harness.h"

/* ---- patches ----------------------------------------------------------------------- */
typedef struct Images {
    float *rows, *images;
    long batch, channels, size, patch, skip, sequence;
} Images;

static void run_patches(const Thread *me, void *argument)
{
    const Images *i = argument;
    patches(me, i->rows, i->images, i->batch, i->sequence, i->channels, i->size, i->patch,
            i->skip);
}

/* Where a pixel belongs, told from the pixel. */
static long place_of(const Images *i, long b, long c, long y, long x)
{
    long side = i->size / i->patch, row = i->skip + y / i->patch * side + x / i->patch;
    long column = (c * i->patch + y % i->patch) * i->patch + x % i->patch;
    return (b * i->sequence + row) * i->channels * i->patch * i->patch + column;
}

static void fill_wanted(const Images *i, float *want, long count)
{
    const float *pixel = i->images;
    for (long j = 0; j < count; j++)
        want[j] = 0;
    for (long b = 0; b < i->batch; b++)
        for (long c = 0; c < i->channels; c++)
            for (long yx = 0; yx < i->size * i->size; yx++)
                want[place_of(i, b, c, yx / i->size, yx % i->size)] = *pixel++;
}

/* `more` rows follow the last patch: they are 0 too. */
static void test_patches(long batch, long channels, long size, long patch, long skip, long more)
{
    Images i = {.batch = batch, .channels = channels, .size = size, .patch = patch, .skip = skip};
    i.sequence = skip + size / patch * (size / patch) + more;
    long count = batch * i.sequence * channels * patch * patch;
    long pixels = batch * channels * size * size;
    i.images = guarded(pixels);
    i.rows = guarded(count);
    float *want = guarded(count);
    random_fill(i.images, pixels, 4);
    fill_wanted(&i, want, count);
    for (int threads = 1; threads <= 4; threads++) {
        random_fill(i.rows, count, 5);
        team_run(threads, 16, run_patches, &i);
        check(first_difference(want, i.rows, count) < 0,
              "patches of %ld: %ld channels, size %ld, patch %ld, skip %ld, threads %d", batch,
              channels, size, patch, skip, threads);
    }
    unguard(i.images);
    unguard(i.rows);
    unguard(want);
}

/* ---- keep_rows ----------------------------------------------------------------------- */
typedef struct Kept {
    float *cache, *x;
    long position, rows, N;
} Kept;

static void run_keep(const Thread *me, void *argument)
{
    const Kept *k = argument;
    keep_rows(me, k->cache, k->x, k->position, k->rows, k->N);
}

static void test_keep_rows(long all, long position, long rows, long N)
{
    Kept k = {guarded(all * N), guarded(rows * N), position, rows, N};
    float *want = guarded(all * N);
    random_fill(k.x, rows * N, 6);
    for (int threads = 1; threads <= 4; threads++) {
        random_fill(k.cache, all * N, 7);
        random_fill(want, all * N, 7);
        for (long i = 0; i < rows * N; i++)
            want[position * N + i] = k.x[i];
        team_run(threads, 16, run_keep, &k);
        check(first_difference(want, k.cache, all * N) < 0,
              "keep_rows %ld at %ld of %ld, N %ld, threads %d", rows, position, all, N, threads);
    }
    unguard(k.cache);
    unguard(k.x);
    unguard(want);
}

int main(void)
{
    test_patches(1, 1, 1, 1, 0, 0);
    test_patches(2, 1, 8, 4, 0, 0);
    test_patches(3, 1, 8, 2, 1, 0);
    test_patches(2, 3, 12, 4, 1, 0);
    test_patches(2, 3, 14, 7, 0, 2);
    test_patches(5, 2, 9, 9, 1, 1);
    test_patches(1, 4, 6, 1, 0, 0);
    test_keep_rows(1, 0, 1, 1);
    test_keep_rows(9, 3, 5, 17);
    test_keep_rows(12, 11, 1, 48);
    return finish("index");
}
