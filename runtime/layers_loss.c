/* Losses. Their kernels give value and gradient in one go, so that forward
 * keeps the gradient and the way back only hands it on. */
#include <assert.h>

#include "runtime/layers.h"

/* -- contrast ------------------------------------------------------------- */

void cg_tape_contrast(cg_tape *t, cg_var *z, const float *alpha, float tau,
                      float weight)
{
    cg_step s = { .layer = CG_LAYER_contrast, .in = { z }, .aux = { alpha },
                  .f = { tau, weight * t->weight } };
    cg_tape_run(t, s, 0, 0);
}

void cg_contrast_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *z = s->in[0];
    int n = z->rows;
    size_t bytes = (size_t)n * (size_t)n * sizeof(float);
    float *sim = cg_dev_work(t->dev, bytes); /* (n, n) */
    s->save[0] = cg_dev_work(t->dev, bytes); /* its gradient */
    cg_k_gemm(t->dev, CG_PLAIN, CG_TRANSPOSED, n, n, z->cols, 1, z->x, z->ld,
              z->x, z->ld, 0, sim, n);
    cg_k_contrast(t->dev, n, sim, s->aux[0], s->f[0], s->f[1], t->loss,
                  s->save[0]);
}

/* S = Z Z^T: dZ = (dS + dS^T) Z */
void cg_contrast_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *z = s->in[0];
    int n = z->rows;
    cg_k_gemm(t->dev, CG_PLAIN, CG_PLAIN, n, z->cols, n, 1, s->save[0], n,
              z->x, z->ld, cg_grad_beta(t, z), z->dx, z->ld);
    cg_k_gemm(t->dev, CG_TRANSPOSED, CG_PLAIN, n, z->cols, n, 1, s->save[0],
              n, z->x, z->ld, 1, z->dx, z->ld);
}

/* -- losses of a vector --------------------------------------------------- */

static void run_loss(cg_tape *t, cg_layer layer, cg_var *y,
                     const float *target, float weight, float f)
{
    assert(y->ld == y->cols);
    cg_step s = { .layer = layer, .in = { y }, .aux = { target },
                  .f = { weight * t->weight, f } };
    cg_tape_run(t, s, 0, 0);
}

static int length(const cg_step *s)
{
    return s->in[0]->rows * s->in[0]->cols;
}

static float *start_gradient(cg_tape *t, cg_step *s)
{
    return s->save[0] = cg_tape_zeros(t, (size_t)length(s));
}

static void hand_on(cg_tape *t, const cg_step *s)
{
    cg_var *y = s->in[0];
    cg_k_axpby(t->dev, y->rows, y->cols, 1, s->save[0], y->cols,
               cg_grad_beta(t, y), y->dx, y->ld);
}

void cg_tape_mse(cg_tape *t, cg_var *y, const float *target, float weight)
{
    run_loss(t, CG_LAYER_mse, y, target, weight, 0);
}

void cg_mse_fwd(cg_tape *t, cg_step *s)
{
    cg_k_mse(t->dev, length(s), s->in[0]->x, s->aux[0], s->f[0], t->loss,
             start_gradient(t, s));
}

void cg_mse_bwd(cg_tape *t, const cg_step *s)
{
    hand_on(t, s);
}

void cg_tape_huber(cg_tape *t, cg_var *y, const float *target, float delta,
                   float weight)
{
    run_loss(t, CG_LAYER_huber, y, target, weight, delta);
}

void cg_huber_fwd(cg_tape *t, cg_step *s)
{
    cg_k_huber(t->dev, length(s), s->in[0]->x, s->aux[0], s->f[1], s->f[0],
               t->loss, start_gradient(t, s));
}

void cg_huber_bwd(cg_tape *t, const cg_step *s)
{
    hand_on(t, s);
}

void cg_tape_logistic(cg_tape *t, cg_var *y, const float *target, float weight)
{
    run_loss(t, CG_LAYER_logistic, y, target, weight, 0);
}

void cg_logistic_fwd(cg_tape *t, cg_step *s)
{
    cg_k_logistic(t->dev, length(s), s->in[0]->x, s->aux[0], s->f[0], t->loss,
                  start_gradient(t, s));
}

void cg_logistic_bwd(cg_tape *t, const cg_step *s)
{
    hand_on(t, s);
}
