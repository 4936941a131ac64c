/* kernels.h: the kernels that every program shares, with their exact orders.
 *
 * All are SPMD: every thread of a rank calls the same function with the same
 * arguments and its own `me`; each does its fixed share of the outputs, and no
 * function here contains a barrier. The caller puts one between a kernel and
 * another that reads what a different thread wrote.
 *
 * Orders (docs/architecture.md, section 7), the same on every ISA, compiler
 * and number of threads: a matrix product's output is one ascending chain of
 * fma; a row sum has 16 lanes folded 8, 4, 2, 1; a column sum is one chain over
 * tokens. Matrices are row-major, f32, without gaps between rows.
 * Every sum over tokens begins at what its output holds (`init` true) or at 0. */
#ifndef KERNELS_H
#define KERNELS_H
#include <stdint.h>

/* A thread of a rank, as kernels see it. `workspace` is the thread's own,
 * 64-byte aligned, as large as the program's plan says (kernel_workspace). */
typedef struct Thread {
    int index, count;
    float *workspace;
    struct Team *team;      /* whose barrier it is */
} Thread;

/* Thread t of n has items [N·t/n, N·(t+1)/n) of N. */
static inline long share_start(const Thread *me, long items)
{
    return items * me->index / me->count;
}
static inline long share_end(const Thread *me, long items)
{
    return items * (me->index + 1) / me->count;
}

/* All threads meet; what each wrote before is seen by all after (runtime). */
void barrier(const Thread *me);

/* What the rank is about from here on, where a run is traced (runtime): its
 * micro-batch `run` forward or backward or, where backward is cut in two, the
 * gradients of its weights; the update with its sums and norm. */
void note_forward(const Thread *me, long run);
void note_backward(const Thread *me, long run);
void note_weights(const Thread *me, long run);
void note_chunk(const Thread *me, long chunk);  /* which of its parts does it */
void note_update(const Thread *me);

/* ---- matrix products (gemm.c). W is PyTorch's [N,K]. ---------------------- */
/* y[rows,N] = x[rows,K] Wᵀ; then + bias[N] where bias is not NULL. */
void matmul(const Thread *me, float *y, const float *x, const float *w,
            const float *bias, long rows, long K, long N);
/* dx[rows,K] = (init ? dx : 0) + dy[rows,N] W: one chain over n a value. */
void matmul_input(const Thread *me, float *dx, const float *dy, const float *w,
                  long rows, long K, long N, int init);
/* dw[N,K] = (init ? dw : 0) + dyᵀ x: one chain over the rows a value. */
void matmul_weight(const Thread *me, float *dw, const float *dy, const float *x,
                   long rows, long K, long N, int init);

/* ---- attention (attention.c) --------------------------------------------- */
/* Rows are tokens: row (b·T + t) of q and out has heads·head_dim values, of k
 * and v kv_heads·head_dim; query head h reads key head h·kv_heads/heads.
 * Key j of sequence b is visible to query i (absolute position pos + i) when
 *   j < lengths[b], and (causal) j <= pos + i, and (window > 0) |pos+i - j| < window.
 * Without a cache keys == queries and pos == 0. With one, k and v are the cache:
 * [batch, key_rows, kv_heads·head_dim], of which the first `keys` rows count. In
 * cross attention keys may be any number, pos is 0, and neither causal nor window
 * is set. */
typedef struct Attention {
    const float *q, *k, *v;
    float *out;             /* forward only */
    float *stats;           /* [batch, heads, queries, 2]: the maximum, 1/sum
                               (0, 0 where nothing is visible); may be NULL in forward */
    const float *alibi;     /* [heads] slopes, or NULL */
    const int32_t *edges;   /* [batch, queries, keys], or NULL: key j is visible to
                               query i only where it is not 0 or i == j */
    /* relative positions, or NULL: a score gains q2 · table[zero + (pos+i) - j], a
     * chain over head_dim of its own, with q2 times scale as q; rows of
     * heads·head_dim values, for every distance of a query and a key, visible or not */
    const float *q2, *table;
    long zero;              /* the row of distance 0 */
    const int32_t *lengths; /* [batch] */
    long batch, queries, keys, key_rows, pos;
    long heads, kv_heads, head_dim;
    long window;            /* 0: none */
    int causal;
    float scale;            /* multiplies q first */
    /* dropout on the softmax weights, none when rate == 0: see dropout.h;
     * its row is (sequence·all_heads + head + h)·queries + i, its column is j */
    float rate;
    uint32_t site;
    uint32_t step;
    uint64_t seed;
    long sequence;          /* global index of this call's first sequence */
    long all_queries;       /* of a sequence, over all calls; 0: queries is all */
    long head, all_heads;   /* the first head's number among all ranks', and how
                               many those have; all_heads 0: heads is all */
    /* backward only */
    const float *dout;
    float *dq, *dk, *dv;    /* overwritten */
    float *dq2;             /* overwritten; with relative positions */
    float *dtable;          /* the same, as table: += a chain over sequences, queries */
    long table_rows;
    int dtable_init;        /* 0: dtable begins at 0, all its rows */
} Attention;
void attention_forward(const Thread *me, const Attention *a);
void attention_backward(const Thread *me, const Attention *a);
/* weights[batch, heads, queries, keys]: the softmax weights themselves, before
 * dropout, exactly 0 where masked. */
