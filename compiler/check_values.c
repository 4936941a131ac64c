/* check_values.c: values, on the shrunk spec: its plan and one rank of it are
 * built as `build` builds programs, train for some steps on the same data, and
 * take one step's gradients; those of one rank are held against the interpreter
 * in float64 and, bit for bit, in the program's f32. All happens in a directory
 * of its own below /tmp, which is removed.
 *
 * Where no bits are promised, how far apart may two programs be that differ in
 * the order of sums alone? As far as rounding goes, and that is measured: one
 * rank runs again from weights that are each moved by a unit in their last
 * place, up or down, some times. What a number then moves by at most is its
 * *noise*: all that is rounded on the way to it is rounded anew. It is a
 * gradient's largest value times 1e-7 where all is well, and all of a gradient
 * that is zero by mathematics (of a key's bias, of a bias that a norm takes
 * away). A program may be NOISES times as far off. That says nothing at a kink
 * (of a relu, of a maximum, of a choice of experts), on which two programs may
 * stand on either side: then other data are drawn, once, for a fault does not
 * depend on them. */
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

enum { STEPS = 3, SECONDS = 60, SAMPLES = 6, DRAWS = 2, MEMBERS = 2 };
static const double noises = 8;     /* that numbers may be apart */
static const double unit = 0x1p-23; /* in the last place; of a value */

/* One of the two programs. */
typedef struct Built {
    Compiled compiled;
    const char *program, *threads;
} Built;

/* What a program has made of the data. */
typedef struct Outcome {
    const char *run, *log, *gradients;      /* paths */
    FileTensors tensors;            /* loss and gradients */
    double steps[STEPS][MEMBERS];   /* of the log: loss, grad_norm */
    const char *said[STEPS][MEMBERS];
} Outcome;

typedef struct Values {
    Check *c;
    const char *directory, *data, *batch, *weights;
    Built plan, one;
    Outcome of_plan, of_one, again[SAMPLES];
    bool accident;                  /* numbers are not near: a kink, perhaps */
} Values;

static const char *const members[MEMBERS] = { "loss", "grad_norm" };

static const char *in(Values *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *in(Values *v, const char *format, ...)
{
    char file[64];
    va_list args;
    va_start(args, format);
    vsnprintf(file, sizeof file, format, args);
    va_end(args);
    return arena_printf(v->c->arena, "%s/%s", v->directory, file);
}

/* ---- making and running ---- */
static Outcome outcome_named(Values *v, const char *name, int number)
{
    return (Outcome){
        .run = in(v, "%s-%d-run", name, number),
        .log = in(v, "%s-%d.jsonl", name, number),
        .gradients = in(v, "%s-%d.safetensors", name, number),
    };
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

/* With more options, which end with NULL. */
static bool train_with(Values *v, const Built *b, const Outcome *to, int steps,
                       const char *const *options)
{
    char number[16];
    snprintf(number, sizeof number, "%d", steps);
    const char *argv[24] = {
        b->program, "train", "--data", v->data, "--steps", number, "--out",
        to->run, "--log", to->log, "--threads", b->threads, "--quiet",
    };
    for (int i = 0; options[i]; i++)
        argv[13 + i] = options[i];
    return run(v, "training", training, argv);
}

/* From these weights, or those that the program draws; at no rate the weights
 * after the first step are those at the beginning. */
static bool train(Values *v, const Built *b, const Outcome *to, int steps,
                  const char *from)
{
    static const char *const still[] = {
        "--set", "train.optimizer.lr=0", "--set", "train.schedule.min_lr=0",
    };
    const char *options[8] = {0};
    int end = 0;
    if (from) {
        options[end++] = "--init";
        options[end++] = from;
    }
    for (int i = 0; steps < STEPS && i < 4; i++)
        options[end++] = still[i];
    return train_with(v, b, to, steps, options);
}

/* From the checkpoint of whichever program has run there, a step more. */
static bool resume(Values *v, const Built *b, const Outcome *from)
{
    static const char *const options[] = { "--resume", NULL };
    return train_with(v, b, from, STEPS + 1, options);
}

static bool gradients(Values *v, const Built *b, const Outcome *to,
                      const char *weights)
{
    const char *argv[] = {
        b->program, "grad", "--weights", weights, "--batch", v->batch,
        "--out", to->gradients, "--threads", b->threads, NULL,
    };
    return run(v, "training", training, argv);
}

static const char *saved(Values *v, const Outcome *of, int step,
                         const char *file)
{
    return arena_printf(v->c->arena, "%s/step-%d/%s.safetensors", of->run, step,
                        file);
}

static const char *weights_of(Values *v, const Outcome *of, int step)
{
    return saved(v, of, step, "model");
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
    double largest;
    const char *where;
    int64_t unequal, values;
} Gap;

static bool is_gradient(const char *name)
{
    return !strncmp(name, "grad.", 5) || !strcmp(name, "loss");
}

/* The largest difference of two arrays: NaN is no agreement, but with NaN. */
static double apart(const double *a, const double *b, int64_t count)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs(a[i] - b[i]);
        if (!(d <= most) && a[i] != b[i] && !(isnan(a[i]) && isnan(b[i])))
            most = isnan(d) ? INFINITY : d;
    }
    return most;
}

