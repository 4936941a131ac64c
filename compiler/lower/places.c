/* places.c: where a step's values lie while its function is written: slots of
 * streams, parts of what is given, sums, logits of the whole batch. */
#include "steps.h"

/* ---- where values lie ---- */
ProgExpr *step_chunk_field(Steps *s, const char *field)
{
    const ProgVar *row = s->l->chunks > 1 ? s->model_chunk : s->stage;
    if (!row)
        ice("no chunk of the model is open for its %s", field);
    return px_field(s->p, var(s, row), field);
}

/* Of an encoder-decoder a stage has such fields for both stacks, one of them
 * with no blocks. */
static const char *range_field(Steps *s, const char *end)
{
    return s->l->decoder
        ? arena_printf(s->l->arena, "%s_%s", s->stack ? "decoder" : "encoder",
                       end)
        : end;
}

ProgExpr *step_stage_blocks(Steps *s, int stack)
{
    return step_stage_field(s, !s->l->mixed ? "blocks"
                               : stack      ? "decoder_blocks"
                                            : "encoder_blocks");
}

ProgExpr *step_stack_field(Steps *s, const char *field)
{
    return step_stage_field(s, s->l->mixed
        ? arena_printf(s->l->arena, "%s_%s", s->stack ? "decoder" : "encoder",
                       field)
        : field);
}

ProgExpr *step_blocks(Steps *s)
{
    if (s->stage)
        return step_chunk_field(s, range_field(s, "to"));
    const char *dim = s->l->m->stacks.at[s->stack].dim;
    return px_const(s->p, s->l->dims[module_find_dim(s->l->m, dim)]);
}

ProgExpr *step_first_block(Steps *s)
{
    return s->stage ? step_chunk_field(s, range_field(s, "from")) : num(s, 0);
}

ProgExpr *step_own_block(Steps *s)
{
    if (s->own && s->l->chunks == 1)
        return var(s, s->own);
    return px_sub(s->p, var(s, s->block),
                  s->l->chunks > 1 && s->stage ? step_chunk_field(s, "others")
                                               : step_first_block(s));
}

void step_count_blocks(Steps *s, ProgBlock *body)
{
    if (s->stage)
        s->own = step_let(s, body, "own", step_chunk_block(s));
}

ProgExpr *step_chunk_block(Steps *s)
{
    if (s->own)
        return var(s, s->own);
    return px_sub(s->p, var(s, s->block), step_first_block(s));
}

/* How many blocks of the stack are in a stream: those of the open chunk, where
 * a stage has several. */
static ProgExpr *stack_size(Steps *s, int stack)
{
    if (s->stage)
        return step_chunk_field(s, "count");
    const char *dim = s->l->m->stacks.at[stack].dim;
    return px_const(s->p, s->l->dims[module_find_dim(s->l->m, dim)]);
}

ProgExpr *step_block_number(Steps *s)
{
    int64_t before = stack_first(s->l->m, s->stack);
    ProgExpr *block = var(s, s->block);
    return before ? px_add(s->p, num(s, before), block) : block;
}

/* Slot `slot` of a value that has several. */
static ProgExpr *slot_of(Steps *s, const StepValue *v, ProgExpr *slot)
{
    bool literal = slot->kind == PE_INT;
    bool in_turn = v->slots == SLOTS_TURN || !s->map->keeps_stream;
    if (s->stream && !in_turn)          /* of the open micro-batch */
        return px_offset(s->p, var(s, s->stream),
                         px_mul(s->p, slot, px_const(s->p, v->slot)));
    if (literal && slot->integer == 0)
        return step_region(s, v->region);
    if (in_turn && !literal)
        slot = px_rem(s->p, slot, num(s, 2));
    return px_offset(s->p, step_region(s, v->region),
                     px_mul(s->p, slot, px_const(s->p, v->slot)));
}

/* From row `row` of a value on. */
static ProgExpr *rows_on(Steps *s, ProgExpr *from, const StepValue *v,
                         ProgExpr *row)
{
    ProgExpr *width = v->dim ? dim_size(s->l, v->dim) : num(s, v->width);
    return px_offset(s->p, from, px_mul(s->p, row, width));
}

