/* ONNX out: normalisations. Those that ONNX has take vectors for weights and
 * the channel at axis 1; the others are written as the arithmetic they are,
 * which pass simplify merges again. */
#include <string.h>

#include "frontend/onnx/export_parts.h"

/* An operand that is a constant, as a tensor of these dims. */
static cg_err weight(cg_export *x, size_t k, int dtype, const cg_dim *dims,
                     int rank, const char **name)
{
    CG_TRY(cg_export_operand(x, k, dtype, name));
    return **name && cg_in_type(x->at, k).rank != rank
               ? cg_export_reshape(x, dims, rank, name)
               : CG_OK;
}

/* -- channel at axis 1 ---------------------------------------------------- */

typedef struct channel_first {
    const char *x;
    const char *y; /* where the operator writes */
    int rank, axis;
    int64_t channels;
} channel_first;

/* Moves axis `from` to `to`. */
static cg_err move_axis(cg_export *x, int rank, int from, int to,
                        const char **name)
{
    int64_t perm[CG_MAX_RANK];
    int n = 0;
    for (int i = 0; i < rank; i++) {
        if (i == from)
            continue;
        if (n == to)
            perm[n++] = from;
        perm[n++] = i;
    }
    if (n == to)
        perm[n] = from;
    return cg_export_transpose(x, perm, rank, name);
}

static cg_err bring_first(cg_export *x, int dtype, channel_first *c)
{
    cg_type t = cg_in_type(x->at, 0);
    c->rank = t.rank;
    c->axis = t.channel > 0 ? t.channel : 1;
    if (t.rank < 2 || !cg_dim_known(t.dims[c->axis]))
        return cg_fail(CG_EUNSUPPORTED, "node '%s' cannot be written as ONNX: "
                       "its channels are not known", x->at->name);
    c->channels = t.dims[c->axis];
    c->y = c->axis == 1 ? cg_export_out(x, 0) : cg_export_fresh(x, "first");
    CG_TRY(cg_export_operand(x, 0, dtype, &c->x));
    return c->axis == 1 ? CG_OK : move_axis(x, c->rank, c->axis, 1, &c->x);
}

static cg_err put_back(cg_export *x, const channel_first *c)
{
    const char *y = c->y;
    if (c->axis == 1)
        return CG_OK;
    CG_TRY(move_axis(x, c->rank, 1, c->axis, &y));
    cg_export_call(x, "Identity", y, NULL, NULL, cg_export_out(x, 0));
    return CG_OK;
}

cg_err cg_export_as_batchnorm(cg_export *x, const cg_export_row *row,
                              int dtype)
{
    static const char *const what[] = {"", "scale", "bias", "mean", "var"};
    channel_first c;
    const char *in[5];
    CG_TRY(bring_first(x, dtype, &c));
    in[0] = c.x;
    for (size_t k = 1; k < 5; k++) {
        CG_TRY(weight(x, k, dtype, &c.channels, 1, &in[k]));
        if (!*in[k])
            in[k] = cg_export_filled(x, what[k], dtype, c.channels,
                                     k == 1 || k == 4);
    }
    cg_export_begin(x, "", row->name);
    for (size_t k = 0; k < 5; k++)
        cg_export_input(x, in[k]);
    if (cg_attr_find(x->at, "epsilon"))
        cg_export_attr(x, cg_attr_find(x->at, "epsilon"));
    cg_export_output(x, c.y);
    cg_export_end(x, cg_export_node_name(x));
    return put_back(x, &c);
}

/* Weights that are not there become literals, which are known for none. */
cg_err cg_export_as_instancenorm(cg_export *x, const cg_export_row *row,
                                 int dtype)
{
    channel_first c;
    const char *in[3];
    CG_TRY(bring_first(x, dtype, &c));
    in[0] = c.x;
    for (size_t k = 1; k < 3; k++) {
        CG_TRY(weight(x, k, dtype, &c.channels, 1, &in[k]));
        if (!*in[k])
            in[k] = cg_export_number(x, k == 1, dtype, c.channels);
    }
    cg_export_begin(x, "", row->name);
    for (size_t k = 0; k < 3; k++)
        cg_export_input(x, in[k]);
    cg_export_attrs(x, row);
    cg_export_output(x, c.y);
    cg_export_end(x, cg_export_node_name(x));
    return put_back(x, &c);
}

/* -- what follows a norm: Mul and Add by constants ------------------------ */

static cg_err scale_shift(cg_export *x, int dtype, const cg_dim *dims,
                          int rank, const char *y)
{
    static const char *const type[] = {"", "Mul", "Add"};
    const char *w[3] = {y, "", ""};
    for (size_t k = 1; k < 3; k++)
        CG_TRY(rank ? weight(x, k, dtype, dims, rank, &w[k])
                    : cg_export_operand(x, k, dtype, &w[k]));
    for (size_t k = 1; k < 3; k++)
        if (*w[k])
            y = cg_export_call(x, type[k], y, w[k], NULL, NULL);
    cg_export_call(x, "Identity", y, NULL, NULL, cg_export_out(x, 0));
    return CG_OK;
}

