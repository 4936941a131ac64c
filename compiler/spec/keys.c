/* keys.c: keys.def as an array, and the questions that are asked of it. The
 * tree is in the paths: a key's parent is the key of its path without the last
 * word. All searches are linear; the table has some 130 rows. */
#include "spec.h"

#define READY true
#define LATER false
#define RUN true
#define BUILD false

#define MAP(...)
#define KEY(...)
#define CHOICES(field) static const Choice choices_##field[] = {
#define CHOICE(id, text, ready, doc) { text, ready, doc },
#define CHOICES_END };
#include "keys.def"
#undef MAP
#undef KEY
#undef CHOICES
#undef CHOICE

#define NO_LIST NULL, 0
#define LIST(field) choices_##field, sizeof choices_##field / sizeof(Choice)
#define LIST_int(field) NO_LIST
#define LIST_number(field) NO_LIST
#define LIST_bool(field) NO_LIST
#define LIST_text(field) NO_LIST
#define LIST_bytes(field) NO_LIST
#define LIST_choice(field) LIST(field)
#define LIST_form(field) LIST(field)
#define LIST_decimal(field) NO_LIST
#define LIST_scale(field) NO_LIST
#define LIST_id(field) NO_LIST
#define LIST_pair(field) NO_LIST
#define LIST_texts(field) NO_LIST
#define LIST_path(field) NO_LIST
#define LIST_counts(field) NO_LIST

#define CHOICES(field)
#define CHOICE(...)
#undef CHOICES_END
#define CHOICES_END
#define MAP(field, path, doc) \
    { path, SPEC_map, "", "", 0, 0, NO_LIST, false, true, doc, 0 },
#define KEY(field, path, type, initial, example, least, most, run, built, doc) \
    { path, SPEC_##type, initial, example, least, most, LIST_##type(field), \
      run, built, doc, offsetof(Spec, field) },
static const KeyInfo keys[KEY_COUNT] = {
#include "keys.def"
};

const KeyInfo *key_info(KeyId key)
{
    if (key >= KEY_COUNT)
        ice("no key %d", (int)key);
    return &keys[key];
}

const char *key_name(KeyId key)
{
    const char *path = key_info(key)->path, *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

KeyId key_find(const char *path)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strcmp(keys[i].path, path))
            return (KeyId)i;
    return KEY_COUNT;
}

/* A parent's row stands above its children's, the nearest of all prefixes. */
KeyId key_parent(KeyId key)
{
    const char *path = key_info(key)->path, *dot = strrchr(path, '.');
    size_t length = dot ? (size_t)(dot - path) : 0;
    for (int i = key; dot && i-- > 0;)
        if (!strncmp(keys[i].path, path, length) && !keys[i].path[length])
            return (KeyId)i;
    return KEY_ROOT;
}

bool key_is_below(KeyId key, KeyId above)
{
    while (key != KEY_ROOT && key != above)
        key = key_parent(key);
    return key == above;
}

KeyId key_child(KeyId parent, const char *name)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strcmp(key_name((KeyId)i), name) && key_parent((KeyId)i) == parent)
            return (KeyId)i;
    return KEY_COUNT;
}

bool key_has_children(KeyId key)
{
    for (int i = key + 1; i < KEY_COUNT; i++)
        if (key_parent((KeyId)i) == key)
            return true;
    return false;
}

int key_choice(const Spec *spec, KeyId key)
{
    /* To gcc and clang an enum without negatives is an unsigned int. */
    unsigned value;
    memcpy(&value, (const char *)spec + key_info(key)->offset, sizeof value);
    return (int)value;
}

/* Is there what the key is about? Images and graphs have no vocabulary, and one
 * stack of blocks is not two. */
static bool has_subject(const Spec *spec, KeyId key)
{
    if (key == KEY_model_vocab)
        return spec->model_input == MODEL_INPUT_TOKENS;
    return key_parent(key) != KEY_model_blocks
        || spec->model_kind == MODEL_KIND_ENCODER_DECODER;
}

bool key_active(const Spec *spec, KeyId key)
{
    if (!has_subject(spec, key))
        return false;
    for (KeyId below = key, at; (at = key_parent(below)) != KEY_ROOT;
         below = at) {
        const KeyInfo *info = key_info(at);
        if (info->type == SPEC_form
            && key_choice(spec, at) != info->choice_count - 1)
            return false;
        if (info->type == SPEC_choice
            && strcmp(info->choices[key_choice(spec, at)].text,
                      key_name(below)))
            return false;
    }
    return true;
}

