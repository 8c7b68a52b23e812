#include "runtime/gp.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/linalg.h"
#include "base/arena.h"
#include "runtime/metrics.h"

#define LOG_2PI 1.8378770664093453
#define BLOCK 256     /* points predicted at a time */
#define STEPS 100     /* of the search at most */
#define FLAT 1e-4     /* stop where no slope is steeper, per unit of the log */
#define NO_GAIN 1e-7  /* or where a step gains less, relative */
#define LEAP 2.0      /* longest step in any logarithm */
#define HALVINGS 25

/* Parameters: noise, signals, lengths; theta are their logarithms. */
enum { NOISE, SIGNAL };

static size_t signals_of(size_t groups)
{
    return groups > 1 ? groups + 1 : 1;
}

size_t cg_gp_parameters(size_t groups)
{
    return SIGNAL + signals_of(groups) + groups;
}

typedef struct task {
    const double *y;     /* (n) less the mean */
    size_t n, p, pairs;  /* p parameters; pairs of rows a > b, a first */
    size_t groups, signals, length; /* length: the first one's place */
    double *d2;          /* (pairs, groups) squared distances */
    double *low, *high;  /* (p) bounds of theta */
    double *centre, *sd; /* (p) of the prior */
    double *value;       /* (p) the parameters themselves */
    double *l;           /* (n, n) */
    double *alpha;       /* (n) */
} task;

/* -- covariance ------------------------------------------------------------ */

/* m(r), and how fast it grows with the logarithm of a length that r2, a part
 * of the square of r, is measured in: that is `growth` times r2. */
static double matern(double square, double *growth)
{
    double r = sqrt(5 * square), e = exp(-r);
    if (growth)
        *growth = 5. / 3 * (1 + r) * e;
    return (1 + r + r * r / 3) * e;
}

/* Of two rows, r2 (groups) apart in units of the lengths. */
static double cov(const double *signal, const double *r2, size_t groups)
{
    double sum = 0, all = 0;
    for (size_t k = 0; k < groups; k++) {
        sum += signal[k] * matern(r2[k], NULL);
        all += r2[k];
    }
    return groups > 1 ? sum + signal[groups] * matern(all, NULL) : sum;
}

static double cov_of_one(const double *signal, size_t groups)
{
    double sum = 0;
    for (size_t k = 0; k < signals_of(groups); k++)
        sum += signal[k];
    return sum;
}

/* What `weight` times this pair's covariance adds to the slopes. */
static void pair_slopes(const task *t, const double *r2, double weight,
                        double *slope)
{
    const double *signal = t->value + SIGNAL;
    double all = 0, together = 0, growth;
    for (size_t k = 0; k < t->groups; k++)
        all += r2[k];
    if (t->groups > 1) {
        slope[SIGNAL + t->groups] +=
            weight * signal[t->groups] * matern(all, &together);
        together *= signal[t->groups];
    }
    for (size_t k = 0; k < t->groups; k++) {
        slope[SIGNAL + k] += weight * signal[k] * matern(r2[k], &growth);
        slope[t->length + k] +=
            weight * r2[k] * (signal[k] * growth + together);
    }
}

static void scaled(const task *t, const double *d2, double *r2)
{
    for (size_t k = 0; k < t->groups; k++) {
        double length = t->value[t->length + k];
        r2[k] = d2[k] / length / length;
    }
}

/* t->l = Cholesky of the covariance of y, t->alpha = its solution for y. */
static cg_err condition(task *t, double *likelihood)
{
    size_t n = t->n;
    double *r2 = cg_xcalloc(t->groups, sizeof *r2), fit = 0;
    const double *d2 = t->d2, *signal = t->value + SIGNAL;
    for (size_t a = 0; a < n; a++) {
        t->l[a * n + a] = cov_of_one(signal, t->groups) + t->value[NOISE];
        for (size_t b = 0; b < a; b++, d2 += t->groups) {
            scaled(t, d2, r2);
            t->l[a * n + b] = cov(signal, r2, t->groups);
        }
    }
    cg_xfree(r2);
    CG_TRY(cg_cholesky(n, t->l));
    memcpy(t->alpha, t->y, n * sizeof *t->y);
    cg_cholesky_solve(n, t->l, 1, t->alpha);
    for (size_t i = 0; i < n; i++)
        fit += t->y[i] * t->alpha[i];
    *likelihood = -.5 * (fit + cg_cholesky_logdet(n, t->l) +
                         (double)n * LOG_2PI);
    return CG_OK;
}

