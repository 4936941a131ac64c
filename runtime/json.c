/* json.c: see json.h. The reader: characters, strings, numbers, json_parse,
 * which walks the text once with the open containers as its stack (an open
 * token's `end` holds the token around it). Then queries, then the writer.
 * SPDX-License-Identifier: 0BSD */
#include "json.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------ */

typedef struct Reader {
    const char *name, *text;
    size_t length, at;
    Json *json;
    int32_t room;           /* of json->tokens */
    size_t string_used;     /* of json->strings, which has length + 1 bytes */
    Error *error;
} Reader;

/* An error at a byte of the text. */
static bool refuse(const Reader *r, size_t at, const char *what)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < at; i++)
        if (r->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    return error_set(r->error, ERROR_INPUT, "%s:%zu:%zu: %s", r->name, line,
                     at - start + 1, what);
}

/* Bytes of the UTF-8 character at text[0 … left), 0 if it is none: no overlong
 * form, no surrogate, nothing past U+10FFFF. */
static size_t utf8_length(const char *text, size_t left)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    size_t length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

static size_t utf8_encode(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(0xf00 >> length | code);
    return length;
}

static void skip_space(Reader *r)
{
    while (r->at < r->length && strchr(" \t\n\r", r->text[r->at]) &&
           r->text[r->at])
        r->at++;
}

static JsonToken *add_token(Reader *r, JsonKind kind)
{
    Json *json = r->json;
    if (json->count == r->room) {
        int32_t room = r->room ? r->room + r->room / 2 : 64;
        JsonToken *grown = realloc(json->tokens, (size_t)room * sizeof *grown);
        if (!grown) {
            error_set(r->error, ERROR_ENVIRONMENT, "%s: no memory to read it",
                      r->name);
            return NULL;
        }
        json->tokens = grown;
        r->room = room;
    }
    JsonToken *token = &json->tokens[json->count++];
    *token = (JsonToken){ .kind = kind, .end = json->count };
    return token;
}

