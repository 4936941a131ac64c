/* fake_program.c: a Program written by hand, so that the runtime can be
 * tested without the compiler. The model is small and wrong for language but
 * has all that the runtime deals with: a repeated tensor of which one copy is
 * frozen, tables, two moments, clipping, skipping, a cache of sorts.
 *
 *     x[t]   = embed[token[t]] + positions[t]
 *     x[t]  += W_i x[t] + b_i          for block i = 0, 1
 *     logits = head x[t]
 *
 * Thread 0 computes; the others meet it at barriers and share the update.
 * Three environment variables make trouble on purpose: FAKE_SLEEP
 * (milliseconds a step), FAKE_NAN ("A-B": steps whose loss is not a number)
 * and FAKE_EVAL_SLEEP.
 * */
#define _GNU_SOURCE
#include "program.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { V = 256, C = 16, L = 2, B = 4, T = 16, CONTEXT = 32, CHUNK = 8 };

/* The memory map, in floats: weights … */
enum {
    EMBED = 0,
    BLOCK = EMBED + V * C,              /* a block: weight [C,C], bias [C] */
    BLOCK_SIZE = C * C + C,
    HEAD = BLOCK + L * BLOCK_SIZE,
    POSITIONS = HEAD + V * C,
    COSINES = POSITIONS + CONTEXT * C,
    SLOPES = COSINES + CONTEXT * C,
    WEIGHTS = SLOPES + 8,
};
/* … and values, of every step alike: ids, then floats. */
enum {
    TOKENS_AT = 0,
    TARGETS_AT = TOKENS_AT + 4 * B * CONTEXT,
    LENGTHS_AT = TARGETS_AT + 4 * B * CONTEXT,
    GRADIENTS = (LENGTHS_AT + 4 * B) / 4,
    GRADIENT_FLOATS = POSITIONS,
    X = GRADIENTS + GRADIENT_FLOATS,    /* [L+1][B·CONTEXT][C] */
    X_SIZE = B * CONTEXT * C,
    LOGITS = X + (L + 1) * X_SIZE,      /* [B·CONTEXT][V] */
    PAIRS = LOGITS + B * CONTEXT * V,   /* [2][CONTEXT][CONTEXT], for forward */
    VALUES = PAIRS + 2 * CONTEXT * CONTEXT,
};

static void make_trouble(const char *name)
{
    const char *sleep = getenv(name);
    struct timespec left = {0};
    if (sleep)
        left = (struct timespec){ atoi(sleep) / 1000,
                                  atoi(sleep) % 1000 * 1000000 };
    while (sleep && nanosleep(&left, &left) != 0)
        ;
}

static int is_poisoned(const Control *c)
{
    int from, to;
    const char *range = getenv("FAKE_NAN");
    return range && sscanf(range, "%d-%d", &from, &to) == 2 && c->step >= from
        && c->step <= to;
}

/* ---- forward and backward of one token ---------------------------------- */

static void token_forward(const Control *c, long row, long position)
{
    const float *w = c->weights;
    for (int j = 0; j < C; j++)
        c->values[X + row * C + j] = w[EMBED + c->tokens[row] * C + j]
            + w[POSITIONS + position * C + j];
    for (int i = 0; i < L; i++) {
        const float *block = w + BLOCK + i * BLOCK_SIZE;
        const float *x = c->values + X + i * X_SIZE + row * C;
        float *out = c->values + X + (i + 1) * X_SIZE + row * C;
        for (int j = 0; j < C; j++) {
            out[j] = x[j] + block[C * C + j];
            for (int k = 0; k < C; k++)
                out[j] += block[j * C + k] * x[k];
        }
    }
    const float *x = c->values + X + L * X_SIZE + row * C;
    for (int v = 0; v < V; v++) {
        float logit = 0;
        for (int j = 0; j < C; j++)
            logit += w[HEAD + v * C + j] * x[j];
        c->values[LOGITS + row * V + v] = logit;
    }
}

/* The loss of a row; its logits become probabilities. */
static double row_loss(const Control *c, long row)
{
    float *p = c->values + LOGITS + row * V;
    float most = p[0], sum = 0;
    for (int v = 1; v < V; v++)
        most = p[v] > most ? p[v] : most;
    float target = p[c->targets[row]] - most;
    for (int v = 0; v < V; v++)
        sum += p[v] = expf(p[v] - most);
    for (int v = 0; v < V; v++)
        p[v] /= sum;
    return logf(sum) - target;
}

