/* commands.c: `schema`, `explain`, `models` and `init` (see commands.h). */
#define _GNU_SOURCE
#include "commands.h"
#include "loader.h"
#include "schema.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { DONE = 0, WRONG_INPUT = 1, WRONG_USAGE = 2, LACKING = 3 };

static bool is_help(const char *argument)
{
    return !strcmp(argument, "--help") || !strcmp(argument, "-h");
}

/* The status of a command that was called wrongly, after saying how. */
static int wrong_usage(const char *command, const char *usage,
                       const char *argument)
{
    fprintf(stderr, "trainwright %s: ", command);
    if (argument)
        fprintf(stderr, "unexpected argument `%s`\n%s", argument, usage);
    else
        fprintf(stderr, "an argument is missing\n%s", usage);
    return WRONG_USAGE;
}

/* Prints to stdout; LACKING where it cannot be written. */
static int print(Buf *out)
{
    size_t written = fwrite(out->text, 1, out->length, stdout);
    bool good = written == out->length && fflush(stdout) == 0;
    buf_free(out);
    if (!good)
        fprintf(stderr, "trainwright: error: stdout: %s\n", strerror(errno));
    return good ? DONE : LACKING;
}

/* ---- schema -------------------------------------------------------------- */

int command_schema(int argc, char **argv)
{
    static const char usage[] =
        "usage: trainwright schema\n"
        "Prints the JSON Schema (2020-12) of a spec.\n";
    Buf out = {0};
    if (argc > 1 && !is_help(argv[1]))
        return wrong_usage("schema", usage, argv[1]);
    if (argc > 1)
        buf_printf(&out, "%s", usage);
    else
        spec_schema(&out);
    return print(&out);
}

/* ---- explain ------------------------------------------------------------- */

/* The key of a path; KEY_COUNT, with the best hint printed, where there is
 * none. */
static KeyId find_or_hint(const char *path)
{
    Arena *arena = arena_new();
    Diag *diag = diag_new(arena);
    Loader loader = { .arena = arena, .problems = { .arena = arena } };
    KeyId at = KEY_ROOT, found = key_find(path);
    for (const char *word = path; found == KEY_COUNT;
         word += strcspn(word, ".") + 1) {
        char *name = arena_strndup(arena, word, strcspn(word, "."));
        KeyId below = key_child(at, name);
        if (below == KEY_COUNT) {
            unknown_key(&loader, at, name, (Loc){0});
            break;
        }
        at = below;
    }
    problems_report(&loader.problems, diag);
    diag_print(diag, stderr);
    arena_free(arena);
    return found;
}

int command_explain(int argc, char **argv)
{
    static const char usage[] =
        "usage: trainwright explain [KEY]\n"
        "Says what a key of the spec is, as `train.optimizer.lr`, or a map of\n"
        "keys, as `train.optimizer`: type, range, default, whether a built\n"
        "program takes it with --set, and an example. Without KEY: the\n"
        "topmost keys.\n";
    Buf out = {0};
    if (argc > 2)
        return wrong_usage("explain", usage, argv[2]);
    if (argc == 2 && is_help(argv[1]))
        buf_printf(&out, "%s", usage);
    else if (argc == 2 && argv[1][0] == '-')
        return wrong_usage("explain", usage, argv[1]);
    else if (argc == 2) {
        KeyId key = find_or_hint(argv[1]);
        if (key == KEY_COUNT)
            return WRONG_INPUT;
        spec_explain(key, &out);
    } else
        spec_explain_all(&out);
    return print(&out);
}

/* ---- models -------------------------------------------------------------- */

static int is_spec(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && dot != entry->d_name && !strcmp(dot, ".yaml");
}

/* Names come in byte order, whatever the locale. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

typedef struct Models { Arena *arena; List(const char *) names; } Models;

/* The names of the specs in a directory, sorted. */
static bool list_models(const char *directory, Models *models)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_spec, compare_names);
    if (count < 0) {
        fprintf(stderr,
                "trainwright: error: the shipped specs are not at %s: %s\n",
                directory, strerror(errno));
        return false;
    }
    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name) - strlen(".yaml");
        list_push(models->arena, &models->names,
                  arena_strndup(models->arena, entries[i]->d_name, length));
        free(entries[i]);
    }
    free(entries);
    return true;
}

/* What a spec's first line says: `# NAME: …`. */
static void add_summary(const char *path, Buf *out)
{
    char line[256] = "";
    FILE *file = fopen(path, "r");
    if (file && !fgets(line, sizeof line, file))
        line[0] = 0;
    if (file)
        fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    const char *colon = line[0] == '#' ? strstr(line, ": ") : NULL;
    buf_printf(out, "%s", colon ? colon + 2 : "");
}

