/* tool.c: makes and compares the files of run.sh. Every comparison is of bits,
 * `near` excepted; the first difference is printed, and the status is 1.
 *
 *     tool same A B            the same tensors: names, shapes, bits
 *     tool within A B [C]      every tensor of A is in B, or if not there in C;
 *                              logits of pairs [B,2,T,V] may be [2B,T,V] there
 *     tool near A B LIMIT      losses, logits and gradients of A are those of B
 *     tool poison FILE OUT NAME ROW
 *                              the same tensors, a row of one of them infinite
 *     tool batch TEXT B T STEP OUT
 *                              tokens and targets of the step, 1, 2, …, of a run
 *                              that reads all of TEXT in order
 *     tool examples COUNT OUT NAME=KIND:DIMS…
 *                              tensors of so many examples: KIND N are integers
 *                              in [0,N), -N the same with a quarter -1, `real`
 *                              numbers about 0; DIMS are an example's
 *     tool slice FILE B STEP OUT
 *                              examples of the step of a run that takes B of
 *                              FILE at a time in order
 *     tool scalars UPDATE OUT KEY=VALUE…
 *                              the scalars of the update, 1, 2, …, from lr, beta1,
 *                              beta2, epsilon, decay, momentum, clip, smoothing */
#include "elementary.h"
#include "safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *what, const char *which)
{
    fprintf(stderr, "tool: %s %s\n", what, which);
    exit(1);
}

static Tensors open_file(const char *path)
{
    Tensors file;
    Error error;
    if (!tensors_open(&file, path, &error))
        stop(error.text, "");
    return file;
}

/* ---- bits ---------------------------------------------------------------- */

static void *raw(const Tensors *file, int entry)
{
    Error error;
    void *bytes = malloc(file->entries[entry].bytes + 1);
    if (!bytes || !tensors_read_raw(file, entry, 0, file->entries[entry].count,
                                    bytes, &error))
        stop("cannot read", file->entries[entry].name);
    return bytes;
}

static bool same_shape(const TensorEntry *x, const TensorEntry *y)
{
    int64_t dims[TENSOR_RANK];
    int skipped = x->rank - y->rank;
    bool pairs = skipped == 1 && strcmp(x->name, "logits") == 0;
    if (skipped != 0 && !pairs)
        return false;
    memcpy(dims, x->dims + skipped, (size_t)y->rank * sizeof *dims);
    if (pairs)
        dims[0] *= x->dims[0];
    return memcmp(dims, y->dims, (size_t)y->rank * sizeof *dims) == 0;
}

static void same_entry(const Tensors *a, int i, const Tensors *b, int j)
{
    const TensorEntry *x = &a->entries[i], *y = &b->entries[j];
    if (x->type != y->type || !same_shape(x, y))
        stop("another type or shape:", x->name);
    char *p = raw(a, i), *q = raw(b, j);
    for (uint64_t k = 0; k < x->bytes; k++)
        if (p[k] != q[k]) {
            fprintf(stderr, "tool: %s differs from byte %llu of %llu on\n",
                    x->name, (unsigned long long)k,
                    (unsigned long long)x->bytes);
            exit(1);
        }
    free(p);
    free(q);
}

/* Every tensor of a is in b, or else in c. */
static void within(const Tensors *a, const Tensors *b, const Tensors *c)
{
    for (int i = 0; i < a->count; i++) {
        const char *name = a->entries[i].name;
        int in_b = tensors_find(b, name);
        int in_c = c && in_b < 0 ? tensors_find(c, name) : -1;
        if (in_b < 0 && in_c < 0)
            stop("missing:", name);
        same_entry(a, i, in_b >= 0 ? b : c, in_b >= 0 ? in_b : in_c);
    }
    if (a->count == 0)
        stop("no tensors in", a->path);
}

/* ---- numbers --------------------------------------------------------------- */

static double *values(const Tensors *file, int entry)
{
    Error error;
    int64_t count = file->entries[entry].count;
    double *at = malloc(((size_t)count + 1) * sizeof *at);
    if (!at || !tensors_read_f64(file, entry, 0, count, at, &error))
        stop("cannot read", file->entries[entry].name);
    return at;
}

static double squares(const double *a, const double *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (a[i] - (b ? b[i] : 0)) * (a[i] - (b ? b[i] : 0));
    return sum;
}

static bool is_gradient(const TensorEntry *entry)
{
    return strncmp(entry->name, "grad.", 5) == 0;
}

/* The mean square of all gradients. */
static double gradient_level(const Tensors *file)
{
    double sum = 0, count = 0;
    for (int i = 0; i < file->count; i++)
        if (is_gradient(&file->entries[i])) {
            double *at = values(file, i);
            sum += squares(at, NULL, file->entries[i].count);
            count += (double)file->entries[i].count;
            free(at);
        }
    return count > 0 ? sum / count : 0;
}

