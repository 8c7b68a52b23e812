/* Folding and the shape rules of data movement, one row a fact:
 * operator, attributes, operands as .cg would have them, what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"
#include "passes/shape.h"

typedef struct row {
    const char *op, *attrs;
    const char *in[4]; /* "i64[2]={h,-1}"; without braces: not known; "_" */
    const char *out;   /* outputs joined with ' '; or the error, in part */
} row;

/* -- reading rows --------------------------------------------------------- */

static const char *read_dims(cg_graph *g, const char *s, cg_dim *dims, int *n)
{
    *n = 0;
    assert_int_equal(*s, '[');
    for (s++; *s != ']'; s += *s == ',') {
        s = cg_dim_parse(g, s, &dims[(*n)++]);
        assert_non_null(s);
    }
    return s + 1;
}

static const char *read_elem(cg_graph *g, const char *s, cg_data *d, size_t k)
{
    if (!d->f)
        return cg_dim_parse(g, s, &d->i[k]);
    char *end;
    d->f[k] = strtod(s, &end);
    if (end == s)
        d->f[k] = 1; /* "h" is 1*h */
    else if (*end != '*')
        return end;
    if (!d->i) {
        d->i = cg_arena_array(&g->arena, cg_dim, d->n);
        for (size_t j = 0; j < d->n; j++)
            d->i[j] = 1;
    }
    return cg_dim_parse(g, end == s ? s : end + 1, &d->i[k]);
}

static cg_value *read_value(cg_graph *g, const char *s, int k)
{
    char dtype[16], name[16];
    cg_dim dims[CG_MAX_RANK];
    int rank;
    size_t len = strcspn(s, "[*");
    if (strcmp(s, "_") == 0)
        return NULL;
    snprintf(dtype, sizeof dtype, "%.*s", (int)len, s);
    snprintf(name, sizeof name, "in%d", k);
    int type = cg_dtype_find(dtype);
    assert_true(type > 0);
    s += len;
    if (*s == '*') {
        cg_type t = cg_type_none();
        t.dtype = (uint8_t)type;
        return cg_value_input(g, g->main, name, t);
    }
    s = read_dims(g, s, dims, &rank);
    cg_type t = cg_type_tensor(g, type, rank, dims);
    if (!*s)
        return cg_value_input(g, g->main, name, t);
    assert_int_equal(strncmp(s, "={", 2), 0);
    size_t n = 1;
    for (int a = 0; a < rank; a++)
        n *= (size_t)dims[a];
    cg_data *d = cg_data_new(g, type, n);
    assert_non_null(d);
    s += 2;
    for (size_t j = 0; j < n; j++, s += *s == ',') {
        s = read_elem(g, s, d, j);
        assert_non_null(s);
    }
    return cg_value_const(g, name, t, d);
}

static void read_attrs(cg_graph *g, cg_node *n, const char *s)
{
    while (s && *s) {
        char name[32];
        int64_t v[16];
        size_t len = 0;
        char *end = NULL;
        int used;
        assert_int_equal(sscanf(s, "%31[^=]=%n", name, &used), 1);
        s += used;
        if (*s == '[') {
            for (s++; *s != ']'; s = end + (*end == ','))
                v[len++] = strtoll(s, &end, 10);
            cg_attr_set_ints(g, n, name, v, len);
            s++;
        } else {
            cg_attr_set_int(g, n, name, strtoll(s, &end, 10));
            s = end;
        }
        s += *s == ' ';
    }
}

/* -- writing -------------------------------------------------------------- */

static char *put_elem(cg_graph *g, const cg_data *d, size_t k)
{
    if (!d->f)
        return cg_arena_strdup(&g->arena, cg_dim_str(g, d->i[k]));
    cg_dim i = d->i ? d->i[k] : 1;
    if (cg_dim_known(i))
        return cg_arena_printf(&g->arena, "%.9g", d->f[k] * (double)i);
    return cg_arena_printf(&g->arena, "%.9g*%s", d->f[k], cg_dim_str(g, i));
}

