/* gemm.c: the three matrix products of a linear layer (kernels.h).
 *
 * An output is one chain acc = fma(a[k], b[k], acc) over ascending k. A chain
 * that is cut into blocks of k is stored and loaded again between them, an exact
 * f32, so blocks, tiles, vector length and threads change no bit.
 *
 * Read from the end: a product C = A·B names where its operands lie; `product`
 * cuts C among the threads and into blocks and packs both operands; `tile`
 * computes TILE_ROWS x TILE_COLUMNS outputs in registers.
 *
 * Packed panels are k-major: a panel of A holds its TILE_ROWS values of step 0,
 * then of step 1, …; a panel of B its TILE_COLUMNS values. Each thread packs all
 * it needs into its own workspace: no barrier, and no thread writes a cache line
 * that another has read (which costs more than packing twice).
 * SPDX-License-Identifier: 0BSD */
#include "kernels.h"
#include "sizes.h"
#include "vec.h"

enum {
    ROWS = TILE_ROWS(VL),
    COLUMNS = TILE_COLUMNS(VL),
    VECTORS = COLUMNS / VL,
    STEPS = BLOCK_STEPS(VL),
};

static long least(long a, long b) { return a < b ? a : b; }
static long most(long a, long b) { return a > b ? a : b; }
static long ceiling(long n, long by) { return (n + by - 1) / by; }

/* The length of n's pieces when it is cut into the fewest that are at most
 * `limit` long, and as equal as multiples of `unit` can be. */
static long equal_parts(long n, long limit, long unit)
{
    return ceiling(ceiling(n, ceiling(n, limit)), unit) * unit;
}

/* ---- operands ---------------------------------------------------------------
 * Element (k, i) of an operand, step k of line i (a row of A or a column of B),
 * is at[k·ld + i] where k_major, else at[i·ld + k]. */
typedef struct Operand {
    const float *at;
    long ld;
    int k_major;
} Operand;

/* What will be packed next, as rows of cache lines: tiles fetch it, one line a
 * step, while they compute. `each`: how many lines a tile fetches. */
typedef struct Ahead {
    const float *row;
    long rows, ld, line, lines, each;
} Ahead;

static Ahead ahead_of(const Operand *next, long line, long lines, long step, long steps,
                      long tiles)
{
    long rows = next->k_major ? steps : lines, length = next->k_major ? lines : steps;
    const float *row = next->at + (next->k_major ? step * next->ld + line : line * next->ld + step);
    long row_lines = ceiling(length, 16);
    return (Ahead){row, rows, next->ld, 0, row_lines, ceiling(rows * row_lines, tiles)};
}

INLINE void fetch_line(Ahead *ahead)
{
    __builtin_prefetch(ahead->row + 16 * ahead->line, 0, 2);
    if (++ahead->line == ahead->lines) {
        ahead->line = 0;
        ahead->row += ahead->ld;
        ahead->rows--;
    }
}

/* ---- tiles ------------------------------------------------------------------
 * A row of tiles: one panel of A with rows rows, `panels` panels of B at b,
 * b + b_stride, … and as many tiles of C, side by side. `resume`: the chains go
 * on from what C holds. bias (at the chains' end, or NULL) has a value a column.
 * Meanwhile the next tile of C and the operand's next block are fetched.
 *
 * The accumulators must stay in registers. That needs fixed array bounds, indices
 * that are constants once unrolled, and the loop over tiles inside the function
 * (gcc 12 unrolls an outermost loop too late). */
#define TILE_ARGUMENTS                                                              \
    long panels, long steps, const float *a, const float *b, long b_stride, float *c, \
        long ldc, int resume, const float *bias, Ahead *ahead
typedef void (*TileFunction)(TILE_ARGUMENTS);

INLINE void tile_step(const int rows, vf acc[ROWS][VECTORS], const float *a, const float *b)
{
    vf column[VECTORS];
    UNROLL for (int j = 0; j < VECTORS; j++)
        column[j] = vload(b + j * VL);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < VECTORS; j++)
            acc[i][j] = vfma(vset(a[i]), column[j], acc[i][j]);
}

