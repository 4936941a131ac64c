/* generate.c: `generate`: continues a prompt; an encoder-decoder reads it as
 * its source and writes a target. The prompt goes through the step in chunks,
 * then each drawn token by itself, so every sample begins again right after
 * the prompt. A token is a byte, unless the prompt was given as ids: then ids
 * are printed. What is written ends at eos, where the model has one; only a
 * decoder whose prompt is ids goes on behind it.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "decode.h"
#include "files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPT = 1 << 26, TOKENS = 100 };   /* bytes of a --prompt-file */

typedef struct Generation {
    Decoder decoder;
    const Program *program;
    const Options *options;
    int32_t *prompt;
    int64_t prompt_tokens;
    int64_t position;           /* where a sample's first token stands */
    int32_t eos;                /* ends a sample; -1: nothing does */
    float *prompt_logits;       /* [vocab], after the prompt: a sample begins */
    char *text;                 /* of the sample so far, without the prompt */
    size_t length, shown;
} Generation;

/* ---- the prompt --------------------------------------------------------- */

static bool prompt_from_bytes(Generation *g, const char *bytes, size_t length,
                              Error *error)
{
    if (g->program->vocab < 256)
        return error_set(error, ERROR_INPUT, "the vocabulary has %lld tokens, "
                         "too few for bytes: give --prompt-ids",
                         (long long)g->program->vocab);
    /* One more for a source's eos. */
    g->prompt = calloc(length + 2, sizeof *g->prompt);
    if (!g->prompt)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (size_t i = 0; i < length; i++)
        g->prompt[i] = (unsigned char)bytes[i];
    g->prompt_tokens = (int64_t)length;
    return true;
}

static bool prompt_from_ids(Generation *g, const char *ids, Error *error)
{
    g->prompt = calloc(strlen(ids) + 1, sizeof *g->prompt);
    if (!g->prompt)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    while (*ids) {
        char word[32];
        size_t length = strcspn(ids, ",");
        int64_t id;
        snprintf(word, sizeof word, "%.*s", (int)(length < 31 ? length : 31),
                 ids);
        if (!parse_integer(word, &id))
            return error_set(error, ERROR_USAGE, "--prompt-ids wants ids, as "
                             "in 1,2,3: not '%s'", word);
        if (id < 0 || id >= g->program->vocab)
            return error_set(error, ERROR_INPUT, "--prompt-ids: %lld is no "
                             "token; the vocabulary has %lld", (long long)id,
                             (long long)g->program->vocab);
        g->prompt[g->prompt_tokens++] = (int32_t)id;
        ids += length + (ids[length] == ',');
    }
    return true;
}

static bool read_prompt(Generation *g, Error *error)
{
    const Options *options = g->options;
    if (options->prompt_ids)
        return prompt_from_ids(g, options->prompt_ids, error);
    if (options->prompt)
        return prompt_from_bytes(g, options->prompt, strlen(options->prompt),
                                 error);
    char *bytes;
    size_t length;
    if (!file_read_whole(options->prompt_file, MOST_PROMPT, &bytes, &length,
                         error))
        return false;
    bool good = prompt_from_bytes(g, bytes, length, error);
    free(bytes);
    return good;
}

static bool check_usage(const Options *options, Error *error)
{
    int ways = !!options->prompt + !!options->prompt_file
        + !!options->prompt_ids;
    if (options->stop && (!options->stop[0] || options->prompt_ids))
        return error_set(error, ERROR_USAGE, "--stop wants a text, and a "
                         "prompt that is text");
    return ways == 1
        || error_set(error, ERROR_USAGE, "generate needs one of --prompt, "
                     "--prompt-file and --prompt-ids");
}

/* A source of text ends as the data's do; samples end where the model ends
 * them. */
static bool finish_prompt(Generation *g, Error *error)
{
    int32_t eos = g->decoder.special.id[SPECIAL_EOS];
    bool source = g->decoder.encode, text = !g->options->prompt_ids;
    if (g->prompt_tokens == 0)
        return error_set(error, ERROR_INPUT, "the prompt is empty");
    g->eos = source || text ? eos : -1;
    if (source && text && eos >= 0)
        g->prompt[g->prompt_tokens++] = eos;
    if (g->prompt_tokens > g->program->context)
        return error_set(error, ERROR_INPUT, "the prompt has %lld tokens; the "
                         "model's context is %lld", (long long)g->prompt_tokens,
                         (long long)g->program->context);
    return true;
}