static const char *put_value(cg_graph *g, const cg_value *v)
{
    const char *s = cg_dtype_name(v->type.dtype);
    if (v->type.rank < 0)
        return cg_arena_printf(&g->arena, "%s*", s);
    for (int a = 0; a < v->type.rank; a++)
        s = cg_arena_printf(&g->arena, "%s%c%s", s, a ? ',' : '[',
                            cg_dim_str(g, v->type.dims[a]));
    s = cg_arena_printf(&g->arena, "%s%s", s, v->type.rank ? "]" : "[]");
    for (size_t k = 0; v->data && k < v->data->n; k++)
        s = cg_arena_printf(&g->arena, "%s%s%s", s, k ? "," : "={",
                            put_elem(g, v->data, k));
    return v->data ? cg_arena_printf(&g->arena, "%s%s", s,
                                     v->data->n ? "}" : "={}")
                   : s;
}

static void check_row(const row *r)
{
    cg_graph *g = cg_graph_new("row");
    cg_value *in[4];
    size_t n_in = 0, n_out = 1;
    for (; n_in < 4 && r->in[n_in]; n_in++)
        in[n_in] = read_value(g, r->in[n_in], (int)n_in);
    bool fails = !strchr(r->out, '[') && !strchr(r->out, '*');
    for (const char *s = r->out; *s && !fails; s++)
        n_out += *s == ' ';
    if (fails && strcmp(r->op, "Split") == 0)
        n_out = 2;
    int op = cg_op_find(r->op);
    assert_true(op >= 0);
    cg_node *n = cg_node_new(g, g->main, (cg_op)op, "n", in, n_in, NULL,
                             n_out);
    read_attrs(g, n, r->attrs);
    cg_err e = cg_infer_node(g, n);
    const char *got = "";
    if (e != CG_OK)
        got = cg_error();
    for (size_t k = 0; k < n_out && e == CG_OK; k++)
        got = cg_arena_printf(&g->arena, "%s%s%s", got, k ? " " : "",
                              put_value(g, n->out[k]));
    if (fails ? e == CG_OK || !strstr(got, r->out) : strcmp(got, r->out) != 0)
        fail_msg("%s(%s, %s, %s) %s\n  gives  %s\n  wanted %s", r->op,
                 r->in[0] ? r->in[0] : "", r->in[1] ? r->in[1] : "",
                 r->in[2] ? r->in[2] : "", r->attrs ? r->attrs : "", got,
                 r->out);
    cg_graph_free(g);
}

