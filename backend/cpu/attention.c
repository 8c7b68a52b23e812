/* Attention within small groups: one thread takes a group, gathers what a head
 * reads into matrices padded to whole vectors, and works on some rows of P at
 * a time so that a large group needs little scratch memory. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/tile.h"
#include "backend/dropout.h"

#include <assert.h>
#include <math.h>

enum { ROWS = 32 };

struct attention {
    const int32_t *start, *row;
    const int64_t *square;
    const float *count, *qkv, *dy;
    size_t groups, heads, dim;
    size_t most, slot; /* tokens of the largest group; scratch floats of a
                          thread */
    float p, *prob, *y, *dqkv, *scratch;
    uint64_t key;
};

/* One head of one group. Padding is zero. */
struct head {
    const struct attention *j;
    size_t first, n, np, dim, dp, h; /* np, dp: padded to vectors */
    size_t square;                   /* index of its P (n, n) */
    float scale;                     /* 1 / sqrt(dim) */
    float *room;                     /* scratch that is free */
};

static float *take(struct head *a, size_t n)
{
    float *p = a->room;
    a->room += n;
    return p;
}

/* Part 0, 1, 2 of token t of this head: q, k, v (dim). */
CG_INLINE const float *part_of(const struct head *a, size_t part, size_t t)
{
    const struct attention *j = a->j;
    size_t width = j->heads * j->dim;
    return j->qkv + (size_t)j->row[a->first + t] * 3 * width + part * width
        + a->h * j->dim;
}

/* x (n, dp) = scale * part */
CG_INLINE void gather(const struct head *a, size_t part, float scale, float *x)
{
    size_t dim = a->dim;
    for (size_t t = 0; t < a->n; t++, x += a->dp) {
        const float *from = part_of(a, part, t);
#pragma omp simd
        for (size_t c = 0; c < dim; c++)
            x[c] = scale * from[c];
        for (size_t c = dim; c < a->dp; c++)
            x[c] = 0;
    }
}

/* y (dim, np) = x (n, dp) transposed */
CG_INLINE void transpose(const struct head *a, const float *x, float *y)
{
    for (size_t c = 0; c < a->dim; c++, y += a->np) {
        for (size_t t = 0; t < a->n; t++)
            y[t] = x[t * a->dp + c];
        for (size_t t = a->n; t < a->np; t++)
            y[t] = 0;
    }
}

/* s (np) = softmax(s + bias); bias is -1e30 on the padding. */
CG_INLINE void softmax(size_t np, const float *bias, float *s)
{
    float most[CG_LANES], sum[CG_LANES] = { 0 };
    for (size_t l = 0; l < CG_LANES; l++)
        most[l] = -INFINITY;
    for (size_t c = 0; c < np; c += CG_LANES)
#pragma omp simd
        for (size_t l = 0; l < CG_LANES; l++) {
            float v = s[c + l] += bias[c + l];
            most[l] = v > most[l] ? v : most[l];
        }
    float top = cg_lane_max(most);
    for (size_t c = 0; c < np; c += CG_LANES)
#pragma omp simd
        for (size_t l = 0; l < CG_LANES; l++)
            sum[l] += s[c + l] = cg_exp(s[c + l] - top);
    float scale = 1 / cg_lane_sum(sum);
    for (size_t c = 0; c < np; c += CG_LANES)
        for (size_t l = 0; l < CG_LANES; l++)
            s[c + l] *= scale;
}

/* m (n) = the factors of dropout from element `index` of P on. */
CG_INLINE void mask(const struct attention *j, size_t index, size_t n,
                    float *m)
{
    uint32_t below = (uint32_t)ceil((double)j->p * 0x1p32);
    uint32_t at = (uint32_t)index;
    uint64_t key = j->key;
    float keep = 1 / (1 - j->p);
    for (size_t c = 0; c < n; c += CG_LANES)
        for (uint32_t l = 0; l < CG_LANES; l++)
            m[c + l] = cg_dropout_bits(key, at + (uint32_t)c + l) < below
                ? 0 : keep;
}

/* Rows i .. i + m of P and of y. */
CG_INLINE void forward_rows(const struct head *a, size_t i, size_t m,
                            const float *q, const float *kt, const float *v,
                            const float *bias, float *s, float *out)
{
    const struct attention *j = a->j;
    size_t n = a->n, np = a->np, width = j->heads * j->dim;
    cg_tile_product(&(cg_tile){ m, np, a->dim, q + i * a->dp, a->dp, 1, kt,
                                np, s, np, false });
    for (size_t r = 0; r < m; r++) {
        float *row = s + r * np;
        size_t index = a->square + (i + r) * n;
        softmax(np, bias, row);
        if (j->prob)
            memcpy(j->prob + index, row, n * sizeof *row);
        if (j->p > 0) {
            mask(j, index, np, out);
#pragma omp simd
            for (size_t c = 0; c < np; c++)
                row[c] *= out[c];
        }
    }
    cg_tile_product(&(cg_tile){ m, a->dp, n, s, np, 1, v, a->dp, out, a->dp,
                                false });
    for (size_t r = 0; r < m; r++)
        memcpy(j->y + (a->first + i + r) * width + a->h * a->dim,
               out + r * a->dp, a->dim * sizeof *out);
}

