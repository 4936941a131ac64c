/* check_values.c: values, on the shrunk spec: its plan and one rank of it are
 * built as `build` builds programs, train for some steps on the same data, and
 * take one step's gradients; those of one rank are held against the interpreter
 * in float64 and, bit for bit, in the program's f32. All happens in a directory
 * of its own below /tmp, which is removed. */
#define _GNU_SOURCE
#include "check.h"
#include "check_data.h"
#include "child.h"
#include "package.h"
#include "program.h"
#include "tensor_files.h"
#include "../runtime/files.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEPS = 3, SECONDS = 60 };
static const double loss_limit = 1e-5, gradient_limit = 1e-4;

/* One of the two programs. */
typedef struct Built {
    const char *name;               /* "plan", "one" */
    Compiled compiled;
    const char *program, *run, *log, *gradients;
    const char *threads;
} Built;

typedef struct Values {
    Check *c;
    const char *directory, *data, *batch, *weights;
    Built plan, one;
} Values;

static const char *in(Values *v, const char *format, const char *name)
{
    Arena *arena = v->c->arena;
    char file[64];
    snprintf(file, sizeof file, format, name);
    return arena_printf(arena, "%s/%s", v->directory, file);
}

/* ---- making and running ---- */
static void name_built(Values *v, Built *b, const char *name,
                       const char *threads)
{
    b->name = name;
    b->threads = threads;
    b->program = in(v, "%s", name);
    b->run = in(v, "%s-run", name);
    b->log = in(v, "%s.jsonl", name);
    b->gradients = in(v, "%s-grad.safetensors", name);
}

/* The last diagnostic's first line, for a claim. */
static const char *complaint(Values *v, const Diag *diag)
{
    const char *text = diag->messages.count ? diag->messages.at[0] : "?";
    const char *end = strchr(text, '\n');
    return arena_strndup(v->c->arena, text,
                         end ? (size_t)(end - text) : strlen(text));
}

/* A spec that is not accepted when it is small says nothing of the plan. */
static int make(Values *v, Built *b, const SpecSources *from)
{
    Check *c = v->c;
    Diag *diag = diag_new(c->arena);
    const CompileOptions options = { .from = *from, .target = "",
                                     .features = "" };
    int status = WRONG_INPUT;
    if (compile_spec(diag, c->arena, &options, &b->compiled))
        status = program_finish(diag, &b->compiled);
    if (status != DONE) {
        claim(c, "values", "a small spec of the same structure computes what "
              "one rank does", CLAIM_ASSUMED, "the small spec is refused: %s",
              complaint(v, diag));
        return WRONG_INPUT;
    }
    status = program_link(diag, &b->compiled, &c->target, c->place,
                          b->program);
    if (status != DONE)
        diag_print(diag, stderr);
    return status;
}

static bool run(Values *v, const char *name, const char *what,
                const char *const *argv)
{
    Buf said = {0};
    Child child;
    int status = -1;
    if (child_start(&child, argv, v->directory))
        status = child_wait_within(&child, SECONDS, &said);
    if (status == 124)
        claim(v->c, name, what, CLAIM_FAILED, "%s does not end in %d s",
              argv[1], (int)SECONDS);
    else if (status)
        claim(v->c, name, what, CLAIM_FAILED, "`%s` ended with status %d: %s",
              argv[1], status, child_says(&said));
    buf_free(&said);
    return status == 0;
}

static const char training[] = "the small program of the plan, and that of one "
                               "rank, train and end";

static bool train(Values *v, const Built *b)
{
    char steps[16];
    snprintf(steps, sizeof steps, "%d", (int)STEPS);
    const char *argv[] = {
        b->program, "train", "--data", v->data, "--steps", steps, "--out",
        b->run, "--log", b->log, "--threads", b->threads, "--quiet", NULL,
    };
    return run(v, "training", training, argv);
}

static bool gradients(Values *v, const Built *b)
{
    const char *argv[] = {
        b->program, "grad", "--weights", v->weights, "--batch", v->batch,
        "--out", b->gradients, "--threads", b->threads, NULL,
    };
    return run(v, "training", training, argv);
}

