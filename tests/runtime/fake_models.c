/* fake_models.c: programs of every kind, written by hand as fake_program.c is,
 * so that the runtime's commands can be tested without the compiler. FAKE_KIND
 * says which. All are linear: a row of logits is a sum of rows of one weight,
 *
 *     logits = Σ_i factor_i · table[index_i] + bias
 *
 * and what the factors and indices are (rows_of and pooled_row below) depends on
 * every input that the kind has, so that a number in a wrong place shows. Only
 * thread 0 computes. Steps other than train and grad take the bias from a
 * derived table that the step "prepare" copies: where the runtime forgets to
 * prepare, the logits are wrong.
 */
#include "program.h"
#include <math.h>
#include <string.h>

/* The kinds, as run.sh builds them. */
#define TEXTS 0         /* classifier of tokens, with types and "experts" */
#define IMAGES 1
#define GRAPHS 2
#define MASKED 3        /* masked tokens and next sentences */
#define PAIRS 4         /* encoder-decoder */
#define PREFERENCES 5
#ifndef FAKE_KIND
#error "FAKE_KIND says which program"
#endif

enum {
    CLASSIFIES = FAKE_KIND <= GRAPHS, TOKENS = FAKE_KIND != IMAGES && FAKE_KIND != GRAPHS,
    SIDES = FAKE_KIND == PREFERENCES ? 2 : 1,
    V = TOKENS ? 264 : 0, CLASSES = 3, TYPES = 2,
    CHANNELS = 1, SIZE = 6, PIXELS = CHANNELS * SIZE * SIZE, NODES = 5, FEATURES = 4,
    B = 4, T = FAKE_KIND == IMAGES ? 9 : FAKE_KIND == GRAPHS ? NODES : 16,
    CONTEXT = TOKENS ? 24 : T,
    ROWS = B * SIDES,           /* sequences, of any step at most */
    WIDTH = CLASSIFIES ? CLASSES : V,
    KEYS = FAKE_KIND == IMAGES ? PIXELS : FAKE_KIND == GRAPHS ? FEATURES : V,
    TABLE = 0, TABLE_SIZE = 2 * KEYS * WIDTH,   /* weight [2, KEYS, WIDTH] */
    BIAS = TABLE + TABLE_SIZE,
    GRADIENT_FLOATS = BIAS + WIDTH,
    DERIVED = GRADIENT_FLOATS,
    DISTANCES = DERIVED + WIDTH,                /* relative [2·CONTEXT-1, 4] */
    WEIGHTS = DISTANCES + (2 * CONTEXT - 1) * 4,
};

/* ---- values, in floats -------------------------------------------------- */

enum {
    TOKENS_AT = 0, TARGETS_AT = TOKENS_AT + ROWS * CONTEXT,
    SOURCE_AT = TARGETS_AT + ROWS * CONTEXT, TYPES_AT = SOURCE_AT + ROWS * CONTEXT,
    LENGTHS_AT = TYPES_AT + ROWS * CONTEXT, SOURCE_LENGTHS_AT = LENGTHS_AT + ROWS,
    LABELS_AT = SOURCE_LENGTHS_AT + ROWS, REFERENCE_AT = LABELS_AT + ROWS,
    EDGES_AT = REFERENCE_AT + ROWS, NODES_AT = EDGES_AT + ROWS * NODES * NODES,
    IMAGES_AT = NODES_AT + ROWS * NODES * FEATURES,
    GRADIENTS = IMAGES_AT + ROWS * PIXELS,
    CACHE = GRADIENTS + GRADIENT_FLOATS,        /* the encoded source, as i32 */
    SUMS = CACHE + CONTEXT + 1,
    LOGITS = SUMS + ROWS,
    VALUES = LOGITS + ROWS * CONTEXT * (WIDTH > 2 ? WIDTH : 2),
};

/* ---- a row of logits ---------------------------------------------------- */

typedef struct Row {
    int count;
    int index[64];
    float factor[64];
} Row;

static void add(Row *row, int index, float factor)
{
    row->index[row->count] = index;
    row->factor[row->count++] = factor;
}

/* Of position t: by its token and, in an encoder-decoder, by the source's token
 * at the same place, else by its type. */
static Row row_of(const Control *c, long b, long t)
{
    Row row = {0};
    long at = b * c->sequence + t;
    if (FAKE_KIND == PAIRS) {
        int source = t < c->source_lengths[b] ? c->source[at] : 0;
        add(&row, source, 1);
        add(&row, KEYS + c->tokens[at], 1);
        return row;
    }
    add(&row, c->tokens[at], 1);
    add(&row, KEYS + (FAKE_KIND == MASKED ? c->types[at] : 0), 1);
    return row;
}

