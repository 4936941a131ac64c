/* sample.h: a Prog written by hand that has every kind of node (sample.c). */
#ifndef SAMPLE_H
#define SAMPLE_H
#include "../../ir/prog_make.h"

Prog *sample_prog(Arena *arena, Diag *diag);
#endif
