/* labels.c (test): numbers, names in byte order, names a run has recorded.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/labels.h"
#include <string.h>

static void add_all(Checks *c, Labels *labels, const char *const *texts)
{
    Error error = { 0 };
    for (; *texts; texts++)
        check(c, labels_add(labels, *texts, strlen(*texts), &error), "%s",
              error.text);
    labels_settle(labels);
}

static void finds(Checks *c, const Labels *labels, const char *text,
                  LabelFound found, int64_t number)
{
    int64_t got = -7;
    LabelFound how = labels_find(labels, text, strlen(text), &got);
    char why[400] = "";
    labels_explain(labels, how, text, strlen(text), why);
    check(c, how == found && (how != LABEL_FOUND || got == number),
          "%s; number %d", why, (int)got);
    check(c, strlen(why) > 0, "%d is not explained", (int)how);
}

static void test_numbers(Checks *c)
{
    Labels labels;
    labels_start(&labels, 3);
    add_all(c, &labels, (const char *const[]){ "2", "0", "2", "00", "01", "-5",
                                               "99", NULL });
    check(c, !labels.names && labels.count == 0, "numbers are no names");
    finds(c, &labels, "0", LABEL_FOUND, 0);
    finds(c, &labels, "002", LABEL_FOUND, 2);
    finds(c, &labels, "3", LABEL_TOO_LARGE, 0);
    finds(c, &labels, "99999999999999999999999999", LABEL_TOO_LARGE, 0);
    finds(c, &labels, "-1", LABEL_NEGATIVE, 0);
    finds(c, &labels, "-99999999999999999999999999", LABEL_NEGATIVE, 0);
    finds(c, &labels, "", LABEL_EMPTY, 0);
    finds(c, &labels, "-", LABEL_UNKNOWN, 0);
    finds(c, &labels, "1 ", LABEL_UNKNOWN, 0);
    finds(c, &labels, "1.0", LABEL_UNKNOWN, 0);
    int64_t number;
    check(c, labels_find(&labels, "1\0", 2, &number) == LABEL_NO_NAME, "NUL");
    labels_close(&labels);
}

static void test_names(Checks *c)
{
    Labels labels;
    labels_start(&labels, 6);
    add_all(c, &labels, (const char *const[]){ "b", "10", "a", "\xc3\xa9", "9",
                                               "ab", "a", "b", NULL });
    static const char *const order[] = { "10", "9", "a", "ab", "b", "\xc3\xa9" };
    check(c, labels.names && labels.count == 6, "%d names", (int)labels.count);
    for (int i = 0; i < 6; i++)
        finds(c, &labels, order[i], LABEL_FOUND, i);
    finds(c, &labels, "c", LABEL_UNKNOWN, 0);
    finds(c, &labels, "0", LABEL_UNKNOWN, 0);
    finds(c, &labels, "", LABEL_EMPTY, 0);
    char text[300];
    memset(text, 'x', sizeof text);
    text[256] = 0;
    finds(c, &labels, text, LABEL_NO_NAME, 0);
    labels_close(&labels);
    labels_start(&labels, 2);
    add_all(c, &labels, (const char *const[]){ "x", "y", "y", NULL });
    check(c, labels.count == 2, "two");
    add_all(c, &labels, (const char *const[]){ "z", "w", NULL });
    check(c, labels.count == 3, "one too many: %d", (int)labels.count);
    labels_close(&labels);
}

static void test_given(Checks *c)
{
    Labels labels;
    Error error = { 0 };
    static const char *const names[] = { "10", "9", "a" };
    labels_start(&labels, 3);
    check(c, labels_given(&labels, names, 3, &error), "%s", error.text);
    finds(c, &labels, "9", LABEL_FOUND, 1);
    finds(c, &labels, "2", LABEL_UNKNOWN, 0);
    labels_close(&labels);
    static const char *const unsorted[] = { "b", "a" };
    labels_start(&labels, 3);
    check(c, !labels_given(&labels, unsorted, 2, &error) &&
          strstr(error.text, "'a'"), "%s", error.text);
    labels_close(&labels);
    labels_start(&labels, 2);
    check(c, !labels_given(&labels, names, 3, &error) &&
          strstr(error.text, "at most 2"), "%s", error.text);
    labels_close(&labels);
}

int main(void)
{
    Checks checks = { .name = "labels" };
    test_numbers(&checks);
    test_names(&checks);
    test_given(&checks);
    return check_end(&checks);
}
