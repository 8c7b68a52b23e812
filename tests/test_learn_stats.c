/* The learner's parts without networks: small cases with known answers, and
 * what must be refused. stats_numpy.py compares larger ones with scipy and
 * scikit-learn. */
#include <stdbool.h>

#include "tests/numbers.h"

#include "base/arena.h"
#include "base/rng.h"
#include "runtime/fcm.h"
#include "runtime/gp.h"
#include "runtime/metrics.h"
#include "runtime/pca.h"
#include "runtime/ridge.h"

/* Numbers in -1 .. 1; the caller frees. */
static double *noise(size_t n, uint64_t seed)
{
    cg_rng r = cg_rng_make(seed, 0);
    double *x = cg_xcalloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * cg_rng_uniform(&r) - 1;
    return x;
}

/* ---- metrics ---- */

static void test_ranks(void **state)
{
    (void)state;
    double x[] = {3, 1, 3, INFINITY, 2, 3}, r[6];
    static const double want[] = {4, 1, 4, 6, 2, 4};
    cg_ranks(x, 6, r);
    for (int i = 0; i < 6; i++)
        near(r[i], want[i], 0);
    x[1] = NAN;
    cg_ranks(x, 6, x);
    for (int i = 0; i < 6; i++)
        assert_true(isnan(x[i]));
}

static void test_zscores(void **state)
{
    (void)state;
    double x[] = {1, 3}, flat[] = {.1, .1, .1};
    cg_zscores(x, 2, x);
    near(x[0], -1, 1e-15);
    near(x[1], 1, 1e-15);
    cg_zscores(flat, 3, flat);
    assert_true(isnan(flat[0]) && isnan(flat[2]));
}

static void test_correlations(void **state)
{
    (void)state;
    double y[] = {1, 2, 3, 4, 5}, up[] = {1, 4, 9, 16, 25};
    double down[] = {5, 4, 3, 2, 1}, ties[] = {1, 1, 2, 3, 3};
    double y_ties[] = {1, 2, 2, 4, 4};
    near(cg_mae(y, down, 5), 12 / 5., 1e-15);
    near(cg_srcc(y, up, 5), 1, 1e-15);
    near(cg_srcc(y, down, 5), -1, 1e-15);
    near(cg_kendall(y, up, 5), 1, 1e-15);
    near(cg_kendall(y, down, 5), -1, 1e-15);
    near(cg_srcc(y, ties, 5), 9 / sqrt(10 * 9), 1e-15);
    near(cg_kendall(y, ties, 5), 8 / sqrt(10 * 8), 1e-15);
    /* 7 concordant, 2 and 2 ties of which 1 joint: 7 of 8 by 8 */
    near(cg_kendall(y_ties, ties, 5), 7 / 8., 1e-15);
}

static void test_undefined(void **state)
{
    (void)state;
    double y[] = {1, 2, 3}, flat[] = {.3, .3, .3}, nan[] = {1, NAN, 3};
    for (size_t m = 0; m < cg_n_metrics; m++) {
        cg_metric *f = cg_metrics[m].metric;
        bool mae = strcmp(cg_metrics[m].name, "mae") == 0;
        assert_true(isnan(f(y, y, 0, 1)));
        assert_true(isnan(f(y, y, 1, 1)) == !mae);
        assert_true(isnan(f(nan, y, 3, 1)) && isnan(f(y, nan, 3, 1)));
        assert_true(isnan(f(flat, y, 3, 1)) == !mae);
        assert_false(isnan(f(y, y, 3, 1)));
    }
    assert_true(isnan(cg_srcc(y, flat, 3)) && isnan(cg_kendall(y, flat, 3)));
    assert_true(isnan(cg_ndcg(y, y, 3, 0)));
}

static void test_ndcg(void **state)
{
    (void)state;
    double y[] = {90, 80, 85}, worst[] = {1, 3, 2}, flat[] = {0, 0, 0};
    double top = exp2(20) - 1, half = exp2(10) - 1, low = 1 / log2(3);
    double best = top + half * low, third = .5;
    near(cg_ndcg(y, y, 3, 10), 1, 1e-15);
    near(cg_ndcg(y, worst, 3, 3), (half * low + top * third) / best, 1e-15);
    near(cg_ndcg(y, worst, 3, 1), 0, 0);
    near(cg_ndcg(y, worst, 3, 2), half * low / best, 1e-15);
    near(cg_ndcg(y, flat, 3, 3),
         (top + half) / 3 * (1 + low + third) / best, 1e-15);
    /* the tie reaches over the cut-off */
    double tie[] = {1, 1, 2};
    near(cg_ndcg(y, tie, 3, 2), (half + top / 2 * low) / best, 1e-15);
}

