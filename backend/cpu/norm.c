/* Rows brought to one scale: LayerNorm, unit rows. And dropout. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"
#include "backend/dropout.h"

#include <assert.h>
#include <math.h>

enum { NORM_ROWS = 128 };

struct norm {
    size_t cols, ldx, ldy, lddx;
    const float *x, *y, *gamma, *beta;
    float *out, *mean, *rstd, *dx;
    float bx, *part; /* (2, parts, cols): sums for gamma, for beta */
    size_t parts;
};

CG_INLINE float row_sum(size_t n, const float *x)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t c = 0; c < n; c++)
        s += x[c];
    return s;
}

CG_INLINE float row_dot(size_t n, const float *x, const float *y)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (size_t c = 0; c < n; c++)
        s += x[c] * y[c];
    return s;
}

CG_SIMD static void layernorm_span(const void *job, size_t first, size_t last,
                                   int thread)
{
    const struct norm *j = job;
    const float *gamma = j->gamma, *beta = j->beta;
    size_t n = j->cols;
    (void)thread;
    for (size_t r = first; r < last; r++) {
        const float *x = j->x + r * j->ldx;
        float *y = j->out + r * j->ldy, var = 0;
        float mean = row_sum(n, x) / (float)n;
#pragma omp simd reduction(+ : var)
        for (size_t c = 0; c < n; c++)
            var += (x[c] - mean) * (x[c] - mean);
        float rstd = 1 / sqrtf(var / (float)n + 1e-5f);
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            y[c] = (x[c] - mean) * rstd * gamma[c] + beta[c];
        j->mean[r] = mean;
        j->rstd[r] = rstd;
    }
}

void cpu_layernorm(cg_dev *d, int rows, int cols, const float *x, int ldx,
                   const float *gamma, const float *beta, float *y, int ldy,
                   float *mean, float *rstd)
{
    struct norm j = { .cols = (size_t)cols, .x = x, .ldx = (size_t)ldx,
                      .gamma = gamma, .beta = beta, .out = y,
                      .ldy = (size_t)ldy, .mean = mean, .rstd = rstd };
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(2 * j.cols), layernorm_span,
                 &j);
}

/* With xhat = (x - mean) rstd, g = gamma dy:
 * dx = rstd (g - mean(g) - xhat mean(g xhat)) + bx dx. */
CG_SIMD static void layernorm_bwd_span(const void *job, size_t first,
                                       size_t last, int thread)
{
    const struct norm *j = job;
    const float *gamma = j->gamma;
    size_t n = j->cols;
    float *dgamma = j->part + first / NORM_ROWS * n;
    float *dbeta = dgamma + j->parts * n;
    (void)thread;
    memset(dgamma, 0, n * sizeof *dgamma);
    memset(dbeta, 0, n * sizeof *dbeta);
    for (size_t r = first; r < last; r++) {
        const float *x = j->x + r * j->ldx, *dy = j->y + r * j->ldy;
        float *dx = j->dx + r * j->lddx;
        float mean = j->mean[r], rstd = j->rstd[r], sum = 0, dot = 0;
        float bx = j->bx;
#pragma omp simd reduction(+ : sum, dot)
        for (size_t c = 0; c < n; c++) {
            float xhat = (x[c] - mean) * rstd, g = dy[c] * gamma[c];
            sum += g;
            dot += g * xhat;
        }
        sum /= (float)n;
        dot /= (float)n;
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            float xhat = (x[c] - mean) * rstd;
            float own = rstd * (dy[c] * gamma[c] - sum - xhat * dot);
            dx[c] = bx != 0 ? own + bx * dx[c] : own;
            dgamma[c] += dy[c] * xhat;
            dbeta[c] += dy[c];
        }
    }
}

void cpu_layernorm_bwd(cg_dev *d, int rows, int cols, const float *x, int ldx,
                       const float *gamma, const float *mean,
                       const float *rstd, const float *dy, int lddy, float bx,
                       float *dx, int lddx, float bg, float *dgamma, float bb,
                       float *dbeta)
{
    size_t n = (size_t)cols;
    struct norm j = { .cols = n, .x = x, .ldx = (size_t)ldx, .y = dy,
                      .ldy = (size_t)lddy, .gamma = gamma, .bx = bx, .dx = dx,
                      .lddx = (size_t)lddx, .mean = (float *)mean,
                      .rstd = (float *)rstd,
                      .parts = ((size_t)rows + NORM_ROWS - 1) / NORM_ROWS };
    j.part = cg_cpu_scratch(d, 2 * j.parts * n);
    if (!j.part)
        return;
    cg_cpu_spans(d, (size_t)rows, NORM_ROWS, layernorm_bwd_span, &j);
    cg_cpu_add_parts(d, j.parts, j.part, 1, n, bg, dgamma, n);
    cg_cpu_add_parts(d, j.parts, j.part + j.parts * n, 1, n, bb, dbeta, n);
}

