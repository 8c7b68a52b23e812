/* Every layer's way back against finite differences: runtime/layers.def names
 * them, and the seeds of those with ReLU keep clear of its kink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/lab.h"

#define V(i) lab_var(l, i)

/* n numbers uniform in +-1 */
static const float *numbers(lab *l, size_t n, uint64_t stream)
{
    float *x = cg_xcalloc(n, sizeof *x);
    cg_rng r = cg_rng_make(7, stream);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(2 * cg_rng_uniform(&r) - 1);
    const float *p = lab_put(l, x, n * sizeof *x);
    cg_xfree(x);
    return p;
}

static void check(void **state, const lab_probe *p)
{
    lab_check(*state, p);
}

/* -- linear --------------------------------------------------------------- */

static cg_var *linear_relu(lab *l, cg_tape *t)
{
    return cg_tape_linear(t, V(0), V(1), V(2), CG_ACT_RELU);
}

static cg_var *linear_plain(lab *l, cg_tape *t)
{
    return cg_tape_linear(t, V(0), V(1), NULL, CG_ACT_NONE);
}

/* of some columns, through another shape, and x is read twice */
static cg_var *linear_views(lab *l, cg_tape *t)
{
    cg_var *y = cg_tape_linear(t, cg_tape_columns(t, V(0), 1, 5), V(1), V(2),
                               CG_ACT_NONE);
    y = cg_tape_linear(t, cg_tape_reshape(t, y, 9, 7), V(3), NULL, CG_ACT_NONE);
    cg_var *z = cg_tape_linear(t, cg_tape_columns(t, V(0), 0, 3), V(4), NULL,
                               CG_ACT_NONE);
    return cg_tape_concat(t, cg_tape_reshape(t, y, 7, 9), z);
}

static void grad_linear(void **state)
{
    check(state, &(lab_probe){ linear_relu, { { 7, 5 }, { 5, 9 }, { 1, 9 } },
                               .h = 2e-3f, .tol = 3e-4, .seed = 1 });
    check(state, &(lab_probe){ linear_plain, { { 3, 11 }, { 11, 1 } },
                               .h = .25f, .tol = 3e-6 });
    check(state, &(lab_probe){ linear_views,
        { { 7, 7 }, { 5, 9 }, { 1, 9 }, { 7, 7 }, { 3, 3 } },
        .h = .25f, .tol = 3e-6 });
}

/* -- propagate ------------------------------------------------------------ */

static cg_var *propagate(lab *l, cg_tape *t)
{
    return cg_tape_propagate(t, &l->sparse, V(0), V(1), CG_ACT_RELU);
}

static cg_var *propagate_twice(lab *l, cg_tape *t)
{
    cg_var *x = cg_tape_columns(t, V(0), 2, 3);
    cg_var *y = cg_tape_propagate(t, &l->sparse, x, NULL, CG_ACT_NONE);
    return cg_tape_concat(t, y, cg_tape_propagate(t, &l->sparse, V(0), NULL,
                                                  CG_ACT_NONE));
}

static void grad_propagate(void **state)
{
    /* a row and a column without entries */
    static const float with_values[5 * 7] = {
        .5f, 0, 0, 2, 0, 0, 0, /**/ 0, 0, 0, 0, 0, 0, 0,
        0, 1, 3, 0, 0, 0, .25f, /**/ 1, 1, 1, 1, 0, 1, 1,
        0, 0, 0, -1, 0, 0, 0,
    };
    static const float ones[3 * 7] = {
        0, 1, 0, 1, 0, 1, 1, /**/ 1, 0, 0, 1, 0, 0, 0, /**/ 0, 0, 1, 1, 0, 1, 0,
    };
    lab *l = *state;
    l->sparse = lab_sparse(l, 5, 7, with_values, false);
    check(state, &(lab_probe){ propagate, { { 7, 9 }, { 1, 9 } }, .h = 2e-3f,
                               .tol = 3e-4, .seed = 1 });
    l->sparse = lab_sparse(l, 3, 7, ones, true);
    check(state, &(lab_probe){ propagate_twice, { { 7, 5 } }, .h = .25f,
                               .tol = 3e-6 });
}

/* -- rows ----------------------------------------------------------------- */

static cg_var *layernorm(lab *l, cg_tape *t)
{
    return cg_tape_layernorm(t, V(0), V(1), V(2));
}

/* x has a gradient from another reader first */
static cg_var *layernorm_residual(lab *l, cg_tape *t)
{
    return cg_tape_add(t, cg_tape_layernorm(t, V(0), V(1), V(2)), V(0));
}

static cg_var *layernorm_fixed(lab *l, cg_tape *t)
{
    cg_var *x = cg_tape_input(t, l->constant, 5, 7);
    return cg_tape_layernorm(t, x, V(0), V(1));
}