INLINE void tile(const int rows, TILE_ARGUMENTS)
{
    float *first = c;
    for (long t = 0; t < panels; t++, b += b_stride, c += COLUMNS) {
        const float *next_a = a, *next_b = b;
        const float *next_c = t + 1 < panels ? c + COLUMNS : first + ROWS * ldc;
        vf acc[ROWS][VECTORS];
        if (resume)
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int j = 0; j < VECTORS; j++)
                    acc[i][j] = vload(c + i * ldc + j * VL);
        else
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int j = 0; j < VECTORS; j++)
                    acc[i][j] = vset(0.0f);
        long k = 0;
        for (; k < rows && k < steps; k++, next_a += ROWS, next_b += COLUMNS) {
            __builtin_prefetch(next_c + k * ldc, 1, 3);
            __builtin_prefetch(next_c + k * ldc + COLUMNS / 2, 1, 3);
            tile_step(rows, acc, next_a, next_b);
        }
        long fetched = least(steps, k + ahead->each);
        for (; k < fetched && ahead->rows > 0; k++, next_a += ROWS, next_b += COLUMNS) {
            fetch_line(ahead);
            tile_step(rows, acc, next_a, next_b);
        }
        for (; k < steps; k++, next_a += ROWS, next_b += COLUMNS)
            tile_step(rows, acc, next_a, next_b);
        if (bias)
            UNROLL for (int j = 0; j < VECTORS; j++) {
                vf add = vload(bias + t * COLUMNS + j * VL);
                UNROLL for (int i = 0; i < rows; i++)
                    acc[i][j] = acc[i][j] + add;
            }
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < VECTORS; j++)
                vstore(c + i * ldc + j * VL, acc[i][j]);
    }
}

/* tile_of[rows], for the last panel of A, which may be short. */
#define TILE(rows)                                                              \
    static __attribute__((noinline)) void tile_##rows(TILE_ARGUMENTS)           \
    {                                                                           \
        tile(rows, panels, steps, a, b, b_stride, c, ldc, resume, bias, ahead); \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if VL == 16
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#endif
static const TileFunction tile_of[ROWS + 1] = {
    0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6,
#if VL == 16
    tile_7, tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14,
#endif
};

/* The tile at the right edge, where only some columns exist: through a buffer. */
static void tile_edge(long rows, long columns, long steps, const float *a, const float *b,
                      float *c, long ldc, int resume, const float *bias)
{
    float part[ROWS * COLUMNS] __attribute__((aligned(64))) = {0}, ends[COLUMNS] = {0};
    for (long i = 0; i < rows && resume; i++)
        for (long j = 0; j < columns; j++)
            part[i * COLUMNS + j] = c[i * ldc + j];
    for (long j = 0; j < columns && bias; j++)
        ends[j] = bias[j];
    Ahead nothing = {0};
    tile_of[rows](1, steps, a, b, 0, part, COLUMNS, resume, bias ? ends : 0, &nothing);
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++)
            c[i * ldc + j] = part[i * COLUMNS + j];
}

/* ---- packing ------------------------------------------------------------------ */
/* `lines` of the operand from line on, `steps` from step on, into panels `width`
 * wide, `stride` floats apart; lines that do not exist become 0. */
INLINE void pack_rows(const int width, float *to, long stride, const Operand *from, long line,
                      long lines, long step, long steps)
{
    const float *row = from->at + step * from->ld + line;
    for (long k = 0; k < steps; k++, row += from->ld)
        for (long i = 0, p = 0; i < lines; i += width, p++) {
            float *out = to + p * stride + k * width;
            UNROLL for (int v = 0; v < width; v += VL) {
                long left = least(width - v, lines - i - v);
                vstore(out + v, left >= VL ? vload(row + i + v)
                                : left > 0 ? vload_first(row + i + v, left) : vset(0.0f));
            }
        }
}

/* VL steps of `lines` <= VL lines, transposed in registers; `used` of the lanes
 * belong to the panel. */
INLINE void pack_square(const int width, const int used, float *to, const float *from, long ld,
                        long lines, long steps)
{
    vf r[VL];
    if (lines >= used && steps >= VL)
        UNROLL for (int i = 0; i < VL; i++)
            r[i] = i < used ? vload(from + i * ld) : vset(0.0f);
    else
        UNROLL for (int i = 0; i < VL; i++)
            r[i] = i < used && i < lines ? vload_first(from + i * ld, steps) : vset(0.0f);
    vtranspose(r);
    UNROLL for (int k = 0; k < VL; k++)
        if (k < steps)
            vstore(to + k * width, r[k]);
}

