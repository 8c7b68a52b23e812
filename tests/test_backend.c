/* A device beside its kernels: memory, memory of a step, failures; the pool of
 * threads, and the CPU's arithmetic that stands in for libm's. */
#include "tests/lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/cpu/pool.h"
#include "backend/cpu/simd.h"

static void test_open(void **state)
{
    (void)state;
    cg_dev *d;
    assert_int_equal(cg_dev_open(&d, "gpu", 1), CG_EUSAGE);
    assert_null(d);
    assert_string_equal(cg_error(), "no device 'gpu': auto, cpu or cuda");
    assert_int_equal(cg_dev_open(&d, "auto", 0), CG_OK);
    assert_non_null(d->name);
    cg_dev_close(d);
    cg_dev_close(NULL);
}

/* What is at p on the device. */
static void *fetch(cg_dev *d, const void *p, size_t bytes)
{
    void *host = cg_xcalloc(bytes + 1, 1);
    cg_dev_download(d, host, p, bytes);
    assert_int_equal(cg_dev_sync(d), CG_OK);
    return host;
}

static void assert_at(cg_dev *d, const float *p, float want)
{
    float *got = fetch(d, p, sizeof *got);
    assert_true(*got == want);
    cg_xfree(got);
}

static void test_alloc(void **state)
{
    cg_dev *d = ((lab *)*state)->dev;
    void *p;
    assert_int_equal(cg_dev_alloc(d, 1000, &p), CG_OK);
    char *zeros = fetch(d, p, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zeros[i], 0);
    cg_xfree(zeros);
    float data[2] = { 1, 2 };
    cg_dev_upload(d, p, data, sizeof data);
    data[0] = 3; /* the caller's again */
    assert_at(d, p, 1);
    assert_at(d, (float *)p + 1, 2);
    cg_dev_free(d, p);
    cg_dev_free(d, NULL);
    assert_int_equal(cg_dev_alloc(d, SIZE_MAX / 2 - 100, &p), CG_ELIMIT);
    assert_null(p);
    assert_non_null(strstr(cg_error(), "no memory"));
    assert_int_equal(cg_dev_sync(d), CG_OK); /* the caller has been told */
}

/* Blocks do not overlap, and a step like the last one gets the same memory. */
static void test_work(void **state)
{
    enum { N = 40 };
    cg_dev *d = ((lab *)*state)->dev;
    char *before = NULL;
    for (int step = 0; step < 4; step++) {
        char *at[N];
        for (size_t i = 0; i < N; i++) {
            size_t bytes = i * i * 1000;
            char *fill = cg_xcalloc(bytes + 1, 1);
            at[i] = cg_dev_work(d, bytes);
            assert_int_equal((uintptr_t)at[i] % 64, 0);
            memset(fill, (int)i, bytes);
            cg_dev_upload(d, at[i], fill, bytes);
            cg_xfree(fill);
        }
        for (size_t i = 0; i < N; i++) {
            char *there = fetch(d, at[i], i * i * 1000);
            for (size_t b = 0; b < i * i * 1000; b += 997)
                assert_int_equal(there[b], i);
            cg_xfree(there);
        }
        if (step > 1)
            assert_ptr_equal(at[0], before);
        before = at[0];
        cg_dev_reset(d);
    }
    assert_int_equal(cg_dev_sync(d), CG_OK);
}

/* A device that has failed does nothing, until somebody has been told. */
static void test_work_fails(void **state)
{
    cg_dev *d = ((lab *)*state)->dev;
    float *x = lab_put(*state, &(float){ 1 }, sizeof *x);
    for (size_t bytes = SIZE_MAX; bytes > SIZE_MAX / 8; bytes /= 2) {
        assert_non_null(cg_dev_work(d, bytes));
        assert_true(d->failed);
    }
    cg_k_fill(d, 1, 2, x);
    cg_dev_upload(d, x, &(float){ 3 }, sizeof *x);
    cg_dev_reset(d);
    assert_true(d->failed); /* nobody has been told */
    assert_int_equal(cg_dev_sync(d), CG_ELIMIT);
    assert_non_null(strstr(cg_error(), "no memory for a block of"));
    cg_dev_reset(d);
    assert_at(d, x, 1);
    cg_k_fill(d, 1, 2, x);
    assert_at(d, x, 2);
    assert_non_null(cg_dev_work(d, 64));
    assert_int_equal(cg_dev_sync(d), CG_OK);
}

/* -- what is called again -------------------------------------------------- */

enum { SUMS = 5 };

typedef struct sums {
    cg_dev *dev;
    int n, calls, greedy; /* greedy: the call that takes more memory */
    float at, *total; /* (n) on the device: the sum of what was copied */
} sums;

static void add_up(void *user)
{
    sums *s = user;
    size_t bytes = (size_t)s->n * sizeof s->at;
    float *host = cg_xcalloc((size_t)s->n, sizeof *host);
    float *x = cg_dev_work(s->dev, bytes), *y = cg_dev_work(s->dev, bytes);
    if (++s->calls == s->greedy)
        cg_dev_work(s->dev, (size_t)100 << 20);
    for (int i = 0; i < s->n; i++)
        host[i] = s->at + (float)i;
    cg_dev_upload(s->dev, x, host, bytes);
    cg_xfree(host);
    cg_k_axpby(s->dev, 1, s->n, 1, x, s->n, 0, y, s->n);
    for (int k = 1; k < SUMS; k++)
        cg_k_axpby(s->dev, 1, s->n, 1, x, s->n, 1, y, s->n);
    cg_k_axpby(s->dev, 1, s->n, 1, y, s->n, 1, s->total, s->n);
}

