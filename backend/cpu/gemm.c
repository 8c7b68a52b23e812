/* Products: OpenBLAS on blocks that do not depend on the number of threads.
 *
 * a b is cut by the rows of the result. a^T b of two tall matrices, a gradient
 * of weights, has a small result and a long sum: the sum is cut, and its parts
 * are added in order. A few rows, as in fine-tuning, one network a step, are
 * bound by reading or writing a matrix once: where OpenBLAS would pack it
 * first, by plain loops. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/simd.h"

enum {
    SMALL = 1000000, /* m n k up to which OpenBLAS has kernels that do not copy
                        their operands first, on processors with AVX-512 */
    SIDE = 64, DEEP = 256, ROWS_MAX = 512,
    LARGE = 1 << 18, /* n k from which copying pays */
    LONG = 512,      /* rows that are worth transposing b for */
    PARTS = 32,
    FEW = 4,         /* rows, or steps of the sum, that need no packing */
    STEPS = 8,       /* rows of b that are added in one go */
    THIN = 1 << 15   /* elements of b, or of c, that a thread takes */
};

struct gemm {
    const cg_blas *blas;
    cg_trans ta, tb;
    int m, n, k;
    int tile, deep;      /* columns and steps of a call */
    int block, n_blocks; /* rows of the result, or steps of a part */
    float alpha, beta;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
    ptrdiff_t sa, sb, sc;
};

static int least(int a, int b) { return a < b ? a : b; }

/* The third side of a small product. */
static int third_side(int a, int b)
{
    double side = (double)SMALL / ((double)a * b);
    return side > ROWS_MAX ? ROWS_MAX : side < 32 ? 16 : (int)side / 16 * 16;
}

/* Calls for rows of a plain b. */
static void plan_rows(struct gemm *g)
{
    g->tile = g->n;
    g->deep = g->k;
    g->block = ROWS_MAX;
    if (g->tb || (double)g->n * g->k > LARGE)
        return;
    g->deep = least(g->k, DEEP);
    if (third_side(g->n, g->deep) < SIDE)
        g->tile = SIDE;
    g->block = third_side(g->tile, g->deep);
}

/* c (m, n) = alpha op(a) op(b) + beta c */
static void product(const struct gemm *g, int m, int k, const float *a,
                    const float *b, float beta, float *c, int ldc)
{
    for (int j = 0; j < g->n; j += g->tile)
        for (int l = 0; l < k; l += g->deep)
            g->blas->sgemm(
                CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans,
                g->tb ? CblasTrans : CblasNoTrans, m,
                least(g->tile, g->n - j), least(g->deep, k - l), g->alpha,
                a + (ptrdiff_t)l * (g->ta ? g->lda : 1), g->lda,
                b + (ptrdiff_t)l * (g->tb ? 1 : g->ldb)
                    + (ptrdiff_t)j * (g->tb ? g->ldb : 1), g->ldb,
                l ? 1 : beta, c + j, ldc);
}

static void row_blocks(const void *job, size_t first, size_t last, int thread)
{
    const struct gemm *g = job;
    (void)thread;
    for (size_t i = first; i < last; i++) {
        ptrdiff_t item = (ptrdiff_t)(i / (size_t)g->n_blocks);
        int row = (int)(i % (size_t)g->n_blocks) * g->block;
        product(g, least(g->m - row, g->block), g->k,
                g->a + item * g->sa + (ptrdiff_t)row * (g->ta ? 1 : g->lda),
                g->b + item * g->sb, g->beta,
                g->c + item * g->sc + (ptrdiff_t)row * g->ldc, g->ldc);
    }
}

/* One part of the sum over k. */
static void sum_blocks(const void *job, size_t first, size_t last, int thread)
{
    const struct gemm *g = job;
    (void)last, (void)thread;
    int start = (int)first * g->block, rows = least(g->m, SIDE);
    int end = least(g->k, start + g->block);
    float *c = g->c + first * (size_t)g->m * (size_t)g->n;
    for (int k = start; k < end; k += g->deep)
        for (int i = 0; i < g->m; i += rows)
            product(g, least(rows, g->m - i), least(g->deep, end - k),
                    g->a + (ptrdiff_t)k * g->lda + i,
                    g->b + (ptrdiff_t)k * (g->tb ? 1 : g->ldb), k > start,
                    c + (ptrdiff_t)i * g->n, g->n);
}

static void scale(cg_dev *d, int m, int n, float beta, float *c, int ldc)
{
    cg_cpu_add_parts(d, 0, NULL, (size_t)m, (size_t)n, beta, c, (size_t)ldc);
}

