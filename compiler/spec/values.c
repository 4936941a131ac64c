/* values.c: one value of the YAML tree into one field of the Spec, its type and
 * range checked by the row of keys.def. */
#include "loader.h"
#include <ctype.h>
#include <stdlib.h>

void *value_field(Spec *spec, KeyId key)
{
    return (char *)spec + key_info(key)->offset;
}

Problem *value_wrong(Loader *loader, KeyId key, const Yaml *value)
{
    Buf wanted = {0};
    key_wanted(key, &wanted);
    Problem *made = problem(&loader->problems, value->loc,
                            "`%s`: wanted %s, got %s", key_info(key)->path,
                            wanted.text, yaml_describe(loader->arena, value));
    buf_free(&wanted);
    loader->bad[key] = true;
    Yaml bare = *value;
    bare.plain = true;
    if (value->kind == YAML_SCALAR && !value->plain
        && yaml_scalar(&bare) != SCALAR_TEXT)
        problem_hint(made, "without quotes");
    return made;
}

/* The bound that a number is past, where key_wanted does not name it. */
static void hint_most(KeyId key, Problem *about)
{
    problem_hint(about, "the most is %.17g", key_info(key)->most);
}

/* Writes the value as an integer would be: 1e5 as 100000, 4.0 as 4. */
static void hint_integer(const Yaml *value, Problem *about)
{
    double number;
    if (yaml_number(value, &number) && number >= 0 && number < COUNT_MOST
        && number == (double)(int64_t)number)
        problem_hint(about, "write it as %lld", (long long)number);
}

static bool read_int(Loader *loader, KeyId key, const Yaml *value,
                     int64_t *number)
{
    const KeyInfo *info = key_info(key);
    YamlScalar scalar =
        value->kind == YAML_SCALAR ? yaml_scalar(value) : SCALAR_NULL;
    int64_t read = 0;
    bool fits = scalar == SCALAR_INT && yaml_int(value, &read);
    if (fits && (double)read >= info->least && (double)read <= info->most) {
        *number = read;
        return true;
    }
    Problem *about = value_wrong(loader, key, value);
    if (scalar == SCALAR_FLOAT)
        hint_integer(value, about);
    if (scalar == SCALAR_INT && value->text[0] != '-'
        && (!fits || (double)read > info->most))
        hint_most(key, about);
    return false;
}

static bool read_number(Loader *loader, KeyId key, const Yaml *value,
                        double *number)
{
    const KeyInfo *info = key_info(key);
    YamlScalar scalar =
        value->kind == YAML_SCALAR ? yaml_scalar(value) : SCALAR_NULL;
    if ((scalar == SCALAR_INT || scalar == SCALAR_FLOAT)
        && yaml_number(value, number) && *number >= info->least
        && *number <= info->most) {
        *number += 0.0;     /* -0 is 0 */
        return true;
    }
    Problem *about = value_wrong(loader, key, value);
    if ((scalar == SCALAR_INT || scalar == SCALAR_FLOAT)
        && info->most != BELOW_1 && *number > info->most)
        hint_most(key, about);
    return false;
}

static bool is_word(const Yaml *value, const char *word)
{
    return value->kind == YAML_SCALAR && value->plain
           && !strcmp(value->text, word);
}

static bool read_bool(Loader *loader, KeyId key, const Yaml *value, bool *truth)
{
    if (value->kind == YAML_SCALAR && yaml_scalar(value) == SCALAR_BOOL) {
        *truth = value->text[0] == 't';
        return true;
    }
    static const char *const yes[] = { "True", "TRUE", "yes", "Yes",
                                       "on",   "On",   "1" };
    static const char *const no[] = { "False", "FALSE", "no", "No",
                                      "off",   "Off",   "0" };
    Problem *about = value_wrong(loader, key, value);
    for (size_t i = 0;
         value->kind == YAML_SCALAR && i < sizeof yes / sizeof *yes; i++) {
        if (!strcmp(value->text, yes[i]))
            problem_hint(about, "write true");
        if (!strcmp(value->text, no[i]))
            problem_hint(about, "write false");
    }
    return false;
}

/* Names a program, its files and its checkpoints: no byte that a shell, a path
 * or C would trip over. */
static bool is_name(const char *text)
{
    enum { MOST = 100 };
    if (!isalnum((unsigned char)text[0]) || strlen(text) > MOST)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("._-", *text))
            return false;
    return true;
}