/* ---- tensors ---- */
static bool read_tensors(Values *v, const char *path, FileTensors *to)
{
    Buf why = {0};
    bool fine = tensor_file_read(path, v->c->arena, to, &why);
    if (!fine)
        claim(v->c, "training", training, CLAIM_FAILED, "%s", why.text);
    buf_free(&why);
    return fine;
}

static const FileTensor *find(const FileTensors *in, const char *name)
{
    for (int i = 0; i < in->list.count; i++)
        if (!strcmp(in->list.at[i].name, name))
            return &in->list.at[i];
    return NULL;
}

typedef struct Gap {
    double largest;                 /* of a tensor's largest value */
    double least;                   /* that such a one counts as */
    const char *where;
    int64_t unequal, values;
} Gap;

/* NaN is no agreement, but with NaN. */
static void compare_values(Gap *gap, const char *name, const double *a,
                           const double *b, int64_t count)
{
    double size = 0, apart = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs(a[i] - b[i]);
        bool same = a[i] == b[i] && signbit(a[i]) == signbit(b[i]);
        gap->unequal += !same && !(isnan(a[i]) && isnan(b[i]));
        if (!(d <= apart) && a[i] != b[i])
            apart = isnan(d) ? INFINITY : d;
        if (fabs(b[i]) > size)
            size = fabs(b[i]);
    }
    gap->values += count;
    double relative = apart == 0 ? 0 : apart / fmax(size, gap->least);
    if (relative > gap->largest) {
        gap->largest = relative;
        gap->where = name;
    }
}

static bool is_gradient(const char *name)
{
    return !strncmp(name, "grad.", 5) || !strcmp(name, "loss");
}

/* A tensor whose values are zero by mathematics (a router that keeps one
 * expert, a bias that a norm takes away) holds rounding noise alone: it is
 * measured by a thousandth of the largest value of all. */
static double least_size(const FileTensors *in, bool gradients)
{
    double largest = 0;
    for (int i = 0; i < in->list.count; i++) {
        const FileTensor *t = &in->list.at[i];
        bool counts = gradients ? !strncmp(t->name, "grad.", 5) : true;
        for (int64_t j = 0; counts && j < t->count; j++)
            if (fabs(t->values[j]) > largest)
                largest = fabs(t->values[j]);
    }
    return fmax(1e-3 * largest, 1e-6);
}

/* Every tensor of b (of gradients, or all); one that a lacks is infinitely
 * wrong. */
static Gap compare_files(const FileTensors *a, const FileTensors *b,
                         bool gradients)
{
    Gap gap = { .where = "", .least = least_size(b, gradients) };
    for (int i = 0; i < b->list.count; i++) {
        const FileTensor *t = &b->list.at[i];
        if (gradients && !is_gradient(t->name))
            continue;
        const FileTensor *other = find(a, t->name);
        if (!other || other->count != t->count) {
            gap = (Gap){ INFINITY, gap.least, t->name, gap.unequal + t->count,
                         gap.values };
            continue;
        }
        compare_values(&gap, t->name, other->values, t->values, t->count);
    }
    return gap;
}

static void claim_bits(Values *v, const char *name, const char *text,
                       const Gap *gap)
{
    claim(v->c, name, text, gap->unequal ? CLAIM_FAILED : CLAIM_TESTED,
          gap->unequal ? "%lld of %lld numbers differ, the most in %s"
                       : "%lld differ of %lld numbers%s",
          (long long)gap->unequal, (long long)gap->values,
          gap->unequal ? gap->where : "");
    Claim *last = &v->c->claims.at[v->c->claims.count - 1];
    last->error = gap->largest;
    last->measured = true;
}

/* ---- the log ---- */
/* The text of a member of step k's line; "" where there is none. */
static const char *logged(Values *v, const char *log, int step,
                          const char *member)
{
    const char *key = arena_printf(v->c->arena, "\"%s\":", member);
    const char *line = log;
    for (int i = 1; line && i < step; i++) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    const char *end = line ? strchr(line, '\n') : NULL;
    const char *at = line ? strstr(line, key) : NULL;
    if (!at || (end && at > end))
        return "";
    at += strlen(key);
    return arena_strndup(v->c->arena, at, strcspn(at, ",}"));
}

