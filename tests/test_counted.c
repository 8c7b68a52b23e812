/* What is counted of kernels whose shapes are known, and of whole steps. */
#include "tests/lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/counted.h"

enum { M = 5, N = 7, K = 3, F = sizeof(float) };

/* All that ran since counted_begin, in one step that learns nothing. */
static counted all_of(void)
{
    counted learning, other;
    counted_end(&learning, &other);
    assert_int_equal(learning.steps, 0);
    assert_int_equal(learning.kernels, 0);
    assert_int_equal(other.steps, 1);
    return other;
}

static void check(const counted *c, int kernels, double bytes,
                  double operations)
{
    assert_int_equal(c->kernels, kernels);
    if (c->bytes != bytes || c->operations != operations)
        fail_msg("%.0f bytes, %.0f operations; not %.0f, %.0f", c->bytes,
                 c->operations, bytes, operations);
}

static float *numbers(lab *l, size_t n)
{
    float x[400];
    assert_true(n <= sizeof x / sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 5) - 1.5f;
    return lab_put(l, x, n * sizeof *x);
}

/* -- kernels --------------------------------------------------------------- */

static void products(void **state)
{
    lab *l = *state;
    float *a = numbers(l, 2 * M * K), *b = numbers(l, 2 * K * N);
    float *c = numbers(l, 2 * M * N);
    counted_begin(l->dev);
    cg_k_gemm(l->dev, CG_PLAIN, CG_PLAIN, M, N, K, 1, a, K, b, N, 0, c, N);
    counted x = all_of();
    check(&x, 1, F * (M * K + K * N + M * N), 2 * M * N * K);
    counted_begin(l->dev); /* b is one for both, c is added to */
    cg_k_gemm_batched(l->dev, 2, CG_PLAIN, CG_PLAIN, M, N, K, 1, a, K, M * K,
                      b, N, 0, 1, c, N, M * N);
    x = all_of();
    check(&x, 1, F * (2 * M * K + K * N + 2 * 2 * M * N), 2 * 2 * M * N * K);
}

static void copies(void **state)
{
    lab *l = *state;
    float *x = numbers(l, M * N), *y = numbers(l, M * N);
    counted_begin(l->dev);
    cg_k_axpby(l->dev, M, N, 1, x, N, 0, y, N);
    counted c = all_of();
    check(&c, 1, 2 * F * M * N, 0); /* a copy */
    counted_begin(l->dev);
    cg_k_axpby(l->dev, M, N, 1, x, N, 1, y, N);
    cg_k_fill(l->dev, M, 0, y);
    c = all_of();
    check(&c, 2, 3 * F * M * N + F * M, 0);
}

static void messages(void **state)
{
    lab *l = *state;
    const float dense[M * 4] = {1, 0, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0,
                                0, 0, 0, 5, 1, 1, 1, 1};
    cg_csr s = lab_sparse(l, M, 4, dense, false);
    float *x = numbers(l, 4 * N), *y = numbers(l, M * N);
    double at = M + 1 + 2 * 8; /* starts, columns and values */
    counted_begin(l->dev);
    cg_k_spmm(l->dev, &s, N, x, N, NULL, CG_ACT_NONE, 0, y, N);
    counted c = all_of();
    check(&c, 1, F * (at + 4 * N + M * N), 2 * 8 * N);
    counted_begin(l->dev);
    cg_k_spmm_bwd(l->dev, &s, N, NULL, 0, CG_ACT_NONE, y, N, 0, NULL, 1, x,
                  N);
    c = all_of();
    check(&c, 1, F * (at + M * N + 2 * 4 * N), 2 * 8 * N);
}

/* Groups of 2 and 3 tokens that read 4 rows: what is counted is read back from
 * the device. */
