/* parts.h: what a line of TSV or JSONL holds (docs/contract.md, section 6).
 *
 *     TSV     label⇥text    label⇥text⇥text    source⇥target
 *     JSONL   {"prompt": …, "response": …}
 *             {"prompt": …, "chosen": …, "rejected": …}
 *
 * Members of other names are passed over. A line of another form is an error;
 * what was wanted is said, without the place.
 * SPDX-License-Identifier: 0BSD */
#ifndef PARTS_H
#define PARTS_H
#include "json.h"
#include "rows.h"

typedef enum PartsForm {
    PARTS_LABELLED,             /* label, text, perhaps a second text */
    PARTS_PAIR,                 /* source, target or prompt, response */
    PARTS_PREFERENCE            /* prompt, chosen, rejected: JSONL alone */
} PartsForm;

/* Texts point into the line or into `json`, which parts_free lets go. */
typedef struct Parts {
    Text label;                 /* none: no label */
    Text first, second, third;  /* none: not there */
    Json json;
} Parts;

/* `open_ended`: a line may be a text alone, its label or target unknown; an
 * empty label is unknown, too. */
bool parts_of_tsv(Parts *parts, Text line, PartsForm form, bool open_ended,
                  Error *error);
bool parts_of_json(Parts *parts, Text line, PartsForm form, bool open_ended,
                   Error *error);
void parts_free(Parts *parts);
#endif
