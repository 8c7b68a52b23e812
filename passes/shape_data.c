/* Shape rules of data movement: Reshape, Transpose, Expand and their like.
 *
 * One Reshape whose target is not a constant silences most tools for the rest
 * of the network. Here a target is a list of expressions (from folding), of
 * which single ones may be blind; what a list does not say, the number of
 * elements often does: equal factors of both sides cancel, symbolic ones too,
 * and the rest divides exactly or as a floor. */
#include <string.h>

#include "passes/fold.h"
#include "passes/shape_rules.h"

static const char by_value[] = "depends on values known only at run time";

/* -- the same elements ---------------------------------------------------- */

/* What is left of the element counts of two shapes when equal dims cancel. */
typedef struct ratio {
    cg_dim in, out;
} ratio;

static ratio cancel(cg_graph *g, const cg_type *t, const cg_dim *dims,
                    int rank, int hole)
{
    bool used[CG_MAX_RANK] = { false };
    ratio r = { 1, 1 };
    for (int k = 0; k < rank; k++) {
        int a = 0;
        while (a < t->rank && (used[a] || t->dims[a] != dims[k]))
            a++;
        if (k == hole)
            continue;
        if (a < t->rank)
            used[a] = true;
        else
            r.out = cg_dim_mul(g, r.out, dims[k]);
    }
    for (int a = 0; a < t->rank; a++)
        if (!used[a])
            r.in = cg_dim_mul(g, r.in, t->dims[a]);
    return r;
}

static cg_err bad_count(cg_graph *g, const cg_type *t, const cg_dim *dims,
                        int rank, int hole)
{
    cg_dim show[CG_MAX_RANK];
    memcpy(show, dims, sizeof *show * (size_t)rank);
    if (hole >= 0)
        show[hole] = -1;
    cg_type to = cg_type_tensor(g, t->dtype, rank, show);
    return cg_fail(CG_EFORMAT, "a tensor of shape %s cannot be reshaped to %s",
                   cg_shape_str(g, t), cg_shape_str(g, &to));
}

/* Fills dims[hole] from the number of elements; hole -1: only checks. */
static cg_err solve(cg_graph *g, cg_node *n, const cg_type *t, cg_dim *dims,
                    int rank, int hole)
{
    ratio r = cancel(g, t, dims, rank, hole);
    bool known = cg_dim_known(r.in) && cg_dim_known(r.out);
    if (hole < 0)
        return known && r.in != r.out ? bad_count(g, t, dims, rank, hole)
                                      : CG_OK;
    if (r.out == 0) {
        if (r.in != 0)
            return bad_count(g, t, dims, rank, hole);
        dims[hole] = cg_dim_unknown(g, n, "0 divided by 0 elements");
        return CG_OK;
    }
    if (cg_dim_divides(g, r.in, r.out, &dims[hole]))
        return CG_OK;
    if (known)
        return bad_count(g, t, dims, rank, hole);
    dims[hole] = cg_dim_floordiv(g, r.in, r.out);
    return CG_OK;
}

/* The target as dims; *hole is the one to be computed, -1: none. `open` counts
 * the dims that stay unknown. */
static cg_err read_target(cg_graph *g, cg_node *n, const cg_type *t,
                          const cg_list *l, cg_dim *dims, int *hole, int *open)
{
    bool allow_zero = cg_attr_int(n, "allowzero", 0) != 0;
    int blind = -1;
    *hole = -1;
    *open = 0;
    for (int k = 0; k < l->n; k++) {
        dims[k] = cg_list_dim(g, l, k);
        if (l->blind[k]) {
            blind = k;
            ++*open;
        } else if (dims[k] == -1) {
            if (*hole >= 0)
                return cg_fail(CG_EFORMAT, "the target has two dims of -1");
            *hole = k;
        } else if (dims[k] == 0 && !allow_zero) {
            if (t->rank >= 0 && k >= t->rank)
                return cg_fail(CG_EFORMAT, "dim %d of the target is 0 (keep), "
                               "but the input has rank %d", k, t->rank);
            *open += t->rank < 0;
            dims[k] = cg_in_dim(g, n, 0, k);
        } else if (cg_dim_known(dims[k]) && dims[k] < 0) {
            return cg_fail(CG_EFORMAT, "dim %d of the target is %lld", k,
                           (long long)dims[k]);
        }
    }
    /* One dim that nothing says is what the number of elements leaves. */
    if (*hole < 0 && *open == 1 && blind >= 0) {
        *hole = blind;
        *open = 0;
    }
    return CG_OK;
}

