/* stacks.c: an encoder-decoder on the stages of a pipeline: chunks of the model
 * before DECODER, of one chunk a stage the stages, have blocks of the encoder,
 * the others of the decoder. Rows of the encoder go down to its last chunk;
 * what that ends with, memory, goes with the rows of x from chunk to chunk of
 * the decoder, whose blocks all read it. Its gradient, which they sum from the
 * last one on, goes back the same way, and in the encoder's last chunk becomes
 * the gradient of its rows. */
#include "steps.h"

/* Statements of a micro-batch, and which way it goes through them. */
typedef struct Way {
    Steps *s;
    const Stmt *const *body;
    int count;
    bool down;
} Way;

/* The loop over a stack's blocks; count: the step has none. */
static int find_repeat(const Way *w, int stack, bool down)
{
    for (int i = 0; i < w->count; i++)
        if (w->body[i]->kind == STEP_REPEAT && w->body[i]->down == down
            && w->body[i]->stack == stack)
            return i;
    return w->count;
}

static const Stmt *blocks_of(const Way *w, int stack)
{
    int found = find_repeat(w, stack, w->down);
    if (found == w->count)
        ice("%s has no blocks of stack %d", w->s->map->step->name, stack);
    return w->body[found];
}

/* What stands outside blocks and is the part's. */
static void lower_part(const Way *w, ProgBlock *b, PartOf part)
{
    int from = w->down ? find_repeat(w, 1, true) : 0;
    int to = w->down ? w->count : find_repeat(w, 1, false);
    for (int i = from; i < to; i++)
        if (w->body[i]->kind == STEP_CALL && part_of(w->body[i]->func) == part)
            step_statement(w->s, b, w->body[i]);
}

/* What stands between the decoder's blocks forward and backward. */
static void lower_heads(const Way *w, ProgBlock *b)
{
    int to = find_repeat(w, 1, true);
    for (int i = find_repeat(w, 1, false) + 1; i < to; i++)
        step_statement(w->s, b, w->body[i]);
}

/* Where memory lies that a stage gives or has got, or its gradient. */
static ProgExpr *memory_at(const Way *w)
{
    const char *name = step_memory(w->s->l, w->s->map->step);
    const Stmt outside = { .kind = STEP_CALL };
    if (w->down)
        name = arena_printf(w->s->l->arena, "d%s", name);
    return step_place(w->s, name, &outside, w->down);
}

/* A micro-batch's memory, until it has been backward. */
static void open_memory(Steps *s, ProgBlock *b)
{
    ProgExpr *at = step_region(s, s->l->mixed ? "kept_memory" : "memory");
    ProgExpr *slot = s->slot ? var(s, s->slot) : NULL;
    if (slot && s->l->mixed)    /* behind those of the stage's chunks before */
        slot = px_add(s->p, step_chunk_field(s, "memories"), slot);
    if (slot)
        at = px_offset(s->p, at,
                       px_mul(s->p, slot,
                              px_const(s->p, find_value(s->map, "x")->slot)));
    s->memory = step_let(s, b, "memory", at);
}

/* Where one of a stack's stages (chunks of the model) is apart, and where its
 * others are; b and NULL if it is the only one. */
typedef struct Apart { ProgBlock *own, *others; } Apart;

static Apart apart(const Way *w, ProgBlock *b, int stack, int number)
{
    const Lower *l = w->s->l;
    Apart to = { .own = b };
    if ((stack ? last_number(l) + 1 - l->decoder : l->decoder) > 1)
        to.own = ps_if(w->s->p, b, step_is_chunk(w->s, number), &to.others);
    return to;
}

static void receive_x(const Way *w, ProgBlock *b, int stack)
{
    if (b)
        step_receive(w->s, b, ROWS_X, w->down,
                     step_stream(w->s, blocks_of(w, stack), false));
}

static void send_x(const Way *w, ProgBlock *b, int stack)
{
    if (b)
        step_send(w->s, b, ROWS_X, w->down,
                  step_stream(w->s, blocks_of(w, stack), true));
}

static void receive_memory(const Way *w, ProgBlock *b)
{
    if (b)
        step_receive(w->s, b, ROWS_MEMORY, w->down, memory_at(w));
}