/* Four hexadecimal digits at `at`, or -1. */
static int32_t hex4(const Reader *r, size_t at)
{
    int32_t value = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = i < r->length ? r->text[i] : '\0';
        int digit = c >= '0' && c <= '9' ? c - '0' :
                    c >= 'a' && c <= 'f' ? c - 'a' + 10 :
                    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* An escape sequence at r->at, which is behind the backslash. */
static bool read_escape(Reader *r, char *out, size_t *used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t start = r->at - 1;
    char c = r->at < r->length ? r->text[r->at++] : '\0';
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        out[(*used)++] = to[found - from];
        return true;
    }
    int32_t code = c == 'u' ? hex4(r, r->at) : -1;
    if (code < 0)
        return refuse(r, start, "not an escape sequence");
    r->at += 4;
    if (code >= 0xd800 && code < 0xe000) {      /* half of a surrogate pair */
        int32_t low = -1;
        if (code < 0xdc00 && r->at + 1 < r->length &&
            r->text[r->at] == '\\' && r->text[r->at + 1] == 'u')
            low = hex4(r, r->at + 2);
        if (low < 0xdc00 || low >= 0xe000)
            return refuse(r, start, "half of a surrogate pair");
        r->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *used += utf8_encode(out + *used, (uint32_t)code);
    return true;
}

/* A string, at its opening quote. What is decoded is never longer than what it
 * was decoded from, so json->strings, as large as the text, is large enough. */
static bool read_string(Reader *r)
{
    size_t start = r->at++, used = 0;
    char *out = r->json->strings + r->string_used;
    for (;;) {
        if (r->at >= r->length)
            return refuse(r, start, "a string that does not end");
        char c = r->text[r->at];
        if (c == '"')
            break;
        if ((unsigned char)c < 0x20)
            return refuse(r, r->at, "a control character in a string");
        if (c == '\\') {
            r->at++;
            if (!read_escape(r, out, &used))
                return false;
            continue;
        }
        size_t bytes = utf8_length(r->text + r->at, r->length - r->at);
        if (bytes == 0)
            return refuse(r, r->at, "not UTF-8");
        memcpy(out + used, r->text + r->at, bytes);
        used += bytes;
        r->at += bytes;
    }
    r->at++;
    out[used] = '\0';
    r->string_used += used + 1;
    JsonToken *token = add_token(r, JSON_STRING);
    if (!token)
        return false;
    token->string = out;
    token->length = (uint32_t)used;
    return true;
}

/* Passes over digits; how many. */
static size_t digits(Reader *r)
{
    size_t start = r->at;
    while (r->at < r->length && r->text[r->at] >= '0' && r->text[r->at] <= '9')
        r->at++;
    return r->at - start;
}

static bool read_number(Reader *r)
{
    size_t start = r->at;
    bool whole = true;
    if (r->text[r->at] == '-')
        r->at++;
    size_t first = r->at, count = digits(r);
    if (count == 0 || (count > 1 && r->text[first] == '0'))
        return refuse(r, start, "not a JSON value");
    if (r->at < r->length && r->text[r->at] == '.') {
        whole = false;
        r->at++;
        if (digits(r) == 0)
            return refuse(r, start, "a number that ends in a point");
    }
    if (r->at < r->length && (r->text[r->at] | 0x20) == 'e') {
        whole = false;
        r->at++;
        if (r->at < r->length && strchr("+-", r->text[r->at]) && r->text[r->at])
            r->at++;
        if (digits(r) == 0)
            return refuse(r, start, "a number without its exponent");
    }
    char text[512];
    size_t length = r->at - start;
    if (length >= sizeof text)
        return refuse(r, start, "a number of more than 511 characters");
    memcpy(text, r->text + start, length);
    text[length] = '\0';
    errno = 0;
    long long integer = whole ? strtoll(text, NULL, 10) : 0;
    /* -0 is a double: int64 has no such number. */
    whole = whole && errno == 0 && !(integer == 0 && text[0] == '-');
    double number = strtod(text, NULL);
    if (!isfinite(number))
        return refuse(r, start, "a number too large for a double");
    JsonToken *token = add_token(r, whole ? JSON_INTEGER : JSON_NUMBER);
    if (!token)
        return false;
    if (whole)
        token->integer = integer;
    else
        token->number = number;
    return true;
}

static bool read_word(Reader *r)
{
    static const char *const words[] = {
        [JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true",
    };
    for (int i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if (length <= r->length - r->at &&
            memcmp(r->text + r->at, words[i], length) == 0) {
            r->at += length;
            return add_token(r, (JsonKind)i) != NULL;
        }
    }
    return refuse(r, r->at, "not a JSON value");
}

/* A value at r->at; of an array or an object only the bracket, after which it
 * is *open. */
static bool read_value(Reader *r, int32_t *open, int *depth)
{
    if (r->at >= r->length)
        return refuse(r, r->at, "ends where a value should be");
    char c = r->text[r->at];
    if (c == '"')
        return read_string(r);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(r);
    if (c != '[' && c != '{')
        return read_word(r);
    if (++*depth > JSON_DEPTH)
        return refuse(r, r->at, "nested too deeply");
    r->at++;
    JsonToken *token = add_token(r, c == '[' ? JSON_ARRAY : JSON_OBJECT);
    if (!token)
        return false;
    token->end = *open;
    *open = r->json->count - 1;
    return true;
}

/* A key and its colon. */
static bool read_key(Reader *r)
{
    skip_space(r);
    if (r->at >= r->length || r->text[r->at] != '"')
        return refuse(r, r->at, "a key in quotes should be here");
    if (!read_string(r))
        return false;
    r->json->key_count++;
    skip_space(r);
    if (r->at >= r->length || r->text[r->at] != ':')
        return refuse(r, r->at, "a ':' should be here");
    r->at++;
    return true;
}

/* Behind a value, or behind the bracket that opened token *open (`fresh`):
 * closes what ends here, then stands where the next value begins. When all is
 * closed, *open is -1. */
static bool read_between(Reader *r, int32_t *open, int *depth, bool fresh)
{
    for (; *open >= 0; fresh = false) {
        JsonToken *in = &r->json->tokens[*open];
        bool object = in->kind == JSON_OBJECT;
        skip_space(r);
        char c = r->at < r->length ? r->text[r->at] : '\0';
        if (c == (object ? '}' : ']')) {
            r->at++;
            --*depth;
            *open = in->end;
            in->end = r->json->count;
            continue;
        }
        if (!fresh && c != ',')
            return refuse(r, r->at, object ? "a ',' or '}' should be here"
                                           : "a ',' or ']' should be here");
        r->at += !fresh;
        in->count++;
        if (object && !read_key(r))
            return false;
        skip_space(r);
        return true;
    }
    return true;
}

static bool read_all(Reader *r)
{
    int32_t open = -1;
    int depth = 0;
    skip_space(r);
    do {
        int32_t before = open;
        if (!read_value(r, &open, &depth) ||
            !read_between(r, &open, &depth, open != before))
            return false;
    } while (open >= 0);
    skip_space(r);
    if (r->at != r->length)
        return refuse(r, r->at, "something follows the value");
    return true;
}

/* Sorts every object's keys, for json_member, and refuses duplicates. */
static bool index_keys(Reader *r)
{
    Json *json = r->json;
    json->keys = malloc(((size_t)json->key_count + 1) * sizeof *json->keys);
    if (!json->keys)
        return error_set(r->error, ERROR_ENVIRONMENT,
                         "%s: no memory to read it", r->name);
    int32_t used = 0;
    for (int32_t object = 0; object < json->count; object++) {
        if (json->tokens[object].kind != JSON_OBJECT)
            continue;
        for (int32_t i = object + 1; i < json->tokens[object].end;
             i = json->tokens[i + 1].end)
            json->keys[used++] = (SortKey){
                .number = (uint64_t)object, .text = json->tokens[i].string,
                .length = json->tokens[i].length, .item = i + 1,
            };
    }
    sort_keys(json->keys, (size_t)used);
    for (int32_t i = 1; i < used; i++)
        if (sort_compare(&json->keys[i - 1], &json->keys[i]) == 0)
            return error_set(r->error, ERROR_INPUT, "%s: the key \"%.200s\" "
                             "stands twice in one object", r->name,
                             json->keys[i].text);
    return true;
}

bool json_parse(Json *json, const char *name, const char *text, size_t length,
                Error *error)
{
    *json = (Json){ 0 };
    Reader r = { .name = name, .text = text, .length = length, .json = json,
                 .error = error };
    if (length > (size_t)1 << 30)
        return error_set(error, ERROR_INPUT, "%s: %zu bytes of JSON, more than "
                         "1 GiB", name, length);
    json->strings = malloc(length + 1);
    if (!json->strings)
        return error_set(error, ERROR_ENVIRONMENT, "%s: no memory to read it",
                         name);
    if (read_all(&r) && index_keys(&r))
        return true;
    json_free(json);
    return false;
}

void json_free(Json *json)
{
    free(json->tokens);
    free(json->strings);
    free(json->keys);
    *json = (Json){ 0 };
}

/* ---- queries ------------------------------------------------------------ */

int json_member(const Json *json, int object, const char *name)
{
    if (object < 0 || json->tokens[object].kind != JSON_OBJECT)
        return -1;
    SortKey key = { .number = (uint64_t)object, .text = name,
                    .length = (uint32_t)strlen(name) };
    size_t count = (size_t)json->key_count;
    size_t found = sort_find(json->keys, count, &key);
    if (found == count || sort_compare(&json->keys[found], &key) != 0)
        return -1;
    return json->keys[found].item;
}

bool json_integer(const Json *json, int token, int64_t *value)
{
    if (token < 0 || json->tokens[token].kind != JSON_INTEGER)
        return false;
    *value = json->tokens[token].integer;
    return true;
}

bool json_real(const Json *json, int token, double *value)
{
    int64_t integer;
    if (json_integer(json, token, &integer)) {
        *value = (double)integer;
        return true;
    }
    if (token < 0 || json->tokens[token].kind != JSON_NUMBER)
        return false;
    *value = json->tokens[token].number;
    return true;
}

bool json_boolean(const Json *json, int token, bool *value)
{
    if (token < 0 || (json->tokens[token].kind != JSON_TRUE &&
                      json->tokens[token].kind != JSON_FALSE))
        return false;
    *value = json->tokens[token].kind == JSON_TRUE;
    return true;
}

const char *json_text(const Json *json, int token)
{
    if (token < 0 || json->tokens[token].kind != JSON_STRING)
        return NULL;
    const char *text = json->tokens[token].string;
    return strlen(text) == json->tokens[token].length ? text : NULL;
}

/* ---- writing ------------------------------------------------------------ */

JsonWriter json_to_buffer(char *text, size_t room)
{
    if (room > 0)
        text[0] = '\0';
    return (JsonWriter){ .text = text, .room = room };
}

JsonWriter json_to_file(FileWriter *file, Error *error)
{
    return (JsonWriter){ .file = file, .error = error };
}

JsonWriter json_to_nowhere(void)
{
    return (JsonWriter){ 0 };
}

static void put(JsonWriter *w, const char *bytes, size_t length)
{
    if (w->file && !w->failed) {
        w->failed = !file_append(w->file, bytes, length, w->error);
    } else if (w->text && !w->failed) {
        w->failed = length >= w->room - w->length;      /* one for the NUL */
        if (!w->failed) {
            memcpy(w->text + w->length, bytes, length);
            w->text[w->length + length] = '\0';
        }
    }
    w->length += length;
}

static void new_line(JsonWriter *w)
{
    if (!w->lines)
        return;
    put(w, "\n", 1);
    for (int i = 0; i < w->depth; i++)
        put(w, "  ", 2);
}

/* What stands before a value or a key. */
static void begin(JsonWriter *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->comma)
        put(w, ",", 1);
    if (w->depth > 0)
        new_line(w);
}

void json_open(JsonWriter *w, char bracket)
{
    begin(w);
    put(w, &bracket, 1);
    w->depth++;
    w->comma = false;
}

void json_close(JsonWriter *w, char bracket)
{
    w->depth--;
    if (w->comma)
        new_line(w);
    put(w, &bracket, 1);
    w->comma = true;
}

static void put_quoted(JsonWriter *w, const char *text)
{
    put(w, "\"", 1);
    for (size_t left = strlen(text); left > 0;) {
        unsigned char c = (unsigned char)*text;
        size_t bytes = utf8_length(text, left);
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
            char escaped[8] = { '\\', (char)c };
            if (c != '"' && c != '\\')
                snprintf(escaped, sizeof escaped, "\\u%04x", c);
            put(w, escaped, strlen(escaped));
        } else if (bytes == 0) {
            put(w, "\\ufffd", 6);
        } else {
            put(w, text, bytes);
        }
        bytes += bytes == 0;
        text += bytes;
        left -= bytes;
    }
    put(w, "\"", 1);
}

