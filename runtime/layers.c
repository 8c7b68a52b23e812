/* Layers that compute a matrix. The way back writes a gradient where it is the
 * first to do so and adds elsewhere (cg_grad_beta): batches have tens of
 * thousands of short rows, so that memory traffic is what a step costs. */
#include <assert.h>

#include "runtime/layers.h"

/* Gradient before the activation, in place of the one behind it. */
static const float *before_act(cg_tape *t, const cg_step *s)
{
    const cg_var *y = s->out;
    if (s->act != CG_ACT_NONE)
        cg_k_act_bwd(t->dev, y->rows, y->cols, y->x, y->ld, s->act, y->dx,
                     y->ld, y->dx, y->ld);
    return y->dx;
}

/* v += the column sums of dy (rows, v->cols), where v wants a gradient. */
static void add_colsum(cg_tape *t, cg_var *v, int rows, const float *dy,
                       int lddy)
{
    if (v && v->dx)
        cg_k_colsum(t->dev, 1, rows, v->cols, dy, lddy, cg_grad_beta(t, v),
                    v->dx);
}

static const float *data(const cg_var *v)
{
    return v ? v->x : NULL;
}

/* The kernels of attention, mix and losses take matrices without gaps. */
static bool dense(const cg_var *v)
{
    return v->ld == v->cols;
}

/* -- linear --------------------------------------------------------------- */

cg_var *cg_tape_linear(cg_tape *t, cg_var *x, cg_var *w, cg_var *b, cg_act act)
{
    assert(x->cols == w->rows && (!b || b->cols == w->cols));
    cg_step s = { .layer = CG_LAYER_linear, .in = { x, w, b }, .act = act };
    return cg_tape_run(t, s, x->rows, w->cols);
}

void cg_linear_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *x = s->in[0], *w = s->in[1], *b = s->in[2], *y = s->out;
    cg_k_gemm(t->dev, CG_PLAIN, CG_PLAIN, x->rows, w->cols, x->cols, 1, x->x,
              x->ld, w->x, w->ld, 0, y->x, y->ld);
    if (b || s->act != CG_ACT_NONE)
        cg_k_bias_act(t->dev, 1, y->rows, y->cols, y->x, y->ld, data(b), s->act,
                      y->x, y->ld);
}

void cg_linear_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *x = s->in[0], *w = s->in[1];
    const float *dz = before_act(t, s);
    int ld = s->out->ld;
    add_colsum(t, s->in[2], x->rows, dz, ld);
    if (w->dx)
        cg_k_gemm(t->dev, CG_TRANSPOSED, CG_PLAIN, w->rows, w->cols, x->rows,
                  1, x->x, x->ld, dz, ld, cg_grad_beta(t, w), w->dx, w->ld);
    if (x->dx)
        cg_k_gemm(t->dev, CG_PLAIN, CG_TRANSPOSED, x->rows, x->cols, w->cols,
                  1, dz, ld, w->x, w->ld, cg_grad_beta(t, x), x->dx, x->ld);
}

/* -- propagate ------------------------------------------------------------ */

cg_var *cg_tape_propagate(cg_tape *t, const cg_csr *m, cg_var *x, cg_var *b,
                          cg_act act)
{
    assert(m->n_cols == x->rows && (!b || b->cols == x->cols));
    cg_step s = { .layer = CG_LAYER_propagate, .in = { x, b }, .aux = { m },
                  .act = act };
    return cg_tape_run(t, s, m->n_rows, x->cols);
}

void cg_propagate_fwd(cg_tape *t, cg_step *s)
{
    const cg_csr *m = s->aux[0];
    const cg_var *x = s->in[0], *y = s->out;
    cg_k_spmm(t->dev, m, x->cols, x->x, x->ld, data(s->in[1]), s->act, 0,
              y->x, y->ld);
}

void cg_propagate_bwd(cg_tape *t, const cg_step *s)
{
    const cg_csr *m = s->aux[0];
    const cg_var *y = s->out;
    cg_var *x = s->in[0], *b = s->in[1];
    float *db = b ? b->dx : NULL, bb = db ? cg_grad_beta(t, b) : 0;
    float bx = x->dx ? cg_grad_beta(t, x) : 0;
    cg_k_spmm_bwd(t->dev, m, x->cols, y->x, y->ld, s->act, y->dx, y->ld, bb,
                  db, bx, x->dx, x->ld);
}