static void token_backward(const Control *c, long row, float scale)
{
    const float *w = c->weights;
    float *g = c->values + GRADIENTS;
    float dx[C] = {0};
    const float *x = c->values + X + L * X_SIZE + row * C;
    for (int v = 0; v < V; v++) {
        float d = c->values[LOGITS + row * V + v] - (v == c->targets[row]);
        for (int j = 0; j < C; j++) {
            g[HEAD + v * C + j] += scale * d * x[j];
            dx[j] += scale * d * w[HEAD + v * C + j];
        }
    }
    for (int i = L - 1; i >= 0; i--) {
        const float *block = w + BLOCK + i * BLOCK_SIZE;
        float *dblock = g + BLOCK + i * BLOCK_SIZE;
        x = c->values + X + i * X_SIZE + row * C;
        float below[C];
        memcpy(below, dx, sizeof below);
        for (int j = 0; j < C; j++) {
            dblock[C * C + j] += dx[j];
            for (int k = 0; k < C; k++) {
                dblock[j * C + k] += dx[j] * x[k];
                below[k] += dx[j] * block[j * C + k];
            }
        }
        memcpy(dx, below, sizeof dx);
    }
    for (int j = 0; j < C; j++)
        g[EMBED + c->tokens[row] * C + j] += dx[j];
}

/* ---- steps -------------------------------------------------------------- */

/* Forward and loss of all rows, and backward too where `backward`. */
static void whole_batch(Control *c, int backward)
{
    long scored = 0;
    double loss = 0;
    for (long row = 0; row < c->batch * c->sequence; row++)
        scored += c->targets[row] >= 0;
    if (backward)
        memset(c->values + GRADIENTS, 0, sizeof(float) * GRADIENT_FLOATS);
    for (long row = 0; row < c->batch * c->sequence; row++) {
        token_forward(c, row, row % c->sequence);
        if (c->targets[row] < 0)
            continue;
        float logits[V];
        memcpy(logits, c->values + LOGITS + row * V, sizeof logits);
        loss += row_loss(c, row);
        if (backward)
            token_backward(c, row, 1.0f / (float)scored);
        memcpy(c->values + LOGITS + row * V, logits, sizeof logits);
    }
    c->scored = scored;
    c->loss = backward && scored ? loss / (double)scored : loss;
}

/* Whether a parameter's element is trained: block 1's weight is frozen. */
static int is_trained(long i)
{
    return i < BLOCK + BLOCK_SIZE || i >= BLOCK + BLOCK_SIZE + C * C;
}

static void update(const Thread *me, Control *c)
{
    float *m = c->state, *v = c->state + GRADIENT_FLOATS;
    for (long i = share_start(me, GRADIENT_FLOATS);
         i < share_end(me, GRADIENT_FLOATS); i++) {
        float g = c->values[GRADIENTS + i] * c->clip_scale;
        if (!is_trained(i))
            continue;
        m[i] = c->beta1 * m[i] + c->rest1 * g;
        v[i] = c->beta2 * v[i] + c->rest2 * g * g;
        float step = m[i] * c->correction1
            / (sqrtf(v[i] * c->correction2) + c->epsilon);
        c->weights[i] -= c->lr * (step + c->decay * c->weights[i]);
    }
}

static void train_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        make_trouble("FAKE_SLEEP");
        whole_batch(c, 1);
        double squares = 0;
        for (long i = 0; i < GRADIENT_FLOATS; i++)
            if (is_trained(i))
                squares += (double)c->values[GRADIENTS + i]
                    * c->values[GRADIENTS + i];
        if (is_poisoned(c))
            c->loss = NAN;
        c->grad_norm = sqrt(squares);
        c->applied = isfinite(c->loss) && isfinite(c->grad_norm);
        c->clip_scale = c->clip > 0 && c->grad_norm > c->clip
            ? (float)(c->clip / c->grad_norm) : 1;
    }
    barrier(me);
    if (c->applied)
        update(me, c);
    me->workspace[0] = 1;
    barrier(me);
}

static void grad_entry(const Thread *me, Control *c)
{
    if (me->index == 0)
        whole_batch(c, 1);
    barrier(me);
}

static void eval_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        make_trouble("FAKE_EVAL_SLEEP");
        whole_batch(c, 0);
    }
    barrier(me);
}

