/* The member that needs no training by steps: ridge regression of the label on
 * some numbers of the structure, every family with the same weight. */
#include <math.h>

#include "runtime/members.h"
#include "runtime/ridge.h"

void cg_linear_declare(cg_model *m, cg_member *x)
{
    if (m->ridge.n > 0)
        cg_params_add(&x->params, "weight", m->ridge.n, 1, CG_INIT_ZERO, 0);
}

void cg_linear_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                       cg_tape *t, const uint32_t *idx, int n)
{
    (void)m, (void)x, (void)d, (void)t, (void)idx, (void)n;
}

/* Families' shares of the sum of squares: rows are scaled by the root. */
static double *shares(const cg_model *m, const cg_embedded *d)
{
    size_t n = d->e->n, families = m->families.list.len;
    double *share = cg_xcalloc(n + 1, sizeof *share);
    size_t *count = cg_xcalloc(families + 1, sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[d->kin.family[i]]++;
    for (size_t i = 0; i < n; i++)
        share[i] = sqrt((double)n / (double)families /
                        (double)count[d->kin.family[i]]);
    cg_xfree(count);
    return share;
}

cg_err cg_linear_fit(cg_model *m, cg_member *x, const cg_embedded *d)
{
    const cg_structures *s = &m->ridge;
    size_t n = d->e->n, w = (size_t)s->n;
    double *share = shares(m, d), *y = cg_xcalloc(n + 1, sizeof *y);
    double *rows = cg_xcalloc(n * w + 1, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        y[i] = share[i] * cg_member_label(m, x, d, (uint32_t)i);
        for (size_t k = 0; k < w; k++)
            rows[i * w + k] = share[i] *
                (double)d->s[i * CG_STRUCTURE_COUNT + (size_t)s->k[k]];
    }
    double penalty = m->config.ridge_penalty * (double)n;
    cg_ridge r = {0};
    cg_err err = cg_ridge_fit(&r, rows, y, n, w, false, &penalty, 1);
    float *weight = cg_xcalloc(w + 1, sizeof *weight);
    for (size_t k = 0; k < w && err == CG_OK; k++)
        weight[k] = (float)r.weight[k];
    if (err == CG_OK) {
        cg_dev_upload(m->dev, x->params.x, weight, w * sizeof *weight);
        err = cg_dev_sync(m->dev);
    }
    cg_ridge_free(&r);
    cg_xfree(weight);
    cg_xfree(rows);
    cg_xfree(share);
    cg_xfree(y);
    return err;
}

cg_err cg_linear_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                        double *score)
{
    const cg_structures *s = &m->ridge;
    float weight[CG_STRUCTURE_COUNT];
    cg_dev_download(m->dev, weight, x->params.x,
                    (size_t)s->n * sizeof *weight);
    CG_TRY(cg_dev_sync(m->dev));
    for (size_t i = 0; i < d->e->n; i++) {
        score[i] = 0;
        for (int k = 0; k < s->n; k++)
            score[i] += (double)weight[k] *
                (double)d->s[i * CG_STRUCTURE_COUNT + (size_t)s->k[k]];
    }
    return CG_OK;
}