CG_INLINE void forward_head(struct head a, const float *bias)
{
    float *q = take(&a, a.n * a.dp), *k = take(&a, a.n * a.dp);
    float *v = take(&a, a.n * a.dp), *kt = take(&a, a.dp * a.np);
    float *s = take(&a, ROWS * a.np), *out = take(&a, ROWS * (a.dp + a.np));
    gather(&a, 0, a.scale, q);
    gather(&a, 1, 1, k);
    gather(&a, 2, 1, v);
    transpose(&a, k, kt);
    for (size_t i = 0; i < a.n; i += ROWS)
        forward_rows(&a, i, a.n - i < ROWS ? a.n - i : ROWS, q, kt, v, bias,
                     s, out);
}

static struct head head_of(const struct attention *j, size_t g, size_t h,
                           int thread)
{
    size_t first = (size_t)j->start[g], n = (size_t)j->start[g + 1] - first;
    return (struct head){
        .j = j, .first = first, .n = n, .np = cg_lanes(n), .dim = j->dim,
        .dp = cg_lanes(j->dim), .h = h,
        .square = j->heads * (size_t)j->square[g] + h * n * n,
        .scale = 1 / sqrtf((float)j->dim),
        .room = j->scratch + (size_t)thread * j->slot };
}

/* The next group's rows lie anywhere: asked for while this one is worked on. */
CG_INLINE void fetch(const struct attention *j, size_t g)
{
    size_t width = 3 * j->heads * j->dim;
    if (g >= j->groups)
        return;
    for (int32_t t = j->start[g]; t < j->start[g + 1]; t++)
        for (size_t c = 0; c < width; c += CG_LANES)
            __builtin_prefetch(j->qkv + (size_t)j->row[t] * width + c);
}

CG_SIMD static void forward_span(const void *job, size_t first, size_t last,
                                 int thread)
{
    const struct attention *j = job;
    for (size_t g = first; g < last; g++) {
        fetch(j, g + 1);
        for (size_t h = 0; h < j->heads; h++) {
            struct head a = head_of(j, g, h, thread);
            float *bias = take(&a, a.np);
            for (size_t t = 0; t < a.n; t++)
                bias[t] = cg_log(j->count[a.first + t]);
            for (size_t t = a.n; t < a.np; t++)
                bias[t] = -1e30f;
            forward_head(a, bias);
        }
    }
}

/* dP and P of rows i .. i + m become dS (in `ds`) and the dropped P. */
CG_INLINE void back_softmax(const struct head *a, size_t i, size_t m,
                            float *ds, float *p, float *factor)
{
    const struct attention *j = a->j;
    size_t n = a->n, np = a->np;
    for (size_t r = 0; r < m; r++, ds += np, p += np) {
        size_t index = a->square + (i + r) * n;
        memcpy(p, j->prob + index, n * sizeof *p);
        memset(p + n, 0, (np - n) * sizeof *p);
        if (j->p > 0) {
            mask(j, index, np, factor);
#pragma omp simd
            for (size_t c = 0; c < np; c++)
                ds[c] *= factor[c];
        }
        float dot[CG_LANES] = { 0 };
        for (size_t c = 0; c < np; c += CG_LANES)
            for (size_t l = 0; l < CG_LANES; l++)
                dot[l] += p[c + l] * ds[c + l];
        float sum = cg_lane_sum(dot);
#pragma omp simd
        for (size_t c = 0; c < np; c++)
            ds[c] = p[c] * (ds[c] - sum);
        if (j->p > 0)
#pragma omp simd
            for (size_t c = 0; c < np; c++)
                p[c] *= factor[c];
    }
}

/* dqkv of this head's tokens, part 0, 1, 2 = scale * x (m, dp) from token i. */
CG_INLINE void scatter(const struct head *a, size_t part, size_t i, size_t m,
                       float scale, const float *x)
{
    const struct attention *j = a->j;
    size_t width = j->heads * j->dim, dim = a->dim;
    for (size_t t = 0; t < m; t++, x += a->dp) {
        float *to = j->dqkv + (a->first + i + t) * 3 * width + part * width
            + a->h * dim;
#pragma omp simd
        for (size_t c = 0; c < dim; c++)
            to[c] = scale * x[c];
    }
}