void attention_weights(const Thread *me, const Attention *a, float *weights);

/* ---- rows by index (index.c) --------------------------------------------- */
/* table[ids[r]] += dy[r] for ascending r, a column a chain; ids < 0 are passed
 * over. With !init the whole table [entries, N] is 0 first. Threads split columns. */
void scatter_add(const Thread *me, float *table, const float *dy, const int32_t *ids,
                 long rows, long N, long entries, int init);

/* A key/value cache of one sequence: cache[position + r] = x[r], rows of N values,
 * r < rows. Threads split the rows. */
void keep_rows(const Thread *me, float *cache, const float *x, long position, long rows, long N);

/* A tensor rank's run of each sequence: own[batch, tokens, N] of run `share` of
 * all[batch, shares, tokens, N]. Threads split the rows. */
void take_share(const Thread *me, float *own, const float *all, long batch,
               long tokens, long shares, long share, long N);

/* A tensor rank's run of columns: own[rows, N] of all[rows, total] from column
 * slice·N on. Threads split the rows. */
void take_columns(const Thread *me, float *own, const float *all, long rows, long N, long total,
                  long slice);

/* ---- images (index.c) ------------------------------------------------------ */
/* rows[batch, sequence, channels·patch·patch] of images[batch, channels, size,
 * size]: row skip + i of a sequence is patch i, patches row by row; in it channel,
 * row, column. Rows before skip are 0. Threads split the rows. */
void patches(const Thread *me, float *rows, const float *images, long batch,
             long sequence, long channels, long size, long patch, long skip);

/* ---- sequences that ranks share (index.c, pool.c) --------------------------- */
/* Each of `ranks` has two chunks of `tokens` of every one of `batch` sequences: rank
 * r the chunks r and 2·ranks - 1 - r, one behind the other. */
typedef struct Chunks {
    long batch, tokens, rank, ranks;
} Chunks;
/* own[batch, 2·tokens, width]: the rank's rows of all[batch, 2·ranks·tokens, width],
 * whatever their 4 bytes are. */
void take_chunks(const Thread *me, float *own, const float *all, const Chunks *at,
                 long width);
/* own[i] = all[i] on rank 0, elsewhere -1. */
void take_alone(const Thread *me, int32_t *own, const int32_t *all, long n, long rank);
/* own[batch]: how many of the rank's rows are no padding. They are its first ones: the
 * late chunk has none unless the early one has no padding. */
void own_lengths(const Thread *me, int32_t *own, const int32_t *lengths, const Chunks *at);

/* ---- pools (pool.c): over the positions t < lengths[b] of a sequence -------- */
enum { POOL_MEAN, POOL_SUM, POOL_MAX, POOL_FIRST, POOL_LAST };
/* y[batch, N] of x[batch, sequence, N]: a sum is one chain of +, t ascending; the
 * mean is that divided by the number; of no positions 0. Threads split the
 * sequences. */
void pool(const Thread *me, float *y, const float *x, const int32_t *lengths,
          long batch, long sequence, long N, long kind);
/* dx[batch, sequence, N] of dy[batch, N]; x: for POOL_MAX, whose first maximum
 * takes all, else NULL. */
void pool_spread(const Thread *me, float *dx, const float *dy,
                 const int32_t *lengths, const float *x, long batch,
                 long sequence, long N, long kind);

/* The same of shared sequences. pools[ranks, batch, 2, N]: first each rank puts its
 * own there, the pool of either chunk (of POOL_MEAN the sum); where those of all are
 * there, y[batch, N] is made of them, a sum in the order of chunks. */
void pool_own(const Thread *me, float *pools, const float *x, const int32_t *lengths,
              const Chunks *at, long N, long kind);