cg_err cg_shape_reshape(cg_graph *g, cg_node *n)
{
    cg_list l;
    cg_dim dims[CG_MAX_RANK];
    cg_type t = cg_in_type(n, 0);
    bool ok;
    int hole, open;
    CG_TRY(cg_in_list(n, 1, &l, &ok));
    if (!ok) {
        cg_out_unknown(g, n, 0, t.dtype, by_value);
        return CG_OK;
    }
    CG_TRY(read_target(g, n, &t, &l, dims, &hole, &open));
    if (t.rank >= 0 && open == 0)
        CG_TRY(solve(g, n, &t, dims, l.n, hole));
    else if (hole >= 0)
        dims[hole] = t.rank < 0 ? cg_in_dim(g, n, 0, 0)
                                : cg_dim_unknown(g, n, by_value);
    cg_out_tensor(g, n, 0, t.dtype, l.n, dims);
    return CG_OK;
}

cg_err cg_shape_flatten(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    int64_t axis = cg_attr_int(n, "axis", 1);
    cg_dim dims[2] = { 1, 1 };
    if (t.rank < 0) {
        cg_out_rank(g, n, 0, t.dtype, 2, "flattens a tensor of unknown rank");
        return CG_OK;
    }
    if (axis < -t.rank || axis > t.rank)
        return cg_fail(CG_EFORMAT, "axis %lld is out of range for rank %d",
                       (long long)axis, t.rank);
    axis = axis < 0 ? axis + t.rank : axis;
    for (int a = 0; a < t.rank; a++)
        dims[a >= axis] = cg_dim_mul(g, dims[a >= axis], t.dims[a]);
    cg_out_tensor(g, n, 0, t.dtype, 2, dims);
    return CG_OK;
}

