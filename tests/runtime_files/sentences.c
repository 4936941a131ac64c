/* sentences.c (test): which lines a pair's second sentence may be, where a part
 * of the examples begins and ends inside of documents. corpus.c has the rest.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/sentences.h"
#include <unistd.h>

/* A part that begins and ends inside of documents: of a pair from either, the
 * other sentences are all lines of the part that are not in its document. */
static void test_cut_document(Checks *c)
{
    const char *path = "cut.txt";
    FILE *file = fopen(path, "wb");
    fputs("a\na\na\na\na\n\nb\nb\n\nc\nc\nc\nc\n", file);
    fclose(file);
    Data data;
    Lines lines;
    Error error = { 0 };
    if (!check(c, data_open(&data, &path, 1, DATA_TEXT, 256, &error) &&
               lines_open(&lines, &data, true, &error), "%s", error.text))
        return;
    /* Examples are lines 0 1 2 3, 5, 7 8 9; those of 3 to 6 have lines 3 to 9. */
    check(c, sentences_count(&lines) == 8, "8 examples");
    static const int64_t from[][3] = { { 3, 3, 5 }, { 6, 7, 10 } };
    for (int i = 0; i < 2; i++) {
        int seen[11] = { 0 }, wrong = 0;
        for (uint64_t n = 0; n < 2000; n++) {
            const SentenceDraw draw = { .first = 3, .count = 4, .seed = 1,
                                        .example = n, .training = true };
            SentencePair pair = sentences_pair(&lines, from[i][0], &draw);
            if (pair.label == OTHER_SENTENCE)
                seen[pair.second]++;
            else
                wrong += pair.second != pair.first + 1;
        }
        for (int64_t line = 0; line < 11; line++) {
            bool allowed = line >= 3 && line < 10 &&
                (line < from[i][1] || line >= from[i][2]);
            wrong += allowed ? seen[line] < 100 : seen[line] > 0;
        }
        check(c, wrong == 0, "example %d: %d wrong", (int)from[i][0], wrong);
    }
    lines_close(&lines);
    data_close(&data);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "sentences" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_cut_document(&checks);
    return check_end(&checks);
}
