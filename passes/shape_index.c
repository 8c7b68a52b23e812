/* Shape rules of indexing by data, of what makes tensors from shapes, and of
 * operators that change nothing but the type.
 *
 * Where a size depends on the values themselves (NonZero, Compress, Unique,
 * NonMaxSuppression), it is an unknown that remembers its node and says why;
 * all that stands beside it stays known. */
#include <math.h>
#include <string.h>

#include "passes/fold.h"
#include "passes/shape_rules.h"

static const char by_value[] = "depends on values known only at run time";

/* -- the same shape ------------------------------------------------------- */

cg_err cg_shape_identity(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, -1);
    return CG_OK;
}

cg_err cg_shape_constant(cg_graph *g, cg_node *n)
{
    const cg_attr *a = cg_attr_find(n, "value");
    if (!a || a->kind != CG_ATTR_VALUE)
        return cg_fail(CG_EFORMAT, "a constant without a value");
    cg_out_type(g, n, 0, a->value->type);
    if (a->value->data)
        cg_out_data(n, 0, a->value->data);
    return CG_OK;
}

cg_err cg_shape_dropout(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, -1);
    cg_out_like(g, n, 1, 0, CG_BOOL);
    return CG_OK;
}

/* `to` as a type, when the attribute names one. */
static cg_err wanted_dtype(const cg_node *n, const char *name, int otherwise,
                           int *dtype)
{
    int64_t to = cg_attr_int(n, name, otherwise);
    if (to < 0 || to > 255 || !cg_dtype_valid((int)to))
        return cg_fail(CG_EFORMAT, "%s=%lld names no element type", name,
                       (long long)to);
    *dtype = (int)to;
    return CG_OK;
}

cg_err cg_shape_cast(cg_graph *g, cg_node *n)
{
    int dtype = CG_UNDEFINED;
    CG_TRY(wanted_dtype(n, "to", CG_UNDEFINED, &dtype));
    cg_out_like(g, n, 0, 0, dtype);
    return CG_OK;
}

cg_err cg_shape_cast_like(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, cg_in_type(n, 1).dtype);
    return CG_OK;
}

cg_err cg_shape_bit_cast(cg_graph *g, cg_node *n)
{
    int to = CG_UNDEFINED, from = cg_in_type(n, 0).dtype;
    CG_TRY(wanted_dtype(n, "to", CG_UNDEFINED, &to));
    if (cg_dtype_bits(to) && cg_dtype_bits(from) &&
        cg_dtype_bits(to) != cg_dtype_bits(from))
        return cg_fail(CG_EFORMAT, "%s and %s differ in width",
                       cg_dtype_name(from), cg_dtype_name(to));
    cg_out_like(g, n, 0, 0, to);
    return CG_OK;
}

cg_err cg_shape_quantize(cg_graph *g, cg_node *n)
{
    int dtype = cg_in_dtype(n, 2, CG_U8);
    if (cg_attr_int(n, "output_dtype", CG_UNDEFINED) != CG_UNDEFINED)
        CG_TRY(wanted_dtype(n, "output_dtype", dtype, &dtype));
    cg_out_like(g, n, 0, 0, dtype);
    return CG_OK;
}

cg_err cg_shape_dequantize(cg_graph *g, cg_node *n)
{
    int dtype = cg_in_dtype(n, 1, CG_F32);
    if (cg_attr_int(n, "output_dtype", CG_UNDEFINED) != CG_UNDEFINED)
        CG_TRY(wanted_dtype(n, "output_dtype", dtype, &dtype));
    cg_out_like(g, n, 0, 0, dtype);
    return CG_OK;
}

cg_err cg_shape_dynamic_quantize(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, CG_U8);
    cg_out_tensor(g, n, 1, CG_F32, 0, NULL);
    cg_out_tensor(g, n, 2, CG_U8, 0, NULL);
    return CG_OK;
}

/* -- look-ups ------------------------------------------------------------- */

/* Known indices must lie within a known size. */
static cg_err check_indices(const cg_node *n, size_t k, cg_dim size)
{
    const cg_data *d = cg_in_data(n, k);
    if (!d || !d->i || d->f || !cg_dim_known(size))
        return CG_OK;
    for (size_t j = 0; j < d->n; j++)
        if (cg_dim_known(d->i[j]) && (d->i[j] < -size || d->i[j] >= size))
            return cg_fail(CG_EFORMAT, "index %lld is out of range for a dim "
                           "of size %lld", (long long)d->i[j],
                           (long long)size);
    return CG_OK;
}

static cg_err too_many_axes(int rank)
{
    return cg_fail(CG_ELIMIT, "the result has rank %d, more than %d", rank,
                   CG_MAX_RANK);
}

