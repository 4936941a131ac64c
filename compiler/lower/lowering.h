/* lowering.h: what the parts of the lowering share. The lowering turns a placed
 * Module into a Prog: rows.c and columns.c write a function for every generated
 * kernel, calls.c one for every function of the module (a list of kernel calls
 * with barriers between), steps.c one for every step, map.c decides where a
 * program's values lie, describe.c writes the program's description for the
 * runtime. */
#ifndef LOWERING_H
#define LOWERING_H
#include "../../ir/ir.h"
#include "../../ir/prog_make.h"
#include "lower.h"

/* What a kernel's function wants, in the order of its parameters. */
typedef enum ArgKind {
    ARG_THREAD,  /* const Thread *me */
    ARG_CALL,    /* const Call *at */
    ARG_CONTROL, /* const Control *control: the update's */
    ARG_VALUE,   /* where a value lies */
    ARG_SCALAR,  /* a step scalar */
    ARG_ROWS,    /* long rows: tokens, or sequences where those are its rows */
    ARG_BEGIN,   /* int accumulate: sums go on from what is there */
} ArgKind;
typedef struct KernelArg { ArgKind kind; Value *value; } KernelArg;
typedef struct KernelCode {
    const ProgFunc *func;
    List(KernelArg) args;
} KernelCode;

/* A function of the module, lowered. */
typedef struct FuncCode {
    const Func *func;
    ProgFunc *code;
    int stack;                  /* of the blocks it reads or sums; -1: none */
    bool uses_saved, uses_pending, uses_frame, uses_cache, uses_block,
        uses_shared;
    bool sums_block, sums_shared;
    KernelCode update;          /* of `update`, which is one kernel */
    /* parameters of forward that backward reads where they lie */
    List(Value *) saved_params;
} FuncCode;

/* Where the blocks of a stack lie, in floats, and how emitted code says so. */
typedef struct StackLayout {
    ProgRecord *record;             /* a block's parameters */
    int64_t at, floats;             /* weights of block 0; of one block */
    int64_t gradient_at, gradient_floats;
    int64_t experts_at;             /* in a block: those that ranks share out */
    const ProgConst *at_const, *floats_const, *gradient_at_const,
        *gradient_floats_const;
    ProgFunc *weights, *sums;       /* point a record at a block's */
} StackLayout;

/* Where things lie in the memory of one stage, in floats; by weight, of those
 * outside blocks; -1: the stage has none. */
typedef struct PartLayout {
    int64_t *weight_at, *site_at[MOST_SITES];
    int64_t blocks_at, gradient_blocks_at;  /* of its first stack; by stack: */
    int64_t stack_at[2], gradient_stack_at[2];
    /* units, where replicas split them: between its blocks of both stacks, and
     * behind all */
    int64_t between_at, between_floats, behind_at, behind_floats;
    int64_t weight_floats, moment_floats, gradient_floats;
} PartLayout;

/* Blocks and experts of two stacks, what is before, between and behind them. */
enum { MOST_UNITS = 7 };

/* What replicas split between them in equal shares, each a whole number of
 * blocks of 1024 floats: the parameters outside blocks that stand side by side,
 * or a block's; apart from them its experts, of which few ranks have the same.
 * Weights and gradients of a unit lie alike. */
typedef struct Unit {
    int stack;                      /* whose blocks; -1: outside */
    bool experts;                   /* of which a rank has its part */
    int64_t shards;                 /* ranks that have a share each */
    int64_t at, floats;             /* of block 0; of one */
    int64_t gradient_at; /* the same, but early one serves all blocks */
    const char *name;               /* "before", "block", "between" … */
    const ProgConst *at_const, *share;      /* floats of one share */
    const ProgConst *gradient_const;        /* outside blocks */
    const ProgConst *gathered;      /* all shares of one, for which two places
                                       are in turn */
    int64_t packed;                 /* where a rank's begin among its shares */
    const ProgConst *packed_const;  /* NULL: at at_const / SHARDS */
    int64_t norms;                  /* before its own, of one rank's */
} Unit;