/* slope (p) of the likelihood: half of the sum of (alpha alpha^T - K^-1) o dK,
 * both triangles. t->l becomes the inverse. */
static void slopes(task *t, double *slope)
{
    size_t n = t->n;
    double *r2 = cg_xcalloc(t->groups, sizeof *r2), diagonal = 0;
    const double *d2 = t->d2;
    memset(slope, 0, t->p * sizeof *slope);
    cg_cholesky_inverse(n, t->l);
    for (size_t a = 0; a < n; a++) {
        diagonal += t->alpha[a] * t->alpha[a] - t->l[a * n + a];
        for (size_t b = 0; b < a; b++, d2 += t->groups) {
            scaled(t, d2, r2);
            pair_slopes(t, r2, t->alpha[a] * t->alpha[b] - t->l[a * n + b],
                        slope);
        }
    }
    for (size_t i = 0; i < SIGNAL + t->signals; i++)
        slope[i] += .5 * diagonal * t->value[i];
    cg_xfree(r2);
}

/* -- what is climbed ------------------------------------------------------- */

/* The logarithm of the prior, but for its constant; adds to the slope. */
static double believe(const task *t, const double *theta, double *slope)
{
    double sum = 0;
    for (size_t i = 0; i < t->p; i++) {
        double z = (theta[i] - t->centre[i]) / t->sd[i];
        sum -= .5 * z * z;
        if (slope)
            slope[i] -= z / t->sd[i];
    }
    return sum;
}

/* The log likelihood with the prior, and, if slope is not NULL, its gradient;
 * -INFINITY where the covariance is singular to working precision. */
static double evaluate(task *t, const double *theta, double *slope)
{
    double likelihood;
    for (size_t i = 0; i < t->p; i++)
        t->value[i] = exp(theta[i]);
    if (condition(t, &likelihood) != CG_OK)
        return -INFINITY;
    if (slope)
        slopes(t, slope);
    return likelihood + believe(t, theta, slope);
}

/* -- climbing -------------------------------------------------------------- */

/* A climb within a box: BFGS on the directions that lead inside. */
typedef struct climb {
    double *theta, *slope;         /* (p) where it is */
    double *next, *next_slope;     /* (p) where it tries */
    double *way, *turn;            /* (p) */
    double *h;                     /* (p, p) inverse curvature */
    bool fresh;                    /* h is the identity */
} climb;

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void reset(climb *c, size_t p)
{
    memset(c->h, 0, p * p * sizeof *c->h);
    for (size_t i = 0; i < p; i++)
        c->h[i * p + i] = 1;
    c->fresh = true;
}

static bool blocked(const task *t, const climb *c, size_t i)
{
    return c->slope[i] > 0 ? c->theta[i] >= t->high[i]
                           : c->theta[i] <= t->low[i];
}

/* c->way = h times the free part of the slope, cut to LEAP; false: no slope is
 * left. h is positive definite on any set of directions, so this leads up. */
static bool choose_way(const task *t, climb *c)
{
    double steepest = 0, longest = 0;
    for (size_t i = 0; i < t->p; i++) {
        c->way[i] = 0;
        if (blocked(t, c, i))
            continue;
        steepest = fmax(steepest, fabs(c->slope[i]));
        for (size_t j = 0; j < t->p; j++)
            if (!blocked(t, c, j))
                c->way[i] += c->h[i * t->p + j] * c->slope[j];
        longest = fmax(longest, fabs(c->way[i]));
    }
    double most = c->fresh ? .5 : LEAP; /* no idea yet how far */
    for (size_t i = 0; i < t->p && longest > most; i++)
        c->way[i] *= most / longest;
    return steepest > FLAT;
}