static void test_bootstrap(void **state)
{
    (void)state;
    enum { N = 60 };
    double *y = noise(N, 1), *p = noise(N, 2);
    for (int i = 0; i < N; i++)
        p[i] += 2 * y[i];
    cg_bootstrap b = {cg_metrics[1].metric, 0, 400, .95, 7};
    cg_interval a = cg_bootstrap_interval(&b, y, p, N);
    cg_interval again = cg_bootstrap_interval(&b, y, p, N);
    assert_memory_equal(&a, &again, sizeof a);
    double r = cg_srcc(y, p, N);
    assert_true(a.low < r && r < a.high && a.high < 1);
    b.level = .5;
    cg_interval narrow = cg_bootstrap_interval(&b, y, p, N);
    assert_true(a.low < narrow.low && narrow.high < a.high);
    b.seed = 8;
    cg_interval other = cg_bootstrap_interval(&b, y, p, N);
    assert_true(other.low != narrow.low);
    /* of two pairs half the draws are constant; the rest say 1 */
    cg_interval two = cg_bootstrap_interval(&b, (double[]){1, 2},
                                            (double[]){1, 2}, 2);
    near(two.low, 1, 0);
    near(two.high, 1, 0);
    cg_interval one = cg_bootstrap_interval(&b, y, p, 1);
    assert_true(isnan(one.low) && isnan(one.high));
    cg_xfree(y);
    cg_xfree(p);
}

/* ---- principal components ---- */

static void test_pca_line(void **state)
{
    (void)state;
    /* along (1, -2, 2) / 3 through (5, 5, 5), at -3, 0, 3 */
    double x[] = {4, 7, 3, 5, 5, 5, 6, 3, 7}, z[9];
    float f[9];
    for (int i = 0; i < 9; i++)
        f[i] = (float)x[i];
    cg_pca p, q;
    good(cg_pca_fit(&p, x, 3, 3, 3));
    good(cg_pca_fit_float(&q, f, 3, 3, 3));
    assert_memory_equal(p.component, q.component, 9 * sizeof *z);
    static const double way[] = {-1 / 3., 2 / 3., -2 / 3.};
    near(p.variance[0], 9, 1e-13);
    near(p.variance[1], 0, 1e-13);
    near(p.total, 9, 1e-13);
    double sign = p.component[1] > 0 ? 1 : -1; /* |2| and |-2| are equal */
    for (int j = 0; j < 3; j++) {
        near(p.mean[j], 5, 1e-14);
        near(p.component[j], sign * way[j], 1e-14);
    }
    good(cg_pca_apply(&p, x, 3, false, z));
    near(z[0], 3 * sign, 1e-13);
    good(cg_pca_apply_float(&p, f, 3, true, z));
    near(z[0], sign, 1e-13);
    near(z[6], -sign, 1e-13);
    for (int i = 0; i < 3; i++) /* no variance: not noise blown up */
        assert_true(z[3 * i + 1] == 0 && z[3 * i + 2] == 0);
    cg_pca_free(&p);
    cg_pca_free(&q);
}

static void test_pca_sign(void **state)
{
    (void)state;
    enum { N = 700, D = 5 };
    double *x = noise(N * D, 3);
    cg_pca p;
    good(cg_pca_fit(&p, x, N, D, 3));
    for (size_t k = 0; k < 3; k++) {
        double top = 0;
        for (size_t j = 0; j < D; j++) {
            double v = p.component[k * D + j];
            top = fabs(v) > fabs(top) ? v : top;
        }
        assert_true(top > 0);
    }
    cg_pca_free(&p);
    cg_xfree(x);
}

static void test_pca_refuses(void **state)
{
    (void)state;
    double x[] = {1, 2, 3, INFINITY};
    cg_pca p;
    bad(cg_pca_fit(&p, x, 2, 2, 1), "row 1, column 1");
    assert_null(p.mean);
    bad(cg_pca_fit(&p, x, 1, 3, 1), "rows must be 2");
    bad(cg_pca_fit(&p, x, 3, 1, 2), "no more than columns");
    cg_pca_free(&p);
}

