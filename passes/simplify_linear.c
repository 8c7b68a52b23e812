/* Patterns: convolutions, matrices, pools and what melts into them. */
#include <math.h>
#include <string.h>

#include "passes/simplify.h"

/* -- kernel and padding ------------------------------------------------- */

static bool set_kernel(cg_rewrite *rw, cg_node *n)
{
    cg_type w = cg_rw_type(cg_rw_in(rw, n, 1));
    int64_t k[CG_MAX_RANK];
    if (cg_attr_find(n, "kernel_shape") || w.rank < 3)
        return false;
    for (int i = 2; i < w.rank; i++) {
        if (!cg_dim_known(w.dims[i]))
            return false;
        k[i - 2] = w.dims[i];
    }
    cg_attr_set_ints(rw->g, n, "kernel_shape", k, (size_t)(w.rank - 2));
    return true;
}

static int64_t at(const cg_node *n, const char *name, size_t i,
                  int64_t otherwise)
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, name, &len);
    return i < len ? v[i] : otherwise;
}

/* SAME: output = ceil(input / stride); the odd one at the end for UPPER. */
static bool same_pads(const cg_node *n, const cg_type *x, bool upper,
                      int64_t *pads, size_t axes)
{
    for (size_t i = 0; i < axes; i++) {
        cg_dim in = x->dims[i + 2];
        int64_t stride = at(n, "strides", i, 1), out, last, total;
        int64_t extent = at(n, "kernel_shape", i, 1) - 1;
        if (!cg_dim_known(in) || in < 1 || stride < 1 ||
            __builtin_mul_overflow(extent, at(n, "dilations", i, 1), &extent))
            return false;
        out = (in - 1) / stride;
        if (__builtin_mul_overflow(out, stride, &last) ||
            __builtin_add_overflow(last, extent, &total) ||
            __builtin_sub_overflow(total, in - 1, &total))
            return false;
        total = total > 0 ? total : 0;
        pads[i] = upper ? total / 2 : total - total / 2;
        pads[axes + i] = total - pads[i];
    }
    return true;
}

static bool set_pads(cg_rewrite *rw, cg_node *n)
{
    const char *mode = cg_attr_string(n, "auto_pad", NULL);
    if (!mode)
        return false;
    cg_type x = cg_rw_type(cg_rw_in(rw, n, 0));
    size_t axes;
    cg_attr_ints(n, "kernel_shape", &axes);
    bool upper = strcmp(mode, "SAME_UPPER") == 0;
    int64_t pads[2 * CG_MAX_RANK];
    if (upper || strcmp(mode, "SAME_LOWER") == 0) {
        if (n->op == CG_OP_CONV_TRANSPOSE || axes == 0 ||
            x.rank != (int)axes + 2 || !same_pads(n, &x, upper, pads, axes))
            return false;
        cg_attr_set_ints(rw->g, n, "pads", pads, 2 * axes);
    } else if (strcmp(mode, "VALID") == 0) {
        cg_attr_remove(n, "pads");
    }
    cg_attr_remove(n, "auto_pad");
    return true;
}

/* A computed bias: weights that happen to be zero stay weights. */
bool cg_match_zero_bias(cg_rewrite *rw, cg_node *n)
{
    const cg_value *bias = n->n_in > 2 ? cg_rw_in(rw, n, 2).v : NULL;
    if (!bias || bias->role != CG_ROLE_CONST || !bias->made_by ||
        !bias->data || !bias->data->f || bias->data->i)
        return false;
    for (size_t i = 0; i < bias->data->n; i++)
        if (bias->data->f[i] != 0)
            return false;
    n->n_in = 2;
    return true;
}

bool cg_match_window(cg_rewrite *rw, cg_node *n)
{
    bool kernel = cg_op_table[n->op].class == CG_CLASS_COMPUTE &&
                  set_kernel(rw, n);
    return set_pads(rw, n) || kernel;
}

/* -- Pad before it ------------------------------------------------------ */

static bool pads_with(cg_rewrite *rw, const cg_node *pad, bool low)
{
    double x = 0;
    if (strcmp(cg_attr_string(pad, "mode", "constant"), "constant") != 0)
        return false;
    cg_operand value = cg_rw_in(rw, pad, 2);
    if (value.v && !cg_rw_scalar(rw, value, &x))
        return false;
    return x == 0 || (low && x < -1e30);
}

