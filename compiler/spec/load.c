/* load.c: spec_load, from the sources to a resolved Spec (the steps are listed
 * in loader.h). The file comes first, then overlays, then settings, each merged
 * over what was there; all problems of all of them are reported together. */
#define _GNU_SOURCE
#include "loader.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lets reads wait as usual; false for a pipe that nobody writes to, where they
 * would wait for ever. */
static bool let_wait(int file, bool pipe)
{
    enum { MILLISECONDS = 5000 };
    struct pollfd first = { .fd = file, .events = POLLIN };
    bool written = !pipe || poll(&first, 1, MILLISECONDS) > 0;
    return written && fcntl(file, F_SETFL, 0) == 0;
}

/* A whole file, at most YAML_MOST_BYTES; false with an error for diag. */
static bool read_file(Diag *diag, const char *path, Buf *out)
{
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0) {
        diag_error_at(diag, path, "cannot be read: %s", strerror(errno));
        if (file >= 0)
            close(file);
        return false;
    }
    bool folder = S_ISDIR(status.st_mode);
    if (folder || !let_wait(file, S_ISFIFO(status.st_mode))) {
        diag_error_at(diag, path, folder ? "is a directory, a spec is a file"
                                         : "is a pipe that nobody writes to");
        close(file);
        return false;
    }
    char piece[1 << 14];
    ssize_t count;
    while ((count = read(file, piece, sizeof piece)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 || out->length > YAML_MOST_BYTES)
            break;
        buf_add(out, piece, (size_t)count);
    }
    int error = errno;
    close(file);
    if (count < 0)
        diag_error_at(diag, path, "cannot be read: %s", strerror(error));
    else if (out->length > YAML_MOST_BYTES)
        diag_error_at(diag, path, "is larger than 16 MiB, no spec is");
    return count == 0 && out->length <= YAML_MOST_BYTES;
}

/* Parses one registered text; a spec is a map. NULL: reported. */
static Yaml *read_map(Loader *loader, int source, const char *text,
                      size_t length)
{
    Yaml *root = yaml_read(&loader->problems, source, text, length);
    if (root && root->kind != YAML_MAP) {
        problem(&loader->problems, root->loc, "a spec is a map of keys, not %s",
                yaml_describe(loader->arena, root));
        return NULL;
    }
    return root;
}

/* Merges a file over the spec. False: it could not be read as a map. */
static bool apply_file(Loader *loader, Diag *diag, const char *path, Loc *root)
{
    Buf file = {0};
    if (!read_file(diag, path, &file)) {
        buf_free(&file);
        return false;
    }
    const char *text = file.text ? file.text : "";
    size_t length = file.length;
    bool byte_order_mark = length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3);
    if (byte_order_mark) {
        text += 3;
        length -= 3;
    }
    int source = diag_source(diag, path, text, length);
    Yaml *map = read_map(loader, source, text, length);
    buf_free(&file);
    if (!map)
        return false;
    if (root->line == 0)
        *root = map->loc;
    apply_map(loader, KEY_ROOT, map);
    return true;
}

/* {a: {b: value}} for the path a.b; every key stands where the value does. */
static Yaml *wrap(Loader *loader, const char *path, Yaml *value)
{
    Yaml *map = arena_alloc(loader->arena, sizeof *map);
    Yaml *key = arena_alloc(loader->arena, sizeof *key);
    size_t length = strcspn(path, ".");
    *map = (Yaml){ .kind = YAML_MAP, .loc = value->loc, .implied = true };
    *key = (Yaml){ .kind = YAML_SCALAR, .loc = value->loc };
    key->text = arena_strndup(loader->arena, path, length);
    YamlPair pair = { key, value };
    if (path[length])
        pair.value = wrap(loader, path + length + 1, value);
    list_push(loader->arena, &map->pairs, pair);
    return map;
}

/* How deep a --set's key goes. */
static int count_words(const char *path)
{
    int words = 1;
    for (; *path; path++)
        words += *path == '.';
    return words;
}

/* Merges one KEY=VALUE. False: VALUE could not be read. */
static bool apply_set(Loader *loader, Diag *diag, const char *set)
{
    const char *equals = strchr(set, '=');
    size_t length = equals ? (size_t)(equals - set) : strlen(set);
    char *key = arena_strndup(loader->arena, set, length);
    for (char *c = key; *c; c++)    /* it is printed; no key has such a byte */
        if (*c < ' ' || *c > '~')
            *c = '?';
    const char *text = equals ? equals + 1 : "";
    int source = diag_source(diag, arena_printf(loader->arena, "--set %s", key),
                             text, strlen(text));
    Loc start = { source, 1, 1, 0 };
    if (!equals || length == 0) {
        problem(&loader->problems, start, "wanted KEY=VALUE, got `%s%s`", key,
                equals ? "=" : "");
        return false;
    }
    if (count_words(key) > YAML_MOST_DEPTH) {
        problem(&loader->problems, start, "unknown key `%.40s…`", key);
        return false;
    }
    Yaml empty = {
        .kind = YAML_SCALAR, .text = "", .plain = true, .loc = start
    };
    Yaml *value = !text[strspn(text, " \t")] ? &empty
        : yaml_read(&loader->problems, source, text, strlen(text));
    if (value && value->kind != YAML_SCALAR && value->block) {
        Problem *about = problem(&loader->problems, value->loc,
                                 "a value is in flow style here");
        problem_hint(about, "write {key: value} or [item, item]");
        return false;
    }
    if (value)
        apply_map(loader, KEY_ROOT, wrap(loader, key, value));
    return value;
}

Spec *spec_load(Diag *diag, Arena *arena, const SpecSources *from)
{
    Loader loader = {
        .arena = arena, .problems = { .arena = arena },
        .spec = arena_alloc(arena, sizeof(Spec)),
    };
    Loc root = {0};
    bool read = apply_file(&loader, diag, from->path, &root);
    for (int i = 0; i < from->overlay_count; i++)
        read &= apply_file(&loader, diag, from->overlays[i], &root);
    for (int i = 0; i < from->set_count; i++)
        read &= apply_set(&loader, diag, from->sets[i]);
    if (read) {
        resolve_defaults(&loader, root);
        check_ready(&loader);
        check_rules(&loader);
        if (loader.problems.list.count == 0)
            note_idle_keys(&loader);
    }
    problems_report(&loader.problems, diag);
    return read ? loader.spec : NULL;
}
