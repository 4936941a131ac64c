/* heads.c: what follows the last block: the final norm, pools, logits and
 * losses. A head works on rows: all positions, or the pooled vectors of a
 * batch. Its functions are `head` (the loss, differentiated), `head.nll` (for
 * evaluation), `head.logits` and `head.inspect` (for `forward`). */
#include "builder.h"

/* What a loss is over: rows of logits against ids, summed in f64. */
typedef struct Loss {
    const char *targets, *total, *correct;
    bool smooth;
} Loss;

static bool is_masked_lm(const Spec *s)
{
    return s->model_head == MODEL_HEAD_MLM;
}

static Value *head_function(Builder *b, const char *name, const char *root)
{
    b->f = func_new(b->m, name, root, -1);
    b->stack = -1;
    return func_param(b->m, b->f, "x",
                      type_of(DT_F32, 2, (int[]){ b->d.R, b->d.C }));
}

static Value *final_norm(Builder *b, Value *x)
{
    if (b->shares > 1)          /* final_norm has done it */
        return x;
    return norms_before(b->s) ? build_norm(b, sided(b, "norm"), "norm", x) : x;
}

/* ---- logits ---- */
/* BERT's: dense, exact gelu, norm, then the decoder with a bias. */
static Value *masked_lm_logits(Builder *b, Value *x)
{
    const Spec *s = b->s;
    b->here = s->loc[KEY_model_head];
    Linear transform = { .name = "head.transform",
                         .result = "transformed",
                         .out = b->d.C,
                         .in = b->d.C,
                         .bias = true };
    x = make1(b, OP_gelu, "activated", build_linear(b, &transform, x));
    x = build_norm(b, "head.norm", "head.norm", x);
    b->here = s->loc[s->model_tie_embeddings ? KEY_model_tie_embeddings
                                             : KEY_model_head];
    Value *w = vocabulary_weight(
        b, s->model_tie_embeddings ? "embed.token.weight"
                                   : "head.decoder.weight",
        2, matrix_init(b, b->d.own_vocab, b->d.C, false));
    Value *bias = vocabulary_weight(b, "head.decoder.bias", 1,
                                    (Init){ .kind = INIT_ZEROS });
    x = build_spread(b, "head.in", x);
    Value *product = make2(b, OP_matmul, "logits.product", x, w);
    return make2(b, OP_add, "logits", product, bias);
}

static Value *class_logits(Builder *b, Value *x)
{
    b->here = b->s->loc[KEY_model_head_classify_pooler];
    Linear pooler = { .name = "head.pooler",
                      .result = "dense",
                      .out = b->d.C,
                      .in = b->d.C,
                      .bias = true };
    if (b->s->model_head_classify_pooler)
        x = make1(b, OP_tanh, "pooler", build_linear(b, &pooler, x));
    b->here = b->s->loc[KEY_model_head];
    Linear classes = { .name = "head",
                       .result = "logits",
                       .out = b->d.classes,
                       .in = b->d.C,
                       .bias = true };
    return build_linear(b, &classes, x);
}

static Value *next_sentence_logits(Builder *b, Value *x)
{
    b->here = b->s->loc[KEY_train_objective];
    Linear pooler = { .name = "head.pooler",
                      .result = "dense",
                      .out = b->d.C,
                      .in = b->d.C,
                      .bias = true };
    Linear next = { .name = "head.next_sentence",
                    .result = "logits",
                    .out = b->d.next,
                    .in = b->d.C,
                    .bias = true };
    x = make1(b, OP_tanh, "pooler", build_linear(b, &pooler, x));
    return build_linear(b, &next, x);
}

static Value *build_logits(Builder *b, Value *x)
{
    const Spec *s = b->s;
    if (is_classifier(s))
        return class_logits(b, x); /* its rows have been normed and pooled */
    x = final_norm(b, x);
    if (is_masked_lm(s))
        return masked_lm_logits(b, x);
    b->here = s->loc[s->model_tie_embeddings ? KEY_model_tie_embeddings
                                             : KEY_model_head];
    Value *w = vocabulary_weight(
        b, s->model_tie_embeddings ? "embed.token.weight" : "head.weight", 2,
        matrix_init(b, b->d.own_vocab, b->d.C, false));
    if (!head_makes_parts(b))   /* else final_norm sums what ranks make of x */
        x = build_spread(b, "head.in", x);
    return make2(b, OP_matmul, "logits", x, w);
}

/* Do tensor ranks have a run of these logits' columns each? */
static bool is_sliced(const Builder *b, const Value *logits)
{
    return b->tensor > 1 && b->d.V
        && logits->type.dims[logits->type.rank - 1] == b->d.own_vocab;
}

