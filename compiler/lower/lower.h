/* lower.h: a placed Module becomes a Prog. Nothing in a Prog is of a machine's
 * width; the emitters decide nothing. */
#ifndef LOWER_H
#define LOWER_H
#include "../../ir/ir.h"
#include "../../ir/prog.h"

/* A run-time key for the program's description (a row of spec/keys.def). */
typedef struct RunKeyInfo {
    const char *path, *type, *choices, *value, *doc;
    double least, most;
} RunKeyInfo;

/* Which of the program's steps the file has. Where a plan's functions are made
 * for ranks that share them, what runs on one rank is a file of its own. */
typedef enum FileOf { FILE_OF_ALL, FILE_OF_RANKS, FILE_OF_ONE_RANK } FileOf;

typedef struct LowerInfo {
    FileOf file;
    const char *version, *spec_name, *spec_text, *spec_hash, *model_hash;
    const char *target, *features;
    const char *plan;           /* a line for the file's head: "1 rank, f32" */
    const char *kind, *input, *head, *objective;   /* as the spec says them */
    int64_t channels, image_size, nodes; /* of images and graphs, else 0 */
    int64_t batch, sequence, groups;
    bool generates;
    int moments;
    List(RunKeyInfo) keys;
} LowerInfo;

Prog *lower_module(const Module *m, const LowerInfo *info, Arena *arena);
/* Sets a text field of the program's description. */
void program_set_text(Prog *p, const char *name, const char *text);
/* Bytes of the train program without workspaces: weights, moments, values. */
int64_t lower_train_bytes(const Module *m, const LowerInfo *info, Arena *arena);
#endif
