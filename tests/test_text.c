/* The .cg text and its one-way forms: what is printed reads back as the same
 * graph, and what is wrong is named with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/hash.h"
#include "ir/text.h"

static char *printed(cg_graph *g, void (*form)(FILE *, cg_graph *))
{
    char *s = NULL;
    size_t len;
    FILE *f = open_memstream(&s, &len);
    form(f, g);
    fclose(f);
    return s;
}

static void stats(FILE *f, cg_graph *g) { cg_print_stats(f, g, "net.onnx"); }

static cg_graph *parsed(const char *text)
{
    cg_graph *g;
    if (cg_parse_text(text, strlen(text), &g) != CG_OK)
        fail_msg("%s", cg_error());
    return g;
}

static void same_text(const char *text)
{
    cg_graph *g = parsed(text);
    char *s = printed(g, cg_print_text);
    assert_string_equal(s, text);
    free(s);
    cg_graph_free(g);
}

#define HEAD "cg 1\ngraph \"t\"\n"

static const char network[] =
    "cg 1\n"
    "graph \"res\\\"net\" producer=\"pytorch 2.9.0\" ir=10 opset=18 facts=5\n"
    "input %x : f32[1,3,224,224]@1 declared=f32[N,3,224,224]\n"
    "const %w : f32[64,3,7,7] weight payload=4096+37632\n"
    "const %\"onnx::b\" : f32[64] weight payload=\"model.data\":0+256\n"
    "%y : f32[1,64,112,112]@1 = Conv(%x, %w, %\"onnx::b\") strides=[2,2] "
    "pads=[3,3,3,3] auto_pad=\"NOTSET\" name=\"/conv1/Conv\" macs=118013952 "
    "flops=236830720 params=9472\n"
    "const %s : i64[2] = {1, -1}\n"
    "%r : f32[1,802816] unlisted = Reshape(%y, %s)\n"
    "(%a : f32[1,4,8]@2, _) = Split(%r:f32[1,4,16]@2) axis=2 name=\"split\"\n"
    "%b : f32[1,4,8]@2 = Clip(%a, _, %\"onnx::b\")\n"
    "output %b\n"
    "output %y\n"
    "total macs=118013952 flops=236830720 params=9472\n"
    "spectrum [0.0, 0.01, 0.25, 1.0, 1e-08, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, "
    "2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.1]\n"
    "hash 0123456789abcdeffedcba9876543210\n";

static const char bodies[] =
    HEAD
    "input %c : bool[]\n"
    "input %x : f32[n,4]\n"
    "%z : f32[n,4] = If(%c) then_branch={\n"
    "    const %k : f32[1] listed = {0.5}\n"
    "    %t : f32[n,4] = Add(%x, %k)\n"
    "    output %t\n"
    "} else_branch={\n"
    "    %u : f32[n,4] listed = ReLU(%x)\n"
    "    %v : f32[n,4] = If(%c) then_branch={\n"
    "        output %u\n"
    "    } else_branch={\n"
    "        const %q : f32[] = {inf}\n"
    "        output %q\n"
    "    }\n"
    "    output %v\n"
    "}\n"
    "output %z\n";

static const char oddities[] =
    HEAD
    "input %i : seq(f32[1,2*seq]@1) elements=[f32[1,2], f32*]\n"
    "input %o : optional(i64*)\n"
    "input %m : map(?*)\n"
    "input %none\n"
    "const %e : i64[0] = {}\n"
    "const %n : i64[3] = {seq+1, max(batch,1), ?nz//2}\n"
    "const %f : f32[2] = {0.5*(seq), 3.0*(4)}\n"
    "const %s : str[3] = {\"a\", \"tab\\t\\\"q\\\" \\x01\\xff\", \"\"}\n"
    "const %g : f64[4] = {0.1, -inf, nan, 1e+300}\n"
    "%p : f32* why=\"no rule for my::Op\" why_node=\"cust\" = Custom(%e, %n, "
    "%f, %s, %g, %i, %o, %m, %none, _) ints=[] f=floats[] s=strings[] "
    "l=[1.0,0.25] one=-9223372036854775808 v=%e t=<seq(f32[2])> "
    "\"name\"=\"attribute\" \"a b\"=[\"x\",\"y\"] name=\"cust\" "
    "source=\"my::Op\" macs=3*batch*seq\n"
    "() = Custom() name=\"mute\" source=\"my::Nothing\"\n"
    "%h : i64[2] {7, 8} = Identity(%p)\n"
    "%nz : i64[1,?nz] = NonZero(%h) name=\"find\"\n"
    "output %p\n"
    "output %nz\n"
    "unknown \"nz\" why=\"number of non-zero elements\" why_node=\"gone\"\n";

static void test_round_trip(void **state)
{
    (void)state;
    same_text(network);
    same_text(bodies);
    same_text(oddities);
    same_text(HEAD);
}

static void test_free_form(void **state)
{
    (void)state;
    cg_graph *g = parsed("# a comment\n\ncg 1\ngraph \"t\" # more\n"
                         "  input   %x:f32[2 , h + 1]\n\n"
                         "%y = Add(%x,\n   %x # both\n)\t name=\"n\" #\n"
                         "output %y # end");
    char *s = printed(g, cg_print_text);
    assert_string_equal(s, HEAD "input %x : f32[2,h+1]\n"
                                "%y = Add(%x, %x) name=\"n\"\noutput %y\n");
    free(s);
    cg_graph_free(g);
}

/* Names may repeat in bodies and after inlining: the text makes them differ. */
static void test_unique_names(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("t");
    cg_type t = cg_type_none();
    cg_value *x = cg_value_input(g, g->main, "x", t);
    cg_value *y = cg_value_input(g, g->main, "x~2", t);
    cg_value *in[] = {x, y};
    const char *names[] = {"x"};
    cg_node *n = cg_node_new(g, g->main, CG_OP_ADD, "x", in, 2, names, 1);
    cg_array_push(&g->main->outputs, n->out[0]);
    char *s = printed(g, cg_print_text);
    assert_string_equal(s, HEAD "input %x unlisted\ninput %x~2 unlisted\n"
                                "%x~3 unlisted = Add(%x, %x~2) name=\"x\"\n"
                                "output %x~3\n");
    same_text(s);
    free(s);
    cg_graph_free(g);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "line 1, column 1: expected 'cg 1'"},
        {"cg 2\n", "line 1, column"},
        {HEAD "input %x : f33[1]\n", "line 3, column 12: expected a type"},
        {HEAD "input %x : f32[-1]\n", "a negative dimension"},
        {HEAD "input %x : f32[1\n", "expected ','"},
        {HEAD "input %x : f32[h//0]\n", "no dimension expression"},
        {HEAD "input %x : f32[1]@1\n", "there is no axis 1"},
        {HEAD "input %x\ninput %x\n", "line 4, column 9: %x is defined twice"},
        {HEAD "%y = Add(%y, %y)\n", "line 3, column 12: there is no %y"},
        {HEAD "%y = Frob()\n", "line 3, column 6: there is no operator 'Frob'"},
        {HEAD "%y = Custom()\n", "Custom needs source"},
        {HEAD "%y = Conv()\n", "wrong number of inputs for 'Conv'"},
        {HEAD "input %x\n%y = ReLU(%x) a=1 a=2\n", "'a' comes twice"},
        {HEAD "input %x\n%y = ReLU(%x) a=[1,2.5]\n", "in one list"},
        {HEAD "input %x\n%y = ReLU(%x) a=%x\n", "%x is no constant"},
        {HEAD "input %x\n%y = ReLU(%x) a=\"b\n\"", "this string does not end"},
        {HEAD "input %x\n%y = ReLU(%x) a=99999999999999999999\n", "64 bits"},
        {HEAD "const %k : i64[2] = {1}\n", "1 elements where the type has 2"},
        {HEAD "const %k : i64[n] = {1}\n", "symbolic dims"},
        {HEAD "const %k : c64[1] = {1}\n", "elements need a tensor type"},
        {HEAD "const %k : f32[9999999,999999999999] = {1}\n", "more than 4096"},
        {HEAD "const %k : f32[2] = {1.0, 2.0*(n)}\n", "a factor for each"},
        {HEAD "input %x extra\n", "unexpected text"},
        {HEAD "hash 12\n", "32 hex digits"},
        {HEAD "output %x\n", "there is no %x"},
        {HEAD "frob\n", "line 3, column 1: expected a statement"},
        {HEAD "input %\"a\\qb\"\n", "does not end, or has an escape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cg_graph *g;
        cg_err err = cg_parse_text(cases[i][0], strlen(cases[i][0]), &g);
        if (err == CG_OK || !strstr(cg_error(), cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err ? cg_error() : "accepted");
        assert_null(g);
    }
}