/* dP = dy v^T, dS by the softmax; dq = dS k, dk += dS^T q, dv += P^T dy. */
CG_INLINE void backward_head(struct head a)
{
    const struct attention *j = a.j;
    size_t size = a.n * a.dp, np = a.np, dp = a.dp;
    float *q = take(&a, size), *k = take(&a, size), *v = take(&a, size);
    float *vt = take(&a, dp * np), *dy = take(&a, size), *dq = v;
    float *dk = take(&a, 2 * size), *dv = dk + size;
    float *ds = take(&a, ROWS * np), *p = take(&a, ROWS * np);
    float *factor = take(&a, np);
    size_t width = j->heads * j->dim;
    gather(&a, 0, 1, q);
    gather(&a, 1, 1, k);
    gather(&a, 2, 1, v);
    transpose(&a, v, vt);
    memset(dy, 0, size * sizeof *dy);
    for (size_t t = 0; t < a.n; t++)
        memcpy(dy + t * dp, j->dy + (a.first + t) * width + a.h * a.dim,
               a.dim * sizeof *dy);
    for (size_t i = 0; i < a.n; i += ROWS) {
        size_t m = a.n - i < ROWS ? a.n - i : ROWS;
        const float *dyi = dy + i * dp;
        cg_tile_product(&(cg_tile){ m, np, a.dim, dyi, dp, 1, vt, np, ds, np,
                                    false });
        back_softmax(&a, i, m, ds, p, factor);
        cg_tile_product(&(cg_tile){ m, dp, a.n, ds, np, 1, k, dp, dq, dp,
                                    false });
        scatter(&a, 0, i, m, a.scale, dq);
        cg_tile_product(&(cg_tile){ a.n, dp, m, ds, 1, np, q + i * dp, dp, dk,
                                    dp, i > 0 });
        cg_tile_product(&(cg_tile){ a.n, dp, m, p, 1, np, dyi, dp, dv, dp,
                                    i > 0 });
    }
    scatter(&a, 1, 0, a.n, a.scale, dk);
    scatter(&a, 2, 0, a.n, 1, dv);
}

CG_SIMD static void backward_span(const void *job, size_t first, size_t last,
                                  int thread)
{
    const struct attention *j = job;
    for (size_t g = first; g < last; g++) {
        fetch(j, g + 1);
        for (size_t h = 0; h < j->heads; h++)
            backward_head(head_of(j, g, h, thread));
    }
}

/* Scratch for every thread, then all groups. */
static void run(cg_dev *d, struct attention *j, int groups, cg_span_fn fn)
{
    assert(j->p >= 0 && j->p < 1);
    int threads = cg_pool_threads(cg_cpu_of(d)->pool);
    size_t dp = cg_lanes(j->dim), np, n_groups = j->groups = (size_t)groups;
    for (size_t g = 0; g < n_groups; g++) {
        size_t n = (size_t)(j->start[g + 1] - j->start[g]);
        j->most = n > j->most ? n : j->most;
    }
    np = cg_lanes(j->most);
    j->slot = np * dp * 7 + np * (3 * ROWS + 2) + ROWS * dp;
    j->scratch = cg_cpu_scratch(d, (size_t)threads * j->slot);
    if (!groups || !j->scratch)
        return;
    size_t tokens = (size_t)j->start[groups] / n_groups + 1;
    cg_cpu_spans(d, n_groups, cg_cpu_grain(tokens * j->heads * dp), fn, j);
}

void cpu_attention(cg_dev *d, int groups, const int32_t *start,
                   const int64_t *square, const int32_t *row,
                   const float *count, int heads, int dim, const float *qkv,
                   float p, uint64_t key, float *prob, float *y)
{
    struct attention j = { .start = start, .row = row, .square = square,
                           .count = count, .qkv = qkv, .heads = (size_t)heads,
                           .dim = (size_t)dim, .p = p, .key = key,
                           .prob = prob, .y = y };
    run(d, &j, groups, forward_span);
}

void cpu_attention_bwd(cg_dev *d, int groups, const int32_t *start,
                       const int64_t *square, const int32_t *row, int heads,
                       int dim, const float *qkv, float p, uint64_t key,
                       const float *prob, const float *dy, float *dqkv)
{
    struct attention j = { .start = start, .row = row, .square = square,
                           .qkv = qkv, .heads = (size_t)heads,
                           .dim = (size_t)dim, .p = p, .key = key,
                           .prob = (float *)prob, .dy = dy, .dqkv = dqkv };
    run(d, &j, groups, backward_span);
}