/* -- layernorm ------------------------------------------------------------ */

cg_var *cg_tape_layernorm(cg_tape *t, cg_var *x, cg_var *gamma, cg_var *beta)
{
    assert(gamma->cols == x->cols && beta->cols == x->cols);
    cg_step s = { .layer = CG_LAYER_layernorm, .in = { x, gamma, beta } };
    return cg_tape_run(t, s, x->rows, x->cols);
}

void cg_layernorm_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *x = s->in[0], *y = s->out;
    size_t bytes = (size_t)x->rows * sizeof(float);
    s->save[0] = cg_dev_work(t->dev, bytes);
    s->save[1] = cg_dev_work(t->dev, bytes);
    cg_k_layernorm(t->dev, x->rows, x->cols, x->x, x->ld, s->in[1]->x,
                   s->in[2]->x, y->x, y->ld, s->save[0], s->save[1]);
}

/* Where a kernel writes v's gradient, aside when it is not wanted. */
static float *wanted_or_aside(cg_tape *t, cg_var *v, float *beta)
{
    *beta = v->dx ? cg_grad_beta(t, v) : 0;
    return v->dx ? v->dx : cg_dev_work(t->dev, (size_t)v->rows *
                                       (size_t)v->ld * sizeof(float));
}

void cg_layernorm_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *x = s->in[0], *gamma = s->in[1], *y = s->out;
    float bx, bg, bb;
    float *dx = wanted_or_aside(t, x, &bx);
    float *dgamma = wanted_or_aside(t, gamma, &bg);
    float *dbeta = wanted_or_aside(t, s->in[2], &bb);
    cg_k_layernorm_bwd(t->dev, x->rows, x->cols, x->x, x->ld, gamma->x,
                       s->save[0], s->save[1], y->dx, y->ld, bx, dx, x->ld, bg,
                       dgamma, bb, dbeta);
}

/* -- dropout -------------------------------------------------------------- */

cg_var *cg_tape_dropout(cg_tape *t, cg_var *x, float p)
{
    assert(p >= 0 && p < 1);
    if (!t->train || p == 0)
        return x;
    cg_step s = { .layer = CG_LAYER_dropout, .in = { x }, .f = { p },
                  .key = cg_rng_next(&t->keys) };
    return cg_tape_run(t, s, x->rows, x->cols);
}

void cg_dropout_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *x = s->in[0], *y = s->out;
    cg_k_dropout(t->dev, x->rows, x->cols, x->x, x->ld, s->f[0], s->key, 0,
                 y->x, y->ld);
}

void cg_dropout_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *x = s->in[0], *y = s->out;
    cg_k_dropout(t->dev, x->rows, x->cols, y->dx, y->ld, s->f[0], s->key,
                 cg_grad_beta(t, x), x->dx, x->ld);
}

/* -- attention ------------------------------------------------------------ */

cg_var *cg_tape_attention(cg_tape *t, const cg_groups *g, const cg_csr *row,
                          cg_var *qkv, int heads, float p)
{
    assert(dense(qkv) && qkv->cols % (3 * heads) == 0);
    assert(row->n_rows == g->n_tokens && row->n_cols == qkv->rows);
    cg_step s = { .layer = CG_LAYER_attention, .in = { qkv },
                  .aux = { g, row },
                  .i = { heads, qkv->cols / (3 * heads) } };
    if (t->train && p > 0) {
        s.f[0] = p;
        s.key = cg_rng_next(&t->keys);
    }
    return cg_tape_run(t, s, g->n_tokens, qkv->cols / 3);
}

void cg_attention_fwd(cg_tape *t, cg_step *s)
{
    const cg_groups *g = s->aux[0];
    int heads = s->i[0], dim = s->i[1];
    if (s->keep)
        s->save[0] = cg_dev_work(t->dev, (size_t)heads * (size_t)g->n_square
                                 * sizeof(float));
    cg_k_attention(t->dev, g->n, g->start, g->square, g->row, g->count, heads,
                   dim, s->in[0]->x, s->f[0], s->key, s->save[0], s->out->x);
}

