/* ir_commands.c: ir, opt, run and passes (contract.md, section 1). Read the
 * four command_ functions at the end, one after another; what they share stands
 * first. */
#include "ir_commands.h"
#include "commands.h"
#include "compile.h"
#include "rank_text.h"
#include "tensor_files.h"
#include "../runtime/files.h"
#include <stdlib.h>

/* ---- the command line ---- */
typedef struct Flag {
    const char *name;
    bool takes_value;
    const char *value;              /* NULL where not given, "" for a flag without value */
    List(const char *) all;         /* every value, for those that may come again */
} Flag;

typedef struct Line {
    Arena *arena;
    const char *command, *usage;
    Flag *flags;
    int flag_count;
    const char *file;               /* the one argument that is no flag */
    bool help;
} Line;

static bool bad_usage(const Line *line, const char *why, const char *what)
{
    fprintf(stderr, "trainwright %s: %s `%s`\n%s", line->command, why, what, line->usage);
    return false;
}

static Flag *find_flag(const Line *line, const char *name)
{
    for (int i = 0; i < line->flag_count; i++)
        if (!strcmp(line->flags[i].name, name))
            return &line->flags[i];
    return NULL;
}

static const char *flag(const Line *line, const char *name)
{
    return find_flag(line, name)->value;
}

/* False after saying what is wrong. */
static bool read_line(Line *line, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            line->help = true;
            return true;
        }
        Flag *found = find_flag(line, word);
        if (!found && word[0] == '-' && word[1])
            return bad_usage(line, "there is no option", word);
        if (!found && line->file)
            return bad_usage(line, "unexpected argument", word);
        if (!found) {
            line->file = word;
            continue;
        }
        if (found->takes_value && i + 1 == argc)
            return bad_usage(line, "a value is wanted after", word);
        found->value = found->takes_value ? argv[++i] : "";
        list_push(line->arena, &found->all, found->value);
    }
    return true;
}

/* A number from least to most; false after saying so. */
static bool number_flag(const Line *line, const char *name, int64_t least, int64_t most,
                        int64_t *number)
{
    const char *text = flag(line, name);
    if (!text)
        return true;
    char *end;
    long long value = strtoll(text, &end, 10);
    if (!*text || *end || strlen(text) > 18 || value < least || value > most) {
        fprintf(stderr, "trainwright %s: %s is a whole number from %lld to %lld, not `%s`\n%s",
                line->command, name, (long long)least, (long long)most, text, line->usage);
        return false;
    }
    *number = value;
    return true;
}

/* ---- IR text from a file or stdin ---- */
enum { MOST_BYTES = 16 << 20 };

static bool read_stdin(Buf *text)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0 && text->length <= MOST_BYTES)
        buf_add(text, piece, n);
    return !ferror(stdin) && text->length <= MOST_BYTES;
}

/* NULL after the diagnostics. */
static Module *read_module(Diag *diag, Arena *arena, const char *path)
{
    Error error = {0};
    Buf text = {0};
    char *whole = NULL;
    size_t length = 0;
    bool from_stdin = !strcmp(path, "-");
    if (from_stdin && !read_stdin(&text)) {
        diag_error_at(diag, "-", "cannot be read, or holds more than %d bytes", MOST_BYTES);
        return NULL;
    }
    if (!from_stdin && !file_read_whole(path, MOST_BYTES, &whole, &length, &error)) {
        diag_error_at(diag, path, "%s", error.text);
        return NULL;
    }
    int source = from_stdin ? diag_source(diag, "stdin", text.text ? text.text : "", text.length)
                            : diag_source(diag, path, whole, length);
    buf_free(&text);
    free(whole);
    Module *m = module_parse(diag, arena, source);
    Buf why = {0};
    if (m && !module_verify(m, &why)) {
        diag_error_at(diag, from_stdin ? "stdin" : path, "%s", why.text);
        m = NULL;
    }
    if (m && m->placed && !module_place(m, &why))       /* weights */
        ice("%s", why.text);
    buf_free(&why);
    return m;
}

static void print_module(const Module *m)
{
    Buf text = {0};
    module_print(m, &text);
    fwrite(text.text, 1, text.length, stdout);
    buf_free(&text);
}

