/* BLAS and LAPACK behind the backend's calls: systems solved by hand, what must
 * be refused, and powers against libm's. */
#include <stdbool.h>

#include "tests/numbers.h"

#include "backend/linalg.h"
#include "base/rng.h"

static void test_linalg(void **state)
{
    (void)state;
    double a[] = {2, 9, 1, 2}, w[2], v[4]; /* the 9 is not read */
    good(cg_linalg_open());
    good(cg_sym_eigen(2, 2, a, w, v));
    near(w[0], 3, 1e-14);
    near(w[1], 1, 1e-14);
    near(fabs(v[0] + v[1]), sqrt(2), 1e-14);
    near(v[2] + v[3], 0, 1e-14);
    double nan[] = {1, 0, NAN, 1};
    bad(cg_sym_eigen(2, 1, nan, w, v), "number");

    double l[] = {4, -7, 2, 3}, b[] = {8, 4, 10, 5}, half[] = {2, 1 + sqrt(2)};
    good(cg_cholesky(2, l)); /* 2 0, 1 sqrt 2 */
    near(cg_cholesky_logdet(2, l), log(8), 1e-14);
    cg_cholesky_solve(2, l, 2, b);
    double want[] = {.5, .25, 3, 1.5};
    for (int i = 0; i < 4; i++)
        near(b[i], want[i], 1e-14);
    cg_cholesky_half(2, l, 1, half);
    near(half[0], 1, 1e-14);
    near(half[1], 1, 1e-14);
    cg_cholesky_inverse(2, l);
    double inverse[] = {.375, -.25, -.25, .5};
    for (int i = 0; i < 4; i++)
        near(l[i], inverse[i], 1e-14);

    double not_definite[] = {1, 0, 2, 1};
    bad(cg_cholesky(2, not_definite), "positive definite");
    double indefinite[] = {1, 0, 2, 1}, c[] = {3, 6, 3, 0};
    good(cg_sym_solve(2, indefinite, 2, c));
    double x[] = {1, -2, 1, 4};
    for (int i = 0; i < 4; i++)
        near(c[i], x[i], 1e-14);
    double singular[] = {1, 0, 1, 1};
    bad(cg_sym_solve(2, singular, 1, c), "singular");
}

static void test_powers(void **state)
{
    (void)state;
    enum { N = 1024 };
    static const double exponent[] = {1 / 3., 2 / 3., .4, 1, 5, 100};
    double u[N], x[N], y[N];
    cg_rng r = cg_rng_make(1, 0);
    for (int i = 0; i < N; i++)
        u[i] = cg_rng_uniform(&r);
    for (size_t e = 0; e < LEN(exponent); e++) {
        for (int i = 0; i < N; i++)
            x[i] = u[i];
        x[0] = 1;
        x[1] = 0;
        cg_powers(N, x, exponent[e], y);
        assert_true(y[0] == 1 && y[1] == 0);
        for (int i = 0; i < N; i++)
            near(y[i], pow(x[i], exponent[e]),
                 1e-15 * (2 + 4 * exponent[e]) * sqrt(y[i]));
    }
    for (int i = 0; i < N; i++)
        x[i] = 1 + 15 * u[i];
    cg_powers(N, x, -4, x);
    for (int i = 0; i < N; i++)
        near(x[i] / pow(1 + 15 * u[i], -4), 1, 1e-14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linalg),
        cmocka_unit_test(test_powers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
