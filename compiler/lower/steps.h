/* steps.h: shared by steps.c (a step's loops and calls), norms.c (the gradient
 * norm), update.c and small.c (functions that steps call). */
#ifndef STEPS_H
#define STEPS_H
#include "lowering.h"

/* The function of a step while it is written: its variables, by what they
 * hold. */
typedef struct Steps {
    Lower *l;
    Prog *p;
    const StepMap *map;
    ProgFunc *func;
    ProgVar *me, *control, *shared, *at, *head;
    ProgVar *w[2], *dw[2];          /* by stack */
    ProgVar *dshared[MOST_SITES];   /* by use; NULL: no parameter has so many */
    ProgVar *values, *gradients, *totals[STEP_TOTALS], *count, *labels;
    ProgVar *stage, *place;         /* rows of the tables; NULL: no stages */
    ProgVar *run, *slot, *stream, *records, *pending;       /* of the open
                                                               micro-batch */
    ProgVar *memory;                /* its, on a stage of a decoder */
    ProgVar *model_chunk;           /* open row of the table of chunks; NULL: a
                                       stage's blocks are one chunk, or none is
                                       open */
    ProgVar *norms, *next_norm;     /* of all ranks; the place of the next */
    ProgVar *shared_totals[STEP_TOTALS];    /* the last stage's, on all */
    ProgVar *micro, *group, *block, *first;
    ProgVar *own;                   /* the open block among the stage's, or
                                       those of its open chunk; NULL: there are
                                       no stages */
    ProgVar *row;                   /* of the head's open chunk the first */
    const Stmt *chunks, *loop;      /* that are open */
    ProgVar *norm, *applied, *clip_scale, *loss_value, *aux;
    ProgVar *moments[2],
        *block_moments[2][2];       /* in the update; by stack, moment */
    ProgVar *share_begins[MOST_UNITS], *share_gradients[MOST_UNITS];
    int stack;                      /* of the loop over blocks, or 0 */
    ProgVar *gathered[2];           /* a Gathered, by stack; NULL: no block
                                       stays where it was gathered */
    ProgVar *whole[2];              /* overlap: false: the block that stays */
    const Stmt *ahead;              /* the loop whose first block has set out */
    const Stmt *passed[2];          /* the last loop written, by stack */
    const char *mask;               /* the update's open `if`: frozen_blocks, */
    ProgBlock *masked;              /* its body, */
    const ProgBlock *masked_in;     /* which stands in this */
    bool down;                      /* in the loop over blocks, from the last */
    int64_t runs;                   /* in a step, of what is written: a rank's
                                       groups and micro-batches, where open */
} Steps;

static inline ProgExpr *var(Steps *s, const ProgVar *v)
{
    return px_var(s->p, v);
}
static inline ProgExpr *num(Steps *s, int64_t n) { return px_int(s->p, n); }


/* control->NAME */
ProgExpr *step_control(Steps *s, const char *name);
/* values + where the region begins */
ProgExpr *step_region(Steps *s, const char *name);
/* A new variable of that value. */
ProgVar *step_let(Steps *s, ProgBlock *b, const char *name, ProgExpr *value);
void step_call(Steps *s, ProgBlock *b, const ProgFunc *f,
               ProgExpr *const *args, int count);
void step_barrier(Steps *s, ProgBlock *b);
/* In train: note_forward(me, run), note_backward(me, run); note_update(me),
 * without a run. */
void step_note(Steps *s, ProgBlock *b, const char *note, ProgExpr *run);

/* A new Shared or Block, and the call that points it at what lies from
 * `base`. */
ProgVar *step_record(Steps *s, ProgBlock *b, const char *name,
                     const ProgRecord *record);
void step_point(Steps *s, ProgBlock *b, const ProgFunc *f, ProgVar *record,
                ProgExpr *base);
/* The same for a Shared, of the whole or of the rank's stage. */
void step_point_shared(Steps *s, ProgBlock *b, const ProgFunc *whole,
                       const ProgFunc *staged, ProgVar *record, ProgExpr *base);
/* w and dw of s->stack at those of block s->block; dw alone. */
void step_point_at_block(Steps *s, ProgBlock *b);
void step_point_at_sums(Steps *s, ProgBlock *b);
/* Floats from the start of gradients or a moment to those of s->block. */
ProgExpr *step_gradient_block(Steps *s);
ProgExpr *step_blocks(Steps *s);                /* L, of s->stack */
ProgExpr *step_first_block(Steps *s);           /* 0, or the stage's */
/* The number of the open block among those that the rank has. */
ProgExpr *step_own_block(Steps *s);
/* … among those that a micro-batch goes through one after the other: of the
 * open chunk, where a stage has several. */
