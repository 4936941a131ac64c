/* info.c: `info`: what this program is, for people and as JSON.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "inputs.h"
#include "json.h"
#include "mail.h"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* What the command of a step maps, the steps that go with it too: a rank of the
 * plan's, or one alone on all cores. */
/* Is it a step of all ranks? */
static bool is_together(const Step *step)
{
    return strcmp(step->name, "train") == 0 || strcmp(step->name, "eval") == 0
        || strcmp(step->name, "grad") == 0;
}

static Plan plan_of(const Program *program, const Step *step,
                    const Options *options)
{
    const StepSet set = steps_with(program, step->name);
    int ranks = is_together(step) ? program_ranks(program) : 1;
    return rank_plan(program, &set, threads_of(options, ranks));
}

/* What ranks of that stage run which maps the most for this step. */
static Program program_of_largest(const Program *program, const Step *step,
                                  const Options *options)
{
    int largest = 0;
    int64_t most = -1;
    if (program_ranks(program) == 1)
        return *program;
    for (int stage = 0; stage < program_stages(program); stage++) {
        const Program part = program_of_stage(program, stage);
        Plan plan = plan_of(&part, program_step(&part, step->name), options);
        if (plan.total_bytes > most) {
            most = plan.total_bytes;
            largest = stage;
        }
    }
    return program_of_stage(program, largest);
}

static const char *word(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

/* The model in the words of its spec, without the sizes that it has none of. */
static void put_model(JsonWriter *json, const Program *program)
{
    const struct { const char *key; int64_t count; } sizes[] = {
        { "classes", program->classes }, { "channels", program->channels },
        { "image_size", program->image_size }, { "nodes", program->nodes },
        { "node_features", program->node_features },
        { "token_types", program->token_types },
    };
    json_set_text(json, "kind", word(program->kind, "decoder"));
    json_set_text(json, "input", word(program->input, input_kind(program)));
    json_set_text(json, "head", word(program->head, "lm"));
    json_set_text(json, "objective", word(program->objective, "next-token"));
    json_set_count(json, "vocab", program->vocab);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].count > 0)
            json_set_count(json, sizes[i].key, sizes[i].count);
    json_key(json, "experts");
    json_put_boolean(json, program->experts);
    const Program alone = program_alone(program);
    json_key(json, "generates");
    json_put_boolean(json, alone.causal && program_step(&alone, "generate"));
}

/* What the steps that go with this one need more of, in the same memory. */
static int64_t other_steps_bytes(const Program *program, const Step *step,
                                 const Plan *plan)
{
    int64_t own = program->weight_bytes + step->state_bytes;
    for (int i = 0; i < step->memory_count; i++)
        own += step->memory[i].bytes;
    return plan->fixed_bytes - own;
}

/* The plan's fixed bytes by what they hold. */
static void put_classes(JsonWriter *json, const Program *program,
                        const Step *step, const Plan *plan)
{
    int64_t others = other_steps_bytes(program, step, plan);
    json_key(json, "classes");
    json_open(json, '{');
    json_set_count(json, "weights", program->weight_bytes);
    json_set_count(json, "moments", step->state_bytes);
    for (int i = 0; i < step->memory_count; i++)
        json_set_count(json, step->memory[i].name, step->memory[i].bytes);
    if (others != 0)
        json_set_count(json, "other_steps", others);
    json_close(json, '}');
}

static void put_step(void *writer, const Program *program, const Step *step,
                     const Options *options)
{
    JsonWriter *json = writer;
    Plan plan = plan_of(program, step, options);
    json_key(json, step->name);
    json_open(json, '{');
    json_set_count(json, "fixed_bytes", plan.fixed_bytes);
    json_set_count(json, "thread_bytes", plan.thread_bytes);
    json_set_count(json, "threads", plan.threads);
    json_set_count(json, "total_bytes", plan.total_bytes);
    json_set_count(json, "batch", step->batch);
    json_set_count(json, "sequence", step->sequence);
    json_key(json, "flops");
    json_put_number(json, step->flops);
    put_classes(json, program, step, &plan);
    json_close(json, '}');
}

typedef void StepRule(void *context, const Program *program, const Step *step,
                      const Options *options);

/* The steps of ranks that share the model, and those of a rank alone. One that
 * both have is a command's on one rank: ranks together only run it on the way
 * to another. */
static void each_step(const Program *program, const Options *options,
                      StepRule *rule, void *context)
{
    const Program alone = program_alone(program);
    bool apart = program->one_rank != NULL;
    for (int i = 0; i < program->step_count; i++) {
        const Step *step = &program->steps[i];
        if (apart && program_step(&alone, step->name))
            continue;
        const Program own = is_together(step)
            ? program_of_largest(program, step, options) : *program;
        rule(context, &own, program_step(&own, step->name), options);
    }
    for (int i = 0; apart && i < alone.step_count; i++)
        rule(context, &alone, &alone.steps[i], options);
}