static void grad_layernorm(void **state)
{
    lab *l = *state;
    check(state, &(lab_probe){ layernorm, { { 5, 7 }, { 1, 7 }, { 1, 7 } },
                               .h = .02f, .tol = 3e-4 });
    check(state, &(lab_probe){ layernorm_residual,
        { { 3, 33 }, { 1, 33 }, { 1, 33 } }, .h = .02f, .tol = 3e-4 });
    l->constant = numbers(l, 35, 1);
    check(state, &(lab_probe){ layernorm_fixed, { { 1, 7 }, { 1, 7 } },
                               .h = .25f, .tol = 3e-6 });
}

static cg_var *dropout(lab *l, cg_tape *t)
{
    return cg_tape_dropout(t, cg_tape_columns(t, V(0), 1, 9), .3f);
}

static cg_var *dropout_twice(lab *l, cg_tape *t)
{
    return cg_tape_add(t, cg_tape_dropout(t, V(0), .5f),
                       cg_tape_dropout(t, V(0), .25f));
}

static void grad_dropout(void **state)
{
    check(state, &(lab_probe){ dropout, { { 7, 11 } }, .h = .25f,
                               .tol = 3e-6 });
    check(state, &(lab_probe){ dropout_twice, { { 5, 9 } }, .h = .25f,
                               .tol = 3e-6 });
}

static cg_var *l2norm(lab *l, cg_tape *t)
{
    return cg_tape_l2norm(t, V(0));
}

static cg_var *l2norm_residual(lab *l, cg_tape *t)
{
    cg_var *x = cg_tape_columns(t, V(0), 0, 5);
    return cg_tape_add(t, x, cg_tape_l2norm(t, x));
}

static void grad_l2norm(void **state)
{
    check(state, &(lab_probe){ l2norm, { { 7, 5 } }, .h = .02f, .tol = 3e-4 });
    check(state, &(lab_probe){ l2norm_residual, { { 5, 7 } }, .h = .02f,
                               .tol = 3e-4 });
}

/* -- attention ------------------------------------------------------------ */

static cg_csr gather; /* of l->groups */

static cg_var *attention(lab *l, cg_tape *t)
{
    return cg_tape_attention(t, &l->groups, &gather, V(0), 2, 0);
}

static cg_var *attention_dropout(lab *l, cg_tape *t)
{
    return cg_tape_attention(t, &l->groups, &gather, V(0), 1, .25f);
}

/* rows of qkv have another reader */
static cg_var *attention_residual(lab *l, cg_tape *t)
{
    cg_var *y = cg_tape_attention(t, &l->groups, &gather, V(0), 1, 0);
    cg_var *x = cg_tape_propagate(t, &gather, V(0), NULL, CG_ACT_NONE);
    return cg_tape_add(t, y, cg_tape_columns(t, x, 3, 5));
}

static void grad_attention(void **state)
{
    static const int size[] = { 3, 1, 5 };
    static const int32_t row[] = { 0, 3, 5, /**/ 3, /**/ 6, 5, 1, 0, 2 };
    static const float count[] = { 1, 4, 2, /**/ 3, /**/ 1, 1, 7, 2, 1 };
    lab *l = *state;
    l->groups = lab_groups(l, 3, size, row, count, 7, &gather);
    check(state, &(lab_probe){ attention, { { 7, 18 } }, .h = .02f,
                               .tol = 3e-4 });
    check(state, &(lab_probe){ attention_dropout, { { 7, 15 } }, .h = .02f,
                               .tol = 3e-4 });
    check(state, &(lab_probe){ attention_residual, { { 7, 15 } }, .h = .02f,
                               .tol = 3e-4 });
}

/* -- two into one --------------------------------------------------------- */

static cg_var *add(lab *l, cg_tape *t)
{
    return cg_tape_add(t, V(0), cg_tape_columns(t, V(1), 2, 5));
}

static cg_var *add_itself(lab *l, cg_tape *t)
{
    cg_var *y = cg_tape_add(t, V(0), V(0));
    return cg_tape_add(t, y, V(0));
}

static void grad_add(void **state)
{
    check(state, &(lab_probe){ add, { { 3, 5 }, { 3, 9 } }, .h = .25f,
                               .tol = 3e-6 });
    check(state, &(lab_probe){ add_itself, { { 3, 5 } }, .h = .25f,
                               .tol = 3e-6 });
}

static cg_var *concat(lab *l, cg_tape *t)
{
    return cg_tape_concat(t, V(0),
                          cg_tape_concat(t, V(1),
                                         cg_tape_columns(t, V(0), 1, 3)));
}

static void grad_concat(void **state)
{
    check(state, &(lab_probe){ concat, { { 3, 5 }, { 3, 7 } }, .h = .25f,
                               .tol = 3e-6 });
}

/* -- ensembles ------------------------------------------------------------ */

