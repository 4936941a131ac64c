/* compile.c: the pipeline, one straight list: load the spec, build the module,
 * run the passes (verified after each), lower. */
#define _GNU_SOURCE
#include "compile.h"
#include "build/build.h"
#include "effect.h"
#include "emit.h"
#include "lower/lower.h"
#include "version.h"
#include "../runtime/hash.h"
#include <time.h>

static Shard shard_of(int choice)
{
    switch (choice) {
    case PARALLEL_SHARD_OPTIMIZER: return SHARD_OPTIMIZER;
    case PARALLEL_SHARD_GRADIENTS: return SHARD_GRADIENTS;
    case PARALLEL_SHARD_PARAMETERS: return SHARD_PARAMETERS;
    default: return SHARD_NONE;
    }
}

static PipelineKind pipeline_of(int choice)
{
    switch (choice) {
    case PARALLEL_PIPELINE_SCHEDULE_GPIPE: return PIPELINE_GPIPE;
    case PARALLEL_PIPELINE_SCHEDULE_INTERLEAVED: return PIPELINE_INTERLEAVED;
    case PARALLEL_PIPELINE_SCHEDULE_ZERO_BUBBLE: return PIPELINE_ZERO_BUBBLE;
    default: return PIPELINE_1F1B;
    }
}

static RecomputeKind recompute_of(int choice)
{
    switch (choice) {
    case MEMORY_RECOMPUTE_ATTENTION: return RECOMPUTE_ATTENTION;
    case MEMORY_RECOMPUTE_BLOCK: return RECOMPUTE_BLOCK;
    default: return RECOMPUTE_NONE;     /* auto is chosen later */
    }
}

Plan plan_of(const Spec *s)
{
    bool pairs = s->train_objective == TRAIN_OBJECTIVE_PREFERENCE;
    int64_t sequences = pairs ? 2 : 1;          /* of an example */
    Plan plan = {
        .batch = s->train_batch * sequences,
        .micro_batch = s->train_micro_batch * sequences,
        .sequence = s->train_sequence,
        .groups = s->reproducible_groups,
        .momentum = s->train_optimizer_momentum != 0,
        .mesh = {
            .data = s->parallel_data,
            .stages = s->parallel_pipeline_stages,
            .shard = shard_of(s->parallel_shard),
            .shard_from = s->loc[KEY_parallel_shard],
            .shard_group_from = s->loc[KEY_parallel_shard_group],
            .data_from = s->loc[s->parallel_data > 1 ? KEY_parallel_data
                                                     : KEY_parallel_context],
            .experts = s->parallel_experts,
            .experts_from = s->loc[KEY_parallel_experts],
            .context = s->parallel_context,
            .context_from = s->loc[KEY_parallel_context],
            .tensor = s->parallel_tensor,
            .bucket = s->parallel_bucket,
            .tensor_from = s->loc[KEY_parallel_tensor],
            .shares_from = s->loc[KEY_parallel_sequence_parallel],
            .stages_from = s->loc[KEY_parallel_pipeline_stages],
        },
        .recompute_from = s->loc[KEY_memory_recompute],
        .optimizer_from = s->loc[KEY_train_optimizer_type],
        .micro_from = s->loc[KEY_train_micro_batch],
        .groups_from = s->loc[KEY_reproducible_groups],
    };
    if (sums_each_micro(s)) {           /* a replica's batch is one group */
        plan.groups = s->parallel_data;
        plan.mesh.each_micro = true;
    }
    if (s->parallel_shard_group < s->parallel_data)
        plan.mesh.shard_group = s->parallel_shard_group;
    if (mesh_shards(&plan.mesh) == 1)   /* groups of one split nothing */
        plan.mesh.shard = SHARD_NONE, plan.mesh.shard_group = 0;
    if (plan.mesh.shard == SHARD_PARAMETERS)
        plan.mesh.prefetch = s->parallel_overlap;
    plan.pipeline = pipeline_of(s->parallel_pipeline_schedule);
    plan.chunks = s->parallel_pipeline_virtual;
    plan.halves = plan.pipeline == PIPELINE_ZERO_BUBBLE;
    if (s->parallel_pipeline_split.count)
        plan.split = s->parallel_pipeline_split.at;
    plan.recompute = recompute_of(s->memory_recompute);
    switch (s->train_optimizer_type) {
    case TRAIN_OPTIMIZER_TYPE_ADAMW: plan.optimizer = OPTIMIZER_ADAMW; break;
    case TRAIN_OPTIMIZER_TYPE_ADAM: plan.optimizer = OPTIMIZER_ADAM; break;
    case TRAIN_OPTIMIZER_TYPE_SGD: plan.optimizer = OPTIMIZER_SGD; break;
    }
    return plan;
}

