/* Symbolic dimensions: normal forms by example, and random expressions against
 * plain arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"

static cg_dim read(cg_graph *g, const char *text)
{
    cg_dim d = -1;
    const char *end = cg_dim_parse(g, text, &d);
    if (!end || *end)
        fail_msg("'%s' does not parse", text);
    return d;
}

static void test_normal_forms(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"seq*batch", "batch*seq"},
        {"1+seq", "seq+1"},
        {"(h+1)//2", "(h+1)//2"},
        {"(h-1)//2+1", "(h+1)//2"},
        {"-3+h*2", "2*h-3"},
        {"a*b//b", "a"},
        {"(2*h+4)//2", "h+2"},
        {"(2*h+3)//2", "h+1"},
        {"(x//2)//2", "x//4"},
        {"((h+1)//2+1)//2", "(h+3)//4"},
        {"(6*x+5)//6", "x"},
        {"(6*x+3*y)//6", "x+y//2"},
        {"(4*x+2)//8", "x//2"},
        {"(4*x+4)//8", "(x+1)//2"},
        {"2*a*b//(4*a*c)", "b//(2*c)"},
        {"h*w//(h*w)", "1"},
        {"(h*w+w)//w", "h+1"},
        {"a*(b+1)//(b+1)", "a"},
        {"(a*b+3)//a", "b+3//a"},
        {"h-2*(h//2)", "h-2*(h//2)"},
        {"-(h//2)", "-(h//2)"},
        {"-h//2", "(-h)//2"},
        {"3-h//2", "-(h//2)+3"},
        {"w-h//2", "w-h//2"},
        {"max(h,0)", "h"},
        {"max(1,h)", "max(h,1)"},
        {"max(b,a)", "max(a,b)"},
        {"max(h+1,h)", "h+1"},
        {"min(h,2147483647)", "h"},
        {"min(h//2,h)", "h//2"},
        {"min(max(h,1),0)", "0"},
        {"max(max(h,1),1)", "max(h,1)"},
        {"?/Non_Zero.2+1", "?/Non_Zero.2+1"},
        {"?n*h", "h*?n"},
        {"`two words`*2", "2*`two words`"},
        {"`a//b`//2", "`a//b`//2"},
        {"a/b//2", "a/b//2"},
        {"?`x\\`y`", "?`x\\`y`"},
        {"h*h*2-h*h", "h*h"},
        {"(h+w)*(h-w)", "h*h-w*w"},
        {"0*h+7", "7"},
        {"max", "max"},
        {"h%2", NULL},
        {"h//0", NULL},
        {"(h", NULL},
        {"9223372036854775808", NULL},
        {"", NULL},
        {"h+", NULL},
        {"max(h)", NULL},
        {"`x", NULL},
        {"?", NULL},
    };
    cg_graph *g = cg_graph_new("t");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cg_dim d = -1;
        const char *end = cg_dim_parse(g, cases[i][0], &d);
        if (!cases[i][1]) {
            if (end && !*end)
                fail_msg("'%s' should not parse", cases[i][0]);
            continue;
        }
        assert_non_null(end);
        assert_string_equal(cg_dim_str(g, d), cases[i][1]);
        assert_int_equal(read(g, cases[i][1]), d);
    }
    cg_graph_free(g);
}

static void test_divides(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"N*4*H*W", "4*H", "N*W"},   {"h*w+w", "w", "h+1"},
        {"a*(b+1)", "b+1", "a"},     {"(a+b)*(a-b)", "a+b", "a-b"},
        {"(a+1)*(b+2)", "b+2", "a+1"}, {"12", "4", "3"},
        {"0", "h", "0"},             {"h", "h", "1"},
        {"2*(h//2)", "h//2", "2"},   {"h*w+1", "w", NULL},
        {"3*h", "2", NULL},          {"h", "2*h", NULL},
        {"h+1", "h", NULL},          {"7", "2", NULL},
        {"4", "h", NULL},            {"h", "0", NULL},
    };
    cg_graph *g = cg_graph_new("t");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cg_dim q = -1, a = read(g, cases[i][0]), b = read(g, cases[i][1]);
        bool ok = cg_dim_divides(g, a, b, &q);
        assert_int_equal(ok, cases[i][2] != NULL);
        if (ok)
            assert_int_equal(q, read(g, cases[i][2]));
    }
    cg_graph_free(g);
}

static void test_compare(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("t");
    assert_int_equal(cg_dim_compare(g, read(g, "h"), read(g, "h+1")), -1);
    assert_int_equal(cg_dim_compare(g, read(g, "h+1"), 0), 1);
    assert_int_equal(cg_dim_compare(g, read(g, "h"), 0), 2);
    assert_int_equal(cg_dim_compare(g, read(g, "h"), read(g, "w")), 2);
    assert_int_equal(cg_dim_compare(g, read(g, "h"), -1), 1);
    assert_int_equal(cg_dim_compare(g, read(g, "h//2"), read(g, "h+1")), -1);
    assert_int_equal(cg_dim_compare(g, 3, 3), 0);
    assert_int_equal(cg_dim_compare(g, read(g, "a+b"), read(g, "b+a")), 0);
    cg_graph_free(g);
}

static void test_names(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("t");
    cg_node n = {.name = "/find/NonZero"};
    cg_dim h = cg_dim_symbol(g, "h");
    assert_int_equal(h, cg_dim_symbol(g, "h"));
    cg_dim u = cg_dim_unknown(g, &n, "number of non-zero elements");
    cg_dim v = cg_dim_unknown(g, &n, "second");
    assert_true(u != v);
    assert_string_equal(cg_dim_str(g, u), "?/find/NonZero");
    assert_string_equal(cg_dim_str(g, v), "?/find/NonZero.2");
    cg_dim both = cg_dim_mul(g, h, cg_dim_floordiv(g, v, 2));
    cg_dim_cause c = cg_dim_why(g, both);
    assert_ptr_equal(c.node, &n);
    assert_string_equal(c.why, "second");
    cg_dim_cause all[4];
    assert_int_equal(cg_dim_causes(g, both, all, 4), 2);
    assert_string_equal(all[1].symbol, "h");
    assert_null(all[1].why);
    assert_int_equal(read(g, cg_dim_str(g, both)), both);
    cg_dim_bind(g, "N", 8);
    assert_int_equal(cg_dim_symbol(g, "N"), 8);
    assert_int_equal(read(g, "2*N"), 16);
    cg_graph_free(g);
}

static void test_overflow(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("t");
    cg_dim d = cg_dim_mul(g, INT64_MAX, 2);
    assert_false(cg_dim_known(d));
    assert_string_equal(cg_dim_why(g, d).why, "overflow");
    assert_false(cg_dim_known(cg_dim_add(g, INT64_MAX, 1)));
    assert_false(cg_dim_known(cg_dim_sub(g, CG_DIM_MIN, 1)));
    assert_int_equal(cg_dim_mul(g, INT64_MAX, 2), d);
    assert_int_equal(cg_dim_mod(g, CG_DIM_MIN, INT64_C(5) << 60),
                     (INT64_C(2) << 60) + (INT64_C(1) << 32));
    d = cg_dim_mul(g, read(g, "9223372036854775807*h"), 2);
    assert_string_equal(cg_dim_why(g, d).why, "overflow");
    assert_int_equal(cg_dim_floordiv(g, CG_DIM_MIN, -1), INT64_MAX -
                     (INT64_C(1) << 32) + 1);
    cg_graph_free(g);
}

/* Expressions that would double at every step stay bounded. */
static void test_limits(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("t");
    cg_dim d = cg_dim_symbol(g, "h");
    for (int i = 0; i < 200; i++) {
        cg_dim square = cg_dim_mul(g, d, d);
        d = cg_dim_floordiv(g, cg_dim_add(g, cg_dim_add(g, square, d), 1), 3);
        assert_true(strlen(cg_dim_str(g, d)) < 8000);
    }
    cg_dim sum = 0;
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        sum = cg_dim_add(g, sum, cg_dim_symbol(g, name));
    }
    assert_true(strlen(cg_dim_str(g, sum)) < 8000);
    char deep[4001];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    cg_dim x;
    assert_null(cg_dim_parse(g, deep, &x));
    cg_graph_free(g);
}

