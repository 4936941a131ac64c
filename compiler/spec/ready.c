/* ready.c: what a spec may say but the compiler does not build yet. keys.def
 * says which choices and which keys; the default is always built. */
#include "loader.h"

/* `model.kind: encoder`, or the path alone where the value is a map. */
const char *saying(Loader *loader, KeyId key)
{
    const KeyInfo *info = key_info(key);
    Buf text = {0};
    buf_printf(&text, "%s", info->path);
    bool form = info->type == SPEC_form;
    if (info->type == SPEC_choice || form) {
        int choice = key_choice(loader->spec, key);
        if (!form || choice < info->choice_count - 1)   /* the last: a map */
            buf_printf(&text, ": %s", info->choices[choice].text);
    } else {
        buf_printf(&text, ": ");
        spec_value(loader->spec, key, &text);
    }
    const char *copy = arena_strdup(loader->arena, text.text);
    buf_free(&text);
    return copy;
}

bool holds_default(Loader *loader, KeyId key)
{
    if (strchr("!=", key_info(key)->initial[0]))    /* and "", none at all */
        return false;
    Spec *scratch = arena_alloc(loader->arena, sizeof *scratch);
    Loader other = { .arena = loader->arena, .spec = scratch,
                     .problems = { .arena = loader->arena } };
    set_default(&other, key);
    Buf ours = {0}, theirs = {0};
    spec_value(loader->spec, key, &ours);
    spec_value(scratch, key, &theirs);
    bool same = !strcmp(ours.text, theirs.text);
    buf_free(&ours);
    buf_free(&theirs);
    return same;
}

static void hint_built(const KeyInfo *info, Problem *about)
{
    Buf built = {0};
    for (int i = 0; i < info->choice_count; i++)
        if (info->choices[i].ready)
            buf_printf(&built, "%s%s", built.length ? ", " : "",
                       info->choices[i].text);
    if (!info->choice_count && info->initial[0]
        && !strchr("!=", info->initial[0]))
        buf_printf(&built, "%s", info->initial);
    if (built.length)
        problem_hint(about, "built: %s", built.text);
    buf_free(&built);
}

void check_ready(Loader *loader)
{
    const Spec *s = loader->spec;
    for (int i = 0; i < KEY_COUNT; i++) {
        KeyId key = (KeyId)i, parent = key_parent(key);
        const KeyInfo *info = key_info(key);
        if (parent != KEY_ROOT && loader->bad[parent])
            loader->bad[key] = true;
        if (!s->given[key] || loader->bad[key] || !key_active(s, key))
            continue;
        bool chosen_later = info->choice_count
            && !info->choices[key_choice(s, key)].ready;
        bool later = !info->ready && key_shown(s, key)
            && !holds_default(loader, key);
        if (!chosen_later && !later)
            continue;
        Problem *about = problem(&loader->problems, s->loc[key],
                                 "`%s` is not built yet", saying(loader, key));
        hint_built(info, about);
        loader->bad[key] = true;
    }
}