static cg_var *heads_own(lab *l, cg_tape *t)
{
    return cg_tape_heads(t, 3, false, V(0), V(1), V(2), CG_ACT_RELU);
}

static cg_var *heads_shared(lab *l, cg_tape *t)
{
    return cg_tape_heads(t, 3, true, V(0), V(1), V(2), CG_ACT_RELU);
}

static cg_var *heads_columns(lab *l, cg_tape *t)
{
    cg_var *x = cg_tape_columns(t, V(0), 1, 5);
    return cg_tape_add(t, cg_tape_heads(t, 3, true, x, V(1), NULL, CG_ACT_NONE),
                       cg_tape_heads(t, 3, true, x, V(2), NULL, CG_ACT_NONE));
}

static void grad_heads(void **state)
{
    check(state, &(lab_probe){ heads_own, { { 9, 5 }, { 15, 7 }, { 3, 7 } },
                               .h = 2e-3f, .tol = 3e-4, .seed = 2 });
    check(state, &(lab_probe){ heads_shared, { { 3, 5 }, { 15, 7 }, { 3, 7 } },
                               .h = 2e-3f, .tol = 3e-4, .seed = 1 });
    check(state, &(lab_probe){ heads_columns,
        { { 3, 7 }, { 15, 7 }, { 15, 7 } }, .h = .25f, .tol = 3e-6 });
}

static cg_var *mix(lab *l, cg_tape *t)
{
    return cg_tape_mix(t, cg_tape_input(t, l->constant, 7, 3), V(0));
}

static void grad_mix(void **state)
{
    lab *l = *state;
    l->constant = numbers(l, 21, 2);
    check(state, &(lab_probe){ mix, { { 21, 5 } }, .h = .25f, .tol = 3e-6 });
    check(state, &(lab_probe){ mix, { { 21, 1 } }, .h = .25f, .tol = 3e-6 });
}

/* -- losses --------------------------------------------------------------- */

/* Two weights, and y is also passed on: the loss adds to a gradient. */
#define LOSS(name, ...)                                                       \
    static cg_var *name(lab *l, cg_tape *t)                                   \
    {                                                                         \
        cg_tape_##name(t, V(0), l->constant, __VA_ARGS__);                    \
        cg_tape_mse(t, V(0), l->constant, .5f);                               \
        return NULL;                                                          \
    }                                                                         \
    static cg_var *name##_alone(lab *l, cg_tape *t)                           \
    {                                                                         \
        cg_tape_##name(t, V(0), l->constant, __VA_ARGS__);                    \
        return NULL;                                                          \
    }
LOSS(mse, 3)
LOSS(huber, .3f, 3)
LOSS(logistic, 3)
#undef LOSS

static void check_loss(void **state, lab_run *alone, lab_run *added)
{
    static const float target[] = { .5f, 0, 1, .5f, .25f, .125f, .75f, 1, 0 };
    lab *l = *state;
    l->constant = lab_put(l, target, sizeof target);
    check(state, &(lab_probe){ alone, { { 9, 1 } }, .h = .01f, .tol = 3e-4,
                               .seed = 1 });
    check(state, &(lab_probe){ added, { { 9, 1 } }, .h = .01f, .tol = 3e-4,
                               .seed = 1 });
}

static void grad_mse(void **state)
{
    check_loss(state, mse_alone, mse);
}

static void grad_huber(void **state)
{
    check_loss(state, huber_alone, huber);
}

static void grad_logistic(void **state)
{
    check_loss(state, logistic_alone, logistic);
}

static cg_var *contrast(lab *l, cg_tape *t)
{
    cg_tape_contrast(t, V(0), l->constant, .5f, 3);
    return NULL;
}

static cg_var *contrast_unit(lab *l, cg_tape *t)
{
    cg_tape_contrast(t, cg_tape_l2norm(t, V(0)), l->constant, .2f, 3);
    return NULL;
}

static void grad_contrast(void **state)
{
    enum { N = 6 };
    float alpha[N][N];
    cg_rng r = cg_rng_make(3, 0);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = 0; j < N; j++) {
            alpha[i][j] = i == j ? 0 : (float)cg_rng_uniform(&r);
            sum += (double)alpha[i][j];
        }
        for (int j = 0; j < N; j++)
            alpha[i][j] = (float)((double)alpha[i][j] / sum);
    }
    lab *l = *state;
    l->constant = lab_put(l, alpha, sizeof alpha);
    check(state, &(lab_probe){ contrast, { { N, 5 } }, .h = .02f,
                               .tol = 3e-4 });
    check(state, &(lab_probe){ contrast_unit, { { N, 5 } }, .h = .02f,
                               .tol = 3e-4 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CG_LAYER(name) cmocka_unit_test(grad_##name),
#include "runtime/layers.def"
#undef CG_LAYER
    };
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