/* Which stages run a function. */
typedef enum PartOf {
    PART_FIRST,                 /* the first stage embeds */
    PART_BLOCKS,
    PART_MEMORY,                /* what the encoder's last stage ends with */
    PART_DECODER,               /* the decoder's first stage embeds */
    PART_LAST,                  /* heads */
} PartOf;

/* What ranks say to each other (runtime/program.def, Message). */
typedef struct Talk {
    const char *name, *axis;
    Loc from;                       /* the line that asks for it */
    const ProgConst *index;         /* SUM_GRADIENTS */
    int64_t *calls, *bytes;         /* of a rank, in a train step; by stage */
    bool at_most;                   /* bytes: data decides how many */
} Talk;

/* Numbers of blocks of 1024 in the gradient norm (norms.c). */
typedef struct NormConsts {
    const ProgConst *all, *stage, *slice, *block[2], *decoder;
    const ProgConst *share, *expert_share;      /* where ranks own shares */
} NormConsts;

typedef struct Lower {
    const Module *m;
    const LowerInfo *info;
    Prog *p;
    Arena *arena;
    ProgConst **dims;           /* by dim; NULL for those that a step sets */
    ProgRecord *shared;             /* parameters outside blocks */
    ProgRecord *call;               /* where a call stands in the batch */
    List(FuncCode) funcs;
    /* by weight, in floats; of one in a block: from the block's start. Sums of
     * uses: site 0 is the gradient itself; -1: there is none */
    int64_t *weight_at, *site_at[MOST_SITES];
    StackLayout stacks[2];
    int64_t weight_floats;          /* of all parameters and tables */
    int64_t moment_floats;          /* of one moment of all parameters */
    int64_t gradient_floats; /* of all gradients, each use's apart */
    const ProgConst *gradients_const, *moment_const;
    /* functions that point a Shared at weights or at a use's gradients */
    ProgFunc *shared_weights, *shared_sums[MOST_SITES];
    bool trains;                    /* there are gradients at all */
    int64_t slices;                 /* ranks of which each has its part of some
                                       weights: tensor's times the experts' */
    bool early;                     /* a block's gradient leaves at once */
    int64_t shards;                 /* ranks that split units; 1: none do */
    int64_t expert_shards;          /* ranks that split the same experts */
    int64_t copies;                 /* ranks with the same shares */
    int64_t expert_copies;          /* … of the same experts */
    int64_t share_floats;           /* of one moment that a rank has */
    const ProgConst *share_floats_const;    /* NULL: MOMENT / SHARDS */
    const ProgConst *experts_const[2];  /* by stack: experts_at */
    List(Unit) units;
    NormConsts norms;
    ProgFunc *gathered_weights;     /* points a Shared at gathered units */
    ProgRecord *gathered;           /* blocks in their places (gather.c) */
    const ProgConst *shards_const, *expert_shards_const, *further_const;
    const ProgConst **offsets;      /* by weight: in its unit */
    int stages; /* of the pipeline; 1: what follows is NULL */
    PartLayout *parts;              /* by stage */
    ProgRecord *stage;              /* a row of the table of stages */
    ProgData *stage_data;
    ProgFunc *stage_weights, *stage_sums[MOST_SITES];
    const ProgConst *stage_count, *action_count;
    int decoder;                /* of an encoder-decoder: the first chunk of the
                                   model (of one chunk a stage: the first stage)
                                   with blocks of the decoder; 0: there is one
                                   stack */
    bool mixed;                 /* stages have chunks of both stacks */
    const ProgConst *decoder_const;
    const ProgConst *action_kinds[ACTION_KINDS];    /* WEIGHTS: where backward
                                                       is cut */
    bool halves;                    /* backward is cut: weights come later */
    int chunks;                     /* of the model, a stage's; 1: what follows
                                       is NULL */
    ProgRecord *chunk;              /* a row of the table of chunks */
    ProgData *chunk_data;           /* all of stage 0 first */
    const ProgConst *chunk_count;
    ProgData *actions;              /* what stages do, all of stage 0 first */
    List(Talk *) talks;         /* found by name; they stay where they are */
    int talk_constants;             /* the group of their names */
} Lower;

