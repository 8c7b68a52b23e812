/* Patterns: operators that leave their input as it is. */
#include <math.h>
#include <string.h>

#include "passes/simplify.h"

/* A second output (Dropout's mask) that is read becomes a constant. */
static void drop_outputs(cg_node *n, uint32_t from)
{
    for (uint32_t k = from; k < n->n_out; k++) {
        if (!n->out[k])
            continue;
        n->out[k]->role = CG_ROLE_CONST;
        n->out[k]->def = NULL;
        n->out[k] = NULL;
    }
}

bool cg_match_identity(cg_rewrite *rw, cg_node *n)
{
    drop_outputs(n, 1);
    return cg_rw_forward(rw, n, 0);
}

/* Scale and zero point, outputs 1 and 2, become constants made by the node:
 * that is how quantize_scale knows a scale. */
bool cg_match_dynamic_quantize(cg_rewrite *rw, cg_node *n)
{
    for (uint32_t k = 1; k < n->n_out; k++)
        if (n->out[k])
            n->out[k]->made_by = n;
    drop_outputs(n, 1);
    return cg_rw_forward(rw, n, 0);
}

/* Is v a scale of quantisation, perhaps times other scales? A chain deeper
 * than an exporter writes is not followed. */
static bool is_scale(const cg_value *v, int depth)
{
    if (v->role != CG_ROLE_CONST || !v->made_by || depth > 4)
        return false;
    const cg_node *n = v->made_by;
    if (n->op == CG_OP_DYNAMIC_QUANTIZE_LINEAR)
        return true;
    bool any = false;
    for (uint32_t k = 0; k < n->n_in && n->op == CG_OP_MUL; k++)
        any |= n->in[k].v && is_scale(n->in[k].v, depth + 1);
    return any;
}

bool cg_match_quantize_scale(cg_rewrite *rw, cg_node *n)
{
    if (n->n_in != 2)
        return false;
    for (uint32_t k = 0; k < 2; k++) {
        cg_operand o = cg_rw_in(rw, n, 1 - k);
        if (o.v && is_scale(o.v, 0))
            return cg_rw_forward(rw, n, k);
    }
    return false;
}

static bool same_shape(cg_rewrite *rw, const cg_node *n)
{
    cg_type in = cg_rw_type(cg_rw_in(rw, n, 0));
    return in.rank >= 0 && n->out[0] && cg_same_dims(&in, &n->out[0]->type);
}

/* A Reshape of reshapes reads what the first one read: then a pair that goes
 * there and back is seen to be nothing. */
static bool skip_reshapes(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    cg_node *p = cg_rw_def_any(rw, x);
    if (!p || (p->op != CG_OP_RESHAPE && p->op != CG_OP_FLATTEN &&
               p->op != CG_OP_SQUEEZE && p->op != CG_OP_UNSQUEEZE))
        return false;
    cg_operand first = cg_rw_in(rw, p, 0);
    cg_type t = cg_rw_type(first);
    if (t.rank < 0 || !n->out[0] || !cg_same_dims(&t, &n->out[0]->type))
        return false;
    cg_rw_alias(rw, n->out[0], first.v);
    cg_rw_kill(rw, n);
    return true;
}

bool cg_match_no_move(cg_rewrite *rw, cg_node *n)
{
    if (same_shape(rw, n))
        return cg_rw_forward(rw, n, 0);
    return n->op != CG_OP_EXPAND && n->op != CG_OP_TILE &&
           skip_reshapes(rw, n);
}

bool cg_match_no_slice(cg_rewrite *rw, cg_node *n)
{
    int64_t step[2 * CG_MAX_RANK];
    size_t len = 0;
    if (!same_shape(rw, n) || (cg_in(n, 4) && !cg_rw_ints(n, 4, step, &len)))
        return false;
    for (size_t i = 0; i < len; i++)
        if (step[i] < 0)
            return false; /* reversed */
    return cg_rw_forward(rw, n, 0);
}

bool cg_match_no_pad(cg_rewrite *rw, cg_node *n)
{
    int64_t pads[2 * CG_MAX_RANK];
    size_t len;
    if (!same_shape(rw, n) || !cg_rw_ints(n, 1, pads, &len))
        return false;
    for (size_t i = 0; i < len; i++)
        if (pads[i] != 0)
            return false;
    return cg_rw_forward(rw, n, 0);
}

static int64_t permuted(const cg_node *n, int rank, int i)
{
    size_t len;
    const int64_t *perm = cg_attr_ints(n, "perm", &len);
    return perm && len == (size_t)rank ? perm[i] : rank - 1 - i;
}

static bool is_identity(const int64_t *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        if (perm[i] != i)
            return false;
    return true;
}

bool cg_match_transpose(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    int rank = cg_rw_type(x).rank;
    int64_t perm[CG_MAX_RANK];
    if (rank < 0)
        return false;
    for (int i = 0; i < rank; i++)
        perm[i] = permuted(n, rank, i);
    if (is_identity(perm, rank))
        return cg_rw_forward(rw, n, 0);
    cg_node *first = cg_rw_def(rw, x, CG_OP_TRANSPOSE);
    if (!first)
        return false;
    for (int i = 0; i < rank; i++) {
        if (perm[i] < 0 || perm[i] >= rank)
            return false;
        perm[i] = permuted(first, rank, (int)perm[i]);
    }
    cg_operand in = cg_rw_in(rw, first, 0);
    cg_rw_become(rw, n, CG_OP_TRANSPOSE, &in, 1);
    cg_attr_set_ints(rw->g, n, "perm", perm, (size_t)rank);
    return true;
}

bool cg_match_single(cg_rewrite *rw, cg_node *n)
{
    if (n->op == CG_OP_SPLIT)
        return n->n_out == 1 && same_shape(rw, n) && cg_rw_forward(rw, n, 0);
    return n->n_in == 1 && cg_rw_forward(rw, n, 0);
}

/* Only where the constant does not widen x. */
static bool keeps(cg_rewrite *rw, const cg_node *n, uint32_t k)
{
    cg_type t = cg_rw_type(cg_rw_in(rw, n, k));
    return n->out[0] && t.rank >= 0 && cg_same_dims(&t, &n->out[0]->type);
}

bool cg_match_unit(cg_rewrite *rw, cg_node *n)
{
    double unit = n->op == CG_OP_ADD || n->op == CG_OP_SUB ? 0 : 1, c;
    bool swaps = n->op == CG_OP_ADD || n->op == CG_OP_MUL;
    if (n->n_in != 2)
        return false;
    for (uint32_t k = 0; k <= swaps; k++)
        if (cg_rw_scalar(rw, cg_rw_in(rw, n, 1 - k), &c) && c == unit &&
            !cg_rw_in(rw, n, 1 - k).v->payload && keeps(rw, n, k))
            return cg_rw_forward(rw, n, k);
    return false;
}
