/* rules_model.c: which parts of a model go together, and which objective and
 * data go with them. The rules are contract.md's, sections 2 and 4; each names
 * both values. */
#include "loader.h"

/* ---- kind ---------------------------------------------------------------- */

/* What an encoder-decoder cannot have. */
static void check_two_stacks(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId kind = KEY_model_kind, input = KEY_model_input;
    const KeyId head = KEY_model_head, types = KEY_model_token_types;
    const KeyId projections = KEY_model_attention_projections;
    if (sound(loader, input, kind) && s->model_input != MODEL_INPUT_TOKENS)
        clash(loader, input, kind, "an encoder-decoder reads tokens on both "
              "sides, and there is `%s`", saying(loader, input));
    if (sound(loader, head, kind) && s->model_head != MODEL_HEAD_LM)
        clash(loader, head, kind, "the head of an encoder-decoder is lm, and "
              "there is `%s`: classifiers are encoders or decoders",
              saying(loader, head));
    if (sound(loader, types, kind) && s->model_token_types > 0)
        clash(loader, types, kind, "an encoder-decoder has no kinds of "
              "tokens, and there is `%s`", saying(loader, types));
    if (sound(loader, projections, kind) && !s->model_attention_projections)
        clash(loader, projections, kind, "cross attention needs projections, "
              "and there is `%s`", saying(loader, projections));
}

static void check_kind(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId kind = KEY_model_kind, blocks = KEY_model_blocks;
    const KeyId sides[] = { KEY_model_blocks_encoder,
                            KEY_model_blocks_decoder };
    if (loader->bad[kind])
        return;
    if (s->model_kind == MODEL_KIND_ENCODER_DECODER) {
        check_two_stacks(loader);
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (!s->given[sides[i]] || !sound(loader, blocks, sides[i]))
            continue;
        clash(loader, sides[i], kind,
              "`%s` is an encoder-decoder's, and there is `%s`: one stack has "
              "`blocks: N`", saying(loader, sides[i]), saying(loader, kind));
        loader->bad[blocks] = true;
    }
}

/* ---- input --------------------------------------------------------------- */

static void check_image(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId size = KEY_model_input_image_size;
    const KeyId patch = KEY_model_input_image_patch;
    const KeyId lengths[] = { KEY_model_context, KEY_train_sequence };
    divides(loader, patch, size);
    if (!sound(loader, patch, size) || loader->bad[KEY_model_head])
        return;
    int64_t positions = input_positions(s);
    if (!positions)
        clash(loader, size, patch, "`%s` in patches of `%s` has more than "
              "2^30 positions", saying(loader, size), saying(loader, patch));
    for (int i = 0; positions && i < 2; i++) {
        int64_t length = *(int64_t *)value_field(loader->spec, lengths[i]);
        if (s->given[lengths[i]] && sound(loader, lengths[i], size)
            && length != positions)
            clash(loader, lengths[i], size, "images of `%s` in patches of "
                  "`%s` have %lld positions, and there is `%s`",
                  saying(loader, size), saying(loader, patch),
                  (long long)positions, saying(loader, lengths[i]));
    }
}

static void check_graph(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId nodes = KEY_model_input_graph_nodes;
    const KeyId context = KEY_model_context, sequence = KEY_train_sequence;
    if (sound(loader, context, nodes)
        && s->model_context < s->model_input_graph_nodes)
        clash(loader, context, nodes, "`%s` is shorter than `%s`",
              saying(loader, context), saying(loader, nodes));
    if (sound(loader, sequence, nodes)
        && s->train_sequence != s->model_input_graph_nodes)
        clash(loader, sequence, nodes,
              "the positions of a graph are `%s`, and there is `%s`",
              saying(loader, nodes), saying(loader, sequence));
}

static void check_input(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId input = KEY_model_input, head = KEY_model_head;
    const KeyId types = KEY_model_token_types;
    if (loader->bad[input] || s->model_input == MODEL_INPUT_TOKENS)
        return;
    if (s->model_input == MODEL_INPUT_IMAGE)
        check_image(loader);
    else
        check_graph(loader);
    if (sound(loader, types, input) && s->model_token_types > 0)
        clash(loader, types, input, "`%s` is of tokens, and there is `%s`",
              saying(loader, types), saying(loader, input));
    if (sound(loader, head, input) && s->model_head != MODEL_HEAD_CLASSIFY)
        clash(loader, head, input, "`%s` is over a vocabulary, and `%s` has "
              "none: its head is classify", saying(loader, head),
              saying(loader, input));
}

/* ---- attention, norms, experts ------------------------------------------- */