/* Does a key that may be absent hold something? */
static bool has_value(const Spec *spec, KeyId key)
{
    const KeyInfo *info = key_info(key);
    const char *at = (const char *)spec + info->offset;
    int64_t integer;
    SpecTexts texts;
    switch (info->type) {
    case SPEC_int: case SPEC_bytes:
        memcpy(&integer, at, sizeof integer);
        return integer != 0;
    case SPEC_id:
        memcpy(&integer, at, sizeof integer);
        return integer >= 0;
    case SPEC_texts: case SPEC_path:
        memcpy(&texts, at, sizeof texts);
        return texts.count > 0;
    case SPEC_map: case SPEC_number: case SPEC_bool: case SPEC_text:
    case SPEC_choice: case SPEC_form: case SPEC_decimal: case SPEC_scale:
    case SPEC_pair: case SPEC_counts:
        break;
    }
    return true;
}

bool key_shown(const Spec *spec, KeyId key)
{
    if (!key_active(spec, key))
        return false;
    if (key_info(key)->type != SPEC_map)
        return key_info(key)->initial[0] || has_value(spec, key);
    for (int i = key + 1; i < KEY_COUNT; i++)
        if (key_parent((KeyId)i) == key && key_shown(spec, (KeyId)i))
            return true;
    return false;
}

static bool is_number(SpecType type)
{
    return type != SPEC_int && type != SPEC_bytes && type != SPEC_id
        && type != SPEC_counts;
}

/* " from 1 to 8", " of at least 1", " above 0 and below 1", or nothing. */
static void add_range(const KeyInfo *info, Buf *out)
{
    bool open_below = info->least == ABOVE_0;
    bool open_above = info->most == BELOW_1;
    bool unbounded =
        info->most >= (is_number(info->type) ? REAL_MOST : SIZE_MOST);
    if (open_below)
        buf_printf(out, " above 0");
    else if (unbounded)
        buf_printf(out, " of at least %.15g", info->least);
    else
        buf_printf(out, " from %.15g", info->least);
    if (open_above)
        buf_printf(out, " to below 1");
    else if (!unbounded)
        buf_printf(out, " to %.15g", info->most);
}

/* "a, b or c": what may be said of a choice. */
static void add_choices(const KeyInfo *info, Buf *out)
{
    for (int i = 0; i < info->choice_count; i++)
        buf_printf(out, "%s%s", i == 0 ? ""
                   : i + 1 < info->choice_count ? ", " : " or ",
                   info->choices[i].text);
}

void key_wanted(KeyId key, Buf *out)
{
    const KeyInfo *info = key_info(key);
    switch (info->type) {
    case SPEC_map: buf_printf(out, "a map of keys"); return;
    case SPEC_bool: buf_printf(out, "true or false"); return;
    case SPEC_text: buf_printf(out, "a text"); return;
    case SPEC_texts: buf_printf(out, "a list of texts"); return;
    case SPEC_path: buf_printf(out, "a text or a list of texts"); return;
    case SPEC_choice: add_choices(info, out); return;
    case SPEC_form:
        buf_printf(out, "%s or a map of keys", info->choices[0].text);
        return;
    case SPEC_int: case SPEC_id: buf_printf(out, "an integer"); break;
    case SPEC_bytes: buf_printf(out, "bytes, as 1000000 or 40GiB"); return;
    case SPEC_number: case SPEC_decimal: buf_printf(out, "a number"); break;
    case SPEC_scale: buf_printf(out, "dynamic or a number"); break;
    case SPEC_pair: buf_printf(out, "a list of two numbers"); break;
    case SPEC_counts: buf_printf(out, "auto or a list of integers"); break;
    }
    add_range(info, out);
    if (info->type == SPEC_id)
        buf_printf(out, ", or none");
    for (int i = key + 1, found = 0; i < KEY_COUNT; i++)
        if (key_parent((KeyId)i) == key)
            buf_printf(out, "%s%s", found++ ? " and " : ", or a map of ",
                       key_name((KeyId)i));
}