static void attention(void **state)
{
    enum { HEADS = 2, DIM = 4, ROWS = 4, TOKENS = 5, PAIRS = 4 + 9 };
    static const int size[] = {2, 3};
    static const int32_t row[] = {0, 1, 0, 2, 3};
    static const float count[] = {1, 2, 1, 1, 3};
    lab *l = *state;
    cg_csr gather;
    cg_groups g = lab_groups(l, 2, size, row, count, ROWS, &gather);
    float *qkv = numbers(l, ROWS * 3 * HEADS * DIM);
    float *p = numbers(l, HEADS * PAIRS), *y = numbers(l, TOKENS * HEADS * DIM);
    float *dqkv = numbers(l, TOKENS * 3 * HEADS * DIM);
    /* starts, offsets of 8 bytes, rows, q k v; both ways */
    double read = 3 + 2 * 2 + TOKENS + ROWS * 3 * HEADS * DIM;
    counted_begin(l->dev);
    cg_k_attention(l->dev, g.n, g.start, g.square, g.row, g.count, HEADS, DIM,
                   qkv, 0, 1, p, y);
    counted c = all_of();
    check(&c, 1, F * (read + TOKENS + TOKENS * HEADS * DIM + HEADS * PAIRS),
          2 * 2 * PAIRS * HEADS * DIM);
    counted_begin(l->dev);
    cg_k_attention_bwd(l->dev, g.n, g.start, g.square, g.row, HEADS, DIM, qkv,
                       0, 1, p, y, dqkv);
    c = all_of();
    check(&c, 1, F * (read + 4 * TOKENS * HEADS * DIM + HEADS * PAIRS),
          4 * 2 * PAIRS * HEADS * DIM);
}

/* -- steps ----------------------------------------------------------------- */

static float *learn(lab *l, const float *x, bool count)
{
    static const int shape[][2] = {{K, N}, {0}};
    static const cg_adamw adam = {.lr = .1f, .b1 = .9f, .b2 = .999f,
                                  .eps = 1e-8f};
    lab_params(l, shape, 3);
    assert_int_equal(cg_params_learn(&l->params), CG_OK);
    if (count)
        counted_begin(l->dev);
    for (uint64_t i = 0; i < 4; i++) { /* the last only looks */
        float target[M * N] = {0};
        cg_tape_begin(&l->tape, l->dev, i < 3, i);
        float *on_device = cg_dev_work(l->dev, sizeof target);
        cg_dev_upload(l->dev, on_device, target, sizeof target);
        cg_params_zero_grad(&l->params);
        cg_var *y = cg_tape_linear(&l->tape,
                                   cg_tape_input(&l->tape, x, M, K),
                                   lab_var(l, 0), NULL, CG_ACT_NONE);
        if (i == 3)
            break;
        cg_tape_mse(&l->tape, y, on_device, 1);
        cg_tape_backward(&l->tape);
        cg_params_step(&l->params, &adam);
    }
    assert_int_equal(cg_dev_sync(l->dev), CG_OK);
    return lab_get(l, lab_var(l, 0));
}

/* Steps are told apart, and what they compute is what it was. */
static void steps(void **state)
{
    lab *l = *state;
    float *x = numbers(l, M * K);
    counted c, other;
    float *want = learn(l, x, false), *got = learn(l, x, true);
    bool shares = l->dev->shares_memory;
    counted_end(&c, &other);
    assert_memory_equal(got, want, K * N * sizeof *got);
    assert_int_equal(c.steps, 3);
    assert_int_equal(other.steps, 1);
    assert_true(c.uploaded == 3 * F * M * N && other.uploaded == F * M * N);
    /* one product forward, one back */
    assert_true(c.operations == 3 * 2 * (2 * M * N * K));
    assert_true(other.operations == 2 * M * N * K);
    assert_false(shares);
    assert_int_equal(l->dev->shares_memory, !strcmp(l->dev->name, "cpu"));
    cg_xfree(got);
    cg_xfree(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(products, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(copies, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(messages, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(attention, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(steps, lab_setup, lab_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
