/* The optimiser, and the weighted sum of an ensemble's heads. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

#include <math.h>

enum { SPAN = 8192 };

struct sumsq {
    const float *x;
    double *sum; /* of each span */
};

CG_SIMD static void sumsq_span(const void *job, size_t first, size_t last,
                               int thread)
{
    const struct sumsq *j = job;
    const float *x = j->x;
    float s = 0;
    (void)thread;
#pragma omp simd reduction(+ : s)
    for (size_t i = first; i < last; i++)
        s += x[i] * x[i];
    j->sum[first / SPAN] = (double)s;
}

void cpu_sumsq(cg_dev *d, size_t n, const float *x, float *out)
{
    size_t spans = (n + SPAN - 1) / SPAN;
    struct sumsq j = { x, (double *)(void *)cg_cpu_scratch(d, 2 * spans) };
    double sum = 0;
    if (!j.sum)
        return;
    cg_cpu_spans(d, n, SPAN, sumsq_span, &j);
    for (size_t i = 0; i < spans; i++)
        sum += j.sum[i];
    *out += (float)sum;
}

struct adamw {
    float *w, *m, *v;
    const float *g;
    float scale, keep, b1, b2, step, root, eps;
};

CG_SIMD static void adamw_span(const void *job, size_t first, size_t last,
                               int thread)
{
    const struct adamw j = *(const struct adamw *)job;
    float *w = j.w, *m = j.m, *v = j.v;
    (void)thread;
#pragma omp simd
    for (size_t i = first; i < last; i++) {
        float g = j.g[i] * j.scale;
        m[i] = j.b1 * m[i] + (1 - j.b1) * g;
        v[i] = j.b2 * v[i] + (1 - j.b2) * g * g;
        w[i] = j.keep * w[i]
            - j.step * m[i] / (sqrtf(v[i]) * j.root + j.eps);
    }
}

void cpu_adamw(cg_dev *d, size_t n, float *w, const float *g, float *m,
               float *v, const float *sumsq, float clip, float lr, float b1,
               float b2, float eps, float decay, int64_t t)
{
    double c1 = 1 - pow((double)b1, (double)t);
    double c2 = 1 - pow((double)b2, (double)t);
    struct adamw j = { w, m, v, g, 1, 1 - lr * decay, b1, b2,
                       (float)((double)lr / c1), (float)(1 / sqrt(c2)), eps };
    if (clip > 0) {
        float scale = clip / (sqrtf(*sumsq) + 1e-6f);
        j.scale = scale < 1 ? scale : 1;
    }
    cg_cpu_spans(d, n, SPAN / 2, adamw_span, &j);
}

/* -- ensembles ------------------------------------------------------------- */

struct mix {
    size_t n, heads, cols;
    const float *u, *f, *dy;
    float *out;
};

CG_SIMD static void mix_span(const void *job, size_t first, size_t last,
                             int thread)
{
    const struct mix *j = job;
    size_t cols = j->cols;
    (void)thread;
    for (size_t i = first; i < last; i++) {
        float *y = j->out + i * cols;
        memset(y, 0, cols * sizeof *y);
        for (size_t h = 0; h < j->heads; h++) {
            float u = j->u[i * j->heads + h];
            const float *f = j->f + (h * j->n + i) * cols;
#pragma omp simd
            for (size_t c = 0; c < cols; c++)
                y[c] += u * f[c];
        }
    }
}

void cpu_mix(cg_dev *d, int n, int heads, int cols, const float *u,
             const float *f, float *y)
{
    struct mix j = { .n = (size_t)n, .heads = (size_t)heads,
                     .cols = (size_t)cols, .u = u, .f = f, .out = y };
    cg_cpu_spans(d, j.n, cg_cpu_grain(j.heads * j.cols), mix_span, &j);
}

CG_SIMD static void mix_bwd_span(const void *job, size_t first, size_t last,
                                 int thread)
{
    const struct mix *j = job;
    size_t cols = j->cols;
    (void)thread;
    for (size_t i = first; i < last; i++)
        for (size_t h = 0; h < j->heads; h++) {
            float u = j->u[i * j->heads + h];
            float *df = j->out + (h * j->n + i) * cols;
            const float *dy = j->dy + i * cols;
#pragma omp simd
            for (size_t c = 0; c < cols; c++)
                df[c] += u * dy[c];
        }
}

void cpu_mix_bwd(cg_dev *d, int n, int heads, int cols, const float *u,
                 const float *dy, float *df)
{
    struct mix j = { .n = (size_t)n, .heads = (size_t)heads,
                     .cols = (size_t)cols, .u = u, .dy = dy, .out = df };
    cg_cpu_spans(d, j.n, cg_cpu_grain(j.heads * j.cols), mix_bwd_span, &j);
}
