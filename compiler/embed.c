/* embed.c: looks up an embedded file. */
#include "embed.h"
#include <string.h>

const EmbedFile *embed_find(const char *name)
{
    for (const EmbedFile *file = embed_files; file->name; file++)
        if (!strcmp(file->name, name))
            return file;
    return NULL;
}
