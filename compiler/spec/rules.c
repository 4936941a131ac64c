/* rules.c: what no single key can know: rules between keys, each of which
 * names the rule and both values. A rule about a key that is bad already is
 * silent. Here are those of heads, positions, the batch and the optimizer;
 * rules_model.c has those of what a model is and does, rules_plan.c those of
 * the plan. */
#include "loader.h"

/* ---- problems between two keys ------------------------------------------- */

bool sound(const Loader *loader, KeyId a, KeyId b)
{
    return !loader->bad[a] && !loader->bad[b];
}

void clash(Loader *loader, KeyId a, KeyId b, const char *format, ...)
{
    const Spec *s = loader->spec;
    KeyId at = s->given[a] || !s->given[b] ? a : b, other = at == a ? b : a;
    Buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    Problem *about = problem(&loader->problems, s->loc[at], "%s", text.text);
    buf_free(&text);
    if (s->given[other])
        problem_note(about, s->loc[other], "`%s`, said here",
                     saying(loader, other));
    else
        problem_hint(about, "`%s` by default", saying(loader, other));
    loader->bad[at] = true;
}

void divides(Loader *loader, KeyId divisor, KeyId number)
{
    int64_t by = *(int64_t *)value_field(loader->spec, divisor);
    int64_t of = *(int64_t *)value_field(loader->spec, number);
    if (sound(loader, divisor, number) && of % by)
        clash(loader, divisor, number, "`%s` does not divide `%s`",
              saying(loader, divisor), saying(loader, number));
}

/* ---- the model ----------------------------------------------------------- */

static void check_heads(Loader *loader)
{
    const Spec *s = loader->spec;
    if (!s->given[KEY_model_head_dim])
        divides(loader, KEY_model_heads, KEY_model_dim);
    divides(loader, KEY_model_kv_heads, KEY_model_heads);
    if (sound(loader, KEY_model_head_dim, KEY_model_position)
        && s->model_position == MODEL_POSITION_ROTARY && s->model_head_dim % 2)
        clash(loader, KEY_model_head_dim, KEY_model_position,
              "rotary positions turn pairs: `%s` must be even",
              saying(loader, KEY_model_head_dim));
}

/* Do the heads side by side make up dim? A rule of `reason`, which is false. */
static void check_heads_fill(Loader *loader, KeyId reason)
{
    const Spec *s = loader->spec;
    if (sound(loader, KEY_model_head_dim, KEY_model_heads)
        && sound(loader, KEY_model_dim, reason)
        && s->model_head_dim * s->model_heads != s->model_dim)
        clash(loader, KEY_model_head_dim, reason,
              "with `%s` the heads side by side are `%s` wide: `%s` times "
              "`%s` is not that", saying(loader, reason),
              saying(loader, KEY_model_dim), saying(loader, KEY_model_heads),
              saying(loader, KEY_model_head_dim));
}

static void check_attention(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId off = KEY_model_attention_projections;
    bool projections = s->model_attention_projections;
    if (projections && !s->model_attention_output)
        check_heads_fill(loader, KEY_model_attention_output);
    if (projections || loader->bad[off])
        return;
    check_heads_fill(loader, off);
    if (sound(loader, KEY_model_attention_qk_norm, off)
        && s->model_attention_qk_norm)
        clash(loader, KEY_model_attention_qk_norm, off,
              "attention without projections has no parameters, and `%s` would",
              saying(loader, KEY_model_attention_qk_norm));
    if (sound(loader, KEY_model_kv_heads, KEY_model_heads)
        && s->model_kv_heads != s->model_heads)
        clash(loader, KEY_model_kv_heads, off,
              "without projections keys are the input's slices: `%s` must be "
              "as many as `%s`", saying(loader, KEY_model_kv_heads),
              saying(loader, KEY_model_heads));
}

static void check_positions(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId low = KEY_model_position_rotary_scaling_llama3_low;
    const KeyId high = KEY_model_position_rotary_scaling_llama3_high;
    if (key_active(s, low) && sound(loader, low, high)
        && s->model_position_rotary_scaling_llama3_low
            >= s->model_position_rotary_scaling_llama3_high)
        clash(loader, low, high, "`%s` must be below `%s`",
              saying(loader, low), saying(loader, high));
    if (s->model_input == MODEL_INPUT_TOKENS
        && sound(loader, KEY_train_sequence, KEY_model_context)
        && s->train_sequence > s->model_context)
        clash(loader, KEY_train_sequence, KEY_model_context,
              "`%s` is longer than `%s`", saying(loader, KEY_train_sequence),
              saying(loader, KEY_model_context));
}