/* The last token's logits go to row 0. */
static void generate_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        long last = c->sequence - 1;
        for (long row = 0; row < c->sequence; row++)
            token_forward(c, row, c->position + row);
        memmove(c->values + LOGITS, c->values + LOGITS + last * V,
                sizeof(float) * V);
    }
    barrier(me);
}

static void forward_entry(const Thread *me, Control *c)
{
    if (me->index == 0) {
        for (long row = 0; row < c->sequence; row++)
            token_forward(c, row, row);
        for (long i = 0; i < 2 * c->sequence * c->sequence; i++)
            c->values[PAIRS + i] = (float)i;
    }
    barrier(me);
}

/* ---- the description ---------------------------------------------------- */

static const Tensor tensors[] = {
    { .name = "embed.token.weight", .repeat = 1, .rank = 2, .dim0 = V,
      .dim1 = C, .weight = EMBED, .gradient = EMBED, .frozen = "",
      .init = "normal", .init_a = 0.3, .decay = 1 },
    { .name = "blocks.{i}.ff.weight", .repeat = L, .rank = 2, .dim0 = C,
      .dim1 = C, .weight = BLOCK, .weight_stride = BLOCK_SIZE,
      .gradient = BLOCK, .gradient_stride = BLOCK_SIZE, .frozen = "-f",
      .init = "normal", .init_a = 0.02, .decay = 1 },
    { .name = "blocks.{i}.ff.bias", .repeat = L, .rank = 1, .dim0 = C,
      .weight = BLOCK + C * C, .weight_stride = BLOCK_SIZE,
      .gradient = BLOCK + C * C, .gradient_stride = BLOCK_SIZE, .frozen = "",
      .init = "zeros" },
    { .name = "head.weight", .repeat = 1, .rank = 2, .dim0 = V, .dim1 = C,
      .weight = HEAD, .gradient = HEAD, .frozen = "", .init = "normal",
      .init_a = 0.3, .decay = 1 },
    { .name = "positions", .repeat = 1, .rank = 2, .dim0 = CONTEXT, .dim1 = C,
      .weight = POSITIONS, .gradient = -1, .frozen = "", .init = "sinusoidal",
      .init_a = 10000, .constant = 1 },
    { .name = "cosines", .repeat = 1, .rank = 2, .dim0 = CONTEXT, .dim1 = C,
      .weight = COSINES, .gradient = -1, .frozen = "", .init = "rotary-cos",
      .init_a = 10000, .constant = 1 },
    { .name = "slopes", .repeat = 1, .rank = 1, .dim0 = 8, .weight = SLOPES,
      .gradient = -1, .frozen = "", .init = "alibi", .constant = 1 },
};

static const Memory train_memory[] = {
    { "gradients", 4 * GRADIENT_FLOATS },
    { "saved", 4 * (VALUES - GRADIENT_FLOATS) },
};

static const Value values[] = {
    { .name = "embed", .repeat = 1, .rank = 3, .dim0 = 0, .dim1 = -1,
      .dim2 = C, .offset = X },
    { .name = "blocks.{i}.out", .repeat = L, .rank = 3, .dim0 = 0,
      .dim1 = -1, .dim2 = C, .offset = X + X_SIZE, .stride = X_SIZE },
    { .name = "blocks.{i}.attn.weights", .repeat = 1, .rank = 4, .dim0 = 0,
      .dim1 = 2, .dim2 = -1, .dim3 = -1, .offset = PAIRS },
    { .name = "logits", .repeat = 1, .rank = 3, .dim0 = 0, .dim1 = -1,
      .dim2 = V, .offset = LOGITS },
};

#ifndef FAKE_THREAD_BYTES
#define FAKE_THREAD_BYTES 64
#endif

static const Input inputs[] = {
    { .name = "tokens", .rank = 2, .dim1 = -1, .offset = TOKENS_AT },
    { .name = "targets", .rank = 2, .dim1 = -1, .offset = TARGETS_AT },
    { .name = "lengths", .rank = 1, .offset = LENGTHS_AT },
};

#define PLACES .value_bytes = 4 * VALUES,                               \
    .thread_bytes = FAKE_THREAD_BYTES,                                  \
    .flops = 3.0 * B * T * 2 * (L * C * C + V * C),                     \
    .input_count = 3, .inputs = inputs