static const char *read_log(Values *v, const Built *b)
{
    Error error = {0};
    char *text = NULL;
    size_t length = 0;
    if (!file_read_whole(b->log, 1 << 20, &text, &length, &error))
        return "";
    const char *copy = arena_strndup(v->c->arena, text, length);
    free(text);
    return copy;
}

static void compare_logs(Values *v)
{
    static const char *const members[] = { "loss", "grad_norm" };
    const char *plan = read_log(v, &v->plan), *one = read_log(v, &v->one);
    const char *text = "the loss and the norm of the gradient of every step";
    double error = 0;
    int unequal = 0, read = 0;
    for (int step = 1; step <= STEPS; step++)
        for (int i = 0; i < 2; i++) {
            const char *a = logged(v, plan, step, members[i]);
            const char *b = logged(v, one, step, members[i]);
            double x = strtod(a, NULL), y = strtod(b, NULL);
            read += *a && *b;
            unequal += strcmp(a, b) != 0;
            error = fmax(error, fabs(x - y) / fmax(fabs(y), 1e-30));
        }
    const char *found = arena_printf(
        v->c->arena, "%d steps, first loss %s", (int)STEPS,
        logged(v, one, 1, "loss"));
    if (read != 2 * STEPS) {
        claim(v->c, "loss", text, CLAIM_FAILED, "a log has %d of %d numbers",
              read, 2 * (int)STEPS);
    } else if (v->c->bits) {
        claim(v->c, "loss", arena_printf(v->c->arena, "%s are one rank's, bit "
              "for bit", text), unequal ? CLAIM_FAILED : CLAIM_TESTED, "%s",
              found);
        v->c->claims.at[v->c->claims.count - 1].error = error;
        v->c->claims.at[v->c->claims.count - 1].measured = true;
    } else {
        claim_error(v->c, "loss", arena_printf(v->c->arena, "%s are near one "
                    "rank's (%s: no bits are promised)", text, v->c->no_bits),
                    error, loss_limit, found);
    }
}

/* ---- against the interpreter ---- */
static void give(Values *v, const FileTensors *from, Tensors *to)
{
    for (int i = 0; i < from->list.count; i++) {
        const FileTensor *f = &from->list.at[i];
        Tensor t = { .name = f->name, .rank = f->rank, .values = f->values };
        for (int d = 0; d < f->rank && d < MAX_RANK; d++)
            t.dims[d] = f->dims[d];
        list_push(v->c->arena, &to->list, t);
    }
}

static bool interpret(Values *v, Arithmetic arithmetic, FileTensors *out)
{
    Arena *arena = v->c->arena;
    FileTensors weights = {0}, batch = {0};
    Tensors in = {0};
    Buf why = {0};
    double *smoothing = arena_alloc(arena, sizeof *smoothing);
    *smoothing = v->c->compiled.spec->train_label_smoothing;
    const Tensor scalar = { .name = "smoothing", .rank = 1, .dims = { 1 },
                            .values = smoothing };
    if (!read_tensors(v, v->weights, &weights)
        || !read_tensors(v, v->batch, &batch))
        return false;
    give(v, &weights, &in);
    give(v, &batch, &in);
    list_push(arena, &in.list, scalar);
    Interpretation run = { .arithmetic = arithmetic, .in = &in,
                           .step_number = 1 };
    bool fine = module_interpret(v->one.compiled.module, "grad", arena, &run,
                                 &why);
    if (!fine)
        claim(v->c, "interpreter", "the interpreter takes the step",
              CLAIM_FAILED, "%s", why.text);
    buf_free(&why);
    for (int i = 0; fine && i < run.out.list.count; i++) {
        const Tensor *t = &run.out.list.at[i];
        FileTensor to = { .name = t->name, .rank = t->rank, .count = 1,
                          .values = t->values };
        for (int d = 0; d < t->rank; d++)
            to.count *= t->dims[d];
        list_push(arena, &out->list, to);
    }
    return fine;
}

