#include "runtime/gp.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/linalg.h"
#include "base/arena.h"
#include "runtime/metrics.h"

#define LOG_2PI 1.8378770664093453
#define BLOCK 256     /* points predicted at a time */
#define CLIMBS 3      /* lengths to climb from */
#define STEPS 100     /* of a climb at most */
#define FLAT 1e-4     /* stop where no slope is steeper, per unit of the log */
#define NO_GAIN 1e-7  /* or where a step gains less, relative */
#define LEAP 2.0      /* longest step in any logarithm */
#define HALVINGS 25

/* theta = logarithms of signal, noise, lengths. */
enum { SIGNAL, NOISE, LENGTH };

typedef struct task {
    const double *x, *y; /* (n, d); (n) less the mean */
    size_t n, d, p;      /* p = 2 + groups, the length of theta */
    const size_t *group;
    double *low, *high;  /* (p) */
    const cg_gp_prior *prior;
    double *centre;      /* (p) of the prior */
    double *z, *zm;      /* (n, d): x / length; and times M */
    double *k, *l;       /* (n, n) */
    double *alpha;       /* (n) */
} task;

static void scale_rows(const double *x, size_t n, size_t d,
                       const size_t *group, const double *length, double *z)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            z[i * d + j] = x[i * d + j] / length[group[j]];
}

/* By differences: near points would lose their digits in a product. */
static double similarity(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t j = 0; j < d; j++)
        sum += (a[j] - b[j]) * (a[j] - b[j]);
    return exp(-.5 * sum);
}

static void covariance(const double *z, size_t n, size_t d, double signal,
                       double *k)
{
    for (size_t a = 0; a < n; a++) {
        k[a * n + a] = signal;
        for (size_t b = 0; b < a; b++)
            k[a * n + b] = k[b * n + a] =
                signal * similarity(z + a * d, z + b * d, d);
    }
}

/* l = Cholesky of k + noise, alpha = its solution for y, and the likelihood. */
static cg_err condition(const double *k, const double *y, size_t n,
                        double noise, double *l, double *alpha,
                        double *likelihood)
{
    memcpy(l, k, n * n * sizeof *l);
    for (size_t i = 0; i < n; i++)
        l[i * n + i] += noise;
    CG_TRY(cg_cholesky(n, l));
    memcpy(alpha, y, n * sizeof *y);
    cg_cholesky_solve(n, l, 1, alpha);
    double fit = 0;
    for (size_t i = 0; i < n; i++)
        fit += y[i] * alpha[i];
    *likelihood = -.5 * (fit + cg_cholesky_logdet(n, l) + (double)n * LOG_2PI);
    return CG_OK;
}

/* With M = (alpha alpha^T - K^-1) o K the slope along a length is half the sum
 * of M_ab (z_a - z_b)^2, which is z^T (diag(M 1) - M) z: one product. It is
 * the same for shifted z, and loses fewest digits for centred ones. */
static void length_slopes(task *t, double *slope)
{
    size_t n = t->n, d = t->d;
    for (size_t j = 0; j < d; j++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++)
            mean += t->z[i * d + j] / (double)n;
        for (size_t i = 0; i < n; i++)
            t->z[i * d + j] -= mean;
    }
    cg_dgemm(&(cg_product){.m = n, .n = d, .k = n, .a = t->k, .lda = n,
                           .b = t->z, .ldb = d, .c = t->zm, .ldc = d});
    for (size_t i = 0; i < n; i++) {
        double row = 0;
        for (size_t b = 0; b < n; b++)
            row += t->k[i * n + b];
        for (size_t j = 0; j < d; j++) {
            double z = t->z[i * d + j];
            slope[t->group[j]] += z * (row * z - t->zm[i * d + j]);
        }
    }
}