static double largest_of(const FileTensor *t)
{
    double most = 0;
    for (int64_t i = 0; i < t->count; i++)
        most = fmax(most, fabs(t->values[i]));
    return most;
}

/* Every tensor of b (of gradients, or all), bit for bit; one that a lacks is
 * infinitely wrong. */
static Gap compare_bits(const FileTensors *a, const FileTensors *b,
                        bool gradients)
{
    Gap gap = { .where = "" };
    for (int i = 0; i < b->list.count; i++) {
        const FileTensor *t = &b->list.at[i];
        if (gradients && !is_gradient(t->name))
            continue;
        const FileTensor *other = find(a, t->name);
        bool there = other && other->count == t->count;
        double most = there ? apart(other->values, t->values, t->count)
                            : INFINITY;
        for (int64_t j = 0; j < t->count; j++) {
            double x = there ? other->values[j] : 0, y = t->values[j];
            bool same = x == y && signbit(x) == signbit(y);
            gap.unequal += !there || (!same && !(isnan(x) && isnan(y)));
        }
        gap.values += t->count;
        if (most > gap.largest || (gap.unequal && !*gap.where)) {
            gap.largest = most;
            gap.where = t->name;
        }
    }
    return gap;
}

/* ---- noise ---- */
/* What float64 leaves of a gradient that is zero in float32. */
static double least_noise(const Values *v)
{
    const FileTensors *one = &v->of_one.tensors;
    double most = 0;
    for (int i = 0; i < one->list.count; i++)
        if (!strncmp(one->list.at[i].name, "grad.", 5))
            most = fmax(most, largest_of(&one->list.at[i]));
    return unit * unit * most;
}

/* What the values of a tensor of one rank's gradients are moved by at most when
 * its weights are. */
static double noise_of(const Values *v, const FileTensor *t)
{
    double most = fmax(unit * largest_of(t), least_noise(v));
    for (int i = 0; i < SAMPLES; i++) {
        const FileTensor *other = find(&v->again[i].tensors, t->name);
        if (other && other->count == t->count)
            most = fmax(most, apart(other->values, t->values, t->count));
    }
    return most;
}

/* That of a member of step k's line: what was moved before moves it as well. */
static double noise_of_step(const Values *v, int k, int member)
{
    double most = unit * fabs(v->of_one.steps[k][member]);
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j <= k; j++)
            most = fmax(most, fabs(v->again[i].steps[j][member]
                                   - v->of_one.steps[j][member]));
    return most;
}

