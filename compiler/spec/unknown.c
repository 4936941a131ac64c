/* unknown.c: the best hint for a key or a choice that does not exist: another
 * tool's name for ours, the right word at the wrong level, or a misspelling. */
#include "loader.h"

typedef struct Foreign { const char *name, *ours; } Foreign;

/* Names of other tools (Hugging Face configs, nanoGPT, Megatron, DeepSpeed,
 * PyTorch, lecture notes) and where their meaning is here. */
static const Foreign foreign_keys[] = {
    { "n_layers", "model.blocks" }, { "n_layer", "model.blocks" },
    { "num_layers", "model.blocks" }, { "num_hidden_layers", "model.blocks" },
    { "layers", "model.blocks" }, { "depth", "model.blocks" },
    { "num_blocks", "model.blocks" }, { "n_blocks", "model.blocks" },
    { "hidden_size", "model.dim" }, { "n_embd", "model.dim" },
    { "d_model", "model.dim" }, { "embed_dim", "model.dim" },
    { "hidden_dim", "model.dim" }, { "embedding_dim", "model.dim" },
    { "n_head", "model.heads" }, { "n_heads", "model.heads" },
    { "num_heads", "model.heads" }, { "nhead", "model.heads" },
    { "num_attention_heads", "model.heads" },
    { "num_key_value_heads", "model.kv_heads" }, { "n_kv_heads", "model.kv_heads" },
    { "n_kv_head", "model.kv_heads" }, { "num_query_groups", "model.kv_heads" },
    { "d_head", "model.head_dim" }, { "kv_channels", "model.head_dim" },
    { "intermediate_size", "model.ff.dim" }, { "d_ff", "model.ff.dim" },
    { "ffn_dim", "model.ff.dim" }, { "n_inner", "model.ff.dim" },
    { "ffn_hidden_size", "model.ff.dim" }, { "dim_feedforward", "model.ff.dim" },
    { "mlp", "model.ff" }, { "ffn", "model.ff" }, { "feed_forward", "model.ff" },
    { "hidden_act", "model.ff.activation" }, { "act", "model.ff.activation" },
    { "activation_function", "model.ff.activation" },
    { "max_position_embeddings", "model.context" }, { "block_size", "model.context" },
    { "n_positions", "model.context" }, { "n_ctx", "model.context" },
    { "context_length", "model.context" }, { "max_seq_len", "model.context" },
    { "seq_length", "train.sequence" }, { "seq_len", "train.sequence" },
    { "sequence_length", "train.sequence" },
    { "vocab_size", "model.vocab" }, { "n_vocab", "model.vocab" },
    { "rope_theta", "model.position.rotary.base" },
    { "theta", "model.position.rotary.base" },
    { "rope_scaling", "model.position.rotary.scaling" },
    { "position_embedding_type", "model.position" }, { "positions", "model.position" },
    { "pos_emb", "model.position" },
    { "low_freq_factor", "model.position.rotary.scaling.llama3.low" },
    { "high_freq_factor", "model.position.rotary.scaling.llama3.high" },
    { "original_max_position_embeddings", "model.position.rotary.scaling.llama3.original" },
    { "causal", "model.attention.mask" }, { "sliding_window", "model.attention.window" },
    { "window_size", "model.attention.window" }, { "attn", "model.attention" },
    { "attention_bias", "model.attention.bias" }, { "qkv_bias", "model.attention.bias" },
    { "attention_dropout", "model.attention.dropout" },
    { "attn_pdrop", "model.attention.dropout" },
    { "hidden_dropout_prob", "model.dropout" }, { "resid_pdrop", "model.dropout" },
    { "embd_pdrop", "model.dropout" }, { "p_dropout", "model.dropout" },
    { "layer_norm_eps", "model.norm.eps" }, { "rms_norm_eps", "model.norm.eps" },
    { "layer_norm_epsilon", "model.norm.eps" }, { "norm_eps", "model.norm.eps" },
    { "layernorm", "model.norm" }, { "rmsnorm", "model.norm" },
    { "normalization", "model.norm.type" },
    { "type_vocab_size", "model.token_types" }, { "tie_word_embeddings", "model.tie_embeddings" },
    { "weight_tying", "model.tie_embeddings" }, { "num_experts", "model.experts.count" },
    { "num_local_experts", "model.experts.count" }, { "moe", "model.experts" },
    { "num_experts_per_tok", "model.experts.top_k" }, { "topk", "model.experts.top_k" },
    { "capacity_factor", "model.experts.capacity" },
    { "router_aux_loss_coef", "model.experts.aux_loss" },
    { "num_classes", "model.head.classify.classes" },
    { "num_labels", "model.head.classify.classes" },
    { "architecture", "model.kind" }, { "model_type", "model.kind" },
    { "batch_size", "train.batch" }, { "global_batch_size", "train.batch" },
    { "micro_batch_size", "train.micro_batch" },
    { "per_device_train_batch_size", "train.micro_batch" },
    { "gradient_accumulation_steps", "train.micro_batch" },
    { "grad_accum", "train.micro_batch" }, { "accumulate", "train.micro_batch" },
    { "max_steps", "train.steps" }, { "max_iters", "train.steps" },
    { "iterations", "train.steps" }, { "num_steps", "train.steps" },
    { "random_seed", "train.seed" }, { "dataset", "train.data" },
    { "data_path", "train.data.path" }, { "train_data", "train.data.path" },
    { "val_data", "train.data.eval" }, { "validation", "train.data.eval" },
    { "val_split", "train.data.split" }, { "shuffle", "train.data.order" },
    { "mlm_probability", "train.masking.rate" }, { "mask_rate", "train.masking.rate" },
    { "learning_rate", "train.optimizer.lr" }, { "max_lr", "train.optimizer.lr" },
    { "optim", "train.optimizer" }, { "adam_epsilon", "train.optimizer.eps" },
    { "beta1", "train.optimizer.betas" }, { "beta2", "train.optimizer.betas" },
    { "adam_beta1", "train.optimizer.betas" }, { "adam_beta2", "train.optimizer.betas" },
    { "grad_clip", "train.optimizer.clip" }, { "max_grad_norm", "train.optimizer.clip" },
    { "clip_grad", "train.optimizer.clip" }, { "gradient_clip", "train.optimizer.clip" },
    { "wd", "train.optimizer.weight_decay" }, { "lr_scheduler_type", "train.schedule.type" },
    { "lr_scheduler", "train.schedule" }, { "scheduler", "train.schedule" },
    { "warmup_steps", "train.schedule.warmup" }, { "warmup_iters", "train.schedule.warmup" },
    { "lr_decay_iters", "train.steps" }, { "decay_steps", "train.schedule.decay" },
    { "initializer_range", "train.init.std" }, { "init_std", "train.init.std" },
    { "dtype", "train.precision.compute" }, { "torch_dtype", "train.precision.compute" },
    { "fp16", "train.precision.compute" }, { "bf16", "train.precision.compute" },
    { "save_steps", "train.checkpoint.every" }, { "save_total_limit", "train.checkpoint.keep" },
    { "eval_steps", "train.eval.every" }, { "eval_interval", "train.eval.every" },
    { "eval_iters", "train.eval.steps" }, { "frozen", "train.freeze" },
    { "gradient_checkpointing", "memory.recompute" }, { "remat", "memory.recompute" },
    { "activation_checkpointing", "memory.recompute" },
    { "offload_optimizer", "memory.offload" }, { "cpu_offload", "memory.offload" },
    { "dp", "parallel.data" }, { "data_parallel", "parallel.data" },
    { "tp", "parallel.tensor" }, { "tensor_parallel", "parallel.tensor" },
    { "tensor_model_parallel_size", "parallel.tensor" },
    { "pp", "parallel.pipeline.stages" }, { "pipeline_parallel", "parallel.pipeline.stages" },
    { "pipeline_model_parallel_size", "parallel.pipeline.stages" },
    { "cp", "parallel.context" }, { "context_parallel", "parallel.context" },
    { "sp", "parallel.sequence_parallel" }, { "ep", "parallel.experts" },
    { "expert_parallel", "parallel.experts" }, { "zero", "parallel.shard" },
    { "zero_stage", "parallel.shard" }, { "fsdp", "parallel.shard" },
    { "bucket_size", "parallel.bucket" }, { "deterministic", "reproducible.order" },
};

