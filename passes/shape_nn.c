/* Shape rules of recurrent layers, attention, losses, optimisers, and of
 * operators nobody knows. */
#include <string.h>

#include "passes/shape_rules.h"

/* -- recurrent ------------------------------------------------------------- */

/* W is (directions, gates * hidden, input), R (directions, gates * hidden,
 * hidden); layout 1 puts the batch first. */
static cg_err rnn_sizes(cg_graph *g, cg_node *n, cg_dim *dirs, cg_dim *hidden)
{
    int64_t size = cg_attr_int(n, "hidden_size", 0);
    int64_t gates = n->op == CG_OP_LSTM ? 4 : n->op == CG_OP_GRU ? 3 : 1;
    const char *way = cg_attr_string(n, "direction", "forward");
    CG_TRY(cg_want_rank(n, 0, "X", 3, 3));
    CG_TRY(cg_want_rank(n, 1, "W", 3, 3));
    CG_TRY(cg_want_rank(n, 2, "R", 3, 3));
    *dirs = strcmp(way, "bidirectional") == 0 ? 2 : 1;
    CG_TRY(cg_want_equal(g, cg_in_dim(g, n, 1, 0), *dirs,
                         "directions of W and of the node"));
    *hidden = size > 0 ? size : cg_in_dim(g, n, 2, 2);
    CG_TRY(cg_want_equal(g, cg_in_dim(g, n, 2, 2), *hidden,
                         "hidden size of R and of the node"));
    CG_TRY(cg_want_equal(g, cg_in_dim(g, n, 1, 1),
                         cg_dim_mul(g, *hidden, gates),
                         "rows of W and gates times hidden size"));
    return cg_want_equal(g, cg_in_dim(g, n, 0, 2), cg_in_dim(g, n, 1, 2),
                         "input size of X and of W");
}

cg_err cg_shape_rnn(cg_graph *g, cg_node *n)
{
    cg_dim dirs, hidden;
    int layout = cg_attr_int(n, "layout", 0) != 0;
    int dtype = cg_in_dtype(n, 0, cg_in_type(n, 1).dtype);
    CG_TRY(rnn_sizes(g, n, &dirs, &hidden));
    cg_dim seq = cg_in_dim(g, n, 0, layout), b = cg_in_dim(g, n, 0, !layout);
    cg_dim y[2][4] = {{seq, dirs, b, hidden}, {b, seq, dirs, hidden}};
    cg_dim last[2][3] = {{dirs, b, hidden}, {b, dirs, hidden}};
    cg_out_tensor(g, n, 0, dtype, 4, y[layout]);
    cg_out_tensor(g, n, 1, dtype, 3, last[layout]);
    cg_out_tensor(g, n, 2, dtype, 3, last[layout]);
    return CG_OK;
}

/* -- attention ------------------------------------------------------------- */

/* (batch, heads, length, head size) of a query, key or value that may come as
 * (batch, length, heads * head size). */
typedef struct heads {
    cg_dim batch, count, len, size;
} heads;

static cg_err heads_of(cg_graph *g, cg_node *n, size_t k, int64_t count,
                       heads *h)
{
    int rank = cg_in_type(n, k).rank;
    h->batch = cg_in_dim(g, n, k, 0);
    if (rank == 4) {
        h->count = cg_in_dim(g, n, k, 1);
        h->len = cg_in_dim(g, n, k, 2);
        h->size = cg_in_dim(g, n, k, 3);
        return CG_OK;
    }
    h->len = cg_in_dim(g, n, k, 1);
    h->count = count > 0 ? count : cg_dim_unknown(g, n, "number of heads");
    cg_dim all = cg_in_dim(g, n, k, 2);
    if (count <= 0)
        h->size = cg_dim_unknown(g, n, "number of heads");
    else if (cg_dim_known(all) && all % count)
        return cg_fail(CG_EFORMAT, "%s features do not split into %lld heads",
                       cg_dim_str(g, all), (long long)count);
    else
        h->size = cg_dim_floordiv(g, all, count);
    return CG_OK;
}

