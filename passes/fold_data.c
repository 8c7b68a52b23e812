/* Folding of data movement: shapes read, cut, joined, looked up and cast.
 *
 * Shape gives the dims of its input even where they are symbolic; everything
 * behind it moves elements about. Most operators are one strided view of their
 * input, copied out element by element, at most CG_DATA_MAX of them. */
#include <math.h>
#include <string.h>

#include "passes/fold.h"
#include "passes/shape.h"

cg_err cg_fold_none(cg_graph *g, cg_node *n)
{
    (void)g;
    (void)n;
    return CG_OK;
}

/* Type of output 0; NULL when it is left out. */
static const cg_type *out_type(const cg_node *n)
{
    return n->n_out && n->out[0] ? &n->out[0]->type : NULL;
}

/* -- what a type says ----------------------------------------------------- */

/* Where Shape begins and ends, of `rank` dims. */
void cg_shape_span(const cg_node *n, int rank, int *start, int *end)
{
    int64_t s = cg_attr_int(n, "start", 0), e = cg_attr_int(n, "end", rank);
    s = s < 0 ? s + rank : s;
    e = e < 0 ? e + rank : e;
    *start = (int)(s < 0 ? 0 : s > rank ? rank : s);
    *end = (int)(e < *start ? *start : e > rank ? rank : e);
}

