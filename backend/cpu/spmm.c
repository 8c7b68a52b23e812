/* Sparse times dense: rows of x gathered and added, 64 columns at a time in
 * registers. The way back scatters: nobody has to turn the matrix around
 * first. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

enum { AHEAD = 16 }; /* entries */

struct spmm {
    cg_csr s;
    size_t cols, ldx, ldy;
    const float *x, *bias;
    cg_act act;
    float beta, *y;
};

static inline float act(float v, cg_act a)
{
    return a == CG_ACT_RELU && v < 0 ? 0 : v;
}

/* `width` vectors of the rows first .. last, from column c. Rows of x lie
 * anywhere: each is asked for some entries before. */
CG_INLINE void gather(const struct spmm *j, size_t first, size_t last,
                      size_t c, int width, const float *val)
{
    const cg_csr *s = &j->s;
    const int32_t *col = s->col;
    const float *from = j->x + c;
    float *y = j->y + first * j->ldy + c;
    int32_t e = s->start[first], ahead = s->start[last] - AHEAD;
    for (size_t r = first; r < last; r++, y += j->ldy) {
        cg_v16 sum[4];
        for (int v = 0; v < width; v++)
            sum[v] = (cg_v16){ 0 };
        for (int32_t end = s->start[r + 1]; e < end; e++) {
            const float *x = from + (size_t)col[e] * j->ldx;
            if (e < ahead)
                for (int v = 0; v < width; v++)
                    __builtin_prefetch(from + (size_t)col[e + AHEAD] * j->ldx
                                       + v * CG_LANES);
            for (int v = 0; v < width; v++) {
                cg_v16 term = *(const cg_v16 *)(x + v * CG_LANES);
                if (val)
                    term *= val[e];
                sum[v] += term;
            }
        }
        if (j->bias)
            for (int v = 0; v < width; v++)
                sum[v] += *(const cg_v16 *)(j->bias + c + v * CG_LANES);
        if (j->act == CG_ACT_RELU)
            for (int v = 0; v < width; v++)
                cg_relu16(&sum[v]);
        if (j->beta != 0)
            for (int v = 0; v < width; v++)
                sum[v] += j->beta * *(const cg_v16 *)(y + v * CG_LANES);
        for (int v = 0; v < width; v++)
            *(cg_v16 *)(y + v * CG_LANES) = sum[v];
    }
}

static void row_tail(const struct spmm *j, size_t r, size_t c)
{
    const cg_csr *s = &j->s;
    for (; c < j->cols; c++) {
        float sum = 0, *y = j->y + r * j->ldy + c;
        for (int32_t e = s->start[r]; e < s->start[r + 1]; e++)
            sum += (s->val ? s->val[e] : 1)
                * j->x[(size_t)s->col[e] * j->ldx + c];
        sum = act(sum + (j->bias ? j->bias[c] : 0), j->act);
        *y = j->beta != 0 ? sum + j->beta * *y : sum;
    }
}

CG_INLINE void gather_cols(const struct spmm *j, size_t first, size_t last,
                           const float *val)
{
    size_t c = 0;
    for (; c + 64 <= j->cols; c += 64)
        gather(j, first, last, c, 4, val);
    for (; c + 32 <= j->cols; c += 32)
        gather(j, first, last, c, 2, val);
    for (; c + 16 <= j->cols; c += 16)
        gather(j, first, last, c, 1, val);
    for (size_t r = first; c < j->cols && r < last; r++)
        row_tail(j, r, c);
}

CG_SIMD static void spmm_span(const void *job, size_t first, size_t last,
                              int thread)
{
    const struct spmm j = *(const struct spmm *)job; /* nothing that is
                                                        written can be this */
    (void)thread;
    if (j.s.val)
        gather_cols(&j, first, last, j.s.val);
    else
        gather_cols(&j, first, last, NULL);
}

void cpu_spmm(cg_dev *d, const cg_csr *s, int cols, const float *x, int ldx,
              const float *bias, cg_act act, float beta, float *y, int ldy)
{
    struct spmm j = { *s, (size_t)cols, (size_t)ldx, (size_t)ldy, x, bias, act,
                      beta, y };
    size_t rows = (size_t)s->n_rows;
    if (!rows)
        return;
    size_t per_row = (size_t)s->n_entries / rows + 1;
    cg_cpu_spans(d, rows, cg_cpu_grain(j.cols * per_row), spmm_span, &j);
}

/* -- the way back ---------------------------------------------------------- */

struct spmm_bwd {
    cg_csr s;
    size_t cols, part; /* all, and those of a span */
    const float *y, *dy;
    size_t ldy, lddy;
    cg_act act;
    float bb, *dbias, *dx;
    size_t lddx;
};

