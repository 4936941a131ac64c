/* loader.h: what the steps of spec_load share. They run in this order:
 *
 *   yaml.c      text -> tree, a tree a source
 *   apply.c     tree -> fields, by keys.def; later sources over earlier ones
 *   values.c    one scalar or list -> one field, type and range checked
 *   unknown.c   hints for keys and choices that do not exist
 *   resolve.c   defaults, and keys that must be there
 *   ready.c     what is not built yet
 *   rules.c     rules between keys: attention, the batch, the optimizer
 *   rules_model.c   the same: kind, input, head, experts, objective, data
 *   sizes.c     sizes past 2^62 bytes
 *   idle.c      of a spec that is right: keys without effect
 *
 * A key with a problem is `bad`; no later step looks at it. */
#ifndef SPEC_LOADER_H
#define SPEC_LOADER_H
#include "spec.h"
#include "yaml.h"

enum { UNSAID = -1 };   /* an integer that is said by a map of keys */

typedef struct Loader {
    Arena *arena;
    Problems problems;
    Spec *spec;
    bool bad[KEY_COUNT];
} Loader;

/* Merges a map over the spec; `parent` is the key it is the value of. */
void apply_map(Loader *loader, KeyId parent, const Yaml *map);

/* Sets a field (not of a map) from a scalar or a list. False: a problem was
 * reported and the key is bad. */
bool value_set(Loader *loader, KeyId key, const Yaml *value);
/* "`model.dim`: wanted an integer of at least 1, got …"; the key is bad. */
Problem *value_wrong(Loader *loader, KeyId key, const Yaml *value);
/* The field of a key. */
void *value_field(Spec *spec, KeyId key);

/* Reports a key that is not below `parent`, with the best hint there is. */
void unknown_key(Loader *loader, KeyId parent, const char *name, Loc loc);
/* A hint for a text that is none of a key's choices. */
void unknown_choice(KeyId key, const char *text, Problem *about);

/* Sets a field to the default that keys.def writes out. */
void set_default(Loader *loader, KeyId key);
/* Fills in what was not said; `root` is where the spec begins. */
void resolve_defaults(Loader *loader, Loc root);
/* `model.kind: encoder`, or the path alone where the value is a map. */
const char *saying(Loader *loader, KeyId key);
/* Does a key hold its default? False where that depends on other keys. */
bool holds_default(Loader *loader, KeyId key);

void check_ready(Loader *loader);
void check_rules(Loader *loader);
void check_model_rules(Loader *loader);
void check_plan_rules(Loader *loader);
void check_sizes(Loader *loader);
void note_idle_keys(Loader *loader);

/* ---- problems between two keys ------------------------------------------- */
/* Is neither of them bad? */
bool sound(const Loader *loader, KeyId a, KeyId b);
/* A problem between two keys, at the first if it was said, with the other's
 * value and place below it. The key that it is at becomes bad. */
void clash(Loader *loader, KeyId a, KeyId b, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The rule that one integer divides another. */
void divides(Loader *loader, KeyId divisor, KeyId number);
bool is_power_of_two(int64_t n);
/* Positions of an image, of a graph; 0 for tokens, or past LENGTH_MOST. */
int64_t input_positions(const Spec *spec);
#endif
