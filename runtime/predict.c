/* predict.c: `predict`: what a model says of each input in a file, a line an
 * input, in the order of the file (docs/contract.md, section 1):
 *
 *     classifiers         label TAB probability
 *     masked tokens       text with the masked positions filled in TAB text as
 *                         it was TAB right/masked; positions are masked as in
 *                         evaluation, or hold the mask token already: then the
 *                         second text has it too, and nothing is right or wrong
 *     encoder-decoders    the target that is written, greedily unless
 *                         --temperature says otherwise; it ends before eos
 *
 * A label has the name that the run of the weights knows it by (run.json), else
 * the training data's, else it is a number. Texts are bytes, with \n, \t, \r,
 * \\ and \xHH for a line's end, a tab and other control characters, and <ID>
 * for a token that is no byte; files of token ids give ids, with blanks between
 * them. Where labels or targets are given, accuracy is said on stderr at the
 * end: of labels, of masked tokens, or of whole targets.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "decode.h"
#include "elementary.h"
#include "inputs.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Prediction {
    const Program *program;
    const Options *options;
    Corpus corpus;
    int64_t count;              /* inputs */
    bool ids;                   /* tokens are shown as numbers */
    int64_t known, right;       /* what is given, and of that predicted */
} Prediction;

/* ---- texts -------------------------------------------------------------- */

static void put_byte(int32_t byte)
{
    if (byte == '\n' || byte == '\t' || byte == '\r')
        printf("\\%c", byte == '\n' ? 'n' : byte == '\t' ? 't' : 'r');
    else if (byte == '\\')
        printf("\\\\");
    else if (byte < 32 || byte == 127)
        printf("\\x%02x", (unsigned)byte);
    else
        putchar(byte);
}

static void put_tokens(const Prediction *p, const int32_t *tokens,
                       int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (p->ids)
            printf("%s%d", i ? " " : "", tokens[i]);
        else if (tokens[i] < 256)
            put_byte(tokens[i]);
        else
            printf("<%d>", tokens[i]);
}

/* ---- logits ------------------------------------------------------------- */

/* The largest logit, lowest first; -1 with an error where one is NaN. */
static int64_t largest(const float *logits, int64_t count, Error *error)
{
    int64_t best = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(logits[i])) {
            error_set(error, ERROR_INPUT, "the model's logits are not finite: "
                      "are these the right weights?");
            return -1;
        }
        if (logits[i] > logits[best])
            best = i;
    }
    return best;
}

static double probability(const float *logits, int64_t count, int64_t of)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += f64_exp((double)logits[i] - (double)logits[of]);
    return 1 / sum;
}

/* ---- classifiers and masked tokens -------------------------------------- */

/* The step "predict", and what its batch's examples should come to. */
typedef struct Classifier {
    Prediction *p;
    Rank rank;
    const Step *step;
    int32_t *labels;            /* [batch] */
    int32_t *targets;           /* [batch, sequence] */
    int32_t *filled, *truth;    /* [sequence] */
    int32_t mask;               /* the mask token; -1: none */
} Classifier;

static bool put_label(Classifier *c, int64_t row, Error *error)
{
    Prediction *p = c->p;
    int64_t width = logits_width(p->program, c->step);
    const float *logits = rank_floats(&c->rank, c->step->logits_at)
        + row * width;
    int64_t label = largest(logits, width, error);
    if (label < 0)
        return false;
    const char *name = corpus_label_name(&p->corpus, label);
    if (name)
        printf("%s", name);
    else
        printf("%lld", (long long)label);
    printf("\t%.6g\n", probability(logits, width, label));
    p->known += c->labels[row] >= 0;
    p->right += c->labels[row] == label;
    return true;
}

/* Fills c->filled and c->truth with a row's tokens. */
static bool fill_masked(Classifier *c, int64_t row, int64_t length,
                        int64_t *masked, int64_t *right, Error *error)
{
    int64_t T = c->step->sequence, width = logits_width(c->p->program, c->step);
    const int32_t *tokens = c->rank.control.tokens + row * T;
    const int32_t *targets = c->targets + row * T;
    const float *logits = rank_floats(&c->rank, c->step->logits_at)
        + row * T * width;
    *masked = *right = 0;
    for (int64_t t = 0; t < length; t++) {
        c->filled[t] = c->truth[t] = tokens[t];
        if (targets[t] < 0 && (c->mask < 0 || tokens[t] != c->mask))
            continue;
        int64_t best = largest(logits + t * width, width, error);
        if (best < 0)
            return false;
        c->filled[t] = (int32_t)best;
        if (targets[t] < 0)
            continue;
        c->truth[t] = targets[t];
        (*masked)++;
        *right += best == targets[t];
    }
    return true;
}

