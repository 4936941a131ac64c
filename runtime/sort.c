/* sort.c: see sort.h. A heap sort.
 * SPDX-License-Identifier: 0BSD */
#include "sort.h"
#include <string.h>

int sort_compare(const SortKey *a, const SortKey *b)
{
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    uint32_t common = a->length < b->length ? a->length : b->length;
    int order = common > 0 ? memcmp(a->text, b->text, common) : 0;
    if (order != 0 || a->length == b->length)
        return order;
    return a->length < b->length ? -1 : 1;
}

/* Lets keys[at] sink until no child in [0, count) is above it. */
static void sink(SortKey *keys, size_t at, size_t count)
{
    SortKey moving = keys[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count &&
            sort_compare(&keys[child], &keys[child + 1]) < 0)
            child++;
        if (sort_compare(&moving, &keys[child]) >= 0)
            break;
        keys[at] = keys[child];
    }
    keys[at] = moving;
}

void sort_keys(SortKey *keys, size_t count)
{
    for (size_t i = count / 2; i > 0; i--)
        sink(keys, i - 1, count);
    for (size_t end = count; end > 1; end--) {
        SortKey greatest = keys[0];
        keys[0] = keys[end - 1];
        keys[end - 1] = greatest;
        sink(keys, 0, end - 1);
    }
}

size_t sort_find(const SortKey *keys, size_t count, const SortKey *key)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (sort_compare(&keys[middle], key) < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}
