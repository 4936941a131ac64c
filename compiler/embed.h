/* embed.h: files that the Makefile puts into the compiler itself (embed.sh):
 * the objects that a program is linked from and the sources that emit writes;
 * in the LLVM module, the bitcode of the lanes. */
#ifndef EMBED_H
#define EMBED_H
#include <stddef.h>

typedef struct EmbedFile {
    const char *name;           /* "runtime/program.h", "object/runtime.o" */
    const unsigned char *bytes;
    size_t length;
} EmbedFile;

/* In the order of their names; the last has the name NULL. */
extern const EmbedFile embed_files[];

/* The file of that name; NULL where there is none. */
const EmbedFile *embed_find(const char *name);
#endif