/* (N, C, ...) -> (N, G, -1), normalised, and back: opsets 18 and 21 disagree
 * on GroupNormalization, on this none does. */
cg_err cg_export_as_groupnorm(cg_export *x, const cg_export_row *row,
                              int dtype)
{
    cg_type t = cg_in_type(x->at, 0);
    int64_t groups = cg_attr_int(x->at, "num_groups", 1);
    cg_dim dims[CG_MAX_RANK];
    const char *y;
    (void)row;
    if (t.rank < 2 || !cg_dim_known(t.dims[1]) || groups < 1)
        return cg_fail(CG_EUNSUPPORTED, "node '%s' cannot be written as ONNX: "
                       "its channels are not known", x->at->name);
    CG_TRY(cg_export_operand(x, 0, dtype, &y));
    y = cg_export_call(x, "Reshape", y,
                       cg_export_literal(x, (int64_t[]){0, groups, -1}, 3),
                       NULL, NULL);
    const char *one = cg_export_number(x, 1, dtype, groups);
    const char *zero = cg_export_number(x, 0, dtype, groups);
    const char *norm = cg_export_fresh(x, "InstanceNormalization");
    cg_export_begin(x, "", "InstanceNormalization");
    cg_export_input(x, y);
    cg_export_input(x, one);
    cg_export_input(x, zero);
    cg_export_float(x, "epsilon", cg_attr_float(x->at, "epsilon", 1e-5));
    cg_export_output(x, norm);
    cg_export_end(x, norm);
    CG_TRY(cg_export_reshape(x, t.dims, t.rank, &norm));
    for (int i = 1; i < t.rank; i++)
        dims[i - 1] = i == 1 ? t.dims[1] : 1;
    return scale_shift(x, dtype, dims, t.rank - 1, norm);
}

/* -- norms over the last axes --------------------------------------------- */

static const char *mean(cg_export *x, const char *in)
{
    cg_type t = cg_in_type(x->at, 0);
    size_t n;
    const int64_t *axes = cg_attr_ints(x->at, "axes", &n);
    int64_t last[CG_MAX_RANK], first = cg_attr_int(x->at, "axis", -1);
    if (!axes) {
        first += first < 0 ? t.rank : 0;
        for (n = 0; first < t.rank; first++)
            last[n++] = first;
        axes = last;
    }
    return cg_export_call(x, "ReduceMean", in, cg_export_literal(x, axes, n),
                          NULL, NULL);
}

/* d / sqrt(mean(d^2) + eps), times weight, plus bias. */
static cg_err over_root(cg_export *x, const char *d, int dtype)
{
    double eps = cg_attr_float(x->at, "epsilon", 1e-5);
    const char *s = cg_export_call(x, "Mul", d, d, NULL, NULL);
    s = cg_export_call(x, "Add", mean(x, s),
                       cg_export_number(x, eps, dtype, 0), NULL, NULL);
    s = cg_export_call(x, "Sqrt", s, NULL, NULL, NULL);
    s = cg_export_call(x, "Div", d, s, NULL, NULL);
    return scale_shift(x, dtype, NULL, 0, s);
}

cg_err cg_export_as_rmsnorm(cg_export *x, const cg_export_row *row, int dtype)
{
    const char *in;
    (void)row;
    CG_TRY(cg_export_operand(x, 0, dtype, &in));
    return over_root(x, in, dtype);
}

/* ONNX has it with weights and over the last axes only. */
cg_err cg_export_as_layernorm(cg_export *x, const cg_export_row *row,
                              int dtype)
{
    cg_type t = cg_in_type(x->at, 0);
    int64_t axis = cg_attr_int(x->at, "axis", -1);
    const char *in[3];
    CG_TRY(cg_export_operand(x, 0, dtype, &in[0]));
    axis += axis < 0 ? t.rank : 0;
    if (!cg_in(x->at, 1) || cg_attr_find(x->at, "axes") || t.rank < 1 ||
        axis < 0 || axis >= t.rank)
        return over_root(x, cg_export_call(x, "Sub", in[0], mean(x, in[0]),
                                           NULL, NULL), dtype);
    int rank = t.rank - (int)axis;
    for (size_t k = 1; k < 3; k++)
        CG_TRY(weight(x, k, dtype, t.dims + axis, rank, &in[k]));
    cg_export_begin(x, "", row->name);
    for (size_t k = 0; k < 3 && *in[k]; k++)
        cg_export_input(x, in[k]);
    cg_export_attrs(x, row);
    for (size_t k = 0; k < x->at->n_out; k++)
        cg_export_output(x, cg_export_out(x, k));
    cg_export_end(x, cg_export_node_name(x));
    return CG_OK;
}
