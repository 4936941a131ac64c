/* text.c: a Module as text (docs/ir.md). Read from the bottom: module_print
 * goes through dims, weights, functions and steps; each thing is built as one
 * line and ended with its origin, `; model <- cause by pass`.
 *
 * Everything in the structs is in the text, except the numbers of values, which
 * the order of the text gives again. */
#include "text.h"

/* ---- lines ---- */
enum { ORIGIN_COLUMN = 72 };

typedef struct Printer {
    const Module *m;
    Buf *out, line;
    int depth;
} Printer;

/* A path without blanks and colons needs no quotes. */
static bool source_is_plain(const char *name)
{
    const char *letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    return *name && strspn(name, letters) == strlen(name) && strcmp(name, "-");
}

static void print_loc(const Diag *diag, Loc loc, Buf *out)
{
    if (loc.line <= 0 || !diag || loc.source < 0
        || loc.source >= diag->sources.count) {
        buf_printf(out, "-");
        return;
    }
    const char *name = diag->sources.at[loc.source].name;
    if (source_is_plain(name))
        buf_printf(out, "%s", name);
    else
        quote_print(name, out);
    buf_printf(out, ":%d", loc.line);
    if (loc.col > 0)
        buf_printf(out, ":%d", loc.col);
    if (loc.col > 0 && loc.width > 0)
        buf_printf(out, "+%d", loc.width);
}

static bool has_origin(const Origin *origin)
{
    return origin
        && (origin->model.line > 0 || origin->cause.line > 0 || origin->pass);
}

/* Writes the line built so far, indented, and its origin. */
static void end_line(Printer *p, const Origin *origin)
{
    buf_printf(p->out, "%*s%s", 2 * p->depth, "",
               p->line.text ? p->line.text : "");
    if (has_origin(origin)) {
        int used = 2 * p->depth + (int)p->line.length;
        buf_printf(p->out, "%*s; ",
                   used < ORIGIN_COLUMN ? ORIGIN_COLUMN - used : 1, "");
        print_loc(p->m->diag, origin->model, p->out);
        if (origin->cause.line > 0) {
            buf_printf(p->out, " <- ");
            print_loc(p->m->diag, origin->cause, p->out);
        }
        if (origin->pass) {
            buf_printf(p->out, " by ");
            name_print(origin->pass, p->out);
        }
    }
    buf_printf(p->out, "\n");
    p->line.length = 0;
    if (p->line.text)
        p->line.text[0] = 0;
}

static void add_name(Printer *p, const char *name)
{
    name_print(name, &p->line);
}

/* Is there something to say of a field? Of placements there always is. */
static bool has_field(const FieldInfo *f, const char *at)
{
    switch (f->kind) {
    case FIELD_NUMBER: return *(const double *)at != 0;
    case FIELD_INTEGER: return *(const int64_t *)at != 0;
    case FIELD_FLAG: return *(const bool *)at;
    case FIELD_INDEX: case FIELD_DIM: return *(const int *)at != 0;
    case FIELD_AXIS: case FIELD_PLACED: return true;
    }
    return false;
}

static void add_placement(Printer *p, const Placement *placement)
{
    buf_printf(&p->line, "%s", placing_names[placement->how]);
    if (placement->how == PLACED_SPLIT)
        buf_printf(&p->line, "(%d)", placement->dim);
}

static void add_field(Printer *p, const FieldInfo *f, const char *at)
{
    buf_printf(&p->line, "%s%s", f->name, f->kind == FIELD_FLAG ? "" : "=");
    switch (f->kind) {
    case FIELD_NUMBER:
        number_print(*(const double *)at, &p->line);
        return;
    case FIELD_INTEGER:
        buf_printf(&p->line, "%lld", (long long)*(const int64_t *)at);
        return;
    case FIELD_INDEX:
        buf_printf(&p->line, "%d", *(const int *)at);
        return;
    case FIELD_DIM:
        add_name(p, p->m->dims.at[*(const int *)at].name);
        return;
    case FIELD_AXIS:
        buf_printf(&p->line, "%s", axis_names[*(const Axis *)at]);
        return;
    case FIELD_PLACED:
        add_placement(p, (const Placement *)at);
        return;
    case FIELD_FLAG:
        return;
    }
}

