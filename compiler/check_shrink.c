/* check_shrink.c: a small spec of the same structure, for runs that take no
 * time: the same kinds of layers, the same plan, sizes that keep what the plan
 * cuts (vocabulary modulo tensor, blocks modulo stages, two micro-batches a
 * group where there are several, more micro-batches than stages). A plan of too
 * many ranks to run becomes one of few, with the same axes. It is the spec
 * itself with settings behind its own, for the plan and for one rank. */
#include "check.h"
#include "effect.h"
#include "../passes/pass.h"

enum { MOST_RANKS = 16, MOST_GROUPS = 16 };

typedef struct Shrink {
    Check *c;
    const Spec *s;
    List(const char *) all, plan, one;      /* settings */
    Buf told;
    int64_t data, shard_group, stages, tensor, context, experts, groups;
    bool one_group;                 /* several shard groups do not fit */
    int64_t n, micro;               /* micro-batches a group, and their size */
} Shrink;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static void set(Shrink *k, const char *key, int64_t value)
{
    list_push(k->c->arena, &k->all, arena_printf(k->c->arena, "%s=%lld", key,
                                                 (long long)value));
    buf_printf(&k->told, "%s%s %lld", k->told.length ? ", " : "", key,
               (long long)value);
}

static void set_plan(Shrink *k, const char *key, int64_t value)
{
    list_push(k->c->arena, &k->plan, arena_printf(k->c->arena, "%s=%lld", key,
                                                  (long long)value));
}

static void set_one(Shrink *k, const char *setting)
{
    list_push(k->c->arena, &k->one, setting);
}

static int64_t ranks(const Shrink *k)
{
    return k->data * k->context * k->stages * k->tensor;
}

static int64_t least_divisor(int64_t n)
{
    int64_t by = 2;
    while (by < n && n % by)
        by++;
    return least(by, n);
}

static bool is_power_of_two(int64_t n) { return (n & (n - 1)) == 0; }

/* A shard group of two, or with all experts twice, if it has all of them. */
static int64_t small_group(const Shrink *k)
{
    int64_t group = least(k->s->parallel_shard_group, k->s->parallel_data);
    int64_t whole = k->s->parallel_experts;
    return group % whole ? least(group, 2)
                         : k->experts * least(group / whole, 2);
}

/* Replicas of two shard groups, or of those of two that have the experts. */
static int64_t few_replicas(const Shrink *k, bool grouped)
{
    int64_t twice = 2 * k->experts, others = k->context * k->stages * k->tensor;
    if (grouped)
        return largest(4, largest(2 * small_group(k), twice));
    bool fits = twice * others <= MOST_RANKS
        && k->s->parallel_data >= 2 * k->s->parallel_experts;
    return largest(2, fits && k->experts > 1 ? twice : k->experts);
}

/* The data axis as it is, or few replicas where there would be too many ranks.
 * As many groups are each's. */
static void shrink_data(Shrink *k)
{
    const Spec *s = k->s;
    int64_t groups = s->reproducible_groups;
    bool grouped = s->parallel_shard_group > 0
        && s->parallel_shard_group < s->parallel_data;
    k->data = s->parallel_data;
    k->groups = groups;
    k->shard_group = least(s->parallel_shard_group, s->parallel_data);
    int64_t few = few_replicas(k, grouped && !k->one_group);
    bool whole = k->experts == s->parallel_experts;
    if (ranks(k) > MOST_RANKS && k->data > few) {
        k->groups = is_power_of_two(groups) ? groups / k->data * few : few;
        k->shard_group = grouped && !k->one_group ? small_group(k)
                                                  : least(k->shard_group, few);
        k->data = few;
    } else if (!whole) {
        k->shard_group = least(k->shard_group, small_group(k));
    }
    if (is_power_of_two(k->groups) && k->groups > MOST_GROUPS)
        k->groups = largest(k->data, MOST_GROUPS);
}

