/* compare: judges a program's numbers against a reference case.
 *
 *     compare CASE_DIR OUT.safetensors             what `BIN grad` wrote
 *     compare --train EXPECT.jsonl LOG.jsonl       what `BIN train --log` wrote
 *
 * Each number's error is divided by what it may be; 1 is the limit:
 *
 *     loss       1e-5 of the loss; aux_loss alike
 *     logits     1e-4 of their norm, unpadded positions only
 *     gradient   1e-4 of its norm, or of 1e-3 of an average parameter's norm
 *                for its size where that is more (a gradient that is zero by
 *                mathematics is rounding noise in every program)
 *     log        loss, eval_loss 1e-5; grad_norm 1e-4; lr 1e-6 of the largest
 *
 * Prints what fails and the worst ratio; exit 0 when all are at most 1 and
 * nothing is missing, left over, misshapen or not a number, else 1; 2 is a
 * wrong command line. It needs libc alone and shares no code with what it
 * judges: a reader of safetensors, the gradient half, the log half, main. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 8, MAX_NAME = 256, MAX_PATH = 4096, MAX_LINE = 4096 };

static void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (!memory)
        fail("out of memory: %zu bytes", bytes);
    return memory;
}

/* --- safetensors --------------------------------------------------------- */

typedef enum { F64, F32, I64, I32, U8, DTYPES } Dtype;

static const struct { const char *name; int bytes; } dtypes[DTYPES] = {
    [F64] = {"F64", 8}, [F32] = {"F32", 4},
    [I64] = {"I64", 8}, [I32] = {"I32", 4}, [U8] = {"U8", 1},
};

typedef struct {
    char name[MAX_NAME];
    Dtype dtype;
    int rank;
    int64_t shape[MAX_RANK];
    int64_t count;              /* elements */
    const unsigned char *data;
} Tensor;

typedef struct {
    const char *path;
    unsigned char *bytes;       /* the whole file */
    size_t size;
    Tensor *tensors;
    int count;
} File;

/* What is left of a header to read. */
typedef struct {
    const char *at, *end;
    const char *path;
} Text;

static void read_whole(File *file)
{
    FILE *stream = fopen(file->path, "rb");
    if (!stream)
        fail("%s: cannot be opened", file->path);
    size_t capacity = 1 << 16;
    file->bytes = allocate(capacity);
    for (;;) {
        size_t room = capacity - file->size;
        size_t got = fread(file->bytes + file->size, 1, room, stream);
        file->size += got;
        if (got < room)
            break;
        capacity *= 2;
        file->bytes = realloc(file->bytes, capacity);
        if (!file->bytes)
            fail("out of memory: %zu bytes", capacity);
    }
    if (ferror(stream))
        fail("%s: cannot be read", file->path);
    fclose(stream);
}

static bool accept(Text *text, char wanted)
{
    while (text->at < text->end && strchr(" \t\r\n", *text->at) && *text->at)
        text->at++;
    if (text->at == text->end || *text->at != wanted)
        return false;
    text->at++;
    return true;
}

static void expect(Text *text, char wanted)
{
    if (!accept(text, wanted))
        fail("%s: header: expected '%c'", text->path, wanted);
}

/* Copies a string without escapes; the metadata, where escapes may be, are
 * skipped with skip_string. */
static void read_string(Text *text, char *out, size_t room)
{
    size_t length = 0;
    expect(text, '"');
    for (; text->at < text->end && *text->at != '"'; text->at++) {
        if (*text->at == '\\' || length + 1 >= room)
            fail("%s: header: a string of an unexpected kind", text->path);
        out[length++] = *text->at;
    }
    expect(text, '"');
    out[length] = '\0';
}

static void skip_string(Text *text)
{
    expect(text, '"');
    while (text->at < text->end && *text->at != '"')
        text->at += *text->at == '\\' && text->end - text->at > 1 ? 2 : 1;
    expect(text, '"');
}

