/* Shape rules of resampling, padding, cropping and blocks. */
#include <math.h>
#include <string.h>

#include "passes/fold.h"
#include "passes/shape_rules.h"

/* -- resize ---------------------------------------------------------------- */

/* Operand k as elements; an empty tensor counts as left out. */
static const cg_data *list_of(const cg_node *n, size_t k, bool *given)
{
    cg_type t = cg_in_type(n, k);
    const cg_data *d = cg_in_data(n, k);
    *given = cg_in(n, k) && !(t.rank == 1 && t.dims[0] == 0) &&
             !(d && d->n == 0);
    return *given ? d : NULL;
}

/* floor(in * scale). Numbers go through float, as in runtimes, where
 * 10 * 0.7 is 7; of symbols only exact fractions are. */
static cg_dim scaled(cg_graph *g, cg_node *n, cg_dim in, const cg_data *s,
                     size_t k)
{
    double f = s->f ? s->f[k] : 1;
    if (s->i && s->f)
        in = cg_dim_mul(g, in, s->i[k]);
    else if (s->i)
        return cg_dim_mul(g, in, s->i[k]);
    if (cg_dim_known(in)) {
        float out = floorf((float)in * (float)f);
        if (out >= 0 && out < 9e18f)
            return (cg_dim)out;
    }
    return cg_floor_scaled(g, n, f, in);
}

static cg_err check_scales(const cg_data *s)
{
    for (size_t k = 0; k < s->n; k++) {
        double f;
        if (cg_data_float(s, k, &f) && !(f > 0 && isfinite(f)))
            return cg_fail(CG_EFORMAT, "scale %g is not positive", f);
    }
    return CG_OK;
}

/* keep_aspect_ratio_policy: one scale for all axes, the least (not_larger) or
 * the greatest (not_smaller) of those the sizes ask for. */
static void keep_aspect(cg_graph *g, cg_node *n, const cg_type *x,
                        const int *axes, const cg_data *sizes, bool least,
                        cg_dim *dims)
{
    float best = least ? INFINITY : 0;
    bool known = true;
    for (size_t k = 0; k < sizes->n; k++) {
        cg_dim in = x->dims[axes[k]], want = sizes->i[k];
        known = known && cg_dim_known(in) && in > 0 && cg_dim_known(want);
        if (known) {
            float scale = (float)want / (float)in;
            best = least ? fminf(best, scale) : fmaxf(best, scale);
        }
    }
    for (size_t k = 0; k < sizes->n; k++) {
        int a = axes[k];
        dims[a] = known ? (cg_dim)roundf((float)x->dims[a] * best)
                        : cg_dim_unknown(g, n, "keeps an aspect ratio that "
                                               "is not known");
    }
}

/* Axes that sizes or scales are for: the attribute, or all. */
static cg_err resize_axes(const cg_node *n, int rank, int *axes, size_t *count)
{
    const int64_t *v;
    CG_TRY(cg_want_ints(n, "axes", &v, count));
    if (*count > (size_t)rank)
        return cg_fail(CG_EFORMAT, "%zu axes for rank %d", *count, rank);
    if (!v)
        *count = (size_t)rank;
    for (size_t i = 0; i < *count; i++)
        CG_TRY(cg_axis(n, v ? v[i] : (int64_t)i, rank, &axes[i]));
    return CG_OK;
}

static cg_err resize_sizes(cg_graph *g, cg_node *n, const cg_type *x,
                           const int *axes, const cg_data *sizes, cg_dim *dims)
{
    const char *policy =
        cg_attr_string(n, "keep_aspect_ratio_policy", "stretch");
    for (size_t k = 0; k < sizes->n; k++)
        if (cg_dim_known(sizes->i[k]) && sizes->i[k] < 0)
            return cg_fail(CG_EFORMAT, "size %s is negative",
                           cg_dim_str(g, sizes->i[k]));
    if (strcmp(policy, "stretch") != 0)
        keep_aspect(g, n, x, axes, sizes, strcmp(policy, "not_larger") == 0,
                    dims);
    else
        for (size_t k = 0; k < sizes->n; k++)
            dims[axes[k]] = sizes->i[k];
    return CG_OK;
}