static void check_relative(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId position = KEY_model_position;
    const KeyId projections = KEY_model_attention_projections;
    bool relative = s->model_position == MODEL_POSITION_RELATIVE
        || s->model_position == MODEL_POSITION_RELATIVE_LEARNED;
    if (sound(loader, position, projections) && relative
        && !s->model_attention_projections)
        clash(loader, projections, position, "`%s` projects distances as keys, "
              "and there is `%s`", saying(loader, position),
              saying(loader, projections));
}

static void check_norm(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId norm = KEY_model_embedding_norm, type = KEY_model_norm_type;
    const KeyId head = KEY_model_head;
    if (loader->bad[type] || s->model_norm_type != MODEL_NORM_TYPE_NONE)
        return;
    if (!loader->bad[norm] && s->model_embedding_norm)
        clash(loader, norm, type, "`%s` needs a norm, and there is `%s`",
              saying(loader, norm), saying(loader, type));
    if (sound(loader, head, type) && s->model_head == MODEL_HEAD_MLM)
        clash(loader, head, type, "`%s` has a norm in it, and there is `%s`",
              saying(loader, head), saying(loader, type));
}

static void check_experts(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId experts = KEY_model_experts, ff = KEY_model_ff;
    const KeyId count = KEY_model_experts_count;
    const KeyId chosen = KEY_model_experts_top_k;
    const KeyId capacity = KEY_model_experts_capacity;
    if (loader->bad[experts] || s->model_experts == MODEL_EXPERTS_NONE)
        return;
    if (!loader->bad[ff] && s->model_ff == MODEL_FF_NONE)
        clash(loader, ff, experts, "experts are feed-forward layers: `%s` "
              "and `%s` contradict", saying(loader, experts),
              saying(loader, ff));
    if (sound(loader, chosen, count)
        && s->model_experts_top_k > s->model_experts_count)
        clash(loader, chosen, count, "`%s` is more than `%s`",
              saying(loader, chosen), saying(loader, count));
    int64_t numerator, denominator;
    if (!loader->bad[capacity]
        && !spec_capacity(s, &numerator, &denominator)) {
        problem(&loader->problems, s->loc[capacity], "`%s` is kept as an exact "
                "fraction: write it below 10^15, with at most 15 digits",
                saying(loader, capacity));
        loader->bad[capacity] = true;
    }
}

/* ---- objective ----------------------------------------------------------- */

/* What an objective goes with: bits of kinds and heads, and both in words. */
typedef struct Fit {
    unsigned kinds, heads;
    const char *kinds_text, *heads_text;
} Fit;

enum {
    DECODER = 1u << MODEL_KIND_DECODER, ENCODER = 1u << MODEL_KIND_ENCODER,
    BOTH = 1u << MODEL_KIND_ENCODER_DECODER,
    LM = 1u << MODEL_HEAD_LM, MLM = 1u << MODEL_HEAD_MLM,
    CLASSIFY = 1u << MODEL_HEAD_CLASSIFY,
};

static const Fit fits[] = {
    [TRAIN_OBJECTIVE_NEXT_TOKEN] =
        { DECODER | ENCODER, LM, "one stack", "lm" },
    [TRAIN_OBJECTIVE_MASKED_TOKEN] =
        { DECODER | ENCODER, LM | MLM, "one stack", "lm or mlm" },
    [TRAIN_OBJECTIVE_MASKED_TOKEN_NEXT_SENTENCE] =
        { ENCODER, LM | MLM, "an encoder", "lm or mlm" },
    [TRAIN_OBJECTIVE_SEQ2SEQ] = { BOTH, LM, "an encoder-decoder", "lm" },
    [TRAIN_OBJECTIVE_CLASSIFY] =
        { DECODER | ENCODER, CLASSIFY, "one stack", "classify" },
    [TRAIN_OBJECTIVE_PREFERENCE] = { DECODER, LM, "a decoder", "lm" },
};

static void check_objective(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId objective = KEY_train_objective, kind = KEY_model_kind;
    const KeyId head = KEY_model_head, mask = KEY_model_attention_mask;
    const Fit *fit = &fits[s->train_objective];
    if (sound(loader, objective, kind)
        && !(fit->kinds >> s->model_kind & 1))
        clash(loader, objective, kind, "`%s` is for %s, and there is `%s`",
              saying(loader, objective), fit->kinds_text,
              saying(loader, kind));
    if (sound(loader, objective, head)
        && !(fit->heads >> s->model_head & 1))
        clash(loader, objective, head, "`%s` needs head %s, and there is `%s`",
              saying(loader, objective), fit->heads_text,
              saying(loader, head));
    if (sound(loader, objective, mask) && !loader->bad[kind]
        && s->train_objective == TRAIN_OBJECTIVE_NEXT_TOKEN
        && s->model_kind == MODEL_KIND_ENCODER
        && s->model_attention_mask == MODEL_ATTENTION_MASK_FULL)
        clash(loader, objective, mask, "`%s` of an encoder with `%s` predicts "
              "what it sees", saying(loader, objective), saying(loader, mask));
}