static void skip_metadata(Text *text)
{
    expect(text, '{');
    if (accept(text, '}'))
        return;
    do {
        skip_string(text);
        expect(text, ':');
        skip_string(text);
    } while (accept(text, ','));
    expect(text, '}');
}

static int64_t read_integer(Text *text)
{
    int64_t value = 0;
    const char *start = text->at;
    while (start < text->end && *start == ' ')
        start++;
    for (text->at = start; text->at < text->end; text->at++) {
        int digit = *text->at - '0';
        if (digit < 0 || digit > 9)
            break;
        if (value > (INT64_MAX - digit) / 10)
            fail("%s: header: a number too large", text->path);
        value = value * 10 + digit;
    }
    if (text->at == start)
        fail("%s: header: expected a number", text->path);
    return value;
}

/* [a, b, …] into out; the number of its entries. */
static int read_integers(Text *text, int64_t *out, int room)
{
    int count = 0;
    expect(text, '[');
    if (accept(text, ']'))
        return 0;
    do {
        if (count == room)
            fail("%s: header: a list too long", text->path);
        out[count++] = read_integer(text);
    } while (accept(text, ','));
    expect(text, ']');
    return count;
}

static Dtype dtype_named(const Text *text, const char *name)
{
    for (int i = 0; i < DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return (Dtype)i;
    fail("%s: header: unexpected dtype %s", text->path, name);
}

/* Points the tensor at bytes [begin, end) of the body, which must be exactly
 * its own. */
static void place(const File *file, Tensor *tensor, const int64_t *range,
                  size_t body)
{
    int64_t most = (int64_t)(file->size - body);
    tensor->count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        int64_t extent = tensor->shape[i];
        if (extent > 0 && tensor->count > most / extent)
            fail("%s: %s: larger than the file", file->path, tensor->name);
        tensor->count *= extent;
    }
    int64_t bytes = tensor->count * dtypes[tensor->dtype].bytes;
    if (range[0] > range[1] || range[1] > most || range[1] - range[0] != bytes)
        fail("%s: %s: wrong byte range", file->path, tensor->name);
    tensor->data = file->bytes + body + range[0];
}

static void read_tensor(File *file, Text *text, size_t body, Tensor *tensor)
{
    int64_t range[2] = {1, 0};
    bool typed = false, shaped = false;
    expect(text, '{');
    do {
        char key[MAX_NAME];
        read_string(text, key, sizeof key);
        expect(text, ':');
        if (strcmp(key, "dtype") == 0) {
            char name[MAX_NAME];
            read_string(text, name, sizeof name);
            tensor->dtype = dtype_named(text, name);
            typed = true;
        } else if (strcmp(key, "shape") == 0) {
            tensor->rank = read_integers(text, tensor->shape, MAX_RANK);
            shaped = true;
        } else if (strcmp(key, "data_offsets") == 0) {
            if (read_integers(text, range, 2) != 2)
                fail("%s: %s: wrong byte range", file->path, tensor->name);
        } else {
            fail("%s: header: unexpected key %s", file->path, key);
        }
    } while (accept(text, ','));
    expect(text, '}');
    if (!typed || !shaped)
        fail("%s: %s: no dtype or no shape", file->path, tensor->name);
    place(file, tensor, range, body);
}

