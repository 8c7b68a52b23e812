/* Shape rules of arithmetic: element-wise operators and broadcasting, matrix
 * products, reductions, normalisation. */
#include <ctype.h>
#include <string.h>

#include "passes/shape_rules.h"

/* -- element-wise ---------------------------------------------------------- */

cg_err cg_shape_same(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, -1);
    return CG_OK;
}

cg_err cg_shape_same_bool(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, CG_BOOL);
    return CG_OK;
}

/* Opset < 7 with broadcast=1: the second input's dims lie on the first's from
 * broadcast_axis on; trailing ones make that NumPy broadcasting. */
static cg_err old_broadcast(cg_graph *g, cg_node *n, const cg_type *a,
                            cg_type *b)
{
    int axis;
    cg_dim dims[CG_MAX_RANK];
    if (!cg_attr_find(n, "broadcast_axis") || a->rank < 0 || b->rank < 0)
        return CG_OK;
    int64_t at = cg_attr_int(n, "broadcast_axis", 0);
    if (a->rank == 0)
        return CG_OK;
    CG_TRY(cg_axis(n, at, a->rank, &axis));
    if (axis + b->rank > a->rank)
        return cg_fail(CG_EFORMAT, "rank %d at axis %d does not fit rank %d",
                       b->rank, axis, a->rank);
    int rank = a->rank - axis;
    for (int i = 0; i < rank; i++)
        dims[i] = i < b->rank ? b->dims[i] : 1;
    *b = cg_type_tensor(g, b->dtype, rank, dims);
    return CG_OK;
}

/* All operands from `first` on broadcast together; blocked if one's rank is
 * not known. */
static cg_err broadcast_from(cg_graph *g, cg_node *n, size_t first, int dtype)
{
    cg_dim dims[CG_MAX_RANK];
    cg_type sum = cg_in_type(n, first);
    for (size_t k = first; k < n->n_in; k++)
        if (cg_in_type(n, k).rank < 0) {
            cg_out_blocked(g, n, 0, k, dtype);
            return CG_OK;
        }
    for (size_t k = first + 1; k < n->n_in; k++) {
        cg_type t = cg_in_type(n, k);
        int rank;
        if (k == 1 && n->n_in == 2)
            CG_TRY(old_broadcast(g, n, &sum, &t));
        if (t.rank == sum.rank &&
            (t.rank == 0 || memcmp(t.dims, sum.dims, sizeof(cg_dim) *
                                                     (size_t)t.rank) == 0))
            continue;
        CG_TRY(cg_broadcast(g, &sum, &t, dims, &rank));
        sum = cg_type_tensor(g, dtype, rank, dims);
    }
    cg_out_tensor(g, n, 0, dtype, sum.rank, sum.dims);
    return CG_OK;
}

cg_err cg_shape_broadcast(cg_graph *g, cg_node *n)
{
    int dtype = CG_UNDEFINED;
    for (size_t k = 0; k < n->n_in && dtype == CG_UNDEFINED; k++)
        dtype = cg_in_type(n, k).dtype;
    return broadcast_from(g, n, 0, dtype);
}

cg_err cg_shape_compare(cg_graph *g, cg_node *n)
{
    return broadcast_from(g, n, 0, CG_BOOL);
}

cg_err cg_shape_pow(cg_graph *g, cg_node *n)
{
    return broadcast_from(g, n, 0, cg_in_type(n, 0).dtype);
}

cg_err cg_shape_where(cg_graph *g, cg_node *n)
{
    return broadcast_from(g, n, 0,
                          cg_in_dtype(n, 1, cg_in_type(n, 2).dtype));
}

/* The slope broadcasts to the input (or, before opset 7, is per channel). */
cg_err cg_shape_prelu(cg_graph *g, cg_node *n)
{
    return cg_shape_same(g, n);
}

/* -- matrix products ------------------------------------------------------- */

/* A's (rows, inner) or B's (inner, columns) after a transpose flag; batch dims
 * stay in *t with its rank reduced. A vector has one row or column. */
typedef struct matrix {
    cg_type batch;
    cg_dim outer, inner;
    bool vector;
} matrix;