static void check_rows(const row *r, size_t n)
{
    for (size_t k = 0; k < n; k++)
        check_row(&r[k]);
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

/* -- rows ----------------------------------------------------------------- */

static void test_reshape(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Reshape", "", {"f32[2,3,4]", "i64[2]={-1,4}"}, "f32[6,4]"},
        {"Reshape", "", {"f32[2,3,4]", "i64[3]={0,-1,2}"}, "f32[2,6,2]"},
        {"Reshape", "", {"f32[b,3,h,w]", "i64[2]={0,-1}"}, "f32[b,3*h*w]"},
        {"Reshape", "", {"f32[b,s,768]", "i64[4]={b,s,12,64}"},
         "f32[b,s,12,64]"},
        {"Reshape", "", {"f32[b,s,768]", "i64[4]={0,0,12,-1}"},
         "f32[b,s,12,64]"},
        {"Reshape", "", {"f32[b,s,768]", "i64[2]={-1,768}"}, "f32[b*s,768]"},
        {"Reshape", "", {"f32[b*s,12,64]", "i64[3]={-1,s,768}"},
         "f32[b,s,768]"},
        {"Reshape", "", {"f32[b,c,h]", "i64[2]={-1,4}"}, "f32[(b*c*h)//4,4]"},
        {"Reshape", "", {"f32[0,3]", "i64[2]={0,-1}"}, "f32[0,3]"},
        {"Reshape", "allowzero=1", {"f32[0,3]", "i64[2]={3,0}"}, "f32[3,0]"},
        {"Reshape", "", {"f32[2,3]", "i64[3]"}, "f32[?n,?n.2,?n.3]"},
        {"Reshape", "", {"f32[2,3]", "i64[1]"}, "f32[6]"},
        {"Reshape", "", {"f32[2,3]", "i64[k]"}, "f32*"},
        {"Reshape", "", {"f32*", "i64[3]={2,0,-1}"}, "f32[2,?n,?n.2]"},
        {"Reshape", "", {"f32[6]", "i64[0]={}"}, "cannot be reshaped"},
        {"Reshape", "", {"f32[2,3,4]", "i64[2]={5,5}"}, "cannot be reshaped"},
        {"Reshape", "", {"f32[2,3,4]", "i64[2]={-1,5}"},
         "cannot be reshaped"},
        {"Reshape", "", {"f32[2,3]", "i64[2]={-1,-1}"}, "two dims of -1"},
        {"Reshape", "", {"f32[2,3]", "i64[2]={-2,3}"}, "is -2"},
        {"Reshape", "", {"f32[2,3]", "i64[3]={2,3,0}"}, "rank 2"},
        {"Reshape", "", {"i64[4]={a,b,3,4}", "i64[2]={2,2}"},
         "i64[2,2]={a,b,3,4}"},
        {"Flatten", "", {"f32[b,3,h,w]"}, "f32[b,3*h*w]"},
        {"Flatten", "axis=0", {"f32[2,3]"}, "f32[1,6]"},
        {"Flatten", "axis=-1", {"f32[2,3,4]"}, "f32[6,4]"},
        {"Flatten", "axis=5", {"f32[2,3,4]"}, "out of range"},
        {"Squeeze", "", {"f32[1,3,1]"}, "f32[3]"},
        {"Squeeze", "", {"f32[b,3,1]"}, "f32*"},
        {"Squeeze", "", {"f32[b,3,1]", "i64[1]={-1}"}, "f32[b,3]"},
        {"Squeeze", "", {"f32[b,3,1]", "i64[1]={1}"}, "cannot be squeezed"},
        {"Squeeze", "", {"f32[b,3,1]", "i64[1]"}, "f32[?n,?n.2]"},
        {"Unsqueeze", "", {"f32[b,3]", "i64[2]={0,-1}"}, "f32[1,b,3,1]"},
        {"Unsqueeze", "", {"f32[b,3]", "i64[2]={1,-3}"}, "inserted twice"},
        {"Unsqueeze", "", {"i64[]={h}", "i64[1]={0}"}, "i64[1]={h}"},
        {"Transpose", "perm=[0,2,1]", {"f32[a,b,c]"}, "f32[a,c,b]"},
        {"Transpose", "", {"f32[a,b,c]"}, "f32[c,b,a]"},
        {"Transpose", "perm=[0,1]", {"f32[a,b,c]"}, "2 axes"},
        {"Transpose", "perm=[0,1,1]", {"f32[a,b,c]"}, "not a permutation"},
        {"Transpose", "perm=[1,0]", {"i64[2,3]={1,2,3,4,5,6}"},
         "i64[3,2]={1,4,2,5,3,6}"},
    };
    CHECK(rows);
}

