/* Nodes: making them, what they read, what they do in space. */
#include <string.h>

#include "ir/graph.h"

/* One piece of memory: the node, its operands, its outputs. */
static cg_node *node_of(cg_graph *g, cg_region *r, cg_op op, size_t n_in,
                        size_t n_out)
{
    cg_node *n = cg_arena_alloc(&g->arena, sizeof *n + n_in * sizeof *n->in +
                                               n_out * sizeof *n->out);
    n->id = (uint32_t)g->nodes.len;
    n->op = (uint16_t)op;
    n->region = r;
    n->n_in = (uint32_t)n_in;
    n->in = (cg_operand *)(n + 1);
    n->n_out = (uint32_t)n_out;
    n->out = (cg_value **)(n->in + n_in);
    cg_array_push(&g->nodes, n);
    cg_array_push(&r->nodes, n);
    return n;
}

static void make_output(cg_graph *g, cg_node *n, size_t k, const char *name)
{
    cg_value *v = cg_value_new(g, name);
    v->role = CG_ROLE_NODE;
    v->def = n;
    v->out = (uint32_t)k;
    n->out[k] = v;
}

cg_node *cg_node_new(cg_graph *g, cg_region *r, cg_op op, const char *name,
                     cg_value *const *in, size_t n_in,
                     const char *const *out_names, size_t n_out)
{
    cg_node *n = node_of(g, r, op, n_in, n_out);
    n->name = name && *name
                  ? cg_arena_strdup(&g->arena, name)
                  : cg_arena_number(&g->arena, cg_op_name(op), "_", n->id);
    for (size_t i = 0; i < n_in; i++)
        n->in[i].v = in[i];
    for (size_t i = 0; i < n_out; i++)
        if (!out_names || !out_names[i] || *out_names[i])
            make_output(g, n, i, out_names ? out_names[i] : NULL);
    return n;
}

cg_node *cg_node_bare(cg_graph *g, cg_region *r, cg_op op, size_t n_in,
                      size_t n_out)
{
    cg_node *n = node_of(g, r, op, n_in, n_out);
    for (size_t i = 0; i < n_out; i++)
        make_output(g, n, i, NULL);
    return n;
}

const cg_data *cg_in_data(const cg_node *n, size_t k)
{
    const cg_value *v = cg_in(n, k);
    if (!v || !v->data)
        return NULL;
    const cg_type *view = n->in[k].view;
    if (!view)
        return v->data;
    size_t count = 1;
    for (int i = 0; i < view->rank; i++) {
        if (!cg_dim_known(view->dims[i]) || view->dims[i] > CG_DATA_MAX)
            return NULL;
        count *= (size_t)view->dims[i];
        if (count > CG_DATA_MAX)
            return NULL;
    }
    return view->rank >= 0 && count == v->data->n ? v->data : NULL;
}

/* -- geometry --------------------------------------------------------------- */

/* Folds one value per spatial axis into (h, w): leading axes multiply into h,
 * the last is w; one axis alone is h. */
static void fold_axes(const int64_t *v, size_t n, int64_t out[2])
{
    if (n == 0)
        return;
    out[0] = v[0];
    for (size_t i = 1; i + 1 < n; i++)
        if (__builtin_mul_overflow(out[0], v[i], &out[0]))
            out[0] = INT64_MAX;
    if (n > 1)
        out[1] = v[n - 1];
}

static void fold_attr(const cg_node *n, const char *name, int64_t out[2])
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, name, &len);
    fold_axes(v, len, out);
}

/* Pads do not multiply: a leading axis adds what it has. */
static void fold_pads(const cg_node *n, int64_t pad[4])
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, "pads", &len);
    size_t axes = len / 2;
    for (size_t side = 0; side < 2 && axes; side++) {
        const int64_t *p = v + side * axes;
        for (size_t i = 0; i < axes; i++) {
            int64_t *to = &pad[side * 2 + (axes > 1 && i == axes - 1)];
            if (__builtin_add_overflow(*to, p[i], to))
                *to = INT64_MAX;
        }
    }
}

/* (kernel h, kernel w, Cin/groups, Cout) from a convolution's weight type. */
static void conv_weight(cg_graph *g, const cg_type *w, bool transposed,
                        int64_t groups, cg_dim out[4])
{
    if (w->rank < 3)
        return;
    out[0] = out[1] = 1;
    out[0] = w->dims[2];
    for (int i = 3; i < w->rank - 1; i++)
        out[0] = cg_dim_mul(g, out[0], w->dims[i]);
    if (w->rank > 3)
        out[1] = w->dims[w->rank - 1];
    out[2] = w->dims[1];
    out[3] = w->dims[0];
    if (transposed) { /* stored (Cin, Cout/groups, ...) */
        out[2] = cg_dim_floordiv(g, w->dims[0], groups > 0 ? groups : 1);
        out[3] = cg_dim_mul(g, w->dims[1], groups);
    }
}

