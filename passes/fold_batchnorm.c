/* Pass fold_batchnorm: a BatchNorm behind a Conv, Depthwise, ConvTranspose or
 * MatMul with weights, which nothing else reads, is that operator's scale and
 * bias. Exporters fold it or not; the predictor looks at the folded form. Only
 * the graph changes: the folded weights have the same shape, the bias is a
 * constant without elements. */
#include "passes/passes.h"
#include "passes/simplify.h"

/* The operator below, its bias slot and its output channels. */
static cg_node *foldable(cg_rewrite *rw, const cg_node *n, cg_dim *channels)
{
    cg_operand x = cg_rw_in(rw, n, 0), w;
    if (!x.v || x.v->role != CG_ROLE_NODE || x.v->out != 0 ||
        cg_rw_uses(rw, x.v) != 1)
        return NULL;
    cg_node *p = x.v->def;
    w = cg_rw_in(rw, p, 1);
    cg_type t = cg_rw_type(w);
    if (p->region != n->region || !cg_rw_const(rw, w) || t.rank < 2)
        return NULL;
    if (p->op == CG_OP_CONV || p->op == CG_OP_DEPTHWISE)
        *channels = t.dims[0];
    else if (p->op == CG_OP_CONV_TRANSPOSE)
        *channels = cg_dim_mul(rw->g, t.dims[1], cg_attr_int(p, "group", 1));
    else if (p->op == CG_OP_MATMUL)
        *channels = t.dims[t.rank - 1];
    else
        return NULL;
    return p;
}

static void add_bias(cg_rewrite *rw, cg_node *p, int dtype, cg_dim channels)
{
    cg_operand in[3] = {cg_rw_in(rw, p, 0), cg_rw_in(rw, p, 1),
                        cg_rw_in(rw, p, 2)};
    if (in[2].v)
        return;
    in[2].v = cg_value_const(rw->g, NULL,
                             cg_type_tensor(rw->g, dtype, 1, &channels), NULL);
    in[2].v->is_weight = true;
    cg_rw_grow(rw);
    cg_rw_set_inputs(rw, p, in, 3);
}

/* Readers of the BatchNorm read the operator, with the type they saw. */
static bool fold(cg_rewrite *rw, cg_node *n)
{
    cg_dim channels;
    for (uint32_t k = 1; k < n->n_out; k++)
        if (n->out[k] && cg_rw_uses(rw, n->out[k]) > 0)
            return false;
    cg_node *p = foldable(rw, n, &channels);
    if (!p || !n->out[0])
        return false;
    cg_type t = cg_rw_type(cg_rw_in(rw, n, 0));
    int axis = t.channel >= 0 ? t.channel : 1;
    cg_type scale = cg_in_type(n, 1);
    if (t.rank <= axis || t.dims[axis] != channels || scale.rank != 1 ||
        scale.dims[0] != channels)
        return false;
    add_bias(rw, p, scale.dtype, channels);
    cg_rw_alias(rw, n->out[0], p->out[0]);
    cg_rw_kill(rw, n);
    return true;
}

cg_err cg_pass_fold_batchnorm(cg_graph *g)
{
    cg_rw_each(g, CG_OP_BATCHNORM, fold);
    return CG_OK;
}