/* Of a sequence: the mean over its positions, pixels, or nodes and edges. */
static Row pooled_row(const Control *c, long b)
{
    Row row = {0};
    float length = c->lengths[b] > 0 ? (float)c->lengths[b] : 1;
    for (int i = 0; FAKE_KIND == IMAGES && i < PIXELS; i++)
        add(&row, i, c->images[b * PIXELS + i]);
    float edges = 0;
    for (int i = 0; FAKE_KIND == GRAPHS && i < NODES * NODES; i++)
        edges += c->edges[b * NODES * NODES + i] != 0;
    if (FAKE_KIND == GRAPHS)
        add(&row, KEYS, edges / (NODES * NODES));
    for (int i = 0; FAKE_KIND == GRAPHS && i < c->lengths[b] * FEATURES; i++)
        add(&row, i % FEATURES, c->nodes[b * NODES * FEATURES + i] / length);
    for (long t = 0; TOKENS && t < c->lengths[b]; t++) {
        add(&row, c->tokens[b * c->sequence + t], 1 / length);
        add(&row, KEYS + (c->types ? c->types[b * c->sequence + t] : 0),
            1 / length);
    }
    return row;
}

static void logits_of(const Control *c, const Row *row, int bias, int width,
                      float *logits)
{
    for (int v = 0; v < width; v++) {
        logits[v] = c->weights[bias + v];
        for (int i = 0; i < row->count; i++)
            logits[v] += row->factor[i]
                * c->weights[TABLE + row->index[i] * WIDTH + v];
    }
}

/* log softmax at `target`; p gets the softmax. */
static double log_probability(const float *logits, int width, int target,
                              float *p)
{
    float most = logits[0], sum = 0;
    for (int v = 1; v < width; v++)
        most = logits[v] > most ? logits[v] : most;
    for (int v = 0; v < width; v++)
        sum += p[v] = expf(logits[v] - most);
    for (int v = 0; v < width; v++)
        p[v] /= sum;
    return (double)(logits[target] - most - logf(sum));
}

static int likeliest(const float *logits, int width)
{
    int best = 0;
    for (int v = 1; v < width; v++)
        best = logits[v] > logits[best] ? v : best;
    return best;
}

/* Adds the gradient of -log p(target), times `scale`. */
static void add_gradient(Control *c, const Row *row, const float *p, int width,
                         int target, float scale)
{
    float *g = c->values + GRADIENTS;
    for (int v = 0; v < width; v++) {
        float d = scale * (p[v] - (v == target));
        g[BIAS + v] += d;
        for (int i = 0; i < row->count; i++)
            g[TABLE + row->index[i] * WIDTH + v] += d * row->factor[i];
    }
}

/* ---- losses ------------------------------------------------------------- */

typedef struct Pass {
    Control *c;
    int bias;                   /* BIAS, or DERIVED where it was prepared */
    int backward;
    long scored, labels;        /* in the whole batch */
} Pass;

/* Loss of labels from pooled rows; the logits of classifiers are kept. */
static void label_pass(const Pass *pass)
{
    Control *c = pass->c;
    int width = CLASSIFIES ? CLASSES : 2;
    for (long b = 0; b < c->batch; b++) {
        float own[3], p[3];
        float *logits = CLASSIFIES ? c->values + LOGITS + b * CLASSES : own;
        Row row = pooled_row(c, b);
        logits_of(c, &row, pass->bias, width, logits);
        if (!c->labels || c->labels[b] < 0)
            continue;
        c->label_loss -= log_probability(logits, width, c->labels[b], p);
        c->label_correct += likeliest(logits, width) == c->labels[b];
        if (pass->backward)
            add_gradient(c, &row, p, width, c->labels[b],
                         1 / (float)pass->labels);
    }
}

/* Loss of positions; the sum of a sequence's log-probabilities. */
static double sequence_pass(const Pass *pass, long b, float scale)
{
    Control *c = pass->c;
    static float p[264];
    double sum = 0;
    for (long t = 0; t < c->sequence; t++) {
        long at = b * c->sequence + t;
        float *logits = c->values + LOGITS + at * WIDTH;
        Row row = row_of(c, b, t);
        logits_of(c, &row, pass->bias, WIDTH, logits);
        if (!c->targets || c->targets[at] < 0)
            continue;
        sum += log_probability(logits, WIDTH, c->targets[at], p);
        c->correct += likeliest(logits, WIDTH) == c->targets[at];
        if (scale != 0)
            add_gradient(c, &row, p, WIDTH, c->targets[at], scale);
    }
    return sum;
}