/* The kernel gives a row per token; tokens that read one row of qkv are added
 * by a sparse product, in their order. */
void cg_attention_bwd(cg_tape *t, const cg_step *s)
{
    const cg_groups *g = s->aux[0];
    const cg_csr *row = s->aux[1];
    cg_var *qkv = s->in[0];
    float *d = cg_dev_work(t->dev, (size_t)g->n_tokens * (size_t)qkv->cols
                           * sizeof *d);
    cg_k_attention_bwd(t->dev, g->n, g->start, g->square, g->row, s->i[0],
                       s->i[1], qkv->x, s->f[0], s->key, s->save[0],
                       s->out->dx, d);
    cg_k_spmm_bwd(t->dev, row, qkv->cols, NULL, 0, CG_ACT_NONE, d, qkv->cols,
                  0, NULL, cg_grad_beta(t, qkv), qkv->dx, qkv->ld);
}

/* -- add, concat ---------------------------------------------------------- */

/* dst = src + beta dst */
static void put(cg_tape *t, int rows, int cols, const float *src, int lds,
                float beta, float *dst, int ldd)
{
    cg_k_axpby(t->dev, rows, cols, 1, src, lds, beta, dst, ldd);
}

/* The gradient of v += dy */
static void pass_on(cg_tape *t, cg_var *v, const float *dy, int lddy)
{
    if (v->dx)
        put(t, v->rows, v->cols, dy, lddy, cg_grad_beta(t, v), v->dx, v->ld);
}

cg_var *cg_tape_add(cg_tape *t, cg_var *a, cg_var *b)
{
    assert(a->rows == b->rows && a->cols == b->cols);
    cg_step s = { .layer = CG_LAYER_add, .in = { a, b } };
    return cg_tape_run(t, s, a->rows, a->cols);
}

void cg_add_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *a = s->in[0], *b = s->in[1], *y = s->out;
    put(t, a->rows, a->cols, a->x, a->ld, 0, y->x, y->ld);
    put(t, a->rows, a->cols, b->x, b->ld, 1, y->x, y->ld);
}

void cg_add_bwd(cg_tape *t, const cg_step *s)
{
    pass_on(t, s->in[0], s->out->dx, s->out->ld);
    pass_on(t, s->in[1], s->out->dx, s->out->ld);
}

cg_var *cg_tape_concat(cg_tape *t, cg_var *a, cg_var *b)
{
    assert(a->rows == b->rows);
    cg_step s = { .layer = CG_LAYER_concat, .in = { a, b } };
    return cg_tape_run(t, s, a->rows, a->cols + b->cols);
}

void cg_concat_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *a = s->in[0], *b = s->in[1], *y = s->out;
    put(t, a->rows, a->cols, a->x, a->ld, 0, y->x, y->ld);
    put(t, b->rows, b->cols, b->x, b->ld, 0, y->x + a->cols, y->ld);
}

void cg_concat_bwd(cg_tape *t, const cg_step *s)
{
    const cg_var *y = s->out;
    pass_on(t, s->in[0], y->dx, y->ld);
    pass_on(t, s->in[1], y->dx + s->in[0]->cols, y->ld);
}

/* -- l2norm --------------------------------------------------------------- */

cg_var *cg_tape_l2norm(cg_tape *t, cg_var *x)
{
    cg_step s = { .layer = CG_LAYER_l2norm, .in = { x } };
    return cg_tape_run(t, s, x->rows, x->cols);
}

void cg_l2norm_fwd(cg_tape *t, cg_step *s)
{
    const cg_var *x = s->in[0], *y = s->out;
    s->save[0] = cg_dev_work(t->dev, (size_t)x->rows * sizeof(float));
    cg_k_l2norm(t->dev, x->rows, x->cols, x->x, x->ld, y->x, y->ld,
                s->save[0]);
}

void cg_l2norm_bwd(cg_tape *t, const cg_step *s)
{
    cg_var *x = s->in[0], *y = s->out;
    cg_k_l2norm_bwd(t->dev, x->rows, x->cols, y->x, y->ld, s->save[0], y->dx,
                    y->ld, cg_grad_sum(t, x), x->ld);
}