/* -- random expressions ---------------------------------------------------- */

#define N_SYMBOLS 3
static const char *const names[N_SYMBOLS] = {"h", "w", "seq"};

typedef struct sample {
    cg_dim d;
    int64_t value[4]; /* at four assignments of the symbols */
    bool ok;          /* no division by zero, small numbers */
} sample;

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static int64_t floored(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t apply(uint32_t op, int64_t a, int64_t b)
{
    switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return floored(a, b);
    case 4: return -floored(-a, b);
    case 5: return a - b * floored(a, b);
    case 6: return a > b ? a : b;
    default: return a < b ? a : b;
    }
}

static sample combine(cg_graph *g, uint32_t op, sample a, sample b)
{
    static cg_dim (*const fn[])(cg_graph *, cg_dim, cg_dim) = {
        cg_dim_add, cg_dim_sub, cg_dim_mul, cg_dim_floordiv,
        cg_dim_ceildiv, cg_dim_mod, cg_dim_max, cg_dim_min};
    sample r = {.ok = a.ok && b.ok};
    for (int i = 0; i < 4 && r.ok; i++) {
        bool divides = op >= 3 && op <= 5;
        r.ok = !(divides && b.value[i] == 0) &&
               llabs(a.value[i]) < 1000000 && llabs(b.value[i]) < 1000000;
        if (r.ok)
            r.value[i] = apply(op, a.value[i], b.value[i]);
    }
    if (r.ok)
        r.d = fn[op](g, a.d, b.d);
    return r;
}