cg_err cg_shape_resize(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    int axes[CG_MAX_RANK];
    size_t count;
    bool has_scales, has_sizes;
    const cg_data *scales = list_of(n, 2, &has_scales);
    const cg_data *sizes = list_of(n, 3, &has_sizes);
    if (!has_scales && !has_sizes)
        return cg_fail(CG_EFORMAT, "has neither sizes nor scales");
    if (scales)
        CG_TRY(check_scales(scales));
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(resize_axes(n, x.rank, axes, &count));
    const cg_data *by = has_sizes ? sizes : scales;
    if (by && by->n != count)
        return cg_fail(CG_EFORMAT, "%zu %s for %zu axes", by->n,
                       has_sizes ? "sizes" : "scales", count);
    if (x.rank)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    if (by && has_sizes && by->i)
        CG_TRY(resize_sizes(g, n, &x, axes, by, dims));
    else
        for (size_t k = 0; k < count; k++)
            dims[axes[k]] = by && !has_sizes
                                ? scaled(g, n, x.dims[axes[k]], by, k)
                                : cg_dim_unknown(g, n, "size not known");
    cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
    return CG_OK;
}

/* -- sampling -------------------------------------------------------------- */

/* (N,C,...) at the points of a grid (N,...,dims) */
cg_err cg_shape_grid_sample(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), grid = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    int rank = x.rank >= 0 ? x.rank : grid.rank;
    if (x.rank >= 0 && grid.rank >= 0 && x.rank != grid.rank)
        return cg_fail(CG_EFORMAT, "input of rank %d, grid of rank %d",
                       x.rank, grid.rank);
    if (rank < 0)
        return cg_blocked(g, n, 0), CG_OK;
    CG_TRY(cg_want_rank(n, x.rank >= 0 ? 0 : 1, "the input", 3,
                        CG_MAX_RANK));
    dims[0] = cg_in_dim(g, n, x.rank >= 0 ? 0 : 1, 0);
    dims[1] = cg_in_dim(g, n, 0, 1);
    if (grid.rank >= 0) {
        CG_TRY(cg_want_equal(g, dims[0], grid.dims[0],
                             "batch of input and grid"));
        if (cg_dim_known(grid.dims[0]))
            dims[0] = grid.dims[0];
    }
    for (int i = 2; i < rank; i++)
        dims[i] = cg_in_dim(g, n, 1, i - 1);
    cg_out_tensor(g, n, 0, x.dtype, rank, dims);
    return CG_OK;
}

/* size (N,C,[D,]H,W) gives (N,[D,]H,W,2 or 3) */
cg_err cg_shape_affine_grid(cg_graph *g, cg_node *n)
{
    cg_type theta = cg_in_type(n, 0), size = cg_in_type(n, 1);
    const cg_data *d = cg_in_data(n, 1);
    cg_dim dims[5], rows = theta.rank == 3 ? theta.dims[1] : 0;
    int64_t len = d ? (int64_t)d->n : size.rank == 1 ? size.dims[0] : rows + 2;
    if (!cg_dim_known(len) || (!d && size.rank != 1 && rows == 0)) {
        cg_out_unknown(g, n, 0, theta.dtype, "size not known");
        return CG_OK;
    }
    if (len != 4 && len != 5)
        return cg_fail(CG_EFORMAT, "size has %lld elements, needs 4 or 5",
                       (long long)len);
    dims[0] = d && d->i ? d->i[0] : cg_in_dim(g, n, 0, 0);
    for (int i = 2; i < len; i++)
        dims[i - 1] = d && d->i ? d->i[i]
                                : cg_dim_unknown(g, n, "size not known");
    dims[len - 1] = len - 2;
    cg_out_tensor(g, n, 0, theta.dtype, (int)len, dims);
    return CG_OK;
}

