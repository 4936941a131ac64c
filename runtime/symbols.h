/* symbols.h: the functions of a program by address, as the symbol table of its
 * ELF file has them.
 * SPDX-License-Identifier: 0BSD */
#ifndef SYMBOLS_H
#define SYMBOLS_H
#include "error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Symbol {
    uint64_t start, end;    /* its code, as linked: [start, end) */
    const char *name;
    const char *file;       /* the source of a static function; else "" */
} Symbol;

typedef struct Symbols {
    char *text;             /* the file: what names point into */
    Symbol *at;             /* by address */
    int count;
} Symbols;

/* Reads the table of an ELF file; whatever the file holds, names are strings
 * inside it. False with an error, and nothing to close, where there is none. */
bool symbols_open(Symbols *symbols, const char *path, Error *error);
void symbols_close(Symbols *symbols);

/* The function that has the address, or NULL. */
const Symbol *symbols_find(const Symbols *symbols, uint64_t address);
#endif
