/* The member that fine-tuning adds to a model of nets: a Gaussian process on
 * what the nets make of a network, and on how it is built.
 *
 * The nets stay as they are: some ten labels say too little to move their
 * thousands of weights, but enough to say which directions of their states
 * matter in this family, and which of its operators and links. The prediction
 * is
 *
 *     b z + GP(t - b z),   b = max(0, (z.t + 2.4) / (z.z + 3))
 *
 * of the labels t of n samples and the zero-shot order z of the ensemble: what
 * is far from all samples keeps that order. b is the slope of t on z by least
 * squares, as if three more samples had told of a slope of .8. */
#include <math.h>
#include <string.h>

#include "backend/linalg.h"
#include "runtime/metrics.h"
#include "runtime/process.h"

/* cg_process.number: sizes, moments of z before it is standardised, b. */
enum { SAMPLES, VISITS, LINKS, LEAN_MEAN, LEAN_SD, SLOPE, NUMBERS };

static const cg_gp_prior prior = {.noise = {-2.3, 1}, .signal = {0, 1.5},
                                  .length = {.7, 1}};

/* -- sizes ----------------------------------------------------------------- */

bool cg_process_wanted(const cg_model *m)
{
    return cg_model_nets(m) > 0 && !m->member[CG_MEMBER_encoder].trained;
}

static size_t size_of(double x, double most)
{
    return x >= 0 && x <= most ? (size_t)x : 0;
}

/* What `number` does not say follows from the model; a size of 0 is none. */
static void set_sizes(const cg_model *m, cg_process *p)
{
    size_t columns[CG_PROCESS_GROUPS], viewed;
    p->nets = (size_t)cg_model_nets(m);
    p->width = (size_t)m->config.gnn_width;
    p->voices = p->nets + m->member[CG_MEMBER_ridge].trained;
    p->n = size_of(p->number[SAMPLES], 1e6);
    p->visits = size_of(p->number[VISITS], CG_WALK_MOST);
    p->links = size_of(p->number[LINKS], CG_WALK_MOST);
    p->groups = cg_process_groups(m, p, columns, &viewed);
    p->d = 0;
    for (size_t i = 0; i < p->groups; i++)
        p->d += columns[i];
}

bool cg_process_part_of(const cg_model *m, cg_process *p, int i,
                        cg_process_part *part)
{
    if (p->number)
        set_sizes(m, p);
    const cg_process_part parts[] = {
        {"number", 1, NUMBERS, &p->number},
        {"state", p->nets * p->width, 2, &p->state},
        {"walk", p->visits + p->links, 3, &p->walk},
        {"view", 1, cg_process_view_size(m, p), &p->view},
        {"said", p->voices, 3, &p->said},
        {"x", p->n, p->d, &p->x},
        {"y", 1, p->n, &p->y},
        {"theta", 1, cg_gp_parameters(p->groups), &p->theta}};
    if (i >= (int)(sizeof parts / sizeof *parts))
        return false;
    *part = parts[i];
    return true;
}

static void allocate(const cg_model *m, cg_process *p, size_t n,
                     const cg_walk_columns *c)
{
    cg_process_part part;
    *p = (cg_process){.number = cg_xcalloc(NUMBERS, sizeof(double))};
    p->number[SAMPLES] = (double)n;
    p->number[VISITS] = (double)c->visits;
    p->number[LINKS] = (double)c->links;
    for (int i = 1; cg_process_part_of(m, p, i, &part); i++)
        *part.at = cg_xcalloc(part.rows * part.cols + 1, sizeof(double));
    memcpy(p->walk, c->column,
           3 * (c->visits + c->links) * sizeof *p->walk);
}