/* (1, 1, K, N) of a constant matrix operand. */
static void matrix_weight(const cg_node *n, cg_dim out[4])
{
    for (size_t k = 0; k < 2; k++) {
        const cg_value *v = cg_in(n, k);
        if (!v || v->role != CG_ROLE_CONST)
            continue;
        cg_type t = cg_in_type(n, k);
        if (t.rank < 1)
            continue;
        bool flip = cg_attr_int(n, k ? "transB" : "transA", 0) != 0;
        cg_dim rows = t.rank > 1 ? t.dims[t.rank - 2] : t.dims[0];
        cg_dim cols = t.rank > 1 ? t.dims[t.rank - 1] : 1;
        out[0] = out[1] = 1;
        out[2] = (k == 1) == !flip ? rows : cols;
        out[3] = (k == 1) == !flip ? cols : rows;
    }
}

static bool is_conv(cg_op op)
{
    return op == CG_OP_CONV || op == CG_OP_DEPTHWISE ||
           op == CG_OP_CONV_TRANSPOSE || op == CG_OP_DEFORM_CONV ||
           op == CG_OP_CAUSAL_CONV;
}

static bool is_matrix(cg_op op)
{
    return op == CG_OP_MATMUL || op == CG_OP_GEMM;
}

/* Recurrent weights W (dirs, gates*hidden, in) and R (.., hidden): the input
 * and recurrent matrices side by side. */
static void recurrent_weight(cg_graph *g, const cg_node *n, cg_dim out[4])
{
    cg_type w = cg_in_type(n, 1), r = cg_in_type(n, 2);
    if (w.rank != 3 || r.rank != 3)
        return;
    out[0] = w.dims[0];
    out[1] = 1;
    out[2] = cg_dim_add(g, w.dims[2], r.dims[2]);
    out[3] = w.dims[1];
}

void cg_node_geometry(cg_graph *g, const cg_node *n, cg_geometry *out)
{
    for (int i = 0; i < 2; i++)
        out->kernel[i] = out->stride[i] = out->dilation[i] = 1;
    for (int i = 0; i < 4; i++)
        out->pad[i] = out->weight[i] = 0;
    out->groups = 1;
    out->bias = false;
    cg_op op = n->op;
    if (is_conv(op) || op == CG_OP_MAXPOOL || op == CG_OP_AVGPOOL ||
        op == CG_OP_LPPOOL) {
        fold_attr(n, "kernel_shape", out->kernel);
        fold_attr(n, "strides", out->stride);
        fold_attr(n, "dilations", out->dilation);
        fold_pads(n, out->pad);
    }
    cg_type w = cg_in_type(n, 1);
    if (is_conv(op)) {
        out->groups = cg_attr_int(n, "group", 1);
        conv_weight(g, &w, op == CG_OP_CONV_TRANSPOSE, out->groups,
                    out->weight);
        size_t bias = op == CG_OP_DEFORM_CONV ? 3 : 2;
        out->bias = cg_in(n, bias) != NULL;
    } else if (is_matrix(op)) {
        matrix_weight(n, out->weight);
        out->bias = cg_in(n, 2) != NULL;
    } else if (cg_op_table[op].class == CG_CLASS_RECURRENT) {
        recurrent_weight(g, n, out->weight);
        out->bias = cg_in(n, 3) != NULL;
    } else if (op == CG_OP_EMBEDDING && cg_in_type(n, 0).rank == 2) {
        cg_type table = cg_in_type(n, 0);
        out->weight[0] = out->weight[1] = 1;
        out->weight[2] = table.dims[0];
        out->weight[3] = table.dims[1];
    }
}

/* -- HWC ---------------------------------------------------------------------- */

/* Orders two shapes: by element count where known, then by tuple. */
static bool larger(const cg_dim a[3], const cg_dim b[3])
{
    double ca = 1, cb = 1;
    if (memcmp(a, b, 3 * sizeof *a) == 0)
        return false;
    for (int i = 0; i < 3; i++) {
        ca *= cg_dim_known(a[i]) ? (double)a[i] : 1e6;
        cb *= cg_dim_known(b[i]) ? (double)b[i] : 1e6;
    }
    if (ca != cb)
        return ca > cb;
    for (int i = 0; i < 3; i++)
        if (a[i] != b[i])
            return a[i] > b[i];
    return false;
}

bool cg_node_in_hwc(cg_graph *g, const cg_node *n, cg_dim hwc[3])
{
    bool any = false;
    hwc[0] = hwc[1] = hwc[2] = 1;
    for (size_t k = 0; k < n->n_in; k++) {
        const cg_value *v = n->in[k].v;
        if (!v || v->role == CG_ROLE_CONST)
            continue;
        cg_type t = cg_in_type(n, k);
        cg_dim d[3];
        if (!cg_type_hwc(g, &t, any ? d : hwc))
            return false;
        if (any && larger(d, hwc))
            memcpy(hwc, d, sizeof d);
        any = true;
    }
    return true;
}

bool cg_node_out_hwc(cg_graph *g, const cg_node *n, cg_dim hwc[3])
{
    for (size_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            return cg_type_hwc(g, &n->out[k]->type, hwc);
    hwc[0] = hwc[1] = hwc[2] = 1;
    return true;
}
