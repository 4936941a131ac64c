/* print.c: a Spec as YAML. The text loads to the same Spec, and two equal Specs
 * give equal text: numbers are the shortest that read back the same. */
#include "spec.h"
#include "yaml.h"
#include <stdlib.h>

/* As in the IR, but for the exponent: 0.1, 6e-5. */
static void add_number(double number, Buf *out)
{
    Buf text = {0};
    number_print(number, &text);
    const char *exponent = strchr(text.text, 'e');
    if (exponent)
        buf_printf(out, "%.*se%ld", (int)(exponent - text.text), text.text,
                   strtol(exponent + 1, NULL, 10));
    else
        buf_printf(out, "%s", text.text);
    buf_free(&text);
}

/* Bytes in the largest unit that divides them. */
static void add_bytes(int64_t bytes, Buf *out)
{
    static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
    int unit = 0;
    while (unit < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    buf_printf(out, "%lld%s", (long long)bytes, units[unit]);
}

/* May a text stand without quotes, in flow style, and mean itself? */
static bool is_safe(const char *text)
{
    const Yaml plain = { .kind = YAML_SCALAR, .text = text, .plain = true };
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "0123456789_./-+";
    return yaml_scalar(&plain) == SCALAR_TEXT && text[0] != '-'
           && text[0] != '.' && strcmp(text, "none") && strcmp(text, "auto")
           && !text[strspn(text, safe)];
}

/* A text, in double quotes where it needs them. What is not printable ASCII and
 * not plain UTF-8 to every reader is escaped: controls, and U+0080 to U+009F,
 * U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF, which is all that libyaml refuses. */
static void add_text(const char *text, Buf *out)
{
    if (is_safe(text)) {
        buf_printf(out, "%s", text);
        return;
    }
    buf_printf(out, "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool three = c[0] >= 0xe2 && c[0] <= 0xef && c[1] && c[2];
        unsigned point = !three ? 0
            : (c[0] & 0xfu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
        if (*c == '"' || *c == '\\')
            buf_printf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            buf_printf(out, "\\x%02X", *c);
        else if (*c == 0xc2 && c[1] < 0xa0)
            buf_printf(out, "\\x%02X", *++c);
        else if (point == 0x2028 || point == 0x2029 || point == 0xfeff
                 || point >= 0xfffe) {
            buf_printf(out, "\\u%04X", point);
            c += 2;
        } else
            buf_printf(out, "%c", *c);
    }
    buf_printf(out, "\"");
}

static void add_texts(const SpecTexts *texts, bool is_path, Buf *out)
{
    if (is_path && texts->count == 0) {
        buf_printf(out, "none");
        return;
    }
    if (is_path && texts->count == 1) {
        add_text(texts->at[0], out);
        return;
    }
    buf_printf(out, "[");
    for (int i = 0; i < texts->count; i++) {
        buf_printf(out, "%s", i ? ", " : "");
        add_text(texts->at[i], out);
    }
    buf_printf(out, "]");
}

static void add_counts(const SpecCounts *counts, Buf *out)
{
    if (counts->count == 0) {
        buf_printf(out, "auto");
        return;
    }
    for (int i = 0; i < counts->count; i++)
        buf_printf(out, "%s%lld", i ? ", " : "[", (long long)counts->at[i]);
    buf_printf(out, "]");
}

/* The keys below a map, a form or a chosen variant, in braces. */
static void add_flow_map(const Spec *spec, KeyId key, Buf *out)
{
    int count = 0;
    buf_printf(out, "{");
    for (int i = key + 1; i < KEY_COUNT; i++) {
        if (key_parent((KeyId)i) != key || !key_shown(spec, (KeyId)i))
            continue;
        buf_printf(out, "%s%s: ", count++ ? ", " : "", key_name((KeyId)i));
        spec_value(spec, (KeyId)i, out);
    }
    buf_printf(out, "}");
}

/* Does the key's value have keys of its own that are shown? */
static bool opens_map(const Spec *spec, KeyId key)
{
    for (int i = key + 1; i < KEY_COUNT; i++)
        if (key_parent((KeyId)i) == key && key_shown(spec, (KeyId)i))
            return true;
    return false;
}

void spec_value(const Spec *spec, KeyId key, Buf *out)
{
    const KeyInfo *info = key_info(key);
    const void *field = (const char *)spec + info->offset;
    const double *pair = field;
    if (opens_map(spec, key)) {
        add_flow_map(spec, key, out);
        return;
    }
    switch (info->type) {
    case SPEC_map: buf_printf(out, "{}"); break;
    case SPEC_int:
        buf_printf(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case SPEC_number: add_number(*(const double *)field, out); break;
    case SPEC_bool:
        buf_printf(out, *(const bool *)field ? "true" : "false");
        break;
    case SPEC_text: add_text(*(const char *const *)field, out); break;
    case SPEC_bytes: add_bytes(*(const int64_t *)field, out); break;
    case SPEC_choice: case SPEC_form:
        buf_printf(out, "%s", info->choices[key_choice(spec, key)].text);
        break;
    case SPEC_decimal:
        buf_printf(out, "%s", ((const SpecDecimal *)field)->text);
        break;
    case SPEC_scale:
        if (pair[0] == 0)
            buf_printf(out, "dynamic");
        else
            add_number(pair[0], out);
        break;
    case SPEC_id:
        if (*(const int64_t *)field < 0)
            buf_printf(out, "none");
        else
            buf_printf(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case SPEC_pair:
        buf_printf(out, "[");
        add_number(pair[0], out);
        buf_printf(out, ", ");
        add_number(pair[1], out);
        buf_printf(out, "]");
        break;
    case SPEC_texts: case SPEC_path:
        add_texts(field, info->type == SPEC_path, out);
        break;
    case SPEC_counts: add_counts(field, out); break;
    }
}

void spec_print(const Spec *spec, Buf *out)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        KeyId key = (KeyId)i;
        if (!key_shown(spec, key))
            continue;
        int indent = 0;
        for (const char *c = key_info(key)->path; *c; c++)
            indent += 2 * (*c == '.');
        buf_printf(out, "%*s%s:", indent, "", key_name(key));
        if (!opens_map(spec, key)) {
            buf_printf(out, " ");
            spec_value(spec, key, out);
        }
        buf_printf(out, "\n");
    }
}