static Tensor *find(const File *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

static Tensor *add_tensor(File *file, const char *name)
{
    if (find(file, name))
        fail("%s: %s: twice", file->path, name);
    size_t bytes = ((size_t)file->count + 1) * sizeof *file->tensors;
    file->tensors = realloc(file->tensors, bytes);
    if (!file->tensors)
        fail("out of memory: %zu bytes", bytes);
    Tensor *tensor = &file->tensors[file->count++];
    *tensor = (Tensor){0};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    return tensor;
}

static File read_file(const char *path)
{
    File file = {.path = path};
    read_whole(&file);
    uint64_t length = 0;
    if (file.size < sizeof length)
        fail("%s: shorter than its header length", path);
    memcpy(&length, file.bytes, sizeof length);
    if (length > file.size - sizeof length)
        fail("%s: the header runs past the end of the file", path);
    size_t body = sizeof length + (size_t)length;
    const char *header = (const char *)file.bytes + sizeof length;
    Text text = {.at = header, .end = header + length, .path = path};
    expect(&text, '{');
    if (accept(&text, '}'))
        return file;
    do {
        char name[MAX_NAME];
        read_string(&text, name, sizeof name);
        expect(&text, ':');
        if (strcmp(name, "__metadata__") == 0)
            skip_metadata(&text);
        else
            read_tensor(&file, &text, body, add_tensor(&file, name));
    } while (accept(&text, ','));
    expect(&text, '}');
    return file;
}

static void release(File *file)
{
    free(file->bytes);
    free(file->tensors);
}

static double element(const Tensor *tensor, int64_t index)
{
    const unsigned char *at =
        tensor->data + index * dtypes[tensor->dtype].bytes;
    double f64;
    float f32;
    int64_t i64;
    int32_t i32;
    switch (tensor->dtype) {
    case F64: memcpy(&f64, at, sizeof f64); return f64;
    case F32: memcpy(&f32, at, sizeof f32); return f32;
    case I64: memcpy(&i64, at, sizeof i64); return (double)i64;
    case I32: memcpy(&i32, at, sizeof i32); return i32;
    case U8: return *at;
    case DTYPES: break;
    }
    return NAN;
}

/* --- the verdict --------------------------------------------------------- */

typedef struct {
    bool failed;
    double worst;
    char name[MAX_NAME + 32];   /* whose ratio is the worst */
} Verdict;

/* error / limit, where no error passes any limit and NaN passes none. */
static void judge(Verdict *verdict, const char *name, double error,
                  double limit)
{
    double ratio = error == 0 ? 0 : error / limit;
    if (!(ratio <= 1)) {
        printf("%s: %.3g times its limit\n", name, ratio);
        verdict->failed = true;
    }
    if (verdict->name[0] && !(ratio > verdict->worst) && !isnan(ratio))
        return;
    verdict->worst = ratio;
    snprintf(verdict->name, sizeof verdict->name, "%s", name);
}

static int finish(const Verdict *verdict)
{
    if (verdict->name[0])
        printf("worst: %s %.3g\n", verdict->name, verdict->worst);
    return verdict->failed ? 1 : 0;
}

static void complain(Verdict *verdict, const char *name, const char *what)
{
    printf("%s: %s\n", name, what);
    verdict->failed = true;
}

/* --- gradients ----------------------------------------------------------- */

static const double loss_limit = 1e-5, logits_limit = 1e-4;
static const double gradient_limit = 1e-4, gradient_floor = 1e-3;

typedef struct { double error, norm; } Distance;

/* Norms of a - b and of b. With lengths, one a sequence, a and b are
 * [sequences,T,width], and only positions below their sequence's length count. */
static Distance distance(const Tensor *a, const Tensor *b,
                         const Tensor *lengths)
{
    double error = 0, norm = 0;
    int64_t width = lengths ? b->shape[b->rank - 1] : 1;
    int64_t positions = lengths ? b->shape[b->rank - 2] : 1;
    for (int64_t i = 0; i < b->count; i++) {
        int64_t row = i / width;
        if (lengths && (double)(row % positions) >=
                           element(lengths, row / positions))
            continue;
        double want = element(b, i), difference = element(a, i) - want;
        error += difference * difference;
        norm += want * want;
    }
    return (Distance){sqrt(error), sqrt(norm)};
}

static bool is_gradient(const Tensor *tensor)
{
    return strncmp(tensor->name, "grad.", 5) == 0;
}

/* The root of the mean square of all gradients' elements. */
static double average_gradient(const File *expected)
{
    double squares = 0;
    int64_t count = 0;
    for (int i = 0; i < expected->count; i++) {
        const Tensor *want = &expected->tensors[i];
        if (!is_gradient(want))
            continue;
        double norm = distance(want, want, NULL).norm;
        squares += norm * norm;
        count += want->count;
    }
    return count > 0 ? sqrt(squares / (double)count) : 0;
}

static bool same_shape(const Tensor *a, const Tensor *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape,
                  (size_t)a->rank * sizeof a->shape[0]) == 0;
}

