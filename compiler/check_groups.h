/* check_groups.h: which ranks talk with each other, as the compiler has it when
 * it forecasts messages and `check` plays them. */
#ifndef CHECK_GROUPS_H
#define CHECK_GROUPS_H
#include "walk.h"

/* Does a rank at a meet one at b in messages along the axis? */
bool seats_meet(const Facts *facts, const char *axis, const Seat *a,
                const Seat *b);
#endif
