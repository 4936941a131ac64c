/* json.c (test): what is JSON and what is not, with the place of the mistake;
 * the values read; the text written, which reads back.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/json.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool parse(Json *json, const char *text, Error *error)
{
    /* In memory of its own, so that sanitizers see a byte too many. */
    size_t length = strlen(text);
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    bool good = json_parse(json, "t", copy, length, error);
    free(copy);
    return good;
}

static void test_accepted(Checks *c)
{
    static const char *const texts[] = {
        "0", "-1", " 1 ", "1.5", "1e5", "1E+5", "1e-5", "-0", "null", "true",
        "false", "\"\"", "\"a\"", "[]", "{}", "[ ]", "{ }", "[1,2]", "[[],[]]",
        "{\"a\":1}", "{\"a\":{\"a\":1}}", "\t\n\r[\n1\t,\r2 ]\n", "\"\\u0041\"",
        "\"\\ud83d\\ude00\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\x7f\"",
        "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\"",
        "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", "[{\"a\":1},{\"a\":2}]",
        "{\"\":0}", "1e-400", "123456789012345678901234567890",
        "{\"a\":1,\"b\":2,\"aa\":3}",
    };
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++) {
        Json json;
        Error error = { 0 };
        if (check(c, parse(&json, texts[i], &error), "%s: %s", texts[i],
                  error.text))
            json_free(&json);
    }
}

static void test_refused(Checks *c)
{
    static const struct { const char *text, *error; } texts[] = {
        { "", "t:1:1: ends where a value" }, { "  ", "t:1:3: ends where" },
        { "[", "t:1:2: ends where a value" }, { "[1", "t:1:3: a ',' or ']'" },
        { "[1,", "t:1:4: ends where" }, { "[1,]", "t:1:4: not a JSON value" },
        { "[,1]", "t:1:2: not a" }, { "[1 2]", "t:1:4: a ',' or ']'" },
        { "{", "t:1:2: a key" }, { "{\"a\"", "t:1:5: a ':'" },
        { "{\"a\":", "t:1:6: ends where" }, { "{\"a\":1", "t:1:7: a ',' or '}'" },
        { "{\"a\":1,}", "t:1:8: a key" }, { "{a:1}", "t:1:2: a key" },
        { "{1:1}", "t:1:2: a key" }, { "[1}", "t:1:3: a ',' or ']'" },
        { "{\"a\":1]", "t:1:7: a ',' or '}'" }, { "1 2", "t:1:3: something follows" },
        { "]", "t:1:1: not a" }, { "nul", "t:1:1: not a" }, { "True", "t:1:1: not a" },
        { "nulll", "t:1:5: something follows" }, { "01", "t:1:1: not a" },
        { "-", "t:1:1: not a" }, { "+1", "t:1:1: not a" }, { ".5", "t:1:1: not a" },
        { "1.", "t:1:1: a number that ends" }, { "1e", "t:1:1: a number without" },
        { "1e+", "t:1:1: a number without" }, { "-01", "t:1:1: not a" },
        { "NaN", "t:1:1: not a" }, { "Infinity", "t:1:1: not a" },
        { "1e999", "t:1:1: a number too large" }, { "0x10", "t:1:2: something" },
        { "\"", "t:1:1: a string that does not end" },
        { "\"a", "t:1:1: a string that" }, { "\"\\", "t:1:2: not an escape" },
        { "\"\\\"", "t:1:1: a string that" }, { "\"\\x\"", "t:1:2: not an escape" },
        { "\"\\u12\"", "t:1:2: not an escape" }, { "\"\\u12g4\"", "t:1:2: not an" },
        { "\"\\ud800\"", "t:1:2: half of a" }, { "\"\\udc00\"", "t:1:2: half of a" },
        { "\"\\ud800\\u0041\"", "t:1:2: half" }, { "\"\\ud800x\"", "t:1:2: half" },
        { "\"\\ud800\\", "t:1:2: half" }, { "\"a\nb\"", "t:1:3: a control" },
        { "[\n  1,\n  x]", "t:3:3: not a" }, { "\"\x80\"", "t:1:2: not UTF-8" },
        { "\"\xc0\x80\"", "t:1:2: not UTF-8" }, { "\"\xe0\x80\x80\"", "t:1:2: not UTF" },
        { "\"\xed\xa0\x80\"", "t:1:2: not UTF-8" }, { "\"\xc3", "t:1:2: not UTF-8" },
        { "\"\xf4\x90\x80\x80\"", "t:1:2: not UTF-8" }, { "\xef\xbb\xbf[]", "t:1:1:" },
        { "\"\xf8\x80\x80\x80\"", "t:1:2: not UTF-8" }, { "'a'", "t:1:1: not a" },
        { "{\"a\":1,\"a\":2}", "the key \"a\" stands twice" },
        { "{\"a\":1,\"\\u0061\":2}", "the key \"a\" stands twice" },
        { "[1]//", "t:1:4: something follows" },
    };
    for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++) {
        Json json;
        Error error = { 0 };
        bool good = parse(&json, texts[i].text, &error);
        check(c,
              !good && error.status == ERROR_INPUT &&
                  strstr(error.text, texts[i].error),
              "%s: %s", texts[i].text, error.text);
        if (good)
            json_free(&json);
    }
}

