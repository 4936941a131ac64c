/* precision.c: the types of every matmul's input, accumulator and output. On
 * the f32 CPU all three are f32, the master type, so nothing is cast and no
 * compute copy is kept; the pass checks that it is so. bf16 and f16 are not
 * built. */
#include "pass.h"

bool pass_precision(Module *m, const Plan *plan, Diag *diag)
{
    (void)plan;
    (void)diag;
    for (int i = 0; i < m->funcs.count; i++)
        for (int j = 0; j < m->funcs.at[i]->nodes.count; j++) {
            const Node *n = m->funcs.at[i]->nodes.at[j];
            if (op_info[n->op].class == CLASS_MATMUL
                && n->out[0]->type.dtype != DT_F32)
                ice("%s: a matmul that is not f32", m->funcs.at[i]->name);
        }
    return true;
}
