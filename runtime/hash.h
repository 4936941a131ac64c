/* hash.h: SHA-256 (FIPS 180-4), streamed: start, add any number of times,
 * finish. Same digest with and without the CPU's SHA instructions, which are
 * used where there are some.
 * SPDX-License-Identifier: 0BSD */
#ifndef HASH_H
#define HASH_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_TEXT = 65 };

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t length;            /* bytes so far */
    uint8_t block[64];          /* the length % 64 bytes not yet mixed in */
    bool instructions;          /* the CPU has them */
} Sha256;

void sha256_start(Sha256 *hash);
void sha256_add(Sha256 *hash, const void *bytes, size_t length);
void sha256_finish(Sha256 *hash, uint8_t digest[SHA256_BYTES]);

/* Finishes into 64 lower-case hexadecimal digits and a NUL. */
void sha256_finish_text(Sha256 *hash, char text[SHA256_TEXT]);

/* The digest of a whole file, read in small pieces. */
bool sha256_file(const char *path, char text[SHA256_TEXT], Error *error);
#endif