/* The end of a command: its diagnostics, and whether stdout took all. */
static int finish(const Diag *diag, int status)
{
    diag_print(diag, stderr);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "trainwright: cannot write to stdout\n");
        return LACKING;
    }
    return status;
}

/* ---- ir ---- */
static const char ir_usage[] =
    "usage: trainwright ir SPEC.yaml [--after PASS | --all | --rank R] [-v]\n"
    "         [-f OVERLAY.yaml]… [--set KEY=VALUE]…\n"
    "Prints the IR as text: as built (--after build), after PASS, after every pass (--all),\n"
    "or after the last; -v says what each pass did. With --rank the training step as\n"
    "rank R runs it: its blocks, its groups, its messages in their order.\n";

static void print_after(const Module *m, const char *pass, void *context)
{
    (void)context;
    printf("# after %s\n", pass);
    print_module(m);
    printf("\n");
}

static int print_ir(const Line *line, Arena *arena, Diag *diag)
{
    const char *after = flag(line, "--after");
    int64_t rank = -1;
    if (!number_flag(line, "--rank", 0, 1 << 30, &rank))
        return WRONG_USAGE;
    Flag *overlays = find_flag(line, "-f"), *sets = find_flag(line, "--set");
    CompileOptions options = {
        .from = { .path = line->file, .overlays = overlays->all.at, .sets = sets->all.at,
                  .overlay_count = overlays->all.count, .set_count = sets->all.count },
        .target = "cpu", .features = "",
        .stop_after = after ? after : rank < 0 ? "place" : NULL,
        .after = flag(line, "--all") ? print_after : NULL,
        .verbose = flag(line, "-v") != NULL,
    };
    Compiled out = {0};
    bool good = compile_spec(diag, arena, &options, &out);
    int status = good ? DONE : WRONG_INPUT;
    if (good && !options.after && rank < 0)
        print_module(out.module);
    else if (good && rank >= 0 && !rank_text(out.prog, rank, arena)) {
        fprintf(stderr, "trainwright ir: the plan has no rank %lld\n",
                (long long)rank);
        status = WRONG_USAGE;
    }
    buf_free(&out.spec_text);
    return status;
}

int command_ir(int argc, char **argv)
{
    Arena *arena = arena_new();
    Flag flags[] = {
        { .name = "--after", .takes_value = true }, { .name = "--all" },
        { .name = "-f", .takes_value = true }, { .name = "--set", .takes_value = true },
        { .name = "-v" }, { .name = "--dot" }, { .name = "--rank", .takes_value = true },
    };
    Line line = { .arena = arena, .command = "ir", .usage = ir_usage, .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags };
    Diag *diag = diag_new(arena);
    int status = WRONG_USAGE;
    bool fine = read_line(&line, argc, argv);
    const char *after = fine ? flag(&line, "--after") : NULL;
    if (fine && line.help) {
        fputs(ir_usage, stdout);
        status = DONE;
    } else if (fine && after && strcmp(after, "build") && !pass_find(after)) {
        bad_usage(&line, "there is no pass", after);
    } else if (fine && flag(&line, "--dot")) {
        fprintf(stderr, "trainwright ir: --dot is not built yet\n");
    } else if (fine && flag(&line, "--rank")
               && (after || flag(&line, "--all"))) {
        bad_usage(&line, "--rank is of the whole program, not of",
                  after ? after : "--all");
    } else if (fine && !line.file) {
        bad_usage(&line, "a spec is wanted, got", "nothing");
    } else if (fine) {
        status = print_ir(&line, arena, diag);
    }
    status = finish(diag, status);
    arena_free(arena);
    return status;
}

/* ---- opt ---- */
static const char opt_usage[] =
    "usage: trainwright opt FILE.ir|- --passes PASS,… [--micro N] [--groups N]\n"
    "         [--optimizer adamw|adam|sgd|sgd-momentum] [--recompute none|attention|block]\n"
    "Runs passes over IR text and prints the result. The batch is that of step `train`.\n";

static bool choice_flag(const Line *line, const char *name, const char *const *words, int *index)
{
    const char *text = flag(line, name);
    for (int i = 0; text && words[i]; i++)
        if (!strcmp(text, words[i])) {
            *index = i;
            return true;
        }
    return !text || bad_usage(line, "there is no such choice", text);
}