/* Every weight of a file moved by a unit in its last place, up or down. */
static const char *move_weights(Values *v, const char *path, const char *name,
                                int sample)
{
    Arena *arena = v->c->arena;
    FileTensors weights = {0};
    Buf why = {0};
    int status = DONE;
    const char *to = in(v, "%s-%d.weights.safetensors", name, sample);
    bool fine = tensor_file_read(path, arena, &weights, &why);
    for (int i = 0; fine && i < weights.list.count; i++) {
        const FileTensor *t = &weights.list.at[i];
        for (int64_t j = 0; j < t->count; j++) {
            bool up = check_draw(v->c->seed + (uint64_t)sample, t->name, j) & 1;
            float x = (float)t->values[j];
            t->values[j] = x != 0 ? nextafterf(x, up ? INFINITY : -INFINITY)
                                  : x;
        }
    }
    fine = fine && tensor_file_write(to, arena, &weights, true, &why, &status);
    if (!fine)
        claim(v->c, "training", training, CLAIM_FAILED, "%s", why.text);
    buf_free(&why);
    return fine ? to : NULL;
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

static bool read_log(Values *v, Outcome *of)
{
    Error error = {0};
    char *text = NULL;
    size_t length = 0;
    int read = 0;
    if (!file_read_whole(of->log, 1 << 20, &text, &length, &error))
        text = NULL;
    const char *log = arena_strndup(v->c->arena, text ? text : "", length);
    free(text);
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < MEMBERS; i++) {
            of->said[step][i] = logged(v, log, step + 1, members[i]);
            of->steps[step][i] = strtod(of->said[step][i], NULL);
            read += *of->said[step][i] != '\0';
        }
    if (read != STEPS * MEMBERS)
        claim(v->c, "training", training, CLAIM_FAILED,
              "a log has %d of %d numbers", read, STEPS * MEMBERS);
    return read == STEPS * MEMBERS;
}

/* ---- claims ---- */
/* Numbers that may be some noises apart. */
static void claim_near(Values *v, const char *name, const char *text,
                       const Gap *gap)
{
    const char *found = gap->where
        ? arena_printf(v->c->arena, "in noises, the most in %s", gap->where)
        : "no difference";
    claim_error(v->c, name, text, gap->largest, noises, found);
    v->accident |= gap->largest > noises;
}

