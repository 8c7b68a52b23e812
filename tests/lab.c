#include "tests/lab.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEY = 12345, POISON = 1 << 16 };

/* -- a device ------------------------------------------------------------- */

void lab_open(lab *l, int threads)
{
    const char *device = getenv("LAB_DEVICE");
    *l = (lab){ 0 };
    if (cg_dev_open(&l->dev, device ? device : "cpu", threads) != CG_OK) {
        printf("skipped: %s\n", cg_error());
        exit(77);
    }
    cg_params_init(&l->params, l->dev);
}

void lab_close(lab *l)
{
    cg_tape_free(&l->tape);
    cg_params_free(&l->params);
    for (size_t i = 0; i < l->blocks.len; i++)
        cg_dev_free(l->dev, l->blocks.data[i]);
    cg_array_free(&l->blocks);
    cg_dev_close(l->dev);
}

int lab_setup(void **state)
{
    static lab l;
    lab_open(&l, 1);
    *state = &l;
    return 0;
}

int lab_teardown(void **state)
{
    lab_close(*state);
    return 0;
}

void *lab_put(lab *l, const void *src, size_t bytes)
{
    void *p;
    assert_int_equal(cg_dev_alloc(l->dev, bytes ? bytes : 1, &p), CG_OK);
    cg_dev_upload(l->dev, p, src, bytes);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    cg_array_push(&l->blocks, p);
    return p;
}

/* -- sparse matrices, groups ---------------------------------------------- */

/* The arrays of m, on the device. */
static void put_rows(lab *l, const cg_csr *m, const int32_t **start,
                     const int32_t **col, const float **val)
{
    size_t n = (size_t)m->n_entries;
    *start = lab_put(l, m->start, ((size_t)m->n_rows + 1) * sizeof **start);
    *col = lab_put(l, m->col, n * sizeof **col);
    *val = m->val ? lab_put(l, m->val, n * sizeof **val) : NULL;
}

cg_csr lab_sparse(lab *l, int rows, int cols, const float *x, bool ones)
{
    size_t most = (size_t)rows * (size_t)cols;
    int32_t *start = cg_xcalloc((size_t)rows + 1, sizeof *start);
    int32_t *col = cg_xcalloc(most, sizeof *col);
    float *val = cg_xcalloc(most, sizeof *val);
    int n = 0;
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < cols; c++)
            if (x[r * cols + c] != 0) {
                col[n] = c;
                val[n++] = x[r * cols + c];
            }
        start[r + 1] = n;
    }
    cg_csr m = { rows, cols, n, start, col, ones ? NULL : val,
                 NULL, NULL, NULL };
    cg_csr there = m;
    put_rows(l, &m, &there.start, &there.col, &there.val);
    int32_t *back_start = cg_xcalloc((size_t)cols + 1, sizeof *back_start);
    int32_t *back_col = cg_xcalloc(most, sizeof *back_col);
    float *back_val = cg_xcalloc(most, sizeof *back_val);
    cg_csr_transpose(&m, back_start, back_col, back_val);
    cg_csr back = { cols, rows, n, back_start, back_col,
                    ones ? NULL : back_val, NULL, NULL, NULL };
    put_rows(l, &back, &there.back_start, &there.back_col, &there.back_val);
    void *const blocks[] = { start, col, val, back_start, back_col, back_val };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        cg_xfree(blocks[i]);
    return there;
}

cg_groups lab_groups(lab *l, int n, const int *size, const int32_t *row,
                     const float *count, int n_rows, cg_csr *gather)
{
    int32_t *start = cg_xcalloc((size_t)n + 1, sizeof *start);
    int64_t *square = cg_xcalloc((size_t)n + 1, sizeof *square);
    for (int g = 0; g < n; g++) {
        start[g + 1] = start[g] + size[g];
        square[g + 1] = square[g] + (int64_t)size[g] * size[g];
    }
    int tokens = start[n];
    float *dense = cg_xcalloc((size_t)tokens * (size_t)n_rows, sizeof *dense);
    for (int i = 0; i < tokens; i++)
        dense[i * n_rows + row[i]] = 1;
    *gather = lab_sparse(l, tokens, n_rows, dense, true);
    cg_groups g = { .n = n, .n_tokens = tokens, .n_square = square[n],
        .start = lab_put(l, start, ((size_t)n + 1) * sizeof *start),
        .square = lab_put(l, square, (size_t)n * sizeof *square),
        .row = lab_put(l, row, (size_t)tokens * sizeof *row),
        .count = lab_put(l, count, (size_t)tokens * sizeof *count) };
    cg_xfree(start);
    cg_xfree(square);
    cg_xfree(dense);
    return g;
}

/* -- parameters and tape -------------------------------------------------- */

void lab_params(lab *l, const int shape[][2], uint64_t seed)
{
    cg_params_free(&l->params);
    for (int i = 0; i < LAB_VARS && shape[i][0]; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        cg_params_add(&l->params, name, shape[i][0], shape[i][1],
                      CG_INIT_FAN_IN, 1);
    }
    assert_int_equal(cg_params_alloc(&l->params, seed), CG_OK);
}

cg_var *lab_var(lab *l, size_t i)
{
    return cg_params_var(&l->params, i);
}