/* Without axes every 1 goes, and whether a symbol is 1 cannot be said. */
static cg_err squeeze_ones(cg_graph *g, cg_node *n, const cg_type *t)
{
    cg_dim dims[CG_MAX_RANK];
    int rank = 0;
    for (int a = 0; a < t->rank; a++) {
        if (!cg_dim_known(t->dims[a]) &&
            cg_dim_compare(g, t->dims[a], 1) != 1) {
            cg_out_unknown(g, n, 0, t->dtype,
                           "a symbolic dim is squeezed if it is 1");
            return CG_OK;
        }
        if (t->dims[a] != 1)
            dims[rank++] = t->dims[a];
    }
    cg_out_tensor(g, n, 0, t->dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_squeeze(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    cg_list l;
    uint64_t mask;
    bool known, ok;
    int rank = 0;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    if (!cg_in(n, 1))
        return squeeze_ones(g, n, &t);
    CG_TRY(cg_axes_mask(n, t.rank, &mask, &known));
    if (!known) {
        CG_TRY(cg_in_list(n, 1, &l, &ok));
        if (ok && l.n <= t.rank)
            cg_out_rank(g, n, 0, t.dtype, t.rank - l.n, by_value);
        else
            cg_out_unknown(g, n, 0, t.dtype, by_value);
        return CG_OK;
    }
    for (int a = 0; a < t.rank; a++) {
        if (!(mask >> a & 1))
            dims[rank++] = t.dims[a];
        else if (cg_dim_known(t.dims[a]) && t.dims[a] != 1)
            return cg_fail(CG_EFORMAT, "axis %d of size %s cannot be squeezed",
                           a, cg_dim_str(g, t.dims[a]));
    }
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_unsqueeze(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    cg_list l;
    bool ok, fresh[CG_MAX_RANK] = { false }, blind = false;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_in_list(n, 1, &l, &ok));
    if (!ok) {
        cg_out_unknown(g, n, 0, t.dtype, by_value);
        return CG_OK;
    }
    int rank = t.rank + l.n;
    if (rank > CG_MAX_RANK)
        return cg_fail(CG_ELIMIT, "the result has rank %d, more than %d", rank,
                       CG_MAX_RANK);
    for (int k = 0; k < l.n; k++)
        blind |= l.blind[k] || !cg_dim_known(l.d[k]);
    for (int k = 0, a; k < l.n && !blind; k++) {
        CG_TRY(cg_axis(n, l.d[k], rank, &a));
        if (fresh[a])
            return cg_fail(CG_EFORMAT, "axis %d is inserted twice", a);
        fresh[a] = true;
    }
    if (blind) {
        cg_out_rank(g, n, 0, t.dtype, rank, by_value);
        return CG_OK;
    }
    for (int a = 0, from = 0; a < rank; a++)
        dims[a] = fresh[a] ? 1 : t.dims[from++];
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_transpose(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    bool seen[CG_MAX_RANK] = { false };
    const int64_t *perm;
    size_t len;
    CG_TRY(cg_want_ints(n, "perm", &perm, &len));
    if (perm && len > CG_MAX_RANK)
        return cg_fail(CG_ELIMIT, "perm has %zu axes, more than %d", len,
                       CG_MAX_RANK);
    if (t.rank < 0 && !perm) {
        cg_out_blocked(g, n, 0, 0, t.dtype);
        return CG_OK;
    }
    int rank = t.rank < 0 ? (int)len : t.rank;
    if (perm && len != (size_t)rank)
        return cg_fail(CG_EFORMAT, "perm has %zu axes, but the input %d", len,
                       rank);
    for (int a = 0; a < rank; a++) {
        int64_t from = perm ? perm[a] : rank - 1 - a;
        if (from < 0 || from >= rank || seen[from])
            return cg_fail(CG_EFORMAT, "perm is not a permutation of 0..%d",
                           rank - 1);
        seen[from] = true;
        dims[a] = cg_in_dim(g, n, 0, (int)from);
    }
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

/* -- more elements -------------------------------------------------------- */

cg_err cg_shape_expand(cg_graph *g, cg_node *n)
{
    cg_list l;
    cg_dim dims[CG_MAX_RANK];
    cg_type t = cg_in_type(n, 0);
    bool ok;
    CG_TRY(cg_in_list(n, 1, &l, &ok));
    if (cg_blocked(g, n, 0))
        return CG_OK;
    if (!ok) {
        cg_out_unknown(g, n, 0, t.dtype, by_value);
        return CG_OK;
    }
    int rank = t.rank > l.n ? t.rank : l.n;
    for (int k = 1; k <= rank; k++) {
        cg_dim have = k <= t.rank ? t.dims[t.rank - k] : 1;
        cg_dim want = k <= l.n ? cg_list_dim(g, &l, l.n - k) : 1;
        cg_dim *out = &dims[rank - k];
        /* PyTorch's "as it is", which runtimes let pass. */
        if (want == -1)
            want = 1;
        if (cg_dim_known(want) && want < 0)
            return cg_fail(CG_EFORMAT, "dim %d of the target is %lld",
                           l.n - k, (long long)want);
        if (k <= l.n && l.blind[l.n - k])
            /* A dim above 1 can only stay. */
            *out = cg_dim_known(have) && have > 1 ? have : want;
        else
            CG_TRY(cg_broadcast_dim(g, have, want, out));
    }
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_tile(cg_graph *g, cg_node *n)
{
    cg_list l;
    cg_dim dims[CG_MAX_RANK];
    cg_type t = cg_in_type(n, 0);
    bool ok;
    CG_TRY(cg_in_list(n, 1, &l, &ok));
    if (t.rank < 0 && !ok)
        return cg_blocked(g, n, 0), CG_OK;
    if (t.rank >= 0 && ok && l.n != t.rank)
        return cg_fail(CG_EFORMAT, "%d repeats for an input of rank %d", l.n,
                       t.rank);
    int rank = t.rank >= 0 ? t.rank : l.n;
    for (int a = 0; a < rank; a++) {
        cg_dim d = cg_in_dim(g, n, 0, a);
        if (ok && cg_dim_known(l.d[a]) && l.d[a] < 0)
            return cg_fail(CG_EFORMAT, "axis %d is repeated %lld times", a,
                           (long long)l.d[a]);
        dims[a] = ok && !l.blind[a] ? cg_dim_mul(g, d, l.d[a])
                                    : cg_dim_unknown(g, n, by_value);
    }
    cg_out_tensor(g, n, 0, t.dtype, rank, dims);
    return CG_OK;
}
