/* fuzz_json.c: any bytes as JSON. What is accepted must walk as its tokens say,
 * and what the writer makes of it must be accepted again as the same.
 *   clang -fsanitize=fuzzer,address,undefined fuzz_json.c ../../runtime/…
 * SPDX-License-Identifier: 0BSD */
#include "../../runtime/json.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void write_scalar(JsonWriter *w, const Json *json, int i)
{
    const JsonToken *token = &json->tokens[i];
    switch (token->kind) {
    case JSON_NULL: json_put_null(w); break;
    case JSON_FALSE: json_put_boolean(w, false); break;
    case JSON_TRUE: json_put_boolean(w, true); break;
    case JSON_INTEGER: json_put_integer(w, token->integer); break;
    case JSON_NUMBER: json_put_number(w, token->number); break;
    case JSON_STRING: json_put_text(w, token->string); break;
    case JSON_ARRAY: case JSON_OBJECT: break;
    }
}

/* Writes token 0 and all in it; false where a string has a NUL, which the
 * writer cannot say. */
static bool write_all(JsonWriter *w, const Json *json)
{
    int open[JSON_DEPTH], depth = 0, left[JSON_DEPTH];
    for (int i = 0; i < json->count; i++) {
        const JsonToken *token = &json->tokens[i];
        bool object =
            depth > 0 && json->tokens[open[depth - 1]].kind == JSON_OBJECT;
        if (token->kind == JSON_STRING &&
            strlen(token->string) != token->length)
            return false;
        if (object && left[depth - 1] % 2 == 0)
            json_key(w, token->string);
        else if (token->kind == JSON_ARRAY || token->kind == JSON_OBJECT)
            json_open(w, token->kind == JSON_ARRAY ? '[' : '{');
        else
            write_scalar(w, json, i);
        if (depth > 0)
            left[depth - 1]--;
        if (token->kind == JSON_ARRAY || token->kind == JSON_OBJECT) {
            require(depth < JSON_DEPTH);
            open[depth] = i;
            left[depth++] = token->count * (token->kind == JSON_OBJECT ? 2 : 1);
        }
        while (depth > 0 && left[depth - 1] == 0) {
            require(json->tokens[open[--depth]].end == i + 1);
            json_close(w, json->tokens[open[depth]].kind == JSON_ARRAY ? ']'
                                                                       : '}');
        }
    }
    require(depth == 0);
    return true;
}

/* Every key must be found where it stands. */
static void look_up(const Json *json)
{
    for (int object = 0; object < json->count; object++) {
        if (json->tokens[object].kind != JSON_OBJECT)
            continue;
        for (int i = object + 1; i < json->tokens[object].end;
             i = json->tokens[i + 1].end) {
            const char *key = json_text(json, i);
            require(!key || json_member(json, object, key) == i + 1);
        }
    }
}

/* 2.5e3 is written as 2500, which is an integer. */
static bool same(const Json *json, const Json *again, int i)
{
    double before, after;
    if (json->tokens[i].end != again->tokens[i].end)
        return false;
    if (json_real(json, i, &before))
        return json_real(again, i, &after) &&
               memcmp(&before, &after, sizeof after) == 0;
    return json->tokens[i].kind == again->tokens[i].kind;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Json json, again;
    Error error = { 0 };
    if (!json_parse(&json, "fuzz", (const char *)bytes, size, &error)) {
        require(error.status == ERROR_INPUT && error.text[0]);
        return 0;
    }
    look_up(&json);
    size_t room = 30 * size + 100;
    char *text = malloc(room);
    JsonWriter w = json_to_buffer(text, room);
    w.lines = size % 2;
    if (write_all(&w, &json)) {
        require(!w.failed &&
                json_parse(&again, "again", text, (size_t)w.length, &error));
        require(again.count == json.count && again.key_count == json.key_count);
        for (int i = 0; i < json.count; i++)
            require(same(&json, &again, i));
        json_free(&again);
    }
    free(text);
    json_free(&json);
    return 0;
}
