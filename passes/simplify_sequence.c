/* Patterns: sequences that are made and taken apart at once, as scripted
 * networks do: their elements are read directly. */
#include "passes/simplify.h"

#define MAX_ITEMS 256 /* a sequence built one by one is copied at each step */

/* An empty sequence has become a constant. */
static bool is_empty(cg_rewrite *rw, cg_operand o)
{
    return cg_rw_const(rw, o) && o.v->made_by &&
           o.v->made_by->op == CG_OP_SEQUENCE_EMPTY;
}

bool cg_match_sequence_insert(cg_rewrite *rw, cg_node *n)
{
    cg_operand seq = cg_rw_in(rw, n, 0), in[MAX_ITEMS + 1];
    cg_node *made = cg_rw_def(rw, seq, CG_OP_SEQUENCE_CONSTRUCT);
    if (!made && !is_empty(rw, seq))
        return false;
    size_t count = made ? made->n_in : 0, len = 0;
    int64_t at[2 * CG_MAX_RANK] = {(int64_t)count};
    if (count >= MAX_ITEMS || (cg_in(n, 2) && !cg_rw_ints(n, 2, at, &len)))
        return false;
    if (at[0] < 0)
        at[0] += (int64_t)count;
    if (at[0] < 0 || at[0] > (int64_t)count)
        return false;
    for (size_t i = 0; i <= count; i++)
        in[i] = i == (size_t)at[0]  ? cg_rw_in(rw, n, 1)
                : i < (size_t)at[0] ? cg_rw_in(rw, made, i)
                                    : cg_rw_in(rw, made, i - 1);
    cg_rw_become(rw, n, CG_OP_SEQUENCE_CONSTRUCT, in, count + 1);
    return true;
}

bool cg_match_sequence_at(cg_rewrite *rw, cg_node *n)
{
    cg_node *made = cg_rw_def(rw, cg_rw_in(rw, n, 0),
                              CG_OP_SEQUENCE_CONSTRUCT);
    int64_t at[2 * CG_MAX_RANK];
    size_t len;
    if (!made || !cg_rw_ints(n, 1, at, &len) || len != 1)
        return false;
    int64_t i = at[0] < 0 ? at[0] + made->n_in : at[0];
    if (i < 0 || i >= made->n_in || !n->out[0])
        return false;
    cg_rw_alias(rw, n->out[0], cg_rw_in(rw, made, (size_t)i).v);
    cg_rw_kill(rw, n);
    return true;
}

/* With new_axis the operands are seen with an axis of one more. */
static cg_operand unsqueezed(cg_rewrite *rw, cg_operand o, int64_t axis)
{
    cg_type t = cg_rw_type(o);
    cg_dim dims[CG_MAX_RANK];
    if (axis < 0)
        axis += t.rank + 1;
    if (t.rank < 0 || t.rank >= CG_MAX_RANK || axis < 0 || axis > t.rank)
        return o;
    for (int i = 0; i <= t.rank; i++)
        dims[i] = i < axis ? t.dims[i] : i == axis ? 1 : t.dims[i - 1];
    cg_type wide = cg_type_tensor(rw->g, t.dtype, t.rank + 1, dims);
    wide.channel = t.channel >= axis ? (int8_t)(t.channel + 1) : t.channel;
    o.view = cg_rw_view(rw, wide);
    return o;
}

bool cg_match_sequence_concat(cg_rewrite *rw, cg_node *n)
{
    cg_node *made = cg_rw_def(rw, cg_rw_in(rw, n, 0),
                              CG_OP_SEQUENCE_CONSTRUCT);
    if (!made)
        return false;
    int64_t axis = cg_attr_int(n, "axis", 0);
    bool stack = cg_attr_int(n, "new_axis", 0) != 0;
    cg_operand *in = cg_xcalloc(made->n_in, sizeof *in);
    for (uint32_t k = 0; k < made->n_in; k++) {
        in[k] = cg_rw_in(rw, made, k);
        if (stack)
            in[k] = unsqueezed(rw, in[k], axis);
    }
    cg_rw_become(rw, n, CG_OP_CONCAT, in, made->n_in);
    cg_attr_set_int(rw->g, n, "axis", axis);
    cg_xfree(in);
    return true;
}
