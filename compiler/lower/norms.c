/* norms.c: the gradient norm. Of every block of 1024 elements of a trained
 * tensor the squares are summed; the sums lie one behind the other as the
 * tensors do in a checkpoint: those of a stage, in them those of a slice. Ranks
 * make those of what they have and tell each other; all add all, in one order.
 * Where ranks own shares (ZeRO), see owned.c. */
#include "steps.h"

/* ---- how many there are ---- */
/* Of all trained tensors. */
static int64_t all_norms(const Lower *l)
{
    int64_t blocks = 0;
    for (int i = 0; i < l->m->weights.count; i++) {
        const Weight *w = &l->m->weights.at[i];
        if (!w->constant && !w->frozen && !w->derived)
            blocks += (w->stack >= 0 ? stack_blocks(l->m, w->stack) : 1)
                * ((type_elements(l->m, &w->type) + 1023) / 1024);
    }
    return blocks;
}

static int64_t slice_norms(const Lower *l)
{
    return l->shards > 1   ? shard_norm_room(l)
         : l->stages == 1  ? all_norms(l)
                           : part_norm_room(l);
}

/* Where all is frozen there is a block that nobody adds to, and the norm is
 * that of its zeros. */
int64_t norm_blocks(const Lower *l)
{
    int64_t blocks = l->chunks * l->stages * l->slices * slice_norms(l);
    return blocks ? blocks : 1;
}

void name_norms(Lower *l)
{
    Prog *p = l->p;
    if (!l->trains)
        return;
    NormConsts *n = &l->norms;
    int group = prog_add_wide_group(
        p, "Blocks of 1024 elements, of whose squares the gradient norm is "
        "made.");
    int64_t stage = l->slices * slice_norms(l);
    n->all = prog_const(p, group, "NORMS", norm_blocks(l), "in all");
    n->stage = prog_const(p, group, "STAGE_NORMS", stage,
                          l->chunks > 1 ? "of one chunk of the model"
                                        : "of one stage");
    n->slice = prog_const(p, group, "SLICE_NORMS", slice_norms(l),
                          "of what one rank has of them");
    for (int i = 0; i < l->m->stacks.count; i++)
        n->block[i] = prog_const(p, group, stack_name(l, i, "BLOCK_NORMS"),
                                 block_norms(l, i), "of one block");
    if (l->mixed)
        n->decoder = prog_const(p, group, "DECODER_NORMS",
                                mixed_norms_at(l, PART_DECODER),
                                "before those of the decoder's first chunk");
    if (l->shards == 1)
        return;
    n->share = prog_const(p, group, "SHARE_NORMS", shard_norms(l),
                          "of a rank's shares");
    n->expert_share = prog_const(p, group, "EXPERT_SHARE_NORMS",
                                 expert_norms(l), "of its shares of experts");
}

/* Before those in order lie those of shares, rank by rank. */
static ProgExpr *norms_of_shares(Steps *s)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    if (l->shards == 1)
        return num(s, 0);
    ProgExpr *all = px_mul(p, px_const(p, l->shards_const),
                           px_const(p, l->norms.share));
    if (!expert_norms(l))
        return all;
    return px_add(p, all, px_mul(p, px_const(p, l->expert_shards_const),
                                 px_const(p, l->norms.expert_share)));
}

/* ---- sums of squares ---- */
/* The place of the next sum, where it does not follow the last one's: of the
 * open block, where a stage has several chunks, or of the decoder's first. */
static void find_place(Steps *s, ProgBlock *b, PartOf part)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    ProgExpr *at = NULL;
    if (!s->stage || l->chunks == 1)
        return;
    if (part == PART_BLOCKS)
        at = px_add(p, step_chunk_field(s, "norms"),
                    px_mul(p, step_chunk_block(s),
                           px_const(p, l->norms.block[s->stack])));
    else if (part == PART_DECODER)
        at = px_const(p, l->norms.decoder);
    if (at)
        ps_set(p, b, s->next_norm, px_offset(p, var(s, s->norms), at));
}

/* NULL in place of a gradient makes zeros: of a block that is frozen, or of
 * what counts on another rank. */
static void sum_squares(Steps *s, ProgBlock *b, int weight)
{
    Prog *p = s->p;
    const Weight *w = &s->l->m->weights.at[weight];
    ProgExpr *counts = step_counts_norms(s, w);
    ProgExpr *gradient = step_tensor(s, w, s->dshared[0], s->dw[s->stack]);
    if (w->frozen_blocks)
        counts = counts ? px_and(p, counts, step_trains(s, w))
                        : step_trains(s, w);
    if (counts)
        gradient = px_select(p, counts, gradient, px_null(p, gradient->type));
    ProgExpr *args[] = { var(s, s->me), var(s, s->next_norm), gradient,
                         elements_of(s->l, &w->type) };
    ps_set(p, b, s->next_norm,
           px_call(p, prog_library(p, "square_blocks"), 4, args));
}

/* Where no rank has a norm there is a 0, which other steps may have written
 * over. */
