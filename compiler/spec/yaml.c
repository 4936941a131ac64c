/* yaml.c: from text to a tree, by libyaml's events. libyaml does the syntax;
 * the rest is here: the text is checked first (UTF-8, control characters),
 * places are turned from characters into bytes, and what a spec may not use is
 * refused: several documents, tags, merge keys, duplicate keys, aliases that
 * multiply. */
#include "yaml.h"
#include <yaml.h>

typedef struct Anchor { const char *name; Yaml *value; } Anchor;

typedef struct Reader {
    Problems *problems;
    Arena *arena;
    int source;
    const char *text;
    size_t length;
    yaml_parser_t parser;
    List(Anchor) anchors;       /* value NULL while it is being read */
    int depth;
    int values;
    /* The place of the last mark: events come in order, so it only moves on. */
    size_t characters, bytes, line_start;
    int line;
} Reader;

/* ---- text --------------------------------------------------------------- */

/* Length of the UTF-8 sequence at text, at most `room` bytes, and its code
 * point; 0 where it is none. Overlong forms and surrogates are none. */
static int decode(const unsigned char *text, size_t room, unsigned *point)
{
    static const unsigned least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = text[0];
    int length = first < 0x80 ? 1 : (first & 0xe0) == 0xc0 ? 2
        : (first & 0xf0) == 0xe0 ? 3 : (first & 0xf8) == 0xf0 ? 4 : 0;
    if (length == 0 || (size_t)length > room)
        return 0;
    *point = length == 1 ? first : first & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (text[i] & 0x3f);
    }
    if (*point < least[length] || *point > 0x10ffff
        || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return length;
}

/* May the code point stand in a spec? Line ends other than \n and \r\n may not:
 * editors and we should agree on what line 7 is. */
static bool is_allowed(unsigned point)
{
    if (point < 0x20)
        return point == '\t' || point == '\n' || point == '\r';
    return point < 0x7f
        || (point >= 0xa0 && point != 0x2028 && point != 0x2029
            && point != 0xfeff && point != 0xfffe && point != 0xffff);
}

static bool check_text(Problems *problems, int source, const char *text,
                       size_t length)
{
    const unsigned char *at = (const unsigned char *)text;
    int line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < length;) {
        unsigned point = 0;
        int bytes = decode(at + i, length - i, &point);
        Loc loc = { source, line, (int)(i - line_start) + 1, 0 };
        if (!bytes) {
            problem(problems, loc, "invalid UTF-8 at byte offset %zu (0x%02x)",
                    i, at[i]);
            return false;
        }
        bool lone_return =
            point == '\r' && (i + 1 == length || at[i + 1] != '\n');
        if (lone_return || !is_allowed(point)) {
            problem(problems, loc,
                    "the character U+%04X at byte offset %zu may not "
                    "stand in a spec",
                    point, i);
            return false;
        }
        i += (size_t)bytes;
        if (point == '\n') {
            line++;
            line_start = i;
        }
    }
    return true;
}

/* ---- places -------------------------------------------------------------- */

/* The byte place of a mark, which counts characters. */
static Loc place(Reader *reader, const yaml_mark_t *mark)
{
    if (mark->index < reader->characters) {
        reader->characters = reader->bytes = reader->line_start = 0;
        reader->line = 1;
    }
    while (reader->characters < mark->index && reader->bytes < reader->length) {
        if (reader->text[reader->bytes] == '\n') {
            reader->line++;
            reader->line_start = reader->bytes + 1;
        }
        reader->bytes++;
        while (reader->bytes < reader->length
               && (reader->text[reader->bytes] & 0xc0) == 0x80)
            reader->bytes++;
        reader->characters++;
    }
    return (Loc){ reader->source, reader->line,
                  (int)(reader->bytes - reader->line_start) + 1, 0 };
}

/* The place of an event, its width up to its end or its line's. */
static Loc event_place(Reader *reader, const yaml_event_t *event)
{
    Loc loc = place(reader, &event->start_mark);
    size_t end = reader->bytes;
    for (size_t i = event->start_mark.index;
         i < event->end_mark.index && end < reader->length
         && reader->text[end] != '\n' && reader->text[end] != '\r'; i++) {
        end++;
        while (end < reader->length && (reader->text[end] & 0xc0) == 0x80)
            end++;
    }
    bool opens = event->type == YAML_MAPPING_START_EVENT
        || event->type == YAML_SEQUENCE_START_EVENT;
    loc.width = opens ? 1 : (int)(end - reader->bytes);
    return loc;
}

