/* sentences.h: pairs of sentences for next-sentence prediction (Devlin et al.,
 * 2018, section 3.1): one sentence a line, a blank line between documents.
 *
 * Example i is a line that has another one after it in its document. Half of
 * the time the second sentence is that one (label 0), else a line of another
 * document (label 1; of all lines but these two where there is one document),
 * all alike. It draws by stream "next-sentence" (training) or
 * "next-sentence-eval" plus i, block 0: the first number says which (below 1/2
 * the next one), the second which line.
 * SPDX-License-Identifier: 0BSD */
#ifndef SENTENCES_H
#define SENTENCES_H
#include "lines.h"

enum { NEXT_SENTENCE = 0, OTHER_SENTENCE = 1 };

/* Of lines that were opened with their documents: how many have a next one. */
int64_t sentences_count(const Lines *lines);

typedef struct SentencePair {
    int64_t first, second;      /* lines */
    int32_t label;
} SentencePair;

/* What a pair is drawn from and by. Other sentences come from the lines of the
 * examples first … first + count - 1 alone. */
typedef struct SentenceDraw {
    int64_t first, count;
    uint64_t seed, example;
    bool training;
} SentenceDraw;

SentencePair sentences_pair(const Lines *lines, int64_t index,
                            const SentenceDraw *draw);
#endif
