/* Fused operators of com.microsoft (ONNX Runtime writes them when it optimises)
 * become the plain operators they stand for. */
#include <stdio.h>
#include <string.h>

#include "frontend/onnx/lower.h"

/* -- activations --------------------------------------------------------- */

static double list_float(const cg_onnx_attr *a, size_t k, double other)
{
    if (!a)
        return other;
    if (a->p->n_floats)
        return k < a->p->n_floats ? (double)a->p->floats[k] : other;
    return k == 0 && a->p->has_f ? (double)a->p->f : other;
}

/* The activation attribute of a fused operator, behind `x`, as output 0. */
static cg_err activate(cg_onnx_node *n, const char *name,
                       const double params[2], cg_value *x)
{
    char key[80];
    if (!name || !*name) {
        cg_onnx_alias(n, 0, x);
        return CG_OK;
    }
    snprintf(key, sizeof key, ":%s", name);
    const cg_onnx_row *row = cg_onnx_find_row(n->imp, key);
    if (!row || row->min_in != 1)
        return cg_fail(CG_EUNSUPPORTED, "activation '%s' is not known", name);
    if (row->op == CG_OP_CLIP) {
        cg_onnx_finish(n, 0, row->op, 3, x, cg_onnx_float_scalar(n, params[0]),
                       cg_onnx_float_scalar(n, params[1]));
        return CG_OK;
    }
    cg_node *to = cg_onnx_finish(n, 0, row->op, 1, x);
    if (row->op == CG_OP_LEAKY_RELU || row->op == CG_OP_HARDSIGMOID ||
        row->op == CG_OP_ELU)
        cg_attr_set_float(n->imp->g, to, "alpha", params[0]);
    if (row->op == CG_OP_HARDSIGMOID)
        cg_attr_set_float(n->imp->g, to, "beta", params[1]);
    return CG_OK;
}

/* Reads and drops what describes the activation. */
static const char *activation(cg_onnx_node *n, double params[2])
{
    const char *name = cg_onnx_string(n, "activation", NULL);
    const cg_onnx_attr *list = cg_onnx_find(n, "activation_params");
    params[0] = list_float(list, 0, 0.01);
    params[1] = list_float(list, 1, 0.5);
    if (!list) {
        params[0] = list_float(cg_onnx_find(n, "activation_alpha"), 0, 0.01);
        params[1] = list_float(cg_onnx_find(n, "activation_beta"), 0, 0.5);
    }
    static const char *const dropped[] = {
        "activation", "activation_params", "activation_alpha",
        "activation_beta", "activation_gamma", "activation_axis"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        cg_onnx_drop(n, dropped[i]);
    return name;
}

/* Runs op with n's attributes on `in`, adds `more` if given, activates. */
static cg_err fused(cg_onnx_node *n, cg_op op, size_t n_in, cg_value *more)
{
    double params[2];
    cg_node *to;
    const char *name = activation(n, params);
    if (!more && (!name || !*name)) {
        n->n_in = n->n_in < n_in ? n->n_in : n_in;
        return cg_onnx_emit(n, op, NULL);
    }
    CG_TRY(cg_onnx_step_attrs(n, op, n->in, n->n_in < n_in ? n->n_in : n_in,
                              &to));
    cg_value *y = to->out[0];
    if (more && (!name || !*name)) {
        cg_onnx_finish(n, 0, CG_OP_ADD, 2, y, more);
        return CG_OK;
    }
    if (more)
        y = cg_onnx_step(n, CG_OP_ADD, 2, y, more)->out[0];
    return activate(n, name, params, y);
}

cg_err cg_onnx_to_ms_fused_conv(cg_onnx_node *n, const cg_onnx_row *row)
{
    return fused(n, row->op, 3, cg_onnx_in(n, 3));
}

cg_err cg_onnx_to_ms_fused_gemm(cg_onnx_node *n, const cg_onnx_row *row)
{
    return fused(n, row->op, 3, NULL);
}

cg_err cg_onnx_to_ms_fused_matmul(cg_onnx_node *n, const cg_onnx_row *row)
{
    if (cg_onnx_int(n, "transBatchA", 0) || cg_onnx_int(n, "transBatchB", 0))
        return cg_onnx_custom(n, "transposed batches");
    cg_onnx_drop(n, "transBatchA");
    cg_onnx_drop(n, "transBatchB");
    return fused(n, row->op, 2, NULL);
}

cg_err cg_onnx_to_ms_gemm_float8(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_drop(n, "dtype");
    return fused(n, row->op, 3, NULL);
}

/* -- channels last ------------------------------------------------------- */

static cg_value *transpose(cg_onnx_node *n, cg_value *x, bool to_nchw)
{
    static const int64_t perms[2][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}};
    cg_node *t = cg_onnx_step(n, CG_OP_TRANSPOSE, 1, x);
    cg_attr_set_ints(n->imp->g, t, "perm", perms[to_nchw], 4);
    return t->out[0];
}

