/* same_bits.c: do two safetensors files hold the same f32 bits?
 *     same_bits A B [BATCH]
 * Every tensor of A must be in B with as many elements, equal but for the sign of
 * zero. `logits` of padding (BATCH's `lengths`) are not compared. */
#include "../../runtime/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *read_all(const Tensors *tensors, int entry)
{
    Error error;
    int64_t count = tensors->entries[entry].count;
    float *values = malloc((size_t)(count + 1) * sizeof *values);
    if (!values || !tensors_read_f32(tensors, entry, 0, count, values, &error))
        exit(2);
    return values;
}

/* Is row `row` of [B,T] padding? */
static int is_padding(const float *lengths, int64_t row, int64_t T)
{
    return lengths && (float)(row % T) >= lengths[row / T];
}

/* The number of elements that differ. */
static int64_t differences(const Tensors *a, int i, const Tensors *b, int j, const float *lengths)
{
    const TensorEntry *entry = &a->entries[i];
    float *x = read_all(a, i), *y = read_all(b, j);
    int logits = !strcmp(entry->name, "logits") && entry->rank == 3;
    int64_t differ = 0, width = logits ? entry->dims[2] : 1, T = logits ? entry->dims[1] : 1;
    for (int64_t k = 0; k < entry->count; k++) {
        int same = !memcmp(&x[k], &y[k], sizeof x[k]) || (x[k] == 0 && y[k] == 0);
        differ += !same && !(logits && is_padding(lengths, k / width, T));
    }
    free(x);
    free(y);
    return differ;
}

int main(int argc, char **argv)
{
    Tensors a, b, batch;
    Error error;
    float *lengths = NULL;
    int wrong = 0;
    if (argc < 3 || !tensors_open(&a, argv[1], &error) || !tensors_open(&b, argv[2], &error))
        return 2;
    if (argc > 3 && tensors_open(&batch, argv[3], &error) && tensors_find(&batch, "lengths") >= 0) {
        int entry = tensors_find(&batch, "lengths");
        int64_t count = batch.entries[entry].count;
        int32_t *ids = malloc((size_t)(count + 1) * sizeof *ids);
        lengths = malloc((size_t)(count + 1) * sizeof *lengths);
        if (!ids || !lengths || !tensors_read_i32(&batch, entry, 0, count, ids, &error))
            return 2;
        for (int64_t i = 0; i < count; i++)
            lengths[i] = (float)ids[i];
        free(ids);
    }
    for (int32_t i = 0; i < a.count; i++) {
        int j = tensors_find(&b, a.entries[i].name);
        int64_t differ = j < 0 || b.entries[j].count != a.entries[i].count
                       ? -1 : differences(&a, i, &b, j, lengths);
        if (differ)
            printf("%s: %lld of %lld differ\n", a.entries[i].name, (long long)differ,
                   (long long)a.entries[i].count);
        wrong |= differ != 0;
    }
    free(lengths);
    return wrong;
}