static sample random_expr(cg_graph *g, int64_t at[4][N_SYMBOLS], int depth)
{
    sample s = {.ok = true};
    if (depth == 0 || rnd(4) == 0) {
        uint32_t k = rnd(N_SYMBOLS + 2);
        int64_t c = (int64_t)rnd(13) - 3;
        s.d = k < N_SYMBOLS ? cg_dim_symbol(g, names[k]) : c;
        for (int i = 0; i < 4; i++)
            s.value[i] = k < N_SYMBOLS ? at[i][k] : c;
        return s;
    }
    sample a = random_expr(g, at, depth - 1);
    sample b = random_expr(g, at, depth - 1);
    return combine(g, rnd(8), a, b);
}

static void check(cg_graph *g, cg_graph *bound[4], const sample *s)
{
    const char *text = cg_dim_str(g, s->d);
    assert_int_equal(read(g, text), s->d);
    if (!cg_dim_known(s->d) && cg_dim_why(g, s->d).why)
        return; /* too large */
    for (int i = 0; i < 4; i++)
        if (read(bound[i], text) != s->value[i])
            fail_msg("%s is not %lld", text, (long long)s->value[i]);
}

static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        int64_t at[4][N_SYMBOLS];
        cg_graph *g = cg_graph_new("t"), *bound[4];
        for (int i = 0; i < 4; i++) {
            bound[i] = cg_graph_new("t");
            for (int k = 0; k < N_SYMBOLS; k++) {
                at[i][k] = 1 + rnd(i < 2 ? 4 : 40);
                cg_dim_bind(bound[i], names[k], at[i][k]);
            }
        }
        for (int i = 0; i < 500; i++) {
            sample s = random_expr(g, at, 1 + (int)rnd(4));
            if (s.ok)
                check(g, bound, &s);
        }
        cg_graph_free(g);
        for (int i = 0; i < 4; i++)
            cg_graph_free(bound[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_forms), cmocka_unit_test(test_divides),
        cmocka_unit_test(test_compare),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_overflow),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
