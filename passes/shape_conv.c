/* Shape rules of sliding windows: convolutions and pools.
 *
 * Later passes read kernel_shape, strides, dilations, pads and group from the
 * node, so these rules write down what a file may leave out, and turn auto_pad
 * into pads as soon as the dims it depends on are numbers. */
#include <string.h>

#include "passes/shape_rules.h"

#define MAX_SPACE (CG_MAX_RANK - 2)

typedef struct window {
    int n;               /* spatial axes */
    bool has_kernel;
    int64_t kernel[MAX_SPACE], stride[MAX_SPACE], dilation[MAX_SPACE];
    int64_t pad[2 * MAX_SPACE]; /* begins, then ends */
    bool same, upper, has_pads; /* auto_pad SAME_*; pads known */
    bool ceil;
} window;

/* -- reading --------------------------------------------------------------- */

static cg_err read_list(const cg_node *n, const char *name, int64_t *to,
                        int len, int64_t otherwise, int64_t least)
{
    const int64_t *v;
    size_t have;
    CG_TRY(cg_want_ints(n, name, &v, &have));
    if (have && have != (size_t)len)
        return cg_fail(CG_EFORMAT, "%s has %zu values, needs %d", name, have,
                       len);
    for (int i = 0; i < len; i++) {
        to[i] = have ? v[i] : otherwise;
        if (to[i] < least)
            return cg_fail(CG_EFORMAT, "%s has %lld, must be at least %lld",
                           name, (long long)to[i], (long long)least);
    }
    return CG_OK;
}

static cg_err read_auto_pad(const cg_node *n, window *w)
{
    const char *s = cg_attr_string(n, "auto_pad", "NOTSET");
    w->upper = strcmp(s, "SAME_UPPER") == 0;
    w->same = w->upper || strcmp(s, "SAME_LOWER") == 0;
    w->has_pads = !w->same;
    if (!w->same && *s && strcmp(s, "NOTSET") != 0 && strcmp(s, "VALID") != 0)
        return cg_fail(CG_EFORMAT, "auto_pad is '%s'", s);
    if (w->same || strcmp(s, "VALID") == 0)
        memset(w->pad, 0, sizeof w->pad);
    return CG_OK;
}

/* `weight`: the kernel is its trailing dims where kernel_shape is absent. */
static cg_err read_window(cg_graph *g, cg_node *n, window *w, int space,
                          const cg_type *weight)
{
    size_t len;
    const int64_t *k;
    memset(w, 0, sizeof *w);
    w->n = space;
    CG_TRY(cg_want_ints(n, "kernel_shape", &k, &len));
    CG_TRY(read_list(n, "kernel_shape", w->kernel, space, 1, 1));
    w->has_kernel = len > 0;
    if (weight && weight->rank >= 0) {
        bool all = true;
        for (int i = 0; i < space; i++) {
            cg_dim d = weight->dims[i + 2];
            if (len)
                CG_TRY(cg_want_equal(g, d, k[i], "kernel_shape and weight"));
            else if (cg_dim_known(d) && d < 1)
                return cg_fail(CG_EFORMAT, "weight has an empty kernel");
            else if (cg_dim_known(d))
                w->kernel[i] = d;
            else
                all = false;
        }
        w->has_kernel = w->has_kernel || all;
    }
    CG_TRY(read_list(n, "strides", w->stride, space, 1, 1));
    CG_TRY(read_list(n, "dilations", w->dilation, space, 1, 1));
    CG_TRY(read_list(n, "pads", w->pad, 2 * space, 0, 0));
    w->ceil = cg_attr_int(n, "ceil_mode", 0) != 0;
    return read_auto_pad(n, w);
}

