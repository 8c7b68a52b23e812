/* Sparse times dense: rows of x gathered and added, 64 columns at a time in
 * registers. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

enum { AHEAD = 8, FETCH = 4 }; /* rows, their first entries */

struct spmm {
    const cg_csr *s;
    size_t cols, ldx, ldy;
    const float *x, *bias;
    cg_act act;
    float beta, *y;
};

static inline float act(float v, cg_act a)
{
    return a == CG_ACT_RELU && v < 0 ? 0 : v;
}

/* `width` vectors of one row, from column c. */
CG_INLINE void row_vectors(const struct spmm *j, size_t r, size_t c,
                           int width)
{
    const cg_csr *s = j->s;
    cg_v16 sum[4];
    for (int v = 0; v < width; v++)
        sum[v] = (cg_v16){ 0 };
    for (int32_t e = s->start[r]; e < s->start[r + 1]; e++) {
        const float *x = j->x + (size_t)s->col[e] * j->ldx + c;
        float val = s->val ? s->val[e] : 1;
        for (int v = 0; v < width; v++)
            sum[v] += val * *(const cg_v16 *)(x + v * CG_LANES);
    }
    float *y = j->y + r * j->ldy + c;
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

static void row_tail(const struct spmm *j, size_t r, size_t c)
{
    const cg_csr *s = j->s;
    for (; c < j->cols; c++) {
        float sum = 0, *y = j->y + r * j->ldy + c;
        for (int32_t e = s->start[r]; e < s->start[r + 1]; e++)
            sum += (s->val ? s->val[e] : 1)
                * j->x[(size_t)s->col[e] * j->ldx + c];
        sum = act(sum + (j->bias ? j->bias[c] : 0), j->act);
        *y = j->beta != 0 ? sum + j->beta * *y : sum;
    }
}

/* Rows of x lie anywhere: those of row r are asked for some rows before. */
CG_INLINE void fetch(const struct spmm *j, size_t r)
{
    const cg_csr *s = j->s;
    int32_t first = s->start[r], last = s->start[r + 1];
    last = last - first > FETCH ? first + FETCH : last;
    for (int32_t e = first; e < last; e++) {
        const float *x = j->x + (size_t)s->col[e] * j->ldx;
        for (size_t c = 0; c < j->cols; c += CG_LANES)
            __builtin_prefetch(x + c);
    }
}

CG_SIMD static void spmm_span(const void *job, size_t first, size_t last,
                              int thread)
{
    const struct spmm *j = job;
    (void)thread;
    for (size_t r = first; r < last; r++) {
        size_t c = 0;
        if (r + AHEAD < last)
            fetch(j, r + AHEAD);
        for (; c + 64 <= j->cols; c += 64)
            row_vectors(j, r, c, 4);
        for (; c + 32 <= j->cols; c += 32)
            row_vectors(j, r, c, 2);
        for (; c + 16 <= j->cols; c += 16)
            row_vectors(j, r, c, 1);
        row_tail(j, r, c);
    }
}

void cpu_spmm(cg_dev *d, const cg_csr *s, int cols, const float *x, int ldx,
              const float *bias, cg_act act, float beta, float *y, int ldy)
{
    struct spmm j = { s, (size_t)cols, (size_t)ldx, (size_t)ldy, x, bias, act,
                      beta, y };
    size_t rows = (size_t)s->n_rows;
    if (!rows)
        return;
    size_t per_row = (size_t)s->n_entries / rows + 1;
    cg_cpu_spans(d, rows, cg_cpu_grain(j.cols * per_row), spmm_span, &j);
}
