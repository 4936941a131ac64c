/* builder.h: the state that the parts of the front end share while they write
 * one function, and short forms for its nodes. */
#ifndef BUILDER_H
#define BUILDER_H
#include "build.h"

/* Dims. A = H·D, E = G·D; M: an encoder's blocks, L: a decoder's, or the only
 * stack's; S: a rank's share of T, or T. 0 (one) where the model has none
 * such. */
typedef struct ModelDims {
    int B, T, S, R, C, H, G, D, A, E, F, V, P, L, M, two;
    int experts, choices, starts;       /* X, K, X + 1 */
    int classes, next, image, patch, features, types, distances;
    int own_experts, own_starts, received;  /* X/ranks, and one more; ranks·K */
    int gathered, parts;                /* context·E, 2·context·E */
    int own_vocab;                      /* rows of V that a rank has, or V */
    int chunks;                         /* 2·context */
} ModelDims;

typedef struct Builder {
    Module *m;
    const Spec *s;
    Func *f;                    /* the function being written */
    Loc here; /* the spec's line that the next nodes come from */
    int stack;                  /* whose block is being written, or -1 */
    bool cached;                /* the block being written keeps a cache */
    int64_t tensor;             /* ranks that slice the products of a block */
    int64_t shares;             /* ranks that share rows between products; 1 */
    int64_t context;            /* ranks that share sequences */
    int64_t experts;            /* ranks that share the experts */
    const char *side; /* "", or of an encoder-decoder "encoder", "decoder" */
    ModelDims d;
} Builder;

/* ---- layers.c: each appends nodes to b->f, the last named `name`, and returns
 * its (first) result ---- */
Value *make(Builder *b, Op op, const char *name, int inputs, Value *const *in,
            const Attrs *attrs);
Value *make1(Builder *b, Op op, const char *name, Value *x);
Value *make2(Builder *b, Op op, const char *name, Value *x, Value *y);
Value *make_by(Builder *b, Op op, const char *name, Value *x, double by);
/* x, which lies otherwise on the ranks of an axis then (ir/reshard.def); `dim`
 * the last of the result where that is not x's, else 0. */
Value *make_reshard(Builder *b, ReshardKind kind, const char *name, Value *x,
                    int dim);
/* All rows of x, of which each rank has a share; `partial`: each makes a part
 * of their gradient. */
Value *gather_shares(Builder *b, const char *name, Value *x, bool partial);
Value *make_reshape(Builder *b, const char *name, Value *x, int rank,
                    const int *dims);
/* A parameter of b->f that is given to the step: tokens, lengths …
 * (given_type). */
Value *given(Builder *b, const char *name);
/* Declares a weight (once) and gives its value in b->f. In a block it is the
 * block's, elsewhere whole_weight's. */
Value *weight(Builder *b, const char *name, int rank, const int *dims,
              Init init);
/* The same, outside of all blocks. */
Value *whole_weight(Builder *b, const char *name, int rank, const int *dims,
                    Init init);
/* The same for a matrix [vocabulary, in], or a bias [vocabulary], of which a
 * tensor rank has a run of rows: `rank` 2 or 1. */
Value *vocabulary_weight(Builder *b, const char *name, int rank, Init init);
/* Do the ranks' runs of the vocabulary hold more rows than there are? */
bool vocabulary_is_padded(const Builder *b);
/* The spec's init for a matrix [out, in]; `residual`: an output of a residual
 * branch. */
Init matrix_init(const Builder *b, int out, int in, bool residual);
Init embedding_init(const Builder *b);
/* "norm" -> "encoder.norm" on a side of an encoder-decoder. */
const char *sided(const Builder *b, const char *name);

/* x normed by the spec's norm over its last axis (parameters NAME.weight,
 * NAME.bias); x itself where there are no norms. The result is named `result`.
 */
Value *build_norm(Builder *b, const char *name, const char *result, Value *x);
/* x Wᵀ (+ bias): parameters NAME.weight [out, in], NAME.bias. The result is
 * named `result`. */
typedef struct Linear {
    const char *name, *result;
    int out, in;
    bool bias, residual;
    Slice slice;                /* of a tensor rank */
} Linear;
Value *build_linear(Builder *b, const Linear *linear, Value *x);
/* x for products that are sliced over tensor ranks, of a share all rows; x
 * itself where none are. */
Value *build_spread(Builder *b, const char *name, Value *x);
/* Kinds of op pool. */
enum { POOLED_MEAN, POOLED_SUM, POOLED_MAX, POOLED_FIRST, POOLED_LAST };
/* A row a sequence of x [B,T,N], of its unpadded positions. Ranks that share
 * sequences all get it. */
Value *build_pooled(Builder *b, const char *name, Value *x, Value *lengths,
                    int kind);
