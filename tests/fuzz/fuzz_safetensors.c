/* fuzz_safetensors.c: any bytes as a safetensors file or, after an odd first
 * byte, as the index of two shards. Of what is accepted every element is read in
 * every way, and no byte of the file may belong to two tensors.
 * Build: clang -fsanitize=fuzzer,address,undefined, with the runtime's files.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "../../runtime/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void read_entry(Tensors *t, int i)
{
    enum { PART = 40000 };
    static union { float f[PART]; double d[PART]; int32_t n[PART]; } out;
    const TensorEntry *e = &t->entries[i];
    Error error;
    require(tensors_find(t, e->name) == i);
    require(e->offset + e->bytes <= t->files[e->file].size);
    require(tensors_want(t, e->name, e->rank, e->dims, &error) == i);
    for (int64_t at = 0; at < e->count; at += PART) {
        int64_t n = e->count - at < PART ? e->count - at : PART;
        bool real = tensors_read_f32(t, i, at, n, out.f, &error);
        require(tensors_read_f64(t, i, at, n, out.d, &error) == real);
        tensors_read_i32(t, i, at, n, out.n, &error);
    }
    require(!tensors_read_raw(t, i, 0, e->count + 1, out.f, &error));
    require(!tensors_read_raw(t, i, e->count, 1, out.f, &error));
}

/* Two shards with a tensor each, "a" and "b", in a directory of our own. */
static const char *index_path(void)
{
    static char path[128];
    static const char *const names[] = { "a", "b" };
    if (path[0])
        return path;
    snprintf(path, sizeof path, "/tmp/fuzz-safetensors-XXXXXX");
    require(mkdtemp(path) != NULL);
    size_t length = strlen(path);
    for (int i = 0; i < 2; i++) {
        TensorShape shape = { names[i], TENSOR_F32, 1, { 2 } };
        snprintf(path + length, sizeof path - length, "/%s", names[i]);
        TensorOutput output = { .path = path, .tensors = &shape, .count = 1 };
        TensorWriter w;
        require(tensors_create(&w, &output, NULL) &&
                tensors_append(&w, "12345678", 8, NULL) &&
                tensors_commit(&w, NULL));
    }
    snprintf(path + length, sizeof path - length, "/x.index.json");
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    char path[128];
    Tensors t;
    Error error = { 0 };
    int file = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (bytes[0] % 2) {
        snprintf(path, sizeof path, "%s", index_path());
        FILE *index = fopen(path, "wb");
        fwrite(bytes + 1, 1, size - 1, index);
        fclose(index);
    } else {
        require(write(file, bytes + 1, size - 1) == (ssize_t)(size - 1));
    }
    if (tensors_open(&t, path, &error)) {
        uint64_t total = 0, data = 0;
        for (int i = 0; i < t.count; i++) {
            read_entry(&t, i);
            total += t.entries[i].bytes;
        }
        for (int i = 0; i < t.file_count; i++)
            data += t.files[i].size - 8;
        require(total <= data);
        tensors_metadata(&t, "spec");
        NameList list = { 0 };
        tensors_unwanted(&t, &list);
        require(list.count == 0);
        tensors_close(&t);
    } else {
        require(error.status == ERROR_INPUT && error.text[0]);
    }
    close(file);
    return 0;
}
