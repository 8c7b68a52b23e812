/* Parameters: their first values, their updates, and going on from a copy. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/params.h"

enum { ODD = 3 * 37, SMALL = 5 };

static cg_dev *dev;

static void declare(cg_params *p, bool more)
{
    cg_params_init(p, dev);
    assert_int_equal(cg_params_add(p, "w", 3, 37, CG_INIT_FAN_IN, 9), 0);
    assert_int_equal(cg_params_add(p, "one", 1, SMALL, CG_INIT_ONE, 0), 1);
    assert_int_equal(cg_params_add(p, "zero", SMALL, 1, CG_INIT_ZERO, 0), 2);
    if (more)
        cg_params_add(p, "v", 3, 37, CG_INIT_FAN_IN, 9);
}

static void get(cg_params *p, const float *from, float *to, size_t n)
{
    cg_dev_download(p->dev, to, from, n * sizeof *to);
    assert_int_equal(cg_dev_sync(p->dev), CG_OK);
}

static void put(cg_params *p, float *to, const float *from, size_t n)
{
    cg_dev_upload(p->dev, to, from, n * sizeof *to);
    assert_int_equal(cg_dev_sync(p->dev), CG_OK);
}

static void first_values(void **state)
{
    (void)state;
    cg_params p, q;
    declare(&p, false);
    declare(&q, true);
    assert_int_equal(cg_params_alloc(&p, 5), CG_OK);
    assert_int_equal(cg_params_alloc(&q, 5), CG_OK);
    float a[ODD], b[ODD], c[ODD];
    get(&p, cg_params_find(&p, "w")->x, a, ODD);
    get(&q, cg_params_find(&q, "w")->x, b, ODD);
    get(&q, cg_params_find(&q, "v")->x, c, ODD);
    assert_memory_equal(a, b, sizeof a); /* others do not matter */
    double low = 0, high = 0, sum = 0;
    int same = 0;
    for (int i = 0; i < ODD; i++) {
        low = fmin(low, (double)a[i]);
        high = fmax(high, (double)a[i]);
        sum += (double)a[i];
        same += a[i] == c[i];
    }
    assert_true(low >= -1. / 3 && low < -.3 && high <= 1. / 3 && high > .3);
    assert_true(fabs(sum / ODD) < .06 && same == 0);
    get(&p, cg_params_find(&p, "one")->x, a, SMALL);
    get(&p, cg_params_find(&p, "zero")->x, b, SMALL);
    for (int i = 0; i < SMALL; i++)
        assert_true(a[i] == 1 && b[i] == 0);
    assert_null(cg_params_find(&p, "x"));
    for (size_t i = 0; i < q.list.len; i++) {
        assert_int_equal(q.list.data[i].offset % 16, 0);
        assert_ptr_equal(cg_params_var(&q, i)->dx - q.dx,
                         q.list.data[i].offset);
    }
    cg_params_free(&p);
    cg_params_free(&q);
}

static void another_seed_gives_other_values(void **state)
{
    (void)state;
    float w[2][ODD];
    for (int k = 0; k < 2; k++) {
        cg_params p;
        declare(&p, false);
        assert_int_equal(cg_params_alloc(&p, (uint64_t)k), CG_OK);
        get(&p, cg_params_var(&p, 0)->x, w[k], ODD);
        cg_params_free(&p);
    }
    for (int i = 0; i < ODD; i++)
        assert_true(w[0][i] != w[1][i]);
}

/* the gradient of step t; that of "zero" is not written in step 2, and NaN */
static void set_gradient(cg_params *p, int t)
{
    float g[ODD];
    cg_params_zero_grad(p);
    for (size_t k = 0; k < p->list.len; k++) {
        cg_var *v = cg_params_var(p, k);
        size_t n = (size_t)v->rows * (size_t)v->cols;
        v->written = k != 2 || t != 2;
        for (size_t i = 0; i < n; i++)
            g[i] = v->written
                       ? (float)sin((double)i + 10. * (double)k + 100. * t)
                       : NAN;
        put(p, v->dx, g, n);
    }
}

/* Values from elsewhere: no gradient is wanted until it learns, and then it
 * learns as one that drew them. */
static void placed_values_are_learnt_from_later(void **state)
{
    (void)state;
    enum { N = 144 };
    const cg_adamw o = { .lr = .01f, .b1 = .9f, .b2 = .999f, .eps = 1e-8f };
    cg_params p, q;
    float x[N], y[N];
    declare(&p, false);
    declare(&q, false);
    assert_int_equal(cg_params_alloc(&p, 1), CG_OK);
    assert_int_equal(cg_params_place(&q), CG_OK);
    get(&q, q.x, y, N);
    for (int i = 0; i < N; i++)
        assert_true(y[i] == 0);
    for (size_t i = 0; i < q.list.len; i++) {
        assert_null(cg_params_var(&q, i)->dx);
        assert_ptr_equal(cg_params_var(&q, i)->x - q.x, q.list.data[i].offset);
    }
    assert_true(!q.dx && !q.moments && !q.sumsq);
    get(&p, p.x, x, N);
    put(&q, q.x, x, N);
    assert_int_equal(cg_params_learn(&q), CG_OK);
    float *dx = q.dx;
    for (int t = 0; t < 3; t++) {
        set_gradient(&p, t);
        set_gradient(&q, t);
        cg_params_step(&p, &o);
        cg_params_step(&q, &o);
    }
    assert_int_equal(cg_params_learn(&q), CG_OK); /* keeps what is there */
    assert_ptr_equal(q.dx, dx);
    get(&p, p.x, x, N);
    get(&q, q.x, y, N);
    assert_memory_equal(x, y, sizeof x);
    get(&p, p.moments, x, N);
    get(&q, q.moments, y, N);
    assert_memory_equal(x, y, sizeof x);
    cg_params_free(&p);
    cg_params_free(&q);
}