/* names.c */
/* "attn.q" -> attn_q, "d.attn.q" -> dattn_q */
const char *c_name(const Lower *l, const char *dotted);
/* "norm1.mean" -> mean; a number at the end goes first */
const char *last_part(const Lower *l, const char *dotted);
/* Without the number at its end, which only makes a name unique. */
const char *name_stem(const Lower *l, const char *dotted);
ProgType value_pointer(const Value *v, bool is_const);
ProgExpr *dim_size(Lower *l, int dim);
/* All elements of a type without rows: V * C. */
ProgExpr *elements_of(Lower *l, const Type *type);
/* Elements of the last axis. */
ProgExpr *width_of(Lower *l, const Type *type);
const char *shape_comment(const Lower *l, const Type *type);
/* "spec.yaml:11" or "" */
const char *where(const Lower *l, const Origin *origin);

/* small.c: long chunk_position(const Call *at, long t): where token t of a
 * rank's stands in its sequence, which the ranks of the context share. */
ProgFunc *chunk_position_func(Lower *l);
/* generate.c, rows.c, columns.c, flat.c: a kernel's function */
KernelCode lower_kernel(Lower *l, const Func *f, int kernel);

/* layout.c */
void lower_records(Lower *l);
/* "BLOCKS", of two stacks "ENCODER_BLOCKS". */
const char *stack_name(const Lower *l, int stack, const char *name);
/* How often a tensor rank's part of a weight goes into the whole; rows that are
 * in no file do not count. */
double weight_parts(const Lower *l, const Value *w);
/* shards.c */
void name_units(Lower *l);
int64_t unit_share(const Unit *unit);
const Unit *unit_of(const Lower *l, int weight);    /* NULL: of none */
/* Has a stage parameters between its blocks of both stacks? */
bool has_between(const Lower *l);
/* Do its ranks keep shares of weights, and gather them? */
bool gathers(const Lower *l, const Step *step);
/* Where it begins, and a rank's share of it; in a part, or -1: in the whole. */
int64_t part_unit_at(const Lower *l, const Unit *unit, int part);
int64_t part_unit_share(const Lower *l, const Unit *unit, int part);
/* Blocks of 1024 that a rank owns, but of experts; of them. */
int64_t shard_norms(const Lower *l);
int64_t expert_norms(const Lower *l);
int64_t all_share_norms(const Lower *l);    /* … that all who split them own */
int64_t part_unit_packed(const Lower *l, const Unit *unit, int part);
int64_t part_share_floats(const Lower *l, int part);
/* Where the share of what stands behind a stage's blocks begins in a rank's. */
int64_t part_behind_packed(const Lower *l, int stage);
/* … that all ranks own of the chunk of the model that has the most. */
int64_t shard_norm_room(const Lower *l);
/* parts.c */
void place_parts(Lower *l);         /* after the layout of the whole */
void name_parts(Lower *l);
/* The fields of Stage that say where a gradient of its use `site` lies, or
 * blocks do: where they lie among gradients as among parameters one serves. */
const char *stage_gradient_field(const Lower *l, int weight, int site);
const char *stage_blocks_field(const Lower *l, const char *field);
PartOf part_of(const Func *f);
bool func_on_stage(const Lower *l, const Func *f, int stage);
/* The chunk of the model, counted through stages, that has the functions of a
 * part outside blocks, and its stage. */