void pool_chunks(const Thread *me, float *y, const float *pools, const int32_t *lengths,
                 const Chunks *at, long N, long kind);
/* dx of the rank's rows; x, pools: for POOL_MAX, else NULL. */
void pool_chunks_spread(const Thread *me, float *dx, const float *dy,
                        const int32_t *lengths, const float *x, const float *pools,
                        const Chunks *at, long N, long kind);

/* ---- experts (experts.c). A dispatched row is a (token, expert) pair; rows lie
 * by expert, then by token; expert e has rows [starts[e], starts[e+1]). ------- */
/* keep[rows, X] = 1 at the k largest of p's row, ties to the lower; else 0. */
void top_k(const Thread *me, float *keep, const float *p, long rows, long X,
           long k);
/* The pairs with t < lengths[b] and keep != 0: starts[X+1], order[.] the token of
 * each row, place[batch·sequence, X] the row of each pair or -1. With numerator
 * > 0 an expert takes the first ceil(numerator·k·sequence / (denominator·X)) of
 * each sequence. */
typedef struct Dispatch {
    int32_t *starts, *order, *place;
    const float *keep;
    const int32_t *lengths;
    long batch, sequence, experts, k;
    long numerator, denominator;
} Dispatch;
void dispatch(const Thread *me, const Dispatch *d);
void gather_rows(const Thread *me, float *xs, const float *x,
                 const int32_t *order, const int32_t *starts, long X, long N);
/* x[rows, N]: the sum of a token's rows, from 0, experts ascending: + , or with
 * gate[rows, X] fma(gate, y, sum). */
void collect_rows(const Thread *me, float *x, const float *xs,
                  const int32_t *place, const float *gate, long rows, long X,
                  long N);
void spread_rows(const Thread *me, float *dys, const float *d,
                 const float *gate, const int32_t *order,
                 const int32_t *starts, long X, long N);
void gate_products(const Thread *me, float *dgate, const float *d,
                   const float *ys, const int32_t *place, long rows, long X,
                   long N);
/* Matrices w[X, N, K], bias[X, N] or NULL: an expert's rows by its own, as
 * matmul, matmul_input and matmul_weight, whose workspace for the most rows that
 * there can be is enough. */
void grouped_matmul(const Thread *me, float *y, const float *x, const float *w,
                    const float *bias, const int32_t *starts, long X, long K,
                    long N);
void grouped_input(const Thread *me, float *dx, const float *dy, const float *w,
                   const int32_t *starts, long X, long K, long N, int init);
void grouped_weight(const Thread *me, float *dw, const float *dy,
                    const float *x, const int32_t *starts, long X, long K,
                    long N, int init);
void grouped_bias(const Thread *me, float *db, const float *dy,
                  const int32_t *starts, long X, long N, int init);

/* ---- preferences (reduce.c): sequences 2i and 2i+1 are a pair ---------------- */
/* *total = (init ? *total : 0) + Σ log(1 + exp(-z)), z = beta((s0 - r0) - (s1 -
 * r1)), over the pairs with a scored position. Thread 0 alone. */
void preference_loss(const Thread *me, double *total, const float *sums,
                     const float *counts, const float *reference, float beta,
                     long batch, int init);
/* dsums[batch] = weight times that sum's gradient. Threads split the pairs. */
void preference_grad(const Thread *me, float *dsums, const float *sums,
                     const float *counts, const float *reference, float beta,
                     float weight, long batch);

/* ---- sums of a step (reduce.c) ------------------------------------------- */
/* The loss: total = (init ? *total : 0) + values[0] + values[1] …, one chain in
 * f64. Thread 0 alone. */
void chain_f64(const Thread *me, double *total, const float *values, long n, int init);
/* Squares of every block of 1024 consecutive values (the last may be short) in
 * 16 f64 lanes, folded: sums[i], i < ceil(n/1024). Threads split the blocks. With
 * values NULL (a parameter that is not trained, or that counts elsewhere) every
 * sum is 0. Gives the place behind the last sum. */
double *square_blocks(const Thread *me, double *sums, const float *values, long n);
/* The root of sums[0] + sums[1] + …, one chain; every thread may compute it. */
double norm_f64(const double *sums, long n);

/* Floats of workspace a thread needs at most for these sizes, over all ISA
 * levels, so that one binary's plan holds on every machine. */
long matmul_workspace(long rows, long K, long N);
long attention_workspace(long queries, long keys, long head_dim);
#endif
