/* tidy.c: what a Prog is rid of before it is printed: what nothing reads, and
 * what is said twice. */
#include "../../compiler/emit.h"
#include "../../ir/prog_make.h"
#include <stdio.h>
#include <stdlib.h>

static int failed;

static void wants(const Buf *text, const char *words, bool there)
{
    if ((strstr(text->text, words) != NULL) == there)
        return;
    printf("%s\n%s: %s\n", text->text, there ? "lacks" : "still has", words);
    failed = 1;
}

/* A table whose rows have a number that is read and one that is not. */
static ProgData *table(Prog *p, const ProgRecord *record, const ProgConst *size)
{
    ProgData *data = prog_data(p, "places", record, true, false);
    prog_heading(p, data, "the first");
    prog_datum_const(p, data, size, 4);
    prog_datum_int(p, data, 77);
    return data;
}

/* void fill(Record *to, long used, long spare): spare is never read. */
static ProgFunc *fill(Prog *p, const ProgRecord *record)
{
    ProgFunc *f = prog_func(p, "fill", NULL, prog_void());
    ProgVar *to = prog_param(p, f, "to", prog_pointer_to(record, false));
    ProgVar *used = prog_param(p, f, "used", prog_i64());
    prog_param(p, f, "spare", prog_i64());
    ps_field_set(p, &f->body, px_var(p, to), "read_field", px_var(p, used));
    ps_field_set(p, &f->body, px_var(p, to), "dead_field", px_int(p, 5));
    prog_define(p, f);
    return f;
}

/* Two branches on the same condition; a third after the variable changed. */
static void branches(Prog *p, ProgFunc *f, ProgVar *sum)
{
    for (int i = 0; i < 3; i++) {
        ProgExpr *first = px_eq(p, px_var(p, sum), px_int(p, 3));
        ProgBlock *body = ps_if(p, &f->body, first, NULL);
        if (i == 1)
            ps_set(p, body, sum, px_int(p, 4));
        else
            ps_do(p, body, px_callv(p, prog_library(p, "note_update"),
                                    px_var(p, f->params.at[0]), NULL));
    }
}

static void entry(Prog *p, const ProgRecord *record, const ProgData *data)
{
    ProgFunc *fills = fill(p, record);
    ProgFunc *f = prog_func(p, "step", NULL, prog_void());
    prog_param(p, f, "me",
               prog_pointer_to(prog_runtime_record(p, "Thread"), true));
    ProgVar *control = prog_param(
        p, f, "control",
        prog_pointer_to(prog_runtime_record(p, "Control"), false));
    ProgVar *local = prog_local(p, f, "local", prog_record_type(record));
    ProgVar *lost = prog_local(p, f, "lost", prog_record_type(record));
    ProgVar *sum = prog_local(p, f, "sum", prog_i64());
    ps_let(p, &f->body, local, NULL);
    ps_let(p, &f->body, lost, NULL);
    ps_field_set(p, &f->body, px_var(p, lost), "read_field", px_int(p, 1));
    ps_do(p, &f->body, px_callv(p, fills, px_address(p, px_var(p, local)),
                                px_int(p, 2), px_int(p, 6), NULL));
    ps_let(p, &f->body, sum,
           px_add(p, px_field(p, px_var(p, local), "read_field"),
                  px_field(p, px_data(p, data), "read_field")));
    ps_if(p, &f->body, px_eq(p, px_var(p, sum), px_int(p, 9)), NULL);
    branches(p, f, sum);
    ps_field_set(p, &f->body, px_var(p, control), "scored", px_var(p, sum));
    prog_define(p, f);
    for (int i = 0; i < 2; i++) {
        ProgData *memory =
            prog_data(p, "memory", prog_runtime_record(p, "Memory"), true,
                      false);
        prog_datum_text(p, memory, "work");
        prog_datum_int(p, memory, 64);
    }
    ProgData *steps = prog_data(p, "steps", prog_runtime_record(p, "Step"),
                                true, true);
    const ProgRecord *step = steps->record;
    for (int i = 0; i < step->fields.count; i++)
        switch (step->fields.at[i].type.kind) {
        case PK_ENTRY: prog_datum_func(p, steps, f); break;
        case PK_F64: prog_datum_float(p, steps, 0); break;
        case PK_TEXT: case PK_POINTER: prog_datum_null(p, steps); break;
        default: prog_datum_int(p, steps, 0); break;
        }
}

int main(void)
{
    Arena *arena = arena_new();
    const Diag *diag = diag_new(arena);
    Prog *p = prog_new(arena, diag, "tidy");
    int group = prog_add_const_group(p, NULL);
    ProgConst *size = prog_const(p, group, "SIZE", 8, NULL);
    prog_const(p, group, "DEAD", 9, NULL);
    prog_const(p, group, "SAID", 10, NULL)->mentioned = true;
    ProgRecord *record = prog_record(p, "Record", NULL);
    prog_field(p, record, "read_field", prog_i64(), NULL);
    prog_field(p, record, "dead_field", prog_i64(), NULL);
    entry(p, record, table(p, record, size));
    prog_prune(p);
    prog_drop_unread(p);
    prog_merge_branches(p);
    prog_merge_tables(p);
    prog_verify(p);
    Buf text = {0};
    emit_c(p, &text);
    wants(&text, "SIZE = 8, SAID = 10", true);
    wants(&text, "DEAD", false);
    wants(&text, "dead_field", false);
    wants(&text, "spare", false);
    wants(&text, "lost", false);
    wants(&text, "{.read_field = 4 * SIZE}", true);
    wants(&text, "/* the first */", true);
    wants(&text, "fill(&local, 2)", true);
    wants(&text, "sum == 9", false);
    wants(&text, "memory2", false);
    const char *first = strstr(text.text, "if (sum == 3)");
    const char *second = first ? strstr(first + 1, "if (sum == 3)") : NULL;
    if (!second || strstr(second + 1, "if (sum == 3)")) {
        printf("%s\nwanted two branches of the three\n", text.text);
        failed = 1;
    }
    buf_free(&text);
    return failed;
}
