/* Shape rules and inlining of control flow, one row a fact: a graph in .cg
 * text, and the types that pass shapes gives, or its error in part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "passes/shape_rules.h"

typedef struct row {
    const char *text;  /* after the header */
    const char *shows; /* "y f32[1,2]; z i64[]", or "! words of the error" */
} row;

static const cg_value *find(const cg_graph *g, const char *name)
{
    for (size_t i = g->values.len; i-- > 0;)
        if (strcmp(g->values.data[i]->name, name) == 0)
            return g->values.data[i];
    return NULL;
}

/* "y f32[1,2]" of the value that `want` (up to ';') names */
static void check_value(cg_graph *g, const row *r, const char *want)
{
    char name[64];
    assert_int_equal(sscanf(want, "%63s", name), 1);
    const cg_value *v = find(g, name);
    if (!v)
        fail_msg("%s\nno value %s", r->text, name);
    const char *got = cg_arena_printf(&g->arena, "%s %s%s", name,
                                      cg_dtype_name(v->type.dtype),
                                      cg_shape_str(g, &v->type));
    size_t len = strcspn(want, ";");
    if (strlen(got) != len || strncmp(got, want, len) != 0)
        fail_msg("%s\ngives %s, not %.*s", r->text, got, (int)len, want);
}

static cg_graph *parse(const char *text)
{
    cg_graph *g = NULL;
    char *all;
    assert_true(asprintf(&all, "cg 1\ngraph \"t\"\n%s\n", text) > 0);
    if (cg_parse_text(all, strlen(all), &g) != CG_OK)
        fail_msg("%s\n%s", text, cg_error());
    free(all);
    return g;
}

static void check_row(const row *r)
{
    cg_graph *g = parse(r->text);
    cg_err err = cg_pass_shapes(g);
    if (*r->shows == '!') {
        if (err == CG_OK || !strstr(cg_error(), r->shows + 2))
            fail_msg("%s\nsays: %s", r->text,
                     err == CG_OK ? "nothing" : cg_error());
    } else {
        if (err != CG_OK || cg_graph_validate(g, "shapes") != CG_OK)
            fail_msg("%s\n%s", r->text, cg_error());
        for (const char *s = r->shows; *s; s += strspn(s, "; ")) {
            check_value(g, r, s);
            s += strcspn(s, ";");
        }
    }
    cg_graph_free(g);
}

/* -- windows --------------------------------------------------------------- */

#define X "input %x : f32[1,3,h,w]\n"
#define X32 "input %x : f32[1,4,32,32]\n"
#define W3 "input %w : f32[8,3,3,3]\n"
#define W4 "input %w : f32[8,4,3,3]\n"

static const row windows[] = {
    {X W3 "%y = Conv(%x, %w) pads=[1,1,1,1]", "y f32[1,8,h,w]"},
    {X W3 "%y = Conv(%x, %w) strides=[2,2] pads=[1,1,1,1]",
     "y f32[1,8,(h+1)//2,(w+1)//2]"},
    {X W3 "%y = Conv(%x, %w) auto_pad=\"SAME_UPPER\"", "y f32[1,8,h,w]"},
    {X32 W4 "%y = Conv(%x, %w) auto_pad=\"VALID\" strides=[2,2]",
     "y f32[1,8,15,15]"},
    {X32 W4 "%y = Conv(%x, %w) strides=[0,1]", "! strides has 0"},
    {X32 W4 "%y = Conv(%x, %w) group=3",
     "! group 3 does not divide 4 input channels"},
    {X32 W3 "%y = Conv(%x, %w)", "! weight is for 3 channels"},
    {X32 W4 "%y = Conv(%x, %w) dilations=[20,1]",
     "! kernel of 41 (3, dilation 20) is larger than the padded input of 32"},
    {X32 W4 "%y = Conv(%x, %w) strides=\"two\"", "! strides is not a list"},
    {X32 W4 "%y = Conv(%x, %w) kernel_shape=[5,3]", "! kernel_shape and"},
    {X32 "input %w : f32[8,4,3]\n%y = Conv(%x, %w)",
     "! input of rank 4, weight of rank 3"},
    {"input %x : f32*\n" W3 "%y = Conv(%x, %w)\n%z = Shape(%y)",
     "z i64[4]"},
    {"input %x : f32[0,3,32,32]\n" W3 "%y = Conv(%x, %w)",
     "y f32[0,8,30,30]"},
    {X32 "input %w : f32[4,6,3,3]\n"
     "%y = ConvTranspose(%x, %w) strides=[2,2] pads=[1,1,1,1] "
     "output_padding=[1,1] group=2", "y f32[1,12,64,64]"},
    {X32 "input %w : f32[4,6,3,3]\n"
     "%y = ConvTranspose(%x, %w) strides=[2,2] output_shape=[64,63]",
     "y f32[1,6,64,63]"},
    {X "%y = Maxpool(%x) kernel_shape=[3,3] strides=[2,2] ceil_mode=1",
     "y f32[1,3,h//2,w//2]"},
    {"input %x : f32[1,1,5]\n(%y,%i) = Maxpool(%x) kernel_shape=[2] "
     "strides=[2] ceil_mode=1 pads=[0,1]", "y f32[1,1,3]; i i64[1,1,3]"},
    {"input %x : f32[1,1,2]\n%y = Avgpool(%x) kernel_shape=[1] strides=[4] "
     "ceil_mode=1", "y f32[1,1,1]"},
    {"input %x : f32[1,1,3]\n%y = Maxpool(%x) kernel_shape=[4] strides=[2] "
     "ceil_mode=1", "y f32[1,1,1]"},
    {"input %x : f32[1,2,4,h]\ninput %w : f32[2,3,1,4]\n"
     "%y = ConvTranspose(%x, %w) auto_pad=\"SAME_LOWER\" strides=[2,2]",
     "y f32[1,3,7,2*h]"},
    {X32 "%y = Maxpool(%x)", "! kernel_shape is missing"},
    {X32 "%y = Avgpool(%x) kernel_shape=[40,1]", "! larger than the padded"},
    {X32 "%y = GlobalAvgpool(%x)", "y f32[1,4,1,1]"},
    {"input %x : f32[1,1,2,2]\n%y = MaxUnpool(%x, %x) kernel_shape=[2,2] "
     "strides=[2,2]", "y f32[1,1,4,4]"},
};