/* ---- ridge ---- */

static void test_ridge_exact(void **state)
{
    (void)state;
    enum { N = 20, D = 3 };
    double *x = noise(N * D, 4), y[N], p[N], zero = 0;
    for (int i = 0; i < N; i++) {
        x[i * D + 2] = 7; /* constant: no weight */
        y[i] = 3 + 2 * x[i * D] - 5 * x[i * D + 1];
    }
    for (int standardise = 0; standardise < 2; standardise++) {
        cg_ridge r;
        good(cg_ridge_fit(&r, x, y, N, D, standardise, &zero, 1));
        near(r.weight[0], 2, 1e-12);
        near(r.weight[1], -5, 1e-12);
        near(r.weight[2], 0, 0);
        near(r.intercept, 3, 1e-12);
        near(r.press, 0, 1e-20);
        cg_ridge_predict(&r, x, N, p);
        for (int i = 0; i < N; i++)
            near(p[i], y[i], 1e-12);
        cg_ridge_free(&r);
    }
    cg_xfree(x);
}

/* PRESS is what leaving each row out and fitting again would give. */
static void test_ridge_press(void **state)
{
    (void)state;
    enum { N = 15, D = 4 };
    double *x = noise(N * D, 5), *y = noise(N, 6), sum = 0;
    double left_x[N * D], left_y[N], p, lambda[] = {100, .3, 1e-3};
    for (int i = 0; i < N; i++)
        y[i] += x[i * D] - x[i * D + 1];
    cg_ridge r, s;
    good(cg_ridge_fit(&r, x, y, N, D, false, lambda, 3));
    assert_true(r.lambda == .3);
    for (int out = 0; out < N; out++) {
        int n = 0;
        for (int i = 0; i < N; i++) {
            if (i == out)
                continue;
            memcpy(left_x + n * D, x + i * D, D * sizeof *x);
            left_y[n++] = y[i];
        }
        good(cg_ridge_fit(&s, left_x, left_y, N - 1, D, false, &r.lambda, 1));
        cg_ridge_predict(&s, x + out * D, 1, &p);
        sum += (p - y[out]) * (p - y[out]) / N;
        cg_ridge_free(&s);
    }
    near(r.press, sum, 1e-12);
    cg_ridge_free(&r);
    cg_xfree(x);
    cg_xfree(y);
}

static void test_ridge_edges(void **state)
{
    (void)state;
    double x[] = {1, 1, 3, 3}, y[] = {1, 5}, lambda[] = {0, 1};
    cg_ridge r;
    /* twice one column, two rows: the fit is exact, the smallest w */
    good(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 1));
    near(r.weight[0], 1, 1e-12);
    near(r.weight[1], 1, 1e-12);
    assert_true(isinf(r.press));
    cg_ridge_free(&r);
    good(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 2));
    assert_true(r.lambda == 1 && isfinite(r.press));
    cg_ridge_free(&r);
    bad(cg_ridge_fit(&r, x, y, 1, 2, false, lambda, 1), "two rows");
    bad(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 0), "penalty");
    lambda[1] = -1;
    bad(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 2), "penalty -1");
    y[1] = NAN;
    bad(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 1), "target of row 1");
    x[1] = INFINITY;
    y[1] = 0;
    bad(cg_ridge_fit(&r, x, y, 2, 2, false, lambda, 1), "row 0, column 1");
}

/* ---- Gaussian process ---- */

enum { GP_N = 40, GP_D = 3 };

static void wave(double *x, double *y)
{
    double *u = noise(GP_N * GP_D, 8), *e = noise(GP_N, 9);
    memcpy(x, u, GP_N * GP_D * sizeof *x);
    for (int i = 0; i < GP_N; i++) /* the third feature says nothing */
        y[i] = 50 + sin(4 * x[i * GP_D]) + x[i * GP_D + 1] + .05 * e[i];
    cg_xfree(u);
    cg_xfree(e);
}

static const size_t gp_columns[] = {2, 1};
static const cg_gp_prior gp_weak = {{-2, 3}, {0, 3}, {0, 3}};

