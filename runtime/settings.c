/* settings.c: run-time keys and --set (see settings.h). A value is YAML flow
 * text: a plain or quoted scalar, or a list of them in brackets. Read from the
 * bottom: settings_read lays each text over the key's own, checks it by the
 * key's row, and puts it into the field that settings.def names.
 * SPDX-License-Identifier: 0BSD */
#include "settings.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ------------------------------------------------------------- */

typedef struct SettingBlock {
    struct SettingBlock *next;
    char *at[];             /* an array of pointers, or of characters */
} SettingBlock;

/* Zeroed bytes that live as long as the settings; NULL where there are none. */
static void *settings_alloc(Settings *settings, size_t bytes)
{
    SettingBlock *block = calloc(1, sizeof *block + bytes);
    if (!block)
        return NULL;
    block->next = settings->blocks;
    settings->blocks = block;
    return block->at;
}

void settings_free(Settings *settings)
{
    while (settings->blocks) {
        SettingBlock *block = settings->blocks;
        settings->blocks = block->next;
        free(block);
    }
}

/* ---- flow values -------------------------------------------------------- */

enum { MOST_ITEMS = 256 };

typedef struct Scalar {
    const char *text;       /* without quotes */
    bool quoted;
    int column;             /* from 1, in bytes of the value */
} Scalar;

typedef struct Flow {
    Settings *owner;        /* of the items' texts */
    bool list;
    int count;              /* of items; 1 where it is no list */
    Scalar items[MOST_ITEMS];
} Flow;

/* What is wrong, and where. */
typedef struct Complaint {
    int column;
    char text[256];
} Complaint;

static bool complain(Complaint *complaint, int column, const char *wanted,
                     const char *got)
{
    complaint->column = column;
    if (got)
        snprintf(complaint->text, sizeof complaint->text,
                 "wanted %s, got '%.80s'", wanted, got);
    else
        snprintf(complaint->text, sizeof complaint->text, "%s", wanted);
    return false;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* An escape of double quotes, from behind its backslash, as UTF-8 to *out;
 * where it ends, or NULL where there is none such. */
static const char *read_escape(const char *at, char **out)
{
    static const char letters[] = "abtnvfre\"/\\ ";
    static const char meant[] = "\a\b\t\n\v\f\r\033\"/\\ ";
    const char *letter = *at ? strchr(letters, *at) : NULL;
    if (letter) {
        *(*out)++ = meant[letter - letters];
        return at + 1;
    }
    size_t digits = *at == 'x' ? 2 : *at == 'u' ? 4 : 0;
    char hex[5] = "";
    memcpy(hex, at + 1, strnlen(at + 1, digits));
    unsigned point = (unsigned)strtoul(hex, NULL, 16);
    if (!digits || strspn(hex, "0123456789abcdefABCDEF") != digits || !point)
        return NULL;
    if (point >= 0x800)
        *(*out)++ = (char)(0xe0 | point >> 12);
    if (point >= 0x80)
        *(*out)++ = (char)(point >= 0x800 ? 0x80 | (point >> 6 & 0x3f)
                                          : 0xc0 | point >> 6);
    *(*out)++ = (char)(point < 0x80 ? point : 0x80 | (point & 0x3f));
    return at + 1 + digits;
}

/* A quoted scalar from its opening quote on; '' is a quote in single quotes.
 * NULL where it does not end, or an escape is none. */
static const char *read_quoted(const char *at, char *out)
{
    char quote = *at++;
    while (at && *at) {
        if (*at == quote && !(quote == '\'' && at[1] == '\'')) {
            *out = 0;
            return at + 1;
        }
        at += *at == quote;
        if (quote == '"' && *at == '\\')
            at = read_escape(at + 1, &out);
        else
            *out++ = *at++;
    }
    return NULL;
}

/* One scalar at `at`; where it ends, or NULL after a complaint. */
static const char *read_scalar(const char *text, const char *at, Flow *flow,
                               Complaint *complaint)
{
    Scalar *scalar = &flow->items[flow->count++];
    *scalar = (Scalar){ .column = (int)(at - text) + 1 };
    char *copy = settings_alloc(flow->owner, strlen(at) + 1);
    if (!copy) {
        complain(complaint, scalar->column, "out of memory", NULL);
        return NULL;
    }
    scalar->text = copy;
    if (*at == '\'' || *at == '"') {
        scalar->quoted = true;
        const char *end = read_quoted(at, copy);
        if (!end)
            complain(complaint, scalar->column, "a quote is not closed, or an "
                     "escape is none", NULL);
        return end;
    }
    if (*at && strchr("[]{}&*!|>%@`#,", *at)) {
        complain(complaint, scalar->column, "a value", at);
        return NULL;
    }
    size_t length = flow->list ? strcspn(at, ",[]{}") : strlen(at);
    const char *end = at + length;
    while (length > 0 && strchr(" \t\r\n", at[length - 1]))
        length--;
    memcpy(copy, at, length);
    copy[length] = 0;
    if (length == 0) {
        complain(complaint, scalar->column, "a value is missing", NULL);
        return NULL;
    }
    return end;
}

static bool read_list(const char *text, const char *at, Flow *flow,
                      Complaint *complaint)
{
    flow->list = true;
    at = skip_blanks(at + 1);
    while (*at != ']') {
        int column = (int)(at - text) + 1;
        if (flow->count == MOST_ITEMS)
            return complain(complaint, column, "the list is too long", NULL);
        at = read_scalar(text, at, flow, complaint);
        if (!at)
            return false;
        at = skip_blanks(at);
        if (*at != ',' && *at != ']')
            return complain(complaint, (int)(at - text) + 1,
                            "a list goes on with ',' or ends with ']'", NULL);
        if (*at == ',')
            at = skip_blanks(at + 1);
    }
    at = skip_blanks(at + 1);
    return *at == 0 || complain(complaint, (int)(at - text) + 1,
                                "nothing after the list", at);
}

static bool read_flow(const char *text, Flow *flow, Complaint *complaint)
{
    flow->list = false;
    flow->count = 0;
    const char *at = skip_blanks(text);
    if (*at == '[')
        return read_list(text, at, flow, complaint);
    at = read_scalar(text, at, flow, complaint);
    if (!at)
        return false;
    at = skip_blanks(at);
    return *at == 0 || complain(complaint, (int)(at - text) + 1,
                                "nothing after the value", at);
}

/* ---- checking by the key's row ------------------------------------------ */

/* Whether `word` is one of `a|b|c`. */
static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = choices; *at; at += strcspn(at, "|")) {
        at += *at == '|';
        if (strcspn(at, "|") == length && memcmp(at, word, length) == 0)
            return true;
    }
    return false;
}

