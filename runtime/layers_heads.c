/* Ensembles of equal layers: the heads of MLP-E run as one batched product,
 * and are mixed by memberships (Eq. 2 and 3 of the paper give them). */
#include <assert.h>

#include "runtime/layers.h"

/* -- heads ---------------------------------------------------------------- */

cg_var *cg_tape_heads(cg_tape *t, int heads, bool shared, cg_var *x, cg_var *w,
                      cg_var *b, cg_act act)
{
    assert(heads > 0 && w->rows == heads * x->cols);
    assert(!b || (b->rows == heads && b->cols == w->cols && b->ld == b->cols));
    assert(shared || x->rows % heads == 0);
    cg_step s = { .layer = CG_LAYER_heads, .in = { x, w, b }, .act = act,
                  .i = { heads, shared } };
    return cg_tape_run(t, s, shared ? heads * x->rows : x->rows, w->cols);
}

/* One head's sizes, and how far it is to the next head's part. */
typedef struct part {
    int heads, n, in, out;
    ptrdiff_t x, w, y;
} part;

static part part_of(const cg_step *s)
{
    const cg_var *x = s->in[0], *w = s->in[1], *y = s->out;
    part p = { .heads = s->i[0], .in = x->cols, .out = w->cols };
    p.n = y->rows / p.heads;
    p.x = s->i[1] ? 0 : (ptrdiff_t)p.n * x->ld;
    p.w = (ptrdiff_t)p.in * w->ld;
    p.y = (ptrdiff_t)p.n * y->ld;
    return p;
}

void cg_heads_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *x = s->in[0], *w = s->in[1], *b = s->in[2], *y = s->out;
    part p = part_of(s);
    cg_k_gemm_batched(t->dev, p.heads, CG_PLAIN, CG_PLAIN, p.n, p.out, p.in, 1,
                      x->x, x->ld, p.x, w->x, w->ld, p.w, 0, y->x, y->ld, p.y);
    if (b || s->act != CG_ACT_NONE)
        cg_k_bias_act(t->dev, p.heads, y->rows, y->cols, y->x, y->ld,
                      b ? b->x : NULL, s->act, y->x, y->ld);
}

static void heads_bwd_input(cg_tape *t, cg_var *x, const cg_var *w,
                            const part *p, const cg_var *y)
{
    if (!x->dx)
        return;
    float beta = cg_grad_beta(t, x);
    if (p->x != 0) {
        cg_k_gemm_batched(t->dev, p->heads, CG_PLAIN, CG_TRANSPOSED, p->n,
                          p->in, p->out, 1, y->dx, y->ld, p->y, w->x, w->ld,
                          p->w, beta, x->dx, x->ld, p->x);
        return;
    }
    /* a shared input sums over the heads, in their order */
    for (int j = 0; j < p->heads; j++)
        cg_k_gemm(t->dev, CG_PLAIN, CG_TRANSPOSED, p->n, p->in, p->out, 1,
                  y->dx + j * p->y, y->ld, w->x + j * p->w, w->ld,
                  j > 0 ? 1 : beta, x->dx, x->ld);
}

void cg_heads_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *x = s->in[0], *w = s->in[1], *b = s->in[2];
    const cg_var *y = s->out;
    part p = part_of(s);
    if (s->act != CG_ACT_NONE)
        cg_k_act_bwd(t->dev, y->rows, y->cols, y->x, y->ld, s->act, y->dx,
                     y->ld, y->dx, y->ld);
    if (b && b->dx)
        cg_k_colsum(t->dev, p.heads, y->rows, y->cols, y->dx, y->ld,
                    cg_grad_beta(t, b), b->dx);
    if (w->dx)
        cg_k_gemm_batched(t->dev, p.heads, CG_TRANSPOSED, CG_PLAIN, p.in,
                          p.out, p.n, 1, x->x, x->ld, p.x, y->dx, y->ld, p.y,
                          cg_grad_beta(t, w), w->dx, w->ld, p.w);
    heads_bwd_input(t, x, w, &p, y);
}

/* -- mix ------------------------------------------------------------------ */

cg_var *cg_tape_mix(cg_tape *t, cg_var *u, cg_var *f)
{
    assert(!u->dx && u->ld == u->cols && f->ld == f->cols);
    assert(f->rows == u->rows * u->cols);
    cg_step s = { .layer = CG_LAYER_mix, .in = { f, u } };
    return cg_tape_run(t, s, u->rows, f->cols);
}

void cg_mix_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *f = s->in[0], *u = s->in[1];
    cg_k_mix(t->dev, u->rows, u->cols, f->cols, u->x, f->x, s->out->x);
}

void cg_mix_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *f = s->in[0];
    const cg_var *u = s->in[1];
    cg_k_mix_bwd(t->dev, u->rows, u->cols, f->cols, u->x, s->out->dx,
                 cg_grad_sum(t, f));
}
