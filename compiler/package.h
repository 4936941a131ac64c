/* package.h: the directory that `emit` writes (contract.md, section 7), and
 * that `build --via cc` compiles: NAME.c, the runtime's sources, the resolved
 * spec, a Makefile and a MANIFEST. */
#ifndef PACKAGE_H
#define PACKAGE_H
#include "../ir/prog.h"
#include <signal.h>

/* A program's files: NAME.c and, of plans whose functions ranks share,
 * NAME-one-rank.c. */
enum { MOST_SOURCES = 2 };
typedef struct Sources {
    const Prog *at[MOST_SOURCES];
    int count;
} Sources;

typedef struct PackageFile {
    const char *path;           /* below the directory */
    const char *bytes;
    size_t length;
} PackageFile;

typedef struct Package {
    const char *name;           /* of the program and of NAME.c */
    List(PackageFile) files;    /* MANIFEST is the last */
} Package;

/* Sets a text of the program's description (the constant `program` of
 * program.def): target, features, source_hash. With `macro`, C takes the value
 * from a macro of runtime/level.h instead. */
void package_stamp(Prog *p, const char *field, const char *text,
                   const char *macro);

/* The hash of the source: NAME.c as it is with an empty source_hash, the file
 * beside it, and the runtime's. 64 hexadecimal digits, in the Prog's arena. */
const char *package_source_hash(const Sources *sources);

/* All files; `spec_text` is the resolved spec, `passes` a line naming the
 * passes, `command` the command line. */
Package *package_make(Arena *arena, const Sources *sources,
                      const char *spec_text, const char *passes,
                      const char *command);

/* Writes the package to a directory that does not exist, is empty, or holds
 * what an earlier emit wrote and nothing else but what its `make` makes. It is
 * written aside and renamed. Gives the exit status. */
int package_write(Diag *diag, const Package *package, const char *directory);

/* Compiles the package with $CC (or cc) in a temporary directory, with the very
 * commands of its Makefile, and delivers the program. Gives the exit status. */
int package_compile(Diag *diag, const Package *package, const char *cpu,
                    const char *output);

/* Is it a name for files: letters, digits, `.`, `_`, `-`, not beginning with
 * one of the last two or a dot? */
bool package_is_name(const char *name);

/* ---- trees of files (package_tree.c) ------------------------------------- */
/* Writes every file below `directory`, which is made and which errors call
 * `shown`. Gives the exit status. */
int tree_write(Diag *diag, const Package *package, const char *directory,
               const char *shown);
/* Removes a directory and all below it. */
void tree_remove(const char *directory);
/* A directory of this process's own, /tmp/NAME-XXXXXX; SIGINT and SIGTERM wait
 * until it is removed with all in it. */
typedef struct Workplace {
    char *directory;
    sigset_t before;
} Workplace;
/* False with a diagnostic, and nothing to close. */
bool workplace_open(Workplace *workplace, Diag *diag, const char *name);
void workplace_close(const Workplace *workplace);
/* The first file below that `keep` does not know, as a path below; NULL if
 * none. */
const char *tree_stranger(Arena *arena, const char *directory,
                          bool known(const char *path, const void *context),
                          const void *context);
#endif
