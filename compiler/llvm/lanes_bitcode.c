/* lanes_bitcode.c: what generated code inlines, compiled once by clang into
 * bitcode that the LLVM back end links into every program: the lanes, and the
 * functions that kernels.h has inline, which here get a name outside. */
#define share_start share_start_inline
#define share_end share_end_inline
#include "../../runtime/kernels/kernels.h"
#undef share_start
#undef share_end
#define dropout_scale dropout_scale_inline
#include "../../runtime/kernels/lanes.c"
#undef dropout_scale

#define ALWAYS __attribute__((always_inline))

ALWAYS long share_start(const Thread *me, long items)
{
    return share_start_inline(me, items);
}

ALWAYS long share_end(const Thread *me, long items)
{
    return share_end_inline(me, items);
}

ALWAYS float dropout_scale(uint64_t seed, uint32_t step, uint32_t site,
                           uint32_t row, uint32_t column, float rate)
{
    return dropout_scale_inline(seed, step, site, row, column, rate);
}