/* Halves the step until the likelihood rises as the slope promises. */
static bool advance(task *t, climb *c, double at, double *likelihood)
{
    double step = 1;
    for (int k = 0; k < HALVINGS; k++, step /= 2) {
        double promise = 0;
        for (size_t i = 0; i < t->p; i++) {
            double to = c->theta[i] + step * c->way[i];
            c->next[i] = fmin(fmax(to, t->low[i]), t->high[i]);
            promise += c->slope[i] * (c->next[i] - c->theta[i]);
        }
        *likelihood = evaluate(t, c->next, c->next_slope);
        if (*likelihood >= at + 1e-4 * promise)
            return true;
    }
    return false;
}

/* Broyden, Fletcher, Goldfarb, Shanno: s the step, y the fall of the slope,
 * h += (1 + y.hy / s.y) s s^T / s.y - (hy s^T + s hy^T) / s.y; of what stood
 * still at a bound nothing is learnt. c->theta serves as hy in between. */
static void learn_curvature(climb *c, size_t p)
{
    double *s = c->way, *y = c->turn, *hy = c->theta;
    for (size_t i = 0; i < p; i++) {
        s[i] = c->next[i] - c->theta[i];
        y[i] = s[i] != 0 ? c->slope[i] - c->next_slope[i] : 0;
    }
    double sy = dot(s, y, p), yy = dot(y, y, p);
    if (sy > 1e-10 * sqrt(dot(s, s, p) * yy)) {
        for (size_t i = 0; i < p && c->fresh; i++)
            c->h[i * p + i] = sy / yy;
        c->fresh = false;
        for (size_t i = 0; i < p; i++)
            hy[i] = dot(c->h + i * p, y, p);
        double both = (1 + dot(y, hy, p) / sy) / sy;
        for (size_t i = 0; i < p; i++)
            for (size_t j = 0; j < p; j++)
                c->h[i * p + j] += both * s[i] * s[j] -
                                   (hy[i] * s[j] + s[i] * hy[j]) / sy;
    }
    memcpy(c->theta, c->next, p * sizeof *s);
    memcpy(c->slope, c->next_slope, p * sizeof *s);
}

/* From theta (p) up to a maximum nearby. */
static void ascend(task *t, double *theta)
{
    size_t p = t->p;
    double *work = cg_xcalloc(6 * p + p * p, sizeof *work);
    climb c = {.theta = work, .slope = work + p, .next = work + 2 * p,
               .next_slope = work + 3 * p, .way = work + 4 * p,
               .turn = work + 5 * p, .h = work + 6 * p};
    memcpy(c.theta, theta, p * sizeof *theta);
    reset(&c, p);
    double at = evaluate(t, c.theta, c.slope);
    for (int k = 0; k < STEPS && isfinite(at) && choose_way(t, &c); k++) {
        double next;
        if (!advance(t, &c, at, &next)) {
            if (c.fresh)
                break;
            reset(&c, p); /* curvature may have misled */
            continue;
        }
        learn_curvature(&c, p);
        bool done = next - at <= NO_GAIN * (1 + fabs(next));
        at = next;
        if (done)
            break;
    }
    memcpy(theta, c.theta, p * sizeof *theta);
    cg_xfree(work);
}

/* -- where to look --------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double typical_distance(const task *t, size_t group)
{
    double *d2 = cg_xcalloc(t->pairs, sizeof *d2), mean, sd;
    for (size_t i = 0; i < t->pairs; i++)
        d2[i] = t->d2[i * t->groups + group];
    qsort(d2, t->pairs, sizeof *d2, ascending);
    double median = .5 * (d2[(t->pairs - 1) / 2] + d2[t->pairs / 2]);
    cg_moments(d2, t->pairs, &mean, &sd);
    cg_xfree(d2);
    return sqrt(median > 0 ? median : mean > 0 ? mean : 1);
}

static void set_prior(task *t, const cg_gp_prior *prior)
{
    double mean, sd;
    cg_moments(t->y, t->n, &mean, &sd);
    double variance = sd > 0 ? 2 * log(sd) : 0;
    for (size_t i = 0; i < t->p; i++) {
        bool length = i >= t->length;
        cg_gp_belief b = length ? prior->length
                         : i == NOISE ? prior->noise : prior->signal;
        double unit = length ? log(typical_distance(t, i - t->length))
                             : variance;
        t->centre[i] = unit + b.mean;
        t->sd[i] = b.sd;
        t->low[i] = unit + log(length ? 1e-2 : 1e-6);
        t->high[i] = unit + log(i == NOISE ? 10 : 1e3);
    }
}

static void search(task *t, double *theta)
{
    for (size_t i = 0; i < t->p; i++)
        theta[i] = fmin(fmax(t->centre[i], t->low[i]), t->high[i]);
    ascend(t, theta);
}

/* -- fitting --------------------------------------------------------------- */