static bool read_text(Loader *loader, KeyId key, const Yaml *value,
                      const char **text)
{
    if (value->kind != YAML_SCALAR || yaml_scalar(value) != SCALAR_TEXT) {
        Problem *about = value_wrong(loader, key, value);
        if (value->kind == YAML_SCALAR && yaml_scalar(value) != SCALAR_NULL)
            problem_hint(about, "quote it: \"%s\"",
                         shown_text(loader->arena, value->text));
        return false;
    }
    if (!value->text[0] || (key == KEY_name && !is_name(value->text))) {
        Problem *about = problem(
            &loader->problems, value->loc, "`%s`: %s", key_info(key)->path,
            !value->text[0] ? "a text may not be empty" : "this is no name");
        if (key == KEY_name)
            problem_hint(about, "a name has letters, digits, `.`, `_` "
                         "and `-`, begins with a letter or digit, 100 at most");
        loader->bad[key] = true;
        return false;
    }
    *text = value->text;
    return true;
}

/* The bytes that a unit stands for, 0 for no unit. */
static double unit_bytes(const char *unit)
{
    static const struct { const char *name; double bytes; } units[] = {
        { "", 1 }, { "B", 1 }, { "KiB", 1024.0 }, { "MiB", 1048576.0 },
        { "GiB", 1073741824.0 }, { "TiB", 1099511627776.0 }, { "KB", 1e3 },
        { "kB", 1e3 }, { "MB", 1e6 }, { "GB", 1e9 }, { "TB", 1e12 },
    };
    unit += *unit == ' ';
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(unit, units[i].name))
            return units[i].bytes;
    return 0;
}

/* 40GiB, 1.5 GiB, 1000000: digits, perhaps a point, perhaps a unit. */
static bool read_bytes(Loader *loader, KeyId key, const Yaml *value,
                       int64_t *bytes)
{
    const KeyInfo *info = key_info(key);
    if (value->kind == YAML_SCALAR && yaml_scalar(value) == SCALAR_INT)
        return read_int(loader, key, value, bytes);
    size_t digits =
        value->kind == YAML_SCALAR ? strspn(value->text, "0123456789.") : 0;
    double unit = digits ? unit_bytes(value->text + digits) : 0;
    const char *point = digits ? strchr(value->text, '.') : NULL;
    bool well_made = unit > 0 && isdigit((unsigned char)value->text[0])
        && value->text[digits] && (!point || !strchr(point + 1, '.'));
    double number = well_made ? strtod(value->text, NULL) * unit : -1;
    if (!well_made || number < info->least || number > info->most) {
        Problem *about = value_wrong(loader, key, value);
        if (digits && !unit)
            problem_hint(about, "units are B, KiB, MiB, GiB, TiB, "
                         "kB, MB, GB, TB");
        return false;
    }
    *bytes = (int64_t)number;
    return true;
}

/* Does a text name the choice? A quoted "true" is a text, not the boolean. */
static bool is_choice(const Yaml *value, const char *name)
{
    bool boolean = !strcmp(name, "true") || !strcmp(name, "false");
    return !strcmp(value->text, name) && (value->plain || !boolean);
}

static bool read_choice(Loader *loader, KeyId key, const Yaml *value,
                        unsigned *choice)
{
    const KeyInfo *info = key_info(key);
    int sayable = info->choice_count - (info->type == SPEC_form);
    for (int i = 0; value->kind == YAML_SCALAR && i < sayable; i++) {
        if (!is_choice(value, info->choices[i].text))
            continue;
        *choice = (unsigned)i;
        return true;
    }
    Problem *about = value_wrong(loader, key, value);
    if (value->kind == YAML_SCALAR)
        unknown_choice(key, value->text, about);
    return false;
}

/* A number's text in plain decimal digits, 2.50e-1 as 0.25. NULL: too many. */
static char *plain_decimal(Arena *arena, const char *text)
{
    enum { MOST = 60 };
    static const char zeros[] = /* 180 are enough: 60 a bound of each kind */
        "000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000000000000000000";
    char digits[MOST + 1] = {0};
    int count = 0, point = 0;   /* the number is 0.digits times 10^point */
    bool seen_point = false;
    for (text += *text == '+' || *text == '-'; *text && !strchr("eE", *text);
         text++) {
        bool leading_zero = *text == '0' && count == 0;
        if (*text == '.')
            seen_point = true;
        else if (leading_zero)
            point -= seen_point;
        else if (count == MOST)
            return NULL;
        else {
            digits[count++] = *text;
            point += !seen_point;
        }
    }
    while (count > 0 && digits[count - 1] == '0')
        digits[--count] = 0;
    long exponent = *text ? strtol(text + 1, NULL, 10) : 0;
    if (count == 0)
        return arena_strdup(arena, "0");
    if (exponent < -MOST || exponent > MOST || point < -MOST)
        return NULL;
    point += (int)exponent;
    if (point <= 0)
        return arena_printf(arena, "0.%.*s%s", -point, zeros, digits);
    if (point >= count)
        return arena_printf(arena, "%s%.*s", digits, point - count, zeros);
    return arena_printf(arena, "%.*s.%s", point, digits, digits + point);
}

