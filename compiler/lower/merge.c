/* merge.c: sums of groups become the batch's, by the fixed tree: in place, in
 * the levels that a step's gradients and sums of losses have room for. */
#include "steps.h"

/* n gradients from `at` on: those of a level join the elder's. */
static void merge_run(Steps *s, ProgBlock *b, ProgExpr *elder, ProgVar *level,
                      ProgExpr *at, ProgExpr *n)
{
    Prog *p = s->p;
    ProgExpr *all = step_region(s, "gradients");
    ProgExpr *each = step_gradient_floats(s);
    ProgExpr *args[] = {
        var(s, s->me),
        px_offset(p, all, px_add(p, px_mul(p, elder, each), at)),
        px_offset(p, all, px_add(p, px_mul(p, var(s, level), each), at)), n,
    };
    step_call(s, b, add_into_func(s->l), args, 4);
}

/* Those of the open chunk's blocks: a stage's other chunks are in other groups.
 * What is outside of blocks belongs to the model's first chunk, and on the last
 * stage to its last; gives the block of these, whose sums of losses merge,
 * too. */
static ProgBlock *merge_chunk(Steps *s, ProgBlock *b, ProgExpr *elder,
                              ProgVar *level)
{
    Prog *p = s->p;
    ProgExpr *each = px_const(p, s->l->stacks[0].gradient_floats_const);
    ProgExpr *blocks = step_stage_field(s, "gradient_blocks");
    ProgExpr *own = px_sub(p, step_first_block(s),
                           step_chunk_field(s, "others"));
    merge_run(s, b, elder, level, px_add(p, blocks, px_mul(p, own, each)),
              px_mul(p, step_chunk_field(s, "count"), each));
    b = ps_if(p, b, px_or(p, step_begins(s), step_ends(s)), NULL);
    merge_run(s, b, elder, level, num(s, 0), blocks);
    ProgVar *behind = step_let(
        s, b, "behind",
        px_add(p, blocks, px_mul(p, step_stage_field(s, "count"), each)));
    merge_run(s, b, elder, level, var(s, behind),
              px_sub(p, step_gradient_floats(s), var(s, behind)));
    return b;
}

/* Sums of finished groups wait in levels, one for every 1 in the number of
 * groups done; a group that ends a pair is added to its elder, and so on: the
 * fixed tree. */
void step_merge_groups(Steps *s, ProgBlock *b)
{
    Prog *p = s->p;
    ps_comment(p, b, "groups are summed by a tree: one that ends a pair joins "
               "its elder");
    ProgVar *pairs = step_let(s, b, "pairs", step_ones(s, true));
    ProgVar *pair = prog_local(p, s->func, "pair", prog_i64());
    ProgBlock *body = ps_for(p, b, pair, num(s, 0), var(s, pairs), num(s, 1));
    ProgExpr *own = px_sub(p, step_ones(s, false), var(s, pair));
    ProgVar *level = step_let(s, body, "level", own);
    ProgExpr *elder = px_sub(p, var(s, level), num(s, 1));
    ProgExpr *each = step_gradient_floats(s);
    if (s->model_chunk)
        body = merge_chunk(s, body, elder, level);
    else
        merge_run(s, body, elder, level, num(s, 0), each);
    ProgExpr *first = px_eq(p, px_field(p, var(s, s->me), "index"),
                            px_i32(p, 0));
    ProgBlock *own_totals = ps_if(p, body, first, NULL);
    for (int i = 0; i < STEP_TOTALS; i++) {
        if (!s->totals[i])
            continue;
        ProgExpr *sums = var(s, s->totals[i]);
        ps_store(p, own_totals, sums, elder,
                 px_add(p, px_load(p, sums, elder),
                        px_load(p, sums, var(s, level))));
    }
    step_barrier(s, b);
}
