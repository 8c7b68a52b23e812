/* Shape rules of Slice, Split and Concat.
 *
 * Their limits are expressions as often as numbers (seq, seq-1, past+seq).
 * Where order cannot be decided a limit is taken to lie inside its axis if it
 * is symbolic or a small offset, and is kept exact as a min or max otherwise:
 * x[:, :-1] of seq is seq-1, x[:, :2048] is min(seq,2048). With numbers bound
 * nothing is taken for granted. */
#include <string.h>

#include "passes/fold.h"
#include "passes/shape_rules.h"

static const char by_value[] = "depends on values known only at run time";

/* Limits at or beyond this mean "to the end" in every exporter, so they need
 * no minimum with a symbolic dim. */
#define FAR_END INT32_MAX

/* A start or end counted from the front, kept in [low, high]. */
static cg_dim clamp(cg_graph *g, cg_dim at, cg_dim dim, cg_dim low,
                    cg_dim high)
{
    if (!cg_dim_known(dim) && cg_dim_known(at) && at >= FAR_END)
        return high;
    if (!cg_dim_known(dim) && cg_dim_known(at) && at <= -FAR_END)
        return low;
    bool negative = cg_dim_known(at) ? at < 0
                                     : cg_dim_compare(g, at, 0) == -1;
    if (negative)
        at = cg_dim_add(g, at, dim);
    if (cg_dim_surely_ge(g, low, at))
        at = low;
    else if (!cg_dim_taken_ge(g, at, low))
        at = cg_dim_max(g, at, low);
    if (cg_dim_surely_ge(g, at, high))
        at = high;
    else if (!cg_dim_taken_ge(g, high, at))
        at = cg_dim_min(g, at, high);
    return at;
}

static cg_cut cut_axis(cg_graph *g, cg_dim dim, cg_dim start, cg_dim end,
                       cg_dim step)
{
    cg_cut c = { .step = step };
    cg_dim last = cg_dim_sub(g, dim, 1);
    /* A step back starts at the last element at most and ends before the
     * first, which is -1 from the front. */
    if (step > 0) {
        c.start = clamp(g, start, dim, 0, dim);
        end = clamp(g, end, dim, 0, dim);
        c.size = cg_dim_ceildiv(g, cg_dim_sub(g, end, c.start), step);
    } else {
        c.start = clamp(g, start, dim, 0, last);
        end = clamp(g, end, dim, -1, last);
        c.size = cg_dim_ceildiv(g, cg_dim_sub(g, c.start, end), -step);
    }
    c.size = cg_dim_not_negative(g, c.size);
    return c;
}

/* The lists of a Slice; axes and steps by default are all from 0, and 1. */
typedef struct cuts {
    cg_list start, end, axis, step;
    bool start_ok, end_ok, axis_ok, step_ok;
    int count; /* of axes named; -1: not known */
} cuts;

static cg_err read_cuts(const cg_node *n, cuts *c)
{
    CG_TRY(cg_in_list(n, 1, &c->start, &c->start_ok));
    CG_TRY(cg_in_list(n, 2, &c->end, &c->end_ok));
    CG_TRY(cg_in_list(n, 3, &c->axis, &c->axis_ok));
    CG_TRY(cg_in_list(n, 4, &c->step, &c->step_ok));
    c->count = -1;
    const struct {
        bool ok;
        int n;
    } lists[] = { { c->start_ok, c->start.n }, { c->end_ok, c->end.n },
                  { c->axis_ok, c->axis.n }, { c->step_ok, c->step.n } };
    for (size_t k = 0; k < 4; k++) {
        if (!lists[k].ok)
            continue;
        if (c->count >= 0 && lists[k].n != c->count)
            return cg_fail(CG_EFORMAT, "starts, ends, axes and steps differ "
                           "in length (%d and %d)", c->count, lists[k].n);
        c->count = lists[k].n;
    }
    /* Without axes the list cuts the first axes; blind axes cut any. */
    for (int k = 0; !cg_in(n, 3) && k < c->count; k++) {
        c->axis.d[k] = k;
        c->axis.blind[k] = false;
    }
    c->axis_ok |= !cg_in(n, 3) && c->count >= 0;
    for (int k = 0; c->axis_ok && k < c->count; k++)
        c->axis_ok = !c->axis.blind[k] && cg_dim_known(c->axis.d[k]);
    return CG_OK;
}