/* ---- passes ---- */
static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int count_nodes(const Module *m)
{
    int nodes = 0;
    for (int i = 0; i < m->funcs.count; i++)
        nodes += m->funcs.at[i]->nodes.count;
    return nodes;
}

static int count_kernels(const Module *m)
{
    int kernels = 0;
    for (int i = 0; i < m->funcs.count; i++)
        kernels += m->funcs.at[i]->kernels.count;
    return kernels;
}

static void tell(const Module *m, const char *pass, int before, double ms)
{
    int after = count_nodes(m), kernels = count_kernels(m);
    fprintf(stderr, "%s: ", pass);
    if (after == before)
        fprintf(stderr, "%d nodes", after);
    else
        fprintf(stderr, "%d nodes -> %d", before, after);
    if (kernels)
        fprintf(stderr, ", %d kernels", kernels);
    fprintf(stderr, " (%.1f ms)\n", ms);
}

static void verify(const Module *m, const char *after)
{
    Buf why = {0};
    if (!module_verify(m, &why))
        ice("after %s: %s", after, why.text);
    buf_free(&why);
}

/* Runs the passes in order; true when all ran, false when one stopped the list.
 */
static bool run_passes(Module *m, const Plan *plan, Diag *diag,
                       const CompileOptions *options)
{
    /* simplify runs again: recomputation makes duplicates of what backward has
     */
    static const int order[] = {
        PASS_autodiff, PASS_simplify, PASS_precision, PASS_recompute,
        PASS_simplify, PASS_split,    PASS_schedule,  PASS_shard,
        PASS_fuse,     PASS_place,
    };
    enum { PASSES = sizeof order / sizeof *order };
    unsigned given = HAS_NOTHING;
    int last = PASSES - 1;
    for (int i = 0; i < PASSES;
         i++) /* after its last run, when it runs twice */
        if (options->stop_after
            && !strcmp(options->stop_after, pass_table[order[i]].name))
            last = i;
    for (int i = 0; i <= last; i++) {
        const PassInfo *pass = &pass_table[order[i]];
        if ((given & pass->needs) != pass->needs)
            ice("%s runs before what it needs", pass->name);
        int before = count_nodes(m);
        double start = now_ms();
        if (!pass->run(m, plan, diag))
            ice("%s: %s", pass->name,
                diag->messages.at[diag->messages.count - 1]);
        verify(m, pass->name);
        given |= pass->gives;
        if (options->verbose)
            tell(m, pass->name, before, now_ms() - start);
        if (options->after)
            options->after(m, pass->name, options->context);
    }
    return last == PASSES - 1 && !options->stop_after;
}

/* ---- what the program says of itself ---- */
static const char *hash_of(Arena *arena, const Buf *text)
{
    char hex[SHA256_TEXT];
    Sha256 hash;
    sha256_start(&hash);
    sha256_add(&hash, text->text, text->length);
    sha256_finish_text(&hash, hex);
    return arena_strdup(arena, hex);
}

/* The part of the resolved spec that a checkpoint must share: the model. */
static const char *model_hash(Arena *arena, const Spec *spec)
{
    Buf text = {0};
    spec_value(spec, key_find("model"), &text);
    const char *hash = hash_of(arena, &text);
    buf_free(&text);
    return hash;
}

/* As keys.def spells it. */
static const char *type_name(SpecType type)
{
    static const char *const names[] = {
        [SPEC_map] = "map",         [SPEC_int] = "int",
        [SPEC_number] = "number",   [SPEC_bool] = "bool",
        [SPEC_text] = "text",       [SPEC_bytes] = "bytes",
        [SPEC_choice] = "choice",   [SPEC_form] = "form",
        [SPEC_decimal] = "decimal", [SPEC_scale] = "scale",
        [SPEC_id] = "id",           [SPEC_pair] = "pair",
        [SPEC_texts] = "texts",     [SPEC_path] = "path",
        [SPEC_counts] = "counts",
    };
    return names[type];
}

static const char *choices_text(Arena *arena, const KeyInfo *info)
{
    Buf text = {0};
    for (int i = 0; i < info->choice_count; i++)
        if (info->choices[i].ready)
            buf_printf(&text, "%s%s", text.length ? "|" : "",
                       info->choices[i].text);
    const char *copy = arena_strdup(arena, text.text ? text.text : "");
    buf_free(&text);
    return copy;
}

