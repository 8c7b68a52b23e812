/* What layers share with the tape, and with no one else. */
#ifndef CG_RUNTIME_LAYERS_H
#define CG_RUNTIME_LAYERS_H

#include "runtime/tape.h"

/* Forward fills s->out (and t->loss), and s->save where s->keep. Back adds to
 * the gradients of s->in; s->out->dx is its own to spend. */
#define CG_LAYER(name)                                                        \
    void cg_##name##_fwd(cg_tape *t, cg_step *s);                             \
    void cg_##name##_bwd(cg_tape *t, const cg_step *s);
#include "runtime/layers.def"
#undef CG_LAYER

/* Runs a step whose inputs are set and writes it down where a gradient is
 * wanted. Its output is (rows, cols); rows 0: a loss, NULL. */
cg_var *cg_tape_run(cg_tape *t, cg_step s, int rows, int cols);

/* For kernels that take `beta`: 0 for the first who writes v's gradient, 1 for
 * those who add to it. Ask once for each write, just before it. */
float cg_grad_beta(cg_tape *t, cg_var *v);
/* For kernels that only add: v->dx with zeros where nothing was written. */
float *cg_grad_sum(cg_tape *t, cg_var *v);

static inline size_t cg_var_len(const cg_var *v)
{
    return (size_t)v->rows * (size_t)v->cols;
}

/* Zeroed memory of this step. */
float *cg_tape_zeros(cg_tape *t, size_t n);

#endif
