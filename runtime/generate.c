/* generate.c: `generate`: continues a prompt. The prompt goes through the
 * step in chunks, then each drawn token by itself; keys and values stay in
 * the step's own cache, so every sample begins again right after the prompt.
 * A token is a byte, unless the prompt was given as ids: then ids are
 * printed.
 * SPDX-License-Identifier: 0BSD */
#include "commands.h"
#include "draw.h"
#include "files.h"
#include "sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPT = 1 << 26 };     /* bytes of a --prompt-file */

typedef struct Generation {
    Rank rank;
    const Program *program;
    const Options *options;
    const Step *step;
    Sampler sampler;
    int32_t *prompt;
    int64_t prompt_tokens;
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
    g->prompt = calloc(length + 1, sizeof *g->prompt);
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
    int ways = !!options->prompt + !!options->prompt_file
        + !!options->prompt_ids;
    if (ways != 1)
        return error_set(error, ERROR_USAGE, "generate needs one of --prompt, "
                         "--prompt-file and --prompt-ids");
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

static bool check_prompt(const Generation *g, Error *error)
{
    if (g->prompt_tokens == 0)
        return error_set(error, ERROR_INPUT, "the prompt is empty");
    if (g->prompt_tokens > g->program->context)
        return error_set(error, ERROR_INPUT, "the prompt has %lld tokens; the "
                         "model's context is %lld", (long long)g->prompt_tokens,
                         (long long)g->program->context);
    return true;
}

/* ---- the model ---------------------------------------------------------- */

/* Runs `count` tokens that stand at `position`; the logits after the last. */
static const float *run_tokens(Generation *g, const int32_t *tokens,
                               int64_t position, int64_t count)
{
    Control *control = &g->rank.control;
    for (int64_t done = 0; done < count;) {
        int64_t chunk = count - done < g->step->sequence
            ? count - done : g->step->sequence;
        rank_select(&g->rank, g->step);
        control->position = position + done;
        control->sequence = chunk;
        control->sharpness = 1;
        memcpy(control->tokens, tokens + done, (size_t)chunk * sizeof *tokens);
        if (control->lengths)
            control->lengths[0] = (int32_t)(position + done + chunk);
        rank_run(&g->rank, g->step);
        done += chunk;
    }
    return rank_floats(&g->rank, g->step->logits_at);
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
    int length = ids ? snprintf(word, sizeof word, ",%d", token)
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
    uint64_t seed = g->options->seed >= 0 ? (uint64_t)g->options->seed : 0;
    uint64_t stream = draw_stream("sample");
    const float *logits = g->prompt_logits;
    int64_t position = g->prompt_tokens;
    g->length = g->shown = 0;
    put_prompt(g);
    for (int64_t i = 0; i < g->options->tokens; i++, position++) {
        if (position == g->program->context) {
            fprintf(stderr, "note: stopped at the model's context, %lld "
                    "tokens\n", (long long)position);
            break;
        }
        uint64_t index = (uint64_t)sample << 32 | (uint64_t)position;
        int32_t token = sampler_draw(&g->sampler, logits,
                                     draw_uniform(seed, stream, index), error);
        if (token < 0)
            return false;
        if (put_token(g, token))
            break;
        bool more = i + 1 < g->options->tokens
            && position + 1 < g->program->context;
        if (more)
            logits = run_tokens(g, &token, position, 1);
    }
    show(g, g->length);
    putchar('\n');
    fflush(stdout);
    return true;
}

static bool draw_samples(Generation *g, Error *error)
{
    size_t logits = (size_t)g->program->vocab * sizeof(float);
    size_t room = (size_t)g->program->context * 16;
    g->prompt_logits = malloc(logits);
    g->text = malloc(room);
    if (!g->prompt_logits || !g->text)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    if (!sampler_open(&g->sampler, g->program->vocab, error))
        return false;
    g->sampler.temperature = g->options->temperature;
    g->sampler.top_k = g->options->top_k;
    g->sampler.top_p = g->options->top_p;
    memcpy(g->prompt_logits, run_tokens(g, g->prompt, 0, g->prompt_tokens),
           logits);
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
    Generation g = { .program = program, .options = options,
                     .step = program_step(program, "generate") };
    bool good = program->causal
        || error_set(error, ERROR_INPUT, "this model's mask is full: it cannot "
                     "generate");
    good = good && (g.step || error_set(error, ERROR_INPUT, "this program "
                                        "cannot generate"));
    good = good && (!options->stop || (options->stop[0] && !options->prompt_ids)
                    || error_set(error, ERROR_USAGE, "--stop wants a text, and "
                                 "a prompt that is text"));
    good = good && read_prompt(&g, error) && check_prompt(&g, error)
        && open_with_weights(&g.rank, program, g.step, options, error);
    if (good) {
        good = draw_samples(&g, error);
        rank_close(&g.rank);
        sampler_close(&g.sampler);
    }
    free(g.prompt);
    free(g.prompt_logits);
    free(g.text);
    return good ? 0 : error->status;
}