/* Steps that are alike, among them some that take more memory before, or have
 * taken so much that all of it moves: each is as if nobody recorded. */
static void test_repeat(void **state)
{
    enum { N = 300, STEPS = 30 };
    lab *l = *state;
    sums s = {.dev = l->dev, .n = N};
    cg_recording *r = NULL;
    assert_int_equal(cg_dev_alloc(s.dev, N * sizeof *s.total,
                                  (void **)&s.total), CG_OK);
    float want = 0;
    for (int step = 0; step < STEPS; step++) {
        cg_dev_reset(s.dev);
        cg_dev_work(s.dev, step % 11 == 10 ? 9999 : 64);
        s.at = (float)step;
        cg_dev_repeat(s.dev, &r, add_up, &s);
        want += SUMS * s.at;
        if (step == STEPS / 2)
            cg_dev_work(s.dev, (size_t)100 << 20);
    }
    float *got = fetch(s.dev, s.total, N * sizeof *got);
    for (int i = 0; i < N; i++)
        assert_true(got[i] == want + (float)(STEPS * SUMS * i));
    assert_true(s.calls >= STEPS);
    cg_xfree(got);
    cg_dev_forget(s.dev, r);
    cg_dev_forget(s.dev, NULL);
    cg_dev_free(s.dev, s.total);
}

/* A device that has failed does nothing, and can be used again; one that cannot
 * record a call (which may take no memory then) makes it. */
static void test_repeat_fails(void **state)
{
    lab *l = *state;
    sums s = {.dev = l->dev, .n = 8, .at = 1, .greedy = 3};
    cg_recording *r = NULL;
    s.total = lab_put(l, (float[8]){0}, 8 * sizeof *s.total);
    for (int step = 0; step < 8; step++) {
        bool fails = step == 4 || step == 5;
        cg_dev_reset(s.dev);
        if (fails)
            cg_dev_work(s.dev, SIZE_MAX);
        cg_dev_repeat(s.dev, &r, add_up, &s);
        if (fails)
            assert_int_equal(cg_dev_sync(s.dev), CG_ELIMIT);
    }
    assert_int_equal(cg_dev_sync(s.dev), CG_OK);
    assert_at(s.dev, s.total, 6 * SUMS);
    cg_dev_forget(s.dev, r);
}

/* -- the pool -------------------------------------------------------------- */

struct count {
    uint32_t blocks;
    int threads;
    atomic_int *done; /* (blocks) */
    atomic_int *wrong;
};

static void count_block(const void *job, uint32_t block, int thread)
{
    const struct count *c = job;
    if (block >= c->blocks || thread < 0 || thread >= c->threads)
        atomic_fetch_add(c->wrong, 1);
    else
        atomic_fetch_add(&c->done[block], 1);
    if (block % 100 == 99)
        usleep(100);
}

/* Many calls of few blocks, more threads than cores, pauses in which the
 * threads fall asleep: every block once, none after the call. */
static void test_pool(void **state)
{
    (void)state;
    static atomic_int done[300], wrong;
    for (int threads = 1; threads < 12; threads += 5) {
        cg_pool *p = cg_pool_new(threads);
        assert_int_equal(cg_pool_threads(p), threads);
        for (uint32_t call = 0; call < 20000; call++) {
            uint32_t blocks = call % 500 == 0 ? 300 : call % 7;
            struct count c = { blocks, threads, done, &wrong };
            cg_pool_run(p, blocks, count_block, &c);
            for (uint32_t i = 0; i < blocks; i++)
                if (atomic_exchange(&done[i], 0) != 1)
                    fail_msg("block %u of call %u", i, call);
            if (call % 1000 == 999)
                usleep(300);
        }
        cg_pool_free(p);
    }
    assert_int_equal(wrong, 0);
}

/* -- exp and log ----------------------------------------------------------- */

/* Distance in steps of a float at the right value. */
static double ulps(float got, double want)
{
    float at = fabsf((float)want), step = nextafterf(at, INFINITY) - at;
    return fabs((double)got - want) / (double)step;
}

static void test_exp_log(void **state)
{
    (void)state;
    double most = 0;
    for (float x = -87.2f; x < 88; x += 0.00037f)
        most = fmax(most, ulps(cg_exp(x), exp((double)x)));
    assert_true(most < 2);
    assert_true(cg_exp(0) == 1);
    assert_true(cg_exp(-88) == 0 && cg_exp(-1e30f) == 0);
    assert_true(cg_exp(-INFINITY) == 0);
    assert_true(isnan(cg_exp(NAN)));
    most = 0;
    for (float x = 1.2e-38f; x < 1e38f; x *= 1.00003f)
        most = fmax(most, ulps(cg_log(x), log((double)x)));
    assert_true(most < 2);
    assert_true(cg_log(1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test_setup_teardown(test_alloc, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_work, lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(test_work_fails, lab_setup,
                                        lab_teardown),
        cmocka_unit_test_setup_teardown(test_repeat, lab_setup,
                                        lab_teardown),
        cmocka_unit_test_setup_teardown(test_repeat_fails, lab_setup,
                                        lab_teardown),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_exp_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