static void clear_norms(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ProgExpr *doubles = px_add(p, norms_of_shares(s),
                               px_const(p, s->l->norms.all));
    ProgExpr *floats = px_mul(p, num(s, 2), doubles);
    ProgExpr *whole = px_mul(p, px_div(p, px_add(p, floats, num(s, 15)),
                                       num(s, 16)), num(s, 16));
    ProgExpr *args[] = { var(s, s->me), step_region(s, "norms"), whole };
    step_call(s, b, clear_func(s->l), args, 3);
    step_barrier(s, b);
}

/* Norms lie chunk by chunk of the model, in them stage by stage and slice by
 * slice: ranks tell each other theirs of each chunk. */
static void gather_chunks(Steps *s, ProgBlock *b, const ProgVar *norms)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    ProgVar *chunk = prog_local(p, s->func, "chunk", prog_i64());
    b = ps_for(p, b, chunk, num(s, 0), px_const(p, l->chunk_count), num(s, 1));
    ProgExpr *row = px_mul(p, var(s, chunk), px_const(p, l->stage_count));
    ProgVar *all =
        step_let(s, b, "chunk_norms",
                 px_offset(p, var(s, norms),
                           px_mul(p, row, px_const(p, l->norms.stage))));
    if (l->slices > 1)
        step_gather_slices(s, b,
                           px_offset(p, var(s, all),
                                     px_mul(p, step_control(s, "stage"),
                                            px_const(p, l->norms.stage))));
    step_gather_norms(s, b, var(s, all));
}

/* Those of stage 0, of stage 1, … and in them of slice 0, of slice 1, …: where
 * this rank's begin; *stage: those of its stage. */
static ProgVar *own_norms(Steps *s, ProgBlock *b, ProgVar *all, ProgVar **stage)
{
    Prog *p = s->p;
    const Lower *l = s->l;
    *stage = all;
    if (s->stage && l->chunks == 1)
        *stage = step_let(s, b, "stage_norms",
                          px_offset(p, var(s, all),
                                    px_mul(p, step_control(s, "stage"),
                                           px_const(p, l->norms.stage))));
    if (l->slices == 1)
        return *stage;
    return step_let(s, b, "slice_norms",
                    px_offset(p, var(s, *stage),
                              px_mul(p, step_slice(s),
                                     px_const(p, l->norms.slice))));
}

static void make_norms(Steps *s, ProgBlock *b, const ProgVar *raw)
{
    if (s->l->shards > 1) {
        step_shard_norms(s, b, raw, s->norms);
        return;
    }
    s->next_norm = step_let(s, b, "next", var(s, s->norms));
    step_each_tensor(s, b, &(TensorWalk){ .rule = sum_squares,
                                          .begin = find_place });
}

/* Whether norm and loss are finite, and what clips the gradients. */
static void judge_norm(Steps *s, ProgBlock *b, const ProgVar *norm)
{
    Prog *p = s->p;
    ps_comment(p, b, "x - x is 0 for all that is finite; another step is not "
               "applied");
    ProgExpr *n = var(s, norm), *loss = var(s, s->loss_value);
    ProgExpr *finite = px_and(p, px_eq(p, px_sub(p, n, n), px_f64(p, 0)),
                              px_eq(p, px_sub(p, loss, loss), px_f32(p, 0)));
    s->applied = step_let(s, b, "applied", finite);
    ProgExpr *clip = px_cast(p, prog_f64(), step_control(s, "clip"));
    ProgExpr *clips = px_and(p, px_lt(p, px_f64(p, 0), clip),
                             px_lt(p, clip, n));
    ProgExpr *factor = px_cast(p, prog_f32(), px_div(p, clip, n));
    s->clip_scale = step_let(s, b, "clip_scale",
                             px_select(p, clips, factor, px_f32(p, 1)));
}

/* grad_norm, whether all is finite, and what clips the gradients. */
void step_norm(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    Lower *l = s->l;
    bool chunks = s->stage && l->chunks > 1;
    ps_comment(p, b, "the gradient norm: blocks of 1024 elements, in "
               "checkpoint order");
    ProgVar *raw = step_let(s, b, l->shards > 1 ? "raw_norms" : "norms",
                            px_cast(p, prog_pointer(PK_F64, false),
                                    step_region(s, "norms")));
    ProgVar *all = raw, *stage;
    if (l->shards > 1)
        all = step_let(s, b, "norms",
                       px_offset(p, var(s, raw), norms_of_shares(s)));
    if (s->stage || l->slices > 1 || l->shards > 1)
        clear_norms(s, b);
    s->norms = own_norms(s, b, all, &stage);
    make_norms(s, b, raw);
    if (chunks)
        gather_chunks(s, b, all);
    else if (l->slices > 1)
        step_gather_slices(s, b, var(s, stage));
    if (s->stage && !chunks)
        step_gather_norms(s, b, var(s, all));
    else if (l->shards == 1 && l->slices == 1)
        step_barrier(s, b);
    ProgExpr *args[] = { var(s, all), px_const(p, l->norms.all) };
    s->norm = step_let(s, b, "norm",
                       px_call(p, prog_library(p, "norm_f64"), 2, args));
    step_finish_loss(s, b);
    judge_norm(s, b, s->norm);
}
