/* FLOPs rules of what multiplies and adds: convolutions, matrix products,
 * attention, recurrent cells. */
#include <string.h>

#include "passes/cost_util.h"

/* Bias: 1 per output element. */
static cg_dim bias_adds(cg_graph *g, const cg_node *n, size_t k)
{
    return cg_in(n, k) ? cg_cost_out(g, n) : 0;
}

static cg_err with_bias(cg_graph *g, cg_node *n, cg_dim macs, size_t bias)
{
    return cg_cost_set(g, n, macs, bias_adds(g, n, bias));
}

/* Weight (Cout, Cin/groups, kernel...): outputs x Cin/groups x kernel. */
cg_err cg_flops_conv(cg_graph *g, cg_node *n)
{
    cg_type w = cg_in_type(n, 1);
    size_t bias = n->op == CG_OP_DEFORM_CONV ? 3 : 2;
    if (w.rank < 2)
        return with_bias(g, n, cg_cost_unknown(g, n), bias);
    return with_bias(
        g, n, cg_dim_mul(g, cg_cost_out(g, n), cg_cost_tail(g, &w, 1)), bias);
}

cg_err cg_flops_causal_conv(cg_graph *g, cg_node *n)
{
    return cg_flops_conv(g, n);
}

/* Weight (Cin, Cout/groups, kernel...): inputs x Cout/groups x kernel. */
cg_err cg_flops_conv_transpose(cg_graph *g, cg_node *n)
{
    cg_type w = cg_in_type(n, 1);
    if (w.rank < 2)
        return with_bias(g, n, cg_cost_unknown(g, n), 2);
    return with_bias(
        g, n, cg_dim_mul(g, cg_cost_in(g, n, 0), cg_cost_tail(g, &w, 1)), 2);
}

/* Outputs x K. */
cg_err cg_flops_matmul(cg_graph *g, cg_node *n)
{
    cg_type a = cg_in_type(n, 0), b = cg_in_type(n, 1);
    cg_dim k;
    if (a.rank >= 1)
        k = a.dims[cg_attr_int(n, "transA", 0) && a.rank > 1 ? a.rank - 2
                                                              : a.rank - 1];
    else if (b.rank >= 1)
        k = b.dims[b.rank == 1 || cg_attr_int(n, "transB", 0) ? b.rank - 1
                                                               : b.rank - 2];
    else
        k = cg_cost_unknown(g, n);
    return with_bias(g, n, cg_dim_mul(g, cg_cost_out(g, n), k), 2);
}

cg_err cg_flops_gemm(cg_graph *g, cg_node *n) { return cg_flops_matmul(g, n); }

cg_err cg_flops_matmul_nbits(cg_graph *g, cg_node *n)
{
    cg_dim k = cg_attr_int(n, "K", 0);
    return with_bias(g, n, cg_dim_mul(g, cg_cost_out(g, n), k), 5);
}

/* -- Einsum ------------------------------------------------------------- */

/* Labels are letters; '.' stands for the axes of an ellipsis. */
typedef struct labels {
    cg_dim size[256];
    bool seen[256];
    cg_dim ellipsis[CG_MAX_RANK]; /* from the right */
    int n_ellipsis;
} labels;

static void see(labels *l, unsigned char c, cg_dim d)
{
    if (!l->seen[c] || l->size[c] == 1)
        l->size[c] = d;
    l->seen[c] = true;
}

static int count_letters(const char *s, const char *end)
{
    int n = 0;
    for (; s < end; s++)
        n += *s != ' ' && *s != '.';
    return n;
}

/* One term of the equation against one operand. */
static bool read_term(labels *l, const char *s, const char *end,
                      const cg_type *t)
{
    int letters = count_letters(s, end), axis = 0;
    int dots = t->rank - letters;
    bool done = false;
    if (t->rank < 0 || dots < 0)
        return false;
    for (; s < end; s++) {
        if (*s == ' ' || (*s == '.' && done))
            continue;
        if (*s != '.') {
            if (axis >= t->rank)
                return false;
            see(l, (unsigned char)*s, t->dims[axis++]);
            continue;
        }
        done = true;
        for (int i = 0; i < dots; i++) {
            cg_dim *e = &l->ellipsis[dots - 1 - i];
            if (dots - i > l->n_ellipsis || *e == 1)
                *e = t->dims[axis + i];
        }
        l->n_ellipsis = dots > l->n_ellipsis ? dots : l->n_ellipsis;
        axis += dots;
    }
    return true;
}

static bool read_equation(const cg_node *n, labels *l)
{
    const char *s = cg_attr_string(n, "equation", "");
    const char *stop = strstr(s, "->");
    if (!stop)
        stop = s + strlen(s);
    for (uint32_t k = 0; k < n->n_in; k++) {
        const char *end = s;
        while (end < stop && *end != ',')
            end++;
        cg_type t = cg_in_type(n, k);
        if (!read_term(l, s, end, &t))
            return false;
        s = end < stop ? end + 1 : stop;
    }
    return true;
}