/* Axes are cut one after another until few enough ranks are left; each that
 * there is keeps two of them at least. */
static bool shrink_mesh(Shrink *k)
{
    enum { DATA, TENSOR, CONTEXT, STAGES, EXPERTS, ONE_GROUP, CUTS };
    const Spec *s = k->s;
    k->stages = s->parallel_pipeline_stages;
    k->tensor = s->parallel_tensor;
    k->context = s->parallel_context;
    k->experts = s->parallel_experts;
    for (int cut = DATA; cut < CUTS; cut++) {
        int64_t others = k->data * k->context * k->tensor;
        switch (cut) {
        case TENSOR: k->tensor = least_divisor(k->tensor); break;
        case CONTEXT: k->context = least_divisor(k->context); break;
        case STAGES:
            k->stages = least(k->stages, largest(2, MOST_RANKS / others));
            break;
        case EXPERTS: k->experts = least_divisor(k->experts); break;
        case ONE_GROUP: k->one_group = k->shard_group > 0; break;
        }
        shrink_data(k);
        if (ranks(k) <= MOST_RANKS)
            return true;
    }
    return false;
}

static void tell_axis(Buf *to, const char *name, int64_t size, int64_t of)
{
    if (of > 1)
        buf_printf(to, "%s%s %lld", to->length ? ", " : "", name,
                   (long long)size);
    if (of > size)
        buf_printf(to, " of %lld", (long long)of);
}

/* "16 ranks of 1024 (data 2 of 16, stages 4 of 8, tensor 2 of 8)" */
static void set_mesh(Shrink *k)
{
    const Spec *s = k->s;
    Buf axes = {0};
    tell_axis(&axes, "data", k->data, s->parallel_data);
    tell_axis(&axes, "stages", k->stages, s->parallel_pipeline_stages);
    tell_axis(&axes, "tensor", k->tensor, s->parallel_tensor);
    tell_axis(&axes, "context", k->context, s->parallel_context);
    tell_axis(&axes, "experts", k->experts, s->parallel_experts);
    if (k->one_group)
        buf_printf(&axes, ", in one shard group");
    else if (k->shard_group)
        tell_axis(&axes, "shard group", k->shard_group,
                  s->parallel_shard_group);
    set_plan(k, "parallel.data", k->data);
    set_plan(k, "parallel.pipeline.stages", k->stages);
    set_plan(k, "parallel.tensor", k->tensor);
    set_plan(k, "parallel.context", k->context);
    set_plan(k, "parallel.experts", k->experts);
    if (k->shard_group)
        set_plan(k, "parallel.shard_group", k->shard_group);
    if (ranks(k) < k->c->facts->ranks)
        k->c->small_plan = arena_printf(
            k->c->arena, "%lld ranks of %lld (%s)", (long long)ranks(k),
            (long long)k->c->facts->ranks, axes.text);
    buf_free(&axes);
}

static void shrink_batch(Shrink *k)
{
    const Spec *s = k->s;
    int64_t group = s->train_batch / s->reproducible_groups;
    int64_t micro = least(s->train_micro_batch, group);
    int64_t wanted = (k->stages + k->groups / k->data) / (k->groups / k->data);
    k->n = least(group / micro, largest(2, wanted));
    k->micro = least(micro, 2);
    set(k, "train.batch", k->groups * k->n * k->micro);
    set(k, "reproducible.groups", k->groups);
    int64_t spans = largest(1, s->train_micro_batch / group);
    spans = least(spans, k->groups / k->data);
    set_plan(k, "train.micro_batch",
             spans > 1 ? spans * k->n * k->micro : k->micro);
}

/* Blocks of stage i of `stages` that share a stack: one or two, uneven where
 * the stack's are. */
static int64_t few_blocks(int64_t blocks, int64_t stages, int64_t i)
{
    return blocks % stages ? 1 + (i < blocks % stages)
                           : least(blocks / stages, 2);
}