/* A body's values end with it. */
static void test_scopes(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "input %c : bool[]\n"
             "%z = If(%c) then_branch={\n%t = Not(%c)\noutput %t\n} "
             "else_branch={\noutput %c\n}\n"
             "output %t\n";
    cg_graph *g;
    assert_int_not_equal(cg_parse_text(text, strlen(text), &g), CG_OK);
    assert_non_null(strstr(cg_error(), "used before it is defined: 't'"));
}

static void test_hostile(void **state)
{
    (void)state;
    enum { N = 200000 };
    char *s = cg_xcalloc(N + 64, 1);
    cg_graph *g;
    int at = snprintf(s, N, HEAD "input %%x : f32[");
    memset(s + at, '(', N - (size_t)at);
    assert_int_not_equal(cg_parse_text(s, N, &g), CG_OK);
    at = snprintf(s, N, HEAD);
    while (at < N - 32)
        at += snprintf(s + at, 32, "%%a%d=If() b={", at);
    assert_int_not_equal(cg_parse_text(s, (size_t)at, &g), CG_OK);
    assert_non_null(strstr(cg_error(), "nested graphs"));
    s[20] = '\0';
    assert_int_not_equal(cg_parse_text(s, (size_t)at, &g), CG_OK);
    cg_xfree(s);
}