/* Whether actual holds exactly the tensors of expected, as float32. */
static bool check_names(Verdict *verdict, const File *expected,
                        const File *actual)
{
    for (int i = 0; i < expected->count; i++)
        if (!find(actual, expected->tensors[i].name))
            complain(verdict, expected->tensors[i].name, "missing");
    for (int i = 0; i < actual->count; i++) {
        const Tensor *got = &actual->tensors[i];
        const Tensor *want = find(expected, got->name);
        if (!want)
            complain(verdict, got->name, "not expected");
        else if (!same_shape(got, want))
            complain(verdict, got->name, "wrong shape");
        else if (got->dtype != F32)
            complain(verdict, got->name, "not F32");
    }
    return !verdict->failed;
}

static void judge_tensors(Verdict *verdict, const File *expected,
                          const File *actual, const Tensor *lengths)
{
    double average = average_gradient(expected);
    for (int i = 0; i < expected->count; i++) {
        const Tensor *want = &expected->tensors[i];
        bool logits = strcmp(want->name, "logits") == 0;
        Distance found = distance(find(actual, want->name), want,
                                  logits ? lengths : NULL);
        double limit = loss_limit * found.norm;
        if (logits) {
            limit = logits_limit * found.norm;
        } else if (is_gradient(want)) {
            double least = gradient_floor * average;
            least *= sqrt((double)want->count);
            limit = gradient_limit * fmax(found.norm, least);
        }
        judge(verdict, want->name, found.error, limit);
    }
}

static File read_case_file(const char *directory, const char *name)
{
    char path[MAX_PATH];
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (length < 0 || length >= MAX_PATH)
        fail("%s: a path too long", directory);
    File file = read_file(path);
    file.path = name;
    return file;
}

/* Of logits [B,T,vocab], or of pairs [B,2,T,vocab]. */
static int64_t sequences_of(const Tensor *logits)
{
    int64_t count = 1;
    for (int i = 0; i < logits->rank - 2; i++)
        count *= logits->shape[i];
    return count;
}

static int compare_gradients(const char *directory, const char *out)
{
    File expected = read_case_file(directory, "expect.safetensors");
    File batch = read_case_file(directory, "batch.safetensors");
    File actual = read_file(out);
    Verdict verdict = {0};
    const Tensor *lengths = find(&batch, "lengths");
    const Tensor *logits = find(&expected, "logits");
    if (!logits || logits->rank < 2 || !find(&expected, "loss"))
        fail("%s: the case has no loss or no logits", directory);
    if (logits->rank == 2)      /* a classifier's: a row a sequence */
        lengths = NULL;
    if (lengths && lengths->count != sequences_of(logits))
        fail("%s: lengths do not match the batch", directory);
    if (check_names(&verdict, &expected, &actual))
        judge_tensors(&verdict, &expected, &actual, lengths);
    release(&expected);
    release(&batch);
    release(&actual);
    return finish(&verdict);
}

/* --- logs ---------------------------------------------------------------- */

static const struct { const char *key; double limit; } log_keys[] = {
    {"loss", 1e-5}, {"eval_loss", 1e-5}, {"grad_norm", 1e-4}, {"lr", 1e-6},
};
enum { LOG_KEYS = sizeof log_keys / sizeof log_keys[0], RATE = LOG_KEYS - 1 };