/* -- sampling and padding -------------------------------------------------- */

static const row samples[] = {
    {X "const %s : f32[4] = {1.0, 1.0, 2.0, 0.5}\n"
     "%y = Resize(%x, _, %s)", "y f32[1,3,2*h,w//2]"},
    {"input %x : f32[1,1,10]\nconst %s : f32[3] = {1.0, 1.0, 0.699999988}\n"
     "%y = Resize(%x, _, %s)", "y f32[1,1,7]"},
    {X32 "const %s : f32[4] = {1.0, 1.0, -2.0, 1.0}\n"
     "%y = Resize(%x, _, %s)", "! scale -2 is not positive"},
    {X32 "const %e : f32[0] = {}\nconst %s : i64[2] = {7, 9}\n"
     "%y = Resize(%x, %e, %e, %s) axes=[2,3]", "y f32[1,4,7,9]"},
    {X32 "const %s : i64[2] = {7, 9}\n%y = Resize(%x, _, _, %s) axes=[2,3] "
     "keep_aspect_ratio_policy=\"not_larger\"", "y f32[1,4,7,7]"},
    {X32 "%y = Resize(%x)", "! neither sizes nor scales"},
    {X32 "const %s : i64[3] = {1, 7, 9}\n%y = Resize(%x, _, _, %s)",
     "! 3 sizes for 4 axes"},
    {X "const %p : i64[8] = {0,0,1,2,0,0,3,-4}\n%y = Pad(%x, %p)",
     "y f32[1,3,h+4,w-2]"},
    {X32 "const %p : i64[2] = {0,-40}\nconst %a : i64[1] = {-1}\n"
     "%y = Pad(%x, %p, _, %a)", "! take more than 32"},
    {X "%y = SpaceToDepth(%x) blocksize=2\n%z = DepthToSpace(%y) blocksize=2",
     "y f32[1,12,h//2,w//2]; z f32[1,3,2*(h//2),2*(w//2)]"},
    {X32 "%y = DepthToSpace(%x) blocksize=3", "! no multiple of 9"},
    {"input %x : f32[2,12,9]\nconst %i : i64[2] = {4,4}\n"
     "const %b : i64[2] = {2,2}\n%y = Col2Im(%x, %i, %b)", "y f32[2,3,4,4]"},
    {"input %t : f32[n,2,3]\nconst %s : i64[4] = {2,3,5,6}\n"
     "%g = AffineGrid(%t, %s)", "g f32[2,5,6,2]"},
    {X "input %g : f32[1,5,6,2]\n%y = GridSample(%x, %g)",
     "y f32[1,3,5,6]"},
    {X "input %r : f32[k,4]\ninput %b : i64[k]\n"
     "%y = RoiAlign(%x, %r, %b) output_height=7 output_width=7",
     "y f32[k,3,7,7]"},
};