static void test_expand(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Expand", "", {"f32[1,3]", "i64[2]={b,1}"}, "f32[b,3]"},
        {"Expand", "", {"f32[3,1]", "i64[3]={2,1,6}"}, "f32[2,3,6]"},
        {"Expand", "", {"f32[1,3]", "i64[2]={b,-1}"}, "f32[b,3]"},
        {"Expand", "", {"f32[2,3]", "i64[2]={4,3}"}, "do not broadcast"},
        {"Expand", "", {"i64[1]={h}", "i64[1]={3}"}, "i64[3]={h,h,h}"},
        {"Tile", "", {"f32[a,2]", "i64[2]={3,k}"}, "f32[3*a,2*k]"},
        {"Tile", "", {"i64[2]={1,h}", "i64[1]={2}"}, "i64[4]={1,h,1,h}"},
        {"Tile", "", {"i64[1,2]={1,2}", "i64[2]={2,2}"},
         "i64[2,4]={1,2,1,2,1,2,1,2}"},
        {"Tile", "", {"f32[a,2]", "i64[1]={3}"}, "1 repeats"},
        {"Tile", "", {"f32[2]", "i64[1]={-3}"}, "repeated -3 times"},
        {"ConstantOfShape", "", {"i64[2]={b,3}"}, "f32[b,3]"},
        {"ConstantOfShape", "", {"i64[1]={2}"}, "f32[2]={0,0}"},
        {"ConstantOfShape", "", {"i64[0]={}"}, "f32[]={0}"},
        {"ConstantOfShape", "", {"i64[2]={100000000000,1}"},
         "f32[100000000000,1]"},
        {"ConstantOfShape", "",
         {"i64[3]={100000000000,100000000000,2}"}, "more than 2^63"},
        {"ConstantOfShape", "", {"i64[1]={-3}"}, "is -3"},
        {"ConstantOfShape", "", {"i64[2]"}, "f32[?n,?n.2]"},
        {"Range", "", {"i64[]={0}", "i64[]={s}", "i64[]={1}"}, "i64[s]"},
        {"Range", "", {"i64[]={p}", "i64[]={p+s}", "i64[]={1}"}, "i64[s]"},
        {"Range", "", {"i64[]={1}", "i64[]={8}", "i64[]={3}"},
         "i64[3]={1,4,7}"},
        {"Range", "", {"i64[]={5}", "i64[]={0}", "i64[]={-2}"},
         "i64[3]={5,3,1}"},
        {"Range", "", {"i64[]={5}", "i64[]={0}", "i64[]={2}"}, "i64[0]={}"},
        {"Range", "", {"f32[]={0}", "f32[]={1}", "f32[]={0.25}"},
         "f32[4]={0,0.25,0.5,0.75}"},
        {"Range", "", {"f32[]={0}", "f32[]={h}", "f32[]={1}"}, "f32[h]"},
        {"Range", "", {"i64[]={0}", "i64[]={8}", "i64[]={0}"}, "step is 0"},
    };
    CHECK(rows);
}

static void test_slice(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Slice", "", {"f32[b,s]", "i64[1]={0}", "i64[1]={-1}",
                       "i64[1]={1}"}, "f32[b,s-1]"},
        {"Slice", "", {"f32[b,s]", "i64[1]={-1}",
                       "i64[1]={9223372036854775807}", "i64[1]={1}"},
         "f32[b,1]"},
        {"Slice", "", {"f32[b,s]", "i64[1]={0}", "i64[1]={1}", "i64[1]={1}"},
         "f32[b,1]"},
        {"Slice", "", {"f32[b,s]", "i64[2]={0,4}",
                       "i64[2]={2147483647,9223372036854775807}"},
         "f32[b,s-4]"},
        {"Slice", "", {"f32[s]", "i64[1]={0}", "i64[1]={2048}"},
         "f32[min(s,2048)]"},
        {"Slice", "", {"f32[s]", "i64[1]={0}", "i64[1]={-20}"},
         "f32[max(s-20,0)]"},
        {"Slice", "", {"f32[1024]", "i64[1]={p}", "i64[1]={p+s}"}, "f32[s]"},
        {"Slice", "", {"f32[10]", "i64[1]={-3}", "i64[1]={100}"}, "f32[3]"},
        {"Slice", "", {"f32[10]", "i64[1]={8}", "i64[1]={2}"}, "f32[0]"},
        {"Slice", "", {"f32[3]", "i64[1]={8}", "i64[1]={9}"}, "f32[0]"},
        {"Slice", "", {"i64[4]={a,b,c,d}", "i64[1]={-2}",
                       "i64[1]={9223372036854775807}"}, "i64[2]={c,d}"},
        {"Slice", "", {"f32[4,6]", "i64[1]", "i64[1]", "i64[1]={0}"},
         "f32[?n,6]"},
        {"Slice", "", {"f32[4,6]", "i64[2]={0,0}", "i64[1]={1}"}, "differ"},
        {"Slice", "", {"f32[4,6]", "i64[2]={0,0}", "i64[2]={1,1}",
                       "i64[2]={1,-1}"}, "sliced twice"},
    };
    CHECK(rows);
}