/* From the right: what a vector has in excess is overwritten by the left one. */
INLINE void pack_columns(const int width, float *to, long stride, const Operand *from, long line,
                         long lines, long step, long steps)
{
    for (long i = 0; i < lines; i += width, to += stride) {
        const float *corner = from->at + (line + i) * from->ld + step;
        UNROLL for (int v = (width - 1) / VL * VL; v >= 0; v -= VL)
            for (long k = 0; k < steps; k += VL)
                pack_square(width, width - v < VL ? width - v : VL, to + k * width + v,
                            corner + v * from->ld + k, from->ld, lines - i - v, steps - k);
    }
}

#define PACK(name, width)                                                                       \
    static __attribute__((noinline)) void name(float *to, long stride, const Operand *from,     \
                                               long line, long lines, long step, long steps)    \
    {                                                                                           \
        if (from->k_major)                                                                      \
            pack_rows(width, to, stride, from, line, lines, step, steps);                       \
        else                                                                                    \
            pack_columns(width, to, stride, from, line, lines, step, steps);                    \
    }
PACK(pack_a, ROWS)
PACK(pack_b, COLUMNS)

/* ---- a thread's part of a product -------------------------------------------
 * n threads form a grid of r x c over the panels of A and of B. In units of one
 * step of one tile, packing a step of a panel of A costs about one and of B two. */
typedef struct Part { long row, row_end, column, column_end; } Part;

static Part part_of(const Thread *me, long M, long N)
{
    long down = ceiling(M, ROWS), across = ceiling(N, COLUMNS), n = me->count;
    long best = 1, best_cost = -1;
    for (long r = 1; r <= n; r++) {
        if (n % r)
            continue;
        long m = ceiling(down, r), c = ceiling(across, n / r), cost = m * c + m + 2 * c;
        if (best_cost < 0 || cost < best_cost) {
            best = r;
            best_cost = cost;
        }
    }
    long r = best, c = n / best, i = me->index / c, j = me->index % c;
    return (Part){least(M, down * i / r * ROWS), least(M, down * (i + 1) / r * ROWS),
                  least(N, across * j / c * COLUMNS), least(N, across * (j + 1) / c * COLUMNS)};
}

/* C[M,N] = (init ? C : 0) + A·B, then + bias; sums over K steps. */
typedef struct Product {
    float *c;
    long M, N, K;
    Operand a, b;
    int init;
    const float *bias;
} Product;

/* A block of the product: packed rows of A over packed columns of B. */
typedef struct Cell { long row, rows, column, columns, step, steps; } Cell;

static void block(const Product *p, const Cell *cell, const float *a, const float *b, Ahead *ahead)
{
    long full = cell->columns / COLUMNS, b_stride = PANEL(VL, COLUMNS, cell->steps);
    int resume = p->init || cell->step > 0, last = cell->step + cell->steps == p->K;
    const float *bias = p->bias && last ? p->bias + cell->column : 0;
    for (long i = 0; i < cell->rows; i += ROWS, a += PANEL(VL, ROWS, cell->steps)) {
        float *c = p->c + (cell->row + i) * p->N + cell->column;
        long height = least(ROWS, cell->rows - i);
        if (full)
            tile_of[height](full, cell->steps, a, b, b_stride, c, p->N, resume, bias, ahead);
        if (cell->columns % COLUMNS)
            tile_edge(height, cell->columns % COLUMNS, cell->steps, a, b + full * b_stride,
                      c + full * COLUMNS, p->N, resume, bias ? bias + full * COLUMNS : 0);
    }
}

/* The columns of B after these, or the first ones of the next steps. */
static Ahead next_columns(const Product *p, const Cell *cell, const Part *part, long width)
{
    long column = cell->column + width, step = cell->step;
    if (column >= part->column_end) {
        column = part->column;
        step += cell->steps;
    }
    if (step >= p->K)
        return (Ahead){0};
    return ahead_of(&p->b, column, least(width, part->column_end - column), step,
                    least(cell->steps, p->K - step),
                    ceiling(cell->rows, ROWS) * ceiling(cell->columns, COLUMNS));
}