cg_err cg_shape_gather(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0), index = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    int axis, rank = 0;
    if (t.rank < 0 || index.rank < 0) {
        cg_out_blocked(g, n, 0, t.rank < 0 ? 0 : 1, t.dtype);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    CG_TRY(check_indices(n, 1, t.dims[axis]));
    if (t.rank - 1 + index.rank > CG_MAX_RANK)
        return too_many_axes(t.rank - 1 + index.rank);
    for (int a = 0; a < axis; a++)
        dims[rank++] = t.dims[a];
    for (int a = 0; a < index.rank; a++)
        dims[rank++] = index.dims[a];
    for (int a = axis + 1; a < t.rank; a++)
        dims[rank++] = t.dims[a];
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_gather_elements(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0), index = cg_in_type(n, 1);
    int axis;
    if (t.rank >= 0 && index.rank >= 0) {
        if (t.rank != index.rank)
            return cg_fail(CG_EFORMAT, "indices have rank %d, the data %d",
                           index.rank, t.rank);
        CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
        CG_TRY(check_indices(n, 1, t.dims[axis]));
    }
    if (index.rank < 0 && t.rank >= 0)
        cg_out_rank(g, n, 0, t.dtype, t.rank, "indices of unknown shape");
    else
        cg_out_like(g, n, 0, 1, t.dtype);
    return CG_OK;
}

cg_err cg_shape_gather_nd(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0), index = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    int64_t batch = cg_attr_int(n, "batch_dims", 0);
    int rank = 0;
    if (t.rank < 0 || index.rank < 0) {
        cg_out_blocked(g, n, 0, t.rank < 0 ? 0 : 1, t.dtype);
        return CG_OK;
    }
    if (t.rank < 1 || index.rank < 1 || batch < 0 || batch >= index.rank ||
        batch >= t.rank)
        return cg_fail(CG_EFORMAT, "batch_dims %lld does not fit ranks %d and "
                       "%d", (long long)batch, t.rank, index.rank);
    cg_dim depth = index.dims[index.rank - 1];
    if (!cg_dim_known(depth)) {
        cg_out_unknown(g, n, 0, t.dtype, "indices of symbolic depth");
        return CG_OK;
    }
    if (depth < 0 || depth > t.rank - batch)
        return cg_fail(CG_EFORMAT, "indices of depth %lld into %lld axes",
                       (long long)depth, (long long)(t.rank - batch));
    int64_t total = index.rank - 1 + t.rank - batch - depth;
    if (total > CG_MAX_RANK)
        return too_many_axes((int)total);
    for (int a = 0; a < index.rank - 1; a++)
        dims[rank++] = index.dims[a];
    for (int a = (int)(batch + depth); a < t.rank; a++)
        dims[rank++] = t.dims[a];
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

/* -- sizes that depend on values ------------------------------------------ */

/* How many elements of operand k are not zero, if all are known. */
static bool count_nonzero(const cg_node *n, size_t k, cg_dim *count)
{
    const cg_data *d = cg_in_data(n, k);
    if (!d || d->s)
        return false;
    *count = 0;
    for (size_t j = 0; j < d->n; j++) {
        cg_elem e = cg_elem_get(d, j);
        if (!cg_elem_known(e))
            return false;
        *count += d->f ? e.f != 0 : e.i != 0;
    }
    return true;
}

/* Old exporters write arange(n) as NonZero of n ones. */
static bool count_ones(cg_graph *g, const cg_node *n, cg_dim *count)
{
    const cg_value *v = cg_in(n, 0);
    if (!v || v->role != CG_ROLE_NODE || v->def->op != CG_OP_CONSTANT_OF_SHAPE)
        return false;
    const cg_attr *a = cg_attr_find(v->def, "value");
    const cg_data *fill =
        a && a->kind == CG_ATTR_VALUE ? a->value->data : NULL;
    bool ok;
    if (!fill || fill->n != 1 || fill->s)
        return false;
    cg_elem e = cg_elem_get(fill, 0);
    if (!cg_elem_known(e) || (fill->f ? e.f == 0 : e.i == 0))
        return false;
    *count = cg_type_count(g, &v->type, &ok);
    return ok;
}

cg_err cg_shape_non_zero(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[2];
    dims[0] = t.rank >= 0 ? t.rank
                          : cg_dim_unknown(g, n, "rank of its input");
    if (!count_nonzero(n, 0, &dims[1]) && !count_ones(g, n, &dims[1]))
        dims[1] = cg_dim_unknown(g, n, "number of non-zero elements");
    cg_out_tensor(g, n, 0, CG_I64, 2, dims);
    return CG_OK;
}

