/* sort.h: one way to sort: by number, then by text (bytes, shorter first where
 * one begins the other). In place, n log n whatever the input, without
 * recursion or function pointers.
 * SPDX-License-Identifier: 0BSD */
#ifndef SORT_H
#define SORT_H
#include <stddef.h>
#include <stdint.h>

typedef struct SortKey {
    uint64_t number;
    const char *text;       /* may be NULL where length is 0 */
    uint32_t length;
    int32_t item;           /* what the key belongs to; not compared */
} SortKey;

/* < 0, 0 or > 0. */
int sort_compare(const SortKey *a, const SortKey *b);

void sort_keys(SortKey *keys, size_t count);

/* The first index in [0, count) whose key is not below `key`, or count. */
size_t sort_find(const SortKey *keys, size_t count, const SortKey *key);
#endif