static void product(const Thread *me, const Product *p)
{
    Part part = part_of(me, p->M, p->N);
    long most_steps = equal_parts(p->K, STEPS, 16), panels = BLOCK_PANELS(VL, most_steps);
    long width = panels * COLUMNS;
    long most_rows = equal_parts(most(part.row_end - part.row, 1), BLOCK_ROWS(VL), ROWS);
    float *b = me->workspace, *a = b + panels * PANEL(VL, COLUMNS, most_steps);
    Cell cell;
    for (cell.row = part.row; cell.row < part.row_end; cell.row += most_rows) {
        cell.rows = least(most_rows, part.row_end - cell.row);
        for (cell.step = 0; cell.step < p->K; cell.step += most_steps) {
            cell.steps = least(most_steps, p->K - cell.step);
            pack_a(a, PANEL(VL, ROWS, cell.steps), &p->a, cell.row, cell.rows, cell.step,
                   cell.steps);
            for (cell.column = part.column; cell.column < part.column_end; cell.column += width) {
                cell.columns = least(width, part.column_end - cell.column);
                Ahead ahead = next_columns(p, &cell, &part, width);
                pack_b(b, PANEL(VL, COLUMNS, cell.steps), &p->b, cell.column, cell.columns,
                       cell.step, cell.steps);
                block(p, &cell, a, b, &ahead);
            }
        }
    }
}

/* ---- few rows ---------------------------------------------------------------
 * y = x Wᵀ for so few rows that packing W would cost more than the product: W is
 * read once, VL of its rows at a time, and transposed in registers. */
enum { FEW = 7 };

INLINE void few_columns(const int rows, float *y, const float *x, const float *w,
                        const float *bias, long K, long N, long columns)
{
    vf acc[FEW];
    UNROLL for (int i = 0; i < rows; i++)
        acc[i] = vset(0.0f);
    for (long k = 0; k < K; k += VL) {
        vf r[VL];
        if (columns >= VL && K - k >= VL)
            UNROLL for (int i = 0; i < VL; i++)
                r[i] = vload(w + i * K + k);
        else
            UNROLL for (int i = 0; i < VL; i++)
                r[i] = i < columns ? vload_first(w + i * K + k, K - k) : vset(0.0f);
        vtranspose(r);
        UNROLL for (int s = 0; s < VL; s++)
            if (s < K - k)
                UNROLL for (int i = 0; i < rows; i++)
                    acc[i] = vfma(vset(x[i * K + k + s]), r[s], acc[i]);
    }
    UNROLL for (int i = 0; i < rows; i++) {
        if (bias)
            acc[i] = acc[i] + vload_first(bias, columns);
        vstore_first(y + i * N, acc[i], columns);
    }
}

#define FEW_ROWS(rows)                                                                          \
    static __attribute__((noinline)) void few_##rows(float *y, const float *x, const float *w,  \
                                                     const float *bias, long K, long N,         \
                                                     long from, long to)                        \
    {                                                                                           \
        for (long n = from; n < to; n += VL)                                                    \
            few_columns(rows, y + n, x, w + n * K, bias ? bias + n : 0, K, N, to - n);          \
    }
FEW_ROWS(1) FEW_ROWS(2) FEW_ROWS(3) FEW_ROWS(4) FEW_ROWS(5) FEW_ROWS(6) FEW_ROWS(7)

static void product_few(const Thread *me, float *y, const float *x, const float *w,
                        const float *bias, long rows, long K, long N)
{
    static void (*const few_of[FEW + 1])(float *, const float *, const float *, const float *,
                                         long, long, long, long) = {
        0, few_1, few_2, few_3, few_4, few_5, few_6, few_7,
    };
    long groups = ceiling(N, 16);
    long from = share_start(me, groups) * 16, to = least(N, share_end(me, groups) * 16);
    few_of[rows](y, x, w, bias, K, N, from, to);
}

/* ---- what programs call (kernels.h) ------------------------------------------ */
void matmul(const Thread *me, float *y, const float *x, const float *w, const float *bias,
            long rows, long K, long N)
{
    if (rows <= FEW)
        product_few(me, y, x, w, bias, rows, K, N);
    else
        product(me, &(Product){y, rows, N, K, {x, K, 0}, {w, K, 0}, 0, bias});
}

void matmul_input(const Thread *me, float *dx, const float *dy, const float *w, long rows, long K,
                  long N, int init)
{
    product(me, &(Product){dx, rows, K, N, {dy, N, 0}, {w, K, 1}, init, 0});
}

void matmul_weight(const Thread *me, float *dw, const float *dy, const float *x, long rows, long K,
                   long N, int init)
{
    product(me, &(Product){dw, N, K, rows, {dy, N, 1}, {x, K, 1}, init, 0});
}