/* YAML 1.2's integers: decimal, 0x and 0o. */
static bool scalar_integer(const char *text, int64_t *value)
{
    int base = strncmp(text, "0x", 2) == 0 ? 16
             : strncmp(text, "0o", 2) == 0 ? 8 : 10;
    if (base == 10)
        return parse_integer(text, value);
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "01234567";
    size_t length = strlen(text + 2);
    if (length == 0 || length > 15 || strspn(text + 2, digits) != length)
        return false;
    *value = strtoll(text + 2, NULL, base);
    return true;
}

static bool in_range(const RunKey *key, double number, const Scalar *scalar,
                     Complaint *complaint)
{
    if (number >= key->least && number <= key->most)
        return true;
    char wanted[128];
    if (isfinite(key->most))
        snprintf(wanted, sizeof wanted, "a value from %.10g to %.10g",
                 key->least, key->most);
    else
        snprintf(wanted, sizeof wanted, "a value of at least %.10g",
                 key->least);
    return complain(complaint, scalar->column, wanted, scalar->text);
}

static bool check_scalar(const RunKey *key, const Scalar *scalar,
                         Complaint *complaint)
{
    const char *type = key->type, *text = scalar->text;
    int64_t integer;
    if (is_choice("id", type) && strcmp(text, "none") == 0)
        return true;
    double number;
    if (is_choice("int|id|counts", type)) {
        if (scalar->quoted || !scalar_integer(text, &integer))
            return complain(complaint, scalar->column, "an integer", text);
        return in_range(key, (double)integer, scalar, complaint);
    }
    if (is_choice("number|decimal|pair", type)) {
        if (scalar->quoted || !parse_number(text, &number))
            return complain(complaint, scalar->column, "a number", text);
        return in_range(key, number, scalar, complaint);
    }
    if (strcmp(type, "bool") == 0 && (scalar->quoted
        || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)))
        return complain(complaint, scalar->column, "true or false", text);
    if (is_choice("choice|form", type) && !is_choice(key->choices, text)) {
        char wanted[160];
        snprintf(wanted, sizeof wanted, "one of %.140s", key->choices);
        return complain(complaint, scalar->column, wanted, text);
    }
    return true;
}