/* Loss and gradients, in noises of one rank's. */
static Gap compare_near(const Values *v, const FileTensors *a)
{
    const FileTensors *one = &v->of_one.tensors;
    Gap gap = {0};
    for (int i = 0; i < one->list.count; i++) {
        const FileTensor *t = &one->list.at[i];
        if (!is_gradient(t->name))
            continue;
        const FileTensor *other = find(a, t->name);
        double d = other && other->count == t->count
            ? apart(other->values, t->values, t->count) : INFINITY;
        double relative = d > 0 ? d / noise_of(v, t) : 0;
        if (!(relative <= gap.largest)) {
            gap.largest = relative;
            gap.where = t->name;
        }
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

/* What the interpreter is not asked about. */
static const char *without_dropout(const Spec *spec)
{
    bool drops = spec->model_dropout > 0 || spec->model_attention_dropout > 0;
    return drops ? " (without dropout, which the plan and one rank are "
                   "compared with)" : "";
}

static void compare_interpreter(Values *v)
{
    FileTensors exact = {0}, canonical = {0};
    if (!interpret(v, ARITHMETIC_F64, &exact)
        || !interpret(v, ARITHMETIC_F32, &canonical))
        return;
    Gap gap = compare_near(v, &exact);
    claim_near(v, "float64", arena_printf(
        v->c->arena, "loss and gradients of one rank are as near the "
        "interpreter's in float64 as rounding is%s",
        without_dropout(v->one.compiled.spec)), &gap);
    gap = compare_bits(&canonical, &v->of_one.tensors, true);
    claim_bits(v, "float32", "and those of the interpreter in the program's "
               "f32, bit for bit", &gap);
}

/* ---- the plan against one rank ---- */
static void compare_steps(Values *v)
{
    const char *text = "the loss and the norm of the gradient of every step";
    const Outcome *plan = &v->of_plan, *one = &v->of_one;
    Gap gap = {0};
    for (int k = 0; k < STEPS; k++)
        for (int i = 0; i < MEMBERS; i++) {
            double x = plan->steps[k][i], y = one->steps[k][i];
            bool same = !strcmp(plan->said[k][i], one->said[k][i]);
            double d = same ? 0 : isnan(x - y) ? INFINITY : fabs(x - y);
            if (!v->c->bits && d > 0)
                d /= noise_of_step(v, k, i);
            gap.values++;
            gap.unequal += !same;
            if (d > gap.largest || (!same && !gap.where)) {
                gap.largest = d;
                gap.where = arena_printf(v->c->arena, "%s of step %d",
                                         members[i], k + 1);
            }
        }
    if (v->c->bits)
        claim_bits(v, "loss", arena_printf(v->c->arena, "%s are one rank's, "
                                           "bit for bit", text), &gap);
    else
        claim_near(v, "loss", arena_printf(
            v->c->arena, "%s are as near one rank's as rounding is (%s: no "
            "bits are promised)", text, v->c->no_bits), &gap);
}

/* A file of the checkpoint after a step, that of the plan against one rank's;
 * it may be empty, as of moments that an optimizer does not keep. */
static void compare_saved(Values *v, int step, const char *file,
                          const char *name, const char *text)
{
    FileTensors plan = {0}, one = {0};
    if (!read_tensors(v, saved(v, &v->of_plan, step, file), &plan)
        || !read_tensors(v, saved(v, &v->of_one, step, file), &one))
        return;
    Gap gap = compare_bits(&plan, &one, false);
    if (plan.list.count != one.list.count)
        gap.unequal++;
    if (one.list.count || gap.unequal)
        claim_bits(v, name, text, &gap);
}

/* One step more: the plan's checkpoint is resumed by one rank, and that of one
 * rank under the plan. */
static void compare_resumed(Values *v)
{
    if (resume(v, &v->one, &v->of_plan) && resume(v, &v->plan, &v->of_one))
        compare_saved(v, STEPS + 1, "model", "resumed", "one rank, resuming "
                      "the plan's run, and the plan, resuming one rank's, have "
                      "the same weights a step later, bit for bit");
}

static void compare_plan(Values *v)
{
    compare_steps(v);
    if (!v->c->bits) {
        Gap near = compare_near(v, &v->of_plan.tensors);
        claim_near(v, "gradients", "loss and gradients of a step under the "
                   "plan are as near one rank's as rounding is", &near);
        return;
    }
    compare_saved(v, STEPS, "model", "weights", "every weight after them is "
                  "one rank's, bit for bit");
    compare_saved(v, STEPS, "optimizer", "moments", "every moment in the "
                  "checkpoint is one rank's, bit for bit");
    Gap gap = compare_bits(&v->of_plan.tensors, &v->of_one.tensors, true);
    claim_bits(v, "gradients", "loss and gradients of a step under the plan "
               "are one rank's, bit for bit", &gap);
    compare_resumed(v);
}

/* ---- collectives of more ranks ---- */
/* How many ranks have met in a message; 0: the small plan has none. */
static int64_t ran_with(const Facts *small, const char *message)
{
    const FactStage *stage = &small->by_stage.at[0];
    for (int i = 0; i < stage->messages.count; i++)
        if (!strcmp(stage->messages.at[i].name, message))
            return facts_members(small, stage->messages.at[i].axis);
    return 0;
}

/* Who meets is proved of all ranks (check_groups.c); what comes of it is known
 * of as many as were run: the tree of a sum above all. */
static void claim_meetings(Values *v)
{
    Check *c = v->c;
    const Facts *small = facts_of(v->plan.compiled.prog, c->arena);
    const Meeting *widest = NULL;
    for (int i = 0; i < c->meetings.count; i++) {
        const Meeting *m = &c->meetings.at[i];
        if (m->members > ran_with(small, m->message)
            && (!widest || m->members > widest->members))
            widest = m;
    }
    if (widest)
        claim(c, "collectives", "a sum over more ranks than were run is taken "
              "by the same tree, and a gather of theirs gathers the same way",
              CLAIM_ASSUMED, "`%s`: tested with %lld ranks, assumed for %lld",
              widest->message,
              (long long)ran_with(small, widest->message),
              (long long)widest->members);
}

/* ---- one draw of data ---- */
static bool take(Values *v, const Built *b, Outcome *to, const char *weights)
{
    return gradients(v, b, to, weights)
        && read_tensors(v, to->gradients, &to->tensors);
}

/* One rank again, from weights that are moved. */
static bool run_again(Values *v, int draw)
{
    Outcome still = outcome_named(v, "still", draw);
    if (!v->c->bits && !train(v, &v->one, &still, 1, NULL))
        return false;
    for (int i = 0; i < SAMPLES; i++) {
        Outcome *to = &v->again[i];
        *to = outcome_named(v, "again", draw * SAMPLES + i);
        const char *last = move_weights(v, v->weights, "last", i);
        if (!last || !take(v, &v->one, to, last))
            return false;
        if (v->c->bits)
            continue;
        const char *first = move_weights(v, weights_of(v, &still, 1), "first",
                                         i);
        if (!first || !train(v, &v->one, to, STEPS, first)
            || !read_log(v, to))
            return false;
    }
    return true;
}

static bool run_both(Values *v, int draw)
{
    v->of_plan = outcome_named(v, "plan", draw);
    v->of_one = outcome_named(v, "one", draw);
    v->weights = weights_of(v, &v->of_one, STEPS);
    return train(v, &v->one, &v->of_one, STEPS, NULL)
        && train(v, &v->plan, &v->of_plan, STEPS, NULL)
        && take(v, &v->one, &v->of_one, v->weights)
        && take(v, &v->plan, &v->of_plan, v->weights)
        && read_log(v, &v->of_one) && read_log(v, &v->of_plan);
}

/* Gives the status of what the environment lacks. */
static int try_draw(Values *v, int draw)
{
    Check *c = v->c;
    Buf why = {0};
    const Spec *spec = v->one.compiled.spec;
    v->data = in(v, "data-%d.safetensors", draw);
    v->batch = in(v, "batch-%d.safetensors", draw);
    v->accident = false;
    if (!check_data(spec, v->data, STEPS, c->seed, c->arena, &why)
        || !check_data(spec, v->batch, 1, c->seed, c->arena, &why)) {
        diag_error_at(c->diag, "check", "%s", why.text);
        buf_free(&why);
        return LACKING;
    }
    if (!run_both(v, draw) || !run_again(v, draw))
        return DONE;
    claim(c, "training", training, CLAIM_TESTED, "%s%s%d steps, seed %llu%s; "
          "%s", c->small_plan ? c->small_plan : "", c->small_plan ? "; " : "",
          (int)STEPS, (unsigned long long)c->seed,
          draw ? ", the second that was drawn" : "", c->shrunk);
    compare_plan(v);
    compare_interpreter(v);
    return DONE;
}

static int compare(Values *v)
{
    Check *c = v->c;
    int status = make(v, &v->plan, &c->plan_from);
    if (status == DONE)
        status = make(v, &v->one, &c->one_from);
    if (status != DONE)
        return status == WRONG_INPUT ? DONE : status;
    int claims = c->claims.count;
    for (int draw = 0; draw < DRAWS; draw++) {
        status = try_draw(v, draw);
        if (status != DONE || !v->accident || draw == DRAWS - 1)
            break;
        c->claims.count = claims;
        c->seed++;
    }
    claim_meetings(v);
    return status;
}

int check_values(Check *c)
{
    Workplace workplace;
    Values v = { .c = c };
    if (!workplace_open(&workplace, c->diag, "trainwright-check"))
        return LACKING;
    v.directory = workplace.directory;
    v.plan = (Built){ .program = in(&v, "plan"), .threads = "1" };
    v.one = (Built){ .program = in(&v, "one"), .threads = "2" };
    int status = compare(&v);
    workplace_close(&workplace);
    buf_free(&v.plan.compiled.spec_text);
    buf_free(&v.one.compiled.spec_text);
    return status;
}