/* The difference of two sides against the reference's; beta is 0.1. */
static void preference_pass(const Pass *pass, long pair)
{
    Control *c = pass->c;
    double beta = 0.1;
    double chosen = sequence_pass(pass, 2 * pair, 0);
    double rejected = sequence_pass(pass, 2 * pair + 1, 0);
    double z = beta * ((chosen - (double)c->reference[2 * pair])
                       - (rejected - (double)c->reference[2 * pair + 1]));
    c->label_loss += log1p(exp(-z));
    c->label_correct += z > 0;
    if (!pass->backward)
        return;
    float d = (float)(beta / (1 + exp(z)) / (double)pass->labels);
    sequence_pass(pass, 2 * pair, d);
    sequence_pass(pass, 2 * pair + 1, -d);
}

/* The whole batch; `backward`: the loss is a mean, and gradients are left. */
static void whole_batch(Control *c, int bias, int backward)
{
    Pass pass = { .c = c, .bias = bias, .backward = backward };
    for (long i = 0; c->targets && i < c->batch * c->sequence; i++)
        pass.scored += c->targets[i] >= 0;
    for (long b = 0; c->labels && b < c->batch; b++)
        pass.labels += c->labels[b] >= 0;
    for (long b = 0; SIDES == 2 && c->reference && b < c->batch; b += 2)
        pass.labels += c->lengths[b] > 0;
    c->label_loss = 0;
    c->label_correct = c->correct = 0;
    if (backward)
        memset(c->values + GRADIENTS, 0, sizeof(float) * GRADIENT_FLOATS);
    double loss = 0;
    for (long b = 0; TOKENS && !CLASSIFIES && SIDES == 1 && b < c->batch; b++)
        loss -= sequence_pass(&pass, b, backward ? 1 / (float)pass.scored : 0);
    for (long b = 0; SIDES == 2 && b < c->batch; b += 2)
        if (c->lengths[b] > 0)
            preference_pass(&pass, b / 2);
    if (CLASSIFIES || FAKE_KIND == MASKED)
        label_pass(&pass);
    c->scored = pass.scored;
    c->label_scored = pass.labels;
    c->loss = loss;
    c->aux_loss = FAKE_KIND == TEXTS ? 0.125 : 0;
    if (backward)
        c->loss = (pass.scored && SIDES == 1 ? loss / (double)pass.scored : 0)
            + (pass.labels ? c->label_loss / (double)pass.labels : 0)
            + c->aux_loss;
}

/* ---- steps -------------------------------------------------------------- */

static void train_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        whole_batch(c, BIAS, 1);
        double squares = 0;
        for (long i = 0; i < GRADIENT_FLOATS; i++) {
            float g = c->values[GRADIENTS + i];
            squares += (double)g * (double)g;
            c->weights[i] -= c->lr * g;
        }
        c->grad_norm = sqrt(squares);
        c->clip_scale = 1;
        c->applied = 1;
    }
    barrier(me);
}

static void grad_entry(const Thread *me, Control *c)
{
    if (me->index == 0)
        whole_batch(c, BIAS, 1);
    barrier(me);
}

static void eval_entry(const Thread *me, Control *c)
{
    if (me->index == 0)
        whole_batch(c, DERIVED, 0);
    barrier(me);
}

/* forward and predict: logits alone */
static void logits_entry(const Thread *me, Control *c)
{
    Pass pass = { .c = c, .bias = DERIVED };
    if (me->index == 0 && CLASSIFIES)
        label_pass(&pass);
    for (long b = 0; me->index == 0 && !CLASSIFIES && b < c->batch; b++)
        sequence_pass(&pass, b, 0);
    barrier(me);
}

static void prepare_entry(const Thread *me, Control *c)
{
    if (me->index == 0)
        memcpy(c->weights + DERIVED, c->weights + BIAS, sizeof(float) * WIDTH);
    barrier(me);
}

#if FAKE_KIND == PREFERENCES
static void score_entry(const Thread *me, Control *c)
{
    Pass pass = { .c = c, .bias = DERIVED };
    for (long b = 0; me->index == 0 && b < c->batch; b++)
        c->values[SUMS + b] = (float)sequence_pass(&pass, b, 0);
    barrier(me);
}
#elif FAKE_KIND == PAIRS
/* Keeps the source where generate finds it. */
static void encode_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        int32_t *cache = (int32_t *)(void *)(c->values + CACHE);
        memset(cache, 0, sizeof(int32_t) * CONTEXT);
        memcpy(cache, c->source, sizeof(int32_t) * (size_t)c->source_lengths[0]);
    }
    barrier(me);
}

