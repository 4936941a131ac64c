/* philox.h: Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror
 * and Shaw ("Parallel random numbers: as easy as 1, 2, 3", 2011). Every random
 * number of a program is a pure function of a key and a counter; no stream has a
 * position, so neither threads nor plans nor restarts can change a draw.
 * SPDX-License-Identifier: 0BSD */
#ifndef PHILOX_H
#define PHILOX_H
#include <stdint.h>

#define PHILOX_M0 0xD2511F53u       /* multipliers */
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u       /* what the key grows by each round */
#define PHILOX_W1 0xBB67AE85u
#define PHILOX_ROUNDS 10

typedef struct Philox { uint32_t word[4]; } Philox;

static inline Philox philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    return (Philox){{c0, c1, c2, c3}};
}
#endif
