/* spec.h: the YAML spec as a struct, made from keys.def.
 *
 * Every key is a field named by its path with `_` for `.`: `model.head_dim` is
 * `s->model_head_dim`. A choice is an enum whose constants are the field's name
 * and the choice's in capitals. A loaded Spec has every default filled in; what
 * contradicts nothing but has no effect is set to what holds (an rmsnorm's bias
 * is false, the vocabulary of images 0). Fields below a choice that was not
 * made hold their defaults.
 *
 * Blocks: `model_blocks` is the one stack's number or the decoder's, and
 * `model_blocks_encoder` that of an encoder-decoder's encoder, elsewhere 0.
 *
 * `loc` is where a value was said; that of a default is its parent key's. */
#ifndef SPEC_H
#define SPEC_H
#include "../../ir/base.h"

#define MAP(...)
#define KEY(...)
#define CHOICES(field) enum field {
#define CHOICE(id, text, ready, doc) id,
#define CHOICES_END };
#include "keys.def"
#undef MAP
#undef KEY
#undef CHOICES
#undef CHOICE
#undef CHOICES_END

#define CHOICES(field)
#define CHOICE(...)
#define CHOICES_END
#define MAP(field, path, doc) KEY_##field,
#define KEY(field, ...) KEY_##field,
typedef enum KeyId {
#include "keys.def"
    KEY_COUNT,
    KEY_ROOT = KEY_COUNT,       /* what the topmost keys are below */
} KeyId;
#undef MAP
#undef KEY

/* A number, and the same as it was written in plain decimal digits without
 * trailing zeros: "0.1", never "1e-1". */
typedef struct SpecDecimal { double number; const char *text; } SpecDecimal;
typedef struct SpecTexts { const char **at; int count; } SpecTexts;
typedef struct SpecCounts { int64_t *at; int count; } SpecCounts;

typedef struct Spec {
#define MEMBER_int(field) int64_t field;
#define MEMBER_number(field) double field;
#define MEMBER_bool(field) bool field;
#define MEMBER_text(field) const char *field;
#define MEMBER_bytes(field) int64_t field;
#define MEMBER_choice(field) enum field field;
#define MEMBER_form(field) enum field field;
#define MEMBER_decimal(field) SpecDecimal field;
#define MEMBER_scale(field) double field;       /* 0: dynamic */
#define MEMBER_id(field) int64_t field;         /* -1: none */
#define MEMBER_pair(field) double field[2];
#define MEMBER_texts(field) SpecTexts field;
#define MEMBER_path(field) SpecTexts field;     /* empty: none */
#define MEMBER_counts(field) SpecCounts field;  /* empty: auto */
#define MAP(...)
#define KEY(field, path, type, ...) MEMBER_##type(field)
#include "keys.def"
#undef MAP
#undef KEY
    Loc loc[KEY_COUNT];
    bool given[KEY_COUNT];
} Spec;
#undef CHOICES
#undef CHOICE
#undef CHOICES_END

/* Where a spec is read from: a file, overlays merged over it in order, and
 * `KEY=VALUE` settings merged over both. */
typedef struct SpecSources {
    const char *path;
    const char *const *overlays;
    int overlay_count;
    const char *const *sets;
    int set_count;
} SpecSources;

/* Reads, merges, checks and resolves. All errors go to diag, sorted by place.
 * NULL only where a source cannot be read or is no YAML map; otherwise a Spec,
 * to be used only if diag->errors did not rise. */
Spec *spec_load(Diag *diag, Arena *arena, const SpecSources *from);

/* The same spec without its plan: what stands below `parallel` is as if nobody
 * had said it, and the batch is one group. */
Spec *spec_of_one_rank(const Spec *spec, Arena *arena);

/* The resolved spec as YAML: loads to the same Spec, and is the text that the
 * spec's hash is of. */
void spec_print(const Spec *spec, Buf *out);

/* The key under which `reproducible.order: fast` sums as `fixed` does. None:
 * KEY_COUNT; blocks' gradients are summed over ranks in every micro-batch. */
KeyId fast_order_undone_by(const Spec *spec);

/* One key's value as YAML flow text (`6e-4`, `[0.9, 0.95]`, `cosine`); a map's
 * is `{…}` of its keys. */
void spec_value(const Spec *spec, KeyId key, Buf *out);

/* model.experts.capacity, exactly as it was written, as a reduced fraction of
 * two numbers below 10^15; 0/1: dropless. False: it has too many digits (a
 * loaded spec's has not). */
bool spec_capacity(const Spec *spec, int64_t *numerator, int64_t *denominator);

/* ---- the table, for whoever walks it ------------------------------------- */
typedef enum SpecType {
    SPEC_map, SPEC_int, SPEC_number, SPEC_bool, SPEC_text, SPEC_bytes,
    SPEC_choice, SPEC_form, SPEC_decimal, SPEC_scale, SPEC_id, SPEC_pair,
    SPEC_texts, SPEC_path, SPEC_counts,
} SpecType;

typedef struct Choice {
    const char *text;
    bool ready;                 /* false: not built yet */
    const char *doc;
} Choice;

typedef struct KeyInfo {
    const char *path;           /* "train.optimizer.lr" */
    SpecType type;
    const char *initial;        /* default, as keys.def writes it */
    const char *example;
    double least, most;         /* of numbers */
    const Choice *choices;      /* of a choice or form, in the enum's order */
    int choice_count;
    bool run_time;              /* a built program takes it too */
    bool ready;                 /* false: only the default is built */
    const char *doc;
    size_t offset;              /* of the field in Spec */
} KeyInfo;

const KeyInfo *key_info(KeyId key);
/* The last word of its path. */
const char *key_name(KeyId key);
/* What it is below; KEY_ROOT at the top. */
KeyId key_parent(KeyId key);
/* Is it that key, or below it? */
bool key_is_below(KeyId key, KeyId above);
/* The key of a path, or KEY_COUNT. */
KeyId key_find(const char *path);
/* The key `name` below a parent, or KEY_COUNT. */
KeyId key_child(KeyId parent, const char *name);
bool key_has_children(KeyId key);
/* Is the key below no choice or form but those the spec has made, and is there
 * what it is about? */
bool key_active(const Spec *spec, KeyId key);
/* Active, and not a key that has no default and was not given. */
bool key_shown(const Spec *spec, KeyId key);
/* A choice's or form's value, as an index of KeyInfo.choices. */
int key_choice(const Spec *spec, KeyId key);
/* "an integer from 1 to 2147483647", "pre or post": what may stand there. */
void key_wanted(KeyId key, Buf *out);
#endif
