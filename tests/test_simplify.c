/* Passes simplify, hwc and flops on graphs that a case file cannot show: long
 * chains, sharing, and what must not depend on the order of writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ir/text.h"
#include "passes/passes.h"

static const cg_dim image[4] = {1, 8, 4, 4};

static cg_value *input(cg_graph *g, const char *name)
{
    return cg_value_input(g, g->main, name,
                          cg_type_tensor(g, CG_F32, 4, image));
}

static cg_value *node(cg_graph *g, cg_op op, cg_value *a, cg_value *b)
{
    cg_value *in[2] = {a, b};
    return cg_node_new(g, g->main, op, NULL, in, b ? 2 : 1, NULL, 1)->out[0];
}

static cg_value *scalar(cg_graph *g, double x)
{
    cg_data *d = cg_arena_new(&g->arena, cg_data);
    d->n = 1;
    d->f = cg_arena_dup(&g->arena, &x, sizeof x);
    return cg_value_const(g, NULL, cg_type_tensor(g, CG_F32, 0, NULL), d);
}

static cg_value *weight(cg_graph *g, int rank, const cg_dim *dims)
{
    cg_value *v = cg_value_const(g, NULL,
                                 cg_type_tensor(g, CG_F32, rank, dims), NULL);
    v->is_weight = true;
    return v;
}

static void output(cg_graph *g, cg_value *v)
{
    cg_array_push(&g->main->outputs, v);
}

static void simplify(cg_graph *g)
{
    if (cg_run_passes(g, CG_HAS(simplify) | CG_HAS(flops), NULL) != CG_OK)
        fail_msg("%s", cg_error());
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Adds, movement and activations, 10^5 of them: no recursion, no step that
 * looks at all before it. The limit is far above what a slow machine needs
 * and far below what quadratic work takes. */
static void long_chain(cg_graph *g, const cg_op *ops, size_t n_ops)
{
    cg_value *x = input(g, "x"), *y = x;
    for (int i = 0; i < 100000; i++) {
        cg_op op = ops[(size_t)i % n_ops];
        bool two = cg_op_table[op].class == CG_CLASS_ELEMENTWISE;
        y = node(g, op, y, two ? x : NULL);
        if (op == CG_OP_TRANSPOSE)
            cg_attr_set_ints(g, y->def, "perm", (int64_t[]){0, 1, 3, 2}, 4);
    }
    output(g, y);
}

static void test_chains(void **state)
{
    (void)state;
    static const cg_op adds[] = {CG_OP_ADD};
    static const cg_op moves[] = {CG_OP_TRANSPOSE, CG_OP_RELU, CG_OP_TRANSPOSE,
                                  CG_OP_TANH};
    static const cg_op muls[] = {CG_OP_MUL, CG_OP_SIGMOID};
    static const struct {
        const cg_op *ops;
        size_t n, nodes;
    } cases[] = {{adds, 1, 1}, {moves, 4, 50000}, {muls, 2, 100000}};
    for (size_t i = 0; i < 3; i++) {
        cg_graph *g = cg_graph_new("chain");
        long_chain(g, cases[i].ops, cases[i].n);
        double start = seconds();
        simplify(g);
        assert_true(seconds() - start < 10);
        assert_int_equal(g->main->nodes.len, cases[i].nodes);
        cg_graph_free(g);
    }
}

/* 10^5 operators that differ in an attribute only. */
static void test_many_alike(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("fan");
    cg_value *x = input(g, "x");
    for (int i = 0; i < 100000; i++) {
        cg_value *y = node(g, CG_OP_LEAKY_RELU, x, NULL);
        cg_attr_set_float(g, y->def, "alpha", i);
        output(g, y);
    }
    double start = seconds();
    simplify(g);
    assert_true(seconds() - start < 10);
    assert_int_equal(g->main->nodes.len, 100000);
    cg_graph_free(g);
}

/* All spellings of x * ReLU6(x + 3) / 6 are one operator. */
static cg_value *hard_swish(cg_graph *g, cg_value *x, unsigned how)
{
    cg_value *three = scalar(g, 3), *six = scalar(g, 6);
    cg_value *a = how & 1 ? node(g, CG_OP_ADD, x, three)
                          : node(g, CG_OP_ADD, three, x);
    cg_value *r;
    if (how & 2) {
        cg_value *in[3] = {a, scalar(g, 0), six};
        r = cg_node_new(g, g->main, CG_OP_CLIP, NULL, in, 3, NULL, 1)->out[0];
    } else {
        r = node(g, CG_OP_MIN, six, node(g, CG_OP_RELU, a, NULL));
    }
    cg_op by = how & 4 ? CG_OP_DIV : CG_OP_MUL;
    cg_value *sixth = how & 4 ? six : scalar(g, 1.0 / 6);
    if (how & 8)
        return node(g, CG_OP_MUL, x, node(g, by, r, sixth));
    if (how & 16)
        return node(g, by, node(g, CG_OP_MUL, r, x), sixth);
    return node(g, CG_OP_MUL, node(g, by, x, sixth), r);
}

static void test_hard_swish(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 32; how++) {
        cg_graph *g = cg_graph_new("hard swish");
        cg_value *x = node(g, CG_OP_TANH, input(g, "x"), NULL);
        output(g, hard_swish(g, x, how));
        simplify(g);
        assert_int_equal(g->main->nodes.len, 2);
        assert_int_equal(g->main->nodes.data[1]->op, CG_OP_HARDSWISH);
        cg_graph_free(g);
    }
}

/* A weight that two layers share counts once; the layers stay two. */
static void test_shared_weight(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("shared");
    cg_value *w = weight(g, 4, (cg_dim[]){8, 8, 1, 1});
    cg_value *a = node(g, CG_OP_CONV, input(g, "a"), w);
    cg_value *b = node(g, CG_OP_CONV, input(g, "b"), w);
    output(g, node(g, CG_OP_SUB, a, b));
    simplify(g);
    assert_int_equal(g->main->nodes.len, 3);
    assert_int_equal(g->params, 64);
    assert_int_equal(g->macs, 2 * 8 * 16 * 8);
    cg_graph_free(g);
}

/* Sizes beyond 64 bits become symbols, not wrong numbers. */
static void test_overflow(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("huge");
    cg_dim big = INT64_C(3000000000);
    cg_value *x = cg_value_input(
        g, g->main, "x",
        cg_type_tensor(g, CG_F32, 2, (cg_dim[]){big, big}));
    cg_value *w = weight(g, 2, (cg_dim[]){big, big});
    output(g, node(g, CG_OP_MATMUL, x, w));
    simplify(g);
    assert_false(cg_dim_known(g->macs));
    cg_graph_free(g);
}

/* Passes that have run do not run again; a second simplify changes nothing. */
static void test_idempotent(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("twice");
    cg_value *x = input(g, "x");
    cg_value *s = node(g, CG_OP_MUL, x, node(g, CG_OP_SIGMOID, x, NULL));
    output(g, node(g, CG_OP_ADD, s, node(g, CG_OP_ADD, x, s)));
    simplify(g);
    assert_int_equal(g->main->nodes.len, 2);
    assert_int_equal(g->main->nodes.data[1]->n_in, 3);
    assert_int_equal(cg_pass_simplify(g), CG_OK);
    assert_int_equal(g->main->nodes.len, 2);
    assert_int_equal(g->main->nodes.data[1]->n_in, 3);
    cg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_many_alike),
        cmocka_unit_test(test_hard_swish),
        cmocka_unit_test(test_shared_weight),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
