/* rules_plan.c: rules of the parallelism plan (see rules.c): what a pipeline
 * wants of the model, and which combinations are not built yet. */
#include "loader.h"

/* A stage or chunk has blocks of one stack: one ends where the encoder does. */
static void check_split_stacks(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId split = KEY_parallel_pipeline_split,
                encoder = KEY_model_blocks_encoder,
                decoder = KEY_model_blocks_decoder;
    const SpecCounts *counts = &s->parallel_pipeline_split;
    const char *part = s->parallel_pipeline_virtual > 1 ? "chunk" : "stage";
    int64_t sum = 0;
    bool ends = false;
    if (!sound(loader, split, encoder) || loader->bad[decoder])
        return;
    for (int i = 0; i < counts->count; i++) {
        sum += counts->at[i];
        ends |= sum == s->model_blocks_encoder;
    }
    if (sum != s->model_blocks_encoder + s->model_blocks_decoder)
        clash(loader, split, encoder, "`%s` has %lld blocks, not the %lld of "
              "`%s` and the decoder's", saying(loader, split), (long long)sum,
              (long long)(s->model_blocks_encoder + s->model_blocks_decoder),
              saying(loader, encoder));
    else if (!ends)
        clash(loader, split, encoder, "`%s` has a %s with blocks of both "
              "stacks: a %s must end behind the %lld of `%s`",
              saying(loader, split), part, part,
              (long long)s->model_blocks_encoder, saying(loader, encoder));
}

static void check_split(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId split = KEY_parallel_pipeline_split;
    const KeyId stages = KEY_parallel_pipeline_stages,
                blocks = KEY_model_blocks;
    const KeyId virtual = KEY_parallel_pipeline_virtual;
    const SpecCounts *counts = &s->parallel_pipeline_split;
    int64_t sum = 0;
    if (!counts->count || !sound(loader, split, stages)
        || loader->bad[virtual])
        return;
    if (counts->count
        != s->parallel_pipeline_stages * s->parallel_pipeline_virtual) {
        if (s->parallel_pipeline_virtual > 1)
            clash(loader, split, virtual, "`%s` is for %d chunks, not for %lld "
                  "stages with `%s`", saying(loader, split), counts->count,
                  (long long)s->parallel_pipeline_stages,
                  saying(loader, virtual));
        else
            clash(loader, split, stages, "`%s` is for %d stages, not for `%s`",
                  saying(loader, split), counts->count,
                  saying(loader, stages));
        return;
    }
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER) {
        check_split_stacks(loader);
        return;
    }
    for (int i = 0; i < counts->count; i++)
        sum += counts->at[i];
    if (!loader->bad[blocks] && sum != s->model_blocks)
        clash(loader, split, blocks, "`%s` has %lld blocks, not those of `%s`",
              saying(loader, split), (long long)sum, saying(loader, blocks));
}

/* A stack without blocks has no stage: is that said? */
static bool check_stacks(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId stages = KEY_parallel_pipeline_stages,
                encoder = KEY_model_blocks_encoder,
                decoder = KEY_model_blocks_decoder;
    bool empty = !s->model_blocks_encoder;
    if (!empty && s->model_blocks_decoder)
        return false;
    clash(loader, stages, empty ? encoder : decoder, "`%s` cuts both stacks, "
          "and one has no blocks: `%s`", saying(loader, stages),
          saying(loader, empty ? encoder : decoder));
    return true;
}

/* A pipeline of an encoder-decoder cuts both stacks. */
static void check_pipeline_stacks(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId stages = KEY_parallel_pipeline_stages;
    int64_t blocks = s->model_blocks_encoder + s->model_blocks_decoder;
    if (!sound(loader, stages, KEY_model_blocks_encoder)
        || !sound(loader, stages, KEY_model_blocks_decoder)
        || check_stacks(loader))
        return;
    if (s->parallel_pipeline_stages > blocks)
        clash(loader, stages, KEY_model_blocks_encoder, "`%s` are more than "
              "the %lld blocks of both stacks", saying(loader, stages),
              (long long)blocks);
    else if (!loader->bad[KEY_parallel_pipeline_virtual]
             && s->parallel_pipeline_virtual
                 > blocks / s->parallel_pipeline_stages)
        clash(loader, KEY_parallel_pipeline_virtual, KEY_model_blocks_encoder,
              "%lld stages with `%s` are more than the %lld blocks of both "
              "stacks", (long long)s->parallel_pipeline_stages,
              saying(loader, KEY_parallel_pipeline_virtual),
              (long long)blocks);
}

/* Chunks are interleaved's, which without them is 1f1b. */
static void check_virtual(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId virtual = KEY_parallel_pipeline_virtual,
                schedule = KEY_parallel_pipeline_schedule,
                stages = KEY_parallel_pipeline_stages;
    bool interleaved = s->parallel_pipeline_schedule
        == PARALLEL_PIPELINE_SCHEDULE_INTERLEAVED;
    bool halves = s->parallel_pipeline_schedule
        == PARALLEL_PIPELINE_SCHEDULE_ZERO_BUBBLE;
    if (!sound(loader, virtual, schedule) || loader->bad[stages])
        return;
    if (s->parallel_pipeline_virtual > 1 && !interleaved)
        clash(loader, virtual, schedule, "`%s` is for `schedule: interleaved`, "
              "not for `%s`", saying(loader, virtual),
              saying(loader, schedule));
    else if (interleaved && s->parallel_pipeline_virtual == 1)
        clash(loader, schedule, virtual, "`%s` wants `virtual` of 2 at least: "
              "chunks of blocks that each stage holds; with 1 it is `1f1b`",
              saying(loader, schedule));
    else if ((interleaved || halves) && s->parallel_pipeline_stages == 1)
        clash(loader, schedule, stages, "`%s` wants 2 stages at least, not "
              "`%s`", saying(loader, schedule), saying(loader, stages));
}

