/* json.h: JSON (RFC 8259) in and out.
 *
 * Reading is strict and made for hostile text: valid UTF-8, one value, nesting
 * up to JSON_DEPTH, no duplicate keys, no number beyond a double, no unpaired
 * surrogate. The result is a flat array of tokens in the order of the text:
 * token 0 is the whole; the members of an array follow it, those of an object
 * as key, value, key, value; token.end is the index just past what is inside.
 *
 *     for (int i = list + 1; i < tokens[list].end; i = tokens[i].end)
 *
 * Writing checks nothing but escapes everything, and goes to a buffer, to a
 * FileWriter, or nowhere (to learn the length), allocating nothing.
 * SPDX-License-Identifier: 0BSD */
#ifndef JSON_H
#define JSON_H
#include "files.h"
#include "sort.h"

/* ---- reading ------------------------------------------------------------ */

enum { JSON_DEPTH = 64 };

typedef enum JsonKind {
    JSON_NULL, JSON_FALSE, JSON_TRUE,
    JSON_INTEGER,           /* a whole number in int64: exact */
    JSON_NUMBER,            /* any other number: the nearest double */
    JSON_STRING, JSON_ARRAY, JSON_OBJECT
} JsonKind;

typedef struct JsonToken {
    JsonKind kind;
    int32_t count;          /* array: elements; object: members */
    int32_t end;            /* index just past what is inside */
    uint32_t length;        /* string: bytes, decoded */
    union {
        int64_t integer;
        double number;
        const char *string; /* UTF-8, decoded; a NUL after it, maybe in it */
    };
} JsonToken;

typedef struct Json {
    JsonToken *tokens;
    int32_t count;
    char *strings;          /* what strings point into */
    SortKey *keys;          /* every object's keys, by object and name */
    int32_t key_count;
} Json;

/* Parses text[0 … length), at most 1 GiB. Errors are ERROR_INPUT, begin with
 * "NAME:LINE:COLUMN: ", and leave nothing to free. */
bool json_parse(Json *json, const char *name, const char *text, size_t length,
                Error *error);
void json_free(Json *json);

/* The value of a member by name, as a token's index; -1 if there is none or if
 * token `object` is no object (or is itself -1, so that lookups can nest). */
int json_member(const Json *json, int object, const char *name);

/* A value as the type asked for; false if it is another or `token` is -1.
 * json_real takes integers too. json_text wants a string without NULs. */
bool json_integer(const Json *json, int token, int64_t *value);
bool json_real(const Json *json, int token, double *value);
bool json_boolean(const Json *json, int token, bool *value);
const char *json_text(const Json *json, int token);     /* NULL: it is not */

/* ---- writing ------------------------------------------------------------ */

/* Set up with one of the three functions below, then write values in order;
 * commas are put where they belong. `failed` stays set after the first failure
 * (a full buffer, a failed write), so one look at the end is enough. */
typedef struct JsonWriter {
    char *text;             /* to a buffer: text[0 … room), NUL-terminated */
    size_t room;
    FileWriter *file;       /* to a file */
    Error *error;
    uint64_t length;        /* bytes so far, whether or not they fitted */
    int depth;
    bool lines;             /* members on lines of their own, indented */
    bool comma;             /* a value precedes at this level */
    bool after_key;
    bool failed;
} JsonWriter;

JsonWriter json_to_buffer(char *text, size_t room);
JsonWriter json_to_file(FileWriter *file, Error *error);
JsonWriter json_to_nowhere(void);

void json_open(JsonWriter *writer, char bracket);       /* '{' or '[' */
void json_close(JsonWriter *writer, char bracket);      /* '}' or ']' */
void json_key(JsonWriter *writer, const char *key);
/* Bytes that are no UTF-8 become U+FFFD. */
void json_put_text(JsonWriter *writer, const char *text);
void json_put_integer(JsonWriter *writer, int64_t value);
/* %.17g: reads back to the same bits. json_put_short is %.9g. Either writes a
 * number that is not finite as null. */
void json_put_number(JsonWriter *writer, double value);
void json_put_short(JsonWriter *writer, double value);
/* value / 1000, exactly, of a value that is not negative. */
void json_put_thousandths(JsonWriter *writer, int64_t value);
void json_put_boolean(JsonWriter *writer, bool value);
void json_put_null(JsonWriter *writer);
/* A member of an object: its key and its value; NULL is null. */
void json_set_text(JsonWriter *writer, const char *key, const char *text);
void json_set_count(JsonWriter *writer, const char *key, int64_t count);
#endif
