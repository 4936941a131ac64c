/* shard.c: how every value lies on the ranks: whole, split over an axis of its
 * own, or a part of a sum, along each axis of the mesh. The plan places what a
 * step is given and what slices leave of the weights; ir/placement_rules.c says
 * what each op makes of its operands' placements. Where ranks must meet the
 * front end has written a reshard, with a gradient that meets too; one that is
 * missing, or that meets along another axis, leaves a placement that the next
 * op does not take, and the pass, as the verifier after each later one, says
 * where. */
#include "pass.h"

bool pass_shard(Module *m, const Plan *plan, Diag *diag)
{
    Buf why = {0};
    (void)plan;
    bool fine = module_place(m, &why);
    if (!fine)
        diag_error_at(diag, m->name, "%s", why.text);
    buf_free(&why);
    return fine;
}