/* Which of `of` chunks chunk i of `few` stands for: the first and the last for
 * themselves. */
static int64_t stands_for(int64_t i, int64_t few, int64_t of)
{
    return few > 1 ? i * (of - 1) / (few - 1) : 0;
}

/* Chunks that the encoder has of `chunks` of the whole spec. */
static int64_t encoder_chunks(const Spec *s, int64_t chunks)
{
    const SpecCounts *given = &s->parallel_pipeline_split;
    int64_t own = 0, done = 0;
    if (!given->count)
        return plan_encoder_stages(s->model_blocks_encoder,
                                   s->model_blocks_decoder, chunks);
    while (done < s->model_blocks_encoder)
        done += given->at[own++];
    return own;
}

/* Chunks of the whole spec and of the small one. */
typedef struct Chunks { int64_t all, few; } Chunks;

static Chunks chunks_of(const Shrink *k)
{
    const Spec *s = k->s;
    return (Chunks){ s->parallel_pipeline_stages * s->parallel_pipeline_virtual,
                     k->stages * s->parallel_pipeline_virtual };
}

static void set_split(Shrink *k, const Buf *counts)
{
    Arena *a = k->c->arena;
    list_push(a, &k->plan, arena_printf(a, "parallel.pipeline.split=[%s]",
                                        counts->text));
}

/* Of an encoder-decoder; a pipeline is split as that of the whole spec. */
static void shrink_stacks(Shrink *k)
{
    const Spec *s = k->s;
    Arena *a = k->c->arena;
    const SpecCounts *given = &s->parallel_pipeline_split;
    const Chunks chunks = chunks_of(k);
    int64_t all[2] = { s->model_blocks_encoder, s->model_blocks_decoder };
    int64_t few[2] = { least(all[0], 2), least(all[1], 2) };
    int64_t own = chunks.all > 1 ? encoder_chunks(s, chunks.all) : 0;
    int64_t small = largest(1, least(own * chunks.few / chunks.all,
                                     chunks.few - 1));
    Buf split = {0};
    for (int64_t i = 0; chunks.all > 1 && i < chunks.few; i++) {
        bool decoder = i >= small;
        int64_t behind = decoder ? chunks.all - own : own;
        int64_t at = decoder
            ? stands_for(i - small, chunks.few - small, behind)
            : stands_for(i, small, behind);
        int64_t one = given->count
            ? least(given->at[at + (decoder ? own : 0)], 2)
            : few_blocks(all[decoder], behind, at);
        if (i == 0)
            few[0] = few[1] = 0;
        few[decoder] += one;
        buf_printf(&split, "%s%lld", i ? ", " : "", (long long)one);
    }
    if (split.length)
        set_split(k, &split);
    buf_free(&split);
    list_push(a, &k->all,
              arena_printf(a, "model.blocks={encoder: %lld, decoder: %lld}",
                           (long long)few[0], (long long)few[1]));
}

static void shrink_blocks(Shrink *k)
{
    const Spec *s = k->s;
    const SpecCounts *given = &s->parallel_pipeline_split;
    const Chunks chunks = chunks_of(k);
    int64_t blocks = s->model_blocks, to = least(blocks, 2);
    if (s->train_freeze.count) {    /* its globs may name blocks */
        if (given->count && chunks.few < chunks.all)
            list_push(k->c->arena, &k->plan, "parallel.pipeline.split=auto");
        return;
    }
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER) {
        shrink_stacks(k);
        return;
    }
    if (chunks.few > 1)
        to = chunks.few + least(blocks % chunks.all, chunks.few - 1);
    if (given->count) {
        Buf split = {0};
        to = 0;
        for (int64_t i = 0; i < chunks.few; i++) {
            int64_t at = stands_for(i, chunks.few, chunks.all);
            int64_t one = least(given->at[at], 2);
            buf_printf(&split, "%s%lld", i ? ", " : "", (long long)one);
            to += one;
        }
        set_split(k, &split);
        buf_free(&split);
    }
    set(k, "model.blocks", to);
}