cg_err cg_fold_shape(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    int start, end;
    if (t.rank < 0 || t.kind != CG_KIND_TENSOR)
        return CG_OK;
    cg_shape_span(n, t.rank, &start, &end);
    cg_data *d = cg_fold_room(g, CG_I64, (size_t)(end - start));
    for (int a = start; a < end; a++)
        d->i[a - start] = t.dims[a];
    cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_size(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    bool ok;
    cg_dim count = cg_type_count(g, &t, &ok);
    if (!ok || t.kind != CG_KIND_TENSOR)
        return CG_OK;
    cg_data *d = cg_fold_room(g, CG_I64, 1);
    d->i[0] = count;
    cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_sequence_length(cg_graph *g, cg_node *n)
{
    const cg_value *v = cg_in(n, 0);
    if (!v || !v->seq)
        return CG_OK;
    cg_data *d = cg_fold_room(g, CG_I64, 1);
    d->i[0] = (cg_dim)v->seq->n;
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* An optional is empty where it was made so, full where it is a tensor. */
cg_err cg_fold_optional_has_element(cg_graph *g, cg_node *n)
{
    const cg_value *v = cg_in(n, 0);
    bool made = v && v->role == CG_ROLE_NODE && v->def->op == CG_OP_OPTIONAL;
    if (v && v->type.kind == CG_KIND_OPTIONAL && !made)
        return CG_OK;
    cg_data *d = cg_fold_room(g, CG_BOOL, 1);
    d->i[0] = made ? cg_in(v->def, 0) != NULL : v != NULL;
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* -- copies --------------------------------------------------------------- */

/* The same elements in the same order (Reshape, Squeeze, ...). */
cg_err cg_fold_copy(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    size_t count;
    const cg_data *d = cg_in_data(n, 0);
    (void)g;
    if (d && out_type(n) &&
        cg_small_dims(out_type(n), dims, &count) && count == d->n)
        cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_identity(cg_graph *g, cg_node *n)
{
    const cg_value *v = cg_in(n, 0);
    if (v && v->seq && out_type(n))
        n->out[0]->seq = v->seq;
    return cg_fold_copy(g, n);
}

/* One element to another kind of number. */
static cg_elem cast(cg_graph *g, const cg_node *n, cg_elem e, bool from_float,
                    int to)
{
    cg_dtype_kind kind = cg_dtype_kind_of(to);
    if (kind == CG_DTYPE_FLOAT && !from_float)
        return cg_elem_scaled(1, e.i);
    if (kind == CG_DTYPE_FLOAT)
        return e;
    if (from_float && cg_elem_known(e))
        return cg_elem_int(to == CG_BOOL ? e.f != 0 : cg_trunc_int(e.f));
    /* Sizes are not negative: towards zero is down, or up where f < 0. */
    if (from_float && e.f >= 0)
        e = cg_elem_int(cg_floor_scaled(g, n, e.f, e.i));
    else if (from_float)
        e = cg_elem_int(cg_ceil_scaled(g, n, e.f, e.i));
    if (to != CG_BOOL || cg_dim_known(e.i))
        return e;
    if (cg_dim_compare(g, e.i, 0) == 1)
        return cg_elem_int(1);
    return cg_elem_int(cg_dim_unknown(g, n, "the truth of a symbolic size"));
}

cg_err cg_fold_cast(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    const cg_data *in = cg_small_in(n, 0, dims);
    if (!in || in->s || !out_type(n))
        return CG_OK;
    int to = out_type(n)->dtype;
    cg_dtype_kind kind = cg_dtype_kind_of(to);
    if (kind != CG_DTYPE_INT && kind != CG_DTYPE_FLOAT)
        return CG_OK;
    cg_data *d = cg_fold_room(g, to, in->n);
    for (size_t k = 0; d && k < in->n; k++) {
        cg_elem e = cast(g, n, cg_elem_get(in, k), in->f != NULL, to);
        cg_elem_put(g, d, k, cg_elem_fit(to, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_transpose(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], row[CG_MAX_RANK];
    int64_t out[CG_MAX_RANK], stride[CG_MAX_RANK];
    const cg_data *in = cg_small_in(n, 0, dims);
    int rank = cg_in_type(n, 0).rank;
    size_t len;
    const int64_t *perm = cg_attr_ints(n, "perm", &len);
    if (!in || (perm && len != (size_t)rank))
        return CG_OK;
    cg_row_strides(rank, dims, row);
    for (int a = 0; a < rank; a++) {
        int64_t from = perm ? perm[a] : rank - 1 - a;
        if (from < 0 || from >= rank)
            return CG_OK;
        out[a] = dims[from];
        stride[a] = row[from];
    }
    cg_fold_strided(g, n, 0, in, rank, out, stride, 0);
    return CG_OK;
}

cg_err cg_fold_expand(cg_graph *g, cg_node *n)
{
    uint16_t map[CG_DATA_MAX];
    int64_t dims[CG_MAX_RANK];
    size_t count;
    const cg_data *in = cg_small_in(n, 0, dims);
    if (!in || !out_type(n) || !cg_small_dims(out_type(n), dims, &count) ||
        !cg_broadcast_map(n, 0, out_type(n), map))
        return CG_OK;
    cg_data *d = cg_fold_room(g, out_type(n)->dtype, count);
    for (size_t k = 0; d && k < count; k++)
        cg_elem_put(g, d, k, cg_elem_get(in, map[k]));
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* Each axis of the result is two: the repeats, which stand still in the
 * input, and the axis itself. */
cg_err cg_fold_tile(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], row[CG_MAX_RANK];
    int64_t out[2 * CG_MAX_RANK], stride[2 * CG_MAX_RANK];
    const cg_data *in = cg_small_in(n, 0, dims), *times = cg_in_data(n, 1);
    int rank = cg_in_type(n, 0).rank;
    if (!in || !times || !times->i || times->f || times->n != (size_t)rank)
        return CG_OK;
    cg_row_strides(rank, dims, row);
    for (int a = 0; a < rank; a++) {
        if (!cg_dim_known(times->i[a]) || times->i[a] < 0)
            return CG_OK;
        out[2 * a] = times->i[a];
        stride[2 * a] = 0;
        out[2 * a + 1] = dims[a];
        stride[2 * a + 1] = row[a];
    }
    cg_fold_strided(g, n, 0, in, 2 * rank, out, stride, 0);
    return CG_OK;
}

cg_err cg_fold_slice(cg_graph *g, cg_node *n)
{
    cg_cut cut[CG_MAX_RANK];
    int64_t dims[CG_MAX_RANK], row[CG_MAX_RANK];
    int64_t out[CG_MAX_RANK], stride[CG_MAX_RANK], base = 0;
    const cg_data *in = cg_small_in(n, 0, dims);
    cg_type t = cg_in_type(n, 0);
    if (!in)
        return CG_OK;
    CG_TRY(cg_slice_cuts(g, n, &t, cut));
    cg_row_strides(t.rank, dims, row);
    for (int a = 0; a < t.rank; a++) {
        if (cut[a].step == 0 || !cg_dim_known(cut[a].start) ||
            !cg_dim_known(cut[a].size))
            return CG_OK;
        out[a] = cut[a].size;
        /* A step may be as large as int64; it only counts from 2 up. */
        stride[a] = out[a] > 1 ? row[a] * cut[a].step : 0;
        base += row[a] * cut[a].start;
    }
    cg_fold_strided(g, n, 0, in, t.rank, out, stride, base);
    return CG_OK;
}

cg_err cg_fold_split(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], row[CG_MAX_RANK], at = 0;
    const cg_data *in = cg_small_in(n, 0, dims);
    int rank = cg_in_type(n, 0).rank, axis;
    if (!in)
        return CG_OK;
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), rank, &axis));
    cg_row_strides(rank, dims, row);
    int64_t whole = dims[axis];
    for (uint32_t k = 0; k < n->n_out; k++) {
        const cg_type *t = n->out[k] ? &n->out[k]->type : NULL;
        if (!t || t->rank != rank || !cg_dim_known(t->dims[axis]) ||
            t->dims[axis] > whole - at)
            return CG_OK;
        dims[axis] = t->dims[axis];
        cg_fold_strided(g, n, k, in, rank, dims, row, at * row[axis]);
        at += dims[axis];
    }
    return CG_OK;
}

cg_err cg_fold_concat(cg_graph *g, cg_node *n)
{
    int64_t out[CG_MAX_RANK], dims[CG_MAX_RANK], row[CG_MAX_RANK];
    size_t count;
    int axis;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (!cg_small_in(n, k, dims))
            return CG_OK;
    if (!out_type(n) || !cg_small_dims(out_type(n), out, &count))
        return CG_OK;
    int rank = out_type(n)->rank;
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), rank, &axis));
    cg_data *d = cg_fold_room(g, out_type(n)->dtype, count);
    cg_row_strides(rank, out, row);
    int64_t begin = 0, block = row[axis] * out[axis];
    for (uint32_t k = 0; d && k < n->n_in; k++) {
        const cg_data *in = cg_small_in(n, k, dims);
        /* A run of `part` elements at `begin` of every block. */
        int64_t part = row[axis] * dims[axis];
        if (cg_in_type(n, k).rank != rank || begin + part > block)
            return CG_OK;
        for (size_t j = 0; j < in->n; j++) {
            int64_t at = (int64_t)j / part * block + begin + (int64_t)j % part;
            cg_elem_put(g, d, (size_t)at, cg_elem_get(in, j));
        }
        begin += part;
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* -- look-ups ------------------------------------------------------------- */

cg_err cg_fold_gather(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], idims[CG_MAX_RANK], row[CG_MAX_RANK];
    const cg_data *in = cg_small_in(n, 0, dims);
    const cg_data *index = cg_small_in(n, 1, idims);
    int rank = cg_in_type(n, 0).rank, axis;
    if (!in || !index || !index->i || index->f || rank < 1)
        return CG_OK;
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), rank, &axis));
    cg_row_strides(rank, dims, row);
    int64_t inner = row[axis], len = dims[axis];
    size_t outer = in->n && len ? in->n / (size_t)(inner * len) : 0;
    if (outer * index->n * (size_t)inner > CG_DATA_MAX || !out_type(n))
        return CG_OK;
    cg_data *d = cg_fold_room(g, out_type(n)->dtype,
                              outer * index->n * (size_t)inner);
    for (size_t o = 0, at = 0; d && o < outer; o++)
        for (size_t j = 0; j < index->n; j++) {
            cg_dim i = index->i[j];
            if (!cg_dim_known(i) || i < -len || i >= len)
                return CG_OK;
            int64_t from = ((int64_t)o * len + (i < 0 ? i + len : i)) * inner;
            for (int64_t m = 0; m < inner; m++, at++)
                cg_elem_put(g, d, at, cg_elem_get(in, (size_t)(from + m)));
        }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* Updates overwrite slices of `len` elements; the sums and products of
 * ScatterND's reduction do not occur in shapes. */
