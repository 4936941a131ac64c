/* hash.c (test): SHA-256 of the standard's examples and of every length around
 * the block size: the plain code and the CPU's instructions against each other,
 * in one piece and in several; whole files.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/hash.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void digest_of(const void *bytes, size_t length, bool plain, char *text)
{
    Sha256 hash;
    sha256_start(&hash);
    if (plain)
        hash.instructions = false;
    sha256_add(&hash, bytes, length);
    sha256_finish_text(&hash, text);
}

static void test_examples(Checks *c)
{
    static const struct { const char *text, *digest; } examples[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    for (int i = 0; i < 3; i++)
        for (int plain = 0; plain < 2; plain++) {
            char text[SHA256_TEXT];
            digest_of(examples[i].text, strlen(examples[i].text), plain, text);
            check(c, strcmp(text, examples[i].digest) == 0, "example %d: %s", i,
                  text);
        }
    char *million = malloc(1000000), text[SHA256_TEXT];
    memset(million, 'a', 1000000);
    digest_of(million, 1000000, false, text);
    check(c,
          strcmp(text, "cdc76e5c9914fb9281a1c7e284d73e67"
                       "f1809a48a497200e046d39ccc7112cd0") == 0,
          "a million a");
    free(million);
}

static void test_lengths(Checks *c)
{
    unsigned char bytes[300];
    for (int i = 0; i < 300; i++)
        bytes[i] = (unsigned char)(i * 7 + 3);
    for (size_t length = 0; length <= 300; length++) {
        char fast[SHA256_TEXT], plain[SHA256_TEXT], pieces[SHA256_TEXT];
        digest_of(bytes, length, false, fast);
        digest_of(bytes, length, true, plain);
        check(c, strcmp(fast, plain) == 0, "length %zu: two digests", length);
        Sha256 hash;
        sha256_start(&hash);
        for (size_t at = 0, n = 1; at < length; at += n, n = n % 70 + 3) {
            n = n < length - at ? n : length - at;
            sha256_add(&hash, bytes + at, n);
        }
        sha256_finish_text(&hash, pieces);
        check(c, strcmp(fast, pieces) == 0, "length %zu in pieces", length);
    }
}

static void test_file(Checks *c, const char *directory)
{
    char path[4096], of_file[SHA256_TEXT], of_bytes[SHA256_TEXT];
    snprintf(path, sizeof path, "%s/hashed", directory);
    size_t size = 200001;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * i >> 3);
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
    Error error;
    digest_of(bytes, size, false, of_bytes);
    check(c,
          sha256_file(path, of_file, &error) && strcmp(of_file, of_bytes) == 0,
          "digest of a file");
    unlink(path);
    check(c, !sha256_file(path, of_file, &error) && error.status == 1 &&
          strstr(error.text, "No such file"), "%s", error.text);
    free(bytes);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "hash" };
    test_examples(&checks);
    test_lengths(&checks);
    test_file(&checks, argc > 1 ? argv[1] : ".");
    return check_end(&checks);
}
