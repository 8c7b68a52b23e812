/* Every kernel against plain loops in double, at sizes from none to large:
 * those of the CPU, with the same bits from 1, 2 and 3 threads, and those of
 * CUDA, with the same bits from each call, where there is a device. KERNELS_ON
 * chooses cpu or cuda alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/dropout.h"
#include "base/array.h"
#include "tests/kernels.h"

cg_dev *dev[DEVICES];
cg_arena arena;
cg_rng rng;

/* -- data ------------------------------------------------------------------ */

/* Memory of the check and its copies on devices. */
static CG_ARRAY(struct part {
    char *host;
    size_t bytes;
    void *on[DEVICES]; /* NULL: none yet */
}) parts;

static bool compared;

/* Floats that matrices start behind a multiple of LINE bytes: kernels take four
 * at a time where that is allowed. */
enum { LINE = 64 };
static const size_t shifts[] = { 1, LINE / sizeof(float) };
static size_t shift;

static void free_copies(void)
{
    for (size_t i = 0; i < parts.len; i++)
        EACH_DEVICE {
            cg_dev_free(dev[d], parts.data[i].on[d]);
            parts.data[i].on[d] = NULL;
        }
    compared = false;
}

/* Who asks for more after a comparison begins with something else. */
void *room(size_t bytes)
{
    if (compared)
        free_copies();
    bytes = bytes ? bytes : 1;
    struct part p = { cg_arena_array(&arena, char, bytes + LINE), bytes,
                      { NULL } };
    p.host += -(uintptr_t)p.host % LINE;
    cg_array_push(&parts, p);
    return p.host;
}

static struct part *part_of(const void *p)
{
    for (size_t i = parts.len; i-- > 0;) {
        const char *host = parts.data[i].host;
        if ((const char *)p >= host
            && (const char *)p < host + parts.data[i].bytes)
            return &parts.data[i];
    }
    fail_msg("a kernel gets memory that is not the check's");
    return NULL;
}

void *at(int d, const void *p)
{
    if (!p || dev[d]->shares_memory)
        return (void *)p;
    struct part *part = part_of(p);
    if (!part->on[d]) {
        assert_int_equal(cg_dev_alloc(dev[d], part->bytes, &part->on[d]),
                         CG_OK);
        cg_dev_upload(dev[d], part->on[d], part->host, part->bytes);
    }
    return (char *)part->on[d] + ((const char *)p - part->host);
}

const cg_csr *csr_at(int d, const cg_csr *s)
{
    cg_csr *there = ROOM(cg_csr, 1);
    *there = *s;
    there->start = at(d, s->start);
    there->col = at(d, s->col);
    there->val = at(d, s->val);
    there->back_start = at(d, s->back_start);
    there->back_col = at(d, s->back_col);
    there->back_val = at(d, s->back_val);
    return there;
}

/* More than is used on either side, so that the end is an address too. */
float *floats(size_t n)
{
    return ROOM(float, n + 1 + shift) + shift;
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
    compared = true;
    EACH_DEVICE
        if (!dev[d]->shares_memory)
            cg_dev_download(dev[d], o->on[d], AT(o->on[d]),
                            o->n * sizeof(float));
    for (size_t i = 0; i < o->n; i++)
        most = fmax(most, fabs(o->want[i]));
    for (size_t i = 0; i < o->n; i++)
        if (!(fabs((double)o->on[0][i] - o->want[i]) <= 1e-5 * most))
            fail_msg("%s: element %zu of %zu is %.9g, not %.9g", what, i,
                     o->n, (double)o->on[0][i], o->want[i]);
    for (int d = 1; d < DEVICES; d++)
        if (o->n && memcmp(o->on[0], o->on[d], o->n * sizeof(float)))
            fail_msg("%s: %d %s other bits", what, d + 1,
                     dev[d]->shares_memory ? "threads give" : "times:");
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
            cg_k_gemm(dev[d], ta, tb, m, n, k, alpha, AT(a), lda, AT(b), ldb,
                      beta, AT(c.on[d]), ldc);
        else
            cg_k_gemm_batched(dev[d], batch, ta, tb, m, n, k, alpha, AT(a),
                              lda, sa, AT(b), ldb, sb, beta, AT(c.on[d]), ldc,
                              sc);
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
    int32_t *start = ROOM(int32_t, rows + 1);
    for (int r = 0; r < rows; r++)
        start[r + 1] = start[r] + (cols == 0 ? 0 : r % 50 == 49 ? 300
                                   : (int32_t)cg_rng_below(&rng, 5));
    int32_t *col = ROOM(int32_t, start[rows] + 1);
    for (int32_t e = 0; e < start[rows]; e++)
        col[e] = (int32_t)cg_rng_below(&rng, (uint32_t)cols);
    int32_t *back_start = ROOM(int32_t, cols + 1);
    int32_t *back_col = ROOM(int32_t, start[rows] + 1);
    float *back_val = values ? floats((size_t)start[rows]) : NULL;
    cg_csr s = { rows, cols, start[rows], start, col,
                 values ? inputs((size_t)start[rows]) : NULL,
                 back_start, back_col, back_val };
    cg_csr_transpose(&s, back_start, back_col, back_val);
    return s;
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
        cg_k_spmm(dev[d], csr_at(d, &s), cols, AT(x), (int)ldx, AT(bias), act,
                  beta, AT(y.on[d]), (int)ldy);
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
    float bb = how & 4 ? beta : 1 - beta; /* 0, 1, -.5 */
    output dx = outputs((size_t)n * lddx), db = outputs(c0);
    for (size_t i = 0; i < c0; i++) {
        db.want[i] *= (double)bb;
        if (bb == 0)
            EACH_DEVICE
                db.on[d][i] = NAN;
    }
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
        const float *act_y = act ? AT(y) : NULL;
        const cg_csr *m = csr_at(d, &s);
        if (how & 1) { /* both, or one after the other */
            cg_k_spmm_bwd(dev[d], m, cols, act_y, cols, act, AT(dy),
                          (int)lddy, bb, AT(db.on[d]), beta, AT(dx.on[d]),
                          (int)lddx);
            continue;
        }
        cg_k_spmm_bwd(dev[d], m, cols, act_y, cols, act, AT(dy), (int)lddy,
                      0, NULL, beta, AT(dx.on[d]), (int)lddx);
        cg_k_spmm_bwd(dev[d], m, cols, act_y, cols, act, AT(dy), (int)lddy,
                      bb, AT(db.on[d]), 0, NULL, 0);
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

/* -- the table ------------------------------------------------------------- */

enum {
#define CG_KERNEL(name, params, args) INDEX_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
};

static void run(void **state)
{
    void (*check)(void) = *(void (**)(void))*state;
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
        shift = shifts[i];
        rng = cg_rng_make(1, 0);
        cg_arena_init(&arena);
        check();
        EACH_DEVICE
            assert_int_equal(cg_dev_sync(dev[d]), CG_OK);
        free_copies();
        cg_array_free(&parts);
        cg_arena_free(&arena);
    }
}

static int check_all(const char *device)
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
        if (cg_dev_open(&dev[d], device, d + 1) != CG_OK) {
            printf("skipped: %s: %s\n", device, cg_error());
            return 77;
        }
    int failed = cmocka_run_group_tests_name(device, tests, NULL, NULL);
    EACH_DEVICE
        cg_dev_close(dev[d]);
    return failed;
}

int main(void)
{
    const char *on = getenv("KERNELS_ON");
    if (on)
        return check_all(on);
    int cpu = check_all("cpu"), cuda = check_all("cuda");
    return cpu ? 1 : cuda == 77 ? 0 : cuda;
}
