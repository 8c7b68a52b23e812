/* The learner's parts without networks, as a program: reads requests from
 * stdin, a name and its numbers each, and answers with a line of numbers.
 * stats_numpy.py asks, and compares with scipy, scikit-learn and numpy. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/fcm.h"
#include "runtime/gp.h"
#include "runtime/metrics.h"
#include "runtime/pca.h"
#include "runtime/ridge.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static double number(void)
{
    double x;
    if (scanf("%lf", &x) != 1) {
        printf("a number is missing\n");
        exit(1);
    }
    return x;
}

static double *numbers(size_t n)
{
    double *x = cg_xcalloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = number();
    return x;
}

static void say(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%.17g ", x[i]);
}

static void must(cg_err err)
{
    if (err == CG_OK)
        return;
    printf("%s\n", cg_error());
    exit(1);
}

static void answer_metrics(void)
{
    size_t n = (size_t)number(), k = (size_t)number();
    cg_bootstrap b = {.k = k, .resamples = (size_t)number(), .level = .9,
                      .seed = (uint64_t)number()};
    double *y = numbers(n), *p = numbers(n);
    for (size_t m = 0; m < cg_n_metrics; m++) {
        b.metric = cg_metrics[m].metric;
        cg_interval i = cg_bootstrap_interval(&b, y, p, n);
        say((double[]){b.metric(y, p, n, k), i.low, i.high}, 3);
    }
    cg_xfree(y);
    cg_xfree(p);
}

static void answer_pca(void)
{
    size_t n = (size_t)number(), d = (size_t)number(), k = (size_t)number();
    double *x = numbers(n * d), *z = cg_xcalloc(n * k, sizeof *z);
    cg_pca p;
    must(cg_pca_fit(&p, x, n, d, k));
    say(p.mean, d);
    say(p.component, k * d);
    say(p.variance, k);
    for (int whiten = 0; whiten < 2; whiten++) {
        must(cg_pca_apply(&p, x, n, whiten, z));
        say(z, n * k);
    }
    cg_pca_free(&p);
    cg_xfree(x);
    cg_xfree(z);
}

static void answer_ridge(void)
{
    size_t n = (size_t)number(), d = (size_t)number();
    bool standardise = number() != 0;
    size_t n_lambda = (size_t)number();
    double *lambda = numbers(n_lambda), *x = numbers(n * d), *y = numbers(n);
    cg_ridge r;
    must(cg_ridge_fit(&r, x, y, n, d, standardise, lambda, n_lambda));
    say((double[]){r.lambda, r.press, r.intercept}, 3);
    say(r.weight, d);
    cg_ridge_free(&r);
    cg_xfree(lambda);
    cg_xfree(x);
    cg_xfree(y);
}

static void answer_gp(void)
{
    size_t n = (size_t)number(), d = (size_t)number(), m = (size_t)number();
    size_t groups = (size_t)number(), p = cg_gp_parameters(groups);
    size_t *columns = cg_xcalloc(groups, sizeof *columns);
    bool fixed = number() != 0;
    for (size_t k = 0; k < groups; k++)
        columns[k] = (size_t)number();
    cg_gp_prior prior;
    double *theta = NULL;
    if (fixed) {
        theta = numbers(p);
    } else {
        prior.noise = (cg_gp_belief){number(), number()};
        prior.signal = (cg_gp_belief){number(), number()};
        prior.length = (cg_gp_belief){number(), number()};
    }
    double *x = numbers(n * d), *y = numbers(n), *at = numbers(m * d);
    double *out = cg_xcalloc(2 * m, sizeof *out);
    cg_gp g;
    cg_gp_options o = {columns, groups, theta, &prior};
    must(cg_gp_fit(&g, x, y, n, d, &o));
    must(cg_gp_predict(&g, at, m, out, out + m));
    say(&g.likelihood, 1);
    say(g.theta, p);
    say(out, 2 * m);
    cg_gp_free(&g);
    cg_xfree(columns);
    cg_xfree(theta);
    cg_xfree(x);
    cg_xfree(y);
    cg_xfree(at);
    cg_xfree(out);
}

static void answer_fcm(void)
{
    size_t n = (size_t)number(), d = (size_t)number(), c = (size_t)number();
    double m = number();
    size_t max_iter = (size_t)number(), other = (size_t)number();
    double *start = numbers(c * d), *x = numbers(n * d);
    double *at = numbers(other * d);
    double *u = cg_xcalloc((n + other) * c, sizeof *u);
    cg_fcm f;
    must(cg_fcm_fit(&f, x, n, d,
                    &(cg_fcm_options){.c = c, .m = m, .tolerance = 1e-9,
                                      .max_iter = max_iter, .start = start},
                    u));
    must(cg_fcm_memberships(&f, at, other, u + n * c));
    say((double[]){(double)f.iterations, f.change}, 2);
    say(f.centroid, c * d);
    say(u, (n + other) * c);
    cg_fcm_free(&f);
    cg_xfree(start);
    cg_xfree(x);
    cg_xfree(at);
    cg_xfree(u);
}

static const struct {
    const char *name;
    void (*answer)(void);
} requests[] = {{"metrics", answer_metrics}, {"pca", answer_pca},
                {"ridge", answer_ridge}, {"gp", answer_gp},
                {"fcm", answer_fcm}};

int main(void)
{
    char name[16];
    while (scanf("%15s", name) == 1) {
        size_t i = 0;
        while (i < LEN(requests) && strcmp(name, requests[i].name) != 0)
            i++;
        if (i == LEN(requests)) {
            printf("no request '%s'\n", name);
            return 1;
        }
        requests[i].answer();
        putchar('\n');
    }
    return 0;
}