/* ---- events -------------------------------------------------------------- */

/* libyaml's complaint, with its place in bytes. */
static void report_syntax(Reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    Loc loc = place(reader, &parser->problem_mark);
    const char *at = reader->text + reader->bytes;
    if (reader->bytes < reader->length && *at == '\t') {
        Problem *made = problem(reader->problems, loc, "a tab may not indent");
        problem_hint(made, "use spaces");
        return;
    }
    Problem *made =
        problem(reader->problems, loc, "not YAML: %s",
                parser->problem ? parser->problem : "cannot be read");
    if (parser->context
        && parser->context_mark.line != parser->problem_mark.line)
        problem_note(made, place(reader, &parser->context_mark),
                     "%s", parser->context);
    char reserved = reader->bytes < reader->length && strchr("%@`", *at) ? *at
        : reader->bytes > 0 && strchr("*&", at[-1]) ? at[-1] : 0;
    if (reserved && loc.col > 1)
        problem_hint(made,
                     "a text that begins with %c needs quotes", reserved);
}

/* The next event; false where the text is no YAML. */
static bool next_event(Reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    report_syntax(reader);
    return false;
}

static Yaml *new_value(Reader *reader, YamlKind kind, Loc loc)
{
    Yaml *value = arena_alloc(reader->arena, sizeof *value);
    value->kind = kind;
    value->loc = loc;
    value->size = 1;
    return value;
}

static Yaml *read_value(Reader *reader, yaml_event_t *event);

/* Opens an anchor for a value that begins here; its index, or -1 for none. */
static int open_anchor(Reader *reader, const char *name)
{
    if (!name)
        return -1;
    Anchor anchor = { arena_strdup(reader->arena, name), NULL };
    list_push(reader->arena, &reader->anchors, anchor);
    return reader->anchors.count - 1;
}

static Yaml *read_alias(Reader *reader, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    Loc loc = event_place(reader, event);
    for (int i = reader->anchors.count - 1; i >= 0; i--) {
        const Anchor *anchor = &reader->anchors.at[i];
        if (strcmp(anchor->name, name))
            continue;
        if (!anchor->value) {
            problem(reader->problems, loc,
                    "the alias *%s is inside its own value", name);
            return NULL;
        }
        Yaml *copy = new_value(reader, anchor->value->kind, loc);
        *copy = *anchor->value;
        copy->loc = loc;
        return copy;
    }
    Problem *made = problem(reader->problems, loc,
                            "there is no anchor &%s before this", name);
    problem_hint(made, "a text that begins with * needs quotes");
    return NULL;
}

static Yaml *read_scalar(Reader *reader, const yaml_event_t *event)
{
    Yaml *value = new_value(reader, YAML_SCALAR, event_place(reader, event));
    size_t length = event->data.scalar.length;
    const char *text = (const char *)event->data.scalar.value;
    value->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (memchr(text, 0, length)) {
        problem(reader->problems, value->loc, "a text may not hold a NUL");
        return NULL;
    }
    value->text = arena_strndup(reader->arena, text, length);
    return value;
}

static Yaml *read_list(Reader *reader, const yaml_event_t *event)
{
    Yaml *list = new_value(reader, YAML_LIST, event_place(reader, event));
    list->block = event->data.sequence_start.style == YAML_BLOCK_SEQUENCE_STYLE;
    for (;;) {
        yaml_event_t inner;
        if (!next_event(reader, &inner))
            return NULL;
        if (inner.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&inner);
            return list;
        }
        Yaml *item = read_value(reader, &inner);
        if (!item)
            return NULL;
        list->size += item->size;
        list_push(reader->arena, &list->items, item);
    }
}

/* Is the key one that a map may have here? Reports what is wrong with it. */
static bool check_key(Reader *reader, const Yaml *map, const Yaml *key)
{
    if (key->kind != YAML_SCALAR) {
        problem(reader->problems, key->loc, "a key must be a word, not %s",
                yaml_describe(reader->arena, key));
        return false;
    }
    if (key->plain && !strcmp(key->text, "<<")) {
        Problem *made = problem(reader->problems, key->loc,
                                "`<<` is no merge in YAML 1.2");
        problem_hint(made,
                     "an overlay (-f) merges maps; an alias repeats a value");
        return false;
    }
    for (int i = 0; i < map->pairs.count; i++) {
        const Yaml *other = map->pairs.at[i].key;
        if (strcmp(other->text, key->text))
            continue;
        Problem *made = problem(reader->problems, key->loc,
                                "the key `%s` stands twice", key->text);
        problem_note(made, other->loc, "first here");
        return true;
    }
    return true;
}