/* ---- the output --------------------------------------------------------- */

/* How many of the text's last bytes might begin the stop text. */
static size_t held_back(const Generation *g)
{
    const char *stop = g->options->stop;
    size_t longest = stop ? strlen(stop) : 0;
    for (size_t n = longest < g->length ? longest : g->length; n > 0; n--)
        if (memcmp(g->text + g->length - n, stop, n) == 0)
            return n;
    return 0;
}

static void show(Generation *g, size_t until)
{
    fwrite(g->text + g->shown, 1, until - g->shown, stdout);
    fflush(stdout);
    g->shown = until;
}

/* Adds a token to the text and prints what cannot be part of the stop text;
 * true where that text is complete, and cut off. */
static bool put_token(Generation *g, int32_t token)
{
    char word[16];
    bool ids = g->options->prompt_ids;
    bool first = g->length == 0 && g->decoder.encode;
    int length = ids ? snprintf(word, sizeof word, first ? "%d" : ",%d", token)
        : token < 256 ? snprintf(word, sizeof word, "%c", token)
        : snprintf(word, sizeof word, "<%d>", token);
    const char *stop = g->options->stop;
    for (int i = 0; i < length; i++) {
        g->text[g->length++] = word[i];
        size_t held = held_back(g);
        if (stop && held == strlen(stop)) {
            g->length -= held;
            return true;
        }
    }
    show(g, g->length - held_back(g));
    return false;
}

static void put_prompt(const Generation *g)
{
    bool ids = g->options->prompt_ids;
    for (int64_t i = 0; i < g->prompt_tokens; i++)
        if (ids)
            printf("%s%d", i ? "," : "", g->prompt[i]);
        else
            putchar(g->prompt[i]);
    fflush(stdout);
}

/* ---- a sample ----------------------------------------------------------- */

static bool draw_sample(Generation *g, int64_t sample, Error *error)
{
    Decoder *decoder = &g->decoder;
    const float *logits = g->prompt_logits;
    int64_t position = g->position, context = g->program->context;
    int64_t tokens = g->options->tokens > 0 ? g->options->tokens : TOKENS;
    g->length = g->shown = 0;
    if (!decoder->encode)
        put_prompt(g);
    for (int64_t i = 0; i < tokens; i++, position++) {
        if (position == context) {
            fprintf(stderr, "note: stopped at the model's context, %lld "
                    "tokens\n", (long long)position);
            break;
        }
        int32_t token = decoder_draw(decoder, logits, sample, position, error);
        if (token < 0)
            return false;
        if (token == g->eos || put_token(g, token))
            break;
        if (i + 1 < tokens && position + 1 < context)
            logits = decoder_run(decoder, &token, position, 1);
    }
    show(g, g->length);
    putchar('\n');
    fflush(stdout);
    return true;
}

/* Runs what is there before a sample begins: the prompt, or the source and the
 * token that a target begins with. */
static const float *run_prompt(Generation *g)
{
    Decoder *decoder = &g->decoder;
    if (!decoder->encode) {
        g->position = g->prompt_tokens;
        return decoder_run(decoder, g->prompt, 0, g->prompt_tokens);
    }
    decoder_encode(decoder, g->prompt, g->prompt_tokens);
    g->position = 1;
    return decoder_run(decoder, &decoder->special.id[SPECIAL_BOS], 0, 1);
}

static bool draw_samples(Generation *g, Error *error)
{
    size_t logits = (size_t)g->program->vocab * sizeof(float);
    size_t room = (size_t)g->program->context * 16;
    g->prompt_logits = malloc(logits);
    g->text = malloc(room);
    if (!g->prompt_logits || !g->text)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    memcpy(g->prompt_logits, run_prompt(g), logits);
    for (int64_t sample = 0; sample < g->options->samples; sample++) {
        if (sample > 0)
            puts("---");
        if (!draw_sample(g, sample, error))
            return false;
    }
    return true;
}

int command_generate(const Program *program, const Options *options,
                     Error *error)
{
    Generation g = { .program = program, .options = options };
    bool good = decoder_open(&g.decoder, program, options, error)
        && check_usage(options, error) && read_prompt(&g, error)
        && finish_prompt(&g, error) && decoder_load(&g.decoder, 1, error)
        && draw_samples(&g, error);
    decoder_close(&g.decoder);
    free(g.prompt);
    free(g.prompt_logits);
    free(g.text);
    return good ? 0 : error->status;
}
