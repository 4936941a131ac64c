/* collectives.h: how the ranks of a program talk while a step runs. All are
 * SPMD: every thread of every rank of the message's axis calls the same
 * function with the same sizes; each begins with a barrier of the rank's own
 * threads and ends with one, so the caller needs none around it.
 *
 * `message` is an index into Program.messages: it says whose ranks talk (those
 * that differ in the message's axis alone, numbered along it), is counted
 * (calls and bytes, which must be what the compiler foretold), and names the
 * operation in an error. What travels lies in the rank's own memory at the same
 * place on every rank.
 *
 * Sums are ours, never a transport's: member 0 to n - 1 by the fixed tree, in
 * which n leaves are split at the largest power of two below n
 * (docs/architecture.md, section 7). One member: nothing is done.
 * SPDX-License-Identifier: 0BSD */
#ifndef COLLECTIVES_H
#define COLLECTIVES_H
#include "kernels/kernels.h"

/* Bytes that a member of `members` sends, on the average, as in the best of
 * algorithms: `bytes` is all of what an all-reduce sums, one member's part for
 * the others. Both the compiler's forecast and the counters are made of it. */
typedef enum Collective {
    ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, BROADCAST, SEND,
} Collective;
static inline int64_t collective_bytes(Collective kind, int64_t bytes,
                                       int64_t members)
{
    if (kind == ALL_REDUCE)
        return 2 * (members - 1) * bytes / members;
    if (kind == BROADCAST)
        return (members - 1) * bytes / members;
    return kind == SEND ? bytes : (members - 1) * bytes;
}

/* Σ over members of an integer (8 bytes); every thread gets it. */
long all_reduce_count(const Thread *me, long message, long mine);

/* values[i] = Σ over members, i < n; on every member. f32: n is a multiple of
 * 16; f64: n is small, some numbers. */
void all_reduce_f32(const Thread *me, long message, float *values, long n);
void all_reduce_into_f32(const Thread *me, long message, float *sums,
                         const float *mine, long n);    /* elsewhere */
/* The maxima in place of the sums: a > b ? a : b. */
void all_max_f32(const Thread *me, long message, float *largest,
                 const float *mine, long n);
void all_reduce_f64(const Thread *me, long message, double *values, long n);

/* values has `each` numbers a member; member m then has the sums of its own,
 * [m·each, (m + 1)·each), and the others' parts are undefined. each is a
 * multiple of 16. */
void reduce_scatter_f32(const Thread *me, long message, float *values,
                        long each);

/* values has `each` numbers a member, of which each member brings its own; then
 * every member has all. */
void all_gather_f32(const Thread *me, long message, float *values, long each);
void all_gather_f64(const Thread *me, long message, double *values, long each);

/* All members have come so far; none says anything. */
void meet(const Thread *me, long message);

/* all_gather_f32 in two halves, between which a rank computes. `own` is this
 * member's part, at the same place on every member: it was written before they
 * last met, and stays until they meet again. begin sends what others want of it
 * and receives theirs into `all`, where ranks share no memory; where they do,
 * end reads the parts where they lie and waits for nobody. After end every
 * member has all; several gathers may be under way. */
void begin_gather_f32(const Thread *me, long message, float *all,
                      const float *own, long each);
void end_gather_f32(const Thread *me, long message, float *all,
                    const float *own, long each);

/* all[rows][total] of every member's own[rows][width], side by side: of the
 * last what there is room for. */
void gather_columns_f32(const Thread *me, long message, float *all,
                        const float *own, long total, long rows, long width);

/* Of rows that members send to experts, of which each member has `experts`:
 * `starts` says where a member's rows of every expert begin, and their end; own
 * then where those of this member's experts do, by expert, then by member. */
void own_starts(const Thread *me, long message, int32_t *own,
                const int32_t *starts, long experts);

/* Of which a member has room for so many: if there are more, the run ends with
 * an error, on every rank. `block` is where; nobody talks. */
void rows_fit(const Thread *me, long message, const int32_t *own, long experts,
              long block, long room);

/* The rows themselves, of `width` floats: to the members with their experts, or
 * back from there. Counted are, there and back, those of this member's that
 * have others' experts. */
void send_rows_f32(const Thread *me, long message, float *received,
                   const float *rows, const int32_t *starts,
                   const int32_t *own, long experts, long width);
void return_rows_f32(const Thread *me, long message, float *rows,
                     const float *received, const int32_t *starts,
                     const int32_t *own, long experts, long width);

/* Of sequences that the members share, each having two chunks of tokens/2 (see
 * ops.def): all[sequences][members·tokens][width] of every member's
 * own[sequences][tokens][width]. */
void gather_chunks_f32(const Thread *me, long message, float *all,
                       const float *own, long sequences, long tokens,
                       long width);

/* own[sequences][tokens][width]: the sums, over members and their two parts, of
 * parts[sequences][2][members·tokens][width] at this member's positions. */
void sum_chunks_f32(const Thread *me, long message, float *own,
                    const float *parts, long sequences, long tokens,
                    long width);

/* Of sequences whose positions are cut into a run a member, `tokens` each:
 * all[sequences][members·tokens][width] of every member's
 * own[sequences][tokens][width]; and own, the sums over members of all at this
 * member's positions. */
void gather_shares_f32(const Thread *me, long message, float *all,
                       const float *own, long sequences, long tokens,
                       long width);
void sum_shares_f32(const Thread *me, long message, float *own,
                    const float *all, long sequences, long tokens, long width);

/* Each of two members gets the other's n numbers. */
void exchange_f32(const Thread *me, long message, float *theirs,
                  const float *mine, long n);

/* Of member `from` n numbers at `mine`, to `theirs` of all others; or one
 * number, on every member. */
void broadcast_f32(const Thread *me, long message, long from, float *theirs,
                   const float *mine, long n);
double broadcast_f64(const Thread *me, long message, long from, double mine);

/* From a rank to that of another stage, all else equal (axis pipeline). A
 * message of a rank has two slots of n floats in `mailbox`, in the sender's
 * memory: send copies values into the next one and returns; it waits only while
 * what it sent two calls ago has not been taken. Receive waits until the
 * sender's next one is there, and copies it. Counts are the sender's. */
void send_f32(const Thread *me, long message, long to, float *mailbox,
              const float *values, long n);
void receive_f32(const Thread *me, long message, long from, float *values,
                 long n);
#endif