/* c = alpha a^T op(b) + beta c where k is long. */
static void long_sum(cg_dev *d, struct gemm *g)
{
    int calls = (g->k + g->deep - 1) / g->deep;
    g->block = (calls + PARTS - 1) / PARTS * g->deep;
    size_t parts = ((size_t)g->k + (size_t)g->block - 1) / (size_t)g->block;
    size_t m = (size_t)g->m, n = (size_t)g->n;
    struct gemm part = *g;
    part.c = cg_cpu_scratch(d, parts * m * n);
    if (!part.c)
        return;
    cg_cpu_spans(d, parts, 1, sum_blocks, &part);
    cg_cpu_add_parts(d, parts, part.c, m, n, g->beta, g->c, (size_t)g->ldc);
}

/* Item's b (n, k) as (k, n) in g->c, 16 x 16 at a time for the cache. */
static void transpose_item(const void *job, size_t item, size_t last,
                           int thread)
{
    const struct gemm *g = job;
    const float *b = g->b + (ptrdiff_t)item * g->sb;
    float *to = g->c + (ptrdiff_t)item * g->k * g->n;
    (void)last, (void)thread;
    for (int i = 0; i < g->n; i += 16)
        for (int l = 0; l < g->k; l += 16)
            for (int x = i; x < least(i + 16, g->n); x++)
                for (int y = l; y < least(l + 16, g->k); y++)
                    to[(ptrdiff_t)y * g->n + x] = b[(ptrdiff_t)x * g->ldb + y];
}

/* The small kernels are slow with a transposed b: where it is used often
 * enough it is turned around once. */
static bool turn_b(cg_dev *d, int batch, struct gemm *g)
{
    struct gemm turned = *g;
    turned.c = cg_cpu_scratch(d, (size_t)batch * (size_t)g->k * (size_t)g->n);
    if (!turned.c)
        return false;
    cg_cpu_spans(d, (size_t)batch, 1, transpose_item, &turned);
    g->b = turned.c;
    g->ldb = g->n;
    g->sb = (ptrdiff_t)g->k * g->n;
    g->tb = CG_PLAIN;
    return true;
}

/* -- a few rows ------------------------------------------------------------ */

/* c = beta c + alpha a b, `rows` of c and `steps` of the sum; beta 0 does not
 * read c. Element (i, l) of a is at a[i * ra + l * ca]. */
CG_INLINE void add_steps(const struct gemm *g, int rows, int steps,
                         const float *a, ptrdiff_t ra, ptrdiff_t ca,
                         const float *b, float beta, float *c)
{
    float w[2][STEPS];
    int ldb = g->ldb, ldc = g->ldc;
    for (int i = 0; i < rows; i++)
        for (int l = 0; l < steps; l++)
            w[i][l] = g->alpha * a[i * ra + l * ca];
#pragma omp simd
    for (int j = 0; j < g->n; j++)
        for (int i = 0; i < rows; i++) {
            float sum = beta == 0 ? 0 : beta * c[i * ldc + j];
            for (int l = 0; l < steps; l++)
                sum += w[i][l] * b[l * ldb + j];
            c[i * ldc + j] = sum;
        }
}

/* Rows first .. last of c of one item, b plain: 8, 4, 2 or 1 rows of b, which
 * are then in the cache, times one or two of c. */
CG_SIMD static void rows_times_b(const struct gemm *g, int first, int last,
                                 const float *a, const float *b, float *c)
{
    ptrdiff_t ra = g->ta ? 1 : g->lda, ca = g->ta ? g->lda : 1;
    for (int l = 0, steps = STEPS; l < g->k; l += steps) {
        float beta = l ? 1 : g->beta;
        const float *x = a + l * ca, *y = b + (ptrdiff_t)l * g->ldb;
        while (steps > g->k - l)
            steps /= 2;
        for (int i = first, rows = 2; i < last; i += rows) {
            const float *from = x + i * ra;
            float *to = c + (ptrdiff_t)i * g->ldc;
            rows = least(rows, last - i);
#define CASE(r, s) \
            if (rows == r && steps == s) \
                add_steps(g, r, s, from, ra, ca, y, beta, to);
            CASE(1, 8) CASE(1, 4) CASE(1, 2) CASE(1, 1)
            CASE(2, 8) CASE(2, 4) CASE(2, 2) CASE(2, 1)
#undef CASE
        }
    }
}

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

/* Halves upon halves. */
CG_INLINE float sum_lanes(const cg_v16 *v)
{
    v8 half = ((const v8 *)v)[0] + ((const v8 *)v)[1];
    v4 x = ((const v4 *)&half)[0] + ((const v4 *)&half)[1];
    return (x[0] + x[2]) + (x[1] + x[3]);
}