/* What a rank of a stage maps for training. */
static Plan plan_of_stage(const Program *program, int stage,
                          const Options *options)
{
    const Program part = program_of_stage(program, stage);
    const StepSet set = steps_with(&part, "train");
    return rank_plan(&part, &set, threads_of(options, program_ranks(program)));
}

static void put_messages(JsonWriter *json, const Program *part)
{
    json_key(json, "messages");
    json_open(json, '[');
    for (int i = 0; i < part->message_count; i++) {
        const Message *message = &part->messages[i];
        json_open(json, '{');
        json_set_text(json, "name", message->name);
        json_set_text(json, "where", message->where);
        json_set_text(json, "axis", message->axis);
        json_set_count(json, "calls", message->calls);
        json_set_count(json, "bytes", message->bytes);
        json_key(json, "at_most");
        json_put_boolean(json, message->at_most);
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* parallel.shard */
static const char *shard_text(const Program *program)
{
    switch (program->shard) {
    case SHARD_MOMENTS: return "optimizer";
    case SHARD_GRADIENTS: return "gradients";
    case SHARD_WEIGHTS: return "parameters";
    default: return "none";
    }
}

/* Ranks by axis; what a rank of each stage maps, and sends in a train step. */
static void put_plan(JsonWriter *json, const Program *program,
                     const Options *options)
{
    json_key(json, "plan");
    json_open(json, '{');
    json_set_count(json, "ranks", program_ranks(program));
    json_set_count(json, "data",
                   program_data(program) / program_context(program));
    json_set_count(json, "context", program_context(program));
    json_set_count(json, "tensor", program_tensor(program));
    json_set_count(json, "experts", program_experts(program));
    json_set_count(json, "stages", program_stages(program));
    json_set_text(json, "shard", shard_text(program));
    json_set_count(json, "groups", program->groups);
    /* of a rank that mpirun has started, besides */
    json_set_count(json, "message_room_bytes",
                   program_ranks(program) > 1 ? MAIL_ROOM : 0);
    json_key(json, "ranks_by_stage");
    json_open(json, '[');
    for (int stage = 0; stage < program_stages(program); stage++) {
        const Program part = program_of_stage(program, stage);
        Plan plan = plan_of_stage(program, stage, options);
        json_open(json, '{');
        json_set_count(json, "stage", stage);
        json_set_count(json, "fixed_bytes", plan.fixed_bytes);
        json_set_count(json, "thread_bytes", plan.thread_bytes);
        json_set_count(json, "total_bytes", plan.total_bytes);
        put_classes(json, &part, program_step(&part, "train"), &plan);
        put_messages(json, &part);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static bool print_json(const Program *program, const Options *options,
                       Error *error)
{
    size_t room = 65536 + ((size_t)program_stages(program) << 14);
    char *text = malloc(room);
    if (!text)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    JsonWriter json = json_to_buffer(text, room);
    json.lines = true;
    json_open(&json, '{');
    json_set_count(&json, "format", 1);
    json_set_text(&json, "name", program->name);
    json_set_count(&json, "parameters", program->parameters);
    put_model(&json, program);
    json_set_count(&json, "context", program->context);
    json_set_count(&json, "blocks", program->blocks);
    json_set_count(&json, "batch", program->batch);
    json_set_count(&json, "sequence", program->sequence);
    json_set_text(&json, "compiler", program->version);
    json_set_text(&json, "target", program->target);
    json_set_text(&json, "features", program->features);
    json_set_text(&json, "spec_hash", program->spec_hash);
    json_set_text(&json, "model_hash", program->model_hash);
    json_set_text(&json, "source_hash", program->source_hash);
    put_plan(&json, program, options);
    json_key(&json, "memory");
    json_open(&json, '{');
    json_set_count(&json, "threads",
                   threads_of(options, program_ranks(program)));
    json_key(&json, "programs");
    json_open(&json, '{');
    each_step(program, options, put_step, &json);
    json_close(&json, '}');
    json_close(&json, '}');
    json_close(&json, '}');
    if (json.failed)
        error_set(error, ERROR_ENVIRONMENT, "internal error: what there is to "
                  "say is too long");
    else
        puts(text);
    free(text);
    return !json.failed;
}

static void print_size(const char *name, int64_t bytes)
{
    printf("  %-16s %14lld bytes  %10.1f MiB\n", name, (long long)bytes,
           (double)bytes / (1 << 20));
}

static void print_step(void *none, const Program *program, const Step *step,
                       const Options *options)
{
    (void)none;
    Plan plan = plan_of(program, step, options);
    printf("\n%s: %lld x %lld tokens, %.3g GFLOP\n", step->name,
           (long long)step->batch, (long long)step->sequence,
           step->flops * 1e-9);
    print_size("weights", program->weight_bytes);
    if (step->state_bytes > 0)
        print_size("moments", step->state_bytes);
    for (int i = 0; i < step->memory_count; i++)
        print_size(step->memory[i].name, step->memory[i].bytes);
    if (other_steps_bytes(program, step, &plan) != 0)
        print_size("other steps", other_steps_bytes(program, step, &plan));
    print_size("fixed", plan.fixed_bytes);
    print_size("a thread", plan.thread_bytes);
    print_size("total", plan.total_bytes);
}

static void print_model(const Program *program)
{
    printf("model       %s of %s, head %s, objective %s\n",
           word(program->kind, "decoder"),
           word(program->input, input_kind(program)),
           word(program->head, "lm"), word(program->objective, "next-token"));
    printf("            ");
    if (program->vocab > 0)
        printf("vocab %lld, ", (long long)program->vocab);
    if (program->image_size > 0)
        printf("%lld x %lld pixels of %lld channels, ",
               (long long)program->image_size, (long long)program->image_size,
               (long long)program->channels);
    if (program->nodes > 0)
        printf("%lld nodes of %lld features, ", (long long)program->nodes,
               (long long)program->node_features);
    if (program->classes > 0)
        printf("%lld classes, ", (long long)program->classes);
    if (program->experts)
        printf("experts, ");
    printf("context %lld, %lld blocks\n", (long long)program->context,
           (long long)program->blocks);
}

static void print_class(const char *name, int64_t bytes)
{
    if (bytes)
        printf("  %s %.1f MiB", name, (double)bytes / (1 << 20));
}

static int longer(int width, const char *text)
{
    int length = (int)strlen(text);
    return length > width ? length : width;
}

/* Those of a training step; the others are other commands'. */
static void print_messages(const Program *part)
{
    int name = 0, axis = 0;
    for (int i = 0; i < part->message_count; i++)
        if (part->messages[i].calls > 0) {
            name = longer(name, part->messages[i].name);
            axis = longer(axis, part->messages[i].axis);
        }
    printf(name > 0 ? "\n  messages a step:\n" : "\n");
    for (int i = 0; i < part->message_count; i++) {
        const Message *message = &part->messages[i];
        if (message->calls > 0)
            printf("  %-*s along %-*s %6lld calls %14lld bytes%s  %s\n", name,
                   message->name, axis, message->axis,
                   (long long)message->calls, (long long)message->bytes,
                   message->at_most ? " at most" : "", message->where);
    }
}

static void print_stage(const Program *program, int stage,
                        const Options *options)
{
    const Program part = program_of_stage(program, stage);
    Plan plan = plan_of_stage(program, stage, options);
    if (program_stages(program) > 1)
        printf("stage %d     ", stage);
    else
        printf("a rank      ");
    printf("%.1f MiB (%lld bytes) to train:\n",
           (double)plan.total_bytes / (1 << 20), (long long)plan.total_bytes);
    const Step *train = program_step(&part, "train");
    print_class("weights", part.weight_bytes);
    print_class("moments", train->state_bytes);
    for (int i = 0; i < train->memory_count; i++)
        print_class(train->memory[i].name, train->memory[i].bytes);
    print_class("threads", plan.thread_bytes);
    print_messages(&part);
}

/* The ranks that train, and what each sends in a step. */
static void print_plan(const Program *program, const Options *options)
{
    int ranks = program_ranks(program);
    char text[WORLD_TEXT];
    world_text(program, threads_of(options, ranks), text);
    printf("plan        %s%s%s, f32; batch %lld x %lld %s\n",
           ranks > 1 ? text : "1 rank", program->shard ? ", shard " : "",
           program->shard ? shard_text(program) : "",
           (long long)program->batch, (long long)program->sequence,
           is_preference(program) ? "tokens, pairs" : "tokens");
    for (int stage = 0; ranks > 1 && stage < program_stages(program); stage++)
        print_stage(program, stage, options);
    if (ranks > 1)
        printf("by mpirun   %.1f MiB a rank more, to receive messages in\n",
               (double)MAIL_ROOM / (1 << 20));
}

static void print_text(const Program *program, const Options *options)
{
    int ranks = program_ranks(program);
    printf("name        %s\n", program->name);
    printf("parameters  %lld\n", (long long)program->parameters);
    print_model(program);
    print_plan(program, options);
    printf("target      %s (%s)\n", program->target, program->features);
    printf("compiler    trainwright %s\n", program->version);
    printf("spec        sha256 %s\n", program->spec_hash);
    printf("model       sha256 %s\n", program->model_hash);
    printf("source      sha256 %s\n", program->source_hash);
    int threads = threads_of(options, ranks);
    printf("memory      on %d thread%s%s\n", threads, threads == 1 ? "" : "s",
           ranks > 1 ? " a rank: train, eval and grad" : "");
    each_step(program, options, print_step, NULL);
}

int command_info(const Program *program, const Options *options, Error *error)
{
    if (options->json)
        return print_json(program, options, error) ? 0 : error->status;
    print_text(program, options);
    return 0;
}
