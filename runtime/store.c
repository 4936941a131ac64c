/* store.c: a run's directory: locking it, listing, pruning and removing its
 * checkpoints (see checkpoint.h).
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "checkpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool join_path(char path[FILES_PATH], const char *directory, const char *name,
               Error *error)
{
    int length = snprintf(path, FILES_PATH, "%s/%s", directory, name);
    return (length >= 0 && length < FILES_PATH)
        || error_set(error, ERROR_INPUT, "the path %.80s…/%s is too long",
                     directory, name);
}

/* The step of a checkpoint's name, "step-250"; -1 for any other name. */
static int64_t step_of_name(const char *name)
{
    int64_t step;
    if (strncmp(name, "step-", 5) != 0 || !parse_integer(name + 5, &step)
        || name[5] < '1' || name[5] > '9')
        return -1;
    return step;
}

void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(path);
}

/* ---- locking ------------------------------------------------------------ */

/* Removes step-N.tmp-PID, step-N.old-PID and run.json.tmp-PID of dead runs. */
static void remove_leftovers(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *name = entry->d_name;
        char whole[FILES_PATH];
        bool aside = strstr(name, ".tmp-") || strstr(name, ".old-");
        if (!aside || !join_path(whole, path, name, NULL))
            continue;
        if (strncmp(name, "run.json.", 9) == 0)
            unlink(whole);
        else if (strncmp(name, "step-", 5) == 0)
            remove_directory(whole);
    }
    closedir(directory);
}

/* Makes the directory and those above it, where they are not there. */
static bool make_directories(Store *store, Error *error)
{
    char path[FILES_PATH];
    int length = snprintf(path, sizeof path, "%s", store->directory);
    if (length <= 0 || length >= FILES_PATH)
        return error_set(error, ERROR_INPUT, "--out: '%.80s' is no name for a "
                         "directory", store->directory);
    for (char *slash = strchr(path + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0777);      /* the last one says what is wrong */
        *slash = '/';
    }
    store->made = mkdir(path, 0777) == 0;
    return store->made || errno == EEXIST
        || error_system(error, errno, "cannot make the directory %s", path);
}

bool store_lock(Store *store, Error *error)
{
    store->lock = -1;
    if (!make_directories(store, error))
        return false;
    store->lock = open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->lock < 0)
        return error_system(error, errno, "cannot use the directory %s",
                            store->directory);
    if (flock(store->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(error, ERROR_INPUT, "another run is writing to %s",
                         store->directory);
    remove_leftovers(store->directory);
    return true;
}

static void bundle_free(Bundle *bundle)
{
    free(bundle->shapes);
    free(bundle->names);
    free(bundle->weights);
    free(bundle->kinds);
    free(bundle->digests);
}

void store_close(Store *store)
{
    if (store->lock >= 0)
        close(store->lock);
    if (store->made)
        rmdir(store->directory);
    bundle_free(&store->model);
    bundle_free(&store->optimizer);
}

bool store_holds_run(const Store *store)
{
    char path[FILES_PATH];
    struct stat status;
    if (!join_path(path, store->directory, "run.json", NULL)
        || stat(path, &status) == 0)
        return true;
    StepList steps;
    return store_steps(store->directory, &steps, NULL) && steps.count > 0;
}

/* ---- checkpoints -------------------------------------------------------- */

bool store_steps(const char *path, StepList *steps, Error *error)
{
    DIR *directory = opendir(path);
    steps->count = 0;
    if (!directory)
        return error_system(error, errno, "cannot read the directory %s", path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int64_t step = step_of_name(entry->d_name);
        /* Insertion, newest first: there are a handful of them. */
        int at = steps->count;
        while (at > 0 && steps->at[at - 1] < step)
            at--;
        if (step < 0 || at == STORE_STEPS)
            continue;
        int last = steps->count < STORE_STEPS ? steps->count++
                                              : STORE_STEPS - 1;
        for (int i = last; i > at; i--)
            steps->at[i] = steps->at[i - 1];
        steps->at[at] = step;
    }
    closedir(directory);
    return true;
}

bool store_set_aside(const Store *store, int64_t step, const char *suffix,
                     Error *error)
{
    for (int attempt = 1; attempt < 1000; attempt++) {
        char from[64], to[128];
        snprintf(from, sizeof from, "step-%lld", (long long)step);
        if (attempt == 1)
            snprintf(to, sizeof to, "%s.%s", from, suffix);
        else
            snprintf(to, sizeof to, "%s.%s-%d", from, suffix, attempt);
        if (renameat(store->lock, from, store->lock, to) == 0)
            return true;
        if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
            return error_system(error, errno, "cannot rename %s/%s",
                                store->directory, from);
    }
    return error_set(error, ERROR_INPUT, "%s is full of step-%lld.%s",
                     store->directory, (long long)step, suffix);
}

bool store_prune(const Store *store, int64_t keep, Error *error)
{
    StepList steps;
    if (!store_steps(store->directory, &steps, error))
        return false;
    for (int64_t i = keep; i < steps.count; i++) {
        char suffix[32], name[96], path[FILES_PATH];
        snprintf(suffix, sizeof suffix, "old-%d", (int)getpid());
        snprintf(name, sizeof name, "step-%lld.%s", (long long)steps.at[i],
                 suffix);
        if (!store_set_aside(store, steps.at[i], suffix, error)
            || !join_path(path, store->directory, name, error))
            return false;
        remove_directory(path);
    }
    return true;
}