/* ---- the batch and its groups -------------------------------------------- */

bool is_power_of_two(int64_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

static void check_batch(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId micro = KEY_train_micro_batch;
    if (!sound(loader, KEY_train_batch, KEY_parallel_data))
        return;
    if (s->train_batch % s->parallel_data) {
        divides(loader, KEY_parallel_data, KEY_train_batch);
        loader->bad[KEY_parallel_data] = true;
    } else if (!loader->bad[micro]
               && s->train_batch / s->parallel_data % s->train_micro_batch) {
        clash(loader, micro, KEY_train_batch,
              "`%s` is not a whole number of times `%s` times `%s`",
              saying(loader, KEY_train_batch), saying(loader, micro),
              saying(loader, KEY_parallel_data));
    }
}

/* A micro-batch is a part of a group, or a power of two of groups: the fixed
 * tree then has a node for it. */
static void check_groups(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId groups = KEY_reproducible_groups, data = KEY_parallel_data;
    int64_t count = s->reproducible_groups, micro = s->train_micro_batch;
    if (loader->bad[data])
        return;
    if (!loader->bad[groups] && !is_power_of_two(count)
        && count != s->parallel_data)
        clash(loader, groups, data, "`%s` must be a power of two, or as many "
              "as `%s`", saying(loader, groups), saying(loader, data));
    divides(loader, data, groups);
    divides(loader, groups, KEY_train_batch);
    if (!sound(loader, groups, KEY_train_batch)
        || loader->bad[KEY_train_micro_batch]
        || (!s->given[KEY_train_micro_batch] && loader->bad[data]))
        return;                     /* by default it is what data make it */
    int64_t group = s->train_batch / count;
    bool part = group % micro == 0;
    bool whole = micro % group == 0 && is_power_of_two(micro / group);
    if (!part && !whole)
        clash(loader, KEY_train_micro_batch, groups, "`%s` must divide a "
              "group's %lld sequences, or be a power of two of groups",
              saying(loader, KEY_train_micro_batch), (long long)group);
}

/* ---- training ------------------------------------------------------------ */

static void check_schedule(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId decay = KEY_train_schedule_decay, steps = KEY_train_steps;
    const KeyId type = KEY_train_schedule_type;
    bool wsd = s->train_schedule_type == TRAIN_SCHEDULE_TYPE_WSD;
    if (!sound(loader, decay, type))
        return;
    if (wsd && s->train_schedule_decay == 0) {
        Loc loc = s->loc[s->given[decay] ? decay : type];
        Problem *about = problem(
            &loader->problems, loc, "`%s` needs `train.schedule.decay`, the "
            "steps of linear decay at the end", saying(loader, type));
        problem_hint(about, "for example decay: %lld",
                     (long long)(s->train_steps + 9) / 10);
    } else if (wsd && !loader->bad[steps]
               && s->train_schedule_decay > s->train_steps) {
        clash(loader, decay, steps, "`%s` is longer than `%s`",
              saying(loader, decay), saying(loader, steps));
    } else if (!wsd && s->train_schedule_decay) {
        clash(loader, decay, type, "`%s` is wsd's", saying(loader, decay));
    }
}

static void check_optimizer(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId momentum = KEY_train_optimizer_momentum;
    if (sound(loader, momentum, KEY_train_optimizer_type)
        && s->train_optimizer_momentum != 0
        && s->train_optimizer_type != TRAIN_OPTIMIZER_TYPE_SGD)
        clash(loader, momentum, KEY_train_optimizer_type,
              "`%s` is sgd's; Adam's is betas", saying(loader, momentum));
}

void check_rules(Loader *loader)
{
    check_heads(loader);
    check_attention(loader);
    check_positions(loader);
    check_batch(loader);
    check_groups(loader);
    check_schedule(loader);
    check_optimizer(loader);
    check_model_rules(loader);
    check_plan_rules(loader);
    check_sizes(loader);
}