static cg_err cut_one(cg_graph *g, cg_node *n, const cuts *c, int k,
                      cg_dim dim, cg_cut *out)
{
    bool blind = !c->start_ok || !c->end_ok || c->start.blind[k] ||
                 c->end.blind[k];
    cg_dim step = 1;
    if (cg_in(n, 4)) {
        blind |= !c->step_ok || c->step.blind[k] ||
                 !cg_dim_known(c->step.d[k]);
        step = blind ? 1 : c->step.d[k];
    }
    if (step == 0)
        return cg_fail(CG_EFORMAT, "a step of a slice is 0");
    if (blind)
        *out = (cg_cut){ .size = cg_dim_unknown(g, n, by_value) };
    else
        *out = cut_axis(g, dim, c->start.d[k], c->end.d[k], step);
    return CG_OK;
}

cg_err cg_slice_cuts(cg_graph *g, cg_node *n, const cg_type *t, cg_cut *cut)
{
    cuts c;
    bool seen[CG_MAX_RANK] = { false };
    CG_TRY(read_cuts(n, &c));
    for (int a = 0; a < t->rank; a++) {
        cut[a] = (cg_cut){ 0, 1, t->dims[a] };
        if (!c.axis_ok)
            cut[a] = (cg_cut){ .size = cg_dim_unknown(g, n, by_value) };
    }
    for (int k = 0, a; k < c.count && c.axis_ok; k++) {
        CG_TRY(cg_axis(n, c.axis.d[k], t->rank, &a));
        if (seen[a])
            return cg_fail(CG_EFORMAT, "axis %d is sliced twice", a);
        seen[a] = true;
        CG_TRY(cut_one(g, n, &c, k, t->dims[a], &cut[a]));
    }
    return CG_OK;
}

cg_err cg_shape_slice(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_cut cut[CG_MAX_RANK];
    cg_dim dims[CG_MAX_RANK];
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_slice_cuts(g, n, &t, cut));
    for (int a = 0; a < t.rank; a++)
        dims[a] = cut[a].size;
    cg_out_tensor(g, n, 0, t.dtype, t.rank, dims);
    return CG_OK;
}

/* Part k of n->n_out equal parts, the last one smaller if need be. */
static cg_err even_part(cg_graph *g, cg_node *n, cg_dim whole, uint32_t k,
                        cg_dim *part)
{
    int64_t parts = n->n_out;
    bool uneven = cg_attr_find(n, "num_outputs") != NULL;
    if (cg_dim_divides(g, whole, parts, part))
        return CG_OK;
    if (!uneven && cg_dim_known(whole))
        return cg_fail(CG_EFORMAT, "%s elements are split into %lld parts",
                       cg_dim_str(g, whole), (long long)parts);
    if (!uneven) {
        *part = cg_dim_floordiv(g, whole, parts);
        return CG_OK;
    }
    *part = cg_dim_ceildiv(g, whole, parts);
    cg_dim before = cg_dim_mul(g, *part, k);
    cg_dim rest = cg_dim_not_negative(g, cg_dim_sub(g, whole, before));
    if (cg_dim_known(whole) ? rest < *part : k + 1 == n->n_out)
        *part = rest;
    return CG_OK;
}