/* The fields of *from that are not 0, as `a=1, b`; how many there were. */
static int add_fields(Printer *p, const FieldInfo *fields, const void *from,
                      const char *open, Op op)
{
    int shown = 0;
    for (const FieldInfo *f = fields; f->name; f++) {
        const char *at = (const char *)from + f->offset;
        if ((fields == attr_fields && !op_has_attr(op, f->name))
            || !has_field(f, at))
            continue;
        buf_printf(&p->line, "%s", shown++ ? ", " : open);
        add_field(p, f, at);
    }
    return shown;
}

/* ---- dims and weights ---- */
static void print_dims(Printer *p)
{
    const Module *m = p->m;
    bool open = false;
    for (int i = 1; i < m->dims.count; i++) {
        const Dim *d = &m->dims.at[i];
        Origin origin = { .model = d->origin };
        bool alone = d->doc || d->origin.line > 0;
        if (open && alone)
            end_line(p, NULL);
        buf_printf(&p->line, open && !alone ? " " : "dim ");
        add_name(p, d->name);
        if (d->kind == DIM_MODEL)
            buf_printf(&p->line, "=%lld", (long long)d->size);
        else
            buf_printf(&p->line, ":%s", dim_kind_words[d->kind]);
        if (d->kind == DIM_SHARE)
            buf_printf(&p->line, "=%lld", (long long)d->size);
        open = !alone;
        if (d->doc) {
            buf_printf(&p->line, " doc=");
            add_name(p, d->doc);
        }
        if (alone)
            end_line(p, &origin);
    }
    if (open)
        end_line(p, NULL);
}

static void print_weight(Printer *p, int number)
{
    const Weight *w = &p->m->weights.at[number];
    const char *path = weight_path(p->m, number, p->m->arena);
    buf_printf(&p->line, "weight ");
    add_name(p, path);
    buf_printf(&p->line, ": ");
    type_print(p->m, &w->type, &p->line);
    buf_printf(&p->line, " init=%s", init_words[w->init.kind]);
    if (add_fields(p, init_fields, &w->init, "(", OP_COUNT))
        buf_printf(&p->line, ")");
    if (w->file_type.rank) {
        buf_printf(&p->line, w->whole_file ? " whole=" : " file=");
        type_print(p->m, &w->file_type, &p->line);
    }
    if (w->slice)
        buf_printf(&p->line, w->slice == SLICE_ROWS      ? " rows"
                             : w->slice == SLICE_COLUMNS ? " columns"
                                                         : " inputs");
    if (w->experts)
        buf_printf(&p->line, " experts");
    if (w->partial)
        buf_printf(&p->line, " partial");
    if (w->constant)
        buf_printf(&p->line, " constant");
    if (w->derived)
        buf_printf(&p->line, " derived");
    if (w->decay)
        buf_printf(&p->line, " decay");
    if (w->frozen)
        buf_printf(&p->line, " frozen");
    if (w->frozen_blocks)
        buf_printf(&p->line, " frozen_blocks=\"%s\"", w->frozen_blocks);
    end_line(p, &w->origin);
}

/* ---- functions ---- */
static void add_typed(Printer *p, const Value *v)
{
    add_name(p, v->name);
    buf_printf(&p->line, ": ");
    value_type_print(p->m, v, &p->line);
    if (v->area != AREA_NONE)
        buf_printf(&p->line, " @%s+%lld", area_words[v->area],
                   (long long)v->offset);
    if (v->alias) {
        buf_printf(&p->line, " @as ");
        add_name(p, v->alias->name);
    }
}

static void add_operand(Printer *p, const Value *v)
{
    if (v->kind == VALUE_SCALAR)
        buf_printf(&p->line, "$");
    add_name(p, v->name);
}

/* A weight in a function: short where that means the same one. */
static void add_weight(Printer *p, const Func *f, int weight)
{
    const Weight *w = &p->m->weights.at[weight];
    bool meant = weight_by_name(p->m, f, w->name) == weight;
    if (!meant && w->stack < 0)
        buf_printf(&p->line, "whole ");
    add_name(p, meant ? w->name : weight_path(p->m, weight, p->m->arena));
}

static void add_site(Printer *p, int site)
{
    if (site)
        buf_printf(&p->line, " site %d", site);
}

