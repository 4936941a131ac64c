/* memory.h: how much memory the machine has, and how a rank gets its own: one
 * mapping, private, or shared with the ranks beside it.
 * SPDX-License-Identifier: 0BSD */
#ifndef MEMORY_H
#define MEMORY_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096 };

int64_t round_up(int64_t bytes, int64_t to);

/* Bytes that this process can have without others being killed for it: what the
 * kernel calls available, swap, and no more than its control group's limit. */
int64_t memory_available(void);

/* Zeros, a multiple of PAGE of them, beginning at a huge page; nothing is
 * touched yet. `shared`: a child sees what its parent writes and the other way
 * round; it has no name, and goes with the last process that maps it. NULL with
 * an error of status 3 where the system refuses; `name` is who asks. */
char *memory_map(int64_t bytes, bool shared, const char *name, Error *error);
void memory_unmap(char *memory, int64_t bytes);

/* The largest resident set that the process has had, in bytes. */
int64_t peak_memory(void);

/* Of its present one, what no other process maps. */
int64_t private_memory(void);
#endif
