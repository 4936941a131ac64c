/* effect.c: the keys of the spec by what they do to the numbers (effect.h). A
 * key has the first row of the table that its path begins with; what has none
 * is taken for another run. */
#include "effect.h"

const char *const effect_names[] = {
    [EFFECT_SAME] = "same bits",
    [EFFECT_REASSOCIATED] = "reassociated",
    [EFFECT_DIFFERENT] = "different",
};

typedef struct Rule { const char *path; Effect effect; const char *why; } Rule;

static const Rule rules[] = {
    { "name", EFFECT_SAME, "a name" },
    { "memory", EFFECT_SAME,
      "what is kept and what is computed again changes no bit" },
    { "parallel.tensor", EFFECT_REASSOCIATED,
      "sums over a product's columns are cut across ranks" },
    { "parallel.context", EFFECT_REASSOCIATED,
      "sums over a sequence's positions are cut across ranks" },
    { "parallel.experts", EFFECT_REASSOCIATED,
      "an expert's tokens come from several ranks" },
    { "parallel.sequence_parallel", EFFECT_REASSOCIATED,
      "sums over tokens are cut across ranks" },
    { "parallel.data", EFFECT_SAME, "data divides reproducible.groups" },
    { "parallel", EFFECT_SAME,
      "where things are and when, not what is summed" },
    { "reproducible.groups", EFFECT_REASSOCIATED,
      "gradients of a batch are summed by another tree" },
    { "reproducible", EFFECT_REASSOCIATED, "another order of sums" },
    { "model.experts.buffer", EFFECT_SAME, "room alone" },
    { "model", EFFECT_DIFFERENT, "another model" },
    { "train.micro_batch", EFFECT_SAME,
      "a group's sums are one chain, however it is cut" },
    { "train.checkpoint", EFFECT_SAME, "when checkpoints are written" },
    { "train.eval", EFFECT_SAME, "when evaluations run" },
    { "train.objective", EFFECT_DIFFERENT, "another objective" },
    { "train.preference", EFFECT_DIFFERENT, "another objective" },
    { "train.masking", EFFECT_DIFFERENT, "another objective" },
    { "train.label_smoothing", EFFECT_DIFFERENT, "another objective" },
    { "train.batch", EFFECT_DIFFERENT, "another batch" },
    { "train.sequence", EFFECT_DIFFERENT, "another batch" },
    { "train.seed", EFFECT_DIFFERENT,
      "other initial weights, order of data and dropout" },
    { "train.data.order", EFFECT_DIFFERENT, "another order of data" },
    { "train.data", EFFECT_DIFFERENT, "other data" },
    { "train.optimizer", EFFECT_DIFFERENT, "another optimizer" },
    { "train.schedule", EFFECT_DIFFERENT, "another learning rate" },
    { "train.freeze", EFFECT_DIFFERENT, "other parameters are trained" },
    { "train.init", EFFECT_DIFFERENT, "other initial weights" },
    { "train.precision", EFFECT_DIFFERENT, "another precision" },
};

static bool begins(const char *path, const char *with)
{
    size_t length = strlen(with);
    return !strncmp(path, with, length)
        && (!path[length] || path[length] == '.');
}

/* Are rates of the first steps the same with another horizon? */
static bool has_no_horizon(const Spec *s)
{
    return s->train_schedule_type == TRAIN_SCHEDULE_TYPE_CONSTANT
        || s->train_schedule_type == TRAIN_SCHEDULE_TYPE_INVERSE_SQRT;
}

bool sums_each_micro(const Spec *s)
{
    return s->reproducible_order == REPRODUCIBLE_ORDER_FAST
        && fast_order_undone_by(s) == KEY_COUNT;
}

/* Keys that say which micro-batches there are, and whose sums meet when. */
static bool is_of_order(const char *path)
{
    return begins(path, "parallel") || begins(path, "train.micro_batch");
}

void print_same_bits(const Spec *s)
{
    int64_t groups = s->reproducible_groups;
    bool power = (groups & (groups - 1)) == 0;
    if (s->parallel_experts > 1) {
        printf("bits: of this data and micro_batch (parallel.experts)\n");
        return;
    }
    if (s->parallel_context > 1) {
        printf("bits: of this data (parallel.context)\n");
        return;
    }
    printf("bits: the same for data in {%lld", power ? 1 : (long long)groups);
    for (int64_t data = 2; power && data <= groups; data *= 2)
        printf(",%lld", (long long)data);
    printf("}\n");
}

/* Does the key say whose rows a sum goes through before it comes to groups? */
static bool mixes_ranks(const Spec *s, KeyId key, const char **why)
{
    if (s->parallel_experts > 1
        && (key == KEY_parallel_data || key == KEY_train_micro_batch)) {
        *why = "an expert's rows follow ranks in each micro-batch";
        return true;
    }
    if (s->parallel_context > 1 && key == KEY_parallel_data) {
        *why = "a replica's groups are summed before its context's ranks";
        return true;
    }
    return false;
}

Effect key_effect(KeyId key, const Spec *a, const Spec *b, const char **why)
{
    const char *path = key_info(key)->path;
    if (!strcmp(path, "train.steps")) {
        bool same = has_no_horizon(a) && has_no_horizon(b);
        *why = same ? "as far as both go: the schedule has no horizon"
                    : "the schedule's horizon";
        return same ? EFFECT_SAME : EFFECT_DIFFERENT;
    }
    if ((sums_each_micro(a) || sums_each_micro(b)) && is_of_order(path)) {
        *why = "with order: fast sums follow micro-batches and ranks";
        return EFFECT_REASSOCIATED;
    }
    if (mixes_ranks(a, key, why) || mixes_ranks(b, key, why))
        return EFFECT_REASSOCIATED;
    if (key == KEY_reproducible_order && !sums_each_micro(a)
        && !sums_each_micro(b)) {
        *why = "neither plan has sums that order: fast changes";
        return EFFECT_SAME;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (begins(path, rules[i].path)) {
            *why = rules[i].why;
            return rules[i].effect;
        }
    *why = "another run";
    return EFFECT_DIFFERENT;
}