static void test_split_concat(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Split", "axis=1", {"f32[b,6]"}, "f32[b,3] f32[b,3]"},
        {"Split", "num_outputs=3", {"f32[7]"}, "f32[3] f32[3] f32[1]"},
        {"Split", "", {"f32[2*h]"}, "f32[h] f32[h]"},
        {"Split", "axis=-1", {"f32[b,6]", "i64[2]={2,4}"},
         "f32[b,2] f32[b,4]"},
        {"Split", "", {"i64[3]={a,b,c}", "i64[2]={1,2}"},
         "i64[1]={a} i64[2]={b,c}"},
        {"Split", "", {"f32[7]"}, "split into 2 parts"},
        {"Split", "", {"f32[7]", "i64[2]={2,4}"}, "differ"},
        {"Split", "", {"f32[7]", "i64[2]={9,-2}"}, "size -2"},
        {"Split", "axis=3", {"f32[8]"}, "out of range"},
        {"Concat", "axis=1", {"f32[b,s,4]", "f32[b,t,4]"}, "f32[b,s+t,4]"},
        {"Concat", "axis=0", {"f32[2,s]", "f32[3,8]"}, "f32[5,8]"},
        {"Concat", "axis=0", {"i64[1]={b}", "i64[2]={-1,4}"},
         "i64[3]={b,-1,4}"},
        {"Concat", "axis=1", {"i64[2,1]={1,2}", "i64[2,2]={3,4,5,6}"},
         "i64[2,3]={1,3,4,2,5,6}"},
        {"Concat", "axis=0", {"f32[2,3]", "f32[2,4]"}, "is 4"},
        {"Concat", "axis=0", {"f32[2,3]", "f32[2]"}, "rank"},
    };
    CHECK(rows);
}

static void test_index(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Gather", "axis=1", {"f32[b,9,4]", "i64[2,k]"}, "f32[b,2,k,4]"},
        {"Gather", "", {"i64[4]={b,3,h,w}", "i64[]={-1}"}, "i64[]={w}"},
        {"Gather", "", {"i64[4]={b,3,h,w}", "i64[2]={2,0}"}, "i64[2]={h,b}"},
        {"Gather", "axis=1", {"i64[2,2]={1,2,3,4}", "i64[1]={1}"},
         "i64[2,1]={2,4}"},
        {"Gather", "", {"f32[4]", "i64[]={4}"}, "out of range"},
        {"Gather", "axis=2", {"f32[4]", "i64[]={0}"}, "out of range"},
        {"GatherElements", "axis=1", {"f32[3,9]", "i64[3,k]"}, "f32[3,k]"},
        {"GatherND", "", {"f32[b,9,4]", "i64[k,2]"}, "f32[k,4]"},
        {"GatherND", "batch_dims=1", {"f32[b,9,4]", "i64[b,k,1]"},
         "f32[b,k,4]"},
        {"GatherND", "", {"f32[b,9]", "i64[k,3]"}, "depth 3"},
        {"NonZero", "", {"f32[b,9]"}, "i64[2,?n]"},
        {"NonZero", "", {"f32[4]={0,1,0,2}"}, "i64[1,2]={1,3}"},
        {"NonZero", "", {"i64[2,2]={1,0,1,1}"}, "i64[2,3]={0,1,1,0,0,1}"},
        {"OneHot", "", {"i64[b]", "i64[]={10}", "f32[2]"}, "f32[b,10]"},
        {"OneHot", "axis=0", {"i64[b]", "i64[1]={c}", "f32[2]"}, "f32[c,b]"},
        {"Compress", "axis=1", {"f32[b,4]", "bool[4]"}, "f32[b,?n]"},
        {"Compress", "", {"f32[b,4]", "bool[3]={1,0,1}"}, "f32[2]"},
        {"NonMaxSuppression", "", {"f32[1,9,4]", "f32[1,2,9]"}, "i64[?n,3]"},
        {"ScatterND", "", {"i64[3]={a,b,c}", "i64[1,1]={1}", "i64[1]={7}"},
         "i64[3]={a,7,c}"},
        {"Shape", "", {"f32[b,3,h]"}, "i64[3]={b,3,h}"},
        {"Shape", "start=-2", {"f32[b,3,h]"}, "i64[2]={3,h}"},
        {"Shape", "end=1", {"f32[b,3,h]"}, "i64[1]={b}"},
        {"Shape", "", {"f32*"}, "i64[?n]"},
        {"Size", "", {"f32[b,3,h]"}, "i64[]={3*b*h}"},
        {"Cast", "to=1", {"i64[2]={h,3}"}, "f32[2]={1*h,3}"},
        {"Cast", "to=7", {"f32[3]={0.5*h,2.7,-2.7}"}, "i64[3]={h//2,2,-2}"},
        {"Cast", "to=9", {"i64[3]={0,7,h+1}"}, "bool[3]={0,1,1}"},
        {"Cast", "to=6", {"i64[1]={4294967297}"}, "i32[1]={1}"},
        {"Cast", "to=2", {"f32[1]={259}"}, "u8[1]={3}"},
        {"Cast", "to=1", {"i64[1]={16777217}"}, "f32[1]={16777216}"},
        {"Cast", "to=10", {"f32[1]={2049}"}, "f16[1]={2048}"},
        {"Cast", "to=99", {"f32[1]={2049}"}, "no element type"},
    };
    CHECK(rows);
}