/* Where the search ends no parameter can be moved to a higher likelihood, but
 * for those at a bound, which hardly matter any more. */
static void test_gp_search(void **state)
{
    (void)state;
    enum { P = 6 }; /* noise, three signals, two lengths */
    cg_gp_prior none = {{-2, 1e3}, {0, 1e3}, {0, 1e3}};
    double x[GP_N * GP_D], y[GP_N], moved[P];
    wave(x, y);
    cg_gp g, other;
    good(cg_gp_fit(&g, x, y, GP_N, GP_D,
                   &(cg_gp_options){gp_columns, 2, NULL, &none}));
    assert_int_equal(cg_gp_parameters(2), P);
    assert_true(g.theta[0] < .01);
    for (int i = 0; i < P; i++)
        for (double by = .97; by < 1.1; by += .03) { /* once as it is */
            memcpy(moved, g.theta, sizeof moved);
            moved[i] *= by;
            good(cg_gp_fit(&other, x, y, GP_N, GP_D,
                           &(cg_gp_options){gp_columns, 2, moved, NULL}));
            assert_true(other.likelihood < g.likelihood + 1e-3);
            cg_gp_free(&other);
        }
    cg_gp_free(&g);
}

/* One that is sure decides, whatever the data. */
static void test_gp_prior(void **state)
{
    (void)state;
    double x[GP_N * GP_D], y[GP_N], mean, sd, d2[GP_N * GP_N];
    static const size_t all[] = {GP_D};
    size_t n = 0;
    wave(x, y);
    cg_moments(y, GP_N, &mean, &sd);
    for (int a = 0; a < GP_N; a++)
        for (int b = 0; b < a; b++, n++) {
            d2[n] = 0;
            for (int j = 0; j < GP_D; j++)
                d2[n] += pow(x[a * GP_D + j] - x[b * GP_D + j], 2);
        }
    size_t below = 0; /* the found length: half of the pairs are nearer */
    cg_gp_prior p = {{-1, 1e-4}, {.5, 1e-4}, {0, 1e-4}};
    cg_gp_options o = {all, 1, NULL, &p};
    cg_gp g;
    good(cg_gp_fit(&g, x, y, GP_N, GP_D, &o));
    assert_int_equal(cg_gp_parameters(1), 3);
    near(g.theta[0], exp(-1) * sd * sd, 1e-3 * sd * sd);
    near(g.theta[1], exp(.5) * sd * sd, 1e-3 * sd * sd);
    for (size_t i = 0; i < n; i++)
        below += d2[i] < g.theta[2] * g.theta[2];
    assert_true(below > n / 2 - n / 500 && below < n / 2 + n / 500);
    cg_gp_free(&g);
    p.length.sd = 0;
    bad(cg_gp_fit(&g, x, y, GP_N, GP_D, &o), "a prior");
}

static void test_gp_predict(void **state)
{
    (void)state;
    enum { M = 300 }; /* more than a block */
    double x[GP_N * GP_D], y[GP_N], mean[M], variance[M], far[M * GP_D];
    double fixed[] = {1e-8, .5, .5, 1, 1, 30};
    wave(x, y);
    cg_gp g;
    good(cg_gp_fit(&g, x, y, GP_N, GP_D,
                   &(cg_gp_options){gp_columns, 2, fixed, NULL}));
    good(cg_gp_predict(&g, x, GP_N, mean, variance));
    for (int i = 0; i < GP_N; i++) {
        near(mean[i], y[i], .02);
        assert_true(variance[i] >= 1e-8 && variance[i] < 1e-7);
    }
    for (int i = 0; i < M * GP_D; i++)
        far[i] = 1e4;
    good(cg_gp_predict(&g, far, M, mean, variance));
    near(mean[M - 1], g.mean, 1e-12);
    near(variance[M - 1], 2 + 1e-8, 1e-12);
    good(cg_gp_predict(&g, far, 1, mean, NULL));
    cg_gp_free(&g);
}