/* Keys now and before. */
static cg_dim with_past(cg_graph *g, cg_node *n, size_t past, cg_dim len)
{
    return cg_in(n, past) ? cg_dim_add(g, cg_in_dim(g, n, past, 2), len) : len;
}

static void out4(cg_graph *g, cg_node *n, size_t k, int dtype, cg_dim a,
                 cg_dim b, cg_dim c, cg_dim d)
{
    cg_dim dims[4] = {a, b, c, d};
    cg_out_tensor(g, n, k, dtype, 4, dims);
}

static void out3(cg_graph *g, cg_node *n, size_t k, int dtype, cg_dim a,
                 cg_dim b, cg_dim c)
{
    cg_dim dims[3] = {a, b, c};
    cg_out_tensor(g, n, k, dtype, 3, dims);
}

cg_err cg_shape_attention(cg_graph *g, cg_node *n)
{
    heads q, k, v;
    int64_t nq = cg_attr_int(n, "q_num_heads", 0);
    int64_t nkv = cg_attr_int(n, "kv_num_heads", 0);
    int dtype = cg_in_type(n, 0).dtype;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    for (size_t i = 0; i < 3; i++)
        CG_TRY(cg_want_rank(n, i, "an input", 3, 4));
    CG_TRY(heads_of(g, n, 0, nq, &q));
    CG_TRY(heads_of(g, n, 1, nkv, &k));
    CG_TRY(heads_of(g, n, 2, nkv, &v));
    CG_TRY(cg_want_equal(g, q.size, k.size, "head size of Q and K"));
    CG_TRY(cg_want_equal(g, k.len, v.len, "length of K and V"));
    cg_dim total = with_past(g, n, 4, k.len);
    if (cg_in_type(n, 0).rank == 3)
        out3(g, n, 0, dtype, q.batch, q.len, cg_dim_mul(g, q.count, v.size));
    else
        out4(g, n, 0, dtype, q.batch, q.count, q.len, v.size);
    out4(g, n, 1, cg_in_type(n, 1).dtype, k.batch, k.count, total, k.size);
    out4(g, n, 2, cg_in_type(n, 2).dtype, v.batch, v.count,
         with_past(g, n, 5, v.len), v.size);
    out4(g, n, 3, dtype, q.batch, q.count, q.len, total);
    return CG_OK;
}

cg_err cg_shape_flex_attention(cg_graph *g, cg_node *n)
{
    for (size_t i = 0; i < 3; i++)
        CG_TRY(cg_want_rank(n, i, "an input", 4, 4));
    CG_TRY(cg_want_equal(g, cg_in_dim(g, n, 0, 3), cg_in_dim(g, n, 1, 3),
                         "head size of Q and K"));
    out4(g, n, 0, cg_in_type(n, 0).dtype, cg_in_dim(g, n, 0, 0),
         cg_in_dim(g, n, 0, 1), cg_in_dim(g, n, 0, 2),
         cg_in_dim(g, n, 2, 3));
    return CG_OK;
}

/* com.microsoft: query (B,S,D), or packed (B,S,heads,3,size); key (B,L,D),
 * packed (B,L,heads,2,size), or (B,heads,L,size) in cross attention. */
cg_err cg_shape_multi_head_attention(cg_graph *g, cg_node *n)
{
    int64_t count = cg_attr_int(n, "num_heads", 0);
    int rank = cg_in_type(n, 0).rank, kv = cg_in_type(n, 1).rank;
    int dtype = cg_in_type(n, 0).dtype;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_rank(n, 0, "query", 3, 5));
    if (count < 1)
        return cg_fail(CG_EFORMAT, "num_heads is %lld", (long long)count);
    cg_dim b = cg_in_dim(g, n, 0, 0), s = cg_in_dim(g, n, 0, 1);
    cg_dim width = cg_in_dim(g, n, 0, 2), len = s, size, out;
    if (rank == 5) {
        size = cg_in_dim(g, n, 0, 4);
        width = out = cg_dim_mul(g, size, count);
    } else {
        size = cg_dim_floordiv(g, width, count);
        len = cg_in(n, 1) ? cg_in_dim(g, n, 1, kv == 4 ? 2 : 1) : s;
        out = width;
    }
    cg_type v = cg_in_type(n, 2);
    if (v.rank == 3)
        out = v.dims[2];
    else if (v.rank == 4)
        out = cg_dim_mul(g, v.dims[3], count);
    cg_dim total = with_past(g, n, 6, len);
    out3(g, n, 0, dtype, b, s, out);
    out4(g, n, 1, dtype, b, count, total, size);
    out4(g, n, 2, dtype, b, count, total, cg_dim_floordiv(g, out, count));
    out4(g, n, 3, dtype, b, count, s, total);
    return CG_OK;
}

