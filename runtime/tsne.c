/* Exact t-SNE. Attraction and repulsion are summed apart, so that one look at
 * each pair gives both the gradient and the sum that normalises q. */
#include "runtime/tsne.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/rng.h"
#include "runtime/pca.h"

enum { EARLY = 250, SEARCH = 100, STREAM = 11 };
static const double exaggerated = 12, scale = 1e-4, noise = 1e-6;

/* -- who is near whom ------------------------------------------------------ */

double cg_tsne_perplexity(size_t n, double wished)
{
    return fmax(1, fmin(wished, ((double)n - 1) / 3));
}

/* A Gaussian exp(-beta d) over the others, d less the least and in units of
 * the mean, so that neither scale nor distance make it vanish. */
typedef struct neighbours {
    const double *distance;
    size_t n, self;
    double least, mean;
} neighbours;

static neighbours look(const double *distance, size_t n, size_t self)
{
    neighbours r = {distance, n, self, INFINITY, 0};
    for (size_t j = 0; j < n; j++)
        if (j != self)
            r.least = fmin(r.least, distance[j]);
    for (size_t j = 0; j < n; j++)
        if (j != self)
            r.mean += (distance[j] - r.least) / (double)(n - 1);
    return r;
}

/* Fills p, gives its entropy in nats. */
static double spread(const neighbours *r, double beta, double *p)
{
    double sum = 0, moment = 0;
    for (size_t j = 0; j < r->n; j++) {
        double d = r->mean > 0 ? (r->distance[j] - r->least) / r->mean : 0;
        p[j] = j == r->self ? 0 : exp(-beta * d);
        sum += p[j];
        moment += p[j] * d;
    }
    for (size_t j = 0; j < r->n; j++)
        p[j] /= sum;
    return log(sum) + beta * moment / sum;
}

/* Entropy falls with beta: doubled until it is below, then halved between. */
void cg_tsne_row(const double *distance, size_t n, size_t self,
                 double perplexity, double *p)
{
    assert(n >= 2);
    neighbours r = look(distance, n, self);
    double low = 0, high = INFINITY, beta = 1, wished = log(perplexity);
    for (int k = 0; k < SEARCH; k++) {
        double h = spread(&r, beta, p);
        if (fabs(h - wished) < 1e-10)
            break;
        *(h > wished ? &low : &high) = beta;
        beta = isinf(high) ? 2 * beta : (low + high) / 2;
    }
}

static void distances(const double *x, size_t n, size_t d, size_t self,
                      double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        for (size_t k = 0; k < d; k++) {
            double diff = x[i * d + k] - x[self * d + k];
            out[i] += diff * diff;
        }
    }
}