/* -- arithmetic ------------------------------------------------------------ */

static const row maths[] = {
    {"input %a : f32[b,1,4]\ninput %c : f32[s,4]\n%y = Add(%a, %c)",
     "y f32[b,s,4]"},
    {"input %a : f32[2,3]\ninput %c : f32[2,4]\n%y = Add(%a, %c)",
     "! shapes [2,3] and [2,4] do not broadcast"},
    {"input %a : f32[2,3,4,5]\ninput %c : f32[3,4]\n"
     "%y = Add(%a, %c) broadcast_axis=1", "y f32[2,3,4,5]"},
    {"input %a : f32[2,1]\ninput %c : i64[3]\n%y = Less(%a, %c)",
     "y bool[2,3]"},
    {"input %a : f32[b,s,8]\ninput %c : f32[8,4]\n%y = MatMul(%a, %c)",
     "y f32[b,s,4]"},
    {"input %a : f32[5,s,8]\ninput %c : f32[b,1,t,8]\n"
     "%y = MatMul(%a, %c) transB=1", "y f32[b,5,s,t]"},
    {"input %a : f32[8]\ninput %c : f32[8]\n%y = MatMul(%a, %c)",
     "y f32[]"},
    {"input %a : f32[2,3]\ninput %c : f32[4,5]\n%y = MatMul(%a, %c)",
     "! inner dims 3 and 4 of [2,3] times [4,5] differ"},
    {"input %a : f32[k,m]\ninput %c : f32[10,k]\n"
     "%y = Gemm(%a, %c) transA=1 transB=1", "y f32[m,10]"},
    {"input %a : f32[b,h,s,d]\ninput %c : f32[b,h,t,d]\n"
     "%y = Einsum(%a, %c) equation=\"bhsd,bhtd->bhst\"", "y f32[b,h,s,t]"},
    {"input %a : f32[2,3,4]\n%y = Einsum(%a) equation=\"...ij -> ...ji\"",
     "y f32[2,4,3]"},
    {"input %a : f32[2,3]\ninput %c : f32[3,4]\n"
     "%y = Einsum(%a, %c) equation=\"ij,jk\"", "y f32[2,4]"},
    {"input %a : f32[2,3]\n%y = Einsum(%a) equation=\"ij->ik\"",
     "! label 'k' is in no input"},
    {"input %a : f32[b,c,h]\nconst %x : i64[1] = {-1}\n"
     "%y = ReduceMean(%a, %x)\n%z = ReduceMax(%a) keepdims=0",
     "y f32[b,c,1]; z f32[]"},
    {"input %a : f32[b,c,h]\ninput %x : i64[2]\n"
     "%y = ReduceSum(%a, %x) keepdims=0\n%s = Shape(%y)", "s i64[1]"},
    {"input %a : f32[2,3]\nconst %x : i64[1] = {2}\n%y = ReduceSum(%a, %x)",
     "! axis 2 is out of range for rank 2"},
    {"input %a : f32[b,9]\n%y = ArgMax(%a) axis=1 keepdims=0", "y i64[b]"},
    {"input %a : f32[b,9]\nconst %k : i64[1] = {5}\n(%v,%i) = TopK(%a, %k)",
     "v f32[b,5]; i i64[b,5]"},
    {"input %a : f32[b,9]\nconst %k : i64[1] = {10}\n(%v,%i) = TopK(%a, %k)",
     "! k is 10, axis 1 has only 9"},
    {"input %x : f32[2,3,4]\ninput %s : f32[3]\n"
     "(%y,%m,%v) = BatchNorm(%x, %s, %s, %s, %s)",
     "y f32[2,3,4]; m f32[3]; v f32[3]"},
    {"input %x : f16[2,3,4]\ninput %s : f16[4]\n"
     "(%y,%m,%v) = LayerNorm(%x, %s)", "y f16[2,3,4]; m f32[2,3,1]"},
};

/* -- networks -------------------------------------------------------------- */

