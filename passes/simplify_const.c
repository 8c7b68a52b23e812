/* Constants: what depends on constants only, or on shapes only, is no node of
 * the CG. Its values become constants that remember the node that computed
 * them, so that parameters are counted where they come from (a normalised or
 * concatenated weight counts its sources). */
#include "passes/simplify.h"

/* Results that are shapes, whatever the input: arithmetic on them is not
 * part of the network, known or not. */
static bool only_shape(cg_op op)
{
    return op == CG_OP_SHAPE || op == CG_OP_SIZE || op == CG_OP_EYE_LIKE ||
           op == CG_OP_SEQUENCE_LENGTH || op == CG_OP_OPTIONAL_HAS_ELEMENT;
}

/* A parameter, or computed from one. */
static bool has_parameters(const cg_value *v)
{
    if (v->made_by || !v->is_weight)
        return v->is_weight;
    return v->type.rank != 0 &&
           cg_dtype_kind_of(v->type.dtype) == CG_DTYPE_FLOAT;
}

static bool constant_inputs(cg_rewrite *rw, const cg_node *n, bool *weight)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        cg_operand o = cg_rw_in(rw, n, k);
        if (!o.v)
            continue;
        if (o.v->role != CG_ROLE_CONST)
            return false;
        *weight |= has_parameters(o.v);
    }
    return true;
}

static bool known_outputs(const cg_node *n)
{
    bool any = false;
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (n->out[k] && !n->out[k]->data)
            return false;
        any |= n->out[k] != NULL;
    }
    return any;
}

static void make_constant(cg_node *n, cg_value *v, bool weight)
{
    v->role = CG_ROLE_CONST;
    v->is_weight = weight;
    v->made_by = n;
    v->def = NULL;
    v->type.channel = -1;
}

bool cg_simplify_constant(cg_rewrite *rw, cg_node *n)
{
    bool weight = false;
    if (cg_op_table[n->op].class == CG_CLASS_CONTROL)
        return false;
    if (!constant_inputs(rw, n, &weight)) {
        weight = false;
        if (!only_shape(n->op) && !known_outputs(n))
            return false;
    } else if (n->op == CG_OP_DEQUANTIZE_LINEAR) {
        /* the weight is the quantised tensor; its scales are no parameters */
        return cg_rw_forward(rw, n, 0);
    }
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            make_constant(n, n->out[k], weight);
    cg_rw_kill(rw, n);
    return true;
}