static void write_window(cg_graph *g, cg_node *n, const window *w)
{
    size_t space = (size_t)w->n;
    if (w->has_kernel)
        cg_attr_set_ints(g, n, "kernel_shape", w->kernel, space);
    cg_attr_set_ints(g, n, "strides", w->stride, space);
    cg_attr_set_ints(g, n, "dilations", w->dilation, space);
    if (!w->has_pads)
        return;
    cg_attr_set_ints(g, n, "pads", w->pad, 2 * space);
    cg_attr_remove(n, "auto_pad");
}

/* -- sizes ----------------------------------------------------------------- */

/* d * (k - 1) + 1 */
static cg_dim extent(cg_graph *g, const window *w, int i)
{
    return cg_dim_add(g, cg_dim_mul(g, w->dilation[i], w->kernel[i] - 1), 1);
}

static void split_pad(window *w, int i, int64_t total, bool upper)
{
    int64_t small = total / 2;
    w->pad[i] = upper ? small : total - small;
    w->pad[i + w->n] = total - w->pad[i];
}

/* SAME: ceil(in / stride) outputs. The padding needs the input's size unless
 * the stride is 1. */
static cg_dim same_size(cg_graph *g, window *w, int i, cg_dim in)
{
    cg_dim out = cg_dim_ceildiv(g, in, w->stride[i]);
    cg_dim span = cg_dim_mul(g, cg_dim_sub(g, out, 1), w->stride[i]);
    cg_dim total = cg_dim_sub(g, cg_dim_add(g, span, extent(g, w, i)), in);
    if (!w->has_kernel || !cg_dim_known(total))
        w->has_pads = false;
    else
        split_pad(w, i, total > 0 ? total : 0, w->upper);
    return out;
}

/* Windows along axis i. With ceil_mode the last one may hang over the end, but
 * must start inside the input or the padding before it. */
static cg_err window_size(cg_graph *g, const window *w, int i, cg_dim in,
                          cg_dim *out)
{
    cg_dim begin = cg_dim_add(g, in, w->pad[i]), last = w->stride[i];
    cg_dim all = cg_dim_add(g, begin, w->pad[i + w->n]);
    cg_dim eff = extent(g, w, i), room = cg_dim_sub(g, all, eff);
    *out = 0;
    if (!cg_dim_known(eff)) /* of known numbers: it overflows */
        return cg_fail(CG_EFORMAT, "kernel of %lld with dilation %lld spans "
                       "more than 2^63 elements", (long long)w->kernel[i],
                       (long long)w->dilation[i]);
    if (cg_dim_known(room) && room < 0 && in == 0)
        return CG_OK;
    /* one window that hangs over is fine with ceil_mode */
    if (cg_dim_known(room) && room < 0 && (!w->ceil || room <= -last))
        return cg_fail(CG_EFORMAT,
                       "kernel of %s (%lld, dilation %lld) is larger than "
                       "the padded input of %s",
                       cg_dim_str(g, eff), (long long)w->kernel[i],
                       (long long)w->dilation[i], cg_dim_str(g, all));
    if (!w->ceil) {
        *out = cg_dim_add(g, cg_dim_floordiv(g, room, last), 1);
        return CG_OK;
    }
    *out = cg_dim_add(g, cg_dim_ceildiv(g, room, last), 1);
    if (cg_dim_compare(g, cg_dim_add(g, w->pad[i + w->n], last), eff) != -1)
        *out = cg_dim_min(g, *out, cg_dim_ceildiv(g, begin, last));
    return CG_OK;
}

/* Output dims 2.. of a window over x. */
static cg_err slide(cg_graph *g, cg_node *n, window *w, const cg_type *x,
                    cg_dim *dims)
{
    bool same = w->same;
    w->has_pads = true;
    for (int i = 0; i < w->n; i++) {
        if (x->rank < 0)
            dims[i] = cg_in_dim(g, n, 0, i + 2);
        else if (same)
            dims[i] = same_size(g, w, i, x->dims[i + 2]);
        else if (!w->has_kernel)
            dims[i] = cg_dim_unknown(g, n, "kernel size that is not known");
        else
            CG_TRY(window_size(g, w, i, x->dims[i + 2], &dims[i]));
    }
    if (same && x->rank < 0)
        w->has_pads = false;
    write_window(g, n, w);
    return CG_OK;
}