static void send_memory(const Way *w, ProgBlock *b)
{
    if (b)
        step_send(w->s, b, ROWS_MEMORY, w->down, memory_at(w));
}

static void lower_encoder(const Way *w, ProgBlock *b)
{
    Steps *s = w->s;
    PartOf begin = w->down ? PART_MEMORY : PART_FIRST;
    PartOf end = w->down ? PART_FIRST : PART_MEMORY;
    step_set_out(s, b, blocks_of(w, 0));
    Apart to = apart(w, b, 0, part_number(s->l, begin));
    if (w->down)
        receive_memory(w, to.own);
    lower_part(w, to.own, begin);
    receive_x(w, to.others, 0);
    step_statement(s, b, blocks_of(w, 0));
    to = apart(w, b, 0, part_number(s->l, end));
    lower_part(w, to.own, end);
    if (!w->down)
        send_memory(w, to.own);
    send_x(w, to.others, 0);
}

static void lower_decoder_forward(const Way *w, ProgBlock *b)
{
    Steps *s = w->s;
    step_set_out(s, b, blocks_of(w, 1));
    Apart to = apart(w, b, 1, s->l->decoder);
    lower_part(w, to.own, PART_DECODER);
    receive_x(w, to.others, 1);
    receive_memory(w, b);
    step_statement(s, b, blocks_of(w, 1));
    if (find_repeat(w, 1, true) == w->count) {          /* evaluation */
        to = apart(w, b, 1, last_number(s->l));
        lower_heads(w, to.own);
    } else if (to.others) {
        ProgExpr *last = step_is_chunk(s, last_number(s->l));
        to.others = ps_if(s->p, b, px_ne(s->p, last->a, last->b), NULL);
    }
    send_x(w, to.others, 1);
    send_memory(w, to.others);
}

static void lower_decoder_backward(const Way *w, ProgBlock *b)
{
    Steps *s = w->s;
    step_set_out(s, b, blocks_of(w, 1));
    Apart to = apart(w, b, 1, last_number(s->l));
    lower_heads(w, to.own);
    receive_x(w, to.others, 1);
    receive_memory(w, to.others);
    step_statement(s, b, blocks_of(w, 1));
    to = apart(w, b, 1, s->l->decoder);
    lower_part(w, to.own, PART_DECODER);
    send_x(w, to.others, 1);
    send_memory(w, b);
}

/* What a stage with blocks of the stack keeps of the micro-batch. */
static void open_stack(const Way *w, ProgBlock *b, int stack)
{
    Steps *s = w->s;
    if (s->slot)
        step_open_slot(s, b, stack);
    if (stack)
        open_memory(s, b);
    if (w->down)
        step_open_pending(s, b, stack);
}

static void close_stack(Steps *s)
{
    s->stream = s->records = s->pending = s->memory = NULL;
}

/* Where blocks of the encoder are apart, and the decoder's. */
static Apart part_stacks(Steps *s, ProgBlock *b)
{
    Apart stacks;
    stacks.own = ps_if(s->p, b, step_is_encoder(s), &stacks.others);
    return stacks;
}

void step_stacks(Steps *s, ProgBlock *b, const Stmt *const *body, int count,
                 bool down)
{
    const Way way = { s, body, count, down };
    Apart stacks = part_stacks(s, b);
    open_stack(&way, stacks.own, 0);
    lower_encoder(&way, stacks.own);
    close_stack(s);
    open_stack(&way, stacks.others, 1);
    if (down)
        lower_decoder_backward(&way, stacks.others);
    else
        lower_decoder_forward(&way, stacks.others);
    close_stack(s);
}

void step_stack_weights(Steps *s, ProgBlock *b, const Stmt *const *body,
                        int count)
{
    const Way way = { s, body, count, true };
    Apart stacks = part_stacks(s, b);
    for (int stack = 0; stack < 2; stack++) {
        ProgBlock *own = stack ? stacks.others : stacks.own;
        open_stack(&way, own, stack);
        step_statement(s, own, body[find_repeat(&way, stack, true) + 1]);
        close_stack(s);
    }
}
