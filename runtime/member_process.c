/* The member that fine-tuning adds to a model of nets: Gaussian processes on
 * what the nets make of a network.
 *
 * The nets stay as they are: some ten labels say too little to move their
 * thousands of weights, but enough to say which directions of their states
 * matter in this family. The prediction is
 *
 *     (1 - w) (b z + GP(t - b z)) + w GP(t),   w = n^2 / (n^2 + 900)
 *     b = max(0, (z.t + 2.4) / (z.z + 3))
 *
 * of the labels t of n samples and the zero-shot order z of the ensemble: few
 * samples correct that order, many replace it. b is the slope of t on z by
 * least squares, as if three more samples had told of a slope of .8. */
#include <math.h>
#include <string.h>

#include "runtime/members.h"
#include "runtime/metrics.h"

enum { COMPONENTS = 8 };

/* cg_process.number: sizes, moments of z before it is standardised, b, w. */
enum { SAMPLES, VIEWED, LEAN_MEAN, LEAN_SD, SLOPE, SHARE, NUMBERS };

/* Groups of features share a length: each net's, structure, z. */
static const cg_gp_prior prior = {.signal = {0, 1.5}, .noise = {-2.3, 1},
                                  .length = {.7, 1}};

/* -- sizes ----------------------------------------------------------------- */

static bool is_net(const cg_model *m, int id)
{
    return m->member[id].trained && m->member[id].info->kind == CG_KIND_NET;
}

static size_t count_nets(const cg_model *m)
{
    size_t n = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        n += is_net(m, i);
    return n;
}

bool cg_process_wanted(const cg_model *m)
{
    return count_nets(m) > 0 && !m->member[CG_MEMBER_encoder].trained;
}

/* What the first net reads beside the graph; else what the ridge does. */
static const cg_structures *structures(const cg_model *m)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        if (is_net(m, i) && m->member[i].beside.n > 0)
            return &m->member[i].beside;
    return &m->ridge;
}

/* What `number` does not say follows from the model; a size of 0 is none. */
static void set_sizes(const cg_model *m, cg_process *p)
{
    size_t columns = (size_t)structures(m)->n;
    double n = p->number[SAMPLES], k = p->number[VIEWED];
    p->nets = count_nets(m);
    p->width = (size_t)m->config.gnn_width;
    p->voices = p->nets + m->member[CG_MEMBER_ridge].trained;
    p->k = k >= 1 && k <= COMPONENTS ? (size_t)k : 0;
    p->n = n >= 2 && n <= 1e6 ? (size_t)n : 0;
    p->d = p->nets * p->k + columns + 1;
    p->groups = p->nets + (columns > 0) + 1;
}

bool cg_process_part_of(const cg_model *m, cg_process *p, int i,
                        cg_process_part *part)
{
    if (p->number)
        set_sizes(m, p);
    const cg_process_part parts[] = {
        {"number", 1, NUMBERS, &p->number},
        {"mean", p->nets, p->width, &p->mean},
        {"view", p->nets * p->k, p->width, &p->view},
        {"said", p->voices, 3, &p->said},
        {"x", p->n, p->d, &p->x},
        {"y", 2, p->n, &p->y},
        {"theta", 2, 2 + p->groups, &p->theta}};
    if (i >= (int)(sizeof parts / sizeof *parts))
        return false;
    *part = parts[i];
    return true;
}

static void allocate(const cg_model *m, cg_process *p, size_t n, size_t k)
{
    cg_process_part part;
    *p = (cg_process){.number = cg_xcalloc(NUMBERS, sizeof(double))};
    p->number[SAMPLES] = (double)n;
    p->number[VIEWED] = (double)k;
    for (int i = 1; cg_process_part_of(m, p, i, &part); i++)
        *part.at = cg_xcalloc(part.rows * part.cols + 1, sizeof(double));
}

void cg_process_free(cg_process *p)
{
    double *all[] = {p->number, p->mean, p->view, p->said, p->x, p->y,
                     p->theta};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cg_xfree(all[i]);
    cg_gp_free(&p->gp[0]);
    cg_gp_free(&p->gp[1]);
    *p = (cg_process){0};
}