/* -- convolutions ---------------------------------------------------------- */

/* Ranks of input and weight; 0 in *space: neither is known. */
static cg_err conv_space(const cg_node *n, int *space)
{
    int x = cg_in_type(n, 0).rank, w = cg_in_type(n, 1).rank;
    const cg_attr *k = cg_attr_find(n, "kernel_shape");
    CG_TRY(cg_want_rank(n, 0, "the input", 3, CG_MAX_RANK));
    CG_TRY(cg_want_rank(n, 1, "the weight", 3, CG_MAX_RANK));
    if (x >= 0 && w >= 0 && x != w)
        return cg_fail(CG_EFORMAT, "input of rank %d, weight of rank %d", x,
                       w);
    *space = (x >= 0 ? x : w) - 2;
    if (x < 0 && w < 0)
        *space = k && k->kind == CG_ATTR_INTS && k->n <= MAX_SPACE
                     ? (int)k->n : 0;
    return CG_OK;
}

/* Channels of the input (in = dims of a group) must fit the weight. */
static cg_err check_groups(cg_graph *g, cg_dim x, cg_dim per_group,
                           cg_dim count, int64_t group)
{
    if (group < 1)
        return cg_fail(CG_EFORMAT, "group is %lld", (long long)group);
    if (cg_dim_known(x) && x % group)
        return cg_fail(CG_EFORMAT,
                       "group %lld does not divide %s input channels",
                       (long long)group, cg_dim_str(g, x));
    if (cg_dim_known(count) && count % group)
        return cg_fail(CG_EFORMAT,
                       "group %lld does not divide %s output channels",
                       (long long)group, cg_dim_str(g, count));
    if (cg_dim_known(x) && cg_dim_known(per_group) && x / group != per_group)
        return cg_fail(CG_EFORMAT,
                       "weight is for %s channels in each of %lld groups, "
                       "the input has %s",
                       cg_dim_str(g, per_group), (long long)group,
                       cg_dim_str(g, x));
    return CG_OK;
}

static cg_err check_bias(cg_graph *g, const cg_node *n, size_t k, cg_dim out)
{
    cg_type b = cg_in_type(n, k);
    if (!cg_in(n, k) || b.rank != 1 || cg_dims_agree(b.dims[0], out))
        return CG_OK;
    return cg_fail(CG_EFORMAT, "bias has %s elements for %s output channels",
                   cg_dim_str(g, b.dims[0]), cg_dim_str(g, out));
}

static cg_err conv_rule(cg_graph *g, cg_node *n, size_t bias)
{
    cg_type x = cg_in_type(n, 0), wt = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    window w;
    int space;
    int64_t group = cg_attr_int(n, "group", 1);
    CG_TRY(conv_space(n, &space));
    if (space == 0) {
        cg_out_blocked(g, n, 0, 0, x.dtype);
        return CG_OK;
    }
    CG_TRY(read_window(g, n, &w, space, &wt));
    dims[0] = cg_in_dim(g, n, 0, 0);
    dims[1] = cg_in_dim(g, n, 1, 0);
    CG_TRY(check_groups(g, x.rank >= 0 ? x.dims[1] : dims[0],
                        cg_in_dim(g, n, 1, 1), dims[1], group));
    CG_TRY(check_bias(g, n, bias, dims[1]));
    CG_TRY(slide(g, n, &w, &x, dims + 2));
    cg_attr_set_int(g, n, "group", group);
    cg_out_tensor(g, n, 0, cg_in_dtype(n, 0, wt.dtype), space + 2, dims);
    return CG_OK;
}

cg_err cg_shape_conv(cg_graph *g, cg_node *n) { return conv_rule(g, n, 2); }

cg_err cg_shape_deform_conv(cg_graph *g, cg_node *n)
{
    return conv_rule(g, n, 3);
}