int part_number(const Lower *l, PartOf part);
int part_stage(const Lower *l, PartOf part);
int last_number(const Lower *l);
bool part_uses(const Lower *l, PartOf part, int weight);
/* Does its forward leave a record for a backward that comes later? */
bool part_waits(PartOf part);
int64_t part_blocks(const Lower *l, int stage);
/* The stack whose blocks the stage has, or its first chunk. */
int part_stack(const Lower *l, int stage);
/* Blocks of a stack that the stage has. */
int64_t stack_blocks_on(const Lower *l, int stack, int stage);
int64_t most_part_blocks(const Lower *l);
/* Micro-batches whose memory a stage's decoder chunks before `chunk` keep. */
int64_t part_memories(const Lower *l, int stage, int chunk);
const ModelChunk *part_chunk(const Lower *l, int stage, int chunk);
/* Blocks of the stage that its chunks before have, of the chunk's stack. */
int64_t part_blocks_before(const Lower *l, int stage, int chunk);
/* Where the first slice's norms of a chunk lie among all: chunk by chunk, in
 * them stage by stage, which is the order of a checkpoint. */
int64_t chunk_norms_at(const Lower *l, int stage, int chunk);
bool weight_on_stage(const Lower *l, int weight, int stage);
/* Of one outside blocks: the first stage that has it. */
int weight_stage(const Lower *l, int weight);
/* The stage whose function sums a weight's gradient at a site. */
int site_stage(const Lower *l, int weight, int site);
/* Floats that a stage has room for of another's sums of a weight's uses. */
int64_t part_received(const Lower *l, int stage);
/* On several stages: an embedding that is the head's, too, or that encoder and
 * decoder share. */
bool weight_is_tied(const Lower *l, int weight);
/* mixed.c: where stages have chunks of both stacks. Does a part stand before
 * its chunk's blocks? */
bool part_embeds(PartOf part);
/* Does a weight outside blocks count for the norm with this part, the first
 * that uses it? Is it updated with it, the first on its stage? */
bool part_counts(const Lower *l, PartOf part, int weight);
bool part_updates(const Lower *l, PartOf part, int weight);
/* The unit of what counts with a part, which on its stage is no other part's;
 * NULL: nothing does. */
const Unit *part_unit(const Lower *l, PartOf part);
/* Norms of what stands outside blocks, before those of a chunk's or behind;
 * where those of a part begin; and the room for any chunk's. Of units all that
 * those who split them own. */
int64_t mixed_norms(const Lower *l, int number, bool before);
int64_t mixed_norms_at(const Lower *l, PartOf part);
int64_t mixed_norm_room(const Lower *l);
/* calls.c */
void lower_func(Lower *l, const Func *f);
FuncCode *find_code(Lower *l, const Func *f);
bool result_is_placed(const Value *root);
/* steps.c, map.c, describe.c */
typedef struct Region {
    const char *name, *class;
    int64_t offset, floats;
    const ProgConst *constant;      /* TRAIN_STREAM = offset */
    const ProgConst *each;          /* of records: TRAIN_RECORD, a block's */
} Region;
/* How a value of a step lies: whole, or slots of the rows of x. */
typedef enum Slots {
    SLOTS_ONE,
    SLOTS_STREAM, /* the inputs of a stack's blocks and the last one's result:
                     all L + 1, or two in turn */
    SLOTS_TURN,   /* gradients of those: two in turn */
} Slots;
typedef struct StepValue {
    const char *name;
    const char *region;
    Slots slots;
    int stack;          /* of a stream */
    bool pooled;        /* a row a sequence */
    int dim;            /* whose size a row has; 0: of several */
    int64_t width;      /* floats a row */
    const ProgConst *slot;      /* floats of one of several */
} StepValue;
/* Rows of a head at a time, by name: TRAIN_HEAD_ROWS. */
typedef struct ChunkRows { const char *root; const ProgConst *rows; } ChunkRows;
typedef struct StepMap {
    const Step *step;
    int64_t rows, stride;           /* of a micro-batch; rounded up to 16 */
    int stage;                      /* whose; -1: there is one */
    int64_t slots;                  /* open micro-batches of its first chunk */
    int64_t inputs[2], records[2];  /* of the stage's blocks, by stack: slots of
                                       x, of records, for all that are open; */
    int64_t pending, memories;      /* of what waits for the weights; of the
                                       encoder's memory */
    const ProgRecord *places;       /* of regions, by stage: TrainPlaces */
    const ProgData *place_data;
    const struct StepMap
        *by_stage; /* NULL: there is one; this is their union */
    int64_t replicas;               /* ranks that share the batch: data, or 1 */
    int64_t sequences;              /* of it, a rank's */
    int64_t context;                /* ranks that share each sequence, or 1 */
    int64_t members;                /* replicas · context: what sums go over */
    int64_t groups, micros, levels; /* a rank's; of a group */
    bool keeps_stream;              /* all L + 1 inputs of blocks, else two */
    List(StepValue) values;
    List(Region) regions;
    List(ChunkRows) chunk_rows;
    const ProgConst *batch, *micro, *sequence; /* TRAIN_BATCH …; tokens of a
                                                  sequence that a rank has */
    const ProgConst *all;           /* TRAIN_FLOATS; NULL: by stage */
    int64_t floats, workspace_floats;
    int constants;                  /* the group of its regions' names */
    double flops;
} StepMap;
StepMap map_step(Lower *l, const Step *step);
/* Rows of a value; records of a stack's blocks that the map has room for. */
int64_t value_rows(const StepMap *map, const StepValue *v);
int64_t records_here(const Lower *l, const StepMap *map, int stack);
/* Blocks of 1024 in the gradient norm: in all, and the names of how many;
 * of the chunk of the model that has the most. */