/* Of the logits of all ranks' runs, named as ever. */
static Value *whole_logits(Builder *b, Value *logits)
{
    if (!is_sliced(b, logits))
        return logits;
    logits->name = "own_logits";
    b->here = b->s->loc[KEY_parallel_tensor];
    return make_reshard(b, RESHARD_GATHER_COLUMNS, "logits", logits, b->d.V);
}

/* ---- losses ---- */
static Value *reduce_ranks(Builder *b, ReshardKind kind, const char *name,
                           Value *own)
{
    Loc here = b->here;
    b->here = b->s->loc[KEY_parallel_tensor];
    Value *all = make_reshard(b, kind, name, own, 0);
    b->here = here;
    return all;
}

/* Of logits, with those of no token so small that a softmax does not see them:
 * `kept` has them 0. */
static Value *hide_padding(Builder *b, Value *logits, Value **kept)
{
    *kept = logits;
    if (!vocabulary_is_padded(b))
        return logits;
    const Init init = { .kind = INIT_HELD,
                        .base = (double)b->s->model_vocab };
    Value *held = whole_weight(b, "vocabulary.held", 1, &b->d.own_vocab, init);
    b->m->weights.at[held->weight].slice = SLICE_ROWS;
    *kept = make2(b, OP_mul, "kept_logits", logits, held);
    Value *large = make_by(b, OP_scale, "held.large", held, 1e30);
    Value *less = make_by(b, OP_shift, "held.less", large, -1e30);
    return make2(b, OP_add, "seen_logits", *kept, less);
}

/* What a rank has of the rows' targets: their logits, with label smoothing
 * mixed with its part of the mean of all. */
static Value *own_target(Builder *b, Value *logits, Value *kept,
                         Value *targets, bool smooth)
{
    const Attrs own = { .dim = b->d.own_vocab };
    Value *ids = make(b, OP_own_ids, "own_targets", 1, &targets, &own);
    Value *picked = make2(b, OP_pick, "own_picked", logits, ids);
    if (!smooth)
        return picked;
    b->here = b->s->loc[KEY_train_label_smoothing];
    Value *sum = make1(b, OP_sum, "own_sum", kept);
    Value *mean = make_by(b, OP_scale, "own_mean", sum,
                          1 / (double)b->s->model_vocab);
    Value *sharp = make2(b, OP_mul, "sharp", picked,
                         func_scalar(b->m, b->f, "sharpness"));
    Value *soft = make2(b, OP_mul, "soft", mean,
                        func_scalar(b->m, b->f, "smoothing"));
    return make2(b, OP_add, "own_smoothed", sharp, soft);
}

/* Cross-entropy where each tensor rank has a run of the vocabulary (Shoeybi et
 * al. 2019): of a row three numbers travel, its maximum, the sum of its
 * exponentials and its target's logit. *target gets the last less the first. */
static Value *sliced_cross_entropy(Builder *b, Value *logits, Value *targets,
                                   bool smooth, Value **target)
{
    Value *kept, *seen = hide_padding(b, logits, &kept);
    Value *own_most = make1(b, OP_rowmax, "own_most", seen);
    Value *most = reduce_ranks(b, RESHARD_ALL_MAX, "most", own_most);
    Value *shifted = make2(b, OP_sub, "shifted", seen, most);
    Value *exps = make1(b, OP_exp, "exps", shifted);
    Value *own_total = make1(b, OP_sum, "own_total", exps);
    Value *total = reduce_ranks(b, RESHARD_ALL_REDUCE, "total", own_total);
    Value *own = own_target(b, logits, kept, targets, smooth);
    b->here = b->s->loc[KEY_train_objective];
    Value *picked = reduce_ranks(b, RESHARD_ALL_REDUCE, "picked", own);
    Value *log_total = make1(b, OP_log, "log_total", total);
    *target = make2(b, OP_sub, "target_logit", picked, most);
    return make2(b, OP_sub, "nll", log_total, *target);
}

/* The same where a rank has all of it; label smoothing is mixed in by two
 * run-time scalars. */
