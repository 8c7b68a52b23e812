/* Members that read embeddings: regressors, pairwise rankers; and the members
 * that only count.
 *
 * An ensemble is C multilayer perceptrons side by side on the same embedding,
 * their outputs weighed by the memberships of the network in C fuzzy clusters
 * (Eq. 2); without clusters it is one perceptron. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/members.h"
#include "runtime/metrics.h"

static int embedding_width(const cg_model *m)
{
    return 2 * m->config.cl_width;
}

static void declare_heads(cg_model *m, cg_member *x, int width, int out)
{
    const cg_config *c = &m->config;
    x->heads = x->info->clusters == CG_CLUSTERS_REGRESSOR ? c->fcm_clusters
               : x->info->clusters == CG_CLUSTERS_RANKER ? c->class_clusters
                                                         : 1;
    for (int k = 0; k <= c->head_layers; k++) {
        char name[32];
        int from = k > 0 ? width : embedding_width(m);
        int to = k < c->head_layers ? width : out;
        snprintf(name, sizeof name, "%d.weight", k);
        x->head_w[k] = cg_params_add(&x->params, name, x->heads * from, to,
                                     CG_INIT_FAN_IN, from);
        snprintf(name, sizeof name, "%d.bias", k);
        x->head_b[k] = cg_params_add(&x->params, name, x->heads, to,
                                     CG_INIT_FAN_IN, from);
    }
}

/* (n, out) of networks idx[0 .. n), or first .. first + n without idx. */
static cg_var *run_heads(cg_model *m, cg_member *x, const cg_embedded *d,
                         cg_tape *t, const uint32_t *idx, uint32_t first,
                         int n)
{
    const cg_config *c = &m->config;
    size_t width = (size_t)d->width, heads = (size_t)x->heads;
    const float *u = x->info->clusters == CG_CLUSTERS_NONE
                         ? NULL : d->u[x->info->clusters];
    size_t most = width > heads ? width : heads;
    float *rows = cg_xcalloc((size_t)n * most + 1, sizeof *rows);
    for (int i = 0; i < n; i++)
        memcpy(rows + (size_t)i * width,
               d->h + (idx ? idx[i] : first + (uint32_t)i) * width,
               width * sizeof *rows);
    float *h = cg_model_upload(m, rows, (size_t)n * width);
    cg_var *y = cg_tape_input(t, h, n, (int)width);
    for (int k = 0; k <= c->head_layers; k++)
        y = cg_tape_heads(t, x->heads, k == 0, y,
                          cg_params_var(&x->params, x->head_w[k]),
                          cg_params_var(&x->params, x->head_b[k]),
                          k < c->head_layers ? CG_ACT_RELU : CG_ACT_NONE);
    for (int i = 0; i < n && u; i++)
        memcpy(rows + (size_t)i * heads,
               u + (idx ? idx[i] : first + (uint32_t)i) * heads,
               heads * sizeof *rows);
    if (u) {
        float *weights = cg_model_upload(m, rows, (size_t)n * heads);
        y = cg_tape_mix(t, cg_tape_input(t, weights, n, x->heads), y);
    }
    cg_xfree(rows);
    return y;
}

/* -- regressors ------------------------------------------------------------ */

void cg_head_declare(cg_model *m, cg_member *x)
{
    declare_heads(m, x, m->config.head_width, 1);
}

void cg_head_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                     cg_tape *t, const uint32_t *idx, int n)
{
    cg_var *y = run_heads(m, x, d, t, idx, 0, n);
    cg_member_loss(m, x, t, y, d, idx, n);
}

static cg_var *run_some(cg_model *m, cg_member *x, const cg_embedded *d,
                        cg_tape *t, uint32_t first, int n)
{
    return run_heads(m, x, d, t, NULL, first, n);
}

cg_err cg_head_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                      double *score)
{
    return cg_regressor_scores(m, x, d, run_some, score);
}

/* -- rankers --------------------------------------------------------------- */

void cg_ranker_declare(cg_model *m, cg_member *x)
{
    int out = m->config.class_out;
    declare_heads(m, x, m->config.class_width, out);
    x->pair_w = cg_params_add(&x->params, "pair.weight", 2 * out, 1,
                              CG_INIT_FAN_IN, 2 * out);
    x->pair_b = cg_params_add(&x->params, "pair.bias", 1, 1, CG_INIT_FAN_IN,
                              2 * out);
}

/* Networks of a batch are compared with the next one, the last with the
 * first: row i of the matrix is 1 at i + 1, of its transpose at i - 1. */
static void next_rows(cg_model *m, int n)
{
    size_t bytes = (size_t)(3 * n + 1) * sizeof(int32_t);
    int32_t *dev = cg_dev_work(m->dev, bytes);
    int32_t *col = cg_xcalloc(3 * (size_t)n + 1, sizeof *col);
    for (int i = 0; i < n; i++) {
        col[i] = (i + 1) % n;
        col[n + i] = (i + n - 1) % n;
    }
    for (int i = 0; i <= n; i++)
        col[2 * n + i] = i;
    cg_dev_upload(m->dev, dev, col, bytes);
    cg_xfree(col);
    m->next = (cg_csr){.n_rows = n, .n_cols = n, .n_entries = n,
                       .start = dev + 2 * n, .col = dev,
                       .back_start = dev + 2 * n, .back_col = dev + n};
}