static bool check_flow(const RunKey *key, const Flow *flow,
                       Complaint *complaint)
{
    if (strcmp(key->type, "fixed") == 0)
        return complain(complaint, 1, "this key shapes the program: set it in "
                        "the spec and rebuild", NULL);
    bool either = strcmp(key->type, "path") == 0;
    bool list = is_choice("list|pair|texts|counts", key->type);
    if (flow->list && !list && !either)
        return complain(complaint, 1, "one value is wanted, not a list", NULL);
    if (!flow->list && list)
        return complain(complaint, 1, "a list is wanted, as in [0.9, 0.95]",
                        NULL);
    for (int i = 0; i < flow->count; i++)
        if (!check_scalar(key, &flow->items[i], complaint))
            return false;
    return true;
}

/* ---- into the struct ---------------------------------------------------- */

typedef enum SettingKind { INTEGER, ID, NUMBER, PAIR, WORD, WORDS } SettingKind;

static const struct SettingRow {
    SettingKind kind;
    size_t offset;
    const char *path, *otherwise;
} setting_rows[] = {
#define SETTING(kind, field, path, otherwise) \
    { kind, offsetof(Settings, field), path, otherwise },
#include "settings.def"
#undef SETTING
};
enum { SETTING_ROWS = sizeof setting_rows / sizeof setting_rows[0] };

static bool store_pair(double pair[2], const RunKey *key, const Flow *flow,
                       Complaint *complaint)
{
    if (flow->count != 2)
        return complain(complaint, 1, "wanted two numbers, as in [0.9, 0.95]",
                        NULL);
    for (int i = 0; i < 2; i++) {
        const Scalar *scalar = &flow->items[i];
        if (scalar->quoted || !parse_number(scalar->text, &pair[i]))
            return complain(complaint, scalar->column, "a number",
                            scalar->text);
        if (key && !in_range(key, pair[i], scalar, complaint))
            return false;
    }
    return true;
}

static bool store_words(TextList *words, const Flow *flow, Complaint *complaint)
{
    words->at = settings_alloc(flow->owner, ((size_t)flow->count + 1)
                                            * sizeof *words->at);
    if (!words->at)
        return complain(complaint, 1, "out of memory", NULL);
    words->count = 0;
    const Scalar *first = &flow->items[0];
    if (!flow->list && !first->quoted && strcmp(first->text, "none") == 0)
        return true;
    for (int i = 0; i < flow->count; i++)
        words->at[words->count++] = flow->items[i].text;
    return true;
}

/* Puts a checked value into its field. `key` is NULL for an `otherwise`. */
static bool store(const struct SettingRow *row, void *field, const RunKey *key,
                  const Flow *flow, Complaint *complaint)
{
    const Scalar *first = &flow->items[0];
    switch (row->kind) {
    case INTEGER:
        return scalar_integer(first->text, field)
            || complain(complaint, first->column, "an integer", first->text);
    case ID:
        if (!*first->text || strcmp(first->text, "none") == 0) {
            *(int64_t *)field = -1;
            return true;
        }
        return scalar_integer(first->text, field)
            || complain(complaint, first->column, "an integer or none",
                        first->text);
    case NUMBER:
        return parse_number(first->text, field)
            || complain(complaint, first->column, "a number", first->text);
    case PAIR:
        return store_pair(((setting_PAIR *)field)->at, key, flow, complaint);
    case WORD:
        *(const char **)field = first->text;
        return true;
    case WORDS:
        return store_words(field, flow, complaint);
    }
    return true;
}

/* ---- --set -------------------------------------------------------------- */

static const RunKey *find_key(const Program *program, const char *path)
{
    for (int i = 0; i < program->key_count; i++)
        if (strcmp(program->keys[i].path, path) == 0)
            return &program->keys[i];
    return NULL;
}

static void print_complaint(const char *path, const char *value,
                            const Complaint *complaint)
{
    fprintf(stderr, "--set %s:1:%d: error: %s\n     1 | %s\n       | %*s\n",
            path, complaint->column, complaint->text, value,
            complaint->column, "^");
}

static void print_unknown_key(const Program *program, const char *path,
                              const char *value)
{
    Complaint complaint;
    complain(&complaint, 1, "there is no such key", NULL);
    print_complaint(path, value, &complaint);
    const char **paths = calloc((size_t)program->key_count + 1, sizeof *paths);
    if (!paths)
        return;
    for (int i = 0; i < program->key_count; i++)
        paths[i] = program->keys[i].path;
    const char *near = nearest(path, paths, program->key_count);
    if (near)
        fprintf(stderr, "  hint: did you mean %s?\n", near);
    free(paths);
}