/* -- the zero-shot order --------------------------------------------------- */

static bool has_voice(const cg_model *m, int id)
{
    return is_net(m, id) ||
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

/* -- features -------------------------------------------------------------- */

static const float *state(const cg_process *p, const cg_embedded *d, size_t i,
                          size_t net)
{
    return d->h + (i * p->nets + net) * p->width;
}

/* Of one net: components of its states, each column standardised first: what
 * varies most is not what tells most. Both scalings go into the view. */
static cg_err fit_view(cg_process *p, const cg_embedded *d, size_t net)
{
    size_t n = d->e->n, w = p->width;
    double *mean = p->mean + net * w, *x = cg_xcalloc(n * w + n, sizeof *x);
    double *sd = cg_xcalloc(w, sizeof *sd), *column = x + n * w;
    for (size_t j = 0; j < w; j++) {
        for (size_t i = 0; i < n; i++)
            column[i] = (double)state(p, d, i, net)[j];
        cg_moments(column, n, &mean[j], &sd[j]);
        sd[j] = sd[j] > 1e-9 ? sd[j] : INFINITY;
        for (size_t i = 0; i < n; i++)
            x[i * w + j] = (column[i] - mean[j]) / sd[j];
    }
    cg_pca a;
    cg_err err = cg_pca_fit(&a, x, n, w, p->k);
    for (size_t c = 0; c < p->k && err == CG_OK; c++) {
        bool flat = a.variance[c] <= 1e-9 * a.variance[0];
        for (size_t j = 0; j < w && !flat; j++)
            p->view[(net * p->k + c) * w + j] =
                a.component[c * w + j] / sd[j] / sqrt(a.variance[c]);
    }
    if (err == CG_OK)
        cg_pca_free(&a);
    cg_xfree(sd);
    cg_xfree(x);
    return err;
}

/* x (n, d); z (n): the zero-shot order. */
static void features(const cg_model *m, const cg_process *p,
                     const cg_embedded *d, const double *z, double *x)
{
    const cg_structures *s = structures(m);
    for (size_t i = 0; i < d->e->n; i++) {
        for (size_t c = 0; c < p->nets * p->k; c++) {
            const double *mean = p->mean + c / p->k * p->width;
            const double *view = p->view + c * p->width;
            const float *h = state(p, d, i, c / p->k);
            double sum = 0;
            for (size_t j = 0; j < p->width; j++)
                sum += ((double)h[j] - mean[j]) * view[j];
            *x++ = sum;
        }
        for (int k = 0; k < s->n; k++)
            *x++ = (double)d->s[i * CG_STRUCTURE_COUNT + (size_t)s->k[k]];
        *x++ = z[i];
    }
}

/* group (d); heap. */
static size_t *groups_of(const cg_process *p)
{
    size_t *group = cg_xcalloc(p->d, sizeof *group);
    for (size_t j = 0; j < p->d; j++)
        group[j] = j < p->nets * p->k ? j / p->k
                   : j < p->d - 1     ? p->nets : p->groups - 1;
    return group;
}

/* -- the processes --------------------------------------------------------- */

/* With parameters that are looked for, or `fixed`: those of p->theta. */
static cg_err fit_processes(cg_process *p, bool fixed)
{
    size_t *group = groups_of(p), width = 2 + p->groups;
    cg_err err = CG_OK;
    for (size_t k = 0; k < 2 && err == CG_OK; k++) {
        cg_gp *g = &p->gp[k];
        double *theta = p->theta + k * width;
        cg_gp_options o = {.group = group, .n_groups = p->groups,
                           .fixed = fixed ? theta : NULL, .prior = &prior};
        err = cg_gp_fit(g, p->x, p->y + k * p->n, p->n, p->d, &o);
        if (err != CG_OK || fixed)
            continue;
        theta[0] = g->signal;
        theta[1] = g->noise;
        memcpy(theta + 2, g->length, p->groups * sizeof *theta);
    }
    cg_xfree(group);
    return err;
}

/* Labels that are all the same are no order to lean on: b is 0. */
static void set_targets(cg_process *p, const cg_label *label,
                        const cg_examples *e, const double *z)
{
    double zt = 0, zz = 0, n = (double)p->n, *t = p->y + p->n;
    bool same = true;
    for (size_t i = 0; i < p->n; i++) {
        t[i] = cg_label_of(label, e->accuracy[i], e->flops[i]);
        same &= e->accuracy[i] == e->accuracy[0];
        zt += z[i] * t[i];
        zz += z[i] * z[i];
    }
    double b = same ? 0 : fmax(0, (zt + 2.4) / (zz + 3));
    p->number[SLOPE] = b;
    p->number[SHARE] = n * n / (n * n + 900);
    for (size_t i = 0; i < p->n; i++) {
        t[i] = same ? 0 : t[i];
        p->y[i] = t[i] - b * z[i];
    }
}

static cg_err fit(cg_model *m, cg_process *p, const cg_embedded *family,
                  const cg_embedded *samples, const cg_label *label)
{
    double *z = NULL;
    cg_err err = fit_lean(m, p, family);
    for (size_t i = 0; i < p->nets && err == CG_OK; i++)
        err = fit_view(p, family, i);
    if (err == CG_OK)
        err = lean_of(m, p, samples, &z);
    if (err == CG_OK) {
        features(m, p, samples, z, p->x);
        set_targets(p, label, samples->e, z);
        err = fit_processes(p, false);
    }
    cg_xfree(z);
    return err;
}

/* Components of few networks are chance: one more for every fourth. */
static size_t components_of(const cg_model *m, size_t n)
{
    size_t width = (size_t)m->config.gnn_width;
    size_t k = n / 4 + 1 < COMPONENTS ? n / 4 + 1 : COMPONENTS;
    return k < width ? k : width;
}

cg_err cg_process_fit(cg_model *m, const cg_embedded *family,
                      const cg_embedded *samples, const double *weight)
{
    cg_process *p = &m->process;
    cg_member *x = &m->member[CG_MEMBER_tuned];
    const cg_examples *e = samples->e;
    cg_process_free(p);
    allocate(m, p, e->n, components_of(m, family->e->n));
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
    if (p->n == 0 || p->k == 0)
        return cg_fail(CG_EFORMAT, "tensor tuned.number holds no sizes");
    for (int i = 0; cg_process_part_of(m, p, i, &part); i++)
        for (size_t k = 0; k < part.rows * part.cols; k++)
            if (!isfinite((*part.at)[k]))
                return cg_fail(CG_EFORMAT, "tensor tuned.%s: value %zu is %g",
                               part.name, k, (*part.at)[k]);
    return fit_processes(p, true);
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

/* score and spread (n), spread NULL: not wanted. Of both processes together it
 * is as if they erred alike. */
static cg_err predict(cg_model *m, const cg_embedded *d, double *score,
                      double *spread)
{
    const cg_process *p = &m->process;
    size_t n = d->e->n;
    double b = p->number[SLOPE], w = p->number[SHARE], *z = NULL;
    double *x = cg_xcalloc(n * p->d + 4 * n + 1, sizeof *x);
    double *mean = x + n * p->d, *variance = spread ? mean + 2 * n : NULL;
    cg_err err = lean_of(m, p, d, &z);
    if (err == CG_OK)
        features(m, p, d, z, x);
    for (size_t k = 0; k < 2 && err == CG_OK; k++)
        err = cg_gp_predict(&p->gp[k], x, n, mean + k * n,
                            variance ? variance + k * n : NULL);
    for (size_t i = 0; i < n && err == CG_OK; i++) {
        score[i] = (1 - w) * (b * z[i] + mean[i]) + w * mean[n + i];
        if (spread)
            spread[i] = (1 - w) * sqrt(variance[i]) +
                        w * sqrt(variance[n + i]);
    }
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
    cg_xfree(score);
    return err;
}