static void shrink_width(Shrink *k)
{
    const Spec *s = k->s;
    int64_t kv = k->tensor * least(s->model_kv_heads / s->parallel_tensor, 2);
    int64_t heads = kv * least(s->model_heads / s->model_kv_heads, 2);
    int64_t wide = s->model_head_dim;
    int64_t head = wide <= 8 ? wide : 8 + wide % 2;
    bool side = s->model_dim == s->model_heads * wide;
    set(k, "model.dim", side ? heads * head
                             : least(s->model_dim, 16 + s->model_dim % 16));
    set(k, "model.heads", heads);
    if (s->given[KEY_model_kv_heads] || kv != heads)
        set(k, "model.kv_heads", kv);
    if (s->given[KEY_model_head_dim] || !side)
        set(k, "model.head_dim", head);
    int64_t experts = largest(2, k->experts);
    int64_t ff = (24 + k->tensor - 1) / k->tensor * k->tensor;
    if (s->model_ff == MODEL_FF_LAYER)
        set(k, "model.ff.dim", least(s->model_ff_dim, ff));
    int64_t chosen = (s->model_experts_top_k + k->experts - 1) / k->experts
        * k->experts;
    if (s->model_experts == MODEL_EXPERTS_LAYER)
        set(k, "model.experts.count",
            largest(chosen, least(s->model_experts_count, 2 * experts)));
    if (s->model_attention_window > 0)
        set(k, "model.attention.window", least(s->model_attention_window, 5));
}

/* Ranks that share a sequence between products. */
static int64_t shares(const Shrink *k)
{
    return k->s->parallel_sequence_parallel ? k->tensor : 1;
}

/* Runs of a sequence that ranks have: of a context two each. */
static int64_t runs(const Shrink *k)
{
    return (k->context > 1 ? 2 * k->context : 1) * shares(k);
}

/* Patches of a side, two of them if runs then divide the positions, and at
 * most as many as there are. */
static int64_t few_patches(const Shrink *k)
{
    const Spec *s = k->s;
    int64_t all = s->model_input_image_size / s->model_input_image_patch;
    int64_t more = s->train_sequence - all * all;   /* a class's position */
    int64_t side = least(all, 2);
    while (side < all && (side * side + more) % runs(k))
        side++;
    return side;
}

static void shrink_input(Shrink *k)
{
    const Spec *s = k->s;
    int64_t chunks = 2 * k->context * shares(k);
    int64_t whole = chunks * largest(1, 12 / chunks);
    int64_t length = least(s->train_sequence, whole);
    int64_t patch = least(s->model_input_image_patch, 3);
    int64_t few = runs(k) * largest(1, 6 / runs(k));
    int64_t nodes = least(s->model_input_graph_nodes, few);
    int64_t vocab = 264 + largest(0, s->model_vocab - 264) % k->tensor;
    switch (s->model_input) {
    case MODEL_INPUT_TOKENS:
        set(k, "model.vocab", least(s->model_vocab, vocab));
        set(k, "model.context", largest(length, least(s->model_context, 16)));
        set(k, "train.sequence", length);
        return;
    case MODEL_INPUT_IMAGE:
        set(k, "model.input.image.patch", patch);
        set(k, "model.input.image.size", patch * few_patches(k));
        return;
    case MODEL_INPUT_GRAPH:
        set(k, "model.input.graph.nodes", nodes);
        set(k, "model.input.graph.features",
            least(s->model_input_graph_features, 5));
        if (s->given[KEY_model_context])
            set(k, "model.context", nodes + 2);
        if (s->given[KEY_train_sequence])
            set(k, "train.sequence", nodes);
        return;
    }
}