ProgExpr *step_chunk_block(Steps *s);
/* Gives that number a name in the body of a loop over blocks. */
void step_count_blocks(Steps *s, ProgBlock *body);
/* from, to, count or slots of the stage, or of its open chunk. */
ProgExpr *step_chunk_field(Steps *s, const char *field);
/* A loop over the blocks of a stack that the rank has (s->block), chunk by
 * chunk; and its end. Of stack -1 there are none: b itself. */
ProgBlock *step_each_block(Steps *s, ProgBlock *b, int stack);
void step_end_blocks(Steps *s);
/* A loop over the rank's chunks, each opened in turn; b itself where there is
 * one, or one is open. */
ProgBlock *step_each_chunk(Steps *s, ProgBlock *b, ProgVar **number);
/* A number of the first block of s->stack, counted through all stacks. */
ProgExpr *step_block_number(Steps *s);

/* places.c */
/* What is given by that name: of shared sequences the rank's tokens. */
ProgExpr *step_given(Steps *s, const char *name);
/* Of whole sequences the rank takes its tokens. */
void step_take_own(Steps *s, ProgBlock *b);
/* Where a call takes an argument, or leaves a result, of this name. */
ProgExpr *step_place(Steps *s, const char *name, const Stmt *call, bool result);
ProgExpr *step_value(Steps *s, const StepValue *v, const Stmt *call,
                     bool result);
/* The level where this group's sums are made: the 1s of its number; or the
 * pairs that it ends: those below the lowest 0. */
ProgExpr *step_ones(Steps *s, bool trailing);
/* ranks.c: nothing, where the step's batch is one rank's */
/* Σ over ranks of a count, which is then the whole batch's. */
ProgExpr *step_sum_count(Steps *s, ProgExpr *count, const char *what);
bool step_sums_counts(const Steps *s);
/* The ranks' gradients and sums of losses become the batch's. */
void step_sum_ranks(Steps *s, ProgBlock *b);
void step_sum_context(Steps *s, ProgBlock *b);
void step_share_totals(Steps *s, ProgBlock *b);
/* All stages get the last one's sums of sequences. */
void step_share_sums(Steps *s, ProgBlock *b);
int64_t step_aux_blocks(const Steps *s);
/* Floats before this rank's auxiliary losses. */
ProgExpr *step_rank_aux(Steps *s);
/* Every rank gets the auxiliary losses of all. */
void step_gather_aux(Steps *s, ProgBlock *b);
/* Two stages tell each other what they have summed of a weight, or one tells
 * the other `sum`: it is then in the region "received". An exchange gives the
 * block of both. */
ProgBlock *step_exchange(Steps *s, ProgBlock *b, int weight, int one,
                         int other);
void step_send_sum(Steps *s, ProgBlock *b, int weight, int from, int to,
                   ProgExpr *sum);
void step_gather_norms(Steps *s, ProgBlock *b, ProgExpr *norms);
/* The axis of all ranks that share a batch: those of each context as well. */
const char *replicas_axis(const Lower *l);
/* The message of that name over the ranks of an axis, and where it is from. */
Talk *find_talk(Lower *l, const char *name, const char *axis, Loc from);
/* A stage's ranks make so many calls of a message, each of so many bytes, in
 * this step: what a train step does is foretold. Of nothing there is no call:
 * it is made where n > 0, which so many stages have; NULL: none has. */
ProgBlock *step_where_some(Steps *s, ProgBlock *b, int stages, ProgExpr *n);
void foretell(const Steps *s, Talk *talk, int stage, int64_t calls,
              int64_t bytes);
/* slices.c: what each of several ranks has of weights. */
void step_sum_partial(Steps *s, ProgBlock *b);
void step_sum_block_parts(Steps *s, ProgBlock *b);      /* of the open block */
/* Which of Lower.slices parts of the norms is the rank's; all get all. */
ProgExpr *step_slice(Steps *s);
void step_gather_slices(Steps *s, ProgBlock *b, ProgExpr *norms);
/* Is it the rank that makes the weight's norms, of those that have it? NULL:
 * each has a part of its own. */
ProgExpr *step_counts_norms(Steps *s, const Weight *w);
/* apart.c: gradients' sums, where ranks share the experts. */
void step_sum_apart(Steps *s, ProgBlock *b);
/* ranks.c: rows of x to the next stage, or of dx to the one before; of a
 * decoder's stages also of memory and its gradient. */
void step_send(Steps *s, ProgBlock *b, Rows of, bool down, ProgExpr *rows);
void step_receive(Steps *s, ProgBlock *b, Rows of, bool down, ProgExpr *rows);