static void generate_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        const int32_t *cache = (const int32_t *)(const void *)(c->values + CACHE);
        long last = c->position + c->sequence - 1;
        Row row = {0};
        add(&row, last < c->source_lengths[0] ? cache[last] : 0, 1);
        add(&row, KEYS + c->tokens[c->sequence - 1], 1);
        logits_of(c, &row, DERIVED, WIDTH, c->values + LOGITS);
    }
    barrier(me);
}
#endif

/* ---- the description ---------------------------------------------------- */

#define TENSOR .repeat = 1, .frozen = ""
static const Tensor tensors[] = {
    { TENSOR, .name = "experts.weight", .rank = 3, .dim0 = 2, .dim1 = KEYS,
      .dim2 = WIDTH, .weight = TABLE, .gradient = TABLE, .init = "normal",
      .init_a = 0.1, .decay = 1 },
    { TENSOR, .name = "head.bias", .rank = 1, .dim0 = WIDTH, .weight = BIAS,
      .gradient = BIAS, .init = "zeros" },
    { TENSOR, .name = "derived", .rank = 1, .dim0 = WIDTH, .weight = DERIVED,
      .gradient = -1, .init = "derived", .constant = 1 },
    { TENSOR, .name = "distances", .rank = 2, .dim0 = 2 * CONTEXT - 1, .dim1 = 4,
      .weight = DISTANCES, .gradient = -1, .init = "relative", .init_a = 10000, .constant = 1 },
};

#define IDS(name_, at) { .name = name_, .rank = 2, .dim1 = -1, .offset = 4 * at }
#define ONE(name_, at) { .name = name_, .rank = 1, .offset = 4 * at }
/* What all steps take, then what those do that score. */
static const Input inputs[] = {
    ONE("lengths", LENGTHS_AT),
#if FAKE_KIND == IMAGES
    { .name = "images", .real = 1, .rank = 2, .dim1 = PIXELS,
      .offset = 4 * IMAGES_AT },
#elif FAKE_KIND == GRAPHS
    { .name = "nodes", .real = 1, .rank = 3, .dim1 = -1, .dim2 = FEATURES,
      .offset = 4 * NODES_AT },
    { .name = "edges", .rank = 3, .dim1 = -1, .dim2 = -1, .offset = 4 * EDGES_AT },
#else
    IDS("tokens", TOKENS_AT),
#endif
#if FAKE_KIND == TEXTS || FAKE_KIND == MASKED
    IDS("types", TYPES_AT),
#elif FAKE_KIND == PAIRS
    IDS("source", SOURCE_AT), ONE("source_lengths", SOURCE_LENGTHS_AT),
#endif
#if FAKE_KIND > GRAPHS
    IDS("targets", TARGETS_AT),
#endif
#if FAKE_KIND <= MASKED
    ONE("labels", LABELS_AT),
#elif FAKE_KIND == PREFERENCES
    { .name = "reference", .real = 1, .rank = 2, .dim1 = 1,
      .offset = 4 * REFERENCE_AT },
#endif
};
enum {
    ALL_INPUTS = sizeof inputs / sizeof inputs[0],
    SCORED = FAKE_KIND <= GRAPHS || FAKE_KIND == PAIRS ? 1 : 2,
    PLAIN_INPUTS = ALL_INPUTS - SCORED,
};

static const Value values[] = {
    { .name = "logits", .repeat = 1, .rank = CLASSIFIES ? 2 : 3, .dim0 = 0,
      .dim1 = CLASSIFIES ? WIDTH : -1, .dim2 = CLASSIFIES ? 1 : WIDTH,
      .offset = LOGITS },
};

#define STEP(name_, batch_, sequence_, entry_) \
    .name = name_, .batch = batch_, .sequence = sequence_, .entry = entry_, \
    .inputs = inputs, .value_bytes = 4 * VALUES, .thread_bytes = 64, \
    .flops = 1e6, \
    .logits_width = WIDTH, .logits_pooled = CLASSIFIES

