/* unknown.c: the best hint for a key or a choice that does not exist: another
 * tool's name for ours, the right word at the wrong level, or a misspelling. */
#include "loader.h"

typedef struct ForeignKey { const char *name; KeyId ours; } ForeignKey;
typedef struct ForeignChoice { const char *name, *ours; } ForeignChoice;

/* Names of other tools (Hugging Face configs, nanoGPT, Megatron, DeepSpeed,
 * PyTorch, lecture notes) and where their meaning is here. */
static const ForeignKey foreign_keys[] = {
    { "n_layers", KEY_model_blocks }, { "n_layer", KEY_model_blocks },
    { "num_layers", KEY_model_blocks },
    { "num_hidden_layers", KEY_model_blocks }, { "layers", KEY_model_blocks },
    { "depth", KEY_model_blocks }, { "num_blocks", KEY_model_blocks },
    { "n_blocks", KEY_model_blocks },
    { "encoder_layers", KEY_model_blocks_encoder },
    { "num_encoder_layers", KEY_model_blocks_encoder },
    { "decoder_layers", KEY_model_blocks_decoder },
    { "num_decoder_layers", KEY_model_blocks_decoder },
    { "hidden_size", KEY_model_dim },
    { "n_embd", KEY_model_dim }, { "d_model", KEY_model_dim },
    { "embed_dim", KEY_model_dim }, { "hidden_dim", KEY_model_dim },
    { "embedding_dim", KEY_model_dim }, { "n_head", KEY_model_heads },
    { "n_heads", KEY_model_heads }, { "num_heads", KEY_model_heads },
    { "nhead", KEY_model_heads }, { "num_attention_heads", KEY_model_heads },
    { "num_key_value_heads", KEY_model_kv_heads },
    { "n_kv_heads", KEY_model_kv_heads }, { "n_kv_head", KEY_model_kv_heads },
    { "num_query_groups", KEY_model_kv_heads },
    { "d_head", KEY_model_head_dim }, { "kv_channels", KEY_model_head_dim },
    { "intermediate_size", KEY_model_ff_dim }, { "d_ff", KEY_model_ff_dim },
    { "ffn_dim", KEY_model_ff_dim }, { "n_inner", KEY_model_ff_dim },
    { "ffn_hidden_size", KEY_model_ff_dim },
    { "dim_feedforward", KEY_model_ff_dim }, { "mlp", KEY_model_ff },
    { "ffn", KEY_model_ff }, { "feed_forward", KEY_model_ff },
    { "hidden_act", KEY_model_ff_activation },
    { "act", KEY_model_ff_activation },
    { "activation_function", KEY_model_ff_activation },
    { "max_position_embeddings", KEY_model_context },
    { "block_size", KEY_model_context }, { "n_positions", KEY_model_context },
    { "n_ctx", KEY_model_context }, { "context_length", KEY_model_context },
    { "max_seq_len", KEY_model_context }, { "seq_length", KEY_train_sequence },
    { "seq_len", KEY_train_sequence },
    { "sequence_length", KEY_train_sequence },
    { "vocab_size", KEY_model_vocab }, { "n_vocab", KEY_model_vocab },
    { "rope_theta", KEY_model_position_rotary_base },
    { "theta", KEY_model_position_rotary_base },
    { "rope_scaling", KEY_model_position_rotary_scaling },
    { "position_embedding_type", KEY_model_position },
    { "positions", KEY_model_position }, { "pos_emb", KEY_model_position },
    { "low_freq_factor", KEY_model_position_rotary_scaling_llama3_low },
    { "high_freq_factor", KEY_model_position_rotary_scaling_llama3_high },
    { "original_max_position_embeddings", KEY_model_position_rotary_scaling_llama3_original },
    { "causal", KEY_model_attention_mask },
    { "sliding_window", KEY_model_attention_window },
    { "window_size", KEY_model_attention_window },
    { "attn", KEY_model_attention },
    { "attention_bias", KEY_model_attention_bias },
    { "qkv_bias", KEY_model_attention_bias },
    { "attention_dropout", KEY_model_attention_dropout },
    { "attn_pdrop", KEY_model_attention_dropout },
    { "hidden_dropout_prob", KEY_model_dropout },
    { "resid_pdrop", KEY_model_dropout }, { "embd_pdrop", KEY_model_dropout },
    { "p_dropout", KEY_model_dropout },
    { "layer_norm_eps", KEY_model_norm_eps },
    { "rms_norm_eps", KEY_model_norm_eps },
    { "layer_norm_epsilon", KEY_model_norm_eps },
    { "norm_eps", KEY_model_norm_eps }, { "layernorm", KEY_model_norm },
    { "rmsnorm", KEY_model_norm }, { "normalization", KEY_model_norm_type },
    { "type_vocab_size", KEY_model_token_types },
    { "tie_word_embeddings", KEY_model_tie_embeddings },
    { "weight_tying", KEY_model_tie_embeddings },
    { "num_experts", KEY_model_experts_count },
    { "num_local_experts", KEY_model_experts_count },
    { "moe", KEY_model_experts },
    { "num_experts_per_tok", KEY_model_experts_top_k },
    { "topk", KEY_model_experts_top_k },
    { "capacity_factor", KEY_model_experts_capacity },
    { "router_aux_loss_coef", KEY_model_experts_aux_loss },
    { "num_classes", KEY_model_head_classify_classes },
    { "num_labels", KEY_model_head_classify_classes },
    { "n_classes", KEY_model_head_classify_classes },
    { "pooling", KEY_model_head_classify_pool },
    { "add_pooling_layer", KEY_model_head_classify_pooler },
    { "image_size", KEY_model_input_image_size },
    { "img_size", KEY_model_input_image_size },
    { "patch_size", KEY_model_input_image_patch },
    { "num_channels", KEY_model_input_image_channels },
    { "in_channels", KEY_model_input_image_channels },
    { "num_nodes", KEY_model_input_graph_nodes },
    { "num_node_features", KEY_model_input_graph_features },
    { "pad_token_id", KEY_train_data_special_pad },
    { "bos_token_id", KEY_train_data_special_bos },
    { "eos_token_id", KEY_train_data_special_eos },
    { "unk_token_id", KEY_train_data_special_unk },
    { "cls_token_id", KEY_train_data_special_cls },
    { "sep_token_id", KEY_train_data_special_sep },
    { "mask_token_id", KEY_train_data_special_mask },
    { "label_smoothing_factor", KEY_train_label_smoothing },
    { "architecture", KEY_model_kind }, { "model_type", KEY_model_kind },
    { "batch_size", KEY_train_batch }, { "global_batch_size", KEY_train_batch },
    { "micro_batch_size", KEY_train_micro_batch },
    { "per_device_train_batch_size", KEY_train_micro_batch },
    { "gradient_accumulation_steps", KEY_train_micro_batch },
    { "grad_accum", KEY_train_micro_batch },
    { "accumulate", KEY_train_micro_batch }, { "max_steps", KEY_train_steps },
    { "max_iters", KEY_train_steps }, { "iterations", KEY_train_steps },
    { "num_steps", KEY_train_steps }, { "random_seed", KEY_train_seed },
    { "dataset", KEY_train_data }, { "data_path", KEY_train_data_path },
    { "train_data", KEY_train_data_path }, { "val_data", KEY_train_data_eval },
    { "validation", KEY_train_data_eval },
    { "val_split", KEY_train_data_split }, { "shuffle", KEY_train_data_order },
    { "mlm_probability", KEY_train_masking_rate },
    { "mask_rate", KEY_train_masking_rate },
    { "learning_rate", KEY_train_optimizer_lr },
    { "max_lr", KEY_train_optimizer_lr }, { "optim", KEY_train_optimizer },
    { "adam_epsilon", KEY_train_optimizer_eps },
    { "beta1", KEY_train_optimizer_betas },
    { "beta2", KEY_train_optimizer_betas },
    { "adam_beta1", KEY_train_optimizer_betas },
    { "adam_beta2", KEY_train_optimizer_betas },
    { "grad_clip", KEY_train_optimizer_clip },
    { "max_grad_norm", KEY_train_optimizer_clip },
    { "clip_grad", KEY_train_optimizer_clip },
    { "gradient_clip", KEY_train_optimizer_clip },
    { "wd", KEY_train_optimizer_weight_decay },
    { "lr_scheduler_type", KEY_train_schedule_type },
    { "lr_scheduler", KEY_train_schedule }, { "scheduler", KEY_train_schedule },
    { "warmup_steps", KEY_train_schedule_warmup },
    { "warmup_iters", KEY_train_schedule_warmup },
    { "lr_decay_iters", KEY_train_steps },
    { "decay_steps", KEY_train_schedule_decay },
    { "initializer_range", KEY_train_init_std },
    { "init_std", KEY_train_init_std },
    { "dtype", KEY_train_precision_compute },
    { "torch_dtype", KEY_train_precision_compute },
    { "fp16", KEY_train_precision_compute },
    { "bf16", KEY_train_precision_compute },
    { "save_steps", KEY_train_checkpoint_every },
    { "save_total_limit", KEY_train_checkpoint_keep },
    { "eval_steps", KEY_train_eval_every },
    { "eval_interval", KEY_train_eval_every },
    { "eval_iters", KEY_train_eval_steps }, { "frozen", KEY_train_freeze },
    { "gradient_checkpointing", KEY_memory_recompute },
    { "remat", KEY_memory_recompute },
    { "activation_checkpointing", KEY_memory_recompute },
    { "offload_optimizer", KEY_memory_offload },
    { "cpu_offload", KEY_memory_offload }, { "dp", KEY_parallel_data },
    { "data_parallel", KEY_parallel_data }, { "tp", KEY_parallel_tensor },
    { "tensor_parallel", KEY_parallel_tensor },
    { "tensor_model_parallel_size", KEY_parallel_tensor },
    { "pp", KEY_parallel_pipeline_stages },
    { "pipeline_parallel", KEY_parallel_pipeline_stages },
    { "pipeline_model_parallel_size", KEY_parallel_pipeline_stages },
    { "cp", KEY_parallel_context },
    { "context_parallel", KEY_parallel_context },
    { "sp", KEY_parallel_sequence_parallel }, { "ep", KEY_parallel_experts },
    { "expert_parallel", KEY_parallel_experts }, { "zero", KEY_parallel_shard },
    { "zero_stage", KEY_parallel_shard }, { "fsdp", KEY_parallel_shard },
    { "bucket_size", KEY_parallel_bucket },
    { "deterministic", KEY_reproducible_order },
};

