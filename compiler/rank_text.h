/* rank_text.h: `ir --rank R`: the training step as one rank runs it. */
#ifndef RANK_TEXT_H
#define RANK_TEXT_H
#include "../ir/prog.h"

/* Prints it on stdout; false where the program has no such rank. */
bool rank_text(const Prog *p, int64_t rank, Arena *arena);
#endif