static void add_run_keys(Arena *arena, const Spec *spec, LowerInfo *info)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        const KeyInfo *key = key_info((KeyId)i);
        if (key->type == SPEC_map)
            continue;
        Buf value = {0};
        spec_value(spec, (KeyId)i, &value);
        if (!value.length
            && (key->type == SPEC_number || key->type == SPEC_int))
            buf_printf(&value,
                       "0"); /* has no effect here: momentum without sgd */
        RunKeyInfo row = {
            .path = key->path,
            .least = key->least,
            .most = key->most,
            /* the others are known too, so that the program can say "rebuild"
             */
            .type =
                key->run_time && key->ready ? type_name(key->type) : "fixed",
            .choices = choices_text(arena, key),
            .doc = key->doc,
            .value = arena_strdup(arena, value.text ? value.text : ""),
        };
        buf_free(&value);
        list_push(arena, &info->keys, row);
    }
}

static int moment_count(const Spec *spec)
{
    if (spec->train_optimizer_type != TRAIN_OPTIMIZER_TYPE_SGD)
        return 2;
    return spec->train_optimizer_momentum != 0;
}

/* The hash of the source that `emit` writes for this spec, whichever way the
 * program is built: of NAME.c with the hash itself, the target and its features
 * left empty. */
static void sign(Prog *prog, const CompileOptions *options, Arena *arena)
{
    Buf source = {0};
    emit_c(prog, &source);
    program_set_text(prog, "source_hash", hash_of(arena, &source));
    program_set_text(prog, "target", options->target);
    program_set_text(prog, "features", options->features);
    buf_free(&source);
}

/* ---- recompute: auto ---- */
static const RecomputeKind cheapest_first[] = {
    RECOMPUTE_NONE, RECOMPUTE_ATTENTION, RECOMPUTE_BLOCK,
};

/* Bytes of train under a plan, found by placing it. */
static int64_t bytes_under(const Spec *spec, const Plan *plan, Diag *diag,
                           const LowerInfo *info)
{
    CompileOptions quiet = {0};
    Arena *scratch = arena_new();
    Module *m = build_module(spec, diag, scratch);
    run_passes(m, plan, diag, &quiet);
    int64_t bytes = lower_train_bytes(m, info, scratch);
    arena_free(scratch);
    return bytes;
}

/* The cheapest recomputation under which train fits the budget; an error when
 * none does. A budget of 0 is no limit. */
static bool choose_recompute(const Spec *spec, Diag *diag,
                             const LowerInfo *info, Plan *plan)
{
    if (spec->memory_recompute != MEMORY_RECOMPUTE_AUTO || !spec->memory_budget)
        return true;
    int64_t least = 0;
    for (size_t i = 0; i < sizeof cheapest_first / sizeof *cheapest_first;
         i++) {
        plan->recompute = cheapest_first[i];
        least = bytes_under(spec, plan, diag, info);
        if (least <= spec->memory_budget)
            return true;
    }
    diag_error(diag, spec->loc[KEY_memory_budget],
               "train needs %lld bytes with every block recomputed, more than "
               "the budget of %lld",
               (long long)least, (long long)spec->memory_budget);
    diag_hint(diag, "a `train.micro_batch` below %lld or a "
              "`train.sequence` below %lld needs less",
              (long long)spec->train_micro_batch,
              (long long)spec->train_sequence);
    return false;
}

/* "8 ranks: 2 stages (1f1b), data 2, tensor 2 with sequence_parallel; f32" */
static const char *plan_text(Arena *arena, const Spec *spec, const Plan *plan)
{
    static const char *const schedules[] = {
        [PIPELINE_GPIPE] = " stages (gpipe)",
        [PIPELINE_1F1B] = " stages (1f1b)",
        [PIPELINE_INTERLEAVED] = " stages (interleaved)",
        [PIPELINE_ZERO_BUBBLE] = " stages (zero-bubble)",
    };
    const Mesh *mesh = &plan->mesh;
    const char *text = "", *and = "";
    const struct { int64_t size; const char *before, *behind; } axes[] = {
        { mesh->stages, "", schedules[plan->pipeline] },
        { mesh->data, "data ", "" },
        { mesh->experts, "", " of them share experts" },
        { mesh->context, "context ", "" },
        { mesh->tensor, "tensor ", spec->parallel_sequence_parallel
                                       ? " with sequence_parallel" : "" },
    };
    int64_t ranks =
        mesh->data * mesh->stages * mesh->tensor * mesh->context;
    if (ranks == 1)
        return "1 rank, f32";
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        if (axes[i].size == 1)
            continue;
        text = arena_printf(arena, "%s%s%s%lld%s", text, and, axes[i].before,
                            (long long)axes[i].size, axes[i].behind);
        and = ", ";
    }
    if (mesh->shard)
        text = arena_printf(arena, "%s, %s sharded", text,
                            shard_names[mesh->shard]);
    if (mesh->shard_group)
        text = arena_printf(arena, "%s in groups of %lld", text,
                            (long long)mesh->shard_group);
    return arena_printf(arena, "%lld ranks: %s; f32", (long long)ranks, text);
}