void cg_ranker_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                       cg_tape *t, const uint32_t *idx, int n)
{
    float *better = cg_xcalloc((size_t)n + 1, sizeof *better);
    const double *a = d->e->accuracy;
    cg_var *y = run_heads(m, x, d, t, idx, 0, n);
    next_rows(m, n);
    cg_var *other = cg_tape_propagate(t, &m->next, y, NULL, CG_ACT_NONE);
    y = cg_tape_concat(t, y, other);
    y = cg_tape_linear(t, y, cg_params_var(&x->params, x->pair_w),
                       cg_params_var(&x->params, x->pair_b), CG_ACT_NONE);
    for (int i = 0; i < n; i++) {
        double mine = a[idx[i]], its = a[idx[(i + 1) % n]];
        better[i] = mine > its ? 1 : mine < its ? 0 : .5f;
    }
    cg_tape_logistic(t, y, cg_model_upload(m, better, (size_t)n), 1);
    cg_xfree(better);
}

typedef struct contest {
    const float *y, *w; /* outputs (n, cols); weights of both sides */
    float bias;
    size_t cols;
} contest;

/* One side's part of the comparison. */
static double part(const contest *c, const float *w, uint32_t a)
{
    double s = 0;
    for (size_t k = 0; k < c->cols; k++)
        s += (double)w[k] * c->y[a * c->cols + k];
    return s;
}

static bool is_better(const contest *c, uint32_t a, uint32_t b)
{
    return c->bias + part(c, c->w, a) + part(c, c->w + c->cols, b) > 0;
}

/* Merge sort, worst first, bottom up: the classifier need not be an order. */
static void rank_all(const contest *c, uint32_t n, uint32_t *order)
{
    uint32_t *from = order, *to = cg_xcalloc((size_t)n + 1, sizeof *to);
    uint32_t *spare = to;
    for (uint32_t i = 0; i < n; i++)
        from[i] = i;
    for (uint32_t run = 1; run < n; run *= 2) {
        for (uint32_t lo = 0; lo < n; lo += 2 * run) {
            uint32_t mid = lo + run < n ? lo + run : n;
            uint32_t hi = mid + run < n ? mid + run : n, a = lo, b = mid;
            for (uint32_t k = lo; k < hi; k++)
                to[k] = b >= hi || (a < mid && !is_better(c, from[a], from[b]))
                            ? from[a++] : from[b++];
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, n * sizeof *order);
    cg_xfree(spare);
}

/* Outputs of all networks and the weights of both sides. */
static cg_err contest_make(contest *c, cg_model *m, cg_member *x,
                           const cg_embedded *d)
{
    size_t cols = (size_t)m->config.class_out, n = d->e->n;
    float *y = cg_xcalloc(n * cols + 2 * cols + 1, sizeof *y);
    *c = (contest){.y = y, .w = y + n * cols, .cols = cols};
    CG_TRY(cg_model_run(m, x, d, run_some, cols, y));
    cg_dev_download(m->dev, y + n * cols,
                    cg_params_var(&x->params, x->pair_w)->x,
                    2 * cols * sizeof *y);
    cg_dev_download(m->dev, &c->bias, cg_params_var(&x->params, x->pair_b)->x,
                    sizeof c->bias);
    return cg_dev_sync(m->dev);
}

cg_err cg_ranker_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                        double *score)
{
    size_t n = d->e->n;
    uint32_t *order = cg_xcalloc(n + 1, sizeof *order);
    contest c;
    cg_err err = contest_make(&c, m, x, d);
    if (err == CG_OK)
        rank_all(&c, (uint32_t)n, order);
    for (size_t i = 0; i < n && err == CG_OK; i++)
        score[order[i]] = (double)i + 1;
    cg_xfree(order);
    cg_xfree((void *)c.y);
    return err;
}

cg_err cg_ranker_strengths(cg_model *m, cg_member *x, const cg_embedded *d,
                           double *strength)
{
    contest c;
    cg_err err = contest_make(&c, m, x, d);
    for (uint32_t i = 0; i < d->e->n && err == CG_OK; i++)
        strength[i] = (part(&c, c.w, i) - part(&c, c.w + c.cols, i)) / 2;
    cg_xfree((void *)c.y);
    return err;
}

/* -- counts ---------------------------------------------------------------- */

void cg_cost_declare(cg_model *m, cg_member *x)
{
    (void)m;
    x->trained = true;
}

void cg_cost_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                     cg_tape *t, const uint32_t *idx, int n)
{
    (void)m, (void)x, (void)d, (void)t, (void)idx, (void)n;
}

cg_err cg_cost_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                      double *score)
{
    const double *count = x->info == &cg_member_table[CG_MEMBER_flops]
                              ? d->e->flops : d->e->params;
    (void)m;
    for (uint32_t i = 0; i < d->e->n; i++)
        score[i] = log10(count[i] + 1);
    return CG_OK;
}
