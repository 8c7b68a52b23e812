/* What layers compute, where a gradient alone would not tell, and what the tape
 * promises. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lab.h"

#define V(i) lab_var(l, i)

/* -- values --------------------------------------------------------------- */

static void assert_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_float_equal(a[i], b[i], 1e-6);
}

static cg_var *rows_of(cg_tape *t, cg_var *v, int first, int rows)
{
    return cg_tape_input(t, v->x + first * v->ld, rows, v->cols);
}

/* each head is the linear layer of its rows */
static void heads_are_linear_layers(void **state)
{
    lab *l = *state;
    lab_params(l, (int[][2]){ { 9, 5 }, { 15, 7 }, { 3, 7 }, { 0 } }, 4);
    cg_tape *t = &l->tape;
    for (int shared = 0; shared < 2; shared++) {
        lab_begin(l, false, 0);
        cg_var *x = rows_of(t, V(0), 0, shared ? 3 : 9);
        cg_var *y = cg_tape_heads(t, 3, shared, x, V(1), V(2), CG_ACT_RELU);
        for (int j = 0; j < 3; j++) {
            cg_var *own = rows_of(t, x, shared ? 0 : 3 * j, 3);
            cg_var *one = cg_tape_linear(t, own,
                                         rows_of(t, V(1), 5 * j, 5),
                                         rows_of(t, V(2), j, 1), CG_ACT_RELU);
            float *want = lab_get(l, one);
            float *got = lab_get(l, rows_of(t, y, 3 * j, 3));
            assert_same(got, want, 21);
            cg_xfree(want);
            cg_xfree(got);
        }
    }
}

static double softplus(double x)
{
    return log(1 + exp(x));
}

/* what each loss of y and target should be, in the order of the calls below */
static void plain_losses(const float *y, const float *t, int n, double *want)
{
    double mse = 0, huber = 0, logistic = 0;
    for (int i = 0; i < n; i++) {
        double r = (double)y[i] - (double)t[i], a = fabs(r), delta = .25;
        mse += r * r / n;
        huber += (a < delta ? r * r / 2 : delta * (a - delta / 2)) / n;
        logistic += (softplus((double)y[i]) - (double)t[i] * (double)y[i]) / n;
    }
    const double all[] = { mse, huber, logistic };
    memcpy(want, all, sizeof all);
}

static void vector_losses_have_their_values(void **state)
{
    static const float y[] = { .5f, -1, .25f, 2, 0 };
    static const float target[] = { .25f, .75f, .25f, 0, 1 };
    lab *l = *state;
    const float *dev_y = lab_put(l, y, sizeof y);
    const float *dev_t = lab_put(l, target, sizeof target);
    double want[3];
    plain_losses(y, target, 5, want);
    for (int k = 0; k < 3; k++) {
        lab_begin(l, k % 2, 0);
        cg_tape *t = &l->tape;
        cg_var *v = cg_tape_input(t, dev_y, 5, 1);
        if (k == 0)
            cg_tape_mse(t, v, dev_t, 3);
        else if (k == 1)
            cg_tape_huber(t, v, dev_t, .25f, 3);
        else
            cg_tape_logistic(t, v, dev_t, 3);
        cg_tape_mse(t, v, dev_t, 2); /* losses add up */
        float got;
        cg_dev_download(l->dev, &got, t->loss, sizeof got);
        assert_float_equal(got, 3 * want[k] + 2 * want[0], 1e-5);
    }
}

/* Eq. 1 for three points on a line: similarities are products */
static void contrast_has_its_value(void **state)
{
    static const float z[] = { 1, -.5f, .25f };
    static const float alpha[] = { 0, .25f, .75f, .5f, 0, .5f, 1, 0, 0 };
    const double tau = .5;
    lab *l = *state;
    double want = 0;
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int r = 0; r < 3; r++)
            sum += r == i ? 0 : exp((double)(z[i] * z[r]) / tau);
        for (int k = 0; k < 3; k++)
            if (k != i)
                want -= (double)alpha[3 * i + k]
                        * ((double)(z[i] * z[k]) / tau - log(sum)) / 3;
    }
    const float *dev_alpha = lab_put(l, alpha, sizeof alpha);
    const float *dev_z = lab_put(l, z, sizeof z);
    lab_begin(l, false, 0);
    cg_tape_contrast(&l->tape, cg_tape_input(&l->tape, dev_z, 3, 1), dev_alpha,
                     (float)tau, 2);
    float got;
    cg_dev_download(l->dev, &got, l->tape.loss, sizeof got);
    assert_float_equal(got, 2 * want, 1e-5);
}

static void views_show_the_same_elements(void **state)
{
    lab *l = *state;
    lab_params(l, (int[][2]){ { 4, 6 }, { 0 } }, 5);
    lab_begin(l, true, 0);
    float *all = lab_get(l, V(0));
    float *flat = lab_get(l, cg_tape_reshape(&l->tape, V(0), 8, 3));
    float *part = lab_get(l, cg_tape_columns(&l->tape, V(0), 2, 3));
    assert_memory_equal(flat, all, 24 * sizeof *all);
    for (int r = 0; r < 4; r++)
        assert_memory_equal(part + 3 * r, all + 6 * r + 2, 3 * sizeof *all);
    cg_xfree(all);
    cg_xfree(flat);
    cg_xfree(part);
}

