/* explain.c: a page of text about one key of keys.def. */
#include "schema.h"

/* A default as a reader wants it: written out, computed in words, or none. */
static const char *default_text(const KeyInfo *info)
{
    const char *initial = info->initial;
    if (info->type == SPEC_form && strcmp(initial, info->choices[0].text))
        return "a map of its keys' defaults";
    if (initial[0] == '!')
        return "none: a spec must say it";
    return initial[0] == '=' ? initial + 1 : initial[0] ? initial : "none";
}

/* `train: {optimizer: {lr: 6e-4}}` */
static void add_example(const KeyInfo *info, Buf *out)
{
    const char *value = info->example[0] ? info->example : info->initial;
    int depth = 0;
    for (const char *c = info->path; *c; c++) {
        depth += *c == '.';
        if (*c == '.')
            buf_printf(out, ": {");
        else
            buf_printf(out, "%c", *c);
    }
    buf_printf(out, ": %s", value);
    while (depth-- > 0)
        buf_printf(out, "}");
}

static void add_choices(const KeyInfo *info, Buf *out)
{
    for (int i = 0; i < info->choice_count; i++) {
        const Choice *choice = &info->choices[i];
        if (info->type == SPEC_form && i > 0)
            break;
        buf_printf(out, "    %-16s %s%s\n", choice->text, choice->doc,
                   choice->ready ? "" : " (not built yet)");
    }
}

/* A line a key below the parent. */
static void add_children(KeyId parent, Buf *out)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        const KeyInfo *info = key_info((KeyId)i);
        if (key_parent((KeyId)i) != parent)
            continue;
        bool is_map = info->type == SPEC_map;
        buf_printf(out, "    %-18s %s%s%s%s%s\n", key_name((KeyId)i), info->doc,
                   is_map ? "" : " (", is_map ? "" : default_text(info),
                   is_map ? "" : ")", info->ready ? "" : " (not built yet)");
    }
}

void spec_explain(KeyId key, Buf *out)
{
    const KeyInfo *info = key_info(key);
    buf_printf(out, "%s: ", info->path);
    key_wanted(key, out);
    buf_printf(out, "\n    %s\n", info->doc);
    if (info->type != SPEC_map) {
        buf_printf(out, "    default:  %s\n", default_text(info));
        buf_printf(out, "    run time: %s\n",
                   info->run_time ? "yes, a built program takes it with --set"
                                  : "no, it shapes the program");
        buf_printf(out, "    example:  ");
        add_example(info, out);
        buf_printf(out, "\n");
    }
    if (!info->ready)
        buf_printf(out,
                   "    Other values than the default are not built yet.\n");
    if (info->choice_count) {
        buf_printf(out, "\n  choices\n");
        add_choices(info, out);
    }
    if (key_has_children(key)) {
        buf_printf(out, "\n  keys\n");
        add_children(key, out);
    }
}

void spec_explain_all(Buf *out)
{
    buf_printf(out, "a spec: a map of keys\n\n  keys\n");
    add_children(KEY_ROOT, out);
}