/* ---- what one rank runs ---- */
/* Do ranks share what functions compute, so that no rank can run them alone? */
static bool shares_functions(const Mesh *mesh)
{
    return mesh->tensor > 1 || mesh->context > 1 || mesh->experts > 1;
}

/* The spec without its plan, made into a module as ever, then cut to what runs
 * on one rank. So nothing in it can differ from a program without the plan. */
static Module *one_rank_module(const Spec *spec, Diag *diag, Arena *arena)
{
    static const char *const together[] = { "train", "grad", "eval" };
    const CompileOptions quiet = {0};
    const Spec *alone = spec_of_one_rank(spec, arena);
    Plan plan = plan_of(alone);
    Module *m = build_module(alone, diag, arena);
    run_passes(m, &plan, diag, &quiet);
    for (size_t i = 0; i < sizeof together / sizeof *together; i++)
        module_drop_step(m, together[i]);
    module_drop_uncalled(m);
    verify(m, "cutting to one rank");
    return m;
}

/* Lowers the module, and what it lacks where ranks share its functions. */
static void lower_all(const Spec *spec, Diag *diag, Arena *arena,
                      LowerInfo *info, Compiled *out)
{
    const Module *alone = out->module;
    if (shares_functions(&out->module->mesh)) {
        info->file = FILE_OF_ONE_RANK;
        alone = one_rank_module(spec, diag, arena);
        out->one_rank = lower_module(alone, info, arena);
        info->file = FILE_OF_RANKS;
    }
    info->generates = module_find_step(alone, "generate") != NULL;
    out->prog = lower_module(out->module, info, arena);
}

/* A choice as the spec says it. */
static const char *spelling(KeyId key, int choice)
{
    return key_info(key)->choices[choice].text;
}

bool compile_spec(Diag *diag, Arena *arena, const CompileOptions *options,
                  Compiled *out)
{
    Spec *spec = spec_load(diag, arena, &options->from);
    if (!spec || diag->errors)
        return false;
    out->spec = spec;
    spec_print(spec, &out->spec_text);
    out->spec_hash = hash_of(arena, &out->spec_text);
    Plan plan = plan_of(spec);
    bool images = spec->model_input == MODEL_INPUT_IMAGE;
    const char *slash = strrchr(options->from.path, '/');
    LowerInfo info = {
        .version = TRAINWRIGHT_VERSION,
        .spec_name = slash ? slash + 1 : options->from.path,
        .spec_text = out->spec_text.text,
        .spec_hash = out->spec_hash,
        .model_hash = model_hash(arena, spec),
        .target = "",
        .features = "",
        .plan = plan_text(arena, spec, &plan),
        .kind = spelling(KEY_model_kind, spec->model_kind),
        .input = spelling(KEY_model_input, spec->model_input),
        .head = spelling(KEY_model_head, spec->model_head),
        .objective = spelling(KEY_train_objective, spec->train_objective),
        .channels = images ? spec->model_input_image_channels : 0,
        .image_size = images ? spec->model_input_image_size : 0,
        .nodes = spec->model_input == MODEL_INPUT_GRAPH
                   ? spec->model_input_graph_nodes
                   : 0,
        .batch = spec->train_batch,
        .sequence = plan.sequence,
        .groups = plan.groups,
        .moments = moment_count(spec),
    };
    if (!choose_recompute(spec, diag, &info, &plan))
        return false;
    out->module = build_module(spec, diag, arena);
    verify(out->module, "build");
    if (options->after)
        options->after(out->module, "build", options->context);
    if (options->stop_after && !strcmp(options->stop_after, "build"))
        return true;
    bool all = run_passes(out->module, &plan, diag, options);
    if (!all)
        return diag->errors == 0;
    add_run_keys(arena, spec, &info);
    lower_all(spec, diag, arena, &info, out);
    sign(out->prog, options, arena);
    out->train_bytes = lower_train_bytes(out->module, &info, arena);
    return diag->errors == 0;
}