/* `cols` columns of a row of c: dot products. */
CG_INLINE void dot_cols(const struct gemm *g, int cols, const float *x,
                        const float *b, float *c)
{
    cg_v16 part[4] = {{ 0 }};
    int k = g->k, whole = k / CG_LANES * CG_LANES;
    for (int l = 0; l < whole; l += CG_LANES)
        for (int j = 0; j < cols; j++)
            part[j] += *(const cg_v16 *)(x + l)
                * *(const cg_v16 *)(b + (ptrdiff_t)j * g->ldb + l);
    for (int j = 0; j < cols; j++) {
        float sum = sum_lanes(&part[j]);
        for (int l = whole; l < k; l++)
            sum += x[l] * b[(ptrdiff_t)j * g->ldb + l];
        c[j] = g->alpha * sum + (g->beta == 0 ? 0 : g->beta * c[j]);
    }
}

/* Columns first .. last of c of one item; b transposed, a plain. */
CG_SIMD static void rows_dot_b(const struct gemm *g, int first, int last,
                               const float *a, const float *b, float *c)
{
    for (int j = first; j < last; j += 4)
        for (int i = 0; i < g->m; i++) {
            const float *x = a + (ptrdiff_t)i * g->lda;
            const float *y = b + (ptrdiff_t)j * g->ldb;
            float *to = c + (ptrdiff_t)i * g->ldc + j;
            if (last - j >= 4)
                dot_cols(g, 4, x, y, to);
            for (int r = 0; r < last - j && last - j < 4; r++)
                dot_cols(g, 1, x, y + (ptrdiff_t)r * g->ldb, to + r);
        }
}

static void few_blocks(const void *job, size_t first, size_t last, int thread)
{
    const struct gemm *g = job;
    (void)thread;
    for (size_t i = first; i < last; i++) {
        ptrdiff_t item = (ptrdiff_t)(i / (size_t)g->n_blocks);
        int start = (int)(i % (size_t)g->n_blocks) * g->block;
        int end = least(start + g->block, g->tb ? g->n : g->m);
        (g->tb ? rows_dot_b : rows_times_b)(
            g, start, end, g->a + item * g->sa, g->b + item * g->sb,
            g->c + item * g->sc);
    }
}

/* Whether it is a product of so few rows, or steps, and is done; the loops
 * are along rows of b, which are not worth it where short. */
static bool few(cg_dev *d, int batch, struct gemm *g)
{
    bool fits = g->tb ? !g->ta && g->m <= FEW && g->k >= CG_LANES
                      : ((g->m <= FEW && !g->ta) || g->k <= FEW)
                            && g->n >= CG_LANES;
    if (!fits || !g->blas->packs)
        return false;
    int sides = g->tb ? g->n : g->m, cost = g->tb ? g->k : g->n;
    g->block = g->tb || g->m > FEW ? 1 + THIN / cost : g->m;
    g->n_blocks = (sides + g->block - 1) / g->block;
    cg_cpu_spans(d, (size_t)batch * (size_t)g->n_blocks, 1, few_blocks, g);
    return true;
}

void cpu_gemm_batched(cg_dev *d, int batch, cg_trans ta, cg_trans tb, int m,
                      int n, int k, float alpha, const float *a, int lda,
                      ptrdiff_t sa, const float *b, int ldb, ptrdiff_t sb,
                      float beta, float *c, int ldc, ptrdiff_t sc)
{
    struct gemm g = { cg_cpu_of(d)->blas, ta, tb, m, n, k, .alpha = alpha,
                      .beta = beta, .a = a, .b = b, .c = c, .lda = lda,
                      .ldb = ldb, .ldc = ldc, .sa = sa, .sb = sb, .sc = sc };
    if (batch <= 0 || m <= 0 || n <= 0)
        return;
    for (int i = 0; k <= 0 && i < batch; i++)
        scale(d, m, n, beta, c + i * sc, ldc);
    if (k <= 0)
        return;
    if (few(d, batch, &g))
        return;
    g.tile = least(n, SIDE);
    g.deep = third_side(least(m, SIDE), g.tile);
    if (batch == 1 && ta && k >= 2 * g.deep) {
        long_sum(d, &g);
        return;
    }
    if (tb && m >= LONG && !turn_b(d, batch, &g))
        return;
    plan_rows(&g);
    g.n_blocks = (m + g.block - 1) / g.block;
    cg_cpu_spans(d, (size_t)batch * (size_t)g.n_blocks, 1, row_blocks, &g);
}

void cpu_gemm(cg_dev *d, cg_trans ta, cg_trans tb, int m, int n, int k,
              float alpha, const float *a, int lda, const float *b, int ldb,
              float beta, float *c, int ldc)
{
    cpu_gemm_batched(d, 1, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta,
                     c, ldc, 0);
}