static void test_gp_edges(void **state)
{
    (void)state;
    double x[] = {1, 1, 2}, y[] = {4, 4, 4}, fixed[] = {1e-300, 1, 1}, mean;
    static const size_t one[] = {1};
    cg_gp_options given = {one, 1, fixed, NULL}, o = {one, 1, NULL, &gp_weak};
    cg_gp g;
    bad(cg_gp_fit(&g, x, y, 3, 1, &given),
        "positive definite"); /* a row twice, without noise */
    assert_null(g.x);
    fixed[0] = 0;
    bad(cg_gp_fit(&g, x, y, 3, 1, &given), "parameter 0");
    bad(cg_gp_fit(&g, x, y, 1, 1, &o), "two rows");
    good(cg_gp_fit(&g, x, y, 3, 1, &o)); /* constant y */
    good(cg_gp_predict(&g, x, 1, &mean, NULL));
    near(mean, 4, 1e-12);
    cg_gp_free(&g);
    y[2] = NAN;
    bad(cg_gp_fit(&g, x, y, 3, 1, &o), "target of row 2");
    y[2] = 1;
    x[0] = NAN;
    bad(cg_gp_fit(&g, x, y, 3, 1, &o), "row 0, column 0");
    /* nothing has a distance, or a spread */
    double same[] = {7, 7, 7};
    y[2] = 4;
    good(cg_gp_fit(&g, same, y, 3, 1, &o));
    assert_true(isfinite(g.theta[2]) && g.theta[2] > 0);
    good(cg_gp_predict(&g, same, 1, &mean, NULL));
    near(mean, 4, 1e-12);
    cg_gp_free(&g);
}

/* ---- fuzzy c-means ---- */

static const cg_fcm_options usual = {.c = 2, .m = 2, .tolerance = 1e-9,
                                     .max_iter = 10000, .seed = 1};

/* Two heaps, at -10 and 10, of more points than a block. */
static double *heaps(size_t n, size_t d, double offset)
{
    double *x = noise(n * d, 11);
    for (size_t i = 0; i < n * d; i++)
        x[i] += (i / d % 2 ? 10 : -10) + offset;
    return x;
}

static void test_fcm_heaps(void **state)
{
    (void)state;
    enum { N = 601, D = 3 };
    static const double fuzziness[] = {1.05, 1.5, 2, 2.5, 3, 4};
    double *x = heaps(N, D, 0), u[N * 2], again[N * 2];
    for (size_t i = 0; i < LEN(fuzziness); i++) {
        cg_fcm_options o = usual;
        o.m = fuzziness[i];
        cg_fcm f;
        good(cg_fcm_fit(&f, x, N, D, &o, u));
        assert_true(f.change <= 1e-9 && f.iterations < 200);
        int first = u[0] > u[1] ? 0 : 1;
        for (int k = 0; k < 2 * D; k++)
            near(f.centroid[k], (k / D == first ? -10 : 10), .3);
        for (int k = 0; k < N; k++) {
            near(u[2 * k] + u[2 * k + 1], 1, 1e-15);
            assert_true(u[2 * k + (first + k) % 2] > .8);
        }
        good(cg_fcm_memberships(&f, x, N, again));
        assert_memory_equal(u, again, sizeof u);
        assert_int_equal(cg_fcm_distinct(&f, 1), 2);
        assert_int_equal(cg_fcm_distinct(&f, 100), 1);
        cg_fcm_free(&f);
    }
    cg_xfree(x);
}

/* Far from the origin |x - v|^2 as a product would have no digits left. */
static void test_fcm_offset(void **state)
{
    (void)state;
    enum { N = 300, D = 2 };
    double *x = heaps(N, D, 0), *far = heaps(N, D, 1e7);
    double u[N * 2], v[N * 2];
    cg_fcm f, g;
    good(cg_fcm_fit(&f, x, N, D, &usual, u));
    good(cg_fcm_fit(&g, far, N, D, &usual, v));
    for (int i = 0; i < 2 * N; i++)
        near(u[i], v[i], 1e-7);
    cg_fcm_free(&f);
    cg_fcm_free(&g);
    cg_xfree(x);
    cg_xfree(far);
}