/* -- unit rows ------------------------------------------------------------- */

CG_SIMD static void l2norm_span(const void *job, size_t first, size_t last,
                                int thread)
{
    const struct norm *j = job;
    size_t n = j->cols;
    (void)thread;
    for (size_t r = first; r < last; r++) {
        const float *x = j->x + r * j->ldx;
        float *y = j->out + r * j->ldy, norm = sqrtf(row_dot(n, x, x));
        norm = norm < 1e-12f ? 1e-12f : norm;
        float scale = 1 / norm;
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            y[c] = x[c] * scale;
        j->mean[r] = norm;
    }
}

void cpu_l2norm(cg_dev *d, int rows, int cols, const float *x, int ldx,
                float *y, int ldy, float *norm)
{
    struct norm j = { .cols = (size_t)cols, .x = x, .ldx = (size_t)ldx,
                      .out = y, .ldy = (size_t)ldy, .mean = norm };
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(j.cols), l2norm_span, &j);
}

CG_SIMD static void l2norm_bwd_span(const void *job, size_t first,
                                    size_t last, int thread)
{
    const struct norm *j = job;
    size_t n = j->cols;
    (void)thread;
    for (size_t r = first; r < last; r++) {
        const float *y = j->x + r * j->ldx, *dy = j->y + r * j->ldy;
        float *dx = j->dx + r * j->lddx;
        float dot = row_dot(n, y, dy), scale = 1 / j->mean[r];
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            dx[c] += (dy[c] - y[c] * dot) * scale;
    }
}

void cpu_l2norm_bwd(cg_dev *d, int rows, int cols, const float *y, int ldy,
                    const float *norm, const float *dy, int lddy, float *dx,
                    int lddx)
{
    struct norm j = { .cols = (size_t)cols, .x = y, .ldx = (size_t)ldy,
                      .y = dy, .ldy = (size_t)lddy, .dx = dx,
                      .lddx = (size_t)lddx, .mean = (float *)norm };
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(j.cols), l2norm_bwd_span, &j);
}

/* -- dropout --------------------------------------------------------------- */

struct drop {
    size_t cols, ldx, ldy;
    const float *x;
    float scale, beta, *y;
    uint64_t key;
    uint32_t below;
};

CG_SIMD static void drop_row(const struct drop *j, uint32_t index, size_t n,
                             const float *x, float *y)
{
    float scale = j->scale, beta = j->beta;
    uint64_t key = j->key;
    uint32_t below = j->below;
    if (beta == 0) {
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            uint32_t u = cg_dropout_bits(key, index + (uint32_t)c);
            y[c] = u < below ? 0 : x[c] * scale;
        }
    } else {
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            uint32_t u = cg_dropout_bits(key, index + (uint32_t)c);
            y[c] = beta * y[c] + (u < below ? 0 : x[c] * scale);
        }
    }
}

static void drop_span(const void *job, size_t first, size_t last, int thread)
{
    const struct drop *j = job;
    size_t n = j->cols, rows = last - first;
    (void)thread;
    if (j->ldx == n && j->ldy == n)
        drop_row(j, (uint32_t)(first * n), rows * n, j->x + first * n,
                 j->y + first * n);
    else
        for (size_t r = first; r < last; r++)
            drop_row(j, (uint32_t)(r * n), n, j->x + r * j->ldx,
                     j->y + r * j->ldy);
}

void cpu_dropout(cg_dev *d, int rows, int cols, const float *x, int ldx,
                 float p, uint64_t key, float beta, float *y, int ldy)
{
    struct drop j = { (size_t)cols, (size_t)ldx, (size_t)ldy, x, 1 / (1 - p),
                      beta, y, key, (uint32_t)ceil((double)p * 0x1p32) };
    assert(p >= 0 && p < 1);
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(2 * j.cols), drop_span, &j);
}