static cg_err check_split(cg_graph *g, cg_node *n, const cg_data *sizes,
                          cg_dim whole)
{
    cg_dim sum = 0;
    if (sizes->n != n->n_out)
        return cg_fail(CG_EFORMAT, "%zu sizes for %u outputs", sizes->n,
                       n->n_out);
    for (size_t k = 0; k < sizes->n; k++) {
        if (cg_dim_known(sizes->i[k]) && sizes->i[k] < 0)
            return cg_fail(CG_EFORMAT, "part %zu has size %lld", k,
                           (long long)sizes->i[k]);
        sum = cg_dim_add(g, sum, sizes->i[k]);
    }
    return cg_want_equal(g, sum, whole, "sum of the parts and the whole");
}

cg_err cg_shape_split(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    const cg_data *sizes = cg_in_data(n, 1);
    int axis;
    int64_t want = cg_attr_int(n, "num_outputs", n->n_out);
    if (want != n->n_out)
        return cg_fail(CG_EFORMAT, "num_outputs is %lld for %u outputs",
                       (long long)want, n->n_out);
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    if (sizes && (!sizes->i || sizes->f))
        return cg_fail(CG_EFORMAT, "the sizes of the parts are not integers");
    if (sizes)
        CG_TRY(check_split(g, n, sizes, t.dims[axis]));
    for (uint32_t k = 0; k < n->n_out; k++) {
        memcpy(dims, t.dims, sizeof *dims * (size_t)t.rank);
        if (sizes)
            dims[axis] = sizes->i[k];
        else if (cg_in(n, 1))
            dims[axis] = n->n_out == 1 ? t.dims[axis]
                                       : cg_dim_unknown(g, n, by_value);
        else
            CG_TRY(even_part(g, n, t.dims[axis], k, &dims[axis]));
        cg_out_tensor(g, n, k, t.dtype, t.rank, dims);
    }
    return CG_OK;
}

/* -- Concat --------------------------------------------------------------- */

/* The first operand with a known rank; n_in when there is none. */
static uint32_t first_ranked(const cg_node *n)
{
    uint32_t k = 0;
    while (k < n->n_in && cg_in_type(n, k).rank < 0)
        k++;
    return k;
}

/* Beside the axis all agree; a number says more than a symbol, and a symbol
 * more than an unknown. */
static cg_err join_dim(cg_graph *g, cg_dim *d, cg_dim other, int a, uint32_t k)
{
    if (cg_dim_known(*d) && cg_dim_known(other) && *d != other)
        return cg_fail(CG_EFORMAT,
                       "dim %d of input %u is %s, of others before it %s", a,
                       k, cg_dim_str(g, other), cg_dim_str(g, *d));
    if (cg_dim_known(other) ||
        (cg_dim_is_unknown(g, *d) && !cg_dim_is_unknown(g, other)))
        *d = other;
    return CG_OK;
}

cg_err cg_shape_concat(cg_graph *g, cg_node *n)
{
    cg_dim dims[CG_MAX_RANK];
    uint32_t first = first_ranked(n);
    int axis, dtype = CG_UNDEFINED;
    for (uint32_t k = 0; k < n->n_in && dtype == CG_UNDEFINED; k++)
        dtype = cg_in_type(n, k).dtype;
    if (first == n->n_in) {
        cg_out_blocked(g, n, 0, 0, dtype);
        return CG_OK;
    }
    cg_type t = cg_in_type(n, first);
    if (t.rank == 0)
        return cg_fail(CG_EFORMAT, "scalars cannot be concatenated");
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    memcpy(dims, t.dims, sizeof *dims * (size_t)t.rank);
    dims[axis] = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        cg_type u = cg_in_type(n, k);
        if (u.rank >= 0 && u.rank != t.rank)
            return cg_fail(CG_EFORMAT, "input %u has rank %d, input %u rank "
                           "%d", k, u.rank, first, t.rank);
        dims[axis] = cg_dim_add(g, dims[axis], cg_in_dim(g, n, k, axis));
        for (int a = 0; a < t.rank && u.rank >= 0; a++)
            if (a != axis)
                CG_TRY(join_dim(g, &dims[a], u.dims[a], a, k));
    }
    cg_out_tensor(g, n, 0, dtype, t.rank, dims);
    return CG_OK;
}