static bool put_masked(Classifier *c, int64_t row, Error *error)
{
    Prediction *p = c->p;
    int64_t length = c->rank.control.lengths[row], masked, right;
    if (!fill_masked(c, row, length, &masked, &right, error))
        return false;
    put_tokens(p, c->filled, length);
    putchar('\t');
    put_tokens(p, c->truth, length);
    printf("\t%lld/%lld\n", (long long)right, (long long)masked);
    p->known += masked;
    p->right += right;
    return true;
}

/* The examples from `first` on to the call's rows; past the last is padding. */
static bool fill_call(Classifier *c, int64_t first, Error *error)
{
    int64_t T = c->step->sequence;
    rank_select(&c->rank, c->step);
    c->rank.control.sharpness = 1;
    for (int64_t row = 0; row < c->step->batch; row++) {
        Example example = example_at(c->p->program, &c->rank.control, c->step,
                                     row);
        example.labels = c->labels + row;
        example.targets = c->targets + row * T;
        c->labels[row] = -1;
        int64_t index = first + row < c->p->count ? first + row : INT64_MAX;
        if (!corpus_eval_example(&c->p->corpus, index, &example, error))
            return false;
    }
    return true;
}

static bool predict_all(Classifier *c, Error *error)
{
    Prediction *p = c->p;
    bool labels = is_classifier(p->program);
    for (int64_t first = 0; first < p->count; first += c->step->batch) {
        if (!fill_call(c, first, error))
            return false;
        rank_run(&c->rank, c->step);
        for (int64_t row = 0; row < c->step->batch && first + row < p->count;
             row++)
            if (labels ? !put_label(c, row, error) : !put_masked(c, row, error))
                return false;
    }
    return true;
}