/* Whether all rows find room depends on what is trained: here they do. */
static void shrink_buffer(Shrink *k)
{
    const Spec *s = k->s;
    int64_t rows = k->micro * 2 * s->train_sequence * s->model_experts_top_k;
    if (s->model_experts == MODEL_EXPERTS_LAYER && s->model_experts_buffer > 0)
        set(k, "model.experts.buffer",
            largest(s->model_experts_buffer, rows * k->experts));
}

/* What the data are, and that nothing is held out of them. Weights are drawn
 * larger: of narrow layers at the usual deviation all rows are nearly one, and
 * gradients cancel to rounding noise. */
static void settle_data(Shrink *k)
{
    static const char *const settings[] = {
        "train.data.format=safetensors", "train.data.eval=none",
        "train.data.split=0", "train.data.special={}",
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        list_push(k->c->arena, &k->all, settings[i]);
    if (k->s->train_init == TRAIN_INIT_NORMAL)
        list_push(k->c->arena, &k->all, "train.init.std=0.2");
}

static void settle_one(Shrink *k)
{
    Arena *a = k->c->arena;
    bool power = is_power_of_two(k->groups);
    set_one(k, "parallel.data=1");
    set_one(k, "parallel.tensor=1");
    set_one(k, "parallel.sequence_parallel=false");
    set_one(k, "parallel.context=1");
    set_one(k, "parallel.experts=1");
    set_one(k, "parallel.shard=none");
    set_one(k, "parallel.shard_group=0");
    set_one(k, "reproducible.order=fixed");
    set_one(k, "parallel.pipeline.stages=1");
    set_one(k, "parallel.pipeline.schedule=1f1b");
    set_one(k, "parallel.pipeline.virtual=1");
    set_one(k, "parallel.pipeline.split=auto");
    set_one(k, "memory.recompute=none");
    if (!power)
        set_one(k, "reproducible.groups=1");
    set_one(k, arena_printf(a, "train.micro_batch=%lld",
                            (long long)(k->n * k->micro
                                        * (power ? 1 : k->groups))));
    if (k->s->memory_recompute == MEMORY_RECOMPUTE_AUTO)
        list_push(a, &k->plan, "memory.recompute=block");
    bool cut = k->tensor > 1 || k->context > 1 || k->s->parallel_experts > 1;
    bool early = sums_each_micro(k->s);
    k->c->bits = power && !cut && !early;
    k->c->no_bits = !power ? "one rank has no such groups"
                  : early  ? "order: fast sums by micro-batches"
                           : "sums are cut along an axis";
}

/* The spec's own sources, with settings behind its own. */
static SpecSources sources(Shrink *k, const char *const *more, int count)
{
    const Options *o = &k->c->options;
    List(const char *) sets = {0};
    for (int i = 0; i < o->sets.count; i++)
        list_push(k->c->arena, &sets, o->sets.at[i]);
    for (int i = 0; i < k->all.count; i++)
        list_push(k->c->arena, &sets, k->all.at[i]);
    for (int i = 0; i < count; i++)
        list_push(k->c->arena, &sets, more[i]);
    return (SpecSources){ o->spec, o->overlays.at, o->overlays.count, sets.at,
                          sets.count };
}

bool check_shrink(Check *c)
{
    Shrink k = { .c = c, .s = c->compiled.spec };
    if (!shrink_mesh(&k)) {
        claim(c, "values", "a small spec of the same structure computes what "
              "one rank does", CLAIM_ASSUMED, "of %lld ranks no plan with the "
              "same axes has at most the %d that check runs",
              (long long)c->facts->ranks, (int)MOST_RANKS);
        return false;
    }
    set_mesh(&k);
    shrink_batch(&k);
    shrink_blocks(&k);
    shrink_width(&k);
    shrink_input(&k);
    shrink_buffer(&k);
    settle_data(&k);
    settle_one(&k);
    c->plan_from = sources(&k, k.plan.at, k.plan.count);
    c->one_from = sources(&k, k.one.at, k.one.count);
    c->shrunk = arena_strdup(c->arena, k.told.text);
    buf_free(&k.told);
    return true;
}