/* Weights under another name than their own (which something else has). */
static void print_uses(Printer *p, const Func *f)
{
    for (int i = 0; i < f->values.count; i++) {
        const Value *v = f->values.at[i];
        if (v->kind != VALUE_WEIGHT || !node_uses(f, v))
            continue;
        const Weight *w = &p->m->weights.at[v->weight];
        if (!strcmp(w->name, v->name)
            && weight_by_name(p->m, f, v->name) == v->weight)
            continue;
        buf_printf(&p->line, "use ");
        add_name(p, v->name);
        buf_printf(&p->line, " = ");
        add_weight(p, f, v->weight);
        end_line(p, NULL);
    }
}

static void print_node(Printer *p, const Node *node)
{
    for (int i = 0; i < node->results; i++) {
        buf_printf(&p->line, i ? ", " : "");
        add_typed(p, node->out[i]);
    }
    buf_printf(&p->line, " = %s", op_info[node->op].name);
    for (int i = 0; i < node->inputs; i++) {
        buf_printf(&p->line, i ? ", " : " ");
        add_operand(p, node->in[i]);
    }
    if (add_fields(p, attr_fields, &node->attrs, " {", node->op))
        buf_printf(&p->line, "}");
    end_line(p, &node->origin);
}

static void print_nodes(Printer *p, const Func *f)
{
    int open = -1;
    for (int i = 0; i < f->nodes.count; i++) {
        const Node *node = f->nodes.at[i];
        if (open >= 0 && node->kernel != open) {
            p->depth--;
            buf_printf(&p->line, "}");
            end_line(p, NULL);
        }
        if (node->kernel >= 0 && node->kernel != open) {
            const Kernel *kernel = &f->kernels.at[node->kernel];
            buf_printf(&p->line, "kernel %s ", kernel_words[kernel->kind]);
            add_name(p, kernel->name);
            buf_printf(&p->line, " {");
            end_line(p, NULL);
            p->depth++;
        }
        open = node->kernel;
        print_node(p, node);
    }
    if (open >= 0) {
        p->depth--;
        buf_printf(&p->line, "}");
        end_line(p, NULL);
    }
}

/* `func NAME[l](params) -> results … {`. Parameters with an origin stand on
 * lines of their own. */
static void print_head(Printer *p, const Func *f)
{
    buf_printf(&p->line, "func ");
    add_name(p, f->name);
    if (f->stack > 0)
        buf_printf(&p->line, "[l < %s]", p->m->stacks.at[f->stack].dim);
    buf_printf(&p->line, "%s(", f->stack == 0 ? "[l]" : "");
    bool split = false;
    for (int i = 0; i < f->params.count; i++)
        split |= has_origin(&f->params.at[i]->origin);
    for (int i = 0; i < f->params.count; i++) {
        if (split) {
            end_line(p, i ? &f->params.at[i - 1]->origin : NULL);
            buf_printf(&p->line, "    ");
        }
        add_typed(p, f->params.at[i]);
        buf_printf(&p->line, i + 1 == f->params.count ? ""
                             : split                  ? ","
                                                      : ", ");
    }
    if (split)
        end_line(p, &f->params.at[f->params.count - 1]->origin);
    buf_printf(&p->line, ")");
    for (int i = 0; i < f->results.count; i++) {
        buf_printf(&p->line, i ? ", " : " -> ");
        add_name(p, f->results.at[i]->name);
    }
    buf_printf(&p->line, " {");
    end_line(p, &f->origin);
}

/* What comes from a record, and what goes into one. */
static void print_read(Printer *p, const char *word, const Value *v)
{
    buf_printf(&p->line, "%s ", word);
    add_typed(p, v);
    end_line(p, &v->origin);
}

static void print_written(Printer *p, const char *word, const Value *v)
{
    buf_printf(&p->line, "%s ", word);
    add_operand(p, v);
    end_line(p, NULL);
}

