/* command_check.c: `check`: what can be known of a spec's plan before it runs,
 * claim by claim: proved of the full-size program (check_structure.c,
 * check_groups.c, check_messages.c), tested on a small one of the same
 * structure (check_shrink.c, check_values.c), or assumed. The claims are
 * printed, and written as a certificate. */
#define _GNU_SOURCE
#include "check.h"
#include "link.h"
#include "program.h"
#include "version.h"
#include "../runtime/json.h"
#include <errno.h>
#include <unistd.h>

static const char usage[] =
    "usage: trainwright check SPEC.yaml [-o CERTIFICATE.json]\n"
    "           [-f OVERLAY.yaml]… [--set KEY=VALUE]…\n"
    "Checks the plan of a spec. Of the full-size program: blocks, parameters,\n"
    "memory and messages of every rank, by walking through its step (proved).\n"
    "Of a small spec of the same structure: the plan's program and that of\n"
    "one rank are built and run for three steps, and compared with each other\n"
    "and with the interpreter (tested). Status 4 where a claim fails.\n";

static const char *const status_names[] = {
    [CLAIM_PROVED] = "proved", [CLAIM_TESTED] = "tested",
    [CLAIM_ASSUMED] = "assumed", [CLAIM_FAILED] = "FAILED",
};

/* ---- claims ---- */
void claim(Check *c, const char *name, const char *text, ClaimStatus status,
           const char *format, ...)
{
    va_list args;
    Buf found = {0};
    va_start(args, format);
    buf_vprintf(&found, format, args);
    va_end(args);
    const Claim one = { .name = name, .text = text, .status = status,
                        .found = arena_strdup(c->arena,
                                              found.text ? found.text : "") };
    buf_free(&found);
    list_push(c->arena, &c->claims, one);
}

void claim_error(Check *c, const char *name, const char *text, double error,
                 double limit, const char *found)
{
    claim(c, name, text, error <= limit ? CLAIM_TESTED : CLAIM_FAILED, "%s",
          found);
    Claim *last = &c->claims.at[c->claims.count - 1];
    last->error = error;
    last->limit = limit;
    last->measured = true;
}

static int count(const Check *c, ClaimStatus status)
{
    int found = 0;
    for (int i = 0; i < c->claims.count; i++)
        found += c->claims.at[i].status == status;
    return found;
}

/* ---- what is said ---- */
static void print_claims(const Check *c)
{
    printf("%s: %s; groups %lld\n", c->compiled.spec->name,
           facts_ranks(c->facts, c->arena), (long long)c->facts->groups);
    for (int i = 0; i < c->claims.count; i++) {
        const Claim *one = &c->claims.at[i];
        printf("  %-8s %-11s %s\n  %20s %s", status_names[one->status],
               one->name, one->text, "", one->found);
        if (one->measured && one->limit > 0)
            printf("; largest error %.3g, at most %.3g", one->error,
                   one->limit);
        else if (one->measured)
            printf("; largest error %.3g", one->error);
        printf("\n");
    }
    printf("check: %d proved, %d tested, %d assumed, %d failed\n",
           count(c, CLAIM_PROVED), count(c, CLAIM_TESTED),
           count(c, CLAIM_ASSUMED), count(c, CLAIM_FAILED));
}

static void put_claim(JsonWriter *json, const Claim *one)
{
    json_open(json, '{');
    json_set_text(json, "name", one->name);
    json_set_text(json, "claim", one->text);
    json_set_text(json, "status", status_names[one->status]);
    json_set_text(json, "found", one->found);
    if (one->measured) {
        json_key(json, "largest_error");
        json_put_number(json, one->error);
        json_key(json, "limit");
        json_put_number(json, one->limit);
    }
    json_close(json, '}');
}