static Value *whole_cross_entropy(Builder *b, Value *logits, Value *targets,
                                  bool smooth, Value **target_logit)
{
    Value *most = make1(b, OP_rowmax, "most", logits);
    Value *shifted = make2(b, OP_sub, "shifted", logits, most);
    Value *exps = make1(b, OP_exp, "exps", shifted);
    Value *total = make1(b, OP_sum, "total", exps);
    Value *log_total = make1(b, OP_log, "log_total", total);
    Value *picked = make2(b, OP_pick, "picked", logits, targets);
    Value *target = make2(b, OP_sub, "target_logit", picked, most);
    Value *row = make2(b, OP_sub, "nll", log_total, target);
    if (smooth) {
        b->here = b->s->loc[KEY_train_label_smoothing];
        Value *mean = make1(b, OP_mean, "mean_logit", logits);
        Value *centre = make2(b, OP_sub, "mean_shifted", mean, most);
        Value *uniform = make2(b, OP_sub, "uniform_nll", log_total, centre);
        Value *sharp = make2(b, OP_mul, "sharp", row,
                             func_scalar(b->m, b->f, "sharpness"));
        Value *soft = make2(b, OP_mul, "soft", uniform,
                            func_scalar(b->m, b->f, "smoothing"));
        row = make2(b, OP_add, "smoothed", sharp, soft);
    }
    *target_logit = target;
    return row;
}

/* Cross-entropy of every row against its target, 0 where there is none. */
static Value *cross_entropy(Builder *b, Value *logits, Value *targets,
                            bool smooth, Value **hits)
{
    Value *target;
    b->here = b->s->loc[KEY_train_objective];
    Value *row = is_sliced(b, logits)
        ? sliced_cross_entropy(b, logits, targets, smooth, &target)
        : whole_cross_entropy(b, logits, targets, smooth, &target);
    b->here = b->s->loc[KEY_train_objective];
    Value *scored = make1(b, OP_scored, "scored", targets);
    if (hits) {
        Value *largest = make1(b, OP_is_zero, "largest", target);
        *hits = make2(b, OP_mul, "hits", largest, scored);
    }
    return make2(b, OP_mul, "losses", row, scored);
}

static Value *chain_into(Builder *b, const char *name, const char *total,
                         Value *rows)
{
    Value *sum = func_param(b->m, b->f, total, type_of(DT_F64, 0, NULL));
    return make2(b, OP_chain, name, rows, sum);
}

typedef Value *Logits(Builder *b, Value *x);

/* The function of a loss; for evaluation (not `smooth`) it counts the rows
 * whose target has the largest logit too. */
static void build_loss(Builder *b, const char *name, const char *root,
                       const Loss *loss, Logits *logits)
{
    Value *x = head_function(b, name, root), *hits = NULL;
    bool evaluates = strstr(name, ".nll") != NULL;
    Value *targets = func_param(b->m, b->f, loss->targets,
                                type_of(DT_I32, 2, (int[]){ b->d.R, 0 }));
    Value *rows = cross_entropy(b, logits(b, x), targets, loss->smooth,
                                evaluates ? &hits : NULL);
    list_push(b->m->arena, &b->f->results,
              chain_into(b, "loss.sum", loss->total, rows));
    if (evaluates)
        list_push(b->m->arena, &b->f->results,
                  chain_into(b, "correct.sum", loss->correct, hits));
}

static void build_inspection(Builder *b)
{
    Value *x = head_function(b, "head.inspect", "head");
    bool norms = norms_before(b->s) && !is_classifier(b->s), found = false;
    list_push(b->m->arena, &b->f->results, whole_logits(b, build_logits(b, x)));
    for (int i = 0; norms && !found && i < b->f->values.count; i++) {
        Value *v = b->f->values.at[i];
        found = v->kind == VALUE_NODE && !strcmp(v->name, "norm");
        if (found)
            list_push(b->m->arena, &b->f->results, v);
    }
}

/* ---- pools ---- */
static int pool_kind(const Spec *s)
{
    if (has_next_sentence(s))
        return POOLED_FIRST;
    switch (s->model_head_classify_pool) {
    case MODEL_HEAD_CLASSIFY_POOL_MEAN: return POOLED_MEAN;
    case MODEL_HEAD_CLASSIFY_POOL_SUM: return POOLED_SUM;
    case MODEL_HEAD_CLASSIFY_POOL_MAX: return POOLED_MAX;
    case MODEL_HEAD_CLASSIFY_POOL_CLS:
    case MODEL_HEAD_CLASSIFY_POOL_FIRST: return POOLED_FIRST;
    case MODEL_HEAD_CLASSIFY_POOL_LAST: return POOLED_LAST;
    }
    ice("unknown pool");
}

