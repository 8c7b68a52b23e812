/* com.microsoft: norms, embeddings, activations with bias, and the rest. */
#include <string.h>

#include "frontend/onnx/lower.h"

/* -- an activation behind a sum or product ------------------------------- */

cg_err cg_onnx_to_ms_bias_gelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *sum = cg_onnx_step(n, CG_OP_ADD, 2, n->in[0], n->in[1]);
    cg_onnx_finish(n, 0, row->op, 1, sum->out[0]);
    return CG_OK;
}

static void fast_gelu(cg_onnx_node *n, cg_value *x, cg_value *bias)
{
    if (bias)
        x = cg_onnx_step(n, CG_OP_ADD, 2, x, bias)->out[0];
    cg_node *to = cg_onnx_finish(n, 0, CG_OP_GELU, 1, x);
    cg_attr_set_string(n->imp->g, to, "approximate", "tanh");
}

cg_err cg_onnx_to_ms_fast_gelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    (void)row;
    fast_gelu(n, n->in[0], cg_onnx_in(n, 1));
    return CG_OK;
}

cg_err cg_onnx_to_ms_gemm_fast_gelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    (void)row;
    cg_node *mm = cg_onnx_step(n, CG_OP_MATMUL, 2, n->in[0], n->in[1]);
    fast_gelu(n, mm->out[0], cg_onnx_in(n, 2));
    return CG_OK;
}

/* x * sigmoid(alpha * x) */
cg_err cg_onnx_to_ms_quick_gelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    double alpha = cg_onnx_float(n, "alpha", 1.702);
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    cg_attr_set_float(n->imp->g, to, "alpha", alpha);
    return CG_OK;
}

/* The sum is halved along the last axis: left * gelu(right). */
cg_err cg_onnx_to_ms_bias_split_gelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_graph *g = n->imp->g;
    cg_node *sum = cg_onnx_step(n, CG_OP_ADD, 2, n->in[0], n->in[1]);
    const char *halves[] = {cg_onnx_unique(n->imp, n->name),
                            cg_onnx_unique(n->imp, n->name)};
    cg_node *split = cg_node_new(g, n->scope->region, CG_OP_SPLIT, n->name,
                                 sum->out, 1, halves, 2);
    cg_attr_set_int(g, split, "axis", -1);
    cg_attr_set_int(g, split, "num_outputs", 2);
    cg_node *gelu = cg_onnx_step(n, CG_OP_GELU, 1, split->out[1]);
    cg_onnx_finish(n, 0, row->op, 2, split->out[0], gelu->out[0]);
    return CG_OK;
}

cg_err cg_onnx_to_ms_bias_softmax(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *sum = cg_onnx_step(n, CG_OP_ADD, 2, n->in[0], n->in[1]);
    cg_node *to = cg_onnx_finish(n, 0, row->op, 1, sum->out[0]);
    cg_attr_set_int(n->imp->g, to, "axis", cg_onnx_int(n, "axis", 1));
    return CG_OK;
}

/* (data, bias, residual): the residual is added behind the dropout, which is
 * nothing at inference. */
cg_err cg_onnx_to_ms_bias_dropout(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_value *more = cg_onnx_in(n, 2);
    cg_node *sum = cg_onnx_step(n, CG_OP_ADD, more ? 3 : 2, n->in[0], n->in[1],
                                more);
    n->n_in = 0;
    cg_onnx_set_in(n, 0, sum->out[0]);
    cg_onnx_drop_all(n);
    return cg_onnx_emit(n, row->op, NULL);
}

/* -- norms --------------------------------------------------------------- */

/* (input, skip, gamma, [beta,] bias) -> (output, mean, deviation, sum) */
cg_err cg_onnx_to_ms_skip_layernorm(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_graph *g = n->imp->g;
    bool plain = row->op == CG_OP_LAYERNORM;
    cg_value *bias = cg_onnx_in(n, plain ? 4 : 3);
    cg_value *beta = plain ? cg_onnx_in(n, 3) : NULL;
    cg_node *sum = cg_onnx_finish(n, 3, CG_OP_ADD, bias ? 3 : 2, n->in[0],
                                  n->in[1], bias);
    cg_value *gamma = cg_onnx_in(n, 2);
    size_t listed = n->n_out;
    n->n_in = 0;
    cg_onnx_set_in(n, 0, sum->out[0]);
    cg_onnx_set_in(n, 1, gamma);
    if (beta)
        cg_onnx_set_in(n, 2, beta);
    n->n_out = listed < 3 ? listed : 3;
    cg_node *to;
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    n->n_out = listed;
    cg_attr_set_int(g, to, "axis", -1);
    return CG_OK;
}

/* Rows of a table, looked up. */
static cg_value *look_up(cg_onnx_node *n, cg_value *table, cg_value *ids)
{
    cg_node *to = cg_onnx_step(n, CG_OP_GATHER, 2, table, ids);
    cg_attr_set_int(n->imp->g, to, "axis", 0);
    return to->out[0];
}

/* Length of axis `at` of v, as a list of one. */
static cg_value *axis_length(cg_onnx_node *n, cg_value *v, int64_t at)
{
    cg_node *to = cg_onnx_step(n, CG_OP_SHAPE, 1, v);
    cg_attr_set_int(n->imp->g, to, "start", at);
    cg_attr_set_int(n->imp->g, to, "end", at + 1);
    return to->out[0];
}

