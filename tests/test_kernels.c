/* Every kernel of the CPU against plain loops in double, at sizes from none to
 * large; and the same bits with 1, 2 and 3 threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/dropout.h"
#include "tests/kernels.h"

cg_dev *dev[DEVICES];
cg_arena arena;
cg_rng rng;

/* -- data ------------------------------------------------------------------ */

float *floats(size_t n)
{
    return cg_arena_array(&arena, float, n + 1) + 1;
}

static float uniform(float low, float high)
{
    return low + (high - low) * (float)cg_rng_uniform(&rng);
}

float *randoms(size_t n, float low, float high)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(low, high);
    return x;
}

float *inputs(size_t n) { return randoms(n, -1, 1); }

output output_of(size_t n, const float *initial)
{
    output o = { .n = n, .want = cg_arena_array(&arena, double, n + 1) };
    for (size_t i = 0; i < n; i++)
        o.want[i] = (double)initial[i];
    for (int d = 0; d < DEVICES; d++) {
        o.on[d] = floats(n);
        memcpy(o.on[d], initial, n * sizeof(float));
    }
    return o;
}

output outputs(size_t n) { return output_of(n, inputs(n)); }

void compare(const output *o, const char *what)
{
    double most = 0;
    for (size_t i = 0; i < o->n; i++)
        most = fmax(most, fabs(o->want[i]));
    for (size_t i = 0; i < o->n; i++)
        if (!(fabs((double)o->on[0][i] - o->want[i]) <= 1e-5 * most))
            fail_msg("%s: element %zu of %zu is %.9g, not %.9g", what, i,
                     o->n, (double)o->on[0][i], o->want[i]);
    for (int d = 1; d < DEVICES; d++)
        if (o->n && memcmp(o->on[0], o->on[d], o->n * sizeof(float)))
            fail_msg("%s: %d threads give other bits", what, d + 1);
}

double factor(uint64_t key, size_t i, float p)
{
    double u = (double)cg_dropout_bits(key, (uint32_t)i);
    return u < (double)p * 4294967296.0 ? 0 : 1 / (1 - (double)p);
}

/* -- matrices -------------------------------------------------------------- */

static double dot(int k, const float *a, ptrdiff_t sa, const float *b,
                  ptrdiff_t sb)
{
    double sum = 0;
    for (int l = 0; l < k; l++)
        sum += (double)a[l * sa] * (double)b[l * sb];
    return sum;
}

static void check_product(int batch, int m, int n, int k, cg_trans ta,
                          cg_trans tb, float alpha, float beta, bool gaps)
{
    int lda = (ta ? m : k) + (gaps ? 5 : 0), ldb = (tb ? k : n) + gaps;
    int ldc = n + (gaps ? 3 : 0);
    ptrdiff_t sa = (ptrdiff_t)lda * (ta ? k : m) + gaps;
    ptrdiff_t sb = (ptrdiff_t)ldb * (tb ? n : k) + gaps;
    ptrdiff_t sc = (ptrdiff_t)ldc * m + gaps;
    const float *a = inputs((size_t)(sa * batch));
    const float *b = inputs((size_t)(sb * batch));
    output c = outputs((size_t)(sc * batch));
    for (int i = 0; beta == 0 && i < batch; i++)
        for (int r = 0; r < m; r++)
            for (int x = 0; x < n; x++)
                EACH_DEVICE /* must not be read */
                    c.on[d][i * sc + r * ldc + x] = NAN;
    EACH_DEVICE
        if (batch == 1)
            cg_k_gemm(dev[d], ta, tb, m, n, k, alpha, a, lda, b, ldb, beta,
                      c.on[d], ldc);
        else
            cg_k_gemm_batched(dev[d], batch, ta, tb, m, n, k, alpha, a, lda,
                              sa, b, ldb, sb, beta, c.on[d], ldc, sc);
    for (int i = 0; i < batch; i++)
        for (int r = 0; r < m; r++)
            for (int x = 0; x < n; x++) {
                double *want = c.want + i * sc + r * ldc + x;
                double sum = dot(k, a + i * sa + r * (ta ? 1 : lda),
                                 ta ? lda : 1,
                                 b + i * sb + x * (tb ? ldb : 1),
                                 tb ? 1 : ldb);
                *want = (double)alpha * sum
                    + (beta == 0 ? 0 : (double)beta * *want);
            }
    compare(&c, batch == 1 ? "gemm" : "gemm_batched");
}