/* pipeline.c: a step that runs on stages */
/* Has it the model's first blocks, or the last? */
ProgExpr *step_is_first(Steps *s);
ProgExpr *step_is_last(Steps *s);
/* The same of its open chunk. */
ProgExpr *step_begins(Steps *s);
ProgExpr *step_ends(Steps *s);
/* The row of the table of chunks of number `chunk` of stage `stage`. */
ProgExpr *step_chunk_row_at(Steps *s, ProgExpr *stage, ProgExpr *chunk);
ProgExpr *step_last_stage(Steps *s);            /* STAGES - 1 */
ProgExpr *step_stage_field(Steps *s, const char *field);
/* The same of the open stack, where stages have both. */
ProgExpr *step_stack_field(Steps *s, const char *field);
/* Where the stage's blocks of a stack begin among its parameters. */
ProgExpr *step_stage_blocks(Steps *s, int stack);
int64_t step_row_width(const Steps *s);         /* C */
ProgExpr *step_row_floats(Steps *s);            /* of a micro-batch's rows */
void open_stage(Steps *s, ProgBlock *b);
/* Is the rank's stage this one? */
ProgExpr *step_is_stage(Steps *s, int stage);
/* Is its open chunk of the model, or its only one, this one? */
ProgExpr *step_is_chunk(Steps *s, int number);
/* Has it blocks of the encoder? */
ProgExpr *step_is_encoder(Steps *s);
/* Where the stages are that have a weight outside blocks. */
ProgBlock *step_on_stages(Steps *s, ProgBlock *b, int weight);
/* Inputs of blocks and records of the open micro-batch. */
void step_open_slot(Steps *s, ProgBlock *b, int stack);
/* What its backward leaves for the weights, where it is cut. */
void step_open_pending(Steps *s, ProgBlock *b, int stack);
/* Where the rows of a stream that come from outside begin, or, behind its
 * blocks, those that go out. */
ProgExpr *step_stream(Steps *s, const Stmt *repeat, bool behind);
/* stacks.c: the same of an encoder-decoder. A micro-batch's way through the
 * stage's blocks, forward or backward, of the statements of its body. */
void step_stacks(Steps *s, ProgBlock *b, const Stmt *const *body, int count,
                 bool down);
void step_stack_weights(Steps *s, ProgBlock *b, const Stmt *const *body,
                        int count);
/* The table of actions, which stands before the step. */
void lower_actions(Lower *l, const Step *step);
/* In place of the loops over groups and micro-batches. */
void step_pipeline(Steps *s, ProgBlock *b, const Stmt *groups);
/* The whole of a step that only goes forward. */
void step_forward_stages(Steps *s, ProgBlock *b);

/* steps.c, for it */
void step_statement(Steps *s, ProgBlock *b, const Stmt *stmt);
void step_point_at_gradients(Steps *s, ProgBlock *b);
/* Which sums of the group are complete. */
typedef enum Merged { MERGE_ALL, MERGE_OUTSIDE, MERGE_BLOCKS } Merged;
void step_merge_groups(Steps *s, ProgBlock *b, Merged what);
/* Sums of parameters that several functions use. */
void step_sum_sites(Steps *s, ProgBlock *b);
ProgExpr *step_gradient_floats(Steps *s);       /* GRADIENTS */
void step_set_call(Steps *s, ProgBlock *b, const char *field, ProgExpr *value);
void step_set_first(Steps *s, ProgBlock *b, ProgExpr *run);

/* update.c */
/* What the step has summed of a total. */
ProgExpr *step_total_sum(Steps *s, int total);
void step_finish_loss(Steps *s, ProgBlock *b);
void step_update(Steps *s, ProgBlock *b);
/* What is done with every trained tensor. Before those of a part, or of a block
 * (PART_BLOCKS), stands what begin says, unless it is NULL. With `updates` a
 * tied weight is visited on each of its stages, else on the first. */
typedef struct TensorWalk {
    void (*rule)(Steps *s, ProgBlock *b, int weight);
    void (*begin)(Steps *s, ProgBlock *b, PartOf part);
    bool updates;
} TensorWalk;
/* Tensors in checkpoint order; a stack's blocks where the first of their
 * weights stands. */
void step_each_tensor(Steps *s, ProgBlock *b, const TensorWalk *walk);
/* Of a Shared or of a Block the field that is w's. */
ProgExpr *step_tensor(Steps *s, const Weight *w, ProgVar *shared,
                      ProgVar *block);

/* norms.c */
void step_norm(Steps *s, ProgBlock *b);

/* Whether the open block's copy of w is trained, where some are not. */
ProgExpr *step_trains(Steps *s, const Weight *w);
/* The argument of an update that is no pointer; the update's kernel. */
ProgExpr *update_argument(Steps *s, const KernelArg *arg, int weight);
const KernelCode *update_code(Steps *s);