/* A line of a log. A value is NaN where the line lacks it or it is null. */
typedef struct {
    double step;
    bool evaluation;
    double values[LOG_KEYS];
} Line;

typedef struct {
    Line *lines;
    int count;
} Log;

/* The number after "key": in a flat JSON object; no log key ends another
 * within its quotes, so a search is enough. */
static double number_of(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    const char *at = strstr(line, quoted);
    if (!at)
        return NAN;
    at += strlen(quoted);
    at += strspn(at, " ");
    if (*at != ':')
        return NAN;
    char *end;
    double value = strtod(at + 1, &end);
    return end == at + 1 ? NAN : value;
}

static Log read_log(const char *path)
{
    FILE *stream = fopen(path, "r");
    if (!stream)
        fail("%s: cannot be opened", path);
    Log log = {0};
    char text[MAX_LINE];
    while (fgets(text, sizeof text, stream)) {
        size_t bytes = ((size_t)log.count + 1) * sizeof *log.lines;
        log.lines = realloc(log.lines, bytes);
        if (!log.lines)
            fail("out of memory: %zu bytes", bytes);
        Line *line = &log.lines[log.count++];
        if (text[0] != '{' || !strchr(text, '\n'))
            fail("%s:%d: not a line of JSON", path, log.count);
        line->step = number_of(text, "step");
        line->evaluation = strstr(text, "\"eval_loss\"") != NULL;
        for (int i = 0; i < LOG_KEYS; i++)
            line->values[i] = number_of(text, log_keys[i].key);
    }
    fclose(stream);
    return log;
}

static const Line *find_line(const Log *log, const Line *like)
{
    for (int i = 0; i < log->count; i++)
        if (log->lines[i].step == like->step &&
            log->lines[i].evaluation == like->evaluation)
            return &log->lines[i];
    return NULL;
}

static void judge_line(Verdict *verdict, const Line *want, const Line *got,
                       double largest_rate)
{
    for (int i = 0; i < LOG_KEYS; i++) {
        if (isnan(want->values[i]))
            continue;
        char name[MAX_NAME];
        snprintf(name, sizeof name, "step %.0f %s", want->step,
                 log_keys[i].key);
        double scale = i == RATE ? largest_rate : want->values[i];
        double error = fabs(got->values[i] - want->values[i]);
        judge(verdict, name, error, log_keys[i].limit * fabs(scale));
    }
}

static void complain_line(Verdict *verdict, const Line *line,
                          const char *what)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s %.0f",
             line->evaluation ? "evaluation at step" : "step", line->step);
    complain(verdict, name, what);
}

static int compare_logs(const char *expected_path, const char *log_path)
{
    Log expected = read_log(expected_path), log = read_log(log_path);
    Verdict verdict = {0};
    double largest_rate = 0;
    for (int i = 0; i < expected.count; i++)
        if (expected.lines[i].values[RATE] > largest_rate)
            largest_rate = expected.lines[i].values[RATE];
    for (int i = 0; i < expected.count; i++) {
        const Line *want = &expected.lines[i], *got = find_line(&log, want);
        if (got)
            judge_line(&verdict, want, got, largest_rate);
        else
            complain_line(&verdict, want, "missing");
    }
    for (int i = 0; i < log.count; i++) {
        const Line *line = &log.lines[i];
        if (find_line(&log, line) != line)
            complain_line(&verdict, line, "twice");
        if (!line->evaluation && !find_line(&expected, line))
            complain_line(&verdict, line, "not expected");
    }
    free(expected.lines);
    free(log.lines);
    return finish(&verdict);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--train") == 0)
        return compare_logs(argv[2], argv[3]);
    if (argc == 3)
        return compare_gradients(argv[1], argv[2]);
    fputs("usage: compare CASE_DIR OUT.safetensors\n"
          "       compare --train EXPECT.jsonl LOG.jsonl\n", stderr);
    return 2;
}