static void check_products(int batch)
{
    static const int sizes[][3] = {
        {0, 4, 4}, {4, 0, 4}, {4, 4, 0}, {1, 1, 1}, {7, 5, 3}, {33, 17, 65},
        {1, 16, 16}, {1, 256, 256}, {2, 35, 39}, {3, 70, 21}, {4, 300, 128},
        {3, 1000, 300}, {300, 40, 1}, {256, 256, 2}, {900, 130, 3},
        {130, 70, 31}, {1000, 64, 64}, {64, 64, 3001}, {32, 96, 20000} };
    size_t n = sizeof sizes / sizeof *sizes - (batch > 1 ? 2 : 0);
    for (size_t i = 0; i < n; i++)
        for (int t = 0; t < 4; t++) {
            const int *s = sizes[i];
            check_product(batch, s[0], s[1], s[2], (cg_trans)(t & 1),
                          (cg_trans)(t >> 1), 1, 0, false);
            check_product(batch, s[0], s[1], s[2], (cg_trans)(t & 1),
                          (cg_trans)(t >> 1), 0.5f, t & 1 ? 1 : -2, true);
        }
}

void check_gemm(void) { check_products(1); }
void check_gemm_batched(void) { check_products(3); }

/* Rows of 0 to 4 entries, every 50th of many. */
static cg_csr random_csr(int rows, int cols, bool values)
{
    int32_t *start = cg_arena_array(&arena, int32_t, rows + 1);
    for (int r = 0; r < rows; r++)
        start[r + 1] = start[r] + (cols == 0 ? 0 : r % 50 == 49 ? 300
                                   : (int32_t)cg_rng_below(&rng, 5));
    int32_t *col = cg_arena_array(&arena, int32_t, start[rows] + 1);
    for (int32_t e = 0; e < start[rows]; e++)
        col[e] = (int32_t)cg_rng_below(&rng, (uint32_t)cols);
    return (cg_csr){ rows, cols, start[rows], start, col,
                     values ? inputs((size_t)start[rows]) : NULL };
}

static void check_spmm_of(int rows, int n, int cols, int how)
{
    size_t c0 = (size_t)cols, ldx = c0 + (size_t)(how & 1), ldy = c0 + 2;
    cg_csr s = random_csr(rows, n, how & 1);
    const float *x = inputs((size_t)n * ldx);
    const float *bias = how & 2 ? inputs(c0) : NULL;
    cg_act act = how & 2 ? CG_ACT_RELU : CG_ACT_NONE;
    float beta = how & 4 ? -0.5f : 0;
    output y = outputs((size_t)rows * ldy);
    EACH_DEVICE
        cg_k_spmm(dev[d], &s, cols, x, (int)ldx, bias, act, beta, y.on[d],
                  (int)ldy);
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t c = 0; c < c0; c++) {
            double sum = bias ? (double)bias[c] : 0;
            for (int32_t e = s.start[r]; e < s.start[r + 1]; e++)
                sum += (s.val ? (double)s.val[e] : 1)
                    * (double)x[(size_t)s.col[e] * ldx + c];
            double *want = y.want + r * ldy + c;
            *want = (act == CG_ACT_RELU ? relu(sum) : sum)
                + (beta == 0 ? 0 : (double)beta * *want);
        }
    compare(&y, "spmm");
}