static const ForeignChoice foreign_choices[] = {
    { "rope", "rotary" }, { "absolute", "learned" }, { "sinusoid", "sinusoidal" },
    { "sin", "sinusoidal" }, { "gelu_new", "gelu-tanh" }, { "gelu_tanh", "gelu-tanh" },
    { "gelu_pytorch_tanh", "gelu-tanh" }, { "swish", "silu" }, { "swiglu", "silu" },
    { "layer_norm", "layernorm" }, { "ln", "layernorm" }, { "rms_norm", "rmsnorm" },
    { "rms", "rmsnorm" }, { "prenorm", "pre" }, { "postnorm", "post" },
    { "fp32", "f32" }, { "float32", "f32" }, { "float", "f32" }, { "bfloat16", "bf16" },
    { "fp16", "f16" }, { "float16", "f16" }, { "half", "f16" },
    { "bidirectional", "full" }, { "gpt", "decoder" }, { "causal-lm", "decoder" },
    { "bert", "encoder" }, { "seq2seq", "encoder-decoder" }, { "clm", "next-token" },
    { "dpo", "preference" }, { "mlm", "masked-token" },
    { "nsp", "masked-token+next-sentence" },
    { "classification", "classify" }, { "classifier", "classify" },
    { "lm_head", "lm" }, { "avg", "mean" }, { "average", "mean" },
    { "token", "cls" }, { "translation", "seq2seq" },
    { "t5", "encoder-decoder" }, { "transformer-xl", "relative" },
    { "vit", "encoder" }, { "images", "image" }, { "graphs", "graph" },
    { "mnist", "idx" }, { "momentum", "sgd" }, { "warmup-stable-decay", "wsd" },
    { "xavier_normal", "xavier" }, { "random", "shuffled" }, { "full_block", "block" },
    { "selective", "attention" }, { "zero1", "optimizer" }, { "zero2", "gradients" },
    { "zero3", "parameters" }, { "fsdp", "parameters" }, { "zb", "zero-bubble" },
    { "deterministic", "fixed" }, { "bin", "nanogpt" }, { "llm.c", "llmc" },
};

