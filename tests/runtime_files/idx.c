/* idx.c (test): IDX images and labels, plain and gzipped: stored blocks written
 * here and a file made by gzip; what is wrong with torn, false and large ones.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/gzip.h"
#include "../../runtime/idx.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 2, PIXELS = SIZE * SIZE };

static void put(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, length, file);
    fclose(file);
}

/* ---- making files ------------------------------------------------------- */

static size_t make_header(unsigned char *at, int rank, const uint32_t *dims)
{
    const unsigned char magic[4] = { 0, 0, 8, (unsigned char)rank };
    memcpy(at, magic, 4);
    for (int i = 0; i < rank; i++)
        for (int byte = 0; byte < 4; byte++)
            at[4 + 4 * i + byte] = (unsigned char)(dims[i] >> (24 - 8 * byte));
    return 4 + 4 * (size_t)rank;
}

/* Image i has pixels first + 4i …; label i is i % 3. */
static size_t make_images(unsigned char *at, uint32_t count, int first)
{
    size_t length = make_header(at, 3, (uint32_t[]){ count, SIZE, SIZE });
    for (uint32_t i = 0; i < count * PIXELS; i++)
        at[length++] = (unsigned char)(first + (int)i);
    return length;
}

static size_t make_labels(unsigned char *at, uint32_t count)
{
    size_t length = make_header(at, 1, &count);
    for (uint32_t i = 0; i < count; i++)
        at[length++] = (unsigned char)(i % 3);
    return length;
}

static void put_images(const char *path, uint32_t count, int first)
{
    unsigned char bytes[1024];
    put(path, bytes, make_images(bytes, count, first));
}

static void put_labels(const char *path, uint32_t count)
{
    unsigned char bytes[1024];
    put(path, bytes, make_labels(bytes, count));
}

/* gzip's format with one stored block (RFC 1951, 1952). */
static size_t make_gzip(unsigned char *out, const unsigned char *bytes,
                        size_t length)
{
    static const unsigned char head[10] = { 0x1f, 0x8b, 8 };
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    memcpy(out, head, 10);
    out[10] = 1;
    for (int i = 0; i < 2; i++) {
        out[11 + i] = (unsigned char)(length >> 8 * i);
        out[13 + i] = (unsigned char)~(length >> 8 * i);
    }
    memcpy(out + 15, bytes, length);
    for (int i = 0; i < 4; i++) {
        out[15 + length + (size_t)i] = (unsigned char)(~crc >> 8 * i);
        out[19 + length + (size_t)i] = (unsigned char)(length >> 8 * i);
    }
    return length + 23;
}

/* ---- reading ------------------------------------------------------------ */

typedef struct Set {
    Data data;
    Idx idx;
    bool good;
} Set;

static void open_set(Set *set, const char *const *paths, int count,
                     bool unlabelled, Error *error)
{
    const IdxShape shape = { 1, SIZE, 3 };
    set->good = data_open(&set->data, paths, count, DATA_IDX, 0, error);
    if (!set->good)
        return;
    set->good = idx_open(&set->idx, &set->data, &shape, unlabelled, error);
    if (!set->good)
        data_close(&set->data);
}

static void close_set(Set *set)
{
    if (!set->good)
        return;
    idx_close(&set->idx);
    data_close(&set->data);
}

/* Image i has pixels 4i … and label i % 3, or -1. */
static void holds(Checks *c, const char *const *paths, int path_count,
                  int64_t count, bool labelled)
{
    Set set;
    Error error = { 0 };
    open_set(&set, paths, path_count, !labelled, &error);
    if (!check(c, set.good, "%s: %s", paths[0], error.text))
        return;
    check(c, set.idx.count == count && set.data.tokens == count,
          "%s: %d images", paths[0], (int)set.idx.count);
    int wrong = 0;
    for (int64_t i = 0; i < count; i++) {
        float image[PIXELS];
        int32_t label = -7;
        wrong += !idx_read(&set.idx, i, image, &label, &error);
        wrong += label != (labelled ? i % 3 : -1);
        for (int p = 0; p < PIXELS; p++)
            wrong += image[p] != (float)(4 * i + p) / 255;
    }
    check(c, wrong == 0, "%s: %d numbers", paths[0], wrong);
    close_set(&set);
}