/* `width` vectors of each row, from column c. */
CG_INLINE void scatter(const struct spmm_bwd *j, size_t c, int width,
                       const float *val)
{
    const cg_csr *s = &j->s;
    const int32_t *col = s->col;
    const float *dy = j->dy + c, *y = j->y + c;
    float *to = j->dx + c;
    int32_t ahead = s->n_entries - AHEAD;
    cg_v16 row[4], part[4], bias[4];
    for (int v = 0; v < width; v++)
        part[v] = bias[v] = (cg_v16){ 0 };
    for (int32_t r = 0, e = 0; r < s->n_rows; r++) {
        for (int v = 0; v < width; v++) {
            row[v] = *(const cg_v16 *)(dy + v * CG_LANES);
            if (j->act == CG_ACT_RELU)
                row[v] = (cg_v16)((cg_mask16)row[v]
                    & (*(const cg_v16 *)(y + v * CG_LANES) > 0));
            part[v] += row[v];
        }
        if ((r & 255) == 255) /* many are not added to one sum */
            for (int v = 0; v < width; v++) {
                bias[v] += part[v];
                part[v] = (cg_v16){ 0 };
            }
        dy += j->lddy;
        y += j->ldy;
        for (int32_t end = j->dx ? s->start[r + 1] : e; e < end; e++) {
            float *x = to + (size_t)col[e] * j->lddx;
            if (e < ahead)
                for (int v = 0; v < width; v++)
                    __builtin_prefetch(to + (size_t)col[e + AHEAD] * j->lddx
                                       + v * CG_LANES, 1);
            for (int v = 0; v < width; v++) {
                cg_v16 term = row[v];
                if (val)
                    term *= val[e];
                *(cg_v16 *)(x + v * CG_LANES) += term;
            }
        }
    }
    for (int v = 0; v < width && j->dbias; v++) {
        cg_v16 *sum = (cg_v16 *)(j->dbias + c + (size_t)v * CG_LANES);
        part[v] += bias[v];
        if (j->bb != 0)
            part[v] += j->bb * *sum;
        *sum = part[v];
    }
}

/* One column, where they are no whole vector. */
static void scatter_column(const struct spmm_bwd *j, size_t c)
{
    const cg_csr *s = &j->s;
    double bias = 0;
    for (size_t r = 0; r < (size_t)s->n_rows; r++) {
        float dz = j->dy[r * j->lddy + c];
        if (j->act == CG_ACT_RELU && !(j->y[r * j->ldy + c] > 0))
            dz = 0;
        bias += (double)dz;
        for (int32_t e = s->start[r]; e < s->start[r + 1] && j->dx; e++)
            j->dx[(size_t)s->col[e] * j->lddx + c]
                += (s->val ? s->val[e] : 1) * dz;
    }
    if (j->dbias)
        j->dbias[c] = (float)bias + (j->bb != 0 ? j->bb * j->dbias[c] : 0);
}

CG_INLINE void scatter_cols(const struct spmm_bwd *j, size_t c, size_t last,
                            const float *val)
{
    for (; c + 64 <= last; c += 64)
        scatter(j, c, 4, val);
    for (; c + 32 <= last; c += 32)
        scatter(j, c, 2, val);
    for (; c + 16 <= last; c += 16)
        scatter(j, c, 1, val);
    for (; c < last; c++)
        scatter_column(j, c);
}

/* Columns of a span, of all rows: their sums are in the order of the rows,
 * however they are shared out. */
CG_SIMD static void spmm_bwd_span(const void *job, size_t span, size_t end,
                                  int thread)
{
    const struct spmm_bwd j = *(const struct spmm_bwd *)job;
    size_t c = span * j.part, last = c + j.part;
    (void)end, (void)thread;
    last = last < j.cols ? last : j.cols;
    if (j.s.val)
        scatter_cols(&j, c, last, j.s.val);
    else
        scatter_cols(&j, c, last, NULL);
}

/* x = beta x */
static void scale(cg_dev *d, int rows, int cols, float beta, float *x, int ldx)
{
    if (beta == 0 && cols == ldx)
        cpu_fill(d, (size_t)rows * (size_t)cols, 0, x);
    else if (beta == 0)
        for (int r = 0; r < rows; r++)
            memset(x + (ptrdiff_t)r * ldx, 0, (size_t)cols * sizeof *x);
    else if (beta != 1)
        cpu_axpby(d, rows, cols, 0, x, ldx, beta, x, ldx);
}

void cpu_spmm_bwd(cg_dev *d, const cg_csr *s, int cols, const float *y,
                  int ldy, cg_act act, const float *dy, int lddy, float bb,
                  float *dbias, float bx, float *dx, int lddx)
{
    struct spmm_bwd j = { *s, (size_t)cols, 0, act ? y : dy, dy, (size_t)ldy,
                          (size_t)lddy, act, bb, dbias, dx, (size_t)lddx };
    size_t threads = (size_t)cg_pool_threads(cg_cpu_of(d)->pool);
    if (!cols)
        return;
    if (dx)
        scale(d, s->n_cols, cols, bx, dx, lddx);
    j.part = cg_lanes((j.cols + threads - 1) / threads);
    cg_cpu_spans(d, (j.cols + j.part - 1) / j.part, 1, spmm_bwd_span, &j);
}