/* One output dim, and the padding that auto_pad or output_shape ask for:
 * never less than none, so that a SAME output may fall short of in * stride. */
static cg_err transposed_size(cg_graph *g, const cg_node *n, window *w, int i,
                              cg_dim in, int64_t extra, cg_dim *out)
{
    size_t len;
    const int64_t *shape = cg_attr_ints(n, "output_shape", &len);
    cg_dim full = cg_dim_mul(g, cg_dim_sub(g, in, 1), w->stride[i]);
    full = cg_dim_add(g, cg_dim_add(g, full, extra), extent(g, w, i));
    cg_dim total = cg_dim_add(g, w->pad[i], w->pad[i + w->n]);
    bool given = len == (size_t)w->n || len == (size_t)w->n + 2;
    if (given)
        *out = cg_dim_number(shape[i + (int)len - w->n]);
    if (given)
        total = cg_dim_sub(g, full, *out);
    else if (w->same)
        total = cg_dim_sub(g, full, cg_dim_mul(g, in, w->stride[i]));
    if (cg_dim_known(total) && total < 0)
        total = 0;
    if (!given)
        *out = cg_dim_sub(g, full, total);
    if (cg_dim_known(*out) && *out < 0 && in != 0)
        return cg_fail(CG_EFORMAT, "output size would be %s",
                       cg_dim_str(g, *out));
    if (cg_dim_known(*out) && *out < 0)
        *out = 0;
    if (!cg_dim_known(total))
        w->has_pads = false;
    else if (given || w->same)
        split_pad(w, i, total, w->upper);
    return CG_OK;
}

static cg_err transposed_dims(cg_graph *g, cg_node *n, window *w,
                              const cg_type *x, cg_dim *dims)
{
    int64_t extra[MAX_SPACE];
    CG_TRY(read_list(n, "output_padding", extra, w->n, 0, 0));
    w->has_pads = true;
    for (int i = 0; i < w->n; i++) {
        if (x->rank < 0)
            dims[i] = cg_in_dim(g, n, 0, i + 2);
        else if (!w->has_kernel)
            dims[i] = cg_dim_unknown(g, n, "kernel size that is not known");
        else
            CG_TRY(transposed_size(g, n, w, i, x->dims[i + 2], extra[i],
                                   &dims[i]));
    }
    if (w->same && (x->rank < 0 || !w->has_kernel))
        w->has_pads = false;
    write_window(g, n, w);
    return CG_OK;
}

cg_err cg_shape_conv_transpose(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), wt = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    window w;
    int space;
    int64_t group = cg_attr_int(n, "group", 1);
    CG_TRY(conv_space(n, &space));
    if (space == 0) {
        cg_out_blocked(g, n, 0, 0, x.dtype);
        return CG_OK;
    }
    CG_TRY(read_window(g, n, &w, space, &wt));
    cg_dim cin = cg_in_dim(g, n, 1, 0);
    if (group < 1 || (cg_dim_known(cin) && cin % group))
        return cg_fail(CG_EFORMAT,
                       "group %lld does not divide %s input channels",
                       (long long)group, cg_dim_str(g, cin));
    if (x.rank >= 0 && !cg_dims_agree(x.dims[1], cin))
        return cg_fail(CG_EFORMAT,
                       "weight is for %s input channels, the input has %s",
                       cg_dim_str(g, cin), cg_dim_str(g, x.dims[1]));
    dims[0] = cg_in_dim(g, n, 0, 0);
    dims[1] = cg_dim_mul(g, cg_in_dim(g, n, 1, 1), group);
    CG_TRY(check_bias(g, n, 2, dims[1]));
    CG_TRY(transposed_dims(g, n, &w, &x, dims + 2));
    cg_attr_set_int(g, n, "group", group);
    cg_out_tensor(g, n, 0, cg_in_dtype(n, 0, wt.dtype), space + 2, dims);
    return CG_OK;
}

