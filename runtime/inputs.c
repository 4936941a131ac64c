/* inputs.c: see inputs.h.
 * SPDX-License-Identifier: 0BSD */
#include "inputs.h"
#include <string.h>

#define INPUT(name, real) \
    { #name, real, offsetof(Control, name), offsetof(Example, name) }

const InputField input_fields[INPUT_FIELDS] = {
    INPUT(tokens, false), INPUT(targets, false), INPUT(lengths, false),
    INPUT(source, false), INPUT(source_lengths, false), INPUT(types, false),
    INPUT(labels, false), INPUT(edges, false), INPUT(images, true),
    INPUT(nodes, true), INPUT(reference, true),
};

/* ---- the program -------------------------------------------------------- */

static bool begins(const char *text, const char *word)
{
    return text && strncmp(text, word, strlen(word)) == 0;
}

bool is_encoder_decoder(const Program *program)
{
    return begins(program->kind, "encoder-decoder");
}

bool is_preference(const Program *program)
{
    return begins(program->objective, "preference");
}

bool is_classifier(const Program *program)
{
    return program->classes > 0;
}

bool is_masked(const Program *program)
{
    return begins(program->objective, "masked-token");
}

bool is_tokens(const Program *program)
{
    return program->image_size == 0 && program->nodes == 0;
}

const char *input_kind(const Program *program)
{
    return program->image_size > 0 ? "image"
        : program->nodes > 0 ? "graph" : "tokens";
}

int64_t label_values(const Program *program)
{
    return program->classes > 0 ? program->classes : 2;
}

int64_t example_sequences(const Program *program)
{
    return is_preference(program) ? 2 : 1;
}

int64_t step_examples(const Program *program, const Step *step)
{
    return step->batch / example_sequences(program);
}

int64_t logits_width(const Program *program, const Step *step)
{
    return step->logits_width > 0 ? step->logits_width : program->vocab;
}

/* ---- inputs ------------------------------------------------------------- */

int64_t call_size(int64_t size, int64_t batch, int64_t sequence)
{
    return size == 0 ? batch : size == -1 ? sequence : size;
}

const Input *step_input(const Step *step, const char *name)
{
    for (int i = 0; i < step->input_count; i++)
        if (strcmp(step->inputs[i].name, name) == 0)
            return &step->inputs[i];
    return NULL;
}

int64_t input_row(const Input *input, int64_t sequence)
{
    int64_t count = 1;
    if (input->rank > 1)
        count *= call_size(input->dim1, 1, sequence);
    if (input->rank > 2)
        count *= call_size(input->dim2, 1, sequence);
    return count;
}

/* Pointers of two types are kept by their offset in a struct. */
static void set_pointer(void *record, size_t offset, bool real, void *place)
{
    void *field = (char *)record + offset;
    if (real)
        *(float **)field = place;
    else
        *(int32_t **)field = place;
}

static char *get_pointer(const void *record, size_t offset, bool real)
{
    const void *field = (const char *)record + offset;
    return real ? (char *)*(float *const *)field
                : (char *)*(int32_t *const *)field;
}

void point_inputs(Control *control, const Step *step)
{
    for (int i = 0; i < INPUT_FIELDS; i++) {
        const InputField *field = &input_fields[i];
        const Input *input = step_input(step, field->name);
        char *place = input ? (char *)control->values + input->offset : NULL;
        set_pointer(control, field->control, field->real, place);
    }
}

Example example_at(const Program *program, const Control *control,
                   const Step *step, int64_t index)
{
    Example example = { .sequence = control->sequence };
    int64_t row = index * example_sequences(program);
    for (int i = 0; i < INPUT_FIELDS; i++) {
        const InputField *field = &input_fields[i];
        const Input *input = step_input(step, field->name);
        if (!input)
            continue;
        int64_t at = row * input_row(input, control->sequence) * 4;
        set_pointer(&example, field->example, field->real,
                    get_pointer(control, field->control, field->real) + at);
    }
    return example;
}