/* slope (p) of the likelihood; t->k becomes M, t->l the inverse. */
static void slopes(task *t, double noise, double *slope)
{
    size_t n = t->n;
    memset(slope, 0, t->p * sizeof *slope);
    cg_cholesky_inverse(n, t->l);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            double w = t->alpha[a] * t->alpha[b] - t->l[a * n + b];
            slope[NOISE] += a == b ? .5 * noise * w : 0;
            slope[SIGNAL] += .5 * (t->k[a * n + b] *= w);
        }
    length_slopes(t, slope + LENGTH);
}

static cg_gp_belief belief(const task *t, size_t i)
{
    const cg_gp_prior *p = t->prior;
    return i == SIGNAL ? p->signal : i == NOISE ? p->noise : p->length;
}

/* The logarithm of the prior, but for its constant; adds to the slope. */
static double believe(const task *t, const double *theta, double *slope)
{
    double sum = 0;
    for (size_t i = 0; i < t->p; i++) {
        double sd = belief(t, i).sd, z = (theta[i] - t->centre[i]) / sd;
        sum -= .5 * z * z;
        if (slope)
            slope[i] -= z / sd;
    }
    return sum;
}

/* The log likelihood, with the prior if there is one, and, if slope is not
 * NULL, its gradient; -INFINITY where the covariance is singular to working
 * precision. */
static double evaluate(task *t, const double *theta, double *slope)
{
    double likelihood, *value = cg_xcalloc(t->p, sizeof *value);
    for (size_t i = 0; i < t->p; i++)
        value[i] = exp(theta[i]);
    scale_rows(t->x, t->n, t->d, t->group, value + LENGTH, t->z);
    covariance(t->z, t->n, t->d, value[SIGNAL], t->k);
    if (condition(t->k, t->y, t->n, value[NOISE], t->l, t->alpha,
                  &likelihood) != CG_OK)
        likelihood = -INFINITY;
    else if (slope)
        slopes(t, value[NOISE], slope);
    if (t->prior && isfinite(likelihood))
        likelihood += believe(t, theta, slope);
    cg_xfree(value);
    return likelihood;
}

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

/* From theta (p) up to a maximum nearby; returns the likelihood there. */
static double ascend(task *t, double *theta)
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
    return at;
}

/* Bounds, and in `middle` the variance of y and a typical distance within each
 * group: the root of twice the summed variances. */
