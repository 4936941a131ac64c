/* batch.c: see batch.h.
 * SPDX-License-Identifier: 0BSD */
#include "batch.h"
#include <string.h>

static bool bad_shape(const Batch *batch, const char *name, const char *wanted,
                      Error *error)
{
    const TensorEntry *entry =
        &batch->file.entries[tensors_find(&batch->file, name)];
    char got[200];
    tensor_describe(got, sizeof got, entry->type, entry->rank, entry->dims);
    return error_set(error, ERROR_INPUT, "%s: %s is %s, not %s",
                     batch->file.path, name, got, wanted);
}

static bool check_names(Batch *batch, bool with_targets, Error *error)
{
    NameList unknown = {0};
    for (int i = 0; i < batch->file.count; i++) {
        const char *name = batch->file.entries[i].name;
        if (strcmp(name, "tokens") != 0 && strcmp(name, "targets") != 0
            && strcmp(name, "lengths") != 0)
            names_add(&unknown, name);
    }
    if (unknown.count > 0)
        return error_set(error, ERROR_INPUT, "%s has tensors that are no part "
                         "of a batch: %s", batch->file.path,
                         names_text(&unknown));
    if (batch->tokens < 0 || (with_targets && batch->targets < 0))
        return error_set(error, ERROR_INPUT, "%s has no tensor '%s'",
                         batch->file.path,
                         batch->tokens < 0 ? "tokens" : "targets");
    return true;
}

static bool check_shapes(Batch *batch, Error *error)
{
    const TensorEntry *entries = batch->file.entries;
    const TensorEntry *tokens = &entries[batch->tokens];
    if (tokens->rank != 2 || tokens->dims[0] < 1 || tokens->dims[1] < 1)
        return bad_shape(batch, "tokens", "[B,T]", error);
    batch->batch = tokens->dims[0];
    batch->sequence = tokens->dims[1];
    if (batch->targets >= 0) {
        const TensorEntry *targets = &entries[batch->targets];
        if (targets->rank != 2 || targets->dims[0] != batch->batch
            || targets->dims[1] != batch->sequence)
            return bad_shape(batch, "targets", "of tokens' shape", error);
    }
    if (batch->lengths >= 0) {
        const TensorEntry *lengths = &entries[batch->lengths];
        if (lengths->rank != 1 || lengths->dims[0] != batch->batch)
            return bad_shape(batch, "lengths", "[B] with tokens' B", error);
    }
    return true;
}

bool batch_open(Batch *batch, const char *path, int64_t vocab,
                bool with_targets, Error *error)
{
    *batch = (Batch){ .vocab = vocab };
    if (!tensors_open(&batch->file, path, error))
        return false;
    batch->tokens = tensors_find(&batch->file, "tokens");
    batch->targets = tensors_find(&batch->file, "targets");
    batch->lengths = tensors_find(&batch->file, "lengths");
    if (check_names(batch, with_targets, error) && check_shapes(batch, error))
        return true;
    tensors_close(&batch->file);
    return false;
}

void batch_close(Batch *batch)
{
    tensors_close(&batch->file);
}

/* Reads row b of [B,T] ids and checks that each is in [least, vocab). */
static bool read_ids(const Batch *batch, int entry, int64_t b, int32_t least,
                     int32_t *ids, Error *error)
{
    int64_t T = batch->sequence;
    if (!tensors_read_i32(&batch->file, entry, b * T, T, ids, error))
        return false;
    for (int64_t t = 0; t < T; t++)
        if (ids[t] < least || ids[t] >= batch->vocab)
            return error_set(error, ERROR_INPUT, "%s: %s[%lld,%lld] is %d; the "
                             "vocabulary has %lld tokens", batch->file.path,
                             batch->file.entries[entry].name, (long long)b,
                             (long long)t, ids[t], (long long)batch->vocab);
    return true;
}

bool batch_row(const Batch *batch, int64_t b, int32_t *tokens, int32_t *targets,
               int32_t *length, Error *error)
{
    *length = (int32_t)batch->sequence;
    if (!read_ids(batch, batch->tokens, b, 0, tokens, error)
        || (targets && !read_ids(batch, batch->targets, b, -1, targets, error))
        || (batch->lengths >= 0
            && !tensors_read_i32(&batch->file, batch->lengths, b, 1, length,
                                 error)))
        return false;
    if (*length < 0 || *length > batch->sequence)
        return error_set(error, ERROR_INPUT, "%s: lengths[%lld] is %d; T is "
                         "%lld", batch->file.path, (long long)b, *length,
                         (long long)batch->sequence);
    for (int64_t t = *length; targets && t < batch->sequence; t++)
        targets[t] = -1;
    return true;
}