static const row layers[] = {
    {"input %x : f32[s,b,10]\ninput %w : f32[2,80,10]\n"
     "input %r : f32[2,80,20]\n(%y,%h,%c) = LSTM(%x, %w, %r) "
     "direction=\"bidirectional\" hidden_size=20",
     "y f32[s,2,b,20]; h f32[2,b,20]; c f32[2,b,20]"},
    {"input %x : f32[b,s,10]\ninput %w : f32[1,60,10]\n"
     "input %r : f32[1,60,20]\n(%y,%h) = GRU(%x, %w, %r) layout=1",
     "y f32[b,s,1,20]; h f32[b,1,20]"},
    {"input %x : f32[s,b,9]\ninput %w : f32[1,20,10]\n"
     "input %r : f32[1,20,20]\n%y = RNN(%x, %w, %r)",
     "! input size of X and of W: 9 and 10 differ"},
    {"input %q : f32[b,8,s,64]\ninput %k : f32[b,2,t,64]\n"
     "input %v : f32[b,2,t,32]\ninput %p : f32[b,2,past,64]\n"
     "input %u : f32[b,2,past,32]\n"
     "(%y,%a,%c,%d) = Attention(%q, %k, %v, _, %p, %u)",
     "y f32[b,8,s,32]; a f32[b,2,past+t,64]; c f32[b,2,past+t,32]; "
     "d f32[b,8,s,past+t]"},
    {"input %q : f32[b,s,512]\ninput %k : f32[b,t,128]\n"
     "%y = Attention(%q, %k, %k) q_num_heads=8 kv_num_heads=2",
     "y f32[b,s,512]"},
    {"input %x : f32[b,s,48]\ninput %w : f32[48,144]\n"
     "(%y,%p) = PackedAttention(%x, %w) num_heads=6",
     "y f32[b,s,48]; p f32[2,b,6,s,8]"},
    {"input %q : f32[b,s,48]\n%y = MultiHeadAttention(%q, %q, %q) "
     "num_heads=6", "y f32[b,s,48]"},
    {"input %x : f32[n,5,d]\ninput %t : i64[n,d]\n"
     "%y = NLLLoss(%x, %t) reduction=\"none\"\n%z = NLLLoss(%x, %t)",
     "y f32[n,d]; z f32[]"},
    {"input %x : f32[n,5]\n(%y,%z) = LinearClassifier(%x) "
     "classlabels_ints=[1,2,3]", "y i64[n]; z f32[n,3]"},
    {"input %x : f32[1,16,1]\n%y = DFT(%x) onesided=1", "y f32[1,9,2]"},
    {"input %x : f32[n,4]\n%y declared=f32[n,7] = Custom(%x) "
     "source=\"my.domain::Op\"\n%z = ReLU(%y)", "z f32[n,7]"},
};

/* -- declared types -------------------------------------------------------- */

static void test_declared(void **state)
{
    (void)state;
    cg_graph *g = parse("input %x : f32[1,4]\n"
                        "%y declared=f32[1,9] = ReLU(%x)\n"
                        "%z declared=f32[1,9] = ReLU(%y)");
    assert_int_equal(cg_pass_shapes(g), CG_OK);
    assert_int_equal(find(g, "z")->type.dims[1], 4);
    assert_int_equal(g->warnings.len, 1);
    assert_non_null(strstr(g->warnings.data[0].text, "and 1 more"));
    cg_graph_free(g);
}

/* -- control flow ---------------------------------------------------------- */

#define BODY(line) "body={\ninput %i : i64[]\ninput %c : bool[]\n" \
                   "input %v : f32[n]\n" line "}\n"