static void compare_interpreter(Values *v)
{
    FileTensors one = {0}, exact = {0}, canonical = {0};
    if (!read_tensors(v, v->one.gradients, &one)
        || !interpret(v, ARITHMETIC_F64, &exact)
        || !interpret(v, ARITHMETIC_F32, &canonical))
        return;
    Gap gap = compare_files(&exact, &one, true);
    claim_error(v->c, "float64", "loss and gradients of one rank are near the "
                "interpreter's in float64", gap.largest, gradient_limit,
                *gap.where ? arena_printf(v->c->arena, "%lld numbers, the most "
                                          "in %s", (long long)gap.values,
                                          gap.where) : "no difference");
    gap = compare_files(&canonical, &one, true);
    claim_bits(v, "float32", "and those of the interpreter in the program's "
               "f32, bit for bit", &gap);
}

/* ---- the plan against one rank ---- */
static void compare_plan(Values *v)
{
    FileTensors plan = {0}, one = {0}, plan_grad = {0}, one_grad = {0};
    const char *trained = arena_printf(v->c->arena,
                                       "%s/step-%d/model.safetensors",
                                       v->plan.run, (int)STEPS);
    compare_logs(v);
    if (!read_tensors(v, trained, &plan) || !read_tensors(v, v->weights, &one)
        || !read_tensors(v, v->plan.gradients, &plan_grad)
        || !read_tensors(v, v->one.gradients, &one_grad))
        return;
    Gap weights = compare_files(&plan, &one, false);
    Gap grads = compare_files(&plan_grad, &one_grad, true);
    if (v->c->bits) {
        claim_bits(v, "weights", "every weight after them is one rank's, bit "
                   "for bit", &weights);
        claim_bits(v, "gradients", "loss and gradients of a step under the "
                   "plan are one rank's, bit for bit", &grads);
        return;
    }
    claim_error(v->c, "gradients", "loss and gradients of a step under the "
                "plan are near one rank's", grads.largest, gradient_limit,
                grads.where);
}

static int compare(Values *v)
{
    Check *c = v->c;
    Buf why = {0};
    int status = make(v, &v->plan, &c->plan_from);
    if (status == DONE)
        status = make(v, &v->one, &c->one_from);
    if (status != DONE)
        return status == WRONG_INPUT ? DONE : status;
    const Spec *spec = v->one.compiled.spec;
    if (!check_data(spec, v->data, STEPS, c->seed, c->arena, &why)
        || !check_data(spec, v->batch, 1, c->seed, c->arena, &why)) {
        diag_error_at(c->diag, "check", "%s", why.text);
        buf_free(&why);
        return LACKING;
    }
    if (!train(v, &v->one) || !train(v, &v->plan) || !gradients(v, &v->one)
        || !gradients(v, &v->plan))
        return DONE;
    claim(c, "training", training, CLAIM_TESTED, "%s%s%d steps, seed %llu; %s",
          c->small_plan ? c->small_plan : "", c->small_plan ? "; " : "",
          (int)STEPS, (unsigned long long)c->seed, c->shrunk);
    compare_plan(v);
    compare_interpreter(v);
    return DONE;
}

int check_values(Check *c)
{
    Workplace workplace;
    Values v = { .c = c };
    if (!workplace_open(&workplace, c->diag, "trainwright-check"))
        return LACKING;
    v.directory = workplace.directory;
    v.data = in(&v, "%s", "data.safetensors");
    v.batch = in(&v, "%s", "batch.safetensors");
    name_built(&v, &v.plan, "plan", "1");
    name_built(&v, &v.one, "one", "2");
    v.weights = arena_printf(c->arena, "%s/step-%d/model.safetensors",
                             v.one.run, (int)STEPS);
    int status = compare(&v);
    workplace_close(&workplace);
    buf_free(&v.plan.compiled.spec_text);
    buf_free(&v.one.compiled.spec_text);
    return status;
}
