/* lanes.c: the functions of lanes.h with external linkage. Built once with clang
 * -march=x86-64-v4 -emit-llvm, for the compiler to link and inline; as vectors of
 * 16 need no cutting there, the IR names no instruction set and serves them all.
 * SPDX-License-Identifier: 0BSD */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#define LANES_EXTERN
#include "lanes.h"
