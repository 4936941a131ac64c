/* resolve.c: what a spec does not say. Defaults that keys.def writes out come
 * first, in its order; then the computed ones, in an order in which each finds
 * what it needs; last, keys whose value has no effect get what holds. */
#include "loader.h"

void set_default(Loader *loader, KeyId key)
{
    const KeyInfo *info = key_info(key);
    Yaml value = { .kind = YAML_SCALAR, .text = info->initial, .plain = true };
    if (info->type == SPEC_form) {
        unsigned choice = strcmp(info->initial, info->choices[0].text) != 0;
        memcpy(value_field(loader->spec, key), &choice, sizeof choice);
        return;
    }
    bool is_list = info->initial[0] == '[';
    const Yaml *parsed = &value;
    if (is_list)
        parsed = yaml_read(&loader->problems, -1, info->initial,
                           strlen(info->initial));
    if (!parsed || !value_set(loader, key, parsed))
        ice("%s has a bad default", info->path);
}

static void set_literal(Loader *loader, KeyId key)
{
    const KeyInfo *info = key_info(key);
    const char *initial = info->initial;
    if (info->type == SPEC_map || loader->spec->given[key] || loader->bad[key])
        return;
    if (info->type == SPEC_id && !initial[0])
        *(int64_t *)value_field(loader->spec, key) = -1;
    else if (initial[0] && initial[0] != '!' && initial[0] != '=')
        set_default(loader, key);
}

/* Must a spec say it, where its parent is there? */
static bool is_required(const Loader *loader, KeyId key)
{
    const KeyInfo *info = key_info(key);
    if (key == KEY_model_context)
        return loader->spec->model_input == MODEL_INPUT_TOKENS;
    if (key_parent(key) == KEY_model_blocks)
        return loader->spec->model_blocks == UNSAID;
    return key == KEY_model || info->initial[0] == '!';
}

/* Was a map said, if only as a choice without its parameters? */
static bool is_said(const Spec *s, KeyId map)
{
    return map == KEY_ROOT || s->given[map]
        || (key_parent(map) != KEY_ROOT && s->given[key_parent(map)]
            && key_info(key_parent(map))->type == SPEC_choice);
}

/* One problem for all that is missing below a parent. */
static void report_missing(Loader *loader, KeyId parent, Loc loc)
{
    const Spec *s = loader->spec;
    Buf names = {0};
    for (int i = 0; i < KEY_COUNT; i++) {
        KeyId key = (KeyId)i;
        if (key_parent(key) != parent || s->given[key] || loader->bad[key]
            || !key_active(s, key) || !is_required(loader, key))
            continue;
        buf_printf(&names, "%s`%s`", names.length ? ", " : "", key_name(key));
        loader->bad[key] = true;
    }
    if (names.length && is_said(s, parent)) {
        const char *what = parent == KEY_ROOT ? "the spec"
            : arena_printf(loader->arena, "`%s`", key_info(parent)->path);
        Problem *about =
            problem(&loader->problems, loc, "%s lacks %s", what, names.text);
        if (parent == KEY_ROOT)
            problem_hint(about, "a spec says at least `name` and "
                         "`model: {vocab, context, dim, heads, blocks}`");
    }
    buf_free(&names);
}

/* Is a default to be computed from the keys a and b? If these are bad, so is
 * the key. */
static bool computes(Loader *loader, KeyId key, KeyId a, KeyId b)
{
    if (loader->spec->given[key] || loader->bad[key])
        return false;
    loader->bad[key] = loader->bad[a] || loader->bad[b];
    return !loader->bad[key];
}

static enum train_objective objective(const Spec *s)
{
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER)
        return TRAIN_OBJECTIVE_SEQ2SEQ;
    if (s->model_head == MODEL_HEAD_CLASSIFY)
        return TRAIN_OBJECTIVE_CLASSIFY;
    return s->model_kind == MODEL_KIND_DECODER && s->model_head == MODEL_HEAD_LM
        ? TRAIN_OBJECTIVE_NEXT_TOKEN : TRAIN_OBJECTIVE_MASKED_TOKEN;
}

int64_t input_positions(const Spec *s)
{
    if (s->model_input == MODEL_INPUT_GRAPH)
        return s->model_input_graph_nodes;
    if (s->model_input != MODEL_INPUT_IMAGE || !s->model_input_image_patch)
        return 0;
    int64_t side = s->model_input_image_size / s->model_input_image_patch;
    bool cls = s->model_head == MODEL_HEAD_CLASSIFY
        && s->model_head_classify_pool == MODEL_HEAD_CLASSIFY_POOL_CLS;
    int64_t positions = side * side + cls;
    return positions <= LENGTH_MOST ? positions : 0;
}

