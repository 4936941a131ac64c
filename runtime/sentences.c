/* sentences.c: see sentences.h. A document of m lines has m - 1 examples, so
 * document d, whose first line is documents[d], begins with example
 * documents[d] - d, and example k of it is line k + d.
 * SPDX-License-Identifier: 0BSD */
#include "sentences.h"
#include "draw.h"

int64_t sentences_count(const Lines *lines)
{
    return lines->count - lines->document_count;
}

/* The last document that begins at or before a line; with `examples`, an
 * example. */
static int64_t document_of(const Lines *lines, int64_t at, bool examples)
{
    int64_t low = 0, high = lines->document_count - 1;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        int64_t begins = lines->documents[middle] - (examples ? middle : 0);
        if (begins <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int64_t line_of(const Lines *lines, int64_t example)
{
    return example + document_of(lines, example, true);
}

static int64_t document_end(const Lines *lines, int64_t document)
{
    return document + 1 < lines->document_count
        ? lines->documents[document + 1] : lines->count;
}

/* Number `fraction` of the way through [low, high) without [from, to). */
static int64_t outside(const int64_t bounds[2], int64_t from, int64_t to,
                       double fraction)
{
    int64_t count = bounds[1] - bounds[0] - (to - from);
    int64_t line = bounds[0] + (int64_t)(fraction * (double)count);
    return line < from ? line : line + (to - from);
}

SentencePair sentences_pair(const Lines *lines, int64_t index,
                            const SentenceDraw *draw)
{
    int64_t line = line_of(lines, index);
    SentencePair pair = { line, line + 1, NEXT_SENTENCE };
    double drawn[2];
    uint64_t stream = draw_stream(draw->training ? "next-sentence"
                                                 : "next-sentence-eval");
    draw_uniforms(drawn, draw->seed, stream + draw->example, 0);
    int64_t last = draw->first + draw->count - 1;
    const int64_t bounds[2] = { line_of(lines, draw->first),
                                line_of(lines, last) + 2 };
    int64_t document = document_of(lines, line, false);
    int64_t from = lines->documents[document];
    int64_t to = document_end(lines, document);
    from = from < bounds[0] ? bounds[0] : from;
    to = to > bounds[1] ? bounds[1] : to;
    if (to - from == bounds[1] - bounds[0]) {   /* the only document */
        from = line;
        to = line + 2;
    }
    if (drawn[0] < 0.5 || to - from == bounds[1] - bounds[0])
        return pair;
    pair.second = outside(bounds, from, to, drawn[1]);
    pair.label = OTHER_SENTENCE;
    return pair;
}
