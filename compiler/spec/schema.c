/* schema.c: keys.def as a JSON Schema (2020-12), for editors and scripts. Each
 * key is a subschema with its description, default and two words of our own:
 * `x-run-time`, a built program takes it too, and `x-built`, false where only
 * the default is built so far. */
#include "schema.h"

typedef struct Writer { Buf *out; int depth; bool fresh; } Writer;

static void newline(Writer *w)
{
    buf_printf(w->out, "%s\n%*s", w->fresh ? "" : ",", 2 * w->depth, "");
    w->fresh = false;
}

static void add_string(Writer *w, const char *text)
{
    buf_printf(w->out, "\"");
    for (; *text; text++)
        buf_printf(w->out, *text == '"' || *text == '\\' ? "\\%c" : "%c",
                   *text);
    buf_printf(w->out, "\"");
}

static void add_name(Writer *w, const char *name)
{
    newline(w);
    add_string(w, name);
    buf_printf(w->out, ": ");
}

static void add_text(Writer *w, const char *name, const char *text)
{
    add_name(w, name);
    add_string(w, text);
}

static void add_bool(Writer *w, const char *name, bool truth)
{
    add_name(w, name);
    buf_printf(w->out, truth ? "true" : "false");
}

static void open_json(Writer *w, const char *name, char bracket)
{
    if (name)
        add_name(w, name);
    else
        newline(w);
    buf_printf(w->out, "%c", bracket);
    w->depth++;
    w->fresh = true;
}

static void close_json(Writer *w, char bracket)
{
    w->depth--;
    w->fresh = true;    /* no comma before a bracket */
    newline(w);
    buf_printf(w->out, "%c", bracket);
}

static void add_key(Writer *w, KeyId key);

/* Must it be said? What only tokens must say, the schema does not require. */
static bool is_required(KeyId key)
{
    return key != KEY_model_vocab && key != KEY_model_context
        && (key_info(key)->initial[0] == '!' || key == KEY_model);
}

/* What an object with the keys below `parent` is; the object is open. */
static void add_object(Writer *w, KeyId parent)
{
    bool requires = false;
    add_text(w, "type", "object");
    add_bool(w, "additionalProperties", false);
    open_json(w, "properties", '{');
    for (int i = 0; i < KEY_COUNT; i++) {
        if (key_parent((KeyId)i) != parent)
            continue;
        add_key(w, (KeyId)i);
        requires = requires || is_required((KeyId)i);
    }
    close_json(w, '}');
    if (!requires)
        return;
    open_json(w, "required", '[');
    for (int i = 0; i < KEY_COUNT; i++) {
        if (key_parent((KeyId)i) != parent || !is_required((KeyId)i))
            continue;
        newline(w);
        add_string(w, key_name((KeyId)i));
    }
    close_json(w, ']');
}

static void add_range(Writer *w, const KeyInfo *info)
{
    bool above = info->least == ABOVE_0, below = info->most == BELOW_1;
    add_name(w, above ? "exclusiveMinimum" : "minimum");
    buf_printf(w->out, "%.17g", above ? 0 : info->least);
    add_name(w, below ? "exclusiveMaximum" : "maximum");
    buf_printf(w->out, "%.17g", below ? 1 : info->most);
}

static void add_numeric(Writer *w, const KeyInfo *info, const char *type)
{
    add_text(w, "type", type);
    add_range(w, info);
}

/* The words of a choice; true and false are booleans. */
static void add_words(Writer *w, const KeyInfo *info)
{
    int count = info->choice_count - (info->type == SPEC_form);
    open_json(w, "enum", '[');
    for (int i = 0; i < count; i++) {
        const char *text = info->choices[i].text;
        newline(w);
        if (!strcmp(text, "true") || !strcmp(text, "false"))
            buf_printf(w->out, "%s", text);
        else
            add_string(w, text);
    }
    close_json(w, ']');
}

static void add_string_type(Writer *w, const char *pattern)
{
    add_text(w, "type", "string");
    add_text(w, "pattern", pattern);
}

static void add_list(Writer *w, const KeyInfo *info, const char *items,
                     int least, int most)
{
    add_text(w, "type", "array");
    add_name(w, "minItems");
    buf_printf(w->out, "%d", least);
    if (most) {
        add_name(w, "maxItems");
        buf_printf(w->out, "%d", most);
    }
    open_json(w, "items", '{');
    if (strcmp(items, "string"))
        add_numeric(w, info, items);
    else
        add_string_type(w, ".");
    close_json(w, '}');
}

/* One of the ways to say a key: a word of its own. */
static void add_word(Writer *w, const char *word)
{
    open_json(w, NULL, '{');
    add_text(w, "const", word);
    close_json(w, '}');
}