static bool read_plan(const Line *line, const Module *m, Plan *plan)
{
    static const char *const optimizers[] = { "adamw", "adam", "sgd", "sgd-momentum", NULL };
    static const char *const recompute[] = { "none", "attention", "block", NULL };
    const Step *train = module_find_step(m, "train");
    int optimizer = 0, again = 0;
    plan->batch = train ? train->batch : 1;
    plan->sequence = train ? train->sequence : 1;
    plan->micro_batch = train ? train->micro : 1;
    plan->groups = 1;
    if (!choice_flag(line, "--optimizer", optimizers, &optimizer)
        || !choice_flag(line, "--recompute", recompute, &again)
        || !number_flag(line, "--micro", 1, plan->batch, &plan->micro_batch)
        || !number_flag(line, "--groups", 1, plan->batch, &plan->groups))
        return false;
    if (plan->batch % plan->groups || (plan->batch / plan->groups) % plan->micro_batch) {
        fprintf(stderr, "trainwright opt: %lld sequences are not %lld groups of micro-batches "
                "of %lld\n", (long long)plan->batch, (long long)plan->groups,
                (long long)plan->micro_batch);
        return false;
    }
    plan->momentum = optimizer == 3;
    plan->optimizer = optimizer == 0 ? OPTIMIZER_ADAMW : optimizer == 1 ? OPTIMIZER_ADAM
                                                                        : OPTIMIZER_SGD;
    plan->recompute = again == 0 ? RECOMPUTE_NONE : again == 1 ? RECOMPUTE_ATTENTION
                                                               : RECOMPUTE_BLOCK;
    return true;
}

/* What a module already has, read off its functions, as passes.def counts it. */
static unsigned established(const Module *m)
{
    unsigned has = HAS_NOTHING;
    for (int i = 0; i < m->funcs.count; i++) {
        const Func *f = m->funcs.at[i];
        has |= f->gradients.count || !strcmp(f->name, "update") ? HAS_GRADIENTS | HAS_PRECISION : 0;
        has |= f->kernels.count ? HAS_KERNELS : 0;
        has |= f->frame_floats || f->record_floats ? HAS_PLACES : 0;
    }
    const Step *train = module_find_step(m, "train");
    for (int i = 0; train && i < train->body.count; i++)
        has |= train->body.at[i]->kind == STEP_GROUPS ? HAS_SCHEDULE : 0;
    return has | (m->placed ? HAS_PLACEMENTS : 0);
}

/* What the differentiating and scheduling passes look for by name. */
static bool has_parts(const Module *m, const PassInfo *pass)
{
    bool autodiff = !strcmp(pass->name, "autodiff"), schedule = !strcmp(pass->name, "schedule");
    if (!autodiff && !schedule)
        return true;
    bool functions = module_find_func(m, "embed") && module_find_func(m, "block")
                  && module_find_func(m, "head");
    bool logits = module_find_func(m, "head.logits") && module_find_dim(m, "V") >= 0;
    return module_find_step(m, "train") && (autodiff ? functions : logits);
}

static bool run_pass(Module *m, const Plan *plan, Diag *diag, const PassInfo *pass)
{
    Buf why = {0};
    unsigned has = established(m);
    if ((pass->needs & ~(unsigned)HAS_PRECISION & ~has) || (pass->gives & has & HAS_PLACES)
        || (pass->gives & has
            & (HAS_KERNELS | HAS_SCHEDULE | HAS_PLACEMENTS))) {
        diag_error_at(diag, pass->name, "this IR is not at the stage that the pass works on");
        return false;
    }
    if (!has_parts(m, pass)) {
        diag_error_at(diag, pass->name, "the pass wants step `train` and the functions of a model");
        return false;
    }
    if (!pass->run(m, plan, diag))
        return false;
    if (!module_verify(m, &why))
        ice("after %s: %s", pass->name, why.text);
    return true;
}