/* x [B,T,C] -> pooled [B,C], normed before. */
static void build_pool(Builder *b, const char *name, bool inspect)
{
    const Spec *s = b->s;
    const ModelDims *d = &b->d;
    b->f = func_new(b->m, name, "pool", -1);
    b->stack = -1;
    Value *x = func_param(b->m, b->f, "x",
                          type_of(DT_F32, 3, (int[]){ d->B, d->T, d->C }));
    Value *lengths = given(b, "lengths");
    x = final_norm(b, x);
    b->here = s->loc[has_next_sentence(s) ? KEY_train_objective
                                          : KEY_model_head_classify_pool];
    Value *pooled = build_pooled(b, "pooled", x, lengths, pool_kind(s));
    if (b->context > 1)         /* the first rank of the context has labels */
        pooled = make1(b, OP_share_pooled, "pooled.shared", pooled);
    list_push(b->m->arena, &b->f->results, pooled);
    if (inspect && norms_before(s))
        list_push(b->m->arena, &b->f->results, x);
}

/* ---- preferences ---- */
/* The negative log-probability of every row's target: `head` is differentiated
 * by a weight a row, `head.rows` is what comes before the weights are known. */
static void build_rows(Builder *b, const char *name)
{
    Value *x = head_function(b, name, "head");
    Value *targets = func_param(b->m, b->f, "targets",
                                type_of(DT_I32, 2, (int[]){ b->d.R, 0 }));
    Value *rows = cross_entropy(b, build_logits(b, x), targets, false, NULL);
    list_push(b->m->arena, &b->f->results, rows);
}

/* Summed log-probabilities of each sequence's scored positions, [B,1]. */
static Value *sequence_sums(Builder *b, const char *name, Value **lengths)
{
    const ModelDims *d = &b->d;
    b->f = func_new(b->m, name, "pairs", -1);
    b->stack = -1;
    b->here = b->s->loc[KEY_train_objective];
    Value *nll = func_param(b->m, b->f, "nll",
                            type_of(DT_F32, 3, (int[]){ d->B, d->T, 0 }));
    *lengths = given(b, "lengths");
    Value *sums = build_pooled(b, "nll_sums", nll, *lengths, POOLED_SUM);
    return make1(b, OP_neg, "sums", sums);
}

static void build_pairs(Builder *b, const char *name)
{
    const ModelDims *d = &b->d;
    Value *lengths, *sums = sequence_sums(b, name, &lengths);
    Value *targets = given(b, "targets"), *reference = given(b, "reference");
    Value *total =
        func_param(b->m, b->f, "label_loss", type_of(DT_F64, 0, NULL));
    Value *column =
        make_reshape(b, "target_rows", targets, 3, (int[]){ d->B, d->T, 0 });
    Value *scored = make1(b, OP_scored, "scored", column);
    Value *counts = build_pooled(b, "counts", scored, lengths, POOLED_SUM);
    b->here = b->s->loc[KEY_train_preference_beta];
    Value *loss = make(b, OP_preference, "pair_loss.sum", 4,
                       (Value *[]){ sums, counts, reference, total },
                       &(Attrs){ .by = b->s->train_preference_beta });
    list_push(b->m->arena, &b->f->results, loss);
}

static void build_preference(Builder *b)
{
    Value *lengths;
    build_rows(b, "head.rows");
    build_pairs(b, "pairs");
    build_rows(b, "head");
    build_pairs(b, "pairs.nll");
    Value *sums = sequence_sums(b, "pairs.sums", &lengths);
    list_push(b->m->arena, &b->f->results, sums);
}

void build_heads(Builder *b)
{
    const Loss targets = { "targets", "loss", "correct", true };
    const Loss labels = { "labels", "label_loss", "label_correct", true };
    bool classifies = is_classifier(b->s), next = has_next_sentence(b->s);
    Loss loss = classifies ? labels : targets;
    if (b->shares > 1)
        build_final_norm(b);
    if (classifies)
        build_pool(b, "pool", false);
    if (is_preference(b->s)) {
        build_preference(b);
    } else {
        build_loss(b, "head", "head", &loss, build_logits);
        loss.smooth = false;
        build_loss(b, "head.nll", "head", &loss, build_logits);
    }
    Value *logits = build_logits(b, head_function(b, "head.logits", "head"));
    list_push(b->m->arena, &b->f->results, whole_logits(b, logits));
    build_inspection(b);
    if (classifies)
        build_pool(b, "pool.inspect", true);
    if (next) {
        loss = labels;
        loss.smooth = false;
        build_pool(b, "pool", false);
        build_loss(b, "next_sentence", "next_sentence", &loss,
                   next_sentence_logits);
        build_loss(b, "next_sentence.nll", "next_sentence", &loss,
                   next_sentence_logits);
    }
}