static void set_box(task *t, double *middle)
{
    double *column = cg_xcalloc(t->n, sizeof *column), mean, sd;
    for (size_t j = 0; j < t->d; j++) {
        for (size_t i = 0; i < t->n; i++)
            column[i] = t->x[i * t->d + j];
        cg_moments(column, t->n, &mean, &sd);
        middle[LENGTH + t->group[j]] += 2 * sd * sd;
    }
    cg_moments(t->y, t->n, &mean, &sd);
    middle[SIGNAL] = middle[NOISE] = sd * sd;
    for (size_t i = 0; i < t->p; i++) {
        middle[i] = middle[i] > 0 ? log(middle[i]) : 0;
        middle[i] *= i < LENGTH ? 1 : .5;
        t->low[i] = middle[i] +
                    log(i == SIGNAL ? 1e-3 : i == NOISE ? 1e-6 : 1e-2);
        t->high[i] = middle[i] + log(i == NOISE ? 10 : 1e3);
    }
    cg_xfree(column);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the squared distances of all pairs of rows in one group's columns. */
static double typical_distance(const task *t, size_t group)
{
    size_t pairs = t->n * (t->n - 1) / 2, at = 0;
    double *d2 = cg_xcalloc(pairs, sizeof *d2), mean, sd;
    for (size_t a = 0; a < t->n; a++)
        for (size_t b = 0; b < a; b++, at++)
            for (size_t j = 0; j < t->d; j++) {
                double d = t->x[a * t->d + j] - t->x[b * t->d + j];
                d2[at] += t->group[j] == group ? d * d : 0;
            }
    qsort(d2, pairs, sizeof *d2, ascending);
    double median = .5 * (d2[(pairs - 1) / 2] + d2[pairs / 2]);
    cg_moments(d2, pairs, &mean, &sd);
    cg_xfree(d2);
    return sqrt(median > 0 ? median : mean > 0 ? mean : 1);
}

/* `middle` of signal and noise is the variance of y. */
static void set_centre(task *t, const double *middle)
{
    for (size_t i = 0; i < t->p; i++)
        t->centre[i] = belief(t, i).mean +
            (i < LENGTH ? middle[i] : log(typical_distance(t, i - LENGTH)));
}

static const double grid_length[] = {.5, 1, 2, 4, 8};
static const double grid_noise[] = {.001, .01, .1, .5};
enum { LENGTHS = 5, NOISES = 4 };

/* With g groups squared distances add up g-fold, hence the root. */
static void grid_point(const task *t, const double *middle, int length,
                       int noise, double *theta)
{
    double groups = (double)(t->p - LENGTH);
    memcpy(theta, middle, t->p * sizeof *theta);
    theta[NOISE] += log(grid_noise[noise]);
    for (size_t k = LENGTH; k < t->p; k++)
        theta[k] += log(grid_length[length] * sqrt(groups));
}

/* theta = the best noise for one length; returns the likelihood. */
static double best_noise(task *t, const double *middle, int length,
                         double *theta)
{
    double top = -INFINITY;
    int best = NOISES - 1;
    for (int i = 0; i < NOISES; i++) {
        grid_point(t, middle, length, i, theta);
        double at = evaluate(t, theta, NULL);
        best = at > top ? i : best;
        top = fmax(top, at);
    }
    grid_point(t, middle, length, best, theta);
    return top;
}

/* Short and long lengths lead to different maxima, so each climb has another
 * length to start from. */
static void search(task *t, double *best)
{
    size_t p = t->p;
    double *work = cg_xcalloc((1 + LENGTHS) * p, sizeof *work);
    double *middle = work, *start = work + p, height[LENGTHS];
    set_box(t, middle);
    if (t->prior)
        set_centre(t, middle);
    for (int i = 0; i < LENGTHS; i++)
        height[i] = best_noise(t, middle, i, start + (size_t)i * p);
    memcpy(best, start, p * sizeof *best);
    double top = -INFINITY;
    for (int k = 0; k < CLIMBS; k++) {
        int at = 0;
        for (int i = 1; i < LENGTHS; i++)
            at = height[i] > height[at] ? i : at;
        height[at] = -INFINITY;
        double end = ascend(t, start + (size_t)at * p);
        if (end > top) {
            top = end;
            memcpy(best, start + (size_t)at * p, p * sizeof *best);
        }
    }
    cg_xfree(work);
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
    size_t p = LENGTH + (o->group ? o->n_groups : d);
    for (size_t i = 0; o->fixed && i < p; i++)
        if (!(o->fixed[i] > 0 && isfinite(o->fixed[i])))
            return cg_fail(CG_EFORMAT, "Gaussian process: parameter %zu is "
                           "%g, not a number > 0", i, o->fixed[i]);
    for (int i = 0; i < 3 && o->prior; i++) {
        cg_gp_belief b[] = {o->prior->signal, o->prior->noise,
                            o->prior->length};
        if (!(isfinite(b[i].mean) && b[i].sd > 0))
            return cg_fail(CG_EFORMAT, "Gaussian process: a prior of mean %g "
                           "and deviation %g", b[i].mean, b[i].sd);
    }
    return CG_OK;
}

/* The parameters of g by the search, or as they are given. */
static void choose(cg_gp *g, const double *x, const double *y,
                   const cg_gp_options *o)
{
    size_t n = g->n, nd = n * g->d, p = LENGTH + g->n_groups;
    const double *fixed = o->fixed;
    double *theta = cg_xcalloc(4 * p, sizeof *theta);
    if (!fixed) {
        double *work = cg_xcalloc(2 * nd + n * n, sizeof *work);
        task t = {.x = x, .y = y, .n = n, .d = g->d, .p = p,
                  .group = g->group, .low = theta + p, .high = theta + 2 * p,
                  .prior = o->prior, .centre = theta + 3 * p,
                  .z = work, .zm = work + nd, .k = work + 2 * nd,
                  .l = g->l, .alpha = g->alpha};
        search(&t, theta);
        cg_xfree(work);
    }
    for (size_t i = 0; i < p; i++)
        theta[i] = fixed ? fixed[i] : exp(theta[i]);
    g->signal = theta[SIGNAL];
    g->noise = theta[NOISE];
    memcpy(g->length, theta + LENGTH, g->n_groups * sizeof *theta);
    cg_xfree(theta);
}

static cg_err fit(cg_gp *g, const double *x, const double *y,
                  const cg_gp_options *o)
{
    double *centred = cg_xcalloc(g->n, sizeof *centred), sd;
    double *k = cg_xcalloc(g->n * g->n, sizeof *k);
    cg_moments(y, g->n, &g->mean, &sd);
    for (size_t i = 0; i < g->n; i++)
        centred[i] = y[i] - g->mean;
    choose(g, x, centred, o);
    scale_rows(x, g->n, g->d, g->group, g->length, g->x);
    covariance(g->x, g->n, g->d, g->signal, k);
    cg_err err = condition(k, centred, g->n, g->noise, g->l, g->alpha,
                           &g->likelihood);
    cg_xfree(k);
    cg_xfree(centred);
    return err;
}

cg_err cg_gp_fit(cg_gp *g, const double *x, const double *y, size_t n,
                 size_t d, const cg_gp_options *o)
{
    *g = (cg_gp){0};
    CG_TRY(check(x, y, n, d, o));
    CG_TRY(cg_linalg_open());
    size_t groups = o->group ? o->n_groups : d;
    *g = (cg_gp){.n = n, .d = d, .n_groups = groups,
                 .group = cg_xcalloc(d, sizeof(size_t)),
                 .length = cg_xcalloc(groups, sizeof(double)),
                 .x = cg_xcalloc(n * d, sizeof(double)),
                 .l = cg_xcalloc(n * n, sizeof(double)),
                 .alpha = cg_xcalloc(n, sizeof(double))};
    for (size_t j = 0; j < d; j++)
        g->group[j] = o->group ? o->group[j] : j;
    cg_err err = fit(g, x, y, o);
    if (err != CG_OK)
        cg_gp_free(g);
    return err;
}

void cg_gp_free(cg_gp *g)
{
    cg_xfree(g->group);
    cg_xfree(g->length);
    cg_xfree(g->x);
    cg_xfree(g->l);
    cg_xfree(g->alpha);
    *g = (cg_gp){0};
}

/* Up to BLOCK points z (m, d), already scaled; k (n, m) is scratch. */
static void predict_block(const cg_gp *g, const double *z, size_t m, double *k,
                          double *mean, double *variance)
{
    for (size_t i = 0; i < m; i++)
        mean[i] = g->mean;
    for (size_t a = 0; a < g->n; a++)
        for (size_t i = 0; i < m; i++) {
            double s = similarity(g->x + a * g->d, z + i * g->d, g->d);
            k[a * m + i] = g->signal * s;
            mean[i] += g->signal * s * g->alpha[a];
        }
    if (!variance)
        return;
    cg_cholesky_half(g->n, g->l, m, k);
    for (size_t i = 0; i < m; i++) {
        double known = 0;
        for (size_t a = 0; a < g->n; a++)
            known += k[a * m + i] * k[a * m + i];
        variance[i] = fmax(g->signal - known, 0) + g->noise;
    }
}

cg_err cg_gp_predict(const cg_gp *g, const double *x, size_t m, double *mean,
                     double *variance)
{
    CG_TRY(cg_linalg_open());
    double *z = cg_xcalloc(BLOCK * (g->d + g->n), sizeof *z);
    for (size_t i = 0; i < m; i += BLOCK) {
        size_t len = m - i < BLOCK ? m - i : BLOCK;
        scale_rows(x + i * g->d, len, g->d, g->group, g->length, z);
        predict_block(g, z, len, z + BLOCK * g->d, mean + i,
                      variance ? variance + i : NULL);
    }
    cg_xfree(z);
    return CG_OK;
}