static Yaml *read_map(Reader *reader, const yaml_event_t *event)
{
    Yaml *map = new_value(reader, YAML_MAP, event_place(reader, event));
    map->block = event->data.mapping_start.style == YAML_BLOCK_MAPPING_STYLE;
    for (;;) {
        yaml_event_t inner;
        if (!next_event(reader, &inner))
            return NULL;
        if (inner.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&inner);
            return map;
        }
        YamlPair pair = { read_value(reader, &inner), NULL };
        if (!pair.key || !check_key(reader, map, pair.key))
            return NULL;
        if (!next_event(reader, &inner))
            return NULL;
        pair.value = read_value(reader, &inner);
        if (!pair.value)
            return NULL;
        map->size += pair.key->size + pair.value->size;
        list_push(reader->arena, &map->pairs, pair);
    }
}

/* The tag of an event that begins a value, or NULL. */
static const char *event_tag(const yaml_event_t *event)
{
    const yaml_char_t *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        tag = event->data.scalar.tag;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        tag = event->data.sequence_start.tag;
    if (event->type == YAML_MAPPING_START_EVENT)
        tag = event->data.mapping_start.tag;
    return (const char *)tag;
}

/* The anchor that an event gives its value, or NULL. */
static const char *event_anchor(const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor;
    if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor;
    return (const char *)anchor;
}

/* False, with a problem, where the value that begins here is not allowed. */
static bool check_value(Reader *reader, const yaml_event_t *event)
{
    Problems *problems = reader->problems;
    if (event_tag(event)) {
        problem(problems, event_place(reader, event),
                "tags (%s) are not used in specs",
                event_tag(event));
        return false;
    }
    if (reader->depth > YAML_MOST_DEPTH) {
        problem(problems, event_place(reader, event), "nested deeper than %d",
                YAML_MOST_DEPTH);
        return false;
    }
    if (++reader->values > YAML_MOST_VALUES) {
        problem(problems, event_place(reader, event), "more than %d values",
                YAML_MOST_VALUES);
        return false;
    }
    return true;
}

/* The value that an event begins; takes the event. NULL: reported. */
static Yaml *read_value(Reader *reader, yaml_event_t *event)
{
    Yaml *value = NULL;
    reader->depth++;
    if (check_value(reader, event)) {
        int anchor = open_anchor(reader, event_anchor(event));
        switch ((int)event->type) {
        case YAML_ALIAS_EVENT: value = read_alias(reader, event); break;
        case YAML_SCALAR_EVENT: value = read_scalar(reader, event); break;
        case YAML_SEQUENCE_START_EVENT: value = read_list(reader, event); break;
        case YAML_MAPPING_START_EVENT: value = read_map(reader, event); break;
        }
        if (anchor >= 0)
            reader->anchors.at[anchor].value = value;
    }
    reader->depth--;
    yaml_event_delete(event);
    if (value && value->size > YAML_MOST_VALUES) {
        problem(reader->problems, value->loc,
                "aliases make more than %d values of this", YAML_MOST_VALUES);
        return NULL;
    }
    return value;
}

/* Reads up to the document's value and on to the stream's end. */
static Yaml *read_document(Reader *reader)
{
    Yaml *root = NULL;
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return NULL;
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && root) {
            problem(reader->problems, event_place(reader, &event),
                    "a second document: a spec is one");
            yaml_event_delete(&event);
            return NULL;
        }
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT
            || type == YAML_DOCUMENT_END_EVENT
            || type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&event);
            if (type == YAML_STREAM_END_EVENT)
                return root;
            continue;
        }
        root = read_value(reader, &event);
        if (!root)
            return NULL;
    }
}

Yaml *yaml_read(Problems *problems, int source, const char *text, size_t length)
{
    if (!check_text(problems, source, text, length))
        return NULL;
    Reader reader = {
        .problems = problems, .arena = problems->arena, .source = source,
        .text = text, .length = length, .line = 1,
    };
    int before = problems->list.count;
    if (!yaml_parser_initialize(&reader.parser)) {
        problem(problems, (Loc){ source, 1, 1, 0 }, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text,
                                 length);
    Yaml *root = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    bool is_nothing =
        root && root->kind == YAML_SCALAR && yaml_scalar(root) == SCALAR_NULL;
    if (is_nothing || (!root && problems->list.count == before)) {
        problem(problems, (Loc){ source, 1, 1, 0 }, "nothing is said here");
        return NULL;
    }
    return root;
}