/* A choice whose choices have parameters: a word, or a map of one key. */
static void add_variants(Writer *w, KeyId key)
{
    const KeyInfo *info = key_info(key);
    open_json(w, NULL, '{');
    add_words(w, info);
    close_json(w, '}');
    for (int i = 0; i < KEY_COUNT; i++) {
        if (key_parent((KeyId)i) != key)
            continue;
        open_json(w, NULL, '{');
        add_text(w, "type", "object");
        add_bool(w, "additionalProperties", false);
        open_json(w, "properties", '{');
        add_key(w, (KeyId)i);
        close_json(w, '}');
        open_json(w, "required", '[');
        newline(w);
        add_string(w, key_name((KeyId)i));
        close_json(w, ']');
        close_json(w, '}');
    }
}

/* The ways of a key that can be said in more than one. */
static void add_ways(Writer *w, KeyId key)
{
    const KeyInfo *info = key_info(key);
    switch (info->type) {
    case SPEC_choice:
        add_variants(w, key);
        break;
    case SPEC_form: case SPEC_map:
        add_word(w, info->type == SPEC_form ? info->choices[0].text : "none");
        open_json(w, NULL, '{');
        add_object(w, key);
        close_json(w, '}');
        break;
    case SPEC_scale: case SPEC_id:
        add_word(w, info->type == SPEC_scale ? "dynamic" : "none");
        open_json(w, NULL, '{');
        add_numeric(w, info, info->type == SPEC_scale ? "number" : "integer");
        close_json(w, '}');
        break;
    case SPEC_counts:
        add_word(w, "auto");
        open_json(w, NULL, '{');
        add_list(w, info, "integer", 1, 0);
        close_json(w, '}');
        break;
    case SPEC_path:
        open_json(w, NULL, '{');
        add_string_type(w, ".");
        close_json(w, '}');
        open_json(w, NULL, '{');
        add_list(w, info, "string", 0, 0);
        close_json(w, '}');
        break;
    case SPEC_bytes: case SPEC_int:
        open_json(w, NULL, '{');
        add_numeric(w, info, "integer");
        close_json(w, '}');
        open_json(w, NULL, '{');
        if (info->type == SPEC_bytes)
            add_string_type(w, "^[0-9]+(\\.[0-9]*)? ?"
                            "(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?$");
        else
            add_object(w, key);
        close_json(w, '}');
        break;
    case SPEC_number: case SPEC_bool: case SPEC_text: case SPEC_decimal:
    case SPEC_pair: case SPEC_texts:
        ice("%s is said in one way", info->path);
    }
}

static void add_type(Writer *w, KeyId key)
{
    const KeyInfo *info = key_info(key);
    switch (info->type) {
    case SPEC_number: case SPEC_decimal: add_numeric(w, info, "number"); return;
    case SPEC_bool: add_text(w, "type", "boolean"); return;
    case SPEC_pair: add_list(w, info, "number", 2, 2); return;
    case SPEC_texts: add_list(w, info, "string", 0, 0); return;
    case SPEC_text:
        add_string_type(w, key == KEY_name
                        ? "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$" : ".");
        return;
    case SPEC_map:
        if (key == KEY_model_norm)
            break;
        add_object(w, key);
        return;
    case SPEC_int:
        if (key_has_children(key))
            break;
        add_numeric(w, info, "integer");
        return;
    case SPEC_choice:
        if (key_has_children(key))
            break;
        add_words(w, info);
        return;
    case SPEC_bytes: case SPEC_form: case SPEC_scale: case SPEC_id:
    case SPEC_path: case SPEC_counts:
        break;
    }
    open_json(w, "oneOf", '[');
    add_ways(w, key);
    close_json(w, ']');
}

/* A default that is written out, as JSON; a computed one in words. */
static void add_default(Writer *w, const KeyInfo *info)
{
    const char *initial = info->initial;
    if (!initial[0] || initial[0] == '!' || info->type == SPEC_map)
        return;
    if (initial[0] == '=') {
        add_text(w, "x-default", initial + 1);
        return;
    }
    bool is_json = info->type == SPEC_int || info->type == SPEC_number
        || info->type == SPEC_bool || info->type == SPEC_decimal
        || initial[0] == '[' || !strcmp(initial, "0")
        || !strcmp(initial, "true");
    add_name(w, "default");
    if (info->type == SPEC_form && strcmp(initial, info->choices[0].text))
        buf_printf(w->out, "{}");
    else if (is_json)
        buf_printf(w->out, "%s", initial);
    else
        add_string(w, initial);
}

static void add_key(Writer *w, KeyId key)
{
    const KeyInfo *info = key_info(key);
    open_json(w, key_name(key), '{');
    add_text(w, "description", info->doc);
    add_type(w, key);
    add_default(w, info);
    if (info->type != SPEC_map) {
        add_bool(w, "x-run-time", info->run_time);
        add_bool(w, "x-built", info->ready);
    }
    close_json(w, '}');
}

void spec_schema(Buf *out)
{
    Writer w = { out, 1, true };
    buf_printf(out, "{");
    add_text(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    add_text(&w, "title", "Trainwright spec");
    add_name(&w, "x-format");
    buf_printf(out, "1");
    add_object(&w, KEY_ROOT);
    close_json(&w, '}');
    buf_printf(out, "\n");
}