static const row control[] = {
    /* a known condition: the branch is spliced in */
    {"input %x : f32[2,3]\nconst %t : bool[] = {1}\n"
     "%y = If(%t) then_branch={\n%a = ReLU(%x)\noutput %a\n} "
     "else_branch={\n%b = Shape(%x)\noutput %b\n}", "y f32[2,3]"},
    /* an unknown one: what both agree on */
    {"input %x : f32[2,3]\ninput %t : bool[]\n"
     "%y = If(%t) then_branch={\n%a = ReLU(%x)\noutput %a\n} "
     "else_branch={\n%b = Tanh(%x)\noutput %b\n}", "y f32[2,3]"},
    /* a branch that cannot run has no say */
    {"input %x : f32[2,3]\ninput %t : bool[]\nconst %o : i64[1] = {0}\n"
     "%y = If(%t) then_branch={\n%a = Squeeze(%x, %o)\noutput %a\n} "
     "else_branch={\n%b = Tanh(%x)\noutput %b\n}", "y f32[2,3]"},
    /* a counted loop: carried and stacked */
    {"input %x : f32[4]\nconst %m : i64[] = {3}\nconst %t : bool[] = {1}\n"
     "(%y,%z) = Loop(%m, %t, %x) "
     BODY("%d = Identity(%c)\n%e = Concat(%v,%v) axis=0\n%s = Shape(%e)\n"
          "output %d\noutput %e\noutput %s\n"), "y f32[32]; z i64[3,1]"},
    /* a while loop whose condition folds in every iteration */
    {"input %x : f32[4]\nconst %t : bool[] = {1}\nconst %two : i64[] = {2}\n"
     "(%y,%z) = Loop(_, %t, %x) "
     BODY("%d = Less(%i, %two)\n%e = ReLU(%v)\n"
          "output %d\noutput %e\noutput %e\n"), "y f32[4]; z f32[3,4]"},
    /* a data-dependent one stays; what it carries keeps its shape */
    {"input %x : f32[4]\nconst %m : i64[] = {3}\nconst %t : bool[] = {1}\n"
     "(%y,%z) = Loop(%m, %t, %x) "
     BODY("%q = ReduceMax(%v) keepdims=0\n%d = Less(%q, %q)\n%e = ReLU(%v)\n"
          "output %d\noutput %e\noutput %e\n") "%s = Shape(%z)",
     "y f32[4]; s i64[2]"},
    /* and one whose carried shape grows keeps the rank */
    {"input %x : f32[4]\ninput %m : i64[]\nconst %t : bool[] = {1}\n"
     "(%y) = Loop(%m, %t, %x) "
     BODY("%d = Identity(%c)\n%e = Concat(%v,%v) axis=0\n"
          "output %d\noutput %e\n") "%s = Shape(%y)", "s i64[1]"},
    /* too long to unroll */
    {"input %x : f32[4]\nconst %m : i64[] = {100000}\n"
     "const %t : bool[] = {1}\n(%y,%z) = Loop(%m, %t, %x) "
     BODY("%d = Identity(%c)\n%e = ReLU(%v)\noutput %d\noutput %e\n"
          "output %e\n"), "y f32[4]; z f32[100000,4]"},
    /* no iteration at all */
    {"input %x : f32[4]\nconst %m : i64[] = {0}\nconst %t : bool[] = {1}\n"
     "(%y,%z) = Loop(%m, %t, %x) "
     BODY("%d = Identity(%c)\n%e = ReLU(%v)\noutput %d\noutput %e\n"
          "output %e\n"), "y f32[4]; z f32[0,4]"},
    {"input %x : f32[4]\nconst %m : i64[] = {3}\n"
     "%y = Loop(%m, _, %x) body={\ninput %i : i64[]\noutput %i\n}\n",
     "! body has 1 inputs, needs 3"},
    /* scans, known and unknown length */
    {"input %h : f32[2]\ninput %x : f32[5,2]\n"
     "(%y,%z) = Scan(%h, %x) num_scan_inputs=1 body={\n"
     "input %s : f32[2]\ninput %e : f32[2]\n%a = Add(%s,%e)\n"
     "output %a\noutput %a\n}", "y f32[2]; z f32[5,2]"},
    {"input %h : f32[2]\ninput %x : f32[2,k]\n"
     "(%y,%z) = Scan(%h, %x) num_scan_inputs=1 scan_input_axes=[1] "
     "scan_output_axes=[-1] body={\n"
     "input %s : f32[2]\ninput %e : f32[2]\n%a = Add(%s,%e)\n"
     "output %a\noutput %a\n}", "y f32[2]; z f32[2,k]"},
    /* sequences */
    {"input %x : f32[7,2]\nconst %two : i64[] = {2}\n"
     "%s = SplitToSequence(%x, %two) axis=0\nconst %m : i64[] = {-1}\n"
     "%e = SequenceAt(%s, %m)\n%q = SequenceErase(%s)\n"
     "%y = ConcatFromSequence(%q) axis=0\n%l = SequenceLength(%s)",
     "e f32[1,2]; y f32[6,2]"},
    {"input %x : f32[2]\ninput %z : f32[3]\n%s = SequenceConstruct(%x,%z)\n"
     "%o = SequenceMap(%s) body={\ninput %e : f32[k]\n%a = Concat(%e,%e) "
     "axis=0\noutput %a\n}\n%y = ConcatFromSequence(%o) axis=0",
     "y f32[10]"},
    {"input %x : f32[2]\n%o = Optional(%x)\n%y = OptionalGetElement(%o)\n"
     "%h = OptionalHasElement(%o)\n%z = If(%h) then_branch={\n"
     "output %y\n} else_branch={\n%b = Shape(%x)\noutput %b\n}",
     "y f32[2]; z f32[2]"},
};

#define RUN(name)                                                             \
    static void test_##name(void **state)                                     \
    {                                                                         \
        (void)state;                                                          \
        for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)             \
            check_row(&name[i]);                                              \
    }
RUN(windows)
RUN(samples)
RUN(maths)
RUN(layers)
RUN(control)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),  cmocka_unit_test(test_samples),
        cmocka_unit_test(test_maths),    cmocka_unit_test(test_layers),
        cmocka_unit_test(test_declared), cmocka_unit_test(test_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