/* shards.c: units, and where a rank's shares of them lie */
int64_t kept_shares(const Lower *l);    /* floats of blocks' gradients kept */
bool in_unit(const Lower *l, const Unit *unit, int weight);
const Unit *block_unit(const Lower *l, int stack);
/* The rank's: 0 … SHARDS - 1, of experts 0 … EXPERT_SHARDS - 1. */
ProgExpr *step_share_number(Steps *s, const Unit *unit);
ProgExpr *step_share(Steps *s, const Unit *unit);           /* its floats */
ProgExpr *step_unit_begin(Steps *s, const Unit *unit);      /* among weights */
ProgExpr *step_whole_moment(Steps *s);  /* floats of a moment, of all ranks */
ProgExpr *step_moment_share(Steps *s);  /* of one rank's */
/* Before the unit's in what has nothing but shares; the share, at `base` of
 * such. */
ProgExpr *step_packed_begin(Steps *s, const Unit *unit);
ProgExpr *step_packed_share(Steps *s, const Unit *unit, ProgExpr *base);
ProgExpr *step_weight_share(Steps *s, const Unit *unit);
ProgExpr *step_gradient_share(Steps *s, const Unit *unit);
/* The index of a message about a unit: a step has so many calls on each stage,
 * or `times` one of each of the unit's blocks. */
ProgExpr *step_unit_calls(Steps *s, const char *name, int kind,
                          const Unit *unit, const int64_t *calls);
ProgExpr *step_unit_message(Steps *s, const char *name, int kind,
                            const Unit *unit, int64_t times);
/* Where it has parameters; NULL: on no stage. */
ProgBlock *step_where_unit(Steps *s, ProgBlock *b, const Unit *unit);
void step_reduce_shards(Steps *s, ProgBlock *b);
void step_keep_share(Steps *s, ProgBlock *b);
ProgFunc *copy_func(Lower *l);

/* owned.c */
void step_shard_norms(Steps *s, ProgBlock *b, const ProgVar *all,
                      const ProgVar *ordered);
void step_update_shares(Steps *s, ProgBlock *b);

/* gather.c */
void step_gather_weights(Steps *s, ProgBlock *b);
void step_gather_gradients(Steps *s, ProgBlock *b);
void step_gather_shared(Steps *s, ProgBlock *b);
/* The variables that say which blocks lie gathered. */
void step_track_blocks(Steps *s, ProgBlock *b);
/* gather_count.c: their messages. */
void step_foretell_gathers(Steps *s);
/* gather.c again */
/* The first block of a loop sets out, before what stands in front of it. */
void step_set_out(Steps *s, ProgBlock *b, const Stmt *loop);
/* … and each arrives; points at it. */
void step_gather_block(Steps *s, ProgBlock *b, const Stmt *loop);
void step_leave_shares(Steps *s, ProgBlock *b);
int64_t gathered_floats(const Lower *l, const Unit *unit, int stage);
/* How many there are on a stage; -1: on the one that has the most. */
int64_t gathered_places(const Lower *l, const Unit *unit, int stage);
/* The most of a stack's blocks, for code that all stages run. */
int64_t stack_places(const Lower *l, int stack);
/* Does a loop gather its blocks, and not what is made of their weights? */
bool gathers_blocks(Lower *l, const Stmt *loop);
bool makes_derived(const Module *m, const Func *f);
const char *gathered_region(const Lower *l, const Unit *unit);
void write_gathering(Lower *l);
/* ranks.c: the index of a message that a stage's ranks make so many calls of in
 * a step, each of so many bytes: of those that split units, or the same
 * experts; of those with the same shares (a sum), or the same shares of the
 * same experts; of all replicas (a sum, once). */
ProgExpr *step_shard_message(Steps *s, const char *name, int kind, int stage,
                             int64_t bytes, int64_t calls);
ProgExpr *step_experts_message(Steps *s, const char *name, int kind, int stage,
                               int64_t bytes, int64_t calls);
ProgExpr *step_expert_copies_message(Steps *s, const char *name, int stage,
                                     int64_t bytes, int64_t calls);
ProgExpr *step_copies_message(Steps *s, const char *name, int stage,
                              int64_t bytes, int64_t calls);
ProgExpr *step_replicas_message(Steps *s, const char *name, int stage,
                                int64_t bytes);

/* small.c: written at their first use */
ProgFunc *small_func(const Prog *p, const char *name);      /* NULL: not yet */
/* A local: where this thread's share of n / 16 blocks begins (name "start") or
 * ends ("end"). */
ProgVar *small_share(Prog *p, ProgFunc *f, const char *name, ProgVar *me,
                     ProgVar *n);
ProgFunc *count_scored_func(Lower *l);
ProgFunc *count_pairs_func(Lower *l);
ProgFunc *clear_func(Lower *l);
ProgFunc *add_into_func(Lower *l);
ProgFunc *ones_func(Lower *l);
#endif
