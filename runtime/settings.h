/* settings.h: what of the spec may change without a rebuild, as numbers. The
 * values are those the program was built with (Program.keys) under those of
 * `--set KEY=VALUE`.
 * SPDX-License-Identifier: 0BSD */
#ifndef SETTINGS_H
#define SETTINGS_H
#include "error.h"
#include "options.h"
#include "program.h"
#include <stdbool.h>

typedef int64_t setting_INTEGER;
typedef int64_t setting_ID;
typedef double setting_NUMBER;
typedef struct setting_PAIR { double at[2]; } setting_PAIR;
typedef const char *setting_WORD;
typedef TextList setting_WORDS;

typedef struct Settings {
#define SETTING(kind, field, path, otherwise) setting_##kind field;
#include "settings.def"
#undef SETTING
    const char **texts;     /* of each of Program.keys, as in effect */
    struct SettingBlock *blocks;    /* all that settings_free frees */
} Settings;

/* Reads the program's keys, then `sets`. What is wrong in a --set is printed on
 * stderr, all of it, as `--set KEY:1:COL: error: …`; then false with status 1
 * and an empty text. settings_free is due in either case. */
bool settings_read(Settings *settings, const Program *program,
                   const TextList *sets, Error *error);
void settings_free(Settings *settings);

/* Says that a key's value in effect is `text`, which must live on: for flags
 * that stand for a key (--seed, --data). Only what is recorded changes. */
void settings_note(Settings *settings, const Program *program, const char *path,
                   const char *text);
#endif
