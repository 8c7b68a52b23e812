/* The learner's shortcuts are exact: what is computed once for equal things
 * equals what is computed for each of them, values and gradients. And neither
 * depends on the number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/lab.h"

static float *zeros(int rows, int cols)
{
    return cg_xcalloc((size_t)rows * (size_t)cols, sizeof(float));
}

/* relative to the largest of `want` */
static void assert_near(const float *got, const float *want, size_t n,
                        double tol)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)want[i]));
    assert_true(scale > 1e-3);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tol * scale))
            fail_msg("element %zu: %g instead of %g", i, (double)got[i],
                     (double)want[i]);
}

/* -- attention over distinct tokens --------------------------------------- */

enum { HEADS = 2, DIM = 5, WIDTH = HEADS * DIM, ROWS = 7, TOKENS = 9,
       COPIES = 22 };

static const int size[] = { 3, 1, 5 };
static const int32_t row[TOKENS] = { 0, 3, 5, 3, 6, 5, 1, 0, 2 };
static const float count[TOKENS] = { 1, 4, 2, 3, 1, 1, 7, 2, 1 };

/* each token as often as it counts; of[c]: the token that copy c is of */
static void expand(int *sizes, int32_t *rows, int *of)
{
    int n = 0, token = 0;
    for (int g = 0; g < 3; g++) {
        sizes[g] = 0;
        for (int i = 0; i < size[g]; i++, token++)
            for (int k = 0; k < (int)count[token]; k++, n++, sizes[g]++) {
                rows[n] = row[token];
                of[n] = token;
            }
    }
    assert_int_equal(n, COPIES);
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* plain attention of copy c over copies first .. first + n, one head */
static void plain_attention(const float *qkv, const int32_t *rows, int first,
                            int n, int c, int head, float *y)
{
    const float *q = qkv + rows[c] * 3 * WIDTH + head * DIM;
    double sum = 0, out[DIM] = { 0 };
    for (int j = first; j < first + n; j++) {
        const float *k = qkv + rows[j] * 3 * WIDTH + WIDTH + head * DIM;
        double e = exp(dot(q, k) / sqrt(DIM));
        sum += e;
        for (int i = 0; i < DIM; i++)
            out[i] += e * (double)k[WIDTH + i];
    }
    for (int i = 0; i < DIM; i++)
        y[head * DIM + i] = (float)(out[i] / sum);
}

/* y (tokens, WIDTH) and the gradient of qkv from dy */
static void attend(lab *l, int tokens, const int *sizes, const int32_t *rows,
                   const float *counts, const float *dy, float **y, float **g)
{
    cg_csr gather;
    cg_groups groups = lab_groups(l, 3, sizes, rows, counts, ROWS, &gather);
    lab_begin(l, true, 0);
    cg_var *out = cg_tape_attention(&l->tape, &groups, &gather, lab_var(l, 0),
                                    HEADS, 0);
    assert_int_equal(out->rows, tokens);
    *y = lab_get(l, out);
    lab_seed(l, out, dy);
    *g = lab_backward(l);
}

static void tokens_stand_for_their_copies(void **state)
{
    lab *l = *state;
    lab_params(l, (int[][2]){ { ROWS, 3 * WIDTH }, { 0 } }, 1);
    int sizes[3], of[COPIES];
    int32_t rows[COPIES];
    float ones[COPIES], *dy = zeros(COPIES, WIDTH), *sum = zeros(TOKENS, WIDTH);
    expand(sizes, rows, of);
    for (int c = 0; c < COPIES; c++) {
        ones[c] = 1;
        for (int i = 0; i < WIDTH; i++) {
            dy[c * WIDTH + i] = (float)sin(c * WIDTH + i);
            sum[of[c] * WIDTH + i] += dy[c * WIDTH + i];
        }
    }
    float *y, *g, *y_all, *g_all, *plain = zeros(COPIES, WIDTH);
    attend(l, TOKENS, size, row, count, sum, &y, &g);
    attend(l, COPIES, sizes, rows, ones, dy, &y_all, &g_all);
    assert_near(g, g_all, ROWS * 3 * WIDTH, 1e-5);

    float *qkv = lab_get(l, lab_var(l, 0));
    for (int c = 0, k = 0, first = 0; c < COPIES; c++) {
        if (c == first + sizes[k])
            first += sizes[k++];
        for (int head = 0; head < HEADS; head++)
            plain_attention(qkv, rows, first, sizes[k], c, head,
                            plain + c * WIDTH);
        assert_near(y + of[c] * WIDTH, plain + c * WIDTH, WIDTH, 1e-5);
    }
    assert_near(y_all, plain, COPIES * WIDTH, 1e-5);
    float *const all[] = { dy, sum, y, g, y_all, g_all, plain, qkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cg_xfree(all[i]);
}

/* -- message passing by colours ------------------------------------------- */

enum { NODES = 40, ROUNDS = 3, IN = 5, OUT = 7, KINDS = 3 };

typedef struct dag {
    int n_pred[NODES], pred[NODES][3];
    int colour[ROUNDS + 1][NODES], n_colours[ROUNDS + 1];
} dag;

static void make_dag(dag *g)
{
    cg_rng r = cg_rng_make(11, 0);
    for (int v = 0; v < NODES; v++) {
        g->colour[0][v] = v < KINDS ? v : (int)cg_rng_below(&r, KINDS);
        g->n_pred[v] = v == 0 ? 0 : (int)cg_rng_below(&r, 3);
        for (int k = 0; k < g->n_pred[v]; k++) /* one may come twice */
            g->pred[v][k] = (int)cg_rng_below(&r, (uint32_t)v);
    }
    g->n_colours[0] = KINDS;
}

static int times(const dag *g, int r, int v, int colour)
{
    int n = 0;
    for (int k = 0; k < g->n_pred[v]; k++)
        n += g->colour[r][g->pred[v][k]] == colour;
    return n;
}

static bool alike(const dag *g, int r, int v, int u)
{
    bool same = g->colour[r][v] == g->colour[r][u];
    for (int c = 0; c < g->n_colours[r]; c++)
        same &= times(g, r, v, c) == times(g, r, u, c);
    return same;
}

/* Weisfeiler-Leman; or every node has its own colour */
static void refine(dag *g, bool apart)
{
    for (int r = 0; r < ROUNDS; r++) {
        int *n = &g->n_colours[r + 1];
        *n = 0;
        for (int v = 0; v < NODES; v++) {
            int u = 0;
            while (u < v && (apart || !alike(g, r, v, u)))
                u++;
            g->colour[r + 1][v] = u < v ? g->colour[r + 1][u] : (*n)++;
        }
    }
}

static void set_apart(dag *g)
{
    for (int v = 0; v < NODES; v++)
        g->colour[0][v] = v;
    g->n_colours[0] = NODES;
    refine(g, true);
}

/* (colours of round r + 1, 2 colours of round r): itself on the left half of
 * x [W1 | W2], its in-neighbours on the right ones */
static cg_csr message(lab *l, const dag *g, int r)
{
    int rows = g->n_colours[r + 1], cols = 2 * g->n_colours[r];
    float *m = zeros(rows, cols);
    for (int v = NODES; v-- > 0;) { /* a colour's first node comes last */
        float *to = m + g->colour[r + 1][v] * cols;
        memset(to, 0, (size_t)cols * sizeof *to);
        to[2 * g->colour[r][v]] = 1;
        for (int k = 0; k < g->n_pred[v]; k++)
            to[2 * g->colour[r][g->pred[v][k]] + 1] += 1;
    }
    cg_csr s = lab_sparse(l, rows, cols, m, false);
    cg_xfree(m);
    return s;
}

/* States of all nodes after the last round, and the gradient of the weights
 * for the sum of dy (NODES, OUT) times them. Parameters: a pair for each
 * round. */
static void run_gnn(lab *l, const dag *g, const float *kinds, const int *kind,
                    const float *dy, float *h, float **gradient)
{
    float *x0 = zeros(g->n_colours[0], IN);
    for (int v = 0; v < NODES; v++)
        memcpy(x0 + g->colour[0][v] * IN, kinds + kind[v] * IN,
               IN * sizeof *x0);
    const float *dev = lab_put(l, x0, (size_t)g->n_colours[0] * IN
                                          * sizeof *x0);
    cg_csr m[ROUNDS];
    lab_begin(l, true, 0);
    cg_tape *t = &l->tape;
    cg_var *x = cg_tape_input(t, dev, g->n_colours[0], IN);
    for (int r = 0; r < ROUNDS; r++) {
        m[r] = message(l, g, r);
        cg_var *z = cg_tape_linear(t, x, lab_var(l, (size_t)(2 * r)), NULL,
                                   CG_ACT_NONE);
        z = cg_tape_reshape(t, z, 2 * z->rows, OUT);
        x = cg_tape_propagate(t, &m[r], z, lab_var(l, (size_t)(2 * r + 1)),
                              CG_ACT_RELU);
    }
    float *states = lab_get(l, x), *sum = zeros(x->rows, OUT);
    for (int v = 0; v < NODES; v++)
        for (int i = 0; i < OUT; i++) {
            int c = g->colour[ROUNDS][v] * OUT + i;
            h[v * OUT + i] = states[c];
            sum[c] += dy[v * OUT + i];
        }
    lab_seed(l, x, sum);
    *gradient = lab_backward(l);
    cg_xfree(x0);
    cg_xfree(states);
    cg_xfree(sum);
}

/* y = x_v W1 + (sum over in-neighbours x_u) W2 + b for one node; x (n, in), w
 * (in, 2 OUT) */
static void plain_node(const dag *g, const float *x, int in, const float *w,
                       const float *b, int v, float *y)
{
    for (int c = 0; c < OUT; c++) {
        double sum = (double)b[c];
        for (int i = 0; i < in; i++) {
            double near = 0;
            for (int k = 0; k < g->n_pred[v]; k++)
                near += (double)x[g->pred[v][k] * in + i];
            sum += (double)x[v * in + i] * (double)w[i * 2 * OUT + c]
                   + near * (double)w[i * 2 * OUT + OUT + c];
        }
        y[c] = (float)fmax(sum, 0);
    }
}

static void plain_gnn(lab *l, const dag *g, const float *kinds,
                      const int *kind, float *h)
{
    float x[NODES * OUT], y[NODES * OUT];
    for (int v = 0; v < NODES; v++)
        memcpy(x + v * IN, kinds + kind[v] * IN, IN * sizeof *x);
    for (int r = 0; r < ROUNDS; r++) {
        float *w = lab_get(l, lab_var(l, (size_t)(2 * r)));
        float *b = lab_get(l, lab_var(l, (size_t)(2 * r + 1)));
        for (int v = 0; v < NODES; v++)
            plain_node(g, x, r ? OUT : IN, w, b, v, y + v * OUT);
        memcpy(x, y, sizeof y);
        cg_xfree(w);
        cg_xfree(b);
    }
    memcpy(h, x, sizeof x);
}

static void colours_stand_for_their_nodes(void **state)
{
    lab *l = *state;
    lab_params(l, (int[][2]){ { IN, 2 * OUT }, { 1, OUT }, { OUT, 2 * OUT },
                              { 1, OUT }, { OUT, 2 * OUT }, { 1, OUT } }, 2);
    float kinds[KINDS * IN], dy[NODES * OUT];
    for (int i = 0; i < KINDS * IN; i++)
        kinds[i] = (float)cos(i);
    for (int i = 0; i < NODES * OUT; i++)
        dy[i] = (float)sin(i);
    static dag g, own;
    make_dag(&g);
    int kind[NODES];
    memcpy(kind, g.colour[0], sizeof kind);
    own = g;
    set_apart(&own);
    refine(&g, false);
    assert_in_range(g.n_colours[1], 4, NODES - 10);
    assert_in_range(g.n_colours[ROUNDS], 8, NODES - 2);

    float plain[NODES * OUT], shared[NODES * OUT], each[NODES * OUT];
    float *of_shared, *of_each;
    plain_gnn(l, &own, kinds, kind, plain);
    run_gnn(l, &g, kinds, kind, dy, shared, &of_shared);
    run_gnn(l, &own, kinds, kind, dy, each, &of_each);
    assert_near(shared, plain, NODES * OUT, 1e-5);
    assert_near(each, plain, NODES * OUT, 1e-5);
    for (size_t k = 0; k < l->params.list.len; k++) {
        const cg_param *q = &l->params.list.data[k];
        assert_near(of_shared + q->offset, of_each + q->offset,
                    (size_t)q->var.rows * (size_t)q->var.cols, 1e-5);
    }
    cg_xfree(of_shared);
    cg_xfree(of_each);
}

/* -- threads -------------------------------------------------------------- */

enum { BIG = 3001, VIEWS = 260 };

static void put_all(lab *l, int threads, float **gradient, float *loss)
{
    static float m[VIEWS * 2 * 700], alpha[VIEWS * VIEWS], x[BIG * 33];
    lab_open(l, threads);
    lab_params(l, (int[][2]){ { 33, 64 }, { 1, 64 }, { 1, 64 }, { 1, 64 },
                              { 32, 96 }, { 1, 96 } }, 3);
    for (int i = 0; i < BIG * 33; i++)
        x[i] = (float)sin(.37 * i);
    for (int i = 0; i < VIEWS * VIEWS; i++)
        alpha[i] = i % (VIEWS + 1) ? 1.f / (VIEWS - 1) : 0;
    for (int i = 0; i < VIEWS * 2 * 700; i++)
        m[i] = i % 13 == i % 7 ? (float)cos(i) : 0;
    const float *dev_x = lab_put(l, x, sizeof x);
    const float *dev_alpha = lab_put(l, alpha, sizeof alpha);
    cg_csr s = lab_sparse(l, VIEWS, 2 * 700, m, false);
    int32_t rows[2 * 700];
    float counts[2 * 700];
    int sizes[35];
    for (int i = 0; i < 2 * 700; i++) {
        rows[i] = i * 11 % (2 * BIG);
        counts[i] = (float)(i % 3 + 1);
        sizes[i % 35] = 40;
    }
    cg_csr gather;
    cg_groups g = lab_groups(l, 35, sizes, rows, counts, 2 * BIG, &gather);

    lab_begin(l, true, 4);
    cg_tape *t = &l->tape;
    cg_var *h = cg_tape_input(t, dev_x, BIG, 33);
    h = cg_tape_linear(t, h, lab_var(l, 0), lab_var(l, 1), CG_ACT_RELU);
    h = cg_tape_layernorm(t, h, lab_var(l, 2), lab_var(l, 3));
    h = cg_tape_reshape(t, cg_tape_dropout(t, h, .1f), 2 * BIG, 32);
    h = cg_tape_linear(t, h, lab_var(l, 4), lab_var(l, 5), CG_ACT_NONE);
    h = cg_tape_attention(t, &g, &gather, h, 2, .1f);
    h = cg_tape_l2norm(t, cg_tape_propagate(t, &s, h, NULL, CG_ACT_NONE));
    cg_tape_contrast(t, h, dev_alpha, .05f, 1);
    cg_dev_download(l->dev, loss, t->loss, sizeof *loss);
    *gradient = lab_backward(l);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    lab one, more;
    float *g1, *g2, loss1, loss2;
    put_all(&one, 1, &g1, &loss1);
    for (int threads = 2; threads < 4; threads++) {
        put_all(&more, threads, &g2, &loss2);
        assert_memory_equal(&loss1, &loss2, sizeof loss1);
        assert_true(isfinite(loss1) && loss1 > 0);
        assert_memory_equal(g1, g2, one.params.n * sizeof *g1);
        for (size_t k = 0; k < one.params.list.len; k++)
            assert_true(g1[one.params.list.data[k].offset] != 0);
        cg_xfree(g2);
        lab_close(&more);
    }
    cg_xfree(g1);
    lab_close(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tokens_stand_for_their_copies,
                                        lab_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(colours_stand_for_their_nodes,
                                        lab_setup, lab_teardown),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
