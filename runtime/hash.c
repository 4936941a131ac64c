/* hash.c: see hash.h. The compression function twice: as the standard writes
 * it, and with x86's SHA instructions; then the streaming around it.
 * SPDX-License-Identifier: 0BSD */
#include "hash.h"
#include "files.h"
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* The cube roots of the first 64 primes: the first 32 bits of the fractions. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
           (uint32_t)at[2] << 8 | at[3];
}

/* Mixes 64-byte blocks into the state: FIPS 180-4, section 6.2.2. */
static void mix_plain(uint32_t state[8], const uint8_t *block, size_t blocks)
{
    for (; blocks > 0; blocks--, block += 64) {
        uint32_t w[64];
        for (int t = 0; t < 16; t++)
            w[t] = big_endian(block + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] +
                   (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
                   (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 64; t++) {
            uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                           ((e & f) ^ (~e & g)) + round_constants[t] + w[t];
            uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                           ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + one;
            d = c, c = b, b = a, a = one + two;
        }
        const uint32_t after[8] = { a, b, c, d, e, f, g, h };
        for (int i = 0; i < 8; i++)
            state[i] += after[i];
    }
}

#if defined(__x86_64__)
static bool have_sha(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 29 & 1))
        return false;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1);     /* SSE4.1 */
}

static __m128i load(const void *at)
{
    return _mm_loadu_si128(at);
}

/* The same with instructions that do two rounds each. They want the state as
 * the words {f, e, b, a} and {h, g, d, c}, lowest first, and four words of the
 * message schedule at a time: w[i] is made from the four before it. */
__attribute__((target("sha,sse4.1,ssse3")))
static void mix_sha(uint32_t state[8], const uint8_t *block, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const uint32_t *s = state;
    uint32_t before[8] = { s[5], s[4], s[1], s[0], s[7], s[6], s[3], s[2] };
    __m128i abef = load(before), cdgh = load(before + 4);
    for (; blocks > 0; blocks--, block += 64) {
        __m128i kept_abef = abef, kept_cdgh = cdgh, w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(load(block + 16 * i), swap);
        for (int i = 0; i < 16; i++) {
            __m128i last = w[(i + 3) & 3], *next = &w[i & 3];
            if (i >= 4) {
                __m128i x = _mm_sha256msg1_epu32(*next, w[(i + 1) & 3]);
                __m128i y = _mm_alignr_epi8(last, w[(i + 2) & 3], 4);
                *next = _mm_sha256msg2_epu32(_mm_add_epi32(x, y), last);
            }
            __m128i wk = _mm_add_epi32(*next, load(round_constants + 4 * i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            wk = _mm_shuffle_epi32(wk, 0x0e);       /* the upper two words */
            abef = _mm_sha256rnds2_epu32(abef, cdgh, wk);
        }
        abef = _mm_add_epi32(abef, kept_abef);
        cdgh = _mm_add_epi32(cdgh, kept_cdgh);
    }
    uint32_t x[4], y[4];
    _mm_storeu_si128((void *)x, abef);
    _mm_storeu_si128((void *)y, cdgh);
    for (int i = 0; i < 2; i++) {
        state[i] = x[3 - i];
        state[2 + i] = y[3 - i];
        state[4 + i] = x[1 - i];
        state[6 + i] = y[1 - i];
    }
}
#endif

static void mix(Sha256 *hash, const uint8_t *block, size_t blocks)
{
#if defined(__x86_64__)
    if (hash->instructions) {
        mix_sha(hash->state, block, blocks);
        return;
    }
#endif
    mix_plain(hash->state, block, blocks);
}

void sha256_start(Sha256 *hash)
{
    /* The fractions of the square roots of the first eight primes. */
    static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(hash->state, initial, sizeof initial);
    hash->length = 0;
    hash->instructions = false;
#if defined(__x86_64__)
    hash->instructions = have_sha();
#endif
}

void sha256_add(Sha256 *hash, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    const uint8_t *from = bytes;
    size_t used = hash->length % 64;
    hash->length += length;
    if (used > 0) {
        size_t part = length < 64 - used ? length : 64 - used;
        memcpy(hash->block + used, from, part);
        if (used + part < 64)
            return;
        mix(hash, hash->block, 1);
        from += part;
        length -= part;
    }
    if (length >= 64)
        mix(hash, from, length / 64);
    memcpy(hash->block, from + length / 64 * 64, length % 64);
}

void sha256_finish(Sha256 *hash, uint8_t digest[SHA256_BYTES])
{
    uint64_t bits = hash->length * 8;
    uint8_t tail[72] = { 0x80 };        /* then zeros up to 8 bytes of length */
    size_t zeros = (119 - hash->length % 64) % 64;
    for (int i = 0; i < 8; i++)
        tail[1 + zeros + i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(hash, tail, 1 + zeros + 8);
    for (int i = 0; i < SHA256_BYTES; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - i % 4 * 8));
}

void sha256_finish_text(Sha256 *hash, char text[SHA256_TEXT])
{
    uint8_t digest[SHA256_BYTES];
    sha256_finish(hash, digest);
    for (int i = 0; i < SHA256_BYTES; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    text[SHA256_TEXT - 1] = '\0';
}

bool sha256_file(const char *path, char text[SHA256_TEXT], Error *error)
{
    uint64_t size;
    int descriptor = file_open(path, &size, error);
    if (descriptor < 0)
        return false;
    Sha256 hash;
    sha256_start(&hash);
    bool good = true;
    for (uint64_t at = 0; good && at < size;) {
        uint8_t piece[65536];
        size_t length = size - at < sizeof piece ? (size_t)(size - at)
                                                 : sizeof piece;
        good = file_read_at(descriptor, path, piece, length, at, error);
        if (good)
            sha256_add(&hash, piece, length);
        at += length;
    }
    close(descriptor);
    if (good)
        sha256_finish_text(&hash, text);
    return good;
}