/* Depthwise over time, looking back only; the state is what the next call
 * needs: the last k - 1 positions. */
cg_err cg_shape_causal_conv(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    CG_TRY(cg_want_rank(n, 0, "the input", 3, 3));
    CG_TRY(cg_want_rank(n, 1, "the weight", 3, 3));
    cg_dim c = cg_in_dim(g, n, 0, 1), cw = cg_in_dim(g, n, 1, 0);
    CG_TRY(cg_want_equal(g, c, cw, "channels of input and weight"));
    if (!cg_dim_known(c) && cg_dim_known(cw))
        c = cw;
    cg_dim k = cg_in_dim(g, n, 1, 2), b = cg_in_dim(g, n, 0, 0);
    cg_dim dims[3] = {b, c, cg_in_dim(g, n, 0, 2)};
    cg_dim state[3] = {b, c, cg_dim_sub(g, k, 1)};
    cg_out_tensor(g, n, 0, x.dtype, 3, dims);
    cg_out_tensor(g, n, 1, cg_in_dtype(n, 3, x.dtype), 3, state);
    return CG_OK;
}

/* -- pools ----------------------------------------------------------------- */

static cg_err pool_space(const cg_node *n, int *space)
{
    const int64_t *k;
    size_t len;
    cg_type x = cg_in_type(n, 0);
    CG_TRY(cg_want_ints(n, "kernel_shape", &k, &len));
    CG_TRY(cg_want_rank(n, 0, "the input", 3, CG_MAX_RANK));
    if (len == 0 || len > MAX_SPACE)
        return cg_fail(CG_EFORMAT, "attribute kernel_shape is missing");
    if (x.rank >= 0 && (size_t)x.rank != len + 2)
        return cg_fail(CG_EFORMAT,
                       "kernel_shape has %zu values for an input of rank %d",
                       len, x.rank);
    *space = (int)len;
    return CG_OK;
}

cg_err cg_shape_pool(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    window w;
    int space;
    CG_TRY(pool_space(n, &space));
    CG_TRY(read_window(g, n, &w, space, NULL));
    dims[0] = cg_in_dim(g, n, 0, 0);
    dims[1] = cg_in_dim(g, n, 0, 1);
    CG_TRY(slide(g, n, &w, &x, dims + 2));
    cg_out_tensor(g, n, 0, x.dtype, space + 2, dims);
    cg_out_tensor(g, n, 1, CG_I64, space + 2, dims); /* indices of maxima */
    return CG_OK;
}

cg_err cg_shape_global_pool(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_rank(n, 0, "the input", 2, CG_MAX_RANK));
    for (int i = 0; i < x.rank; i++)
        dims[i] = i < 2 ? x.dims[i] : 1;
    cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
    return CG_OK;
}

/* The inverse of a max pool; output_shape, where given, is the whole shape. */
cg_err cg_shape_max_unpool(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    const cg_data *shape = cg_in_data(n, 2);
    cg_dim dims[CG_MAX_RANK];
    window w;
    int space;
    CG_TRY(pool_space(n, &space));
    CG_TRY(read_window(g, n, &w, space, NULL));
    if (shape && shape->i && shape->n != (size_t)space + 2)
        return cg_fail(CG_EFORMAT, "output_shape has %zu values, needs %d",
                       shape->n, space + 2);
    for (int i = 0; i < space + 2; i++) {
        dims[i] = cg_in_dim(g, n, 0, i);
        if (i >= 2 && x.rank >= 0)
            CG_TRY(transposed_size(g, n, &w, i - 2, dims[i], 0, &dims[i]));
        if (shape && shape->i)
            dims[i] = shape->i[i];
        else if (cg_in(n, 2) && i >= 2)
            dims[i] = cg_dim_unknown(g, n, "output_shape is not known");
    }
    cg_out_tensor(g, n, 0, x.dtype, space + 2, dims);
    return CG_OK;
}
