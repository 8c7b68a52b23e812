/* t-SNE: its parts against their definitions, and clusters that stay apart. */
#include "tests/numbers.h"

#include "base/arena.h"
#include "base/rng.h"
#include "runtime/tsne.h"

enum { POINTS = 120, WIDE = 10, CLUSTERS = 3 };
static const cg_tsne_opts usual = {.perplexity = 30, .dims = 30,
                                   .steps = 1000, .seed = 1};

/* Sum of uniform numbers: near enough to a Gaussian of deviation 1. */
static double bell(cg_rng *r)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += cg_rng_uniform(r);
    return sum;
}

static void test_perplexity(void **state)
{
    (void)state;
    cg_rng r = cg_rng_make(1, 0);
    double d[POINTS], p[POINTS];
    static const double wished[] = {2, 5, 30, 100}, unit[] = {1e-9, 1, 1e12};
    for (size_t k = 0; k < LEN(wished); k++)
        for (size_t u = 0; u < LEN(unit); u++) {
            double h = 0, sum = 0;
            for (int i = 0; i < POINTS; i++)
                d[i] = unit[u] * (100 + pow(bell(&r), 2));
            cg_tsne_row(d, POINTS, 7, wished[k], p);
            for (int i = 0; i < POINTS; i++) {
                sum += p[i];
                h -= p[i] > 0 ? p[i] * log(p[i]) : 0;
                /* who is nearer than point 8 is not less probable */
                assert_true(i == 7 || (d[i] < d[8] ? p[i] >= p[8]
                                                   : p[i] <= p[8]));
            }
            near(sum, 1, 1e-12);
            near(exp(h), wished[k], 1e-5);
            near(p[7], 0, 0);
        }
}

static void test_perplexity_of_few(void **state)
{
    (void)state;
    double p[5], ties[] = {0, 0, 0, 0, 9}, flat[] = {0, 2, 2, 2, 2};
    near(cg_tsne_perplexity(1000, 30), 30, 0);
    near(cg_tsne_perplexity(61, 30), 20, 0);
    near(cg_tsne_perplexity(2, 30), 1, 0);
    cg_tsne_row(ties, 5, 0, 2, p); /* three nearest ones are more than two */
    for (int i = 1; i < 4; i++)
        near(p[i], 1 / 3., 1e-9);
    near(p[4], 0, 1e-9);
    cg_tsne_row(flat, 5, 0, 1.3, p);
    for (int i = 1; i < 5; i++)
        near(p[i], .25, 1e-12);
}

/* sum p log(p / q), q of the definition. */
static double divergence(const double *p, const double *y, size_t n)
{
    double sum = 0, kl = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double w = 1 / (1 + pow(y[2 * i] - y[2 * j], 2) +
                                pow(y[2 * i + 1] - y[2 * j + 1], 2));
                if (i != j && pass == 0)
                    sum += w;
                else if (i != j)
                    kl += p[i * n + j] * log(p[i * n + j] * sum / w);
            }
    return kl;
}

static void test_gradient(void **state)
{
    (void)state;
    enum { N = 20, D = 4 };
    cg_rng r = cg_rng_make(2, 0);
    double x[N * D], y[2 * N], p[N * N], grad[2 * N], sum = 0, step = 1e-5;
    for (int i = 0; i < N * D; i++)
        x[i] = bell(&r);
    for (int i = 0; i < 2 * N; i++)
        y[i] = bell(&r);
    cg_tsne_joint(x, N, D, 5, p);
    for (int i = 0; i < N * N; i++) {
        sum += p[i];
        near(p[i], p[i % N * N + i / N], 0);
    }
    near(sum, 1, 1e-12);
    cg_tsne_gradient(p, y, N, 1, grad);
    for (int i = 0; i < 2 * N; i++) {
        double at = y[i], up, down;
        y[i] = at + step;
        up = divergence(p, y, N);
        y[i] = at - step;
        down = divergence(p, y, N);
        y[i] = at;
        near(grad[i], (up - down) / (2 * step), 1e-9);
    }
    for (int i = 0; i < N * N; i++)
        p[i] *= 12; /* exaggerated: 4 sum (12 p - q) ... is linear in p */
    double plain[2 * N], zero[2 * N], none[N * N] = {0};
    cg_tsne_gradient(none, y, N, 1, zero);
    cg_tsne_gradient(p, y, N, 1, plain);
    for (int i = 0; i < 2 * N; i++)
        near(plain[i] - zero[i], 12 * (grad[i] - zero[i]), 1e-9);
}