static void test_arithmetic(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Add", "", {"i64[2]={h,3}", "i64[]={1}"}, "i64[2]={h+1,4}"},
        {"Add", "", {"i64[]={1}", "i64[]={2}", "i64[]={b}"}, "i64[]={b+3}"},
        {"Mul", "", {"i64[1]={b}", "i64[1]={s}"}, "i64[1]={b*s}"},
        {"Sub", "", {"i64[]={h}", "i64[]={h-3}"}, "i64[]={3}"},
        {"Div", "", {"i64[]={h}", "i64[]={2}"}, "i64[]={h//2}"},
        {"Div", "", {"i64[]={-7}", "i64[]={2}"}, "i64[]={-3}"},
        {"Div", "", {"i64[]={6*h}", "i64[]={2*h}"}, "i64[]={3}"},
        {"Div", "", {"i64[]={6}", "i64[]={0}"}, "divided by zero"},
        {"Div", "", {"f32[]={6}", "f32[]={0}"}, "f32[]={inf}"},
        {"Div", "", {"f32[]={h}", "f32[]={32}"}, "f32[]={0.03125*h}"},
        {"Div", "", {"f32[]={2*h}", "f32[]={h}"}, "f32[]={2}"},
        {"Div", "", {"f32[2]={2*h,1}", "f32[]={w}"},
         "f32[2]={nan*?n,nan*?n.2}"},
        {"Mul", "", {"f32[2]={nan*?k,1}", "f32[]={h}"},
         "f32[2]={nan*?k,1*h}"},
        {"Floor", "", {"f32[]={nan*?k}"}, "f32[]={1*?n}"},
        {"Div", "", {"f32[]={1}", "f32[]={3}"}, "f32[]={0.333333343}"},
        {"Mod", "", {"i64[]={-7}", "i64[]={3}"}, "i64[]={2}"},
        {"Mod", "fmod=1", {"i64[]={-7}", "i64[]={3}"}, "i64[]={-1}"},
        {"Mod", "", {"i64[]={4*h}", "i64[]={2}"}, "i64[]={0}"},
        {"Mod", "", {"i64[]={7}", "i64[]={0}"}, "modulo zero"},
        {"Floor", "", {"f32[2]={0.5*h,-1.5}"}, "f32[2]={1*h//2,-2}"},
        {"Floor", "", {"f32[1]={2*h}"}, "f32[1]={1*2*h}"},
        {"Ceil", "", {"f32[1]={0.03125*h}"}, "f32[1]={1*(h+31)//32}"},
        {"Round", "", {"f32[3]={0.5,1.5,-0.5}"}, "f32[3]={0,2,-0}"},
        {"Mul", "", {"f32[]={h}", "f32[]={0.5}"}, "f32[]={0.5*h}"},
        {"Add", "", {"f32[]={0.5*h}", "f32[]={1}"}, "f32[]={0.5*h+2}"},
        {"Sub", "", {"f32[]={h}", "f32[]={1}"}, "f32[]={1*h-1}"},
        {"Max", "", {"i64[]={h}", "i64[]={-1}"}, "i64[]={h}"},
        {"Max", "", {"i64[]={h}", "i64[]={w}"}, "i64[]={max(h,w)}"},
        {"Min", "", {"i64[]={h+1}", "i64[]={h}"}, "i64[]={h}"},
        {"Min", "", {"f32[2]={1,5}", "f32[]={3}"}, "f32[2]={1,3}"},
        {"Pow", "", {"f32[]={2}", "f32[]={0.5}"}, "f32[]={1.41421354}"},
        {"Pow", "", {"i64[]={h}", "i64[]={2}"}, "i64[]={h*h}"},
        {"Sqrt", "", {"f32[]={64}"}, "f32[]={8}"},
        {"Neg", "", {"i64[]={h}"}, "i64[]={-h}"},
        {"Abs", "", {"i64[2]={-3,h}"}, "i64[2]={3,h}"},
        {"ReLU", "", {"f32[2]={-3,2}"}, "f32[2]={0,2}"},
        {"Sign", "", {"i64[2]={-3,h+1}"}, "i64[2]={-1,1}"},
        {"Clip", "", {"i64[2]={-3,9}", "i64[]={0}", "i64[]={4}"},
         "i64[2]={0,4}"},
        {"Add", "", {"i32[]={2147483647}", "i32[]={1}"},
         "i32[]={-2147483648}"},
        {"Add", "", {"f32[]={16777216}", "f32[]={1}"}, "f32[]={16777216}"},
        {"Add", "broadcast_axis=0", {"i64[2,1]={1,2}", "i64[2]={10,20}"},
         "i64[2,1]={11,22}"},
        {"Add", "", {"i64[2]={1,2}", "i64[2]"}, "i64[2]"},
    };
    CHECK(rows);
}

