/* Losses. Those of single elements run on the calling thread: a batch has a
 * few hundred. That of pairs is cut by rows, and the rows' values are added
 * in order. Sums are double. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

#include <math.h>

struct pairs {
    size_t n;
    const float *s, *alpha;
    float tau, weight, *ds;
    double *sum; /* (n) value of each row */
};

static double *row_sums(cg_dev *d, size_t n)
{
    return (double *)(void *)cg_cpu_scratch(d, 2 * n);
}

static float total(size_t n, const double *sum)
{
    double t = 0;
    for (size_t i = 0; i < n; i++)
        t += sum[i];
    return (float)t;
}

CG_INLINE float sum_of(size_t n, const float *x)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* ds[l] = alpha[l]'s gradient; the row's own column is as if it were not
 * there. */
CG_INLINE double contrast_row(const struct pairs *j, size_t i)
{
    size_t n = j->n;
    const float *s = j->s + i * n, *alpha = j->alpha + i * n;
    float *ds = j->ds + i * n, scale = 1 / j->tau;
    float top = -INFINITY, sum = 0, dot = 0;
    float all = sum_of(i, alpha) + sum_of(n - i - 1, alpha + i + 1);
    for (size_t l = 0; l < n; l++)
        ds[l] = s[l] * scale;
    ds[i] = -INFINITY;
#pragma omp simd reduction(max : top)
    for (size_t l = 0; l < n; l++)
        top = ds[l] > top ? ds[l] : top;
    ds[i] = top;
#pragma omp simd reduction(+ : sum, dot)
    for (size_t l = 0; l < n; l++) {
        float z = ds[l] - top;
        dot += alpha[l] * z;
        ds[l] = cg_exp(z);
        sum += ds[l];
    }
    sum -= 1; /* the own column: exp(0), its part of dot is 0 */
    float back = j->weight * scale / (float)n, norm = all / sum;
#pragma omp simd
    for (size_t l = 0; l < n; l++)
        ds[l] = back * (ds[l] * norm - alpha[l]);
    ds[i] = 0;
    return (double)all * log((double)sum) - (double)dot;
}

CG_SIMD static void contrast_span(const void *job, size_t first, size_t last,
                                  int thread)
{
    const struct pairs *j = job;
    (void)thread;
    for (size_t i = first; i < last; i++)
        j->sum[i] = contrast_row(j, i);
}

void cpu_contrast(cg_dev *d, int n, const float *s, const float *alpha,
                  float tau, float weight, float *loss, float *ds)
{
    struct pairs j = { .n = (size_t)n, .s = s, .alpha = alpha, .tau = tau,
                       .weight = weight, .ds = ds };
    j.sum = row_sums(d, j.n);
    if (n < 2 || !j.sum) {
        cpu_fill(d, j.n * j.n, 0, ds);
        return;
    }
    cg_cpu_spans(d, j.n, cg_cpu_grain(4 * j.n), contrast_span, &j);
    *loss += weight / (float)n * total(j.n, j.sum);
}

/* -- pairs of one batch ---------------------------------------------------- */

/* -- single elements ------------------------------------------------------- */

void cpu_mse(cg_dev *d, int n, const float *y, const float *target,
             float weight, float *loss, float *dy)
{
    double sum = 0, w = (double)weight / n;
    (void)d;
    if (n <= 0)
        return;
    for (int i = 0; i < n; i++) {
        double e = (double)y[i] - (double)target[i];
        sum += e * e;
        dy[i] += (float)(2 * w * e);
    }
    *loss += (float)(w * sum);
}

void cpu_huber(cg_dev *d, int n, const float *y, const float *target,
               float delta, float weight, float *loss, float *dy)
{
    double sum = 0, w = (double)weight / n, limit = (double)delta;
    (void)d;
    if (n <= 0)
        return;
    for (int i = 0; i < n; i++) {
        double e = (double)y[i] - (double)target[i], size = fabs(e);
        sum += size <= limit ? 0.5 * e * e : limit * (size - 0.5 * limit);
        dy[i] += (float)(w * (size <= limit ? e : copysign(limit, e)));
    }
    *loss += (float)(w * sum);
}

void cpu_logistic(cg_dev *d, int n, const float *y, const float *target,
                  float weight, float *loss, float *dy)
{
    double sum = 0, w = (double)weight / n;
    (void)d;
    if (n <= 0)
        return;
    for (int i = 0; i < n; i++) {
        double v = (double)y[i], t = (double)target[i], e = exp(-fabs(v));
        sum += log1p(e) + fmax(v, 0) - t * v;
        dy[i] += (float)(w * ((v < 0 ? e : 1) / (1 + e) - t));
    }
    *loss += (float)(w * sum);
}