cg_err cg_fold_scatter_nd(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], idims[CG_MAX_RANK], udims[CG_MAX_RANK];
    int64_t row[CG_MAX_RANK];
    const cg_data *in = cg_small_in(n, 0, dims);
    const cg_data *index = cg_small_in(n, 1, idims);
    const cg_data *update = cg_small_in(n, 2, udims);
    int rank = cg_in_type(n, 0).rank, irank = cg_in_type(n, 1).rank;
    bool plain = strcmp(cg_attr_string(n, "reduction", "none"), "none") == 0;
    if (!in || !index || !update || !plain || !index->i || index->f ||
        irank < 1 || !out_type(n))
        return CG_OK;
    int64_t depth = idims[irank - 1];
    if (depth < 1 || depth > rank)
        return CG_OK;
    cg_row_strides(rank, dims, row);
    size_t len = (size_t)row[depth - 1], places = index->n / (size_t)depth;
    if (in->n == 0 || places * len != update->n)
        return CG_OK;
    cg_data *d = cg_fold_room(g, out_type(n)->dtype, in->n);
    for (size_t k = 0; d && k < in->n; k++)
        cg_elem_put(g, d, k, cg_elem_get(in, k));
    for (size_t p = 0; d && p < places; p++) {
        size_t at = 0;
        for (int64_t a = 0; a < depth; a++) {
            cg_dim i = index->i[p * (size_t)depth + (size_t)a];
            if (!cg_dim_known(i) || i < -dims[a] || i >= dims[a])
                return CG_OK;
            at += (size_t)((i < 0 ? i + dims[a] : i) * row[a]);
        }
        for (size_t m = 0; m < len; m++)
            cg_elem_put(g, d, at + m, cg_elem_get(update, p * len + m));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* Indices of what is not zero, one row per axis; the shape rule counted. */
cg_err cg_fold_non_zero(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], row[CG_MAX_RANK], out[CG_MAX_RANK];
    size_t count, hit = 0;
    const cg_data *in = cg_small_in(n, 0, dims);
    int rank = cg_in_type(n, 0).rank;
    if (!in || in->s || !out_type(n) ||
        !cg_small_dims(out_type(n), out, &count))
        return CG_OK;
    cg_data *d = cg_fold_room(g, CG_I64, count);
    cg_row_strides(rank, dims, row);
    for (size_t k = 0; d && k < in->n; k++) {
        cg_elem e = cg_elem_get(in, k);
        if (!cg_elem_known(e) || (in->f ? e.f == 0 : e.i == 0))
            continue;
        for (int a = 0; a < rank; a++) {
            size_t at = (size_t)a * (size_t)out[1] + hit;
            if (at < count)
                d->i[at] = (int64_t)k / row[a] % dims[a];
        }
        hit++;
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* -- fresh tensors -------------------------------------------------------- */

cg_err cg_fold_constant_of_shape(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    size_t count;
    const cg_attr *a = cg_attr_find(n, "value");
    const cg_data *fill =
        a && a->kind == CG_ATTR_VALUE ? a->value->data : NULL;
    if (!out_type(n) || !cg_small_dims(out_type(n), dims, &count) ||
        (a && (!fill || fill->n != 1)))
        return CG_OK;
    cg_data *d = cg_fold_room(g, out_type(n)->dtype, count);
    for (size_t k = 0; d && fill && k < count; k++)
        cg_elem_put(g, d, k, cg_elem_get(fill, 0));
    cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_range(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    size_t count;
    const cg_data *start = cg_in_data(n, 0), *step = cg_in_data(n, 2);
    if (!start || !step || start->n != 1 || step->n != 1 || start->s ||
        !start->f != !step->f || !out_type(n) ||
        !cg_small_dims(out_type(n), dims, &count))
        return CG_OK;
    int dtype = out_type(n)->dtype;
    cg_elem s = cg_elem_get(start, 0), by = cg_elem_get(step, 0);
    if (start->f && (!cg_elem_known(s) || !cg_elem_known(by)))
        return CG_OK;
    cg_data *d = cg_fold_room(g, dtype, count);
    if (!d || !d->f != !start->f)
        return CG_OK;
    for (size_t k = 0; k < count; k++) {
        cg_elem e =
            d->f ? cg_elem_float(s.f + (double)k * by.f)
                 : cg_elem_int(cg_dim_add(
                       g, s.i, cg_dim_mul(g, (cg_dim)k, by.i)));
        cg_elem_put(g, d, k, cg_elem_fit(dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}