/* Elements of what is given from axis `from` on: of one sequence, of a token.
 * Edges have rows of whole sequences. */
static ProgExpr *elements_given(Steps *s, const Type *type, int from)
{
    ProgExpr *all = num(s, 1);
    for (int i = from; i < type->rank; i++) {
        bool tokens = s->l->m->dims.at[type->dims[i]].kind == DIM_SEQUENCE;
        all = px_mul(s->p, all,
                     tokens ? px_const(s->p, s->map->sequence)
                            : dim_size(s->l, type->dims[i]));
        if (tokens && i > 1 && s->map->context > 1)
            all = px_mul(s->p, all, num(s, s->map->context));
    }
    return all;
}

/* Of a token. */
static ProgExpr *given_width(Steps *s, const char *name)
{
    Type type;
    if (!given_type(s->l->m, name, &type))
        ice("a step is given no %s", name);
    return elements_given(s, &type, 2);
}

/* All of the rank's. */
ProgExpr *step_given(Steps *s, const char *name)
{
    const char *own = arena_printf(s->l->arena, "own_%s", name);
    if (s->map->context == 1 || !find_region(s->map, own))
        return step_control(s, name);
    ProgExpr *from = step_region(s, own);
    return !strcmp(name, "nodes")
        ? from : px_cast(s->p, prog_pointer(PK_I32, false), from);
}

/* ---- of shared sequences ---- */
/* Floats, or what is as wide. */
static ProgExpr *as_floats(Steps *s, ProgExpr *pointer, bool is_const)
{
    ProgType floats = prog_pointer(PK_F32, is_const);
    return pointer->type.of == PK_F32 ? pointer
                                      : px_cast(s->p, floats, pointer);
}

/* One of what is given: the rank's rows of it; labels are the first rank's. */
static void take_input(Steps *s, ProgBlock *b, const char *name,
                       ProgVar *chunks)
{
    Prog *p = s->p;
    ProgExpr *own = step_given(s, name), *all = step_control(s, name);
    if (!strcmp(name, "labels")) {
        ProgExpr *args[] = { var(s, s->me), own, all,
                             px_const(p, s->map->batch),
                             step_control(s, "chunk") };
        step_call(s, b, prog_library(p, "take_alone"), args, 5);
        return;
    }
    ProgExpr *args[] = { var(s, s->me), as_floats(s, own, false),
                         as_floats(s, all, true), px_address(p, var(s, chunks)),
                         given_width(s, name) };
    step_call(s, b, prog_library(p, "take_chunks"), args, 5);
}

void step_take_own(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    if (s->map->context == 1)
        return;
    ProgVar *chunks = step_record(s, b, "chunks",
                                  prog_runtime_record(p, "Chunks"));
    ps_field_set(s->p, b, var(s, chunks), "batch", px_const(p, s->map->batch));
    ps_field_set(s->p, b, var(s, chunks), "tokens",
           px_div(p, px_const(p, s->map->sequence), num(s, 2)));
    ps_field_set(s->p, b, var(s, chunks), "rank", step_control(s, "chunk"));
    ps_field_set(s->p, b, var(s, chunks), "ranks", num(s, s->map->context));
    for (int i = 0; i < SHARED_INPUTS; i++)
        if (find_region(s->map, shared_inputs[i]))
            take_input(s, b, shared_inputs[i], chunks);
    step_barrier(s, b);
}

/* Of what is given, the part of this micro-batch and chunk. */
static ProgExpr *given(Steps *s, const char *name)
{
    ProgExpr *from = step_given(s, name);
    Type type;
    if (!given_type(s->l->m, name, &type))
        ice("a step is given no %s", name);
    bool row_ids = !strcmp(name, "targets") || !strcmp(name, "labels");
    if (s->first)
        from = px_offset(s->p, from, px_mul(s->p, var(s, s->first),
                                            elements_given(s, &type, 1)));
    return s->row && row_ids ? px_offset(s->p, from, var(s, s->row)) : from;
}

