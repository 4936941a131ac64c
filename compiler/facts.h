/* facts.h: what a program says of itself, read back from the constant data that
 * lower/describe.c has made of it (runtime/program.def): the ranks by axes and,
 * by stage, the memory of a rank that trains and what it says to others. */
#ifndef FACTS_H
#define FACTS_H
#include "../ir/prog.h"

typedef struct FactClass { const char *name; int64_t bytes; } FactClass;

typedef struct FactMessage {
    const char *name, *where, *axis;
    int64_t calls, bytes;           /* of a rank, in a train step */
    bool at_most;                   /* bytes: or fewer, as data decides */
} FactMessage;

/* Blocks [from, to). */
typedef struct FactChunk { int64_t from, to; } FactChunk;

/* Of a rank of one stage. */
typedef struct FactStage {
    List(FactChunk) chunks;         /* its blocks */
    int64_t batch;                  /* its replica's sequences of a step */
    int64_t weights, moments, values, thread;      /* bytes, of train */
    int64_t fixed;                  /* what it maps, without workspaces */
    int64_t total;                  /* with one thread's */
    List(FactClass) classes;        /* weights, moments, gradients, … */
    List(FactMessage) messages;
    const ProgData *tensors;
    const ProgFunc *entry;          /* of train */
} FactStage;

typedef struct Facts {
    const Prog *prog;
    const ProgData *program;
    int64_t ranks, data, stages, tensor, context, experts;
    int64_t decoder;                /* the stage where its blocks begin, of an
                                       encoder-decoder */
    int64_t encoder;                /* blocks of its encoder, where it is cut;
                                       0: there is one stack, or one stage */
    int64_t replicas;               /* data · context */
    int64_t shard, groups, parameters;
    int64_t shards;                 /* ranks of a shard group */
    int64_t expert_shards;          /* … that split the same experts */
    List(FactStage) by_stage;
} Facts;

Facts *facts_of(const Prog *p, Arena *arena);
/* Data of the program by name; NULL: there is none. */
const ProgData *facts_data(const Prog *p, const char *name);
/* A field of a row; an unknown name is an ice. */
const ProgDatum *facts_field(const ProgData *data, int row, const char *name);
int64_t facts_int(const ProgData *data, int row, const char *name);
const char *facts_text(const ProgData *data, int row, const char *name);
/* The row whose field `name` is `text`; -1: none. */
int facts_row(const ProgData *data, const char *name, const char *text);
/* Ranks that an axis of messages has: data, context, experts, same experts,
 * shard group, same share, tensor, pipeline, ends, world. */
int64_t facts_members(const Facts *facts, const char *axis);
/* Elements of a row of tensors, of one copy on one rank. */
int64_t facts_floats(const Facts *facts, const ProgData *tensors, int row);
/* "[0, 2)", "[0, 2), [4, 6)": the blocks of a stage. */
const char *facts_blocks(const FactStage *stage, Arena *arena);
/* "4 ranks: data 2, stages 2, tensor 1" */
const char *facts_ranks(const Facts *facts, Arena *arena);
#endif