static const Foreign foreign_choices[] = {
    { "rope", "rotary" }, { "absolute", "learned" }, { "sinusoid", "sinusoidal" },
    { "sin", "sinusoidal" }, { "gelu_new", "gelu-tanh" }, { "gelu_tanh", "gelu-tanh" },
    { "gelu_pytorch_tanh", "gelu-tanh" }, { "swish", "silu" }, { "swiglu", "silu" },
    { "layer_norm", "layernorm" }, { "ln", "layernorm" }, { "rms_norm", "rmsnorm" },
    { "rms", "rmsnorm" }, { "prenorm", "pre" }, { "postnorm", "post" },
    { "fp32", "f32" }, { "float32", "f32" }, { "float", "f32" }, { "bfloat16", "bf16" },
    { "fp16", "f16" }, { "float16", "f16" }, { "half", "f16" },
    { "bidirectional", "full" }, { "gpt", "decoder" }, { "causal-lm", "decoder" },
    { "bert", "encoder" }, { "seq2seq", "encoder-decoder" }, { "clm", "next-token" },
    { "dpo", "preference" }, { "momentum", "sgd" }, { "warmup-stable-decay", "wsd" },
    { "xavier_normal", "xavier" }, { "random", "shuffled" }, { "full_block", "block" },
    { "selective", "attention" }, { "zero1", "optimizer" }, { "zero2", "gradients" },
    { "zero3", "parameters" }, { "fsdp", "parameters" }, { "zb", "zero-bubble" },
    { "deterministic", "fixed" }, { "bin", "nanogpt" }, { "llm.c", "llmc" },
};

