/* fraction.c: model.experts.capacity as an exact fraction. */
#include "spec.h"

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

bool spec_capacity(const Spec *spec, int64_t *numerator, int64_t *denominator)
{
    const int64_t most = 1000000000000000;      /* 10^15 */
    const char *text = spec->model_experts_capacity.text;
    int64_t above = 0, below = 1;
    bool fraction = false, fits = true;
    for (; text && *text && fits; text++) {
        if (*text == '.') {
            fraction = true;
            continue;
        }
        above = above * 10 + (*text - '0');
        below *= fraction ? 10 : 1;
        fits = above < most && below < most;
    }
    int64_t divisor = common_divisor(above, below);
    *numerator = above / divisor;
    *denominator = below / divisor;
    return fits;
}