void cg_tsne_joint(const double *x, size_t n, size_t d, double perplexity,
                   double *p)
{
    double *row = cg_xcalloc(n, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        distances(x, n, d, i, row);
        cg_tsne_row(row, n, i, perplexity, p + i * n);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            p[i * n + j] = p[j * n + i] =
                (p[i * n + j] + p[j * n + i]) / (2 * (double)n);
    cg_xfree(row);
}

/* -- the layout ------------------------------------------------------------ */

typedef struct force {
    double pull[2], push[2];
} force;

static inline void add_pair(force *a, force *b, double p, double w, double dx,
                            double dy)
{
    double pull = p * w, push = w * w;
    a->pull[0] += pull * dx;
    a->pull[1] += pull * dy;
    a->push[0] += push * dx;
    a->push[1] += push * dy;
    b->pull[0] -= pull * dx;
    b->pull[1] -= pull * dy;
    b->push[0] -= push * dx;
    b->push[1] -= push * dy;
}

/* With w = 1 / (1 + |y_i - y_j|^2) and q = w / sum w, of all pairs:
 * 4 sum_j (e p_ij - q_ij) w_ij (y_i - y_j). */
static void gradient(const double *p, const double *y, size_t n,
                     double exaggeration, force *f, double *grad)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        f[i] = (force){0};
    for (size_t i = 0; i < n; i++) {
        force own = {0};
        for (size_t j = i + 1; j < n; j++) {
            double dx = y[2 * i] - y[2 * j], dy = y[2 * i + 1] - y[2 * j + 1];
            double w = 1 / (1 + dx * dx + dy * dy);
            sum += 2 * w;
            add_pair(&own, &f[j], p[i * n + j], w, dx, dy);
        }
        for (int k = 0; k < 2; k++) {
            f[i].pull[k] += own.pull[k];
            f[i].push[k] += own.push[k];
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++)
            grad[2 * i + k] = 4 * (exaggeration * f[i].pull[k] -
                                   f[i].push[k] / fmax(sum, 1e-300));
}

void cg_tsne_gradient(const double *p, const double *y, size_t n,
                      double exaggeration, double *grad)
{
    force *f = cg_xcalloc(n + 1, sizeof *f);
    gradient(p, y, n, exaggeration, f, grad);
    cg_xfree(f);
}

/* Gains grow while a coordinate keeps its direction (Jacobs 1988). */
static void move(double *y, double *speed, double *gain, const double *grad,
                 size_t n, double momentum, double rate)
{
    for (size_t k = 0; k < 2 * n; k++) {
        bool same = (grad[k] > 0) == (speed[k] > 0);
        gain[k] = fmax(same ? gain[k] * .8 : gain[k] + .2, .01);
        speed[k] = momentum * speed[k] - rate * gain[k] * grad[k];
        y[k] += speed[k];
    }
}

static void centre(double *y, size_t n)
{
    for (size_t k = 0; k < 2; k++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++)
            mean += y[2 * i + k] / (double)n;
        for (size_t i = 0; i < n; i++)
            y[2 * i + k] -= mean;
    }
}

static void descend(const double *p, size_t n, int steps, double *y)
{
    double *grad = cg_xcalloc(6 * n, sizeof *grad);
    double *speed = grad + 2 * n, *gain = grad + 4 * n;
    double rate = fmax((double)n / exaggerated / 4, 50);
    force *f = cg_xcalloc(n, sizeof *f);
    for (size_t k = 0; k < 2 * n; k++)
        gain[k] = 1;
    for (int i = 0; i < steps; i++) {
        bool early = i < EARLY;
        gradient(p, y, n, early ? exaggerated : 1, f, grad);
        move(y, speed, gain, grad, n, early ? .5 : .8, rate);
        centre(y, n);
    }
    cg_xfree(f);
    cg_xfree(grad);
}

/* z (n, k): components, largest first. */
static void start(const double *z, size_t n, size_t k, double variance,
                  uint64_t seed, double *y)
{
    cg_rng r = cg_rng_make(seed, STREAM);
    double by = variance > 0 ? scale / sqrt(variance) : 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 2; c++)
            y[2 * i + c] = noise * (cg_rng_uniform(&r) - .5) +
                           (c < k ? by * z[i * k + c] : 0);
}

cg_err cg_tsne(const float *x, size_t n, size_t d, const cg_tsne_opts *o,
               double *y)
{
    assert(n <= CG_TSNE_MAX && d > 0);
    for (size_t i = 0; n < 2 && i < 2 * n; i++)
        y[i] = 0;
    if (n < 2)
        return CG_OK;
    cg_pca pca;
    size_t k = o->dims < d ? o->dims : d;
    CG_TRY(cg_pca_fit_float(&pca, x, n, d, k));
    double *z = cg_xcalloc(n * k + n * n, sizeof *z), *p = z + n * k;
    cg_err err = cg_pca_apply_float(&pca, x, n, false, z);
    if (err == CG_OK) {
        cg_tsne_joint(z, n, k, cg_tsne_perplexity(n, o->perplexity), p);
        start(z, n, k, pca.variance[0], o->seed, y);
        descend(p, n, o->steps, y);
    }
    cg_xfree(z);
    cg_pca_free(&pca);
    return err;
}
