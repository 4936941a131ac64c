/* yaml.h: a strict reader of YAML 1.2's core schema, for specs: one document,
 * no tags, no merge keys, no duplicate keys, no multi-line tricks. It gives a
 * tree in which every value knows its place, in bytes. */
#ifndef SPEC_YAML_H
#define SPEC_YAML_H
#include "problems.h"

typedef enum YamlKind { YAML_SCALAR, YAML_LIST, YAML_MAP } YamlKind;

typedef struct Yaml {
    YamlKind kind;
    Loc loc;                    /* an alias's: where it is used */
    const char *text;           /* scalar, NUL-terminated; holds no other NUL */
    bool plain;                 /* scalar without quotes */
    bool block;                 /* list or map in block style */
    bool implied;               /* map that a --set's KEY passes through */
    List(struct Yaml *) items;
    List(struct YamlPair) pairs;
    int64_t size;               /* values in it, aliases written out */
} Yaml;

typedef struct YamlPair { Yaml *key, *value; } YamlPair;

enum {
    YAML_MOST_BYTES = 16 << 20,
    YAML_MOST_VALUES = 20000,
    YAML_MOST_DEPTH = 64
};

/* The tree of a text registered with diag as `source`, or NULL with problems
 * reported where it is no YAML that a spec may be. */
Yaml *yaml_read(Problems *problems, int source, const char *text,
                size_t length);

/* What a plain scalar is in the core schema; a quoted one is a text. */
typedef enum YamlScalar {
    SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT, SCALAR_INFINITE,
    SCALAR_TEXT,
} YamlScalar;
YamlScalar yaml_scalar(const Yaml *value);
/* The number of a SCALAR_INT; false where it does not fit. */
bool yaml_int(const Yaml *value, int64_t *number);
/* The number of a SCALAR_INT or SCALAR_FLOAT; false where no double has it. */
bool yaml_number(const Yaml *value, double *number);
/* A text for a message: at most 40 bytes, controls as spaces. */
const char *shown_text(Arena *arena, const char *text);
/* "the text `abc`", "a list of 3": what there is, for messages. */
const char *yaml_describe(Arena *arena, const Yaml *value);
#endif