/* x of a share as all rows, of which each rank makes the same. */
Value *build_whole(Builder *b, const char *name, Value *x);
/* What tensor ranks have made in parts, summed: all of it, or the rank's share
 * of its rows; the part itself where there is one rank. */
Value *build_sum(Builder *b, const char *name, Value *part);
/* Dropout at a site of its function, where the spec has any. */
Value *build_dropout(Builder *b, const char *name, Value *x, double rate,
                     int site);

/* ---- what the spec says ---- */
static inline bool has_norms(const Spec *s)
{
    return s->model_norm_type != MODEL_NORM_TYPE_NONE;
}
static inline bool norms_before(const Spec *s)
{
    return has_norms(s) && s->model_norm_place == MODEL_NORM_PLACE_PRE;
}
static inline bool has_two_stacks(const Spec *s)
{
    return s->model_kind == MODEL_KIND_ENCODER_DECODER;
}
/* Do ranks that share rows gather the encoder's once, for all blocks of the
 * decoder? On a pipeline's stages, which hand on shares, each block does. */
static inline bool gathers_memory(const Builder *b)
{
    return b->shares > 1 && b->s->parallel_pipeline_stages == 1;
}
/* Is there anything between the encoder's blocks and those that read them? */
static inline bool has_encoder_norm(const Builder *b)
{
    return norms_before(b->s) || gathers_memory(b);
}
static inline bool is_relative(const Spec *s)
{
    return s->model_position == MODEL_POSITION_RELATIVE
        || s->model_position == MODEL_POSITION_RELATIVE_LEARNED;
}
static inline bool has_experts(const Spec *s)
{
    return s->model_experts == MODEL_EXPERTS_LAYER;
}
static inline bool is_classifier(const Spec *s)
{
    return s->model_head == MODEL_HEAD_CLASSIFY;
}
static inline bool has_next_sentence(const Spec *s)
{
    return s->train_objective == TRAIN_OBJECTIVE_MASKED_TOKEN_NEXT_SENTENCE;
}
static inline bool is_preference(const Spec *s)
{
    return s->train_objective == TRAIN_OBJECTIVE_PREFERENCE;
}
static inline bool is_generator(const Spec *s)
{
    return s->model_head == MODEL_HEAD_LM && s->model_kind != MODEL_KIND_ENCODER
        && s->model_attention_mask == MODEL_ATTENTION_MASK_CAUSAL;
}
/* A position of its own before an image's patches. */
static inline bool has_class_position(const Spec *s)
{
    return s->model_input == MODEL_INPUT_IMAGE && is_classifier(s)
        && s->model_head_classify_pool == MODEL_HEAD_CLASSIFY_POOL_CLS;
}

/* Three variants of a block: as it trains; with keys and values kept in a
 * cache; and with every value of contract.md's list left in a record. */
typedef enum Variant { VARIANT_PLAIN, VARIANT_CACHED, VARIANT_INSPECT } Variant;

/* What a block's attention reads: itself, or (memory) an encoder's output. */
typedef struct Attended {
    const char *name;           /* attn, cross */
    Value *x, *memory;          /* memory NULL: x itself */
    Value *lengths, *edges;     /* of the keys; edges NULL: none */
    Variant variant;
} Attended;
Value *build_attention(Builder *b, const Attended *to);
/* prepare[l]: what a block's attention makes of weights alone: W r. */
void build_prepare(Builder *b);
/* cross keys[l](memory): a block's keys and values into the cache. */
void build_cross_keys(Builder *b, const char *name);

void build_embed(Builder *b, const char *name, const char *tokens);
void build_block(Builder *b, const char *name, Variant variant);
/* x -> memory: the final norm of an encoder. */
void build_encoder_norm(Builder *b);
/* x -> normed: what stands behind the blocks, of all shares of rows; where
 * there are none the head does it. */
void build_final_norm(Builder *b);
/* Does each tensor rank make a part of the head's gradient of x, which
 * final_norm's gradient then sums? */
bool head_makes_parts(const Builder *b);
/* The mixture of experts; *aux gets the auxiliary losses [B,1], or NULL. */
Value *build_experts(Builder *b, Value *x, Value *lengths, Value **aux);
Op build_activation(const Spec *s);
void build_heads(Builder *b);
void build_steps(Builder *b);

/* Cache slots of a block. */
enum { SLOT_KEYS, SLOT_VALUES, SLOT_CROSS_KEYS, SLOT_CROSS_VALUES };
/* Dropout sites within a block, and how many there are (two more with cross
 * attention). */
enum {
    SITE_ATTENTION,
    SITE_ATTENTION_OUT,
    SITE_FF_OUT,
    SITE_CROSS,
    SITE_CROSS_OUT
};
#endif