cg_err cg_shape_roi_align(cg_graph *g, cg_node *n)
{
    int64_t h = cg_attr_int(n, "output_height", 1);
    int64_t w = cg_attr_int(n, "output_width", 1);
    CG_TRY(cg_want_rank(n, 0, "the input", 4, 4));
    CG_TRY(cg_want_rank(n, 1, "rois", 2, 2));
    if (h < 0 || w < 0)
        return cg_fail(CG_EFORMAT, "output of %lld x %lld", (long long)h,
                       (long long)w);
    cg_dim rois = cg_in_dim(g, n, 1, 0), index = cg_in_dim(g, n, 2, 0);
    CG_TRY(cg_want_equal(g, rois, index, "rois and batch indices"));
    cg_dim dims[4] = {cg_in_type(n, 1).rank < 0 ? index : rois,
                      cg_in_dim(g, n, 0, 1), h, w};
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

cg_err cg_shape_max_roi_pool(cg_graph *g, cg_node *n)
{
    const int64_t *pooled;
    size_t len;
    CG_TRY(cg_want_ints(n, "pooled_shape", &pooled, &len));
    if (len != 2 || pooled[0] < 0 || pooled[1] < 0)
        return cg_fail(CG_EFORMAT, "pooled_shape is not two sizes");
    CG_TRY(cg_want_rank(n, 0, "the input", 4, 4));
    CG_TRY(cg_want_rank(n, 1, "rois", 2, 2));
    cg_dim dims[4] = {cg_in_dim(g, n, 1, 0), cg_in_dim(g, n, 0, 1), pooled[0],
                      pooled[1]};
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

/* -- blocks ---------------------------------------------------------------- */

static cg_err block_size(const cg_node *n, int64_t *b)
{
    *b = cg_attr_int(n, "blocksize", 0);
    if (*b < 1 || *b > INT32_MAX)
        return cg_fail(CG_EFORMAT, "blocksize is %lld", (long long)*b);
    return cg_want_rank(n, 0, "the input", 4, 4);
}

/* a / b, which must be a whole number */
static cg_err exact_part(cg_graph *g, cg_dim a, int64_t b, const char *what,
                         cg_dim *out)
{
    if (cg_dim_known(a) && a % b)
        return cg_fail(CG_EFORMAT, "%s of %s is no multiple of %lld", what,
                       cg_dim_str(g, a), (long long)b);
    *out = cg_dim_floordiv(g, a, b);
    return CG_OK;
}

cg_err cg_shape_depth_to_space(cg_graph *g, cg_node *n)
{
    int64_t b;
    cg_dim dims[4];
    CG_TRY(block_size(n, &b));
    for (int i = 0; i < 4; i++)
        dims[i] = cg_in_dim(g, n, 0, i);
    CG_TRY(exact_part(g, dims[1], b * b, "a depth", &dims[1]));
    dims[2] = cg_dim_mul(g, dims[2], b);
    dims[3] = cg_dim_mul(g, dims[3], b);
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

cg_err cg_shape_space_to_depth(cg_graph *g, cg_node *n)
{
    int64_t b;
    cg_dim dims[4];
    CG_TRY(block_size(n, &b));
    for (int i = 0; i < 4; i++)
        dims[i] = cg_in_dim(g, n, 0, i);
    dims[1] = cg_dim_mul(g, dims[1], b * b);
    CG_TRY(exact_part(g, dims[2], b, "a height", &dims[2]));
    CG_TRY(exact_part(g, dims[3], b, "a width", &dims[3]));
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

/* (N, C * block, L) to (N, C, image...) */
cg_err cg_shape_col2im(cg_graph *g, cg_node *n)
{
    const cg_data *image = cg_in_data(n, 1), *block = cg_in_data(n, 2);
    cg_type size = cg_in_type(n, 1);
    int dtype = cg_in_type(n, 0).dtype;
    cg_dim dims[CG_MAX_RANK], area = 1;
    CG_TRY(cg_want_rank(n, 0, "the input", 3, 3));
    cg_dim len = image ? (cg_dim)image->n : size.rank == 1 ? size.dims[0] : -1;
    if (!cg_dim_known(len) || len < 0) {
        cg_out_unknown(g, n, 0, dtype, "image_shape not known");
        return CG_OK;
    }
    if (len > CG_MAX_RANK - 2)
        return cg_fail(CG_EFORMAT, "image_shape has %s elements",
                       cg_dim_str(g, len));
    dims[0] = cg_in_dim(g, n, 0, 0);
    dims[1] = cg_in_dim(g, n, 0, 1);
    for (size_t i = 0; block && block->i && i < block->n; i++)
        area = cg_dim_mul(g, area, block->i[i]);
    if (!block || !block->i || !cg_dim_known(area))
        dims[1] = cg_dim_unknown(g, n, "block_shape not known");
    else if (area < 1)
        return cg_fail(CG_EFORMAT, "block_shape is not positive");
    else
        CG_TRY(exact_part(g, dims[1], area, "second dim", &dims[1]));
    for (int i = 0; i < len; i++)
        dims[i + 2] = image && image->i
                          ? image->i[i]
                          : cg_dim_unknown(g, n, "image_shape not known");
    cg_out_tensor(g, n, 0, dtype, (int)len + 2, dims);
    return CG_OK;
}

/* -- padding and cropping -------------------------------------------------- */

static cg_err padded_dim(cg_graph *g, cg_dim d, cg_dim begin, cg_dim end,
                         cg_dim *out)
{
    *out = cg_dim_add(g, cg_dim_add(g, d, begin), end);
    if (cg_dim_known(*out) && *out < 0)
        return cg_fail(CG_EFORMAT, "pads %s and %s take more than %s",
                       cg_dim_str(g, begin), cg_dim_str(g, end),
                       cg_dim_str(g, d));
    return CG_OK;
}

cg_err cg_shape_pad(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    const cg_data *pads = cg_in_data(n, 1), *axes = cg_in_data(n, 3);
    cg_dim dims[CG_MAX_RANK];
    static const char why[] = "pads not known";
    if (cg_blocked(g, n, 0))
        return CG_OK;
    if (!pads || !pads->i || (cg_in(n, 3) && (!axes || !axes->i))) {
        cg_out_rank(g, n, 0, x.dtype, x.rank, why);
        return CG_OK;
    }
    size_t count = axes ? axes->n : (size_t)x.rank;
    if (pads->n != 2 * count)
        return cg_fail(CG_EFORMAT, "pads has %zu values for %zu axes",
                       pads->n, count);
    if (x.rank)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    for (size_t k = 0; k < count; k++) {
        int axis = (int)k;
        if (axes && !cg_dim_known(axes->i[k])) {
            cg_out_rank(g, n, 0, x.dtype, x.rank, why);
            return CG_OK;
        }
        if (axes)
            CG_TRY(cg_axis(n, axes->i[k], x.rank, &axis));
        CG_TRY(padded_dim(g, dims[axis], pads->i[k], pads->i[k + count],
                          &dims[axis]));
    }
    cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
    return CG_OK;
}

static cg_dim minus(cg_graph *g, int64_t v)
{
    return cg_dim_sub(g, 0, cg_dim_number(v));
}

/* Caffe2's experimental Crop: border (left, top, right, bottom), or the size
 * that is left as scale (h, w). */
cg_err cg_shape_crop(cg_graph *g, cg_node *n)
{
    const int64_t *border, *scale;
    size_t n_border, n_scale;
    cg_dim dims[4];
    CG_TRY(cg_want_ints(n, "border", &border, &n_border));
    CG_TRY(cg_want_ints(n, "scale", &scale, &n_scale));
    CG_TRY(cg_want_rank(n, 0, "the input", 4, 4));
    if (n_border != 4 && n_scale != 2)
        return cg_fail(CG_EFORMAT, "attribute border has %zu values, needs 4",
                       n_border);
    for (int i = 0; i < 4; i++)
        dims[i] = cg_in_dim(g, n, 0, i);
    for (int i = 0; i < 2; i++) {
        if (n_scale == 2)
            dims[i + 2] = scale[i] < 0 ? 0 : scale[i];
        else
            CG_TRY(padded_dim(g, dims[i + 2], minus(g, border[1 - i]),
                              minus(g, border[3 - i]), &dims[i + 2]));
    }
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

cg_err cg_shape_center_crop_pad(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    const cg_data *size = cg_in_data(n, 1);
    cg_dim dims[CG_MAX_RANK];
    int axes[CG_MAX_RANK];
    size_t count;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(resize_axes(n, x.rank, axes, &count));
    if (size && size->n != count)
        return cg_fail(CG_EFORMAT, "shape has %zu elements for %zu axes",
                       size->n, count);
    if (x.rank)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    for (size_t k = 0; k < count; k++)
        dims[axes[k]] = size && size->i
                            ? size->i[k]
                            : cg_dim_unknown(g, n, "shape not known");
    cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
    return CG_OK;
}
