/* Patterns: averages over all of space are one operator, Mean, whether they
 * came as a global pool, a pool of the right size, or reductions one axis at
 * a time. */
#include <string.h>

#include "passes/simplify.h"

static cg_operand ints(cg_rewrite *rw, const int *v, int n)
{
    cg_dim d[CG_MAX_RANK];
    for (int i = 0; i < n; i++)
        d[i] = v[i];
    cg_operand o = {.v = cg_value_ints(rw->g, NULL, d, (size_t)n)};
    cg_rw_grow(rw);
    return o;
}

/* n becomes a mean of x over these axes. */
static void become_mean(cg_rewrite *rw, cg_node *n, cg_op op, cg_operand x,
                        const int *axes, int len)
{
    cg_operand in[2] = {x, ints(rw, axes, len)};
    bool keep = n->out[0] && n->out[0]->type.rank == cg_rw_type(x).rank;
    cg_rw_become(rw, n, op, in, 2);
    cg_attr_set_int(rw->g, n, "keepdims", keep);
}

static bool contains(const int *v, int n, int x)
{
    for (int i = 0; i < n; i++)
        if (v[i] == x)
            return true;
    return false;
}

/* The mean below a mean, perhaps with a Squeeze between, and which of its
 * input's axes are left in its output. */
static cg_node *inner_mean(cg_rewrite *rw, cg_operand o, int *axes, int *len,
                           int *left, int *n_left)
{
    int gone[CG_MAX_RANK], n_gone = 0;
    cg_node *squeeze = cg_rw_only(rw, o, CG_OP_SQUEEZE);
    cg_node *m = cg_rw_only(rw, squeeze ? cg_rw_in(rw, squeeze, 0) : o,
                            CG_OP_REDUCE_MEAN);
    if (!m || !cg_rw_axes(m, axes, len))
        return NULL;
    bool keep = cg_attr_int(m, "keepdims", 1) != 0;
    if (squeeze && (!keep || !cg_in(squeeze, 1) ||
                    !cg_rw_axes(squeeze, gone, &n_gone)))
        return NULL;
    *n_left = 0;
    for (int i = 0; i < cg_in_type(m, 0).rank; i++)
        if (keep ? !contains(gone, n_gone, i) : !contains(axes, *len, i))
            left[(*n_left)++] = i;
    return m;
}

bool cg_match_mean_of_mean(cg_rewrite *rw, cg_node *n)
{
    int axes[2 * CG_MAX_RANK], left[CG_MAX_RANK], mine[CG_MAX_RANK];
    int len, n_left, n_mine;
    cg_node *m = inner_mean(rw, cg_rw_in(rw, n, 0), axes, &len, left,
                            &n_left);
    if (!m || !cg_rw_axes(n, mine, &n_mine))
        return false;
    for (int i = 0; i < n_mine; i++) {
        if (mine[i] >= n_left)
            return false;
        if (!contains(axes, len, left[mine[i]]))
            axes[len++] = left[mine[i]];
    }
    for (int i = 1; i < len; i++) /* in order */
        for (int j = i; j > 0 && axes[j - 1] > axes[j]; j--) {
            int t = axes[j];
            axes[j] = axes[j - 1];
            axes[j - 1] = t;
        }
    become_mean(rw, n, CG_OP_REDUCE_MEAN, cg_rw_in(rw, m, 0), axes, len);
    return true;
}

/* Every axis but the batch and the channel. */
static int space_axes(const cg_type *t, int *axes)
{
    int n = 0;
    for (int i = t->channel == 0 ? 1 : 0; i < t->rank; i++)
        if (i != t->channel && (i != 0 || t->channel == 0))
            axes[n++] = i;
    return n;
}

bool cg_match_mean(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    cg_type t = cg_rw_type(x);
    int axes[CG_MAX_RANK], space[CG_MAX_RANK], len;
    if (!rw->settled || t.rank < 3 || t.channel < 0 ||
        !cg_rw_axes(n, axes, &len) || len != space_axes(&t, space) ||
        memcmp(axes, space, sizeof *axes * (size_t)len) != 0)
        return false;
    become_mean(rw, n, CG_OP_MEAN, x, axes, len);
    return true;
}

bool cg_match_global_mean(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    int axes[CG_MAX_RANK], len = 0;
    if (cg_rw_type(x).rank < 3)
        return false;
    for (int i = 2; i < cg_rw_type(x).rank; i++)
        axes[len++] = i;
    become_mean(rw, n, CG_OP_MEAN, x, axes, len);
    return true;
}

bool cg_match_whole_pool(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    cg_type t = cg_rw_type(x);
    size_t n_kernel, n_pads;
    const int64_t *kernel = cg_attr_ints(n, "kernel_shape", &n_kernel);
    const int64_t *pads = cg_attr_ints(n, "pads", &n_pads);
    if (t.rank < 3 || (size_t)t.rank != n_kernel + 2 ||
        cg_attr_find(n, "auto_pad") || !n->out[0] ||
        n->out[0]->type.rank != t.rank)
        return false;
    for (size_t i = 0; i < n_pads; i++)
        if (pads[i] != 0)
            return false;
    for (size_t i = 0; i < n_kernel; i++)
        if (t.dims[i + 2] != kernel[i] || n->out[0]->type.dims[i + 2] != 1)
            return false;
    return cg_match_global_mean(rw, n);
}
