/* pass.h: what a pass is: Module -> Module, one public function a file, true
 * when it worked. Choices come with the Plan; no pass makes one. */
#ifndef PASS_H
#define PASS_H
#include "../ir/ir.h"

typedef enum RecomputeKind {
    RECOMPUTE_NONE, RECOMPUTE_ATTENTION, RECOMPUTE_BLOCK,
} RecomputeKind;

typedef enum PipelineKind {
    PIPELINE_GPIPE, PIPELINE_1F1B, PIPELINE_INTERLEAVED,
    PIPELINE_ZERO_BUBBLE,
} PipelineKind;

typedef enum OptimizerKind {
    OPTIMIZER_ADAMW, OPTIMIZER_ADAM, OPTIMIZER_SGD,
} OptimizerKind;

typedef struct Plan {
    int64_t batch, micro_batch, sequence, groups;
    RecomputeKind recompute;
    int64_t recompute_blocks;       /* the first so many blocks recompute */
    OptimizerKind optimizer;
    bool momentum;                  /* sgd with a moment */
    Mesh mesh;
    PipelineKind pipeline;
    int64_t chunks;                 /* of the model, a stage's */
    bool halves;                    /* a block's backward is cut in two */
    const int64_t *split; /* blocks of each chunk of the model, in its order;
                             NULL: as even as can be */
    /* lines of the spec */
    Loc recompute_from, optimizer_from, micro_from, groups_from;
} Plan;

/* Of a pipeline's stages those of an encoder-decoder's encoder, where no split
 * says it: in proportion to the blocks, at least one of either stack. */
int64_t plan_encoder_stages(int64_t encoder, int64_t decoder, int64_t stages);

enum {      /* what has been established, for passes.def */
    HAS_NOTHING = 0, HAS_GRADIENTS = 1, HAS_PRECISION = 2, HAS_SCHEDULE = 4,
    HAS_KERNELS = 8, HAS_PLACES = 16, HAS_PLACEMENTS = 32,
};

typedef struct PassInfo {
    const char *name;
    bool (*run)(Module *m, const Plan *plan, Diag *diag);
    unsigned needs, gives;
    const char *doc;
} PassInfo;

enum {
#define PASS(name, needs, gives, doc) PASS_##name,
#include "passes.def"
#undef PASS
    PASS_COUNT
};
extern const PassInfo pass_table[PASS_COUNT];
const PassInfo *pass_find(const char *name);

#define PASS(name, needs, gives, doc) \
    bool pass_##name(Module *m, const Plan *plan, Diag *diag);
#include "passes.def"
#undef PASS
#endif