static void transpose_out(cg_onnx_node *n, cg_value *x)
{
    static const int64_t perm[4] = {0, 2, 3, 1};
    cg_node *t = cg_onnx_finish(n, 0, CG_OP_TRANSPOSE, 1, x);
    cg_attr_set_ints(n->imp->g, t, "perm", perm, 4);
}

/* X and Z have channels last, the weights keep the order of Conv. `act` comes
 * behind the convolution unless it is the identity. */
static cg_err nhwc_conv(cg_onnx_node *n, cg_op op, cg_op act)
{
    double params[2];
    cg_node *to;
    const char *name = activation(n, params);
    cg_value *more = cg_onnx_in(n, 3);
    n->in[0] = transpose(n, n->in[0], true);
    CG_TRY(cg_onnx_step_attrs(n, op, n->in, n->n_in < 3 ? n->n_in : 3, &to));
    cg_value *y = to->out[0];
    if (act != CG_OP_IDENTITY)
        y = cg_onnx_step(n, act, 1, y)->out[0];
    if (!more && (!name || !*name)) {
        transpose_out(n, y);
        return CG_OK;
    }
    y = transpose(n, y, false);
    if (more)
        y = cg_onnx_step(n, CG_OP_ADD, 2, y, more)->out[0];
    return activate(n, name, params, y);
}

cg_err cg_onnx_to_ms_nhwc_conv(cg_onnx_node *n, const cg_onnx_row *row)
{
    return nhwc_conv(n, row->op, CG_OP_IDENTITY);
}

cg_err cg_onnx_to_ms_nhwc_pool(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool last = strcmp(n->type, "NhwcMaxPool") == 0 ||
                cg_onnx_int(n, "channels_last", 0);
    cg_onnx_drop(n, "channels_last");
    n->n_in = n->n_in ? 1 : 0;
    if (!last)
        return cg_onnx_emit(n, row->op, NULL);
    n->in[0] = transpose(n, n->in[0], true);
    CG_TRY(cg_onnx_step_attrs(n, row->op, n->in, 1, &to));
    transpose_out(n, to->out[0]);
    return CG_OK;
}

cg_err cg_onnx_to_ms_qlinear_conv(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const size_t from[] = {0, 3, 8};
    bool last = cg_onnx_int(n, "channels_last", 0) != 0;
    cg_op act = cg_onnx_implied(n, 6, 7);
    cg_onnx_drop(n, "channels_last");
    if (!last)
        return cg_onnx_to_qlinear_conv(n, row);
    cg_onnx_pick(n, from, 3);
    return nhwc_conv(n, row->op, act);
}

cg_err cg_onnx_to_ms_dynamic_pads(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const size_t from[] = {0, 1, 3};
    const cg_value *pads = cg_onnx_in(n, 2);
    cg_node *to;
    if (pads && (!pads->data || !pads->data->i))
        return cg_onnx_custom(n, "pads that are computed");
    cg_onnx_pick(n, from, 3);
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (pads)
        cg_attr_set_ints(n->imp->g, to, "pads", pads->data->i, pads->data->n);
    return CG_OK;
}

/* GroupNorm (X, gamma, beta) and SkipGroupNorm (X, gamma, beta, skip, bias),
 * whose second output is the sum; activation 1 is SiLU. */
cg_err cg_onnx_to_ms_group_norm(cg_onnx_node *n, const cg_onnx_row *row)
{
    bool last = cg_onnx_int(n, "channels_last", 1) != 0;
    bool silu = cg_onnx_int(n, "activation", 0) != 0;
    int64_t groups = cg_onnx_int(n, "groups", 1);
    cg_value *x = n->in[0], *skip = cg_onnx_in(n, 3), *bias = cg_onnx_in(n, 4);
    if (skip)
        x = cg_onnx_finish(n, 1, CG_OP_ADD, bias ? 3 : 2, x, skip,
                           bias)->out[0];
    if (last)
        x = transpose(n, x, true);
    cg_node *norm = last || silu
                        ? cg_onnx_step(n, row->op, 3, x, n->in[1], n->in[2])
                        : cg_onnx_finish(n, 0, row->op, 3, x, n->in[1],
                                         n->in[2]);
    cg_attr_set_int(n->imp->g, norm, "num_groups", groups);
    cg_attr_set_float(n->imp->g, norm, "epsilon",
                      cg_onnx_float(n, "epsilon", 1e-5));
    cg_value *y = norm->out[0];
    if (silu)
        y = last ? cg_onnx_step(n, CG_OP_SWISH, 1, y)->out[0]
                 : cg_onnx_finish(n, 0, CG_OP_SWISH, 1, y)->out[0];
    if (last)
        transpose_out(n, y);
    return CG_OK;
}