static void put_certificate(JsonWriter *json, const Check *c)
{
    const Facts *f = c->facts;
    json->lines = true;
    json_open(json, '{');
    json_set_count(json, "format", 1);
    json_set_text(json, "name", c->compiled.spec->name);
    json_set_text(json, "compiler", TRAINWRIGHT_VERSION);
    json_set_text(json, "target", c->target.text);
    json_set_text(json, "spec_hash", c->compiled.spec_hash);
    json_set_text(json, "source_hash", c->source_hash);
    json_set_count(json, "ranks", f->ranks);
    json_set_count(json, "data", f->data);
    json_set_count(json, "stages", f->stages);
    json_set_count(json, "tensor", f->tensor);
    json_set_count(json, "context", f->context);
    json_set_count(json, "experts", f->experts);
    json_set_count(json, "groups", f->groups);
    json_set_text(json, "small_plan", c->small_plan ? c->small_plan : "");
    json_set_text(json, "small_spec", c->shrunk ? c->shrunk : "");
    json_set_count(json, "seed", (int64_t)c->seed);
    json_key(json, "claims");
    json_open(json, '[');
    for (int i = 0; i < c->claims.count; i++)
        put_claim(json, &c->claims.at[i]);
    json_close(json, ']');
    json_close(json, '}');
}

/* Aside, then renamed. */
static int write_certificate(Check *c, const char *output)
{
    enum { ROOM = 1 << 20 };
    const char *aside = arena_printf(c->arena, "%s.tmp-%ld", output,
                                     (long)getpid());
    char *text = arena_alloc(c->arena, ROOM);
    JsonWriter json = json_to_buffer(text, ROOM);
    put_certificate(&json, c);
    FILE *file = json.failed ? NULL : fopen(aside, "w");
    if (!file)
        return link_unwritable(c->diag, output);
    bool fine = fprintf(file, "%s\n", text) > 0;
    int why = errno;
    fine &= fclose(file) == 0;
    if (fine)
        return link_deliver(c->diag, aside, output);
    errno = why;
    unlink(aside);
    return link_unwritable(c->diag, output);
}

/* ---- the command ---- */
static int compile(Check *c)
{
    const Options *o = &c->options;
    const CompileOptions options = {
        .from = { o->spec, o->overlays.at, o->overlays.count, o->sets.at,
                  o->sets.count },
        .target = "", .features = "", .verbose = o->verbose,
    };
    if (!compile_spec(c->diag, c->arena, &options, &c->compiled))
        return WRONG_INPUT;
    program_prune(&c->compiled);
    c->facts = facts_of(c->compiled.prog, c->arena);
    return DONE;
}

/* What is read off the program's calls is proved before what nothing in it
 * reads is dropped. */
static int prove(Check *c)
{
    check_structure(c);
    check_groups(c);
    check_messages(c);
    int status = program_finish(c->diag, &c->compiled);
    c->source_hash = facts_text(c->facts->program, 0, "source_hash");
    return status;
}

static int check(Check *c)
{
    const char *output = c->options.output;
    int status = output ? link_check_output(c->diag, &output) : DONE;
    if (status == DONE)
        status = target_choose(c->diag, NULL, &c->target);
    if (status == DONE)
        status = compile(c);
    if (status != DONE)
        return status;
    c->seed = (uint64_t)c->compiled.spec->train_seed;
    status = prove(c);
    if (status == DONE && check_shrink(c))
        status = check_values(c);
    if (status != DONE)
        return status;
    print_claims(c);
    if (count(c, CLAIM_FAILED))
        return CHECK_FAILED;
    return output ? write_certificate(c, output) : DONE;
}

int command_check(int argc, char **argv, const Place *place)
{
    Arena *arena = arena_new();
    Check *c = arena_alloc(arena, sizeof *c);
    int status = WRONG_USAGE;
    c->arena = arena;
    c->diag = diag_new(arena);
    c->place = place;
    if (options_read(&c->options, arena, argc, argv, usage,
                     OPTION_OUTPUT | OPTION_VERBOSE)) {
        status = DONE;
        if (c->options.help)
            fputs(usage, stdout);
        else
            status = check(c);
    }
    fflush(stdout);
    diag_print(c->diag, stderr);
    buf_free(&c->compiled.spec_text);
    arena_free(arena);
    return status;
}
