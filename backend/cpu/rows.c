/* What is done element by element, and sums of columns. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

struct rows {
    size_t cols, ldx, ldy, ldz;
    size_t groups, each; /* of so many rows */
    const float *x, *y, *bias;
    float *z; /* the result */
    float a, b;
    cg_act act;
};

/* Rows without gaps are one long row. */
static void flatten(struct rows *j, size_t *first, size_t *last)
{
    if (j->bias || j->ldx != j->cols || j->ldz != j->cols
        || (j->y && j->ldy != j->cols))
        return;
    size_t skip = *first * j->cols, rows = *last - *first;
    j->x += skip;
    j->z += skip;
    j->y = j->y ? j->y + skip : NULL;
    j->cols *= rows;
    *first = 0;
    *last = 1;
}

CG_SIMD static void bias_act_row(size_t n, const float *x, const float *bias,
                                 cg_act act, float *z)
{
    if (bias && act == CG_ACT_RELU) {
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            float v = x[c] + bias[c];
            z[c] = v < 0 ? 0 : v;
        }
    } else if (act == CG_ACT_RELU) {
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            z[c] = x[c] < 0 ? 0 : x[c];
    } else if (bias) {
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            z[c] = x[c] + bias[c];
    } else if (z != x) {
        memcpy(z, x, n * sizeof *z);
    }
}

static void bias_act_span(const void *job, size_t first, size_t last, int t)
{
    struct rows j = *(const struct rows *)job;
    (void)t;
    flatten(&j, &first, &last);
    for (size_t r = first, end; r < last; r = end) {
        size_t group = r / j.each;
        const float *bias = j.bias ? j.bias + group * j.cols : NULL;
        end = (group + 1) * j.each < last ? (group + 1) * j.each : last;
        for (size_t k = r; k < end; k++)
            bias_act_row(j.cols, j.x + k * j.ldx, bias, j.act,
                         j.z + k * j.ldz);
    }
}

void cpu_bias_act(cg_dev *d, int groups, int rows, int cols, const float *x,
                  int ldx, const float *bias, cg_act act, float *y, int ldy)
{
    struct rows j = { .cols = (size_t)cols, .x = x, .ldx = (size_t)ldx,
                      .each = (size_t)(rows / groups), .bias = bias,
                      .act = act, .z = y, .ldz = (size_t)ldy };
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(j.cols), bias_act_span, &j);
}

CG_SIMD static void act_bwd_row(size_t n, const float *y, const float *dy,
                                float *dx)
{
#pragma omp simd
    for (size_t c = 0; c < n; c++)
        dx[c] = y[c] > 0 ? dy[c] : 0;
}

static void act_bwd_span(const void *job, size_t first, size_t last, int t)
{
    struct rows j = *(const struct rows *)job;
    (void)t;
    flatten(&j, &first, &last);
    for (size_t r = first; r < last; r++)
        act_bwd_row(j.cols, j.y + r * j.ldy, j.x + r * j.ldx,
                    j.z + r * j.ldz);
}

void cpu_act_bwd(cg_dev *d, int rows, int cols, const float *y, int ldy,
                 cg_act act, const float *dy, int lddy, float *dx, int lddx)
{
    struct rows j = { .cols = (size_t)cols, .x = dy, .ldx = (size_t)lddy,
                      .y = y, .ldy = (size_t)ldy, .z = dx,
                      .ldz = (size_t)lddx };
    if (act == CG_ACT_NONE)
        cpu_bias_act(d, 1, rows, cols, dy, lddy, NULL, act, dx, lddx);
    else
        cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(j.cols), act_bwd_span, &j);
}

CG_SIMD static void axpby_row(size_t n, float a, const float *x, float b,
                              float *y)
{
    if (b == 0) {
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            y[c] = a * x[c];
    } else {
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            y[c] = a * x[c] + b * y[c];
    }
}

static void axpby_span(const void *job, size_t first, size_t last, int t)
{
    struct rows j = *(const struct rows *)job;
    (void)t;
    flatten(&j, &first, &last);
    for (size_t r = first; r < last; r++)
        axpby_row(j.cols, j.a, j.x + r * j.ldx, j.b, j.z + r * j.ldz);
}