static void test_logic(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Equal", "", {"i64[3]={h,-1,2}", "i64[]={-1}"}, "bool[3]={0,1,0}"},
        {"Equal", "", {"i64[]={h}", "i64[]={3}"}, "bool[]={?n}"},
        {"Greater", "", {"i64[]={h+1}", "i64[]={0}"}, "bool[]={1}"},
        {"GreaterOrEqual", "", {"i64[]={h}", "i64[]={0}"}, "bool[]={1}"},
        {"Less", "", {"i64[]={h}", "i64[]={0}"}, "bool[]={0}"},
        {"LessOrEqual", "", {"i64[]={h}", "i64[]={h+w}"}, "bool[]={1}"},
        {"Less", "", {"f32[2]={1,nan}", "f32[]={2}"}, "bool[2]={1,0}"},
        {"And", "", {"bool[2]={1,0}", "bool[]={1}"}, "bool[2]={1,0}"},
        {"Or", "", {"bool[2]={1,0}", "bool[]={0}"}, "bool[2]={1,0}"},
        {"Xor", "", {"bool[2]={1,0}", "bool[]={1}"}, "bool[2]={0,1}"},
        {"Not", "", {"bool[2]={1,0}"}, "bool[2]={0,1}"},
        {"Where", "", {"bool[2]={1,0}", "i64[2]={a,b}", "i64[]={1}"},
         "i64[2]={a,1}"},
        {"Where", "", {"bool[1]={x}", "i64[]={a}", "i64[]={a}"},
         "i64[1]={a}"},
        {"ReduceProd", "keepdims=0", {"i64[3]={b,3,h}"}, "i64[]={3*b*h}"},
        {"ReduceSum", "", {"i64[2,2]={1,2,3,4}", "i64[1]={0}"},
         "i64[1,2]={4,6}"},
        {"ReduceMax", "keepdims=0", {"i64[2,2]={1,2,3,4}", "i64[1]={1}"},
         "i64[2]={2,4}"},
        {"ReduceMin", "keepdims=0", {"f32[3]={3,1,2}"}, "f32[]={1}"},
        {"ReduceSum", "keepdims=0", {"i64[0]={}"}, "i64[]={0}"},
        {"CumSum", "", {"i64[3]={a,b,2}", "i64[]={0}"}, "i64[3]={a,a+b,a+b+2}"},
        {"CumSum", "exclusive=1", {"i64[3]={1,2,3}", "i64[]={0}"},
         "i64[3]={0,1,3}"},
        {"CumSum", "reverse=1", {"i64[2,2]={1,2,3,4}", "i64[]={1}"},
         "i64[2,2]={3,2,7,4}"},
    };
    CHECK(rows);
}