static cg_err check_options(const cg_gp_options *o, size_t d)
{
    size_t columns = 0, p = cg_gp_parameters(o->n_groups);
    for (size_t k = 0; k < o->n_groups; k++)
        columns += o->columns[k];
    assert(columns == d);
    for (size_t i = 0; o->fixed && i < p; i++)
        if (!(o->fixed[i] > 0 && isfinite(o->fixed[i])))
            return cg_fail(CG_EFORMAT, "Gaussian process: parameter %zu is "
                           "%g, not a number > 0", i, o->fixed[i]);
    for (int i = 0; i < 3 && !o->fixed; i++) {
        cg_gp_belief b[] = {o->prior->noise, o->prior->signal,
                            o->prior->length};
        if (!(isfinite(b[i].mean) && b[i].sd > 0))
            return cg_fail(CG_EFORMAT, "Gaussian process: a prior of mean %g "
                           "and deviation %g", b[i].mean, b[i].sd);
    }
    return CG_OK;
}

static cg_err check(const double *x, const double *y, size_t n, size_t d,
                    const cg_gp_options *o)
{
    if (n < 2 || d == 0)
        return cg_fail(CG_EFORMAT, "a Gaussian process needs two rows and a "
                       "column, not %zu and %zu", n, d);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(y[i]))
            return cg_fail(CG_EFORMAT, "Gaussian process: the target of row "
                           "%zu is %g", i, y[i]);
    for (size_t i = 0; i < n * d; i++)
        if (!isfinite(x[i]))
            return cg_fail(CG_EFORMAT, "Gaussian process: row %zu, column %zu "
                           "is %g", i / d, i % d, x[i]);
    return check_options(o, d);
}

/* d2 (groups) of two rows. By differences: near points would lose their digits
 * in a product. */
static void distances(const double *a, const double *b, const size_t *columns,
                      size_t groups, double *d2)
{
    for (size_t k = 0; k < groups; k++) {
        double sum = 0;
        for (size_t j = 0; j < columns[k]; j++)
            sum += (a[j] - b[j]) * (a[j] - b[j]);
        d2[k] = sum;
        a += columns[k];
        b += columns[k];
    }
}

/* z (m, d) = x over the lengths. */
static void scale_rows(const cg_gp *g, const double *x, size_t m, double *z)
{
    const double *length =
        g->theta + SIGNAL + signals_of(g->n_groups);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < g->n_groups; k++)
            for (size_t j = 0; j < g->columns[k]; j++)
                *z++ = *x++ / length[k];
}

static cg_err learn(cg_gp *g, task *t, const double *x,
                    const cg_gp_options *o)
{
    double *d2 = t->d2;
    for (size_t a = 0; a < g->n; a++)
        for (size_t b = 0; b < a; b++, d2 += t->groups)
            distances(x + a * g->d, x + b * g->d, g->columns, t->groups, d2);
    if (o->fixed) {
        memcpy(t->value, o->fixed, t->p * sizeof *t->value);
    } else {
        set_prior(t, o->prior);
        search(t, g->theta);
        for (size_t i = 0; i < t->p; i++)
            t->value[i] = exp(g->theta[i]);
    }
    memcpy(g->theta, t->value, t->p * sizeof *t->value);
    scale_rows(g, x, g->n, g->x);
    return condition(t, &g->likelihood);
}