/* How many tokens of each row count: the mask summed, zeros without one. */
static void mask_index(cg_onnx_node *n, cg_value *ids, cg_value *mask)
{
    static const int64_t axis = 1;
    cg_graph *g = n->imp->g;
    if (n->n_out < 2 || !*n->out[1])
        return;
    if (mask) {
        cg_node *sum = cg_onnx_finish(n, 1, CG_OP_REDUCE_SUM, 2, mask,
                                      cg_onnx_ints(n, &axis, 1));
        cg_attr_set_int(g, sum, "keepdims", 0);
        return;
    }
    cg_node *zeros = cg_onnx_step(n, CG_OP_CONSTANT_OF_SHAPE, 1,
                                  axis_length(n, ids, 0));
    cg_node *cast = cg_onnx_finish(n, 1, CG_OP_CAST, 1, zeros->out[0]);
    cg_attr_set_int(g, cast, "to", CG_I32);
}

/* (ids, segments, word table, position table, segment table, gamma, beta,
 * mask, position ids): three look-ups, summed and normalised. */
cg_err cg_onnx_to_ms_embed_layernorm(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const int64_t zero = 0;
    bool quantised = strcmp(n->type, "EmbedLayerNormalization") != 0;
    cg_value *ids = cg_onnx_in(n, 0), *segments = cg_onnx_in(n, 1);
    cg_value *positions = cg_onnx_in(n, 3), *at = cg_onnx_in(n, 8), *s = NULL;
    if (!ids || !cg_onnx_in(n, 2) || !positions)
        return cg_fail(CG_EFORMAT, "has no ids or tables");
    cg_value *w = look_up(n, cg_onnx_in(n, 2), ids);
    if (at && !quantised) {
        positions = look_up(n, positions, at);
    } else {
        cg_value *from = cg_onnx_ints(n, &zero, 1);
        positions = cg_onnx_step(n, CG_OP_SLICE, 4, positions, from,
                                 axis_length(n, ids, 1), from)->out[0];
    }
    if (segments && cg_onnx_in(n, 4))
        s = look_up(n, cg_onnx_in(n, 4), segments);
    cg_node *sum = cg_onnx_finish(n, 2, CG_OP_ADD, s ? 3 : 2, w, positions, s);
    cg_node *norm = cg_onnx_finish(n, 0, row->op, 3, sum->out[0],
                                   cg_onnx_in(n, 5), cg_onnx_in(n, 6));
    cg_attr_set_int(n->imp->g, norm, "axis", -1);
    cg_attr_set_float(n->imp->g, norm, "epsilon",
                      cg_onnx_float(n, "epsilon", 1e-12));
    mask_index(n, ids, cg_onnx_in(n, 7));
    return CG_OK;
}

/* -- the rest ------------------------------------------------------------ */

/* (input, position ids, cos, sin) is (X, cos, sin, position ids) in ai.onnx. */
cg_err cg_onnx_to_ms_rotary(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const size_t from[] = {0, 2, 3, 1};
    cg_onnx_pick(n, from, 4);
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_ms_torch_embedding(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to = cg_onnx_finish(n, 0, row->op, 2, n->in[0], n->in[1]);
    cg_attr_set_int(n->imp->g, to, "axis", 0);
    return CG_OK;
}

/* Gives (values, inverse, counts), Unique (values, first, inverse, counts). */
cg_err cg_onnx_to_ms_unique(cg_onnx_node *n, const cg_onnx_row *row)
{
    const char *out[4] = {"", "", "", ""};
    for (size_t k = 0; k < n->n_out && k < 3; k++)
        out[k ? k + 1 : 0] = n->out[k];
    cg_node *to = cg_node_new(n->imp->g, n->scope->region, row->op, n->name,
                              n->in, 1, out, n->n_out < 2 ? 1 : 4);
    for (size_t k = 0; k < n->n_out && k < 3; k++) {
        cg_value *v = to->out[k ? k + 1 : 0];
        if (v)
            cg_onnx_bind_name(n->scope, n->p->output[k], v);
    }
    return CG_OK;
}

/* Distances between the rows of A and of B: differences, all with all. */
cg_err cg_onnx_to_ms_cdist(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const int64_t axes[] = {0, 1, 2};
    const char *metric = cg_onnx_string(n, "metric", "sqeuclidean");
    bool squared = strcmp(metric, "sqeuclidean") == 0;
    cg_value *at[3];
    for (size_t i = 0; i < 3; i++)
        at[i] = cg_onnx_ints(n, &axes[i], 1);
    cg_node *a = cg_onnx_step(n, CG_OP_UNSQUEEZE, 2, n->in[0], at[1]);
    cg_node *b = cg_onnx_step(n, CG_OP_UNSQUEEZE, 2, n->in[1], at[0]);
    cg_node *d = cg_onnx_step(n, CG_OP_SUB, 2, a->out[0], b->out[0]);
    cg_node *to = cg_onnx_finish(n, 0, squared ? CG_OP_REDUCE_SUM_SQUARE
                                               : row->op, 2, d->out[0], at[2]);
    cg_attr_set_int(n->imp->g, to, "keepdims", 0);
    return CG_OK;
}