/* What another tool's key is here; KEY_COUNT where nothing is known of it. */
static KeyId find_foreign_key(const char *name)
{
    enum { COUNT = sizeof foreign_keys / sizeof *foreign_keys };
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(foreign_keys[i].name, name))
            return foreign_keys[i].ours;
    return KEY_COUNT;
}

/* The same of a choice; it need not be one of the key's. */
static const char *find_foreign_choice(const char *name)
{
    enum { COUNT = sizeof foreign_choices / sizeof *foreign_choices };
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(foreign_choices[i].name, name))
            return foreign_choices[i].ours;
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

/* A hint for a word that is right elsewhere. */
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
    if (loader->spec && !loader->spec->given[key])
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
    KeyId ours = find_foreign_key(name), dotted = key_find(name);
    const char *near = nearest_word(name, names, count);
    if (ours != KEY_COUNT) {
        problem_hint(about, "here that is `%s`", key_info(ours)->path);
        meant(loader, ours);
    } else if (strchr(name, '.') && dotted != KEY_COUNT) {
        problem_hint(about, "write `%s` as maps in maps", name);
        meant(loader, dotted);
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
    const char *ours = find_foreign_choice(text);
    for (int i = 0; ours && i < count; i++)
        if (!strcmp(names[i], ours)) {
            problem_hint(about, "here that is `%s`", ours);
            return;
        }
    const char *near = nearest_word(text, names, count);
    if (near && !about->hint)
        problem_hint(about, "did you mean `%s`?", near);
}