static void test_stats(void **state)
{
    (void)state;
    cg_graph *g = parsed(
        HEAD "input %x : f32[1,8]\n"
             "%a : i64[2,?find] = NonZero(%x) name=\"find\"\n"
             "%b : i64[?find,2] = Transpose(%a) name=\"turn\"\n"
             "%p : f32* why_node=\"odd\" = Custom(%b) name=\"odd\" "
             "source=\"my::Op\"\n"
             "%q : f32* why_node=\"odd\" = ReLU(%p) name=\"act\"\n"
             "%r : f32[1,seq] = MatMul(%x, %x) name=\"mm\" macs=8*seq\n"
             "output %q\noutput %r\noutput %b\n"
             "total macs=8*seq flops=16*seq params=0\n"
             "unknown \"find\" why=\"number of non-zero elements\" "
             "why_node=\"find\"\n");
    char *s = printed(g, stats);
    assert_string_equal(
        s,
        "{\"file\": \"net.onnx\", \"nodes\": 9, \"edges\": 8, \"params\": 0, "
        "\"macs\": \"8*seq\", \"flops\": \"16*seq\", "
        "\"hash\": \"00000000000000000000000000000000\", "
        "\"ops\": {\"Custom\": 1, \"MatMul\": 1, \"NonZero\": 1, \"ReLU\": 1, "
        "\"Transpose\": 1}, \"complete\": false, \"unresolved\": ["
        "{\"node\": \"find\", \"what\": \"dims of 2 tensors\", "
        "\"because\": \"find\", \"why\": \"number of non-zero elements\"}, "
        "{\"node\": \"odd\", \"what\": \"shape of 2 tensors\", "
        "\"because\": \"odd\", \"why\": \"no rule for my::Op\"}, "
        "{\"node\": \"mm\", \"what\": \"symbolic dimension seq\", "
        "\"because\": null, \"why\": \"macs of 1 node depend on it\"}]}\n");
    free(s);
    cg_graph_free(g);
}

static void test_shapes(void **state)
{
    (void)state;
    cg_graph *g = parsed(HEAD "input %\"x y\\xff\" : f32[`my dim`,2,h]\n"
                              "%a : f32[h+1] = ReLU(%\"x y\\xff\")\n"
                              "%b : f32* = ReLU(%a)\n"
                              "%c : f32[3] unlisted = ReLU(%b)\n"
                              "%d : f32[] = ReLU(%c)\n"
                              "output %d\n");
    char *s = printed(g, cg_print_shapes);
    assert_string_equal(s, "{\"x y\\ufffd\": [\"my dim\", 2, \"h\"], "
                           "\"a\": [\"h+1\"], \"b\": null, \"d\": []}\n");
    free(s);
    cg_graph_free(g);
}