static void test_limits(Checks *c)
{
    Json json;
    Error error = { 0 };
    char deep[2 * JSON_DEPTH + 3];
    memset(deep, '[', JSON_DEPTH);
    memset(deep + JSON_DEPTH, ']', JSON_DEPTH);
    deep[2 * JSON_DEPTH] = '\0';
    if (check(c, parse(&json, deep, &error), "%s", error.text))
        json_free(&json);
    memset(deep, '[', JSON_DEPTH + 1);
    deep[JSON_DEPTH + 1] = '\0';
    check(c, !parse(&json, deep, &error) && strstr(error.text, "too deeply"),
          "deep");
    char digits[600];
    memset(digits, '9', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    check(c, !parse(&json, digits, &error) && strstr(error.text, "511"),
          "digits");
    check(c, !json_parse(&json, "t", "\0", 1, &error), "a NUL");
    check(c, !json_parse(&json, "t", "[\0]", 3, &error), "a NUL in an array");
}

static void test_values(Checks *c)
{
    Json json;
    Error error = { 0 };
    const char *text =
        "{\"int\": 9223372036854775807, \"least\": -9223372036854775808,"
        "\"more\": 9223372036854775808, \"third\": 0.1, \"minus\": -0, "
        "\"yes\": true,"
        "\"no\": false, \"nothing\": null, \"text\": "
        "\"a\\u00e9\\ud83d\\ude00\\n\","
        "\"nul\": \"a\\u0000b\", \"list\": [1, [2, 3], {\"x\": 4}, 5],"
        "\"in\": {\"in\": {\"in\": 7}}}";
    if (!check(c, parse(&json, text, &error), "%s", error.text))
        return;
    int64_t i;
    double d;
    bool b;
    int at = json_member(&json, 0, "int");
    check(c, json_integer(&json, at, &i) && i == INT64_MAX, "int");
    check(c, json_real(&json, at, &d) && d == 0x1p63, "int as a real");
    at = json_member(&json, 0, "least");
    check(c, json_integer(&json, at, &i) && i == INT64_MIN, "least");
    at = json_member(&json, 0, "more");
    check(c,
          !json_integer(&json, at, &i) && json_real(&json, at, &d) &&
              d == 0x1p63,
          "more than int64");
    at = json_member(&json, 0, "third");
    check(c,
          !json_integer(&json, at, &i) && json_real(&json, at, &d) && d == 0.1,
          "0.1");
    at = json_member(&json, 0, "minus");
    check(c, json_real(&json, at, &d) && d == 0 && signbit(d), "-0");
    check(c, json_boolean(&json, json_member(&json, 0, "yes"), &b) && b, "yes");
    check(c, json_boolean(&json, json_member(&json, 0, "no"), &b) && !b, "no");
    check(c, !json_boolean(&json, json_member(&json, 0, "nothing"), &b),
          "nothing");
    const char *got = json_text(&json, json_member(&json, 0, "text"));
    check(c, got && strcmp(got, "a\xc3\xa9\xf0\x9f\x98\x80\n") == 0, "text");
    at = json_member(&json, 0, "nul");
    check(c, !json_text(&json, at) && json.tokens[at].length == 3,
          "a NUL in a string");
    check(c,
          json_member(&json, 0, "x") == -1 &&
              json_member(&json, -1, "x") == -1 &&
              json_member(&json, at, "x") == -1,
          "no member");
    at = json_member(&json,
                     json_member(&json, json_member(&json, 0, "in"), "in"),
                     "in");
    check(c, json_integer(&json, at, &i) && i == 7, "nested");
    int list = json_member(&json, 0, "list"), count = 0;
    for (int t = list + 1; t < json.tokens[list].end; t = json.tokens[t].end)
        count++;
    check(c, json.tokens[list].count == 4 && count == 4, "%d elements", count);
    check(c, json.tokens[0].count == 12 && json.tokens[0].end == json.count,
          "whole");
    json_free(&json);
}

/* Many keys: found by name, duplicates found among them. */
static void test_many(Checks *c)
{
    enum { KEYS = 20000 };
    char *text = malloc(KEYS * 16 + 16), *to = text;
    *to++ = '{';
    for (int i = 0; i < KEYS; i++)
        to += sprintf(to, "\"k%d\":%d,", (i * 7919) % KEYS, i);
    strcpy(to, "\"z\":1}");
    Json json;
    Error error = { 0 };
    if (check(c, parse(&json, text, &error), "%s", error.text)) {
        int wrong = 0;
        for (int i = 0; i < KEYS; i++) {
            char key[16];
            int64_t value = -1;
            sprintf(key, "k%d", (i * 7919) % KEYS);
            json_integer(&json, json_member(&json, 0, key), &value);
            wrong += value != i;
        }
        check(c, wrong == 0, "%d keys are not found", wrong);
        json_free(&json);
    }
    strcpy(to, "\"k77\":1}");
    check(c, !parse(&json, text, &error) && strstr(error.text, "\"k77\""), "%s",
          error.text);
    free(text);
}

static void write_sample(JsonWriter *w)
{
    json_open(w, '{');
    json_key(w, "name");
    json_put_text(w, "a\"b\\c\n\x01\x7f\xc3\xa9\xff/");
    json_key(w, "list");
    json_open(w, '[');
    json_put_integer(w, INT64_MIN);
    json_put_number(w, 0.1);
    json_put_short(w, 1.0 / 3);
    json_put_number(w, NAN);
    json_put_short(w, -INFINITY);
    json_put_boolean(w, true);
    json_put_null(w);
    json_close(w, ']');
    json_key(w, "empty");
    json_open(w, '{');
    json_close(w, '}');
    json_close(w, '}');
}

static void test_write(Checks *c)
{
    const char *want =
        "{\"name\":\"a\\\"b\\\\c\\u000a\\u0001\\u007f\xc3\xa9\\ufffd/\","
        "\"list\":[-9223372036854775808,0.10000000000000001,0.333333333,null,"
        "null,"
        "true,null],\"empty\":{}}";
    size_t length = strlen(want);
    char text[512];
    JsonWriter w = json_to_buffer(text, sizeof text);
    write_sample(&w);
    check(c, !w.failed && strcmp(text, want) == 0, "%s", text);
    w = json_to_nowhere();
    write_sample(&w);
    check(c, !w.failed && w.length == length, "length %d", (int)w.length);
    for (size_t room = 0; room <= length + 1; room++) {
        char *exact = malloc(room ? room : 1);
        w = json_to_buffer(exact, room);
        write_sample(&w);
        check(c, w.failed == (room <= length) && w.length == length, "room %zu",
              room);
        free(exact);
    }
    FileWriter file;
    Error error = { 0 };
    char *read;
    check(c, file_create(&file, "json", &error), "%s", error.text);
    w = json_to_file(&file, &error);
    write_sample(&w);
    check(c, !w.failed && file_commit(&file, &error), "%s", error.text);
    check(c, file_read_whole("json", 1000, &read, &length, &error) &&
          strcmp(read, want) == 0, "in a file");
    free(read);
    unlink("json");
}

static void test_lines(Checks *c)
{
    char text[512];
    JsonWriter w = json_to_buffer(text, sizeof text);
    w.lines = true;
    json_open(&w, '{');
    json_key(&w, "a");
    json_open(&w, '[');
    json_put_integer(&w, 1);
    json_put_integer(&w, 2);
    json_close(&w, ']');
    json_key(&w, "b");
    json_open(&w, '{');
    json_close(&w, '}');
    json_close(&w, '}');
    check(c,
          strcmp(text, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}") ==
              0,
          "%s", text);
}

/* %.17g and %.9g read back to the same double and float. */
static void test_round_trip(Checks *c)
{
    uint64_t bits = 1;
    int wrong = 0;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        double value, back = 0;
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        JsonWriter w = json_to_buffer(text, sizeof text);
        json_put_number(&w, value);
        Json json;
        wrong += !parse(&json, text, NULL) || !json_real(&json, 0, &back) ||
                 memcmp(&back, &value, sizeof value) != 0;
        json_free(&json);
        float single = (float)((double)bits * 0x1p-64);
        w = json_to_buffer(text, sizeof text);
        json_put_short(&w, single);
        wrong += strtof(text, NULL) != single;
    }
    check(c, wrong == 0, "%d numbers change", wrong);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "json" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_accepted(&checks);
    test_refused(&checks);
    test_limits(&checks);
    test_values(&checks);
    test_many(&checks);
    test_write(&checks);
    test_lines(&checks);
    test_round_trip(&checks);
    return check_end(&checks);
}