static cg_err fit(cg_gp *g, const double *x, const double *y,
                  const cg_gp_options *o)
{
    size_t n = g->n, pairs = n * (n - 1) / 2;
    size_t p = cg_gp_parameters(g->n_groups), signals = signals_of(g->n_groups);
    double *work = cg_xcalloc(n + 5 * p + pairs * g->n_groups, sizeof *work);
    double *centred = work, *bounds = work + n, sd;
    cg_moments(y, n, &g->mean, &sd);
    for (size_t i = 0; i < n; i++)
        centred[i] = y[i] - g->mean;
    task t = {.y = centred, .n = n, .p = p, .pairs = pairs,
              .groups = g->n_groups, .signals = signals,
              .length = SIGNAL + signals, .low = bounds, .high = bounds + p,
              .centre = bounds + 2 * p, .sd = bounds + 3 * p,
              .value = bounds + 4 * p, .d2 = bounds + 5 * p, .l = g->l,
              .alpha = g->alpha};
    cg_err err = learn(g, &t, x, o);
    cg_xfree(work);
    return err;
}

cg_err cg_gp_fit(cg_gp *g, const double *x, const double *y, size_t n,
                 size_t d, const cg_gp_options *o)
{
    *g = (cg_gp){0};
    CG_TRY(check(x, y, n, d, o));
    CG_TRY(cg_linalg_open());
    size_t groups = o->n_groups;
    *g = (cg_gp){.n = n, .d = d, .n_groups = groups,
                 .columns = cg_xcalloc(groups, sizeof(size_t)),
                 .theta = cg_xcalloc(cg_gp_parameters(groups),
                                     sizeof(double)),
                 .x = cg_xcalloc(n * d, sizeof(double)),
                 .l = cg_xcalloc(n * n, sizeof(double)),
                 .alpha = cg_xcalloc(n, sizeof(double))};
    memcpy(g->columns, o->columns, groups * sizeof *g->columns);
    cg_err err = fit(g, x, y, o);
    if (err != CG_OK)
        cg_gp_free(g);
    return err;
}

void cg_gp_free(cg_gp *g)
{
    cg_xfree(g->columns);
    cg_xfree(g->theta);
    cg_xfree(g->x);
    cg_xfree(g->l);
    cg_xfree(g->alpha);
    *g = (cg_gp){0};
}

/* -- predicting ------------------------------------------------------------ */

/* Up to BLOCK points z (m, d), already scaled; k (n, m) is scratch. */
static void predict_block(const cg_gp *g, const double *z, size_t m, double *k,
                          double *mean, double *variance)
{
    const double *signal = g->theta + SIGNAL;
    double *r2 = cg_xcalloc(g->n_groups, sizeof *r2);
    for (size_t i = 0; i < m; i++)
        mean[i] = g->mean;
    for (size_t a = 0; a < g->n; a++)
        for (size_t i = 0; i < m; i++) {
            distances(g->x + a * g->d, z + i * g->d, g->columns, g->n_groups,
                      r2);
            k[a * m + i] = cov(signal, r2, g->n_groups);
            mean[i] += k[a * m + i] * g->alpha[a];
        }
    cg_xfree(r2);
    if (!variance)
        return;
    cg_cholesky_half(g->n, g->l, m, k);
    for (size_t i = 0; i < m; i++) {
        double known = 0;
        for (size_t a = 0; a < g->n; a++)
            known += k[a * m + i] * k[a * m + i];
        variance[i] = fmax(cov_of_one(signal, g->n_groups) - known, 0) +
                      g->theta[NOISE];
    }
}

cg_err cg_gp_predict(const cg_gp *g, const double *x, size_t m, double *mean,
                     double *variance)
{
    CG_TRY(cg_linalg_open());
    double *z = cg_xcalloc(BLOCK * (g->d + g->n), sizeof *z);
    for (size_t i = 0; i < m; i += BLOCK) {
        size_t len = m - i < BLOCK ? m - i : BLOCK;
        scale_rows(g, x + i * g->d, len, z);
        predict_block(g, z, len, z + BLOCK * g->d, mean + i,
                      variance ? variance + i : NULL);
    }
    cg_xfree(z);
    return CG_OK;
}
