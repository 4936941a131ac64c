/* inputs.h: what a program is, in the words of its spec, and what its steps
 * take: tokens, images, labels … (program.def, Input), by name and by row.
 * SPDX-License-Identifier: 0BSD */
#ifndef INPUTS_H
#define INPUTS_H
#include "example.h"
#include "program.h"
#include <stdbool.h>
#include <stddef.h>

/* ---- the program -------------------------------------------------------- */

bool is_encoder_decoder(const Program *program);
bool is_preference(const Program *program);
bool is_classifier(const Program *program);
/* masked-token, with or without next-sentence */
bool is_masked(const Program *program);
/* Images and graphs: positions are no tokens. */
bool is_tokens(const Program *program);

/* "tokens", "image" or "graph": what a sequence is. */
const char *input_kind(const Program *program);

/* Values that a label has: the classes, or 2 for next sentences. */
int64_t label_values(const Program *program);

/* Sequences of an example: 2 for a preference pair, else 1; and how many
 * examples a call of the step takes. */
int64_t example_sequences(const Program *program);
int64_t step_examples(const Program *program, const Step *step);

/* The step's logits: how many there are of a row. */
int64_t logits_width(const Program *program, const Step *step);

/* ---- inputs ------------------------------------------------------------- */

/* The names of all inputs that there are; where each goes. */
typedef struct InputField {
    const char *name;
    bool real;              /* f32, else i32 */
    size_t control;         /* the offset of its pointer in Control */
    size_t example;         /* and in Example */
} InputField;

enum { INPUT_FIELDS = 11 };
extern const InputField input_fields[INPUT_FIELDS];

/* The step's input of that name; NULL: it takes none. */
const Input *step_input(const Step *step, const char *name);

/* Floats, or integers, of an input's row for sequences of so many tokens. */
int64_t input_row(const Input *input, int64_t sequence);

/* Points all of the control block's inputs at the step's, or at NULL. */
void point_inputs(Control *control, const Step *step);

/* Where example `index` of the present call goes, the control block being set
 * for `step` (rank_select). */
Example example_at(const Program *program, const Control *control,
                   const Step *step, int64_t index);

/* A size that may be the call's: 0 its sequences, -1 the tokens of each. */
int64_t call_size(int64_t size, int64_t batch, int64_t sequence);
#endif