void json_key(JsonWriter *w, const char *key)
{
    begin(w);
    put_quoted(w, key);
    put(w, ": ", w->lines ? 2 : 1);
    w->comma = true;
    w->after_key = true;
}

static void put_value(JsonWriter *w, const char *text)
{
    begin(w);
    put(w, text, strlen(text));
    w->comma = true;
}

void json_put_text(JsonWriter *w, const char *text)
{
    begin(w);
    put_quoted(w, text);
    w->comma = true;
}

void json_put_integer(JsonWriter *w, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_value(w, text);
}

void json_put_thousandths(JsonWriter *w, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld.%03lld", (long long)value / 1000,
             (long long)value % 1000);
    put_value(w, text);
}

static void put_double(JsonWriter *w, double value, int precision)
{
    char text[40];
    snprintf(text, sizeof text, "%.*g", precision, value);
    put_value(w, isfinite(value) ? text : "null");
}

void json_put_number(JsonWriter *w, double value)
{
    put_double(w, value, 17);
}

void json_put_short(JsonWriter *w, double value)
{
    put_double(w, value, 9);
}

void json_put_boolean(JsonWriter *w, bool value)
{
    put_value(w, value ? "true" : "false");
}

void json_put_null(JsonWriter *w)
{
    put_value(w, "null");
}

void json_set_text(JsonWriter *w, const char *key, const char *text)
{
    json_key(w, key);
    if (text)
        json_put_text(w, text);
    else
        json_put_null(w);
}

void json_set_count(JsonWriter *w, const char *key, int64_t count)
{
    json_key(w, key);
    json_put_integer(w, count);
}