void cg_process_free(cg_process *p)
{
    double *all[] = {p->number, p->state, p->walk, p->view, p->said,
                     p->x, p->y, p->theta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cg_xfree(all[i]);
    cg_gp_free(&p->gp);
    *p = (cg_process){0};
}

/* -- the zero-shot order --------------------------------------------------- */

static bool has_voice(const cg_model *m, int id)
{
    return cg_model_has_net(m, id) ||
           (id == CG_MEMBER_ridge && m->member[id].trained);
}

/* said (voices, n), members in their order. */
static cg_err ask(cg_model *m, const cg_embedded *d, double *said)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        if (!has_voice(m, i))
            continue;
        CG_TRY(cg_model_scores(m, (cg_member_id)i, d, said));
        said += d->e->n;
    }
    return CG_OK;
}

/* z (n) as runtime/ensemble.c weighs the members of a model that was not
 * tuned, but by the family's moments: the same for one network alone. */
static void lean(const cg_process *p, const double *said, size_t n, double *z)
{
    const double *f = p->number;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < p->voices; k++) {
            const double *s = p->said + 3 * k;
            sum += s[1] > 0 ? s[2] * (said[k * n + i] - s[0]) / s[1] : 0;
        }
        z[i] = f[LEAN_SD] > 0 ? (sum - f[LEAN_MEAN]) / f[LEAN_SD] : 0;
    }
}

/* Heap. */
static cg_err lean_of(cg_model *m, const cg_process *p, const cg_embedded *d,
                      double **z)
{
    size_t n = d->e->n;
    double *said = cg_xcalloc(p->voices * n + 1, sizeof *said);
    cg_err err = ask(m, d, said);
    *z = cg_xcalloc(n + 1, sizeof **z);
    if (err == CG_OK)
        lean(p, said, n, *z);
    cg_xfree(said);
    return err;
}

static cg_err fit_lean(cg_model *m, cg_process *p, const cg_embedded *family)
{
    size_t n = family->e->n;
    double *said = cg_xcalloc((p->voices + 1) * n + 1, sizeof *said);
    double *z = said + p->voices * n, *f = p->number;
    cg_err err = ask(m, family, said);
    for (size_t k = 0; k < p->voices; k++)
        cg_moments(said + k * n, n, &p->said[3 * k], &p->said[3 * k + 1]);
    f[LEAN_MEAN] = 0;
    f[LEAN_SD] = 1;
    lean(p, said, n, z);
    cg_moments(z, n, &f[LEAN_MEAN], &f[LEAN_SD]);
    cg_xfree(said);
    return err;
}

/* -- the process ----------------------------------------------------------- */

/* With parameters that are looked for, or `fixed`: those of p->theta. */
static cg_err fit_process(const cg_model *m, cg_process *p, bool fixed)
{
    size_t columns[CG_PROCESS_GROUPS], viewed;
    cg_gp_options o = {.columns = columns, .prior = &prior,
                       .n_groups = cg_process_groups(m, p, columns, &viewed),
                       .fixed = fixed ? p->theta : NULL};
    CG_TRY(cg_gp_fit(&p->gp, p->x, p->y, p->n, p->d, &o));
    memcpy(p->theta, p->gp.theta,
           cg_gp_parameters(p->groups) * sizeof *p->theta);
    return CG_OK;
}

/* Labels that are all the same are no order to lean on: b is 0. */
static void set_targets(cg_process *p, const cg_label *label,
                        const cg_examples *e, const double *z)
{
    double zt = 0, zz = 0;
    bool same = true;
    for (size_t i = 0; i < p->n; i++) {
        p->y[i] = cg_label_of(label, e->accuracy[i], e->flops[i]);
        same &= e->accuracy[i] == e->accuracy[0];
        zt += z[i] * p->y[i];
        zz += z[i] * z[i];
    }
    double b = same ? 0 : fmax(0, (zt + 2.4) / (zz + 3));
    p->number[SLOPE] = b;
    for (size_t i = 0; i < p->n; i++)
        p->y[i] = same ? 0 : p->y[i] - b * z[i];
}