/* ---- data ---------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), least = strlen(end);
    return length >= least && !strcmp(text + length - least, end);
}

/* Will a token be a byte? Said by the format, or by the suffix of a path. */
static bool data_is_bytes(const Spec *s)
{
    const enum train_data_format format = s->train_data_format;
    if (format != TRAIN_DATA_FORMAT_AUTO)
        return format == TRAIN_DATA_FORMAT_TEXT
            || format == TRAIN_DATA_FORMAT_BYTES
            || format == TRAIN_DATA_FORMAT_TSV
            || format == TRAIN_DATA_FORMAT_JSONL;
    for (int i = 0; i < s->train_data_path.count; i++)
        if (ends_in(s->train_data_path.at[i], ".txt")
            || ends_in(s->train_data_path.at[i], ".tsv")
            || ends_in(s->train_data_path.at[i], ".jsonl"))
            return true;
    return false;
}

static void check_bytes(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId format = KEY_train_data_format, path = KEY_train_data_path;
    bool by_format = s->train_data_format != TRAIN_DATA_FORMAT_AUTO;
    if (s->model_input == MODEL_INPUT_TOKENS && sound(loader, format, path)
        && sound(loader, KEY_model_vocab, KEY_model_input)
        && data_is_bytes(s) && s->model_vocab < 256)
        clash(loader, KEY_model_vocab, by_format ? format : path,
              "a token of text is a byte: `%s` must be at least 256",
              saying(loader, KEY_model_vocab));
}

/* Can files of the format hold examples of the objective? */
static bool format_serves(const Spec *s)
{
    const enum train_objective objective = s->train_objective;
    bool next = objective == TRAIN_OBJECTIVE_NEXT_TOKEN;
    bool masked = objective == TRAIN_OBJECTIVE_MASKED_TOKEN;
    bool sentences = objective == TRAIN_OBJECTIVE_MASKED_TOKEN_NEXT_SENTENCE;
    bool images = s->model_input == MODEL_INPUT_IMAGE;
    bool tokens = s->model_input == MODEL_INPUT_TOKENS;
    switch (s->train_data_format) {
    case TRAIN_DATA_FORMAT_TEXT: case TRAIN_DATA_FORMAT_BYTES:
        return next || masked || sentences;
    case TRAIN_DATA_FORMAT_NANOGPT: case TRAIN_DATA_FORMAT_LLMC:
        return next || masked;
    case TRAIN_DATA_FORMAT_TSV:
        return objective == TRAIN_OBJECTIVE_SEQ2SEQ
            || (objective == TRAIN_OBJECTIVE_CLASSIFY && tokens);
    case TRAIN_DATA_FORMAT_IDX:
        return images;
    case TRAIN_DATA_FORMAT_JSONL:
        return next || objective == TRAIN_OBJECTIVE_PREFERENCE;
    case TRAIN_DATA_FORMAT_AUTO: case TRAIN_DATA_FORMAT_SAFETENSORS:
        break;
    }
    return true;
}

static void check_format(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId format = KEY_train_data_format, input = KEY_model_input;
    const KeyId objective = KEY_train_objective;
    if (sound(loader, format, objective) && !loader->bad[input]
        && !format_serves(s))
        clash(loader, format, s->train_data_format == TRAIN_DATA_FORMAT_IDX
              ? input : objective, "`%s` has no examples for `%s` of `%s`",
              saying(loader, format), saying(loader, objective),
              saying(loader, input));
}

static void check_special(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId vocab = KEY_model_vocab;
    for (int i = KEY_train_data_special_pad;
         i <= KEY_train_data_special_mask && key_active(s, vocab); i++) {
        int64_t id = *(int64_t *)value_field(loader->spec, (KeyId)i);
        if (sound(loader, (KeyId)i, vocab) && id >= s->model_vocab)
            clash(loader, (KeyId)i, vocab, "`%s` is no id below `%s`",
                  saying(loader, (KeyId)i), saying(loader, vocab));
    }
}

static void check_masking(Loader *loader)
{
    const Spec *s = loader->spec;
    const KeyId mask = KEY_train_masking_mask;
    const KeyId random = KEY_train_masking_random;
    const double slack = 1e-9;          /* 0.7 + 0.3 is 1 */
    if (sound(loader, mask, random)
        && s->train_masking_mask + s->train_masking_random > 1 + slack)
        clash(loader, mask, random, "`%s` and `%s` are more than the whole",
              saying(loader, mask), saying(loader, random));
}

void check_model_rules(Loader *loader)
{
    check_kind(loader);
    check_input(loader);
    check_relative(loader);
    check_norm(loader);
    check_experts(loader);
    check_objective(loader);
    check_bytes(loader);
    check_format(loader);
    check_special(loader);
    check_masking(loader);
}