cg_err cg_shape_compress(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK], count;
    int axis;
    if (!count_nonzero(n, 1, &count))
        count = cg_dim_unknown(g, n, "number of elements kept");
    if (!cg_attr_find(n, "axis")) {
        cg_out_tensor(g, n, 0, t.dtype, 1, &count);
        return CG_OK;
    }
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    memcpy(dims, t.dims, sizeof *dims * (size_t)t.rank);
    dims[axis] = count;
    cg_out_tensor(g, n, 0, t.dtype, t.rank, dims);
    return CG_OK;
}

cg_err cg_shape_unique(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    cg_dim count = cg_dim_unknown(g, n, "number of unique elements"), whole;
    bool flat = !cg_attr_find(n, "axis"), ok;
    int axis = 0, rank = flat ? 1 : t.rank;
    if (!flat && t.rank >= 0)
        CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    whole = flat ? cg_type_count(g, &t, &ok) : 0;
    if (!flat)
        whole = cg_in_dim(g, n, 0, axis);
    else if (!ok)
        whole = cg_dim_unknown(g, n, "number of elements");
    if (!flat && t.rank >= 0)
        memcpy(dims, t.dims, sizeof *dims * (size_t)t.rank);
    dims[axis] = count;
    if (rank < 0)
        cg_out_blocked(g, n, 0, 0, t.dtype);
    else
        cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    cg_out_tensor(g, n, 1, CG_I64, 1, &count);
    cg_out_tensor(g, n, 2, CG_I64, 1, &whole);
    cg_out_tensor(g, n, 3, CG_I64, 1, &count);
    return CG_OK;
}

cg_err cg_shape_non_max_suppression(cg_graph *g, cg_node *n)
{
    cg_dim dims[2] = { 0, 3 };
    CG_TRY(cg_want_rank(n, 0, "boxes", 3, 3));
    CG_TRY(cg_want_rank(n, 1, "scores", 3, 3));
    dims[0] = cg_dim_unknown(g, n, "number of boxes kept");
    cg_out_tensor(g, n, 0, CG_I64, 2, dims);
    return CG_OK;
}

cg_err cg_shape_one_hot(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK], depth = 0;
    const cg_data *d = cg_in_data(n, 1);
    int axis, dtype = cg_in_type(n, 2).dtype;
    if (t.rank < 0) {
        cg_out_blocked(g, n, 0, 0, dtype);
        return CG_OK;
    }
    if (t.rank + 1 > CG_MAX_RANK)
        return too_many_axes(t.rank + 1);
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", -1), t.rank + 1, &axis));
    if (d && d->n == 1 && !d->s) {
        cg_elem e = cg_elem_get(d, 0);
        depth = d->f ? cg_floor_scaled(g, n, e.f, e.i) : e.i;
    } else {
        depth = cg_dim_unknown(g, n, "the depth is known only at run time");
    }
    if (cg_dim_known(depth) && depth < 0)
        return cg_fail(CG_EFORMAT, "the depth is %lld", (long long)depth);
    for (int a = 0, from = 0; a <= t.rank; a++)
        dims[a] = a == axis ? depth : t.dims[from++];
    cg_out_tensor(g, n, 0, dtype, t.rank + 1, dims);
    return CG_OK;
}

/* -- shapes and tensors made of them -------------------------------------- */

cg_err cg_shape_shape(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    int start, end;
    if (t.rank < 0 || t.kind != CG_KIND_TENSOR) {
        cg_out_rank(g, n, 0, CG_I64, 1, "rank of its input");
        return CG_OK;
    }
    cg_shape_span(n, t.rank, &start, &end);
    cg_dim len = end - start;
    cg_out_tensor(g, n, 0, CG_I64, 1, &len);
    return CG_OK;
}

cg_err cg_shape_size(cg_graph *g, cg_node *n)
{
    cg_out_tensor(g, n, 0, CG_I64, 0, NULL);
    return CG_OK;
}

/* Two nodes may each make 10^11 elements, of which only the shape is used;
 * only a count that no runtime could address is an error. */
static cg_err check_count(cg_graph *g, int rank, const cg_dim *dims)
{
    int64_t count = 1;
    for (int a = 0; a < rank; a++)
        if (dims[a] == 0)
            return CG_OK;
    for (int a = 0; a < rank; a++) {
        if (!cg_dim_known(dims[a]))
            continue;
        if (dims[a] < 0)
            return cg_fail(CG_EFORMAT, "dim %d of the shape is %lld", a,
                           (long long)dims[a]);
        if (count > INT64_MAX / dims[a]) {
            cg_type t = cg_type_tensor(g, CG_UNDEFINED, rank, dims);
            return cg_fail(CG_ELIMIT, "shape %s has more than 2^63 elements",
                           cg_shape_str(g, &t));
        }
        count *= dims[a];
    }
    return CG_OK;
}