/* com.microsoft: query (B,S,heads*size) with key and value (B,S,kv*size), or
 * all three packed in query. total_sequence_length is operand 6. */
cg_err cg_shape_group_query_attention(cg_graph *g, cg_node *n)
{
    int64_t nq = cg_attr_int(n, "num_heads", 0);
    int64_t nkv = cg_attr_int(n, "kv_num_heads", 0);
    int dtype = cg_in_type(n, 0).dtype;
    if (nq < 1 || nkv < 1 || nq > INT32_MAX || nkv > INT32_MAX)
        return cg_fail(CG_EFORMAT, "num_heads is %lld, kv_num_heads %lld",
                       (long long)nq, (long long)nkv);
    CG_TRY(cg_want_rank(n, 0, "query", 3, 3));
    cg_dim b = cg_in_dim(g, n, 0, 0), s = cg_in_dim(g, n, 0, 1), total;
    cg_dim width = cg_in_dim(g, n, 0, 2);
    cg_dim size = cg_dim_floordiv(g, width, cg_in(n, 1) ? nq : nq + 2 * nkv);
    cg_dim past = cg_in(n, 3) ? cg_in_dim(g, n, 3, 2) : 0;
    if (cg_in_scalar(n, 6, &total))
        total = cg_dim_max(g, total, past);
    else if (cg_in(n, 3))
        total = cg_dim_unknown(g, n, "total sequence length");
    else
        total = s;
    out3(g, n, 0, dtype, b, s,
         cg_in(n, 1) ? width : cg_dim_mul(g, size, nq));
    out4(g, n, 1, cg_in_dtype(n, 3, dtype), b, nkv, total, size);
    out4(g, n, 2, cg_in_dtype(n, 4, dtype), b, nkv, total, size);
    return CG_OK;
}

/* com.microsoft Attention: X (B,S,D) times weights (D, q + k + v). */
cg_err cg_shape_packed_attention(cg_graph *g, cg_node *n)
{
    int64_t count = cg_attr_int(n, "num_heads", 0);
    const int64_t *sizes;
    size_t len;
    cg_type w = cg_in_type(n, 1);
    int dtype = cg_in_type(n, 0).dtype;
    CG_TRY(cg_want_ints(n, "qkv_hidden_sizes", &sizes, &len));
    CG_TRY(cg_want_rank(n, 0, "the input", 3, 3));
    if (count < 1 || (len && (len != 3 || sizes[2] < 0)))
        return cg_fail(CG_EFORMAT, "num_heads is %lld with %zu hidden sizes",
                       (long long)count, len);
    if (w.rank == 2)
        CG_TRY(cg_want_equal(g, cg_in_dim(g, n, 0, 2), w.dims[0],
                             "features of input and weights"));
    cg_dim b = cg_in_dim(g, n, 0, 0), s = cg_in_dim(g, n, 0, 1);
    cg_dim out = len ? sizes[2]
                     : cg_dim_floordiv(g, cg_in_dim(g, n, 1, -1), 3);
    out3(g, n, 0, dtype, b, s, out);
    cg_dim past = cg_in(n, 4) ? cg_in_dim(g, n, 4, 3) : 0;
    cg_dim present[5] = {2, b, count, cg_dim_add(g, past, s),
                         cg_dim_floordiv(g, out, count)};
    cg_out_tensor(g, n, 1, dtype, 5, present);
    return CG_OK;
}