static double norm_of(const float *g, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)g[i] * (double)g[i];
    return sqrt(sum);
}

/* AdamW as Loshchilov & Hutter write it, in double */
static void plain_step(double *w, double *m, double *v, const float *g,
                       size_t n, const cg_adamw *o, int t)
{
    double scale = 1;
    if (o->clip > 0)
        scale = fmin(1, (double)o->clip / (norm_of(g, n) + 1e-6));
    for (size_t i = 0; i < n; i++) {
        double x = scale * (double)g[i], b1 = (double)o->b1,
               b2 = (double)o->b2;
        m[i] = b1 * m[i] + (1 - b1) * x;
        v[i] = b2 * v[i] + (1 - b2) * x * x;
        w[i] -= (double)o->lr * (double)o->decay * w[i];
        w[i] -= (double)o->lr * (m[i] / (1 - pow(b1, t)))
                / (sqrt(v[i] / (1 - pow(b2, t))) + (double)o->eps);
    }
}

static void check_adamw(const cg_adamw *o)
{
    enum { N = 112 + 16 + 16 };
    cg_params p;
    declare(&p, false);
    assert_int_equal(cg_params_alloc(&p, 1), CG_OK);
    assert_int_equal(p.n, N);
    float x[N], g[N];
    double w[N], m[N] = { 0 }, v[N] = { 0 };
    get(&p, p.x, x, N);
    for (int i = 0; i < N; i++)
        w[i] = (double)x[i];
    for (int t = 1; t <= 4; t++) {
        set_gradient(&p, t);
        cg_params_step(&p, o);
        get(&p, p.dx, g, N);
        if (t == 2)
            assert_true(norm_of(g + p.list.data[2].offset, SMALL) == 0);
        plain_step(w, m, v, g, N, o, t);
    }
    assert_int_equal(p.step, 4);
    get(&p, p.x, x, N);
    for (int i = 0; i < N; i++)
        assert_float_equal(x[i], (float)w[i], 2e-6);
    cg_params_free(&p);
}

static void updates_are_those_of_adamw(void **state)
{
    (void)state;
    cg_adamw o = { .lr = .05f, .b1 = .9f, .b2 = .99f, .eps = 1e-3f };
    check_adamw(&o);
    o.decay = .5f;
    check_adamw(&o);
    o.clip = .25f; /* the norm is about 8 */
    check_adamw(&o);
    o.clip = 100;
    check_adamw(&o);
}

static void a_copy_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    enum { N = 144 };
    const cg_adamw o = { .lr = .01f, .b1 = .9f, .b2 = .999f, .eps = 1e-8f,
                         .decay = .01f, .clip = 5 };
    cg_params p, q;
    declare(&p, false);
    declare(&q, false);
    assert_int_equal(cg_params_alloc(&p, 1), CG_OK);
    assert_int_equal(cg_params_alloc(&q, 2), CG_OK);
    float x[N], y[N], moments[2 * N];
    for (int t = 0; t < 6; t++) {
        if (t == 3) {
            get(&p, p.x, x, N);
            get(&p, p.moments, moments, 2 * N);
            put(&q, q.x, x, N);
            put(&q, q.moments, moments, 2 * N);
            q.step = p.step;
        }
        set_gradient(&p, t);
        cg_params_step(&p, &o);
        if (t < 3)
            continue;
        set_gradient(&q, t);
        cg_params_step(&q, &o);
    }
    get(&p, p.x, x, N);
    get(&q, q.x, y, N);
    assert_memory_equal(x, y, sizeof x);
    cg_params_free(&p);
    cg_params_free(&q);
}

static void rates_follow_the_schedule(void **state)
{
    (void)state;
    assert_float_equal(cg_schedule(2, 0, 100, 10, true), .2, 1e-6);
    assert_float_equal(cg_schedule(2, 9, 100, 10, true), 2, 1e-6);
    assert_float_equal(cg_schedule(2, 10, 100, 10, true), 2, 1e-6);
    assert_float_equal(cg_schedule(2, 55, 100, 10, true), 1, 1e-6);
    assert_float_equal(cg_schedule(2, 40, 100, 10, true), 1.5, 1e-6);
    assert_float_equal(cg_schedule(2, 100, 100, 10, true), 0, 1e-6);
    assert_float_equal(cg_schedule(2, 4, 100, 10, false), 1, 1e-6);
    assert_float_equal(cg_schedule(2, 99, 100, 10, false), 2, 1e-6);
    assert_float_equal(cg_schedule(2, 0, 100, 0, true), 2, 1e-6);
}

static int open_device(void **state)
{
    (void)state;
    return cg_dev_open(&dev, "cpu", 1) != CG_OK;
}

static int close_device(void **state)
{
    (void)state;
    cg_dev_close(dev);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_values),
        cmocka_unit_test(another_seed_gives_other_values),
        cmocka_unit_test(placed_values_are_learnt_from_later),
        cmocka_unit_test(updates_are_those_of_adamw),
        cmocka_unit_test(a_copy_goes_on_with_the_same_bits),
        cmocka_unit_test(rates_follow_the_schedule),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