/* Norms of differences against norms in b; a gradient's own norm counts as at
 * least a thousandth of the average for its size. */
static void near(const Tensors *a, const Tensors *b, double limit)
{
    double level = gradient_level(b);
    int seen = 0;
    for (int i = 0; i < b->count; i++) {
        const TensorEntry *entry = &b->entries[i];
        bool gradient = is_gradient(entry);
        if (!gradient && strcmp(entry->name, "loss") != 0
            && strcmp(entry->name, "logits") != 0)
            continue;
        int j = tensors_find(a, entry->name);
        if (j < 0 || a->entries[j].count != entry->count)
            stop("missing or of another size:", entry->name);
        double *p = values(a, j), *q = values(b, i);
        double error = sqrt(squares(p, q, entry->count));
        double norm = sqrt(squares(q, NULL, entry->count));
        double least = 1e-3 * sqrt(level * (double)entry->count);
        if (gradient && norm < least)
            norm = least;
        if (!(error <= limit * norm)) {
            fprintf(stderr, "tool: %s is off by %.3g of %.3g\n", entry->name,
                    error, norm);
            exit(1);
        }
        seen++;
        free(p);
        free(q);
    }
    if (seen < 3)
        stop("nothing to compare in", b->path);
}

/* ---- a batch ---------------------------------------------------------------- */

enum { MOST = 32 };

typedef struct Scalars {
    TensorShape shapes[MOST];
    const void *data[MOST];
    float values[MOST];
    int count;
} Scalars;

static void add_scalar(Scalars *scalars, const char *name, double value)
{
    int i = scalars->count++;
    scalars->values[i] = (float)value;
    scalars->shapes[i] = (TensorShape){ name, TENSOR_F32, 1, { 1 } };
    scalars->data[i] = &scalars->values[i];
}

/* beta1 and beta2 stand for three scalars each. */
static void add_key(Scalars *scalars, const char *text, double updates)
{
    const char *equals = strchr(text, '=');
    if (!equals || scalars->count + 3 > MOST)
        stop("KEY=VALUE is wanted, not", text);
    size_t length = (size_t)(equals - text);
    char *name = calloc(1, length + 1);
    memcpy(name, text, length);
    double value = strtod(equals + 1, NULL);
    bool first = strcmp(name, "beta1") == 0;
    add_scalar(scalars, name, value);
    if (first || strcmp(name, "beta2") == 0) {
        add_scalar(scalars, first ? "rest1" : "rest2", 1 - value);
        add_scalar(scalars, first ? "correction1" : "correction2",
                   1 / (1 - f64_pow(value, updates)));
    }
    if (strcmp(name, "smoothing") == 0)
        add_scalar(scalars, "sharpness", 1 - value);
}

/* ids[b,t] = text[(first + b·T + t) mod n] */
static int32_t *window(const char *text, size_t n, long first, long count)
{
    int32_t *ids = malloc((size_t)count * sizeof *ids);
    for (long i = 0; ids && i < count; i++)
        ids[i] = (unsigned char)text[(size_t)(first + i) % n];
    return ids;
}

static int write_tensors(const char *path, const TensorShape *shapes,
                         const void *const *data, int count)
{
    Error error;
    TensorOutput output = { .path = path, .tensors = shapes, .count = count };
    TensorWriter writer;
    bool good = tensors_create(&writer, &output, &error);
    for (int i = 0; good && i < count; i++) {
        uint64_t bytes = 4;
        for (int axis = 0; axis < shapes[i].rank; axis++)
            bytes *= (uint64_t)shapes[i].dims[axis];
        good = tensors_append(&writer, data[i], bytes, &error);
    }
    if (!good || !tensors_commit(&writer, &error))
        stop(error.text, "");
    return 0;
}

/* ---- examples ------------------------------------------------------------------ */

