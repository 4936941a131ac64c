/* rows.c (test): rows of tokens written out as text, where special tokens are
 * letters in brackets, and lines of TSV and JSONL taken apart.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/parts.h"
#include <string.h>

enum { T = 12 };

static const Special special = { { 256, 257, 258, 259, 260, 261, 262 } };
static const Special none = { { -1, -1, -1, -1, -1, -1, -1 } };

static Text text_of(const char *text)
{
    return (Text){ text, text ? (int64_t)strlen(text) : 0 };
}

/* "[c]ab[s]": the ids; -1 is a dot, 0 a zero. */
static const char *spell(char *out, const int32_t *ids, int64_t count)
{
    static const char letters[] = "pbeucsm";
    char *at = out;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] >= 256)
            at += sprintf(at, "[%c]", letters[ids[i] - 256]);
        else
            *at++ = ids[i] == -1 ? '.' : ids[i] == 0 ? '0' : (char)ids[i];
    }
    *at = 0;
    return out;
}

static void encoder(Checks *c, const EncoderRow *row, const Special *ids,
                    int64_t sequence, const char *want, const char *types)
{
    int32_t tokens[T], kinds[T], length = -1;
    Example example = { .tokens = tokens, .types = kinds, .lengths = &length,
                        .sequence = sequence };
    char got[100], got_types[T + 1] = "";
    rows_encoder(row, ids, &example);
    spell(got, tokens, length);
    for (int64_t i = 0; i < length; i++)
        got_types[i] = (char)('0' + kinds[i]);
    got_types[length] = 0;
    check(c, strcmp(got, want) == 0 && strcmp(got_types, types) == 0,
          "%s %s, not %s %s", got, got_types, want, types);
    int wrong = 0;
    for (int64_t i = length; i < sequence; i++)
        wrong += tokens[i] != special_padding(ids) || kinds[i] != 0;
    check(c, wrong == 0, "%s: padding", want);
}

static void test_encoder(Checks *c)
{
#define ENCODER(first_text, second_text, with_cls, ids, sequence, want, types) \
    encoder(c, &(EncoderRow){ .first = text_of(first_text), \
            .second = text_of(second_text), .cls = with_cls, \
            .second_type = 1 }, ids, sequence, want, types)
    ENCODER("abc", NULL, false, &special, T, "abc", "000");
    ENCODER("abc", NULL, false, &none, T, "abc", "000");
    ENCODER("abc", NULL, true, &special, T, "[c]abc[s]", "00000");
    ENCODER("abc", "de", false, &special, T, "abc[s]de", "000011");
    ENCODER("abc", "de", true, &special, T, "[c]abc[s]de[s]", "00000111");
    ENCODER("abc", "", true, &special, T, "[c]abc[s][s]", "000001");
    ENCODER("", NULL, false, &special, T, "", "");
    ENCODER("abcdef", NULL, false, &special, 4, "abcd", "0000");
    ENCODER("abcdef", NULL, true, &special, 4, "[c]ab[s]", "0000");
    ENCODER("abcdef", "xyz", true, &special, 8, "[c]abc[s]xy[s]", "00000111");
    ENCODER("abcdef", "xyz", true, &special, 9, "[c]abc[s]xyz[s]",
            "000001111");
    ENCODER("ab", "uvwxyz", true, &special, 8, "[c]ab[s]uvw[s]", "00001111");
    ENCODER("abc", "xyz", true, &special, 3, "[c][s][s]", "001");
    ENCODER("abc", "xyz", true, &special, 2, "[c][s]", "00");
#undef ENCODER
}

static void test_source(Checks *c)
{
    static const struct {
        const char *text;
        const Special *ids;
        int64_t sequence;
        const char *want;
    } sets[] = {
        { "abc", &special, T, "abc[e]" }, { "", &special, T, "[e]" },
        { "abcdef", &special, 4, "abc[e]" }, { "abc", &none, T, "abc" },
        { "abcdef", &none, 4, "abcd" }, { "abc", &special, 4, "abc[e]" },
    };
    for (int i = 0; i < 6; i++) {
        int32_t source[T], length = -1;
        char got[100];
        Example example = { .source = source, .source_lengths = &length,
                            .sequence = sets[i].sequence };
        rows_source(text_of(sets[i].text), sets[i].ids, &example);
        check(c, strcmp(spell(got, source, length), sets[i].want) == 0,
              "%s, not %s", got, sets[i].want);
    }
}

static void decoder(Checks *c, const DecoderRow *row, int64_t sequence,
                    const char *want, const char *want_targets)
{
    int32_t tokens[2 * T], targets[2 * T], lengths[2] = { -1, -1 };
    char got[100], got_targets[100];
    Example example = { .tokens = tokens, .targets = targets,
                        .lengths = lengths, .sequence = sequence };
    rows_decoder(row, &special, &example);
    int64_t at = row->side * sequence;
    spell(got, tokens + at, lengths[row->side]);
    spell(got_targets, targets + at, lengths[row->side]);
    check(c, strcmp(got, want) == 0 && strcmp(got_targets, want_targets) == 0,
          "%s -> %s, not %s -> %s", got, got_targets, want, want_targets);
    int wrong = 0;
    for (int64_t i = lengths[row->side]; i < sequence; i++)
        wrong += tokens[at + i] != 256 || targets[at + i] != -1;
    check(c, wrong == 0, "%s: padding", want);
}