/* How long inputs are that are no tokens. */
static void compute_lengths(Loader *loader)
{
    Spec *s = loader->spec;
    const KeyId input = KEY_model_input, head = KEY_model_head;
    bool image = s->model_input == MODEL_INPUT_IMAGE;
    bool sizes = !loader->bad[KEY_model_input_image_size]
        && !loader->bad[KEY_model_input_image_patch]
        && !loader->bad[KEY_model_head_classify_pool];
    bool nodes = !loader->bad[KEY_model_input_graph_nodes];
    bool known = input_positions(s) > 0 && (image ? sizes : nodes);
    if (s->model_input != MODEL_INPUT_TOKENS
        && computes(loader, KEY_model_context, input, head)) {
        s->model_context = input_positions(s);
        loader->bad[KEY_model_context] = !known;
    }
    if (!computes(loader, KEY_train_sequence, KEY_model_context, input))
        return;
    s->train_sequence = s->model_context;
    if (s->model_input == MODEL_INPUT_GRAPH) {
        s->train_sequence = input_positions(s);
        loader->bad[KEY_train_sequence] = !known;
    }
}

/* An encoder-decoder's two numbers of blocks, from an integer or a map. */
static void compute_blocks(Loader *loader)
{
    Spec *s = loader->spec;
    const KeyId all = KEY_model_blocks, kind = KEY_model_kind;
    const KeyId encoder = KEY_model_blocks_encoder;
    const KeyId decoder = KEY_model_blocks_decoder;
    if (s->model_kind != MODEL_KIND_ENCODER_DECODER)
        return;
    if (computes(loader, encoder, all, kind))
        s->model_blocks_encoder = s->model_blocks;
    if (computes(loader, decoder, all, kind))
        s->model_blocks_decoder = s->model_blocks;
    s->model_blocks = s->model_blocks_decoder;
    s->loc[all] = s->loc[decoder];
    loader->bad[all] = loader->bad[decoder];
}

static void compute(Loader *loader)
{
    Spec *s = loader->spec;
    if (computes(loader, KEY_model_kv_heads, KEY_model_heads, KEY_model_heads))
        s->model_kv_heads = s->model_heads;
    if (computes(loader, KEY_model_head_dim, KEY_model_dim, KEY_model_heads))
        s->model_head_dim = s->model_dim / s->model_heads;
    if (computes(loader, KEY_model_ff_dim, KEY_model_dim, KEY_model_dim))
        s->model_ff_dim = 4 * s->model_dim;
    if (computes(loader, KEY_model_attention_mask, KEY_model_kind,
                 KEY_model_kind))
        s->model_attention_mask = s->model_kind == MODEL_KIND_ENCODER
            ? MODEL_ATTENTION_MASK_FULL : MODEL_ATTENTION_MASK_CAUSAL;
    if (computes(loader, KEY_train_objective, KEY_model_kind, KEY_model_head))
        s->train_objective = objective(s);
    if (computes(loader, KEY_train_micro_batch, KEY_train_batch,
                 KEY_parallel_data))
        s->train_micro_batch = s->train_batch / s->parallel_data;
    if (s->train_micro_batch == 0)
        loader->bad[KEY_train_micro_batch] = true;
    compute_lengths(loader);
    compute_blocks(loader);
}

/* What was said but has no effect becomes what holds. */
static void settle(Loader *loader)
{
    Spec *s = loader->spec;
    if (!loader->bad[KEY_model_norm_type]
        && s->model_norm_type != MODEL_NORM_TYPE_LAYERNORM)
        s->model_norm_bias = false;
    if (!loader->bad[KEY_model_attention_projections]
        && !s->model_attention_projections) {
        s->model_attention_bias = MODEL_ATTENTION_BIAS_FALSE;
        s->model_attention_output = false;
    }
    if (!loader->bad[KEY_model_input]
        && s->model_input != MODEL_INPUT_TOKENS) {
        s->model_vocab = 0;
        s->model_embedding_scale = false;
        s->model_tie_embeddings = false;
    }
    if (!loader->bad[KEY_model_head]
        && s->model_head == MODEL_HEAD_CLASSIFY)
        s->model_tie_embeddings = false;
    if (s->reproducible_groups == 0) {
        s->reproducible_groups = s->parallel_data;
        if (loader->bad[KEY_parallel_data])
            loader->bad[KEY_reproducible_groups] = true;
    }
}

Spec *spec_of_one_rank(const Spec *spec, Arena *arena)
{
    Loader loader = { .arena = arena };
    loader.spec = arena_alloc(arena, sizeof *loader.spec);
    *loader.spec = *spec;
    for (int i = 0; i < KEY_COUNT; i++) {
        if (!key_is_below((KeyId)i, KEY_parallel))
            continue;
        loader.spec->given[i] = false;
        set_literal(&loader, (KeyId)i);
    }
    loader.spec->reproducible_groups = 1;
    return loader.spec;
}

void resolve_defaults(Loader *loader, Loc root)
{
    Spec *s = loader->spec;
    for (int i = 0; i < KEY_COUNT; i++) {
        KeyId parent = key_parent((KeyId)i);
        if (!s->given[i])
            s->loc[i] = parent == KEY_ROOT ? root : s->loc[parent];
        set_literal(loader, (KeyId)i);
    }
    report_missing(loader, KEY_ROOT, root);
    for (int i = 0; i < KEY_COUNT; i++)
        if (key_active(s, (KeyId)i))
            report_missing(loader, (KeyId)i, s->loc[i]);
    compute(loader);
    settle(loader);
}
