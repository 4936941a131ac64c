/* symbols.c: see symbols.h. A file is read whole, and every offset in it is
 * checked before it is followed: header, section headers, symbols, names. In
 * the table a file's static functions follow the file's own symbol, and global
 * ones come last, their file unknown.
 * SPDX-License-Identifier: 0BSD */
#include "symbols.h"
#include "files.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_FILE = 1 << 28 };

typedef struct Image {
    const char *bytes;
    uint64_t length;
    Elf64_Ehdr header;
} Image;

/* Copies, for nothing in a strange file need be aligned. */
static bool copy_out(const Image *image, void *out, uint64_t at, uint64_t size)
{
    if (at > image->length || size > image->length - at)
        return false;
    memcpy(out, image->bytes + at, size);
    return true;
}

static bool read_section(const Image *image, uint64_t index, Elf64_Shdr *out)
{
    const Elf64_Ehdr *header = &image->header;
    if (index >= header->e_shnum || header->e_shentsize != sizeof *out
        || header->e_shoff > image->length)
        return false;
    if (!copy_out(image, out, header->e_shoff + index * sizeof *out,
                  sizeof *out))
        return false;
    return out->sh_offset <= image->length
        && out->sh_size <= image->length - out->sh_offset;
}

/* The symbol table and its names, which end with a NUL. */
static bool find_table(const Image *image, Elf64_Shdr *table,
                       Elf64_Shdr *names)
{
    for (uint64_t i = 0; i < image->header.e_shnum; i++)
        if (read_section(image, i, table) && table->sh_type == SHT_SYMTAB)
            return read_section(image, table->sh_link, names)
                && names->sh_type == SHT_STRTAB && names->sh_size > 0
                && image->bytes[names->sh_offset + names->sh_size - 1] == 0;
    return false;
}

static bool is_function(const Elf64_Sym *entry)
{
    return ELF64_ST_TYPE(entry->st_info) == STT_FUNC
        && entry->st_shndx != SHN_UNDEF && entry->st_size > 0
        && entry->st_value <= UINT64_MAX - entry->st_size;
}

/* Takes the functions of the table; there is room for every entry. */
static void take_functions(Symbols *symbols, const Image *image,
                           const Elf64_Shdr *table, const Elf64_Shdr *names)
{
    const char *file = "";
    for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym entry;
        if (!copy_out(image, &entry, table->sh_offset + i * sizeof entry,
                      sizeof entry)
            || entry.st_name >= names->sh_size)
            continue;
        const char *name = image->bytes + names->sh_offset + entry.st_name;
        bool local = ELF64_ST_BIND(entry.st_info) == STB_LOCAL;
        if (ELF64_ST_TYPE(entry.st_info) == STT_FILE)
            file = name;
        if (is_function(&entry))
            symbols->at[symbols->count++] = (Symbol){
                entry.st_value, entry.st_value + entry.st_size, name,
                local ? file : "" };
    }
}

/* By address; of two names of one place the first in the alphabet. */
static int compare_symbols(const void *a, const void *b)
{
    const Symbol *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool read_table(Symbols *symbols, size_t length, const char *path,
                       Error *error)
{
    Image image = { .bytes = symbols->text, .length = length };
    Elf64_Shdr table, names;
    if (!copy_out(&image, &image.header, 0, sizeof image.header)
        || memcmp(image.header.e_ident, ELFMAG, SELFMAG) != 0
        || image.header.e_ident[EI_CLASS] != ELFCLASS64
        || !find_table(&image, &table, &names))
        return error_set(error, ERROR_ENVIRONMENT, "%s has no symbol table "
                         "(is it stripped?)", path);
    symbols->at = calloc(table.sh_size / sizeof(Elf64_Sym) + 1,
                         sizeof *symbols->at);
    if (!symbols->at)
        return error_set(error, ERROR_ENVIRONMENT, "out of memory");
    take_functions(symbols, &image, &table, &names);
    qsort(symbols->at, (size_t)symbols->count, sizeof *symbols->at,
          compare_symbols);
    return true;
}

bool symbols_open(Symbols *symbols, const char *path, Error *error)
{
    size_t length;
    *symbols = (Symbols){0};
    if (!file_read_whole(path, LARGEST_FILE, &symbols->text, &length, error))
        return false;
    if (read_table(symbols, length, path, error))
        return true;
    symbols_close(symbols);
    return false;
}

void symbols_close(Symbols *symbols)
{
    free(symbols->text);
    free(symbols->at);
    *symbols = (Symbols){0};
}

const Symbol *symbols_find(const Symbols *symbols, uint64_t address)
{
    int low = 0, high = symbols->count;     /* at[low - 1].start <= address */
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (symbols->at[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    /* Of several names of one place the first. */
    while (low > 1 && symbols->at[low - 2].start == symbols->at[low - 1].start)
        low--;
    if (low == 0 || address >= symbols->at[low - 1].end)
        return NULL;
    return &symbols->at[low - 1];
}
