/* records.c: what a step's statements are written with: where regions lie,
 * calls and barriers, and the records that point at parameters. */
#include "steps.h"

ProgExpr *step_control(Steps *s, const char *name)
{
    return px_field(s->p, var(s, s->control), name);
}

/* values + region */
ProgExpr *step_region(Steps *s, const char *name)
{
    region_at(s->map, name);        /* which there must be */
    if (s->place)
        return px_offset(s->p, var(s, s->values),
                         px_field(s->p, var(s, s->place), name));
    return px_offset(s->p, var(s, s->values),
                     px_const(s->p, find_region(s->map, name)->constant));
}

ProgVar *step_let(Steps *s, ProgBlock *b, const char *name, ProgExpr *value)
{
    ProgVar *v = prog_local(s->p, s->func, name, value->type);
    ps_let(s->p, b, v, value);
    return v;
}

void step_call(Steps *s, ProgBlock *b, const ProgFunc *f, ProgExpr *const *args,
               int count)
{
    ps_do(s->p, b, px_call(s->p, f, count, args));
}

void step_note(Steps *s, ProgBlock *b, const char *note, ProgExpr *run)
{
    const Loc here = s->p->here;
    if (strcmp(s->map->step->name, "train") != 0)
        return;
    s->p->here = (Loc){0};      /* it comes from no line of the spec */
    step_call(s, b, prog_library(s->p, note),
              (ProgExpr *[]){ var(s, s->me), run }, run ? 2 : 1);
    s->p->here = here;
}

void step_barrier(Steps *s, ProgBlock *b)
{
    step_call(s, b, prog_library(s->p, "barrier"),
              (ProgExpr *[]){ var(s, s->me) }, 1);
}

/* ---- records: where parameters and gradients lie ---- */
ProgVar *step_record(Steps *s, ProgBlock *b, const char *name,
                     const ProgRecord *record)
{
    ProgVar *v = prog_local(s->p, s->func, name, prog_record_type(record));
    ps_let(s->p, b, v, NULL);
    return v;
}

void step_point(Steps *s, ProgBlock *b, const ProgFunc *f, ProgVar *record,
                ProgExpr *base)
{
    step_call(s, b, f, (ProgExpr *[]){ px_address(s->p, var(s, record)), base },
              2);
}

void step_point_shared(Steps *s, ProgBlock *b, const ProgFunc *whole,
                       const ProgFunc *staged, ProgVar *record, ProgExpr *base)
{
    if (!s->stage) {
        step_point(s, b, whole, record, base);
        return;
    }
    ProgExpr *args[] = { px_address(s->p, var(s, record)), base,
                         var(s, s->stage) };
    step_call(s, b, staged, args, 3);
}

/* ---- blocks ---- */
ProgBlock *step_each_chunk(Steps *s, ProgBlock *b, ProgVar **number)
{
    Prog *p = s->p;
    if (!s->stage || s->l->chunks == 1 || s->model_chunk)
        return b;
    *number = prog_local(p, s->func, "chunk", prog_i64());
    b = ps_for(p, b, *number, num(s, 0), px_const(p, s->l->chunk_count),
               num(s, 1));
    s->model_chunk = step_let(s, b, "model_chunk",
                              step_chunk_row_at(s, step_control(s, "stage"),
                                                var(s, *number)));
    return b;
}

ProgBlock *step_each_block(Steps *s, ProgBlock *b, int stack)
{
    ProgVar *chunk;
    if (stack < 0)
        return b;
    s->stack = stack;
    b = step_each_chunk(s, b, &chunk);
    s->block = prog_local(s->p, s->func, "l", prog_i64());
    b = ps_for(s->p, b, s->block, step_first_block(s), step_blocks(s),
               num(s, 1));
    step_count_blocks(s, b);
    return b;
}

void step_end_blocks(Steps *s)
{
    s->block = s->own = NULL;
    s->model_chunk = NULL;
    s->stack = 0;
}

/* From the start of gradients or a moment to this block's. */
ProgExpr *step_gradient_block(Steps *s)
{
    const StackLayout *stack = &s->l->stacks[s->stack];
    ProgExpr *own = s->l->early
        ? num(s, 0)                     /* one serves all blocks in turn */
        : px_mul(s->p, step_own_block(s),
                 px_const(s->p, stack->gradient_floats_const));
    ProgExpr *at = s->stage ? step_stack_field(s, "gradient_blocks")
                            : px_const(s->p, stack->gradient_at_const);
    return px_add(s->p, at, own);
}

void step_point_at_block(Steps *s, ProgBlock *b)
{
    const StackLayout *stack = &s->l->stacks[s->stack];
    ProgExpr *own = px_mul(s->p, step_own_block(s),
                           px_const(s->p, stack->floats_const));
    ProgExpr *at = px_add(s->p,
                          s->stage ? step_stack_field(s, "blocks")
                                   : px_const(s->p, stack->at_const),
                          own);
    step_point(s, b, stack->weights, s->w[s->stack],
               px_offset(s->p, step_control(s, "weights"), at));
}

void step_point_at_sums(Steps *s, ProgBlock *b)
{
    if (s->dw[s->stack] && s->gradients)
        step_point(s, b, s->l->stacks[s->stack].sums, s->dw[s->stack],
                   px_offset(s->p, var(s, s->gradients),
                             step_gradient_block(s)));
}
