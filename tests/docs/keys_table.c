/* keys_table.c: every key of a spec as a Markdown table, from keys.def: docs/keys.md
 * below its head. */
#include "../../compiler/spec/spec.h"

/* In a cell of a table a bar would end it. */
static void put_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text);
    }
}

/* As `explain` says it: written out, computed in words, or none. */
static void put_default(const KeyInfo *info)
{
    const char *initial = info->initial;
    if (initial[0] == '!')
        printf("required");
    else if (initial[0] == '=')
        put_cell(initial + 1);
    else if (info->type == SPEC_form && strcmp(initial, info->choices[0].text))
        printf("the map's defaults");
    else if (initial[0])
        printf("`%s`", initial);
    else
        printf("none");
}

/* Which choices are built, where not all are. */
static void put_built(const KeyInfo *info)
{
    int later = 0, built = 0;
    for (int i = 0; i < info->choice_count; i++)
        later += !info->choices[i].ready;
    if (!info->ready)
        printf(strchr("!=", info->initial[0]) ? " Not built yet." : " Only the default is built.");
    for (int i = 0; later && i < info->choice_count; i++)
        if (info->choices[i].ready)
            printf("%s`%s`", built++ ? ", " : " Built: ", info->choices[i].text);
    printf(built ? "." : "");
}

static void put_row(KeyId key)
{
    const KeyInfo *info = key_info(key);
    Buf wanted = {0};
    key_wanted(key, &wanted);
    printf("| `%s` | ", info->path);
    put_cell(wanted.text);
    printf(" | ");
    put_default(info);
    printf(info->run_time ? " | yes | " : " | | ");
    put_cell(info->doc);
    put_built(info);
    printf(" |\n");
    buf_free(&wanted);
}

int main(void)
{
    const char *head = "| key | value | default | at run time | |\n|---|---|---|---|---|\n";
    for (int i = 0; i < KEY_COUNT; i++) {
        const KeyInfo *info = key_info((KeyId)i);
        bool top = !strchr(info->path, '.'), map = info->type == SPEC_map;
        if (top && map)
            printf("%s## %s\n\n%s\n\n%s", i ? "\n" : "", info->path, info->doc, head);
        else if (i == 0)
            printf("%s", head);
        if (!map)
            put_row((KeyId)i);
    }
    return 0;
}