/* The amounts per spatial axis; false when others are padded, or cropped. */
static bool spatial_pads(const cg_node *pad, int64_t *out, int rank)
{
    int64_t amount[2 * CG_MAX_RANK], axes[2 * CG_MAX_RANK];
    size_t n, n_axes = (size_t)rank;
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    if (!cg_rw_ints(pad, 1, amount, &n) ||
        (cg_in(pad, 3) && !cg_rw_ints(pad, 3, axes, &n_axes)) ||
        n != 2 * n_axes || rank < 3)
        return false;
    memset(out, 0, sizeof *out * 2 * (size_t)(rank - 2));
    for (size_t i = 0; i < n; i++) {
        int64_t axis = axes[i % n_axes];
        axis += axis < 0 ? rank : 0;
        if (axis < 0 || axis >= rank || amount[i] < 0 ||
            amount[i] > INT32_MAX || (axis < 2 && amount[i] != 0))
            return false;
        if (axis >= 2)
            out[axis - 2 + (i < n_axes ? 0 : rank - 2)] = amount[i];
    }
    return true;
}

bool cg_match_pad(cg_rewrite *rw, cg_node *n)
{
    cg_node *pad = cg_rw_def(rw, cg_rw_in(rw, n, 0), CG_OP_PAD);
    cg_type x = cg_in_type(n, 0);
    int64_t more[2 * CG_MAX_RANK];
    if (!pad || cg_attr_find(n, "auto_pad") || x.rank < 3 ||
        !pads_with(rw, pad, n->op == CG_OP_MAXPOOL) ||
        !spatial_pads(pad, more, x.rank))
        return false;
    bool had = false;
    for (int i = 0; i < 2 * (x.rank - 2); i++) {
        int64_t own = at(n, "pads", (size_t)i, 0);
        had |= own != 0;
        more[i] += own < INT32_MAX ? own : 0;
    }
    if (n->op == CG_OP_AVGPOOL) {
        if (had && !cg_attr_int(n, "count_include_pad", 0))
            return false;
        cg_attr_set_int(rw->g, n, "count_include_pad", 1);
    }
    cg_attr_set_ints(rw->g, n, "pads", more, 2 * (size_t)(x.rank - 2));
    cg_operand in[3] = {cg_rw_in(rw, pad, 0), cg_rw_in(rw, n, 1),
                        cg_rw_in(rw, n, 2)};
    cg_rw_set_inputs(rw, n, in, n->n_in);
    return true;
}

bool cg_match_depthwise(cg_rewrite *rw, cg_node *n)
{
    cg_type w = cg_rw_type(cg_rw_in(rw, n, 1));
    if (cg_attr_int(n, "group", 1) <= 1 || w.rank < 2 || w.dims[1] != 1)
        return false;
    n->op = CG_OP_DEPTHWISE;
    return true;
}

static bool all_are(const cg_node *n, const char *name, int64_t x)
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, name, &len);
    for (size_t i = 0; i < len; i++)
        if (v[i] != x)
            return false;
    return true;
}

bool cg_match_unit_pool(cg_rewrite *rw, cg_node *n)
{
    if (!cg_attr_find(n, "kernel_shape") || !all_are(n, "kernel_shape", 1) ||
        !all_are(n, "strides", 1) || !all_are(n, "pads", 0) ||
        (n->n_out > 1 && n->out[1]))
        return false;
    return cg_rw_forward(rw, n, 0);
}

/* -- bias --------------------------------------------------------------- */

/* Output channels of a node that can take a bias as input 2. */
static bool takes_bias(cg_rewrite *rw, const cg_node *p, cg_dim *channels)
{
    cg_type w = cg_rw_type(cg_rw_in(rw, p, 1));
    if (cg_in(p, 2) || !cg_rw_const(rw, cg_rw_in(rw, p, 1)) || w.rank < 1)
        return false;
    if (p->op == CG_OP_CONV || p->op == CG_OP_DEPTHWISE)
        *channels = w.dims[0];
    else if (p->op == CG_OP_CONV_TRANSPOSE && w.rank > 1)
        *channels = cg_dim_mul(rw->g, w.dims[1],
                               cg_attr_int(p, "group", 1));
    else if (p->op == CG_OP_MATMUL && w.rank == 2)
        *channels = w.dims[cg_attr_int(p, "transB", 0) ? 0 : 1];
    else
        return false;
    return true;
}