/* (B,T,heads*size) packed; the state is (B, kv heads, key size, value size) */
cg_err cg_shape_linear_attention(cg_graph *g, cg_node *n)
{
    int64_t nq = cg_attr_int(n, "q_num_heads", 0);
    int64_t nkv = cg_attr_int(n, "kv_num_heads", 0);
    int dtype = cg_in_type(n, 0).dtype;
    heads q, k, v;
    if (nq < 1 || nkv < 1 || nq % nkv)
        return cg_fail(CG_EFORMAT, "%lld query heads for %lld of key, value",
                       (long long)nq, (long long)nkv);
    for (size_t i = 0; i < 3; i++)
        CG_TRY(cg_want_rank(n, i, "an input", 3, 3));
    CG_TRY(heads_of(g, n, 0, nq, &q));
    CG_TRY(heads_of(g, n, 1, nkv, &k));
    CG_TRY(heads_of(g, n, 2, nkv, &v));
    CG_TRY(cg_want_equal(g, q.size, k.size, "head size of query and key"));
    out3(g, n, 0, dtype, q.batch, q.len, cg_dim_mul(g, v.size, nq));
    out4(g, n, 1, cg_in_dtype(n, 3, dtype), k.batch, nkv, k.size, v.size);
    return CG_OK;
}

/* -- losses and optimisers ------------------------------------------------- */

static void loss_out(cg_graph *g, cg_node *n)
{
    const char *how = cg_attr_string(n, "reduction", "mean");
    int dtype = cg_in_type(n, 0).dtype;
    if (strcmp(how, "none") == 0)
        cg_out_like(g, n, 0, 1, dtype);
    else
        cg_out_tensor(g, n, 0, dtype, 0, NULL);
}

/* input (N,C,d...) and target (N,d...) */
static cg_err check_target(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), y = cg_in_type(n, 1);
    if (x.rank < 0 || y.rank < 0)
        return CG_OK;
    if (x.rank != y.rank + 1)
        return cg_fail(CG_EFORMAT, "input of rank %d, target of rank %d",
                       x.rank, y.rank);
    for (int i = 0; i < y.rank; i++)
        CG_TRY(cg_want_equal(g, x.dims[i ? i + 1 : 0], y.dims[i],
                             "dims of input and target"));
    return CG_OK;
}

cg_err cg_shape_nll_loss(cg_graph *g, cg_node *n)
{
    CG_TRY(check_target(g, n));
    loss_out(g, n);
    return CG_OK;
}

cg_err cg_shape_cross_entropy_loss(cg_graph *g, cg_node *n)
{
    CG_TRY(check_target(g, n));
    loss_out(g, n);
    cg_out_like(g, n, 1, 0, -1); /* log of the probabilities */
    return CG_OK;
}

/* Inputs: rate, step, tensors, gradients, states; outputs: new tensors, new
 * states. So what has no output is rate, step and the gradients. */
cg_err cg_shape_optimizer(cg_graph *g, cg_node *n)
{
    int64_t count = (int64_t)n->n_in - 2 - (int64_t)n->n_out;
    if (count < 0)
        return cg_fail(CG_EFORMAT, "%u outputs for %u inputs", n->n_out,
                       n->n_in);
    for (size_t k = 0; k < n->n_out; k++)
        cg_out_like(g, n, k, k < (size_t)count ? k + 2
                                               : k + 2 + (size_t)count, -1);
    return CG_OK;
}

cg_err cg_shape_gradient(cg_graph *g, cg_node *n)
{
    for (size_t k = 0; k < n->n_out; k++)
        cg_out_like(g, n, k, k, -1);
    return CG_OK;
}

/* -- unknown --------------------------------------------------------------- */

/* The file's own value_info, where it has some, is taken by the caller. */
cg_err cg_shape_custom(cg_graph *g, cg_node *n)
{
    const char *why = cg_arena_printf(&g->arena, "no rule for %s",
                                      n->source ? n->source : "Custom");
    for (size_t k = 0; k < n->n_out; k++)
        cg_out_unknown(g, n, k, CG_UNDEFINED, why);
    return CG_OK;
}