static void fill_nan(lab *l, float *dst, size_t n)
{
    float *host = cg_xcalloc(n, sizeof *host);
    for (size_t i = 0; i < n; i++)
        host[i] = NAN;
    cg_dev_upload(l->dev, dst, host, n * sizeof *host);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    cg_xfree(host);
}

void lab_begin(lab *l, bool train, uint64_t key)
{
    cg_dev_reset(l->dev);
    fill_nan(l, cg_dev_work(l->dev, POISON * sizeof(float)), POISON);
    cg_tape_begin(&l->tape, l->dev, train, key);
}

void lab_seed(lab *l, cg_var *out, const float *dy)
{
    size_t n = (size_t)out->rows * (size_t)out->cols;
    assert_non_null(out->dx);
    assert_int_equal(out->ld, out->cols);
    cg_dev_upload(l->dev, out->dx, dy, n * sizeof *dy);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    for (; out; out = out->base)
        out->written = true;
}

float *lab_backward(lab *l)
{
    cg_params *p = &l->params;
    cg_params_zero_grad(p);
    for (size_t i = 0; i < p->list.len; i++) {
        const cg_var *v = cg_params_var(p, i);
        fill_nan(l, v->dx, (size_t)v->rows * (size_t)v->cols);
    }
    cg_tape_backward(&l->tape);
    cg_params_settle(p);
    float *host = cg_xcalloc(p->n, sizeof *host);
    cg_dev_download(l->dev, host, p->dx, p->n * sizeof *host);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    return host;
}

float *lab_get(lab *l, const cg_var *v)
{
    size_t cols = (size_t)v->cols;
    float *host = cg_xcalloc((size_t)v->rows * cols, sizeof *host);
    for (size_t r = 0; r < (size_t)v->rows; r++)
        cg_dev_download(l->dev, host + r * cols, v->x + r * (size_t)v->ld,
                        cols * sizeof *host);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    return host;
}

/* -- finite differences --------------------------------------------------- */

static float weight(size_t i)
{
    return (float)sin(1.7 * (double)i + .3);
}

/* The loss, or the sum of the outputs with these weights, in double. */
static double value(lab *l, lab_run *run)
{
    cg_tape_begin(&l->tape, l->dev, true, KEY);
    cg_var *out = run(l, &l->tape);
    if (!out) {
        float loss;
        cg_dev_download(l->dev, &loss, l->tape.loss, sizeof loss);
        assert_int_equal(cg_dev_sync(l->dev), CG_OK);
        return (double)loss;
    }
    float *y = lab_get(l, out);
    double sum = 0;
    for (size_t i = 0; i < (size_t)out->rows * (size_t)out->cols; i++)
        sum += (double)weight(i) * (double)y[i];
    cg_xfree(y);
    return sum;
}

static float *gradient(lab *l, lab_run *run)
{
    lab_begin(l, true, KEY);
    cg_var *out = run(l, &l->tape);
    if (out) {
        size_t n = (size_t)out->rows * (size_t)out->cols;
        float *dy = cg_xcalloc(n, sizeof *dy);
        for (size_t i = 0; i < n; i++)
            dy[i] = weight(i);
        lab_seed(l, out, dy);
        cg_xfree(dy);
    }
    return lab_backward(l);
}

static double at(lab *l, lab_run *run, float *x, float new)
{
    float old;
    cg_dev_download(l->dev, &old, x, sizeof old);
    cg_dev_upload(l->dev, x, &new, sizeof new);
    double v = value(l, run);
    cg_dev_upload(l->dev, x, &old, sizeof old);
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    return v;
}

static double difference(lab *l, lab_run *run, float *x, float h)
{
    float now;
    cg_dev_download(l->dev, &now, x, sizeof now);
    /* the steps as they are after rounding */
    float up = now + h, down = now - h, up2 = now + 2 * h, down2 = now - 2 * h;
    double near = (at(l, run, x, up) - at(l, run, x, down))
                  / ((double)up - (double)down);
    double far = (at(l, run, x, up2) - at(l, run, x, down2))
                 / ((double)up2 - (double)down2);
    return (4 * near - far) / 3;
}

static void check_var(lab *l, const lab_probe *p, size_t k, const float *g)
{
    const cg_param *q = &l->params.list.data[k];
    size_t n = (size_t)q->var.rows * (size_t)q->var.cols;
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)g[q->offset + i]));
    /* a gradient that is zero everywhere says nothing */
    assert_true(scale > 1e-3);
    /* each difference waits for the device eight times */
    size_t step = l->dev->shares_memory ? 1 : 5;
    for (size_t i = 0; i < n; i += step) {
        double want = difference(l, p->run, q->var.x + i, p->h);
        double got = (double)g[q->offset + i];
        if (!(fabs(want - got) <= p->tol * scale))
            fail_msg("variable %zu, element %zu: %g, by differences %g", k, i,
                     got, want);
    }
}

void lab_check(lab *l, const lab_probe *p)
{
    lab_params(l, p->shape, p->seed);
    float *g = gradient(l, p->run);
    for (size_t k = 0; k < l->params.list.len; k++)
        check_var(l, p, k, g);
    cg_xfree(g);
}
