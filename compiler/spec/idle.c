/* idle.c: keys that were said and change nothing under the rest of the spec.
 * Each is noted where it stands, once; it is no error, for an overlay or a
 * setting may have taken away what the file says it for. */
#include "loader.h"

/* Ranks that split what is sharded. */
static int64_t ranks_a_shard_group(const Spec *s)
{
    return s->parallel_context
        * (s->parallel_shard_group ? s->parallel_shard_group
                                   : s->parallel_data);
}

/* The key that leaves a shard group one rank, which splits nothing. */
static KeyId unsplit_by(const Spec *s)
{
    return s->parallel_data * s->parallel_context == 1
        ? KEY_parallel_data : KEY_parallel_shard_group;
}

KeyId fast_order_undone_by(const Spec *s)
{
    bool splits = s->parallel_shard == PARALLEL_SHARD_GRADIENTS
        || s->parallel_shard == PARALLEL_SHARD_PARAMETERS;
    bool relative = s->model_position == MODEL_POSITION_RELATIVE
        || s->model_position == MODEL_POSITION_RELATIVE_LEARNED;
    bool several = s->train_batch / s->parallel_data > s->train_micro_batch
        || s->reproducible_groups != s->parallel_data;
    return !splits                             ? KEY_parallel_shard
         : ranks_a_shard_group(s) == 1         ? unsplit_by(s)
         : s->parallel_pipeline_stages > 1     ? KEY_parallel_pipeline_stages
         : relative                            ? KEY_model_position
         : !several                            ? KEY_train_micro_batch
                                               : KEY_COUNT;
}

static bool masks(const Spec *s)
{
    return s->train_objective == TRAIN_OBJECTIVE_MASKED_TOKEN
        || s->train_objective == TRAIN_OBJECTIVE_MASKED_TOKEN_NEXT_SENTENCE;
}

void note_idle_keys(Loader *loader)
{
    const Spec *s = loader->spec;
    bool alone = s->parallel_data * s->parallel_context == 1;
    bool whole = ranks_a_shard_group(s) == 1;
    bool split = s->parallel_shard != PARALLEL_SHARD_NONE && !whole;
    bool one_stage = s->parallel_pipeline_stages == 1;
    bool sgd = s->train_optimizer_type == TRAIN_OPTIMIZER_TYPE_SGD;
    const KeyId undone_by = fast_order_undone_by(s);
    /* of a key the first row that holds is said */
    const struct { KeyId key, with; bool idle; } rows[] = {
        { KEY_model_attention_window, KEY_model_context,
          s->model_attention_window >= s->model_context },
        { KEY_model_experts_buffer, KEY_parallel_experts,
          s->model_experts == MODEL_EXPERTS_LAYER
              && s->parallel_experts == 1 },
        { KEY_train_preference_beta, KEY_train_objective,
          s->train_objective != TRAIN_OBJECTIVE_PREFERENCE },
        { KEY_train_masking_rate, KEY_train_objective, !masks(s) },
        { KEY_train_masking_mask, KEY_train_objective, !masks(s) },
        { KEY_train_masking_random, KEY_train_objective, !masks(s) },
        { KEY_train_optimizer_betas, KEY_train_optimizer_type, sgd },
        { KEY_train_optimizer_eps, KEY_train_optimizer_type, sgd },
        { KEY_train_schedule_min_lr, KEY_train_schedule_type,
          s->train_schedule_type == TRAIN_SCHEDULE_TYPE_CONSTANT },
        { KEY_memory_budget, KEY_memory_recompute,
          s->memory_recompute != MEMORY_RECOMPUTE_AUTO },
        { KEY_parallel_shard, unsplit_by(s), whole },
        { KEY_parallel_bucket, KEY_parallel_data, alone },
        { KEY_parallel_bucket, KEY_parallel_shard, split },
        { KEY_parallel_bucket, KEY_parallel_experts, s->parallel_experts > 1 },
        { KEY_parallel_overlap, KEY_parallel_shard,
          s->parallel_shard != PARALLEL_SHARD_PARAMETERS },
        { KEY_parallel_overlap, unsplit_by(s), whole },
        { KEY_parallel_pipeline_split, KEY_parallel_pipeline_stages,
          one_stage },
        { KEY_parallel_pipeline_schedule, KEY_parallel_pipeline_stages,
          one_stage },
        { KEY_reproducible_order, undone_by, undone_by != KEY_COUNT },
    };
    bool noted[KEY_COUNT] = {false};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        KeyId key = rows[i].key;
        if (!rows[i].idle || noted[key] || !s->given[key]
            || holds_default(loader, key))
            continue;
        noted[key] = true;
        remark(&loader->problems, s->loc[key], "`%s` has no effect with `%s`",
               saying(loader, key), saying(loader, rows[i].with));
    }
}