int64_t norm_blocks(const Lower *l);
void name_norms(Lower *l);
int64_t part_norm_room(const Lower *l);
/* … of the stage's parameters outside blocks, before or behind them; of one
 * block. */
int64_t part_norms(const Lower *l, int stage, bool before);
int64_t block_norms(const Lower *l, int stack);
const Region *find_region(const StepMap *map, const char *name);
/* Its offset; ice when there is none. */
int64_t region_at(const StepMap *map, const char *name);
const StepValue *find_value(const StepMap *map, const char *name);
/* What the decoder's blocks read of the encoder. */
const char *step_memory(const Lower *l, const Step *step);
/* "records" of a stack's blocks, "pool_record" of another function. */
const char *record_region(const Lower *l, const Func *f);
const char *pending_region(const Lower *l, int stack);
/* Rows of a statement's chunks. */
const ProgConst *chunk_rows(const StepMap *map, const Stmt *chunks);
/* Given by token: of shared sequences a rank takes its own. */
enum { SHARED_INPUTS = 7 };
extern const char *const shared_inputs[SHARED_INPUTS];
/* Elements of one sequence of what is given: T for tokens. */
int64_t given_elements(const Lower *l, const StepMap *map, const char *name);
/* Does a call in the step take an argument of this name? */
bool step_takes(const Step *step, const char *name);
/* Of one on stages: does it run backward, too? */
bool step_goes_back(const Step *step);
/* Is `what` counted in it: targets, labels, pairs? */
bool step_counts(const Step *step, const char *what);
void name_regions(Lower *l, StepMap *map);
ProgFunc *lower_step(Lower *l, const StepMap *map);
/* ranks.c */
void lower_talks(Lower *l);
/* What a stage hands to the next one, or its gradient back. */
typedef enum Rows { ROWS_X, ROWS_MEMORY } Rows;
int64_t row_sends(const Lower *l, int stage, Rows of, bool down);
/* The message of an all_reduce in a function. */
const ProgConst *slice_talk(Lower *l, const Node *n);
/* What a train step's calls of functions say: once they are all lowered. */
void foretell_calls(Lower *l, const StepMap *train);
void describe_program(Lower *l, const StepMap *maps, ProgFunc *const *entries,
                      int count);
#endif