void cpu_axpby(cg_dev *d, int rows, int cols, float a, const float *x,
               int ldx, float b, float *y, int ldy)
{
    struct rows j = { .cols = (size_t)cols, .x = x, .ldx = (size_t)ldx,
                      .z = y, .ldz = (size_t)ldy, .a = a, .b = b };
    cg_cpu_spans(d, (size_t)rows, cg_cpu_grain(j.cols), axpby_span, &j);
}

CG_SIMD static void fill_span(const void *job, size_t first, size_t last,
                              int t)
{
    const struct rows *j = job;
    float value = j->a, *z = j->z;
    (void)t;
    if (value == 0) { /* does not read what it overwrites */
        memset(z + first, 0, (last - first) * sizeof *z);
        return;
    }
#pragma omp simd
    for (size_t i = first; i < last; i++)
        z[i] = value;
}

void cpu_fill(cg_dev *d, size_t n, float value, float *y)
{
    struct rows j = { .a = value, .z = y };
    cg_cpu_spans(d, n, 65536, fill_span, &j);
}

/* -- sums ------------------------------------------------------------------ */

enum { SUM_ROWS = 256 };

/* z (blocks, groups, cols): sums of each block of rows of each group. */
CG_SIMD static void colsum_span(const void *job, size_t first, size_t last,
                                int t)
{
    const struct rows *j = job;
    size_t n = j->cols;
    (void)t;
    for (size_t k = first; k < last; k++) {
        size_t from = k / j->groups * SUM_ROWS, to = from + SUM_ROWS;
        const float *x = j->x + (k % j->groups * j->each + from) * j->ldx;
        float *z = j->z + k * n;
        memset(z, 0, n * sizeof *z);
        for (to = to < j->each ? to : j->each; from < to; from++) {
#pragma omp simd
            for (size_t c = 0; c < n; c++)
                z[c] += x[c];
            x += j->ldx;
        }
    }
}

void cpu_colsum(cg_dev *d, int groups, int rows, int cols, const float *x,
                int ldx, float beta, float *y)
{
    struct rows j = { .cols = (size_t)cols, .x = x, .ldx = (size_t)ldx,
                      .groups = (size_t)groups,
                      .each = (size_t)(rows / groups) };
    size_t parts = (j.each + SUM_ROWS - 1) / SUM_ROWS;
    size_t high = j.each < SUM_ROWS ? j.each : SUM_ROWS;
    j.z = cg_cpu_scratch(d, parts * j.groups * j.cols);
    if (!j.z)
        return;
    cg_cpu_spans(d, parts * j.groups, cg_cpu_grain(high * j.cols), colsum_span,
                 &j);
    cg_cpu_add_parts(d, parts, j.z, j.groups, j.cols, beta, y, j.cols);
}

struct parts {
    size_t n, cols, ldy;
    const float *part;
    size_t stride; /* from part to part */
    float beta, *y;
};

CG_SIMD static void parts_row(const struct parts *j, size_t r)
{
    float *y = j->y + r * j->ldy;
    size_t cols = j->cols;
    if (j->beta == 0) {
        memset(y, 0, cols * sizeof *y);
    } else if (j->beta != 1) {
        float beta = j->beta;
#pragma omp simd
        for (size_t c = 0; c < cols; c++)
            y[c] *= beta;
    }
    for (size_t i = 0; i < j->n; i++) {
        const float *x = j->part + i * j->stride + r * cols;
#pragma omp simd
        for (size_t c = 0; c < cols; c++)
            y[c] += x[c];
    }
}

static void parts_span(const void *job, size_t first, size_t last, int t)
{
    (void)t;
    for (size_t r = first; r < last; r++)
        parts_row(job, r);
}

void cg_cpu_add_parts(cg_dev *d, size_t parts, const float *part, size_t rows,
                      size_t cols, float beta, float *y, size_t ldy)
{
    struct parts j = { parts, cols, ldy, part, rows * cols, beta, y };
    cg_cpu_spans(d, rows, cg_cpu_grain(cols * (parts + 1)), parts_span, &j);
}