static void check_spmm_bwd_of(int rows, int n, int cols, int how)
{
    size_t c0 = (size_t)cols, lddy = c0 + 3, lddx = c0 + (size_t)(how & 1);
    cg_csr s = random_csr(rows, n, how & 1);
    cg_act act = how & 8 ? CG_ACT_RELU : CG_ACT_NONE;
    const float *y = inputs((size_t)rows * c0);
    const float *dy = inputs((size_t)rows * lddy);
    float beta = how & 2 ? how & 4 ? -0.5f : 1 : 0;
    output dx = outputs((size_t)n * lddx), db = outputs(c0);
    for (size_t i = 0; i < (size_t)n * lddx; i++)
        if (i % lddx < c0 && beta == 0)
            EACH_DEVICE /* must not be read */
                dx.on[d][i] = NAN;
    for (size_t i = 0; i < (size_t)n * lddx; i++)
        dx.want[i] *= i % lddx < c0 ? (double)beta : 1;
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t c = 0; c < c0; c++) {
            double dz = act && y[r * c0 + c] <= 0
                ? 0 : (double)dy[r * lddy + c];
            db.want[c] += dz;
            for (int32_t e = s.start[r]; e < s.start[r + 1]; e++)
                dx.want[(size_t)s.col[e] * lddx + c]
                    += (s.val ? (double)s.val[e] : 1) * dz;
        }
    EACH_DEVICE {
        const float *at = act ? y : NULL;
        if (how & 1) { /* both, or one after the other */
            cg_k_spmm_bwd(dev[d], &s, cols, at, cols, act, dy, (int)lddy,
                          db.on[d], beta, dx.on[d], (int)lddx);
            continue;
        }
        cg_k_spmm_bwd(dev[d], &s, cols, at, cols, act, dy, (int)lddy, NULL,
                      beta, dx.on[d], (int)lddx);
        cg_k_spmm_bwd(dev[d], &s, cols, at, cols, act, dy, (int)lddy,
                      db.on[d], 0, NULL, 0);
    }
    compare(&dx, "spmm_bwd's dx");
    compare(&db, "spmm_bwd's dbias");
}

static const int sparse_sizes[][3] = { {0, 3, 8}, {3, 0, 8}, {5, 5, 0},
    {1, 1, 1}, {60, 40, 17}, {3000, 2000, 32}, {2000, 500, 64},
    {150, 1000, 135}, {99, 99, 16} };
#define EACH_SPARSE \
    for (size_t i = 0; i < sizeof sparse_sizes / sizeof *sparse_sizes; i++)

void check_spmm(void)
{
    EACH_SPARSE
        for (int how = 0; how < 8; how++)
            check_spmm_of(sparse_sizes[i][0], sparse_sizes[i][1],
                          sparse_sizes[i][2], how);
}

void check_spmm_bwd(void)
{
    EACH_SPARSE
        for (int how = 0; how < 16; how++)
            check_spmm_bwd_of(sparse_sizes[i][0], sparse_sizes[i][1],
                              sparse_sizes[i][2], how);
}

/* -- attention ------------------------------------------------------------- */

/* A batch of groups, and P as plain loops have it. */
struct batch {
    int groups, heads, dim, n_rows;
    int32_t *start, *row;
    int64_t *square;
    float *count, *qkv, p;
    uint64_t key;
    double *prob;
};

/* q, k, v of a token: part 0, 1, 2, element c of head h. */
static double qkv_at(const struct batch *b, int part, int token, int h, int c)
{
    int width = b->heads * b->dim;
    return (double)b->qkv[(size_t)b->row[token] * 3 * (size_t)width
                          + (size_t)(part * width + h * b->dim + c)];
}