static void test_json_and_dot(void **state)
{
    (void)state;
    cg_graph *g = parsed(network);
    char *s = printed(g, cg_print_json);
    assert_non_null(strstr(s, "{\"id\": 1, \"name\": \"/conv1/Conv\", "
                              "\"op\": \"Conv\", \"in\": [224, 224, 3], "
                              "\"out\": [112, 112, 64]"));
    assert_non_null(strstr(s, "[0, 1], [1, 2], [1, 6], [2, 3]"));
    free(s);
    s = printed(g, cg_print_dot);
    assert_non_null(strstr(s, "digraph \"res\\\"net\" {"));
    assert_non_null(strstr(s, "label=\"Conv /2\\n112 x 112 x 64\""));
    assert_non_null(strstr(s, "n1 -> n2;"));
    free(s);
    cg_graph_free(g);
}

static void hash_of(const char *text, uint64_t out[2])
{
    cg_graph *g = parsed(text);
    cg_graph_hash(g, out);
    cg_graph_free(g);
}

static bool same_hash(const char *a, const char *b)
{
    uint64_t x[2], y[2];
    hash_of(a, x);
    hash_of(b, y);
    return x[0] == y[0] && x[1] == y[1];
}

static void test_hash(void **state)
{
    (void)state;
    static const char relu[] = "%a : f32[1,8,4,4]@1 = ReLU(%x)\n";
    static const char tanh[] = "%b : f32[1,8,4,4]@1 = Tanh(%x)\n";
    static const char add[] = "%z : f32[1,8,4,4]@1 = Add(%a, %b)\n";
    char one[512], two[512], other[512];
    snprintf(one, sizeof one, HEAD "input %%x : f32[1,8,4,4]@1\n%s%s%s"
             "output %%z\n", relu, tanh, add);
    snprintf(two, sizeof two, HEAD "input %%x : f32[1,8,4,4]@1\n%s%s"
             "%%out : f32[1,8,4,4]@1 = Add(%%b, %%a)\noutput %%out\n", tanh,
             relu);
    assert_true(same_hash(one, two));
    snprintf(other, sizeof other, HEAD "input %%x : f32[1,4,4,8]@3\n"
             "%%a : f32[1,4,4,8]@3 = ReLU(%%x)\n"
             "%%b : f32[1,4,4,8]@3 = Tanh(%%x)\n"
             "%%z : f32[1,4,4,8]@3 = Add(%%a, %%b)\noutput %%z\n");
    assert_true(same_hash(one, other)); /* layout does not matter */
    snprintf(other, sizeof other, HEAD "input %%x : f32[1,8,4,4]@1\n%s"
             "%%b : f32[1,8,4,4]@1 = Tanh(%%a)\n%soutput %%z\n", relu, add);
    assert_false(same_hash(one, other)); /* an edge does */
    snprintf(other, sizeof other, HEAD "input %%x : f32[1,8,4,4]@1\n%s%s%s"
             "output %%z\noutput %%z\n", relu, tanh, add);
    assert_false(same_hash(one, other)); /* an output does */
}

/* Bodies count: their operators, not their names or order. */
static void test_hash_bodies(void **state)
{
    (void)state;
    static const char form[] =
        HEAD "input %%c : bool[]\ninput %%x : f32[4]\n"
             "%%z : f32[4] = If(%%c) then_branch={\n"
             "%%%s : f32[4] = %s(%%x)\noutput %%%s\n} else_branch={\n"
             "output %%x\n}\noutput %%z\n";
    char a[512], b[512], c[512];
    snprintf(a, sizeof a, form, "t", "ReLU", "t");
    snprintf(b, sizeof b, form, "other", "ReLU", "other");
    snprintf(c, sizeof c, form, "t", "Tanh", "t");
    assert_true(same_hash(a, b));
    assert_false(same_hash(a, c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_free_form),
        cmocka_unit_test(test_unique_names),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_json_and_dot),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