/* x (POINTS, WIDE): clusters as far from each other as they are wide, times
 * ten; point i is of cluster i % CLUSTERS. */
static void clusters(float *x)
{
    cg_rng r = cg_rng_make(3, 0);
    for (int i = 0; i < POINTS; i++)
        for (int k = 0; k < WIDE; k++)
            x[i * WIDE + k] = (float)(bell(&r) +
                                      (k == i % CLUSTERS ? 10 : 0));
}

static double purity(const double *y, int n)
{
    int pure = 0;
    for (int i = 0; i < n; i++) {
        int best = -1;
        double least = INFINITY;
        for (int j = 0; j < n; j++) {
            double d = hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
            if (j != i && d < least) {
                least = d;
                best = j;
            }
        }
        pure += best % CLUSTERS == i % CLUSTERS;
    }
    return (double)pure / n;
}

static void test_clusters(void **state)
{
    (void)state;
    float x[POINTS * WIDE];
    double y[2 * POINTS], again[2 * POINTS], other[2 * POINTS];
    cg_tsne_opts seed2 = usual;
    seed2.seed = 2;
    clusters(x);
    good(cg_tsne(x, POINTS, WIDE, &usual, y));
    good(cg_tsne(x, POINTS, WIDE, &usual, again));
    good(cg_tsne(x, POINTS, WIDE, &seed2, other));
    assert_memory_equal(y, again, sizeof y);
    assert_memory_not_equal(y, other, sizeof y);
    for (int k = 0; k < 2; k++) { /* about the origin */
        double mean = 0;
        for (int i = 0; i < POINTS; i++)
            mean += y[2 * i + k] / POINTS;
        near(mean, 0, 1e-12);
    }
    assert_true(purity(y, POINTS) > .95);
    assert_true(purity(other, POINTS) > .95);
}

/* Two places of many points each: pairs of one place are nearer in the plane
 * than the places are. */
static void test_duplicates(void **state)
{
    (void)state;
    float x[POINTS * WIDE] = {0};
    double y[2 * POINTS], within = 0, between = INFINITY;
    for (int i = 0; i < POINTS; i++)
        x[i * WIDE + 2] = (float)(i % 2);
    good(cg_tsne(x, POINTS, WIDE, &usual, y));
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < i; j++) {
            double d = hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
            if (i % 2 == j % 2)
                within = fmax(within, d);
            else
                between = fmin(between, d);
        }
    assert_true(within < between);
}

static void test_few_and_odd(void **state)
{
    (void)state;
    float x[POINTS * WIDE], same[POINTS * WIDE] = {0};
    double y[2 * POINTS];
    clusters(x);
    for (size_t n = 0; n <= 9; n++)
        for (size_t d = 1; d <= WIDE; d += 9) {
            good(cg_tsne(x, n, d, &usual, y));
            for (size_t i = 0; i < 2 * n; i++)
                assert_true(isfinite(y[i]));
        }
    good(cg_tsne(same, POINTS, WIDE, &usual, y));
    for (size_t i = 0; i < 2 * POINTS; i++)
        assert_true(isfinite(y[i]));
    x[5] = NAN;
    bad(cg_tsne(x, POINTS, WIDE, &usual, y), "is nan");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_perplexity_of_few),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_few_and_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