/* One --set: its value replaces the key's text. */
static bool apply_set(Settings *settings, const Program *program,
                      const char *set, Error *error)
{
    const char *equals = strchr(set, '=');
    if (!equals || equals == set)
        return error_set(error, ERROR_INPUT, "--set wants KEY=VALUE, not '%s'",
                         set);
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)(equals - set), set);
    const char *value = equals + 1;
    error_set(error, ERROR_INPUT, "%s", "");
    const RunKey *key = find_key(program, path);
    if (!key) {
        print_unknown_key(program, path, value);
        return false;
    }
    Flow flow = { .owner = settings };
    Complaint complaint;
    if (!read_flow(value, &flow, &complaint)
        || !check_flow(key, &flow, &complaint)) {
        print_complaint(path, value, &complaint);
        return false;
    }
    settings->texts[key - program->keys] = value;
    return true;
}

/* Reads one field from the key's present text. */
static bool read_setting(Settings *settings, const struct SettingRow *row,
                         const Program *program, Error *error)
{
    const RunKey *key = find_key(program, row->path);
    const char *value = key ? settings->texts[key - program->keys]
                            : row->otherwise;
    void *field = (char *)settings + row->offset;
    Flow flow = { .owner = settings };
    Complaint complaint;
    bool empty = *skip_blanks(value) == 0;
    if (empty)
        flow.items[0].text = "";
    if ((empty || read_flow(value, &flow, &complaint))
        && store(row, field, key, &flow, &complaint))
        return true;
    if (key && value != key->value) {
        print_complaint(row->path, value, &complaint);
        return error_set(error, ERROR_INPUT, "%s", "");
    }
    return error_set(error, ERROR_ENVIRONMENT, "internal error: the program's "
                     "own %s: %s is unreadable: %s", row->path, value,
                     complaint.text);
}

/* A rule between two keys is broken: said at the first of them that a --set
 * gave. */
static bool clash(const Settings *settings, const Program *program,
                  const char *const keys[2], const char *text, Error *error)
{
    Complaint complaint;
    for (int i = 0; i < 2; i++) {
        const RunKey *key = find_key(program, keys[i]);
        if (!key || settings->texts[key - program->keys] == key->value)
            continue;
        complain(&complaint, 1, text, NULL);
        print_complaint(keys[i], settings->texts[key - program->keys],
                        &complaint);
        return error_set(error, ERROR_INPUT, "%s", "");
    }
    return error_set(error, ERROR_INPUT, "%s: %s", keys[0], text);
}

static bool check_schedule(const Settings *settings, const Program *program,
                           Error *error)
{
    static const char decay[] = "train.schedule.decay";
    static const char type[] = "train.schedule.type";
    const char *const type_first[] = { type, decay };
    const char *const decay_first[] = { decay, type };
    const char *const with_steps[] = { decay, "train.steps" };
    bool wsd = strcmp(settings->schedule, "wsd") == 0;
    if (wsd && settings->decay <= 0)
        return clash(settings, program, type_first, "wsd needs "
                     "train.schedule.decay, the steps of its decay", error);
    if (wsd && settings->decay > settings->steps)
        return clash(settings, program, with_steps, "train.schedule.decay is "
                     "longer than train.steps", error);
    if (!wsd && settings->decay > 0)
        return clash(settings, program, decay_first, "train.schedule.decay is "
                     "wsd's, and this is no wsd", error);
    return true;
}

static bool check_masking(const Settings *settings, const Program *program,
                          Error *error)
{
    const char *const keys[] = { "train.masking.mask", "train.masking.random" };
    /* Shares as written, 0.9 and 0.1: their sum may be off by a rounding. */
    return settings->masking_mask + settings->masking_random <= 1 + 1e-9
        || clash(settings, program, keys, "train.masking.mask and "
                 "train.masking.random add up to more than 1", error);
}

/* The rules of the compiler that run-time keys can break. */
static bool check_together(const Settings *settings, const Program *program,
                           Error *error)
{
    return check_schedule(settings, program, error)
        && check_masking(settings, program, error);
}

bool settings_read(Settings *settings, const Program *program,
                   const TextList *sets, Error *error)
{
    *settings = (Settings){0};
    settings->texts = settings_alloc(settings, ((size_t)program->key_count + 1)
                                               * sizeof *settings->texts);
    if (!settings->texts)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    for (int i = 0; i < program->key_count; i++)
        settings->texts[i] = program->keys[i].value;
    bool good = true;
    for (int i = 0; sets && i < sets->count; i++)
        good = apply_set(settings, program, sets->at[i], error) && good;
    for (int i = 0; good && i < SETTING_ROWS; i++)
        good = read_setting(settings, &setting_rows[i], program, error);
    return good && check_together(settings, program, error);
}

void settings_note(Settings *settings, const Program *program, const char *path,
                   const char *text)
{
    const RunKey *key = find_key(program, path);
    if (key)
        settings->texts[key - program->keys] = text;
}