static int optimise(const Line *line, Arena *arena, Diag *diag)
{
    List(const PassInfo *) passes = {0};
    Plan plan = { .chunks = 1, .halves = true };
    char *names = arena_strdup(arena, flag(line, "--passes"));
    for (char *name = names, *end; name; name = end) {
        end = strchr(name, ',');
        if (end)
            *end++ = 0;
        if (!pass_find(name))
            return bad_usage(line, "there is no pass", name), WRONG_USAGE;
        list_push(arena, &passes, pass_find(name));
    }
    Module *m = read_module(diag, arena, line->file);
    if (!m)
        return WRONG_INPUT;
    if (!read_plan(line, m, &plan))
        return WRONG_USAGE;
    plan.mesh = m->mesh;
    for (int i = 0; i < passes.count; i++)
        if (!run_pass(m, &plan, diag, passes.at[i]))
            return WRONG_INPUT;
    print_module(m);
    return DONE;
}

int command_opt(int argc, char **argv)
{
    Arena *arena = arena_new();
    Flag flags[] = {
        { .name = "--passes", .takes_value = true }, { .name = "--micro", .takes_value = true },
        { .name = "--groups", .takes_value = true }, { .name = "--optimizer", .takes_value = true },
        { .name = "--recompute", .takes_value = true },
    };
    Line line = { .arena = arena, .command = "opt", .usage = opt_usage, .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags };
    Diag *diag = diag_new(arena);
    int status = WRONG_USAGE;
    if (read_line(&line, argc, argv)) {
        if (line.help)
            status = fputs(opt_usage, stdout) < 0 ? LACKING : DONE;
        else if (!line.file)
            bad_usage(&line, "a file is wanted, got", "nothing");
        else if (!flag(&line, "--passes"))
            bad_usage(&line, "there must be", "--passes");
        else
            status = optimise(&line, arena, diag);
    }
    status = finish(diag, status);
    arena_free(arena);
    return status;
}

/* ---- run ---- */
static const char run_usage[] =
    "usage: trainwright run FILE.ir|- --in FILE.safetensors… --out FILE.safetensors\n"
    "         [--step NAME] [--f32] [--seed N] [--step-number N] [--position N] [--ranks 1]\n"
    "         [--scalar NAME=VALUE]…\n"
    "Interprets a step of the IR, in float64 or (--f32) in the program's f32, bit for bit.\n"
    "--in and --scalar (smoothing=0.1, clip=1 …) may come again. A spec's model:\n"
    "    trainwright ir SPEC.yaml | trainwright run - --step grad …\n";

static bool read_inputs(const Flag *in, Arena *arena, Tensors *to, Diag *diag)
{
    FileTensors from = {0};
    Buf why = {0};
    for (int i = 0; i < in->all.count; i++)
        if (!tensor_file_read(in->all.at[i], arena, &from, &why)) {
            diag_error_at(diag, "run", "%s", why.text);
            buf_free(&why);
            return false;
        }
    for (int i = 0; i < from.list.count; i++) {
        const FileTensor *f = &from.list.at[i];
        Tensor tensor = { .name = f->name, .rank = f->rank, .values = f->values };
        for (int d = 0; d < f->rank && d < MAX_RANK; d++)
            tensor.dims[d] = f->dims[d];
        list_push(arena, &to->list, tensor);
    }
    return true;
}

/* NAME=VALUE, a tensor of one element. */
static bool read_scalars(const Line *line, Arena *arena, Tensors *to)
{
    const Flag *scalars = find_flag(line, "--scalar");
    for (int i = 0; i < scalars->all.count; i++) {
        const char *text = scalars->all.at[i], *equals = strchr(text, '=');
        char *end = NULL;
        double *value = arena_alloc(arena, sizeof *value);
        if (equals)
            *value = strtod(equals + 1, &end);
        if (!equals || equals == text || end == equals + 1 || *end)
            return bad_usage(line, "--scalar wants NAME=VALUE, got", text);
        Tensor tensor = { .name = arena_strndup(arena, text, (size_t)(equals - text)), .rank = 1,
                          .dims = { 1 }, .values = value };
        list_push(arena, &to->list, tensor);
    }
    return true;
}

