/* idle.c: keys that were said and change nothing under the rest of the spec.
 * Each is noted where it stands; it is no error, for an overlay or a setting
 * may have taken away what the file says it for. */
#include "loader.h"

void note_idle_keys(Loader *loader)
{
    const Spec *s = loader->spec;
    bool alone = s->parallel_data * s->parallel_context == 1;
    bool sharded = s->parallel_shard != PARALLEL_SHARD_NONE;
    bool one_stage = s->parallel_pipeline_stages == 1;
    const struct { KeyId key, with; bool idle; } rows[] = {
        { KEY_memory_budget, KEY_memory_recompute,
          s->memory_recompute != MEMORY_RECOMPUTE_AUTO },
        { KEY_parallel_shard, KEY_parallel_data, alone },
        { KEY_parallel_bucket, KEY_parallel_data, alone },
        { KEY_parallel_bucket, KEY_parallel_shard, !alone && sharded },
        { KEY_parallel_overlap, KEY_parallel_shard,
          s->parallel_shard != PARALLEL_SHARD_PARAMETERS },
        { KEY_parallel_pipeline_split, KEY_parallel_pipeline_stages,
          one_stage },
        { KEY_parallel_pipeline_schedule, KEY_parallel_pipeline_stages,
          one_stage },
        { KEY_model_experts_buffer, KEY_parallel_experts,
          s->model_experts == MODEL_EXPERTS_LAYER
              && s->parallel_experts == 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].idle && s->given[rows[i].key]
            && !holds_default(loader, rows[i].key))
            remark(&loader->problems, s->loc[rows[i].key],
                   "`%s` has no effect with `%s`", saying(loader, rows[i].key),
                   saying(loader, rows[i].with));
}