static void print_func(Printer *p, const Func *f)
{
    print_head(p, f);
    p->depth++;
    buf_printf(&p->line, "root ");
    add_name(p, f->root);
    end_line(p, NULL);
    if (f->record) {
        buf_printf(&p->line, "record ");
        add_name(p, f->record);
        end_line(p, NULL);
    }
    if (f->frame_floats || f->record_floats || f->pending_floats) {
        buf_printf(&p->line, "floats frame=%lld record=%lld",
                   (long long)f->frame_floats, (long long)f->record_floats);
        if (f->pending_floats)
            buf_printf(&p->line, " pending=%lld",
                       (long long)f->pending_floats);
        end_line(p, NULL);
    }
    print_uses(p, f);
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i]->kind == VALUE_SAVED)
            print_read(p, "load", f->saved.at[i]);
    for (int i = 0; func_is_weight_half(f) && i < f->pending.count; i++)
        print_read(p, "take", f->pending.at[i]);
    for (int i = 0; i < f->gradients.count; i++) {
        const Gradient *g = &f->gradients.at[i];
        buf_printf(&p->line, "begin ");
        add_typed(p, g->begin);
        buf_printf(&p->line, " for ");
        add_weight(p, f, g->weight);
        add_site(p, g->site);
        end_line(p, &g->begin->origin);
    }
    print_nodes(p, f);
    for (int i = 0; i < f->gradients.count; i++) {
        const Gradient *g = &f->gradients.at[i];
        buf_printf(&p->line, "end ");
        add_weight(p, f, g->weight);
        add_site(p, g->site);
        buf_printf(&p->line, " = ");
        add_operand(p, g->end);
        end_line(p, NULL);
    }
    for (int i = 0; i < f->saved.count; i++)
        if (f->saved.at[i]->kind != VALUE_SAVED)
            print_written(p, "save", f->saved.at[i]);
    for (int i = 0; !func_is_weight_half(f) && i < f->pending.count; i++)
        print_written(p, "leave", f->pending.at[i]);
    p->depth--;
    buf_printf(&p->line, "}");
    end_line(p, NULL);
}

/* ---- steps ---- */
static void print_call(Printer *p, const Stmt *s)
{
    for (int i = 0; i < s->results.count; i++) {
        add_name(p, s->results.at[i]);
        buf_printf(&p->line, i + 1 < s->results.count ? ", " : " = ");
    }
    add_name(p, s->func->name);
    buf_printf(&p->line, "%s(", s->indexed ? "[l]" : "");
    for (int i = 0; i < s->arguments.count; i++) {
        buf_printf(&p->line, i ? ", " : "");
        add_name(p, s->arguments.at[i]);
    }
    buf_printf(&p->line, ")");
}

static void print_repeat(const Module *m, const Stmt *s, Buf *line)
{
    const char *dim = m->stacks.at[s->stack].dim;
    if (s->from || s->to)
        buf_printf(line, "repeat l from %lld to %lld of %s", (long long)s->from,
                   (long long)s->to, dim);
    else
        buf_printf(line, "repeat l < %s", dim);
    buf_printf(line, "%s", s->down ? " down" : "");
}

static void print_statement(Printer *p, const Stmt *s)
{
    Buf *line = &p->line;
    long long count = s->count, rows = s->chunk_rows;
    bool nests = s->kind == STEP_GROUPS || s->kind == STEP_MICROS
              || s->kind == STEP_REPEAT || s->kind == STEP_CHUNKS;
    switch (s->kind) {
    case STEP_COUNT: buf_printf(line, "count %s", s->what); break;
    case STEP_ZERO:
        buf_printf(line, "zero ");
        add_name(p, s->results.at[0]);
        break;
    case STEP_GROUPS: buf_printf(line, "groups g < %lld", count); break;
    case STEP_MICROS: buf_printf(line, "micros m < %lld", count); break;
    case STEP_REPEAT: print_repeat(p->m, s, line); break;
    case STEP_CHUNKS:
        buf_printf(line, "chunks c < %lld of %lld %s%s", count, rows,
                   s->pooled ? "sequences" : "rows", s->last ? " last" : "");
        break;
    case STEP_CALL: print_call(p, s); break;
    case STEP_SITES: buf_printf(line, "sites"); break;
    case STEP_NORM: buf_printf(line, "norm"); break;
    case STEP_UPDATE:
        buf_printf(line, "update ");
        add_name(p, s->func->name);
        break;
    }
    buf_printf(line, "%s", nests ? " {" : "");
    end_line(p, &s->origin);
    if (!nests)
        return;
    p->depth++;
    for (int i = 0; i < s->body.count; i++)
        print_statement(p, s->body.at[i]);
    p->depth--;
    buf_printf(line, "}");
    end_line(p, NULL);
}

