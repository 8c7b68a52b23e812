/* FLOPs rules of element-wise operators, norms, pools and reductions: work per
 * element of a type. docs/cg.md says the same in words. */
#include "passes/cost_util.h"

/* -- helpers ------------------------------------------------------------ */

cg_dim cg_cost_unknown(cg_graph *g, const cg_node *n)
{
    return cg_dim_unknown(g, n, "a shape it works on is not known");
}

cg_dim cg_cost_type(cg_graph *g, const cg_node *n, const cg_type *t)
{
    bool ok;
    cg_dim count = cg_type_count(g, t, &ok);
    return ok ? count : cg_cost_unknown(g, n);
}

cg_dim cg_cost_in(cg_graph *g, const cg_node *n, size_t k)
{
    if (!cg_in(n, k))
        return 0;
    cg_type t = cg_in_type(n, k);
    return cg_cost_type(g, n, &t);
}

cg_dim cg_cost_out(cg_graph *g, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            return cg_cost_type(g, n, &n->out[k]->type);
    return 0;
}

cg_dim cg_cost_tail(cg_graph *g, const cg_type *t, int from)
{
    cg_dim p = 1;
    for (int i = from; i < t->rank; i++)
        p = cg_dim_mul(g, p, t->dims[i]);
    return p;
}

cg_err cg_cost_set(cg_graph *g, cg_node *n, cg_dim macs, cg_dim rest)
{
    n->macs = macs;
    n->flops = cg_dim_add(g, cg_dim_mul(g, 2, macs), rest);
    return CG_OK;
}

static cg_err per_output(cg_graph *g, cg_node *n, cg_dim work)
{
    return cg_cost_set(g, n, 0, cg_dim_mul(g, work, cg_cost_out(g, n)));
}

/* -- rules -------------------------------------------------------------- */

/* Movement, look-ups, shapes: no arithmetic on data. */
cg_err cg_flops_none(cg_graph *g, cg_node *n)
{
    return cg_cost_set(g, n, 0, 0);
}

/* Activations and element-wise operators: 1 per output element. */
cg_err cg_flops_each(cg_graph *g, cg_node *n) { return per_output(g, n, 1); }

/* A scale and a shift. */
cg_err cg_flops_each2(cg_graph *g, cg_node *n) { return per_output(g, n, 2); }

/* x cos + rotated x sin. */
cg_err cg_flops_rotary(cg_graph *g, cg_node *n) { return per_output(g, n, 3); }

/* Terms - 1 per output element. */
cg_err cg_flops_nary(cg_graph *g, cg_node *n)
{
    cg_dim terms = 0;
    for (uint32_t k = 0; k < n->n_in; k++)
        terms += n->in[k].v != NULL;
    return per_output(g, n, terms > 1 ? terms - 1 : 0);
}

/* Inference: one multiplication and one addition. */
cg_err cg_flops_batchnorm(cg_graph *g, cg_node *n)
{
    return per_output(g, n, 2);
}

/* Norms and Softmax: 5 per element of the input. */
cg_err cg_flops_norm(cg_graph *g, cg_node *n)
{
    return cg_cost_set(g, n, 0, cg_dim_mul(g, 5, cg_cost_in(g, n, 0)));
}

/* Kernel elements per output element. */
cg_err cg_flops_pool(cg_graph *g, cg_node *n)
{
    size_t len;
    const int64_t *k = cg_attr_ints(n, "kernel_shape", &len);
    cg_dim work = 1;
    for (size_t i = 0; i < len; i++)
        work = cg_dim_mul(g, work, k[i]);
    return per_output(g, n, work);
}

/* 1 per element of the input. */
cg_err cg_flops_reduce(cg_graph *g, cg_node *n)
{
    return cg_cost_set(g, n, 0, cg_cost_in(g, n, 0));
}

/* ai.onnx.ml's linear models are no network layers: 2 per coefficient and
 * row, no macs. */
cg_err cg_flops_linear_ml(cg_graph *g, cg_node *n)
{
    size_t len;
    cg_attr_floats(n, "coefficients", &len);
    cg_type t = cg_in_type(n, 0);
    cg_dim rows = t.rank == 2 ? t.dims[0] : 1;
    return cg_cost_set(g, n, 0,
                       cg_dim_mul(g, rows, cg_dim_mul(g, 2, (cg_dim)len)));
}
