/* package_tree.c: directories as wholes: writing one, removing one, looking for
 * what does not belong (package.h). */
#define _GNU_SOURCE
#include "package.h"
#include "child.h"
#include "commands.h"
#include "link.h"
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing ------------------------------------------------------------- */
/* Makes the directories on the way to `path`, below `directory`. */
static bool make_parents(Arena *arena, const char *directory, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        const char *parent = arena_printf(arena, "%s/%.*s", directory,
                                          (int)(slash - path), path);
        if (mkdir(parent, 0777) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool write_file(const char *path, const PackageFile *content)
{
    FILE *file = fopen(path, "wxe");
    if (!file)
        return false;
    bool good = fwrite(content->bytes, 1, content->length, file)
                == content->length;
    int saved = errno;
    if (fclose(file) != 0)
        return false;
    errno = saved;
    return good;
}

int tree_write(Diag *diag, const Package *package, const char *directory,
               const char *shown)
{
    if (mkdir(directory, 0777) != 0)
        return link_unwritable(diag, shown);
    for (int i = 0; i < package->files.count; i++) {
        const PackageFile *file = &package->files.at[i];
        const char *path = arena_printf(diag->arena, "%s/%s", directory,
                                        file->path);
        if (!make_parents(diag->arena, directory, file->path)
            || !write_file(path, file))
            return link_unwritable(diag, shown);
    }
    return DONE;
}

/* ---- removing ------------------------------------------------------------ */
static int remove_one(const char *path, const struct stat *about, int kind,
                      struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    remove(path);
    return 0;
}

void tree_remove(const char *directory)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool workplace_open(Workplace *workplace, Diag *diag, const char *name)
{
    workplace->directory = arena_printf(diag->arena, "/tmp/%s-XXXXXX", name);
    signals_hold(&workplace->before);
    if (mkdtemp(workplace->directory))
        return true;
    diag_error_at(diag, "/tmp", "no directory can be made: %s",
                  strerror(errno));
    sigprocmask(SIG_SETMASK, &workplace->before, NULL);
    return false;
}

void workplace_close(const Workplace *workplace)
{
    tree_remove(workplace->directory);
    sigprocmask(SIG_SETMASK, &workplace->before, NULL);
}

/* ---- looking ------------------------------------------------------------- */
typedef bool Known(const char *path, const void *context);

/* Directories are looked into, everything else must be a known regular file. */
static const char *look(Arena *arena, const char *directory, const char *below,
                        int depth, Known *known, const void *context)
{
    enum { DEEPEST = 8 };
    const char *found = NULL;
    DIR *open = opendir(*below ? arena_printf(arena, "%s/%s", directory, below)
                               : directory);
    if (!open)
        return *below ? below : "something";
    for (struct dirent *entry; !found && (entry = readdir(open));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        const char *path = arena_printf(arena, "%s%s%s", below,
                                        *below ? "/" : "", entry->d_name);
        struct stat about;
        if (lstat(arena_printf(arena, "%s/%s", directory, path), &about) != 0)
            continue;
        if (S_ISDIR(about.st_mode) && depth < DEEPEST)
            found = look(arena, directory, path, depth + 1, known, context);
        else if (!S_ISREG(about.st_mode) || !known(path, context))
            found = path;
    }
    closedir(open);
    return found;
}

const char *tree_stranger(Arena *arena, const char *directory, Known *known,
                          const void *context)
{
    return look(arena, directory, "", 0, known, context);
}