static void test_fcm_at_centroid(void **state)
{
    (void)state;
    double v[] = {1, 2, 3, 4, 3, 4}, x[] = {1, 2, 3, 4, 100, 100}, u[9];
    cg_fcm f = {.c = 3, .d = 2, .m = 4, .centroid = v};
    good(cg_fcm_memberships(&f, x, 3, u));
    static const double want[] = {1, 0, 0, 0, .5, .5};
    for (int i = 0; i < 6; i++)
        near(u[i], want[i], 0);
    near(u[6] + u[7] + u[8], 1, 1e-15);
    assert_true(u[7] == u[8] && u[6] > .3);
    f.m = 100; /* everything belongs to all */
    good(cg_fcm_memberships(&f, x + 4, 1, u));
    near(u[0], 1 / 3., 1e-3);
    f.m = 1 + 1e-6; /* nothing is shared but by equals */
    good(cg_fcm_memberships(&f, x + 4, 1, u));
    near(u[0], 0, 0);
    near(u[1], .5, 0);
}

static void test_fcm_edges(void **state)
{
    (void)state;
    double x[] = {1, 1, 1, 5}, u[16];
    cg_fcm f;
    cg_fcm_options o = usual;
    o.c = 1; /* one cluster: the mean */
    good(cg_fcm_fit(&f, x, 4, 1, &o, u));
    near(f.centroid[0], 2, 1e-15);
    near(u[3], 1, 0);
    near(cg_fcm_entropy(u, 4, 1), 0, 0);
    cg_fcm_free(&f);
    o.c = 4; /* more clusters than distinct points */
    good(cg_fcm_fit(&f, x, 4, 1, &o, u));
    assert_int_equal(cg_fcm_distinct(&f, 1e-6), 2);
    for (int i = 0; i < 16; i++)
        assert_true(u[i] >= 0 && u[i] <= 1);
    cg_fcm_free(&f);
    o.c = 5;
    bad(cg_fcm_fit(&f, x, 4, 1, &o, u), "5 clusters of 4");
    o = usual;
    o.m = 1;
    bad(cg_fcm_fit(&f, x, 4, 1, &o, u), "fuzziness 1");
    o.m = NAN;
    bad(cg_fcm_fit(&f, x, 4, 1, &o, u), "fuzziness");
    x[2] = NAN;
    bad(cg_fcm_fit(&f, x, 2, 2, &usual, u), "row 1, column 0");
    assert_null(f.centroid);
}

static void test_fcm_seeds(void **state)
{
    (void)state;
    enum { N = 500, D = 4 };
    double *x = noise(N * D, 12), u[N * 4], v[N * 4];
    cg_fcm_options o = usual;
    o.c = 4;
    o.m = 1.2;
    o.max_iter = 3;
    cg_fcm f, g;
    good(cg_fcm_fit(&f, x, N, D, &o, u));
    assert_int_equal(f.iterations, 3);
    assert_true(f.change > 1e-9); /* not converged, and it says so */
    good(cg_fcm_fit(&g, x, N, D, &o, v));
    assert_memory_equal(u, v, sizeof u);
    cg_fcm_free(&g);
    o.seed = 2;
    good(cg_fcm_fit(&g, x, N, D, &o, v));
    assert_memory_not_equal(u, v, sizeof u);
    cg_fcm_free(&f);
    cg_fcm_free(&g);
    cg_xfree(x);
}

static void test_fcm_entropy(void **state)
{
    (void)state;
    double crisp[] = {1, 0, 0, 1}, even[] = {.5, .5, .5, .5};
    double both[] = {1, 0, .5, .5};
    near(cg_fcm_entropy(crisp, 2, 2), 0, 0);
    near(cg_fcm_entropy(even, 2, 2), 1, 1e-15);
    near(cg_fcm_entropy(both, 2, 2), .5, 1e-15);
    assert_true(isnan(cg_fcm_entropy(both, 0, 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_zscores),
        cmocka_unit_test(test_correlations),
        cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_ndcg),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_pca_line),
        cmocka_unit_test(test_pca_sign),
        cmocka_unit_test(test_pca_refuses),
        cmocka_unit_test(test_ridge_exact),
        cmocka_unit_test(test_ridge_press),
        cmocka_unit_test(test_ridge_edges),
        cmocka_unit_test(test_gp_search),
        cmocka_unit_test(test_gp_prior),
        cmocka_unit_test(test_gp_predict),
        cmocka_unit_test(test_gp_edges),
        cmocka_unit_test(test_fcm_heaps),
        cmocka_unit_test(test_fcm_offset),
        cmocka_unit_test(test_fcm_at_centroid),
        cmocka_unit_test(test_fcm_edges),
        cmocka_unit_test(test_fcm_seeds),
        cmocka_unit_test(test_fcm_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