static void check_pipeline(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId stages = KEY_parallel_pipeline_stages,
                virtual = KEY_parallel_pipeline_virtual,
                blocks = KEY_model_blocks;
    check_virtual(loader);
    if (loader->bad[stages] || s->parallel_pipeline_stages == 1)
        return;
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER)
        check_pipeline_stacks(loader);
    bool counted = sound(loader, stages, blocks) && !loader->bad[virtual]
        && s->model_kind != MODEL_KIND_ENCODER_DECODER;
    if (counted && s->parallel_pipeline_stages > s->model_blocks)
        clash(loader, stages, blocks, "`%s` are more than `%s`",
              saying(loader, stages), saying(loader, blocks));
    else if (counted && s->parallel_pipeline_virtual
                 > s->model_blocks / s->parallel_pipeline_stages)
        clash(loader, virtual, blocks, "%lld stages with `%s` are more than "
              "`%s`", (long long)s->parallel_pipeline_stages,
              saying(loader, virtual), saying(loader, blocks));
    check_split(loader);
}

/* Shard groups are subtrees of the tree by which replicas are summed. */
static void check_shard_group(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId group = KEY_parallel_shard_group, data = KEY_parallel_data;
    int64_t ranks = s->parallel_shard_group;
    if (loader->bad[group] || ranks == 0)
        return;
    if (sound(loader, group, KEY_parallel_shard)
        && s->parallel_shard == PARALLEL_SHARD_NONE) {
        clash(loader, group, KEY_parallel_shard, "`%s` with `%s`: there is "
              "nothing that groups could split", saying(loader, group),
              saying(loader, KEY_parallel_shard));
        return;
    }
    if (loader->bad[data])
        return;
    divides(loader, group, data);
    if (!loader->bad[group] && ranks != s->parallel_data
        && !is_power_of_two(ranks))
        clash(loader, group, data, "`%s` must be a power of two, or as many "
              "as `%s`: groups are subtrees of the tree by which ranks are "
              "summed",
              saying(loader, group), saying(loader, data));
}

/* What tensor ranks slice. */
static void check_tensor(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId tensor = KEY_parallel_tensor;
    if (loader->bad[tensor] || s->parallel_tensor == 1)
        return;
    divides(loader, tensor, KEY_model_heads);
    divides(loader, tensor, KEY_model_kv_heads);
    if (s->model_ff != MODEL_FF_NONE)
        divides(loader, tensor, KEY_model_ff_dim);
}

/* Between products each tensor rank has a run of the positions of a sequence,
 * or of its part of one. */
static void check_sequence_parallel(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId shares = KEY_parallel_sequence_parallel,
                tensor = KEY_parallel_tensor, length = KEY_train_sequence;
    int64_t ranks = s->parallel_tensor * s->parallel_context;
    if (loader->bad[shares] || !s->parallel_sequence_parallel
        || !sound(loader, shares, tensor))
        return;
    if (s->parallel_tensor == 1)
        clash(loader, shares, tensor, "`%s` splits rows over tensor ranks, and "
              "`%s`", saying(loader, shares), saying(loader, tensor));
    else if (sound(loader, shares, length) && s->train_sequence % ranks)
        clash(loader, shares, length, "`%s` splits a sequence over the %lld "
              "ranks of `%s`%s%s%s, which do not divide `%s`",
              saying(loader, shares), (long long)ranks,
              saying(loader, tensor), s->parallel_context > 1 ? " and `" : "",
              s->parallel_context > 1 ? saying(loader, KEY_parallel_context)
                                      : "",
              s->parallel_context > 1 ? "`" : "", saying(loader, length));
}

/* An expert takes so many of a sequence's tokens, in their order: nobody has
 * them all. */
static void check_context_capacity(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId context = KEY_parallel_context,
                capacity = KEY_model_experts_capacity;
    int64_t numerator = 0, denominator = 1;
    if (s->model_experts != MODEL_EXPERTS_LAYER
        || !sound(loader, context, capacity)
        || !spec_capacity(s, &numerator, &denominator) || numerator == 0)
        return;
    clash(loader, context, capacity, "`%s` cuts sequences, of whose tokens "
          "`%s` turns some away: no rank has them all",
          saying(loader, context), saying(loader, capacity));
}

/* A sequence is cut into whole chunks. */
static void check_context(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId context = KEY_parallel_context, length = KEY_train_sequence;
    if (loader->bad[context] || s->parallel_context == 1)
        return;
    check_context_capacity(loader);
    if (sound(loader, context, length)
        && s->train_sequence % (2 * s->parallel_context))
        clash(loader, context, length, "`%s` cuts a sequence into %lld chunks, "
              "which do not divide `%s`", saying(loader, context),
              (long long)(2 * s->parallel_context), saying(loader, length));
}

static void check_experts(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId ranks = KEY_parallel_experts, data = KEY_parallel_data;
    if (loader->bad[ranks] || s->parallel_experts == 1)
        return;
    if (s->model_experts == MODEL_EXPERTS_NONE) {
        clash(loader, ranks, KEY_model_experts, "`%s` shares experts, and "
              "there are none", saying(loader, ranks));
        return;
    }
    divides(loader, ranks, data);
    divides(loader, ranks, KEY_model_experts_count);
}

void check_plan_rules(Loader *loader)
{
    check_experts(loader);
    check_context(loader);
    check_tensor(loader);
    check_shard_group(loader);
    check_sequence_parallel(loader);
    check_pipeline(loader);
}