int command_models(int argc, char **argv, const char *directory)
{
    static const char usage[] =
        "usage: trainwright models\n"
        "Lists the specs that are shipped; `init NAME` copies one.\n";
    Buf out = {0};
    if (argc > 1 && !is_help(argv[1]))
        return wrong_usage("models", usage, argv[1]);
    if (argc > 1) {
        buf_printf(&out, "%s", usage);
        return print(&out);
    }
    Models models = { .arena = arena_new() };
    bool found = list_models(directory, &models);
    for (int i = 0; found && i < models.names.count; i++) {
        const char *name = models.names.at[i];
        buf_printf(&out, "%-22s ", name);
        add_summary(arena_printf(models.arena, "%s/%s.yaml", directory, name),
                    &out);
        buf_printf(&out, "\n");
    }
    arena_free(models.arena);
    if (found)
        return out.length ? print(&out) : DONE;
    buf_free(&out);
    return LACKING;
}

/* ---- init ---------------------------------------------------------------- */

/* The line of keys.def about the first key that the spec says on a line, or
 * NULL. */
static const char *line_doc(const Spec *spec, int line)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (spec->given[i] && spec->loc[i].source == 0
            && spec->loc[i].line == line)
            return key_info((KeyId)i)->doc;
    return NULL;
}

/* The spec's text with a comment on every line that says a key and has none. */
static void add_comments(const Spec *spec, const char *text, Buf *out)
{
    enum { COLUMN = 36 };
    for (int line = 1; *text; line++) {
        size_t length = strcspn(text, "\n");
        const char *doc =
            memchr(text, '#', length) ? NULL : line_doc(spec, line);
        int pad = length < COLUMN ? COLUMN - (int)length : 2;
        buf_add(out, text, length);
        if (doc)
            buf_printf(out, "%*s# %s", pad, "", doc);
        buf_printf(out, "\n");
        text += length + (text[length] != 0);
    }
}

/* Writes a new file, whole or not at all. */
static int write_new(Arena *arena, const char *path, const Buf *text)
{
    char *aside = arena_printf(arena, "%s.tmp-%ld", path, (long)getpid());
    int file = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool good = file >= 0;
    for (size_t at = 0; good && at < text->length;) {
        ssize_t count = write(file, text->text + at, text->length - at);
        good = count >= 0 || errno == EINTR;
        at += count > 0 ? (size_t)count : 0;
    }
    good = good && fsync(file) == 0 && link(aside, path) == 0;
    int error = errno;
    if (file >= 0) {
        close(file);
        unlink(aside);
    }
    if (good)
        return DONE;
    fprintf(stderr, "%s: error: %s\n", path, error == EEXIST
            ? "is there already and is not overwritten" : strerror(error));
    bool lacking = error == ENOSPC || error == EDQUOT || error == EFBIG
                || error == EIO || error == EROFS;
    return lacking ? LACKING : WRONG_INPUT;
}

/* Copies the shipped spec NAME to a file. */
static int copy_model(const char *directory, const char *name, const char *to,
                      Models *models)
{
    Arena *arena = models->arena;
    bool known = false;
    if (!list_models(directory, models))
        return LACKING;
    for (int i = 0; i < models->names.count; i++)
        known = known || !strcmp(models->names.at[i], name);
    if (!known) {
        const char *near =
            nearest_word(name, models->names.at, models->names.count);
        fprintf(stderr,
                "trainwright: error: no shipped spec `%s`\n  hint: %s%s%s\n",
                name,
                near ? "did you mean `" : "`trainwright models` lists them",
                near ? near : "", near ? "`?" : "");
        return WRONG_INPUT;
    }
    char *path = arena_printf(arena, "%s/%s.yaml", directory, name);
    Diag *diag = diag_new(arena);
    const Spec *spec = spec_load(diag, arena, &(SpecSources){ .path = path });
    if (!diag_print(diag, stderr) || !spec)
        return WRONG_INPUT;
    Buf text = {0};
    add_comments(spec, diag->sources.at[0].text, &text);
    int status =
        write_new(arena, to ? to : arena_printf(arena, "%s.yaml", name), &text);
    buf_free(&text);
    return status;
}

int command_init(int argc, char **argv, const char *directory)
{
    static const char usage[] =
        "usage: trainwright init NAME [-o FILE]\n"
        "Writes a copy of a shipped spec, a comment on every line, to\n"
        "NAME.yaml or FILE, which must not exist; `models` lists the names.\n";
    const char *name = NULL, *to = NULL;
    for (int i = 1; i < argc; i++) {
        if (is_help(argv[i])) {
            Buf out = {0};
            buf_printf(&out, "%s", usage);
            return print(&out);
        }
        if (!strcmp(argv[i], "-o") && i + 1 < argc && !to)
            to = argv[++i];
        else if (argv[i][0] != '-' && !name)
            name = argv[i];
        else
            return wrong_usage("init", usage, argv[i]);
    }
    if (!name)
        return wrong_usage("init", usage, NULL);
    Models models = { .arena = arena_new() };
    int status = copy_model(directory, name, to, &models);
    arena_free(models.arena);
    return status;
}