static void fill_prob(const struct batch *b, int g, int h, int i)
{
    int first = b->start[g], n = b->start[g + 1] - first;
    double *prob = b->prob + b->heads * b->square[g]
        + ((ptrdiff_t)h * n + i) * n, sum = 0;
    for (int l = 0; l < n; l++) {
        double s = 0;
        for (int c = 0; c < b->dim; c++)
            s += qkv_at(b, 0, first + i, h, c) * qkv_at(b, 1, first + l, h, c);
        prob[l] = exp(s / sqrt(b->dim)) * (double)b->count[first + l];
        sum += prob[l];
    }
    for (int l = 0; l < n; l++)
        prob[l] /= sum;
}

static struct batch random_batch(int groups, int most, int heads, int dim,
                                 float p)
{
    struct batch b = { groups, heads, dim, .p = p, .key = cg_rng_next(&rng) };
    b.start = cg_arena_array(&arena, int32_t, groups + 1);
    b.square = cg_arena_array(&arena, int64_t, groups + 1);
    for (int g = 0; g < groups; g++) {
        int n = (int)cg_rng_below(&rng, (uint32_t)most + 1);
        n = g == 0 ? most : n;
        b.start[g + 1] = b.start[g] + n;
        b.square[g + 1] = b.square[g] + (int64_t)n * n;
    }
    int tokens = b.start[groups];
    b.n_rows = tokens / 2 + 1;
    b.row = cg_arena_array(&arena, int32_t, tokens + 1);
    b.count = randoms((size_t)tokens, 1, 20);
    for (int t = 0; t < tokens; t++) {
        b.row[t] = (int32_t)cg_rng_below(&rng, (uint32_t)b.n_rows);
        b.count[t] = floorf(b.count[t]);
    }
    b.qkv = randoms((size_t)(b.n_rows * 3 * heads * dim), -2, 2);
    b.prob = cg_arena_array(&arena, double, b.square[groups] * heads + 1);
    for (int g = 0; g < groups; g++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < b.start[g + 1] - b.start[g]; i++)
                fill_prob(&b, g, h, i);
    return b;
}

static const struct {
    int groups, most, heads, dim;
    float p;
} batches[] = { {0, 3, 2, 32, 0}, {1, 1, 1, 1, 0}, {3, 7, 3, 5, 0},
                {64, 40, 2, 32, 0.1f}, {40, 60, 2, 32, 0}, {5, 130, 1, 48, 0},
                {2, 70, 2, 20, 0.5f}, {4, 0, 2, 32, 0} };
#define EACH_BATCH \
    for (size_t s = 0; s < sizeof batches / sizeof *batches; s++)

void check_attention(void)
{
    EACH_BATCH {
        struct batch b = random_batch(batches[s].groups, batches[s].most,
                                      batches[s].heads, batches[s].dim,
                                      batches[s].p);
        int width = b.heads * b.dim, tokens = b.start[b.groups];
        output y = outputs((size_t)(tokens * width));
        output prob = outputs((size_t)(b.square[b.groups] * b.heads));
        memcpy(prob.want, b.prob, prob.n * sizeof(double));
        EACH_DEVICE
            cg_k_attention(dev[d], b.groups, b.start, b.square, b.row,
                           b.count, b.heads, b.dim, b.qkv, b.p, b.key,
                           prob.on[d], y.on[d]);
        for (int i = 0; i < tokens * width; i++)
            y.want[i] = 0;
        for (int g = 0; g < b.groups; g++)
            for (int h = 0; h < b.heads; h++) {
                int first = b.start[g], n = b.start[g + 1] - first;
                size_t at = (size_t)(b.heads * b.square[g]
                                     + (ptrdiff_t)h * n * n);
                for (int i = 0; i < n * n; i++, at++)
                    for (int c = 0; c < b.dim; c++)
                        y.want[(first + i / n) * width + h * b.dim + c]
                            += b.prob[at] * factor(b.key, at, b.p)
                            * qkv_at(&b, 2, first + i % n, h, c);
            }
        compare(&prob, "attention's P");
        compare(&y, "attention");
    }
}