/* The product of all label sizes; with one operand nothing is multiplied. */
cg_err cg_flops_einsum(cg_graph *g, cg_node *n)
{
    labels l = {0};
    if (n->n_in == 1)
        return cg_cost_set(g, n, 0, cg_cost_in(g, n, 0));
    if (!read_equation(n, &l))
        return cg_cost_set(g, n, cg_cost_unknown(g, n), 0);
    cg_dim macs = 1;
    for (int c = 0; c < 256; c++)
        if (l.seen[c])
            macs = cg_dim_mul(g, macs, l.size[c]);
    for (int i = 0; i < l.n_ellipsis; i++)
        macs = cg_dim_mul(g, macs, l.ellipsis[i]);
    return cg_cost_set(g, n, macs, 0);
}

/* -- attention that simplify left whole --------------------------------- */

/* Query rows x keys x (query features + value features), Softmax on the
 * scores. `width` is the features of all heads. */
static cg_err attention(cg_graph *g, cg_node *n, cg_dim rows, cg_dim keys,
                        cg_dim width, cg_dim heads, cg_dim more)
{
    cg_dim scores = cg_dim_mul(g, rows, keys);
    cg_dim macs = cg_dim_mul(g, scores, cg_dim_mul(g, 2, width));
    return cg_cost_set(
        g, n, cg_dim_add(g, macs, more),
        cg_dim_mul(g, 5, cg_dim_mul(g, scores, heads)));
}

static cg_dim length(cg_graph *g, const cg_node *n, const cg_type *t)
{
    return t->rank >= 3 ? t->dims[t->rank - 2] : cg_cost_unknown(g, n);
}

/* 4-d (B, H, L, d), or 3-d (B, L, H*d) with the head count as attribute. */
static cg_err attention_of(cg_graph *g, cg_node *n, const char *heads)
{
    cg_type q = cg_in_type(n, 0), k = cg_in_type(n, cg_in(n, 1) ? 1 : 0);
    if (q.rank < 3)
        return cg_cost_set(g, n, cg_cost_unknown(g, n), 0);
    cg_dim rows = cg_dim_mul(g, q.dims[0], length(g, n, &q));
    cg_dim width = q.dims[q.rank - 1];
    cg_dim h = cg_attr_int(n, heads, 1);
    if (q.rank == 4) {
        h = q.dims[1];
        width = cg_dim_mul(g, width, h);
    }
    return attention(g, n, rows, length(g, n, &k), width, h, 0);
}

cg_err cg_flops_attention(cg_graph *g, cg_node *n)
{
    return attention_of(g, n, "q_num_heads");
}

cg_err cg_flops_multi_head_attention(cg_graph *g, cg_node *n)
{
    return attention_of(g, n, "num_heads");
}

cg_err cg_flops_group_query_attention(cg_graph *g, cg_node *n)
{
    return attention_of(g, n, "num_heads");
}

/* With the projection to query, key and value before it. */
cg_err cg_flops_packed_attention(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), w = cg_in_type(n, 1);
    if (x.rank != 3 || w.rank != 2)
        return cg_cost_set(g, n, cg_cost_unknown(g, n), 0);
    cg_dim rows = cg_dim_mul(g, x.dims[0], x.dims[1]);
    return attention(g, n, rows, x.dims[1], cg_dim_floordiv(g, w.dims[1], 3),
                     cg_attr_int(n, "num_heads", 1),
                     cg_dim_mul(g, cg_cost_in(g, n, 0), w.dims[1]));
}

/* A d x dv state per head is updated and read for each query row. */
cg_err cg_flops_linear_attention(cg_graph *g, cg_node *n)
{
    cg_type q = cg_in_type(n, 0), v = cg_in_type(n, 2);
    if (q.rank < 3 || v.rank < 3)
        return cg_cost_set(g, n, cg_cost_unknown(g, n), 0);
    cg_dim heads = q.rank == 4 ? 1 : cg_attr_int(n, "q_num_heads", 1);
    cg_dim size = v.dims[v.rank - 1];
    if (heads > 1)
        size = cg_dim_floordiv(g, size, heads);
    cg_dim macs = cg_dim_mul(g, cg_cost_in(g, n, 0), size);
    return cg_cost_set(g, n, cg_dim_mul(g, 2, macs), 0);
}

/* -- recurrent cells ---------------------------------------------------- */

/* steps x batch x directions x gates*hidden x (input + hidden). The weight W
 * is (directions, gates*hidden, input), R (directions, gates*hidden,
 * hidden). */
cg_err cg_flops_rnn(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), w = cg_in_type(n, 1), r = cg_in_type(n, 2);
    if (x.rank != 3 || w.rank != 3 || r.rank != 3)
        return cg_cost_set(g, n, cg_cost_unknown(g, n), 0);
    cg_dim cells = cg_dim_mul(g, x.dims[0], x.dims[1]);
    cg_dim gates = cg_dim_mul(g, cells, cg_dim_mul(g, w.dims[0], w.dims[1]));
    cg_dim macs =
        cg_dim_mul(g, gates, cg_dim_add(g, w.dims[2], r.dims[2]));
    return cg_cost_set(g, n, macs, cg_in(n, 3) ? gates : 0);
}