static const char *find_foreign(const Foreign *at, size_t count,
                                const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(at[i].name, name))
            return at[i].ours;
    return NULL;
}

/* The paths that end in `name`, at most three, as "`a.name` or `b.name`". */
static bool add_places(const char *name, Buf *out)
{
    enum { MOST = 3 };
    int found = 0;
    for (int i = 0; i < KEY_COUNT && found < MOST; i++)
        if (!strcmp(key_name((KeyId)i), name))
            buf_printf(out, "%s`%s`", found++ ? " or " : "",
                       key_info((KeyId)i)->path);
    return found > 0;
}

/* The words that may stand below a parent, into `at`; how many. */
static int names_below(KeyId parent, const char *at[KEY_COUNT])
{
    int count = 0;
    for (int i = 0; i < KEY_COUNT; i++)
        if (key_parent((KeyId)i) == parent)
            at[count++] = key_name((KeyId)i);
    return count;
}

/* "` belongs under `train.optimizer`" for a word that is right elsewhere. */
static bool hint_elsewhere(const char *name, Problem *about)
{
    Buf places = {0};
    bool found = add_places(name, &places);
    if (found)
        problem_hint(about, "it belongs at %s", places.text);
    buf_free(&places);
    return found;
}

static void hint_list(const char *at[], int count, Problem *about)
{
    Buf names = {0};
    for (int i = 0; i < count; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", at[i]);
    problem_hint(about, "the keys here are %s", names.text);
    buf_free(&names);
}

/* A misspelt word of any level: its path. */
static const char *nearest_anywhere(const char *name)
{
    const char *all[KEY_COUNT];
    for (int i = 0; i < KEY_COUNT; i++)
        all[i] = key_name((KeyId)i);
    const char *found = nearest_word(name, all, KEY_COUNT);
    for (int i = 0; found && i < KEY_COUNT; i++)
        if (all[i] == found)
            return key_info((KeyId)i)->path;
    return NULL;
}

/* A problem is reported about what was meant: it is not missing as well. */
static void meant(Loader *loader, KeyId key)
{
    if (key != KEY_COUNT && loader->spec && !loader->spec->given[key])
        loader->bad[key] = true;
}

void unknown_key(Loader *loader, KeyId parent, const char *name, Loc loc)
{
    const char *level = parent == KEY_ROOT ? "a spec"
        : arena_printf(loader->arena, "`%s`", key_info(parent)->path);
    Problem *about = problem(&loader->problems, loc, "unknown key `%s` in %s",
                             shown_text(loader->arena, name), level);
    const char *names[KEY_COUNT];
    int count = names_below(parent, names);
    const char *ours = find_foreign(
        foreign_keys, sizeof foreign_keys / sizeof *foreign_keys, name);
    const char *near = nearest_word(name, names, count);
    if (ours) {
        problem_hint(about, "here that is `%s`", ours);
        meant(loader, key_find(ours));
    } else if (strchr(name, '.') && key_find(name) != KEY_COUNT) {
        problem_hint(about, "write `%s` as maps in maps", name);
        meant(loader, key_find(name));
    } else if (hint_elsewhere(name, about)) {
        return;
    } else if (near) {
        problem_hint(about, "did you mean `%s`?", near);
        meant(loader, key_child(parent, near));
    } else if (nearest_anywhere(name)) {
        problem_hint(about, "did you mean `%s`?", nearest_anywhere(name));
    } else {
        hint_list(names, count, about);
    }
}

void unknown_choice(KeyId key, const char *text, Problem *about)
{
    const KeyInfo *info = key_info(key);
    const char *names[32];
    int count = 0, sayable = info->choice_count - (info->type == SPEC_form);
    for (; count < sayable && count < 32; count++)
        names[count] = info->choices[count].text;
    const char *ours =
        find_foreign(foreign_choices,
                     sizeof foreign_choices / sizeof *foreign_choices, text);
    for (int i = 0; ours && i < count; i++)
        if (!strcmp(names[i], ours)) {
            problem_hint(about, "here that is `%s`", ours);
            return;
        }
    const char *near = nearest_word(text, names, count);
    if (near && !about->hint)
        problem_hint(about, "did you mean `%s`?", near);
}
