/* decode.c: see decode.h.
 * SPDX-License-Identifier: 0BSD */
#include "decode.h"
#include "draw.h"
#include "inputs.h"
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------ */

static bool can_write(const Program *program, Error *error)
{
    bool step = program_step(program, "generate");
    if (program->causal && step)
        return true;
    if (is_classifier(program))
        return error_set(error, ERROR_INPUT, "a classifier cannot generate: "
                         "predict gives its labels");
    if (!program->causal && !is_encoder_decoder(program) && is_masked(program))
        return error_set(error, ERROR_INPUT, "this model's mask is full: it "
                         "cannot generate; predict fills in masked tokens");
    return error_set(error, ERROR_INPUT, program->causal
                     ? "this program cannot generate"
                     : "this model's mask is full: it cannot generate");
}

/* The special tokens, under what --set says of them. */
static bool read_special(Decoder *decoder, Error *error)
{
    Settings settings;
    const Program *program = decoder->program;
    bool good = settings_read(&settings, program, &decoder->options->sets,
                              error)
        && special_read(&decoder->special, &settings, program->vocab, true,
                        error)
        && (!decoder->encode
            || special_need(&decoder->special, SPECIAL_BOS,
                            "what a decoder writes", error));
    settings_free(&settings);
    return good;
}

bool decoder_open(Decoder *decoder, const Program *program,
                  const Options *options, Error *error)
{
    *decoder = (Decoder){ .program = program, .options = options };
    if (!can_write(program, error))
        return false;
    decoder->step = program_step(program, "generate");
    if (is_encoder_decoder(program)) {
        decoder->encode = program_step(program, "encode");
        if (!decoder->encode)
            return error_set(error, ERROR_INPUT, "this program cannot encode");
    }
    return read_special(decoder, error);
}

bool decoder_load(Decoder *decoder, double temperature, Error *error)
{
    const Options *options = decoder->options;
    if (!open_with_weights(&decoder->rank, decoder->program, "generate",
                           options, error)
        || !sampler_open(&decoder->sampler, decoder->program->vocab, error))
        return false;
    decoder->sampler.temperature = options->temperature >= 0
        ? options->temperature : temperature;
    decoder->sampler.top_k = options->top_k;
    decoder->sampler.top_p = options->top_p;
    return true;
}

void decoder_close(Decoder *decoder)
{
    rank_close(&decoder->rank);
    sampler_close(&decoder->sampler);
}

/* ---- running ------------------------------------------------------------ */

/* Padding counts for how much an expert takes of a sequence: where there are
 * experts, a source is as long as the context, as `forward` would have it. */
void decoder_encode(Decoder *decoder, const int32_t *source, int64_t length)
{
    Control *control = &decoder->rank.control;
    rank_select(&decoder->rank, decoder->encode);
    control->sequence =
        decoder->program->experts ? decoder->encode->sequence : length;
    control->sharpness = 1;
    memset(control->source, 0,
           (size_t)control->sequence * sizeof *control->source);
    memcpy(control->source, source, (size_t)length * sizeof *source);
    if (control->source_lengths)
        control->source_lengths[0] = (int32_t)length;
    rank_run(&decoder->rank, decoder->encode);
    decoder->source_length = length;
}

const float *decoder_run(Decoder *decoder, const int32_t *tokens,
                         int64_t position, int64_t count)
{
    Control *control = &decoder->rank.control;
    for (int64_t done = 0; done < count;) {
        int64_t chunk = count - done < decoder->step->sequence
            ? count - done : decoder->step->sequence;
        rank_select(&decoder->rank, decoder->step);
        control->position = position + done;
        control->sequence = chunk;
        control->sharpness = 1;
        memcpy(control->tokens, tokens + done, (size_t)chunk * sizeof *tokens);
        if (control->lengths)
            control->lengths[0] = (int32_t)(position + done + chunk);
        if (control->source_lengths)
            control->source_lengths[0] = (int32_t)decoder->source_length;
        rank_run(&decoder->rank, decoder->step);
        done += chunk;
    }
    return rank_floats(&decoder->rank, decoder->step->logits_at);
}

int32_t decoder_draw(Decoder *decoder, const float *logits, int64_t sample,
                     int64_t position, Error *error)
{
    const Options *options = decoder->options;
    uint64_t seed = options->seed >= 0 ? (uint64_t)options->seed : 0;
    uint64_t index = (uint64_t)sample << 32 | (uint64_t)position;
    double uniform = draw_uniform(seed, draw_stream("sample"), index);
    return sampler_draw(&decoder->sampler, logits, uniform, error);
}