static cg_err fit(cg_model *m, cg_process *p, const cg_embedded *family,
                  const cg_embedded *samples, const cg_label *label)
{
    double *z = NULL;
    CG_TRY(cg_process_fit_views(m, p, family));
    CG_TRY(fit_lean(m, p, family));
    cg_err err = lean_of(m, p, samples, &z);
    if (err == CG_OK) {
        cg_walk *walk = cg_walk_new();
        cg_process_features(m, p, walk, samples, z, 0, p->n, p->x);
        cg_walk_free(walk);
        set_targets(p, label, samples->e, z);
        err = fit_process(m, p, false);
    }
    cg_xfree(z);
    return err;
}

cg_err cg_process_fit(cg_model *m, const cg_embedded *family,
                      const cg_embedded *samples, const double *weight)
{
    cg_process *p = &m->process;
    cg_member *x = &m->member[CG_MEMBER_tuned];
    const cg_examples *e = samples->e;
    cg_walk_columns columns = cg_walk_columns_of(family->e);
    cg_process_free(p);
    allocate(m, p, e->n, &columns);
    cg_xfree(columns.column);
    for (int i = 0, k = 0; i < CG_MEMBER_COUNT; i++)
        if (has_voice(m, i))
            p->said[3 * k++ + 2] = weight[i];
    cg_label_fit(&x->label, CG_LABEL_ERROR_LOG, e->n, e->accuracy, e->flops);
    cg_err err = fit(m, p, family, samples, &x->label);
    x->trained = err == CG_OK;
    if (err != CG_OK)
        cg_process_free(p);
    return err;
}

cg_err cg_process_restore(const cg_model *m, cg_process *p)
{
    cg_process_part part;
    if (p->n < 2)
        return cg_fail(CG_EFORMAT, "tensor tuned.number holds no sizes");
    for (int i = 0; cg_process_part_of(m, p, i, &part); i++)
        for (size_t k = 0; k < part.rows * part.cols; k++)
            if (!isfinite((*part.at)[k]))
                return cg_fail(CG_EFORMAT, "tensor tuned.%s: value %zu is %g",
                               part.name, k, (*part.at)[k]);
    return fit_process(m, p, true);
}

/* -- a member -------------------------------------------------------------- */

void cg_process_declare(cg_model *m, cg_member *x)
{
    (void)m, (void)x;
}

void cg_process_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                        cg_tape *t, const uint32_t *idx, int n)
{
    (void)m, (void)x, (void)d, (void)t, (void)idx, (void)n;
}

/* score (n) and, unless NULL, variance (n). */
static cg_err predict(cg_model *m, const cg_embedded *d, double *score,
                      double *variance)
{
    const cg_process *p = &m->process;
    size_t n = d->e->n;
    double *x = cg_xcalloc(CG_PROCESS_BLOCK * p->d, sizeof *x), *z = NULL;
    cg_walk *walk = cg_walk_new();
    cg_err err = cg_linalg_open();
    if (err == CG_OK)
        err = lean_of(m, p, d, &z);
    for (size_t i = 0; i < n && err == CG_OK; i += CG_PROCESS_BLOCK) {
        size_t end = i + CG_PROCESS_BLOCK < n ? i + CG_PROCESS_BLOCK : n;
        cg_process_features(m, p, walk, d, z, i, end, x);
        err = cg_gp_predict(&p->gp, x, end - i, score + i,
                            variance ? variance + i : NULL);
        for (size_t k = i; k < end; k++)
            score[k] += p->number[SLOPE] * z[k];
    }
    cg_walk_free(walk);
    cg_xfree(z);
    cg_xfree(x);
    return err;
}

cg_err cg_process_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                         double *score)
{
    (void)x;
    return predict(m, d, score, NULL);
}

cg_err cg_process_spread(cg_model *m, const cg_embedded *d, double *spread)
{
    double *score = cg_xcalloc((size_t)d->e->n + 1, sizeof *score);
    cg_err err = predict(m, d, score, spread);
    for (size_t i = 0; i < d->e->n && err == CG_OK; i++)
        spread[i] = sqrt(spread[i]);
    cg_xfree(score);
    return err;
}