/* The level where this group's sums are made: the 1s of its number; or the
 * pairs that it ends: those below the lowest 0. */
ProgExpr *step_ones(Steps *s, bool trailing)
{
    return px_callv(s->p, ones_func(s->l), var(s, s->group),
                    px_i32(s->p, trailing), NULL);
}

static ProgExpr *total(Steps *s, int which)
{
    return px_offset(s->p, var(s, s->totals[which]),
                     s->group ? step_ones(s, false) : num(s, 0));
}

/* The slot that a call reads or writes. Blocks read the result of the one
 * before; backward, block l reads the gradient that l + 1 has left. What stands
 * outside of the blocks writes the first slot and reads the last, and what goes
 * on where it began stays in the first. */
static ProgExpr *slot(Steps *s, const StepValue *v, const Stmt *call,
                      bool result)
{
    Prog *p = s->p;
    bool inside = s->loop && s->loop->stack == v->stack;
    bool goes_on = false;
    for (int i = 0; i < call->results.count; i++)
        goes_on |= !strcmp(call->results.at[i], v->name);
    if (!inside && (result || (goes_on && v->slots == SLOTS_TURN)))
        return num(s, 0);
    if (!inside)
        return stack_size(s, v->stack);
    ProgExpr *block = step_chunk_block(s);
    if (v->slots == SLOTS_STREAM)
        return result ? px_add(p, block, num(s, 1)) : block;
    if (!s->down)
        return num(s, 0);
    ProgExpr *done = px_sub(p, s->stage ? step_blocks(s)
                                        : stack_size(s, v->stack),
                            result ? num(s, 0) : num(s, 1));
    return px_sub(p, done, var(s, s->block));
}

/* Logits and norms are kept of the whole batch. */
static bool is_whole(const StepValue *v)
{
    return !strcmp(v->name, "logits") || !strcmp(v->name, "norm");
}

ProgExpr *step_value(Steps *s, const StepValue *v, const Stmt *call,
                          bool result)
{
    Prog *p = s->p;
    if (s->memory && !strcmp(v->name, step_memory(s->l, s->map->step)))
        return var(s, s->memory);
    ProgExpr *from = v->slots == SLOTS_ONE
                       ? step_region(s, v->region)
                       : slot_of(s, v, slot(s, v, call, result));
    if (is_whole(v) && s->first) {
        ProgExpr *row = var(s, s->first);
        if (!v->pooled)
            row = px_mul(p, row, px_const(p, s->map->sequence));
        from = rows_on(s, from, v, row);
    }
    if (s->row)
        return rows_on(s, from, v, var(s, s->row));
    bool last =
        s->chunks && s->chunks->last && !result && !strcmp(v->name, "x");
    if (!last)
        return from;
    ProgExpr *rows = px_field(p, var(s, s->at), "rows");
    return rows_on(s, from, v, px_sub(p, rows, num(s, 1)));
}

/* A block's auxiliary losses, a sequence a float: stage by stage, in them
 * replica by replica. */
static ProgExpr *aux_at(Steps *s)
{
    ProgExpr *block = s->stage ? step_own_block(s) : step_block_number(s);
    if (s->l->mixed && s->stage)
        block = px_add(s->p, step_chunk_field(s, "held"), step_chunk_block(s));
    ProgExpr *from = px_mul(s->p, block, px_const(s->p, s->map->batch));
    if (s->first)
        from = px_add(s->p, from, var(s, s->first));
    from = px_add(s->p, step_rank_aux(s), from);
    return px_offset(s->p, step_region(s, "aux"), from);
}

ProgExpr *step_place(Steps *s, const char *name, const Stmt *call,
                          bool result)
{
    const StepValue *v = find_value(s->map, name);
    Type type;
    if (step_total(name) >= 0)
        return total(s, step_total(name));
    if (!strcmp(name, "aux"))
        return aux_at(s);
    if (v)
        return step_value(s, v, call, result);
    if (given_type(s->l->m, name, &type))
        return given(s, name);
    return px_field(s->p, var(s, s->w[s->stack]), c_name(s->l, name));
}
