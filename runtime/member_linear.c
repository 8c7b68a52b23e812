/* The member that needs no training by steps: ridge regression of the label on
 * some numbers of the structure, once for all families together, where every
 * one has the same weight, and once for each: what a layer is worth differs. */
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

/* What a row is scaled by, the root of its share of the sum of squares, so that
 * families have the same. */
static void equal_shares(const cg_model *m, const cg_embedded *d,
                         double *share)
{
    size_t n = d->e->n, families = m->families.list.len;
    size_t *count = cg_xcalloc(families + 1, sizeof *count);
    for (size_t i = 0; i < n; i++)
        count[d->kin.family[i]]++;
    for (size_t i = 0; i < n; i++)
        share[i] = sqrt((double)n / (double)families /
                        (double)count[d->kin.family[i]]);
    cg_xfree(count);
}

/* weight (m->ridge.n) by the rows of d that have a share. */
static cg_err fit(const cg_model *m, const cg_member *x, const cg_embedded *d,
                  const double *share, double *weight)
{
    const cg_structures *s = &m->ridge;
    size_t n = 0, w = (size_t)s->n;
    double *y = cg_xcalloc((size_t)d->e->n + 1, sizeof *y);
    double *rows = cg_xcalloc((size_t)d->e->n * w + 1, sizeof *rows);
    for (uint32_t i = 0; i < d->e->n; i++) {
        if (share[i] == 0)
            continue;
        y[n] = share[i] * cg_member_label(m, x, d, i);
        for (size_t k = 0; k < w; k++)
            rows[n * w + k] = share[i] *
                (double)d->s[(size_t)i * CG_STRUCTURE_COUNT + (size_t)s->k[k]];
        n++;
    }
    double penalty = m->config.ridge_penalty * (double)n;
    cg_ridge r = {0};
    cg_err err = cg_ridge_fit(&r, rows, y, n, w, false, &penalty, 1);
    for (size_t k = 0; k < w && err == CG_OK; k++)
        weight[k] = r.weight[k];
    cg_ridge_free(&r);
    cg_xfree(rows);
    cg_xfree(y);
    return err;
}

/* From one network nothing is learnt. */
static cg_err fit_families(cg_model *m, const cg_member *x,
                           const cg_embedded *d, double *share,
                           const double *all)
{
    double own[CG_STRUCTURE_COUNT];
    for (uint32_t f = 0; f < m->families.list.len; f++) {
        cg_family *one = &m->families.list.data[f];
        bool enough = one->networks >= 2;
        for (uint32_t i = 0; i < d->e->n; i++)
            share[i] = d->kin.family[i] == f;
        if (enough)
            CG_TRY(fit(m, x, d, share, own));
        for (int k = 0; k < m->ridge.n; k++)
            one->slope[m->ridge.k[k]] = enough ? own[k] : all[k];
    }
    return CG_OK;
}

cg_err cg_linear_fit(cg_model *m, cg_member *x, const cg_embedded *d)
{
    double weight[CG_STRUCTURE_COUNT];
    float upload[CG_STRUCTURE_COUNT];
    double *share = cg_xcalloc((size_t)d->e->n + 1, sizeof *share);
    equal_shares(m, d, share);
    cg_err err = fit(m, x, d, share, weight);
    if (err == CG_OK)
        err = fit_families(m, x, d, share, weight);
    cg_xfree(share);
    CG_TRY(err);
    for (int k = 0; k < m->ridge.n; k++)
        upload[k] = (float)weight[k];
    cg_dev_upload(m->dev, x->params.x, upload,
                  (size_t)m->ridge.n * sizeof *upload);
    return cg_dev_sync(m->dev);
}

/* Weights for network i, by structure: the nearer its family, the more that
 * family's. */
static void weights_of(const cg_model *m, const float *all,
                       const cg_kinship *kin, uint32_t i, double *weight)
{
    const cg_families *f = &m->families;
    for (int j = 0; j < m->ridge.n; j++) {
        int k = m->ridge.k[j];
        double own = f->list.len > 0 ? f->list.data[kin->family[i]].slope[k]
                                     : NAN;
        weight[k] = (double)all[j];
        if (!isnan(own))
            weight[k] += kin->near[i] * (own - weight[k]);
    }
}

static cg_err common_weights(const cg_model *m, const cg_member *x,
                             float *all)
{
    cg_dev_download(m->dev, all, x->params.x,
                    (size_t)m->ridge.n * sizeof *all);
    return cg_dev_sync(m->dev);
}

cg_err cg_linear_slope(cg_model *m, const cg_embedded *d, double *slope)
{
    const cg_member *x = &m->member[CG_MEMBER_ridge];
    float all[CG_STRUCTURE_COUNT];
    double weight[CG_STRUCTURE_COUNT] = {0};
    for (int k = 0; k < CG_STRUCTURE_COUNT; k++)
        slope[k] = 0;
    if (!x->trained)
        return CG_OK;
    CG_TRY(common_weights(m, x, all));
    for (uint32_t i = 0; i < d->e->n; i++) {
        weights_of(m, all, &d->kin, i, weight);
        for (int k = 0; k < CG_STRUCTURE_COUNT; k++)
            slope[k] += weight[k] / (double)d->e->n;
    }
    return CG_OK;
}

cg_err cg_linear_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                        double *score)
{
    float all[CG_STRUCTURE_COUNT];
    double weight[CG_STRUCTURE_COUNT];
    CG_TRY(common_weights(m, x, all));
    for (uint32_t i = 0; i < d->e->n; i++) {
        weights_of(m, all, &d->kin, i, weight);
        score[i] = 0;
        for (int j = 0; j < m->ridge.n; j++) {
            int k = m->ridge.k[j];
            score[i] += weight[k] *
                (double)d->s[(size_t)i * CG_STRUCTURE_COUNT + (size_t)k];
        }
    }
    return CG_OK;
}