static const Step steps[] = {
    { .name = "train", .batch = B, .sequence = T, PLACES, .logits_at = -1,
      .state_bytes = 8 * GRADIENT_FLOATS, .gradients_at = 4 * GRADIENTS,
      .memory_count = 2, .memory = train_memory, .entry = train_entry },
    { .name = "eval", .batch = B / 2, .sequence = T, PLACES, .logits_at = -1,
      .gradients_at = -1, .entry = eval_entry },
    { .name = "grad", .batch = B, .sequence = T, PLACES,
      .logits_at = 4 * LOGITS, .gradients_at = 4 * GRADIENTS,
      .entry = grad_entry },
    { .name = "generate", .batch = 1, .sequence = CHUNK, PLACES,
      .logits_at = 4 * LOGITS, .gradients_at = -1, .entry = generate_entry },
    { .name = "forward", .batch = 1, .sequence = CONTEXT, PLACES,
      .logits_at = 4 * LOGITS, .gradients_at = -1, .value_count = 4,
      .values = values, .entry = forward_entry },
};

#define KEY(path, type, least, most, choices, value) \
    { path, type, least, most, choices, value, "" }

static const RunKey keys[] = {
    KEY("model.dim", "fixed", 1, 2147483647, "", "16"),
    KEY("train.optimizer.momentum", "fixed", 0, 1, "", "0"),
    KEY("train.steps", "int", 1, 2147483647, "", "40"),
    KEY("train.seed", "int", 0, 9007199254740992, "", "1337"),
    KEY("train.data.path", "path", 0, 0, "", ""),
    KEY("train.data.eval", "path", 0, 0, "", "none"),
    KEY("train.data.format", "choice", 0, 0, "auto|text|bytes|nanogpt|llmc",
        "auto"),
    KEY("train.data.order", "choice", 0, 0, "shuffled|sequential", "shuffled"),
    KEY("train.data.split", "decimal", 0, 0.9999, "", "0.1"),
    KEY("train.label_smoothing", "number", 0, 0.9999, "", "0.0"),
    KEY("train.optimizer.lr", "number", 0, 3e38, "", "1e-2"),
    KEY("train.optimizer.betas", "pair", 0, 0.9999, "", "[0.9, 0.95]"),
    KEY("train.optimizer.eps", "number", 0, 3e38, "", "1e-8"),
    KEY("train.optimizer.weight_decay", "number", 0, 3e38, "", "0.1"),
    KEY("train.optimizer.clip", "number", 0, 3e38, "", "1.0"),
    KEY("train.schedule.type", "choice", 0, 0,
        "constant|linear|cosine|inverse-sqrt|wsd", "cosine"),
    KEY("train.schedule.warmup", "int", 0, 2147483647, "", "5"),
    KEY("train.schedule.min_lr", "number", 0, 3e38, "", "1e-3"),
    KEY("train.schedule.decay", "int", 0, 2147483647, "", "0"),
    KEY("train.checkpoint.every", "int", 1, 2147483647, "", "10"),
    KEY("train.checkpoint.keep", "int", 1, 2147483647, "", "2"),
    KEY("train.eval.every", "int", 1, 2147483647, "", "10"),
    KEY("train.eval.steps", "int", 1, 2147483647, "", "3"),
};

#ifndef FAKE_MODEL
#define FAKE_MODEL "aaaaaaaaaaaaaaaa"
#endif
#ifndef FAKE_FEATURES
#define FAKE_FEATURES ""
#endif

static const Program program = {
    .name = "fake", .version = "0.0.0",
    .spec = "name: fake\nmodel:\n  vocab: 256\n  dim: 16\n",
    .spec_hash = FAKE_MODEL, .model_hash = FAKE_MODEL,
    .source_hash = FAKE_MODEL, .target = "cpu", .features = FAKE_FEATURES,
    .kind = "decoder", .input = "tokens", .head = "lm",
    .objective = "next-token",
    .vocab = V, .context = CONTEXT, .blocks = L, .batch = B, .sequence = T,
    .groups = 1, .causal = 1, .parameters = POSITIONS,
    .weight_bytes = 4 * WEIGHTS, .gradient_floats = GRADIENT_FLOATS,
    .share_floats = GRADIENT_FLOATS,
    .moments = 2,
    .tensor_count = sizeof tensors / sizeof tensors[0], .tensors = tensors,
    .step_count = sizeof steps / sizeof steps[0], .steps = steps,
    .key_count = sizeof keys / sizeof keys[0], .keys = keys,
};

int main(int argc, char **argv)
{
    return trainwright_main(&program, argc, argv);
}