static cg_operand as_vector(cg_rewrite *rw, cg_operand c, cg_dim n)
{
    cg_type t = cg_rw_type(c);
    if (t.rank != 1)
        c.view = cg_rw_view(rw, cg_type_tensor(rw->g, t.dtype, 1, &n));
    return c;
}

bool cg_match_bias(cg_rewrite *rw, cg_node *n)
{
    for (uint32_t k = 0; k < 2 && n->n_in == 2; k++) {
        cg_operand x = cg_rw_in(rw, n, k);
        cg_dim channels;
        if (!x.v || x.v->role != CG_ROLE_NODE || x.v->out != 0 ||
            cg_rw_uses(rw, x.v) != 1 || x.v->def->region != n->region ||
            !takes_bias(rw, x.v->def, &channels))
            continue;
        cg_type t = cg_rw_type(x);
        bool direct = x.v->def->op == CG_OP_MATMUL &&
                      (!x.view || cg_same_dims(x.view, &x.v->type));
        int axis = direct ? t.rank - 1 : t.channel;
        if (axis < 0 || t.dims[axis] != channels ||
            !cg_rw_along(rw, n, 1 - k, &t, axis) || !n->out[0] ||
            !cg_same_dims(&t, &n->out[0]->type))
            continue;
        cg_rw_take(rw, n, x.v->def, 2,
                   as_vector(rw, cg_rw_in(rw, n, 1 - k), channels));
        return true;
    }
    return false;
}

/* -- scalar factors around MatMul of two tensors ------------------------ */

static bool of_tensors(cg_rewrite *rw, const cg_node *n)
{
    return n->op == CG_OP_MATMUL && !cg_rw_const(rw, cg_rw_in(rw, n, 0)) &&
           !cg_rw_const(rw, cg_rw_in(rw, n, 1));
}

/* What n multiplies by a constant of one element, without widening it. */
static bool scaled(cg_rewrite *rw, const cg_node *n, cg_operand *x)
{
    double c;
    if ((n->op != CG_OP_MUL && n->op != CG_OP_DIV) || n->n_in != 2 ||
        !n->out[0])
        return false;
    for (uint32_t k = 0; k <= (n->op == CG_OP_MUL); k++) {
        *x = cg_rw_in(rw, n, k);
        cg_type t = cg_rw_type(*x);
        if (cg_rw_scalar(rw, cg_rw_in(rw, n, 1 - k), &c) && x->v &&
            !cg_rw_const(rw, *x) && cg_same_dims(&t, &n->out[0]->type))
            return true;
    }
    return false;
}

/* Attention is MatMul, Softmax, MatMul: whether an exporter scales the query,
 * both sides, or the product is the MatMul's alpha, as in Gemm. */
bool cg_match_scale(cg_rewrite *rw, cg_node *n)
{
    if (!of_tensors(rw, n))
        return false;
    cg_operand in[3];
    bool any = false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        in[k] = cg_rw_in(rw, n, k);
        cg_operand x;
        cg_value *v = in[k].v;
        if (k > 1 || v->role != CG_ROLE_NODE || v->out != 0 ||
            cg_rw_uses(rw, v) != 1 || !scaled(rw, v->def, &x))
            continue;
        if (!in[k].view)
            in[k].view = x.view;
        in[k].v = x.v;
        any = true;
    }
    if (any)
        cg_rw_set_inputs(rw, n, in, n->n_in);
    return any;
}

bool cg_match_scale_after(cg_rewrite *rw, cg_node *n)
{
    cg_operand x;
    if (!scaled(rw, n, &x) || x.v->role != CG_ROLE_NODE ||
        !of_tensors(rw, x.v->def) || cg_rw_uses(rw, x.v) != 1)
        return false;
    cg_rw_alias(rw, n->out[0], x.v);
    cg_rw_kill(rw, n);
    return true;
}

/* Weights; a literal counts when it is a matrix too large to be a setting. */
static bool is_table(const cg_value *v)
{
    return cg_dtype_kind_of(v->type.dtype) == CG_DTYPE_FLOAT &&
           (v->is_weight || (!v->made_by && !v->data && v->type.rank == 2));
}

bool cg_match_embedding(cg_rewrite *rw, cg_node *n)
{
    cg_operand table = cg_rw_in(rw, n, 0);
    if (!cg_rw_const(rw, table) || !is_table(table.v))
        return false;
    n->op = CG_OP_EMBEDDING;
    return true;
}
