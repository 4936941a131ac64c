/* scalar.c: what a plain scalar means in YAML 1.2's core schema. `yes`, `on`
 * and `1:30` are texts; so is `True`, since only true and false are booleans
 * here. A number's text never depends on the locale: it is read by hand up to
 * strtod, which sees digits, a point and an exponent alone. */
#include "yaml.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(text, *words))
            return true;
    return false;
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]? digits | 0o octal | 0x hexadecimal */
static bool is_int(const char *text)
{
    if (!strncmp(text, "0o", 2) || !strncmp(text, "0x", 2)) {
        const char *digits =
            text[1] == 'o' ? "01234567" : "0123456789abcdefABCDEF";
        return text[2] && !text[2 + strspn(text + 2, digits)];
    }
    text += *text == '-' || *text == '+';
    return *text && !text[count_digits(text)];
}

/* [-+]? (digits (. digits?)? | . digits) ([eE] [-+]? digits)? */
static bool is_float(const char *text)
{
    text += *text == '-' || *text == '+';
    size_t whole = count_digits(text);
    text += whole;
    if (*text == '.') {
        size_t fraction = count_digits(++text);
        whole += fraction;
        text += fraction;
    }
    if (!whole)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        if (!count_digits(text))
            return false;
        text += count_digits(text);
    }
    return !*text;
}

YamlScalar yaml_scalar(const Yaml *value)
{
    static const char *const nulls[] = {
        "", "~", "null", "Null", "NULL", NULL
    };
    static const char *const infinite[] = {
        ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
        "-.INF", ".nan", ".NaN", ".NAN", NULL };
    const char *text = value->text;
    if (!value->plain)
        return SCALAR_TEXT;
    if (is_one_of(text, nulls))
        return SCALAR_NULL;
    if (!strcmp(text, "true") || !strcmp(text, "false"))
        return SCALAR_BOOL;
    if (is_int(text))
        return SCALAR_INT;
    if (is_float(text))
        return SCALAR_FLOAT;
    return is_one_of(text, infinite) ? SCALAR_INFINITE : SCALAR_TEXT;
}

bool yaml_int(const Yaml *value, int64_t *number)
{
    const char *text = value->text;
    int base = !strncmp(text, "0o", 2) ? 8 : !strncmp(text, "0x", 2) ? 16 : 10;
    errno = 0;
    long long parsed = strtoll(text + (base == 10 ? 0 : 2), NULL, base);
    *number = parsed;
    return errno == 0;
}

bool yaml_number(const Yaml *value, double *number)
{
    int64_t integer;
    if (is_int(value->text) && yaml_int(value, &integer)) {
        *number = (double)integer;
        return true;
    }
    if (value->text[0] == '0'
        && (value->text[1] == 'x' || value->text[1] == 'o'))
        return false;
    *number = strtod(value->text, NULL);
    bool is_zero = !value->text[strcspn(value->text, "123456789eE")]
        || strchr("eE", value->text[strcspn(value->text, "123456789eE")]);
    return isfinite(*number) && (*number != 0 || is_zero);
}

const char *shown_text(Arena *arena, const char *text)
{
    enum { SHOWN = 40 };
    size_t length = strnlen(text, SHOWN + 1);
    bool cut = length > SHOWN;
    length = cut ? SHOWN : length;
    while (cut && length > 0 && (text[length] & 0xc0) == 0x80)
        length--;
    char *shown =
        arena_printf(arena, "%.*s%s", (int)length, text, cut ? "…" : "");
    for (char *c = shown; *c; c++)
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    return shown;
}

const char *yaml_describe(Arena *arena, const Yaml *value)
{
    if (value->kind == YAML_MAP)
        return "a map";
    if (value->kind == YAML_LIST)
        return arena_printf(arena, "a list of %d", value->items.count);
    const char *shown = shown_text(arena, value->text);
    switch (yaml_scalar(value)) {
    case SCALAR_NULL: return "nothing";
    case SCALAR_BOOL: return shown;
    case SCALAR_INT: case SCALAR_FLOAT: case SCALAR_INFINITE:
        return arena_printf(arena, "the number %s", shown);
    case SCALAR_TEXT: break;
    }
    return arena_printf(arena, "the text `%s`", shown);
}