static const Step steps[] = {
    { STEP("train", B * SIDES, T, train_entry), .logits_at = -1, .sums_at = -1,
      .gradients_at = 4 * GRADIENTS, .input_count = ALL_INPUTS },
    { STEP("eval", B * SIDES / 2, T, eval_entry), .logits_at = -1, .sums_at = -1,
      .gradients_at = -1, .input_count = ALL_INPUTS },
    { STEP("grad", B * SIDES, T, grad_entry), .logits_at = 4 * LOGITS,
      .sums_at = -1, .gradients_at = 4 * GRADIENTS, .input_count = ALL_INPUTS },
    { STEP("forward", 1, CONTEXT, logits_entry), .logits_at = 4 * LOGITS,
      .sums_at = -1, .gradients_at = -1, .input_count = PLAIN_INPUTS,
      .value_count = 1, .values = values },
    { STEP("prepare", 1, 1, prepare_entry), .logits_at = -1, .sums_at = -1,
      .gradients_at = -1, .input_count = PLAIN_INPUTS },
#if FAKE_KIND <= MASKED
    { STEP("predict", 3, CONTEXT, logits_entry), .logits_at = 4 * LOGITS,
      .sums_at = -1, .gradients_at = -1, .input_count = PLAIN_INPUTS },
#elif FAKE_KIND == PAIRS
    { STEP("encode", 1, CONTEXT, encode_entry), .logits_at = -1, .sums_at = -1,
      .gradients_at = -1, .input_count = PLAIN_INPUTS },
    { STEP("generate", 1, 1, generate_entry), .logits_at = 4 * LOGITS,
      .sums_at = -1, .gradients_at = -1, .input_count = PLAIN_INPUTS },
#else
    { STEP("score", 3, CONTEXT, score_entry), .logits_at = -1,
      .sums_at = 4 * SUMS, .gradients_at = -1, .input_count = ALL_INPUTS - 1 },
#endif
};

#define KEY(path, type, least, most, choices, value) \
    { path, type, least, most, choices, value, "" }

static const RunKey keys[] = {
    KEY("train.steps", "int", 1, 2147483647, "", "60"),
    KEY("train.data.path", "path", 0, 0, "", ""),
    KEY("train.data.eval", "path", 0, 0, "", "none"),
    KEY("train.data.format", "choice", 0, 0,
        "auto|text|bytes|nanogpt|llmc|tsv|idx|jsonl|safetensors", "auto"),
    KEY("train.data.order", "choice", 0, 0, "shuffled|sequential", "shuffled"),
    KEY("train.data.split", "decimal", 0, 0.9999, "", "0.25"),
    KEY("train.optimizer.lr", "number", 0, 3e38, "", "1"),
    KEY("train.schedule.type", "choice", 0, 0, "constant|cosine", "constant"),
    KEY("train.schedule.warmup", "int", 0, 2147483647, "", "0"),
    KEY("train.checkpoint.every", "int", 1, 2147483647, "", "20"),
    KEY("train.eval.every", "int", 1, 2147483647, "", "20"),
    KEY("train.eval.steps", "int", 1, 2147483647, "", "100"),
};

static const char *const kinds[] = { "encoder", "encoder", "encoder", "encoder",
                                     "encoder-decoder", "decoder" };
static const char *const heads[] = { "classify", "classify", "classify", "mlm",
                                     "lm", "lm" };
static const char *const objectives[] = {
    "classify", "classify", "classify", "masked-token+next-sentence", "seq2seq",
    "preference"
};

int main(int argc, char **argv)
{
    const Program program = {
        .name = "fake", .version = "0.0.0", .spec = "name: fake\n",
        .spec_hash = "ffffffffffffffff", .model_hash = "ffffffffffffffff",
        .source_hash = "ffffffffffffffff", .target = "cpu", .features = "",
        .kind = kinds[FAKE_KIND], .head = heads[FAKE_KIND],
        .input = FAKE_KIND == IMAGES ? "image" : FAKE_KIND == GRAPHS ? "graph" : "tokens",
        .objective = objectives[FAKE_KIND], .vocab = V,
        .classes = CLASSIFIES ? CLASSES : 0,
        .channels = FAKE_KIND == IMAGES ? CHANNELS : 0,
        .image_size = FAKE_KIND == IMAGES ? SIZE : 0,
        .nodes = FAKE_KIND == GRAPHS ? NODES : 0,
        .node_features = FAKE_KIND == GRAPHS ? FEATURES : 0,
        .token_types = FAKE_KIND == TEXTS || FAKE_KIND == MASKED ? TYPES : 0,
        .experts = FAKE_KIND == TEXTS, .context = CONTEXT, .blocks = 0,
        .batch = B, .sequence = T, .groups = 1, .causal = FAKE_KIND >= PAIRS,
        .parameters = GRADIENT_FLOATS, .weight_bytes = 4 * WEIGHTS,
        .gradient_floats = GRADIENT_FLOATS,
        .share_floats = GRADIENT_FLOATS, .moments = 0,
        .tensor_count = 4, .tensors = tensors,
        .step_count = sizeof steps / sizeof steps[0], .steps = steps,
        .key_count = sizeof keys / sizeof keys[0], .keys = keys,
    };
    return trainwright_main(&program, argc, argv);
}
