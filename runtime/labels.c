/* labels.c: see labels.h. The spellings are a sorted array, searched by halves.
 * SPDX-License-Identifier: 0BSD */
#include "labels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void labels_start(Labels *labels, int64_t classes)
{
    *labels = (Labels){ .classes = classes };
}

/* Spellings that are kept. */
static int64_t kept(const Labels *labels)
{
    return labels->count < labels->classes ? labels->count : labels->classes;
}

static void forget(Labels *labels)
{
    for (int64_t i = 0; i < kept(labels); i++)
        free(labels->at[i]);
    free(labels->at);
    labels->at = NULL;
    labels->count = labels->room = 0;
}

void labels_close(Labels *labels)
{
    forget(labels);
    *labels = (Labels){0};
}

/* Whether a text is a whole number; one past 10^17 stays at that. */
static bool whole_number(const char *text, size_t length, int64_t *number)
{
    const int64_t most = 100000000000000000;
    bool negative = length > 0 && text[0] == '-';
    size_t at = negative;
    *number = 0;
    if (at == length)
        return false;
    for (; at < length; at++) {
        if (text[at] < '0' || text[at] > '9')
            return false;
        if (*number < most)
            *number = 10 * *number + (text[at] - '0');
    }
    if (negative)
        *number = -*number;
    return true;
}

/* < 0, 0, > 0 as the name is before, is, or is after the text. */
static int compare(const char *name, const char *text, size_t length)
{
    size_t own = strlen(name);
    int order = memcmp(name, text, own < length ? own : length);
    return order ? order : own < length ? -1 : own > length;
}

/* Where the text is among the spellings, or would be. */
static int64_t place(const Labels *labels, const char *text, size_t length,
                     bool *there)
{
    int64_t low = 0, high = kept(labels);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = compare(labels->at[middle], text, length);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *there = low < kept(labels)
        && compare(labels->at[low], text, length) == 0;
    return low;
}

static bool insert(Labels *labels, int64_t at, const char *text, size_t length,
                   Error *error)
{
    if (labels->count == labels->room) {
        int64_t room = 2 * labels->room + 16;
        char **grown = realloc(labels->at, (size_t)room * sizeof *grown);
        if (!grown)
            return error_set(error, ERROR_ENVIRONMENT, "no memory for labels");
        labels->at = grown;
        labels->room = room;
    }
    char *copy = strndup(text, length);
    if (!copy)
        return error_set(error, ERROR_ENVIRONMENT, "no memory for labels");
    memmove(labels->at + at + 1, labels->at + at,
            (size_t)(labels->count - at) * sizeof *labels->at);
    labels->at[at] = copy;
    labels->count++;
    return true;
}

/* A name is short, and text. */
static bool can_be_name(const char *text, size_t length)
{
    return length <= LABELS_LONGEST && !memchr(text, 0, length);
}

bool labels_add(Labels *labels, const char *text, size_t length, Error *error)
{
    int64_t number;
    bool there;
    if (length == 0 || !can_be_name(text, length))
        return true;            /* labels_find says what is wrong */
    labels->names |= !whole_number(text, length, &number);
    int64_t at = place(labels, text, length, &there);
    if (there)
        return true;
    if (labels->count >= labels->classes) {
        labels->count = labels->classes + 1;
        return true;
    }
    return insert(labels, at, text, length, error);
}

bool labels_given(Labels *labels, const char *const *names, int count,
                  Error *error)
{
    for (int i = 0; i < count; i++) {
        bool there, good = can_be_name(names[i], strlen(names[i]));
        int64_t at = good ? place(labels, names[i], strlen(names[i]), &there)
                          : 0;
        if (!good || there || at != i || i >= labels->classes)
            return error_set(error, ERROR_INPUT, "label %d of the run, "
                             "'%.80s', cannot be: there are at most %lld, in "
                             "the order of their bytes", i, names[i],
                             (long long)labels->classes);
        if (!insert(labels, at, names[i], strlen(names[i]), error))
            return false;
    }
    labels->names = true;
    return true;
}

void labels_settle(Labels *labels)
{
    if (!labels->names)
        forget(labels);
}

LabelFound labels_find(const Labels *labels, const char *text, size_t length,
                       int64_t *number)
{
    if (length == 0)
        return LABEL_EMPTY;
    if (!can_be_name(text, length))
        return LABEL_NO_NAME;
    if (labels->names) {
        bool there;
        *number = place(labels, text, length, &there);
        return there ? LABEL_FOUND : LABEL_UNKNOWN;
    }
    if (!whole_number(text, length, number))
        return LABEL_UNKNOWN;
    return *number < 0 ? LABEL_NEGATIVE
         : *number >= labels->classes ? LABEL_TOO_LARGE : LABEL_FOUND;
}

void labels_explain(const Labels *labels, LabelFound found, const char *text,
                    size_t length, char out[400])
{
    char start[128], shown[64];
    /* Of a name that is long or no text, the first bytes up to a NUL. */
    snprintf(shown, sizeof shown, "%.*s", length < 60 ? (int)length : 60, text);
    snprintf(start, sizeof start, "label '%s'", shown);
    switch (found) {
    case LABEL_FOUND:
        snprintf(out, 400, "%s is one", start);
        return;
    case LABEL_EMPTY:
        snprintf(out, 400, "a label is wanted before the tab, and it is empty");
        return;
    case LABEL_UNKNOWN:
        snprintf(out, 400, labels->names
                 ? "%s is none of the training data's"
                 : "%s is no number, as those of the training data are", start);
        return;
    case LABEL_TOO_LARGE:
        snprintf(out, 400, "%s is not below the model's %lld classes", start,
                 (long long)labels->classes);
        return;
    case LABEL_NEGATIVE:
        snprintf(out, 400, "%s is negative; labels are 0 to %lld", start,
                 (long long)labels->classes - 1);
        return;
    case LABEL_NO_NAME:
        snprintf(out, 400, "%s is no label: one has at most %d bytes, and no "
                 "NUL", start, (int)LABELS_LONGEST);
        return;
    }
}