static matrix matrix_of(cg_type t, bool inner_last, bool flipped)
{
    matrix m = {.batch = t};
    if (t.rank == 1) {
        m.vector = true;
        m.inner = t.dims[0];
        m.outer = 1;
        m.batch.rank = 0;
        return m;
    }
    cg_dim last = t.dims[t.rank - 1], other = t.dims[t.rank - 2];
    bool swap = inner_last == flipped;
    m.inner = swap ? other : last;
    m.outer = swap ? last : other;
    m.batch.rank = (int8_t)(t.rank - 2);
    return m;
}

cg_err cg_shape_matmul(cg_graph *g, cg_node *n)
{
    int dtype = cg_in_dtype(n, 0, cg_in_type(n, 1).dtype), rank;
    cg_dim dims[CG_MAX_RANK];
    for (size_t k = 0; k < 2; k++)
        if (cg_in_type(n, k).rank < 0) {
            cg_out_blocked(g, n, 0, k, dtype);
            return CG_OK;
        }
    CG_TRY(cg_want_rank(n, 0, "the first input", 1, CG_MAX_RANK));
    CG_TRY(cg_want_rank(n, 1, "the second input", 1, CG_MAX_RANK));
    cg_type ta = cg_in_type(n, 0), tb = cg_in_type(n, 1);
    matrix a = matrix_of(ta, true, cg_attr_int(n, "transA", 0) != 0);
    matrix b = matrix_of(tb, false, cg_attr_int(n, "transB", 0) != 0);
    if (!cg_dims_agree(a.inner, b.inner))
        return cg_fail(CG_EFORMAT,
                       "inner dims %s and %s of %s times %s differ",
                       cg_dim_str(g, a.inner), cg_dim_str(g, b.inner),
                       cg_shape_str(g, &ta), cg_shape_str(g, &tb));
    CG_TRY(cg_broadcast(g, &a.batch, &b.batch, dims, &rank));
    if (!a.vector)
        dims[rank++] = a.outer;
    if (!b.vector)
        dims[rank++] = b.outer;
    cg_out_tensor(g, n, 0, dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_gemm(cg_graph *g, cg_node *n)
{
    bool ta = cg_attr_int(n, "transA", 0) != 0;
    bool tb = cg_attr_int(n, "transB", 0) != 0;
    CG_TRY(cg_want_rank(n, 0, "A", 2, 2));
    CG_TRY(cg_want_rank(n, 1, "B", 2, 2));
    cg_dim k = cg_in_dim(g, n, 0, ta ? 0 : 1);
    cg_dim k2 = cg_in_dim(g, n, 1, tb ? 1 : 0);
    if (!cg_dims_agree(k, k2))
        return cg_fail(CG_EFORMAT, "inner dims %s of A and %s of B differ",
                       cg_dim_str(g, k), cg_dim_str(g, k2));
    cg_dim dims[2] = {cg_in_dim(g, n, 0, ta ? 1 : 0),
                      cg_in_dim(g, n, 1, tb ? 0 : 1)};
    cg_out_tensor(g, n, 0, cg_in_dtype(n, 0, cg_in_type(n, 1).dtype), 2,
                  dims);
    return CG_OK;
}

cg_err cg_shape_matmul_nbits(cg_graph *g, cg_node *n)
{
    cg_dim dims[CG_MAX_RANK];
    cg_type a = cg_in_type(n, 0);
    int64_t k = cg_attr_int(n, "K", -1), cols = cg_attr_int(n, "N", -1);
    if (cols < 0 || k < 0)
        return cg_fail(CG_EFORMAT, "attributes K and N are missing");
    CG_TRY(cg_want_rank(n, 0, "A", 1, CG_MAX_RANK));
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_equal(g, a.dims[a.rank - 1], k, "last dim of A and K"));
    memcpy(dims, a.dims, sizeof(cg_dim) * (size_t)a.rank);
    dims[a.rank - 1] = cols;
    cg_out_tensor(g, n, 0, a.dtype, a.rank, dims);
    return CG_OK;
}

/* -- einsum ---------------------------------------------------------------- */

typedef struct einsum {
    cg_dim label[128];     /* by letter */
    bool seen[128], once[128];
    bool weak[128];        /* only met in operands of unknown rank */
    cg_dim dots[CG_MAX_RANK]; /* what "..." stands for, right-aligned */
    int n_dots;            /* -1: rank of an operand with "..." not known */
} einsum;

/* The letters of a term without spaces; *dots is where "..." stands or -1. */
static cg_err einsum_term(const char **at, char *letters, int *len, int *dots)
{
    *len = 0;
    *dots = -1;
    for (; **at && **at != ',' && strncmp(*at, "->", 2) != 0; ++*at) {
        unsigned char c = (unsigned char)**at;
        if (c == ' ')
            continue;
        if (strncmp(*at, "...", 3) == 0 && *dots < 0) {
            *dots = *len;
            *at += 2;
            continue;
        }
        if (!isalpha(c) || c > 127 || *len >= CG_MAX_RANK)
            return cg_fail(CG_EFORMAT, "equation has an unexpected '%c'", c);
        letters[(*len)++] = (char)c;
    }
    return CG_OK;
}

static cg_err einsum_dots(cg_graph *g, einsum *e, const cg_dim *dims, int len)
{
    cg_type a = cg_type_tensor(g, CG_UNDEFINED, e->n_dots, e->dots);
    cg_type b = cg_type_tensor(g, CG_UNDEFINED, len, dims);
    return cg_broadcast(g, &a, &b, e->dots, &e->n_dots);
}

static cg_err einsum_operand(cg_graph *g, cg_node *n, einsum *e, size_t k,
                             const char *letters, int len, int dots)
{
    cg_type t = cg_in_type(n, k);
    int wide = t.rank - len;
    if (t.rank >= 0 && (wide < 0 || (wide > 0 && dots < 0)))
        return cg_fail(CG_EFORMAT,
                       "input %zu has rank %d, its term has %d letters", k,
                       t.rank, len);
    if (t.rank < 0 && dots >= 0)
        e->n_dots = -1;
    if (t.rank >= 0 && dots >= 0 && e->n_dots >= 0)
        CG_TRY(einsum_dots(g, e, t.dims + dots, wide));
    for (int i = 0; i < len; i++) {
        unsigned char c = (unsigned char)letters[i];
        e->once[c] = !e->seen[c];
        if (t.rank >= 0) {
            cg_dim d = t.dims[dots >= 0 && i >= dots ? i + wide : i];
            if (!e->seen[c] || e->weak[c])
                e->label[c] = d;
            else if (cg_broadcast_dim(g, e->label[c], d, &e->label[c]))
                return cg_fail_in(CG_EFORMAT, "label '%c'", c);
            e->weak[c] = false;
        } else if (!e->seen[c]) {
            e->label[c] = cg_in_dim(g, n, k, 0);
            e->weak[c] = true;
        }
        e->seen[c] = true;
    }
    return CG_OK;
}

/* Without "->": "..." and then the letters used once, in order. */
static void einsum_implicit(const einsum *e, char *letters, int *len,
                            int *dots)
{
    *len = 0;
    *dots = 0;
    for (int c = 0; c < 128; c++)
        if (e->seen[c] && e->once[c] && *len < CG_MAX_RANK)
            letters[(*len)++] = (char)c;
}

static cg_err einsum_output(cg_graph *g, cg_node *n, const einsum *e,
                            const char *letters, int len, int dots, int dtype)
{
    cg_dim dims[CG_MAX_RANK];
    int rank = 0;
    if (dots >= 0 && e->n_dots < 0) {
        cg_out_unknown(g, n, 0, dtype, "an input of unknown rank under '...'");
        return CG_OK;
    }
    if (len + (dots >= 0 ? e->n_dots : 0) > CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "output has more than %d dims",
                       CG_MAX_RANK);
    for (int i = 0; i <= len; i++) {
        for (int j = 0; i == dots && j < e->n_dots; j++)
            dims[rank++] = e->dots[j];
        if (i == len)
            break;
        unsigned char c = (unsigned char)letters[i];
        if (!e->seen[c])
            return cg_fail(CG_EFORMAT, "label '%c' is in no input", c);
        dims[rank++] = e->label[c];
    }
    cg_out_tensor(g, n, 0, dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_einsum(cg_graph *g, cg_node *n)
{
    einsum e = {0};
    char letters[CG_MAX_RANK];
    int len, dots;
    const char *at = cg_attr_string(n, "equation", NULL);
    if (!at)
        return cg_fail(CG_EFORMAT, "attribute equation is missing");
    for (size_t k = 0;; k++) {
        CG_TRY(einsum_term(&at, letters, &len, &dots));
        if (k >= n->n_in)
            return cg_fail(CG_EFORMAT, "equation has more terms than inputs");
        CG_TRY(einsum_operand(g, n, &e, k, letters, len, dots));
        if (*at == ',') {
            at++;
            continue;
        }
        if (k + 1 != n->n_in)
            return cg_fail(CG_EFORMAT, "equation has %zu terms for %u inputs",
                           k + 1, n->n_in);
        break;
    }
    if (*at) {
        at += 2;
        CG_TRY(einsum_term(&at, letters, &len, &dots));
        if (*at)
            return cg_fail(CG_EFORMAT, "equation goes on after its output");
    } else {
        einsum_implicit(&e, letters, &len, &dots);
    }
    return einsum_output(g, n, &e, letters, len, dots,
                         cg_in_type(n, 0).dtype);
}

/* -- reductions ------------------------------------------------------------ */

/* Marks the axes that input 1 (or, absent, all) names. False: not known. */
static cg_err reduced_axes(const cg_node *n, int rank, bool *on, bool *known)
{
    const cg_data *axes = cg_in_data(n, 1);
    bool all = !cg_in(n, 1) || (axes && axes->n == 0);
    *known = all || axes;
    for (int i = 0; i < rank; i++)
        on[i] = all && !cg_attr_int(n, "noop_with_empty_axes", 0);
    for (size_t i = 0; axes && i < axes->n; i++) {
        int axis;
        if (!axes->i || !cg_dim_known(axes->i[i])) {
            *known = false;
            return CG_OK;
        }
        /* some exporters write the axes of a scalar */
        if (rank == 0 && (axes->i[i] == 0 || axes->i[i] == -1))
            continue;
        CG_TRY(cg_axis(n, axes->i[i], rank, &axis));
        on[axis] = true;
    }
    return CG_OK;
}

static void reduce_out(cg_graph *g, cg_node *n, const cg_type *t,
                       const bool *on, bool keep, int dtype)
{
    cg_dim dims[CG_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < t->rank; i++)
        if (!on[i])
            dims[rank++] = t->dims[i];
        else if (keep)
            dims[rank++] = 1;
    cg_out_tensor(g, n, 0, dtype, rank, dims);
}

cg_err cg_shape_reduce(cg_graph *g, cg_node *n)
{
    static const char why[] = "axes that are not known";
    bool on[CG_MAX_RANK], known;
    bool keep = cg_attr_int(n, "keepdims", 1) != 0;
    cg_type t = cg_in_type(n, 0), axes = cg_in_type(n, 1);
    if (t.rank < 0) {
        bool all = !cg_in(n, 1) && !cg_attr_int(n, "noop_with_empty_axes", 0);
        cg_out_blocked(g, n, 0, 0, t.dtype);
        if (all && !keep)
            cg_out_tensor(g, n, 0, t.dtype, 0, NULL);
        return CG_OK;
    }
    CG_TRY(reduced_axes(n, t.rank, on, &known));
    if (known)
        reduce_out(g, n, &t, on, keep, t.dtype);
    else if (keep)
        cg_out_rank(g, n, 0, t.dtype, t.rank, why);
    else if (axes.rank == 1 && cg_dim_known(axes.dims[0]) &&
             axes.dims[0] > 0 && axes.dims[0] <= t.rank)
        cg_out_rank(g, n, 0, t.dtype, t.rank - (int)axes.dims[0], why);
    else
        cg_out_unknown(g, n, 0, t.dtype, why);
    return CG_OK;
}

cg_err cg_shape_arg_reduce(cg_graph *g, cg_node *n)
{
    bool on[CG_MAX_RANK] = {0};
    cg_type t = cg_in_type(n, 0);
    int axis;
    if (t.rank < 0) {
        cg_out_blocked(g, n, 0, 0, CG_I64);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    on[axis] = true;
    reduce_out(g, n, &t, on, cg_attr_int(n, "keepdims", 1) != 0, CG_I64);
    return CG_OK;
}

cg_err cg_shape_top_k(cg_graph *g, cg_node *n)
{
    cg_dim dims[CG_MAX_RANK], k;
    cg_type t = cg_in_type(n, 0);
    int axis;
    if (t.rank < 0) {
        cg_out_blocked(g, n, 0, 0, t.dtype);
        cg_out_blocked(g, n, 1, 0, CG_I64);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", -1), t.rank, &axis));
    if (!cg_in_scalar(n, 1, &k))
        k = cg_dim_unknown(g, n, "k that is not known");
    if (cg_dim_known(k) && k < 0)
        return cg_fail(CG_EFORMAT, "k is %s", cg_dim_str(g, k));
    if (cg_dim_known(k) && cg_dim_known(t.dims[axis]) && k > t.dims[axis])
        return cg_fail(CG_EFORMAT, "k is %s, axis %d has only %s elements",
                       cg_dim_str(g, k), axis, cg_dim_str(g, t.dims[axis]));
    memcpy(dims, t.dims, sizeof(cg_dim) * (size_t)t.rank);
    dims[axis] = k;
    cg_out_tensor(g, n, 0, t.dtype, t.rank, dims);
    cg_out_tensor(g, n, 1, CG_I64, t.rank, dims);
    return CG_OK;
}

cg_err cg_shape_det(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_rank(n, 0, "the input", 2, CG_MAX_RANK));
    CG_TRY(cg_want_equal(g, t.dims[t.rank - 2], t.dims[t.rank - 1],
                         "dims of the matrix"));
    cg_out_tensor(g, n, 0, t.dtype, t.rank - 2, t.dims);
    return CG_OK;
}

/* -- normalisation --------------------------------------------------------- */

cg_err cg_shape_softmax(cg_graph *g, cg_node *n)
{
    int rank = cg_in_type(n, 0).rank, axis;
    int64_t at = cg_attr_int(n, "axis", -1);
    /* a scalar, and axis == rank of opset < 13 (one element a row) are fine */
    if (rank > 0 && at != rank)
        CG_TRY(cg_axis(n, at, rank, &axis));
    return cg_shape_same(g, n);
}

/* Training mode also gives the running statistics, one per channel. */
cg_err cg_shape_batchnorm(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), scale = cg_in_type(n, 1);
    bool spatial = cg_attr_int(n, "spatial", 1) != 0;
    cg_out_like(g, n, 0, 0, -1);
    cg_dim c = scale.rank == 1 ? scale.dims[0]
               : x.rank > 1    ? x.dims[1]
                               : cg_in_dim(g, n, 1, 0);
    if (spatial && x.rank > 1 && scale.rank == 1 &&
        !cg_dims_agree(x.dims[1], scale.dims[0]))
        return cg_fail(CG_EFORMAT, "scale has %s elements for %s channels",
                       cg_dim_str(g, scale.dims[0]),
                       cg_dim_str(g, x.dims[1]));
    for (size_t k = 1; k < n->n_out; k++) {
        int dtype = cg_in_dtype(n, 3, x.dtype);
        if (spatial || scale.rank < 0)
            cg_out_tensor(g, n, k, dtype, 1, &c);
        else
            cg_out_like(g, n, k, 1, dtype);
    }
    return CG_OK;
}

/* Mean and inverse deviation have ones where the input is normalised. */
static cg_err norm_from_axis(cg_graph *g, cg_node *n)
{
    cg_dim dims[CG_MAX_RANK];
    cg_type x = cg_in_type(n, 0);
    int64_t type = cg_attr_int(n, "stash_type", CG_F32);
    int axis, stash = type == CG_F64 || type == CG_BF16 || type == CG_F16
                          ? (int)type : CG_F32;
    cg_out_like(g, n, 0, 0, -1);
    if (x.rank < 0) {
        for (size_t k = 1; k < n->n_out; k++)
            cg_out_blocked(g, n, k, 0, stash);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", -1), x.rank, &axis));
    for (int i = 0; i < x.rank; i++)
        dims[i] = i < axis ? x.dims[i] : 1;
    for (size_t k = 1; k < n->n_out; k++)
        cg_out_tensor(g, n, k, stash, x.rank, dims);
    return CG_OK;
}

cg_err cg_shape_layernorm(cg_graph *g, cg_node *n)
{
    return norm_from_axis(g, n);
}

cg_err cg_shape_rmsnorm(cg_graph *g, cg_node *n)
{
    return norm_from_axis(g, n);
}