static bool read_decimal(Loader *loader, KeyId key, const Yaml *value,
                         SpecDecimal *decimal)
{
    if (!read_number(loader, key, value, &decimal->number))
        return false;
    bool is_plain =
        strncmp(value->text, "0x", 2) && strncmp(value->text, "0o", 2);
    decimal->text = is_plain ? plain_decimal(loader->arena, value->text) : NULL;
    if (decimal->text)
        return true;
    Problem *about = value_wrong(loader, key, value);
    problem_hint(about,
                 "it is kept exactly: write it in at most 60 decimal digits");
    return false;
}

static bool read_pair(Loader *loader, KeyId key, const Yaml *value,
                      double pair[2])
{
    if (value->kind != YAML_LIST || value->items.count != 2) {
        value_wrong(loader, key, value);
        return false;
    }
    return read_number(loader, key, value->items.at[0], &pair[0])
        && read_number(loader, key, value->items.at[1], &pair[1]);
}

/* A list of texts; a path may also be one text, or the word none. */
static bool read_texts(Loader *loader, KeyId key, const Yaml *value,
                       SpecTexts *texts)
{
    bool is_path = key_info(key)->type == SPEC_path;
    SpecTexts read = {0};
    if (is_path && is_word(value, "none")) {
        *texts = read;
        return true;
    }
    bool one = is_path && value->kind == YAML_SCALAR;
    if (!one && value->kind != YAML_LIST) {
        Problem *about = value_wrong(loader, key, value);
        if (value->kind == YAML_SCALAR && yaml_scalar(value) == SCALAR_TEXT)
            problem_hint(about, "write [%s]",
                         shown_text(loader->arena, value->text));
        return false;
    }
    read.count = one ? 1 : value->items.count;
    read.at = arena_alloc(loader->arena, (size_t)read.count * sizeof *read.at);
    for (int i = 0; i < read.count; i++)
        if (!read_text(loader, key, one ? value : value->items.at[i],
                       &read.at[i]))
            return false;
    *texts = read;
    return true;
}

static bool read_counts(Loader *loader, KeyId key, const Yaml *value,
                        SpecCounts *counts)
{
    SpecCounts read = {0};
    if (is_word(value, "auto")) {
        *counts = read;
        return true;
    }
    if (value->kind != YAML_LIST || value->items.count == 0) {
        value_wrong(loader, key, value);
        return false;
    }
    read.count = value->items.count;
    read.at = arena_alloc(loader->arena, (size_t)read.count * sizeof *read.at);
    for (int i = 0; i < read.count; i++)
        if (!read_int(loader, key, value->items.at[i], &read.at[i]))
            return false;
    *counts = read;
    return true;
}

bool value_set(Loader *loader, KeyId key, const Yaml *value)
{
    void *field = value_field(loader->spec, key);
    switch (key_info(key)->type) {
    case SPEC_map: break;
    case SPEC_int: return read_int(loader, key, value, field);
    case SPEC_number: return read_number(loader, key, value, field);
    case SPEC_bool: return read_bool(loader, key, value, field);
    case SPEC_text: return read_text(loader, key, value, field);
    case SPEC_bytes: return read_bytes(loader, key, value, field);
    case SPEC_choice:
    case SPEC_form: return read_choice(loader, key, value, field);
    case SPEC_decimal: return read_decimal(loader, key, value, field);
    case SPEC_pair: return read_pair(loader, key, value, field);
    case SPEC_texts:
    case SPEC_path: return read_texts(loader, key, value, field);
    case SPEC_counts: return read_counts(loader, key, value, field);
    case SPEC_scale:
        if (is_word(value, "dynamic")) {
            *(double *)field = 0;
            return true;
        }
        return read_number(loader, key, value, field);
    case SPEC_id:
        if (is_word(value, "none")) {
            *(int64_t *)field = -1;
            return true;
        }
        return read_int(loader, key, value, field);
    }
    ice("%s is a map and has no value", key_info(key)->path);
}
