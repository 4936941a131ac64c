/* parts.c: see parts.h.
 * SPDX-License-Identifier: 0BSD */
#include "parts.h"
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 3 };

/* Cuts a line at its tabs; the fields there are, or FIELDS + 1. */
static int cut_at_tabs(Text line, Text fields[FIELDS])
{
    int count = 0;
    const char *at = line.bytes, *end = line.bytes + line.length;
    while (count < FIELDS) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        fields[count++] = (Text){ at, (tab ? tab : end) - at };
        if (!tab)
            return count;
        at = tab + 1;
    }
    return FIELDS + 1;
}

bool parts_of_tsv(Parts *parts, Text line, PartsForm form, bool open_ended,
                  Error *error)
{
    Text fields[FIELDS] = {0};
    int count = cut_at_tabs(line, fields);
    bool labelled = form == PARTS_LABELLED;
    int most = labelled ? 3 : 2;
    *parts = (Parts){0};
    if (count > most || (count == 1 && !open_ended))
        return error_set(error, ERROR_INPUT, "%s is wanted, and there %s",
                         labelled ? "label, tab, text, perhaps tab, text"
                                  : "a text, tab, text",
                         count == 1 ? "is no tab"
                         : count > FIELDS ? "are more tabs" : "are two tabs");
    if (count == 1 || !labelled) {
        parts->first = fields[0];
        parts->second = fields[1];
        return true;
    }
    bool known = fields[0].length > 0 || !open_ended;
    parts->label = known ? fields[0] : (Text){0};
    parts->first = fields[1];
    parts->second = fields[2];
    return true;
}

/* A member that must be a string. */
static bool take(const Parts *parts, const char *name, bool needed, Text *text,
                 Error *error)
{
    int at = json_member(&parts->json, 0, name);
    if (at < 0 && !needed)
        return true;
    if (at < 0 || parts->json.tokens[at].kind != JSON_STRING)
        return error_set(error, ERROR_INPUT, at < 0
                         ? "there is no member \"%s\""
                         : "member \"%s\" is no string", name);
    const JsonToken *token = &parts->json.tokens[at];
    *text = (Text){ token->string, token->length };
    return true;
}

/* Takes the place that json_parse put before its text, which is that of one
 * line: "json:1:COLUMN: ". */
static void without_place(Error *error)
{
    const char *text = error->text;
    if (error->status != ERROR_INPUT || strncmp(text, "json:1:", 7) != 0)
        return;
    size_t digits = strspn(text + 7, "0123456789");
    char column[32] = "";
    memcpy(column, text + 7, digits < 20 ? digits : 20);
    char what[sizeof error->text];
    memcpy(what, text + 7 + digits, strlen(text + 7 + digits) + 1);
    error_set(error, ERROR_INPUT, "column %s%s", column, what);
}

bool parts_of_json(Parts *parts, Text line, PartsForm form, bool open_ended,
                   Error *error)
{
    *parts = (Parts){0};
    if (!json_parse(&parts->json, "json", line.bytes, (size_t)line.length,
                    error)) {
        parts->json = (Json){0};
        without_place(error);
        return false;
    }
    bool pair = form == PARTS_PAIR;
    bool good = parts->json.tokens[0].kind == JSON_OBJECT
        || error_set(error, ERROR_INPUT, "an object in braces is wanted");
    good = good && take(parts, "prompt", true, &parts->first, error)
        && take(parts, pair ? "response" : "chosen", !pair || !open_ended,
                &parts->second, error)
        && (pair || take(parts, "rejected", true, &parts->third, error));
    if (!good)
        parts_free(parts);
    return good;
}

void parts_free(Parts *parts)
{
    json_free(&parts->json);
    *parts = (Parts){0};
}