static bool classifier_buffers(Classifier *c, Error *error)
{
    size_t B = (size_t)c->step->batch, T = (size_t)c->step->sequence;
    c->labels = calloc(B, sizeof *c->labels);
    c->targets = calloc(B * T, sizeof *c->targets);
    c->filled = calloc(T, sizeof *c->filled);
    c->truth = calloc(T, sizeof *c->truth);
    return (c->labels && c->targets && c->filled && c->truth)
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

static bool predict_classes(Prediction *p, Error *error)
{
    Classifier c = { .p = p, .step = program_step(p->program, "predict"),
                     .mask = corpus_special(&p->corpus, "mask") };
    if (!c.step || c.step->logits_at < 0)
        return error_set(error, ERROR_USAGE, "this program cannot predict");
    bool good = classifier_buffers(&c, error)
        && open_with_weights(&c.rank, p->program, "predict", p->options,
                             error);
    if (good) {
        good = predict_all(&c, error);
        rank_close(&c.rank);
    }
    free(c.labels);
    free(c.targets);
    free(c.filled);
    free(c.truth);
    return good;
}

/* ---- encoder-decoders --------------------------------------------------- */

/* An example: its source; the target's rows, of which the targets alone count;
 * what was written. Each [sequence], written [context]. */
typedef struct Translation {
    Prediction *p;
    Decoder decoder;
    int64_t sequence;
    int32_t *source, *tokens, *targets, *written;
} Translation;

/* Writes behind `token` until eos, or as many as there is room for. */
static int64_t write_target(Translation *t, int64_t example, int64_t length,
                            int32_t token, Error *error)
{
    Decoder *decoder = &t->decoder;
    const Options *options = t->p->options;
    int64_t most = t->p->program->context - 1, count = 0;
    int32_t eos = decoder->special.id[SPECIAL_EOS];
    if (options->tokens > 0 && options->tokens < most)
        most = options->tokens;
    decoder_encode(decoder, t->source, length);
    while (count < most) {
        const float *logits = decoder_run(decoder, &token, count, 1);
        token = decoder_draw(decoder, logits, example, count + 1, error);
        if (token < 0)
            return -1;
        if (token == eos)
            break;
        t->written[count++] = token;
    }
    return count;
}

/* Whether a target is given, and what is written is it. */
static void compare_target(Translation *t, int64_t written, int64_t length)
{
    int32_t eos = t->decoder.special.id[SPECIAL_EOS];
    int64_t count = 0;
    bool same = true;
    bool given = false;
    for (int64_t i = 0; i < length; i++) {
        given |= t->targets[i] >= 0;
        if (t->targets[i] < 0 || t->targets[i] == eos)
            break;
        same &= count < written && t->written[count] == t->targets[i];
        count++;
    }
    t->p->known += given;
    t->p->right += given && same && count == written;
}

static bool translate(Translation *t, int64_t index, Error *error)
{
    int32_t source_length = 0, length = 0;
    const Example example = {
        .source = t->source, .source_lengths = &source_length,
        .tokens = t->tokens, .targets = t->targets, .lengths = &length,
        .sequence = t->sequence,
    };
    if (!corpus_eval_example(&t->p->corpus, index, &example, error))
        return false;
    /* A target begins as the data's do, a missing one with bos. */
    int32_t first = length > 0 ? t->tokens[0]
        : t->decoder.special.id[SPECIAL_BOS];
    int64_t written = source_length > 0
        ? write_target(t, index, source_length, first, error) : 0;
    if (written < 0)
        return false;
    put_tokens(t->p, t->written, written);
    putchar('\n');
    compare_target(t, written, length);
    return true;
}

static bool translation_buffers(Translation *t, Error *error)
{
    size_t T = (size_t)t->sequence;
    t->source = calloc(T, sizeof *t->source);
    t->tokens = calloc(T, sizeof *t->tokens);
    t->targets = calloc(T, sizeof *t->targets);
    t->written = calloc((size_t)t->p->program->context + 1,
                        sizeof *t->written);
    return (t->source && t->tokens && t->targets && t->written)
        || error_set(error, ERROR_ENVIRONMENT, "out of memory");
}

static bool predict_targets(Prediction *p, Error *error)
{
    Translation t = { .p = p, .sequence = p->program->context };
    bool good = decoder_open(&t.decoder, p->program, p->options, error)
        && translation_buffers(&t, error)
        && decoder_load(&t.decoder, 0, error);
    for (int64_t i = 0; good && i < p->count; i++)
        good = translate(&t, i, error);
    decoder_close(&t.decoder);
    free(t.source);
    free(t.tokens);
    free(t.targets);
    free(t.written);
    return good;
}

/* ---- the command -------------------------------------------------------- */

static bool predict(Prediction *p, Error *error)
{
    p->count = corpus_eval_count(&p->corpus);
    DataFormat format = p->corpus.data.format;
    p->ids = format == DATA_SAFETENSORS
        || (data_is_tokens(format) && !corpus_is_bytes(&p->corpus.eval));
    if (p->count == 0)
        return error_set(error, ERROR_INPUT, "there is nothing in %s",
                         p->options->data);
    if (!(is_encoder_decoder(p->program) ? predict_targets(p, error)
                                         : predict_classes(p, error)))
        return false;
    fflush(stdout);
    if (p->known > 0)
        fprintf(stderr, "accuracy %.6g (%lld of %lld)\n",
                (double)p->right / (double)p->known, (long long)p->right,
                (long long)p->known);
    return true;
}

int command_predict(const Program *program, const Options *options,
                    Error *error)
{
    Prediction p = { .program = program, .options = options };
    Settings settings;
    if (!options->weights || !options->data)
        return error_set(error, ERROR_USAGE, "predict needs --weights and "
                         "--data"), error->status;
    if (!is_encoder_decoder(program) && !is_classifier(program)
        && !is_masked(program))
        return error_set(error, ERROR_INPUT, "predict is for classifiers, "
                         "masked tokens and encoder-decoders; generate "
                         "continues a text"), error->status;
    bool good = settings_read(&settings, program, &options->sets, error)
        && open_source(&p.corpus, program, &settings, options, true, error);
    if (good) {
        good = predict(&p, error);
        corpus_close(&p.corpus);
    }
    settings_free(&settings);
    return good ? 0 : error->status;
}