/* -- the tape ------------------------------------------------------------- */

static void only_what_has_a_way_back_is_written_down(void **state)
{
    lab *l = *state;
    cg_tape *t = &l->tape;
    lab_params(l, (int[][2]){ { 3, 5 }, { 5, 7 }, { 0 } }, 6);
    lab_begin(l, false, 0);
    cg_var *y = cg_tape_linear(t, V(0), V(1), NULL, CG_ACT_NONE);
    assert_null(y->dx);
    assert_int_equal(t->steps.len, 0);
    assert_ptr_equal(cg_tape_dropout(t, y, .5f), y);
    lab_begin(l, true, 0);
    cg_var *x = cg_tape_dropout(t, cg_tape_input(t, V(0)->x, 3, 5), .5f);
    assert_null(x->dx);
    assert_int_equal(t->steps.len, 0);
    assert_non_null(cg_tape_linear(t, x, V(1), NULL, CG_ACT_NONE)->dx);
    assert_int_equal(t->steps.len, 1);
}

/* what no loss reads has the gradient zero, whatever its memory held */
static void unread_variables_have_no_gradient(void **state)
{
    lab *l = *state;
    cg_tape *t = &l->tape;
    const float zero[3] = { 0 };
    l->constant = lab_put(l, zero, sizeof zero);
    lab_params(l, (int[][2]){ { 3, 5 }, { 5, 7 }, { 3, 1 }, { 0 } }, 7);
    lab_begin(l, true, 0);
    cg_tape_linear(t, V(0), V(1), NULL, CG_ACT_RELU);
    cg_tape_mse(t, V(2), l->constant, 1);
    float *g = lab_backward(l);
    for (size_t i = 0; i < l->params.list.data[2].offset; i++)
        assert_true(g[i] == 0);
    assert_true(g[l->params.list.data[2].offset] != 0);
    cg_xfree(g);
}

static void gradients_add_up_over_tapes(void **state)
{
    lab *l = *state;
    cg_params *p = &l->params;
    lab_params(l, (int[][2]){ { 3, 5 }, { 5, 7 }, { 1, 7 }, { 0 } }, 8);
    float once[16 * 5], twice[16 * 5];
    float dy[21];
    for (int i = 0; i < 21; i++)
        dy[i] = (float)i;
    assert_int_equal(p->n, 16 + 48 + 16);
    for (int k = 0; k < 2; k++) {
        lab_begin(l, true, 0);
        lab_seed(l, cg_tape_linear(&l->tape, V(0), V(1), V(2), CG_ACT_RELU),
                 dy);
        cg_tape_backward(&l->tape);
        cg_dev_download(l->dev, k ? twice : once, p->dx, sizeof once);
    }
    for (size_t i = 0; i < 80; i++)
        assert_float_equal(twice[i], 2 * once[i], 1e-5);
    assert_true(fabsf(once[0]) > 1e-3f);
}

/* A key gives one sequence of masks, which have nothing to do with each other:
 * two of them, p = 1/2, agree in about half of the places. */
static void masks_follow_the_key(void **state)
{
    enum { N = 4096 };
    lab *l = *state;
    float ones[N], y[5][N];
    for (int i = 0; i < N; i++)
        ones[i] = 1;
    const float *x = lab_put(l, ones, sizeof ones);
    const uint64_t key[5] = { 1, 1, 1, 2, 1 };
    for (int k = 0; k < 5; k++) {
        if (k != 1) /* tapes: 0 and 1, 2, 3, 4 */
            lab_begin(l, true, key[k]);
        cg_var *d = cg_tape_dropout(&l->tape, cg_tape_input(&l->tape, x, 1, N),
                                    .5f);
        cg_dev_download(l->dev, y[k], d->x, sizeof y[k]);
    }
    assert_memory_equal(y[0], y[2], sizeof y[0]);
    assert_memory_equal(y[0], y[4], sizeof y[0]);
    for (int k = 1; k < 4; k += 2)
        for (int shift = 0; shift < 2; shift++) {
            int same = 0;
            for (int i = 0; i < N; i++)
                same += y[0][i ^ shift] == y[k][i];
            assert_in_range(same, N / 2 - 200, N / 2 + 200);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_linear_layers),
        cmocka_unit_test(vector_losses_have_their_values),
        cmocka_unit_test(contrast_has_its_value),
        cmocka_unit_test(views_show_the_same_elements),
        cmocka_unit_test(only_what_has_a_way_back_is_written_down),
        cmocka_unit_test(unread_variables_have_no_gradient),
        cmocka_unit_test(gradients_add_up_over_tapes),
        cmocka_unit_test(masks_follow_the_key),
    };
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
