/* command_build.c: `build` and `emit`: a spec becomes a program, or the source
 * of one. Both compile it to the same Prog and stamp it with the hash of its
 * source, so that a program says which source it is, whichever way it was
 * made. */
#define _GNU_SOURCE
#include "commands.h"
#include "compile.h"
#include "effect.h"
#include "options.h"
#include "package.h"
#include "program.h"
#include "target.h"
#include <unistd.h>

/* What both commands work with. */
typedef struct Job {
    Arena *arena;
    Diag *diag;
    Options options;
    Target target;
    Compiled compiled;
    const char *command;        /* the command line, without -o */
} Job;

/* The command line as it goes into MANIFEST: where the output goes is left out,
 * so that two emits are equal. */
static const char *command_line(Arena *arena, int argc, char **argv)
{
    Buf line = {0};
    buf_printf(&line, "trainwright");
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "-o"))
            i++;
        else
            buf_printf(&line, " %s", argv[i]);
    }
    const char *copy = arena_strdup(arena, line.text);
    buf_free(&line);
    return copy;
}

static Job *job_new(int argc, char **argv)
{
    Arena *arena = arena_new();
    Job *job = arena_alloc(arena, sizeof *job);
    job->arena = arena;
    job->diag = diag_new(arena);
    job->command = command_line(arena, argc, argv);
    return job;
}

/* Prints what was found wrong and frees all; gives the status. */
static int job_end(Job *job, int status)
{
    diag_print(job->diag, stderr);
    buf_free(&job->compiled.spec_text);
    arena_free(job->arena);
    return status;
}

static int not_built(const char *command, const char *what)
{
    fprintf(stderr, "trainwright %s: %s is not built yet\n", command, what);
    return WRONG_USAGE;
}

/* Spec to Prog, verified and stamped but for its target. */
static int compile(Job *job)
{
    const Options *o = &job->options;
    CompileOptions options = {
        .from = {o->spec, o->overlays.at, o->overlays.count, o->sets.at,
                 o->sets.count},
        .target = "",
        .features = "",
        .verbose = o->verbose,
    };
    if (!compile_spec(job->diag, job->arena, &options, &job->compiled))
        return WRONG_INPUT;
    return program_finish(job->diag, &job->compiled);
}

static Package *make_package(const Job *job)
{
    Buf passes = {0};
    for (int i = 0; i < PASS_COUNT; i++)
        buf_printf(&passes, "%s%s", i ? " " : "", pass_table[i].name);
    const Sources sources = program_sources(&job->compiled);
    Package *package = package_make(
        job->arena, &sources, job->compiled.spec_text.text,
        arena_strdup(job->arena, passes.text), job->command);
    buf_free(&passes);
    return package;
}

/* ---- build --------------------------------------------------------------- */
static const char build_usage[] =
    "usage: trainwright build SPEC.yaml [-o BIN] [--via llvm|cc]\n"
    "           [--cpu native|x86-64-v3|x86-64-v4] [-f OVERLAY.yaml]…\n"
    "           [--set KEY=VALUE]… [-v]\n"
    "Makes the program that trains the model, by default ./NAME.\n"
    "  --via   through LLVM (the default), or by $CC (or cc) from the C\n"
    "          that `emit` writes\n"
    "  --cpu   what it runs on; native (the default) is the highest level\n"
    "          that this machine has\n"
    "  -v      says what each pass did\n";

/* Under which plans the bits are these (contract, section 5). */
static void tell_bits(const Spec *spec)
{
    if (sums_each_micro(spec))
        printf("bits: this plan's alone (reproducible.order: fast)\n");
    else
        print_same_bits(spec);
}

/* A plan that this machine cannot hold is no error: it may train elsewhere. */
static void tell_memory(int64_t bytes)
{
    int64_t here = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (bytes > here)
        printf("note: train needs %.1f GiB, this machine has %.1f GiB\n",
               (double)bytes / (1 << 30), (double)here / (1 << 30));
}

static int build(Job *job, const Place *place)
{
    const Options *o = &job->options;
    bool cc = o->via && !strcmp(o->via, "cc");
    int status = target_choose(job->diag, o->cpu, &job->target);
    if (status == DONE)
        status = compile(job);
    if (status != DONE)
        return status;
    const char *output = o->output ? o->output
                                   : arena_printf(job->arena, "./%s",
                                                  job->compiled.prog->name);
    status = cc ? package_compile(job->diag, make_package(job),
                                  job->target.emit.level, output)
                : program_link(job->diag, &job->compiled, &job->target,
                               place, output);
    if (status != DONE)
        return status;
    printf("%s: %s%s\n", output, job->target.text,
           job->target.emit.native ? " (this machine's level)" : "");
    tell_bits(job->compiled.spec);
    tell_memory(job->compiled.train_bytes);
    return status;
}

int command_build(int argc, char **argv, const Place *place)
{
    Job *job = job_new(argc, argv);
    Options *o = &job->options;
    if (!options_read(o, job->arena, argc, argv, build_usage,
                      OPTION_OUTPUT | OPTION_TARGET | OPTION_BUILD
                          | OPTION_VERBOSE))
        return job_end(job, WRONG_USAGE);
    if (o->help)
        return fputs(build_usage, stdout), job_end(job, DONE);
    if ((o->target && !strcmp(o->target, "cuda")) || o->sm)
        return job_end(job, not_built("build", "the target cuda"));
    return job_end(job, build(job, place));
}

/* ---- emit ---------------------------------------------------------------- */
static const char emit_usage[] =
    "usage: trainwright emit SPEC.yaml [-o DIR] [-f OVERLAY.yaml]…\n"
    "           [--set KEY=VALUE]… [-v]\n"
    "Writes the program's source, with all that it needs, to a directory, by\n"
    "default ./NAME-source; `make` there compiles it.\n";

static int emit(Job *job)
{
    int status = compile(job);
    if (status != DONE)
        return status;
    const char *name = job->compiled.prog->name;
    const char *directory = job->options.output
                                ? job->options.output
                                : arena_printf(job->arena, "./%s-source", name);
    return package_write(job->diag, make_package(job), directory);
}

int command_emit(int argc, char **argv, const Place *place)
{
    (void)place;
    Job *job = job_new(argc, argv);
    Options *o = &job->options;
    if (!options_read(o, job->arena, argc, argv, emit_usage,
                      OPTION_OUTPUT | OPTION_TARGET | OPTION_SINGLE
                          | OPTION_VERBOSE))
        return job_end(job, WRONG_USAGE);
    if (o->help)
        return fputs(emit_usage, stdout), job_end(job, DONE);
    if (o->target && !strcmp(o->target, "cuda"))
        return job_end(job, not_built("emit", "the target cuda"));
    if (o->single_file)
        return job_end(job, not_built("emit", "--single-file"));
    return job_end(job, emit(job));
}