static cg_value *made(cg_graph *g, cg_op op, cg_value *const *in, size_t n)
{
    cg_node *node = cg_node_new(g, g->main, op, "m", in, n, NULL, 1);
    if (cg_infer_node(g, node) != CG_OK)
        fail_msg("%s", cg_error());
    return node->out[0];
}

/* A target of which only a part is known keeps that part, and the number of
 * elements says the rest where it can. */
static void test_blind(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("blind");
    cg_value *parts[] = { read_value(g, "i64[1]={b}", 0),
                          read_value(g, "i64[1]", 1),
                          read_value(g, "i64[1]={-1}", 2) };
    cg_value *two = made(g, CG_OP_CONCAT, parts, 2);
    cg_value *three = made(g, CG_OP_CONCAT, parts, 3);
    cg_value *x = read_value(g, "f32[b,6]", 3);
    cg_value *one = read_value(g, "f32[1,1]", 4);
    assert_null(two->data);
    cg_value *y = made(g, CG_OP_RESHAPE, (cg_value *[]){ x, two }, 2);
    assert_string_equal(put_value(g, y), "f32[b,6]");
    y = made(g, CG_OP_RESHAPE, (cg_value *[]){ x, three }, 2);
    assert_string_equal(put_value(g, y), "f32[b,?m.2,?m.3]");
    y = made(g, CG_OP_EXPAND, (cg_value *[]){ one, two }, 2);
    assert_string_equal(put_value(g, y), "f32[b,?m.4]");
    y = made(g, CG_OP_TILE, (cg_value *[]){ x, two }, 2);
    assert_string_equal(put_value(g, y), "f32[b*b,?m.5]");
    cg_graph_free(g);
}

/* arange(n) as exporters of opset 9 wrote it. */
static void test_ones(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("ones");
    cg_value *n = read_value(g, "i64[1]={n}", 0);
    cg_node *ones = cg_node_new(g, g->main, CG_OP_CONSTANT_OF_SHAPE, "ones",
                                &n, 1, NULL, 1);
    cg_attr_set_value(g, ones, "value", read_value(g, "i64[1]={1}", 1));
    assert_int_equal(cg_infer_node(g, ones), CG_OK);
    cg_value *y = made(g, CG_OP_NON_ZERO, ones->out, 1);
    assert_string_equal(put_value(g, y), "i64[1,n]");
    cg_graph_free(g);
}

/* Whatever the sizes, nothing over CG_DATA_MAX elements is made. */
static void test_limits(void **state)
{
    (void)state;
    static const row rows[] = {
        {"Expand", "", {"i64[1]={1}", "i64[1]={4097}"}, "i64[4097]"},
        {"Tile", "", {"i64[1]={1}", "i64[1]={1000000007}"},
         "i64[1000000007]"},
        {"Range", "", {"i64[]={0}", "i64[]={9223372036854775807}",
                       "i64[]={1}"}, "i64[9223372036854775807]"},
        {"Slice", "", {"f32[10]", "i64[1]={9223372036854775807}",
                       "i64[1]={-9223372036854775807}"}, "f32[0]"},
    };
    CHECK(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshape),      cmocka_unit_test(test_expand),
        cmocka_unit_test(test_slice),        cmocka_unit_test(test_index),
        cmocka_unit_test(test_split_concat), cmocka_unit_test(test_logic),
        cmocka_unit_test(test_arithmetic),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_blind),        cmocka_unit_test(test_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