cg_err cg_shape_constant_of_shape(cg_graph *g, cg_node *n)
{
    const cg_attr *a = cg_attr_find(n, "value");
    int dtype = a && a->kind == CG_ATTR_VALUE ? a->value->type.dtype : CG_F32;
    cg_list l = { 0 };
    cg_dim dims[CG_MAX_RANK];
    bool ok = true;
    size_t len;
    const int64_t *shape = cg_attr_ints(n, "shape", &len);
    if (cg_in(n, 0) || !shape)
        CG_TRY(cg_in_list(n, 0, &l, &ok));
    else if (len > CG_MAX_RANK)
        return too_many_axes((int)(len > 999 ? 999 : len));
    else
        for (l.n = 0; l.n < (int)len; l.n++)
            l.d[l.n] = cg_dim_number(shape[l.n]);
    if (!ok) {
        cg_out_unknown(g, n, 0, dtype, by_value);
        return CG_OK;
    }
    for (int k = 0; k < l.n; k++)
        dims[k] = cg_list_dim(g, &l, k);
    CG_TRY(check_count(g, l.n, dims));
    cg_out_tensor(g, n, 0, dtype, l.n, dims);
    return CG_OK;
}

/* Operand k of a Range, if it is one known or symbolic number. */
static bool range_end(const cg_node *n, size_t k, cg_elem *e, bool is_float)
{
    const cg_data *d = cg_in_data(n, k);
    if (!d || d->n != 1 || d->s || (d->f != NULL) != is_float)
        return false;
    *e = cg_elem_get(d, 0);
    return !is_float || cg_elem_known(*e) || e->f == 1;
}

/* ceil((limit - start) / step), not below 0: in double for floats, as the
 * reference and the runtimes have it. */
static cg_dim range_count(cg_graph *g, cg_node *n, cg_elem start,
                          cg_elem limit, cg_elem step, int dtype)
{
    if (cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT && cg_elem_known(start) &&
        cg_elem_known(limit)) {
        double span = cg_round_float(dtype, limit.f - start.f);
        double count = ceil(span / step.f);
        return count > 0 ? cg_trunc_int(count) : 0;
    }
    if (start.f != nearbyint(start.f) || step.f != nearbyint(step.f) ||
        limit.f != nearbyint(limit.f))
        return cg_dim_unknown(g, n, by_value);
    cg_dim from = cg_dim_mul(g, cg_trunc_int(start.f), start.i);
    cg_dim to = cg_dim_mul(g, cg_trunc_int(limit.f), limit.i);
    cg_dim by = cg_dim_mul(g, cg_trunc_int(step.f), step.i);
    cg_dim span = cg_dim_sub(g, to, from);
    if (cg_dim_known(by) && by < 0) {
        span = cg_dim_sub(g, 0, span);
        by = -by;
    }
    return cg_dim_not_negative(g, cg_dim_ceildiv(g, span, by));
}

cg_err cg_shape_range(cg_graph *g, cg_node *n)
{
    int dtype = CG_UNDEFINED;
    for (size_t k = 0; k < 3 && dtype == CG_UNDEFINED; k++)
        dtype = cg_in_type(n, k).dtype;
    bool is_float = cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT;
    cg_elem start, limit, step;
    cg_dim count;
    bool has_step = range_end(n, 2, &step, is_float);
    if (has_step && step.i != 1 && step.i == 0)
        return cg_fail(CG_EFORMAT, "the step is 0");
    if (has_step && is_float && step.f == 0)
        return cg_fail(CG_EFORMAT, "the step is 0");
    if (has_step && range_end(n, 0, &start, is_float) &&
        range_end(n, 1, &limit, is_float))
        count = range_count(g, n, start, limit, step, dtype);
    else
        count = cg_dim_unknown(g, n, by_value);
    cg_out_tensor(g, n, 0, dtype, 1, &count);
    return CG_OK;
}

cg_err cg_shape_eye_like(cg_graph *g, cg_node *n)
{
    int dtype = CG_UNDEFINED;
    CG_TRY(wanted_dtype(n, "dtype", cg_in_type(n, 0).dtype, &dtype));
    CG_TRY(cg_want_rank(n, 0, "input", 2, 2));
    cg_out_like(g, n, 0, 0, dtype);
    return CG_OK;
}