static void test_decoder(Checks *c)
{
#define DECODER(first_id, one, two, last_id, from, which, sequence, ...) \
    decoder(c, &(DecoderRow){ .head = first_id, .tail = last_id, \
            .first = text_of(one), .second = text_of(two), .scored = from, \
            .side = which }, sequence, __VA_ARGS__)
    DECODER(257, "abc", NULL, 258, 0, 0, T, "[b]abc", "abc[e]");
    DECODER(257, "", NULL, 258, 0, 0, T, "[b]", "[e]");
    DECODER(257, "abcdef", NULL, 258, 0, 0, 4, "[b]abc", "abcd");
    DECODER(257, "abc", NULL, 258, 0, 0, 4, "[b]abc", "abc[e]");
    DECODER(257, NULL, NULL, -1, 0, 0, T, "", "");
    DECODER(-1, "abc", "de", 258, 3, 0, T, "abcde", "..de[e]");
    DECODER(-1, "abc", "de", 258, 3, 1, T, "abcde", "..de[e]");
    DECODER(-1, "abc", "", 258, 3, 0, T, "abc", "..[e]");
    DECODER(-1, "", "de", 258, 0, 0, T, "de", "e[e]");
    DECODER(-1, "abc", "def", 258, 3, 0, 5, "abcde", "..def");
    DECODER(-1, "abcdef", "gh", 258, 6, 0, 4, "abcd", "....");
    DECODER(-1, "", "", 258, 0, 0, T, "", "");
#undef DECODER
}

static void tsv(Checks *c, const char *line, PartsForm form, bool open_ended,
                const char *want)
{
    Parts parts;
    Error error = { 0 };
    char got[400];
    if (parts_of_tsv(&parts, text_of(line), form, open_ended, &error))
        snprintf(got, sizeof got, "%.*s|%.*s|%.*s",
                 (int)parts.label.length,
                 parts.label.bytes ? parts.label.bytes : "",
                 (int)parts.first.length, parts.first.bytes,
                 (int)parts.second.length,
                 parts.second.bytes ? parts.second.bytes : "");
    else
        snprintf(got, sizeof got, "%.300s", error.text);
    check(c, strcmp(got, want) == 0, "%s, not %s", got, want);
}

static void test_tsv(Checks *c)
{
    tsv(c, "a\tb c", PARTS_LABELLED, false, "a|b c|");
    tsv(c, "a\tb\tc", PARTS_LABELLED, false, "a|b|c");
    tsv(c, "\tb", PARTS_LABELLED, false, "|b|");
    tsv(c, "b", PARTS_LABELLED, true, "|b|");
    tsv(c, "b", PARTS_LABELLED, false,
        "label, tab, text, perhaps tab, text is wanted, and there is no tab");
    tsv(c, "a\tb\tc\td", PARTS_LABELLED, true, "label, tab, text, perhaps tab, "
        "text is wanted, and there are more tabs");
    tsv(c, "a\tb", PARTS_PAIR, false, "|a|b");
    tsv(c, "\t", PARTS_PAIR, false, "||");
    tsv(c, "a", PARTS_PAIR, true, "|a|");
    tsv(c, "a", PARTS_PAIR, false,
        "a text, tab, text is wanted, and there is no tab");
    tsv(c, "a\tb\tc", PARTS_PAIR, true,
        "a text, tab, text is wanted, and there are two tabs");
}

static void json(Checks *c, const char *line, PartsForm form, const char *want)
{
    Parts parts;
    Error error = { 0 };
    char got[400];
    if (parts_of_json(&parts, text_of(line), form, false, &error)) {
        snprintf(got, sizeof got, "%.*s|%.*s|%.*s", (int)parts.first.length,
                 parts.first.bytes, (int)parts.second.length,
                 parts.second.bytes, (int)parts.third.length,
                 parts.third.bytes ? parts.third.bytes : "");
        parts_free(&parts);
    } else {
        snprintf(got, sizeof got, "%.300s", error.text);
    }
    check(c, strcmp(got, want) == 0, "%s, not %s", got, want);
}

static void test_json(Checks *c)
{
    json(c, "{\"prompt\": \"a\\n\", \"response\": \"\\u00e9\", \"id\": [1]}",
         PARTS_PAIR, "a\n|\xc3\xa9|");
    json(c, "{\"chosen\":\"x\",\"prompt\":\"\",\"rejected\":\"y\"}",
         PARTS_PREFERENCE, "|x|y");
    json(c, "{\"prompt\":\"a\"}", PARTS_PAIR,
         "there is no member \"response\"");
    json(c, "{\"prompt\":\"a\",\"response\":1}", PARTS_PAIR,
         "member \"response\" is no string");
    json(c, "{\"prompt\":\"a\",\"chosen\":\"b\"}", PARTS_PREFERENCE,
         "there is no member \"rejected\"");
    json(c, "[]", PARTS_PAIR, "an object in braces is wanted");
    Parts parts;
    Error error = { 0 };
    check(c, !parts_of_json(&parts, text_of("{\"prompt\": x}"), PARTS_PAIR,
                            false, &error) &&
          strncmp(error.text, "column 12: ", 11) == 0, "%s", error.text);
    check(c, !parts_of_json(&parts, text_of("{\"prompt\": \"\xff\"}"),
                            PARTS_PAIR, false, &error), "no UTF-8");
}

int main(void)
{
    Checks checks = { .name = "rows" };
    test_encoder(&checks);
    test_source(&checks);
    test_decoder(&checks);
    test_tsv(&checks);
    test_json(&checks);
    return check_end(&checks);
}