static void refuses(Checks *c, const char *path, const char *labels,
                    const char *why)
{
    Set set;
    Error error = { 0 };
    const char *const paths[] = { path, labels };
    open_set(&set, paths, labels ? 2 : 1, false, &error);
    check(c, !set.good && error.status == ERROR_INPUT &&
          strstr(error.text, why), "%s: %s", path, error.text);
    close_set(&set);
}

#define PATHS(...) \
    (const char *const[]){ __VA_ARGS__ }, \
    (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void test_plain(Checks *c)
{
    put_images("train-images-idx3-ubyte", 7, 0);
    put_labels("train-labels-idx1-ubyte", 7);
    put_images("other-images-idx3-ubyte", 2, 0);
    holds(c, PATHS("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), 7,
          true);
    holds(c, PATHS("train-labels-idx1-ubyte", "train-images-idx3-ubyte"), 7,
          true);
    holds(c, PATHS("train-*"), 7, true);
    holds(c, PATHS("train-images-idx3-ubyte"), 7, true);
    holds(c, PATHS("./train-images-idx3-ubyte"), 7, true);
    holds(c, PATHS("other-images-idx3-ubyte"), 2, false);
    refuses(c, "other-images-idx3-ubyte", NULL, "no file of labels");
    /* Several files of each kind, cut differently. */
    put_images("a.idx", 3, 0);
    put_images("b.idx", 4, 12);
    holds(c, PATHS("a.idx", "train-labels-idx1-ubyte", "b.idx"), 7, true);
    unsigned char one[] = { 0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2,
                            0, 0, 0, 2, 0, 1, 2, 3 };
    put("four.idx", one, sizeof one);
    holds(c, PATHS("four.idx"), 1, false);
}

static void test_refused(Checks *c)
{
    unsigned char bytes[1024];
    size_t length = make_images(bytes, 7, 0);
    put("short.idx", bytes, length - 1);
    refuses(c, "short.idx", NULL, "its header says 28 bytes, but 27");
    put("header.idx", bytes, 9);
    refuses(c, "header.idx", NULL, "9 bytes are too few");
    put("three.idx", bytes, 3);
    refuses(c, "three.idx", NULL, "3 bytes are no IDX file");
    bytes[2] = 0xd;
    put("float.idx", bytes, length);
    refuses(c, "float.idx", NULL, "begins with 00000d03");
    make_header(bytes, 3, (uint32_t[]){ 1, 3, 2 });
    put("shape.idx", bytes, 16 + 6);
    refuses(c, "shape.idx", NULL, "images of 3 x 2 with 1 channels");
    make_header(bytes, 4, (uint32_t[]){ ~0u, ~0u, ~0u, ~0u });
    put("huge.idx", bytes, 20);
    refuses(c, "huge.idx", NULL, "more than 2^64");
    make_header(bytes, 3, (uint32_t[]){ ~0u, 2, 2 });
    put("many.idx", bytes, 16);
    refuses(c, "many.idx", NULL, "says 17179869180 bytes");
    put_images("none.idx", 0, 0);
    refuses(c, "none.idx", NULL, "no images");
    put_labels("six.idx", 6);
    refuses(c, "train-images-idx3-ubyte", "six.idx", "7 images, but 6 labels");
    refuses(c, "six.idx", NULL, "no images");
    length = make_labels(bytes, 7);
    bytes[length - 1] = 3;
    put("three-classes.idx", bytes, length);
    refuses(c, "train-images-idx3-ubyte", "three-classes.idx",
            "three-classes.idx: label 6 is 3; the model has 3 classes");
}

static void test_gzip(Checks *c)
{
    unsigned char bytes[1024], packed[1024];
    size_t length = make_images(bytes, 7, 0);
    size_t whole = make_gzip(packed, bytes, length);
    put("z-images-idx3-ubyte.gz", packed, whole);
    length = make_labels(bytes, 7);
    put("z-labels-idx1-ubyte.gz", packed, make_gzip(packed, bytes, length));
    holds(c, PATHS("z-images-idx3-ubyte.gz"), 7, true);
    holds(c, PATHS("z-*"), 7, true);
    holds(c, PATHS("z-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"), 7,
          true);
    /* 60 images of which each is 0, 1, 2, 3, by gzip -9. */
    static const unsigned char small[] = {
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x63, 0x60,
        0xe0, 0x60, 0x66, 0x60, 0x60, 0xb0, 0x01, 0x62, 0x26, 0x30, 0x66, 0x64,
        0x62, 0x1e, 0x49, 0x18, 0x00, 0x4b, 0x09, 0x5d, 0xe9, 0x00, 0x01, 0x00,
        0x00,
    };
    Set set;
    Error error = { 0 };
    put("small.idx.gz", small, sizeof small);
    open_set(&set, PATHS("small.idx.gz"), true, &error);
    float image[PIXELS];
    check(c, set.good && set.idx.count == 60 &&
          idx_read(&set.idx, 59, image, NULL, &error) && image[3] == 3.0f / 255,
          "%s", error.text);
    close_set(&set);
}

/* Every way to cut a gzipped file short, and every bit of it changed: an error,
 * or the same images where gzip does not mind. */
static void test_torn(Checks *c)
{
    unsigned char bytes[1024], packed[1024];
    size_t length = make_images(bytes, 3, 0);
    size_t whole = make_gzip(packed, bytes, length);
    int accepted = 0, wrong = 0;
    for (size_t cut = 0; cut < whole; cut++) {
        Set set;
        Error error = { 0 };
        put("torn.gz", packed, cut);
        open_set(&set, PATHS("torn.gz"), true, &error);
        accepted += set.good;
        wrong += !set.good && error.status != ERROR_INPUT;
        wrong += strstr(error.text, "<fd") != NULL;
        close_set(&set);
    }
    check(c, accepted == 0, "%d cut files were read", accepted);
    check(c, wrong == 0, "%d messages of cut files are wrong", wrong);
    accepted = 0;
    for (size_t bit = 0; bit < 8 * whole; bit++) {
        Set set;
        Error error = { 0 };
        packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
        put("torn.gz", packed, whole);
        open_set(&set, PATHS("torn.gz"), true, &error);
        float image[PIXELS] = { 0 };
        if (set.good) {
            accepted++;
            wrong += set.idx.count != 3
                || !idx_read(&set.idx, 2, image, NULL, &error)
                || image[3] != 11.0f / 255;
        } else {
            wrong += error.status != ERROR_INPUT;
        }
        close_set(&set);
        packed[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    /* The time, the system and the flags of the header are anyone's. */
    check(c, wrong == 0 && accepted < 10 * 8, "%d wrong, %d accepted", wrong,
          accepted);
    make_header(bytes, 3, (uint32_t[]){ ~0u, 2, 2 });
    put("bomb.gz", packed, make_gzip(packed, bytes, 16));
    refuses(c, "bomb.gz", NULL, "more than a gzipped file of its size");
    length = make_images(bytes, 3, 0);
    put("more.gz", packed, make_gzip(packed, bytes, length + 1));
    refuses(c, "more.gz", NULL, "more bytes follow");
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "idx" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_plain(&checks);
    test_refused(&checks);
    void *zlib = dlopen("libz.so.1", RTLD_NOW);
    if (zlib) {
        test_gzip(&checks);
        test_torn(&checks);
        dlclose(zlib);
    } else {
        printf("idx: gzipped files are not read: there is no libz.so.1\n");
        Gzip gzip;
        Error error = { 0 };
        check(&checks, !gzip_open(&gzip, "z.gz", &error) &&
              error.status == ERROR_ENVIRONMENT, "%s", error.text);
    }
    return check_end(&checks);
}
