/* apply.c: a tree over the Spec. A map is walked beside the table's tree; a
 * value that is said again, by an overlay or a --set, replaces the former one,
 * and maps merge key by key. A choice that changes forgets the parameters of
 * the old. */
#include "loader.h"

static void apply_value(Loader *loader, KeyId key, const Yaml *name,
                        const Yaml *value);

/* Forgets what was said below a key. */
static void forget_below(Loader *loader, KeyId key)
{
    for (int i = key + 1; i < KEY_COUNT && key_is_below((KeyId)i, key); i++) {
        loader->spec->given[i] = false;
        loader->bad[i] = false;
    }
}

static void set_choice(Loader *loader, KeyId key, int choice)
{
    unsigned value = (unsigned)choice;
    memcpy(value_field(loader->spec, key), &value, sizeof value);
}

/* A map that is merged again keeps its first place, and one that a --set only
 * passes through has none: defaults in it point at where it was written. */
static void mark_map(Loader *loader, KeyId key, const Yaml *name,
                     const Yaml *map)
{
    if (map->implied || loader->spec->given[key])
        return;
    loader->spec->given[key] = true;
    loader->spec->loc[key] = name->loc;
}

static void mark_given(Loader *loader, KeyId key, Loc loc)
{
    loader->spec->given[key] = true;
    loader->spec->loc[key] = loc;
    loader->bad[key] = false;
}

/* `{rotary: {base: 10000}}`: a choice, with its parameters. */
static void apply_variant(Loader *loader, KeyId key, const Yaml *name,
                          const Yaml *map)
{
    const KeyInfo *info = key_info(key);
    if (map->pairs.count != 1) {
        Problem *about = value_wrong(loader, key, map);
        problem_hint(about, "a choice with parameters is a map of "
                     "one key, this has %d", map->pairs.count);
        return;
    }
    YamlPair pair = map->pairs.at[0];
    int choice = 0;
    while (choice < info->choice_count
           && strcmp(info->choices[choice].text, pair.key->text))
        choice++;
    if (choice == info->choice_count) {
        Problem *about = value_wrong(loader, key, pair.key);
        unknown_choice(key, pair.key->text, about);
        return;
    }
    KeyId below = key_child(key, info->choices[choice].text);
    if (below == KEY_COUNT) {
        Problem *about =
            problem(&loader->problems, pair.key->loc,
                    "`%s: %s` has no parameters", info->path, pair.key->text);
        problem_hint(about, "write %s: %s", key_name(key), pair.key->text);
        loader->bad[key] = true;
        return;
    }
    if (!loader->spec->given[key] || key_choice(loader->spec, key) != choice) {
        forget_below(loader, key);
        mark_given(loader, key, name->loc);
        set_choice(loader, key, choice);
    }
    apply_value(loader, below, pair.key, pair.value);
}

/* Keys in a value's place: `ff: {dim: 64}`, `blocks: {encoder: 6, …}`. The
 * value that an integer then lacks is UNSAID. */
static void apply_form(Loader *loader, KeyId key, const Yaml *name,
                       const Yaml *map)
{
    const KeyInfo *info = key_info(key);
    bool is_form = info->type == SPEC_form;
    int map_form = info->choice_count - 1;
    if (!is_form && map->pairs.count == 0) {
        problem_hint(value_wrong(loader, key, map), "the map is empty");
        return;
    }
    if (!is_form && !loader->spec->given[key])
        *(int64_t *)value_field(loader->spec, key) = UNSAID;
    if (!loader->spec->given[key]
        || (is_form && key_choice(loader->spec, key) != map_form)) {
        mark_given(loader, key, name->loc);
        if (is_form)
            set_choice(loader, key, map_form);
    }
    apply_map(loader, key, map);
}

static void apply_value(Loader *loader, KeyId key, const Yaml *name,
                        const Yaml *value)
{
    const KeyInfo *info = key_info(key);
    if (value->kind == YAML_SCALAR && yaml_scalar(value) == SCALAR_NULL) {
        Yaml at_key = *value;
        at_key.loc = name->loc;
        value_wrong(loader, key, &at_key);
        return;
    }
    if (value->implied && info->type != SPEC_map && info->type != SPEC_choice
        && !key_has_children(key)) {
        problem(&loader->problems, name->loc, "`%s` has no keys in it",
                info->path);
        loader->bad[key] = true;
        return;
    }
    if (value->kind == YAML_MAP && info->type == SPEC_map) {
        mark_map(loader, key, name, value);
        apply_map(loader, key, value);
    } else if (value->kind == YAML_MAP && info->type == SPEC_choice) {
        apply_variant(loader, key, name, value);
    } else if (value->kind == YAML_MAP && key_has_children(key)) {
        apply_form(loader, key, name, value);
    } else if (key == KEY_model_norm && value->kind == YAML_SCALAR
               && value->plain && !strcmp(value->text, "none")) {
        apply_value(loader, KEY_model_norm_type, name, value);
    } else if (info->type == SPEC_map) {
        value_wrong(loader, key, value);
    } else {
        forget_below(loader, key);
        mark_given(loader, key, value->loc);
        value_set(loader, key, value);
    }
}

void apply_map(Loader *loader, KeyId parent, const Yaml *map)
{
    for (int i = 0; i < map->pairs.count; i++) {
        YamlPair pair = map->pairs.at[i];
        KeyId key = key_child(parent, pair.key->text);
        if (key == KEY_COUNT)
            unknown_key(loader, parent, pair.key->text, pair.key->loc);
        else
            apply_value(loader, key, pair.key, pair.value);
    }
}