const char action_letters[] = "FBW";

/* stage from 0 to 2 slots 2 runs F0 F1 B0 B1; F1.2 is of chunk 2; of two stacks
 * from 0 to 2 of L */
static void print_stage(Printer *p, const StageRun *run)
{
    buf_printf(&p->line, "stage");
    for (int i = 0; i < run->chunks.count; i++) {
        const ModelChunk *chunk = &run->chunks.at[i];
        buf_printf(&p->line, " from %lld to %lld", (long long)chunk->from,
                   (long long)chunk->to);
        if (p->m->stacks.count > 1)
            buf_printf(&p->line, " of %s", p->m->stacks.at[chunk->stack].dim);
        buf_printf(&p->line, " slots %lld", (long long)chunk->slots);
        if (chunk->pending)
            buf_printf(&p->line, " pending %lld", (long long)chunk->pending);
    }
    buf_printf(&p->line, " runs");
    for (int i = 0; i < run->actions.count; i++) {
        const Action *a = &run->actions.at[i];
        buf_printf(&p->line, " %c%lld", action_letters[a->kind],
                   (long long)a->micro);
        if (a->chunk)
            buf_printf(&p->line, ".%lld", (long long)a->chunk);
    }
    end_line(p, NULL);
}

static void print_step(Printer *p, const Step *step)
{
    buf_printf(&p->line, "step ");
    add_name(p, step->name);
    buf_printf(&p->line, " batch=%lld sequence=%lld micro=%lld%s {",
               (long long)step->batch, (long long)step->sequence,
               (long long)step->micro, step->training ? " training" : "");
    end_line(p, NULL);
    p->depth++;
    for (int i = 0; i < step->stages.count; i++)
        print_stage(p, &step->stages.at[i]);
    for (int i = 0; i < step->body.count; i++)
        print_statement(p, step->body.at[i]);
    p->depth--;
    buf_printf(&p->line, "}");
    end_line(p, NULL);
}

void module_print(const Module *m, Buf *out)
{
    Printer p = { .m = m, .out = out };
    buf_printf(&p.line, "module ");
    add_name(&p, m->name);
    if (m->sites_per_block)
        buf_printf(&p.line, " sites_per_block=%d", m->sites_per_block);
    end_line(&p, NULL);
    if (mesh_ranks(&m->mesh) > 1) {
        buf_printf(&p.line, "mesh data=%lld stages=%lld context=%lld "
                   "tensor=%lld shard=%s", (long long)m->mesh.data,
                   (long long)m->mesh.stages, (long long)m->mesh.context,
                   (long long)m->mesh.tensor, shard_names[m->mesh.shard]);
        if (m->mesh.shard_group)
            buf_printf(&p.line, " shard_group=%lld",
                       (long long)m->mesh.shard_group);
        if (m->mesh.each_micro)
            buf_printf(&p.line, " each_micro");
        if (m->mesh.prefetch)
            buf_printf(&p.line, " prefetch");
        if (m->mesh.experts > 1)
            buf_printf(&p.line, " experts=%lld", (long long)m->mesh.experts);
        if (m->mesh.bucket != INT64_MAX)
            buf_printf(&p.line, " bucket=%lld", (long long)m->mesh.bucket);
        if (m->placed)
            buf_printf(&p.line, " placed");
        end_line(&p, NULL);
    }
    bool plain = m->stacks.count == 1 && !*m->stacks.at[0].prefix
              && !strcmp(m->stacks.at[0].dim, "L");
    for (int i = 0; !plain && i < m->stacks.count; i++) {
        buf_printf(&p.line, "stack %s ", m->stacks.at[i].dim);
        quote_print(m->stacks.at[i].prefix, &p.line);
        end_line(&p, NULL);
    }
    print_dims(&p);
    for (int i = 0; i < m->weights.count; i++)
        print_weight(&p, i);
    for (int i = 0; i < m->funcs.count; i++) {
        buf_printf(out, "\n");
        print_func(&p, m->funcs.at[i]);
    }
    for (int i = 0; i < m->steps.count; i++) {
        buf_printf(out, "\n");
        print_step(&p, m->steps.at[i]);
    }
    buf_free(&p.line);
}