/* dqkv's element of part, token, head, c. */
static double *grad_at(const struct batch *b, double *dqkv, int part,
                       int token, int h, int c)
{
    int width = b->heads * b->dim;
    return dqkv + ((size_t)token * 3 + (size_t)part) * (size_t)width
        + h * b->dim + c;
}

/* Row i of one head's P: its part of every gradient. */
static void back_row(const struct batch *b, int g, int h, int i,
                     const float *prob, const float *dy, double *dqkv)
{
    int first = b->start[g], n = b->start[g + 1] - first;
    size_t at = (size_t)(b->heads * b->square[g] + ((ptrdiff_t)h * n + i) * n);
    const float *own = dy + (first + i) * b->heads * b->dim + h * b->dim;
    double *dp = cg_arena_array(&arena, double, n + 1), dot = 0;
    for (int l = 0; l < n; l++) {
        double keep = factor(b->key, at + (size_t)l, b->p);
        for (int c = 0; c < b->dim; c++) {
            dp[l] += keep * (double)own[c] * qkv_at(b, 2, first + l, h, c);
            *grad_at(b, dqkv, 2, first + l, h, c)
                += keep * (double)prob[at + (size_t)l] * (double)own[c];
        }
        dot += dp[l] * (double)prob[at + (size_t)l];
    }
    for (int l = 0; l < n; l++) {
        double ds = (double)prob[at + (size_t)l] * (dp[l] - dot)
            / sqrt(b->dim);
        for (int c = 0; c < b->dim; c++) {
            *grad_at(b, dqkv, 0, first + i, h, c)
                += ds * qkv_at(b, 1, first + l, h, c);
            *grad_at(b, dqkv, 1, first + l, h, c)
                += ds * qkv_at(b, 0, first + i, h, c);
        }
    }
}

void check_attention_bwd(void)
{
    EACH_BATCH {
        struct batch b = random_batch(batches[s].groups, batches[s].most,
                                      batches[s].heads, batches[s].dim,
                                      batches[s].p);
        int width = b.heads * b.dim, tokens = b.start[b.groups];
        size_t n_prob = (size_t)(b.square[b.groups] * b.heads);
        float *prob = floats(n_prob);
        const float *dy = inputs((size_t)(tokens * width));
        output dqkv = outputs((size_t)(tokens * 3 * width));
        for (size_t i = 0; i < n_prob; i++)
            prob[i] = (float)b.prob[i];
        memset(dqkv.want, 0, dqkv.n * sizeof(double));
        for (int g = 0; g < b.groups; g++)
            for (int h = 0; h < b.heads; h++)
                for (int i = 0; i < b.start[g + 1] - b.start[g]; i++)
                    back_row(&b, g, h, i, prob, dy, dqkv.want);
        EACH_DEVICE
            cg_k_attention_bwd(dev[d], b.groups, b.start, b.square, b.row,
                               b.heads, b.dim, b.qkv, b.p, b.key, prob, dy,
                               dqkv.on[d]);
        compare(&dqkv, "attention_bwd");
    }
}

/* -- the table ------------------------------------------------------------- */

enum {
#define CG_KERNEL(name, params, args) INDEX_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
};

static void run(void **state)
{
    void (*check)(void) = *(void (**)(void))*state;
    rng = cg_rng_make(1, 0);
    cg_arena_init(&arena);
    check();
    EACH_DEVICE
        assert_int_equal(cg_dev_sync(dev[d]), CG_OK);
    cg_arena_free(&arena);
}

int main(void)
{
    static void (*const checks[])(void) = {
#define CG_KERNEL(name, params, args) check_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    static const struct CMUnitTest tests[] = {
#define CG_KERNEL(name, params, args) \
    { #name, run, NULL, NULL, (void *)&checks[INDEX_##name] },
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    EACH_DEVICE
        if (cg_dev_open(&dev[d], "cpu", d + 1) != CG_OK) {
            puts(cg_error());
            return 1;
        }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    EACH_DEVICE
        cg_dev_close(dev[d]);
    return failed;
}