static int write_outputs(const char *path, Arena *arena, const Interpretation *run, Diag *diag)
{
    FileTensors out = {0};
    Buf why = {0};
    int status = WRONG_INPUT;
    for (int i = 0; i < run->out.list.count; i++) {
        const Tensor *t = &run->out.list.at[i];
        FileTensor to = { .name = t->name, .rank = t->rank, .count = 1, .values = t->values };
        for (int d = 0; d < t->rank; d++) {
            to.dims[d] = t->dims[d];
            to.count *= t->dims[d];
        }
        list_push(arena, &out.list, to);
    }
    if (tensor_file_write(path, arena, &out, run->arithmetic == ARITHMETIC_F32, &why, &status))
        return DONE;
    diag_error_at(diag, "run", "%s", why.text);
    buf_free(&why);
    return status == ERROR_ENVIRONMENT ? LACKING : WRONG_INPUT;
}

static int interpret(const Line *line, Arena *arena, Diag *diag, Interpretation *run)
{
    Tensors in = {0};
    Buf why = {0};
    if (!read_scalars(line, arena, &in))
        return WRONG_USAGE;
    Module *m = read_module(diag, arena, line->file);
    if (!m || !read_inputs(find_flag(line, "--in"), arena, &in, diag))
        return WRONG_INPUT;
    run->in = &in;
    const char *step = flag(line, "--step");
    if (!step)
        step = m->steps.count == 1 ? m->steps.at[0]->name : "train";
    if (!module_interpret(m, step, arena, run, &why)) {
        diag_error_at(diag, line->file, "%s", why.text);
        buf_free(&why);
        return WRONG_INPUT;
    }
    return write_outputs(flag(line, "--out"), arena, run, diag);
}

static int run_with(const Line *line, Arena *arena, Diag *diag)
{
    int64_t seed = 0, number = 1, position = 0, ranks = 1;
    if (!line->file || !flag(line, "--out")) {
        bad_usage(line, "there must be", line->file ? "--out" : "a file");
        return WRONG_USAGE;
    }
    if (!number_flag(line, "--seed", 0, INT64_MAX / 16, &seed)
        || !number_flag(line, "--step-number", 0, UINT32_MAX, &number)
        || !number_flag(line, "--position", 0, 1 << 30, &position)
        || !number_flag(line, "--ranks", 1, 1 << 20, &ranks))
        return WRONG_USAGE;
    if (ranks != 1) {
        fprintf(stderr, "trainwright run: several ranks are not built yet\n");
        return WRONG_USAGE;
    }
    Interpretation run = {
        .arithmetic = flag(line, "--f32") ? ARITHMETIC_F32 : ARITHMETIC_F64,
        .seed = (uint64_t)seed, .step_number = number, .position = position,
    };
    return interpret(line, arena, diag, &run);
}

int command_run(int argc, char **argv)
{
    Arena *arena = arena_new();
    Flag flags[] = {
        { .name = "--in", .takes_value = true }, { .name = "--out", .takes_value = true },
        { .name = "--step", .takes_value = true }, { .name = "--f32" },
        { .name = "--seed", .takes_value = true }, { .name = "--step-number", .takes_value = true },
        { .name = "--position", .takes_value = true }, { .name = "--ranks", .takes_value = true },
        { .name = "--scalar", .takes_value = true },
    };
    Line line = { .arena = arena, .command = "run", .usage = run_usage, .flags = flags,
                  .flag_count = sizeof flags / sizeof *flags };
    Diag *diag = diag_new(arena);
    int status = WRONG_USAGE;
    if (read_line(&line, argc, argv)) {
        if (line.help)
            status = fputs(run_usage, stdout) < 0 ? LACKING : DONE;
        else
            status = run_with(&line, arena, diag);
    }
    status = finish(diag, status);
    arena_free(arena);
    return status;
}

/* ---- passes ---- */
int command_passes(int argc, char **argv)
{
    static const char usage[] = "usage: trainwright passes\nLists the passes, in order.\n";
    if (argc > 1 && strcmp(argv[1], "--help") && strcmp(argv[1], "-h")) {
        fprintf(stderr, "trainwright passes: unexpected argument `%s`\n%s", argv[1], usage);
        return WRONG_USAGE;
    }
    if (argc > 1)
        fputs(usage, stdout);
    for (int i = 0; argc == 1 && i < PASS_COUNT; i++)
        printf("%-10s %s\n", pass_table[i].name, pass_table[i].doc);
    return fflush(stdout) ? LACKING : DONE;
}