/* splitmix64 of a counter, to [0, 1) */
static double uniform(void)
{
    static uint64_t counter;
    uint64_t z = counter += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void *draw(const char *kind, int64_t count)
{
    bool real = strncmp(kind, "real", 4) == 0;
    long below = labs(atol(kind)), scored = atol(kind) < 0;
    float *numbers = malloc((size_t)count * sizeof *numbers);
    int32_t *integers = malloc((size_t)count * sizeof *integers);
    if (!numbers || !integers || (!real && below == 0))
        stop("cannot draw", kind);
    for (int64_t i = 0; i < count; i++)
        if (real)
            numbers[i] = (float)(uniform() + uniform() - uniform() - uniform());
        else if (scored && uniform() < 0.25)
            integers[i] = -1;
        else
            integers[i] = (int32_t)(uniform() * (double)below);
    free(real ? (void *)integers : (void *)numbers);
    return real ? (void *)numbers : (void *)integers;
}

static int examples(int argc, char **argv)
{
    TensorShape shapes[MOST] = {0};
    const void *data[MOST] = {0};
    int64_t examples = atol(argv[2]);
    for (int i = 4; i < argc && i < MOST + 4; i++) {
        char *kind = strchr(argv[i], '=');
        if (!kind)
            stop("NAME=KIND is wanted, not", argv[i]);
        *kind++ = 0;
        TensorShape *shape = &shapes[i - 4];
        *shape = (TensorShape){ argv[i], *kind == 'r' ? TENSOR_F32 : TENSOR_I32,
                                1, { examples } };
        int64_t count = examples;
        for (const char *at = kind; (at = strchr(at, ':')); at++)
            count *= shape->dims[shape->rank++] = atol(at + 1);
        data[i - 4] = draw(kind, count);
    }
    return write_tensors(argv[3], shapes, data, argc - 4);
}

static int slice(char **argv)
{
    Tensors file = open_file(argv[2]);
    TensorShape shapes[MOST];
    const void *data[MOST];
    int64_t B = atol(argv[3]), first = (atol(argv[4]) - 1) * B;
    for (int i = 0; i < file.count && i < MOST; i++) {
        const TensorEntry *entry = &file.entries[i];
        int64_t all = entry->dims[0];
        size_t each = (size_t)(entry->bytes / (uint64_t)all);
        char *from = raw(&file, i), *to = malloc((size_t)B * each);
        for (int64_t b = 0; to && b < B; b++)
            memcpy(to + (size_t)b * each,
                   from + (size_t)((first + b) % all) * each, each);
        shapes[i] = (TensorShape){ entry->name, entry->type, entry->rank, {0} };
        memcpy(shapes[i].dims, entry->dims, sizeof entry->dims);
        shapes[i].dims[0] = B;
        data[i] = to;
    }
    return write_tensors(argv[5], shapes, data, file.count);
}

static int poison(char **argv)
{
    Tensors file = open_file(argv[2]);
    TensorShape *shapes = calloc((size_t)file.count, sizeof *shapes);
    const void **data = calloc((size_t)file.count, sizeof *data);
    int found = tensors_find(&file, argv[4]);
    if (!shapes || !data || found < 0)
        stop("missing:", argv[4]);
    for (int i = 0; i < file.count; i++) {
        const TensorEntry *entry = &file.entries[i];
        shapes[i] = (TensorShape){ entry->name, TENSOR_F32, entry->rank, {0} };
        memcpy(shapes[i].dims, entry->dims, sizeof entry->dims);
        float *at = raw(&file, i);
        int64_t width = entry->dims[entry->rank - 1], row = atol(argv[5]) * width;
        for (int64_t c = 0; i == found && c < width; c++)
            at[row + c] = INFINITY;
        data[i] = at;
    }
    return write_tensors(argv[3], shapes, data, file.count);
}

static int batch(char **argv)
{
    char *text;
    size_t n;
    Error error;
    long B = atol(argv[3]), T = atol(argv[4]), first = (atol(argv[5]) - 1) * B * T;
    if (!file_read_whole(argv[2], 1 << 26, &text, &n, &error))
        stop(error.text, "");
    const TensorShape shapes[] = { { "tokens", TENSOR_I32, 2, { B, T } },
                                   { "targets", TENSOR_I32, 2, { B, T } } };
    const void *data[] = { window(text, n, first, B * T),
                           window(text, n, first + 1, B * T) };
    return write_tensors(argv[6], shapes, data, 2);
}

static int scalars(int argc, char **argv)
{
    Scalars scalars = {0};
    for (int i = 4; i < argc; i++)
        add_key(&scalars, argv[i], atof(argv[2]));
    return write_tensors(argv[3], scalars.shapes, scalars.data, scalars.count);
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    if (strcmp(what, "batch") == 0 && argc == 7)
        return batch(argv);
    if (strcmp(what, "poison") == 0 && argc == 6)
        return poison(argv);
    if (strcmp(what, "examples") == 0)
        return examples(argc, argv);
    if (strcmp(what, "slice") == 0 && argc == 6)
        return slice(argv);
    if (strcmp(what, "scalars") == 0)
        return scalars(argc, argv);
    if (argc < 4)
        return 2;
    Tensors a = open_file(argv[2]), b = open_file(argv[3]);
    if (strcmp(what, "same") == 0 && argc == 4) {
        within(&a, &b, NULL);
        within(&b, &a, NULL);
        return 0;
    }
    if (strcmp(what, "within") == 0) {
        Tensors c = argc > 4 ? open_file(argv[4]) : b;
        within(&a, &b, &c);
        return 0;
    }
    if (strcmp(what, "near") == 0 && argc == 5) {
        near(&a, &b, atof(argv[4]));
        return 0;
    }
    return 2;
}
